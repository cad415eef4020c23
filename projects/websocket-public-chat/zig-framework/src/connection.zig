//! One connection: an HTTP request or a few, which are ours, then a WebSocket of libwebsockets. What is due goes out at
//! the end of the turn, in one write however many messages it is.

const std = @import("std");
const client_file = @import("client.zig");
const frame_file = @import("frame.zig");
const http = @import("http.zig");
const library = @import("library.zig");
const message = @import("message.zig");
const metrics = @import("metrics.zig");
const net = @import("net.zig");
const options_file = @import("options.zig");
const timers_file = @import("timers.zig");
const websocket = @import("websocket.zig");
const Client = client_file.Client;
const Frame = frame_file.Frame;
const Guard = @import("guard.zig").Guard;
const Worker = @import("server.zig").Worker;
const linux = std.os.linux;

const vectors_max = 256;
const plain_text = "text/plain; charset=utf-8";

const State = enum {
    /// HTTP.
    head,
    chat,
    echo,
    /// Our close frame is queued or sent, and the one of the peer is awaited.
    closing,
    /// Whatever comes is thrown away, for the end of the connection is decided.
    discarding,
    /// It is over, but the library may still wait for the peer to see that.
    closed,
};

/// What happens when all is sent.
const After = enum { nothing, hang_up, end_sending };

pub const Doom = enum { slow, broken };

