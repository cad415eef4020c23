//! csv-stream-aggregator groups and aggregates a CSV file of any size in bounded memory.
//!
//! The text is read in blocks of 256 KiB. A scan finds the ends of all fields and records, 64 bytes at a time; only
//! the fields that are asked for are then looked at. Sums are exact: a number is an integer and a decimal scale, and a
//! sum has 128 bits. All work is done by one thread; gzip and zstd are decoded here as well.
//!
//! See the manual below for the options and for what is printed.

const std = @import("std");
const failure = @import("failure.zig");
const options = @import("options.zig");
const output = @import("output.zig");
const Job = @import("job.zig").Job;

const slug = "csv-stream-aggregator";

const manual =
    \\csv-stream-aggregator: group and aggregate a CSV file of any size in bounded memory
    \\
    \\usage: csv-stream-aggregator --input FILE --agg LIST [options]
    \\
    \\  --input FILE          the CSV text, plain or packed; - is standard input
    \\  --agg LIST            what to compute, separated by commas:
    \\                        count, count:COL, sum:COL, min:COL, max:COL, mean:COL
    \\  --group-by LIST       columns that make a group, separated by commas (default: one group)
    \\  --where 'COL OP LIT'  keep only rows where this holds; may be given again, all must hold
    \\                        OP is = or != (text), < <= > >= (numbers)
    \\  --delimiter C         one ASCII byte, or \t (default ,)
    \\  --no-header           the first record is data; columns are named 1, 2, ...
    \\  --on-error WHAT       fail (default) or skip: leave bad rows out and count them
    \\  --compression KIND    auto (default, by magic bytes), none, gzip, zstd
    \\  --max-groups N        refuse more groups than this (default 1000000)
    \\  --max-record-bytes N  refuse longer records (default 1048576)
    \\  --format FORMAT       csv (default) or json (one object a line)
    \\  --output PATH         write the answer to PATH; - is standard output
    \\  --repeats N           do the whole job N times (default 1)
    \\  --help, --version     print this, or the version, and stop
    \\
    \\Numbers are exact decimals of up to 18 digits, 18 of them behind the point. Sums
    \\are exact; a mean has six fraction digits more than its column, rounded half to
    \\even. An empty field is no value. Groups are sorted by their bytes.
    \\
    \\Memory: 64 MiB hold 100,000 groups of keys up to 100 bytes and four aggregated
    \\columns, whatever the size of the input; a group takes about 52 bytes, its key
    \\and 48 bytes an aggregated column. A zstd window above 32 MiB is refused.
    \\
    \\Without --output -, statistics and the XXH64 digest of the answer are printed.
    \\Exit code: 0 done, 2 bad usage or bad input, 1 the machine failed.
    \\
;

pub fn main(init: std.process.Init) u8 {
    ignoreBrokenPipes();
    var why: failure.Failure = .{};
    run(init, &why) catch |err| {
        if (err == error.OutOfMemory) why.machine("out of memory", .{}) catch {};
        if (why.length != 0) report(init.io, "error: ", why.text());
        return @backingInt(why.exit_code);
    };
    return 0;
}

/// A reader of our output that goes away is an error like others, not a signal.
fn ignoreBrokenPipes() void {
    const ignore: std.posix.Sigaction = .{
        .handler = .{ .handler = std.posix.SIG.IGN },
        .mask = std.posix.sigemptyset(),
        .flags = 0,
    };
    std.posix.sigaction(.PIPE, &ignore, null);
}

fn run(init: std.process.Init, why: *failure.Failure) failure.Error!void {
    const arguments = init.minimal.args.toSlice(init.arena.allocator()) catch return error.OutOfMemory;
    const request = try options.parse(arguments[@min(1, arguments.len)..], init.arena.allocator(), why);
    if (request.help) return print(init.io, manual, why);
    if (request.version) return print(init.io, slug ++ " zig\n", why);
    const result = try runRepeats(init.io, &request, why);
    if (result.skipped != 0) {
        var buffer: [64]u8 = undefined;
        report(init.io, "", std.fmt.bufPrint(&buffer, "note: {d} bad rows skipped", .{result.skipped}) catch unreachable);
    }
    if (!std.mem.eql(u8, request.output_path, "-")) try printStatistics(init.io, result, request.repeats, why);
}

const Result = struct {
    /// Of one repeat.
    items: u64,
    skipped: u64,
    elapsed_ns: u64,
    digest: u64,
};

/// Does the job again and again from the raw input, on one clock. The last answer is the one stored: it is equal to
/// all others, and a failure before it leaves no trace.
fn runRepeats(io: std.Io, request: *const options.Options, why: *failure.Failure) failure.Error!Result {
    var seed: u64 = 0;
    io.random(std.mem.asBytes(&seed));
    // Large blocks that grow in place: whole pages from the kernel, moved by mremap.
    var job: Job = .init(std.heap.page_allocator, io, request, seed, why);
    var answer: output.Answer = .{};
    const started = std.Io.Clock.awake.now(io);
    for (1..request.repeats) |_| try job.run(&answer);
    try runStored(&job, &answer, request.output_path);
    const elapsed = started.durationTo(std.Io.Clock.awake.now(io));
    return .{
        .items = job.items,
        .skipped = job.skipped,
        .elapsed_ns = @intCast(elapsed.nanoseconds),
        .digest = answer.hash.final(),
    };
}

/// The last repeat, with its answer stored if that is asked for.
fn runStored(job: *Job, answer: *output.Answer, path: []const u8) failure.Error!void {
    if (path.len == 0) return job.run(answer);
    var target = try output.Target.open(job.io, path, job.why);
    defer target.close();
    answer.target = &target;
    try job.run(answer);
    try target.commit();
}

fn printStatistics(io: std.Io, result: Result, repeats: u64, why: *failure.Failure) failure.Error!void {
    const total = result.items *| repeats;
    const seconds = @as(f64, @floatFromInt(result.elapsed_ns)) / std.time.ns_per_s;
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
        seconds * 1000 / @as(f64, @floatFromInt(repeats)),
        @as(f64, @floatFromInt(total)) / @max(seconds, 1e-9),
        result.digest,
    }) catch unreachable;
    return print(io, text, why);
}

fn print(io: std.Io, text: []const u8, why: *failure.Failure) failure.Error!void {
    return output.writeAll(io, .stdout(), text, "standard output", why);
}

/// Writes one line to standard error; if that fails there is nobody left to tell.
fn report(io: std.Io, head: []const u8, text: []const u8) void {
    var writer = std.Io.File.stderr().writerStreaming(io, &.{});
    writer.interface.print("{s}{s}\n", .{ head, text }) catch {};
}

test {
    std.testing.refAllDecls(@This());
    inline for (.{
        @import("aggregate.zig"), @import("decimal.zig"), @import("filter.zig"), @import("fse.zig"),  @import("gzip.zig"),
        @import("huffman.zig"),   @import("input.zig"),   @import("job.zig"),    @import("plan.zig"), @import("record.zig"),
        @import("render.zig"),    @import("scan.zig"),    @import("zstd.zig"),
    }) |module| std.testing.refAllDecls(module);
}
