//! high-perf-reverse-proxy passes HTTP/1.1 requests of many clients on to a few backends.
//!
//! Each thread runs one event loop over epoll; a connection is a small state machine, and there is no memory to ask for
//! and no lock to take in the life of a request. Heads are rewritten by copying the runs that stay, bodies pass through
//! bounded buffers, chunk by chunk judged before it goes on.
//!
//! See the manual below for the options and for what is printed.

const std = @import("std");
const failure = @import("failure.zig");
const net = @import("net.zig");
const options = @import("options.zig");
const server = @import("server.zig");

const slug = "high-perf-reverse-proxy";

const manual =
    \\high-perf-reverse-proxy: an HTTP/1.1 reverse proxy with pooled connections to its backends
    \\
    \\usage: high-perf-reverse-proxy --listen HOST:PORT --backends HOST:PORT[,HOST:PORT...] [options]
    \\
    \\  --listen HOST:PORT       where clients connect; port 0 is any free port
    \\  --backends LIST          the servers behind it, at most 256, separated by commas; names are resolved once, at start
    \\  --balance HOW            round-robin (default), least-connections (fewest requests under way), or
    \\                           hash (rendezvous hashing of the client's address)
    \\  --hash-header NAME       with --balance hash: hash this request header instead, where it is present
    \\  --pool-size N            idle connections kept per backend (default 64)
    \\  --max-connections N      client connections; more are answered 503 (default 10000)
    \\  --threads N              threads that do the work (default 1)
    \\  --admin HOST:PORT        a second listener with GET /metrics (Prometheus text) and GET /health
    \\
    \\Time-outs, in seconds, fractions allowed:
    \\  --connect-timeout S      to connect to a backend (default 1)
    \\  --read-timeout S         between two reads from a backend (default 30)
    \\  --idle-timeout S         for a client that sends or takes nothing (default 60)
    \\  --header-timeout S       until a whole request head has come (default 10)
    \\  --drain-timeout S        for requests under way after SIGTERM or SIGINT (default 5)
    \\
    \\Limits:
    \\  --max-header-bytes N     request line and headers (default 16384); beyond: 431, or 414
    \\  --max-body-bytes N       body of a request, 0 is no limit (default 0); beyond: 413
    \\
    \\Health:
    \\  --health-path PATH       GET this path of every backend; without it there are no active checks
    \\  --health-interval S      between two checks of a backend (default 2)
    \\  --health-timeout S       for one check (default 1); 2xx and 3xx are good answers
    \\  --rise N                 good checks in a row that bring a backend back (default 2)
    \\  --fall N                 bad checks in a row that take a backend out (default 3)
    \\  --max-fails N            failed requests in a row that eject a backend; 0 is never (default 3)
    \\  --fail-timeout S         how long it stays ejected (default 10)
    \\  --retries N              tries on other backends for a request that is safe to repeat (default 1)
    \\
    \\  --help, --version        print this, or the version, and stop
    \\
    \\Prints "admin on HOST:PORT" where --admin is given, then "listening on HOST:PORT".
    \\SIGTERM or SIGINT: accepts no more, ends idle connections, finishes what is under way; a second signal ends at once.
    \\Exit code: 0 done, 2 bad usage or bad input, 1 the machine failed.
    \\
;

pub fn main(init: std.process.Init) u8 {
    var why: failure.Failure = .{};
    run(init, &why) catch |err| {
        if (err == error.OutOfMemory) why.machine("out of memory", .{}) catch {};
        net.log("error: {s}", .{why.text()});
        return @backingInt(why.exit_code);
    };
    return 0;
}

fn run(init: std.process.Init, why: *failure.Failure) failure.Error!void {
    const arena = init.arena.allocator();
    const arguments = init.minimal.args.toSlice(arena) catch return error.OutOfMemory;
    const request = try options.parse(arguments[@min(1, arguments.len)..], arena, why);
    if (request.help) return net.print(manual);
    if (request.version) return net.print(slug ++ " zig\n");
    // Everything that is allocated lives as long as the server; blocks and connections are pooled.
    return server.serve(init.io, std.heap.page_allocator, &request, why);
}

test {
    std.testing.refAllDecls(@This());
    inline for (.{
        @import("backend.zig"), @import("body.zig"),    @import("buffer.zig"), @import("client.zig"), @import("head.zig"),
        @import("metrics.zig"), @import("options.zig"), @import("reply.zig"),  @import("timers.zig"),
    }) |module| std.testing.refAllDecls(module);
}
