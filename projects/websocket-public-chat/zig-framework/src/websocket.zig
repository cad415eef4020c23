//! RFC 6455, the side of the server: what clients send, frame by frame, out of whatever pieces the network makes of it.
//!
//! A message that is whole in the bytes that were read is unmasked in place and handed out where it is; only one that
//! comes in pieces is put together in memory of its own, which lives no longer than the message.

const std = @import("std");

pub const Opcode = enum(u4) {
    continuation = 0,
    text = 1,
    binary = 2,
    close = 8,
    ping = 9,
    pong = 10,
    _,

    pub fn isControl(self: Opcode) bool {
        return @backingInt(self) >= 8;
    }
};

/// A header of two bytes, a length of eight and a mask.
pub const header_bytes_max = 14;
const control_payload_max = 125;
/// The longest that `next` can leave: a control frame without its last byte.
pub const rest_bytes_max = header_bytes_max + control_payload_max;

pub const Error = error{
    /// A frame that no client may send.
    Protocol,
    NotUtf8,
    /// A binary message where only text is understood.
    NotText,
    TooLarge,
    OutOfMemory,
};

pub const Event = union(enum) {
    text: []u8,
    binary: []u8,
    ping: []u8,
    pong,
    close: []u8,
};

pub const Header = struct {
    opcode: Opcode,
    is_final: bool,
    length: u64,
    mask: [4]u8,
    bytes: u8,

    /// Null when it is not whole; what is wrong in its first two bytes is seen before.
    pub fn parse(bytes: []const u8) Error!?Header {
        if (bytes.len < 2) return if (bytes.len == 1 and bytes[0] & 0x70 != 0) error.Protocol else null;
        const opcode: Opcode = @fromBackingInt(@as(u4, @truncate(bytes[0])));
        const is_final = bytes[0] & 0x80 != 0;
        const short_length: u7 = @truncate(bytes[1]);
        switch (opcode) {
            .continuation, .text, .binary, .close, .ping, .pong => {},
            _ => return error.Protocol,
        }
        const is_masked = bytes[1] & 0x80 != 0;
        if (bytes[0] & 0x70 != 0 or !is_masked) return error.Protocol;
        if (opcode.isControl() and (!is_final or short_length > control_payload_max)) return error.Protocol;
        const length_bytes: u8 = switch (short_length) {
            126 => 2,
            127 => 8,
            else => 0,
        };
        const end = 2 + length_bytes + 4;
        if (bytes.len < end) return null;
        const length: u64 = switch (short_length) {
            126 => std.mem.readInt(u16, bytes[2..4], .big),
            127 => std.mem.readInt(u64, bytes[2..10], .big),
            else => short_length,
        };
        if (length > std.math.maxInt(u63)) return error.Protocol;
        return .{ .opcode = opcode, .is_final = is_final, .length = length, .mask = bytes[end - 4 ..][0..4].*, .bytes = end };
    }
};

