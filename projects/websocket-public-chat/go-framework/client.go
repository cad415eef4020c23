package main

import (
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"
	"unsafe"
)

const (
	mostWaitingBytes = 1 << 20         // for one client, besides the limit in messages
	peerCloseWait    = 2 * time.Second // for the peer's close frame, after ours
	vectorsAtOnce    = 64              // frames in one write
	keptQueue        = 128             // places that an empty queue keeps
)

// Codes of close frames.
const (
	closeNormal      = 1000
	closeGoingAway   = 1001
	closeProtocol    = 1002
	closeUnsupported = 1003
	closeBadText     = 1007
	closePolicy      = 1008
	closeTooBig      = 1009
	closeTryAgain    = 1013
)

// state is how far a connection has come; it never goes back.
type state int

const (
	stateOpen    state = iota
	stateClosing       // our close frame is the last in the queue, or was written
	stateBroken        // nothing more is written; the loop is about to end it
	stateGone          // the socket is no longer ours
)

// client is the outgoing half of a connection, its queue and its times. Anybody may push
// to it. The first frame in an empty queue lists it for its loop, which writes all that
// came together with one call. Locks are taken in the order hub, client, outbox.
type client struct {
	incoming // what the lane needs to read from it

	server *server
	loop   *loop
	echo   bool
	heard  atomic.Int64 // when something came

	// Of who reads.
	errors int

	// Under the lock of the hub.
	room   *room
	nick   string
	place  int // among the members
	bucket bucket

	lock    sync.Mutex
	socket  int // file descriptor; valid until stateGone
	state   state
	queue   []*frame
	first   int  // in the queue, of those that are not written whole
	written int  // bytes of that one
	waiting int  // bytes not written
	listed  bool // in the outbox of the loop
	clogged bool // the socket takes no more; the loop tells when it does again

	deaf       bool  // what comes is ignored
	peerClosed bool  // its close frame came
	closeBy    int64 // when it is closing: the end of patience
	closeLimit int64 // the end of all patience: the server stops
	joinBy     int64 // 0 when it has
	pingedAt   int64
	timer      *time.Timer
}

var started = time.Now()

// now is the time in nanoseconds since the start.
func now() int64 { return int64(time.Since(started)) }

// newClient makes a client of a connection that was just upgraded.
func newClient(s *server, l *loop, socket int, echo bool) *client {
	at := now()
	c := &client{server: s, loop: l, socket: socket, echo: echo, closeLimit: math.MaxInt64}
	c.heard.Store(at)
	c.bucket = newBucket(s.settings.rate, s.settings.burst, at)
	if !echo {
		c.joinBy = at + int64(s.settings.joinTimeout)
	}
	return c
}

// begin starts the client's times.
func (c *client) begin() {
	wait := c.server.settings.pingInterval
	if !c.echo {
		wait = min(wait, c.server.settings.joinTimeout)
	}
	c.lock.Lock() // the timer may be faster
	c.timer = time.AfterFunc(wait, c.check)
	c.lock.Unlock()
}

// isOpen tells whether messages of the client still count.
func (c *client) isOpen() bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.state == stateOpen
}

// isGone tells whether the socket is no longer the client's.
func (c *client) isGone() bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.state == stateGone
}

// joined ends the time to join.
func (c *client) joined() {
	c.lock.Lock()
	c.joinBy = 0
	c.lock.Unlock()
}

// --- the queue ---

// push queues a frame.
func (c *client) push(f *frame) {
	c.lock.Lock()
	c.enqueue(f)
	c.lock.Unlock()
}

// enqueue queues a frame, counts it as dropped, or finds that the client is too slow. A
// queue may be full only because its loop had no turn yet: that is no fault of the client.
func (c *client) enqueue(f *frame) {
	if c.isFull(f) && !c.clogged {
		c.write()
	}
	switch {
	case c.state != stateOpen:
		c.drop(f)
	case c.isFull(f):
		c.drop(f)
		c.cutSlow()
	default:
		c.add(f)
	}
}

// isFull tells whether a frame finds no place. What is echoed has no limit here: its
// connection is not read before the echo is written.
func (c *client) isFull(f *frame) bool {
	if c.echo {
		return false
	}
	count := len(c.queue) - c.first
	return count >= c.server.settings.queue || count > 0 && c.waiting+len(f.data) > mostWaitingBytes
}

// add queues a frame at any rate.
func (c *client) add(f *frame) {
	if c.first > 0 && len(c.queue) == cap(c.queue) {
		left := copy(c.queue, c.queue[c.first:])
		clear(c.queue[left:])
		c.queue, c.first = c.queue[:left], 0
	}
	c.queue = append(c.queue, f)
	c.waiting += len(f.data)
	c.list()
}

// list asks the loop to write, or to end what is broken.
func (c *client) list() {
	if !c.listed {
		c.listed = true
		c.loop.hasOutput(c)
	}
}

func (c *client) drop(f *frame) {
	if f.isChat {
		c.server.metrics.deliveriesDropped.Add(1)
	}
}

