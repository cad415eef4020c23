//! The messages of the chat: JSON objects, read in place and written in one exact form.

const std = @import("std");

pub const Kind = enum { join, chat, leave };

const room_bytes_max = 64;
const nick_characters_max = 32;
pub const nick_bytes_max = nick_characters_max * 4;
const text_bytes_max = 2000;
const id_max = (1 << 53) - 1;
/// A text whose every byte is escaped in six, and all around it.
pub const encoded_bytes_max = 6 * text_bytes_max + 1024;

/// What a client says. A member that is missing or not as it must be is null.
pub const Message = struct {
    kind: Kind,
    room: ?[]const u8 = null,
    nick: ?[]const u8 = null,
    id: ?u64 = null,
    text: ?[]const u8 = null,
};

/// What is wrong with what a client says; the names are what it is told.
pub const Fault = enum {
    @"not json",
    @"not an object",
    @"unknown type",
    @"bad room",
    @"bad nick",
    @"bad text",
    @"bad id",
    @"not joined",
    @"joined already",
};

pub const ParseError = error{ NotJson, NotAnObject, UnknownType };

/// Reads a message, and undoes its escapes where they are: what it returns lives in these bytes.
pub fn parse(bytes: []u8) ParseError!Message {
    var parser: Parser = .{ .bytes = bytes };
    parser.skipSpace();
    const is_object = parser.peek() == '{';
    var message: Message = .{ .kind = .leave };
    var kind: ?Kind = null;
    if (is_object) {
        parser.at += 1;
        try parser.object(&message, &kind);
    } else {
        try parser.skipValue();
    }
    parser.skipSpace();
    if (parser.at != bytes.len) return error.NotJson;
    if (!is_object) return error.NotAnObject;
    message.kind = kind orelse return error.UnknownType;
    return message;
}

const Member = enum { type, room, nick, id, text };

