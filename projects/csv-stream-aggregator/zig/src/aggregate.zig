//! The groups: an open-addressing hash table over keys in one arena, and the running sums of every group.

const std = @import("std");
const decimal = @import("decimal.zig");
const Decimal = decimal.Decimal;

/// What is known of one aggregated column within a group.
pub const Accumulator = struct {
    sum: i128 = 0,
    /// Non-empty fields.
    values: u64 = 0,
    min: i64 = 0,
    max: i64 = 0,
    /// The largest scale seen; `sum` is in its units.
    scale: u8 = 0,
    min_scale: u8 = 0,
    max_scale: u8 = 0,

    /// Adds one number.
    pub inline fn add(self: *Accumulator, value: Decimal) error{Overflow}!void {
        if (self.values == 0) {
            self.* = .{ .sum = value.mantissa, .values = 1, .min = value.mantissa, .max = value.mantissa, .scale = value.scale, .min_scale = value.scale, .max_scale = value.scale };
            return;
        }
        if (value.scale != self.scale or self.min_scale != self.scale or self.max_scale != self.scale) return self.addMixed(value);
        self.sum = try checkedAdd(self.sum, value.mantissa);
        self.values += 1;
        self.min = @min(self.min, value.mantissa);
        self.max = @max(self.max, value.mantissa);
    }

    noinline fn addMixed(self: *Accumulator, value: Decimal) error{Overflow}!void {
        if (value.scale > self.scale) {
            const product = @mulWithOverflow(self.sum, decimal.powers_of_ten[value.scale - self.scale]);
            if (product[1] != 0) return error.Overflow;
            self.sum = product[0];
            self.scale = value.scale;
        }
        self.sum = try checkedAdd(self.sum, value.units(self.scale));
        self.values += 1;
        if (value.order(self.low()) == .lt) {
            self.min = value.mantissa;
            self.min_scale = value.scale;
        }
        if (value.order(self.high()) == .gt) {
            self.max = value.mantissa;
            self.max_scale = value.scale;
        }
    }

    pub fn low(self: *const Accumulator) Decimal {
        return .{ .mantissa = self.min, .scale = self.min_scale };
    }

    pub fn high(self: *const Accumulator) Decimal {
        return .{ .mantissa = self.max, .scale = self.max_scale };
    }
};

inline fn checkedAdd(a: i128, b: i128) error{Overflow}!i128 {
    const sum = @addWithOverflow(a, b);
    if (sum[1] != 0) return error.Overflow;
    return sum[0];
}

pub const Group = struct {
    hash: u64,
    key_start: u64,
    key_bytes: u32,
    rows: u64,
};

pub const Groups = struct {
    gpa: std.mem.Allocator,
    /// Per process, so that nobody can prepare keys that all fall into one place.
    seed: u64,
    max_groups: usize,
    columns: usize = 0,
    list: std.ArrayList(Group) = .empty,
    accumulators: std.ArrayList(Accumulator) = .empty,
    keys: std.ArrayList(u8) = .empty,
    /// The upper half of the hash and the number of the group plus one; 0 is free. A power of two of them.
    slots: []u64 = &.{},

    pub const Error = error{ OutOfMemory, TooManyGroups };

    const min_slots = 1 << 10;
    const tag_mask: u64 = 0xffff_ffff_0000_0000;

    pub fn deinit(self: *Groups) void {
        self.list.deinit(self.gpa);
        self.accumulators.deinit(self.gpa);
        self.keys.deinit(self.gpa);
        self.gpa.free(self.slots);
    }

    /// Forgets all groups and keeps the memory.
    pub fn reset(self: *Groups, columns: usize) error{OutOfMemory}!void {
        self.columns = columns;
        self.list.clearRetainingCapacity();
        self.accumulators.clearRetainingCapacity();
        self.keys.clearRetainingCapacity();
        if (self.slots.len == 0) self.slots = try self.gpa.alloc(u64, min_slots);
        @memset(self.slots, 0);
    }

    /// Returns the number of the group of a key, making it if need be.
    pub inline fn find(self: *Groups, key: []const u8) Error!usize {
        const hash = hashOf(self.seed, key);
        const mask = self.slots.len - 1;
        var at = hash & mask;
        while (self.slots[at] != 0) : (at = (at + 1) & mask) {
            if ((self.slots[at] ^ hash) & tag_mask != 0) continue;
            const number: usize = @as(u32, @truncate(self.slots[at])) - 1;
            if (std.mem.eql(u8, self.keyOf(self.list.items[number]), key)) return number;
        }
        return self.insert(key, hash, at);
    }

    pub fn keyOf(self: *const Groups, group: Group) []const u8 {
        return self.keys.items[group.key_start..][0..group.key_bytes];
    }

    pub inline fn accumulatorsOf(self: *Groups, number: usize) []Accumulator {
        return self.accumulators.items[number * self.columns ..][0..self.columns];
    }

    noinline fn insert(self: *Groups, key: []const u8, hash: u64, at: usize) Error!usize {
        const number = self.list.items.len;
        if (number == self.max_groups) return error.TooManyGroups;
        const key_start = self.keys.items.len;
        try self.keys.appendSlice(self.gpa, key);
        try self.accumulators.appendNTimes(self.gpa, .{}, self.columns);
        try self.list.append(self.gpa, .{ .hash = hash, .key_start = key_start, .key_bytes = @intCast(key.len), .rows = 0 });
        self.slots[at] = (hash & tag_mask) | (number + 1);
        if (self.list.items.len * 2 > self.slots.len) try self.grow();
        return number;
    }

    fn grow(self: *Groups) error{OutOfMemory}!void {
        const wider = try self.gpa.alloc(u64, self.slots.len * 2);
        self.gpa.free(self.slots);
        self.slots = wider;
        @memset(wider, 0);
        const mask = wider.len - 1;
        for (self.list.items, 1..) |group, number| {
            var at = group.hash & mask;
            while (wider[at] != 0) at = (at + 1) & mask;
            wider[at] = (group.hash & tag_mask) | number;
        }
    }
};

