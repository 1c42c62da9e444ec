package kmod

import (
	"slices"
	"strings"
	"testing"
)

const dep = `kernel/drivers/virtio/virtio.ko:
kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko
kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
kernel/net/core/failover.ko:
kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
kernel/fs/nls/nls_iso8859-1.ko.xz:
`

const alias_ = `# Aliases extracted from modules themselves.
alias virtio:d00000001v* virtio_net
alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci
alias pci:v00008086d0000[0-4]*sv*sd*bc*sc*i* nobody
alias nls_iso8859-1 nls_iso8859-1
`

func tables(t *testing.T) *Tables {
	t.Helper()
	x, err := Read(strings.NewReader(dep), strings.NewReader(alias_))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// Everything is loaded after what it needs, and once.
func TestOrder(t *testing.T) {
	files, missing := tables(t).Order("virtio_pci", "virtio-net", "ext4", "kernel/drivers/virtio/virtio.ko")
	var names []string
	for _, f := range files {
		names = append(names, Name(f))
	}
	if want := []string{"virtio", "virtio_ring", "virtio_pci", "failover", "net_failover", "virtio_net"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	if !slices.Equal(missing, []string{"ext4"}) {
		t.Errorf("missing %v", missing)
	}
}

// What a table has no file of is missing, unless the kernel has it built in; also what is
// only needed.
func TestMissing(t *testing.T) {
	x, err := Read(strings.NewReader("kernel/a.ko: kernel/b.ko kernel/c.ko.xz\nkernel/b.ko:\n"), strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	want := func(names string, missing ...string) {
		t.Helper()
		if files, got := x.Order(strings.Fields(names)...); !slices.Equal(got, missing) || slices.Contains(files, "kernel/c.ko.xz") {
			t.Errorf("%s: %v, missing %v, want %v", names, files, got, missing)
		}
	}
	want("a a", "kernel/c.ko.xz")
	want("b efivarfs nls-ascii efivarfs", "efivarfs", "nls-ascii")
	if err := x.ReadBuiltin(strings.NewReader("kernel/c.ko\nkernel/fs/efivarfs/efivarfs.ko\nkernel/fs/nls/nls_ascii.ko\n")); err != nil {
		t.Fatal(err)
	}
	want("a b efivarfs nls-ascii af_packet", "af_packet")
}

func TestWants(t *testing.T) {
	for modalias, want := range map[string]string{
		"virtio:d00000001v00001AF4":                             "virtio_net",
		"pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00": "virtio_pci",
		"pci:v00008086d00003000sv0sd0bc02sc00i00":               "nobody",
		"pci:v00008086d00005000sv0sd0bc02sc00i00":               "",
		"nls_iso8859-1": "nls_iso8859_1",
		"acpi:PNP0A03:": "",
	} {
		if got := strings.Join(tables(t).Wants(modalias), " "); got != want {
			t.Errorf("%s: %q, want %q", modalias, got, want)
		}
	}
}

// What is written for an initramfs is read there as it was here.
func TestSubset(t *testing.T) {
	x := tables(t)
	files, _ := x.Order("virtio_net")
	y, err := Read(strings.NewReader(x.DepsOf(files)), strings.NewReader(x.AliasesOf(files)))
	if err != nil {
		t.Fatal(err)
	}
	again, missing := y.Order(y.Wants("virtio:d00000001v00001AF4")...)
	if !slices.Equal(again, files) || len(missing) != 0 || len(y.aliases) != 1 {
		t.Errorf("%v, %v, %v", again, missing, y.aliases)
	}
}

func TestDamaged(t *testing.T) {
	if _, err := Read(strings.NewReader("nonsense\n"), strings.NewReader("")); err == nil || !strings.Contains(err.Error(), "modules.dep") {
		t.Error(err)
	}
}
