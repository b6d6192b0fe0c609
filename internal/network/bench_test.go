package network

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const benchBytes = 256 << 20

// BenchmarkTCP moves data between a guest's stack and a server on the host's loopback, beside the bound: the same
// number of bytes through a bare socket pair. The guest's stack, which a real guest has in its own kernel, costs about
// as much as the one under test and shares its CPUs.
func BenchmarkTCP(b *testing.B) {
	chunk := make([]byte, 64<<10)
	b.Run("upload", func(b *testing.B) {
		done := make(chan int64, 1)
		addr := listenTCP(b, "127.0.0.1:0", func(conn *net.TCPConn) {
			n, _ := io.Copy(io.Discard, conn)
			done <- n
		})
		_, guest := newPair(b, "full")
		b.SetBytes(benchBytes)
		for b.Loop() {
			conn := guest.mustDialTCP(onGateway(b, addr))
			writeAll(b, conn, chunk)
			_ = conn.CloseWrite()
			if n := <-done; n != benchBytes {
				b.Fatalf("%d bytes arrived", n)
			}
		}
	})
	b.Run("download", func(b *testing.B) {
		addr := listenTCP(b, "127.0.0.1:0", func(conn *net.TCPConn) { writeAll(b, conn, chunk) })
		_, guest := newPair(b, "full")
		b.SetBytes(benchBytes)
		for b.Loop() {
			conn := guest.mustDialTCP(onGateway(b, addr))
			if n, err := io.Copy(io.Discard, conn); n != benchBytes {
				b.Fatalf("%d bytes arrived: %v", n, err)
			}
		}
	})
	b.Run("bound", func(b *testing.B) {
		b.SetBytes(benchBytes)
		for b.Loop() {
			from, to := socketPair(b)
			var writer sync.WaitGroup
			writer.Go(func() {
				writeAll(b, from, chunk)
				_ = from.Close()
			})
			if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, to, chunk); n != benchBytes {
				b.Fatalf("%d bytes arrived: %v", n, err)
			}
			writer.Wait()
			_ = to.Close()
		}
	})
}

func writeAll(tb testing.TB, w io.Writer, chunk []byte) {
	for sent := 0; sent < benchBytes; sent += len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			tb.Errorf("write: %v", err)
			return
		}
	}
}

// BenchmarkConnect opens, uses and closes one connection after the other.
func BenchmarkConnect(b *testing.B) {
	addr := listenTCP(b, "127.0.0.1:0", echo)
	_, guest := newPair(b, "full")
	target := onGateway(b, addr)
	for b.Loop() {
		conn, err := guest.dialTCP(target)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.WriteString(conn, "ping")
		_ = conn.CloseWrite()
		if got, err := io.ReadAll(conn); err != nil || string(got) != "ping" {
			b.Fatalf("got %q, %v", got, err)
		}
		_ = conn.Close()
	}
}

// BenchmarkIdleMemory reports what an idle stack keeps resident, in a process that has had none before with 1x.
func BenchmarkIdleMemory(b *testing.B) {
	for b.Loop() {
		before := resident(b)
		host, guest := socketPair(b)
		policy, _ := ParsePolicy("full")
		s, err := New(host, Config{Policy: policy})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(resident(b)-before)/1024, "KiB/stack")
		b.ReportMetric(float64(resident(b))/1024, "KiB/process")
		_ = s.Close()
		_ = guest.Close()
	}
}

// BenchmarkIdleConnections reports what each idle connection keeps resident, with both stacks, the server and the sockets.
func BenchmarkIdleConnections(b *testing.B) {
	const connections = 500
	addr := listenTCP(b, "127.0.0.1:0", echo)
	for b.Loop() {
		_, guest := newPair(b, "full")
		before := resident(b)
		for range connections {
			guest.mustDialTCP(onGateway(b, addr))
		}
		b.ReportMetric(float64(resident(b)-before)/1024/connections, "KiB/connection")
	}
}

func resident(tb testing.TB) int {
	tb.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	text, err := os.ReadFile(filepath.Join("/proc/self", "status"))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				tb.Fatal(err)
			}
			return kib << 10
		}
	}
	tb.Fatal(fmt.Errorf("no VmRSS"))
	return 0
}
