//! Hashes and sets: hash tables of small blocks. A table of up to seven items is one cache line, so there is no second
//! representation for small ones.

const std = @import("std");
const Heap = @import("heap.zig").Heap;
const table = @import("table.zig");

/// A field of a hash with its value.
pub const Pair = extern struct {
    field_length: u32,
    value_length: u32,

    fn bytesFor(field_length: usize, value_length: usize) usize {
        return @sizeOf(Pair) + field_length + value_length;
    }

    fn text(self: *const Pair) [*]u8 {
        return @constCast(@as([*]const u8, @ptrCast(self)) + @sizeOf(Pair));
    }

    pub fn key(self: *const Pair) []const u8 {
        return self.text()[0..self.field_length];
    }

    pub fn value(self: *const Pair) []u8 {
        return (self.text() + self.field_length)[0..self.value_length];
    }

    fn create(heap: *Heap, field: []const u8, content: []const u8) error{OutOfMemory}!*Pair {
        const self: *Pair = @ptrCast(try heap.alloc(bytesFor(field.len, content.len)));
        self.* = .{ .field_length = @intCast(field.len), .value_length = @intCast(content.len) };
        @memcpy(self.text()[0..field.len], field);
        @memcpy(self.value(), content);
        return self;
    }

    pub fn destroy(self: *Pair, heap: *Heap) void {
        heap.free(@ptrCast(@alignCast(self)), bytesFor(self.field_length, self.value_length));
    }

    fn totalBytes(self: *const Pair) u64 {
        return Heap.roundUp(bytesFor(self.field_length, self.value_length));
    }
};

pub const Hash = struct {
    fields: Fields = .{},

    pub const Fields = table.Table(Pair);

    pub fn count(self: *const Hash) u64 {
        return self.fields.count;
    }

    pub fn get(self: *const Hash, field: []const u8) ?[]u8 {
        return if (self.fields.get(field)) |pair| pair.value() else null;
    }

    /// Returns true if the field is new.
    pub fn set(self: *Hash, heap: *Heap, field: []const u8, value: []const u8) error{OutOfMemory}!bool {
        const hash = table.hashOf(field);
        const slot = self.fields.find(hash, field) orelse {
            const pair: *Pair = try .create(heap, field, value);
            errdefer pair.destroy(heap);
            try self.fields.insert(heap.allocator(), hash, pair);
            return true;
        };
        const pair = Fields.pointer(slot.*);
        const old_bytes = Pair.bytesFor(field.len, pair.value_length);
        if (Heap.roundUp(old_bytes) == Heap.roundUp(Pair.bytesFor(field.len, value.len))) {
            pair.value_length = @intCast(value.len);
            @memcpy(pair.value(), value);
        } else {
            Fields.replace(slot, try .create(heap, field, value));
            pair.destroy(heap);
        }
        return false;
    }

    pub fn remove(self: *Hash, heap: *Heap, field: []const u8) bool {
        const hash = table.hashOf(field);
        const slot = self.fields.find(hash, field) orelse return false;
        const pair = Fields.pointer(slot.*);
        self.fields.remove(heap.allocator(), hash, slot);
        pair.destroy(heap);
        return true;
    }

    pub fn deinit(self: *Hash, heap: *Heap) void {
        _ = self.fields.destroyFrom(heap, 0, std.math.maxInt(u64));
    }

    pub fn totalBytes(self: *const Hash) u64 {
        return @sizeOf(Hash) + tableBytes(Pair, &self.fields);
    }
};

/// A member of a set.
pub const Text = extern struct {
    length: u32,

    fn bytesFor(length: usize) usize {
        return @sizeOf(Text) + length;
    }

    pub fn key(self: *const Text) []const u8 {
        return (@as([*]const u8, @ptrCast(self)) + @sizeOf(Text))[0..self.length];
    }

    fn create(heap: *Heap, content: []const u8) error{OutOfMemory}!*Text {
        const block = try heap.alloc(bytesFor(content.len));
        const self: *Text = @ptrCast(block);
        self.length = @intCast(content.len);
        @memcpy((block + @sizeOf(Text))[0..content.len], content);
        return self;
    }

    pub fn destroy(self: *Text, heap: *Heap) void {
        heap.free(@ptrCast(@alignCast(self)), bytesFor(self.length));
    }

    fn totalBytes(self: *const Text) u64 {
        return Heap.roundUp(bytesFor(self.length));
    }
};

pub const Set = struct {
    members: Members = .{},

    pub const Members = table.Table(Text);

    pub fn count(self: *const Set) u64 {
        return self.members.count;
    }

    pub fn contains(self: *const Set, member: []const u8) bool {
        return self.members.get(member) != null;
    }

    /// Returns true if the member is new.
    pub fn add(self: *Set, heap: *Heap, member: []const u8) error{OutOfMemory}!bool {
        const hash = table.hashOf(member);
        if (self.members.find(hash, member) != null) return false;
        const text: *Text = try .create(heap, member);
        errdefer text.destroy(heap);
        try self.members.insert(heap.allocator(), hash, text);
        return true;
    }

    pub fn remove(self: *Set, heap: *Heap, member: []const u8) bool {
        const hash = table.hashOf(member);
        const slot = self.members.find(hash, member) orelse return false;
        const text = Members.pointer(slot.*);
        self.members.remove(heap.allocator(), hash, slot);
        text.destroy(heap);
        return true;
    }

    pub fn deinit(self: *Set, heap: *Heap) void {
        _ = self.members.destroyFrom(heap, 0, std.math.maxInt(u64));
    }

    pub fn totalBytes(self: *const Set) u64 {
        return @sizeOf(Set) + tableBytes(Text, &self.members);
    }
};

/// A table with its items, estimated from a few of them.
fn tableBytes(comptime Item: type, items: *const table.Table(Item)) u64 {
    var total: u64 = 0;
    var sampled: u64 = 0;
    var iterator = items.iterator();
    while (sampled < 5) : (sampled += 1) total += (iterator.next() orelse break).totalBytes();
    return items.totalBytes() + if (sampled == 0) 0 else total * items.count / sampled;
}

test "a hash keeps the last value of each field" {
    var heap: Heap = .{};
    defer heap.reset();
    var hash: Hash = .{};
    var buffer: [8]u8 = undefined;
    var long: [200]u8 = @splat('v');
    for (0..1000) |i| try std.testing.expect(try hash.set(&heap, try std.fmt.bufPrint(&buffer, "f{d}", .{i}), "value"));
    for (0..1000) |i| try std.testing.expect(!try hash.set(&heap, try std.fmt.bufPrint(&buffer, "f{d}", .{i}), long[0 .. i % 200]));
    for (0..1000) |i| try std.testing.expectEqual(i % 200, hash.get(try std.fmt.bufPrint(&buffer, "f{d}", .{i})).?.len);
    try std.testing.expect(hash.remove(&heap, "f1"));
    try std.testing.expect(!hash.remove(&heap, "f1"));
    try std.testing.expectEqual(999, hash.count());
    hash.deinit(&heap);
    try std.testing.expectEqual(0, heap.used_bytes);
}

test "a set has each member once" {
    var heap: Heap = .{};
    defer heap.reset();
    var set: Set = .{};
    try std.testing.expect(try set.add(&heap, "a"));
    try std.testing.expect(!try set.add(&heap, "a"));
    try std.testing.expect(try set.add(&heap, ""));
    try std.testing.expect(set.contains("") and set.remove(&heap, "") and !set.contains(""));
    set.deinit(&heap);
    try std.testing.expectEqual(0, heap.used_bytes);
}
