//! The command line, parsed and checked once.

const std = @import("std");
const client_file = @import("client.zig");
const failure = @import("failure.zig");
const net = @import("net.zig");

const threads_max = 1024;
const count_max = 1_000_000;
const seconds_max = 1_000_000;
pub const message_bytes_max = 16 << 20;

pub const Options = struct {
    listen: ?net.Place = null,
    threads: u32 = 1,
    drain_timeout_ns: u64 = 5 * std.time.ns_per_s,
    /// Messages that may wait for a client.
    queue: u32 = 1024,
    rate: client_file.Bucket.Limit = .{ .token_ns = std.time.ns_per_s / 10, .tokens = 20 },
    ping_interval_ns: u64 = 20 * std.time.ns_per_s,
    ping_timeout_ns: u64 = 10 * std.time.ns_per_s,
    join_timeout_ns: u64 = 10 * std.time.ns_per_s,
    max_message_bytes: u32 = 4096,
    max_connections: u32 = 10_000,
    history: u32 = 0,
    /// Null is any origin, and none.
    origins: ?[]const []const u8 = null,
    echo: bool = false,
    help: bool = false,
    version: bool = false,
};

const Flag = enum { @"--help", @"--version", @"--echo" };

const Setting = enum {
    @"--listen",
    @"--threads",
    @"--drain-timeout",
    @"--queue",
    @"--rate",
    @"--burst",
    @"--ping-interval",
    @"--ping-timeout",
    @"--join-timeout",
    @"--max-message-bytes",
    @"--max-connections",
    @"--history",
    @"--origins",
};

/// Reads `--name value` and `--name=value`. What it returns lives in the arena and in the arguments.
pub fn parse(arguments: []const [:0]const u8, arena: std.mem.Allocator, why: *failure.Failure) failure.Error!Options {
    var options: Options = .{};
    var rest = arguments;
    while (rest.len != 0) {
        const argument = rest[0];
        rest = rest[1..];
        const name, const attached: ?[]const u8 = if (std.mem.cutScalar(u8, argument, '=')) |parts| .{ parts[0], parts[1] } else .{ argument, null };
        if (std.meta.stringToEnum(Flag, name)) |flag| {
            if (attached != null) return why.bad("{s} takes no value", .{name});
            switch (flag) {
                .@"--help" => options.help = true,
                .@"--version" => options.version = true,
                .@"--echo" => options.echo = true,
            }
            if (flag != .@"--echo") return options;
            continue;
        }
        const setting = std.meta.stringToEnum(Setting, name) orelse return why.bad("unknown option: {f} (see --help)", .{failure.quoted(name)});
        const value = attached orelse blk: {
            if (rest.len == 0) return why.bad("{s} needs a value", .{name});
            defer rest = rest[1..];
            break :blk rest[0];
        };
        try set(&options, setting, value, arena, why);
    }
    if (options.listen == null) return why.bad("--listen is missing (see --help)", .{});
    return options;
}

fn set(options: *Options, setting: Setting, value: []const u8, arena: std.mem.Allocator, why: *failure.Failure) failure.Error!void {
    switch (setting) {
        .@"--listen" => options.listen = try place(setting, value, why),
        .@"--threads" => options.threads = try number(setting, value, 1, threads_max, why),
        .@"--drain-timeout" => options.drain_timeout_ns = try duration(setting, value, .any, why),
        .@"--queue" => options.queue = try number(setting, value, 1, count_max, why),
        .@"--rate" => options.rate.token_ns = try rate(setting, value, why),
        .@"--burst" => options.rate.tokens = try number(setting, value, 1, count_max, why),
        .@"--ping-interval" => options.ping_interval_ns = try duration(setting, value, .positive, why),
        .@"--ping-timeout" => options.ping_timeout_ns = try duration(setting, value, .positive, why),
        .@"--join-timeout" => options.join_timeout_ns = try duration(setting, value, .positive, why),
        .@"--max-message-bytes" => options.max_message_bytes = try number(setting, value, 1, message_bytes_max, why),
        .@"--max-connections" => options.max_connections = try number(setting, value, 1, count_max, why),
        .@"--history" => options.history = try number(setting, value, 0, count_max, why),
        .@"--origins" => options.origins = try origins(setting, value, arena, why),
    }
}

fn place(setting: Setting, value: []const u8, why: *failure.Failure) failure.Error!net.Place {
    return net.Place.parse(value) catch |err| switch (err) {
        error.BadHost => why.bad("{t} {f}: not HOST:PORT", .{ setting, failure.quoted(value) }),
        error.BadPort => why.bad("{t} {f}: not a port from 0 to 65535", .{ setting, failure.quoted(value) }),
    };
}

