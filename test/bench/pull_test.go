//go:build bench

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/api"
)

// pullRounds are measured, after one that is not.
const pullRounds = 3

// cost is what one side took in one round.
type cost struct {
	wall, cpu float64 // seconds; cpu is of all processes of the side, but not of the registry
	peak      float64 // MB (10^6 bytes), resident, of its largest process; the kernel counts from the fork, so at least what this one has
}

// side is one way from the registry to files on disk.
type side struct {
	name  string
	bound float64      // how many times its time the first side may take; 0: any
	empty func() error // takes away what run made and every cache it filled
	run   func() (cost, error)
}

// TestPull compares `banger image pull` with the tools that make a disk of an image otherwise, from one registry on
// loopback. The sizes are of the uncompressed layers; BENCH_LARGE=1 adds the large one.
func TestPull(t *testing.T) {
	sizes := []int64{300e6}
	if os.Getenv("BENCH_LARGE") == "1" {
		sizes = append(sizes, 2000e6)
	}
	host := startRegistry(t)
	h := pullHost(t)
	for _, size := range sizes {
		t.Run(fmt.Sprintf("%dMB", size/1e6), func(t *testing.T) {
			dir := t.TempDir()
			img := makeImage(t, filepath.Join(dir, "image"), size)
			ref := fmt.Sprintf("%s/bench:%d", host, size/1e6)
			if _, err := command("skopeo", "copy", "-q", "--dest-tls-verify=false", "oci:"+img.dir+":bench", "docker://"+ref); err != nil {
				t.Fatal(err)
			}
			sides := []side{bangerSide(t, h, ref), umociSide(t, filepath.Join(dir, "umoci"), ref, img.size)}
			if _, err := exec.LookPath("podman"); err == nil {
				sides = append(sides, podmanSide(t, filepath.Join(dir, "podman"), ref))
			}
			sides = append(sides, boundSide(filepath.Join(dir, "bound"), img))
			t.Logf("%d layers, %d files, %.0f MB, compressed %.0f MB; %d rounds in turn", len(img.layers), img.files,
				float64(img.size)/1e6, float64(img.stored)/1e6, pullRounds)
			comparePulls(t, sides, measure(t, sides))
		})
	}
}

// measure runs the sides in turn. The first round warms the page cache.
func measure(t *testing.T, sides []side) [][]cost {
	costs := make([][]cost, len(sides))
	for i := range pullRounds + 1 {
		for n, s := range sides {
			unix.Sync() // nobody waits for what the one before left in the page cache
			c, err := s.run()
			if err = errors.Join(err, s.empty()); err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			if i > 0 {
				costs[n] = append(costs[n], c)
			}
		}
	}
	return costs
}

// comparePulls prints what each side took, and how the first side's times compare.
func comparePulls(t *testing.T, sides []side, costs [][]cost) {
	for n, s := range sides {
		var ratios []float64
		for i, c := range costs[n] {
			ratios = append(ratios, costs[0][i].wall/c.wall)
		}
		wall, peak := column(costs[n], wallOf), "-"
		if p := slices.Max(column(costs[n], peakOf)); p > 0 {
			peak = fmt.Sprintf("%.0f", p)
		}
		t.Logf("%-26s median %6.2f s (%.2f-%.2f), CPU %6.2f s, peak %3s MB", s.name, median(wall), slices.Min(wall), slices.Max(wall),
			median(column(costs[n], cpuOf)), peak)
		if n == 0 {
			continue
		}
		t.Logf("%26s takes %.2f times that (%.2f-%.2f)", "banger", median(ratios), slices.Min(ratios), slices.Max(ratios))
		if s.bound > 0 && median(ratios) > s.bound {
			t.Errorf("a pull takes %.2f times what %s takes, more than %.1f", median(ratios), s.name, s.bound)
		}
	}
}

func wallOf(c cost) float64 { return c.wall }
func cpuOf(c cost) float64  { return c.cpu }
func peakOf(c cost) float64 { return c.peak }

func column(costs []cost, of func(cost) float64) (values []float64) {
	for _, c := range costs {
		values = append(values, of(c))
	}
	return values
}

// pullHost has a home of its own, because its cache is emptied, and a daemon that runs already, as the page cache is warm.
func pullHost(t *testing.T) host {
	bin, err := filepath.Abs("../../bin/banger")
	if err != nil {
		t.Fatal(err)
	}
	h := host{t, bin, t.TempDir()}
	h.must("image", "list")
	t.Cleanup(func() { _, _ = h.banger("daemon", "stop") })
	return h
}

func bangerSide(t *testing.T, h host, ref string) side {
	var version api.Version
	if err := json.Unmarshal([]byte(h.must("daemon", "status", "--json")), &version); err != nil {
		t.Fatal(err)
	}
	return side{
		name: "banger image pull",
		empty: func() error {
			_, err := h.banger("image", "delete", "bench")
			_, err2 := h.banger("image", "cache", "prune")
			return errors.Join(err, err2)
		},
		run: func() (cost, error) {
			before, err := forget(version.PID)
			if err != nil {
				return cost{}, err
			}
			cmd := exec.Command(h.bin, "image", "pull", "-q", "--insecure", "--name", "bench", ref)
			cmd.Env = append(os.Environ(), "BANGER_HOME="+h.home)
			c, err := commandCost(cmd)
			if err != nil {
				return cost{}, err
			}
			after, peak, err := usage(version.PID)
			return cost{c.wall, c.cpu + after - before, max(c.peak, peak)}, err
		},
	}
}

