// Package hostcache keeps what was found out about the host, in files, for as long as the host is not rebooted.
// It is only a cache: a file that cannot be read or written costs time, never correctness.
package hostcache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const bootIDFile = "/proc/sys/kernel/random/boot_id"

type entry struct {
	Boot  string          `json:"boot"`
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// Get returns the value that find returned for key since the host booted, and calls find when there is none. key is
// everything that the value depends on. With an empty dir nothing is kept. Errors are not kept.
func Get[T any](dir, key string, find func() (T, error)) (T, error) {
	boot, err := os.ReadFile(bootIDFile)
	if dir == "" || err != nil {
		return find()
	}
	e := entry{Boot: strings.TrimSpace(string(boot)), Key: key}
	sum := sha256.Sum256([]byte(key))
	file := filepath.Join(dir, "host-"+hex.EncodeToString(sum[:8])+".json")
	var value T
	if load(file, e, &value) {
		return value, nil
	}
	if value, err = find(); err == nil {
		// Without the file the next process finds out again.
		_ = save(file, e, value)
	}
	return value, err
}

func load(file string, want entry, value any) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	var have entry
	if json.Unmarshal(text, &have) != nil || have.Boot != want.Boot || have.Key != want.Key {
		return false
	}
	return json.Unmarshal(have.Value, value) == nil
}

// save replaces file in one step: several shims may start at once.
func save(file string, e entry, value any) error {
	var err error
	if e.Value, err = json.Marshal(value); err != nil {
		return err
	}
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".host-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone after a successful rename
	if _, err := tmp.Write(text); err != nil {
		_ = tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return fmt.Errorf("keep %s: %w", file, err)
	}
	return nil
}
