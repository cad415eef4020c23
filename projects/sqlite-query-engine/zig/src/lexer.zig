//! SQL text to tokens, on demand: nothing is allocated.

const std = @import("std");

pub const Kind = enum {
    end,
    /// A bare word: an identifier or a keyword, the parser decides.
    word,
    /// "x", `x` or [x]
    quoted,
    string,
    blob,
    integer,
    real,
    punctuation,
    illegal,
};

pub const Token = struct {
    kind: Kind,
    /// The bytes as written, quotes included.
    text: []const u8,
    start: usize,

    pub fn is(self: Token, symbol: []const u8) bool {
        return self.kind == .punctuation and std.mem.eql(u8, self.text, symbol);
    }

    pub fn isWord(self: Token, keyword: []const u8) bool {
        return self.kind == .word and std.ascii.eqlIgnoreCase(self.text, keyword);
    }

    pub fn end(self: Token) usize {
        return self.start + self.text.len;
    }
};

pub const Lexer = struct {
    sql: []const u8,
    at: usize = 0,

    pub fn next(self: *Lexer) Token {
        self.skipBlank();
        const start = self.at;
        if (start >= self.sql.len) return .{ .kind = .end, .text = "", .start = self.sql.len };
        const kind = self.scan(self.sql[start]);
        return .{ .kind = kind, .text = self.sql[start..self.at], .start = start };
    }

    fn skipBlank(self: *Lexer) void {
        while (self.at < self.sql.len) {
            const rest = self.sql[self.at..];
            if (rest[0] == ' ' or (rest[0] >= 9 and rest[0] <= 13 and rest[0] != 11)) {
                self.at += 1;
            } else if (std.mem.startsWith(u8, rest, "--")) {
                self.at += std.mem.findScalar(u8, rest, '\n') orelse rest.len;
            } else if (std.mem.startsWith(u8, rest, "/*") and rest.len > 2) {
                // An unclosed comment runs to the end of the text, as in SQLite.
                self.at += if (std.mem.find(u8, rest[2..], "*/")) |i| i + 4 else rest.len;
            } else return;
        }
    }

    fn scan(self: *Lexer, first: u8) Kind {
        switch (first) {
            '\'' => return self.quoted('\'', .string),
            '"', '`' => return self.quoted(first, .quoted),
            '[' => {
                const close = std.mem.findScalarPos(u8, self.sql, self.at, ']');
                self.at = if (close) |i| i + 1 else self.sql.len;
                return if (close == null) .illegal else .quoted;
            },
            '0'...'9' => return self.number(),
            '.' => if (self.digitAt(self.at + 1)) return self.number(),
            'x', 'X' => if (self.byteAt(self.at + 1) == '\'') return self.blob(),
            else => {},
        }
        if (isWordStart(first)) {
            self.skipWord();
            return .word;
        }
        return self.operator();
    }

    fn operator(self: *Lexer) Kind {
        const two = [_][]const u8{ "||", "<=", ">=", "==", "!=", "<>", "<<", ">>" };
        for (two) |symbol| {
            if (std.mem.startsWith(u8, self.sql[self.at..], symbol)) {
                self.at += 2;
                return .punctuation;
            }
        }
        self.at += 1;
        return if (std.mem.findScalar(u8, "+-*/%(),.;<>=&|~", self.sql[self.at - 1]) != null) .punctuation else .illegal;
    }

    fn quoted(self: *Lexer, quote: u8, kind: Kind) Kind {
        self.at += 1;
        while (std.mem.findScalarPos(u8, self.sql, self.at, quote)) |i| {
            self.at = i + 1;
            if (self.byteAt(self.at) != quote) return kind;
            self.at += 1;
        }
        self.at = self.sql.len;
        return .illegal;
    }

    fn blob(self: *Lexer) Kind {
        self.at += 2;
        const start = self.at;
        while (std.ascii.isHex(self.byteAt(self.at))) self.at += 1;
        const digits = self.at - start;
        if (self.byteAt(self.at) == '\'') {
            self.at += 1;
            if (digits % 2 == 0) return .blob;
        }
        return .illegal;
    }

    fn number(self: *Lexer) Kind {
        if (self.byteAt(self.at) == '0' and self.byteAt(self.at + 1) | 0x20 == 'x' and
            std.ascii.isHex(self.byteAt(self.at + 2)))
        {
            self.at += 3;
            while (std.ascii.isHex(self.byteAt(self.at))) self.at += 1;
            return self.endNumber(.integer);
        }
        var kind: Kind = .integer;
        self.skipDigits();
        if (self.byteAt(self.at) == '.') {
            kind = .real;
            self.at += 1;
            self.skipDigits();
        }
        if (self.byteAt(self.at) | 0x20 == 'e') {
            const sign: usize = @intFromBool(self.byteAt(self.at + 1) == '+' or self.byteAt(self.at + 1) == '-');
            if (self.digitAt(self.at + 1 + sign)) {
                kind = .real;
                self.at += 1 + sign;
                self.skipDigits();
            }
        }
        return self.endNumber(kind);
    }

    /// A number that runs into a word (12abc) is not a token.
    fn endNumber(self: *Lexer, kind: Kind) Kind {
        if (!isWordByte(self.byteAt(self.at))) return kind;
        self.skipWord();
        return .illegal;
    }

    fn skipDigits(self: *Lexer) void {
        while (self.digitAt(self.at)) self.at += 1;
    }

    fn skipWord(self: *Lexer) void {
        while (isWordByte(self.byteAt(self.at))) self.at += 1;
    }

    fn digitAt(self: *const Lexer, at: usize) bool {
        return std.ascii.isDigit(self.byteAt(at));
    }

    /// Past the end there are only zero bytes; a real one is never part of a token.
    fn byteAt(self: *const Lexer, at: usize) u8 {
        return if (at < self.sql.len) self.sql[at] else 0;
    }
};

