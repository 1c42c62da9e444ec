# rackreach: SONiC routes on every port at first; they are to bridge. Which one leads to
# the management switch nobody says, so all are in the VLAN of the servers; but links to
# other switches are not: SONiC has no spanning tree, and they would make loops. Run
# twice, it changes nothing.
set -e
links=" {{range .Ports}}{{if or (eq .Network "trunk") (eq .Network "peer")}}{{.Name}} {{end}}{{end}}"
sonic-db-cli CONFIG_DB HSET 'VLAN|Vlan{{or .VLAN 1000}}' vlanid {{or .VLAN 1000}}
sonic-db-cli CONFIG_DB KEYS 'PORT|*' | while read -r key; do
	port=${key#PORT|}
	case "$links" in *" $port "*) continue ;; esac
	for keys in "INTERFACE|$port|*" "INTERFACE|$port"; do
		sonic-db-cli CONFIG_DB KEYS "$keys" | while read -r one; do
			sonic-db-cli CONFIG_DB DEL "$one"
		done
	done
	sonic-db-cli CONFIG_DB HSET "PORT|$port" admin_status up
	sonic-db-cli CONFIG_DB HSET "VLAN_MEMBER|Vlan{{or .VLAN 1000}}|$port" tagging_mode untagged
done
