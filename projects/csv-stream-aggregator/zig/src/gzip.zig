//! gzip (RFC 1952) over deflate (RFC 1951), streaming, all members of a file.
//!
//! std.compress.flate of Zig 0.17 checks neither the CRC nor the length of a member and is about half as fast, so this
//! is written out here. Every index is checked by explicit code: release builds have no other checks.

const std = @import("std");
const failure = @import("failure.zig");
const huffman = @import("huffman.zig");
const Source = @import("input.zig").Source;

const history_bytes = 32 << 10;
const longest_match = 258;
/// Matches are copied by sixteen bytes, so up to fifteen more are written.
const slack_bytes = 32;
const window_bytes = history_bytes + (128 << 10);

pub const Decoder = struct {
    window: [window_bytes + slack_bytes]u8,
    /// Decoded up to here, handed out up to there.
    filled: usize,
    taken: usize,
    /// Where the current member begins within the window: no match may reach before it.
    history_start: usize,
    state: enum { first_member, next_member, block_header, stored, coded, trailer, end },
    is_last_block: bool,
    stored_left: usize,
    /// Bits read and not used; the next one is the lowest.
    bits: u64,
    bit_count: u32,
    /// Zero bits that stand for what the file no longer has.
    missing_bits: u32,
    crc: Crc32,
    member_bytes: u32,
    literals: huffman.Table(11, 4096),
    distances: huffman.Table(9, 2048),

    const Error = failure.Error;

    pub fn create(gpa: std.mem.Allocator) error{OutOfMemory}!*Decoder {
        return gpa.create(Decoder);
    }

    /// Prepares for a new file.
    pub fn restart(self: *Decoder) void {
        self.filled = 0;
        self.taken = 0;
        self.history_start = 0;
        self.state = .first_member;
        self.bits = 0;
        self.bit_count = 0;
        self.missing_bits = 0;
    }

    /// Decodes some bytes; 0 is the end.
    pub fn read(self: *Decoder, source: *Source, target: []u8) Error!usize {
        while (self.taken == self.filled) {
            if (self.state == .end) return 0;
            self.slide();
            const start = self.filled;
            try self.step(source);
            const made = self.window[start..self.filled];
            self.crc.update(made);
            self.member_bytes +%= @intCast(made.len);
            if (self.state == .trailer) try self.trailer(source);
        }
        const count = @min(target.len, self.filled - self.taken);
        @memcpy(target[0..count], self.window[self.taken..][0..count]);
        self.taken += count;
        return count;
    }

    /// Makes room: only the history stays.
    fn slide(self: *Decoder) void {
        if (self.filled < window_bytes - longest_match) return;
        const dropped = self.filled - history_bytes;
        @memmove(self.window[0..history_bytes], self.window[dropped..self.filled]);
        self.filled -= dropped;
        self.taken -= dropped;
        self.history_start -|= dropped;
    }

    fn step(self: *Decoder, source: *Source) Error!void {
        switch (self.state) {
            .first_member, .next_member => try self.memberHeader(source),
            .block_header => try self.blockHeader(source),
            .stored => try self.stored(source),
            .coded => try self.coded(source),
            .trailer, .end => unreachable,
        }
    }

    // --- bits ---

    /// Makes at least 56 bits available; behind the end of the file they are zero and counted as missing.
    inline fn refill(self: *Decoder, source: *Source) Error!void {
        if (source.end - source.start >= 8) return self.refillWord(source);
        return self.refillSlowly(source);
    }

    inline fn refillWord(self: *Decoder, source: *Source) void {
        const word = std.mem.readInt(u64, source.buffer[source.start..][0..8], .little);
        self.bits |= word << @intCast(self.bit_count);
        source.start += (63 - self.bit_count) >> 3;
        self.bit_count |= 56;
    }

    noinline fn refillSlowly(self: *Decoder, source: *Source) Error!void {
        if (self.bit_count < self.missing_bits) return source.corrupt("gzip", "truncated");
        try source.fill(8);
        if (source.end - source.start >= 8) return self.refillWord(source);
        while (self.bit_count < 56) : (self.bit_count += 8) {
            if (source.start == source.end) {
                self.missing_bits += 8;
            } else {
                self.bits |= @as(u64, source.buffer[source.start]) << @intCast(self.bit_count);
                source.start += 1;
            }
        }
    }

    inline fn drop(self: *Decoder, count: u32) void {
        self.bits >>= @intCast(count);
        self.bit_count -= count;
    }

    /// Takes up to 32 bits.
    fn take(self: *Decoder, source: *Source, count: u6) Error!u32 {
        try self.refill(source);
        const value: u32 = @intCast(self.bits & ((@as(u64, 1) << count) - 1));
        self.drop(count);
        if (self.bit_count < self.missing_bits) return source.corrupt("gzip", "truncated");
        return value;
    }

    // --- members ---

    fn memberHeader(self: *Decoder, source: *Source) Error!void {
        try self.refill(source);
        if (self.bit_count - self.missing_bits == 0) {
            self.state = .end;
            return;
        }
        const first = self.state == .first_member;
        if (try self.take(source, 16) != 0x8b1f) return source.corrupt("gzip", if (first) "not in gzip format" else "garbage behind the last member");
        if (try self.take(source, 8) != 8) return source.corrupt("gzip", "unknown compression method");
        const flags = try self.take(source, 8);
        if (flags & 0xe0 != 0) return source.corrupt("gzip", "reserved flags are set");
        _ = try self.take(source, 32);
        _ = try self.take(source, 16);
        if (flags & 4 != 0) {
            for (0..try self.take(source, 16)) |_| _ = try self.take(source, 8);
        }
        if (flags & 8 != 0) try self.skipText(source);
        if (flags & 16 != 0) try self.skipText(source);
        if (flags & 2 != 0) _ = try self.take(source, 16);
        self.history_start = self.filled;
        self.member_bytes = 0;
        self.crc = .{};
        self.state = .block_header;
    }

    fn skipText(self: *Decoder, source: *Source) Error!void {
        while (try self.take(source, 8) != 0) {}
    }

    fn trailer(self: *Decoder, source: *Source) Error!void {
        self.drop(self.bit_count & 7);
        if (try self.take(source, 32) != self.crc.value()) return source.corrupt("gzip", "checksum does not match");
        if (try self.take(source, 32) != self.member_bytes) return source.corrupt("gzip", "length does not match");
        self.state = .next_member;
    }

    // --- blocks ---

    fn blockHeader(self: *Decoder, source: *Source) Error!void {
        self.is_last_block = try self.take(source, 1) == 1;
        switch (try self.take(source, 2)) {
            0 => {
                self.drop(self.bit_count & 7);
                const length = try self.take(source, 16);
                if (try self.take(source, 16) != ~length & 0xffff) return source.corrupt("gzip", "bad stored block");
                self.stored_left = length;
                self.state = .stored;
            },
            1 => {
                self.literals.build(&fixed_literal_lengths, describeLiteral) catch unreachable;
                self.distances.build(&@as([32]u8, @splat(5)), describeDistance) catch unreachable;
                self.state = .coded;
            },
            2 => {
                try self.dynamicCodes(source);
                self.state = .coded;
            },
            else => return source.corrupt("gzip", "bad block type"),
        }
    }

    /// Copies plain bytes: first those among the bits, then straight from the source.
    fn stored(self: *Decoder, source: *Source) Error!void {
        while (self.stored_left != 0 and self.filled < window_bytes) {
            if (self.bit_count > self.missing_bits) {
                self.window[self.filled] = @truncate(self.bits);
                self.drop(8);
                self.filled += 1;
                self.stored_left -= 1;
                continue;
            }
            // What is above `bit_count` repeats bytes of the source; they must not be taken twice.
            self.bits = 0;
            try source.fill(1);
            const buffered = source.buffered();
            const count = @min(self.stored_left, buffered.len, window_bytes - self.filled);
            if (count == 0) return source.corrupt("gzip", "truncated");
            @memcpy(self.window[self.filled..][0..count], buffered[0..count]);
            self.filled += count;
            self.stored_left -= count;
            source.start += count;
        }
        if (self.stored_left == 0) self.endBlock();
    }

    fn endBlock(self: *Decoder) void {
        self.state = if (self.is_last_block) .trailer else .block_header;
    }

    /// Reads the code lengths of a block, themselves coded.
    fn dynamicCodes(self: *Decoder, source: *Source) Error!void {
        const literal_count = try self.take(source, 5) + 257;
        const distance_count = try self.take(source, 5) + 1;
        const length_count = try self.take(source, 4) + 4;
        if (literal_count > 286 or distance_count > 30) return source.corrupt("gzip", "too many codes");
        var length_lengths: [19]u8 = @splat(0);
        for (length_order[0..length_count]) |symbol| length_lengths[symbol] = @intCast(try self.take(source, 3));
        var length_table: huffman.Table(7, 128) = .{};
        length_table.build(&length_lengths, describeSymbol) catch return source.corrupt("gzip", "bad code lengths");
        var lengths: [286 + 30]u8 = undefined;
        try self.codeLengths(source, &length_table, lengths[0 .. literal_count + distance_count]);
        if (lengths[256] == 0) return source.corrupt("gzip", "no end of block");
        self.literals.build(lengths[0..literal_count], describeLiteral) catch return source.corrupt("gzip", "bad literal codes");
        self.distances.build(lengths[literal_count..][0..distance_count], describeDistance) catch return source.corrupt("gzip", "bad distance codes");
    }

    fn codeLengths(self: *Decoder, source: *Source, table: *const huffman.Table(7, 128), lengths: []u8) Error!void {
        var count: usize = 0;
        while (count < lengths.len) {
            try self.refill(source);
            var skipped: u6 = 0;
            const entry = table.lookup(self.bits, &skipped);
            if (entry.kind == .invalid) return source.corrupt("gzip", "bad code lengths");
            self.drop(entry.code_bits);
            const repeat: usize = switch (entry.value) {
                16 => 3 + try self.take(source, 2),
                17 => 3 + try self.take(source, 3),
                18 => 11 + try self.take(source, 7),
                else => 1,
            };
            if (repeat > lengths.len - count or (entry.value == 16 and count == 0)) return source.corrupt("gzip", "bad code lengths");
            const length: u8 = switch (entry.value) {
                16 => lengths[count - 1],
                17, 18 => 0,
                else => @intCast(entry.value),
            };
            @memset(lengths[count..][0..repeat], length);
            count += repeat;
        }
        if (self.bit_count < self.missing_bits) return source.corrupt("gzip", "truncated");
    }

    /// Decodes until the block ends or the window is full. The bits live in registers meanwhile. One refill lasts for
    /// a length and a distance: 15 + 5 + 15 + 13 bits.
    fn coded(self: *Decoder, source: *Source) Error!void {
        var bits: Bits = .{ .word = self.bits, .count = self.bit_count, .next = source.start };
        var filled = self.filled;
        defer {
            self.store(source, bits);
            self.filled = filled;
        }
        const window = &self.window;
        while (filled < window_bytes - longest_match) {
            if (source.end - bits.next >= 8) bits.refill(source.buffer) else {
                self.store(source, bits);
                try self.refillSlowly(source);
                bits = .{ .word = self.bits, .count = self.bit_count, .next = source.start };
            }
            var entry = bits.code(&self.literals);
            if (entry.kind == .literal) {
                window[filled] = @intCast(entry.value);
                filled += 1;
                // Two more literals fit into the same 56 bits.
                entry = bits.code(&self.literals);
                if (entry.kind == .literal) {
                    window[filled] = @intCast(entry.value);
                    filled += 1;
                    entry = bits.code(&self.literals);
                    if (entry.kind == .literal) {
                        window[filled] = @intCast(entry.value);
                        filled += 1;
                        continue;
                    }
                }
                // 45 bits may be gone: a length and a distance need a refill of their own.
                if (source.end - bits.next >= 8) bits.refill(source.buffer) else {
                    self.store(source, bits);
                    try self.refillSlowly(source);
                    bits = .{ .word = self.bits, .count = self.bit_count, .next = source.start };
                }
            }
            if (entry.kind != .base) {
                if (entry.kind != .end_of_block) return source.corrupt("gzip", "bad literal code");
                if (bits.count < self.missing_bits) return source.corrupt("gzip", "truncated");
                return self.endBlock();
            }
            const length = bits.extra(entry);
            entry = bits.code(&self.distances);
            if (entry.kind != .base) return source.corrupt("gzip", "bad distance code");
            const distance = bits.extra(entry);
            if (distance > filled - self.history_start) return source.corrupt("gzip", "distance too far back");
            copyMatch(window, filled, distance, length);
            filled += length;
        }
    }

    fn store(self: *Decoder, source: *Source, bits: Bits) void {
        self.bits = bits.word;
        self.bit_count = bits.count;
        source.start = bits.next;
    }
};

