package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

var tooManyConnections = &problem{503, "too many connections"}

const (
	resolveTimeout  = 5 * time.Second
	sweepInterval   = time.Second
	acceptPause     = 50 * time.Millisecond // when the machine has no descriptors left
	acceptsAtOnce   = 64
	eventsAtOnce    = 256
	quietRounds     = 20  // without an event, interrupted or not: then there is no traffic
	maxTurningAway  = 256 // connections of a loop that are told 503 at once; more are just closed
	maxAdmins       = 64
	listenBacklog   = 4096
	epollExclusive  = 1 << 28
	connectionEvent = syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | -syscall.EPOLLET
)

// Places of events that are no connection's.
const (
	listenerPlace = -1
	adminPlace    = -2
	callPlace     = -3
)

// server is the whole proxy. What it holds is shared by its loops, one for each thread.
type server struct {
	settings        *options
	listener, admin int // descriptors; admin is -1 where there is none
	balancer        balancer
	loops           []*loop
	connections     atomic.Int64 // of clients
	draining        atomic.Bool
}

// newServer resolves the backends and listens.
func newServer(settings *options) (*server, error) {
	s := &server{settings: settings, admin: -1}
	s.balancer.how, s.balancer.hashHeader = settings.balance, settings.hashHeader
	for _, address := range settings.backends {
		target, err := resolve("--backends", address)
		if err != nil {
			return nil, err
		}
		s.balancer.backends = append(s.balancer.backends, &backend{
			address: address, target: target, hash: hashBytes(address), settings: settings, changed: s.balancer.refresh,
		})
	}
	s.balancer.refresh()
	var err error
	if settings.admin != "" {
		if s.admin, err = listen("--admin", settings.admin); err != nil {
			return nil, err
		}
	}
	if s.listener, err = listen("--listen", settings.listen); err != nil {
		return nil, err
	}
	for range settings.threads {
		l, err := newLoop(s)
		if err != nil {
			return nil, machineFailure("epoll: %v", err)
		}
		s.loops = append(s.loops, l)
	}
	return s, nil
}

// addresses are the lines that say where the server listens.
func (s *server) addresses() string {
	text := "listening on " + localAddress(s.listener) + "\n"
	if s.admin >= 0 {
		text = "admin on " + localAddress(s.admin) + "\n" + text
	}
	return text
}

// start begins to serve. The first loop has the work that is there once only.
func (s *server) start() {
	first := s.loops[0]
	if s.settings.healthPath != "" {
		for _, p := range first.pools {
			first.spawn(p.watch)
		}
	}
	if s.admin >= 0 {
		first.watchListener(s.admin, adminPlace)
	}
	for _, l := range s.loops {
		l.watchListener(s.listener, listenerPlace)
		go l.run()
	}
}

// drain ends the service: no new connections, idle ones end, and requests under way
// have the drain time-out to finish.
func (s *server) drain() {
	s.draining.Store(true)
	for _, l := range s.loops {
		syscall.Write(l.call, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
	for _, l := range s.loops {
		<-l.done
	}
}

// --- addresses ---

// resolve turns HOST:PORT into an address, once and for all.
func resolve(option, address string) (target netip.AddrPort, err error) {
	host, port, _ := net.SplitHostPort(address)
	number, err := net.LookupPort("tcp", port)
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	found, lookUpErr := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || lookUpErr != nil || len(found) == 0 {
		return target, badRequest("%s %s: cannot resolve the name", option, quoteValue(address))
	}
	chosen := found[0].Unmap()
	for _, ip := range found {
		if ip.Unmap().Is4() {
			chosen = ip.Unmap()
			break
		}
	}
	return netip.AddrPortFrom(chosen, uint16(number)), nil
}

func sockaddr(target netip.AddrPort) (address syscall.Sockaddr, family int) {
	if target.Addr().Is4() {
		return &syscall.SockaddrInet4{Port: int(target.Port()), Addr: target.Addr().As4()}, syscall.AF_INET
	}
	return &syscall.SockaddrInet6{Port: int(target.Port()), Addr: target.Addr().As16()}, syscall.AF_INET6
}

// addressOf turns an address of the kernel into one of ours.
func addressOf(address syscall.Sockaddr) netip.AddrPort {
	switch a := address.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

func localAddress(fd int) string {
	address, err := syscall.Getsockname(fd)
	if err != nil {
		return "?"
	}
	return addressOf(address).String()
}

// openSocket opens a TCP socket that does not block and sends without delay.
func openSocket(family int) (int, error) {
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	}
	return fd, err
}

// listen opens a listener; connections inherit its options.
func listen(option, address string) (int, error) {
	target, err := resolve(option, address)
	if err != nil {
		return -1, err
	}
	name, family := sockaddr(target)
	fd, err := openSocket(family)
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = syscall.Bind(fd, name)
	}
	if err == nil {
		err = syscall.Listen(fd, listenBacklog)
	}
	switch {
	case err == nil:
		return fd, nil
	case isOurs(err) && err != syscall.EADDRNOTAVAIL:
		return -1, machineFailure("%s %s: %v", option, quoteValue(address), err)
	}
	return -1, badRequest("%s %s: %v", option, quoteValue(address), err)
}

// isOurs tells a failure of this machine from one of a peer.
func isOurs(err error) bool {
	for _, local := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, local) {
			return true
		}
	}
	return false
}

