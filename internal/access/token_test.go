package access

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func itoa(i int) string { return strconv.Itoa(i) }

func TestTokensOfTwoCoordinators(t *testing.T) {
	table := &memory{}
	a, b := NewTokens(table), NewTokens(table)
	secret, made, err := a.Create(t.Context(), "ci", Operator, "root", time.Time{})
	if err != nil || made.Role != Operator || made.CreatedBy != "root" || !strings.HasPrefix(secret, "rr_") || len(secret) != 29 {
		t.Fatalf("%+v %v", made, err)
	}
	value, revision, err := table.Get(t.Context(), "ci")
	if err != nil || strings.Contains(string(value), secret) || strings.Contains(string(value), secret[3:]) {
		t.Errorf("the table holds the secret: %s %v", value, err)
	}
	if _, err := b.Check(secret); !errors.Is(err, ErrUnknown) {
		t.Errorf("before it is told: %v", err)
	}
	if err := b.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Check(secret); err != nil || got.Name != "ci" || got.Role != Operator {
		t.Errorf("%+v %v", got, err)
	}
	if _, _, err := b.Create(t.Context(), "ci", Admin, "root", time.Time{}); !errors.Is(err, ErrTaken) {
		t.Errorf("the same name twice: %v", err)
	}
	if err := b.Revoke(t.Context(), "ci"); err != nil {
		t.Fatal(err)
	}
	// What is told late does not bring it back.
	if err := b.Set("ci", value, revision); err != nil {
		t.Error(err)
	}
	if _, err := b.Check(secret); !errors.Is(err, ErrUnknown) {
		t.Errorf("revoked: %v", err)
	}
	value, revision, err = table.Get(t.Context(), "ci")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Set("ci", value, revision); err != nil {
		t.Error(err)
	}
	if _, err := a.Check(secret); !errors.Is(err, ErrUnknown) {
		t.Errorf("revoked elsewhere: %v", err)
	}
	if err := a.Revoke(t.Context(), "ci"); !errors.Is(err, ErrNoToken) || len(a.List()) != 0 {
		t.Errorf("revoked twice: %v %+v", err, a.List())
	}
	if again, _, err := a.Create(t.Context(), "ci", Viewer, "root", time.Time{}); err != nil || again == secret {
		t.Errorf("the name of a revoked one: %v", err)
	}
	if _, err := a.Check(secret); !errors.Is(err, ErrUnknown) {
		t.Errorf("the old secret of a new token: %v", err)
	}
	if err := a.Set("ci", nil, revision+100); err != nil || len(a.List()) != 0 {
		t.Errorf("deleted: %v %+v", err, a.List())
	}
}

func TestRowsThatCannotBeReadLetNobodyIn(t *testing.T) {
	for _, row := range []string{"noise", `{}`, `{"name":"ci","role":"root","sha256":"` + hashOf("") + `"}`, `{"name":"other","role":"admin","sha256":"` + hashOf("x") + `"}`, `null`} {
		tokens := NewTokens(&memory{})
		if err := tokens.Set("ci", []byte(row), 1); err == nil {
			t.Errorf("%s is taken", row)
		}
		if _, err := tokens.Check("rr_AAAAAAAAAAAAAAAAAAAAAAAAAA"); !errors.Is(err, ErrUnknown) || len(tokens.List()) != 0 {
			t.Errorf("%s: %v", row, err)
		}
	}
}

func TestTokensThatAreNotMade(t *testing.T) {
	tokens := NewTokens(&memory{})
	for _, x := range []struct {
		name    string
		role    Role
		expires time.Time
	}{
		{"", Viewer, time.Time{}}, {"a b", Viewer, time.Time{}}, {"-a", Viewer, time.Time{}}, {"a.b", Viewer, time.Time{}}, {"../a", Viewer, time.Time{}},
		{strings.Repeat("a", 64), Viewer, time.Time{}}, {"a", Nobody, time.Time{}}, {"a", 4, time.Time{}}, {"a", Viewer, time.Now()},
	} {
		if _, _, err := tokens.Create(t.Context(), x.name, x.role, "", x.expires); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", x, err)
		}
	}
}

func TestOneNameAtOnce(t *testing.T) {
	tokens := NewTokens(&memory{})
	var all sync.WaitGroup
	made := make(chan string, 20)
	for range cap(made) {
		all.Go(func() {
			if secret, _, err := tokens.Create(t.Context(), "ci", Viewer, "", time.Time{}); err == nil {
				made <- secret
			} else if !errors.Is(err, ErrTaken) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(made) != 1 {
		t.Errorf("%d tokens of one name", len(made))
	}
}
