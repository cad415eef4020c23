//! The table of commands, and what happens to a command before and after its work.

const std = @import("std");
const resp = @import("resp.zig");
const numbers = @import("numbers.zig");
const failure = @import("failure.zig");
const Engine = @import("engine.zig").Engine;
const Store = @import("store.zig").Store;
const Entry = @import("store.zig").Entry;
const transactions = @import("transactions.zig");
const Session = transactions.Session;
const admin = @import("admin.zig");
const connection = @import("connection.zig");
const strings = @import("strings.zig");
const keys = @import("keys.zig");
const lists = @import("lists.zig");
const hashes = @import("hashes.zig");
const sets = @import("sets.zig");
const zsets = @import("zsets.zig");

/// What most commands can complain about; `Replied` means that the reply says it already.
pub const Error = error{ OutOfMemory, WrongType, Syntax, NotInteger, NotFloat, NoSuchKey, IndexOutOfRange, Arity, Replied };

/// One call of a command.
pub const Context = struct {
    engine: *Engine,
    store: *Store,
    session: *Session,
    command: *const Command,
    args: []const []const u8,
    out: *resp.Writer,
    /// Where the reply starts, to take it back when an error comes.
    reply_start: usize,
    /// Changes of the data; without any the log gets nothing.
    changes: usize = 0,
    /// The log has the effect already, in other words.
    is_logged: bool = false,
    /// A collection that was made for this call; if the call fails, it may be empty.
    created: ?[]const u8 = null,

    // --- Arguments ------------------------------------------------------------------------

    pub fn int(self: *const Context, index: usize) error{NotInteger}!i64 {
        return numbers.parseInt(self.args[index]) orelse error.NotInteger;
    }

    /// A count that must not be negative.
    pub fn positive(self: *Context, index: usize) Error!u64 {
        const value = numbers.parseInt(self.args[index]) orelse -1;
        if (value < 0) return self.fail("ERR value is out of range, must be positive", .{});
        return @intCast(value);
    }

    pub fn is(self: *const Context, index: usize, word: []const u8) bool {
        return std.ascii.eqlIgnoreCase(self.args[index], word);
    }

    // --- Keys -----------------------------------------------------------------------------

    /// The collection of a key, for a command that reads.
    pub fn read(self: *Context, comptime T: type, key: []const u8) error{WrongType}!?*T {
        return try self.store.as(T, self.store.read(key) orelse return null);
    }

    /// The collection of a key, for a command that writes.
    pub fn find(self: *Context, comptime T: type, key: []const u8) error{WrongType}!?*T {
        return try self.store.as(T, self.store.find(key) orelse return null);
    }

    pub fn findOrCreate(self: *Context, comptime T: type, key: []const u8) Error!*T {
        if (try self.find(T, key)) |there| return there;
        self.created = key;
        return self.store.create(T, key);
    }

    pub fn readString(self: *Context, key: []const u8) error{WrongType}!?[]u8 {
        return try stringOf(self.store.read(key) orelse return null);
    }

    pub fn findString(self: *Context, key: []const u8) error{WrongType}!?[]u8 {
        return try stringOf(self.store.find(key) orelse return null);
    }

    fn stringOf(entry: *Entry) error{WrongType}![]u8 {
        return if (entry.isString()) entry.string() else error.WrongType;
    }

    // --- Effects --------------------------------------------------------------------------

    /// A key has changed.
    pub fn changed(self: *Context, key: []const u8) void {
        self.changes += 1;
        self.engine.watchers.touch(key);
    }

    /// Removes the key of a collection that has become empty.
    pub fn deleteIfEmpty(self: *Context, key: []const u8, count: u64) void {
        if (count == 0) _ = self.store.delete(key);
    }

    /// Logs other words than the client's, because these would not do the same when they are replayed.
    pub fn log(self: *Context, args: []const []const u8) void {
        self.is_logged = true;
        self.engine.logCommand(args);
    }

    // --- Replies --------------------------------------------------------------------------

    /// Replies with an error instead of whatever was written of the reply.
    pub fn fail(self: *Context, comptime format: []const u8, args: anytype) error{ OutOfMemory, Replied } {
        self.out.bytes.shrinkRetainingCapacity(self.reply_start);
        replyError(self.out, format, args) catch return error.OutOfMemory;
        return error.Replied;
    }

    fn explain(self: *Context, err: Error) error{ OutOfMemory, Replied } {
        if (self.created) |key| self.store.deleteIfHollow(key);
        return switch (err) {
            error.WrongType => self.fail("WRONGTYPE Operation against a key holding the wrong kind of value", .{}),
            error.Syntax => self.fail("ERR syntax error", .{}),
            error.NotInteger => self.fail("ERR value is not an integer or out of range", .{}),
            error.NotFloat => self.fail("ERR value is not a valid float", .{}),
            error.NoSuchKey => self.fail("ERR no such key", .{}),
            error.IndexOutOfRange => self.fail("ERR index out of range", .{}),
            error.Arity => self.fail("ERR wrong number of arguments for '{s}' command", .{self.command.name}),
            error.OutOfMemory => self.fail("ERR out of memory", .{}),
            error.Replied => error.Replied,
        };
    }
};

