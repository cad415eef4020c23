//! Sorted sets: members in a hash table, and in a counted B+ tree by score, then by their bytes.
//!
//! An inner node knows how many members each child holds, so ranks are sums on the way down. Redis uses a skip list
//! here; nodes of a few cache lines need a third of the steps and a fifth of the pointers.

const std = @import("std");
const Heap = @import("heap.zig").Heap;
const table = @import("table.zig");

pub const Member = extern struct {
    score: f64,
    length: u32,

    const header_bytes = 12;

    fn bytesFor(length: usize) usize {
        return header_bytes + length;
    }

    pub fn key(self: *const Member) []const u8 {
        return (@as([*]const u8, @ptrCast(self)) + header_bytes)[0..self.length];
    }

    fn create(heap: *Heap, text: []const u8, score: f64) error{OutOfMemory}!*Member {
        const block = try heap.alloc(bytesFor(text.len));
        const self: *Member = @ptrCast(block);
        self.score = score;
        self.length = @intCast(text.len);
        @memcpy((block + header_bytes)[0..text.len], text);
        return self;
    }

    pub fn destroy(self: *Member, heap: *Heap) void {
        heap.free(@ptrCast(self), bytesFor(self.length));
    }
};

const Item = struct {
    /// A copy, so that most comparisons do not touch the member.
    score: f64,
    member: *Member,

    fn isBefore(self: Item, other: Item) bool {
        if (self.score != other.score) return self.score < other.score;
        return std.mem.lessThan(u8, self.member.key(), other.member.key());
    }
};

// With their headers both fill 1 KiB.
const leaf_items_max = 62;
const children_max = 31;
/// Nodes are joined when together they fill less than this.
const joined_max_percent = 75;

const small_members_max = 128;
const small_member_bytes_max = 64;

const Kind = enum(u8) { leaf, inner };

const Header = extern struct {
    kind: Kind,
    length: u16,
    capacity: u16,
};

const Leaf = struct {
    header: Header,
    prev: ?*Leaf,
    next: ?*Leaf,

    fn items(self: *Leaf) [*]Item {
        return @ptrFromInt(@intFromPtr(self) + @sizeOf(Leaf));
    }

    fn slice(self: *Leaf) []Item {
        return self.items()[0..self.header.length];
    }

    fn bytesFor(capacity: usize) usize {
        return @sizeOf(Leaf) + capacity * @sizeOf(Item);
    }
};

const Inner = struct {
    header: Header,
    children: [children_max]*Header,
    /// Members below each child, and the first of them.
    sizes: [children_max]u64,
    firsts: [children_max]Item,

    fn childOf(self: *const Inner, item: Item) usize {
        var low: usize = 1;
        var high: usize = self.header.length;
        while (low < high) {
            const middle = (low + high) / 2;
            if (item.isBefore(self.firsts[middle])) high = middle else low = middle + 1;
        }
        return low - 1;
    }

    fn insertAt(self: *Inner, index: usize, child: *Header, size: u64, first: Item) void {
        const length = self.header.length;
        std.mem.copyBackwards(*Header, self.children[index + 1 .. length + 1], self.children[index..length]);
        std.mem.copyBackwards(u64, self.sizes[index + 1 .. length + 1], self.sizes[index..length]);
        std.mem.copyBackwards(Item, self.firsts[index + 1 .. length + 1], self.firsts[index..length]);
        self.children[index] = child;
        self.sizes[index] = size;
        self.firsts[index] = first;
        self.header.length += 1;
    }

    fn removeAt(self: *Inner, index: usize) void {
        const length = self.header.length;
        std.mem.copyForwards(*Header, self.children[index .. length - 1], self.children[index + 1 .. length]);
        std.mem.copyForwards(u64, self.sizes[index .. length - 1], self.sizes[index + 1 .. length]);
        std.mem.copyForwards(Item, self.firsts[index .. length - 1], self.firsts[index + 1 .. length]);
        self.header.length -= 1;
    }

    fn total(self: *const Inner) u64 {
        var sum: u64 = 0;
        for (self.sizes[0..self.header.length]) |size| sum += size;
        return sum;
    }
};

