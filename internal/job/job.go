package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Job is what an agent wants done. The same words are in internal/boot's answers to
// installers that know disks only as what they hold: those end at Overwrites.
type Job struct {
	Rack     string `json:"rack"`
	Device   string `json:"device"`
	Run      string `json:"run"`
	Ticket   string `json:"ticket"`
	Role     string `json:"role"`
	Platform string `json:"platform"`
	Image    Image  `json:"image"`
	Report   string `json:"report"` // URL that takes the report
	// Overwrites is what may be overwritten on the disk, word for word as the
	// installer says that it holds it; empty: nothing.
	Overwrites string `json:"overwrites"`

	Progress string   `json:"progress,omitempty"` // URL that takes Progress; empty: none does
	Hardware string   `json:"hardware,omitempty"` // URL that takes Hardware; empty: none does
	Install  *Install `json:"install,omitempty"`
}

// Image is what is written.
type Image struct {
	Name   string  `json:"name"`
	URL    string  `json:"url"`
	Digest string  `json:"digest"` // of the bytes at URL
	Size   int64   `json:"size"`   // of the bytes at URL
	Raw    *Blob   `json:"raw,omitempty"`
	Frames *Source `json:"frames,omitempty"` // its index (internal/frames)
}

// Blob is bytes by their digest.
type Blob struct {
	Digest string `json:"digest"` // "sha256:" and 64 lower hex digits
	Size   int64  `json:"size"`   // bytes
}

// Source is bytes that can be fetched.
type Source struct {
	URL string `json:"url"`
	Blob
}

// Install is how the image is put on the machine.
type Install struct {
	Disk DiskRule `json:"disk"`
	Grow bool     `json:"grow,omitempty"` // the last partition, up to the end of the disk
	// BootEntry makes the firmware's first boot entry the loader at this path of
	// the EFI system partition, such as \EFI\BOOT\BOOTX64.EFI; empty: none is made.
	// Machines without UEFI have none, and that is no error.
	BootEntry string `json:"bootEntry,omitempty"`
	Files     []File `json:"files,omitempty"`
	Then      Then   `json:"then,omitempty"` // empty: Reboot
}

// DiskRule says which disk is meant: all that is given must hold, and of exactly
// one disk. Nothing given: the only disk that there is.
type DiskRule struct {
	Path    string `json:"path,omitempty"`    // /dev/NAME
	Serial  string `json:"serial,omitempty"`  // as the disk says it
	MinSize int64  `json:"minSize,omitempty"` // bytes
	MaxSize int64  `json:"maxSize,omitempty"` // bytes; 0: no bound
}

// File is written into a file system of the image once that is on the disk.
type File struct {
	Partition int    `json:"partition"` // its number in the partition table
	Path      string `json:"path"`      // absolute, in that file system
	Mode      uint32 `json:"mode,omitempty"`
	Content   string `json:"content"`
}

// Then is what the machine does after an installation.
type Then string

// What it can do.
const (
	Reboot   Then = "reboot"
	PowerOff Then = "poweroff"
)

// ErrJob says that a job is not one that can be done. It is wrapped.
var ErrJob = errors.New("the job cannot be done")

// Parse reads a job that came from a URL. Error: ErrJob, wrapped.
func Parse(b []byte, from *url.URL) (*Job, error) {
	j, err := parse(b, from)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJob, err)
	}
	return j, nil
}

func parse(b []byte, from *url.URL) (*Job, error) {
	j := &Job{}
	if err := strict(b, MaxJob, j); err != nil {
		return nil, err
	}
	for _, n := range []struct{ what, text string }{{"rack", j.Rack}, {"device", j.Device}, {"run", j.Run}, {"ticket", j.Ticket}, {"image.name", j.Image.Name}} {
		if err := name(n.what, n.text); err != nil {
			return nil, err
		}
	}
	if !holds(j.Overwrites) {
		return nil, fmt.Errorf("overwrites is %.80q: it must be empty, receipt:TICKET or foreign:TEXT", j.Overwrites)
	}
	if err := j.Image.check(); err != nil {
		return nil, err
	}
	if j.Install == nil {
		return nil, errors.New("install is missing: the agent does not say which disk")
	}
	if err := j.Install.check(); err != nil {
		return nil, err
	}
	return j, j.checkURLs(from)
}