// flush writes what is queued, when the loop has a turn. It tells whether the client goes on.
func (c *client) flush() bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	if !c.clogged {
		c.write()
	}
	c.listed = false
	return c.state < stateBroken
}

// resume writes on when the socket takes more again. It tells whether that was enough.
func (c *client) resume() bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.clogged = false
	c.write()
	return !c.clogged
}

// write writes as much of the queue as the socket takes.
func (c *client) write() {
	if c.state >= stateBroken || c.first == len(c.queue) {
		return
	}
	for c.first < len(c.queue) {
		rest := c.queue[c.first].data[c.written:]
		written, size, code := 0, len(rest), syscall.Errno(0)
		if c.first+1 == len(c.queue) {
			written, code = send(c.socket, rest)
		} else {
			written, size, code = c.sendMany(rest)
		}
		if code != 0 && code != syscall.EAGAIN {
			c.cut()
			return
		}
		c.took(written)
		if written < size {
			c.clogged = true
			c.loop.awaitWritable(c)
			return
		}
	}
	c.emptied()
}

// sendMany sends the rest of the first frame and those behind it, with one call.
func (c *client) sendMany(rest []byte) (written, size int, code syscall.Errno) {
	var vectors [vectorsAtOnce]syscall.Iovec
	vectors[0].Base = unsafe.SliceData(rest)
	vectors[0].SetLen(len(rest))
	count, size := 1, len(rest)
	for _, f := range c.queue[c.first+1 : min(len(c.queue), c.first+vectorsAtOnce)] {
		vectors[count].Base = unsafe.SliceData(f.data)
		vectors[count].SetLen(len(f.data))
		size += len(f.data)
		count++
	}
	written, code = sendVectors(c.socket, vectors[:count])
	return written, size, code
}

// took counts what was written.
func (c *client) took(written int) {
	c.waiting -= written
	delivered := 0
	for written > 0 {
		f := c.queue[c.first]
		left := len(f.data) - c.written
		if written < left {
			c.written += written
			break
		}
		written -= left
		c.written = 0
		c.queue[c.first] = nil
		c.first++
		if f.isChat {
			delivered++
		}
	}
	if delivered > 0 {
		c.server.metrics.deliveries.Add(int64(delivered))
	}
}

// emptied goes on when all was written.
func (c *client) emptied() {
	c.queue, c.first = c.queue[:0], 0
	if cap(c.queue) > keptQueue {
		c.queue = nil
	}
	if c.state != stateClosing {
		return
	}
	switch {
	case c.peerClosed:
		c.cut()
		return
	case c.deaf: // the peer shall see the end, and what it still sends shall not reset the connection
		syscall.Shutdown(c.socket, syscall.SHUT_WR)
	}
	c.waitForPeer()
}

// cutSlow is the end of a client whose queue is full: what waits is dropped, but a frame
// that is written in part is the start of what can be written.
func (c *client) cutSlow() {
	c.server.metrics.slowConsumers.Add(1)
	keep := c.first
	if c.written > 0 {
		keep++
	}
	for _, f := range c.queue[keep:] {
		c.drop(f)
		c.waiting -= len(f.data)
	}
	clear(c.queue[keep:])
	c.queue = c.queue[:keep]
	c.add(newClose(closeTryAgain, "too slow"))
	c.write()
	c.cut()
}

// cut is the end of a connection: what waits is dropped, the loop does the rest.
func (c *client) cut() {
	if c.state >= stateBroken {
		return
	}
	c.state = stateBroken
	for _, f := range c.queue[c.first:] {
		c.drop(f)
	}
	c.queue, c.first, c.written, c.waiting = nil, 0, 0, 0
	c.list()
}

// lost is told by who reads, when nothing more can be read.
func (c *client) lost() {
	c.lock.Lock()
	c.cut()
	c.lock.Unlock()
}

// release ends what is broken, once, and returns the socket.
func (c *client) release() (socket int, first bool) {
	c.server.hub.remove(c)
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.state == stateGone {
		return -1, false
	}
	c.state = stateGone
	c.timer.Stop()
	return c.socket, true
}

// --- closing ---

// close sends a close frame after what is queued. The client must not be a member any more.
func (c *client) close(code int, reason string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.startClose(code, reason)
}

func (c *client) startClose(code int, reason string) {
	if c.state != stateOpen {
		return
	}
	c.state = stateClosing
	c.waitForPeer()
	c.add(newClose(code, reason))
}

// waitForPeer begins the time in which the peer's close frame has to come.
func (c *client) waitForPeer() {
	at := now()
	c.closeBy = min(at+int64(peerCloseWait), c.closeLimit)
	c.timer.Reset(time.Duration(c.closeBy - at))
}

// goAway closes since the server stops. What is queued has time to be written until then.
func (c *client) goAway(until int64) {
	c.server.hub.remove(c)
	c.lock.Lock()
	defer c.lock.Unlock()
	c.closeLimit = until
	if c.state == stateOpen {
		c.startClose(closeGoingAway, "going away")
		c.closeBy = until
		c.timer.Reset(time.Duration(until - now()))
	}
}

