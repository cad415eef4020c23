package main

import (
	"errors"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// Why a client gets an answer of our own while it sends or waits.
var (
	headTooSlow = &problem{408, "the request head took too long"}
	bodyTooSlow = &problem{408, "the request body took too long"}
	clientGone  = &problem{} // nobody is there to be told
)

// How long, and for how many bytes, a closed connection is still read: closing it
// with unread bytes would be a reset, which can overtake the last response.
const (
	lingerTime  = 2 * time.Second
	lingerBytes = 2 << 20
)

// client is a connection from a client. Its goroutine serves one request after another.
type client struct {
	socket
	server   *server
	address  string // for X-Forwarded-For
	answered int    // requests so far

	request  requestHead
	response responseHead
	body     body // of the request
	relay    relay
	first    int // bytes of in, head and body, that are sent in one piece
	out      *buffer
	upload   upload
	tried    []*backend
	onSent   func()

	serving   atomic.Pointer[upstream] // whose response is awaited
	abandoned atomic.Bool              // the request under way is given up
	ended     bool                     // found by look
	onLook    func(uintptr)

	linger bool // read for a while before closing
	reset  bool // close by a reset: an end would look like the end of a body
}

func newClient(s *server, conn *net.TCPConn) (*client, error) {
	c := &client{server: s}
	c.onSent, c.onLook = c.noteSent, c.stepLook
	c.look = c.lookForEnd
	if err := c.open(conn, s.wheel, s.requestBuffers); err != nil {
		return nil, err
	}
	if remote, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		c.address = remote.AddrPort().Addr().Unmap().WithZone("").String()
	}
	return c, nil
}

// serve answers requests until the connection ends.
func (c *client) serve() {
	defer c.server.forget(c)
	for c.awaitRequest() && c.answer() {
		c.answered++
	}
	c.finish()
}

// finish closes the connection.
func (c *client) finish() {
	if c.reset {
		c.conn.SetLinger(0)
	} else if c.linger {
		c.drainInput()
	}
	c.close()
}

// drainInput ends our direction, and reads until the client has ended its own.
func (c *client) drainInput() {
	c.release()
	c.stop = &nothingStops
	c.conn.CloseWrite()
	until := c.wheel.after(lingerTime)
	for left := lingerBytes; left > 0; {
		rest, err := c.borrow(c.pool, streamBytes, until)
		if err != nil {
			return
		}
		left -= len(rest.bytes())
		c.pool.put(rest)
	}
}

// lookForEnd gives a request up whose client has reset its connection while it waits
// for the response. The wheel calls it, now and then.
func (c *client) lookForEnd() {
	u := c.serving.Load()
	if u == nil {
		return
	}
	c.raw.Control(c.onLook)
	if c.ended {
		c.abandon(u)
	}
}

func (c *client) stepLook(fd uintptr) {
	code, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
	c.ended = c.ended || err != nil || code != 0
}

// abandon ends all waiting for the request under way.
func (c *client) abandon(u *upstream) {
	c.abandoned.Store(true)
	c.wake()
	u.wake()
}

// --- the request ---

// awaitRequest reads until there is a whole head. It answers a bad one itself.
func (c *client) awaitRequest() bool {
	c.request.reset()
	started := false
	until := c.wheel.after(c.server.settings.idleTimeout)
	if c.answered == 0 {
		until = c.wheel.after(c.server.settings.headerTimeout)
	}
	for {
		if c.skipEmptyLines() {
			complete, wrong := c.request.parse(c.in.bytes(), c.server.settings.maxHeaderBytes)
			if wrong != nil {
				return c.refuse(wrong)
			}
			if complete {
				return true
			}
			if !started && c.answered > 0 {
				until = c.wheel.after(c.server.settings.headerTimeout)
			}
			started = true
		}
		if err := c.moreOfHead(until, started); err != nil {
			if err == errTimeout && started {
				return c.refuse(headTooSlow)
			}
			return false
		}
	}
}

