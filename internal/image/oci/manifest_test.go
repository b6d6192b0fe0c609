package oci

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/banger-dev/banger/internal/errdefs"
)

func TestParseRefuses(t *testing.T) {
	layer := `{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":1,"digest":"` + someDigest + `"}`
	for name, tt := range map[string]struct {
		raw  string
		kind types.MediaType
		text string
	}{
		"no JSON":                 {`<html>`, "", "invalid character"},
		"schema 1":                {`{"schemaVersion":1,"fsLayers":[]}`, "", "schema 1"},
		"schema 1 by its header":  {`{"schemaVersion":2,"layers":[]}`, types.DockerManifestSchema1Signed, "schema 1"},
		"manifest and index":      {`{"schemaVersion":2,"layers":[` + layer + `],"manifests":[]}`, "", "at once"},
		"says something else":     {`{"schemaVersion":2,"mediaType":"` + string(types.OCIImageIndex) + `","manifests":[]}`, types.OCIManifestSchema1, "was given as"},
		"index called a manifest": {`{"schemaVersion":2,"manifests":[]}`, types.OCIManifestSchema1, "not an image"},
		"neither":                 {`{"schemaVersion":2}`, "", "not an image"},
		"digest with a path":      {strings.ReplaceAll(`{"schemaVersion":2,"layers":[`+layer+`]}`, someDigest, "sha256:../../../../etc/passwd"), "", "hash"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(document{kind: tt.kind, raw: []byte(tt.raw), digest: mustHash([]byte(tt.raw))})
			if !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want something with %q", err, tt.text)
			}
		})
	}
}

func TestCheckManifestRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(m *v1.Manifest)
		text   string
	}{
		"artifact":             {func(m *v1.Manifest) { m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json" }, "helm"},
		"huge configuration":   {func(m *v1.Manifest) { m.Config.Size = maxDocument + 1 }, "configuration"},
		"no configuration":     {func(m *v1.Manifest) { m.Config = v1.Descriptor{} }, "configuration"},
		"foreign layer":        {func(m *v1.Manifest) { m.Layers[0].MediaType = types.DockerForeignLayer }, "not distributable"},
		"restricted layer":     {func(m *v1.Manifest) { m.Layers[0].MediaType = types.OCIRestrictedLayer }, "not distributable"},
		"layer of another use": {func(m *v1.Manifest) { m.Layers[0].MediaType = "application/vnd.in-toto+json" }, "not supported"},
		"negative size":        {func(m *v1.Manifest) { m.Layers[0].Size = -1 }, "-1 bytes"},
		"absurd size":          {func(m *v1.Manifest) { m.Layers[0].Size = 1 << 60 }, "bytes"},
		"no digest":            {func(m *v1.Manifest) { m.Layers[0].Digest = v1.Hash{} }, "no digest"},
		"too many layers":      {func(m *v1.Manifest) { m.Layers = make([]v1.Descriptor, maxLayers+1) }, "layers"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &v1.Manifest{
				Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Size: 1, Digest: mustHash(nil)},
				Layers: []v1.Descriptor{{MediaType: types.OCILayer, Size: 1, Digest: mustHash(nil)}},
			}
			if err := checkManifest(m, Limits{}.withDefaults()); err != nil {
				t.Fatal(err)
			}
			tt.change(m)
			err := checkManifest(m, Limits{}.withDefaults())
			if !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want something with %q", err, tt.text)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	at := func(platform string) v1.Descriptor {
		d := v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: mustHash([]byte(platform))}
		if platform != "" {
			p, err := v1.ParsePlatform(platform)
			if err != nil {
				t.Fatal(err)
			}
			d.Platform = p
		}
		return d
	}
	for name, tt := range map[string]struct {
		want  string
		index []string
		got   string // empty: none
	}{
		"exact":                        {"linux/arm64", []string{"linux/amd64", "linux/arm64"}, "linux/arm64"},
		"variant is implied":           {"linux/arm64", []string{"linux/arm64/v8"}, "linux/arm64/v8"},
		"other spelling":               {"linux/x86_64", []string{"linux/amd64"}, "linux/amd64"},
		"best variant below":           {"linux/arm/v7", []string{"linux/arm/v5", "linux/arm/v6", "linux/arm/v8"}, "linux/arm/v6"},
		"arm is v7":                    {"linux/arm", []string{"linux/arm/v6", "linux/arm/v7"}, "linux/arm/v7"},
		"no newer variant":             {"linux/arm/v6", []string{"linux/arm/v7"}, ""},
		"plain amd64 before v3":        {"linux/amd64", []string{"linux/amd64/v3", "linux/amd64"}, "linux/amd64"},
		"amd64 v3 when asked for":      {"linux/amd64/v3", []string{"linux/amd64", "linux/amd64/v2", "linux/amd64/v4"}, "linux/amd64/v2"},
		"other system":                 {"linux/amd64", []string{"windows/amd64:10.0.1"}, ""},
		"the first of two":             {"linux/amd64", []string{"linux/amd64", "linux/amd64"}, "linux/amd64"},
		"attestation":                  {"linux/amd64", []string{"unknown/unknown"}, ""},
		"without platform, if alone":   {"linux/amd64", []string{""}, ""},
		"without platform, not chosen": {"linux/amd64", []string{"", "linux/amd64"}, "linux/amd64"},
		"empty":                        {"linux/amd64", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := parsePlatform(tt.want)
			if err != nil {
				t.Fatal(err)
			}
			var index []v1.Descriptor
			for _, p := range tt.index {
				index = append(index, at(p))
			}
			got, err := choose(index, want)
			if alone := len(tt.index) == 1 && tt.index[0] == ""; alone || tt.got != "" {
				if err != nil || got.Digest != at(tt.got).Digest {
					t.Errorf("got %v, %v", got.Platform, err)
				}
				return
			}
			if !errors.Is(err, errdefs.ErrNotFound) {
				t.Errorf("got %v, %v", got.Platform, err)
			}
		})
	}
}

