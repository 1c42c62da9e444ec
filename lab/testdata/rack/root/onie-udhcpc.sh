#!/bin/sh
# What udhcpc calls in ONIE: keeps what was answered.
case $1 in
bound | renew)
	ip addr replace "$ip/$mask" dev "$interface"
	{
		echo "siaddr='$siaddr' serverid='$serverid' boot_file='$boot_file' logsrv='${logsrv:-$opt7}'"
		echo "opt114='$opt114' opt125='$opt125'"
	} >/run/lease
	;;
esac
exit 0
