package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// Bounds of the server.
const (
	maxRequest    = 64 << 10 // bytes of one request: orders are short
	headerLimit   = 5 * time.Second
	farewellLimit = 2 * time.Second  // for the streams to read to their end
	dialLimit     = 10 * time.Second // a coordinator that has just begun takes seconds to say which racks there are
	// maxSocketPath is the longest path of a unix socket on every system.
	maxSocketPath = 103 // bytes
)

// ErrNobody says that nobody serves a socket.
var ErrNobody = errors.New("nobody serves it")

// Listen opens the unix socket of a rack for its owner only. A socket that a
// dead process left is replaced: whoever calls must hold the lock of the rack's
// state directory.
func Listen(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("open the API socket %s: its path has %d bytes, more than the %d that systems allow: give a shorter --state", path, len(path), maxSocketPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open the API socket: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open the API socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the API socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("open the API socket: %w", err), l.Close())
	}
	return l, nil
}

// Serve answers on a listener until ctx ends; then streams get a moment to read
// to the end of the journal. It closes the listener.
func (s *Service) Serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle(messagesconnect.NewRackServiceHandler(s, connect.WithReadMaxBytes(maxRequest)))
	return Run(ctx, &http.Server{Handler: mux, ReadHeaderTimeout: headerLimit, MaxHeaderBytes: 16 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, whoKey{}, Peer(c))
		}}, l, s.End)
}

// Run serves on a listener until ctx ends; then end is called, and what is being
// answered gets a moment. It closes the listener.
func Run(ctx context.Context, server *http.Server, l net.Listener, end func()) error {
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve the API: %w", err)
	case <-ctx.Done():
	}
	end()
	farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellLimit)
	defer cancel()
	err := server.Shutdown(farewell)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close() // a reader that takes nothing
	}
	if e := <-done; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("stop serving the API: %w", err)
	}
	return nil
}

// whoKey is the context's key of the name of who is at the other end.
type whoKey struct{}

// who is who is at the other end.
func who(ctx context.Context) string {
	name, _ := ctx.Value(whoKey{}).(string)
	return name
}

// Peer names the user at the other end of a connection. What is not a unix
// socket is this process itself.
func Peer(c net.Conn) string {
	uid := os.Getuid()
	if u, ok := c.(*net.UnixConn); ok {
		if id, err := peerUID(u); err == nil {
			uid = id
		}
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(uid)
}
