//! The command line, parsed and checked once.

const std = @import("std");
const failure = @import("failure.zig");
const IpAddress = std.Io.net.IpAddress;

const threads_max = 64;
const connections_max = 100_000;
const seconds_max = 86_400;

pub const Options = struct {
    listen: IpAddress = .{ .ip4 = .loopback(0) },
    /// As it was given.
    listen_text: []const u8 = "",
    threads: u32 = 1,
    max_connections: u32 = 10_000,
    idle_timeout_s: u32 = 60,
    drain_timeout_s: u32 = 5,
    help: bool = false,
    version: bool = false,
};

const Flag = enum { @"--help", @"--version" };
const Setting = enum { @"--listen", @"--threads", @"--max-connections", @"--idle-timeout", @"--drain-timeout" };

/// Reads `--name value` and `--name=value`. What it returns lives in the arguments.
pub fn parse(arguments: []const [:0]const u8, why: *failure.Failure) failure.Error!Options {
    var options: Options = .{};
    var is_given = false;
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
        is_given = is_given or setting == .@"--listen";
        try set(&options, setting, value, why);
    }
    if (!is_given) return why.bad("--listen is missing (see --help)", .{});
    return options;
}

fn set(options: *Options, setting: Setting, value: []const u8, why: *failure.Failure) failure.Error!void {
    switch (setting) {
        .@"--listen" => {
            options.listen_text = value;
            options.listen = address(value) orelse
                return why.bad("--listen {f}: not HOST:PORT with a numeric host", .{failure.quoted(value)});
        },
        .@"--threads" => options.threads = try number(setting, value, 1, threads_max, why),
        .@"--max-connections" => options.max_connections = try number(setting, value, 1, connections_max, why),
        .@"--idle-timeout" => options.idle_timeout_s = try number(setting, value, 1, seconds_max, why),
        .@"--drain-timeout" => options.drain_timeout_s = try number(setting, value, 0, seconds_max, why),
    }
}

/// Reads a numeric host, in brackets if it is of IPv6, or localhost; and a port.
fn address(text: []const u8) ?IpAddress {
    const host, const port_text = std.mem.cutScalarLast(u8, text, ':') orelse return null;
    for (port_text) |byte| if (!std.ascii.isDigit(byte)) return null;
    const port = std.fmt.parseInt(u16, port_text, 10) catch return null;
    if (std.mem.eql(u8, host, "localhost")) return .{ .ip4 = .loopback(port) };
    if (std.mem.cutPrefix(u8, host, "[")) |rest| {
        const inner = std.mem.cutSuffix(u8, rest, "]") orelse return null;
        return IpAddress.parseIp6(inner, port) catch null;
    }
    return IpAddress.parseIp4(host, port) catch null;
}

/// Reads a plain decimal from `least` to `most`.
fn number(setting: Setting, value: []const u8, least: u32, most: u32, why: *failure.Failure) failure.Error!u32 {
    const has_only_digits = for (value) |byte| {
        if (!std.ascii.isDigit(byte)) break false;
    } else true;
    if (has_only_digits) {
        if (std.fmt.parseInt(u32, value, 10)) |parsed| {
            if (parsed >= least and parsed <= most) return parsed;
        } else |_| {}
    }
    return why.bad("{s} {f}: not a whole number from {d} to {d}", .{ @tagName(setting), failure.quoted(value), least, most });
}

test "both ways to give a value" {
    var why: failure.Failure = .{};
    const options = try parse(&.{ "--listen=localhost:80", "--threads", "3", "--drain-timeout=0" }, &why);
    try std.testing.expectEqual(IpAddress{ .ip4 = .loopback(80) }, options.listen);
    try std.testing.expectEqual(3, options.threads);
    try std.testing.expectEqual(0, options.drain_timeout_s);
    try std.testing.expectEqual(60, options.idle_timeout_s);
}

test "bad usage is refused" {
    const Bad = struct { []const [:0]const u8, []const u8 };
    for ([_]Bad{
        .{ &.{}, "--listen is missing" },
        .{ &.{"--listen"}, "--listen needs a value" },
        .{ &.{"--listen="}, "--listen \"\": not HOST:PORT" },
        .{ &.{ "--listen", "nowhere" }, "--listen \"nowhere\"" },
        .{ &.{ "--listen", ":80" }, "--listen \":80\"" },
        .{ &.{ "--listen", "127.0.0.1:65536" }, "65536" },
        .{ &.{ "--listen", "[::1:80" }, "[::1:80" },
        .{ &.{"--nonsense"}, "unknown option: \"--nonsense\"" },
        .{ &.{"--version=1"}, "takes no value" },
        .{ &.{ "--threads", "0" }, "from 1 to 64" },
        .{ &.{ "--threads", "x" }, "--threads \"x\"" },
        .{ &.{ "--max-connections", "100001" }, "from 1 to 100000" },
        .{ &.{ "--idle-timeout", "0" }, "from 1 to 86400" },
        .{ &.{ "--drain-timeout", "-1" }, "--drain-timeout \"-1\"" },
        .{ &.{ "--drain-timeout", "99999999999" }, "from 0 to 86400" },
    }) |case| {
        var why: failure.Failure = .{};
        try std.testing.expectError(error.Failed, parse(case[0], &why));
        try std.testing.expect(std.mem.find(u8, why.text(), case[1]) != null);
    }
}
