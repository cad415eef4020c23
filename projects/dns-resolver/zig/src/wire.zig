//! DNS messages on the wire: names, records, and a writer that compresses.
//!
//! A name is kept as it is on the wire, without pointers: labels with their lengths, and a zero. No length byte is a
//! letter, so a whole name can be put into lower case, hashed and compared byte by byte.

const std = @import("std");

pub const header_bytes = 12;
pub const name_bytes_max = 255;
pub const label_bytes_max = 63;
pub const message_bytes_max = 65535;
pub const opt_bytes = 11;
pub const class_in: u16 = 1;

pub const Type = struct {
    pub const none: u16 = 0;
    pub const a: u16 = 1;
    pub const ns: u16 = 2;
    pub const cname: u16 = 5;
    pub const soa: u16 = 6;
    pub const ptr: u16 = 12;
    pub const mx: u16 = 15;
    pub const txt: u16 = 16;
    pub const aaaa: u16 = 28;
    pub const srv: u16 = 33;
    pub const dname: u16 = 39;
    pub const opt: u16 = 41;
    pub const ds: u16 = 43;
};

pub const Rcode = struct {
    pub const noerror: u8 = 0;
    pub const formerr: u8 = 1;
    pub const servfail: u8 = 2;
    pub const nxdomain: u8 = 3;
    pub const notimp: u8 = 4;
    pub const refused: u8 = 5;
    pub const badvers: u8 = 16;
};

/// Transfers, signatures of messages, and questions for all there is: no zone holds these.
pub fn isMeta(kind: u16) bool {
    return kind >= 249 and kind <= 255;
}

pub const Error = error{Malformed};

pub inline fn read16(bytes: []const u8, at: usize) u16 {
    return std.mem.readInt(u16, bytes[at..][0..2], .big);
}

pub inline fn read32(bytes: []const u8, at: usize) u32 {
    return std.mem.readInt(u32, bytes[at..][0..4], .big);
}

pub inline fn write16(bytes: []u8, at: usize, value: u16) void {
    std.mem.writeInt(u16, bytes[at..][0..2], value, .big);
}

pub inline fn write32(bytes: []u8, at: usize, value: u32) void {
    std.mem.writeInt(u32, bytes[at..][0..4], value, .big);
}

// --- names ---

pub const Name = struct {
    length: u8,
    buffer: [name_bytes_max]u8,

    pub const root: Name = .{ .length = 1, .buffer = @splat(0) };

    pub fn of(bytes: []const u8) Name {
        var name: Name = .{ .length = @intCast(bytes.len), .buffer = undefined };
        @memcpy(name.buffer[0..bytes.len], bytes);
        return name;
    }

    pub fn slice(self: *const Name) []const u8 {
        return self.buffer[0..self.length];
    }
};

inline fn lowerByte(byte: u8) u8 {
    return byte | (@as(u8, @intFromBool(byte -% 'A' < 26)) << 5);
}

/// Writes a name in lower case.
pub fn lower(target: []u8, name: []const u8) []u8 {
    for (target[0..name.len], name) |*to, from| to.* = lowerByte(from);
    return target[0..name.len];
}

pub fn eql(a: []const u8, b: []const u8) bool {
    if (a.len != b.len) return false;
    for (a, b) |x, y| if (lowerByte(x) != lowerByte(y)) return false;
    return true;
}

/// How many labels a name has; the root has none.
pub fn countLabels(name: []const u8) usize {
    var count: usize = 0;
    var at: usize = 0;
    while (name[at] != 0) : (at += 1 + @as(usize, name[at])) count += 1;
    return count;
}

/// The last `labels` labels of a name.
pub fn suffix(name: []const u8, labels: usize) []const u8 {
    var rest = name;
    for (labels..@max(labels, countLabels(name))) |_| rest = parent(rest);
    return rest;
}

/// A name without its first label; not for the root.
pub fn parent(name: []const u8) []const u8 {
    return name[1 + @as(usize, name[0]) ..];
}

/// Whether a name is a zone's or below it.
pub fn isUnder(name: []const u8, zone: []const u8) bool {
    var rest = name;
    while (rest.len > zone.len) rest = parent(rest);
    return eql(rest, zone);
}

pub fn isBelow(name: []const u8, zone: []const u8) bool {
    return name.len > zone.len and isUnder(name, zone);
}

