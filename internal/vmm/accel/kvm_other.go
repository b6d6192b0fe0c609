//go:build !(linux && amd64)

package accel

import "errors"

func runGuest() error { return errors.New("guests are for x86-64 hosts") }