// skipEmptyLines leaves out empty lines before a request (RFC 9112, section 2.2), and
// tells whether anything is left.
func (c *client) skipEmptyLines() bool {
	if c.in == nil {
		return false
	}
	if c.request.lineEnd == 0 {
		for data := c.in.bytes(); len(data) >= 2 && data[0] == '\r' && data[1] == '\n'; data = c.in.bytes() {
			c.in.start += 2
		}
	}
	if c.in.start == c.in.end {
		c.release()
	}
	return c.in != nil
}

// moreOfHead waits for more. Before the first byte of a request the connection is
// idle, and ends when the server drains.
func (c *client) moreOfHead(until int64, started bool) error {
	if c.in != nil && c.in.start > 0 {
		c.in.end = copy(c.in.data, c.in.bytes())
		c.in.start = 0
	}
	c.stop = &nothingStops
	if !started {
		c.stop = &c.server.draining
	}
	c.startFill()
	err := c.awaitReadable(c.onReadable, until)
	c.stop = &c.abandoned
	if err == errStopped {
		err = c.lookOnceMore()
	}
	if err != nil {
		return err
	}
	if err = c.endFill(); err == nil {
		c.server.metrics.bytesIn.Add(uint64(c.count))
	}
	return err
}

// lookOnceMore reads without waiting: a request may have come just before we drain.
func (c *client) lookOnceMore() error {
	c.conn.SetReadDeadline(time.Time{})
	c.startFill()
	found := false
	err := c.raw.Read(func(fd uintptr) bool {
		found = c.stepRead(fd)
		return true
	})
	if err == nil && !found {
		err = errStopped
	}
	return err
}

// beginBody looks at the part of the body that came with the head.
func (c *client) beginBody() *problem {
	r := &c.request
	most := c.server.settings.maxBodyBytes
	if most > 0 && r.contentLength > most {
		return bodyTooLarge
	}
	c.body.begin(requestFraming(r), r.contentLength, c.server.settings.maxHeaderBytes)
	used, wrong := c.takeBody(c.in.bytes()[r.length:])
	c.first = r.length + used
	return wrong
}

// takeBody checks bytes of the request's body.
func (c *client) takeBody(data []byte) (used int, wrong *problem) {
	used, _, wrong = c.body.take(data, false)
	if most := c.server.settings.maxBodyBytes; most > 0 && c.body.chunks.payload > most {
		return used, bodyTooLarge
	}
	return used, wrong
}

// answer serves the request whose head was read, and tells whether another may follow.
func (c *client) answer() (keep bool) {
	if wrong := c.beginBody(); wrong != nil {
		return c.refuse(wrong)
	}
	u, wrong := c.reach()
	c.consume()
	if wrong == nil {
		keep, wrong = c.deliver(u)
	}
	if fault := c.endUpload(); fault != nil && wrong != nil {
		wrong = fault
	}
	if c.upload.rest != nil {
		c.in, c.upload.rest = c.upload.rest, nil
	}
	c.serving.Store(nil)
	if wrong != nil {
		keep = c.reject(wrong)
	}
	return keep
}

// consume leaves the request behind that was sent.
func (c *client) consume() {
	c.in.start += c.first
	if c.in.start == c.in.end {
		c.release()
	}
}

// bodyRead tells whether the client has nothing more to send of its request.
func (c *client) bodyRead() bool {
	if c.upload.running {
		return c.upload.bodyRead.Load()
	}
	return c.body.done
}

// --- to a backend ---

// reach sends the request and waits for the first bytes of a response, on as many backends as it may.
func (c *client) reach() (u *upstream, wrong *problem) {
	c.tried = c.tried[:0]
	wrong = noBackendUp
	for tries := 0; tries <= c.server.settings.retries; tries++ {
		b := c.server.balancer.pick(c, c.tried)
		if b == nil {
			return nil, wrong
		}
		if tries > 0 {
			c.server.metrics.retries.Add(1)
		}
		repeat := false
		if u, wrong, repeat = c.try(b); !repeat {
			return u, wrong
		}
		c.tried = append(c.tried, b)
	}
	return nil, wrong
}

