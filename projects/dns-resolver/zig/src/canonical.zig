//! Names, types and answers as text: what people write in files, and one canonical line for each answer.
//!
//! In a line all names are in lower case, the records of a set are sorted by their canonical data (RFC 4034, 6.3), and
//! data of types that we do not take apart is shown as RFC 3597 says.

const std = @import("std");
const wire = @import("wire.zig");
const Answer = @import("cache.zig").Answer;
const Record = wire.Record;
const Type = wire.Type;
const Writer = std.Io.Writer;

const Known = struct { name: []const u8, type: u16 };

const known = [_]Known{
    .{ .name = "A", .type = Type.a },     .{ .name = "AAAA", .type = Type.aaaa }, .{ .name = "CNAME", .type = Type.cname },
    .{ .name = "MX", .type = Type.mx },   .{ .name = "TXT", .type = Type.txt },   .{ .name = "SRV", .type = Type.srv },
    .{ .name = "SOA", .type = Type.soa }, .{ .name = "NS", .type = Type.ns },     .{ .name = "PTR", .type = Type.ptr },
};

// --- reading text ---

pub const NameError = error{ LabelTooLong, NameTooLong, EmptyLabel, BadEscape };

pub fn nameReason(err: NameError) []const u8 {
    return switch (err) {
        error.LabelTooLong => "label longer than 63 bytes",
        error.NameTooLong => "name longer than 255 bytes",
        error.EmptyLabel => "empty label",
        error.BadEscape => "bad escape",
    };
}

/// Reads a name with the escapes of master files. It is absolute, with or without a dot at the end.
pub fn parseName(text: []const u8) NameError!wire.Name {
    if (std.mem.eql(u8, text, ".")) return .root;
    var bytes: [wire.name_bytes_max]u8 = undefined;
    var used: usize = 1;
    var label_at: usize = 0;
    var at: usize = 0;
    while (at < text.len) {
        if (text[at] == '.') {
            at += 1;
            try endLabel(&bytes, label_at, used);
            label_at = used;
            used += 1;
            if (used > bytes.len) return error.NameTooLong;
            continue;
        }
        const byte, at = try parseByte(text, at);
        if (used - label_at > wire.label_bytes_max) return error.LabelTooLong;
        if (used == bytes.len) return error.NameTooLong;
        bytes[used] = byte;
        used += 1;
    }
    if (used - label_at != 1) {
        try endLabel(&bytes, label_at, used);
        label_at = used;
        if (used == bytes.len) return error.NameTooLong;
    } else if (label_at == 0) return error.EmptyLabel;
    bytes[label_at] = 0;
    return .of(bytes[0 .. label_at + 1]);
}

fn endLabel(bytes: []u8, label_at: usize, end: usize) NameError!void {
    if (end - label_at == 1) return error.EmptyLabel;
    bytes[label_at] = @intCast(end - label_at - 1);
}

fn parseByte(text: []const u8, at: usize) NameError!struct { u8, usize } {
    if (text[at] != '\\') return .{ text[at], at + 1 };
    if (at + 1 == text.len) return error.BadEscape;
    if (!std.ascii.isDigit(text[at + 1])) return .{ text[at + 1], at + 2 };
    if (at + 4 > text.len) return error.BadEscape;
    for (text[at + 1 ..][0..3]) |digit| if (!std.ascii.isDigit(digit)) return error.BadEscape;
    return .{ std.fmt.parseInt(u8, text[at + 1 ..][0..3], 10) catch return error.BadEscape, at + 4 };
}

/// Reads a mnemonic or `TYPEnnn`, in letters of any case.
pub fn parseType(text: []const u8) ?u16 {
    for (known) |entry| if (std.ascii.eqlIgnoreCase(entry.name, text)) return entry.type;
    if (text.len < 5 or text.len > 9 or !std.ascii.eqlIgnoreCase(text[0..4], "TYPE")) return null;
    for (text[4..]) |digit| if (!std.ascii.isDigit(digit)) return null;
    return std.fmt.parseInt(u16, text[4..], 10) catch null;
}

