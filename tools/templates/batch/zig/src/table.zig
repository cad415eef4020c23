//! Counts words: open addressing, linear probing, at most half full.

const std = @import("std");
const failure = @import("failure.zig");

const first_slots = 1 << 12;
const different_max = 1 << 21;
const stored_bytes_max = 64 << 20;
/// What must be readable behind the start of a word that is looked up.
pub const prefix_bytes = 8;

/// A word and how often it was seen; a count of zero is an empty slot. The first eight bytes of the word stand here: most
/// words are no longer, so they are compared without a look at where they are stored.
const Slot = struct {
    prefix: u64 = 0,
    count: u64 = 0,
    /// Enough for the largest table, so growing hashes nothing again.
    hash: u32 = 0,
    /// In the stored words.
    offset: u32 = 0,
    length: u32 = 0,
};

/// A word of the answer.
pub const Counted = struct {
    count: u64,
    word: []const u8,
};

pub const Table = struct {
    gpa: std.mem.Allocator,
    /// Per process, so that nobody can prepare a text whose words all collide.
    seeds: [2]u64,
    /// A power of two.
    slots: []Slot,
    /// All words, one behind the other.
    stored: std.ArrayList(u8) = .empty,
    used: usize = 0,

    pub fn init(gpa: std.mem.Allocator, seeds: [2]u64) error{OutOfMemory}!Table {
        const slots = try gpa.alloc(Slot, first_slots);
        @memset(slots, .{});
        return .{ .gpa = gpa, .seeds = seeds, .slots = slots };
    }

    pub fn deinit(self: *Table) void {
        self.gpa.free(self.slots);
        self.stored.deinit(self.gpa);
    }

    /// Forgets all words and keeps the memory.
    pub fn reset(self: *Table) void {
        @memset(self.slots, .{});
        self.stored.clearRetainingCapacity();
        self.used = 0;
    }

    /// Adds the word of so many bytes at the start of `padded`, in which eight bytes can be read even if the word is
    /// shorter.
    pub inline fn add(self: *Table, padded: []const u8, length: usize, why: *failure.Failure) failure.Error!void {
        var prefix = load(padded);
        if (length < prefix_bytes) prefix &= (@as(u64, 1) << @intCast(8 * length)) - 1;
        const word = padded[0..length];
        const hash = self.hashOf(word, prefix);
        const mask = self.slots.len - 1;
        var index = hash & mask;
        while (true) : (index = (index + 1) & mask) {
            const found = &self.slots[index];
            if (found.count == 0) return self.insert(index, word, prefix, hash, why);
            if (found.prefix == prefix and found.length == length and
                (length <= prefix_bytes or std.mem.eql(u8, self.wordOf(found), word)))
            {
                found.count += 1;
                return;
            }
        }
    }

    /// Folds a word eight bytes at a time; the last eight may overlap those before.
    inline fn hashOf(self: *const Table, word: []const u8, prefix: u64) u32 {
        var state = fold(prefix ^ self.seeds[0], self.seeds[1] ^ word.len);
        if (word.len > prefix_bytes) {
            var at: usize = prefix_bytes;
            while (at + prefix_bytes < word.len) : (at += prefix_bytes) {
                state = fold(load(word[at..]) ^ self.seeds[0], state ^ self.seeds[1]);
            }
            state = fold(load(word[word.len - prefix_bytes ..]) ^ self.seeds[0], state ^ self.seeds[1]);
        }
        return @truncate(state);
    }

    /// Fills an empty slot, and doubles the table when it is half full.
    noinline fn insert(self: *Table, index: usize, word: []const u8, prefix: u64, hash: u32, why: *failure.Failure) failure.Error!void {
        if (self.used == different_max) return why.bad("more than {d} different words", .{different_max});
        if (self.stored.items.len + word.len > stored_bytes_max) {
            return why.bad("more than {d} bytes of different words", .{stored_bytes_max});
        }
        const offset: u32 = @intCast(self.stored.items.len);
        try self.stored.appendSlice(self.gpa, word);
        self.slots[index] = .{ .prefix = prefix, .count = 1, .hash = hash, .offset = offset, .length = @intCast(word.len) };
        self.used += 1;
        if (self.used * 2 > self.slots.len) try self.grow();
    }

    fn grow(self: *Table) error{OutOfMemory}!void {
        const slots = try self.gpa.alloc(Slot, 2 * self.slots.len);
        @memset(slots, .{});
        const mask = slots.len - 1;
        for (self.slots) |moved| {
            if (moved.count == 0) continue;
            var index = moved.hash & mask;
            while (slots[index].count != 0) index = (index + 1) & mask;
            slots[index] = moved;
        }
        self.gpa.free(self.slots);
        self.slots = slots;
    }

    fn wordOf(self: *const Table, slot: *const Slot) []const u8 {
        return self.stored.items[slot.offset..][0..slot.length];
    }

    /// All words with their counts, in no order.
    pub fn iterate(self: *const Table) Iterator {
        return .{ .table = self };
    }

    pub const Iterator = struct {
        table: *const Table,
        index: usize = 0,

        pub fn next(self: *Iterator) ?Counted {
            while (self.index < self.table.slots.len) {
                const slot = &self.table.slots[self.index];
                self.index += 1;
                if (slot.count != 0) return .{ .count = slot.count, .word = self.table.wordOf(slot) };
            }
            return null;
        }
    };
};

inline fn load(bytes: []const u8) u64 {
    return std.mem.readInt(u64, bytes[0..prefix_bytes], .little);
}

inline fn fold(left: u64, right: u64) u64 {
    const product = @as(u128, left) * right;
    return @as(u64, @truncate(product)) ^ @as(u64, @truncate(product >> 64));
}

/// For tests: adds a word that nothing stands behind.
pub fn addText(table: *Table, word: []const u8, why: *failure.Failure) failure.Error!void {
    var padded: [128]u8 = @splat(0xff);
    @memcpy(padded[0..word.len], word);
    return table.add(&padded, word.len, why);
}

test "words of all lengths are told apart" {
    const gpa = std.testing.allocator;
    var why: failure.Failure = .{};
    var table: Table = try .init(gpa, .{ 1, 2 });
    defer table.deinit();
    var buffer: [64]u8 = @splat('a');
    for (0..40) |length| {
        for (0..300) |last| {
            @memset(buffer[0..length], 'a');
            const digits = try std.fmt.bufPrint(buffer[length..], "{d}", .{last});
            for (0..1 + last % 2) |_| try addText(&table, buffer[0 .. length + digits.len], &why);
        }
    }
    try std.testing.expectEqual(40 * 300, table.used);
    try std.testing.expect(table.slots.len > first_slots);
    var words = table.iterate();
    while (words.next()) |one| {
        const last = try std.fmt.parseInt(u64, std.mem.trimStart(u8, one.word, "a"), 10);
        try std.testing.expectEqual(1 + last % 2, one.count);
    }
    table.reset();
    words = table.iterate();
    try std.testing.expectEqual(null, words.next());
}

test "too many words are refused" {
    var why: failure.Failure = .{};
    var table: Table = try .init(std.testing.allocator, .{ 1, 2 });
    defer table.deinit();
    table.used = different_max;
    try std.testing.expectError(error.Failed, addText(&table, "new", &why));
    try std.testing.expect(std.mem.find(u8, why.text(), "different words") != null);
}
