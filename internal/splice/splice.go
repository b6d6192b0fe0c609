// Package splice makes httputil.ReverseProxy pass an upgraded stream on to its last byte.
//
// The proxy closes both sides as soon as writing to one of them fails. A command that ends before it has read its input
// does that to the stream that its exit status is on: the agent sends the status and closes, the next piece of input
// has nowhere to go, and what the agent sent last is lost.
package splice

import (
	"io"
	"net/http"
	"sync/atomic"
)

// KeepAnswer is an httputil.ReverseProxy.ModifyResponse. The end of an upgraded stream is that of what the backend
// sends; what the client still sends to a backend that takes no more is dropped.
func KeepAnswer(res *http.Response) error {
	if body, ok := res.Body.(io.ReadWriteCloser); ok && res.StatusCode == http.StatusSwitchingProtocols {
		res.Body = &patient{ReadWriteCloser: body}
	}
	return nil
}

// patient is a backend whose writes do not fail.
type patient struct {
	io.ReadWriteCloser
	deaf atomic.Bool
}

func (p *patient) Write(b []byte) (int, error) {
	if p.deaf.Load() {
		return len(b), nil
	}
	if _, err := p.ReadWriteCloser.Write(b); err != nil {
		p.deaf.Store(true)
	}
	return len(b), nil
}

// CloseWrite tells the backend that the client is gone. A backend that cannot be told so is closed; one that takes no
// more has sent its last and is read to the end.
func (p *patient) CloseWrite() error {
	if p.deaf.Load() {
		return nil
	}
	if half, ok := p.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			p.deaf.Store(true)
		}
		return nil
	}
	return p.Close()
}
