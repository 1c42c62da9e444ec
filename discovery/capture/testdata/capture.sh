#!/usr/bin/env bash
# Makes clients.pcap, relayed.pcap and the example acme.pcap again, with real clients
# in network namespaces that are removed at the end. Needs root and Debian's packages iproute2,
# tcpdump, udhcpc, isc-dhcp-client, dhcpcd-base and isc-dhcp-relay. Nobody answers
# the clients.
set -euo pipefail
cd "$(dirname "$0")"
id=rrcap$$
client=$id-c relay=$id-r server=$id-s
scratch=$(mktemp -d)
trap 'for n in $client $relay $server; do ip netns del $n 2>/dev/null || true; done; rm -r "$scratch"' EXIT

for n in $client $relay $server; do ip netns add $n; done
ip -n $client link add c0 address 52:54:00:00:0a:01 type veth peer name r0 netns $relay
ip -n $relay link add r1 address 52:54:00:00:0a:02 type veth peer name s0 netns $server
ip -n $relay link set r0 address 52:54:00:00:0a:03
ip -n $server link set s0 address 52:54:00:00:0a:04
for x in "$client c0" "$relay r0" "$relay r1" "$server s0" "$client lo" "$relay lo"; do
	ip -n ${x% *} link set ${x#* } up
done
ip -n $relay addr add 10.7.0.1/24 dev r0
ip -n $relay addr add 10.8.0.1/24 dev r1
ip -n $server addr add 10.8.0.2/24 dev s0
sleep 2

capture() { # NAMESPACE INTERFACE FILE
	ip netns exec $1 tcpdump -q -Z root -U -s 0 -n -i $2 -w "$3" 'udp port 67 or udp port 68' 2>/dev/null &
	tcpdump=$!
	sleep 1
}
done_capture() {
	sleep 1
	kill $tcpdump
	wait $tcpdump || true
}
in_client() { ip netns exec $client timeout -k 1 4 "$@" >/dev/null 2>&1 </dev/null || true; }
udhcpc="udhcpc -f -n -q -t 1 -T 1 -A 0 -s /bin/true"

capture $relay r0 clients.pcap
in_client $udhcpc -i c0
in_client dhclient -1 -d -sf /bin/true -cf /dev/null -lf "$scratch/dhclient.leases" -pf "$scratch/dhclient.pid" c0
in_client dhcpcd -B -4 -t 3 --noipv4ll -c /bin/true c0
# ONIE and SONiC, with the arguments of theirs (lib/onie/functions, dhclient.conf).
in_client $udhcpc -i c0 -V onie_vendor:x86_64-accton_as7726_32x-r0 \
	-x 0x4d:146f6e69655f646863705f757365725f636c617373 -x 0x3d:00$(printf AAK1234567 | od -An -tx1 | tr -d ' \n') \
	-x 0x7d:0000a67f1e0311$(printf accton_as7726_32x | od -An -tx1 | tr -d ' \n')0406$(printf x86_64 | od -An -tx1 | tr -d ' \n')050130
in_client $udhcpc -i c0 -V "cumulus-linux x86_64" -O 239
done_capture

# The imaginary vendor of docs/discovery.md: a switch, and a BMC.
capture $relay r0 ../../../examples/acme.pcap
ip -n $client link set c0 address 02:ac:3e:00:00:01
in_client $udhcpc -i c0 -V "ACME|AX-48|B2|SN0042"
ip -n $client link set c0 address 02:ac:3e:00:00:02
in_client $udhcpc -i c0 -x hostname:acme-bmc-SN0043
ip -n $client link set c0 address 52:54:00:00:0a:01
done_capture

ip netns exec $relay dhcrelay -4 -d -a -i r0 -i r1 10.8.0.2 >/dev/null 2>&1 &
dhcrelay=$!
capture $server s0 relayed.pcap
in_client $udhcpc -i c0 -V "Arista;DCS-7050S-64;01.23;JPE12221671"
done_capture
kill $dhcrelay
wait $dhcrelay || true
