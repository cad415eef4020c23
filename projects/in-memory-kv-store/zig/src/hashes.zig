//! Commands of hashes.

const std = @import("std");
const commands = @import("commands.zig");
const keys = @import("keys.zig");
const numbers = @import("numbers.zig");
const collections = @import("collections.zig");
const Context = commands.Context;
const Error = commands.Error;
const Hash = collections.Hash;
const Pair = collections.Pair;

pub fn hset(ctx: *Context) Error!void {
    try ctx.out.count(try setFields(ctx));
}

pub fn hmset(ctx: *Context) Error!void {
    _ = try setFields(ctx);
    try ctx.out.status("OK");
}

/// Returns how many fields are new.
fn setFields(ctx: *Context) Error!usize {
    if (ctx.args.len % 2 != 0) return error.Arity;
    const hash = try ctx.findOrCreate(Hash, ctx.args[1]);
    var added: usize = 0;
    var i: usize = 2;
    while (i < ctx.args.len) : (i += 2) {
        added += @intFromBool(try hash.set(&ctx.store.heap, ctx.args[i], ctx.args[i + 1]));
    }
    ctx.changed(ctx.args[1]);
    return added;
}

pub fn hsetnx(ctx: *Context) Error!void {
    const hash = try ctx.findOrCreate(Hash, ctx.args[1]);
    if (hash.get(ctx.args[2]) != null) return ctx.out.boolean(false);
    _ = try hash.set(&ctx.store.heap, ctx.args[2], ctx.args[3]);
    ctx.changed(ctx.args[1]);
    try ctx.out.boolean(true);
}

fn readField(ctx: *Context) Error!?[]u8 {
    const hash = try ctx.read(Hash, ctx.args[1]) orelse return null;
    return hash.get(ctx.args[2]);
}

pub fn hget(ctx: *Context) Error!void {
    try ctx.out.optional(try readField(ctx));
}

pub fn hexists(ctx: *Context) Error!void {
    try ctx.out.boolean(try readField(ctx) != null);
}

pub fn hstrlen(ctx: *Context) Error!void {
    try ctx.out.count(if (try readField(ctx)) |value| value.len else 0);
}

pub fn hmget(ctx: *Context) Error!void {
    const hash = try ctx.read(Hash, ctx.args[1]);
    try ctx.out.array(ctx.args.len - 2);
    for (ctx.args[2..]) |field| try ctx.out.optional(if (hash) |there| there.get(field) else null);
}

pub fn hlen(ctx: *Context) Error!void {
    try ctx.out.count(if (try ctx.read(Hash, ctx.args[1])) |hash| hash.count() else 0);
}

pub fn hdel(ctx: *Context) Error!void {
    const key = ctx.args[1];
    const hash = try ctx.find(Hash, key) orelse return ctx.out.int(0);
    var removed: usize = 0;
    for (ctx.args[2..]) |field| removed += @intFromBool(hash.remove(&ctx.store.heap, field));
    if (removed != 0) {
        ctx.deleteIfEmpty(key, hash.count());
        ctx.changed(key);
    }
    try ctx.out.count(removed);
}

const Parts = enum { fields, values, both };

pub fn hkeys(ctx: *Context) Error!void {
    try replyAll(ctx, .fields);
}

pub fn hvals(ctx: *Context) Error!void {
    try replyAll(ctx, .values);
}

pub fn hgetall(ctx: *Context) Error!void {
    try replyAll(ctx, .both);
}

fn replyAll(ctx: *Context, parts: Parts) Error!void {
    const hash = try ctx.read(Hash, ctx.args[1]) orelse return ctx.out.array(0);
    try ctx.out.array(if (parts == .both) 2 * hash.count() else hash.count());
    var pairs = hash.fields.iterator();
    while (pairs.next()) |pair| {
        if (parts != .values) try ctx.out.bulk(pair.key());
        if (parts != .fields) try ctx.out.bulk(pair.value());
    }
}

pub fn hincrby(ctx: *Context) Error!void {
    const increment = try ctx.int(3);
    const hash = try ctx.findOrCreate(Hash, ctx.args[1]);
    const old = if (hash.get(ctx.args[2])) |text|
        numbers.parseInt(text) orelse return ctx.fail("ERR hash value is not an integer", .{})
    else
        0;
    const sum = std.math.add(i64, old, increment) catch return ctx.fail("ERR increment or decrement would overflow", .{});
    var buffer: [numbers.int_chars_max]u8 = undefined;
    _ = try hash.set(&ctx.store.heap, ctx.args[2], numbers.printInt(&buffer, sum));
    ctx.changed(ctx.args[1]);
    try ctx.out.int(sum);
}

pub fn hincrbyfloat(ctx: *Context) Error!void {
    const increment = numbers.parseExtended(ctx.args[3]) orelse return error.NotFloat;
    if (!std.math.isFinite(increment)) return ctx.fail("ERR value is NaN or Infinity", .{});
    const key = ctx.args[1];
    const hash = try ctx.findOrCreate(Hash, key);
    const old = if (hash.get(ctx.args[2])) |text|
        numbers.parseExtended(text) orelse return ctx.fail("ERR hash value is not a float", .{})
    else
        0;
    const sum = old + increment;
    if (!std.math.isFinite(sum)) return ctx.fail("ERR increment would produce NaN or Infinity", .{});
    var buffer: [numbers.extended_chars_max]u8 = undefined;
    const text = numbers.printExtended(&buffer, sum);
    _ = try hash.set(&ctx.store.heap, ctx.args[2], text);
    ctx.changed(key);
    ctx.log(&.{ "HSET", key, ctx.args[2], text });
    try ctx.out.bulk(text);
}

pub fn hscan(ctx: *Context) Error!void {
    const cursor = try keys.parseCursor(ctx, 2);
    const hash = try ctx.read(Hash, ctx.args[1]) orelse return keys.replyEmptyScan(ctx);
    const options = try keys.ScanOptions.parse(ctx, 3, false);
    var found: std.ArrayList(*Pair) = .empty;
    defer found.deinit(ctx.engine.gpa);
    const next = try keys.scanItems(Pair, ctx, &hash.fields, cursor, &options, &found);
    try keys.replyCursor(ctx, next);
    try ctx.out.array(2 * found.items.len);
    for (found.items) |pair| {
        try ctx.out.bulk(pair.key());
        try ctx.out.bulk(pair.value());
    }
}
