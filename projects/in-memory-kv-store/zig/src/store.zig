//! The store: one table of entries, their expiry, eviction, and the account of memory.
//!
//! An entry is one block: a word of header, what its kind needs, the key, and a short string's value. A key of 16
//! bytes with a value of 16 takes 40 bytes and about 14 in the table.

const std = @import("std");
const Heap = @import("heap.zig").Heap;
const resp = @import("resp.zig");
const table = @import("table.zig");
const List = @import("quicklist.zig").List;
const SortedSet = @import("sorted.zig").SortedSet;
const collections = @import("collections.zig");
const Hash = collections.Hash;
const Set = collections.Set;

pub const Kind = enum(u3) { string, blob, list, hash, set, sorted };

/// Longer strings live in a block of their own, which can grow.
const inline_value_max = 1024;
const long_key = std.math.maxInt(u16);

/// Steps of the clock of accesses: 64 ms, so it wraps around after 99 days.
const clock_shift = 6;
const Clock = u27;

const Blob = extern struct { bytes: [*]u8, length: u64, capacity: u64 };

const Header = packed struct(u64) {
    kind: Kind,
    expires: bool,
    /// The key's length did not fit and follows.
    has_long_key: bool,
    /// When the entry was last used.
    clock: Clock,
    key_length: u16,
    value_length: u16,
};

pub const Entry = extern struct {
    header: Header,

    const expiry_bytes = 12;

    fn at(self: *const Entry, offset: usize) [*]u8 {
        return @constCast(@as([*]const u8, @ptrCast(self)) + offset);
    }

    fn expiryOffset(kind: Kind) usize {
        return @sizeOf(Header) + switch (kind) {
            .string => @as(usize, 0),
            .blob => @sizeOf(Blob),
            else => @sizeOf(usize),
        };
    }

    fn keyOffset(self: *const Entry) usize {
        var offset = expiryOffset(self.header.kind);
        if (self.header.expires) offset += expiry_bytes;
        if (self.header.has_long_key) offset += @sizeOf(u32);
        return offset;
    }

    fn keyLength(self: *const Entry) usize {
        if (!self.header.has_long_key) return self.header.key_length;
        return std.mem.readInt(u32, self.at(self.keyOffset() - @sizeOf(u32))[0..4], .little);
    }

    pub fn key(self: *const Entry) []const u8 {
        return self.at(self.keyOffset())[0..self.keyLength()];
    }

    /// The value of a string of either representation.
    pub fn string(self: *const Entry) []u8 {
        if (self.header.kind == .blob) return self.blob().bytes[0..self.blob().length];
        return self.at(self.keyOffset() + self.keyLength())[0..self.header.value_length];
    }

    fn blob(self: *const Entry) *Blob {
        return @ptrCast(@alignCast(self.at(@sizeOf(Header))));
    }

    fn object(self: *const Entry, comptime T: type) **T {
        return @ptrCast(@alignCast(self.at(@sizeOf(Header))));
    }

    /// When the entry expires, in milliseconds of the Unix clock.
    pub fn expiry(self: *const Entry) ?i64 {
        if (!self.header.expires) return null;
        return std.mem.readInt(i64, self.at(expiryOffset(self.header.kind))[0..8], .little);
    }

    fn setExpiry(self: *Entry, when_ms: i64) void {
        std.mem.writeInt(i64, self.at(expiryOffset(self.header.kind))[0..8], when_ms, .little);
    }

    fn expiringIndex(self: *const Entry) u32 {
        return std.mem.readInt(u32, self.at(expiryOffset(self.header.kind) + 8)[0..4], .little);
    }

    fn setExpiringIndex(self: *Entry, index: usize) void {
        std.mem.writeInt(u32, self.at(expiryOffset(self.header.kind) + 8)[0..4], @intCast(index), .little);
    }

    fn totalBytes(self: *const Entry) usize {
        return self.keyOffset() + self.keyLength() + self.header.value_length;
    }

    pub fn isString(self: *const Entry) bool {
        return self.header.kind == .string or self.header.kind == .blob;
    }

    /// For the table, which never destroys entries.
    pub fn destroy(_: *Entry, _: *Heap) void {
        unreachable;
    }
};

pub const Expiry = union(enum) { keep, none, at: i64 };

pub const Policy = enum {
    noeviction,
    @"allkeys-lru",
    @"volatile-lru",
    @"allkeys-random",
    @"volatile-ttl",
};

