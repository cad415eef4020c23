//! The listener, the event loop of a thread, its connections, and how it ends.

const std = @import("std");
const failure = @import("failure.zig");
const reply = @import("reply.zig");
const request_file = @import("request.zig");
const Counters = @import("metrics.zig").Counters;
const Options = @import("options.zig").Options;
const linux = std.os.linux;

const backlog = 1024;
const events_per_turn = 256;
/// How many bytes of replies may gather before they leave.
const output_bytes = 16 << 10;
/// How exactly deadlines are kept.
const tick_ms = 100;
/// Bounds of what is read from a client that was told to go: closing at once would take away the reply that it has not
/// read yet.
const linger_ms = 2 * std.time.ms_per_s;
const linger_bytes = 1 << 20;

/// What an event is about, if not a connection; those have their addresses.
const listener_tag = 0;
const drain_tag = 1;

/// What all threads see.
const Shared = struct {
    options: *const Options,
    listener: i32,
    counters: Counters = .{},
    /// Readable once a drain has begun.
    drain_fd: i32,
    /// Readable when the last worker has ended.
    done_fd: i32,
    /// Workers that still take connections, and those that still work.
    accepting: std.atomic.Value(u32),
    running: std.atomic.Value(u32),
};

/// Listens, says so, and serves until a signal ends it.
pub fn serve(options: *const Options, why: *failure.Failure) failure.Error!void {
    std.process.raiseFileDescriptorLimit();
    const signals = try openSignals(why); // before any thread starts, so that none of them is interrupted
    var shared: Shared = .{
        .options = options,
        .listener = try openListener(options, why),
        .drain_fd = try descriptor("eventfd", linux.eventfd(0, linux.EFD.CLOEXEC), why),
        .done_fd = try descriptor("eventfd", linux.eventfd(0, linux.EFD.CLOEXEC), why),
        .accepting = .init(options.threads),
        .running = .init(options.threads),
    };
    const workers = try std.heap.page_allocator.alloc(Worker, options.threads);
    for (workers) |*worker| try worker.init(&shared, why);
    try announce(shared.listener, why);
    for (workers) |*worker| {
        const thread = std.Thread.spawn(.{}, Worker.run, .{worker}) catch |err| return why.machine("cannot start a thread: {t}", .{err});
        thread.detach(); // the last one says when all are done
    }
    waitForEnd(&shared, signals);
}

/// The first signal begins the drain; a second one does not wait for its end.
fn waitForEnd(shared: *Shared, signals: i32) void {
    var is_draining = false;
    while (true) {
        var watched = [_]linux.pollfd{
            .{ .fd = signals, .events = linux.POLL.IN, .revents = 0 },
            .{ .fd = shared.done_fd, .events = linux.POLL.IN, .revents = 0 },
        };
        _ = linux.poll(&watched, watched.len, -1);
        if (watched[1].revents != 0) return;
        if (watched[0].revents == 0) continue;
        var info: linux.signalfd_siginfo = undefined;
        _ = linux.read(signals, std.mem.asBytes(&info), @sizeOf(linux.signalfd_siginfo));
        if (is_draining) return;
        is_draining = true;
        raise(shared.drain_fd);
    }
}

