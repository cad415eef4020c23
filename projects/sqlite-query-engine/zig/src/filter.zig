//! The WHERE clause as a list of terms. The usual ones, a column against a constant, are tested on the
//! bytes of the record; whatever is left is evaluated as an expression.

const std = @import("std");
const eval = @import("eval.zig");
const planner = @import("planner.zig");
const record = @import("record.zig");
const value_zig = @import("value.zig");
const compile = @import("compile.zig");
const Pattern = @import("like.zig").Pattern;
const Error = @import("diag.zig").Error;
const Node = eval.Node;
const Value = value_zig.Value;

/// Numbers within closed bounds, the bounds kept for both number types: `x > 80` is `x >= 81` for an
/// integer and `x >= the next real after 80` for a real.
pub const NumberRange = struct {
    int_low: i64 = value_zig.int_min,
    int_high: i64 = value_zig.int_max,
    real_low: f64 = -std.math.inf(f64),
    real_high: f64 = std.math.inf(f64),
    /// Text and blobs come after all numbers.
    others: bool = true,

    fn of(op: eval.CompareOp, limit: Value) ?NumberRange {
        const inclusive = op == .ge or op == .le or op == .eq;
        var range: NumberRange = .{};
        if (op == .gt or op == .ge or op == .eq) {
            if (planner.lowestInt(limit, inclusive)) |x| {
                range.int_low = x;
            } else {
                range.int_low = 1;
                range.int_high = 0;
            }
            range.real_low = realBound(limit, inclusive, .gt);
        }
        if (op == .lt or op == .le or op == .eq) {
            if (planner.highestInt(limit, inclusive)) |x| {
                if (range.int_low <= x) range.int_high = x else range.int_high = range.int_low -| 1;
            } else {
                range.int_low = 1;
                range.int_high = 0;
            }
            range.real_high = realBound(limit, inclusive, .lt);
            range.others = false;
        }
        return range;
    }

    /// The first real on the wanted side of the limit.
    fn realBound(limit: Value, inclusive: bool, side: std.math.Order) f64 {
        const direction: f64 = if (side == .gt) std.math.inf(f64) else -std.math.inf(f64);
        const x: f64 = value_zig.toReal(limit);
        const order = value_zig.compare(.{ .real = x }, limit, .binary);
        if (order == side or (order == .eq and inclusive)) return x;
        // Nothing lies beyond infinity, and a NaN bound lets nothing through.
        if (x == direction) return std.math.nan(f64);
        return std.math.nextAfter(f64, x, direction);
    }

    inline fn holdsInt(self: *const NumberRange, x: i64) bool {
        return x >= self.int_low and x <= self.int_high;
    }

    /// False for a NaN, which stands for NULL.
    inline fn holdsReal(self: *const NumberRange, x: f64) bool {
        return x >= self.real_low and x <= self.real_high;
    }
};

const NumberTerm = struct { field: u32, default: Value, range: NumberRange, numeric_column: bool, node: *const Node };
const TextTerm = struct { field: u32, op: eval.CompareOp, text: []const u8, node: *const Node };
const PatternTerm = struct { field: u32, pattern: Pattern, negated: bool, node: *const Node };
const NotNullTerm = struct { field: u32, node: *const Node };

