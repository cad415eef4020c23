//! @@slug@@ hashes what it is asked for: GET /hash/TEXT answers the XXH64 of TEXT.
//!
//! Each thread runs one event loop over epoll. Requests are parsed in place, and the replies to all requests of one read
//! leave in one write. Nothing is allocated for a request.
//!
//! See the manual below for the options and for what is answered.

const std = @import("std");
const failure = @import("failure.zig");
const options = @import("options.zig");
const server = @import("server.zig");

const slug = "@@slug@@";

const manual =
    \\@@title@@
    \\
    \\usage: @@slug@@ --listen HOST:PORT [options]
    \\
    \\  --listen HOST:PORT   where clients connect: a numeric host or localhost; port 0 is any free port
    \\  --threads N          threads that do the work (default 1, at most 64)
    \\  --max-connections N  connections at a time; more are closed at once (default 10000, at most 100000)
    \\  --idle-timeout S     seconds for a client to send its next request and to take its replies (default 60)
    \\  --drain-timeout S    seconds for requests under way after SIGTERM or SIGINT (default 5)
    \\  --help, --version    print this, or the version, and stop
    \\
    \\GET /hash/TEXT answers the XXH64 of TEXT as 16 hexadecimal digits. TEXT is one segment of a path, taken as it
    \\stands in the request line, percent signs included; a query behind it is not part of it.
    \\GET /metrics answers counters in the text format of Prometheus.
    \\
    \\HTTP/1.1 with keep-alive and pipelining; HTTP/1.0 is answered and closed. A request line has at most 4096 bytes
    \\(else 414), a head at most 8192 (else 431), and a request no body.
    \\
    \\Prints "listening on HOST:PORT" when it is ready. SIGTERM or SIGINT: accepts no more, finishes what is under way;
    \\a second signal ends at once.
    \\Exit code: 0 done, 2 bad usage or bad input, 1 the machine failed.
    \\
;

pub fn main(init: std.process.Init) u8 {
    var why: failure.Failure = .{};
    run(init, &why) catch |err| {
        if (err == error.OutOfMemory) why.machine("out of memory", .{}) catch {};
        server.log("error: {s}", .{why.text()});
        return @backingInt(why.exit_code);
    };
    return 0;
}

fn run(init: std.process.Init, why: *failure.Failure) failure.Error!void {
    const arguments = init.minimal.args.toSlice(init.arena.allocator()) catch return error.OutOfMemory;
    const settings = try options.parse(arguments[@min(1, arguments.len)..], why);
    if (settings.help) return server.print(manual, why);
    if (settings.version) return server.print(slug ++ " zig\n", why);
    return server.serve(&settings, why);
}

test {
    std.testing.refAllDecls(@This());
    inline for (.{ @import("metrics.zig"), @import("reply.zig"), @import("request.zig") }) |module| std.testing.refAllDecls(module);
}
