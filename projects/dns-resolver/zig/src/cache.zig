//! The cache: answers ready to be sent, and zone cuts, in one ring of bytes.
//!
//! New entries are written at the head of the ring, the oldest ones leave at its tail; one that was used meanwhile is
//! moved to the head instead. So memory is bounded to the byte, nothing is ever allocated, and what is not used goes
//! first. An index of open addressing, of a fixed size as well, finds entries by the hash of their key.
//!
//! An answer is kept as the bytes behind the question: a hit copies them and counts its times to live down.

const std = @import("std");
const stats = @import("stats.zig");
const wire = @import("wire.zig");

/// What is known about a question. Behind the question `body` follows, with times to live at `ttl_places`.
pub const Answer = struct {
    rcode: u8,
    answers: u16 = 0,
    authorities: u16 = 0,
    body: []const u8 = &.{},
    ttl_places: []const u16 = &.{},
    /// How old it is.
    elapsed_s: u32 = 0,

    /// Writes the body with times to live as they are now.
    pub fn writeBody(self: *const Answer, target: []u8) void {
        const body = target[0..self.body.len];
        @memcpy(body, self.body);
        if (self.elapsed_s == 0) return;
        for (self.ttl_places) |place| {
            wire.write32(body, place, wire.read32(body, place) -| self.elapsed_s);
        }
    }

    /// Makes a message that can be read: a header that means nothing, the name, and the body.
    pub fn rebuild(self: *const Answer, buffer: []u8, name: []const u8) []u8 {
        @memset(buffer[0..wire.header_bytes], 0);
        @memcpy(buffer[wire.header_bytes..][0..name.len], name);
        const body_at = wire.header_bytes + name.len + 4;
        @memset(buffer[body_at - 4 .. body_at], 0);
        self.writeBody(buffer[body_at..]);
        return buffer[0 .. body_at + self.body.len];
    }
};

/// A question, or what else is known about a name.
pub const Key = struct {
    /// In lower case.
    name: []const u8,
    kind: u32,
    hash: u32,

    /// Beyond all types: the servers of a zone, and that a name does not exist.
    pub const cut: u32 = 0x10000;
    pub const nxdomain: u32 = 0x10001;

    /// Set once at the start, so that nobody can make names that collide.
    pub var seed: u64 = 0;

    pub fn init(name: []const u8, kind: u32) Key {
        const hash = std.hash.Wyhash.hash(seed +% kind, name);
        return .{ .name = name, .kind = kind, .hash = @truncate(hash) };
    }
};

const State = enum(u8) { live, dead, filler };

/// Behind it: places of times to live, the name, the body.
pub const Entry = extern struct {
    size: u32,
    state: State,
    is_referenced: bool,
    name_length: u8,
    rcode: u8,
    // A filler ends here.
    hash: u32,
    kind: u32,
    stored_ms: u64,
    lifetime_s: u32,
    body_length: u16,
    ttl_count: u16,
    answers: u16,
    authorities: u16,
    padding: u32 = 0,

    fn payload(self: *const Entry) [*]const u8 {
        return @as([*]const u8, @ptrCast(self)) + @sizeOf(Entry);
    }

    fn ttlPlaces(self: *const Entry) []const u16 {
        return @as([*]const u16, @ptrCast(@alignCast(self.payload())))[0..self.ttl_count];
    }

    fn name(self: *const Entry) []const u8 {
        return (self.payload() + 2 * @as(usize, self.ttl_count))[0..self.name_length];
    }

    pub fn body(self: *const Entry) []const u8 {
        return (self.payload() + 2 * @as(usize, self.ttl_count) + self.name_length)[0..self.body_length];
    }

    fn elapsedS(self: *const Entry, now_ms: u64) u32 {
        return @intCast((now_ms - self.stored_ms) / std.time.ms_per_s);
    }

    pub fn answer(self: *const Entry, now_ms: u64) Answer {
        return .{
            .rcode = self.rcode,
            .answers = self.answers,
            .authorities = self.authorities,
            .body = self.body(),
            .ttl_places = self.ttlPlaces(),
            .elapsed_s = self.elapsedS(now_ms),
        };
    }
};

