//! The command line, parsed and checked once.

const std = @import("std");
const failure = @import("failure.zig");
const Compression = @import("input.zig").Compression;
const Filter = @import("filter.zig").Filter;

pub const Function = enum { count_rows, count, sum, min, max, mean };

pub const Aggregate = struct {
    function: Function,
    column_name: []const u8 = "",
};

pub const Format = enum { csv, json };
pub const ErrorPolicy = enum { fail, skip };

const repeats_max = 1_000_000_000;
const groups_max = 100_000_000;
const record_bytes_max = 256 << 20;

pub const Options = struct {
    input_path: []const u8 = "",
    group_by: []const []const u8 = &.{},
    aggregates: []const Aggregate = &.{},
    filters: std.ArrayList(Filter) = .empty,
    delimiter: u8 = ',',
    no_header: bool = false,
    on_error: ErrorPolicy = .fail,
    compression: Compression = .auto,
    max_groups: usize = 1_000_000,
    max_record_bytes: usize = 1 << 20,
    format: Format = .csv,
    output_path: []const u8 = "",
    repeats: u64 = 1,
    help: bool = false,
    version: bool = false,
};

const Flag = enum { @"--help", @"--version", @"--no-header" };

const Setting = enum {
    @"--input",
    @"--output",
    @"--group-by",
    @"--agg",
    @"--where",
    @"--delimiter",
    @"--on-error",
    @"--compression",
    @"--format",
    @"--max-groups",
    @"--max-record-bytes",
    @"--repeats",
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
                .@"--no-header" => options.no_header = true,
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
        try set(&options, setting, value, arena, why);
    }
    try check(&options, why);
    return options;
}

fn set(options: *Options, setting: Setting, value: []const u8, arena: std.mem.Allocator, why: *failure.Failure) failure.Error!void {
    switch (setting) {
        .@"--input" => options.input_path = try notEmpty(setting, value, why),
        .@"--output" => options.output_path = try notEmpty(setting, value, why),
        .@"--group-by" => options.group_by = try split(value, arena),
        .@"--agg" => options.aggregates = try parseAggregates(value, arena, why),
        .@"--where" => try options.filters.append(arena, try Filter.parse(value, why)),
        .@"--delimiter" => options.delimiter = try parseDelimiter(value, why),
        .@"--on-error" => options.on_error = try oneOf(ErrorPolicy, setting, value, why),
        .@"--compression" => options.compression = try oneOf(Compression, setting, value, why),
        .@"--format" => options.format = try oneOf(Format, setting, value, why),
        .@"--max-groups" => options.max_groups = try number(setting, value, groups_max, why),
        .@"--max-record-bytes" => options.max_record_bytes = try number(setting, value, record_bytes_max, why),
        .@"--repeats" => options.repeats = try number(setting, value, repeats_max, why),
    }
}

/// Looks at what the options must be together.
fn check(options: *const Options, why: *failure.Failure) failure.Error!void {
    if (options.input_path.len == 0) return why.bad("--input is missing (see --help)", .{});
    if (options.aggregates.len == 0) return why.bad("--agg is missing (see --help)", .{});
    if (std.mem.eql(u8, options.input_path, "-") and options.repeats > 1) {
        return why.bad("--input -: standard input cannot be read {d} times (--repeats)", .{options.repeats});
    }
}

fn split(value: []const u8, arena: std.mem.Allocator) error{OutOfMemory}![]const []const u8 {
    var parts: std.ArrayList([]const u8) = .empty;
    var items = std.mem.splitScalar(u8, value, ',');
    while (items.next()) |item| try parts.append(arena, item);
    return parts.items;
}

fn parseAggregates(value: []const u8, arena: std.mem.Allocator, why: *failure.Failure) failure.Error![]const Aggregate {
    var parsed: std.ArrayList(Aggregate) = .empty;
    for (try split(value, arena)) |item| try parsed.append(arena, try parseAggregate(item, why));
    return parsed.items;
}

/// Reads `count` or `function:column`.
fn parseAggregate(item: []const u8, why: *failure.Failure) failure.Error!Aggregate {
    const name, const column_name: ?[]const u8 = if (std.mem.cutScalar(u8, item, ':')) |parts| .{ parts[0], parts[1] } else .{ item, null };
    const function = std.meta.stringToEnum(Function, name);
    if (function == null or function == .count_rows) {
        return why.bad("--agg {f}: unknown function (count sum min max mean)", .{failure.quoted(item)});
    }
    if (column_name) |column| {
        if (column.len == 0) return why.bad("--agg {f}: without a column", .{failure.quoted(item)});
        return .{ .function = function.?, .column_name = column };
    }
    if (function != .count) return why.bad("--agg {f}: needs a column, as in {s}:COL", .{ failure.quoted(item), name });
    return .{ .function = .count_rows };
}

fn parseDelimiter(value: []const u8, why: *failure.Failure) failure.Error!u8 {
    const text = if (std.mem.eql(u8, value, "\\t")) "\t" else value;
    if (text.len != 1 or text[0] >= 0x80 or std.mem.findScalar(u8, "\"\r\n", text[0]) != null) {
        return why.bad("--delimiter {f}: not one ASCII byte other than quote, CR and LF", .{failure.quoted(value)});
    }
    return text[0];
}

fn notEmpty(setting: Setting, value: []const u8, why: *failure.Failure) failure.Error![]const u8 {
    if (value.len == 0) return why.bad("{s} needs a value", .{@tagName(setting)});
    return value;
}

fn oneOf(comptime Choice: type, setting: Setting, value: []const u8, why: *failure.Failure) failure.Error!Choice {
    return std.meta.stringToEnum(Choice, value) orelse why.bad("{s} {f}: not one of {s}", .{
        @tagName(setting), failure.quoted(value), comptime names(Choice),
    });
}

fn names(comptime Choice: type) []const u8 {
    var text: []const u8 = "";
    for (std.enums.values(Choice)) |choice| text = text ++ (if (text.len == 0) "" else ", ") ++ @tagName(choice);
    return text;
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

test "command lines" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var why: failure.Failure = .{};
    const options = try parse(&.{ "--input=x", "--agg", "count,sum:a:b", "--delimiter", "\\t", "--no-header", "--repeats=3" }, arena.allocator(), &why);
    try std.testing.expectEqual('\t', options.delimiter);
    try std.testing.expectEqualStrings("a:b", options.aggregates[1].column_name);
    try std.testing.expectEqual(3, options.repeats);
    for ([_][]const [:0]const u8{
        &.{},                                                     &.{ "--input", "x" },                                        &.{ "--input", "x", "--agg", "sum" },
        &.{ "--input", "x", "--agg", "count_rows" },              &.{ "--input", "x", "--agg", "count", "--repeats", "0" },    &.{"--agg"},
        &.{ "--input", "-", "--agg", "count", "--repeats", "2" }, &.{ "--input", "x", "--agg", "count", "--delimiter", "ab" }, &.{"x"},
    }) |arguments| {
        try std.testing.expectError(error.Failed, parse(arguments, arena.allocator(), &why));
    }
}
