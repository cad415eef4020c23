package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
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

// backend is one of the servers behind the proxy, as all loops see it.
type backend struct {
	address  string         // as the options name it
	target   netip.AddrPort // as it was resolved
	hash     uint64
	settings *options
	changed  func() // called when it went up or down

	active atomic.Int64 // requests under way
	fails  atomic.Int64 // failed requests in a row

	mutex        sync.Mutex
	unhealthy    bool  // by active checks
	ejectedUntil int64 // by failed requests; 0: not ejected
}

func (b *backend) isUp() bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return !b.unhealthy && b.ejectedUntil == 0
}

// failed counts a request that failed, and ejects the backend after too many in a row.
// Only a good response starts the count anew: a backend that comes back and fails again is out at once.
func (b *backend) failed(now int64) {
	fails := b.fails.Add(1)
	if b.settings.maxFails == 0 || fails < int64(b.settings.maxFails) {
		return
	}
	b.mutex.Lock()
	ejected := b.ejectedUntil == 0
	if ejected {
		b.ejectedUntil = now + int64(b.settings.failTimeout)
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

// judge takes a backend out or back in after an active check.
func (b *backend) judge(risen, fallen bool, cause error) {
	b.mutex.Lock()
	changed := b.unhealthy && risen || !b.unhealthy && fallen
	if changed {
		b.unhealthy = fallen
	}
	b.mutex.Unlock()
	switch {
	case !changed:
		return
	case fallen:
		logLine("backend %s: down, %v", b.address, cause)
	default:
		logLine("backend %s: up", b.address)
	}
	b.changed()
}

// --- connections ---

// upstream is a connection to a backend.
type upstream struct {
	socket
	from      *idlePool
	idle      bool // in its pool
	idleSince int64
}

// noticed ends a connection that has something to say, or that ends, while nobody asked.
func (u *upstream) noticed() {
	if u.idle {
		u.from.remove(u)
		u.close()
	}
}

// idlePool is a loop's connections to a backend that wait for a request.
type idlePool struct {
	backend  *backend
	loop     *loop
	size     int
	idle     []*upstream // the last one was used last
	requests counter
}

// take returns the connection that was used last, or nil.
func (p *idlePool) take() *upstream {
	last := len(p.idle) - 1
	if last < 0 {
		return nil
	}
	u := p.idle[last]
	p.idle = p.idle[:last]
	u.idle = false
	return u
}

// keep puts a connection into the pool, or closes it where it does not fit or is spent.
func (p *idlePool) keep(u *upstream) {
	u.release()
	if len(p.idle) == p.size || u.ended || u.readable && !u.quiet() {
		u.close()
		return
	}
	u.stop, u.idle, u.idleSince = &never, true, p.loop.wheel.now
	p.idle = append(p.idle, u)
}

func (p *idlePool) remove(u *upstream) {
	if i := slices.Index(p.idle, u); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	u.idle = false
}

// sweep closes connections that were idle for long; those used last are at the end.
func (p *idlePool) sweep(now int64) {
	for len(p.idle) > 0 && now-p.idle[0].idleSince > int64(p.backend.settings.idleTimeout) {
		u := p.idle[0]
		p.remove(u)
		u.close()
	}
}

// quiet tells whether a connection is open and has nothing to say, by asking.
func (u *upstream) quiet() bool {
	var probe [1]byte
	_, err := u.tryReceive(probe[:])
	return err == syscall.EAGAIN
}

// dial opens a connection.
func (p *idlePool) dial(stop *bool, timeout time.Duration) (*upstream, error) {
	name, family := sockaddr(p.backend.target)
	fd, err := openSocket(family)
	if err != nil {
		return nil, err
	}
	if err = syscall.Connect(fd, name); err != nil && err != syscall.EINPROGRESS {
		syscall.Close(fd)
		return nil, err
	}
	connected := err == nil
	u := &upstream{from: p}
	if err := u.open(p.loop, fd, &p.loop.streamBuffers, u); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	u.stop = stop
	if connected {
		return u, nil
	}
	if err = u.awaitWritable(timeout); err == nil {
		var code int
		if code, err = syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR); code != 0 {
			err = syscall.Errno(code)
		}
	}
	if err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

// --- choosing one ---

// balancer chooses the backend of a request.
type balancer struct {
	how        balance
	hashHeader string
	backends   []*backend
	turn       atomic.Uint64
	mutex      sync.Mutex
	up         atomic.Pointer[[]int]
}

// refresh lists the backends that are up.
func (l *balancer) refresh() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	up := make([]int, 0, len(l.backends))
	for i, b := range l.backends {
		if b.isUp() {
			up = append(up, i)
		}
	}
	l.up.Store(&up)
}

// none is no backend.
const none = -1

// pick returns the number of a backend that is up and was not tried, or none. The key is for hashing.
func (l *balancer) pick(tried []int, key func() uint64) int {
	up := *l.up.Load()
	if l.how == byHash {
		return l.pickByHash(up, tried, key())
	}
	start := l.turn.Add(1) - 1
	best := none
	for i := range up {
		n := up[(start+uint64(i))%uint64(len(up))]
		if slices.Contains(tried, n) {
			continue
		}
		if l.how == roundRobin {
			return n
		}
		if best == none || l.backends[n].active.Load() < l.backends[best].active.Load() {
			best = n
		}
	}
	return best
}

// pickByHash is rendezvous hashing: the highest of the scores that key and backends
// have together wins, so a backend that leaves takes only its own keys with it.
func (l *balancer) pickByHash(up, tried []int, key uint64) int {
	best, highest := none, uint64(0)
	for _, n := range up {
		score := mix(key ^ l.backends[n].hash)
		if (best == none || score > highest) && !slices.Contains(tried, n) {
			best, highest = n, score
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

// watch is a task that asks a backend for its health until the program ends.
func (p *idlePool) watch() {
	o := p.backend.settings
	var rest alarm
	p.loop.wheel.add(&rest)
	for good, bad := 0, 0; ; {
		err := p.check()
		if err == nil {
			good, bad = good+1, 0
		} else {
			good, bad = 0, bad+1
		}
		p.backend.judge(good >= o.rise, bad >= o.fall, err)
		for until := p.loop.wheel.after(o.healthInterval); p.loop.wheel.now < until; {
			p.loop.pauseAt(&rest.read, until)
		}
	}
}

var (
	errNoResponse   = errors.New("the health check got no good response")
	errTooManyBytes = errors.New("the health check got too long a head")
)

// check asks once.
func (p *idlePool) check() error {
	o := p.backend.settings
	until := p.loop.wheel.after(o.healthTimeout)
	u, err := p.dial(&never, o.healthTimeout)
	if err != nil {
		return err
	}
	defer u.close()
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nConnection: close\r\n\r\n", o.healthPath, p.backend.address, slug)
	if err := u.send(request, o.healthTimeout); err != nil {
		return err
	}
	var answer responseHead
	answer.reset()
	for {
		err := u.fill(until)
		if err == io.EOF {
			return errNoResponse
		}
		if err != nil {
			return err
		}
		complete, ok := answer.parse(u.in.bytes())
		switch {
		case !ok:
			return errNoResponse
		case complete && answer.status >= 200 && answer.status < 400:
			return nil
		case complete:
			return fmt.Errorf("the health check got %d", answer.status)
		case len(u.in.bytes()) >= maxResponseHead:
			return errTooManyBytes
		}
	}
}
