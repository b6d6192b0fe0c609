package api

// ImagePull asks for an image from elsewhere.
type ImagePull struct {
	Reference string `json:"reference" doc:"a name in a catalog, a recipe, or an OCI reference: NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG]; paths are absolute" minLength:"1" maxLength:"4096"`
	Name      string `json:"name,omitempty" doc:"default: made of the reference"`
	Platform  string `json:"platform,omitempty" doc:"os/arch[/variant]; default: linux on this machine's processor"`
	Insecure  bool   `json:"insecure,omitempty" doc:"the registry may speak plain HTTP or show a certificate that cannot be verified"`
	CAFile    string `json:"ca_file,omitempty" doc:"absolute path of PEM certificates that are trusted besides the system's"`
	Policy    string `json:"policy,omitempty" enum:"missing,always,never," doc:"when the registry is asked: for what is not here, always, or never; default: always, unless it cannot be reached"`
	Kernel    string `json:"kernel,omitempty" doc:"reference of the kernel that it boots with; default: the configured one"`
	Force     bool   `json:"force,omitempty" doc:"make it again, and replace an image of that name"`
}

// ImageRegister asks for an image of files that stay the user's.
type ImageRegister struct {
	Name     string `json:"name" doc:"of the image"`
	Rootfs   string `json:"rootfs" doc:"absolute path of an ext4 file system"`
	WorkSeed string `json:"work_seed,omitempty" doc:"absolute path of one whose root is the guests' /root"`
	Kernel   string `json:"kernel,omitempty" doc:"reference of the kernel that it boots with; default: the configured one"`
	Force    bool   `json:"force,omitempty" doc:"replace an image of that name"`
}

// ImageTag asks for another name of an image.
type ImageTag struct {
	Name  string `json:"name" doc:"the new name"`
	Force bool   `json:"force,omitempty" doc:"replace an image of that name"`
}

// ImageSeed asks for a work seed made of an image's root file system.
type ImageSeed struct {
	Force bool `json:"force,omitempty" doc:"make it anew where there is one"`
}

// ImageImport says what is made of an archive that is sent as the body of the request.
type ImageImport struct {
	Name     string `json:"name" query:"name" required:"true" doc:"of the image"`
	Tag      string `json:"tag,omitempty" query:"tag" doc:"which image of the archive, where it has several"`
	Platform string `json:"platform,omitempty" query:"platform" doc:"os/arch[/variant]; default: linux on this machine's processor"`
	Kernel   string `json:"kernel,omitempty" query:"kernel" doc:"reference of the kernel that it boots with; default: the configured one"`
	Force    bool   `json:"force,omitempty" query:"force" doc:"replace an image of that name"`
}

// ImageExport asks for a file with an image.
type ImageExport struct {
	File   string `json:"file" doc:"absolute path of the file, which must not be there" minLength:"1"`
	Format string `json:"format,omitempty" enum:"oci,bundle," doc:"oci, the default: an OCI archive"`
	Force  bool   `json:"force,omitempty" doc:"replace the file"`
}

// ImageExported says what was written.
type ImageExported struct {
	File   string `json:"file"`
	Size   int64  `json:"size" doc:"bytes"`
	Digest string `json:"digest" doc:"of the manifest in an OCI archive; sha256 of a bundle"`
}

// Pruned says what a removal of unused things freed.
type Pruned struct {
	Freed int64 `json:"freed" doc:"bytes"`
}

// Usage is what a cache takes on disk.
type Usage struct {
	Blobs   int64 `json:"blobs" doc:"bytes of whole layers and documents"`
	Partial int64 `json:"partial" doc:"bytes of downloads that run or may be resumed"`
}