/// Texts with what a client sent in them; longer ones are cut.
const error_bytes_max = 1024;

fn replyError(out: *resp.Writer, comptime format: []const u8, args: anytype) error{OutOfMemory}!void {
    var buffer: [error_bytes_max]u8 = undefined;
    var writer: std.Io.Writer = .fixed(&buffer);
    writer.print(format, args) catch {};
    try out.failure(writer.buffered());
}

pub const Flags = packed struct {
    write: bool = false,
    /// Needs memory, so it is refused when there is none.
    deny_oom: bool = false,
    fast: bool = false,
    /// Done at once also between MULTI and EXEC.
    immediate: bool = false,
    no_multi: bool = false,
};

pub const Command = struct {
    name: []const u8,
    /// Number of arguments with the name; negative means at least.
    arity: i8,
    flags: Flags,
    first_key: i8 = 0,
    last_key: i8 = 0,
    key_step: i8 = 0,
    run: *const fn (*Context) Error!void,

    pub fn accepts(self: *const Command, arguments: usize) bool {
        return if (self.arity >= 0) arguments == self.arity else arguments >= -@as(isize, self.arity);
    }
};

const read_only: Flags = .{};
const fast: Flags = .{ .fast = true };
const write: Flags = .{ .write = true };
const fast_write: Flags = .{ .write = true, .fast = true };
const grow: Flags = .{ .write = true, .deny_oom = true };
const fast_grow: Flags = .{ .write = true, .deny_oom = true, .fast = true };
const immediate: Flags = .{ .fast = true, .immediate = true };

const Run = *const fn (*Context) Error!void;

fn plain(name: []const u8, arity: i8, flags: Flags, run: Run) Command {
    return .{ .name = name, .arity = arity, .flags = flags, .run = run };
}

/// A command whose first argument is its one key.
fn keyed(name: []const u8, arity: i8, flags: Flags, run: Run) Command {
    return spread(name, arity, flags, 1, 1, run);
}

fn spread(name: []const u8, arity: i8, flags: Flags, last_key: i8, key_step: i8, run: Run) Command {
    return .{ .name = name, .arity = arity, .flags = flags, .first_key = 1, .last_key = last_key, .key_step = key_step, .run = run };
}

