//! Finite state entropy codes of Zstandard (RFC 8878, section 4.1), and the bit streams that are read backwards.

const std = @import("std");

pub const Error = error{BadCode};

pub const log_max = 9;
const symbols_max = 64;

/// Bits from the end of some bytes to their start. Behind the bytes, seven more must be readable.
pub const BackwardBits = struct {
    bytes: [*]const u8,
    /// Bits not read yet; below zero when more were read than there are.
    left: i64,

    pub fn init(bytes: []const u8) Error!BackwardBits {
        if (bytes.len == 0 or bytes[bytes.len - 1] == 0) return error.BadCode;
        // The highest bit set marks the end of the stream.
        const marker_bits = @clz(bytes[bytes.len - 1]) + 1;
        return .{ .bytes = bytes.ptr, .left = @as(i64, @intCast(bytes.len * 8)) - marker_bits };
    }

    /// The next bits as a number, zeros where there are none left. At most 56.
    pub inline fn peek(self: *const BackwardBits, count: u6) u64 {
        const low = self.left - count;
        const mask = (@as(u64, 1) << count) - 1;
        if (low >= 0) return self.load(@intCast(low)) & mask;
        return self.peekBehind(low) & mask;
    }

    noinline fn peekBehind(self: *const BackwardBits, low: i64) u64 {
        if (self.left <= 0) return 0;
        const real = self.load(0) & ((@as(u64, 1) << @intCast(self.left)) - 1);
        return real << @intCast(-low);
    }

    pub inline fn take(self: *BackwardBits, count: u6) u64 {
        const value = self.peek(count);
        self.left -= count;
        return value;
    }

    /// The next 57 bits or more, the first one highest. Only while 64 are left.
    pub inline fn top(self: *const BackwardBits) u64 {
        const low: u64 = @intCast(self.left - 64);
        const above: u6 = @intCast((8 - (low & 7)) & 7);
        const start = (low + above) >> 3;
        return std.mem.readInt(u64, self.bytes[start..][0..8], .little) << above;
    }

    inline fn load(self: *const BackwardBits, low: u64) u64 {
        const word = std.mem.readInt(u64, self.bytes[low >> 3 ..][0..8], .little);
        return word >> @intCast(low & 7);
    }
};

pub const Table = struct {
    pub const Entry = struct { base: u16, symbol: u8, bits: u6 };

    log: u6 = 0,
    entries: [1 << log_max]Entry = undefined,

    /// A code with one symbol, which takes no bits.
    pub fn single(self: *Table, symbol: u64, symbols: usize) Error!void {
        if (symbol >= symbols) return error.BadCode;
        self.log = 0;
        self.entries[0] = .{ .base = 0, .symbol = @intCast(symbol), .bits = 0 };
    }

    /// Reads the probabilities of a code, and steps over them.
    pub fn read(self: *Table, rest: *[]const u8, symbols: usize, most_log: u6) Error!void {
        var forward: ForwardBits = .{ .bytes = rest.* };
        const log: u6 = @intCast(forward.take(4) + 5);
        if (log > most_log) return error.BadCode;
        var probabilities: [symbols_max]i16 = @splat(0);
        const count = try forward.probabilities(&probabilities, symbols, log);
        const used = (forward.at + 7) / 8;
        if (used > rest.len) return error.BadCode;
        rest.* = rest.*[used..];
        try self.build(probabilities[0..count], log);
    }

    /// Spreads the symbols over the states; a probability of -1 is "less than one".
    pub fn build(self: *Table, probabilities: []const i16, log: u6) Error!void {
        self.log = log;
        const size = @as(usize, 1) << log;
        var next: [symbols_max]u16 = undefined;
        var high = size;
        for (probabilities, 0..) |probability, symbol| {
            next[symbol] = @intCast(@abs(probability));
            if (probability == -1) {
                high -= 1;
                self.entries[high].symbol = @intCast(symbol);
            }
        }
        const step = (size >> 1) + (size >> 3) + 3;
        var position: usize = 0;
        for (probabilities, 0..) |probability, symbol| {
            if (probability <= 0) continue;
            for (0..@intCast(probability)) |_| {
                self.entries[position].symbol = @intCast(symbol);
                position = (position + step) & (size - 1);
                while (position >= high) position = (position + step) & (size - 1);
            }
        }
        if (position != 0) return error.BadCode;
        for (self.entries[0..size]) |*entry| {
            const state = next[entry.symbol];
            next[entry.symbol] += 1;
            entry.bits = log - std.math.log2_int(u16, state);
            entry.base = @intCast((@as(usize, state) << entry.bits) - size);
        }
    }
};

