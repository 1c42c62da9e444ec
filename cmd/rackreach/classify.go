package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/discovery"
	"github.com/rackreach/rackreach/discovery/classify"
)

// classifying is what the flags of classify ask for.
type classifying struct {
	options []string
	mac     string
	pcap    string
	rules   string
	output  string
}

func newClassify(env func(string) (string, bool)) *cobra.Command {
	var c classifying
	cmd := &cobra.Command{
		Use:   "classify {--pcap FILE | --option CODE=VALUE…}",
		Short: "Explain what a device is taken for, by its DHCP packets",
		Long: `Say what the sender of a DHCP packet is taken for, and why: what each rule gave, which
option decided, and what stays open. The packets are those of a capture file (pcap or
pcapng; - is standard input), or the options are given one by one: as text, or as 0x
and hexadecimal digits; option 55 also as a list of numbers, option 93 as a number.

Rules of your own stand before ours: docs/discovery.md says how they are written.
Nothing is sent.`,
		Example: `  rackreach classify --option 60=PXEClient:Arch:00007:UNDI:003010 --option 77=iPXE --option 93=7
  rackreach classify --option 61=0x005341313233 --option 77=onie_dhcp_user_class --mac 00:1c:73:00:00:01
  tcpdump -i eth0 -w - 'udp port 67' | rackreach classify --pcap - --rules classify.yaml`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.run(cmd.InOrStdin(), cmd.OutOrStdout(), env)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&c.options, "option", nil, "an option of a packet, CODE=VALUE; may be given more than once")
	f.StringVar(&c.mac, "mac", "", "with --option: the MAC of the sender")
	f.StringVar(&c.pcap, "pcap", "", "a capture file; - is standard input")
	rulesFlag(f, &c.rules)
	f.StringVarP(&c.output, "output", "o", "table", "table or json")
	return cmd
}

func (c *classifying) run(in io.Reader, out io.Writer, env func(string) (string, bool)) error {
	switch {
	case c.output != "table" && c.output != "json":
		return badInput(fmt.Errorf("-o %q is not an output: write -o table or -o json", c.output))
	case c.pcap == "" && len(c.options) == 0 && c.mac == "":
		return badInput(errors.New("there is nothing to classify: give --option 60=VALUE and what else the device sends, or --pcap FILE"))
	case c.pcap != "" && (len(c.options) > 0 || c.mac != ""):
		return badInput(errors.New("--pcap goes without --option and --mac: the capture says them"))
	}
	rules, path, err := loadRules(c.rules, env)
	if err != nil {
		return err
	}
	if c.pcap != "" {
		return c.capture(in, out, rules, path)
	}
	p, err := c.packet()
	if err != nil {
		return badInput(err)
	}
	d := decisionOf(rules, p)
	if c.output == "json" {
		return writeJSON(out, d)
	}
	pr := printer{w: out}
	d.print(&pr, path)
	return pr.err
}

// packet is the options that were given.
func (c *classifying) packet() (p classify.Packet, err error) {
	options := map[uint8][]byte{}
	length := 0
	for _, o := range c.options {
		code, value, err := parseOption(o)
		if err != nil {
			return p, fmt.Errorf("--option %s: %w", strconv.QuoteToASCII(o), err)
		}
		if _, twice := options[code]; twice {
			return p, fmt.Errorf("option %d is given twice: a packet's repeated options are one, so give its whole value once", code)
		}
		if length += len(value); length > discovery.MaxPacket {
			return p, fmt.Errorf("the options have more than %d bytes: no packet is as long", discovery.MaxPacket)
		}
		options[code] = value
	}
	p.Options = classify.OptionsOf(options)
	if c.mac == "" {
		return p, nil
	}
	mac, err := net.ParseMAC(c.mac)
	if err != nil || len(mac) != 6 {
		return p, fmt.Errorf("--mac %s is not a MAC: write one such as 52:54:00:00:00:01", strconv.QuoteToASCII(c.mac))
	}
	p.MAC = mac
	return p, nil
}

// parseOption reads CODE=VALUE.
func parseOption(s string) (code uint8, value []byte, err error) {
	number, text, ok := strings.Cut(s, "=")
	if !ok {
		return 0, nil, errors.New("write CODE=VALUE, such as 60=PXEClient")
	}
	n, err := strconv.ParseUint(number, 10, 8)
	if err != nil || n == uint64(dhcpv4.OptionPad.Code()) || n == uint64(dhcpv4.OptionEnd.Code()) {
		return 0, nil, errors.New("write the number of an option from 1 to 254 before the =")
	}
	code = uint8(n)
	digits, isHex := strings.CutPrefix(text, "0x")
	switch {
	case isHex:
		value, err = hex.DecodeString(digits)
		if err != nil {
			return 0, nil, errors.New("write two hexadecimal digits for each byte after 0x")
		}
	case code == dhcpv4.OptionParameterRequestList.Code():
		return numbers(code, text, 1)
	case code == dhcpv4.OptionClientSystemArchitectureType.Code():
		return numbers(code, text, 2)
	default:
		value = []byte(text)
	}
	if code == dhcpv4.OptionClientSystemArchitectureType.Code() && (len(value) == 0 || len(value)%2 != 0) {
		return 0, nil, errors.New("option 93 is a number of two bytes: write 93=7 or 93=0x0007")
	}
	return code, value, nil
}

// numbers reads a list of decimal numbers of a number of bytes each.
func numbers(code uint8, text string, bytes int) (uint8, []byte, error) {
	var out []byte
	for s := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 8*bytes)
		if err != nil {
			return 0, nil, fmt.Errorf("write numbers of %d bits, such as %d=7, or 0x and hexadecimal digits", 8*bytes, code)
		}
		if bytes == 2 {
			out = append(out, byte(n>>8))
		}
		out = append(out, byte(n))
	}
	return code, out, nil
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
