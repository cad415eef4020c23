//! Commands about the server: INFO, CONFIG, memory, and its end.

const std = @import("std");
const builtin = @import("builtin");
const commands = @import("commands.zig");
const connection = @import("connection.zig");
const glob = @import("glob.zig");
const numbers = @import("numbers.zig");
const options_file = @import("options.zig");
const resp = @import("resp.zig");
const store_file = @import("store.zig");
const collections = @import("collections.zig");
const clock = @import("clock.zig");
const SortedSet = @import("sorted.zig").SortedSet;
const linux = std.os.linux;
const Context = commands.Context;
const Error = commands.Error;

pub fn time(ctx: *Context) Error!void {
    const now_us = clock.wallMicroseconds();
    try ctx.out.array(2);
    try ctx.out.bulkInt(@divFloor(now_us, 1_000_000));
    try ctx.out.bulkInt(@mod(now_us, 1_000_000));
}

pub fn dbsize(ctx: *Context) Error!void {
    try ctx.out.count(ctx.store.keys.count);
}

pub fn flushall(ctx: *Context) Error!void {
    if (ctx.args.len > 2) return error.Syntax;
    if (ctx.args.len == 2 and !ctx.is(1, "ASYNC") and !ctx.is(1, "SYNC")) return error.Syntax;
    ctx.engine.watchers.touchAll(ctx.engine);
    ctx.store.clear();
    ctx.changes += 1;
    try ctx.out.status("OK");
}

pub fn shutdown(ctx: *Context) Error!void {
    var saves = false;
    var saves_not = false;
    var aborts = false;
    for (1..ctx.args.len) |i| {
        if (ctx.is(i, "SAVE")) {
            saves = true;
        } else if (ctx.is(i, "NOSAVE")) {
            saves_not = true;
        } else if (ctx.is(i, "ABORT")) {
            aborts = true;
        } else if (!ctx.is(i, "NOW") and !ctx.is(i, "FORCE")) {
            return error.Syntax;
        }
    }
    if ((saves and saves_not) or (aborts and ctx.args.len > 2)) return error.Syntax;
    if (aborts) return ctx.fail("ERR No shutdown in progress.", .{});
    ctx.engine.is_stopping = true;
    ctx.session.is_closing = true;
}

pub fn bgrewriteaof(ctx: *Context) Error!void {
    const log = ctx.engine.log orelse return ctx.fail("ERR there is no append-only file (see --appendonly)", .{});
    log.startRewrite(ctx.store) catch |err| return switch (err) {
        error.InProgress => ctx.fail("ERR Background append only file rewriting already in progress", .{}),
        error.Failed => ctx.fail("ERR Can't execute an AOF background rewriting. Please check the server logs for more information.", .{}),
    };
    try ctx.out.status("Background append only file rewriting started");
}

// --- MEMORY and OBJECT --------------------------------------------------------------------------

const MemoryCommand = enum { usage };

pub fn memory(ctx: *Context) Error!void {
    const subcommand = connection.subcommandOf(MemoryCommand, ctx) orelse return commands.refuseSubcommand(ctx);
    if (ctx.args.len < 3) return commands.refuseSubcommandArity(ctx, @tagName(subcommand));
    var i: usize = 3;
    while (i < ctx.args.len) : (i += 2) {
        if (!ctx.is(i, "SAMPLES") or i + 1 == ctx.args.len) return error.Syntax;
        if (try ctx.int(i + 1) < 0) return error.Syntax;
    }
    const entry = ctx.store.inspect(ctx.args[2]) orelse return ctx.out.nil();
    try ctx.out.count(ctx.store.memoryOf(entry));
}

const ObjectCommand = enum { encoding };

pub fn object(ctx: *Context) Error!void {
    const subcommand = connection.subcommandOf(ObjectCommand, ctx) orelse return commands.refuseSubcommand(ctx);
    if (ctx.args.len != 3) return commands.refuseSubcommandArity(ctx, @tagName(subcommand));
    const entry = ctx.store.inspect(ctx.args[2]) orelse return ctx.out.nil();
    try ctx.out.bulk(encodingOf(ctx.store, entry));
}

