package platform

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/adjacency"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/strictyaml"
)

// Bounds of a platform file.
const (
	maxSize   = 64 << 10 // bytes
	maxName   = 48       // bytes of the name of a platform or a step
	maxText   = 200      // bytes of a sentence
	maxUnseen = 16
	maxSteps  = 64 // of a phase
	maxItems  = 16 // of a list
	maxImage  = 128
	maxLimit  = 24 * time.Hour
	maxTries  = 10
	maxWeight = 1000
)

const (
	apiVersion = "rackreach/v1"
	kind       = "Platform"
	beginning  = "apiVersion: rackreach/v1, kind: Platform, and a name"
)

var form = strictyaml.Kind{MaxSize: maxSize, Smaller: "one platform in a file", Begin: beginning, One: "one platform in a file"}

var (
	platformName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	machineName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._/+-]*$`)
	imageName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/+-]*$`)
)

// file is a platform file, in memory.
type file struct {
	path string
	data []byte
	open func(name string) ([]byte, error) // of a template beside it
}

// reader reads the platform of one file.
type reader struct {
	strictyaml.Reader
	file  file
	root  *yaml.Node
	keys  map[string]*yaml.Node // of the file
	d     Definition
	steps map[rack.Phase][]rack.Step // as far as the file gives them
	lines map[string]int             // of steps, by their names
	whole bool                       // inherit was here
}

func newReader(f file) *reader {
	return &reader{Reader: strictyaml.Reader{File: f.path}, file: f, d: Definition{File: f.path}, steps: map[rack.Phase][]rack.Step{}, lines: map[string]int{}}
}

// line is that of a key, or of the file's begin.
func (r *reader) line(key string) int {
	if n, ok := r.keys[key]; ok {
		return n.Line
	}
	if r.root != nil {
		return r.root.Line
	}
	return 0
}

// parse reads what the file itself says.
func (r *reader) parse() {
	root, err := form.Document(r.File, r.file.data)
	if err != nil {
		r.Problems = append(r.Problems, err.(strictyaml.Problems)...)
		return
	}
	r.root = root
	if r.keys = r.Mapping(root, "the platform", "apiVersion", "kind", "name", "like", "description", "status", "unseen", "roles", "match", "image", "installer", "marksPorts", "ticketEnds", "provision", "neighbours", "macs", "steps"); r.keys == nil {
		return
	}
	r.is("apiVersion", apiVersion)
	r.is("kind", kind)
	r.d.Name = r.name(r.must("name", "name: and one in lower case letters, digits and -"), "a platform")
	r.d.Like = r.name(r.keys["like"], "a platform")
	r.d.Description = r.text("description", maxText, nil, "a line that says what it is for")
	if n, ok := r.keys["image"]; ok {
		r.d.Image = r.matching(n, "image", maxImage, imageName, "the name of an artifact, such as debian-13")
	}
	r.d.MarksPorts = r.truth(r.keys["marksPorts"], "marksPorts") // of the file itself only: a platform says it of its own configuration
	if n, ok := r.keys["installer"]; ok {
		r.d.Installer = oneOf(r, n, "an installer", rack.Installers())
	}
	r.status()
	r.roles()
	r.match()
	r.d.TicketEnds = r.evidence(r.keys["ticketEnds"], "ticketEnds")
	r.d.Neighbours = r.ask("neighbours", strs(adjacency.NeighbourFormats()))
	r.d.MACs = r.ask("macs", strs(adjacency.StationFormats()))
	r.provision()
	r.phases()
}

// must is a key that cannot be left out.
func (r *reader) must(key, fix string) *yaml.Node {
	n, ok := r.keys[key]
	if !ok {
		r.Say(r.root.Line, fix, "%s is missing", key)
	}
	return n
}

func (r *reader) is(key, want string) {
	if n := r.must(key, key+": "+want); n != nil {
		if s, ok := r.Scalar(n, key, want); ok && s != want {
			r.Say(n.Line, want, "%s is %s, which this version does not read", key, strictyaml.Shown(s))
		}
	}
}

func (r *reader) name(n *yaml.Node, of string) string {
	if n == nil {
		return ""
	}
	return r.matching(n, "the name of "+of, maxName, platformName, "lower case letters, digits and -, such as acme-os")
}

// text reads a line, of which a terminal obeys nothing.
func (r *reader) text(key string, longest int, n *yaml.Node, fix string) string {
	if n == nil {
		if n = r.keys[key]; n == nil {
			return ""
		}
	}
	s, ok := r.Scalar(n, key, fix)
	if ok && (len(s) > longest || strings.ContainsFunc(s, func(c rune) bool { return !strconv.IsPrint(c) })) {
		r.Say(n.Line, "a line of at most "+strconv.Itoa(longest)+" bytes", "%s is too long, or no plain text", key)
		return ""
	}
	return s
}

func (r *reader) matching(n *yaml.Node, what string, longest int, is *regexp.Regexp, fix string) string {
	s, ok := r.Scalar(n, what, fix)
	if ok && (len(s) > longest || !is.MatchString(s)) {
		r.Say(n.Line, fix, "%s is not %s", strictyaml.Shown(s), what)
		return ""
	}
	return s
}

