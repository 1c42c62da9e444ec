#!/bin/busybox sh
# The /init of a machine that is a management switch, and all that is cabled to it: hosts
# are network namespaces. It says what was seen, a line each.
export PATH=/usr/sbin:/sbin:/bin
/bin/busybox mkdir -p /bin /sbin /proc /sys /run /etc/rackreach /dev
/bin/busybox --install -s /bin
# ip of iproute2, not of busybox
rm -f /bin/ip
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mount -t devtmpfs dev /dev 2>/dev/null
for m in llc stp garp mrp 8021q bridge veth; do insmod /modules/$m.ko || echo "NOT SEEN: module $m"; done
ip link set lo up

# host NAME PORT ADDRESS: a host, cabled to a port of the switch.
host() {
	ip netns add "$1"
	ip link add "$2" type veth peer name rr0 netns "$1"
	ip -n "$1" link set rr0 up
	[ -z "$3" ] || ip -n "$1" addr add "$3" dev rr0
}
host agent rr1 192.168.107.254/24
host bmc rr2 192.168.107.101/24
host tor1m rr3 192.168.107.2/24
host tor1 rr4
host tor2 rr5
host tor2m swp6 192.168.107.3/24
for h in 1 2; do
	ip -n tor$h link add link rr0 name rr0.200 type vlan id 200
	ip -n tor$h link set rr0.200 up
	ip -n tor$h addr add 10.200.0.$h/24 dev rr0.200
done
ip link property add dev rr3 altname rr30 # and the rack file calls it that
ip link set rr1 up
ip addr add 192.168.107.1/24 dev rr1 # as DHCP gave it

reaches() { ip netns exec "$1" ping -c 1 -W 2 "$2" >/dev/null 2>&1; }
seen() { what=$1; shift; if "$@"; then echo "seen: $what"; else echo "NOT SEEN: $what"; fi; }
not() { ! "$@"; }
shows() { case $(sh /etc/rackreach/switch show) in *"$1"*) ;; *) sh /etc/rackreach/switch show; return 1 ;; esac; }

echo begin
cp /bad /etc/rackreach/switch.new
seen "the agent reaches the switch" reaches agent 192.168.107.1
seen "and nothing behind it" not reaches agent 192.168.107.101
seen "a VLAN in which the agent is not can be given" sh /etc/rackreach/switch.new apply 20
seen "it cuts the agent off" not reaches agent 192.168.107.1
sleep 22
seen "it was taken back by itself" reaches agent 192.168.107.1
seen "it cannot be confirmed any more" not sh /etc/rackreach/switch.new confirm

cp /good /etc/rackreach/switch.new
seen "the right one can be given" sh /etc/rackreach/switch.new apply 20
sleep 1000 &
echo $! >/run/rackreach-dhcp.pid
seen "and confirmed" sh /etc/rackreach/switch.new confirm
sleep 1
seen "the DHCP client is ended" not kill -0 $!
sleep 22
seen "everything is in force" shows "everything is in force"
seen "the agent reaches switch, BMC, ToR switches" eval "reaches agent 192.168.107.1 && reaches agent 192.168.107.101 && reaches agent 192.168.107.2 && reaches agent 192.168.107.3"
seen "a tagged VLAN passes between those that have it" reaches tor1 10.200.0.2
ip -n agent addr add 10.200.0.9/24 dev rr0
seen "and to nobody else" not reaches tor1 10.200.0.9

cp /bad /etc/rackreach/switch.new
seen "the wrong one again" sh /etc/rackreach/switch.new apply 20
sleep 22
seen "what was confirmed is in force again" shows "everything is in force"
bridge vlan del dev rr2 vid 100
seen "what somebody changed by hand is told" shows "not in force: port rr2, rr2, is not in VLAN 100u"
ip link del rackreach
seen "a start puts it in force" eval 'sh /etc/rackreach/switch boot && shows "everything is in force" && reaches agent 192.168.107.101'
echo end
poweroff -f