// --- the event loop ---

// loop is one thread's work: it waits for events and resumes the tasks that wait for
// them. All that belongs to a loop is touched by nobody else, so it needs no locks.
type loop struct {
	server  *server
	epoll   int
	call    int // an eventfd that wakes the loop for the server
	events  [eventsAtOnce]syscall.EpollEvent
	wheel   *wheel
	metrics metrics
	done    chan struct{} // closed when it has drained

	// Connections by the place that their events name; a place that is used again has another turn.
	watched []watched
	vacant  []int32

	scheduled []*task // to be resumed in this round
	patient   []*task // to be resumed in the next round
	current   *task

	quietRounds int // since the last event

	requestBytes                  int
	requestBuffers, streamBuffers bufferPool
	pools                         []*idlePool // one for each backend
	clients                       map[*client]struct{}
	turningAway, admins           int
	draining                      bool
	drainUntil                    int64
	kept, swept                   int64 // the last tick in which the house was kept; when pools were swept
	acceptAgain                   int64 // when to listen again; 0: listening
}

type watched struct {
	socket *socket
	turn   int32
}

func newLoop(s *server) (*loop, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	call, _, code := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if code != 0 {
		return nil, code
	}
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | -syscall.EPOLLET, Fd: callPlace}
	if err := syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, int(call), &event); err != nil {
		return nil, err
	}
	o := s.settings
	l := &loop{server: s, epoll: epoll, call: int(call), done: make(chan struct{}), clients: map[*client]struct{}{}}
	shortest := min(o.readTimeout, o.idleTimeout, o.headerTimeout, o.connectTimeout, o.healthTimeout, o.healthInterval)
	l.wheel = newWheel(shortest, l.schedule)
	l.requestBytes = o.maxHeaderBytes + requestSlack
	l.requestBuffers = bufferPool{size: l.requestBytes}
	l.streamBuffers = bufferPool{size: streamBufferBytes, headroom: streamHeadroom, tailroom: streamTailroom}
	for _, b := range s.balancer.backends {
		// Each loop has its share, rounded up.
		l.pools = append(l.pools, &idlePool{backend: b, loop: l, size: (o.poolSize + o.threads - 1) / o.threads})
	}
	return l, nil
}

func (l *loop) run() {
	for !l.over() {
		count := l.waitForEvents()
		l.wheel.now = int64(time.Since(l.wheel.started))
		l.keepHouse()
		// First all events, then what follows from them: a connection that has ended is not used again.
		for i := range count {
			l.dispatch(&l.events[i])
		}
		l.runTasks()
		// Only now: what has come in time is in time, however late we look.
		l.wheel.advance(l.wheel.now)
		for _, t := range l.patient {
			l.schedule(t)
		}
		l.patient = l.patient[:0]
		l.runTasks()
	}
	close(l.done)
}

// waitForEvents sleeps until something happens.
//
// While there is traffic the scheduler is not told that this thread sleeps. It would pass
// our processor on and wake other threads at each wait, which costs more than a request
// does; so it takes us for a goroutine that works long, and interrupts the wait by a
// signal every 10 ms. Then the goroutines that are not ours have their turn: they take
// signals, no requests. Where there is no traffic we sleep as the scheduler wants it.
func (l *loop) waitForEvents() (count int) {
	if l.quietRounds >= quietRounds && len(l.patient) == 0 {
		count, _ = syscall.EpollWait(l.epoll, l.events[:], milliseconds(l.wheel.untilVisit()))
	} else {
		timeout := 0
		if len(l.patient) == 0 {
			timeout = milliseconds(l.wheel.untilTick())
		}
		// The events are in the loop, which stays alive to the end of the call.
		n, _, code := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])), eventsAtOnce,
			uintptr(timeout), 0, 0)
		if code == 0 {
			count = int(n)
		}
	}
	if count > 0 || len(l.patient) > 0 {
		l.quietRounds = 0
	} else {
		l.quietRounds++
	}
	return max(count, 0)
}

