//! The append-only file: every change as a command, written once a turn of the event loop, before the replies leave.
//!
//! With `always` that write is synced before the replies leave, one sync for all clients of the turn; with `everysec` a
//! second thread syncs once a second. A rewrite forks: the child writes what it sees of the memory into a new file while
//! the parent goes on serving; then the parent adds what was logged meanwhile and renames the file into place.

const std = @import("std");
const builtin = @import("builtin");
const commands = @import("commands.zig");
const failure = @import("failure.zig");
const numbers = @import("numbers.zig");
const resp = @import("resp.zig");
const store_file = @import("store.zig");
const transactions = @import("transactions.zig");
const collections = @import("collections.zig");
const Engine = @import("engine.zig").Engine;
const List = @import("quicklist.zig").List;
const Options = @import("options.zig").Options;
const SortedSet = @import("sorted.zig").SortedSet;
const Store = store_file.Store;
const linux = std.os.linux;

const block_bytes = 1 << 20;
/// A buffer that has grown beyond this is given back when it is empty.
const kept_buffer_bytes = 4 << 20;
/// So many elements of a collection share a command of a rewritten file.
const items_per_command = 64;

pub const Log = struct {
    gpa: std.mem.Allocator,
    options: *const Options,
    path: [:0]const u8,
    fd: i32,
    /// What is not in the file yet.
    pending: resp.Writer,
    /// Bytes of the file, all of them whole commands.
    size: u64 = 0,
    /// Why the last write or sync failed; writes of clients are refused until one succeeds.
    failed: ?linux.E = null,
    /// A command was lost, or a sync failed and nobody knows what reached the disk: only a rewrite helps.
    needs_rewrite: bool = false,
    has_unsynced: bool = false,
    syncs: u64 = 0,
    last_sync_ms: i64 = 0,
    syncer: Syncer = .{},
    rewrite: ?Rewrite = null,
    last_rewrite_failed: bool = false,

    const Rewrite = struct {
        pid: linux.pid_t,
        fd: i32,
        path: [:0]const u8,
        /// Where the commands start in the old file that the child does not know of.
        tail_start: u64,
    };

    /// Opens the file, creating it if it is not there.
    pub fn open(gpa: std.mem.Allocator, options: *const Options, path: [:0]const u8, why: *failure.Failure) failure.Error!Log {
        const fd = try openFile(path, .{ .ACCMODE = .RDWR, .CREAT = true, .APPEND = true, .CLOEXEC = true }, why);
        syncFolderOf(path);
        return .{ .gpa = gpa, .options = options, .path = path, .fd = fd, .pending = .{ .gpa = gpa } };
    }

    /// Replays the file into an engine and cuts a torn command off its end.
    pub fn load(self: *Log, engine: *Engine, why: *failure.Failure) failure.Error!void {
        // What expired or was evicted is in the file as DEL.
        engine.store.is_replaying = true;
        defer engine.store.is_replaying = false;
        const memory_max = engine.store.memory_max;
        engine.store.memory_max = 0;
        defer engine.store.memory_max = memory_max;
        const found = try scan(self.gpa, self.fd, self.path, engine, why);
        engine.is_stopping = false;
        engine.stats = .{};
        engine.store.stats = .{};
        self.size = found.end;
        if (found.torn_bytes == 0) return;
        const code = linux.errno(linux.ftruncate(self.fd, @intCast(found.end)));
        if (code != .SUCCESS) return why.machine("{f}: cannot cut an unfinished command: {s}", .{ failure.escaped(self.path), failure.reason(code) });
        failure.report("{f}: cut {d} bytes of an unfinished command at byte {d}", .{ failure.escaped(self.path), found.torn_bytes, found.end });
    }

    /// The last write and sync. False if something is not on the disk.
    pub fn close(self: *Log) bool {
        self.flush();
        self.syncer.stop();
        if (self.options.fsync != .no and self.has_unsynced) self.syncNow();
        if (self.rewrite) |running| {
            _ = linux.kill(running.pid, .KILL);
            self.dropRewrite(running);
        }
        _ = linux.close(self.fd);
        self.pending.bytes.deinit(self.gpa);
        return self.failed == null;
    }

    // --- Writing --------------------------------------------------------------------------

    pub fn append(self: *Log, args: []const []const u8) void {
        const start = self.pending.bytes.items.len;
        self.pending.command(args) catch self.forget(start);
    }

    pub fn appendRaw(self: *Log, raw: []const u8) void {
        const start = self.pending.bytes.items.len;
        self.pending.raw(raw) catch self.forget(start);
    }

    /// There was no memory for a command.
    fn forget(self: *Log, start: usize) void {
        self.pending.bytes.shrinkRetainingCapacity(start);
        self.needs_rewrite = true;
        self.fail(.NOMEM);
    }

    fn fail(self: *Log, code: linux.E) void {
        if (self.failed == null) failure.report("{f}: {s}; writes are refused", .{ failure.escaped(self.path), failure.reason(code) });
        self.failed = code;
    }

    fn recover(self: *Log) void {
        if (self.failed != null) failure.report("{f}: writes are taken again", .{failure.escaped(self.path)});
        self.failed = null;
    }

    /// Writes what is pending, and syncs it if replies must wait for that. `failed` tells how it went.
    pub fn flush(self: *Log) void {
        if (self.needs_rewrite) return;
        const bytes = self.pending.bytes.items;
        if (bytes.len == 0) return;
        const written = writeSome(self.fd, bytes);
        if (written.code != .SUCCESS) return self.undo(written.bytes, written.code);
        self.size += bytes.len;
        self.pending.bytes.clearRetainingCapacity();
        if (self.pending.bytes.capacity > kept_buffer_bytes) self.pending.bytes.clearAndFree(self.gpa);
        self.has_unsynced = true;
        if (self.options.fsync == .always) self.syncNow();
        if (!self.needs_rewrite) self.recover();
    }

    /// Takes back a part of a write, so that the file ends with a whole command; all of it is tried again later.
    fn undo(self: *Log, written_bytes: usize, code: linux.E) void {
        if (written_bytes != 0 and linux.errno(linux.ftruncate(self.fd, @intCast(self.size))) != .SUCCESS) {
            // What is there stays, and the next write goes on behind it.
            self.size += written_bytes;
            self.pending.bytes.replaceRangeAssumeCapacity(0, written_bytes, "");
        }
        self.fail(code);
    }

    fn syncNow(self: *Log) void {
        self.noteSync(linux.errno(linux.fdatasync(self.fd)));
    }

    fn noteSync(self: *Log, code: linux.E) void {
        self.has_unsynced = false;
        self.syncs += 1;
        switch (code) {
            // Devices and pipes cannot be synced.
            .SUCCESS, .INVAL, .ROFS => {},
            else => {
                self.needs_rewrite = true;
                self.fail(code);
            },
        }
    }

    /// Called some times a second.
    pub fn tick(self: *Log, now_ms: i64) void {
        self.flush();
        if (self.syncer.takeResult()) |code| self.noteSync(code);
        if (self.options.fsync == .everysec and self.has_unsynced and now_ms - self.last_sync_ms >= std.time.ms_per_s and !self.syncer.isBusy()) {
            self.last_sync_ms = now_ms;
            self.has_unsynced = false;
            self.syncer.start(self.fd) catch self.syncNow();
        }
        self.pollRewrite();
    }

    // --- Rewriting ------------------------------------------------------------------------

    pub fn startRewrite(self: *Log, store: *Store) error{ InProgress, Failed }!void {
        if (self.rewrite != null) return error.InProgress;
        self.flush();
        // While the disk refuses writes, the child would see commands that the file gets later.
        if (self.failed) |code| if (!self.needs_rewrite) return self.refuseRewrite("the log", code);
        const path = std.fmt.allocPrintSentinel(self.gpa, "{s}.rewrite", .{self.path}, 0) catch return error.Failed;
        errdefer self.gpa.free(path);
        const opened = linux.open(path, .{ .ACCMODE = .RDWR, .CREAT = true, .TRUNC = true, .APPEND = true, .CLOEXEC = true }, 0o644);
        if (linux.errno(opened) != .SUCCESS) return self.refuseRewrite(path, linux.errno(opened));
        const fd: i32 = @intCast(opened);
        errdefer _ = linux.close(fd);
        const forked = linux.fork();
        if (linux.errno(forked) != .SUCCESS) return self.refuseRewrite("fork", linux.errno(forked));
        if (forked == 0) runChild(store, fd);
        // What is pending now could not be logged, but the child sees it.
        if (self.needs_rewrite) self.pending.bytes.clearRetainingCapacity();
        self.rewrite = .{ .pid = @intCast(forked), .fd = fd, .path = path, .tail_start = self.size };
    }

    fn refuseRewrite(_: *const Log, what: []const u8, code: linux.E) error{Failed} {
        failure.report("rewrite of the log: {f}: {s}", .{ failure.escaped(what), failure.reason(code) });
        return error.Failed;
    }

    fn pollRewrite(self: *Log) void {
        const running = self.rewrite orelse return;
        var status: i32 = 0;
        const waited = linux.waitpid(running.pid, &status, linux.W.NOHANG);
        if (linux.errno(waited) == .SUCCESS and waited == 0) return;
        const ended: u32 = @bitCast(status);
        const succeeded = linux.errno(waited) == .SUCCESS and linux.W.IFEXITED(ended) and linux.W.EXITSTATUS(ended) == 0;
        self.last_rewrite_failed = true;
        if (succeeded) {
            if (self.finishRewrite(running)) |_| self.last_rewrite_failed = false else |_| {}
        } else {
            failure.report("rewrite of the log: the child failed", .{});
        }
        if (self.last_rewrite_failed) self.dropRewrite(running) else self.gpa.free(running.path);
        self.rewrite = null;
    }

    fn dropRewrite(self: *Log, running: Rewrite) void {
        _ = linux.unlink(running.path);
        _ = linux.close(running.fd);
        self.gpa.free(running.path);
    }

    /// Adds to the child's file what was logged since the fork, and puts it in the place of the old one.
    fn finishRewrite(self: *Log, running: Rewrite) error{Failed}!void {
        self.flush();
        if (self.failed) |code| if (!self.needs_rewrite) return self.refuseRewrite("the log", code);
        try self.copyTail(running);
        if (self.needs_rewrite) {
            const written = writeSome(running.fd, self.pending.bytes.items);
            if (written.code != .SUCCESS) return self.refuseRewrite(running.path, written.code);
        }
        try self.expectSuccess(running.path, linux.fdatasync(running.fd));
        try self.expectSuccess(self.path, linux.rename(running.path, self.path));
        syncFolderOf(self.path);
        self.syncer.waitUntilIdle();
        _ = self.syncer.takeResult();
        _ = linux.close(self.fd);
        self.fd = running.fd;
        self.size = linux.lseek(running.fd, 0, linux.SEEK.END);
        self.has_unsynced = false;
        if (self.needs_rewrite) self.pending.bytes.clearRetainingCapacity();
        self.needs_rewrite = false;
        self.recover();
    }

    fn expectSuccess(self: *const Log, what: []const u8, result: usize) error{Failed}!void {
        const code = linux.errno(result);
        if (code != .SUCCESS) return self.refuseRewrite(what, code);
    }

    fn copyTail(self: *const Log, running: Rewrite) error{Failed}!void {
        const buffer = self.gpa.alloc(u8, block_bytes) catch return error.Failed;
        defer self.gpa.free(buffer);
        var at = running.tail_start;
        while (at < self.size) {
            const got = linux.pread(self.fd, buffer.ptr, @min(buffer.len, self.size - at), @intCast(at));
            try self.expectSuccess(self.path, got);
            if (got == 0) return self.refuseRewrite(self.path, .IO);
            const written = writeSome(running.fd, buffer[0..got]);
            if (written.code != .SUCCESS) return self.refuseRewrite(running.path, written.code);
            at += got;
        }
    }
};