// --- writing text ---

/// Writes answers as lines; keeps memory from one to the next.
pub const Lines = struct {
    gpa: std.mem.Allocator,
    records: wire.Records = .{},
    /// Where each record is, and its data.
    places: std.ArrayList(Record) = .empty,

    pub const Error = error{ OutOfMemory, WriteFailed };

    pub fn deinit(self: *Lines) void {
        self.records.bytes.deinit(self.gpa);
        self.places.deinit(self.gpa);
    }

    /// Writes the line of an answer, with its end. `message` holds the answer behind its question.
    pub fn write(self: *Lines, writer: *Writer, name: []const u8, kind: u16, answer: *const Answer, message: []const u8) Error!void {
        try self.spellOut(kind, answer, message, wire.header_bytes + name.len + 4);
        self.sortSets();
        try writeName(writer, name);
        try writer.writeByte(' ');
        try writeType(writer, kind);
        try writer.print(" {s} ", .{rcodeText(answer.rcode)});
        for (self.places.items, 0..) |*record, i| {
            if (i != 0) try writer.writeAll(" ; ");
            try writeRecord(writer, self.records.bytes.items, record);
        }
        try writer.writeAll(if (self.places.items.len == 0) "-\n" else "\n");
    }

    /// Takes the records of an answer, all names spelled out in lower case. The alias of a whole subtree is not shown,
    /// what follows from it is.
    fn spellOut(self: *Lines, kind: u16, answer: *const Answer, message: []const u8, start: usize) Error!void {
        self.records.clear();
        self.places.clearRetainingCapacity();
        var at = start;
        for (0..answer.answers) |_| {
            // We made the answer, so it can be read.
            const record = Record.read(message, at) catch unreachable;
            at = record.end;
            if (record.type == Type.dname and kind != Type.dname) continue;
            var owner: wire.Name = undefined;
            _ = wire.readName(message, record.at, &owner) catch unreachable;
            _ = wire.lower(&owner.buffer, owner.slice());
            const from = self.records.bytes.items.len;
            self.records.add(self.gpa, message, &record, owner.slice(), 0) catch |err| switch (err) {
                error.OutOfMemory => return error.OutOfMemory,
                error.Malformed, error.TooLarge => unreachable,
            };
            const bytes = self.records.bytes.items;
            const spelled = Record.read(bytes, from) catch unreachable;
            wire.lowerData(spelled.type, bytes[spelled.data_at..spelled.end]);
            try self.places.append(self.gpa, spelled);
        }
    }

    fn sortSets(self: *Lines) void {
        const bytes = self.records.bytes.items;
        var rest = self.places.items;
        while (rest.len != 0) {
            const owner = rest[0].owner(bytes);
            var count: usize = 1;
            while (count < rest.len and rest[count].type == rest[0].type and std.mem.eql(u8, rest[count].owner(bytes), owner)) count += 1;
            std.mem.sort(Record, rest[0..count], bytes, isBefore);
            rest = rest[count..];
        }
    }

    fn isBefore(bytes: []const u8, a: Record, b: Record) bool {
        return std.mem.lessThan(u8, a.data(bytes), b.data(bytes));
    }
};

fn rcodeText(rcode: u8) []const u8 {
    return switch (rcode) {
        wire.Rcode.noerror => "NOERROR",
        wire.Rcode.nxdomain => "NXDOMAIN",
        wire.Rcode.servfail => "SERVFAIL",
        wire.Rcode.notimp => "NOTIMP",
        wire.Rcode.refused => "REFUSED",
        else => "FORMERR",
    };
}

