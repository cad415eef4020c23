//! A client's connection, and the exchange that runs on it: a request on its way up and a response on its way down.
//!
//! A client owns two pipes. `up` holds its request until the backend has begun to answer, so that it can be sent again;
//! `down` holds what the backend has sent. All sockets are edge triggered: `readable` and `writable` stay true until the
//! kernel says that it would block, and `advance` does whatever these allow. A pipe is read into only when all that it
//! held has been sent, so a slow side stops the fast one.

const std = @import("std");
const backend_file = @import("backend.zig");
const body = @import("body.zig");
const buffer = @import("buffer.zig");
const head = @import("head.zig");
const metrics = @import("metrics.zig");
const net = @import("net.zig");
const reply = @import("reply.zig");
const timers = @import("timers.zig");
const Upstream = backend_file.Upstream;
const Worker = @import("server.zig").Worker;

/// After so many reads a connection lets the others have their turn.
const reads_per_turn = 16;
/// What a client may still send after an error before its connection is cut.
const linger_bytes_max = 4 << 20;

/// Whether there is something else to do at once, or only after the next event.
const Step = enum { again, wait };

const State = enum {
    /// Nothing of a request has come.
    idle,
    /// A part of a head has come.
    head,
    connecting,
    exchange,
    tunnel,
    /// A response of our own is on its way.
    reply,
    /// The last response was sent; what the client still sends is thrown away, because closing with unread bytes would
    /// reset the connection under the response.
    linger,
    closed,
};

/// One request and its response.
const Exchange = struct {
    request_body: body.Body,
    response_body: body.Body = .{ .length = 0 },
    method: head.Method,
    /// The client speaks HTTP/1.0.
    is_old: bool,
    /// The client's connection goes on afterwards.
    persists: bool,
    upgrades: bool,
    key: u64,
    /// The head in the pipe, while it can be sent again.
    head_start: u32 = 0,
    head_end: u32 = 0,
    is_replayable: bool = true,
    has_body: bool,
    body_was_sent: bool = false,
    /// The backend takes no more of the request.
    is_refused: bool = false,
    has_response_bytes: bool = false,
    /// The final head is on its way to the client, so no error can be told any more.
    has_answered: bool = false,
    stage: enum { head, body, done } = .head,
    delivery: enum { pass, encode, decode } = .pass,
    /// The client knows the end of the body only by the end of its connection.
    ends_with_connection: bool = false,
    backend_persists: bool = false,
    backend: usize = 0,
    tried: backend_file.Tried = .empty,
    retries_left: u32,

    fn requestIsComplete(self: *const Exchange, up: *const buffer.Pipe) bool {
        return self.request_body.isDone() and !up.hasPending() and !self.is_refused;
    }

    /// Decides how the body reaches the client, and what its head says about that.
    fn chooseDelivery(self: *Exchange, response: *const head.Response) head.Response.Coding {
        self.backend_persists = response.persists;
        self.response_body = .init(response.framing, .{ .trailer_bytes = buffer.data_bytes });
        if (!self.is_old) {
            if (response.framing == .until_close) self.delivery = .encode;
            return if (self.delivery == .encode) .add else if (response.status == 204) .drop else .keep;
        }
        if (response.framing == .chunked) self.delivery = .decode;
        self.ends_with_connection = response.framing == .chunked or response.framing == .until_close;
        if (self.ends_with_connection) self.persists = false;
        return .drop;
    }
};

/// How a backend can fail us.
const Trouble = enum {
    refused,
    connect_timeout,
    closed,
    bad_response,
    read_timeout,

    fn cause(self: Trouble) []const u8 {
        return switch (self) {
            .refused => "cannot connect to the backend",
            .connect_timeout => "connecting to the backend took too long",
            .closed => "the backend closed the connection",
            .bad_response => "bad response from the backend",
            .read_timeout => "the backend took too long",
        };
    }

    fn status(self: Trouble) reply.Status {
        return switch (self) {
            .refused, .closed, .bad_response => .bad_gateway,
            .connect_timeout, .read_timeout => .gateway_timeout,
        };
    }
};