const embedded_string_max = 44;
const small_collection_max = 128;
const small_integer_set_max = 512;

/// The name that redis would give to its own encoding of such a value. Ours is another.
fn encodingOf(store: *const store_file.Store, entry: *const store_file.Entry) []const u8 {
    switch (entry.header.kind) {
        .string, .blob => {
            const text = entry.string();
            if (numbers.parseInt(text) != null) return "int";
            return if (text.len <= embedded_string_max) "embstr" else "raw";
        },
        .list => return "quicklist",
        .hash => return if ((store.as(collections.Hash, entry) catch unreachable).count() <= small_collection_max) "listpack" else "hashtable",
        .set => {
            const set = store.as(collections.Set, entry) catch unreachable;
            if (set.count() > small_integer_set_max) return "hashtable";
            var members = set.members.iterator();
            while (members.next()) |member| if (numbers.parseInt(member.key()) == null) return "hashtable";
            return "intset";
        },
        .sorted => return if ((store.as(SortedSet, entry) catch unreachable).is_large) "skiplist" else "listpack",
    }
}

// --- CONFIG -------------------------------------------------------------------------------------

const ConfigCommand = enum { get, set, resetstat };

pub fn config(ctx: *Context) Error!void {
    const subcommand = connection.subcommandOf(ConfigCommand, ctx) orelse return commands.refuseSubcommand(ctx);
    const is_complete = switch (subcommand) {
        .get => ctx.args.len >= 3,
        .set => ctx.args.len >= 4,
        .resetstat => ctx.args.len == 2,
    };
    if (!is_complete) return commands.refuseSubcommandArity(ctx, @tagName(subcommand));
    switch (subcommand) {
        .get => try getSettings(ctx),
        .set => try setSettings(ctx),
        .resetstat => {
            ctx.store.stats = .{};
            ctx.engine.stats = .{};
            try ctx.out.status("OK");
        },
    }
}

const Setting = enum {
    appendfsync,
    appendonly,
    databases,
    maxclients,
    maxmemory,
    @"maxmemory-policy",
    @"maxmemory-samples",
    @"proto-max-bulk-len",
    save,
    timeout,
};

fn getSettings(ctx: *Context) Error!void {
    var wanted: std.EnumSet(Setting) = .empty;
    for (std.enums.values(Setting)) |setting| {
        for (ctx.args[2..]) |pattern| {
            if (glob.matches(pattern, @tagName(setting), .insensitive)) wanted.insert(setting);
        }
    }
    try ctx.out.array(2 * wanted.count());
    var settings = wanted.iterator();
    while (settings.next()) |setting| {
        try ctx.out.bulk(askedName(ctx, setting));
        try replySetting(ctx, setting);
    }
}

/// A name that was asked for without a pattern is answered in the letters in which it was asked.
fn askedName(ctx: *const Context, setting: Setting) []const u8 {
    for (2..ctx.args.len) |i| if (ctx.is(i, @tagName(setting))) return ctx.args[i];
    return @tagName(setting);
}

fn replySetting(ctx: *Context, setting: Setting) Error!void {
    const options = ctx.engine.options;
    switch (setting) {
        .appendfsync => try ctx.out.bulk(@tagName(options.fsync)),
        .appendonly => try ctx.out.bulk(if (options.log_path == null) "no" else "yes"),
        .databases => try ctx.out.bulkInt(1),
        .maxclients => try ctx.out.bulkInt(@intCast(options.clients_max)),
        .maxmemory => try ctx.out.bulkInt(@intCast(@min(ctx.store.memory_max, std.math.maxInt(i64)))),
        .@"maxmemory-policy" => try ctx.out.bulk(@tagName(ctx.store.policy)),
        .@"maxmemory-samples" => try ctx.out.bulkInt(store_file.samples),
        .@"proto-max-bulk-len" => try ctx.out.bulkInt(resp.bulk_bytes_max),
        .save => try ctx.out.bulk(""),
        .timeout => try ctx.out.bulkInt(0),
    }
}

