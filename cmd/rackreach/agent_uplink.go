package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"time"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/pki"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// door is the agent's way to a coordinator.
type door struct {
	*bus.Several
	id  *pki.Identity // nil: it was not enrolled
	who certificate   // nil: it has none
}

// certificate is who the agent is, enrolled or by file.
type certificate interface {
	Rack() string
	Expires() time.Time
	ClientTLS(host string) *tls.Config
	Explain(ctx context.Context, url string, err error) error
}

// door finds the coordinator, and gets this machine its certificate if a token was
// given. Nothing is sent to the coordinator besides.
func (a *agent) door(ctx context.Context, home state.Home) (_ *door, err error) {
	d := &door{}
	urls := a.coordinators
	dir := home.Identity(a.rack)
	var given *pki.Given
	switch {
	case a.token != "":
		d.id, err = a.enroll(ctx, dir)
	case a.cert != "":
		given, err = pki.LoadGiven(pki.AgentFiles{Certificate: a.cert, Key: a.key, CA: a.ca})
		dir, d.who = a.cert, given
	default:
		d.id, err = pki.LoadIdentity(dir)
		if errors.Is(err, pki.ErrNoIdentity) {
			d.id, err = nil, nil
		}
	}
	switch {
	case errors.Is(err, pki.ErrAway):
		return nil, err
	case err != nil:
		return nil, badInput(notMine(err))
	}
	if d.id != nil {
		d.who = d.id
	}
	if d.who != nil && d.who.Rack() != a.rack {
		return nil, badInput(fmt.Errorf("the certificate in %s is of the agent of rack %s, not of %s: give --rack %s, or a certificate for %s", dir, d.who.Rack(), a.rack, d.who.Rack(), a.rack))
	}
	if len(urls) == 0 {
		path, err := filepath.Abs(home.Coordinator())
		if err != nil {
			return nil, fmt.Errorf("find the coordinator's socket: %w", err)
		}
		urls = []string{"unix://" + path}
		if d.id != nil {
			urls[0] = d.id.Server()
		}
	}
	if d.Several, err = bus.DialSeveral(urls, func(url string) (*tls.Config, error) { return a.trust(d, url) }); err != nil {
		return nil, badInput(fmt.Errorf("--coordinator: %w", err))
	}
	return d, nil
}

// trust is whom the agent trusts, and what it shows of itself; nil without TLS.
func (a *agent) trust(d *door, of string) (*tls.Config, error) {
	u, err := url.Parse(of)
	if err != nil || u.Scheme != "https" {
		return nil, nil // bus.Dial says what is wrong with it
	}
	if d.who == nil {
		return nil, fmt.Errorf("the coordinator at %s asks for a certificate: make a token with rackreach enroll --rack %s, and give it as --token; or give --tls-cert, --tls-key and --ca", of, a.rack)
	}
	return d.who.ClientTLS(u.Hostname()), nil
}

// enroll gets this machine its certificate. A token is for one rack and is used up:
// it is looked at before it is shown.
func (a *agent) enroll(ctx context.Context, dir string) (*pki.Identity, error) {
	t, err := pki.ParseToken(a.token)
	if err != nil {
		return nil, err
	}
	if t.Rack != a.rack {
		return nil, fmt.Errorf("--token is for the agent of rack %s, not of %s. Nothing was done with it. Next: give --rack %s, or a token of rackreach enroll --rack %s", t.Rack, a.rack, t.Rack, a.rack)
	}
	return pki.Enroll(ctx, a.token, dir)
}

// uplink keeps the agent connected to its coordinator until ctx ends.
func (a *agent) uplink(ctx context.Context, k *rackagent.Keeper, d *door, metrics string, log *slog.Logger) error {
	o := bus.UplinkOptions{Client: d.Several, LetGo: d.Next, Away: slog.LevelWarn}
	if len(a.coordinators) == 0 && d.id == nil {
		o.Away = slog.LevelDebug // nobody said that there is one
	}
	if d.who != nil {
		o.Explain = func(ctx context.Context, err error) error { return d.who.Explain(ctx, d.URL(), err) }
	}
	if d.id != nil {
		renewing, stop := context.WithCancel(ctx)
		renewed := make(chan struct{})
		go func() { defer close(renewed); d.id.RenewLoop(renewing, d.URL, log) }()
		defer func() { stop(); <-renewed }()
	}
	return k.Connect(ctx, &messages.Hello{Version: version(), MetricsAddress: metrics}, o)
}
