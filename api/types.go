// Package api is banger's public protocol: the resources that the daemon serves as JSON over HTTP on its Unix socket,
// and a typed [Client] for them. The banger command uses this package alone to talk to the daemon.
package api

import (
	"time"

	"github.com/banger-dev/banger/internal/guest/proto"
)

// State is where a VM is in its life.
type State string

// The states of a VM.
const (
	StateCreated  State = "created"  // its disks exist, it has never run
	StateStarting State = "starting" // its VMM runs, its agent has not answered yet
	StateRunning  State = "running"
	StatePaused   State = "paused"
	StateStopped  State = "stopped" // it ended as it should
	StateFailed   State = "failed"  // it ended otherwise; VM.Exit says how
)

// VMSpec is what a caller asks for. The zero value of a field means the configured default.
type VMSpec struct {
	Name        string            `json:"name,omitempty" doc:"[a-z0-9][a-z0-9-]{0,63}; made up when empty"`
	Image       string            `json:"image,omitempty" doc:"reference of an image"`
	Kernel      string            `json:"kernel,omitempty" doc:"reference of a kernel; default: the image's"`
	VCPU        int               `json:"vcpu,omitempty" minimum:"0" maximum:"256"`
	Memory      int64             `json:"memory,omitempty" doc:"bytes"`
	DiskSize    int64             `json:"disk_size,omitempty" doc:"bytes of the work disk at /root"`
	OverlaySize int64             `json:"overlay_size,omitempty" doc:"bytes of the disk that takes changes to the root file system"`
	Net         string            `json:"net,omitempty" enum:"public,full,none," doc:"what the guest may reach"`
	Env         []string          `json:"env,omitempty" doc:"KEY=VALUE, defaults of every command run in the VM"`
	Workdir     string            `json:"workdir,omitempty" doc:"default directory of every command run in the VM"`
	Labels      map[string]string `json:"labels,omitempty"`
	AutoRemove  bool              `json:"auto_remove,omitempty" doc:"delete the VM when it stops"`
	Pull        string            `json:"pull,omitempty" enum:"missing,always,never," doc:"when an image that is an OCI reference is pulled; default: missing"`
	OwnerPID    int               `json:"owner_pid,omitempty" doc:"with auto_remove: delete the VM also when this process of the caller's user ends"`
}

// VM is one virtual machine.
type VM struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	State       State             `json:"state"`
	Image       string            `json:"image" doc:"name of its image"`
	ImageID     string            `json:"image_id"`
	Kernel      string            `json:"kernel" doc:"name of its kernel"`
	VCPU        int               `json:"vcpu"`
	Memory      int64             `json:"memory" doc:"bytes"`
	DiskSize    int64             `json:"disk_size" doc:"bytes"`
	OverlaySize int64             `json:"overlay_size" doc:"bytes"`
	Net         string            `json:"net"`
	Env         []string          `json:"env,omitempty"`
	Workdir     string            `json:"workdir,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	AutoRemove  bool              `json:"auto_remove,omitempty"`
	CreatedAt   time.Time         `json:"created_at"`
	StartedAt   *time.Time        `json:"started_at,omitempty"`
	StoppedAt   *time.Time        `json:"stopped_at,omitempty"`
	BootMS      int64             `json:"boot_ms,omitempty" doc:"milliseconds from the VMM's start to the agent's first answer"`
	Driver      string            `json:"driver,omitempty" doc:"VMM driver: qemu, firecracker"`
	Accelerator string            `json:"accelerator,omitempty" doc:"kvm or tcg"`
	BootID      string            `json:"boot_id,omitempty"`
	Init        string            `json:"init,omitempty" doc:"agent or systemd"`
	ShimPID     int               `json:"shim_pid,omitempty"`
	VMMPID      int               `json:"vmm_pid,omitempty"`
	Exit        *VMExit           `json:"exit,omitempty" doc:"how its last run ended"`
}

// VMExit says how a VM's run ended.
type VMExit struct {
	Reason  string    `json:"reason" enum:"poweroff,reboot,stopped,killed,crashed,boot-failed,shim-lost,host-reboot"`
	Detail  string    `json:"detail,omitempty" doc:"a sentence: the VMM's status, a kernel panic's first line, ..."`
	Console []string  `json:"console,omitempty" doc:"the console's last lines, when it did not end as it should"`
	At      time.Time `json:"at"`
}

// Image is one immutable boot set.
type Image struct {
	ID        string            `json:"id" doc:"first 12 hex digits of the digest over its files and configuration"`
	Name      string            `json:"name"`
	Kind      string            `json:"kind" enum:"managed,registered"`
	Source    string            `json:"source" doc:"where it came from: build:debian-bookworm, an OCI reference, ..."`
	Digest    string            `json:"digest,omitempty" doc:"of the manifest it was made from, when it came as an OCI image"`
	Platform  string            `json:"platform,omitempty" doc:"os/arch[/variant] of the manifest"`
	Kernel    string            `json:"kernel,omitempty" doc:"name of the kernel it boots with; empty: the configured default"`
	Rootfs    File              `json:"rootfs"`
	WorkSeed  *File             `json:"work_seed,omitempty" doc:"absent: guests get an empty /root"`
	SeedError string            `json:"seed_error,omitempty" doc:"why it has no work seed, when making one failed"`
	Config    ImageConfig       `json:"config"`
	CreatedAt time.Time         `json:"created_at"`
	Labels    map[string]string `json:"labels,omitempty"`
}

// File is one published, immutable file.
type File struct {
	Path      string `json:"path"`
	Size      int64  `json:"size" doc:"bytes, apparent"`
	Allocated int64  `json:"allocated" doc:"bytes on disk when it was published"`
	SHA256    string `json:"sha256" doc:"hex"`
}

// ImageConfig is the part of the OCI image configuration that banger honours.
type ImageConfig struct {
	Entrypoint   []string          `json:"entrypoint,omitempty"`
	Cmd          []string          `json:"cmd,omitempty"`
	Env          []string          `json:"env,omitempty"`
	User         string            `json:"user,omitempty"`
	Workdir      string            `json:"workdir,omitempty"`
	ExposedPorts []string          `json:"exposed_ports,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
}

