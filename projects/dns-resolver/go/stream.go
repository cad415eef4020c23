package main

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	mostStreams    = 1000
	idleTimeout    = 10 * time.Second
	mostPipelined  = 100      // questions of a stream whose answers are being looked for
	mostUnsent     = 64 << 10 // bytes of answers; beyond, no more is read
	streamInput    = 1024
	readsATurn     = 8
	acceptsATurn   = 64
	listenBacklog  = 511
	acceptPause    = 100 * time.Millisecond // when the machine has no descriptors left
	lengthBytes    = 2
	streamMinWrite = 512
)

// streams are the clients that came over TCP.
type streams struct {
	server   *server
	loop     *loop
	listener int
	open     map[*stream]struct{}
	changed  []*stream // in this turn
	again    alarm     // when to accept again
	draining bool
}

// stream is one of them. Questions may come one behind the other; each is answered when it can be.
type stream struct {
	streams  *streams
	fd       int
	in       []byte // not looked at yet
	out      []byte // not sent yet
	pending  int    // questions under way
	ended    bool   // the client sends no more
	events   uint32 // that we asked for
	changed  bool
	closed   bool
	activeAt time.Duration
	idle     alarm
	query    query
}

func openListener(address netip.AddrPort) (int, error) {
	name, family := socketAddress(address)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // connections inherit it
	}
	if err == nil {
		err = unix.Bind(fd, name)
	}
	if err == nil {
		err = unix.Listen(fd, listenBacklog)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// ready accepts the connections that wait. Where there are too many, the newest are closed.
func (s *streams) ready(uint32) {
	for range acceptsATurn {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case err == unix.EMFILE || err == unix.ENFILE || err == unix.ENOBUFS || err == unix.ENOMEM:
			s.pauseAccepting(err)
			return
		case err == unix.EAGAIN:
			return
		case err != nil:
		case len(s.open) >= mostStreams:
			unix.Close(fd)
		default:
			s.begin(fd)
		}
	}
}

// pauseAccepting leaves connections in the queue for a while; without it the loop would spin.
func (s *streams) pauseAccepting(cause error) {
	logLine("cannot accept connections: %v", cause)
	s.loop.change(s.listener, 0)
	s.again.ring = func() {
		if !s.draining {
			s.loop.change(s.listener, unix.EPOLLIN)
		}
	}
	s.loop.setAlarm(&s.again, s.loop.now+acceptPause)
}

func (s *streams) begin(fd int) {
	c := &stream{streams: s, fd: fd, events: unix.EPOLLIN, activeAt: s.loop.now}
	if err := s.loop.watch(fd, c.events, c); err != nil {
		unix.Close(fd)
		return
	}
	s.open[c] = struct{}{}
	c.idle.ring = c.expire
	s.loop.setAlarm(&c.idle, s.loop.now+idleTimeout)
}

// flush sends the answers of a turn.
func (s *streams) flush() {
	for i := 0; i < len(s.changed); i++ { // a stream that goes on reading may change again
		c := s.changed[i]
		c.changed = false
		c.proceed()
	}
	s.changed = s.changed[:0]
}

// drain accepts no more, and takes from the streams what has come.
func (s *streams) drain() {
	s.draining = true
	s.loop.forget(s.listener)
	for c := range s.open {
		c.read()
		c.ended = true
		c.change()
	}
	s.flush()
}

// busy is true as long as there are answers to give.
func (s *streams) busy() bool { return len(s.open) > 0 }

// --- one stream ---

// ready notes what happened to a stream.
func (c *stream) ready(events uint32) {
	if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 { // reset: nobody would read an answer
		c.close()
		return
	}
	if events&unix.EPOLLIN != 0 && !c.ended {
		c.read()
	}
	c.change()
}

// change lets the stream proceed at the end of the turn.
func (c *stream) change() {
	if !c.changed && !c.closed {
		c.changed = true
		c.streams.changed = append(c.streams.changed, c)
	}
}

// read takes in what the client has sent.
func (c *stream) read() {
	for range readsATurn {
		if c.full() {
			return
		}
		c.makeRoom()
		n, err := unix.Read(c.fd, c.in[len(c.in):cap(c.in)])
		switch {
		case err == unix.EAGAIN:
			return
		case err == unix.EINTR:
			continue
		case err != nil:
			c.close()
			return
		case n == 0:
			c.ended = true
			return
		}
		c.in = c.in[:len(c.in)+n]
		c.answerAll()
	}
}

// makeRoom lets the next message fit, however long it says it is.
func (c *stream) makeRoom() {
	wanted := streamInput
	if len(c.in) >= lengthBytes {
		wanted = max(wanted, lengthBytes+int(binary.BigEndian.Uint16(c.in)))
	}
	if cap(c.in) < wanted {
		c.in = append(make([]byte, 0, wanted), c.in...)
	}
}

