package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/banger-dev/banger/internal/size"
)

// maxVCPU is the most that a VM can have; the API says the same.
const maxVCPU = 256

// value is a scalar, which the file and the environment give as text alike. Being a struct makes the TOML decoder
// hand over numbers as text too.
type value[T any] struct {
	v     T
	parse func(string) (T, error)
	err   error // of the last UnmarshalText
}

func of[T any](v T, parse func(string) (T, error)) value[T] { return value[T]{v: v, parse: parse} }

func (s *value[T]) failure() error { return s.err }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *value[T]) UnmarshalText(text []byte) error {
	v, err := s.parse(string(text))
	if s.err = err; err == nil {
		s.v = v
	}
	return err
}

func text(s string) (string, error) {
	if s == "" {
		return "", fmt.Errorf("must not be empty")
	}
	return s, nil
}

func vcpu(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxVCPU {
		return 0, fmt.Errorf("%q is not a number from 1 to %d", s, maxVCPU)
	}
	return n, nil
}

func amount(s string) (int64, error) {
	n, err := size.Parse(s)
	if err == nil && n == 0 {
		err = fmt.Errorf("size %q: must not be zero", s)
	}
	return n, err
}

func oneOf(choices ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !slices.Contains(choices, s) {
			return "", fmt.Errorf("%q is none of %s", s, strings.Join(choices, ", "))
		}
		return s, nil
	}
}

func absolute(s string) (string, error) {
	if s != "" && !filepath.IsAbs(s) {
		return "", fmt.Errorf("%q is not an absolute path", s)
	}
	return s, nil
}

func mirror(s string) (string, error) {
	u, err := url.Parse(s)
	if s != "" && (err != nil || !slices.Contains([]string{"http", "https", "file"}, u.Scheme) || strings.ContainsAny(s, " \t\n")) {
		return "", fmt.Errorf("%q is not an http, https or file URL", s)
	}
	return s, nil
}

// resolver is the address of a DNS server; its port is 53 unless given.
type resolver struct{ v string }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *resolver) UnmarshalText(text []byte) error {
	if addr, err := netip.ParseAddr(string(text)); err == nil {
		r.v = netip.AddrPortFrom(addr, 53).String()
		return nil
	}
	addr, err := netip.ParseAddrPort(string(text))
	if err != nil {
		return fmt.Errorf("%q is not an IP address, with or without a port", text)
	}
	r.v = addr.String()
	return nil
}

// resolvers is an array in the file and a list separated by commas in the environment.
type resolvers []resolver

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *resolvers) UnmarshalText(text []byte) error {
	*l = nil
	for part := range strings.SplitSeq(string(text), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		var r resolver
		if err := r.UnmarshalText([]byte(part)); err != nil {
			return err
		}
		*l = append(*l, r)
	}
	return nil
}

// source is where a catalog is: an absolute path or a URL.
type source struct{ v string }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *source) UnmarshalText(text []byte) error {
	if filepath.IsAbs(string(text)) {
		s.v = string(text)
		return nil
	}
	if _, err := mirror(string(text)); err != nil || len(text) == 0 {
		return fmt.Errorf("%q is neither an absolute path nor an http, https or file URL", text)
	}
	s.v = string(text)
	return nil
}

// sources is an array in the file and a list separated by commas in the environment.
type sources []source

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *sources) UnmarshalText(text []byte) error {
	*l = nil
	for part := range strings.SplitSeq(string(text), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		var s source
		if err := s.UnmarshalText([]byte(part)); err != nil {
			return err
		}
		*l = append(*l, s)
	}
	return nil
}
