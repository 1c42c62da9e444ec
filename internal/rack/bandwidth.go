package rack

import "fmt"

// Bandwidth is what images may take of the network, in bits a second; 0: no bound.
type Bandwidth struct {
	Rack   int64 // all devices together
	Device int64 // each of them
}

// Bounds of a bandwidth, in bits a second.
const (
	leastBandwidth = 1_000_000         // slower, a disk image takes days
	mostBandwidth  = 1_000_000_000_000 // faster than any port
)

// bandwidth holds that bounds are ones that an image gets through.
func (c *checker) bandwidth() {
	b := c.r.Services.Bandwidth
	for _, x := range []struct {
		of   string
		bits int64
	}{{"rack", b.Rack}, {"device", b.Device}} {
		if x.bits != 0 && (x.bits < leastBandwidth || x.bits > mostBandwidth) {
			c.say("", 0, "services.bandwidth."+x.of, "from 1Mbit/s to 1000Gbit/s, or leave it out for no bound",
				"a bandwidth of %s for a %s", Bits(x.bits), x.of)
		}
	}
	if b.Rack > 0 && b.Device > b.Rack {
		c.say("", 0, "services.bandwidth.device", "at most "+Bits(b.Rack)+", or a larger one for the rack",
			"a device may take %s, more than the rack's %s", Bits(b.Device), Bits(b.Rack))
	}
}

// bitUnits are units of bandwidths, the largest first.
var bitUnits = []struct {
	name string
	bits int64
}{{"Gbit/s", 1_000_000_000}, {"Mbit/s", 1_000_000}, {"kbit/s", 1000}, {"bit/s", 1}}

// Bits is a bandwidth as rack files write it: "2500Mbit/s".
func Bits(n int64) string {
	for _, u := range bitUnits {
		if n >= u.bits && n%u.bits == 0 {
			return fmt.Sprintf("%d%s", n/u.bits, u.name)
		}
	}
	return fmt.Sprintf("%dbit/s", n)
}
