package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// maxResponseHead bounds the head of a response.
const maxResponseHead = 64 << 10

// What a client is told when backends fail.
var (
	noBackendUp     = &problem{503, "no backend is up"}
	unreachable     = &problem{502, "cannot connect to the backend"}
	connectTooLong  = &problem{504, "connecting to the backend took too long"}
	backendClosed   = &problem{502, "the backend closed the connection"}
	badResponse     = &problem{502, "bad response from the backend"}
	responseTooLong = &problem{504, "the backend took too long"}
)

// errStale: the connection had ended, or said something nobody asked for, before it was used.
var errStale = errors.New("stale connection")

// backend is one of the servers behind the proxy, and its pool of idle connections.
type backend struct {
	address  string // as the options name it
	target   string // as it was resolved
	hash     uint64
	settings *options
	wheel    *wheel
	buffers  *bufferPool
	changed  func() // called when it went up or down

	active   atomic.Int64 // requests under way
	requests atomic.Uint64
	fails    atomic.Int64 // failed requests in a row

	mutex        sync.Mutex
	idle         []*upstream // the last one was used last
	unhealthy    bool        // by active checks
	ejectedUntil int64       // by failed requests; 0: not ejected
}

func (b *backend) isUp() bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return !b.unhealthy && b.ejectedUntil == 0
}

// failed counts a request that failed, and ejects the backend after too many in a row.
// Only a good response starts the count anew: a backend that comes back and fails again is out at once.
func (b *backend) failed() {
	fails := b.fails.Add(1)
	if b.settings.maxFails == 0 || fails < int64(b.settings.maxFails) {
		return
	}
	b.mutex.Lock()
	ejected := b.ejectedUntil == 0
	if ejected {
		b.ejectedUntil = b.wheel.after(b.settings.failTimeout)
	}
	b.mutex.Unlock()
	if ejected {
		logLine("backend %s: ejected for %v after %d failures in a row", b.address, b.settings.failTimeout, fails)
		b.changed()
	}
}

func (b *backend) succeeded() {
	if b.fails.Load() != 0 {
		b.fails.Store(0)
	}
}

// readmit ends an ejection whose time is over.
func (b *backend) readmit(now int64) {
	b.mutex.Lock()
	over := b.ejectedUntil != 0 && b.ejectedUntil <= now
	if over {
		b.ejectedUntil = 0
	}
	b.mutex.Unlock()
	if over {
		logLine("backend %s: gets requests again", b.address)
		b.changed()
	}
}

// takeIdle returns the connection that was used last, or nil.
func (b *backend) takeIdle() *upstream {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	last := len(b.idle) - 1
	if last < 0 {
		return nil
	}
	u := b.idle[last]
	b.idle[last] = nil
	b.idle = b.idle[:last]
	return u
}

// keep puts a connection into the pool, or closes it where the pool is full.
func (b *backend) keep(u *upstream) {
	u.release()
	u.readUntil.Store(0)
	u.stop, u.upload, u.sent = &nothingStops, nil, nil
	u.idleSince = b.wheel.now()
	b.mutex.Lock()
	fits := len(b.idle) < b.settings.poolSize
	if fits {
		b.idle = append(b.idle, u)
	}
	b.mutex.Unlock()
	if !fits {
		u.close()
	}
}

// sweep closes idle connections that the backend has ended or that were idle for long.
func (b *backend) sweep(now int64) {
	var ended []*upstream
	b.mutex.Lock()
	b.idle = slices.DeleteFunc(b.idle, func(u *upstream) bool {
		over := now-u.idleSince > int64(b.settings.idleTimeout) || !u.quiet()
		if over {
			ended = append(ended, u)
		}
		return over
	})
	b.mutex.Unlock()
	for _, u := range ended {
		u.close()
	}
}

// dial opens a connection.
func (b *backend) dial() (*upstream, *problem) {
	dialer := net.Dialer{Timeout: b.settings.connectTimeout, KeepAlive: -1}
	conn, err := dialer.Dial("tcp", b.target)
	if err == nil {
		u := &upstream{backend: b, patience: b.settings.readTimeout}
		if err = u.open(conn.(*net.TCPConn), b.wheel, b.buffers); err == nil {
			u.onExchange = u.stepExchange
			return u, nil
		}
		conn.Close()
	}
	if !isOurs(err) {
		b.failed()
	}
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() {
		return nil, connectTooLong
	}
	return nil, unreachable
}

// isOurs tells a failure of this machine from one of a backend.
func isOurs(err error) bool {
	for _, local := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, local) {
			return true
		}
	}
	return false
}

// upstream is a connection to a backend.
type upstream struct {
	socket
	backend   *backend
	idleSince int64
	patience  time.Duration // how long the backend may be silent
	upload    *upload       // what still sends the request's body; or nil

	// What stepExchange works on.
	request    []byte
	sent       func()
	probe      [1]byte
	onExchange func(uintptr) bool
}

// quiet tells whether an idle connection is open and has nothing to say.
func (u *upstream) quiet() bool {
	quiet := false
	u.raw.Control(func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), u.probe[:], syscall.MSG_PEEK)
		quiet = err == syscall.EAGAIN
	})
	return quiet
}

