//! in-memory-kv-store is an in-memory store that speaks the protocol of Redis: redis-cli, redis-py and
//! redis-benchmark use it unchanged.
//!
//! One thread reads, does and answers; the table of keys grows by one bucket at a time, so nothing ever pauses it. With
//! an append-only file every change is in the file before its reply leaves, synced as `--appendfsync` says.
//!
//! See the manual below for the options, the exit codes and the commands.

const std = @import("std");
const aof = @import("aof.zig");
const clock = @import("clock.zig");
const failure = @import("failure.zig");
const options_file = @import("options.zig");
const table = @import("table.zig");
const Engine = @import("engine.zig").Engine;
const Listener = @import("listener.zig").Listener;
const Options = options_file.Options;
const Server = @import("server.zig").Server;
const linux = std.os.linux;

const slug = "in-memory-kv-store";

const manual =
    \\in-memory-kv-store: an in-memory store for clients of Redis
    \\
    \\usage: in-memory-kv-store --listen ADDRESS [options]
    \\       in-memory-kv-store --check-aof PATH
    \\
    \\  --listen ADDRESS           HOST:PORT (numeric host; port 0 is any free port) or
    \\                             unix:PATH; may be given again
    \\  --threads N                threads that serve clients (default 1)
    \\  --maxmemory BYTES          limit of keys, values and tables; 0 is none (default);
    \\                             k, m, g are thousands, kb, mb, gb powers of 1024
    \\  --maxmemory-policy POLICY  what to evict at the limit: noeviction (default), allkeys-lru,
    \\                             volatile-lru, allkeys-random, volatile-ttl
    \\  --appendonly PATH          log every change to PATH and replay it at the start
    \\  --appendfsync WHEN         sync the log: always (before a reply leaves), everysec
    \\                             (default), no (when the kernel likes)
    \\  --maxclients N             refuse more clients than this (default 10000)
    \\  --drain-timeout SECONDS    how long SIGTERM waits for replies in flight (default 5)
    \\  --check-aof PATH           check an append-only file, print what is in it, and stop
    \\  --help, --version          print this, or the version, and stop
    \\
    \\Prints "listening on ADDRESS" for each address when ready. SIGTERM and SIGINT stop
    \\accepting, answer what was received, and end; a second signal ends at once.
    \\
    \\Protocol: RESP2 and inline commands. Commands: strings, keys and expiry, lists,
    \\hashes, sets, sorted sets, MULTI and WATCH, CLIENT, CONFIG, INFO, MEMORY USAGE,
    \\BGREWRITEAOF (in a child process, while the store goes on serving), SHUTDOWN.
    \\One database. Argument limit 512 MB.
    \\
    \\Exit code: 0 done, 1 the machine failed (a full disk, no memory), 2 bad usage or bad
    \\input (an address in use, a corrupt append-only file).
    \\
;

pub const std_options: std.Options = .{ .enable_segfault_handler = false };

pub fn main(init: std.process.Init) u8 {
    var why: failure.Failure = .{};
    run(init, &why) catch |err| {
        if (err == error.OutOfMemory) why.machine("out of memory", .{}) catch {};
        failure.report("error: {s}", .{why.text()});
        return @backingInt(why.exit_code);
    };
    return 0;
}

fn run(init: std.process.Init, why: *failure.Failure) failure.Error!void {
    const arena = init.arena.allocator();
    const arguments = init.minimal.args.toSlice(arena) catch return error.OutOfMemory;
    var options = try options_file.parse(arguments[@min(1, arguments.len)..], arena, why);
    ignoreSignals();
    if (options.help) return print(manual, why);
    if (options.version) return print(slug ++ " zig\n", why);
    if (options.check_path) |path| return checkLog(path, why);
    init.io.random(std.mem.asBytes(&table.seed));
    allowFiles(&options);
    try serve(init.io, arena, &options, why);
}

/// A client or a reader of our output that goes away, and a file that may not grow, are errors of calls.
fn ignoreSignals() void {
    const ignore: linux.Sigaction = .{ .handler = .{ .handler = linux.SIG.IGN }, .mask = linux.sigemptyset(), .flags = 0 };
    _ = linux.sigaction(.PIPE, &ignore, null);
    _ = linux.sigaction(.XFSZ, &ignore, null);
}

