package coordinator

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/pki"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// h2 is a client of HTTP/2 over a configuration.
func h2(t testing.TB, config *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// TestARevokedAgentIsOut: its stream ends at once, it does not come back over the
// connection that is still open, and a new enrollment lets it in again.
func TestARevokedAgentIsOut(t *testing.T) {
	s := serve(t, home(t, true), "", "127.0.0.1:0")
	id := s.enroll("r1")
	a := s.agent("r1", id, nil, nil)
	until(t, "the agent is connected", func() bool { return s.connected("r1") })
	// Another stream keeps the connection open, as a device's would.
	h := h2(t, id.ClientTLS("127.0.0.1"))
	adopt := func() error {
		stream, err := bus.Client{BusServiceClient: busClient(h, s.url)}.Adopt(t.Context(), connect.NewRequest(&messages.AdoptRequest{Rack: "r1", Journal: "j-new"}))
		if err != nil {
			return err
		}
		for stream.Receive() {
		}
		err = stream.Err()
		_ = stream.Close()
		return err
	}
	if err := adopt(); connect.CodeOf(err) != connect.CodeFailedPrecondition { // it lives
		t.Fatal(err)
	}
	if _, err := s.admin.Access.RevokeAgent(t.Context(), connect.NewRequest(&messages.RevokeAgentRequest{Rack: "r1"})); err != nil {
		t.Fatal(err)
	}
	until(t, "the agent is away", func() bool { return !s.connected("r1") })
	a.mu.Lock()
	tries := len(a.states)
	a.mu.Unlock()
	until(t, "it has tried again", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return len(a.states) > tries+5 })
	a.mu.Lock()
	for _, x := range a.states[tries:] {
		if x.Connected {
			t.Error("it is connected again")
		}
	}
	a.mu.Unlock()
	a.stop()
	if err := adopt(); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("adopt over an open connection: %v", err)
	}
	s.agent("r1", s.enroll("r1"), a.journal, nil)
	until(t, "the agent of a new enrollment is connected", func() bool { return s.connected("r1") })
}

// TestRenewalAndRotation while a stream is open; nobody is restarted.
func TestRenewalAndRotation(t *testing.T) {
	dir := home(t, true)
	s := serve(t, dir, "", "127.0.0.1:0")
	id := s.enroll("r1")
	a := s.agent("r1", id, nil, nil)
	until(t, "the agent is connected", func() bool { return s.connected("r1") })
	authorities, err := pki.OpenAuthorities(filepath.Join(dir, "pki"), s.o.Logger)
	if err != nil {
		t.Fatal(err)
	}
	first := authorities.Fingerprint()
	second, err := authorities.Add()
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the coordinator tells of the second", func() bool { return len(s.c.keeper.server.Trusted()) == 2 })
	if err := id.Renew(t.Context(), s.url); err != nil {
		t.Fatal(err)
	}
	if err := authorities.Sign(second); err != nil {
		t.Fatal(err)
	}
	until(t, "the second signs", func() bool { return s.c.keeper.server.Fingerprint() == second })
	if err := id.Renew(t.Context(), s.url); err != nil {
		t.Fatal(err)
	}
	if err := authorities.Drop(first); err != nil {
		t.Fatal(err)
	}
	until(t, "the first is forgotten", func() bool { return len(s.c.keeper.server.Trusted()) == 1 })
	a.add(findings(10)...)
	until(t, "the events are in the log", func() bool { return s.rack("r1").GetLastSeq() == 10 })
	a.mu.Lock()
	away := slices.ContainsFunc(a.states, func(x bus.State) bool { return x.Err != nil })
	a.mu.Unlock()
	if away {
		t.Error("the stream ended")
	}
	a.stop()
	s.agent("r1", id, a.journal, nil)
	until(t, "it comes back with what was renewed", func() bool { return s.connected("r1") })
}

// TestStrangersAreRefused in the handshake, or before they are listened to.
func TestStrangersAreRefused(t *testing.T) {
	s := serve(t, home(t, true), "", "127.0.0.1:0")
	other := serve(t, home(t, true), "", "127.0.0.1:0")
	unknown := other.enroll("r1").ClientTLS("127.0.0.1")
	trusting := s.trust()
	trusting.GetClientCertificate = unknown.GetClientCertificate
	for name, config := range map[string]*tls.Config{"no certificate": s.trust(), "of another authority": trusting} {
		a := newAgent(t, s.url, config, "r1", nil, nil)
		until(t, name+": refused", func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return len(a.states) > 0 && a.states[len(a.states)-1].Err != nil
		})
		a.stop()
	}
	if s.rack("r1") != nil {
		t.Error("a stranger is known as a rack")
	}
	// Nothing is served in the clear.
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(c).ReadString('\n'); strings.Contains(line, "200") {
		t.Errorf("plain HTTP was answered: %q", line)
	}
}

