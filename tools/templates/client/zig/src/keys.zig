//! The file of keys.

const std = @import("std");
const failure = @import("failure.zig");

const key_bytes_max = 255;
const file_bytes_max = 64 << 20;

/// Keys, one a line, as slices of the file's content.
pub const Keys = struct {
    content: []const u8,
    lines: []const []const u8,

    pub fn deinit(self: Keys, gpa: std.mem.Allocator) void {
        gpa.free(self.lines);
        gpa.free(self.content);
    }
};

/// Reads a file and checks each line.
pub fn read(gpa: std.mem.Allocator, io: std.Io, path: []const u8, why: *failure.Failure) failure.Error!Keys {
    const content = std.Io.Dir.cwd().readFileAlloc(io, path, gpa, .limited(file_bytes_max + 1)) catch |err| return switch (err) {
        error.OutOfMemory => error.OutOfMemory,
        error.StreamTooLong => why.bad("{f}: more than {d} bytes", .{ failure.escaped(path), file_bytes_max }),
        else => |e| why.path(path, e),
    };
    errdefer gpa.free(content);
    const lines = try split(gpa, content);
    errdefer gpa.free(lines);
    for (lines, 1..) |line, number| {
        if (!isKey(line)) return why.bad("{f}: line {d}: not a key: {f}", .{ failure.escaped(path), number, failure.quoted(line) });
    }
    return .{ .content = content, .lines = lines };
}

/// The lines of a text; the last one need not have an end.
fn split(gpa: std.mem.Allocator, content: []const u8) error{OutOfMemory}![]const []const u8 {
    const ends = std.mem.countScalar(u8, content, '\n');
    const has_open_line = content.len != 0 and content[content.len - 1] != '\n';
    const lines = try gpa.alloc([]const u8, ends + @intFromBool(has_open_line));
    var parts = std.mem.splitScalar(u8, content, '\n');
    for (lines) |*line| line.* = parts.next().?;
    return lines;
}

fn isKey(line: []const u8) bool {
    for (line) |byte| if (!std.ascii.isAlphanumeric(byte) and std.mem.findScalar(u8, ".-_", byte) == null) return false;
    return line.len != 0 and line.len <= key_bytes_max;
}

test "keys are lines" {
    const gpa = std.testing.allocator;
    for ([_][]const u8{ "", "a", "a\n", "a\nB-c_1.txt\na\n" }, [_]usize{ 0, 1, 1, 3 }) |content, count| {
        const lines = try split(gpa, content);
        defer gpa.free(lines);
        try std.testing.expectEqual(count, lines.len);
        for (lines) |line| try std.testing.expect(isKey(line));
    }
}

test "what is no key is known" {
    const long: [key_bytes_max + 1]u8 = @splat('k');
    try std.testing.expect(isKey(long[1..]));
    for ([_][]const u8{ "", "a b", "a\r", "../b", "a/b", "\xc3\xa9", &long }) |line| try std.testing.expect(!isKey(line));
}
