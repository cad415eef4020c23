//! One record: its fields as they stand in the data, and the slow reader for records that the scan does not understand.

const std = @import("std");
const scan = @import("scan.zig");

/// A record lies in the read buffer until the next block is read.
pub const Record = struct {
    data: []const u8,
    start: usize,
    /// The end of each field; the last one is the end of the record.
    ends: []const u32,

    /// The field as written: with its quotes, without the CR of a CRLF.
    pub inline fn raw(self: Record, column: usize) []const u8 {
        const start = if (column == 0) self.start else self.ends[column - 1] + 1;
        var end: usize = self.ends[column];
        if (column + 1 == self.ends.len and end > start and end < self.data.len and
            self.data[end] == '\n' and self.data[end - 1] == '\r') end -= 1;
        return self.data[start..end];
    }

    /// The value of a field. It points into the data, or into `scratch` when quotes had to be taken out.
    /// Both have `scan.padding_bytes` readable behind the value.
    pub inline fn field(self: Record, column: usize, gpa: std.mem.Allocator, scratch: *Scratch) error{OutOfMemory}![]const u8 {
        const written = self.raw(column);
        if (written.len == 0 or written[0] != '"') return written;
        return unquote(written, gpa, scratch);
    }

    /// The bytes of the record without its line end.
    pub fn text(self: Record) []const u8 {
        const last = self.raw(self.ends.len - 1);
        return self.data[self.start .. last.ptr - self.data.ptr + last.len];
    }

    /// An empty line is no record.
    pub fn isEmpty(self: Record) bool {
        return self.ends.len == 1 and self.raw(0).len == 0;
    }
};

pub const Scratch = std.ArrayList(u8);

noinline fn unquote(text: []const u8, gpa: std.mem.Allocator, scratch: *Scratch) error{OutOfMemory}![]const u8 {
    const inner = text[1 .. text.len - 1];
    var rest = inner;
    var at = std.mem.findScalar(u8, rest, '"') orelse return inner;
    scratch.clearRetainingCapacity();
    try scratch.ensureTotalCapacity(gpa, inner.len + scan.padding_bytes);
    while (true) {
        // Quotes inside a sound quoted field come in pairs; one of the two is kept.
        scratch.appendSliceAssumeCapacity(rest[0 .. at + 1]);
        rest = rest[at + 2 ..];
        at = std.mem.findScalar(u8, rest, '"') orelse break;
    }
    scratch.appendSliceAssumeCapacity(rest);
    @memset(scratch.unusedCapacitySlice()[0..scan.padding_bytes], 0);
    return scratch.items;
}

pub const Problem = enum { none, text_after_closing_quote };

pub const Outcome = union(enum) {
    /// The data ends before the record does.
    starved,
    unterminated_quote,
    done: struct {
        problem: Problem,
        /// Where the next record starts.
        next: usize,
    },
};

/// Reads one record of any shape, byte by byte, and puts the ends of its fields into `ends`.
pub fn readSlowly(
    data: []const u8,
    start: usize,
    delimiter: u8,
    last: bool,
    ends: *std.ArrayList(u32),
    gpa: std.mem.Allocator,
) error{OutOfMemory}!Outcome {
    ends.clearRetainingCapacity();
    var position = start;
    while (true) {
        if (position < data.len and data[position] == '"') {
            position = switch (closingQuote(data, position)) {
                .at => |at| at + 1,
                .missing => return if (last) .unterminated_quote else .starved,
            };
            // One byte behind the quote decides, or two: CR and LF.
            if (data.len - position < 2 and !last) return .starved;
            if (!endsField(data, position, delimiter)) return skipToLineEnd(data, position, last);
            if (position < data.len and data[position] == '\r') position += 1;
        } else {
            position = std.mem.findAnyPos(u8, data, position, &.{ delimiter, '\n' }) orelse data.len;
        }
        if (position == data.len and !last) return .starved;
        try ends.append(gpa, @intCast(position));
        if (position == data.len) return .{ .done = .{ .problem = .none, .next = position } };
        position += 1;
        if (data[position - 1] == '\n') return .{ .done = .{ .problem = .none, .next = position } };
    }
}

fn closingQuote(data: []const u8, opening: usize) union(enum) { at: usize, missing } {
    var position = opening + 1;
    while (std.mem.findScalarPos(u8, data, position, '"')) |at| {
        if (at + 1 == data.len or data[at + 1] != '"') return .{ .at = at };
        position = at + 2;
    }
    return .missing;
}

fn endsField(data: []const u8, position: usize, delimiter: u8) bool {
    if (position == data.len) return true;
    const byte = data[position];
    if (byte == delimiter or byte == '\n') return true;
    return byte == '\r' and position + 1 < data.len and data[position + 1] == '\n';
}

/// What comes behind a misplaced quote is literal up to the line end.
fn skipToLineEnd(data: []const u8, position: usize, last: bool) Outcome {
    const end = std.mem.findScalarPos(u8, data, position, '\n') orelse {
        if (!last) return .starved;
        return .{ .done = .{ .problem = .text_after_closing_quote, .next = data.len } };
    };
    return .{ .done = .{ .problem = .text_after_closing_quote, .next = end + 1 } };
}

test "slow records" {
    const gpa = std.testing.allocator;
    var ends: std.ArrayList(u32) = .empty;
    defer ends.deinit(gpa);
    const cases = [_]struct { []const u8, []const u32, usize }{
        .{ "a,b\n1", &.{ 1, 3 }, 4 },
        .{ "\"a,\n\"\"\",b", &.{ 7, 9 }, 9 },
        .{ "\"a\"\r\nx", &.{4}, 5 },
        .{ "5\"x,\n", &.{ 3, 4 }, 5 },
    };
    for (cases) |case| {
        const outcome = try readSlowly(case[0], 0, ',', true, &ends, gpa);
        try std.testing.expectEqual(case[2], outcome.done.next);
        try std.testing.expectEqualSlices(u32, case[1], ends.items);
    }
    try std.testing.expect(try readSlowly("\"a\"\"", 0, ',', true, &ends, gpa) == .unterminated_quote);
    try std.testing.expect(try readSlowly("\"a\"", 0, ',', false, &ends, gpa) == .starved);
    const broken = try readSlowly("\"a\"x,\"\nb", 0, ',', true, &ends, gpa);
    try std.testing.expect(broken.done.problem == .text_after_closing_quote and broken.done.next == 7);
}

test "fields lose their quotes" {
    const gpa = std.testing.allocator;
    var scratch: Scratch = .empty;
    defer scratch.deinit(gpa);
    const data = "x,\"a \"\"b\"\"\",\"\"\r\n";
    const record: Record = .{ .data = data, .start = 0, .ends = &.{ 1, 11, 15 } };
    try std.testing.expectEqualStrings("a \"b\"", try record.field(1, gpa, &scratch));
    try std.testing.expectEqualStrings("", try record.field(2, gpa, &scratch));
    try std.testing.expectEqualStrings("x,\"a \"\"b\"\"\",\"\"", record.text());
}
