//! Lists: a chain of nodes of up to 4 KiB that hold their elements one after the other, each with its length on both
//! sides. A node has free space at both of its ends, so a push or pop at either side moves nothing.

const std = @import("std");
const Heap = @import("heap.zig").Heap;

const node_bytes_max = 4 << 10;
const node_capacity_max = node_bytes_max - @sizeOf(Node);

pub const Side = enum { front, back };

const Node = extern struct {
    prev: ?*Node,
    next: ?*Node,
    count: u32,
    /// The elements lie from `start` to `end` of `capacity` bytes that follow this header.
    start: u32,
    end: u32,
    capacity: u32,

    fn data(self: *Node) [*]u8 {
        return @as([*]u8, @ptrCast(self)) + @sizeOf(Node);
    }

    fn used(self: *const Node) u32 {
        return self.end - self.start;
    }

    fn room(self: *const Node, side: Side) u32 {
        return if (side == .front) self.start else self.capacity - self.end;
    }
};

/// A place in a list; valid until the list changes.
pub const Cursor = struct {
    node: *Node,
    offset: u32,

    pub fn element(self: Cursor) []u8 {
        return readForward(self.node.data() + self.offset).bytes;
    }

    pub fn next(self: Cursor) ?Cursor {
        const after = self.offset + readForward(self.node.data() + self.offset).size;
        if (after != self.node.end) return .{ .node = self.node, .offset = after };
        const node = self.node.next orelse return null;
        return .{ .node = node, .offset = node.start };
    }

    pub fn prev(self: Cursor) ?Cursor {
        if (self.offset != self.node.start) return last(self.node, self.offset);
        const node = self.node.prev orelse return null;
        return last(node, node.end);
    }

    fn last(node: *Node, end: u32) Cursor {
        return .{ .node = node, .offset = end - readBackward(node.data() + end).size };
    }
};

