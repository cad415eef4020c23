//! Chooses how rows are found: by rowid, through an index, or by a scan; and what is left to filter.

const std = @import("std");
const ast = @import("ast.zig");
const eval = @import("eval.zig");
const schema = @import("schema.zig");
const btree = @import("btree.zig");
const compile = @import("compile.zig");
const value_zig = @import("value.zig");
const Error = @import("diag.zig").Error;
const Node = eval.Node;
const ColumnRef = eval.ColumnRef;
const Value = value_zig.Value;

pub const Bound = struct { value: Value, inclusive: bool };

pub const RowidRange = struct { low: i64, high: i64, has_low: bool, has_high: bool, low_inclusive: bool, high_inclusive: bool };

pub const IndexSeek = struct {
    index: *const schema.Index,
    /// Values of the leading columns; the one at `in_slot` is replaced by each of `in_values`.
    prefix: []Value,
    in_slot: ?usize,
    in_values: []const Value,
    low: ?Bound,
    high: ?Bound,
    /// A comparison with NULL: no row can match.
    impossible: bool,
};

pub const Access = union(enum) {
    /// SELECT without FROM.
    nothing,
    table_scan,
    /// All entries of an index: a covering one, or a WITHOUT ROWID table itself.
    index_scan: *const schema.Index,
    /// Ascending and unique.
    rowid_seek: []const i64,
    rowid_range: RowidRange,
    index_seek: IndexSeek,
};

pub const Plan = struct {
    access: Access = .nothing,
    /// The index entry has all the columns; the table is not touched.
    covering: bool = false,
    backwards: bool = false,
    ordered: bool = false,
    filter: []const *const Node = &.{},
};

pub const OrderKey = struct { node: *const Node, collation: value_zig.Collation, descending: bool, nulls_first: bool };

const Operation = enum { eq, in, low, high };

const Constraint = struct {
    term: usize,
    ref: *const ColumnRef,
    operation: Operation,
    inclusive: bool,
    /// Converted for comparison with the column.
    values: []const Value,
    /// IS: NULL is a value to look for.
    null_safe: bool,
    collation: value_zig.Collation,
};

