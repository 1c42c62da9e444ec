package rackagent

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/config"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/ssh"
)

// plainUser is a user whose name means the same in any device's syntax.
var plainUser = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)

// logins tells how devices are logged in to.
type logins struct {
	credentials func(reference string) (user, password string, err error)
	key         func(reference string) ([]byte, error)
}

// who is the user that a device is logged in to as, and his public key; empty: a
// password is used.
func (l *logins) who(d *rack.Device) (user, key string, err error) {
	if d.Access == nil {
		return "", "", nil
	}
	if l.credentials != nil {
		if user, _, err = l.credentials(d.Access.Credentials); err != nil {
			return "", "", fmt.Errorf("credentials of the access of %s: %w", d.Name, err)
		}
	}
	if !plainUser.MatchString(user) {
		return "", "", fmt.Errorf("credentials of the access of %s: a user of other characters than letters, digits and ._- cannot be written into what a switch is given at its first boot", d.Name)
	}
	if d.Access.Key == "" || l.key == nil {
		return user, "", nil
	}
	private, err := l.key(d.Access.Key)
	if err == nil && len(private) > 0 {
		key, err = ssh.PublicKey(private)
	}
	if err != nil {
		return "", "", fmt.Errorf("the key of the access of %s: %w", d.Name, err)
	}
	return user, key, nil
}

// document makes one that a network operating system asks for at its first boot. Who
// may log in is looked up for each anew.
func (n *native) document(t boot.Ticket, base, name string) ([]byte, error) {
	doc, ok := t.Provision.Document(name)
	if !ok {
		return nil, boot.ErrNoFile
	}
	d, ok := n.rack.Device(t.Device)
	if !ok || n.imageURL == nil {
		return nil, errors.Join(boot.ErrNoFile, fmt.Errorf("%s is not a device of rack %s", t.Device, n.rack.Name))
	}
	v, err := config.New(n.rack, d.Name, config.Life{Run: t.Run, Ticket: t.ID, Image: t.Image})
	if err != nil {
		return nil, err
	}
	user, key, err := n.logins.who(d)
	if err != nil {
		return nil, err
	}
	text, err := config.Render(doc.From, doc.Template, config.NewServed(v, base, n.imageURL(t), user, key))
	return []byte(text), err
}
