package reply

// eos is Arista EOS: option 67 is the whole URL of a script or of a configuration
// (Arista, Zero Touch Provisioning). A switch that has a configuration does not ask.
func (e *Entry) eos(b *boots) {
	if e.ProvisionURL != "" {
		b.load(e.ProvisionURL)
	}
}
