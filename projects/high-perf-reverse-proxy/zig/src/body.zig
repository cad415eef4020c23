//! Where a body ends: by length, by its last chunk, or with its connection.
//!
//! Chunks pass as they came. Every byte that frames them is judged before it goes on, so nobody behind us can read
//! another length out of it; the data in between is skipped in one step.

const std = @import("std");
const head = @import("head.zig");
const reply = @import("reply.zig");
const Fault = reply.Fault;

pub const Limits = struct {
    /// Of the data, without what frames it.
    body_bytes: u64 = std.math.maxInt(u64),
    trailer_bytes: u32,
};

pub const Body = union(enum) {
    /// What is still to come.
    length: u64,
    chunked: Chunks,
    until_close,

    pub fn init(framing: head.Framing, limits: Limits) Body {
        return switch (framing) {
            .none => .{ .length = 0 },
            .length => |length| .{ .length = length },
            .chunked => .{ .chunked = .{ .allowance = limits.body_bytes, .trailer_allowance = limits.trailer_bytes } },
            .until_close => .until_close,
        };
    }

    pub fn isDone(self: *const Body) bool {
        return switch (self.*) {
            .length => |left| left == 0,
            .chunked => |*chunks| chunks.state == .done,
            .until_close => false,
        };
    }

    /// Judges bytes and returns how many of them are the body's.
    pub fn take(self: *Body, bytes: []const u8) Fault!usize {
        switch (self.*) {
            .length => |*left| {
                const taken: usize = @intCast(@min(left.*, bytes.len));
                left.* -= taken;
                return taken;
            },
            .chunked => |*chunks| {
                var taken: usize = 0;
                while (taken < bytes.len and chunks.state != .done) taken += (try chunks.next(bytes[taken..])).length;
                return taken;
            },
            .until_close => return bytes.len,
        }
    }
};

pub const Decoded = struct {
    /// How many bytes belonged to the body.
    taken: usize,
    /// How many bytes of data stand at the front now.
    kept: usize,
};

