package rack

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Installer is what puts an operating system on a device: rackreach's own, or the one
// that the maker of the system ships, which is answered by a file, instead of by a person.
type Installer string

// The installers.
const (
	DiskImage   Installer = "disk-image"  // rackreach's own: it writes the image on a disk
	ESXi        Installer = "esxi"        // boot.cfg and ks.cfg of VMware ESXi
	Kickstart   Installer = "kickstart"   // ks.cfg of Anaconda
	Preseed     Installer = "preseed"     // preseed.cfg of Debian's installer
	Autoinstall Installer = "autoinstall" // user-data and meta-data of Ubuntu's (NoCloud)
)

// Installers lists them.
func Installers() []Installer {
	return []Installer{DiskImage, ESXi, Kickstart, Preseed, Autoinstall}
}

// Seeded reports whether a device is installed from a disk image that is told who it is:
// files for cloud-init are written into it.
func (d *Device) Seeded() bool {
	return d.Install != nil && d.Install.Installer == DiskImage && d.Install.Seed > 0
}

// Answered reports whether a device is installed by its system's own installer.
func (d *Device) Answered() bool { return d.Install != nil && d.Install.Installer != DiskImage }

// Install says how a device is installed. Without it a disk image is written on the only
// disk that there is.
type Install struct {
	Installer Installer
	// Kernel is the artifact that a Linux installer boots, with the device's image as
	// its initramfs. ESXi has none: its image is its boot.cfg.
	Kernel   string `json:",omitzero"`
	Template string `json:",omitzero"` // artifact that is filled in; empty: the one that rackreach comes with
	Source   string `json:",omitzero"` // URL that the installer fetches its packages or its ISO from
	Disk     DiskRule
	// PasswordHash is a reference to the hash of root's password (crypt(5)), "env:NAME";
	// never the hash itself. Empty: nobody logs in by password.
	PasswordHash string   `json:",omitzero"`
	Keys         []string `json:",omitzero"` // public SSH keys, as in authorized_keys, that log in as root
	// Static: address, gateway and name servers stand in the answer file; otherwise
	// the installed system asks by DHCP, and gets the same.
	Static bool `json:",omitzero"`

	// Of a disk image: its last partition grows up to the end of the disk; the firmware's
	// first boot entry becomes the loader at this path of the EFI system partition, such
	// as \EFI\BOOT\BOOTX64.EFI.
	Grow      bool   `json:",omitzero"`
	BootEntry string `json:",omitzero"`
	// Seed is the number of the partition that takes what cloud-init reads at the first
	// start (NoCloud), with the password, keys and address above; 0: nothing is written.
	Seed int `json:",omitzero"`
}

// DiskRule says which disk is meant: all that is given must hold, and of exactly
// one disk. Nothing given: the only disk that there is.
type DiskRule struct {
	Path    string `json:",omitzero"` // /dev/NAME
	Serial  string `json:",omitzero"` // as the disk says it
	MinSize int64  `json:",omitzero"` // bytes
	MaxSize int64  `json:",omitzero"` // bytes; 0: no bound
}

// Home is the network that the own address of a device is on.
func (d *Device) Home() Network {
	if d.Role == Server {
		return Data
	}
	return Management
}

// Bounds of what a rack says of its domain and of installers.
const (
	maxKeys       = 16   // of a device
	maxKey        = 1024 // bytes of a public key
	maxSource     = 512  // bytes of a URL
	maxDomain     = 253  // characters (RFC 1035 §2.3.4)
	maxDiskSerial = 64   // bytes of a disk's serial number
	maxPath       = 128  // bytes of a disk's path
	maxPartition  = 128  // of a partition table
)

// sshKey is a public key in one line of authorized_keys, without options (sshd(8)).
var sshKey = regexp.MustCompile(`^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]+={0,2}( [A-Za-z0-9@._-]+)?$`)