/// Who must know of keys that the store itself removes: the log and the watchers.
pub const Observer = struct {
    context: *anyopaque,
    removed: *const fn (context: *anyopaque, key: []const u8) void,
};

pub const Stats = struct {
    hits: u64 = 0,
    misses: u64 = 0,
    expired: u64 = 0,
    evicted: u64 = 0,
};

const Expiring = struct { when_ms: i64, entry: *Entry };

/// A collection without a key that is freed bit by bit.
const Remains = struct { kind: Kind, object: *anyopaque, bucket: u64 };

/// The best of so many is evicted.
pub const samples = 10;
/// Larger collections are freed bit by bit.
const freed_at_once_max = 256;
const freed_buckets_per_step = 400;
const swept_per_step = 50_000;
const expired_per_step = 2_000;

/// A smaller table is in the cache anyway.
const prefetched_keys_min = 10_000;

pub const Keys = table.Table(Entry);

pub const Store = struct {
    heap: Heap = .{},
    keys: Keys = .{},
    /// All entries that expire, in no order, each with its time: a sweep touches no entry that stays.
    expiring: std.ArrayList(Expiring) = .empty,
    remains: std.ArrayList(Remains) = .empty,
    now_ms: i64 = 0,
    clock: Clock = 0,
    /// While the log is replayed nothing expires: the log says what did.
    is_replaying: bool = false,
    memory_max: u64 = 0,
    policy: Policy = .noeviction,
    /// The policy looks at times of access. Without that a read changes nothing in memory.
    notes_use: bool = false,
    observer: ?Observer = null,
    stats: Stats = .{},
    prng: std.Random.DefaultPrng = .init(0),
    sweep: Sweep = .{},

    const gpa = std.heap.page_allocator;

    pub fn setTime(self: *Store, now_ms: i64) void {
        self.now_ms = now_ms;
        self.clock = @truncate(@as(u64, @bitCast(now_ms)) >> clock_shift);
    }

    pub fn setPolicy(self: *Store, policy: Policy) void {
        self.policy = policy;
        self.notes_use = policy == .@"allkeys-lru" or policy == .@"volatile-lru";
    }

    pub fn random(self: *Store) std.Random {
        return self.prng.random();
    }

    // --- Looking up -----------------------------------------------------------------------

    /// The entry of a key that has not expired. Its time of access becomes now.
    pub fn find(self: *Store, key: []const u8) ?*Entry {
        const entry = self.inspect(key) orelse return null;
        if (self.notes_use and entry.header.clock != self.clock) entry.header.clock = self.clock;
        return entry;
    }

    /// Like `find`, for commands that read: counts hits and misses.
    pub fn read(self: *Store, key: []const u8) ?*Entry {
        const entry = self.find(key) orelse {
            self.stats.misses += 1;
            return null;
        };
        self.stats.hits += 1;
        return entry;
    }

    /// Like `find`, without a trace.
    pub fn inspect(self: *Store, key: []const u8) ?*Entry {
        const hash = table.hashOf(key);
        const slot = self.keys.find(hash, key) orelse return null;
        const entry = Keys.pointer(slot.*);
        if (!self.isExpired(entry)) return entry;
        self.expireSlot(hash, slot);
        return null;
    }

    pub fn isExpired(self: *const Store, entry: *const Entry) bool {
        const when = entry.expiry() orelse return false;
        return self.now_ms > when and !self.is_replaying;
    }

    /// Brings into the cache what some commands will need, if their first argument is a key: all buckets at once, then
    /// all entries, instead of one after the other.
    pub fn prefetch(self: *const Store, requests: []const resp.Command) void {
        if (self.keys.count < prefetched_keys_min) return;
        var hashes: [resp.batch_max]u64 = undefined;
        for (requests, hashes[0..requests.len]) |request, *hash| {
            hash.* = if (request.args.len > 1) table.hashOf(request.args[1]) else 0;
            self.keys.prefetch(hash.*);
        }
        for (hashes[0..requests.len]) |hash| self.keys.prefetchItem(hash);
    }

    /// The collection of an entry.
    pub fn as(_: *const Store, comptime T: type, entry: *const Entry) error{WrongType}!*T {
        return if (entry.header.kind == kindOf(T)) entry.object(T).* else error.WrongType;
    }

    fn kindOf(comptime T: type) Kind {
        return switch (T) {
            List => .list,
            Hash => .hash,
            Set => .set,
            SortedSet => .sorted,
            else => @compileError("not a collection"),
        };
    }

    // --- Writing --------------------------------------------------------------------------

    pub fn setString(self: *Store, key: []const u8, value: []const u8, expiry: Expiry) error{OutOfMemory}!void {
        const key_hash = table.hashOf(key);
        if (self.keys.find(key_hash, key)) |slot| {
            if (!self.isExpired(Keys.pointer(slot.*))) return self.overwrite(slot, value, expiry);
            self.expireSlot(key_hash, slot);
        }
        const when_ms: ?i64 = if (expiry == .at) expiry.at else null;
        const entry = try self.newString(key, value, when_ms);
        errdefer self.freeEntry(entry);
        try self.keys.insert(self.heap.allocator(), key_hash, entry);
    }

    fn overwrite(self: *Store, slot: *table.Slot, value: []const u8, expiry: Expiry) error{OutOfMemory}!void {
        const old = Keys.pointer(slot.*);
        const when_ms: ?i64 = switch (expiry) {
            .keep => old.expiry(),
            .none => null,
            .at => |when| when,
        };
        if (old.header.kind == .string and value.len <= inline_value_max and old.header.expires == (when_ms != null)) {
            const old_bytes = old.totalBytes();
            const new_bytes = old_bytes - old.header.value_length + value.len;
            if (Heap.roundUp(old_bytes) == Heap.roundUp(new_bytes)) {
                old.header.value_length = @intCast(value.len);
                old.header.clock = self.clock;
                @memcpy(old.string(), value);
                if (when_ms) |when| self.moveExpiry(old, when);
                return;
            }
        }
        const entry = try self.newString(old.key(), value, when_ms);
        Keys.replace(slot, entry);
        self.freeEntry(old);
    }

    /// The bytes of a string that is given a new length; what it had stays, what comes new is zero.
    pub fn resizeString(self: *Store, key: []const u8, length: usize) error{OutOfMemory}![]u8 {
        const slot = self.keys.find(table.hashOf(key), key).?;
        var entry = Keys.pointer(slot.*);
        const old_length = entry.string().len;
        if (length <= old_length) return entry.string();
        if (entry.header.kind == .string and !self.fitsInPlace(entry, length)) {
            const grown = try self.newEntry(key, if (length <= inline_value_max / 2) .string else .blob, length, entry.expiry());
            errdefer self.freeEntry(grown);
            if (grown.header.kind == .blob) {
                grown.blob().* = .{ .bytes = undefined, .length = 0, .capacity = 0 };
                try self.growBlob(grown.blob(), length);
            }
            @memcpy(grown.string()[0..old_length], entry.string());
            Keys.replace(slot, grown);
            self.freeEntry(entry);
            entry = grown;
        } else if (entry.header.kind == .blob) {
            try self.growBlob(entry.blob(), length);
        } else {
            entry.header.value_length = @intCast(length);
        }
        @memset(entry.string()[old_length..], 0);
        return entry.string();
    }

    fn fitsInPlace(_: *const Store, entry: *const Entry, length: usize) bool {
        if (length > inline_value_max) return false;
        const old_bytes = entry.totalBytes();
        return Heap.roundUp(old_bytes) == Heap.roundUp(old_bytes - entry.header.value_length + length);
    }

    fn growBlob(self: *Store, blob: *Blob, length: usize) error{OutOfMemory}!void {
        if (length > blob.capacity) {
            // Twice the length, as redis reserves, but at most 1 MiB more.
            const capacity = if (blob.capacity == 0) length else length + @min(length, 1 << 20);
            const grown = if (blob.capacity == 0)
                try self.heap.allocator().alloc(u8, capacity)
            else
                try self.heap.allocator().realloc(blob.bytes[0..blob.capacity], capacity);
            blob.bytes = grown.ptr;
            blob.capacity = capacity;
        }
        blob.length = length;
    }

    /// A new, empty collection under a key that is not there.
    pub fn create(self: *Store, comptime T: type, key: []const u8) error{OutOfMemory}!*T {
        const object: *T = @ptrCast(try self.heap.alloc(@sizeOf(T)));
        object.* = .{};
        errdefer self.heap.free(@ptrCast(@alignCast(object)), @sizeOf(T));
        try self.attach(key, kindOf(T), object, null);
        return object;
    }

    fn attach(self: *Store, key: []const u8, kind: Kind, object: *anyopaque, when_ms: ?i64) error{OutOfMemory}!void {
        const entry = try self.newEntry(key, kind, 0, when_ms);
        errdefer self.freeEntryOnly(entry);
        entry.object(anyopaque).* = object;
        try self.keys.insert(self.heap.allocator(), table.hashOf(key), entry);
    }

    /// Removes a key; true if it was there.
    pub fn delete(self: *Store, key: []const u8) bool {
        if (self.inspect(key) == null) return false;
        const key_hash = table.hashOf(key);
        self.removeSlot(key_hash, self.keys.find(key_hash, key).?);
        return true;
    }

    /// Removes a collection without items, which only a command that failed can leave.
    pub fn deleteIfHollow(self: *Store, key: []const u8) void {
        const entry = self.inspect(key) orelse return;
        const count = switch (entry.header.kind) {
            .string, .blob => return,
            .list => entry.object(List).*.count,
            .hash => entry.object(Hash).*.count(),
            .set => entry.object(Set).*.count(),
            .sorted => entry.object(SortedSet).*.count(),
        };
        if (count == 0) _ = self.delete(key);
    }

    /// Gives an entry another key, in place of what was there. The time of expiry moves with it.
    pub fn rename(self: *Store, from: []const u8, to: []const u8) error{OutOfMemory}!void {
        const old = self.find(from).?;
        const entry = try self.newEntry(to, old.header.kind, if (old.header.kind == .string) old.string().len else 0, old.expiry());
        switch (old.header.kind) {
            .string => @memcpy(entry.string(), old.string()),
            .blob => entry.blob().* = old.blob().*,
            else => entry.object(anyopaque).* = old.object(anyopaque).*,
        }
        errdefer self.freeEntryOnly(entry);
        _ = self.delete(to);
        try self.keys.insert(self.heap.allocator(), table.hashOf(to), entry);
        const from_hash = table.hashOf(from);
        const slot = self.keys.find(from_hash, from).?;
        self.keys.remove(self.heap.allocator(), from_hash, slot);
        self.freeEntryOnly(old);
    }

    /// Makes a copy under a key that is not there.
    pub fn copy(self: *Store, from: []const u8, to: []const u8) error{OutOfMemory}!void {
        const source = self.find(from).?;
        const when_ms = source.expiry();
        switch (source.header.kind) {
            .string, .blob => return self.setString(to, source.string(), if (when_ms) |when| .{ .at = when } else .none),
            .list => {
                const target = try self.create(List, to);
                errdefer _ = self.delete(to);
                var cursor = source.object(List).*.edgeCursor(.front);
                while (cursor) |place| : (cursor = place.next()) try target.push(&self.heap, .back, place.element());
            },
            .hash => {
                const target = try self.create(Hash, to);
                errdefer _ = self.delete(to);
                var pairs = source.object(Hash).*.fields.iterator();
                while (pairs.next()) |pair| _ = try target.set(&self.heap, pair.key(), pair.value());
            },
            .set => {
                const target = try self.create(Set, to);
                errdefer _ = self.delete(to);
                var members = source.object(Set).*.members.iterator();
                while (members.next()) |member| _ = try target.add(&self.heap, member.key());
            },
            .sorted => {
                const target = try self.create(SortedSet, to);
                target.is_large = source.object(SortedSet).*.is_large;
                errdefer _ = self.delete(to);
                var cursor = source.object(SortedSet).*.first();
                while (cursor) |place| : (cursor = place.next()) try target.add(&self.heap, place.member().key(), place.member().score);
            },
        }
        if (when_ms) |when| try self.setExpiry(to, when);
    }

    /// Drops everything at once, whatever it is.
    pub fn clear(self: *Store) void {
        self.keys = .{};
        self.heap.reset();
        self.expiring.clearAndFree(gpa);
        self.remains.clearAndFree(gpa);
        self.sweep = .{};
    }

    // --- Entries --------------------------------------------------------------------------

    fn newString(self: *Store, key: []const u8, value: []const u8, when_ms: ?i64) error{OutOfMemory}!*Entry {
        const is_inline = value.len <= inline_value_max;
        const entry = try self.newEntry(key, if (is_inline) .string else .blob, value.len, when_ms);
        if (is_inline) {
            @memcpy(entry.string(), value);
            return entry;
        }
        errdefer self.freeEntryOnly(entry);
        const bytes = try self.heap.allocator().alloc(u8, value.len);
        @memcpy(bytes, value);
        entry.blob().* = .{ .bytes = bytes.ptr, .length = value.len, .capacity = value.len };
        return entry;
    }

    /// An entry with its key and, if it expires, its place among those that do.
    fn newEntry(self: *Store, key: []const u8, kind: Kind, value_length: usize, when_ms: ?i64) error{OutOfMemory}!*Entry {
        const header: Header = .{
            .kind = kind,
            .expires = when_ms != null,
            .has_long_key = key.len >= long_key,
            .clock = self.clock,
            .key_length = @intCast(@min(key.len, long_key)),
            .value_length = if (kind == .string) @intCast(value_length) else 0,
        };
        const shape: Entry = .{ .header = header };
        const key_offset = shape.keyOffset();
        if (when_ms != null) try self.expiring.ensureUnusedCapacity(gpa, 1);
        const entry: *Entry = @ptrCast(try self.heap.alloc(key_offset + key.len + header.value_length));
        entry.header = header;
        if (header.has_long_key) std.mem.writeInt(u32, entry.at(key_offset - @sizeOf(u32))[0..4], @intCast(key.len), .little);
        @memcpy(entry.at(key_offset)[0..key.len], key);
        if (when_ms) |when| {
            entry.setExpiry(when);
            entry.setExpiringIndex(self.expiring.items.len);
            self.expiring.appendAssumeCapacity(.{ .when_ms = when, .entry = entry });
            self.sweep.noteExpiry(when);
        }
        return entry;
    }

    /// Frees an entry but not the object or blob it points to.
    fn freeEntryOnly(self: *Store, entry: *Entry) void {
        if (entry.header.expires) self.forgetExpiry(entry);
        self.heap.free(@ptrCast(entry), entry.totalBytes());
    }

    fn freeEntry(self: *Store, entry: *Entry) void {
        switch (entry.header.kind) {
            .string => {},
            .blob => if (entry.blob().capacity != 0) self.heap.allocator().free(entry.blob().bytes[0..entry.blob().capacity]),
            else => |kind| self.bury(kind, entry.object(anyopaque).*),
        }
        self.freeEntryOnly(entry);
    }

    fn removeSlot(self: *Store, key_hash: u64, slot: *table.Slot) void {
        const entry = Keys.pointer(slot.*);
        self.keys.remove(self.heap.allocator(), key_hash, slot);
        self.freeEntry(entry);
    }

    // --- Freeing collections --------------------------------------------------------------

    fn bury(self: *Store, kind: Kind, object: *anyopaque) void {
        const count = switch (kind) {
            .list => cast(List, object).count / 64,
            .hash => cast(Hash, object).count(),
            .set => cast(Set, object).count(),
            .sorted => cast(SortedSet, object).count(),
            .string, .blob => unreachable,
        };
        var rest: Remains = .{ .kind = kind, .object = object, .bucket = 0 };
        if (kind == .sorted) cast(SortedSet, object).freeTree(&self.heap);
        if (count > freed_at_once_max) {
            if (self.remains.append(gpa, rest)) |_| return else |_| {}
        }
        while (!self.freeSome(&rest)) {}
    }

    /// Frees a part of what was removed; true if there is more.
    pub fn freeRemains(self: *Store) bool {
        if (self.remains.items.len == 0) return false;
        const rest = &self.remains.items[self.remains.items.len - 1];
        if (self.freeSome(rest)) _ = self.remains.pop();
        return self.remains.items.len != 0;
    }

    /// True when nothing is left of a collection.
    fn freeSome(self: *Store, rest: *Remains) bool {
        const next: ?u64 = switch (rest.kind) {
            .list => blk: {
                const items = cast(List, rest.object);
                break :blk if (items.freeNodes(&self.heap, freed_buckets_per_step)) 0 else null;
            },
            .hash => cast(Hash, rest.object).fields.destroyFrom(&self.heap, rest.bucket, freed_buckets_per_step),
            .set => cast(Set, rest.object).members.destroyFrom(&self.heap, rest.bucket, freed_buckets_per_step),
            .sorted => cast(SortedSet, rest.object).members.destroyFrom(&self.heap, rest.bucket, freed_buckets_per_step),
            .string, .blob => unreachable,
        };
        rest.bucket = next orelse {
            const bytes: usize = switch (rest.kind) {
                .list => @sizeOf(List),
                .hash => @sizeOf(Hash),
                .set => @sizeOf(Set),
                .sorted => @sizeOf(SortedSet),
                .string, .blob => unreachable,
            };
            self.heap.free(@ptrCast(@alignCast(rest.object)), bytes);
            return true;
        };
        return false;
    }

    fn cast(comptime T: type, object: *anyopaque) *T {
        return @ptrCast(@alignCast(object));
    }

    // --- Expiry ---------------------------------------------------------------------------

    /// Gives a key that is there a time to expire.
    pub fn setExpiry(self: *Store, key: []const u8, when_ms: i64) error{OutOfMemory}!void {
        const slot = self.keys.find(table.hashOf(key), key).?;
        const old = Keys.pointer(slot.*);
        if (old.header.expires) return self.moveExpiry(old, when_ms);
        try self.reshape(slot, when_ms);
    }

    /// Removes the time of expiry of a key; true if it had one.
    pub fn persist(self: *Store, key: []const u8) error{OutOfMemory}!bool {
        const slot = self.keys.find(table.hashOf(key), key).?;
        if (!Keys.pointer(slot.*).header.expires) return false;
        try self.reshape(slot, null);
        return true;
    }

    /// Moves an entry into a block with or without a time of expiry.
    fn reshape(self: *Store, slot: *table.Slot, when_ms: ?i64) error{OutOfMemory}!void {
        const old = Keys.pointer(slot.*);
        const entry = try self.newEntry(old.key(), old.header.kind, old.header.value_length, when_ms);
        switch (old.header.kind) {
            .string => @memcpy(entry.string(), old.string()),
            .blob => entry.blob().* = old.blob().*,
            else => entry.object(anyopaque).* = old.object(anyopaque).*,
        }
        Keys.replace(slot, entry);
        self.freeEntryOnly(old);
    }

    fn moveExpiry(self: *Store, entry: *Entry, when_ms: i64) void {
        entry.setExpiry(when_ms);
        self.expiring.items[entry.expiringIndex()].when_ms = when_ms;
        self.sweep.noteExpiry(when_ms);
    }

    fn forgetExpiry(self: *Store, entry: *Entry) void {
        const index = entry.expiringIndex();
        _ = self.expiring.swapRemove(index);
        if (index < self.expiring.items.len) {
            const moved = self.expiring.items[index];
            moved.entry.setExpiringIndex(index);
            // The sweep may have passed this place already.
            self.sweep.noteExpiry(moved.when_ms);
        }
    }

    fn expireSlot(self: *Store, key_hash: u64, slot: *table.Slot) void {
        const entry = Keys.pointer(slot.*);
        if (self.observer) |observer| observer.removed(observer.context, entry.key());
        self.stats.expired += 1;
        self.removeSlot(key_hash, slot);
    }

    fn expireEntry(self: *Store, entry: *Entry) void {
        const key_hash = table.hashOf(entry.key());
        self.expireSlot(key_hash, self.keys.find(key_hash, entry.key()).?);
    }

    /// How far the background has looked for expired entries.
    const Sweep = struct {
        at: usize = 0,
        /// No entry expires before: what makes an idle sweep free.
        earliest_ms: i64 = std.math.maxInt(i64),
        /// The same for the pass that is under way.
        pass_earliest_ms: i64 = std.math.maxInt(i64),

        fn noteExpiry(self: *Sweep, when_ms: i64) void {
            self.earliest_ms = @min(self.earliest_ms, when_ms);
            self.pass_earliest_ms = @min(self.pass_earliest_ms, when_ms);
        }
    };

    /// Removes some of the entries that have expired, in less than a millisecond; true if the pass is not over.
    pub fn expireSome(self: *Store) bool {
        if (self.sweep.at == 0 and self.now_ms <= self.sweep.earliest_ms) return false;
        var looked: usize = 0;
        var removed: usize = 0;
        while (self.sweep.at < self.expiring.items.len) {
            if (looked == swept_per_step or removed == expired_per_step) return true;
            looked += 1;
            const candidate = self.expiring.items[self.sweep.at];
            if (self.now_ms > candidate.when_ms) {
                self.expireEntry(candidate.entry);
                removed += 1;
            } else {
                self.sweep.pass_earliest_ms = @min(self.sweep.pass_earliest_ms, candidate.when_ms);
                self.sweep.at += 1;
            }
        }
        self.sweep = .{ .earliest_ms = self.sweep.pass_earliest_ms };
        return false;
    }

    // --- Memory ---------------------------------------------------------------------------

    /// Keys, values, tables, and the list of those that expire.
    pub fn usedBytes(self: *const Store) u64 {
        return self.heap.used_bytes + self.expiring.capacity * @sizeOf(Expiring);
    }

    /// Evicts until the limit is kept; false if the policy allows no more.
    pub fn makeRoom(self: *Store) bool {
        while (self.memory_max != 0 and self.usedBytes() > self.memory_max) {
            if (self.remains.items.len != 0) {
                _ = self.freeRemains();
                continue;
            }
            const victim = self.pickVictim() orelse return false;
            const key = victim.key();
            if (self.observer) |observer| observer.removed(observer.context, key);
            self.stats.evicted += 1;
            const key_hash = table.hashOf(key);
            self.removeSlot(key_hash, self.keys.find(key_hash, key).?);
        }
        return true;
    }

    fn pickVictim(self: *Store) ?*Entry {
        return switch (self.policy) {
            .noeviction => null,
            .@"allkeys-random" => self.keys.sample(self.random()),
            .@"allkeys-lru" => self.pickBest(.keys, idleTime),
            .@"volatile-lru" => self.pickBest(.expiring, idleTime),
            .@"volatile-ttl" => self.pickBest(.expiring, nearness),
        };
    }

    fn pickBest(self: *Store, comptime from: enum { keys, expiring }, comptime rate: fn (*const Store, *const Entry) i64) ?*Entry {
        var best: ?*Entry = null;
        var best_rate: i64 = undefined;
        for (0..samples) |_| {
            const entry = switch (from) {
                .keys => self.keys.sample(self.random()) orelse return null,
                .expiring => blk: {
                    if (self.expiring.items.len == 0) return null;
                    break :blk self.expiring.items[self.random().uintLessThan(usize, self.expiring.items.len)].entry;
                },
            };
            const rated = rate(self, entry);
            if (best == null or rated > best_rate) {
                best = entry;
                best_rate = rated;
            }
        }
        return best;
    }

    fn idleTime(self: *const Store, entry: *const Entry) i64 {
        return self.clock -% entry.header.clock;
    }

    fn nearness(_: *const Store, entry: *const Entry) i64 {
        return -entry.expiry().?;
    }

    /// How long entries that expire will live on average, from a few of them.
    pub fn meanLifeMs(self: *Store) i64 {
        if (self.expiring.items.len == 0) return 0;
        var sum_ms: i64 = 0;
        for (0..samples) |_| {
            const index = self.random().uintLessThan(usize, self.expiring.items.len);
            sum_ms +|= @max(0, self.expiring.items[index].when_ms -| self.now_ms);
        }
        return @divTrunc(sum_ms, samples);
    }

    /// What a key takes with its value and its share of the table; collections are estimated from a few items.
    pub fn memoryOf(self: *const Store, entry: *const Entry) u64 {
        const slot_bytes = (self.keys.totalBytes() + self.keys.count - 1) / self.keys.count;
        const own = Heap.roundUp(entry.totalBytes()) + @min(slot_bytes, 64) + @as(u64, if (entry.header.expires) @sizeOf(Expiring) else 0);
        return own + switch (entry.header.kind) {
            .string => 0,
            .blob => Heap.roundUp(entry.blob().capacity),
            .list => entry.object(List).*.totalBytes(),
            .hash => entry.object(Hash).*.totalBytes(),
            .set => entry.object(Set).*.totalBytes(),
            .sorted => entry.object(SortedSet).*.totalBytes(),
        };
    }
};

