//go:build linux

package installer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rackreach/rackreach/internal/job"
)

// tellEvery is how often an installer says how far it is.
const tellEvery = 2 * time.Second

// tell says how far the writer is, to the agent and to people, until stop is called. An
// agent that does not listen costs nothing but the next word.
func (n *installation) tell(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var g sync.WaitGroup
	g.Go(func() {
		again := time.NewTicker(tellEvery)
		defer again.Stop()
		var last job.Progress
		for said := int64(-1); ; {
			select {
			case <-again.C:
			case <-ctx.Done():
				return
			}
			p := n.progress()
			if p != last {
				n.o.Alive()
			}
			last = p
			if percent := p.Checked * 100 / p.Total; percent/10 != said {
				said = percent / 10
				n.o.Say(fmt.Sprintf("%d of %d bytes written, %d read back (%d %%)", p.Written, p.Total, p.Checked, percent))
			}
			if n.j.Progress != "" {
				_ = n.src.post(ctx, n.j.Progress, p) // the next one says more
			}
		}
	})
	return func() { cancel(); g.Wait() }
}

// progress is how far the writer is.
func (n *installation) progress() job.Progress {
	checked := n.w.checked.Load() // first: never more than what is written
	return job.Progress{Phase: job.Writing, Checked: checked, Written: n.w.written.Load(), Total: n.w.x.RawSize}
}

// finishing says that the whole image is on the disk, until the agent has heard it: one
// that was started anew does not know what its earlier life has served.
func (n *installation) finishing(ctx context.Context) {
	if n.j.Progress == "" {
		return
	}
	p := n.progress()
	p.Phase = job.Finishing
	n.src.last.Store(time.Now().UnixNano())
	err := n.src.again(ctx, func(ctx context.Context) (bool, error) { return false, n.src.post(ctx, n.j.Progress, p) })
	if err != nil && ctx.Err() == nil {
		n.o.Say("the agent does not hear that the image is on the disk: " + err.Error())
	}
}
