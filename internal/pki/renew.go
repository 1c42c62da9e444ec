package pki

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/messages"
)

// Waits between attempts to renew.
const (
	firstRetry = time.Second
	lastRetry  = 10 * time.Minute
)

// Renew gets the next certificate from a coordinator, over a connection of its
// own, and takes the authorities that it trusts from then on. Connections that
// are open go on with the old certificate.
func (id *Identity) Renew(ctx context.Context, url string) error {
	host, err := hostOf(url)
	if err != nil {
		return fmt.Errorf("renew the agent's certificate: %w", err)
	}
	id.mu.Lock()
	defer id.mu.Unlock()
	unlock, err := lock(ctx, id.dir)
	if err != nil {
		return fmt.Errorf("renew the agent's certificate: %w", err)
	}
	defer unlock()
	key, err := pendingKey(id.dir, "")
	if err != nil {
		return fmt.Errorf("renew the agent's certificate: %w", err)
	}
	csr, err := newCSR(key)
	if err != nil {
		return fmt.Errorf("renew the agent's certificate: %w", err)
	}
	client, done := enrollmentClient(url, id.ClientTLS(host))
	defer done()
	answer, err := client.Renew(ctx, connect.NewRequest(&messages.RenewRequest{Csr: csr}))
	if err == nil {
		err = id.keep(id.Rack(), key, answer.Msg.GetCertificates(), answer.Msg.GetAuthorities())
	}
	if err != nil {
		return fmt.Errorf("renew the agent's certificate at %s: %w", url, id.Explain(ctx, url, err))
	}
	return nil
}

// RenewLoop renews the certificate at two thirds of its life, each time anew,
// until ctx ends. What fails is tried again, more and more slowly; a certificate
// that another process puts into the directory is taken. url is asked for each
// attempt: any coordinator will do.
func (id *Identity) RenewLoop(ctx context.Context, url func() string, log *slog.Logger) {
	for failures := 0; ; {
		if !sleep(ctx, id.until(failures)) {
			return
		}
		before := id.state.Load()
		if err := id.reload(ctx); err != nil {
			log.Error("the agent's identity cannot be read again", "error", err)
		}
		if id.state.Load() != before {
			failures = 0
			log.Info("another process has renewed the agent's certificate", "expires", id.Expires())
			continue
		}
		if err := id.Renew(ctx, url()); err != nil {
			if ctx.Err() != nil {
				return
			}
			failures++
			log.Error("the agent's certificate was not renewed", "expires", id.Expires(), "next try", id.until(failures).Round(time.Millisecond), "error", err)
			continue
		}
		failures = 0
		log.Info("the agent's certificate was renewed", "expires", id.Expires())
	}
}

// until is how long to wait for the next attempt.
func (id *Identity) until(failures int) time.Duration {
	c := id.state.Load().certificate.Leaf
	life := c.NotAfter.Sub(c.NotBefore)
	if failures == 0 {
		// Not at once: near the end of an authority all lives are short.
		return max(time.Until(renewAt(c))-jitter(life/20), min(time.Minute, life/20))
	}
	// Short lives are for tests; they retry at their own pace.
	wait := min(firstRetry<<min(failures-1, 16), lastRetry, max(life/12, 100*time.Millisecond))
	return wait/2 + jitter(wait/2)
}

// sleep waits; false: ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
