//! One row as it lies in the file: varints, the record header, fields decoded when asked for.
//!
//! Lengths in the file are never trusted: the cell is checked against its page, every field against
//! the payload, and the payload against the file.

const std = @import("std");
const Value = @import("value.zig").Value;
const Pager = @import("pager.zig").Pager;
const Error = @import("diag.zig").Error;

/// SQLite's own limit on a string, blob or row.
pub const max_payload_bytes = 1_000_000_000;

pub const Varint = struct { value: u64, bytes: u32 };

/// A big-endian base-128 number of one to nine bytes; null when the bytes end first.
pub fn readVarint(bytes: []const u8) ?Varint {
    var result: u64 = 0;
    for (bytes[0..@min(bytes.len, 8)], 1..) |byte, count| {
        result = result << 7 | (byte & 0x7f);
        if (byte < 0x80) return .{ .value = result, .bytes = @intCast(count) };
    }
    if (bytes.len < 9) return null;
    return .{ .value = result << 8 | bytes[8], .bytes = 9 };
}

/// A varint of up to eight bytes out of the eight bytes at `bytes`, without a branch for each byte.
pub inline fn readVarint8(bytes: *const [8]u8) ?Varint {
    const word = std.mem.readInt(u64, bytes, .little);
    const last = ~word & 0x8080808080808080;
    if (last == 0) return null;
    const count = @ctz(last) / 8 + 1;
    // The groups of seven bits, first byte highest, are pushed together in three steps.
    var x = @byteSwap(word) >> @intCast(64 - 8 * @as(u32, count));
    x &= 0x7f7f7f7f7f7f7f7f;
    x = (x & 0x007f007f007f007f) | (x & 0x7f007f007f007f00) >> 1;
    x = (x & 0x00003fff00003fff) | (x & 0x3fff00003fff0000) >> 2;
    x = (x & 0x000000000fffffff) | (x & 0x0fffffff00000000) >> 4;
    return .{ .value = x, .bytes = count };
}

/// The record ended before this field: the column was added later.
pub const missing: u32 = std.math.maxInt(u32);

pub const Field = struct {
    serial: u32,
    /// Exactly the field's bytes, checked.
    bytes: [*]const u8,
};

const small_sizes = [12]u8{ 0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0 };

pub inline fn serialBytes(serial: u32) u32 {
    return if (serial < 12) small_sizes[serial] else (serial - 12) / 2;
}

/// Content bytes for every serial type of one header byte.
pub const short_sizes: [128]u8 = blk: {
    var sizes: [128]u8 = undefined;
    for (&sizes, 0..) |*size, serial| size.* = @intCast(serialBytes(serial));
    break :blk sizes;
};

/// A field of a payload that is plain: one-byte lengths, all on its page. null: look the long way.
pub inline fn plainField(payload: []const u8, index: u32) ?Field {
    const header_end: u32 = payload[0];
    // The header holds this field, and lies within the payload.
    if (header_end >= 0x80 or index + 1 >= header_end or header_end > payload.len) return null;
    var body = header_end;
    var long: u8 = 0;
    for (payload[1..][0..index]) |serial| {
        long |= serial;
        body += short_sizes[serial & 0x7f];
    }
    const serial = payload[1 + index];
    if ((long | serial) & 0x80 != 0 or serial == 10 or serial == 11) return null;
    if (body + short_sizes[serial] > payload.len) return null;
    return .{ .serial = serial, .bytes = payload.ptr + body };
}

pub inline fn decodeInt(serial: u32, bytes: [*]const u8) i64 {
    return switch (serial) {
        1 => @as(i8, @bitCast(bytes[0])),
        2 => std.mem.readInt(i16, bytes[0..2], .big),
        3 => std.mem.readInt(i24, bytes[0..3], .big),
        4 => std.mem.readInt(i32, bytes[0..4], .big),
        5 => std.mem.readInt(i48, bytes[0..6], .big),
        6 => std.mem.readInt(i64, bytes[0..8], .big),
        8 => 0,
        else => 1,
    };
}

pub inline fn decodeReal(bytes: [*]const u8) f64 {
    return @bitCast(std.mem.readInt(u64, bytes[0..8], .big));
}

pub inline fn decode(field: Field) Value {
    return switch (field.serial) {
        0, missing => .null,
        1...6, 8, 9 => .{ .int = decodeInt(field.serial, field.bytes) },
        7 => .fromReal(decodeReal(field.bytes)),
        else => {
            const bytes = field.bytes[0..serialBytes(field.serial)];
            return if (field.serial & 1 == 1) .{ .text = bytes } else .{ .blob = bytes };
        },
    };
}

/// Where a row lies, to find it again after a sort without its page's header: the byte offset is that of
/// the payload's length. The cell's number is for messages.
pub const Locator = struct { page: u32, cell: u32, offset: u32 };