pub const table = [_]Command{
    plain("ping", -1, fast, connection.ping),
    plain("echo", 2, fast, connection.echo),
    plain("quit", -1, immediate, connection.quit),
    plain("select", 2, fast, connection.select),
    plain("hello", -1, fast, connection.hello),
    plain("client", -2, read_only, connection.client),
    plain("reset", 1, immediate, connection.reset),
    plain("command", -1, read_only, connection.command),

    plain("multi", 1, immediate, transactions.multi),
    plain("exec", 1, immediate, transactions.exec),
    plain("discard", 1, immediate, transactions.discard),
    spread("watch", -2, immediate, -1, 1, transactions.watch),
    plain("unwatch", 1, fast, transactions.unwatch),

    plain("info", -1, read_only, admin.info),
    plain("config", -2, read_only, admin.config),
    plain("shutdown", -1, .{ .no_multi = true }, admin.shutdown),
    plain("time", 1, fast, admin.time),
    plain("dbsize", 1, fast, admin.dbsize),
    plain("flushall", -1, write, admin.flushall),
    plain("flushdb", -1, write, admin.flushall),
    plain("bgrewriteaof", 1, read_only, admin.bgrewriteaof),
    plain("memory", -2, read_only, admin.memory),
    plain("object", -2, read_only, admin.object),

    keyed("get", 2, fast, strings.get),
    keyed("set", -3, grow, strings.set),
    keyed("setnx", 3, fast_grow, strings.setnx),
    keyed("setex", 4, grow, strings.setex),
    keyed("psetex", 4, grow, strings.psetex),
    keyed("getset", 3, fast_grow, strings.getset),
    keyed("getdel", 2, fast_write, strings.getdel),
    keyed("getex", -2, fast_write, strings.getex),
    spread("mget", -2, fast, -1, 1, strings.mget),
    spread("mset", -3, grow, -1, 2, strings.mset),
    spread("msetnx", -3, grow, -1, 2, strings.msetnx),
    keyed("incr", 2, fast_grow, strings.incr),
    keyed("decr", 2, fast_grow, strings.decr),
    keyed("incrby", 3, fast_grow, strings.incrby),
    keyed("decrby", 3, fast_grow, strings.decrby),
    keyed("incrbyfloat", 3, fast_grow, strings.incrbyfloat),
    keyed("append", 3, fast_grow, strings.append),
    keyed("strlen", 2, fast, strings.strlen),
    keyed("getrange", 4, read_only, strings.getrange),
    keyed("setrange", 4, grow, strings.setrange),

    spread("del", -2, write, -1, 1, keys.del),
    spread("unlink", -2, fast_write, -1, 1, keys.del),
    spread("exists", -2, fast, -1, 1, keys.exists),
    spread("touch", -2, fast, -1, 1, keys.exists),
    keyed("expire", -3, fast_write, keys.expire),
    keyed("pexpire", -3, fast_write, keys.pexpire),
    keyed("expireat", -3, fast_write, keys.expireat),
    keyed("pexpireat", -3, fast_write, keys.pexpireat),
    keyed("ttl", 2, fast, keys.ttl),
    keyed("pttl", 2, fast, keys.pttl),
    keyed("expiretime", 2, fast, keys.expiretime),
    keyed("pexpiretime", 2, fast, keys.pexpiretime),
    keyed("persist", 2, fast_write, keys.persist),
    keyed("type", 2, fast, keys.kind),
    plain("keys", 2, read_only, keys.keys),
    plain("scan", -2, read_only, keys.scan),
    plain("randomkey", 1, read_only, keys.randomkey),
    spread("rename", 3, write, 2, 1, keys.rename),
    spread("renamenx", 3, fast_write, 2, 1, keys.renamenx),
    spread("copy", -3, grow, 2, 1, keys.copy),

    keyed("lpush", -3, fast_grow, lists.lpush),
    keyed("rpush", -3, fast_grow, lists.rpush),
    keyed("lpushx", -3, fast_grow, lists.lpushx),
    keyed("rpushx", -3, fast_grow, lists.rpushx),
    keyed("lpop", -2, fast_write, lists.lpop),
    keyed("rpop", -2, fast_write, lists.rpop),
    keyed("llen", 2, fast, lists.llen),
    keyed("lrange", 4, read_only, lists.lrange),
    keyed("lindex", 3, read_only, lists.lindex),
    keyed("lset", 4, grow, lists.lset),
    keyed("linsert", 5, grow, lists.linsert),
    keyed("lrem", 4, write, lists.lrem),
    keyed("ltrim", 4, write, lists.ltrim),
    spread("lmove", 5, grow, 2, 1, lists.lmove),
    spread("rpoplpush", 3, grow, 2, 1, lists.rpoplpush),

    keyed("hset", -4, fast_grow, hashes.hset),
    keyed("hsetnx", 4, fast_grow, hashes.hsetnx),
    keyed("hmset", -4, fast_grow, hashes.hmset),
    keyed("hget", 3, fast, hashes.hget),
    keyed("hmget", -3, fast, hashes.hmget),
    keyed("hdel", -3, fast_write, hashes.hdel),
    keyed("hexists", 3, fast, hashes.hexists),
    keyed("hlen", 2, fast, hashes.hlen),
    keyed("hstrlen", 3, fast, hashes.hstrlen),
    keyed("hkeys", 2, read_only, hashes.hkeys),
    keyed("hvals", 2, read_only, hashes.hvals),
    keyed("hgetall", 2, read_only, hashes.hgetall),
    keyed("hincrby", 4, fast_grow, hashes.hincrby),
    keyed("hincrbyfloat", 4, fast_grow, hashes.hincrbyfloat),
    keyed("hscan", -3, read_only, hashes.hscan),

    keyed("sadd", -3, fast_grow, sets.sadd),
    keyed("srem", -3, fast_write, sets.srem),
    keyed("sismember", 3, fast, sets.sismember),
    keyed("smismember", -3, fast, sets.smismember),
    keyed("smembers", 2, read_only, sets.smembers),
    keyed("scard", 2, fast, sets.scard),
    keyed("spop", -2, fast_write, sets.spop),
    keyed("srandmember", -2, read_only, sets.srandmember),
    spread("sinter", -2, read_only, -1, 1, sets.sinter),
    spread("sunion", -2, read_only, -1, 1, sets.sunion),
    spread("sdiff", -2, read_only, -1, 1, sets.sdiff),
    keyed("sscan", -3, read_only, sets.sscan),
    spread("smove", 4, fast_write, 2, 1, sets.smove),

    keyed("zadd", -4, fast_grow, zsets.zadd),
    keyed("zpopmin", -2, fast_write, zsets.zpopmin),
    keyed("zpopmax", -2, fast_write, zsets.zpopmax),
    keyed("zscore", 3, fast, zsets.zscore),
    keyed("zcard", 2, fast, zsets.zcard),
    keyed("zrange", -4, read_only, zsets.zrange),
    keyed("zrevrange", -4, read_only, zsets.zrevrange),
    keyed("zrangebyscore", -4, read_only, zsets.zrangebyscore),
    keyed("zrem", -3, fast_write, zsets.zrem),
    keyed("zincrby", 4, fast_grow, zsets.zincrby),
    keyed("zrank", 3, fast, zsets.zrank),
};