const Parser = struct {
    bytes: []u8,
    at: usize = 0,

    fn peek(self: *const Parser) u8 {
        // No JSON has this byte outside of a string.
        return if (self.at < self.bytes.len) self.bytes[self.at] else 0;
    }

    fn skipSpace(self: *Parser) void {
        while (self.at < self.bytes.len) : (self.at += 1) switch (self.bytes[self.at]) {
            ' ', '\t', '\n', '\r' => {},
            else => return,
        };
    }

    /// Reads the members of an object, behind its brace. Of members with the same name the last counts.
    fn object(self: *Parser, message: *Message, kind: *?Kind) ParseError!void {
        self.skipSpace();
        if (self.peek() == '}') {
            self.at += 1;
            return;
        }
        while (true) {
            const name = try self.key();
            switch (std.meta.stringToEnum(Member, name) orelse {
                try self.skipValue();
                if (try self.isLast()) return else continue;
            }) {
                .type => kind.* = if (try self.stringOrSkip()) |text| std.meta.stringToEnum(Kind, text) else null,
                .room => message.room = asRoom(try self.stringOrSkip()),
                .nick => message.nick = asNick(try self.stringOrSkip()),
                .text => message.text = asText(try self.stringOrSkip()),
                .id => message.id = try self.idOrSkip(),
            }
            if (try self.isLast()) return;
        }
    }

    /// Behind a member: a comma, or the end of the object.
    fn isLast(self: *Parser) ParseError!bool {
        self.skipSpace();
        const byte = self.peek();
        self.at += 1;
        return switch (byte) {
            ',' => false,
            '}' => true,
            else => error.NotJson,
        };
    }

    /// Reads a name and the colon.
    fn key(self: *Parser) ParseError![]const u8 {
        self.skipSpace();
        if (self.peek() != '"') return error.NotJson;
        const name = try self.string();
        self.skipSpace();
        if (self.peek() != ':') return error.NotJson;
        self.at += 1;
        return name;
    }

    fn stringOrSkip(self: *Parser) ParseError!?[]const u8 {
        self.skipSpace();
        if (self.peek() == '"') return try self.string();
        try self.skipValue();
        return null;
    }

    fn idOrSkip(self: *Parser) ParseError!?u64 {
        self.skipSpace();
        if (!std.ascii.isDigit(self.peek())) {
            try self.skipValue();
            return null;
        }
        const literal_digits = try self.number();
        if (literal_digits.len > 16) return null;
        var id: u64 = 0;
        for (literal_digits) |byte| {
            if (!std.ascii.isDigit(byte)) return null;
            id = id * 10 + (byte - '0');
        }
        return if (id <= id_max) id else null;
    }

    fn string(self: *Parser) ParseError![]const u8 {
        const start = self.at + 1;
        const end = plainEnd(self.bytes, start);
        if (end == self.bytes.len) return error.NotJson;
        if (self.bytes[end] != '"') return self.escapedString(start, end);
        self.at = end + 1;
        return self.bytes[start..end];
    }

    /// Goes on with a string at its first escape. What comes out is never longer than what goes in.
    fn escapedString(self: *Parser, start: usize, first_escape: usize) ParseError![]const u8 {
        const bytes = self.bytes;
        var end = first_escape;
        self.at = first_escape;
        while (self.at < bytes.len) switch (bytes[self.at]) {
            '"' => {
                self.at += 1;
                return bytes[start..end];
            },
            '\\' => end += try self.escape(bytes[end..]),
            0...0x1f => return error.NotJson,
            else => {
                const run_end = plainEnd(bytes, self.at);
                const run = bytes[self.at..run_end];
                @memmove(bytes[end..][0..run.len], run);
                end += run.len;
                self.at = run_end;
            },
        };
        return error.NotJson;
    }

    /// Writes what an escape means; returns how many bytes that are.
    fn escape(self: *Parser, out: []u8) ParseError!usize {
        if (self.bytes.len - self.at < 2) return error.NotJson;
        const byte = self.bytes[self.at + 1];
        if (byte == 'u') return self.unicodeEscape(out);
        out[0] = switch (byte) {
            '"', '\\', '/' => byte,
            'b' => 0x08,
            'f' => 0x0c,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            else => return error.NotJson,
        };
        self.at += 2;
        return 1;
    }

    fn unicodeEscape(self: *Parser, out: []u8) ParseError!usize {
        var character: u21 = try self.hexEscape();
        if (character & 0xfc00 == 0xdc00) return error.NotJson;
        if (character & 0xfc00 == 0xd800) {
            const low = try self.hexEscape();
            if (low & 0xfc00 != 0xdc00) return error.NotJson;
            character = 0x10000 + (((character & 0x3ff) << 10) | (low & 0x3ff));
        }
        return std.unicode.utf8Encode(character, out) catch unreachable; // no surrogate is left
    }

    /// Reads `\uXXXX`.
    fn hexEscape(self: *Parser) ParseError!u16 {
        const bytes = self.bytes[self.at..];
        if (bytes.len < 6 or bytes[0] != '\\' or bytes[1] != 'u') return error.NotJson;
        var value: u16 = 0;
        for (bytes[2..6]) |byte| value = value << 4 | (std.fmt.charToDigit(byte, 16) catch return error.NotJson);
        self.at += 6;
        return value;
    }

    /// Reads a number as JSON has it.
    fn number(self: *Parser) ParseError![]const u8 {
        const start = self.at;
        if (self.peek() == '-') self.at += 1;
        if (self.peek() == '0') self.at += 1 else try self.digits();
        if (self.peek() == '.') {
            self.at += 1;
            try self.digits();
        }
        if (self.peek() | 0x20 == 'e') {
            self.at += 1;
            if (self.peek() == '+' or self.peek() == '-') self.at += 1;
            try self.digits();
        }
        return self.bytes[start..self.at];
    }

    fn digits(self: *Parser) ParseError!void {
        if (!std.ascii.isDigit(self.peek())) return error.NotJson;
        while (std.ascii.isDigit(self.peek())) self.at += 1;
    }

    fn literal(self: *Parser, comptime word: []const u8) ParseError!void {
        if (!std.mem.startsWith(u8, self.bytes[self.at..], word)) return error.NotJson;
        self.at += word.len;
    }

    /// Reads any value without a use for it, however deep it is. The brackets that are open are noted over the text of
    /// the value itself: it is read already, and never shorter than the brackets in it.
    fn skipValue(self: *Parser) ParseError!void {
        const open = self.bytes[self.at..];
        var depth: usize = 0;
        while (true) {
            self.skipSpace();
            switch (self.peek()) {
                '{', '[' => |bracket| {
                    self.at += 1;
                    self.skipSpace();
                    // The closing brackets are two behind the opening ones.
                    if (self.peek() == bracket + 2) {
                        self.at += 1;
                    } else {
                        open[depth] = bracket;
                        depth += 1;
                        if (bracket == '{') _ = try self.key();
                        continue;
                    }
                },
                '"' => _ = try self.string(),
                '-', '0'...'9' => _ = try self.number(),
                't' => try self.literal("true"),
                'f' => try self.literal("false"),
                'n' => try self.literal("null"),
                else => return error.NotJson,
            }
            // A value has ended, and maybe what it is in.
            while (depth != 0) {
                const bracket = open[depth - 1];
                self.skipSpace();
                const byte = self.peek();
                self.at += 1;
                if (byte == ',') {
                    if (bracket == '{') _ = try self.key();
                    break;
                }
                if (byte != bracket + 2) return error.NotJson;
                depth -= 1;
            } else return;
        }
    }
};