// TestTokensOverTheRealPort: who may do what, and that a refusal is written down.
func TestTokensOverTheRealPort(t *testing.T) {
	s := serve(t, home(t, true), "", "127.0.0.1:0")
	hash := s.put("r1")
	viewer, nobody := s.token("viewer"), s.client("", s.trust())
	if _, err := viewer.ListRacks(t.Context(), connect.NewRequest(&messages.ListRacksRequest{})); err != nil {
		t.Error(err)
	}
	_, err := viewer.Fleet.ApplyRack(t.Context(), connect.NewRequest(&messages.ApplyRackRequest{Name: "racks/r1", PlanHash: hash}))
	if connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("a viewer orders: %v", err)
	}
	if _, err := nobody.ListRacks(t.Context(), connect.NewRequest(&messages.ListRacksRequest{})); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("without a token: %v", err)
	}
	if n := s.rack("r1").GetOrders(); n != 0 {
		t.Errorf("%d orders were kept", n)
	}
	trail, err := s.admin.Access.ListAudit(t.Context(), connect.NewRequest(&messages.ListAuditRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(trail.Msg.GetEntries(), func(e *messages.AuditEntry) bool {
		return e.GetWho() == "viewer" && e.GetResource() == "racks/r1" && strings.HasSuffix(e.GetProcedure(), "/ApplyRack") && e.GetRefused() != ""
	}) {
		t.Errorf("the refusal is not in the trail: %v", trail.Msg.GetEntries())
	}
	for _, path := range []string{"/metrics", "/sd/agents"} {
		r, err := h2(t, s.trust()).Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		if _ = r.Body.Close(); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without a token: %s", path, r.Status)
		}
	}
}

// TestLoopback needs no token to look, and a token to order.
func TestLoopback(t *testing.T) {
	s := serve(t, home(t, false), "", "127.0.0.1:0")
	s.agent("r1", nil, nil, nil)
	until(t, "the agent is connected", func() bool { return s.connected("r1") })
	for path, want := range map[string]string{"/metrics": `rackreach_agent_connected{rack="r1"} 1`, "/sd/agents": `[{"targets":["127.0.0.1:9100"],"labels":{"rack":"r1"}}]`} {
		r, err := h2(t, nil).Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Body)
		if _ = r.Body.Close(); r.StatusCode != http.StatusOK || !strings.Contains(string(b), want) {
			t.Errorf("%s: %s: %s", path, r.Status, b)
		}
	}
	_, err := s.client("", nil).HaltRack(t.Context(), connect.NewRequest(&messages.HaltRackRequest{Name: "racks/r1"}))
	if c := connect.CodeOf(err); c != connect.CodeUnauthenticated && c != connect.CodePermissionDenied {
		t.Errorf("nobody in particular orders: %v", err)
	}
}

// TestReflectionListsAll services, to whoever may look.
func TestReflectionListsAll(t *testing.T) {
	s := serve(t, home(t, true), "", "127.0.0.1:0")
	made, err := s.admin.Access.CreateToken(t.Context(), connect.NewRequest(&messages.CreateTokenRequest{Name: "v", Role: "viewer"}))
	if err != nil {
		t.Fatal(err)
	}
	stream := grpcreflect.NewClient(h2(t, s.trust()), s.url, connect.WithGRPC()).NewStream(t.Context(), grpcreflect.WithRequestHeaders(http.Header{"Authorization": {"Bearer " + made.Msg.GetSecret()}}))
	names, err := stream.ListServices()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Close(); err != nil {
		t.Error(err)
	}
	for _, service := range services() {
		if !slices.Contains(names, service.FullName()) {
			t.Errorf("%s is not listed", service.FullName())
		}
	}
}

// services are all that the project's protocol describes.
func services() (out []protoreflect.ServiceDescriptor) {
	for _, file := range []protoreflect.FileDescriptor{messages.File_rackreach_v1_rack_service_proto, messages.File_rackreach_v1_fleet_service_proto, messages.File_rackreach_v1_bus_service_proto,
		messages.File_rackreach_v1_access_service_proto, messages.File_rackreach_v1_enrollment_service_proto} {
		for i := range file.Services().Len() {
			out = append(out, file.Services().Get(i))
		}
	}
	return out
}

