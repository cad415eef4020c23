//! The server: listeners, one event loop for each thread, and the way to an orderly end.

const std = @import("std");
const backend_file = @import("backend.zig");
const buffer = @import("buffer.zig");
const failure = @import("failure.zig");
const head = @import("head.zig");
const metrics = @import("metrics.zig");
const net = @import("net.zig");
const timers = @import("timers.zig");
const Backend = backend_file.Backend;
const Check = backend_file.Check;
const Client = @import("client.zig").Client;
const Options = @import("options.zig").Options;
const Upstream = backend_file.Upstream;

const events_per_wait = 512;
const accepts_per_turn = 64;
/// Connections that get a 503 at the same time; more are closed without a word.
const surplus_max = 1024;
const linger_ns = 1 * std.time.ns_per_s;
const accept_pause_ns = 100 * std.time.ns_per_ms;

/// What the threads have in common.
const Shared = struct {
    options: *const Options,
    backends: []Backend,
    checks: []Check,
    workers: []Worker,
    counters: []const *metrics.Counters,
    signals: net.Fd,
    /// Places taken by clients.
    connections: std.atomic.Value(u32) = .init(0),
    is_draining: std.atomic.Value(bool) = .init(false),
    /// Threads other than the first that still work.
    followers: std.atomic.Value(u32) = .init(0),
};

/// Serves until it is told to end; returns when all is drained.
pub fn serve(io: std.Io, gpa: std.mem.Allocator, options: *const Options, why: *failure.Failure) failure.Error!void {
    const listen = options.listen.?;
    const listen_address = try listen.resolve(io, "--listen", why);
    const backends = try resolveBackends(io, gpa, options, why);
    std.process.raiseFileDescriptorLimit();
    const admin_listener: ?net.Listener = if (options.admin) |admin| blk: {
        const address = try admin.resolve(io, "--admin", why);
        break :blk try net.Listener.open(&address, .alone, admin, "--admin", why);
    } else null;
    const first: net.Listener = try .open(&listen_address, if (options.threads == 1) .alone else .leader, listen, "--listen", why);

    const counters = try gpa.alloc(*metrics.Counters, options.threads);
    var shared: Shared = .{
        .options = options,
        .backends = backends,
        .checks = try makeChecks(gpa, options, backends),
        .workers = try gpa.alloc(Worker, options.threads),
        .counters = counters,
        // Before any thread starts, so that none of them is interrupted.
        .signals = try net.openSignals(why),
    };
    const local_host = try std.fmt.allocPrint(gpa, "{f}", .{first.address});
    for (shared.workers, counters, 0..) |*worker, *counter, index| {
        const listener = if (index == 0) first else try net.Listener.open(&first.address, .follower, listen, "--listen", why);
        try worker.init(gpa, &shared, index, listener, local_host, why);
        counter.* = worker.counters;
    }
    try shared.workers[0].lead(admin_listener, why);

    announce(admin_listener, first);
    try runAll(gpa, &shared, why);
}

fn resolveBackends(io: std.Io, gpa: std.mem.Allocator, options: *const Options, why: *failure.Failure) failure.Error![]Backend {
    const backends = try gpa.alloc(Backend, options.backends.len);
    for (backends, options.backends) |*backend, place| {
        backend.* = .init(place.text, try place.resolve(io, "--backends", why));
    }
    return backends;
}

fn makeChecks(gpa: std.mem.Allocator, options: *const Options, backends: []Backend) error{OutOfMemory}![]Check {
    if (options.health_path.len == 0) return &.{};
    const checks = try gpa.alloc(Check, backends.len);
    for (checks, backends) |*check, *backend| {
        const format = "GET {s} HTTP/1.1\r\nHost: {s}\r\nUser-Agent: deadheat-health\r\nConnection: close\r\n\r\n";
        check.* = .{
            .backend = backend,
            .rules = .{ .rise = options.rise, .fall = options.fall },
            .request = try std.fmt.allocPrint(gpa, format, .{ options.health_path, backend.name }),
        };
    }
    return checks;
}

/// The only words on standard output.
fn announce(admin_listener: ?net.Listener, listener: net.Listener) void {
    var text: [256]u8 = undefined;
    var writer: std.Io.Writer = .fixed(&text);
    if (admin_listener) |admin| writer.print("admin on {f}\n", .{admin.address}) catch unreachable;
    writer.print("listening on {f}\n", .{listener.address}) catch unreachable;
    net.print(writer.buffered());
}