pub const Row = struct {
    pager: *const Pager,
    /// Holds a payload that is spread over overflow pages; grows to the largest one seen.
    spill: *std.ArrayList(u8),
    gpa: std.mem.Allocator,
    /// One slot for each record field that the query can ask for.
    serials: []u32,
    offsets: []u32,

    at: Locator = .{ .page = 0, .cell = 0, .offset = 0 },
    rowid: i64 = 0,
    payload: [*]const u8 = undefined,
    /// Bytes readable at `payload`.
    present_bytes: u32 = 0,
    payload_bytes: u32 = 0,
    /// Next page of the overflow chain, 0 when there is none left.
    overflow_page: u32 = 0,
    header_at: u32 = 0,
    header_end: u32 = 0,
    /// Offset of the first field that is not parsed yet.
    body_at: u64 = 0,
    parsed: u32 = 0,
    /// Stands for a row of NULLs: an aggregate over no rows.
    absent: bool = false,

    pub fn init(gpa: std.mem.Allocator, arena: std.mem.Allocator, pager: *const Pager, spill: *std.ArrayList(u8), fields: usize) Error!Row {
        return .{
            .pager = pager,
            .spill = spill,
            .gpa = gpa,
            .serials = try arena.alloc(u32, fields),
            .offsets = try arena.alloc(u32, fields),
        };
    }

    pub fn bad(self: *const Row, comptime format: []const u8, args: anytype) Error {
        @branchHint(.cold);
        return self.pager.bad("page {d}: cell {d}: " ++ format, .{ self.at.page, self.at.cell } ++ args);
    }

    /// Takes a cell's payload of which `local` lies on the page itself.
    pub inline fn load(self: *Row, local: []const u8, payload_bytes: u32, overflow_page: u32) Error!void {
        self.payload = local.ptr;
        self.present_bytes = @intCast(local.len);
        self.payload_bytes = payload_bytes;
        self.overflow_page = overflow_page;
        self.parsed = 0;
        if (local.len > 0 and local[0] < 0x80 and local[0] <= local.len and local[0] > 0) {
            self.header_at = 1;
            self.header_end = local[0];
            self.body_at = local[0];
        } else try self.loadLongHeader();
    }

    fn loadLongHeader(self: *Row) Error!void {
        const size = readVarint(self.payload[0..self.present_bytes]) orelse return self.bad("record header is cut off", .{});
        if (size.value < size.bytes or size.value > self.payload_bytes) {
            return self.bad("record header of {d} bytes in a payload of {d}", .{ size.value, self.payload_bytes });
        }
        self.header_at = size.bytes;
        self.header_end = @intCast(size.value);
        self.body_at = size.value;
        if (self.header_end > self.present_bytes) try self.fetch(self.header_end);
    }

    /// The field's serial type and bytes; `missing` when the record ends before it.
    pub inline fn field(self: *Row, index: usize) Error!Field {
        if (index >= self.parsed) try self.parseThrough(index);
        const serial = self.serials[index];
        const offset = self.offsets[index];
        if (serial == missing) return .{ .serial = missing, .bytes = undefined };
        const size = serialBytes(serial);
        const end = @as(u64, offset) + size;
        // A field of no bytes (NULL, 0, 1) is never worth following an overflow chain.
        if (end > self.present_bytes and size > 0) try self.fetch(end);
        return .{ .serial = serial, .bytes = self.payload + offset };
    }

    inline fn parseThrough(self: *Row, index: usize) Error!void {
        var at = self.header_at;
        var body = self.body_at;
        var parsed = self.parsed;
        while (parsed <= index) : (parsed += 1) {
            if (at >= self.header_end) {
                self.serials[parsed] = missing;
                continue;
            }
            var serial: u32 = self.payload[at];
            at += 1;
            if (serial >= 0x80) {
                const long = try self.longSerial(at - 1);
                serial = long.serial;
                at = long.next;
            }
            if (serial -% 10 < 2) return self.bad("reserved serial type {d}", .{serial});
            self.serials[parsed] = serial;
            // Past the payload's end the value is meaningless, and the field is refused when it is read.
            self.offsets[parsed] = @truncate(@min(body, max_payload_bytes));
            body += serialBytes(serial);
        }
        self.header_at = at;
        self.body_at = body;
        self.parsed = parsed;
    }

    const LongSerial = struct { serial: u32, next: u32 };

    fn longSerial(self: *Row, at: u32) Error!LongSerial {
        const varint = readVarint(self.payload[at..self.header_end]) orelse return self.bad("record header is cut off", .{});
        if (varint.value >= missing) return self.bad("serial type {d} is out of range", .{varint.value});
        return .{ .serial = @intCast(varint.value), .next = at + varint.bytes };
    }

    /// Makes the first `end` bytes of the payload contiguous by following the overflow chain.
    fn fetch(self: *Row, end: u64) Error!void {
        @branchHint(.unlikely);
        if (end > self.payload_bytes) return self.bad("field ends at byte {d} of a payload of {d}", .{ end, self.payload_bytes });
        if (self.spill.items.ptr != self.payload or self.spill.items.len != self.present_bytes) {
            const local = self.payload[0..self.present_bytes];
            // The payload is no larger than the file (checked with the cell), so neither is this buffer. It
            // never moves while the row is read: values borrow from it.
            self.spill.clearRetainingCapacity();
            try self.spill.ensureTotalCapacity(self.gpa, self.payload_bytes);
            self.spill.appendSliceAssumeCapacity(local);
        }
        while (self.spill.items.len < end) {
            const page = try self.pager.page(self.overflow_page, self.at.page);
            const take = @min(page.len - 4, self.payload_bytes - self.spill.items.len);
            self.spill.appendSliceAssumeCapacity(page[4..][0..take]);
            const next = std.mem.readInt(u32, page[0..4], .big);
            const complete = self.spill.items.len == self.payload_bytes;
            if (complete and next != 0) return self.bad("overflow chain is longer than the payload of {d} bytes", .{self.payload_bytes});
            if (!complete and next == self.overflow_page) return self.bad("overflow chain loops at page {d}", .{next});
            if (!complete and next == 0) return self.bad("overflow chain ends after {d} of {d} bytes", .{ self.spill.items.len, self.payload_bytes });
            self.overflow_page = next;
        }
        self.payload = self.spill.items.ptr;
        self.present_bytes = @intCast(self.spill.items.len);
    }

    pub fn value(self: *Row, index: usize) Error!Value {
        return decode(try self.field(index));
    }
};

