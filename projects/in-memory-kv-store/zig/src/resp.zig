//! The protocol (RESP2): commands are parsed in place, replies are written into one growing buffer.

const std = @import("std");
const numbers = @import("numbers.zig");
const Allocator = std.mem.Allocator;

pub const bulk_bytes_max = 512 << 20;
pub const arguments_max = std.math.maxInt(i32);
pub const line_bytes_max = 64 << 10;
/// Commands of a pipeline that are parsed before the first of them is done.
pub const batch_max = 16;

pub const Command = struct {
    /// Slices of the input, valid as long as it is.
    args: []const []const u8,
    /// The bytes of the command if they are what redis would write for it; an inline command has none.
    raw: ?[]const u8,
    /// Where in the input it starts.
    start: usize,
};

/// Reads commands from a buffer that other hands fill. It keeps its place inside a command, so bytes may come one by
/// one and a million arguments are still parsed once.
pub const Reader = struct {
    gpa: Allocator,
    args: std.ArrayList([]const u8) = .empty,
    /// Unescaped arguments of an inline command.
    scratch: std.ArrayList(u8) = .empty,
    /// Where the command starts, and how far it has been read.
    start: usize = 0,
    at: usize = 0,
    /// The first argument of the command that is being read; those before belong to commands of the same batch.
    first_arg: usize = 0,
    args_left: usize = 0,
    bulk_bytes: ?usize = null,
    is_canonical: bool = true,
    /// In the log there are no inline commands, no empty ones, and every line ends as it should.
    is_strict: bool = false,
    failure_buffer: [64]u8 = undefined,
    failure: []const u8 = "",

    pub const Error = error{ OutOfMemory, Protocol };

    pub fn deinit(self: *Reader) void {
        self.args.deinit(self.gpa);
        self.scratch.deinit(self.gpa);
    }

    pub fn isInsideCommand(self: *const Reader) bool {
        return self.args_left != 0;
    }

    /// The first byte that is needed yet: where an unfinished command starts.
    fn firstNeeded(self: *const Reader) usize {
        return if (self.isInsideCommand()) self.start else self.at;
    }

    /// The input was moved, or cut at its front; arguments found so far move with it.
    fn rebase(self: *Reader, old: [*]const u8, new: [*]const u8, cut_bytes: usize) void {
        self.settle();
        if (!self.isInsideCommand()) self.start = self.at;
        for (self.args.items) |*arg| arg.ptr = new + (@intFromPtr(arg.ptr) - @intFromPtr(old) - cut_bytes);
        self.start -= cut_bytes;
        self.at -= cut_bytes;
    }

    /// Forgets the arguments of commands that are done; what an unfinished one has moves to the front.
    fn settle(self: *Reader) void {
        const kept = if (self.isInsideCommand()) self.args.items.len - self.first_arg else 0;
        if (self.first_arg != 0) std.mem.copyForwards([]const u8, self.args.items, self.args.items[self.first_arg..][0..kept]);
        self.args.shrinkRetainingCapacity(kept);
        self.first_arg = 0;
    }

    /// Goes back to a command of the last batch.
    pub fn rewind(self: *Reader, command: Command) void {
        self.args_left = 0;
        self.bulk_bytes = null;
        self.at = command.start;
        self.settle();
    }

    /// The next command, or null when more bytes are needed. Empty commands are skipped.
    pub fn next(self: *Reader, input: []const u8) Error!?Command {
        self.settle();
        return self.parse(input);
    }

    /// Several commands at once, as many as are whole; returns how many. What is wrong behind them is told next time.
    pub fn nextBatch(self: *Reader, input: []const u8, batch: *[batch_max]Command) Error!usize {
        self.settle();
        var firsts: [batch_max]usize = undefined;
        var count: usize = 0;
        while (count < batch_max) {
            const found = self.parse(input) catch |err| if (count == 0) return err else break;
            batch[count] = found orelse break;
            firsts[count] = self.first_arg;
            count += 1;
            self.first_arg = self.args.items.len;
            // The arguments of an inline command lie in the one scratch that there is.
            if (input[batch[count - 1].start] != '*') break;
        }
        // The list may have moved while it grew.
        for (batch[0..count], firsts[0..count]) |*command, first| command.args = self.args.items[first..][0..command.args.len];
        return count;
    }

    fn parse(self: *Reader, input: []const u8) Error!?Command {
        while (self.args_left == 0) {
            self.start = self.at;
            if (self.at >= input.len) return null;
            if (input[self.at] != '*') {
                if (self.is_strict) {
                    // An annotation of redis, such as a time.
                    if (input[self.at] != '#') return self.failExpected('*', input[self.at]);
                    self.at = 1 + (std.mem.findScalarPos(u8, input, self.at, '\n') orelse return null);
                    continue;
                }
                const found = try self.nextInline(input) orelse return null;
                if (found.args.len == 0) continue;
                return found;
            }
            self.is_canonical = true;
            const count = try self.nextLength(input, "mbulk count", "multibulk", arguments_max) orelse return null;
            if (count <= 0 and self.is_strict) return self.fail("invalid multibulk length");
            if (count <= 0) continue;
            self.args_left = @intCast(count);
            // A declared count is only believed as far as arguments come.
            try self.args.ensureUnusedCapacity(self.gpa, @min(self.args_left, 64));
        }
        while (self.args_left != 0) : (self.args_left -= 1) {
            const bytes = self.bulk_bytes orelse blk: {
                const bytes = try self.nextLength(input, "bulk count", "bulk", bulk_bytes_max) orelse return null;
                if (bytes < 0) return self.fail("invalid bulk length");
                self.bulk_bytes = @intCast(bytes);
                break :blk @as(usize, @intCast(bytes));
            };
            if (input.len - self.at < bytes + 2) return null;
            if (input[self.at + bytes] != '\r' or input[self.at + bytes + 1] != '\n') try self.acceptOddEnd();
            try self.args.append(self.gpa, input[self.at..][0..bytes]);
            self.at += bytes + 2;
            self.bulk_bytes = null;
        }
        return .{
            .args = self.args.items[self.first_arg..],
            .raw = if (self.is_canonical) input[self.start..self.at] else null,
            .start = self.start,
        };
    }

    /// Reads `*N` or `$N` and the end of its line.
    fn nextLength(self: *Reader, input: []const u8, comptime line_name: []const u8, comptime length_name: []const u8, most: i64) Error!?i64 {
        const rest = input[self.at..];
        const kind = comptime if (std.mem.eql(u8, length_name, "bulk")) '$' else '*';
        // Nearly all lengths have one or two digits.
        if (rest.len >= 4 and rest[0] == kind and rest[1] -% '1' < 9) {
            if (rest[2] == '\r' and rest[3] == '\n') {
                self.at += 4;
                return rest[1] - '0';
            }
            if (rest.len >= 5 and rest[2] -% '0' < 10 and rest[3] == '\r' and rest[4] == '\n') {
                self.at += 5;
                return @as(i64, rest[1] - '0') * 10 + (rest[2] - '0');
            }
        }
        const end = self.findEnd(rest, '\r') orelse {
            if (rest.len > line_bytes_max) return self.fail("too big " ++ line_name ++ " string");
            return null;
        };
        if (end + 1 >= rest.len) return null;
        if (rest[0] != kind) return self.failExpected(kind, rest[0]);
        const length = numbers.parseInt(rest[1..end]) orelse return self.fail("invalid " ++ length_name ++ " length");
        if (length > most) return self.fail("invalid " ++ length_name ++ " length");
        if (rest[end + 1] != '\n') try self.acceptOddEnd();
        self.at += end + 2;
        return length;
    }

    /// The end of a line. Redis does not look behind a NUL, so a line with one never ends.
    fn findEnd(self: *const Reader, text: []const u8, end: u8) ?usize {
        const found = std.mem.findScalar(u8, text, end) orelse return null;
        if (!self.is_strict and std.mem.findScalar(u8, text[0..found], 0) != null) return null;
        return found;
    }

    fn failExpected(self: *Reader, expected: u8, got: u8) error{Protocol} {
        self.failure = std.fmt.bufPrint(&self.failure_buffer, "expected '{c}', got '{c}'", .{ expected, got }) catch unreachable;
        return error.Protocol;
    }

    /// Redis skips the two bytes at the end of a line or an argument, whatever they are.
    fn acceptOddEnd(self: *Reader) error{Protocol}!void {
        if (self.is_strict) return self.fail("a line or an argument does not end with CR LF");
        self.is_canonical = false;
    }

    fn fail(self: *Reader, comptime text: []const u8) error{Protocol} {
        self.failure = text;
        return error.Protocol;
    }

    // --- Inline commands, as people type them -----------------------------------------------

    fn nextInline(self: *Reader, input: []const u8) Error!?Command {
        const rest = input[self.at..];
        const end = self.findEnd(rest, '\n') orelse {
            if (rest.len > line_bytes_max) return self.fail("too big inline request");
            return null;
        };
        const line = if (end != 0 and rest[end - 1] == '\r') rest[0 .. end - 1] else rest[0..end];
        // A line that is refused stays the next one: in a batch it is told after the commands before it.
        try self.splitLine(line);
        self.at += end + 1;
        return .{ .args = self.args.items[self.first_arg..], .raw = null, .start = self.start };
    }

    fn splitLine(self: *Reader, line: []const u8) Error!void {
        self.scratch.clearRetainingCapacity();
        // Unescaping never makes text longer, so the scratch does not move while arguments point into it.
        try self.scratch.ensureTotalCapacity(self.gpa, line.len + 1);
        var at: usize = 0;
        while (true) {
            while (at < line.len and isBlank(line[at])) at += 1;
            if (at == line.len) return;
            const first = self.scratch.items.len;
            at = try self.splitArgument(line, at);
            try self.args.append(self.gpa, self.scratch.items[first..]);
        }
    }

    /// One argument: bare text, and parts in quotes, which end the argument.
    fn splitArgument(self: *Reader, line: []const u8, start: usize) Error!usize {
        var at = start;
        while (at < line.len and !endsWord(line[at])) {
            switch (line[at]) {
                '"', '\'' => |quote| {
                    at = try self.splitQuoted(line, at + 1, quote);
                    if (at < line.len and !isBlank(line[at])) return self.fail("unbalanced quotes in request");
                    return at;
                },
                else => |byte| self.scratch.appendAssumeCapacity(byte),
            }
            at += 1;
        }
        return at;
    }

    fn splitQuoted(self: *Reader, line: []const u8, start: usize, quote: u8) Error!usize {
        var at = start;
        while (at < line.len) {
            const rest = line[at..];
            if (rest[0] == quote) return at + 1;
            if (quote == '"' and rest.len >= 4 and rest[0] == '\\' and rest[1] == 'x' and std.ascii.isHex(rest[2]) and std.ascii.isHex(rest[3])) {
                self.scratch.appendAssumeCapacity(std.fmt.parseInt(u8, rest[2..4], 16) catch unreachable);
                at += 4;
            } else if (quote == '"' and rest.len >= 2 and rest[0] == '\\') {
                self.scratch.appendAssumeCapacity(switch (rest[1]) {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'b' => 8,
                    'a' => 7,
                    else => |byte| byte,
                });
                at += 2;
            } else if (quote == '\'' and std.mem.startsWith(u8, rest, "\\'")) {
                self.scratch.appendAssumeCapacity('\'');
                at += 2;
            } else {
                self.scratch.appendAssumeCapacity(rest[0]);
                at += 1;
            }
        }
        return self.fail("unbalanced quotes in request");
    }

    /// Other blanks than these are part of a word, as redis has it.
    fn endsWord(byte: u8) bool {
        return byte == ' ' or byte == '\t' or byte == '\r' or byte == '\n';
    }

    fn isBlank(byte: u8) bool {
        return byte == ' ' or (byte >= '\t' and byte <= '\r');
    }
};

