package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of tokens.
const (
	secretPrefix = "rr_" // so that a leaked one is recognized
	secretLen    = 26    // of rand.Text: 130 bits
	maxName      = 63    // characters of the name of a token
	maxTokens    = 1000
	maxTries     = 16 // of a write that others are in the way of
)

// Errors of a Table. They may be wrapped.
var (
	// ErrNone says that a table has no such key.
	ErrNone = errors.New("the table has no such key")
	// ErrConflict says that somebody else has written a key.
	ErrConflict = errors.New("somebody else has written it")
)

// Table is a small table that all coordinators share. Keys are letters, digits,
// "-" and "_".
type Table interface {
	// Get is a value and its revision. Errors: ErrNone.
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Update writes a value if its revision is still this one; 0: if there is
	// none. It returns the new revision, greater than all before. Errors:
	// ErrConflict.
	Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	// Delete removes a key; one that is not there is no error.
	Delete(ctx context.Context, key string) error
	// Keys is all keys, in no order.
	Keys(ctx context.Context) ([]string, error)
}

// Errors of a token. They are wrapped.
var (
	ErrUnknown = errors.New("the token is not known: it is mistyped, or was revoked")
	ErrExpired = errors.New("the token has expired")
	ErrTaken   = errors.New("there is a token of that name: revoke it first, or take another name")
	ErrNoToken = errors.New("there is no token of that name")
	ErrInvalid = errors.New("such a token cannot be made")
)

// Token is a token without its secret.
type Token struct {
	Name      string    `json:"name"`
	Role      Role      `json:"-"`
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
	Expires   time.Time `json:"expires,omitzero"` // zero: never
}

// tokenRow is a token in the table.
type tokenRow struct {
	Token
	RoleName string `json:"role"`
	Hash     string `json:"sha256"` // of the secret, hex; it has 130 random bits and needs no salt
	Revoked  bool   `json:"revoked,omitempty"`
}

// Tokens is the tokens of a coordinator: in a table, and in memory, where they
// are looked up. Whoever follows the table tells it of each row by Set.
type Tokens struct {
	table Table

	mu     sync.RWMutex
	rows   map[string]known  // by name
	byHash map[string]string // the name of the token with that hash
}

type known struct {
	tokenRow
	revision uint64
}

// NewTokens makes the tokens over a table. Nothing is read yet: Load does that.
func NewTokens(t Table) *Tokens {
	return &Tokens{table: t, rows: map[string]known{}, byHash: map[string]string{}}
}

// Load reads the whole table.
func (t *Tokens) Load(ctx context.Context) error {
	names, err := t.table.Keys(ctx)
	if err != nil {
		return fmt.Errorf("read the tokens: %w", err)
	}
	for _, name := range names {
		value, revision, err := t.table.Get(ctx, name)
		if err == nil {
			err = t.Set(name, value, revision)
		}
		if err != nil && !errors.Is(err, ErrNone) {
			return fmt.Errorf("read the tokens: %w", err)
		}
	}
	return nil
}

// Set tells of a row of the table; a nil value: it was deleted. What is older
// than what is known changes nothing. A row that cannot be read lets nobody in,
// and is an error.
func (t *Tokens) Set(name string, value []byte, revision uint64) error {
	row := tokenRow{Revoked: true}
	var err error
	if value != nil {
		row, err = parseRow(name, value)
	}
	t.set(name, row, revision)
	return err
}

func parseRow(name string, value []byte) (tokenRow, error) {
	var row tokenRow
	err := json.Unmarshal(value, &row)
	if err == nil && !row.Revoked {
		row.Role, err = ParseRole(row.RoleName)
	}
	if err == nil && row.Name != name {
		err = errors.New("it is the row of another one")
	}
	if err != nil {
		return tokenRow{Revoked: true}, fmt.Errorf("read the token %.80q: %w: revoke it and make a new one", name, err)
	}
	return row, nil
}

func (t *Tokens) set(name string, row tokenRow, revision uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.rows[name]
	if revision <= old.revision {
		return
	}
	if old.Hash != "" {
		delete(t.byHash, old.Hash)
	}
	// A revoked one stays, so that what is told late does not bring it back.
	t.rows[name] = known{row, revision}
	if !row.Revoked && row.Hash != "" {
		t.byHash[row.Hash] = name
	}
}

