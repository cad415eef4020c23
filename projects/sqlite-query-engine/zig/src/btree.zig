//! B-tree cursors: table trees by rowid, index trees by key. Every page is checked when it is
//! entered and every cell when it is touched; depth and page visits are bounded, so a tree that
//! loops ends in an error.

const std = @import("std");
const value_zig = @import("value.zig");
const record = @import("record.zig");
const Value = value_zig.Value;
const Row = record.Row;
const Pager = @import("pager.zig").Pager;
const Error = @import("diag.zig").Error;
const Order = std.math.Order;

pub const Kind = enum { table, index };

const max_depth = 20;

pub const Page = struct {
    number: u32,
    bytes: []const u8,
    leaf: bool,
    cells: u32,
    /// Offset of the cell pointer array.
    pointers: u32,

    fn enter(pager: *const Pager, number: u32, from: u32, comptime kind: Kind) Error!Page {
        const bytes = try pager.page(number, from);
        const start: u32 = if (number == 1) 100 else 0;
        const leaf = switch (bytes[start]) {
            2 => if (kind == .index) false else return wrongKind(pager, number, 2),
            5 => if (kind == .table) false else return wrongKind(pager, number, 5),
            10 => if (kind == .index) true else return wrongKind(pager, number, 10),
            13 => if (kind == .table) true else return wrongKind(pager, number, 13),
            else => |other| return wrongKind(pager, number, other),
        };
        const cells: u32 = std.mem.readInt(u16, bytes[start + 3 ..][0..2], .big);
        const pointers = start + @as(u32, if (leaf) 8 else 12);
        if (pointers + cells * 2 > bytes.len) return pager.bad("page {d}: {d} cells do not fit", .{ number, cells });
        return .{ .number = number, .bytes = bytes, .leaf = leaf, .cells = cells, .pointers = pointers };
    }

    fn wrongKind(pager: *const Pager, number: u32, kind: u8) Error {
        @branchHint(.cold);
        return pager.bad("page {d}: not a page of this b-tree (type {d})", .{ number, kind });
    }

    /// Offset of a cell, at least four bytes before the end of the page.
    pub inline fn cell(self: *const Page, pager: *const Pager, index: u32) Error!u32 {
        const offset: u32 = std.mem.readInt(u16, self.bytes[self.pointers + 2 * index ..][0..2], .big);
        if (offset < self.pointers + 2 * self.cells or offset + 4 > self.bytes.len) {
            return pager.bad("page {d}: cell {d}: pointer {d} is outside the page", .{ self.number, index, offset });
        }
        return offset;
    }

    /// The payload of a table leaf's cell when it is plain: short lengths, no overflow. null: look the long way.
    pub inline fn plainPayload(self: *const Page, index: u32) ?[]const u8 {
        const bytes = self.bytes;
        var offset: u32 = std.mem.readInt(u16, bytes[self.pointers + 2 * index ..][0..2], .big);
        // Room for the longest lengths read here (2 and 8 bytes) and a byte of payload.
        if (offset < self.pointers + 2 * self.cells or offset + 11 > bytes.len) return null;
        // One byte or two, about as often the one as the other: no branch on it.
        const pair = std.mem.readInt(u16, bytes[offset..][0..2], .big);
        const two = pair >= 0x8000;
        if (two and pair & 0x80 != 0) return null;
        const size: u32 = if (two) (pair >> 1 & 0x3f80) | (pair & 0x7f) else pair >> 8;
        offset += if (two) 2 else 1;
        const rowid = record.readVarint8(bytes[offset..][0..8]) orelse return null;
        offset += rowid.bytes;
        if (size == 0 or size + 35 > bytes.len or offset + size > bytes.len) return null;
        return bytes[offset..][0..size];
    }

    /// The child left of cell `index`; the right-most one for `index` == `cells`.
    fn child(self: *const Page, pager: *const Pager, index: u32) Error!u32 {
        const offset = if (index == self.cells) self.pointers - 4 else try self.cell(pager, index);
        return std.mem.readInt(u32, self.bytes[offset..][0..4], .big);
    }
};

const Level = struct {
    page: Page,
    at: u32,
    /// Every rowid below this page is > low (or the least there is) and <= high; kept by `find` alone.
    low: i64 = std.math.minInt(i64),
    high: i64 = std.math.maxInt(i64),
};

/// Which side of the entries that match a key prefix.
pub const Side = enum { before, after };