/// Writes a name in lower case, with the escapes of master files.
pub fn writeName(writer: *Writer, name: []const u8) Writer.Error!void {
    if (name[0] == 0) return writer.writeByte('.');
    var rest = name;
    while (rest[0] != 0) : (rest = wire.parent(rest)) {
        for (rest[1..][0..rest[0]]) |byte| switch (byte) {
            '.', '\\', '"', '(', ')', ';', '@', '$' => try writer.writeAll(&.{ '\\', byte }),
            'A'...'Z' => try writer.writeByte(byte | 0x20),
            else => if (byte > 0x20 and byte < 0x7f) try writer.writeByte(byte) else try writer.print("\\{d:0>3}", .{byte}),
        };
        try writer.writeByte('.');
    }
}

/// Prints a name as `writeName` does.
pub fn shown(name: []const u8) Shown {
    return .{ .name = name };
}

const Shown = struct {
    name: []const u8,

    pub fn format(self: Shown, writer: *Writer) Writer.Error!void {
        return writeName(writer, self.name);
    }
};

fn writeType(writer: *Writer, kind: u16) Writer.Error!void {
    for (known) |entry| if (entry.type == kind) return writer.writeAll(entry.name);
    return writer.print("TYPE{d}", .{kind});
}

fn writeRecord(writer: *Writer, bytes: []const u8, record: *const Record) Writer.Error!void {
    try writeName(writer, record.owner(bytes));
    try writer.writeByte(' ');
    try writeType(writer, record.type);
    try writer.writeByte(' ');
    try writeData(writer, record.type, record.data(bytes));
}

/// Writes data that is valid and has its names spelled out.
fn writeData(writer: *Writer, kind: u16, data: []const u8) Writer.Error!void {
    switch (kind) {
        Type.a => try writer.print("{d}.{d}.{d}.{d}", .{ data[0], data[1], data[2], data[3] }),
        Type.aaaa => try writeIp6(writer, data[0..16]),
        Type.ns, Type.cname, Type.ptr => try writeName(writer, data),
        Type.mx => {
            try writer.print("{d} ", .{wire.read16(data, 0)});
            try writeName(writer, data[2..]);
        },
        Type.srv => {
            try writer.print("{d} {d} {d} ", .{ wire.read16(data, 0), wire.read16(data, 2), wire.read16(data, 4) });
            try writeName(writer, data[6..]);
        },
        Type.soa => {
            const mailbox_at = wire.skipName(data, 0) catch unreachable;
            const numbers = data[data.len - 20 ..];
            try writeName(writer, data[0..mailbox_at]);
            try writer.writeByte(' ');
            try writeName(writer, data[mailbox_at..]);
            for (0..5) |i| try writer.print(" {d}", .{wire.read32(numbers, 4 * i)});
        },
        Type.txt => try writeStrings(writer, data),
        else => {
            try writer.print("\\# {d}", .{data.len});
            if (data.len != 0) try writer.print(" {x}", .{data});
        },
    }
}

fn writeStrings(writer: *Writer, data: []const u8) Writer.Error!void {
    var at: usize = 0;
    while (at < data.len) : (at += 1 + @as(usize, data[at])) {
        try writer.writeAll(if (at == 0) "\"" else " \"");
        for (data[at + 1 ..][0..data[at]]) |byte| switch (byte) {
            '"', '\\' => try writer.writeAll(&.{ '\\', byte }),
            else => if (byte >= 0x20 and byte < 0x7f) try writer.writeByte(byte) else try writer.print("\\{d:0>3}", .{byte}),
        };
        try writer.writeByte('"');
    }
}

/// RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups left out.
fn writeIp6(writer: *Writer, bytes: *const [16]u8) Writer.Error!void {
    var best_at: usize = 8;
    var best_count: usize = 1;
    var count: usize = 0;
    for (0..8) |i| {
        count = if (wire.read16(bytes, 2 * i) == 0) count + 1 else 0;
        if (count > best_count) {
            best_at = i + 1 - count;
            best_count = count;
        }
    }
    // An IPv4 address in ::ffff:0:0/96 is shown as such.
    if (best_at == 0 and best_count == 5 and wire.read16(bytes, 10) == 0xffff) {
        return writer.print("::ffff:{d}.{d}.{d}.{d}", .{ bytes[12], bytes[13], bytes[14], bytes[15] });
    }
    var i: usize = 0;
    while (i < 8) {
        if (i == best_at) {
            try writer.writeAll("::");
            i += best_count;
            continue;
        }
        if (i != 0 and i != best_at + best_count) try writer.writeByte(':');
        try writer.print("{x}", .{wire.read16(bytes, 2 * i)});
        i += 1;
    }
}

fn expectNameText(text: []const u8, expected: []const u8) !void {
    const name = try parseName(text);
    var buffer: [1100]u8 = undefined;
    var writer: Writer = .fixed(&buffer);
    try writeName(&writer, name.slice());
    try std.testing.expectEqualStrings(expected, writer.buffered());
}

test "names as text" {
    try expectNameText(".", ".");
    try expectNameText("WWW.Example.test", "www.example.test.");
    try expectNameText("a\\.b.c\\032d\\\\.", "a\\.b.c\\032d\\\\.");
    try expectNameText("\\065\\000@.x", "a\\000\\@.x.");
    const label: [63]u8 = @splat('x');
    const three = label ++ ".".* ++ label ++ ".".* ++ label ++ ".".*;
    const rest: [61]u8 = @splat('y');
    try expectNameText(&(three ++ rest), &(three ++ rest ++ ".".*));
    try std.testing.expectError(error.NameTooLong, parseName(&(three ++ rest ++ "y".*)));
    try std.testing.expectError(error.NameTooLong, parseName(&(three ++ label)));
    try std.testing.expectError(error.LabelTooLong, parseName(&(label ++ "x.y".*)));
    for ([_][]const u8{ "", "a..b", ".a", ".." }) |text| try std.testing.expectError(error.EmptyLabel, parseName(text));
    for ([_][]const u8{ "a\\", "a\\25", "a\\256", "a\\1x1" }) |text| try std.testing.expectError(error.BadEscape, parseName(text));
}

test "types as text" {
    try std.testing.expectEqual(28, parseType("aaaa").?);
    try std.testing.expectEqual(65280, parseType("type65280").?);
    for ([_][]const u8{ "", "B", "TYPE", "TYPE65536", "TYPE1x", "TYPE-1" }) |text| try std.testing.expectEqual(null, parseType(text));
}

test "data as text" {
    var buffer: [256]u8 = undefined;
    for ([_]struct { u16, []const u8, []const u8 }{
        .{ 1, "\x0a\x00\x00\xff", "10.0.0.255" },
        .{ 28, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", "2001:db8::1" },
        .{ 28, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01", "2001:db8::1:0:0:1" },
        .{ 28, "\x20\x01\x0d\xb8\x00\x01\x00\x00\x00\x01\x00\x02\x00\x03\x00\x01", "2001:db8:1:0:1:2:3:1" },
        .{ 28, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "::" },
        .{ 28, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "2001:db8::" },
        .{ 15, "\x00\x0a\x04mail\x01x\x00", "10 mail.x." },
        .{ 16, "\x03a\"\\\x00\x01\xff", "\"a\\\"\\\\\" \"\" \"\\255\"" },
        .{ 33, "\x00\x01\x00\x02\x13\xc4\x00", "1 2 5060 ." },
        .{ 6, "\x01a\x00\x01b\x00" ++ "\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01", "a. b. 1 1 1 1 1" },
        .{ 65280, "\x0a\x00\x00\x01", "\\# 4 0a000001" },
        .{ 65280, "", "\\# 0" },
    }) |row| {
        var writer: Writer = .fixed(&buffer);
        try writeData(&writer, row[0], row[1]);
        try std.testing.expectEqualStrings(row[2], writer.buffered());
    }
}
