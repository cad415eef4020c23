//! The measured work: reads a file in blocks and counts its words.

const std = @import("std");
const failure = @import("failure.zig");
const render = @import("render.zig").render;
const Table = @import("table.zig").Table;
const prefix_bytes = @import("table.zig").prefix_bytes;
const Io = std.Io;

const block_bytes = 256 << 10;
const word_bytes_max = 64 << 10;

/// Every byte of a word in lower case, and zero for a separator.
const lowered: [256]u8 = blk: {
    @setEvalBranchQuota(5000);
    var table: [256]u8 = @splat(0);
    for (&table, 0..) |*lower, value| switch (value) {
        '0'...'9', 'a'...'z', 0x80...0xff => lower.* = value,
        'A'...'Z' => lower.* = value + 'a' - 'A',
        else => {},
    };
    break :blk table;
};

/// The words, and the memory that one repeat leaves to the next.
pub const Counter = struct {
    words: Table,
    /// An unfinished word of the block before, a block, and room for the prefix of its last word.
    buffer: []u8,

    pub fn init(gpa: std.mem.Allocator, seeds: [2]u64) error{OutOfMemory}!Counter {
        const buffer = try gpa.alloc(u8, word_bytes_max + block_bytes + prefix_bytes);
        errdefer gpa.free(buffer);
        @memset(buffer, 0);
        return .{ .words = try .init(gpa, seeds), .buffer = buffer };
    }

    pub fn deinit(self: *Counter) void {
        self.words.gpa.free(self.buffer);
        self.words.deinit();
    }

    /// Reads the file in blocks and counts its words; gives the number of them.
    pub fn count(self: *Counter, io: Io, path: []const u8, why: *failure.Failure) failure.Error!u64 {
        const file = Io.Dir.cwd().openFile(io, path, .{}) catch |err| return why.path(path, err);
        defer file.close(io);
        self.words.reset();
        var total: u64 = 0;
        var kept: usize = 0;
        // The place of the buffer's first byte in the file.
        var offset: u64 = 0;
        var last = false;
        while (!last) {
            const size = readBlock(io, file, self.buffer[kept..][0..block_bytes]) catch |err| return why.path(path, err);
            last = size < block_bytes;
            const end = kept + size;
            const start = self.scan(end, last, &total, why) catch |err| return if (err == error.Failed) why.within(path) else err;
            offset += start;
            kept = end - start;
            if (kept > word_bytes_max) {
                return why.bad("{f}: byte {d}: word longer than {d} bytes", .{ failure.escaped(path), offset, word_bytes_max });
            }
            @memmove(self.buffer[0..kept], self.buffer[start..end]);
        }
        return total;
    }

    /// Counts the words that end within the first `end` bytes of the buffer, and tells where the word starts that does
    /// not. At the end of the file, all do.
    fn scan(self: *Counter, end: usize, last: bool, total: *u64, why: *failure.Failure) failure.Error!usize {
        const buffer = self.buffer[0 .. end + prefix_bytes];
        var at: usize = 0;
        while (true) {
            while (at < end and lowered[buffer[at]] == 0) at += 1;
            const start = at;
            while (at < end and lowered[buffer[at]] != 0) : (at += 1) buffer[at] = lowered[buffer[at]];
            const length = at - start;
            if (length == 0 or (at == end and !last) or length > word_bytes_max) return start;
            try self.words.add(buffer[start..], length, why);
            total.* += 1;
        }
    }
};

/// Fills a block; less than all of it is the end of the file.
fn readBlock(io: Io, file: Io.File, block: []u8) !usize {
    var size: usize = 0;
    while (size < block.len) {
        const got = file.readStreaming(io, &.{block[size..]}) catch |err| switch (err) {
            error.EndOfStream => break,
            else => |e| return e,
        };
        if (got == 0) break;
        size += got;
    }
    return size;
}

