//! The answer as text: JSON lines (canonical) or CSV, streamed through one buffer into the digest and,
//! when asked for, into a file.

const std = @import("std");
const value_zig = @import("value.zig");
const Value = value_zig.Value;
const Error = @import("diag.zig").Error;

pub const Format = enum { json, csv };

/// Takes the rendered bytes of one repeat.
pub const Output = struct {
    hasher: *std.hash.XxHash64,
    /// Also stores the bytes, in the repeat whose answer is kept.
    writer: ?*std.Io.Writer = null,
    buffer: [buffer_bytes]u8 = undefined,
    used: usize = 0,

    const buffer_bytes = 64 * 1024;

    pub fn flush(self: *Output) Error!void {
        const bytes = self.buffer[0..self.used];
        self.used = 0;
        self.hasher.update(bytes);
        if (self.writer) |writer| writer.writeAll(bytes) catch return error.Machine;
    }

    /// Room for `count` bytes; the caller fills a part of it and calls `advance`.
    pub inline fn reserve(self: *Output, count: usize) Error![*]u8 {
        std.debug.assert(count <= buffer_bytes);
        if (self.used + count > buffer_bytes) try self.flush();
        return self.buffer[self.used..].ptr;
    }

    pub inline fn advance(self: *Output, count: usize) void {
        self.used += count;
    }

    pub fn write(self: *Output, bytes: []const u8) Error!void {
        var rest = bytes;
        while (rest.len > 0) {
            if (self.used == buffer_bytes) try self.flush();
            const take = @min(rest.len, buffer_bytes - self.used);
            @memcpy(self.buffer[self.used..][0..take], rest[0..take]);
            self.used += take;
            rest = rest[take..];
        }
    }

    pub inline fn byte(self: *Output, one: u8) Error!void {
        (try self.reserve(1))[0] = one;
        self.used += 1;
    }
};

// --- JSON ---------------------------------------------------------------------------------

pub fn json(out: *Output, value: Value) Error!void {
    switch (value) {
        .null => try out.write("null"),
        .int => |x| try writeInt(out, x),
        .real => |x| try writeReal(out, x),
        .text => |text| try jsonString(out, text),
        .blob => |bytes| {
            try out.write("{\"blob\":\"");
            try writeHex(out, bytes);
            try out.write("\"}");
        },
    }
}

fn writeInt(out: *Output, x: i64) Error!void {
    const room = try out.reserve(24);
    var magnitude = @abs(x);
    var digits: [20]u8 = undefined;
    var at: usize = digits.len;
    while (magnitude >= 100) : (magnitude /= 100) {
        at -= 2;
        digits[at..][0..2].* = std.fmt.digits2(@intCast(magnitude % 100));
    }
    if (magnitude >= 10) {
        at -= 2;
        digits[at..][0..2].* = std.fmt.digits2(@intCast(magnitude));
    } else {
        at -= 1;
        digits[at] = '0' + @as(u8, @intCast(magnitude));
    }
    if (x < 0) {
        at -= 1;
        digits[at] = '-';
    }
    @memcpy(room[0 .. digits.len - at], digits[at..]);
    out.advance(digits.len - at);
}

fn writeReal(out: *Output, x: f64) Error!void {
    const room = try out.reserve(32);
    out.advance(formatReal(room[0..32], x).len);
}

/// Shortest digits that read back the same, laid out as Python's repr does; infinity is 9e999.
pub fn formatReal(buffer: *[32]u8, x: f64) []const u8 {
    if (std.math.isInf(x)) {
        const text = if (x < 0) "-9e999" else "9e999";
        @memcpy(buffer[0..text.len], text);
        return buffer[0..text.len];
    }
    if (formatShort(buffer, x)) |text| return text;
    var scratch: [64]u8 = undefined;
    const scientific = std.fmt.float.render(&scratch, x, .{ .mode = .scientific }) catch unreachable;
    return layOut(buffer, scientific);
}

/// Quick way for numbers of few decimals: x = i / 10^k for a small integer i. Such a quotient is
/// correctly rounded, and with at most 15 digits no shorter or other text reads back as x.
fn formatShort(buffer: *[32]u8, x: f64) ?[]const u8 {
    const powers = [_]f64{ 1, 10, 100, 1000, 10000 };
    const magnitude = @abs(x);
    if (magnitude >= 1e10 or magnitude < 1e-3) return null;
    for (powers, 0..) |power, places| {
        const scaled = magnitude * power;
        const int: u64 = @trunc(scaled + 0.5);
        if (@as(f64, @floatFromInt(int)) / power != magnitude) continue;
        var n: usize = 0;
        if (x < 0) {
            buffer[0] = '-';
            n = 1;
        }
        const divisor: u64 = @trunc(power);
        n += std.fmt.printInt(buffer[n..], int / divisor, 10, .lower, .{});
        buffer[n] = '.';
        const shown = @max(places, 1);
        var fraction = int % divisor;
        var at = shown;
        while (at > 0) : (at -= 1) {
            buffer[n + at] = '0' + @as(u8, @intCast(fraction % 10));
            fraction /= 10;
        }
        return buffer[0 .. n + 1 + shown];
    }
    return null;
}

