//go:build amd64

package tsc

import "testing"

func TestKHzIsRepeatable(t *testing.T) {
	a, err := KHz()
	if err != nil {
		t.Fatal(err)
	}
	b, err := KHz()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kHz, %d kHz", a, b)
	// One in a hundred is far more than the error on an idle host, and far less than a wrong unit.
	if d := a - b; d > a/100 || -d > a/100 {
		t.Errorf("two measurements differ too much: %d and %d kHz", a, b)
	}
}