/// Bytes that have come and are not commands yet, with their reader.
pub const Input = struct {
    gpa: Allocator,
    buffer: []u8 = &.{},
    filled: usize = 0,
    reader: Reader,

    pub const Error = error{ OutOfMemory, TooLarge };

    pub fn init(gpa: Allocator) Input {
        return .{ .gpa = gpa, .reader = .{ .gpa = gpa } };
    }

    pub fn deinit(self: *Input) void {
        self.reader.deinit();
        self.gpa.free(self.buffer);
        self.* = .init(self.gpa);
    }

    pub fn next(self: *Input) Reader.Error!?Command {
        return self.reader.next(self.buffer[0..self.filled]);
    }

    pub fn nextBatch(self: *Input, batch: *[batch_max]Command) Reader.Error!usize {
        return self.reader.nextBatch(self.buffer[0..self.filled], batch);
    }

    /// True when every byte has become part of a command.
    pub fn isEmpty(self: *const Input) bool {
        return self.reader.at == self.filled and !self.reader.isInsideCommand();
    }

    pub fn rest(self: *const Input) []const u8 {
        return self.buffer[self.reader.firstNeeded()..self.filled];
    }

    /// Room for more bytes behind those that are there. The buffer doubles only when it is full, so that no client
    /// gets memory for what it merely declares.
    pub fn spare(self: *Input, least_bytes: usize, most_bytes: usize) Error![]u8 {
        if (self.isEmpty()) self.clear();
        if (self.buffer.len - self.filled < least_bytes) self.cut();
        if (self.buffer.len - self.filled < least_bytes) {
            if (self.buffer.len >= most_bytes) return error.TooLarge;
            const old = self.buffer;
            self.buffer = try self.gpa.realloc(old, @max(least_bytes, old.len * 2));
            self.reader.rebase(old.ptr, self.buffer.ptr, 0);
        }
        return self.buffer[self.filled..];
    }

    pub fn clear(self: *Input) void {
        self.filled = 0;
        self.reader.start = 0;
        self.reader.at = 0;
    }

    /// Forgets everything, also a command that is unfinished.
    pub fn abandon(self: *Input) void {
        self.reader.args_left = 0;
        self.reader.bulk_bytes = null;
        self.reader.settle();
        self.clear();
    }

    /// Moves what is still needed to the front.
    fn cut(self: *Input) void {
        const first = self.reader.firstNeeded();
        if (first == 0) return;
        std.mem.copyForwards(u8, self.buffer, self.buffer[first..self.filled]);
        self.filled -= first;
        self.reader.rebase(self.buffer.ptr, self.buffer.ptr, first);
    }

    /// Hands what is unfinished to another input, which is empty and without a buffer, and becomes empty.
    pub fn moveTo(self: *Input, other: *Input, least_bytes: usize) error{OutOfMemory}!void {
        const bytes = self.rest();
        const first = self.reader.firstNeeded();
        other.buffer = try other.gpa.alloc(u8, @max(least_bytes, bytes.len * 2));
        @memcpy(other.buffer[0..bytes.len], bytes);
        other.filled = bytes.len;
        std.mem.swap(Reader, &self.reader, &other.reader);
        other.reader.rebase(self.buffer.ptr, other.buffer.ptr, first);
        self.clear();
    }
};

