//! The command line, parsed and checked once.

const std = @import("std");
const failure = @import("failure.zig");

const repeats_max = 1_000_000_000;
const top_max = 1_000_000;

pub const Options = struct {
    input_path: []const u8 = "",
    top: usize = 20,
    /// Empty: the answer is only digested.
    output_path: []const u8 = "",
    repeats: u64 = 1,
    help: bool = false,
    version: bool = false,
};

const Flag = enum { @"--help", @"--version" };
const Setting = enum { @"--input", @"--output", @"--top", @"--repeats" };

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
    if (options.input_path.len == 0) return why.bad("--input is missing (see --help)", .{});
    return options;
}

fn set(options: *Options, setting: Setting, value: []const u8, why: *failure.Failure) failure.Error!void {
    switch (setting) {
        .@"--input" => options.input_path = try notEmpty(setting, value, why),
        .@"--output" => options.output_path = try notEmpty(setting, value, why),
        .@"--top" => options.top = try number(setting, value, top_max, why),
        .@"--repeats" => options.repeats = try number(setting, value, repeats_max, why),
    }
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
    const options = try parse(&.{ "--input=a=b", "--top", "3", "--repeats=2" }, &why);
    try std.testing.expectEqualStrings("a=b", options.input_path);
    try std.testing.expectEqual(3, options.top);
    try std.testing.expectEqual(2, options.repeats);
}

test "bad usage is refused" {
    const Bad = struct { []const [:0]const u8, []const u8 };
    for ([_]Bad{
        .{ &.{}, "--input is missing" },
        .{ &.{"--input"}, "--input needs a value" },
        .{ &.{"--input="}, "--input needs a value" },
        .{ &.{ "--input", "f", "--output=" }, "--output needs a value" },
        .{ &.{"--nonsense"}, "unknown option: \"--nonsense\"" },
        .{ &.{"f"}, "unknown option: \"f\"" },
        .{ &.{"--version=1"}, "takes no value" },
        .{ &.{ "--top", "0" }, "not a whole number" },
        .{ &.{ "--top", "x" }, "--top \"x\"" },
        .{ &.{ "--top", "1000001" }, "from 1 to 1000000" },
        .{ &.{ "--repeats", "+1" }, "not a whole number" },
        .{ &.{ "--repeats", "1000000001" }, "not a whole number" },
        .{ &.{ "--repeats", "99999999999999999999" }, "not a whole number" },
    }) |case| {
        var why: failure.Failure = .{};
        try std.testing.expectError(error.Failed, parse(case[0], &why));
        try std.testing.expect(std.mem.find(u8, why.text(), case[1]) != null);
    }
}
