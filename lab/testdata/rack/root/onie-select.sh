#!/bin/sh
# The next boot is ONIE again.
set -e
mount -t vfat /dev/vda1 /mnt
sed 's/nos\.lin/vmlinuz/; s/nos\.img/root.img/; s/lab\.kind=nos/lab.kind=onie/' /mnt/syslinux.cfg >/mnt/syslinux.new
mv /mnt/syslinux.new /mnt/syslinux.cfg
umount /mnt
sync
(sleep 2; reboot -f) </dev/null >/dev/null 2>&1 &
