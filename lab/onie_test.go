//go:build lab

package lab

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// onieRound runs ONIE's conduct in a folder of its own for one round, beside programs that
// write down what they are asked: it returns their lines. served are the URLs that there is
// something at.
func onieRound(t *testing.T, installer string, served ...string) (lines []string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		name = filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(name), 0o700)
		if err == nil {
			err = os.WriteFile(name, []byte(text), 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const urls = `case " $SERVED " in *" $url "*) printf '%s' "$INSTALLER" >"$to" ;; *) exit 1 ;; esac` + "\n"
	for name, text := range map[string]string{
		"udhcpc": `interface=eth0 ip=10.0.0.9 mask=24 siaddr=10.0.0.1 serverid=10.0.0.1 tftp=10.0.0.3 bootfile=file-67 boot_file=file opt7=0a0000fe0a0000ff opt72=0a000005 opt150=0a000004 ` +
			`opt125=0000a67f09010768747470733a61 opt114=687474703a2f2f752f62 sh "$ROOT/onie-udhcpc.sh" bound`,
		"wget":    "to=$3; for url; do :; done; echo \"wget $url\" >>\"$LOG\"\n" + urls,
		"tftp":    "to=$3; url=tftp://$6/$5; echo \"tftp $url\" >>\"$LOG\"\n" + urls,
		"nc":      "echo \"nc $1 $2\" >>\"$LOG\"; test \"$1\" != onie-server",
		"logger":  "tag=$2; shift 4; if [ $# -gt 0 ]; then echo \"$*\"; else cat; fi | sed \"s/^/$tag: /\" >>\"$LOG\"",
		"sleep":   "[ \"$1\" = 1 ] || kill $PPID",
		"reboot":  "echo reboot >>\"$LOG\"; kill $PPID",
		"syslogd": "echo \"syslogd $*\" >>\"$LOG\"", "pidof": "exit 1", "ip": "", "sync": "",
	} {
		write("bin/"+name, "#!/bin/sh\n"+text)
	}
	write("sys/class/dmi/id/product_name", "lab_tor8")
	write("sys/class/dmi/id/product_serial", "SN-1")
	write("sys/class/net/eth0/address", "02:b1:04:00:00:00")
	for _, d := range []string{"run", "tmp", "etc", "dev"} {
		write(d+"/.keep", "")
	}
	var at []string
	for _, folder := range []string{"/run/", "/tmp/", "/etc/", "/sys/", "/dev/console"} {
		at = append(at, folder, dir+folder)
	}
	moved := strings.NewReplacer(at...)
	for _, name := range []string{"onie.sh", "onie-udhcpc.sh"} {
		b, err := os.ReadFile("testdata/rack/root/" + name)
		if err != nil {
			t.Fatal(err)
		}
		write(name, moved.Replace(string(b)))
	}
	applets := filepath.Join(dir, "applets") // of what the machine itself runs
	if err := errors.Join(os.Mkdir(applets, 0o700), command("busybox", "--install", "-s", applets)); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log")
	cmd := exec.Command("busybox", "sh", "-c", `first=eth0; say() { :; }; . "$ROOT/onie.sh"`)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+applets, "ROOT="+dir, "LOG="+log, "SERVED="+strings.Join(served, " "), "INSTALLER="+installer)
	out, _ := cmd.CombinedOutput() // it is ended by the first pause
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(out) > 0 {
		t.Logf("it says: %s", out)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// TestJudgeONIE: in which order ONIE looks for an installer, and what it says of it.
func TestJudgeONIE(t *testing.T) {
	names := []string{"onie-installer-x86_64-lab_tor8-r0", "onie-installer-x86_64-lab_tor8", "onie-installer-lab_tor8", "onie-installer-x86_64-lab", "onie-installer-x86_64", "onie-installer"}
	want := []string{"syslogd -R 10.0.0.254", "wget https:a", "wget http://u/b", "nc onie-server 80"}
	for _, host := range []string{"10.0.0.5", "10.0.0.1", "10.0.0.4", "10.0.0.3"} {
		want = append(want, "nc "+host+" 80")
		for _, n := range names {
			want = append(want, "wget http://"+host+"/"+n, "wget http://"+host+"/"+n+".bin")
		}
	}
	for _, host := range []string{"10.0.0.1", "10.0.0.3", "10.0.0.4"} {
		want = append(want, "tftp tftp://"+host+"/file-67", "tftp tftp://"+host+"/file")
	}
	asked := func(lines []string) (out []string) {
		for _, l := range lines {
			if !strings.HasPrefix(l, "onie-exec: ") && !strings.HasPrefix(l, "discover: ") && !strings.HasPrefix(l, "os-install: ") {
				out = append(out, l)
			}
		}
		return out
	}
	if got := asked(onieRound(t, "")); !slices.Equal(got, want) {
		t.Errorf("where nothing is found it asks\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	const seven = "#!/bin/sh\necho no fan tray >&2\nexit 7\n"
	got := onieRound(t, seven, "https:a")
	for _, l := range []string{"onie-exec: trying https:a", "os-install: no fan tray", "onie-exec: the installer ended with 7", "wget http://u/b"} {
		if !slices.Contains(got, l) {
			t.Errorf("an installer that fails leaves no line %q:\n%s", l, strings.Join(got, "\n"))
		}
	}
	got = onieRound(t, "#!/bin/sh\necho installed\n", "tftp://10.0.0.4/file")
	for _, l := range []string{"os-install: installed", "onie-exec: the installer ended with 0", "reboot"} {
		if !slices.Contains(got, l) {
			t.Errorf("an installer that ends well leaves no line %q:\n%s", l, strings.Join(got, "\n"))
		}
	}
	if got[len(got)-1] != "reboot" {
		t.Errorf("it goes on after that: %s", got[len(got)-1])
	}
}
