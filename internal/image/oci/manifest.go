package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

const (
	maxDocument = 4 << 20 // bytes of a manifest, index or configuration, as the distribution specification recommends
	maxLayers   = 1024    // of one image; docker stops at 127
)

// document is a manifest or an index as it was stored.
type document struct {
	digest v1.Hash
	kind   types.MediaType // what it was said to be; may be empty or too general
	raw    []byte
}

// parsed is a document that was read: exactly one of the fields is set.
type parsed struct {
	index    *v1.IndexManifest
	manifest *v1.Manifest
}

// parse reads a document. One that could be taken for both a manifest and an index is refused, and so is one that says to
// be something else than its descriptor or the registry said (CVE-2021-41190).
func parse(d document) (parsed, error) {
	var probe struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     types.MediaType `json:"mediaType"`
		Config        json.RawMessage `json:"config"`
		Layers        json.RawMessage `json:"layers"`
		Manifests     json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(d.raw, &probe); err != nil {
		return parsed{}, errdefs.New(errdefs.ErrInvalid, "manifest %s: %w", short(d.digest), err)
	}
	if probe.SchemaVersion == 1 || d.kind.IsSchema1() || probe.MediaType.IsSchema1() {
		return parsed{}, errdefs.WithHint(
			errdefs.New(errdefs.ErrInvalid, "manifest %s is of docker's schema 1, which cannot be verified and is not supported", short(d.digest)),
			"push the image again with a current docker, podman or skopeo")
	}
	kind := probe.MediaType
	if kind == "" {
		kind = d.kind
	} else if known(d.kind) && d.kind != kind {
		return parsed{}, errdefs.New(errdefs.ErrInvalid, "manifest %s says that it is %q, but was given as %q", short(d.digest), kind, d.kind)
	}
	isIndex, isManifest := probe.Manifests != nil, probe.Layers != nil || probe.Config != nil
	switch {
	case isIndex && isManifest:
		return parsed{}, errdefs.New(errdefs.ErrInvalid, "manifest %s is a manifest and an index at once", short(d.digest))
	case isIndex && (kind.IsIndex() || !known(kind)):
		return parseIndex(d)
	case isManifest && (isImageManifest(kind) || !known(kind)):
		return parseManifest(d)
	}
	return parsed{}, errdefs.New(errdefs.ErrInvalid, "manifest %s of type %q is not an image", short(d.digest), kind)
}

func isImageManifest(t types.MediaType) bool { return t.IsImage() }

// known tells whether a media type decides what a document is; servers of files say text/plain or application/json.
func known(t types.MediaType) bool { return t.IsIndex() || isImageManifest(t) || t.IsSchema1() }

func parseIndex(d document) (parsed, error) {
	index, err := v1.ParseIndexManifest(bytes.NewReader(d.raw))
	if err != nil {
		return parsed{}, errdefs.New(errdefs.ErrInvalid, "index %s: %w", short(d.digest), err)
	}
	return parsed{index: index}, nil
}

func parseManifest(d document) (parsed, error) {
	m, err := v1.ParseManifest(bytes.NewReader(d.raw))
	if err != nil {
		return parsed{}, errdefs.New(errdefs.ErrInvalid, "manifest %s: %w", short(d.digest), err)
	}
	return parsed{manifest: m}, nil
}

// checkManifest refuses what is no bootable image: artifacts of other kinds, layers that registries may not hold, and
// sizes that cannot be.
func checkManifest(m *v1.Manifest, l Limits) error {
	switch t := m.Config.MediaType; t {
	case types.OCIConfigJSON, types.DockerConfigJSON, "", "application/octet-stream":
	default:
		return errdefs.New(errdefs.ErrInvalid, "it is not a container image but an artifact of type %q", t)
	}
	if m.Config.Size <= 0 || m.Config.Size > maxDocument {
		return errdefs.New(errdefs.ErrInvalid, "its configuration has %d bytes, not 1 to %d", m.Config.Size, maxDocument)
	}
	if m.Config.Digest.Algorithm == "" {
		return errdefs.New(errdefs.ErrInvalid, "its configuration has no digest")
	}
	if len(m.Layers) > maxLayers {
		return errdefs.New(errdefs.ErrInvalid, "it has %d layers, more than %d", len(m.Layers), maxLayers)
	}
	for _, d := range m.Layers {
		if err := checkLayer(d, l); err != nil {
			return fmt.Errorf("layer %s: %w", short(d.Digest), err)
		}
	}
	return nil
}

func checkLayer(d v1.Descriptor, l Limits) error {
	switch {
	case !d.MediaType.IsDistributable() || d.MediaType == "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":
		return errdefs.New(errdefs.ErrInvalid, "it is not distributable (%s): its owner does not let registries hold it", d.MediaType)
	case !d.MediaType.IsLayer() && d.MediaType != "application/vnd.docker.image.rootfs.diff.tar.zstd":
		return errdefs.New(errdefs.ErrInvalid, "the type %q is not supported", d.MediaType)
	case d.Digest.Algorithm == "":
		return errdefs.New(errdefs.ErrInvalid, "it has no digest")
	case d.Size < 0 || d.Size > l.Layer:
		return errdefs.New(errdefs.ErrInvalid, "it has %d bytes, not 0 to %d", d.Size, l.Layer)
	}
	return nil
}

// configFile is the image configuration, as far as it matters here. See the OCI image specification, config.md.
type configFile struct {
	OS           string          `json:"os"`
	Architecture string          `json:"architecture"`
	Variant      string          `json:"variant"`
	Created      json.RawMessage `json:"created"` // builders have written many things here
	Config       struct {
		Entrypoint   []string            `json:"Entrypoint"`
		Cmd          []string            `json:"Cmd"`
		Env          []string            `json:"Env"`
		User         string              `json:"User"`
		WorkingDir   string              `json:"WorkingDir"`
		ExposedPorts map[string]struct{} `json:"ExposedPorts"`
		Labels       map[string]string   `json:"Labels"`
	} `json:"config"`
	RootFS struct {
		DiffIDs []v1.Hash `json:"diff_ids"`
	} `json:"rootfs"`
}

func parseConfig(raw []byte) (*configFile, error) {
	var c configFile
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, errdefs.New(errdefs.ErrInvalid, "configuration: %w", err)
	}
	return &c, nil
}

func (c *configFile) created() time.Time {
	var t time.Time
	if json.Unmarshal(c.Created, &t) != nil {
		return time.Time{}
	}
	return t
}

func (c *configFile) api() api.ImageConfig {
	return api.ImageConfig{
		Entrypoint:   c.Config.Entrypoint,
		Cmd:          c.Config.Cmd,
		Env:          c.Config.Env,
		User:         c.Config.User,
		Workdir:      c.Config.WorkingDir,
		ExposedPorts: slices.Sorted(maps.Keys(c.Config.ExposedPorts)),
		Labels:       c.Config.Labels,
	}
}

// checkPlatform refuses an image for another machine. Images from before platforms were written down pass.
func (c *configFile) checkPlatform(want v1.Platform) error {
	if c.OS == "" && c.Architecture == "" {
		return nil
	}
	have := v1.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}
	if _, ok := fit(want, have); !ok {
		return errdefs.New(errdefs.ErrInvalid, "it is for %s, not %s", printable(have.String()), platformName(want))
	}
	return nil
}

// short is how people see a digest: the first 12 digits.
func short(h v1.Hash) string {
	if len(h.Hex) < 12 {
		return h.Hex
	}
	return h.Hex[:12]
}
