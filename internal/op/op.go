// Package op follows long operations: each has an id, stages that are timed and logged, and progress that anyone may
// watch. A service reports to the operation in its context and does not know who listens.
package op

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"
)

// Event is one report of an operation.
type Event struct {
	Stage   string        // what is being done; empty for a warning
	Detail  string        // the subject of the stage
	Current int64         // bytes or items done in this stage
	Total   int64         // 0: not known
	Elapsed time.Duration // since the operation began
	Ended   bool          // the stage is over
	Took    time.Duration // of the stage, when it is over
	Warning string
}

// Operation is one unit of work that a user asked for. Its methods may be called from several goroutines and on nil.
type Operation struct {
	ID    string
	kind  string
	start time.Time
	log   *slog.Logger

	mu     sync.Mutex
	listen func(Event)
}

type key struct{}

// Start begins an operation of the given kind ("image build") on subject and returns a context that carries it.
// listen, which may be nil, is called for each event, one at a time; it must not block.
// The caller ends it with [Operation.End].
func Start(ctx context.Context, log *slog.Logger, kind, subject string, listen func(Event)) (context.Context, *Operation) {
	var id [6]byte
	_, _ = rand.Read(id[:]) // crypto/rand.Read never fails
	o := &Operation{ID: hex.EncodeToString(id[:]), kind: kind, start: time.Now(), listen: listen}
	o.log = log.With("op", o.ID, "kind", kind, "subject", subject)
	o.log.Info("operation started")
	return context.WithValue(ctx, key{}, o), o
}

// From returns the operation that ctx carries, or nil.
func From(ctx context.Context) *Operation {
	o, _ := ctx.Value(key{}).(*Operation)
	return o
}

// Log returns the operation's logger, which marks every line with its id; without an operation, the default logger.
func Log(ctx context.Context) *slog.Logger {
	if o := From(ctx); o != nil {
		return o.log
	}
	return slog.Default()
}

// End logs the outcome.
func (o *Operation) End(err error) {
	if o == nil {
		return
	}
	took := time.Since(o.start)
	if err != nil {
		o.log.Error("operation failed", "took", took, "error", err)
		return
	}
	o.log.Info("operation done", "took", took)
}

func (o *Operation) send(e Event) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.listen == nil {
		return
	}
	e.Elapsed = time.Since(o.start)
	o.listen(e)
}

// Relay passes on the report of another operation, which this one waits for.
func (o *Operation) Relay(e Event) { o.send(e) }

// Warn reports something that the user should know although the operation goes on.
func Warn(ctx context.Context, text string) {
	Log(ctx).Warn(text)
	From(ctx).send(Event{Warning: text})
}

// Stage is a part of an operation with a name of its own.
type Stage struct {
	op     *Operation
	ctx    context.Context //nolint:containedctx // only for the logger of a stage without an operation
	name   string
	detail string
	start  time.Time
	total  int64

	mu       sync.Mutex
	current  int64
	reported time.Time
}

// Begin starts a stage of the operation in ctx. Call [Stage.End] when it is over.
func Begin(ctx context.Context, name, detail string) *Stage {
	s := &Stage{op: From(ctx), ctx: ctx, name: name, detail: detail, start: time.Now()}
	s.op.send(Event{Stage: name, Detail: detail})
	return s
}

// Total sets how many bytes or items the stage has.
func (s *Stage) Total(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total = n
}

// Add counts n more bytes or items as done. It reports at most ten times a second.
func (s *Stage) Add(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current += n
	if now := time.Now(); now.Sub(s.reported) >= 100*time.Millisecond {
		s.reported = now
		s.op.send(Event{Stage: s.name, Detail: s.detail, Current: s.current, Total: s.total})
	}
}

// Write counts len(p); a Stage is an io.Writer so that it can sit in an io.MultiWriter or io.TeeReader.
func (s *Stage) Write(p []byte) (int, error) {
	s.Add(int64(len(p)))
	return len(p), nil
}

// End ends the stage, logs how long it took and returns err as it is.
func (s *Stage) End(err error) error {
	took := time.Since(s.start)
	if err != nil {
		Log(s.ctx).Warn("stage failed", "stage", s.name, "detail", s.detail, "took", took, "error", err)
		return err
	}
	Log(s.ctx).Info("stage done", "stage", s.name, "detail", s.detail, "took", took)
	s.mu.Lock()
	current, total := s.current, s.total
	s.mu.Unlock()
	s.op.send(Event{Stage: s.name, Detail: s.detail, Current: current, Total: total, Ended: true, Took: took})
	return nil
}