pub const List = struct {
    head: ?*Node = null,
    tail: ?*Node = null,
    count: u64 = 0,

    pub fn deinit(self: *List, heap: *Heap) void {
        while (self.freeNodes(heap, std.math.maxInt(usize))) {}
    }

    /// Frees some nodes of a list that nobody uses any more; true if there are more.
    pub fn freeNodes(self: *List, heap: *Heap, nodes_max: usize) bool {
        for (0..nodes_max) |_| self.removeNode(heap, self.head orelse return false);
        return self.head != null;
    }

    pub fn push(self: *List, heap: *Heap, side: Side, bytes: []const u8) error{OutOfMemory}!void {
        const need = encodedBytes(bytes.len);
        const edge = if (side == .front) self.head else self.tail;
        const with_room = if (edge) |node| try self.makeRoom(heap, node, side, need) else null;
        const node = with_room orelse try self.addNode(heap, if (side == .front) null else self.tail, side, need);
        self.write(node, side, bytes, need);
    }

    pub fn peek(self: *const List, side: Side) ?[]u8 {
        return (self.edgeCursor(side) orelse return null).element();
    }

    /// Removes the element at one end; there must be one.
    pub fn drop(self: *List, heap: *Heap, side: Side) void {
        const node = (if (side == .front) self.head else self.tail).?;
        if (side == .front) {
            node.start += readForward(node.data() + node.start).size;
        } else {
            node.end -= readBackward(node.data() + node.end).size;
        }
        self.forget(heap, node);
    }

    pub fn edgeCursor(self: *const List, side: Side) ?Cursor {
        if (side == .front) return .{ .node = self.head orelse return null, .offset = self.head.?.start };
        const node = self.tail orelse return null;
        return Cursor.last(node, node.end);
    }

    /// The element at an index below `count`, walking from the nearer end.
    pub fn seek(self: *const List, index: u64) Cursor {
        std.debug.assert(index < self.count);
        var node: *Node = undefined;
        var before: u64 = undefined;
        if (index < self.count / 2) {
            node = self.head.?;
            before = 0;
            while (before + node.count <= index) : (node = node.next.?) before += node.count;
        } else {
            node = self.tail.?;
            before = self.count - node.count;
            while (before > index) {
                node = node.prev.?;
                before -= node.count;
            }
        }
        var left = index - before;
        if (left < node.count / 2) {
            var cursor: Cursor = .{ .node = node, .offset = node.start };
            while (left != 0) : (left -= 1) cursor = cursor.next().?;
            return cursor;
        }
        left = node.count - 1 - left;
        var cursor = Cursor.last(node, node.end);
        while (left != 0) : (left -= 1) cursor = cursor.prev().?;
        return cursor;
    }

    /// Removes an element and returns the place of the one after it.
    pub fn remove(self: *List, heap: *Heap, cursor: Cursor) ?Cursor {
        const node = cursor.node;
        const size = readForward(node.data() + cursor.offset).size;
        const after = cursor.offset + size;
        var following: Cursor = .{ .node = node, .offset = after };
        if (node.end - after < cursor.offset - node.start) {
            std.mem.copyForwards(u8, node.data()[cursor.offset .. node.end - size], node.data()[after..node.end]);
            node.end -= size;
            following.offset = cursor.offset;
        } else {
            std.mem.copyBackwards(u8, node.data()[node.start + size .. after], node.data()[node.start..cursor.offset]);
            node.start += size;
        }
        const next_node = node.next;
        const stays = node.count > 1;
        const is_last = following.offset == node.end;
        self.forget(heap, node);
        if (stays and !is_last) return following;
        return .{ .node = next_node orelse return null, .offset = next_node.?.start };
    }

    /// Inserts an element next to another.
    pub fn insert(self: *List, heap: *Heap, cursor: Cursor, side: Side, bytes: []const u8) error{OutOfMemory}!void {
        const need = encodedBytes(bytes.len);
        var node = cursor.node;
        const step = if (side == .front) 0 else readForward(node.data() + cursor.offset).size;
        var from_start = cursor.offset + step - node.start;
        if (node.capacity - node.used() < need) {
            node = try self.grow(heap, node, .back, need) orelse return self.insertBetween(heap, node, from_start, bytes);
        }
        if (node.room(.back) < need) {
            // All free space goes behind the elements.
            std.mem.copyForwards(u8, node.data()[0..node.used()], node.data()[node.start..node.end]);
            node.end -= node.start;
            node.start = 0;
        }
        from_start += node.start;
        std.mem.copyBackwards(u8, node.data()[from_start + need .. node.end + need], node.data()[from_start..node.end]);
        writeElement(node.data() + from_start, bytes);
        node.end += need;
        node.count += 1;
        self.count += 1;
    }

    pub fn replace(self: *List, heap: *Heap, cursor: Cursor, bytes: []const u8) error{OutOfMemory}!void {
        const old = cursor.element();
        if (old.len == bytes.len) return @memcpy(old, bytes);
        const following = self.remove(heap, cursor) orelse return self.push(heap, .back, bytes);
        try self.insert(heap, following, .front, bytes);
    }

    /// Joins nodes that have become sparse.
    pub fn compact(self: *List, heap: *Heap) void {
        var at = self.head;
        while (at) |node| {
            const next = node.next orelse return;
            if (node.used() + next.used() > node_capacity_max / 2) {
                at = next;
                continue;
            }
            const target = (self.makeRoom(heap, node, .back, next.used()) catch return) orelse return;
            @memcpy(target.data()[target.end..][0..next.used()], next.data()[next.start..next.end]);
            target.end += next.used();
            target.count += next.count;
            self.removeNode(heap, next);
            at = target;
        }
    }

    /// What the list takes, walking its nodes.
    pub fn totalBytes(self: *const List) u64 {
        var total: u64 = @sizeOf(List);
        var at = self.head;
        while (at) |node| : (at = node.next) total += Heap.roundUp(@sizeOf(Node) + node.capacity);
        return total;
    }

    // --- Nodes ----------------------------------------------------------------------------

    fn write(self: *List, node: *Node, side: Side, element: []const u8, need: u32) void {
        if (side == .front) node.start -= need;
        writeElement(node.data() + if (side == .front) node.start else node.end, element);
        if (side == .back) node.end += need;
        node.count += 1;
        self.count += 1;
    }

    /// An element has left the node.
    fn forget(self: *List, heap: *Heap, node: *Node) void {
        self.count -= 1;
        node.count -= 1;
        if (node.count == 0) self.removeNode(heap, node);
    }

    /// Room for so many bytes at one side of a node, which may move; null if they belong into another node.
    fn makeRoom(self: *List, heap: *Heap, node: *Node, side: Side, need: u32) error{OutOfMemory}!?*Node {
        if (node.room(side) >= need) return node;
        const total = node.used() + need;
        // A node is only tidied up if that makes room for many pushes.
        if (node.capacity >= total and node.capacity - total >= node.used() / 4) {
            const new_start = startFor(node, side, need, node.capacity);
            const source = node.data()[node.start..node.end];
            const target = node.data()[new_start..][0..source.len];
            if (new_start < node.start) std.mem.copyForwards(u8, target, source) else std.mem.copyBackwards(u8, target, source);
            node.end = new_start + node.used();
            node.start = new_start;
            return node;
        }
        return self.grow(heap, node, side, need);
    }

    /// A larger copy of the node; null if it is as large as nodes get.
    fn grow(self: *List, heap: *Heap, node: *Node, side: Side, need: u32) error{OutOfMemory}!?*Node {
        const total = node.used() + need;
        if (total > node_capacity_max or node.capacity >= node_capacity_max) return null;
        const wanted = std.math.ceilPowerOfTwoAssert(u32, total + @sizeOf(Node) + total / 8);
        const capacity = @min(wanted, node_bytes_max) - @sizeOf(Node);
        const grown: *Node = @ptrCast(try heap.alloc(@sizeOf(Node) + capacity));
        const start = startFor(node, side, need, capacity);
        grown.* = node.*;
        grown.start = start;
        grown.end = start + node.used();
        grown.capacity = capacity;
        @memcpy(grown.data()[grown.start..grown.end], node.data()[node.start..node.end]);
        if (node.prev) |prev| prev.next = grown else self.head = grown;
        if (node.next) |next| next.prev = grown else self.tail = grown;
        heap.free(@ptrCast(@alignCast(node)), @sizeOf(Node) + node.capacity);
        return grown;
    }

    /// Free space goes to the side that is pushed to; a node that has space on the other side keeps a part there.
    fn startFor(node: *const Node, side: Side, need: u32, capacity: u32) u32 {
        const other: Side = if (side == .front) .back else .front;
        const slack = capacity - node.used() - need;
        const kept = if (node.room(other) == 0) 0 else slack / 4;
        return if (side == .back) kept else capacity - kept - node.used();
    }

    fn addNode(self: *List, heap: *Heap, after: ?*Node, side: Side, need: u32) error{OutOfMemory}!*Node {
        const capacity: u32 = if (need > node_capacity_max)
            need
        else if (self.head == null)
            @intCast(Heap.roundUp(@sizeOf(Node) + need) - @sizeOf(Node))
        else
            node_capacity_max;
        const node: *Node = @ptrCast(try heap.alloc(@sizeOf(Node) + capacity));
        const edge: u32 = if (side == .front) capacity else 0;
        node.* = .{ .prev = after, .next = if (after) |prev| prev.next else self.head, .count = 0, .start = edge, .end = edge, .capacity = capacity };
        if (node.prev) |prev| prev.next = node else self.head = node;
        if (node.next) |next| next.prev = node else self.tail = node;
        return node;
    }

    fn removeNode(self: *List, heap: *Heap, node: *Node) void {
        if (node.prev) |prev| prev.next = node.next else self.head = node.next;
        if (node.next) |next| next.prev = node.prev else self.tail = node.prev;
        heap.free(@ptrCast(@alignCast(node)), @sizeOf(Node) + node.capacity);
    }

    /// Inserts at a place of a full node: what follows the place moves into a node of its own.
    fn insertBetween(self: *List, heap: *Heap, node: *Node, from_start: u32, element: []const u8) error{OutOfMemory}!void {
        const need = encodedBytes(element.len);
        if (from_start == 0) {
            const before = if (node.prev) |prev| try self.makeRoom(heap, prev, .back, need) else null;
            const target = before orelse try self.addNode(heap, node.prev, .back, need);
            return self.write(target, .back, element, need);
        }
        if (from_start != node.used()) try self.splitNode(heap, node, from_start);
        const target = try self.makeRoom(heap, node, .back, need) orelse try self.addNode(heap, node, .back, need);
        self.write(target, .back, element, need);
    }

    fn splitNode(self: *List, heap: *Heap, node: *Node, from_start: u32) error{OutOfMemory}!void {
        const moved = node.data()[node.start + from_start .. node.end];
        const right = try self.addNode(heap, node, .back, @intCast(moved.len));
        @memcpy(right.data()[0..moved.len], moved);
        right.end = @intCast(moved.len);
        var offset: u32 = 0;
        while (offset < right.end) : (right.count += 1) offset += readForward(right.data() + offset).size;
        node.end = node.start + from_start;
        node.count -= right.count;
    }
};

