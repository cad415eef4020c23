//! ORDER BY: keys of every row, or with a LIMIT only of the best few, and where to find the rows again.

const std = @import("std");
const eval = @import("eval.zig");
const keys = @import("keys.zig");
const planner = @import("planner.zig");
const record = @import("record.zig");
const value_zig = @import("value.zig");
const Pager = @import("pager.zig").Pager;
const Error = @import("diag.zig").Error;
const Value = value_zig.Value;
const Order = std.math.Order;

/// A row of the table, or a group.
pub const Ref = struct { at: record.Locator, group: u32 };

const Entry = struct {
    /// Where its keys start, in tuples.
    keys: u32,
    /// Rows with equal keys stay in the order of the scan.
    sequence: u64,
    ref: Ref,
};

pub const Sorter = struct {
    arena: std.mem.Allocator,
    pager: *const Pager,
    order: []const planner.OrderKey,
    /// At most this many rows are wanted.
    limit: u64,
    values: std.ArrayList(Value) = .empty,
    entries: std.ArrayList(Entry) = .empty,
    sequence: u64 = 0,
    current: []Value,
    is_heap: bool = false,

    pub fn init(arena: std.mem.Allocator, pager: *const Pager, order: []const planner.OrderKey, limit: u64) Error!Sorter {
        return .{ .arena = arena, .pager = pager, .order = order, .limit = limit, .current = try arena.alloc(Value, order.len) };
    }

    pub fn push(self: *Sorter, evaluator: *eval.Evaluator, ref: Ref) Error!void {
        const sequence = self.sequence;
        self.sequence += 1;
        if (self.entries.items.len < self.limit) {
            for (self.order) |key| {
                const value = try evaluator.get(key.node);
                try self.values.append(self.arena, try keys.persist(self.arena, self.pager, value));
            }
            try self.entries.append(self.arena, .{ .keys = @intCast(self.entries.items.len), .sequence = sequence, .ref = ref });
            return;
        }
        if (!self.is_heap) self.makeHeap();
        const worst = &self.entries.items[0];
        const stored = self.tuple(worst.keys);
        // Later rows lose ties, so only a strictly better one gets in; often its first key settles it.
        for (self.order, self.current, 0..) |key, *slot, i| {
            slot.* = try evaluator.get(key.node);
            const order = compareKey(key, slot.*, stored[i]);
            if (order == .gt) return;
            if (order == .lt) {
                for (self.order[i + 1 ..], self.current[i + 1 ..]) |rest, *later| later.* = try evaluator.get(rest.node);
                break;
            }
        } else return;
        for (self.current, stored) |value, *slot| slot.* = try keys.persist(self.arena, self.pager, value);
        worst.sequence = sequence;
        worst.ref = ref;
        self.siftDown(0);
    }

    fn tuple(self: *const Sorter, number: u32) []Value {
        return self.values.items[@as(usize, number) * self.order.len ..][0..self.order.len];
    }

    fn compareKey(key: planner.OrderKey, a: Value, b: Value) Order {
        if (a == .null or b == .null) {
            if (a == .null and b == .null) return .eq;
            return if ((a == .null) == key.nulls_first) .lt else .gt;
        }
        const order = value_zig.compare(a, b, key.collation);
        return if (key.descending) order.invert() else order;
    }

    fn before(self: *const Sorter, a: Entry, b: Entry) bool {
        const x = self.tuple(a.keys);
        const y = self.tuple(b.keys);
        for (self.order, x, y) |key, left, right| {
            const order = compareKey(key, left, right);
            if (order != .eq) return order == .lt;
        }
        return a.sequence < b.sequence;
    }

    fn makeHeap(self: *Sorter) void {
        self.is_heap = true;
        var at = self.entries.items.len / 2;
        while (at > 0) {
            at -= 1;
            self.siftDown(at);
        }
    }

    /// The heap has its last entry in sort order on top.
    fn siftDown(self: *Sorter, from: usize) void {
        const entries = self.entries.items;
        var at = from;
        while (true) {
            var child = 2 * at + 1;
            if (child >= entries.len) return;
            if (child + 1 < entries.len and self.before(entries[child], entries[child + 1])) child += 1;
            if (!self.before(entries[at], entries[child])) return;
            std.mem.swap(Entry, &entries[at], &entries[child]);
            at = child;
        }
    }

    /// The rows in order.
    pub fn finish(self: *Sorter) Error![]const Ref {
        std.mem.sortUnstable(Entry, self.entries.items, @as(*const Sorter, self), before);
        const refs = try self.arena.alloc(Ref, self.entries.items.len);
        for (self.entries.items, refs) |entry, *ref| ref.* = entry.ref;
        return refs;
    }
};
