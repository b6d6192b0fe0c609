package shim

import (
	"os"

	"github.com/banger-dev/banger/internal/proc"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/vmm"
)

func self() (control.Process, error) { return process(os.Getpid()) }

func process(pid int) (control.Process, error) {
	start, err := proc.StartTime(pid)
	return control.Process{PID: pid, Start: start}, err
}

// recordProcesses lets the service find the VMM should this shim be killed and the VMM, against all custom, outlive it.
func (s *shim) recordProcesses(machine vmm.Machine) {
	var p control.Processes
	var err error
	if p.Shim, err = self(); err == nil {
		p.VMM, err = process(machine.PID())
	}
	if err == nil {
		err = control.WriteVolatile(s.dir.Processes(), p)
	}
	if err != nil {
		s.log.Warn("processes are not recorded", "error", err)
	}
}
