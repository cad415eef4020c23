package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	mostSockets      = 128 // with random ports, of which each query takes one at random
	fewestSockets    = 16
	descriptorsASide = 1100 // of clients and others, that must be left over
	queriesASocket   = 100  // then it gets another port
	repliesAtOnce    = 16
	mostServersKnown = 20_000
	mostConnections  = 256 // TCP, to servers
	forgetPlain      = 15 * time.Minute
	firstRTT         = time.Millisecond // of a server that nobody knows: it will be tried soon
	slowestRTT       = 10 * time.Second
)

var (
	errTimeout     = errors.New("no answer in time")
	errUnreachable = errors.New("the server cannot be reached")
)

// upstream asks servers and tells what they answered.
type upstream struct {
	loop        *loop
	settings    *options
	counters    *counters
	sockets     []*serverSocket // some are nil as yet
	queries     map[uint64]*serverQuery
	hosts       map[netip.Addr]*host
	replies     *datagrams
	packet      []byte
	random      [512]byte
	randomUsed  int
	connections int
}

// host is what we know of an address.
type host struct {
	address    netip.AddrPort
	encoded    [addressBytes]byte
	length     int
	rtt        time.Duration // smoothed; failures count as long ones
	plainUntil time.Duration // it does not understand EDNS
}

// serverQuery is one packet on its way, and what comes back.
type serverQuery struct {
	question question
	host     *host
	task     *task
	reply    *message
	err      error
}

// serverSocket is a socket with a port of its own.
type serverSocket struct {
	upstream *upstream
	fd       int
	used     int // queries so far
	waiting  int // for an answer
	retired  bool
}

func newUpstream(l *loop, settings *options, c *counters) *upstream {
	count := mostSockets
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && limit.Cur < mostSockets+descriptorsASide {
		count = max(fewestSockets, (int(limit.Cur)-descriptorsASide)/2)
	}
	u := &upstream{
		loop: l, settings: settings, counters: c, sockets: make([]*serverSocket, count),
		queries: map[uint64]*serverQuery{}, hosts: map[netip.Addr]*host{},
		replies: newDatagrams(repliesAtOnce, max(mostEDNS, settings.ednsBytes)),
	}
	u.randomUsed = len(u.random)
	return u
}

// randomBits is a number that nobody can foresee.
func (u *upstream) randomBits() uint16 {
	if u.randomUsed == len(u.random) {
		_, _ = rand.Read(u.random[:]) // it ends the program rather than fail
		u.randomUsed = 0
	}
	bits := binary.NativeEndian.Uint16(u.random[u.randomUsed:])
	u.randomUsed += 2
	return bits
}

// host is what is known of an address.
func (u *upstream) host(address netip.Addr) *host {
	if s := u.hosts[address]; s != nil {
		return s
	}
	if len(u.hosts) >= mostServersKnown {
		for known := range u.hosts { // any one
			delete(u.hosts, known)
			break
		}
	}
	s := &host{address: netip.AddrPortFrom(address, uint16(u.settings.serverPort)), rtt: firstRTT}
	s.length = encodeAddress(s.encoded[:], u.reachable(s.address))
	u.hosts[address] = s
	return s
}

// reachable is an address in the form that our sockets take: those bound to :: reach IPv4 through IPv6.
func (u *upstream) reachable(address netip.AddrPort) netip.AddrPort {
	if u.settings.bind.Is4() {
		return address
	}
	return netip.AddrPortFrom(netip.AddrFrom16(address.Addr().As16()), address.Port())
}

// observe takes in how long an answer took.
func (s *host) observe(rtt time.Duration) { s.rtt += (rtt - s.rtt) / 8 }

// punish makes a server that failed one of the last to be asked.
func (s *host) punish(timeout time.Duration) { s.rtt = min(max(2*s.rtt, timeout), slowestRTT) }

// ednsBytes is the size we tell a server, 0 where it does not want to hear of it.
func (u *upstream) ednsBytes(s *host) int {
	if u.loop.now < s.plainUntil {
		return 0
	}
	return u.settings.ednsBytes
}

// --- UDP ---

