//! Zstandard (RFC 8878), streaming, all frames of a file.
//!
//! std.compress.zstd of Zig 0.17 cannot verify checksums, and a damaged file can make it write out of bounds in a
//! release build, so this is written out here. Every length is checked by explicit code.

const std = @import("std");
const failure = @import("failure.zig");
const fse = @import("fse.zig");
const Source = @import("input.zig").Source;

const block_bytes_max = 128 << 10;
const window_bytes_max = 32 << 20;
/// How much is decoded, for a window of any size, before the window is moved to the front.
const room_bytes_min = 1 << 20;
const room_bytes_max = 8 << 20;
/// Copies go by sixteen bytes, so up to fifteen more are written.
const slack_bytes = 32;
const frame_magic = 0xfd2fb528;
const skippable_magic = 0x184d2a50;

/// What is wrong with a frame; turned into one line of text by `read`.
const FrameError = error{
    Truncated,
    BadMagic,
    BadHeader,
    DictionaryNeeded,
    WindowTooLarge,
    BadBlock,
    BadLiterals,
    BadSequences,
    BadCode,
    WrongSize,
    WrongChecksum,
};
const Error = failure.Error || FrameError;

const Frame = struct {
    window_bytes: usize = 0,
    content_bytes: ?u64 = null,
    has_checksum: bool = false,
    made_bytes: u64 = 0,
    hash: std.hash.XxHash64 = .init(0),
    recent_offsets: [3]usize = .{ 1, 4, 8 },
    has_literal_code: bool = false,
    has_sequence_codes: [3]bool = @splat(false),
};

