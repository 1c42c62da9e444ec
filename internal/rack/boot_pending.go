package rack

// BootPending reports whether a device that boots from the network is about to be given
// what it boots: it is waited for, or gets its ticket, and nothing keeps that from it. The
// firmware that asks meanwhile is to ask once more: with an address and nothing to boot it
// would start what its disk holds, and be waited for in vain.
func (r *Run) BootPending(device string) bool {
	d, ok := r.Rack.Device(device)
	s := r.Device(device)
	if !ok || r.Status != Imaging || s.Held != "" || s.Ticket.Open || s.Status == Ready || s.Status == Failed || s.Status == Skipped {
		return false
	}
	for _, step := range r.Platforms[d.Platform].Steps {
		if step.Name == s.Step {
			return step.Action == IssueTicket || step.Action == Wait && step.Until == DHCPPXE
		}
	}
	return false
}
