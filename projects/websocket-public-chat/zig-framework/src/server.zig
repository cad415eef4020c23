//! The server: listeners, one event loop for each thread, and the way to an orderly end.
//!
//! A turn of a loop reads from everyone who has sent something and does what came, which puts frames into queues; then
//! it writes to everyone who has frames waiting, once, however many they are.
//!
//! The library keeps a connection where it came in, so with more than one thread they all work on the same rooms: a turn
//! of a loop, but for its wait, is done under one lock. What is due to a client of another thread wakes that thread.

const std = @import("std");
const failure = @import("failure.zig");
const http = @import("http.zig");
const library = @import("library.zig");
const metrics = @import("metrics.zig");
const net = @import("net.zig");
const room_file = @import("room.zig");
const timers_file = @import("timers.zig");
const Connection = @import("connection.zig").Connection;
const Options = @import("options.zig").Options;

const events_per_wait = 1024;
const accepts_per_turn = 256;
/// What one read takes from a client, the same memory for all.
const input_bytes = 64 << 10;
const close_timeout_ns = 2 * std.time.ns_per_s;
const head_timeout_ns = 10 * std.time.ns_per_s;
const presence_pause_ns = 1 * std.time.ns_per_s;
const accept_pause_ns = 100 * std.time.ns_per_ms;
/// How often threads look what the others have done.
const look_ms = 20;
/// Files that are no WebSockets: those of the server, and requests that come and go.
const files_besides = 1024;

/// What the threads have in common.
const Shared = struct {
    io: std.Io,
    options: *const Options,
    rules: http.Rules,
    workers: []Worker,
    counters: metrics.Counters = .{},
    hub: room_file.Hub = undefined,
    mutex: std.Io.Mutex = .init,
    /// Whose turn it is.
    active: *const Worker = undefined,
    signals: net.Fd,
    /// Places taken by WebSockets.
    places: std.atomic.Value(u32) = .init(0),
    /// Connections of any kind.
    connections: std.atomic.Value(u32) = .init(0),
    is_draining: std.atomic.Value(bool) = .init(false),
};

/// Serves until it is told to end; returns when all is drained.
pub fn serve(io: std.Io, gpa: std.mem.Allocator, options: *const Options, why: *failure.Failure) failure.Error!void {
    const place = options.listen.?;
    const address = try place.resolve(io, "--listen", why);
    // The library has tables for all that may be open.
    net.allowFiles(options.max_connections + files_besides);
    const first: net.Listener = try .open(&address, if (options.threads == 1) .alone else .leader, place, "--listen", why);
    var shared: Shared = .{
        .io = io,
        .options = options,
        .rules = .{ .has_echo = options.echo, .origins = options.origins },
        .workers = try gpa.alloc(Worker, options.threads),
        // Before any thread starts, so that none of them is interrupted.
        .signals = try net.openSignals(why),
    };
    shared.hub = .{
        .gpa = gpa,
        .options = options,
        .counters = &shared.counters,
        .timers = &shared.workers[0].timers,
        .now_ns = net.nowNs(),
        .nodes = .{ .gpa = gpa },
    };
    for (shared.workers, 0..) |*worker, index| {
        const listener = if (index == 0) first else try net.Listener.open(&first.address, .follower, place, "--listen", why);
        try worker.init(gpa, &shared, listener, why);
    }
    try shared.workers[0].watch(shared.signals, &shared.workers[0].signals_source, why);
    announce(&first);
    try runAll(gpa, &shared, why);
}

/// The only words on standard output.
fn announce(listener: *const net.Listener) void {
    var text: [128]u8 = undefined;
    net.print(std.fmt.bufPrint(&text, "listening on {f}\n", .{listener.address}) catch unreachable);
}

/// The first worker runs on this thread.
fn runAll(gpa: std.mem.Allocator, shared: *Shared, why: *failure.Failure) failure.Error!void {
    const followers = shared.workers[1..];
    const threads = try gpa.alloc(std.Thread, followers.len);
    for (threads, followers) |*thread, *worker| {
        thread.* = std.Thread.spawn(.{ .stack_size = 1 << 20 }, Worker.run, .{worker}) catch |err| return why.machine("cannot start a thread ({t})", .{err});
    }
    shared.workers[0].run();
    for (threads) |thread| thread.join();
}