fn openFile(path: [:0]const u8, flags: linux.O, why: *failure.Failure) failure.Error!i32 {
    const opened = linux.open(path, flags, 0o644);
    const code = linux.errno(opened);
    if (code != .SUCCESS) return why.bad("{f}: {s}", .{ failure.escaped(path), failure.reason(code) });
    return @intCast(opened);
}

fn writeSome(fd: i32, bytes: []const u8) struct { bytes: usize, code: linux.E } {
    var done: usize = 0;
    while (done < bytes.len) {
        const written = linux.write(fd, bytes.ptr + done, bytes.len - done);
        switch (linux.errno(written)) {
            .SUCCESS => done += written,
            .INTR => {},
            else => |code| return .{ .bytes = done, .code = code },
        }
    }
    return .{ .bytes = done, .code = .SUCCESS };
}

/// A new name is only safe when its folder is synced. Not all file systems can; then there is nothing to do.
fn syncFolderOf(path: []const u8) void {
    var buffer: [std.fs.max_path_bytes]u8 = undefined;
    const folder = std.fs.path.dirname(path) orelse ".";
    const opened = linux.open(std.fmt.bufPrintSentinel(&buffer, "{s}", .{folder}, 0) catch return, .{ .DIRECTORY = true, .CLOEXEC = true }, 0);
    if (linux.errno(opened) != .SUCCESS) return;
    _ = linux.fsync(@intCast(opened));
    _ = linux.close(@intCast(opened));
}