// --- Finding a command: a perfect hash of its letters, found when this file is compiled -----------

const name_bytes_max = 16;
const Name = u128;

/// The name in lower case as one number. Only letters fold into letters, and no byte folds into the padding. Long names
/// are read as two words that overlap.
fn nameOf(text: []const u8) Name {
    const length: u7 = @intCast(text.len);
    const low: Name, const high: Name, const high_at: u7 = if (length >= 8)
        .{ wordAt(u64, text, 0), wordAt(u64, text, length - 8), length - 8 }
    else if (length >= 4)
        .{ wordAt(u32, text, 0), wordAt(u32, text, length - 4), length - 4 }
    else if (length >= 2)
        .{ wordAt(u16, text, 0), wordAt(u16, text, length - 2), length - 2 }
    else if (length == 1)
        .{ text[0], 0, 0 }
    else
        return 0;
    const blanks: Name = @bitCast(@as([name_bytes_max]u8, @splat(0x20)));
    const unused_bits = 8 * (name_bytes_max - length);
    return (low | high << (8 * high_at)) | blanks >> unused_bits;
}

fn wordAt(comptime Word: type, text: []const u8, at: usize) Name {
    return std.mem.readInt(Word, text[at..][0..@sizeOf(Word)], .little);
}

const hash_bits = 11;
const no_command = 0xff;

