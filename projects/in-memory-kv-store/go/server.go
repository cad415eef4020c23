package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	inputBytes      = 64 << 10 // one read
	smallInputBytes = 4 << 10  // of a client's own buffer at first
	keptInputBytes  = 64 << 10 // a larger one is dropped when it is empty
	spareBuffers    = 64       // kept by a loop for the next client that needs one
	flushBytes      = 64 << 10 // replies are sent when there are so many
	unsentLimit     = 1 << 20  // a client that has so much to read is not served until it has read
	eventsAtOnce    = 256
	busyWaitMS      = 1
	acceptsAtOnce   = 64
	backlog         = 511
	keepAliveSecs   = 300
	droppedLimit    = 16 << 20 // of large buffers, before the collector is asked to give memory back

	tickInterval = 100 * time.Millisecond
	busyInterval = 10 * time.Millisecond // between ticks while there is more to expire
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

// client is one connection.
type client struct {
	id       int64
	fd       int // -1: closed
	loop     *loop
	address  string
	local    string
	name     string
	since    int64 // Unix milliseconds
	lastUsed int64
	lastName string // of the command

	parser    parser
	in        []byte // received, not executed
	unsent    []byte // replies that the socket did not take
	sentBytes int    // of unsent
	interest  uint32 // what epoll looks for
	stalled   bool   // has too much unsent: commands wait in in
	closing   bool   // is closed when unsent is sent

	inMulti, multiFailed bool
	queue                []queued
	queueBytes           int
	queueFlags           commandFlags // of all commands in it
	watching             []string
	watchFailed          bool
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

// answer is a part of the replies of a turn.
type answer struct {
	client     *client
	start, end int
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
	timeout := -1
	switch {
	case urgent:
		timeout = 0
	case l.server.draining.Load():
		timeout = int(busyInterval / time.Millisecond)
	case l.first():
		timeout = max(0, int(time.Until(l.nextTick)/time.Millisecond)+1)
	}
	if l.busy || timeout == 0 {
		count, _, number := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll),
			uintptr(unsafe.Pointer(&l.events[0])), eventsAtOnce, uintptr(min(uint(timeout), busyWaitMS)), 0, 0)
		if number == 0 && count > 0 {
			return int(count)
		}
	}
	l.busy = false
	if timeout == 0 {
		return 0
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

func (l *loop) serveClient(cl *client, events uint32) {
	if events&unix.EPOLLOUT != 0 || events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 && len(cl.unsent) > 0 {
		l.sendMore(cl)
	}
	if cl.fd >= 0 && !cl.stalled && !cl.closing && events&^unix.EPOLLOUT != 0 {
		l.readable(cl)
	}
}

// --- accepting

func (l *loop) accept(from *listener) {
	for range acceptsAtOnce {
		fd, peer, err := unix.Accept4(from.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err == unix.EAGAIN {
			return
		}
		if err == unix.EMFILE || err == unix.ENFILE || err == unix.ENOBUFS || err == unix.ENOMEM {
			l.pauseAccepting(from, err)
			return
		}
		if err == nil {
			l.welcome(fd, peer, from)
		}
	}
}

// pauseAccepting leaves new connections in the queue until the next tick; without it the loop would spin.
func (l *loop) pauseAccepting(from *listener, err error) {
	if !from.complained {
		fmt.Fprintf(os.Stderr, "cannot accept a connection: %v\n", err)
	}
	from.paused, from.complained = true, true
	l.watch(unix.EPOLL_CTL_MOD, from.fd, 0)
}

// welcome makes a client of a connection and gives it to the next loop in turn.
func (l *loop) welcome(fd int, peer unix.Sockaddr, from *listener) {
	srv := l.server
	srv.enter()
	defer srv.leave()
	srv.store.stats.connections++
	if len(srv.clients) >= srv.limit {
		srv.store.stats.rejected++
		unix.Write(fd, []byte("-ERR max number of clients reached\r\n"))
		unix.Close(fd)
		return
	}
	if from.isTCP() {
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveSecs)
	}
	srv.lastID++
	target := srv.loops[srv.lastID%int64(len(srv.loops))]
	cl := &client{id: srv.lastID, fd: fd, loop: target, since: srv.store.now, lastUsed: srv.store.now}
	cl.address, cl.local = from.addresses(peer)
	srv.clients[cl.id] = cl
	if target == l {
		l.adopt(cl)
		return
	}
	target.lock.Lock()
	target.incoming = append(target.incoming, cl)
	target.lock.Unlock()
	target.wake()
}

// adopt serves a client from now on.
func (l *loop) adopt(cl *client) {
	for len(l.clients) <= cl.fd {
		l.clients = append(l.clients, nil)
	}
	l.clients[cl.fd] = cl
	l.count++
	cl.interest = unix.EPOLLIN
	if err := l.watch(unix.EPOLL_CTL_ADD, cl.fd, cl.interest); err != nil {
		fmt.Fprintf(os.Stderr, "cannot serve a connection: %v\n", err)
		l.forget(cl)
	}
}

// closeClient ends a connection.
func (l *loop) closeClient(cl *client) {
	l.server.enter()
	l.forget(cl)
	l.server.leave()
}

// forget is closeClient for who may touch the store already.
func (l *loop) forget(cl *client) {
	srv := l.server
	unix.Close(cl.fd) // leaves the epoll set by that
	l.clients[cl.fd] = nil
	l.count--
	cl.fd = -1
	delete(srv.clients, cl.id)
	cl.unwatch(srv.store)
	srv.account(-cap(cl.in) - cap(cl.unsent))
	srv.drop(cap(cl.in))
	srv.drop(cap(cl.unsent))
	cl.in, cl.unsent, cl.queue = nil, nil, nil
}

// account counts the buffers of clients as memory.
func (srv *server) account(bytes int) { srv.store.clientBytes.Add(int64(bytes)) }

// drop notes a large buffer that is garbage now.
func (srv *server) drop(bytes int) {
	if bytes > keptInputBytes {
		srv.dropped.Add(int64(bytes))
	}
}

// setInterest tells epoll what to look for.
func (l *loop) setInterest(cl *client) {
	events := uint32(0)
	if !cl.stalled && !cl.closing {
		events |= unix.EPOLLIN
	}
	if len(cl.unsent) > 0 {
		events |= unix.EPOLLOUT
	}
	if events != cl.interest {
		cl.interest = events
		l.watch(unix.EPOLL_CTL_MOD, cl.fd, events)
	}
}

// --- reading

// readSocket does not tell the scheduler: a socket that does not block returns
// in a few microseconds, and nothing else of ours waits for the processor.
func readSocket(fd int, into []byte) (int, syscall.Errno) {
	n, _, number := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(into))), uintptr(len(into)))
	return int(n), number
}

