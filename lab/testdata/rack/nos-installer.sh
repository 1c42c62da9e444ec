#!/bin/sh
# The installer of the rack's switches, for ONIE: it unpacks itself.
set -e
# As makers do it: what the switch says of itself decides.
if grep -q missing-fans /sys/class/dmi/id/product_sku; then
	echo "LabNOS: this switch has no fan tray: nothing is installed"
	exit 7
fi
echo "LabNOS: installing on /dev/vda"
mount -t vfat /dev/vda1 /mnt
at=$(awk '/^__ARCHIVE__$/ {print NR + 1; exit}' "$0")
tail -n "+$at" "$0" | tar -x -C /mnt
mount -t ext4 /dev/vda2 /state
rm -rf /state/*
umount /state
mv /mnt/nos.cfg /mnt/syslinux.cfg
umount /mnt
sync
echo "LabNOS: installed"
exit 0
__ARCHIVE__
