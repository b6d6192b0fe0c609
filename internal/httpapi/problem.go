package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"

	"github.com/danielgtaylor/huma/v2"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

// Problem turns an error into the body and status that carry it. It is the only place that does.
func Problem(err error) *api.Error {
	var known *api.Error
	if errors.As(err, &known) {
		e := *known // what is around it says where it happened
		e.Detail = err.Error()
		if hint := errdefs.Hint(err); hint != "" {
			e.Hint = hint
		}
		return &e
	}
	e := &api.Error{Code: api.CodeInternal, Status: http.StatusInternalServerError, Detail: err.Error(), Hint: errdefs.Hint(err)}
	for _, c := range api.Conditions() {
		if errors.Is(err, c.Class) {
			e.Code, e.Status = c.Code, c.Status
			break
		}
	}
	if e.Code == api.CodeInternal && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) {
		e.Code, e.Status = api.CodeExhausted, http.StatusInsufficientStorage
		if e.Hint == "" {
			e.Hint = "free space on the file system, or set BANGER_HOME to a directory on another one"
		}
	}
	e.Title = string(e.Code)
	return e
}

var problemsOnce sync.Once

// useProblems makes huma report its own findings, such as a body that does not validate, like everything else.
// huma has one constructor of errors for the whole process.
func useProblems() {
	problemsOnce.Do(func() {
		huma.NewError = func(status int, message string, causes ...error) huma.StatusError {
			return frameworkProblem(status, message, causes)
		}
	})
}

func frameworkProblem(status int, message string, causes []error) *api.Error {
	var texts []string
	for _, cause := range causes {
		var detail *huma.ErrorDetail
		switch {
		case cause == nil:
		case errors.As(cause, &detail) && detail.Location != "":
			texts = append(texts, strings.TrimPrefix(detail.Location, "body.")+": "+detail.Message)
		default:
			texts = append(texts, cause.Error())
		}
	}
	if message != "validation failed" || len(texts) == 0 { // which says nothing beside what failed
		texts = append([]string{message}, texts...)
	}
	e := &api.Error{Code: api.CodeInternal, Status: status, Detail: strings.Join(texts, ": ")}
	if status >= 400 && status < 500 {
		e.Code = api.CodeInvalid
		if status == http.StatusUnprocessableEntity {
			e.Status = http.StatusBadRequest
		}
	}
	e.Title = string(e.Code)
	return e
}

// noRoute answers a request that no handler takes.
func noRoute(r *http.Request) *api.Error {
	return &api.Error{
		Code: api.CodeNotFound, Title: string(api.CodeNotFound), Status: http.StatusNotFound,
		Detail: fmt.Sprintf("%s %s: no such route", r.Method, r.URL.Path),
		Hint:   "GET " + api.RouteOpenAPI + " lists the routes",
	}
}

// writeProblem answers outside of huma's handlers.
func writeProblem(w http.ResponseWriter, e *api.Error) {
	w.Header().Set("Content-Type", e.ContentType(""))
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(e) // the client is gone then
}
