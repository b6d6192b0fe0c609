package agent

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/guest/proto"
)

// maxBody bounds a request's JSON, in bytes. Linux takes about 2 MiB of arguments and environment.
const maxBody = 8 << 20

// handler returns the server's routes. end ends the session.
func (a *Agent) handler(end func()) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+proto.RouteInfo, a.getInfo)
	mux.HandleFunc("PUT "+proto.RouteIdentity, a.putIdentity)
	mux.HandleFunc("POST "+proto.RouteExec, a.postExec)
	mux.HandleFunc("POST "+proto.RouteSync, a.postSync)
	mux.HandleFunc("POST "+proto.RouteShutdown, func(w http.ResponseWriter, r *http.Request) { a.postShutdown(w, r, end) })
	return mux
}

func (a *Agent) getInfo(w http.ResponseWriter, _ *http.Request) { a.answerInfo(w) }

func (a *Agent) answerInfo(w http.ResponseWriter) {
	info, err := a.info()
	if err != nil {
		a.fail(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(info); err != nil {
		a.log.Debug("answer info", "error", err)
	}
}

func (a *Agent) info() (proto.Info, error) {
	_, configured := a.current()
	info := proto.Info{Version: a.o.Version, Init: a.o.Init, Configured: configured, Warnings: a.o.Warnings}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return info, fmt.Errorf("read boot id: %w", err)
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return info, fmt.Errorf("uname: %w", err)
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return info, fmt.Errorf("read uptime: %w", err)
	}
	info.BootID = strings.TrimSpace(string(id))
	info.Kernel = unix.ByteSliceToString(uts.Release[:])
	info.Hostname = unix.ByteSliceToString(uts.Nodename[:])
	info.UptimeMS = time.Duration(up.Nano()).Milliseconds()
	return info, nil
}

func (a *Agent) putIdentity(w http.ResponseWriter, r *http.Request) {
	var id proto.Identity
	if err := decode(w, r, &id); err != nil {
		a.fail(w, http.StatusBadRequest, err)
		return
	}
	if a.o.System != nil {
		if err := a.o.System.Apply(r.Context(), id); err != nil {
			a.fail(w, http.StatusInternalServerError, fmt.Errorf("apply identity: %w", err))
			return
		}
	}
	a.setIdentity(id)
	a.answerInfo(w)
}

func (a *Agent) postSync(w http.ResponseWriter, _ *http.Request) {
	unix.Sync()
	w.WriteHeader(http.StatusNoContent)
}

func (a *Agent) postShutdown(w http.ResponseWriter, r *http.Request, end func()) {
	var req proto.ShutdownRequest
	if err := decode(w, r, &req); err != nil {
		a.fail(w, http.StatusBadRequest, err)
		return
	}
	unix.Sync()
	w.WriteHeader(http.StatusAccepted)
	// The answer leaves before the machine begins to go.
	if err := http.NewResponseController(w).Flush(); err != nil {
		a.log.Debug("answer shutdown", "error", err)
	}
	if a.o.System == nil {
		end()
		return
	}
	if err := a.o.System.Shutdown(r.Context(), req); err != nil {
		a.log.Error("shutdown", "error", err)
	}
}

func decode(w http.ResponseWriter, r *http.Request, v any) error {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(v); err != nil {
		return fmt.Errorf("read request %s: %w", r.URL.Path, err)
	}
	return nil
}

func (a *Agent) fail(w http.ResponseWriter, status int, err error) {
	code := "internal"
	if status < http.StatusInternalServerError {
		code = "invalid"
	}
	a.log.Warn("request failed", "status", status, "error", err)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	p := proto.Problem{Status: status, Title: http.StatusText(status), Code: code, Detail: err.Error()}
	if err := json.NewEncoder(w).Encode(p); err != nil {
		a.log.Debug("answer failure", "error", err)
	}
}
