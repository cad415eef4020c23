//! The command line, parsed and checked once.

const std = @import("std");
const failure = @import("failure.zig");
const head = @import("head.zig");
const net = @import("net.zig");

pub const Balance = enum { @"round-robin", @"least-connections", hash };

/// A request remembers the ones it has been to.
pub const backends_max = 256;
const threads_max = 1024;
const pool_max = 65_536;
const retries_max = 100;
const count_max = 1_000_000;
const seconds_max = 1_000_000;
const header_bytes_max = 1 << 20;

pub const Options = struct {
    listen: ?net.Place = null,
    admin: ?net.Place = null,
    backends: []const net.Place = &.{},
    balance: Balance = .@"round-robin",
    hash_header: []const u8 = "",
    pool_size: u32 = 64,
    max_connections: u32 = 10_000,
    connect_timeout_ns: u64 = 1 * std.time.ns_per_s,
    read_timeout_ns: u64 = 30 * std.time.ns_per_s,
    idle_timeout_ns: u64 = 60 * std.time.ns_per_s,
    header_timeout_ns: u64 = 10 * std.time.ns_per_s,
    drain_timeout_ns: u64 = 5 * std.time.ns_per_s,
    max_header_bytes: u32 = 16384,
    /// 0 is no limit.
    max_body_bytes: u64 = 0,
    /// Empty is no health checks.
    health_path: []const u8 = "",
    health_interval_ns: u64 = 2 * std.time.ns_per_s,
    health_timeout_ns: u64 = 1 * std.time.ns_per_s,
    rise: u32 = 2,
    fall: u32 = 3,
    /// 0 ejects nobody.
    max_fails: u32 = 3,
    fail_timeout_ns: u64 = 10 * std.time.ns_per_s,
    retries: u32 = 1,
    threads: u32 = 1,
    help: bool = false,
    version: bool = false,
};

const Flag = enum { @"--help", @"--version" };

const Setting = enum {
    @"--listen",
    @"--admin",
    @"--backends",
    @"--balance",
    @"--hash-header",
    @"--pool-size",
    @"--max-connections",
    @"--connect-timeout",
    @"--read-timeout",
    @"--idle-timeout",
    @"--header-timeout",
    @"--drain-timeout",
    @"--max-header-bytes",
    @"--max-body-bytes",
    @"--health-path",
    @"--health-interval",
    @"--health-timeout",
    @"--rise",
    @"--fall",
    @"--max-fails",
    @"--fail-timeout",
    @"--retries",
    @"--threads",
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
            }
            return options;
        }
        const setting = std.meta.stringToEnum(Setting, name) orelse return why.bad("unknown option: {f} (see --help)", .{failure.quoted(name)});
        const value = attached orelse blk: {
            if (rest.len == 0) return why.bad("{s} needs a value", .{name});
            defer rest = rest[1..];
            break :blk rest[0];
        };
        try set(&options, setting, value, arena, why);
    }
    try check(&options, why);
    return options;
}

