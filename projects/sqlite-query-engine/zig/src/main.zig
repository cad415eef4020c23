//! sqlite-query-engine: answers one SELECT from an SQLite 3 database file.
//!
//! usage: sqlite-query-engine --db FILE --query SQL [--format json|csv] [--output PATH] [--repeats N]
//!
//! Every repeat does the whole job from the raw file: open and map it, check header, journal and WAL,
//! read the schema, parse, plan, execute, render. Prints a block of statistics with the digest of the
//! answer; the answer itself goes to --output.

const std = @import("std");
const Io = std.Io;
const executor = @import("executor.zig");
const render = @import("render.zig");
const diag_zig = @import("diag.zig");
const Diag = diag_zig.Diag;
const Error = diag_zig.Error;

const name = "sqlite-query-engine";

const manual =
    \\sqlite-query-engine: answers one SELECT from an SQLite 3 database file
    \\
    \\usage: sqlite-query-engine --db FILE --query SQL [options]
    \\
    \\options:
    \\  --db FILE          the database; it is mapped read-only
    \\  --query SQL        [EXPLAIN QUERY PLAN] SELECT ... on one table, or without FROM
    \\  --format json|csv  how rows are written: JSON arrays, one a line (default), or CSV with a header
    \\  --output PATH      store the answer in PATH; "-" writes it to stdout instead of the statistics
    \\  --repeats N        do the whole job N times, 1 to 1000000000 (default 1)
    \\  --help             print this
    \\  --version          print name and language
    \\
    \\prints:
    \\  a block of statistics: rows read, processing time, average latency a repeat, throughput, and the
    \\  XXH64 digest of the answers of all repeats
    \\
    \\exit codes:
    \\  0 done, 1 the machine failed, 2 bad usage or bad input; then one line on stderr says why
    \\
;

const Options = struct {
    job: executor.Job,
    output: ?[]const u8,
    repeats: u64,
};

const Command = union(enum) { run: Options, help, version };

pub const std_options: std.Options = .{ .enable_segfault_handler = false };

pub fn main(init: std.process.Init.Minimal) u8 {
    var diag: Diag = .{};
    var threaded: Io.Threaded = .init_single_threaded;
    const io = threaded.io();
    ignoreBrokenPipe();
    explainLostPages();
    perform(io, init.args, &diag) catch |err| {
        if (err == error.OutOfMemory) diag = .{};
        report(io, if (err == error.OutOfMemory) "out of memory" else diag.message());
        return if (err == error.BadInput) 2 else 1;
    };
    return 0;
}

/// A closed stdout is an error code of write, not a signal.
fn ignoreBrokenPipe() void {
    std.posix.sigaction(.PIPE, &.{
        .handler = .{ .handler = std.posix.SIG.IGN },
        .mask = std.posix.sigemptyset(),
        .flags = 0,
    }, null);
}

/// A mapped page that cannot be read (a failing disk, a file cut short by someone else) raises SIGBUS.
fn explainLostPages() void {
    const handler = struct {
        fn handle(_: std.posix.SIG) callconv(.c) void {
            const message = "error: the database file could not be read where it is mapped: it shrank, or the disk failed\n";
            _ = std.os.linux.write(2, message, message.len);
            std.os.linux.exit_group(1);
        }
    }.handle;
    std.posix.sigaction(.BUS, &.{ .handler = .{ .handler = handler }, .mask = std.posix.sigemptyset(), .flags = 0 }, null);
}

/// One line on stderr; an empty message means that there is nobody to tell.
fn report(io: Io, message: []const u8) void {
    if (message.len == 0) return;
    var buffer: [2048]u8 = undefined;
    var writer = Io.File.stderr().writerStreaming(io, &buffer);
    writeLine(&writer.interface, message) catch {};
}

fn writeLine(out: *Io.Writer, message: []const u8) Io.Writer.Error!void {
    try out.writeAll("error: ");
    for (message) |byte| switch (byte) {
        '\n' => try out.writeAll("\\n"),
        '\r' => try out.writeAll("\\r"),
        '\t' => try out.writeAll("\\t"),
        0...8, 11, 12, 14...31, 127 => try out.print("\\x{x:0>2}", .{byte}),
        else => try out.writeByte(byte),
    };
    try out.writeByte('\n');
    try out.flush();
}

fn perform(io: Io, args: std.process.Args, diag: *Diag) Error!void {
    var arena: std.heap.ArenaAllocator = .init(std.heap.page_allocator);
    defer arena.deinit();
    const list = args.toSlice(arena.allocator()) catch return error.OutOfMemory;
    switch (try parseArguments(diag, list[@min(1, list.len)..])) {
        .help => try print(io, diag, manual),
        .version => try print(io, diag, name ++ " zig\n"),
        .run => |options| try runRepeats(io, diag, options),
    }
}

