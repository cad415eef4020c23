//! The kernel's door: every system call of the server, each behind a function that says what can happen.

const std = @import("std");
const failure = @import("failure.zig");
const linux = std.os.linux;
const Io = std.Io;

pub const Fd = linux.fd_t;

/// What epoll hands back: the first field of everything that is watched. The kind tells which struct it sits in.
pub const Source = struct {
    // Aligned like what it sits in.
    kind: Kind align(@alignOf(usize)),

    pub const Kind = enum { listener, signals, wake, connection };
};

pub const readable = linux.EPOLL.IN | linux.EPOLL.RDHUP | linux.EPOLL.HUP | linux.EPOLL.ERR;
pub const writable = linux.EPOLL.OUT | linux.EPOLL.HUP | linux.EPOLL.ERR;
/// The peer has sent its last byte, or is gone altogether.
pub const peer_closed = linux.EPOLL.RDHUP | linux.EPOLL.HUP | linux.EPOLL.ERR;

/// Connections are watched once, for everything, edge triggered: no epoll_ctl in the life of a message.
pub const connection_events = linux.EPOLL.IN | linux.EPOLL.OUT | linux.EPOLL.RDHUP | linux.EPOLL.ET;
pub const listener_events = linux.EPOLL.IN;

pub const TransferError = error{ WouldBlock, Broken };

/// Receives once; 0 is the end of what the peer sends.
pub fn receive(fd: Fd, buffer: []u8) TransferError!usize {
    return transferred(linux.recvfrom(fd, buffer.ptr, buffer.len, 0, null, null));
}

/// Sends once, maybe less than all.
pub fn send(fd: Fd, vectors: []const std.posix.iovec_const) TransferError!usize {
    if (vectors.len == 1) return transferred(linux.sendto(fd, vectors[0].base, vectors[0].len, linux.MSG.NOSIGNAL, null, 0));
    const message: linux.msghdr_const = .{
        .name = null,
        .namelen = 0,
        .iov = vectors.ptr,
        .iovlen = vectors.len,
        .control = null,
        .controllen = 0,
        .flags = 0,
    };
    return transferred(linux.sendmsg(fd, &message, linux.MSG.NOSIGNAL));
}

/// Sockets do not block, so no signal can interrupt these calls.
inline fn transferred(result: usize) TransferError!usize {
    return switch (linux.errno(result)) {
        .SUCCESS => result,
        .AGAIN, .INTR => error.WouldBlock,
        else => error.Broken,
    };
}

pub fn close(fd: Fd) void {
    _ = linux.close(fd);
}

/// Sends our end; what the peer still says can be read.
pub fn endSending(fd: Fd) void {
    _ = linux.shutdown(fd, linux.SHUT.WR);
}

pub fn nowNs() u64 {
    var time: linux.timespec = undefined;
    _ = linux.clock_gettime(.MONOTONIC, &time);
    return @as(u64, @intCast(time.sec)) * std.time.ns_per_s + @as(u64, @intCast(time.nsec));
}

/// Writes a line for the operator; if that fails there is nobody left to tell.
pub fn log(comptime format: []const u8, args: anytype) void {
    var buffer: [512]u8 = undefined;
    const line = std.fmt.bufPrint(&buffer, format ++ "\n", args) catch return;
    _ = linux.write(linux.STDERR_FILENO, line.ptr, line.len);
}

/// Writes to standard output; a reader that has gone away is no reason to stop serving.
pub fn print(text: []const u8) void {
    var rest = text;
    while (rest.len != 0) {
        const result = linux.write(linux.STDOUT_FILENO, rest.ptr, rest.len);
        if (linux.errno(result) != .SUCCESS) return;
        rest = rest[result..];
    }
}

