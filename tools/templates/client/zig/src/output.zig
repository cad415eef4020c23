//! Where texts and the answer go.

const std = @import("std");
const failure = @import("failure.zig");
const Io = std.Io;

/// Writes the answer to a path; an empty path is nowhere.
pub fn store(io: Io, path: []const u8, answer: []const u8, why: *failure.Failure) failure.Error!void {
    if (path.len == 0) return;
    if (std.mem.eql(u8, path, "-")) return writeAll(io, .stdout(), answer, "standard output", why);
    const cwd = Io.Dir.cwd();
    if (cwd.statFile(io, path, .{})) |stat| {
        if (stat.kind == .directory) return why.path(path, error.IsDir);
        if (stat.kind != .file) {
            // A device or pipe is written to, not replaced.
            const file = cwd.openFile(io, path, .{ .mode = .write_only }) catch |err| return why.path(path, err);
            defer file.close(io);
            return writeAll(io, file, answer, path, why);
        }
    } else |_| {}
    // The file appears under its name when it is complete, or not at all.
    var file = cwd.createFileAtomic(io, path, .{ .replace = true }) catch |err| return why.path(path, err);
    defer file.deinit(io);
    try writeAll(io, file.file, answer, path, why);
    file.replace(io) catch |err| return why.path(path, err);
}

/// Writes everything; a reader that went away is a failure without a text.
pub fn writeAll(io: Io, file: Io.File, bytes: []const u8, name: []const u8, why: *failure.Failure) error{Failed}!void {
    file.writeStreamingAll(io, bytes) catch |err| return switch (err) {
        error.BrokenPipe => why.silent(),
        else => |e| why.path(name, e),
    };
}

test "an answer replaces a file" {
    const io = std.testing.io;
    var tmp = std.testing.tmpDir(.{});
    defer tmp.cleanup();
    var path_buffer: [256]u8 = undefined;
    const path = try std.fmt.bufPrint(&path_buffer, ".zig-cache/tmp/{s}/answer", .{tmp.sub_path[0..]});
    var why: failure.Failure = .{};
    for ([_][]const u8{ "first\n", "" }) |answer| {
        try store(io, path, answer, &why);
        var content: [16]u8 = undefined;
        try std.testing.expectEqualStrings(answer, try tmp.dir.readFile(io, "answer", &content));
    }
}

test "a folder is no output" {
    var why: failure.Failure = .{};
    for ([_][]const u8{ "/", "/no/such/folder" }) |path| {
        try std.testing.expectError(error.Failed, store(std.testing.io, path, "", &why));
        try std.testing.expectEqual(failure.ExitCode.bad_request, why.exit_code);
    }
}
