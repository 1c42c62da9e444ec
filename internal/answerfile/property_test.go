package answerfile

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"
)

// wild are texts that try to get out of where they stand.
func wild() *rapid.Generator[string] {
	tricks := []string{"'", `"`, `\`, "\n", "\r", "\x00", "\u2028", "$(reboot)", "`reboot`", "; reboot", "${x}", "%end", "%include /x", "RACKREACH-DISK", "RACKREACH-NTP", "#", ": ", "- ", "{{.}}",
		"|", ">", "&", "*", "!", "'\\''", " ", "\t", "--- ", "ks=http://x/", "é", "\U0001F600", "\x7f", "a", "0", "d-i x/y string z"}
	return rapid.Custom(func(t *rapid.T) string {
		if rapid.Bool().Draw(t, "any") {
			return rapid.String().Draw(t, "text")
		}
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(tricks), 0, 5).Draw(t, "tricks"), "")
	})
}

// TestNoValueAddsALine: whatever the values are, past every check of the rack file, a
// file that is made of them has the lines of one that is made of harmless values, and
// each line begins and ends as that of the harmless one where no value stands; or it
// is not made at all.
func TestNoValueAddsALine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := goldenJobs(t.Fatal)
		name := rapid.SampledFrom(names(all)).Draw(t, "job")
		j := all[name]
		tame := make(map[string][]byte)
		d := &j.Rack.Devices[0]
		for _, file := range FilesOf(d.Install) {
			b, err := j.File(file)
			if err != nil {
				t.Fatal(err)
			}
			tame[file] = b
		}
		x := *d.Install
		x.Keys = slices.Clone(x.Keys)
		d.MACs = slices.Clone(d.MACs)
		places := map[string]*string{"name": &d.Name, "rack": &j.Rack.Name, "domain": &j.Rack.Services.Domain, "ticket": &j.Ticket, "run": &j.Run, "overwrites": &j.Overwrites,
			"serial": &x.Disk.Serial, "path": &x.Disk.Path, "hash": &j.PasswordHash.text, "base": &j.Base}
		if len(x.Keys) > 0 {
			places["key"] = &x.Keys[0]
		}
		if len(d.MACs) > 0 {
			places["mac"] = &d.MACs[0]
		}
		for what, p := range places {
			if *p == "" {
				delete(places, what) // lines that an empty value leaves out make another file
			}
		}
		what := rapid.SampledFrom(names(places)).Draw(t, "place")
		*places[what] = wild().Filter(func(s string) bool { return s != "" }).Draw(t, what)
		j.Device, d.Install = d.Name, &x
		for file, before := range tame {
			after, err := j.File(file)
			if err != nil {
				continue
			}
			sameShape(t, name+"/"+file, string(before), string(after))
		}
	})
}

// sameShape holds that a file has the lines of another, and the same first word in
// each that begins with one.
func sameShape(t *rapid.T, name, before, after string) {
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	if len(a) != len(b) {
		t.Fatalf("%s has %d lines, and had %d:\n%s", name, len(b), len(a), after)
	}
	for i := range a {
		if strings.ContainsAny(b[i], "\r\x00\u2028\u0085") {
			t.Fatalf("%s, line %d: %q", name, i+1, b[i])
		}
		was, is := firstWord(a[i]), firstWord(b[i])
		if was != is {
			t.Fatalf("%s, line %d begins with %q, and began with %q", name, i+1, is, was)
		}
	}
	if strings.HasSuffix(name, "user-data") {
		if x, y := outline(t, before), outline(t, after); x != y {
			t.Fatalf("%s has the keys\n%s\nand had\n%s", name, y, x)
		}
	}
}

// firstWord is what of a line is no value: up to the first character that begins one.
func firstWord(s string) string {
	i := strings.IndexAny(s, ` ='"`)
	indent := len(s) - len(strings.TrimLeft(s, " "))
	if j := strings.IndexAny(s[indent:], ` ='"`); j >= 0 {
		i = indent + j
	}
	if i < 0 {
		return s
	}
	return s[:i]
}

// outline is YAML with its texts left out.
func outline(t *rapid.T, s string) string {
	var v any
	if err := yaml.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("not YAML: %v\n%s", err, s)
	}
	var bare func(v any) any
	bare = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for k := range v {
				v[k] = bare(v[k])
			}
			return v
		case []any:
			for i := range v {
				v[i] = bare(v[i])
			}
			return v
		case string:
			return ""
		}
		return v
	}
	b, err := json.Marshal(bare(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestEscapers: what an escaper lets through is read back as the same value, by what
// reads such a format.
func TestEscapers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := wild().Draw(t, "value")
		if e, err := sh(s); err == nil && shellWord(t, e) != s {
			t.Fatalf("sh %q: %s", s, e)
		}
		if e, err := py(s); err == nil {
			if back, err := strconv.Unquote(e); err != nil || back != s {
				t.Fatalf("py %q: %s", s, e)
			}
		}
		if e, err := yamlText(s); err == nil {
			var back map[string]string
			if err := yaml.Unmarshal([]byte("a: "+e+"\nb: x\n"), &back); err != nil || back["a"] != s || len(back) != 2 {
				t.Fatalf("yaml %q: %s: %v, %v", s, e, back, err)
			}
		}
		if e, err := line(s); err == nil && (e != s || strings.ContainsAny(e, "\n\r\\")) {
			t.Fatalf("line %q: %q", s, e)
		}
		if e, err := word(s); err == nil && (e != s || strings.ContainsAny(e, " \t\n'\"\\#;&|<>()`*?[]{}!~%^")) {
			t.Fatalf("word %q: %q", s, e)
		}
	})
}

