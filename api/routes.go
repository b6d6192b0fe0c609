package api

import "net/url"

// The routes. {ref} is a reference: an exact name, an exact id, or a unique prefix of either.
const (
	RouteVersion       = "/v1/version"         // GET -> Version
	RouteShutdown      = "/v1/daemon/shutdown" // POST -> Version; the daemon leaves, VMs stay
	RouteDoctor        = "/v1/doctor"          // GET -> []Check
	RouteOperations    = "/v1/operations"      // GET -> []Operation: those that run
	RouteOperation     = "/v1/operations/{id}" // DELETE: cancel a running operation
	RouteVMs           = "/v1/vms"             // GET -> []VM; POST VMSpec -> events, VM
	RouteVM            = "/v1/vms/{ref}"       // GET -> VM; DELETE ?force= -> events
	RouteVMStart       = "/v1/vms/{ref}/start" // POST -> events, VM
	RouteVMStop        = "/v1/vms/{ref}/stop"  // POST StopRequest -> events, StopResult
	RouteVMRestart     = "/v1/vms/{ref}/restart"
	RouteVMKill        = "/v1/vms/{ref}/kill"       // POST -> VM
	RouteVMConsole     = "/v1/vms/{ref}/console"    // GET ?follow=&tail= -> bytes
	RouteVMExec        = "/v1/vms/{ref}/exec"       // POST ExecRequest, Upgrade: banger-stream/1 -> 101
	RouteImages        = "/v1/images"               // GET -> []Image
	RouteImage         = "/v1/images/{ref}"         // GET -> Image; DELETE -> Image
	RouteImageBuild    = "/v1/images/build"         // POST ImageBuild -> events, Image
	RouteImagePull     = "/v1/images/pull"          // POST ImagePull -> events, Image
	RouteImageRegister = "/v1/images/register"      // POST ImageRegister -> events, Image
	RouteImageImport   = "/v1/images/import"        // POST an archive, ?name=&tag=&platform=&kernel=&force= -> events, Image
	RouteImageCache    = "/v1/images/cache"         // GET -> Usage; DELETE ?keep= -> Pruned
	RouteImagePromote  = "/v1/images/{ref}/promote" // POST -> events, Image
	RouteImageTag      = "/v1/images/{ref}/tag"     // POST ImageTag -> events, Image
	RouteImageSeed     = "/v1/images/{ref}/seed"    // POST ImageSeed -> events, Image
	RouteImageVerify   = "/v1/images/{ref}/verify"  // POST -> events, Image
	RouteImageExport   = "/v1/images/{ref}/export"  // POST ImageExport -> events, ImageExported
	RouteKernels       = "/v1/kernels"              // GET -> []Kernel
	RouteKernel        = "/v1/kernels/{ref}"        // GET -> Kernel; DELETE -> Kernel
	RouteKernelOffers  = "/v1/kernels/available"    // GET -> []KernelOffer: what can be pulled
	RouteKernelPull    = "/v1/kernels/pull"         // POST KernelPull -> events, Kernel
	RouteKernelImport  = "/v1/kernels/import"       // POST KernelImport -> events, Kernel
	RouteOpenAPI       = "/openapi.json"            // GET -> this protocol's description
)

// at puts ref into the one parameter of a route.
func at(route, ref string) string {
	start, end := -1, -1
	for i, c := range route {
		switch c {
		case '{':
			start = i
		case '}':
			end = i + 1
		}
	}
	return route[:start] + url.PathEscape(ref) + route[end:]
}
