package boot

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/rackreach/rackreach/internal/rack"
)

func TestObservation(t *testing.T) {
	image := rack.Image{Digest: "sha256:" + strings.Repeat("a", 64)}
	other := "sha256:" + strings.Repeat("b", 64)
	tests := []struct {
		r    Report
		want rack.Evidence
		says string
	}{
		{Report{State: Installed, Digest: image.Digest, Message: "ok"}, rack.ReportedInstalled, "ok"},
		{Report{State: Installed, Digest: other, Message: "ok"}, rack.ReportedFailed, "it installed " + other},
		{Report{State: Failed, Digest: image.Digest, Message: "disk"}, rack.ReportedFailed, "disk"},
		{Report{State: KeptBack, Holds: "foreign:ext4", Message: "no"}, rack.ReportedRefused, "its disk holds foreign:ext4"},
	}
	for _, tt := range tests {
		tt.r.Ticket.Image = image
		if o := tt.r.Observation(); o.Proves != tt.want || !strings.HasPrefix(o.Message, tt.says) || o.Holds != tt.r.Holds {
			t.Errorf("%+v: %+v", tt.r, o)
		}
	}
}

func FuzzReport(f *testing.F) {
	f.Add(`{"state":"installed","message":"done","digest":"sha256:` + strings.Repeat("a", 64) + `"}`)
	f.Add(`{"state":"failed","message":"\u202e\u001b[2J\n` + strings.Repeat("é", 400) + `"}`)
	f.Add(`{"state":"refused","holds":"foreign:\u202e` + strings.Repeat("é", 400) + `"}`)
	f.Add(`{"state":"failed","holds":"foreign:x"}`)
	f.Add(`{"state":`)
	f.Fuzz(func(t *testing.T, body string) {
		r, err := parseReport(strings.NewReader(body))
		if err != nil {
			if len(err.Error()) > 200 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
			return
		}
		if r.State != Installed && r.State != Failed && r.State != KeptBack || r.Digest != "" && !validDigest(r.Digest) || len(body) > maxReport {
			t.Errorf("%q gave %+v", body, r)
		}
		if len(r.Message) > maxMessage || !utf8.ValidString(r.Message) {
			t.Errorf("message %q of %d bytes", r.Message, len(r.Message))
		}
		if (r.Holds != "") != (r.State == KeptBack) || len(r.Holds) > maxHolds || !utf8.ValidString(r.Holds) {
			t.Errorf("%s holds %q of %d bytes", r.State, r.Holds, len(r.Holds))
		}
		for _, c := range r.Message + r.Holds {
			if !unicode.IsPrint(c) {
				t.Errorf("%+v has a %U", r, c)
			}
		}
	})
}
