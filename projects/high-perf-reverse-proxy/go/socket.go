package main

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// nothingStops is the stop of a socket that nobody else ends.
var nothingStops atomic.Bool

var (
	errTimeout = errors.New("timed out")
	errStopped = errors.New("stopped")
)

// Sizes of buffers. A stream buffer has room for 64 KiB, before them for a head that
// became longer than it was or for the size of a chunk, and behind them for the end of a chunk.
const (
	streamHeadroom    = 1 << 10
	streamTailroom    = 512
	streamBufferBytes = 72 << 10 // a multiple of the pages that the allocator would round to
	streamBytes       = streamBufferBytes - streamHeadroom - streamTailroom
	requestSlack      = 4 << 10
)

// buffer holds the bytes from start to end.
type buffer struct {
	data       []byte
	start, end int
}

func (b *buffer) bytes() []byte { return b.data[b.start:b.end] }

// bufferPool lends buffers of one size.
type bufferPool struct {
	pool               sync.Pool
	headroom, tailroom int
}

func newBufferPool(size, headroom, tailroom int) *bufferPool {
	return &bufferPool{
		pool:     sync.Pool{New: func() any { return &buffer{data: make([]byte, size)} }},
		headroom: headroom, tailroom: tailroom,
	}
}

func (p *bufferPool) get() *buffer {
	b := p.pool.Get().(*buffer)
	b.start, b.end = p.headroom, p.headroom
	return b
}

func (p *bufferPool) put(b *buffer) { p.pool.Put(b) }

// room is where the next bytes go.
func (p *bufferPool) room(b *buffer) []byte { return b.data[b.end : len(b.data)-p.tailroom] }

// socket is a TCP connection with deadlines of the wheel, and with buffers that are
// borrowed when bytes are there, not while it waits for them.
//
// One goroutine reads at a time and one writes; they may be two.
type socket struct {
	alarm
	conn  *net.TCPConn
	raw   syscall.RawConn
	wheel *wheel
	pool  *bufferPool
	in    *buffer      // what came and was not used yet; nil where there is nothing
	stop  *atomic.Bool // set by others when waiting is in vain

	// What the callbacks work on. They are made once: a closure for each read would be garbage.
	lender     *bufferPool
	into       []byte // where to read to; nil: lend a buffer
	limit      int    // how much to read into a lent buffer
	lent       *buffer
	count      int
	readErr    error
	outgoing   []byte
	slowest    time.Duration // how long the peer may take nothing
	writeErr   error
	onReadable func(uintptr) bool
	onWritable func(uintptr) bool
}

func (s *socket) open(conn *net.TCPConn, w *wheel, pool *bufferPool) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	s.conn, s.raw, s.wheel, s.pool, s.stop = conn, raw, w, pool, &nothingStops
	s.onReadable, s.onWritable = s.stepRead, s.stepWrite
	s.target = conn
	w.add(&s.alarm)
	return nil
}

func (s *socket) close() {
	s.wheel.remove(&s.alarm)
	s.conn.Close()
	s.release()
}

// release gives the buffer back with whatever is in it.
func (s *socket) release() {
	if s.in != nil {
		s.pool.put(s.in)
		s.in = nil
	}
}

// wake lets whoever waits on the socket look at stop. A needless call is harmless.
func (s *socket) wake() { s.conn.SetDeadline(longAgo) }

// startFill and endFill are what stands around a wait for more bytes in in.
func (s *socket) startFill() {
	if s.in == nil {
		s.lender, s.limit, s.into = s.pool, streamBytes, nil
	} else {
		s.into = s.pool.room(s.in)
	}
}

func (s *socket) endFill() (err error) {
	if s.in == nil {
		s.in, err = s.takeLent()
		return err
	}
	s.in.end += s.count
	return s.readErr
}

// borrow waits for bytes without memory of its own, and returns them in a buffer of the pool.
func (s *socket) borrow(pool *bufferPool, limit int, until int64) (*buffer, error) {
	s.lender, s.limit, s.into = pool, limit, nil
	if err := s.awaitReadable(s.onReadable, until); err != nil {
		return nil, err
	}
	return s.takeLent()
}

// takeLent returns the buffer that stepRead read into.
func (s *socket) takeLent() (*buffer, error) {
	lent := s.lent
	s.lent = nil
	if s.readErr != nil {
		s.lender.put(lent)
		return nil, s.readErr
	}
	lent.end += s.count
	return lent, nil
}

// stepRead reads once; false where nothing is there.
func (s *socket) stepRead(fd uintptr) bool {
	into := s.into
	if into == nil {
		s.lent = s.lender.get()
		into = s.lender.room(s.lent)
		into = into[:min(len(into), s.limit)]
	}
	s.count, s.readErr = receive(fd, into)
	if s.readErr == syscall.EAGAIN {
		if s.lent != nil {
			s.lender.put(s.lent)
			s.lent = nil
		}
		return false
	}
	return true
}

// awaitReadable runs step now and whenever the socket is readable, until it returns true.
func (s *socket) awaitReadable(step func(uintptr) bool, until int64) error {
	s.readUntil.Store(until)
	for {
		if s.stop.Load() {
			return errStopped
		}
		err := s.raw.Read(step)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if s.stop.Load() {
			return errStopped
		}
		if s.wheel.now() >= s.readUntil.Load() {
			return errTimeout
		}
		// The alarm rang for an earlier wait, or somebody woke us for nothing.
		s.conn.SetReadDeadline(time.Time{})
	}
}

// write sends all of data; it fails where the peer takes nothing for as long as patience.
func (s *socket) write(data []byte, patience time.Duration) error {
	s.outgoing, s.slowest, s.writeErr = data, patience, nil
	for {
		if s.stop.Load() {
			return errStopped
		}
		err := s.raw.Write(s.onWritable)
		if err == nil {
			return s.writeErr
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if s.stop.Load() {
			return errStopped
		}
		if until := s.writeUntil.Load(); until != 0 && s.wheel.now() >= until {
			s.writeUntil.Store(0)
			return errTimeout
		}
		s.conn.SetWriteDeadline(time.Time{})
	}
}

// stepWrite sends what it can; false where the peer must take some of it first.
func (s *socket) stepWrite(fd uintptr) bool {
	for len(s.outgoing) > 0 {
		n, err := send(fd, s.outgoing)
		if err == syscall.EAGAIN {
			s.writeUntil.Store(s.wheel.after(s.slowest))
			return false
		}
		if err != nil {
			s.writeErr = err
			break
		}
		s.outgoing = s.outgoing[n:]
	}
	if s.writeUntil.Load() != 0 {
		s.writeUntil.Store(0)
	}
	return true
}

// receive reads from a socket that does not block.
func receive(fd uintptr, into []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), into)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// send writes to a socket that does not block.
func send(fd uintptr, data []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), data)
		if err != syscall.EINTR {
			return n, err
		}
	}
}
