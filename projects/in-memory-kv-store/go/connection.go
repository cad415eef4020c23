package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	inputBytes      = 64 << 10 // one read
	smallInputBytes = 4 << 10  // of a client's own buffer at first
	keptInputBytes  = 64 << 10 // a larger one is dropped when it is empty
	spareBuffers    = 64       // kept by a loop for the next client that needs one
	flushBytes      = 64 << 10 // replies are sent when there are so many
	unsentLimit     = 1 << 20  // a client that has so much to read is not served until it has read
)

// client is one connection.
type client struct {
	id       int64
	fd       int // -1: closed
	loop     *loop
	address  string
	local    string
	name     string
	since    int64 // Unix milliseconds
	lastUsed int64
	last     *command // the one it sent last

	parser    parser
	in        []byte // received, not executed
	unsent    []byte // replies that the socket did not take
	sentBytes int    // of unsent
	interest  uint32 // what epoll looks for
	stalled   bool   // has too much unsent: commands wait in in
	closing   bool   // is closed when unsent is sent

	inMulti, multiFailed bool
	queue                []queued
	queueBytes           int
	queueFlags           commandFlags // of all commands in it
	watching             []string
	watchFailed          bool
}

// answer is a part of the replies of a turn.
type answer struct {
	client     *client
	start, end int
}

func (l *loop) serveClient(cl *client, events uint32) {
	if events&unix.EPOLLOUT != 0 || events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 && len(cl.unsent) > 0 {
		l.sendMore(cl)
	}
	if events&^unix.EPOLLOUT != 0 {
		l.readable(cl)
	}
}

// adopt serves a client from now on.
func (l *loop) adopt(cl *client) {
	for len(l.clients) <= cl.fd {
		l.clients = append(l.clients, nil)
	}
	l.clients[cl.fd] = cl
	l.count++
	cl.interest = unix.EPOLLIN
	if err := l.watch(unix.EPOLL_CTL_ADD, cl.fd, cl.interest); err != nil {
		fmt.Fprintf(os.Stderr, "cannot serve a connection: %v\n", err)
		l.forget(cl)
	}
}

// closeClient ends a connection.
func (l *loop) closeClient(cl *client) {
	l.server.enter()
	l.forget(cl)
	l.server.leave()
}

// forget is closeClient for who may touch the store already.
func (l *loop) forget(cl *client) {
	srv := l.server
	unix.Close(cl.fd) // leaves the epoll set by that
	l.clients[cl.fd] = nil
	l.count--
	cl.fd = -1
	delete(srv.clients, cl.id)
	cl.unwatch(srv.store)
	srv.account(-cap(cl.in) - cap(cl.unsent))
	srv.drop(cap(cl.in))
	srv.drop(cap(cl.unsent))
	cl.in, cl.unsent, cl.queue = nil, nil, nil
}

// account counts the buffers of clients as memory.
func (srv *server) account(bytes int) { srv.store.clientBytes.Add(int64(bytes)) }

// drop notes a large buffer that is garbage now.
func (srv *server) drop(bytes int) {
	if bytes > keptInputBytes {
		srv.dropped.Add(int64(bytes))
	}
}

// setInterest tells epoll what to look for.
func (l *loop) setInterest(cl *client) {
	events := uint32(0)
	if !cl.stalled && !cl.closing {
		events |= unix.EPOLLIN
	}
	if len(cl.unsent) > 0 {
		events |= unix.EPOLLOUT
	}
	if events != cl.interest {
		cl.interest = events
		l.watch(unix.EPOLL_CTL_MOD, cl.fd, events)
	}
}

// readSocket does not tell the scheduler: a socket that does not block returns
// in a few microseconds, and nothing else of ours waits for the processor.
func readSocket(fd int, into []byte) (int, syscall.Errno) {
	n, _, number := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(into))), uintptr(len(into)))
	return int(n), number
}

func writeSocket(fd int, from []byte) (int, syscall.Errno) {
	n, _, number := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(from))), uintptr(len(from)))
	return int(n), number
}

// readable reads once and executes what is complete; true: there may be more to
// read. A client without an unfinished command is read into the buffer of the
// loop: idle clients have none.
func (l *loop) readable(cl *client) bool {
	if cl.fd < 0 || cl.stalled || cl.closing {
		return false
	}
	into := l.input
	own := len(cl.in) > 0
	if own {
		into = l.roomFor(cl)
	}
	n, number := readSocket(cl.fd, into)
	switch {
	case number == unix.EAGAIN || number == unix.EINTR:
		return false
	case number != 0:
		l.closeClient(cl)
		return false
	case n == 0:
		l.ended(cl)
		return false
	case own:
		cl.in = cl.in[:len(cl.in)+n]
		l.process(cl, cl.in)
	default:
		l.process(cl, into[:n])
	}
	return true
}

