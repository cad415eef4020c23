//! Syntax tree to bound expressions: names become columns, constants are folded, and every
//! comparison learns its affinity and collation.

const std = @import("std");
const ast = @import("ast.zig");
const eval = @import("eval.zig");
const functions = @import("functions.zig");
const schema = @import("schema.zig");
const value_zig = @import("value.zig");
const diag_zig = @import("diag.zig");
const Diag = diag_zig.Diag;
const Error = diag_zig.Error;
const Node = eval.Node;
const ColumnRef = eval.ColumnRef;
const Value = value_zig.Value;
const Affinity = value_zig.Affinity;
const Collation = value_zig.Collation;

/// A bound expression with what its surroundings need to know.
pub const Bound = struct {
    node: *const Node,
    /// null: an expression without affinity, which is not the same as a BLOB column.
    affinity: ?Affinity = null,
    collation: ?Collation = null,
    /// The collation comes from COLLATE.
    explicit: bool = false,
};

pub const AggregateKind = enum { count, sum, total, avg, min, max };

pub const Aggregate = struct {
    kind: AggregateKind,
    /// null: COUNT(*).
    arg: ?*const Node,
    distinct: bool,
    collation: Collation,
    source: []const u8,
};

/// Which names and functions an expression may use where it stands.
pub const Scope = struct { aliases: bool = false, aggregates: bool = false };