/// Reads a name, following pointers; returns where the message goes on. Each pointer must lead to before the place
/// that it was reached from, so that it ends.
pub fn readName(message: []const u8, start: usize, name: *Name) Error!usize {
    var at = start;
    var limit = start;
    var end: ?usize = null;
    var used: usize = 0;
    while (true) {
        if (at >= message.len) return error.Malformed;
        const length: usize = message[at];
        if (length & 0xc0 == 0xc0) {
            if (at + 2 > message.len) return error.Malformed;
            const target = read16(message, at) & 0x3fff;
            if (target >= limit or target < header_bytes) return error.Malformed;
            if (end == null) end = at + 2;
            at = target;
            limit = target;
            continue;
        }
        const next = at + 1 + length;
        if (length > label_bytes_max or next > message.len or used + 1 + length > name_bytes_max) return error.Malformed;
        @memcpy(name.buffer[used..][0 .. 1 + length], message[at..next]);
        used += 1 + length;
        if (length == 0) {
            name.length = @intCast(used);
            return end orelse next;
        }
        at = next;
    }
}

/// Passes over a name without looking where its pointer leads.
pub fn skipName(message: []const u8, start: usize) Error!usize {
    var at = start;
    while (at < message.len) {
        const length: usize = message[at];
        if (length & 0xc0 == 0xc0) return if (at + 2 <= message.len) at + 2 else error.Malformed;
        if (length > label_bytes_max) return error.Malformed;
        at += 1 + length;
        if (length == 0) return if (at <= message.len) at else error.Malformed;
    }
    return error.Malformed;
}

// --- records ---

/// A record where it lies in a message.
pub const Record = struct {
    at: usize,
    type: u16,
    class: u16,
    ttl_s: u32,
    data_at: usize,
    end: usize,

    pub fn read(message: []const u8, at: usize) Error!Record {
        const fixed = try skipName(message, at);
        const data_at = fixed + 10;
        if (data_at > message.len) return error.Malformed;
        const ttl_s = read32(message, fixed + 4);
        const end = data_at + read16(message, fixed + 8);
        if (end > message.len) return error.Malformed;
        return .{
            .at = at,
            .type = read16(message, fixed),
            .class = read16(message, fixed + 2),
            // RFC 2181: the top bit is not for times.
            .ttl_s = if (ttl_s > std.math.maxInt(i32)) 0 else ttl_s,
            .data_at = data_at,
            .end = end,
        };
    }

    pub fn data(self: *const Record, message: []const u8) []const u8 {
        return message[self.data_at..self.end];
    }

    /// The owner of a record that is spelled out.
    pub fn owner(self: *const Record, records: []const u8) []const u8 {
        return records[self.at .. self.data_at - 10];
    }
};

/// What the data of a type is made of: bytes, names, bytes.
const Shape = struct { head: u8 = 0, names: u8 = 1, tail: u8 = 0, may_compress: bool = true };

/// Types without names are passed on as they are; so are those that we do not know (RFC 3597).
fn shapeOf(kind: u16) ?Shape {
    return switch (kind) {
        Type.ns, Type.cname, Type.ptr, 3, 4, 7, 8, 9 => .{},
        Type.soa => .{ .names = 2, .tail = 20 },
        Type.mx => .{ .head = 2 },
        14 => .{ .names = 2 },
        Type.dname => .{ .may_compress = false },
        Type.srv => .{ .head = 6, .may_compress = false },
        17 => .{ .names = 2, .may_compress = false },
        18, 21, 36 => .{ .head = 2, .may_compress = false },
        else => null,
    };
}

/// Whether the data without names is what its type promises.
fn isPlainDataValid(kind: u16, data: []const u8) bool {
    return switch (kind) {
        Type.a => data.len == 4,
        Type.aaaa => data.len == 16,
        Type.txt => isText(data),
        else => true,
    };
}

fn isText(data: []const u8) bool {
    var at: usize = 0;
    while (at < data.len) at += 1 + @as(usize, data[at]);
    return at == data.len and at != 0;
}

/// Puts the names in data that is spelled out into lower case.
pub fn lowerData(kind: u16, data: []u8) void {
    const shape = shapeOf(kind) orelse return;
    const names = data[shape.head .. data.len - shape.tail];
    _ = lower(names, names);
}

