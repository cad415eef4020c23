//! The memory that bytes flow through: blocks of one size, and a pipe for one direction of one connection.
//!
//! A connection owns a block only while bytes of it are on their way. The blocks that were used last are used next, so
//! a busy proxy works in a few warm ones, and an idle connection holds none.

const std = @import("std");

/// Room in front of the bytes of a fresh block: a head grows to the left when header lines are added.
pub const headroom_bytes = 512;
/// What a head may grow besides, and the end of a chunk behind a full block.
const growth_bytes = 1024;
/// How much a read may find, and the largest head of a response.
pub const data_bytes = 64 << 10;

pub const Blocks = struct {
    gpa: std.mem.Allocator,
    /// Where reads must stop; behind it is room for what a head may grow.
    limit: u32,
    capacity: u32,
    stride: usize,
    free: ?*Free = null,

    const Free = struct { next: ?*Free };
    const blocks_per_slab = 16;
    const page_bytes = 4096;
    const alignment: std.mem.Alignment = .@"64";

    /// `head_bytes` is the longest head of a request: a rewritten head repeats at most the host in it. A block also
    /// holds a whole reply of `reply_bytes`.
    pub fn init(gpa: std.mem.Allocator, head_bytes: u32, reply_bytes: u32) Blocks {
        // A head that is one byte too long must be seen to be that.
        const limit = headroom_bytes + @max(data_bytes, head_bytes) + 64;
        const capacity = @max(limit + head_bytes, headroom_bytes + reply_bytes) + growth_bytes;
        return .{
            .gpa = gpa,
            .limit = limit,
            .capacity = capacity,
            // An odd number of cache lines: with a power of two between them, the first bytes of all blocks would
            // compete for a few lines of the cache.
            .stride = std.mem.alignForward(usize, capacity, page_bytes) + 5 * 64,
        };
    }

    pub fn acquire(self: *Blocks) error{OutOfMemory}![*]u8 {
        if (self.free == null) try self.grow();
        const block = self.free.?;
        self.free = block.next;
        return @ptrCast(block);
    }

    pub fn release(self: *Blocks, block: [*]u8) void {
        const free: *Free = @ptrCast(@alignCast(block));
        free.next = self.free;
        self.free = free;
    }

    /// Pages that nobody touches cost nothing, so a slab is only a piece of address space.
    fn grow(self: *Blocks) error{OutOfMemory}!void {
        const slab = try self.gpa.alignedAlloc(u8, alignment, self.stride * blocks_per_slab);
        for (0..blocks_per_slab) |i| self.release(slab.ptr + i * self.stride);
    }
};

