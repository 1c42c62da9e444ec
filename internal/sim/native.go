package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
)

// native is the installer of an operating system's maker, as it is booted: a kernel,
// and the URL of the file that answers it. It writes as ours does, fetches its answers
// first, and reports in plain words. That of ESXi, which no script boots, is in esxi.go.
type native struct {
	kernel string // URL
	answer string // URL of the main answer file
	base   string // URL below which its files are

	hostname string // that the answers give it, once they were read
}

// answerArguments are how kernels are told where their answers are: Debian
// (installation-guide, B.2.3), Anaconda (boot options, inst.ks), Ubuntu (cloud-init,
// NoCloud).
var answerArguments = []struct{ begins, file string }{{"url=", "preseed.cfg"}, {"inst.ks=", "ks.cfg"}, {"ds=nocloud-net;s=", "user-data"}}

// fetching is how preseed.cfg names a script.
var fetching = regexp.MustCompile(`preseed_fetch ([a-z]+\.sh) `)

// nativeOf reads an iPXE script; nil: it boots no such installer.
func nativeOf(script []byte) *native {
	for l := range strings.Lines(string(script)) {
		words := strings.Fields(l)
		if len(words) < 2 || words[0] != "kernel" {
			continue
		}
		for _, w := range words[2:] {
			for _, a := range answerArguments {
				url, ok := strings.CutPrefix(w, a.begins)
				if !ok || !strings.HasSuffix(url, "/"+a.file) && !strings.HasSuffix(url, "/") {
					continue // Ubuntu's url= is that of its ISO
				}
				base := url[:strings.LastIndexByte(url, '/')]
				return &native{kernel: words[1], answer: base + "/" + a.file, base: base}
			}
		}
	}
	return nil
}

// answers fetches the kernel and the answer file, holds that there is something in
// both, and names the file. Our own installer, nil, has none.
func (n *native) answers(ctx context.Context, d *device, e *end) (file string, err error) {
	if n == nil {
		return "", nil
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, n.kernel, nil)
	if err != nil {
		return "", fmt.Errorf("fetch the kernel: %w", err)
	}
	a, err := d.sim.httpClient(e).Do(q)
	if err != nil {
		return "", fmt.Errorf("fetch the kernel: %w", err)
	}
	size, err := io.Copy(io.Discard, a.Body)
	if err = errors.Join(err, a.Body.Close()); err != nil {
		return "", fmt.Errorf("fetch the kernel: %w", err)
	}
	if a.StatusCode != http.StatusOK || size == 0 {
		return "", fmt.Errorf("fetch the kernel: %s, %d bytes", a.Status, size)
	}
	b, err := d.request(ctx, e, http.MethodGet, n.answer, nil, http.StatusOK)
	if err != nil {
		return "", fmt.Errorf("fetch the answer file: %w", err)
	}
	if !strings.Contains(string(b), d.spec.Name) {
		return "", fmt.Errorf("the answer file at %s does not know %s", n.answer, d.spec.Name)
	}
	n.hostname = hostnameOf(b)
	// Debian's fetches the scripts that its answers name, from beside them (preseed_fetch,
	// installation-guide B.2.5), and runs them: what comes of them is not played.
	for _, m := range fetching.FindAllSubmatch(b, -1) {
		script, err := d.request(ctx, e, http.MethodGet, n.base+"/"+string(m[1]), nil, http.StatusOK)
		if err == nil && len(script) == 0 {
			err = errors.New("it is empty")
		}
		if err != nil {
			return "", fmt.Errorf("fetch the script %s: %w", m[1], err)
		}
	}
	return n.answer[strings.LastIndexByte(n.answer, '/')+1:], nil
}

// report is where and in which words it reports.
func (n *native) report(r report) (url, words string) {
	words = r.Message
	if r.State == stateRefused {
		words = r.Holds
	}
	return n.base + "/report/" + r.State, words
}
