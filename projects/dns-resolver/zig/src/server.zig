//! The server: datagrams and streams of clients, one event loop for each thread, and the way to an orderly end.
//!
//! Threads share the port and nothing else: each has its own cache, of an equal part of the memory.

const std = @import("std");
const failure = @import("failure.zig");
const net = @import("net.zig");
const request_file = @import("request.zig");
const resolve = @import("resolve.zig");
const stats = @import("stats.zig");
const timers = @import("timers.zig");
const wire = @import("wire.zig");
const Answer = @import("cache.zig").Answer;
const Client = @import("client.zig").Client;
const Cut = @import("cut.zig").Cut;
const Key = @import("cache.zig").Key;
const Options = @import("options.zig").Options;
const Request = request_file.Request;
const Resolver = resolve.Resolver;

const events_per_wait = 256;
const accepts_per_turn = 64;
const batch_count = 64;
const batches_per_turn = 4;
const incoming_bytes = 4096;
/// Longer replies go out one by one.
const outgoing_bytes = 2048;
const connections_max = 1000;
/// Questions of clients that wait at the same time; more are told that we failed.
const pending_max = 20_000;
const idle_ms = 10 * std.time.ms_per_s;
const accept_pause_ms = 100;

/// What the threads have in common.
const Shared = struct {
    workers: []Worker,
    counters: []const *stats.Counters,
    signals: net.Fd,
    connections: std.atomic.Value(u32) = .init(0),
    is_draining: std.atomic.Value(bool) = .init(false),
    /// Threads other than the first that still work.
    followers: std.atomic.Value(u32) = .init(0),

    fn report(self: *const Shared) void {
        var buffer: [512]u8 = undefined;
        failure.report("{s}", .{stats.line(&buffer, self.counters)});
    }
};

