//! The backends: who is up, whose turn it is, the connections kept to them, and the checks of their health.

const std = @import("std");
const head = @import("head.zig");
const net = @import("net.zig");
const options = @import("options.zig");
const timers = @import("timers.zig");
const Client = @import("client.zig").Client;

/// When failures of requests take a backend out, and for how long.
pub const Ejection = struct { max_fails: u32, fail_timeout_ns: u64 };

/// What all threads know of a backend.
pub const Backend = struct {
    name: []const u8,
    address: net.Address,
    hash: u64,
    /// Requests that it works on.
    active: std.atomic.Value(u32) = .init(0),
    /// Failures since its last good response.
    failures: std.atomic.Value(u32) = .init(0),
    ejected_until_ns: std.atomic.Value(u64) = .init(0),
    passes_checks: std.atomic.Value(bool) = .init(true),

    pub fn init(name: []const u8, address: net.Address) Backend {
        return .{ .name = name, .address = address, .hash = hashKey(name) };
    }

    pub fn isUp(self: *const Backend, now_ns: u64) bool {
        return self.passes_checks.load(.monotonic) and self.ejected_until_ns.load(.monotonic) <= now_ns;
    }

    /// A request failed on it. Failures in a row go on counting when an ejection ends, so the next one ejects again.
    pub fn failed(self: *Backend, ejection: Ejection, now_ns: u64, cause: []const u8) void {
        const failures = self.failures.fetchAdd(1, .monotonic) +| 1;
        if (ejection.max_fails == 0 or failures < ejection.max_fails) return;
        const before = self.ejected_until_ns.swap(now_ns +| ejection.fail_timeout_ns, .monotonic);
        if (before > now_ns) return;
        const seconds = @as(f64, @floatFromInt(ejection.fail_timeout_ns)) / std.time.ns_per_s;
        net.log("backend {s} ejected for {d} s after {d} failures in a row: {s}", .{ self.name, seconds, failures, cause });
    }

    /// It gave a good response.
    pub inline fn succeeded(self: *Backend) void {
        if (self.failures.load(.monotonic) != 0) self.forgive();
    }

    fn forgive(self: *Backend) void {
        self.failures.store(0, .monotonic);
        if (self.ejected_until_ns.swap(0, .monotonic) != 0) net.log("backend {s} is back: it answers again", .{self.name});
    }
};

pub fn hashKey(text: []const u8) u64 {
    return std.hash.XxHash64.hash(0, text);
}

/// The backends that a request has been to.
pub const Tried = std.bit_set.Static(options.backends_max);

pub const Balancer = struct {
    policy: options.Balance,
    backends: []Backend,
    next: usize = 0,

    /// Finds the backend whose turn it is among those that are up and were not tried.
    pub fn choose(self: *Balancer, key: u64, tried: Tried, now_ns: u64) ?usize {
        return switch (self.policy) {
            .@"round-robin" => self.chooseNext(tried, now_ns),
            .@"least-connections" => self.chooseLeast(tried, now_ns),
            .hash => self.chooseHashed(key, tried, now_ns),
        };
    }

    fn isFree(self: *const Balancer, index: usize, tried: Tried, now_ns: u64) bool {
        return self.backends[index].isUp(now_ns) and !tried.isSet(index);
    }

    fn follow(self: *Balancer, index: usize) usize {
        self.next = if (index + 1 == self.backends.len) 0 else index + 1;
        return index;
    }

    fn chooseNext(self: *Balancer, tried: Tried, now_ns: u64) ?usize {
        var index = self.next;
        for (0..self.backends.len) |_| {
            if (self.isFree(index, tried, now_ns)) return self.follow(index);
            index = if (index + 1 == self.backends.len) 0 else index + 1;
        }
        return null;
    }

    /// The one with the fewest requests; among equals they take turns.
    fn chooseLeast(self: *Balancer, tried: Tried, now_ns: u64) ?usize {
        var best: ?usize = null;
        var least: u32 = std.math.maxInt(u32);
        var index = self.next;
        for (0..self.backends.len) |_| {
            const active = self.backends[index].active.load(.monotonic);
            if (active < least and self.isFree(index, tried, now_ns)) {
                best = index;
                least = active;
            }
            index = if (index + 1 == self.backends.len) 0 else index + 1;
        }
        return self.follow(best orelse return null);
    }

    /// Rendezvous: every backend draws a number for the key, and the highest wins. When one is gone only its own keys
    /// move, to wherever their second draw is.
    fn chooseHashed(self: *Balancer, key: u64, tried: Tried, now_ns: u64) ?usize {
        var best: ?usize = null;
        var highest: u64 = 0;
        for (self.backends, 0..) |*backend, index| {
            const drawn = mix(key ^ backend.hash);
            if ((best == null or drawn > highest) and self.isFree(index, tried, now_ns)) {
                best = index;
                highest = drawn;
            }
        }
        return best;
    }
};

