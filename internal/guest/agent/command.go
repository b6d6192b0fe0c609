package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/banger-dev/banger/internal/guest/account"
	"github.com/banger-dev/banger/internal/guest/proto"
)

// Exit codes of a command that did not start, those of docker and podman.
const (
	codeFailed        = 125
	codeNotExecutable = 126
	codeNotFound      = 127
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// startError is why a command did not start.
type startError struct {
	code int
	err  error
}

func (e *startError) Error() string { return e.err.Error() }
func (e *startError) Unwrap() error { return e.err }

func notStarted(code int, format string, args ...any) error {
	return &startError{code: code, err: fmt.Errorf(format, args...)}
}

// status turns the error of a command that did not start into what the client is told.
func status(err error) proto.ExitStatus {
	s := proto.ExitStatus{Code: codeFailed, Error: err.Error()}
	var start *startError
	if errors.As(err, &start) {
		s.Code = start.code
	}
	return s
}

// command resolves req in the guest: user, environment, directory and executable. Streams are not connected yet.
func (a *Agent) command(req proto.ExecRequest) (*exec.Cmd, account.User, error) {
	id, _ := a.current()
	user, err := a.user(first(req.User, id.User))
	if err != nil {
		return nil, user, notStarted(codeFailed, "%w", err)
	}
	env := environment(user, req.TTY, id.Env, req.Env)
	dir, err := workdir(user.Home, first(req.Workdir, id.Workdir))
	if err != nil {
		return nil, user, err
	}
	path, err := lookPath(req.Command[0], env["PATH"], dir)
	if err != nil {
		return nil, user, err
	}
	cmd := &exec.Cmd{Path: path, Args: req.Command, Env: list(env), Dir: dir}
	// A session of its own: signals go to its process group, and the agent's terminal, if any, is not the command's.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: user.UID, Gid: user.GID, Groups: user.Groups}
	}
	return cmd, user, nil
}

// user looks spec up. An agent that is not root, as in tests, only ever runs commands as itself.
func (a *Agent) user(spec string) (account.User, error) {
	uid := os.Geteuid()
	if uid != 0 && spec == "" {
		spec = fmt.Sprint(uid)
	}
	u, err := a.o.Accounts.Lookup(spec)
	if err == nil && uid != 0 && int(u.UID) != uid {
		err = fmt.Errorf("run as user %q: %w", spec, syscall.EPERM)
	}
	return u, err
}

// environment is what a login of u would have, with the lists of KEY=VALUE over it, later ones first.
func environment(u account.User, tty bool, lists ...[]string) map[string]string {
	env := map[string]string{"PATH": defaultPath, "HOME": u.Home, "SHELL": u.Shell}
	if u.Name != "" {
		env["USER"], env["LOGNAME"] = u.Name, u.Name
	}
	if tty {
		env["TERM"] = "xterm"
	}
	for _, l := range lists {
		for _, kv := range l {
			if k, v, ok := strings.Cut(kv, "="); ok {
				env[k] = v
			}
		}
	}
	return env
}

func list(env map[string]string) []string {
	l := make([]string, 0, len(env))
	for k, v := range env {
		l = append(l, k+"="+v)
	}
	return l
}

// workdir returns the directory to start in: dir, if need be below home, or home itself, or / when there is no home.
func workdir(home, dir string) (string, error) {
	if dir == "" {
		return homeOrRoot(home), nil
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(home, dir)
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return "", notStarted(codeFailed, "working directory %s: %w", dir, cause(err))
	case !info.IsDir():
		return "", notStarted(codeFailed, "working directory %s: %w", dir, syscall.ENOTDIR)
	}
	return dir, nil
}

// homeOrRoot does what login does with a home that is not there.
func homeOrRoot(home string) string {
	if info, err := os.Stat(home); err == nil && info.IsDir() {
		return home
	}
	return "/"
}

// lookPath finds the executable as a shell in dir with that PATH would.
func lookPath(name, path, dir string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		if err := executable(name); err != nil {
			return "", err
		}
		return name, nil
	}
	found := notStarted(codeNotFound, "%s: executable file not found in PATH", name)
	if name == "" {
		return "", found
	}
	for _, d := range filepath.SplitList(path) {
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d)
		}
		file := filepath.Join(d, name)
		err := executable(file)
		if err == nil {
			return file, nil
		}
		var start *startError
		if errors.As(err, &start) && start.code == codeNotExecutable {
			found = err
		}
	}
	return "", found
}

// executable tells whether someone may execute file; whether the command's user may is the kernel's to say.
func executable(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return notStarted(codeNotFound, "%s: no such file", file)
	case err != nil:
		return notStarted(codeNotExecutable, "%s: %w", file, cause(err))
	case info.IsDir():
		return notStarted(codeNotExecutable, "%s: is a directory", file)
	case info.Mode()&0o111 == 0:
		return notStarted(codeNotExecutable, "%s: permission denied", file)
	}
	return nil
}

// startFailure classifies what the kernel said to an executable that is there.
func startFailure(path string, err error) error {
	switch err := cause(err); {
	case errors.Is(err, syscall.ENOENT):
		return notStarted(codeNotExecutable, "%s: its interpreter or loader is missing", path)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOEXEC),
		errors.Is(err, syscall.ELIBBAD), errors.Is(err, syscall.ETXTBSY), errors.Is(err, syscall.E2BIG):
		return notStarted(codeNotExecutable, "%s: %w", path, err)
	default:
		return notStarted(codeFailed, "start %s: %w", path, err)
	}
}

// cause strips what the os package puts around an errno.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
