//! Commands of sets.

const std = @import("std");
const commands = @import("commands.zig");
const collections = @import("collections.zig");
const keys = @import("keys.zig");
const table = @import("table.zig");
const Context = commands.Context;
const Error = commands.Error;
const Set = collections.Set;
const Text = collections.Text;

pub fn sadd(ctx: *Context) Error!void {
    const set = try ctx.findOrCreate(Set, ctx.args[1]);
    var added: usize = 0;
    for (ctx.args[2..]) |member| added += @intFromBool(try set.add(&ctx.store.heap, member));
    if (added != 0) ctx.changed(ctx.args[1]);
    try ctx.out.count(added);
}

pub fn srem(ctx: *Context) Error!void {
    const key = ctx.args[1];
    const set = try ctx.find(Set, key) orelse return ctx.out.int(0);
    var removed: usize = 0;
    for (ctx.args[2..]) |member| removed += @intFromBool(set.remove(&ctx.store.heap, member));
    if (removed != 0) {
        ctx.deleteIfEmpty(key, set.count());
        ctx.changed(key);
    }
    try ctx.out.count(removed);
}

pub fn sismember(ctx: *Context) Error!void {
    const set = try ctx.read(Set, ctx.args[1]) orelse return ctx.out.boolean(false);
    try ctx.out.boolean(set.contains(ctx.args[2]));
}

pub fn smismember(ctx: *Context) Error!void {
    const set = try ctx.read(Set, ctx.args[1]);
    try ctx.out.array(ctx.args.len - 2);
    for (ctx.args[2..]) |member| try ctx.out.boolean(set != null and set.?.contains(member));
}

pub fn scard(ctx: *Context) Error!void {
    try ctx.out.count(if (try ctx.read(Set, ctx.args[1])) |set| set.count() else 0);
}

pub fn smembers(ctx: *Context) Error!void {
    const set = try ctx.read(Set, ctx.args[1]) orelse return ctx.out.array(0);
    try replyMembers(ctx, set);
}

fn replyMembers(ctx: *Context, set: *const Set) Error!void {
    try ctx.out.array(set.count());
    var members = set.members.iterator();
    while (members.next()) |member| try ctx.out.bulk(member.key());
}

pub fn smove(ctx: *Context) Error!void {
    const source = try ctx.find(Set, ctx.args[1]) orelse return ctx.out.boolean(false);
    const known_target = try ctx.find(Set, ctx.args[2]);
    const member = ctx.args[3];
    if (known_target == source or !source.contains(member)) return ctx.out.boolean(source.contains(member));
    const target = known_target orelse try ctx.findOrCreate(Set, ctx.args[2]);
    _ = try target.add(&ctx.store.heap, member);
    _ = source.remove(&ctx.store.heap, member);
    ctx.deleteIfEmpty(ctx.args[1], source.count());
    ctx.changed(ctx.args[1]);
    ctx.changed(ctx.args[2]);
    try ctx.out.boolean(true);
}

pub fn sscan(ctx: *Context) Error!void {
    const cursor = try keys.parseCursor(ctx, 2);
    const set = try ctx.read(Set, ctx.args[1]) orelse return keys.replyEmptyScan(ctx);
    const options = try keys.ScanOptions.parse(ctx, 3, false);
    var found: std.ArrayList(*Text) = .empty;
    defer found.deinit(ctx.engine.gpa);
    const next = try keys.scanItems(Text, ctx, &set.members, cursor, &options, &found);
    try keys.replyCursor(ctx, next);
    try ctx.out.array(found.items.len);
    for (found.items) |member| try ctx.out.bulk(member.key());
}

// --- Random members -----------------------------------------------------------------------------

pub fn spop(ctx: *Context) Error!void {
    if (ctx.args.len > 3) return error.Syntax;
    const key = ctx.args[1];
    const has_count = ctx.args.len == 3;
    const wanted = if (has_count) try ctx.positive(2) else 1;
    const set = try ctx.find(Set, key) orelse return if (has_count) ctx.out.array(0) else ctx.out.nil();
    if (wanted == 0) return ctx.out.array(0);
    if (wanted >= set.count() and has_count) {
        try replyMembers(ctx, set);
        _ = ctx.store.delete(key);
        ctx.changed(key);
        return ctx.log(&.{ "DEL", key });
    }
    if (has_count) try ctx.out.array(wanted);
    for (0..wanted) |_| {
        const member = set.members.sample(ctx.store.random()).?;
        try ctx.out.bulk(member.key());
        // The log gets what chance has chosen.
        ctx.log(&.{ "SREM", key, member.key() });
        _ = set.remove(&ctx.store.heap, member.key());
    }
    ctx.deleteIfEmpty(key, set.count());
    ctx.changed(key);
}

