package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("STORE_TEST_WRITE"); path != "" {
		writeForever(path)
	}
	goleak.VerifyTestMain(m)
}

func openAt(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func openNew(t testing.TB) *Store { return openAt(t, filepath.Join(t.TempDir(), "a ?#%.db")) }

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func image(id, name string) api.Image   { return api.Image{ID: id, Name: name, Kind: "managed"} }
func kernel(id, name string) api.Kernel { return api.Kernel{ID: id, Name: name} }

func vmOf(id, name, imageID, kernelID string) VMRecord {
	return VMRecord{VM: api.VM{ID: id, Name: name, ImageID: imageID}, KernelID: kernelID}
}

// populated has the kernel k1, the images i1 and i2, and the VM v1 of i1 and k1.
func populated(t testing.TB) *Store {
	s := openNew(t)
	ctx := t.Context()
	must(t,
		s.PutKernel(ctx, kernel("k1", "linux")), s.PutImage(ctx, image("i1", "base")), s.PutImage(ctx, image("i2", "other")),
		s.PutVM(ctx, vmOf("v1", "one", "i1", "k1")))
	return s
}

// names lists the records as kind:id=name.
func names(t testing.TB, s *Store) string {
	t.Helper()
	images, err1 := s.Images(t.Context())
	kernels, err2 := s.Kernels(t.Context())
	vms, err3 := s.VMs(t.Context())
	must(t, err1, err2, err3)
	var all []string
	for _, k := range kernels {
		all = append(all, "kernel:"+k.ID+"="+k.Name)
	}
	for _, i := range images {
		all = append(all, "image:"+i.ID+"="+i.Name)
	}
	for _, v := range vms {
		all = append(all, "vm:"+v.ID+"="+v.Name+"("+v.Image+","+v.Kernel+")")
	}
	return strings.Join(all, " ")
}

func TestRecords(t *testing.T) {
	const before = "kernel:k1=linux image:i1=base image:i2=other vm:v1=one(base,linux)"
	for _, c := range []struct {
		name  string
		do    func(context.Context, *Store) error
		class error
		text  string
		after string // empty: as before
	}{
		{
			name:  "image name taken",
			do:    func(ctx context.Context, s *Store) error { return s.PutImage(ctx, image("i3", "base")) },
			class: errdefs.ErrExists, text: `record image: image "base" exists`,
		},
		{
			name:  "image id taken",
			do:    func(ctx context.Context, s *Store) error { return s.PutImage(ctx, image("i1", "new")) },
			class: errdefs.ErrExists, text: `record image: image "base" exists with the id i1`,
		},
		{
			name:  "delete unused image",
			do:    func(ctx context.Context, s *Store) error { return s.DeleteImage(ctx, "i2") },
			after: "kernel:k1=linux image:i1=base vm:v1=one(base,linux)",
		},
		{
			name:  "delete absent image",
			do:    func(ctx context.Context, s *Store) error { return s.DeleteImage(ctx, "i9") },
			class: errdefs.ErrNotFound, text: `delete image: image "i9" not found`,
		},
		{
			name:  "delete used image",
			do:    func(ctx context.Context, s *Store) error { return s.DeleteImage(ctx, "i1") },
			class: errdefs.ErrInUse, text: `delete image: the image is used by vm one`,
		},
		{
			name:  "replace unused image",
			do:    func(ctx context.Context, s *Store) error { return s.ReplaceImage(ctx, image("i3", "other")) },
			after: "kernel:k1=linux image:i1=base image:i3=other vm:v1=one(base,linux)",
		},
		{
			name:  "replace used image",
			do:    func(ctx context.Context, s *Store) error { return s.ReplaceImage(ctx, image("i3", "base")) },
			after: "kernel:k1=linux image:i3=base image:i1=base-i1 image:i2=other vm:v1=one(base-i1,linux)",
		},
		{
			name:  "replace an image by itself",
			do:    func(ctx context.Context, s *Store) error { return s.ReplaceImage(ctx, image("i1", "base")) },
			after: before,
		},
		{
			name:  "replace nothing",
			do:    func(ctx context.Context, s *Store) error { return s.ReplaceImage(ctx, image("i3", "third")) },
			after: "kernel:k1=linux image:i1=base image:i2=other image:i3=third vm:v1=one(base,linux)",
		},
		{
			name:  "delete used kernel",
			do:    func(ctx context.Context, s *Store) error { return s.DeleteKernel(ctx, "k1") },
			class: errdefs.ErrInUse, text: `delete kernel: the kernel is used by vm one`,
		},
		{
			name: "delete kernel that images name",
			do: func(ctx context.Context, s *Store) error {
				i := image("i2", "other")
				i.Kernel = "linux"
				return errors.Join(s.DeleteVM(ctx, "v1"), s.ReplaceImage(ctx, i), s.DeleteKernel(ctx, "k1"))
			},
			class: errdefs.ErrInUse, text: `delete kernel: the kernel is used by image other`,
			after: "kernel:k1=linux image:i1=base image:i2=other",
		},
		{
			name: "replace used kernel",
			do:   func(ctx context.Context, s *Store) error { return s.ReplaceKernel(ctx, kernel("k2", "linux")) },
			after: "kernel:k2=linux kernel:k1=linux-k1 image:i1=base image:i2=other " +
				"vm:v1=one(base,linux-k1)",
		},
		{
			name:  "vm name taken",
			do:    func(ctx context.Context, s *Store) error { return s.PutVM(ctx, vmOf("v2", "one", "i1", "k1")) },
			class: errdefs.ErrExists, text: `record vm: vm "one" exists`,
		},
		{
			name:  "vm of no image",
			do:    func(ctx context.Context, s *Store) error { return s.PutVM(ctx, vmOf("v2", "two", "i9", "k1")) },
			class: errdefs.ErrNotFound, text: `record vm: image "" (id "i9") not found`,
		},
		{
			name:  "vm of no kernel",
			do:    func(ctx context.Context, s *Store) error { return s.PutVM(ctx, vmOf("v2", "two", "i1", "k9")) },
			class: errdefs.ErrNotFound, text: `record vm: kernel "" (id "k9") not found`,
		},
		{
			name:  "rename vm",
			do:    func(ctx context.Context, s *Store) error { return s.UpdateVM(ctx, vmOf("v1", "uno", "i2", "k1")) },
			after: "kernel:k1=linux image:i1=base image:i2=other vm:v1=uno(other,linux)",
		},
		{
			name: "rename vm to a taken name",
			do: func(ctx context.Context, s *Store) error {
				return errors.Join(s.PutVM(ctx, vmOf("v2", "two", "i1", "k1")), s.UpdateVM(ctx, vmOf("v2", "one", "i1", "k1")))
			},
			class: errdefs.ErrExists, text: `update vm: vm "one" exists`,
			after: before + " vm:v2=two(base,linux)",
		},
		{
			name:  "update absent vm",
			do:    func(ctx context.Context, s *Store) error { return s.UpdateVM(ctx, vmOf("v9", "x", "i1", "k1")) },
			class: errdefs.ErrNotFound, text: `update vm: vm "v9" not found`,
		},
		{
			name: "delete vm twice",
			do: func(ctx context.Context, s *Store) error {
				return errors.Join(s.DeleteVM(ctx, "v1"), s.DeleteVM(ctx, "v1"))
			},
			after: "kernel:k1=linux image:i1=base image:i2=other",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := populated(t)
			err := c.do(t.Context(), s)
			if !errors.Is(err, c.class) {
				t.Fatalf("got %v, want class %v", err, c.class)
			}
			if err != nil && err.Error() != c.text {
				t.Errorf("got text %q, want %q", err, c.text)
			}
			want := c.after
			if want == "" {
				want = before
			}
			if diff := cmp.Diff(want, names(t, s)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestInUseNamesFew(t *testing.T) {
	s := populated(t)
	for _, c := range "abcdefghij" {
		must(t, s.PutVM(t.Context(), vmOf(string(c), "vm-"+string(c), "i2", "k1")))
	}
	err := s.DeleteImage(t.Context(), "i2")
	want := "delete image: the image is used by vms vm-a, vm-b, vm-c, vm-d, vm-e, vm-f, vm-g, vm-h, ..."
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestRetiredNameIsValid(t *testing.T) {
	long := strings.Repeat("n", 64)
	if got := retired(long, "0123456789ab"); len(got) != 64 || !strings.HasSuffix(got, "n-0123456789ab") {
		t.Errorf("got %q", got)
	}
}

func TestRecordsSurviveReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "banger.db")
	s, err := Open(t.Context(), path)
	must(t, err)
	want := api.Image{
		ID: "i1", Name: "base", Kind: "managed", Source: "build:x", Kernel: "linux",
		Rootfs: api.File{Path: "/r", Size: 1 << 40, SHA256: "ab"}, WorkSeed: &api.File{Path: "/s"},
		Config: api.ImageConfig{Env: []string{"A=\"b\"\n", "ü=ü"}}, Labels: map[string]string{"a": "b"},
	}
	must(t, s.PutImage(t.Context(), want), s.Close())
	got, err := openAt(t, path).Images(t.Context())
	must(t, err)
	if diff := cmp.Diff([]api.Image{want}, got); diff != "" {
		t.Error(diff)
	}
}

func TestVMRecordRoundTrip(t *testing.T) {
	s := populated(t)
	want := vmOf("v2", "two", "i1", "k1")
	want.Image, want.Kernel, want.OwnerPID, want.OwnerStart, want.Deleting = "base", "linux", 7, 1<<63, true
	want.Exit = &api.VMExit{Reason: "crashed", Console: []string{"x"}}
	must(t, s.PutVM(t.Context(), want))
	all, err := s.VMs(t.Context())
	must(t, err)
	if diff := cmp.Diff(want, all[1]); diff != "" {
		t.Error(diff)
	}
}

func TestFilesArePrivate(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "banger.db"))
	must(t, s.PutImage(t.Context(), image("i1", "base")))
	files, err := filepath.Glob(filepath.Join(filepath.Dir(dbPath(t, s)), "*"))
	must(t, err)
	if len(files) < 2 {
		t.Errorf("files %v, want the database and its log", files)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		must(t, err)
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", f, info.Mode())
		}
	}
}

func dbPath(t *testing.T, s *Store) (path string) {
	t.Helper()
	var n int
	var name string
	must(t, s.db.QueryRowContext(t.Context(), "PRAGMA database_list").Scan(&n, &name, &path))
	return path
}

func TestPragmas(t *testing.T) {
	s := openNew(t)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		must(t, s.db.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
		if got != want {
			t.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	newer := filepath.Join(dir, "newer.db")
	s, err := Open(t.Context(), newer)
	must(t, err)
	_, err = s.db.ExecContext(t.Context(), "PRAGMA user_version = 99")
	must(t, err, s.Close())
	damaged := filepath.Join(dir, "damaged.db")
	must(t, os.WriteFile(damaged, []byte(strings.Repeat("not a database ", 1000)), 0o600))
	for _, c := range []struct{ name, path, text string }{
		{"newer schema", newer, "the schema has version 99, this banger knows versions up to 1"},
		{"damaged", damaged, "file is not a database"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(t.Context(), c.path)
			if !errors.Is(err, errdefs.ErrUnavailable) || errdefs.Hint(err) == "" {
				t.Fatalf("got %v, want unavailable with a hint", err)
			}
			if !strings.HasPrefix(err.Error(), "open store "+c.path+": ") || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := Open(t.Context(), filepath.Join(dir, "absent", "x.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func TestCancelledWrite(t *testing.T) {
	s := openNew(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.PutImage(ctx, image("i1", "base")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := names(t, s); got != "" {
		t.Errorf("records %q", got)
	}
}
