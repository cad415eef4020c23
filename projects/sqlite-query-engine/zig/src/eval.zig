//! Bound expressions and their evaluation against the current row.

const std = @import("std");
const ast = @import("ast.zig");
const value_zig = @import("value.zig");
const functions = @import("functions.zig");
const record = @import("record.zig");
const Pattern = @import("like.zig").Pattern;
const like = @import("like.zig");
const Diag = @import("diag.zig").Diag;
const Error = @import("diag.zig").Error;
const Value = value_zig.Value;
const Affinity = value_zig.Affinity;
const Collation = value_zig.Collation;

/// A column of the table; where it lies in the record is known once the access path is chosen.
pub const ColumnRef = struct {
    /// Position in the table, or `rowid`.
    column: u32,
    /// The name in messages and headers.
    name: []const u8,
    affinity: Affinity,
    collation: Collation,
    /// The value of rows that were written before the column was added.
    default: Value = .null,
    source: enum { field, rowid } = .field,
    field: u32 = 0,

    pub const rowid: u32 = std.math.maxInt(u32);
};

pub const CompareOp = enum {
    lt,
    le,
    gt,
    ge,
    eq,
    ne,

    pub inline fn holds(self: CompareOp, order: std.math.Order) bool {
        return switch (self) {
            .lt => order == .lt,
            .le => order != .gt,
            .gt => order == .gt,
            .ge => order != .lt,
            .eq => order == .eq,
            .ne => order != .eq,
        };
    }

    pub fn swapped(self: CompareOp) CompareOp {
        return switch (self) {
            .lt => .gt,
            .le => .ge,
            .gt => .lt,
            .ge => .le,
            else => self,
        };
    }
};

pub const Compare = struct {
    op: CompareOp,
    left: *const Node,
    right: *const Node,
    affinity: Affinity,
    collation: Collation,
    /// IS and IS NOT: NULL is a value like any other.
    null_safe: bool,
};

pub const Pair = struct { left: *const Node, right: *const Node };

pub const In = struct {
    operand: *const Node,
    list: []const *const Node,
    /// Sorted, converted and without NULLs when every element is constant.
    constants: ?[]const Value,
    has_null: bool,
    affinity: Affinity,
    collation: Collation,
    negated: bool,
};

pub const PatternMatch = struct {
    kind: ast.PatternKind,
    text: *const Node,
    pattern: *const Node,
    escape: ?*const Node,
    /// Prepared when the pattern is constant.
    prepared: ?Pattern,
    negated: bool,
};

pub const When = struct { condition: *const Node, result: *const Node };

pub const BitOp = enum { bit_and, bit_or, shift_left, shift_right };

pub const Node = union(enum) {
    constant: Value,
    column: *const ColumnRef,
    /// The finished value of an aggregate.
    aggregate: u32,
    arithmetic: struct { op: value_zig.ArithmeticOp, left: *const Node, right: *const Node },
    bits: struct { op: BitOp, left: *const Node, right: *const Node },
    concat: Pair,
    negate: *const Node,
    bit_not: *const Node,
    not: *const Node,
    compare: Compare,
    @"and": Pair,
    @"or": Pair,
    in: In,
    pattern: PatternMatch,
    is_null: struct { operand: *const Node, negated: bool },
    /// x IS TRUE and its kin.
    is_truth: struct { operand: *const Node, wanted: bool, negated: bool },
    case: struct { whens: []const When, otherwise: ?*const Node },
    cast: struct { operand: *const Node, affinity: Affinity },
    /// `+x` and `x COLLATE c`: the value is unchanged.
    same: *const Node,
    call: struct { function: functions.Function, args: []const *const Node, collation: Collation },
};

