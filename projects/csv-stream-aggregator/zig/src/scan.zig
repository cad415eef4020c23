//! Finds the ends of all fields and records, 64 bytes at a time.
//!
//! Quotes are handled by parity: between an odd and an even quote everything is data. That is RFC 4180 only as long
//! as every opening quote starts a field and every closing quote ends one, so each block is checked for it. Where it
//! does not hold (`5"`, `"a"b`) the scan stops, and the record goes through the slow reader of record.zig.

const std = @import("std");

pub const block_bytes = 64;
/// A UTF-8 sequence that starts in a block may end behind it.
const lookahead_bytes = 4;
/// What must be readable, and zero at the end of the input, behind the data.
pub const padding_bytes = block_bytes + lookahead_bytes;
/// Blocks that are scanned before their records are worked on: the ends found stay in the first-level cache.
const blocks_per_run = 128;

const Half = @Vector(32, u8);

pub const Stop = enum {
    /// The run is full; there is more to scan.
    full,
    /// All data is scanned, up to the part that needs more data behind it.
    starved,
    /// A quote stands where the parity rule does not hold.
    irregular,
};

/// What a block must know of the one before it.
const Quotes = struct {
    inside: bool = false,
    /// The byte before was a delimiter or a record end, so a quote may open a field.
    boundary: u64 = 1,
    /// The byte before was a closing quote.
    closed: u64 = 0,
    /// The byte before was a CR behind a closing quote.
    closed_cr: u64 = 0,
};