fn hashName(name: Name, factor: u64) usize {
    const low: u64 = @truncate(name);
    const high: u64 = @truncate(name >> 64);
    return @intCast(((low ^ std.math.rotl(u64, high, 29)) *% factor) >> (64 - hash_bits));
}

const Lookup = struct { factor: u64, slots: [1 << hash_bits]u8, names: [table.len]Name };

const lookup: Lookup = blk: {
    @setEvalBranchQuota(10_000_000);
    var names: [table.len]Name = undefined;
    for (&table, &names) |*entry, *name| name.* = nameOf(entry.name);
    var factor: u64 = 0x9e3779b97f4a7c15;
    search: while (true) : (factor = factor *% 0xd1342543de82ef95 +% 2) {
        var slots: [1 << hash_bits]u8 = @splat(no_command);
        for (names, 0..) |name, i| {
            const slot = &slots[hashName(name, factor)];
            if (slot.* != no_command) continue :search;
            slot.* = i;
        }
        break :blk .{ .factor = factor, .slots = slots, .names = names };
    }
};

/// A command by its name in letters of any case.
pub fn find(name: []const u8) ?*const Command {
    if (name.len > name_bytes_max) return null;
    const folded = nameOf(name);
    const index = lookup.slots[hashName(folded, lookup.factor)];
    if (index == no_command or lookup.names[index] != folded) return null;
    return &table[index];
}

// --- Calling ------------------------------------------------------------------------------------

/// What a client sent: refuses it, queues it, or calls it. Returns whether it changed data. Without memory even for the
/// reply the client must go.
pub fn process(engine: *Engine, session: *Session, request: resp.Command, out: *resp.Writer) error{OutOfMemory}!bool {
    const command = find(request.args[0]) orelse return refuseUnknown(session, request.args, out);
    if (!command.accepts(request.args.len)) return refuseCommand(session, command, out, "ERR ", "wrong number of arguments for '{s}' command", .{command.name});
    session.last_command = command.name;
    const in_transaction = session.transaction != null;
    if (in_transaction and command.flags.no_multi) return refuse(session, out, "ERR Command not allowed inside a transaction", .{});

    if (engine.store.memory_max != 0) {
        const needs_memory = command.flags.deny_oom or (in_transaction and (!command.flags.immediate or runsQueue(command) and session.transaction.?.needs_memory));
        if (needs_memory and !engine.store.makeRoom()) return refuseCommand(session, command, out, "", "OOM command not allowed when used memory > 'maxmemory'.", .{});
    }
    if (engine.log) |log| if (log.failed) |code| {
        const writes = command.flags.write or command.run == &connection.ping or (in_transaction and runsQueue(command) and session.transaction.?.has_writes);
        if (writes) return refuseCommand(session, command, out, "", "MISCONF Errors writing to the AOF file: {s}", .{failure.reason(code)});
    };
    if (in_transaction and !command.flags.immediate) {
        session.queue(command, request) catch |err| switch (err) {
            error.OutOfMemory => |e| return e,
            error.TooLarge => return refuse(session, out, "ERR transaction is too large", .{}),
        };
        try out.status("QUEUED");
        return false;
    }
    return call(engine, session, command, request, out);
}

fn runsQueue(command: *const Command) bool {
    return command.run == &transactions.exec;
}

