package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rackreach/rackreach/internal/rack"
)

// Check says what is wrong with a plan that came from elsewhere, and what to do; ""
// when nothing is: its rack is valid, and it is the plan that this rackreach would
// make, word by word: a hash says nothing of what stands beside it.
func (p *Plan) Check() (what, next string) {
	if p.Plan.Rack != p.Rack.Name {
		return fmt.Sprintf("the plan is of rack %.80q, and holds rack %.80q", p.Plan.Rack, p.Rack.Name), "plan it anew"
	}
	if problems := rack.Validate(p.Rack, p.Platforms); len(problems) > 0 {
		return fmt.Sprintf("%d things are wrong with the rack, the first: %s", len(problems), problems[0].What), "rackreach validate FILE"
	}
	again, err := rack.NewPlan(p.Rack, p.Platforms, func(name string) (rack.Image, error) {
		for _, d := range p.Plan.Devices {
			if d.Image.Name == name {
				return rack.Image(d.Image), nil
			}
		}
		return rack.Image{}, fmt.Errorf("the plan has no image %.80q", name)
	})
	if err != nil {
		return err.Error(), "rackreach plan FILE, and apply it"
	}
	if again.Hash != p.Plan.Hash {
		return fmt.Sprintf("it would be carried out as plan %s here, not %.80s", again.Hash, p.Plan.Hash), "use one release of rackreach for the command line, the coordinator and the agent"
	}
	ours, err := json.Marshal(again)
	theirs, errTheirs := json.Marshal(p.Plan)
	if err = errors.Join(err, errTheirs); err != nil {
		return err.Error(), "plan it anew"
	}
	if !bytes.Equal(ours, theirs) {
		return fmt.Sprintf("what it says of its devices is not what its hash %.80s stands for", p.Plan.Hash), "plan it anew"
	}
	return "", ""
}
