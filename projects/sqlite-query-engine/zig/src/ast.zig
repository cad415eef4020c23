//! The syntax tree of a statement, before names are bound to columns.

const value = @import("value.zig");
const Value = value.Value;

pub const UnaryOp = enum { negate, plus, not, bit_not };

pub const BinaryOp = enum {
    add,
    sub,
    mul,
    div,
    rem,
    concat,
    bit_and,
    bit_or,
    shift_left,
    shift_right,
    lt,
    le,
    gt,
    ge,
    eq,
    ne,
    is,
    is_not,
    @"and",
    @"or",

    pub fn isComparison(self: BinaryOp) bool {
        return switch (self) {
            .lt, .le, .gt, .ge, .eq, .ne, .is, .is_not => true,
            else => false,
        };
    }
};

pub const PatternKind = enum { like, glob };

pub const When = struct { condition: *Expr, result: *Expr };

pub const Expr = struct {
    node: Node,
    /// Height of the tree below, so that no later walk can overflow the stack.
    height: u32,
    /// The text as written: the column's name in a CSV header.
    source: []const u8,

    pub const Node = union(enum) {
        literal: Value,
        column: struct { table: ?[]const u8, name: []const u8 },
        unary: struct { op: UnaryOp, operand: *Expr },
        binary: struct { op: BinaryOp, left: *Expr, right: *Expr },
        between: struct { operand: *Expr, low: *Expr, high: *Expr, negated: bool },
        in: struct { operand: *Expr, list: []const *Expr, negated: bool },
        pattern: struct { kind: PatternKind, text: *Expr, pattern: *Expr, escape: ?*Expr, negated: bool },
        is_null: struct { operand: *Expr, negated: bool },
        case: struct { base: ?*Expr, whens: []const When, otherwise: ?*Expr },
        cast: struct { operand: *Expr, affinity: value.Affinity },
        collate: struct { operand: *Expr, collation: value.Collation },
        call: Call,
    };

    pub const Call = struct { name: []const u8, args: []const *Expr, distinct: bool, star: bool };

    /// Whether a function is called anywhere in the expression (LIKE and GLOB are functions to SQLite).
    pub fn calls(self: *const Expr) bool {
        return switch (self.node) {
            .call, .pattern => true,
            .literal, .column => false,
            .binary => |both| both.left.calls() or both.right.calls(),
            .between => |range| range.operand.calls() or range.low.calls() or range.high.calls(),
            .in => |in| in.operand.calls() or for (in.list) |item| {
                if (item.calls()) break true;
            } else false,
            .case => |case| (case.base != null and case.base.?.calls()) or
                (case.otherwise != null and case.otherwise.?.calls()) or for (case.whens) |when|
            {
                if (when.condition.calls() or when.result.calls()) break true;
            } else false,
            inline .unary, .is_null, .cast, .collate => |one| one.operand.calls(),
        };
    }

    pub fn withoutCollate(self: *Expr) *Expr {
        var expr = self;
        while (expr.node == .collate) expr = expr.node.collate.operand;
        return expr;
    }
};

pub const ResultColumn = union(enum) {
    /// `*`, or `t.*` with the table's name.
    star: ?[]const u8,
    expr: struct { expr: *Expr, alias: ?[]const u8 },
};

pub const OrderTerm = struct {
    expr: *Expr,
    descending: bool,
    nulls_first: bool,
};

pub const Select = struct {
    explain: bool = false,
    distinct: bool = false,
    columns: []const ResultColumn = &.{},
    table: ?[]const u8 = null,
    alias: ?[]const u8 = null,
    where: ?*Expr = null,
    group_by: []const *Expr = &.{},
    having: ?*Expr = null,
    order_by: []const OrderTerm = &.{},
    limit: ?*Expr = null,
    offset: ?*Expr = null,
};
