package answerfile

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"text/template"

	"github.com/rackreach/rackreach/internal/config"
	"github.com/rackreach/rackreach/internal/rack"
)

//go:embed templates
var embedded embed.FS

// Bounds.
const (
	MaxTemplate = 256 << 10 // bytes of a template of a bundle
	maxRendered = 512 << 10 // bytes of a rendered file
	maxDepth    = 8         // includes within each other
)

// ErrNoFile says that an installer has no file of that name. It is wrapped.
var ErrNoFile = errors.New("no such file")

// File renders a file that the device's installer reads. Errors: ErrNoFile,
// ErrJob, wrapped; and what is wrong with a template. No error holds a secret.
func (j *Job) File(name string) ([]byte, error) {
	v, x, err := j.values()
	if err != nil {
		return nil, err
	}
	if all := FilesOf(x); !slices.Contains(all, name) {
		return nil, fmt.Errorf("%.80q: %w: the installer %s reads %s", name, ErrNoFile, x.Installer, quoted(all))
	}
	if x.Installer == rack.ESXi && name == "boot.cfg" {
		return j.bootCfg()
	}
	var own []byte
	if name == files[x.Installer][0] {
		own = j.Template
	}
	return render(x.Installer, name, own, v)
}

// Redacted renders a file as File does, with words in place of its secrets, which need
// not be there.
func (j *Job) Redacted(name string) ([]byte, error) {
	r := *j
	if d, ok := j.Rack.Device(j.Device); ok && d.Install != nil && d.Install.PasswordHash != "" {
		r.PasswordHash = Secret{redactedHash}
	}
	return r.File(name)
}

// redactedHash stands for a hash where a rendered file is shown. Nothing hashes to it.
const redactedHash = "$6$hidden$the.hash.is.not.shown"

// render fills in the template of a file.
func render(installer rack.Installer, name string, own []byte, v *values) ([]byte, error) {
	if len(own) > MaxTemplate {
		return nil, fmt.Errorf("template of %s: %d bytes: at most %d are possible", name, len(own), MaxTemplate)
	}
	t := template.New("").Option("missingkey=error").Funcs(escapers)
	depth := 0
	functions := maps.Clone(escapers)
	functions["include"] = func(part string, v any) (rendered, error) {
		if depth++; depth > maxDepth {
			return "", fmt.Errorf("%.80q: %w", part, errDeep)
		}
		defer func() { depth-- }()
		out := &bounded{}
		err := t.ExecuteTemplate(out, part, v)
		return rendered(out.String()), err
	}
	t.Funcs(functions)
	if err := parseAll(t, installer, name, own); err != nil {
		return nil, err
	}
	escape(t, installer)
	if err := config.Bound(t, functions); err != nil {
		return nil, err
	}
	out := &bounded{}
	if err := t.ExecuteTemplate(out, name, v); err != nil {
		return nil, fmt.Errorf("fill in the template of %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// parseAll parses what all installers share, and then the file itself: its own
// template, or ours.
func parseAll(t *template.Template, installer rack.Installer, name string, own []byte) error {
	shared, err := fs.ReadDir(embedded, "templates")
	if err != nil {
		return fmt.Errorf("read the embedded templates: %w", err)
	}
	for _, f := range shared {
		if f.IsDir() {
			continue
		}
		b, err := embedded.ReadFile("templates/" + f.Name())
		if err != nil {
			return fmt.Errorf("read an embedded template: %w", err)
		}
		if _, err := t.New(strings.TrimSuffix(f.Name(), ".tmpl")).Parse(string(b)); err != nil {
			return fmt.Errorf("embedded template: %w", err)
		}
	}
	from := "the bundle's template of " + name
	if own == nil {
		from = "embedded template"
		if own, err = embedded.ReadFile("templates/" + string(installer) + "/" + name + ".tmpl"); err != nil {
			if t.Lookup(name) != nil {
				return nil // a file that all installers share
			}
			return fmt.Errorf("read an embedded template: %w", err)
		}
	}
	if _, err := t.New(name).Parse(string(own)); err != nil {
		return fmt.Errorf("%s: %w. An action may end in one of %s", from, err, strings.Join(escaperNames(), ", "))
	}
	return nil
}

// errDeep ends what would end the process: each include has a stack of its own.
var errDeep = fmt.Errorf("more than %d includes within each other: it includes itself", maxDepth)

// bounded is a buffer that does not grow without end.
type bounded struct{ bytes.Buffer }

var errLong = fmt.Errorf("more than %d bytes", maxRendered)

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxRendered {
		return 0, errLong
	}
	return b.Buffer.Write(p)
}