// fail closes for what the client did against the protocol; nothing more is read.
func (c *client) fail(code int, reason string) {
	c.server.hub.remove(c)
	c.lock.Lock()
	defer c.lock.Unlock()
	c.deaf = true
	if c.state == stateOpen {
		c.server.metrics.protocolErrors.Add(1)
		c.startClose(code, reason)
	} else {
		c.cut()
	}
}

// receivedClose answers the peer's close frame with the same code and reason, or takes it
// for the answer to ours.
func (c *client) receivedClose(payload []byte) {
	code, reason := 0, ""
	if len(payload) > 0 {
		if len(payload) >= 2 {
			code = int(binary.BigEndian.Uint16(payload))
		}
		if !isCloseCode(code) {
			c.fail(closeProtocol, "protocol error")
			return
		}
		if !utf8.Valid(payload[2:]) {
			c.fail(closeBadText, "invalid UTF-8")
			return
		}
		reason = string(payload[2:])
	}
	c.server.hub.remove(c)
	c.lock.Lock()
	defer c.lock.Unlock()
	c.deaf, c.peerClosed = true, true
	switch {
	case c.state == stateOpen:
		c.startClose(code, reason)
	case c.first == len(c.queue): // ours is written
		c.cut()
	}
}

// isCloseCode tells whether a peer may send a code.
func isCloseCode(code int) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1013, code >= 3000 && code <= 4999:
		return true
	}
	return false
}

// --- time ---

// check is called when the next of the client's times may have come. What renews a time
// does not touch the timer: it is late rather than set again for each message.
func (c *client) check() {
	c.lock.Lock()
	defer c.lock.Unlock()
	at := now()
	due := int64(0)
	switch c.state {
	case stateOpen:
		if due = c.checkOpen(at); due == 0 {
			return
		}
	case stateClosing:
		if due = c.closeBy; due <= at {
			c.cut()
			return
		}
	default:
		return
	}
	c.timer.Reset(time.Duration(due - at))
}

// checkOpen pings who is silent, and cuts who stays so. It returns when to look again; 0
// when the connection is not open any more.
func (c *client) checkOpen(at int64) (due int64) {
	if c.joinBy != 0 && c.joinBy <= at {
		c.startClose(closePolicy, "join timeout")
		return 0
	}
	settings := c.server.settings
	heard := c.heard.Load()
	due = heard + int64(settings.pingInterval)
	if c.pingedAt > heard {
		due = c.pingedAt + int64(settings.pingTimeout)
	}
	if due <= at {
		if c.pingedAt > heard {
			c.server.metrics.pingTimeouts.Add(1)
			c.cut()
			return 0
		}
		c.pingedAt = at
		due = at + int64(settings.pingTimeout)
		if c.enqueue(newFrame(opPing, nil)); c.state != stateOpen {
			return 0
		}
	}
	if c.joinBy != 0 {
		due = min(due, c.joinBy)
	}
	return due
}

// --- the outbox of a loop ---

// outbox lists the clients that have something to write.
type outbox struct {
	lock           sync.Mutex
	clients, taken []*client
}

func (o *outbox) add(c *client) {
	o.lock.Lock()
	o.clients = append(o.clients, c)
	o.lock.Unlock()
}

func (o *outbox) isEmpty() bool {
	o.lock.Lock()
	defer o.lock.Unlock()
	return len(o.clients) == 0
}

// take empties the outbox; the list is valid until the next call.
func (o *outbox) take() []*client {
	clear(o.taken)
	o.lock.Lock()
	o.clients, o.taken = o.taken[:0], o.clients
	o.lock.Unlock()
	return o.taken
}

// sendFlags are for calls that take what there is room for, and for an error where the peer
// has gone.
const sendFlags = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL

// send writes what the socket takes at once. It does not block, so the scheduler need not
// be told: that would cost more than a small write. The calls of sockets know the way to
// TCP; those of files would look for it each time.
func send(socket int, data []byte) (int, syscall.Errno) {
	for {
		// The bytes belong to a frame in the queue, which lives on to the end of the call.
		n, _, code := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(socket),
			uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)), sendFlags, 0, 0)
		if code != syscall.EINTR {
			return sent(n, code)
		}
	}
}

// sendVectors is send for several pieces.
func sendVectors(socket int, vectors []syscall.Iovec) (int, syscall.Errno) {
	message := syscall.Msghdr{Iov: unsafe.SliceData(vectors), Iovlen: uint64(len(vectors))}
	for {
		// The message and the vectors are on the stack of the callers, and their bytes belong
		// to frames in the queue: all stay alive to the end of the call.
		n, _, code := syscall.RawSyscall(syscall.SYS_SENDMSG, uintptr(socket), uintptr(unsafe.Pointer(&message)), sendFlags)
		if code != syscall.EINTR {
			return sent(n, code)
		}
	}
}

// sent is how much was written, which is nothing when it failed.
func sent(n uintptr, code syscall.Errno) (int, syscall.Errno) {
	if code != 0 {
		return 0, code
	}
	return int(n), 0
}
