package shim

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/guest"
	"github.com/banger-dev/banger/internal/network"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/shim/logfile"
	"github.com/banger-dev/banger/internal/unixsock"
	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/qemu"
)

const (
	logSize   = 1 << 20 // bytes of one generation of the shim's log
	gcPercent = 40      // a shim lives long and mostly idles: less memory is worth more collections
)

// Main is the shim's process: it runs the VM of directory dir from start to end. It expects what package control says
// of inherited descriptors and does without those that are not there.
func Main(ctx context.Context, dir string) error {
	return Process(ctx, dir, realParts())
}

// Process is Main with other parts, for tests.
func Process(ctx context.Context, dir string, parts Parts) error {
	unix.Umask(0o077)
	debug.SetGCPercent(gcPercent)
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	defer stop()
	ready := inherited(control.ReadyFD, isPipe)
	err := runDir(ctx, dir, parts, ready)
	if err != nil && ready != nil { // after another report this does nothing
		report(ready, control.Ready{Error: control.Problem(err)})
	}
	return err
}

func runDir(ctx context.Context, dir string, parts Parts, ready *os.File) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("start shim: %w", err)
	}
	d := control.Dir(dir)
	l, err := listen(d) //nolint:contextcheck // it does not wait
	if err != nil {
		return fmt.Errorf("start shim: %w", err)
	}
	log, err := openLog(d)
	if err != nil {
		return fmt.Errorf("start shim: %w", err)
	}
	defer log.Close()
	logger := slog.New(slog.NewTextHandler(log, nil))
	err = Run(ctx, d, l, parts, logger, func() {
		if ready != nil {
			report(ready, control.Ready{OK: true})
		}
	})
	if err != nil {
		logger.Error("shim ended", "error", err)
	}
	return err
}

// listen takes the socket that the service has made, or makes one when the shim is run by hand.
func listen(dir control.Dir) (net.Listener, error) {
	if file := inherited(control.ListenFD, isListener); file != nil {
		return unixsock.Attach(file, dir.Socket())
	}
	return unixsock.Listen(dir.Socket())
}

// openLog opens the shim's log. What the Go runtime says last goes there as well.
func openLog(dir control.Dir) (*logfile.File, error) {
	return logfile.Open(dir.Log(), logSize, func(f *os.File) {
		for _, std := range []int{1, 2} {
			_ = unix.Dup3(int(f.Fd()), std, 0) // without it only a crash of the shim itself goes unexplained
		}
	})
}

// inherited returns the file of descriptor fd if one was inherited there that is as expected, else nil. The descriptor
// is not passed on to the VMM.
func inherited(fd int, expected func(fd int) bool) *os.File {
	if !expected(fd) {
		return nil
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "inherited")
}

func isPipe(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}

func isListener(fd int) bool {
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && listens == 1
}

// report tells the service, once. A service that is gone finds this shim by its socket.
func report(ready *os.File, r control.Ready) {
	_ = json.NewEncoder(ready).Encode(r)
	_ = ready.Close()
}

func realParts() Parts {
	return Parts{
		Driver: func(spec control.Spec) (vmm.Driver, error) {
			return qemu.New(qemu.Options{
				Binary: spec.VMM.Binary, Accelerator: spec.VMM.Accelerator, CacheDir: spec.VMM.CacheDir,
			}), nil
		},
		Connect: func(ctx context.Context, port net.Conn) (Agent, error) { return guest.Connect(ctx, port) },
		Network: startNetwork,
		Guest:   network.Guest,
	}
}

func startNetwork(link net.Conn, spec control.Spec, log *slog.Logger) (Network, error) {
	policy, err := network.ParsePolicy(spec.Net)
	if err != nil {
		return nil, err
	}
	config := network.Config{Policy: policy, Log: log}
	if len(spec.Resolvers) > 0 {
		config.Resolvers = func() []string { return spec.Resolvers }
	}
	return network.New(link, config)
}