/// From d.ddde-5 to repr's form.
fn layOut(buffer: *[32]u8, scientific: []const u8) []const u8 {
    var n: usize = 0;
    var rest = scientific;
    if (rest[0] == '-') {
        buffer[0] = '-';
        n = 1;
        rest = rest[1..];
    }
    const e = std.mem.findScalar(u8, rest, 'e').?;
    const exponent = std.fmt.parseInt(i32, rest[e + 1 ..], 10) catch unreachable;
    var digits: [20]u8 = undefined;
    var count: usize = 0;
    for (rest[0..e]) |digit| if (digit != '.') {
        digits[count] = digit;
        count += 1;
    };
    var out: std.Io.Writer = .fixed(buffer[n..]);
    if (exponent < -4 or exponent >= 16) {
        out.writeByte(digits[0]) catch unreachable;
        if (count > 1) out.print(".{s}", .{digits[1..count]}) catch unreachable;
        out.end += value_zig.writeExponent(buffer[n + out.end ..], exponent);
    } else if (exponent < 0) {
        out.writeAll("0.") catch unreachable;
        out.splatByteAll('0', @intCast(-exponent - 1)) catch unreachable;
        out.writeAll(digits[0..count]) catch unreachable;
    } else {
        const whole: usize = @intCast(exponent + 1);
        out.writeAll(digits[0..@min(count, whole)]) catch unreachable;
        if (count < whole) out.splatByteAll('0', whole - count) catch unreachable;
        out.writeByte('.') catch unreachable;
        out.writeAll(if (count > whole) digits[whole..count] else "0") catch unreachable;
    }
    return buffer[0 .. n + out.end];
}

fn writeHex(out: *Output, bytes: []const u8) Error!void {
    const digits = "0123456789abcdef";
    for (bytes) |one| {
        const room = try out.reserve(2);
        room[0] = digits[one >> 4];
        room[1] = digits[one & 15];
        out.advance(2);
    }
}

fn jsonString(out: *Output, text: []const u8) Error!void {
    try out.byte('"');
    var rest = text;
    while (rest.len > 0) {
        const plain = plainPrefix(rest);
        try out.write(rest[0..plain]);
        rest = rest[plain..];
        if (rest.len == 0) break;
        if (rest[0] < 0x80) {
            try escape(out, rest[0]);
            rest = rest[1..];
        } else {
            const sequence = utf8Prefix(rest);
            try out.write(if (sequence.valid) rest[0..sequence.bytes] else "\u{FFFD}");
            rest = rest[sequence.bytes..];
        }
    }
    try out.byte('"');
}

/// How many leading bytes need no attention: ASCII but for quotes, backslashes and control bytes.
fn plainPrefix(text: []const u8) usize {
    const width = 32;
    const Block = @Vector(width, u8);
    var at: usize = 0;
    while (at + width <= text.len) : (at += width) {
        const block: Block = text[at..][0..width].*;
        const high: u32 = @bitCast(@as(@Vector(width, i8), @bitCast(block)) < @as(@Vector(width, i8), @splat(0x20)));
        const quote: u32 = @bitCast(block == @as(Block, @splat('"')));
        const slash: u32 = @bitCast(block == @as(Block, @splat('\\')));
        const special = high | quote | slash;
        if (special != 0) return at + @ctz(special);
    }
    while (at < text.len) : (at += 1) {
        const one = text[at];
        if (one < 0x20 or one >= 0x80 or one == '"' or one == '\\') break;
    }
    return at;
}

fn escape(out: *Output, one: u8) Error!void {
    const short: ?u8 = switch (one) {
        '"', '\\' => one,
        8 => 'b',
        9 => 't',
        10 => 'n',
        12 => 'f',
        13 => 'r',
        else => null,
    };
    if (short) |letter| return out.write(&.{ '\\', letter });
    const digits = "0123456789abcdef";
    return out.write(&.{ '\\', 'u', '0', '0', digits[one >> 4], digits[one & 15] });
}

const Sequence = struct { bytes: usize, valid: bool };