/// One client. Its input has room for the largest head, so that a part of one is all that ever waits.
const Connection = struct {
    fd: i32,
    node: std.DoublyLinkedList.Node = .{},
    /// For the next request, and for taking the replies.
    deadline_ms: i64,
    input: [request_file.head_bytes_max]u8 = undefined,
    filled: usize = 0,
    /// Replies that the socket did not take yet; until it does, no more requests are done.
    kept: std.ArrayList(u8) = .empty,
    waits_to_write: bool = false,
    /// After the replies.
    is_ending: bool = false,
    /// What may still be read from a client that was told to go.
    linger_left: ?usize = null,

    fn isIdle(self: *const Connection) bool {
        return self.filled == 0 and self.kept.items.len == 0 and !self.is_ending;
    }

    /// Sends what the socket takes, and keeps the rest.
    fn send(self: *Connection, bytes: []const u8) error{Gone}!void {
        if (bytes.len == 0) return;
        const taken = try self.sendOnce(bytes);
        self.kept.appendSlice(std.heap.smp_allocator, bytes[taken..]) catch return error.Gone;
    }

    fn sendKept(self: *Connection) error{Gone}!void {
        const taken = try self.sendOnce(self.kept.items);
        if (taken == self.kept.items.len) return self.kept.clearAndFree(std.heap.smp_allocator);
        self.kept.replaceRangeAssumeCapacity(0, taken, "");
    }

    fn sendOnce(self: *Connection, bytes: []const u8) error{Gone}!usize {
        const sent = linux.sendto(self.fd, bytes.ptr, bytes.len, linux.MSG.NOSIGNAL, null, 0);
        return switch (linux.errno(sent)) {
            .SUCCESS => sent,
            .AGAIN, .INTR => 0,
            else => error.Gone,
        };
    }

    /// Reads once.
    fn receive(self: *Connection, room: []u8) error{ Gone, Nothing }!usize {
        const got = linux.read(self.fd, room.ptr, room.len);
        return switch (linux.errno(got)) {
            .SUCCESS => if (got == 0) error.Gone else got,
            .AGAIN, .INTR => error.Nothing,
            else => error.Gone,
        };
    }

    /// Reads and forgets, so that the client can read the last reply before the connection is gone.
    fn discard(self: *Connection) error{Gone}!void {
        const got = self.receive(&self.input) catch |err| return if (err == error.Gone) error.Gone else {};
        if (got >= self.linger_left.?) return error.Gone;
        self.linger_left.? -= got;
    }
};

