package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const acceptPause = 50 * time.Millisecond // when the machine has no descriptors left

// server is the whole: the rooms, the loops that write to clients, one for each thread,
// and all clients, whom it counts and ends.
type server struct {
	settings *options
	metrics  metrics
	hub      *hub
	loops    []*loop

	lock      sync.Mutex
	clients   map[*client]struct{}
	reserved  int // connections that are being upgraded
	turn      int // of the loops
	stopping  bool
	stopBy    int64
	empty     chan struct{} // closed when it stops and the last client is gone
	toldEmpty bool
}

func newServer(settings *options) (*server, error) {
	s := &server{settings: settings, clients: map[*client]struct{}{}, empty: make(chan struct{})}
	s.hub = newHub(&s.metrics, settings)
	for range settings.threads {
		l, err := newLoop(s)
		if err != nil {
			return nil, machineFailure("event loop: %v", err)
		}
		s.loops = append(s.loops, l)
	}
	return s, nil
}

// connections is how many are open.
func (s *server) connections() int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return len(s.clients)
}

// reserve makes sure of a place for a connection before it is upgraded.
func (s *server) reserve() bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.stopping || len(s.clients)+s.reserved >= s.settings.maxConnections {
		return false
	}
	s.reserved++
	return true
}

// unreserve gives the place back: the upgrade failed.
func (s *server) unreserve() {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.reserved--
	s.checkEmpty()
}

// nextLoop is whose turn it is to take a client.
func (s *server) nextLoop() *loop {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.turn++
	return s.loops[s.turn%len(s.loops)]
}

// enter counts a client in, whose place was reserved, and starts its times.
func (s *server) enter(c *client) {
	s.metrics.connects.Add(1)
	c.begin()
	s.lock.Lock()
	s.reserved--
	s.clients[c] = struct{}{}
	stopping := s.stopping
	s.lock.Unlock()
	if stopping {
		c.goAway(s.stopBy)
	}
}

// leave counts a client out.
func (s *server) leave(c *client) {
	s.lock.Lock()
	defer s.lock.Unlock()
	delete(s.clients, c)
	s.checkEmpty()
}

// checkEmpty tells who drains when nobody is left, nor about to come.
func (s *server) checkEmpty() {
	if s.stopping && len(s.clients)+s.reserved == 0 && !s.toldEmpty {
		s.toldEmpty = true
		close(s.empty)
	}
}

// drain ends all connections: each gets what is queued for it and a close frame, and has
// the drain timeout to answer that.
func (s *server) drain() {
	s.hub.hush()
	s.lock.Lock()
	s.stopping, s.stopBy = true, now()+int64(s.settings.drainTimeout)
	all := make([]*client, 0, len(s.clients))
	for c := range s.clients {
		all = append(all, c)
	}
	s.checkEmpty()
	s.lock.Unlock()
	for _, c := range all {
		c.goAway(s.stopBy)
	}
	select {
	case <-s.empty:
	case <-time.After(s.settings.drainTimeout):
	}
}

// --- the listener ---

// listener accepts, and goes on when the machine has no descriptors left.
type listener struct {
	*net.TCPListener
	server     *server
	complained bool
}

func listen(s *server) (*listener, error) {
	opened, err := net.Listen("tcp", s.settings.listen)
	if err != nil {
		var detail *net.OpError
		if errors.As(err, &detail) {
			err = detail.Err
		}
		return nil, badRequest("--listen %s: %v", quoteValue(s.settings.listen), err)
	}
	return &listener{TCPListener: opened.(*net.TCPListener), server: s}, nil
}

// Accept gives each connection the socket of this lane.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptTCP()
		switch {
		case err == nil:
			conn.SetReadDeadline(time.Now().Add(headTimeoutSeconds * time.Second)) // for its first byte
			return &socket{TCPConn: conn, server: l.server}, nil
		case errors.Is(err, net.ErrClosed):
			return nil, io.EOF
		}
		if !l.complained {
			l.complained = true
			logLine("cannot accept a connection: %v", err)
		}
		time.Sleep(acceptPause)
	}
}
