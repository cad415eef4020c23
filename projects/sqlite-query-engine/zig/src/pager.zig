//! The database file, mapped read-only: header, journal and WAL checks, pages by number.

const std = @import("std");
const Io = std.Io;
const diag_zig = @import("diag.zig");
const Diag = diag_zig.Diag;
const Error = diag_zig.Error;

pub const header_bytes = 100;
const magic = "SQLite format 3\x00";
const journal_magic = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7";
const wal_header_bytes = 32;

pub const Pager = struct {
    diag: *Diag,
    path: []const u8,
    /// Empty for a database of zero bytes.
    map: []align(std.heap.page_size_min) const u8,
    page_bytes: u32,
    /// Page bytes without the reserved tail.
    usable_bytes: u32,
    page_count: u32,
    schema_format: u32 = 0,

    pub fn open(io: Io, diag: *Diag, path: []const u8) Error!Pager {
        const file = Io.Dir.cwd().openFile(io, path, .{}) catch |err| return openError(diag, path, err);
        defer file.close(io);
        const stat = file.stat(io) catch |err| return diag.machine("{s}: {t}", .{ path, err });
        if (stat.kind != .file) return diag.bad("{s}: not a regular file", .{path});
        try refuseJournal(io, diag, path);
        try refuseWal(io, diag, path);

        var self: Pager = .{ .diag = diag, .path = path, .map = &.{}, .page_bytes = 0, .usable_bytes = 0, .page_count = 0 };
        if (stat.size == 0) return self;
        if (stat.size < header_bytes) return diag.bad("{s}: file is not a database", .{path});
        // Only the file's header has been trusted for a length so far, and that is the file system's.
        self.map = std.posix.mmap(null, stat.size, .{ .READ = true }, .{ .TYPE = .SHARED }, file.handle, 0) catch |err|
            return diag.machine("{s}: mmap: {t}", .{ path, err });
        errdefer self.close();
        try self.readHeader();
        return self;
    }

    pub fn close(self: *Pager) void {
        if (self.map.len > 0) std.posix.munmap(self.map);
        self.map = &.{};
    }

    /// A pager over bytes in memory, for tests.
    pub fn fromBytes(diag: *Diag, bytes: []align(std.heap.page_size_min) const u8) Error!Pager {
        var self: Pager = .{ .diag = diag, .path = "memory", .map = bytes, .page_bytes = 0, .usable_bytes = 0, .page_count = 0 };
        if (bytes.len < header_bytes) return diag.bad("memory: file is not a database", .{});
        try self.readHeader();
        return self;
    }

    fn readHeader(self: *Pager) Error!void {
        const header = self.map[0..header_bytes];
        if (!std.mem.eql(u8, header[0..16], magic)) return self.bad("file is not a database", .{});
        const stored = std.mem.readInt(u16, header[16..18], .big);
        self.page_bytes = if (stored == 1) 65536 else stored;
        if (self.page_bytes < 512 or !std.math.isPowerOfTwo(self.page_bytes)) {
            return self.bad("file is not a database: page size {d}", .{self.page_bytes});
        }
        if (header[18] > 2 or header[19] > 2) return self.bad("unsupported file format version {d}", .{@max(header[18], header[19])});
        self.usable_bytes = self.page_bytes - header[20];
        if (self.usable_bytes < 480) return self.bad("file is not a database: {d} reserved bytes", .{header[20]});
        if (!std.mem.eql(u8, header[21..24], &.{ 64, 32, 32 })) return self.bad("file is not a database: payload fractions", .{});
        self.schema_format = std.mem.readInt(u32, header[44..48], .big);
        if (self.schema_format > 4) return self.bad("unsupported schema format {d}", .{self.schema_format});
        switch (std.mem.readInt(u32, header[56..60], .big)) {
            0, 1 => {},
            2, 3 => return self.bad("UTF-16 databases are not supported", .{}),
            else => |encoding| return self.bad("unknown text encoding {d}", .{encoding}),
        }
        try self.countPages(header);
    }

    /// The header's page count holds only if it was written together with the change counter.
    fn countPages(self: *Pager, header: *const [header_bytes]u8) Error!void {
        const in_file = self.map.len / self.page_bytes;
        const in_header = std.mem.readInt(u32, header[28..32], .big);
        const trusted = in_header != 0 and std.mem.eql(u8, header[24..28], header[92..96]);
        if (trusted and in_header > in_file) {
            return self.bad("truncated: {d} pages of {d} bytes promised, {d} bytes present", .{ in_header, self.page_bytes, self.map.len });
        }
        if (!trusted and self.map.len % self.page_bytes != 0) {
            return self.bad("truncated: {d} bytes are not a multiple of the page size {d}", .{ self.map.len, self.page_bytes });
        }
        self.page_count = if (trusted) in_header else std.math.lossyCast(u32, in_file);
    }

    /// The usable bytes of page `number` (from 1); `from` is the page that points there, for the message.
    pub fn page(self: *const Pager, number: u32, from: u32) Error![]const u8 {
        // A zero wraps around and is refused by the same comparison.
        if (number -% 1 >= self.page_count) {
            return self.bad("page {d}: points to page {d} of {d}", .{ from, number, self.page_count });
        }
        return self.map[(@as(usize, number) - 1) * self.page_bytes ..][0..self.usable_bytes];
    }

    /// A hint; the place comes from a page that has been read.
    pub inline fn prefetch(self: *const Pager, number: u32, offset: u32) void {
        if (number -% 1 >= self.page_count) return;
        const place = (@as(usize, number) - 1) * self.page_bytes + offset;
        if (place + 64 >= self.map.len) return;
        @prefetch(self.map.ptr + place, .{});
        @prefetch(self.map.ptr + place + 64, .{});
    }

    pub fn bad(self: *const Pager, comptime format: []const u8, args: anytype) Error {
        @branchHint(.cold);
        return self.diag.bad("{s}: " ++ format, .{self.path} ++ args);
    }

    /// True when the bytes live as long as the mapping, so that they need no copy.
    pub fn owns(self: *const Pager, bytes: []const u8) bool {
        const start = @intFromPtr(bytes.ptr) -% @intFromPtr(self.map.ptr);
        return start < self.map.len;
    }
};

