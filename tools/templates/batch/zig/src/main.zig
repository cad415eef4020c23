//! @@slug@@ counts the words of a text and prints the most frequent ones.
//!
//! The text is read in blocks of 256 KiB. A word is a run of ASCII letters, digits and bytes from 0x80 on; ASCII letters
//! are lower-cased. Words are counted in a hash table with open addressing that allocates nothing for a word that it
//! knows. All work is done by one thread.
//!
//! See the manual below for the options and for what is printed.

const std = @import("std");
const failure = @import("failure.zig");
const options = @import("options.zig");
const output = @import("output.zig");
const render = @import("render.zig");
const Counter = @import("words.zig").Counter;

const slug = "@@slug@@";

const manual =
    \\@@title@@
    \\
    \\usage: @@slug@@ --input FILE [options]
    \\
    \\  --input FILE       the text
    \\  --top N            how many words to print (default 20, at most 1000000)
    \\  --repeats N        do the whole job N times (default 1)
    \\  --output PATH      write the answer to PATH; - is standard output
    \\  --help, --version  print this, or the version, and stop
    \\
    \\The answer is a line "word count" for each of the N most frequent words: larger
    \\counts first, equal counts in the order of the words' bytes. A word is a run of
    \\ASCII letters, digits and bytes from 0x80 on; ASCII letters are lower-cased.
    \\
    \\Memory: less than 1 GiB, whatever the size of the text; 50,000 different words take
    \\20 MiB. Words of more than 65536 bytes, more than 2097152 different words and more
    \\than 67108864 bytes of different words are refused.
    \\
    \\Without --output -, statistics and the XXH64 digest of the answer are printed.
    \\Exit code: 0 done, 2 bad usage or bad input, 1 the machine failed.
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
    words: u64,
    elapsed_ns: u64,
    digest: u64,
};

/// Does the job again and again from the raw input, on one clock. The last answer is the one stored: it is equal to
/// all others.
fn runRepeats(io: std.Io, request: *const options.Options, why: *failure.Failure) failure.Error!Result {
    // Large blocks that grow in place: whole pages from the kernel, moved by mremap.
    const gpa = std.heap.page_allocator;
    var seeds: [2]u64 = undefined;
    io.random(std.mem.asBytes(&seeds));
    var counter: Counter = try .init(gpa, seeds);
    var digest: std.hash.XxHash64 = .init(0);
    var answer: std.ArrayList(u8) = .empty;
    var words: u64 = 0;
    const started = std.Io.Clock.awake.now(io);
    for (0..request.repeats) |_| {
        words = try counter.count(io, request.input_path, why);
        answer.clearRetainingCapacity();
        try render.render(gpa, &answer, &counter.words, request.top);
        digest.update(answer.items);
    }
    const elapsed = started.durationTo(std.Io.Clock.awake.now(io));
    try output.store(io, request.output_path, answer.items, why);
    return .{ .words = words, .elapsed_ns = @intCast(elapsed.nanoseconds), .digest = digest.final() };
}

fn printStatistics(io: std.Io, result: Result, repeats: u64, why: *failure.Failure) failure.Error!void {
    const total = result.words *| repeats;
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
    inline for (.{ @import("table.zig"), @import("words.zig") }) |module| std.testing.refAllDecls(module);
}
