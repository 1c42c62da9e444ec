//go:build answers

package answerfile

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/rack"
)

// need is the path of a program of a Debian package.
func need(t *testing.T, program, debian string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("this needs %s: install Debian's package %s", program, debian)
	}
	return path
}

// reads holds that a program reads a text without a complaint; FILE in its arguments
// is where the text is.
func reads(t *testing.T, text []byte, program string, args ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "FILE", file)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	low := strings.ToLower(string(out))
	if err != nil || strings.Contains(low, "warning") || strings.Contains(low, "error") {
		t.Errorf("%s: %v: %s\nof\n%s", filepath.Base(program), err, out, text)
	}
}

// shells are those that installers have, or nearly so.
func shells(t *testing.T, text []byte) {
	t.Helper()
	reads(t, text, need(t, "dash", "dash"), "-n", "FILE")
	reads(t, text, need(t, "busybox", "busybox"), "sh", "-n", "FILE")
	reads(t, text, need(t, "bash", "bash"), "-n", "FILE")
}

func python(t *testing.T, text []byte) {
	t.Helper()
	reads(t, text, need(t, "python3", "python3"), "-c", "import ast; ast.parse(open('FILE').read())")
}

// TestReaders gives every file to the programs that read such files.
func TestReaders(t *testing.T) {
	for name, j := range jobs(t) {
		d, _ := j.Rack.Device(j.Device)
		for _, file := range FilesOf(d.Install) {
			t.Run(name+"/"+file, func(t *testing.T) {
				b, err := j.File(file)
				if err != nil {
					t.Fatal(err)
				}
				switch {
				case file == "preseed.cfg":
					reads(t, b, need(t, "debconf-set-selections", "debconf"), "-c", "FILE")
				case strings.HasSuffix(file, ".sh"):
					shells(t, b)
				case file == "ks.cfg":
					kickstart(t, b)
				case file == "network-config":
					reads(t, b, need(t, "/usr/bin/python3", "cloud-init"), "-c", "import yaml; from cloudinit.net import network_state; s = network_state.parse_net_config_data(yaml.safe_load(open('FILE'))); i = list(s.iter_interfaces()); assert len(i) == 1 and i[0]['subnets'][0]['address'], i")
				case file == "user-data" && d.Install.Installer == rack.DiskImage:
					reads(t, b, need(t, "cloud-init", "cloud-init"), "schema", "--config-file", "FILE")
				case file == "user-data":
					userData(t, b)
				case file == "vendor-data":
					reads(t, b, need(t, "cloud-init", "cloud-init"), "schema", "--config-file", "FILE")
				case file == "meta-data":
					reads(t, b, need(t, "/usr/bin/python3", "python3-yaml"), "-c", "import yaml; d = yaml.safe_load(open('FILE')); assert set(d) == {'instance-id', 'local-hostname'}, d")
				}
			})
		}
	}
}

// kickstart gives the scripts of a kickstart file to their interpreters, and splits
// its commands as pykickstart does, by Python's shlex.
func kickstart(t *testing.T, b []byte) {
	t.Helper()
	commands, script, by := &bytes.Buffer{}, &bytes.Buffer{}, ""
	end := func() {
		switch by {
		case "":
		case "python":
			python(t, script.Bytes())
		default:
			shells(t, script.Bytes())
		}
		script.Reset()
		by = ""
	}
	for l := range strings.Lines(string(b)) {
		head, _, _ := strings.Cut(strings.TrimSpace(l), " ")
		switch {
		case head == "%end":
			end()
		case head == "%packages":
			end()
			by = "/bin/sh" // names of packages are words too
		case head == "%include":
		case strings.HasPrefix(head, "%"):
			end()
			_, by, _ = strings.Cut(l, "--interpreter=")
			by, _, _ = strings.Cut(strings.TrimSpace(by), " ")
		case by != "":
			script.WriteString(l)
		default:
			commands.WriteString(l)
		}
	}
	end()
	reads(t, commands.Bytes(), need(t, "python3", "python3"), "-c", "import shlex\nfor l in open('FILE'): shlex.split(l, comments=True)")
}

// userData gives what the installed system's cloud-init reads to cloud-init, and the
// commands to the shells.
func userData(t *testing.T, b []byte) {
	t.Helper()
	var u struct {
		Autoinstall struct {
			Early    []string       `yaml:"early-commands"`
			Late     []string       `yaml:"late-commands"`
			Error    []string       `yaml:"error-commands"`
			UserData map[string]any `yaml:"user-data"`
		}
	}
	if err := yaml.Unmarshal(b, &u); err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]string{u.Autoinstall.Early, u.Autoinstall.Late, u.Autoinstall.Error} {
		if len(list) != 1 {
			t.Errorf("%d commands, want one script", len(list))
		}
		for _, s := range list {
			shells(t, []byte(s))
		}
	}
	inner, err := yaml.Marshal(u.Autoinstall.UserData)
	if err != nil {
		t.Fatal(err)
	}
	reads(t, append([]byte("#cloud-config\n"), inner...), need(t, "cloud-init", "cloud-init"), "schema", "--config-file", "FILE")
	reads(t, b, need(t, "/usr/bin/python3", "python3-yaml"), "-c", "import yaml; yaml.safe_load(open('FILE'))")
}
