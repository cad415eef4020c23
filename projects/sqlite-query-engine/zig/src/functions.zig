//! The scalar functions. Text is UTF-8, read as leniently as SQLite reads it.

const std = @import("std");
const value_zig = @import("value.zig");
const record = @import("record.zig");
const Diag = @import("diag.zig").Diag;
const Error = @import("diag.zig").Error;
const Value = value_zig.Value;

pub const Function = enum {
    abs,
    coalesce,
    hex,
    ifnull,
    iif,
    instr,
    length,
    lower,
    ltrim,
    max,
    min,
    nullif,
    replace,
    round,
    rtrim,
    substr,
    trim,
    typeof,
    upper,
};

/// Functions with more arguments (coalesce, min, max) take them one by one.
pub const max_args = 3;

const Signature = struct { function: Function, min_args: usize, max_args: usize };

const any = 127;

const signatures = std.StaticStringMapWithEql(Signature, std.static_string_map.eqlAsciiIgnoreCase).initComptime(.{
    .{ "abs", Signature{ .function = .abs, .min_args = 1, .max_args = 1 } },
    .{ "coalesce", Signature{ .function = .coalesce, .min_args = 2, .max_args = any } },
    .{ "hex", Signature{ .function = .hex, .min_args = 1, .max_args = 1 } },
    .{ "ifnull", Signature{ .function = .ifnull, .min_args = 2, .max_args = 2 } },
    .{ "iif", Signature{ .function = .iif, .min_args = 3, .max_args = 3 } },
    .{ "instr", Signature{ .function = .instr, .min_args = 2, .max_args = 2 } },
    .{ "length", Signature{ .function = .length, .min_args = 1, .max_args = 1 } },
    .{ "lower", Signature{ .function = .lower, .min_args = 1, .max_args = 1 } },
    .{ "ltrim", Signature{ .function = .ltrim, .min_args = 1, .max_args = 2 } },
    .{ "max", Signature{ .function = .max, .min_args = 2, .max_args = any } },
    .{ "min", Signature{ .function = .min, .min_args = 2, .max_args = any } },
    .{ "nullif", Signature{ .function = .nullif, .min_args = 2, .max_args = 2 } },
    .{ "replace", Signature{ .function = .replace, .min_args = 3, .max_args = 3 } },
    .{ "round", Signature{ .function = .round, .min_args = 1, .max_args = 2 } },
    .{ "rtrim", Signature{ .function = .rtrim, .min_args = 1, .max_args = 2 } },
    .{ "substr", Signature{ .function = .substr, .min_args = 2, .max_args = 3 } },
    .{ "substring", Signature{ .function = .substr, .min_args = 2, .max_args = 3 } },
    .{ "trim", Signature{ .function = .trim, .min_args = 1, .max_args = 2 } },
    .{ "typeof", Signature{ .function = .typeof, .min_args = 1, .max_args = 1 } },
    .{ "upper", Signature{ .function = .upper, .min_args = 1, .max_args = 1 } },
});

pub fn find(diag: *Diag, name: []const u8, args: usize) Error!Function {
    const signature = signatures.get(name) orelse return diag.bad("no such function: {s}", .{name});
    if (args < signature.min_args or args > signature.max_args) {
        return diag.bad("wrong number of arguments to function {s}()", .{name});
    }
    return signature.function;
}

pub fn call(arena: std.mem.Allocator, diag: *Diag, function: Function, args: []const Value, collation: value_zig.Collation) Error!Value {
    switch (function) {
        .typeof => return .{ .text = typeName(args[0]) },
        .nullif => return if (args[0] != .null and args[1] != .null and
            value_zig.compare(args[0], args[1], collation) == .eq) .null else args[0],
        .hex => return .{ .text = try hex(arena, try value_zig.toText(arena, args[0])) },
        else => {},
    }
    for (args) |arg| {
        if (arg == .null) return .null;
    }
    switch (function) {
        .abs => return abs(diag, args[0]),
        .length => return .{ .int = @intCast(try length(arena, args[0])) },
        .lower => return .{ .text = try std.ascii.allocLowerString(arena, try value_zig.toText(arena, args[0])) },
        .upper => return .{ .text = try std.ascii.allocUpperString(arena, try value_zig.toText(arena, args[0])) },
        .round => {
            const places: i64 = if (args.len > 1) shortInt(args[1]) else 0;
            return .fromReal(value_zig.roundReal(value_zig.toReal(args[0]), places));
        },
        .substr => return substr(arena, args),
        .instr => return instr(arena, args[0], args[1]),
        .replace => return replace(arena, diag, args),
        .trim => return trim(arena, args, true, true),
        .ltrim => return trim(arena, args, true, false),
        .rtrim => return trim(arena, args, false, true),
        else => unreachable,
    }
}

fn typeName(value: Value) []const u8 {
    return switch (value) {
        .null => "null",
        .int => "integer",
        .real => "real",
        .text => "text",
        .blob => "blob",
    };
}

