//! Runs one query from the raw file to the rendered answer: open, parse, bind, plan, scan, group, sort,
//! limit, render.

const std = @import("std");
const ast = @import("ast.zig");
const btree = @import("btree.zig");
const compile = @import("compile.zig");
const eval = @import("eval.zig");
const filter_zig = @import("filter.zig");
const keys = @import("keys.zig");
const parser = @import("parser.zig");
const planner = @import("planner.zig");
const record = @import("record.zig");
const render = @import("render.zig");
const schema = @import("schema.zig");
const sorter = @import("sorter.zig");
const value_zig = @import("value.zig");
const Accumulator = @import("aggregate.zig").Accumulator;
const Pager = @import("pager.zig").Pager;
const diag_zig = @import("diag.zig");
const Diag = diag_zig.Diag;
const Error = diag_zig.Error;
const Node = eval.Node;
const Row = record.Row;
const Value = value_zig.Value;

/// What one repeat needs from outside; the buffers are used again by the next repeat.
pub const Context = struct {
    gpa: std.mem.Allocator,
    io: std.Io,
    diag: *Diag,
    arena: *std.heap.ArenaAllocator,
    /// Overflow payloads of the current row and of an index entry beside it.
    row_spill: std.ArrayList(u8) = .empty,
    probe_spill: std.ArrayList(u8) = .empty,

    pub fn deinit(self: *Context) void {
        self.row_spill.deinit(self.gpa);
        self.probe_spill.deinit(self.gpa);
    }
};

pub const Job = struct { path: []const u8, sql: []const u8, format: render.Format };

/// The whole job once; returns the number of items.
pub fn run(context: *Context, job: Job, out: *render.Output) Error!u64 {
    _ = context.arena.reset(.{ .retain_with_limit = 1 << 22 });
    var pager: Pager = try .open(context.io, context.diag, job.path);
    defer pager.close();
    const arena = context.arena.allocator();
    const query = try arena.create(Query);
    query.* = .{ .context = context, .arena = arena, .diag = context.diag, .pager = &pager, .out = out, .format = job.format };
    try query.prepare(job.sql);
    defer query.evaluator.temp.deinit();
    try query.execute();
    try out.flush();
    return query.items;
}

const ResultColumn = struct { name: []const u8, node: *const Node, collation: value_zig.Collation };