// try asks one backend; repeat tells whether another one may be asked.
func (c *client) try(b *backend) (u *upstream, wrong *problem, repeat bool) {
	b.active.Add(1)
	if u = b.takeIdle(); u != nil {
		err := c.exchange(u)
		if err == nil {
			return u, nil, false
		}
		// Nothing is wrong with a backend that ended an idle connection. A request that
		// may have arrived is repeated only where that does no harm.
		unsent := err == errStale
		if !unsent && (err == errTimeout || err == errStopped || !c.request.idempotent || c.upload.consumed) {
			wrong = c.failureOf(u, err)
			c.drop(u)
			return nil, wrong, false
		}
		u.close()
	}
	if u, wrong = b.dial(); wrong != nil {
		b.active.Add(-1)
		return nil, wrong, true
	}
	err := c.exchange(u)
	if err == nil {
		return u, nil, false
	}
	wrong = c.failureOf(u, err)
	c.drop(u)
	repeat = err == errStale || c.request.idempotent && !c.request.hasBody() && wrong == backendClosed
	return nil, wrong, repeat
}

// exchange sends the request over a connection and waits for the response.
func (c *client) exchange(u *upstream) error {
	c.out = c.pool.get()
	text := c.request.appendForward(c.out.data[:0], c.in.bytes(), c.address, u.backend.address)
	text = append(text, c.in.bytes()[c.request.length:c.first]...)
	u.stop, u.upload = &c.abandoned, nil
	c.upload.consumed, c.upload.fault = false, nil
	c.serving.Store(u)
	err := u.exchange(text, c.onSent)
	if c.out != nil {
		c.noteUnsent()
	}
	if err != nil && c.upload.running {
		if fault := c.endUpload(); fault != nil {
			c.upload.fault = fault
			return errStopped
		}
	}
	return err
}

// noteSent is called when the first piece of the request is sent.
func (c *client) noteSent() {
	c.noteUnsent()
	u := c.serving.Load()
	u.backend.requests.Add(1)
	if !c.body.done {
		c.startUpload(u)
	}
}

// noteUnsent gives the buffer of the first piece back.
func (c *client) noteUnsent() {
	c.pool.put(c.out)
	c.out = nil
}

// failureOf says what the end of an exchange means for the client, and counts it against the backend.
func (c *client) failureOf(u *upstream, err error) *problem {
	switch err {
	case errStopped:
		if c.upload.fault != nil {
			return c.upload.fault
		}
		return clientGone
	case errTimeout:
		return responseTooLong
	}
	u.backend.failed()
	return backendClosed
}

// drop closes a connection whose request is over.
func (c *client) drop(u *upstream) {
	u.close()
	u.backend.active.Add(-1)
}

// --- the body of a request that did not come with its head ---

// upload sends the rest of a request's body while the response may already come.
type upload struct {
	running  bool          // started, and not yet waited for
	joined   chan struct{} // closed at its end
	finished atomic.Bool   // it sends nothing more
	bodyRead atomic.Bool   // the client has sent all of it

	// Valid when it has ended.
	consumed bool     // bytes were taken that no other backend can get
	written  bool     // the backend got all of it
	fault    *problem // what was wrong with the client
	rest     *buffer  // what came behind the body
}

func (c *client) startUpload(u *upstream) {
	t := &c.upload
	t.running, t.joined = true, make(chan struct{})
	t.finished.Store(false)
	t.bodyRead.Store(false)
	t.written, t.fault = false, nil
	u.upload = t
	go c.runUpload(u)
}

func (c *client) runUpload(u *upstream) {
	t := &c.upload
	defer close(t.joined)
	fault := c.copyBody(u)
	u.readUntil.Store(u.wheel.after(u.patience))
	t.finished.Store(true)
	if fault != nil {
		t.fault = fault
		c.abandon(u)
	}
}