pub const Scanner = struct {
    delimiter: u8,
    /// Where the delimiters and record ends are, as positions in the data.
    ends: []u32 = &.{},
    end_count: usize = 0,
    /// For every complete record, the number of `ends` up to and with its own last.
    records: []u32 = &.{},
    record_count: usize = 0,
    /// The next byte to scan.
    position: usize = 0,
    /// Line feeds before `position`, from the start of the input.
    newlines: u64 = 0,
    /// Everything before this is valid UTF-8, or `invalid_utf8` is set.
    utf8_end: usize = 0,
    /// A record since the last `compact` may be invalid UTF-8.
    invalid_utf8: bool = false,
    quotes: Quotes = .{},

    pub fn deinit(self: *Scanner, gpa: std.mem.Allocator) void {
        gpa.free(self.ends);
        gpa.free(self.records);
    }

    /// Starts at the beginning of a record, with nothing found yet.
    pub fn restart(self: *Scanner, position: usize) void {
        self.position = position;
        self.utf8_end = position;
        self.end_count = 0;
        self.record_count = 0;
        self.invalid_utf8 = false;
        self.quotes = .{};
    }

    /// Scans up to `blocks_per_run` blocks of data[0..length]. With `last`, nothing comes behind the data.
    pub fn run(self: *Scanner, gpa: std.mem.Allocator, data: []const u8, length: usize, last: bool) error{OutOfMemory}!Stop {
        std.debug.assert(data.len >= length + padding_bytes);
        try self.reserve(gpa);
        for (0..blocks_per_run) |_| {
            const rest = length - self.position;
            if (rest < padding_bytes) {
                if (!last or rest == 0) return .starved;
                const valid: u64 = if (rest < block_bytes) (@as(u64, 1) << @intCast(rest)) - 1 else ~@as(u64, 0);
                if (!self.block(data, valid)) return .irregular;
                self.position = @min(self.position, length);
                continue;
            }
            if (!self.block(data, ~@as(u64, 0))) return .irregular;
        }
        return .full;
    }

    fn reserve(self: *Scanner, gpa: std.mem.Allocator) error{OutOfMemory}!void {
        const run_bytes = blocks_per_run * block_bytes;
        // Positions are written four at a time, so some are written behind the last.
        const ends = self.end_count + run_bytes + 8;
        if (self.ends.len < ends) self.ends = try gpa.realloc(self.ends, ends + ends / 2);
        if (self.records.len == 0) self.records = try gpa.alloc(u32, run_bytes + 8);
    }

    /// Scans one block; false when its quotes are irregular, and then nothing has changed.
    inline fn block(self: *Scanner, data: []const u8, valid: u64) bool {
        const first: Half = data[self.position..][0..32].*;
        const second: Half = data[self.position + 32 ..][0..32].*;
        const quote = equalMask(first, second, '"') & valid;
        const newline = equalMask(first, second, '\n') & valid;
        var structure = (equalMask(first, second, self.delimiter) & valid) | newline;
        const state = &self.quotes;
        if (quote != 0 or state.inside or (state.closed | state.closed_cr) != 0) {
            structure = applyQuotes(state, structure, newline, quote, equalMask(first, second, '\r') & valid) orelse return false;
        } else {
            state.boundary = structure >> 63;
        }
        const high = highMask(first, second) & valid;
        if (high != 0) self.checkUtf8(data, high);
        self.store(structure, structure & newline);
        self.newlines += @popCount(newline);
        self.position += block_bytes;
        return true;
    }

    /// Writes down where the ends are, and which of them end records.
    inline fn store(self: *Scanner, structure: u64, record_ends: u64) void {
        const base: u32 = @intCast(self.position);
        var rest = structure;
        const count = @popCount(structure);
        var written: usize = 0;
        while (written < count) : (written += 4) {
            inline for (0..4) |i| {
                self.ends[self.end_count + written + i] = base + @as(u32, @ctz(rest));
                rest &= rest -% 1;
            }
        }
        var marks = record_ends;
        while (marks != 0) : (marks &= marks - 1) {
            const up_to = marks ^ (marks - 1);
            self.records[self.record_count] = @intCast(self.end_count + @popCount(structure & up_to));
            self.record_count += 1;
        }
        self.end_count += count;
    }

    /// Checks the sequences that start in this block.
    fn checkUtf8(self: *Scanner, data: []const u8, high: u64) void {
        var rest = high;
        while (rest != 0) {
            const at = self.position + @ctz(rest);
            if (at >= self.utf8_end) {
                const length = sequenceLength(data[at..][0..lookahead_bytes].*);
                if (length == 0) self.invalid_utf8 = true;
                self.utf8_end = at + @max(length, 1);
            }
            rest &= rest - 1;
        }
    }

    /// Forgets the first `record_count` records; `bytes` were taken from the front of the data.
    pub fn compact(self: *Scanner, bytes: usize) void {
        const used = if (self.record_count == 0) 0 else self.records[self.record_count - 1];
        if (used == 0 and bytes == 0) return;
        const left = self.end_count - used;
        for (0..left) |i| self.ends[i] = self.ends[used + i] - @as(u32, @intCast(bytes));
        self.end_count = left;
        self.record_count = 0;
        self.position -= bytes;
        self.utf8_end -|= bytes;
    }
};

/// Returns the structure outside quotes, or null when a quote stands where it may not.
fn applyQuotes(state: *Quotes, structure: u64, newline: u64, quote: u64, carriage_return: u64) ?u64 {
    const inside = prefixXor(quote) ^ (if (state.inside) ~@as(u64, 0) else 0);
    const opening = quote & inside;
    const closing = quote & ~inside;
    const outside = structure & ~inside;
    const may_open = outside | closing;
    const behind_closing = (closing << 1) | state.closed;
    const closing_cr = behind_closing & carriage_return;
    var wrong = opening & ~((may_open << 1) | state.boundary);
    wrong |= behind_closing & ~(outside | quote | carriage_return);
    wrong |= ((closing_cr << 1) | state.closed_cr) & ~newline;
    if (wrong != 0) return null;
    state.* = .{
        .inside = inside >> 63 != 0,
        .boundary = may_open >> 63,
        .closed = closing >> 63,
        .closed_cr = closing_cr >> 63,
    };
    return outside;
}

/// Every bit becomes the parity of all bits up to it.
fn prefixXor(bits: u64) u64 {
    var parity = bits;
    inline for (.{ 1, 2, 4, 8, 16, 32 }) |shift| parity ^= parity << shift;
    return parity;
}

inline fn equalMask(first: Half, second: Half, byte: u8) u64 {
    const wanted: Half = @splat(byte);
    return joinMasks(first == wanted, second == wanted);
}