// ask sends a question in a datagram and waits for the answer.
func (u *upstream) ask(s *host, q question, timeout time.Duration) (*message, error) {
	socket, err := u.pickSocket()
	if err != nil {
		return nil, err
	}
	id := u.randomBits()
	for u.queries[socket.key(id)] != nil {
		id++
	}
	query := &serverQuery{question: q, host: s, task: u.loop.current}
	u.queries[socket.key(id)] = query
	socket.used++
	socket.waiting++
	defer socket.done(id)
	u.packet = appendQuery(u.packet[:0], id, q, u.ednsBytes(s))
	if !socket.send(u.packet, s) {
		return nil, errUnreachable
	}
	u.counters.upstream.Add(1)
	asked := u.loop.now
	for deadline := asked + timeout; query.reply == nil && query.err == nil; {
		if u.loop.now >= deadline {
			u.counters.timeouts.Add(1)
			return nil, errTimeout
		}
		u.loop.pauseUntil(deadline)
	}
	if query.err == nil {
		s.observe(u.loop.now - asked)
	}
	return query.reply, query.err
}

func (s *serverSocket) key(id uint16) uint64 { return uint64(s.fd)<<16 | uint64(id) }

// pickSocket takes one of the sockets at random, each of which has a random port.
func (u *upstream) pickSocket() (*serverSocket, error) {
	place := &u.sockets[int(u.randomBits())%len(u.sockets)]
	if *place != nil && (*place).used < queriesASocket {
		return *place, nil
	}
	fresh, err := u.openSocket()
	if err != nil {
		return nil, err
	}
	if old := *place; old != nil {
		old.retired = true
		old.closeWhenDone()
	}
	*place = fresh
	return fresh, nil
}

// checkSource finds out whether we may ask from the address that we are to be bound to.
func checkSource(settings *options) error {
	from, family := socketAddress(netip.AddrPortFrom(settings.bind, 0))
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, from)
		unix.Close(fd)
	}
	if err != nil {
		return badRequest("--bind %s: %v", quoteValue(settings.bind.String()), err)
	}
	return nil
}

// openSocket lets the kernel choose the port, which it does at random.
func (u *upstream) openSocket() (*serverSocket, error) {
	from, family := socketAddress(netip.AddrPortFrom(u.settings.bind, 0))
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, errUnreachable
	}
	// Sockets are not connected, to count what strangers send; so errors come by a queue. Without
	// it a server that is gone would cost a time-out, no more.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
	}
	s := &serverSocket{upstream: u, fd: fd}
	if err = unix.Bind(fd, from); err == nil {
		err = u.loop.watch(fd, unix.EPOLLIN, s)
	}
	if err != nil {
		unix.Close(fd)
		return nil, errUnreachable
	}
	return s, nil
}

func (s *serverSocket) done(id uint16) {
	delete(s.upstream.queries, s.key(id))
	s.waiting--
	s.closeWhenDone()
}

func (s *serverSocket) closeWhenDone() {
	if s.retired && s.waiting == 0 {
		s.upstream.loop.forget(s.fd)
	}
}

// send sends a packet; an error of an earlier one is told only once.
func (s *serverSocket) send(packet []byte, to *host) bool {
	for range 3 {
		switch sendTo(s.fd, packet, to.encoded[:to.length]) {
		case 0, unix.EAGAIN, unix.ENOBUFS: // sent, or lost like others
			return true
		case unix.ENETUNREACH, unix.EACCES, unix.EPERM, unix.EINVAL:
			return false
		}
	}
	return false
}

// ready takes in answers, and errors.
func (s *serverSocket) ready(events uint32) {
	u := s.upstream
	if events&unix.EPOLLERR != 0 {
		count := u.replies.receive(s.fd, unix.MSG_ERRQUEUE)
		for i := range count {
			packet, _ := u.replies.packet(i)
			s.failed(packet, u.replies.from(i))
		}
	}
	if events&unix.EPOLLIN != 0 {
		count := u.replies.receive(s.fd, 0)
		for i := range count {
			packet, whole := u.replies.packet(i)
			s.answered(packet, whole, u.replies.from(i))
		}
	}
}

// failed is told which of our packets did not arrive, and where.
func (s *serverSocket) failed(packet []byte, to netip.AddrPort) {
	if len(packet) < headerBytes {
		return
	}
	query := s.upstream.queries[s.key(binary.BigEndian.Uint16(packet))]
	if query != nil && query.host.address == to && query.reply == nil {
		query.err = errUnreachable
		s.upstream.loop.schedule(query.task)
	}
}

