package recipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/banger-dev/banger/internal/userns"
)

// process is a stream that a program writes to its standard output.
type process struct {
	ctx      context.Context //nolint:containedctx // lives as long as the program; its cause explains why it was killed
	cmd      *userns.Cmd
	out      *os.File
	progress *progress
	ended    bool // Read has returned io.EOF: every process that could write has ended or is about to
}

// startProcess starts cmd, whose standard error goes to p.
func startProcess(ctx context.Context, cmd *userns.Cmd, p *progress) (*process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = w, p
	err = cmd.Start()
	_ = w.Close() // the program has its own
	if err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("start %s: %w", mmdebstrap, err)
	}
	return &process{ctx: ctx, cmd: cmd, out: r, progress: p}, nil
}

// Read implements Stream.
func (p *process) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if errors.Is(err, io.EOF) {
		p.ended = true
		if p.ctx.Err() != nil { // it was killed
			return n, context.Cause(p.ctx)
		}
	}
	return n, err
}

// Close implements Stream.
func (p *process) Close() error {
	var kill error
	if !p.ended {
		kill = p.cmd.Kill()
	}
	err := p.cmd.Wait()
	closed := p.out.Close()
	switch {
	case p.ctx.Err() != nil:
		err = context.Cause(p.ctx)
	case !p.ended:
		err = nil // it was killed here
	case err != nil:
		err = p.progress.explain(err)
	}
	p.progress.end(err)
	return errors.Join(err, kill, closed)
}
