#!/bin/sh
# Installs what the rack of machines needs of Debian, as far as it is missing.
set -e
missing=
need() { # FILE PACKAGE
	[ -e "$1" ] || missing="$missing $2"
}
need /usr/bin/qemu-system-x86_64 qemu-system-x86
need /usr/lib/ipxe/qemu/pxe-virtio.rom ipxe-qemu
need /usr/lib/ipxe/ipxe.efi ipxe
need /usr/share/OVMF/OVMF_CODE_4M.fd ovmf
need /usr/bin/ipmi_sim openipmi
need /usr/bin/mcopy mtools
need /usr/bin/syslinux syslinux
need /usr/lib/syslinux/mbr/gptmbr.bin syslinux-common
need /usr/lib/systemd/boot/efi/systemd-bootx64.efi systemd-boot-efi
need /usr/sbin/sfdisk fdisk
need /usr/sbin/mkfs.ext4 e2fsprogs
need /usr/sbin/depmod kmod
need /usr/bin/busybox busybox
need /usr/sbin/dropbear dropbear-bin
need /usr/sbin/dhcrelay isc-dhcp-relay
need /usr/sbin/ip iproute2
need /usr/sbin/lldpd lldpd
need /usr/bin/tcpdump tcpdump
need /usr/sbin/dnsmasq dnsmasq-base
if [ -z "$LAB_KERNEL" ]; then
	ls /boot/vmlinuz-*-cloud-amd64 >/dev/null 2>&1 || missing="$missing linux-image-cloud-amd64"
fi
[ -n "$missing" ] || exit 0
export DEBIAN_FRONTEND=noninteractive INITRD=No # the kernel is for the lab's machines
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing
