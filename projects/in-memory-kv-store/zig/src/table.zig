//! The hash table of keys, fields and members: linear hashing over buckets of one cache line.
//!
//! A bucket holds seven pointers and 24 bits of the hash of each, so a lookup touches the bucket and the item it looks
//! for, nothing else. The table grows and shrinks by one bucket at a time: no change ever moves more than one bucket's
//! items, and there are never two tables. The buckets lie in segments of one huge page each; only the first segment is
//! moved while it grows up to that.
//!
//! Buckets are numbered by the low bits of the hash, so a scan that counts with reversed bits (as redis does) meets
//! everything that was present during the whole scan, however often the table grew or shrank meanwhile.

const std = @import("std");
const Allocator = std.mem.Allocator;
const Heap = @import("heap.zig").Heap;

/// Set once at start, so that nobody can choose keys that collide.
pub var seed: u64 = 0;

pub fn hashOf(bytes: []const u8) u64 {
    return std.hash.Wyhash.hash(seed, bytes);
}

const slot_count = 7;
/// Buckets are split above this mean load and joined below the other.
const mean_load_max = 5;
const mean_load_min = 2;

const segment_shift = 15;
const segment_buckets = 1 << segment_shift;
const segment_alignment: std.mem.Alignment = .fromByteUnits(segment_buckets * @sizeOf(Bucket));

const Segment = *align(segment_alignment.toByteUnits()) [segment_buckets]Bucket;

/// A pointer in the low 48 bits, bits 8 to 23 of the hash above.
pub const Slot = packed struct(u64) {
    address: u48,
    fragment: u16,
};

/// Bits 24 to 31 of the hash.
fn tagOf(hash: u64) u8 {
    return @truncate(hash >> 24);
}

fn fragmentOf(hash: u64) u16 {
    return @truncate(hash >> 8);
}

const Bucket = extern struct {
    /// Bits 0 to 6: the slot is taken. Bit 7: the last slot points to another bucket of this chain.
    taken: u8 align(64) = 0,
    tags: [slot_count]u8 = @splat(0),
    slots: [slot_count]Slot = undefined,

    const chained = 0x80;
    const all = 0x7f;

    fn occupied(self: *const Bucket) u8 {
        return if (self.taken & chained != 0) self.taken & 0x3f else self.taken;
    }

    fn next(self: *const Bucket) ?*Bucket {
        return if (self.taken & chained != 0) @ptrFromInt(self.slots[slot_count - 1].address) else null;
    }

    fn matches(self: *const Bucket, tag: u8) u8 {
        const head: @Vector(8, u8) = @as(*const [8]u8, @ptrCast(self)).*;
        const hits: u8 = @bitCast(head == @as(@Vector(8, u8), @splat(tag)));
        return (hits >> 1) & self.occupied();
    }

    fn put(self: *Bucket, index: usize, cell: Cell) void {
        self.taken |= @as(u8, 1) << @intCast(index);
        self.tags[index] = cell.tag;
        self.slots[index] = cell.slot;
    }

    fn chain(self: *Bucket, other: *Bucket) void {
        self.taken |= chained | 1 << (slot_count - 1);
        self.slots[slot_count - 1] = .{ .address = @intCast(@intFromPtr(other)), .fragment = 0 };
    }

    fn unchain(self: *Bucket) void {
        self.taken &= ~@as(u8, chained | 1 << (slot_count - 1));
    }
};

comptime {
    std.debug.assert(@sizeOf(Bucket) == 64);
}

const Cell = struct { tag: u8, slot: Slot };

const no_bucket: Bucket = .{};

