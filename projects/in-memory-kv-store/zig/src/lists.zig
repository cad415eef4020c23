//! Commands of lists.

const std = @import("std");
const commands = @import("commands.zig");
const quicklist = @import("quicklist.zig");
const Context = commands.Context;
const Error = commands.Error;
const List = quicklist.List;
const Side = quicklist.Side;

// --- Both ends ----------------------------------------------------------------------------------

pub fn lpush(ctx: *Context) Error!void {
    try push(ctx, .front, .create);
}

pub fn rpush(ctx: *Context) Error!void {
    try push(ctx, .back, .create);
}

pub fn lpushx(ctx: *Context) Error!void {
    try push(ctx, .front, .only_there);
}

pub fn rpushx(ctx: *Context) Error!void {
    try push(ctx, .back, .only_there);
}

fn push(ctx: *Context, side: Side, when: enum { create, only_there }) Error!void {
    const key = ctx.args[1];
    const list = try ctx.find(List, key) orelse blk: {
        if (when == .only_there) return ctx.out.int(0);
        break :blk try ctx.findOrCreate(List, key);
    };
    for (ctx.args[2..]) |element| try list.push(&ctx.store.heap, side, element);
    ctx.changed(key);
    try ctx.out.count(list.count);
}

pub fn lpop(ctx: *Context) Error!void {
    try pop(ctx, .front);
}

pub fn rpop(ctx: *Context) Error!void {
    try pop(ctx, .back);
}

fn pop(ctx: *Context, side: Side) Error!void {
    if (ctx.args.len > 3) return error.Arity;
    const has_count = ctx.args.len == 3;
    const wanted = if (has_count) try ctx.positive(2) else 1;
    const key = ctx.args[1];
    const list = try ctx.find(List, key) orelse return if (has_count) ctx.out.nilArray() else ctx.out.nil();
    const count = @min(wanted, list.count);
    if (has_count) try ctx.out.array(count);
    if (count == 0) return;
    for (0..count) |_| {
        try ctx.out.bulk(list.peek(side).?);
        list.drop(&ctx.store.heap, side);
    }
    ctx.deleteIfEmpty(key, list.count);
    ctx.changed(key);
}

pub fn lmove(ctx: *Context) Error!void {
    const from = sideOf(ctx, 3) orelse return error.Syntax;
    const to = sideOf(ctx, 4) orelse return error.Syntax;
    try move(ctx, from, to);
}

pub fn rpoplpush(ctx: *Context) Error!void {
    try move(ctx, .back, .front);
}

fn sideOf(ctx: *const Context, index: usize) ?Side {
    if (ctx.is(index, "LEFT")) return .front;
    return if (ctx.is(index, "RIGHT")) .back else null;
}

fn move(ctx: *Context, from: Side, to: Side) Error!void {
    const source_key = ctx.args[1];
    const target_key = ctx.args[2];
    const source = try ctx.find(List, source_key) orelse return ctx.out.nil();
    const target = try ctx.findOrCreate(List, target_key);
    const element = source.peek(from).?;
    try ctx.out.bulk(element);
    // A push into the same list may move the element, so what is pushed is the copy in the reply.
    const reply = ctx.out.bytes.items;
    const copy = reply[reply.len - 2 - element.len ..][0..element.len];
    if (source == target) source.drop(&ctx.store.heap, from);
    try target.push(&ctx.store.heap, to, copy);
    if (source != target) {
        source.drop(&ctx.store.heap, from);
        ctx.deleteIfEmpty(source_key, source.count);
    }
    ctx.changed(source_key);
    ctx.changed(target_key);
}

// --- Looking ------------------------------------------------------------------------------------

pub fn llen(ctx: *Context) Error!void {
    try ctx.out.count(if (try ctx.read(List, ctx.args[1])) |list| list.count else 0);
}

/// A range of indexes as clients give it, negative from the end; null if nothing is in it.
fn rangeOf(first_arg: i64, last_arg: i64, count: u64) ?struct { first: u64, last: u64 } {
    const length: i64 = @intCast(count);
    const first = @max(0, if (first_arg < 0) first_arg +| length else first_arg);
    const last = @min(length - 1, if (last_arg < 0) last_arg +| length else last_arg);
    if (first > last) return null;
    return .{ .first = @intCast(first), .last = @intCast(last) };
}

pub fn lrange(ctx: *Context) Error!void {
    const first = try ctx.int(2);
    const last = try ctx.int(3);
    const list = try ctx.read(List, ctx.args[1]) orelse return ctx.out.array(0);
    const range = rangeOf(first, last, list.count) orelse return ctx.out.array(0);
    try ctx.out.array(range.last - range.first + 1);
    var cursor = list.seek(range.first);
    try ctx.out.bulk(cursor.element());
    for (range.first..range.last) |_| {
        cursor = cursor.next().?;
        try ctx.out.bulk(cursor.element());
    }
}