// --- The second thread --------------------------------------------------------------------------

/// Syncs a file while the event loop goes on. One request at a time.
const Syncer = struct {
    thread: ?std.Thread = null,
    /// The thread sleeps in a read of this.
    event_fd: i32 = -1,
    file_fd: i32 = -1,
    is_ending: bool = false,
    state: std.atomic.Value(State) = .init(.idle),
    result: linux.E = .SUCCESS,

    const State = enum(u8) { idle, busy, done };

    fn isBusy(self: *const Syncer) bool {
        return self.state.load(.acquire) == .busy;
    }

    fn start(self: *Syncer, fd: i32) error{NoThread}!void {
        if (self.thread == null) try self.spawn();
        self.file_fd = fd;
        self.state.store(.busy, .release);
        self.wake();
    }

    fn spawn(self: *Syncer) error{NoThread}!void {
        const created = linux.eventfd(0, linux.EFD.CLOEXEC);
        if (linux.errno(created) != .SUCCESS) return error.NoThread;
        self.event_fd = @intCast(created);
        self.thread = std.Thread.spawn(.{ .stack_size = 256 << 10 }, run, .{self}) catch {
            _ = linux.close(self.event_fd);
            return error.NoThread;
        };
    }

    fn wake(self: *Syncer) void {
        const one: u64 = 1;
        _ = linux.write(self.event_fd, std.mem.asBytes(&one), 8);
    }

    fn run(self: *Syncer) void {
        var count: u64 = 0;
        while (true) {
            _ = linux.read(self.event_fd, std.mem.asBytes(&count), 8);
            if (self.state.load(.acquire) == .busy) {
                self.result = linux.errno(linux.fdatasync(self.file_fd));
                self.state.store(.done, .release);
            }
            if (@atomicLoad(bool, &self.is_ending, .acquire)) return;
        }
    }

    /// How the last sync went, once.
    fn takeResult(self: *Syncer) ?linux.E {
        if (self.state.load(.acquire) != .done) return null;
        self.state.store(.idle, .monotonic);
        return self.result;
    }

    fn waitUntilIdle(self: *const Syncer) void {
        while (self.isBusy()) std.Thread.yield() catch {};
    }

    fn stop(self: *Syncer) void {
        const thread = self.thread orelse return;
        @atomicStore(bool, &self.is_ending, true, .release);
        self.wake();
        thread.join();
        _ = linux.close(self.event_fd);
        self.thread = null;
    }
};