// --- Elements: length, bytes, the length again so that it can be read backwards -----------------

const Element = struct { bytes: []u8, size: u32 };

const short_max = 0x7f;
const medium_max = 0x3fff;
const medium_mark = 0x80;
const long_mark = 0xc0;

fn lengthBytes(length: usize) u32 {
    return if (length <= short_max) 1 else if (length <= medium_max) 2 else 5;
}

fn encodedBytes(length: usize) u32 {
    return @intCast(length + 2 * lengthBytes(length));
}

fn writeElement(target: [*]u8, bytes: []const u8) void {
    const size = lengthBytes(bytes.len);
    const head = target[0..size];
    const tail = target[size + bytes.len ..][0..size];
    switch (size) {
        1 => head[0] = @intCast(bytes.len),
        2 => std.mem.writeInt(u16, head[0..2], @intCast(medium_mark << 8 | bytes.len), .big),
        else => {
            head[0] = long_mark;
            std.mem.writeInt(u32, head[1..5], @intCast(bytes.len), .big);
        },
    }
    // The same bytes the other way round.
    for (head, 0..) |byte, i| tail[size - 1 - i] = byte;
    @memcpy(target[size..][0..bytes.len], bytes);
}

fn readForward(at: [*]u8) Element {
    const mark = at[0];
    if (mark <= short_max) return .{ .bytes = at[1..][0..mark], .size = @as(u32, mark) + 2 };
    const length: u32, const size: u32 = if (mark < long_mark)
        .{ std.mem.readInt(u16, at[0..2], .big) & medium_max, 2 }
    else
        .{ std.mem.readInt(u32, at[1..5], .big), 5 };
    return .{ .bytes = at[size..][0..length], .size = length + 2 * size };
}

