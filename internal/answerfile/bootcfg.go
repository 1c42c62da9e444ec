package answerfile

import (
	"bytes"
	"fmt"
	"strings"
)

// Bounds of a boot.cfg of ESXi.
const (
	maxBootCfg = 64 << 10 // bytes; that of ESXi 8 has 4 kB
	maxModules = 1024     // that of ESXi 8 has 150
)

// bootCfg is the ESXi's own boot.cfg, rewritten for a boot over HTTP: prefix= leads
// to the device's files, kernel and modules stand below it, and the kernel is told
// where its ks.cfg is (VMware ESXi Installation and Setup, "About the boot.cfg File").
// Other lines stay as they are.
func (j *Job) bootCfg() ([]byte, error) {
	fail := func(format string, a ...any) ([]byte, error) {
		return nil, fmt.Errorf("%w: boot.cfg of the bundle: %w", ErrJob, fmt.Errorf(format, a...))
	}
	if len(j.BootCfg) == 0 || len(j.BootCfg) > maxBootCfg {
		return fail("it has %d bytes, 1 to %d are possible", len(j.BootCfg), maxBootCfg)
	}
	ks, err := word(j.url("ks.cfg"))
	if err != nil {
		return fail("%w", err)
	}
	var out bytes.Buffer
	seen := map[string]bool{}
	for l := range strings.Lines(string(j.BootCfg)) {
		l = strings.TrimRight(l, "\r\n")
		if strings.ContainsFunc(l, func(r rune) bool { return r < ' ' && r != '\t' || r > '~' }) {
			return fail("it holds bytes that are no text")
		}
		key, value, ok := strings.Cut(l, "=")
		key = strings.TrimSpace(key)
		if !ok || strings.HasPrefix(key, "#") {
			out.WriteString(l + "\n")
			continue
		}
		switch key {
		case "prefix", "kernel", "kernelopt", "modules":
			if seen[key] {
				return fail("%s stands there twice", key)
			}
			seen[key] = true
		}
		switch key {
		case "prefix":
			continue // ours is written at the end
		case "kernel":
			if value, err = j.beside(value); err != nil {
				return fail("kernel: %w", err)
			}
		case "kernelopt":
			value = kernelopt(value, ks)
		case "modules":
			if value, err = j.modules(value); err != nil {
				return fail("modules: %w", err)
			}
		}
		out.WriteString(key + "=" + value + "\n")
	}
	if !seen["kernel"] || !seen["modules"] {
		return fail("it names no kernel, or no modules")
	}
	if !seen["kernelopt"] {
		out.WriteString("kernelopt=" + kernelopt("", ks) + "\n")
	}
	base, err := word(j.Base)
	if err != nil {
		return fail("%w", err)
	}
	out.WriteString("prefix=" + base + "\n")
	return out.Bytes(), nil
}

// kernelopt is what the kernel is told: what it was told before, without where an
// answer file or the CD is, and our ks.cfg.
func kernelopt(was, ks string) string {
	var out []string
	for _, w := range strings.Fields(was) {
		if w != "cdromBoot" && !strings.HasPrefix(w, "ks=") {
			out = append(out, w)
		}
	}
	return strings.Join(append(out, "ks="+ks), " ")
}

func (j *Job) modules(value string) (string, error) {
	names := strings.Split(value, "---")
	if len(names) > maxModules {
		return "", fmt.Errorf("%d of them, at most %d are possible", len(names), maxModules)
	}
	for i, n := range names {
		var err error
		if names[i], err = j.beside(n); err != nil {
			return "", err
		}
	}
	return strings.Join(names, " --- "), nil
}

// beside is a file that boot.cfg names, as it is kept: an ISO that is unpacked has
// names of other letters than its boot.cfg says.
func (j *Job) beside(name string) (string, error) {
	fields := strings.Fields(name)
	if len(fields) == 0 {
		return "", fmt.Errorf("a name is missing")
	}
	file := strings.TrimLeft(fields[0], "/")
	for _, kept := range j.Folder {
		if strings.EqualFold(kept, file) {
			w, err := word(kept)
			if err != nil {
				return "", fmt.Errorf("%.80q: %w", kept, err)
			}
			fields[0] = w
			return strings.Join(fields, " "), nil
		}
	}
	return "", fmt.Errorf("%.80q is not beside it in the bundle: add the whole folder", file)
}
