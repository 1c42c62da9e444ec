package pki

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
)

// Lives and bounds of enrollment tokens.
const (
	TokenLife    = time.Hour // of a token whose maker says nothing
	maxTokenLife = 30 * 24 * time.Hour
	tidyAfter    = 1000   // rows of the table, from which the dead ones are removed
	maxTokens    = 10_000 // tokens that are alive at once
	maxTries     = 16     // of a write that others are in the way of
)

// Errors of a token that is not taken. They are wrapped.
var (
	// ErrToken says that a token is not known, or not any more.
	ErrToken = errors.New("the enrollment token is not known: it is mistyped, was used, or has expired long ago")
	// ErrTokenExpired says that a token came too late.
	ErrTokenExpired = errors.New("the enrollment token has expired")
	// ErrTokenUsed says that a token was used with another key.
	ErrTokenUsed = errors.New("the enrollment token was used already")
)

// Enrollments is the tokens and the generations of racks, in tables that all
// coordinators share.
type Enrollments struct {
	Tokens      Table // by the hash of the secret
	Generations Table // by rack
	View        *View
	// URL is how agents reach the coordinator: "https://host:port".
	URL string
	// Fingerprint is that of the authority whose certificate the coordinator shows.
	Fingerprint func() string
}

// tokenRow is a token in the table.
type tokenRow struct {
	Rack       string    `json:"rack"`
	Generation uint64    `json:"generation"`
	Expires    time.Time `json:"expires"`
	// Key is the hash of the public key that got its certificate for it; empty:
	// the token is unused.
	Key string `json:"key,omitempty"`
}

// Create makes a one-time token for the agent of a rack. Zero expires: TokenLife
// from now. What the caller did wrong is a *connect.Error.
func (e *Enrollments) Create(ctx context.Context, rack string, expires time.Time) (text string, until time.Time, err error) {
	now := time.Now()
	if expires.IsZero() {
		expires = now.Add(TokenLife)
	}
	t := Token{URL: e.URL, Fingerprint: e.Fingerprint(), Rack: rack, Secret: rand.Text()}
	invalid := func(format string, args ...any) (string, time.Time, error) {
		return "", until, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("make an enrollment token: "+format, args...))
	}
	switch {
	case !ValidRack(rack):
		return invalid("%.80q is not the name of a rack", rack)
	case !now.Before(expires) || expires.Sub(now) > maxTokenLife:
		return invalid("it must expire within %d days from now, not at %s", maxTokenLife/(24*time.Hour), expires.Format(time.RFC3339))
	case t.Fingerprint == "":
		return "", until, errors.New("make an enrollment token: the coordinator does not show the certificate of its authority: append it to the file of the coordinator's certificate")
	}
	if err := t.check(); err != nil {
		return "", until, fmt.Errorf("make an enrollment token: %w", err)
	}
	if err := e.tidy(ctx, now); err != nil {
		return "", until, err
	}
	g, _, err := e.generation(ctx, rack)
	if err != nil {
		return "", until, err
	}
	row, err := json.Marshal(tokenRow{Rack: rack, Generation: g.Generation, Expires: expires.UTC()})
	if err != nil {
		return "", until, fmt.Errorf("make an enrollment token: %w", err)
	}
	if _, err := e.Tokens.Update(ctx, secretHash(t.Secret), row, 0); err != nil {
		return "", until, fmt.Errorf("make an enrollment token: %w", err)
	}
	return t.String(), expires, nil
}

// tidy removes tokens that expired, once there are many.
func (e *Enrollments) tidy(ctx context.Context, now time.Time) error {
	keys, err := e.Tokens.Keys(ctx)
	if err != nil {
		return fmt.Errorf("make an enrollment token: %w", err)
	}
	if len(keys) < tidyAfter {
		return nil
	}
	alive := 0
	for _, key := range keys {
		b, _, err := e.Tokens.Get(ctx, key)
		if errors.Is(err, ErrNone) {
			continue
		}
		var row tokenRow
		if err == nil && (json.Unmarshal(b, &row) != nil || now.After(row.Expires)) {
			err = e.Tokens.Delete(ctx, key)
		} else {
			alive++
		}
		if err != nil {
			return fmt.Errorf("tidy up the enrollment tokens: %w", err)
		}
	}
	if alive >= maxTokens {
		return fmt.Errorf("make an enrollment token: %d are alive, no more are made: wait until some expire", alive)
	}
	return nil
}

