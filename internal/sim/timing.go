package sim

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// Durations of real hardware. All are estimates, within the ranges that the
// protocol facts (§7) collect from the field; each is varied by jitterShare and
// divided by Options.Speed.
const (
	postServer   = 60 * time.Second  // power-on self test of a server
	postSwitch   = 30 * time.Second  // of a switch
	bootONIE     = 60 * time.Second  // ONIE from power-on to its first DHCP packet
	bootNOS      = 60 * time.Second  // network operating system, disk to DHCP
	bootOS       = 60 * time.Second  // server's operating system, disk to DHCP
	writeServer  = 120 * time.Second // image to a server's disk
	writeSwitch  = 90 * time.Second  // image to a switch's flash
	applyConfig  = 10 * time.Second  // configuration, from received to in force
	rebootWait   = 3 * time.Second   // at most, before a switch that was told to reboots
	oniePause    = 20 * time.Second  // between two rounds of ONIE's discovery
	onieRetry    = 3 * time.Second   // between two DISCOVERs of ONIE
	onieMute     = 200 * time.Second // a counted hang of ONIE's discovery
	ztpPause     = 10 * time.Second  // between two rounds of zero-touch provisioning (sonic-ztp)
	declinePause = 10 * time.Second  // after a DECLINE (RFC 2131 §3.1 item 5)
	netRetry     = 5 * time.Second   // TFTP retransmission, pause before an HTTP retry
	connectLimit = 30 * time.Second  // of a device's TCP connect
	bmcFirst     = 4 * time.Second   // before a BMC's second DISCOVER; doubles
	bmcMost      = 10 * time.Second  // at most this between two of them
	bmcRefresh   = 60 * time.Second  // a BMC asks for its address anew
	pxeFirst     = 4 * time.Second   // before the firmware's second DISCOVER; doubles
	pxeMost      = 32 * time.Second  // at most this between two of them
	bootFlagLife = 60 * time.Second  // boot flags without a chassis control (IPMI 2.0 §28.13)
)

// Floors in real time: the simulated rack runs faster, the machine under it
// does not.
const (
	floorBMC     = 100 * time.Millisecond // between two DHCP packets of one BMC
	floorDHCP    = 50 * time.Millisecond  // between two DHCP packets of anything else
	floorNet     = 250 * time.Millisecond // pause before an HTTP retry
	floorTFTP    = time.Second            // TFTP retransmission
	floorConnect = 2 * time.Second        // TCP connect
	floorFlags   = 10 * time.Second       // life of boot flags
	floorRefresh = 500 * time.Millisecond // between two refreshes of a BMC's lease
	floorSession = 2 * time.Second        // of a BMC's session without a command; the library adds 3 s
)

const jitterShare = 0.2 // of a duration, either way

// tempo turns real durations into simulated ones.
type tempo struct {
	speed float64
	seed  uint64
}

// scaled is d divided by the speed, but not below floor.
func (t tempo) scaled(d, floor time.Duration) time.Duration {
	return max(time.Duration(float64(d)/t.speed), floor)
}

// around is d divided by the speed and varied; what and n name the occasion, so
// that one seed gives the same durations whatever the order of goroutines.
func (t tempo) around(d time.Duration, device, what string, n int) time.Duration {
	h := fnv.New64a()
	if _, err := h.Write([]byte(device + "\x00" + what)); err != nil {
		return d // never: a hash does not fail
	}
	r := rand.New(rand.NewPCG(t.seed, h.Sum64()+uint64(n)))
	return time.Duration(float64(d) / t.speed * (1 + jitterShare*(2*r.Float64()-1)))
}

// pause waits for d or for the end of ctx, whose error it returns.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
