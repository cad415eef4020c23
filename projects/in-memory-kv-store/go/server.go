package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	eventsAtOnce = 256
	busyWaitMS   = 1
	drainReads   = 64       // of what a client had sent before the end
	droppedLimit = 16 << 20 // of large buffers, before the collector is asked to give memory back

	tickInterval = 100 * time.Millisecond
	busyInterval = 10 * time.Millisecond // between ticks while there is more to expire or to free
)

// server is the store and the threads that serve it.
//
// A loop is one goroutine with an epoll set of its own. We measured it against
// the idiom of Go, a goroutine a connection on the net package: with GOMAXPROCS=1
// a request then costs three system calls, as every read is tried once more before
// the goroutine parks, and two switches by the scheduler; here it costs two, and
// what epoll_wait costs is shared by all connections that are ready. See README
// for the numbers. It also gives a turn, and with it one write and one fsync of
// the log for all commands that came together.
//
// With one loop nothing is locked. With more, a lock on the store is held while
// the commands of one read are done; reads and writes of sockets are not under it.
type server struct {
	store    *store
	options  *options
	loops    []*loop
	started  time.Time
	lock     sync.Mutex
	shared   bool              // more than one loop
	clients  map[int64]*client // by id
	lastID   int64
	limit    int // clients
	draining atomic.Bool
	dropped  atomic.Int64 // bytes of large buffers that the collector has to find
	running  sync.WaitGroup
}

// loop serves its clients.
type loop struct {
	server    *server
	epoll     int
	wakeFD    int
	listeners []*listener
	clients   []*client // by file descriptor
	count     int
	events    [eventsAtOnce]unix.EpollEvent
	input     []byte
	batch     []placed
	args      [][]byte // of the commands in the batch
	spare     [][]byte
	call      *call
	busy      bool // something came in the last wait
	pending   []answer
	logged    []answer // replies to commands that went to the log in this turn
	nextTick  time.Time
	deadline  time.Time // of draining

	lock     sync.Mutex
	incoming []*client // from the loop that accepts
}

func newServer(s *store, o *options) (*server, error) {
	srv := &server{store: s, options: o, started: time.Now(), clients: map[int64]*client{}}
	srv.limit = clientLimit(o.maxClients)
	srv.shared = o.threads > 1
	for range o.threads {
		l, err := newLoop(srv)
		if err != nil {
			return nil, machineFailure("cannot make an event loop: %v", err)
		}
		srv.loops = append(srv.loops, l)
	}
	return srv, nil
}

// clientLimit is what the limit of open files allows.
func clientLimit(wanted int) int {
	const others = 32 // listeners, log, epoll
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Cur >= uint64(wanted+others) {
		return wanted
	}
	limit.Cur = min(uint64(wanted+others), limit.Max)
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Cur < uint64(wanted+others) {
		allowed := max(1, int(limit.Cur)-others)
		fmt.Fprintf(os.Stderr, "note: %d clients at most, open files are limited to %d\n", allowed, limit.Cur)
		return allowed
	}
	return wanted
}

func newLoop(srv *server) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wakeFD, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	l := &loop{server: srv, epoll: epoll, wakeFD: wakeFD, input: make([]byte, inputBytes)}
	l.call = &call{store: srv.store, server: srv}
	return l, l.watch(unix.EPOLL_CTL_ADD, wakeFD, unix.EPOLLIN)
}

