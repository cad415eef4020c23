//! What goes to clients: bytes that are encoded once and shared by all who get them, and the queue of one client.

const std = @import("std");

pub const Opcode = enum(u8) { text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

/// The longest header of a frame of a server, which masks nothing.
pub const header_bytes_max = 10;

/// Writes a frame's header; returns how long it is.
pub fn writeHeader(buffer: *[header_bytes_max]u8, opcode: Opcode, payload_bytes: usize) usize {
    buffer[0] = 0x80 | @backingInt(opcode);
    if (payload_bytes < 126) {
        buffer[1] = @intCast(payload_bytes);
        return 2;
    }
    if (payload_bytes <= std.math.maxInt(u16)) {
        buffer[1] = 126;
        std.mem.writeInt(u16, buffer[2..4], @intCast(payload_bytes), .big);
        return 4;
    }
    buffer[1] = 127;
    std.mem.writeInt(u64, buffer[2..10], payload_bytes, .big);
    return 10;
}

/// Bytes with a count of those who hold them. They follow the struct in memory.
pub const Frame = struct {
    references: u32,
    length: u32,

    /// A whole WebSocket frame, with one reference for the caller.
    pub fn create(gpa: std.mem.Allocator, opcode: Opcode, payload: []const u8) error{OutOfMemory}!*Frame {
        var header: [header_bytes_max]u8 = undefined;
        const header_bytes = writeHeader(&header, opcode, payload.len);
        const self = try allocate(gpa, header_bytes + payload.len);
        @memcpy(self.memory()[0..header_bytes], header[0..header_bytes]);
        @memcpy(self.memory()[header_bytes..], payload);
        return self;
    }

    /// Bytes as they are: no frame of WebSocket, but an answer of HTTP.
    pub fn createRaw(gpa: std.mem.Allocator, text: []const u8) error{OutOfMemory}!*Frame {
        const self = try allocate(gpa, text.len);
        @memcpy(self.memory(), text);
        return self;
    }

    fn allocate(gpa: std.mem.Allocator, length: usize) error{OutOfMemory}!*Frame {
        const allocated = try gpa.alignedAlloc(u8, .of(Frame), @sizeOf(Frame) + length);
        const self: *Frame = @ptrCast(allocated.ptr);
        self.* = .{ .references = 1, .length = @intCast(length) };
        return self;
    }

    fn memory(self: *Frame) []u8 {
        const start: [*]u8 = @ptrCast(self);
        return start[@sizeOf(Frame)..][0..self.length];
    }

    pub fn bytes(self: *const Frame) []const u8 {
        const start: [*]const u8 = @ptrCast(self);
        return start[@sizeOf(Frame)..][0..self.length];
    }

    pub fn retain(self: *Frame) *Frame {
        self.references += 1;
        return self;
    }

    pub fn release(self: *Frame, gpa: std.mem.Allocator) void {
        self.references -= 1;
        if (self.references != 0) return;
        const start: [*]align(@alignOf(Frame)) u8 = @ptrCast(self);
        gpa.free(start[0 .. @sizeOf(Frame) + self.length]);
    }
};

/// What a frame in a queue is to the counters.
pub const Class = enum(u2) {
    /// A new chat message: it is delivered, or it is dropped.
    delivery,
    /// Any other message. It takes a place in the queue too.
    message,
    /// Pings and closes of ours, and what is not WebSocket: never many.
    control,
};

/// A frame in a queue and what it is there, in one word: the low bits of a pointer are free.
const Entry = struct {
    word: usize,

    comptime {
        std.debug.assert(@alignOf(Frame) > std.math.maxInt(u2));
    }

    fn of(held: *Frame, kind: Class) Entry {
        return .{ .word = @intFromPtr(held) | @backingInt(kind) };
    }

    fn frame(self: Entry) *Frame {
        return @ptrFromInt(self.word & ~@as(usize, std.math.maxInt(u2)));
    }

    fn class(self: Entry) Class {
        return @fromBackingInt(@as(u2, @truncate(self.word)));
    }
};

/// The frames that wait for one client. An idle client has none, and then its queue owns no memory.
pub const Queue = struct {
    first: ?*Node = null,
    last: ?*Node = null,
    /// Messages in it, control frames not counted.
    messages: u32 = 0,
    bytes: u32 = 0,
    /// How much of the first frame is sent.
    sent: u32 = 0,
    /// Where the first frame is in the first node, and the next one will be in the last.
    head: u8 = 0,
    tail: u8 = 0,

    /// Many frames a node: with one each, what waits for a thousand clients would be spread over more memory than caches
    /// hold, and a delivery would cost little but the wait for it.
    pub const Node = struct {
        next: ?*Node align(std.atomic.cache_line),
        entries: [entries_per_node]Entry,
    };

    /// A node is two cache lines.
    const entries_per_node = 15;

    /// The nodes of all queues of a thread.
    pub const Nodes = struct {
        gpa: std.mem.Allocator,
        pool: std.heap.MemoryPool(Node) = .empty,
    };

    pub fn isEmpty(self: *const Queue) bool {
        return self.first == null;
    }

    /// Appends a frame; the queue gets a reference of its own.
    pub fn push(self: *Queue, nodes: *Nodes, frame: *Frame, class: Class) error{OutOfMemory}!void {
        if (self.last == null or self.tail == entries_per_node) try self.grow(nodes);
        self.last.?.entries[self.tail] = .of(frame.retain(), class);
        self.tail += 1;
        self.bytes += frame.length;
        self.messages += @intFromBool(class != .control);
    }

    fn grow(self: *Queue, nodes: *Nodes) error{OutOfMemory}!void {
        const node: *Node = try nodes.pool.create(nodes.gpa);
        node.next = null;
        if (self.last) |last| last.next = node else self.first = node;
        self.last = node;
        self.tail = 0;
    }

    /// The frames in one node of this queue.
    fn entriesOf(self: *const Queue, node: *const Node) []const Entry {
        const start = if (node == self.first) self.head else 0;
        const end = if (node == self.last) self.tail else entries_per_node;
        return node.entries[start..end];
    }

    pub const Gathered = struct { vectors: []const std.posix.iovec_const, bytes: usize };

    /// Lists what is not sent yet, as far as there is room for it.
    pub fn gather(self: *const Queue, room: []std.posix.iovec_const) Gathered {
        var count: usize = 0;
        var total_bytes: usize = 0;
        var skipped: usize = self.sent;
        var next: ?*const Node = self.first;
        while (next) |node| : (next = node.next) {
            if (count == room.len) break;
            const entries = self.entriesOf(node);
            for (entries[0..@min(entries.len, room.len - count)]) |entry| {
                const rest = entry.frame().bytes()[skipped..];
                room[count] = .{ .base = rest.ptr, .len = rest.len };
                skipped = 0;
                count += 1;
                total_bytes += rest.len;
            }
        }
        return .{ .vectors = room[0..count], .bytes = total_bytes };
    }

    /// So many bytes of what was gathered have gone; says how many deliveries are whole now.
    pub fn advance(self: *Queue, nodes: *Nodes, sent_bytes: usize) u32 {
        var deliveries: u32 = 0;
        var left = sent_bytes + self.sent;
        while (self.first) |node| {
            for (self.entriesOf(node)) |entry| {
                const length = entry.frame().length;
                if (left < length) {
                    self.sent = @intCast(left);
                    return deliveries;
                }
                left -= length;
                self.head += 1;
                deliveries += self.forget(nodes, entry);
            }
            self.first = node.next;
            if (node.next == null) self.last = null;
            self.head = 0;
            nodes.pool.destroy(node);
        }
        self.sent = 0;
        return deliveries;
    }

    /// Empties the queue, but for the frames that hold its first `kept_bytes`; says how many deliveries were lost.
    pub fn drop(self: *Queue, nodes: *Nodes, kept_bytes: usize) u32 {
        var kept_last: ?*Node = null;
        var kept_tail: u8 = 0;
        var left = kept_bytes;
        var lost: u32 = 0;
        var next = self.first;
        while (next) |node| {
            const entries = self.entriesOf(node);
            var kept: u8 = 0;
            while (left != 0 and kept < entries.len) : (kept += 1) left -|= entries[kept].frame().length;
            for (entries[kept..]) |entry| lost += self.forget(nodes, entry);
            if (kept != 0) kept_tail = kept + if (node == self.first) self.head else 0;
            if (kept != 0) kept_last = node;
            next = node.next;
            if (kept == 0) nodes.pool.destroy(node);
        }
        self.last = kept_last;
        self.tail = kept_tail;
        if (kept_last) |last| {
            last.next = null;
        } else {
            self.first = null;
            self.head = 0;
            self.sent = 0;
        }
        return lost;
    }

    /// Lets go of what is no longer in the queue; 1 if it was a delivery.
    fn forget(self: *Queue, nodes: *Nodes, entry: Entry) u32 {
        const frame = entry.frame();
        self.bytes -= frame.length;
        self.messages -= @intFromBool(entry.class() != .control);
        frame.release(nodes.gpa);
        return @intFromBool(entry.class() == .delivery);
    }
};

test "headers of frames" {
    const gpa = std.testing.allocator;
    for ([_]struct { usize, []const u8 }{
        .{ 0, "\x81\x00" },
        .{ 125, "\x81\x7d" },
        .{ 126, "\x81\x7e\x00\x7e" },
        .{ 65535, "\x81\x7e\xff\xff" },
        .{ 65536, "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00" },
    }) |row| {
        const payload = try gpa.alloc(u8, row[0]);
        defer gpa.free(payload);
        @memset(payload, 'x');
        const frame: *Frame = try .create(gpa, .text, payload);
        defer frame.release(gpa);
        try std.testing.expectEqualStrings(row[1], frame.bytes()[0..row[1].len]);
        try std.testing.expectEqual(row[1].len + row[0], frame.bytes().len);
    }
}

/// Puts deliveries of these texts into a queue.
fn testQueue(nodes: *Queue.Nodes, queue: *Queue, texts: []const []const u8) !void {
    for (texts) |text| {
        const frame: *Frame = try .createRaw(nodes.gpa, text);
        defer frame.release(nodes.gpa);
        try queue.push(nodes, frame, .delivery);
    }
}

test "a queue is sent in any pieces" {
    var nodes: Queue.Nodes = .{ .gpa = std.testing.allocator };
    defer nodes.pool.deinit(nodes.gpa);
    for (1..12) |step| {
        var queue: Queue = .{};
        try testQueue(&nodes, &queue, &.{ "one", "two", "three" });
        try std.testing.expectEqual(3, queue.messages);
        var text: [11]u8 = undefined;
        var end: usize = 0;
        var deliveries: u32 = 0;
        while (!queue.isEmpty()) {
            var vectors: [2]std.posix.iovec_const = undefined;
            var left = step;
            var sent: usize = 0;
            for (queue.gather(&vectors).vectors) |vector| {
                const part = vector.base[0..@min(left, vector.len)];
                @memcpy(text[end..][0..part.len], part);
                end += part.len;
                sent += part.len;
                left -= part.len;
            }
            deliveries += queue.advance(&nodes, sent);
        }
        try std.testing.expectEqualStrings("onetwothree", &text);
        try std.testing.expectEqual(3, deliveries);
        try std.testing.expectEqual(0, queue.bytes);
        try std.testing.expectEqual(0, queue.messages);
    }
}

test "frames that are begun can be kept" {
    var nodes: Queue.Nodes = .{ .gpa = std.testing.allocator };
    defer nodes.pool.deinit(nodes.gpa);
    var queue: Queue = .{};
    try testQueue(&nodes, &queue, &.{ "one", "two" });
    try std.testing.expectEqual(1, queue.advance(&nodes, 4));
    try testQueue(&nodes, &queue, &.{"three"});
    try std.testing.expectEqual(1, queue.drop(&nodes, queue.sent));
    try std.testing.expectEqual(3, queue.bytes);
    try testQueue(&nodes, &queue, &.{"four"});
    var vectors: [4]std.posix.iovec_const = undefined;
    const gathered = queue.gather(&vectors).vectors;
    try std.testing.expectEqual(2, gathered.len);
    try std.testing.expectEqualStrings("wo", gathered[0].base[0..gathered[0].len]);
    try std.testing.expectEqual(1, queue.advance(&nodes, 2));
    try std.testing.expectEqual(1, queue.drop(&nodes, queue.sent));
    try std.testing.expect(queue.isEmpty());
    try testQueue(&nodes, &queue, &.{"five"});
    _ = queue.advance(&nodes, 1);
    try std.testing.expectEqual(1, queue.drop(&nodes, 0));
    try std.testing.expectEqual(0, queue.sent);
}

test "a queue of many nodes" {
    var nodes: Queue.Nodes = .{ .gpa = std.testing.allocator };
    defer nodes.pool.deinit(nodes.gpa);
    const count = 100;
    const texts: [count][]const u8 = @splat("ab");
    for (0..2 * count + 1) |sent| {
        var queue: Queue = .{};
        try testQueue(&nodes, &queue, &texts);
        var vectors: [count + 1]std.posix.iovec_const = undefined;
        try std.testing.expectEqual(2 * count, queue.gather(&vectors).bytes);
        try std.testing.expectEqual(7, queue.gather(vectors[0..7]).vectors.len);
        const whole: u32 = @intCast(sent / 2);
        try std.testing.expectEqual(whole, queue.advance(&nodes, sent));
        try std.testing.expectEqual(2 * count - sent, queue.gather(&vectors).bytes);
        // As many frames are kept as it takes for so many bytes.
        const kept: u32 = @min(10, count - whole);
        try std.testing.expectEqual(count - whole - kept, queue.drop(&nodes, 2 * kept));
        try std.testing.expectEqual(kept, queue.messages);
        try std.testing.expectEqual(2 * kept, queue.bytes);
        try testQueue(&nodes, &queue, &texts);
        try std.testing.expectEqual(kept + count, queue.drop(&nodes, 0));
        try std.testing.expect(queue.isEmpty());
    }
}
