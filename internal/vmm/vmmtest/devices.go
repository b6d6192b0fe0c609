package vmmtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/vmmtest/guestproto"
)

// echoSize is many times what the buffers between here and the guest hold.
const echoSize = 50 << 20

func testEcho(t *testing.T, s suite) {
	g := s.boot(t, s.config(t))
	g.send("%s %d", guestproto.Echo, echoSize)
	sent, sums := sha256.New(), make(chan []byte, 1)
	go func() {
		source := io.LimitReader(rand.NewChaCha8([32]byte{1}), echoSize)
		_, err := io.Copy(io.MultiWriter(g.Agent(), sent), source)
		if err != nil {
			t.Errorf("send: %v", err)
		}
		sums <- sent.Sum(nil)
	}()
	received := sha256.New()
	_ = g.Agent().SetReadDeadline(time.Now().Add(2 * patience))
	start := time.Now()
	if n, err := io.CopyN(received, g.in, echoSize); err != nil {
		t.Fatalf("read after %d bytes: %v", n, err)
	}
	t.Logf("%d MiB there and back in %s", echoSize>>20, time.Since(start).Round(time.Millisecond))
	if !bytes.Equal(<-sums, received.Sum(nil)) {
		t.Error("what came back is not what was sent")
	}
	g.kill()
}

func testConsole(t *testing.T, s suite) {
	g := s.boot(t, s.config(t))
	g.send("%s %s", guestproto.Print, "text for the console")
	if answer := g.line(); answer != "ok" {
		t.Fatalf("answer %q", answer)
	}
	g.send(guestproto.Poweroff)
	g.ended(vmm.CausePoweroff)
	if g.console.err != nil {
		t.Errorf("the console ended with %v, want EOF", g.console.err)
	}
	for _, want := range []string{guestproto.ConsoleReady, "text for the console"} {
		if !strings.Contains(g.console.text(), want) {
			t.Errorf("no %q on the console:\n%s", want, g.console.text())
		}
	}
}

func testNetwork(t *testing.T, s suite) {
	cfg := s.config(t)
	cfg.Network, cfg.MAC = true, "52:54:00:ba:49:e6"
	g := s.boot(t, cfg)
	g.send(guestproto.Network)
	if answer := g.line(); answer != "ok "+cfg.MAC {
		t.Fatalf("answer %q, want ok and the address", answer)
	}
	host, mac := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}, must(net.ParseMAC(cfg.MAC))
	frame := append(append(append([]byte{}, mac...), host...), guestproto.EtherType>>8, guestproto.EtherType&0xff)
	frame = append(frame, bytes.Repeat([]byte("payload "), 100)...)
	_ = g.Network().SetDeadline(time.Now().Add(patience))
	if _, err := g.Network().Write(binary.BigEndian.AppendUint32(nil, uint32(len(frame)))); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Network().Write(frame); err != nil {
		t.Fatal(err)
	}
	want := append(append(append([]byte{}, host...), mac...), frame[12:]...)
	if diff := cmp.Diff(want, readFrame(t, g.Network())); diff != "" {
		t.Errorf("frame (-want +got):\n%s", diff)
	}
	g.kill()
	_ = g.Network().Close()
}

// readFrame returns the first frame of the suite's type; a guest with IPv6 sends others by itself.
func readFrame(t *testing.T, link net.Conn) []byte {
	t.Helper()
	for {
		var size [4]byte
		if _, err := io.ReadFull(link, size[:]); err != nil {
			t.Fatalf("read frame: %v", err)
		}
		frame := make([]byte, min(binary.BigEndian.Uint32(size[:]), 1<<17))
		if _, err := io.ReadFull(link, frame); err != nil {
			t.Fatalf("read frame: %v", err)
		}
		if len(frame) > 14 && binary.BigEndian.Uint16(frame[12:]) == guestproto.EtherType {
			return frame
		}
	}
}

func testDisks(t *testing.T, s suite) {
	cfg := s.config(t)
	var want []guestproto.Disk
	for i, d := range []vmm.Disk{
		{Serial: "first", ReadOnly: true}, {Serial: "second"}, {Serial: "third"}, {Serial: "a-serial-of-20-bytes", ReadOnly: true},
	} {
		d.Path = filepath.Join(cfg.Dir, `disk, "odd" name=`+d.Serial)
		size := int64(i+1) << 20
		makeDisk(t, d.Path, size)
		cfg.Disks = append(cfg.Disks, d)
		want = append(want, guestproto.Disk{
			Name: "vd" + string(rune('a'+i)), Serial: d.Serial, ReadOnly: d.ReadOnly, Sectors: size / 512,
			WriteCache: "write back", Discard: true,
		})
	}
	g := s.boot(t, cfg)
	g.send(guestproto.Disks)
	var got []guestproto.Disk
	if err := json.Unmarshal([]byte(g.line()), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("disks (-want +got):\n%s", diff)
	}
	g.kill()
}

// testDiskInUse: two machines may share a disk that both only read, and no other.
func testDiskInUse(t *testing.T, s suite) {
	cfg := s.config(t)
	shared, own := filepath.Join(cfg.Dir, "shared"), filepath.Join(cfg.Dir, "own")
	makeDisk(t, shared, 1<<20)
	makeDisk(t, own, 1<<20)
	cfg.Disks = []vmm.Disk{{Path: shared, Serial: "shared", ReadOnly: true}, {Path: own, Serial: "own"}}
	g := s.boot(t, cfg)
	err := s.prepare(t, cfg).Start(bounded(t))
	if !errors.Is(err, errdefs.ErrInUse) {
		t.Errorf("second machine with the same writable disk: %v, want ErrInUse", err)
	}
	cfg.Disks = cfg.Disks[:1]
	s.boot(t, cfg).kill()
	g.kill()
}

// testFullHostDisk: the guest sees an error, and goes on. The file size limit, which a VMM inherits, plays the full disk.
func testFullHostDisk(t *testing.T, s suite) {
	cfg := s.config(t)
	file := filepath.Join(cfg.Dir, "disk")
	makeDisk(t, file, 64<<20)
	cfg.Disks = []vmm.Disk{{Path: file, Serial: "full"}}
	g := s.boot(t, cfg)
	limit := unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	if err := unix.Prlimit(g.PID(), unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	g.send("%s vda %d", guestproto.Write, 32<<20)
	if answer := g.line(); !strings.HasPrefix(answer, "error: ") {
		t.Errorf("answer %q, want an error", answer)
	}
	g.send(guestproto.Poweroff)
	g.ended(vmm.CausePoweroff)
}

func makeDisk(t *testing.T, path string, size int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
