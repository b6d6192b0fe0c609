package uevent

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestWait(t *testing.T) {
	broken := errors.New("broken")
	for _, tc := range []struct {
		name  string
		ready func() (bool, error)
		want  error
	}{
		{name: "ready", ready: func() (bool, error) { return true, nil }},
		{name: "broken", ready: func() (bool, error) { return false, broken }, want: broken},
		{name: "never", ready: func() (bool, error) { return false, nil }, want: context.DeadlineExceeded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			if err := Wait(ctx, tc.ready); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
}