pub fn srandmember(ctx: *Context) Error!void {
    if (ctx.args.len > 3) return error.Syntax;
    if (ctx.args.len == 2) {
        const set = try ctx.read(Set, ctx.args[1]) orelse return ctx.out.nil();
        return ctx.out.bulk(set.members.sample(ctx.store.random()).?.key());
    }
    const count = try ctx.int(2);
    const most = std.math.maxInt(i64);
    if (count < -most) return ctx.fail("ERR value is out of range, value must between {d} and {d}", .{ -most, most });
    const set = try ctx.read(Set, ctx.args[1]) orelse return ctx.out.array(0);
    if (count < 0) return replySamples(ctx, set, @abs(count));
    if (count >= set.count()) return replyMembers(ctx, set);
    try replyDistinct(ctx, set, @intCast(count));
}

fn replySamples(ctx: *Context, set: *const Set, count: u64) Error!void {
    try ctx.out.array(count);
    for (0..count) |_| try ctx.out.bulk(set.members.sample(ctx.store.random()).?.key());
}

/// Some members, each once: by drawing until enough are new, or if that would take long, out of all of them.
fn replyDistinct(ctx: *Context, set: *const Set, count: usize) Error!void {
    const gpa = ctx.engine.gpa;
    var chosen: std.AutoArrayHashMapUnmanaged(*Text, void) = .empty;
    defer chosen.deinit(gpa);
    if (count * 3 > set.count()) {
        var members = set.members.iterator();
        while (members.next()) |member| try chosen.put(gpa, member, {});
        const all = chosen.keys();
        for (0..count) |i| std.mem.swap(*Text, &all[i], &all[ctx.store.random().intRangeLessThan(usize, i, all.len)]);
    } else {
        while (chosen.count() < count) try chosen.put(gpa, set.members.sample(ctx.store.random()).?, {});
    }
    try ctx.out.array(count);
    for (chosen.keys()[0..count]) |member| try ctx.out.bulk(member.key());
}

// --- Several sets -------------------------------------------------------------------------------

/// The sets of all arguments; null for a key that is not there.
fn readAll(ctx: *Context) Error![]?*Set {
    const found = try ctx.engine.gpa.alloc(?*Set, ctx.args.len - 1);
    errdefer ctx.engine.gpa.free(found);
    for (found, ctx.args[1..]) |*set, key| set.* = try ctx.read(Set, key);
    return found;
}

fn replyTexts(ctx: *Context, members: []const *Text) Error!void {
    try ctx.out.array(members.len);
    for (members) |member| try ctx.out.bulk(member.key());
}

pub fn sinter(ctx: *Context) Error!void {
    const found = try readAll(ctx);
    defer ctx.engine.gpa.free(found);
    var smallest = found[0] orelse return ctx.out.array(0);
    for (found[1..]) |set| {
        const there = set orelse return ctx.out.array(0);
        if (there.count() < smallest.count()) smallest = there;
    }
    var common: std.ArrayList(*Text) = .empty;
    defer common.deinit(ctx.engine.gpa);
    var members = smallest.members.iterator();
    search: while (members.next()) |member| {
        for (found) |set| if (set.? != smallest and !set.?.contains(member.key())) continue :search;
        try common.append(ctx.engine.gpa, member);
    }
    try replyTexts(ctx, common.items);
}

pub fn sunion(ctx: *Context) Error!void {
    const found = try readAll(ctx);
    defer ctx.engine.gpa.free(found);
    // A table of members that belong to the sets.
    var seen: Set.Members = .{};
    defer seen.deinit(ctx.engine.gpa);
    for (found) |set| {
        var members = (set orelse continue).members.iterator();
        while (members.next()) |member| {
            const hash = table.hashOf(member.key());
            if (seen.find(hash, member.key()) == null) try seen.insert(ctx.engine.gpa, hash, member);
        }
    }
    try ctx.out.array(seen.count);
    var members = seen.iterator();
    while (members.next()) |member| try ctx.out.bulk(member.key());
}

pub fn sdiff(ctx: *Context) Error!void {
    const found = try readAll(ctx);
    defer ctx.engine.gpa.free(found);
    const first = found[0] orelse return ctx.out.array(0);
    var rest: std.ArrayList(*Text) = .empty;
    defer rest.deinit(ctx.engine.gpa);
    var members = first.members.iterator();
    search: while (members.next()) |member| {
        for (found[1..]) |set| if (set) |other| if (other.contains(member.key())) continue :search;
        try rest.append(ctx.engine.gpa, member);
    }
    try replyTexts(ctx, rest.items);
}