/// Records one after another, without compression: as on the wire, but every name is spelled out.
pub const Records = struct {
    bytes: std.ArrayList(u8) = .empty,

    /// Compression shrinks what a message can hold, but more than this does not fit into one.
    const bytes_max = 128 << 10;

    pub const AddError = error{ Malformed, OutOfMemory, TooLarge };

    pub fn clear(self: *Records) void {
        self.bytes.clearRetainingCapacity();
    }

    /// Adds a record of a message under an owner that is spelled out.
    pub fn add(self: *Records, gpa: std.mem.Allocator, message: []const u8, record: *const Record, owner: []const u8, ttl_s: u32) AddError!void {
        const start = self.bytes.items.len;
        errdefer self.bytes.shrinkRetainingCapacity(start);
        try self.addHead(gpa, owner, record.type, ttl_s);
        try self.addData(gpa, message, record);
        try self.endRecord(start + owner.len + 10);
    }

    /// Adds a record whose data is one name.
    pub fn addAlias(self: *Records, gpa: std.mem.Allocator, owner: []const u8, ttl_s: u32, target: []const u8) AddError!void {
        const start = self.bytes.items.len;
        errdefer self.bytes.shrinkRetainingCapacity(start);
        try self.addHead(gpa, owner, Type.cname, ttl_s);
        try self.bytes.appendSlice(gpa, target);
        try self.endRecord(start + owner.len + 10);
    }

    fn addHead(self: *Records, gpa: std.mem.Allocator, owner: []const u8, kind: u16, ttl_s: u32) AddError!void {
        try self.bytes.appendSlice(gpa, owner);
        var fixed: [10]u8 = undefined;
        write16(&fixed, 0, kind);
        write16(&fixed, 2, class_in);
        write32(&fixed, 4, ttl_s);
        write16(&fixed, 8, 0);
        try self.bytes.appendSlice(gpa, &fixed);
    }

    fn addData(self: *Records, gpa: std.mem.Allocator, message: []const u8, record: *const Record) AddError!void {
        const data = record.data(message);
        const shape = shapeOf(record.type) orelse {
            if (!isPlainDataValid(record.type, data)) return error.Malformed;
            return self.bytes.appendSlice(gpa, data);
        };
        if (data.len < shape.head) return error.Malformed;
        try self.bytes.appendSlice(gpa, data[0..shape.head]);
        var at = record.data_at + shape.head;
        for (0..shape.names) |_| {
            var name: Name = undefined;
            at = try readName(message[0..record.end], at, &name);
            try self.bytes.appendSlice(gpa, name.slice());
        }
        if (at + shape.tail != record.end) return error.Malformed;
        try self.bytes.appendSlice(gpa, message[at..record.end]);
    }

    fn endRecord(self: *Records, data_at: usize) AddError!void {
        const bytes = self.bytes.items;
        if (bytes.len > bytes_max or bytes.len - data_at > std.math.maxInt(u16)) return error.TooLarge;
        write16(bytes, data_at - 2, @intCast(bytes.len - data_at));
    }
};

// --- writing ---