/// A thread with its event loop. Threads share the listener and the counters.
const Worker = struct {
    shared: *Shared,
    epoll: i32,
    pool: std.heap.MemoryPool(Connection) = .empty,
    connections: std.DoublyLinkedList = .{},
    now_ms: i64,
    next_tick_ms: i64 = 0,
    is_accepting: bool = true,
    pause_was_said: bool = false,
    drain_was_asked: bool = false,
    drain_until_ms: ?i64 = null,
    /// Room for replies that is used again and again.
    output: [output_bytes + reply.reply_bytes_max]u8 = undefined,

    fn init(self: *Worker, shared: *Shared, why: *failure.Failure) failure.Error!void {
        const epoll = try descriptor("epoll", linux.epoll_create1(linux.EPOLL.CLOEXEC), why);
        self.* = .{ .shared = shared, .epoll = epoll, .now_ms = nowMs() };
        for ([_]i32{ shared.listener, shared.drain_fd }, [_]u64{ listener_tag, drain_tag }) |fd, tag| {
            if (!self.watch(linux.EPOLL.CTL_ADD, fd, linux.EPOLL.IN, tag)) return why.machine("epoll: out of memory", .{});
        }
    }

    fn watch(self: *Worker, how: u32, fd: i32, events: u32, tag: u64) bool {
        var event: linux.epoll_event = .{ .events = events, .data = .{ .u64 = tag } };
        return linux.errno(linux.epoll_ctl(self.epoll, how, fd, &event)) == .SUCCESS;
    }

    fn run(self: *Worker) void {
        var events: [events_per_turn]linux.epoll_event = undefined;
        while (!self.isOver()) {
            const got = linux.epoll_wait(self.epoll, &events, events.len, tick_ms);
            self.now_ms = nowMs();
            const count = if (linux.errno(got) == .SUCCESS) got else 0;
            for (events[0..count]) |event| switch (event.data.u64) {
                listener_tag => self.accept(),
                drain_tag => self.drain_was_asked = true,
                else => |address| self.serveOne(@ptrFromInt(@as(usize, @intCast(address)))),
            };
            // Behind the events: both may end connections that have one.
            if (self.drain_was_asked and self.drain_until_ms == null) self.startDrain();
            if (self.now_ms >= self.next_tick_ms) self.tick();
        }
        if (self.shared.running.fetchSub(1, .acq_rel) == 1) raise(self.shared.done_fd);
    }

    fn isOver(self: *const Worker) bool {
        const end_ms = self.drain_until_ms orelse return false;
        return self.connections.first == null or self.now_ms >= end_ms;
    }

    // --- connections come and go ---

    fn accept(self: *Worker) void {
        while (true) {
            const accepted = linux.accept4(self.shared.listener, null, null, linux.SOCK.NONBLOCK | linux.SOCK.CLOEXEC);
            switch (linux.errno(accepted)) {
                .SUCCESS => self.admit(@intCast(accepted)),
                .INTR, .CONNABORTED => {},
                .MFILE, .NFILE, .NOBUFS, .NOMEM => |code| return self.pauseAccepting(code),
                else => return,
            }
        }
    }

    /// Without room for more connections, those that wait would wake us without end.
    fn pauseAccepting(self: *Worker, code: linux.E) void {
        if (!self.pause_was_said) log("accepting pauses: {t}", .{code});
        self.pause_was_said = true;
        _ = self.watch(linux.EPOLL.CTL_DEL, self.shared.listener, 0, listener_tag);
        self.is_accepting = false;
    }

    fn admit(self: *Worker, fd: i32) void {
        const counters = &self.shared.counters;
        if (counters.open.fetchAdd(1, .monotonic) >= self.shared.options.max_connections) {
            _ = counters.refused.fetchAdd(1, .monotonic);
            return self.forget(fd);
        }
        const connection = self.pool.create(std.heap.page_allocator) catch return self.forget(fd);
        connection.* = .{ .fd = fd, .deadline_ms = self.now_ms + self.idleMs() };
        self.connections.append(&connection.node);
        self.pause_was_said = false;
        _ = counters.accepted.fetchAdd(1, .monotonic);
        if (!self.watch(linux.EPOLL.CTL_ADD, fd, linux.EPOLL.IN, @intFromPtr(connection))) self.close(connection);
    }

    fn close(self: *Worker, connection: *Connection) void {
        self.connections.remove(&connection.node);
        connection.kept.deinit(std.heap.smp_allocator);
        self.forget(connection.fd);
        self.pool.destroy(connection);
    }

    fn forget(self: *Worker, fd: i32) void {
        _ = linux.close(fd);
        _ = self.shared.counters.open.fetchSub(1, .monotonic);
    }

    fn idleMs(self: *const Worker) i64 {
        return @as(i64, self.shared.options.idle_timeout_s) * std.time.ms_per_s;
    }

    // --- requests and replies ---

    fn serveOne(self: *Worker, connection: *Connection) void {
        self.turn(connection) catch return self.close(connection);
        if (self.drain_until_ms != null and connection.isIdle()) self.close(connection);
    }

    /// Sends what waits, or reads once; then does the requests that are there.
    fn turn(self: *Worker, connection: *Connection) error{Gone}!void {
        if (connection.linger_left != null) return connection.discard();
        if (connection.kept.items.len != 0) {
            try connection.sendKept();
            if (connection.kept.items.len != 0) return;
        } else {
            const got = connection.receive(connection.input[connection.filled..]) catch |err| return if (err == error.Gone) error.Gone else {};
            connection.filled += got;
        }
        while (connection.kept.items.len == 0 and try self.answer(connection)) {}
        try self.waitFor(connection, connection.kept.items.len != 0);
        if (connection.is_ending and connection.kept.items.len == 0) {
            _ = linux.shutdown(connection.fd, linux.SHUT.WR);
            connection.linger_left = linger_bytes;
            connection.deadline_ms = self.now_ms + linger_ms;
        }
    }

    fn waitFor(self: *Worker, connection: *Connection, to_write: bool) error{Gone}!void {
        if (connection.waits_to_write == to_write) return;
        connection.waits_to_write = to_write;
        const events: u32 = if (to_write) linux.EPOLL.OUT else linux.EPOLL.IN;
        if (!self.watch(linux.EPOLL.CTL_MOD, connection.fd, events, @intFromPtr(connection))) return error.Gone;
    }

    /// Does whole requests of the input and sends the replies. True if it stopped because there were replies enough.
    fn answer(self: *Worker, connection: *Connection) error{Gone}!bool {
        const counters = &self.shared.counters;
        var out: std.Io.Writer = .fixed(&self.output);
        var start: usize = 0;
        while (!connection.is_ending and out.end < output_bytes) {
            switch (request_file.parse(connection.input[start..connection.filled])) {
                .part => break,
                .refused => |status| {
                    connection.is_ending = true;
                    reply.writeError(&out, status, true, counters);
                },
                .whole => |request| {
                    connection.is_ending = request.closes or request.has_body or self.drain_until_ms != null;
                    reply.write(&out, &request, connection.is_ending, counters);
                    start += request.bytes;
                },
            }
        }
        if (start != 0) {
            connection.deadline_ms = self.now_ms + self.idleMs();
            const rest = connection.input[start..connection.filled];
            @memmove(connection.input[0..rest.len], rest);
            connection.filled = rest.len;
        }
        try connection.send(out.buffered());
        return !connection.is_ending and out.end >= output_bytes;
    }

    // --- time, and the end ---

    fn tick(self: *Worker) void {
        self.next_tick_ms = self.now_ms + tick_ms;
        if (!self.is_accepting and self.drain_until_ms == null) {
            self.is_accepting = self.watch(linux.EPOLL.CTL_ADD, self.shared.listener, linux.EPOLL.IN, listener_tag);
        }
        var next = self.connections.first;
        while (next) |node| {
            next = node.next;
            const connection: *Connection = @fieldParentPtr("node", node);
            if (connection.deadline_ms <= self.now_ms) self.close(connection);
        }
    }

    /// No new connections; idle ones end, and the others after what they do.
    fn startDrain(self: *Worker) void {
        self.accept(); // what waits in its queue has reached us
        self.drain_until_ms = self.now_ms + @as(i64, self.shared.options.drain_timeout_s) * std.time.ms_per_s;
        for ([_]i32{ self.shared.listener, self.shared.drain_fd }) |fd| _ = self.watch(linux.EPOLL.CTL_DEL, fd, 0, 0);
        if (self.shared.accepting.fetchSub(1, .acq_rel) == 1) _ = linux.close(self.shared.listener);
        var next = self.connections.first;
        while (next) |node| {
            next = node.next;
            self.serveOne(@fieldParentPtr("node", node));
        }
    }
};

