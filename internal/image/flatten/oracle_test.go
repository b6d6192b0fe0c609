package flatten

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/banger-dev/banger/internal/ext4/ext4test"
)

// These tests compare with what umoci unpacks, as this machine's kernel shows both. They need root, loop devices and
// umoci: BANGER_TEST_ORACLE=1 runs them.

func needOracle(t *testing.T) {
	t.Helper()
	if os.Getenv("BANGER_TEST_ORACLE") != "1" {
		t.Skip("BANGER_TEST_ORACLE is not 1: umoci and mounting need root")
	}
	if _, err := exec.LookPath("umoci"); err != nil {
		t.Fatalf("%v; scripts/setup.sh test installs it", err)
	}
}

func TestOracleGenerated(t *testing.T) {
	needOracle(t)
	generator := rapid.Custom(drawStack)
	for i := range 60 {
		t.Run(fmt.Sprint(i), func(t *testing.T) { compareWithOracle(t, generator.Example(1000+i)) })
	}
}

func TestOracleNamed(t *testing.T) {
	needOracle(t)
	for name, s := range namedStacks(t) {
		t.Run(name, func(t *testing.T) { compareWithOracle(t, s) })
	}
}

// asInvented corrects a directory that umoci made because it was missing: mkdir lets it inherit the set-group-ID bit and
// the ACL of the directory above. No layer says so, and what is made should not depend on who makes it.
func asInvented(f ext4test.File) ext4test.File {
	f.Mode, f.GID = 0o040755, 0
	clear(f.Xattrs)
	return f
}

// compareWithOracle lets both make a tree of the same layers.
func compareWithOracle(t *testing.T, s stack) {
	t.Helper()
	archives := archives(t, s.layers...)
	started := time.Now()
	oracle := scan(t, unpack(t, archives))
	for _, p := range s.invented {
		if f, ok := oracle[p]; ok {
			oracle[p] = asInvented(f)
		}
	}
	rootfs, seed, err := mergeFiles(t, archives)
	if err != nil {
		t.Fatal(err)
	}
	e2fsck(t, rootfs, seed)
	ours := scan(t, mount(t, rootfs.Name()))
	mountPoint := ours["/root"]
	inodes := uint32(1 << 31) // of the seed, apart from those of the root file system
	for p, f := range scan(t, mount(t, seed.Name())) {
		f.Ino += inodes
		ours["/root"+p] = f
	}
	root := ours["/root"]
	mountPoint.Ino, mountPoint.Links = root.Ino, root.Links
	if diff := cmp.Diff(root, mountPoint); diff != "" {
		t.Errorf("/root and the root of the seed differ: %s", diff)
	}
	if _, ok := oracle["/root"]; !ok { // ours always has one, to mount the seed on
		if root.Mode != 0o040700 || root.Links != 2 {
			t.Errorf("/root was made up as %+v", root)
		}
		delete(ours, "/root")
	}
	reconcile(oracle, ours, started)
	if diff := cmp.Diff(oracle, ours); diff != "" {
		t.Errorf("(-oracle +image):\n%s\n%#v", diff, s)
	}
}

// reconcile takes out what need not agree.
func reconcile(oracle, ours map[string]ext4test.File, started time.Time) {
	links := countLinks(ours)
	for p, f := range ours {
		f.Links = links(p)
		f.Ino = 0
		ours[p] = f
	}
	across := make(map[uint32]int) // 1: has a name outside /root, 2: one inside
	for p, f := range oracle {
		side := 1
		if strings.HasPrefix(p, "/root/") {
			side = 2
		}
		across[f.Ino] |= side
	}
	links = countLinks(oracle)
	for p, f := range oracle {
		f.Links = links(p)
		if across[f.Ino] == 3 && f.Mode>>12 != 4 { // a hard link across file systems is a copy
			f.Links = ours[p].Links
		}
		if f.Sec >= started.Unix() && f.Sec < started.Unix()+3600 { // not a time of the image's: umoci made it up
			f.Sec, f.Nsec = ours[p].Sec, ours[p].Nsec
		}
		f.Ino = 0
		oracle[p] = f
	}
}

