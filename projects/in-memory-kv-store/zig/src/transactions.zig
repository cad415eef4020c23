//! A client's session; MULTI, EXEC, DISCARD; WATCH and who watches what.

const std = @import("std");
const commands = @import("commands.zig");
const resp = @import("resp.zig");
const Engine = @import("engine.zig").Engine;
const Context = commands.Context;
const Error = commands.Error;

/// A transaction may hold so many bytes of commands, as much as an input may.
const queued_bytes_max = 1 << 30;

/// Commands that wait for EXEC, as they came.
pub const Transaction = struct {
    bytes: std.ArrayList(u8) = .empty,
    count: usize = 0,
    /// A command was refused, so EXEC will be.
    must_abort: bool = false,
    has_writes: bool = false,
    needs_memory: bool = false,
};

/// What the store knows of a client.
pub const Session = struct {
    engine: *Engine,
    id: u64 = 0,
    name: []const u8 = "",
    address: []const u8 = "",
    local_address: []const u8 = "",
    fd: i32 = -1,
    created_ms: i64 = 0,
    used_ms: i64 = 0,
    last_command: []const u8 = "NULL",
    /// Nothing more is read; the connection ends when the replies are sent.
    is_closing: bool = false,
    transaction: ?Transaction = null,
    watched: std.ArrayList([]const u8) = .empty,
    /// A watched key has changed.
    is_stale: bool = false,
    node: std.DoublyLinkedList.Node = .{},

    pub fn deinit(self: *Session) void {
        self.discard();
        self.watched.deinit(self.engine.gpa);
        self.setName("") catch unreachable; // an empty name needs no memory
    }

    pub fn setName(self: *Session, name: []const u8) error{OutOfMemory}!void {
        const copy = try self.engine.gpa.dupe(u8, name);
        self.engine.gpa.free(self.name);
        self.name = copy;
    }

    /// Forgets the transaction and the watched keys.
    pub fn discard(self: *Session) void {
        if (self.transaction) |*transaction| transaction.bytes.deinit(self.engine.gpa);
        self.transaction = null;
        self.unwatch();
    }

    fn unwatch(self: *Session) void {
        for (self.watched.items) |key| self.engine.watchers.remove(self.engine.gpa, key, self);
        for (self.watched.items) |key| self.engine.gpa.free(key);
        self.watched.clearRetainingCapacity();
        self.is_stale = false;
    }

    /// Queues a command until EXEC.
    pub fn queue(self: *Session, command: *const commands.Command, request: resp.Command) error{ OutOfMemory, TooLarge }!void {
        const transaction = &self.transaction.?;
        var writer: resp.Writer = .{ .gpa = self.engine.gpa, .bytes = transaction.bytes };
        if (request.raw) |raw| try writer.raw(raw) else try writer.command(request.args);
        transaction.bytes = writer.bytes;
        if (transaction.bytes.items.len > queued_bytes_max) return error.TooLarge;
        transaction.count += 1;
        if (command.flags.write) transaction.has_writes = true;
        if (command.flags.deny_oom) transaction.needs_memory = true;
    }
};