// --- the kernel's door ---

fn openListener(options: *const Options, why: *failure.Failure) failure.Error!i32 {
    var address: Address = .init(options.listen);
    const fd = try descriptor("socket", linux.socket(address.any.family, linux.SOCK.STREAM | linux.SOCK.CLOEXEC | linux.SOCK.NONBLOCK, 0), why);
    errdefer _ = linux.close(fd);
    const on: c_int = 1;
    _ = linux.setsockopt(fd, linux.SOL.SOCKET, linux.SO.REUSEADDR, std.mem.asBytes(&on), @sizeOf(c_int));
    // Accepted sockets inherit this.
    _ = linux.setsockopt(fd, linux.IPPROTO.TCP, linux.TCP.NODELAY, std.mem.asBytes(&on), @sizeOf(c_int));
    for ([_]usize{ linux.bind(fd, &address.any, address.length()), linux.listen(fd, backlog) }) |result| {
        const cause = switch (linux.errno(result)) {
            .SUCCESS => continue,
            .ADDRINUSE => "address already in use",
            .ADDRNOTAVAIL => "cannot assign requested address",
            .ACCES => "permission denied",
            else => |code| @tagName(code),
        };
        return why.bad("--listen {f}: {s}", .{ failure.quoted(options.listen_text), cause });
    }
    return fd;
}