fn leafOf(header: *Header) *Leaf {
    std.debug.assert(header.kind == .leaf);
    return @alignCast(@fieldParentPtr("header", header));
}

fn innerOf(header: *Header) *Inner {
    std.debug.assert(header.kind == .inner);
    return @alignCast(@fieldParentPtr("header", header));
}

/// A place in the order; valid until the set changes.
pub const Cursor = struct {
    leaf: *Leaf,
    index: usize,

    pub fn member(self: Cursor) *Member {
        return self.leaf.items()[self.index].member;
    }

    pub fn next(self: Cursor) ?Cursor {
        if (self.index + 1 < self.leaf.header.length) return .{ .leaf = self.leaf, .index = self.index + 1 };
        return .{ .leaf = self.leaf.next orelse return null, .index = 0 };
    }

    pub fn prev(self: Cursor) ?Cursor {
        if (self.index != 0) return .{ .leaf = self.leaf, .index = self.index - 1 };
        const leaf = self.leaf.prev orelse return null;
        return .{ .leaf = leaf, .index = leaf.header.length - 1 };
    }
};

pub const SortedSet = struct {
    members: table.Table(Member) = .{},
    root: ?*Header = null,
    /// The set would have left the compact form that redis has for small ones; it never goes back. In that form whole
    /// scores are integers, so there is no negative zero, and clients see the difference.
    is_large: bool = false,

    pub fn count(self: *const SortedSet) u64 {
        return self.members.count;
    }

    pub fn get(self: *const SortedSet, text: []const u8) ?*Member {
        return self.members.get(text);
    }

    /// Adds a member that is not there.
    pub fn add(self: *SortedSet, heap: *Heap, text: []const u8, given: f64) error{OutOfMemory}!void {
        if (self.count() >= small_members_max or text.len > small_member_bytes_max) self.is_large = true;
        const score = self.stored(given);
        const member: *Member = try .create(heap, text, score);
        errdefer member.destroy(heap);
        const item: Item = .{ .score = score, .member = member };
        try self.makeRoom(heap, item);
        try self.members.insert(heap.allocator(), table.hashOf(text), member);
        self.insertItem(item);
    }

    /// Gives a member another score. It is in the tree twice for a moment, so that nothing is lost without memory.
    pub fn move(self: *SortedSet, heap: *Heap, member: *Member, given: f64) error{OutOfMemory}!void {
        const score = self.stored(given);
        if (score == member.score) return;
        const item: Item = .{ .score = score, .member = member };
        try self.makeRoom(heap, item);
        self.insertItem(item);
        self.removeItem(heap, .{ .score = member.score, .member = member });
        member.score = score;
    }

    fn stored(self: *const SortedSet, score: f64) f64 {
        return if (score == 0 and !self.is_large) 0 else score;
    }

    pub fn remove(self: *SortedSet, heap: *Heap, member: *Member) void {
        self.removeItem(heap, .{ .score = member.score, .member = member });
        const hash = table.hashOf(member.key());
        self.members.remove(heap.allocator(), hash, self.members.find(hash, member.key()).?);
        member.destroy(heap);
    }

    /// Frees the tree; the members stay in the table.
    pub fn freeTree(self: *SortedSet, heap: *Heap) void {
        if (self.root) |root| freeNode(heap, root);
        self.root = null;
    }

    pub fn deinit(self: *SortedSet, heap: *Heap) void {
        self.freeTree(heap);
        _ = self.members.destroyFrom(heap, 0, std.math.maxInt(u64));
    }

    pub fn first(self: *const SortedSet) ?Cursor {
        var node = self.root orelse return null;
        while (node.kind == .inner) node = innerOf(node).children[0];
        return .{ .leaf = leafOf(node), .index = 0 };
    }

    pub fn last(self: *const SortedSet) ?Cursor {
        var node = self.root orelse return null;
        while (node.kind == .inner) node = innerOf(node).children[node.length - 1];
        return .{ .leaf = leafOf(node), .index = node.length - 1 };
    }

    /// The member at a rank below `count`.
    pub fn at(self: *const SortedSet, rank: u64) Cursor {
        var node = self.root.?;
        var left = rank;
        while (node.kind == .inner) {
            const inner = innerOf(node);
            var child: usize = 0;
            while (left >= inner.sizes[child]) : (child += 1) left -= inner.sizes[child];
            node = inner.children[child];
        }
        return .{ .leaf = leafOf(node), .index = @intCast(left) };
    }

    pub fn rankOf(self: *const SortedSet, member: *Member) u64 {
        const item: Item = .{ .score = member.score, .member = member };
        return self.partition(item, Item.isBefore);
    }

    /// How many members lie before a bound: `isBefore(member, bound)` holds for them and for none behind.
    pub fn countBefore(self: *const SortedSet, bound: anytype, comptime isBefore: fn (*const Member, @TypeOf(bound)) bool) u64 {
        const Bound = @TypeOf(bound);
        const Test = struct {
            fn holds(item: Item, limit: Bound) bool {
                return isBefore(item.member, limit);
            }
        };
        return self.partition(bound, Test.holds);
    }

    fn partition(self: *const SortedSet, bound: anytype, comptime isBefore: fn (Item, @TypeOf(bound)) bool) u64 {
        var node = self.root orelse return 0;
        var rank: u64 = 0;
        while (node.kind == .inner) {
            const inner = innerOf(node);
            var child: usize = 0;
            while (child + 1 < node.length and isBefore(inner.firsts[child + 1], bound)) : (child += 1) rank += inner.sizes[child];
            node = inner.children[child];
        }
        const items = leafOf(node).slice();
        var low: usize = 0;
        var high = items.len;
        while (low < high) {
            const middle = (low + high) / 2;
            if (isBefore(items[middle], bound)) low = middle + 1 else high = middle;
        }
        return rank + low;
    }

    /// What the set takes, with its members estimated from a few of them.
    pub fn totalBytes(self: *const SortedSet) u64 {
        var total: u64 = @sizeOf(SortedSet) + self.members.totalBytes() + self.count() * @sizeOf(Item) * 4 / 3;
        var cursor = self.first();
        var sampled: u64 = 0;
        var sampled_bytes: u64 = 0;
        while (cursor != null and sampled < 5) : (sampled += 1) {
            sampled_bytes += Heap.roundUp(Member.bytesFor(cursor.?.member().length));
            cursor = cursor.?.next();
        }
        if (sampled != 0) total += sampled_bytes * self.count() / sampled;
        return total;
    }

    // --- Inserting ------------------------------------------------------------------------

    /// Splits every full node on the way to an item, from the root down, so that inserting it needs no memory. Each
    /// split leaves a complete tree, so a failure in between does no harm.
    fn makeRoom(self: *SortedSet, heap: *Heap, item: Item) error{OutOfMemory}!void {
        const root = self.root orelse {
            self.root = &(try newLeaf(heap, 4)).header;
            return;
        };
        if (root.kind == .leaf and root.length == root.capacity and root.capacity < leaf_items_max) {
            return self.growRoot(heap, leafOf(root));
        }
        if (isFull(root)) try self.raise(heap, root);
        var node = self.root.?;
        while (node.kind == .inner) {
            const inner = innerOf(node);
            var index = inner.childOf(item);
            if (isFull(inner.children[index])) {
                const is_append = index + 1 == inner.header.length and lastOf(inner.children[index]).isBefore(item);
                try splitChild(heap, inner, index, is_append);
                index = inner.childOf(item);
            }
            node = inner.children[index];
        }
    }

    fn isFull(node: *const Header) bool {
        return node.length == node.capacity;
    }

    /// A small set is one leaf that doubles.
    fn growRoot(self: *SortedSet, heap: *Heap, leaf: *Leaf) error{OutOfMemory}!void {
        const grown = try newLeaf(heap, @min(leaf.header.capacity * 2, leaf_items_max));
        grown.header.length = leaf.header.length;
        @memcpy(grown.slice(), leaf.slice());
        freeLeaf(heap, leaf);
        self.root = &grown.header;
    }

    fn raise(self: *SortedSet, heap: *Heap, root: *Header) error{OutOfMemory}!void {
        const inner = try newInner(heap);
        inner.insertAt(0, root, sizeOf(root), firstOf(root));
        self.root = &inner.header;
    }

    /// Moves the upper half of a full child into a new node; of one that grows at its end, only the last part.
    fn splitChild(heap: *Heap, parent: *Inner, index: usize, is_append: bool) error{OutOfMemory}!void {
        const child = parent.children[index];
        const keep = if (is_append) child.length - child.length / 8 else child.length / 2;
        const right = switch (child.kind) {
            .leaf => try splitLeaf(heap, leafOf(child), keep),
            .inner => try splitInner(heap, innerOf(child), keep),
        };
        const right_size = sizeOf(right);
        parent.sizes[index] -= right_size;
        parent.insertAt(index + 1, right, right_size, firstOf(right));
    }

    fn splitLeaf(heap: *Heap, leaf: *Leaf, keep: u16) error{OutOfMemory}!*Header {
        const right = try newLeaf(heap, leaf_items_max);
        right.header.length = leaf.header.length - keep;
        @memcpy(right.slice(), leaf.slice()[keep..]);
        leaf.header.length = keep;
        right.prev = leaf;
        right.next = leaf.next;
        if (leaf.next) |next| next.prev = right;
        leaf.next = right;
        return &right.header;
    }

    fn splitInner(heap: *Heap, inner: *Inner, keep: u16) error{OutOfMemory}!*Header {
        const right = try newInner(heap);
        const length = inner.header.length;
        const moved = length - keep;
        @memcpy(right.children[0..moved], inner.children[keep..length]);
        @memcpy(right.sizes[0..moved], inner.sizes[keep..length]);
        @memcpy(right.firsts[0..moved], inner.firsts[keep..length]);
        right.header.length = moved;
        inner.header.length = keep;
        return &right.header;
    }

    /// Inserts where `makeRoom` has made room.
    fn insertItem(self: *SortedSet, item: Item) void {
        var node = self.root.?;
        while (node.kind == .inner) {
            const inner = innerOf(node);
            const index = inner.childOf(item);
            inner.sizes[index] += 1;
            if (index == 0 and item.isBefore(inner.firsts[0])) inner.firsts[0] = item;
            node = inner.children[index];
        }
        const leaf = leafOf(node);
        std.debug.assert(leaf.header.length < leaf.header.capacity);
        const place = placeOf(leaf, item);
        leaf.header.length += 1;
        const items = leaf.slice();
        std.mem.copyBackwards(Item, items[place + 1 ..], items[place .. items.len - 1]);
        items[place] = item;
    }

    fn placeOf(leaf: *Leaf, item: Item) usize {
        const items = leaf.slice();
        var low: usize = 0;
        var high = items.len;
        while (low < high) {
            const middle = (low + high) / 2;
            if (items[middle].isBefore(item)) low = middle + 1 else high = middle;
        }
        return low;
    }

    // --- Removing -------------------------------------------------------------------------

    const depth_max = 16;

    fn removeItem(self: *SortedSet, heap: *Heap, item: Item) void {
        var path: [depth_max]struct { inner: *Inner, index: usize } = undefined;
        var depth: usize = 0;
        var node = self.root.?;
        while (node.kind == .inner) : (depth += 1) {
            const inner = innerOf(node);
            const index = inner.childOf(item);
            inner.sizes[index] -= 1;
            path[depth] = .{ .inner = inner, .index = index };
            node = inner.children[index];
        }
        const leaf = leafOf(node);
        const place = placeOf(leaf, item);
        std.debug.assert(leaf.slice()[place].member == item.member);
        const items = leaf.slice();
        std.mem.copyForwards(Item, items[place .. items.len - 1], items[place + 1 ..]);
        leaf.header.length -= 1;

        while (depth > 0) {
            depth -= 1;
            const inner = path[depth].inner;
            const index = path[depth].index;
            if (inner.children[index].length == 0) {
                freeEmpty(heap, inner.children[index]);
                inner.removeAt(index);
            } else {
                inner.firsts[index] = firstOf(inner.children[index]);
                joinNeighbours(heap, inner, index);
            }
        }
        self.lowerRoot(heap);
    }

    /// A root with one child gives way to it; an empty one goes.
    fn lowerRoot(self: *SortedSet, heap: *Heap) void {
        while (self.root) |root| {
            if (root.length == 0) {
                freeEmpty(heap, root);
                self.root = null;
            } else if (root.kind == .inner and root.length == 1) {
                self.root = innerOf(root).children[0];
                freeInner(heap, innerOf(root));
            } else return;
        }
    }

    fn joinNeighbours(heap: *Heap, parent: *Inner, index: usize) void {
        if (parent.children[index].length > parent.children[index].capacity / 4) return;
        const left = if (index > 0) index - 1 else index;
        if (left + 1 >= parent.header.length) return;
        const one = parent.children[left];
        const other = parent.children[left + 1];
        const together = one.length + other.length;
        if (@as(u32, together) * 100 > @as(u32, one.capacity) * joined_max_percent) return;
        switch (one.kind) {
            .leaf => {
                const source = leafOf(other);
                @memcpy(leafOf(one).items()[one.length..together], source.slice());
                unlinkLeaf(source);
                freeLeaf(heap, source);
            },
            .inner => {
                const source = innerOf(other);
                const target = innerOf(one);
                @memcpy(target.children[one.length..together], source.children[0..other.length]);
                @memcpy(target.sizes[one.length..together], source.sizes[0..other.length]);
                @memcpy(target.firsts[one.length..together], source.firsts[0..other.length]);
                freeInner(heap, source);
            },
        }
        one.length = together;
        parent.sizes[left] += parent.sizes[left + 1];
        parent.removeAt(left + 1);
    }

    // --- Nodes ----------------------------------------------------------------------------

    fn firstOf(node: *Header) Item {
        return switch (node.kind) {
            .leaf => leafOf(node).items()[0],
            .inner => innerOf(node).firsts[0],
        };
    }

    /// The last item of a leaf; the first one below the last child of an inner node.
    fn lastOf(node: *Header) Item {
        return switch (node.kind) {
            .leaf => leafOf(node).items()[node.length - 1],
            .inner => innerOf(node).firsts[node.length - 1],
        };
    }

    fn sizeOf(node: *Header) u64 {
        return switch (node.kind) {
            .leaf => node.length,
            .inner => innerOf(node).total(),
        };
    }

    fn newLeaf(heap: *Heap, capacity: u16) error{OutOfMemory}!*Leaf {
        const leaf: *Leaf = @ptrCast(try heap.alloc(Leaf.bytesFor(capacity)));
        leaf.* = .{ .header = .{ .kind = .leaf, .length = 0, .capacity = capacity }, .prev = null, .next = null };
        return leaf;
    }

    fn newInner(heap: *Heap) error{OutOfMemory}!*Inner {
        const inner: *Inner = @ptrCast(try heap.alloc(@sizeOf(Inner)));
        inner.header = .{ .kind = .inner, .length = 0, .capacity = children_max };
        return inner;
    }

    fn unlinkLeaf(leaf: *Leaf) void {
        if (leaf.prev) |prev| prev.next = leaf.next;
        if (leaf.next) |next| next.prev = leaf.prev;
    }

    fn freeEmpty(heap: *Heap, node: *Header) void {
        if (node.kind == .inner) return freeInner(heap, innerOf(node));
        unlinkLeaf(leafOf(node));
        freeLeaf(heap, leafOf(node));
    }

    fn freeLeaf(heap: *Heap, leaf: *Leaf) void {
        heap.free(@ptrCast(@alignCast(leaf)), Leaf.bytesFor(leaf.header.capacity));
    }

    fn freeInner(heap: *Heap, inner: *Inner) void {
        heap.free(@ptrCast(@alignCast(inner)), @sizeOf(Inner));
    }

    /// Frees a node with all nodes below it.
    fn freeNode(heap: *Heap, node: *Header) void {
        switch (node.kind) {
            .leaf => freeLeaf(heap, leafOf(node)),
            .inner => {
                for (innerOf(node).children[0..node.length]) |child| freeNode(heap, child);
                freeInner(heap, innerOf(node));
            },
        }
    }
};

