// Package config reads the user's defaults: environment variables over a TOML file over what is compiled in.
// Command-line flags, which go over all of them, travel in each request.
package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"runtime"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/banger-dev/banger/internal/errdefs"
)

// Config holds the values of every key.
type Config struct {
	Image        string   // reference of the image of VMs that name none
	Kernel       string   // reference of the kernel of images that name none
	VCPU         int      // of a VM
	Memory       int64    // of a VM, bytes
	DiskSize     int64    // of a VM's work disk, bytes
	OverlaySize  int64    // of a VM's overlay disk, bytes
	Net          string   // what a VM may reach: public, full, none
	QEMU         string   // name or path of the executable
	Accelerator  string   // auto, kvm, tcg
	Agent        string   // path of banger-agent; empty: next to the banger executable
	Resolvers    []string // host:port of DNS servers; empty: the host's
	DebianMirror string   // URL; empty: the host's own apt sources, else mmdebstrap's default
	Catalogs     []string // files or URLs of catalogs of bundles, the most important first
}

// document is the file's structure. The key of a field is also its environment variable: vcpu is BANGER_VCPU.
type document struct {
	Image        value[string] `toml:"image"`
	Kernel       value[string] `toml:"kernel"`
	VCPU         value[int]    `toml:"vcpu"`
	Memory       value[int64]  `toml:"memory"`
	DiskSize     value[int64]  `toml:"disk_size"`
	OverlaySize  value[int64]  `toml:"overlay_size"`
	Net          value[string] `toml:"net"`
	QEMU         value[string] `toml:"qemu"`
	Accelerator  value[string] `toml:"accelerator"`
	Agent        value[string] `toml:"agent"`
	Resolvers    resolvers     `toml:"resolvers"`
	DebianMirror value[string] `toml:"debian_mirror"`
	Catalogs     sources       `toml:"catalogs"`
}

func defaults() document {
	return document{
		Image:        of("debian-bookworm", text),
		Kernel:       of("debian-cloud", text),
		VCPU:         of(min(2, runtime.NumCPU()), vcpu),
		Memory:       of(1<<30, amount),
		DiskSize:     of(16<<30, amount),
		OverlaySize:  of(64<<30, amount),
		Net:          of("public", oneOf("public", "full", "none")),
		QEMU:         of("qemu-system-x86_64", text),
		Accelerator:  of("auto", oneOf("auto", "kvm", "tcg")),
		Agent:        of("", absolute),
		DebianMirror: of("", mirror),
	}
}

func (d *document) config() Config {
	c := Config{
		Image: d.Image.v, Kernel: d.Kernel.v, VCPU: d.VCPU.v, Memory: d.Memory.v, DiskSize: d.DiskSize.v,
		OverlaySize: d.OverlaySize.v, Net: d.Net.v, QEMU: d.QEMU.v, Accelerator: d.Accelerator.v, Agent: d.Agent.v,
		DebianMirror: d.DebianMirror.v,
	}
	for _, r := range d.Resolvers {
		c.Resolvers = append(c.Resolvers, r.v)
	}
	for _, s := range d.Catalogs {
		c.Catalogs = append(c.Catalogs, s.v)
	}
	return c
}

// Load reads file, which need not exist, and then the environment through env, which has the form of os.LookupEnv.
// An unknown key or a bad value is errdefs.ErrInvalid and names the file and line, or the variable.
func Load(file string, env func(string) (string, bool)) (Config, error) {
	d := defaults()
	if err := d.readFile(file); err != nil {
		return Config{}, err
	}
	for key, field := range d.fields() {
		name := "BANGER_" + strings.ToUpper(key)
		if value, ok := env(name); ok {
			if err := field.UnmarshalText([]byte(value)); err != nil {
				return Config{}, errdefs.As(errdefs.ErrInvalid, fmt.Errorf("read environment: %s: %w", name, err))
			}
		}
	}
	return d.config(), nil
}

// fields calls yield with the key and the address of each field, in order.
func (d *document) fields() func(yield func(string, encoding.TextUnmarshaler) bool) {
	return func(yield func(string, encoding.TextUnmarshaler) bool) {
		v := reflect.ValueOf(d).Elem()
		for i := range v.NumField() {
			if !yield(v.Type().Field(i).Tag.Get("toml"), v.Field(i).Addr().Interface().(encoding.TextUnmarshaler)) {
				return
			}
		}
	}
}

func (d *document) readFile(file string) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	if err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(d); err != nil {
		return d.explain(file, data, err)
	}
	return nil
}

// explain turns a decoder's error into one that names the file and line.
func (d *document) explain(file string, data []byte, err error) error {
	if unknown := (*toml.StrictMissingError)(nil); errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		first := &unknown.Errors[0]
		line, _ := first.Position()
		return errdefs.WithHint(
			errdefs.New(errdefs.ErrInvalid, "read config %s:%d: unknown key %q", file, line, strings.Join(first.Key(), ".")),
			"the keys are %s", strings.Join(d.keys(), ", "))
	}
	if bad := (*toml.DecodeError)(nil); errors.As(err, &bad) {
		line, _ := bad.Position()
		return errdefs.New(errdefs.ErrInvalid, "read config %s:%d: %s", file, line, cause(bad))
	}
	for key, field := range d.fields() { // the decoder forgets the place of a number that a field refuses
		if f, ok := field.(interface{ failure() error }); ok && f.failure() != nil {
			return errdefs.New(errdefs.ErrInvalid, "read config %s:%d: %s: %w", file, lineOf(data, key), key, f.failure())
		}
	}
	return errdefs.As(errdefs.ErrInvalid, fmt.Errorf("read config %s: %w", file, err))
}

func (d *document) keys() []string {
	var keys []string
	for key := range d.fields() {
		keys = append(keys, key)
	}
	return keys
}

// cause is a decoding error's message, with its key, without the names of Go types.
func cause(err *toml.DecodeError) string {
	text, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "toml: "), " into ")
	if key := strings.Join(err.Key(), "."); key != "" {
		return key + ": " + text
	}
	return text
}

// lineOf finds the line of a key outside of any table.
func lineOf(data []byte, key string) int {
	var p unstable.Parser
	p.Reset(data)
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.KeyValue {
			continue
		}
		if k := e.Key(); k.Next() && strings.EqualFold(string(k.Node().Data), key) {
			return p.Shape(k.Node().Raw).Start.Line
		}
	}
	return 1
}