pub const Reader = struct {
    /// Of a message, all its fragments together.
    limit: u32,
    accepts_binary: bool,
    /// The message that is not whole yet; continuation stands for none.
    kind: Opcode = .continuation,
    /// Its payload so far, unmasked.
    message: std.ArrayList(u8) = .empty,
    /// How much of it is known to be UTF-8.
    checked: u32 = 0,
    /// The frame whose payload is still coming.
    is_in_frame: bool = false,
    is_final: bool = false,
    is_handed_out: bool = false,
    frame_left: u32 = 0,
    mask: [4]u8 = undefined,
    /// Frames that have come whole, ever.
    frames: u32 = 0,

    pub fn deinit(self: *Reader, gpa: std.mem.Allocator) void {
        self.message.clearAndFree(gpa);
    }

    /// Takes the next message or control frame off the front of the input. Null when more must come first; what is left
    /// of the input then belongs in front of that. What is handed out lives until the next call.
    pub fn next(self: *Reader, gpa: std.mem.Allocator, input: *[]u8) Error!?Event {
        if (self.is_handed_out) {
            self.is_handed_out = false;
            self.message.clearAndFree(gpa);
        }
        while (true) {
            if (!self.is_in_frame) {
                const header = try Header.parse(input.*) orelse return null;
                if (header.opcode.isControl()) return self.control(&header, input);
                try self.begin(&header);
                input.* = input.*[header.bytes..];
                const is_alone = header.is_final and header.opcode != .continuation;
                if (is_alone and input.len >= header.length) return try self.whole(&header, input);
                self.is_in_frame = true;
            }
            try self.collect(gpa, input);
            if (self.frame_left != 0) return null;
            self.is_in_frame = false;
            self.frames +%= 1;
            if (self.is_final) return try self.finish();
        }
    }

    fn control(self: *Reader, header: *const Header, input: *[]u8) ?Event {
        const end = header.bytes + @as(usize, @intCast(header.length));
        if (input.len < end) return null;
        const payload = input.*[header.bytes..end];
        _ = unmask(payload, header.mask);
        input.* = input.*[end..];
        self.frames +%= 1;
        return switch (header.opcode) {
            .close => .{ .close = payload },
            .ping => .{ .ping = payload },
            else => .pong,
        };
    }

    /// A frame of a message begins: is it in order, and not too large?
    fn begin(self: *Reader, header: *const Header) Error!void {
        const is_first = header.opcode != .continuation;
        if (is_first != (self.kind == .continuation)) return error.Protocol;
        if (header.opcode == .binary and !self.accepts_binary) return error.NotText;
        if (header.length > self.limit - self.message.items.len) return error.TooLarge;
        if (is_first) self.kind = header.opcode;
        self.is_final = header.is_final;
        self.frame_left = @intCast(header.length);
        self.mask = header.mask;
    }

    /// The common case: a message of one frame, all of it here.
    fn whole(self: *Reader, header: *const Header, input: *[]u8) Error!Event {
        const payload = input.*[0..@intCast(header.length)];
        input.* = input.*[payload.len..];
        const is_ascii = unmask(payload, header.mask);
        self.kind = .continuation;
        self.frames +%= 1;
        if (header.opcode == .binary) return .{ .binary = payload };
        if (!is_ascii and wholeCharacters(payload) != payload.len) return error.NotUtf8;
        return .{ .text = payload };
    }

    /// Puts what is here of a frame behind what there is of the message.
    fn collect(self: *Reader, gpa: std.mem.Allocator, input: *[]u8) Error!void {
        const piece = input.*[0..@min(input.len, self.frame_left)];
        _ = unmask(piece, self.mask);
        std.mem.rotate(u8, &self.mask, piece.len % 4);
        // What a header promises takes no memory, only what has come.
        try self.message.appendSlice(gpa, piece);
        input.* = input.*[piece.len..];
        self.frame_left -= @intCast(piece.len);
        if (self.kind != .text) return;
        self.checked += @intCast(wholeCharacters(self.message.items[self.checked..]) orelse return error.NotUtf8);
    }

    fn finish(self: *Reader) Error!Event {
        const payload = self.message.items;
        const kind = self.kind;
        const checked = self.checked;
        self.kind = .continuation;
        self.checked = 0;
        self.is_handed_out = true;
        if (kind == .binary) return .{ .binary = payload };
        // It may end inside a character.
        if (checked != payload.len) return error.NotUtf8;
        return .{ .text = payload };
    }
};

const Block = @Vector(16, u8);

/// Takes the mask off, sixteen bytes at a time; true if all that comes out is ASCII.
pub fn unmask(bytes: []u8, mask: [4]u8) bool {
    const pattern: Block = @bitCast(@as(@Vector(4, u32), @splat(@bitCast(mask))));
    var seen: Block = @splat(0);
    var at: usize = 0;
    while (bytes.len - at >= 16) : (at += 16) {
        const block = @as(Block, bytes[at..][0..16].*) ^ pattern;
        bytes[at..][0..16].* = block;
        seen |= block;
    }
    var seen_byte = @reduce(.Or, seen);
    for (bytes[at..], 0..) |*byte, i| {
        byte.* ^= mask[i & 3];
        seen_byte |= byte.*;
    }
    return seen_byte < 0x80;
}

