package ordercheck

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	maxFile    = 1 << 20 // bytes of a rack file
	maxDevices = 1000
)

// The roles as the rack file writes them.
const (
	managementSwitch = "management-switch"
	torSwitch        = "tor-switch"
	server           = "server"
)

// cabling is what the checker knows about a rack: who is cabled to which switch.
type cabling struct {
	names      []string          // in the order of the file
	role       map[string]string // by device
	management map[string]string // device → switch that its management end is on
	data       map[string][]string
	trunks     map[string][]string // switch → switches that it shares a data cable or a link with
	gate       string              // the management switch
}

type rackYAML struct {
	Devices []struct {
		Name       string    `yaml:"name"`
		Role       string    `yaml:"role"`
		Management string    `yaml:"management"`
		Data       oneOrMany `yaml:"data"`
	} `yaml:"devices"`
	Links []struct {
		A string `yaml:"a"`
		B string `yaml:"b"`
	} `yaml:"links"`
}

// oneOrMany is a text or a list of texts.
type oneOrMany []string

func (o *oneOrMany) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*o = oneOrMany{n.Value}
		return nil
	}
	var many []string
	if err := n.Decode(&many); err != nil {
		return err
	}
	*o = many
	return nil
}

func readCabling(in io.Reader) (*cabling, error) {
	b, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the rack file: %w", err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("read the rack file: larger than %d bytes", maxFile)
	}
	var y rackYAML
	if err := yaml.Unmarshal(b, &y); err != nil {
		return nil, fmt.Errorf("read the rack file: %w", err)
	}
	c := &cabling{role: map[string]string{}, management: map[string]string{}, data: map[string][]string{}, trunks: map[string][]string{}}
	for _, d := range y.Devices {
		names, err := expand(d.Name)
		if err != nil {
			return nil, err
		}
		for i, name := range names {
			if _, twice := c.role[name]; twice || name == "" || len(c.names) == maxDevices {
				return nil, fmt.Errorf("read the rack file: device %q is given twice, has no name or is one too many", name)
			}
			c.names = append(c.names, name)
			c.role[name] = d.Role
			if err := c.cable(name, i, len(names), d.Management, d.Data); err != nil {
				return nil, err
			}
		}
	}
	for _, l := range y.Links {
		if err := c.link(l.A, l.B); err != nil {
			return nil, err
		}
	}
	return c, c.complete()
}

// cable enters the ends of the i-th of n devices of an entry.
func (c *cabling) cable(name string, i, n int, management string, data []string) error {
	switchAt := func(s string) (string, error) {
		all, err := expand(s)
		if err != nil {
			return "", err
		}
		if len(all) != n && len(all) != 1 {
			return "", fmt.Errorf("read the rack file: %q counts %d, the devices count %d", s, len(all), n)
		}
		device, _, _ := strings.Cut(all[i%len(all)], ":")
		return device, nil
	}
	if management != "" {
		on, err := switchAt(management)
		if err != nil {
			return err
		}
		c.management[name] = on
	}
	for _, s := range data {
		on, err := switchAt(s)
		if err != nil {
			return err
		}
		c.data[name] = append(c.data[name], on)
	}
	return nil
}

func (c *cabling) link(a, b string) error {
	as, err := expand(a)
	if err != nil {
		return err
	}
	bs, err := expand(b)
	if err != nil {
		return err
	}
	for i := range as {
		da, _, _ := strings.Cut(as[i], ":")
		db, _, _ := strings.Cut(bs[i%len(bs)], ":")
		c.join(da, db)
	}
	return nil
}

// join enters a cable between two switches of this rack; others carry nothing
// from the agent.
func (c *cabling) join(a, b string) {
	if c.isSwitch(a) && c.isSwitch(b) {
		c.trunks[a], c.trunks[b] = append(c.trunks[a], b), append(c.trunks[b], a)
	}
}

func (c *cabling) complete() error {
	for _, name := range c.names {
		if c.role[name] == managementSwitch {
			c.gate = name
		}
		if c.isSwitch(name) {
			for _, on := range c.data[name] {
				c.join(name, on)
			}
		}
	}
	if c.gate == "" {
		return errors.New("read the rack file: it has no management switch")
	}
	return nil
}

func (c *cabling) isSwitch(name string) bool {
	role, ok := c.role[name]
	return ok && role != server
}

func (c *cabling) switches() []string {
	var out []string
	for _, name := range c.names {
		if c.isSwitch(name) {
			out = append(out, name)
		}
	}
	return out
}

// expand writes out the ranges of a text, in step: "tor-{1..2}" is tor-1 and
// tor-2. A text without ranges is itself.
func expand(s string) ([]string, error) {
	out := []string{""}
	for ranged := false; ; {
		i := strings.IndexByte(s, '{')
		if i < 0 {
			for k := range out {
				out[k] += s
			}
			return out, nil
		}
		j := strings.IndexByte(s, '}')
		if j < i {
			return nil, fmt.Errorf("read the rack file: %q is not a range", s)
		}
		from, to, _ := strings.Cut(s[i+1:j], "..")
		a, errA := strconv.ParseUint(from, 10, 16)
		z, errZ := strconv.ParseUint(to, 10, 16)
		n := int(z) - int(a) + 1
		if errA != nil || errZ != nil || n < 1 || n > maxDevices || (ranged && n != len(out)) {
			return nil, fmt.Errorf("read the rack file: %q is not a range", s)
		}
		if !ranged {
			out, ranged = repeat(out[0], n), true
		}
		for k := range out {
			number := strconv.Itoa(int(a) + k)
			if from[0] == '0' && len(from) > 1 {
				number = strings.Repeat("0", max(0, len(from)-len(number))) + number
			}
			out[k] += s[:i] + number
		}
		s = s[j+1:]
	}
}

func repeat(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}