const Block = @Vector(16, u8);

/// The place of the next byte that is special in a string, or the end.
fn plainEnd(bytes: []const u8, from: usize) usize {
    var at = from;
    while (bytes.len - at >= 16) : (at += 16) {
        const block: Block = bytes[at..][0..16].*;
        const quotes: u16 = @bitCast(block == @as(Block, @splat('"')));
        const slashes: u16 = @bitCast(block == @as(Block, @splat('\\')));
        const controls: u16 = @bitCast(block < @as(Block, @splat(' ')));
        const special = quotes | slashes | controls;
        if (special != 0) return at + @ctz(special);
    }
    while (at < bytes.len) : (at += 1) switch (bytes[at]) {
        '"', '\\', 0...0x1f => break,
        else => {},
    };
    return at;
}

fn asRoom(value: ?[]const u8) ?[]const u8 {
    const room = value orelse return null;
    if (room.len == 0 or room.len > room_bytes_max) return null;
    for (room) |byte| switch (byte) {
        'a'...'z', '0'...'9', '_', '-' => {},
        else => return null,
    };
    return room;
}

fn asNick(value: ?[]const u8) ?[]const u8 {
    const nick = value orelse return null;
    if (nick.len == 0 or nick.len > nick_bytes_max) return null;
    var characters: usize = 0;
    for (nick, 0..) |byte, i| {
        if (byte < ' ' or byte == 0x7f) return null;
        // The other control characters, U+0080 to U+009F.
        if (byte == 0xc2 and nick[i + 1] < 0xa0) return null;
        characters += @intFromBool(byte & 0xc0 != 0x80);
    }
    return if (characters <= nick_characters_max) nick else null;
}

fn asText(value: ?[]const u8) ?[]const u8 {
    const text = value orelse return null;
    return if (text.len == 0 or text.len > text_bytes_max) null else text;
}

/// A message of ours that grows in a buffer large enough for any.
pub const Writer = struct {
    buffer: []u8,
    end: usize = 0,

    pub fn written(self: *const Writer) []const u8 {
        return self.buffer[0..self.end];
    }

    fn raw(self: *Writer, text: []const u8) void {
        @memcpy(self.buffer[self.end..][0..text.len], text);
        self.end += text.len;
    }

    fn integer(self: *Writer, value: u64) void {
        self.end += std.fmt.printInt(self.buffer[self.end..], value, 10, .lower, .{});
    }

    /// Writes a string with as few escapes as there can be.
    fn string(self: *Writer, text: []const u8) void {
        var rest = text;
        while (true) {
            const end = plainEnd(rest, 0);
            self.raw(rest[0..end]);
            if (end == rest.len) return;
            switch (rest[end]) {
                '"' => self.raw("\\\""),
                '\\' => self.raw("\\\\"),
                0x08 => self.raw("\\b"),
                0x0c => self.raw("\\f"),
                '\n' => self.raw("\\n"),
                '\r' => self.raw("\\r"),
                '\t' => self.raw("\\t"),
                else => |byte| {
                    self.raw("\\u00");
                    self.raw(&.{ std.fmt.digitToChar(byte >> 4, .lower), std.fmt.digitToChar(byte & 15, .lower) });
                },
            }
            rest = rest[end + 1 ..];
        }
    }
};

pub fn joined(buffer: []u8, room: []const u8, nick: []const u8, members: usize) []const u8 {
    var writer: Writer = .{ .buffer = buffer };
    writer.raw("{\"type\":\"joined\",\"room\":\"");
    writer.raw(room);
    writer.raw("\",\"nick\":\"");
    writer.string(nick);
    writer.raw("\",\"members\":");
    writer.integer(members);
    writer.raw("}");
    return writer.written();
}