/// Does the work of a command and logs what it changed; returns whether it changed anything.
pub fn call(engine: *Engine, session: *Session, command: *const Command, request: resp.Command, out: *resp.Writer) error{OutOfMemory}!bool {
    var ctx: Context = .{
        .engine = engine,
        .store = &engine.store,
        .session = session,
        .command = command,
        .args = request.args,
        .out = out,
        .reply_start = out.bytes.items.len,
    };
    command.run(&ctx) catch |err| switch (ctx.explain(err)) {
        error.Replied => {},
        error.OutOfMemory => |e| return e,
    };
    engine.stats.commands += 1;
    if (ctx.changes != 0 and !ctx.is_logged) engine.logRequest(request);
    return ctx.changes != 0;
}

/// An error before the work; it makes EXEC fail too.
fn refuse(session: *Session, out: *resp.Writer, comptime format: []const u8, args: anytype) error{OutOfMemory}!bool {
    if (session.transaction) |*transaction| transaction.must_abort = true;
    try replyError(out, format, args);
    return false;
}

/// The same, but an EXEC that is refused is over, and says so before the reason.
fn refuseCommand(session: *Session, command: *const Command, out: *resp.Writer, comptime kind: []const u8, comptime format: []const u8, args: anytype) error{OutOfMemory}!bool {
    if (!runsQueue(command)) return refuse(session, out, kind ++ format, args);
    session.discard();
    try replyError(out, "EXECABORT Transaction discarded because of: " ++ format, args);
    return false;
}

const shown_name_max = 128;

fn refuseUnknown(session: *Session, args: []const []const u8, out: *resp.Writer) error{OutOfMemory}!bool {
    // A browser that was lured to our port speaks so: it gets nothing.
    for ([_][]const u8{ "post", "host:" }) |word| {
        if (!std.ascii.eqlIgnoreCase(args[0], word)) continue;
        session.is_closing = true;
        return false;
    }
    var buffer: [4 * shown_name_max]u8 = undefined;
    var beginning: std.Io.Writer = .fixed(&buffer);
    for (args[1..]) |arg| {
        if (beginning.end >= shown_name_max) break;
        // Each argument is cut to what is left of 128 bytes, as redis does; a NUL ends a text there.
        beginning.print("'{s}' ", .{cut(arg, shown_name_max - beginning.end)}) catch unreachable;
    }
    return refuse(session, out, "ERR unknown command '{s}', with args beginning with: {s}", .{ cut(args[0], shown_name_max), beginning.buffered() });
}

/// For containers of commands: `CONFIG GET` and so on.
pub fn refuseSubcommand(ctx: *Context) error{ OutOfMemory, Replied } {
    var buffer: [16]u8 = undefined;
    return ctx.fail("ERR unknown subcommand '{s}'. Try {s} HELP.", .{ cut(ctx.args[1], shown_name_max), std.ascii.upperString(&buffer, ctx.command.name) });
}

pub fn refuseSubcommandArity(ctx: *Context, name: []const u8) error{ OutOfMemory, Replied } {
    return ctx.fail("ERR wrong number of arguments for '{s}|{s}' command", .{ ctx.command.name, name });
}

/// What a client sent, as redis shows it in errors: up to a NUL.
pub fn shown(text: []const u8) []const u8 {
    return cut(text, text.len);
}

fn cut(text: []const u8, most: usize) []const u8 {
    const end = std.mem.findScalar(u8, text, 0) orelse text.len;
    return text[0..@min(end, most)];
}

test "commands are found by name in any case" {
    for (&table) |*entry| {
        try std.testing.expectEqual(entry, find(entry.name).?);
        var buffer: [name_bytes_max]u8 = undefined;
        try std.testing.expectEqual(entry, find(std.ascii.upperString(&buffer, entry.name)).?);
    }
    for ([_][]const u8{ "", "gett", "ge", "get\x00", "zrangebyscoreandmore", "\x07et" }) |name| {
        try std.testing.expectEqual(null, find(name));
    }
}