/// A table of pointers to `Item`, which has `key(*const Item) []const u8` and `destroy(*Item, *Heap) void`.
pub fn Table(comptime Item: type) type {
    return struct {
        first: [*]Bucket = @constCast(@as([*]const Bucket, @ptrCast(&no_bucket))),
        /// Further segments.
        more: [*]Segment = undefined,
        more_count: u32 = 0,
        /// Buckets of the first segment; 0 until the first item comes.
        first_capacity: u32 = 0,
        count: u64 = 0,
        /// There are 2^level + split buckets; those below `split` have been split in this round.
        split: u32 = 0,
        level: u8 = 0,
        /// While there are further segments, there is room for 2^more_log of them.
        more_log: u8 = 0,

        const Self = @This();

        pub fn pointer(slot: Slot) *Item {
            return @ptrFromInt(slot.address);
        }

        fn slotOf(item: *Item, hash: u64) Slot {
            return .{ .address = @intCast(@intFromPtr(item)), .fragment = fragmentOf(hash) };
        }

        pub fn bucketCount(self: *const Self) u64 {
            return (@as(u64, 1) << @intCast(self.level)) + self.split;
        }

        fn bucketAt(self: *const Self, index: u64) *Bucket {
            if (index < segment_buckets) return &self.first[index];
            return &self.more[(index >> segment_shift) - 1][index % segment_buckets];
        }

        fn indexOf(self: *const Self, hash: u64) u64 {
            const mask = (@as(u64, 1) << @intCast(self.level)) - 1;
            const low = hash & mask;
            return if (low < self.split) hash & (mask << 1 | 1) else low;
        }

        /// Brings the bucket of a hash into the cache.
        pub fn prefetch(self: *const Self, hash: u64) void {
            @prefetch(self.bucketAt(self.indexOf(hash)), .{});
        }

        /// Brings the item into the cache that is probably the one of a hash.
        pub fn prefetchItem(self: *const Self, hash: u64) void {
            const bucket = self.bucketAt(self.indexOf(hash));
            const hits = bucket.matches(tagOf(hash));
            if (hits == 0) return;
            const address: [*]const u8 = @ptrFromInt(bucket.slots[@ctz(hits)].address);
            @prefetch(address, .{});
            @prefetch(address + 48, .{});
        }

        /// The slot of a key, valid until the table changes.
        pub fn find(self: *const Self, hash: u64, key: []const u8) ?*Slot {
            var bucket = self.bucketAt(self.indexOf(hash));
            const tag = tagOf(hash);
            const fragment = fragmentOf(hash);
            while (true) {
                var hits = bucket.matches(tag);
                while (hits != 0) : (hits &= hits - 1) {
                    const slot = &bucket.slots[@ctz(hits)];
                    if (slot.fragment == fragment and std.mem.eql(u8, pointer(slot.*).key(), key)) return slot;
                }
                bucket = bucket.next() orelse return null;
            }
        }

        pub fn get(self: *const Self, key: []const u8) ?*Item {
            return if (self.find(hashOf(key), key)) |slot| pointer(slot.*) else null;
        }

        /// Points a slot to a new block of the same key.
        pub fn replace(slot: *Slot, item: *Item) void {
            slot.address = @intCast(@intFromPtr(item));
        }

        /// Adds an item whose key is not there.
        pub fn insert(self: *Self, gpa: Allocator, hash: u64, item: *Item) error{OutOfMemory}!void {
            if (self.first_capacity == 0) {
                try self.growFirst(gpa);
                self.first[0] = .{};
            }
            const cell: Cell = .{ .tag = tagOf(hash), .slot = slotOf(item, hash) };
            try append(gpa, self.bucketAt(self.indexOf(hash)), cell);
            self.count += 1;
            // One bucket holds seven; after that the mean load rules. A split that finds no memory is done later.
            while (self.count > self.bucketCount() * mean_load_max + 2) self.splitOne(gpa) catch break;
        }

        /// Removes what `find` found for this hash.
        pub fn remove(self: *Self, gpa: Allocator, hash: u64, slot: *Slot) void {
            // The hole is filled with the last item of the chain, so that chains end where their items end.
            var before: ?*Bucket = null;
            var tail = self.bucketAt(self.indexOf(hash));
            while (tail.next()) |next| {
                before = tail;
                tail = next;
            }
            const last = 7 - @clz(tail.taken);
            const home: *Bucket = @ptrFromInt(@intFromPtr(slot) & ~@as(usize, 63));
            const index = (@intFromPtr(slot) - @intFromPtr(&home.slots)) / @sizeOf(Slot);
            home.slots[index] = tail.slots[last];
            home.tags[index] = tail.tags[last];
            tail.taken &= ~(@as(u8, 1) << @intCast(last));
            if (tail.taken == 0) if (before) |bucket| {
                bucket.unchain();
                gpa.destroy(tail);
            };
            self.count -= 1;
            if (self.count < self.bucketCount() * mean_load_min and self.bucketCount() > 1) self.joinLast(gpa);
        }

        /// Frees the table, not the items.
        pub fn deinit(self: *Self, gpa: Allocator) void {
            if (self.first_capacity == 0) return;
            for (0..self.bucketCount()) |index| freeSpares(gpa, self.bucketAt(index).next());
            while (self.more_count != 0) self.dropSegment(gpa);
            self.freeFirst(gpa, self.first, self.first_capacity);
            self.* = .{};
        }

        /// Frees the items of some buckets, for tables that are taken apart bit by bit; returns the next bucket or null
        /// when all is gone. Nothing else may be done with the table in between.
        pub fn destroyFrom(self: *Self, heap: *Heap, first_bucket: u64, buckets_max: u64) ?u64 {
            if (self.first_capacity == 0) return null;
            const end = @min(first_bucket +| buckets_max, self.bucketCount());
            for (first_bucket..end) |index| {
                var at: ?*Bucket = self.bucketAt(index);
                while (at) |bucket| : (at = bucket.next()) {
                    var left = bucket.occupied();
                    while (left != 0) : (left &= left - 1) pointer(bucket.slots[@ctz(left)]).destroy(heap);
                }
            }
            if (end < self.bucketCount()) return end;
            self.deinit(heap.allocator());
            return null;
        }

        // --- Growing and shrinking ----------------------------------------------------------

        fn append(gpa: Allocator, first: *Bucket, cell: Cell) error{OutOfMemory}!void {
            var bucket = first;
            while (bucket.next()) |next| bucket = next;
            if (bucket.taken == Bucket.all) {
                const more = try gpa.create(Bucket);
                more.* = .{};
                more.put(0, .{ .tag = bucket.tags[slot_count - 1], .slot = bucket.slots[slot_count - 1] });
                bucket.chain(more);
                bucket = more;
            }
            bucket.put(@ctz(~bucket.taken), cell);
        }

        /// Puts cells into an empty bucket; buckets for the chain come from the list of spares.
        fn fill(first: *Bucket, cells: []const Cell, spares: *?*Bucket) void {
            var bucket = first;
            bucket.* = .{};
            var rest = cells;
            while (rest.len > slot_count) {
                for (rest[0 .. slot_count - 1], 0..) |cell, i| bucket.put(i, cell);
                rest = rest[slot_count - 1 ..];
                const more = spares.*.?;
                spares.* = more.next();
                more.* = .{};
                bucket.chain(more);
                bucket = more;
            }
            for (rest, 0..) |cell, i| bucket.put(i, cell);
        }

        fn collect(first: *const Bucket, cells: []Cell) usize {
            var count: usize = 0;
            var at: ?*const Bucket = first;
            while (at) |bucket| : (at = bucket.next()) {
                var left = bucket.occupied();
                while (left != 0) : (left &= left - 1) {
                    const i = @ctz(left);
                    if (count < cells.len) cells[count] = .{ .tag = bucket.tags[i], .slot = bucket.slots[i] };
                    count += 1;
                }
            }
            return count;
        }

        fn freeSpares(gpa: Allocator, first: ?*Bucket) void {
            var at = first;
            while (at) |bucket| {
                at = bucket.next();
                gpa.destroy(bucket);
            }
        }

        /// One bit of an item's hash, from what the bucket knows if it knows it.
        fn hashBit(cell: Cell, bit: u8) bool {
            const value = switch (bit) {
                0...7 => hashOf(pointer(cell.slot).key()) >> @intCast(bit),
                8...23 => cell.slot.fragment >> @intCast(bit - 8),
                24...31 => cell.tag >> @intCast(bit - 24),
                else => hashOf(pointer(cell.slot).key()) >> @intCast(bit),
            };
            return value & 1 != 0;
        }

        /// Longer chains than this are not split or joined: with seeded hashes there are none.
        const chain_max = 128;

        fn splitOne(self: *Self, gpa: Allocator) error{OutOfMemory}!void {
            const target = self.bucketCount();
            try self.reach(gpa, target);
            const source = self.bucketAt(self.split);
            var cells: [chain_max]Cell = undefined;
            const count = collect(source, &cells);
            if (count > chain_max) return error.OutOfMemory;
            // Those that move come last; two chains never need more spares than one of the same items.
            var stay: usize = 0;
            for (0..count) |i| {
                if (hashBit(cells[i], self.level)) continue;
                std.mem.swap(Cell, &cells[i], &cells[stay]);
                stay += 1;
            }
            var spares = source.next();
            fill(source, cells[0..stay], &spares);
            fill(self.bucketAt(target), cells[stay..count], &spares);
            freeSpares(gpa, spares);
            self.split += 1;
            if (self.split == @as(u64, 1) << @intCast(self.level)) {
                self.split = 0;
                self.level += 1;
            }
        }

        /// Puts the items of the last bucket back into the one that it was split from.
        fn joinLast(self: *Self, gpa: Allocator) void {
            const last_index = self.bucketCount() - 1;
            const first_index = last_index & ~(@as(u64, 1) << @intCast(63 - @clz(last_index)));
            const first = self.bucketAt(first_index);
            const last = self.bucketAt(last_index);
            var cells: [chain_max]Cell = undefined;
            const kept = collect(first, &cells);
            if (kept > chain_max) return;
            const count = kept + collect(last, cells[kept..]);
            if (count > chain_max) return;
            // One more bucket than the two chains have is enough.
            const spare = gpa.create(Bucket) catch return;
            spare.* = .{};
            appendSpares(spare, first.next());
            appendSpares(spare, last.next());
            var spares: ?*Bucket = spare;
            fill(first, cells[0..count], &spares);
            freeSpares(gpa, spares);
            if (self.split == 0) {
                self.level -= 1;
                self.split = @as(u32, 1) << @intCast(self.level);
            }
            self.split -= 1;
            self.giveBack(gpa);
        }

        // --- Segments ------------------------------------------------------------------------

        /// Makes sure that a bucket has memory; it is the one behind the last.
        fn reach(self: *Self, gpa: Allocator, index: u64) error{OutOfMemory}!void {
            if (index < segment_buckets) {
                if (index >= self.first_capacity) try self.growFirst(gpa);
            } else if ((index >> segment_shift) > self.more_count) {
                try self.addSegment(gpa);
            }
        }

        /// Doubles the first segment.
        fn growFirst(self: *Self, gpa: Allocator) error{OutOfMemory}!void {
            try self.resizeFirst(gpa, @max(1, self.first_capacity * 2));
        }

        fn resizeFirst(self: *Self, gpa: Allocator, capacity: u32) error{OutOfMemory}!void {
            const old_capacity = self.first_capacity;
            if (old_capacity != 0 and @max(old_capacity, capacity) < segment_buckets) {
                self.first = (try gpa.realloc(self.first[0..old_capacity], capacity)).ptr;
            } else {
                // Only a whole segment has the alignment of one.
                const resized: [*]Bucket = if (capacity == segment_buckets)
                    (try gpa.alignedAlloc(Bucket, segment_alignment, capacity)).ptr
                else
                    (try gpa.alloc(Bucket, capacity)).ptr;
                const kept = @min(old_capacity, capacity);
                @memcpy(resized[0..kept], self.first[0..kept]);
                self.freeFirst(gpa, self.first, old_capacity);
                self.first = resized;
            }
            self.first_capacity = capacity;
        }

        fn freeFirst(_: *const Self, gpa: Allocator, first: [*]Bucket, capacity: u32) void {
            if (capacity == segment_buckets) {
                freeSegment(gpa, @alignCast(first[0..segment_buckets]));
            } else if (capacity != 0) {
                gpa.free(first[0..capacity]);
            }
        }

        fn freeSegment(gpa: Allocator, segment: Segment) void {
            const buckets: []align(segment_alignment.toByteUnits()) Bucket = segment;
            gpa.free(buckets);
        }

        fn addSegment(self: *Self, gpa: Allocator) error{OutOfMemory}!void {
            const room = @as(u32, 1) << @intCast(self.more_log);
            if (self.more_count == 0) {
                self.more = (try gpa.alloc(Segment, room)).ptr;
            } else if (self.more_count == room) {
                self.more = (try gpa.realloc(self.more[0..room], room * 2)).ptr;
                self.more_log += 1;
            }
            errdefer if (self.more_count == 0) gpa.free(self.more[0..room]);
            const buckets = try gpa.alignedAlloc(Bucket, segment_alignment, segment_buckets);
            self.more[self.more_count] = buckets[0..segment_buckets];
            self.more_count += 1;
        }

        fn dropSegment(self: *Self, gpa: Allocator) void {
            self.more_count -= 1;
            freeSegment(gpa, self.more[self.more_count]);
            if (self.more_count == 0) gpa.free(self.more[0 .. @as(u32, 1) << @intCast(self.more_log)]);
        }

        /// Gives back memory of buckets that have been joined, but not what the next items would need again.
        fn giveBack(self: *Self, gpa: Allocator) void {
            const buckets = self.bucketCount();
            if (self.more_count != 0) {
                if (buckets + segment_buckets / 2 <= @as(u64, self.more_count) * segment_buckets) self.dropSegment(gpa);
            } else if (buckets * 4 <= self.first_capacity) {
                self.resizeFirst(gpa, self.first_capacity / 2) catch return;
            }
        }

        fn appendSpares(list: *Bucket, more: ?*Bucket) void {
            const first = more orelse return;
            var end = list;
            while (end.next()) |next| end = next;
            end.chain(first);
        }

        // --- Looking at many items ----------------------------------------------------------

        pub const Iterator = struct {
            table: *const Self,
            index: u64 = 0,
            bucket: ?*const Bucket = null,
            left: u8 = 0,

            pub fn next(self: *Iterator) ?*Item {
                while (self.left == 0) {
                    const following = if (self.bucket) |bucket| bucket.next() else null;
                    const bucket: *const Bucket = following orelse blk: {
                        if (self.table.first_capacity == 0 or self.index == self.table.bucketCount()) return null;
                        defer self.index += 1;
                        break :blk self.table.bucketAt(self.index);
                    };
                    self.bucket = bucket;
                    self.left = bucket.occupied();
                }
                defer self.left &= self.left - 1;
                return pointer(self.bucket.?.slots[@ctz(self.left)]);
            }
        };

        /// The table must not change meanwhile.
        pub fn iterator(self: *const Self) Iterator {
            return .{ .table = self };
        }

        /// Collects the items at a cursor and returns the next cursor, 0 at the end.
        pub fn scan(self: *const Self, cursor: u64, gpa: Allocator, into: *std.ArrayList(*Item)) error{OutOfMemory}!u64 {
            if (self.first_capacity == 0) return 0;
            const mask = (@as(u64, 1) << @intCast(self.level)) - 1;
            const index = cursor & mask;
            try collectItems(self.bucketAt(index), gpa, into);
            if (index < self.split) try collectItems(self.bucketAt(index + mask + 1), gpa, into);
            // The bits above the mask are set so that the carry of the reversed sum runs through them.
            return @bitReverse(@bitReverse(cursor | ~mask) +% 1);
        }

        fn collectItems(first: *const Bucket, gpa: Allocator, into: *std.ArrayList(*Item)) error{OutOfMemory}!void {
            var at: ?*const Bucket = first;
            while (at) |bucket| : (at = bucket.next()) {
                var left = bucket.occupied();
                while (left != 0) : (left &= left - 1) try into.append(gpa, pointer(bucket.slots[@ctz(left)]));
            }
        }

        /// Any item, each about as likely: a bucket that was not split yet holds twice as many and is met twice as often.
        pub fn sample(self: *const Self, random: std.Random) ?*Item {
            if (self.count == 0) return null;
            while (true) {
                const first = self.bucketAt(self.indexOf(random.int(u64)));
                var cells: [chain_max]Cell = undefined;
                const count = @min(collect(first, &cells), chain_max);
                if (count != 0) return pointer(cells[random.uintLessThan(usize, count)].slot);
            }
        }

        /// What the table itself takes, without its items.
        pub fn totalBytes(self: *const Self) u64 {
            return (self.first_capacity + @as(u64, self.more_count) * segment_buckets) * @sizeOf(Bucket);
        }
    };
}

