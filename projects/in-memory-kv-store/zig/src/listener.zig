//! Addresses to listen on: `HOST:PORT` and `unix:PATH`.

const std = @import("std");
const failure = @import("failure.zig");
const linux = std.os.linux;

const backlog = 511;

pub const Listener = struct {
    fd: i32,
    /// As it is announced: with the real port.
    name: []const u8,
    port: u16 = 0,
    unix_path: ?[:0]const u8 = null,

    pub fn open(arena: std.mem.Allocator, text: []const u8, why: *failure.Failure) failure.Error!Listener {
        if (std.mem.cutPrefix(u8, text, "unix:")) |path| return openUnix(arena, text, path, why);
        const address = parse(text) orelse return why.bad("--listen {f}: not HOST:PORT with a numeric host, nor unix:PATH", .{failure.quoted(text)});
        return openTcp(arena, text, address, why);
    }

    pub fn close(self: *const Listener) void {
        _ = linux.close(self.fd);
        if (self.unix_path) |path| _ = linux.unlink(path);
    }
};

/// A numeric host, in brackets if it is of IPv6, or `localhost`; and a port.
fn parse(text: []const u8) ?std.Io.net.IpAddress {
    const host, const port_text = std.mem.cutScalarLast(u8, text, ':') orelse return null;
    for (port_text) |byte| if (!std.ascii.isDigit(byte)) return null;
    const port = std.fmt.parseInt(u16, port_text, 10) catch return null;
    if (std.mem.eql(u8, host, "localhost")) return .{ .ip4 = .loopback(port) };
    if (std.mem.cutPrefix(u8, host, "[")) |rest| {
        const inner = std.mem.cutSuffix(u8, rest, "]") orelse return null;
        return std.Io.net.IpAddress.parseIp6(inner, port) catch null;
    }
    return std.Io.net.IpAddress.parseIp4(host, port) catch null;
}

fn openTcp(arena: std.mem.Allocator, text: []const u8, address: std.Io.net.IpAddress, why: *failure.Failure) failure.Error!Listener {
    var storage: linux.sockaddr.storage = undefined;
    const length = encode(address, &storage);
    const fd = try openSocket(storage.family, text, why);
    errdefer _ = linux.close(fd);
    // The port of a server that has just ended can be used at once; two servers on one port are still refused.
    const on: c_int = 1;
    _ = linux.setsockopt(fd, linux.SOL.SOCKET, linux.SO.REUSEADDR, std.mem.asBytes(&on), @sizeOf(c_int));
    try expect(linux.bind(fd, @ptrCast(&storage), length), text, why);
    try expect(linux.listen(fd, backlog), text, why);
    var bound_length: linux.socklen_t = @sizeOf(linux.sockaddr.storage);
    try expect(linux.getsockname(fd, @ptrCast(&storage), &bound_length), text, why);
    const name = try arena.alloc(u8, address_chars_max);
    const bound = describe(@ptrCast(&storage), name[0..address_chars_max]);
    return .{ .fd = fd, .name = bound.text, .port = bound.port };
}

fn openUnix(arena: std.mem.Allocator, text: []const u8, path: []const u8, why: *failure.Failure) failure.Error!Listener {
    var address: linux.sockaddr.un = .{ .path = @splat(0) };
    if (path.len == 0 or path.len >= address.path.len) {
        return why.bad("--listen {f}: a path of 1 to {d} bytes is needed", .{ failure.quoted(text), address.path.len - 1 });
    }
    @memcpy(address.path[0..path.len], path);
    const copy = try arena.dupeSentinel(u8, path, 0);
    const fd = try openSocket(linux.AF.UNIX, text, why);
    errdefer _ = linux.close(fd);
    try removeStale(&address, copy, text, why);
    try expect(linux.bind(fd, @ptrCast(&address), @sizeOf(linux.sockaddr.un)), text, why);
    try expect(linux.listen(fd, backlog), text, why);
    return .{ .fd = fd, .name = text, .unix_path = copy };
}

/// Removes the socket of a server that was killed: one that nobody answers.
fn removeStale(address: *const linux.sockaddr.un, path: [:0]const u8, text: []const u8, why: *failure.Failure) failure.Error!void {
    const fd = try openSocket(linux.AF.UNIX, text, why);
    defer _ = linux.close(fd);
    switch (linux.errno(linux.connect(fd, address, @sizeOf(linux.sockaddr.un)))) {
        .CONNREFUSED => _ = linux.unlink(path),
        .SUCCESS, .AGAIN => return why.bad("--listen {f}: {s}", .{ failure.quoted(text), failure.reason(.ADDRINUSE) }),
        else => {}, // bind will say what is wrong
    }
}

fn openSocket(family: u32, text: []const u8, why: *failure.Failure) failure.Error!i32 {
    const opened = linux.socket(family, linux.SOCK.STREAM | linux.SOCK.CLOEXEC | linux.SOCK.NONBLOCK, 0);
    try expect(opened, text, why);
    return @intCast(opened);
}

fn expect(result: usize, text: []const u8, why: *failure.Failure) failure.Error!void {
    const code = linux.errno(result);
    if (code != .SUCCESS) return why.bad("--listen {f}: {s}", .{ failure.quoted(text), failure.reason(code) });
}

fn encode(address: std.Io.net.IpAddress, storage: *linux.sockaddr.storage) linux.socklen_t {
    switch (address) {
        .ip4 => |ip4| {
            const encoded: *linux.sockaddr.in = @ptrCast(storage);
            encoded.* = .{ .port = std.mem.nativeToBig(u16, ip4.port), .addr = @bitCast(ip4.bytes) };
            return @sizeOf(linux.sockaddr.in);
        },
        .ip6 => |ip6| {
            const encoded: *linux.sockaddr.in6 = @ptrCast(storage);
            encoded.* = .{ .port = std.mem.nativeToBig(u16, ip6.port), .flowinfo = 0, .addr = ip6.bytes, .scope_id = 0 };
            return @sizeOf(linux.sockaddr.in6);
        },
    }
}

pub const address_chars_max = 64;

/// Writes `HOST:PORT` of a socket address of either family.
pub fn describe(address: *const linux.sockaddr, buffer: *[address_chars_max]u8) struct { text: []const u8, port: u16 } {
    const ip: std.Io.net.IpAddress = switch (address.family) {
        linux.AF.INET => blk: {
            const in: *const linux.sockaddr.in = @ptrCast(@alignCast(address));
            break :blk .{ .ip4 = .{ .bytes = @bitCast(in.addr), .port = std.mem.bigToNative(u16, in.port) } };
        },
        linux.AF.INET6 => blk: {
            const in6: *const linux.sockaddr.in6 = @ptrCast(@alignCast(address));
            break :blk .{ .ip6 = .{ .bytes = in6.addr, .port = std.mem.bigToNative(u16, in6.port) } };
        },
        else => return .{ .text = "", .port = 0 },
    };
    const port = switch (ip) {
        inline else => |each| each.port,
    };
    return .{ .text = std.fmt.bufPrint(buffer, "{f}", .{ip}) catch unreachable, .port = port };
}

test parse {
    try std.testing.expectEqual(6379, parse("127.0.0.1:6379").?.ip4.port);
    try std.testing.expectEqual(0, parse("localhost:0").?.ip4.port);
    try std.testing.expectEqual(80, parse("[::1]:80").?.ip6.port);
    for ([_][]const u8{ "", ":1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:abc", "999.1.1.1:0", "nowhere:1", "[::1:80" }) |text| {
        try std.testing.expectEqual(null, parse(text));
    }
}