/// A store without sockets, for tests.
const TestBench = struct {
    options: @import("options.zig").Options = .{},
    engine: Engine = undefined,
    session: Session = undefined,
    out: resp.Writer = .{ .gpa = std.testing.allocator },

    fn start(self: *TestBench) void {
        self.engine = .{ .gpa = std.testing.allocator, .options = &self.options };
        self.engine.start(1_000_000, 1);
        self.session = .{ .engine = &self.engine };
    }

    fn deinit(self: *TestBench) void {
        self.session.deinit();
        self.engine.deinit();
        self.out.bytes.deinit(std.testing.allocator);
    }

    /// Sends one command, its words separated by blanks.
    fn expect(self: *TestBench, line: []const u8, reply: []const u8) !void {
        var words: [32][]const u8 = undefined;
        var count: usize = 0;
        var rest = std.mem.splitScalar(u8, line, ' ');
        while (rest.next()) |part| : (count += 1) words[count] = part;
        self.out.bytes.clearRetainingCapacity();
        _ = try process(&self.engine, &self.session, .{ .args = words[0..count], .raw = null, .start = 0 }, &self.out);
        try std.testing.expectEqualStrings(reply, self.out.bytes.items);
    }
};

test "commands of every kind, and what they complain about" {
    var bench: TestBench = .{};
    bench.start();
    defer bench.deinit();
    for ([_][2][]const u8{
        .{ "SET k v EX 10", "+OK\r\n" },
        .{ "TTL k", ":10\r\n" },
        .{ "SET k w KEEPTTL GET", "$1\r\nv\r\n" },
        .{ "PEXPIRETIME k", ":1010000\r\n" },
        .{ "INCR k", "-ERR value is not an integer or out of range\r\n" },
        .{ "INCRBYFLOAT f 10.5", "$4\r\n10.5\r\n" },
        .{ "LPUSH k x", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n" },
        .{ "RPUSH l a b c", ":3\r\n" },
        .{ "LRANGE l 0 -1", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n" },
        .{ "LMOVE l l LEFT RIGHT", "$1\r\na\r\n" },
        .{ "LINDEX l -1", "$1\r\na\r\n" },
        .{ "HSET h f 1", ":1\r\n" },
        .{ "HINCRBY h f 41", ":42\r\n" },
        .{ "SADD s a", ":1\r\n" },
        .{ "SPOP s", "$1\r\na\r\n" },
        .{ "EXISTS s k l", ":2\r\n" },
        .{ "ZADD z 1 a 2 b", ":2\r\n" },
        .{ "ZRANGE z 0 -1 REV WITHSCORES", "*4\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\na\r\n$1\r\n1\r\n" },
        .{ "GET", "-ERR wrong number of arguments for 'get' command\r\n" },
        .{ "FOO a b", "-ERR unknown command 'FOO', with args beginning with: 'a' 'b' \r\n" },
        .{ "CONFIG GET maxmemory-p*", "*2\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n" },
    }) |case| try bench.expect(case[0], case[1]);
}

test "transactions" {
    var bench: TestBench = .{};
    bench.start();
    defer bench.deinit();
    for ([_][2][]const u8{
        .{ "MULTI", "+OK\r\n" },
        .{ "SET a 1", "+QUEUED\r\n" },
        .{ "INCR a", "+QUEUED\r\n" },
        .{ "EXEC", "*2\r\n+OK\r\n:2\r\n" },
        .{ "WATCH a", "+OK\r\n" },
        .{ "SET a 5", "+OK\r\n" },
        .{ "MULTI", "+OK\r\n" },
        .{ "GET a", "+QUEUED\r\n" },
        .{ "EXEC", "*-1\r\n" },
        .{ "MULTI", "+OK\r\n" },
        .{ "FOO", "-ERR unknown command 'FOO', with args beginning with: \r\n" },
        .{ "EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n" },
    }) |case| try bench.expect(case[0], case[1]);
}

test "a full store refuses to grow" {
    var bench: TestBench = .{ .options = .{ .memory_max = 1 } };
    bench.start();
    defer bench.deinit();
    try bench.expect("SET a 1", "+OK\r\n");
    try bench.expect("SET b 1", "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    try bench.expect("DEL a", ":1\r\n");
}
