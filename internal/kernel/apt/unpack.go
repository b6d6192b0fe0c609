package apt

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/op"
)

// Bounds of what is unpacked from a package.
const (
	maxFiles = 100_000
	maxBytes = 4 << 30
)

// Unpack writes the boot and lib/modules directories of a package into dir. Nothing else is unpacked, no link is made,
// and nothing is written outside of dir.
func Unpack(ctx context.Context, deb, dir string) (err error) {
	name := filepath.Base(deb)
	stage := op.Begin(ctx, "unpack", name)
	defer func() { err = stage.End(err) }()

	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	defer root.Close()

	running, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := command(running, "", "dpkg-deb", "--fsys-tarfile", deb)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	readErr := unpackTar(io.TeeReader(stdout, stage), root)
	cut := errors.Is(readErr, io.ErrUnexpectedEOF) // dpkg-deb ends too early, and says why
	if readErr != nil && !cut {
		cancel() // it would wait for its reader
	}
	waitErr := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case readErr != nil && !cut:
		return fmt.Errorf("unpack %s: %w", name, fsutil.NoSpace(readErr))
	case waitErr != nil:
		return errdefs.New(errdefs.ErrInvalid, "unpack %s: dpkg-deb: %s", name, lastLine(stderr.Bytes(), waitErr))
	case cut:
		return errdefs.New(errdefs.ErrInvalid, "unpack %s: it is truncated", name)
	}
	return nil
}

// unpackTar writes the wanted regular files of a tar stream below root, and reads the stream to its end.
func unpackTar(r io.Reader, root *os.Root) error {
	t := tar.NewReader(r)
	var files int
	var bytes int64
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err := io.Copy(io.Discard, r) // padding
			return err
		}
		if err != nil {
			return errdefs.As(errdefs.ErrInvalid, err)
		}
		name, ok := wanted(h)
		if !ok {
			continue
		}
		files, bytes = files+1, bytes+h.Size
		if files > maxFiles || bytes > maxBytes {
			return errdefs.New(errdefs.ErrInvalid, "%q is more than a kernel package has", h.Name)
		}
		if err := write(root, name, t); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

// wanted returns where an entry belongs, "boot/..." or "lib/modules/...", wherever the package has its lib.
func wanted(h *tar.Header) (string, bool) {
	name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	name = strings.TrimPrefix(name, "usr/")
	kernel := strings.HasPrefix(name, "boot/") || strings.HasPrefix(name, "lib/modules/")
	return name, kernel && h.Typeflag == tar.TypeReg
}

func write(root *os.Root, name string, content io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}