/// Counts the words of a text through the same door as the program; the answer is the caller's.
fn answerTo(text: []const u8, top: usize, total: *u64, why: *failure.Failure) ![]u8 {
    const gpa = std.testing.allocator;
    const io = std.testing.io;
    var tmp = std.testing.tmpDir(.{});
    defer tmp.cleanup();
    try tmp.dir.writeFile(io, .{ .sub_path = "text", .data = text });
    var path_buffer: [256]u8 = undefined;
    const path = try std.fmt.bufPrint(&path_buffer, ".zig-cache/tmp/{s}/text", .{tmp.sub_path[0..]});
    var counter: Counter = try .init(gpa, .{ 3, 4 });
    defer counter.deinit();
    total.* = try counter.count(io, path, why);
    var answer: std.ArrayList(u8) = .empty;
    errdefer answer.deinit(gpa);
    try render(gpa, &answer, &counter.words, top);
    return answer.toOwnedSlice(gpa);
}

fn expectAnswer(expected: []const u8, expected_total: u64, text: []const u8, top: usize) !void {
    var why: failure.Failure = .{};
    var total: u64 = 0;
    const answer = try answerTo(text, top, &total, &why);
    defer std.testing.allocator.free(answer);
    try std.testing.expectEqualStrings(expected, answer);
    try std.testing.expectEqual(expected_total, total);
}

test "words and their order" {
    try expectAnswer("", 0, "", 20);
    try expectAnswer("", 0, " \n\t.,-\x00\x7f", 20);
    try expectAnswer("one 1\n", 1, "one", 20);
    try expectAnswer("b 3\na 2\n", 5, "B a b A b", 20);
    try expectAnswer("a 1\nb 1\n", 3, "b a c", 2);
    try expectAnswer("r2d2 2\ndon 1\nt 1\n", 4, "R2D2 r2d2!don't", 20);
    try expectAnswer("\xc3\x89t\xc3\xa9 2\n", 2, "\xc3\x89t\xc3\xa9 \xc3\x89T\xc3\xa9", 20);
    try expectAnswer("abcdefghi 2\nabcdefgh 1\nabcdefghj 1\n", 4, "abcdefgh abcdefghi abcdefghj abcdefghi", 20);
}

test "a word may cross the edge of a block" {
    const crossing = "crossing x ";
    var text: [block_bytes + crossing.len + 2 * block_bytes]u8 = undefined;
    for (0..12) |shift| {
        const head = block_bytes - shift;
        @memset(text[0..head], ' ');
        @memcpy(text[head..][0..crossing.len], crossing);
        for (text[head + crossing.len ..], 0..) |*byte, index| byte.* = if (index % 2 == 0) 'x' else ' ';
        const end = head + crossing.len + 2 * block_bytes;
        try expectAnswer("x 262145\ncrossing 1\n", block_bytes + 2, text[0..end], 20);
    }
}

test "a long word is refused with its place" {
    var text: [2 + 9 * word_bytes_max]u8 = @splat('w');
    @memcpy(text[0..2], "a ");
    try expectAnswer("a 1\n", 2, text[0 .. 2 + word_bytes_max], 1);
    for ([_]usize{ 2 + word_bytes_max + 1, text.len }) |length| {
        var why: failure.Failure = .{};
        var total: u64 = 0;
        try std.testing.expectError(error.Failed, answerTo(text[0..length], 1, &total, &why));
        try std.testing.expect(std.mem.find(u8, why.text(), "byte 2: word longer than") != null);
    }
}

test "a path that cannot be read" {
    var counter: Counter = try .init(std.testing.allocator, .{ 3, 4 });
    defer counter.deinit();
    for ([_][]const u8{ "/", "/no such file" }) |path| {
        var why: failure.Failure = .{};
        try std.testing.expectError(error.Failed, counter.count(std.testing.io, path, &why));
        try std.testing.expectEqual(failure.ExitCode.bad_request, why.exit_code);
    }
}