/// How many bytes are whole characters; what is behind them is the beginning of one. Null if it can be none.
pub fn wholeCharacters(bytes: []const u8) ?usize {
    var at: usize = 0;
    while (at < bytes.len) {
        while (bytes.len - at >= 16 and @reduce(.Max, @as(Block, bytes[at..][0..16].*)) < 0x80) at += 16;
        while (at < bytes.len and bytes[at] < 0x80) at += 1;
        if (at == bytes.len) break;
        const length: usize, const least: u8, const most: u8 = switch (bytes[at]) {
            0xc2...0xdf => .{ 2, 0x80, 0xbf },
            0xe0 => .{ 3, 0xa0, 0xbf },
            0xe1...0xec, 0xee, 0xef => .{ 3, 0x80, 0xbf },
            0xed => .{ 3, 0x80, 0x9f }, // no surrogates
            0xf0 => .{ 4, 0x90, 0xbf },
            0xf1...0xf3 => .{ 4, 0x80, 0xbf },
            0xf4 => .{ 4, 0x80, 0x8f },
            else => return null,
        };
        const rest = bytes[at + 1 .. @min(at + length, bytes.len)];
        for (rest, 0..) |byte, i| {
            const is_good = if (i == 0) byte >= least and byte <= most else byte & 0xc0 == 0x80;
            if (!is_good) return null;
        }
        if (rest.len + 1 < length) return at;
        at += length;
    }
    return at;
}

/// Whether a client may give this code for closing.
pub fn isCloseCode(code: u16) bool {
    return switch (code) {
        1000...1003, 1007...1013, 3000...4999 => true,
        else => false,
    };
}

/// The code in the payload of a close frame, null if it has none.
pub fn closeCode(payload: []const u8) Error!?u16 {
    if (payload.len == 0) return null;
    if (payload.len == 1) return error.Protocol;
    const code = std.mem.readInt(u16, payload[0..2], .big);
    if (!isCloseCode(code)) return error.Protocol;
    if (wholeCharacters(payload[2..]) != payload.len - 2) return error.NotUtf8;
    return code;
}

fn testFrame(buffer: []u8, first: u8, payload: []const u8) []u8 {
    const mask = [4]u8{ 0x11, 0x92, 0xa3, 0x44 };
    buffer[0] = first;
    buffer[1] = 0x80 | @as(u8, @intCast(payload.len));
    buffer[2..6].* = mask;
    for (payload, 0..) |byte, i| buffer[6 + i] = byte ^ mask[i & 3];
    return buffer[0 .. 6 + payload.len];
}

test "a message is the same however it is cut" {
    const gpa = std.testing.allocator;
    var storage: [400]u8 = undefined;
    var length: usize = 0;
    for ([_]struct { u8, []const u8 }{
        .{ 0x81, "a message that is longer than sixteen bytes" },
        .{ 0x01, "two \xc3" },
        .{ 0x89, "ping" },
        .{ 0x80, "\xa9 fragments" },
        .{ 0x8a, "" },
        .{ 0x88, "\x03\xe8bye" },
    }) |row| length += testFrame(storage[length..], row[0], row[1]).len;
    for (1..length) |step| {
        var reader: Reader = .{ .limit = 100, .accepts_binary = false };
        defer reader.deinit(gpa);
        var text: [400]u8 = undefined;
        var writer: std.Io.Writer = .fixed(&text);
        var bytes = storage;
        var held: usize = 0;
        var end: usize = 0;
        while (end < length) {
            end = @min(end + step, length);
            var input: []u8 = bytes[held..end];
            while (try reader.next(gpa, &input)) |event| switch (event) {
                .pong => try writer.writeAll("pong;"),
                inline else => |payload, tag| try writer.print("{t} {s};", .{ tag, payload }),
            };
            held = end - input.len;
        }
        try std.testing.expectEqualStrings(
            "text a message that is longer than sixteen bytes;ping ping;text two \u{e9} fragments;pong;close \x03\xe8bye;",
            writer.buffered(),
        );
        try std.testing.expectEqual(6, reader.frames);
    }
}

