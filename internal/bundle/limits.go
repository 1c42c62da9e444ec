package bundle

// Bounds of what comes from elsewhere.
const (
	maxManifest   = 4 << 20  // bytes of a manifest or an index, as of other registries' clients
	maxSignature  = 64 << 10 // bytes of a signature's manifest, and of its payload
	maxArtifacts  = 4096     // of a release; the files of an ESXi image are about 150
	maxPlatforms  = 64       // of an artifact
	maxName       = 128      // bytes of a name
	maxReleases   = 1024     // manifests in a layout, signatures included
	maxSignatures = 32       // of a release that are looked at
	maxKeys       = 256      // that are trusted
	maxKeyFile    = 16 << 10 // bytes
	maxFiles      = 16 << 10 // of a tar
	maxBlob       = 1 << 40  // bytes of a blob
	maxTotal      = 8 << 40  // bytes of a release
	maxShown      = 80       // bytes of a stranger's text in a message
)
