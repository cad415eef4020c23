//! Sockets and the event loop.
//!
//! A turn of the loop reads from every client that has sent something, does all whole commands of what came, writes
//! the log once, and then the replies: one read and one write a client, however many commands it had sent. Replies
//! gather in a buffer of the client up to a bound; then no more of its commands are done until it has read them.
//!
//! With more than one thread each has a loop of its own and a share of the clients; the store is under one lock.

const std = @import("std");
const clock = @import("clock.zig");
const commands = @import("commands.zig");
const failure = @import("failure.zig");
const listener_file = @import("listener.zig");
const resp = @import("resp.zig");
const Engine = @import("engine.zig").Engine;
const Listener = listener_file.Listener;
const Session = @import("transactions.zig").Session;
const linux = std.os.linux;

/// What is read at a time from a client whose commands come whole.
const read_bytes = 64 << 10;
/// A client in the middle of a command has a buffer of its own, at least this large.
const own_input_bytes_min = 16 << 10;
/// Twice the largest argument.
const own_input_bytes_max = 1 << 30;
/// Replies that may wait before the commands of the client do.
const replies_bytes_max = 256 << 10;
const reply_buffer_bytes = 16 << 10;
const kept_reply_buffer_bytes = 512 << 10;
const kept_reply_buffers_max = 64;
const events_max = 256;
const accepts_per_turn = 64;
const tick_ms = 100;
/// While there is a backlog of expired keys or of things to free.
const busy_tick_ms = 4;

/// What an event is about, if it is not a client.
const Tag = enum(u64) { wake, signal, _ };
const first_listener_tag = 2;
/// Addresses of clients are above this.
const tags_max = 4096;

const Client = struct {
    session: Session,
    worker: *Worker,
    fd: i32,
    /// Has a buffer only while a command is unfinished.
    input: resp.Input,
    replies: resp.Writer,
    sent: usize = 0,
    /// What epoll watches for.
    interest: u32 = linux.EPOLL.IN,
    /// Its input has commands that wait until it has read its replies.
    has_more: bool = false,
    is_queued: bool = false,
    is_replying: bool = false,
    is_closed: bool = false,
    addresses: [2][listener_file.address_chars_max]u8 = undefined,

    fn of(session: *Session) *Client {
        return @alignCast(@fieldParentPtr("session", session));
    }
};

/// Where in the replies of a client the answer to a write is, to take it back if the log fails.
const Mark = struct { client: *Client, start: usize, end: usize };

pub const Server = struct {
    gpa: std.mem.Allocator,
    io: std.Io,
    engine: *Engine,
    listeners: []const Listener,
    workers: []Worker,
    mutex: std.Io.Mutex = .init,
    signal_fd: i32,
    next_worker: usize = 0,
    is_draining: std.atomic.Value(bool) = .init(false),
    drain_deadline_ms: i64 = 0,

    pub fn init(gpa: std.mem.Allocator, io: std.Io, engine: *Engine, listeners: []const Listener, why: *failure.Failure) failure.Error!*Server {
        const self = try gpa.create(Server);
        self.* = .{
            .gpa = gpa,
            .io = io,
            .engine = engine,
            .listeners = listeners,
            .workers = try gpa.alloc(Worker, engine.options.threads),
            .signal_fd = try openSignals(why),
        };
        for (self.workers) |*worker| worker.* = try .init(self, why);
        try self.workers[0].watch(self.signal_fd, @backingInt(Tag.signal), why);
        for (listeners, 0..) |*listener, i| try self.workers[0].watch(listener.fd, first_listener_tag + i, why);
        return self;
    }

    /// Serves until a signal or SHUTDOWN, and until what is in flight then is done.
    pub fn run(self: *Server, why: *failure.Failure) failure.Error!void {
        const threads = try self.gpa.alloc(std.Thread, self.workers.len - 1);
        for (threads, self.workers[1..]) |*thread, *worker| {
            thread.* = std.Thread.spawn(.{ .stack_size = 1 << 20 }, Worker.run, .{worker}) catch |err|
                return why.machine("cannot start a thread: {t}", .{err});
        }
        self.workers[0].run();
        for (threads) |thread| thread.join();
    }

    fn lock(self: *Server) void {
        if (self.workers.len > 1) self.mutex.lockUncancelable(self.io);
    }

    fn unlock(self: *Server) void {
        if (self.workers.len > 1) self.mutex.unlock(self.io);
    }

    fn beginDrain(self: *Server) void {
        if (self.is_draining.load(.acquire)) return;
        self.drain_deadline_ms = clock.steadyMilliseconds() + @as(i64, self.engine.options.drain_seconds) * std.time.ms_per_s;
        if (self.is_draining.swap(true, .acq_rel)) return; // another thread was faster
        for (self.listeners) |*listener| listener.close();
        // From now on a signal does what it does by default: it ends us at once.
        var signals = endSignals();
        _ = linux.sigprocmask(linux.SIG.UNBLOCK, &signals, null);
        for (self.workers) |*worker| worker.wake();
    }
};