/// The finalizer of SplitMix64: every bit of the sum moves half of the bits of the answer.
fn mix(value: u64) u64 {
    var bits = value;
    bits = (bits ^ (bits >> 30)) *% 0xbf58476d1ce4e5b9;
    bits = (bits ^ (bits >> 27)) *% 0x94d049bb133111eb;
    return bits ^ (bits >> 31);
}

/// A connection to a backend.
pub const Upstream = struct {
    source: net.Source = .{ .kind = .upstream },
    fd: net.Fd,
    backend: usize,
    state: State = .connecting,
    /// True until the kernel says that it would block.
    readable: bool = false,
    writable: bool = false,
    peer_closed: bool = false,
    /// It has carried a request before, so its end may have nothing to do with ours.
    is_reused: bool = false,
    client: ?*Client = null,
    node: std.DoublyLinkedList.Node = .{},

    pub const State = enum { connecting, busy, idle, closed };
};

/// The connections of one thread to all backends.
pub const Upstreams = struct {
    gpa: std.mem.Allocator,
    poll: net.Poll,
    backends: []Backend,
    pools: []Pool,
    /// How many idle connections each backend may have.
    pool_size: u32,
    memory: std.heap.MemoryPool(Upstream) = .empty,
    /// Closed, but an event of this round may still name them.
    closed: std.DoublyLinkedList = .{},

    const Pool = struct {
        /// The last one back is the first one out, so the others grow old and end.
        idle: std.DoublyLinkedList = .{},
        count: u32 = 0,
    };

    pub fn init(gpa: std.mem.Allocator, poll: net.Poll, backends: []Backend, pool_size: u32) error{OutOfMemory}!Upstreams {
        const pools = try gpa.alloc(Pool, backends.len);
        @memset(pools, .{});
        return .{ .gpa = gpa, .poll = poll, .backends = backends, .pools = pools, .pool_size = pool_size };
    }

    /// Takes an idle connection. With `must_live`, the kernel is asked whether it has already ended: a request that
    /// must not be sent twice should not meet a connection whose end is only waiting to be read.
    pub fn takeIdle(self: *Upstreams, index: usize, must_live: bool) ?*Upstream {
        const pool = &self.pools[index];
        while (pool.idle.popLast()) |node| {
            pool.count -= 1;
            const upstream: *Upstream = @fieldParentPtr("node", node);
            upstream.state = .busy;
            upstream.is_reused = true;
            if (!must_live or net.isQuiet(upstream.fd)) return upstream;
            self.close(upstream);
        }
        return null;
    }

    pub fn connect(self: *Upstreams, index: usize) net.ConnectError!*Upstream {
        const fd = try net.connect(&self.backends[index].address);
        errdefer net.close(fd);
        const upstream = self.memory.create(self.gpa) catch return error.NoResources;
        errdefer self.memory.destroy(upstream);
        upstream.* = .{ .fd = fd, .backend = index };
        if (!self.poll.watch(fd, net.connection_events, &upstream.source)) return error.NoResources;
        return upstream;
    }

    /// Keeps a connection for the next request.
    pub fn giveBack(self: *Upstreams, upstream: *Upstream) void {
        const pool = &self.pools[upstream.backend];
        if (pool.count >= self.pool_size) return self.close(upstream);
        upstream.state = .idle;
        upstream.client = null;
        pool.idle.append(&upstream.node);
        pool.count += 1;
    }

    pub fn close(self: *Upstreams, upstream: *Upstream) void {
        net.close(upstream.fd);
        upstream.state = .closed;
        upstream.client = null;
        self.closed.append(&upstream.node);
    }

    /// An idle connection has nothing to say: it has ended, or its backend speaks out of turn.
    pub fn onIdleEvent(self: *Upstreams, upstream: *Upstream, events: u32) void {
        if (events & net.readable == 0) return;
        const pool = &self.pools[upstream.backend];
        pool.idle.remove(&upstream.node);
        pool.count -= 1;
        self.close(upstream);
    }

    /// Gives the memory back when no event can name it any more.
    pub fn reap(self: *Upstreams) void {
        while (self.closed.popFirst()) |node| {
            const upstream: *Upstream = @fieldParentPtr("node", node);
            self.memory.destroy(upstream);
        }
    }
};