pub const Planner = struct {
    arena: std.mem.Allocator,
    table: *const schema.Table,
    /// Columns in use, the rowid last.
    refs: []const ?*ColumnRef,
    terms: []const *const Node,
    used: []bool = &.{},
    constraints: []const Constraint = &.{},

    pub fn plan(self: *Planner, order: []const OrderKey) Error!Plan {
        self.used = try self.arena.alloc(bool, self.terms.len);
        @memset(self.used, false);
        var found: std.ArrayList(Constraint) = .empty;
        for (self.terms, 0..) |term, i| try self.collect(&found, term, i);
        self.constraints = found.items;

        var result: Plan = .{ .access = try self.chooseAccess() };
        result.covering = switch (result.access) {
            .index_seek => |seek| self.covers(seek.index),
            .index_scan => true,
            else => false,
        };
        self.chooseOrder(&result, order);
        var filter: std.ArrayList(*const Node) = .empty;
        for (self.terms, self.used) |term, used| if (!used) try filter.append(self.arena, term);
        result.filter = filter.items;
        self.place(&result);
        return result;
    }

    // --- Constraints ----------------------------------------------------------------------

    fn collect(self: *Planner, list: *std.ArrayList(Constraint), term: *const Node, number: usize) Error!void {
        switch (term.*) {
            .compare => |op| {
                if (op.op == .ne) return;
                if (constraintSides(op)) |sides| {
                    if (!affinityFits(op.affinity, sides.ref.affinity)) return;
                    const op_code: eval.CompareOp = if (sides.swapped) op.op.swapped() else op.op;
                    try self.add(list, number, sides.ref, op_code, sides.constant, op);
                }
            },
            .is_null => |op| if (!op.negated and op.operand.* == .column) {
                const ref = op.operand.column;
                const null_value = try self.arena.dupe(Value, &.{.null});
                try list.append(self.arena, .{ .term = number, .ref = ref, .operation = .eq, .inclusive = true, .values = null_value, .null_safe = true, .collation = ref.collation });
            },
            .in => |op| if (!op.negated and op.operand.* == .column and op.constants != null) {
                try list.append(self.arena, .{ .term = number, .ref = op.operand.column, .operation = .in, .inclusive = true, .values = op.constants.?, .null_safe = false, .collation = op.collation });
            },
            else => {},
        }
    }

    const Sides = struct { ref: *const ColumnRef, constant: Value, swapped: bool };

    fn constraintSides(op: eval.Compare) ?Sides {
        if (op.left.* == .column and op.right.* == .constant) return .{ .ref = op.left.column, .constant = op.right.constant, .swapped = false };
        if (op.right.* == .column and op.left.* == .constant) return .{ .ref = op.right.column, .constant = op.left.constant, .swapped = true };
        return null;
    }

    /// The index holds values as the column's affinity made them; the comparison must see them the same way.
    fn affinityFits(comparison: value_zig.Affinity, column: value_zig.Affinity) bool {
        return switch (comparison) {
            .none => true,
            .text => column == .text,
            else => compile.Binder.isNumeric(column),
        };
    }

    fn add(self: *Planner, list: *std.ArrayList(Constraint), number: usize, ref: *const ColumnRef, op: eval.CompareOp, constant: Value, compare: eval.Compare) Error!void {
        const converted = try compile.Binder.forComparison(self.arena, constant, compare.affinity);
        try list.append(self.arena, .{
            .term = number,
            .ref = ref,
            .operation = switch (op) {
                .eq => .eq,
                .gt, .ge => .low,
                else => .high,
            },
            .inclusive = op == .ge or op == .le,
            .values = try self.arena.dupe(Value, &.{converted}),
            .null_safe = compare.null_safe,
            .collation = compare.collation,
        });
    }

    fn find(self: *Planner, column: u32, collation: ?value_zig.Collation, operation: Operation) ?*const Constraint {
        for (self.constraints) |*constraint| {
            if (constraint.operation != operation or constraint.ref.column != column) continue;
            if (column != ColumnRef.rowid and constraint.collation != collation) continue;
            return constraint;
        }
        return null;
    }

    // --- Access ---------------------------------------------------------------------------

    fn chooseAccess(self: *Planner) Error!Access {
        if (!self.table.without_rowid) {
            if (try self.rowidSeek()) |access| return access;
        }
        if (try self.bestEquality()) |access| return access;
        if (!self.table.without_rowid) {
            if (self.rowidRange()) |access| return access;
        }
        for (self.table.indexes) |*index| {
            if (try self.indexSeek(index, 0)) |access| return access;
        }
        return self.scan();
    }

    fn rowidSeek(self: *Planner) Error!?Access {
        const constraint = self.find(ColumnRef.rowid, null, .eq) orelse
            self.find(ColumnRef.rowid, null, .in) orelse return null;
        self.used[constraint.term] = true;
        var list: std.ArrayList(i64) = .empty;
        for (constraint.values) |item| {
            const rowid: i64 = switch (item) {
                .int => |x| x,
                .real => |x| if (value_zig.realAsInt(x) == .int) value_zig.realAsInt(x).int else if (x == -9223372036854775808.0) value_zig.int_min else continue,
                else => continue,
            };
            try list.append(self.arena, rowid);
        }
        std.mem.sort(i64, list.items, {}, std.sort.asc(i64));
        return .{ .rowid_seek = list.items };
    }

    fn rowidRange(self: *Planner) ?Access {
        const low = self.find(ColumnRef.rowid, null, .low);
        const high = self.find(ColumnRef.rowid, null, .high);
        if (low == null and high == null) return null;
        var range: RowidRange = .{
            .low = value_zig.int_min,
            .high = value_zig.int_max,
            .has_low = low != null,
            .has_high = high != null,
            .low_inclusive = if (low) |c| c.inclusive else false,
            .high_inclusive = if (high) |c| c.inclusive else false,
        };
        var empty = false;
        if (low) |constraint| {
            self.used[constraint.term] = true;
            if (lowestInt(constraint.values[0], constraint.inclusive)) |x| range.low = x else empty = true;
        }
        if (high) |constraint| {
            self.used[constraint.term] = true;
            if (highestInt(constraint.values[0], constraint.inclusive)) |x| range.high = x else empty = true;
        }
        if (empty) {
            range.low = 1;
            range.high = 0;
        }
        return .{ .rowid_range = range };
    }

    const Score = struct { unique: bool, length: usize, range: bool };

    fn bestEquality(self: *Planner) Error!?Access {
        var best: ?*const schema.Index = null;
        var best_score: Score = .{ .unique = false, .length = 0, .range = false };
        for (self.table.indexes) |*index| {
            const score = self.scoreOf(index);
            if (score.length == 0) continue;
            if (best == null or better(score, best_score)) {
                best = index;
                best_score = score;
            }
        }
        return if (best) |index| self.indexSeek(index, best_score.length) else null;
    }

    fn better(a: Score, b: Score) bool {
        if (a.unique != b.unique) return a.unique;
        if (a.length != b.length) return a.length > b.length;
        return a.range and !b.range;
    }

    fn equality(self: *Planner, part: schema.KeyColumn, in_allowed: bool) ?*const Constraint {
        const collation = part.collation orelse return null;
        const column = self.indexColumn(part.column);
        return self.find(column, collation, .eq) orelse if (in_allowed) self.find(column, collation, .in) else null;
    }

    fn indexColumn(self: *Planner, column: u32) u32 {
        return if (self.table.rowid_alias == column) ColumnRef.rowid else column;
    }

    fn scoreOf(self: *Planner, index: *const schema.Index) Score {
        var length: usize = 0;
        var in_allowed = true;
        for (index.key) |part| {
            const constraint = self.equality(part, in_allowed) orelse break;
            if (constraint.operation == .in) in_allowed = false;
            length += 1;
        }
        var range = false;
        if (length < index.key.len) {
            if (index.key[length].collation) |collation| {
                const column = self.indexColumn(index.key[length].column);
                range = self.find(column, collation, .low) != null or self.find(column, collation, .high) != null;
            }
        }
        return .{ .unique = index.unique and length == index.key.len, .length = length, .range = range };
    }

    /// A seek on `length` leading columns and a range on the next; null when there is neither.
    fn indexSeek(self: *Planner, index: *const schema.Index, length: usize) Error!?Access {
        var seek: IndexSeek = .{
            .index = index,
            .prefix = try self.arena.alloc(Value, length),
            .in_slot = null,
            .in_values = &.{},
            .low = null,
            .high = null,
            .impossible = false,
        };
        for (seek.prefix, index.key[0..length], 0..) |*slot, part, i| {
            const constraint = self.equality(part, seek.in_slot == null).?;
            self.used[constraint.term] = true;
            if (constraint.operation == .in) {
                seek.in_slot = i;
                seek.in_values = constraint.values;
                slot.* = .null;
            } else {
                slot.* = constraint.values[0];
                if (slot.* == .null and !constraint.null_safe) seek.impossible = true;
            }
        }
        if (length < index.key.len) if (index.key[length].collation) |collation| {
            const column = self.indexColumn(index.key[length].column);
            if (self.find(column, collation, .low)) |constraint| seek.low = self.takeRange(&seek, constraint);
            if (self.find(column, collation, .high)) |constraint| seek.high = self.takeRange(&seek, constraint);
        };
        if (length == 0 and seek.low == null and seek.high == null) return null;
        return .{ .index_seek = seek };
    }

    fn takeRange(self: *Planner, seek: *IndexSeek, constraint: *const Constraint) Bound {
        self.used[constraint.term] = true;
        if (constraint.values[0] == .null) seek.impossible = true;
        return .{ .value = constraint.values[0], .inclusive = constraint.inclusive };
    }

    fn scan(self: *Planner) Access {
        var best: ?*const schema.Index = null;
        for (self.table.indexes) |*index| {
            if (index.is_primary or !self.covers(index)) continue;
            if (best == null or index.key.len < best.?.key.len) best = index;
        }
        if (best) |index| return .{ .index_scan = index };
        return if (self.table.without_rowid) .{ .index_scan = &self.table.indexes[0] } else .table_scan;
    }

    fn covers(self: *Planner, index: *const schema.Index) bool {
        for (self.refs) |slot| {
            const ref = slot orelse continue;
            if (ref.column != ColumnRef.rowid and index.fieldOf(ref.column) == null) return false;
        }
        return true;
    }

    /// Tells every column where it lies in the records that will be read.
    fn place(self: *Planner, result: *const Plan) void {
        const index: ?*const schema.Index = if (self.table.without_rowid and !result.covering)
            &self.table.indexes[0]
        else switch (result.access) {
            .index_seek => |seek| if (result.covering) seek.index else null,
            .index_scan => |index| index,
            else => null,
        };
        for (self.refs) |slot| {
            const ref = slot orelse continue;
            const is_rowid = ref.column == ColumnRef.rowid;
            if (index) |chosen| {
                if (is_rowid) {
                    // An index may also hold the alias column itself, but the last field is the rowid for sure.
                    ref.source = .field;
                    ref.field = @intCast(chosen.fields.len - 1);
                } else ref.field = chosen.fieldOf(ref.column).?;
            } else if (!is_rowid) ref.field = ref.column;
        }
    }

    // --- Order ----------------------------------------------------------------------------

    const Scanned = struct { column: u32, collation: ?value_zig.Collation, descending: bool };

    fn chooseOrder(self: *Planner, result: *Plan, order: []const OrderKey) void {
        if (order.len == 0) return;
        switch (result.access) {
            .nothing => {},
            .table_scan, .rowid_range, .rowid_seek => self.matchOrder(result, order, null, 0),
            .index_scan => |index| self.matchOrder(result, order, index, 0),
            .index_seek => |seek| {
                // With several values of an IN no column of the prefix stays at one value.
                const fixed = if (seek.in_slot == null or seek.in_values.len == 1) seek.prefix.len else 0;
                self.matchOrder(result, order, seek.index, fixed);
            },
        }
    }

    fn matchOrder(self: *Planner, result: *Plan, order: []const OrderKey, index: ?*const schema.Index, prefix: usize) void {
        var at = prefix;
        var backwards: ?bool = null;
        for (order) |key| {
            // Every row is unique once its last field took part; what follows cannot matter.
            const fields = if (index) |i| self.orderedFields(i) else 1;
            if (at >= fields) break;
            if (key.node.* != .column) return;
            const ref = key.node.column;
            if (index) |i| if (isFixed(self, i, prefix, ref, key.collation)) continue;
            const field = self.scanned(index, at);
            if (field.column != ref.column) return;
            if (ref.column != ColumnRef.rowid and field.collation != key.collation) return;
            if (key.nulls_first == key.descending) return;
            const flipped = key.descending != field.descending;
            if (backwards != null and backwards.? != flipped) return;
            backwards = flipped;
            at += 1;
        }
        result.ordered = true;
        result.backwards = backwards orelse false;
    }

    /// A column that an equality holds at one value.
    fn isFixed(self: *Planner, index: *const schema.Index, prefix: usize, ref: *const ColumnRef, collation: value_zig.Collation) bool {
        for (index.key[0..prefix]) |part| {
            if (self.indexColumn(part.column) == ref.column and part.collation == collation) return true;
        }
        return false;
    }

    fn orderedFields(self: *Planner, index: *const schema.Index) usize {
        _ = self;
        return if (index.is_primary) index.key.len else index.fields.len;
    }

    fn scanned(self: *Planner, index: ?*const schema.Index, at: usize) Scanned {
        const chosen = index orelse return .{ .column = ColumnRef.rowid, .collation = null, .descending = false };
        if (at < chosen.key.len) {
            const part = chosen.key[at];
            return .{ .column = self.indexColumn(part.column), .collation = part.collation, .descending = part.descending };
        }
        const column = chosen.fields[at];
        if (column == schema.rowid_field) return .{ .column = ColumnRef.rowid, .collation = null, .descending = false };
        const descending = chosen.tail_descending[at - chosen.key.len];
        return .{ .column = column, .collation = self.primaryCollation(column), .descending = descending };
    }

    fn primaryCollation(self: *Planner, column: u32) ?value_zig.Collation {
        for (self.table.indexes[0].key) |part| if (part.column == column) return part.collation;
        return null;
    }
};