// roomFor is the free part of the client's own buffer. It grows with what has
// come, never with what was only announced.
func (l *loop) roomFor(cl *client) []byte {
	have := len(cl.in)
	want := inputBytes
	if missing := cl.parser.bulkBytes; cl.parser.missing > 0 && missing != noBulk {
		want = max(want, min(cl.parser.position+missing+2-have, have))
	}
	if cap(cl.in)-have < min(want, inputBytes/2) {
		grown := make([]byte, have, have+want)
		copy(grown, cl.in)
		l.setInput(cl, grown)
	}
	return cl.in[have:min(cap(cl.in), have+want)]
}

// setInput changes the client's own buffer.
func (l *loop) setInput(cl *client, buffer []byte) {
	l.server.account(cap(buffer) - cap(cl.in))
	switch old := cl.in; {
	case cap(old) > keptInputBytes:
		l.server.drop(cap(old))
		clear(l.args[:cap(l.args)]) // they may be parts of it
	case old != nil && len(l.spare) < spareBuffers:
		l.spare = append(l.spare, old[:0])
	}
	cl.in = buffer
}

// keep remembers what was not executed.
func (l *loop) keep(cl *client, rest []byte) {
	switch {
	case len(rest) == 0 && cl.in == nil:
	case len(rest) == 0:
		l.setInput(cl, nil)
	case len(cl.in) > 0: // it is the end of cl.in
		cl.in = cl.in[:copy(cl.in, rest)]
	case len(l.spare) > 0 && cap(l.spare[len(l.spare)-1]) >= len(rest):
		buffer := l.spare[len(l.spare)-1]
		l.spare = l.spare[:len(l.spare)-1]
		l.setInput(cl, append(buffer, rest...))
	default:
		l.setInput(cl, append(make([]byte, 0, max(smallInputBytes, len(rest))), rest...))
	}
}

// ended is for a client that has closed its side: it still gets its replies.
func (l *loop) ended(cl *client) {
	if len(cl.unsent) == 0 {
		l.closeClient(cl)
		return
	}
	cl.closing = true
	l.setInterest(cl)
}

// process executes the commands in data, which is the client's own buffer or the loop's.
func (l *loop) process(cl *client, data []byte) {
	srv, c := l.server, l.call
	srv.enter()
	srv.store.setTime(time.Now())
	c.client = cl
	cl.lastUsed = srv.store.now
	start := len(c.out.b)
	for goesOn := true; goesOn && cl.serves(); {
		used, whole, err := l.parse(cl, data)
		srv.store.warm(l.batch, l.args)
		if done := l.executeBatch(&start); done < len(l.batch) {
			cl.parser.reset()
			used, whole, err = l.batch[done-1].behind, false, nil
		}
		data = data[used:]
		goesOn = whole && len(data) > 0
		if err != nil && cl.serves() {
			l.refuse(cl, err)
		}
	}
	l.pend(cl, start)
	if cap(l.args) > keptElements {
		l.args = nil
	}
	c.trim()
	srv.leave()
	if cl.fd < 0 {
		return
	}
	l.keep(cl, data)
	if srv.store.log == nil {
		l.finishTurn()
	}
}

// executeBatch goes on as long as the client may be served, and returns how many
// commands it did. start is where the replies begin that nobody sends yet.
func (l *loop) executeBatch(start *int) (done int) {
	c := l.call
	for _, b := range l.batch {
		if done > 0 && !c.client.serves() {
			break
		}
		c.args = l.args[b.first:b.end:b.end]
		l.execute(c)
		done++
		if len(c.out.b) >= flushBytes {
			l.pend(c.client, *start)
			l.server.leave()
			l.finishTurn()
			l.server.enter()
			*start = len(c.out.b)
		}
	}
	return done
}

// serves tells if the next command of the client may be done.
func (cl *client) serves() bool { return cl.fd >= 0 && !cl.stalled && !cl.closing }

// batchCommands are parsed before the first of them is done, so that what they
// need from memory can come at the same time.
const batchCommands = 16

// placed is a command of a batch: where its arguments are in the loop's list, and
// how many bytes of the input it and all before it take.
type placed struct{ first, end, behind int }

// parse fills the batch. whole says that the input up to used was commands, and
// that there may be more behind it.
func (l *loop) parse(cl *client, data []byte) (used int, whole bool, err error) {
	l.batch, l.args = l.batch[:0], l.args[:0]
	for len(l.batch) < batchCommands && used < len(data) {
		complete, err := cl.parser.next(data[used:])
		if !complete || err != nil {
			return used, false, err
		}
		first := len(l.args)
		l.args = cl.parser.arguments(data[used:], l.args)
		used += cl.parser.position
		isLast := cl.parser.inline // the next one would overwrite its arguments
		cl.parser.reset()
		if len(l.args) > first {
			l.batch = append(l.batch, placed{first, len(l.args), used})
		}
		if isLast {
			break
		}
	}
	return used, true, nil
}

