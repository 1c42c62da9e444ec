package syslog

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestParse(t *testing.T) {
	for _, x := range []struct{ packet, want string }{
		// As busybox syslogd -R sends under ONIE (facility local0).
		{"<134>Jan  1 00:00:30 onie: Info: Fetching http://192.168.1.1/image/x ...", "onie: Info: Fetching http://192.168.1.1/image/x ..."},
		{"<134>Jan  1 00:00:30 localhost discover: installer mode detected.", "discover: installer mode detected."},
		{"<13>Nov 29 11:04:25 host user[123]: with a process", "user: with a process"},
		{"<131>onie-exec: failed", "err: onie-exec: failed"},
		{"<0>kernel: panic", "emerg: kernel: panic"},
		{"<134>no tag at all", "no tag at all"},
		{"<134>Jan  1 00:00:30 host without a tag", "host without a tag"},
		{"no priority", "no priority"},
		{"tag: no priority", "tag: no priority"},
		{"<192>too large a priority", "<192>too large a priority"},
		{"<1x>no number", "<1x>no number"},
		{"<>", "<>"},
		{"<189>123: *Mar  1 00:00:01.000: %SYS-5-CONFIG_I: Configured", "123: *Mar 1 00:00:01.000: %SYS-5-CONFIG_I: Configured"},
		{"<134>http://a/b is no tag", "http://a/b is no tag"},
		// RFC 5424 §6.5.
		{"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed", "crit: su: 'su root' failed"},
		{"<165>1 2003-10-11T22:14:15.003Z host evntslog - ID47 [exampleSDID@32473 iut=\"3\" eventSource=\"App \\\"]x\"][b c=\"d\"] An application event", "evntslog: An application event"},
		{"<14>1 - - - - - - text", "text"},
		{"<14>1 - - app - -", ""},
		{"<14>1 ", ""},
		{"<14>1 - - app - - [unended \"", ""},
		// Nothing to tell.
		{"", ""}, {"<134>", ""}, {"<134>Jan  1 00:00:30 ", ""}, {"<134>tag:", ""}, {"\x00\x00\n", ""},
		// What would do harm.
		{"<134>x: \x1b[31mred\nsecond\r\x07 \xff \u202e", "x: [31mred second ?"},
		{"<134>x: " + strings.Repeat("é", 1000), "x: " + strings.Repeat("é", (maxText-3)/2) + "…"},
	} {
		l, ok := parse([]byte(x.packet))
		got := ""
		if ok {
			got = l.String()
		}
		if got != x.want {
			t.Errorf("%.60q: %q, want %q", x.packet, got, x.want)
		}
	}
}

func FuzzLine(f *testing.F) {
	for _, s := range []string{"<134>Jan  1 00:00:30 onie: x", "<34>1 2003-10-11T22:14:15.003Z h su - ID47 [a b=\"\\\"]\"] x", "<13>host tag[1]: x", "1 ", "<999>", "\xff\xfe", "<34>1 [[["} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		l, ok := parse(p)
		s := l.String()
		if ok == (l.Text == "") || len(l.Text) > maxText || len(l.Tag) > maxTag || l.Severity < 0 || l.Severity > 7 || !utf8.ValidString(s) {
			t.Errorf("%q: %+v %t", p, l, ok)
		}
		if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q: %q", p, s)
		}
	})
}
