#!/bin/bash
# rackreach: {{.Rack}}/{{.Device}}, ticket {{.Ticket}}
trap 'curl -fsS --retry 5 -d "line $LINENO of provision.sh failed" {{.URL}}/report/failed; exit 1' ERR
curl -fsS --retry 5 -o /mnt/flash/{{.File}} {{.ImageURL}}
echo '{{.SHA256}}  /mnt/flash/{{.File}}' | sha256sum -c -
curl -fsS --retry 5 -o /mnt/flash/rackreach-config {{.URL}}/startup-config
echo 'SWI=flash:/{{.File}}' >/mnt/flash/boot-config
mv -f /mnt/flash/rackreach-config /mnt/flash/startup-config
sync
curl -fsS --retry 5 -d '' {{.URL}}/report/installed
exit 0