/// What a CONFIG SET changes; it changes all or nothing.
const Change = struct {
    memory_max: ?u64 = null,
    policy: ?store_file.Policy = null,
    fsync: ?options_file.Fsync = null,
};

fn setSettings(ctx: *Context) Error!void {
    if (ctx.args.len % 2 != 0) return error.Syntax;
    var change: Change = .{};
    var seen: std.EnumSet(Setting) = .empty;
    var i: usize = 2;
    while (i < ctx.args.len) : (i += 2) {
        const setting = settingOf(ctx, i) orelse
            return ctx.fail("ERR Unknown option or number of arguments for CONFIG SET - '{s}'", .{commands.shown(ctx.args[i])});
        if (seen.contains(setting)) return refuseSetting(ctx, i, "duplicate parameter");
        seen.insert(setting);
        try noteChange(ctx, i, setting, &change);
    }
    if (change.memory_max) |bytes| ctx.store.memory_max = bytes;
    if (change.policy) |policy| ctx.store.setPolicy(policy);
    if (change.fsync) |fsync| ctx.engine.options.fsync = fsync;
    try ctx.out.status("OK");
}

fn settingOf(ctx: *const Context, index: usize) ?Setting {
    for (std.enums.values(Setting)) |setting| if (ctx.is(index, @tagName(setting))) return setting;
    return null;
}

fn noteChange(ctx: *Context, index: usize, setting: Setting, change: *Change) Error!void {
    switch (setting) {
        .maxmemory => change.memory_max = options_file.parseMemory(ctx.args[index + 1]) orelse
            return refuseSetting(ctx, index, "argument must be a memory value"),
        .@"maxmemory-policy" => change.policy = try choiceOf(store_file.Policy, ctx, index),
        .appendfsync => change.fsync = try choiceOf(options_file.Fsync, ctx, index),
        else => return refuseSetting(ctx, index, "can't set immutable config"),
    }
}

fn choiceOf(comptime Choice: type, ctx: *Context, index: usize) Error!Choice {
    for (std.enums.values(Choice)) |choice| if (ctx.is(index + 1, @tagName(choice))) return choice;
    return refuseSetting(ctx, index, "argument(s) must be one of the following: " ++ comptime options_file.names(Choice));
}

fn refuseSetting(ctx: *Context, index: usize, why: []const u8) error{ OutOfMemory, Replied } {
    return ctx.fail("ERR CONFIG SET failed (possibly related to argument '{s}') - {s}", .{ ctx.args[index], why });
}

// --- INFO ---------------------------------------------------------------------------------------

const Section = enum { server, clients, memory, persistence, stats, keyspace };

pub fn info(ctx: *Context) Error!void {
    var wanted: std.EnumSet(Section) = if (ctx.args.len == 1) .full else .empty;
    for (1..ctx.args.len) |i| {
        for ([_][]const u8{ "all", "everything", "default" }) |word| {
            if (ctx.is(i, word)) wanted = .full;
        }
        for (std.enums.values(Section)) |section| if (ctx.is(i, @tagName(section))) wanted.insert(section);
    }
    var text: std.Io.Writer.Allocating = .init(ctx.engine.gpa);
    defer text.deinit();
    var sections = wanted.iterator();
    while (sections.next()) |section| {
        if (text.written().len != 0) text.writer.writeAll("\r\n") catch return error.OutOfMemory;
        writeSection(ctx, section, &text.writer) catch return error.OutOfMemory;
    }
    try ctx.out.bulk(text.written());
}