/// Serves until it is told to end; returns when all is drained.
pub fn serve(io: std.Io, gpa: std.mem.Allocator, options: *const Options, root: *const Cut, why: *failure.Failure) failure.Error!void {
    const first: net.Front = try .open(&options.listen_address.?, if (options.threads == 1) .alone else .leader, options.listen, why);
    const counters = try gpa.alloc(*stats.Counters, options.threads);
    var shared: Shared = .{
        .workers = try gpa.alloc(Worker, options.threads),
        .counters = counters,
        // Before any thread starts, so that none of them is interrupted.
        .signals = try net.openSignals(.all, why),
    };
    for (shared.workers, counters, 0..) |*worker, *counter, index| {
        const front = if (index == 0) first else try net.Front.open(&first.address, .follower, options.listen, why);
        try worker.init(io, gpa, options, root, &shared, index, front, why);
        counter.* = worker.counters;
    }
    try shared.workers[0].watch(shared.signals, &shared.workers[0].signals_source, why);
    var text: [128]u8 = undefined;
    try net.print(std.fmt.bufPrint(&text, "listening on {f}\n", .{first.address}) catch unreachable, why);
    try runAll(gpa, &shared, why);
    shared.report();
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

/// Where a reply goes.
const Target = union(enum) { datagram: *const net.Address, client: *Client };

/// A packet as far as it is understood before the cache is asked.
const Question = struct {
    request: Request,
    verdict: request_file.Verdict,
    lowered: [wire.name_bytes_max]u8,
    key: Key,

    fn read(self: *Question, packet: []const u8) void {
        self.verdict = self.request.read(packet);
        if (self.verdict != .ask) return;
        self.key = .init(wire.lower(&self.lowered, self.request.name()), self.request.type);
    }
};

/// A question that waits for its answer.
const Pending = struct {
    waiter: resolve.Waiter = .{ .deliver = Worker.onAnswer },
    worker: *Worker,
    request: Request,
    question: [request_file.question_bytes_max]u8,
    /// Null for a datagram.
    client: ?*Client,
    address: net.Address,
};

/// One thread's event loop, and all that belongs to it.
pub const Worker = struct {
    gpa: std.mem.Allocator,
    shared: *Shared,
    options: *const Options,
    index: usize,
    poll: net.Poll,
    front: net.Front,
    datagrams_source: net.Source = .{ .kind = .datagrams },
    listener_source: net.Source = .{ .kind = .listener },
    signals_source: net.Source = .{ .kind = .signals },
    wake_fd: net.Fd,
    wake_source: net.Source = .{ .kind = .wake },
    accept_timer: timers.Timer = .{},
    drain_timer: timers.Timer = .{},
    is_draining: bool = false,
    drain_is_over: bool = false,

    counters: *stats.Counters,
    resolver: Resolver,
    incoming: *net.Batch(batch_count, incoming_bytes),
    outgoing: *net.Batch(batch_count, outgoing_bytes),
    outgoing_count: usize = 0,
    /// Of one batch.
    questions: []Question,
    large: []u8,
    pending_memory: std.heap.MemoryPool(Pending) = .empty,
    pending_count: usize = 0,
    client_memory: std.heap.MemoryPool(Client) = .empty,
    clients: std.DoublyLinkedList = .{},
    /// Closed, but an event of this round may still name them.
    closed: std.DoublyLinkedList = .{},

    fn init(self: *Worker, io: std.Io, gpa: std.mem.Allocator, options: *const Options, root: *const Cut, shared: *Shared, index: usize, front: net.Front, why: *failure.Failure) failure.Error!void {
        const counters = try gpa.create(stats.Counters);
        counters.* = .{};
        self.* = .{
            .gpa = gpa,
            .shared = shared,
            .options = options,
            .index = index,
            .poll = try .open(why),
            .front = front,
            .wake_fd = try net.openWake(why),
            .counters = counters,
            .resolver = undefined,
            .incoming = try gpa.create(net.Batch(batch_count, incoming_bytes)),
            .outgoing = try gpa.create(net.Batch(batch_count, outgoing_bytes)),
            .large = try gpa.alloc(u8, wire.message_bytes_max),
            .questions = try gpa.alloc(Question, batch_count),
        };
        self.incoming.init();
        self.outgoing.init();
        try self.resolver.init(io, gpa, options, root, self.poll, counters);
        self.resolver.timers.durations_ms[timers.idle] = idle_ms;
        self.resolver.timers.durations_ms[timers.accept_pause] = accept_pause_ms;
        self.resolver.timers.durations_ms[timers.drain] = options.drain_timeout_ms;
        try self.watch(front.datagrams, &self.datagrams_source, why);
        try self.watch(front.listener, &self.listener_source, why);
        try self.watch(self.wake_fd, &self.wake_source, why);
    }

    fn watch(self: *Worker, fd: net.Fd, source: *net.Source, why: *failure.Failure) error{Failed}!void {
        if (!self.poll.watch(fd, net.socket_events, source)) return why.machine("cannot watch a descriptor: out of memory", .{});
    }

    fn follow(self: *Worker) void {
        self.run();
        _ = self.shared.followers.fetchSub(1, .monotonic);
        net.wake(self.shared.workers[0].wake_fd);
    }

    fn run(self: *Worker) void {
        var storage: [events_per_wait]net.Poll.Event = undefined;
        while (!self.isOver()) {
            const events = self.poll.wait(&storage, self.resolver.timers.waitMs(self.resolver.now_ms));
            self.resolver.now_ms = net.nowMs();
            for (events) |*event| self.dispatch(@ptrFromInt(event.data.ptr), event.events);
            self.runTimers();
            self.resolver.runReady();
            self.flush();
            self.reap();
        }
    }

    fn isOver(self: *const Worker) bool {
        if (!self.is_draining) return false;
        const is_done = (self.pending_count == 0 and self.clients.first == null) or self.drain_is_over;
        // The first thread waits for the others, because it has the signals.
        return is_done and (self.index != 0 or self.shared.followers.load(.monotonic) == 0);
    }

    fn dispatch(self: *Worker, source: *net.Source, events: u32) void {
        switch (source.kind) {
            .datagrams => self.takeDatagrams(),
            .upstream, .stream => self.resolver.onEvent(source, events),
            .client => {
                const client: *Client = @fieldParentPtr("source", source);
                client.advance();
            },
            .listener => self.accept(),
            .signals => self.takeSignals(),
            .wake => self.takeWake(),
        }
    }

    fn runTimers(self: *Worker) void {
        while (self.resolver.timers.takeExpired(self.resolver.now_ms)) |expired| {
            const timer, const class = expired;
            switch (class) {
                timers.idle => {
                    const client: *Client = @fieldParentPtr("timer", timer);
                    client.onTimeout();
                },
                timers.accept_pause => self.resumeAccepting(),
                timers.drain => self.drain_is_over = true,
                else => self.resolver.onTimeout(timer),
            }
        }
    }

    // --- questions ---

    /// Serves what has arrived. The memory that the answers of a batch lie in is fetched all at the same time.
    fn takeDatagrams(self: *Worker) void {
        const cache = &self.resolver.cache;
        for (0..batches_per_turn) |_| {
            const count = self.incoming.receive(self.front.datagrams);
            const questions = self.questions[0..count];
            for (questions, 0..) |*question, i| {
                question.read(self.incoming.taken(i));
                if (question.verdict == .ask) cache.announce(&question.key);
            }
            for (questions) |*question| if (question.verdict == .ask) cache.announceEntry(&question.key);
            for (questions, self.incoming.addresses[0..count]) |*question, *address| self.take(question, .{ .datagram = address });
            self.flush();
            if (count < batch_count) return;
        }
    }

    pub fn takePacket(self: *Worker, packet: []const u8, target: Target) void {
        var question: Question = undefined;
        question.read(packet);
        self.take(&question, target);
    }

    /// Answers a question from the cache, or begins to look for the answer.
    fn take(self: *Worker, question: *const Question, target: Target) void {
        if (question.verdict == .drop) return;
        self.counters.add("queries", 1);
        const request = &question.request;
        if (question.verdict == .refuse) return self.reply(request, &.{ .rcode = question.verdict.refuse }, target);
        const now_ms = self.resolver.now_ms;
        const cache = &self.resolver.cache;
        if (cache.find(&question.key, now_ms) orelse cache.find(&.init(question.key.name, Key.nxdomain), now_ms)) |entry| {
            self.counters.add("hits", 1);
            return self.reply(request, &entry.answer(now_ms), target);
        }
        if (!request.wantsRecursion()) return self.reply(request, &.{ .rcode = wire.Rcode.refused }, target);
        self.counters.add("misses", 1);
        self.ask(request, &question.key, target) catch self.reply(request, &.{ .rcode = wire.Rcode.servfail }, target);
    }

    fn ask(self: *Worker, request: *const Request, key: *const Key, target: Target) error{ Busy, OutOfMemory }!void {
        if (self.pending_count == pending_max) return error.Busy;
        const pending = try self.pending_memory.create(self.gpa);
        errdefer self.pending_memory.destroy(pending);
        pending.* = .{ .worker = self, .request = request.*, .question = undefined, .client = null, .address = undefined };
        @memcpy(pending.question[0..request.question.len], request.question);
        pending.request.question = pending.question[0..request.question.len];
        try self.resolver.ask(request.name(), key, &pending.waiter);
        self.pending_count += 1;
        switch (target) {
            .datagram => |address| pending.address = address.*,
            .client => |client| {
                pending.client = client;
                client.waiting += 1;
            },
        }
    }

    fn onAnswer(waiter: *resolve.Waiter, answer: *const Answer) void {
        const pending: *Pending = @fieldParentPtr("waiter", waiter);
        const self = pending.worker;
        const client = pending.client;
        self.reply(&pending.request, answer, if (client) |at| .{ .client = at } else .{ .datagram = &pending.address });
        self.pending_memory.destroy(pending);
        self.pending_count -= 1;
        if (client) |at| at.endWaiting();
    }

    fn reply(self: *Worker, request: *const Request, answer: *const Answer, target: Target) void {
        if (answer.rcode == wire.Rcode.servfail) self.counters.add("servfail", 1);
        switch (target) {
            .client => |client| client.reply(request, answer),
            .datagram => |address| self.replyDatagram(request, answer, address),
        }
    }

    fn replyDatagram(self: *Worker, request: *const Request, answer: *const Answer, address: *const net.Address) void {
        const limit = request.datagramBytesMax();
        if (@min(request.replyBytes(answer), limit) > outgoing_bytes) {
            const length = request.writeReply(answer, self.large, limit);
            // What cannot be sent is lost, as datagrams may be.
            return net.sendTo(self.front.datagrams, self.large[0..length], address) catch {};
        }
        if (self.outgoing_count == batch_count) self.flush();
        const length = request.writeReply(answer, &self.outgoing.buffers[self.outgoing_count], limit);
        self.outgoing.put(self.outgoing_count, length, address);
        self.outgoing_count += 1;
    }

    fn flush(self: *Worker) void {
        if (self.outgoing_count == 0) return;
        self.outgoing.sendFirst(self.front.datagrams, self.outgoing_count);
        self.outgoing_count = 0;
    }

    // --- connections ---

    fn accept(self: *Worker) void {
        for (0..accepts_per_turn) |_| {
            const fd = net.accept(self.front.listener) catch |err| switch (err) {
                error.WouldBlock => return,
                error.NoResources => return self.pauseAccepting(),
            };
            self.admit(fd) catch net.close(fd);
        }
    }

    fn admit(self: *Worker, fd: net.Fd) error{ OutOfMemory, TooMany }!void {
        if (self.shared.connections.fetchAdd(1, .monotonic) >= connections_max) {
            self.leavePlace();
            return error.TooMany;
        }
        errdefer self.leavePlace();
        const client = try self.client_memory.create(self.gpa);
        errdefer self.client_memory.destroy(client);
        client.* = .{ .worker = self, .fd = fd };
        if (!self.poll.watch(fd, net.stream_events, &client.source)) return error.OutOfMemory;
        self.clients.append(&client.node);
        client.start();
    }

    fn leavePlace(self: *Worker) void {
        _ = self.shared.connections.fetchSub(1, .monotonic);
    }

    /// A client has closed.
    pub fn retire(self: *Worker, client: *Client) void {
        self.clients.remove(&client.node);
        self.leavePlace();
        self.retireIfUnused(client);
    }

    /// The memory of a closed client is freed at the end of a round, when nothing of it waits any more.
    pub fn retireIfUnused(self: *Worker, client: *Client) void {
        if (client.waiting == 0) self.closed.append(&client.node);
    }

    fn reap(self: *Worker) void {
        while (self.closed.popFirst()) |node| {
            const client: *Client = @fieldParentPtr("node", node);
            client.deinit();
            self.client_memory.destroy(client);
        }
        self.resolver.upstream.reap();
    }

    fn pauseAccepting(self: *Worker) void {
        if (self.accept_timer.class != null) return;
        failure.report("cannot accept connections: out of file descriptors or memory", .{});
        self.poll.unwatch(self.front.listener);
        self.resolver.timers.arm(&self.accept_timer, timers.accept_pause, self.resolver.now_ms);
    }

    fn resumeAccepting(self: *Worker) void {
        if (self.is_draining or self.poll.watch(self.front.listener, net.socket_events, &self.listener_source)) return;
        self.resolver.timers.arm(&self.accept_timer, timers.accept_pause, self.resolver.now_ms);
    }

    // --- the end ---

    fn takeSignals(self: *Worker) void {
        const asked = net.takeSignals(self.shared.signals);
        if (asked.counters != 0) self.shared.report();
        if (asked.ends == 0) return;
        // Whoever asks twice does not want to wait.
        if (asked.ends > 1 or self.is_draining) {
            self.shared.report();
            std.process.exit(0);
        }
        self.shared.is_draining.store(true, .monotonic);
        for (self.shared.workers[1..]) |*worker| net.wake(worker.wake_fd);
        self.startDrain();
    }

    fn takeWake(self: *Worker) void {
        net.takeWake(self.wake_fd);
        if (self.shared.is_draining.load(.monotonic) and !self.is_draining) self.startDrain();
    }

    /// What has arrived is served, nothing more is taken.
    fn startDrain(self: *Worker) void {
        self.takeDatagrams();
        self.poll.unwatch(self.front.datagrams);
        self.accept();
        self.is_draining = true;
        net.close(self.front.listener);
        self.resolver.timers.arm(&self.drain_timer, timers.drain, self.resolver.now_ms);
        var next = self.clients.first;
        while (next) |node| {
            next = node.next;
            const client: *Client = @fieldParentPtr("node", node);
            client.onDrain();
        }
    }
};
