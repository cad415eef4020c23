//! The command line, parsed and checked once.

const std = @import("std");
const failure = @import("failure.zig");
const net = @import("net.zig");

const threads_max = 1024;
const in_flight_max = 10_000;
const repeats_max = 1_000_000;
const drain_seconds_max = 86_400;
/// Time-outs do not grow beyond this either.
const timeout_seconds_max = 3;
const ttl_max_s = std.math.maxInt(i32);
const cache_bytes_min = 64 << 10;
const cache_bytes_max = 16 << 30;

pub const Options = struct {
    /// The text of the place to listen at; its address is in `listen_address`.
    listen: []const u8 = "",
    listen_address: ?net.Address = null,
    hints: []const u8 = "",
    /// Empty is server mode.
    bulk: []const u8 = "",
    /// Empty is no output.
    output: []const u8 = "",
    in_flight: u32 = 1000,
    repeats: u32 = 1,
    server_port: u16 = 53,
    bind: []const u8 = "127.0.0.1",
    bind_ip: net.Ip = .of4(.{ 127, 0, 0, 1 }),
    timeout_ms: u64 = 400,
    attempts: u32 = 4,
    cache_bytes: u64 = 64 << 20,
    max_ttl_s: u32 = 86_400,
    min_ttl_s: u32 = 0,
    negative_ttl_max_s: u32 = 3600,
    max_depth: u32 = 16,
    max_queries: u32 = 100,
    edns_bytes: u16 = 1232,
    threads: u32 = 1,
    drain_timeout_ms: u64 = 5000,
    ip4_only: bool = false,
    help: bool = false,
    version: bool = false,

    pub fn reach(self: *const Options) net.Reach {
        return .from(self.bind_ip, self.ip4_only);
    }
};

const Flag = enum { @"--help", @"--version", @"--ipv4-only" };

const Setting = enum {
    @"--listen",
    @"--hints",
    @"--bulk",
    @"--output",
    @"--in-flight",
    @"--repeats",
    @"--port-of-servers",
    @"--bind",
    @"--timeout",
    @"--attempts",
    @"--cache-bytes",
    @"--max-ttl",
    @"--min-ttl",
    @"--negative-ttl-max",
    @"--max-depth",
    @"--max-queries",
    @"--edns-size",
    @"--threads",
    @"--drain-timeout",
};

const bulk_only = [_]Setting{ .@"--output", .@"--in-flight", .@"--repeats" };

/// Reads `--name value` and `--name=value`. What it returns lives in the arguments.
pub fn parse(arguments: []const [:0]const u8, why: *failure.Failure) failure.Error!Options {
    var options: Options = .{};
    var given: std.EnumSet(Setting) = .empty;
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
                .@"--ipv4-only" => options.ip4_only = true,
            }
            if (options.help or options.version) return options;
            continue;
        }
        const setting = std.meta.stringToEnum(Setting, name) orelse return why.bad("unknown option: {f} (see --help)", .{failure.quoted(name)});
        const value = attached orelse blk: {
            if (rest.len == 0) return why.bad("{s} needs a value", .{name});
            defer rest = rest[1..];
            break :blk rest[0];
        };
        given.insert(setting);
        try set(&options, setting, value, why);
    }
    try check(&options, given, why);
    return options;
}