const TestItem = struct {
    name: [8]u8,

    pub fn destroy(_: *TestItem, _: *Heap) void {}

    pub fn key(self: *const TestItem) []const u8 {
        return &self.name;
    }
};

test "a table against a list, growing and shrinking" {
    const gpa = std.testing.allocator;
    var table: Table(TestItem) = .{};
    defer table.deinit(gpa);
    const items = try gpa.alloc(TestItem, 400_000);
    defer gpa.free(items);
    for (items, 0..) |*item, i| {
        std.mem.writeInt(u64, &item.name, i, .little);
        try std.testing.expectEqual(null, table.get(item.key()));
        try table.insert(gpa, hashOf(item.key()), item);
    }
    try std.testing.expect(table.more_count == 2 and table.totalBytes() == 3 * segment_buckets * @sizeOf(Bucket));
    for (items) |*item| try std.testing.expectEqual(item, table.get(item.key()));
    var seen: usize = 0;
    var all = table.iterator();
    while (all.next()) |_| seen += 1;
    try std.testing.expectEqual(items.len, seen);
    for (items[10..]) |*item| {
        const hash = hashOf(item.key());
        table.remove(gpa, hash, table.find(hash, item.key()).?);
        try std.testing.expectEqual(null, table.get(item.key()));
    }
    for (items[0..10]) |*item| try std.testing.expectEqual(item, table.get(item.key()));
    try std.testing.expect(table.bucketCount() <= 8 and table.first_capacity <= 32);
}

