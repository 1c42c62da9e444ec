#!/bin/sh
# The ports of {{.Device}}, the management switch of rack {{.Rack}}: written by rackreach from the
# rack file. Change that, not this.
config() {
	cat <<'END'
receipt {{.Receipt}}
name {{.Device}}
full {{.FullName}}
address {{.Address}}/{{.Bits}}
{{- with .Router}}
router {{.}}
{{- end}}
{{- with .Domain}}
domain {{.}}
{{- end}}
{{- range .DNS}}
dns {{.}}
{{- end}}
{{- range .NTP}}
ntp {{.}}
{{- end}}
{{- with .Syslog}}
syslog {{.}}
{{- end}}
{{- with .VLAN}}
vlan {{.}}
{{- end}}
{{- /* port NAME UNTAGGED TAGGED ROLE PEER; spare: it would make a loop, and forwards nothing */}}
{{- range .Ports}}
{{if .Spare}}spare{{else}}port{{end}} {{.Name}} {{if .Untagged}}{{.Untagged}}{{else}}-{{end}} {{range $i, $v := .Tagged}}{{if $i}},{{end}}{{$v}}{{else}}-{{end}} {{.Role}} {{.Peer}}
{{- end}}
END
}

# What follows is the same on every switch. It needs a POSIX shell, ip and bridge of
# iproute2, and a folder that persists.
#
#   apply SECONDS  puts this in force, and takes it back unless it is confirmed in time
#   confirm        keeps it
#   boot           puts it in force, at a start of the switch: confirmed was it before
#   show           prints the receipt, and whether this is in force
PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin
LC_ALL=C
export PATH LC_ALL
umask 077
home=/etc/rackreach         # persists; what is confirmed is "switch" in it
now=/run/rackreach          # is gone with the next start
client=/run/rackreach-dhcp.pid
putting="it is being put in force"
bridge=rackreach

fail() { echo "$*" >&2; exit 1; }

# each KEY: what the lines of a key say.
each() { config | while read -r key rest; do [ "$key" != "$1" ] || echo "$rest"; done; }

