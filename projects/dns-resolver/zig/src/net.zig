//! The kernel's door: every system call of the resolver, each behind a function that says what can happen.

const std = @import("std");
const failure = @import("failure.zig");
const linux = std.os.linux;
const Io = std.Io;

pub const Fd = linux.fd_t;

/// What epoll hands back: the first field of everything that is watched. The kind tells which struct it sits in.
pub const Source = struct {
    // Aligned like what it sits in.
    kind: Kind align(@alignOf(usize)),

    pub const Kind = enum { datagrams, listener, client, signals, wake, upstream, stream };
};

pub const readable = linux.EPOLL.IN | linux.EPOLL.RDHUP | linux.EPOLL.HUP | linux.EPOLL.ERR;
/// Nothing can be sent any more.
pub const gone = linux.EPOLL.HUP | linux.EPOLL.ERR;
pub const broken = linux.EPOLL.ERR;

/// Streams are watched once, for everything, edge triggered.
pub const stream_events = linux.EPOLL.IN | linux.EPOLL.OUT | linux.EPOLL.RDHUP | linux.EPOLL.ET;
pub const socket_events = linux.EPOLL.IN;

pub const TransferError = error{ WouldBlock, Broken };

/// Receives once; 0 is the end of what the peer sends.
pub fn receive(fd: Fd, buffer: []u8) TransferError!usize {
    return transferred(linux.recvfrom(fd, buffer.ptr, buffer.len, 0, null, null));
}

/// Sends once, maybe less than all.
pub fn send(fd: Fd, bytes: []const u8) TransferError!usize {
    return transferred(linux.sendto(fd, bytes.ptr, bytes.len, linux.MSG.NOSIGNAL, null, 0));
}

/// Sends a datagram. A refusal that an earlier one met is told here, and is not about this one.
pub fn sendTo(fd: Fd, bytes: []const u8, address: *const Address) TransferError!void {
    for (0..8) |_| {
        const result = linux.sendto(fd, bytes.ptr, bytes.len, linux.MSG.NOSIGNAL, &address.any, address.length());
        if (linux.errno(result) == .CONNREFUSED) continue;
        _ = try transferred(result);
        return;
    }
    return error.Broken;
}

