//! The input as a stream of plain bytes: block reads, and decompression by magic bytes.

const std = @import("std");
const failure = @import("failure.zig");
const gzip = @import("gzip.zig");
const zstd = @import("zstd.zig");
const Io = std.Io;

pub const Compression = enum { auto, none, gzip, zstd };

const packed_block_bytes = 256 << 10;
const word_slack_bytes = 16;

/// The bytes of the file, read in blocks; the decoders take what they need.
pub const Source = struct {
    io: Io,
    file: Io.File,
    name: []const u8,
    why: *failure.Failure,
    buffer: []u8,
    start: usize = 0,
    end: usize = 0,
    at_end: bool = false,

    /// The bytes that are there already.
    pub inline fn buffered(self: *const Source) []const u8 {
        return self.buffer[self.start..self.end];
    }

    /// Makes `count` bytes available if the file has that many; `count` is far below the size of the buffer.
    pub fn fill(self: *Source, count: usize) error{Failed}!void {
        if (self.end - self.start >= count or self.at_end) return;
        const kept = self.end - self.start;
        @memmove(self.buffer[0..kept], self.buffer[self.start..self.end]);
        self.start = 0;
        self.end = kept;
        while (self.end < count and !self.at_end) {
            self.end += try self.readFile(self.buffer[self.end..]);
        }
    }

    /// Reads once; 0 is the end of the file.
    fn readFile(self: *Source, target: []u8) error{Failed}!usize {
        while (true) {
            const count = self.file.readStreaming(self.io, &.{target}) catch |err| switch (err) {
                error.EndOfStream => 0,
                else => |e| return self.why.path(self.name, e),
            };
            if (count == 0) self.at_end = true;
            return count;
        }
    }

    pub fn corrupt(self: *const Source, format: []const u8, what: []const u8) error{Failed} {
        return self.why.bad("{f}: {s}: {s}", .{ failure.escaped(self.name), format, what });
    }
};

pub const Input = struct {
    source: Source,
    decoder: Decoder,

    const Decoder = union(enum) {
        none,
        gzip: *gzip.Decoder,
        zstd: *zstd.Decoder,
    };

    /// Memory that one repeat leaves to the next.
    pub const Memory = struct {
        block: []u8 = &.{},
        gzip: ?*gzip.Decoder = null,
        zstd: ?*zstd.Decoder = null,
    };

    /// Opens a file, or standard input, and finds out how it is packed.
    pub fn open(io: Io, gpa: std.mem.Allocator, path: []const u8, compression: Compression, memory: *Memory, why: *failure.Failure) failure.Error!Input {
        // The decoders load whole words, so a little may be read (not used) behind the last byte.
        if (memory.block.len == 0) memory.block = try gpa.alloc(u8, packed_block_bytes + word_slack_bytes);
        const is_stdin = std.mem.eql(u8, path, "-");
        const file = if (is_stdin) Io.File.stdin() else Io.Dir.cwd().openFile(io, path, .{}) catch |err| return why.path(path, err);
        var input: Input = .{
            .source = .{ .io = io, .file = file, .name = if (is_stdin) "standard input" else path, .why = why, .buffer = memory.block[0..packed_block_bytes] },
            .decoder = .none,
        };
        errdefer input.close();
        try input.source.fill(4);
        const kind = if (compression == .auto) detect(input.source.buffered()) else compression;
        switch (kind) {
            .auto, .none => {},
            .gzip => {
                if (memory.gzip == null) memory.gzip = try gzip.Decoder.create(gpa);
                memory.gzip.?.restart();
                input.decoder = .{ .gzip = memory.gzip.? };
            },
            .zstd => {
                if (memory.zstd == null) memory.zstd = try zstd.Decoder.create(gpa);
                memory.zstd.?.restart();
                input.decoder = .{ .zstd = memory.zstd.? };
            },
        }
        return input;
    }

    pub fn close(self: *Input) void {
        self.source.file.close(self.source.io);
    }

    /// Reads plain bytes; 0 is the end of the input.
    pub fn read(self: *Input, target: []u8) failure.Error!usize {
        return switch (self.decoder) {
            .none => self.readPlain(target),
            inline .gzip, .zstd => |decoder| decoder.read(&self.source, target),
        };
    }

    fn readPlain(self: *Input, target: []u8) error{Failed}!usize {
        const source = &self.source;
        const buffered = source.buffered();
        if (buffered.len == 0) return if (source.at_end) 0 else source.readFile(target);
        const count = @min(buffered.len, target.len);
        @memcpy(target[0..count], buffered[0..count]);
        source.start += count;
        return count;
    }
};

/// Tells the packing by the first bytes; anything else is plain text.
fn detect(magic: []const u8) Compression {
    if (std.mem.startsWith(u8, magic, "\x1f\x8b")) return .gzip;
    if (std.mem.startsWith(u8, magic, "\x28\xb5\x2f\xfd")) return .zstd;
    return .none;
}

test "packing is told by magic bytes" {
    try std.testing.expectEqual(Compression.gzip, detect("\x1f\x8b\x08"));
    try std.testing.expectEqual(Compression.zstd, detect("\x28\xb5\x2f\xfd\x04"));
    try std.testing.expectEqual(Compression.none, detect("\x28\xb5"));
    try std.testing.expectEqual(Compression.none, detect(""));
}
