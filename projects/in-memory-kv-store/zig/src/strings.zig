//! Commands of strings.

const std = @import("std");
const commands = @import("commands.zig");
const keys = @import("keys.zig");
const numbers = @import("numbers.zig");
const resp = @import("resp.zig");
const Expiry = @import("store.zig").Expiry;
const Context = commands.Context;
const Error = commands.Error;

pub fn get(ctx: *Context) Error!void {
    try ctx.out.optional(try ctx.readString(ctx.args[1]));
}

pub fn mget(ctx: *Context) Error!void {
    try ctx.out.array(ctx.args.len - 1);
    for (ctx.args[1..]) |key| {
        // A collection is no string, but no error here.
        const text = ctx.readString(key) catch null;
        try ctx.out.optional(text);
    }
}

pub fn strlen(ctx: *Context) Error!void {
    const text = try ctx.readString(ctx.args[1]) orelse "";
    try ctx.out.count(text.len);
}

pub fn getrange(ctx: *Context) Error!void {
    var first = try ctx.int(2);
    var last = try ctx.int(3);
    const text = try ctx.readString(ctx.args[1]) orelse return ctx.out.bulk("");
    const length: i64 = @intCast(text.len);
    if (first < 0 and last < 0 and first > last) return ctx.out.bulk("");
    if (first < 0) first = @max(0, first +| length);
    if (last < 0) last = @max(0, last +| length);
    last = @min(last, length - 1);
    if (first > last or length == 0) return ctx.out.bulk("");
    try ctx.out.bulk(text[@intCast(first)..@intCast(last + 1)]);
}

// --- SET and its family -------------------------------------------------------------------------

/// A time of expiry as it was asked for.
const Life = struct { unit: keys.Unit, from: keys.From, index: usize };

const SetOptions = struct {
    life: ?Life = null,
    only_new: bool = false,
    only_old: bool = false,
    gives_old: bool = false,
    keeps_life: bool = false,
    persists: bool = false,
};

/// The options of SET and GETEX behind the argument `first`.
fn parseOptions(ctx: *const Context, first: usize, comptime of: enum { set, getex }) Error!SetOptions {
    var options: SetOptions = .{};
    var i = first;
    while (i < ctx.args.len) : (i += 1) {
        if (of == .set and ctx.is(i, "NX") and !options.only_old) {
            options.only_new = true;
        } else if (of == .set and ctx.is(i, "XX") and !options.only_new) {
            options.only_old = true;
        } else if (of == .set and ctx.is(i, "GET")) {
            options.gives_old = true;
        } else if (of == .set and ctx.is(i, "KEEPTTL") and options.life == null) {
            options.keeps_life = true;
        } else if (of == .getex and ctx.is(i, "PERSIST") and options.life == null) {
            options.persists = true;
        } else {
            const life = lifeOf(ctx, i) orelse return error.Syntax;
            if (options.keeps_life or options.persists or i + 1 == ctx.args.len) return error.Syntax;
            if (options.life) |other| if (other.unit != life.unit or other.from != life.from) return error.Syntax;
            options.life = life;
            i += 1;
        }
    }
    return options;
}

fn lifeOf(ctx: *const Context, index: usize) ?Life {
    inline for (.{ .{ "EX", .seconds, .now }, .{ "PX", .milliseconds, .now }, .{ "EXAT", .seconds, .epoch }, .{ "PXAT", .milliseconds, .epoch } }) |word| {
        if (ctx.is(index, word[0])) return .{ .unit = word[1], .from = word[2], .index = index + 1 };
    }
    return null;
}

