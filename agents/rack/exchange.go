package rackagent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rackreach/rackreach/internal/config"
	"github.com/rackreach/rackreach/internal/deviceapi"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/ssh"
)

// confirmEvery is the pause between two tries to reach a device that was given a new
// configuration: its links may have to come up again.
const confirmEvery = 3 * time.Second

// shell says to devices over SSH what the steps of their platforms say.
type shell struct {
	rack        *rack.Rack
	platforms   map[string]rack.Platform
	images      map[string]rack.Image
	credentials func(reference string) (user, password string, err error)
	key         func(reference string) ([]byte, error)
	refused     sync.Map    // device and life of whom refused our login: an account is soon locked
	pinned      *ssh.Client // holds a device to the key that it showed first
	asking      *ssh.Client // for questions: it pins nothing
}

// errUnreadable is a receipt that is there and cannot be read.
var errUnreadable = errors.New("its receipt cannot be read")

// unpinned are host keys to which a question adds nothing: who is asked while it is
// installed may answer with its old system, and with its new one afterwards.
type unpinned struct{ ssh.HostKeys }

// Put implements ssh.HostKeys.
func (unpinned) Put(string, string, []byte) error { return nil }

// memoryKeys keeps host keys as long as the agent lives.
type memoryKeys struct {
	mu   sync.Mutex
	keys map[[2]string][]byte // by device and life
}

// Get implements ssh.HostKeys.
func (m *memoryKeys) Get(device, life string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key, ok := m.keys[[2]string{device, life}]
	return key, ok, nil
}

// Put implements ssh.HostKeys.
func (m *memoryKeys) Put(device, life string, key []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.keys[[2]string{device, life}]; ok {
		return ssh.ErrHostKey
	}
	m.keys[[2]string{device, life}] = key
	return nil
}

// hostKeys are kept in a file, or in memory where there is none.
func hostKeys(file string) ssh.HostKeys {
	if file == "" {
		return &memoryKeys{keys: map[[2]string][]byte{}}
	}
	return ssh.NewKeyFile(file)
}

