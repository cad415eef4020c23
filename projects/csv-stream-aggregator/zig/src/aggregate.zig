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
    scales: Scales = .{},

    const Scales = packed struct(u32) {
        /// The largest scale seen; `sum` is in its units.
        sum: u8 = unset,
        min: u8 = unset,
        max: u8 = unset,
        filler: u8 = unset,

        /// No number has this scale, so the first one takes the slow way.
        const unset = 0xff;
    };

    /// Adds one number. Nearly always all numbers of a column have the same scale.
    pub inline fn add(self: *Accumulator, value: Decimal) error{Overflow}!void {
        if (@as(u32, @bitCast(self.scales)) != @as(u32, value.scale) * 0x01010101) return self.addMixed(value);
        self.sum = try checkedAdd(self.sum, value.mantissa);
        self.values += 1;
        self.min = @min(self.min, value.mantissa);
        self.max = @max(self.max, value.mantissa);
    }

    noinline fn addMixed(self: *Accumulator, value: Decimal) error{Overflow}!void {
        if (self.values == 0) {
            const scales: Scales = @bitCast(@as(u32, value.scale) * 0x01010101);
            self.* = .{ .sum = value.mantissa, .values = 1, .min = value.mantissa, .max = value.mantissa, .scales = scales };
            return;
        }
        if (value.scale > self.scales.sum) {
            const product = @mulWithOverflow(self.sum, decimal.powers_of_ten[value.scale - self.scales.sum]);
            if (product[1] != 0) return error.Overflow;
            self.sum = product[0];
            self.scales.sum = value.scale;
            self.scales.filler = value.scale;
        }
        self.sum = try checkedAdd(self.sum, value.units(self.scales.sum));
        self.values += 1;
        if (value.order(self.low()) == .lt) {
            self.min = value.mantissa;
            self.scales.min = value.scale;
        }
        if (value.order(self.high()) == .gt) {
            self.max = value.mantissa;
            self.scales.max = value.scale;
        }
    }

    pub fn scale(self: *const Accumulator) u8 {
        return self.scales.sum;
    }

    pub fn low(self: *const Accumulator) Decimal {
        return .{ .mantissa = self.min, .scale = self.scales.min };
    }

    pub fn high(self: *const Accumulator) Decimal {
        return .{ .mantissa = self.max, .scale = self.scales.max };
    }
};

inline fn checkedAdd(a: i128, b: i128) error{Overflow}!i128 {
    const sum = @addWithOverflow(a, b);
    if (sum[1] != 0) return error.Overflow;
    return sum[0];
}

/// A group lies in one piece: this head, the key padded with zeros to whole units, and its accumulators. So a row
/// touches one place of the memory (and one slot of the table), however many groups there are.
pub const Group = extern struct {
    rows: u64,
    key_bytes: u64,

    fn keyStart(self: *const Group) [*]const u8 {
        return @as([*]const u8, @ptrCast(self)) + @sizeOf(Group);
    }

    pub fn key(self: *const Group) []const u8 {
        return self.keyStart()[0..self.key_bytes];
    }

    /// The accumulators lie behind the padded key; `Groups.insert` made them, aligned.
    pub inline fn accumulators(self: *Group, columns: usize) []Accumulator {
        const start = @as([*]u8, @ptrCast(self)) + @sizeOf(Group) + roundUp(self.key_bytes);
        return @as([*]Accumulator, @ptrCast(@alignCast(start)))[0..columns];
    }
};

const unit_bytes = 16;

/// What must be readable behind a key that is looked up.
pub const key_padding_bytes = 16;

comptime {
    std.debug.assert(@sizeOf(Group) == unit_bytes and @alignOf(Accumulator) <= unit_bytes);
    std.debug.assert(@sizeOf(Accumulator) % unit_bytes == 0);
}

inline fn roundUp(bytes: u64) u64 {
    return (bytes + unit_bytes - 1) & ~@as(u64, unit_bytes - 1);
}

