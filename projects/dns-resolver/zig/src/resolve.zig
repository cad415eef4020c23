//! Iteration: from the root hints, delegation by delegation, alias by alias, to an answer.
//!
//! A task finds the answer to one question; whoever asks the same question meanwhile joins it. A task waits for one
//! thing at a time: a server, or another task that looks for the address of a server. Of what servers say only that
//! counts which lies in the zone that they were asked about.

const std = @import("std");
const cache_file = @import("cache.zig");
const cut_file = @import("cut.zig");
const net = @import("net.zig");
const stats = @import("stats.zig");
const timers = @import("timers.zig");
const upstream_file = @import("upstream.zig");
const wire = @import("wire.zig");
const Answer = cache_file.Answer;
const Cache = cache_file.Cache;
const Cut = cut_file.Cut;
const Key = cache_file.Key;
const Options = @import("options.zig").Options;
const Query = upstream_file.Query;
const Rcode = wire.Rcode;
const Record = wire.Record;
const Type = wire.Type;
const Upstream = upstream_file.Upstream;

const links_max = 12;
const steps_max = 32;
/// A task that takes longer has failed.
const task_ms_max = 20 * std.time.ms_per_s;
const tasks_max_default = 8192;
const bucket_count = 8192;
/// So many labels below a zone are shown one by one, the rest at once (RFC 9156, 2.3).
const minimised_labels_max = 3;
/// Servers that take this much longer than the best one are as good.
const round_trip_band_ms = 20;
/// The memory of records that a task keeps for the next one.
const kept_bytes_max = 4096;
const failure_lifetime_s = 1;

/// Somebody who waits for an answer; sits in what has to be told.
pub const Waiter = struct {
    next: ?*Waiter = null,
    /// The answer is gone when this returns.
    deliver: *const fn (*Waiter, *const Answer) void,
};

pub const Task = struct {
    /// Among the ready, or the free ones.
    node: std.DoublyLinkedList.Node = .{},
    resolver: *Resolver,
    next_in_bucket: ?*Task = null,
    hash: u32,
    name: wire.Name,
    type: u16,
    waiters: ?*Waiter = null,
    is_started: bool = false,
    depth: u8,
    deadline_ms: u64,
    queries_left: u32,
    queries_used: u32 = 0,

    /// The name that is looked for now: the end of the chain of aliases.
    current: wire.Name,
    links: u8 = 0,
    steps: u8 = 0,
    answer: wire.Records = .{},
    authority: wire.Records = .{},

    cut: Cut = undefined,
    /// Of each server of the cut.
    tries: [cut_file.servers_max]u8 = undefined,
    /// Servers, as bits, that are of no use here.
    bad: u32 = 0,
    attempts: u32 = 0,
    /// So many labels of the current name are shown to the servers.
    shown_labels: usize = 0,
    query: Query = .{},
    server: u8 = 0,
    is_downgraded: bool = false,

    /// The task that looks for the address of a server, and which one.
    child: ?*Task = null,
    child_name: usize = 0,
    /// Names, as bits, that were asked for an address of IPv4.
    asked_ip4: u16 = 0,
    as_parent: Waiter = .{ .deliver = Resolver.onAddress },

    fn serverBit(self: *const Task) u32 {
        return @as(u32, 1) << @intCast(self.server);
    }

    fn isMinimised(self: *const Task) bool {
        return self.shown_labels < wire.countLabels(self.current.slice());
    }

    fn showAll(self: *Task) void {
        self.shown_labels = wire.countLabels(self.current.slice());
    }

    fn startCut(self: *Task) void {
        @memset(&self.tries, 0);
        self.bad = 0;
        self.attempts = 0;
        self.asked_ip4 = 0;
        self.shown_labels = @min(wire.countLabels(self.cut.zone.slice()) + 1, wire.countLabels(self.current.slice()));
    }

    fn showMore(self: *Task) void {
        self.shown_labels += 1;
        if (self.shown_labels > wire.countLabels(self.cut.zone.slice()) + minimised_labels_max) self.showAll();
    }
};

/// Why a task ends without an answer.
const Error = error{ Failed, OutOfMemory, TooLarge };