/// Writes the part of a message behind the question. Names in data never lean on the question, which a later client
/// may spell in other letters.
pub const Encoder = struct {
    buffer: []u8,
    end: usize,
    spots: [spots_max]u16 = undefined,
    spot_count: usize = 0,
    question_spots: usize = 0,
    /// Where the times to live are, counted from the end of the question.
    ttl_places: []u16,
    ttl_count: usize = 0,
    body_at: usize,

    const spots_max = 160;
    const labels_max = 128;

    pub const Error = error{TooLarge};

    /// The buffer gets a header that means nothing, and the question.
    pub fn init(buffer: []u8, ttl_places: []u16, name: []const u8) Encoder {
        @memcpy(buffer[header_bytes..][0..name.len], name);
        const end = header_bytes + name.len + 4;
        var self: Encoder = .{ .buffer = buffer, .end = end, .ttl_places = ttl_places, .body_at = end };
        self.remember(header_bytes, header_bytes + name.len - 1);
        self.question_spots = self.spot_count;
        return self;
    }

    pub fn body(self: *const Encoder) []const u8 {
        return self.buffer[self.body_at..self.end];
    }

    pub fn addAll(self: *Encoder, records: []const u8) Encoder.Error!void {
        var at: usize = 0;
        while (at < records.len) {
            const record = Record.read(records, at) catch unreachable; // we made them
            try self.add(records, &record);
            at = record.end;
        }
    }

    fn add(self: *Encoder, records: []const u8, record: *const Record) Encoder.Error!void {
        // No name or data grows, so the room is there or not.
        if (self.end + (record.end - record.at) > self.buffer.len or self.ttl_count == self.ttl_places.len) return error.TooLarge;
        self.writeName(record.owner(records), .owner);
        write16(self.buffer, self.end, record.type);
        write16(self.buffer, self.end + 2, class_in);
        write32(self.buffer, self.end + 4, record.ttl_s);
        self.ttl_places[self.ttl_count] = @intCast(self.end + 4 - self.body_at);
        self.ttl_count += 1;
        const data_at = self.end + 10;
        self.end = data_at;
        self.writeData(record.type, record.data(records));
        write16(self.buffer, data_at - 2, @intCast(self.end - data_at));
    }

    fn writeData(self: *Encoder, kind: u16, data: []const u8) void {
        const shape = shapeOf(kind) orelse return self.copy(data);
        if (!shape.may_compress) return self.copy(data);
        self.copy(data[0..shape.head]);
        var at: usize = shape.head;
        for (0..shape.names) |_| {
            const next = skipName(data, at) catch unreachable; // spelled out by us
            self.writeName(data[at..next], .data);
            at = next;
        }
        self.copy(data[at..]);
    }

    fn copy(self: *Encoder, bytes: []const u8) void {
        @memcpy(self.buffer[self.end..][0..bytes.len], bytes);
        self.end += bytes.len;
    }

    const Use = enum { owner, data };

    fn writeName(self: *Encoder, name: []const u8, use: Use) void {
        const start = self.end;
        var rest = name;
        while (rest[0] != 0) : (rest = parent(rest)) {
            if (self.find(rest, use)) |spot| {
                write16(self.buffer, self.end, 0xc000 | spot);
                self.end += 2;
                break;
            }
            self.copy(rest[0 .. 1 + @as(usize, rest[0])]);
        } else self.copy(&.{0});
        // Owners that are spelled out may end in the question.
        if (use == .data) self.remember(start, start + (rest.ptr - name.ptr));
    }

    /// Remembers the labels from a place on, up to another one.
    fn remember(self: *Encoder, start: usize, end: usize) void {
        var at = start;
        while (at < end and at < 0x4000 and self.spot_count < spots_max) : (at += 1 + @as(usize, self.buffer[at])) {
            self.spots[self.spot_count] = @intCast(at);
            self.spot_count += 1;
        }
    }

    fn find(self: *const Encoder, name: []const u8, use: Use) ?u16 {
        const first = if (use == .data) self.question_spots else 0;
        for (self.spots[first..self.spot_count]) |spot| if (self.matches(spot, name, use)) return spot;
        return null;
    }

    fn matches(self: *const Encoder, spot: u16, name: []const u8, use: Use) bool {
        var at: usize = spot;
        var rest = name;
        while (true) {
            const length: usize = self.buffer[at];
            if (length & 0xc0 == 0xc0) {
                at = read16(self.buffer, at) & 0x3fff;
                continue;
            }
            if (length != rest[0]) return false;
            if (length == 0) return true;
            const ours = self.buffer[at + 1 ..][0..length];
            const theirs = rest[1..][0..length];
            if (!(if (use == .data) std.mem.eql(u8, ours, theirs) else eql(ours, theirs))) return false;
            at += 1 + length;
            rest = parent(rest);
        }
    }
};

fn expectName(message: []const u8, start: usize, end: usize, expected: []const u8) !void {
    var name: Name = undefined;
    try std.testing.expectEqual(end, try readName(message, start, &name));
    try std.testing.expectEqualStrings(expected, name.slice());
}

fn repeated(comptime byte: u8, comptime count: usize) [count]u8 {
    return @splat(byte);
}