pub fn chat(buffer: []u8, room: []const u8, nick: []const u8, seq: u64, text: []const u8) []const u8 {
    var writer: Writer = .{ .buffer = buffer };
    writer.raw("{\"type\":\"chat\",\"room\":\"");
    writer.raw(room);
    writer.raw("\",\"nick\":\"");
    writer.string(nick);
    writer.raw("\",\"seq\":");
    writer.integer(seq);
    writer.raw(",\"text\":\"");
    writer.string(text);
    writer.raw("\"}");
    return writer.written();
}

pub fn accepted(buffer: []u8, id: u64, seq: u64) []const u8 {
    var writer: Writer = .{ .buffer = buffer };
    writer.raw("{\"type\":\"accepted\",\"id\":");
    writer.integer(id);
    writer.raw(",\"seq\":");
    writer.integer(seq);
    writer.raw("}");
    return writer.written();
}

pub fn refused(buffer: []u8, id: u64) []const u8 {
    var writer: Writer = .{ .buffer = buffer };
    writer.raw("{\"type\":\"refused\",\"id\":");
    writer.integer(id);
    writer.raw(",\"reason\":\"rate\"}");
    return writer.written();
}

pub fn presence(buffer: []u8, room: []const u8, members: usize) []const u8 {
    var writer: Writer = .{ .buffer = buffer };
    writer.raw("{\"type\":\"presence\",\"room\":\"");
    writer.raw(room);
    writer.raw("\",\"members\":");
    writer.integer(members);
    writer.raw("}");
    return writer.written();
}

pub fn left(buffer: []u8, room: []const u8) []const u8 {
    var writer: Writer = .{ .buffer = buffer };
    writer.raw("{\"type\":\"left\",\"room\":\"");
    writer.raw(room);
    writer.raw("\"}");
    return writer.written();
}

pub fn fault(buffer: []u8, what: Fault) []const u8 {
    var writer: Writer = .{ .buffer = buffer };
    writer.raw("{\"type\":\"error\",\"reason\":\"");
    writer.raw(@tagName(what));
    writer.raw("\"}");
    return writer.written();
}

fn repeated(comptime text: []const u8, comptime count: usize) []const u8 {
    @setEvalBranchQuota(10 * count + 1000);
    comptime var all: [text.len * count]u8 = undefined;
    comptime for (0..count) |i| @memcpy(all[i * text.len ..][0..text.len], text);
    const fixed = all;
    return &fixed;
}

fn testParse(buffer: []u8, text: []const u8) ParseError!Message {
    @memcpy(buffer[0..text.len], text);
    return parse(buffer[0..text.len]);
}

test "messages that are understood" {
    var buffer: [4096]u8 = undefined;
    const joins = try testParse(&buffer, " {\"nick\" : \"A\\u00e9 \\ud83d\\ude00\" , \"type\":\"join\",\"room\":\"a_-9\"}\n");
    try std.testing.expectEqual(Kind.join, joins.kind);
    try std.testing.expectEqualStrings("a_-9", joins.room.?);
    try std.testing.expectEqualStrings("A\u{e9} \u{1f600}", joins.nick.?);
    const chats = try testParse(&buffer,
        \\{"x":[{},[],{"type":"leave","a":[1,{"b":null}]},-1.5e+3,true,false],"\u0074ype":"chat","id":9007199254740991,
        \\"text":"a long enough line, then \"\\\/\b\f\n\r\t\u0000 and \u20AC"}
    );
    try std.testing.expectEqual(Kind.chat, chats.kind);
    try std.testing.expectEqual(id_max, chats.id.?);
    try std.testing.expectEqualStrings("a long enough line, then \"\\/\x08\x0c\n\r\t\x00 and \u{20ac}", chats.text.?);
    try std.testing.expectEqual(Kind.leave, (try testParse(&buffer, "{\"type\":\"chat\",\"type\":\"leave\"}")).kind);
}