fn origins(setting: Setting, value: []const u8, arena: std.mem.Allocator, why: *failure.Failure) failure.Error![]const []const u8 {
    var parsed: std.ArrayList([]const u8) = .empty;
    var parts = std.mem.splitScalar(u8, value, ',');
    while (parts.next()) |part| {
        _, const host = std.mem.cut(u8, part, "://") orelse .{ "", "" };
        var is_origin = host.len != 0 and std.mem.findScalar(u8, host, '/') == null;
        for (part) |byte| is_origin = is_origin and byte > ' ' and byte < 0x7f;
        if (!is_origin) return why.bad("{t} {f}: not SCHEME://HOST, separated by commas", .{ setting, failure.quoted(value) });
        try parsed.append(arena, part);
    }
    return parsed.items;
}

/// Reads a plain decimal within bounds.
fn number(setting: Setting, value: []const u8, least: u32, most: u32, why: *failure.Failure) failure.Error!u32 {
    const parsed = plainNumber(u32, value);
    if (parsed == null or parsed.? < least or parsed.? > most) {
        return why.bad("{t} {f}: not a whole number from {d} to {d}", .{ setting, failure.quoted(value), least, most });
    }
    return parsed.?;
}

fn plainNumber(comptime Int: type, value: []const u8) ?Int {
    for (value) |byte| if (!std.ascii.isDigit(byte)) return null;
    return std.fmt.parseInt(Int, value, 10) catch null;
}

/// Reads how many a second into how long each takes.
fn rate(setting: Setting, value: []const u8, why: *failure.Failure) failure.Error!u64 {
    const billionths = plainDecimal(value);
    if (billionths == null or billionths.? > count_max * std.time.ns_per_s) {
        return why.bad("{t} {f}: not a number from 0 to {d}", .{ setting, failure.quoted(value), count_max });
    }
    if (billionths.? == 0) return 0;
    return @intCast(@as(u128, std.time.ns_per_s) * std.time.ns_per_s / billionths.?);
}

const Zero = enum { positive, any };

/// Reads seconds with an optional fraction into nanoseconds.
fn duration(setting: Setting, value: []const u8, zero: Zero, why: *failure.Failure) failure.Error!u64 {
    const least_ns: u64 = if (zero == .positive) std.time.ns_per_ms else 0;
    const ns = plainDecimal(value);
    if (ns == null or ns.? < least_ns or ns.? > seconds_max * std.time.ns_per_s) {
        const least = if (zero == .positive) "0.001" else "0";
        return why.bad("{t} {f}: not a number of seconds from {s} to {d}", .{ setting, failure.quoted(value), least, seconds_max });
    }
    return ns.?;
}

/// Reads a decimal with an optional fraction into billionths.
fn plainDecimal(value: []const u8) ?u64 {
    if (value.len == 0) return null;
    const whole, const fraction = std.mem.cutScalar(u8, value, '.') orelse .{ value, "0" };
    if (whole.len > 9 or fraction.len == 0) return null;
    const units = if (whole.len == 0) 0 else plainNumber(u64, whole) orelse return null;
    var billionths: u64 = 0;
    var unit: u64 = 1_000_000_000 / 10;
    for (fraction) |byte| {
        if (!std.ascii.isDigit(byte)) return null;
        billionths += (byte - '0') * unit;
        unit /= 10;
    }
    return units * 1_000_000_000 + billionths;
}

test "command lines" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var why: failure.Failure = .{};
    const options = try parse(
        &.{ "--listen=127.0.0.1:0", "--echo", "--rate", "2.5", "--ping-interval", ".25", "--origins=https://a.example,http://b:81" },
        arena.allocator(),
        &why,
    );
    try std.testing.expect(options.echo);
    try std.testing.expectEqual(400_000_000, options.rate.token_ns);
    try std.testing.expectEqual(20, options.rate.tokens);
    try std.testing.expectEqual(250_000_000, options.ping_interval_ns);
    try std.testing.expectEqualStrings("http://b:81", options.origins.?[1]);
    try std.testing.expectEqual(0, (try parse(&.{ "--listen=[::1]:1", "--rate=0" }, arena.allocator(), &why)).rate.token_ns);
    for ([_][]const [:0]const u8{
        &.{},                   &.{"--listen"},                   &.{ "--listen", "a" },              &.{ "--listen", "a:65536" },
        &.{"--nothing"},        &.{ "--listen", "a:1", "x" },     &.{"--echo=1"},                     &.{ "--rate", "-1" },
        &.{ "--rate", "1e3" },  &.{ "--queue", "0" },             &.{ "--ping-interval", "0" },       &.{ "--join-timeout", "." },
        &.{ "--threads", "0" }, &.{ "--origins", "a.example" },   &.{ "--origins", "http://a,,b" },   &.{ "--max-message-bytes", "16777217" },
        &.{ "--burst", "" },    &.{ "--history", "many" },        &.{ "--origins", "http://a/path" }, &.{ "--origins", "" },
        &.{"--help=x"},         &.{ "--max-connections", "0x1" },
    }) |arguments| {
        try std.testing.expectError(error.Failed, parse(arguments, arena.allocator(), &why));
        try std.testing.expectEqual(failure.ExitCode.bad_request, why.exit_code);
    }
    try std.testing.expect((try parse(&.{"--help"}, arena.allocator(), &why)).help);
}
