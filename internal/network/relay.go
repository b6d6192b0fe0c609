package network

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// relayChunk bounds what is moved from the host to the guest at once, in bytes: one buffer of the stack.
const relayChunk = 64 << 10

// relay carries one TCP connection between the stack and a socket of the host, each direction to its own end. It has
// no buffers: bytes go from the stack's segments to the socket and from the socket to new segments, so that a
// connection that waits costs two goroutines and nothing else.
type relay struct {
	guest   tcpip.Endpoint
	queue   *waiter.Queue
	host    *net.TCPConn
	aborted chan struct{}
	abort   func()
}

func newRelay(guest tcpip.Endpoint, queue *waiter.Queue, host *net.TCPConn) *relay {
	r := &relay{guest: guest, queue: queue, host: host, aborted: make(chan struct{})}
	r.abort = sync.OnceFunc(func() {
		close(r.aborted)
		abort(host)
		guest.Abort()
	})
	return r
}

// abort closes a socket with a reset, which is what its peer would see of a connection that broke.
func abort(host *net.TCPConn) {
	_ = host.SetLinger(0) // an error means that the connection is gone already
	_ = host.Close()
}

// run returns when both directions have ended. A direction that ends in order ends only itself; one that breaks,
// and the end of ctx, break the connection.
func (r *relay) run(ctx context.Context) {
	defer context.AfterFunc(ctx, r.abort)()
	broken := waiter.NewFunctionEntry(waiter.EventErr, func(waiter.EventMask) {
		if tcp.EndpointState(r.guest.State()) == tcp.StateError {
			go r.abort() // the stack holds the endpoint's lock while it notifies
		}
	})
	r.queue.EventRegister(&broken)
	defer r.queue.EventUnregister(&broken)

	var directions sync.WaitGroup
	for _, carry := range []func() error{r.guestToHost, r.hostToGuest} {
		directions.Go(func() {
			if err := carry(); err != nil {
				r.abort()
			}
		})
	}
	directions.Wait()
	_ = r.host.Close() // both directions have ended and all bytes are the kernel's
	r.guest.Close()
}

// guestToHost returns nil after the guest has sent its end and the host's socket was given it.
func (r *relay) guestToHost() error {
	raw, err := r.host.SyscallConn()
	if err != nil {
		return err
	}
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	r.queue.EventRegister(&entry)
	defer r.queue.EventUnregister(&entry)
	for {
		sink := socketWriter{}
		var stackErr tcpip.Error
		err := raw.Write(func(fd uintptr) bool {
			sink = socketWriter{fd: int(fd)}
			_, stackErr = r.guest.Read(&sink, tcpip.ReadOptions{})
			return !errors.Is(sink.err, unix.EAGAIN)
		})
		switch {
		case err != nil:
			return err
		case sink.err != nil:
			return sink.err
		}
		switch stackErr.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			if err := r.wait(ready); err != nil {
				return err
			}
		case *tcpip.ErrClosedForReceive:
			return r.host.CloseWrite()
		default:
			return stackError("read from guest", stackErr)
		}
	}
}

// hostToGuest returns nil after the host's peer has sent its end and the stack was given it.
func (r *relay) hostToGuest() error {
	raw, err := r.host.SyscallConn()
	if err != nil {
		return err
	}
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	r.queue.EventRegister(&entry)
	defer r.queue.EventUnregister(&entry)
	for {
		var size int
		var socketErr error
		var stackErr tcpip.Error
		err := raw.Read(func(fd uintptr) bool {
			if size, socketErr = readable(int(fd)); errors.Is(socketErr, unix.EAGAIN) {
				return false
			}
			if socketErr == nil {
				_, stackErr = r.guest.Write(&socketReader{fd: int(fd), size: size}, tcpip.WriteOptions{})
			}
			return true
		})
		switch {
		case err != nil:
			return err
		case errors.Is(socketErr, io.EOF):
			return r.endGuest()
		case socketErr != nil:
			return socketErr
		}
		switch stackErr.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			if err := r.wait(ready); err != nil {
				return err
			}
		default:
			return stackError("write to guest", stackErr)
		}
	}
}

func (r *relay) endGuest() error {
	if err := r.guest.Shutdown(tcpip.ShutdownWrite); err != nil {
		return stackError("end stream to guest", err)
	}
	return nil
}

func (r *relay) wait(ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-r.aborted:
		return net.ErrClosed
	}
}

// readable returns how many bytes a socket holds, at most relayChunk: io.EOF after its peer's end, EAGAIN while there
// is nothing.
func readable(fd int) (int, error) {
	for {
		n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
		if err != nil {
			return 0, err
		}
		if n > 0 {
			return min(n, relayChunk), nil
		}
		var probe [1]byte
		n, _, err = unix.Recvfrom(fd, probe[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil // it has come in the meantime, or the kernel does not count it: urgent data
		}
	}
}

// socketWriter writes what fits into a socket's buffer at once. A write that was cut short has err set: EAGAIN when
// the buffer is full.
type socketWriter struct {
	fd  int
	err error
}

func (w *socketWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(w.fd, p[done:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			w.err = err
			return done, err
		}
		done += n
	}
	return done, nil
}

// socketReader gives the stack size bytes, which are in the socket's buffer already.
type socketReader struct {
	fd   int
	size int
}

func (r *socketReader) Len() int { return r.size }

// Read never returns less than is asked for without an error: the stack would ask for ever.
func (r *socketReader) Read(p []byte) (int, error) {
	p = p[:min(len(p), r.size)]
	done := 0
	for done < len(p) {
		n, err := unix.Read(r.fd, p[done:])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return done, err
		case n == 0:
			return done, io.ErrUnexpectedEOF
		default:
			done += n
		}
	}
	return done, nil
}