func (j *Job) checkURLs(from *url.URL) error {
	all := []struct{ what, text string }{{"report", j.Report}, {"image.url", j.Image.URL}, {"image.frames.url", j.Image.Frames.URL}}
	if j.Progress != "" {
		all = append(all, struct{ what, text string }{"progress", j.Progress})
	}
	if j.Hardware != "" {
		all = append(all, struct{ what, text string }{"hardware", j.Hardware})
	}
	for _, x := range all {
		u, err := url.Parse(x.text)
		if err != nil || len(x.text) > maxURL || u.Scheme != from.Scheme || u.Host != from.Host || u.User != nil {
			return fmt.Errorf("%s is %.80q: it must be a URL of %s://%s, where the job is from", x.what, x.text, from.Scheme, from.Host)
		}
	}
	return nil
}

func (i *Image) check() error {
	switch {
	case !validDigest(i.Digest) || i.Size <= 0 || i.Size > MaxRaw:
		return errors.New("image: its digest or its size cannot be")
	case i.Raw == nil || i.Frames == nil:
		return fmt.Errorf("image %.80q is no disk image in frames: add it to the bundle with --kind disk-image", i.Name)
	case !validDigest(i.Raw.Digest) || i.Raw.Size <= 0 || i.Raw.Size > MaxRaw:
		return errors.New("image.raw: its digest or its size cannot be")
	case !validDigest(i.Frames.Digest) || i.Frames.Size <= 0 || i.Frames.Size > MaxRaw:
		return errors.New("image.frames: its digest or its size cannot be")
	}
	return nil
}

func (i *Install) check() error {
	d := i.Disk
	switch {
	case d.Path != "" && (!strings.HasPrefix(d.Path, "/dev/") || path.Clean(d.Path) != d.Path || name("", d.Path) != nil):
		return fmt.Errorf("install.disk.path is %.80q: it must be /dev/NAME", d.Path)
	case d.Serial != "" && name("", d.Serial) != nil:
		return fmt.Errorf("install.disk.serial is %.80q: it must be printable, at most %d bytes", d.Serial, maxName)
	case d.MinSize < 0 || d.MaxSize < 0 || d.MaxSize != 0 && d.MaxSize < d.MinSize:
		return fmt.Errorf("install.disk: no disk has at least %d and at most %d bytes", d.MinSize, d.MaxSize)
	case i.Then != "" && i.Then != Reboot && i.Then != PowerOff:
		return fmt.Errorf("install.then is %.80q: it must be reboot or poweroff", i.Then)
	case i.BootEntry != "" && (!strings.HasPrefix(i.BootEntry, `\`) || name("", i.BootEntry) != nil):
		return fmt.Errorf(`install.bootEntry is %.80q: it must be a path such as \EFI\BOOT\BOOTX64.EFI`, i.BootEntry)
	case len(i.Files) > maxFiles:
		return fmt.Errorf("install.files: there are %d, at most %d are possible", len(i.Files), maxFiles)
	}
	total := 0
	for n, f := range i.Files {
		total += len(f.Content)
		switch {
		case f.Partition < 1 || f.Partition > 128:
			return fmt.Errorf("install.files[%d]: partition %d: it must be 1 to 128", n, f.Partition)
		case !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/" || name("", f.Path) != nil:
			return fmt.Errorf("install.files[%d]: path %.80q: it must be absolute, without the folders . and .. in it", n, f.Path)
		case f.Mode > 0o777:
			return fmt.Errorf("install.files[%d]: mode %o: it must be 0 to 777", n, f.Mode)
		case total > maxContents:
			return fmt.Errorf("install.files: more than %d bytes", maxContents)
		}
	}
	return nil
}

// holds reports whether a text can be what a disk is said to hold.
func holds(s string) bool {
	return s == "" || len(s) <= maxHolds && (strings.HasPrefix(s, "receipt:") || strings.HasPrefix(s, "foreign:")) && s == Printable(s, maxHolds)
}

// name holds that a text is printable, short, and there.
func name(what, s string) error {
	unprintable := strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
	if s == "" || len(s) > maxName || !utf8.ValidString(s) || unprintable {
		return fmt.Errorf("%s is %.80q: it must be 1 to %d bytes of printable text", what, s, maxName)
	}
	return nil
}

// validDigest reports whether s is "sha256:" and 64 lower hex digits.
func validDigest(s string) bool {
	h, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(h) == 64 && strings.Trim(h, "0123456789abcdef") == ""
}

// Marshal is a message as it is sent.
func Marshal(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write a message: %w", err)
	}
	return b, nil
}