fn abs(diag: *Diag, value: Value) Error!Value {
    if (value == .int) {
        if (value.int == value_zig.int_min) return diag.bad("integer overflow", .{});
        return .{ .int = @intCast(@abs(value.int)) };
    }
    return .{ .real = @abs(value_zig.toReal(value)) };
}

fn length(arena: std.mem.Allocator, value: Value) Error!usize {
    return switch (value) {
        .blob => |bytes| bytes.len,
        .text => |text| countCharacters(text[0 .. std.mem.findScalar(u8, text, 0) orelse text.len]),
        else => (try value_zig.toText(arena, value)).len,
    };
}

/// A lead byte from 0xc0 on takes the continuation bytes after it along; any other byte counts. Whole blocks are
/// counted at once until there is a stray continuation byte, which only invalid texts have.
pub fn countCharacters(text: []const u8) usize {
    const width = 32;
    const Block = @Vector(width, u8);
    var count: usize = 0;
    var at: usize = 0;
    var after_ascii: u32 = 1; // a text begins like after ASCII
    while (at + width <= text.len) : (at += width) {
        const block: Block = text[at..][0..width].*;
        const ascii: u32 = @bitCast(block < @as(Block, @splat(0x80)));
        const continuation: u32 = @bitCast(block & @as(Block, @splat(0xc0)) == @as(Block, @splat(0x80)));
        if (continuation & (ascii << 1 | after_ascii) != 0) break;
        after_ascii = ascii >> (width - 1);
        count += width - @popCount(continuation);
    }
    // The last block may have ended inside a character.
    if (after_ascii == 0) while (at < text.len and text[at] & 0xc0 == 0x80) {
        at += 1;
    };
    while (at < text.len) : (count += 1) at = skipCharacter(text, at);
    return count;
}

fn skipCharacter(text: []const u8, at: usize) usize {
    var next = at + 1;
    if (text[at] >= 0xc0) while (next < text.len and text[next] & 0xc0 == 0x80) {
        next += 1;
    };
    return next;
}

fn hex(arena: std.mem.Allocator, bytes: []const u8) Error![]const u8 {
    const out = try arena.alloc(u8, bytes.len * 2);
    for (bytes, 0..) |byte, i| {
        out[2 * i] = "0123456789ABCDEF"[byte >> 4];
        out[2 * i + 1] = "0123456789ABCDEF"[byte & 15];
    }
    return out;
}

/// substr(x, start, count): positions from 1, negative ones from the end, a negative count goes left.
fn substr(arena: std.mem.Allocator, args: []const Value) Error!Value {
    const is_blob = args[0] == .blob;
    const text = try value_zig.toText(arena, args[0]);
    // SQLite has no pointer to an empty blob, and takes that for NULL.
    if (is_blob and text.len == 0) return .null;
    // No value is longer, and no sum below can overflow.
    const unlimited = 1 << 40;
    var start: i64 = shortInt(args[1]);
    var count: i64 = if (args.len > 2) shortInt(args[2]) else unlimited;
    const negative_count = count < 0;
    if (negative_count) count = -count;
    if (start < 0) {
        const size: i64 = @intCast(if (is_blob) text.len else countCharacters(text));
        start += size;
        if (start < 0) {
            count = @max(count + start, 0);
            start = 0;
        }
    } else if (start > 0) {
        start -= 1;
    } else if (count > 0) {
        count -= 1;
    }
    if (negative_count) {
        start -= count;
        if (start < 0) {
            count += start;
            start = 0;
        }
    }
    if (is_blob) {
        const from: usize = @intCast(@min(start, @as(i64, @intCast(text.len))));
        const taken = @min(@as(usize, @intCast(count)), text.len - from);
        return .{ .blob = text[from..][0..taken] };
    }
    const from = skipCharacters(text, 0, @intCast(start));
    return .{ .text = text[from..skipCharacters(text, from, @intCast(count))] };
}

/// SQLite takes these arguments as 32-bit integers: the high bits are cut off.
fn shortInt(value: Value) i32 {
    return @truncate(value_zig.toInt(value));
}

fn skipCharacters(text: []const u8, from: usize, count: usize) usize {
    var at = from;
    var left = count;
    while (left > 0 and at < text.len) : (left -= 1) at = skipCharacter(text, at);
    return at;
}

fn instr(arena: std.mem.Allocator, haystack: Value, needle: Value) Error!Value {
    const text = try value_zig.toText(arena, haystack);
    const wanted = try value_zig.toText(arena, needle);
    const in_bytes = haystack == .blob and needle == .blob;
    if (wanted.len == 0) return .{ .int = 1 };
    var from: usize = 0;
    while (std.mem.findPos(u8, text, from, wanted)) |at| {
        if (in_bytes) return .{ .int = @intCast(at + 1) };
        // A match counts only where a character starts.
        if (text[at] & 0xc0 != 0x80 or at == 0) return .{ .int = @intCast(countCharacters(text[0..at]) + 1) };
        from = at + 1;
    }
    return .{ .int = 0 };
}

