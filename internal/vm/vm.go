// Package vm is the VM service: it makes VMs and their disks, runs each in a shim of its own, and keeps the records in
// line with what is really there. Records say what should exist; what is true of a running VM is what its shim says.
package vm

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/config"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/kernel"
	"github.com/banger-dev/banger/internal/keylock"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/ref"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/store"
	"github.com/banger-dev/banger/internal/vmm"
)

// Records keeps what VMs exist; see package store for the methods' errors.
type Records interface {
	VMs(ctx context.Context) ([]store.VMRecord, error)
	PutVM(ctx context.Context, v store.VMRecord) error
	UpdateVM(ctx context.Context, v store.VMRecord) error
	DeleteVM(ctx context.Context, id string) error
}

// Images finds images, and makes those that are missing and can be made.
type Images interface {
	// Ensure finds or makes one; pull is the policy of api.VMSpec.
	Ensure(ctx context.Context, reference, pull string) (api.Image, error)
}

// Kernels finds kernels, and fetches those that are missing and can be fetched.
type Kernels interface {
	Ensure(ctx context.Context, reference string) (api.Kernel, error)
	// Boot returns the files that the kernel id is booted with.
	Boot(ctx context.Context, id string) (kernel.Boot, error)
}

// Driver tells whether this host can run VMs.
type Driver interface {
	Describe(ctx context.Context) (vmm.Capabilities, error)
}

// Options are what a Service needs.
type Options struct {
	Dirs    paths.Dirs
	Config  config.Config // the defaults of VMs, and which VMM runs them
	Records Records
	Images  Images
	Kernels Kernels
	Driver  Driver
	Shim    []string // the command that runs a shim, to which its arguments are added: "/usr/bin/banger", "shim"
	Log     *slog.Logger
	// At, which may be nil, is called when an operation has come to a point; crash tests end the process there.
	At func(point string)
	// BootTimeout bounds a boot; 0: by the accelerator.
	BootTimeout time.Duration
}

// Service manages VMs. Its methods may be called concurrently. References are resolved as package ref says.
type Service struct {
	o     Options
	log   *slog.Logger
	locks keylock.Locks // by id: held by what changes whether a VM runs or exists
	edits keylock.Locks // by id: held while a record is read and written back

	mu       sync.Mutex
	runs     map[string]*run                    // by id: the runs that are on
	busy     map[string]context.CancelCauseFunc // by id: ends an operation that may take long
	owners   map[string]context.CancelFunc      // by id: ends the watch of a VM's owner
	tasks    map[*task]struct{}
	finished sync.WaitGroup // the tasks
	closed   bool
}

// New returns the service. Before anything else [Service.Reconcile] must be called once.
func New(o Options) *Service {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Service{
		o: o, log: o.Log,
		runs:   make(map[string]*run),
		busy:   make(map[string]context.CancelCauseFunc),
		owners: make(map[string]context.CancelFunc),
		tasks:  make(map[*task]struct{}),
	}
}

// Close ends the service's watching. VMs go on running.
func (s *Service) Close() error {
	s.mu.Lock()
	s.closed = true
	for t := range s.tasks {
		t.cancel()
	}
	s.mu.Unlock()
	s.finished.Wait()
	return nil
}

// task is work of the service's own, which outlives the request that caused it.
type task struct{ cancel context.CancelFunc }

// background runs f until it returns, in a context that ends with the service and not with ctx. It returns what ends that sooner.
func (s *Service) background(ctx context.Context, f func(ctx context.Context)) context.CancelFunc {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &task{cancel}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		cancel()
		return cancel
	}
	s.tasks[t] = struct{}{}
	s.finished.Go(func() {
		defer func() {
			cancel()
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.tasks, t)
		}()
		f(ctx)
	})
	return cancel
}

func (s *Service) at(point string) {
	if s.o.At != nil {
		s.o.At(point)
	}
}

func (s *Service) dir(id string) control.Dir { return control.Dir(s.o.Dirs.VMs() + "/" + id) }

// cleanupTime bounds what is done after an operation has failed or was given up.
const cleanupTime = 30 * time.Second

// cleanup returns a context for undoing what was done under ctx, which may have ended.
func cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
}

// resolve finds a VM's record.
func (s *Service) resolve(ctx context.Context, reference string) (store.VMRecord, error) {
	all, err := s.o.Records.VMs(ctx)
	if err != nil {
		return store.VMRecord{}, err
	}
	return ref.Resolve("vm", all, func(r store.VMRecord) (id, name string) { return r.ID, r.Name }, reference)
}

// record reads the record of the VM id. A VM that does not exist is errdefs.ErrNotFound.
func (s *Service) record(ctx context.Context, id string) (store.VMRecord, error) {
	all, err := s.o.Records.VMs(ctx)
	if err != nil {
		return store.VMRecord{}, err
	}
	for _, r := range all {
		if r.ID == id {
			return r, nil
		}
	}
	return store.VMRecord{}, errdefs.New(errdefs.ErrNotFound, "vm %s was deleted", id)
}

// edit changes the record of the VM id and returns it as it is then.
func (s *Service) edit(ctx context.Context, id string, change func(*store.VMRecord)) (store.VMRecord, error) {
	unlock, err := s.edits.Lock(ctx, id)
	if err != nil {
		return store.VMRecord{}, err
	}
	defer unlock()
	r, err := s.record(ctx, id)
	if err != nil {
		return r, err
	}
	change(&r)
	return r, s.o.Records.UpdateVM(ctx, r)
}