/// Takes a datagram of ours that came back because nobody took it: its first bytes, and where it went.
pub fn receiveRefused(fd: Fd, buffer: []u8, address: *Address) ?[]u8 {
    var length: linux.socklen_t = @sizeOf(Address);
    const result = linux.recvfrom(fd, buffer.ptr, buffer.len, linux.MSG.ERRQUEUE | linux.MSG.DONTWAIT, &address.any, &length);
    return if (linux.errno(result) == .SUCCESS) buffer[0..result] else null;
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

/// A clock that nobody sets, in milliseconds.
pub fn nowMs() u64 {
    return nowNs() / std.time.ns_per_ms;
}

pub fn nowNs() u64 {
    var time: linux.timespec = undefined;
    _ = linux.clock_gettime(.MONOTONIC, &time);
    return @as(u64, @intCast(time.sec)) * std.time.ns_per_s + @as(u64, @intCast(time.nsec));
}

/// Writes to standard output.
pub fn print(text: []const u8, why: *failure.Failure) error{Failed}!void {
    var rest = text;
    while (rest.len != 0) {
        const result = linux.write(linux.STDOUT_FILENO, rest.ptr, rest.len);
        switch (linux.errno(result)) {
            .SUCCESS => rest = rest[result..],
            .PIPE => return why.silent(),
            else => |code| return why.machine("standard output: {s}", .{failure.reason(code)}),
        }
    }
}

/// A client, or a reader of our output, that goes away is an error of a call.
pub fn ignoreBrokenPipes() void {
    const ignore: linux.Sigaction = .{ .handler = .{ .handler = linux.SIG.IGN }, .mask = linux.sigemptyset(), .flags = 0 };
    _ = linux.sigaction(.PIPE, &ignore, null);
}

// --- addresses ---

/// An address of either family; one of IPv4 is written as IPv6 maps it.
pub const Ip = struct {
    bytes: [16]u8,

    const mapped: [12]u8 = .{ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

    pub fn of4(bytes: [4]u8) Ip {
        return .{ .bytes = mapped ++ bytes };
    }

    pub fn parse(text: []const u8) ?Ip {
        const parsed = Io.net.IpAddress.parse(text, 0) catch return null;
        return switch (parsed) {
            .ip4 => |ip4| .of4(ip4.bytes),
            .ip6 => |ip6| .{ .bytes = ip6.bytes },
        };
    }

    pub fn is4(self: Ip) bool {
        return std.mem.eql(u8, self.bytes[0..12], &mapped);
    }

    pub fn isAny(self: Ip) bool {
        return std.mem.allEqual(u8, if (self.is4()) self.bytes[12..] else &self.bytes, 0);
    }

    pub fn eql(a: Ip, b: Ip) bool {
        return std.mem.eql(u8, &a.bytes, &b.bytes);
    }
};

/// Which addresses a socket can reach.
pub const Reach = struct {
    family: linux.sa_family_t,
    ip4: bool,
    ip6: bool,

    /// A socket of IPv6 without an address of its own reaches both families.
    pub fn from(bind_ip: Ip, is_ip4_only: bool) Reach {
        if (bind_ip.is4()) return .{ .family = linux.AF.INET, .ip4 = true, .ip6 = false };
        return .{ .family = linux.AF.INET6, .ip4 = bind_ip.isAny(), .ip6 = !is_ip4_only };
    }

    pub fn includes(self: Reach, ip: Ip) bool {
        return if (ip.is4()) self.ip4 else self.ip6;
    }
};

/// Where a peer is, in the kernel's form.
pub const Address = extern union {
    any: linux.sockaddr,
    in: linux.sockaddr.in,
    in6: linux.sockaddr.in6,

    pub fn of(address_ip: Ip, address_port: u16, family: linux.sa_family_t) Address {
        const port_big = std.mem.nativeToBig(u16, address_port);
        if (family == linux.AF.INET) return .{ .in = .{ .port = port_big, .addr = @bitCast(address_ip.bytes[12..16].*) } };
        return .{ .in6 = .{ .port = port_big, .flowinfo = 0, .addr = address_ip.bytes, .scope_id = 0 } };
    }

    pub fn length(self: *const Address) linux.socklen_t {
        return if (self.any.family == linux.AF.INET6) @sizeOf(linux.sockaddr.in6) else @sizeOf(linux.sockaddr.in);
    }

    pub fn port(self: *const Address) u16 {
        return std.mem.bigToNative(u16, if (self.any.family == linux.AF.INET6) self.in6.port else self.in.port);
    }

    pub fn ip(self: *const Address) Ip {
        return if (self.any.family == linux.AF.INET6) .{ .bytes = self.in6.addr } else .of4(@bitCast(self.in.addr));
    }

    pub fn format(self: Address, writer: *Io.Writer) Io.Writer.Error!void {
        const standard: Io.net.IpAddress = if (self.any.family == linux.AF.INET6)
            .{ .ip6 = .{ .bytes = self.in6.addr, .port = self.port() } }
        else
            .{ .ip4 = .{ .bytes = @bitCast(self.in.addr), .port = self.port() } };
        try standard.format(writer);
    }
};

pub const PlaceError = error{ NoPort, BadPort, BadHost };

/// HOST:PORT with a numeric host, in brackets if it is of IPv6, or `localhost`.
pub fn parsePlace(text: []const u8) PlaceError!Address {
    const host, const port_text = std.mem.cutScalarLast(u8, text, ':') orelse return error.NoPort;
    if (host.len == 0) return error.NoPort;
    for (port_text) |byte| if (!std.ascii.isDigit(byte)) return error.BadPort;
    const port = std.fmt.parseInt(u16, port_text, 10) catch return error.BadPort;
    if (std.mem.eql(u8, host, "localhost")) return .of(.of4(.{ 127, 0, 0, 1 }), port, linux.AF.INET);
    if (std.mem.cutPrefix(u8, host, "[")) |rest| {
        const inner = std.mem.cutSuffix(u8, rest, "]") orelse return error.BadHost;
        const parsed = Io.net.IpAddress.parseIp6(inner, port) catch return error.BadHost;
        return .of(.{ .bytes = parsed.ip6.bytes }, port, linux.AF.INET6);
    }
    const parsed = Io.net.IpAddress.parseIp4(host, port) catch return error.BadHost;
    return .of(.of4(parsed.ip4.bytes), port, linux.AF.INET);
}

// --- sockets ---

fn setOption(fd: Fd, level: i32, option: u32, value: c_int) void {
    _ = linux.setsockopt(fd, level, option, std.mem.asBytes(&value), @sizeOf(c_int));
}

fn openSocket(family: linux.sa_family_t, kind: u32) error{NoResources}!Fd {
    const result = linux.socket(family, kind | linux.SOCK.NONBLOCK | linux.SOCK.CLOEXEC, 0);
    return if (linux.errno(result) == .SUCCESS) @intCast(result) else error.NoResources;
}

/// Where clients come: datagrams and streams on one port.
pub const Front = struct {
    datagrams: Fd,
    listener: Fd,
    /// With the real port.
    address: Address,

    const backlog = 1024;
    const buffer_bytes = 4 << 20;
    /// A free port for datagrams may be taken for streams.
    const port_attempts = 64;

    pub const Role = enum { alone, leader, follower };

    /// Opens both sockets. Followers may come beside a leader, which itself never shares with another program, because
    /// it asks for the port before it allows that.
    pub fn open(address: *const Address, role: Role, text: []const u8, why: *failure.Failure) error{Failed}!Front {
        const attempts: usize = if (address.port() == 0) port_attempts else 1;
        var code: linux.E = .SUCCESS;
        for (0..attempts) |_| {
            var self: Front = .{ .datagrams = -1, .listener = -1, .address = address.* };
            code = self.tryOpen(role);
            if (code == .SUCCESS) return self;
            self.closeAll();
            if (code != .ADDRINUSE) break;
        }
        return why.bad("--listen {f}: {s}", .{ failure.quoted(text), failure.reason(code) });
    }

    fn tryOpen(self: *Front, role: Role) linux.E {
        const family = self.address.any.family;
        const flags = linux.SOCK.NONBLOCK | linux.SOCK.CLOEXEC;
        const datagrams = linux.socket(family, linux.SOCK.DGRAM | flags, 0);
        if (linux.errno(datagrams) != .SUCCESS) return linux.errno(datagrams);
        self.datagrams = @intCast(datagrams);
        setOption(self.datagrams, linux.SOL.SOCKET, linux.SO.RCVBUF, buffer_bytes);
        setOption(self.datagrams, linux.SOL.SOCKET, linux.SO.SNDBUF, buffer_bytes);
        const datagrams_bound = self.bind(self.datagrams, role);
        if (datagrams_bound != .SUCCESS) return datagrams_bound;
        var length: linux.socklen_t = @sizeOf(Address);
        _ = linux.getsockname(self.datagrams, &self.address.any, &length);

        const listener = linux.socket(family, linux.SOCK.STREAM | flags, 0);
        if (linux.errno(listener) != .SUCCESS) return linux.errno(listener);
        self.listener = @intCast(listener);
        setOption(self.listener, linux.SOL.SOCKET, linux.SO.REUSEADDR, 1);
        setOption(self.listener, linux.IPPROTO.TCP, linux.TCP.NODELAY, 1);
        const listener_bound = self.bind(self.listener, role);
        if (listener_bound != .SUCCESS) return listener_bound;
        return linux.errno(linux.listen(self.listener, backlog));
    }

    fn bind(self: *Front, fd: Fd, role: Role) linux.E {
        if (role == .follower) setOption(fd, linux.SOL.SOCKET, linux.SO.REUSEPORT, 1);
        const code = linux.errno(linux.bind(fd, &self.address.any, self.address.length()));
        if (role == .leader) setOption(fd, linux.SOL.SOCKET, linux.SO.REUSEPORT, 1);
        return code;
    }

    fn closeAll(self: *Front) void {
        if (self.datagrams >= 0) close(self.datagrams);
        if (self.listener >= 0) close(self.listener);
    }
};

pub const AcceptError = error{ WouldBlock, NoResources };

pub fn accept(listener: Fd) AcceptError!Fd {
    while (true) {
        const result = linux.accept4(listener, null, null, linux.SOCK.NONBLOCK | linux.SOCK.CLOEXEC);
        switch (linux.errno(result)) {
            .SUCCESS => return @intCast(result),
            .AGAIN => return error.WouldBlock,
            .MFILE, .NFILE, .NOBUFS, .NOMEM => return error.NoResources,
            // A connection that died in the queue; the next one may live.
            else => {},
        }
    }
}

/// Linux has no name for it here: errors of datagrams are kept in a queue.
const recverr_ip4 = 11;
const recverr_ip6 = 25;

/// A socket for datagrams to servers, on a port of the kernel's choice: it picks one at random.
pub fn openAsking(bind_ip: Ip, reach: Reach) error{NoResources}!Fd {
    const fd = try openSocket(reach.family, linux.SOCK.DGRAM);
    errdefer close(fd);
    if (reach.family == linux.AF.INET6) {
        setOption(fd, linux.IPPROTO.IPV6, linux.IPV6.V6ONLY, 0);
        setOption(fd, linux.IPPROTO.IPV6, recverr_ip6, 1);
    }
    setOption(fd, linux.IPPROTO.IP, recverr_ip4, 1);
    const own: Address = .of(bind_ip, 0, reach.family);
    if (linux.errno(linux.bind(fd, &own.any, own.length())) != .SUCCESS) return error.NoResources;
    return fd;
}

/// Whether we may send from an address.
pub fn checkSource(bind_ip: Ip, reach: Reach, text: []const u8, why: *failure.Failure) error{Failed}!void {
    const opened = linux.socket(reach.family, linux.SOCK.DGRAM | linux.SOCK.CLOEXEC, 0);
    const code = if (linux.errno(opened) != .SUCCESS) linux.errno(opened) else blk: {
        defer close(@intCast(opened));
        const own: Address = .of(bind_ip, 0, reach.family);
        break :blk linux.errno(linux.bind(@intCast(opened), &own.any, own.length()));
    };
    if (code != .SUCCESS) return why.bad("--bind {f}: {s}", .{ failure.quoted(text), failure.reason(code) });
}

/// Starts to connect from an address of ours; the socket becomes writable when it is decided.
pub fn connect(bind_ip: Ip, reach: Reach, address: *const Address) error{NoResources}!Fd {
    const fd = try openSocket(reach.family, linux.SOCK.STREAM);
    errdefer close(fd);
    if (reach.family == linux.AF.INET6) setOption(fd, linux.IPPROTO.IPV6, linux.IPV6.V6ONLY, 0);
    setOption(fd, linux.IPPROTO.TCP, linux.TCP.NODELAY, 1);
    const own: Address = .of(bind_ip, 0, reach.family);
    if (linux.errno(linux.bind(fd, &own.any, own.length())) != .SUCCESS) return error.NoResources;
    return switch (linux.errno(linux.connect(fd, &address.any, address.length()))) {
        .SUCCESS, .INPROGRESS, .INTR => fd,
        else => error.NoResources,
    };
}

/// Whether the connection that was started has come to stand.
pub fn isConnected(fd: Fd) bool {
    var code: c_int = 0;
    var length: linux.socklen_t = @sizeOf(c_int);
    const result = linux.getsockopt(fd, linux.SOL.SOCKET, linux.SO.ERROR, std.mem.asBytes(&code), &length);
    return linux.errno(result) == .SUCCESS and code == 0;
}

// --- many datagrams at once ---

/// Room for datagrams that one system call moves.
pub fn Batch(comptime count: usize, comptime bytes_each: usize) type {
    return struct {
        messages: [count]linux.mmsghdr,
        vectors: [count]std.posix.iovec,
        addresses: [count]Address,
        buffers: [count][bytes_each]u8,

        const Self = @This();

        /// Wires the parts together; they must not move any more.
        pub fn init(self: *Self) void {
            for (&self.messages, &self.vectors, &self.addresses, &self.buffers) |*message, *vector, *address, *buffer| {
                vector.* = .{ .base = buffer, .len = bytes_each };
                message.* = .{ .len = 0, .hdr = .{
                    .name = &address.any,
                    .namelen = @sizeOf(Address),
                    .iov = vector[0..1],
                    .iovlen = 1,
                    .control = null,
                    .controllen = 0,
                    .flags = 0,
                } };
            }
        }

        /// Receives what is there; returns how many.
        pub fn receive(self: *Self, fd: Fd) usize {
            const result = linux.recvmmsg(fd, &self.messages, count, linux.MSG.DONTWAIT, null);
            return if (linux.errno(result) == .SUCCESS) result else 0;
        }

        /// A datagram that was received, or as much of it as there is room for.
        pub fn taken(self: *Self, index: usize) []u8 {
            const message = &self.messages[index];
            // What the kernel wrote here is room again for the next one.
            message.hdr.namelen = @sizeOf(Address);
            return self.buffers[index][0..message.len];
        }

        /// Whether a datagram was longer than there is room for.
        pub fn isCut(self: *const Self, index: usize) bool {
            return self.messages[index].hdr.flags & linux.MSG.TRUNC != 0;
        }

        /// Makes a datagram of what is in its buffer.
        pub fn put(self: *Self, index: usize, length: usize, address: *const Address) void {
            self.vectors[index].len = length;
            self.addresses[index] = address.*;
            self.messages[index].hdr.namelen = address.length();
        }

        /// Sends the first datagrams. One that cannot be sent is lost, as datagrams may be.
        pub fn sendFirst(self: *Self, fd: Fd, total: usize) void {
            var sent: usize = 0;
            while (sent < total) {
                const result = linux.sendmmsg(fd, self.messages[sent..].ptr, @intCast(total - sent), linux.MSG.NOSIGNAL | linux.MSG.DONTWAIT);
                sent += if (linux.errno(result) == .SUCCESS) @max(1, result) else 1;
            }
        }
    };
}

// --- events ---

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
        const code = linux.errno(linux.epoll_ctl(self.fd, linux.EPOLL.CTL_ADD, fd, &event));
        return code == .SUCCESS or code == .EXIST;
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

/// Turns signals into something to read, for this thread and all that it starts: the one that asks for counters, or also
/// those that ask for the end.
pub fn openSignals(which: enum { counters, all }, why: *failure.Failure) error{Failed}!Fd {
    var set = linux.sigemptyset();
    if (which == .all) linux.sigaddset(&set, .TERM);
    if (which == .all) linux.sigaddset(&set, .INT);
    linux.sigaddset(&set, .USR1);
    _ = linux.sigprocmask(linux.SIG.BLOCK, &set, null);
    const result = linux.signalfd(-1, &set, linux.SFD.CLOEXEC | linux.SFD.NONBLOCK);
    if (linux.errno(result) != .SUCCESS) return why.machine("cannot open a signalfd ({t})", .{linux.errno(result)});
    return @intCast(result);
}

/// What has been asked for since the last question.
pub const Asked = struct { ends: usize = 0, counters: usize = 0 };

pub fn takeSignals(fd: Fd) Asked {
    var infos: [8]linux.signalfd_siginfo = undefined;
    const result = linux.read(fd, std.mem.asBytes(&infos).ptr, @sizeOf(@TypeOf(infos)));
    var asked: Asked = .{};
    if (linux.errno(result) != .SUCCESS) return asked;
    for (infos[0 .. result / @sizeOf(linux.signalfd_siginfo)]) |*info| {
        if (info.signo == @backingInt(linux.SIG.USR1)) asked.counters += 1 else asked.ends += 1;
    }
    return asked;
}

test "places" {
    try std.testing.expectEqual(53, (try parsePlace("[::1]:53")).port());
    try std.testing.expectEqual(0, (try parsePlace("localhost:0")).port());
    var buffer: [64]u8 = undefined;
    try std.testing.expectEqualStrings("127.0.0.1:5300", try std.fmt.bufPrint(&buffer, "{f}", .{(try parsePlace("127.0.0.1:5300"))}));
    for ([_][]const u8{ "", "a", ":1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:b", "127.0.0.1:65536", "::1:80", "[::1]", "[x]:1", "1.2.3.4:+1", "300.1.1.1:1" }) |text| {
        try std.testing.expect(std.meta.isError(parsePlace(text)));
    }
}

test "what a socket reaches" {
    const four = Ip.parse("127.0.0.1").?;
    const six = Ip.parse("::1").?;
    const any_six = Ip.parse("::").?;
    try std.testing.expect(four.is4() and !six.is4() and any_six.isAny() and Ip.parse("0.0.0.0").?.isAny() and !four.isAny());
    for ([_]struct { Ip, bool, bool, bool }{ .{ four, false, true, false }, .{ six, false, false, true }, .{ any_six, false, true, true }, .{ any_six, true, true, false } }) |row| {
        const reach: Reach = .from(row[0], row[1]);
        try std.testing.expectEqual(row[2], reach.includes(four));
        try std.testing.expectEqual(row[3], reach.includes(six));
    }
    try std.testing.expectEqual(null, Ip.parse("1.2.3"));
}