pub const Decoder = struct {
    gpa: std.mem.Allocator,
    window: []u8,
    filled: usize,
    taken: usize,
    /// Where the frame begins within the window: no match may reach before it.
    history_start: usize,
    state: enum { first_frame, next_frame, block, end },
    frame: Frame,
    literal_code: LiteralCode,
    sequence_codes: [3]fse.Table,
    literals: [block_bytes_max + slack_bytes]u8,

    pub fn create(gpa: std.mem.Allocator) error{OutOfMemory}!*Decoder {
        const decoder = try gpa.create(Decoder);
        decoder.gpa = gpa;
        decoder.window = &.{};
        return decoder;
    }

    /// Prepares for a new file.
    pub fn restart(self: *Decoder) void {
        self.filled = 0;
        self.taken = 0;
        self.history_start = 0;
        self.state = .first_frame;
    }

    /// Decodes some bytes; 0 is the end.
    pub fn read(self: *Decoder, source: *Source, target: []u8) failure.Error!usize {
        while (self.taken == self.filled) {
            if (self.state == .end) return 0;
            self.step(source) catch |err| switch (err) {
                error.Failed, error.OutOfMemory => |e| return e,
                else => |e| return source.corrupt("zstd", describe(e)),
            };
        }
        const count = @min(target.len, self.filled - self.taken);
        @memcpy(target[0..count], self.window[self.taken..][0..count]);
        self.taken += count;
        return count;
    }

    fn step(self: *Decoder, source: *Source) Error!void {
        if (self.state == .block) return self.block(source);
        try source.fill(4);
        if (source.buffered().len == 0) {
            self.state = .end;
            return;
        }
        const magic = try takeInt(source, 4);
        if (magic & 0xffff_fff0 == skippable_magic) {
            try skip(source, try takeInt(source, 4));
        } else if (magic == frame_magic) {
            try self.frameHeader(source);
        } else return error.BadMagic;
        if (self.state == .first_frame) self.state = .next_frame;
    }

    fn frameHeader(self: *Decoder, source: *Source) Error!void {
        const descriptor = try takeInt(source, 1);
        if (descriptor & 0x08 != 0) return error.BadHeader;
        const single_segment = descriptor & 0x20 != 0;
        self.frame = .{ .has_checksum = descriptor & 0x04 != 0 };
        var window_bytes: u64 = 0;
        if (!single_segment) {
            const window = try takeInt(source, 1);
            const base = @as(u64, 1) << @intCast(10 + (window >> 3));
            window_bytes = base + base / 8 * (window & 7);
        }
        if (try takeInt(source, ([4]u4{ 0, 1, 2, 4 })[@intCast(descriptor & 3)]) != 0) return error.DictionaryNeeded;
        const size_flag: u2 = @intCast(descriptor >> 6);
        if (size_flag != 0 or single_segment) {
            const size = try takeInt(source, ([4]u4{ 1, 2, 4, 8 })[size_flag]);
            self.frame.content_bytes = if (size_flag == 1) size + 256 else size;
            if (single_segment) window_bytes = self.frame.content_bytes.?;
        }
        if (window_bytes > window_bytes_max) return error.WindowTooLarge;
        self.frame.window_bytes = @intCast(window_bytes);
        try self.reserve(self.frame.window_bytes);
        self.history_start = self.filled;
        self.state = .block;
    }

    /// Makes the window large enough for a frame; everything decoded was handed out before.
    fn reserve(self: *Decoder, window_bytes: usize) Error!void {
        const room_bytes = std.math.clamp(window_bytes * 2, room_bytes_min, room_bytes_max);
        const wanted = window_bytes + room_bytes + slack_bytes;
        if (self.window.len >= wanted) return;
        self.gpa.free(self.window);
        self.window = &.{};
        self.window = try self.gpa.alloc(u8, wanted);
        self.filled = 0;
        self.taken = 0;
    }

    /// Makes room for a block: only the history stays.
    fn slide(self: *Decoder) void {
        if (self.window.len - slack_bytes - self.filled >= block_bytes_max) return;
        const kept = @min(self.frame.window_bytes, self.filled);
        const dropped = self.filled - kept;
        @memmove(self.window[0..kept], self.window[dropped..self.filled]);
        self.filled = kept;
        self.taken = kept;
        self.history_start -|= dropped;
    }

    fn block(self: *Decoder, source: *Source) Error!void {
        const header = try takeInt(source, 3);
        const size: usize = @intCast(header >> 3);
        if (size > @min(self.frame.window_bytes, block_bytes_max)) return error.BadBlock;
        self.slide();
        const start = self.filled;
        switch (header >> 1 & 3) {
            0 => @memcpy(self.window[self.filled..][0..size], try takeSlice(source, size)),
            1 => @memset(self.window[self.filled..][0..size], @intCast(try takeInt(source, 1))),
            2 => try self.compressed(try takeSlice(source, size)),
            else => return error.BadBlock,
        }
        if (header >> 1 & 3 != 2) self.filled += size;
        const made = self.window[start..self.filled];
        self.frame.made_bytes += made.len;
        if (self.frame.has_checksum) self.frame.hash.update(made);
        if (header & 1 == 1) try self.endFrame(source);
    }

    fn endFrame(self: *Decoder, source: *Source) Error!void {
        if (self.frame.content_bytes) |size| if (size != self.frame.made_bytes) return error.WrongSize;
        if (self.frame.has_checksum) {
            if (try takeInt(source, 4) != @as(u32, @truncate(self.frame.hash.final()))) return error.WrongChecksum;
        }
        self.state = .next_frame;
    }

    fn compressed(self: *Decoder, bytes: []const u8) Error!void {
        var rest = bytes;
        const literals = try self.literalSection(&rest);
        try self.sequenceSection(rest, literals);
    }

    // --- literals ---

    fn literalSection(self: *Decoder, rest: *[]const u8) Error![]const u8 {
        if (rest.len == 0) return error.BadLiterals;
        const kind = rest.*[0] & 3;
        return if (kind < 2) self.plainLiterals(rest, kind == 1) else self.codedLiterals(rest, kind == 3);
    }

    fn plainLiterals(self: *Decoder, rest: *[]const u8, repeated: bool) Error![]const u8 {
        const header_bytes: usize = switch (rest.*[0] >> 2 & 3) {
            0, 2 => 1,
            1 => 2,
            else => 3,
        };
        const shift: u6 = if (header_bytes == 1) 3 else 4;
        const size: usize = @intCast(try intAt(rest, header_bytes) >> shift);
        if (size > block_bytes_max) return error.BadLiterals;
        const stored = if (repeated) 1 else size;
        if (rest.len < stored) return error.BadLiterals;
        if (repeated) @memset(self.literals[0..size], rest.*[0]) else @memcpy(self.literals[0..size], rest.*[0..size]);
        rest.* = rest.*[stored..];
        return self.literals[0..size];
    }

    fn codedLiterals(self: *Decoder, rest: *[]const u8, reuse_code: bool) Error![]const u8 {
        const format = rest.*[0] >> 2 & 3;
        const size_bits: u6 = ([4]u6{ 10, 10, 14, 18 })[format];
        const header = try intAt(rest, ([4]usize{ 3, 3, 4, 5 })[format]) >> 4;
        const mask = (@as(u64, 1) << size_bits) - 1;
        const size: usize = @intCast(header & mask);
        const stored: usize = @intCast(header >> size_bits & mask);
        if (size > block_bytes_max or stored > rest.len) return error.BadLiterals;
        var streams = rest.*[0..stored];
        rest.* = rest.*[stored..];
        if (!reuse_code) {
            self.frame.has_literal_code = false;
            try self.literal_code.read(&streams);
            self.frame.has_literal_code = true;
        } else if (!self.frame.has_literal_code) return error.BadLiterals;
        const target = self.literals[0..size];
        if (format == 0) {
            try self.literal_code.decode(streams, target);
        } else {
            try self.literal_code.decodeFour(streams, target);
        }
        return target;
    }

    // --- sequences ---

    fn sequenceSection(self: *Decoder, bytes: []const u8, literals: []const u8) Error!void {
        var rest = bytes;
        const count = try sequenceCount(&rest);
        if (count == 0) {
            if (rest.len != 0) return error.BadSequences;
            return self.copyLiterals(literals);
        }
        const modes = try intAt(&rest, 1);
        if (modes & 3 != 0) return error.BadSequences;
        inline for (.{ Codes.literal_length, Codes.offset, Codes.match_length }, 0..) |code, i| {
            const mode: u2 = @truncate(modes >> (6 - 2 * i));
            switch (mode) {
                0 => try self.sequence_codes[i].build(code.default, code.default_log),
                1 => try self.sequence_codes[i].single(try intAt(&rest, 1), code.symbols),
                2 => try self.sequence_codes[i].read(&rest, code.symbols, code.log_max),
                3 => if (!self.frame.has_sequence_codes[i]) return error.BadSequences,
            }
            self.frame.has_sequence_codes[i] = true;
        }
        try self.execute(rest, count, literals);
    }

    /// Decodes the sequences and carries each one out: some literals, then a match.
    fn execute(self: *Decoder, bytes: []const u8, count: usize, all_literals: []const u8) Error!void {
        var bits = try fse.BackwardBits.init(bytes);
        const codes = &self.sequence_codes;
        var states: [3]usize = undefined;
        inline for (0..3) |i| states[i] = @intCast(bits.take(codes[i].log));
        const window = self.window;
        const block_end = self.filled + @min(self.frame.window_bytes, block_bytes_max);
        var filled = self.filled;
        var literal_at: usize = 0;
        for (0..count) |number| {
            const offset_code: u6 = @intCast(codes[1].entries[states[1]].symbol);
            const match_code = codes[2].entries[states[2]].symbol;
            const literal_code = codes[0].entries[states[0]].symbol;
            const offset_value = (@as(u64, 1) << offset_code) + bits.take(offset_code);
            const match_bytes = match_bases[match_code] + @as(usize, @intCast(bits.take(match_extra[match_code])));
            const literal_bytes = literal_bases[literal_code] + @as(usize, @intCast(bits.take(literal_extra[literal_code])));
            if (number + 1 != count) {
                inline for (.{ 0, 2, 1 }) |i| {
                    const entry = codes[i].entries[states[i]];
                    states[i] = entry.base + @as(usize, @intCast(bits.take(entry.bits)));
                }
            }
            if (literal_bytes > all_literals.len - literal_at) return error.BadSequences;
            if (literal_bytes + match_bytes > block_end - filled) return error.BadSequences;
            copyWide(window.ptr + filled, self.literals[literal_at..].ptr, literal_bytes);
            filled += literal_bytes;
            literal_at += literal_bytes;
            const offset = try self.resolveOffset(offset_value, literal_bytes == 0);
            if (offset > filled - self.history_start) return error.BadSequences;
            copyMatch(window, filled, offset, match_bytes);
            filled += match_bytes;
        }
        if (bits.left != 0) return error.BadSequences;
        self.filled = filled;
        try self.copyLiteralsUpTo(all_literals[literal_at..], block_end);
    }

    /// Turns an offset value into a distance, by the three offsets used last.
    inline fn resolveOffset(self: *Decoder, value: u64, no_literals: bool) Error!usize {
        // A copy: an array literal is written in place, element by element.
        const recent = self.frame.recent_offsets;
        if (value > 3) {
            const offset: usize = @intCast(value - 3);
            self.frame.recent_offsets = .{ offset, recent[0], recent[1] };
            return offset;
        }
        const index: usize = @intCast(value - 1 + @intFromBool(no_literals));
        if (index == 0) return recent[0];
        const offset = if (index == 3) recent[0] - 1 else recent[index];
        if (offset == 0) return error.BadSequences;
        self.frame.recent_offsets = .{ offset, recent[0], if (index == 1) recent[2] else recent[1] };
        return offset;
    }

    fn copyLiterals(self: *Decoder, literals: []const u8) Error!void {
        return self.copyLiteralsUpTo(literals, self.filled + @min(self.frame.window_bytes, block_bytes_max));
    }

    fn copyLiteralsUpTo(self: *Decoder, literals: []const u8, block_end: usize) Error!void {
        if (literals.len > block_end - self.filled) return error.BadBlock;
        @memcpy(self.window[self.filled..][0..literals.len], literals);
        self.filled += literals.len;
    }
};

