package rack

import "testing"

func TestBundleSentence(t *testing.T) {
	for _, tt := range []struct{ bundle, by, want string }{
		{"", "", ""},
		{"", Nobody, ""},
		{"1@sha256:a", "0123456789abcdef", "images of bundle 1@sha256:a, signed by key 0123456789abcdef"},
		{"1@sha256:a", Nobody, "images of the UNSIGNED bundle 1@sha256:a (--allow-unsigned)"},
		{"1@sha256:a", "", "images of the UNSIGNED bundle 1@sha256:a (--allow-unsigned)"},
	} {
		if got := BundleSentence(tt.bundle, tt.by); got != tt.want {
			t.Errorf("%q %q: %q, want %q", tt.bundle, tt.by, got, tt.want)
		}
	}
}