/// Sessions by the key that they watch.
pub const Watchers = struct {
    by_key: std.StringHashMapUnmanaged(std.ArrayList(*Session)) = .empty,

    fn add(self: *Watchers, gpa: std.mem.Allocator, key: []const u8, session: *Session) error{OutOfMemory}!void {
        const found = try self.by_key.getOrPut(gpa, key);
        if (!found.found_existing) {
            found.value_ptr.* = .empty;
            errdefer _ = self.by_key.remove(key);
            found.key_ptr.* = try gpa.dupe(u8, key);
        }
        try found.value_ptr.append(gpa, session);
    }

    fn remove(self: *Watchers, gpa: std.mem.Allocator, key: []const u8, session: *Session) void {
        const found = self.by_key.getEntry(key) orelse return;
        const sessions = found.value_ptr;
        for (sessions.items, 0..) |other, i| {
            if (other != session) continue;
            _ = sessions.swapRemove(i);
            break;
        }
        if (sessions.items.len != 0) return;
        const owned_key = found.key_ptr.*;
        sessions.deinit(gpa);
        self.by_key.removeByPtr(found.key_ptr);
        gpa.free(owned_key);
    }

    /// A key has changed.
    pub fn touch(self: *Watchers, key: []const u8) void {
        if (self.by_key.count() == 0) return;
        const sessions = self.by_key.get(key) orelse return;
        for (sessions.items) |session| session.is_stale = true;
    }

    /// Everything will be dropped: keys that are there change.
    pub fn touchAll(self: *Watchers, engine: *Engine) void {
        var entries = self.by_key.iterator();
        while (entries.next()) |entry| {
            if (engine.store.inspect(entry.key_ptr.*) == null) continue;
            for (entry.value_ptr.items) |session| session.is_stale = true;
        }
    }
};

pub fn multi(ctx: *Context) Error!void {
    if (ctx.session.transaction != null) return ctx.fail("ERR MULTI calls can not be nested", .{});
    ctx.session.transaction = .{};
    try ctx.out.status("OK");
}

pub fn discard(ctx: *Context) Error!void {
    if (ctx.session.transaction == null) return ctx.fail("ERR DISCARD without MULTI", .{});
    ctx.session.discard();
    try ctx.out.status("OK");
}

pub fn watch(ctx: *Context) Error!void {
    if (ctx.session.transaction != null) return ctx.fail("ERR WATCH inside MULTI is not allowed", .{});
    for (ctx.args[1..]) |key| {
        // A key that has expired is removed first, so that its removal later is no change.
        _ = ctx.store.inspect(key);
        try watchOne(ctx, key);
    }
    try ctx.out.status("OK");
}

fn watchOne(ctx: *Context, key: []const u8) error{OutOfMemory}!void {
    const session = ctx.session;
    for (session.watched.items) |known| if (std.mem.eql(u8, known, key)) return;
    const gpa = ctx.engine.gpa;
    try session.watched.ensureUnusedCapacity(gpa, 1);
    const copy = try gpa.dupe(u8, key);
    errdefer gpa.free(copy);
    try ctx.engine.watchers.add(gpa, key, session);
    session.watched.appendAssumeCapacity(copy);
}

pub fn unwatch(ctx: *Context) Error!void {
    ctx.session.unwatch();
    try ctx.out.status("OK");
}

pub fn exec(ctx: *Context) Error!void {
    const session = ctx.session;
    if (session.transaction == null) return ctx.fail("ERR EXEC without MULTI", .{});
    // Looking at watched keys removes those that have expired, which is a change.
    for (session.watched.items) |key| _ = ctx.store.inspect(key);
    var transaction = session.transaction.?;
    const is_stale = session.is_stale;
    session.transaction = null;
    session.unwatch();
    defer transaction.bytes.deinit(ctx.engine.gpa);
    if (transaction.must_abort) return ctx.fail("EXECABORT Transaction discarded because of previous errors.", .{});
    if (is_stale) return ctx.out.nilArray();
    try runQueued(ctx, &transaction);
}

fn runQueued(ctx: *Context, transaction: *const Transaction) Error!void {
    var reader: resp.Reader = .{ .gpa = ctx.engine.gpa };
    defer reader.deinit();
    // Each command logs itself.
    ctx.is_logged = true;
    try ctx.out.array(transaction.count);
    for (0..transaction.count) |_| {
        const request = (reader.next(transaction.bytes.items) catch |err| switch (err) {
            error.Protocol => unreachable, // the bytes were parsed before
            error.OutOfMemory => |e| return e,
        }).?;
        const changed = try commands.call(ctx.engine, ctx.session, commands.find(request.args[0]).?, request, ctx.out);
        ctx.changes += @intFromBool(changed);
    }
}
