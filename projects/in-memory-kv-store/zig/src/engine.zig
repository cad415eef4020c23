//! What all clients share: the store, the log, the watchers, the settings, the counters. One thread at a time works
//! with it; with more than one thread, under its lock.

const std = @import("std");
const commands = @import("commands.zig");
const Options = @import("options.zig").Options;
const resp = @import("resp.zig");
const store_file = @import("store.zig");
const Log = @import("aof.zig").Log;
const transactions = @import("transactions.zig");
const Session = transactions.Session;

pub const Stats = struct {
    commands: u64 = 0,
    connections: u64 = 0,
    rejected: u64 = 0,
};

pub const Engine = struct {
    gpa: std.mem.Allocator,
    options: *Options,
    store: store_file.Store = .{},
    log: ?*Log = null,
    watchers: transactions.Watchers = .{},
    /// In the order in which they came.
    sessions: std.DoublyLinkedList = .{},
    session_count: usize = 0,
    next_session_id: u64 = 1,
    stats: Stats = .{},
    started_ms: i64 = 0,
    memory_peak: u64 = 0,
    run_id: [40]u8 = @splat('0'),
    tcp_port: u16 = 0,
    /// SHUTDOWN was asked for.
    is_stopping: bool = false,

    /// Must be called where the engine stays: the store holds a pointer to it.
    pub fn start(self: *Engine, now_ms: i64, random_seed: u64) void {
        self.store.observer = .{ .context = self, .removed = keyWasRemoved };
        self.store.memory_max = self.options.memory_max;
        self.store.setPolicy(self.options.policy);
        self.store.prng = .init(random_seed);
        self.store.setTime(now_ms);
        self.started_ms = now_ms;
        for (&self.run_id) |*digit| digit.* = "0123456789abcdef"[self.store.random().uintLessThan(usize, 16)];
    }

    pub fn deinit(self: *Engine) void {
        self.store.clear();
        self.watchers.by_key.deinit(self.gpa);
    }

    /// The store has removed a key because it expired, or to make room.
    fn keyWasRemoved(context: *anyopaque, key: []const u8) void {
        const self: *Engine = @ptrCast(@alignCast(context));
        self.watchers.touch(key);
        self.logCommand(&.{ "DEL", key });
    }

    /// Appends a command to the log.
    pub fn logCommand(self: *Engine, args: []const []const u8) void {
        if (self.log) |log| log.append(args);
    }

    pub fn logRequest(self: *Engine, request: resp.Command) void {
        const log = self.log orelse return;
        if (request.raw) |raw| log.appendRaw(raw) else log.append(request.args);
    }

    pub fn addSession(self: *Engine, session: *Session) void {
        session.id = self.next_session_id;
        self.next_session_id += 1;
        self.sessions.append(&session.node);
        self.session_count += 1;
        self.stats.connections += 1;
    }

    pub fn removeSession(self: *Engine, session: *Session) void {
        self.sessions.remove(&session.node);
        self.session_count -= 1;
        session.deinit();
    }

    /// A part of what is done in the background; true if there is more to do soon.
    pub fn tidy(self: *Engine) bool {
        const has_remains = self.store.freeRemains();
        const has_expired = self.store.expireSome();
        self.memory_peak = @max(self.memory_peak, self.store.usedBytes());
        return has_remains or has_expired;
    }
};