/// The place of an index, negative from the end.
fn placeOf(list: *const List, index: i64) ?quicklist.Cursor {
    const length: i64 = @intCast(list.count);
    const from_start = if (index < 0) index +| length else index;
    if (from_start < 0 or from_start >= length) return null;
    return list.seek(@intCast(from_start));
}

pub fn lindex(ctx: *Context) Error!void {
    const list = try ctx.read(List, ctx.args[1]) orelse return ctx.out.nil();
    const index = try ctx.int(2);
    try ctx.out.optional(if (placeOf(list, index)) |place| place.element() else null);
}

// --- Changing -----------------------------------------------------------------------------------

pub fn lset(ctx: *Context) Error!void {
    const key = ctx.args[1];
    const list = try ctx.find(List, key) orelse return error.NoSuchKey;
    const index = try ctx.int(2);
    const place = placeOf(list, index) orelse return error.IndexOutOfRange;
    try list.replace(&ctx.store.heap, place, ctx.args[3]);
    ctx.changed(key);
    try ctx.out.status("OK");
}

pub fn linsert(ctx: *Context) Error!void {
    const side: Side = if (ctx.is(2, "BEFORE")) .front else if (ctx.is(2, "AFTER")) .back else return error.Syntax;
    const key = ctx.args[1];
    const list = try ctx.find(List, key) orelse return ctx.out.int(0);
    var cursor = list.edgeCursor(.front);
    while (cursor) |place| : (cursor = place.next()) {
        if (!std.mem.eql(u8, place.element(), ctx.args[3])) continue;
        try list.insert(&ctx.store.heap, place, side, ctx.args[4]);
        ctx.changed(key);
        return ctx.out.count(list.count);
    }
    try ctx.out.int(-1);
}

pub fn lrem(ctx: *Context) Error!void {
    const wanted = try ctx.int(2);
    const key = ctx.args[1];
    const list = try ctx.find(List, key) orelse return ctx.out.int(0);
    const most = if (wanted == 0) list.count else @abs(wanted);
    const removed = if (wanted < 0)
        removeBackward(ctx, list, ctx.args[3], most)
    else
        removeForward(ctx, list, ctx.args[3], most);
    if (removed != 0) {
        list.compact(&ctx.store.heap);
        ctx.deleteIfEmpty(key, list.count);
        ctx.changed(key);
    }
    try ctx.out.count(removed);
}

fn removeForward(ctx: *Context, list: *List, element: []const u8, most: u64) u64 {
    var removed: u64 = 0;
    var cursor = list.edgeCursor(.front);
    while (cursor) |place| {
        if (!std.mem.eql(u8, place.element(), element)) {
            cursor = place.next();
            continue;
        }
        cursor = list.remove(&ctx.store.heap, place);
        removed += 1;
        if (removed == most) break;
    }
    return removed;
}

fn removeBackward(ctx: *Context, list: *List, element: []const u8, most: u64) u64 {
    var removed: u64 = 0;
    var cursor = list.edgeCursor(.back);
    while (cursor) |place| {
        if (!std.mem.eql(u8, place.element(), element)) {
            cursor = place.prev();
            continue;
        }
        // The removal returns the element behind; the one before it is where we go on.
        cursor = if (list.remove(&ctx.store.heap, place)) |behind| behind.prev() else list.edgeCursor(.back);
        removed += 1;
        if (removed == most) break;
    }
    return removed;
}

pub fn ltrim(ctx: *Context) Error!void {
    const first = try ctx.int(2);
    const last = try ctx.int(3);
    const key = ctx.args[1];
    const list = try ctx.find(List, key) orelse return ctx.out.status("OK");
    if (rangeOf(first, last, list.count)) |range| {
        for (range.last + 1..list.count) |_| list.drop(&ctx.store.heap, .back);
        for (0..range.first) |_| list.drop(&ctx.store.heap, .front);
    } else {
        _ = ctx.store.delete(key);
    }
    ctx.changed(key);
    try ctx.out.status("OK");
}

test rangeOf {
    try std.testing.expectEqual(2, rangeOf(-3, -1, 5).?.first);
    try std.testing.expectEqual(4, rangeOf(-100, 100, 5).?.last);
    try std.testing.expectEqual(null, rangeOf(3, 1, 5));
    try std.testing.expectEqual(null, rangeOf(5, 10, 5));
    try std.testing.expectEqual(null, rangeOf(0, -6, 5));
    try std.testing.expectEqual(0, rangeOf(std.math.minInt(i64), std.math.maxInt(i64), 1).?.last);
}
