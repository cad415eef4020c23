//! One connection: an HTTP request or a few, then a WebSocket. Bytes come in as the kernel has them and are judged where
//! they are; what is due goes out at the end of the turn, in one call however much it is.

const std = @import("std");
const client_file = @import("client.zig");
const frame_file = @import("frame.zig");
const http = @import("http.zig");
const message = @import("message.zig");
const metrics = @import("metrics.zig");
const net = @import("net.zig");
const options_file = @import("options.zig");
const timers_file = @import("timers.zig");
const websocket = @import("websocket.zig");
const Client = client_file.Client;
const Frame = frame_file.Frame;
const Worker = @import("server.zig").Worker;

/// Frames in one call. The kernel takes up to 1024.
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
    closed,
};

/// What happens when all is sent.
const After = enum { nothing, hang_up, end_sending };

pub const Doom = enum { slow, broken };

/// A client on its way to the thread where its room lives.
pub const Move = struct { to: *Worker, room: []const u8, nick: []const u8 };

pub const Connection = struct {
    source: net.Source = .{ .kind = .connection },
    state: State = .head,
    after: After = .nothing,
    /// There may be more to read.
    is_readable: bool = false,
    peer_has_ended: bool = false,
    /// The socket takes nothing until the kernel says so.
    is_blocked: bool = false,
    is_waking: bool = false,
    is_postponed: bool = false,
    doom_kind: ?Doom = null,
    fd: net.Fd,
    worker: *Worker,
    /// All connections of a thread; then those that are closed.
    node: std.DoublyLinkedList.Node = .{},
    next_waking: ?*Connection = null,
    next_doomed: ?*Connection = null,
    postponed_node: std.DoublyLinkedList.Node = .{},
    timer: timers_file.Timer = .{},
    join_timer: timers_file.Timer = .{},
    /// What has come and is not whole yet: a head, or the beginning of a frame.
    held: []u8 = &.{},
    reader: websocket.Reader = .{ .limit = 0, .accepts_binary = false },
    move: ?*Move = null,
    client: Client,

    pub fn init(self: *Connection, worker: *Worker, fd: net.Fd) void {
        self.* = .{ .fd = fd, .worker = worker, .client = .{ .hub = &worker.hub } };
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
        if (self.state == .closed) return;
        if (events & net.readable != 0) self.is_readable = true;
        if (events & net.peer_closed != 0) self.peer_has_ended = true;
        if (events & net.writable != 0 and self.is_blocked) {
            self.is_blocked = false;
            self.flush();
        }
        self.receive();
    }

    /// Reads once and does what came.
    pub fn receive(self: *Connection) void {
        // Who does not read its answers is not read either; a chat has its bounded queue for that.
        const is_paused = self.is_blocked and (self.state == .head or self.state == .echo);
        if (!self.is_readable or is_paused or self.state == .closed or self.move != null) return;
        const buffer = self.worker.input;
        @memcpy(buffer[0..self.held.len], self.held);
        const space = buffer[self.held.len..];
        const received = net.receive(self.fd, space) catch |err| switch (err) {
            error.WouldBlock => {
                self.is_readable = false;
                return;
            },
            error.Broken => return self.end(),
        };
        if (received == 0) return self.onEnd();
        // A short read has taken all, unless the end is behind it.
        self.is_readable = received == space.len or self.peer_has_ended;
        self.consume(buffer[0 .. self.held.len + received]);
        if (self.is_readable) self.worker.postpone(self);
    }

    /// The peer sends no more. A request that it sent before still gets its answer.
    fn onEnd(self: *Connection) void {
        self.is_readable = false;
        if (self.state != .head or self.client.queue.isEmpty()) return self.end();
        self.state = .discarding;
        self.after = .hang_up;
    }

    /// Does all that is whole in these bytes, and keeps the rest.
    fn consume(self: *Connection, bytes: []u8) void {
        var rest = bytes;
        if (self.state == .head) self.readHeads(&rest);
        switch (self.state) {
            .chat, .echo, .closing => self.readFrames(&rest),
            .head, .discarding, .closed => {},
        }
        if (self.state == .discarding or self.state == .closed) rest = &.{};
        const before = self.held;
        if (rest.len == 0 and before.len == 0) return;
        self.held = self.gpa().dupe(u8, rest) catch {
            self.held = before;
            return self.doom(.broken);
        };
        self.gpa().free(before);
    }

    /// Goes on with what was held when the connection came from another thread.
    pub fn replay(self: *Connection) void {
        const bytes = self.worker.input[0..self.held.len];
        @memcpy(bytes, self.held);
        self.consume(bytes);
    }

    // --- HTTP ---

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
        self.sendRaw(writer.buffered());
        if (!is_last) return;
        self.state = .discarding;
        self.after = .end_sending;
        self.arm(&self.timer, .close);
    }

    fn sendRaw(self: *Connection, text: []const u8) void {
        const frame = Frame.createRaw(self.gpa(), text) catch return self.doom(.broken);
        self.send(frame, .control);
    }

    /// Queues a frame whatever else is queued, and lets go of it.
    fn send(self: *Connection, frame: *Frame, class: frame_file.Class) void {
        defer frame.release(self.gpa());
        self.client.queue.push(&self.worker.hub.nodes, frame, class) catch return self.doom(.broken);
        self.wake();
    }

    fn upgrade(self: *Connection, request: *const http.Request, key: []const u8, state: State) void {
        const worker = self.worker;
        if (!worker.takePlace()) return self.reply(request, .full, plain_text, http.Status.full.body());
        var buffer: [http.answer_bytes_max]u8 = undefined;
        self.sendRaw(http.switchProtocols(&buffer, key));
        metrics.add(&worker.counters.connects, 1);
        self.state = state;
        self.reader = .{
            .limit = if (state == .echo) options_file.message_bytes_max else worker.options.max_message_bytes,
            .accepts_binary = state == .echo,
        };
        self.arm(&self.timer, .idle);
        if (state == .chat) self.arm(&self.join_timer, .join);
    }

    // --- WebSocket ---

    fn readFrames(self: *Connection, input: *[]u8) void {
        const frames_before = self.reader.frames;
        while (self.move == null and (self.isOpen() or self.state == .closing)) {
            const event = self.reader.next(self.gpa(), input) catch |err| return self.fail(err);
            switch (event orelse break) {
                .text => |payload| switch (self.state) {
                    .chat => self.hear(payload),
                    .echo => self.echo(.text, payload),
                    else => {},
                },
                .binary => |payload| if (self.state == .echo) self.echo(.binary, payload),
                .ping => |payload| self.pong(payload),
                .pong => {},
                .close => |payload| return self.onClose(payload, input.len != 0),
            }
        }
        // Whatever came whole is a sign of life.
        if (self.reader.frames != frames_before and self.isOpen()) self.arm(&self.timer, .idle);
    }

    fn hear(self: *Connection, payload: []u8) void {
        const parsed = message.parse(payload);
        if (self.worker.homeOf(&self.client, parsed)) |worker| {
            self.planMove(worker, parsed catch unreachable) catch self.close(.failure, "out of memory");
        } else {
            self.client.handle(parsed);
        }
    }

    fn echo(self: *Connection, opcode: frame_file.Opcode, payload: []const u8) void {
        const frame = Frame.create(self.gpa(), opcode, payload) catch return self.doom(.broken);
        self.send(frame, .message);
    }

    fn pong(self: *Connection, payload: []const u8) void {
        if (!self.isOpen()) return;
        const frame = Frame.create(self.gpa(), .pong, payload) catch return self.doom(.broken);
        if (self.state == .echo) return self.send(frame, .message);
        // Pongs have a place in the bounded queue like all that a client can cause.
        defer frame.release(self.gpa());
        self.client.offer(frame, .message);
    }

    fn onClose(self: *Connection, payload: []const u8, has_more: bool) void {
        const was_open = self.isOpen();
        const code = websocket.closeCode(payload) catch |err| return self.fail(err);
        if (was_open) {
            self.beginClose();
            self.sendClose(code, if (payload.len > 2) payload[2..] else "");
        }
        self.state = .discarding;
        // A socket that is closed with something unread in it resets the connection, and our close frame may be lost.
        self.after = if (has_more or self.is_readable) .end_sending else .hang_up;
        if (!was_open and self.client.queue.isEmpty()) self.onFlushed();
    }

    /// The peer broke the protocol: it is told, and nothing of it is read any more.
    fn fail(self: *Connection, err: websocket.Error) void {
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
    pub inline fn wake(self: *Connection) void {
        if (self.is_waking) return;
        self.is_waking = true;
        self.next_waking = self.worker.waking;
        self.worker.waking = self;
    }

    /// Sends what the socket takes.
    pub fn flush(self: *Connection) void {
        const queue = &self.client.queue;
        if (self.is_blocked or self.state == .closed) return;
        while (!queue.isEmpty()) {
            var vectors: [vectors_max]std.posix.iovec_const = undefined;
            const gathered = queue.gather(&vectors);
            const sent = net.send(self.fd, gathered.vectors) catch |err| switch (err) {
                error.WouldBlock => 0,
                error.Broken => return self.doom(.broken),
            };
            metrics.add(&self.worker.counters.deliveries, queue.advance(&self.worker.hub.nodes, sent));
            if (sent < gathered.bytes) {
                self.is_blocked = true;
                return;
            }
        }
        self.onFlushed();
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
        self.client.dropQueue(self.client.queue.sent);
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

    /// Ends the connection at once.
    pub fn end(self: *Connection) void {
        if (self.state == .closed) return;
        const was_websocket = self.reader.limit != 0;
        self.client.leave();
        self.client.dropQueue(0);
        self.state = .closed;
        self.worker.timers.disarm(&self.timer);
        self.worker.timers.disarm(&self.join_timer);
        net.close(self.fd);
        self.reader.deinit(self.gpa());
        self.gpa().free(self.held);
        self.held = &.{};
        self.freeMove();
        if (was_websocket) {
            metrics.add(&self.worker.counters.disconnects, 1);
            self.worker.leavePlace();
        }
        self.worker.retire(self);
    }

    // --- from thread to thread ---

    fn planMove(self: *Connection, worker: *Worker, request: message.Message) error{OutOfMemory}!void {
        const move = try self.gpa().create(Move);
        errdefer self.gpa().destroy(move);
        const room = try self.gpa().dupe(u8, request.room.?);
        errdefer self.gpa().free(room);
        const nick = try self.gpa().dupe(u8, request.nick.?);
        errdefer self.gpa().free(nick);
        try self.worker.planMove(self);
        move.* = .{ .to = worker, .room = room, .nick = nick };
        self.move = move;
    }

    fn freeMove(self: *Connection) void {
        const move = self.move orelse return;
        self.gpa().free(move.room);
        self.gpa().free(move.nick);
        self.gpa().destroy(move);
        self.move = null;
    }

    /// Leaves its thread.
    pub fn depart(self: *Connection) void {
        self.worker.poll.unwatch(self.fd);
        self.worker.timers.disarm(&self.timer);
        self.worker.timers.disarm(&self.join_timer);
    }

    /// Is at home in another thread, and joins the room that it came for.
    pub fn arrive(self: *Connection, worker: *Worker) void {
        self.worker = worker;
        self.client.hub = &worker.hub;
        // The poll of this thread tells anew what there is.
        self.is_readable = false;
        self.is_blocked = false;
        self.arm(&self.timer, .idle);
        const move = self.move.?;
        self.client.handle(.{ .kind = .join, .room = move.room, .nick = move.nick });
        self.freeMove();
        self.replay();
        self.wake();
    }
};
