package rack

import "time"

// Exchange is what is said to a device over SSH in one step. Texts of it are templates,
// which are filled in for the device (internal/config).
type Exchange struct {
	Files []ExchangeFile `json:",omitzero"` // put on the device before anything is run
	Run   []string       `json:",omitzero"` // commands, one after the other; each must end well
	// Expect is what the outputs of Run must show, each a text.
	Expect []string `json:",omitzero"`
	// Confirm is run over a new connection, after Run: the device answers at its address
	// with the configuration that it has now.
	Confirm []string `json:",omitzero"`
	// RevertAfter is when the device puts its old configuration back by itself, unless it
	// is confirmed: Run must have asked it to. 0: it does not.
	RevertAfter time.Duration `json:",omitzero"`
}

// Simulated is the step in which a platform speaks to simulated devices only; nil: it
// images real ones.
func (p *Platform) Simulated() *Step {
	for i := range p.Steps {
		switch s := &p.Steps[i]; s.Action {
		case PushConfig, VerifyDevice, BootInstaller:
			if s.SSH == nil {
				return s
			}
		}
	}
	return nil
}

// ExchangeFile is a file that is put on a device.
type ExchangeFile struct {
	To       string // absolute path
	Name     string // of the template, for messages
	Template string // its text
	Mode     uint32 // permission bits
}