// --- The child of a rewrite ---------------------------------------------------------------------

/// Writes the store as it was at the fork. Only this thread exists here, so nothing may wait for another one.
fn runChild(store: *Store, fd: i32) noreturn {
    // Without the parent nobody wants the file; and its sockets must end when the parent closes them.
    _ = linux.prctl(@backingInt(linux.PR.SET_PDEATHSIG), @backingInt(linux.SIG.KILL), 0, 0, 0);
    const file_fd = 3;
    if (fd != file_fd) _ = linux.dup2(fd, file_fd);
    _ = linux.close_range(file_fd + 1, std.math.maxInt(i32), .{ .UNSHARE = false, .CLOEXEC = false });
    var dump: Dump = .{ .fd = file_fd, .out = .{ .gpa = std.heap.page_allocator } };
    const succeeded = if (dump.all(store)) |_| true else |_| false;
    linux.exit_group(if (succeeded) 0 else 1);
}

const Dump = struct {
    fd: i32,
    out: resp.Writer,

    const Error = error{ OutOfMemory, Failed };

    fn all(self: *Dump, store: *Store) Error!void {
        var entries = store.keys.iterator();
        while (entries.next()) |entry| try self.one(store, entry);
        try self.flush();
        if (linux.errno(linux.fdatasync(self.fd)) != .SUCCESS) return error.Failed;
    }

    fn one(self: *Dump, store: *Store, entry: *const store_file.Entry) Error!void {
        const key = entry.key();
        var buffer: [numbers.int_chars_max]u8 = undefined;
        const moment = if (entry.expiry()) |when_ms| numbers.printInt(&buffer, when_ms) else null;
        switch (entry.header.kind) {
            .string, .blob => {
                if (moment) |text| return self.command(&.{ "SET", key, entry.string(), "PXAT", text });
                return self.command(&.{ "SET", key, entry.string() });
            },
            .list => try self.list(key, store.as(List, entry) catch unreachable),
            .hash => try self.hash(key, store.as(collections.Hash, entry) catch unreachable),
            .set => try self.set(key, store.as(collections.Set, entry) catch unreachable),
            .sorted => try self.sorted(key, store.as(SortedSet, entry) catch unreachable),
        }
        if (moment) |text| try self.command(&.{ "PEXPIREAT", key, text });
    }

    fn list(self: *Dump, key: []const u8, items: *const List) Error!void {
        var cursor = items.edgeCursor(.front);
        var index: u64 = 0;
        while (cursor) |place| : (cursor = place.next()) {
            try self.beginSome("RPUSH", key, index, items.count, 1);
            try self.out.bulk(place.element());
            index += 1;
        }
    }

    fn hash(self: *Dump, key: []const u8, items: *const collections.Hash) Error!void {
        var pairs = items.fields.iterator();
        var index: u64 = 0;
        while (pairs.next()) |pair| {
            try self.beginSome("HSET", key, index, items.count(), 2);
            try self.out.bulk(pair.key());
            try self.out.bulk(pair.value());
            index += 1;
        }
    }

    fn set(self: *Dump, key: []const u8, items: *const collections.Set) Error!void {
        var members = items.members.iterator();
        var index: u64 = 0;
        while (members.next()) |member| {
            try self.beginSome("SADD", key, index, items.count(), 1);
            try self.out.bulk(member.key());
            index += 1;
        }
    }

    fn sorted(self: *Dump, key: []const u8, items: *const SortedSet) Error!void {
        var cursor = items.first();
        var index: u64 = 0;
        while (cursor) |place| : (cursor = place.next()) {
            try self.beginSome("ZADD", key, index, items.count(), 2);
            try self.out.double(place.member().score);
            try self.out.bulk(place.member().key());
            index += 1;
        }
    }

    /// Starts a command where the one before is full.
    fn beginSome(self: *Dump, name: []const u8, key: []const u8, index: u64, count: u64, words: usize) Error!void {
        if (index % items_per_command != 0) return;
        try self.flushIfLarge();
        const items: usize = @intCast(@min(items_per_command, count - index));
        try self.out.array(2 + items * words);
        try self.out.bulk(name);
        try self.out.bulk(key);
    }

    fn command(self: *Dump, args: []const []const u8) Error!void {
        try self.flushIfLarge();
        try self.out.command(args);
    }

    fn flushIfLarge(self: *Dump) Error!void {
        if (self.out.bytes.items.len >= block_bytes) try self.flush();
    }

    fn flush(self: *Dump) Error!void {
        if (writeSome(self.fd, self.out.bytes.items).code != .SUCCESS) return error.Failed;
        self.out.bytes.clearRetainingCapacity();
    }
};