/// The element that ends here.
fn readBackward(end: [*]u8) Element {
    const mark = (end - 1)[0];
    const length: u32, const size: u32 = if (mark <= short_max)
        .{ mark, 1 }
    else if (mark < long_mark)
        .{ std.mem.readInt(u16, (end - 2)[0..2], .little) & medium_max, 2 }
    else
        .{ std.mem.readInt(u32, (end - 5)[0..4], .little), 5 };
    return .{ .bytes = (end - size - length)[0..length], .size = length + 2 * size };
}

test "elements of all lengths, read from both sides" {
    const buffer = try std.testing.allocator.alloc(u8, 70_000);
    defer std.testing.allocator.free(buffer);
    const text = try std.testing.allocator.alloc(u8, 66_000);
    defer std.testing.allocator.free(text);
    @memset(text, 'x');
    for ([_]usize{ 0, 1, 127, 128, 16383, 16384, 66_000 }) |length| {
        writeElement(buffer.ptr, text[0..length]);
        const size = encodedBytes(length);
        try std.testing.expectEqual(size, readForward(buffer.ptr).size);
        try std.testing.expectEqual(size, readBackward(buffer.ptr + size).size);
        try std.testing.expectEqual(length, readForward(buffer.ptr).bytes.len);
        try std.testing.expectEqual(length, readBackward(buffer.ptr + size).bytes.len);
    }
}

test "a list against an array" {
    var heap: Heap = .{};
    defer heap.reset();
    const gpa = std.testing.allocator;
    var list: List = .{};
    var model: std.ArrayList(u32) = .empty;
    defer model.deinit(gpa);
    var prng: std.Random.DefaultPrng = .init(11);
    const random = prng.random();
    for (0..30_000) |round| {
        var buffer: [6000]u8 = undefined;
        const text = elementText(&buffer, @intCast(round));
        switch (random.uintLessThan(u8, 12)) {
            0...2 => {
                try list.push(&heap, .back, text);
                try model.append(gpa, @intCast(round));
            },
            3...5 => {
                try list.push(&heap, .front, text);
                try model.insert(gpa, 0, @intCast(round));
            },
            6 => if (model.pop()) |_| list.drop(&heap, .back),
            7 => if (model.items.len != 0) {
                _ = model.orderedRemove(0);
                list.drop(&heap, .front);
            },
            8 => if (model.items.len != 0) {
                const index = random.uintLessThan(usize, model.items.len);
                _ = model.orderedRemove(index);
                _ = list.remove(&heap, list.seek(index));
            },
            9, 10 => if (model.items.len != 0) {
                const index = random.uintLessThan(usize, model.items.len);
                const side: Side = if (random.boolean()) .front else .back;
                try model.insert(gpa, if (side == .front) index else index + 1, @intCast(round));
                try list.insert(&heap, list.seek(index), side, text);
            },
            else => if (model.items.len != 0) {
                const index = random.uintLessThan(usize, model.items.len);
                model.items[index] = @intCast(round);
                try list.replace(&heap, list.seek(index), text);
            },
        }
        if (round % 1000 == 0) list.compact(&heap);
        if (round % 500 == 0) try expectSame(&list, model.items);
    }
    try expectSame(&list, model.items);
    list.deinit(&heap);
    try std.testing.expectEqual(0, heap.used_bytes);
}

fn elementText(buffer: *[6000]u8, number: u32) []const u8 {
    const length: usize = if (number % 97 == 0) 5000 else 8 + number % 40;
    @memset(buffer[0..length], 'e');
    std.mem.writeInt(u32, buffer[0..4], number, .little);
    return buffer[0..length];
}

fn expectSame(list: *const List, model: []const u32) !void {
    try std.testing.expectEqual(model.len, list.count);
    var buffer: [6000]u8 = undefined;
    var forward = list.edgeCursor(.front);
    for (model) |number| {
        try std.testing.expectEqualStrings(elementText(&buffer, number), forward.?.element());
        forward = forward.?.next();
    }
    try std.testing.expectEqual(null, forward);
    var backward = list.edgeCursor(.back);
    for (0..model.len) |i| {
        try std.testing.expectEqualStrings(elementText(&buffer, model[model.len - 1 - i]), backward.?.element());
        backward = backward.?.prev();
    }
}