/// The bits of a decoder while they are worked on.
const Bits = struct {
    word: u64,
    count: u32,
    /// The place of the next byte in the source.
    next: usize,

    inline fn refill(self: *Bits, buffer: []const u8) void {
        self.word |= std.mem.readInt(u64, buffer[self.next..][0..8], .little) << @intCast(self.count);
        self.next += (63 - self.count) >> 3;
        self.count |= 56;
    }

    inline fn drop(self: *Bits, count: u32) void {
        self.word >>= @intCast(count);
        self.count -= count;
    }

    /// Takes a code and returns what it means.
    inline fn code(self: *Bits, table: anytype) huffman.Entry {
        var skipped: u6 = 0;
        const entry = table.lookup(self.word, &skipped);
        self.drop(@as(u32, skipped) + entry.code_bits);
        return entry;
    }

    /// Takes the extra bits behind a length or distance code.
    inline fn extra(self: *Bits, entry: huffman.Entry) usize {
        const mask = (@as(u64, 1) << entry.extra_bits) - 1;
        const value = entry.value + @as(usize, @intCast(self.word & mask));
        self.drop(entry.extra_bits);
        return value;
    }
};

/// Repeats `length` bytes from `distance` back; up to fifteen bytes more are written behind them.
inline fn copyMatch(window: []u8, at: usize, distance: usize, length: usize) void {
    var done: usize = 0;
    if (distance >= 16) {
        while (done < length) : (done += 16) {
            window[at + done ..][0..16].* = window[at + done - distance ..][0..16].*;
        }
    } else if (distance >= 8) {
        while (done < length) : (done += 8) {
            window[at + done ..][0..8].* = window[at + done - distance ..][0..8].*;
        }
    } else {
        while (done < length) : (done += 1) window[at + done] = window[at + done - distance];
    }
}

