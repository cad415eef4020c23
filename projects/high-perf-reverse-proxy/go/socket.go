package main

import (
	"errors"
	"io"
	"syscall"
	"time"
	"unsafe"
)

var (
	errTimeout = errors.New("timed out")
	errStopped = errors.New("stopped")
)

// never is the stop of a socket that nobody else ends.
var never bool

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

// bufferPool lends buffers of one size to the tasks of one loop.
type bufferPool struct {
	size, headroom, tailroom int
	unused                   []*buffer
}

// maxUnusedBuffers are kept; the garbage collector gets what a rush leaves behind.
const maxUnusedBuffers = 64

func (p *bufferPool) get() (b *buffer) {
	if last := len(p.unused) - 1; last >= 0 {
		b, p.unused = p.unused[last], p.unused[:last]
	} else {
		b = &buffer{data: make([]byte, p.size)}
	}
	b.start, b.end = p.headroom, p.headroom
	return b
}

func (p *bufferPool) put(b *buffer) {
	if len(p.unused) < maxUnusedBuffers {
		p.unused = append(p.unused, b)
	}
}

// room is where the next bytes go.
func (p *bufferPool) room(b *buffer) []byte { return b.data[b.end : len(b.data)-p.tailroom] }

// socket is a TCP connection of a loop. One task reads it at a time and one writes it;
// they may be two. A buffer is borrowed when bytes are there, not while a task waits for them.
type socket struct {
	alarm
	fd    int
	place int32 // of its loop's table
	loop  *loop
	owner owner
	pool  *bufferPool
	in    *buffer // what came and was not used yet; nil where there is nothing
	stop  *bool   // set by others when waiting is in vain

	readable, writable bool // as far as we know; trying is the proof
	ended              bool // the peer sends no more
	broken             bool // reset
	reads              int  // without a pause
}

// owner is told of events on a socket, besides the tasks that wait at it.
type owner interface{ noticed() }

// maxReads is how often a task reads without giving way, where bytes never end.
const maxReads = 16

// open takes over a connection that does not block.
func (s *socket) open(l *loop, fd int, pool *bufferPool, o owner) error {
	s.loop, s.fd, s.pool, s.owner, s.stop = l, fd, pool, o, &never
	if err := l.watch(s); err != nil {
		return err
	}
	l.wheel.add(&s.alarm)
	return nil
}

func (s *socket) close() {
	s.loop.forget(s)
	s.loop.wheel.remove(&s.alarm)
	syscall.Close(s.fd)
	s.release()
}

// release gives the buffer back with whatever is in it.
func (s *socket) release() {
	if s.in != nil {
		s.pool.put(s.in)
		s.in = nil
	}
}

// wake lets whoever waits on the socket look at stop.
func (s *socket) wake() {
	s.loop.schedule(s.read.task)
	s.loop.schedule(s.write.task)
}

// notice takes in an event.
func (s *socket) notice(events uint32) {
	over := events&(syscall.EPOLLERR|syscall.EPOLLHUP) != 0
	s.broken = s.broken || events&syscall.EPOLLERR != 0
	s.ended = s.ended || over || events&syscall.EPOLLRDHUP != 0
	if s.ended || events&syscall.EPOLLIN != 0 {
		s.readable = true
		s.loop.schedule(s.read.task)
	}
	if over || events&syscall.EPOLLOUT != 0 {
		s.writable = true
		s.loop.schedule(s.write.task)
	}
	if s.readable {
		s.owner.noticed()
	}
}

// fill reads more into in.
func (s *socket) fill(until int64) (err error) {
	if s.in == nil {
		s.in, err = s.borrow(s.pool, streamBytes, until)
		return err
	}
	n, err := s.receive(s.pool.room(s.in), until)
	s.in.end += n
	return err
}

// borrow waits for bytes without memory of its own, and returns them in a buffer of a pool.
func (s *socket) borrow(pool *bufferPool, limit int, until int64) (*buffer, error) {
	for {
		if err := s.awaitReadable(until); err != nil {
			return nil, err
		}
		b := pool.get()
		room := pool.room(b)
		n, err := s.tryReceive(room[:min(len(room), limit)])
		if err == nil {
			b.end += n
			return b, nil
		}
		pool.put(b)
		if err != syscall.EAGAIN {
			return nil, err
		}
	}
}

// receive waits for bytes and reads them; the end of the stream is io.EOF.
func (s *socket) receive(into []byte, until int64) (int, error) {
	for {
		if err := s.awaitReadable(until); err != nil {
			return 0, err
		}
		if n, err := s.tryReceive(into); err != syscall.EAGAIN {
			return n, err
		}
	}
}

// awaitReadable waits for an event where the last one is used up.
func (s *socket) awaitReadable(until int64) error {
	if s.readable {
		if s.reads++; s.reads > maxReads {
			s.reads = 0
			s.loop.giveWay()
		}
	}
	for !*s.stop {
		if s.readable {
			return nil
		}
		if s.loop.wheel.now >= until {
			return errTimeout
		}
		s.reads = 0
		s.loop.pauseAt(&s.read, until)
	}
	return errStopped
}

// tryReceive reads once. Events come on changes only, but a read that gets less than it
// could hold has emptied the socket, so no second one need ask.
func (s *socket) tryReceive(into []byte) (int, error) {
	n, err := receive(s.fd, into)
	if err == syscall.EAGAIN || n < len(into) && !s.ended {
		s.readable = false
	}
	if err == nil && n == 0 {
		return 0, io.EOF
	}
	return n, err
}

// send sends all of data; it fails where the peer takes nothing for as long as patience.
func (s *socket) send(data []byte, patience time.Duration) error {
	for !*s.stop {
		n, err := send(s.fd, data)
		switch {
		case err == nil && n == len(data):
			return nil
		case err == nil:
			data = data[n:]
			continue
		case err != syscall.EAGAIN:
			return err
		}
		if err := s.awaitWritable(patience); err != nil {
			return err
		}
	}
	return errStopped
}

// awaitWritable waits until the peer, or the kernel, takes more.
func (s *socket) awaitWritable(patience time.Duration) error {
	until := s.loop.wheel.after(patience)
	for s.writable = false; !s.writable; {
		if *s.stop {
			return errStopped
		}
		if s.loop.wheel.now >= until {
			return errTimeout
		}
		s.loop.pauseAt(&s.write, until)
	}
	return nil
}

// endOutput tells the peer that no more will come.
func (s *socket) endOutput() { syscall.Shutdown(s.fd, syscall.SHUT_WR) }

// resetOnClose lets closing be a reset, which nobody takes for the end of a body.
func (s *socket) resetOnClose() {
	syscall.SetsockoptLinger(s.fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
}

// The calls below do not block, so the scheduler need not be told of them: that would
// cost more than many of them do.

// receive reads what is there, at most as much as fits.
func receive(fd int, into []byte) (int, error) {
	// The slice is not empty: its first byte exists, and it stays alive to the end of the call.
	for {
		n, _, code := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(into))), uintptr(len(into)))
		switch code {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, code
		}
	}
}

// send sends as much as fits. A peer that is gone is an error and no signal.
func send(fd int, data []byte) (int, error) {
	// As above: the slice stays alive to the end of the call.
	for {
		n, _, code := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)),
			syscall.MSG_NOSIGNAL, 0, 0)
		switch code {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, code
		}
	}
}