fn endSignals() linux.sigset_t {
    var set = linux.sigemptyset();
    linux.sigaddset(&set, .TERM);
    linux.sigaddset(&set, .INT);
    return set;
}

/// The signals that end us, as a file; all threads inherit that they do nothing else.
fn openSignals(why: *failure.Failure) failure.Error!i32 {
    const default: linux.Sigaction = .{ .handler = .{ .handler = linux.SIG.DFL }, .mask = linux.sigemptyset(), .flags = 0 };
    _ = linux.sigaction(.TERM, &default, null);
    _ = linux.sigaction(.INT, &default, null);
    const set = endSignals();
    _ = linux.sigprocmask(linux.SIG.BLOCK, &set, null);
    const opened = linux.signalfd(-1, &set, linux.SFD.CLOEXEC | linux.SFD.NONBLOCK);
    if (linux.errno(opened) != .SUCCESS) return why.machine("signalfd: {s}", .{failure.reason(linux.errno(opened))});
    return @intCast(opened);
}

const Worker = struct {
    server: *Server,
    engine: *Engine,
    gpa: std.mem.Allocator,
    epoll_fd: i32,
    wake_fd: i32,
    /// What all clients read into that are not in the middle of a command.
    input: resp.Input,
    /// Clients whose input has commands although nothing new came.
    queued: std.ArrayList(*Client) = .empty,
    /// Clients whose replies leave when the log is written.
    replying: std.ArrayList(*Client) = .empty,
    closed: std.ArrayList(*Client) = .empty,
    marks: std.ArrayList(Mark) = .empty,
    buffers: std.ArrayList([]u8) = .empty,
    /// The time of this turn, on the clock of expiry and on the one of intervals.
    now_ms: i64 = 0,
    steady_ms: i64 = 0,
    next_tick_ms: i64 = 0,
    accepts: bool = true,

    fn init(server: *Server, why: *failure.Failure) failure.Error!Worker {
        const epoll = linux.epoll_create1(linux.EPOLL.CLOEXEC);
        if (linux.errno(epoll) != .SUCCESS) return why.machine("epoll: {s}", .{failure.reason(linux.errno(epoll))});
        const event = linux.eventfd(0, linux.EFD.CLOEXEC | linux.EFD.NONBLOCK);
        if (linux.errno(event) != .SUCCESS) return why.machine("eventfd: {s}", .{failure.reason(linux.errno(event))});
        var self: Worker = .{
            .server = server,
            .engine = server.engine,
            .gpa = server.gpa,
            .epoll_fd = @intCast(epoll),
            .wake_fd = @intCast(event),
            .input = .init(server.gpa),
        };
        try self.watch(self.wake_fd, @backingInt(Tag.wake), why);
        return self;
    }

    fn watch(self: *Worker, fd: i32, tag: u64, why: *failure.Failure) failure.Error!void {
        var event: linux.epoll_event = .{ .events = linux.EPOLL.IN, .data = .{ .u64 = tag } };
        const code = linux.errno(linux.epoll_ctl(self.epoll_fd, linux.EPOLL.CTL_ADD, fd, &event));
        if (code != .SUCCESS) return why.machine("epoll: {s}", .{failure.reason(code)});
    }

    fn wake(self: *Worker) void {
        const one: u64 = 1;
        _ = linux.write(self.wake_fd, std.mem.asBytes(&one), 8);
    }

    fn isFirst(self: *const Worker) bool {
        return self == &self.server.workers[0];
    }

    // --- The loop -------------------------------------------------------------------------

    fn run(self: *Worker) void {
        while (!self.server.is_draining.load(.acquire)) {
            self.turn(self.waitMilliseconds());
            if (self.isFirst()) self.tickIfDue();
        }
        self.drain();
    }

    fn waitMilliseconds(self: *const Worker) i32 {
        if (self.queued.items.len != 0) return 0;
        if (!self.isFirst()) return -1;
        return @intCast(std.math.clamp(self.next_tick_ms - self.steady_ms, 0, tick_ms));
    }

    fn turn(self: *Worker, wait_ms: i32) void {
        var events: [events_max]linux.epoll_event = undefined;
        const waited = linux.epoll_wait(self.epoll_fd, &events, events.len, wait_ms);
        self.now_ms = clock.wallMilliseconds();
        self.steady_ms = clock.steadyMilliseconds();
        const count = if (linux.errno(waited) == .SUCCESS) waited else 0; // interrupted
        // Those that waited since the last turn come first.
        const waiting = self.queued.items.len;
        for (0..waiting) |i| self.serveQueued(self.queued.items[i]);
        self.queued.replaceRangeAssumeCapacity(0, waiting, &.{});
        for (events[0..count]) |*event| self.handle(event);
        self.endTurn();
    }

    fn handle(self: *Worker, event: *const linux.epoll_event) void {
        const tag = event.data.u64;
        if (tag >= tags_max) {
            const client: *Client = @ptrFromInt(tag);
            if (client.is_closed) return;
            if (client.interest & linux.EPOLL.OUT != 0) return self.send(client);
            // What came before is not done yet; to read more would only fill memory.
            if (!client.has_more) _ = self.receiveSome(client);
            return;
        }
        switch (@as(Tag, @fromBackingInt(tag))) {
            .wake => drainEvent(self.wake_fd),
            .signal => {
                // The signal must be taken, or it would end us as soon as it is unblocked.
                var info: [@sizeOf(linux.signalfd_siginfo)]u8 = undefined;
                _ = linux.read(self.server.signal_fd, &info, info.len);
                self.server.beginDrain();
            },
            else => self.accept(&self.server.listeners[tag - first_listener_tag]),
        }
    }

    fn drainEvent(fd: i32) void {
        var count: u64 = 0;
        _ = linux.read(fd, std.mem.asBytes(&count), 8);
    }

    /// Writes the log, then the replies that waited for it.
    fn endTurn(self: *Worker) void {
        if (self.replying.items.len != 0) {
            self.server.lock();
            const failed = self.flushLog();
            self.server.unlock();
            if (failed) |code| self.takeBack(code);
            for (self.replying.items) |client| {
                client.is_replying = false;
                if (!client.is_closed) self.send(client);
            }
            self.replying.clearRetainingCapacity();
        }
        self.marks.clearRetainingCapacity();
        for (self.closed.items) |client| self.free(client);
        self.closed.clearRetainingCapacity();
        if (self.engine.is_stopping) self.server.beginDrain();
    }

    fn flushLog(self: *Worker) ?linux.E {
        const log = self.engine.log orelse return null;
        log.flush();
        return log.failed;
    }

    fn tickIfDue(self: *Worker) void {
        if (self.steady_ms < self.next_tick_ms) return;
        self.server.lock();
        defer self.server.unlock();
        self.engine.store.setTime(self.now_ms);
        const is_busy = self.engine.tidy();
        self.next_tick_ms = self.steady_ms + @as(i64, if (is_busy) busy_tick_ms else tick_ms);
        if (self.engine.log) |log| log.tick(self.steady_ms);
        if (!self.accepts) self.resumeAccepting();
    }

    // --- Clients come and go --------------------------------------------------------------

    fn accept(self: *Worker, listener: *const Listener) void {
        for (0..accepts_per_turn) |_| {
            var address: linux.sockaddr.storage = undefined;
            var length: linux.socklen_t = @sizeOf(linux.sockaddr.storage);
            const accepted = linux.accept4(listener.fd, @ptrCast(&address), &length, linux.SOCK.NONBLOCK | linux.SOCK.CLOEXEC);
            switch (linux.errno(accepted)) {
                .SUCCESS => self.welcome(@intCast(accepted), listener, @ptrCast(&address)),
                .INTR, .CONNABORTED => {},
                .MFILE, .NFILE, .NOBUFS, .NOMEM => return self.pauseAccepting(),
                else => return,
            }
        }
    }

    /// Without files for more clients, those that wait would wake us without end.
    fn pauseAccepting(self: *Worker) void {
        for (self.server.listeners) |*listener| _ = linux.epoll_ctl(self.epoll_fd, linux.EPOLL.CTL_DEL, listener.fd, null);
        self.accepts = false;
    }

    fn resumeAccepting(self: *Worker) void {
        self.accepts = true;
        var why: failure.Failure = .{};
        for (self.server.listeners, 0..) |*listener, i| self.watch(listener.fd, first_listener_tag + i, &why) catch {};
    }

    fn welcome(self: *Worker, fd: i32, listener: *const Listener, address: *const linux.sockaddr) void {
        self.server.lock();
        defer self.server.unlock();
        if (self.engine.session_count >= self.engine.options.clients_max) {
            self.engine.stats.rejected += 1;
            const text = "-ERR max number of clients reached\r\n";
            _ = linux.sendto(fd, text, text.len, linux.MSG.NOSIGNAL, null, 0);
            _ = linux.close(fd);
            return;
        }
        self.add(fd, listener, address) catch {
            _ = linux.close(fd);
        };
    }

    fn add(self: *Worker, fd: i32, listener: *const Listener, address: *const linux.sockaddr) error{ OutOfMemory, NotWatched }!void {
        const on: c_int = 1;
        if (listener.unix_path == null) _ = linux.setsockopt(fd, linux.IPPROTO.TCP, linux.TCP.NODELAY, std.mem.asBytes(&on), @sizeOf(c_int));
        const server = self.server;
        const worker = &server.workers[server.next_worker];
        server.next_worker = (server.next_worker + 1) % server.workers.len;
        const client = try self.gpa.create(Client);
        errdefer self.gpa.destroy(client);
        client.* = .{
            .session = .{ .engine = self.engine, .fd = fd, .created_ms = self.now_ms, .used_ms = self.now_ms },
            .worker = worker,
            .fd = fd,
            .input = .init(self.gpa),
            .replies = .{ .gpa = self.gpa },
        };
        if (listener.unix_path) |path| {
            client.session.address = path;
            client.session.local_address = path;
        } else {
            client.session.address = listener_file.describe(address, &client.addresses[0]).text;
            client.session.local_address = listener.name;
        }
        self.engine.addSession(&client.session);
        errdefer self.engine.removeSession(&client.session);
        var event: linux.epoll_event = .{ .events = linux.EPOLL.IN, .data = .{ .u64 = @intFromPtr(client) } };
        if (linux.errno(linux.epoll_ctl(worker.epoll_fd, linux.EPOLL.CTL_ADD, fd, &event)) != .SUCCESS) return error.NotWatched;
    }

    /// Ends a connection. The client itself stays until the end of the turn, for events may point to it.
    fn close(self: *Worker, client: *Client) void {
        if (client.is_closed) return;
        client.is_closed = true;
        // A child that rewrites the log may hold the socket open for a moment, and would keep it in epoll.
        _ = linux.epoll_ctl(self.epoll_fd, linux.EPOLL.CTL_DEL, client.fd, null);
        _ = linux.close(client.fd);
        self.server.lock();
        self.engine.removeSession(&client.session);
        self.server.unlock();
        self.closed.append(self.gpa, client) catch {}; // then its memory is lost, which is the lesser evil
    }

    fn free(self: *Worker, client: *Client) void {
        client.input.deinit();
        self.releaseBuffer(client);
        for (self.queued.items, 0..) |other, i| if (other == client) {
            _ = self.queued.swapRemove(i);
            break;
        };
        self.gpa.destroy(client);
    }

    fn setInterest(self: *Worker, client: *Client, interest: u32) void {
        if (client.interest == interest) return;
        client.interest = interest;
        var event: linux.epoll_event = .{ .events = interest, .data = .{ .u64 = @intFromPtr(client) } };
        if (linux.errno(linux.epoll_ctl(self.epoll_fd, linux.EPOLL.CTL_MOD, client.fd, &event)) != .SUCCESS) self.close(client);
    }

    // --- Reading and doing ----------------------------------------------------------------

    /// Reads once and does what came. False if there was nothing to read.
    fn receiveSome(self: *Worker, client: *Client) bool {
        const has_own = client.input.buffer.len != 0;
        const input = if (has_own) &client.input else &self.input;
        const least: usize = if (has_own) own_input_bytes_min / 4 else read_bytes;
        const room = input.spare(least, own_input_bytes_max) catch {
            self.close(client);
            return false;
        };
        const got = linux.read(client.fd, room.ptr, room.len);
        switch (linux.errno(got)) {
            .SUCCESS => {},
            .AGAIN, .INTR => return false,
            else => {
                self.close(client);
                return false;
            },
        }
        if (got == 0) {
            // Replies that wait for the log leave first; the end of the input is told again.
            if (!client.is_replying) self.close(client);
            return false;
        }
        input.filled += got;
        self.serve(client, input);
        return true;
    }

    /// Goes on with commands that were left when the client had too many replies to read.
    fn serveQueued(self: *Worker, client: *Client) void {
        client.is_queued = false;
        if (!client.is_closed and client.replies.bytes.items.len == 0) self.serve(client, &client.input);
    }

    fn serve(self: *Worker, client: *Client, input: *resp.Input) void {
        self.takeBuffer(client) catch return self.close(client);
        self.server.lock();
        self.engine.store.setTime(self.now_ms);
        client.session.used_ms = self.now_ms;
        const done = self.doCommands(client, input);
        self.server.unlock();
        done catch return self.close(client);
        self.keepRest(client, input) catch return self.close(client);
        if (client.replies.bytes.items.len == 0) {
            self.releaseBuffer(client);
            if (client.session.is_closing) self.close(client);
        } else if (self.engine.log == null) {
            self.send(client);
        } else if (!client.is_replying) {
            client.is_replying = true;
            self.replying.append(self.gpa, client) catch self.close(client);
        }
    }

    /// Does commands until there are no more, or enough replies.
    fn doCommands(self: *Worker, client: *Client, input: *resp.Input) error{OutOfMemory}!void {
        const replies = &client.replies.bytes;
        var batch: [resp.batch_max]resp.Command = undefined;
        client.has_more = false;
        while (!client.session.is_closing) {
            if (replies.items.len >= replies_bytes_max) {
                client.has_more = !input.isEmpty();
                return;
            }
            const count = input.nextBatch(&batch) catch |err| switch (err) {
                error.OutOfMemory => |e| return e,
                error.Protocol => return refuseInput(client, input.reader.failure),
            };
            if (count == 0) return;
            if (count > 1) self.engine.store.prefetch(batch[0..count]);
            for (batch[0..count], 0..) |request, i| {
                if (i != 0 and (client.session.is_closing or replies.items.len >= replies_bytes_max)) {
                    input.reader.rewind(request);
                    break;
                }
                const start = replies.items.len;
                const has_changed = try commands.process(self.engine, &client.session, request, &client.replies);
                if (has_changed and self.engine.log != null) try self.marks.append(self.gpa, .{ .client = client, .start = start, .end = replies.items.len });
            }
        }
    }

    fn refuseInput(client: *Client, what: []const u8) error{OutOfMemory}!void {
        var buffer: [128]u8 = undefined;
        try client.replies.failure(std.fmt.bufPrint(&buffer, "ERR Protocol error: {s}", .{what}) catch unreachable);
        client.session.is_closing = true;
    }

    /// What is unfinished moves into a buffer of the client; when nothing is, it needs none.
    fn keepRest(self: *Worker, client: *Client, input: *resp.Input) error{OutOfMemory}!void {
        if (client.session.is_closing) {
            if (input == &self.input) self.input.abandon();
            client.has_more = false;
        } else if (input == &self.input) {
            if (!input.isEmpty()) try input.moveTo(&client.input, own_input_bytes_min);
        } else if (input.isEmpty()) {
            input.deinit();
        }
    }

    // --- Replies --------------------------------------------------------------------------

    fn takeBuffer(self: *Worker, client: *Client) error{OutOfMemory}!void {
        if (client.replies.bytes.capacity != 0) return;
        const buffer = self.buffers.pop() orelse try self.gpa.alloc(u8, reply_buffer_bytes);
        client.replies.bytes = .initBuffer(buffer);
    }

    fn releaseBuffer(self: *Worker, client: *Client) void {
        const buffer = client.replies.bytes.allocatedSlice();
        client.replies.bytes = .empty;
        client.sent = 0;
        if (buffer.len == 0) return;
        if (buffer.len <= kept_reply_buffer_bytes and self.buffers.items.len < kept_reply_buffers_max) {
            if (self.buffers.append(self.gpa, buffer)) |_| return else |_| {}
        }
        self.gpa.free(buffer);
    }

    /// Sends what the socket takes; what it does not take waits until it does.
    fn send(self: *Worker, client: *Client) void {
        const bytes = client.replies.bytes.items[client.sent..];
        const sent = linux.sendto(client.fd, bytes.ptr, bytes.len, linux.MSG.NOSIGNAL, null, 0);
        switch (linux.errno(sent)) {
            .SUCCESS => client.sent += sent,
            .AGAIN, .INTR => {},
            else => return self.close(client),
        }
        if (client.sent < client.replies.bytes.items.len) return self.setInterest(client, linux.EPOLL.OUT);
        self.releaseBuffer(client);
        if (client.session.is_closing) return self.close(client);
        self.setInterest(client, linux.EPOLL.IN);
        if (client.has_more and !client.is_queued and !client.is_closed) {
            client.is_queued = true;
            self.queued.append(self.gpa, client) catch self.close(client);
        }
    }

    /// The log could not be written: clients whose changes are not in it are told so, in the place of each reply.
    fn takeBack(self: *Worker, code: linux.E) void {
        var buffer: [128]u8 = undefined;
        const text = std.fmt.bufPrint(&buffer, "-MISCONF Errors writing to the AOF file: {s}\r\n", .{failure.reason(code)}) catch unreachable;
        // From the last to the first, so that places before stay as they are.
        for (0..self.marks.items.len) |i| {
            const mark = self.marks.items[self.marks.items.len - 1 - i];
            if (mark.client.is_closed) continue;
            mark.client.replies.bytes.replaceRange(self.gpa, mark.start, mark.end - mark.start, text) catch self.close(mark.client);
        }
    }

    // --- The end --------------------------------------------------------------------------

    /// Does what clients have sent so far and sends the replies; ends those that are done, and all at the deadline.
    fn drain(self: *Worker) void {
        self.now_ms = clock.wallMilliseconds();
        self.eachClient(drainClient);
        self.endTurn();
        var wait_ms: i64 = 0;
        while (self.hasClients()) {
            self.turn(@intCast(wait_ms));
            self.eachClient(closeIfDone);
            self.endTurn();
            const left_ms = self.server.drain_deadline_ms - clock.steadyMilliseconds();
            if (left_ms <= 0) break;
            wait_ms = if (self.queued.items.len != 0) 0 else @min(left_ms, tick_ms);
        }
        self.eachClient(close);
        self.endTurn();
    }

    fn drainClient(self: *Worker, client: *Client) void {
        while (!client.is_closed and client.replies.bytes.items.len == 0 and !client.has_more) {
            if (!self.receiveSome(client)) break;
        }
        self.closeIfDone(client);
    }

    fn closeIfDone(self: *Worker, client: *Client) void {
        if (!client.is_closed and client.replies.bytes.items.len == 0 and !client.has_more) self.close(client);
    }

    fn eachClient(self: *Worker, comptime act: fn (*Worker, *Client) void) void {
        var node = self.nextClient(null);
        while (node) |client| {
            const next = self.nextClient(client);
            act(self, client);
            node = next;
        }
    }

    fn hasClients(self: *Worker) bool {
        return self.nextClient(null) != null;
    }

    /// The next client of this worker in the list of all.
    fn nextClient(self: *Worker, after: ?*Client) ?*Client {
        self.server.lock();
        defer self.server.unlock();
        var node = if (after) |client| client.session.node.next else self.engine.sessions.first;
        while (node) |at| : (node = at.next) {
            const client: *Client = .of(@alignCast(@fieldParentPtr("node", at)));
            if (client.worker == self) return client;
        }
        return null;
    }
};
