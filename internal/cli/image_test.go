package cli

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/banger-dev/banger/api"
)

// cmdDockerArchive is `dockerarchive FILE`: it writes an image of one file, as docker save does.
func cmdDockerArchive(ts *testscript.TestScript, _ bool, args []string) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	ts.Check(w.WriteHeader(&tar.Header{Name: "bin/app", Typeflag: tar.TypeReg, Mode: 0o755, Size: 3}))
	_, err := w.Write([]byte("app"))
	ts.Check(err)
	ts.Check(w.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	ts.Check(err)
	image, err := mutate.AppendLayers(empty.Image, layer)
	ts.Check(err)
	config, err := image.ConfigFile()
	ts.Check(err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	config.Config = v1.Config{Cmd: []string{"/bin/app"}, ExposedPorts: map[string]struct{}{"80/tcp": {}}}
	image, err = mutate.ConfigFile(image, config)
	ts.Check(err)
	ts.Check(tarball.WriteToFile(ts.MkAbs(args[0]), name.MustParseReference("app:1"), image))
}

// imageNamed reads an image's record through the command.
func imageNamed(ts *testscript.TestScript, ref string) (i api.Image) {
	ts.Check(ts.Exec("banger", "image", "show", "--json", ref))
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &i))
	return i
}

// cmdDamage is `damage REF`: it changes a byte of the image's root file system.
func cmdDamage(ts *testscript.TestScript, _ bool, args []string) {
	path := imageNamed(ts, args[0]).Rootfs.Path
	ts.Check(os.Chmod(path, 0o600))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.WriteAt([]byte{'x'}, 100)
	ts.Check(err)
	ts.Check(f.Close())
}

// cmdExportRootfs is `export-rootfs REF FILE`: it copies the image's root file system.
func cmdExportRootfs(ts *testscript.TestScript, _ bool, args []string) {
	data, err := os.ReadFile(imageNamed(ts, args[0]).Rootfs.Path)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o600))
}