/// One thread's event loop, and all that belongs to it.
pub const Worker = struct {
    gpa: std.mem.Allocator,
    shared: *Shared,
    options: *const Options,
    poll: net.Poll,
    listener: net.Listener,
    listener_source: net.Source = .{ .kind = .listener },
    signals_source: net.Source = .{ .kind = .signals },
    wake_fd: net.Fd,
    wake_source: net.Source = .{ .kind = .wake },
    timers: timers_file.Timers,
    accept_timer: timers_file.Timer = .{},
    drain_timer: timers_file.Timer = .{},
    now_ns: u64,
    is_draining: bool = false,
    drain_is_over: bool = false,

    counters: *metrics.Counters,
    hub: *room_file.Hub,
    library: library.Context,
    /// The connection that is being handed over.
    adopting: ?*Connection = null,
    /// What is read from any client.
    input: []u8,
    /// What is written to any client.
    output: []u8,
    metrics_text: [metrics.text_bytes_max]u8 = undefined,

    memory: std.heap.MemoryPool(Connection) = .empty,
    connections: std.DoublyLinkedList = .{},
    /// Closed, but an event of this turn may still name them.
    closed: std.DoublyLinkedList = .{},
    /// Those with something to send.
    waking: ?*Connection = null,
    doomed: ?*Connection = null,

    fn init(self: *Worker, gpa: std.mem.Allocator, shared: *Shared, listener: net.Listener, why: *failure.Failure) failure.Error!void {
        self.* = .{
            .gpa = gpa,
            .shared = shared,
            .options = shared.options,
            .poll = try .open(why),
            .listener = listener,
            .wake_fd = try net.openWake(why),
            .timers = .init(durations(shared.options)),
            .now_ns = net.nowNs(),
            .counters = &shared.counters,
            .hub = &shared.hub,
            .library = try .open(self, why),
            .input = try gpa.alloc(u8, input_bytes),
            .output = try gpa.alloc(u8, library.write_headroom + library.write_bytes_max),
        };
        try self.watch(listener.fd, &self.listener_source, why);
        try self.watch(self.wake_fd, &self.wake_source, why);
    }

    fn durations(options: *const Options) std.EnumArray(timers_file.Class, u64) {
        return .init(.{
            .head = head_timeout_ns,
            .join = options.join_timeout_ns,
            .idle = options.ping_interval_ns,
            .pong = options.ping_timeout_ns,
            .close = close_timeout_ns,
            .presence = presence_pause_ns,
            .accept_pause = accept_pause_ns,
            .drain = options.drain_timeout_ns,
        });
    }

    fn watch(self: *Worker, fd: net.Fd, source: *net.Source, why: *failure.Failure) error{Failed}!void {
        if (!self.poll.watch(fd, net.listener_events, source)) return why.machine("cannot watch a descriptor: out of memory", .{});
    }

    fn run(self: *Worker) void {
        while (!self.isOver()) self.turn();
    }

    fn turn(self: *Worker) void {
        var storage: [events_per_wait]net.Poll.Event = undefined;
        const events = self.poll.wait(&storage, self.waitMs());
        self.begin();
        defer self.shared.mutex.unlock(self.shared.io);
        for (events) |*event| self.dispatch(event);
        self.runTimers();
        self.flushAll();
        self.reap();
    }

    /// From here on the rooms are ours.
    fn begin(self: *Worker) void {
        self.shared.mutex.lockUncancelable(self.shared.io);
        self.shared.active = self;
        self.now_ns = net.nowNs();
        self.hub.now_ns = self.now_ns;
    }

    fn waitMs(self: *Worker) i32 {
        const wait_ms = self.timers.waitMs(self.now_ns);
        // Another thread may end the drain, or start a timer of the rooms.
        const looks = self.shared.workers.len > 1;
        return if (looks and (wait_ms < 0 or wait_ms > look_ms)) look_ms else wait_ms;
    }

    fn isOver(self: *const Worker) bool {
        return self.is_draining and (self.drain_is_over or self.shared.connections.load(.monotonic) == 0);
    }

    fn dispatch(self: *Worker, event: *const net.Poll.Event) void {
        const source: *net.Source = @ptrFromInt(event.data.ptr);
        switch (source.kind) {
            .connection => {
                const connection: *Connection = @fieldParentPtr("source", source);
                connection.onEvent(event.events);
            },
            .listener => self.accept(),
            .signals => self.takeSignals(),
            .wake => self.takeWake(),
        }
    }

    // --- connections ---

    fn accept(self: *Worker) void {
        for (0..accepts_per_turn) |_| {
            const fd = self.listener.accept() catch |err| switch (err) {
                error.WouldBlock => return,
                error.NoResources => return self.pauseAccepting(),
            };
            self.admit(fd) catch net.close(fd);
        }
    }

    fn admit(self: *Worker, fd: net.Fd) error{OutOfMemory}!void {
        const connection: *Connection = try self.memory.create(self.gpa);
        connection.init(self, fd);
        if (!self.poll.watch(fd, net.connection_events, &connection.source)) {
            self.timers.disarm(&connection.timer);
            self.memory.destroy(connection);
            return error.OutOfMemory;
        }
        self.connections.append(&connection.node);
        _ = self.shared.connections.fetchAdd(1, .monotonic);
    }

    /// A place among the WebSockets, if there is one left.
    pub fn takePlace(self: *Worker) bool {
        const before = self.shared.places.fetchAdd(1, .monotonic);
        if (before < self.options.max_connections) return true;
        self.leavePlace();
        return false;
    }

    pub fn leavePlace(self: *Worker) void {
        _ = self.shared.places.fetchSub(1, .monotonic);
    }

    /// A connection has closed; its memory lives on to the end of this turn.
    pub fn retire(self: *Worker, connection: *Connection) void {
        self.connections.remove(&connection.node);
        self.closed.append(&connection.node);
        _ = self.shared.connections.fetchSub(1, .monotonic);
    }

    fn reap(self: *Worker) void {
        while (self.closed.popFirst()) |node| {
            const connection: *Connection = @fieldParentPtr("node", node);
            self.memory.destroy(connection);
        }
    }

    fn pauseAccepting(self: *Worker) void {
        if (self.accept_timer.class != null) return;
        net.log("cannot accept connections: out of file descriptors or memory", .{});
        self.poll.unwatch(self.listener.fd);
        self.timers.arm(&self.accept_timer, .accept_pause, self.now_ns);
    }

    fn resumeAccepting(self: *Worker) void {
        if (self.is_draining) return;
        const is_watched = self.poll.watch(self.listener.fd, net.listener_events, &self.listener_source);
        if (!is_watched) self.timers.arm(&self.accept_timer, .accept_pause, self.now_ns);
    }

    // --- what goes out ---

    /// Writes to all that have something to send. Whom that shows to be slow or gone leaves its room, and the others
    /// may be told so.
    fn flushAll(self: *Worker) void {
        while (self.waking != null or self.doomed != null) {
            while (self.waking) |connection| {
                self.waking = connection.next_waking;
                connection.is_waking = false;
                connection.flush();
            }
            while (self.doomed) |connection| {
                self.doomed = connection.next_doomed;
                connection.bury();
            }
        }
    }

    /// Whether it is the turn of this thread: another one may queue things for its connections, and no more.
    pub fn isActive(self: *const Worker) bool {
        return self.shared.active == self;
    }

    /// Something waits for a connection of this thread.
    pub fn nudge(self: *Worker) void {
        if (!self.isActive()) net.wake(self.wake_fd);
    }

    // --- time ---

    fn runTimers(self: *Worker) void {
        while (self.timers.takeExpired(self.now_ns)) |expired| {
            const timer, const class = expired;
            switch (class) {
                .head, .idle, .pong, .close => {
                    const connection: *Connection = @alignCast(@fieldParentPtr("timer", timer));
                    connection.onTimeout(class);
                },
                .join => {
                    const connection: *Connection = @alignCast(@fieldParentPtr("join_timer", timer));
                    connection.onTimeout(class);
                },
                .presence => self.hub.onPresenceTimer(timer),
                .accept_pause => self.resumeAccepting(),
                .drain => self.drain_is_over = true,
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

    /// No new connections; every client gets what waits for it, and then a close frame.
    fn startDrain(self: *Worker) void {
        self.is_draining = true;
        self.hub.is_quiet = true;
        net.close(self.listener.fd);
        self.timers.arm(&self.drain_timer, .drain, self.now_ns);
        var next = self.connections.first;
        while (next) |node| {
            next = node.next;
            const connection: *Connection = @fieldParentPtr("node", node);
            connection.onDrain();
        }
    }

    // --- what clients ask ---

    pub fn metricsText(self: *Worker) []const u8 {
        var writer: std.Io.Writer = .fixed(&self.metrics_text);
        metrics.write(&writer, &.{&self.shared.counters}) catch unreachable; // it has room for all of it
        return writer.buffered();
    }
};
