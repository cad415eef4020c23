//! The command line, parsed and checked once.

const std = @import("std");
const failure = @import("failure.zig");
const IpAddress = std.Io.net.IpAddress;

const repeats_max = 1_000_000_000;
/// So many requests always fit into the buffers of a socket.
const pipeline_max = 64;

pub const Options = struct {
    server: IpAddress = .{ .ip4 = .loopback(0) },
    /// As it was given.
    server_text: []const u8 = "",
    keys_path: []const u8 = "",
    pipeline: usize = 1,
    /// Empty: the answer is only digested.
    output_path: []const u8 = "",
    repeats: u64 = 1,
    help: bool = false,
    version: bool = false,
};

const Flag = enum { @"--help", @"--version" };
const Setting = enum { @"--server", @"--keys", @"--pipeline", @"--output", @"--repeats" };

/// Reads `--name value` and `--name=value`. What it returns lives in the arguments.
pub fn parse(arguments: []const [:0]const u8, why: *failure.Failure) failure.Error!Options {
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
        try set(&options, setting, value, why);
    }
    if (options.server_text.len == 0) return why.bad("--server is missing (see --help)", .{});
    if (options.keys_path.len == 0) return why.bad("--keys is missing (see --help)", .{});
    return options;
}

fn set(options: *Options, setting: Setting, value: []const u8, why: *failure.Failure) failure.Error!void {
    switch (setting) {
        .@"--server" => {
            options.server = address(value) orelse
                return why.bad("--server {f}: not HOST:PORT with a numeric host", .{failure.quoted(value)});
            options.server_text = value;
        },
        .@"--keys" => options.keys_path = try notEmpty(setting, value, why),
        .@"--output" => options.output_path = try notEmpty(setting, value, why),
        .@"--pipeline" => options.pipeline = try number(setting, value, pipeline_max, why),
        .@"--repeats" => options.repeats = try number(setting, value, repeats_max, why),
    }
}

/// Reads a numeric host, in brackets if it is of IPv6, and a port.
fn address(text: []const u8) ?IpAddress {
    const host, const port_text = std.mem.cutScalarLast(u8, text, ':') orelse return null;
    for (port_text) |byte| if (!std.ascii.isDigit(byte)) return null;
    const port = std.fmt.parseInt(u16, port_text, 10) catch return null;
    if (port == 0) return null;
    if (std.mem.cutPrefix(u8, host, "[")) |rest| {
        const inner = std.mem.cutSuffix(u8, rest, "]") orelse return null;
        return IpAddress.parseIp6(inner, port) catch null;
    }
    return IpAddress.parseIp4(host, port) catch null;
}

fn notEmpty(setting: Setting, value: []const u8, why: *failure.Failure) failure.Error![]const u8 {
    if (value.len == 0) return why.bad("{s} needs a value", .{@tagName(setting)});
    return value;
}

/// Reads a plain decimal from 1 to `most`.
fn number(setting: Setting, value: []const u8, most: u64, why: *failure.Failure) failure.Error!u64 {
    for (value) |byte| if (byte < '0' or byte > '9') return notWhole(setting, value, most, why);
    const parsed = std.fmt.parseInt(u64, value, 10) catch return notWhole(setting, value, most, why);
    return if (parsed < 1 or parsed > most) notWhole(setting, value, most, why) else parsed;
}

fn notWhole(setting: Setting, value: []const u8, most: u64, why: *failure.Failure) error{Failed} {
    return why.bad("{s} {f}: not a whole number from 1 to {d}", .{ @tagName(setting), failure.quoted(value), most });
}

test "both ways to give a value" {
    var why: failure.Failure = .{};
    const options = try parse(&.{ "--server=127.0.0.1:80", "--keys", "a=b", "--pipeline=3", "--repeats", "2" }, &why);
    try std.testing.expectEqual(80, options.server.ip4.port);
    try std.testing.expectEqualStrings("a=b", options.keys_path);
    try std.testing.expectEqual(3, options.pipeline);
    try std.testing.expectEqual(2, options.repeats);
}

test "bad usage is refused" {
    const Bad = struct { []const [:0]const u8, []const u8 };
    for ([_]Bad{
        .{ &.{}, "--server is missing" },
        .{ &.{"--server"}, "--server needs a value" },
        .{ &.{ "--server", "nowhere" }, "--server \"nowhere\"" },
        .{ &.{ "--server", "127.0.0.1:0" }, "127.0.0.1:0" },
        .{ &.{ "--server", "127.0.0.1:65536" }, "65536" },
        .{ &.{ "--server", "127.0.0.1:1" }, "--keys is missing" },
        .{ &.{"--keys="}, "--keys needs a value" },
        .{ &.{"--output="}, "--output needs a value" },
        .{ &.{"--nonsense"}, "unknown option: \"--nonsense\"" },
        .{ &.{"--version=1"}, "takes no value" },
        .{ &.{ "--pipeline", "0" }, "from 1 to 64" },
        .{ &.{ "--pipeline", "65" }, "--pipeline \"65\"" },
        .{ &.{ "--repeats", "x" }, "--repeats \"x\"" },
    }) |case| {
        var why: failure.Failure = .{};
        try std.testing.expectError(error.Failed, parse(case[0], &why));
        try std.testing.expect(std.mem.find(u8, why.text(), case[1]) != null);
    }
}