/// Files of our own besides the sockets of clients.
const own_files = 32;

/// Raises the limit of open files as far as may be; fewer clients are allowed if that is not enough.
fn allowFiles(options: *Options) void {
    var limit: linux.rlimit = undefined;
    if (linux.errno(linux.getrlimit(.NOFILE, &limit)) != .SUCCESS) return;
    const wanted = options.clients_max + own_files;
    if (limit.cur < wanted) {
        const raised: linux.rlimit = .{ .cur = @min(wanted, limit.max), .max = limit.max };
        if (linux.errno(linux.setrlimit(.NOFILE, &raised)) == .SUCCESS) limit = raised;
    }
    options.clients_max = @min(options.clients_max, @max(limit.cur, own_files + 1) - own_files);
}

fn checkLog(path: [:0]const u8, why: *failure.Failure) failure.Error!void {
    const found = try aof.check(std.heap.smp_allocator, path, why);
    var buffer: [128]u8 = undefined;
    const text = if (found.torn_bytes == 0)
        std.fmt.bufPrint(&buffer, "ok, {d} commands\n", .{found.commands})
    else
        std.fmt.bufPrint(&buffer, "ok, {d} commands, {d} bytes of an unfinished command at byte {d}\n", .{ found.commands, found.torn_bytes, found.end });
    return print(text catch unreachable, why);
}

fn serve(io: std.Io, arena: std.mem.Allocator, options: *Options, why: *failure.Failure) failure.Error!void {
    const gpa = std.heap.smp_allocator;
    const listeners = try arena.alloc(Listener, options.listen.items.len);
    for (listeners, options.listen.items, 0..) |*listener, text, i| {
        errdefer for (listeners[0..i]) |*opened| opened.close();
        listener.* = try .open(arena, text, why);
    }
    errdefer for (listeners) |*listener| listener.close();
    var random_seed: u64 = 0;
    io.random(std.mem.asBytes(&random_seed));
    const engine = try arena.create(Engine);
    engine.* = .{ .gpa = gpa, .options = options, .tcp_port = portOf(listeners) };
    engine.start(clock.wallMilliseconds(), random_seed);
    var log: aof.Log = undefined;
    if (options.log_path) |path| {
        log = try .open(gpa, options, path, why);
        try log.load(engine, why);
        engine.log = &log;
    }
    const server: *Server = try .init(gpa, io, engine, listeners, why);
    for (listeners) |*listener| try printLine(listener.name, why);
    try server.run(why);
    if (engine.log != null and !log.close()) return why.machine("{f}: not all changes are in the file", .{failure.escaped(log.path)});
}

fn portOf(listeners: []const Listener) u16 {
    for (listeners) |listener| if (listener.port != 0) return listener.port;
    return 0;
}

fn printLine(name: []const u8, why: *failure.Failure) failure.Error!void {
    var buffer: [256]u8 = undefined;
    return print(std.fmt.bufPrint(&buffer, "listening on {s}\n", .{name}) catch unreachable, why);
}

fn print(text: []const u8, why: *failure.Failure) failure.Error!void {
    var rest = text;
    while (rest.len != 0) {
        const written = linux.write(1, rest.ptr, rest.len);
        const code = linux.errno(written);
        if (code != .SUCCESS) return why.machine("standard output: {s}", .{failure.reason(code)});
        rest = rest[written..];
    }
}

test {
    inline for (.{
        @import("admin.zig"),      @import("aof.zig"),       @import("clock.zig"),    @import("collections.zig"), @import("commands.zig"),
        @import("connection.zig"), @import("engine.zig"),    @import("failure.zig"),  @import("glob.zig"),        @import("hashes.zig"),
        @import("heap.zig"),       @import("keys.zig"),      @import("listener.zig"), @import("lists.zig"),       @import("numbers.zig"),
        @import("options.zig"),    @import("quicklist.zig"), @import("resp.zig"),     @import("server.zig"),      @import("sets.zig"),
        @import("sorted.zig"),     @import("store.zig"),     @import("strings.zig"),  @import("table.zig"),       @import("transactions.zig"),
        @import("zsets.zig"),
    }) |module| std.testing.refAllDecls(module);
}
