package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// Job is one action on one device.
type Job struct {
	Device  string
	Step    rack.Step
	Attempt int
	Image   rack.Image // what the plan says the device gets

	Overwrites string // what the device holds that may be overwritten, as rack.Observation.Holds
	Repeat     bool   // an earlier life may have done it already: look at the device first
}

// ErrInUse says that a device runs something that must not be touched: another
// attempt would find the same. It is wrapped.
var ErrInUse = errors.New("it is in use")

// final reports whether trying again is of no use, or does harm: an error may say so by
// a method Final.
func final(err error) bool {
	var f interface{ Final() bool }
	return errors.Is(err, ErrInUse) || errors.As(err, &f) && f.Final()
}

// recovery names what another attempt makes up for: an error may say so by a method
// Recovery.
func recovery(err error) rack.Recovery {
	var r interface{ Recovery() rack.Recovery }
	if errors.As(err, &r) {
		return r.Recovery()
	}
	return ""
}

// answered reports whether it is what the device said, all the time: an error may say so
// by a method Answered.
func answered(err error) bool {
	var a interface{ Answered() bool }
	return errors.As(err, &a) && a.Answered()
}

// Executor carries out actions against devices. Do returns when the action is
// done and read back, or with an error for people; it ends soon after its
// context does. It is called from many goroutines, for one device at a time.
type Executor interface {
	Do(ctx context.Context, job Job) error
}

// poolWorkers bounds the actions of one rack that run at once: every BMC of a
// full rack, with room to spare.
const poolWorkers = 64

// errDraining refuses an action because the rack is being halted.
var errDraining = errors.New("the rack is being halted: no new command is sent")

// pool runs the actions of a rack outside its actors. Once it drains it starts
// nothing more; actions that must not be interrupted run to their end, with
// the pool's own context.
type pool struct {
	exec   Executor
	ctx    context.Context // ends when the agent ends
	slots  chan struct{}
	onIdle func() // after draining: the last uninterruptible action has ended

	wg       sync.WaitGroup
	mu       sync.Mutex
	draining bool
	holding  int // uninterruptible actions that run
}

func newPool(ctx context.Context, exec Executor, onIdle func()) *pool {
	return &pool{exec: exec, ctx: ctx, slots: make(chan struct{}, poolWorkers), onIdle: onIdle}
}

// run starts a job. The result is handed over on another goroutine, exactly
// once. Interruptible jobs end with ctx, the others with the pool and their
// step's limit.
func (p *pool) run(ctx context.Context, job Job, result func(error)) {
	p.mu.Lock()
	refused := p.draining
	if !refused && job.Step.Uninterruptible {
		p.holding++
		ctx = p.ctx
	}
	p.wg.Add(1)
	p.mu.Unlock()
	go func() {
		defer p.wg.Done()
		if refused {
			result(errDraining)
			return
		}
		result(p.do(ctx, job))
		if job.Step.Uninterruptible {
			p.release()
		}
	}()
}

// do runs one job under its step's limit. A panic of an adapter is an error of
// the job, not the end of the process.
func (p *pool) do(ctx context.Context, job Job) (err error) {
	ctx, cancel := context.WithTimeout(ctx, job.Step.Limit)
	defer cancel()
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%s did not start: %w", job.Step.Action, context.Cause(ctx))
	}
	defer func() {
		<-p.slots
		if r := recover(); r != nil {
			err = fmt.Errorf("%s crashed: %.200v", job.Step.Action, r)
		}
	}()
	if p.refuses(job) {
		return errDraining
	}
	err = p.exec.Do(ctx, job)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		over := fmt.Errorf("no %s within %s", job.Step.Wanted(), job.Step.Limit)
		if answered(err) {
			return fmt.Errorf("%w: %w", over, err)
		}
		return over // what the adapter was doing when its time was up says less
	}
	return err
}

// aside runs work that no step waits for, and that a rack which drains may still do. A
// panic of an adapter is its error.
func (p *pool) aside(ctx context.Context, limit time.Duration, work func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() {
		<-p.slots
		if r := recover(); r != nil {
			err = fmt.Errorf("it crashed: %.200v", r)
		}
	}()
	return work(ctx)
}

func (p *pool) refuses(job Job) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.draining && !job.Step.Uninterruptible
}

func (p *pool) release() {
	p.mu.Lock()
	p.holding--
	idle := p.draining && p.holding == 0
	p.mu.Unlock()
	if idle {
		p.onIdle()
	}
}

// drain refuses every job from now on.
func (p *pool) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draining = true
}

// idle reports whether no uninterruptible action runs.
func (p *pool) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.holding == 0
}
