package access

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// resourceOf is what a request is about, by its own words: its name, its rack, or
// the name or rack of a message in it; empty when it says nothing.
func resourceOf(m any) string {
	message, ok := m.(proto.Message)
	if !ok {
		return ""
	}
	r := message.ProtoReflect()
	if s := named(r); s != "" {
		return s
	}
	fields := r.Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); f.Kind() == protoreflect.MessageKind && !f.IsList() && !f.IsMap() && r.Has(f) {
			if s := named(r.Get(f).Message()); s != "" {
				return s
			}
		}
	}
	return ""
}

func named(r protoreflect.Message) string {
	for _, name := range []protoreflect.Name{"name", "rack"} {
		f := r.Descriptor().Fields().ByName(name)
		if f == nil || f.Kind() != protoreflect.StringKind || f.IsList() {
			continue
		}
		if s := r.Get(f).String(); s != "" {
			if name == "rack" {
				s = "racks/" + s
			}
			return s
		}
	}
	return ""
}
