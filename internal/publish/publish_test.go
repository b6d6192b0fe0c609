package publish

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/banger-dev/banger/internal/errdefs"
)

func TestMain(m *testing.M) {
	if root := os.Getenv("PUBLISH_TEST_ROOT"); root != "" {
		stageAndHang(root)
	}
	os.Exit(m.Run())
}

// stageAndHang is a process that dies in the middle of its work: the parent kills it.
func stageAndHang(root string) {
	s, err := New(root, "child")
	if err == nil {
		err = os.WriteFile(s.Path("half"), []byte("half"), 0o600)
	}
	if err != nil {
		panic(err)
	}
	fmt.Println(s.Dir())
	select {}
}

func stage(t *testing.T, root string) *Staging {
	t.Helper()
	s, err := New(root, "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.Path("sub/deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "sub/deep/b"} {
		if err := os.WriteFile(s.Path(name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestPublish(t *testing.T) {
	root, target := t.TempDir(), filepath.Join(t.TempDir(), "x")
	s := stage(t, root)
	if err := s.Publish(target); err != nil {
		t.Fatal(err)
	}
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(target, "sub/deep/b")); string(got) != "sub/deep/b" {
		t.Errorf("read %q, %v", got, err)
	}
	if left := names(t, root); len(left) != 0 {
		t.Errorf("staging still holds %v", left)
	}
}

func TestPublishDoesNotReplace(t *testing.T) {
	for name, content := range map[string]string{"empty directory": "", "full directory": "f"} {
		t.Run(name, func(t *testing.T) {
			root, target := t.TempDir(), filepath.Join(t.TempDir(), "x")
			if err := os.MkdirAll(filepath.Join(target, content), 0o700); err != nil {
				t.Fatal(err)
			}
			s := stage(t, root)
			if err := s.Publish(target); !errors.Is(err, errdefs.ErrExists) {
				t.Errorf("got %v, want exists", err)
			}
			for range 2 {
				if err := s.Discard(); err != nil {
					t.Fatal(err)
				}
			}
			if left := names(t, root); len(left) != 0 {
				t.Errorf("staging still holds %v", left)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("the target is gone: %v", err)
			}
		})
	}
}

func TestSweepSparesTheLiving(t *testing.T) {
	root := t.TempDir()
	ours := stage(t, root)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = []string{"PUBLISH_TEST_ROOT=" + root}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if removed, err := Sweep(root); err != nil || len(removed) != 0 {
		t.Fatalf("swept %v, %v while both live", removed, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	removed, err := Sweep(root)
	if err != nil || len(removed) != 1 {
		t.Errorf("swept %v, %v, want the dead child's", removed, err)
	}
	if err := ours.Publish(filepath.Join(t.TempDir(), "x")); err != nil {
		t.Error(err)
	}
}

func TestSweepRemovesLooseThings(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "dir", "closed", "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "dir", "closed"), 0); err != nil {
		t.Fatal(err)
	}
	if removed, err := Sweep(root); err != nil || len(removed) != 2 {
		t.Errorf("swept %v, %v", removed, err)
	}
	if removed, err := Sweep(filepath.Join(root, "absent")); err != nil || removed != nil {
		t.Errorf("swept %v, %v where nothing is", removed, err)
	}
}

func TestNewBesideSweep(t *testing.T) {
	root := t.TempDir()
	done := make(chan struct{})
	var sweeper, makers sync.WaitGroup
	sweeper.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := Sweep(root); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		}
	})
	for range 4 {
		makers.Go(func() {
			for range 100 {
				s, err := New(root, "x")
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(s.Path("f"), nil, 0o600); err != nil {
					t.Error("swept under its owner:", err)
				}
				if err := s.Discard(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	makers.Wait()
	close(done)
	sweeper.Wait()
}