fn testStore() Store {
    var store: Store = .{};
    store.setTime(1_000_000);
    return store;
}

test "strings of all lengths, with and without expiry" {
    var store = testStore();
    defer store.clear();
    const text = try std.testing.allocator.alloc(u8, 200_000);
    defer std.testing.allocator.free(text);
    @memset(text, 't');
    const lengths = [_]usize{ 0, 1, 16, 1000, 1024, 1025, 70_000, 200_000, 3 };
    for (lengths) |length| {
        for ([_]Expiry{ .none, .{ .at = 2_000_000 }, .keep }) |expiry| {
            try store.setString("key", text[0..length], expiry);
            try std.testing.expectEqual(length, store.find("key").?.string().len);
        }
        try std.testing.expectEqual(2_000_000, store.find("key").?.expiry().?);
    }
    try std.testing.expectEqual(1, store.keys.count);
    try std.testing.expect(store.delete("key"));
    const bucket_bytes = 64;
    try std.testing.expectEqual(bucket_bytes, store.heap.used_bytes);
}

test "a long key" {
    var store = testStore();
    defer store.clear();
    const key = try std.testing.allocator.alloc(u8, 70_000);
    defer std.testing.allocator.free(key);
    @memset(key, 'k');
    try store.setString(key, "v", .{ .at = 1_500_000 });
    try std.testing.expectEqualStrings("v", store.find(key).?.string());
    try std.testing.expectEqual(key.len, store.find(key).?.key().len);
}

