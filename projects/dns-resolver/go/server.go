package main

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	batchPackets      = 64
	batchesATurn      = 8
	largestDatagram   = 4096
	receiveBuffer     = 4 << 20
	sendBuffer        = 1 << 20
	portTries         = 20
	postsAtOnce       = 64
	drainCheck        = 5 * time.Millisecond
	incomingUnhandled = 10_000 // datagrams from other threads that wait for the first
)

// server is the resolver with clients. The first thread does everything; others, where there
// are any, answer datagrams out of the cache, and hand the rest to the first.
type server struct {
	settings *options
	counters *counters
	address  netip.AddrPort
	resolver *resolver
	fronts   []*front
	streams  *streams
	draining atomic.Bool

	lock     sync.Mutex
	incoming []request // from other threads
}

// front is a socket for datagrams of clients, and the thread that serves it.
type front struct {
	server *server
	loop   *loop
	fd     int
	batch  *datagrams
	posts  *datagrams // answers that had to be looked for; only of the first front
	query  query
	closed bool
}

// request is a query whose answer has to be looked for.
type request struct {
	packet []byte // header and question
	from   sender
	query  query
}

func newServer(settings *options, hints *delegation) (*server, error) {
	s := &server{settings: settings, counters: &counters{}}
	tcp, err := s.bind()
	if err != nil {
		return nil, err
	}
	first := s.fronts[0]
	s.resolver = newResolver(first.loop, settings, hints, s.counters)
	first.posts = newDatagrams(postsAtOnce, largestDatagram)
	s.streams = &streams{server: s, loop: first.loop, listener: tcp, open: map[*stream]struct{}{}}
	first.loop.endTurn = append(first.loop.endTurn, first.flush, s.streams.flush)
	first.loop.woken = s.takeIncoming
	if err := first.loop.watch(tcp, unix.EPOLLIN, s.streams); err != nil {
		return nil, machineFailure("epoll: %v", err)
	}
	return s, nil
}

// bind opens all sockets on one port. Any free port has to be free for UDP and for TCP.
func (s *server) bind() (tcp int, err error) {
	wanted := s.settings.listen
	for range portTries {
		s.address = wanted
		if err = s.openFronts(); err == nil {
			if tcp, err = openListener(s.address); err == nil {
				return tcp, nil
			}
		}
		for _, f := range s.fronts {
			unix.Close(f.fd)
		}
		s.fronts = nil
		if err != unix.EADDRINUSE || wanted.Port() != 0 {
			break
		}
	}
	if err == unix.EMFILE || err == unix.ENFILE || err == unix.ENOMEM || err == unix.ENOBUFS {
		return 0, machineFailure("--listen %s: %v", quoteValue(s.settings.place), err)
	}
	return 0, badRequest("--listen %s: %v", quoteValue(s.settings.place), err)
}

func (s *server) openFronts() error {
	started := time.Now()
	for range s.settings.threads {
		fd, err := openDatagrams(s.address, s.settings.threads > 1)
		if err != nil {
			return err
		}
		l, err := newLoop(started)
		if err != nil {
			return err
		}
		f := &front{server: s, loop: l, fd: fd, batch: newDatagrams(batchPackets, largestDatagram+maxNameBytes)}
		s.fronts = append(s.fronts, f)
		if s.address, err = boundAddress(fd); err != nil {
			return err
		}
		if err := l.watch(fd, unix.EPOLLIN, f); err != nil {
			return err
		}
	}
	return nil
}

