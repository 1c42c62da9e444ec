package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// tolerated is how far two clocks may be apart before it is said: the Date of an answer
// counts whole seconds (RFC 9110 section 5.6.7) and was on its way.
const tolerated = time.Minute

// clockError says that a certificate is sound, but for the clock of this machine.
type clockError struct {
	now           time.Time
	before, after time.Time // between them the certificate holds
}

// Error implements error. What it says is the least that the clock can be wrong by.
func (e *clockError) Error() string {
	now := "the clock of this machine says " + e.now.UTC().Format(time.RFC3339)
	if e.now.Before(e.before) {
		return fmt.Sprintf("%s, and its certificate holds from %s on: this clock is behind by %s or more", now, e.before.UTC().Format(time.RFC3339), e.before.Sub(e.now).Round(time.Second))
	}
	return fmt.Sprintf("%s, and its certificate held until %s: this clock is ahead by %s or more, or the certificate was not renewed", now, e.after.UTC().Format(time.RFC3339), e.now.Sub(e.after).Round(time.Second))
}

// byClock is why a certificate was refused that is sound at another time; nil: it has
// other faults, or none.
func byClock(c *x509.Certificate, o x509.VerifyOptions, err error) error {
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		return nil
	}
	e := &clockError{now: o.CurrentTime, before: c.NotBefore, after: c.NotAfter}
	if e.now.IsZero() {
		e.now = time.Now()
	}
	o.CurrentTime = e.sound()
	if _, err := c.Verify(o); err != nil {
		return nil
	}
	return e
}

// sound is the moment next to now at which the certificate holds. An authority is made
// before what it issues and outlives it: it holds by then too.
func (e *clockError) sound() time.Time {
	if e.now.Before(e.before) {
		return e.before
	}
	return e.after
}

// apart asks a coordinator for its time, theirs, and says how the clock of this machine
// differs from it; "": it does not, or theirs is not known. why is what went wrong with
// config, which apart changes. The answer is believed because the certificate proves who
// gives it, at whatever time it holds.
func apart(ctx context.Context, url string, config *tls.Config, why error) (differ string, theirs time.Time) {
	var c *clockError
	if errors.As(why, &c) {
		config.Time = c.sound
	}
	config.GetClientCertificate = nil // the question is for anybody
	h := httpClient(config)
	defer h.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, callLimit/3)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return "", theirs
	}
	a, err := h.Do(q)
	if err != nil {
		return "", theirs
	}
	_ = a.Body.Close() // an answer to HEAD has none
	if theirs, err = http.ParseTime(a.Header.Get("Date")); err != nil {
		return "", time.Time{}
	}
	by, where := time.Now().Round(0).Sub(theirs).Round(time.Second), "ahead of"
	if by < 0 {
		by, where = -by, "behind"
	}
	if by < tolerated {
		return "", theirs
	}
	return fmt.Sprintf("the clock of this machine is %s %s that of the coordinator: set the one that is wrong (timedatectl tells whether a clock is kept by NTP), then do this again; an agent that runs tries again by itself", by, where), theirs
}

// ofTime reports whether an error of a handshake may come from clocks.
func ofTime(err error) bool {
	return errors.As(err, new(*clockError)) || err != nil && strings.Contains(err.Error(), "expired certificate") // RFC 8446 section 6.2
}