/// Copies by sixteen bytes, and up to fifteen more than asked. Source and target have `slack_bytes` behind them.
inline fn copyWide(target: [*]u8, from: [*]const u8, count: usize) void {
    var done: usize = 0;
    while (done < count) : (done += 16) target[done..][0..16].* = from[done..][0..16].*;
}

inline fn copyMatch(window: []u8, at: usize, distance: usize, length: usize) void {
    if (distance >= 16) return copyWide(window.ptr + at, window.ptr + at - distance, length);
    for (at..at + length) |i| window[i] = window[i - distance];
}

fn sequenceCount(rest: *[]const u8) Error!usize {
    const first: usize = @intCast(try intAt(rest, 1));
    if (first < 128) return first;
    if (first < 255) return ((first - 128) << 8) + @as(usize, @intCast(try intAt(rest, 1)));
    return @as(usize, @intCast(try intAt(rest, 2))) + 0x7f00;
}

/// The code of literal bytes: a Huffman code of at most eleven bits.
const LiteralCode = struct {
    const bits_max = 11;
    const Entry = struct { symbol: u8, bits: u8 };

    bits: u6 = 0,
    entries: [1 << bits_max]Entry = undefined,

    /// Reads the weights of all symbols but the last, and steps over them.
    fn read(self: *LiteralCode, rest: *[]const u8) Error!void {
        var weights: [256]u8 = @splat(0);
        const header: usize = @intCast(try intAt(rest, 1));
        const coded = header < 128;
        const count = if (coded) 0 else header - 127;
        const stored = if (coded) header else (count + 1) / 2;
        if (stored > rest.len) return error.BadLiterals;
        const bytes = rest.*[0..stored];
        rest.* = rest.*[stored..];
        for (0..count) |i| weights[i] = if (i % 2 == 0) bytes[i / 2] >> 4 else bytes[i / 2] & 15;
        const known = if (coded) try fse.readWeights(bytes, &weights) else count;
        try self.build(&weights, known);
    }

    /// The last weight is the one that makes the code complete.
    fn build(self: *LiteralCode, weights: *[256]u8, known: usize) Error!void {
        var sum: u32 = 0;
        for (weights[0..known]) |weight| {
            if (weight > bits_max) return error.BadLiterals;
            if (weight != 0) sum += @as(u32, 1) << @intCast(weight - 1);
        }
        if (sum == 0 or known > 255) return error.BadLiterals;
        const bits = std.math.log2_int(u32, sum) + 1;
        if (bits > bits_max) return error.BadLiterals;
        const left = (@as(u32, 1) << bits) - sum;
        if (!std.math.isPowerOfTwo(left)) return error.BadLiterals;
        weights[known] = std.math.log2_int(u32, left) + 1;
        self.bits = bits;
        var at: usize = 0;
        for (1..@as(usize, bits) + 1) |weight| for (weights[0 .. known + 1], 0..) |symbol_weight, symbol| {
            if (symbol_weight != weight) continue;
            const run = @as(usize, 1) << @intCast(weight - 1);
            @memset(self.entries[at..][0..run], .{ .symbol = @intCast(symbol), .bits = @intCast(bits + 1 - weight) });
            at += run;
        };
        std.debug.assert(at == @as(usize, 1) << bits);
    }

    fn decode(self: *const LiteralCode, bytes: []const u8, target: []u8) Error!void {
        var stream = try fse.BackwardBits.init(bytes);
        try self.finish(&stream, target);
    }

    /// Four streams of equal length (the last may be shorter), decoded in step.
    fn decodeFour(self: *const LiteralCode, bytes: []const u8, target: []u8) Error!void {
        const part = (target.len + 3) / 4;
        if (bytes.len < 6 or target.len < part * 3) return error.BadLiterals;
        var streams: [4]fse.BackwardBits = undefined;
        var targets: [4][]u8 = undefined;
        var start: usize = 6;
        for (0..4) |i| {
            const size = if (i < 3) std.mem.readInt(u16, bytes[i * 2 ..][0..2], .little) else bytes.len - start;
            if (size > bytes.len - start) return error.BadLiterals;
            streams[i] = try fse.BackwardBits.init(bytes[start..][0..size]);
            start += size;
            targets[i] = target[part * i .. if (i < 3) part * (i + 1) else target.len];
        }
        const done = self.inStep(&streams, &targets);
        for (0..4) |i| try self.finish(&streams[i], targets[i][done..]);
    }

    /// Decodes five symbols a stream and turn while every stream has the bits for it.
    fn inStep(self: *const LiteralCode, streams: *[4]fse.BackwardBits, targets: *const [4][]u8) usize {
        const shift: u6 = @intCast(64 - @as(u7, self.bits));
        var done: usize = 0;
        while (done + 5 <= targets[3].len) : (done += 5) {
            var words: [4]u64 = undefined;
            inline for (0..4) |i| {
                if (streams[i].left < 64) return done;
                words[i] = streams[i].top();
            }
            inline for (0..4) |i| {
                const before = streams[i].left;
                inline for (0..5) |k| {
                    const entry = self.entries[@intCast(words[i] >> shift)];
                    targets[i][done + k] = entry.symbol;
                    words[i] <<= @intCast(entry.bits);
                    streams[i].left -= entry.bits;
                }
                std.debug.assert(before - streams[i].left <= 55);
            }
        }
        return done;
    }

    fn finish(self: *const LiteralCode, stream: *fse.BackwardBits, target: []u8) Error!void {
        for (target) |*byte| {
            const entry = self.entries[@intCast(stream.peek(self.bits))];
            byte.* = entry.symbol;
            stream.left -= entry.bits;
            if (stream.left < 0) return error.BadLiterals;
        }
        if (stream.left != 0) return error.BadLiterals;
    }
};

