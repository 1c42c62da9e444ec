package ssh

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Exchange is what is done on a device in one connection: first the files are
// written, then the commands run, each in order.
type Exchange struct {
	Files []File
	// Run are commands, each as the user's login shell or CLI reads it, and each in
	// a session of its own: what one sets, the next does not see.
	Run []string
	// Secrets are values that stand in files and commands. In outputs, messages
	// and logs each is blacked out, like the password. Those of less than 4 bytes
	// are not looked for.
	Secrets []string
	// Keep is how many bytes of the beginning of an output are kept, at most 1 MiB; 0: as
	// MaxText says.
	Keep int
}

// File is one file on the device.
type File struct {
	Path    string // absolute, clean; a file that is there is replaced, a symbolic link too
	Mode    uint32 // permission bits; 0: 0600
	Content []byte
}

// Output is what a command left.
type Output struct {
	Command string // with secrets blacked out
	// Text is what it printed, on both streams: lines that are printable, at most
	// MaxText bytes; what was cut out of its middle is said there.
	Text   string
	Status int // 0: it succeeded; -1: the device told no status
}

func (x Exchange) check() error {
	switch {
	case len(x.Files) > maxFiles:
		return fmt.Errorf("%d files; %d are the most in one exchange", len(x.Files), maxFiles)
	case len(x.Run) > maxCommands:
		return fmt.Errorf("%d commands; %d are the most in one exchange", len(x.Run), maxCommands)
	case x.Keep < 0 || x.Keep > maxKeep:
		return fmt.Errorf("%d bytes of an output are to be kept; %d are the most", x.Keep, maxKeep)
	case len(x.Secrets) > maxSecrets:
		return fmt.Errorf("%d secrets; %d are the most in one exchange", len(x.Secrets), maxSecrets)
	}
	for _, s := range x.Secrets {
		if len(s) > maxPassword {
			return fmt.Errorf("a secret of %d bytes; %d are the most", len(s), maxPassword)
		}
	}
	for _, f := range x.Files {
		if err := f.check(); err != nil {
			return err
		}
	}
	for i, c := range x.Run {
		switch {
		case strings.TrimSpace(c) == "":
			return fmt.Errorf("command %d is empty", i+1)
		case len(c) > maxCommand:
			return fmt.Errorf("command %d has %d bytes; %d are the most", i+1, len(c), maxCommand)
		case !utf8.ValidString(c) || strings.ContainsFunc(c, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }):
			return fmt.Errorf("command %d is no plain text", i+1)
		}
	}
	return nil
}

func (f File) check() error {
	name := short(f.Path, maxQuoted)
	switch {
	case !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/":
		return fmt.Errorf("file %q: its path must be absolute, without . and .. and without a slash at its end", name)
	case len(f.Path) > maxPath:
		return fmt.Errorf("file %q: its path has %d bytes; %d are the most", name, len(f.Path), maxPath)
	case !printableLine(f.Path) || strings.ContainsAny(f.Path, `\!`):
		return fmt.Errorf("file %q: its path must be printable, without \\ and !, which some shells obey also in quotes", name)
	case f.Mode > 0o777:
		return fmt.Errorf("file %q: mode %#o is not one of permission bits", name, f.Mode)
	case len(f.Content) > maxContent:
		return fmt.Errorf("file %q: %d bytes; %d are the most", name, len(f.Content), maxContent)
	}
	return nil
}

// receive is what takes in a file: $1 the temporary name, $2 the path, $3 how
// many bytes, $4 the mode. A connection that breaks ends cat as the end of the
// file does, therefore the bytes are counted. The last line that it prints is
// believed, and no status alone: a CLI that knows no sh may end well all the same.
// It holds no single quote, and nothing that a shell of another family obeys in
// single quotes.
const receive = `umask 077; t=$1; p=$2; ` +
	`fail() { rm -f "$t"; echo "$1" >&2; exit 1; }; ` +
	`test -d "$p" && { echo "it is a directory" >&2; exit 1; }; ` +
	`rm -f "$t" || exit 1; set -C; cat >"$t" || fail "cannot write beside it"; ` +
	`n=$(wc -c <"$t"); test $n -eq $3 || fail "only $n of $3 bytes arrived"; ` +
	`chmod $4 "$t" && mv -f "$t" "$p" || fail "cannot put it in place"; echo "in place: $n bytes"`

// command is what a device's shell is told to take in the file.
func (f File) command() string {
	mode := f.Mode
	if mode == 0 {
		mode = 0o600
	}
	return fmt.Sprintf("sh -c %s rackreach %s %s %d %04o", quote(receive), quote(f.beside()), quote(f.Path), len(f.Content), mode)
}

// taken reports whether the output of command says that the file is there.
func (f File) taken(text string) bool {
	fields := strings.Fields(text[strings.LastIndexByte(text, '\n')+1:])
	return strings.Join(fields, " ") == fmt.Sprintf("in place: %d bytes", len(f.Content))
}

// beside is the temporary name. It is always the same, so that the next attempt
// clears away what a cut connection left.
func (f File) beside() string {
	dir, name := path.Split(f.Path)
	return dir + ".rackreach-" + cut(name, 200) + ".new" // a name has at most 255 bytes
}

// quote makes one word of s that no POSIX shell looks into.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// errEndless ends a command that prints more than maxOutput.
var errEndless = errors.New("it prints without end")