/// The lowest integer that is > (or >=) the value; null when there is none.
pub fn lowestInt(limit: Value, inclusive: bool) ?i64 {
    switch (limit) {
        .int => |x| {
            if (inclusive) return x;
            return if (x == value_zig.int_max) null else x + 1;
        },
        .real => |x| {
            const up = @ceil(x);
            const int: f64 = if (up == x and !inclusive) up + 1 else up;
            if (int >= 9223372036854775808.0) return null;
            if (int < -9223372036854775808.0) return value_zig.int_min;
            // Past 2^53 the float "+ 1" is lost, so strictness is settled on the integer.
            const whole: i64 = @trunc(int);
            if (!inclusive and value_zig.compareIntReal(whole, x) != .gt) return if (whole == value_zig.int_max) null else whole + 1;
            return whole;
        },
        // Numbers come before text and blobs; NULL is never comparable.
        else => return null,
    }
}

/// The highest integer that is < (or <=) the value; null when there is none.
pub fn highestInt(limit: Value, inclusive: bool) ?i64 {
    switch (limit) {
        .int => |x| {
            if (inclusive) return x;
            return if (x == value_zig.int_min) null else x - 1;
        },
        .real => |x| {
            const down = @floor(x);
            const int: f64 = if (down == x and !inclusive) down - 1 else down;
            if (int < -9223372036854775808.0) return null;
            if (int >= 9223372036854775808.0) return value_zig.int_max;
            const whole: i64 = @trunc(int);
            if (!inclusive and value_zig.compareIntReal(whole, x) != .lt) return if (whole == value_zig.int_min) null else whole - 1;
            return whole;
        },
        .text, .blob => return value_zig.int_max,
        .null => return null,
    }
}

