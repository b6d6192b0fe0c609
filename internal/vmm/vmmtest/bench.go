package vmmtest

import (
	"bufio"
	"context"
	"testing"
	"time"

	"github.com/banger-dev/banger/internal/vmm"
)

// BenchmarkBoot boots machines one after another: two CPUs, 1 GiB, a network.
func BenchmarkBoot(b *testing.B, d vmm.Driver, k vmm.Kernel) {
	if _, err := d.Describe(context.Background()); err != nil { // what is found out once per host boot
		b.Fatal(err)
	}
	var running time.Duration
	for b.Loop() {
		running += bootOnce(b, d, k)
	}
	b.ReportMetric(running.Seconds()*1000/float64(b.N), "ms-to-running")
}

func bootOnce(b *testing.B, d vmm.Driver, k vmm.Kernel) time.Duration {
	b.Helper()
	cfg := vmm.Config{ID: "bench", Dir: b.TempDir(), VCPU: 2, Memory: 1 << 30, Network: true, Kernel: k}
	start := time.Now()
	m, err := d.Prepare(context.Background(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	if err := m.Start(context.Background()); err != nil {
		b.Fatal(err)
	}
	running := time.Since(start)
	console := record(m.Console())
	if _, err := bufio.NewReader(m.Agent()).ReadString('\n'); err != nil {
		b.Fatalf("%v; console:\n%s", err, console.text())
	}
	b.StopTimer()
	defer b.StartTimer()
	if err := m.Kill(); err != nil {
		b.Fatal(err)
	}
	<-m.Done()
	<-console.done
	_ = m.Agent().Close()
	_ = m.Network().Close()
	return running
}