/// Replies, written one after the other.
pub const Writer = struct {
    gpa: Allocator,
    bytes: std.ArrayList(u8) = .empty,

    pub const Error = error{OutOfMemory};

    const header_bytes_max = numbers.int_chars_max + 3;
    /// A reply that would be larger is an error: what one command may ask for must have a bound.
    const reply_bytes_max = 2 << 30;

    fn reserve(self: *Writer, more: usize) Error!void {
        if (self.bytes.capacity - self.bytes.items.len >= more) return;
        if (self.bytes.items.len +| more > reply_bytes_max) return error.OutOfMemory;
        try self.bytes.ensureUnusedCapacity(self.gpa, more);
    }

    pub fn raw(self: *Writer, text: []const u8) Error!void {
        try self.reserve(text.len);
        self.bytes.appendSliceAssumeCapacity(text);
    }

    pub fn status(self: *Writer, comptime text: []const u8) Error!void {
        try self.raw("+" ++ text ++ "\r\n");
    }

    /// An error; line breaks in it become blanks.
    pub fn failure(self: *Writer, text: []const u8) Error!void {
        try self.reserve(text.len + 3);
        self.bytes.appendAssumeCapacity('-');
        for (text) |byte| self.bytes.appendAssumeCapacity(if (byte == '\r' or byte == '\n') ' ' else byte);
        self.bytes.appendSliceAssumeCapacity("\r\n");
    }

    pub fn int(self: *Writer, value: i64) Error!void {
        if (value >= 0 and value < 10) return self.raw(&.{ ':', '0' + @as(u8, @intCast(value)), '\r', '\n' });
        try self.reserve(header_bytes_max);
        self.header(':', value);
    }

    pub fn count(self: *Writer, value: usize) Error!void {
        try self.int(@intCast(value));
    }

    pub fn boolean(self: *Writer, value: bool) Error!void {
        try self.raw(if (value) ":1\r\n" else ":0\r\n");
    }

    pub fn array(self: *Writer, length: usize) Error!void {
        try self.reserve(header_bytes_max);
        self.header('*', @intCast(length));
    }

    pub fn bulk(self: *Writer, text: []const u8) Error!void {
        try self.reserve(header_bytes_max + text.len + 2);
        self.header('$', @intCast(text.len));
        self.bytes.appendSliceAssumeCapacity(text);
        self.bytes.appendSliceAssumeCapacity("\r\n");
    }

    pub fn bulkInt(self: *Writer, value: i64) Error!void {
        var buffer: [numbers.int_chars_max]u8 = undefined;
        try self.bulk(numbers.printInt(&buffer, value));
    }

    pub fn double(self: *Writer, value: f64) Error!void {
        var buffer: [numbers.double_chars_max]u8 = undefined;
        try self.bulk(numbers.printDouble(&buffer, value));
    }

    pub fn optional(self: *Writer, text: ?[]const u8) Error!void {
        if (text) |present| try self.bulk(present) else try self.nil();
    }

    pub fn nil(self: *Writer) Error!void {
        try self.raw("$-1\r\n");
    }

    pub fn nilArray(self: *Writer) Error!void {
        try self.raw("*-1\r\n");
    }

    /// A command as an array of bulk strings, the way it goes into the append-only file.
    pub fn command(self: *Writer, args: []const []const u8) Error!void {
        try self.array(args.len);
        for (args) |arg| try self.bulk(arg);
    }

    fn header(self: *Writer, kind: u8, value: i64) void {
        self.bytes.appendAssumeCapacity(kind);
        if (value >= 0 and value < 10) {
            self.bytes.appendAssumeCapacity('0' + @as(u8, @intCast(value)));
        } else {
            var buffer: [numbers.int_chars_max]u8 = undefined;
            self.bytes.appendSliceAssumeCapacity(numbers.printInt(&buffer, value));
        }
        self.bytes.appendSliceAssumeCapacity("\r\n");
    }
};

