//! A connection to the server, read through one buffer.

const std = @import("std");
const linux = std.os.linux;

const buffer_bytes = 64 << 10;
/// How long the server may take for anything.
const patience_s = 10;

/// What can go wrong, in words.
pub const Trouble = error{ Refused, Unreachable, Closed, Late, LongLine, Broken };

pub fn reason(err: anyerror) []const u8 {
    return switch (err) {
        error.Refused => "connection refused",
        error.Unreachable => "network is unreachable",
        error.Closed => "closed the connection",
        error.Late => "did not answer in time",
        error.LongLine => "sent a line without an end",
        error.NoLength => "sent a body without a Content-Length",
        error.NoResponse => "sent something that is no HTTP/1.1 response",
        else => "connection broken",
    };
}

pub const Connection = struct {
    fd: i32,
    buffer: [buffer_bytes]u8 = undefined,
    start: usize = 0,
    end: usize = 0,

    /// Connects in place: the buffer is not moved.
    pub fn open(self: *Connection, server: std.Io.net.IpAddress) Trouble!void {
        const family: u32 = if (server == .ip4) linux.AF.INET else linux.AF.INET6;
        const made = linux.socket(family, linux.SOCK.STREAM | linux.SOCK.CLOEXEC, 0);
        if (linux.errno(made) != .SUCCESS) return error.Broken;
        self.* = .{ .fd = @intCast(made) };
        errdefer self.close();
        const on: c_int = 1;
        _ = linux.setsockopt(self.fd, linux.IPPROTO.TCP, linux.TCP.NODELAY, std.mem.asBytes(&on), @sizeOf(c_int));
        const patience: linux.timeval = .{ .sec = patience_s, .usec = 0 };
        for ([_]u32{ linux.SO.RCVTIMEO, linux.SO.SNDTIMEO }) |option| {
            _ = linux.setsockopt(self.fd, linux.SOL.SOCKET, option, std.mem.asBytes(&patience), @sizeOf(linux.timeval));
        }
        const result = switch (server) {
            .ip4 => |ip4| blk: {
                const address: linux.sockaddr.in = .{ .port = std.mem.nativeToBig(u16, ip4.port), .addr = @bitCast(ip4.bytes) };
                break :blk linux.connect(self.fd, &address, @sizeOf(linux.sockaddr.in));
            },
            .ip6 => |ip6| blk: {
                const address: linux.sockaddr.in6 = .{ .port = std.mem.nativeToBig(u16, ip6.port), .flowinfo = 0, .addr = ip6.bytes, .scope_id = 0 };
                break :blk linux.connect(self.fd, &address, @sizeOf(linux.sockaddr.in6));
            },
        };
        return switch (linux.errno(result)) {
            .SUCCESS => {},
            .CONNREFUSED => error.Refused,
            .NETUNREACH, .HOSTUNREACH => error.Unreachable,
            .INPROGRESS, .AGAIN, .TIMEDOUT => error.Late,
            else => error.Broken,
        };
    }

    pub fn close(self: *Connection) void {
        _ = linux.close(self.fd);
    }

    pub fn send(self: *Connection, bytes: []const u8) Trouble!void {
        var rest = bytes;
        while (rest.len != 0) {
            const sent = linux.sendto(self.fd, rest.ptr, rest.len, linux.MSG.NOSIGNAL, null, 0);
            rest = rest[try transferred(sent)..];
        }
    }

    /// Returns the next line without its end; it is good until the next call.
    pub fn line(self: *Connection) Trouble![]const u8 {
        while (true) {
            const there = self.buffer[self.start..self.end];
            if (std.mem.findScalar(u8, there, '\n')) |length| {
                self.start += length + 1;
                return std.mem.cutSuffix(u8, there[0..length], "\r") orelse there[0..length];
            }
            if (there.len == buffer_bytes) return error.LongLine;
            try self.fill();
        }
    }

    /// Returns at least one byte and at most so many; they are good until the next call.
    pub fn some(self: *Connection, most: u64) Trouble![]const u8 {
        if (self.start == self.end) try self.fill();
        const length: usize = @min(most, self.end - self.start);
        defer self.start += length;
        return self.buffer[self.start..][0..length];
    }

    /// Reads once, behind what is there.
    fn fill(self: *Connection) Trouble!void {
        const rest = self.buffer[self.start..self.end];
        @memmove(self.buffer[0..rest.len], rest);
        self.start = 0;
        self.end = rest.len;
        const room = self.buffer[self.end..];
        while (self.end == rest.len) {
            const got = linux.read(self.fd, room.ptr, room.len);
            if (got == 0) return error.Closed;
            self.end += try transferred(got);
        }
    }

    /// How many bytes a call has moved; none when a signal came first.
    fn transferred(result: usize) Trouble!usize {
        return switch (linux.errno(result)) {
            .SUCCESS => result,
            .INTR => 0,
            .AGAIN => error.Late,
            else => error.Broken,
        };
    }
};
