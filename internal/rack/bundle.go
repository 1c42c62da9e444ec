package rack

import "fmt"

// Nobody has signed a bundle, or nobody who is trusted: its images are used since an
// operator said so (--allow-unsigned).
const Nobody = "nobody"

// BundleSentence says in plain words where images come from and who vouches for them;
// empty when they are made up for a simulation.
func BundleSentence(bundle, signedBy string) string {
	switch {
	case bundle == "":
		return ""
	case signedBy == "" || signedBy == Nobody:
		return fmt.Sprintf("images of the UNSIGNED bundle %s (--allow-unsigned)", bundle)
	}
	return fmt.Sprintf("images of bundle %s, signed by key %s", bundle, signedBy)
}
