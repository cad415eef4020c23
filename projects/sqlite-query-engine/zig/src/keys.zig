//! Hashing and storing tuples of values under their collations: GROUP BY and DISTINCT.

const std = @import("std");
const value_zig = @import("value.zig");
const Pager = @import("pager.zig").Pager;
const Error = @import("diag.zig").Error;
const Value = value_zig.Value;
const Collation = value_zig.Collation;

/// A copy that outlives the row; what lies in the mapping is only borrowed.
pub fn persist(arena: std.mem.Allocator, pager: ?*const Pager, value: Value) Error!Value {
    switch (value) {
        .text => |text| return .{ .text = if (pager != null and pager.?.owns(text)) text else try arena.dupe(u8, text) },
        .blob => |bytes| return .{ .blob = if (pager != null and pager.?.owns(bytes)) bytes else try arena.dupe(u8, bytes) },
        else => return value,
    }
}

/// Equal values hash alike: 1 and 1.0, and text that its collation holds equal.
pub inline fn hashValue(seed: u64, value: Value, collation: Collation) u64 {
    return switch (value) {
        .null => mix(seed ^ 0x9ae16a3b2f90404f),
        .int => |x| mix(seed ^ @as(u64, @bitCast(x))),
        .real => |x| hashReal(seed, x),
        .text => |text| switch (collation) {
            .binary => std.hash.Wyhash.hash(seed, text),
            .nocase => hashFolded(seed, text),
            .rtrim => std.hash.Wyhash.hash(seed, value_zig.trimSpaces(text)),
        },
        .blob => |bytes| std.hash.Wyhash.hash(seed +% 1, bytes),
    };
}

inline fn mix(x: u64) u64 {
    const product = @as(u128, x ^ 0xa0761d6478bd642f) * 0xe7037ed1a0b428db;
    return @as(u64, @truncate(product)) ^ @as(u64, @truncate(product >> 64));
}

fn hashReal(seed: u64, x: f64) u64 {
    if (x >= -9223372036854775808.0 and x < 9223372036854775808.0) {
        const int: i64 = @trunc(x);
        if (@as(f64, @floatFromInt(int)) == x) return mix(seed ^ @as(u64, @bitCast(int)));
    }
    return mix(seed ^ @as(u64, @bitCast(x)));
}

fn hashFolded(seed: u64, text: []const u8) u64 {
    var hash = seed;
    for (text) |byte| hash = (hash ^ std.ascii.toLower(byte)) *% 0x100000001b3;
    return mix(hash);
}

/// Tuples of a fixed width, numbered in the order in which they were first seen.
pub const Set = struct {
    arena: std.mem.Allocator,
    pager: ?*const Pager,
    collations: []const Collation,
    /// Tuple after tuple.
    values: std.ArrayList(Value) = .empty,
    hashes: std.ArrayList(u32) = .empty,
    /// Open addressing: tuple number + 1, or 0.
    slots: []u32 = &.{},

    pub fn count(self: *const Set) u32 {
        return @intCast(self.hashes.items.len);
    }

    pub fn tuple(self: *const Set, number: usize) []const Value {
        const width = self.collations.len;
        return self.values.items[number * width ..][0..width];
    }

    pub const Found = struct { number: u32, new: bool };

    /// Finds the tuple, or stores a copy of it.
    pub fn insert(self: *Set, wanted: []const Value) Error!Found {
        var hash: u64 = 0;
        for (wanted, self.collations) |value, collation| hash = hashValue(hash, value, collation);
        if (self.hashes.items.len * 2 >= self.slots.len) try self.grow();
        const short: u32 = @truncate(hash);
        const mask = self.slots.len - 1;
        var at = short & mask;
        while (self.slots[at] != 0) : (at = (at + 1) & mask) {
            const number = self.slots[at] - 1;
            if (self.hashes.items[number] == short and self.equals(number, wanted)) return .{ .number = number, .new = false };
        }
        const number = self.count();
        self.slots[at] = number + 1;
        try self.hashes.append(self.arena, short);
        for (wanted) |value| try self.values.append(self.arena, try persist(self.arena, self.pager, value));
        return .{ .number = number, .new = true };
    }

    inline fn equals(self: *const Set, number: u32, wanted: []const Value) bool {
        for (self.tuple(number), wanted, self.collations) |a, b, collation| {
            if (a == .int and b == .int) {
                if (a.int != b.int) return false;
            } else if (collation == .binary and a == .text and b == .text) {
                if (!std.mem.eql(u8, a.text, b.text)) return false;
            } else if (value_zig.compare(a, b, collation) != .eq) return false;
        }
        return true;
    }

    fn grow(self: *Set) Error!void {
        const slots = try self.arena.alloc(u32, @max(64, self.slots.len * 2));
        @memset(slots, 0);
        const mask = slots.len - 1;
        for (self.hashes.items, 1..) |hash, tag| {
            var at = hash & mask;
            while (slots[at] != 0) at = (at + 1) & mask;
            slots[at] = @intCast(tag);
        }
        self.slots = slots;
    }
};

test Set {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var set: Set = .{ .arena = arena.allocator(), .pager = null, .collations = &.{ .nocase, .binary } };
    try std.testing.expect((try set.insert(&.{ .{ .text = "Ab" }, .{ .int = 1 } })).new);
    try std.testing.expect(!(try set.insert(&.{ .{ .text = "aB" }, .{ .real = 1.0 } })).new);
    try std.testing.expect((try set.insert(&.{ .{ .text = "ab" }, .null })).new);
    try std.testing.expect(!(try set.insert(&.{ .{ .text = "AB" }, .null })).new);
    for (0..1000) |i| {
        const found = try set.insert(&.{ .{ .int = @intCast(i) }, .{ .blob = "x" } });
        try std.testing.expectEqual(i + 2, found.number);
    }
    try std.testing.expectEqual(1002, set.count());
    try std.testing.expectEqualStrings("Ab", set.tuple(0)[0].text);
}
