//go:build netns

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/nstest"
)

// confirmedMeanwhile gives a switch its configuration, and once more; the second time it
// takes long, and fails at its end if $FAILS says so. Meanwhile it is confirmed.
const confirmedMeanwhile = ownRoot + `S=/etc/rackreach/switch.new && cat >$S && ip link set rr1 name 48 && ip link set rr2 name 1 && ip addr add 192.168.104.1/24 dev 48 && ip link set 48 up &&
sh $S apply 100 && mkdir /run/bin && mount --bind /run/bin /usr/local/sbin && real=$(command -v ip) && cat >/run/bin/ip <<END && chmod +x /run/bin/ip
#!/bin/sh
case "\$*" in *"set dev 48 master rackreach"*) touch /run/slow; sleep 2; [ "$FAILS" = no ] || exit 1 ;; esac
exec $real "\$@"
END
sh $S apply 100 >/run/second 2>&1 & while [ ! -e /run/slow ]; do sleep 0.1; done
if sh $S confirm; then echo it is confirmed; else echo it is refused; fi
wait $!; cat /run/second; ls /etc/rackreach; for t in $(pidof sleep); do [ "$(readlink /proc/$t/ns/mnt)" != "$(readlink /proc/$$/ns/mnt)" ] || kill $t; done`

// What is still being put in force, or fails at that, is not confirmed by whoever was cut
// off and asks too early, although the same was in force before.
func TestNobodyConfirmsWhatIsNotInForce(t *testing.T) {
	script, err := os.ReadFile("../../internal/platform/files/linux-switch.sh")
	if err != nil {
		t.Fatal(err)
	}
	_, program, ok := strings.Cut(string(script), "\nEND\n}\n")
	if !ok {
		t.Fatal("the script has no configuration")
	}
	text := "config() {\n\tcat <<'END'\nreceipt R\nname mgmt-1\naddress 192.168.104.1/24\nport 48 - - agent agent\nport 1 - - bmc server-01\nEND\n}\n" + program
	for fails, want := range map[string]string{"no": "it is confirmed", "yes": "it is refused"} {
		t.Run(fails, func(t *testing.T) {
			h, far := nstest.New(t), nstest.New(t)
			h.Cable("rr1", far, "rr1")
			h.Cable("rr2", far, "rr2")
			said := h.Run("env", "DIR="+t.TempDir(), "FAILS="+fails, "TEXT="+text, "unshare", "--mount", "--uts", "sh", "-c", `printf %s "$TEXT" >$DIR/text && exec <$DIR/text && `+confirmedMeanwhile)
			if !strings.Contains(said, want) || strings.Contains(said, "switch\n") != (fails == "no") {
				t.Error(said)
			}
		})
	}
}
