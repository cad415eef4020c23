//! A client of the chat: what it may say and how often, and the queue of what it is told. How the bytes come and go is
//! the business of its connection.

const std = @import("std");
const frame_file = @import("frame.zig");
const message = @import("message.zig");
const metrics = @import("metrics.zig");
const room_file = @import("room.zig");
const Connection = @import("connection.zig").Connection;
const Frame = frame_file.Frame;
const Options = @import("options.zig").Options;

/// Bytes that may wait for a client.
pub const queue_bytes_max = 1 << 20;
const faults_max = 10;

pub const CloseCode = enum(u16) {
    normal = 1000,
    going_away = 1001,
    protocol = 1002,
    unacceptable = 1003,
    not_utf8 = 1007,
    policy = 1008,
    too_large = 1009,
    failure = 1011,
    too_slow = 1013,
};

/// Lets messages pass at a rate, and some more after a silence.
///
/// Instead of counting tokens it remembers when all of them will be back: a message takes one, which is away for as long as
/// the rate says, behind those that are away already.
pub const Bucket = struct {
    full_at_ns: u64 = 0,

    pub const Limit = struct {
        /// How long it takes for a token to come back; 0 is no limit.
        token_ns: u64,
        tokens: u32,
    };

    pub fn take(self: *Bucket, limit: Limit, now_ns: u64) bool {
        if (limit.token_ns == 0) return true;
        const full_at_ns = @max(self.full_at_ns, now_ns) +| limit.token_ns;
        if (full_at_ns - now_ns > limit.token_ns *| limit.tokens) return false;
        self.full_at_ns = full_at_ns;
        return true;
    }
};

pub const Client = struct {
    hub: *room_file.Hub,
    room: ?*room_file.Room = null,
    /// Where it is among the members of its room.
    place: u32 = 0,
    faults: u8 = 0,
    /// Nothing more is for a client that is about to be closed.
    takes_messages: bool = true,
    nick: []const u8 = "",
    bucket: Bucket = .{},
    queue: frame_file.Queue = .{},

    fn connection(self: *Client) *Connection {
        return @alignCast(@fieldParentPtr("client", self));
    }

    /// Does what a message asks for.
    pub fn handle(self: *Client, parsed: message.ParseError!message.Message) void {
        self.tryHandle(parsed) catch self.connection().close(.failure, "out of memory");
    }

    fn tryHandle(self: *Client, parsed: message.ParseError!message.Message) error{OutOfMemory}!void {
        const request = parsed catch |err| return self.complain(switch (err) {
            error.NotJson => .@"not json",
            error.NotAnObject => .@"not an object",
            error.UnknownType => .@"unknown type",
        });
        switch (request.kind) {
            .join => {
                const room = request.room orelse return self.complain(.@"bad room");
                const nick = request.nick orelse return self.complain(.@"bad nick");
                if (self.room != null) return self.complain(.@"joined already");
                try self.hub.join(self, room, nick);
                self.connection().onJoined();
            },
            .chat => try self.chat(&request),
            .leave => {
                const room = self.room orelse return self.complain(.@"not joined");
                try self.say(message.left(&self.hub.scratch, room.name));
                self.connection().close(.normal, "left");
            },
        }
    }

    fn chat(self: *Client, request: *const message.Message) error{OutOfMemory}!void {
        const hub = self.hub;
        metrics.add(&hub.counters.offered, 1);
        const text = request.text orelse return self.complain(.@"bad text");
        const id = request.id orelse return self.complain(.@"bad id");
        if (self.room == null) return self.complain(.@"not joined");
        if (self.bucket.take(hub.options.rate, hub.now_ns)) return hub.accept(self, id, text);
        metrics.add(&hub.counters.refused, 1);
        try self.say(message.refused(&hub.scratch, id));
    }

    fn complain(self: *Client, fault: message.Fault) error{OutOfMemory}!void {
        try self.say(message.fault(&self.hub.scratch, fault));
        self.faults += 1;
        if (self.faults == faults_max) self.connection().close(.policy, "too many errors");
    }

    /// Queues a message that only this client gets.
    pub fn say(self: *Client, text: []const u8) error{OutOfMemory}!void {
        const frame: *Frame = try .create(self.hub.gpa, .text, text);
        defer frame.release(self.hub.gpa);
        self.offer(frame, .message);
    }

    /// Queues a frame, unless the queue is full even after the socket has taken what it can.
    pub fn offer(self: *Client, frame: *Frame, class: frame_file.Class) void {
        if (self.takes_messages and self.isFull(frame)) {
            self.connection().flush();
            if (self.takes_messages and self.isFull(frame)) self.giveUp();
        }
        if (self.takes_messages) self.queue.push(&self.hub.nodes, frame, class) catch self.giveUp();
        if (self.takes_messages) {
            self.connection().wake();
        } else if (class == .delivery) {
            metrics.add(&self.hub.counters.dropped, 1);
        }
    }

    fn isFull(self: *const Client, frame: *const Frame) bool {
        return self.queue.messages >= self.hub.options.queue or self.queue.bytes + frame.length > queue_bytes_max;
    }

    /// A slow consumer. It goes at the end of the turn, for we may be in the middle of its room's members.
    fn giveUp(self: *Client) void {
        self.takes_messages = false;
        metrics.add(&self.hub.counters.slow_consumers, 1);
        self.connection().doom(.slow);
    }

    /// The room goes on without it.
    pub fn leave(self: *Client) void {
        self.takes_messages = false;
        self.hub.leave(self);
    }

    /// Forgets what waits, but for the frames that hold the first bytes.
    pub fn dropQueue(self: *Client, kept_bytes: usize) void {
        metrics.add(&self.hub.counters.dropped, self.queue.drop(&self.hub.nodes, kept_bytes));
    }
};

test Bucket {
    const ms = std.time.ns_per_ms;
    const limit: Bucket.Limit = .{ .token_ns = 100 * ms, .tokens = 3 };
    var bucket: Bucket = .{};
    const start = 5000 * ms;
    for (0..3) |_| try std.testing.expect(bucket.take(limit, start));
    try std.testing.expect(!bucket.take(limit, start));
    try std.testing.expect(!bucket.take(limit, start + 99 * ms));
    try std.testing.expect(bucket.take(limit, start + 100 * ms));
    try std.testing.expect(!bucket.take(limit, start + 199 * ms));
    // A refused message costs nothing, and no silence saves up more than the burst.
    for (0..3) |_| try std.testing.expect(bucket.take(limit, start + 9000 * ms));
    try std.testing.expect(!bucket.take(limit, start + 9000 * ms));
    for (0..100) |_| try std.testing.expect(bucket.take(.{ .token_ns = 0, .tokens = 1 }, start));
}