inline fn highMask(first: Half, second: Half) u64 {
    const limit: Half = @splat(0x80);
    return joinMasks(first >= limit, second >= limit);
}

inline fn joinMasks(first: @Vector(32, bool), second: @Vector(32, bool)) u64 {
    return @as(u64, @as(u32, @bitCast(first))) | (@as(u64, @as(u32, @bitCast(second))) << 32);
}

/// The length of the UTF-8 sequence at the start, 0 when it is none: no surrogates, nothing overlong (RFC 3629).
pub fn sequenceLength(bytes: [4]u8) usize {
    const lead = bytes[0];
    if (lead < 0x80) return 1;
    if (lead < 0xc2) return 0;
    if (lead < 0xe0) return if (isContinuation(bytes[1])) 2 else 0;
    if (!isContinuation(bytes[1]) or !isContinuation(bytes[2])) return 0;
    if (lead < 0xf0) {
        if (lead == 0xe0 and bytes[1] < 0xa0) return 0;
        return if (lead == 0xed and bytes[1] > 0x9f) 0 else 3;
    }
    if (lead > 0xf4 or !isContinuation(bytes[3])) return 0;
    if (lead == 0xf0 and bytes[1] < 0x90) return 0;
    return if (lead == 0xf4 and bytes[1] > 0x8f) 0 else 4;
}

inline fn isContinuation(byte: u8) bool {
    return byte & 0xc0 == 0x80;
}

fn scanAll(text: []const u8, scanner: *Scanner, buffer: []u8) !Stop {
    @memset(buffer, 0);
    @memcpy(buffer[0..text.len], text);
    while (true) {
        const stop = try scanner.run(std.testing.allocator, buffer, text.len, true);
        if (stop != .full) return stop;
    }
}

test "ends and records" {
    var buffer: [1000]u8 = undefined;
    var scanner: Scanner = .{ .delimiter = ',' };
    defer scanner.deinit(std.testing.allocator);
    const rows: [20][6]u8 = @splat("1,2,3\n".*);
    const text = "a,\"b,\n\"\"\",c\r\n" ++ @as([120]u8, @bitCast(rows));
    try std.testing.expect(try scanAll(text, &scanner, &buffer) == .starved);
    try std.testing.expectEqual(63, scanner.end_count);
    try std.testing.expectEqual(21, scanner.record_count);
    try std.testing.expectEqual(22, scanner.newlines);
    try std.testing.expectEqualSlices(u32, &.{ 1, 9, 12, 14, 16, 18 }, scanner.ends[0..6]);
}

test "irregular quotes are seen wherever they stand" {
    var buffer: [1000]u8 = undefined;
    for ([_][]const u8{ "a\"", "\"a\"b,", "\"a\"\rb", "a,b\"c\"", "\r\"a\"" }) |tail| {
        for (0..130) |pad| {
            var text: [300]u8 = @splat('x');
            text[pad] = '\n';
            @memcpy(text[pad + 1 ..][0..tail.len], tail);
            var scanner: Scanner = .{ .delimiter = ',' };
            defer scanner.deinit(std.testing.allocator);
            try std.testing.expect(try scanAll(text[0 .. pad + 100], &scanner, &buffer) == .irregular);
        }
    }
}

test "UTF-8 sequences agree with the standard library" {
    var bytes: [4]u8 = undefined;
    for (0..256) |lead| for ([_]u8{ 0, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff }) |second| {
        for ([_]u8{ 0, 0x80, 0xbf, 0xc0 }) |third| for ([_]u8{ 0, 0x80, 0xbf, 0xc0 }) |fourth| {
            bytes = .{ @intCast(lead), second, third, fourth };
            const length = sequenceLength(bytes);
            var valid = false;
            for (1..5) |n| valid = valid or (length == n and std.unicode.utf8ValidateSlice(bytes[0..n]));
            try std.testing.expectEqual(length != 0, valid);
            if (length == 0) for (1..5) |n| try std.testing.expect(!std.unicode.utf8ValidateSlice(bytes[0..n]));
        };
    };
}
