package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// Bounds of a script that a device fetches.
const (
	maxFirstBoot      = 64 << 10 // bytes
	maxFirstBootLines = 1024
)

// script is a shell script that a system runs at its first boot, read as far as its
// effects matter here: what it fetches, checks, writes and reports. Its other commands
// are taken to go well.
type script struct {
	host   *host
	end    *end
	header http.Header // of what it fetches
	fails  string      // URL that a failure is told to, once a trap was set

	files map[string]scriptFile
}

// scriptFile is what a script has put somewhere.
type scriptFile struct {
	digest string // of all of it, hex
	head   []byte // its beginning
}

var (
	trapLine   = regexp.MustCompile(`^trap '.*\s(http://\S+)(?:;.*)?' ERR$`)
	curlLine   = regexp.MustCompile(`^curl\s+(.*)$`)
	sumLine    = regexp.MustCompile(`^echo '([0-9a-f]{64})  (/\S+)' \| sha256sum -c -?$`)
	echoLine   = regexp.MustCompile(`^echo '([^']*)' >(/\S+)$`)
	moveLine   = regexp.MustCompile(`^mv -f (/\S+) (/\S+)$`)
	exitLine   = regexp.MustCompile(`^exit (\d{1,3})$`)
	allowLine  = regexp.MustCompile(`\|\| echo '([^']+)' >>"\$home/\.ssh/authorized_keys"$`)
	curlOutput = regexp.MustCompile(`-o (/\S+)`)
	curlURL    = regexp.MustCompile(`(http://\S+)`)
)

// runScript runs a script; its error is a non-zero exit.
func (h *host) runScript(ctx context.Context, e *end, text []byte, header http.Header) (map[string]scriptFile, error) {
	if !bytes.HasPrefix(text, []byte("#!/")) {
		return nil, errors.New("the script does not begin with #!/")
	}
	s := &script{host: h, end: e, header: header, files: map[string]scriptFile{}}
	for n, l := range strings.Split(string(text), "\n") {
		if n >= maxFirstBootLines {
			return nil, errors.New("the script is too long")
		}
		stop, err := s.line(ctx, strings.TrimRight(l, " \r"))
		if err != nil {
			if s.fails != "" && ctx.Err() == nil {
				h.dev.post(ctx, e, s.fails, []byte("line "+strconv.Itoa(n+1)+" failed: "+short(err.Error())))
			}
			return nil, err
		}
		if stop {
			break
		}
	}
	return s.files, nil
}

// line carries out one line.
func (s *script) line(ctx context.Context, l string) (stop bool, err error) {
	if m := trapLine.FindStringSubmatch(l); m != nil {
		s.fails = m[1]
		return false, nil
	}
	if m := sumLine.FindStringSubmatch(l); m != nil {
		if s.files[m[2]].digest != m[1] {
			return false, fmt.Errorf("%s: FAILED", m[2])
		}
		return false, nil
	}
	if m := echoLine.FindStringSubmatch(l); m != nil {
		s.put(m[2], scriptFile{head: []byte(m[1] + "\n")})
		return false, nil
	}
	if m := moveLine.FindStringSubmatch(l); m != nil {
		x, ok := s.files[m[1]]
		if !ok {
			return false, fmt.Errorf("mv: cannot stat %s", m[1])
		}
		delete(s.files, m[1])
		s.put(m[2], x)
		return false, nil
	}
	if m := curlLine.FindStringSubmatch(l); m != nil {
		return false, s.curl(ctx, m[1])
	}
	if m := allowLine.FindStringSubmatch(l); m != nil {
		s.host.writeDisk(func(x *disk) { x.first.key = m[1] })
		return false, nil
	}
	if m := exitLine.FindStringSubmatch(l); m != nil {
		if m[1] != "0" {
			return true, fmt.Errorf("exit %s", m[1])
		}
		return true, nil
	}
	return false, nil
}

func (s *script) put(path string, x scriptFile) {
	if len(s.files) < maxFiles {
		s.files[path] = x
	}
}

// curl fetches a file, or posts a report.
func (s *script) curl(ctx context.Context, args string) error {
	url := curlURL.FindString(args)
	if url == "" {
		return errors.New("curl: no URL")
	}
	d := s.host.dev
	out := curlOutput.FindStringSubmatch(args)
	if out == nil {
		if strings.HasSuffix(url, "/report/"+stateInstalled) && d.take(rack.Installation, FaultError) {
			return errors.New("a command of the script failed (injected)")
		}
		d.post(ctx, s.end, url, []byte{})
		return ctx.Err()
	}
	x := scriptFile{}
	whole := sha256.New()
	head := &beginning{}
	if strings.HasPrefix(out[1], "/mnt/flash/") && !strings.HasSuffix(out[1], "config") { // an image, of whatever name
		n, err := d.download(ctx, s.end, url, s.header, io.MultiWriter(whole, head))
		if err != nil {
			return err
		}
		d.sim.recordVia(kindImageCompleted, s.end, detail{"bytes": strconv.FormatInt(n, 10), "digest": hexOf(whole.Sum(nil))})
		d.sim.record.add(kindInstallStarted, d.spec.Name, nil, detail{"digest": hexOf(whole.Sum(nil))})
		if err := d.write(ctx); err != nil {
			return err
		}
	} else {
		b, err := d.fetchSmall(ctx, s.end, url, s.header)
		if err != nil {
			return err
		}
		if _, err := io.MultiWriter(whole, head).Write(b); err != nil {
			return err
		}
	}
	x.digest, x.head = strings.TrimPrefix(hexOf(whole.Sum(nil)), "sha256:"), head.b
	s.put(out[1], x)
	return nil
}

// beginning keeps the first bytes of what is written to it.
type beginning struct{ b []byte }

// Write keeps what there is room for.
func (w *beginning) Write(b []byte) (int, error) {
	if room := maxFirstBoot - len(w.b); room > 0 {
		w.b = append(w.b, b[:min(room, len(b))]...)
	}
	return len(b), nil
}

// fetchSmall fetches a document; a few tries.
func (d *device) fetchSmall(ctx context.Context, e *end, url string, header http.Header) ([]byte, error) {
	var lastErr error
	for range 3 {
		b, err := d.fetchOnce(ctx, e, url, header)
		if err == nil {
			return b, nil
		}
		lastErr = err
		if final(err) || pause(ctx, d.sim.tempo.scaled(netRetry, floorNet)) != nil {
			break
		}
	}
	return nil, lastErr
}

func (d *device) fetchOnce(ctx context.Context, e *end, url string, header http.Header) (b []byte, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		q.Header[k] = v
	}
	a, err := d.sim.httpClient(e).Do(q)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.Body.Close()) }()
	if a.StatusCode != http.StatusOK {
		return nil, &statusError{"GET " + url, a.StatusCode}
	}
	b, err = io.ReadAll(io.LimitReader(a.Body, maxFirstBoot+1))
	if err == nil && len(b) > maxFirstBoot {
		err = fmt.Errorf("GET %s: more than %d bytes", url, maxFirstBoot)
	}
	return b, err
}
