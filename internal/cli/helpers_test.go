package cli

import (
	"errors"
	"time"
)

// eventually waits for something that another process does and tells nobody.
func eventually(happened func() bool) error {
	deadline := time.Now().Add(20 * time.Second)
	for !happened() {
		if time.Now().After(deadline) {
			return errors.New("it did not happen in 20 s")
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}