pub const Evaluator = struct {
    diag: *Diag,
    row: *record.Row,
    /// Text made while a row is evaluated; emptied before the next row.
    temp: std.heap.ArenaAllocator,
    temp_used: bool = false,
    aggregates: []const Value = &.{},

    pub fn init(gpa: std.mem.Allocator, diag: *Diag, row: *record.Row) Evaluator {
        return .{ .diag = diag, .row = row, .temp = .init(gpa) };
    }

    pub inline fn resetTemp(self: *Evaluator) void {
        if (!self.temp_used) return;
        _ = self.temp.reset(.{ .retain_with_limit = 1 << 20 });
        self.temp_used = false;
    }

    pub fn scratch(self: *Evaluator) std.mem.Allocator {
        self.temp_used = true;
        return self.temp.allocator();
    }

    pub inline fn column(self: *Evaluator, ref: *const ColumnRef) Error!Value {
        const row = self.row;
        if (row.absent) return .null;
        if (ref.source == .rowid) return .{ .int = row.rowid };
        const field = try row.field(ref.field);
        if (field.serial == record.missing) return ref.default;
        const result = record.decode(field);
        // Whole reals are stored as integers to save space.
        if (ref.affinity == .real and result == .int) return .{ .real = @floatFromInt(result.int) };
        return result;
    }

    /// `eval` with the usual case, a plain column, in line.
    pub inline fn get(self: *Evaluator, node: *const Node) Error!Value {
        return if (node.* == .column) self.column(node.column) else self.eval(node);
    }

    pub fn eval(self: *Evaluator, node: *const Node) Error!Value {
        switch (node.*) {
            .constant => |constant| return constant,
            .column => |ref| return self.column(ref),
            .aggregate => |slot| return self.aggregates[slot],
            .same => |inner| return self.eval(inner),
            .arithmetic => |op| return value_zig.arithmetic(op.op, try self.get(op.left), try self.get(op.right)),
            .negate => |inner| return value_zig.negate(try self.eval(inner)),
            .cast => |op| return value_zig.cast(self.scratch(), try self.eval(op.operand), op.affinity),
            .compare, .@"and", .@"or", .not, .in, .pattern, .is_null, .is_truth => {
                const known = try self.isTrue(node) orelse return .null;
                return .{ .int = @intFromBool(known) };
            },
            else => return self.evalRare(node),
        }
    }

    /// Kept apart so that the frame of the recursive function above stays small.
    noinline fn evalRare(self: *Evaluator, node: *const Node) Error!Value {
        switch (node.*) {
            .bits => |op| return evalBits(op.op, try self.eval(op.left), try self.eval(op.right)),
            .bit_not => |inner| {
                const operand = try self.eval(inner);
                return if (operand == .null) .null else .{ .int = ~value_zig.toInt(operand) };
            },
            .concat => |pair| return self.evalConcat(try self.eval(pair.left), try self.eval(pair.right)),
            .case => |case| {
                for (case.whens) |when| {
                    if (try self.isTrue(when.condition) orelse false) return self.eval(when.result);
                }
                return if (case.otherwise) |otherwise| self.eval(otherwise) else .null;
            },
            .call => |call| return self.evalCall(call.function, call.args, call.collation),
            else => unreachable,
        }
    }

    fn evalCall(self: *Evaluator, function: functions.Function, args: []const *const Node, collation: Collation) Error!Value {
        switch (function) {
            // These look at their arguments one by one.
            .coalesce, .ifnull => {
                for (args) |arg| {
                    const result = try self.eval(arg);
                    if (result != .null) return result;
                }
                return .null;
            },
            .iif => {
                if (try self.isTrue(args[0]) orelse false) return self.eval(args[1]);
                return if (args.len > 2) self.eval(args[2]) else .null;
            },
            .min, .max => {
                var best = try self.eval(args[0]);
                for (args[1..]) |arg| {
                    if (best == .null) return .null;
                    const other = try self.eval(arg);
                    if (other == .null) return .null;
                    // On a tie MIN takes the later value and MAX keeps the earlier one, as SQLite does.
                    const order = value_zig.compare(other, best, collation);
                    if (if (function == .min) order != .gt else order == .gt) best = other;
                }
                return best;
            },
            else => {
                var values: [functions.max_args]Value = undefined;
                for (args, values[0..args.len]) |arg, *slot| slot.* = try self.eval(arg);
                return functions.call(self.scratch(), self.diag, function, values[0..args.len], collation);
            },
        }
    }

    fn evalConcat(self: *Evaluator, left: Value, right: Value) Error!Value {
        if (left == .null or right == .null) return .null;
        const arena = self.scratch();
        const a = try value_zig.toText(arena, left);
        const b = try value_zig.toText(arena, right);
        if (a.len + b.len > record.max_payload_bytes) return self.diag.bad("string or blob too big", .{});
        const joined = try std.mem.concat(arena, u8, &.{ a, b });
        return .{ .text = joined };
    }

    fn evalBits(op: BitOp, left: Value, right: Value) Value {
        if (left == .null or right == .null) return .null;
        const a = value_zig.toInt(left);
        const b = value_zig.toInt(right);
        return .{ .int = switch (op) {
            .bit_and => a & b,
            .bit_or => a | b,
            .shift_left => value_zig.shiftLeft(a, b),
            .shift_right => value_zig.shiftRight(a, b),
        } };
    }

    /// Three-valued truth: null is unknown.
    pub fn isTrue(self: *Evaluator, node: *const Node) Error!?bool {
        switch (node.*) {
            .compare => |*op| return self.compare(op, try self.get(op.left), try self.get(op.right)),
            .@"and" => |pair| {
                const left = try self.isTrue(pair.left);
                if (left == false) return false;
                const right = try self.isTrue(pair.right);
                if (right == false) return false;
                return if (left == null or right == null) null else true;
            },
            .@"or" => |pair| {
                const left = try self.isTrue(pair.left);
                if (left == true) return true;
                const right = try self.isTrue(pair.right);
                if (right == true) return true;
                return if (left == null or right == null) null else false;
            },
            .not => |inner| return if (try self.isTrue(inner)) |known| !known else null,
            .is_null => |op| return ((try self.get(op.operand)) == .null) != op.negated,
            .is_truth => |op| {
                const known = try self.isTrue(op.operand);
                return (known == op.wanted) != op.negated;
            },
            .in => |*op| return self.evalIn(op),
            .pattern => |*op| return self.evalPattern(op),
            else => return value_zig.truth(try self.eval(node)),
        }
    }

    fn compare(self: *Evaluator, op: *const Compare, left: Value, right: Value) Error!?bool {
        if (left == .null or right == .null) {
            if (!op.null_safe) return null;
            return (left == .null and right == .null) == (op.op == .eq);
        }
        const order = try self.orderWith(op.affinity, op.collation, left, right);
        return op.op.holds(order);
    }

    /// Compares after the conversions that the operands' affinity asks for.
    fn orderWith(self: *Evaluator, affinity: Affinity, collation: Collation, left: Value, right: Value) Error!std.math.Order {
        var a = left;
        var b = right;
        switch (affinity) {
            .none => {},
            .text => if (a == .text or b == .text) {
                a = try value_zig.applyAffinity(self.scratch(), left, .text);
                b = try value_zig.applyAffinity(self.scratch(), right, .text);
            },
            .numeric, .integer, .real => {
                if (a == .text) a = value_zig.applyNumeric(a);
                if (b == .text) b = value_zig.applyNumeric(b);
            },
        }
        return value_zig.compare(a, b, collation);
    }

    fn evalIn(self: *Evaluator, op: *const In) Error!?bool {
        // IN () is false even for NULL.
        if (op.list.len == 0) return op.negated;
        const operand = try self.eval(op.operand);
        if (operand == .null) return null;
        if (op.constants) |constants| {
            const wanted = if (operand == .text and op.affinity != .none and op.affinity != .text)
                value_zig.applyNumeric(operand)
            else
                operand;
            if (findSorted(constants, wanted, op.collation)) return !op.negated;
            return if (op.has_null) null else op.negated;
        }
        var unknown = false;
        for (op.list) |item| {
            const candidate = try self.eval(item);
            if (candidate == .null) {
                unknown = true;
            } else if (try self.orderWith(op.affinity, op.collation, operand, candidate) == .eq) return !op.negated;
        }
        return if (unknown) null else op.negated;
    }

    fn findSorted(sorted: []const Value, wanted: Value, collation: Collation) bool {
        var low: usize = 0;
        var high = sorted.len;
        while (low < high) {
            const middle = (low + high) / 2;
            switch (value_zig.compare(sorted[middle], wanted, collation)) {
                .eq => return true,
                .lt => low = middle + 1,
                .gt => high = middle,
            }
        }
        return false;
    }

    fn evalPattern(self: *Evaluator, op: *const PatternMatch) Error!?bool {
        const text = try self.eval(op.text);
        if (op.prepared) |*prepared| {
            if (text == .null) return null;
            if (text == .text) return prepared.matches(text.text) != op.negated;
            return prepared.matches(try value_zig.toText(self.scratch(), text)) != op.negated;
        }
        const pattern = try self.eval(op.pattern);
        const escape: ?Value = if (op.escape) |node| try self.eval(node) else null;
        if (text == .null or pattern == .null) return null;
        if (escape != null and escape.? == .null) return null;
        const prepared = try preparePattern(self.scratch(), self.diag, op.kind, pattern, escape);
        return prepared.matches(try value_zig.toText(self.scratch(), text)) != op.negated;
    }
};

pub fn preparePattern(arena: std.mem.Allocator, diag: *Diag, kind: ast.PatternKind, pattern: Value, escape: ?Value) Error!Pattern {
    const text = try value_zig.toText(arena, pattern);
    if (text.len > like.max_pattern_bytes) return diag.bad("LIKE or GLOB pattern too complex", .{});
    if (kind == .glob) return .glob(text);
    const escape_text = if (escape) |chosen| try value_zig.toText(arena, chosen) else null;
    if (escape_text != null and functions.countCharacters(escape_text.?) != 1) {
        return diag.bad("ESCAPE expression must be a single character", .{});
    }
    return .like(arena, text, escape_text);
}