# device PORT: the interface of a port. A number is printed on the front of swpNUMBER.
device() {
	for i in "$1" "swp$1"; do
		case $i in */*) continue ;; esac
		set -- $(ip -o link show dev "$i" 2>/dev/null) # NUMBER: NAME@OTHER: …; it may go by other names, too
		[ $# -gt 1 ] || continue
		set -- "${2%:}"
		echo "${1%@*}"
		return 0
	done
	return 1
}

# word AFTER TEXT…: the word after another one.
word() {
	after=$1; shift
	while [ $# -gt 1 ]; do
		if [ "$1" = "$after" ]; then echo "$2"; return 0; fi
		shift
	done
	return 1
}

link() { word "$2" $(ip -o link show dev "$1" 2>/dev/null); }
addresses() { ip -o -4 addr show dev "$1" 2>/dev/null | while read -r line; do word inet $line; done; }

# holders: the interfaces that have the address of the switch, a port or not.
holders() {
	a=$(each address)
	ip -o -4 addr show to "${a%/*}" | while read -r n i rest; do [ "$i" = $bridge ] || echo "$i"; done
}

# must COMMAND…: whoever waits is told what failed.
must() { "$@" >>"$now/said" 2>&1 || { echo "it failed: $*" >>"$now/said"; return 1; }; }

# devices: the interfaces of all ports. check has seen that there is one for each.
devices() { { each port; each spare; } | while read -r name rest; do device "$name"; done; }

check() {
	[ "$(id -u)" = 0 ] || fail "the ports are configured by root only"
	for tool in ip bridge; do command -v $tool >/dev/null || fail "there is no program $tool here: the image lacks iproute2"; done
	missing=$({ each port; each spare; } | while read -r name rest; do device "$name" >/dev/null || echo " $name"; done)
	[ -z "$missing" ] || fail "there is no interface for port$missing: interfaces are called as their ports in the rack file, or swpNUMBER"
	for i in $(devices); do
		in=$(link "$i" master) || continue
		[ "$in" = $bridge ] || fail "interface $i belongs to $in: an image of a management switch makes no bridge itself"
	done
	[ -n "$(each vlan)" ] || return 0
	ip link del dev $bridge-try >/dev/null 2>&1
	ip link add name $bridge-try type bridge vlan_filtering 1 vlan_default_pvid 0 >/dev/null 2>&1 || fail "the kernel of this switch keeps no VLANs apart (CONFIG_BRIDGE_VLAN_FILTERING)"
	ip link del dev $bridge-try
}

# clear takes the bridge away.
clear() {
	if ip link show dev $bridge >/dev/null 2>&1; then must ip link del dev $bridge; fi
}

# plug PORT UNTAGGED TAGGED: makes a port a port of the bridge.
plug() {
	i=$(device "$1") || return 1
	must ip link set dev "$i" up && must ip link set dev "$i" master $bridge || return 1
	[ -n "$vlan" ] || return 0
	[ "$2" = - ] || must bridge vlan add dev "$i" vid "$2" pvid untagged || return 1
	[ "$3" != - ] || return 0
	for v in $(IFS=,; echo $3); do must bridge vlan add dev "$i" vid "$v" || return 1; done
}

# build makes the bridge. The agent's port comes last, and the address right after it: a
# connection lives through that.
build() {
	vlan=$(each vlan)
	set -- $(each port | while read -r name untagged tagged role rest; do [ "$role" != agent ] || echo "$name $untagged $tagged"; done)
	[ $# = 3 ] || { echo "the agent has no port here" >>"$now/said"; return 1; }
	agent=$(device "$1") || return 1
	must ip link add name $bridge type bridge stp_state 0 forward_delay 0 mcast_snooping 0 ${vlan:+vlan_filtering 1 vlan_default_pvid 0} &&
		must ip link set dev $bridge address "$(link "$agent" link/ether)" || return 1
	[ -z "$vlan" ] || must bridge vlan add dev $bridge vid "$vlan" pvid untagged self || return 1
	each spare | while read -r name rest; do must ip link set dev "$(device "$name")" up nomaster || exit 1; done || return 1
	each port | while read -r name untagged tagged role rest; do [ "$role" = agent ] || plug "$name" "$untagged" "$tagged" || exit 1; done || return 1
	must ip link set dev $bridge up && plug "$1" "$2" "$3" || return 1
	for i in $(devices); do must ip -4 addr flush dev "$i" || return 1; done
	for i in $(holders); do must ip -4 addr flush dev "$i" to "$(each address | while IFS=/ read -r a rest; do echo "$a"; done)" || return 1; done
	must ip addr add "$(each address)" brd + dev $bridge || return 1
	for r in $(each router); do must ip route replace default via "$r" dev $bridge || return 1; done
}

start() { clear && build; }

# remember writes down how the ports are found, where nothing was confirmed yet.
remember() {
	[ ! -e "$now/found" ] && [ ! -e "$home/switch" ] || return 0
	for i in $(devices) $(holders); do
		case $(ip -o link show dev "$i") in *[\<,]UP[\>,]*) echo "up $i -" ;; *) echo "down $i -" ;; esac
		addresses "$i" | while read -r a; do echo "address $i $a"; done
		ip -4 route show default dev "$i" | while read -r line; do set -- $(word via $line); [ -z "$1" ] || echo "router $i $1"; done
	done >"$now/found.new" && mv "$now/found.new" "$now/found"
}

# back takes what is in force back: to what was confirmed, else to how it was found.
back() {
	echo "it was taken back" >"$now/state"
	if [ -e "$home/switch" ]; then sh "$home/switch" start; return; fi
	ip link del dev $bridge >/dev/null 2>&1
	while read -r what i value; do
		case $what in
		up | down) ip link set dev "$i" "$what" ;;
		address) ip addr add "$value" brd + dev "$i" ;;
		router) ip route replace default via "$value" dev "$i" ;;
		esac
	done <"$now/found" >/dev/null 2>&1
}

# give lets the switch be tried for so many seconds. A try is a folder of its own. Whoever
# takes it away decides: a timer that finds it gone does nothing.
give() {
	n=$(($(cat "$now/tries" 2>/dev/null || echo 0) + 1))
	echo $n >"$now/tries" && mkdir "$now/try.$n" || return 1
	(
		trap '' HUP
		sleep "$1"
		mv "$now/try.$n" "$now/late.$n" 2>/dev/null && { back; rmdir "$now/late.$n"; }
	) </dev/null >/dev/null 2>&1 &
}

# take takes all tries away; false: there was none.
take() {
	took=1
	for t in "$now"/try.*; do [ -d "$t" ] && rmdir "$t" && took=0; done
	return $took
}

same() { [ -e "$1" ] && [ "$(cat "$0")" = "$(cat "$1")" ]; }

apply() {
	case $1 in '' | *[!0-9]*) fail "apply SECONDS: the time to confirm it" ;; esac
	check
	mkdir -p "$now" || fail "nothing can be written to $now"
	if same "$home/switch" && wrong=$(differs) && [ -z "$wrong" ]; then
		take
		echo "it is in force already"
		return 0
	fi
	remember || fail "nothing can be written to $now"
	: >"$now/said"
	(
		trap '' HUP # whoever gave this may be cut off by it
		seconds=$1
		set -- "$now"/try.*
		give "$seconds" || exit 1
		for t; do [ ! -d "$t" ] || rmdir "$t"; done
		echo "$putting" >"$now/state"
		start || { take; back; exit 1; }
		each receipt >"$now/state"
	) </dev/null >/dev/null 2>&1 &
	wait $! || { cat "$now/said" >&2; fail "nothing of it is in force"; }
	echo "in force for $1 seconds, unless it is confirmed"
}

# keep makes this what the switch starts with.
keep() {
	cat "$0" >"$home/switch.kept" && chmod 0700 "$home/switch.kept" && sync && mv "$home/switch.kept" "$home/switch" && sync
}

# settle waits while it is being put in force: who was cut off by that may ask too early.
settle() {
	n=0
	while [ "$(cat "$now/state" 2>/dev/null)" = "$putting" ] && [ $n -lt 30 ]; do n=$((n + 1)); sleep 1; done
}

confirm() {
	settle
	if [ "$(cat "$now/state" 2>/dev/null)" = "$(each receipt)" ] && take; then
		keep || { back; fail "it could not be kept in $home, and was taken back"; }
		rm -f "$now/found"
	elif ! same "$home/switch"; then
		fail "nothing waits to be confirmed: what it was given was taken back"
	fi
	settings
	if [ -s $client ]; then kill "$(cat $client)" 2>/dev/null; rm -f $client; fi
	return 0
}

# settings are what may be wrong without cutting anybody off.
settings() {
	umask 022
	for n in $(each name); do echo "$n" >/etc/hostname; echo "$n" >/proc/sys/kernel/hostname; done
	if [ -n "$(each dns)" ]; then
		{
			for d in $(each domain); do echo "search $d"; done
			for s in $(each dns); do echo "nameserver $s"; done
		} >/etc/resolv.conf
	fi
	if [ -n "$(each ntp)" ]; then
		if [ -d /etc/chrony/sources.d ]; then
			for s in $(each ntp); do echo "server $s iburst"; done >/etc/chrony/sources.d/rackreach.sources
		elif [ -d /etc/systemd/timesyncd.conf.d ]; then
			{ echo "[Time]"; echo "NTP=$(each ntp | while read -r s; do printf '%s ' "$s"; done)"; } >/etc/systemd/timesyncd.conf.d/rackreach.conf
		else
			for s in $(each ntp); do echo "server $s"; done >/etc/ntp.conf
		fi
	fi
	for s in $(each syslog); do
		if [ -d /etc/rsyslog.d ]; then echo "*.* @$s" >/etc/rsyslog.d/rackreach.conf; fi
	done
	if command -v systemctl >/dev/null; then
		for u in chrony systemd-timesyncd rsyslog; do systemctl try-restart $u; done
	fi >/dev/null 2>&1
	return 0
}

# vlans PORT: the VLANs of an interface that is a port, as "100u 200 ".
vlans() {
	bridge vlan show dev "$1" | while read -r line; do
		line=${line#"$1"}
		case $line in port*) continue ;; esac
		set -- $line
		case $1 in '' | *[!0-9]*) continue ;; esac
		case $line in *PVID*Untagged*) printf '%su ' "$1" ;; *) printf '%s ' "$1" ;; esac
	done
}

# differs prints what of this is not in force.
differs() {
	vlan=$(each vlan)
	each port | while read -r name untagged tagged rest; do
		i=$(device "$name") || { echo "port $name has no interface"; continue; }
		[ "$(link "$i" master)" = $bridge ] || { echo "port $name, $i, is not in the bridge"; continue; }
		case $(ip -o link show dev "$i") in *[\<,]UP[\>,]*) ;; *) echo "port $name, $i, is switched off" ;; esac
		[ -n "$vlan" ] || continue
		want=" $([ "$untagged" = - ] || printf '%su ' "$untagged"; [ "$tagged" = - ] || for v in $(IFS=,; echo $tagged); do printf '%s ' "$v"; done)" have=" $(vlans "$i")"
		for v in $want; do case $have in *" $v "*) ;; *) echo "port $name, $i, is not in VLAN $v" ;; esac; done
		for v in $have; do case $want in *" $v "*) ;; *) echo "port $name, $i, is in VLAN $v" ;; esac; done
	done
	each spare | while read -r name rest; do
		i=$(device "$name") && link "$i" master >/dev/null && echo "port $name, $i, forwards, and would make a loop"
	done
	case " $(echo $(addresses $bridge)) " in *" $(each address) "*) ;; *) echo "the address $(each address) is not on the bridge" ;; esac
}

show() {
	each receipt
	echo "name $(cat /proc/sys/kernel/hostname)"
	each port | while read -r name untagged tagged role peer; do echo "port $name $role $peer: $(device "$name"), $(link "$(device "$name")" state)"; done
	each spare | while read -r name untagged tagged role peer; do echo "port $name $role $peer: $(device "$name"), spare, forwards nothing"; done
	wrong=$(differs)
	if [ -z "$wrong" ]; then echo "everything is in force"; else echo "not in force: $wrong"; fi
}

case $1 in
apply) apply "$2" ;;
confirm) confirm ;;
boot | start)
	mkdir -p "$now" && : >"$now/said" || fail "nothing can be written to $now"
	check
	start || { cat "$now/said" >&2; exit 1; }
	[ "$1" = start ] || settings
	;;
show) show ;;
*) fail "apply SECONDS, confirm, boot or show" ;;
esac
