//! Commands of sorted sets.

const std = @import("std");
const commands = @import("commands.zig");
const numbers = @import("numbers.zig");
const sorted = @import("sorted.zig");
const Context = commands.Context;
const Error = commands.Error;
const Member = sorted.Member;
const SortedSet = sorted.SortedSet;

// --- Adding -------------------------------------------------------------------------------------

const AddOptions = struct {
    only_new: bool = false,
    only_old: bool = false,
    only_greater: bool = false,
    only_less: bool = false,
    counts_changed: bool = false,
    increments: bool = false,
    /// The first score.
    first: usize = 2,
};

fn parseAdd(ctx: *Context) Error!AddOptions {
    var options: AddOptions = .{};
    while (options.first < ctx.args.len) : (options.first += 1) {
        const i = options.first;
        if (ctx.is(i, "NX")) {
            options.only_new = true;
        } else if (ctx.is(i, "XX")) {
            options.only_old = true;
        } else if (ctx.is(i, "GT")) {
            options.only_greater = true;
        } else if (ctx.is(i, "LT")) {
            options.only_less = true;
        } else if (ctx.is(i, "CH")) {
            options.counts_changed = true;
        } else if (ctx.is(i, "INCR")) {
            options.increments = true;
        } else break;
    }
    const words = ctx.args.len - options.first;
    if (words == 0 or words % 2 != 0) return error.Syntax;
    if (options.only_new and options.only_old) {
        return ctx.fail("ERR XX and NX options at the same time are not compatible", .{});
    }
    if ((options.only_greater and (options.only_new or options.only_less)) or (options.only_less and options.only_new)) {
        return ctx.fail("ERR GT, LT, and/or NX options at the same time are not compatible", .{});
    }
    if (options.increments and words > 2) {
        return ctx.fail("ERR INCR option supports a single increment-element pair", .{});
    }
    return options;
}

pub fn zadd(ctx: *Context) Error!void {
    try addMembers(ctx, try parseAdd(ctx));
}

pub fn zincrby(ctx: *Context) Error!void {
    // Redis reads the options of ZADD here too.
    var options = try parseAdd(ctx);
    options.increments = true;
    try addMembers(ctx, options);
}

fn addMembers(ctx: *Context, options: AddOptions) Error!void {
    // All scores are checked before anything is changed.
    var i = options.first;
    while (i < ctx.args.len) : (i += 2) {
        if (numbers.parseDouble(ctx.args[i]) == null) return error.NotFloat;
    }
    const key = ctx.args[1];
    const set = try ctx.find(SortedSet, key) orelse blk: {
        if (options.only_old) return if (options.increments) ctx.out.nil() else ctx.out.int(0);
        break :blk try ctx.findOrCreate(SortedSet, key);
    };
    var added: usize = 0;
    var updated: usize = 0;
    var score: ?f64 = null;
    i = options.first;
    while (i < ctx.args.len) : (i += 2) {
        const outcome = try addMember(ctx, set, options, numbers.parseDouble(ctx.args[i]).?, ctx.args[i + 1]);
        added += @intFromBool(outcome.kind == .added);
        updated += @intFromBool(outcome.kind == .updated);
        score = outcome.score;
    }
    ctx.deleteIfEmpty(key, set.count());
    if (added + updated != 0) ctx.changed(key);
    if (!options.increments) return ctx.out.count(if (options.counts_changed) added + updated else added);
    if (score) |value| try ctx.out.double(value) else try ctx.out.nil();
}

const Outcome = struct {
    kind: enum { added, updated, unchanged },
    /// Null if an option forbade the change.
    score: ?f64,
};

fn addMember(ctx: *Context, set: *SortedSet, options: AddOptions, given: f64, text: []const u8) Error!Outcome {
    const member = set.get(text) orelse {
        if (options.only_old) return .{ .kind = .unchanged, .score = null };
        try set.add(&ctx.store.heap, text, given);
        return .{ .kind = .added, .score = given };
    };
    if (options.only_new) return .{ .kind = .unchanged, .score = null };
    const score = if (options.increments) member.score + given else given;
    if (std.math.isNan(score)) return ctx.fail("ERR resulting score is not a number (NaN)", .{});
    if (options.only_greater and score <= member.score) return .{ .kind = .unchanged, .score = null };
    if (options.only_less and score >= member.score) return .{ .kind = .unchanged, .score = null };
    if (score == member.score) return .{ .kind = .unchanged, .score = score };
    try set.move(&ctx.store.heap, member, score);
    return .{ .kind = .updated, .score = score };
}

// --- Removing -----------------------------------------------------------------------------------

pub fn zrem(ctx: *Context) Error!void {
    const key = ctx.args[1];
    const set = try ctx.find(SortedSet, key) orelse return ctx.out.int(0);
    var removed: usize = 0;
    for (ctx.args[2..]) |text| {
        set.remove(&ctx.store.heap, set.get(text) orelse continue);
        removed += 1;
    }
    if (removed != 0) {
        ctx.deleteIfEmpty(key, set.count());
        ctx.changed(key);
    }
    try ctx.out.count(removed);
}

