rr_tell() { # STATE WORDS: tells the agent how it went
	if type curl >/dev/null 2>&1; then
		curl -fsS -m 30 -o /dev/null --data-binary "$2" 'http://10.0.1.9/native/0123456789abcdef0123456789abcdef/report'"/$1"
	else # as in Debian's installer, whose wget cannot POST
		printf 'POST %s/%s HTTP/1.0\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s' '/native/0123456789abcdef0123456789abcdef/report' "$1" '10.0.1.9' "${#2}" "$2" |
			nc -w 30 '10.0.1.9' '80' | grep -q '^HTTP/1.[01] 204'
	fi
}
rr_stop() { # STATE WORDS: ends the installation here, with nothing written
	echo "rackreach: $2" >&2
	rr_tell "$1" "$2" || echo "rackreach: the agent did not take it" >&2
	while :; do sleep 3600; done
}

# rackreach: what is done to the installed system, which is at $rr_target. The receipt
# says whose it is; keys let their owners in.
rr_target=/target
mkdir -p "$rr_target/etc/rackreach"
echo 'receipt:RUN1/r1/server-01/1' >"$rr_target/etc/rackreach/receipt"
rr_nic=$(sed -n 's/^\(..*\)\t00000000\t.*/\1/p' /proc/net/route | head -n 1)
[ -n "$rr_nic" ] || rr_nic=$(sed -n 's/^ *\([^:]*\):.*/\1/p' /proc/net/dev | grep -v '^lo$' | head -n 1)
cat >"$rr_target/etc/network/interfaces" <<RACKREACH-NETWORK
source /etc/network/interfaces.d/*
auto lo
iface lo inet loopback
auto $rr_nic
iface $rr_nic inet static
	address 10.0.1.11/24
	gateway 10.0.1.1
RACKREACH-NETWORK
: >"$rr_target/etc/resolv.conf"
echo nameserver 10.0.1.2 >>"$rr_target/etc/resolv.conf"
echo nameserver 10.0.1.3 >>"$rr_target/etc/resolv.conf"
mkdir -p "$rr_target/etc/systemd/timesyncd.conf.d"
cat >"$rr_target/etc/systemd/timesyncd.conf.d/rackreach.conf" <<'RACKREACH-NTP'
[Time]
NTP=10.0.1.4
RACKREACH-NTP

rr_tell installed "Debian's installer is done"