// domain checks the domain of the site.
func (c *checker) domain() {
	domain := c.r.Services.Domain
	if domain == "" {
		return
	}
	ok := len(domain) <= maxDomain
	for label := range strings.SplitSeq(domain, ".") {
		ok = ok && badName(label) == ""
	}
	if !ok {
		c.say("", 0, "services.domain", "a domain such as r1.example.net, in lower case", "%s is not a domain", shown(domain))
	}
}

// install checks how a device is installed by its system's own installer.
func (c *checker) install(i int, d *Device) {
	x := d.Install
	if p := c.platforms[d.Platform]; p.Installer != "" && (x == nil || x.Installer != p.Installer) {
		c.say("devices", i, "install", fmt.Sprintf("install: {installer: %s, …}, as docs/images.md says", p.Installer), "platform %s is for devices that the installer %s installs", shown(d.Platform), p.Installer)
	}
	if x == nil {
		return
	}
	say := func(field, fix, format string, args ...any) {
		c.say("devices", i, "install"+field, fix, format, args...)
	}
	if d.Role != Server && d.Role != ManagementSwitch {
		say("", "no install here: name the installer of the switch as image", "a %s is installed by ONIE", d.Role)
	}
	known := false
	for _, one := range Installers() {
		known = known || one == x.Installer
	}
	if !known {
		say(".installer", "one of "+joined(Installers()), "unknown installer %s", shown(string(x.Installer)))
		return
	}
	if x.Installer == DiskImage {
		c.diskImage(i, say, d)
		return
	}
	if x.Grow || x.BootEntry != "" || x.Seed != 0 {
		say("", "installer: disk-image, or leave grow, bootEntry and seed out", "only a disk image grows, has a boot entry made and is seeded, %s does that by itself", x.Installer)
	}
	if d.Image == "" {
		say("", map[bool]string{true: "image: and its boot.cfg, such as esxi-8/boot.cfg", false: "image: and the installer's initramfs, such as debian-12/initrd.gz"}[x.Installer == ESXi],
			"no image: the platform's own is none of %s", x.Installer)
	}
	switch {
	case x.Installer == ESXi && x.Kernel != "":
		say(".kernel", "no kernel here: boot.cfg names it", "ESXi has no kernel of its own to boot")
	case x.Installer != ESXi && !plain(x.Kernel, maxImageName, "-_./+"):
		say(".kernel", "the name of an artifact, such as debian-12/linux", "%s is not the name of the installer's kernel", shown(x.Kernel))
	}
	if x.Template != "" && !plain(x.Template, maxImageName, "-_./+") {
		say(".template", "the name of an artifact of kind template, or leave template out", "%s is not the name of a template", shown(x.Template))
	}
	c.source(say, x)
	c.disk(say, x)
	c.login(i, say, x)
	if x.Installer == ESXi && x.PasswordHash == "" {
		say(".passwordHash", `passwordHash: "env:NAME"`, "no passwordHash: the installer of ESXi demands one")
	}
}

// login checks who can log in to what is installed.
func (c *checker) login(i int, say func(field, fix, format string, args ...any), x *Install) {
	if x.PasswordHash != "" {
		c.reference(i, "install.passwordHash", x.PasswordHash, "the hash")
	}
	if len(x.Keys) > maxKeys {
		say(".keys", fmt.Sprintf("at most %d keys", maxKeys), "%d keys", len(x.Keys))
	}
	for n, k := range x.Keys {
		if len(k) > maxKey || !sshKey.MatchString(k) {
			say(fmt.Sprintf(".keys[%d]", n), "a public key as it stands in a file *.pub, such as ssh-ed25519 AAAA… name", "%s is not a public SSH key", shown(k))
		}
	}
}

// bootEntry is a path in an EFI system partition.
var bootEntry = regexp.MustCompile(`^(\\[A-Za-z0-9._-]+){1,8}$`)

