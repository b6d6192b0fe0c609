package daemon

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"github.com/banger-dev/banger/internal/daemon/spawn"
	"github.com/banger-dev/banger/internal/httpapi"
)

// Report tells whoever started the daemon, once, that it serves or why it does not.
type Report struct {
	pipe *os.File
	once sync.Once
}

// NewReport returns a report that goes to pipe; nil: nobody waits for one.
func NewReport(pipe *os.File) *Report { return &Report{pipe: pipe} }

// Awaited tells whether somebody waits for the report.
func (r *Report) Awaited() bool { return r.pipe != nil }

// Send sends the report and closes the pipe. Only the first call does anything.
func (r *Report) Send(failure error) (err error) {
	if r.pipe == nil {
		return nil
	}
	r.once.Do(func() {
		report := spawn.Report{}
		if failure != nil {
			report.Error = httpapi.Problem(failure)
		}
		if err = json.NewEncoder(r.pipe).Encode(report); err != nil {
			err = fmt.Errorf("report to whoever started the daemon: %w", err)
		}
		_ = r.pipe.Close()
	})
	return err
}