// exchange sends a request and waits for the first bytes of its response.
//
// A read that finds nothing is part of every wait. Here it stands before the request
// is sent: there it shows whether the connection is still good, for nothing.
func (u *upstream) exchange(request []byte, sent func()) error {
	u.request, u.sent = request, sent
	u.lender, u.limit, u.into = u.pool, streamBytes, nil
	if err := u.await(u.onExchange); err != nil {
		return err
	}
	if u.lent == nil {
		return u.readErr
	}
	in, err := u.takeLent()
	u.in = in
	return err
}

func (u *upstream) stepExchange(fd uintptr) bool {
	if u.request == nil {
		return u.stepRead(fd)
	}
	request := u.request
	u.request = nil
	if _, err := receive(fd, u.probe[:]); err != syscall.EAGAIN {
		u.readErr = errStale
		return true
	}
	err := u.write(request, u.patience)
	u.sent()
	if err == nil {
		return false
	}
	// A backend that refuses a request may have said why before it closed.
	if !u.stepRead(fd) {
		u.readErr = err
	}
	return true
}

// more reads more of the response.
func (u *upstream) more() error {
	u.startFill()
	if err := u.await(u.onReadable); err != nil {
		return err
	}
	return u.endFill()
}

// await waits for the backend, whose time runs only when it has the whole request.
func (u *upstream) await(step func(uintptr) bool) error {
	for {
		err := u.awaitReadable(step, u.wheel.after(u.patience))
		if err != errTimeout || u.upload == nil || u.upload.finished.Load() {
			return err
		}
	}
}

// --- choosing one ---

// balancer chooses the backend of a request.
type balancer struct {
	how        balance
	hashHeader string
	backends   []*backend
	turn       atomic.Uint64
	mutex      sync.Mutex
	up         atomic.Pointer[[]*backend]
}

// refresh lists the backends that are up.
func (l *balancer) refresh() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	up := make([]*backend, 0, len(l.backends))
	for _, b := range l.backends {
		if b.isUp() {
			up = append(up, b)
		}
	}
	l.up.Store(&up)
}

// pick returns a backend that is up and was not tried; nil where there is none.
func (l *balancer) pick(c *client, tried []*backend) *backend {
	up := *l.up.Load()
	if l.how == byHash {
		return l.pickByHash(up, tried, c)
	}
	start := l.turn.Add(1) - 1
	var best *backend
	for i := range up {
		b := up[(start+uint64(i))%uint64(len(up))]
		if slices.Contains(tried, b) {
			continue
		}
		if l.how == roundRobin {
			return b
		}
		if best == nil || b.active.Load() < best.active.Load() {
			best = b
		}
	}
	return best
}

// pickByHash is rendezvous hashing: the highest of the scores that key and backends
// have together wins, so a backend that leaves takes only its own keys with it.
func (l *balancer) pickByHash(up, tried []*backend, c *client) (best *backend) {
	key := hashBytes(c.address)
	if l.hashHeader != "" {
		if value, found := c.request.lookUp(c.in.bytes(), l.hashHeader); found {
			key = hashBytes(value)
		}
	}
	highest := uint64(0)
	for _, b := range up {
		score := mix(key ^ b.hash)
		if (best == nil || score > highest) && !slices.Contains(tried, b) {
			best, highest = b, score
		}
	}
	return best
}

// hashBytes is FNV-1a, mixed.
func hashBytes[T string | []byte](text T) uint64 {
	hash := uint64(0xcbf29ce484222325)
	for i := range len(text) {
		hash = (hash ^ uint64(text[i])) * 0x100000001b3
	}
	return mix(hash)
}

// mix spreads every bit over all others (the finalizer of MurmurHash3).
func mix(hash uint64) uint64 {
	hash = (hash ^ hash>>33) * 0xff51afd7ed558ccd
	hash = (hash ^ hash>>33) * 0xc4ceb9fe1a85ec53
	return hash ^ hash>>33
}

// --- active checks ---

// watch asks the backend for its health until the program ends.
func (b *backend) watch() {
	good, bad := 0, 0
	for {
		err := b.check()
		if err == nil {
			good, bad = good+1, 0
		} else {
			good, bad = 0, bad+1
		}
		b.judge(good >= b.settings.rise, bad >= b.settings.fall, err)
		time.Sleep(b.settings.healthInterval)
	}
}

// judge takes a backend out or back in.
func (b *backend) judge(risen, fallen bool, cause error) {
	b.mutex.Lock()
	changed := b.unhealthy && risen || !b.unhealthy && fallen
	if changed {
		b.unhealthy = fallen
	}
	b.mutex.Unlock()
	if !changed {
		return
	}
	if fallen {
		logLine("backend %s: down, %v", b.address, cause)
	} else {
		logLine("backend %s: up", b.address)
	}
	b.changed()
}

// check asks once.
func (b *backend) check() error {
	conn, err := net.DialTimeout("tcp", b.target, b.settings.healthTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(b.settings.healthTimeout))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nConnection: close\r\n\r\n",
		b.settings.healthPath, b.address, slug); err != nil {
		return err
	}
	var answer responseHead
	answer.reset()
	for data := make([]byte, 0, maxResponseHead); len(data) < maxResponseHead; {
		n, err := conn.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		complete, ok := answer.parse(data)
		switch {
		case !ok:
			return errors.New("the health check got no good response")
		case complete && answer.status >= 200 && answer.status < 400:
			return nil
		case complete:
			return fmt.Errorf("the health check got %d", answer.status)
		case err == io.EOF:
			return errors.New("the health check got no whole response")
		case err != nil:
			return err
		}
	}
	return errors.New("the health check got too long a response")
}
