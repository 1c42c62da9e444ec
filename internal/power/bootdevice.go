package power

import (
	"context"
	"errors"
	"fmt"

	"github.com/bougou/go-ipmi/pkg/types"
)

// BootPXE makes the host boot from the network next time, once, by UEFI, and
// reads that back.
//
// Parameter 3 is set first, so that the flags outlive the 60 s in which a BMC
// else forgets them (§28.12, table 28-14); BMCs without it are tolerated. Then
// parameter 5, which is read back alone: reading all of them fails on BMCs that
// lack one.
//
// Errors: as Login, and ErrNotKept when the BMC accepts but does not keep it.
func (c *Client) BootPXE(ctx context.Context, t Target) error {
	const asked = "boot from the network next time"
	return c.talk(ctx, t, asked, true, func(ctx context.Context, s *session) error {
		if err := s.keepFlags(ctx); err != nil {
			return err
		}
		want := types.BootOptionParam_BootFlags{
			BootFlagsValid:     true,
			BIOSBootType:       types.BIOSBootTypeEFI,
			BootDeviceSelector: types.BootDeviceSelectorForcePXE,
		}
		if err := s.c.SetSystemBootOptionsParamFor(ctx, &want); err != nil {
			return s.refused(types.CommandSetSystemBootOptions, err)
		}
		var got types.BootOptionParam_BootFlags
		if err := s.c.GetSystemBootOptionsParamFor(ctx, &got); err != nil {
			return s.refused(types.CommandGetSystemBootOptions, err)
		}
		if got.BootFlagsValid && !got.Persist && got.BIOSBootType == want.BIOSBootType && got.BootDeviceSelector == want.BootDeviceSelector {
			return nil
		}
		return &Error{Device: t.Device, Address: t.addrPort(), Asked: asked, Kind: ErrNotKept,
			Answer: fmt.Sprintf("it accepted that, but reads back boot flags % x instead of % x", got.Pack(), want.Pack()),
			Next:   "set its boot order to network first by hand, or update its firmware"}
	})
}

// keepFlags asks the BMC not to clear the boot flags on a time-out.
func (s *session) keepFlags(ctx context.Context) error {
	err := s.c.SetSystemBootOptionsParamFor(ctx, &types.BootOptionParam_BMCBootFlagValidBitClear{DontClearOnCommandReceivedTimeout: true})
	if err == nil {
		return nil
	}
	if err = s.refused(types.CommandSetSystemBootOptions, err); errors.As(err, new(*refusal)) {
		return nil
	}
	return err
}
