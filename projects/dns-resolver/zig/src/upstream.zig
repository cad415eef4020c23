//! Questions to authoritative servers: sockets with random ports, random ids, letters of random case, and who answers
//! how fast.
//!
//! A datagram counts as an answer only if id, question (letter by letter), address and port are those of a question that
//! waits, and it came to the socket that this was sent from. Whatever else comes is counted and forgotten.

const std = @import("std");
const net = @import("net.zig");
const stats = @import("stats.zig");
const timers = @import("timers.zig");
const wire = @import("wire.zig");
const Options = @import("options.zig").Options;
const linux = std.os.linux;

const sockets_max = 256;
/// A socket gets a new port after so many questions.
const uses_max = 256;
const batch_count = 16;
const datagram_bytes_max = 4096;
const batches_per_turn = 8;
/// More questions at once are refused, so that ids stay hard to guess.
const queries_max = 32_768;
const random_id_attempts = 64;
/// From this try on letters are left as they are: there are servers that do not keep them.
const plain_case_level = 2;
const timeout_max_ms = 3000;
const stream_timeout_ms = 3000;

/// Our side of a question that waits for its answer; sits in the task that asks.
pub const Query = struct {
    timer: timers.Timer = .{},
    state: State = .idle,
    id: u16 = 0,
    socket: u16 = 0,
    server: net.Ip = undefined,
    /// The question with its letters as they were sent.
    name: wire.Name = undefined,
    type: u16 = 0,
    is_case_random: bool = false,
    has_edns: bool = false,
    /// It went over TCP last.
    is_stream: bool = false,
    /// How often the time to wait was doubled.
    level: timers.Class = 0,
    sent_ms: u64 = 0,
    stream: ?*Stream = null,

    const State = enum { idle, datagram, stream };
};

pub const Outcome = union(enum) {
    reply: []const u8,
    timeout,
    /// Nobody is there.
    refused,
};

/// A socket of the pool.
const Socket = struct {
    source: net.Source = .{ .kind = .upstream },
    fd: net.Fd,
    uses: u32 = 0,
    waiting: u32 = 0,
};

/// One question over TCP.
pub const Stream = struct {
    source: net.Source = .{ .kind = .stream },
    /// Among the closed ones.
    node: std.DoublyLinkedList.Node = .{},
    fd: net.Fd,
    /// Null when it is closed.
    query: ?*Query,
    is_connected: bool = false,
    request: [2 + request_bytes_max]u8 = undefined,
    request_length: usize = 0,
    sent: usize = 0,
    reply: std.ArrayList(u8) = .empty,
};

const request_bytes_max = wire.header_bytes + wire.name_bytes_max + 4 + wire.opt_bytes;

/// What we know of a server.
const Info = struct {
    ip: net.Ip = .{ .bytes = @splat(0) },
    round_trip_ms: u32 = 0,
    updated_ms: u64 = 0,
    /// It does not understand EDNS.
    is_plain: bool = false,

    const memory_ms = 15 * std.time.ms_per_min;
    /// A server that did not answer gets another chance after a minute.
    const penalty_ms = std.time.ms_per_min;
    const round_trip_max_ms = 8000;
};

/// Servers share these places; who comes later throws out who was there.
const info_count = 4096;

const Batch = net.Batch(batch_count, datagram_bytes_max);