/// A server's reply whose every record can be read.
const Reply = struct {
    message: []const u8,
    rcode: u16,
    is_authoritative: bool,
    offers_recursion: bool,
    answers: Section,
    authorities: Section,
    additionals: Section,

    const Section = struct {
        at: usize,
        count: u16,

        fn records(self: Section, message: []const u8) Iterator {
            return .{ .message = message, .at = self.at, .left = self.count };
        }
    };

    /// Goes over the records of a section; they have been read before.
    const Iterator = struct {
        message: []const u8,
        at: usize,
        left: u16,

        fn next(self: *Iterator) ?Record {
            while (self.left != 0) {
                const record = Record.read(self.message, self.at) catch unreachable;
                self.at = record.end;
                self.left -= 1;
                if (record.class == wire.class_in) return record;
            }
            return null;
        }
    };

    fn read(message: []const u8) wire.Error!Reply {
        var self: Reply = .{
            .message = message,
            .rcode = message[3] & 0x0f,
            .is_authoritative = message[2] & 0x04 != 0,
            .offers_recursion = message[3] & 0x80 != 0,
            .answers = undefined,
            .authorities = undefined,
            .additionals = undefined,
        };
        var at: usize = wire.header_bytes;
        for (0..wire.read16(message, 4)) |_| at = try wire.skipName(message, at) + 4;
        for ([_]*Section{ &self.answers, &self.authorities, &self.additionals }, 0..) |section, i| {
            section.* = .{ .at = at, .count = wire.read16(message, 6 + 2 * i) };
            for (0..section.count) |_| {
                var name: wire.Name = undefined;
                _ = try wire.readName(message, at, &name);
                const record = try Record.read(message, at);
                // The upper bits of the code are in the place of the time to live.
                if (record.type == Type.opt and i == 2) self.rcode |= @as(u16, message[record.data_at - 6]) << 4;
                at = record.end;
            }
        }
        return self;
    }

    fn owner(self: *const Reply, record: *const Record) wire.Name {
        var name: wire.Name = undefined;
        _ = wire.readName(self.message, record.at, &name) catch unreachable; // read before
        return name;
    }

    /// A record of a name and a type in the answer.
    fn findAnswer(self: *const Reply, name: []const u8, kind: u16) ?Record {
        var records = self.answers.records(self.message);
        while (records.next()) |record| {
            if (record.type == kind and wire.eql(self.owner(&record).slice(), name)) return record;
        }
        return null;
    }

    /// What says that a whole subtree above a name has moved, inside a zone.
    fn findSubtreeAlias(self: *const Reply, name: []const u8, zone: []const u8) ?Record {
        var records = self.answers.records(self.message);
        while (records.next()) |record| {
            if (record.type != Type.dname) continue;
            const place = self.owner(&record);
            if (wire.isBelow(name, place.slice()) and wire.isUnder(place.slice(), zone)) return record;
        }
        return null;
    }

    /// The start of authority that a negative answer about a name of a zone carries.
    fn findSoa(self: *const Reply, name: []const u8, zone: []const u8) ?Record {
        var records = self.authorities.records(self.message);
        while (records.next()) |record| {
            if (record.type != Type.soa) continue;
            const place = self.owner(&record);
            if (wire.isUnder(name, place.slice()) and wire.isUnder(place.slice(), zone)) return record;
        }
        return null;
    }

    /// The zone that servers of another one refer to: strictly below theirs, and on the way to the name.
    fn findReferral(self: *const Reply, name: []const u8, zone: []const u8) ?wire.Name {
        var records = self.authorities.records(self.message);
        while (records.next()) |record| {
            if (record.type != Type.ns) continue;
            const place = self.owner(&record);
            if (wire.isBelow(place.slice(), zone) and wire.isUnder(name, place.slice())) return place;
        }
        return null;
    }

    fn refersElsewhere(self: *const Reply, zone: []const u8) bool {
        var records = self.authorities.records(self.message);
        while (records.next()) |record| {
            if (record.type == Type.ns and !wire.eql(self.owner(&record).slice(), zone)) return true;
        }
        return false;
    }
};