test "strings grow" {
    var store = testStore();
    defer store.clear();
    try store.setString("key", "", .none);
    var length: usize = 0;
    while (length < 10_000) : (length += 1) {
        const bytes = try store.resizeString("key", length + 1);
        bytes[length] = @truncate(length);
    }
    for (store.find("key").?.string(), 0..) |byte, i| try std.testing.expectEqual(@as(u8, @truncate(i)), byte);
}

test "entries expire on access and in the background" {
    var store = testStore();
    defer store.clear();
    var buffer: [8]u8 = undefined;
    for (0..1000) |i| try store.setString(try std.fmt.bufPrint(&buffer, "k{d}", .{i}), "v", .{ .at = 1_000_000 + @as(i64, @intCast(i)) });
    try std.testing.expect(try store.persist("k999"));
    try store.setExpiry("k998", 5_000_000);
    store.setTime(1_000_100);
    try std.testing.expectEqual(null, store.find("k99"));
    try std.testing.expect(store.find("k100") != null);
    try std.testing.expect(!store.expireSome());
    try std.testing.expectEqual(900, store.keys.count);
    store.setTime(2_000_000);
    try std.testing.expect(!store.expireSome());
    try std.testing.expectEqual(2, store.keys.count);
    try std.testing.expectEqual(998, store.stats.expired);
    try std.testing.expect(!store.expireSome());
}