// filled is a message whose every string says something of a rack, so that no
// field can be forgotten.
func filled(d protoreflect.MessageDescriptor, rackName string, depth int) *dynamicpb.Message {
	m := dynamicpb.NewMessage(d)
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		var v protoreflect.Value
		switch f.Kind() {
		case protoreflect.StringKind:
			v = protoreflect.ValueOfString(naming(f, rackName))
		case protoreflect.MessageKind:
			if depth == 0 || f.IsMap() || f.Message().ParentFile().Package() != d.ParentFile().Package() {
				continue
			}
			v = protoreflect.ValueOfMessage(filled(f.Message(), rackName, depth-1))
		case protoreflect.Uint64Kind:
			v = protoreflect.ValueOfUint64(1)
		case protoreflect.BytesKind:
			v = protoreflect.ValueOfBytes([]byte(rackName))
		default:
			continue
		}
		if f.IsList() {
			m.Mutable(f).List().Append(v)
			continue
		}
		m.Set(f, v)
	}
	return m
}

// naming is what a field of that name says when it speaks of a rack.
func naming(f protoreflect.FieldDescriptor, rackName string) string {
	switch f.Name() {
	case "name":
		if strings.Contains(string(f.Parent().Name()), "Device") {
			return messages.DeviceName(rackName, "server-01")
		}
		return messages.RackName(rackName)
	case "rack":
		return rackName
	case "device":
		return messages.DeviceName(rackName, "server-01")
	}
	return rackName + "/server-01"
}

// TestACertificateNamesItsRack: an agent tries every call there is, and every
// field, in another rack's name. Nothing of that rack changes.
func TestACertificateNamesItsRack(t *testing.T) {
	s := serve(t, home(t, true), "", "127.0.0.1:0")
	evil := s.enroll("r1")
	hash := s.put("r2")
	victim := s.agent("r2", s.enroll("r2"), nil, nil)
	until(t, "the agent of r2 is connected", func() bool { return s.connected("r2") })
	if _, err := s.admin.Fleet.ApplyRack(t.Context(), connect.NewRequest(&messages.ApplyRackRequest{Name: "racks/r2", PlanHash: hash})); err != nil {
		t.Fatal(err)
	}
	victim.add(findings(5)...)
	until(t, "r2 is in the log", func() bool { return s.rack("r2").GetLastSeq() == 6 && s.rack("r2").GetOrders() == 0 })
	before := s.standing("r2")

	h := h2(t, evil.ClientTLS("127.0.0.1"))
	calls := 0
	for _, service := range services() {
		for i := range service.Methods().Len() {
			m := service.Methods().Get(i)
			name := fmt.Sprintf("/%s/%s", service.FullName(), m.Name())
			if m.IsStreamingClient() {
				continue // every message of it below
			}
			calls++
			err := s.call(t, h, name, m, filled(m.Input(), "r2", 3))
			switch code := connect.CodeOf(err); {
			case name == "/rackreach.v1.EnrollmentService/Renew" || name == "/rackreach.v1.EnrollmentService/Enroll":
				if err == nil || code != connect.CodeInvalidArgument {
					t.Errorf("%s with a request for another rack: %v", name, err)
				}
			case code != connect.CodePermissionDenied && code != connect.CodeUnauthenticated:
				t.Errorf("%s in another rack's name: %v", name, err)
			}
		}
	}
	if calls < 25 {
		t.Errorf("only %d calls were tried", calls)
	}

	// Every field of every message on the stream, one at a time.
	client := busClient(h, s.url)
	good := func() []*messages.ConnectRequest {
		return []*messages.ConnectRequest{
			{Message: &messages.ConnectRequest_Hello{Hello: &messages.Hello{Rack: "r1", Journal: "j-r1", Version: "v", MetricsAddress: "127.0.0.1:1", ServerIds: []string{"10.0.0.1"}, PlanHash: "aa"}}},
			{Message: &messages.ConnectRequest_Heartbeat{Heartbeat: &messages.Heartbeat{Transfers: []*messages.Transfer{{Device: "tor-1"}}}}},
			{Message: &messages.ConnectRequest_Events{Events: &messages.EventBatch{Events: []*messages.Event{{Seq: 1, Rack: "r1", Kind: string(rack.DeviceFinding), Device: "tor-1", Detail: &messages.EventDetail{}}}}}},
			{Message: &messages.ConnectRequest_Plan{Plan: must(plan(t, "r1").Encode())}},
		}
	}
	fields := 0
	for n := range good() {
		for _, path := range stringsOf(good()[n].ProtoReflect().Descriptor(), nil, 4) {
			said := good()
			if !set(said[n].ProtoReflect(), path, "r2") {
				continue
			}
			fields++
			stream := client.Connect(t.Context())
			for _, m := range said {
				if stream.Send(m) != nil {
					break
				}
			}
			_ = stream.CloseRequest()
			for {
				if _, err := stream.Receive(); err != nil {
					break
				}
			}
			_ = stream.CloseResponse()
		}
	}
	if fields < 25 {
		t.Errorf("only %d fields were tried", fields)
	}
	for _, b := range [][]byte{must(plan(t, "r2").Encode()), []byte("{}"), nil} {
		said := good()
		said[3] = &messages.ConnectRequest{Message: &messages.ConnectRequest_Plan{Plan: b}}
		stream := client.Connect(t.Context())
		for _, m := range said {
			if stream.Send(m) != nil {
				break
			}
		}
		_ = stream.CloseRequest()
		for {
			if _, err := stream.Receive(); err != nil {
				break
			}
		}
		_ = stream.CloseResponse()
	}
	if after := s.standing("r2"); after != before {
		t.Errorf("another rack has changed:\n%s\nbefore:\n%s", after, before)
	}
	if !s.connected("r2") {
		t.Error("the agent of the other rack is not connected any more")
	}
}