fn scoreIsBelow(member: *const Member, bound: f64) bool {
    return member.score < bound;
}

test "a sorted set against a sorted array" {
    var heap: Heap = .{};
    defer heap.reset();
    const gpa = std.testing.allocator;
    var set: SortedSet = .{};
    var model: std.ArrayList(struct { u32, f64 }) = .empty;
    defer model.deinit(gpa);
    var prng: std.Random.DefaultPrng = .init(17);
    const random = prng.random();
    for (0..60_000) |round| {
        // Grows for two thirds, then shrinks to nothing.
        const grows = round < 40_000;
        if (model.items.len == 0 or random.uintLessThan(u8, 10) < @as(u8, if (grows) 6 else 1)) {
            const score: f64 = if (round % 3 == 0) @floatFromInt(round) else @floatFromInt(random.uintLessThan(u16, 500));
            var buffer: [16]u8 = undefined;
            try set.add(&heap, try std.fmt.bufPrint(&buffer, "m{d}", .{round}), score);
            try model.append(gpa, .{ @intCast(round), score });
        } else {
            const index = random.uintLessThan(usize, model.items.len);
            var buffer: [16]u8 = undefined;
            const member = set.get(try std.fmt.bufPrint(&buffer, "m{d}", .{model.items[index][0]})).?;
            try std.testing.expectEqual(model.items[index][1], member.score);
            if (random.boolean() and grows) {
                model.items[index][1] = @floatFromInt(random.int(u8));
                try set.move(&heap, member, model.items[index][1]);
            } else {
                _ = model.swapRemove(index);
                set.remove(&heap, member);
            }
        }
        if (round % 5000 == 0) try expectOrdered(&set);
    }
    try std.testing.expectEqual(model.items.len, set.count());
    try expectOrdered(&set);
    set.deinit(&heap);
    try std.testing.expectEqual(0, heap.used_bytes);
}

fn expectOrdered(set: *const SortedSet) !void {
    var cursor = set.first();
    var rank: u64 = 0;
    var before: ?*Member = null;
    while (cursor) |place| : (cursor = place.next()) {
        const member = place.member();
        if (before) |other| {
            try std.testing.expect((Item{ .score = other.score, .member = other }).isBefore(.{ .score = member.score, .member = member }));
        }
        before = member;
        if (rank % 97 == 0) {
            try std.testing.expectEqual(rank, set.rankOf(member));
            try std.testing.expectEqual(member, set.at(rank).member());
            const below = set.countBefore(member.score, scoreIsBelow);
            try std.testing.expect(below <= rank);
            try std.testing.expectEqual(member.score, set.at(below).member().score);
        }
        rank += 1;
    }
    try std.testing.expectEqual(set.count(), rank);
    if (set.last()) |place| try std.testing.expectEqual(before, place.member());
}
