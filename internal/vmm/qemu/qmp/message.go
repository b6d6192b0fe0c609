package qmp

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Error is QEMU's refusal of a command.
type Error struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *Error) Error() string { return e.Desc }

// Event is something that happened in QEMU.
type Event struct {
	Name string
	Data json.RawMessage // an object, or empty
	At   time.Time       // on the host's clock
}

// Shutdown is the data of the event SHUTDOWN.
type Shutdown struct {
	Guest  bool   `json:"guest"`
	Reason string `json:"reason"` // guest-shutdown, guest-reset, guest-panic, host-signal, host-qmp-quit, …
}

// Greeting is QEMU's first message.
type Greeting struct {
	Version struct {
		QEMU struct {
			Major int `json:"major"`
			Minor int `json:"minor"`
			Micro int `json:"micro"`
		} `json:"qemu"`
		Package string `json:"package"`
	} `json:"version"`
}

// message is any line that QEMU sends; exactly one of the first four fields is set.
type message struct {
	Greeting *Greeting        `json:"QMP"`
	Event    string           `json:"event"`
	Return   *json.RawMessage `json:"return"`
	Error    *Error           `json:"error"`

	ID        *uint64         `json:"id"` // of the command that is answered
	Data      json.RawMessage `json:"data"`
	Timestamp struct {
		Seconds      int64 `json:"seconds"`
		Microseconds int64 `json:"microseconds"`
	} `json:"timestamp"`
}

var errForm = errors.New("not one of greeting, event, return and error")

// parse reads one line (QEMU's docs/interop/qmp-spec.txt, section 2).
func parse(line []byte) (message, error) {
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		return message{}, fmt.Errorf("parse qmp message: %w", err)
	}
	n := 0
	for _, present := range []bool{m.Greeting != nil, m.Event != "", m.Return != nil, m.Error != nil} {
		if present {
			n++
		}
	}
	if n != 1 {
		return message{}, fmt.Errorf("parse qmp message: %w", errForm)
	}
	return m, nil
}

func (m message) event() Event {
	at := time.Unix(m.Timestamp.Seconds, m.Timestamp.Microseconds*int64(time.Microsecond))
	return Event{Name: m.Event, Data: m.Data, At: at}
}
