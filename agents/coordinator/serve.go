package coordinator

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/access"
	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/pki"
	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// Bounds of the server.
const (
	maxPlan     = 20 << 20 // bytes of a request that carries the plan of a rack
	maxRequest  = 1 << 20  // bytes of any other
	maxEnroll   = 64 << 10 // bytes of a request that anybody may make
	maxHeader   = 16 << 10 // bytes
	headerLimit = 5 * time.Second
	idleLimit   = 2 * time.Minute
	packAbove   = 64 << 10 // bytes of an answer: to pack a small one costs more than to send it
)

// serve serves until ctx ends.
func (c *Coordinator) serve(ctx context.Context) error {
	ended := make(chan struct{})
	var once sync.Once
	end := func() { once.Do(func() { close(ended) }) }
	g, ctx := errgroup.WithContext(ctx)
	var ports []port
	if c.o.Unix != nil {
		ports = append(ports, c.keeper.local(c.o.Unix))
	}
	if c.o.Network != nil {
		ports = append(ports, c.keeper.network(c.o.Network))
	}
	for _, p := range ports {
		server := &http.Server{Handler: c.handler(p, ended), ReadHeaderTimeout: headerLimit, MaxHeaderBytes: maxHeader, IdleTimeout: idleLimit,
			ConnContext: connected, Protocols: new(http.Protocols), HTTP2: bus.ServerHTTP2(), TLSConfig: p.tls, ErrorLog: slog.NewLogLogger(c.o.Logger.Handler(), slog.LevelDebug)}
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetHTTP2(true)
		server.Protocols.SetUnencryptedHTTP2(p.tls == nil)
		l := p.listener
		if p.tls != nil {
			l = tls.NewListener(l, p.tls)
		}
		g.Go(func() error { return api.Run(ctx, server, l, end) })
	}
	c.o.Ready()
	err := g.Wait()
	end()
	return err
}

// handler is everything that is served at a port.
func (c *Coordinator) handler(p port, ended <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	guard := connect.WithInterceptors(p.gate)
	small, packed := connect.WithReadMaxBytes(maxRequest), connect.WithCompressMinBytes(packAbove)
	mux.Handle(messagesconnect.NewRackServiceHandler(api.NewService(racks{c}, who, ended), guard, small, packed))
	mux.Handle(messagesconnect.NewFleetServiceHandler(api.NewFleetService(all{c}, who, ended), guard, connect.WithReadMaxBytes(maxPlan), packed))
	mux.Handle(messagesconnect.NewBusServiceHandler(c.door(p, ended), guard, connect.WithReadMaxBytes(bus.MaxMessage), bus.Unpacked()))
	mux.Handle(messagesconnect.NewAccessServiceHandler(c.keeper.access, guard, small))
	names := []string{messagesconnect.RackServiceName, messagesconnect.FleetServiceName, messagesconnect.BusServiceName, messagesconnect.AccessServiceName}
	if c.keeper.enrollment != nil {
		mux.Handle(messagesconnect.NewEnrollmentServiceHandler(c.keeper.enrollment, guard, connect.WithReadMaxBytes(maxEnroll)))
		names = append(names, messagesconnect.EnrollmentServiceName)
	}
	reflector := grpcreflect.NewStaticReflector(names...)
	mux.Handle(grpcreflect.NewHandlerV1(reflector, guard))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector, guard))
	mux.Handle("GET /metrics", p.gate.Look(promhttp.HandlerFor(c.o.Registry, promhttp.HandlerOpts{})))
	mux.Handle("GET /sd/agents", p.gate.Look(http.HandlerFunc(c.listAgents)))
	mux.HandleFunc("GET /healthz", c.health)
	if c.depot != nil {
		mux.Handle("GET "+access.Depot, p.gate.Plain(access.Depot, http.StripPrefix(strings.TrimSuffix(access.Depot, "/"), c.depot)))
	}
	if p.local {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index) // for whoever may open the socket
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	}
	return pki.WithConnection(p.gate.Before(mux))
}

// door is where agents of a port come in.
func (c *Coordinator) door(p port, ended <-chan struct{}) *bus.Door {
	return bus.NewDoor(bus.DoorOptions{Log: record{c.log}, Rack: p.rack, Attach: c.attach, Kick: c.kick, Siblings: c.servers.besides, LastHeard: c.sights.heard, Ended: ended, Logger: c.o.Logger,
		Connected: func(ctx context.Context, rack string) (bool, error) {
			is, err := c.connectedHere(ctx, rack)
			if is || err != nil {
				return is, err
			}
			return c.log.ConnectedElsewhere(ctx, rack)
		},
		Plan: func(ctx context.Context, rack string) ([]byte, error) {
			m, err := (&oneRack{c, rack}).State(ctx)
			if err != nil || m.GetRun() == "" {
				return nil, err // it was never begun
			}
			return (&oneRack{c, rack}).Plan(ctx)
		},
		Wants: func(ctx context.Context, rack, hash string) (bool, error) {
			_, err := c.plans.get(ctx, rack, hash)
			var none *api.BadRequest
			if errors.As(err, &none) {
				return true, nil
			}
			return false, err
		},
		Planned: func(ctx context.Context, rack string, plan []byte) error {
			err := c.plans.keep(ctx, rack, plan)
			if err == nil {
				c.prune(ctx, rack)
			}
			return err
		},
	})
}

// target is a group of targets as Prometheus discovers them over HTTP.
type target struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// listAgents lists the agents' metrics for http_sd of Prometheus.
func (c *Coordinator) listAgents(w http.ResponseWriter, q *http.Request) {
	f, err := all{c}.State(q.Context())
	if err != nil {
		http.Error(w, "the fleet's actor does not answer: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	if f.GetStatus() == actors.Reading { // whoever asks keeps what it knows
		http.Error(w, "the log is being read", http.StatusServiceUnavailable)
		return
	}
	targets := []target{} // an empty list, not null
	for _, r := range f.GetRacks() {
		name, err := messages.ParseRack(r.GetName())
		if at := r.GetAgent().GetMetricsAddress(); err == nil && validTarget(at) {
			targets = append(targets, target{[]string{at}, map[string]string{"rack": name}})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(targets); err != nil {
		c.o.Logger.Debug("whoever asked for the agents has gone", "error", err)
	}
}

// hostName is a DNS name (RFC 1123 section 2.1), or what people use for one.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9])?$`)

// validTarget refuses what is no address: an agent says it of itself.
func validTarget(at string) bool {
	host, port, err := net.SplitHostPort(at)
	if err != nil || len(at) >= 256 {
		return false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return hostName.MatchString(host)
}

// health says whether the actors answer. It tells nothing else.
func (c *Coordinator) health(w http.ResponseWriter, _ *http.Request) {
	if c.Alive(headerLimit) != nil {
		http.Error(w, "not healthy", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// Alive returns why the actors do not answer within a time; nil: they do.
func (c *Coordinator) Alive(within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	_, err := actors.Ask[actors.Counts](ctx, c.system, c.fleet, &actors.GetCounts{})
	return err
}