test "messages that are not" {
    var buffer: [8192]u8 = undefined;
    for ([_][]const u8{
        "",            "{",                "{}x",                 "{\"type\"}",           "{\"type\":}",
        "{'a':1}",     "{\"a\":1,}",       "{\"a\":01}",          "{\"a\":1.}",           "{\"a\":.5}",
        "{\"a\":+1}",  "{\"a\":1e}",       "{\"a\":\"\n\"}",      "{\"a\":\"\\x\"}",      "{\"a\":\"\\ud800\"}",
        "{\"a\":tru}", "{\"a\":[1,]}",     "{\"a\":[1}",          "{\"a\":{1:2}}",        "{\"a\":\"\\udc00\\ud800\"}",
        "[",           "{\"a\":\"\\u12\"", "{\"a\":\"\\u+123\"}", "{\"a\":NaN}",          "{\"a\" 1}",
        "nul",         "\"",               "\"\\",                "{\"a\":\"\\ud83dx\"}", "{\"type\":\"chat\"\x00}",
    }) |text| try std.testing.expectError(error.NotJson, testParse(&buffer, text));
    for ([_][]const u8{ "[]", "1", "\"x\"", " null ", "[[{\"a\":[]}]]", "-0.1" }) |text| {
        try std.testing.expectError(error.NotAnObject, testParse(&buffer, text));
    }
    for ([_][]const u8{ "{}", "{\"type\":1}", "{\"type\":\"\"}", "{\"type\":\"joined\"}", "{\"type\":\"chat\",\"type\":[]}", " { } " }) |text| {
        try std.testing.expectError(error.UnknownType, testParse(&buffer, text));
    }
    // However deep, what is valid is valid.
    const deep = comptime repeated("[{\"a\":", 600) ++ "1" ++ repeated("}]", 600);
    try std.testing.expectError(error.NotAnObject, testParse(&buffer, deep));
    try std.testing.expectEqual(Kind.leave, (try testParse(&buffer, "{\"a\":" ++ deep ++ ",\"type\":\"leave\"}")).kind);
    try std.testing.expectError(error.NotJson, testParse(&buffer, deep[0 .. deep.len - 1] ++ "}"));
    @memset(&buffer, '[');
    try std.testing.expectError(error.NotJson, parse(&buffer));
}

test "members that are not as they must be" {
    var buffer: [4096]u8 = undefined;
    for ([_][]const u8{ "-1", "-0", "1.0", "1e3", "9007199254740992", "99999999999999999999", "\"1\"", "null", "[1]" }) |id| {
        var text: [100]u8 = undefined;
        const message = try testParse(&buffer, try std.fmt.bufPrint(&text, "{{\"id\":{s},\"type\":\"chat\"}}", .{id}));
        try std.testing.expectEqual(null, message.id);
    }
    try std.testing.expectEqual(null, asRoom(""));
    try std.testing.expectEqual(null, asRoom("A"));
    try std.testing.expectEqual(null, asRoom(repeated("a", 65)));
    try std.testing.expect(asRoom(repeated("a", 64)) != null);
    try std.testing.expect(asNick(repeated("\u{1f600}", 32)) != null);
    for ([_][]const u8{ "", repeated("a", 33), repeated("\u{e9}", 33), "a\tb", "a\x7f", "a\u{80}", "\u{9f}" }) |nick| {
        try std.testing.expectEqual(null, asNick(nick));
    }
    try std.testing.expect(asNick("\u{a0}") != null);
    try std.testing.expectEqual(null, asText(""));
    try std.testing.expect(asText(repeated("a", 2000)) != null);
    try std.testing.expectEqual(null, asText(repeated("a", 2001)));
}

test "what is written" {
    var buffer: [encoded_bytes_max]u8 = undefined;
    try std.testing.expectEqualStrings(
        "{\"type\":\"chat\",\"room\":\"r\",\"nick\":\"\\\"n\\\\\",\"seq\":18,\"text\":\"\\b\\f\\n\\r\\t\\u0000\\u001f\x7f/ \u{e9}\"}",
        chat(&buffer, "r", "\"n\\", 18, "\x08\x0c\n\r\t\x00\x1f\x7f/ \u{e9}"),
    );
    try std.testing.expectEqualStrings("{\"type\":\"joined\",\"room\":\"r\",\"nick\":\"n\",\"members\":2}", joined(&buffer, "r", "n", 2));
    try std.testing.expectEqualStrings("{\"type\":\"accepted\",\"id\":0,\"seq\":1}", accepted(&buffer, 0, 1));
    try std.testing.expectEqualStrings("{\"type\":\"refused\",\"id\":9,\"reason\":\"rate\"}", refused(&buffer, 9));
    try std.testing.expectEqualStrings("{\"type\":\"presence\",\"room\":\"r\",\"members\":3}", presence(&buffer, "r", 3));
    try std.testing.expectEqualStrings("{\"type\":\"left\",\"room\":\"r\"}", left(&buffer, "r"));
    try std.testing.expectEqualStrings("{\"type\":\"error\",\"reason\":\"not an object\"}", fault(&buffer, .@"not an object"));
    // The longest there can be.
    _ = chat(&buffer, repeated("r", 64), repeated("\"", 32), std.math.maxInt(u64), repeated("\x00", 2000));
}
