//! Commands of keys whatever their values are: existence, names, expiry, scans.

const std = @import("std");
const commands = @import("commands.zig");
const connection = @import("connection.zig");
const glob = @import("glob.zig");
const numbers = @import("numbers.zig");
const store_file = @import("store.zig");
const table = @import("table.zig");
const Context = commands.Context;
const Entry = store_file.Entry;
const Error = commands.Error;

pub fn del(ctx: *Context) Error!void {
    var count: usize = 0;
    for (ctx.args[1..]) |key| {
        if (!ctx.store.delete(key)) continue;
        ctx.changed(key);
        count += 1;
    }
    try ctx.out.count(count);
}

/// EXISTS and TOUCH: both count keys and note that they were used.
pub fn exists(ctx: *Context) Error!void {
    var count: usize = 0;
    for (ctx.args[1..]) |key| count += @intFromBool(ctx.store.read(key) != null);
    try ctx.out.count(count);
}

fn nameOf(entry: *const Entry) []const u8 {
    return switch (entry.header.kind) {
        .string, .blob => "string",
        .list => "list",
        .hash => "hash",
        .set => "set",
        .sorted => "zset",
    };
}

pub fn kind(ctx: *Context) Error!void {
    const name = if (ctx.store.read(ctx.args[1])) |entry| nameOf(entry) else "none";
    try ctx.out.raw("+");
    try ctx.out.raw(name);
    try ctx.out.raw("\r\n");
}

pub fn randomkey(ctx: *Context) Error!void {
    // Keys that have expired are removed on the way; a sample that meets only such gives up.
    for (0..100) |_| {
        const entry = ctx.store.keys.sample(ctx.store.random()) orelse break;
        if (!ctx.store.isExpired(entry)) return ctx.out.bulk(entry.key());
        _ = ctx.store.inspect(entry.key());
    }
    try ctx.out.nil();
}

// --- Names --------------------------------------------------------------------------------------

pub fn rename(ctx: *Context) Error!void {
    if (ctx.store.find(ctx.args[1]) == null) return error.NoSuchKey;
    if (!std.mem.eql(u8, ctx.args[1], ctx.args[2])) try renameKey(ctx);
    try ctx.out.status("OK");
}

pub fn renamenx(ctx: *Context) Error!void {
    if (ctx.store.find(ctx.args[1]) == null) return error.NoSuchKey;
    if (ctx.store.find(ctx.args[2]) != null) return ctx.out.boolean(false);
    try renameKey(ctx);
    try ctx.out.boolean(true);
}

fn renameKey(ctx: *Context) Error!void {
    try ctx.store.rename(ctx.args[1], ctx.args[2]);
    ctx.changed(ctx.args[1]);
    ctx.changed(ctx.args[2]);
}

pub fn copy(ctx: *Context) Error!void {
    var replaces = false;
    var i: usize = 3;
    while (i < ctx.args.len) : (i += 1) {
        if (ctx.is(i, "REPLACE")) {
            replaces = true;
        } else if (ctx.is(i, "DB") and i + 1 < ctx.args.len) {
            i += 1;
            if (try connection.databaseIndex(ctx, i) != 0) return ctx.fail("ERR DB index is out of range", .{});
        } else {
            return error.Syntax;
        }
    }
    const from = ctx.args[1];
    const to = ctx.args[2];
    if (std.mem.eql(u8, from, to)) return ctx.fail("ERR source and destination objects are the same", .{});
    if (ctx.store.read(from) == null) return ctx.out.boolean(false);
    if (ctx.store.find(to) != null) {
        if (!replaces) return ctx.out.boolean(false);
        _ = ctx.store.delete(to);
    }
    try ctx.store.copy(from, to);
    ctx.changed(to);
    try ctx.out.boolean(true);
}

// --- Expiry -------------------------------------------------------------------------------------

pub const Unit = enum { seconds, milliseconds };
pub const From = enum { now, epoch };

/// An argument as a moment of the Unix clock in milliseconds.
pub fn momentOf(ctx: *Context, index: usize, unit: Unit, from: From, comptime sign: enum { any, positive }) Error!i64 {
    const value = try ctx.int(index);
    if (sign == .positive and value <= 0) return refuseMoment(ctx);
    const in_ms = if (unit == .milliseconds) value else std.math.mul(i64, value, std.time.ms_per_s) catch return refuseMoment(ctx);
    if (from == .epoch) return in_ms;
    return std.math.add(i64, in_ms, ctx.store.now_ms) catch refuseMoment(ctx);
}

fn refuseMoment(ctx: *Context) error{ OutOfMemory, Replied } {
    return ctx.fail("ERR invalid expire time in '{s}' command", .{ctx.command.name});
}