func TestPlatformRefuses(t *testing.T) {
	for _, s := range []string{"amd64", "linux/", "/amd64", "linux/arm/v7/x", "windows/amd64"} {
		if p, err := parsePlatform(s); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%q is taken as %v (%v)", s, p, err)
		}
	}
}

func TestConfigOfManyBuilders(t *testing.T) {
	for name, raw := range map[string]string{
		"nothing":         `{}`,
		"nulls":           `{"config":{"Entrypoint":null,"ExposedPorts":null,"Labels":null},"rootfs":null}`,
		"odd time":        `{"created":""}`,
		"unknown members": `{"config":{"Healthcheck":{"Test":["x"]},"OnBuild":[]},"history":[{"x":1}]}`,
	} {
		c, err := parseConfig([]byte(raw))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !c.created().IsZero() || len(c.api().Entrypoint) != 0 {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestIndexesInIndexes(t *testing.T) {
	for depth := 1; depth <= maxDepth; depth++ {
		t.Run(fmt.Sprint(depth), func(t *testing.T) {
			r, p := newRegistry(t), newPuller(t)
			want := makeImage(amd64, gzipLayer(1, 100))
			r.put(t, "app", "v1", want)
			d := want.descriptor()
			for n := range depth {
				raw := indexOf(d)
				r.putManifest(t, "app", fmt.Sprint("level", n), types.OCIImageIndex, raw)
				d = v1.Descriptor{MediaType: types.OCIImageIndex, Digest: mustHash(raw), Size: int64(len(raw))}
			}
			i, err := p.Resolve(t.Context(), Request{Reference: r.ref("app@" + d.Digest.String()), Platform: amd64})
			if depth == maxDepth {
				if !errors.Is(err, errdefs.ErrInvalid) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer i.Close()
			if i.Digest != want.digest() {
				t.Errorf("got %s", i.Digest)
			}
		})
	}
}
