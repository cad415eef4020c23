//! Recursive descent over the tokens of one SELECT; expressions by precedence climbing.

const std = @import("std");
const ast = @import("ast.zig");
const lexer_zig = @import("lexer.zig");
const value = @import("value.zig");
const diag_zig = @import("diag.zig");
const Diag = diag_zig.Diag;
const Error = diag_zig.Error;
const Expr = ast.Expr;
const Token = lexer_zig.Token;

/// SQLite's own limit on the height of an expression.
pub const max_height = 1000;
/// How deep brackets may nest: they add no height, but they use the stack.
const max_nesting = 1000;

/// Words that cannot be an identifier without quotes.
const reserved = std.StaticStringMapWithEql(void, std.static_string_map.eqlAsciiIgnoreCase).initComptime(blk: {
    const words = "ADD ALL ALTER AND AS AUTOINCREMENT BETWEEN CASE CHECK COLLATE COMMIT CONSTRAINT CREATE DEFAULT DEFERRABLE " ++
        "DELETE DISTINCT DROP ELSE ESCAPE EXCEPT EXISTS FOREIGN FROM GROUP HAVING IN INDEX INSERT INTERSECT " ++
        "INTO IS ISNULL JOIN LIMIT NOT NOTHING NOTNULL NULL ON OR ORDER PRIMARY REFERENCES RETURNING SELECT SET TABLE THEN TO " ++
        "TRANSACTION UNION UNIQUE UPDATE USING VALUES WHEN WHERE";
    @setEvalBranchQuota(20000);
    var list: []const struct { []const u8 } = &.{};
    var it = std.mem.tokenizeScalar(u8, words, ' ');
    while (it.next()) |word| list = list ++ .{.{word}};
    break :blk list;
});

pub fn isReserved(word: []const u8) bool {
    return reserved.has(word);
}

/// Join words may be columns or tables anywhere else, but after a table they are joins, not aliases.
fn isJoinWord(token: Token) bool {
    inline for (.{ "CROSS", "FULL", "INNER", "LEFT", "NATURAL", "OUTER", "RIGHT", "JOIN" }) |word| {
        if (token.isWord(word)) return true;
    }
    return false;
}