// newShell makes a shell that records host keys in keys.
func newShell(o *Options, images map[string]rack.Image, keys ssh.HostKeys) (*shell, error) {
	pinned, err := ssh.New(ssh.Options{Dial: o.Dial, Keys: keys, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	asking, err := ssh.New(ssh.Options{Dial: o.Dial, Keys: unpinned{keys}, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	return &shell{rack: o.Rack, platforms: o.Platforms, images: images, credentials: o.Credentials, key: o.Key, pinned: pinned, asking: asking}, nil
}

// speaks is how a device of a platform is verified over SSH; nil: it is not.
func (s *shell) speaks(d *rack.Device) *rack.Exchange {
	steps := s.platforms[d.Platform].Steps
	for i := range steps {
		if steps[i].Action == rack.VerifyDevice && steps[i].SSH != nil {
			return steps[i].SSH
		}
	}
	return nil
}

// target is how a device is logged in to, in the life that a ticket gave it.
func (s *shell) target(d *rack.Device, ticket string) (t ssh.Target, err error) {
	if d.Access == nil {
		return t, fmt.Errorf("%s has no access in the rack file: add access: to it", d.Name)
	}
	t = ssh.Target{Device: d.Name, Life: ticket, Address: d.Address, Port: d.Access.Port}
	if t.User, t.Password, err = s.credentials(d.Access.Credentials); err != nil {
		return t, fmt.Errorf("credentials of the access of %s: %w", d.Name, err)
	}
	if d.Access.Key != "" {
		if s.key == nil {
			return t, fmt.Errorf("the key of the access of %s: this agent reads none", d.Name)
		}
		if t.Key, err = s.key(d.Access.Key); err != nil {
			return t, fmt.Errorf("the key of the access of %s: %w", d.Name, err)
		}
	}
	return t, nil
}

// filled fills in what is said to a device.
func (s *shell) filled(d *rack.Device, l config.Life, x *rack.Exchange, run []string) (out ssh.Exchange, expect []string, err error) {
	v, err := config.New(s.rack, d.Name, l)
	if err != nil {
		return out, nil, err
	}
	each := func(what string, in []string) (filled []string) {
		for _, text := range in {
			one, renderErr := config.Render(what, text, v)
			err = errors.Join(err, renderErr)
			filled = append(filled, one)
		}
		return filled
	}
	for _, f := range x.Files {
		text := each(f.Name, []string{f.Template})
		out.Files = append(out.Files, ssh.File{Path: f.To, Mode: f.Mode, Content: []byte(text[0])})
	}
	out.Run, expect = each("run", run), each("expect", x.Expect)
	return out, expect, err
}

// configure says to a device what configures it, and waits until it answers with its
// new configuration where the platform asks for that. Said twice, it changes nothing.
func (s *shell) configure(ctx context.Context, d *rack.Device, l config.Life, x *rack.Exchange) error {
	t, err := s.target(d, l.Ticket)
	if err != nil {
		return err
	}
	said, _, err := s.filled(d, l, x, x.Run)
	if err != nil {
		return fmt.Errorf("platform %s: %w", d.Platform, err)
	}
	if err := s.fresh(ctx, d, l); err != nil {
		return err
	}
	if len(x.Confirm) == 0 {
		_, err := s.pinned.Do(ctx, t, said)
		return err
	}
	confirm, _, err := s.filled(d, l, &rack.Exchange{}, x.Confirm)
	if err != nil {
		return fmt.Errorf("platform %s: %w", d.Platform, err)
	}
	// From here on the device may take its configuration back. A while longer, and it is
	// reached again.
	back := time.NewTimer(x.RevertAfter)
	defer back.Stop()
	ctx, cancel := context.WithTimeout(ctx, x.RevertAfter+x.RevertAfter/4)
	defer cancel()
	// What cuts us off may have been carried out: that is what the confirmation is for.
	if _, err := s.pinned.Do(ctx, t, said); err != nil && !errors.Is(err, ssh.ErrLost) {
		return err
	}
	again := time.NewTicker(confirmEvery)
	defer again.Stop()
	var cut error // the last time that nobody answered in time
	for {
		_, err := s.pinned.Do(ctx, t, confirm)
		var e *ssh.Error
		switch {
		case err == nil:
			return nil
		case errors.As(err, &e) && e.Retry():
			cut = err
		default:
			select {
			case <-back.C: // it was reached again only then
				cut = err
			default:
				select { // the device has its old configuration again before anything is tried anew
				case <-back.C:
				case <-ctx.Done():
				}
			}
			if cut == nil {
				return err
			}
			return fmt.Errorf("%s did not answer with its new configuration, and has put its old one back by itself: look at what the platform %s gives it: %w", d.Name, d.Platform, cut)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer with its new configuration, and puts its old one back by itself %s after it was given: look at what the platform %s gives it: %w", d.Name, x.RevertAfter, d.Platform, err)
		}
	}
}

// fresh refuses a device that still runs what an earlier job installed: its installer
// gave up, and it came back with its old system.
func (s *shell) fresh(ctx context.Context, d *rack.Device, l config.Life) error {
	verify := s.speaks(d)
	if verify == nil {
		return nil
	}
	got, err := s.receipt(ctx, d, l, verify)
	if err == nil && (got.Run != l.Run || got.Ticket != l.Ticket) {
		return fmt.Errorf("%s still runs the system of another job, %s: what it was given was not installed: look at its installer's log, then rackreach reimage %s", d.Name, bounded(got.Holds()), d.Name)
	}
	return nil // it has no receipt yet, or that of this job
}

// verify asks a device what it runs, and holds that against what is expected.
func (s *shell) verify(ctx context.Context, d *rack.Device, l config.Life, x *rack.Exchange) error {
	t, err := s.target(d, l.Ticket)
	if err != nil {
		return err
	}
	said, expect, err := s.filled(d, l, x, x.Run)
	if err != nil {
		return fmt.Errorf("platform %s: %w", d.Platform, err)
	}
	shown, err := show(ctx, s.pinned, t, said)
	if err != nil {
		return err
	}
	receipt := config.Receipt{Rack: s.rack.Name, Device: d.Name, Run: l.Run, Ticket: l.Ticket, Digest: l.Image.Digest}.String()
	if _, err := config.FindReceipt(shown); err != nil {
		return fmt.Errorf("%s: %w; it shows: %s", d.Name, err, bounded(shown))
	}
	rest := strings.ReplaceAll(shown, receipt, "") // which names the device, too
	for _, e := range expect {
		in := rest
		if strings.Contains(e, receipt) {
			in = shown
		}
		if strings.TrimSpace(e) == "" || !shows(in, e) {
			return fmt.Errorf("%s does not show %q; it shows: %s", d.Name, e, bounded(shown))
		}
	}
	return nil
}

// shows reports whether a text stands in another, and not as a part of longer numbers:
// tor-1 is not in tor-10, and 4.2 not in 4.28.
func shows(in, text string) bool {
	digit := func(s string, i int) bool { return i >= 0 && i < len(s) && s[i] >= '0' && s[i] <= '9' }
	for from := 0; ; {
		i := strings.Index(in[from:], text)
		if i < 0 {
			return false
		}
		i += from
		end := i + len(text)
		if !(digit(text, 0) && digit(in, i-1)) && !(digit(text, len(text)-1) && digit(in, end)) {
			return true
		}
		from = i + 1
	}
}

// receipt asks a device for its receipt, whatever job that is of.
func (s *shell) receipt(ctx context.Context, d *rack.Device, l config.Life, x *rack.Exchange) (deviceapi.Receipt, error) {
	t, err := s.target(d, l.Ticket)
	if err != nil {
		return deviceapi.Receipt{}, err
	}
	if t.Life == "" {
		t.Life = "none" // nothing was installed in this run
	}
	said, _, err := s.filled(d, l, x, x.Run)
	if err != nil {
		return deviceapi.Receipt{}, fmt.Errorf("platform %s: %w", d.Platform, err)
	}
	life := [2]string{t.Device, t.Life}
	if before, ok := s.refused.Load(life); ok {
		return deviceapi.Receipt{}, before.(error)
	}
	shown, err := show(ctx, s.asking, t, said)
	if errors.Is(err, ssh.ErrLogin) {
		s.refused.Store(life, err)
	}
	if err != nil {
		return deviceapi.Receipt{}, err
	}
	r, err := config.FindReceipt(shown)
	if errors.Is(err, config.ErrUnreadable) {
		err = fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if err != nil {
		return deviceapi.Receipt{}, fmt.Errorf("read the receipt of %s: %w", d.Name, err)
	}
	return deviceapi.Receipt{Rack: r.Rack, Device: r.Device, Run: r.Run, Ticket: r.Ticket, Digest: r.Digest}, nil
}

// show is everything that the commands of an exchange print.
func show(ctx context.Context, c *ssh.Client, t ssh.Target, x ssh.Exchange) (string, error) {
	outputs, err := c.Do(ctx, t, x)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, o := range outputs {
		b.WriteString(o.Text)
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// bootInstaller sends a device into its installer, if it holds what may be overwritten.
func (s *shell) bootInstaller(ctx context.Context, d *rack.Device, l config.Life, x *rack.Exchange, overwrites string) error {
	verify := s.speaks(d)
	if verify == nil {
		return fmt.Errorf("platform %s cannot say what %s holds: give it a verify step over SSH", d.Platform, d.Name)
	}
	got, err := s.receipt(ctx, d, l, verify)
	if err != nil {
		return err
	}
	if got.Holds() != overwrites {
		return fmt.Errorf("%s holds %s, and only %s may be overwritten: look at it, then rackreach reimage %s", d.Name, bounded(got.Holds()), overwrites, d.Name)
	}
	t, err := s.target(d, l.Ticket)
	if err != nil {
		return err
	}
	if t.Life == "" {
		t.Life = "none"
	}
	said, _, err := s.filled(d, l, x, x.Run)
	if err != nil {
		return fmt.Errorf("platform %s: %w", d.Platform, err)
	}
	_, err = s.asking.Do(ctx, t, said)
	return err
}