fn set(options: *Options, setting: Setting, value: []const u8, arena: std.mem.Allocator, why: *failure.Failure) failure.Error!void {
    switch (setting) {
        .@"--listen" => options.listen = try place(setting, value, 0, why),
        .@"--admin" => options.admin = try place(setting, value, 0, why),
        .@"--backends" => options.backends = try places(setting, value, arena, why),
        .@"--balance" => options.balance = std.meta.stringToEnum(Balance, value) orelse {
            return why.bad("--balance {f}: not one of round-robin, least-connections, hash", .{failure.quoted(value)});
        },
        .@"--hash-header" => options.hash_header = try headerName(setting, value, why),
        .@"--pool-size" => options.pool_size = try number(u32, setting, value, 0, pool_max, why),
        .@"--max-connections" => options.max_connections = try number(u32, setting, value, 1, count_max, why),
        .@"--connect-timeout" => options.connect_timeout_ns = try duration(setting, value, .positive, why),
        .@"--read-timeout" => options.read_timeout_ns = try duration(setting, value, .positive, why),
        .@"--idle-timeout" => options.idle_timeout_ns = try duration(setting, value, .positive, why),
        .@"--header-timeout" => options.header_timeout_ns = try duration(setting, value, .positive, why),
        .@"--drain-timeout" => options.drain_timeout_ns = try duration(setting, value, .any, why),
        .@"--max-header-bytes" => options.max_header_bytes = try number(u32, setting, value, 1, header_bytes_max, why),
        .@"--max-body-bytes" => options.max_body_bytes = try number(u64, setting, value, 0, std.math.maxInt(u63), why),
        .@"--health-path" => options.health_path = try path(setting, value, why),
        .@"--health-interval" => options.health_interval_ns = try duration(setting, value, .positive, why),
        .@"--health-timeout" => options.health_timeout_ns = try duration(setting, value, .positive, why),
        .@"--rise" => options.rise = try number(u32, setting, value, 1, count_max, why),
        .@"--fall" => options.fall = try number(u32, setting, value, 1, count_max, why),
        .@"--max-fails" => options.max_fails = try number(u32, setting, value, 0, count_max, why),
        .@"--fail-timeout" => options.fail_timeout_ns = try duration(setting, value, .positive, why),
        .@"--retries" => options.retries = try number(u32, setting, value, 0, retries_max, why),
        .@"--threads" => options.threads = try number(u32, setting, value, 1, threads_max, why),
    }
}

/// Looks at what the options must be together.
fn check(options: *const Options, why: *failure.Failure) failure.Error!void {
    if (options.listen == null) return why.bad("--listen is missing (see --help)", .{});
    if (options.backends.len == 0) return why.bad("--backends is missing (see --help)", .{});
    if (options.hash_header.len != 0 and options.balance != .hash) {
        return why.bad("--hash-header {f}: only with --balance hash", .{failure.quoted(options.hash_header)});
    }
}

fn place(setting: Setting, value: []const u8, least_port: u16, why: *failure.Failure) failure.Error!net.Place {
    const parsed = net.Place.parse(value) catch |err| switch (err) {
        error.BadHost => return why.bad("{t} {f}: not HOST:PORT", .{ setting, failure.quoted(value) }),
        error.BadPort => return badPort(setting, value, least_port, why),
    };
    return if (parsed.port < least_port) badPort(setting, value, least_port, why) else parsed;
}

fn badPort(setting: Setting, value: []const u8, least_port: u16, why: *failure.Failure) error{Failed} {
    return why.bad("{t} {f}: the port is not a number from {d} to 65535", .{ setting, failure.quoted(value), least_port });
}

fn places(setting: Setting, value: []const u8, arena: std.mem.Allocator, why: *failure.Failure) failure.Error![]const net.Place {
    var parsed: std.ArrayList(net.Place) = .empty;
    var items = std.mem.splitScalar(u8, value, ',');
    while (items.next()) |item| {
        const backend = try place(setting, item, 1, why);
        if (parsed.items.len == backends_max) return why.bad("{t}: more than {d} backends", .{ setting, backends_max });
        for (parsed.items) |other| if (std.mem.eql(u8, other.text, item)) {
            return why.bad("{t} {f}: given twice", .{ setting, failure.quoted(item) });
        };
        try parsed.append(arena, backend);
    }
    return parsed.items;
}

fn headerName(setting: Setting, value: []const u8, why: *failure.Failure) failure.Error![]const u8 {
    var is_name = value.len != 0;
    for (value) |byte| is_name = is_name and head.isToken(byte);
    return if (is_name) value else why.bad("{t} {f}: not the name of a header", .{ setting, failure.quoted(value) });
}

fn path(setting: Setting, value: []const u8, why: *failure.Failure) failure.Error![]const u8 {
    var is_path = std.mem.startsWith(u8, value, "/");
    for (value) |byte| is_path = is_path and byte > ' ' and byte < 0x7f;
    return if (is_path) value else why.bad("{t} {f}: not a path that starts with /", .{ setting, failure.quoted(value) });
}