pub const Parser = struct {
    arena: std.mem.Allocator,
    diag: *Diag,
    lexer: lexer_zig.Lexer,
    token: Token,
    /// End of the token before the current one.
    last_end: usize = 0,
    nesting: u32 = 0,

    pub fn init(arena: std.mem.Allocator, diag: *Diag, sql: []const u8) Parser {
        var lexer: lexer_zig.Lexer = .{ .sql = sql };
        const first = lexer.next();
        return .{ .arena = arena, .diag = diag, .lexer = lexer, .token = first };
    }

    pub fn advance(self: *Parser) void {
        self.last_end = self.token.end();
        self.token = self.lexer.next();
    }

    pub fn fail(self: *Parser) Error {
        return switch (self.token.kind) {
            .end => self.diag.bad("incomplete input", .{}),
            .illegal => self.diag.bad("unrecognized token: \"{s}\"", .{self.token.text}),
            else => self.diag.bad("near \"{s}\": syntax error", .{self.token.text}),
        };
    }

    pub fn acceptWord(self: *Parser, keyword: []const u8) bool {
        if (!self.token.isWord(keyword)) return false;
        self.advance();
        return true;
    }

    pub fn accept(self: *Parser, symbol: []const u8) bool {
        if (!self.token.is(symbol)) return false;
        self.advance();
        return true;
    }

    pub fn expectWord(self: *Parser, keyword: []const u8) Error!void {
        if (!self.acceptWord(keyword)) return self.fail();
    }

    pub fn expect(self: *Parser, symbol: []const u8) Error!void {
        if (!self.accept(symbol)) return self.fail();
    }

    /// A name of a table, column, alias or collation.
    pub fn identifier(self: *Parser) Error![]const u8 {
        const token = self.token;
        const name = switch (token.kind) {
            .word => if (isReserved(token.text)) return self.fail() else token.text,
            .quoted => try lexer_zig.unquote(self.arena, token.text),
            else => return self.fail(),
        };
        self.advance();
        return name;
    }

    // --- Statement ------------------------------------------------------------------------

    pub fn statement(self: *Parser) Error!ast.Select {
        var select: ast.Select = .{};
        if (self.acceptWord("EXPLAIN")) {
            try self.expectWord("QUERY");
            try self.expectWord("PLAN");
            select.explain = true;
        }
        if (self.token.isWord("WITH")) return self.diag.bad("WITH is not supported", .{});
        try self.expectWord("SELECT");
        if (self.acceptWord("DISTINCT")) select.distinct = true else _ = self.acceptWord("ALL");
        select.columns = try self.resultColumns();
        if (self.acceptWord("FROM")) try self.fromClause(&select);
        if (self.acceptWord("WHERE")) select.where = try self.expression();
        if (self.acceptWord("GROUP")) {
            try self.expectWord("BY");
            select.group_by = try self.expressionList();
        }
        if (self.acceptWord("HAVING")) select.having = try self.expression();
        try self.refuseCompound();
        if (self.acceptWord("ORDER")) {
            try self.expectWord("BY");
            select.order_by = try self.orderTerms();
        }
        if (self.acceptWord("LIMIT")) try self.limitClause(&select);
        while (self.accept(";")) {}
        if (self.token.kind != .end) return self.fail();
        return select;
    }

    fn refuseCompound(self: *Parser) Error!void {
        inline for (.{ "UNION", "EXCEPT", "INTERSECT", "WINDOW" }) |word| {
            if (self.token.isWord(word)) return self.diag.bad(word ++ " is not supported", .{});
        }
    }

    fn resultColumns(self: *Parser) Error![]const ast.ResultColumn {
        var list: std.ArrayList(ast.ResultColumn) = .empty;
        while (true) {
            try list.append(self.arena, try self.resultColumn());
            if (!self.accept(",")) return list.items;
        }
    }

    fn resultColumn(self: *Parser) Error!ast.ResultColumn {
        if (self.accept("*")) return .{ .star = null };
        if (self.tableStar()) |token| {
            return .{ .star = if (token.kind == .quoted) try lexer_zig.unquote(self.arena, token.text) else token.text };
        }
        const expr = try self.expression();
        return .{ .expr = .{ .expr = expr, .alias = try self.aliasOrNull(true) } };
    }

    /// `t.*` needs two tokens of look-ahead: on a miss the lexer goes back.
    fn tableStar(self: *Parser) ?Token {
        const saved = self.*;
        const name = self.token;
        const named = name.kind == .quoted or (name.kind == .word and !isReserved(name.text));
        if (named) {
            self.advance();
            if (self.accept(".") and self.accept("*")) return name;
        }
        self.* = saved;
        return null;
    }

    fn aliasOrNull(self: *Parser, allow_string: bool) Error!?[]const u8 {
        const explicit = self.acceptWord("AS");
        switch (self.token.kind) {
            .string => {
                if (!explicit and !allow_string) return null;
                const name = try lexer_zig.unquote(self.arena, self.token.text);
                self.advance();
                return name;
            },
            .quoted => return try self.identifier(),
            .word => {
                if (explicit) return try self.identifier();
                if (isReserved(self.token.text) or isJoinWord(self.token)) return null;
                inline for (.{ "WINDOW", "INDEXED" }) |word| if (self.token.isWord(word)) return null;
                return try self.identifier();
            },
            else => return if (explicit) self.fail() else null,
        }
    }

    fn fromClause(self: *Parser, select: *ast.Select) Error!void {
        if (self.token.is("(")) return self.diag.bad("subqueries are not supported", .{});
        var name = try self.identifier();
        if (self.accept(".")) {
            if (!std.ascii.eqlIgnoreCase(name, "main")) {
                return self.diag.bad("no such table: {s}.{s}", .{ name, try self.identifier() });
            }
            name = try self.identifier();
        }
        if (self.token.is("(")) return self.diag.bad("table-valued functions are not supported: {s}", .{name});
        select.table = name;
        select.alias = try self.aliasOrNull(true);
        if (self.token.is(",") or isJoinWord(self.token)) return self.diag.bad("joins are not supported", .{});
        if (self.token.isWord("INDEXED")) return self.diag.bad("INDEXED BY is not supported", .{});
    }

    fn orderTerms(self: *Parser) Error![]const ast.OrderTerm {
        var list: std.ArrayList(ast.OrderTerm) = .empty;
        while (true) {
            const expr = try self.expression();
            const descending = self.acceptWord("DESC");
            if (!descending) _ = self.acceptWord("ASC");
            var nulls_first = !descending;
            if (self.acceptWord("NULLS")) {
                nulls_first = self.acceptWord("FIRST");
                if (!nulls_first) try self.expectWord("LAST");
            }
            try list.append(self.arena, .{ .expr = expr, .descending = descending, .nulls_first = nulls_first });
            if (!self.accept(",")) return list.items;
        }
    }

    fn limitClause(self: *Parser, select: *ast.Select) Error!void {
        select.limit = try self.expression();
        if (self.acceptWord("OFFSET")) {
            select.offset = try self.expression();
        } else if (self.accept(",")) {
            select.offset = select.limit;
            select.limit = try self.expression();
        }
    }

    // --- Expressions ----------------------------------------------------------------------

    pub fn expressionList(self: *Parser) Error![]const *Expr {
        var list: std.ArrayList(*Expr) = .empty;
        while (true) {
            try list.append(self.arena, try self.expression());
            if (!self.accept(",")) return list.items;
        }
    }

    pub fn expression(self: *Parser) Error!*Expr {
        return self.climb(0);
    }

    fn make(self: *Parser, start: usize, node: Expr.Node, height_below: u32) Error!*Expr {
        const height = height_below + 1;
        if (height > max_height) return self.tooDeep();
        const expr = try self.arena.create(Expr);
        expr.* = .{ .node = node, .height = height, .source = self.lexer.sql[start..self.last_end] };
        return expr;
    }

    fn tooDeep(self: *Parser) Error {
        return self.diag.bad("Expression tree is too large (maximum depth {d})", .{max_height});
    }

    /// Binding powers, loosest first: OR, AND, NOT, equality, comparison, bits, sum, product, ||, COLLATE, unary.
    const power = struct {
        const not = 3;
        const equality = 4;
        const unary = 11;
    };

    const Infix = struct { op: ast.BinaryOp, power: u8 };

    fn infix(token: Token) ?Infix {
        const symbols = comptime std.StaticStringMap(Infix).initComptime(.{
            .{ "=", Infix{ .op = .eq, .power = 4 } },          .{ "==", Infix{ .op = .eq, .power = 4 } },
            .{ "!=", Infix{ .op = .ne, .power = 4 } },         .{ "<>", Infix{ .op = .ne, .power = 4 } },
            .{ "<", Infix{ .op = .lt, .power = 5 } },          .{ "<=", Infix{ .op = .le, .power = 5 } },
            .{ ">", Infix{ .op = .gt, .power = 5 } },          .{ ">=", Infix{ .op = .ge, .power = 5 } },
            .{ "&", Infix{ .op = .bit_and, .power = 6 } },     .{ "|", Infix{ .op = .bit_or, .power = 6 } },
            .{ "<<", Infix{ .op = .shift_left, .power = 6 } }, .{ ">>", Infix{ .op = .shift_right, .power = 6 } },
            .{ "+", Infix{ .op = .add, .power = 7 } },         .{ "-", Infix{ .op = .sub, .power = 7 } },
            .{ "*", Infix{ .op = .mul, .power = 8 } },         .{ "/", Infix{ .op = .div, .power = 8 } },
            .{ "%", Infix{ .op = .rem, .power = 8 } },         .{ "||", Infix{ .op = .concat, .power = 9 } },
        });
        if (token.kind == .punctuation) return symbols.get(token.text);
        if (token.isWord("OR")) return .{ .op = .@"or", .power = 1 };
        if (token.isWord("AND")) return .{ .op = .@"and", .power = 2 };
        return null;
    }

    fn climb(self: *Parser, min_power: u8) Error!*Expr {
        self.nesting += 1;
        defer self.nesting -= 1;
        if (self.nesting > max_nesting) return self.tooDeep();
        const start = self.token.start;
        var left = try self.prefix();
        while (true) {
            if (infix(self.token)) |found| {
                if (found.power < min_power) return left;
                self.advance();
                const right = try self.climb(found.power + 1);
                left = try self.make(start, .{ .binary = .{ .op = found.op, .left = left, .right = right } }, @max(left.height, right.height));
            } else if (try self.postfix(start, left, min_power)) |expr| {
                left = expr;
            } else return left;
        }
    }

    fn prefix(self: *Parser) Error!*Expr {
        const start = self.token.start;
        if (self.acceptWord("NOT")) {
            if (self.token.isWord("EXISTS")) return self.diag.bad("subqueries are not supported", .{});
            return self.unary(start, .not, try self.climb(power.not));
        }
        if (self.accept("-")) {
            // -9223372036854775808 is an integer although its digits alone are not.
            if (self.token.kind == .integer and std.mem.trimStart(u8, self.token.text, "0").len == 19 and
                std.mem.endsWith(u8, self.token.text, "9223372036854775808"))
            {
                self.advance();
                return self.make(start, .{ .literal = .{ .int = value.int_min } }, 0);
            }
            return self.unary(start, .negate, try self.climb(power.unary));
        }
        if (self.accept("+")) return self.unary(start, .plus, try self.climb(power.unary));
        if (self.accept("~")) return self.unary(start, .bit_not, try self.climb(power.unary));
        return self.primary();
    }

    fn unary(self: *Parser, start: usize, op: ast.UnaryOp, operand: *Expr) Error!*Expr {
        return self.make(start, .{ .unary = .{ .op = op, .operand = operand } }, operand.height);
    }

    /// IS, IN, LIKE, BETWEEN, ISNULL ... and COLLATE; null when the token starts none of them.
    fn postfix(self: *Parser, start: usize, left: *Expr, min_power: u8) Error!?*Expr {
        if (self.token.kind != .word) return null;
        if (self.token.isWord("COLLATE")) {
            self.advance();
            const name = if (self.token.kind == .string) blk: {
                defer self.advance();
                break :blk try lexer_zig.unquote(self.arena, self.token.text);
            } else try self.identifier();
            const collation = value.Collation.parse(name) orelse
                return self.diag.bad("no such collation sequence: {s}", .{name});
            return try self.make(start, .{ .collate = .{ .operand = left, .collation = collation } }, left.height);
        }
        if (min_power > power.equality) return null;
        if (self.acceptWord("ISNULL")) return try self.isNull(start, left, false);
        if (self.acceptWord("NOTNULL")) return try self.isNull(start, left, true);
        if (self.acceptWord("IS")) return try self.isOperator(start, left);
        const saved = self.*;
        const negated = self.acceptWord("NOT");
        if (negated and self.acceptWord("NULL")) return try self.isNull(start, left, true);
        if (self.acceptWord("IN")) return try self.inList(start, left, negated);
        if (self.acceptWord("BETWEEN")) return try self.between(start, left, negated);
        if (self.acceptWord("LIKE")) return try self.pattern(start, left, .like, negated);
        if (self.acceptWord("GLOB")) return try self.pattern(start, left, .glob, negated);
        inline for (.{ "REGEXP", "MATCH" }) |word| {
            if (self.token.isWord(word)) return self.diag.bad("no such function: " ++ word, .{});
        }
        if (negated) return self.fail();
        self.* = saved;
        return null;
    }

    fn isNull(self: *Parser, start: usize, operand: *Expr, negated: bool) Error!*Expr {
        return self.make(start, .{ .is_null = .{ .operand = operand, .negated = negated } }, operand.height);
    }

    fn isOperator(self: *Parser, start: usize, left: *Expr) Error!*Expr {
        var negated = self.acceptWord("NOT");
        if (self.acceptWord("DISTINCT")) {
            try self.expectWord("FROM");
            negated = !negated;
        }
        const right = try self.climb(power.equality + 1);
        if (right.node == .literal and right.node.literal == .null) return self.isNull(start, left, negated);
        const op: ast.BinaryOp = if (negated) .is_not else .is;
        return self.make(start, .{ .binary = .{ .op = op, .left = left, .right = right } }, @max(left.height, right.height));
    }

    fn inList(self: *Parser, start: usize, left: *Expr, negated: bool) Error!*Expr {
        if (!self.token.is("(")) return self.diag.bad("IN needs a list in brackets: tables are not supported", .{});
        self.advance();
        if (self.token.isWord("SELECT") or self.token.isWord("WITH") or self.token.isWord("VALUES")) {
            return self.diag.bad("subqueries are not supported", .{});
        }
        const list: []const *Expr = if (self.token.is(")")) &.{} else try self.expressionList();
        try self.expect(")");
        var height = left.height;
        for (list) |item| height = @max(height, item.height);
        return self.make(start, .{ .in = .{ .operand = left, .list = list, .negated = negated } }, height);
    }

    fn between(self: *Parser, start: usize, left: *Expr, negated: bool) Error!*Expr {
        const low = try self.climb(power.equality + 1);
        try self.expectWord("AND");
        const high = try self.climb(power.equality + 1);
        const height = @max(left.height, low.height, high.height);
        return self.make(start, .{ .between = .{ .operand = left, .low = low, .high = high, .negated = negated } }, height);
    }

    fn pattern(self: *Parser, start: usize, left: *Expr, kind: ast.PatternKind, negated: bool) Error!*Expr {
        const right = try self.climb(power.equality + 1);
        var height = @max(left.height, right.height);
        var escape: ?*Expr = null;
        if (self.acceptWord("ESCAPE")) {
            if (kind == .glob) return self.diag.bad("wrong number of arguments to function GLOB()", .{});
            escape = try self.climb(power.equality + 1);
            height = @max(height, escape.?.height);
        }
        return self.make(start, .{ .pattern = .{ .kind = kind, .text = left, .pattern = right, .escape = escape, .negated = negated } }, height);
    }

    fn primary(self: *Parser) Error!*Expr {
        const token = self.token;
        switch (token.kind) {
            .integer, .real, .string, .blob => {
                const literal = try self.literalValue();
                return self.make(token.start, .{ .literal = literal }, 0);
            },
            .word => return self.wordPrimary(),
            .quoted => return self.columnOrCall(),
            else => {},
        }
        if (!self.accept("(")) return self.fail();
        if (self.token.isWord("SELECT") or self.token.isWord("WITH") or self.token.isWord("VALUES")) {
            return self.diag.bad("subqueries are not supported", .{});
        }
        const inner = try self.expression();
        if (self.token.is(",")) return self.diag.bad("row values are not supported", .{});
        try self.expect(")");
        // A copy with the brackets in its source text; the tree itself does not grow.
        const expr = try self.arena.create(Expr);
        expr.* = .{ .node = inner.node, .height = inner.height, .source = self.lexer.sql[token.start..self.last_end] };
        return expr;
    }

    pub fn literalValue(self: *Parser) Error!value.Value {
        const token = self.token;
        self.advance();
        switch (token.kind) {
            .string => return .{ .text = try lexer_zig.unquote(self.arena, token.text) },
            .blob => {
                const hex = token.text[2 .. token.text.len - 1];
                const bytes = try self.arena.alloc(u8, hex.len / 2);
                for (bytes, 0..) |*byte, i| byte.* = std.fmt.parseInt(u8, hex[2 * i ..][0..2], 16) catch 0;
                return .{ .blob = bytes };
            },
            .real => return .{ .real = value.parseReal(token.text).value },
            else => {},
        }
        if (token.text.len > 2 and token.text[1] | 0x20 == 'x') {
            const digits = std.mem.trimStart(u8, token.text[2..], "0");
            if (digits.len > 16) return self.diag.bad("hex literal too big: {s}", .{token.text});
            const bits = if (digits.len == 0) 0 else std.fmt.parseInt(u64, digits, 16) catch 0;
            return .{ .int = @bitCast(bits) };
        }
        const int = value.parseInt(token.text);
        return if (int.fits) .{ .int = int.value } else .{ .real = value.parseReal(token.text).value };
    }

    fn wordPrimary(self: *Parser) Error!*Expr {
        const token = self.token;
        if (token.isWord("NULL")) {
            self.advance();
            return self.make(token.start, .{ .literal = .null }, 0);
        }
        if (token.isWord("CASE")) return self.caseExpr();
        if (token.isWord("CAST")) return self.castExpr();
        if (token.isWord("EXISTS")) return self.diag.bad("subqueries are not supported", .{});
        inline for (.{ "CURRENT_TIME", "CURRENT_DATE", "CURRENT_TIMESTAMP", "RAISE" }) |word| {
            if (token.isWord(word)) return self.diag.bad(word ++ " is not supported", .{});
        }
        return self.columnOrCall();
    }

    fn columnOrCall(self: *Parser) Error!*Expr {
        const start = self.token.start;
        const token = self.token;
        // These two are functions too although they are keywords.
        const callable = token.isWord("REPLACE") or token.isWord("LIKE") or token.isWord("GLOB");
        var name = if (callable) blk: {
            self.advance();
            break :blk token.text;
        } else try self.identifier();
        if (self.token.is("(")) return self.call(start, name);
        var table: ?[]const u8 = null;
        if (self.accept(".")) {
            table = name;
            name = try self.identifier();
            if (self.accept(".")) {
                if (!std.ascii.eqlIgnoreCase(table.?, "main")) return self.diag.bad("no such table: {s}", .{table.?});
                table = name;
                name = try self.identifier();
            }
        }
        return self.make(start, .{ .column = .{ .table = table, .name = name } }, 0);
    }

    fn call(self: *Parser, start: usize, name: []const u8) Error!*Expr {
        try self.expect("(");
        var node: Expr.Call = .{ .name = name, .args = &.{}, .distinct = false, .star = false };
        if (self.accept("*")) {
            node.star = true;
        } else if (!self.token.is(")")) {
            if (self.acceptWord("DISTINCT")) node.distinct = true else _ = self.acceptWord("ALL");
            if (self.token.isWord("SELECT")) return self.diag.bad("subqueries are not supported", .{});
            node.args = try self.expressionList();
        }
        try self.expect(")");
        if (self.token.isWord("OVER")) return self.diag.bad("window functions are not supported: {s}", .{name});
        if (self.token.isWord("FILTER")) return self.diag.bad("FILTER is not supported: {s}", .{name});
        var height: u32 = 0;
        for (node.args) |arg| height = @max(height, arg.height);
        return self.make(start, .{ .call = node }, height);
    }

    fn caseExpr(self: *Parser) Error!*Expr {
        const start = self.token.start;
        self.advance();
        var height: u32 = 0;
        const base: ?*Expr = if (self.token.isWord("WHEN")) null else try self.expression();
        if (base) |expr| height = expr.height;
        var whens: std.ArrayList(ast.When) = .empty;
        while (self.acceptWord("WHEN")) {
            const condition = try self.expression();
            try self.expectWord("THEN");
            const result = try self.expression();
            height = @max(height, condition.height, result.height);
            try whens.append(self.arena, .{ .condition = condition, .result = result });
        }
        if (whens.items.len == 0) return self.fail();
        const otherwise: ?*Expr = if (self.acceptWord("ELSE")) try self.expression() else null;
        if (otherwise) |expr| height = @max(height, expr.height);
        try self.expectWord("END");
        return self.make(start, .{ .case = .{ .base = base, .whens = whens.items, .otherwise = otherwise } }, height);
    }

    fn castExpr(self: *Parser) Error!*Expr {
        const start = self.token.start;
        self.advance();
        try self.expect("(");
        const operand = try self.expression();
        try self.expectWord("AS");
        const type_name = try self.typeName();
        try self.expect(")");
        var affinity = value.affinityOfType(type_name);
        // A cast to an empty type name is numeric, not "no affinity".
        if (type_name.len == 0) affinity = .numeric;
        return self.make(start, .{ .cast = .{ .operand = operand, .affinity = affinity } }, operand.height);
    }

    /// The words of a type, with an optional (n) or (n, m) that means nothing.
    pub fn typeName(self: *Parser) Error![]const u8 {
        const start = self.token.start;
        var end = start;
        while (self.token.kind == .quoted or self.token.kind == .string or
            (self.token.kind == .word and !isReserved(self.token.text) and !self.token.isWord("GENERATED")))
        {
            end = self.token.end();
            self.advance();
        }
        if (end > start and self.accept("(")) {
            while (!self.token.is(")")) {
                const ok = switch (self.token.kind) {
                    .integer, .real, .word => true,
                    .punctuation => self.token.is(",") or self.token.is("-") or self.token.is("+"),
                    else => false,
                };
                if (!ok) return self.fail();
                self.advance();
            }
            self.advance();
            end = self.last_end;
        }
        return self.lexer.sql[start..end];
    }
};