/// Where a peer is, in the kernel's form.
pub const Address = extern union {
    any: linux.sockaddr,
    in: linux.sockaddr.in,
    in6: linux.sockaddr.in6,

    pub fn fromIp(ip: Io.net.IpAddress) Address {
        return switch (ip) {
            .ip4 => |ip4| .{ .in = .{ .port = std.mem.nativeToBig(u16, ip4.port), .addr = @bitCast(ip4.bytes) } },
            .ip6 => |ip6| .{ .in6 = .{
                .port = std.mem.nativeToBig(u16, ip6.port),
                .flowinfo = 0,
                .addr = ip6.bytes,
                .scope_id = 0,
            } },
        };
    }

    pub fn length(self: *const Address) linux.socklen_t {
        return if (self.any.family == linux.AF.INET6) @sizeOf(linux.sockaddr.in6) else @sizeOf(linux.sockaddr.in);
    }

    pub fn port(self: *const Address) u16 {
        return std.mem.bigToNative(u16, if (self.any.family == linux.AF.INET6) self.in6.port else self.in.port);
    }

    /// Prints HOST:PORT.
    pub fn format(self: *const Address, writer: *Io.Writer) Io.Writer.Error!void {
        if (self.any.family == linux.AF.INET6) {
            const ip6: Io.net.Ip6Address.Unresolved = .{ .bytes = self.in6.addr, .interface_name = null };
            try writer.print("[{f}]:{d}", .{ ip6, self.port() });
        } else {
            const bytes: [4]u8 = @bitCast(self.in.addr);
            try writer.print("{d}.{d}.{d}.{d}:{d}", .{ bytes[0], bytes[1], bytes[2], bytes[3], self.port() });
        }
    }
};

/// HOST:PORT as it was given.
pub const Place = struct {
    text: []const u8,
    host: []const u8,
    port: u16,

    pub const ParseError = error{ BadPort, BadHost };

    pub fn parse(text: []const u8) ParseError!Place {
        const host_text, const port_text = std.mem.cutScalarLast(u8, text, ':') orelse return error.BadHost;
        const is_bracketed = std.mem.startsWith(u8, host_text, "[") and std.mem.endsWith(u8, host_text, "]");
        const host = if (is_bracketed) host_text[1 .. host_text.len - 1] else host_text;
        const is_host = if (is_bracketed) !std.meta.isError(Io.net.IpAddress.parseIp6(host, 0)) else isName(host);
        if (!is_host) return error.BadHost;
        return .{ .text = text, .host = host, .port = parsePort(port_text) orelse return error.BadPort };
    }

    /// Letters, digits, hyphens and dots; and the underscores that names inside a container network have.
    fn isName(text: []const u8) bool {
        for (text) |byte| if (!std.ascii.isAlphanumeric(byte) and std.mem.findScalar(u8, "-._", byte) == null) return false;
        return text.len != 0 and text.len <= Io.net.HostName.max_len;
    }

    fn parsePort(text: []const u8) ?u16 {
        for (text) |byte| if (!std.ascii.isDigit(byte)) return null;
        return std.fmt.parseInt(u16, text, 10) catch null;
    }

    /// Finds the address, asking the resolver for a name; the first answer counts, IPv4 before IPv6.
    pub fn resolve(self: Place, io: Io, option: []const u8, why: *failure.Failure) error{Failed}!Address {
        if (Io.net.IpAddress.parse(self.host, self.port)) |ip| return .fromIp(ip) else |_| {}
        // A name of digits and dots is an address that is none, and no question for a resolver.
        if (std.mem.findNone(u8, self.host, "0123456789.") == null) {
            return why.bad("{s} {f}: cannot resolve the name", .{ option, failure.quoted(self.text) });
        }
        var found: [32]Io.net.HostName.LookupResult = undefined;
        var queue: Io.Queue(Io.net.HostName.LookupResult) = .init(&found);
        Io.net.HostName.lookup(.{ .bytes = self.host }, io, &queue, .{ .port = self.port }) catch {
            return why.bad("{s} {f}: cannot resolve the name", .{ option, failure.quoted(self.text) });
        };
        var best: ?Io.net.IpAddress = null;
        while (queue.getOneUncancelable(io)) |result| switch (result) {
            .address => |ip| if (best == null or (best.? == .ip6 and ip == .ip4)) {
                best = ip;
            },
            .canonical_name => {},
        } else |_| {}
        return .fromIp(best orelse return why.bad("{s} {f}: cannot resolve the name", .{ option, failure.quoted(self.text) }));
    }
};

