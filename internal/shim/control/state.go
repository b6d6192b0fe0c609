package control

import (
	"slices"
	"time"

	"github.com/banger-dev/banger/internal/guest/proto"
)

// Phase is where a run is.
type Phase string

// The phases.
const (
	Starting Phase = "starting" // until the guest has its identity
	Running  Phase = "running"
	Paused   Phase = "paused"
	Ended    Phase = "ended" // State.Exit says how
)

// The stages of a boot, in their order.
const (
	StageVMM      = "vmm"      // the host is looked at, the VMM is started
	StageKernel   = "kernel"   // from the guest's first instruction to the agent's first answer
	StageIdentity = "identity" // disks, network and clock are set up
)

// State is what is true of one run. It is sent whole on every change.
type State struct {
	Phase       Phase       `json:"phase"`
	Stage       string      `json:"stage,omitempty"` // while starting
	Stages      []Stage     `json:"stages"`          // that are over
	ShimPID     int         `json:"shim_pid"`
	VMMPID      int         `json:"vmm_pid,omitempty"`
	Driver      string      `json:"driver,omitempty"`
	Accelerator string      `json:"accelerator,omitempty"`
	Reason      string      `json:"reason,omitempty"` // why this accelerator
	StartedAt   time.Time   `json:"started_at"`
	BootMS      int64       `json:"boot_ms,omitempty"` // from the VMM's start to the agent's first answer
	Agent       bool        `json:"agent"`             // there is a session with the guest's agent
	Guest       *proto.Info `json:"guest,omitempty"`
	Warnings    []string    `json:"warnings,omitempty"`
	Exit        *Exit       `json:"exit,omitempty"`
}

// Stage is one part of a boot.
type Stage struct {
	Name string `json:"name"`
	MS   int64  `json:"ms"` // how long it took
}

// Clone returns a copy that shares nothing that changes.
func (s State) Clone() State {
	s.Stages = slices.Clone(s.Stages)
	s.Warnings = slices.Clone(s.Warnings)
	return s
}

// StopRequest asks for an orderly end.
type StopRequest struct {
	TimeoutMS int64 `json:"timeout_ms"` // then the VMM is killed
}

// StopAnswer says how it went.
type StopAnswer struct {
	Escalated bool `json:"escalated"`
}

// The shim's routes.
const (
	RouteState   = "/v1/state"   // GET -> State
	RouteEvents  = "/v1/events"  // GET -> State, a line each: now and on every change, until the run has ended
	RouteStop    = "/v1/stop"    // POST StopRequest -> StopAnswer, after the end
	RouteKill    = "/v1/kill"    // POST -> 204, after the end
	RoutePause   = "/v1/pause"   // POST -> 204
	RouteResume  = "/v1/resume"  // POST -> 204
	RouteConsole = "/v1/console" // GET ?follow=1&tail=N -> bytes
	RouteAgent   = "/v1/agent"   // everything below goes to the guest's agent
)