// standing is all that the log holds of a rack.
func (s *served) standing(name string) string {
	s.t.Helper()
	head, err := s.c.log.Head(s.t.Context(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := s.admin.GetPlan(s.t.Context(), connect.NewRequest(&messages.GetPlanRequest{Name: messages.RackName(name)}))
	if err != nil {
		s.t.Fatal(err)
	}
	r := s.rack(name)
	return fmt.Sprintf("%+v %x %d %s %s %v", head, p.Msg.GetPlan(), r.GetOrders(), r.GetStatus(), r.GetPlanHash(), r.GetAgent().GetMetricsAddress())
}

// stringsOf are the paths to all strings of a message.
func stringsOf(d protoreflect.MessageDescriptor, path []protoreflect.FieldDescriptor, depth int) (out [][]protoreflect.FieldDescriptor) {
	if depth == 0 {
		return nil
	}
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		here := append(slices.Clone(path), f)
		switch f.Kind() {
		case protoreflect.StringKind:
			out = append(out, here)
		case protoreflect.MessageKind:
			out = append(out, stringsOf(f.Message(), here, depth-1)...)
		}
	}
	return out
}

// set sets one string of a message; false: the message is of another kind.
func set(m protoreflect.Message, path []protoreflect.FieldDescriptor, rackName string) bool {
	f := path[0]
	if len(path) == 1 {
		v := protoreflect.ValueOfString(naming(f, rackName))
		if f.IsList() {
			m.Mutable(f).List().Append(v)
		} else {
			m.Set(f, v)
		}
		return true
	}
	if f.ContainingOneof() != nil && !m.Has(f) {
		return false
	}
	if f.IsList() {
		if m.Get(f).List().Len() == 0 {
			return false
		}
		return set(m.Mutable(f).List().Get(0).Message(), path[1:], rackName)
	}
	return set(m.Mutable(f).Message(), path[1:], rackName)
}

// call calls any procedure.
func (s *served) call(t testing.TB, h *http.Client, name string, m protoreflect.MethodDescriptor, q proto.Message) error {
	t.Helper()
	input := must(proto.Marshal(q))
	client := connect.NewClient[[]byte, []byte](h, s.url+name, connect.WithCodec(asItIs{}))
	if !m.IsStreamingServer() {
		_, err := client.CallUnary(t.Context(), connect.NewRequest(&input))
		return err
	}
	stream, err := client.CallServerStream(t.Context(), connect.NewRequest(&input))
	if err != nil {
		return err
	}
	for stream.Receive() {
	}
	err = stream.Err()
	_ = stream.Close()
	return err
}

// asItIs is the codec of messages that are bytes already.
type asItIs struct{}

func (asItIs) Name() string                  { return "proto" }
func (asItIs) Marshal(m any) ([]byte, error) { return *m.(*[]byte), nil }
func (asItIs) Unmarshal(b []byte, m any) error {
	*m.(*[]byte) = bytes.Clone(b)
	return nil
}