test readVarint8 {
    var random: std.Random.DefaultPrng = .init(1);
    for (0..1000) |_| {
        var bytes: [9]u8 = undefined;
        random.random().bytes(&bytes);
        for (&bytes) |*byte| if (random.random().uintLessThan(u8, 4) == 0) {
            byte.* &= 0x7f;
        };
        const short = readVarint8(bytes[0..8]);
        if (short) |found| try std.testing.expectEqual(readVarint(&bytes).?, found);
        if (short == null) try std.testing.expectEqual(9, readVarint(&bytes).?.bytes);
    }
}

test plainField {
    // NULL, 5, "ab", 1 (by type)
    const payload = [_]u8{ 5, 0, 1, 17, 9, 5, 'a', 'b' };
    try std.testing.expectEqual(0, plainField(&payload, 0).?.serial);
    try std.testing.expectEqual(Value{ .int = 5 }, decode(plainField(&payload, 1).?));
    try std.testing.expectEqualStrings("ab", decode(plainField(&payload, 2).?).text);
    try std.testing.expectEqual(Value{ .int = 1 }, decode(plainField(&payload, 3).?));
    try std.testing.expectEqual(null, plainField(&payload, 4));
    try std.testing.expectEqual(null, plainField(payload[0..7], 2));
    try std.testing.expectEqual(null, plainField(payload[0..3], 0));
}

test readVarint {
    const cases = [_]struct { []const u8, ?Varint }{
        .{ &.{0}, .{ .value = 0, .bytes = 1 } },
        .{ &.{0x7f}, .{ .value = 127, .bytes = 1 } },
        .{ &.{ 0x81, 0 }, .{ .value = 128, .bytes = 2 } },
        .{ &@as([9]u8, @splat(0xff)), .{ .value = std.math.maxInt(u64), .bytes = 9 } },
        .{ &.{0x81}, null },
        .{ &@as([8]u8, @splat(0xff)), null },
        .{ &.{}, null },
    };
    for (cases) |case| try std.testing.expectEqual(case[1], readVarint(case[0]));
}

test decode {
    const one = [_]u8{ 0xff, 0x80, 0, 0, 0, 0, 0, 0 };
    try std.testing.expectEqual(Value{ .int = -1 }, decode(.{ .serial = 1, .bytes = &one }));
    try std.testing.expectEqual(Value{ .int = -128 }, decode(.{ .serial = 2, .bytes = &one }));
    try std.testing.expectEqual(Value{ .int = -32768 }, decode(.{ .serial = 3, .bytes = &one }));
    try std.testing.expectEqual(Value{ .int = 0 }, decode(.{ .serial = 8, .bytes = &one }));
    try std.testing.expectEqual(Value{ .int = 1 }, decode(.{ .serial = 9, .bytes = &one }));
    const nan: [8]u8 = @splat(0xff);
    try std.testing.expectEqual(Value.null, decode(.{ .serial = 7, .bytes = &nan }));
    try std.testing.expectEqualStrings("ab", decode(.{ .serial = 17, .bytes = "ab" }).text);
}
