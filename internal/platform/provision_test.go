package platform

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/config"
	"github.com/rackreach/rackreach/internal/strictyaml"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestProvision(t *testing.T) {
	const head = "apiVersion: rackreach/v1\nkind: Platform\nname: x\nlike: sonic\n"
	dir := folder(t, map[string]string{
		"x.yaml":    head + "provision:\n  option: 240\n  login: key\n  documents:\n    - {file: start.sh, template: mine}\n",
		"same.yaml": strings.Replace(head, "name: x", "name: same", 1),
		"mine":      "curl {{.URL}}/report/installed",
	})
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	d, _ := s.Definition("x")
	if doc, ok := d.Provision.Document("start.sh"); d.Provision.Option != 240 || !d.Provision.Key || !ok || !strings.HasPrefix(doc.Template, "curl ") {
		t.Errorf("%+v", d.Provision)
	}
	if _, ok := d.Provision.Document("ztp.json"); ok {
		t.Error("the documents of the platform that it is like are there, too")
	}
	if d, _ = s.Definition("same"); len(d.Provision.Documents) != 3 {
		t.Errorf("%+v", d.Provision)
	}
	for _, tt := range []struct{ text, line, says string }{
		{"provision: {documents: []}\n", "5", ""},
		{"provision: {option: 43, documents: [{file: a, template: mine}]}\n", "5", `"43" is not a DHCP option for that`},
		{"provision: {login: password, documents: [{file: a, template: mine}]}\n", "5", `"password" is not a way to log in that a document needs`},
		{"provision: {documents: [{file: ../a, template: mine}]}\n", "5", `"../a" is not the name of a document`},
		{"provision: {documents: [{file: report, template: mine}]}\n", "5", "report is where devices report"},
		{"provision: {documents: [{file: a, template: mine}, {file: a, template: mine}]}\n", "5", "two documents are called a"},
		{"provision: {documents: [{template: mine}]}\n", "5", "a document has no name"},
		{"provision: {documents: [{file: a}]}\n", "5", "document a has no template"},
		{"provision: {documents: [{file: a, template: none}]}\n", "5", "template none: "},
		{"provision: {documents: [{file: a, template: wrong}]}\n", "5", "can't evaluate field Password"},
		{"provision: {option: 67}\n", "5", "provision has no documents"},
		{"ticketEnds: dhcp:nos\n", "1", "documents are served while the ticket is open"},
		{"provision: {documents: [{file: a, template: mine}]}\nticketEnds: fetched:image\n", "5", "documents are served while the ticket is open, and that of x ends with fetched:image"},
	} {
		_, err := Load(folder(t, map[string]string{"x.yaml": head + tt.text, "mine": "m", "wrong": "{{.Password}}"}))
		problems, ok := err.(strictyaml.Problems)
		said := false
		for _, p := range problems {
			said = said || strings.Contains(p.String(), ":"+tt.line+":") && strings.Contains(p.What, tt.says) && p.Fix != ""
		}
		if !ok || !said {
			t.Errorf("%q\nsays %v\nwant line %s: %s", tt.text, err, tt.line, tt.says)
		}
	}
}

// TestShippedTemplates holds that what our platforms give to devices is what its name
// says, and the same as it was looked through (testdata), whatever the site has.
func TestShippedTemplates(t *testing.T) {
	full, flat, bare := config.Sample(), config.Sample(), config.Sample()
	flat.VLAN, flat.VLANs = 0, nil
	for i := range flat.Ports {
		flat.Ports[i].Untagged, flat.Ports[i].Tagged = 0, nil
	}
	bare.VLAN, bare.VLANs, bare.NTP, bare.DNS, bare.Syslog, bare.Router, bare.Domain, bare.Ports = 0, nil, nil, nil, "", "", "", nil
	for _, d := range Default().Definitions() {
		if d.Status == Simulated {
			continue
		}
		for kind, v := range map[string]*config.Values{"full": full, "flat": flat, "bare": bare} {
			var b strings.Builder
			show := func(what, name, text string, v any) {
				got, err := config.Render(name, text, v)
				if err != nil {
					t.Fatalf("%s: %v", d.Name, err)
				}
				if strings.HasSuffix(name, ".json") && !json.Valid([]byte(got)) {
					t.Errorf("%s, %s: %s is no JSON:\n%s", d.Name, kind, name, got)
				}
				b.WriteString("== " + what + "\n" + got + "\n")
			}
			if d.Provision != nil {
				served := config.SampleServed(v)
				if kind == "bare" {
					served.Key = ""
				}
				for _, x := range d.Provision.Documents {
					show("document "+x.Name, x.From, x.Template, served)
				}
			}
			for i := range d.Steps {
				if x := d.Steps[i].SSH; x != nil {
					for _, f := range x.Files {
						show("file "+f.To, f.Name, f.Template, v)
					}
					for _, c := range append(append(x.Run[:len(x.Run):len(x.Run)], x.Confirm...), x.Expect...) {
						show(string(d.Steps[i].Action), "", c, v)
					}
				}
			}
			golden := filepath.Join("testdata", "shipped", d.Name+"-"+kind+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || string(want) != b.String() {
				t.Errorf("%s is given something else than %s (-update writes it anew, after a look):\n%s", d.Name, golden, b.String())
			}
		}
	}
}
