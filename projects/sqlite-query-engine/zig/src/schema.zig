//! The schema: rows of sqlite_schema and the CREATE statements in them, for the one table a query
//! needs.

const std = @import("std");
const ast = @import("ast.zig");
const btree = @import("btree.zig");
const record = @import("record.zig");
const value = @import("value.zig");
const Parser = @import("parser.zig").Parser;
const Pager = @import("pager.zig").Pager;
const diag_zig = @import("diag.zig");
const Diag = diag_zig.Diag;
const Error = diag_zig.Error;
const eqlIgnoreCase = std.ascii.eqlIgnoreCase;

pub const Column = struct {
    name: []const u8,
    affinity: value.Affinity = .none,
    /// null: declared with a collation this engine does not know.
    collation: ?value.Collation = .binary,
    default: ?*ast.Expr = null,
    is_integer: bool = false,
    virtual: bool = false,
};

pub const KeyColumn = struct {
    column: u32,
    collation: ?value.Collation,
    descending: bool,
};

/// What a field of an index record (or of a WITHOUT ROWID table) holds.
pub const rowid_field: u32 = std.math.maxInt(u32);

pub const Index = struct {
    name: []const u8,
    root: u32,
    unique: bool,
    key: []const KeyColumn,
    /// For each record field the table's column, or `rowid_field`.
    fields: []const u32,
    /// Primary key columns behind the key of a CREATE INDEX keep their direction; behind that of an
    /// automatic index they ascend. Only the fields after the key.
    tail_descending: []const bool,
    /// The table itself, of a WITHOUT ROWID table.
    is_primary: bool = false,

    pub fn fieldOf(self: *const Index, column: u32) ?u32 {
        return if (std.mem.findScalar(u32, self.fields, column)) |i| @intCast(i) else null;
    }
};

pub const Table = struct {
    name: []const u8,
    root: u32,
    columns: []const Column,
    /// The INTEGER PRIMARY KEY column, another name of the rowid.
    rowid_alias: ?u32 = null,
    without_rowid: bool = false,
    /// The primary key of a WITHOUT ROWID table comes first.
    indexes: []const Index = &.{},

    pub fn find(self: *const Table, name: []const u8) ?u32 {
        for (self.columns, 0..) |column, i| if (eqlIgnoreCase(column.name, name)) return @intCast(i);
        return null;
    }
};

const Entry = struct { kind: []const u8, name: []const u8, table: []const u8, root: value.Value, sql: ?[]const u8 };

/// A UNIQUE or PRIMARY KEY constraint in the order of the CREATE TABLE text.
const Constraint = struct { key: []const KeyColumn, primary: bool };