// milliseconds rounds up, so that who sleeps so long does not wake too early.
func milliseconds(d time.Duration) int {
	return int((max(d, 0) + time.Millisecond - 1) / time.Millisecond)
}

// watch asks for the events of a connection: all of them, once, each when it happens.
func (l *loop) watch(s *socket) error {
	if last := len(l.vacant) - 1; last >= 0 {
		s.place, l.vacant = l.vacant[last], l.vacant[:last]
	} else {
		s.place = int32(len(l.watched))
		l.watched = append(l.watched, watched{})
	}
	w := &l.watched[s.place]
	w.socket = s
	event := syscall.EpollEvent{Events: connectionEvent, Fd: s.place, Pad: w.turn}
	err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, s.fd, &event)
	if err != nil {
		l.forget(s)
	}
	return err
}

// forget lets go of a connection that will be closed, which ends its events.
func (l *loop) forget(s *socket) {
	w := &l.watched[s.place]
	w.socket = nil
	w.turn++
	l.vacant = append(l.vacant, s.place)
}

// watchListener asks for events as long as connections wait; one loop gets each.
func (l *loop) watchListener(fd int, place int32) {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | epollExclusive, Fd: place}
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &event); err != nil {
		logLine("cannot wait for connections: %v", err)
	}
}

func (l *loop) dispatch(event *syscall.EpollEvent) {
	switch {
	case event.Fd == listenerPlace:
		l.accept(l.server.listener, l.admit)
	case event.Fd == adminPlace:
		l.accept(l.server.admin, l.admitAdmin)
	case event.Fd == callPlace:
		l.kept = -1 // there is something to do in the house
		l.keepHouse()
	default:
		if w := l.watched[event.Fd]; w.socket != nil && w.turn == event.Pad {
			w.socket.notice(event.Events)
		}
	}
}

// keepHouse does what is due now and then.
func (l *loop) keepHouse() {
	now := l.wheel.now
	if l.kept == now/int64(tick) {
		return
	}
	l.kept = now / int64(tick)
	if l == l.server.loops[0] {
		for _, b := range l.server.balancer.backends {
			b.readmit(now)
		}
	}
	if now-l.swept >= int64(sweepInterval) {
		l.swept = now
		for _, p := range l.pools {
			p.sweep(now)
		}
	}
	if l.acceptAgain != 0 && now >= l.acceptAgain && !l.draining {
		l.acceptAgain = 0
		l.watchListener(l.server.listener, listenerPlace)
	}
	if !l.draining && l.server.draining.Load() {
		l.beginDrain()
	}
}

func (l *loop) beginDrain() {
	l.draining = true
	l.drainUntil = l.wheel.after(l.server.settings.drainTimeout)
	if l == l.server.loops[0] {
		syscall.Close(l.server.listener)
	}
	for c := range l.clients {
		c.wake()
	}
}

// over tells whether the loop has drained, or has no time left for that.
func (l *loop) over() bool {
	if !l.draining || len(l.clients) > 0 && l.wheel.now < l.drainUntil {
		return false
	}
	for c := range l.clients {
		c.resetOnClose() // no cut response may look whole
	}
	return true
}

// --- connections ---

// accept takes the connections that wait.
func (l *loop) accept(listener int, admit func(fd int, from syscall.Sockaddr)) {
	for range acceptsAtOnce {
		fd, from, err := syscall.Accept4(listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		switch {
		case err == nil:
			admit(fd, from)
		case err == syscall.EINTR, err == syscall.ECONNABORTED:
		case isOurs(err) && listener == l.server.listener:
			logLine("cannot accept connections: %v", err)
			syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_DEL, listener, nil)
			l.acceptAgain = l.wheel.after(acceptPause)
			return
		default:
			return
		}
	}
}

// admit begins to serve a connection, or to turn it away.
func (l *loop) admit(fd int, from syscall.Sockaddr) {
	c := newClient(l, addressOf(from).Addr().WithZone("").String())
	if l.server.connections.Add(1) <= int64(l.server.settings.maxConnections) {
		l.begin(c, fd, c.serve)
		return
	}
	l.server.connections.Add(-1)
	if l.turningAway >= maxTurningAway {
		syscall.Close(fd)
		return
	}
	l.turningAway++
	l.begin(c, fd, c.turnAway)
}

// begin starts the task of a connection.
func (l *loop) begin(c *client, fd int, work func()) {
	if err := c.open(l, fd, &l.requestBuffers, c); err != nil {
		syscall.Close(fd)
		return
	}
	c.readable = true // a client that connects has something to say
	l.spawn(work)
}
