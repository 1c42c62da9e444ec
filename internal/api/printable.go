package api

import (
	"context"
	"errors"
	"strings"
	"unicode"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// printable makes what a client is told fit for a terminal. A coordinator hands on
// the words of agents, and one machine of many that is not its owner's any more must
// not write to the terminals of people.
type printable struct{}

var _ connect.Interceptor = printable{}

// WrapUnary implements connect.Interceptor.
func (printable) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, q connect.AnyRequest) (connect.AnyResponse, error) {
		a, err := next(ctx, q)
		if err == nil {
			printMessage(a.Any())
		}
		return a, printError(err)
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (printable) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		return printableConn{next(ctx, spec)}
	}
}

// WrapStreamingHandler implements connect.Interceptor.
func (printable) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

type printableConn struct{ connect.StreamingClientConn }

// Receive implements connect.StreamingClientConn.
func (c printableConn) Receive(m any) error {
	err := c.StreamingClientConn.Receive(m)
	if err == nil {
		printMessage(m)
	}
	return printError(err)
}

// printError is an error whose words, and those of its details, can be printed.
func printError(err error) error {
	var e *connect.Error
	if !errors.As(err, &e) {
		return err
	}
	sound := !strings.ContainsFunc(e.Message(), unprintable)
	var details []*connect.ErrorDetail
	for _, d := range e.Details() {
		m, derr := d.Value()
		if derr != nil {
			details = append(details, d) // nobody here knows it, so nobody prints it
			continue
		}
		if printMessage(m) {
			sound = false
			if d, derr = connect.NewErrorDetail(m); derr != nil {
				continue
			}
		}
		details = append(details, d)
	}
	if sound {
		return err
	}
	made := connect.NewWireError(e.Code(), errors.New(strings.Map(print, e.Message())))
	for _, d := range details {
		made.AddDetail(d)
	}
	return made
}

// unprintable are the characters that a terminal would take for an order, or that
// show something else than is there.
func unprintable(c rune) bool { return !unicode.IsPrint(c) && c != '\n' && c != '\t' }

func print(c rune) rune {
	if unprintable(c) {
		return '?'
	}
	return c
}

// printMessage makes every text in a message printable, and reports whether one was
// not.
func printMessage(m any) bool {
	message, ok := m.(proto.Message)
	return ok && printFields(message.ProtoReflect())
}

func printFields(m protoreflect.Message) (changed bool) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList():
			l := v.List()
			for i := range l.Len() {
				if x, was := printValue(f, l.Get(i)); was {
					changed = true
					if f.Kind() == protoreflect.StringKind {
						l.Set(i, x)
					}
				}
			}
		default:
			if x, was := printValue(f, v); was {
				changed = true
				if f.Kind() == protoreflect.StringKind {
					m.Set(f, x)
				}
			}
		}
		return true
	})
	return changed
}

// printValue is a text that can be printed, or a message whose texts were made so.
func printValue(f protoreflect.FieldDescriptor, v protoreflect.Value) (protoreflect.Value, bool) {
	switch f.Kind() {
	case protoreflect.StringKind:
		if s := v.String(); strings.ContainsFunc(s, unprintable) {
			return protoreflect.ValueOfString(strings.Map(print, s)), true
		}
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return v, printFields(v.Message())
	}
	return v, false
}