pub const Loader = struct {
    arena: std.mem.Allocator,
    diag: *Diag,
    pager: *const Pager,
    row: *record.Row,

    pub const row_fields = 5;

    /// Finds a table with its indexes.
    pub fn load(self: *Loader, name: []const u8) Error!Table {
        if (eqlIgnoreCase(name, "sqlite_schema") or eqlIgnoreCase(name, "sqlite_master")) {
            if (self.pager.page_count > 0) return schemaTable();
        }
        const missing = "no such table: {s}";
        if (self.pager.page_count == 0) return self.diag.bad(missing, .{name});
        var table_entry: ?Entry = null;
        var index_entries: std.ArrayList(Entry) = .empty;
        var cursor: btree.Cursor(.table) = .init(self.pager, 1);
        try cursor.first();
        while (!cursor.ended) : (try cursor.next()) {
            try cursor.read(self.row);
            const entry = try self.readEntry() orelse continue;
            if (eqlIgnoreCase(entry.kind, "index")) {
                if (eqlIgnoreCase(entry.table, name)) try index_entries.append(self.arena, entry);
            } else if (eqlIgnoreCase(entry.name, name)) {
                if (eqlIgnoreCase(entry.kind, "table")) table_entry = entry;
                if (eqlIgnoreCase(entry.kind, "view")) return self.diag.bad("views are not supported: {s}", .{name});
            }
        }
        const entry = table_entry orelse return self.diag.bad(missing, .{name});
        return self.build(entry, index_entries.items);
    }

    fn schemaTable() Table {
        const names = comptime [_]Column{
            .{ .name = "type", .affinity = .text },
            .{ .name = "name", .affinity = .text },
            .{ .name = "tbl_name", .affinity = .text },
            .{ .name = "rootpage", .affinity = .integer },
            .{ .name = "sql", .affinity = .text },
        };
        return .{ .name = "sqlite_schema", .root = 1, .columns = &names };
    }

    fn readEntry(self: *Loader) Error!?Entry {
        const kind = try self.row.value(0);
        const name = try self.row.value(1);
        const table = try self.row.value(2);
        if (kind != .text or name != .text or table != .text) return null;
        const root = try self.row.value(3);
        const sql = try self.row.value(4);
        // The row's buffer is used again for the next row, so what is not in the mapping is copied.
        return .{
            .kind = try self.keep(kind.text),
            .name = try self.keep(name.text),
            .table = try self.keep(table.text),
            .root = root,
            .sql = if (sql == .text) try self.keep(sql.text) else null,
        };
    }

    fn keep(self: *Loader, text: []const u8) Error![]const u8 {
        return if (self.pager.owns(text)) text else self.arena.dupe(u8, text);
    }

    fn malformed(self: *Loader, name: []const u8, reason: []const u8) Error {
        return self.pager.bad("malformed database schema ({s}): {s}", .{ name, reason });
    }

    fn rootOf(self: *Loader, entry: Entry) Error!u32 {
        if (entry.root == .int and entry.root.int >= 1 and entry.root.int <= self.pager.page_count) return @intCast(entry.root.int);
        return self.malformed(entry.name, "invalid rootpage");
    }

    fn build(self: *Loader, entry: Entry, index_entries: []const Entry) Error!Table {
        const sql = entry.sql orelse return self.malformed(entry.name, "no SQL");
        var parser: Parser = .init(self.arena, self.diag, sql);
        var definition: Definition = .{ .parser = &parser, .arena = self.arena };
        definition.parse() catch |err| switch (err) {
            error.BadInput => {
                if (definition.is_virtual_table) return self.diag.bad("virtual tables are not supported: {s}", .{entry.name});
                const reason = try self.arena.dupe(u8, self.diag.message());
                return self.malformed(entry.name, reason);
            },
            else => return err,
        };
        const columns = definition.columns.items;
        for (columns) |column| {
            if (column.virtual) return self.diag.bad("virtual generated columns are not supported: {s}.{s}", .{ entry.name, column.name });
        }
        var table: Table = .{
            .name = entry.name,
            .root = try self.rootOf(entry),
            .columns = columns,
            .rowid_alias = if (definition.without_rowid) null else definition.integer_key,
            .without_rowid = definition.without_rowid,
        };
        if (definition.without_rowid and definition.primary == null) return self.malformed(entry.name, "PRIMARY KEY missing");
        table.indexes = try self.buildIndexes(&table, &definition, index_entries);
        return table;
    }

    fn buildIndexes(self: *Loader, table: *const Table, definition: *Definition, entries: []const Entry) Error![]const Index {
        var list: std.ArrayList(Index) = .empty;
        if (table.without_rowid) try list.append(self.arena, try self.primaryIndex(table, definition.primary.?));
        const primary: []const KeyColumn = if (table.without_rowid) list.items[0].key else &.{};
        const automatic = try self.automaticKeys(definition);
        for (entries) |entry| {
            const key, const unique = if (entry.sql) |sql|
                try self.createIndexKey(table, sql) orelse continue
            else
                .{ automaticKey(automatic, entry.name) orelse continue, true };
            const tail = try self.indexTail(table, key, primary);
            const fields = try self.arena.alloc(u32, key.len + tail.len);
            const tail_descending = try self.arena.alloc(bool, tail.len);
            for (key, fields[0..key.len]) |part, *field| field.* = part.column;
            for (tail, fields[key.len..], tail_descending) |part, *field, *descending| {
                field.* = part.column;
                descending.* = part.descending and entry.sql != null;
            }
            try list.append(self.arena, .{
                .name = entry.name,
                .root = try self.rootOf(entry),
                .unique = unique,
                .key = key,
                .fields = fields,
                .tail_descending = tail_descending,
            });
        }
        return list.items;
    }

    fn primaryIndex(self: *Loader, table: *const Table, declared: []const KeyColumn) Error!Index {
        var key: std.ArrayList(KeyColumn) = .empty;
        var fields: std.ArrayList(u32) = .empty;
        for (declared) |part| {
            if (std.mem.findScalar(u32, fields.items, part.column) != null) continue;
            try key.append(self.arena, part);
            try fields.append(self.arena, part.column);
        }
        for (0..table.columns.len) |i| {
            if (std.mem.findScalar(u32, fields.items, @intCast(i)) == null) try fields.append(self.arena, @intCast(i));
        }
        return .{ .name = "PRIMARY KEY", .root = table.root, .unique = true, .key = key.items, .fields = fields.items, .tail_descending = &.{}, .is_primary = true };
    }

    /// An index entry ends with what finds the row: the rowid, or the rest of the primary key.
    fn indexTail(self: *Loader, table: *const Table, key: []const KeyColumn, primary: []const KeyColumn) Error![]const KeyColumn {
        if (!table.without_rowid) return &.{.{ .column = rowid_field, .collation = .binary, .descending = false }};
        var tail: std.ArrayList(KeyColumn) = .empty;
        for (primary) |part| {
            const known = for (key) |other| {
                if (other.column == part.column and other.collation == part.collation) break true;
            } else false;
            if (!known) try tail.append(self.arena, part);
        }
        return tail.items;
    }

    /// The keys of the automatic indexes in the order in which SQLite numbers them.
    fn automaticKeys(self: *Loader, definition: *Definition) Error![]const []const KeyColumn {
        var kept: std.ArrayList(Constraint) = .empty;
        for (definition.constraints.items) |constraint| {
            const twin: ?*Constraint = for (kept.items) |*other| {
                if (sameKey(other.key, constraint.key)) break other;
            } else null;
            if (twin) |other| {
                other.primary = other.primary or constraint.primary;
            } else try kept.append(self.arena, constraint);
        }
        // In a WITHOUT ROWID table the primary key takes a number too, but has no entry of its own.
        var keys: std.ArrayList([]const KeyColumn) = .empty;
        for (kept.items) |constraint| {
            const inside = definition.without_rowid and constraint.primary;
            try keys.append(self.arena, if (inside) &.{} else constraint.key);
        }
        return keys.items;
    }

    fn sameKey(a: []const KeyColumn, b: []const KeyColumn) bool {
        if (a.len != b.len) return false;
        for (a, b) |x, y| if (x.column != y.column or x.collation != y.collation) return false;
        return true;
    }

    /// sqlite_autoindex_TABLE_N has the key of the Nth constraint.
    fn automaticKey(keys: []const []const KeyColumn, name: []const u8) ?[]const KeyColumn {
        const digits = name[if (std.mem.findScalarLast(u8, name, '_')) |i| i + 1 else return null..];
        const number = std.fmt.parseInt(u32, digits, 10) catch return null;
        if (number == 0 or number > keys.len or keys[number - 1].len == 0) return null;
        return keys[number - 1];
    }

    /// null for an index this engine cannot use: partial, on an expression, or not understood.
    fn createIndexKey(self: *Loader, table: *const Table, sql: []const u8) Error!?struct { []const KeyColumn, bool } {
        var parser: Parser = .init(self.arena, self.diag, sql);
        return self.parseIndex(table, &parser) catch |err| switch (err) {
            error.BadInput => null,
            else => err,
        };
    }

    fn parseIndex(self: *Loader, table: *const Table, parser: *Parser) Error!?struct { []const KeyColumn, bool } {
        try parser.expectWord("CREATE");
        const unique = parser.acceptWord("UNIQUE");
        try parser.expectWord("INDEX");
        _ = try parser.identifier();
        if (parser.accept(".")) _ = try parser.identifier();
        try parser.expectWord("ON");
        _ = try parser.identifier();
        try parser.expect("(");
        var key: std.ArrayList(KeyColumn) = .empty;
        while (true) {
            const part = try keyPart(parser, table.columns, self.pager.schema_format) orelse return null;
            try key.append(self.arena, part);
            if (!parser.accept(",")) break;
        }
        try parser.expect(")");
        if (parser.token.kind != .end and !parser.token.is(";")) return null;
        return .{ key.items, unique };
    }
};

