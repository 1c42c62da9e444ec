package ssh

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	xssh "golang.org/x/crypto/ssh"
)

func TestFilesThenCommands(t *testing.T) {
	d := newDevice(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "interfaces")
	if err := os.WriteFile(path, []byte("old and longer than what is new"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := newClient(t).Do(t.Context(), d.target, Exchange{
		Files: []File{{Path: path, Mode: 0o640, Content: []byte("auto swp1\n")}, {Path: filepath.Join(dir, "empty")}},
		Run:   []string{"cat " + path, "echo up; echo down >&2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != 2 || out[0] != (Output{Command: "cat " + path, Text: "auto swp1"}) {
		t.Errorf("%+v", out)
	}
	if got := strings.Fields(out[1].Text); !slices.Contains(got, "up") || !slices.Contains(got, "down") {
		t.Errorf("both streams: %q", out[1].Text)
	}
	for name, mode := range map[string]os.FileMode{"interfaces": 0o640, "empty": 0o600} {
		if i, err := os.Stat(filepath.Join(dir, name)); err != nil || i.Mode() != mode {
			t.Errorf("%s: %v %v", name, i.Mode(), err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left over: %v %v", left, err)
	}
}

// TestNoShellObeysAPath: a path is one word, whatever stands in it.
func TestNoShellObeysAPath(t *testing.T) {
	for _, sh := range [][]string{{"sh"}, {"bash"}, {"busybox", "sh"}} {
		d := newDevice(t, func(d *device) {
			d.handle = func(d *device, command string, c xssh.Channel) int {
				return run(d, c, sh[0], append(slices.Clone(sh[1:]), "-c", command)...)
			}
		})
		dir := t.TempDir()
		names := []string{"a b", "$(touch x)", "`touch x`", "'; touch x; '", `"`, "-rf", "*", "a&b|c>d", "~", "#", "$HOME", "ä", strings.Repeat("n", 255)}
		for _, n := range names {
			f := File{Path: filepath.Join(dir, n), Content: []byte(n)}
			if _, err := newClient(t).Do(t.Context(), d.target, Exchange{Files: []File{f}}); err != nil {
				t.Fatalf("%v %q: %v", sh, n, err)
			}
			if b, err := os.ReadFile(f.Path); err != nil || string(b) != n {
				t.Errorf("%v %q: %q %v", sh, n, b, err)
			}
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != len(names) {
			t.Errorf("%v: %v %v", sh, left, err)
		}
	}
}

func TestAFileThatCannotBeWritten(t *testing.T) {
	d := newDevice(t)
	dir := t.TempDir()
	for path, words := range map[string]string{
		dir:                                "it is a directory",
		filepath.Join(dir, "none", "file"): "cannot write beside it",
	} {
		out, err := newClient(t).Do(t.Context(), d.target, Exchange{Files: []File{{Path: path}}, Run: []string{"true"}})
		e := wantError(t, err, ErrFailed, words, path, "directory exists")
		if e.Status != 1 || e.Retry() || out != nil {
			t.Errorf("%d %v %v", e.Status, e.Retry(), out)
		}
	}
}

func TestACommandThatFails(t *testing.T) {
	d := newDevice(t)
	out, err := newClient(t).Do(t.Context(), d.target, Exchange{Run: []string{"echo one", "seq 9; echo no such vlan >&2; exit 3", "echo never"}})
	e := wantError(t, err, ErrFailed, "status 3", "no such vlan", "seq 9")
	if e.Status != 3 || e.Retry() {
		t.Errorf("%+v", e)
	}
	if len(out) != 2 || out[0].Status != 0 || out[1].Status != 3 || !strings.Contains(out[1].Text, "no such vlan") {
		t.Errorf("%+v", out)
	}
	if ran := d.noted(&d.ran); len(ran) != 2 {
		t.Errorf("%q", ran)
	}
}

func TestLoginByKey(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaSigner, err := xssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := xssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, text := newKey(t)
	for _, k := range []struct {
		public xssh.PublicKey
		pem    []byte
	}{{signer.PublicKey(), text}, {rsaSigner.PublicKey(), pem.EncodeToMemory(block)}} {
		d := newDevice(t, func(d *device) {
			d.config.PublicKeyCallback = func(_ xssh.ConnMetadata, got xssh.PublicKey) (*xssh.Permissions, error) {
				if !bytes.Equal(got.Marshal(), k.public.Marshal()) {
					return nil, errors.New("unknown")
				}
				return nil, nil
			}
		})
		d.target.Password, d.target.Key = "", k.pem
		if _, err := newClient(t).Do(t.Context(), d.target, Exchange{Run: []string{"true"}}); err != nil {
			t.Errorf("%s: %v", k.public.Type(), err)
		}
		// A key that is refused leaves the password.
		_, d.target.Key = newKey(t)
		d.target.Password = testPassword
		if _, err := newClient(t).Do(t.Context(), d.target, Exchange{}); err != nil {
			t.Errorf("then the password: %v", err)
		}
		d.target.Password = "wrong one"
		_, err := newClient(t).Do(t.Context(), d.target, Exchange{})
		wantError(t, err, ErrLogin, "refused the key and the password", `"admin"`)
	}
}

// questions are those of a device that asks for what it wants.
func questions(d *device, echo bool, texts ...string) {
	d.config.KeyboardInteractiveCallback = func(_ xssh.ConnMetadata, ask xssh.KeyboardInteractiveChallenge) (*xssh.Permissions, error) {
		echoes := make([]bool, len(texts))
		for i := range echoes {
			echoes[i] = echo
		}
		answers, err := ask("", "", texts, echoes)
		if err != nil {
			return nil, err
		}
		d.note(&d.tries, "questions "+strings.Join(answers, ","))
		if len(answers) != 1 || answers[0] != testPassword {
			return nil, errors.New("wrong")
		}
		if _, err := ask("", "welcome", nil, nil); err != nil { // as PAM says something at the end
			return nil, err
		}
		return nil, nil
	}
}

func TestLoginByQuestion(t *testing.T) {
	d := newDevice(t, func(d *device) { d.config.PasswordCallback = nil; questions(d, false, "Password: ") })
	if _, err := newClient(t).Do(t.Context(), d.target, Exchange{}); err != nil {
		t.Error(err)
	}
	// The password goes one way only: a wrong one sent twice locks accounts.
	d = newDevice(t, func(d *device) { questions(d, false, "Password: ") })
	d.target.Password = "wrong one"
	_, err := newClient(t).Do(t.Context(), d.target, Exchange{})
	if e := wantError(t, err, ErrLogin, "refused the password", "correct user and credential"); e.Retry() {
		t.Error("it is tried again")
	}
	if tries := d.noted(&d.tries); !slices.Equal(tries, []string{"password wrong one"}) {
		t.Errorf("%q", tries)
	}
}

func TestOtherQuestionsGetNoPassword(t *testing.T) {
	for _, c := range []struct {
		echo  bool
		texts []string
	}{{true, []string{"Your name, please\x1b[2J: "}}, {false, []string{"Password: ", "Code: "}}} {
		d := newDevice(t, func(d *device) { d.config.PasswordCallback = nil; questions(d, c.echo, c.texts...) })
		_, err := newClient(t).Do(t.Context(), d.target, Exchange{})
		wantError(t, err, ErrLogin, "asks more than for a password")
		if tries := d.noted(&d.tries); len(tries) > 0 {
			t.Errorf("%q", tries)
		}
	}
	d := newDevice(t, func(d *device) {
		d.config.PasswordCallback = nil
		d.config.KeyboardInteractiveCallback = func(_ xssh.ConnMetadata, ask xssh.KeyboardInteractiveChallenge) (*xssh.Permissions, error) {
			for { // asks again and again
				if _, err := ask("", "", []string{"Password: "}, []bool{false}); err != nil {
					return nil, err
				}
				d.note(&d.tries, "asked")
			}
		}
	})
	_, err := newClient(t).Do(t.Context(), d.target, Exchange{})
	wantError(t, err, ErrLogin, "asks more than for a password")
	if tries := d.noted(&d.tries); len(tries) != 1 {
		t.Errorf("the password was given %d times", len(tries))
	}
}

func TestNoCredentialOfThatKind(t *testing.T) {
	d := newDevice(t)
	d.target.Password = ""
	_, d.target.Key = newKey(t)
	_, err := newClient(t).Do(t.Context(), d.target, Exchange{})
	wantError(t, err, ErrLogin, "it offers password", `user "admin" has nothing`)
}

func TestBadInput(t *testing.T) {
	_, locked := newKey(t)
	long := strings.Repeat("x", maxCommand+1)
	for name, c := range map[string]struct {
		change func(*Target, *Exchange)
		words  string
	}{
		"no device":      {func(g *Target, _ *Exchange) { g.Device = "" }, "its name"},
		"device escapes": {func(g *Target, _ *Exchange) { g.Device = "tor\x1b[1m" }, "its name"},
		"no life":        {func(g *Target, _ *Exchange) { g.Life = "" }, "cannot be pinned"},
		"no address":     {func(g *Target, _ *Exchange) { g.Address = nowhere.Address; *g = Target{Device: g.Device, Life: g.Life} }, "no address"},
		"no user":        {func(g *Target, _ *Exchange) { g.User = "" }, "its user"},
		"no credential":  {func(g *Target, _ *Exchange) { g.Password = "" }, "neither a password nor a key"},
		"long password":  {func(g *Target, _ *Exchange) { g.Password = long }, "its password"},
		"bad key":        {func(g *Target, _ *Exchange) { g.Key = locked[:40] }, "its private key is none"},
		"long key":       {func(g *Target, _ *Exchange) { g.Key = make([]byte, maxPEM+1) }, "its private key has more"},
		"relative":       {func(_ *Target, x *Exchange) { x.Files = []File{{Path: "a"}} }, "absolute"},
		"unclean":        {func(_ *Target, x *Exchange) { x.Files = []File{{Path: "/etc/../x"}} }, "absolute"},
		"root":           {func(_ *Target, x *Exchange) { x.Files = []File{{Path: "/"}} }, "absolute"},
		"line break":     {func(_ *Target, x *Exchange) { x.Files = []File{{Path: "/a\nb"}} }, "printable"},
		"csh":            {func(_ *Target, x *Exchange) { x.Files = []File{{Path: "/a!b"}} }, "printable"},
		"long path":      {func(_ *Target, x *Exchange) { x.Files = []File{{Path: "/" + long}} }, "its path has"},
		"mode":           {func(_ *Target, x *Exchange) { x.Files = []File{{Path: "/a", Mode: 0o4755}} }, "mode 04755"},
		"big":            {func(_ *Target, x *Exchange) { x.Files = []File{{Path: "/a", Content: make([]byte, maxContent+1)}} }, "bytes"},
		"many files":     {func(_ *Target, x *Exchange) { x.Files = make([]File, maxFiles+1) }, "files"},
		"many commands":  {func(_ *Target, x *Exchange) { x.Run = make([]string, maxCommands+1) }, "commands"},
		"many secrets":   {func(_ *Target, x *Exchange) { x.Secrets = make([]string, maxSecrets+1) }, "secrets"},
		"long secret":    {func(_ *Target, x *Exchange) { x.Secrets = []string{long} }, "a secret of"},
		"empty command":  {func(_ *Target, x *Exchange) { x.Run = []string{" "} }, "command 1 is empty"},
		"long command":   {func(_ *Target, x *Exchange) { x.Run = []string{"a", long} }, "command 2 has"},
		"escape":         {func(_ *Target, x *Exchange) { x.Run = []string{"a\nb", "a\x1bb"} }, "command 2 is no plain text"},
	} {
		t.Run(name, func(t *testing.T) {
			target, x := nowhere, Exchange{}
			c.change(&target, &x)
			_, err := newClient(t).Do(t.Context(), target, x)
			var e *Error
			if !errors.Is(err, ErrBadInput) || !errors.As(err, &e) || !strings.Contains(err.Error(), c.words) || !printableLine(err.Error()) {
				t.Errorf("%v, want %q", err, c.words)
			}
		})
	}
	if _, err := New(Options{}); err == nil {
		t.Error("a client without a dialer")
	}
}

// TestSecretsAreNotShown: not of a target, not in outputs, messages and logs.
func TestSecretsAreNotShown(t *testing.T) {
	_, key := newKey(t)
	target := nowhere
	target.Key = key
	asJSON, err := json.Marshal(target)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(target), fmt.Sprintf("%+v %#v %s %v", target, target, target, &target), string(asJSON)} {
		if strings.Contains(s, testPassword) || strings.Contains(s, "PRIVATE") || strings.Contains(s, fmt.Sprint(key[:4])) {
			t.Error(s)
		}
	}
	var logged bytes.Buffer
	d := newDevice(t)
	c := newClient(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	const vlanKey = "snmp-community"
	out, err := c.Do(t.Context(), d.target, Exchange{Secrets: []string{vlanKey, "abc"}, Run: []string{
		"echo " + quote(testPassword) + " " + vlanKey + " abc; exit 1",
	}})
	wantError(t, err, ErrFailed, "*** *** abc")
	all := fmt.Sprintf("%+v %v %s", out, err, logged.String())
	for _, secret := range []string{testPassword, vlanKey, quote(testPassword)} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is shown: %s", secret, all)
		}
	}
	if !strings.Contains(logged.String(), fingerprint(d.key.PublicKey().Marshal())) {
		t.Errorf("the fingerprint is not logged: %s", &logged)
	}
}