func (l *loop) watch(operation, fd int, events uint32) error {
	return unix.EpollCtl(l.epoll, operation, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// wake interrupts the wait of the loop, from any goroutine.
func (l *loop) wake() {
	one := [8]byte{1}
	unix.Write(l.wakeFD, one[:])
}

// serve runs until the server has drained.
func (srv *server) serve() {
	srv.running.Add(len(srv.loops))
	for _, l := range srv.loops[1:] {
		go l.run()
	}
	srv.loops[0].run()
	srv.running.Wait()
}

// shutdown begins to drain.
func (srv *server) shutdown() {
	srv.draining.Store(true)
	for _, l := range srv.loops {
		l.wake()
	}
}

// enter and leave surround what touches the store.
func (srv *server) enter() {
	if srv.shared {
		srv.lock.Lock()
	}
}

func (srv *server) leave() {
	if srv.shared {
		srv.lock.Unlock()
	}
}

func (l *loop) first() bool { return l == l.server.loops[0] }

func (l *loop) run() {
	defer l.server.running.Done()
	l.nextTick = time.Now()
	urgent := false
	for {
		count := l.wait(urgent)
		for i := range l.events[:count] {
			l.handle(&l.events[i])
		}
		l.finishTurn()
		urgent = l.first() && l.housekeeping()
		if l.server.draining.Load() && l.drained() {
			return
		}
	}
}

// wait returns how many events there are.
//
// A busy loop waits without telling the scheduler, for a millisecond at most:
// otherwise the runtime's monitor thread takes the processor away from every wait
// of more than 20 microseconds, and costs a quarter of the core with that. Only
// when nothing comes for so long the wait is one that other goroutines (signals,
// fsync, the collector) can run beside.
func (l *loop) wait(urgent bool) int {
	if l.busy || urgent {
		timeout := busyWaitMS
		if urgent {
			timeout = 0
		}
		count, _, number := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll),
			uintptr(unsafe.Pointer(&l.events[0])), eventsAtOnce, uintptr(timeout), 0, 0)
		if number == 0 && (count > 0 || urgent) {
			return int(count)
		}
		l.busy = false
	}
	timeout := -1
	switch {
	case l.server.draining.Load():
		timeout = int(busyInterval / time.Millisecond)
	case l.first():
		timeout = max(0, int(time.Until(l.nextTick)/time.Millisecond)+1)
	}
	count, err := unix.EpollWait(l.epoll, l.events[:], timeout)
	if err != nil {
		return 0 // interrupted
	}
	l.busy = count > 0
	return count
}

func (l *loop) handle(event *unix.EpollEvent) {
	fd := int(event.Fd)
	if fd == l.wakeFD {
		l.woken()
		return
	}
	if fd < len(l.clients) && l.clients[fd] != nil {
		l.serveClient(l.clients[fd], event.Events)
		return
	}
	for _, listening := range l.listeners {
		if listening.fd == fd {
			l.accept(listening)
		}
	}
}

func (l *loop) woken() {
	var count [8]byte
	unix.Read(l.wakeFD, count[:])
	l.lock.Lock()
	incoming := l.incoming
	l.incoming = nil
	l.lock.Unlock()
	for _, cl := range incoming {
		l.adopt(cl)
	}
}

// housekeeping expires, rewrites and gives memory back, a bounded part at a
// time; true: there is more to do at once.
func (l *loop) housekeeping() bool {
	srv := l.server
	s := srv.store
	now := time.Now()
	due := !now.Before(l.nextTick)
	if !due && (s.log == nil || s.log.rewrite == nil) {
		return false
	}
	srv.enter()
	defer srv.leave()
	s.setTime(now)
	if due {
		l.tick()
	}
	if s.log != nil && s.log.rewrite != nil {
		return s.log.advance(s)
	}
	return false
}

func (l *loop) tick() {
	srv := l.server
	s := srv.store
	interval := tickInterval
	if expiring, freeing := s.expireSome(), s.freeSome(); expiring || freeing {
		interval = busyInterval
	}
	if s.maxMemory > 0 {
		s.makeRoom()
	}
	if s.log != nil {
		s.log.tick(s.now)
	}
	s.mem.release()
	for _, from := range l.listeners {
		if from.paused {
			from.paused = false
			l.watch(unix.EPOLL_CTL_MOD, from.fd, unix.EPOLLIN)
		}
	}
	if srv.dropped.Load() > droppedLimit {
		srv.dropped.Store(0)
		go debug.FreeOSMemory()
	}
	l.nextTick = time.Now().Add(interval)
}

// drained goes on with the end of the server; true: this loop is done.
func (l *loop) drained() bool {
	now := time.Now()
	if l.deadline.IsZero() {
		l.deadline = now.Add(l.server.options.drainTimeout)
		for _, from := range l.listeners {
			from.close()
		}
		l.listeners = nil
		l.woken()
		for _, cl := range l.clients {
			for i := 0; i < drainReads && cl != nil && l.readable(cl); i++ {
				l.finishTurn()
			}
		}
	}
	late := now.After(l.deadline)
	for _, cl := range l.clients {
		if cl != nil && (late || len(cl.unsent) == 0) {
			l.closeClient(cl)
		}
	}
	return l.count == 0
}

// setThreads bounds the threads that run Go code: one for each loop, and with a log
// one for the goroutine that waits for the disk. Without the latter a loop would
// stand still beside an fsync until the runtime notices, up to 10 ms.
func setThreads(o *options) {
	count := o.threads
	if o.appendOnly != "" {
		count++
	}
	runtime.GOMAXPROCS(count)
}