/// A multiply-fold hash; keys of up to 16 bytes take two loads and two multiplications.
inline fn hashOf(seed: u64, key: []const u8) u64 {
    if (key.len > 16) return std.hash.Wyhash.hash(seed, key);
    var a: u64 = 0;
    var b: u64 = 0;
    if (key.len >= 8) {
        a = std.mem.readInt(u64, key[0..8], .little);
        b = std.mem.readInt(u64, key[key.len - 8 ..][0..8], .little);
    } else if (key.len >= 4) {
        a = std.mem.readInt(u32, key[0..4], .little);
        b = std.mem.readInt(u32, key[key.len - 4 ..][0..4], .little);
    } else if (key.len != 0) {
        a = (@as(u64, key[0]) << 16) | (@as(u64, key[key.len >> 1]) << 8) | key[key.len - 1];
    }
    const secret = 0xa0761d6478bd642f;
    return fold(fold(a ^ seed, b ^ secret) ^ key.len, seed ^ 0xe7037ed1a0b428db);
}

inline fn fold(a: u64, b: u64) u64 {
    const product = @as(u128, a) * b;
    return @as(u64, @truncate(product)) ^ @as(u64, @truncate(product >> 64));
}

test "sums grow in scale" {
    var column: Accumulator = .{};
    for ([_]Decimal{ .{ .mantissa = 150, .scale = 2 }, .{ .mantissa = 25, .scale = 1 }, .{ .mantissa = -1, .scale = 3 } }) |value| {
        try column.add(value);
    }
    try std.testing.expectEqual(3999, column.sum);
    try std.testing.expectEqual(3, column.scale);
    try std.testing.expectEqual(-1, column.min);
    try std.testing.expectEqualDeep(Decimal{ .mantissa = 25, .scale = 1 }, column.high());
}

test "a sum that leaves 128 bits is an error" {
    var column: Accumulator = .{};
    try column.add(.{ .mantissa = 1, .scale = 18 });
    var added: usize = 0;
    while (added < 200) : (added += 1) {
        column.add(.{ .mantissa = 999_999_999_999_999_999, .scale = 0 }) catch break;
    }
    try std.testing.expectEqual(170, added);
}

test "groups are found again" {
    var groups: Groups = .{ .gpa = std.testing.allocator, .seed = 7, .max_groups = 5000 };
    defer groups.deinit();
    try groups.reset(1);
    var buffer: [32]u8 = undefined;
    for (0..3) |_| for (0..5000) |i| {
        const key = try std.fmt.bufPrint(&buffer, "{d}", .{i * i * i * 31});
        try std.testing.expectEqual(i, try groups.find(key));
    };
    try std.testing.expectError(error.TooManyGroups, groups.find("one more"));
}