/// Parses one whole statement.
pub fn parse(arena: std.mem.Allocator, diag: *Diag, sql: []const u8) Error!ast.Select {
    if (std.mem.findScalar(u8, sql, 0) != null) return diag.bad("the query holds a zero byte", .{});
    var parser: Parser = .init(arena, diag, sql);
    return parser.statement();
}

// --- Tests --------------------------------------------------------------------------------

fn expectError(sql: []const u8, message: []const u8) !void {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var diag: Diag = .{};
    try std.testing.expectError(error.BadInput, parse(arena.allocator(), &diag, sql));
    try std.testing.expectEqualStrings(message, diag.message());
}

fn repeat(comptime text: []const u8, comptime count: usize) []const u8 {
    const copies: [count][text.len]u8 = @splat(text[0..text.len].*);
    return std.mem.asBytes(&copies);
}

test "syntax errors name the token" {
    try expectError("SELEC 1", "near \"SELEC\": syntax error");
    try expectError("SELECT", "incomplete input");
    try expectError("SELECT 1 FROM", "incomplete input");
    try expectError("SELECT a FROM t WHERE", "incomplete input");
    try expectError("SELECT a b c FROM t", "near \"c\": syntax error");
    try expectError("SELECT 1 WHERE a NOT 3", "near \"3\": syntax error");
    try expectError("SELECT 'open", "unrecognized token: \"'open\"");
    try expectError("SELECT 0x12345678901234567", "hex literal too big: 0x12345678901234567");
    try expectError("SELECT * FROM a, b", "joins are not supported");
    try expectError("SELECT (SELECT 1)", "subqueries are not supported");
    try expectError("SELECT 1; SELECT 2", "near \"SELECT\": syntax error");
}

