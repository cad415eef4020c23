//! The command line, parsed and checked once.

const std = @import("std");
const failure = @import("failure.zig");
const numbers = @import("numbers.zig");
const Policy = @import("store.zig").Policy;

pub const Fsync = enum { always, everysec, no };

const threads_max = 256;
const clients_max = 1_000_000;
const drain_seconds_max = 86_400;

pub const Options = struct {
    listen: std.ArrayList([]const u8) = .empty,
    threads: usize = 1,
    memory_max: u64 = 0,
    policy: Policy = .noeviction,
    log_path: ?[:0]const u8 = null,
    fsync: Fsync = .everysec,
    clients_max: usize = 10_000,
    drain_seconds: u32 = 5,
    check_path: ?[:0]const u8 = null,
    help: bool = false,
    version: bool = false,
};

const Flag = enum { @"--help", @"--version" };

const Setting = enum {
    @"--listen",
    @"--threads",
    @"--maxmemory",
    @"--maxmemory-policy",
    @"--appendonly",
    @"--appendfsync",
    @"--maxclients",
    @"--drain-timeout",
    @"--check-aof",
};

/// Reads `--name value` and `--name=value`. What it returns lives in the arena and in the arguments.
pub fn parse(arguments: []const [:0]const u8, arena: std.mem.Allocator, why: *failure.Failure) failure.Error!Options {
    var options: Options = .{};
    var rest = arguments;
    while (rest.len != 0) {
        const argument = rest[0];
        rest = rest[1..];
        const equals = std.mem.findScalar(u8, argument, '=');
        const name = argument[0 .. equals orelse argument.len];
        const attached: ?[:0]const u8 = if (equals) |at| argument[at + 1 ..] else null;
        if (std.meta.stringToEnum(Flag, name)) |flag| {
            if (attached != null) return why.bad("{s} takes no value", .{name});
            switch (flag) {
                .@"--help" => options.help = true,
                .@"--version" => options.version = true,
            }
            return options;
        }
        const setting = std.meta.stringToEnum(Setting, name) orelse return why.bad("unknown option: {f} (see --help)", .{failure.quoted(argument)});
        const value = attached orelse blk: {
            if (rest.len == 0) return why.bad("{s} needs a value", .{name});
            defer rest = rest[1..];
            break :blk rest[0];
        };
        if (value.len == 0) return why.bad("{s} needs a value, not an empty one", .{name});
        try set(&options, setting, value, arena, why);
    }
    if (options.listen.items.len == 0 and options.check_path == null) return why.bad("--listen is missing (see --help)", .{});
    return options;
}

fn set(options: *Options, setting: Setting, value: [:0]const u8, arena: std.mem.Allocator, why: *failure.Failure) failure.Error!void {
    switch (setting) {
        .@"--listen" => try options.listen.append(arena, value),
        .@"--threads" => options.threads = try number(usize, setting, value, 1, threads_max, why),
        .@"--maxmemory" => options.memory_max = (if (std.ascii.isDigit(value[0])) parseMemory(value) else null) orelse
            return why.bad("--maxmemory {f}: not a number of bytes, or with k, kb, m, mb, g, gb", .{failure.quoted(value)}),
        .@"--maxmemory-policy" => options.policy = try oneOf(Policy, setting, value, why),
        .@"--appendonly" => options.log_path = value,
        .@"--appendfsync" => options.fsync = try oneOf(Fsync, setting, value, why),
        .@"--maxclients" => options.clients_max = try number(usize, setting, value, 1, clients_max, why),
        .@"--drain-timeout" => options.drain_seconds = try number(u32, setting, value, 0, drain_seconds_max, why),
        .@"--check-aof" => options.check_path = value,
    }
}

/// A number of bytes as redis reads it: `100`, `1k` is 1000, `1kb` is 1024, and so on; letters of any case. No digits are 0.
pub fn parseMemory(text: []const u8) ?u64 {
    const digits_end = for (text, 0..) |byte, i| {
        if (!std.ascii.isDigit(byte)) break i;
    } else text.len;
    const count = if (digits_end == 0) 0 else std.fmt.parseInt(u64, text[0..digits_end], 10) catch return null;
    const factor: u64 = for ([_]struct { []const u8, u64 }{
        .{ "", 1 },              .{ "b", 1 },
        .{ "k", 1000 },          .{ "kb", 1 << 10 },
        .{ "m", 1_000_000 },     .{ "mb", 1 << 20 },
        .{ "g", 1_000_000_000 }, .{ "gb", 1 << 30 },
    }) |unit| {
        if (std.ascii.eqlIgnoreCase(text[digits_end..], unit[0])) break unit[1];
    } else return null;
    return std.math.mul(u64, count, factor) catch null;
}

fn oneOf(comptime Choice: type, setting: Setting, value: []const u8, why: *failure.Failure) failure.Error!Choice {
    return std.meta.stringToEnum(Choice, value) orelse why.bad("{s} {f}: not one of {s}", .{
        @tagName(setting), failure.quoted(value), comptime names(Choice),
    });
}

/// The names of an enumeration, separated by commas.
pub fn names(comptime Choice: type) []const u8 {
    var text: []const u8 = "";
    for (std.enums.values(Choice)) |choice| text = text ++ (if (text.len == 0) "" else ", ") ++ @tagName(choice);
    return text;
}

fn number(comptime Int: type, setting: Setting, value: []const u8, least: Int, most: Int, why: *failure.Failure) failure.Error!Int {
    const parsed = numbers.parseInt(value) orelse -1;
    if (parsed < 0 or parsed < least or parsed > most) {
        return why.bad("{s} {f}: not a whole number from {d} to {d}", .{ @tagName(setting), failure.quoted(value), least, most });
    }
    return @intCast(parsed);
}

test "command lines" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var why: failure.Failure = .{};
    const options = try parse(&.{ "--listen=127.0.0.1:0", "--listen", "unix:/a=b", "--maxmemory", "100mb", "--maxmemory-policy=volatile-ttl" }, arena.allocator(), &why);
    try std.testing.expectEqualStrings("unix:/a=b", options.listen.items[1]);
    try std.testing.expectEqual(100 << 20, options.memory_max);
    try std.testing.expectEqual(.@"volatile-ttl", options.policy);
    for ([_][]const [:0]const u8{
        &.{"x"},                      &.{"--listen"},            &.{ "--threads", "0" },     &.{ "--threads", "x" },
        &.{ "--maxmemory", "10xb" },  &.{"--maxmemory="},        &.{ "--maxclients", "-3" }, &.{ "--drain-timeout", "-1" },
        &.{ "--appendfsync", "now" }, &.{ "--maxmemory", "-5" }, &.{"--help=1"},             &.{ "--maxmemory", "99999999999gb" },
        &.{},
    }) |arguments| {
        try std.testing.expectError(error.Failed, parse(arguments, arena.allocator(), &why));
    }
}

test parseMemory {
    try std.testing.expectEqual(2_000_000_000, parseMemory("2g"));
    try std.testing.expectEqual(5120, parseMemory("5KB"));
    try std.testing.expectEqual(0, parseMemory(""));
    try std.testing.expectEqual(null, parseMemory("1 k"));
}
