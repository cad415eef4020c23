//! What the proxy counts, and how it shows it: Prometheus text.
//!
//! Each thread counts for itself, so counting is a plain addition; whoever wants to see adds up all threads.

const std = @import("std");
const Backend = @import("backend.zig").Backend;

pub const Counters = struct {
    /// Final responses to clients by the first digit of their code.
    requests: [6]u64 = @splat(0),
    backend_requests: []u64,
    connections_opened: u64 = 0,
    connections_closed: u64 = 0,
    retries: u64 = 0,
    responses_cut: u64 = 0,
    bytes_in: u64 = 0,
    bytes_out: u64 = 0,
};

/// Adds to a counter of our own thread; others may read it meanwhile.
pub inline fn add(counter: *u64, amount: u64) void {
    @atomicStore(u64, counter, counter.* + amount, .monotonic);
}

fn sum(threads: []const *Counters, comptime field: []const u8) u64 {
    var total: u64 = 0;
    for (threads) |counters| total += @atomicLoad(u64, &@field(counters, field), .monotonic);
    return total;
}

/// What the text of all metrics needs at most.
pub fn textBytes(backends: []const Backend) usize {
    var bytes: usize = 2048;
    for (backends) |*backend| bytes += 2 * (backend.name.len + 96);
    return bytes;
}

pub fn write(writer: *std.Io.Writer, threads: []const *Counters, backends: []const Backend, now_ns: u64) std.Io.Writer.Error!void {
    try writer.writeAll("# HELP requests_total Responses sent to clients, by class of their code.\n# TYPE requests_total counter\n");
    for (1..6) |class| {
        var total: u64 = 0;
        for (threads) |counters| total += @atomicLoad(u64, &counters.requests[class], .monotonic);
        try writer.print("requests_total{{code=\"{d}xx\"}} {d}\n", .{ class, total });
    }
    try writer.writeAll("# HELP backend_requests_total Requests sent to a backend.\n# TYPE backend_requests_total counter\n");
    for (backends, 0..) |*backend, i| {
        var total: u64 = 0;
        for (threads) |counters| total += @atomicLoad(u64, &counters.backend_requests[i], .monotonic);
        try writer.print("backend_requests_total{{backend=\"{s}\"}} {d}\n", .{ backend.name, total });
    }
    try writer.writeAll("# HELP backend_up Whether a backend gets requests.\n# TYPE backend_up gauge\n");
    for (backends) |*backend| {
        try writer.print("backend_up{{backend=\"{s}\"}} {d}\n", .{ backend.name, @intFromBool(backend.isUp(now_ns)) });
    }
    const active = sum(threads, "connections_opened") -| sum(threads, "connections_closed");
    try writer.print("# HELP active_connections Open connections of clients.\n# TYPE active_connections gauge\nactive_connections {d}\n", .{active});
    inline for (.{
        .{ "retries_total", "retries", "Attempts on another backend." },
        .{ "responses_cut_total", "responses_cut", "Responses whose backend failed inside the body." },
        .{ "bytes_in_total", "bytes_in", "Bytes received from clients." },
        .{ "bytes_out_total", "bytes_out", "Bytes sent to clients." },
    }) |row| {
        const total = sum(threads, row[1]);
        try writer.print("# HELP {0s} {1s}\n# TYPE {0s} counter\n{0s} {2d}\n", .{ row[0], row[2], total });
    }
}

test "metrics are text, and have room" {
    var backend_requests = [_]u64{ 7, 1 };
    var counters: Counters = .{ .backend_requests = &backend_requests };
    add(&counters.requests[2], 5);
    add(&counters.connections_opened, 3);
    add(&counters.connections_closed, 1);
    const backends = [_]Backend{ .init("[::1]:80", undefined), .init("b:81", undefined) };
    const buffer = try std.testing.allocator.alloc(u8, textBytes(&backends));
    defer std.testing.allocator.free(buffer);
    var writer: std.Io.Writer = .fixed(buffer);
    try write(&writer, &.{ &counters, &counters }, &backends, 0);
    for ([_][]const u8{
        "\nrequests_total{code=\"2xx\"} 10\n",                   "\nbackend_requests_total{backend=\"[::1]:80\"} 14\n",
        "\nbackend_up{backend=\"b:81\"} 1\n",                    "\nactive_connections 4\n",
        "\n# TYPE bytes_out_total counter\nbytes_out_total 0\n",
    }) |line| try std.testing.expect(std.mem.find(u8, writer.buffered(), line) != null);
}