const ForwardBits = struct {
    bytes: []const u8,
    at: usize = 0,

    fn peek(self: *const ForwardBits, count: u6) u32 {
        var value: u32 = 0;
        for (0..count) |i| {
            const at = self.at + i;
            if (at / 8 >= self.bytes.len) break;
            value |= @as(u32, self.bytes[at / 8] >> @intCast(at % 8) & 1) << @intCast(i);
        }
        return value;
    }

    fn take(self: *ForwardBits, count: u6) u32 {
        const value = self.peek(count);
        self.at += count;
        return value;
    }

    /// Reads probabilities until they sum up to the number of states; returns how many there are.
    fn probabilities(self: *ForwardBits, into: *[symbols_max]i16, symbols: usize, log: u6) Error!usize {
        var left: u32 = @as(u32, 1) << @intCast(log);
        var symbol: usize = 0;
        while (left != 0) {
            if (symbol >= symbols) return error.BadCode;
            const bits: u6 = @as(u6, std.math.log2_int(u32, left + 1)) + 1;
            // Values below the threshold have one bit less.
            const threshold = (@as(u32, 1) << @intCast(bits)) - 2 - left;
            const half = @as(u32, 1) << @intCast(bits - 1);
            var value = self.peek(bits);
            if (value & (half - 1) < threshold) {
                value &= half - 1;
                self.at += bits - 1;
            } else {
                if (value >= half) value -= threshold;
                self.at += bits;
            }
            const probability = @as(i16, @intCast(value)) - 1;
            if (@abs(probability) > left) return error.BadCode;
            into[symbol] = probability;
            left -= @abs(probability);
            symbol += 1;
            if (probability == 0) symbol += try self.zeros(symbols - symbol);
        }
        return symbol;
    }

    /// Counts the further symbols that do not occur.
    fn zeros(self: *ForwardBits, most: usize) Error!usize {
        var count: usize = 0;
        while (true) {
            const more = self.take(2);
            count += more;
            if (count > most) return error.BadCode;
            if (more != 3) return count;
        }
    }
};

/// Reads Huffman weights that are coded by two alternating states; returns how many there are.
pub fn readWeights(bytes: []const u8, weights: *[256]u8) Error!usize {
    var rest = bytes;
    var table: Table = .{};
    try table.read(&rest, 13, 6);
    var bits = try BackwardBits.init(rest);
    var states: [2]usize = .{ @intCast(bits.take(table.log)), @intCast(bits.take(table.log)) };
    if (bits.left < 0) return error.BadCode;
    var count: usize = 0;
    while (count < 254) {
        inline for (0..2) |i| {
            const entry = table.entries[states[i]];
            weights[count] = entry.symbol;
            count += 1;
            if (bits.left < entry.bits) {
                // The other state still holds a last weight.
                weights[count] = table.entries[states[1 - i]].symbol;
                return count + 1;
            }
            states[i] = entry.base + @as(usize, @intCast(bits.take(entry.bits)));
        }
    }
    return error.BadCode;
}

test "bits are read from the end" {
    // 0b1_0110_101 after the marker: the stream is 0110101 from the top.
    const bytes = [_]u8{ 0b0110_1011, 0b0000_0101, 0, 0, 0, 0, 0, 0, 0, 0 };
    var bits = try BackwardBits.init(bytes[0..2]);
    try std.testing.expectEqual(10, bits.left);
    try std.testing.expectEqual(0b01, bits.take(2));
    try std.testing.expectEqual(0b0110, bits.take(4));
    try std.testing.expectEqual(0b1011, bits.peek(4));
    try std.testing.expectEqual(0b101100, bits.peek(6));
    _ = bits.take(4);
    try std.testing.expectEqual(0, bits.left);
    try std.testing.expectError(error.BadCode, BackwardBits.init(bytes[0..3]));
}

test "a default table is spread over all states" {
    var table: Table = .{};
    try table.build(&.{ 1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1 }, 5);
    try std.testing.expectEqual(0, table.entries[0].symbol);
    try std.testing.expectEqual(24, table.entries[31].symbol);
    try std.testing.expectEqual(5, table.entries[31].bits);
}