/// Bytes on their way from one socket to another: start..ready may be sent, ready..end is not judged yet.
pub const Pipe = struct {
    block: ?[*]u8 = null,
    start: u32 = 0,
    ready: u32 = 0,
    end: u32 = 0,

    /// What may be sent.
    pub inline fn pending(self: *const Pipe) []const u8 {
        return if (self.block) |block| block[self.start..self.ready] else &.{};
    }

    /// What has come and is not judged yet.
    pub inline fn unjudged(self: *const Pipe) []u8 {
        return if (self.block) |block| block[self.ready..self.end] else &.{};
    }

    pub inline fn hasPending(self: *const Pipe) bool {
        return self.start != self.ready;
    }

    /// The place for the next bytes. All pending bytes have been sent, or the space is what is left behind them.
    pub fn space(self: *Pipe, blocks: *Blocks) error{OutOfMemory}![]u8 {
        const block = self.block orelse {
            const fresh = try blocks.acquire();
            self.* = .{ .block = fresh, .start = headroom_bytes, .ready = headroom_bytes, .end = headroom_bytes };
            return fresh[headroom_bytes..blocks.limit];
        };
        if (self.start == self.end) {
            self.start = headroom_bytes;
            self.ready = headroom_bytes;
            self.end = headroom_bytes;
        } else if (self.end >= blocks.limit and self.start > headroom_bytes) {
            self.moveTo(headroom_bytes);
        }
        return if (self.end < blocks.limit) block[self.end..blocks.limit] else &.{};
    }

    /// Moves everything so that it starts at a place.
    fn moveTo(self: *Pipe, start: u32) void {
        const block = self.block.?;
        const length = self.end - self.start;
        @memmove(block[start..][0..length], block[self.start..self.end]);
        self.ready = start + (self.ready - self.start);
        self.end = start + length;
        self.start = start;
    }

    /// Puts a new head in the place of the first `old_bytes` that are not judged yet, and makes it ready. Nothing else
    /// is pending. The new head grows into the room in front of it; only where that is short, the rest moves.
    pub fn replaceHead(self: *Pipe, old_bytes: usize, head: []const u8) void {
        std.debug.assert(!self.hasPending());
        const block = self.block.?;
        const rest = self.ready + @as(u32, @intCast(old_bytes));
        const length: u32 = @intCast(head.len);
        if (length > rest) {
            const behind = self.end - rest;
            @memmove(block[length..][0..behind], block[rest..self.end]);
            self.start = 0;
            self.end = length + behind;
        } else {
            self.start = rest - length;
        }
        self.ready = self.start + length;
        @memcpy(block[self.start..self.ready], head);
    }

    /// Appends bytes that may be sent at once; nothing is unjudged, and a few bytes always have room.
    pub fn append(self: *Pipe, bytes: []const u8) void {
        std.debug.assert(self.ready == self.end);
        @memcpy(self.block.?[self.end..][0..bytes.len], bytes);
        self.end += @intCast(bytes.len);
        self.ready = self.end;
    }

    /// Puts bytes in front of those that are pending; the head room holds them.
    pub fn prepend(self: *Pipe, bytes: []const u8) void {
        self.start -= @intCast(bytes.len);
        @memcpy(self.block.?[self.start..][0..bytes.len], bytes);
    }

    /// Gives the block back when nothing is in it.
    pub fn releaseIfEmpty(self: *Pipe, blocks: *Blocks) void {
        if (self.start == self.end) self.release(blocks);
    }

    pub fn release(self: *Pipe, blocks: *Blocks) void {
        if (self.block) |block| blocks.release(block);
        self.* = .{};
    }
};

fn testPipe(blocks: *Blocks, bytes: []const u8) !Pipe {
    var pipe: Pipe = .{};
    const space = try pipe.space(blocks);
    @memcpy(space[0..bytes.len], bytes);
    pipe.end += @intCast(bytes.len);
    return pipe;
}

test "a head is replaced by a shorter, a longer and a very long one" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var blocks: Blocks = .init(arena.allocator(), 16384, 0);
    const very_long: [headroom_bytes + 100]u8 = @splat('h');
    for ([_][]const u8{ "", "h", "header", "a longer header", &very_long }) |head| {
        var pipe = try testPipe(&blocks, "old!body");
        pipe.replaceHead(4, head);
        try std.testing.expectEqualStrings(head, pipe.pending());
        try std.testing.expectEqualStrings("body", pipe.unjudged());
        pipe.release(&blocks);
    }
}

test "bytes are framed in place" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var blocks: Blocks = .init(arena.allocator(), 100_000, 0);
    var pipe = try testPipe(&blocks, "data");
    pipe.ready = pipe.end;
    pipe.prepend("4\r\n");
    pipe.append("\r\n");
    try std.testing.expectEqualStrings("4\r\ndata\r\n", pipe.pending());
}

test "space is found again when the front has been sent" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var blocks: Blocks = .init(arena.allocator(), 256, 0);
    var pipe: Pipe = .{};
    const all = (try pipe.space(&blocks)).len;
    pipe.end += @intCast(all);
    try std.testing.expectEqual(0, (try pipe.space(&blocks)).len);
    pipe.start += 100;
    pipe.ready = pipe.start;
    try std.testing.expectEqual(100, (try pipe.space(&blocks)).len);
}