pub fn zpopmin(ctx: *Context) Error!void {
    try pop(ctx, .lowest);
}

pub fn zpopmax(ctx: *Context) Error!void {
    try pop(ctx, .highest);
}

fn pop(ctx: *Context, end: enum { lowest, highest }) Error!void {
    if (ctx.args.len > 3) return error.Syntax;
    const wanted = if (ctx.args.len == 3) try ctx.positive(2) else 1;
    const key = ctx.args[1];
    const set = try ctx.find(SortedSet, key) orelse return ctx.out.array(0);
    const count = @min(wanted, set.count());
    try ctx.out.array(2 * count);
    if (count == 0) return;
    for (0..count) |_| {
        const member = (if (end == .lowest) set.first() else set.last()).?.member();
        try ctx.out.bulk(member.key());
        try ctx.out.double(member.score);
        set.remove(&ctx.store.heap, member);
    }
    ctx.deleteIfEmpty(key, set.count());
    ctx.changed(key);
}

// --- Looking ------------------------------------------------------------------------------------

pub fn zcard(ctx: *Context) Error!void {
    try ctx.out.count(if (try ctx.read(SortedSet, ctx.args[1])) |set| set.count() else 0);
}

fn readMember(ctx: *Context) Error!?struct { set: *SortedSet, member: *Member } {
    const set = try ctx.read(SortedSet, ctx.args[1]) orelse return null;
    return .{ .set = set, .member = set.get(ctx.args[2]) orelse return null };
}

pub fn zscore(ctx: *Context) Error!void {
    const found = try readMember(ctx) orelse return ctx.out.nil();
    try ctx.out.double(found.member.score);
}

pub fn zrank(ctx: *Context) Error!void {
    const found = try readMember(ctx) orelse return ctx.out.nil();
    try ctx.out.count(found.set.rankOf(found.member));
}

// --- Ranges -------------------------------------------------------------------------------------

const By = enum { rank, score, text };

const RangeOptions = struct {
    by: By = .rank,
    reversed: bool = false,
    with_scores: bool = false,
    offset: i64 = 0,
    /// Negative is without limit.
    limit: i64 = -1,
    has_limit: bool = false,
};

fn parseRange(ctx: *Context, comptime of: enum { zrange, zrevrange, zrangebyscore }) Error!RangeOptions {
    var options: RangeOptions = .{ .by = if (of == .zrangebyscore) .score else .rank, .reversed = of == .zrevrange };
    var i: usize = 4;
    while (i < ctx.args.len) : (i += 1) {
        if (ctx.is(i, "WITHSCORES")) {
            options.with_scores = true;
        } else if (of != .zrevrange and ctx.is(i, "LIMIT") and i + 2 < ctx.args.len) {
            options.offset = try ctx.int(i + 1);
            options.limit = try ctx.int(i + 2);
            options.has_limit = true;
            i += 2;
        } else if (of == .zrange and ctx.is(i, "REV") and !options.reversed) {
            options.reversed = true;
        } else if (of == .zrange and ctx.is(i, "BYSCORE") and options.by == .rank) {
            options.by = .score;
        } else if (of == .zrange and ctx.is(i, "BYLEX") and options.by == .rank) {
            options.by = .text;
        } else {
            return error.Syntax;
        }
    }
    if (options.by == .rank and options.has_limit) {
        return ctx.fail("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX", .{});
    }
    if (options.by == .text and options.with_scores) {
        return ctx.fail("ERR syntax error, WITHSCORES not supported in combination with BYLEX", .{});
    }
    return options;
}

pub fn zrange(ctx: *Context) Error!void {
    try range(ctx, try parseRange(ctx, .zrange));
}

pub fn zrevrange(ctx: *Context) Error!void {
    try range(ctx, try parseRange(ctx, .zrevrange));
}

pub fn zrangebyscore(ctx: *Context) Error!void {
    try range(ctx, try parseRange(ctx, .zrangebyscore));
}

/// Ranks of members, the first and the one behind the last.
const Span = struct { start: u64, end: u64 };

fn range(ctx: *Context, options: RangeOptions) Error!void {
    // A reversed range names its higher end first.
    const low_arg: usize = if (options.reversed) 3 else 2;
    const high_arg: usize = if (options.reversed) 2 else 3;
    switch (options.by) {
        .rank => {
            const first = try ctx.int(2);
            const last = try ctx.int(3);
            const set = try ctx.read(SortedSet, ctx.args[1]) orelse return ctx.out.array(0);
            try replyRange(ctx, set, ranksOf(first, last, set.count(), options.reversed), options);
        },
        .score => {
            const low = ScoreBound.parse(ctx.args[low_arg]) orelse return refuseScores(ctx);
            const high = ScoreBound.parse(ctx.args[high_arg]) orelse return refuseScores(ctx);
            const set = try ctx.read(SortedSet, ctx.args[1]) orelse return ctx.out.array(0);
            const start = set.countBefore(low, ScoreBound.isBelow);
            const end = set.countBefore(high, ScoreBound.isWithin);
            try replyRange(ctx, set, .{ .start = start, .end = @max(start, end) }, options);
        },
        .text => {
            const low = TextBound.parse(ctx.args[low_arg]) orelse return refuseTexts(ctx);
            const high = TextBound.parse(ctx.args[high_arg]) orelse return refuseTexts(ctx);
            const set = try ctx.read(SortedSet, ctx.args[1]) orelse return ctx.out.array(0);
            const start = set.countBefore(low, TextBound.isBelow);
            const end = set.countBefore(high, TextBound.isWithin);
            try replyRange(ctx, set, .{ .start = start, .end = @max(start, end) }, options);
        },
    }
}