// take uses a token up for a key. The same token with the same key is taken
// again, so that an agent whose answer was lost can ask once more; with another
// key it never is.
func (e *Enrollments) take(ctx context.Context, secret, key string) (rack string, generation uint64, err error) {
	for range maxTries {
		b, revision, err := e.Tokens.Get(ctx, secretHash(secret))
		if errors.Is(err, ErrNone) {
			return "", 0, ErrToken
		}
		var row tokenRow
		if err == nil {
			err = json.Unmarshal(b, &row)
		}
		if err != nil {
			return "", 0, fmt.Errorf("read an enrollment token: %w", err)
		}
		g, _, err := e.generation(ctx, row.Rack)
		switch {
		case err != nil:
			return "", 0, err
		case !time.Now().Before(row.Expires):
			return "", 0, fmt.Errorf("%w, at %s", ErrTokenExpired, row.Expires.Format(time.RFC3339))
		case g.Generation != row.Generation:
			return "", 0, fmt.Errorf("%w: rack %s was revoked after it was made", ErrToken, row.Rack)
		case row.Key == key:
			return row.Rack, row.Generation, nil
		case row.Key != "":
			return "", 0, ErrTokenUsed
		}
		row.Key = key
		if b, err = json.Marshal(row); err == nil {
			_, err = e.Tokens.Update(ctx, secretHash(secret), b, revision)
		}
		switch {
		case err == nil:
			return row.Rack, row.Generation, nil
		case !errors.Is(err, ErrConflict):
			return "", 0, fmt.Errorf("use up an enrollment token: %w", err)
		}
	}
	return "", 0, fmt.Errorf("use up an enrollment token: %w", ErrConflict)
}

// Revoke makes every certificate worthless that the agent of a rack had so far,
// and every token of it that was not used.
func (e *Enrollments) Revoke(ctx context.Context, rack string) error {
	if !ValidRack(rack) {
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("revoke an agent: %.80q is not the name of a rack", rack))
	}
	for range maxTries {
		g, revision, err := e.generation(ctx, rack)
		if err != nil {
			return err
		}
		g.Generation++
		g.Revoked = time.Now().UTC()
		b, err := json.Marshal(g)
		if err != nil {
			return fmt.Errorf("revoke the agent of %s: %w", rack, err)
		}
		revision, err = e.Generations.Update(ctx, rack, b, revision)
		switch {
		case err == nil:
			e.View.set(rack, g, revision)
			return nil
		case !errors.Is(err, ErrConflict):
			return fmt.Errorf("revoke the agent of %s: %w", rack, err)
		}
	}
	return fmt.Errorf("revoke the agent of %s: %w", rack, ErrConflict)
}

// generation is that of a rack, from the table itself. What the table says is
// told to the view.
func (e *Enrollments) generation(ctx context.Context, rack string) (g generation, revision uint64, err error) {
	b, revision, err := e.Generations.Get(ctx, rack)
	if errors.Is(err, ErrNone) {
		return generation{}, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &g)
	}
	if err != nil {
		return generation{}, 0, fmt.Errorf("read the generation of rack %s: %w", rack, err)
	}
	e.View.set(rack, g, revision)
	return g, revision, nil
}

// current is the generation in which a rack's next certificate is issued, if its
// present one still holds. Errors: ErrRevoked.
func (e *Enrollments) current(ctx context.Context, c *x509.Certificate) (rack string, generation uint64, err error) {
	is, err := claimOf(c)
	if err != nil {
		return "", 0, err
	}
	g, _, err := e.generation(ctx, is.rack)
	if err != nil {
		return "", 0, err
	}
	if g.refuses(is, c) {
		return "", 0, fmt.Errorf("%w: that of rack %s: enroll its agent again", ErrRevoked, is.rack)
	}
	if is.counted {
		return is.rack, is.generation, nil
	}
	return is.rack, g.Generation, nil
}