/// `place` is where the entry is in the ring, in units of 8 bytes, plus 1; 0 is nothing.
const Slot = extern struct { hash: u32 = 0, place: u32 = 0 };

const unit = 8;
const native_endian = @import("builtin").cpu.arch.endian();

pub const Cache = struct {
    ring: []align(unit) u8,
    gpa: std.mem.Allocator,
    /// As many as the entries need, so that a small cache has a small index.
    slots: []Slot,
    slots_max: usize,
    /// Both count all bytes that ever passed; the place in the ring is what remains of a division.
    head: u64 = 0,
    tail: u64 = 0,
    counters: *stats.Counters,

    /// So many entries may be moved to the head for a new one.
    const moves_max = 64;
    const slots_min = 1024;

    pub fn init(gpa: std.mem.Allocator, bytes: u64, counters: *stats.Counters) error{OutOfMemory}!Cache {
        // An entry and its slots come to a hundred bytes and more; the index is an eighth of all at most.
        const slots_max = std.math.floorPowerOfTwo(u64, @max(bytes / 8 / @sizeOf(Slot), slots_min));
        const ring_bytes = (bytes - slots_max * @sizeOf(Slot)) / unit * unit;
        const slots = try gpa.alloc(Slot, slots_min);
        @memset(slots, .{});
        const ring = try gpa.alignedAlloc(u8, .of(u64), ring_bytes);
        return .{ .gpa = gpa, .ring = ring, .slots = slots, .slots_max = slots_max, .counters = counters };
    }

    pub fn deinit(self: *Cache) void {
        self.gpa.free(self.slots);
        self.gpa.free(self.ring);
    }

    pub fn clear(self: *Cache) void {
        @memset(self.slots, .{});
        self.head = 0;
        self.tail = 0;
        self.counters.set("cache_entries", 0);
        self.counters.set("cache_bytes", 0);
    }

    /// Has the memory fetched that `find` will look at first. Many questions are better announced than asked one by one.
    pub fn announce(self: *const Cache, key: *const Key) void {
        @prefetch(&self.slots[key.hash & (self.slots.len - 1)], .{});
    }

    /// Has the memory fetched that `find` will look at next.
    pub fn announceEntry(self: *const Cache, key: *const Key) void {
        const slot = self.slots[key.hash & (self.slots.len - 1)];
        if (slot.place == 0) return;
        const entry = self.ring[(@as(usize, slot.place) - 1) * unit ..].ptr;
        @prefetch(entry, .{});
        @prefetch(entry + std.atomic.cache_line, .{});
    }

    /// Finds what is known and still true.
    pub fn find(self: *Cache, key: *const Key, now_ms: u64) ?*Entry {
        const index = self.lookUp(key) orelse return null;
        const entry = self.entryOf(self.slots[index]);
        if (entry.elapsedS(now_ms) >= entry.lifetime_s) {
            self.bury(index, entry);
            return null;
        }
        entry.is_referenced = true;
        return entry;
    }

    /// Keeps an answer, or a cut as the body of one.
    pub fn put(self: *Cache, key: *const Key, answer: *const Answer, lifetime_s: u32, now_ms: u64) void {
        if (lifetime_s == 0) return;
        if (self.lookUp(key)) |index| self.bury(index, self.entryOf(self.slots[index]));
        const size = std.mem.alignForward(usize, @sizeOf(Entry) + 2 * answer.ttl_places.len + key.name.len + answer.body.len, unit);
        if (size > self.ring.len / 4) return;
        if (self.counters.cache_entries >= self.slots.len / 2) self.growIndex();
        self.makeRoom(size);
        const place = self.placeOf(self.head);
        const entry: *Entry = @ptrCast(@alignCast(self.ring[place..].ptr));
        entry.* = .{
            .size = @intCast(size),
            .state = .live,
            .is_referenced = false,
            .name_length = @intCast(key.name.len),
            .rcode = answer.rcode,
            .hash = key.hash,
            .kind = key.kind,
            .stored_ms = now_ms,
            .lifetime_s = lifetime_s,
            .body_length = @intCast(answer.body.len),
            .ttl_count = @intCast(answer.ttl_places.len),
            .answers = answer.answers,
            .authorities = answer.authorities,
        };
        @memcpy(@constCast(entry.ttlPlaces()), answer.ttl_places);
        @memcpy(@constCast(entry.name()), key.name);
        @memcpy(@constCast(entry.body()), answer.body);
        self.head += size;
        self.enter(.{ .hash = key.hash, .place = @intCast(place / unit + 1) });
        self.count(.add, size);
    }

    fn count(self: *Cache, change: enum { add, remove }, size: usize) void {
        const counters = self.counters;
        switch (change) {
            .add => {
                counters.set("cache_entries", counters.cache_entries + 1);
                counters.set("cache_bytes", counters.cache_bytes + size);
            },
            .remove => {
                counters.set("cache_entries", counters.cache_entries - 1);
                counters.set("cache_bytes", counters.cache_bytes - size);
            },
        }
    }

    // --- the ring ---

    inline fn placeOf(self: *const Cache, position: u64) usize {
        return @intCast(position % self.ring.len);
    }

    fn entryAt(self: *Cache, place: usize) *Entry {
        return @ptrCast(@alignCast(self.ring[place..].ptr));
    }

    fn entryOf(self: *Cache, slot: Slot) *Entry {
        return self.entryAt((@as(usize, slot.place) - 1) * unit);
    }

    /// Frees bytes at the head, all in one piece, and a slot.
    fn makeRoom(self: *Cache, size: usize) void {
        var moves: usize = 0;
        while (true) {
            const to_end = self.ring.len - self.placeOf(self.head);
            const needed = if (size > to_end) to_end + size else size;
            const is_full = self.counters.cache_entries >= self.slots.len / 8 * 7;
            if (!is_full and self.head + needed - self.tail <= self.ring.len) {
                if (size > to_end) self.fill(to_end);
                return;
            }
            self.dropOldest(!is_full and moves < moves_max);
            moves += 1;
        }
    }

    /// Nothing fits into the last bytes of the ring.
    fn fill(self: *Cache, size: usize) void {
        // Of a filler only the first word is there.
        const first: *[unit]u8 = self.ring[self.placeOf(self.head)..][0..unit];
        std.mem.writeInt(u32, first[0..4], @intCast(size), native_endian);
        first[4] = @backingInt(State.filler);
        self.head += size;
    }

    fn dropOldest(self: *Cache, may_move: bool) void {
        const place = self.placeOf(self.tail);
        const first = self.ring[place..][0..unit];
        const size = std.mem.readInt(u32, first[0..4], native_endian);
        self.tail += size;
        if (first[4] != @backingInt(State.live)) return;
        const entry = self.entryAt(place);
        const slot = self.slotOf(entry.hash, place);
        if (entry.is_referenced and may_move and self.placeOf(self.head) + size <= self.ring.len) {
            entry.is_referenced = false;
            const target = self.placeOf(self.head);
            // The gap before the tail has grown by just this entry; both may overlap.
            @memmove(self.ring[target..][0..size], self.ring[place..][0..size]);
            self.slots[slot].place = @intCast(target / unit + 1);
            self.head += size;
            return;
        }
        self.leave(slot);
        self.count(.remove, size);
    }

    /// Takes an entry out of the index; its bytes are free when the tail comes along.
    fn bury(self: *Cache, slot: usize, entry: *Entry) void {
        entry.state = .dead;
        self.leave(slot);
        self.count(.remove, entry.size);
    }

    // --- the index ---

    fn lookUp(self: *Cache, key: *const Key) ?usize {
        const mask = self.slots.len - 1;
        var at: usize = key.hash & mask;
        while (self.slots[at].place != 0) : (at = (at + 1) & mask) {
            if (self.slots[at].hash != key.hash) continue;
            const entry = self.entryOf(self.slots[at]);
            if (entry.kind == key.kind and std.mem.eql(u8, entry.name(), key.name)) return at;
        }
        return null;
    }

    /// The slot of an entry that is there.
    fn slotOf(self: *const Cache, hash: u32, place: usize) usize {
        const mask = self.slots.len - 1;
        var at: usize = hash & mask;
        while (self.slots[at].place != place / unit + 1) at = (at + 1) & mask;
        return at;
    }

    /// Doubles the index, up to its bound; without memory for that it only gets slower.
    fn growIndex(self: *Cache) void {
        if (self.slots.len == self.slots_max) return;
        const old = self.slots;
        self.slots = self.gpa.alloc(Slot, 2 * old.len) catch return;
        @memset(self.slots, .{});
        for (old) |slot| if (slot.place != 0) self.enter(slot);
        self.gpa.free(old);
    }

    fn enter(self: *Cache, slot: Slot) void {
        const mask = self.slots.len - 1;
        var at: usize = slot.hash & mask;
        while (self.slots[at].place != 0) at = (at + 1) & mask;
        self.slots[at] = slot;
    }

    /// Empties a slot, and moves up those that would not be found any more.
    fn leave(self: *Cache, slot: usize) void {
        const mask = self.slots.len - 1;
        var hole = slot;
        var at = (hole + 1) & mask;
        while (self.slots[at].place != 0) : (at = (at + 1) & mask) {
            const home: usize = self.slots[at].hash & mask;
            if (((at -% home) & mask) < ((at -% hole) & mask)) continue;
            self.slots[hole] = self.slots[at];
            hole = at;
        }
        self.slots[hole] = .{};
    }
};