pub const Chunks = struct {
    state: State = .size_start,
    /// While the size is read: its digits so far, or the bytes of its extensions.
    line_bytes: u32 = 0,
    /// Of the chunk.
    left: u64 = 0,
    allowance: u64,
    trailer_allowance: u32,

    const State = enum {
        size_start,
        size,
        size_blank,
        extension,
        size_line_feed,
        data,
        data_return,
        data_line_feed,
        trailer_start,
        trailer_name,
        trailer_value,
        trailer_line_feed,
        end_line_feed,
        done,
    };

    const size_digits_max = 16;
    const extension_bytes_max = 4096;

    const Run = struct { length: usize, is_data: bool };

    /// Judges the next bytes that are either all data or all framing.
    fn next(self: *Chunks, bytes: []const u8) Fault!Run {
        if (self.state == .data) {
            const length: usize = @intCast(@min(self.left, bytes.len));
            self.left -= length;
            if (self.left == 0) self.state = .data_return;
            return .{ .length = length, .is_data = true };
        }
        var length: usize = 0;
        while (length < bytes.len and self.state != .data and self.state != .done) : (length += 1) {
            self.state = try self.step(bytes[length]);
        }
        return .{ .length = length, .is_data = false };
    }

    /// Takes the framing out and moves the data together.
    pub fn decode(self: *Chunks, bytes: []u8) Fault!Decoded {
        var taken: usize = 0;
        var kept: usize = 0;
        while (taken < bytes.len and self.state != .done) {
            const run = try self.next(bytes[taken..]);
            if (run.is_data) {
                @memmove(bytes[kept..][0..run.length], bytes[taken..][0..run.length]);
                kept += run.length;
            }
            taken += run.length;
        }
        return .{ .taken = taken, .kept = kept };
    }

    fn step(self: *Chunks, byte: u8) Fault!State {
        return switch (self.state) {
            .size_start => blk: {
                self.left = std.fmt.charToDigit(byte, 16) catch return error.BadChunkSize;
                self.line_bytes = 1;
                break :blk .size;
            },
            .size => try self.sizeByte(byte),
            .size_blank => try self.blankByte(byte),
            .extension => try self.extensionByte(byte),
            .size_line_feed => if (byte == '\n') self.chunkStart() else error.BadChunkSize,
            .data_return => if (byte == '\r') .data_line_feed else error.BadChunkEnd,
            .data_line_feed => if (byte == '\n') .size_start else error.BadChunkEnd,
            .trailer_start, .trailer_name, .trailer_value, .trailer_line_feed, .end_line_feed => try self.trailerByte(byte),
            .data, .done => unreachable,
        };
    }

    fn sizeByte(self: *Chunks, byte: u8) Fault!State {
        switch (byte) {
            '\r' => return .size_line_feed,
            ';' => return self.behindSize(.extension),
            ' ', '\t' => return self.behindSize(.size_blank),
            else => {},
        }
        const digit = std.fmt.charToDigit(byte, 16) catch return error.BadChunkSize;
        self.line_bytes += 1;
        // One bit stays free, so that lengths can be added without a thought.
        if (self.line_bytes > size_digits_max or self.left >> 59 != 0) return error.BadChunkSize;
        self.left = self.left << 4 | digit;
        return .size;
    }

    /// The size is known; a chunk of no bytes is the last one.
    fn chunkStart(self: *Chunks) Fault!State {
        if (self.left > self.allowance) return error.BodyTooLarge;
        self.allowance -= self.left;
        return if (self.left == 0) .trailer_start else .data;
    }

    fn behindSize(self: *Chunks, state: State) State {
        self.line_bytes = 0;
        return state;
    }

    /// Blanks behind a size are allowed where an extension follows.
    fn blankByte(self: *Chunks, byte: u8) Fault!State {
        if (byte == ';') return self.behindSize(.extension);
        self.line_bytes += 1;
        if (!head.isBlank(byte) or self.line_bytes > extension_bytes_max) return error.BadChunkSize;
        return .size_blank;
    }

    /// What an extension says is between the two that know it; only where its line ends is not left to them.
    fn extensionByte(self: *Chunks, byte: u8) Fault!State {
        if (byte == '\r') return .size_line_feed;
        self.line_bytes += 1;
        if (!isText(byte) or self.line_bytes > extension_bytes_max) return error.BadChunkExtension;
        return .extension;
    }

    fn trailerByte(self: *Chunks, byte: u8) Fault!State {
        if (self.trailer_allowance == 0) return error.BadTrailer;
        self.trailer_allowance -= 1;
        switch (self.state) {
            .trailer_start => {
                if (byte == '\r') return .end_line_feed;
                if (head.isToken(byte)) return .trailer_name;
            },
            .trailer_name => {
                if (byte == ':') return .trailer_value;
                if (head.isToken(byte)) return .trailer_name;
            },
            .trailer_value => {
                if (byte == '\r') return .trailer_line_feed;
                if (isText(byte)) return .trailer_value;
            },
            .trailer_line_feed => if (byte == '\n') return .trailer_start,
            .end_line_feed => if (byte == '\n') return .done,
            else => unreachable,
        }
        return error.BadTrailer;
    }
};

fn isText(byte: u8) bool {
    return byte == '\t' or !std.ascii.isControl(byte);
}

/// The size line of a chunk of our own.
pub fn sizeLine(buffer: *[size_line_bytes]u8, length: usize) []const u8 {
    return std.fmt.bufPrint(buffer, "{x}\r\n", .{length}) catch unreachable;
}

pub const size_line_bytes = 18;
pub const chunk_end = "\r\n";
pub const last_chunk = "0\r\n\r\n";

fn testChunks() Chunks {
    return .{ .allowance = 1000, .trailer_allowance = 100 };
}

