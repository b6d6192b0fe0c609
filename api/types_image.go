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