// --- Reading ------------------------------------------------------------------------------------

pub const Found = struct {
    commands: u64 = 0,
    /// Where the last whole command ends, and what is behind it.
    end: u64 = 0,
    torn_bytes: u64 = 0,
};

/// Checks a file without loading it.
pub fn check(gpa: std.mem.Allocator, path: [:0]const u8, why: *failure.Failure) failure.Error!Found {
    const fd = try openFile(path, .{ .CLOEXEC = true }, why);
    defer _ = linux.close(fd);
    return scan(gpa, fd, path, null, why);
}

/// Reads all commands of a file and, with an engine, does them.
fn scan(gpa: std.mem.Allocator, fd: i32, path: []const u8, engine: ?*Engine, why: *failure.Failure) failure.Error!Found {
    var input: resp.Input = .init(gpa);
    defer input.deinit();
    input.reader.is_strict = true;
    var replay: Replay = .{ .gpa = gpa, .engine = engine, .path = path, .why = why };
    defer replay.deinit();
    try replay.init();
    var read_bytes: u64 = 0;
    while (true) {
        const room = input.spare(block_bytes, std.math.maxInt(usize)) catch return error.OutOfMemory;
        const got = linux.read(fd, room.ptr, room.len);
        const code = linux.errno(got);
        if (code == .INTR) continue;
        if (code != .SUCCESS) return why.bad("{f}: {s}", .{ failure.escaped(path), failure.reason(code) });
        if (got == 0) break;
        read_bytes += got;
        input.filled += got;
        try replay.takeAll(&input, read_bytes - input.filled);
    }
    var found = replay.found;
    if (replay.transaction) |before| found = before; // a transaction without its end is as if it never began
    found.torn_bytes = read_bytes - found.end;
    return found;
}