// Kernel is one bootable kernel with its modules.
type Kernel struct {
	ID        string    `json:"id" doc:"first 12 hex digits of the sha256 of its vmlinux and modules"`
	Name      string    `json:"name"`
	Distro    string    `json:"distro,omitempty"`
	Arch      string    `json:"arch"`
	Version   string    `json:"version" doc:"uname -r"`
	Source    string    `json:"source"`
	Vmlinux   File      `json:"vmlinux"`
	Modules   *File     `json:"modules,omitempty" doc:"ext4 image mounted at /usr/lib/modules/<version>"`
	CreatedAt time.Time `json:"created_at"`
}

// KernelOffer is a kernel that can be pulled.
type KernelOffer struct {
	Name        string `json:"name"`
	Distro      string `json:"distro,omitempty"`
	Arch        string `json:"arch,omitempty"`
	Version     string `json:"version,omitempty"`
	Description string `json:"description,omitempty"`
	Source      string `json:"source,omitempty" doc:"the catalog that has it; empty: the distribution's packages"`
}

// ImageBuild asks for an image made on this machine.
type ImageBuild struct {
	Recipe     string `json:"recipe,omitempty" doc:"debian-bookworm or minimal; or else a Dockerfile is given"`
	Dockerfile string `json:"dockerfile,omitempty" doc:"absolute path; needs a name"`
	Context    string `json:"context,omitempty" doc:"with a Dockerfile: absolute path of the directory that it may copy from"`
	Name       string `json:"name,omitempty" doc:"default: the recipe's name"`
	Force      bool   `json:"force,omitempty" doc:"replace an image of that name"`
}

// KernelPull asks for a kernel by its catalog name.
type KernelPull struct {
	Name  string `json:"name" doc:"debian-cloud"`
	Force bool   `json:"force,omitempty" doc:"replace a kernel of that name"`
}

// KernelImport asks for a kernel from files on this machine. Either Host or Vmlinux is set.
type KernelImport struct {
	Name    string `json:"name,omitempty"`
	Vmlinux string `json:"vmlinux,omitempty" doc:"absolute path of a vmlinux or bzImage"`
	Modules string `json:"modules,omitempty" doc:"absolute path of a lib/modules/<version> directory"`
	Host    bool   `json:"host,omitempty" doc:"the kernel this host runs"`
	Force   bool   `json:"force,omitempty"`
}

// StopRequest tells how a VM is stopped.
type StopRequest struct {
	TimeoutMS int64 `json:"timeout_ms,omitempty" doc:"how long the guest may take before its VMM is killed; default 30 s"`
}

// DeleteRequest tells how a VM is deleted.
type DeleteRequest struct {
	Force bool `json:"force,omitempty" doc:"kill it if it runs"`
}

// StopResult says how a stop went.
type StopResult struct {
	VM        VM   `json:"vm"`
	Escalated bool `json:"escalated" doc:"the guest did not end in time and its VMM was killed"`
}

// ExecRequest is the guest agent's own: the daemon and the shim only splice.
type ExecRequest = proto.ExecRequest

// ExitStatus is the guest agent's own.
type ExitStatus = proto.ExitStatus

// Event is one line of an operation's NDJSON progress stream. The last line of a stream has Result or Error.
type Event struct {
	Operation string `json:"operation" doc:"operation id, also in the daemon's log"`
	Stage     string `json:"stage,omitempty" doc:"what is being done now"`
	Detail    string `json:"detail,omitempty"`
	Current   int64  `json:"current,omitempty" doc:"bytes or items done in this stage"`
	Total     int64  `json:"total,omitempty" doc:"0: not known"`
	ElapsedMS int64  `json:"elapsed_ms" doc:"since the operation began"`
	StageMS   int64  `json:"stage_ms,omitempty" doc:"set on the event that ends a stage: how long it took"`
	Warning   string `json:"warning,omitempty"`
	Result    any    `json:"result,omitempty"`
	Error     *Error `json:"error,omitempty"`
}

// Operation is one that runs.
type Operation struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind" doc:"noun and verb: image pull"`
	Subject   string    `json:"subject,omitempty"`
	StartedAt time.Time `json:"started_at"`
	Last      Event     `json:"last" doc:"its last report"`
}

// Version is what the daemon and the client compare before they talk.
type Version struct {
	Version   string    `json:"version"`
	Build     string    `json:"build" doc:"sha256 of the executable; two different builds do not share a daemon"`
	PID       int       `json:"pid"`
	StartedAt time.Time `json:"started_at"`
	Socket    string    `json:"socket"`
	StateDir  string    `json:"state_dir"`
}

// Check is one line of the doctor's report.
type Check struct {
	Name   string `json:"name"`
	Status string `json:"status" enum:"PASS,WARN,FAIL"`
	Reason string `json:"reason"`
	Remedy string `json:"remedy,omitempty"`
}