func writeSocket(fd int, from []byte) (int, syscall.Errno) {
	n, _, number := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(from))), uintptr(len(from)))
	return int(n), number
}

// readable reads once and executes what is complete. A client without an
// unfinished command is read into the buffer of the loop: idle clients have none.
func (l *loop) readable(cl *client) {
	into := l.input
	own := len(cl.in) > 0
	if own {
		into = l.roomFor(cl)
	}
	n, number := readSocket(cl.fd, into)
	switch {
	case number == unix.EAGAIN || number == unix.EINTR:
	case number != 0:
		l.closeClient(cl)
	case n == 0:
		l.ended(cl)
	case own:
		cl.in = cl.in[:len(cl.in)+n]
		l.process(cl, cl.in)
	default:
		l.process(cl, into[:n])
	}
}

// roomFor is the free part of the client's own buffer. It grows with what has
// come, never with what was only announced.
func (l *loop) roomFor(cl *client) []byte {
	have := len(cl.in)
	want := inputBytes
	if missing := cl.parser.bulkBytes; cl.parser.missing > 0 && missing != noBulk {
		want = max(want, min(cl.parser.position+missing+2-have, have))
	}
	if cap(cl.in)-have < min(want, inputBytes/2) {
		grown := make([]byte, have, have+want)
		copy(grown, cl.in)
		l.setInput(cl, grown)
	}
	return cl.in[have:min(cap(cl.in), have+want)]
}