test "a scan meets every item that stays, while the table grows and shrinks" {
    const gpa = std.testing.allocator;
    var table: Table(TestItem) = .{};
    defer table.deinit(gpa);
    const items = try gpa.alloc(TestItem, 4000);
    defer gpa.free(items);
    for (items, 0..) |*item, i| std.mem.writeInt(u64, &item.name, i, .little);
    const stays = items[0..200];
    for (stays) |*item| try table.insert(gpa, hashOf(item.key()), item);
    for ([_]bool{ true, false }) |growing| {
        var seen: [200]bool = @splat(false);
        var found: std.ArrayList(*TestItem) = .empty;
        defer found.deinit(gpa);
        var cursor: u64 = 0;
        var moved: usize = stays.len;
        while (true) {
            found.clearRetainingCapacity();
            cursor = try table.scan(cursor, gpa, &found);
            for (found.items) |item| {
                const i = std.mem.readInt(u64, &item.name, .little);
                if (i < seen.len) seen[i] = true;
            }
            if (cursor == 0) break;
            const until = @min(moved + 60, items.len);
            for (items[moved..until]) |*item| {
                const hash = hashOf(item.key());
                if (growing) try table.insert(gpa, hash, item) else table.remove(gpa, hash, table.find(hash, item.key()).?);
            }
            moved = until;
        }
        for (seen) |was_seen| try std.testing.expect(was_seen);
        for (items[moved..]) |*item| {
            if (growing) try table.insert(gpa, hashOf(item.key()), item);
        }
        if (!growing) for (items[moved..]) |*item| {
            const hash = hashOf(item.key());
            table.remove(gpa, hash, table.find(hash, item.key()).?);
        };
    }
    try std.testing.expectEqual(200, table.count);
}

test "samples reach all items" {
    const gpa = std.testing.allocator;
    var table: Table(TestItem) = .{};
    defer table.deinit(gpa);
    var items: [30]TestItem = undefined;
    for (&items, 0..) |*item, i| {
        std.mem.writeInt(u64, &item.name, i, .little);
        try table.insert(gpa, hashOf(item.key()), item);
    }
    var random: std.Random.DefaultPrng = .init(3);
    var hits: [30]usize = @splat(0);
    for (0..30_000) |_| hits[std.mem.readInt(u64, &table.sample(random.random()).?.name, .little)] += 1;
    for (hits) |count| try std.testing.expect(count > 200);
}
