// Package control is the protocol between the VM service and a VM's shim: the file that the shim is started with, what
// it leaves behind, its HTTP routes on a Unix socket, and a client for them.
package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/vmm"
)

// What a shim inherits from the process that starts it, besides the standard streams.
const (
	ReadyFD  = 3 // the write end of a pipe, for one [Ready] line
	ListenFD = 4 // the listening socket, so that from before the shim runs until it is gone a connect tells whether it is there
)

// Ready is the one line that a shim writes when it serves its socket, or cannot.
type Ready struct {
	OK    bool       `json:"ok"`
	Error *api.Error `json:"error,omitempty"`
}

// Dir is a VM's directory. It names the files in it that the service and the shim share.
type Dir string

func (d Dir) file(name string) string { return filepath.Join(string(d), name) }

// Spec is what the shim is to run; written by the service before each start.
func (d Dir) Spec() string { return d.file("shim.json") }

// Socket is where the shim serves.
func (d Dir) Socket() string { return d.file("shim.sock") }

// Log is what the shim logs, in two generations.
func (d Dir) Log() string { return d.file("shim.log") }

// Console is what the guest wrote to its console, over all runs, in two generations.
func (d Dir) Console() string { return d.file("console.log") }

// Exit says how the last run ended; written by the shim as its last act.
func (d Dir) Exit() string { return d.file("exit.json") }

// Processes tells the processes of the run that is on; written by the shim.
func (d Dir) Processes() string { return d.file("processes.json") }

// Overlay is the disk that takes changes to the root file system.
func (d Dir) Overlay() string { return d.file("overlay.ext4") }

// Work is the work disk, the guest's /root.
func (d Dir) Work() string { return d.file("root.ext4") }

// Spec is everything that a shim needs to run one VM. All paths are absolute.
type Spec struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	HostBoot    string         `json:"host_boot"` // the host's boot id when the VM was started
	VCPU        int            `json:"vcpu"`
	Memory      int64          `json:"memory"` // bytes
	Kernel      vmm.Kernel     `json:"kernel"`
	Disks       []vmm.Disk     `json:"disks"`
	Net         string         `json:"net"` // a network policy's name; "none": no network
	MAC         string         `json:"mac"`
	Resolvers   []string       `json:"resolvers,omitempty"` // host:port; empty: the host's own
	Identity    proto.Identity `json:"identity"`            // the shim adds clock, entropy and network
	VMM         VMM            `json:"vmm"`
	BootTimeout time.Duration  `json:"boot_timeout"` // until the guest is ready; 0: by the accelerator
}

// VMM says which virtual machine monitor the shim uses.
type VMM struct {
	Binary      string `json:"binary"`
	Accelerator string `json:"accelerator"` // auto, kvm or tcg
	CacheDir    string `json:"cache_dir"`   // for the verdict of the accelerator's probe
}

// Process is a process that can be told from later ones with its pid.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // as proc.StartTime returns it
}

// Processes are those of one run.
type Processes struct {
	Shim Process `json:"shim"`
	VMM  Process `json:"vmm"`
}

// Exit is how a run ended.
type Exit struct {
	api.VMExit
	Error *api.Error `json:"error,omitempty"` // why it did not boot, for the one who waits for that
}

// Read reads one of a VM's JSON files into v. One that is not there is errdefs.ErrNotFound.
func Read(path string, v any) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return errdefs.As(errdefs.ErrNotFound, fmt.Errorf("read %s: %w", filepath.Base(path), err))
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// Write replaces one of a VM's JSON files in one step.
func Write(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return fsutil.WriteAtomic(path, append(data, '\n'), 0o600)
}

// WriteVolatile replaces in one step a file that means nothing after the host has gone down: it does not wait for the disk.
func WriteVolatile(path string, v any) error {
	data, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(path+".new", append(data, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}