// openDatagrams opens a UDP socket; with several on one port the kernel shares clients out among them.
func openDatagrams(address netip.AddrPort, shared bool) (int, error) {
	name, family := socketAddress(address)
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if shared {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err == nil && address.Addr().IsUnspecified() { // answers come from where the question went
		if family == unix.AF_INET {
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		} else {
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		}
	}
	if err == nil {
		// As much as the machine allows: what it gives is enough to work.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
		err = unix.Bind(fd, name)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// run serves until it has drained.
func (s *server) run() error {
	var others sync.WaitGroup
	for _, f := range s.fronts[1:] {
		others.Go(func() {
			for !s.draining.Load() {
				f.loop.turn()
			}
			f.ready(unix.EPOLLIN) // what had come before
		})
	}
	first := s.fronts[0]
	for !s.draining.Load() {
		first.loop.turn()
	}
	others.Wait()
	s.drain(first)
	return nil
}

// shutdown begins to drain, from any goroutine.
func (s *server) shutdown() {
	s.draining.Store(true)
	for _, f := range s.fronts {
		f.loop.wake()
	}
}

// drain answers what has come, for as long as it may take.
func (s *server) drain(first *front) {
	first.ready(unix.EPOLLIN)
	s.takeIncoming()
	first.closed = true
	_ = unix.EpollCtl(first.loop.epoll, unix.EPOLL_CTL_DEL, first.fd, nil)
	s.streams.drain()
	first.flush()
	until := first.loop.now + s.settings.drainTimeout
	check := alarm{}
	check.ring = func() { first.loop.setAlarm(&check, first.loop.now+drainCheck) }
	check.ring()
	for (s.resolver.waiting > 0 || s.streams.busy()) && first.loop.now < until {
		first.loop.turn()
	}
}

// --- datagrams ---

// ready answers the datagrams that have come.
func (f *front) ready(uint32) {
	if f.closed {
		return
	}
	for range batchesATurn {
		count := f.batch.receive(f.fd, 0)
		f.answerAll(count)
		if count < batchPackets {
			return
		}
	}
}

func (f *front) answerAll(count int) {
	hits := int64(0)
	now := time.Since(f.loop.started)
	for i := range count {
		length, hit := f.answerOne(i, now)
		if length > 0 {
			f.batch.answer(i, length)
		}
		if hit {
			hits++
		}
	}

	f.server.counters.queries.Add(int64(count))
	f.server.counters.hits.Add(hits)
	f.batch.send(f.fd)
}

// answerOne puts the answer into the slot of its question, if there is one already.
func (f *front) answerOne(i int, now time.Duration) (length int, hit bool) {
	packet, _ := f.batch.packet(i) // one that is cut is malformed, too
	slot := f.batch.slot(i)
	ednsBytes := f.server.settings.ednsBytes
	switch verdict := f.query.parse(packet, ednsBytes); verdict {
	case answerable:
	case unreadable:
		return 0, false
	default:
		return f.query.writeError(slot, verdict, ednsBytes), false
	}
	s := f.server
	b, found := s.resolver.cache.answer(f.query.key, now)
	if found {
		if b.rcode == rcodeServFail {
			s.counters.servfail.Add(1)
		}
		return f.query.write(slot, &b, ednsBytes), true
	}
	wanted := request{append([]byte(nil), packet[:f.query.question]...), f.batch.sender(i), f.query}
	if f != s.fronts[0] {
		s.hand(wanted)
		return 0, false
	}
	s.look(wanted)
	return 0, false
}

// look finds the answer to a query that came as a datagram, and posts it.
func (s *server) look(wanted request) {
	first := s.fronts[0]
	// The key of a query is in the query itself, which has moved.
	wanted.query.key = wanted.query.keySpace[:len(wanted.query.key)]
	s.resolve(&wanted.query, func(b body) { first.post(&wanted, b) })
}

// resolve answers a query that is not in the cache as a whole. When there is too much to do it is dropped.
func (s *server) resolve(q *query, done func(body)) bool {
	asked := q.asked()
	counted := func(b body) {
		if b.rcode == rcodeServFail {
			s.counters.servfail.Add(1)
		}
		done(b)
	}
	if q.flags&flagRD == 0 {
		b, found := s.resolver.fromCache(asked)
		if found {
			s.counters.hits.Add(1)
		} else {
			s.counters.misses.Add(1)
			b = body{rcode: rcodeRefused}
		}
		counted(b)
		return true
	}
	return s.resolver.ask(asked, counted)
}

// post queues an answer to a datagram.
func (f *front) post(wanted *request, b body) {
	slot := f.posts.slot(f.posts.queued)
	copy(slot, wanted.packet)
	length := wanted.query.write(slot, &b, f.server.settings.ednsBytes)
	if !f.posts.post(&wanted.from, length) {
		f.flush()
	}
}

// flush sends the answers of a turn.
func (f *front) flush() { f.posts.send(f.fd) }

// hand gives a query to the first thread.
func (s *server) hand(wanted request) {
	s.lock.Lock()
	if len(s.incoming) < incomingUnhandled {
		s.incoming = append(s.incoming, wanted)
	}
	s.lock.Unlock()
	s.fronts[0].loop.wake()
}

// takeIncoming looks for the answers that other threads did not have.
func (s *server) takeIncoming() {
	s.lock.Lock()
	incoming := s.incoming
	s.incoming = nil
	s.lock.Unlock()
	for i := range incoming {
		s.look(incoming[i])
	}
}