fn expectCommand(reader: *Reader, input: []const u8, expected: []const []const u8) !void {
    const command = (try reader.next(input)).?;
    try std.testing.expectEqual(expected.len, command.args.len);
    for (expected, command.args) |want, got| try std.testing.expectEqualStrings(want, got);
}

test "commands, whole and byte by byte" {
    const input = "*2\r\n$3\r\nGET\r\n$11\r\nhello world\r\n*0\r\n\r\nPING\r\n*1\r\n$0\r\n\r\n";
    var reader: Reader = .{ .gpa = std.testing.allocator };
    defer reader.deinit();
    try expectCommand(&reader, input, &.{ "GET", "hello world" });
    try expectCommand(&reader, input, &.{"PING"});
    try expectCommand(&reader, input, &.{""});
    try std.testing.expectEqual(null, try reader.next(input));

    var slow: Reader = .{ .gpa = std.testing.allocator };
    defer slow.deinit();
    var commands: usize = 0;
    for (0..input.len + 1) |length| {
        while (try slow.next(input[0..length])) |_| commands += 1;
    }
    try std.testing.expectEqual(3, commands);
}

test "batches" {
    const get = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    const ten = get ++ get ++ get ++ get ++ get ++ get ++ get ++ get ++ get ++ get;
    const input = ten ++ ten ++ "*2\r\n$3\r\nGET\r\n$x";
    var reader: Reader = .{ .gpa = std.testing.allocator };
    defer reader.deinit();
    var batch: [batch_max]Command = undefined;
    try std.testing.expectEqual(batch_max, try reader.nextBatch(input, &batch));
    try std.testing.expectEqualStrings("k", batch[batch_max - 1].args[1]);
    reader.rewind(batch[10]);
    try std.testing.expectEqual(10, try reader.nextBatch(input, &batch));
    for (batch[0..10]) |command| try std.testing.expectEqualStrings(get, command.raw.?);
    try std.testing.expectEqual(0, try reader.nextBatch(input, &batch));
    try std.testing.expectError(error.Protocol, reader.nextBatch(input ++ "\r\n", &batch));
}

