package fleetlog

import (
	"context"
	"errors"
	"testing"
)

// TestConnectedElsewhere: a coordinator learns from the others of a cluster that one
// of them has an agent. Only who has it answers.
func TestConnectedElsewhere(t *testing.T) {
	t.Parallel()
	url := newCluster(t).url
	a, b := open(t, Options{URL: url}), open(t, Options{URL: url})
	ctx, stop := context.WithCancel(t.Context())
	asked, ended := make(chan string, 8), make(chan error, 2)
	go func() {
		ended <- a.AnswerConnected(ctx, func(_ context.Context, rack string) (bool, error) {
			asked <- rack
			return rack == "r1", nil
		})
	}()
	go func() {
		ended <- b.AnswerConnected(ctx, func(context.Context, string) (bool, error) { return true, errors.New("cannot tell") })
	}()
	until(t, "the other answers", func() bool {
		is, err := b.ConnectedElsewhere(t.Context(), "r1")
		if err != nil {
			t.Fatal(err)
		}
		return is
	})
	for len(asked) > 0 {
		<-asked
	}
	if is, err := b.ConnectedElsewhere(t.Context(), "r2"); is || err != nil {
		t.Errorf("the agent of r2 is connected to nobody: %v %v", is, err)
	}
	if rack := <-asked; rack != "r2" {
		t.Errorf("asked for %q", rack)
	}
	if _, err := b.ConnectedElsewhere(t.Context(), "*"); err == nil {
		t.Error("asked for every rack")
	}
	stop()
	if err := errors.Join(<-ended, <-ended); err != nil {
		t.Error(err)
	}
	if is, err := b.ConnectedElsewhere(t.Context(), "r1"); is || err != nil {
		t.Errorf("nobody is there: %v %v", is, err)
	}
}

// One coordinator with a log of its own has nobody to ask.
func TestConnectedElsewhereAlone(t *testing.T) {
	t.Parallel()
	l := open(t, Options{Dir: t.TempDir()})
	if err := l.AnswerConnected(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if is, err := l.ConnectedElsewhere(t.Context(), "r1"); is || err != nil {
		t.Errorf("%v %v", is, err)
	}
}