test "what no client may send" {
    const gpa = std.testing.allocator;
    for ([_]struct { Error, []const u8 }{
        .{ error.Protocol, "\x81\x01a" }, // no mask
        .{ error.Protocol, "\xc1\x80" }, // a reserved bit
        .{ error.Protocol, "\x83\x80" }, // a reserved opcode
        .{ error.Protocol, "\x8b\x80" },
        .{ error.Protocol, "\x09\x80" }, // a fragmented ping
        .{ error.Protocol, "\x89\xfe" }, // a long ping
        .{ error.Protocol, "\x80\x80abcd" }, // a continuation of nothing
        .{ error.Protocol, "\x01\x80abcd\x81\x80abcd" }, // a message within a message
        .{ error.Protocol, "\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00abcd" }, // a negative length
        .{ error.NotText, "\x82\x80abcd" },
        .{ error.TooLarge, "\x81\xe5abcd" },
        .{ error.TooLarge, "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd" },
        .{ error.TooLarge, "\x01\x81abcdx\x00\xe4abcd" },
        .{ error.NotUtf8, "\x81\x81\x00\x00\x00\x00\xff" },
        .{ error.NotUtf8, "\x81\x81\x00\x00\x00\x00\xc3" },
        .{ error.NotUtf8, "\x01\x82\x00\x00\x00\x00\xed\xa0" }, // before the message ends
    }) |row| {
        var reader: Reader = .{ .limit = 100, .accepts_binary = false };
        defer reader.deinit(gpa);
        var bytes: [64]u8 = undefined;
        @memcpy(bytes[0..row[1].len], row[1]);
        var input: []u8 = bytes[0..row[1].len];
        try std.testing.expectError(row[0], while (reader.next(gpa, &input)) |event| {
            if (event == null) break @as(Error!void, {});
        } else |err| @as(Error!void, err));
    }
}

test unmask {
    const mask = [4]u8{ 1, 0x82, 3, 4 };
    for (0..70) |length| {
        var bytes: [70]u8 = undefined;
        for (bytes[0..length], 0..) |*byte, i| byte.* = @as(u8, @intCast(i)) ^ mask[i % 4];
        try std.testing.expect(unmask(bytes[0..length], mask));
        for (bytes[0..length], 0..) |byte, i| try std.testing.expectEqual(i, byte);
    }
    var high = "\x01\x02".*;
    try std.testing.expect(!unmask(&high, mask));
}

test wholeCharacters {
    for ([_]struct { []const u8, ?usize }{
        .{ "", 0 },
        .{ "seventeen letters and \u{e9}\u{20ac}\u{1f600}, and some more of them", 54 },
        .{ "a\xf0\x9f\x98", 1 },
        .{ "a\xf0\x90", 1 },
        .{ "\xf0\x80", null },
        .{ "\xc0\x80", null },
        .{ "\xed\xa0\x80", null },
        .{ "\xf4\x90", null },
        .{ "\x80", null },
        .{ "\xe2\x82a", null },
        .{ "\xff", null },
    }) |row| try std.testing.expectEqual(row[1], wholeCharacters(row[0]));
}

test closeCode {
    try std.testing.expectEqual(null, try closeCode(""));
    try std.testing.expectEqual(4999, try closeCode("\x13\x87why"));
    for ([_][]const u8{ "\x03", "\x03\xec", "\x03\xed", "\x03\xee", "\x03\xf6", "\x03\xf7", "\x07\xd0", "\x13\x88", "\x00\x00" }) |payload| {
        try std.testing.expectError(error.Protocol, closeCode(payload));
    }
    try std.testing.expectError(error.NotUtf8, closeCode("\x03\xe8\xff"));
}