test "chunks end where they say, whatever the place of the cut" {
    for ([_][]const u8{
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "0005\r\nhello\r\n000\r\n\r\n",
    }) |text| {
        for (0..text.len + 1) |cut| {
            var body: Body = .{ .chunked = testChunks() };
            try std.testing.expectEqual(cut, try body.take(text[0..cut]));
            try std.testing.expectEqual(text.len - cut, try body.take(text[cut..]));
            try std.testing.expect(body.isDone());
            try std.testing.expectEqual(0, try body.take("more"));
        }
    }
}

test "extensions and trailers of every form" {
    for ([_][]const u8{
        "5;a\r\nhello\r\n0\r\n\r\n",
        "5 ; a = b ; c\r\nhello\r\n0;z\r\nX-A: b\r\nB:\r\n\r\n",
        "5;a=\"x;\\\"\t y\";b=c\r\nhello\r\n0\r\n\r\n",
    }) |text| {
        var body: Body = .{ .chunked = testChunks() };
        try std.testing.expectEqual(text.len, try body.take(text));
        try std.testing.expect(body.isDone());
    }
}

test "chunks that nobody should believe" {
    for ([_]struct { []const u8, Fault }{
        .{ "\r\n", error.BadChunkSize },                  .{ "-1\r\n", error.BadChunkSize },
        .{ "0x5\r\n", error.BadChunkSize },               .{ "+5\r\n", error.BadChunkSize },
        .{ "5\nhello", error.BadChunkSize },              .{ "5\rhello", error.BadChunkSize },
        .{ "5 \r\n", error.BadChunkSize },                .{ " 5\r\n", error.BadChunkSize },
        .{ "ffffffffffffffff\r\n", error.BadChunkSize },  .{ "10000000000000000\r\n", error.BadChunkSize },
        .{ "00000000000000005\r\n", error.BadChunkSize }, .{ "5 5\r\n", error.BadChunkSize },
        .{ "5;a\n", error.BadChunkExtension },            .{ "5;a\x00\r\n", error.BadChunkExtension },
        .{ "5\r\nhello0\r\n", error.BadChunkEnd },        .{ "5\r\nhello\n", error.BadChunkEnd },
        .{ "0\r\nX Y: z\r\n\r\n", error.BadTrailer },     .{ "0\r\n folded\r\n\r\n", error.BadTrailer },
        .{ "0\r\nX: y\n\r\n", error.BadTrailer },         .{ "0\r\n\n", error.BadTrailer },
        .{ "0\r\n\rX", error.BadTrailer },                .{ "3e9\r\n", error.BodyTooLarge },
    }) |row| {
        var body: Body = .{ .chunked = testChunks() };
        try std.testing.expectError(row[1], body.take(row[0]));
    }
    const long: [200]u8 = @splat('x');
    var body: Body = .{ .chunked = testChunks() };
    try std.testing.expectError(error.BadTrailer, body.take("0\r\nX: " ++ &long));
}

test "chunks are taken out in place" {
    const text = "5;a=b\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nX: y\r\n\r\nrest";
    for (0..text.len + 1) |cut| {
        var buffer: [text.len]u8 = text.*;
        var plain: [32]u8 = undefined;
        var chunks = testChunks();
        const first = try chunks.decode(buffer[0..cut]);
        @memcpy(plain[0..first.kept], buffer[0..first.kept]);
        const second = try chunks.decode(buffer[first.taken..]);
        @memcpy(plain[first.kept..][0..second.kept], buffer[first.taken..][0..second.kept]);
        try std.testing.expectEqualStrings("hello world", plain[0 .. first.kept + second.kept]);
        try std.testing.expectEqual(text.len - "rest".len, first.taken + second.taken);
    }
}

test "a length is counted down" {
    var body: Body = .init(.{ .length = 5 }, .{ .trailer_bytes = 0 });
    try std.testing.expectEqual(3, try body.take("abc"));
    try std.testing.expect(!body.isDone());
    try std.testing.expectEqual(2, try body.take("defg"));
    try std.testing.expect(body.isDone());
}
