//! Deflate's Huffman codes as lookup tables: a primary table, and second tables for the longer codes.

const std = @import("std");

pub const max_code_bits = 15;

pub const Kind = enum(u4) { literal, base, end_of_block, second_table, invalid };

pub const Entry = packed struct(u32) {
    /// A literal, the base of a length or distance, or where the second table starts.
    value: u16 = 0,
    /// Bits of the code to take (within its table).
    code_bits: u8 = 0,
    /// Extra bits behind a base; for a second table, the bits of its index.
    extra_bits: u4 = 0,
    kind: Kind = .invalid,
};

pub const Error = error{BadCode};

pub fn Table(comptime primary_bits: u4, comptime entry_count: usize) type {
    return struct {
        entries: [entry_count]Entry = undefined,

        const Self = @This();
        const primary_mask: u64 = (1 << primary_bits) - 1;

        /// Finds the entry of the next code; `bits` has at least `max_code_bits` of them.
        pub inline fn lookup(self: *const Self, bits: u64, skipped: *u6) Entry {
            const first = self.entries[@intCast(bits & primary_mask)];
            if (first.kind != .second_table) {
                skipped.* = 0;
                return first;
            }
            skipped.* = primary_bits;
            const rest = bits >> primary_bits;
            const index = rest & ((@as(u64, 1) << @intCast(first.extra_bits)) - 1);
            return self.entries[first.value + @as(usize, @intCast(index))];
        }

        /// Builds the tables from the code length of each symbol. `describe` says what a symbol means.
        pub fn build(self: *Self, lengths: []const u8, describe: *const fn (usize) Entry) Error!void {
            var counts: [max_code_bits + 1]u32 = @splat(0);
            for (lengths) |length| counts[length] += 1;
            const longest = try checkCounts(&counts);
            @memset(self.entries[0 .. 1 << primary_bits], .{});
            if (longest == 0) return;

            var free: usize = 1 << primary_bits;
            var code: u32 = 0;
            var second: struct { prefix: u64 = ~@as(u64, 0), start: usize = 0, bits: u4 = 0 } = .{};
            for (1..longest + 1) |length| {
                for (lengths, 0..) |symbol_length, symbol| {
                    if (symbol_length != length) continue;
                    const reversed = reverse(code, length);
                    var entry = describe(symbol);
                    if (length <= primary_bits) {
                        entry.code_bits = @intCast(length);
                        var at = reversed;
                        while (at <= primary_mask) : (at += @as(usize, 1) << @intCast(length)) self.entries[at] = entry;
                    } else {
                        const prefix = reversed & primary_mask;
                        if (prefix != second.prefix) {
                            second = .{ .prefix = prefix, .start = free, .bits = secondBits(&counts, length, longest) };
                            free += @as(usize, 1) << second.bits;
                            if (free > entry_count) return error.BadCode;
                            @memset(self.entries[second.start..free], .{});
                            self.entries[@intCast(prefix)] = .{ .value = @intCast(second.start), .extra_bits = second.bits, .kind = .second_table };
                        }
                        const rest_bits = length - primary_bits;
                        entry.code_bits = @intCast(rest_bits);
                        var at = reversed >> primary_bits;
                        while (at < @as(usize, 1) << second.bits) : (at += @as(usize, 1) << @intCast(rest_bits)) {
                            self.entries[second.start + at] = entry;
                        }
                    }
                    counts[length] -= 1;
                    code += 1;
                }
                code <<= 1;
            }
        }

        /// How many bits the second table needs that starts with a code of `length`.
        fn secondBits(counts: *const [max_code_bits + 1]u32, length: usize, longest: usize) u4 {
            var bits: usize = length - primary_bits;
            var left: i64 = @as(i64, 1) << @intCast(bits);
            while (bits + primary_bits < longest) {
                left -= counts[bits + primary_bits];
                if (left <= 0) break;
                bits += 1;
                left <<= 1;
            }
            return @intCast(bits);
        }
    };
}

/// Returns the longest length; too many codes are an error, too few only for a lone code of one bit.
fn checkCounts(counts: *const [max_code_bits + 1]u32) Error!usize {
    var longest: usize = 0;
    var left: i64 = 1;
    for (1..counts.len) |length| {
        if (counts[length] != 0) longest = length;
        left = left * 2 - counts[length];
        if (left < 0) return error.BadCode;
    }
    if (left > 0 and longest > 1) return error.BadCode;
    return longest;
}

fn reverse(code: u32, length: usize) usize {
    return @bitReverse(code) >> @intCast(32 - length);
}

fn describeLiteral(symbol: usize) Entry {
    return .{ .value = @intCast(symbol), .kind = .literal };
}

test "codes of every length are found" {
    // One code each of 1..14 bits and two of 15: complete, and far longer than the primary table.
    var lengths: [16]u8 = undefined;
    for (0..15) |i| lengths[i] = @intCast(i + 1);
    lengths[15] = 15;
    var table: Table(5, 2048) = .{};
    try table.build(&lengths, describeLiteral);
    for (0..16) |symbol| {
        // The code of symbol n is n ones and a zero; the last is all ones.
        const bits: u64 = (@as(u64, 1) << @intCast(@min(symbol, 15))) - 1;
        var skipped: u6 = 0;
        const entry = table.lookup(bits, &skipped);
        try std.testing.expectEqual(symbol, entry.value);
        try std.testing.expectEqual(lengths[symbol], entry.code_bits + skipped);
    }
}

test "impossible sets of codes" {
    var table: Table(9, 1024) = .{};
    try std.testing.expectError(error.BadCode, table.build(&.{ 1, 1, 1 }, describeLiteral));
    try std.testing.expectError(error.BadCode, table.build(&.{ 2, 2, 2 }, describeLiteral));
    try table.build(&.{ 0, 1 }, describeLiteral);
}
