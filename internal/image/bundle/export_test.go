package bundle

// The parsers of manifests, for fuzzing.
var (
	ParseImage  = parseImage
	ParseKernel = parseKernel
)