const length_order = [19]u8{ 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 };

const fixed_literal_lengths = blk: {
    var lengths: [288]u8 = undefined;
    for (&lengths, 0..) |*length, symbol| length.* = if (symbol < 144) 8 else if (symbol < 256) 9 else if (symbol < 280) 7 else 8;
    break :blk lengths;
};

const length_bases = [29]u16{ 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258 };
const length_extra = [29]u4{ 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0 };

fn describeLiteral(symbol: usize) huffman.Entry {
    if (symbol < 256) return .{ .value = @intCast(symbol), .kind = .literal };
    if (symbol == 256) return .{ .kind = .end_of_block };
    if (symbol > 285) return .{};
    return .{ .value = length_bases[symbol - 257], .extra_bits = length_extra[symbol - 257], .kind = .base };
}

fn describeDistance(symbol: usize) huffman.Entry {
    if (symbol > 29) return .{};
    if (symbol < 4) return .{ .value = @intCast(symbol + 1), .kind = .base };
    const extra_bits: u4 = @intCast(symbol / 2 - 1);
    const base = (@as(u32, 2 + @as(u32, @intCast(symbol & 1))) << extra_bits) + 1;
    return .{ .value = @intCast(base), .extra_bits = extra_bits, .kind = .base };
}

fn describeSymbol(symbol: usize) huffman.Entry {
    return .{ .value = @intCast(symbol), .kind = .literal };
}