pub const Binder = struct {
    arena: std.mem.Allocator,
    diag: *Diag,
    /// Folds constants; its row is absent.
    evaluator: *eval.Evaluator,
    table: ?*const schema.Table,
    /// What the table is called in this statement.
    table_name: []const u8,
    result: []const ast.ResultColumn,
    /// One reference per column that is used, by column number; the rowid is last.
    refs: []?*ColumnRef,
    aggregates: std.ArrayList(Aggregate) = .empty,
    scope: Scope = .{},

    pub fn init(arena: std.mem.Allocator, diag: *Diag, evaluator: *eval.Evaluator, table: ?*const schema.Table, select: *const ast.Select) Error!Binder {
        const count = if (table) |t| t.columns.len + 1 else 0;
        const refs = try arena.alloc(?*ColumnRef, count);
        @memset(refs, null);
        return .{
            .arena = arena,
            .diag = diag,
            .evaluator = evaluator,
            .table = table,
            .table_name = select.alias orelse select.table orelse "",
            .result = select.columns,
            .refs = refs,
        };
    }

    pub fn bindIn(self: *Binder, expr: *const ast.Expr, scope: Scope) Error!Bound {
        const outer = self.scope;
        self.scope = scope;
        defer self.scope = outer;
        return self.bind(expr);
    }

    fn make(self: *Binder, node: Node) Error!*const Node {
        const place = try self.arena.create(Node);
        place.* = node;
        return place;
    }

    /// Finishes an operator: folds it when it is constant, and hands an explicit collation up.
    fn finish(self: *Binder, node: Node, parts: []const Bound) Error!Bound {
        var bound: Bound = .{ .node = try self.make(node) };
        var constant = true;
        for (parts) |part| {
            if (part.explicit and !bound.explicit) {
                bound.explicit = true;
                bound.collation = part.collation;
            }
            if (part.node.* != .constant) constant = false;
        }
        if (constant) bound.node = try self.fold(bound.node);
        return bound;
    }

    fn fold(self: *Binder, node: *const Node) Error!*const Node {
        const result = self.evaluator.eval(node) catch |err| switch (err) {
            // The error belongs to the row that evaluates it, if there ever is one.
            error.BadInput => return node,
            else => return err,
        };
        defer self.evaluator.resetTemp();
        return self.make(.{ .constant = switch (result) {
            .text => |text| .{ .text = try self.arena.dupe(u8, text) },
            .blob => |bytes| .{ .blob = try self.arena.dupe(u8, bytes) },
            else => result,
        } });
    }

    fn bind(self: *Binder, expr: *const ast.Expr) Error!Bound {
        switch (expr.node) {
            .literal => |literal| return .{ .node = try self.make(.{ .constant = literal }) },
            .column => |column| return self.bindName(column.table, column.name),
            .unary => |unary| return self.bindUnary(unary.op, try self.bind(unary.operand)),
            .binary => |binary| return self.bindBinary(binary.op, binary.left, binary.right),
            .between => |between| {
                const operand = try self.bind(between.operand);
                const low = try self.bindCompare(.ge, operand, try self.bind(between.low), false);
                const high = try self.bindCompare(.le, operand, try self.bind(between.high), false);
                const both = try self.finish(.{ .@"and" = .{ .left = low.node, .right = high.node } }, &.{ low, high });
                return if (between.negated) self.finish(.{ .not = both.node }, &.{both}) else both;
            },
            .is_null => |op| {
                const operand = try self.bind(op.operand);
                return self.finish(.{ .is_null = .{ .operand = operand.node, .negated = op.negated } }, &.{operand});
            },
            .collate => |op| {
                const operand = try self.bind(op.operand);
                return .{ .node = operand.node, .affinity = operand.affinity, .collation = op.collation, .explicit = true };
            },
            .cast => |op| {
                const operand = try self.bind(op.operand);
                var bound = try self.finish(.{ .cast = .{ .operand = operand.node, .affinity = op.affinity } }, &.{operand});
                bound.affinity = op.affinity;
                bound.collation = operand.collation;
                bound.explicit = operand.explicit;
                return bound;
            },
            .in => return self.bindIn_(expr),
            .pattern => return self.bindPattern(expr),
            .case => return self.bindCase(expr),
            .call => |call| return self.bindCall(expr, call),
        }
    }

    // --- Names ----------------------------------------------------------------------------

    fn bindName(self: *Binder, qualifier: ?[]const u8, name: []const u8) Error!Bound {
        if (self.table) |table| {
            const mine = qualifier == null or std.ascii.eqlIgnoreCase(qualifier.?, self.table_name);
            if (mine) {
                if (table.find(name)) |column| return self.bindColumn(column);
                if (!table.without_rowid and isRowidName(name)) return self.bindColumn(ColumnRef.rowid);
            }
        }
        if (qualifier) |prefix| return self.diag.bad("no such column: {s}.{s}", .{ prefix, name });
        if (self.scope.aliases) {
            if (self.findAlias(name)) |expr| return self.bindIn(expr, .{ .aggregates = self.scope.aggregates });
        }
        if (std.ascii.eqlIgnoreCase(name, "true")) return .{ .node = try self.make(.{ .constant = .{ .int = 1 } }) };
        if (std.ascii.eqlIgnoreCase(name, "false")) return .{ .node = try self.make(.{ .constant = .{ .int = 0 } }) };
        return self.diag.bad("no such column: {s}", .{name});
    }

    pub fn findAlias(self: *Binder, name: []const u8) ?*const ast.Expr {
        for (self.result) |column| {
            if (column != .expr) continue;
            const alias = column.expr.alias orelse continue;
            if (std.ascii.eqlIgnoreCase(alias, name)) return column.expr.expr;
        }
        return null;
    }

    fn isRowidName(name: []const u8) bool {
        inline for (.{ "rowid", "_rowid_", "oid" }) |known| {
            if (std.ascii.eqlIgnoreCase(name, known)) return true;
        }
        return false;
    }

    pub fn bindColumn(self: *Binder, number: u32) Error!Bound {
        const ref = try self.reference(number);
        return .{ .node = try self.make(.{ .column = ref }), .affinity = ref.affinity, .collation = ref.collation };
    }

    fn reference(self: *Binder, requested: u32) Error!*ColumnRef {
        const table = self.table.?;
        // INTEGER PRIMARY KEY and rowid are one thing.
        const number = if (table.rowid_alias == requested) ColumnRef.rowid else requested;
        const slot = if (number == ColumnRef.rowid) table.columns.len else number;
        if (self.refs[slot]) |known| return known;
        const ref = try self.arena.create(ColumnRef);
        if (number == ColumnRef.rowid) {
            const name = if (table.rowid_alias) |alias| table.columns[alias].name else "rowid";
            ref.* = .{ .column = number, .name = name, .affinity = .integer, .collation = .binary, .source = .rowid };
        } else {
            const column = table.columns[number];
            ref.* = .{
                .column = number,
                .name = column.name,
                .affinity = column.affinity,
                .collation = column.collation orelse return self.diag.bad("no such collation sequence on column {s}", .{column.name}),
                .default = try self.defaultOf(column),
            };
        }
        self.refs[slot] = ref;
        return ref;
    }

    fn defaultOf(self: *Binder, column: schema.Column) Error!Value {
        const expr = column.default orelse return .null;
        // A default that is not constant cannot be that of an added column.
        var plain: Binder = .{
            .arena = self.arena,
            .diag = self.diag,
            .evaluator = self.evaluator,
            .table = null,
            .table_name = "",
            .result = &.{},
            .refs = &.{},
        };
        const bound = plain.bind(expr) catch |err| return if (err == error.BadInput) .null else err;
        if (bound.node.* != .constant) return .null;
        return value_zig.applyAffinity(self.arena, bound.node.constant, column.affinity);
    }

    // --- Operators ------------------------------------------------------------------------

    fn bindUnary(self: *Binder, op: ast.UnaryOp, operand: Bound) Error!Bound {
        switch (op) {
            .plus => return .{
                .node = if (operand.node.* == .constant) operand.node else try self.make(.{ .same = operand.node }),
                .collation = operand.collation,
                .explicit = operand.explicit,
            },
            .negate => return self.finish(.{ .negate = operand.node }, &.{operand}),
            .not => return self.finish(.{ .not = operand.node }, &.{operand}),
            .bit_not => return self.finish(.{ .bit_not = operand.node }, &.{operand}),
        }
    }

    fn bindBinary(self: *Binder, op: ast.BinaryOp, left_expr: *const ast.Expr, right_expr: *const ast.Expr) Error!Bound {
        if (op == .is or op == .is_not) {
            if (self.truthName(right_expr)) |wanted| {
                const operand = try self.bind(left_expr);
                return self.finish(.{ .is_truth = .{ .operand = operand.node, .wanted = wanted, .negated = op == .is_not } }, &.{operand});
            }
        }
        const left = try self.bind(left_expr);
        const right = try self.bind(right_expr);
        const pair: eval.Pair = .{ .left = left.node, .right = right.node };
        const node: Node = switch (op) {
            .lt, .le, .gt, .ge, .eq, .ne => return self.bindCompare(switch (op) {
                .lt => .lt,
                .le => .le,
                .gt => .gt,
                .ge => .ge,
                .eq => .eq,
                else => .ne,
            }, left, right, false),
            .is => return self.bindCompare(.eq, left, right, true),
            .is_not => return self.bindCompare(.ne, left, right, true),
            .@"and" => .{ .@"and" = pair },
            .@"or" => .{ .@"or" = pair },
            .concat => .{ .concat = pair },
            .bit_and => .{ .bits = .{ .op = .bit_and, .left = left.node, .right = right.node } },
            .bit_or => .{ .bits = .{ .op = .bit_or, .left = left.node, .right = right.node } },
            .shift_left => .{ .bits = .{ .op = .shift_left, .left = left.node, .right = right.node } },
            .shift_right => .{ .bits = .{ .op = .shift_right, .left = left.node, .right = right.node } },
            .add => .{ .arithmetic = .{ .op = .add, .left = left.node, .right = right.node } },
            .sub => .{ .arithmetic = .{ .op = .sub, .left = left.node, .right = right.node } },
            .mul => .{ .arithmetic = .{ .op = .mul, .left = left.node, .right = right.node } },
            .div => .{ .arithmetic = .{ .op = .div, .left = left.node, .right = right.node } },
            .rem => .{ .arithmetic = .{ .op = .rem, .left = left.node, .right = right.node } },
        };
        return self.finish(node, &.{ left, right });
    }

    /// TRUE or FALSE as the right side of IS, unless a column is called that.
    fn truthName(self: *Binder, expr: *const ast.Expr) ?bool {
        if (expr.node != .column or expr.node.column.table != null) return null;
        const name = expr.node.column.name;
        if (self.table) |table| if (table.find(name) != null) return null;
        if (std.ascii.eqlIgnoreCase(name, "true")) return true;
        return if (std.ascii.eqlIgnoreCase(name, "false")) false else null;
    }

    fn bindCompare(self: *Binder, op: eval.CompareOp, left: Bound, right: Bound, null_safe: bool) Error!Bound {
        return self.finish(.{ .compare = .{
            .op = op,
            .left = left.node,
            .right = right.node,
            .affinity = compareAffinity(left.affinity, right.affinity),
            .collation = compareCollation(left, right),
            .null_safe = null_safe,
        } }, &.{ left, right });
    }

    pub fn compareAffinity(left: ?Affinity, right: ?Affinity) Affinity {
        if (left != null and right != null) {
            return if (isNumeric(left.?) or isNumeric(right.?)) .numeric else .none;
        }
        return left orelse right orelse .none;
    }

    pub fn isNumeric(affinity: Affinity) bool {
        return affinity != .none and affinity != .text;
    }

    fn compareCollation(left: Bound, right: Bound) Collation {
        if (left.explicit) return left.collation.?;
        if (right.explicit) return right.collation.?;
        return left.collation orelse right.collation orelse .binary;
    }

    fn bindIn_(self: *Binder, expr: *const ast.Expr) Error!Bound {
        const in = expr.node.in;
        const operand = try self.bind(in.operand);
        const affinity = operand.affinity orelse .none;
        var collation = operand.collation orelse .binary;
        const nodes = try self.arena.alloc(*const Node, in.list.len);
        const parts = try self.arena.alloc(Bound, in.list.len + 1);
        parts[0] = operand;
        for (in.list, nodes, parts[1..]) |item, *node, *part| {
            part.* = try self.bind(item);
            node.* = part.node;
        }
        // SQLite turns `x IN (constant)` into `x = constant`, where the right side's COLLATE counts. It decides
        // so in its parser, where a function call is no constant yet.
        if (nodes.len == 1 and nodes[0].* == .constant and !in.list[0].calls()) collation = compareCollation(operand, .{ .node = nodes[0], .collation = parts[1].collation, .explicit = parts[1].explicit });
        const constants = try self.inConstants(nodes, affinity, collation);
        return self.finish(.{ .in = .{
            .operand = operand.node,
            .list = nodes,
            .constants = constants,
            .has_null = for (nodes) |node| {
                if (node.* == .constant and node.constant == .null) break true;
            } else false,
            .affinity = affinity,
            .collation = collation,
            .negated = in.negated,
        } }, parts);
    }

    fn inConstants(self: *Binder, nodes: []const *const Node, affinity: Affinity, collation: Collation) Error!?[]const Value {
        var list: std.ArrayList(Value) = try .initCapacity(self.arena, nodes.len);
        for (nodes) |node| {
            if (node.* != .constant) return null;
            if (node.constant == .null) continue;
            list.appendAssumeCapacity(try forComparison(self.arena, node.constant, affinity));
        }
        std.mem.sort(Value, list.items, collation, struct {
            fn before(chosen: Collation, a: Value, b: Value) bool {
                return value_zig.compare(a, b, chosen) == .lt;
            }
        }.before);
        var unique: usize = 0;
        for (list.items) |item| {
            if (unique > 0 and value_zig.compare(list.items[unique - 1], item, collation) == .eq) continue;
            list.items[unique] = item;
            unique += 1;
        }
        return list.items[0..unique];
    }

    /// A constant as it compares with a column of this affinity.
    pub fn forComparison(arena: std.mem.Allocator, constant: Value, affinity: Affinity) Error!Value {
        return switch (affinity) {
            .none => constant,
            .text => switch (constant) {
                .int, .real => .{ .text = try value_zig.toText(arena, constant) },
                else => constant,
            },
            else => value_zig.applyNumeric(constant),
        };
    }

    fn bindPattern(self: *Binder, expr: *const ast.Expr) Error!Bound {
        const op = expr.node.pattern;
        const text = try self.bind(op.text);
        const pattern = try self.bind(op.pattern);
        const escape: ?Bound = if (op.escape) |e| try self.bind(e) else null;
        var match: eval.PatternMatch = .{
            .kind = op.kind,
            .text = text.node,
            .pattern = pattern.node,
            .escape = if (escape) |e| e.node else null,
            .prepared = null,
            .negated = op.negated,
        };
        const escape_constant = escape == null or (escape.?.node.* == .constant and escape.?.node.constant != .null);
        if (pattern.node.* == .constant and pattern.node.constant != .null and escape_constant) {
            const chosen: ?Value = if (escape) |e| e.node.constant else null;
            // A bad pattern is an error only for a row that is matched against it.
            match.prepared = eval.preparePattern(self.arena, self.diag, op.kind, pattern.node.constant, chosen) catch |err| switch (err) {
                error.BadInput => null,
                else => return err,
            };
        }
        return self.finish(.{ .pattern = match }, if (escape) |e| &.{ text, pattern, e } else &.{ text, pattern });
    }

    fn bindCase(self: *Binder, expr: *const ast.Expr) Error!Bound {
        const case = expr.node.case;
        const whens = try self.arena.alloc(eval.When, case.whens.len);
        var parts: std.ArrayList(Bound) = .empty;
        const base: ?Bound = if (case.base) |b| try self.bind(b) else null;
        if (base) |b| try parts.append(self.arena, b);
        for (case.whens, whens) |from, *to| {
            var condition = try self.bind(from.condition);
            try parts.append(self.arena, condition);
            if (base) |b| condition = try self.bindCompare(.eq, b, condition, false);
            const result = try self.bind(from.result);
            try parts.append(self.arena, result);
            to.* = .{ .condition = condition.node, .result = result.node };
        }
        const otherwise: ?Bound = if (case.otherwise) |e| try self.bind(e) else null;
        if (otherwise) |e| try parts.append(self.arena, e);
        return self.finish(.{ .case = .{ .whens = whens, .otherwise = if (otherwise) |e| e.node else null } }, parts.items);
    }

    // --- Calls ----------------------------------------------------------------------------

    fn aggregateKind(call: ast.Expr.Call) ?AggregateKind {
        const kinds = std.StaticStringMapWithEql(AggregateKind, std.static_string_map.eqlAsciiIgnoreCase).initComptime(.{
            .{ "count", .count }, .{ "sum", .sum }, .{ "total", .total }, .{ "avg", .avg }, .{ "min", .min }, .{ "max", .max },
        });
        const kind = kinds.get(call.name) orelse return null;
        // With more arguments these two are scalar functions.
        if ((kind == .min or kind == .max) and call.args.len > 1) return null;
        return kind;
    }

    fn bindCall(self: *Binder, expr: *const ast.Expr, call: ast.Expr.Call) Error!Bound {
        if (aggregateKind(call)) |kind| return self.bindAggregate(expr, call, kind);
        if (call.star) return self.diag.bad("wrong number of arguments to function {s}()", .{call.name});
        const function = try functions.find(self.diag, call.name, call.args.len);
        if (call.distinct) return self.diag.bad("DISTINCT is not supported for function {s}()", .{call.name});
        const nodes = try self.arena.alloc(*const Node, call.args.len);
        const parts = try self.arena.alloc(Bound, call.args.len);
        var collation: ?Collation = null;
        for (call.args, nodes, parts) |arg, *node, *part| {
            part.* = try self.bind(arg);
            node.* = part.node;
            collation = collation orelse part.collation;
        }
        return self.finish(.{ .call = .{ .function = function, .args = nodes, .collation = collation orelse .binary } }, parts);
    }

    fn bindAggregate(self: *Binder, expr: *const ast.Expr, call: ast.Expr.Call, kind: AggregateKind) Error!Bound {
        if (!self.scope.aggregates) return self.diag.bad("misuse of aggregate: {s}()", .{call.name});
        const bare_count = kind == .count and call.args.len == 0;
        if ((call.star and kind != .count) or (!bare_count and call.args.len != 1)) {
            return self.diag.bad("wrong number of arguments to function {s}()", .{call.name});
        }
        for (self.aggregates.items, 0..) |known, slot| {
            if (std.mem.eql(u8, known.source, expr.source)) return .{ .node = try self.make(.{ .aggregate = @intCast(slot) }) };
        }
        const arg: ?Bound = if (bare_count) null else try self.bindIn(call.args[0], .{ .aliases = self.scope.aliases });
        try self.aggregates.append(self.arena, .{
            .kind = kind,
            .arg = if (arg) |bound| bound.node else null,
            .distinct = call.distinct,
            .collation = if (arg) |bound| bound.collation orelse .binary else .binary,
            .source = expr.source,
        });
        return .{ .node = try self.make(.{ .aggregate = @intCast(self.aggregates.items.len - 1) }) };
    }
};

/// Splits an AND tree into its terms; null-safe for a missing WHERE.
pub fn splitAnd(arena: std.mem.Allocator, list: *std.ArrayList(*const Node), node: *const Node) Error!void {
    if (node.* != .@"and") return list.append(arena, node);
    try splitAnd(arena, list, node.@"and".left);
    try splitAnd(arena, list, node.@"and".right);
}
