package daemon

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/shim/logfile"
)

// maxLog bounds each of the log's two generations, in bytes.
const maxLog = 4 << 20

// LogOptions say how the daemon logs.
type LogOptions struct {
	Path   string    // the log file
	Format string    // text or json
	Debug  bool      // also what is of interest to developers only
	Also   io.Writer // a terminal that is to show the log too; nil: none
}

// OpenLog opens the daemon's log. The caller closes it last.
func OpenLog(o LogOptions) (*slog.Logger, io.Closer, error) {
	file, err := logfile.Open(o.Path, maxLog, func(f *os.File) {
		_ = debug.SetCrashOutput(f, debug.CrashOptions{}) // standard error has it in any case
	})
	if err != nil {
		return nil, nil, fmt.Errorf("daemon: %w", err)
	}
	var w io.Writer = file
	if o.Also != nil {
		w = io.MultiWriter(file, o.Also)
	}
	level := slog.LevelInfo
	if o.Debug {
		level = slog.LevelDebug
	}
	options := &slog.HandlerOptions{Level: level}
	switch o.Format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), file, nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), file, nil
	}
	_ = file.Close()
	return nil, nil, errdefs.New(errdefs.ErrInvalid, "log format %q: must be text or json", o.Format)
}