test "names with pointers" {
    const header: [header_bytes]u8 = @splat(0);
    const message = header ++ "\x03www\x04test\x00\x01a\xc0\x10\xc0\x16".*;
    try expectName(&message, 12, 22, "\x03www\x04test\x00");
    try expectName(&message, 22, 26, "\x01a\x04test\x00");
    try std.testing.expectError(error.Malformed, readName(&(header ++ "\xc0\x0c".*), 12, undefined));
    var name: Name = undefined;
    for ([_][]const u8{ "\xc0\x0e\x00", "\xc0", "\x03ab", "\x40", "\x80", "", "\x01a\xc0\x0c", "\xc0\x00" }) |tail| {
        var bad: [64]u8 = @splat(0);
        @memcpy(bad[header_bytes..][0..tail.len], tail);
        try std.testing.expectError(error.Malformed, readName(bad[0 .. header_bytes + tail.len], 12, &name));
    }
    const label = "\x3f".* ++ repeated('x', 63);
    const three = label ++ label ++ label;
    const longest = three ++ "\x3d".* ++ repeated('y', 61) ++ "\x00".*;
    const too_long = three ++ "\x3e".* ++ repeated('y', 62) ++ "\x00".*;
    try expectName(&(header ++ longest), 12, 12 + 255, &longest);
    try std.testing.expectError(error.Malformed, readName(&(header ++ too_long), 12, &name));
}

test "families of names" {
    const name = "\x03WWW\x07example\x04test\x00";
    try std.testing.expect(isUnder(name, "\x07EXAMPLE\x04test\x00"));
    try std.testing.expect(isUnder(name, name) and !isBelow(name, name));
    try std.testing.expect(isBelow(name, "\x00"));
    try std.testing.expect(!isUnder(name, "\x07xxample\x04test\x00"));
    try std.testing.expect(!isUnder("\x04test\x00", name));
    try std.testing.expectEqual(3, countLabels(name));
    try std.testing.expectEqualStrings("\x04test\x00", suffix(name, 1));
    try std.testing.expectEqualStrings("\x00", suffix(name, 0));
    try std.testing.expectEqualStrings(name, suffix(name, 9));
}

test "records are spelled out and compressed again" {
    const gpa = std.testing.allocator;
    const header: [header_bytes]u8 = @splat(0);
    const question = "\x03www\x04test\x00\x00\x01\x00\x01".*;
    const alias = "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x06\x03Web\xc0\x10".*;
    const message = header ++ question ++ alias ++ "\xc0\x26\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x00\x00\x01".*;
    var records: Records = .{};
    defer records.bytes.deinit(gpa);
    const first = try Record.read(&message, header_bytes + question.len);
    var owner: Name = undefined;
    _ = try readName(&message, first.at, &owner);
    try records.add(gpa, &message, &first, owner.slice(), first.ttl_s);
    const second = try Record.read(&message, first.end);
    _ = try readName(&message, second.at, &owner);
    try records.add(gpa, &message, &second, owner.slice(), second.ttl_s);
    try std.testing.expectEqual(message.len, second.end);

    var buffer: [512]u8 = undefined;
    var places: [4]u16 = undefined;
    var encoder: Encoder = .init(&buffer, &places, "\x03WWW\x04TEST\x00");
    try encoder.addAll(records.bytes.items);
    const expected = "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x0a\x03Web\x04test\x00" ++ "\xc0\x26\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x00\x00\x01";
    try std.testing.expectEqualStrings(expected, encoder.body());
    try std.testing.expectEqualSlices(u16, &.{ 6, 28 }, places[0..encoder.ttl_count]);
}

test "data must be what its type says" {
    const gpa = std.testing.allocator;
    var records: Records = .{};
    defer records.bytes.deinit(gpa);
    for ([_][]const u8{
        "\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x03abc",      "\x00\x00\x10\x00\x01\x00\x00\x00\x00\x00\x02\x02a",
        "\x00\x00\x0f\x00\x01\x00\x00\x00\x00\x00\x02\x00\x01", "\x00\x00\x02\x00\x01\x00\x00\x00\x00\x00\x03\x01a\x00x",
        "\x00\x00\x10\x00\x01\x00\x00\x00\x00\x00\x00",
    }) |message| {
        const record = try Record.read(message, 0);
        // The fourth has a byte behind its data.
        const whole = message[0..record.end];
        const result = records.add(gpa, whole, &record, "\x00", 0);
        if (record.end == message.len) try std.testing.expectError(error.Malformed, result) else try result;
    }
}