fn isWordStart(byte: u8) bool {
    return std.ascii.isAlphabetic(byte) or byte == '_' or byte >= 0x80;
}

fn isWordByte(byte: u8) bool {
    return isWordStart(byte) or std.ascii.isDigit(byte) or byte == '$';
}

/// The content of a quoted token: the quotes off, doubled quotes made single.
pub fn unquote(arena: std.mem.Allocator, text: []const u8) std.mem.Allocator.Error![]const u8 {
    const inner = text[1 .. text.len - 1];
    if (text[0] == '[' or std.mem.findScalar(u8, inner, text[0]) == null) return inner;
    var out: std.ArrayList(u8) = try .initCapacity(arena, inner.len);
    var i: usize = 0;
    while (i < inner.len) : (i += 1) {
        out.appendAssumeCapacity(inner[i]);
        if (inner[i] == text[0]) i += 1;
    }
    return out.items;
}

test Lexer {
    const cases = [_]struct { []const u8, []const Kind }{
        .{ "SELECT *", &.{ .word, .punctuation, .end } },
        .{ "1 1.5 .5 1e3 0xFF", &.{ .integer, .real, .real, .real, .integer, .end } },
        .{ "1e", &.{ .illegal, .end } },
        .{ "'it''s' \"q\" [b c] `d`", &.{ .string, .quoted, .quoted, .quoted, .end } },
        .{ "x'0aFF' x'0' x'zz'", &.{ .blob, .illegal, .illegal, .word, .illegal, .end } },
        .{ "a--c\n<>/* x */b", &.{ .word, .punctuation, .word, .end } },
        .{ "'open", &.{ .illegal, .end } },
        .{ "a /* open", &.{ .word, .end } },
        .{ "12abc", &.{ .illegal, .end } },
    };
    for (cases) |case| {
        var lexer: Lexer = .{ .sql = case[0] };
        for (case[1]) |kind| try std.testing.expectEqual(kind, lexer.next().kind);
    }
}

test unquote {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    try std.testing.expectEqualStrings("it's", try unquote(arena.allocator(), "'it''s'"));
    try std.testing.expectEqualStrings("", try unquote(arena.allocator(), "''"));
    try std.testing.expectEqualStrings("a b", try unquote(arena.allocator(), "[a b]"));
}