const Query = struct {
    context: *Context,
    arena: std.mem.Allocator,
    diag: *Diag,
    pager: *const Pager,
    out: *render.Output,
    format: render.Format,

    table: ?*schema.Table = null,
    select: ast.Select = undefined,
    binder: compile.Binder = undefined,
    evaluator: eval.Evaluator = undefined,
    plan: planner.Plan = .{},
    /// The row that expressions see.
    row: Row = undefined,
    /// An index entry on the way to its row.
    probe: Row = undefined,
    filter: []const filter_zig.Term = &.{},
    items: u64 = 0,

    columns: []const ResultColumn = &.{},
    order: []const planner.OrderKey = &.{},
    group: []const compile.Bound = &.{},
    having: ?*const Node = null,
    grouped: bool = false,
    left: u64 = std.math.maxInt(u64),
    skip: u64 = 0,

    distinct: ?keys.Set = null,
    sort: ?sorter.Sorter = null,
    scratch: []Value = &.{},

    groups: keys.Set = undefined,
    /// Accumulators of all groups, group after group.
    accumulators: std.ArrayList(Accumulator) = .empty,
    /// The row that bare columns are taken from, for each group.
    shown: std.ArrayList(record.Locator) = .empty,
    finished: []Value = &.{},
    /// With MIN or MAX, bare columns come from the row of the last such function in the query.
    leader: ?usize = null,
    key_scratch: []Value = &.{},
    /// Rows counted by the CountSink.
    passed: u64 = 0,

    // --- Preparation ----------------------------------------------------------------------

    fn prepare(self: *Query, sql: []const u8) Error!void {
        const context = self.context;
        // Constants are folded before there is a row.
        self.row = try .init(context.gpa, self.arena, self.pager, &context.row_spill, 0);
        self.row.absent = true;
        self.evaluator = .init(context.gpa, self.diag, &self.row);
        errdefer self.evaluator.temp.deinit();
        self.select = try parser.parse(self.arena, self.diag, sql);
        if (self.select.table) |name| try self.loadTable(name);
        self.binder = try .init(self.arena, self.diag, &self.evaluator, self.table, &self.select);
        try self.bindAll();
        try self.choosePlan();
        try self.prepareRows();
    }

    fn loadTable(self: *Query, name: []const u8) Error!void {
        var row: Row = try .init(self.context.gpa, self.arena, self.pager, &self.context.row_spill, schema.Loader.row_fields);
        var loader: schema.Loader = .{ .arena = self.arena, .diag = self.diag, .pager = self.pager, .row = &row };
        const table = try self.arena.create(schema.Table);
        table.* = try loader.load(name);
        self.table = table;
    }

    fn bindAll(self: *Query) Error!void {
        const select = &self.select;
        self.columns = try self.bindColumns();
        self.group = try self.bindGroup();
        if (select.having) |expr| {
            self.having = (try self.binder.bindIn(expr, .{ .aliases = true, .aggregates = true })).node;
        }
        self.order = try self.bindOrder();
        self.grouped = self.group.len > 0 or self.binder.aggregates.items.len > 0;
        if (self.having != null and !self.grouped) return self.diag.bad("HAVING clause on a non-aggregate query", .{});
        if (select.limit) |expr| {
            const limit = try self.limitValue(expr);
            if (limit >= 0) self.left = @intCast(limit);
        }
        if (select.offset) |expr| self.skip = @intCast(@max(0, try self.limitValue(expr)));
    }

    fn limitValue(self: *Query, expr: *const ast.Expr) Error!i64 {
        var constants: compile.Binder = self.binder;
        constants.table = null;
        const bound = try constants.bindIn(expr, .{});
        const number = value_zig.applyNumeric(try self.evaluator.eval(bound.node));
        const int: Value = if (number == .real) value_zig.realAsInt(number.real) else number;
        return if (int == .int) int.int else self.diag.bad("datatype mismatch", .{});
    }

    fn bindColumns(self: *Query) Error![]const ResultColumn {
        var list: std.ArrayList(ResultColumn) = .empty;
        for (self.select.columns) |column| switch (column) {
            .star => |qualifier| {
                const table = self.table orelse return self.diag.bad("no tables specified", .{});
                if (qualifier) |name| if (!std.ascii.eqlIgnoreCase(name, self.binder.table_name)) {
                    return self.diag.bad("no such table: {s}", .{name});
                };
                for (0..table.columns.len) |i| {
                    const bound = try self.binder.bindColumn(@intCast(i));
                    try list.append(self.arena, .{ .name = table.columns[i].name, .node = bound.node, .collation = bound.collation orelse .binary });
                }
            },
            .expr => |expr| {
                const bound = try self.binder.bindIn(expr.expr, .{ .aggregates = true });
                const is_name = expr.expr.node == .column and bound.node.* == .column;
                const name = expr.alias orelse if (is_name) bound.node.column.name else expr.expr.source;
                try list.append(self.arena, .{ .name = name, .node = bound.node, .collation = bound.collation orelse .binary });
            },
        };
        return list.items;
    }

    fn bindGroup(self: *Query) Error![]const compile.Bound {
        const list = try self.arena.alloc(compile.Bound, self.select.group_by.len);
        for (self.select.group_by, list, 1..) |expr, *bound, term| {
            bound.* = if (try self.ordinal(expr, "GROUP", term)) |column|
                .{ .node = column.node, .collation = column.collation }
            else
                try self.binder.bindIn(expr, .{ .aliases = true });
            if (containsAggregate(bound.node)) return self.diag.bad("aggregate functions are not allowed in the GROUP BY clause", .{});
        }
        return list;
    }

    fn containsAggregate(node: *const Node) bool {
        return switch (node.*) {
            .aggregate => true,
            else => false,
        };
    }

    fn bindOrder(self: *Query) Error![]const planner.OrderKey {
        const list = try self.arena.alloc(planner.OrderKey, self.select.order_by.len);
        for (self.select.order_by, list, 1..) |term, *key, number| {
            const bound: compile.Bound = if (try self.ordinal(term.expr, "ORDER", number)) |column|
                .{ .node = column.node, .collation = column.collation }
            else
                try self.bindOrderTerm(term.expr);
            key.* = .{ .node = bound.node, .collation = bound.collation orelse .binary, .descending = term.descending, .nulls_first = term.nulls_first };
        }
        return list;
    }

    /// In ORDER BY an alias hides a column of the same name, but only as the whole term.
    fn bindOrderTerm(self: *Query, expr: *ast.Expr) Error!compile.Bound {
        const inner = expr.withoutCollate();
        const scope: compile.Scope = .{ .aliases = true, .aggregates = true };
        if (inner.node == .column and inner.node.column.table == null) {
            if (self.binder.findAlias(inner.node.column.name)) |target| {
                var bound = try self.binder.bindIn(target, .{ .aggregates = true });
                if (expr.node == .collate) bound.collation = expr.node.collate.collation;
                return bound;
            }
        }
        return self.binder.bindIn(expr, scope);
    }

    /// The result column that an integer literal names.
    fn ordinal(self: *Query, expr: *ast.Expr, clause: []const u8, term: usize) Error!?ResultColumn {
        const inner = expr.withoutCollate();
        if (inner.node != .literal or inner.node.literal != .int) return null;
        const number = inner.node.literal.int;
        if (number < 1 or number > self.columns.len) {
            const suffix = if (term % 100 >= 11 and term % 100 <= 13) "th" else switch (term % 10) {
                1 => "st",
                2 => "nd",
                3 => "rd",
                else => "th",
            };
            return self.diag.bad("{d}{s} {s} BY term out of range - should be between 1 and {d}", .{ term, suffix, clause, self.columns.len });
        }
        var column = self.columns[@intCast(number - 1)];
        if (expr.node == .collate) column.collation = expr.node.collate.collation;
        return column;
    }

    fn choosePlan(self: *Query) Error!void {
        var terms: std.ArrayList(*const Node) = .empty;
        if (self.select.where) |expr| {
            const bound = try self.binder.bindIn(expr, .{ .aliases = true });
            try compile.splitAnd(self.arena, &terms, bound.node);
        }
        const table = self.table orelse {
            self.plan.filter = terms.items;
            return;
        };
        var chooser: planner.Planner = .{ .arena = self.arena, .table = table, .refs = self.binder.refs, .terms = terms.items };
        self.plan = try chooser.plan(if (self.grouped) &.{} else self.order);
        // Groups come out in the order of their keys, whatever the order of the scan.
        if (self.grouped) self.plan.ordered = self.groupsInOrder();
    }

    /// One group needs no order, and ORDER BY a prefix of the keys is free.
    fn groupsInOrder(self: *const Query) bool {
        if (self.group.len == 0) return true;
        if (self.order.len > self.group.len) return false;
        for (self.order, self.group[0..self.order.len], self.select.order_by, self.select.group_by[0..self.order.len]) |key, bound, order_term, group_expr| {
            if (key.descending or !key.nulls_first or key.collation != (bound.collation orelse .binary)) return false;
            const same_column = key.node.* == .column and bound.node.* == .column and key.node.column == bound.node.column;
            if (!same_column and !std.mem.eql(u8, order_term.expr.source, group_expr.source)) return false;
        }
        return true;
    }

    fn prepareRows(self: *Query) Error!void {
        const context = self.context;
        var fields: usize = 1;
        for (self.binder.refs) |slot| {
            if (slot) |ref| if (ref.source == .field) {
                fields = @max(fields, ref.field + 1);
            };
        }
        const primary: usize = if (self.table) |table| (if (table.without_rowid) table.indexes[0].key.len else 0) else 0;
        // Key comparisons read fields too, and the last field of an index finds the row.
        switch (self.plan.access) {
            .index_seek => |seek| {
                self.probe = try .init(context.gpa, self.arena, self.pager, &context.probe_spill, seek.index.fields.len);
                fields = @max(fields, seek.index.fields.len, primary);
            },
            else => {},
        }
        self.row = try .init(context.gpa, self.arena, self.pager, &context.row_spill, fields);
        const terms = try self.arena.alloc(filter_zig.Term, self.plan.filter.len);
        for (self.plan.filter, terms) |node, *term| term.* = .from(node);
        self.filter = terms;
    }

    // --- Execution ------------------------------------------------------------------------

    fn execute(self: *Query) Error!void {
        if (self.format == .csv) try self.writeHeader();
        if (self.select.explain) return self.explain();
        if (self.left == 0) return;
        if (self.select.distinct) {
            const collations = try self.arena.alloc(value_zig.Collation, self.columns.len);
            for (self.columns, collations) |column, *collation| collation.* = column.collation;
            self.distinct = .{ .arena = self.arena, .pager = self.pager, .collations = collations };
            self.scratch = try self.arena.alloc(Value, self.columns.len);
        }
        if (self.order.len > 0 and !self.plan.ordered) {
            self.sort = try .init(self.arena, self.pager, self.order, self.left +| self.skip);
        }
        if (self.grouped) {
            try self.executeGroups();
        } else {
            try self.forEachRow(RowSink{ .query = self });
        }
        try self.deliverSorted();
    }

    const RowSink = struct {
        query: *Query,

        fn take(sink: RowSink) Error!bool {
            return sink.query.accept(.{ .at = sink.query.row.at, .group = 0 });
        }
    };

    fn usesIndexRow(self: *const Query) bool {
        return switch (self.plan.access) {
            .index_scan => true,
            .index_seek => self.plan.covering or self.table.?.without_rowid,
            else => false,
        };
    }

    /// A finished row (or group): DISTINCT, then to the sorter or out. False when no more are wanted.
    fn accept(self: *Query, ref: sorter.Ref) Error!bool {
        if (self.distinct) |*set| {
            for (self.columns, self.scratch) |column, *slot| slot.* = try self.evaluator.get(column.node);
            if (!(try set.insert(self.scratch)).new) return true;
        }
        if (self.sort) |*sort| {
            try sort.push(&self.evaluator, ref);
            return true;
        }
        return self.deliver();
    }

    fn deliver(self: *Query) Error!bool {
        if (self.skip > 0) {
            self.skip -= 1;
            return true;
        }
        try self.writeRow();
        self.left -= 1;
        return self.left > 0;
    }

    /// Reads the sorted rows again, one by one, and renders them.
    fn deliverSorted(self: *Query) Error!void {
        const sort = if (self.sort) |*sort| sort else return;
        const refs = try sort.finish();
        for (refs, 0..) |ref, i| {
            // The rows lie all over the file: start fetching one long before it is needed.
            const early = 12;
            if (i + early < refs.len and !self.grouped) self.pager.prefetch(refs[i + early].at.page, refs[i + early].at.offset);
            if (self.grouped) try self.showGroup(ref.group) else try self.readAgain(ref.at);
            self.evaluator.resetTemp();
            if (!try self.deliver()) return;
        }
    }

    fn readAgain(self: *Query, at: record.Locator) Error!void {
        if (self.table == null) return;
        self.row.at = at;
        const bytes = try self.pager.page(at.page, at.page);
        if (self.usesIndexRow()) return btree.Cursor(.index).readPayload(self.pager, bytes, at.offset, &self.row);
        return btree.Cursor(.table).readPayload(self.pager, bytes, at.offset, &self.row);
    }

    fn writeHeader(self: *Query) Error!void {
        if (self.select.explain) return self.out.write("detail\n");
        for (self.columns, 0..) |column, i| {
            if (i > 0) try self.out.byte(',');
            try render.csvText(self.out, column.name);
        }
        try self.out.byte('\n');
    }

    fn writeRow(self: *Query) Error!void {
        const out = self.out;
        if (self.format == .csv) {
            for (self.columns, 0..) |column, i| {
                if (i > 0) try out.byte(',');
                try render.csv(out, try self.evaluator.get(column.node));
            }
        } else {
            try out.byte('[');
            for (self.columns, 0..) |column, i| {
                if (i > 0) try out.byte(',');
                try render.json(out, try self.evaluator.get(column.node));
            }
            try out.byte(']');
        }
        try out.byte('\n');
    }

    fn explain(self: *Query) Error!void {
        if (self.table) |table| {
            try self.explainLine(try planner.describe(self.arena, &self.plan, table, self.binder.table_name));
        } else try self.explainLine("SCAN CONSTANT ROW");
        if (self.group.len > 0) try self.explainLine("USE TEMP B-TREE FOR GROUP BY");
        if (self.select.distinct) try self.explainLine("USE TEMP B-TREE FOR DISTINCT");
        if (self.order.len > 0 and !self.plan.ordered) try self.explainLine("USE TEMP B-TREE FOR ORDER BY");
    }

    fn explainLine(self: *Query, text: []const u8) Error!void {
        const value: Value = .{ .text = text };
        if (self.format == .csv) {
            try render.csv(self.out, value);
        } else {
            try self.out.byte('[');
            try render.json(self.out, value);
            try self.out.byte(']');
        }
        try self.out.byte('\n');
    }

    // --- Scans ----------------------------------------------------------------------------

    /// Counts the item and filters it; false ends the scan.
    inline fn visit(self: *Query, sink: anytype) Error!bool {
        self.items += 1;
        self.evaluator.resetTemp();
        for (self.filter) |*term| {
            if (!try term.passes(&self.evaluator)) return true;
        }
        return sink.take();
    }

    fn forEachRow(self: *Query, sink: anytype) Error!void {
        switch (self.plan.access) {
            .nothing => {
                self.row.absent = true;
                _ = try self.visit(sink);
                self.items = 0;
            },
            .table_scan => try self.scanTable(.{ .low = value_zig.int_min, .high = value_zig.int_max, .has_low = false, .has_high = false, .low_inclusive = true, .high_inclusive = true }, sink),
            .rowid_range => |range| try self.scanTable(range, sink),
            .rowid_seek => |rowids| {
                var cursor: btree.Cursor(.table) = .init(self.pager, self.table.?.root);
                for (0..rowids.len) |i| {
                    const rowid = rowids[if (self.plan.backwards) rowids.len - 1 - i else i];
                    if (!try self.seekRow(&cursor, rowid)) continue;
                    if (!try self.visit(sink)) return;
                }
            },
            .index_scan => |index| {
                var cursor: btree.Cursor(.index) = .init(self.pager, index.root);
                if (self.plan.backwards) try cursor.last() else try cursor.first();
                while (!cursor.ended) {
                    try cursor.read(&self.row);
                    if (!try self.visit(sink)) return;
                    if (self.plan.backwards) try cursor.prev() else try cursor.next();
                }
            },
            .index_seek => |*seek| try self.seekIndex(seek, sink),
        }
    }

    fn seekRow(self: *Query, cursor: *btree.Cursor(.table), rowid: i64) Error!bool {
        if (!try cursor.find(rowid)) return false;
        try cursor.read(&self.row);
        return true;
    }

    fn scanTable(self: *Query, range: planner.RowidRange, sink: anytype) Error!void {
        if (range.low > range.high) return;
        var cursor: btree.Cursor(.table) = .init(self.pager, self.table.?.root);
        if (self.plan.backwards) {
            if (range.high == value_zig.int_max) {
                try cursor.last();
            } else {
                try cursor.seekRowid(range.high + 1);
                try cursor.stepBack();
            }
            while (!cursor.ended) : (try cursor.prev()) {
                try cursor.read(&self.row);
                if (self.row.rowid < range.low or !try self.visit(sink)) return;
            }
            return;
        }
        if (range.has_low) try cursor.seekRowid(range.low) else try cursor.first();
        while (!cursor.ended) {
            // The leaf stays in registers while its cells are walked.
            const page = cursor.top().page;
            var at = cursor.top().at;
            const ahead = cursor.upcomingLeaf() orelse page.bytes;
            while (at < page.cells) : (at += 1) {
                fetchAhead(ahead, at);
                const verdict = if (range.has_high) null else self.judge(&page, at);
                if (verdict == false) {
                    self.items += 1;
                    continue;
                }
                if (@hasDecl(@TypeOf(sink), "takeUnread") and verdict == true) {
                    self.items += 1;
                    sink.takeUnread();
                    continue;
                }
                try btree.Cursor(.table).readCell(self.pager, &page, at, &self.row);
                if (self.row.rowid > range.high) return;
                if (!try self.visit(sink)) return;
            }
            if (!try cursor.nextLeaf()) return;
        }
    }

    /// The filter's verdict from the bytes of a plain row alone; null when the row must be read.
    inline fn judge(self: *Query, page: *const btree.Page, at: u32) ?bool {
        if (self.filter.len == 0) return null;
        const payload = page.plainPayload(at) orelse return null;
        for (self.filter) |*term| {
            if (!(term.judge(payload) orelse return null)) return false;
        }
        return true;
    }

    /// The processor fetches within a 4 KiB page by itself, but never the next one: two cache lines of the
    /// next leaf for every cell of this one, cells being laid out from the end of the page.
    inline fn fetchAhead(leaf: []const u8, cell: u32) void {
        const back = (cell + 1) * 128;
        if (back > leaf.len) return;
        const lines = leaf.ptr + leaf.len - back;
        @prefetch(lines, .{});
        @prefetch(lines + 64, .{});
    }

    fn seekIndex(self: *Query, seek: *const planner.IndexSeek, sink: anytype) Error!void {
        if (seek.impossible) return;
        var walk: IndexWalk = try .init(self, seek);
        const slot = seek.in_slot orelse {
            _ = try walk.run(sink);
            return;
        };
        // In the order of the index, or against it.
        const values = seek.in_values;
        const descending = seek.index.key[slot].descending != self.plan.backwards;
        for (0..values.len) |i| {
            seek.prefix[slot] = values[if (descending) values.len - 1 - i else i];
            if (!try walk.run(sink)) return;
        }
    }

    /// One range of index entries, with the rows they point to.
    const IndexWalk = struct {
        query: *Query,
        seek: *const planner.IndexSeek,
        columns: []btree.KeyColumn,
        key: []Value,
        start: btree.Cursor(.index),
        end: btree.Cursor(.index),
        lookup: btree.Cursor(.table),
        primary: btree.Cursor(.index),
        primary_columns: []const btree.KeyColumn,

        fn init(query: *Query, seek: *const planner.IndexSeek) Error!IndexWalk {
            const table = query.table.?;
            const length = seek.prefix.len + 1;
            const columns = try query.arena.alloc(btree.KeyColumn, length);
            for (columns[0..@min(length, seek.index.key.len)], seek.index.key[0..@min(length, seek.index.key.len)]) |*to, part| {
                to.* = .{ .collation = part.collation orelse .binary, .descending = part.descending };
            }
            return .{
                .query = query,
                .seek = seek,
                .columns = columns,
                .key = try query.arena.alloc(Value, length),
                .start = .init(query.pager, seek.index.root),
                .end = .init(query.pager, seek.index.root),
                .lookup = .init(query.pager, table.root),
                .primary = .init(query.pager, table.root),
                .primary_columns = try primaryColumns(query.arena, table),
            };
        }

        fn primaryColumns(arena: std.mem.Allocator, table: *const schema.Table) Error![]const btree.KeyColumn {
            if (!table.without_rowid) return &.{};
            const key = table.indexes[0].key;
            const columns = try arena.alloc(btree.KeyColumn, key.len);
            for (key, columns) |part, *to| to.* = .{ .collation = part.collation orelse .binary, .descending = part.descending };
            return columns;
        }

        /// Puts a cursor on one edge of the range.
        fn place(self: *IndexWalk, cursor: *btree.Cursor(.index), bound: ?planner.Bound, is_start: bool) Error!void {
            const seek = self.seek;
            @memcpy(self.key[0..seek.prefix.len], seek.prefix);
            var length = seek.prefix.len;
            var side: btree.Side = if (is_start) .before else .after;
            if (bound) |limit| {
                self.key[length] = limit.value;
                length += 1;
                if (!limit.inclusive) side = if (is_start) .after else .before;
            } else if (seek.low != null or seek.high != null) {
                // The open end of a range stops at the NULLs, which come first (last, when descending).
                const nulls_here = self.columns[length].descending != is_start;
                if (nulls_here) {
                    self.key[length] = .null;
                    length += 1;
                    side = if (is_start) .after else .before;
                }
            }
            if (length == 0) return if (is_start) cursor.first();
            try cursor.seekKey(&self.query.probe, self.key[0..length], self.columns, side);
        }

        fn run(self: *IndexWalk, sink: anytype) Error!bool {
            const descending = self.seek.prefix.len < self.seek.index.key.len and self.columns[self.seek.prefix.len].descending;
            try self.place(&self.start, if (descending) self.seek.high else self.seek.low, true);
            try self.place(&self.end, if (descending) self.seek.low else self.seek.high, false);
            if (self.start.reached(&self.end)) return true;
            return if (self.query.plan.backwards) self.walkBackwards(sink) else self.walkForwards(sink);
        }

        fn walkForwards(self: *IndexWalk, sink: anytype) Error!bool {
            const stop = self.end.position();
            while (!self.start.ended) {
                if (stop) |edge| {
                    const here = self.start.position().?;
                    if (here.page == edge.page and here.at == edge.at) return true;
                }
                if (!try self.entry(&self.start, sink)) return false;
                try self.start.next();
            }
            return true;
        }

        fn walkBackwards(self: *IndexWalk, sink: anytype) Error!bool {
            const stop = self.start.position().?;
            try self.end.stepBack();
            while (!self.end.ended) {
                if (!try self.entry(&self.end, sink)) return false;
                const here = self.end.position().?;
                if (here.page == stop.page and here.at == stop.at) return true;
                try self.end.prev();
            }
            return true;
        }

        fn entry(self: *IndexWalk, cursor: *btree.Cursor(.index), sink: anytype) Error!bool {
            const query = self.query;
            if (query.plan.covering) {
                try cursor.read(&query.row);
                return query.visit(sink);
            }
            const probe = &query.probe;
            try cursor.read(probe);
            if (query.table.?.without_rowid) {
                try self.lookUpPrimary(probe);
            } else {
                const rowid = try probe.value(self.seek.index.fields.len - 1);
                if (rowid != .int) return probe.bad("index {s}: entry without a rowid", .{self.seek.index.name});
                if (!try query.seekRow(&self.lookup, rowid.int)) return probe.bad("index {s}: row {d} is not in the table", .{ self.seek.index.name, rowid.int });
            }
            return query.visit(sink);
        }

        fn lookUpPrimary(self: *IndexWalk, probe: *Row) Error!void {
            const query = self.query;
            const primary = &query.table.?.indexes[0];
            const key = try query.arena.alloc(Value, primary.key.len);
            for (primary.key, key) |part, *slot| slot.* = try probe.value(self.seek.index.fieldOf(part.column).?);
            try self.primary.seekKey(&query.row, key, self.primary_columns, .before);
            if (self.primary.ended) return probe.bad("index {s}: row is not in the table", .{self.seek.index.name});
            try self.primary.read(&query.row);
            for (key, self.primary_columns, 0..) |wanted, column, i| {
                if (value_zig.compare(try query.row.value(i), wanted, column.collation) != .eq) {
                    return probe.bad("index {s}: row is not in the table", .{self.seek.index.name});
                }
            }
        }
    };

    // --- Groups ---------------------------------------------------------------------------

    const GroupSink = struct {
        query: *Query,

        fn take(sink: GroupSink) Error!bool {
            try sink.query.addToGroup();
            return true;
        }
    };

    /// COUNT(*) alone: the rows that pass need not be read.
    const CountSink = struct {
        query: *Query,

        fn take(sink: CountSink) Error!bool {
            sink.query.passed += 1;
            return true;
        }

        fn takeUnread(sink: CountSink) void {
            sink.query.passed += 1;
        }
    };

    fn executeGroups(self: *Query) Error!void {
        const specs = self.binder.aggregates.items;
        const collations = try self.arena.alloc(value_zig.Collation, self.group.len);
        for (self.group, collations) |bound, *collation| collation.* = bound.collation orelse .binary;
        self.groups = .{ .arena = self.arena, .pager = self.pager, .collations = collations };
        self.key_scratch = try self.arena.alloc(Value, self.group.len);
        self.finished = try self.arena.alloc(Value, specs.len);
        for (specs, 0..) |spec, i| {
            if (spec.kind == .min or spec.kind == .max) self.leader = i;
        }
        if (self.countsOnly()) {
            try self.countRows();
        } else try self.forEachRow(GroupSink{ .query = self });
        // Without GROUP BY there is always one group, also over no rows.
        if (self.group.len == 0 and self.groups.count() == 0) {
            _ = try self.newGroup(.{ .page = 0, .cell = 0, .offset = 0 });
            self.row.absent = true;
        }
        for (try self.sortedGroups()) |group| {
            try self.showGroup(group);
            self.evaluator.resetTemp();
            if (self.having) |node| {
                if (!(try self.evaluator.isTrue(node) orelse false)) continue;
            }
            if (!try self.accept(.{ .at = .{ .page = 0, .cell = 0, .offset = 0 }, .group = group })) return;
        }
    }

    /// Nothing but COUNT(*): no group, no argument, no column outside of WHERE.
    fn countsOnly(self: *Query) bool {
        if (self.group.len > 0 or self.having != null or self.order.len > 0) return false;
        for (self.binder.aggregates.items) |spec| if (spec.kind != .count or spec.arg != null) return false;
        for (self.columns) |column| if (column.node.* != .aggregate) return false;
        return true;
    }

    fn countRows(self: *Query) Error!void {
        if (!try self.countTree()) try self.forEachRow(CountSink{ .query = self });
        try self.newGroup(.{ .page = 0, .cell = 0, .offset = 0 });
        for (self.accumulators.items) |*accumulator| accumulator.count = self.passed;
        self.row.absent = true;
    }

    /// COUNT(*) of a whole tree needs only the page headers.
    fn countTree(self: *Query) Error!bool {
        if (self.filter.len > 0) return false;
        switch (self.plan.access) {
            .table_scan => {
                var cursor: btree.Cursor(.table) = .init(self.pager, self.table.?.root);
                self.items = try cursor.countEntries();
            },
            .index_scan => |index| {
                var cursor: btree.Cursor(.index) = .init(self.pager, index.root);
                self.items = try cursor.countEntries();
            },
            else => return false,
        }
        self.passed = self.items;
        return true;
    }

    fn newGroup(self: *Query, at: record.Locator) Error!void {
        if (self.group.len == 0) _ = try self.groups.insert(&.{});
        const specs = self.binder.aggregates.items;
        try self.shown.append(self.arena, at);
        const fresh = try self.accumulators.addManyAsSlice(self.arena, specs.len);
        for (specs, fresh) |spec, *accumulator| {
            accumulator.* = .{};
            if (!spec.distinct or spec.arg == null) continue;
            accumulator.seen = try self.arena.create(keys.Set);
            const collation = try self.arena.dupe(value_zig.Collation, &.{spec.collation});
            accumulator.seen.?.* = .{ .arena = self.arena, .pager = self.pager, .collations = collation };
        }
    }

    fn addToGroup(self: *Query) Error!void {
        var number: u32 = 0;
        if (self.group.len > 0) {
            for (self.group, self.key_scratch) |bound, *slot| slot.* = try self.evaluator.get(bound.node);
            const found = try self.groups.insert(self.key_scratch);
            number = found.number;
            if (found.new) try self.newGroup(self.row.at);
        } else if (self.groups.count() == 0) try self.newGroup(self.row.at);

        const specs = self.binder.aggregates.items;
        const accumulators = self.accumulators.items[number * specs.len ..][0..specs.len];
        for (specs, accumulators, 0..) |*spec, *accumulator, i| {
            const arg = spec.arg orelse {
                accumulator.count += 1;
                continue;
            };
            const value = try self.evaluator.get(arg);
            if (value == .null) {
                // Until there is a best value, every row of NULLs is shown.
                if (self.leader == i and accumulator.best == .null) self.shown.items[number] = self.row.at;
                continue;
            }
            if (accumulator.seen) |set| if (!(try set.insert(&.{value})).new) continue;
            if (accumulator.add(spec, value)) {
                accumulator.best = try keys.persist(self.arena, self.pager, value);
                if (self.leader == i) self.shown.items[number] = self.row.at;
            }
        }
    }

    fn sortedGroups(self: *Query) Error![]const u32 {
        const order = try self.arena.alloc(u32, self.groups.count());
        for (order, 0..) |*slot, i| slot.* = @intCast(i);
        if (self.group.len == 0) return order;
        std.mem.sortUnstable(u32, order, &self.groups, struct {
            fn before(set: *const keys.Set, a: u32, b: u32) bool {
                for (set.tuple(a), set.tuple(b), set.collations) |x, y, collation| {
                    const found = value_zig.compare(x, y, collation);
                    if (found != .eq) return found == .lt;
                }
                return false;
            }
        }.before);
        return order;
    }

    /// Makes a group current: its finished aggregates and the row for its bare columns.
    fn showGroup(self: *Query, group: u32) Error!void {
        const specs = self.binder.aggregates.items;
        const accumulators = self.accumulators.items[group * specs.len ..][0..specs.len];
        for (specs, accumulators, self.finished) |*spec, *accumulator, *slot| slot.* = try accumulator.finish(spec, self.diag);
        self.evaluator.aggregates = self.finished;
        const at = self.shown.items[group];
        if (at.page > 0) try self.readAgain(at);
    }
};