// Create makes a token. Its secret is told once. Zero expires: never. Errors:
// ErrTaken, ErrInvalid, wrapped.
func (t *Tokens) Create(ctx context.Context, name string, role Role, by string, expires time.Time) (secret string, made Token, err error) {
	now := time.Now().UTC()
	switch {
	case !validName(name):
		return "", made, fmt.Errorf("%w: %.80q is not a name: 1 to %d letters, digits, \"-\" and \"_\", a letter or digit first", ErrInvalid, name, maxName)
	case role < Viewer || role > Admin:
		return "", made, fmt.Errorf("%w: %s is not a role: viewer, operator or admin", ErrInvalid, role)
	case !expires.IsZero() && !now.Before(expires):
		return "", made, fmt.Errorf("%w: it would have expired at %s", ErrInvalid, expires.UTC().Format(time.RFC3339))
	case len(t.List()) >= maxTokens:
		return "", made, fmt.Errorf("%w: there are %d, no more are kept: revoke some", ErrInvalid, maxTokens)
	}
	secret = secretPrefix + rand.Text()
	row := tokenRow{Token: Token{Name: name, Role: role, Created: now, CreatedBy: clean(by, maxText), Expires: expires}, RoleName: role.String(), Hash: hashOf(secret)}
	value, err := json.Marshal(row)
	if err != nil {
		return "", made, fmt.Errorf("make the token %s: %w", name, err)
	}
	// The row of a revoked token may be there still, or not any more.
	for range maxTries {
		old, revision, err := t.table.Get(ctx, name)
		switch {
		case errors.Is(err, ErrNone):
			revision = 0
		case err != nil:
			return "", made, fmt.Errorf("make the token %s: %w", name, err)
		default:
			if r, err := parseRow(name, old); err != nil || !r.Revoked {
				return "", made, fmt.Errorf("make the token %s: %w", name, ErrTaken)
			}
		}
		revision, err = t.table.Update(ctx, name, value, revision)
		if err == nil {
			t.set(name, row, revision)
			return secret, row.Token, nil
		}
		if !errors.Is(err, ErrConflict) {
			return "", made, fmt.Errorf("make the token %s: %w", name, err)
		}
	}
	return "", made, fmt.Errorf("make the token %s: %w", name, ErrConflict)
}

// Revoke makes a token worthless. Errors: ErrNoToken, wrapped.
func (t *Tokens) Revoke(ctx context.Context, name string) error {
	if !validName(name) {
		return fmt.Errorf("revoke the token %.80q: %w", name, ErrNoToken)
	}
	gone := tokenRow{Token: Token{Name: name}, Revoked: true}
	value, err := json.Marshal(gone)
	if err != nil {
		return fmt.Errorf("revoke the token %s: %w", name, err)
	}
	for range maxTries {
		old, revision, err := t.table.Get(ctx, name)
		if errors.Is(err, ErrNone) {
			err = ErrNoToken
		}
		if err != nil {
			return fmt.Errorf("revoke the token %s: %w", name, err)
		}
		if r, err := parseRow(name, old); err == nil && r.Revoked {
			return fmt.Errorf("revoke the token %s: %w", name, ErrNoToken)
		}
		// It is written as revoked, not deleted: the revision tells its order.
		revision, err = t.table.Update(ctx, name, value, revision)
		if err == nil {
			t.set(name, gone, revision)
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return fmt.Errorf("revoke the token %s: %w", name, err)
		}
	}
	return fmt.Errorf("revoke the token %s: %w", name, ErrConflict)
}

// List is all tokens that were not revoked, by name.
func (t *Tokens) List() []Token {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []Token
	for _, k := range t.rows {
		if !k.Revoked {
			out = append(out, k.Token)
		}
	}
	slices.SortFunc(out, func(a, b Token) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Check is the token of a secret. Errors: ErrUnknown, ErrExpired.
func (t *Tokens) Check(secret string) (Token, error) {
	if len(secret) != len(secretPrefix)+secretLen || !strings.HasPrefix(secret, secretPrefix) {
		return Token{}, ErrUnknown
	}
	hash := hashOf(secret)
	t.mu.RLock()
	k, ok := t.rows[t.byHash[hash]]
	t.mu.RUnlock()
	switch {
	case !ok || k.Revoked || subtle.ConstantTimeCompare([]byte(k.Hash), []byte(hash)) != 1:
		return Token{}, ErrUnknown
	case !k.Expires.IsZero() && !time.Now().Before(k.Expires):
		return Token{}, fmt.Errorf("%w: %s, at %s", ErrExpired, k.Name, k.Expires.Format(time.RFC3339))
	}
	return k.Token, nil
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func validName(s string) bool {
	for i := range len(s) {
		b := s[i]
		if (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') && (i == 0 || b != '-' && b != '_') {
			return false
		}
	}
	return s != "" && len(s) <= maxName
}
