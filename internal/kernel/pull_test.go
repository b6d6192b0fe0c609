package kernel_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/kernel/kerneltest"
)

// fakeApt makes apt's tools give the fixture's kernel as a package, and count downloads in a file.
func (f *fixture) fakeApt(t *testing.T, download string) (count func() int) {
	t.Helper()
	bin, log := t.TempDir(), filepath.Join(t.TempDir(), "downloads")
	tar := filepath.Join(t.TempDir(), "package")
	tree := filepath.Join(tar, "tree")
	for name, data := range kerneltest.Modules(version) {
		write(t, filepath.Join(tree, "usr/lib/modules", version, name), data)
	}
	write(t, filepath.Join(tree, "boot/vmlinuz-"+version), bzImage(t, version))
	image := "linux-image-" + version
	for name, script := range map[string]string{
		"apt-cache": fmt.Sprintf(`case "$4" in
linux-image-cloud-amd64) printf 'Package: %%s\nVersion: 1\nDepends: %s (= 1)\n' "$4";;
%s) printf 'Package: %%s\nVersion: 1\nSize: 3\nSHA256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n' "$4";;
*) exit 100;;
esac`, image, image),
		"apt-get":  fmt.Sprintf("echo x >> %s\n%s\nprintf abc > p.deb", log, download),
		"dpkg-deb": fmt.Sprintf("tar -C %s -c .", tree),
	} {
		write(t, filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"))
		if err := os.Chmod(filepath.Join(bin, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	return func() int {
		data, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return bytes.Count(data, []byte("\n"))
	}
}

func TestPull(t *testing.T) {
	f := newFixture(t)
	downloads := f.fakeApt(t, "")
	type result struct {
		k   api.Kernel
		err error
	}
	results := make(chan result)
	const pulls = 4
	for range pulls {
		go func() {
			k, err := f.Ensure(t.Context(), "debian-cloud")
			results <- result{k, err}
		}()
	}
	var k api.Kernel
	for range pulls {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
		}
		k = r.k
	}
	f.holds(t, k)
	if n := downloads(); n != 1 {
		t.Errorf("%d downloads", n)
	}
	if k.Version != version || !strings.HasPrefix(k.Source, "apt:linux-image-"+version+"=1 sha256:") {
		t.Errorf("Pull = %+v", k)
	}
	if again, err := f.Pull(t.Context(), api.KernelPull{Name: "debian-cloud", Force: true}); err != nil || again.ID != k.ID || downloads() != 2 {
		t.Errorf("Pull by force = %+v, %v", again, err)
	}
}

func TestPullCancelled(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	f.fakeApt(t, "echo > "+fifo+"; sleep 60")
	done := make(chan error, 1)
	go func() {
		_, err := f.Pull(ctx, api.KernelPull{Name: "debian-cloud"})
		done <- err
	}()
	if _, err := os.ReadFile(fifo); err != nil { // waits until the download runs
		t.Fatal(err)
	}
	waiting, leave := context.WithCancel(t.Context())
	leave()
	if _, err := f.Pull(waiting, api.KernelPull{Name: "debian-cloud"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a waiting pull: %v", err)
	}
	reason := errors.New("the user left")
	cancel(reason)
	if err := <-done; !errors.Is(err, reason) {
		t.Errorf("Pull: %v", err)
	}
	f.holds(t)
}

func TestUnknownKernels(t *testing.T) {
	f := newFixture(t)
	if _, err := f.Pull(t.Context(), api.KernelPull{Name: "plan9"}); !errors.Is(err, errdefs.ErrNotFound) || !strings.Contains(errdefs.Hint(err), "debian-cloud") {
		t.Errorf("Pull: %v (hint %q)", err, errdefs.Hint(err))
	}
	if _, err := f.Ensure(t.Context(), "plan9"); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("Ensure: %v", err)
	}
}