pub fn set(ctx: *Context) Error!void {
    const options = try parseOptions(ctx, 3, .set);
    const when_ms: ?i64 = if (options.life) |life| try keys.momentOf(ctx, life.index, life.unit, life.from, .positive) else null;
    const key = ctx.args[1];
    if (options.gives_old) try ctx.out.optional(try ctx.readString(key));
    if (options.only_new or options.only_old) {
        const is_there = ctx.store.find(key) != null;
        if (is_there == options.only_new) return if (options.gives_old) {} else ctx.out.nil();
    }
    const expiry: Expiry = if (when_ms) |when| .{ .at = when } else if (options.keeps_life) .keep else .none;
    try ctx.store.setString(key, ctx.args[2], expiry);
    ctx.changed(key);
    if (when_ms) |when| {
        logSet(ctx, when);
    } else if (options.gives_old) {
        logWithoutGet(ctx, options);
    }
    if (!options.gives_old) try ctx.out.status("OK");
}

/// Logs a SET with its life as a moment.
fn logSet(ctx: *Context, when_ms: i64) void {
    var buffer: [numbers.int_chars_max]u8 = undefined;
    const value = ctx.args[if (ctx.command.run == &set) 2 else 3];
    ctx.log(&.{ "SET", ctx.args[1], value, "PXAT", numbers.printInt(&buffer, when_ms) });
}

/// Logs a SET without GET, whose answer nobody needs again.
fn logWithoutGet(ctx: *Context, options: SetOptions) void {
    var words: [5][]const u8 = .{ "SET", ctx.args[1], ctx.args[2], undefined, undefined };
    var count: usize = 3;
    if (options.only_new or options.only_old) {
        words[count] = if (options.only_new) "NX" else "XX";
        count += 1;
    }
    if (options.keeps_life) {
        words[count] = "KEEPTTL";
        count += 1;
    }
    ctx.log(words[0..count]);
}

pub fn setnx(ctx: *Context) Error!void {
    const key = ctx.args[1];
    const is_new = ctx.store.find(key) == null;
    if (is_new) {
        try ctx.store.setString(key, ctx.args[2], .none);
        ctx.changed(key);
    }
    try ctx.out.boolean(is_new);
}

pub fn setex(ctx: *Context) Error!void {
    try setWithLife(ctx, .seconds);
}

pub fn psetex(ctx: *Context) Error!void {
    try setWithLife(ctx, .milliseconds);
}

fn setWithLife(ctx: *Context, unit: keys.Unit) Error!void {
    const when_ms = try keys.momentOf(ctx, 2, unit, .now, .positive);
    try ctx.store.setString(ctx.args[1], ctx.args[3], .{ .at = when_ms });
    ctx.changed(ctx.args[1]);
    logSet(ctx, when_ms);
    try ctx.out.status("OK");
}

pub fn getset(ctx: *Context) Error!void {
    const key = ctx.args[1];
    try ctx.out.optional(try ctx.readString(key));
    try ctx.store.setString(key, ctx.args[2], .none);
    ctx.changed(key);
    ctx.log(&.{ "SET", key, ctx.args[2] });
}

pub fn getdel(ctx: *Context) Error!void {
    const key = ctx.args[1];
    const text = try ctx.readString(key) orelse return ctx.out.nil();
    try ctx.out.bulk(text);
    _ = ctx.store.delete(key);
    ctx.changed(key);
    ctx.log(&.{ "DEL", key });
}

pub fn getex(ctx: *Context) Error!void {
    const options = try parseOptions(ctx, 2, .getex);
    const key = ctx.args[1];
    const text = try ctx.readString(key) orelse return ctx.out.nil();
    const life = options.life orelse {
        try ctx.out.bulk(text);
        if (options.persists and try ctx.store.persist(key)) {
            ctx.changed(key);
            ctx.log(&.{ "PERSIST", key });
        }
        return;
    };
    const when_ms = try keys.momentOf(ctx, life.index, life.unit, life.from, .positive);
    try ctx.out.bulk(text);
    try keys.setLife(ctx, key, when_ms, .empty);
}

pub fn mset(ctx: *Context) Error!void {
    try setMany(ctx);
    try ctx.out.status("OK");
}

