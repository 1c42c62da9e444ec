package access

import (
	"context"
	"fmt"
)

// Role is what somebody may do. Each may do all that the one before may.
type Role int

// Roles.
const (
	Nobody   Role = iota // may nothing
	Viewer               // may look
	Operator             // may order
	Admin                // may say who may
)

var roleNames = []string{"nobody", "viewer", "operator", "admin"}

// String is the word of a role.
func (r Role) String() string {
	if r < Nobody || r > Admin {
		return fmt.Sprintf("role %d", int(r))
	}
	return roleNames[r]
}

// ParseRole is the role of a word.
func ParseRole(s string) (Role, error) {
	for r := Viewer; r <= Admin; r++ {
		if s == r.String() {
			return r, nil
		}
	}
	return Nobody, fmt.Errorf("%.80q is not a role: write viewer, operator or admin", s)
}

// caller is who calls.
type caller struct {
	name string
	role Role
}

type (
	callerKey struct{} // who was let through by a Gate
	localKey  struct{} // who is at the other end of a unix socket
)

// WithLocal says that who calls was established already, by the kernel: the
// owner of this machine's socket. They may do everything. It is for the context
// of a connection (http.Server.ConnContext), nothing else.
func WithLocal(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, localKey{}, name)
}

// Who is who calls, as a Gate found out. Without one: "", Nobody.
func Who(ctx context.Context) (name string, role Role) {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c.name, c.role
}