/// Order and direction of an index's columns, for seeks.
pub const KeyColumn = struct { collation: value_zig.Collation, descending: bool };

pub fn Cursor(comptime kind: Kind) type {
    return struct {
        const Self = @This();

        pager: *const Pager,
        root: u32,
        levels: [max_depth]Level = undefined,
        depth: u32 = 0,
        visits: u32 = 0,
        /// No entry: before the first or after the last.
        ended: bool = true,

        pub fn init(pager: *const Pager, root: u32) Self {
            return .{ .pager = pager, .root = root };
        }

        pub inline fn top(self: *Self) *Level {
            return &self.levels[self.depth];
        }

        fn start(self: *Self) Error!void {
            self.depth = 0;
            self.visits = 0;
            self.ended = false;
            self.levels[0] = .{ .page = try .enter(self.pager, self.root, 1, kind), .at = 0 };
        }

        /// Enters the child at the current position of an interior page.
        fn descend(self: *Self) Error!void {
            const parent = self.top();
            const number = try parent.page.child(self.pager, parent.at);
            if (self.depth + 1 == max_depth) return self.pager.bad("page {d}: b-tree is deeper than {d} levels", .{ parent.page.number, max_depth });
            self.visits += 1;
            if (self.visits > self.pager.page_count + max_depth) {
                return self.pager.bad("page {d}: b-tree visits more pages than there are", .{parent.page.number});
            }
            const page: Page = try .enter(self.pager, number, parent.page.number, kind);
            self.depth += 1;
            self.levels[self.depth] = .{ .page = page, .at = 0 };
        }

        fn descendLeft(self: *Self) Error!void {
            while (!self.top().page.leaf) try self.descend();
        }

        fn descendRight(self: *Self) Error!void {
            while (true) {
                const level = self.top();
                level.at = level.page.cells;
                if (level.page.leaf) return;
                try self.descend();
            }
        }

        pub fn first(self: *Self) Error!void {
            try self.start();
            try self.descendLeft();
            try self.settle();
        }

        pub fn last(self: *Self) Error!void {
            try self.start();
            try self.descendRight();
            try self.prev();
        }

        pub inline fn next(self: *Self) Error!void {
            const level = self.top();
            level.at += 1;
            if (!level.page.leaf) {
                try self.descend();
                try self.descendLeft();
                return self.settle();
            }
            if (level.at >= level.page.cells) return self.settle();
        }

        /// From a position that may be past a leaf's last cell to the next entry.
        fn settle(self: *Self) Error!void {
            while (self.top().at >= self.top().page.cells) {
                if (self.depth == 0) {
                    self.ended = true;
                    return;
                }
                self.depth -= 1;
                const level = self.top();
                if (level.at >= level.page.cells) continue;
                // An index keeps entries in interior pages; a table's interior cells only point.
                if (kind == .index) return;
                level.at += 1;
                try self.descend();
                try self.descendLeft();
            }
        }

        pub fn prev(self: *Self) Error!void {
            if (!self.top().page.leaf) {
                try self.descend();
                try self.descendRight();
            }
            while (self.top().at == 0) {
                if (self.depth == 0) {
                    self.ended = true;
                    return;
                }
                self.depth -= 1;
                const level = self.top();
                if (kind == .table and level.at > 0) {
                    level.at -= 1;
                    try self.descend();
                    try self.descendRight();
                } else if (kind == .index and level.at > 0) {
                    break;
                }
            }
            self.ended = false;
            self.top().at -= 1;
        }

        /// Steps back from a seek position, also from the one after the last entry.
        pub fn stepBack(self: *Self) Error!void {
            if (self.ended) return self.last();
            return self.prev();
        }

        /// A whole leaf at once, for scans of tables: false at the end of the tree.
        pub fn nextLeaf(self: *Self) Error!bool {
            const level = self.top();
            level.at = level.page.cells;
            try self.settle();
            return !self.ended;
        }

        /// The bytes of the leaf to the right, to fetch ahead; null when it is not known or not there.
        pub fn upcomingLeaf(self: *Self) ?[]const u8 {
            if (self.depth == 0) return null;
            const parent = &self.levels[self.depth - 1];
            if (parent.at >= parent.page.cells) return null;
            const offset = if (parent.at + 1 == parent.page.cells)
                parent.page.pointers - 4
            else
                parent.page.cell(self.pager, parent.at + 1) catch return null;
            const number = std.mem.readInt(u32, parent.page.bytes[offset..][0..4], .big);
            if (number -% 1 >= self.pager.page_count) return null;
            return self.pager.page(number, number) catch null;
        }

        // --- Seeks --------------------------------------------------------------------------

        /// To the first row whose rowid is at least `rowid`.
        pub fn seekRowid(self: *Self, rowid: i64) Error!void {
            comptime std.debug.assert(kind == .table);
            try self.start();
            while (true) {
                const level = self.top();
                var low: u32 = 0;
                var high = level.page.cells;
                while (low < high) {
                    const middle = (low + high) / 2;
                    if (try self.keyAt(&level.page, middle) < rowid) low = middle + 1 else high = middle;
                }
                level.at = low;
                if (level.page.leaf) return self.settle();
                try self.descend();
            }
        }

        /// To the row with exactly this rowid. Starts from where the last call ended, so that neighbours are
        /// cheap to find; a cursor is used for this or for walking, not for both.
        pub fn find(self: *Self, rowid: i64) Error!bool {
            comptime std.debug.assert(kind == .table);
            if (self.ended) try self.start();
            self.visits = 0;
            while (self.depth > 0 and !(rowid > self.top().low and rowid <= self.top().high)) self.depth -= 1;
            while (true) {
                const level = self.top();
                const cells = level.page.cells;
                level.at = try self.lowerBound(&level.page, rowid);
                if (level.page.leaf) return level.at < cells and try self.keyAt(&level.page, level.at) == rowid;
                const low = if (level.at > 0) try self.keyAt(&level.page, level.at - 1) else level.low;
                const high = if (level.at < cells) try self.keyAt(&level.page, level.at) else level.high;
                try self.descend();
                self.top().low = low;
                self.top().high = high;
            }
        }

        /// The first cell whose key is at least `rowid`. Rowids are mostly dense, so the place is first guessed
        /// from the ends of the page.
        fn lowerBound(self: *Self, page: *const Page, rowid: i64) Error!u32 {
            var low: u32 = 0;
            var high = page.cells;
            if (high > 4) {
                const lowest = try self.keyAt(page, 0);
                if (rowid <= lowest) return 0;
                const highest = try self.keyAt(page, high - 1);
                if (rowid > highest) return high;
                // lowest < rowid <= highest, so the differences are positive as unsigned numbers.
                const span: f64 = @floatFromInt(@as(u64, @bitCast(highest -% lowest)));
                const part: f64 = @floatFromInt(@as(u64, @bitCast(rowid -% lowest)));
                const guess = @min(high - 1, @as(u32, @trunc(part / span * @as(f64, @floatFromInt(high - 1)))));
                const reach = 2;
                const left = guess -| reach;
                const right = @min(guess + reach, high - 1);
                if (try self.keyAt(page, left) < rowid) low = left + 1 else high = left;
                if (low < right and high > right) {
                    if (try self.keyAt(page, right) < rowid) low = right + 1 else high = right;
                }
            }
            while (low < high) {
                const middle = (low + high) / 2;
                if (try self.keyAt(page, middle) < rowid) low = middle + 1 else high = middle;
            }
            return low;
        }

        fn keyAt(self: *Self, page: *const Page, index: u32) Error!i64 {
            var offset = try page.cell(self.pager, index);
            if (!page.leaf and offset + 12 <= page.bytes.len) {
                if (record.readVarint8(page.bytes[offset + 4 ..][0..8])) |key| return @bitCast(key.value);
            }
            if (page.leaf) {
                const size = record.readVarint(page.bytes[offset..]) orelse return self.cut(page, index);
                offset += size.bytes;
            } else offset += 4;
            const key = record.readVarint(page.bytes[offset..]) orelse return self.cut(page, index);
            return @bitCast(key.value);
        }

        fn cut(self: *Self, page: *const Page, index: u32) Error {
            @branchHint(.cold);
            return self.pager.bad("page {d}: cell {d}: cut off by the end of the page", .{ page.number, index });
        }

        /// To the first entry that is not before (or, with `after`, that is beyond) the key prefix.
        pub fn seekKey(self: *Self, probe: *Row, key: []const Value, columns: []const KeyColumn, side: Side) Error!void {
            comptime std.debug.assert(kind == .index);
            try self.start();
            while (true) {
                const level = self.top();
                var low: u32 = 0;
                var high = level.page.cells;
                while (low < high) {
                    const middle = (low + high) / 2;
                    try readCell(self.pager, &level.page, middle, probe);
                    const order = try compareKey(probe, key, columns);
                    const goes_right = order == .lt or (order == .eq and side == .after);
                    if (goes_right) low = middle + 1 else high = middle;
                }
                level.at = low;
                if (level.page.leaf) return self.settle();
                try self.descend();
            }
        }

        fn compareKey(probe: *Row, key: []const Value, columns: []const KeyColumn) Error!Order {
            for (key, columns[0..key.len], 0..) |wanted, column, i| {
                const order = value_zig.compare(try probe.value(i), wanted, column.collation);
                if (order != .eq) return if (column.descending) order.invert() else order;
            }
            return .eq;
        }

        pub const Position = struct { page: u32, at: u32 };

        /// null stands for the end of the tree.
        pub fn position(self: *Self) ?Position {
            if (self.ended) return null;
            return .{ .page = self.top().page.number, .at = self.top().at };
        }

        /// Whether this cursor is at or after the other one (both just sought).
        pub fn reached(self: *Self, other: *Self) bool {
            if (self.ended or other.ended) return self.ended;
            for (0..@min(self.depth, other.depth) + 1) |i| {
                const a = self.levels[i].at;
                const b = other.levels[i].at;
                if (a != b) return a > b;
            }
            // An interior entry follows the whole subtree to its left.
            return self.depth <= other.depth;
        }

        pub inline fn read(self: *Self, row: *Row) Error!void {
            const level = self.top();
            return readCell(self.pager, &level.page, level.at, row);
        }

        /// Entries in the whole tree, from the cell counts alone.
        pub fn countEntries(self: *Self) Error!u64 {
            var total: u64 = 0;
            try self.first();
            while (!self.ended) {
                if (kind == .index and !self.top().page.leaf) {
                    total += 1;
                    try self.next();
                } else {
                    total += self.top().page.cells;
                    _ = try self.nextLeaf();
                }
            }
            return total;
        }

        /// Finds a cell's payload and gives it to the row.
        pub inline fn readCell(pager: *const Pager, page: *const Page, index: u32, row: *Row) Error!void {
            row.at = .{ .page = page.number, .cell = index, .offset = 0 };
            var offset = try page.cell(pager, index);
            if (kind == .index and !page.leaf) offset += 4;
            row.at.offset = offset;
            return readPayload(pager, page.bytes, offset, row);
        }

        /// From the payload's length on; the offset is within the page, or at its end.
        pub inline fn readPayload(pager: *const Pager, bytes: []const u8, start_offset: u32, row: *Row) Error!void {
            var offset = start_offset;
            var size: u64 = undefined;
            if (offset < bytes.len and bytes[offset] < 0x80) {
                size = bytes[offset];
                offset += 1;
            } else {
                const varint = record.readVarint(bytes[offset..]) orelse return row.bad("cut off by the end of the page", .{});
                size = varint.value;
                offset += varint.bytes;
            }
            if (kind == .table) {
                const quick = if (offset + 8 <= bytes.len) record.readVarint8(bytes[offset..][0..8]) else null;
                const varint = quick orelse record.readVarint(bytes[offset..]) orelse return row.bad("cut off by the end of the page", .{});
                row.rowid = @bitCast(varint.value);
                offset += varint.bytes;
            }
            const usable: u32 = @intCast(bytes.len);
            const max_local = if (kind == .table) usable - 35 else (usable - 12) * 64 / 255 - 23;
            if (size <= max_local) {
                if (offset + size > usable) return row.bad("payload of {d} bytes crosses the end of the page", .{size});
                return row.load(bytes[offset..][0..@intCast(size)], @intCast(size), 0);
            }
            return readSpilled(pager, bytes, offset, size, max_local, row);
        }

        fn readSpilled(pager: *const Pager, bytes: []const u8, offset: u32, size: u64, max_local: u32, row: *Row) Error!void {
            const usable: u32 = @intCast(bytes.len);
            if (size > record.max_payload_bytes or size > @as(u64, pager.page_count) * usable) {
                return row.bad("payload of {d} bytes is larger than the file", .{size});
            }
            const min_local = (usable - 12) * 32 / 255 - 23;
            const fitting = min_local + (@as(u32, @intCast(size)) - min_local) % (usable - 4);
            const local = if (fitting <= max_local) fitting else min_local;
            if (offset + local + 4 > usable) return row.bad("payload of {d} bytes crosses the end of the page", .{size});
            const overflow_page = std.mem.readInt(u32, bytes[offset + local ..][0..4], .big);
            return row.load(bytes[offset..][0..local], @intCast(size), overflow_page);
        }
    };
}