pub const CheckRules = struct { rise: u32, fall: u32 };

/// The health check of a backend: a request now and then, on a connection of its own.
pub const Check = struct {
    source: net.Source = .{ .kind = .check },
    timer: timers.Timer = .{},
    backend: *Backend,
    rules: CheckRules,
    request: []const u8,
    fd: net.Fd = -1,
    state: State = .waiting,
    passes: u32 = 0,
    failures: u32 = 0,
    buffer: [256]u8 = undefined,
    length: usize = 0,

    const State = enum { waiting, connecting, receiving };

    pub fn start(self: *Check, poll: net.Poll, queue: *timers.Timers, now_ns: u64) void {
        self.length = 0;
        self.fd = net.connect(&self.backend.address) catch return self.end(queue, now_ns, "connection refused");
        self.state = .connecting;
        if (!poll.watch(self.fd, net.connection_events, &self.source)) return self.end(queue, now_ns, "no resources");
        queue.arm(&self.timer, .health_timeout, now_ns);
    }

    pub fn onEvent(self: *Check, events: u32, queue: *timers.Timers, now_ns: u64) void {
        if (self.state == .connecting) {
            if (events & net.writable == 0) return;
            if (!net.isConnected(self.fd)) return self.end(queue, now_ns, "connection refused");
            self.state = .receiving;
            const sent = net.send(self.fd, self.request) catch 0;
            if (sent != self.request.len) return self.end(queue, now_ns, "connection lost");
        }
        if (self.state == .receiving and events & net.readable != 0) self.receive(queue, now_ns);
    }

    fn receive(self: *Check, queue: *timers.Timers, now_ns: u64) void {
        const count = net.receive(self.fd, self.buffer[self.length..]) catch |err| switch (err) {
            error.WouldBlock => return,
            error.Broken => return self.end(queue, now_ns, "connection lost"),
        };
        self.length += count;
        const line_end = std.mem.findScalar(u8, self.buffer[0..self.length], '\r');
        if (line_end == null and count != 0 and self.length < self.buffer.len) return;
        const status = head.readStatus(self.buffer[0 .. line_end orelse self.length]) catch return self.end(queue, now_ns, "bad response");
        self.end(queue, now_ns, if (status < 200 or status >= 400) "bad status" else null);
    }

    pub fn onTimeout(self: *Check, class: timers.Class, poll: net.Poll, queue: *timers.Timers, now_ns: u64) void {
        if (class == .health_interval) self.start(poll, queue, now_ns) else self.end(queue, now_ns, "no answer in time");
    }

    /// The check is decided; `fault` is why it failed.
    fn end(self: *Check, queue: *timers.Timers, now_ns: u64, fault: ?[]const u8) void {
        if (self.fd != -1) net.close(self.fd);
        self.fd = -1;
        self.state = .waiting;
        queue.arm(&self.timer, .health_interval, now_ns);
        self.judge(fault);
    }

    fn judge(self: *Check, fault: ?[]const u8) void {
        const is_up = self.backend.passes_checks.load(.monotonic);
        if (fault) |cause| {
            self.passes = 0;
            self.failures +|= 1;
            if (!is_up or self.failures < self.rules.fall) return;
            self.backend.passes_checks.store(false, .monotonic);
            net.log("backend {s} is down after {d} failed health checks: {s}", .{ self.backend.name, self.failures, cause });
        } else {
            self.failures = 0;
            self.passes +|= 1;
            if (is_up or self.passes < self.rules.rise) return;
            self.backend.passes_checks.store(true, .monotonic);
            net.log("backend {s} is up after {d} good health checks", .{ self.backend.name, self.passes });
        }
    }
};