/// `column [COLLATE c] [ASC|DESC]`; null when it is an expression.
fn keyPart(parser: *Parser, columns: []const Column, schema_format: u32) Error!?KeyColumn {
    var collation: ?value.Collation = null;
    var explicit = false;
    const quoted_string = parser.token.kind == .string;
    const expr = try parser.expression();
    if (expr.node == .collate) {
        collation = expr.node.collate.collation;
        explicit = true;
    }
    const name = switch (expr.withoutCollate().node) {
        .column => |column| column.name,
        // An old misspelling that SQLite accepts: 'name' for "name".
        .literal => |literal| if (quoted_string and literal == .text) literal.text else return null,
        else => return null,
    };
    const column: u32 = for (columns, 0..) |column, i| {
        if (eqlIgnoreCase(column.name, name)) break @intCast(i);
    } else return null;
    const descending = parser.acceptWord("DESC");
    if (!descending) _ = parser.acceptWord("ASC");
    return .{
        .column = column,
        .collation = if (explicit) collation else columns[column].collation,
        // Before format 4 the word was accepted and ignored.
        .descending = descending and schema_format >= 4,
    };
}

/// CREATE TABLE, as far as a reader needs it.
const Definition = struct {
    parser: *Parser,
    arena: std.mem.Allocator,
    columns: std.ArrayList(Column) = .empty,
    constraints: std.ArrayList(Constraint) = .empty,
    primary: ?[]const KeyColumn = null,
    integer_key: ?u32 = null,
    without_rowid: bool = false,
    is_virtual_table: bool = false,

    fn parse(self: *Definition) Error!void {
        const p = self.parser;
        try p.expectWord("CREATE");
        self.is_virtual_table = p.token.isWord("VIRTUAL");
        try p.expectWord("TABLE");
        if (p.token.kind == .string) p.advance() else _ = try p.identifier();
        if (p.accept(".")) _ = try p.identifier();
        try p.expect("(");
        while (true) {
            if (self.atTableConstraint()) try self.tableConstraint() else try self.column();
            if (!p.accept(",")) {
                // Commas between table constraints are optional.
                if (self.atTableConstraint()) continue;
                break;
            }
        }
        try p.expect(")");
        try self.options();
        // WITHOUT ROWID is known only now: without it, INTEGER PRIMARY KEY is the rowid and no index.
        if (self.integer_key != null) {
            const i = for (self.constraints.items, 0..) |constraint, i| {
                if (constraint.primary) break i;
            } else unreachable;
            const key = self.constraints.orderedRemove(i);
            // With it, the key's index is made last.
            if (self.without_rowid) try self.constraints.append(self.arena, key);
        }
    }

    fn atTableConstraint(self: *Definition) bool {
        inline for (.{ "CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN" }) |word| {
            if (self.parser.token.isWord(word)) return true;
        }
        return false;
    }

    fn options(self: *Definition) Error!void {
        const p = self.parser;
        while (p.token.kind == .word) {
            if (p.acceptWord("WITHOUT")) {
                try p.expectWord("ROWID");
                self.without_rowid = true;
            } else try p.expectWord("STRICT");
            if (!p.accept(",")) break;
        }
    }

    fn column(self: *Definition) Error!void {
        const p = self.parser;
        const name = if (p.token.kind == .string)
            (try p.literalValue()).text
        else
            try p.identifier();
        const type_name = try p.typeName();
        try self.columns.append(self.arena, .{
            .name = name,
            .affinity = value.affinityOfType(type_name),
            .is_integer = eqlIgnoreCase(type_name, "INTEGER"),
        });
        const index: u32 = @intCast(self.columns.items.len - 1);
        // ANY in a STRICT table has no affinity, but only the end of the statement tells; both read alike.
        var primary: ?bool = null;
        while (try self.columnConstraint(index, &primary)) {}
        if (primary) |descending| try self.addPrimary(&.{.{ .column = index, .collation = self.columns.items[index].collation, .descending = descending }}, !descending);
    }

    fn columnConstraint(self: *Definition, index: u32, primary: *?bool) Error!bool {
        const p = self.parser;
        const target = &self.columns.items[index];
        if (p.acceptWord("CONSTRAINT")) {
            _ = try p.identifier();
        } else if (p.acceptWord("PRIMARY")) {
            try p.expectWord("KEY");
            primary.* = p.acceptWord("DESC");
            _ = p.acceptWord("ASC");
            try self.conflictClause();
            _ = p.acceptWord("AUTOINCREMENT");
        } else if (p.acceptWord("NOT")) {
            if (!p.acceptWord("NULL")) {
                try p.expectWord("DEFERRABLE");
                try self.initially();
            } else try self.conflictClause();
        } else if (p.acceptWord("NULL")) {
            try self.conflictClause();
        } else if (p.acceptWord("UNIQUE")) {
            try self.conflictClause();
            try self.addConstraint(&.{.{ .column = index, .collation = target.collation, .descending = false }}, false);
        } else if (p.acceptWord("CHECK")) {
            try self.skipBrackets();
        } else if (p.acceptWord("DEFAULT")) {
            target.default = try self.defaultValue();
        } else if (p.acceptWord("COLLATE")) {
            target.collation = value.Collation.parse(try p.identifier());
            // A UNIQUE before COLLATE still uses the column's collation.
            for (self.constraints.items) |*constraint| {
                if (constraint.key.len == 1 and constraint.key[0].column == index) {
                    constraint.key = try self.arena.dupe(KeyColumn, &.{.{ .column = index, .collation = target.collation, .descending = constraint.key[0].descending }});
                }
            }
        } else if (p.acceptWord("REFERENCES")) {
            try self.references();
        } else if (p.acceptWord("DEFERRABLE")) {
            try self.initially();
        } else if (p.token.isWord("GENERATED") or p.token.isWord("AS")) {
            if (p.acceptWord("GENERATED")) try p.expectWord("ALWAYS");
            try p.expectWord("AS");
            try self.skipBrackets();
            target.virtual = !p.acceptWord("STORED");
            if (target.virtual) _ = p.acceptWord("VIRTUAL");
        } else return false;
        return true;
    }

    fn defaultValue(self: *Definition) Error!*ast.Expr {
        const p = self.parser;
        if (p.token.is("(")) return p.expression();
        inline for (.{ "CURRENT_TIME", "CURRENT_DATE", "CURRENT_TIMESTAMP" }) |word| {
            // Never the default of an added column: SQLite refuses that.
            if (p.acceptWord(word)) return self.literal(.null);
        }
        const negative = p.token.is("-");
        if (negative or p.token.is("+")) p.advance();
        switch (p.token.kind) {
            .integer, .real, .string, .blob => {
                const number = try p.literalValue();
                return self.literal(if (negative) value.negate(number) else number);
            },
            .word, .quoted => {
                if (p.acceptWord("NULL")) return self.literal(.null);
                if (p.acceptWord("TRUE")) return self.literal(.{ .int = 1 });
                if (p.acceptWord("FALSE")) return self.literal(.{ .int = 0 });
                return self.literal(.{ .text = try p.identifier() });
            },
            else => return p.fail(),
        }
    }

    fn literal(self: *Definition, constant: value.Value) Error!*ast.Expr {
        const expr = try self.arena.create(ast.Expr);
        expr.* = .{ .node = .{ .literal = constant }, .height = 1, .source = "" };
        return expr;
    }

    fn tableConstraint(self: *Definition) Error!void {
        const p = self.parser;
        if (p.acceptWord("CONSTRAINT")) {
            _ = try p.identifier();
            if (!self.atTableConstraint()) return;
        }
        if (p.acceptWord("PRIMARY")) {
            try p.expectWord("KEY");
            const key = try self.keyList();
            try self.conflictClause();
            try self.addPrimary(key, true);
        } else if (p.acceptWord("UNIQUE")) {
            const key = try self.keyList();
            try self.conflictClause();
            try self.addConstraint(key, false);
        } else if (p.acceptWord("CHECK")) {
            try self.skipBrackets();
            try self.conflictClause();
        } else if (p.acceptWord("FOREIGN")) {
            try p.expectWord("KEY");
            try self.skipBrackets();
            try p.expectWord("REFERENCES");
            try self.references();
        }
    }

    fn keyList(self: *Definition) Error![]const KeyColumn {
        const p = self.parser;
        try p.expect("(");
        var key: std.ArrayList(KeyColumn) = .empty;
        while (true) {
            const part = try keyPart(p, self.columns.items, 4) orelse return p.diag.bad("unknown column in a key", .{});
            try key.append(self.arena, part);
            if (!p.accept(",")) break;
        }
        _ = p.acceptWord("AUTOINCREMENT");
        try p.expect(")");
        return key.items;
    }

    fn addPrimary(self: *Definition, key: []const KeyColumn, may_be_rowid: bool) Error!void {
        const p = self.parser;
        if (self.primary != null) return p.diag.bad("more than one primary key", .{});
        try self.addConstraint(key, true);
        self.primary = self.constraints.items[self.constraints.items.len - 1].key;
        if (key.len == 1 and may_be_rowid and self.columns.items[key[0].column].is_integer) self.integer_key = key[0].column;
    }

    fn addConstraint(self: *Definition, key: []const KeyColumn, primary: bool) Error!void {
        try self.constraints.append(self.arena, .{ .key = try self.arena.dupe(KeyColumn, key), .primary = primary });
    }

    fn conflictClause(self: *Definition) Error!void {
        const p = self.parser;
        if (!p.token.isWord("ON")) return;
        p.advance();
        try p.expectWord("CONFLICT");
        p.advance();
    }

    fn references(self: *Definition) Error!void {
        const p = self.parser;
        _ = try p.identifier();
        if (p.token.is("(")) try self.skipBrackets();
        while (true) {
            if (p.acceptWord("ON")) {
                p.advance();
                if (p.acceptWord("SET") or p.acceptWord("NO")) p.advance() else p.advance();
            } else if (p.acceptWord("MATCH")) {
                _ = try p.identifier();
            } else if (p.acceptWord("DEFERRABLE")) {
                try self.initially();
            } else if (p.token.isWord("NOT")) {
                const saved = p.*;
                p.advance();
                if (!p.acceptWord("DEFERRABLE")) {
                    p.* = saved;
                    return;
                }
                try self.initially();
            } else return;
        }
    }

    fn initially(self: *Definition) Error!void {
        if (self.parser.acceptWord("INITIALLY")) self.parser.advance();
    }

    fn skipBrackets(self: *Definition) Error!void {
        const p = self.parser;
        try p.expect("(");
        var depth: usize = 1;
        while (depth > 0) {
            if (p.token.kind == .end or p.token.kind == .illegal) return p.fail();
            if (p.token.is("(")) depth += 1;
            if (p.token.is(")")) depth -= 1;
            p.advance();
        }
    }
};