fn set(options: *Options, setting: Setting, value: []const u8, why: *failure.Failure) failure.Error!void {
    switch (setting) {
        .@"--listen" => {
            options.listen = value;
            options.listen_address = net.parsePlace(value) catch |err| return switch (err) {
                error.BadHost => why.bad("--listen {f}: the host is not an IP address", .{failure.quoted(value)}),
                error.BadPort => why.bad("--listen {f}: the port is not a number from 0 to 65535", .{failure.quoted(value)}),
                error.NoPort => why.bad("--listen {f}: not HOST:PORT", .{failure.quoted(value)}),
            };
        },
        .@"--hints" => options.hints = try path(setting, value, why),
        .@"--bulk" => options.bulk = try path(setting, value, why),
        .@"--output" => options.output = try path(setting, value, why),
        .@"--in-flight" => options.in_flight = try number(u32, setting, value, 1, in_flight_max, why),
        .@"--repeats" => options.repeats = try number(u32, setting, value, 1, repeats_max, why),
        .@"--port-of-servers" => options.server_port = try number(u16, setting, value, 1, std.math.maxInt(u16), why),
        .@"--bind" => {
            options.bind = value;
            options.bind_ip = net.Ip.parse(value) orelse return why.bad("--bind {f}: not an IP address", .{failure.quoted(value)});
        },
        .@"--timeout" => options.timeout_ms = try duration(setting, value, 1, timeout_seconds_max, why),
        .@"--attempts" => options.attempts = try number(u32, setting, value, 1, 100, why),
        .@"--cache-bytes" => options.cache_bytes = try size(setting, value, why),
        .@"--max-ttl" => options.max_ttl_s = try number(u32, setting, value, 0, ttl_max_s, why),
        .@"--min-ttl" => options.min_ttl_s = try number(u32, setting, value, 0, ttl_max_s, why),
        .@"--negative-ttl-max" => options.negative_ttl_max_s = try number(u32, setting, value, 0, ttl_max_s, why),
        .@"--max-depth" => options.max_depth = try number(u32, setting, value, 1, 100, why),
        .@"--max-queries" => options.max_queries = try number(u32, setting, value, 1, 10_000, why),
        .@"--edns-size" => options.edns_bytes = try number(u16, setting, value, 512, 4096, why),
        .@"--threads" => options.threads = try number(u32, setting, value, 1, threads_max, why),
        .@"--drain-timeout" => options.drain_timeout_ms = try duration(setting, value, 0, drain_seconds_max, why),
    }
}

/// Looks at what the options must be together.
fn check(options: *Options, given: std.EnumSet(Setting), why: *failure.Failure) failure.Error!void {
    if (options.bulk.len == 0) {
        if (options.listen.len == 0) return why.bad("--listen or --bulk is missing (see --help)", .{});
        for (bulk_only) |setting| if (given.contains(setting)) return why.bad("{t}: only with --bulk", .{setting});
    } else if (options.listen.len != 0) {
        return why.bad("--bulk {f}: not together with --listen", .{failure.quoted(options.bulk)});
    }
    if (options.hints.len == 0) return why.bad("--hints is missing (see --help)", .{});
    if (options.ip4_only and !options.reach().ip4) {
        return why.bad("--bind {f}: not an IPv4 address, and --ipv4-only is given", .{failure.quoted(options.bind)});
    }
    if (options.min_ttl_s > options.max_ttl_s) {
        return why.bad("--min-ttl \"{d}\": more than --max-ttl \"{d}\"", .{ options.min_ttl_s, options.max_ttl_s });
    }
}

fn path(setting: Setting, value: []const u8, why: *failure.Failure) failure.Error![]const u8 {
    return if (value.len != 0) value else why.bad("{t} \"\": not a path", .{setting});
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
    if (value.len == 0) return null;
    for (value) |byte| if (!std.ascii.isDigit(byte)) return null;
    return std.fmt.parseInt(Int, value, 10) catch null;
}

/// Reads bytes; k is 1000, kb is 1024.
fn size(setting: Setting, value: []const u8, why: *failure.Failure) failure.Error!u64 {
    const bytes = plainSize(value);
    if (bytes == null or bytes.? < cache_bytes_min or bytes.? > cache_bytes_max) {
        return why.bad("{t} {f}: not a size from 64kb to 16gb, such as 64mb", .{ setting, failure.quoted(value) });
    }
    return bytes.?;
}