// --- EXPLAIN QUERY PLAN -------------------------------------------------------------------

/// `name` is the table's name or its alias.
pub fn describe(arena: std.mem.Allocator, result: *const Plan, table: *const schema.Table, name: []const u8) Error![]const u8 {
    var out: std.Io.Writer.Allocating = .init(arena);
    writeDescription(&out.writer, result, table, name) catch return error.OutOfMemory;
    return out.written();
}

fn writeDescription(out: *std.Io.Writer, result: *const Plan, table: *const schema.Table, name: []const u8) std.Io.Writer.Error!void {
    switch (result.access) {
        .nothing => try out.writeAll("SCAN CONSTANT ROW"),
        .table_scan => try out.print("SCAN {s}", .{name}),
        .index_scan => |index| if (index.is_primary)
            try out.print("SCAN {s}", .{name})
        else
            try out.print("SCAN {s} USING COVERING INDEX {s}", .{ name, index.name }),
        .rowid_seek => try out.print("SEARCH {s} USING INTEGER PRIMARY KEY (rowid=?)", .{name}),
        .rowid_range => |range| {
            try out.print("SEARCH {s} USING INTEGER PRIMARY KEY (", .{name});
            if (range.has_low) try out.writeAll("rowid>?");
            if (range.has_low and range.has_high) try out.writeAll(" AND ");
            if (range.has_high) try out.writeAll("rowid<?");
            try out.writeAll(")");
        },
        .index_seek => |seek| try writeSeek(out, result, table, name, seek),
    }
}