test "deep expressions are refused, not a stack overflow" {
    const message = "Expression tree is too large (maximum depth 1000)";
    try expectError("SELECT " ++ comptime repeat("(", 5000) ++ "1", message);
    try expectError("SELECT 1" ++ comptime repeat("+1", 2000), message);
    try expectError("SELECT " ++ comptime repeat("NOT ", 3000) ++ "1", message);
}

test "precedence" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var diag: Diag = .{};
    const select = try parse(arena.allocator(), &diag, "SELECT a OR b AND NOT c = 1 + 2 * 3 || 'x' COLLATE NOCASE");
    const root = select.columns[0].expr.expr.node.binary;
    try std.testing.expectEqual(ast.BinaryOp.@"or", root.op);
    const conjunction = root.right.node.binary;
    try std.testing.expectEqual(ast.BinaryOp.@"and", conjunction.op);
    const equal = conjunction.right.node.unary.operand.node.binary;
    try std.testing.expectEqual(ast.BinaryOp.eq, equal.op);
    const product = equal.right.node.binary.right.node.binary;
    try std.testing.expectEqual(ast.BinaryOp.mul, product.op);
    try std.testing.expectEqual(ast.BinaryOp.concat, product.right.node.binary.op);
    try std.testing.expectEqualStrings("2 * 3 || 'x' COLLATE NOCASE", equal.right.node.binary.right.source);
}