/// The valid character, or the longest prefix of one (the "maximal subpart"), at the start of the text.
fn utf8Prefix(text: []const u8) Sequence {
    const lead = text[0];
    const count: usize = switch (lead) {
        0xc2...0xdf => 2,
        0xe0...0xef => 3,
        0xf0...0xf4 => 4,
        else => return .{ .bytes = 1, .valid = false },
    };
    // Overlong forms, surrogates and numbers past U+10FFFF show in the second byte.
    const low: u8 = switch (lead) {
        0xe0 => 0xa0,
        0xf0 => 0x90,
        else => 0x80,
    };
    const high: u8 = switch (lead) {
        0xed => 0x9f,
        0xf4 => 0x8f,
        else => 0xbf,
    };
    for (1..count) |i| {
        const ok = i < text.len and if (i == 1) text[i] >= low and text[i] <= high else text[i] & 0xc0 == 0x80;
        if (!ok) return .{ .bytes = i, .valid = false };
    }
    return .{ .bytes = count, .valid = true };
}

// --- CSV ----------------------------------------------------------------------------------

pub fn csv(out: *Output, value: Value) Error!void {
    switch (value) {
        .null => {},
        .int => |x| try writeInt(out, x),
        .real => |x| try writeReal(out, x),
        .text => |text| try csvText(out, text),
        .blob => |bytes| {
            try out.write("x'");
            try writeHex(out, bytes);
            try out.byte('\'');
        },
    }
}

pub fn csvText(out: *Output, text: []const u8) Error!void {
    if (text.len > 0 and std.mem.findAny(u8, text, ",\"\r\n") == null) return out.write(text);
    try out.byte('"');
    var rest = text;
    while (std.mem.findScalar(u8, rest, '"')) |quote| {
        try out.write(rest[0 .. quote + 1]);
        try out.byte('"');
        rest = rest[quote + 1 ..];
    }
    try out.write(rest);
    try out.byte('"');
}

// --- Tests --------------------------------------------------------------------------------

fn rendered(buffer: []u8, value: Value, comptime render: fn (*Output, Value) Error!void) ![]const u8 {
    var hasher: std.hash.XxHash64 = .init(0);
    var writer: std.Io.Writer = .fixed(buffer);
    const out = try std.testing.allocator.create(Output);
    defer std.testing.allocator.destroy(out);
    out.* = .{ .hasher = &hasher, .writer = &writer };
    try render(out, value);
    try out.flush();
    return writer.buffered();
}

test json {
    const cases = [_]struct { Value, []const u8 }{
        .{ .null, "null" },
        .{ .{ .int = 0 }, "0" },
        .{ .{ .int = -105 }, "-105" },
        .{ .{ .int = value_zig.int_min }, "-9223372036854775808" },
        .{ .{ .int = value_zig.int_max }, "9223372036854775807" },
        .{ .{ .real = 2.5 }, "2.5" },
        .{ .{ .real = -0.0 }, "-0.0" },
        .{ .{ .real = 100.0 }, "100.0" },
        .{ .{ .real = 0.05 }, "0.05" },
        .{ .{ .real = 1e16 }, "1e+16" },
        .{ .{ .real = 9999999999999998.0 }, "9999999999999998.0" },
        .{ .{ .real = 1e15 }, "1000000000000000.0" },
        .{ .{ .real = 0.0001 }, "0.0001" },
        .{ .{ .real = 0.00001 }, "1e-05" },
        .{ .{ .real = 1.5e300 }, "1.5e+300" },
        .{ .{ .real = @as(f64, 0.1) + @as(f64, 0.2) }, "0.30000000000000004" },
        .{ .{ .real = 5e-324 }, "5e-324" },
        .{ .{ .real = -1.7976931348623157e308 }, "-1.7976931348623157e+308" },
        .{ .{ .real = -std.math.inf(f64) }, "-9e999" },
        .{ .{ .text = "a\"\\\n\x01é" }, "\"a\\\"\\\\\\n\\u0001é\"" },
        .{ .{ .text = "\xff\xe2\x82x\xed\xa0\x80" }, "\"\u{FFFD}\u{FFFD}x\u{FFFD}\u{FFFD}\u{FFFD}\"" },
        .{ .{ .blob = "\x00\xff" }, "{\"blob\":\"00ff\"}" },
    };
    for (cases) |case| {
        var buffer: [256]u8 = undefined;
        try std.testing.expectEqualStrings(case[1], try rendered(&buffer, case[0], json));
    }
}

test csv {
    const cases = [_]struct { Value, []const u8 }{
        .{ .null, "" },
        .{ .{ .text = "" }, "\"\"" },
        .{ .{ .text = "plain" }, "plain" },
        .{ .{ .text = "a,\"b\"" }, "\"a,\"\"b\"\"\"" },
        .{ .{ .text = "two\nlines" }, "\"two\nlines\"" },
        .{ .{ .blob = "\x0a" }, "x'0a'" },
    };
    for (cases) |case| {
        var buffer: [256]u8 = undefined;
        try std.testing.expectEqualStrings(case[1], try rendered(&buffer, case[0], csv));
    }
}
