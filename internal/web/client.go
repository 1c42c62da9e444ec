package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/rackreach/rackreach/internal/printable"
)

// Kinds of failures, for errors.Is.
var (
	// ErrSilent: there was no connection, or no whole answer.
	ErrSilent = errors.New("no answer over HTTP")
	// ErrKey: the device shows another key than at first contact. Nothing was sent.
	ErrKey = errors.New("the key of its certificate changed")
	// ErrRefused: it did not let us in (401, 403); trying again may lock the account.
	ErrRefused = errors.New("login refused")
	// ErrAnswer: it answered something else than what is expected.
	ErrAnswer = errors.New("not the answer that is expected")
)

// Final reports whether an error of Do must not be tried again before a person looked.
func Final(err error) bool { return errors.Is(err, ErrKey) || errors.Is(err, ErrRefused) }

// Options are what a client is made from.
type Options struct {
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Keys   Keys
	Logger *slog.Logger // nil: discarded
}

// Target is a device.
type Target struct {
	Device, Life   string // Life: by which job it lives
	Address        netip.Addr
	User, Password string // empty: nobody logs in
}

// Request is what it is asked.
type Request struct {
	Method, Scheme string // the latter "http" or "https"
	Port           uint16 // 0: that of the scheme
	Path           string
	Body           []byte
	Type           string // of the body
	Status         []int
	Expect         []string // texts that the answer must show
	Unchecked      bool     // any certificate will do
}

// Client asks devices.
type Client struct{ o Options }

// New makes a client.
func New(o Options) *Client {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{o}
}

// Do sends a request and holds the answer against what is expected. Its errors wrap one
// of the kinds above, or those of Keys; no password stands in them.
func (c *Client) Do(ctx context.Context, t Target, r Request) error {
	q, err := c.request(ctx, t, r)
	if err != nil {
		return err
	}
	fail := func(err error) error {
		return fmt.Errorf("%s: %s %s: %w", t.Device, r.Method, shown(q.URL.Redacted(), t), err)
	}
	transport := &http.Transport{DialContext: c.o.Dial, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
		ResponseHeaderTimeout: headerLimit, TLSHandshakeTimeout: tlsLimit, TLSClientConfig: c.tls(t, r)}
	defer transport.CloseIdleConnections()
	// RoundTrip follows no redirects and keeps no cookies.
	a, err := transport.RoundTrip(q)
	switch {
	case errors.Is(err, ErrKey) || errors.Is(err, errPin):
		return fail(err)
	case err != nil:
		return fail(fmt.Errorf("%w: %s", ErrSilent, shown(err.Error(), t)))
	}
	body, err := io.ReadAll(io.LimitReader(a.Body, maxAnswer+1))
	if err = errors.Join(err, a.Body.Close()); err != nil {
		return fail(fmt.Errorf("%w: its answer breaks off: %s", ErrSilent, shown(err.Error(), t)))
	}
	if err := judge(a.StatusCode, string(body), t, r); err != nil {
		return fail(err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, t Target, r Request) (*http.Request, error) {
	host := t.Address.String()
	if r.Port != 0 {
		host = net.JoinHostPort(host, strconv.Itoa(int(r.Port)))
	} else if t.Address.Is6() {
		host = "[" + host + "]"
	}
	path, err := url.ParseRequestURI(r.Path)
	if err != nil || path.Host != "" || !strings.HasPrefix(r.Path, "/") {
		return nil, fmt.Errorf("%s: %.80q is no path of a request: correct path: in its platform", t.Device, r.Path)
	}
	u := url.URL{Scheme: r.Scheme, Host: host, Path: path.Path, RawPath: path.RawPath, RawQuery: path.RawQuery}
	q, err := http.NewRequestWithContext(ctx, r.Method, u.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, fmt.Errorf("%s: %s %.80q: %w", t.Device, r.Method, r.Path, err)
	}
	q.Header.Set("User-Agent", "rackreach")
	if r.Type != "" {
		q.Header.Set("Content-Type", r.Type)
	}
	if t.User != "" {
		if r.Scheme != "https" {
			return nil, fmt.Errorf("%s: a password is sent over https only: correct scheme: in its platform", t.Device)
		}
		q.SetBasicAuth(t.User, t.Password)
	}
	return q, nil
}

// tls checks the key of the device, not who signed it.
func (c *Client) tls(t Target, r Request) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // nobody has signed it: VerifyConnection holds it to its key
		VerifyConnection: func(s tls.ConnectionState) error {
			if r.Unchecked {
				return nil
			}
			return c.check(t, s.PeerCertificates)
		},
	}
}

// judge holds an answer against what is expected.
func judge(status int, body string, t Target, r Request) error {
	switch {
	case slices.Contains(r.Status, status):
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fmt.Errorf("%w: it answers %d: correct access: in the rack file; it says: %s", ErrRefused, status, shown(body, t))
	default:
		return fmt.Errorf("%w: status %d, and %v is expected; it says: %s", ErrAnswer, status, r.Status, shown(body, t))
	}
	if len(body) > maxAnswer {
		return fmt.Errorf("%w: more than %d bytes, beginning with: %s", ErrAnswer, maxAnswer, shown(body, t))
	}
	for _, e := range r.Expect {
		if strings.TrimSpace(e) == "" || !strings.Contains(body, e) {
			return fmt.Errorf("%w: it does not show %q; it says: %s", ErrAnswer, e, shown(body, t))
		}
	}
	return nil
}

// shown is what may be shown of a device's words: one printable line without our
// password.
func shown(s string, t Target) string {
	s = s[:min(len(s), maxAnswer)]
	if len(t.Password) >= minSecret {
		s = strings.NewReplacer(echoes(t)...).Replace(s)
	}
	return printable.Line(s, maxShown)
}

// echoes are the ways in which a device may write down the password that it was given,
// each with what is shown of it, the longest first.
func echoes(t Target) (pairs []string) {
	p := t.Password
	forms := []string{p, base64.StdEncoding.EncodeToString([]byte(t.User + ":" + p)), base64.StdEncoding.EncodeToString([]byte(p)), url.QueryEscape(p), url.PathEscape(p), html.EscapeString(p)}
	quoted := []string{strconv.Quote(p), strconv.QuoteToASCII(p)}
	if b, err := json.Marshal(p); err == nil {
		quoted = append(quoted, string(b))
	}
	for _, q := range quoted {
		forms = append(forms, q[1:len(q)-1])
	}
	slices.SortStableFunc(forms, func(a, b string) int { return len(b) - len(a) })
	for _, f := range forms {
		pairs = append(pairs, f, "***")
	}
	return pairs
}