func (r *reader) status() {
	if n, ok := r.keys["status"]; ok {
		r.d.Status = oneOf(r, n, "a status", statuses())
	}
	if n, ok := r.keys["unseen"]; ok {
		const fix = "unseen: [a sentence for each thing that was not seen]"
		for _, x := range r.List(n, "unseen", fix, maxUnseen) {
			r.d.Unseen = append(r.d.Unseen, r.text("unseen", maxText, x, fix))
		}
	}
}

func (r *reader) roles() {
	n, ok := r.keys["roles"]
	if !ok {
		return
	}
	for _, x := range r.List(n, "roles", "roles: [tor-switch]", len(rack.Roles())) {
		r.d.Roles = append(r.d.Roles, oneOf(r, x, "a role", rack.Roles()))
	}
}

func stages() []rack.Stage {
	return []rack.Stage{rack.StagePXE, rack.StageIPXE, rack.StageHTTPBoot, rack.StageONIE, rack.StageNOS, rack.StageOS, rack.StageBMC}
}

func (r *reader) match() {
	n, ok := r.keys["match"]
	if !ok {
		return
	}
	m := r.Mapping(n, "match", "stages", "machines")
	if x, ok := m["stages"]; ok {
		for _, s := range r.List(x, "stages", "stages: [onie, nos]", len(stages())) {
			r.d.Match.Stages = append(r.d.Match.Stages, oneOf(r, s, "a boot stage", stages()))
		}
	}
	if x, ok := m["machines"]; ok {
		const fix = "the name of a machine as it says it itself, such as accton_as7712_32x"
		for _, s := range r.List(x, "machines", "machines: [accton_as7712_32x]", maxItems) {
			r.d.Match.Machines = append(r.d.Match.Machines, r.matching(s, "the name of a machine", maxName, machineName, fix))
		}
	}
}

// oneOf reads a value that must be one of a few.
func oneOf[T ~string](r *reader, n *yaml.Node, what string, known []T) T {
	list := make([]string, len(known))
	for i, k := range known {
		list[i] = string(k)
	}
	fix := "one of " + strings.Join(list, ", ")
	s, ok := r.Scalar(n, what, fix)
	if ok && !slices.Contains(known, T(s)) {
		r.Say(n.Line, fix, "%s is not %s", strictyaml.Shown(s), what)
	}
	return T(s)
}

// evidence reads what an observation may prove.
func (r *reader) evidence(n *yaml.Node, what string) rack.Evidence {
	if n == nil {
		return rack.NoEvidence
	}
	return oneOf(r, n, what, rack.Evidences())
}

// inherit completes a platform from the one that it is like. read are those of the same
// folder, below those that they are put on; above are those that wait for this one.
func (r *reader) inherit(read map[string]*reader, below map[string]*Definition, above []string) {
	if r.whole {
		return
	}
	r.whole = true
	if r.d.Like == "" {
		r.join(nil)
		return
	}
	above = append(above, r.d.Name)
	var base *Definition
	switch other, ok := read[r.d.Like]; {
	case slices.Contains(above, r.d.Like) && r.d.Like != r.d.Name, r.d.Like == r.d.Name && below[r.d.Name] == nil:
		r.Say(r.line("like"), "a platform that stands by itself", "%s is like itself, by way of %s", r.d.Name, strings.Join(above, ", "))
		return
	case ok && r.d.Like != r.d.Name:
		other.inherit(read, below, above)
		base = &other.d
	case below[r.d.Like] != nil:
		base = below[r.d.Like]
	default:
		r.Say(r.line("like"), "one that rackreach platform list shows, or a file of the same folder", "there is no platform %s to be like", r.d.Like)
		return
	}
	if len(r.d.Roles) == 0 {
		r.d.Roles = base.Roles
	}
	if r.d.Description == "" {
		r.d.Description = base.Description
	}
	if _, ok := r.keys["match"]; !ok {
		r.d.Match = base.Match
	}
	if r.d.Image == "" {
		r.d.Image = base.Image
	}
	if r.d.Installer == "" {
		r.d.Installer = base.Installer
	}
	if r.d.TicketEnds == rack.NoEvidence {
		r.d.TicketEnds = base.TicketEnds
	}
	if _, ok := r.keys["provision"]; !ok {
		r.d.Provision = base.Provision
	}
	if r.d.Neighbours == nil {
		r.d.Neighbours = base.Neighbours
	}
	if r.d.MACs == nil {
		r.d.MACs = base.MACs
	}
	r.join(base.Steps)
}

// join puts the steps of the phases in their order; a phase that the file does not give
// has those of base.
func (r *reader) join(base []rack.Step) {
	for _, p := range rack.Phases() {
		if own, ok := r.steps[p]; ok {
			r.d.Steps = append(r.d.Steps, own...)
			continue
		}
		for _, s := range base {
			if s.Phase == p {
				r.d.Steps = append(r.d.Steps, s)
			}
		}
	}
}