// shellWord reads one word of a POSIX shell that consists of single-quoted parts and
// escaped quotes (POSIX.1-2017, Shell & Utilities, 2.2).
func shellWord(t *rapid.T, s string) string {
	var out strings.Builder
	for s != "" {
		switch {
		case strings.HasPrefix(s, `\'`):
			out.WriteByte('\'')
			s = s[2:]
		case s[0] == '\'':
			inner, rest, ok := strings.Cut(s[1:], "'")
			if !ok {
				t.Fatalf("a quote is not closed: %s", s)
			}
			out.WriteString(inner)
			s = rest
		default:
			t.Fatalf("outside of quotes: %s", s)
		}
	}
	return out.String()
}

// FuzzBootCfg: a boot.cfg of anybody's is rewritten, or refused; what it becomes has
// one prefix, ours, and one ks=.
func FuzzBootCfg(f *testing.F) {
	f.Add([]byte(bootCfg))
	f.Add([]byte("kernel=b.b00\nmodules=\nprefix=/x\nprefix=/y"))
	f.Add([]byte("kernel=/b.b00\nkernelopt=ks=http://evil/ ks=x\nmodules=s.v00---s.v00 --- tools.t00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		j := &Job{Base: "http://10.0.1.9/native/x", BootCfg: b, Folder: []string{"B.B00", "S.V00", "TOOLS.T00"}}
		out, err := j.bootCfg()
		if err != nil {
			return
		}
		prefixes, ks := 0, 0
		for l := range strings.Lines(string(out)) {
			key, value, ok := strings.Cut(l, "=")
			if ok && strings.TrimSpace(key) == "prefix" && !strings.HasPrefix(strings.TrimSpace(l), "#") {
				prefixes++
			}
			if strings.TrimSpace(key) == "kernelopt" {
				for w := range strings.FieldsSeq(value) {
					if strings.HasPrefix(w, "ks=") {
						ks++
					}
				}
			}
		}
		if prefixes != 1 || ks != 1 {
			t.Errorf("%q became %q", b, out)
		}
	})
}

func names[T any](all map[string]T) (out []string) {
	for n := range all {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}
