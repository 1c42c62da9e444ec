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

// WebRequest is what is asked of a device over HTTP in one step. Path and body are
// templates, which are filled in for the device (internal/config).
type WebRequest struct {
	Method string // GET, POST, PUT, PATCH or DELETE
	Scheme string // http or https
	Port   uint16 // 0: that of the scheme
	Path   string // from "/" on
	Body   string `json:",omitzero"` // text of the template; empty: none
	Name   string `json:",omitzero"` // of that template, for messages
	Type   string `json:",omitzero"` // of the body, such as application/json
	Status []int  // that mean that it was done
	// Expect is what the body of the answer must show, each a text.
	Expect []string `json:",omitzero"`
	Login  bool     `json:",omitzero"` // as its access says (RFC 7617)
	// Unchecked takes any certificate. Otherwise the key that the device showed first
	// holds for as long as it lives by the same job.
	Unchecked bool `json:",omitzero"`
}

// Asks reports whether the request is to change nothing (RFC 9110 §9.2.1).
func (r *WebRequest) Asks() bool { return r.Method == "GET" }