pub const Listener = struct {
    fd: Fd,
    /// Where it really listens: the port is known now.
    address: Address,

    const backlog = 4096;

    /// Opens a listening socket. With `shared`, further sockets may listen beside it; the first one never shares with
    /// another program, because it asks for the port before it allows that.
    pub fn open(address: *const Address, role: Role, place: Place, option: []const u8, why: *failure.Failure) error{Failed}!Listener {
        const flags = linux.SOCK.STREAM | linux.SOCK.NONBLOCK | linux.SOCK.CLOEXEC;
        const result = linux.socket(address.any.family, flags, linux.IPPROTO.TCP);
        if (linux.errno(result) != .SUCCESS) return failed(option, place, linux.errno(result), why);
        const fd: Fd = @intCast(result);
        errdefer close(fd);
        setFlag(fd, linux.SOL.SOCKET, linux.SO.REUSEADDR);
        if (role == .follower) setFlag(fd, linux.SOL.SOCKET, linux.SO.REUSEPORT);
        // Accepted sockets inherit this, which saves a call for each.
        setFlag(fd, linux.IPPROTO.TCP, linux.TCP.NODELAY);
        const bound = linux.errno(linux.bind(fd, &address.any, address.length()));
        if (bound != .SUCCESS) return failed(option, place, bound, why);
        if (role == .leader) setFlag(fd, linux.SOL.SOCKET, linux.SO.REUSEPORT);
        const listening = linux.errno(linux.listen(fd, backlog));
        if (listening != .SUCCESS) return failed(option, place, listening, why);
        var self: Listener = .{ .fd = fd, .address = address.* };
        var length: linux.socklen_t = @sizeOf(Address);
        _ = linux.getsockname(fd, &self.address.any, &length);
        return self;
    }

    pub const Role = enum { alone, leader, follower };

    fn failed(option: []const u8, place: Place, errno: linux.E, why: *failure.Failure) error{Failed} {
        const cause = switch (errno) {
            .ADDRINUSE => "address already in use",
            .ADDRNOTAVAIL => "cannot assign requested address",
            .ACCES => "permission denied",
            .AFNOSUPPORT => "address family not supported by protocol",
            else => return why.machine("{s} {f}: cannot listen ({t})", .{ option, failure.quoted(place.text), errno }),
        };
        return why.bad("{s} {f}: {s}", .{ option, failure.quoted(place.text), cause });
    }

    pub const AcceptError = error{ WouldBlock, NoResources };

    pub fn accept(self: *const Listener) AcceptError!Fd {
        while (true) {
            const result = linux.accept4(self.fd, null, null, linux.SOCK.NONBLOCK | linux.SOCK.CLOEXEC);
            switch (linux.errno(result)) {
                .SUCCESS => return @intCast(result),
                .AGAIN => return error.WouldBlock,
                .MFILE, .NFILE, .NOBUFS, .NOMEM => return error.NoResources,
                // A connection that died in the queue; the next one may live.
                else => {},
            }
        }
    }
};

fn setFlag(fd: Fd, level: i32, option: u32) void {
    const on: c_int = 1;
    _ = linux.setsockopt(fd, level, option, std.mem.asBytes(&on), @sizeOf(c_int));
}