// setInput changes the client's own buffer.
func (l *loop) setInput(cl *client, buffer []byte) {
	l.server.account(cap(buffer) - cap(cl.in))
	switch old := cl.in; {
	case cap(old) > keptInputBytes:
		l.server.drop(cap(old))
	case old != nil && len(l.spare) < spareBuffers:
		l.spare = append(l.spare, old[:0])
	}
	cl.in = buffer
}

// keep remembers what was not executed.
func (l *loop) keep(cl *client, rest []byte) {
	switch {
	case len(rest) == 0 && cl.in == nil:
	case len(rest) == 0:
		l.setInput(cl, nil)
	case len(cl.in) > 0: // it is the end of cl.in
		cl.in = cl.in[:copy(cl.in, rest)]
	case len(l.spare) > 0 && cap(l.spare[len(l.spare)-1]) >= len(rest):
		buffer := l.spare[len(l.spare)-1]
		l.spare = l.spare[:len(l.spare)-1]
		l.setInput(cl, append(buffer, rest...))
	default:
		l.setInput(cl, append(make([]byte, 0, max(smallInputBytes, len(rest))), rest...))
	}
}

// ended is for a client that has closed its side: it still gets its replies.
func (l *loop) ended(cl *client) {
	if len(cl.unsent) == 0 {
		l.closeClient(cl)
		return
	}
	cl.closing = true
	l.setInterest(cl)
}

// process executes the commands in data, which is the client's own buffer or the loop's.
func (l *loop) process(cl *client, data []byte) {
	srv, c := l.server, l.call
	srv.enter()
	srv.store.setTime(time.Now())
	c.client = cl
	cl.lastUsed = srv.store.now
	start := len(c.out.b)
	for len(data) > 0 && cl.fd >= 0 && !cl.stalled && !cl.closing {
		complete, err := cl.parser.next(data)
		if err != nil {
			l.refuse(cl, err)
			break
		}
		if !complete {
			break
		}
		length := cl.parser.position
		c.args = cl.parser.arguments(data, c.args[:0])
		cl.parser.reset()
		data = data[length:]
		if len(c.args) > 0 {
			l.execute(c)
		}
		if len(c.out.b) >= flushBytes {
			l.pend(cl, start)
			srv.leave()
			l.finishTurn()
			srv.enter()
			start = len(c.out.b)
		}
	}
	l.pend(cl, start)
	srv.leave()
	if cl.fd < 0 {
		return
	}
	l.keep(cl, data)
	if srv.store.log == nil {
		l.finishTurn()
	}
}

// execute does one command, and remembers its reply if it has gone to the log.
func (l *loop) execute(c *call) {
	start := len(c.out.b)
	cl := c.client
	if isWebRequest(c.args[0]) { // a browser was lured into sending commands
		fmt.Fprintf(os.Stderr, "closed a connection from %s: it speaks HTTP\n", cl.address)
		cl.closing = true
		return
	}
	logBytes := 0
	if c.log != nil {
		logBytes = len(c.log.buffer)
	}
	args := c.args
	c.execute(args)
	c.args = args
	if c.log != nil && len(c.log.buffer) > logBytes {
		l.logged = append(l.logged, answer{cl, start, len(c.out.b)})
	}
	if len(cl.in)+cl.queueBytes > maxCommandBytes {
		cl.closing = true
	}
}

func isWebRequest(name []byte) bool { return equalFold(name, "POST") || equalFold(name, "HOST:") }

