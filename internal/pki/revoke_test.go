package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRevokedAgentsAreRefused(t *testing.T) {
	c := newCoordinator(t, lives{})
	id, other := c.enroll(t, "r1"), c.enroll(t, "r2")
	h := httpClient(id.ClientTLS("127.0.0.1"))
	defer h.CloseIdleConnections()
	if got, err := whoBy(h, c.url); got != "r1 HTTP/2.0" {
		t.Fatalf("%q %v", got, err)
	}
	if err := c.enrollments.Revoke(t.Context(), "r1"); err != nil {
		t.Fatal(err)
	}
	if rack := <-c.revoked; rack != "r1" || !slices.Equal(c.view.Racks(), []string{"r1"}) {
		t.Errorf("told to close the connections of %s; revoked are %v", rack, c.view.Racks())
	}
	// The connection that is open still says who it is; the view says that it is over.
	if got, err := whoBy(h, c.url); got != "r1 HTTP/2.0" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := c.who(id.ClientTLS("127.0.0.1")); err == nil {
		t.Error("a revoked agent connects")
	}
	if err := id.Renew(t.Context(), c.url); err == nil || !strings.Contains(err.Error(), "if it was revoked") {
		t.Errorf("a revoked agent renews: %v", err)
	}
	if got, err := c.who(other.ClientTLS("127.0.0.1")); got != "r2 HTTP/2.0" {
		t.Errorf("another rack's agent: %q %v", got, err)
	}
	if again := c.enroll(t, "r1"); again.Renew(t.Context(), c.url) != nil {
		t.Error("an agent that was enrolled again does not renew")
	}
}

// TestRenewAsksTheTable renews over a connection from before the revocation, at
// a coordinator that has not heard of it yet.
func TestRenewAsksTheTable(t *testing.T) {
	c := newCoordinator(t, lives{})
	id := c.enroll(t, "r1")
	elsewhere := &Enrollments{Generations: c.enrollments.Generations, View: NewView(nil)}
	if err := elsewhere.Revoke(t.Context(), "r1"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.who(id.ClientTLS("127.0.0.1")); got != "r1 HTTP/2.0" {
		t.Fatalf("it has heard of it: %q %v", got, err)
	}
	if err := id.Renew(t.Context(), c.url); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("a revoked agent renews: %v", err)
	}
	if _, err := c.who(id.ClientTLS("127.0.0.1")); err == nil {
		t.Error("what the table said was not told to the view")
	}
}

func TestRevocationNeedsNoClock(t *testing.T) {
	a, err := newAuthority(time.Now().Add(-100*time.Hour), 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	e := &Enrollments{Generations: &Memory{}, View: NewView(nil)}
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := newCSR(key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := parseCSR(der)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(generation uint64, at time.Time) *x509.Certificate {
		c, err := a.issueAgent("r1", generation, csr, at, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ahead := issue(0, time.Now().Add(time.Hour)) // by a coordinator whose clock is an hour ahead
	if e.View.Revoked(ahead) {
		t.Fatal("revoked, and nobody did it")
	}
	if err := e.Revoke(t.Context(), "r1"); err != nil {
		t.Fatal(err)
	}
	if !e.View.Revoked(ahead) {
		t.Error("a certificate of before is not revoked")
	}
	if e.View.Revoked(issue(1, time.Now().Add(-time.Hour))) {
		t.Error("a certificate of after is revoked, because a clock is behind")
	}
	foreign := func(from time.Time) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(1), URIs: []*url.URL{rackURI("r1")}, NotBefore: from}
	}
	if !e.View.Revoked(foreign(time.Now().Add(-time.Minute))) || e.View.Revoked(foreign(time.Now().Add(time.Minute))) {
		t.Error("a certificate of a foreign authority is judged by its beginning")
	}
	if !e.View.Revoked(&x509.Certificate{}) {
		t.Error("a certificate without a rack holds")
	}
}

func TestViewsFollowTheTable(t *testing.T) {
	table, told := &Memory{}, 0
	view := NewView(func(string) { told++ })
	e := &Enrollments{Generations: table, View: NewView(nil)}
	for range 3 {
		if err := e.Revoke(t.Context(), "r1"); err != nil {
			t.Fatal(err)
		}
	}
	value, revision, err := table.Get(t.Context(), "r1")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(view.Load(t.Context(), table), view.Set("r1", value, revision), view.Set("r1", []byte(`{"generation":1}`), revision-1)); err != nil {
		t.Error(err)
	}
	if told != 1 || view.rows["r1"].Generation != 3 {
		t.Errorf("told %d times, generation %d", told, view.rows["r1"].Generation)
	}
	if view.Set("r1", []byte("noise"), revision+1) == nil || view.rows["r1"].Generation != 3 {
		t.Error("noise is believed")
	}
}

func TestRevokingAtOnceCountsEach(t *testing.T) {
	e := &Enrollments{Generations: &Memory{}, View: NewView(nil)}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := e.Revoke(context.Background(), "r1"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if g, _, err := e.generation(t.Context(), "r1"); err != nil || g.Generation != 8 {
		t.Errorf("%+v %v", g, err)
	}
}

// TestAConnectionThatOutlivesItsCertificate holds that Check judges by the clock
// of now.
func TestAConnectionThatOutlivesItsCertificate(t *testing.T) {
	c := &x509.Certificate{SerialNumber: big.NewInt(1), URIs: []*url.URL{rackURI("r1")}, NotAfter: time.Now().Add(-time.Second)}
	err := NewView(nil).Check(tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}, VerifiedChains: [][]*x509.Certificate{{c}}})
	if !errors.Is(err, ErrExpired) {
		t.Error(err)
	}
}