/// The first worker runs on this thread.
fn runAll(gpa: std.mem.Allocator, shared: *Shared, why: *failure.Failure) failure.Error!void {
    const followers = shared.workers[1..];
    shared.followers.store(@intCast(followers.len), .monotonic);
    const threads = try gpa.alloc(std.Thread, followers.len);
    for (threads, followers) |*thread, *worker| {
        thread.* = std.Thread.spawn(.{}, Worker.follow, .{worker}) catch |err| return why.machine("cannot start a thread ({t})", .{err});
    }
    shared.workers[0].run();
    for (threads) |thread| thread.join();
}

/// One thread's event loop, and all that belongs to it.
pub const Worker = struct {
    gpa: std.mem.Allocator,
    shared: *Shared,
    options: *const Options,
    index: usize,
    poll: net.Poll,
    listener: net.Listener,
    listener_source: net.Source = .{ .kind = .listener },
    admin_listener: ?net.Listener = null,
    admin_source: net.Source = .{ .kind = .admin_listener },
    signals_source: net.Source = .{ .kind = .signals },
    wake_fd: net.Fd,
    wake_source: net.Source = .{ .kind = .wake },
    timers: timers.Timers,
    accept_timer: timers.Timer = .{},
    drain_timer: timers.Timer = .{},
    now_ns: u64,
    is_draining: bool = false,
    drain_is_over: bool = false,

    /// Where a client that named no host turned to.
    local_host: []const u8,
    blocks: buffer.Blocks,
    /// For what lives no longer than one step: the lines of a head, and a head that is being written.
    lines: []head.Line,
    scratch: []u8,
    admin_text: []u8 = &.{},
    counters: *metrics.Counters,
    balancer: backend_file.Balancer,
    upstreams: backend_file.Upstreams,

    memory: std.heap.MemoryPool(Client) = .empty,
    clients: std.DoublyLinkedList = .{},
    /// Closed, but an event of this round may still name them.
    closed: std.DoublyLinkedList = .{},
    postponed: std.DoublyLinkedList = .{},
    client_count: u32 = 0,
    surplus_count: u32 = 0,

    fn init(self: *Worker, gpa: std.mem.Allocator, shared: *Shared, index: usize, listener: net.Listener, local_host: []const u8, why: *failure.Failure) failure.Error!void {
        const options = shared.options;
        const poll: net.Poll = try .open(why);
        const blocks: buffer.Blocks = .init(gpa, options.max_header_bytes, @intCast(metrics.textBytes(shared.backends)));
        const counters = try gpa.create(metrics.Counters);
        const backend_requests = try gpa.alloc(u64, shared.backends.len);
        @memset(backend_requests, 0);
        counters.* = .{ .backend_requests = backend_requests };
        self.* = .{
            .gpa = gpa,
            .shared = shared,
            .options = options,
            .index = index,
            .poll = poll,
            .listener = listener,
            .wake_fd = try net.openWake(why),
            .timers = .init(durations(options)),
            .now_ns = net.nowNs(),
            .local_host = local_host,
            .blocks = blocks,
            .lines = try gpa.alloc(head.Line, head.linesMax(blocks.limit)),
            .scratch = try gpa.alloc(u8, blocks.capacity),
            .counters = counters,
            .balancer = .{ .policy = options.balance, .backends = shared.backends },
            .upstreams = try .init(gpa, poll, shared.backends, poolShare(options)),
        };
        try self.watch(listener.fd, &self.listener_source, why);
        try self.watch(self.wake_fd, &self.wake_source, why);
    }

    fn durations(options: *const Options) std.EnumArray(timers.Class, u64) {
        return .init(.{
            .idle = options.idle_timeout_ns,
            .header = options.header_timeout_ns,
            .connect = options.connect_timeout_ns,
            .read = options.read_timeout_ns,
            .linger = linger_ns,
            .health_interval = options.health_interval_ns,
            .health_timeout = options.health_timeout_ns,
            .accept_pause = accept_pause_ns,
            .drain = options.drain_timeout_ns,
        });
    }

    /// Idle connections are kept by each thread for itself.
    fn poolShare(options: *const Options) u32 {
        return std.math.divCeil(u32, options.pool_size, options.threads) catch unreachable;
    }

    fn watch(self: *Worker, fd: net.Fd, source: *net.Source, why: *failure.Failure) error{Failed}!void {
        if (!self.poll.watch(fd, net.listener_events, source)) return why.machine("cannot watch a descriptor: out of memory", .{});
    }

    /// The first thread also has the signals, the admin listener and the health checks.
    fn lead(self: *Worker, admin_listener: ?net.Listener, why: *failure.Failure) failure.Error!void {
        try self.watch(self.shared.signals, &self.signals_source, why);
        if (admin_listener) |admin| {
            self.admin_listener = admin;
            self.admin_text = try self.gpa.alloc(u8, metrics.textBytes(self.shared.backends));
            try self.watch(admin.fd, &self.admin_source, why);
        }
        for (self.shared.checks) |*check| check.start(self.poll, &self.timers, self.now_ns);
    }

    fn follow(self: *Worker) void {
        self.run();
        _ = self.shared.followers.fetchSub(1, .monotonic);
        net.wake(self.shared.workers[0].wake_fd);
    }

    fn run(self: *Worker) void {
        var storage: [events_per_wait]net.Poll.Event = undefined;
        while (!self.isOver()) {
            const timeout_ms = if (self.postponed.first == null) self.timers.waitMs(self.now_ns) else 0;
            const events = self.poll.wait(&storage, timeout_ms);
            self.now_ns = net.nowNs();
            for (events) |*event| self.endIdle(event);
            for (events) |*event| self.dispatch(event);
            self.runPostponed();
            self.runTimers();
            self.reap();
        }
    }

    fn isOver(self: *const Worker) bool {
        if (!self.is_draining) return false;
        const is_done = self.client_count == 0 or self.drain_is_over;
        // The first thread waits for the others, because it has the signals.
        return is_done and (self.index != 0 or self.shared.followers.load(.monotonic) == 0);
    }

    /// Idle connections of backends come first: one that is out of step must not get a request of the same round.
    fn endIdle(self: *Worker, event: *const net.Poll.Event) void {
        const source: *net.Source = @ptrFromInt(event.data.ptr);
        if (source.kind != .upstream) return;
        const upstream: *Upstream = @fieldParentPtr("source", source);
        if (upstream.state == .idle) self.upstreams.onIdleEvent(upstream, event.events);
    }

    fn dispatch(self: *Worker, event: *const net.Poll.Event) void {
        const source: *net.Source = @ptrFromInt(event.data.ptr);
        switch (source.kind) {
            .client => {
                const client: *Client = @fieldParentPtr("source", source);
                client.onEvent(event.events);
            },
            .upstream => {
                const upstream: *Upstream = @fieldParentPtr("source", source);
                switch (upstream.state) {
                    .connecting, .busy => upstream.client.?.onUpstreamEvent(upstream, event.events),
                    .idle, .closed => {},
                }
            },
            .check => {
                const check: *Check = @fieldParentPtr("source", source);
                check.onEvent(event.events, &self.timers, self.now_ns);
            },
            .listener => self.accept(&self.listener, .client),
            .admin_listener => self.accept(&self.admin_listener.?, .admin),
            .signals => self.takeSignals(),
            .wake => self.takeWake(),
        }
    }

    // --- connections ---

    const Guest = enum { client, admin };

    fn accept(self: *Worker, listener: *const net.Listener, guest: Guest) void {
        for (0..accepts_per_turn) |_| {
            var address: net.Address = undefined;
            const fd = listener.accept(&address) catch |err| switch (err) {
                error.WouldBlock => return,
                error.NoResources => return self.pauseAccepting(),
            };
            self.admit(fd, &address, guest);
        }
    }

    fn admit(self: *Worker, fd: net.Fd, address: *const net.Address, guest: Guest) void {
        const is_surplus = guest == .client and !self.takePlace();
        const is_hopeless = is_surplus and self.surplus_count == surplus_max;
        const client = (if (is_hopeless) null else self.addClient(fd, address, guest)) orelse {
            net.close(fd);
            if (guest == .client and !is_surplus) self.leavePlace();
            return;
        };
        if (is_surplus) {
            self.surplus_count += 1;
            client.turnAway();
        } else if (guest == .client) {
            metrics.add(&self.counters.connections_opened, 1);
        }
    }

    fn addClient(self: *Worker, fd: net.Fd, address: *const net.Address, guest: Guest) ?*Client {
        const client = self.memory.create(self.gpa) catch return null;
        client.init(self, fd, address, guest == .admin);
        if (!self.poll.watch(fd, net.connection_events, &client.source)) {
            self.memory.destroy(client);
            return null;
        }
        self.clients.append(&client.node);
        if (guest == .client) self.client_count += 1;
        return client;
    }

    fn takePlace(self: *Worker) bool {
        const before = self.shared.connections.fetchAdd(1, .monotonic);
        if (before < self.options.max_connections) return true;
        self.leavePlace();
        return false;
    }

    fn leavePlace(self: *Worker) void {
        _ = self.shared.connections.fetchSub(1, .monotonic);
    }

    /// A client has closed; its memory lives on to the end of this round.
    pub fn retire(self: *Worker, client: *Client) void {
        if (client.is_postponed) self.postponed.remove(&client.postponed_node);
        self.clients.remove(&client.node);
        self.closed.append(&client.node);
        if (client.is_admin) return;
        self.client_count -= 1;
        if (client.is_surplus) {
            self.surplus_count -= 1;
        } else {
            self.leavePlace();
            metrics.add(&self.counters.connections_closed, 1);
        }
    }

    fn reap(self: *Worker) void {
        while (self.closed.popFirst()) |node| {
            const client: *Client = @fieldParentPtr("node", node);
            self.memory.destroy(client);
        }
        self.upstreams.reap();
    }

    /// The client has had its turn, and there is more to do.
    pub fn postpone(self: *Worker, client: *Client) void {
        if (client.is_postponed) return;
        client.is_postponed = true;
        self.postponed.append(&client.postponed_node);
    }

    fn runPostponed(self: *Worker) void {
        // Whoever is postponed again waits for the next round.
        const last = self.postponed.last orelse return;
        while (self.postponed.popFirst()) |node| {
            const client: *Client = @fieldParentPtr("postponed_node", node);
            client.is_postponed = false;
            client.advance();
            if (node == last) return;
        }
    }

    fn pauseAccepting(self: *Worker) void {
        if (self.accept_timer.class != null) return;
        net.log("cannot accept connections: out of file descriptors or memory", .{});
        self.poll.unwatch(self.listener.fd);
        if (self.admin_listener) |admin| self.poll.unwatch(admin.fd);
        self.timers.arm(&self.accept_timer, .accept_pause, self.now_ns);
    }

    fn resumeAccepting(self: *Worker) void {
        if (self.is_draining) return;
        var is_watched = self.poll.watch(self.listener.fd, net.listener_events, &self.listener_source);
        if (self.admin_listener) |admin| is_watched = self.poll.watch(admin.fd, net.listener_events, &self.admin_source) and is_watched;
        if (!is_watched) self.timers.arm(&self.accept_timer, .accept_pause, self.now_ns);
    }

    // --- time ---

    fn runTimers(self: *Worker) void {
        while (self.timers.takeExpired(self.now_ns)) |expired| {
            const timer, const class = expired;
            switch (class) {
                .idle, .header, .connect, .read, .linger => {
                    const client: *Client = @fieldParentPtr("timer", timer);
                    client.onTimeout(class);
                },
                .health_interval, .health_timeout => {
                    const check: *Check = @fieldParentPtr("timer", timer);
                    check.onTimeout(class, self.poll, &self.timers, self.now_ns);
                },
                .accept_pause => self.resumeAccepting(),
                .drain => self.endDrain(),
            }
        }
    }

    // --- the end ---

    fn takeSignals(self: *Worker) void {
        const count = net.takeSignals(self.shared.signals);
        if (count == 0) return;
        // Whoever asks twice does not want to wait.
        if (count > 1 or self.is_draining) std.process.exit(0);
        self.shared.is_draining.store(true, .monotonic);
        for (self.shared.workers[1..]) |*worker| net.wake(worker.wake_fd);
        self.startDrain();
    }

    fn takeWake(self: *Worker) void {
        net.takeWake(self.wake_fd);
        if (self.shared.is_draining.load(.monotonic) and !self.is_draining) self.startDrain();
    }

    /// No new connections, idle ones end, and the others after what they do.
    fn startDrain(self: *Worker) void {
        // Who is in the queue already has reached us.
        self.accept(&self.listener, .client);
        self.is_draining = true;
        net.close(self.listener.fd);
        self.timers.arm(&self.drain_timer, .drain, self.now_ns);
        var next = self.clients.first;
        while (next) |node| {
            next = node.next;
            const client: *Client = @fieldParentPtr("node", node);
            client.onDrain();
        }
    }

    fn endDrain(self: *Worker) void {
        self.drain_is_over = true;
        var next = self.clients.first;
        while (next) |node| {
            next = node.next;
            const client: *Client = @fieldParentPtr("node", node);
            client.onDrainOver();
        }
    }

    // --- what clients ask ---

    pub fn bodyLimit(self: *const Worker) u64 {
        return if (self.options.max_body_bytes == 0) std.math.maxInt(u64) else self.options.max_body_bytes;
    }

    pub fn ejection(self: *const Worker) backend_file.Ejection {
        return .{ .max_fails = self.options.max_fails, .fail_timeout_ns = self.options.fail_timeout_ns };
    }

    pub fn anyBackendIsUp(self: *const Worker) bool {
        for (self.shared.backends) |*backend| if (backend.isUp(self.now_ns)) return true;
        return false;
    }

    pub fn metricsText(self: *Worker) []const u8 {
        var writer: std.Io.Writer = .fixed(self.admin_text);
        metrics.write(&writer, self.shared.counters, self.shared.backends, self.now_ns) catch unreachable;
        return writer.buffered();
    }
};
