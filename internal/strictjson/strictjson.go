// Package strictjson decodes JSON of which every part must be understood: documents that strangers write and that decide
// what banger trusts.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Unmarshal decodes data, one JSON value, into v. A key that v does not have or that is there twice, and anything that
// follows the value, is an error.
func Unmarshal(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return ended(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the end of the JSON value")
	}
	return unique(json.NewDecoder(bytes.NewReader(data)))
}

// ended says what io.EOF means within a value.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// unique checks the keys of the value that comes next.
func unique(d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return ended(err)
	}
	switch t {
	case json.Delim('{'):
		return uniqueKeys(d)
	case json.Delim('['):
		for d.More() {
			if err := unique(d); err != nil {
				return err
			}
		}
		_, err = d.Token() // the bracket that closes it
	}
	return ended(err)
}

func uniqueKeys(d *json.Decoder) error {
	seen := make(map[string]bool)
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return ended(err)
		}
		name, _ := key.(string) // keys are always strings
		if seen[name] {
			return fmt.Errorf("the key %q is there twice", name)
		}
		seen[name] = true
		if err := unique(d); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return ended(err)
}