// answered gives an answer to who waits for it. It counts only if it comes from where the
// query went to, with its id and its question; all others are those of liars, or late.
func (s *serverSocket) answered(packet []byte, whole bool, from netip.AddrPort) {
	u := s.upstream
	if len(packet) >= headerBytes {
		query := u.queries[s.key(binary.BigEndian.Uint16(packet))]
		if query != nil && query.reply == nil && query.err == nil && query.host.address == from && answers(packet, query.question) {
			if whole {
				query.reply, query.err = parseMessage(packet)
			} else { // longer than we said it may be
				query.reply = &message{flags: flagTC}
			}
			u.loop.schedule(query.task)
			return
		}
	}
	u.counters.spoofed.Add(1)
}

// answers tells whether a packet is a response to a question. One that says FORMERR may come without it.
func answers(packet []byte, q question) bool {
	m, _, err := parseStart(packet)
	if err != nil || m.flags&flagQR == 0 || m.flags>>11&0xf != 0 {
		return false
	}
	if m.questions == 0 {
		return m.rcode == rcodeFormErr || m.rcode == rcodeNotImp
	}
	return m.questions == 1 && m.question == q && m.class == classIN
}

// --- TCP ---

// askStream asks over a connection of its own: the answer is too long for a datagram.
func (u *upstream) askStream(s *host, q question) (*message, error) {
	if u.connections >= mostConnections {
		return nil, errUnreachable
	}
	from, family := socketAddress(netip.AddrPortFrom(u.settings.bind, 0))
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, errUnreachable
	}
	u.connections++
	defer func() { u.connections-- }()
	stream := &serverStream{loop: u.loop, task: u.loop.current, fd: fd, until: u.loop.now + longestTimeout}
	defer u.loop.forget(fd)
	if err := u.loop.watch(fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET, stream); err != nil {
		return nil, errUnreachable
	}
	to, _ := socketAddress(u.reachable(s.address))
	if unix.Bind(fd, from) != nil {
		return nil, errUnreachable
	}
	if err := unix.Connect(fd, to); err != nil && err != unix.EINPROGRESS {
		return nil, errUnreachable
	}
	u.counters.upstream.Add(1)
	reply, err := stream.exchange(u.randomBits(), q, u.ednsBytes(s))
	switch {
	case err == errTimeout: // no second try for a server that lets connections hang
		u.counters.timeouts.Add(1)
		err = errUnreachable
	case err == nil && reply.flags&flagTC != 0:
		err = errUnreachable
	}
	return reply, err
}

// serverStream is a connection to a server, used by one task.
type serverStream struct {
	loop  *loop
	task  *task
	fd    int
	until time.Duration
}

func (s *serverStream) ready(uint32) { s.loop.schedule(s.task) }

// exchange sends a query and reads its answer.
func (s *serverStream) exchange(id uint16, q question, ednsBytes int) (*message, error) {
	query := appendQuery(make([]byte, 2, 512), id, q, ednsBytes)
	binary.BigEndian.PutUint16(query, uint16(len(query)-2))
	if err := s.all(query, unix.Write); err != nil {
		return nil, err
	}
	var length [2]byte
	if err := s.all(length[:], unix.Read); err != nil {
		return nil, err
	}
	packet := make([]byte, binary.BigEndian.Uint16(length[:]))
	if err := s.all(packet, unix.Read); err != nil {
		return nil, err
	}
	if len(packet) < headerBytes || binary.BigEndian.Uint16(packet) != id || !answers(packet, q) {
		return nil, errUnreachable
	}
	return parseMessage(packet)
}

// all reads or writes all bytes, and waits where it has to.
func (s *serverStream) all(data []byte, transfer func(int, []byte) (int, error)) error {
	for len(data) > 0 {
		n, err := transfer(s.fd, data)
		switch {
		case err == unix.EAGAIN || err == unix.ENOTCONN:
			if s.loop.now >= s.until {
				return errTimeout
			}
			s.loop.pauseUntil(s.until)
		case err == unix.EINTR:
		case err != nil || n == 0:
			return errUnreachable
		default:
			data = data[n:]
		}
	}
	return nil
}