fn testBackends(comptime count: usize) [count]Backend {
    var backends: [count]Backend = undefined;
    inline for (&backends, 0..) |*backend, i| backend.* = .init(std.fmt.comptimePrint("127.0.0.1:90{d:0>2}", .{i}), undefined);
    return backends;
}

test "turns go round, and past those that are down or tried" {
    var backends = testBackends(3);
    var balancer: Balancer = .{ .policy = .@"round-robin", .backends = &backends };
    for ([_]usize{ 0, 1, 2, 0, 1 }) |index| try std.testing.expectEqual(index, balancer.choose(0, .empty, 0));
    backends[2].passes_checks.store(false, .monotonic);
    for ([_]usize{ 0, 1, 0, 1 }) |index| try std.testing.expectEqual(index, balancer.choose(0, .empty, 0));
    var tried: Tried = .empty;
    tried.set(0);
    try std.testing.expectEqual(1, balancer.choose(0, tried, 0));
    tried.set(1);
    try std.testing.expectEqual(null, balancer.choose(0, tried, 0));
}

test "the fewest requests win" {
    var backends = testBackends(3);
    var balancer: Balancer = .{ .policy = .@"least-connections", .backends = &backends };
    for (0..9) |_| _ = backends[balancer.choose(0, .empty, 0).?].active.fetchAdd(1, .monotonic);
    for (&backends) |*backend| try std.testing.expectEqual(3, backend.active.load(.monotonic));
    backends[1].active.store(1, .monotonic);
    try std.testing.expectEqual(1, balancer.choose(0, .empty, 0));
}

test "when a backend goes, only its keys move" {
    var backends = testBackends(4);
    var balancer: Balancer = .{ .policy = .hash, .backends = &backends };
    var homes: [400]usize = undefined;
    var counts: [4]usize = @splat(0);
    for (&homes, 0..) |*home, i| {
        var buffer: [16]u8 = undefined;
        home.* = balancer.choose(hashKey(try std.fmt.bufPrint(&buffer, "user-{d}", .{i})), .empty, 0).?;
        counts[home.*] += 1;
    }
    for (counts) |count| try std.testing.expect(count > 60);
    backends[2].passes_checks.store(false, .monotonic);
    for (homes, 0..) |home, i| {
        var buffer: [16]u8 = undefined;
        const now = balancer.choose(hashKey(try std.fmt.bufPrint(&buffer, "user-{d}", .{i})), .empty, 0).?;
        try std.testing.expect(if (home == 2) now != 2 else now == home);
    }
}

test "failures in a row eject" {
    var backends = testBackends(1);
    const backend = &backends[0];
    // The failures that eject are logged, so this test stays below them.
    const ejection: Ejection = .{ .max_fails = 3, .fail_timeout_ns = 100 };
    for (0..2) |_| backend.failed(ejection, 5, "test");
    backend.succeeded();
    for (0..2) |_| backend.failed(ejection, 5, "test");
    try std.testing.expect(backend.isUp(5));
    backend.ejected_until_ns.store(105, .monotonic);
    try std.testing.expect(!backend.isUp(104));
    try std.testing.expect(backend.isUp(105));
}
