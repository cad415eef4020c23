//! Where the answer goes: always into the digest, once into a file that appears complete or not at all.

const std = @import("std");
const failure = @import("failure.zig");
const Io = std.Io;

const block_bytes = 64 << 10;

/// A file that is replaced at the end, or something that is written in place: standard output, a device, a pipe.
pub const Target = struct {
    io: Io,
    path: []const u8,
    why: *failure.Failure,
    place: union(enum) { replaced: Io.File.Atomic, in_place: Io.File },

    pub fn open(io: Io, path: []const u8, why: *failure.Failure) failure.Error!Target {
        if (std.mem.eql(u8, path, "-")) {
            return .{ .io = io, .path = "standard output", .why = why, .place = .{ .in_place = .stdout() } };
        }
        if (Io.Dir.cwd().statFile(io, path, .{})) |stat| {
            if (stat.kind == .directory) return why.path(path, error.IsDir);
            if (stat.kind != .file) {
                const file = Io.Dir.cwd().openFile(io, path, .{ .mode = .write_only }) catch |err| return why.path(path, err);
                return .{ .io = io, .path = path, .why = why, .place = .{ .in_place = file } };
            }
        } else |_| {}
        const file = Io.Dir.cwd().createFileAtomic(io, path, .{ .replace = true }) catch |err| return why.path(path, err);
        return .{ .io = io, .path = path, .why = why, .place = .{ .replaced = file } };
    }

    fn write(self: *Target, bytes: []const u8) error{Failed}!void {
        const file = switch (self.place) {
            .replaced => |*atomic| atomic.file,
            .in_place => |file| file,
        };
        return writeAll(self.io, file, bytes, self.path, self.why);
    }

    pub fn commit(self: *Target) error{Failed}!void {
        switch (self.place) {
            .replaced => |*atomic| atomic.replace(self.io) catch |err| return self.why.path(self.path, err),
            .in_place => {},
        }
    }

    pub fn close(self: *Target) void {
        switch (self.place) {
            .replaced => |*atomic| atomic.deinit(self.io),
            .in_place => {},
        }
    }
};

/// Writes everything; a reader that went away is a failure without a text.
pub fn writeAll(io: Io, file: Io.File, bytes: []const u8, name: []const u8, why: *failure.Failure) error{Failed}!void {
    file.writeStreamingAll(io, bytes) catch |err| return switch (err) {
        error.BrokenPipe => why.silent(),
        else => |e| why.path(name, e),
    };
}

/// Collects the rendered answer in blocks.
pub const Answer = struct {
    hash: std.hash.XxHash64 = .init(0),
    /// Set for the repeat whose answer is stored.
    target: ?*Target = null,
    buffer: [block_bytes]u8 = undefined,
    used: usize = 0,

    pub fn put(self: *Answer, bytes: []const u8) error{Failed}!void {
        if (bytes.len > self.buffer.len - self.used) {
            try self.flush();
            if (bytes.len > self.buffer.len) return self.pass(bytes);
        }
        @memcpy(self.buffer[self.used..][0..bytes.len], bytes);
        self.used += bytes.len;
    }

    pub fn flush(self: *Answer) error{Failed}!void {
        const bytes = self.buffer[0..self.used];
        self.used = 0;
        return self.pass(bytes);
    }

    fn pass(self: *Answer, bytes: []const u8) error{Failed}!void {
        self.hash.update(bytes);
        if (self.target) |target| try target.write(bytes);
    }
};
