package vm

import (
	"errors"
	"flag"
	"os"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

// TestModel runs random operations, deaths and restarts of the service against what they should lead to.
func TestModel(t *testing.T) {
	if testing.Short() {
		t.Skip("boots some hundred fake machines")
	}
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("5") // each takes a second
	}
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{t: t, home: newHome(t), vms: make(map[string]api.State)}
		m.open()
		rt.Repeat(map[string]func(*rapid.T){
			"create": m.create, "start": m.start, "stop": m.stop, "kill": m.kill, "restart": m.restart, "delete": m.delete,
			"kill vmm": m.killVMM, "kill shim": m.killShim, "reopen": func(*rapid.T) { m.end(); m.open() }, "": m.check,
		})
		m.home.clean(t, m.service)
		m.end()
		_ = os.RemoveAll(m.home.root())
	})
}

type model struct {
	t       *testing.T
	home    home
	service *Service
	end     func()
	vms     map[string]api.State
}

func (m *model) open() { m.service, m.end = m.home.service(m.t) }

// nameGen makes names that are no prefix of an id.
var nameGen = rapid.SampledFrom([]string{"x", "y", "z"})

func (m *model) create(rt *rapid.T) {
	name := nameGen.Draw(rt, "name")
	_, err := m.service.Create(m.t.Context(), api.VMSpec{Name: name})
	if _, exists := m.vms[name]; exists != errors.Is(err, errdefs.ErrExists) || (!exists && err != nil) {
		rt.Fatalf("create: %v, exists before: %t", err, exists)
	}
	if err == nil {
		m.vms[name] = api.StateCreated
	}
}

// each calls f for a VM and expects the error to be one exactly when the VM does not exist.
func (m *model) each(rt *rapid.T, f func(name string) error) (name string, exists bool) {
	name = nameGen.Draw(rt, "name")
	err := f(name)
	_, exists = m.vms[name]
	if exists != (err == nil) || (!exists && !errors.Is(err, errdefs.ErrNotFound)) {
		rt.Fatalf("%s: %v, exists: %t", name, err, exists)
	}
	return name, exists
}

func (m *model) start(rt *rapid.T) {
	name, ok := m.each(rt, func(name string) error { _, err := m.service.Start(m.t.Context(), name); return err })
	if ok {
		m.vms[name] = api.StateRunning
	}
}

func (m *model) restart(rt *rapid.T) {
	name, ok := m.each(rt, func(name string) error {
		_, err := m.service.Restart(m.t.Context(), name, api.StopRequest{})
		return err
	})
	if ok {
		m.vms[name] = api.StateRunning
	}
}

func (m *model) stop(rt *rapid.T) {
	name, ok := m.each(rt, func(name string) error {
		r, err := m.service.Stop(m.t.Context(), name, api.StopRequest{})
		if r.Escalated {
			rt.Fatal("the stop escalated")
		}
		return err
	})
	if ok && m.vms[name] == api.StateRunning {
		m.vms[name] = api.StateStopped
	}
}

func (m *model) kill(rt *rapid.T) {
	name, ok := m.each(rt, func(name string) error { _, err := m.service.Kill(m.t.Context(), name); return err })
	if ok && m.vms[name] == api.StateRunning {
		m.vms[name] = api.StateStopped
	}
}

func (m *model) delete(rt *rapid.T) {
	name, ok := m.each(rt, func(name string) error {
		return m.service.Delete(m.t.Context(), name, api.DeleteRequest{Force: true})
	})
	if ok {
		delete(m.vms, name)
	}
}

func (m *model) killVMM(rt *rapid.T)  { m.murder(rt, func(v api.VM) int { return v.VMMPID }) }
func (m *model) killShim(rt *rapid.T) { m.murder(rt, func(v api.VM) int { return v.ShimPID }) }

func (m *model) murder(rt *rapid.T, victim func(api.VM) int) {
	name := nameGen.Draw(rt, "name")
	if m.vms[name] != api.StateRunning {
		return
	}
	v, err := m.service.Get(m.t.Context(), name)
	if err != nil || victim(v) == 0 {
		rt.Fatalf("%+v, %v", v, err)
	}
	r := m.service.current(v.ID)
	_ = syscall.Kill(victim(v), syscall.SIGKILL)
	<-r.gone
	m.vms[name] = api.StateFailed
}

func (m *model) check(rt *rapid.T) {
	all, err := m.service.List(m.t.Context())
	if err != nil || len(all) != len(m.vms) {
		rt.Fatalf("%d vms, want %d, %v", len(all), len(m.vms), err)
	}
	shims := 0
	for _, v := range all {
		if v.State != m.vms[v.Name] {
			rt.Fatalf("%s is %s, want %s", v.Name, v.State, m.vms[v.Name])
		}
		if v.State == api.StateRunning {
			shims++
		}
	}
	found := 0
	for _, p := range m.home.processes() {
		if strings.Contains(p, roleShim) {
			found++
		}
	}
	if found != shims {
		rt.Fatalf("%d shims, want %d", found, shims)
	}
}