// copyBody copies the body to the backend; it returns what is wrong with the client.
// What is wrong with the backend shows where its response is awaited.
func (c *client) copyBody(u *upstream) *problem {
	for t := &c.upload; !c.body.done; {
		limit := c.body.readLimit(c.server.requestBytes)
		part, err := c.borrow(c.server.streamBuffers, limit, c.wheel.after(c.server.settings.idleTimeout))
		switch {
		case err == errTimeout:
			return bodyTooSlow
		case err == errStopped:
			return nil
		case err != nil:
			return clientGone
		}
		t.consumed = true
		fault, err := c.sendPart(u, part)
		c.server.streamBuffers.put(part)
		if fault != nil || err != nil {
			return fault
		}
	}
	c.upload.written = true
	return nil
}

// sendPart sends what belongs to the body of the bytes that were read.
func (c *client) sendPart(u *upstream, part *buffer) (fault *problem, err error) {
	data := part.bytes()
	c.server.metrics.bytesIn.Add(uint64(len(data)))
	used, fault := c.takeBody(data)
	if fault != nil {
		return fault, nil
	}
	if c.body.done {
		if used < len(data) {
			c.upload.rest = c.pool.get()
			c.upload.rest.end = copy(c.upload.rest.data, data[used:])
		}
		c.upload.bodyRead.Store(true)
	}
	return nil, u.write(data[:used], u.patience)
}

// endUpload stops an upload that still runs, and returns what was wrong with the client.
func (c *client) endUpload() *problem {
	t := &c.upload
	if !t.running {
		return nil
	}
	if !t.finished.Load() {
		c.abandon(c.serving.Load())
	}
	<-t.joined
	t.running = false
	c.abandoned.Store(false)
	fault := t.fault
	t.fault = nil
	return fault
}

// --- from a backend ---

// deliver passes the response on. A problem is returned only while the client has
// seen nothing of the final response.
func (c *client) deliver(u *upstream) (keep bool, wrong *problem) {
	for {
		if wrong := c.readResponse(u); wrong != nil {
			c.drop(u)
			return false, wrong
		}
		status := c.response.status
		switch {
		case status >= 200:
			u.backend.succeeded()
			return c.passResponse(u)
		case status == 101 && c.request.upgradeTo:
			u.backend.succeeded()
			return c.tunnel(u)
		case status == 101:
			u.backend.failed()
			c.drop(u)
			return false, badResponse
		}
		if c.passInterim(u) != nil {
			c.drop(u)
			return false, clientGone
		}
	}
}

// readResponse reads until there is a whole head.
func (c *client) readResponse(u *upstream) *problem {
	c.response.reset()
	for {
		if u.in != nil {
			data := u.in.bytes()
			complete, ok := c.response.parse(data)
			if !ok || c.response.length > maxResponseHead || !complete && len(data) >= maxResponseHead {
				u.backend.failed()
				return badResponse
			}
			if complete {
				return nil
			}
			if len(u.pool.room(u.in)) == 0 {
				u.in.end = streamHeadroom + copy(u.in.data[streamHeadroom:], data)
				u.in.start = streamHeadroom
			}
		}
		if err := u.more(); err != nil {
			return c.failureOf(u, err)
		}
	}
}

// passInterim passes a 1xx response on to a client that knows them.
func (c *client) passInterim(u *upstream) (err error) {
	scratch := c.pool.get()
	text := c.response.appendForward(scratch.data[:0], u.in.bytes(), hopToClient{})
	u.in.start += c.response.length
	if c.request.minor == 1 {
		err = c.sendBefore(text, u.in, u.in.start, u.in.start)
	}
	c.pool.put(scratch)
	if u.in.start == u.in.end {
		u.release()
	}
	return err
}

