#!/bin/sh
# The installer of the rack's switches, for ONIE: it unpacks itself.
set -e
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