pub const Client = struct {
    source: net.Source = .{ .kind = .client },
    fd: net.Fd,
    state: State = .idle,
    is_admin: bool,
    /// It came when all places were taken, and does not count.
    is_surplus: bool = false,
    /// Has not sent a request yet.
    is_fresh: bool = true,
    readable: bool = false,
    writable: bool = true,
    peer_closed: bool = false,
    closes_after_reply: bool = false,
    is_postponed: bool = false,
    /// Ends of a tunnel: what was read to its end, and what was told so.
    client_ended: bool = false,
    upstream_ended: bool = false,
    /// Bytes have moved since the last event, so the time begins anew.
    has_moved: bool = false,
    reads_left: u32 = 0,
    lingered_bytes: usize = 0,
    /// How much of the coming head has been looked at.
    scanned: usize = 0,
    worker: *Worker,
    upstream: ?*Upstream = null,
    up: buffer.Pipe = .{},
    down: buffer.Pipe = .{},
    timer: timers.Timer = .{},
    node: std.DoublyLinkedList.Node = .{},
    postponed_node: std.DoublyLinkedList.Node = .{},
    exchange: Exchange = undefined,
    host_buffer: [net.Address.text_bytes]u8 = undefined,
    host_bytes: u8 = 0,

    pub fn init(self: *Client, worker: *Worker, fd: net.Fd, address: *const net.Address, is_admin: bool) void {
        self.* = .{ .worker = worker, .fd = fd, .is_admin = is_admin };
        var writer: std.Io.Writer = .fixed(&self.host_buffer);
        address.printHost(&writer) catch unreachable;
        self.host_bytes = @intCast(writer.end);
    }

    fn host(self: *const Client) []const u8 {
        return self.host_buffer[0..self.host_bytes];
    }

    // --- what happens to it ---

    pub fn onEvent(self: *Client, events: u32) void {
        if (self.state == .closed) return;
        if (events & net.broken != 0) {
            _ = self.close();
            return;
        }
        if (events & net.readable != 0) self.readable = true;
        if (events & net.writable != 0) self.writable = true;
        if (events & net.peer_closed != 0) self.peer_closed = true;
        self.advance();
    }

    pub fn onUpstreamEvent(self: *Client, upstream: *Upstream, events: u32) void {
        if (upstream.state == .connecting) {
            if (events & net.writable == 0) return;
            if (events & net.gone != 0 or !net.isConnected(upstream.fd)) {
                if (self.backendFailed(.refused) == .again) return self.advance();
                return self.armTimer();
            }
            upstream.state = .busy;
            self.startExchange(upstream);
        }
        if (events & net.readable != 0) upstream.readable = true;
        if (events & net.writable != 0) upstream.writable = true;
        if (events & net.peer_closed != 0) upstream.peer_closed = true;
        self.advance();
    }

    pub fn onTimeout(self: *Client, class: timers.Class) void {
        _ = switch (self.state) {
            .idle, .tunnel, .reply, .linger => self.close(),

            .head => self.refuse(.{ .status = .request_timeout, .cause = "the request head took too long" }),
            .connecting => self.backendFailed(.connect_timeout),
            .exchange => self.exchangeTimedOut(class),
            .closed => unreachable,
        };
        self.advance();
    }

    fn exchangeTimedOut(self: *Client, class: timers.Class) Step {
        if (class == .read) return if (self.exchange.has_answered) self.cut() else self.backendFailed(.read_timeout);
        // The client takes nothing, or owes the rest of its body.
        if (self.exchange.has_answered or self.down.hasPending()) return self.close();
        return self.refuse(.{ .status = .request_timeout, .cause = "the request body took too long" });
    }

    /// The server drains: what runs may end, what waits ends now.
    pub fn onDrain(self: *Client) void {
        if (self.state != .idle) return;
        // What has come and was not told yet is still served.
        self.readable = true;
        self.advance();
    }

    /// The time for draining is over: an end of our process must not look like the end of a body.
    pub fn onDrainOver(self: *Client) void {
        if (self.state == .exchange and self.exchange.ends_with_connection) _ = self.closeHard();
    }

    /// Does all that can be done without waiting.
    pub fn advance(self: *Client) void {
        self.reads_left = reads_per_turn;
        self.has_moved = false;
        while (true) {
            const step: Step = switch (self.state) {
                .idle, .head => self.readHead(),
                .connecting => .wait,
                .exchange => self.moveExchange(),
                .tunnel => self.moveTunnel(),
                .reply => self.moveReply(),
                .linger => self.moveLinger(),
                .closed => return,
            };
            if (step == .wait) return self.armTimer();
        }
    }

    fn armTimer(self: *Client) void {
        const worker = self.worker;
        const queue = &worker.timers;
        const now_ns = worker.now_ns;
        switch (self.state) {
            .idle => {
                const header_is_shorter = worker.options.header_timeout_ns < worker.options.idle_timeout_ns;
                queue.armOnce(&self.timer, if (self.is_fresh and header_is_shorter) .header else .idle, now_ns);
            },
            .head => queue.armOnce(&self.timer, .header, now_ns),
            .connecting => queue.armOnce(&self.timer, .connect, now_ns),
            .exchange => if (self.has_moved)
                queue.arm(&self.timer, self.exchangeClass(), now_ns)
            else
                queue.armOnce(&self.timer, self.exchangeClass(), now_ns),
            .tunnel, .reply => queue.arm(&self.timer, .idle, now_ns),
            .linger => queue.armOnce(&self.timer, .linger, now_ns),
            .closed => {},
        }
    }

    /// Who is waited for.
    fn exchangeClass(self: *const Client) timers.Class {
        if (self.down.hasPending()) return .idle;
        if (self.up.hasPending() or self.exchange.has_answered) return .read;
        return if (self.exchange.request_body.isDone()) .read else .idle;
    }

    /// Lets the others have their turn; edges that were seen are not told again, so it must come back by itself.
    fn postpone(self: *Client) Step {
        self.worker.postpone(self);
        return .wait;
    }

    // --- reading requests ---

    const Fill = enum { some, none, ended };

    /// Reads from the client once.
    fn fill(self: *Client) Fill {
        const space = self.up.space(&self.worker.blocks) catch return .ended;
        const count = net.receive(self.fd, space) catch |err| switch (err) {
            error.WouldBlock => {
                self.readable = false;
                return .none;
            },
            error.Broken => return .ended,
        };
        if (count == 0) return .ended;
        self.up.end += @intCast(count);
        // A read that leaves room has found all there was; only an end may still wait.
        self.readable = count == space.len or self.peer_closed;
        self.reads_left -= 1;
        self.has_moved = true;
        if (!self.is_admin) metrics.add(&self.worker.counters.bytes_in, count);
        return .some;
    }

    fn readHead(self: *Client) Step {
        while (true) {
            if (self.up.unjudged().len != 0 and self.takeHead() == .again) return .again;
            if (!self.readable) break;
            if (self.reads_left == 0) return self.postpone();
            switch (self.fill()) {
                .some => {},
                .none => break,
                .ended => return self.close(),
            }
        }
        self.up.releaseIfEmpty(&self.worker.blocks);
        self.state = if (self.up.block == null) .idle else .head;
        return if (self.worker.is_draining and self.state == .idle) self.close() else .wait;
    }

    /// Looks for a whole head in what has come.
    fn takeHead(self: *Client) Step {
        // Empty lines before a request are a habit of old clients.
        while (std.mem.startsWith(u8, self.up.unjudged(), "\r\n")) {
            self.up.start += 2;
            self.up.ready = self.up.start;
            self.scanned = 0;
        }
        const bytes = self.up.unjudged();
        const most = self.worker.options.max_header_bytes;
        const end = head.findEnd(bytes, self.scanned) catch |fault| return self.refuse(reply.refusal(fault));
        switch (end) {
            .incomplete => |next| {
                if (bytes.len > most) return self.refuseLongHead(bytes[0..most]);
                self.scanned = next;
                return .wait;
            },
            .complete => |length| {
                if (length > most) return self.refuseLongHead(bytes[0..most]);
                self.scanned = 0;
                return self.startRequest(bytes[0..length]);
            },
        }
    }

    fn refuseLongHead(self: *Client, front: []const u8) Step {
        const line_is_short = std.mem.findScalar(u8, front, '\r') != null;
        return self.refuse(if (line_is_short)
            .{ .status = .fields_too_large, .cause = "header too large" }
        else
            .{ .status = .uri_too_long, .cause = "request line too long" });
    }

    fn startRequest(self: *Client, bytes: []const u8) Step {
        const worker = self.worker;
        const request = head.Request.parse(bytes, worker.lines) catch |fault| return self.refuse(reply.refusal(fault));
        self.is_fresh = false;
        if (self.is_admin) return self.answerAdmin(&request, bytes);
        if (request.method == .connect) return self.refuse(.{ .status = .method_not_allowed, .cause = "CONNECT is not supported" });
        if (request.framing == .length and request.framing.length > worker.bodyLimit()) return self.refuse(reply.refusal(error.BodyTooLarge));

        self.exchange = self.plan(&request, bytes);
        self.up.replaceHead(bytes.len, request.write(bytes, self.host(), worker.local_host, worker.scratch));
        self.exchange.head_start = self.up.start;
        self.exchange.head_end = self.up.ready;
        if (self.judgeRequestBody() == .again) return .again;
        const index = worker.balancer.choose(self.exchange.key, self.exchange.tried, worker.now_ns) orelse {
            return self.answer(.{ .status = .service_unavailable, .cause = "no backend is up" });
        };
        // Whether it connects or runs already: the head has been taken.
        _ = self.attach(index, .any);
        return .again;
    }

    fn plan(self: *const Client, request: *const head.Request, bytes: []const u8) Exchange {
        const worker = self.worker;
        return .{
            .request_body = .init(request.framing, .{ .body_bytes = worker.bodyLimit(), .trailer_bytes = worker.options.max_header_bytes }),
            .method = request.method,
            .has_body = request.framing != .none,
            .is_old = request.is_old,
            .persists = request.persists and !worker.is_draining,
            .upgrades = request.upgrades,
            .key = if (worker.options.balance == .hash) self.hashKey(request, bytes) else 0,
            .retries_left = worker.options.retries,
        };
    }

    fn hashKey(self: *const Client, request: *const head.Request, bytes: []const u8) u64 {
        const name = self.worker.options.hash_header;
        const value = if (name.len == 0) null else request.find(bytes, name);
        return backend_file.hashKey(value orelse self.host());
    }

    /// Lets pass what belongs to the body of the request.
    fn judgeRequestBody(self: *Client) Step {
        const taken = self.exchange.request_body.take(self.up.unjudged()) catch |fault| return self.refuse(reply.refusal(fault));
        self.up.ready += @intCast(taken);
        return .wait;
    }

    // --- the backend of an exchange ---

    const Choice = enum { any, fresh };

    /// Gets a connection to a backend and begins.
    fn attach(self: *Client, index: usize, choice: Choice) Step {
        const worker = self.worker;
        const exchange = &self.exchange;
        exchange.backend = index;
        exchange.tried.set(index);
        if (choice == .any) {
            const must_live = !exchange.method.isIdempotent() or exchange.has_body;
            if (worker.upstreams.takeIdle(index, must_live)) |upstream| {
                self.adopt(upstream);
                self.startExchange(upstream);
                return .again;
            }
        }
        const upstream = worker.upstreams.connect(index) catch |err| switch (err) {
            error.Refused => return self.backendFailed(.refused),
            error.NoResources => return self.answer(.{ .status = .service_unavailable, .cause = "out of resources" }),
        };
        self.adopt(upstream);
        self.state = .connecting;
        // A further attempt has its own time.
        worker.timers.disarm(&self.timer);
        return .wait;
    }

    fn adopt(self: *Client, upstream: *Upstream) void {
        upstream.client = self;
        self.upstream = upstream;
        _ = self.worker.balancer.backends[upstream.backend].active.fetchAdd(1, .monotonic);
    }

    fn startExchange(self: *Client, upstream: *Upstream) void {
        self.state = .exchange;
        metrics.add(&self.worker.counters.backend_requests[upstream.backend], 1);
    }

    const Fate = enum { keep, close };

    fn detach(self: *Client, fate: Fate) void {
        const upstream = self.upstream orelse return;
        self.upstream = null;
        _ = self.worker.balancer.backends[upstream.backend].active.fetchSub(1, .monotonic);
        switch (fate) {
            .keep => self.worker.upstreams.giveBack(upstream),
            .close => self.worker.upstreams.close(upstream),
        }
    }

    /// Tries again where that is safe, and tells the client otherwise.
    fn backendFailed(self: *Client, trouble: Trouble) Step {
        const worker = self.worker;
        const exchange = &self.exchange;
        const was_reused = if (self.upstream) |upstream| upstream.is_reused else false;
        self.detach(.close);
        const nothing_was_sent = trouble == .refused or trouble == .connect_timeout;
        const nothing_has_come = trouble == .closed and !exchange.has_response_bytes;
        const may_replay = nothing_has_come and exchange.is_replayable and exchange.method.isIdempotent();
        if (may_replay and was_reused) {
            self.rewind();
            return self.attach(exchange.backend, .fresh);
        }
        if (trouble != .read_timeout) self.blameBackend(trouble.cause());
        const may_repeat = may_replay and !exchange.body_was_sent;
        if (exchange.retries_left != 0 and (nothing_was_sent or may_repeat)) {
            if (worker.balancer.choose(exchange.key, exchange.tried, worker.now_ns)) |index| {
                exchange.retries_left -= 1;
                metrics.add(&worker.counters.retries, 1);
                self.rewind();
                return self.attach(index, .any);
            }
        }
        return self.answer(.{ .status = trouble.status(), .cause = trouble.cause() });
    }

    fn blameBackend(self: *Client, cause: []const u8) void {
        const worker = self.worker;
        worker.balancer.backends[self.exchange.backend].failed(worker.ejection(), worker.now_ns, cause);
    }

    /// The request stands in the pipe as it was, from its head on.
    fn rewind(self: *Client) void {
        self.up.start = self.exchange.head_start;
        self.exchange.is_refused = false;
        self.down.release(&self.worker.blocks);
        self.scanned = 0;
    }

    // --- the exchange ---

    fn moveExchange(self: *Client) Step {
        return if (self.sendRequest() == .again) .again else self.forwardResponse();
    }

    fn sendRequest(self: *Client) Step {
        const exchange = &self.exchange;
        const upstream = self.upstream.?;
        const up = &self.up;
        while (!exchange.is_refused) {
            if (up.hasPending()) {
                if (!upstream.writable) return .wait;
                const pending = up.pending();
                const sent = net.send(upstream.fd, pending) catch |err| switch (err) {
                    error.WouldBlock => 0,
                    error.Broken => {
                        // The backend may have answered before it closed, so its word is heard first.
                        exchange.is_refused = true;
                        upstream.readable = true;
                        return .wait;
                    },
                };
                up.start += @intCast(sent);
                self.has_moved = true;
                if (up.start > exchange.head_end) exchange.body_was_sent = true;
                if (sent < pending.len) upstream.writable = false;
                continue;
            }
            if (exchange.request_body.isDone()) return .wait;
            if (up.unjudged().len == 0) {
                if (!self.readable) return .wait;
                if (self.reads_left == 0) return self.postpone();
                exchange.is_replayable = false;
                switch (self.fill()) {
                    .some => {},
                    .none => {
                        up.releaseIfEmpty(&self.worker.blocks);
                        return .wait;
                    },
                    .ended => return self.close(),
                }
            }
            if (self.judgeRequestBody() == .again) return .again;
        }
        return .wait;
    }

    const Flush = enum { done, blocked, broken };

    /// Sends to the client what may be sent.
    fn flush(self: *Client) Flush {
        while (self.down.hasPending()) {
            if (!self.writable) return .blocked;
            const pending = self.down.pending();
            const sent = net.send(self.fd, pending) catch |err| switch (err) {
                error.WouldBlock => 0,
                error.Broken => return .broken,
            };
            self.down.start += @intCast(sent);
            self.has_moved = true;
            if (!self.is_admin) metrics.add(&self.worker.counters.bytes_out, sent);
            if (sent < pending.len) self.writable = false;
        }
        return .done;
    }

    fn forwardResponse(self: *Client) Step {
        const exchange = &self.exchange;
        const upstream = self.upstream.?;
        const down = &self.down;
        while (true) {
            switch (self.flush()) {
                .done => {},
                .blocked => return .wait,
                .broken => return self.close(),
            }
            if (exchange.stage == .done) return self.finishExchange();
            if (exchange.stage == .head and down.unjudged().len != 0) switch (self.takeResponseHead()) {
                .moved => continue,
                .incomplete => {},
                .left => return .again,
            };
            if (!upstream.readable) {
                down.releaseIfEmpty(&self.worker.blocks);
                return .wait;
            }
            if (self.reads_left == 0) return self.postpone();
            if (self.receiveResponse() == .again) return .again;
        }
    }

    /// Reads from the backend once.
    fn receiveResponse(self: *Client) Step {
        const exchange = &self.exchange;
        const upstream = self.upstream.?;
        const space = self.down.space(&self.worker.blocks) catch return self.close();
        const count = net.receive(upstream.fd, space) catch |err| switch (err) {
            error.WouldBlock => {
                upstream.readable = false;
                return .wait;
            },
            error.Broken => return self.upstreamEnded(.reset),
        };
        if (count == 0) return self.upstreamEnded(.clean);
        self.down.end += @intCast(count);
        upstream.readable = count == space.len or upstream.peer_closed;
        self.reads_left -= 1;
        self.has_moved = true;
        if (!exchange.has_response_bytes) {
            // From now on the request is not sent again, so what was sent of it can go.
            exchange.has_response_bytes = true;
            exchange.is_replayable = false;
            if (!self.up.hasPending()) self.up.releaseIfEmpty(&self.worker.blocks);
        }
        if (exchange.stage == .body) self.judgeResponseBody(.prepend) catch return self.cut();
        return .wait;
    }

    const End = enum { clean, reset };

    fn upstreamEnded(self: *Client, end: End) Step {
        const exchange = &self.exchange;
        const upstream = self.upstream.?;
        if (exchange.stage == .head) {
            // Another connection may be under way already: whoever reads this one must let go of it.
            _ = self.backendFailed(.closed);
            return .again;
        }
        if (exchange.response_body != .until_close or end == .reset) return self.cut();
        exchange.stage = .done;
        upstream.readable = false;
        upstream.peer_closed = true;
        if (exchange.delivery == .encode) {
            _ = self.down.space(&self.worker.blocks) catch return self.cut();
            self.down.append(body.last_chunk);
        }
        return .wait;
    }

    /// `left`: the exchange is over, or a tunnel now.
    const Taken = enum { moved, incomplete, left };

    /// Looks for a whole head in what the backend has sent.
    fn takeResponseHead(self: *Client) Taken {
        const bytes = self.down.unjudged();
        const end = head.findEnd(bytes, self.scanned) catch return self.badResponse();
        switch (end) {
            .incomplete => |next| {
                if (bytes.len > buffer.data_bytes) return self.badResponse();
                self.scanned = next;
                return .incomplete;
            },
            .complete => |length| {
                if (length > buffer.data_bytes) return self.badResponse();
                self.scanned = 0;
                const response = head.Response.parse(bytes[0..length], self.exchange.method == .head, self.worker.lines) catch return self.badResponse();
                if (response.status == 101) return self.startTunnel(&response, bytes[0..length]);
                if (response.status < 200) return self.passInterim(&response, bytes[0..length]);
                return self.startResponse(&response, bytes[0..length]);
            },
        }
    }

    fn badResponse(self: *Client) Taken {
        _ = self.backendFailed(.bad_response);
        return .left;
    }

    /// A client of HTTP/1.0 knows no interim responses.
    fn passInterim(self: *Client, response: *const head.Response, bytes: []const u8) Taken {
        if (self.exchange.is_old) {
            self.down.start += @intCast(bytes.len);
            self.down.ready = self.down.start;
        } else {
            self.down.replaceHead(bytes.len, response.write(bytes, .drop, .silent, self.worker.scratch));
        }
        return .moved;
    }

    fn startResponse(self: *Client, response: *const head.Response, bytes: []const u8) Taken {
        const worker = self.worker;
        const exchange = &self.exchange;
        // A client that has not sent its body yet may do it later, which nobody wants to read then.
        if (worker.is_draining or !exchange.requestIsComplete(&self.up)) exchange.persists = false;
        const coding = exchange.chooseDelivery(response);
        const behind = self.down.unjudged().len - bytes.len;
        var text = response.write(bytes, coding, self.persistence(), worker.scratch);
        if (exchange.delivery == .encode and behind != 0) {
            const line = body.sizeLine(worker.scratch[text.len..][0..body.size_line_bytes], behind);
            text.len += line.len;
        }
        self.down.replaceHead(bytes.len, text);
        self.judgeResponseBody(.keep) catch {
            // Nothing of it has been sent, so it can still be told as an error.
            self.down.release(&worker.blocks);
            return self.badResponse();
        };
        if (exchange.stage == .head) exchange.stage = .body;
        exchange.has_answered = true;
        self.countResponse(response.status);
        return .moved;
    }

    fn persistence(self: *const Client) reply.Persistence {
        if (!self.exchange.persists) return .close;
        return if (self.exchange.is_old) .keep_alive else .silent;
    }

    /// Whoever asks for the counters is not in them.
    fn countResponse(self: *Client, status: u16) void {
        if (self.is_admin) return;
        metrics.add(&self.worker.counters.requests[@min(status / 100, 5)], 1);
    }

    const SizeLine = enum { prepend, keep };

    /// Lets pass what belongs to the body of the response, in the form that the client understands.
    fn judgeResponseBody(self: *Client, size_line: SizeLine) reply.Fault!void {
        const exchange = &self.exchange;
        const down = &self.down;
        const bytes = down.unjudged();
        switch (exchange.delivery) {
            .pass => down.ready += @intCast(try exchange.response_body.take(bytes)),
            .encode => if (bytes.len != 0) {
                down.ready = down.end;
                var line: [body.size_line_bytes]u8 = undefined;
                if (size_line == .prepend) down.prepend(body.sizeLine(&line, bytes.len));
                down.append(body.chunk_end);
            },
            .decode => {
                const decoded = try exchange.response_body.chunked.decode(bytes);
                if (decoded.taken != bytes.len) exchange.backend_persists = false;
                down.ready += @intCast(decoded.kept);
                down.end = down.ready;
            },
        }
        if (exchange.response_body.isDone()) exchange.stage = .done;
    }

    fn finishExchange(self: *Client) Step {
        const exchange = &self.exchange;
        const upstream = self.upstream.?;
        const request_is_complete = exchange.requestIsComplete(&self.up);
        self.worker.balancer.backends[exchange.backend].succeeded();
        // Bytes behind the response, or the chance of some, would be the next client's response.
        const is_clean = !upstream.readable and !upstream.peer_closed and self.down.ready == self.down.end;
        self.detach(if (exchange.backend_persists and request_is_complete and is_clean) .keep else .close);
        self.down.release(&self.worker.blocks);
        if (exchange.persists and request_is_complete) return self.nextRequest();
        return self.closeGently(!request_is_complete);
    }

    /// The backend failed inside its response. The client must see that: no last chunk, a length that is not reached,
    /// and where only the end of the connection tells, a reset.
    fn cut(self: *Client) Step {
        const exchange = &self.exchange;
        metrics.add(&self.worker.counters.responses_cut, 1);
        self.blameBackend("response cut off");
        return if (exchange.ends_with_connection) self.closeHard() else self.close();
    }

    // --- responses of our own ---

    /// The client's fault: it is told, and its connection ends.
    fn refuse(self: *Client, what: reply.Refusal) Step {
        if (self.state != .exchange) return self.sendError(what, .close, false);
        if (self.exchange.has_answered) return self.close();
        return self.sendError(what, .close, self.exchange.method == .head);
    }

    /// Not the client's fault; its connection goes on if its request is out of the way.
    fn answer(self: *Client, what: reply.Refusal) Step {
        if (!self.exchange.request_body.isDone() or self.worker.is_draining) self.exchange.persists = false;
        self.up.start = self.up.ready;
        return self.sendError(what, self.persistence(), self.exchange.method == .head);
    }

    fn sendError(self: *Client, what: reply.Refusal, persists: reply.Persistence, head_only: bool) Step {
        self.detach(.close);
        var text: [reply.error_bytes]u8 = undefined;
        self.countResponse(@backingInt(what.status));
        return self.startReply(reply.writeError(&text, what, persists, head_only), persists);
    }

    /// Sends bytes of our own, behind an interim response that may still be on its way.
    fn startReply(self: *Client, text: []const u8, persists: reply.Persistence) Step {
        const down = &self.down;
        down.end = down.ready;
        _ = down.space(&self.worker.blocks) catch return self.close();
        down.append(text);
        self.closes_after_reply = persists == .close;
        self.state = .reply;
        return .again;
    }

    fn moveReply(self: *Client) Step {
        switch (self.flush()) {
            .done => {},
            .blocked => return .wait,
            .broken => return self.close(),
        }
        self.down.release(&self.worker.blocks);
        return if (self.closes_after_reply) self.closeGently(true) else self.nextRequest();
    }

    /// A connection for which there is no place.
    pub fn turnAway(self: *Client) void {
        self.is_surplus = true;
        _ = self.sendError(.{ .status = .service_unavailable, .cause = "too many connections" }, .close, false);
        self.advance();
    }

    fn answerAdmin(self: *Client, request: *const head.Request, bytes: []const u8) Step {
        const worker = self.worker;
        const target = request.target.of(bytes);
        const path = target[0 .. std.mem.findScalar(u8, target, '?') orelse target.len];
        const head_only = request.method == .head;
        const has_body = request.framing == .chunked or (request.framing == .length and request.framing.length != 0);
        const persists: reply.Persistence = if (!request.persists or has_body) .close else if (request.is_old) .keep_alive else .silent;
        self.up.start += @intCast(bytes.len);
        self.up.ready = self.up.start;
        if (request.method != .get and !head_only) return self.sendError(.{ .status = .method_not_allowed, .cause = "only GET and HEAD" }, persists, false);
        if (std.mem.eql(u8, path, "/health")) {
            if (!worker.anyBackendIsUp()) return self.sendError(.{ .status = .service_unavailable, .cause = "no backend is up" }, persists, head_only);
            return self.startReply(reply.writeOk(worker.scratch, "text/plain", "ok\n", persists, head_only), persists);
        }
        if (!std.mem.eql(u8, path, "/metrics")) return self.sendError(.{ .status = .not_found, .cause = "only /metrics and /health" }, persists, head_only);
        const text = worker.metricsText();
        return self.startReply(reply.writeOk(worker.scratch, "text/plain; version=0.0.4", text, persists, head_only), persists);
    }

    // --- tunnels ---

    /// After 101 both sides talk as they like.
    fn startTunnel(self: *Client, response: *const head.Response, bytes: []const u8) Taken {
        const exchange = &self.exchange;
        if (!exchange.upgrades or !response.upgrades or !exchange.requestIsComplete(&self.up)) return self.badResponse();
        self.worker.balancer.backends[exchange.backend].succeeded();
        self.down.replaceHead(bytes.len, response.write(bytes, .drop, .silent, self.worker.scratch));
        self.down.ready = self.down.end;
        self.up.ready = self.up.end;
        exchange.has_answered = true;
        self.countResponse(response.status);
        self.state = .tunnel;
        return .left;
    }

    const Flow = struct {
        pipe: *buffer.Pipe,
        from: net.Fd,
        to: net.Fd,
        readable: *bool,
        peer_closed: bool,
        writable: *bool,
        ended: *bool,
        counter: *u64,
    };

    fn moveTunnel(self: *Client) Step {
        const upstream = self.upstream.?;
        const counters = self.worker.counters;
        const upward = self.moveFlow(.{
            .pipe = &self.up,
            .from = self.fd,
            .to = upstream.fd,
            .readable = &self.readable,
            .peer_closed = self.peer_closed,
            .writable = &upstream.writable,
            .ended = &self.client_ended,
            .counter = &counters.bytes_in,
        });
        const downward = self.moveFlow(.{
            .pipe = &self.down,
            .from = upstream.fd,
            .to = self.fd,
            .readable = &upstream.readable,
            .peer_closed = upstream.peer_closed,
            .writable = &self.writable,
            .ended = &self.upstream_ended,
            .counter = &counters.bytes_out,
        });
        if (upward == .broken or downward == .broken) return self.closeHard();
        const is_over = self.client_ended and self.upstream_ended and !self.up.hasPending() and !self.down.hasPending();
        if (is_over) return self.close();
        return if (upward == .postponed or downward == .postponed) self.postpone() else .wait;
    }

    const FlowState = enum { waiting, postponed, broken };

    /// Moves bytes one way; an end is passed on when all before it has been sent.
    fn moveFlow(self: *Client, flow: Flow) FlowState {
        const pipe = flow.pipe;
        while (true) {
            while (pipe.hasPending()) {
                if (!flow.writable.*) return .waiting;
                const pending = pipe.pending();
                const sent = net.send(flow.to, pending) catch |err| switch (err) {
                    error.WouldBlock => 0,
                    error.Broken => return .broken,
                };
                pipe.start += @intCast(sent);
                if (sent < pending.len) flow.writable.* = false;
            }
            if (flow.ended.* or !flow.readable.*) {
                pipe.releaseIfEmpty(&self.worker.blocks);
                return .waiting;
            }
            if (self.reads_left == 0) return .postponed;
            self.reads_left -= 1;
            const space = pipe.space(&self.worker.blocks) catch return .broken;
            const count = net.receive(flow.from, space) catch |err| switch (err) {
                error.WouldBlock => {
                    flow.readable.* = false;
                    continue;
                },
                error.Broken => return .broken,
            };
            if (count == 0) {
                flow.ended.* = true;
                net.endSending(flow.to);
                continue;
            }
            pipe.end += @intCast(count);
            pipe.ready = pipe.end;
            flow.readable.* = count == space.len or flow.peer_closed;
            metrics.add(flow.counter, count);
        }
    }

    // --- the end ---

    fn nextRequest(self: *Client) Step {
        self.worker.timers.disarm(&self.timer);
        self.state = .head;
        self.scanned = 0;
        return .again;
    }

    /// Closes after a response; with `must_linger`, or when more bytes have come, not before the client has seen it.
    fn closeGently(self: *Client, must_linger: bool) Step {
        if (!must_linger and !self.readable and self.up.unjudged().len == 0) return self.close();
        net.endSending(self.fd);
        self.up.release(&self.worker.blocks);
        self.state = .linger;
        return .again;
    }

    fn moveLinger(self: *Client) Step {
        while (self.readable) {
            if (self.reads_left == 0) return self.postpone();
            self.reads_left -= 1;
            const count = net.receive(self.fd, self.worker.scratch) catch |err| switch (err) {
                error.WouldBlock => {
                    self.readable = false;
                    return .wait;
                },
                error.Broken => return self.close(),
            };
            self.lingered_bytes += count;
            if (count == 0 or self.lingered_bytes > linger_bytes_max) return self.close();
        }
        return .wait;
    }

    /// Closes, and with it what its backend works on.
    fn close(self: *Client) Step {
        if (self.state != .closed) {
            net.close(self.fd);
            self.leave();
        }
        return .again;
    }

    fn closeHard(self: *Client) Step {
        net.abort(self.fd);
        self.leave();
        return .again;
    }

    fn leave(self: *Client) void {
        const worker = self.worker;
        self.detach(.close);
        self.up.release(&worker.blocks);
        self.down.release(&worker.blocks);
        worker.timers.disarm(&self.timer);
        self.state = .closed;
        worker.retire(self);
    }
};
