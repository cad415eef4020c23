package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var tooManyConnections = &problem{503, "too many connections"}

const (
	sweepInterval   = time.Second
	resolveTimeout  = 5 * time.Second
	acceptPause     = 20 * time.Millisecond // when the machine has no descriptors left
	maxTurningAway  = 256                   // connections that are told so at once; more are just closed
	turnAwayTimeout = time.Second
)

// server is the whole proxy: its listeners, its backends and its clients.
type server struct {
	settings       *options
	listener       *net.TCPListener
	admin          *net.TCPListener // nil: none
	wheel          *wheel
	balancer       balancer
	metrics        metrics
	requestBytes   int
	requestBuffers *bufferPool
	streamBuffers  *bufferPool
	turningAway    chan struct{}

	draining atomic.Bool
	mutex    sync.Mutex
	clients  map[*client]struct{}
	empty    *sync.Cond // no client is left
}

// newServer resolves the backends and listens.
func newServer(settings *options) (*server, error) {
	requestBytes := settings.maxHeaderBytes + requestSlack
	s := &server{
		settings:       settings,
		wheel:          newWheel(shortestOf(settings)),
		requestBytes:   requestBytes,
		requestBuffers: newBufferPool(requestBytes, 0, 0),
		streamBuffers:  newBufferPool(streamBufferBytes, streamHeadroom, streamTailroom),
		turningAway:    make(chan struct{}, maxTurningAway),
		clients:        map[*client]struct{}{},
	}
	s.empty = sync.NewCond(&s.mutex)
	s.balancer.how, s.balancer.hashHeader = settings.balance, settings.hashHeader
	for _, address := range settings.backends {
		target, err := resolve("--backends", address)
		if err != nil {
			return nil, err
		}
		s.balancer.backends = append(s.balancer.backends, &backend{
			address: address, target: target, hash: hashBytes(address),
			settings: settings, wheel: s.wheel, buffers: s.streamBuffers, changed: s.balancer.refresh,
		})
	}
	s.balancer.refresh()
	var err error
	if settings.admin != "" {
		if s.admin, err = listen("--admin", settings.admin); err != nil {
			return nil, err
		}
	}
	s.listener, err = listen("--listen", settings.listen)
	return s, err
}

// shortestOf finds the shortest time that the wheel must keep.
func shortestOf(o *options) time.Duration {
	return min(o.readTimeout, o.idleTimeout, o.headerTimeout)
}

// resolve turns HOST:PORT into an address, once and for all.
func resolve(option, address string) (string, error) {
	host, port, _ := net.SplitHostPort(address)
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(found) == 0 {
		return "", badRequest("%s %s: the name cannot be resolved", option, quoteValue(address))
	}
	chosen := found[0]
	for _, ip := range found {
		if ip.Unmap().Is4() {
			chosen = ip.Unmap()
			break
		}
	}
	return net.JoinHostPort(chosen.String(), port), nil
}

func listen(option, address string) (*net.TCPListener, error) {
	target, err := resolve(option, address)
	if err != nil {
		return nil, err
	}
	// Connections time out by our own clock: no probes of the kernel.
	config := net.ListenConfig{KeepAlive: -1}
	config.SetMultipathTCP(false)
	listener, err := config.Listen(context.Background(), "tcp", target)
	if err != nil {
		return nil, listenFailure(option, address, err)
	}
	return listener.(*net.TCPListener), nil
}

// listenFailure tells an address the user got wrong from a machine that failed.
func listenFailure(option, address string, err error) error {
	var code syscall.Errno
	if !errors.As(err, &code) {
		return badRequest("%s %s: %v", option, quoteValue(address), err)
	}
	if isOurs(code) && code != syscall.EADDRNOTAVAIL {
		return machineFailure("%s %s: %v", option, quoteValue(address), code)
	}
	return badRequest("%s %s: %v", option, quoteValue(address), code)
}

// addresses are the lines that say where the server listens.
func (s *server) addresses() string {
	text := "listening on " + s.listener.Addr().String() + "\n"
	if s.admin != nil {
		text = "admin on " + s.admin.Addr().String() + "\n" + text
	}
	return text
}

// start begins to serve.
func (s *server) start() {
	go s.keepTime()
	if s.settings.healthPath != "" {
		for _, b := range s.balancer.backends {
			go b.watch()
		}
	}
	if s.admin != nil {
		go serveAdmin(s.admin, &s.metrics, s.balancer.backends)
	}
	go s.accept()
}

// keepTime moves the clock and does what is due.
func (s *server) keepTime() {
	var swept int64
	for range time.Tick(tick) {
		now := int64(time.Since(s.wheel.started))
		s.wheel.advance(now)
		for _, b := range s.balancer.backends {
			b.readmit(now)
		}
		if now-swept >= int64(sweepInterval) {
			swept = now
			for _, b := range s.balancer.backends {
				b.sweep(now)
			}
		}
	}
}

// accept takes connections until the listener is closed.
func (s *server) accept() {
	short := false
	for {
		conn, err := s.listener.AcceptTCP()
		switch {
		case err == nil:
			short = false
			s.admit(conn)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			// A connection that ended while it waited, or no descriptors: the next try may do.
			if !short && isOurs(err) {
				logLine("cannot accept connections: %v", err)
				short = true
			}
			if isOurs(err) {
				time.Sleep(acceptPause)
			}
		}
	}
}

// admit begins to serve a connection, or turns it away.
func (s *server) admit(conn *net.TCPConn) {
	if s.metrics.activeConnections.Load() >= int64(s.settings.maxConnections) {
		s.turnAway(conn)
		return
	}
	c, err := newClient(s, conn)
	if err != nil {
		conn.Close()
		return
	}
	s.metrics.activeConnections.Add(1)
	s.mutex.Lock()
	s.clients[c] = struct{}{}
	s.mutex.Unlock()
	go c.serve()
}

// forget is called when a client's connection is closed.
func (s *server) forget(c *client) {
	s.metrics.activeConnections.Add(-1)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.clients, c)
	if len(s.clients) == 0 {
		s.empty.Broadcast()
	}
}

// turnAway answers 503 to a connection too many, and closes it when the client has read that.
func (s *server) turnAway(conn *net.TCPConn) {
	select {
	case s.turningAway <- struct{}{}:
	default:
		conn.Close()
		return
	}
	s.metrics.countResponse(tooManyConnections.status)
	go func() {
		defer func() { conn.Close(); <-s.turningAway }()
		conn.SetDeadline(time.Now().Add(turnAwayTimeout))
		conn.Write(appendProblem(nil, tooManyConnections, "Connection: close\r\n", false))
		conn.CloseWrite()
		for rest, left := make([]byte, 4096), lingerBytes; left > 0; {
			n, err := conn.Read(rest)
			if err != nil {
				return
			}
			left -= n
		}
	}()
}

// drain ends the service: no new connections, idle ones end, and requests under way
// have the drain time-out to finish.
func (s *server) drain() {
	s.listener.Close()
	s.draining.Store(true)
	s.mutex.Lock()
	for c := range s.clients {
		c.wake()
	}
	s.mutex.Unlock()
	done := make(chan struct{})
	go func() {
		s.mutex.Lock()
		for len(s.clients) > 0 {
			s.empty.Wait()
		}
		s.mutex.Unlock()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(s.settings.drainTimeout):
		s.cutAll()
	}
}

// cutAll lets every connection that is left end by a reset, so that no cut response looks whole.
func (s *server) cutAll() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for c := range s.clients {
		c.conn.SetLinger(0)
	}
}