// umociSide makes an ext4 file of a pulled image with what distributions have for it.
func umociSide(t *testing.T, dir, ref string, size int64) side {
	layout, bundle, disk := filepath.Join(dir, "layout"), filepath.Join(dir, "bundle"), filepath.Join(dir, "disk.ext4")
	unpack := []string{"umoci", "unpack", "--image", layout + ":bench", bundle}
	if os.Geteuid() != 0 {
		unpack = slices.Insert(unpack, 2, "--rootless")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return side{
		name: "skopeo, umoci, mkfs.ext4", bound: 0.4,
		empty: func() error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)) },
		run: func() (sum cost, err error) {
			for _, args := range [][]string{
				{"skopeo", "copy", "-q", "--src-tls-verify=false", "docker://" + ref, "oci:" + layout + ":bench"},
				unpack,
				{"mkfs.ext4", "-q", "-d", filepath.Join(bundle, "rootfs"), disk, fmt.Sprintf("%dK", size>>10*3/2+64<<10)},
			} {
				c, err := command(args...)
				if err != nil {
					return cost{}, err
				}
				sum = cost{sum.wall + c.wall, sum.cpu + c.cpu, max(sum.peak, c.peak)}
			}
			return sum, nil
		},
	}
}

// podmanSide ends with an unpacked tree, not a disk. Its notes on blobs, which are the user's and no content, stay from
// round to round and make it faster.
func podmanSide(t *testing.T, dir, ref string) side {
	podman := []string{"podman", "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--tmpdir", filepath.Join(dir, "tmp")}
	remove := func() error { _, err := command(append(podman, "rmi", "--all", "--force")...); return err }
	t.Cleanup(func() { _ = unix.Unmount(filepath.Join(dir, "root", "overlay"), unix.MNT_DETACH) }) // podman, as root, leaves it mounted
	return side{
		name: "podman pull", bound: 1,
		empty: remove,
		run:   func() (cost, error) { return command(append(podman, "pull", "-q", "--tls-verify=false", ref)...) },
	}
}

// boundSide is the least that a pull has to do: decompress every layer and write what comes out once, here in one
// thread and without bringing it to disk. It leaves out the transfer, the digests, and the file system's own blocks.
func boundSide(path string, img ociImage) side {
	return side{
		name:  "lower bound, one thread",
		empty: func() error { return os.Remove(path) },
		run: func() (cost, error) {
			var before, after unix.Rusage
			if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
				return cost{}, err
			}
			start := time.Now()
			if err := decompressAll(path, img.layers); err != nil {
				return cost{}, err
			}
			wall := time.Since(start).Seconds()
			err := unix.Getrusage(unix.RUSAGE_SELF, &after)
			cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
			return cost{wall: wall, cpu: cpu.Seconds()}, err
		},
	}
}

func decompressAll(path string, layers []string) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	for _, l := range layers {
		if err := decompress(out, l); err != nil {
			return errors.Join(err, out.Close())
		}
	}
	return out.Close()
}

func decompress(out *os.File, layer string) error {
	in, err := os.Open(layer)
	if err != nil {
		return err
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	_, err = z.WriteTo(out)
	return err
}

// command runs a program to its end.
func command(args ...string) (cost, error) { return commandCost(exec.Command(args[0], args[1:]...)) }

// commandCost counts the processes that the command waited for, too.
func commandCost(cmd *exec.Cmd) (cost, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var errs strings.Builder
	cmd.Stderr = &errs
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return cost{}, err
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	if err := cmd.Wait(); err != nil {
		return cost{}, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, errs.String())
	}
	s := cmd.ProcessState
	return cost{
		wall: time.Since(start).Seconds(), cpu: (s.UserTime() + s.SystemTime()).Seconds(),
		peak: float64(s.SysUsage().(*syscall.Rusage).Maxrss) * 1024 / 1e6,
	}, nil
}

// forget sets a process's peak of memory to what it has now (proc(5), clear_refs), and returns the CPU seconds it used.
func forget(pid int) (cpu float64, err error) {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		return 0, err
	}
	cpu, _, err = usage(pid)
	return cpu, err
}

// usage returns the CPU seconds of a process and of the children it waited for, and its resident peak in MB.
func usage(pid int) (cpu, peak float64, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, f := range fields[11:15] { // utime, stime, cutime, cstime: 14 to 17 of proc(5)
		ticks, err := strconv.Atoi(f)
		if err != nil {
			return 0, 0, err
		}
		cpu += float64(ticks) / 100 // USER_HZ
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	return cpu, float64(kb) * 1024 / 1e6, err
}
