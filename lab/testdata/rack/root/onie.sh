# ONIE's conduct: two exchanges a round, the URLs in its order, its headers, 20 s of
# pause, for ever. An installer that ends well is followed by a reboot; what it says goes to
# the console and by syslog to the server of option 7, as all else does. docs/lab.md says
# what of ONIE is not here.
arch=x86_64 machine=$(cat /sys/class/dmi/id/product_name) rev=0
serial=$(cat /sys/class/dmi/id/product_serial)
mac=$(cat "/sys/class/net/$first/address")
hex() { printf %s "$1" | xxd -p | tr -d '\n'; }
sub() { printf %s "$1" | wc -c | awk -v c="$2" '{printf "%02x%02x", c, $1}'; hex "$1"; }
block="$(sub "$machine" 3)$(sub "$arch" 4)$(sub "$rev" 5)"
vivso="0000a67f$(printf %02x $((${#block} / 2)))$block"
log() { # TAG WORDS
	tag=$1
	shift
	say "$*"
	logger -t "$tag" -p local0.info "$*" 2>/dev/null
}
ask() { # the options that it asks for besides
	rm -f /run/lease
	udhcpc -n -q -f -i "$first" -t 5 -T 3 -A 3 -C -V "onie_vendor:$arch-$machine-r$rev" \
		-x "0x3d:00$(hex "$serial")" -x "0x4d:14$(hex onie_dhcp_user_class)" -x "0x7d:$vivso" \
		-o -O subnet -O router -O dns -O 7 -O hostname -O domain -O broadcast -O ntpsrv "$@" -s /etc/onie-udhcpc.sh >/dev/null 2>&1
	[ -s /run/lease ]
}
first_of() { # the installer's URL out of option 125 (RFC 3925), in hex
	rest=${1#0000a67f}
	[ "$rest" != "$1" ] || return
	rest=${rest#??}
	while [ -n "$rest" ]; do
		code=$(printf %d "0x$(echo "$rest" | cut -c1-2)") n=$(printf %d "0x$(echo "$rest" | cut -c3-4)")
		[ "$code" = 1 ] && echo "$rest" | cut -c5-$((4 + 2 * n)) | xxd -r -p && return
		rest=$(echo "$rest" | cut -c$((5 + 2 * n))-)
	done
}
fetch() { # without the -T 3 of ONIE: the wget of Debian's busybox 1.35 crashes with it
	wget -q -O /tmp/installer -U "onie/1.0" --header "ONIE-SERIAL-NUMBER: $serial" --header "ONIE-ETH-ADDR: $mac" --header "ONIE-VENDOR-ID: 42623" \
		--header "ONIE-MACHINE: $machine" --header "ONIE-MACHINE-REV: $rev" --header "ONIE-ARCH: $arch" --header "ONIE-SECURITY-KEY: " \
		--header "ONIE-OPERATION: os-install" --header "ONIE-VERSION: 2026.02" "$1"
}
run() { # what was fetched from URL
	chmod +x /tmp/installer
	log onie-exec "executing the installer of $(wc -c </tmp/installer) bytes: $1"
	{
		/tmp/installer
		echo $? >/run/install.rc
	} 2>&1 | tee /dev/console | logger -t os-install -p local0.info
	rc=$(cat /run/install.rc)
	rm -f /tmp/installer
	log onie-exec "the installer ended with $rc"
	[ "$rc" -eq 0 ] || return 1
	sync
	log onie-exec "rebooting"
	sleep 1
	reboot -f
	sleep 1000
}
try() { # URL
	log onie-exec "trying $1"
	rm -f /tmp/installer
	fetch "$1" && run "$1"
}
tftp_try() { # HOST FILE
	log onie-exec "trying tftp://$1/$2"
	rm -f /tmp/installer
	timeout 10 tftp -g -l /tmp/installer -r "$2" "$1" 2>/dev/null && run "tftp://$1/$2"
}
addresses() { # of an option, in hex
	[ -z "$1" ] || printf '%d.%d.%d.%d ' $(echo "$1" | sed 's/../0x& /g')
}
once() { # its words, each once
	said=
	for w in "$@"; do
		case " $said " in *" $w "*) ;; *) said="$said $w" ;; esac
	done
	echo $said
}
names="onie-installer-$arch-$machine-r$rev onie-installer-$arch-$machine onie-installer-$machine onie-installer-$arch-lab onie-installer-$arch onie-installer"
round() {
	ask || return
	. /run/lease
	ask -O 43 -O serverid -O tftp -O bootfile -O 72 -O 114 -O 125 || return
	. /run/lease
	to=$(addresses "$opt7")
	if [ -n "$to" ] && ! pidof syslogd >/dev/null; then
		syslogd -R "${to%% *}"
	fi
	log discover "discovery: $serial $mac"
	url=$(first_of "$opt125")
	[ -n "$url" ] && try "$url"
	url=$(echo "$opt114" | xxd -r -p)
	[ -n "$url" ] && try "$url"
	for host in $(once onie-server $(addresses "$opt72") $siaddr $serverid $(addresses "$opt150") $tftp); do
		# Is there a web server at all?
		echo | timeout 10 nc "$host" 80 >/dev/null 2>&1 || continue
		for n in $names; do
			try "http://$host/$n" || try "http://$host/$n.bin"
		done
	done
	files=$(once $bootfile $boot_file)
	for f in $files; do
		case $f in http://*) try "$f" ;; esac
	done
	for host in $(once $siaddr $tftp $(addresses "$opt150") $serverid); do
		for f in $files; do
			tftp_try "$host" "$f"
		done
	done
}
ip link set "$first" up
while :; do
	round
	sleep 20
done