pub const Resolver = struct {
    gpa: std.mem.Allocator,
    options: *const Options,
    reach: net.Reach,
    root: *const Cut,
    counters: *stats.Counters,
    poll: net.Poll,
    timers: timers.Timers,
    now_ms: u64,
    cache: Cache,
    upstream: Upstream,
    buckets: []?*Task,
    ready: std.DoublyLinkedList = .{},
    free: std.DoublyLinkedList = .{},
    task_count: usize = 0,
    /// More questions at once are refused, so that memory is bounded.
    tasks_max: usize = tasks_max_default,
    /// Where answers are encoded, and where they are taken apart again.
    encoded: []u8,
    ttl_places: []u16,
    rebuilt: []u8,

    pub fn init(self: *Resolver, io: std.Io, gpa: std.mem.Allocator, options: *const Options, root: *const Cut, poll: net.Poll, counters: *stats.Counters) error{OutOfMemory}!void {
        const buckets = try gpa.alloc(?*Task, bucket_count);
        @memset(buckets, null);
        var durations_ms: [timers.class_count]u64 = @splat(0);
        Upstream.setDurations(options, &durations_ms);
        var seed: [std.Random.DefaultCsprng.secret_seed_length]u8 = undefined;
        io.random(&seed);
        self.* = .{
            .gpa = gpa,
            .options = options,
            .reach = options.reach(),
            .root = root,
            .counters = counters,
            .poll = poll,
            .timers = .{ .durations_ms = durations_ms },
            .now_ms = net.nowMs(),
            .cache = try .init(gpa, options.cache_bytes / options.threads, counters),
            .upstream = try .init(gpa, options, poll, &self.timers, counters, seed),
            .buckets = buckets,
            .encoded = try gpa.alloc(u8, wire.message_bytes_max - wire.opt_bytes),
            .ttl_places = try gpa.alloc(u16, wire.message_bytes_max / 11),
            .rebuilt = try gpa.alloc(u8, wire.message_bytes_max),
        };
    }

    // --- tasks ---

    /// Looks for an answer that the cache does not have.
    pub fn ask(self: *Resolver, name: []const u8, key: *const Key, waiter: *Waiter) error{Busy}!void {
        const task = self.findTask(name, key) orelse try self.addTask(name, key, .{
            .depth = 0,
            .deadline_ms = self.now_ms + task_ms_max,
            .queries = self.options.max_queries,
        });
        join(task, waiter);
    }

    fn join(task: *Task, waiter: *Waiter) void {
        waiter.next = task.waiters;
        task.waiters = waiter;
    }

    fn bucketOf(self: *Resolver, hash: u32) *?*Task {
        return &self.buckets[hash % bucket_count];
    }

    fn findTask(self: *Resolver, name: []const u8, key: *const Key) ?*Task {
        var next = self.bucketOf(key.hash).*;
        while (next) |task| : (next = task.next_in_bucket) {
            if (task.hash == key.hash and task.type == key.kind and wire.eql(task.name.slice(), name)) return task;
        }
        return null;
    }

    const Limits = struct { depth: u8, deadline_ms: u64, queries: u32 };

    fn addTask(self: *Resolver, name: []const u8, key: *const Key, limits: Limits) error{Busy}!*Task {
        if (self.task_count >= self.tasks_max) return error.Busy;
        const task = try self.newTask();
        const bucket = self.bucketOf(key.hash);
        const whole: wire.Name = .of(name);
        const answer = task.answer;
        const authority = task.authority;
        task.* = .{
            .resolver = self,
            .next_in_bucket = bucket.*,
            .hash = key.hash,
            .name = whole,
            .current = whole,
            .type = @intCast(key.kind),
            .depth = limits.depth,
            .deadline_ms = limits.deadline_ms,
            .queries_left = limits.queries,
            .answer = answer,
            .authority = authority,
        };
        bucket.* = task;
        self.task_count += 1;
        self.ready.append(&task.node);
        return task;
    }

    /// A task that has nothing but the memory of its records.
    fn newTask(self: *Resolver) error{Busy}!*Task {
        if (self.free.popFirst()) |node| return @fieldParentPtr("node", node);
        const task = self.gpa.create(Task) catch return error.Busy;
        task.answer = .{};
        task.authority = .{};
        return task;
    }

    fn removeTask(self: *Resolver, task: *Task) void {
        var link = self.bucketOf(task.hash);
        while (link.*.? != task) link = &link.*.?.next_in_bucket;
        link.* = task.next_in_bucket;
        self.upstream.end(&task.query);
        for ([_]*wire.Records{ &task.answer, &task.authority }) |records| {
            records.clear();
            if (records.bytes.capacity > kept_bytes_max) records.bytes.clearAndFree(self.gpa);
        }
        self.task_count -= 1;
        self.free.append(&task.node);
    }

    // --- events ---

    pub fn onEvent(self: *Resolver, source: *net.Source, events: u32) void {
        if (source.kind == .upstream) {
            self.upstream.onSocketEvent(source, events, self);
        } else {
            self.upstream.onStreamEvent(source, events, self);
        }
    }

    pub fn onTimeout(self: *Resolver, timer: *timers.Timer) void {
        const query: *Query = @fieldParentPtr("timer", timer);
        self.upstream.onTimeout(query, self);
    }

    /// Lets all go on that can. New tasks start here, so whoever asks is not told before he has asked.
    pub fn runReady(self: *Resolver) void {
        while (self.ready.popFirst()) |node| {
            const task: *Task = @fieldParentPtr("node", node);
            const result = if (task.is_started) self.choose(task) else self.look(task);
            task.is_started = true;
            result catch self.fail(task);
        }
    }

    pub fn onOutcome(self: *Resolver, query: *Query, outcome: upstream_file.Outcome) void {
        const task: *Task = @fieldParentPtr("query", query);
        const result = switch (outcome) {
            .timeout => if (query.is_stream) self.giveUpServer(task) else self.giveUpTry(task),
            .refused => self.giveUpServer(task),
            .reply => |message| self.takeReply(task, message),
        };
        result catch self.fail(task);
    }

    // --- the way down ---

    /// Looks for the current name in the cache, then for the nearest zone that we know.
    fn look(self: *Resolver, task: *Task) Error!void {
        var lowered: [wire.name_bytes_max]u8 = undefined;
        while (true) {
            const name = wire.lower(&lowered, task.current.slice());
            if (self.cache.find(&.init(name, task.type), self.now_ms)) |entry| return self.finishFrom(task, entry);
            if (task.type != Type.cname) if (self.cache.find(&.init(name, Type.cname), self.now_ms)) |entry| if (entry.answers != 0) {
                try self.followFrom(task, entry);
                continue;
            };
            if (self.cache.find(&.init(name, Key.nxdomain), self.now_ms)) |entry| return self.finishFrom(task, entry);
            self.enterCut(task, name);
            return self.choose(task);
        }
    }

    fn enterCut(self: *Resolver, task: *Task, name: []const u8) void {
        // What delegates a zone is a record of its parent.
        var zone = if (task.type == Type.ds and name[0] != 0) wire.parent(name) else name;
        while (zone[0] != 0) : (zone = wire.parent(zone)) {
            const entry = self.cache.find(&.init(zone, Key.cut), self.now_ms) orelse continue;
            task.cut.unpack(zone, entry.body());
            break;
        } else task.cut = self.root.*;
        task.startCut();
    }

    /// Chooses whom to ask, and asks.
    fn choose(self: *Resolver, task: *Task) Error!void {
        while (true) {
            if (task.queries_left == 0 or task.attempts >= self.options.attempts or self.now_ms >= task.deadline_ms) return error.Failed;
            if (self.pickServer(task, .untried)) |server| {
                if (self.askServer(task, server, true)) return;
                continue;
            }
            switch (self.findAddress(task)) {
                .waiting => return,
                .found => continue,
                .none => {},
            }
            const server = self.pickServer(task, .any) orelse return error.Failed;
            if (self.askServer(task, server, true)) return;
        }
    }

    /// Any of the fastest servers, of those that were tried least.
    fn pickServer(self: *Resolver, task: *Task, which: enum { untried, any }) ?u8 {
        var scores: [cut_file.servers_max]u32 = undefined;
        var best: u32 = std.math.maxInt(u32);
        for (task.cut.servers[0..task.cut.server_count], scores[0..task.cut.server_count], 0..) |ip, *score, i| {
            const is_out = task.bad >> @intCast(i) & 1 != 0 or (which == .untried and task.tries[i] != 0);
            score.* = if (is_out) std.math.maxInt(u32) else @as(u32, task.tries[i]) << 16 | (self.upstream.roundTripMs(ip, self.now_ms) orelse 0);
            best = @min(best, score.*);
        }
        if (best == std.math.maxInt(u32)) return null;
        var picked: ?u8 = null;
        var count: u32 = 0;
        for (scores[0..task.cut.server_count], 0..) |score, i| {
            if (score > best +| round_trip_band_ms) continue;
            count += 1;
            if (self.upstream.random.random().uintLessThanBiased(u32, count) == 0) picked = @intCast(i);
        }
        return picked;
    }

    /// False if the server cannot be asked.
    fn askServer(self: *Resolver, task: *Task, server: u8, has_edns: bool) bool {
        task.server = server;
        task.tries[server] +|= 1;
        const is_minimised = task.isMinimised();
        self.upstream.ask(&task.query, &.{
            .server = task.cut.servers[server],
            .name = wire.suffix(task.current.slice(), task.shown_labels),
            .type = if (is_minimised) Type.a else task.type,
            .level = task.attempts,
            .has_edns = has_edns,
        }, self.now_ms) catch {
            task.bad |= task.serverBit();
            return false;
        };
        countQuery(task);
        return true;
    }

    fn countQuery(task: *Task) void {
        task.queries_left -= 1;
        task.queries_used += 1;
    }

    fn giveUpTry(self: *Resolver, task: *Task) Error!void {
        task.attempts += 1;
        return self.choose(task);
    }

    fn giveUpServer(self: *Resolver, task: *Task) Error!void {
        task.bad |= task.serverBit();
        return self.choose(task);
    }

    /// Asks the same server again, in another way.
    fn askAgain(self: *Resolver, task: *Task) Error!void {
        task.tries[task.server] = 0;
        return self.choose(task);
    }

    // --- addresses of servers ---

    /// Looks for an address of a server that has none, in the cache or by a task of its own.
    fn findAddress(self: *Resolver, task: *Task) enum { found, waiting, none } {
        var lowered: [wire.name_bytes_max]u8 = undefined;
        while (task.cut.unsettled()) |index| {
            const kind = self.nextAddressType(task, index);
            const name = wire.lower(&lowered, task.cut.nameAt(index));
            const key: Key = .init(name, kind);
            if (self.cache.find(&key, self.now_ms)) |entry| {
                if (self.addAddresses(task, index, &entry.answer(self.now_ms))) return .found;
            } else if (self.cache.find(&.init(name, Key.nxdomain), self.now_ms) != null) {
                task.cut.settle(index);
            } else if (self.askChild(task, index, name, &key)) return .waiting;
        }
        return .none;
    }

    /// IPv4 first, then IPv6, of what we can reach; after the last one nothing is left to ask.
    fn nextAddressType(self: *Resolver, task: *Task, index: usize) u16 {
        const bit = @as(u16, 1) << @intCast(index);
        const is_ip4 = self.reach.ip4 and task.asked_ip4 & bit == 0;
        if (is_ip4) task.asked_ip4 |= bit;
        if (!is_ip4 or !self.reach.ip6) task.cut.settle(index);
        return if (is_ip4) Type.a else Type.aaaa;
    }

    /// False if that would lead nowhere, or back to us.
    fn askChild(self: *Resolver, task: *Task, index: usize, name: []const u8, key: *const Key) bool {
        if (task.depth >= self.options.max_depth) return false;
        const child = self.findTask(name, key) orelse self.addTask(name, key, .{
            .depth = task.depth + 1,
            .deadline_ms = task.deadline_ms,
            .queries = task.queries_left,
        }) catch return false;
        var next: ?*Task = child;
        while (next) |waiting| : (next = waiting.child) if (waiting == task) return false;
        task.child = child;
        task.child_name = index;
        join(child, &task.as_parent);
        return true;
    }

    /// A child has found an address, or that there is none.
    fn onAddress(waiter: *Waiter, answer: *const Answer) void {
        const task: *Task = @fieldParentPtr("as_parent", waiter);
        const self = task.resolver;
        const used = task.child.?.queries_used;
        task.child = null;
        task.queries_left -|= used;
        task.queries_used += used;
        _ = self.addAddresses(task, task.child_name, answer);
        self.ready.append(&task.node);
    }

    fn addAddresses(self: *Resolver, task: *Task, index: usize, answer: *const Answer) bool {
        const before = task.cut.server_count;
        var at: usize = 0;
        for (0..answer.answers) |_| {
            const record = Record.read(answer.body, at) catch unreachable; // made by us
            at = record.end;
            const data = record.data(answer.body);
            const ip: net.Ip = switch (record.type) {
                Type.a => .of4(data[0..4].*),
                Type.aaaa => .{ .bytes = data[0..16].* },
                else => continue,
            };
            if (self.reach.includes(ip)) task.cut.addAddress(index, ip);
        }
        return task.cut.server_count != before;
    }

    // --- replies ---

    fn takeReply(self: *Resolver, task: *Task, message: []const u8) Error!void {
        self.upstream.praise(&task.query, self.now_ms);
        const is_cut = message[2] & 0x02 != 0;
        if (is_cut) {
            // Over TCP there is nothing left to try.
            if (task.query.is_stream) return self.giveUpServer(task);
            self.upstream.askStream(&task.query, self.now_ms) catch return self.giveUpServer(task);
            return countQueryOrFail(task);
        }
        const reply = Reply.read(message) catch return self.giveUpServer(task);
        switch (reply.rcode) {
            Rcode.noerror, Rcode.nxdomain => {},
            Rcode.formerr, Rcode.notimp, Rcode.badvers => if (task.query.has_edns) return self.downgrade(task) else return self.refuse(task),
            else => return self.refuse(task),
        }
        if (task.is_downgraded and !task.query.has_edns) self.upstream.markPlain(task.query.server);
        if (task.isMinimised()) return self.takeMinimised(task, &reply);
        self.takeAnswer(task, &reply) catch |err| switch (err) {
            error.Malformed => return self.giveUpServer(task),
            else => |e| return e,
        };
    }

    fn countQueryOrFail(task: *Task) Error!void {
        if (task.queries_left == 0) return error.Failed;
        countQuery(task);
    }

    /// The server may not know EDNS.
    fn downgrade(self: *Resolver, task: *Task) Error!void {
        if (task.queries_left == 0) return error.Failed;
        task.is_downgraded = true;
        if (!self.askServer(task, task.server, false)) return self.choose(task);
    }

    /// The server does not want to answer this; maybe it is the part of a name that it does not like.
    fn refuse(self: *Resolver, task: *Task) Error!void {
        if (!task.isMinimised()) return self.giveUpServer(task);
        task.showAll();
        return self.askAgain(task);
    }

    /// A reply to a part of the name: it leads on, or more has to be shown. Only the whole name says what does not exist.
    fn takeMinimised(self: *Resolver, task: *Task, reply: *const Reply) Error!void {
        const shown = wire.suffix(task.current.slice(), task.shown_labels);
        const is_plain = reply.rcode == Rcode.noerror and reply.answers.count == 0 and reply.findSoa(shown, task.cut.zone.slice()) == null;
        if (is_plain) if (reply.findReferral(shown, task.cut.zone.slice())) |zone| return self.descend(task, reply, &zone);
        if (reply.rcode == Rcode.noerror and reply.is_authoritative) task.showMore() else task.showAll();
        return self.askAgain(task);
    }

    const ReplyError = Error || wire.Error;

    fn takeAnswer(self: *Resolver, task: *Task, reply: *const Reply) ReplyError!void {
        const is_resolver = reply.offers_recursion and !reply.is_authoritative;
        const zone = task.cut.zone.slice();
        const links_before = task.links;
        while (wire.isUnder(task.current.slice(), zone)) {
            if (is_resolver and reply.answers.count != 0) return self.giveUpServer(task);
            if (try self.takeSubtreeAlias(task, reply)) {
                if (task.type == Type.cname) return self.finish(task, Rcode.noerror);
            } else if (try self.takeSet(task, reply)) {
                return self.finish(task, Rcode.noerror);
            } else if (!try self.takeAlias(task, reply)) break;
        }
        const has_moved = task.links != links_before;
        // Behind an alias that leads out of the zone this server has nothing to say.
        if (!wire.isUnder(task.current.slice(), zone)) return self.look(task);
        const soa = reply.findSoa(task.current.slice(), zone);
        if (has_moved and soa == null) return self.look(task);
        if (soa) |record| {
            if (is_resolver) return self.giveUpServer(task);
            try self.takeSoa(task, reply, &record);
            return self.finish(task, @intCast(reply.rcode));
        }
        return self.takeEmpty(task, reply, is_resolver);
    }

    /// A reply that neither answers nor says who has the authority to deny.
    fn takeEmpty(self: *Resolver, task: *Task, reply: *const Reply, is_resolver: bool) ReplyError!void {
        const zone = task.cut.zone.slice();
        if (reply.rcode == Rcode.nxdomain) return if (is_resolver) self.giveUpServer(task) else self.finish(task, Rcode.nxdomain);
        if (reply.findReferral(task.current.slice(), zone)) |below| return self.descend(task, reply, &below);
        const is_denial = reply.is_authoritative and !reply.refersElsewhere(zone);
        return if (is_denial) self.finish(task, Rcode.noerror) else self.giveUpServer(task);
    }

    fn clampTtl(self: *const Resolver, ttl_s: u32) u32 {
        return std.math.clamp(ttl_s, self.options.min_ttl_s, self.options.max_ttl_s);
    }

    /// Takes the records that were asked for.
    fn takeSet(self: *Resolver, task: *Task, reply: *const Reply) ReplyError!bool {
        const name = task.current;
        const from = task.answer.bytes.items.len;
        errdefer task.answer.bytes.shrinkRetainingCapacity(from);
        var records = reply.answers.records(reply.message);
        while (records.next()) |record| {
            if (record.type != task.type or !wire.eql(reply.owner(&record).slice(), name.slice())) continue;
            try task.answer.add(self.gpa, reply.message, &record, name.slice(), self.clampTtl(record.ttl_s));
        }
        if (task.answer.bytes.items.len == from) return false;
        if (task.links != 0) self.store(name.slice(), task.type, Rcode.noerror, task.answer.bytes.items[from..], &.{});
        return true;
    }

    fn takeAlias(self: *Resolver, task: *Task, reply: *const Reply) ReplyError!bool {
        const name = task.current;
        const record = reply.findAnswer(name.slice(), Type.cname) orelse return false;
        const from = task.answer.bytes.items.len;
        var target: wire.Name = undefined;
        if (try wire.readName(reply.message[0..record.end], record.data_at, &target) != record.end) return error.Malformed;
        try task.answer.add(self.gpa, reply.message, &record, name.slice(), self.clampTtl(record.ttl_s));
        try self.follow(task, from, &target);
        return true;
    }

    /// Takes the alias of a whole subtree, and makes the alias of the name from it (RFC 6672).
    fn takeSubtreeAlias(self: *Resolver, task: *Task, reply: *const Reply) ReplyError!bool {
        const name = task.current;
        const record = reply.findSubtreeAlias(name.slice(), task.cut.zone.slice()) orelse return false;
        const from = task.answer.bytes.items.len;
        const ttl_s = self.clampTtl(record.ttl_s);
        const owner = reply.owner(&record);
        var base: wire.Name = undefined;
        if (try wire.readName(reply.message[0..record.end], record.data_at, &base) != record.end) return error.Malformed;
        const kept = name.length - owner.length;
        // RFC 6672: a name that gets too long is a failure.
        if (@as(usize, kept) + base.length > wire.name_bytes_max) return error.Failed;
        var target = name;
        @memcpy(target.buffer[kept..][0..base.length], base.slice());
        target.length = kept + base.length;
        try task.answer.add(self.gpa, reply.message, &record, owner.slice(), ttl_s);
        try task.answer.addAlias(self.gpa, name.slice(), ttl_s, target.slice());
        try self.follow(task, from, &target);
        return true;
    }

    /// Goes on with the target of an alias whose records begin at a place of the answer.
    fn follow(self: *Resolver, task: *Task, from: usize, target: *const wire.Name) Error!void {
        self.store(task.current.slice(), Type.cname, Rcode.noerror, task.answer.bytes.items[from..], &.{});
        task.links += 1;
        if (task.links > links_max) return error.Failed;
        task.current = target.*;
    }

    /// Takes what denies, with the time that the denial lives.
    fn takeSoa(self: *Resolver, task: *Task, reply: *const Reply, record: *const Record) ReplyError!void {
        const data = record.data(reply.message);
        if (data.len < 22) return error.Malformed;
        const minimum_s = wire.read32(data, data.len - 4);
        const ttl_s = @min(self.clampTtl(@min(record.ttl_s, minimum_s)), self.options.negative_ttl_max_s);
        try task.authority.add(self.gpa, reply.message, record, reply.owner(record).slice(), ttl_s);
    }

    /// Goes on with the servers of a zone below.
    fn descend(self: *Resolver, task: *Task, reply: *const Reply, zone: *const wire.Name) Error!void {
        task.steps += 1;
        if (task.steps > steps_max) return error.Failed;
        var cut: Cut = .init(zone.slice());
        const ttl_s = readServers(reply, &cut) catch return self.giveUpServer(task);
        self.readGlue(reply, task.cut.zone.slice(), &cut);
        var buffer: [Cut.packed_bytes_max]u8 = undefined;
        var lowered: [wire.name_bytes_max]u8 = undefined;
        const key: Key = .init(wire.lower(&lowered, zone.slice()), Key.cut);
        self.cache.put(&key, &.{ .rcode = 0, .body = cut.pack(&buffer) }, self.clampTtl(ttl_s), self.now_ms);
        task.cut = cut;
        task.startCut();
        return self.choose(task);
    }

    fn readServers(reply: *const Reply, cut: *Cut) wire.Error!u32 {
        var ttl_s: u32 = std.math.maxInt(u32);
        var records = reply.authorities.records(reply.message);
        while (records.next()) |record| {
            if (record.type != Type.ns or !wire.eql(reply.owner(&record).slice(), cut.zone.slice())) continue;
            var name: wire.Name = undefined;
            if (try wire.readName(reply.message[0..record.end], record.data_at, &name) != record.end) return error.Malformed;
            _ = cut.addName(name.slice());
            ttl_s = @min(ttl_s, record.ttl_s);
        }
        return ttl_s;
    }

    /// Believes addresses only of servers inside the zone of those who tell them.
    fn readGlue(self: *Resolver, reply: *const Reply, zone: []const u8, cut: *Cut) void {
        var records = reply.additionals.records(reply.message);
        while (records.next()) |record| {
            const data = record.data(reply.message);
            const is_address = (record.type == Type.a and data.len == 4) or (record.type == Type.aaaa and data.len == 16);
            if (!is_address) continue;
            const owner = reply.owner(&record);
            if (!wire.isUnder(owner.slice(), zone)) continue;
            const index = cut.findName(owner.slice()) orelse continue;
            const ip: net.Ip = if (record.type == Type.a) .of4(data[0..4].*) else .{ .bytes = data[0..16].* };
            if (self.reach.includes(ip)) cut.addAddress(index, ip);
        }
    }

    // --- what the cache knows ---

    /// Adds what is known to the chain; returns the last alias.
    fn takeKnown(self: *Resolver, task: *Task, entry: *const cache_file.Entry) Error!?wire.Name {
        const answer = entry.answer(self.now_ms);
        const message = answer.rebuild(self.rebuilt, task.current.slice());
        var at: usize = wire.header_bytes + @as(usize, task.current.length) + 4;
        var target: ?wire.Name = null;
        for (0..@as(usize, answer.answers) + answer.authorities) |i| {
            const record = Record.read(message, at) catch unreachable; // made by us
            at = record.end;
            var owner: wire.Name = undefined;
            _ = wire.readName(message, record.at, &owner) catch unreachable;
            const records = if (i < answer.answers) &task.answer else &task.authority;
            records.add(self.gpa, message, &record, owner.slice(), record.ttl_s) catch |err| switch (err) {
                error.Malformed => unreachable,
                else => |e| return e,
            };
            if (record.type != Type.cname or task.type == Type.cname) continue;
            task.links += 1;
            var alias: wire.Name = undefined;
            _ = wire.readName(message, record.data_at, &alias) catch unreachable;
            target = alias;
        }
        return if (task.links > links_max) error.Failed else target;
    }

    fn finishFrom(self: *Resolver, task: *Task, entry: *const cache_file.Entry) Error!void {
        if (entry.rcode == Rcode.servfail) return error.Failed;
        const rcode = entry.rcode;
        if (try self.takeKnown(task, entry)) |target| task.current = target;
        return self.finish(task, rcode);
    }

    fn followFrom(self: *Resolver, task: *Task, entry: *const cache_file.Entry) Error!void {
        task.current = (try self.takeKnown(task, entry)).?;
    }

    // --- ends ---

    const Encoded = struct { answer: Answer, ttl_s: u32 };

    /// Makes an answer of records; it lives until the next one is made.
    fn encode(self: *Resolver, name: []const u8, rcode: u8, answers: []const u8, authorities: []const u8) error{TooLarge}!Encoded {
        var encoder: wire.Encoder = .init(self.encoded, self.ttl_places, name);
        try encoder.addAll(answers);
        const answer_count = encoder.ttl_count;
        try encoder.addAll(authorities);
        const places = self.ttl_places[0..encoder.ttl_count];
        const body = encoder.body();
        var ttl_s: u32 = if (places.len == 0) 0 else std.math.maxInt(u32);
        for (places) |place| ttl_s = @min(ttl_s, wire.read32(body, place));
        return .{ .ttl_s = ttl_s, .answer = .{
            .rcode = rcode,
            .answers = @intCast(answer_count),
            .authorities = @intCast(places.len - answer_count),
            .body = body,
            .ttl_places = places,
        } };
    }

    /// Keeps what is known about a name, if it may be kept.
    fn store(self: *Resolver, name: []const u8, kind: u32, rcode: u8, answers: []const u8, authorities: []const u8) void {
        const encoded = self.encode(name, rcode, answers, authorities) catch return;
        var lowered: [wire.name_bytes_max]u8 = undefined;
        self.cache.put(&.init(wire.lower(&lowered, name), kind), &encoded.answer, encoded.ttl_s, self.now_ms);
    }

    fn finish(self: *Resolver, task: *Task, rcode: u8) Error!void {
        const authorities = task.authority.bytes.items;
        if (rcode == Rcode.nxdomain) self.store(task.current.slice(), Key.nxdomain, rcode, &.{}, authorities);
        const encoded = try self.encode(task.name.slice(), rcode, task.answer.bytes.items, authorities);
        self.end(task, &encoded.answer, encoded.ttl_s);
    }

    fn fail(self: *Resolver, task: *Task) void {
        // A task inside another one may have failed for want of what was left to that one.
        self.end(task, &.{ .rcode = Rcode.servfail }, if (task.depth == 0) failure_lifetime_s else 0);
    }

    fn end(self: *Resolver, task: *Task, answer: *const Answer, lifetime_s: u32) void {
        var lowered: [wire.name_bytes_max]u8 = undefined;
        const key: Key = .{ .name = wire.lower(&lowered, task.name.slice()), .kind = task.type, .hash = task.hash };
        self.cache.put(&key, answer, lifetime_s, self.now_ms);
        var next = task.waiters;
        while (next) |waiter| {
            next = waiter.next;
            waiter.deliver(waiter, answer);
        }
        self.removeTask(task);
    }
};