/// Gives a key a time to expire, which may have passed already, and logs that with the conditions that held.
pub fn setLife(ctx: *Context, key: []const u8, when_ms: i64, conditions: std.EnumSet(Condition)) Error!void {
    ctx.changed(key);
    if (when_ms <= ctx.store.now_ms and !ctx.store.is_replaying) {
        _ = ctx.store.delete(key);
        return ctx.log(&.{ "DEL", key });
    }
    try ctx.store.setExpiry(key, when_ms);
    var buffer: [numbers.int_chars_max]u8 = undefined;
    var words: [5][]const u8 = .{ "PEXPIREAT", key, numbers.printInt(&buffer, when_ms), undefined, undefined };
    var count: usize = 3;
    var held = conditions.iterator();
    while (held.next()) |condition| : (count += 1) words[count] = @tagName(condition);
    ctx.log(words[0..count]);
}

pub fn expire(ctx: *Context) Error!void {
    try expireAs(ctx, .seconds, .now);
}

pub fn pexpire(ctx: *Context) Error!void {
    try expireAs(ctx, .milliseconds, .now);
}

pub fn expireat(ctx: *Context) Error!void {
    try expireAs(ctx, .seconds, .epoch);
}

pub fn pexpireat(ctx: *Context) Error!void {
    try expireAs(ctx, .milliseconds, .epoch);
}

pub const Condition = enum { NX, XX, GT, LT };

fn parseConditions(ctx: *Context) Error!std.EnumSet(Condition) {
    var conditions: std.EnumSet(Condition) = .empty;
    for (3..ctx.args.len) |i| {
        const condition = for (std.enums.values(Condition)) |each| {
            if (ctx.is(i, @tagName(each))) break each;
        } else return ctx.fail("ERR Unsupported option {s}", .{commands.shown(ctx.args[i])});
        conditions.insert(condition);
    }
    if (conditions.contains(.NX) and conditions.count() > 1) {
        return ctx.fail("ERR NX and XX, GT or LT options at the same time are not compatible", .{});
    }
    if (conditions.contains(.GT) and conditions.contains(.LT)) {
        return ctx.fail("ERR GT and LT options at the same time are not compatible", .{});
    }
    return conditions;
}

fn expireAs(ctx: *Context, unit: Unit, from: From) Error!void {
    const conditions = try parseConditions(ctx);
    const when_ms = try momentOf(ctx, 2, unit, from, .any);
    const key = ctx.args[1];
    const entry = ctx.store.find(key) orelse return ctx.out.boolean(false);
    if (!allows(conditions, entry.expiry(), when_ms)) return ctx.out.boolean(false);
    try setLife(ctx, key, when_ms, conditions);
    try ctx.out.boolean(true);
}

/// A key that does not expire counts as one that expires after all others.
fn allows(conditions: std.EnumSet(Condition), old_ms: ?i64, new_ms: i64) bool {
    if (conditions.contains(.NX) and old_ms != null) return false;
    if (conditions.contains(.XX) and old_ms == null) return false;
    if (conditions.contains(.GT) and (old_ms == null or new_ms <= old_ms.?)) return false;
    if (conditions.contains(.LT) and old_ms != null and new_ms >= old_ms.?) return false;
    return true;
}

pub fn persist(ctx: *Context) Error!void {
    const key = ctx.args[1];
    const persisted = ctx.store.find(key) != null and try ctx.store.persist(key);
    if (persisted) ctx.changed(key);
    try ctx.out.boolean(persisted);
}

pub fn ttl(ctx: *Context) Error!void {
    try replyLife(ctx, .seconds, .now);
}

pub fn pttl(ctx: *Context) Error!void {
    try replyLife(ctx, .milliseconds, .now);
}

pub fn expiretime(ctx: *Context) Error!void {
    try replyLife(ctx, .seconds, .epoch);
}

pub fn pexpiretime(ctx: *Context) Error!void {
    try replyLife(ctx, .milliseconds, .epoch);
}

fn replyLife(ctx: *Context, unit: Unit, from: From) Error!void {
    const entry = ctx.store.read(ctx.args[1]) orelse return ctx.out.int(-2);
    const when_ms = entry.expiry() orelse return ctx.out.int(-1);
    const life_ms = if (from == .epoch) when_ms else @max(0, when_ms -| ctx.store.now_ms);
    try ctx.out.int(if (unit == .milliseconds) life_ms else @divTrunc(life_ms +| 500, 1000));
}

// --- Many keys ----------------------------------------------------------------------------------

pub fn keys(ctx: *Context) Error!void {
    const pattern = ctx.args[1];
    const matches_all = glob.matchesAll(pattern);
    var found: std.ArrayList(*Entry) = .empty;
    defer found.deinit(ctx.engine.gpa);
    var entries = ctx.store.keys.iterator();
    while (entries.next()) |entry| {
        if (!matches_all and !glob.matches(pattern, entry.key(), .sensitive)) continue;
        if (!ctx.store.isExpired(entry)) try found.append(ctx.engine.gpa, entry);
    }
    try ctx.out.array(found.items.len);
    for (found.items) |entry| try ctx.out.bulk(entry.key());
}