fn print(io: Io, diag: *Diag, text: []const u8) Error!void {
    Io.File.stdout().writeStreamingAll(io, text) catch |err| return stdoutError(diag, err);
}

fn stdoutError(diag: *Diag, err: anyerror) Error {
    if (err == error.BrokenPipe) return error.Machine;
    return diag.machine("stdout: {t}", .{err});
}

// --- Arguments ----------------------------------------------------------------------------

fn parseArguments(diag: *Diag, args: []const [:0]const u8) Error!Command {
    const Option = enum { @"--db", @"--query", @"--format", @"--output", @"--repeats" };
    var values: std.EnumArray(Option, ?[]const u8) = .initFill(null);
    var i: usize = 0;
    while (i < args.len) : (i += 1) {
        const arg: []const u8 = args[i];
        if (std.mem.eql(u8, arg, "--help")) return .help;
        if (std.mem.eql(u8, arg, "--version")) return .version;
        const equals = if (std.mem.startsWith(u8, arg, "--")) std.mem.findScalar(u8, arg, '=') else null;
        const option = std.meta.stringToEnum(Option, arg[0 .. equals orelse arg.len]) orelse
            return diag.bad("unknown option: {s}", .{arg});
        if (equals) |at| {
            values.set(option, arg[at + 1 ..]);
        } else {
            i += 1;
            if (i == args.len) return diag.bad("{t} needs a value", .{option});
            values.set(option, args[i]);
        }
    }
    if (values.get(.@"--output")) |path| if (path.len == 0) return diag.bad("--output: empty path", .{});
    const format = values.get(.@"--format") orelse "json";
    const repeats = values.get(.@"--repeats") orelse "1";
    return .{ .run = .{
        .job = .{
            .path = values.get(.@"--db") orelse return diag.bad("--db is required", .{}),
            .sql = values.get(.@"--query") orelse return diag.bad("--query is required", .{}),
            .format = std.meta.stringToEnum(render.Format, format) orelse return diag.bad("--format: neither json nor csv: {s}", .{format}),
        },
        .output = values.get(.@"--output"),
        .repeats = parseRepeats(repeats) orelse return diag.bad("--repeats: not a number from 1 to 1000000000: {s}", .{repeats}),
    } };
}

fn parseRepeats(text: []const u8) ?u64 {
    for (text) |byte| if (!std.ascii.isDigit(byte)) return null;
    const number = std.fmt.parseInt(u64, text, 10) catch return null;
    return if (number >= 1 and number <= 1_000_000_000) number else null;
}

// --- The job ------------------------------------------------------------------------------

const Statistics = struct { items: u64, wall_ns: u64, digest: u64 };

fn runRepeats(io: Io, diag: *Diag, options: Options) Error!void {
    const gpa = std.heap.page_allocator;
    const path = options.output orelse {
        const statistics = try measure(io, diag, options, null);
        return printStatistics(io, diag, options, statistics);
    };
    if (std.mem.eql(u8, path, "-")) {
        // Held back until it is known that no error follows.
        var answer: Io.Writer.Allocating = .init(gpa);
        defer answer.deinit();
        _ = try measure(io, diag, options, &answer.writer);
        return print(io, diag, answer.written());
    }
    const statistics = try runWithFile(io, diag, options, path);
    try printStatistics(io, diag, options, statistics);
}

/// The answer is written beside its destination and renamed at the end, so no half answer is ever seen.
fn runWithFile(io: Io, diag: *Diag, options: Options, path: []const u8) Error!Statistics {
    var buffer: [64 * 1024]u8 = undefined;
    const cwd = Io.Dir.cwd();
    if (cwd.statFile(io, path, .{})) |stat| {
        if (stat.kind == .directory) return diag.bad("{s}: is a directory", .{path});
        if (stat.kind != .file) {
            // A device or a pipe cannot be replaced.
            const device = cwd.openFile(io, path, .{ .mode = .write_only }) catch |err| return diag.machine("{s}: {t}", .{ path, err });
            defer device.close(io);
            var writer = device.writerStreaming(io, &buffer);
            return writeTo(io, diag, options, path, &writer);
        }
    } else |_| {}
    var atomic = cwd.createFileAtomic(io, path, .{ .replace = true }) catch |err| return createError(diag, path, err);
    defer atomic.deinit(io);
    var writer = atomic.file.writerStreaming(io, &buffer);
    const statistics = try writeTo(io, diag, options, path, &writer);
    atomic.replace(io) catch |err| return diag.machine("{s}: {t}", .{ path, err });
    return statistics;
}