const test_referral = "\x00\x01\x80\x00\x00\x01\x00\x00\x00\x01\x00\x01" ++ "\x03www\x03sub\x04test\x00\x00\x01\x00\x01" ++
    "\xc0\x10\x00\x02\x00\x01\x00\x00\x0e\x10\x00\x05\x02ns\xc0\x10" ++ "\xc0\x2a\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\x0a\x00\x00\x01";

test "only referrals downwards, and on the way to the name" {
    const name = "\x03www\x03sub\x04test\x00";
    const zone = "\x03sub\x04test\x00";
    const reply = try Reply.read(test_referral);
    try std.testing.expectEqualStrings(zone, reply.findReferral(name, "\x04test\x00").?.slice());
    try std.testing.expectEqual(null, reply.findReferral(name, zone));
    try std.testing.expectEqual(null, reply.findReferral(name, name));
    try std.testing.expectEqual(null, reply.findReferral("\x03www\x03xxx\x04test\x00", "\x04test\x00"));
    try std.testing.expect(reply.refersElsewhere("\x04test\x00") and !reply.refersElsewhere(zone));
    try std.testing.expectEqual(null, reply.findAnswer(name, Type.a));
    try std.testing.expectEqual(null, reply.findSoa(name, "\x04test\x00"));
    var cut: Cut = .init(zone);
    try std.testing.expectEqual(3600, try Resolver.readServers(&reply, &cut));
    try std.testing.expectEqualStrings("\x02ns\x03sub\x04test\x00", cut.nameAt(0));
}

test "replies that are cut or lie are no replies" {
    for (wire.header_bytes..test_referral.len) |length| try std.testing.expectError(error.Malformed, Reply.read(test_referral[0..length]));
    var lying = test_referral.*;
    lying[7] = 1;
    try std.testing.expectError(error.Malformed, Reply.read(&lying));
    lying[7] = 0;
    lying[30] = 0xc1;
    try std.testing.expectError(error.Malformed, Reply.read(&lying));
}
