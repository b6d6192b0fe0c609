//go:build !amd64

// Package tsc measures the rate of the host's time-stamp counter.
package tsc

import "errors"

// KHz fails: only amd64 hosts have the counter.
func KHz() (int64, error) { return 0, errors.New("measure tsc: this host has no time-stamp counter") }
