#!/bin/sh
# What udhcpc calls in ONIE: keeps what was answered.
case $1 in
bound | renew)
	ip addr replace "$ip/$mask" dev "$interface"
	{
		echo "siaddr='$siaddr' serverid='$serverid' boot_file='$boot_file' opt7='$opt7'"
		echo "opt114='$opt114' opt125='$opt125'"
		echo "tftp='$tftp' bootfile='$bootfile' opt72='$opt72' opt150='$opt150'"
	} >/run/lease
	{
		[ -z "$domain" ] || echo "search $domain"
		for d in $dns; do echo "nameserver $d"; done
	} >/etc/resolv.conf
	;;
esac
exit 0