pub fn msetnx(ctx: *Context) Error!void {
    if (ctx.args.len % 2 == 0) return error.Arity;
    var i: usize = 1;
    while (i < ctx.args.len) : (i += 2) {
        if (ctx.store.find(ctx.args[i]) != null) return ctx.out.boolean(false);
    }
    try setMany(ctx);
    try ctx.out.boolean(true);
}

fn setMany(ctx: *Context) Error!void {
    if (ctx.args.len % 2 == 0) return error.Arity;
    var i: usize = 1;
    while (i < ctx.args.len) : (i += 2) {
        try ctx.store.setString(ctx.args[i], ctx.args[i + 1], .none);
        ctx.changed(ctx.args[i]);
    }
}

// --- Numbers ------------------------------------------------------------------------------------

pub fn incr(ctx: *Context) Error!void {
    try add(ctx, 1);
}

pub fn decr(ctx: *Context) Error!void {
    try add(ctx, -1);
}

pub fn incrby(ctx: *Context) Error!void {
    try add(ctx, try ctx.int(2));
}

pub fn decrby(ctx: *Context) Error!void {
    const value = try ctx.int(2);
    if (value == std.math.minInt(i64)) return ctx.fail("ERR decrement would overflow", .{});
    try add(ctx, -value);
}

fn add(ctx: *Context, increment: i64) Error!void {
    const key = ctx.args[1];
    const old = if (try ctx.findString(key)) |text| numbers.parseInt(text) orelse return error.NotInteger else 0;
    const sum = std.math.add(i64, old, increment) catch return ctx.fail("ERR increment or decrement would overflow", .{});
    var buffer: [numbers.int_chars_max]u8 = undefined;
    try ctx.store.setString(key, numbers.printInt(&buffer, sum), .keep);
    ctx.changed(key);
    try ctx.out.int(sum);
}

pub fn incrbyfloat(ctx: *Context) Error!void {
    const key = ctx.args[1];
    const old = if (try ctx.findString(key)) |text| numbers.parseExtended(text) orelse return error.NotFloat else 0;
    const sum = old + (numbers.parseExtended(ctx.args[2]) orelse return error.NotFloat);
    if (!std.math.isFinite(sum)) return ctx.fail("ERR increment would produce NaN or Infinity", .{});
    var buffer: [numbers.extended_chars_max]u8 = undefined;
    const text = numbers.printExtended(&buffer, sum);
    try ctx.store.setString(key, text, .keep);
    ctx.changed(key);
    ctx.log(&.{ "SET", key, text, "KEEPTTL" });
    try ctx.out.bulk(text);
}

// --- Parts --------------------------------------------------------------------------------------

pub fn append(ctx: *Context) Error!void {
    const key = ctx.args[1];
    const more = ctx.args[2];
    const old = try ctx.findString(key) orelse {
        try ctx.store.setString(key, more, .none);
        ctx.changed(key);
        return ctx.out.count(more.len);
    };
    const old_length = old.len;
    try checkLength(ctx, old_length, more.len);
    const text = try ctx.store.resizeString(key, old_length + more.len);
    @memcpy(text[old_length..], more);
    ctx.changed(key);
    try ctx.out.count(text.len);
}

pub fn setrange(ctx: *Context) Error!void {
    const offset = try ctx.int(2);
    if (offset < 0) return ctx.fail("ERR offset is out of range", .{});
    const start: usize = @intCast(offset);
    const key = ctx.args[1];
    const part = ctx.args[3];
    const old = try ctx.findString(key);
    if (part.len == 0) return ctx.out.count(if (old) |text| text.len else 0);
    try checkLength(ctx, start, part.len);
    if (old == null) try ctx.store.setString(key, "", .none);
    const text = try ctx.store.resizeString(key, start + part.len);
    @memcpy(text[start..][0..part.len], part);
    ctx.changed(key);
    try ctx.out.count(text.len);
}

fn checkLength(ctx: *Context, length: usize, more: usize) Error!void {
    if (length +| more > resp.bulk_bytes_max) return ctx.fail("ERR string exceeds maximum allowed size (proto-max-bulk-len)", .{});
}