pub const Groups = struct {
    gpa: std.mem.Allocator,
    /// Per process, so that nobody can prepare keys that all fall into one place.
    seed: u64,
    max_groups: usize,
    columns: usize = 0,
    /// All groups, one behind the other, in units of sixteen bytes.
    units: std.array_list.Aligned(Unit, .fromByteUnits(unit_bytes)) = .empty,
    /// Where each group starts, in units.
    list: std.ArrayList(u32) = .empty,
    /// The upper half of the hash, and the start of the group plus one; 0 is free. A power of two of them.
    slots: []u64 = &.{},

    pub const Error = error{ OutOfMemory, TooManyGroups };
    const Unit = [unit_bytes]u8;

    const min_slots = 1 << 10;
    const tag_mask: u64 = 0xffff_ffff_0000_0000;

    pub fn deinit(self: *Groups) void {
        self.units.deinit(self.gpa);
        self.list.deinit(self.gpa);
        self.gpa.free(self.slots);
    }

    /// Forgets all groups and keeps the memory.
    pub fn reset(self: *Groups, columns: usize) error{OutOfMemory}!void {
        self.columns = columns;
        self.units.clearRetainingCapacity();
        self.list.clearRetainingCapacity();
        if (self.slots.len == 0) self.slots = try self.gpa.alloc(u64, min_slots);
        @memset(self.slots, 0);
    }

    /// Behind the key, `key_padding_bytes` are readable.
    pub inline fn hashKey(self: *const Groups, key: []const u8) u64 {
        return hashOf(self.seed, key);
    }

    /// Returns the group of a key, making it if need be; it stays in place until the next call.
    /// Behind the key, `key_padding_bytes` are readable.
    pub inline fn find(self: *Groups, key: []const u8, hash: u64) Error!*Group {
        const mask = self.slots.len - 1;
        var at = hash & mask;
        while (self.slots[at] != 0) : (at = (at + 1) & mask) {
            if ((self.slots[at] ^ hash) & tag_mask != 0) continue;
            const group = self.groupAt(@as(u32, @truncate(self.slots[at])) - 1);
            if (group.key_bytes == key.len and sameKey(group.keyStart(), key.ptr, key.len)) return group;
        }
        return self.insert(key, hash, at);
    }

    /// Asks for the slot of a hash, to be looked at soon.
    pub inline fn prefetchSlot(self: *const Groups, hash: u64) void {
        @prefetch(&self.slots[hash & (self.slots.len - 1)], .{});
    }

    /// Asks for the group that the slot of a hash points to: most likely the right one.
    pub inline fn prefetchGroup(self: *const Groups, hash: u64) void {
        const slot = self.slots[hash & (self.slots.len - 1)];
        if (slot == 0) return;
        const group: [*]const u8 = @ptrCast(self.groupAt(@as(u32, @truncate(slot)) - 1));
        @prefetch(group, .{ .rw = .write });
        @prefetch(group + 64, .{ .rw = .write });
    }

    /// Every group starts at a unit, and so is aligned.
    pub inline fn groupAt(self: *const Groups, start: u32) *Group {
        return @ptrCast(@alignCast(&self.units.items[start]));
    }

    noinline fn insert(self: *Groups, key: []const u8, hash: u64, at: usize) Error!*Group {
        if (self.list.items.len == self.max_groups) return error.TooManyGroups;
        const start = self.units.items.len;
        const bytes = @sizeOf(Group) + roundUp(key.len) + self.columns * @sizeOf(Accumulator);
        // 2^32 units are 64 GiB.
        if (start + bytes / unit_bytes > std.math.maxInt(u32)) return error.OutOfMemory;
        @memset(try self.units.addManyAsSlice(self.gpa, bytes / unit_bytes), @splat(0));
        try self.list.append(self.gpa, @intCast(start));
        const group = self.groupAt(@intCast(start));
        group.* = .{ .rows = 0, .key_bytes = key.len };
        @memcpy(@constCast(group.keyStart())[0..key.len], key);
        @memset(group.accumulators(self.columns), .{});
        self.slots[at] = (hash & tag_mask) | (start + 1);
        if (self.list.items.len * 2 > self.slots.len) try self.grow();
        return group;
    }

    fn grow(self: *Groups) error{OutOfMemory}!void {
        const wider = try self.gpa.alloc(u64, self.slots.len * 2);
        self.gpa.free(self.slots);
        self.slots = wider;
        @memset(wider, 0);
        const mask = wider.len - 1;
        for (self.list.items) |start| {
            const hash = hashOf(self.seed, self.groupAt(start).key());
            var at = hash & mask;
            while (wider[at] != 0) at = (at + 1) & mask;
            wider[at] = (hash & tag_mask) | (@as(u64, start) + 1);
        }
    }
};

inline fn load(from: [*]const u8) u64 {
    return std.mem.readInt(u64, from[0..8], .little);
}

/// Compares by words, the last one cut; both keys are readable up to seven bytes behind their end.
inline fn sameKey(a: [*]const u8, b: [*]const u8, length: usize) bool {
    var at: usize = 0;
    while (at + 8 <= length) : (at += 8) {
        if (load(a + at) != load(b + at)) return false;
    }
    return at == length or (load(a + at) ^ load(b + at)) << @intCast((8 - (length - at)) * 8) == 0;
}

/// A multiply-fold hash over sixteen bytes a step; what is read behind the key is cut off.
inline fn hashOf(seed: u64, key: []const u8) u64 {
    const secrets = [2]u64{ 0xa0761d6478bd642f, 0xe7037ed1a0b428db };
    var state = seed ^ key.len;
    var from = key.ptr;
    var left = key.len;
    while (left > 16) : (left -= 16) {
        state = fold(load(from) ^ state, load(from + 8) ^ secrets[0]);
        from += 16;
    }
    var words = [2]u64{ 0, 0 };
    if (left > 8) {
        words = .{ load(from), load(from + 8) << @intCast((16 - left) * 8) };
    } else if (left != 0) {
        words[0] = load(from) << @intCast((8 - left) * 8);
    }
    return fold(fold(words[0] ^ state, words[1] ^ secrets[0]) ^ secrets[1], seed ^ secrets[1]);
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
    try std.testing.expectEqual(3, column.scale());
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
    var buffer: [64]u8 = @splat('?');
    for (0..3) |round| for (0..5000) |i| {
        const key = try std.fmt.bufPrint(buffer[0..40], "{d}{s}", .{ i, "a longer key, sometimes"[0 .. i % 24] });
        const group = try groups.find(key, groups.hashKey(key));
        try std.testing.expectEqual(round, group.rows);
        try std.testing.expectEqualStrings(key, group.key());
        group.rows += 1;
        try group.accumulators(1)[0].add(.{ .mantissa = 1, .scale = 0 });
        try std.testing.expectEqual(round + 1, group.accumulators(1)[0].sum);
    };
    try std.testing.expectError(error.TooManyGroups, groups.find(buffer[40..50], 1));
}