fn writeSection(ctx: *Context, section: Section, writer: *std.Io.Writer) std.Io.Writer.Error!void {
    const name = @tagName(section);
    try writer.print("# {c}{s}\r\n", .{ std.ascii.toUpper(name[0]), name[1..] });
    switch (section) {
        .server => try writeServer(ctx, writer),
        .clients => try writeFields(writer, .{
            .connected_clients = ctx.engine.session_count,
            .maxclients = ctx.engine.options.clients_max,
        }),
        .memory => try writeMemory(ctx, writer),
        .persistence => try writePersistence(ctx, writer),
        .stats => try writeFields(writer, .{
            .total_connections_received = ctx.engine.stats.connections,
            .total_commands_processed = ctx.engine.stats.commands,
            .rejected_connections = ctx.engine.stats.rejected,
            .expired_keys = ctx.store.stats.expired,
            .evicted_keys = ctx.store.stats.evicted,
            .keyspace_hits = ctx.store.stats.hits,
            .keyspace_misses = ctx.store.stats.misses,
        }),
        .keyspace => if (ctx.store.keys.count != 0) {
            try writer.print("db0:keys={d},expires={d},avg_ttl={d}\r\n", .{ ctx.store.keys.count, ctx.store.expiring.items.len, ctx.store.meanLifeMs() });
        },
    }
}

fn writeServer(ctx: *Context, writer: *std.Io.Writer) std.Io.Writer.Error!void {
    const uptime_s: u64 = @intCast(@max(0, @divTrunc(ctx.store.now_ms - ctx.engine.started_ms, 1000)));
    try writeFields(writer, .{
        .redis_version = @as([]const u8, connection.redis_version),
        .server_name = @as([]const u8, "in-memory-kv-store zig"),
        .redis_mode = @as([]const u8, "standalone"),
        .arch_bits = @as(u64, @bitSizeOf(usize)),
        .multiplexing_api = @as([]const u8, "epoll"),
        .zig_version = @as([]const u8, builtin.zig_version_string),
        .process_id = @as(u64, @intCast(linux.getpid())),
        .run_id = @as([]const u8, &ctx.engine.run_id),
        .tcp_port = ctx.engine.tcp_port,
        .server_time_usec = @as(u64, @intCast(clock.wallMicroseconds())),
        .uptime_in_seconds = uptime_s,
        .uptime_in_days = uptime_s / std.time.s_per_day,
        .io_threads = ctx.engine.options.threads,
    });
}

fn writeMemory(ctx: *Context, writer: *std.Io.Writer) std.Io.Writer.Error!void {
    const used = ctx.store.usedBytes();
    const rss = clock.residentBytes();
    try writeFields(writer, .{
        .used_memory = used,
        .used_memory_rss = rss,
        .used_memory_peak = @max(used, ctx.engine.memory_peak),
        .maxmemory = ctx.store.memory_max,
        .maxmemory_policy = @as([]const u8, @tagName(ctx.store.policy)),
    });
    const ratio = @as(f64, @floatFromInt(rss)) / @as(f64, @floatFromInt(@max(used, 1)));
    try writer.print("mem_fragmentation_ratio:{d:.2}\r\n", .{ratio});
}

fn writePersistence(ctx: *Context, writer: *std.Io.Writer) std.Io.Writer.Error!void {
    const log = ctx.engine.log orelse return writeFields(writer, .{ .loading = @as(u64, 0), .aof_enabled = @as(u64, 0) });
    try writeFields(writer, .{
        .loading = @as(u64, 0),
        .aof_enabled = @as(u64, 1),
        .aof_rewrite_in_progress = @as(u64, @intFromBool(log.rewrite != null)),
        .aof_last_bgrewrite_status = @as([]const u8, if (log.last_rewrite_failed) "err" else "ok"),
        .aof_last_write_status = @as([]const u8, if (log.failed != null) "err" else "ok"),
        .aof_current_size = log.size,
        .aof_buffer_length = log.pending.bytes.items.len,
        .aof_fsyncs = log.syncs,
    });
}

/// One line for each field of a structure.
fn writeFields(writer: *std.Io.Writer, fields: anytype) std.Io.Writer.Error!void {
    inline for (comptime std.meta.fieldNames(@TypeOf(fields))) |name| {
        const value = @field(fields, name);
        const format = if (@TypeOf(value) == []const u8) "{s}" else "{d}";
        try writer.print(name ++ ":" ++ format ++ "\r\n", .{value});
    }
}