fn testAnswer(body: []const u8) Answer {
    return .{ .rcode = 0, .answers = 1, .body = body, .ttl_places = &.{0} };
}

test "answers are found until they end, and count down" {
    const gpa = std.testing.allocator;
    var counters: stats.Counters = .{};
    var cache: Cache = try .init(gpa, 64 << 10, &counters);
    defer cache.deinit();
    const key: Key = .init("\x01a\x00", 1);
    const other: Key = .init("\x01a\x00", 28);
    const stored = testAnswer("\x00\x00\x00\x0adata");
    cache.put(&key, &stored, 10, 1000);
    try std.testing.expectEqual(null, cache.find(&other, 1000));
    const found = cache.find(&key, 4999).?.answer(4999);
    var buffer: [64]u8 = undefined;
    try std.testing.expectEqualStrings("\x00\x00\x00\x07data", found.rebuild(&buffer, "\x01a\x00")[19..]);
    try std.testing.expectEqual(1, counters.cache_entries);
    try std.testing.expectEqual(null, cache.find(&key, 11_000));
    try std.testing.expectEqual(0, counters.cache_entries);
    try std.testing.expectEqual(0, counters.cache_bytes);
    const never = testAnswer("\x00\x00\x00\x00");
    cache.put(&key, &never, 0, 0);
    try std.testing.expectEqual(null, cache.find(&key, 0));
}