fn writeSeek(out: *std.Io.Writer, result: *const Plan, table: *const schema.Table, name: []const u8, seek: IndexSeek) std.Io.Writer.Error!void {
    try out.print("SEARCH {s} USING ", .{name});
    if (seek.index.is_primary) {
        try out.writeAll("PRIMARY KEY (");
    } else {
        try out.print("{s}INDEX {s} (", .{ if (result.covering) "COVERING " else "", seek.index.name });
    }
    for (seek.prefix, 0..) |_, i| {
        if (i > 0) try out.writeAll(" AND ");
        try out.print("{s}=?", .{table.columns[seek.index.key[i].column].name});
    }
    const bounds = [_]struct { ?Bound, []const u8 }{ .{ seek.low, ">" }, .{ seek.high, "<" } };
    var first = seek.prefix.len == 0;
    for (bounds) |bound| {
        if (bound[0] == null) continue;
        if (!first) try out.writeAll(" AND ");
        first = false;
        try out.print("{s}{s}?", .{ table.columns[seek.index.key[seek.prefix.len].column].name, bound[1] });
    }
    try out.writeAll(")");
}

test "bounds on the rowid" {
    const cases = [_]struct { Value, bool, ?i64, ?i64 }{
        .{ .{ .int = 5 }, true, 5, 5 },
        .{ .{ .int = 5 }, false, 6, 4 },
        .{ .{ .real = 5.5 }, false, 6, 5 },
        .{ .{ .real = 5.0 }, false, 6, 4 },
        .{ .{ .real = 1e300 }, true, null, value_zig.int_max },
        .{ .{ .real = -1e300 }, true, value_zig.int_min, null },
        .{ .{ .real = 9007199254740992.0 }, false, 9007199254740993, 9007199254740991 },
        .{ .{ .int = value_zig.int_max }, false, null, value_zig.int_max - 1 },
        .{ .{ .text = "a" }, true, null, value_zig.int_max },
        .{ .null, true, null, null },
    };
    for (cases) |case| {
        try std.testing.expectEqual(case[2], lowestInt(case[0], case[1]));
        try std.testing.expectEqual(case[3], highestInt(case[0], case[1]));
    }
}
