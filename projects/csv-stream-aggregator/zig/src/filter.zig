//! One --where: a column, an operator and a literal.

const std = @import("std");
const decimal = @import("decimal.zig");
const failure = @import("failure.zig");
const Decimal = decimal.Decimal;

pub const Operator = enum {
    equal,
    not_equal,
    less,
    less_or_equal,
    greater,
    greater_or_equal,

    /// Whether both sides are numbers.
    pub fn isOrdered(self: Operator) bool {
        return self != .equal and self != .not_equal;
    }
};

pub const Filter = struct {
    column_name: []const u8,
    operator: Operator,
    literal: []const u8,
    number: Decimal = .{ .mantissa = 0, .scale = 0 },

    /// Splits at the first operator character; spaces around the operator do not count.
    pub fn parse(source: []const u8, why: *failure.Failure) failure.Error!Filter {
        const at = std.mem.findAny(u8, source, "=!<>") orelse return noOperator(source, why);
        const operator: Operator, const length: usize = try operatorAt(source, at, why);
        var parsed: Filter = .{
            .column_name = std.mem.trimEnd(u8, source[0..at], " "),
            .operator = operator,
            .literal = std.mem.trimStart(u8, source[at + length ..], " "),
        };
        if (operator.isOrdered()) {
            parsed.number = decimal.parse(parsed.literal) catch |err| return why.bad("--where {f}: {s}: {f}", .{
                failure.quoted(source), describe(err), failure.quoted(parsed.literal),
            });
        }
        return parsed;
    }

    /// Whether a text passes an equality.
    pub fn holdsText(self: *const Filter, text: []const u8) bool {
        return std.mem.eql(u8, text, self.literal) == (self.operator == .equal);
    }

    /// Whether a number passes a comparison.
    pub fn holdsNumber(self: *const Filter, number: Decimal) bool {
        const order = number.order(self.number);
        return switch (self.operator) {
            .less => order == .lt,
            .less_or_equal => order != .gt,
            .greater => order == .gt,
            .greater_or_equal => order != .lt,
            .equal, .not_equal => unreachable,
        };
    }
};

fn operatorAt(source: []const u8, at: usize, why: *failure.Failure) failure.Error!struct { Operator, usize } {
    const with_equals = at + 1 < source.len and source[at + 1] == '=';
    return switch (source[at]) {
        '=' => .{ .equal, 1 },
        '<' => if (with_equals) .{ .less_or_equal, 2 } else .{ .less, 1 },
        '>' => if (with_equals) .{ .greater_or_equal, 2 } else .{ .greater, 1 },
        else => if (with_equals) .{ .not_equal, 2 } else noOperator(source, why),
    };
}

fn noOperator(source: []const u8, why: *failure.Failure) error{Failed} {
    return why.bad("--where {f}: no operator (= != < <= > >=)", .{failure.quoted(source)});
}

/// What is wrong with a number, in words.
pub fn describe(err: decimal.ParseError) []const u8 {
    return switch (err) {
        error.NotANumber => "not a number",
        error.OutOfRange => "number out of range",
    };
}

test "a filter is split at its first operator" {
    var why: failure.Failure = .{};
    const text = try Filter.parse("a b != <>=", &why);
    try std.testing.expectEqualStrings("a b", text.column_name);
    try std.testing.expectEqualStrings("<>=", text.literal);
    const number = try Filter.parse("x>= 1.50", &why);
    try std.testing.expect(number.operator == .greater_or_equal and number.number.mantissa == 150);
    try std.testing.expect(number.holdsNumber(.{ .mantissa = 15, .scale = 1 }));
    for ([_][]const u8{ "x", "x ! 1", "x > big", "x <", "x < 1e30" }) |source| {
        try std.testing.expectError(error.Failed, Filter.parse(source, &why));
    }
}
