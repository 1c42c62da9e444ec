package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/durable"
)

// config is the configuration file of the command line: the coordinators that
// somebody works with.
type config struct {
	Current  string          `yaml:"current,omitempty"`
	Contexts []contextConfig `yaml:"contexts,omitempty"`
}

// contextConfig is one coordinator, and who asks it.
type contextConfig struct {
	Name   string `yaml:"name"`
	Server string `yaml:"server"`
	CA     string `yaml:"ca,omitempty"`    // path of the authority's certificate
	Token  string `yaml:"token,omitempty"` // of whoever asks
}

// configPath is where the configuration file is: $RACKREACH_CONFIG, else
// rackreach/config.yaml under $XDG_CONFIG_HOME or ~/.config.
func configPath(env func(string) (string, bool)) (string, error) {
	if p, ok := env("RACKREACH_CONFIG"); ok && p != "" {
		return p, nil
	}
	if d, ok := env("XDG_CONFIG_HOME"); ok && filepath.IsAbs(d) {
		return filepath.Join(d, "rackreach", "config.yaml"), nil
	}
	if d, ok := env("HOME"); ok && filepath.IsAbs(d) {
		return filepath.Join(d, ".config", "rackreach", "config.yaml"), nil
	}
	return "", badInput(errors.New("no place for the configuration file: neither RACKREACH_CONFIG nor HOME is set"))
}

// readConfig reads the configuration file; one that is not there is empty.
func readConfig(env func(string) (string, bool)) (*config, error) {
	path, err := configPath(env)
	if err != nil {
		return &config{}, nil // nobody has one
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &config{}, nil
	}
	var c config
	if err == nil {
		err = yaml.Unmarshal(b, &c)
	}
	if err != nil {
		return nil, badInput(fmt.Errorf("read the configuration file %s: %w: mend it, or delete it and use rackreach context add", path, err))
	}
	return &c, nil
}

// write keeps the configuration, for its owner only: it holds tokens.
func (c *config) write(env func(string) (string, bool)) error {
	path, err := configPath(env)
	if err != nil {
		return err
	}
	b, err := yaml.Marshal(c)
	if err == nil {
		err = durable.Write(path, b)
	}
	if err != nil {
		return fmt.Errorf("the configuration file: %w", err)
	}
	return nil
}

func (c *config) find(name string) int {
	return slices.IndexFunc(c.Contexts, func(x contextConfig) bool { return x.Name == name })
}

// put adds a context, or replaces the one of that name.
func (c *config) put(x contextConfig) {
	if n := c.find(x.Name); n >= 0 {
		c.Contexts[n] = x
		return
	}
	c.Contexts = append(c.Contexts, x)
}

// serverOf is the coordinator that is to be asked: the one of --server or
// RACKREACH_SERVER, of --context or RACKREACH_CONTEXT, or of the current context.
// nil: none, and what is on this machine is asked.
func serverOf(env func(string) (string, bool)) (*api.Server, error) {
	c, err := readConfig(env)
	if err != nil {
		return nil, err
	}
	var x contextConfig
	url, _ := env("RACKREACH_SERVER")
	name, _ := env("RACKREACH_CONTEXT")
	if name == "" && url == "" {
		name = c.Current
	}
	switch n := c.find(name); {
	case url != "":
		x.Server = url
		if n := slices.IndexFunc(c.Contexts, func(y contextConfig) bool { return y.Server == url }); n >= 0 {
			x = c.Contexts[n]
		}
	case name == "":
		return nil, nil
	case n < 0:
		return nil, badInput(fmt.Errorf("there is no context %.80q: rackreach context list shows them, rackreach context add makes one", name))
	default:
		x = c.Contexts[n]
	}
	if ca, ok := env("RACKREACH_CA"); ok && ca != "" {
		x.CA = ca
	}
	if token, ok := env("RACKREACH_TOKEN"); ok && token != "" {
		x.Token = token
	}
	s := &api.Server{URL: x.Server, Token: x.Token}
	if x.CA != "" {
		pool, err := poolOf(x.CA)
		if err != nil {
			return nil, badInput(fmt.Errorf("the authority of %s: %w: mend it, or rackreach context add NAME --server %s --ca FILE", x.Server, err, x.Server))
		}
		s.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
	}
	return s, nil
}

// poolOf is the authorities of a file.
func poolOf(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return pool, nil
}

// targetFlags are the flags of every command that say whom to ask. A flag stands
// before the variable of the same meaning.
type targetFlags struct{ server, context, platforms string }

// over looks up variables under the flags.
func (t *targetFlags) over(env func(string) (string, bool)) func(string) (string, bool) {
	return func(name string) (string, bool) {
		switch {
		case name == "RACKREACH_SERVER" && t.server != "":
			return t.server, true
		case name == "RACKREACH_SERVER" && t.context != "":
			return "", false
		case name == "RACKREACH_PLATFORMS" && t.platforms != "":
			return t.platforms, true
		case name == "RACKREACH_CONTEXT" && t.context != "":
			return t.context, true
		}
		return env(name)
	}
}
