package reply

// cumulus is Cumulus Linux: option 239 is the URL of a script, which must contain
// CUMULUS-AUTOPROVISIONING (NVIDIA, Zero Touch Provisioning; xCAT).
func (e *Entry) cumulus(b *boots) {
	if e.ProvisionURL != "" {
		b.also(optionScript, []byte(e.ProvisionURL))
	}
}
