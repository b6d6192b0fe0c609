package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "x"}, "capabilities": ["oob"]}}`

// server plays QEMU: it greets and answers each command with what reply returns, %d standing for the command's id.
func server(t *testing.T, conn net.Conn, reply func(command string) string) {
	t.Helper()
	go func() {
		defer func() { _ = conn.Close() }()
		if _, err := fmt.Fprintln(conn, greeting); err != nil {
			return
		}
		lines := bufio.NewScanner(conn)
		for lines.Scan() {
			var c struct {
				Execute string
				ID      uint64
			}
			if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
				t.Errorf("command %q: %v", lines.Text(), err)
				return
			}
			answer := reply(c.Execute)
			if answer == "" {
				return
			}
			if _, err := fmt.Fprintln(conn, strings.ReplaceAll(answer, "%d", fmt.Sprint(c.ID))); err != nil {
				return
			}
		}
	}()
}

func connect(t *testing.T, event func(Event), reply func(string) string) *Client {
	t.Helper()
	ours, theirs := net.Pipe()
	server(t, theirs, reply)
	c, g, err := Connect(context.Background(), ours, event)
	if err != nil {
		t.Fatal(err)
	}
	if v := g.Version.QEMU; v.Major != 7 || v.Minor != 2 || v.Micro != 22 {
		t.Errorf("greeting %+v", g)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestExecute(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	var mu sync.Mutex
	var events []string
	c := connect(t, func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e.Name+string(e.Data))
	}, func(command string) string {
		switch command {
		case "query-status":
			return `{"event":"RESUME","timestamp":{"seconds":1,"microseconds":2}}` + "\n" +
				`{"return":{"status":"running"},"id":%d}`
		case "bad":
			return `{"error":{"class":"GenericError","desc":"no way"},"id":%d}`
		case "die":
			return ""
		}
		return `{"return":{},"id":%d}`
	})
	var status struct{ Status string }
	if err := c.Execute(context.Background(), "query-status", nil, &status); err != nil || status.Status != "running" {
		t.Errorf("query-status: %+v, %v", status, err)
	}
	var refused *Error
	if err := c.Execute(context.Background(), "bad", map[string]int{"x": 1}, nil); !errors.As(err, &refused) || refused.Desc != "no way" {
		t.Errorf("bad: %v, want the refusal", err)
	}
	for range 2 {
		if err := c.Execute(context.Background(), "die", nil, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("die: %v, want ErrClosed", err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(events) != 1 || events[0] != "RESUME" {
		t.Errorf("events %q", events)
	}
}

func TestExecuteConcurrently(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	c := connect(t, func(Event) {}, func(command string) string { return `{"return":"` + command + `","id":%d}` })
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			var got string
			want := fmt.Sprintf("command-%d", i)
			if err := c.Execute(context.Background(), want, nil, &got); err != nil || got != want {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		})
	}
	wg.Wait()
}

func TestExecuteGivesUp(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	c := connect(t, func(Event) {}, func(command string) string {
		if command == "hang" {
			return `{"event":"BUSY"}`
		}
		return `{"return":{},"id":%d}`
	})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := c.Execute(ctx, "hang", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
	if err := c.Execute(context.Background(), "other", nil, nil); err != nil {
		t.Errorf("the next command: %v", err)
	}
}

func TestConnectFails(t *testing.T) {
	for _, one := range []struct {
		name, text string
		want       error
	}{
		{"nothing", "", ErrClosed},
		{"nonsense", "hello\n", ErrClosed},
		{"too long", strings.Repeat("x", maxLine+1), ErrClosed},
		{"greeting only", greeting + "\n", ErrClosed},
		{"silence", "hang", context.DeadlineExceeded},
	} {
		t.Run(one.name, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			ours, theirs := net.Pipe()
			go func() {
				if one.text != "hang" {
					_, _ = theirs.Write([]byte(one.text)) // the client may close first
					_ = theirs.Close()
				}
			}()
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			if _, _, err := Connect(ctx, ours, func(Event) {}); !errors.Is(err, one.want) {
				t.Errorf("got %v, want %v", err, one.want)
			}
			_ = theirs.Close()
		})
	}
}

// FuzzParse has its corpus in testdata.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := parse(line)
		if err != nil {
			return
		}
		switch {
		case m.Event != "":
			e := m.event()
			if len(e.Data) > 0 && !json.Valid(e.Data) {
				t.Errorf("event data %q is no JSON", e.Data)
			}
		case m.Greeting != nil:
		case m.Error != nil:
			if err := answer("x", m, nil); err == nil {
				t.Error("a refusal is no error")
			}
		default:
			var v any
			if err := answer("x", m, &v); err != nil {
				t.Errorf("answer %q: %v", line, err)
			}
		}
	})
}