/// Reads a plain decimal within bounds.
fn number(comptime Int: type, setting: Setting, value: []const u8, least: Int, most: Int, why: *failure.Failure) failure.Error!Int {
    const parsed = plainNumber(Int, value);
    if (parsed == null or parsed.? < least or parsed.? > most) {
        return why.bad("{t} {f}: not a whole number from {d} to {d}", .{ setting, failure.quoted(value), least, most });
    }
    return parsed.?;
}

fn plainNumber(comptime Int: type, value: []const u8) ?Int {
    for (value) |byte| if (!std.ascii.isDigit(byte)) return null;
    return std.fmt.parseInt(Int, value, 10) catch null;
}

const Zero = enum { positive, any };

/// Reads seconds with an optional fraction into nanoseconds.
fn duration(setting: Setting, value: []const u8, zero: Zero, why: *failure.Failure) failure.Error!u64 {
    const least_ns: u64 = if (zero == .positive) std.time.ns_per_ms else 0;
    const ns = plainDuration(value);
    if (ns == null or ns.? < least_ns or ns.? > seconds_max * std.time.ns_per_s) {
        const least = if (zero == .positive) "0.001" else "0";
        return why.bad("{t} {f}: not a number of seconds from {s} to {d}", .{ setting, failure.quoted(value), least, seconds_max });
    }
    return ns.?;
}

fn plainDuration(value: []const u8) ?u64 {
    if (value.len == 0) return null;
    const whole, const fraction = std.mem.cutScalar(u8, value, '.') orelse .{ value, "0" };
    if (whole.len > 9 or fraction.len == 0) return null;
    const seconds = if (whole.len == 0) 0 else plainNumber(u64, whole) orelse return null;
    var ns: u64 = 0;
    var unit: u64 = std.time.ns_per_s / 10;
    for (fraction) |byte| {
        if (!std.ascii.isDigit(byte)) return null;
        ns += (byte - '0') * unit;
        unit /= 10;
    }
    return seconds * std.time.ns_per_s + ns;
}

test "command lines" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var why: failure.Failure = .{};
    const options = try parse(
        &.{ "--listen=127.0.0.1:0", "--backends", "a:1,[::1]:2", "--balance", "hash", "--hash-header=X-Id", "--idle-timeout", ".25", "--threads=4" },
        arena.allocator(),
        &why,
    );
    try std.testing.expectEqual(2, options.backends.len);
    try std.testing.expectEqualStrings("::1", options.backends[1].host);
    try std.testing.expectEqual(250_000_000, options.idle_timeout_ns);
    try std.testing.expectEqual(4, options.threads);
    for ([_][]const [:0]const u8{
        &.{},                                                      &.{ "--listen", "a:1" },                           &.{ "--listen", "a:1", "--backends", "" },
        &.{ "--listen", "a" },                                     &.{ "--listen", "a:1", "--backends", "b:0" },      &.{ "--listen", "a:1", "--backends", "b:1,b:1" },
        &.{"--listen"},                                            &.{ "--idle-timeout", "0" },                       &.{ "--idle-timeout", "1e3" },
        &.{ "--idle-timeout", "" },                                &.{ "--idle-timeout", "." },                       &.{ "--retries", "x" },
        &.{ "--threads", "0" },                                    &.{ "--hash-header", "a b" },                      &.{ "--health-path", "up" },
        &.{ "--max-header-bytes", "0" },                           &.{ "--listen", "a:1", "--backends", "b:1", "x" }, &.{"--nothing"},
        &.{ "--listen=a:1", "--backends=b:1", "--hash-header=X" }, &.{"--help=x"},
    }) |arguments| {
        try std.testing.expectError(error.Failed, parse(arguments, arena.allocator(), &why));
        try std.testing.expectEqual(failure.ExitCode.bad_request, why.exit_code);
    }
    try std.testing.expect((try parse(&.{"--help"}, arena.allocator(), &why)).help);
}
