package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"

	"oras.land/oras-go/v2/registry"
)

// Access is how places on the network are reached. The zero value reaches public ones.
type Access struct {
	Client    *http.Client // nil: one that trusts what the system trusts
	Logins    string       // config.json of docker or oras, with the logins of registries; empty: none
	PlainHTTP bool         // registries are asked without TLS; those on this machine always are
}

// OpenPlace opens what people name as a bundle: a directory or a tar; the URL of a
// layout on a web server; or HOST/NAME:RELEASE, HOST/NAME@DIGEST or HOST/NAME of an
// OCI registry. What stands there as a file is never taken for a registry.
func OpenPlace(ctx context.Context, name string, a Access) (Place, error) {
	if a.Client == nil {
		a.Client = newClient()
	}
	_, err := os.Stat(name)
	switch {
	case err == nil:
		return OpenLocal(name)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case strings.HasPrefix(name, "https://"), strings.HasPrefix(name, "http://"):
		return OpenWeb(ctx, name, a.Client)
	case !isReference(name):
		return OpenLocal(name) // says that it is not there
	}
	return openRegistry(name, a)
}

// isReference tells a registry's reference from a path: its first part is a host.
func isReference(name string) bool {
	host, _, ok := strings.Cut(strings.TrimPrefix(name, "oci://"), "/")
	if !ok || host == "." || host == ".." || host == "" || strings.HasSuffix(name, ".tar") {
		return false
	}
	return strings.ContainsAny(host, ".:") || host == "localhost"
}

// parseReference reads a registry's reference.
func parseReference(name string) (registry.Reference, error) {
	r, err := registry.ParseReference(strings.TrimPrefix(name, "oci://"))
	if err != nil {
		return r, fmt.Errorf("%s is no reference of a registry: write HOST/NAME:RELEASE", cut(name))
	}
	return r, nil
}

// onThisMachine reports whether a registry is; those are asked without TLS, as other
// clients do.
func onThisMachine(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// newClient makes a client without proxies of its own and with bounds.
func newClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxResponseHeaderBytes = maxSignature
	t.DisableCompression = true // blobs are what their digest says, as they are sent
	return &http.Client{Transport: t}
}
