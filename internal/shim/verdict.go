package shim

import (
	"errors"
	"fmt"
	"strings"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/vmm"
)

const (
	tailLines  = 20 // of the console in the record of an end
	errorLines = 8  // of the console in an error
)

// verdict says how the run ended, from what was asked, what the machine did and what the console showed. bootErr is why
// the guest did not get ready, nil when it did.
func (s *shim) verdict(bootErr error, m vmm.Exit) control.Exit {
	wish, why := s.wishes.get()
	panicked := s.console.Panic()
	e := control.Exit{VMExit: api.VMExit{At: m.At, Detail: m.Detail}}
	switch {
	case wish == killing:
		e.Reason, e.Detail = "killed", ""
	case wish == escalated:
		e.Reason, e.Detail = "killed", why
	case wish == stopping && (bootErr != nil || m.Cause != vmm.CauseCrashed):
		e.Reason, e.Detail = "stopped", ""
	case bootErr != nil:
		e.Reason, e.Detail = "boot-failed", cause(bootErr, panicked, m)
		e.Error = control.Problem(s.explain(bootErr, e.Detail))
	case panicked != "" && m.Cause != vmm.CausePoweroff:
		e.Reason, e.Detail = "crashed", panicked
	case m.Cause == vmm.CausePoweroff:
		e.Reason = "poweroff"
	case m.Cause == vmm.CauseReboot:
		e.Reason = "reboot"
	default:
		e.Reason = "crashed"
	}
	if e.Error == nil && bootErr != nil { // someone waits for a boot that was called off
		e.Error = control.Problem(bootErr)
	}
	if e.Reason == "boot-failed" || e.Reason == "crashed" {
		e.Console = s.console.Lines(tailLines)
	}
	return e
}

// cause says in a sentence why a boot failed: what the guest's kernel said is worth most, then what the VMM said.
func cause(bootErr error, panicked string, m vmm.Exit) string {
	switch {
	case panicked != "":
		return fmt.Sprintf("%v: %s", bootErr, panicked)
	case m.Detail != "" && !errors.Is(bootErr, errdefs.ErrTimeout) && m.Cause != vmm.CauseKilled:
		return fmt.Sprintf("%v: %s", bootErr, m.Detail)
	}
	return bootErr.Error()
}

// explain is the error for the one who waits for the boot: the cause, the console's last lines and a remedy.
func (s *shim) explain(bootErr error, text string) error {
	class := errdefs.Class(bootErr)
	if class == nil {
		class = errdefs.ErrUnavailable
	}
	lines := s.console.Lines(errorLines)
	if len(lines) > 0 {
		text += "; the console's last lines:\n  " + strings.Join(lines, "\n  ")
	}
	return errdefs.WithHint(errdefs.New(class, "%s", text), "%s", remedy(bootErr, s.board.get().Stage, len(lines) > 0))
}

// remedy is what the user can do about a boot that failed.
func remedy(bootErr error, stage string, spoke bool) string {
	switch hint := errdefs.Hint(bootErr); {
	case hint != "":
		return hint
	case stage == control.StageVMM:
		return "`banger doctor` checks this host; if it finds nothing, boot another kernel with --kernel"
	case !spoke:
		return "the kernel wrote nothing to its console: check that it is one for virtual machines, or boot another with --kernel"
	}
	return "boot another kernel or image, with --kernel or --image"
}