pub const Upstream = struct {
    gpa: std.mem.Allocator,
    options: *const Options,
    reach: net.Reach,
    poll: net.Poll,
    timers: *timers.Timers,
    counters: *stats.Counters,
    random: std.Random.DefaultCsprng,
    sockets: [sockets_max]Socket = undefined,
    socket_count: u16 = 0,
    waiting: usize = 0,
    by_id: []?*Query,
    infos: []Info,
    info_seed: u64,
    batch: *Batch,
    /// Closed, but an event of this round may still name them.
    closed: std.DoublyLinkedList = .{},

    pub fn init(gpa: std.mem.Allocator, options: *const Options, poll: net.Poll, all_timers: *timers.Timers, counters: *stats.Counters, seed: [std.Random.DefaultCsprng.secret_seed_length]u8) error{OutOfMemory}!Upstream {
        const by_id = try gpa.alloc(?*Query, 1 << 16);
        @memset(by_id, null);
        const infos = try gpa.alloc(Info, info_count);
        @memset(infos, .{});
        const batch = try gpa.create(Batch);
        batch.init();
        var random: std.Random.DefaultCsprng = .init(seed);
        return .{
            .gpa = gpa,
            .options = options,
            .reach = options.reach(),
            .poll = poll,
            .timers = all_timers,
            .counters = counters,
            .info_seed = random.random().int(u64),
            .random = random,
            .by_id = by_id,
            .infos = infos,
            .batch = batch,
        };
    }

    /// How long a try waits.
    pub fn timeoutMs(options: *const Options, level: usize) u64 {
        var ms = options.timeout_ms;
        for (0..level) |_| ms = if (ms < timeout_max_ms) @min(2 * ms, timeout_max_ms) else ms;
        return ms;
    }

    /// Sets how long timers of our classes run.
    pub fn setDurations(options: *const Options, durations_ms: *[timers.class_count]u64) void {
        for (durations_ms[0..timers.tries_max], 0..) |*duration_ms, level| duration_ms.* = timeoutMs(options, level);
        durations_ms[timers.stream] = @max(stream_timeout_ms, options.timeout_ms);
    }

    // --- asking ---

    pub const Question = struct { server: net.Ip, name: []const u8, type: u16, level: usize, has_edns: bool = true };
    pub const AskError = error{NoResources};

    /// Sends a question; the answer, or that there is none, comes to the resolver.
    pub fn ask(self: *Upstream, query: *Query, question: *const Question, now_ms: u64) AskError!void {
        std.debug.assert(query.state == .idle);
        if (self.waiting >= queries_max) return error.NoResources;
        query.server = question.server;
        query.name = .of(question.name);
        query.type = question.type;
        query.level = @intCast(@min(question.level, timers.tries_max - 1));
        query.has_edns = question.has_edns and !self.infoOf(question.server).is_plain;
        query.is_case_random = question.level < plain_case_level;
        if (query.is_case_random) self.randomiseCase(&query.name);
        query.socket = try self.pickSocket();
        query.id = self.pickId() orelse return error.NoResources;
        var buffer: [request_bytes_max]u8 = undefined;
        const request = self.writeRequest(query, &buffer);
        const address = self.addressOf(query);
        const socket = &self.sockets[query.socket];
        // A full buffer is a lost packet like others: the timer sees it.
        net.sendTo(socket.fd, request, &address) catch |err| if (err == error.Broken) return error.NoResources;
        socket.uses += 1;
        socket.waiting += 1;
        self.by_id[query.id] = query;
        self.begin(query, .datagram, query.level, now_ms);
    }

    /// Asks the same server the same question over TCP.
    pub fn askStream(self: *Upstream, query: *Query, now_ms: u64) AskError!void {
        std.debug.assert(query.state == .idle);
        const address = self.addressOf(query);
        const fd = try net.connect(self.options.bind_ip, self.reach, &address);
        errdefer net.close(fd);
        const stream = self.gpa.create(Stream) catch return error.NoResources;
        errdefer self.gpa.destroy(stream);
        stream.* = .{ .fd = fd, .query = query };
        query.id = self.random.random().int(u16);
        const request = self.writeRequest(query, stream.request[2..]);
        wire.write16(&stream.request, 0, @intCast(request.len));
        stream.request_length = 2 + request.len;
        if (!self.poll.watch(fd, net.stream_events, &stream.source)) return error.NoResources;
        query.stream = stream;
        self.begin(query, .stream, timers.stream, now_ms);
    }

    fn begin(self: *Upstream, query: *Query, state: Query.State, class: timers.Class, now_ms: u64) void {
        query.state = state;
        query.is_stream = state == .stream;
        query.sent_ms = now_ms;
        self.waiting += 1;
        self.timers.arm(&query.timer, class, now_ms);
        self.counters.add("upstream", 1);
    }

    /// Forgets a question; whatever still comes for it is not for us.
    pub fn end(self: *Upstream, query: *Query) void {
        switch (query.state) {
            .idle => return,
            .datagram => {
                self.by_id[query.id] = null;
                self.sockets[query.socket].waiting -= 1;
            },
            .stream => self.closeStream(query.stream.?),
        }
        query.state = .idle;
        query.stream = null;
        self.waiting -= 1;
        self.timers.disarm(&query.timer);
    }

    fn addressOf(self: *const Upstream, query: *const Query) net.Address {
        return .of(query.server, self.options.server_port, self.reach.family);
    }

    fn writeRequest(self: *const Upstream, query: *const Query, buffer: []u8) []u8 {
        const name = query.name.slice();
        @memset(buffer[0..wire.header_bytes], 0);
        wire.write16(buffer, 0, query.id);
        wire.write16(buffer, 4, 1);
        @memcpy(buffer[wire.header_bytes..][0..name.len], name);
        var at = wire.header_bytes + name.len;
        wire.write16(buffer, at, query.type);
        wire.write16(buffer, at + 2, wire.class_in);
        at += 4;
        if (!query.has_edns) return buffer[0..at];
        wire.write16(buffer, 10, 1);
        @memset(buffer[at..][0..wire.opt_bytes], 0);
        wire.write16(buffer, at + 1, wire.Type.opt);
        wire.write16(buffer, at + 3, self.options.edns_bytes);
        return buffer[0 .. at + wire.opt_bytes];
    }

    fn randomiseCase(self: *Upstream, name: *wire.Name) void {
        var bits: [wire.name_bytes_max / 8 + 1]u8 = undefined;
        self.random.fill(bits[0 .. @as(usize, name.length) / 8 + 1]);
        for (name.buffer[0..name.length], 0..) |*byte, i| {
            const is_flipped = bits[i / 8] >> @intCast(i % 8) & 1 != 0;
            if (is_flipped and std.ascii.isAlphabetic(byte.*)) byte.* ^= 0x20;
        }
    }

    fn pickId(self: *Upstream) ?u16 {
        for (0..random_id_attempts) |_| {
            const id = self.random.random().int(u16);
            if (self.by_id[id] == null) return id;
        }
        return null;
    }

    /// A new socket while the pool grows, then any; each has a random port, and gets a new one now and then.
    fn pickSocket(self: *Upstream) AskError!u16 {
        if (self.socket_count < sockets_max) {
            if (self.openSocket(self.socket_count)) {
                self.socket_count += 1;
                return self.socket_count - 1;
            } else |err| if (self.socket_count == 0) return err;
        }
        const index = self.random.random().uintLessThanBiased(u16, self.socket_count);
        const socket = &self.sockets[index];
        if (socket.uses >= uses_max and socket.waiting == 0) {
            const old_fd = socket.fd;
            self.openSocket(index) catch return index;
            net.close(old_fd);
        }
        return index;
    }

    fn openSocket(self: *Upstream, index: usize) AskError!void {
        const fd = try net.openAsking(self.options.bind_ip, self.reach);
        const socket = &self.sockets[index];
        const old = socket.*;
        socket.* = .{ .fd = fd };
        if (self.poll.watch(fd, net.socket_events, &socket.source)) return;
        socket.* = old;
        net.close(fd);
        return error.NoResources;
    }

    // --- what comes ---

    /// Something happened to a socket; `sink` has `onOutcome(query, outcome)`.
    pub fn onSocketEvent(self: *Upstream, source: *net.Source, events: u32, sink: anytype) void {
        const socket: *Socket = @fieldParentPtr("source", source);
        if (events & net.broken != 0) self.takeRefused(socket, sink);
        for (0..batches_per_turn) |_| {
            const count = self.batch.receive(socket.fd);
            for (0..count) |i| {
                const datagram = self.batch.taken(i);
                // More than we can take has to be asked for in another way, as if the server had said so.
                if (self.batch.isCut(i)) datagram[2] |= 0x02;
                self.takeDatagram(socket, datagram, &self.batch.addresses[i], sink);
            }
            if (count < batch_count) return;
        }
    }

    fn takeDatagram(self: *Upstream, socket: *Socket, datagram: []const u8, from: *const net.Address, sink: anytype) void {
        const query = self.findQuery(socket, datagram, from) orelse return self.counters.add("spoofed", 1);
        if (!isAnswerTo(query, datagram)) return self.counters.add("spoofed", 1);
        self.end(query);
        sink.onOutcome(query, .{ .reply = datagram });
    }

    /// The question that a datagram may belong to, by its id and where it came from and to.
    fn findQuery(self: *Upstream, socket: *const Socket, datagram: []const u8, address: *const net.Address) ?*Query {
        if (datagram.len < 2) return null;
        const query = self.by_id[wire.read16(datagram, 0)] orelse return null;
        const is_ours = &self.sockets[query.socket] == socket and address.port() == self.options.server_port and address.ip().eql(query.server);
        return if (is_ours) query else null;
    }

    /// Takes what came back because nobody listens there: no need to wait for an answer.
    fn takeRefused(self: *Upstream, socket: *Socket, sink: anytype) void {
        var buffer: [64]u8 = undefined;
        var address: net.Address = undefined;
        while (net.receiveRefused(socket.fd, &buffer, &address)) |start| {
            const query = self.findQuery(socket, start, &address) orelse continue;
            self.end(query);
            self.punish(query);
            sink.onOutcome(query, .refused);
        }
    }

    /// A question's time is over.
    pub fn onTimeout(self: *Upstream, query: *Query, sink: anytype) void {
        self.end(query);
        self.counters.add("timeouts", 1);
        self.punish(query);
        sink.onOutcome(query, .timeout);
    }

    // --- streams ---

    pub fn onStreamEvent(self: *Upstream, source: *net.Source, events: u32, sink: anytype) void {
        const stream: *Stream = @alignCast(@fieldParentPtr("source", source));
        const query = stream.query orelse return;
        if (self.advanceStream(stream, events)) |is_complete| {
            if (!is_complete) return;
        } else |_| {
            self.end(query);
            return sink.onOutcome(query, .refused);
        }
        // What is received lives on until the stream is reaped.
        const reply = stream.reply.items[2..];
        self.end(query);
        sink.onOutcome(query, if (isAnswerTo(query, reply)) .{ .reply = reply } else .refused);
    }

    /// Connects, sends and receives as far as it goes; true when the whole answer is there.
    fn advanceStream(self: *Upstream, stream: *Stream, events: u32) error{ WouldBlock, Broken, OutOfMemory }!bool {
        if (!stream.is_connected) {
            if (events & (linux.EPOLL.OUT | net.gone) == 0) return false;
            if (!net.isConnected(stream.fd)) return error.Broken;
            stream.is_connected = true;
        }
        while (stream.sent < stream.request_length) {
            stream.sent += net.send(stream.fd, stream.request[stream.sent..stream.request_length]) catch |err| return if (err == error.WouldBlock) false else err;
        }
        while (true) {
            const wanted = 2 + if (stream.reply.items.len < 2) 0 else @as(usize, wire.read16(stream.reply.items, 0));
            const have = stream.reply.items.len;
            if (have >= 2 and have == wanted) return true;
            try stream.reply.ensureTotalCapacityPrecise(self.gpa, wanted);
            const count = net.receive(stream.fd, stream.reply.allocatedSlice()[have..wanted]) catch |err| return if (err == error.WouldBlock) false else err;
            if (count == 0) return error.Broken;
            stream.reply.items.len += count;
        }
    }

    fn closeStream(self: *Upstream, stream: *Stream) void {
        stream.query = null;
        net.close(stream.fd);
        self.closed.append(&stream.node);
    }

    /// At the end of a round nobody knows closed streams any more.
    pub fn reap(self: *Upstream) void {
        while (self.closed.popFirst()) |node| {
            const stream: *Stream = @fieldParentPtr("node", node);
            stream.reply.deinit(self.gpa);
            self.gpa.destroy(stream);
        }
    }

    // --- what we know of servers ---

    fn infoOf(self: *Upstream, ip: net.Ip) *Info {
        const info = &self.infos[std.hash.Wyhash.hash(self.info_seed, &ip.bytes) % info_count];
        if (!info.ip.eql(ip)) info.* = .{ .ip = ip };
        return info;
    }

    /// How long a server takes; null if we do not know.
    pub fn roundTripMs(self: *Upstream, ip: net.Ip, now_ms: u64) ?u32 {
        const info = self.infoOf(ip);
        const age_ms = now_ms -| info.updated_ms;
        const is_forgotten = age_ms > Info.memory_ms or (info.round_trip_ms >= self.options.timeout_ms and age_ms > Info.penalty_ms);
        return if (info.updated_ms == 0 or is_forgotten) null else info.round_trip_ms;
    }

    /// The server of a question has answered.
    pub fn praise(self: *Upstream, query: *const Query, now_ms: u64) void {
        const info = self.infoOf(query.server);
        const taken_ms: u32 = @intCast(@min(now_ms -| query.sent_ms, Info.round_trip_max_ms));
        const before_ms = self.roundTripMs(query.server, now_ms) orelse taken_ms;
        info.round_trip_ms = @intCast((@as(u64, before_ms) * 7 + taken_ms) / 8);
        info.updated_ms = now_ms;
    }

    fn punish(self: *Upstream, query: *const Query) void {
        const info = self.infoOf(query.server);
        const least_ms: u32 = @intCast(@min(self.options.timeout_ms, Info.round_trip_max_ms));
        info.round_trip_ms = @min(@max(2 * info.round_trip_ms, least_ms), Info.round_trip_max_ms);
        info.updated_ms = query.sent_ms;
    }

    /// A server has understood us only without EDNS.
    pub fn markPlain(self: *Upstream, ip: net.Ip) void {
        self.infoOf(ip).is_plain = true;
    }
};

