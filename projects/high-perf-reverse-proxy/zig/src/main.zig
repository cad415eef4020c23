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
    \\high-perf-reverse-proxy: pass HTTP/1.1 requests on to a pool of backends
    \\
    \\usage: high-perf-reverse-proxy --listen HOST:PORT --backends LIST [options]
    \\
    \\  --listen HOST:PORT      where clients come; port 0 is any free port
    \\  --backends LIST         up to 256 of HOST:PORT, separated by commas; names are
    \\                          resolved once, at the start
    \\  --balance POLICY        round-robin (default), least-connections, or hash: the
    \\                          client's address always goes to the same backend
    \\  --hash-header NAME      hash this header instead of the address
    \\  --pool-size N           idle connections kept to each backend (default 64)
    \\  --max-connections N     clients at the same time; more get 503 (default 10000)
    \\
    \\Times, in seconds with fractions:
    \\  --connect-timeout S     for a connection to a backend (default 1)
    \\  --read-timeout S        between two reads from a backend (default 30)
    \\  --idle-timeout S        for a client between two requests, or one that neither
    \\                          sends nor takes what is due (default 60)
    \\  --header-timeout S      for the whole head of a request (default 10)
    \\  --drain-timeout S       for what runs when the end is asked for (default 5)
    \\
    \\Limits:
    \\  --max-header-bytes N    of the head of a request; 431 or 414 beyond
    \\                          (default 16384)
    \\  --max-body-bytes N      of the body of a request; 413 beyond (default 0: none)
    \\
    \\Health of backends:
    \\  --max-fails N           failures in a row that eject a backend; 0 is never
    \\                          (default 3)
    \\  --fail-timeout S        how long it stays out (default 10)
    \\  --retries N             further attempts of a request on other backends, where
    \\                          that is safe (default 1)
    \\  --health-path PATH      ask for this path now and then; 2xx and 3xx are good
    \\  --health-interval S     between two checks (default 2)
    \\  --health-timeout S      for one check (default 1)
    \\  --rise N, --fall N      good or bad checks in a row that count (default 2, 3)
    \\
    \\  --admin HOST:PORT       serve GET /metrics (Prometheus text) and GET /health
    \\  --threads N             threads that work (default 1)
    \\  --help, --version       print this, or the version, and stop
    \\
    \\When ready it prints "admin on HOST:PORT" if asked to, then "listening on
    \\HOST:PORT". SIGTERM and SIGINT end it when running requests are done; a second
    \\one ends it at once.
    \\
    \\Exit code: 0 ended as asked, 2 bad usage or bad input, 1 the machine failed.
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
