package store

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

// model is what the store should hold.
type model struct {
	store  *Store
	images map[string]string   // name by id
	vms    map[string]VMRecord // by id
}

var (
	someImage = rapid.SampledFrom([]string{"i1", "i2", "i3", "i4"})
	someName  = rapid.SampledFrom([]string{"red", "green", "blue"})
	someVM    = rapid.SampledFrom([]string{"v1", "v2", "v3"})
)

func (m *model) named(name string) (id string) {
	for id, n := range m.images {
		if n == name {
			return id
		}
	}
	return ""
}

func (m *model) usersOf(image string) (n int) {
	for _, v := range m.vms {
		if v.ImageID == image {
			n++
		}
	}
	return n
}

func (m *model) vmNamed(name, except string) bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(m.vms)), func(v VMRecord) bool { return v.Name == name && v.ID != except })
}

func expect(t *rapid.T, err, class error) {
	if !errors.Is(err, class) || (class == nil) != (err == nil) {
		t.Fatalf("got %v, want %v", err, class)
	}
}

func (m *model) PutImage(t *rapid.T) {
	id, name := someImage.Draw(t, "id"), someName.Draw(t, "name")
	err := m.store.PutImage(t.Context(), image(id, name))
	if _, ok := m.images[id]; ok || m.named(name) != "" {
		expect(t, err, errdefs.ErrExists)
		return
	}
	expect(t, err, nil)
	m.images[id] = name
}

func (m *model) ReplaceImage(t *rapid.T) {
	id, name := someImage.Draw(t, "id"), someName.Draw(t, "name")
	expect(t, m.store.ReplaceImage(t.Context(), image(id, name)), nil)
	if old := m.named(name); old != "" && old != id {
		if m.usersOf(old) > 0 {
			m.images[old] = name + "-" + old
		} else {
			delete(m.images, old)
		}
	}
	m.images[id] = name
}

func (m *model) DeleteImage(t *rapid.T) {
	id := someImage.Draw(t, "id")
	err := m.store.DeleteImage(t.Context(), id)
	switch _, ok := m.images[id]; {
	case !ok:
		expect(t, err, errdefs.ErrNotFound)
	case m.usersOf(id) > 0:
		expect(t, err, errdefs.ErrInUse)
	default:
		expect(t, err, nil)
		delete(m.images, id)
	}
}

func (m *model) PutVM(t *rapid.T) {
	v := vmOf(someVM.Draw(t, "id"), someName.Draw(t, "name"), someImage.Draw(t, "image"), "k1")
	err := m.store.PutVM(t.Context(), v)
	_, exists := m.vms[v.ID]
	_, parent := m.images[v.ImageID]
	switch {
	case exists || m.vmNamed(v.Name, ""):
		expect(t, err, errdefs.ErrExists)
	case !parent:
		expect(t, err, errdefs.ErrNotFound)
	default:
		expect(t, err, nil)
		m.vms[v.ID] = v
	}
}

func (m *model) UpdateVM(t *rapid.T) {
	v := vmOf(someVM.Draw(t, "id"), someName.Draw(t, "name"), someImage.Draw(t, "image"), "k1")
	v.State = rapid.SampledFrom([]api.State{api.StateCreated, api.StateRunning}).Draw(t, "state")
	err := m.store.UpdateVM(t.Context(), v)
	_, exists := m.vms[v.ID]
	_, parent := m.images[v.ImageID]
	switch {
	case !parent:
		expect(t, err, errdefs.ErrNotFound)
	case m.vmNamed(v.Name, v.ID):
		expect(t, err, errdefs.ErrExists)
	case !exists:
		expect(t, err, errdefs.ErrNotFound)
	default:
		expect(t, err, nil)
		m.vms[v.ID] = v
	}
}

func (m *model) DeleteVM(t *rapid.T) {
	id := someVM.Draw(t, "id")
	expect(t, m.store.DeleteVM(t.Context(), id), nil)
	delete(m.vms, id)
}

// Check compares everything that the store returns with the model.
func (m *model) Check(t *rapid.T) {
	images, err := m.store.Images(t.Context())
	expect(t, err, nil)
	got := map[string]string{}
	for _, i := range images {
		got[i.ID] = i.Name
	}
	if !maps.Equal(got, m.images) {
		t.Fatalf("images are %v, want %v", got, m.images)
	}
	vms, err := m.store.VMs(t.Context())
	expect(t, err, nil)
	if len(vms) != len(m.vms) {
		t.Fatalf("%d vms, want %d", len(vms), len(m.vms))
	}
	for _, v := range vms {
		want := m.vms[v.ID]
		if v.Name != want.Name || v.ImageID != want.ImageID || v.State != want.State || v.Image != m.images[v.ImageID] {
			t.Fatalf("vm is %+v, want %+v of image %q", v, want, m.images[want.ImageID])
		}
	}
}

func TestAgainstModel(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "banger.db"))
	// What is tested here is which records are there; the disk would only be slow.
	_, err := s.db.ExecContext(t.Context(), "PRAGMA synchronous = OFF")
	must(t, err)
	rapid.Check(t, func(t *rapid.T) {
		if _, err := s.db.ExecContext(t.Context(), "DELETE FROM vms; DELETE FROM images; DELETE FROM kernels"); err != nil {
			t.Fatal(err)
		}
		expect(t, s.PutKernel(t.Context(), kernel("k1", "linux")), nil)
		m := &model{store: s, images: map[string]string{}, vms: map[string]VMRecord{}}
		t.Repeat(rapid.StateMachineActions(m))
	})
}