/// A socket address in the kernel's form.
const Address = extern union {
    any: linux.sockaddr,
    in: linux.sockaddr.in,
    in6: linux.sockaddr.in6,

    fn init(ip: std.Io.net.IpAddress) Address {
        return switch (ip) {
            .ip4 => |ip4| .{ .in = .{ .port = std.mem.nativeToBig(u16, ip4.port), .addr = @bitCast(ip4.bytes) } },
            .ip6 => |ip6| .{ .in6 = .{ .port = std.mem.nativeToBig(u16, ip6.port), .flowinfo = 0, .addr = ip6.bytes, .scope_id = 0 } },
        };
    }

    fn length(self: *const Address) linux.socklen_t {
        return if (self.any.family == linux.AF.INET6) @sizeOf(linux.sockaddr.in6) else @sizeOf(linux.sockaddr.in);
    }

    fn toIp(self: *const Address) std.Io.net.IpAddress {
        if (self.any.family == linux.AF.INET6) return .{ .ip6 = .{ .bytes = self.in6.addr, .port = std.mem.bigToNative(u16, self.in6.port) } };
        return .{ .ip4 = .{ .bytes = @bitCast(self.in.addr), .port = std.mem.bigToNative(u16, self.in.port) } };
    }
};

/// The one line on standard output, with the real port.
fn announce(listener: i32, why: *failure.Failure) failure.Error!void {
    var address: Address = undefined;
    var length: linux.socklen_t = @sizeOf(Address);
    _ = linux.getsockname(listener, &address.any, &length);
    var buffer: [128]u8 = undefined;
    const line = std.fmt.bufPrint(&buffer, "listening on {f}\n", .{address.toIp()}) catch unreachable; // 65 bytes at most
    try print(line, why);
}

/// Turns SIGTERM and SIGINT into something to read, for this thread and all that it starts.
fn openSignals(why: *failure.Failure) failure.Error!i32 {
    var set = linux.sigemptyset();
    linux.sigaddset(&set, .TERM);
    linux.sigaddset(&set, .INT);
    _ = linux.sigprocmask(linux.SIG.BLOCK, &set, null);
    return descriptor("signalfd", linux.signalfd(-1, &set, linux.SFD.CLOEXEC), why);
}

fn descriptor(what: []const u8, result: usize, why: *failure.Failure) failure.Error!i32 {
    const code = linux.errno(result);
    return if (code == .SUCCESS) @intCast(result) else why.machine("{s}: {t}", .{ what, code });
}

fn raise(event_fd: i32) void {
    const one: u64 = 1;
    _ = linux.write(event_fd, std.mem.asBytes(&one), @sizeOf(u64));
}

fn nowMs() i64 {
    var time: linux.timespec = undefined;
    _ = linux.clock_gettime(.MONOTONIC, &time);
    return time.sec * std.time.ms_per_s + @divTrunc(time.nsec, std.time.ns_per_ms);
}

/// Writes to standard output.
pub fn print(text: []const u8, why: *failure.Failure) failure.Error!void {
    var rest = text;
    while (rest.len != 0) {
        const result = linux.write(linux.STDOUT_FILENO, rest.ptr, rest.len);
        const code = linux.errno(result);
        if (code != .SUCCESS) return why.machine("standard output: {t}", .{code});
        rest = rest[result..];
    }
}

/// Writes a line for the operator; if that fails there is nobody left to tell.
pub fn log(comptime format: []const u8, args: anytype) void {
    var buffer: [1024]u8 = undefined;
    const line = std.fmt.bufPrint(&buffer, format ++ "\n", args) catch return;
    _ = linux.write(linux.STDERR_FILENO, line.ptr, line.len);
}
