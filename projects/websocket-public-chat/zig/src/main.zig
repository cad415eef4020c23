//! websocket-public-chat lets people talk in rooms, over WebSocket.
//!
//! One thread reads, unmasks, judges and passes on: a message is encoded once and shared by the queues of all who get
//! it, and each of them gets all that waits for it in one write. A client that does not read fills a bounded queue and
//! is cut, while nobody else waits for it.
//!
//! See the manual below for the options and the messages.

const std = @import("std");
const failure = @import("failure.zig");
const net = @import("net.zig");
const options = @import("options.zig");
const server = @import("server.zig");

const slug = "websocket-public-chat";

const manual =
    \\websocket-public-chat: a public chat with rooms, over WebSocket
    \\
    \\usage: websocket-public-chat --listen HOST:PORT [options]
    \\
    \\  --listen HOST:PORT       where clients come; port 0 is any free port
    \\  --threads N              threads that work; a room is served by one of them
    \\                           (default 1)
    \\  --drain-timeout SECONDS  how long SIGTERM waits for clients to close (default 5)
    \\
    \\Limits:
    \\  --max-connections N      WebSockets at the same time; more get 503 (default 10000)
    \\  --max-message-bytes N    of a message from a client; close 1009 beyond
    \\                           (default 4096)
    \\  --queue N                messages that may wait for one client, and at most 1 MiB;
    \\                           close 1013 beyond (default 1024)
    \\  --rate N                 chat messages a second of one connection; more are
    \\                           refused; 0 is no limit (default 10)
    \\  --burst N                how many may come at once after a silence (default 20)
    \\  --origins LIST           upgrades only from pages of these, separated by commas;
    \\                           403 for all others, and for none (default: any)
    \\
    \\Times, in seconds with fractions:
    \\  --ping-interval SECONDS  silence after which a client gets a ping (default 20)
    \\  --ping-timeout SECONDS   silence after the ping that ends it (default 10)
    \\  --join-timeout SECONDS   for joining a room; close 1008 beyond (default 10)
    \\
    \\  --history N              last messages of a room for who joins it (default 0)
    \\  --echo                   serve /echo, which sends every message back
    \\  --help, --version        print this, or the version, and stop
    \\
    \\GET /chat is the WebSocket; GET /health and GET /metrics (Prometheus text) are for
    \\the operator. Clients send JSON, a text message each:
    \\  {"type":"join","room":"a-z, 0-9, _ and -","nick":"up to 32 characters"}
    \\  {"type":"chat","id":number,"text":"up to 2000 bytes"}
    \\  {"type":"leave"}
    \\and get joined, accepted, refused, chat, presence, left and error.
    \\
    \\When ready it prints "listening on HOST:PORT". SIGTERM and SIGINT stop accepting,
    \\send what waits and close 1001; a second one ends it at once.
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
    return server.serve(init.io, std.heap.smp_allocator, &request, why);
}

test {
    std.testing.refAllDecls(@This());
    inline for (.{
        @import("client.zig"),    @import("connection.zig"), @import("failure.zig"), @import("frame.zig"),
        @import("http.zig"),      @import("message.zig"),    @import("metrics.zig"), @import("net.zig"),
        @import("options.zig"),   @import("room.zig"),       @import("server.zig"),  @import("timers.zig"),
        @import("websocket.zig"),
    }) |module| std.testing.refAllDecls(module);
}