fn refuseScores(ctx: *Context) error{ OutOfMemory, Replied } {
    return ctx.fail("ERR min or max is not a float", .{});
}

fn refuseTexts(ctx: *Context) error{ OutOfMemory, Replied } {
    return ctx.fail("ERR min or max not valid string range item", .{});
}

/// Indexes as clients give them, negative from the end, as ranks from the lowest.
fn ranksOf(first_arg: i64, last_arg: i64, count: u64, reversed: bool) Span {
    const length: i64 = @intCast(count);
    const first = @max(0, if (first_arg < 0) first_arg +| length else first_arg);
    const last = @min(length - 1, if (last_arg < 0) last_arg +| length else last_arg);
    if (first > last) return .{ .start = 0, .end = 0 };
    if (reversed) return .{ .start = @intCast(length - 1 - last), .end = @intCast(length - first) };
    return .{ .start = @intCast(first), .end = @intCast(last + 1) };
}

fn replyRange(ctx: *Context, set: *const SortedSet, whole: Span, options: RangeOptions) Error!void {
    const length = whole.end - whole.start;
    const skipped: u64 = if (options.offset < 0) length else @min(length, @as(u64, @intCast(options.offset)));
    const left = length - skipped;
    const count = if (options.limit < 0) left else @min(left, @as(u64, @intCast(options.limit)));
    try ctx.out.array(if (options.with_scores) 2 * count else count);
    if (count == 0) return;
    var cursor: ?sorted.Cursor = set.at(if (options.reversed) whole.end - 1 - skipped else whole.start + skipped);
    for (0..count) |_| {
        const member = cursor.?.member();
        try ctx.out.bulk(member.key());
        if (options.with_scores) try ctx.out.double(member.score);
        cursor = if (options.reversed) cursor.?.prev() else cursor.?.next();
    }
}

/// One end of a range of scores: `1.5`, or `(1.5` without it.
const ScoreBound = struct {
    score: f64,
    is_open: bool,

    fn parse(text: []const u8) ?ScoreBound {
        const is_open = text.len != 0 and text[0] == '(';
        return .{ .score = numbers.parseBound(if (is_open) text[1..] else text) orelse return null, .is_open = is_open };
    }

    /// A member below a range with this low end.
    fn isBelow(member: *const Member, bound: ScoreBound) bool {
        return if (bound.is_open) member.score <= bound.score else member.score < bound.score;
    }

    /// A member not above a range with this high end.
    fn isWithin(member: *const Member, bound: ScoreBound) bool {
        return if (bound.is_open) member.score < bound.score else member.score <= bound.score;
    }
};

/// One end of a range of texts: `-`, `+`, `[a`, or `(a` without it.
const TextBound = union(enum) {
    lowest,
    highest,
    open: []const u8,
    closed: []const u8,

    fn parse(text: []const u8) ?TextBound {
        if (std.mem.eql(u8, text, "-")) return .lowest;
        if (std.mem.eql(u8, text, "+")) return .highest;
        if (text.len == 0) return null;
        return switch (text[0]) {
            '(' => .{ .open = text[1..] },
            '[' => .{ .closed = text[1..] },
            else => null,
        };
    }

    fn isBelow(member: *const Member, bound: TextBound) bool {
        return switch (bound) {
            .lowest => false,
            .highest => true,
            .open => |text| std.mem.order(u8, member.key(), text) != .gt,
            .closed => |text| std.mem.order(u8, member.key(), text) == .lt,
        };
    }

    fn isWithin(member: *const Member, bound: TextBound) bool {
        return switch (bound) {
            .lowest => false,
            .highest => true,
            .open => |text| std.mem.order(u8, member.key(), text) == .lt,
            .closed => |text| std.mem.order(u8, member.key(), text) != .gt,
        };
    }
};

test ranksOf {
    try std.testing.expectEqual(Span{ .start = 0, .end = 5 }, ranksOf(0, -1, 5, false));
    try std.testing.expectEqual(Span{ .start = 3, .end = 5 }, ranksOf(0, 1, 5, true));
    try std.testing.expectEqual(Span{ .start = 0, .end = 0 }, ranksOf(3, 1, 5, false));
}
