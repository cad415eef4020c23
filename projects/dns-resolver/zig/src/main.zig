//! dns-resolver finds answers in the domain name system by itself: from the root servers down, with a cache.
//!
//! One thread runs one event loop over epoll. Datagrams are received and sent many at a time; an answer that is known
//! is copied from the cache, where it lies ready to be sent, and nothing is allocated for it. An answer that is not
//! known is looked for by a task, a small state machine that asks one server after the other.
//!
//! See the manual below for the options and for what is printed.

const std = @import("std");
const bulk = @import("bulk.zig");
const cache = @import("cache.zig");
const failure = @import("failure.zig");
const hints = @import("hints.zig");
const net = @import("net.zig");
const options_file = @import("options.zig");
const server = @import("server.zig");

const slug = "dns-resolver";

const manual =
    \\dns-resolver: answer questions of the domain name system, from the root down
    \\
    \\usage: dns-resolver --listen HOST:PORT --hints FILE [options]
    \\       dns-resolver --bulk QUERIES --hints FILE [options]
    \\
    \\  --hints FILE            root hints in the format of master files: NS records of
    \\                          the root, A and AAAA records of its servers
    \\
    \\Server mode:
    \\  --listen HOST:PORT      answer UDP and TCP here; the host is numeric, port 0 is any
    \\                          free port
    \\  --threads N             threads that work, each with its own part of the cache
    \\                          (default 1)
    \\  --drain-timeout S       for questions that wait when the end is asked for
    \\                          (seconds, default 5)
    \\
    \\Bulk mode, on one thread:
    \\  --bulk QUERIES          a file with "name type" on each line; - is standard input
    \\  --in-flight N           questions under way at the same time (default 1000)
    \\  --output PATH           write one line for each question, in their order; - is
    \\                          standard output, then without statistics
    \\  --repeats N             do the whole job N times, each from an empty cache
    \\                          (default 1)
    \\
    \\Asking servers:
    \\  --port-of-servers N     the port they listen on (default 53)
    \\  --bind ADDRESS          where questions come from (default 127.0.0.1); with an
    \\                          address of IPv4 only such servers are asked, with :: all
    \\  --ipv4-only             ask servers of IPv4 only, also with --bind ::
    \\  --timeout S             for the first try (seconds, default 0.4); doubles with each
    \\                          retry, up to 3
    \\  --attempts N            tries without an answer for each set of servers (default 4)
    \\  --max-queries N         to servers for one question of a client (default 100)
    \\  --max-depth N           nested searches for addresses of servers (default 16)
    \\  --edns-size N           bytes of the longest datagram from servers, 512 to 4096
    \\                          (default 1232)
    \\
    \\Cache:
    \\  --cache-bytes N         its size, with kb, mb or gb (default 64mb)
    \\  --max-ttl S, --min-ttl S
    \\                          limits for times to live (seconds, default 86400 and 0)
    \\  --negative-ttl-max S    limit for what does not exist (seconds, default 3600)
    \\
    \\  --help, --version       print this, or the version, and stop
    \\
    \\When ready the server prints "listening on HOST:PORT". SIGUSR1 writes a line of
    \\counters to standard error, so does the end. SIGTERM and SIGINT end it when waiting
    \\questions are answered; a second one ends it at once.
    \\
    \\Exit code: 0 done or ended as asked, 2 bad usage or bad input, 1 the machine failed.
    \\
;

pub fn main(init: std.process.Init) u8 {
    net.ignoreBrokenPipes();
    var why: failure.Failure = .{};
    run(init, &why) catch |err| {
        if (err == error.OutOfMemory) why.machine("out of memory", .{}) catch {};
        if (why.length != 0) failure.report("error: {s}", .{why.text()});
        return @backingInt(why.exit_code);
    };
    return 0;
}

fn run(init: std.process.Init, why: *failure.Failure) failure.Error!void {
    const arena = init.arena.allocator();
    const arguments = init.minimal.args.toSlice(arena) catch return error.OutOfMemory;
    const options = try options_file.parse(arguments[@min(1, arguments.len)..], why);
    if (options.help) return net.print(manual, why);
    if (options.version) return net.print(slug ++ " zig\n", why);
    const root = try hints.load(init.io, arena, options.hints, options.reach(), why);
    try net.checkSource(options.bind_ip, options.reach(), options.bind, why);
    init.io.random(std.mem.asBytes(&cache.Key.seed));
    std.process.raiseFileDescriptorLimit();
    const gpa = std.heap.smp_allocator;
    if (options.bulk.len != 0) return bulk.run(init.io, gpa, &options, &root, why);
    return server.serve(init.io, gpa, &options, &root, why);
}

test {
    std.testing.refAllDecls(@This());
    inline for (.{
        @import("bulk.zig"),    @import("cache.zig"),  @import("canonical.zig"), @import("client.zig"),  @import("cut.zig"),
        @import("failure.zig"), @import("hints.zig"),  @import("net.zig"),       @import("options.zig"), @import("request.zig"),
        @import("resolve.zig"), @import("server.zig"), @import("stats.zig"),     @import("timers.zig"),  @import("upstream.zig"),
        @import("wire.zig"),
    }) |module| std.testing.refAllDecls(module);
}
