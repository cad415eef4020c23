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

const (
	// outputBytes is how many bytes of replies may gather before they leave.
	outputBytes = 16 << 10
	// settleTime is how long a drain still listens for what had been sent before it began.
	settleTime = 10 * time.Millisecond
	// lingerTime and lingerBytes bound what is read from a client that was told to go: closing at once would take
	// away the reply that it has not read yet.
	lingerTime  = 2 * time.Second
	lingerBytes = 1 << 20
	// acceptPause is how long no connection is accepted after the machine had no room for one.
	acceptPause = 100 * time.Millisecond
	// renewShare of the idle time is how exactly the deadline of a busy connection is kept: setting it has a price.
	renewShare = 16
)

// server is the listener and its connections.
type server struct {
	settings *options
	listener *net.TCPListener
	counts   counters

	mutex       sync.Mutex
	connections map[*connection]struct{}
	everyone    sync.WaitGroup
	accepted    chan struct{} // closed when no more will come
	drainEnd    time.Time     // set before isDraining
	isDraining  atomic.Bool
}

func newServer(settings *options) (*server, error) {
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(settings.listen))
	if err != nil {
		cause := err
		var code syscall.Errno
		if errors.As(err, &code) {
			cause = code
		}
		return nil, badRequest("--listen %s: %v", quoteValue(settings.listenText), cause)
	}
	made := &server{settings: settings, listener: listener, accepted: make(chan struct{})}
	made.connections = make(map[*connection]struct{})
	return made, nil
}

// accept takes connections until a drain sets the listener a deadline.
func (s *server) accept() {
	defer close(s.accepted)
	defer s.listener.Close()
	isPaused := false
	for {
		socket, err := s.listener.AcceptTCP()
		switch {
		case err == nil:
			isPaused = false
			s.admit(socket)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return
		default:
			if !isPaused {
				logLine("accepting pauses: %v", err)
			}
			isPaused = true
			time.Sleep(acceptPause)
		}
	}
}

func (s *server) admit(socket *net.TCPConn) {
	made := &connection{server: s, socket: socket}
	s.mutex.Lock()
	isFull := len(s.connections) >= s.settings.maxConnections
	if !isFull {
		s.connections[made] = struct{}{}
	}
	s.mutex.Unlock()
	if isFull {
		s.counts.refused.Add(1)
		socket.Close()
		return
	}
	s.counts.accepted.Add(1)
	s.counts.open.Add(1)
	s.everyone.Go(made.serve)
}

func (s *server) leave(gone *connection) {
	gone.socket.Close()
	s.counts.open.Add(-1)
	s.mutex.Lock()
	delete(s.connections, gone)
	s.mutex.Unlock()
}

// drain ends when all requests under way are answered, or its time is over.
func (s *server) drain() {
	s.drainEnd = time.Now().Add(s.settings.drainTimeout)
	s.isDraining.Store(true)
	settled := time.Now().Add(settleTime)
	_ = s.listener.SetDeadline(settled) // what waits in its queue has reached us
	s.mutex.Lock()
	for each := range s.connections {
		_ = each.socket.SetReadDeadline(settled) // one that has just closed needs none
	}
	s.mutex.Unlock()
	done := make(chan struct{})
	go func() {
		<-s.accepted
		s.everyone.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(s.settings.drainTimeout):
	}
}

// connection is one client. Its input has room for the largest head, so that a part of one is all that ever waits.
type connection struct {
	server   *server
	socket   *net.TCPConn
	renewed  time.Time
	input    [headBytesMax]byte
	filled   int
	output   []byte
	isEnding bool // after the output
	isLast   bool // the drain waits for the rest of a request
}

// serve runs until the client or the server ends the connection.
func (c *connection) serve() {
	defer c.server.leave(c)
	c.renew()
	for c.receive() {
		if !c.answer() {
			return
		}
		if c.isEnding {
			c.linger()
			return
		}
		c.renew()
	}
}

// renew gives the client its time for the next request.
func (c *connection) renew() {
	now := time.Now()
	if c.isLast || now.Sub(c.renewed) < c.server.settings.idleTimeout/renewShare {
		return
	}
	c.renewed = now
	_ = c.socket.SetDeadline(now.Add(c.server.settings.idleTimeout))
	if c.server.isDraining.Load() { // it may have begun after the last line
		_ = c.socket.SetReadDeadline(now.Add(settleTime))
	}
}

// receive reads once; false when nothing more comes in time.
func (c *connection) receive() bool {
	for {
		count, err := c.socket.Read(c.input[c.filled:])
		c.filled += count
		if count > 0 {
			return true
		}
		isUnderWay := c.filled > 0 && !c.isLast && c.server.isDraining.Load()
		if !isUnderWay || !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		c.isLast = true
		_ = c.socket.SetReadDeadline(c.server.drainEnd)
	}
}

// answer does all whole requests of the input; false when the client does not take the replies.
func (c *connection) answer() bool {
	start := 0
	for !c.isEnding {
		found, what, why := parseRequest(c.input[start:c.filled])
		if what == isPart {
			break
		}
		c.isEnding = what == isRefused || !found.keepsAlive || found.hasBody || c.server.isDraining.Load()
		if what == isRefused {
			c.output = appendError(c.output, why, true, &c.server.counts)
			break
		}
		c.output = appendReply(c.output, &found, c.isEnding, &c.server.counts)
		start += found.bytes
		if len(c.output) >= outputBytes && !c.send() {
			return false
		}
	}
	c.filled = copy(c.input[:], c.input[start:c.filled])
	return c.send()
}

// send writes all replies; it waits as long as the client's time allows.
func (c *connection) send() bool {
	if len(c.output) == 0 {
		return true
	}
	_, err := c.socket.Write(c.output)
	c.output = c.output[:0]
	return err == nil
}

// linger lets the client read the last reply before the connection is gone.
func (c *connection) linger() {
	if c.socket.CloseWrite() == nil {
		_ = c.socket.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, c.socket, lingerBytes)
	}
}