pub const Poll = struct {
    fd: Fd,

    pub const Event = linux.epoll_event;

    pub fn open(why: *failure.Failure) error{Failed}!Poll {
        const result = linux.epoll_create1(linux.EPOLL.CLOEXEC);
        if (linux.errno(result) != .SUCCESS) return why.machine("cannot open an epoll ({t})", .{linux.errno(result)});
        return .{ .fd = @intCast(result) };
    }

    /// Watches a file, or goes on watching it; false when the kernel has no memory for it.
    pub fn watch(self: Poll, fd: Fd, events: u32, source: *Source) bool {
        var event: Event = .{ .events = events, .data = .{ .ptr = @intFromPtr(source) } };
        const errno = linux.errno(linux.epoll_ctl(self.fd, linux.EPOLL.CTL_ADD, fd, &event));
        return errno == .SUCCESS or errno == .EXIST;
    }

    pub fn unwatch(self: Poll, fd: Fd) void {
        _ = linux.epoll_ctl(self.fd, linux.EPOLL.CTL_DEL, fd, null);
    }

    pub fn wait(self: Poll, events: []Event, timeout_ms: i32) []Event {
        const result = linux.epoll_wait(self.fd, events.ptr, @intCast(events.len), timeout_ms);
        // A signal that we do not take may interrupt the wait.
        return if (linux.errno(result) == .SUCCESS) events[0..result] else events[0..0];
    }
};

/// A counter that wakes the poll of another thread.
pub fn openWake(why: *failure.Failure) error{Failed}!Fd {
    const result = linux.eventfd(0, linux.EFD.CLOEXEC | linux.EFD.NONBLOCK);
    if (linux.errno(result) != .SUCCESS) return why.machine("cannot open an eventfd ({t})", .{linux.errno(result)});
    return @intCast(result);
}

pub fn wake(fd: Fd) void {
    const one: u64 = 1;
    _ = linux.write(fd, std.mem.asBytes(&one), @sizeOf(u64));
}

pub fn takeWake(fd: Fd) void {
    var count: u64 = undefined;
    _ = linux.read(fd, std.mem.asBytes(&count), @sizeOf(u64));
}

/// Turns SIGTERM and SIGINT into something to read, for this thread and all that it starts.
pub fn openSignals(why: *failure.Failure) error{Failed}!Fd {
    var set = linux.sigemptyset();
    linux.sigaddset(&set, .TERM);
    linux.sigaddset(&set, .INT);
    _ = linux.sigprocmask(linux.SIG.BLOCK, &set, null);
    const result = linux.signalfd(-1, &set, linux.SFD.CLOEXEC | linux.SFD.NONBLOCK);
    if (linux.errno(result) != .SUCCESS) return why.machine("cannot open a signalfd ({t})", .{linux.errno(result)});
    return @intCast(result);
}

/// How many signals have come since the last question.
pub fn takeSignals(fd: Fd) usize {
    var infos: [8]linux.signalfd_siginfo = undefined;
    const result = linux.read(fd, std.mem.asBytes(&infos).ptr, @sizeOf(@TypeOf(infos)));
    return if (linux.errno(result) == .SUCCESS) result / @sizeOf(linux.signalfd_siginfo) else 0;
}

test "places" {
    const place = try Place.parse("[::1]:80");
    try std.testing.expectEqualStrings("::1", place.host);
    try std.testing.expectEqual(80, place.port);
    try std.testing.expectEqual(0, (try Place.parse("localhost:0")).port);
    for ([_][]const u8{ "", "a", ":1", "a:", "a:b", "a:65536", "::1:80", "[::1]", "[x]:1", "a:+1", "a b:1", "a/b:1" }) |text| {
        try std.testing.expect(std.meta.isError(Place.parse(text)));
    }
}

test "addresses are printed as they are written" {
    for ([_][]const u8{ "127.0.0.1:80", "[::1]:8080" }) |text| {
        const place = try Place.parse(text);
        const address: Address = .fromIp(try .parse(place.host, place.port));
        var buffer: [64]u8 = undefined;
        try std.testing.expectEqualStrings(text, try std.fmt.bufPrint(&buffer, "{f}", .{address}));
    }
}