test "what is wrong behind a batch is told after it" {
    for ([_][]const u8{ "get \"\r\n", "*1\r\n$x\r\n", "*x\r\n" }) |wrong| {
        var buffer: [64]u8 = undefined;
        const input = try std.fmt.bufPrint(&buffer, "*1\r\n$4\r\nPING\r\n{s}", .{wrong});
        var reader: Reader = .{ .gpa = std.testing.allocator };
        defer reader.deinit();
        var batch: [batch_max]Command = undefined;
        try std.testing.expectEqual(1, try reader.nextBatch(input, &batch));
        try std.testing.expectError(error.Protocol, reader.nextBatch(input, &batch));
    }
}

test "inline commands" {
    var reader: Reader = .{ .gpa = std.testing.allocator };
    defer reader.deinit();
    const input = "set  \"a\\x41\\n\\\"\" 'it\\'s'\r\nget k\n";
    try expectCommand(&reader, input, &.{ "set", "aA\n\"", "it's" });
    try expectCommand(&reader, input, &.{ "get", "k" });
}

test "what is not the protocol" {
    for ([_]struct { []const u8, []const u8 }{
        .{ "*1\r\n+3\r\n", "expected '$', got '+'" },       .{ "*x\r\n", "invalid multibulk length" },
        .{ "*2147483648\r\n", "invalid multibulk length" }, .{ "*1\r\n$-1\r\n", "invalid bulk length" },
        .{ "*1\r\n$536870913\r\n", "invalid bulk length" }, .{ "*1\r\n$03\r\n", "invalid bulk length" },
        .{ "set \"a\r\n", "unbalanced quotes in request" }, .{ "set \"a\"b\r\n", "unbalanced quotes in request" },
    }) |case| {
        var reader: Reader = .{ .gpa = std.testing.allocator };
        defer reader.deinit();
        try std.testing.expectError(error.Protocol, reader.next(case[0]));
        try std.testing.expectEqualStrings(case[1], reader.failure);
    }
}

test "odd but accepted bytes are not copied into the log" {
    var reader: Reader = .{ .gpa = std.testing.allocator };
    defer reader.deinit();
    const command = (try reader.next("*1\r\n$4\r\nPINGxy")).?;
    try std.testing.expectEqual(null, command.raw);
}

test Writer {
    var writer: Writer = .{ .gpa = std.testing.allocator };
    defer writer.bytes.deinit(std.testing.allocator);
    try writer.status("OK");
    try writer.int(-12);
    try writer.command(&.{ "GET", "0123456789" });
    try writer.failure("ERR a\nb");
    try writer.double(0.5);
    try std.testing.expectEqualStrings("+OK\r\n:-12\r\n*2\r\n$3\r\nGET\r\n$10\r\n0123456789\r\n-ERR a b\r\n$3\r\n0.5\r\n", writer.bytes.items);
}
