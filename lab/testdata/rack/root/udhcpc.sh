#!/bin/sh
# What udhcpc calls: takes over the address, and the name.
case $1 in
bound | renew)
	ip addr replace "$ip/$mask" dev "$interface"
	[ -n "$router" ] && ip route replace default via "${router%% *}"
	if [ -n "$hostname" ]; then
		hostname "$hostname"
		echo "$hostname" >/etc/hostname
	fi
	[ "$1" = bound ] && echo "LAB: $interface has $ip/$mask, by $serverid"
	;;
esac
exit 0
