//! @@slug@@ fetches files from a web server and says what they are.
//!
//! All requests go over one connection that is kept; with --pipeline, several of them are on their way at once. Bodies
//! are hashed as they come and never held.
//!
//! See the manual below for the options and for what is printed.

const std = @import("std");
const failure = @import("failure.zig");
const fetch = @import("fetch.zig");
const keys_file = @import("keys.zig");
const options = @import("options.zig");
const output = @import("output.zig");

const slug = "@@slug@@";

const manual =
    \\@@title@@
    \\
    \\usage: @@slug@@ --server HOST:PORT --keys FILE [options]
    \\
    \\  --server HOST:PORT  the web server, by a numeric host
    \\  --keys FILE         a key a line: 1 to 255 letters, digits, dots, hyphens, underscores
    \\  --pipeline N        requests on their way at once (default 1, at most 64)
    \\  --repeats N         do the whole job N times (default 1)
    \\  --output PATH       write the answer to PATH; - is standard output
    \\  --help, --version   print this, or the version, and stop
    \\
    \\GET /KEY is asked for each key. The answer is a line "key bytes hash" for each, in the
    \\order of the file: the length of the body, and its XXH64 as 16 hexadecimal digits.
    \\
    \\A server that closes the connection behind a reply gets the rest on a new one. It must
    \\answer within 10 seconds, with a Content-Length. A file of keys has at most 64 MiB.
    \\
    \\Without --output -, statistics and the XXH64 digest of the answer are printed.
    \\Exit code: 0 done, 2 bad usage or bad input (also a key that the server does not have),
    \\1 the machine, the network or the server failed.
    \\
;

pub fn main(init: std.process.Init) u8 {
    var why: failure.Failure = .{};
    run(init, &why) catch |err| {
        if (err == error.OutOfMemory) why.machine("out of memory", .{}) catch {};
        if (why.length != 0) report(init.io, why.text());
        return @backingInt(why.exit_code);
    };
    return 0;
}

fn run(init: std.process.Init, why: *failure.Failure) failure.Error!void {
    const arguments = init.minimal.args.toSlice(init.arena.allocator()) catch return error.OutOfMemory;
    const request = try options.parse(arguments[@min(1, arguments.len)..], why);
    if (request.help) return print(init.io, manual, why);
    if (request.version) return print(init.io, slug ++ " zig\n", why);
    const result = try runRepeats(init.io, &request, why);
    if (!std.mem.eql(u8, request.output_path, "-")) try printStatistics(init.io, result, request.repeats, why);
}

const Result = struct {
    /// Of one repeat.
    keys: u64,
    elapsed_ns: u64,
    digest: u64,
};

/// Does the job again and again from the raw input, on one clock. The last answer is the one stored: it is equal to
/// all others.
fn runRepeats(io: std.Io, request: *const options.Options, why: *failure.Failure) failure.Error!Result {
    // Large blocks that grow in place: whole pages from the kernel, moved by mremap.
    const gpa = std.heap.page_allocator;
    var digest: std.hash.XxHash64 = .init(0);
    var answer: std.ArrayList(u8) = .empty;
    var count: u64 = 0;
    const started = std.Io.Clock.awake.now(io);
    for (0..request.repeats) |_| {
        const keys = try keys_file.read(gpa, io, request.keys_path, why);
        defer keys.deinit(gpa);
        answer.clearRetainingCapacity();
        try fetch.fetchAll(gpa, &answer, request, keys.lines, why);
        count = keys.lines.len;
        digest.update(answer.items);
    }
    const elapsed = started.durationTo(std.Io.Clock.awake.now(io));
    try output.store(io, request.output_path, answer.items, why);
    return .{ .keys = count, .elapsed_ns = @intCast(elapsed.nanoseconds), .digest = digest.final() };
}

fn printStatistics(io: std.Io, result: Result, repeats: u64, why: *failure.Failure) failure.Error!void {
    const total = result.keys *| repeats;
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
    }) catch unreachable; // the numbers are bounded, the buffer is not small
    return print(io, text, why);
}

fn print(io: std.Io, text: []const u8, why: *failure.Failure) failure.Error!void {
    return output.writeAll(io, .stdout(), text, "standard output", why);
}

/// Writes one line to standard error; if that fails there is nobody left to tell.
fn report(io: std.Io, text: []const u8) void {
    var writer = std.Io.File.stderr().writerStreaming(io, &.{});
    writer.interface.print("error: {s}\n", .{text}) catch {};
}

test {
    std.testing.refAllDecls(@This());
    inline for (.{ keys_file, @import("response.zig") }) |module| std.testing.refAllDecls(module);
}
