package ssh

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// escapes are the sequences that colour text and move cursors (ECMA-48 §5.4).
var escapes = regexp.MustCompile(`\x1b\[[0-?]*[ -/]*[@-~]`)

// breaks makes one kind of line ends.
var breaks = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// printable makes lines of a device's output that a terminal only prints. It
// never makes them longer.
func printable(raw string) string {
	s := escapes.ReplaceAllString(strings.ToValidUTF8(raw, "?"), "")
	s = strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, breaks.Replace(s))
	return strings.TrimRight(s, " \n")
}

// short makes one printable line of at most so many bytes.
func short(raw string, most int) string {
	return cut(strings.Join(strings.Fields(printable(raw)), " "), most)
}

// cut shortens printable text to so many bytes, and shows that it did.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most - len("…")
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// lastLines are the last lines of an output, as one line for a message.
func lastLines(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		if line = short(line, maxQuoted); line != "" {
			out = append(out, line)
		}
	}
	return strings.Join(out[max(0, len(out)-maxLast):], " / ")
}

// hidden are the secrets that no text may show.
type hidden struct {
	in      *strings.Replacer
	longest int // bytes
}

func hide(t Target, x Exchange) hidden {
	h, pairs := hidden{}, []string(nil)
	for _, s := range append([]string{t.Password}, x.Secrets...) {
		if len(s) < minSecret {
			continue
		}
		quoted := quote(s)
		for _, form := range []string{s, quoted[1 : len(quoted)-1]} {
			pairs = append(pairs, form, "***")
			h.longest = max(h.longest, len(form))
		}
	}
	h.in = strings.NewReplacer(pairs...)
	return h
}

// from blacks secrets out. It never makes a text longer.
func (h hidden) from(s string) string { return h.in.Replace(s) }

// clean is what may be shown of a device's bytes.
func (h hidden) clean(s string) string { return h.from(printable(h.from(s))) }

// gathered keeps beginning and end of an output. Of each it keeps as many bytes
// more as the longest secret has: one that is cut in two there is not recognised,
// and goes with that margin.
type gathered struct {
	hide    hidden
	keep    int    // bytes of its beginning
	endless func() // called once, when there is more than maxOutput

	mu         sync.Mutex
	head, tail []byte
	total      int
}

// Write takes in what a device sends, on either stream.
func (g *gathered) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, most := len(p), keptTail+g.hide.longest
	before := g.total
	g.total += n
	if room := g.keep + g.hide.longest - len(g.head); room > 0 {
		take := min(room, n)
		g.head, p = append(g.head, p[:take]...), p[take:]
	}
	g.tail = append(g.tail, p...)
	if len(g.tail) > 4*most {
		g.tail = append(g.tail[:0], g.tail[len(g.tail)-most:]...)
	}
	if before <= maxOutput && g.total > maxOutput {
		g.endless()
	}
	return n, nil
}

// text is what may be shown of it.
func (g *gathered) text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	margin := g.hide.longest
	if len(g.head)+len(g.tail) == g.total {
		all := g.hide.clean(string(g.head) + string(g.tail))
		if len(all) <= g.keep+keptTail {
			return all
		}
		return joined(all[:g.keep], all[len(all)-keptTail:], len(all)-g.keep-keptTail)
	}
	tail := g.tail[max(0, len(g.tail)-keptTail-margin):]
	head, end := g.hide.from(string(g.head)), g.hide.from(string(tail))
	head, end = head[:max(0, len(head)-margin)], end[min(margin, len(end)):]
	return joined(g.hide.clean(head), g.hide.clean(end), g.total-len(g.head)-len(tail)+2*margin)
}

func joined(head, tail string, bytes int) string {
	return fmt.Sprintf("%s\n[%d bytes cut]\n%s", printable(head), bytes, printable(tail))
}