// passResponse passes the final response on.
func (c *client) passResponse(u *upstream) (keep bool, wrong *problem) {
	r, modern := &c.response, c.request.minor == 1
	kind := responseFraming(r, c.request.isHead)
	c.relay.begin(kind, r.contentLength, maxResponseHead)
	c.relay.bare = kind == bodyChunked && !modern
	c.relay.chunk = kind == bodyUntilClose && modern
	unframed := !modern && (kind == bodyChunked || kind == bodyUntilClose)
	keep = c.mayGoOn() && !unframed
	hop := hopToClient{chunked: modern && r.status != 204 && (r.chunked || c.relay.chunk), connection: c.connectionLine(keep)}

	scratch := c.pool.get()
	text := r.appendForward(scratch.data[:0], u.in.bytes(), hop)
	u.in.start += r.length
	start, end, wrong := c.relay.prepare(u.in)
	if wrong != nil {
		c.pool.put(scratch)
		u.backend.failed()
		c.drop(u)
		return false, badResponse
	}
	err := c.sendBefore(text, u.in, start, end)
	c.pool.put(scratch)
	c.server.metrics.countResponse(r.status)
	if err == nil {
		err = c.passBody(u, kind)
	}
	switch {
	case err == errCut:
		c.server.metrics.responsesCut.Add(1)
		c.reset = unframed
		fallthrough
	case err != nil:
		c.drop(u)
		return false, nil
	}
	c.part(u, kind)
	c.linger = !keep && (!c.bodyRead() || c.in != nil)
	return keep, nil
}

// sendBefore sends a head and the bytes of a buffer from start to end in one piece:
// the head is put before them, where the original stood.
func (c *client) sendBefore(head []byte, b *buffer, start, end int) error {
	start -= len(head)
	copy(b.data[start:], head)
	return c.send(b.data[start:end])
}

func (c *client) send(data []byte) error {
	c.server.metrics.bytesOut.Add(uint64(len(data)))
	return c.write(data, c.server.settings.idleTimeout)
}

// errCut: the backend failed inside the body, of which the client has seen a part.
var errCut = errors.New("the response was cut")

var lastChunkBytes = []byte(lastChunk)

// passBody passes on what of the body did not come with its head.
func (c *client) passBody(u *upstream, kind framing) error {
	for !c.relay.done {
		u.release()
		if err := u.more(); err != nil {
			return c.endOfBody(u, kind, err)
		}
		start, end, wrong := c.relay.prepare(u.in)
		if wrong != nil {
			u.backend.failed()
			return errCut
		}
		if start < end {
			if err := c.send(u.in.data[start:end]); err != nil {
				return err
			}
		}
	}
	return nil
}

// endOfBody tells the end of a body from a cut.
func (c *client) endOfBody(u *upstream, kind framing, err error) error {
	switch {
	case err == errStopped:
		return err
	case err == io.EOF && c.relay.chunk:
		return c.send(lastChunkBytes)
	case err == io.EOF && kind == bodyUntilClose:
		return nil
	case err != errTimeout:
		u.backend.failed()
	}
	return errCut
}

// part keeps the backend's connection for others, if nothing of this exchange is left on it.
func (c *client) part(u *upstream, kind framing) {
	u.backend.active.Add(-1)
	surplus := u.in != nil && u.in.start < u.in.end
	sent := !c.upload.running || c.upload.finished.Load() && c.upload.written
	if sent && !surplus && kind != bodyUntilClose && c.response.persistent() {
		u.backend.keep(u)
	} else {
		u.close()
	}
}

// mayGoOn tells whether the connection can serve another request.
func (c *client) mayGoOn() bool {
	return c.request.persistent() && c.bodyRead() && !c.server.draining.Load()
}

// connectionLine says so, where the version does not say it.
func (c *client) connectionLine(keep bool) string {
	switch {
	case !keep:
		return "Connection: close\r\n"
	case c.request.minor == 0:
		return "Connection: keep-alive\r\n"
	}
	return ""
}

// --- tunnels ---

