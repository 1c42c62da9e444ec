package access

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// methods is every method of every service of the project.
func methods(t *testing.T) map[string]protoreflect.MethodDescriptor {
	t.Helper()
	out := map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFilesByPackage("rackreach.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				out["/"+string(s.FullName())+"/"+string(m.Name())] = m
			}
		}
		return true
	})
	if len(out) < 20 {
		t.Fatalf("only %d methods found: this test looks in the wrong place", len(out))
	}
	return out
}

func TestThePolicyIsWhole(t *testing.T) {
	all := methods(t)
	for procedure, m := range all {
		n, ok := policy[procedure]
		if !ok {
			t.Errorf("%s does not stand in the policy", procedure)
			continue
		}
		ways := 0
		for _, is := range []bool{n.role != Nobody, n.agent, n.open} {
			if is {
				ways++
			}
		}
		if ways != 1 {
			t.Errorf("%s: %+v: one of a role, agent and open is expected", procedure, n)
		}
		if is := m.IsStreamingClient() || m.IsStreamingServer(); is != n.streams {
			t.Errorf("%s streams: %v, and the policy says %v", procedure, is, n.streams)
		}
		// What may be looked at without a trace is what proto/ calls free of side
		// effects, or a stream that tells.
		options, _ := m.Options().(*descriptorpb.MethodOptions)
		looks := options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS || strings.HasPrefix(string(m.Name()), "Watch")
		if n.role != Nobody && looks == n.changes {
			t.Errorf("%s: it changes nothing: %v; it is written down: %v", procedure, looks, n.changes)
		}
		if n.role == Viewer && !looks {
			t.Errorf("%s changes something and a viewer may call it", procedure)
		}
	}
	for procedure := range policy {
		if _, ok := all[procedure]; !ok && !strings.HasPrefix(procedure, "/grpc.reflection.") && procedure != Depot {
			t.Errorf("the policy has %s, which is not there", procedure)
		}
	}
}

// TestWhoMayCallWhat calls every procedure as everybody, over a socket.
func TestWhoMayCallWhat(t *testing.T) {
	p := newPort(t, nil)
	// Spelled out here and not taken from the policy: this is what it must say.
	wants := func(procedure string) string {
		service, method, _ := strings.Cut(strings.TrimPrefix(procedure, "/rackreach.v1."), "/")
		switch {
		case service == "BusService", method == "Renew":
			return "agent"
		case method == "Enroll":
			return "open"
		case service == "AccessService":
			return "admin"
		case strings.HasPrefix(method, "Get"), strings.HasPrefix(method, "List"), strings.HasPrefix(method, "Watch"):
			return "viewer"
		}
		return "operator"
	}
	rank := map[string]int{"viewer": 1, "operator": 2, "admin": 3, "local": 3}
	bearer := func(secret string) map[string]string { return map[string]string{"Authorization": "Bearer " + secret} }
	for _, who := range []struct {
		name    string
		headers map[string]string
	}{
		{"stranger", nil},
		{"viewer", bearer(p.token(t, "viewer", Viewer))},
		{"operator", bearer(p.token(t, "operator", Operator))},
		{"admin", bearer(p.token(t, "admin", Admin))},
		{"local", map[string]string{"Test-Local": "root"}},
		{"agent", map[string]string{agentHeader: "r1"}},
		{"agent with a token", map[string]string{agentHeader: "r1", "Authorization": "Bearer " + p.token(t, "admin2", Admin)}},
	} {
		for procedure, m := range methods(t) {
			want := wants(procedure)
			may := want == "open" || want == "agent" && strings.HasPrefix(who.name, "agent") || want != "agent" && rank[who.name] >= rank[want] && rank[want] > 0
			got := p.call(t, procedure, m.IsStreamingServer() || m.IsStreamingClient(), `{}`, who.headers)
			refused := got.Code == "unauthenticated" || got.Code == "permission_denied"
			if refused == may {
				t.Errorf("%s calls %s: %+v", who.name, procedure, got)
			}
			if code := map[bool]string{true: "unauthenticated", false: "permission_denied"}[who.name == "stranger" || want == "agent"]; refused && got.Code != code {
				t.Errorf("%s calls %s: %+v, want %s", who.name, procedure, got, code)
			}
		}
	}
}

func TestWhatIsNotInThePolicyIsRefused(t *testing.T) {
	g := newPort(t, nil).gate
	if _, err := g.judge(WithLocal(t.Context(), "root"), "/rackreach.v1.RackService/New", nil, "", ""); err == nil {
		t.Error("even the owner of this machine may not call what nobody thought of")
	}
}

func TestRoles(t *testing.T) {
	for _, r := range []Role{Viewer, Operator, Admin} {
		if got, err := ParseRole(r.String()); got != r || err != nil {
			t.Errorf("%s: %v %v", r, got, err)
		}
	}
	for _, s := range []string{"", "nobody", "Admin", "root"} {
		if _, err := ParseRole(s); err == nil {
			t.Errorf("%q is a role", s)
		}
	}
	if s := fmt.Sprint(Role(9)); s != "role 9" {
		t.Error(s)
	}
}
