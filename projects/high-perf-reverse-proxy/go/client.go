package main

import (
	"errors"
	"io"
	"strconv"
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

// client is a connection from a client. Its task serves one request after another.
type client struct {
	socket
	settings *options
	metrics  *metrics
	address  string // for X-Forwarded-For
	answered bool   // a request, at least

	request  requestHead
	response responseHead
	body     body // of the request
	relay    relay
	first    int // bytes of in, head and body, that are sent in one piece
	upload   upload
	tried    []int
	serving  *upstream // who is asked; nil: nobody
	gaveUp   bool      // the request under way

	linger bool // read for a while before closing
	reset  bool // close by a reset: an end would look like the end of a body
}

func newClient(l *loop, address string) *client {
	return &client{settings: l.server.settings, metrics: &l.metrics, address: address}
}

// serve is a task: it answers requests until the connection ends.
func (c *client) serve() {
	l := c.loop
	l.clients[c] = struct{}{}
	for c.awaitRequest() && c.answer() {
		c.answered = true
	}
	c.finish()
	delete(l.clients, c)
	l.server.connections.Add(-1)
}

// turnAway is a task: it tells a client that there are too many.
func (c *client) turnAway() {
	c.refuse(tooManyConnections)
	c.finish()
	c.loop.turningAway--
}

// finish closes the connection.
func (c *client) finish() {
	if c.reset {
		c.resetOnClose()
	} else if c.linger {
		c.drainInput()
	}
	c.close()
}

// drainInput ends our direction, and reads until the client has ended its own.
func (c *client) drainInput() {
	c.release()
	c.stop = &never
	c.endOutput()
	until := c.loop.wheel.after(lingerTime)
	for left := lingerBytes; left > 0; {
		rest, err := c.borrow(c.pool, streamBytes, until)
		if err != nil {
			return
		}
		left -= len(rest.bytes())
		c.pool.put(rest)
	}
}

// noticed gives a request up whose client has reset its connection.
func (c *client) noticed() {
	if c.broken && c.serving != nil {
		c.giveUp()
	}
}

// giveUp ends all waiting for the request under way.
func (c *client) giveUp() {
	c.gaveUp = true
	c.wake()
	c.serving.wake()
}

// --- the request ---

// awaitRequest reads until there is a whole head. It answers a bad one itself.
func (c *client) awaitRequest() bool {
	c.request.reset()
	started := false
	until := c.loop.wheel.after(c.settings.idleTimeout)
	if !c.answered {
		until = c.loop.wheel.after(c.settings.headerTimeout)
	}
	for {
		if c.skipEmptyLines() {
			complete, wrong := c.request.parse(c.in.bytes(), c.settings.maxHeaderBytes)
			if wrong != nil {
				return c.refuse(wrong)
			}
			if complete {
				return true
			}
			if !started && c.answered {
				until = c.loop.wheel.after(c.settings.headerTimeout)
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
// idle, and ends when the loop drains.
func (c *client) moreOfHead(until int64, started bool) error {
	before := 0
	if c.in != nil {
		c.in.end = copy(c.in.data, c.in.bytes())
		c.in.start = 0
		before = c.in.end
	}
	c.stop = &never
	if !started {
		c.stop = &c.loop.draining
	}
	err := c.fill(until)
	c.stop = &c.gaveUp
	if err == errStopped {
		// A request may have come just before.
		c.readable = true
		err = c.fill(c.loop.wheel.now)
	}
	if err == nil {
		c.metrics.bytesIn.add(c.in.end - before)
	}
	return err
}

// beginBody looks at the part of the body that came with the head.
func (c *client) beginBody() *problem {
	r := &c.request
	if most := c.settings.maxBodyBytes; most > 0 && r.contentLength > most {
		return bodyTooLarge
	}
	c.body.begin(requestFraming(r), r.contentLength, c.settings.maxHeaderBytes)
	used, wrong := c.takeBody(c.in.bytes()[r.length:])
	c.first = r.length + used
	return wrong
}

// takeBody checks bytes of the request's body.
func (c *client) takeBody(data []byte) (used int, wrong *problem) {
	used, _, wrong = c.body.take(data, false)
	if most := c.settings.maxBodyBytes; most > 0 && c.body.chunks.payload > most {
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
	c.serving, c.gaveUp = nil, false
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
func (c *client) bodyRead() bool { return c.body.done }

// --- to a backend ---

// reach sends the request and waits for the first bytes of a response, on as many backends as it may.
func (c *client) reach() (u *upstream, wrong *problem) {
	c.tried = c.tried[:0]
	wrong = noBackendUp
	for tries := 0; tries <= c.settings.retries; tries++ {
		n := c.loop.server.balancer.pick(c.tried, func() uint64 { return c.hashKey() })
		if n == none {
			return nil, wrong
		}
		if tries > 0 {
			c.metrics.retries.add(1)
		}
		repeat := false
		if u, wrong, repeat = c.try(c.loop.pools[n]); !repeat {
			return u, wrong
		}
		c.tried = append(c.tried, n)
	}
	return nil, wrong
}

// hashKey is what binds a client to a backend: a header of its request, or its address.
func (c *client) hashKey() uint64 {
	if name := c.settings.hashHeader; name != "" {
		if value, found := c.request.lookUp(c.in.bytes(), name); found {
			return hashBytes(value)
		}
	}
	return hashBytes(c.address)
}

// try asks one backend; repeat tells whether another one may be asked.
func (c *client) try(pool *idlePool) (u *upstream, wrong *problem, repeat bool) {
	pool.backend.active.Add(1)
	if u = pool.take(); u != nil {
		err := errStale
		// A request that may not be repeated is worth a question whether the connection still lives.
		if c.request.idempotent || u.quiet() {
			err = c.exchange(u)
		}
		if err == nil {
			return u, nil, false
		}
		// Nothing is wrong with a backend that ended an idle connection.
		if err != errStale && (err == errTimeout || err == errStopped || !c.request.idempotent || c.upload.consumed) {
			return nil, c.failureOf(u, err), false
		}
		u.close()
	}
	u, err := pool.dial(&c.gaveUp, c.settings.connectTimeout)
	if err != nil {
		return nil, c.connectFailure(pool.backend, err), err != errStopped
	}
	if err = c.exchange(u); err == nil {
		return u, nil, false
	}
	wrong = c.failureOf(u, err)
	return nil, wrong, wrong == backendClosed && c.request.idempotent && !c.request.hasBody()
}

// connectFailure says what a connection that did not come about means for the client.
func (c *client) connectFailure(b *backend, err error) *problem {
	b.active.Add(-1)
	if err == errStopped {
		return clientGone
	}
	if !isOurs(err) {
		b.failed(c.loop.wheel.now)
	}
	if err == errTimeout || err == syscall.ETIMEDOUT {
		return connectTooLong
	}
	return unreachable
}

// exchange sends the request over a connection and waits for the response.
func (c *client) exchange(u *upstream) error {
	out := c.pool.get()
	text := c.request.appendForward(out.data[:0], c.in.bytes(), c.address, u.from.backend.address)
	text = append(text, c.in.bytes()[c.request.length:c.first]...)
	u.stop = &c.gaveUp
	c.upload.consumed, c.upload.fault = false, nil
	c.serving = u
	err := u.send(text, c.settings.readTimeout)
	c.pool.put(out)
	u.from.requests.add(1)
	if err == nil && !c.body.done {
		c.startUpload(u)
	}
	if err != errTimeout && err != errStopped {
		err = c.firstBytes(u, err)
	}
	if err != nil {
		if fault := c.endUpload(); fault != nil {
			c.upload.fault = fault
			return errStopped
		}
	}
	return err
}

// firstBytes waits for the start of the response. A backend that refuses a request may
// have said why before it ended the connection, so a failure to send is not the last word.
func (c *client) firstBytes(u *upstream, failure error) error {
	if failure != nil {
		u.readable = true
	}
	if err := c.more(u); err == nil || failure == nil {
		return err
	}
	return failure
}

// more reads more of the response. The backend's time runs only when it has the whole request.
func (c *client) more(u *upstream) error {
	for {
		err := u.fill(c.loop.wheel.after(c.settings.readTimeout))
		if err != errTimeout || !c.upload.running {
			return err
		}
	}
}

// failureOf closes a connection that failed, and says what that means for the client.
func (c *client) failureOf(u *upstream, err error) *problem {
	c.drop(u)
	switch err {
	case errStopped:
		if c.upload.fault != nil {
			return c.upload.fault
		}
		return clientGone
	case errTimeout:
		return responseTooLong
	}
	u.from.backend.failed(c.loop.wheel.now)
	return backendClosed
}

// blame counts a response that is none against its backend.
func (c *client) blame(u *upstream) *problem {
	c.drop(u)
	u.from.backend.failed(c.loop.wheel.now)
	return badResponse
}

// drop closes a connection whose request is over.
func (c *client) drop(u *upstream) {
	u.close()
	u.from.backend.active.Add(-1)
}

// --- the body of a request that did not come with its head ---

// upload sends the rest of a request's body, in a task of its own: the response may already come.
type upload struct {
	running  bool
	consumed bool     // bytes were taken that no other backend can get
	written  bool     // the backend got all of it
	fault    *problem // what was wrong with the client
	rest     *buffer  // what came behind the body
	awaited  *task    // who waits for the end
}

func (c *client) startUpload(u *upstream) {
	t := &c.upload
	t.running, t.written = true, false
	c.loop.spawn(func() {
		t.fault = c.copyBody(u)
		t.running = false
		if t.fault != nil {
			c.giveUp()
		} else if u.read.task != nil {
			u.read.until = c.loop.wheel.after(c.settings.readTimeout)
		}
		c.loop.schedule(t.awaited)
	})
}

// copyBody copies the body to the backend; it returns what is wrong with the client.
// What is wrong with the backend shows where its response is awaited.
func (c *client) copyBody(u *upstream) *problem {
	streams := &c.loop.streamBuffers
	for !c.body.done {
		part, err := c.borrow(streams, c.body.readLimit(c.loop.requestBytes), c.loop.wheel.after(c.settings.idleTimeout))
		switch {
		case err == errTimeout:
			return bodyTooSlow
		case err == errStopped:
			return nil
		case err != nil:
			return clientGone
		}
		c.upload.consumed = true
		fault, err := c.sendPart(u, part)
		streams.put(part)
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
	c.metrics.bytesIn.add(len(data))
	used, fault := c.takeBody(data)
	if fault != nil {
		return fault, nil
	}
	if used < len(data) {
		c.upload.rest = c.pool.get()
		c.upload.rest.end = copy(c.upload.rest.data, data[used:])
	}
	return nil, u.send(data[:used], c.settings.readTimeout)
}

// endUpload stops an upload that still runs, and returns what was wrong with the client.
func (c *client) endUpload() *problem {
	t := &c.upload
	if t.running {
		c.giveUp()
		for t.awaited = c.loop.current; t.running; {
			c.loop.pause()
		}
		t.awaited = nil
		c.gaveUp = false
	}
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
			return false, wrong
		}
		status := c.response.status
		switch {
		case status >= 200:
			u.from.backend.succeeded()
			return c.passResponse(u)
		case status == 101 && c.request.upgradeTo:
			u.from.backend.succeeded()
			return c.tunnel(u)
		case status == 101:
			return false, c.blame(u)
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
				return c.blame(u)
			}
			if complete {
				return nil
			}
			if len(u.pool.room(u.in)) == 0 {
				u.in.end = streamHeadroom + copy(u.in.data[streamHeadroom:], data)
				u.in.start = streamHeadroom
			}
		}
		if err := c.more(u); err != nil {
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
		return false, c.blame(u)
	}
	c.metrics.countResponse(r.status)
	err := c.sendBefore(text, u.in, start, end)
	c.pool.put(scratch)
	if err == nil {
		err = c.passBody(u, kind)
	}
	if err != nil {
		if err == errCut {
			c.metrics.responsesCut.add(1)
			c.reset = unframed
		}
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
	c.metrics.bytesOut.add(len(data))
	return c.socket.send(data, c.settings.idleTimeout)
}

// errCut: the backend failed inside the body, of which the client has seen a part.
var errCut = errors.New("the response was cut")

var lastChunkBytes = []byte(lastChunk)

// passBody passes on what of the body did not come with its head.
func (c *client) passBody(u *upstream, kind framing) error {
	for !c.relay.done {
		u.release()
		if err := c.more(u); err != nil {
			return c.endOfBody(u, kind, err)
		}
		start, end, wrong := c.relay.prepare(u.in)
		if wrong != nil {
			u.from.backend.failed(c.loop.wheel.now)
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
		u.from.backend.failed(c.loop.wheel.now)
	}
	return errCut
}

// part keeps the backend's connection for others, if nothing of this exchange is left on it.
func (c *client) part(u *upstream, kind framing) {
	u.from.backend.active.Add(-1)
	surplus := u.in != nil && u.in.start < u.in.end
	sent := c.body.done && !c.upload.running && (c.upload.written || !c.upload.consumed)
	if sent && !surplus && kind != bodyUntilClose && c.response.persistent() {
		u.from.keep(u)
	} else {
		u.close()
	}
}

// mayGoOn tells whether the connection can serve another request.
func (c *client) mayGoOn() bool {
	return c.request.persistent() && c.bodyRead() && !c.loop.draining
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

// tunnel is two sockets that carry any bytes.
type tunnel struct {
	client   *client
	upstream *upstream
	lastByte int64 // when it passed, either way
	upward   bool  // bytes of the client may still come
}

// tunnel passes bytes both ways after a switch of protocols.
func (c *client) tunnel(u *upstream) (keep bool, wrong *problem) {
	scratch := c.pool.get()
	text := c.response.appendForward(scratch.data[:0], u.in.bytes(), hopToClient{connection: upgradeLine})
	u.in.start += c.response.length
	c.metrics.countResponse(c.response.status)
	err := c.sendBefore(text, u.in, u.in.start, u.in.end)
	c.pool.put(scratch)
	u.release()
	if err == nil && c.in != nil {
		err = u.send(c.in.bytes(), c.settings.readTimeout)
		c.release()
	}
	if err == nil {
		t := &tunnel{client: c, upstream: u, lastByte: c.loop.wheel.now}
		t.run()
	}
	c.drop(u)
	return false, nil
}

func (t *tunnel) run() {
	c, u := t.client, t.upstream
	t.upward = true
	here := c.loop.current
	c.loop.spawn(func() {
		t.pump(&c.socket, &u.socket, &c.metrics.bytesIn)
		t.upward = false
		c.loop.schedule(here)
	})
	t.pump(&u.socket, &c.socket, &c.metrics.bytesOut)
	for t.upward {
		c.loop.pause()
	}
}

// pump copies one way until that side ends, and then ends the other's input; a
// failure, or silence both ways, ends both ways.
func (t *tunnel) pump(from, to *socket, passed *counter) {
	c := t.client
	idle, streams, wheel := c.settings.idleTimeout, &c.loop.streamBuffers, c.loop.wheel
	for {
		part, err := from.borrow(streams, streamBytes, wheel.after(idle))
		if err == errTimeout && wheel.now < t.lastByte+int64(idle) {
			continue
		}
		if err == io.EOF {
			to.endOutput()
			return
		}
		if err == nil {
			t.lastByte = wheel.now
			passed.add(len(part.bytes()))
			err = to.send(part.bytes(), idle)
			streams.put(part)
		}
		if err != nil {
			c.giveUp()
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
	c.metrics.countResponse(wrong.status)
	err := c.send(text)
	c.pool.put(scratch)
	c.linger = !keep
	return keep && err == nil
}

var reasons = map[int]string{
	400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 413: "Content Too Large",
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
