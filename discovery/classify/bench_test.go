package classify

import "testing"

// BenchmarkClassify is the time of one packet by all embedded rules, its options
// at hand in a map.
func BenchmarkClassify(b *testing.B) {
	for _, x := range []struct {
		name string
		p    *options
	}{
		{"no-strings", discover()},
		{"pxe", discover().str(60, "PXEClient:Arch:00007:UNDI:003000").opt(93, 0, 7).opt(94, 1, 3, 0).opt(97, make([]byte, 17)...)},
		{"ipxe", discover().str(60, "PXEClient:Arch:00007:UNDI:003010").str(77, "iPXE").opt(93, 0, 7).opt(175, 0x13, 1, 1)},
		{"onie", discover().str(60, "onie_vendor:x86_64-sim_tor48-r0").str(77, "\x14onie_dhcp_user_class").str(61, "\x00SN").opt(125, 0, 0, 0xa6, 0x7f, 5, 3, 3, 'a', '_', 'b')},
		{"arista", discover().str(60, "Arista;DCS-7050S-64;01.23;JPE12221671")},
		{"stranger", discover().str(60, "toaster")},
	} {
		at := map[uint8][]byte{}
		for code := range 255 {
			if v := x.p.get(uint8(code)); v != nil {
				at[uint8(code)] = v
			}
		}
		p := Packet{Options: func(code uint8) []byte { return at[code] }, MAC: []byte{0x00, 0x25, 0x90, 1, 2, 3}}
		rules := Default()
		b.Run(x.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rules.Classify(p)
			}
		})
	}
}
