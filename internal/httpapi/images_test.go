package httpapi

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/op"
)

func TestImageRoutes(t *testing.T) {
	c, _ := serve(t, &stub{})
	ctx := t.Context()
	const ref = "a b/ü?"
	archive := strings.NewReader(strings.Repeat("x", 3<<20)) // more than the body of any other request
	for _, call := range []struct {
		name string
		do   func() (any, error)
		want any
	}{
		{"pull", func() (any, error) { return c.PullImage(ctx, api.ImagePull{Reference: "r", Name: "n"}, nil) }, api.Image{Name: "n", Source: "r"}},
		{"register", func() (any, error) { return c.RegisterImage(ctx, api.ImageRegister{Name: "n", Rootfs: "/r"}, nil) }, api.Image{Name: "n"}},
		{"promote", func() (any, error) { return c.PromoteImage(ctx, ref, nil) }, api.Image{Name: ref}},
		{"tag", func() (any, error) { return c.TagImage(ctx, ref, api.ImageTag{Name: "n"}, nil) }, api.Image{Name: "n", Source: ref}},
		{"seed", func() (any, error) { return c.SeedImage(ctx, ref, api.ImageSeed{}, nil) }, api.Image{Name: ref}},
		{"verify", func() (any, error) { return c.VerifyImage(ctx, ref, nil) }, api.Image{Name: ref}},
		{
			"import", func() (any, error) { return c.ImportImage(ctx, api.ImageImport{Name: ref}, archive, nil) },
			api.Image{Name: ref, Rootfs: api.File{Size: 3 << 20}},
		},
		{
			"export", func() (any, error) { return c.ExportImage(ctx, ref, api.ImageExport{File: "/f"}, nil) },
			api.ImageExported{File: "/f", Digest: ref},
		},
		{"cache", func() (any, error) { return c.ImageCache(ctx) }, api.Usage{Blobs: 1}},
		{"prune", func() (any, error) { return c.PruneImageCache(ctx, false) }, api.Pruned{Freed: 7}},
		{"prune, kept", func() (any, error) { return c.PruneImageCache(ctx, true) }, api.Pruned{}},
		{"available kernels", func() (any, error) { return c.AvailableKernels(ctx) }, []api.KernelOffer{}},
		{"operations", func() (any, error) { return c.Operations(ctx) }, []api.Operation{}},
	} {
		t.Run(call.name, func(t *testing.T) {
			got, err := call.do()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(call.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// An operation of one client is seen by another, which cancels it.
func TestOperationsOfOthers(t *testing.T) {
	began := make(chan struct{})
	c, _ := serve(t, &stub{create: func(ctx context.Context, _ api.VMSpec) (api.VM, error) {
		op.Begin(ctx, "work", "hard")
		close(began)
		<-ctx.Done()
		return api.VM{}, context.Cause(ctx)
	}})
	ended := make(chan error, 1)
	go func() {
		_, err := c.CreateVM(t.Context(), api.VMSpec{Name: "x"}, nil)
		ended <- err
	}()
	<-began
	running, err := c.Operations(t.Context())
	if err != nil || len(running) != 1 {
		t.Fatalf("%v, %v", running, err)
	}
	if o := running[0]; o.Kind != "vm create" || o.Subject != "x" || o.Last.Stage != "work" || o.Last.Detail != "hard" {
		t.Errorf("got %+v", o)
	}
	if err := c.CancelOperation(t.Context(), running[0].ID); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := c.CancelOperation(t.Context(), running[0].ID); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}
