//! What the server counts, and how it shows it: Prometheus text.
//!
//! Each thread counts for itself, so counting is a plain addition; whoever wants to see adds up all threads.

const std = @import("std");

pub const Counters = struct {
    connects: u64 = 0,
    disconnects: u64 = 0,
    rooms_opened: u64 = 0,
    rooms_closed: u64 = 0,
    members_joined: u64 = 0,
    members_left: u64 = 0,
    offered: u64 = 0,
    accepted: u64 = 0,
    refused: u64 = 0,
    deliveries: u64 = 0,
    dropped: u64 = 0,
    slow_consumers: u64 = 0,
    protocol_errors: u64 = 0,
    ping_timeouts: u64 = 0,
};

/// Adds to a counter of our own thread; others may read it meanwhile.
pub inline fn add(counter: *u64, amount: u64) void {
    @atomicStore(u64, counter, counter.* + amount, .monotonic);
}

/// What the text of all metrics needs at most.
pub const text_bytes_max = 4096;

/// The two counters of a gauge, and the one of a counter; a second that is empty is none.
const rows = .{
    .{ "chat_connections", "connects", "disconnects", "Open WebSocket connections." },
    .{ "chat_rooms", "rooms_opened", "rooms_closed", "Rooms that have members." },
    .{ "chat_members", "members_joined", "members_left", "Members of all rooms." },
    .{ "chat_connects_total", "connects", "", "Connections upgraded to WebSocket." },
    .{ "chat_messages_offered_total", "offered", "", "Chat messages received, malformed ones included." },
    .{ "chat_messages_accepted_total", "accepted", "", "Chat messages accepted for delivery." },
    .{ "chat_messages_refused_total", "refused", "", "Chat messages refused by the rate limit." },
    .{ "chat_deliveries_total", "deliveries", "", "Frames of chat messages written whole to a socket." },
    .{ "chat_deliveries_dropped_total", "dropped", "", "Chat messages meant for a client and never written whole." },
    .{ "chat_slow_consumers_total", "slow_consumers", "", "Clients cut because their queue was full." },
    .{ "chat_protocol_errors_total", "protocol_errors", "", "Connections closed for breaking the protocol." },
    .{ "chat_ping_timeouts_total", "ping_timeouts", "", "Connections cut because no pong came." },
};

pub fn write(writer: *std.Io.Writer, threads: []const *Counters) std.Io.Writer.Error!void {
    inline for (rows) |row| {
        const name, const plus, const minus, const help = row;
        const kind = if (minus.len == 0) "counter" else "gauge";
        const value = if (minus.len == 0) sum(threads, plus) else sum(threads, plus) -| sum(threads, minus);
        try writer.print("# HELP {0s} {1s}\n# TYPE {0s} {2s}\n{0s} {3d}\n", .{ name, help, kind, value });
    }
}

fn sum(threads: []const *Counters, comptime field: []const u8) u64 {
    var total: u64 = 0;
    for (threads) |counters| total += @atomicLoad(u64, &@field(counters, field), .monotonic);
    return total;
}

test "metrics are text, and have room" {
    var first: Counters = .{ .accepted = 3, .members_joined = 5 };
    var second: Counters = .{ .protocol_errors = std.math.maxInt(u64), .members_left = 1, .members_joined = 1 };
    add(&first.accepted, 4);
    var buffer: [text_bytes_max]u8 = undefined;
    var writer: std.Io.Writer = .fixed(&buffer);
    try write(&writer, &.{ &first, &second });
    for ([_][]const u8{
        "\n# TYPE chat_messages_accepted_total counter\nchat_messages_accepted_total 7\n",
        "\n# TYPE chat_members gauge\nchat_members 5\n",
        "\nchat_protocol_errors_total 18446744073709551615\n",
    }) |line| try std.testing.expect(std.mem.find(u8, writer.buffered(), line) != null);
    // Every number could be as long as that one.
    try std.testing.expect(writer.end + rows.len * 20 < text_bytes_max);
}