fn replace(arena: std.mem.Allocator, diag: *Diag, args: []const Value) Error!Value {
    const text = try value_zig.toText(arena, args[0]);
    const old = try value_zig.toText(arena, args[1]);
    const new = try value_zig.toText(arena, args[2]);
    if (old.len == 0 or old[0] == 0) return .{ .text = text };
    var out: std.ArrayList(u8) = .empty;
    var from: usize = 0;
    while (std.mem.findPos(u8, text, from, old)) |at| {
        try out.appendSlice(arena, text[from..at]);
        try out.appendSlice(arena, new);
        if (out.items.len > record.max_payload_bytes) return diag.bad("string or blob too big", .{});
        from = at + old.len;
    }
    try out.appendSlice(arena, text[from..]);
    return .{ .text = out.items };
}

fn trim(arena: std.mem.Allocator, args: []const Value, left: bool, right: bool) Error!Value {
    var text = try value_zig.toText(arena, args[0]);
    const set = if (args.len > 1) try value_zig.toText(arena, args[1]) else " ";
    if (left) while (leadingOf(text, set)) |bytes| {
        text = text[bytes..];
    };
    if (right) while (trailingOf(text, set)) |bytes| {
        text = text[0 .. text.len - bytes];
    };
    return .{ .text = text };
}

fn leadingOf(text: []const u8, set: []const u8) ?usize {
    var at: usize = 0;
    while (at < set.len) {
        const next = skipCharacter(set, at);
        if (std.mem.startsWith(u8, text, set[at..next])) return next - at;
        at = next;
    }
    return null;
}

fn trailingOf(text: []const u8, set: []const u8) ?usize {
    var at: usize = 0;
    while (at < set.len) {
        const next = skipCharacter(set, at);
        if (std.mem.endsWith(u8, text, set[at..next])) return next - at;
        at = next;
    }
    return null;
}

test call {
    var arena_state: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena_state.deinit();
    const arena = arena_state.allocator();
    var diag: Diag = .{};
    const t = struct {
        fn t(text: []const u8) Value {
            return .{ .text = text };
        }
    }.t;
    const cases = [_]struct { Function, []const Value, []const u8 }{
        .{ .substr, &.{ t("hello"), .{ .int = 2 }, .{ .int = 3 } }, "ell" },
        .{ .substr, &.{ t("hello"), .{ .int = -3 } }, "llo" },
        .{ .substr, &.{ t("hello"), .{ .int = 0 }, .{ .int = 3 } }, "he" },
        .{ .substr, &.{ t("hello"), .{ .int = 4 }, .{ .int = -2 } }, "el" },
        .{ .substr, &.{ t("hello"), .{ .int = -9 }, .{ .int = 6 } }, "he" },
        .{ .substr, &.{ t("héllo"), .{ .int = 2 }, .{ .int = 1 } }, "é" },
        .{ .substr, &.{ t("hello"), .{ .int = value_zig.int_min }, .{ .int = value_zig.int_max } }, "" },
        .{ .substr, &.{ t("hello"), .{ .int = 2 }, .{ .int = value_zig.int_min } }, "" },
        .{ .substr, &.{ t("hello"), .{ .int = -2147483648 }, .{ .int = 2147483647 } }, "hell" },
        .{ .upper, &.{t("aé")}, "Aé" },
        .{ .replace, &.{ t("a-b-c"), t("-"), t("+") }, "a+b+c" },
        .{ .trim, &.{t("  x ")}, "x" },
        .{ .ltrim, &.{ t("éax"), t("aé") }, "x" },
        .{ .hex, &.{.null}, "" },
        .{ .hex, &.{t("Az")}, "417A" },
        .{ .typeof, &.{.{ .real = 1 }}, "real" },
    };
    for (cases) |case| {
        const result = try call(arena, &diag, case[0], case[1], .binary);
        try std.testing.expectEqualStrings(case[2], result.text);
    }
    try std.testing.expectEqual(Value{ .int = 2 }, try call(arena, &diag, .length, &.{t("hé")}, .binary));
    // A stray continuation byte goes with the character before it.
    try std.testing.expectEqual(85, countCharacters("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaéébbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb日本\x80é"));
    try std.testing.expectEqual(Value{ .int = 1 }, try call(arena, &diag, .length, &.{t("h\x00é")}, .binary));
    try std.testing.expectEqual(Value{ .int = 3 }, try call(arena, &diag, .instr, &.{ t("éab"), t("b") }, .binary));
    try std.testing.expectEqual(Value.null, try call(arena, &diag, .nullif, &.{ t("a"), t("A") }, .nocase));
    try std.testing.expectError(error.BadInput, call(arena, &diag, .abs, &.{.{ .int = value_zig.int_min }}, .binary));
    try std.testing.expectError(error.BadInput, find(&diag, "nope", 1));
    try std.testing.expectEqualStrings("no such function: nope", diag.message());
}
