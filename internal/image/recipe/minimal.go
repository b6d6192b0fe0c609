package recipe

import (
	"archive/tar"
	"context"
	"debug/elf"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/op"
)

// Minimal is a root file system with nothing but busybox, for quick tests. The guest agent is its init.
type Minimal struct {
	busybox string // a static executable of this machine
}

// NewMinimal uses the busybox of Debian's package busybox-static.
func NewMinimal() *Minimal { return &Minimal{busybox: "/bin/busybox"} }

// Name implements Recipe.
func (*Minimal) Name() string { return "minimal" }

// Config implements Recipe.
func (*Minimal) Config() api.ImageConfig {
	return api.ImageConfig{
		Cmd: []string{"/bin/sh", "-l"},
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}
}

// Open implements Recipe.
func (m *Minimal) Open(ctx context.Context, _ string) (Stream, error) {
	busybox, err := os.Open(m.busybox)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errdefs.WithHint(errdefs.New(errdefs.ErrUnavailable, "find busybox: %w", err), "install the package busybox-static")
	}
	if err != nil {
		return nil, fmt.Errorf("find busybox: %w", err)
	}
	applets, err := m.inspect(ctx, busybox)
	if err != nil {
		return nil, errors.Join(err, busybox.Close())
	}
	r, w := io.Pipe()
	p := &pipeStream{PipeReader: r, done: make(chan struct{})}
	stage := op.Begin(ctx, "busybox", m.busybox)
	go func() {
		defer close(p.done)
		err := errors.Join(writeMinimal(w, busybox, applets), busybox.Close())
		_ = w.CloseWithError(stage.End(err)) // returns nil
	}()
	return p, nil
}

// pipeStream is a stream whose writer is a goroutine.
type pipeStream struct {
	*io.PipeReader
	done chan struct{}
}

// Close implements Stream. What went wrong with the writer, Read has said.
func (p *pipeStream) Close() error {
	err := p.PipeReader.Close()
	<-p.done
	return err
}

// inspect checks that busybox runs alone and returns the paths that its applets usually have, without a first slash.
func (m *Minimal) inspect(ctx context.Context, f *os.File) ([]string, error) {
	const hint = "install the package busybox-static"
	e, err := elf.NewFile(f)
	if err != nil {
		return nil, errdefs.WithHint(errdefs.New(errdefs.ErrUnavailable, "check %s: it is no executable: %w", m.busybox, err), hint)
	}
	if slices.ContainsFunc(e.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return nil, errdefs.WithHint(errdefs.New(errdefs.ErrUnavailable, "check %s: it is not static", m.busybox), hint)
	}
	out, err := exec.CommandContext(ctx, m.busybox, "--list-full").Output()
	if err != nil {
		return nil, fmt.Errorf("list the applets of %s: %w", m.busybox, err)
	}
	applets := strings.Fields(string(out))
	slices.Sort(applets)
	return slices.Compact(applets), nil
}

//go:embed minimal.profile
var minimalProfile string

// minimalTree is what the root file system holds beside busybox and its applets. A name that ends with a slash is a
// directory; an arrow makes a symbolic link.
var minimalTree = []struct {
	name    string
	mode    int64
	content string
}{
	{"usr/", 0o755, ""},
	{"usr/bin/", 0o755, ""},
	{"usr/sbin/", 0o755, ""},
	{"usr/lib/", 0o755, ""},
	{"usr/lib/modules/", 0o755, ""},
	{"usr/local/", 0o755, ""},
	{"usr/local/bin/", 0o755, ""},
	{"bin", 0o777, "-> usr/bin"},
	{"sbin", 0o777, "-> usr/sbin"},
	{"lib", 0o777, "-> usr/lib"},
	{"dev/", 0o755, ""},
	{"proc/", 0o555, ""},
	{"sys/", 0o555, ""},
	{"run/", 0o755, ""},
	{"tmp/", 0o1777, ""},
	{"home/", 0o755, ""},
	{"mnt/", 0o755, ""},
	{"opt/", 0o755, ""},
	{"srv/", 0o755, ""},
	{"var/", 0o755, ""},
	{"var/lib/", 0o755, ""},
	{"var/log/", 0o755, ""},
	{"var/tmp/", 0o1777, ""},
	{"var/cache/", 0o755, ""},
	{"var/run", 0o777, "-> ../run"},
	{"etc/", 0o755, ""},
	{"etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"},
	{"etc/shadow", 0o600, "root:*:::::::\nnobody:*:::::::\n"},
	{"etc/group", 0o644, "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"},
	{"etc/shells", 0o644, "/bin/sh\n/bin/ash\n"},
	{"etc/hosts", 0o644, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"},
	{"etc/nsswitch.conf", 0o644, "hosts: files dns\n"},
	{"etc/os-release", 0o644, "ID=banger-minimal\nNAME=\"banger minimal\"\nPRETTY_NAME=\"banger minimal (busybox)\"\n"},
	{"etc/mtab", 0o777, "-> ../proc/self/mounts"},
	{"etc/profile", 0o644, minimalProfile},
	{"root/", 0o700, ""},
	{"root/.profile", 0o644, "# Read by login shells, after /etc/profile.\nalias ll='ls -l'\n"},
}

// writeMinimal writes the archive. Every time in it is that of the busybox executable, which is the package's, so that
// equal packages give equal images.
func writeMinimal(w io.WriteCloser, busybox *os.File, applets []string) error {
	info, err := busybox.Stat()
	if err != nil {
		return err
	}
	archive := &archive{Writer: tar.NewWriter(w), time: info.ModTime().Truncate(time.Second)}
	for _, e := range minimalTree {
		if err := archive.add(e.name, e.mode, e.content); err != nil {
			return err
		}
	}
	if err := archive.file("usr/bin/busybox", 0o755, info.Size(), busybox); err != nil {
		return err
	}
	for _, applet := range applets {
		dir := "usr/bin"
		if path.Base(path.Dir(applet)) == "sbin" {
			dir = "usr/sbin"
		}
		if name := path.Base(applet); name != "busybox" {
			if err := archive.add(path.Join(dir, name), 0o777, "-> /usr/bin/busybox"); err != nil {
				return err
			}
		}
	}
	return archive.Close()
}

// archive writes entries that are all root's and of one time.
type archive struct {
	*tar.Writer
	time time.Time
}

func (a *archive) add(name string, mode int64, content string) error {
	if strings.HasSuffix(name, "/") {
		return a.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode, ModTime: a.time})
	}
	if target, ok := strings.CutPrefix(content, "-> "); ok {
		return a.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Mode: mode, Linkname: target, ModTime: a.time})
	}
	return a.file(name, mode, int64(len(content)), strings.NewReader(content))
}

func (a *archive) file(name string, mode, size int64, content io.Reader) error {
	if err := a.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size, ModTime: a.time}); err != nil {
		return err
	}
	_, err := io.Copy(a.Writer, content)
	return err
}