/// CRC-32 by sixteen tables: sixteen bytes a step.
const Crc32 = struct {
    state: u32 = 0xffff_ffff,

    const tables = blk: {
        @setEvalBranchQuota(100_000);
        var made: [16][256]u32 = undefined;
        for (0..256) |byte| {
            var crc: u32 = byte;
            for (0..8) |_| crc = (crc >> 1) ^ (if (crc & 1 != 0) 0xedb88320 else 0);
            made[0][byte] = crc;
        }
        for (1..16) |i| for (0..256) |byte| {
            made[i][byte] = (made[i - 1][byte] >> 8) ^ made[0][made[i - 1][byte] & 0xff];
        };
        break :blk made;
    };

    fn update(self: *Crc32, bytes: []const u8) void {
        var rest = bytes;
        var crc = self.state;
        while (rest.len >= 16) : (rest = rest[16..]) {
            var chunk: [16]u8 = rest[0..16].*;
            std.mem.writeInt(u32, chunk[0..4], std.mem.readInt(u32, chunk[0..4], .little) ^ crc, .little);
            crc = 0;
            inline for (0..16) |i| crc ^= tables[15 - i][chunk[i]];
        }
        for (rest) |byte| crc = (crc >> 8) ^ tables[0][(crc ^ byte) & 0xff];
        self.state = crc;
    }

    fn value(self: *const Crc32) u32 {
        return ~self.state;
    }
};

test "CRC-32 of a known text" {
    var crc: Crc32 = .{};
    crc.update("123456789123456789");
    var other: Crc32 = .{};
    for ("123456789123456789") |byte| other.update(&.{byte});
    try std.testing.expectEqual(other.value(), crc.value());
    var known: Crc32 = .{};
    known.update("123456789");
    try std.testing.expectEqual(0xcbf43926, known.value());
}
