//go:build amd64

// Package tsc measures the rate of the host's time-stamp counter. The kernel knows it and tells nobody: "cpu MHz" in
// /proc/cpuinfo is the clock of the moment where the CPU scales its frequency, and CPUID leaf 0x15 is missing on most.
package tsc

import (
	"errors"
	"slices"
	"time"
)

// read returns the time-stamp counter.
func read() uint64

const (
	rounds = 7
	round  = 3 * time.Millisecond
)

// KHz measures the counter against the monotonic clock, for about 20 ms. The result is within some 100 ppm.
func KHz() (int64, error) {
	rates := make([]int64, rounds)
	for i := range rates {
		rates[i] = measure()
	}
	slices.Sort(rates)
	khz := rates[rounds/2] // the median: a round that was preempted between the two clocks is an outlier
	if khz < 100_000 || khz > 20_000_000 {
		return 0, errors.New("measure tsc: the counter does not run like a clock")
	}
	return khz, nil
}

func measure() int64 {
	start, first := time.Now(), read()
	for time.Since(start) < round { // busy, so that the CPU is not left and both clocks are read close together
	}
	last, took := read(), time.Since(start)
	return int64(last-first) * int64(time.Millisecond) / int64(took)
}