const Replay = struct {
    gpa: std.mem.Allocator,
    engine: ?*Engine,
    path: []const u8,
    why: *failure.Failure,
    session: ?transactions.Session = null,
    out: resp.Writer = undefined,
    found: Found = .{},
    /// What was found before a transaction that is not over.
    transaction: ?Found = null,

    fn init(self: *Replay) failure.Error!void {
        self.out = .{ .gpa = self.gpa };
        if (self.engine) |engine| self.session = .{ .engine = engine };
    }

    fn deinit(self: *Replay) void {
        if (self.session) |*session| session.deinit();
        self.out.bytes.deinit(self.gpa);
    }

    /// Does all commands that are whole; `base` is where in the file the input starts.
    fn takeAll(self: *Replay, input: *resp.Input, base: u64) failure.Error!void {
        while (true) {
            const request = (input.next() catch |err| switch (err) {
                error.OutOfMemory => |e| return e,
                error.Protocol => return self.why.bad("{f}: byte {d}: {f}", .{ failure.escaped(self.path), base + input.reader.at, failure.escaped(input.reader.failure) }),
            }) orelse return;
            try self.take(request, base + input.reader.start, base + input.reader.at);
        }
    }

    fn take(self: *Replay, request: resp.Command, start: u64, end: u64) failure.Error!void {
        const command = commands.find(request.args[0]) orelse
            return self.why.bad("{f}: byte {d}: unknown command {f}", .{ failure.escaped(self.path), start, failure.quoted(request.args[0]) });
        if (!command.accepts(request.args.len)) {
            return self.why.bad("{f}: byte {d}: wrong number of arguments for {s}", .{ failure.escaped(self.path), start, command.name });
        }
        if (command.run == &transactions.multi and self.transaction == null) self.transaction = self.found;
        if (command.run == &transactions.exec or command.run == &transactions.discard) self.transaction = null;
        if (self.engine) |engine| {
            self.out.bytes.clearRetainingCapacity();
            _ = try commands.process(engine, &self.session.?, request, &self.out);
        }
        self.found.commands += 1;
        self.found.end = end;
    }
};

test "a torn file and a damaged one" {
    const gpa = std.testing.allocator;
    const whole = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    const cases = [_]struct { []const u8, ?Found }{
        .{ "", .{} },
        .{ whole, .{ .commands = 1, .end = whole.len } },
        .{ "#TS:1\r\n" ++ whole, .{ .commands = 1, .end = whole.len + 7 } },
        .{ whole ++ "*3\r\n$3\r\nSE", .{ .commands = 1, .end = whole.len, .torn_bytes = 10 } },
        .{ whole ++ "*1\r\n$5\r\nMULTI\r\n" ++ whole, .{ .commands = 1, .end = whole.len, .torn_bytes = 15 + whole.len } },
        .{ whole ++ "x" ++ whole, null },
        .{ whole ++ "*1\r\n$3\r\nFOO\r\n", null },
        .{ whole ++ "*1\r\n$3\r\nGET\r\n", null },
        .{ "PING\r\n", null },
        .{ "*0\r\n", null },
    };
    var why: failure.Failure = .{};
    for (cases) |case| {
        const created = linux.memfd_create("aof", 0);
        const fd: i32 = @intCast(created);
        defer _ = linux.close(fd);
        try std.testing.expectEqual(case[0].len, writeSome(fd, case[0]).bytes);
        _ = linux.lseek(fd, 0, linux.SEEK.SET);
        if (case[1]) |expected| {
            try std.testing.expectEqual(expected, try scan(gpa, fd, "aof", null, &why));
        } else {
            try std.testing.expectError(error.Failed, scan(gpa, fd, "aof", null, &why));
        }
    }
}