fn openError(diag: *Diag, path: []const u8, err: Io.File.OpenError) Error {
    return switch (err) {
        error.FileNotFound, error.NotDir => diag.bad("{s}: no such file", .{path}),
        error.AccessDenied, error.PermissionDenied => diag.bad("{s}: permission denied", .{path}),
        error.IsDir => diag.bad("{s}: is a directory", .{path}),
        error.NameTooLong, error.BadPathName, error.SymLinkLoop => diag.bad("{s}: bad file name", .{path}),
        else => diag.machine("{s}: {t}", .{ path, err }),
    };
}

/// A rollback journal with content means that the last writer died: the pages may be half written.
fn refuseJournal(io: Io, diag: *Diag, path: []const u8) Error!void {
    var name_buffer: [std.posix.PATH_MAX]u8 = undefined;
    const name = std.fmt.bufPrint(&name_buffer, "{s}-journal", .{path}) catch return;
    const file = Io.Dir.cwd().openFile(io, name, .{}) catch |err| switch (err) {
        error.FileNotFound => return,
        else => return diag.bad("{s}: cannot tell whether it is hot: {t}", .{ name, err }),
    };
    defer file.close(io);
    var start: [journal_magic.len]u8 = undefined;
    const got = file.readPositionalAll(io, &start, 0) catch |err| return diag.machine("{s}: {t}", .{ name, err });
    if (std.mem.eql(u8, start[0..got], journal_magic)) {
        return diag.bad("{s}: hot journal {s}: open it once with SQLite to roll back", .{ path, name });
    }
}

/// Frames in a WAL are newer than the database file, and this engine does not read them.
fn refuseWal(io: Io, diag: *Diag, path: []const u8) Error!void {
    var name_buffer: [std.posix.PATH_MAX]u8 = undefined;
    const name = std.fmt.bufPrint(&name_buffer, "{s}-wal", .{path}) catch return;
    const stat = Io.Dir.cwd().statFile(io, name, .{}) catch |err| switch (err) {
        error.FileNotFound => return,
        else => return diag.bad("{s}: cannot tell whether it holds frames: {t}", .{ name, err }),
    };
    if (stat.size > wal_header_bytes) {
        return diag.bad("{s}: write-ahead log {s} is not empty: checkpoint it with SQLite first", .{ path, name });
    }
}

fn testHeader(bytes: []u8) void {
    @memset(bytes, 0);
    @memcpy(bytes[0..16], magic);
    std.mem.writeInt(u16, bytes[16..18], 512, .big);
    bytes[18] = 1;
    bytes[19] = 1;
    @memcpy(bytes[21..24], &[_]u8{ 64, 32, 32 });
    std.mem.writeInt(u32, bytes[28..32], 2, .big);
}

test "header lies are named" {
    var bytes: [1024]u8 align(std.heap.page_size_min) = undefined;
    var diag: Diag = .{};
    testHeader(&bytes);
    const pager = try Pager.fromBytes(&diag, &bytes);
    try std.testing.expectEqual(2, pager.page_count);
    _ = try pager.page(2, 1);
    try std.testing.expectError(error.BadInput, pager.page(3, 1));
    try std.testing.expectError(error.BadInput, pager.page(0, 1));
    try std.testing.expectEqualStrings("memory: page 1: points to page 0 of 2", diag.message());

    const lies = [_]struct { usize, u8, []const u8 }{
        .{ 0, 'X', "memory: file is not a database" },
        .{ 17, 3, "memory: file is not a database: page size 515" },
        .{ 18, 9, "memory: unsupported file format version 9" },
        .{ 20, 200, "memory: file is not a database: 200 reserved bytes" },
        .{ 22, 1, "memory: file is not a database: payload fractions" },
        .{ 59, 2, "memory: UTF-16 databases are not supported" },
        .{ 31, 3, "memory: truncated: 3 pages of 512 bytes promised, 1024 bytes present" },
    };
    for (lies) |lie| {
        testHeader(&bytes);
        bytes[lie[0]] = lie[1];
        try std.testing.expectError(error.BadInput, Pager.fromBytes(&diag, &bytes));
        try std.testing.expectEqualStrings(lie[2], diag.message());
    }
}
