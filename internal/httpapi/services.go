package httpapi

import (
	"context"
	"io"
	"net"

	"github.com/banger-dev/banger/api"
)

// VMs is the VM service as the API needs it.
type VMs interface {
	List(ctx context.Context) ([]api.VM, error)
	Get(ctx context.Context, ref string) (api.VM, error)
	Create(ctx context.Context, spec api.VMSpec) (api.VM, error)
	Start(ctx context.Context, ref string) (api.VM, error)
	Stop(ctx context.Context, ref string, req api.StopRequest) (api.StopResult, error)
	Restart(ctx context.Context, ref string, req api.StopRequest) (api.VM, error)
	Kill(ctx context.Context, ref string) (api.VM, error)
	Delete(ctx context.Context, ref string, req api.DeleteRequest) error
	// Console copies the VM's console to w; with follow, until the VM ends or ctx does.
	Console(ctx context.Context, ref string, follow bool, tail int, w io.Writer) error
	// DialShim connects to the shim of a running VM.
	DialShim(ctx context.Context, ref string) (net.Conn, error)
}

// Images is the image service as the API needs it.
type Images interface {
	List(ctx context.Context) ([]api.Image, error)
	Get(ctx context.Context, ref string) (api.Image, error)
	Build(ctx context.Context, req api.ImageBuild) (api.Image, error)
	Pull(ctx context.Context, req api.ImagePull) (api.Image, error)
	Register(ctx context.Context, req api.ImageRegister) (api.Image, error)
	Promote(ctx context.Context, ref string) (api.Image, error)
	Tag(ctx context.Context, ref string, req api.ImageTag) (api.Image, error)
	Seed(ctx context.Context, ref string, req api.ImageSeed) (api.Image, error)
	Verify(ctx context.Context, ref string) (api.Image, error)
	Import(ctx context.Context, req api.ImageImport, archive io.Reader) (api.Image, error)
	Export(ctx context.Context, ref string, req api.ImageExport) (api.ImageExported, error)
	CacheUsage(ctx context.Context) (api.Usage, error)
	CachePrune(ctx context.Context, keep bool) (api.Pruned, error)
	Delete(ctx context.Context, ref string) (api.Image, error)
}

// Kernels is the kernel service as the API needs it.
type Kernels interface {
	List(ctx context.Context) ([]api.Kernel, error)
	Get(ctx context.Context, ref string) (api.Kernel, error)
	Available(ctx context.Context) ([]api.KernelOffer, error)
	Pull(ctx context.Context, req api.KernelPull) (api.Kernel, error)
	Import(ctx context.Context, req api.KernelImport) (api.Kernel, error)
	Remove(ctx context.Context, ref string) (api.Kernel, error)
}

// Daemon is what the API tells about, and asks of, the process that serves it.
type Daemon interface {
	Version() api.Version
	// Shutdown makes the daemon leave after the current request. It returns at once.
	Shutdown()
	// Doctor runs the checks of the host.
	Doctor(ctx context.Context) []api.Check
}