// full is true when the client has to wait for answers, or to read them, before it can ask more.
func (c *stream) full() bool {
	return c.closed || c.pending >= mostPipelined || len(c.out) >= mostUnsent
}

// answerAll takes the complete messages that are there.
func (c *stream) answerAll() {
	at := 0
	for !c.full() && len(c.in)-at >= lengthBytes {
		end := at + lengthBytes + int(binary.BigEndian.Uint16(c.in[at:]))
		if end > len(c.in) {
			break
		}
		c.activeAt = c.streams.loop.now
		c.answer(c.in[at+lengthBytes : end])
		at = end
	}
	c.in = c.in[:copy(c.in, c.in[at:])]
	if len(c.in) == 0 && cap(c.in) > streamInput {
		c.in = nil // a long message does not come often
	}
}

// answer answers a question, at once or when its answer is found.
func (c *stream) answer(packet []byte) {
	s := c.streams.server
	q := &c.query
	s.counters.queries.Add(1)
	s.counters.tcp.Add(1)
	ednsBytes := s.settings.ednsBytes
	verdict := q.parse(packet, ednsBytes)
	q.limit = maxMessage
	switch verdict {
	case answerable:
	case unreadable:
		return
	default:
		c.reply(packet[:max(headerBytes, q.question)], plainBytes, func(room []byte) int { return q.writeError(room, verdict, ednsBytes) })
		return
	}
	packet = packet[:q.question]
	if b, found := s.resolver.cache.answer(q.key, c.streams.loop.now); found {
		s.counters.hits.Add(1)
		if b.rcode == rcodeServFail {
			s.counters.servfail.Add(1)
		}
		c.replyBody(packet, q, b)
		return
	}
	wanted := &request{packet: append([]byte(nil), packet...), query: *q}
	wanted.query.key = wanted.query.keySpace[:len(q.key)]
	c.pending++
	done := func(b body) {
		c.pending--
		if !c.closed {
			c.replyBody(wanted.packet, &wanted.query, b)
		}
	}
	if !s.resolve(&wanted.query, done) {
		s.counters.servfail.Add(1)
		done(body{rcode: rcodeServFail})
	}
}

func (c *stream) replyBody(packet []byte, q *query, b body) {
	ednsBytes := c.streams.server.settings.ednsBytes
	c.reply(packet, q.answerBytes(&b), func(room []byte) int { return q.write(room, &b, ednsBytes) })
}

// reply lets an answer be written behind those that are not sent yet.
func (c *stream) reply(packet []byte, size int, write func(room []byte) int) {
	begin := len(c.out) + lengthBytes
	needed := begin + max(size, streamMinWrite)
	if cap(c.out) < needed {
		c.out = append(make([]byte, 0, max(needed, 2*len(c.out))), c.out...)
	}
	room := c.out[begin:cap(c.out)]
	copy(room, packet)
	length := write(room)
	c.out = c.out[:begin+length]
	binary.BigEndian.PutUint16(c.out[begin-lengthBytes:], uint16(length))
	c.change()
}

// proceed sends what there is to send, and reads on if there is room again.
func (c *stream) proceed() {
	c.send()
	if c.closed {
		return
	}
	c.answerAll()
	if c.ended && c.pending == 0 && len(c.out) == 0 {
		c.close()
		return
	}
	events := uint32(0)
	if !c.ended && !c.full() {
		events |= unix.EPOLLIN
	}
	if len(c.out) > 0 {
		events |= unix.EPOLLOUT
	}
	if events != c.events {
		c.events = events
		c.streams.loop.change(c.fd, events)
	}
}

func (c *stream) send() {
	for len(c.out) > 0 {
		n, err := unix.Write(c.fd, c.out)
		switch {
		case err == unix.EAGAIN:
			return
		case err == unix.EINTR:
			continue
		case err != nil:
			c.close()
			return
		}
		c.activeAt = c.streams.loop.now
		c.out = c.out[:copy(c.out, c.out[n:])]
	}
	if cap(c.out) > mostUnsent {
		c.out = nil
	}
}

// expire closes a stream on which nothing happened for too long.
func (c *stream) expire() {
	l := c.streams.loop
	if c.pending > 0 {
		c.activeAt = l.now
	}
	if l.now-c.activeAt >= idleTimeout {
		c.close()
		return
	}
	l.setAlarm(&c.idle, c.activeAt+idleTimeout)
}

func (c *stream) close() {
	if c.closed {
		return
	}
	c.closed = true
	delete(c.streams.open, c)
	c.streams.loop.stopAlarm(&c.idle)
	c.streams.loop.forget(c.fd)
}