// execute does one command, and remembers its reply if it has gone to the log.
func (l *loop) execute(c *call) {
	start := len(c.out.b)
	cl := c.client
	if isWebRequest(c.args[0]) { // a browser was lured into sending commands
		fmt.Fprintf(os.Stderr, "closed a connection from %s: it speaks HTTP\n", cl.address)
		cl.closing = true
		return
	}
	changes := c.changes
	c.execute(c.args)
	if c.log != nil && c.changes != changes {
		l.logged = append(l.logged, answer{cl, start, len(c.out.b)})
	}
	if len(cl.in)+cl.queueBytes > maxCommandBytes {
		cl.closing = true
	}
}

func isWebRequest(name []byte) bool { return equalFold(name, "POST") || equalFold(name, "HOST:") }

// refuse ends a client that does not keep to the protocol.
func (l *loop) refuse(cl *client, err error) {
	if err != errTooLarge {
		l.call.out.fail("ERR " + err.Error())
	} else {
		fmt.Fprintf(os.Stderr, "closed a connection from %s: %v\n", cl.address, err)
	}
	cl.closing = true
}

// pend has the replies from start on sent at the end of the turn.
func (l *loop) pend(cl *client, start int) {
	if end := len(l.call.out.b); end > start || cl.closing {
		l.pending = append(l.pending, answer{cl, start, end})
	}
}

// finishTurn writes the log, then the replies.
func (l *loop) finishTurn() {
	if log := l.server.store.log; log != nil {
		l.server.enter()
		if (len(log.buffer) > 0 || log.policy == fsyncAlways && log.unsynced) && !log.commit(l.server.store.now) {
			l.takeBack(log.refusal())
		}
		l.server.leave()
		l.logged = l.logged[:0]
	}
	if len(l.pending) == 0 {
		return
	}
	buffer := l.call.out.b
	given := false
	for _, a := range l.pending {
		if a.client.fd >= 0 {
			given = l.send(a.client, buffer[a.start:a.end], len(l.pending) == 1) || given
		}
	}
	l.pending = l.pending[:0]
	switch {
	case given:
		l.call.out.b = nil
	case cap(buffer) > keptBufferBytes:
		l.server.drop(cap(buffer))
		l.call.out.b = nil
	default:
		l.call.out.b = buffer[:0]
	}
}

// takeBack replaces the replies to commands that are not in the log by an error.
func (l *loop) takeBack(refusal string) {
	old := l.call.out.b
	var fresh reply
	next := 0
	for i := range l.pending {
		a := &l.pending[i]
		start := len(fresh.b)
		at := a.start
		for ; next < len(l.logged) && l.logged[next].end <= a.end; next++ {
			fresh.b = append(fresh.b, old[at:l.logged[next].start]...)
			fresh.fail(refusal)
			at = l.logged[next].end
		}
		fresh.b = append(fresh.b, old[at:a.end]...)
		a.start, a.end = start, len(fresh.b)
	}
	l.call.out.b = fresh.b
}

// send writes replies to the socket; what it does not take waits. alone says that
// nobody else needs the memory of the replies; true: the client has kept it.
func (l *loop) send(cl *client, replies []byte, alone bool) (kept bool) {
	if len(cl.unsent) == 0 {
		n, number := 0, syscall.Errno(0)
		if len(replies) > 0 {
			n, number = writeSocket(cl.fd, replies)
		}
		if number != 0 && number != unix.EAGAIN && number != unix.EINTR {
			l.closeClient(cl)
			return false
		}
		if number == 0 {
			replies = replies[n:]
		}
		if len(replies) == 0 {
			if cl.closing {
				l.closeClient(cl)
			}
			return false
		}
	}
	kept = l.addUnsent(cl, replies, alone)
	cl.stalled = len(cl.unsent)-cl.sentBytes > unsentLimit
	l.setInterest(cl)
	return kept
}

// addUnsent keeps replies for later; much memory is taken over instead of copied.
func (l *loop) addUnsent(cl *client, replies []byte, alone bool) (kept bool) {
	before := cap(cl.unsent)
	if len(cl.unsent) == 0 && alone && len(replies) > flushBytes {
		cl.unsent, kept = replies, true
	} else {
		cl.unsent = append(cl.unsent, replies...)
	}
	l.server.account(cap(cl.unsent) - before)
	return kept
}

// sendMore goes on where the socket took no more, and then with the commands that waited.
func (l *loop) sendMore(cl *client) {
	n, number := 0, syscall.Errno(0)
	if rest := cl.unsent[cl.sentBytes:]; len(rest) > 0 {
		n, number = writeSocket(cl.fd, rest)
	}
	if number == unix.EAGAIN || number == unix.EINTR {
		return
	}
	if number != 0 {
		l.closeClient(cl)
		return
	}
	cl.sentBytes += n
	if cl.sentBytes < len(cl.unsent) {
		return
	}
	l.server.account(-cap(cl.unsent))
	l.server.drop(cap(cl.unsent))
	cl.unsent, cl.sentBytes = nil, 0
	wasStalled := cl.stalled
	cl.stalled = false
	if cl.closing {
		l.closeClient(cl)
		return
	}
	if wasStalled && len(cl.in) > 0 {
		l.process(cl, cl.in)
	}
	if cl.fd >= 0 {
		l.setInterest(cl)
	}
}