fn createError(diag: *Diag, path: []const u8, err: Io.Dir.CreateFileAtomicError) Error {
    return switch (err) {
        error.FileNotFound, error.NotDir => diag.bad("{s}: no such folder", .{path}),
        error.AccessDenied, error.PermissionDenied => diag.bad("{s}: permission denied", .{path}),
        error.NameTooLong, error.BadPathName => diag.bad("{s}: bad file name", .{path}),
        else => diag.machine("{s}: {t}", .{ path, err }),
    };
}

fn writeTo(io: Io, diag: *Diag, options: Options, path: []const u8, writer: *Io.File.Writer) Error!Statistics {
    const statistics = measure(io, diag, options, &writer.interface) catch |err| {
        if (writer.err) |cause| return diag.machine("{s}: {t}", .{ path, cause });
        return err;
    };
    writer.interface.flush() catch return diag.machine("{s}: {t}", .{ path, writer.err orelse error.Unexpected });
    return statistics;
}

/// The measured work: all repeats, the answer of the first one stored.
fn measure(io: Io, diag: *Diag, options: Options, store: ?*Io.Writer) Error!Statistics {
    const gpa = std.heap.page_allocator;
    var arena: std.heap.ArenaAllocator = .init(gpa);
    defer arena.deinit();
    var context: executor.Context = .{ .gpa = gpa, .io = io, .diag = diag, .arena = &arena };
    defer context.deinit();
    var hasher: std.hash.XxHash64 = .init(0);
    const out = try gpa.create(render.Output);
    defer gpa.destroy(out);
    out.* = .{ .hasher = &hasher, .writer = store };

    var items: u64 = 0;
    const start = Io.Clock.awake.now(io);
    for (0..options.repeats) |_| {
        items = try executor.run(&context, options.job, out);
        out.writer = null;
    }
    const end = Io.Clock.awake.now(io);
    return .{
        .items = items,
        .wall_ns = @intCast(@max(1, end.nanoseconds - start.nanoseconds)),
        .digest = hasher.final(),
    };
}

fn printStatistics(io: Io, diag: *Diag, options: Options, statistics: Statistics) Error!void {
    const total = std.math.mulWide(u64, statistics.items, options.repeats);
    const seconds = @as(f64, @floatFromInt(statistics.wall_ns)) / 1e9;
    var buffer: [512]u8 = undefined;
    const text = std.fmt.bufPrint(&buffer,
        \\--- Statistics ---
        \\Total processed: {d}
        \\Processing time: {d:.6}s
        \\Average latency: {d:.6}ms
        \\Throughput: {d:.2} items/sec
        \\Digest: {x:0>16}
        \\
    , .{
        total,
        seconds,
        seconds * 1e3 / @as(f64, @floatFromInt(options.repeats)),
        @as(f64, @floatFromInt(total)) / seconds,
        statistics.digest,
    }) catch unreachable;
    try print(io, diag, text);
}

test {
    _ = @import("aggregate.zig");
    _ = @import("btree.zig");
    _ = @import("compile.zig");
    _ = @import("eval.zig");
    _ = @import("executor.zig");
    _ = @import("filter.zig");
    _ = @import("functions.zig");
    _ = @import("keys.zig");
    _ = @import("lexer.zig");
    _ = @import("like.zig");
    _ = @import("pager.zig");
    _ = @import("parser.zig");
    _ = @import("planner.zig");
    _ = @import("record.zig");
    _ = @import("render.zig");
    _ = @import("schema.zig");
    _ = @import("sorter.zig");
    _ = @import("value.zig");
}

test parseArguments {
    var diag: Diag = .{};
    const good = try parseArguments(&diag, &.{ "--db", "a.db", "--query=SELECT '=' ", "--repeats=12", "--format", "csv" });
    try std.testing.expectEqualStrings("SELECT '=' ", good.run.job.sql);
    try std.testing.expectEqual(12, good.run.repeats);
    const bad = [_]struct { []const [:0]const u8, []const u8 }{
        .{ &.{"--wat"}, "unknown option: --wat" },
        .{ &.{"--db"}, "--db needs a value" },
        .{ &.{ "--db", "x" }, "--query is required" },
        .{ &.{ "--db", "x", "--query", "q", "--repeats", "0" }, "--repeats: not a number from 1 to 1000000000: 0" },
        .{ &.{ "--db", "x", "--query", "q", "--repeats", "1e3" }, "--repeats: not a number from 1 to 1000000000: 1e3" },
        .{ &.{ "--db", "x", "--query", "q", "--format", "xml" }, "--format: neither json nor csv: xml" },
    };
    for (bad) |case| {
        try std.testing.expectError(error.BadInput, parseArguments(&diag, case[0]));
        try std.testing.expectEqualStrings(case[1], diag.message());
    }
}