// refuse ends a client that does not keep to the protocol.
func (l *loop) refuse(cl *client, err error) {
	if err != errTooLarge {
		l.call.out.fail("ERR " + err.Error())
	} else {
		fmt.Fprintf(os.Stderr, "closed a connection from %s: %v\n", cl.address, err)
	}
	cl.closing = true
}

// --- answering

// pend has the replies from start on sent at the end of the turn.
func (l *loop) pend(cl *client, start int) {
	if end := len(l.call.out.b); end > start || cl.closing {
		l.pending = append(l.pending, answer{cl, start, end})
	}
}

// finishTurn writes the log, then the replies.
func (l *loop) finishTurn() {
	if log := l.server.store.log; log != nil {
		l.server.enter()
		if (len(log.buffer) > 0 || log.policy == fsyncAlways && log.unsynced) && !log.commit(l.server.store.now) {
			l.takeBack(log.refusal())
		}
		l.server.leave()
		l.logged = l.logged[:0]
	}
	if len(l.pending) == 0 {
		return
	}
	buffer := l.call.out.b
	given := false
	for _, a := range l.pending {
		if a.client.fd >= 0 {
			given = l.send(a.client, buffer[a.start:a.end], len(l.pending) == 1) || given
		}
	}
	l.pending = l.pending[:0]
	switch {
	case given:
		l.call.out.b = nil
	case cap(buffer) > keptBufferBytes:
		l.server.drop(cap(buffer))
		l.call.out.b = nil
	default:
		l.call.out.b = buffer[:0]
	}
}

// takeBack replaces the replies to commands that are not in the log by an error.
func (l *loop) takeBack(refusal string) {
	old := l.call.out.b
	var fresh reply
	next := 0
	for i := range l.pending {
		a := &l.pending[i]
		start := len(fresh.b)
		at := a.start
		for ; next < len(l.logged) && l.logged[next].end <= a.end; next++ {
			fresh.b = append(fresh.b, old[at:l.logged[next].start]...)
			fresh.fail(refusal)
			at = l.logged[next].end
		}
		fresh.b = append(fresh.b, old[at:a.end]...)
		a.start, a.end = start, len(fresh.b)
	}
	l.call.out.b = fresh.b
}

// send writes replies to the socket; what it does not take waits. alone says that
// nobody else needs the memory of the replies; true: the client has kept it.
func (l *loop) send(cl *client, replies []byte, alone bool) (kept bool) {
	if len(cl.unsent) == 0 {
		n, number := 0, syscall.Errno(0)
		if len(replies) > 0 {
			n, number = writeSocket(cl.fd, replies)
		}
		if number != 0 && number != unix.EAGAIN && number != unix.EINTR {
			l.closeClient(cl)
			return false
		}
		if number == 0 {
			replies = replies[n:]
		}
		if len(replies) == 0 {
			if cl.closing {
				l.closeClient(cl)
			}
			return false
		}
	}
	kept = l.addUnsent(cl, replies, alone)
	cl.stalled = len(cl.unsent)-cl.sentBytes > unsentLimit
	l.setInterest(cl)
	return kept
}

// addUnsent keeps replies for later; much memory is taken over instead of copied.
func (l *loop) addUnsent(cl *client, replies []byte, alone bool) (kept bool) {
	before := cap(cl.unsent)
	if len(cl.unsent) == 0 && alone && len(replies) > flushBytes {
		cl.unsent, kept = replies, true
	} else {
		cl.unsent = append(cl.unsent, replies...)
	}
	l.server.account(cap(cl.unsent) - before)
	return kept
}