// countLinks returns a function that tells the links of a directory by what is in it, because not every host counts
// them alike, and because /root has two inodes.
func countLinks(files map[string]ext4test.File) func(p string) uint16 {
	dirs := make(map[string]uint16)
	for p, f := range files {
		if f.Mode>>12 == 4 {
			dirs[p] += 2
			if p != "" && p != "/root" {
				dirs[p[:strings.LastIndexByte(p, '/')]]++
			}
		}
	}
	return func(p string) uint16 {
		if n := dirs[p]; n != 0 {
			return n
		}
		return files[p].Links
	}
}

// unpack returns a directory with what umoci makes of an image.
func unpack(t *testing.T, archives [][]byte) string {
	t.Helper()
	layout, rootfs := t.TempDir(), filepath.Join(t.TempDir(), "rootfs")
	writeLayout(t, layout, archives)
	out, err := exec.CommandContext(t.Context(), "umoci", "raw", "unpack", "--image", layout+":test", rootfs).CombinedOutput()
	if err != nil {
		t.Fatalf("umoci: %v\n%s", err, out)
	}
	return rootfs
}

// writeLayout writes an image as the OCI image layout has it.
func writeLayout(t *testing.T, dir string, archives [][]byte) {
	t.Helper()
	type descriptor struct {
		MediaType   string            `json:"mediaType"`
		Digest      string            `json:"digest"`
		Size        int               `json:"size"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	blob := func(mediaType string, data []byte) descriptor {
		sum := fmt.Sprintf("%x", sha256.Sum256(data))
		writeFile(t, filepath.Join(dir, "blobs/sha256", sum), data)
		return descriptor{MediaType: "application/vnd.oci.image." + mediaType, Digest: "sha256:" + sum, Size: len(data)}
	}
	marshal := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	layers, ids := []descriptor{}, []string{}
	for _, data := range archives {
		d := blob("layer.v1.tar", data)
		layers, ids = append(layers, d), append(ids, d.Digest)
	}
	config := blob("config.v1+json", marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{}, "rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	}))
	manifest := blob("manifest.v1+json", marshal(map[string]any{"schemaVersion": 2, "config": config, "layers": layers}))
	manifest.Annotations = map[string]string{"org.opencontainers.image.ref.name": "test"}
	writeFile(t, filepath.Join(dir, "index.json"), marshal(map[string]any{"schemaVersion": 2, "manifests": []descriptor{manifest}}))
	writeFile(t, filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`))
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// mount mounts an image until the test ends.
func mount(t *testing.T, image string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-o", "loop,ro", image, dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v\n%s", err, out)
		}
	})
	return dir
}

// scan returns all that is in a directory, by path; the directory itself is "".
func scan(t *testing.T, dir string) map[string]ext4test.File {
	t.Helper()
	out := make(map[string]ext4test.File)
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := look(p)
		out[strings.TrimPrefix(p, dir)] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func look(p string) (ext4test.File, error) {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return ext4test.File{}, err
	}
	f := ext4test.File{
		Ino: uint32(st.Ino), Mode: uint16(st.Mode), UID: st.Uid, GID: st.Gid, Links: uint16(st.Nlink),
		Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec),
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		var data []byte
		data, err = os.ReadFile(p)
		f.Content, f.Size = string(data), st.Size
	case unix.S_IFLNK:
		f.Content, err = os.Readlink(p)
		f.Size = st.Size
	case unix.S_IFCHR, unix.S_IFBLK:
		f.Dev = fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	if err != nil {
		return f, err
	}
	f.Xattrs, err = readXattrs(p)
	return f, err
}

func readXattrs(p string) (map[string]string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(p, buf)
	if err != nil {
		return nil, fmt.Errorf("list extended attributes of %q: %w", p, err)
	}
	out := make(map[string]string)
	value := make([]byte, 64<<10)
	for name := range bytes.SplitSeq(bytes.TrimSuffix(buf[:n], []byte{0}), []byte{0}) {
		if len(name) == 0 {
			continue
		}
		n, err := unix.Lgetxattr(p, string(name), value)
		if err != nil {
			return nil, fmt.Errorf("read extended attribute %q of %q: %w", name, p, err)
		}
		out[string(name)] = string(value[:n])
	}
	return out, nil
}