// --- Tests --------------------------------------------------------------------------------

fn define(arena: std.mem.Allocator, diag: *Diag, sql: []const u8) Error!Definition {
    const parser = try arena.create(Parser);
    parser.* = .init(arena, diag, sql);
    var definition: Definition = .{ .parser = parser, .arena = arena };
    try definition.parse();
    return definition;
}

test "CREATE TABLE" {
    var arena_state: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena_state.deinit();
    const arena = arena_state.allocator();
    var diag: Diag = .{};
    const a = try define(arena, &diag,
        \\CREATE TABLE "my t"(id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(10, 2) NOT NULL COLLATE nocase,
        \\ x REAL DEFAULT -1.5 CHECK (x > (1)), [d e] UNIQUE REFERENCES other(a) ON DELETE SET NULL,
        \\ g INT GENERATED ALWAYS AS (x+1) STORED, CONSTRAINT c UNIQUE(name DESC, x), CHECK(1), FOREIGN KEY(x) REFERENCES o)
    );
    try std.testing.expectEqual(5, a.columns.items.len);
    try std.testing.expectEqual(0, a.integer_key.?);
    try std.testing.expectEqual(value.Affinity.text, a.columns.items[1].affinity);
    try std.testing.expectEqual(value.Collation.nocase, a.columns.items[1].collation.?);
    try std.testing.expectEqual(value.Value{ .real = -1.5 }, a.columns.items[2].default.?.node.literal);
    try std.testing.expectEqualStrings("d e", a.columns.items[3].name);
    try std.testing.expect(!a.columns.items[4].virtual);
    try std.testing.expectEqual(2, a.constraints.items.len);
    try std.testing.expect(a.constraints.items[1].key[0].descending);

    const b = try define(arena, &diag, "CREATE TABLE t(a, b INT, PRIMARY KEY(b, a)) WITHOUT ROWID, STRICT");
    try std.testing.expect(b.without_rowid);
    try std.testing.expectEqual(1, b.primary.?[0].column);
    const c = try define(arena, &diag, "CREATE TABLE t(a INTEGER PRIMARY KEY DESC)");
    try std.testing.expectEqual(null, c.integer_key);
    const d = try define(arena, &diag, "CREATE TABLE t(a INTEGER, b AS (a*2), PRIMARY KEY(a DESC))");
    try std.testing.expectEqual(0, d.integer_key.?);
    try std.testing.expect(d.columns.items[1].virtual);
    try std.testing.expectError(error.BadInput, define(arena, &diag, "CREATE TABLE t(a INTEGER"));
    try std.testing.expectError(error.BadInput, define(arena, &diag, "CREATE VIRTUAL TABLE t USING fts5(a)"));
}