fn plainSize(value: []const u8) ?u64 {
    for ([_]struct { []const u8, u64 }{
        .{ "kb", 1 << 10 },  .{ "mb", 1 << 20 },      .{ "gb", 1 << 30 }, .{ "k", 1000 },
        .{ "m", 1_000_000 }, .{ "g", 1_000_000_000 }, .{ "b", 1 },        .{ "", 1 },
    }) |row| {
        const unit, const bytes_each = row;
        if (!std.ascii.endsWithIgnoreCase(value, unit)) continue;
        const count = plainNumber(u64, value[0 .. value.len - unit.len]) orelse return null;
        return count *| bytes_each;
    }
    return null;
}

/// Reads seconds with an optional fraction into milliseconds.
fn duration(setting: Setting, value: []const u8, least_ms: u64, comptime most_s: u64, why: *failure.Failure) failure.Error!u64 {
    const ms = plainDuration(value);
    if (ms == null or ms.? < least_ms or ms.? > most_s * std.time.ms_per_s) {
        const least = if (least_ms == 0) "0" else "0.001";
        return why.bad("{t} {f}: not a number of seconds from {s} to {d}", .{ setting, failure.quoted(value), least, most_s });
    }
    return ms.?;
}

fn plainDuration(value: []const u8) ?u64 {
    if (value.len == 0) return null;
    const whole, const fraction = std.mem.cutScalar(u8, value, '.') orelse .{ value, "0" };
    if (whole.len > 9 or fraction.len == 0) return null;
    const seconds = if (whole.len == 0) 0 else plainNumber(u64, whole) orelse return null;
    var us: u64 = 0;
    var unit: u64 = std.time.us_per_s / 10;
    for (fraction) |byte| {
        if (!std.ascii.isDigit(byte)) return null;
        us += (byte - '0') * unit;
        unit /= 10;
    }
    return seconds * std.time.ms_per_s + us / std.time.us_per_ms;
}

test "command lines" {
    var why: failure.Failure = .{};
    const server = try parse(&.{ "--listen=127.0.0.1:0", "--hints", "h", "--timeout", ".25", "--cache-bytes=1mb", "--ipv4-only", "--threads=4" }, &why);
    try std.testing.expectEqual(0, server.listen_address.?.port());
    try std.testing.expectEqual(250, server.timeout_ms);
    try std.testing.expectEqual(1 << 20, server.cache_bytes);
    try std.testing.expectEqual(4, server.threads);
    const bulk = try parse(&.{ "--hints=h", "--bulk=-", "--output", "-", "--repeats", "3" }, &why);
    try std.testing.expectEqualStrings("-", bulk.bulk);
    try std.testing.expectEqual(3, bulk.repeats);
    for ([_][]const [:0]const u8{
        &.{},                                                       &.{ "--listen", "127.0.0.1:1" },                             &.{ "--hints", "h" },
        &.{ "--listen", "a:1", "--hints", "h" },                    &.{"--listen"},                                              &.{ "--listen=[::1]:1", "--hints=h", "--bulk=q" },
        &.{ "--listen=[::1]:1", "--hints=h", "--output=x" },        &.{ "--timeout", "0" },                                      &.{ "--timeout", "1e3" },
        &.{ "--cache-bytes", "1" },                                 &.{ "--cache-bytes", "mb" },                                 &.{ "--cache-bytes", "1tb" },
        &.{ "--edns-size", "511" },                                 &.{ "--bind", "localhost" },                                 &.{ "--port-of-servers", "0" },
        &.{ "--attempts", "" },                                     &.{ "--hints=h", "--bulk=q", "--min-ttl=9", "--max-ttl=8" }, &.{"--nothing"},
        &.{ "--hints=h", "--bulk=q", "--bind=::1", "--ipv4-only" }, &.{"--help=x"},                                              &.{ "--hints", "" },
        &.{ "--in-flight", "10001" },                               &.{"x"},
    }) |arguments| {
        try std.testing.expectError(error.Failed, parse(arguments, &why));
        try std.testing.expectEqual(failure.ExitCode.bad_request, why.exit_code);
    }
    try std.testing.expect((try parse(&.{"--help"}, &why)).help);
}