pub const Term = union(enum) {
    number: NumberTerm,
    text: TextTerm,
    pattern: PatternTerm,
    not_null: NotNullTerm,
    general: *const Node,

    pub fn from(node: *const Node) Term {
        switch (node.*) {
            .compare => |*op| {
                if (op.null_safe or op.op == .ne) return .{ .general = node };
                const flipped = op.left.* == .constant;
                const column_node = if (flipped) op.right else op.left;
                const constant_node = if (flipped) op.left else op.right;
                if (column_node.* != .column or constant_node.* != .constant) return .{ .general = node };
                const ref = column_node.column;
                if (ref.source != .field) return .{ .general = node };
                const direction = if (flipped) op.op.swapped() else op.op;
                return fromCompare(node, op, ref, direction, constant_node.constant);
            },
            .pattern => |*op| {
                if (op.text.* == .column and op.prepared != null and op.text.column.source == .field) {
                    return .{ .pattern = .{ .field = op.text.column.field, .pattern = op.prepared.?, .negated = op.negated, .node = node } };
                }
            },
            .is_null => |op| if (op.negated and op.operand.* == .column and op.operand.column.source == .field) {
                return .{ .not_null = .{ .field = op.operand.column.field, .node = node } };
            },
            else => {},
        }
        return .{ .general = node };
    }

    fn fromCompare(node: *const Node, op: *const eval.Compare, ref: *const eval.ColumnRef, direction: eval.CompareOp, constant: Value) Term {
        const numeric = compile.Binder.isNumeric(op.affinity);
        const limit = if (numeric) value_zig.applyNumeric(constant) else constant;
        switch (limit) {
            // With TEXT affinity a number is compared as text.
            .int, .real => if (op.affinity != .text) {
                const range = NumberRange.of(direction, limit) orelse return .{ .general = node };
                return .{ .number = .{ .field = ref.field, .default = ref.default, .range = range, .numeric_column = numeric, .node = node } };
            },
            .text => |text| if (op.collation == .binary and !numeric) {
                return .{ .text = .{ .field = ref.field, .op = direction, .text = text, .node = node } };
            },
            else => {},
        }
        return .{ .general = node };
    }

    pub inline fn passes(self: *const Term, evaluator: *eval.Evaluator) Error!bool {
        switch (self.*) {
            .number => |*term| {
                const field = try evaluator.row.field(term.field);
                switch (field.serial) {
                    0 => return false,
                    1, 2, 3, 4, 5, 6, 8, 9 => return term.range.holdsInt(record.decodeInt(field.serial, field.bytes)),
                    7 => return term.range.holdsReal(record.decodeReal(field.bytes)),
                    else => {
                        // Text that looks like a number, or a default, takes the long way.
                        if (field.serial == record.missing or term.numeric_column) return passesGeneral(term.node, evaluator);
                        return term.range.others;
                    },
                }
            },
            .text => |*term| {
                const field = try evaluator.row.field(term.field);
                if (field.serial < 13 or field.serial & 1 == 0 or field.serial == record.missing) return passesGeneral(term.node, evaluator);
                const text = field.bytes[0..record.serialBytes(field.serial)];
                if (term.op == .eq) return std.mem.eql(u8, text, term.text);
                return term.op.holds(value_zig.compareBytes(text, term.text));
            },
            .pattern => |*term| {
                const field = try evaluator.row.field(term.field);
                if (field.serial < 13 or field.serial & 1 == 0 or field.serial == record.missing) return passesGeneral(term.node, evaluator);
                const text = field.bytes[0..record.serialBytes(field.serial)];
                return term.pattern.matches(text) != term.negated;
            },
            .not_null => |*term| {
                const field = try evaluator.row.field(term.field);
                if (field.serial == 7 or field.serial == record.missing) return passesGeneral(term.node, evaluator);
                return field.serial != 0;
            },
            .general => |node| return passesGeneral(node, evaluator),
        }
    }

    /// The verdict on a plain payload (see record.plainField); null when the row must be looked at in full.
    pub inline fn judge(self: *const Term, payload: []const u8) ?bool {
        switch (self.*) {
            .number => |*term| {
                const field = record.plainField(payload, term.field) orelse return null;
                return switch (field.serial) {
                    0 => false,
                    1, 2, 3, 4, 5, 6, 8, 9 => term.range.holdsInt(record.decodeInt(field.serial, field.bytes)),
                    7 => term.range.holdsReal(record.decodeReal(field.bytes)),
                    else => if (term.numeric_column) null else term.range.others,
                };
            },
            .text => |*term| {
                const field = record.plainField(payload, term.field) orelse return null;
                if (field.serial == 0) return false;
                if (field.serial < 13 or field.serial & 1 == 0) return null;
                const text = field.bytes[0..record.short_sizes[field.serial]];
                if (term.op == .eq) return std.mem.eql(u8, text, term.text);
                return term.op.holds(value_zig.compareBytes(text, term.text));
            },
            .pattern => |*term| {
                const field = record.plainField(payload, term.field) orelse return null;
                if (field.serial == 0) return false;
                if (field.serial < 13 or field.serial & 1 == 0) return null;
                return term.pattern.matches(field.bytes[0..record.short_sizes[field.serial]]) != term.negated;
            },
            .not_null => |*term| {
                const field = record.plainField(payload, term.field) orelse return null;
                // A NaN stands for NULL.
                return if (field.serial == 7) null else field.serial != 0;
            },
            .general => return null,
        }
    }

    noinline fn passesGeneral(node: *const Node, evaluator: *eval.Evaluator) Error!bool {
        return try evaluator.isTrue(node) orelse false;
    }
};

test NumberRange {
    const cases = [_]struct { eval.CompareOp, Value, Value, bool }{
        .{ .gt, .{ .int = 80 }, .{ .int = 80 }, false },
        .{ .gt, .{ .int = 80 }, .{ .real = 80.00000000000001 }, true },
        .{ .gt, .{ .int = 80 }, .{ .real = 80.0 }, false },
        .{ .ge, .{ .real = 80.5 }, .{ .int = 80 }, false },
        .{ .ge, .{ .real = 80.5 }, .{ .int = 81 }, true },
        .{ .eq, .{ .real = 80.5 }, .{ .int = 80 }, false },
        .{ .eq, .{ .real = 80.5 }, .{ .real = 80.5 }, true },
        .{ .eq, .{ .int = value_zig.int_max }, .{ .int = value_zig.int_max }, true },
        .{ .eq, .{ .int = value_zig.int_max }, .{ .real = 9223372036854775808.0 }, false },
        .{ .lt, .{ .int = value_zig.int_max }, .{ .real = 9223372036854774784.0 }, true },
        .{ .gt, .{ .int = value_zig.int_max }, .{ .int = value_zig.int_max }, false },
        .{ .gt, .{ .real = 1e300 }, .{ .int = value_zig.int_max }, false },
        .{ .lt, .{ .real = 1e300 }, .{ .int = value_zig.int_max }, true },
        .{ .lt, .{ .real = -1e300 }, .{ .int = value_zig.int_min }, false },
        .{ .eq, .{ .real = 1e300 }, .{ .real = 1e300 }, true },
        .{ .gt, .{ .real = std.math.inf(f64) }, .{ .real = std.math.inf(f64) }, false },
        .{ .ge, .{ .real = std.math.inf(f64) }, .{ .real = std.math.inf(f64) }, true },
    };
    for (cases) |case| {
        const range = NumberRange.of(case[0], case[1]).?;
        const found = if (case[2] == .int) range.holdsInt(case[2].int) else range.holdsReal(case[2].real);
        try std.testing.expectEqual(case[3], found);
    }
}