test "rename and copy keep value and expiry" {
    var store = testStore();
    defer store.clear();
    const set = try store.create(Set, "set");
    _ = try set.add(&store.heap, "m");
    try store.setExpiry("set", 2_000_000);
    try store.setString("other", "x", .none);
    try store.rename("set", "other");
    try std.testing.expectEqual(null, store.find("set"));
    try store.copy("other", "third");
    for ([_][]const u8{ "other", "third" }) |key| {
        const entry = store.find(key).?;
        try std.testing.expectEqual(2_000_000, entry.expiry().?);
        try std.testing.expect((try store.as(Set, entry)).contains("m"));
    }
    try std.testing.expectError(error.WrongType, store.as(List, store.find("other").?));
}

test "eviction takes the entries that were not used" {
    var store = testStore();
    defer store.clear();
    store.setPolicy(.@"allkeys-lru");
    var buffer: [8]u8 = undefined;
    for (0..2000) |i| {
        if (i == 1000) store.setTime(1_100_000);
        try store.setString(try std.fmt.bufPrint(&buffer, "k{d}", .{i}), "value", .none);
    }
    store.memory_max = store.usedBytes() / 10 * 9;
    try std.testing.expect(store.makeRoom());
    var kept: usize = 0;
    for (1000..2000) |i| kept += @intFromBool(store.find(try std.fmt.bufPrint(&buffer, "k{d}", .{i})) != null);
    try std.testing.expect(kept > 980);
    store.setPolicy(.@"volatile-ttl");
    store.memory_max = 1;
    try std.testing.expect(!store.makeRoom());
}

test "large collections are freed bit by bit" {
    var store = testStore();
    defer store.clear();
    const set = try store.create(SortedSet, "z");
    var buffer: [8]u8 = undefined;
    for (0..20_000) |i| try set.add(&store.heap, try std.fmt.bufPrint(&buffer, "m{d}", .{i}), 1);
    const list = try store.create(List, "l");
    for (0..100_000) |_| try list.push(&store.heap, .back, "element");
    try std.testing.expect(store.delete("z") and store.delete("l"));
    var steps: usize = 0;
    while (store.freeRemains()) steps += 1;
    try std.testing.expect(steps > 5);
    const bucket_bytes = 64;
    try std.testing.expectEqual(bucket_bytes, store.heap.used_bytes);
}
