package power

import (
	"context"
	"errors"
	"fmt"

	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/rackreach/rackreach/internal/rack"
)

// BootDevice is what a host boots from.
type BootDevice int

// The devices.
const (
	FromNetwork BootDevice = iota
	FromDisk
	IntoSetup
)

// Boot is where a host is to boot from. The zero value is once, by UEFI, from the
// network.
type Boot struct {
	From       BootDevice
	Persistent bool // each time, not only the next
	BIOS       bool // by a BIOS; a host of UEFI set so boots in its legacy mode
}

func (b Boot) String() string {
	out := "boot from " + map[BootDevice]string{FromNetwork: "the network", FromDisk: "its disk", IntoSetup: "its setup"}[b.From]
	if b.Persistent {
		return out + " from now on"
	}
	return out + " next time"
}

// flags are the boot flags as this BMC wants them (§28.13 table 28-14).
func (b Boot) flags(q Quirks) types.BootOptionParam_BootFlags {
	f := types.BootOptionParam_BootFlags{BootFlagsValid: true, Persist: b.Persistent, BIOSBootType: types.BIOSBootTypeEFI}
	if b.BIOS {
		f.BIOSBootType = types.BIOSBootTypeLegacy
	}
	switch b.From {
	case FromDisk:
		f.BootDeviceSelector = types.BootDeviceSelectorForceHardDrive
		if q.EFIDisk != 0 && !b.BIOS {
			f.BootDeviceSelector = types.BootDeviceSelector(q.EFIDisk >> 2)
		}
	case IntoSetup:
		f.BootDeviceSelector = types.BootDeviceSelectorForceBIOSSetup
	default:
		f.BootDeviceSelector = types.BootDeviceSelectorForcePXE
	}
	return f
}

// overrideTries bounds how often a boot override is set that does not take.
const overrideTries = 2

// BootPXE makes the host boot from the network next time, once, by UEFI.
//
// Errors: as SetBoot.
func (c *Client) BootPXE(ctx context.Context, t Target) error { return c.SetBoot(ctx, t, Boot{}) }

// SetBoot sets where the host boots from, and reads that back. One that did not take
// is set once more.
//
// Parameter 3 is set first, so that the flags outlive the 60 s in which a BMC
// else forgets them (§28.12, table 28-14); BMCs without it are tolerated. Then
// parameter 5, which is read back alone: reading all of them fails on BMCs that
// lack one. A BMC that cannot read it back is believed.
//
// Errors: as Login, and ErrOverride when the BMC accepts but does not keep it.
func (c *Client) SetBoot(ctx context.Context, t Target, b Boot) error {
	var err error
	for try := range overrideTries {
		if try > 0 {
			c.o.Recovered(t, rack.OverrideAgain)
		}
		if err = c.setBoot(ctx, t, b); !errors.Is(err, ErrOverride) {
			break
		}
	}
	return err
}

func (c *Client) setBoot(ctx context.Context, t Target, b Boot) error {
	asked := b.String()
	return c.talk(ctx, t, asked, loggedIn, func(ctx context.Context, s *session) error {
		q := s.quirks(ctx)
		want := b.flags(q)
		// Both parameters are one change: the first changes nothing by itself.
		err := s.change(types.CommandSetSystemBootOptions, func() error {
			if err := s.keepFlags(ctx); err != nil {
				return err
			}
			return s.ask(ctx, types.CommandSetSystemBootOptions, func() error {
				return s.c.SetSystemBootOptionsParamFor(ctx, &want)
			})
		})
		var no *refusal
		if errors.As(err, &no) {
			told := t.explain(ctx, asked, err)
			var e *Error
			// A user who may not is not let past POST either.
			if errors.As(told, &e) && no.code != types.CodeInsufficientPrivilege {
				e.Next = q.advice(OverrideRefused, e.Next)
			}
			return told
		}
		if err != nil {
			return err
		}
		var got types.BootOptionParam_BootFlags
		err = s.ask(ctx, types.CommandGetSystemBootOptions, func() error {
			return s.c.GetSystemBootOptionsParamFor(ctx, &got)
		})
		if errors.As(err, &no) && !no.busy() {
			return nil
		}
		if err != nil || kept(want, got, q) {
			return err
		}
		return &Error{Device: t.Device, Address: t.addrPort(), Asked: asked, Kind: ErrOverride,
			Answer: fmt.Sprintf("it accepted that, but reads back boot flags % x instead of % x", got.Pack(), want.Pack()),
			Next:   q.advice(OverrideLost, "set its boot order to network first by hand, or update its firmware")}
	})
}

// kept compares what was set with what is read back.
func kept(want, got types.BootOptionParam_BootFlags, q Quirks) bool {
	if got.BootDeviceSelector != want.BootDeviceSelector || q.DeviceOnly {
		return got.BootDeviceSelector == want.BootDeviceSelector
	}
	return got.BootFlagsValid && got.Persist == want.Persist && got.BIOSBootType == want.BIOSBootType
}

// keepFlags asks the BMC not to clear the boot flags on a time-out.
func (s *session) keepFlags(ctx context.Context) error {
	err := s.ask(ctx, types.CommandSetSystemBootOptions, func() error {
		return s.c.SetSystemBootOptionsParamFor(ctx, &types.BootOptionParam_BMCBootFlagValidBitClear{DontClearOnCommandReceivedTimeout: true})
	})
	if errors.As(err, new(*refusal)) {
		return nil
	}
	return err
}
