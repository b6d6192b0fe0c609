package image

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/api"
)

// crash is a process that dies, as by kill -9, when it comes to a step of building or deleting the image a.
func crash(home, step, do string) {
	ctx := context.Background()
	s, _, err := openService(ctx, home)
	if err != nil {
		panic(err)
	}
	if do != "build" { // there is one already
		if _, err := s.Build(ctx, api.ImageBuild{Recipe: "a"}); err != nil {
			panic(err)
		}
		s.recipes[0].(*tiny).content = "changed"
	}
	s.failpoint = func(at string) {
		if at == step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
	if do == "delete" {
		_, err = s.Delete(ctx, "a")
	} else {
		_, err = s.Build(ctx, api.ImageBuild{Recipe: "a", Force: do == "replace"})
	}
	panic(err) // the step was not reached
}

func TestCrash(t *testing.T) {
	for _, c := range []struct {
		do, step string
		want     []string // content of the image a's root file system, if it is there
	}{
		{"build", "stage", nil},
		{"build", "staged", nil},
		{"build", "rename", nil},
		{"build", "record", nil},
		{"build", "recorded", []string{"archive a"}},
		{"replace", "staged", []string{"archive a"}},
		{"replace", "record", []string{"archive a"}},
		{"replace", "recorded", []string{"changed"}},
		{"delete", "unrecord", []string{"archive a"}},
		{"delete", "remove", nil},
	} {
		t.Run(c.do+" at "+c.step, func(t *testing.T) {
			home := t.TempDir()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = []string{"IMAGE_TEST_CRASH_HOME=" + home, "IMAGE_TEST_CRASH_AT=" + c.step, "IMAGE_TEST_CRASH_DO=" + c.do}
			out, _ := cmd.CombinedOutput() // it is killed
			if !cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
				t.Fatalf("the step was not reached: %s", out)
			}
			f := openFixture(t, home)
			must(t, f.Sweep(t.Context()))
			var got []string
			for range f.consistent(t) {
				i, err := f.Get(t.Context(), "a")
				must(t, err)
				content, err := os.ReadFile(i.Rootfs.Path)
				must(t, err)
				got = append(got, string(content))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			// Whatever is there, work goes on.
			_, err := f.Build(t.Context(), api.ImageBuild{Recipe: "b", Name: "a", Force: true})
			must(t, err)
			f.consistent(t)
		})
	}
}
