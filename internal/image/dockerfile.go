package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/image/oci"
	"github.com/banger-dev/banger/internal/names"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/publish"
)

// builder is a program that makes an image of a Dockerfile and writes it into an archive.
type builder struct {
	program string
	build   []string // its arguments, to which the Dockerfile, the file for the image's id and the directory are added
	save    func(id, archive string) []string
}

// builders are tried in this order.
var builders = []builder{
	{"buildah", []string{"build", "--layers"}, func(id, archive string) []string { return []string{"push", "--quiet", id, "docker-archive:" + archive} }},
	{"podman", []string{"build", "--layers"}, func(id, archive string) []string { return []string{"save", "--output", archive, id} }},
	{"docker", []string{"build"}, func(id, archive string) []string { return []string{"save", "--output", archive, id} }},
}

// buildDockerfile makes an image of a Dockerfile and a directory, by whichever of buildah, podman and docker there is.
func (s *Service) buildDockerfile(ctx context.Context, req api.ImageBuild) (api.Image, error) {
	if err := names.Validate("image", req.Name); err != nil {
		return api.Image{}, err
	}
	for _, path := range []string{req.Dockerfile, req.Context} {
		if !filepath.IsAbs(path) {
			return api.Image{}, errdefs.New(errdefs.ErrInvalid, "build image %q: %q is not an absolute path", req.Name, path)
		}
	}
	spool, err := publish.New(s.dirs.Staging(), "build")
	if err != nil {
		return api.Image{}, err
	}
	i, err := s.runBuilder(ctx, req, spool)
	if err != nil {
		err = fmt.Errorf("build image %q: %w", req.Name, err)
	}
	return i, errors.Join(err, spool.Discard()) //nolint:contextcheck // the end of ctx is no reason to leave something
}

func (s *Service) runBuilder(ctx context.Context, req api.ImageBuild, spool *publish.Staging) (api.Image, error) {
	b, err := findBuilder()
	if err != nil {
		return api.Image{}, err
	}
	idFile, archive := spool.Path("id"), spool.Path("archive")
	arguments := append(b.build[:len(b.build):len(b.build)], "--file", req.Dockerfile, "--iidfile", idFile, req.Context)
	if err := run(ctx, b.program, arguments...); err != nil {
		return api.Image{}, err
	}
	id, err := os.ReadFile(idFile)
	if err != nil {
		return api.Image{}, err
	}
	if err := run(ctx, b.program, b.save(strings.TrimSpace(string(id)), archive)...); err != nil {
		return api.Image{}, err
	}
	src, err := s.puller.Resolve(ctx, oci.Request{Reference: "docker-archive:" + archive})
	if err != nil {
		return api.Image{}, err
	}
	src.Reference = "dockerfile:" + req.Dockerfile
	i, err := s.publishAs(ctx, src, req.Name, api.ImagePull{Force: req.Force})
	return i, errors.Join(err, src.Close())
}

func findBuilder() (builder, error) {
	var known []string
	for _, b := range builders {
		if _, err := exec.LookPath(b.program); err == nil {
			return b, nil
		}
		known = append(known, b.program)
	}
	return builder{}, errdefs.WithHint(errdefs.New(errdefs.ErrUnavailable, "a Dockerfile needs one of %s", strings.Join(known, ", ")),
		"install buildah: it needs no daemon and no root")
}

// run runs a program to its end. What it says last is the error's text. When ctx ends, all of its processes do.
func run(ctx context.Context, program string, arguments ...string) error {
	stage := op.Begin(ctx, program, arguments[0])
	said := &tail{stage: stage}
	cmd := exec.CommandContext(ctx, program, arguments...)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err != nil:
		err = fmt.Errorf("%s %s: %w:\n%s", program, arguments[0], err, said.text())
	}
	return stage.End(err)
}

// tail keeps the end of what a program says.
type tail struct {
	stage *op.Stage
	last  []byte
}

const maxTail = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.last = append(t.last, p...)
	if extra := len(t.last) - maxTail; extra > 0 {
		t.last = append(t.last[:0], t.last[extra:]...)
	}
	t.stage.Add(int64(bytes.Count(p, []byte("\n"))))
	return len(p), nil
}

func (t *tail) text() string { return strings.TrimSpace(strings.ToValidUTF8(string(t.last), "?")) }