// sendMore goes on where the socket took no more, and then with the commands that waited.
func (l *loop) sendMore(cl *client) {
	n, number := 0, syscall.Errno(0)
	if rest := cl.unsent[cl.sentBytes:]; len(rest) > 0 {
		n, number = writeSocket(cl.fd, rest)
	}
	if number == unix.EAGAIN || number == unix.EINTR {
		return
	}
	if number != 0 {
		l.closeClient(cl)
		return
	}
	cl.sentBytes += n
	if cl.sentBytes < len(cl.unsent) {
		return
	}
	l.server.account(-cap(cl.unsent))
	l.server.drop(cap(cl.unsent))
	cl.unsent, cl.sentBytes = nil, 0
	wasStalled := cl.stalled
	cl.stalled = false
	if cl.closing {
		l.closeClient(cl)
		return
	}
	if wasStalled && len(cl.in) > 0 {
		l.process(cl, cl.in)
	}
	if cl.fd >= 0 {
		l.setInterest(cl)
	}
}

// --- beside the clients

// housekeeping expires, rewrites and gives memory back, a bounded part at a
// time; true: there is more to do at once.
func (l *loop) housekeeping() bool {
	srv := l.server
	s := srv.store
	due := !time.Now().Before(l.nextTick)
	if !due && (s.log == nil || s.log.rewrite == nil) {
		return false
	}
	srv.enter()
	defer srv.leave()
	s.setTime(time.Now())
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
	if s.expireSome() {
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
			if cl != nil && !cl.stalled && !cl.closing {
				l.readable(cl)
			}
		}
		l.finishTurn()
	}
	late := now.After(l.deadline)
	for _, cl := range l.clients {
		if cl != nil && (late || len(cl.unsent) == 0) {
			l.closeClient(cl)
		}
	}
	return l.count == 0
}

// --- listening

// listener is a socket that accepts.
type listener struct {
	fd         int
	where      listenAddress
	shown      string // the real address
	paused     bool   // no file descriptor was left
	complained bool
}

func (from *listener) isTCP() bool { return from.where.unixPath == "" }

func (from *listener) close() {
	unix.Close(from.fd)
	if !from.isTCP() {
		os.Remove(from.where.unixPath)
	}
}

// addresses are the two ends of a connection as CLIENT LIST shows them.
func (from *listener) addresses(peer unix.Sockaddr) (address, local string) {
	if from.isTCP() {
		return socketText(peer), from.shown
	}
	return from.where.unixPath + ":0", from.where.unixPath + ":0"
}

func socketText(address unix.Sockaddr) string {
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return net.JoinHostPort(net.IP(a.Addr[:]).String(), fmt.Sprint(a.Port))
	case *unix.SockaddrInet6:
		return net.JoinHostPort(net.IP(a.Addr[:]).String(), fmt.Sprint(a.Port))
	}
	return ""
}

// listen opens all addresses; the first loop accepts for all.
func (srv *server) listen() error {
	first := srv.loops[0]
	for _, where := range srv.options.listen {
		from, err := openListener(where)
		if err != nil {
			return badRequest("--listen %s: %v", where.text, err)
		}
		first.listeners = append(first.listeners, from)
		if err := first.watch(unix.EPOLL_CTL_ADD, from.fd, unix.EPOLLIN); err != nil {
			return machineFailure("--listen %s: %v", where.text, err)
		}
	}
	return nil
}

func openListener(where listenAddress) (*listener, error) {
	family := unix.AF_INET
	switch where.socket.(type) {
	case *unix.SockaddrInet6:
		family = unix.AF_INET6
	case *unix.SockaddrUnix:
		family = unix.AF_UNIX
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	from := &listener{fd: fd, where: where, shown: where.text}
	if from.isTCP() {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	err = unix.Bind(fd, where.socket)
	if err == unix.EADDRINUSE && !from.isTCP() && isStale(where.socket) {
		os.Remove(where.unixPath)
		err = unix.Bind(fd, where.socket)
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err == nil && from.isTCP() {
		var bound unix.Sockaddr
		if bound, err = unix.Getsockname(fd); err == nil {
			from.shown = socketText(bound)
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return from, nil
}

// isStale tells if a socket file was left behind by a process that is gone.
func isStale(address unix.Sockaddr) bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Connect(fd, address) == unix.ECONNREFUSED
}

// setThreads bounds the threads that run Go code.
func setThreads(count int) { runtime.GOMAXPROCS(count) }
