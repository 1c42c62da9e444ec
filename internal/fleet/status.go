package fleet

// Status is where a fleet stands.
type Status string

// The states of a fleet.
const (
	Idle      Status = "idle"      // no rack was begun
	Imaging   Status = "imaging"   // and nothing keeps it from being completed
	Halted    Status = "halted"    // no further rack is begun, or all that can be done was done and a rack halted
	Completed Status = "completed" // every rack is, and every cable between them is open
)

// StatusOf says where a fleet stands, and why it does not stand further; the
// reason is empty when nothing is in the way. links are those of its backplane.
func StatusOf(f Spec, states []State, links []LinkState) (s Status, why string) {
	all := f.in(states)
	if halt := f.halt(all); halt != "" {
		return Halted, halt
	}
	var begun, finished int
	var away, bad []string
	for i := range all {
		switch all[i].phase() {
		case waiting:
			if !all[i].Connected {
				away = append(away, all[i].Rack)
			}
		case stopped:
			bad = append(bad, all[i].why())
			begun++
		case done:
			finished++
			begun++
		default:
			begun++
		}
	}
	switch {
	case len(all) == 0:
		return Idle, "it has no racks"
	case begun == 0 && len(away) > 0:
		return Idle, "the agents of these racks are not connected: " + few(away)
	case begun == 0:
		return Idle, ""
	case len(bad) > 0 && finished+len(bad) == len(all):
		return Halted, count(len(bad), "rack") + " of " + count(len(all), "rack") + " halted: " + few(bad)
	case finished < len(all) && len(away) > 0:
		return Imaging, "the agents of these racks are not connected: " + few(away)
	case finished < len(all):
		return Imaging, ""
	}
	var closed []string
	for _, l := range links {
		if l.State != LinkOpen {
			closed = append(closed, l.Note)
		}
	}
	if len(closed) > 0 {
		return Imaging, "every rack is completed, but not every cable between them is open (" + count(len(closed), "cable") + " of " + count(len(links), "cable") + " is not): " + few(closed)
	}
	return Completed, ""
}
