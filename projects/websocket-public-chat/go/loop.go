package main

import (
	"bytes"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const (
	eventsAtOnce = 256
	inputBytes   = 64 << 10
)

// loop reads from its clients and writes to them, in turns: what comes in one turn is
// answered at its end, with one write for each client.
type loop struct {
	server *server
	epoll  int
	file   *os.File // the same, watched by the runtime
	waker  int      // event descriptor
	asleep atomic.Bool
	outbox outbox

	// Of the loop alone.
	clients []*client // by descriptor
	events  [eventsAtOnce]syscall.EpollEvent
	input   []byte
	header  bytes.Reader

	arrivalsLock sync.Mutex
	arrivals     []arrival
}

// newLoop opens the descriptors of a loop.
func newLoop(s *server) (*loop, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	waker, _, code := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if code != 0 {
		return nil, code
	}
	if err := syscall.SetNonblock(epoll, true); err != nil { // or the runtime would not watch it
		return nil, err
	}
	l := &loop{server: s, epoll: epoll, waker: int(waker), input: make([]byte, inputBytes)}
	l.file = os.NewFile(uintptr(epoll), "epoll")
	return l, l.watch(syscall.EPOLL_CTL_ADD, l.waker, syscall.EPOLLIN)
}

// run serves for ever: a turn is tried whenever the runtime finds the epoll descriptor readable.
func (l *loop) run() {
	raw, err := l.file.SyscallConn()
	if err == nil {
		err = raw.Read(func(uintptr) bool {
			for l.turn() {
			}
			return false
		})
	}
	logLine("error: event loop: %v", err)
	os.Exit(exitMachine)
}

// turn does what there is to do, and tells whether there was something.
func (l *loop) turn() bool {
	count := l.ready()
	if count == 0 && l.outbox.isEmpty() {
		l.asleep.Store(true)
		if l.outbox.isEmpty() && !l.hasArrivals() {
			return false // a wake that comes from here on makes the descriptor readable
		}
	}
	l.asleep.Store(false)
	for i := range l.events[:count] {
		l.handle(&l.events[i])
	}
	for _, a := range l.takeArrivals() {
		l.welcome(a)
	}
	for clients := l.outbox.take(); len(clients) > 0; clients = l.outbox.take() {
		for _, c := range clients {
			if !c.flush() {
				l.end(c)
			}
		}
	}
	return true
}

// ready collects events, without waiting.
func (l *loop) ready() int {
	count, _, code := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.epoll),
		uintptr(unsafe.Pointer(&l.events[0])), eventsAtOnce, 0, 0, 0) // the events belong to the loop, which outlives the call
	if code != 0 {
		return 0
	}
	return int(count)
}

func (l *loop) watch(operation, fd int, events uint32) error {
	return syscall.EpollCtl(l.epoll, operation, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
}

// wake starts a turn, from any goroutine.
func (l *loop) wake() {
	one := [8]byte{1}
	syscall.Write(l.waker, one[:])
}

// hasOutput lists a client for the end of the turn.
func (l *loop) hasOutput(c *client) {
	l.outbox.add(c)
	if l.asleep.Load() {
		l.wake()
	}
}

// awaitWritable has the loop told when a socket takes more. A client whose echo is not
// written is not read: that is its limit.
func (l *loop) awaitWritable(c *client) {
	events := uint32(syscall.EPOLLIN | syscall.EPOLLOUT)
	if c.echo {
		events = syscall.EPOLLOUT
	}
	l.watch(syscall.EPOLL_CTL_MOD, c.socket, events)
}

func (l *loop) handle(event *syscall.EpollEvent) {
	fd := int(event.Fd)
	if fd == l.waker {
		var count [8]byte
		syscall.Read(fd, count[:])
		return
	}
	c := l.clients[fd]
	if c == nil {
		return
	}
	if event.Events&syscall.EPOLLOUT != 0 && c.resume() {
		l.watch(syscall.EPOLL_CTL_MOD, fd, syscall.EPOLLIN)
	}
	if event.Events&^syscall.EPOLLOUT != 0 {
		l.read(c)
	}
}

// read takes what has come, once: what is left makes the next turn.
func (l *loop) read(c *client) {
	n, _, code := syscall.RawSyscall(syscall.SYS_READ, uintptr(c.socket),
		uintptr(unsafe.Pointer(unsafe.SliceData(l.input))), inputBytes) // the buffer belongs to the loop
	switch {
	case code == syscall.EAGAIN || code == syscall.EINTR:
	case code != 0 || n == 0:
		c.lost()
	default:
		c.heard.Store(now())
		c.receive(l.input[:n])
	}
}

// end closes what is broken.
func (l *loop) end(c *client) {
	socket, first := c.release()
	if !first {
		return
	}
	if socket < len(l.clients) && l.clients[socket] == c {
		l.clients[socket] = nil
	}
	syscall.Close(socket)
	l.server.leave(c)
}

// --- connections that come from the HTTP server ---

// arrival is a client with what it sent right after its handshake.
type arrival struct {
	client *client
	early  []byte
}

// adopt takes a client over, in the next turn.
func (l *loop) adopt(c *client, early []byte) {
	l.arrivalsLock.Lock()
	l.arrivals = append(l.arrivals, arrival{c, early})
	l.arrivalsLock.Unlock()
	if l.asleep.Load() {
		l.wake()
	}
}

func (l *loop) takeArrivals() []arrival {
	l.arrivalsLock.Lock()
	defer l.arrivalsLock.Unlock()
	taken := l.arrivals
	l.arrivals = nil
	return taken
}

func (l *loop) hasArrivals() bool {
	l.arrivalsLock.Lock()
	defer l.arrivalsLock.Unlock()
	return len(l.arrivals) > 0
}

// welcome begins to serve a client. It may already have had output, or its end.
func (l *loop) welcome(a arrival) {
	c := a.client
	if c.isGone() {
		return
	}
	for len(l.clients) <= c.socket {
		l.clients = append(l.clients, nil)
	}
	l.clients[c.socket] = c
	if err := l.watch(syscall.EPOLL_CTL_ADD, c.socket, syscall.EPOLLIN); err != nil {
		c.lost()
		return
	}
	c.resume()
	if len(a.early) > 0 {
		c.receive(a.early)
	}
}