// tunnel passes bytes both ways after a switch of protocols.
func (c *client) tunnel(u *upstream) (keep bool, wrong *problem) {
	scratch := c.pool.get()
	text := c.response.appendForward(scratch.data[:0], u.in.bytes(), hopToClient{connection: upgradeLine})
	u.in.start += c.response.length
	err := c.sendBefore(text, u.in, u.in.start, u.in.end)
	c.pool.put(scratch)
	u.release()
	c.server.metrics.countResponse(c.response.status)
	if err == nil && c.in != nil {
		err = u.write(c.in.bytes(), u.patience)
		c.release()
	}
	if err == nil {
		t := &tunnel{client: c, upstream: u}
		t.alive.Store(c.wheel.now())
		t.run()
	}
	c.drop(u)
	return false, nil
}

// tunnel is a connection of two sockets that carry any bytes.
type tunnel struct {
	client   *client
	upstream *upstream
	alive    atomic.Int64 // when a byte last passed, either way
}

func (t *tunnel) run() {
	c, u := t.client, t.upstream
	upward := make(chan struct{})
	go func() {
		t.pump(&c.socket, &u.socket, &c.server.metrics.bytesIn)
		close(upward)
	}()
	t.pump(&u.socket, &c.socket, &c.server.metrics.bytesOut)
	<-upward
}

// pump copies one way until that side ends, and then ends the other's input; a
// failure, or silence both ways, ends both ways.
func (t *tunnel) pump(from, to *socket, counter *atomic.Uint64) {
	c := t.client
	idle := c.server.settings.idleTimeout
	for {
		part, err := from.borrow(c.server.streamBuffers, streamBytes, c.wheel.after(idle))
		if err == errTimeout && c.wheel.now() < t.alive.Load()+int64(idle) {
			continue
		}
		if err == io.EOF {
			to.conn.CloseWrite()
			return
		}
		if err == nil {
			t.alive.Store(c.wheel.now())
			counter.Add(uint64(len(part.bytes())))
			err = to.write(part.bytes(), idle)
			c.server.streamBuffers.put(part)
		}
		if err != nil {
			c.abandon(t.upstream)
			return
		}
	}
}

// --- answers of our own ---

// refuse answers a request that is not understood, and ends the connection.
func (c *client) refuse(wrong *problem) (keep bool) { return c.sendProblem(wrong, false) }

// reject answers a request that got no response.
func (c *client) reject(wrong *problem) (keep bool) {
	if wrong == clientGone {
		return false
	}
	return c.sendProblem(wrong, c.mayGoOn())
}

func (c *client) sendProblem(wrong *problem, keep bool) bool {
	scratch := c.pool.get()
	text := appendProblem(scratch.data[:0], wrong, c.connectionLine(keep), c.request.isHead)
	c.server.metrics.countResponse(wrong.status)
	err := c.send(text)
	c.pool.put(scratch)
	c.linger = !keep
	return keep && err == nil
}

var reasons = map[int]string{
	400: "Bad Request", 405: "Method Not Allowed", 408: "Request Timeout", 413: "Content Too Large",
	414: "URI Too Long", 431: "Request Header Fields Too Large", 501: "Not Implemented", 502: "Bad Gateway",
	503: "Service Unavailable", 504: "Gateway Timeout", 505: "HTTP Version Not Supported",
}

// appendProblem appends the response that tells a problem.
func appendProblem(out []byte, wrong *problem, connection string, toHead bool) []byte {
	code, reason := strconv.Itoa(wrong.status), reasons[wrong.status]
	length := len(code) + len(" ") + len(reason) + len(": ") + len(wrong.cause) + len("\n")
	out = append(out, "HTTP/1.1 "+code+" "+reason+"\r\nContent-Type: text/plain\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(length), 10)
	out = append(out, "\r\n"...)
	switch wrong.status {
	case 405:
		out = append(out, "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH\r\n"...)
	case 503:
		out = append(out, "Retry-After: 1\r\n"...)
	}
	out = append(out, connection...)
	out = append(out, "\r\n"...)
	if toHead {
		return out
	}
	return append(out, code+" "+reason+": "+wrong.cause+"\n"...)
}
