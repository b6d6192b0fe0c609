// Package proto holds the messages between the host and the guest agent. It is shared by both sides and imports
// nothing but the standard library, so that the agent stays small.
package proto

import "time"

// Port is the name of the virtio-serial port that carries the agent's session.
const Port = "banger.agent"

// The block devices of a guest, by the serial numbers that the VMM gives them. The agent finds its disks by serial
// (/sys/block/*/serial), never by their order.
const (
	SerialRootfs  = "banger-rootfs"  // read-only, the overlay's lower layer
	SerialOverlay = "banger-overlay" // the overlay's upper layer
	SerialWork    = "banger-work"    // mounted at /root
	SerialModules = "banger-modules" // read-only, mounted at /usr/lib/modules/<version>
)

// Routes of the agent's HTTP server.
const (
	RouteInfo     = "/v1/info"     // GET -> Info
	RouteIdentity = "/v1/identity" // PUT Identity -> Info; idempotent
	RouteExec     = "/v1/exec"     // POST ExecRequest, Upgrade: UpgradeStream -> 101 and frames
	RouteShutdown = "/v1/shutdown" // POST ShutdownRequest -> 202, then the guest goes down
	RouteSync     = "/v1/sync"     // POST -> 204 after all file systems are written out
)

// UpgradeStream is the protocol token of the framed exec stream (RFC 9110, section 7.8).
const UpgradeStream = "banger-stream/1"

// Info describes a running agent.
type Info struct {
	Version    string   `json:"version"`
	BootID     string   `json:"boot_id"` // /proc/sys/kernel/random/boot_id
	Init       string   `json:"init"`    // "agent" when it is PID 1, else the init's name: "systemd"
	Kernel     string   `json:"kernel"`  // uname -r
	Hostname   string   `json:"hostname"`
	Configured bool     `json:"configured"`         // an Identity has been applied since boot
	UptimeMS   int64    `json:"uptime_ms"`          // since the kernel started
	Warnings   []string `json:"warnings,omitempty"` // what the boot could not do, a sentence each
}

// Identity is what makes a booted machine a particular VM. It is sent once after each boot or clone.
type Identity struct {
	Hostname string    `json:"hostname"`
	Time     time.Time `json:"time"`              // the host's clock
	Entropy  []byte    `json:"entropy"`           // mixed into and credited to the guest's pool
	Network  *Network  `json:"network,omitempty"` // nil: no network
	WorkDisk bool      `json:"work_disk"`         // mount the work disk at /root, growing its file system to the device
	Env      []string  `json:"env,omitempty"`     // KEY=VALUE defaults of every exec
	Workdir  string    `json:"workdir,omitempty"` // default of every exec
	User     string    `json:"user,omitempty"`    // default of every exec; empty: root
}

// Network is the static configuration of the guest's one link.
type Network struct {
	Addresses   []string `json:"addresses"` // CIDR, IPv4 and IPv6
	Gateways    []string `json:"gateways"`  // default routes' next hops, one a family
	Nameservers []string `json:"nameservers"`
	Search      []string `json:"search,omitempty"`
	MTU         int      `json:"mtu"`
}

// ExecRequest starts a process in the guest.
type ExecRequest struct {
	Command []string `json:"command"`       // argv; never empty, never through a shell
	Env     []string `json:"env,omitempty"` // KEY=VALUE, over the machine's defaults
	Workdir string   `json:"workdir,omitempty"`
	User    string   `json:"user,omitempty"`   // name or uid, optionally :group or :gid
	TTY     bool     `json:"tty,omitempty"`    // a pseudo-terminal; stdout and stderr are one
	Stdin   bool     `json:"stdin,omitempty"`  // false: stdin is /dev/null
	Detach  bool     `json:"detach,omitempty"` // start, answer with the exit frame {code 0, pid}, output to the console
	Rows    uint16   `json:"rows,omitempty"`
	Cols    uint16   `json:"cols,omitempty"`
}

// ExitStatus ends an exec stream.
type ExitStatus struct {
	Code   int    `json:"code"`             // the shell's convention: 126, 127, 128+n
	Signal string `json:"signal,omitempty"` // "KILL", "TERM"; empty when the process exited by itself
	Error  string `json:"error,omitempty"`  // why it could not be started; Code is then 125, 126 or 127
	PID    int    `json:"pid,omitempty"`
}

// ShutdownRequest asks the guest to end.
type ShutdownRequest struct {
	Reboot bool `json:"reboot,omitempty"`
}
