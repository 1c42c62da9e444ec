# rackreach: finds the one disk that the rack file means, and goes on only if nothing is
# lost on it that the ticket does not name. Nothing is written here.
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

rr_path=''
rr_serial='S1'
rr_min='0'
rr_max='0'
rr_overwrites='foreign:content-0123'
rr_look='1048576'

rr_serial_of() { # /sys/block/NAME
	for rr_f in "$1/serial" "$1/device/serial"; do
		if [ -r "$rr_f" ]; then tr -d ' \000\n' <"$rr_f"; return; fi
	done
	if [ -r "$1/device/vpd_pg80" ]; then
		dd if="$1/device/vpd_pg80" bs=1 skip=4 2>/dev/null | tr -d ' \000\n'
	fi
}
rr_meant() { # /sys/block/NAME BYTES
	if [ -n "$rr_path" ] && [ "$(readlink -f "$rr_path")" != "/dev/${1##*/}" ]; then return 1; fi
	if [ -n "$rr_serial" ] && [ "$(rr_serial_of "$1")" != "$rr_serial" ]; then return 1; fi
	[ "$2" -ge "$rr_min" ] && { [ "$rr_max" -eq 0 ] || [ "$2" -le "$rr_max" ]; }
}
rr_ends() { # NAME SECTORS: what its two ends hold
	dd if="/dev/$1" bs=512 count=$((rr_look / 512)) 2>/dev/null
	dd if="/dev/$1" bs=512 skip=$(($2 - rr_look / 512)) count=$((rr_look / 512)) 2>/dev/null
}
rr_middle() { # NAME SECTORS: samples of what is between them
	rr_step=$((($2 - rr_look / 256) / 128 / 64))
	rr_i=0
	while [ "$rr_i" -lt 64 ]; do
		dd if="/dev/$1" bs=65536 skip=$((rr_look / 65536 + rr_i * rr_step)) count=1 2>/dev/null
		rr_i=$((rr_i + 1))
	done
}
rr_receipt() { # NAME: the receipt that an installation left on it, if it can be read
	mkdir -p /tmp/rackreach-look
	for rr_p in "/sys/block/$1/$1"*; do
		[ -e "$rr_p/partition" ] || continue
		mount -o ro,norecovery "/dev/${rr_p##*/}" /tmp/rackreach-look 2>/dev/null || continue
		rr_r=$(head -c 200 /tmp/rackreach-look/etc/rackreach/receipt 2>/dev/null | tr -cd 'A-Za-z0-9:/._-')
		umount /tmp/rackreach-look
		case $rr_r in receipt:*) echo "$rr_r"; return ;; esac
	done
}

rr_disk=
rr_sectors=0
for rr_b in /sys/block/*; do
	rr_n=${rr_b##*/}
	case $rr_n in loop* | ram* | zram* | sr* | fd* | dm-* | md* | nbd* | mtd* | *boot[0-9] | nvme*c*n*) continue ;; esac
	[ "$(cat "$rr_b/removable" 2>/dev/null)" = 1 ] && continue
	# One on USB comes and goes: it is meant only by its path or its serial number.
	if [ -z "$rr_path$rr_serial" ]; then
		case $(readlink -f "$rr_b") in */usb[0-9]*) continue ;; esac
	fi
	rr_s=$(cat "$rr_b/size" 2>/dev/null) || continue
	[ "$rr_s" -ge $((2 * rr_look / 512)) ] || continue
	rr_meant "$rr_b" $((rr_s * 512)) || continue
	if [ -n "$rr_disk" ]; then rr_stop failed "two disks are as the rack file says: $rr_disk and $rr_n. Say more under install.disk"; fi
	rr_disk=$rr_n
	rr_sectors=$rr_s
done
if [ -z "$rr_disk" ]; then rr_stop failed "no disk is as the rack file says under install.disk"; fi
rr_sum=$(rr_ends "$rr_disk" "$rr_sectors" | sha256sum)
rr_sum=${rr_sum%% *}
rr_blank='5647f05ec18958947d32874eeb788fa396a05d0bab7c1b71f112ceb7e9b31eee'
if [ "$rr_sum" = "$rr_blank" ]; then # a disk whose tables were wiped has blank ends, too
	rr_sum=$(rr_middle "$rr_disk" "$rr_sectors" | sha256sum)
	rr_sum=${rr_sum%% *}
	rr_blank='bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8'
fi
if [ "$rr_sum" != "$rr_blank" ]; then
	rr_holds=$(rr_receipt "$rr_disk")
	[ -n "$rr_holds" ] || rr_holds="foreign:content-$rr_sum"
	if [ "$rr_holds" != "$rr_overwrites" ]; then rr_stop refused "$rr_holds"; fi
fi
echo "rackreach: the disk is /dev/$rr_disk"
rr_judged=$rr_disk # who has read the script up to here may write on it
