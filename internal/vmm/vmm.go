// Package vmm is the interface between a shim and a virtual machine monitor. Every driver passes the contract suite
// in vmmtest. A driver runs in the shim's process and is the parent of the VMM's process.
package vmm

import (
	"context"
	"io"
	"net"
	"time"
)

// Config is everything a driver needs to boot one machine.
type Config struct {
	ID      string // the VM's id; names the VMM's process
	Dir     string // the VM's own directory, absolute; a driver creates its files only below it
	VCPU    int
	Memory  int64 // bytes
	Kernel  Kernel
	Disks   []Disk // in the order in which the guest should see them
	Network bool   // one network interface, whose frames Machine.Network carries
	MAC     string // aa:bb:cc:dd:ee:ff
}

// Kernel names what is booted.
type Kernel struct {
	Vmlinux string // uncompressed ELF
	Initrd  string
	Cmdline string // banger's own arguments; the driver adds what the machine model needs
}

// Disk is one virtio block device.
type Disk struct {
	Path     string
	Serial   string // at most 20 bytes, the guest finds the disk by it
	ReadOnly bool
}

// Capabilities tells what a driver can do on this host.
type Capabilities struct {
	Driver      string // "qemu", "firecracker", "fake"
	Version     string // of the VMM
	Accelerator string // "kvm" or "tcg"
	Reason      string // why this accelerator, a sentence
	Pause       bool
}

// Driver makes machines.
type Driver interface {
	// Describe looks at the host: which VMM, which accelerator, and why. An absent VMM is errdefs.ErrUnavailable with a hint.
	Describe(ctx context.Context) (Capabilities, error)
	// Prepare checks cfg and makes what Start needs. Nothing runs yet. It changes nothing outside cfg.Dir.
	Prepare(ctx context.Context, cfg Config) (Machine, error)
}

// Machine is one run of a machine: it is started at most once.
type Machine interface {
	// Start starts the VMM and returns when it has accepted its configuration and the guest's CPUs run.
	// When it fails, or ctx ends before it returns, no process is left.
	// The end of ctx after Start has returned does not end the machine. The VMM dies with the calling process.
	Start(ctx context.Context) error
	// Agent is the stream to the guest's port proto.Port. Valid after Start. When the machine has ended, reads give
	// what is left and then io.EOF, and the stream closes itself.
	Agent() net.Conn
	// Console is what the guest writes to its console. It ends with EOF when the machine ends. It must be read.
	Console() io.Reader
	// Network carries Ethernet frames, each preceded by its length as a big-endian uint32. Nil without Config.Network.
	// It ends like Agent.
	Network() net.Conn
	// Pause stops the guest's CPUs; Resume lets them run again. Both are idempotent.
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
	// PowerButton asks the guest to end by the machine's own means, where it has any; errors.ErrUnsupported otherwise.
	PowerButton(ctx context.Context) error
	// Kill ends the VMM at once. It is idempotent and may be called in any state; Done closes after it.
	Kill() error
	// Done is closed when the VMM's process has been reaped.
	Done() <-chan struct{}
	// Exit says how the machine ended. Valid after Done is closed.
	Exit() Exit
	// PID is the VMM's process id, 0 before Start.
	PID() int
}

// Exit says how a machine ended.
type Exit struct {
	Cause  Cause
	Detail string // a sentence for people: exit status, signal, the VMM's last words on stderr
	At     time.Time
}

// Cause is why a machine ended.
type Cause string

// The causes.
const (
	CausePoweroff Cause = "poweroff" // the guest powered itself off
	CauseReboot   Cause = "reboot"   // the guest asked for a reset; machines do not reset by themselves
	CauseKilled   Cause = "killed"   // by Kill
	CausePanic    Cause = "panic"    // the guest's kernel panicked; Detail is its message
	CauseCrashed  Cause = "crashed"  // the VMM ended by itself otherwise
)