pub const ScanOptions = struct {
    pattern: ?[]const u8 = null,
    count: u64 = 10,
    type_name: ?[]const u8 = null,

    pub fn parse(ctx: *const Context, first: usize, comptime takes_type: bool) Error!ScanOptions {
        var options: ScanOptions = .{};
        var i = first;
        while (i < ctx.args.len) : (i += 2) {
            if (i + 1 == ctx.args.len) return error.Syntax;
            if (ctx.is(i, "COUNT")) {
                const count = try ctx.int(i + 1);
                if (count < 1) return error.Syntax;
                options.count = @intCast(count);
            } else if (ctx.is(i, "MATCH")) {
                options.pattern = if (glob.matchesAll(ctx.args[i + 1])) null else ctx.args[i + 1];
            } else if (takes_type and ctx.is(i, "TYPE")) {
                options.type_name = ctx.args[i + 1];
            } else {
                return error.Syntax;
            }
        }
        return options;
    }

    pub fn accepts(self: *const ScanOptions, name: []const u8) bool {
        return self.pattern == null or glob.matches(self.pattern.?, name, .sensitive);
    }
};

pub fn parseCursor(ctx: *Context, index: usize) Error!u64 {
    const text = ctx.args[index];
    if (text.len == 0) return 0;
    // The C library takes a sign before the number and wraps a negative one around.
    const negative = text[0] == '-';
    const digits = if (negative or text[0] == '+') text[1..] else text;
    for (digits) |byte| if (!std.ascii.isDigit(byte)) return refuseCursor(ctx);
    const value = std.fmt.parseInt(u64, digits, 10) catch return refuseCursor(ctx);
    return if (negative) 0 -% value else value;
}

fn refuseCursor(ctx: *Context) error{ OutOfMemory, Replied } {
    return ctx.fail("ERR invalid cursor", .{});
}

pub fn replyCursor(ctx: *Context, cursor: u64) Error!void {
    var buffer: [numbers.int_chars_max]u8 = undefined;
    try ctx.out.array(2);
    try ctx.out.bulk(numbers.printUnsigned(&buffer, cursor));
}

/// Collects items of a table from a cursor on until there are enough; buckets may be empty, so they are counted too.
pub fn scanTable(comptime Item: type, ctx: *Context, items: *const table.Table(Item), cursor: u64, count: u64, found: *std.ArrayList(*Item)) error{OutOfMemory}!u64 {
    var at = cursor;
    var buckets_left = count *| 10;
    while (true) {
        at = try items.scan(at, ctx.engine.gpa, found);
        buckets_left -= 1;
        if (at == 0 or buckets_left == 0 or found.items.len >= count) return at;
    }
}

/// Collections of up to so many items are answered whole, as redis answers its small ones.
const scanned_whole_max = 128;

/// A step of SSCAN and HSCAN: items of a collection that match.
pub fn scanItems(comptime Item: type, ctx: *Context, items: *const table.Table(Item), cursor: u64, options: *const ScanOptions, found: *std.ArrayList(*Item)) error{OutOfMemory}!u64 {
    const count = if (items.count <= scanned_whole_max and cursor == 0) std.math.maxInt(u64) else options.count;
    const next = try scanTable(Item, ctx, items, cursor, count, found);
    var kept: usize = 0;
    for (found.items) |item| {
        if (!options.accepts(item.key())) continue;
        found.items[kept] = item;
        kept += 1;
    }
    found.shrinkRetainingCapacity(kept);
    return next;
}

pub fn replyEmptyScan(ctx: *Context) Error!void {
    try replyCursor(ctx, 0);
    try ctx.out.array(0);
}

pub fn scan(ctx: *Context) Error!void {
    const cursor = try parseCursor(ctx, 1);
    const options = try ScanOptions.parse(ctx, 2, true);
    var found: std.ArrayList(*Entry) = .empty;
    defer found.deinit(ctx.engine.gpa);
    const next = try scanTable(Entry, ctx, &ctx.store.keys, cursor, options.count, &found);
    var kept: usize = 0;
    for (found.items) |entry| {
        if (!options.accepts(entry.key())) continue;
        if (options.type_name) |name| if (!std.ascii.eqlIgnoreCase(name, nameOf(entry))) continue;
        if (ctx.store.isExpired(entry)) continue;
        found.items[kept] = entry;
        kept += 1;
    }
    try replyCursor(ctx, next);
    try ctx.out.array(kept);
    for (found.items[0..kept]) |entry| try ctx.out.bulk(entry.key());
}
