package rack

// progress is the share of the device's steps, by weight, up to and with the
// completed one. Steps that are passed over count as done.
func (r *Run) progress(e Event) float64 {
	dev, _ := r.Rack.Device(e.Device)
	done, all, before := 0, 0, true
	for _, s := range r.Platforms[dev.Platform].Steps {
		all += s.Weight
		if before {
			done += s.Weight
		}
		if s.Name == e.Detail.Step && s.Phase == e.Phase {
			before = false
		}
	}
	if all == 0 || before {
		return 0
	}
	return float64(done) / float64(all)
}

// Progress is the share of a device's work that is done, 0 to 1: the weights of
// its completed steps, and of the running transfer of its image by the bytes
// that were sent.
func (r *Run) Progress(device string, sent, size int64) float64 {
	d := r.Device(device)
	dev, ok := r.Rack.Device(device)
	if !ok || size <= 0 || d.Status != Installing {
		return d.Progress
	}
	of, all := 0, 0
	for _, s := range r.Platforms[dev.Platform].Steps {
		all += s.Weight
		if s.Name == d.Step && s.Until == FetchedImage {
			of = s.Weight
		}
	}
	if all == 0 {
		return d.Progress
	}
	return min(1, d.Progress+float64(of)/float64(all)*float64(min(sent, size))/float64(size))
}