// diskImage checks how rackreach's own installer writes an image.
func (c *checker) diskImage(i int, say func(field, fix, format string, args ...any), d *Device) {
	x := d.Install
	switch {
	case x.Kernel != "" || x.Source != "":
		say("", "disk, grow, bootEntry and seed only", "a disk image is written as it is: it takes no kernel and no source")
	case x.Seed == 0 && (x.Template != "" || x.PasswordHash != "" || len(x.Keys) > 0 || x.Static):
		say("", "seed: and the number of the partition with its root file system, such as 1, or leave them out", "template, passwordHash, keys and static are for cloud-init in the image, and no partition takes its seed")
	case x.Seed < 0 || x.Seed > maxPartition:
		say(".seed", "the number of the partition with its root file system, such as 1", "%d is not the number of a partition", x.Seed)
	case x.Static && len(d.MACs) == 0:
		say(".static", "its MACs in the inventory, or leave static out", "which of its interfaces has the address is told by its MAC, and there is none")
	}
	if x.Template != "" && !plain(x.Template, maxImageName, "-_./+") {
		say(".template", "the name of an artifact of kind template, or leave template out", "%s is not the name of a template", shown(x.Template))
	}
	c.login(i, say, x)
	if x.BootEntry != "" && (len(x.BootEntry) > maxPath || !bootEntry.MatchString(x.BootEntry)) {
		say(".bootEntry", `a path such as \EFI\BOOT\BOOTX64.EFI`, "%s is not the path of a boot loader", shown(x.BootEntry))
	}
	if strings.HasPrefix(x.Disk.Path, "/dev/") && strings.Count(x.Disk.Path, "/") > 2 {
		say(".disk.path", "/dev/NAME, or better the disk's serial number", "there are no links such as %s where rackreach's own installer runs", shown(x.Disk.Path))
	}
	c.disk(say, x)
}

// source checks where the installer fetches what it installs.
func (c *checker) source(say func(field, fix, format string, args ...any), x *Install) {
	u, err := url.Parse(x.Source)
	switch {
	case x.Source == "" && (x.Installer == Kickstart || x.Installer == Autoinstall):
		say(".source", "source: and the URL of "+map[Installer]string{Kickstart: "the installation tree", Autoinstall: "the live server's ISO"}[x.Installer], "no source: %s has nothing to install", x.Installer)
	case x.Source == "":
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.User != nil, !plain(x.Source, maxSource, "-_./:~+"):
		say(".source", "a URL such as http://deb.example.net/debian, of letters, digits and -_./:~+ only", "the source is not a URL that an installer takes")
	case x.Installer == ESXi:
		say(".source", "no source here", "ESXi is installed from its boot files")
	}
}

// disk checks a disk rule.
func (c *checker) disk(say func(field, fix, format string, args ...any), x *Install) {
	d := x.Disk
	switch {
	case d.Path != "" && (!strings.HasPrefix(d.Path, "/dev/") || !plain(d.Path, maxPath, "-_./:+") || strings.Contains(d.Path, "//") || strings.Contains(d.Path, "..") || strings.HasSuffix(d.Path, "/")):
		say(".disk.path", "/dev/NAME, such as /dev/disk/by-id/nvme-…", "%s is not the path of a disk", shown(d.Path))
	case x.Installer == ESXi && (!strings.HasPrefix(d.Path, "/dev/disks/") || d.Serial != "" || d.MinSize != 0 || d.MaxSize != 0):
		say(".disk", "disk: {path: /dev/disks/NAME}, such as /dev/disks/naa.5000…, and nothing else", "ESXi is told its disk by name only")
	}
	if d.Serial != "" && !plain(d.Serial, maxDiskSerial, "-_.:+") {
		say(".disk.serial", "letters, digits and -_.:+ only, as the disk says it", "%s is not the serial number of a disk", shown(d.Serial))
	}
	if d.MinSize < 0 || d.MaxSize < 0 || d.MaxSize != 0 && d.MaxSize < d.MinSize {
		say(".disk", "minSize and maxSize in this order", "no disk has at least %d and at most %d bytes", d.MinSize, d.MaxSize)
	}
}