const Codes = struct {
    const Code = struct { symbols: usize, log_max: u6, default_log: u6, default: []const i16 };
    const literal_length: Code = .{ .symbols = 36, .log_max = 9, .default_log = 6, .default = &.{
        4,  3,  2,  2,  2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1,
        -1, -1, -1, -1,
    } };
    const offset: Code = .{ .symbols = 32, .log_max = 8, .default_log = 5, .default = &.{
        1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
    } };
    const match_length: Code = .{ .symbols = 53, .log_max = 9, .default_log = 6, .default = &.{
        1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1,  1,  1,  1,  1,  1,  1,  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
    } };
};

const literal_extra = [36]u6{ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
const literal_bases = basesFrom(0, &literal_extra);
const match_extra = [53]u6{
    0,  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  0,  0,  0,  0,  0,
    0,  0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15,
    16,
};
const match_bases = basesFrom(3, &match_extra);

/// Every code starts where the one before it ends; only the very long ones start at a power of two.
fn basesFrom(comptime first: usize, comptime extra_bits: []const u6) [extra_bits.len]usize {
    var bases: [extra_bits.len]usize = undefined;
    var next = first;
    for (extra_bits, 0..) |bits, i| {
        bases[i] = next;
        next += @as(usize, 1) << bits;
    }
    return bases;
}

// --- bytes of the file ---

fn takeSlice(source: *Source, count: usize) Error![]const u8 {
    try source.fill(count);
    const buffered = source.buffered();
    if (buffered.len < count) return error.Truncated;
    source.start += count;
    return buffered[0..count];
}

fn takeInt(source: *Source, count: usize) Error!u64 {
    var rest = try takeSlice(source, count);
    return intAt(&rest, count);
}

fn skip(source: *Source, count: u64) Error!void {
    var left = count;
    while (left != 0) {
        try source.fill(1);
        const step: usize = @intCast(@min(left, source.buffered().len));
        if (step == 0) return error.Truncated;
        source.start += step;
        left -= step;
    }
}

/// Takes a little-endian number from the front.
fn intAt(rest: *[]const u8, count: usize) Error!u64 {
    if (rest.len < count) return error.BadBlock;
    var value: u64 = 0;
    for (rest.*[0..count], 0..) |byte, i| value |= @as(u64, byte) << @intCast(i * 8);
    rest.* = rest.*[count..];
    return value;
}

fn describe(err: FrameError) []const u8 {
    return switch (err) {
        error.Truncated => "truncated",
        error.BadMagic => "not a frame",
        error.BadHeader => "bad frame header",
        error.DictionaryNeeded => "needs a dictionary",
        error.WindowTooLarge => "window of more than 32 MiB",
        error.BadBlock => "bad block",
        error.BadLiterals => "bad literals",
        error.BadSequences => "bad sequences",
        error.BadCode => "bad code table",
        error.WrongSize => "size does not match",
        error.WrongChecksum => "checksum does not match",
    };
}

test "bases of lengths" {
    try std.testing.expectEqual(65536, literal_bases[35]);
    try std.testing.expectEqual(65539, match_bases[52]);
    try std.testing.expectEqual(18, literal_bases[17]);
    try std.testing.expectEqual(35, match_bases[32]);
}