test "the oldest leave first, unless they are used" {
    const gpa = std.testing.allocator;
    var counters: stats.Counters = .{};
    var cache: Cache = try .init(gpa, 64 << 10, &counters);
    defer cache.deinit();
    var body: [900]u8 = @splat(0);
    const used: Key = .init("\x04used\x00", 1);
    cache.put(&used, &testAnswer(&body), 1000, 0);
    for (0..5000) |i| {
        var name = "\x04\x00\x00\x00\x00\x00".*;
        std.mem.writeInt(u32, name[1..5], @intCast(i), .little);
        const key: Key = .init(&name, 1);
        cache.put(&key, &testAnswer(body[0 .. 100 + i % 800]), 1000, 0);
        try std.testing.expect(cache.find(&key, 0) != null);
        _ = cache.find(&used, 0);
        try std.testing.expect(counters.cache_bytes <= 64 << 10);
    }
    try std.testing.expect(cache.find(&used, 0) != null or counters.cache_entries > 30);
    try std.testing.expectEqual(null, cache.find(&.init("\x04\x00\x00\x00\x00\x00", 1), 0));
    // Every entry that is counted is found by its slot.
    var live: u64 = 0;
    for (cache.slots) |slot| if (slot.place != 0) {
        live += 1;
        const entry = cache.entryOf(slot);
        try std.testing.expect(entry.state == .live and entry.hash == slot.hash);
    };
    try std.testing.expectEqual(counters.cache_entries, live);
    cache.clear();
    try std.testing.expectEqual(null, cache.find(&used, 0));
}