pub const Connection = struct {
    source: net.Source = .{ .kind = .connection },
    state: State = .head,
    after: After = .nothing,
    peer_has_ended: bool = false,
    /// The socket takes nothing until the kernel says so.
    is_blocked: bool = false,
    /// The library has called for what came, since it was last told that there is something.
    has_read: bool = false,
    /// It has come to the end of what the peer sends.
    is_at_end: bool = false,
    /// It does not call any more.
    is_deaf: bool = false,
    is_waking: bool = false,
    doom_kind: ?Doom = null,
    /// What the poll tells us of.
    watched: u32 = first_watched,
    fd: net.Fd,
    worker: *Worker,
    /// All connections of a thread; then those that are gone.
    node: std.DoublyLinkedList.Node = .{},
    next_waking: ?*Connection = null,
    next_doomed: ?*Connection = null,
    timer: timers_file.Timer = .{},
    join_timer: timers_file.Timer = .{},
    /// A head that is not whole yet; then what the library may not read yet.
    held: []u8 = &.{},
    socket: ?*library.Socket = null,
    guard: Guard = .{ .limit = 0, .accepts_binary = false },
    /// Why nothing more of the peer is read.
    violation: ?websocket.Error = null,
    /// The message that is not whole yet, and how much of it is known to be UTF-8.
    message: std.ArrayList(u8) = .empty,
    checked: usize = 0,
    /// Bytes at the front of the queue that the library has and the socket has not taken.
    in_flight: usize = 0,
    client: Client,

    const first_watched = net.connection_events;

    pub fn init(self: *Connection, worker: *Worker, fd: net.Fd) void {
        self.* = .{ .fd = fd, .worker = worker, .client = .{ .hub = worker.hub } };
        self.arm(&self.timer, .head);
    }

    fn gpa(self: *const Connection) std.mem.Allocator {
        return self.worker.gpa;
    }

    fn arm(self: *Connection, timer: *timers_file.Timer, class: timers_file.Class) void {
        self.worker.timers.arm(timer, class, self.worker.now_ns);
    }

    fn isOpen(self: *const Connection) bool {
        return self.state == .chat or self.state == .echo;
    }

    // --- what comes ---

    pub fn onEvent(self: *Connection, events: u32) void {
        if (events & net.peer_closed != 0) self.peer_has_ended = true;
        if (self.socket != null) {
            self.serve(events);
        } else if (self.state != .closed) {
            if (events & net.writable != 0 and self.is_blocked) {
                self.is_blocked = false;
                self.flush();
            }
            if (events & net.readable != 0) self.receive();
        }
        self.updateWatch();
    }

    /// Lets the library do what the socket is ready for.
    fn serve(self: *Connection, events: u32) void {
        const is_dead = events & (linux.EPOLL.ERR | linux.EPOLL.HUP) != 0;
        if (is_dead or events & linux.EPOLL.OUT != 0) self.serveWrite();
        if (events & net.readable != 0) self.serveRead();
        const socket = self.socket orelse return;
        if (is_dead) return self.end();
        if (self.is_blocked and !library.hasUnsent(socket)) {
            self.is_blocked = false;
            // It may owe a pong besides.
            self.serveWrite();
            self.flush();
        }
    }

    /// Portion by portion: behind each the library may have an answer to give.
    fn serveRead(self: *Connection) void {
        const frames_before = self.guard.frames;
        self.has_read = false;
        while (self.socket != null) {
            const held_before = self.held.len;
            self.worker.library.service(self, linux.POLL.IN);
            if (self.violation) |violation| self.fail(violation);
            if (self.guard.is_control) self.serveWrite();
            if (self.held.len == 0 or self.held.len == held_before or self.isPaused()) break;
        }
        // Whatever came whole is a sign of life.
        if (self.guard.frames != frames_before and self.isOpen()) self.arm(&self.timer, .idle);
        if (self.socket == null) return;
        // While the library wants to send first, it neither sees the end nor reads what would wake us again and again.
        if (self.is_at_end) return self.end();
        if (!self.has_read and !self.isOpen()) self.is_deaf = true;
    }

    /// Sends what the library keeps, and the pong that it may owe.
    fn serveWrite(self: *Connection) void {
        if (self.socket == null) return;
        self.worker.library.service(self, linux.POLL.OUT);
        const socket = self.socket orelse return;
        if (library.hasUnsent(socket)) self.is_blocked = true;
    }

    /// The library reads: it gets what the guard lets pass.
    pub fn read(self: *Connection, space: []u8) net.TransferError!usize {
        if (self.worker.adopting == self) return error.WouldBlock;
        self.has_read = true;
        if (self.violation != null or self.state == .discarding) return self.discard(space);
        const from_held = @min(space.len, self.held.len);
        const received = if (from_held != 0) from_held else try self.receiveInto(space);
        if (from_held != 0) @memcpy(space[0..from_held], self.held[0..from_held]);
        if (received == 0) return 0;
        const portion = self.guard.pass(space[0..received]);
        self.violation = portion.violation;
        const rest = if (from_held != 0) self.held[portion.bytes..] else space[portion.bytes..received];
        self.hold(if (portion.violation == null) rest else &.{});
        return if (portion.bytes == 0) error.WouldBlock else portion.bytes;
    }

    /// Takes what nobody is to see off the socket; the library only learns of the end.
    fn discard(self: *Connection, space: []u8) net.TransferError!usize {
        self.hold(&.{});
        const received = try self.receiveInto(space);
        return if (received == 0) 0 else error.WouldBlock;
    }

    fn receiveInto(self: *Connection, space: []u8) net.TransferError!usize {
        const received = net.receive(self.fd, space) catch |err| {
            self.is_at_end = err == error.Broken;
            return err;
        };
        self.is_at_end = received == 0;
        return received;
    }

    fn hold(self: *Connection, rest: []const u8) void {
        const before = self.held;
        if (rest.len == 0 and before.len == 0) return;
        self.held = self.gpa().dupe(u8, rest) catch blk: {
            self.doom(.broken);
            break :blk &.{};
        };
        self.gpa().free(before);
    }

    /// Who does not read what is sent back is not read either; a chat has its bounded queue for that.
    fn isPaused(self: *const Connection) bool {
        return self.is_blocked and (self.state == .echo or self.state == .head);
    }

    /// Tells the poll what we wait for, if that has changed.
    fn updateWatch(self: *Connection) void {
        if (self.state == .closed and self.socket == null) return;
        var events: u32 = if (self.isPaused() or self.is_deaf) 0 else linux.EPOLL.IN;
        if (!self.peer_has_ended) events |= linux.EPOLL.RDHUP;
        if (self.is_blocked) events |= linux.EPOLL.OUT;
        if (events == self.watched) return;
        self.watched = events;
        if (!self.worker.poll.rewatch(self.fd, events, &self.source)) self.doom(.broken);
    }

    // --- HTTP ---

    fn receive(self: *Connection) void {
        if (self.isPaused()) return;
        const buffer = self.worker.input;
        @memcpy(buffer[0..self.held.len], self.held);
        const received = net.receive(self.fd, buffer[self.held.len..]) catch |err| switch (err) {
            error.WouldBlock => return,
            error.Broken => return self.end(),
        };
        if (received == 0) return self.onEnd();
        var rest: []u8 = buffer[0 .. self.held.len + received];
        self.hold(&.{});
        self.readHeads(&rest);
        // What came behind the head of an upgrade is held too, for the library's first read.
        if (self.state == .discarding or self.state == .closed) return;
        self.hold(rest);
        if (self.socket != null and rest.len != 0) self.serveRead();
    }

    /// The peer sends no more. A request that it sent before still gets its answer.
    fn onEnd(self: *Connection) void {
        if (self.state != .head or self.client.queue.isEmpty()) return self.end();
        self.state = .discarding;
        self.after = .hang_up;
    }

    fn readHeads(self: *Connection, input: *[]u8) void {
        while (self.state == .head and input.len != 0) {
            const head_end = http.headEnd(input.*) orelse {
                if (input.len >= http.head_bytes_max) self.refuse(.head_too_large);
                return;
            };
            if (head_end > http.head_bytes_max) return self.refuse(.head_too_large);
            const request = http.parse(input.*[0..head_end]) catch return self.refuse(.bad_request);
            input.* = input.*[head_end..];
            self.answer(&request);
        }
    }

    /// Answers something that is no request we can go on after.
    fn refuse(self: *Connection, status: http.Status) void {
        self.respond(status, plain_text, status.body(), true, false);
    }

    fn answer(self: *Connection, request: *const http.Request) void {
        const worker = self.worker;
        switch (http.answer(request, &worker.shared.rules)) {
            .status => |status| self.reply(request, status, plain_text, status.body()),
            .metrics => self.reply(request, .ok, "text/plain; version=0.0.4; charset=utf-8", worker.metricsText()),
            .chat => |key| self.upgrade(request, key, .chat),
            .echo => |key| self.upgrade(request, key, .echo),
        }
    }

    fn reply(self: *Connection, request: *const http.Request, status: http.Status, content_type: []const u8, body: []const u8) void {
        const is_last = request.is_close or request.has_body or !request.is_1_1;
        self.respond(status, content_type, body, is_last, std.mem.eql(u8, request.method, "HEAD"));
        // The time for the next head.
        if (!is_last and self.state == .head) self.arm(&self.timer, .head);
    }

    fn respond(self: *Connection, status: http.Status, content_type: []const u8, body: []const u8, is_last: bool, is_head: bool) void {
        var buffer: [http.answer_bytes_max + metrics.text_bytes_max]u8 = undefined;
        var writer: std.Io.Writer = .fixed(&buffer);
        http.write(&writer, status, content_type, body, is_last, is_head) catch unreachable; // it has room for all we have
        const frame = Frame.createRaw(self.gpa(), writer.buffered()) catch return self.doom(.broken);
        self.send(frame, .control);
        if (!is_last) return;
        self.state = .discarding;
        self.after = .end_sending;
        self.arm(&self.timer, .close);
    }

    /// Queues a frame whatever else is queued, and lets go of it.
    fn send(self: *Connection, frame: *Frame, class: frame_file.Class) void {
        defer frame.release(self.gpa());
        self.client.queue.push(&self.worker.hub.nodes, frame, class) catch return self.doom(.broken);
        self.wake();
    }

    /// The library makes the handshake from a head that has what it needs and nothing else.
    fn upgrade(self: *Connection, request: *const http.Request, key: []const u8, state: State) void {
        const worker = self.worker;
        if (!worker.takePlace()) return self.reply(request, .full, plain_text, http.Status.full.body());
        // Answers to requests before this one go first.
        self.flush();
        if (!self.client.queue.isEmpty()) {
            worker.leavePlace();
            return self.end();
        }
        metrics.add(&worker.counters.connects, 1);
        self.state = state;
        self.guard = .{
            .limit = if (state == .echo) options_file.message_bytes_max else worker.options.max_message_bytes,
            .accepts_binary = state == .echo,
        };
        self.arm(&self.timer, .idle);
        if (state == .chat) self.arm(&self.join_timer, .join);
        var buffer: [http.answer_bytes_max]u8 = undefined;
        const format = "GET {s} HTTP/1.1\r\nHost: chat\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" ++
            "Sec-WebSocket-Key: {s}\r\nSec-WebSocket-Version: 13\r\n\r\n";
        const head = std.fmt.bufPrint(&buffer, format, .{ request.path, key }) catch unreachable; // both are short
        worker.adopting = self;
        library.serving = self;
        worker.library.adopt(self.fd, head);
        library.serving = null;
        worker.adopting = null;
        if (self.socket == null) return self.end();
        // The library has set it to the size of its reads, which would cut every burst to pieces.
        net.setSendBuffer(self.fd);
    }

    // --- WebSocket ---

    /// A piece of a message; with the last one it is whole.
    pub fn onPiece(self: *Connection, piece: []u8, is_binary: bool, is_last: bool) void {
        if (!self.isOpen() or self.violation != null) return;
        if (is_last and self.message.items.len == 0) {
            if (!is_binary and websocket.wholeCharacters(piece) != piece.len) return self.refuseText();
            return self.onMessage(piece, is_binary);
        }
        self.message.appendSlice(self.gpa(), piece) catch return self.doom(.broken);
        if (!is_binary) self.checked += websocket.wholeCharacters(self.message.items[self.checked..]) orelse return self.refuseText();
        if (!is_last) return;
        const is_text = is_binary or self.checked == self.message.items.len;
        self.checked = 0;
        if (is_text) self.onMessage(self.message.items, is_binary) else self.refuseText();
        self.message.clearAndFree(self.gpa());
    }

    fn refuseText(self: *Connection) void {
        self.violation = error.NotUtf8;
    }

    fn onMessage(self: *Connection, payload: []u8, is_binary: bool) void {
        if (self.state == .chat) return self.client.handle(message.parse(payload));
        const frame = Frame.create(self.gpa(), if (is_binary) .binary else .text, payload) catch return self.doom(.broken);
        self.send(frame, .message);
    }

    /// The peer closes, or answers our close frame. The library hangs up behind this.
    pub fn onClose(self: *Connection, payload: []u8) void {
        if (!self.isOpen()) return;
        if (websocket.closeCode(self.guard.mendClose(payload))) |code| {
            self.beginClose();
            self.sendClose(code, if (payload.len > 2) payload[2..] else "");
        } else |err| self.fail(err);
        self.state = .closing;
        self.after = .nothing;
        self.flush();
    }

    /// The peer broke the protocol: it is told, and nothing of it is read any more.
    fn fail(self: *Connection, err: websocket.Error) void {
        if (self.state == .discarding or self.state == .closed) return;
        if (self.isOpen()) {
            if (err != error.OutOfMemory) metrics.add(&self.worker.counters.protocol_errors, 1);
            switch (err) {
                error.Protocol => self.close(.protocol, "protocol error"),
                error.NotUtf8 => self.close(.not_utf8, "invalid UTF-8"),
                error.NotText => self.close(.unacceptable, "text only"),
                error.TooLarge => self.close(.too_large, "message too large"),
                error.OutOfMemory => self.close(.failure, "out of memory"),
            }
        }
        self.state = .discarding;
        self.after = .end_sending;
        if (self.client.queue.isEmpty()) self.onFlushed();
    }

    /// Closes in good order: a close frame goes out behind all that is queued.
    pub fn close(self: *Connection, code: client_file.CloseCode, reason: []const u8) void {
        if (!self.isOpen()) return;
        self.beginClose();
        self.sendClose(@backingInt(code), reason);
    }

    fn beginClose(self: *Connection) void {
        self.client.leave();
        self.state = .closing;
        self.worker.timers.disarm(&self.join_timer);
        // In a drain there is one time for all.
        if (self.worker.is_draining) self.worker.timers.disarm(&self.timer) else self.arm(&self.timer, .close);
    }

    fn sendClose(self: *Connection, code: ?u16, reason: []const u8) void {
        var payload: [125]u8 = undefined;
        var length: usize = 0;
        if (code) |number| {
            std.mem.writeInt(u16, payload[0..2], number, .big);
            @memcpy(payload[2..][0..reason.len], reason);
            length = 2 + reason.len;
        }
        const frame = Frame.create(self.gpa(), .close, payload[0..length]) catch return self.doom(.broken);
        self.send(frame, .control);
    }

    // --- what goes ---

    /// There is something to send; that happens at the end of the turn.
    pub fn wake(self: *Connection) void {
        if (self.is_waking) return;
        self.is_waking = true;
        self.next_waking = self.worker.waking;
        self.worker.waking = self;
        self.worker.nudge();
    }

    /// Sends what the socket takes.
    pub fn flush(self: *Connection) void {
        const queue = &self.client.queue;
        if (self.is_blocked or self.state == .closed or !self.worker.isActive()) return;
        while (!queue.isEmpty()) {
            var vectors: [vectors_max]std.posix.iovec_const = undefined;
            const gathered = queue.gather(&vectors);
            const written = if (self.socket) |socket| self.writeThrough(socket, gathered) else self.write(gathered);
            written catch return self.doom(.broken);
            if (self.is_blocked) return self.updateWatch();
        }
        self.onFlushed();
    }

    /// Gives the library as many frames as one write may have. What the socket does not take it keeps for us.
    fn writeThrough(self: *Connection, socket: *library.Socket, gathered: frame_file.Queue.Gathered) net.TransferError!void {
        const output = self.worker.output[library.write_headroom..];
        var length: usize = 0;
        for (gathered.vectors) |vector| {
            const part = vector.base[0..@min(vector.len, output.len - length)];
            @memcpy(output[length..][0..part.len], part);
            length += part.len;
            if (length == output.len) break;
        }
        self.in_flight = length;
        const outer = library.serving;
        library.serving = self;
        defer library.serving = outer;
        try library.write(socket, output[0..length]);
        self.is_blocked = self.in_flight != 0;
    }

    fn write(self: *Connection, gathered: frame_file.Queue.Gathered) net.TransferError!void {
        const sent = net.send(self.fd, gathered.vectors) catch |err| if (err == error.WouldBlock) 0 else return err;
        _ = self.client.queue.advance(&self.worker.hub.nodes, sent);
        self.is_blocked = sent < gathered.bytes;
    }

    /// The socket has taken so much from the library; behind what is ours there may be a pong.
    pub fn onSent(self: *Connection, bytes: usize) void {
        const ours = @min(bytes, self.in_flight);
        self.in_flight -= ours;
        metrics.add(&self.worker.counters.deliveries, self.client.queue.advance(&self.worker.hub.nodes, ours));
    }

    fn onFlushed(self: *Connection) void {
        switch (self.after) {
            .nothing => if (self.state == .closing) self.arm(&self.timer, .close),
            .hang_up => self.end(),
            .end_sending => {
                self.after = .nothing;
                net.endSending(self.fd);
                self.arm(&self.timer, .close);
            },
        }
    }

    // --- time ---

    pub fn onTimeout(self: *Connection, class: timers_file.Class) void {
        switch (class) {
            .idle => {
                const frame = Frame.create(self.gpa(), .ping, "") catch return self.doom(.broken);
                self.send(frame, .control);
                self.arm(&self.timer, .pong);
            },
            .pong => {
                metrics.add(&self.worker.counters.ping_timeouts, 1);
                self.end();
            },
            .join => self.close(.policy, "join timeout"),
            .head, .close => self.end(),
            .presence, .accept_pause, .drain => unreachable, // not timers of ours
        }
    }

    pub fn onJoined(self: *Connection) void {
        self.worker.timers.disarm(&self.join_timer);
    }

    // --- the end ---

    /// Takes nothing more; what becomes of it is decided at the end of the turn.
    pub fn doom(self: *Connection, kind: Doom) void {
        self.client.takes_messages = false;
        if (self.doom_kind == null) {
            self.next_doomed = self.worker.doomed;
            self.worker.doomed = self;
            self.worker.nudge();
        }
        // What is broken cannot be told that it is slow.
        if (self.doom_kind != .broken) self.doom_kind = kind;
    }

    pub fn bury(self: *Connection) void {
        const kind = self.doom_kind.?;
        self.doom_kind = null;
        if (self.state == .closed) return;
        if (kind == .broken) return self.end();
        if (!self.isOpen()) return;
        // What the library has it may yet send.
        self.client.dropQueue(self.client.queue.sent + self.in_flight);
        self.close(.too_slow, "too slow");
    }

    pub fn onDrain(self: *Connection) void {
        switch (self.state) {
            .head => {
                if (self.client.queue.isEmpty()) return self.end();
                self.state = .discarding;
                self.after = .hang_up;
            },
            .chat, .echo => self.close(.going_away, "going away"),
            .closing, .discarding, .closed => {},
        }
    }

    /// Ends the connection. The library may wait for the peer to see that; the timer sees to it that it does not for long.
    pub fn end(self: *Connection) void {
        if (self.socket) |socket| {
            // It was ended before, and time is over: now the library closes at once.
            // What the library keeps it would still send, after we have counted it as lost.
            if (library.hasUnsent(socket)) net.endSending(self.fd);
            if (self.state != .closed) self.finish();
            self.arm(&self.timer, .close);
            library.hangUp(socket);
            if (self.socket != null) self.updateWatch();
        } else if (self.state != .closed) {
            self.finish();
            net.close(self.fd);
            self.worker.retire(self);
        }
    }

    /// What an end means to everyone else.
    fn finish(self: *Connection) void {
        const was_websocket = self.guard.limit != 0;
        self.client.leave();
        self.client.dropQueue(0);
        self.in_flight = 0;
        self.state = .closed;
        self.worker.timers.disarm(&self.timer);
        self.worker.timers.disarm(&self.join_timer);
        self.message.clearAndFree(self.gpa());
        self.hold(&.{});
        if (!was_websocket) return;
        metrics.add(&self.worker.counters.disconnects, 1);
        self.worker.leavePlace();
    }

    /// The library has closed the socket.
    pub fn onSocketClosed(self: *Connection) void {
        self.socket = null;
        if (self.state != .closed) self.finish();
        self.worker.timers.disarm(&self.timer);
        self.worker.retire(self);
    }
};