/// Whether a message answers a question. Servers that do not understand us may leave the question out.
fn isAnswerTo(query: *const Query, message: []const u8) bool {
    if (message.len < wire.header_bytes or wire.read16(message, 0) != query.id) return false;
    const is_reply = message[2] & 0x80 != 0;
    const is_query_code = message[2] & 0x78 == 0;
    if (!is_reply or !is_query_code) return false;
    const questions = wire.read16(message, 4);
    if (questions == 0) return message.len == wire.header_bytes and message[3] & 0x0f == wire.Rcode.formerr;
    const name = query.name.slice();
    const end = wire.header_bytes + name.len;
    if (questions != 1 or message.len < end + 4) return false;
    const echoed = message[wire.header_bytes..end];
    const is_same = if (query.is_case_random) std.mem.eql(u8, echoed, name) else wire.eql(echoed, name);
    return is_same and wire.read16(message, end) == query.type and wire.read16(message, end + 2) == wire.class_in;
}

test "only the answer to a question counts" {
    var query: Query = .{ .id = 0x1234, .name = .of("\x03wWw\x04test\x00"), .type = 1, .is_case_random = true };
    const good = "\x12\x34\x84\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03wWw\x04test\x00\x00\x01\x00\x01";
    try std.testing.expect(isAnswerTo(&query, good));
    const changes = [_]struct { usize, u8 }{ .{ 0, 0 }, .{ 2, 0x04 }, .{ 2, 0x88 }, .{ 5, 0 }, .{ 5, 2 }, .{ 14, 'w' }, .{ 12, 2 }, .{ 23, 2 }, .{ 25, 3 } };
    for (changes) |change| {
        var bad = good.*;
        try std.testing.expect(bad[change[0]] != change[1]);
        bad[change[0]] = change[1];
        try std.testing.expect(!isAnswerTo(&query, &bad));
    }
    for (0..good.len) |length| try std.testing.expect(!isAnswerTo(&query, good[0..length]));
    try std.testing.expect(isAnswerTo(&query, "\x12\x34\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00"));
    query.is_case_random = false;
    query.name = .of("\x03WWW\x04TEST\x00");
    try std.testing.expect(isAnswerTo(&query, good));
}

test "time to wait doubles up to a limit" {
    const options: Options = .{};
    for ([_]u64{ 400, 800, 1600, 3000, 3000 }, 0..) |expected, level| try std.testing.expectEqual(expected, Upstream.timeoutMs(&options, level));
    const slow: Options = .{ .timeout_ms = 5000 };
    try std.testing.expectEqual(5000, Upstream.timeoutMs(&slow, 3));
}
