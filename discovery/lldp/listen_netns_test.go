//go:build netns

package lldp

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/nstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestListen(t *testing.T) {
	us, them := nstest.New(t), nstest.New(t)
	us.Cable("rr0", them, "rr0")
	var tap *wire.Tap
	var sender *wire.Sender
	var err, sendErr error
	us.Do(func() { tap, err = wire.OpenTap("rr0", wire.LLDP()) })
	them.Do(func() { sender, sendErr = wire.OpenSender("rr0") })
	if err = errors.Join(err, sendErr); err != nil {
		t.Fatal(err)
	}
	before := us.Sent("rr0")
	for _, f := range [][]byte{announcement("nonsense"), announcement(chassis, port, ttl, tlv(typeSystem, "mgmt-1"), end)} {
		if err := sender.Send(f); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var heard []Neighbour
	if err := Listen(ctx, tap, func(n Neighbour) { heard = append(heard, n); cancel() }); err != nil {
		t.Error(err)
	}
	if len(heard) != 1 || heard[0].String() != "mgmt-1 port swp48" {
		t.Errorf("%+v", heard)
	}
	if n := us.Sent("rr0") - before; n != 0 {
		t.Errorf("%d frames were sent", n)
	}
	if err := sender.Close(); err != nil {
		t.Error(err)
	}
}
