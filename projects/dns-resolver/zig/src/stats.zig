//! What the resolver counts, and how it shows it: one line for operators, and the block of bulk mode.
//!
//! Each thread counts for itself, so counting is a plain addition; whoever wants to see adds up all threads.

const std = @import("std");

pub const Counters = struct {
    /// What clients asked, also what could not be understood.
    queries: u64 = 0,
    hits: u64 = 0,
    misses: u64 = 0,
    /// Packets and streams to authoritative servers.
    upstream: u64 = 0,
    timeouts: u64 = 0,
    servfail: u64 = 0,
    /// Packets that answer nothing that we asked.
    spoofed: u64 = 0,
    /// Queries that came over TCP.
    tcp: u64 = 0,
    cache_entries: u64 = 0,
    cache_bytes: u64 = 0,

    /// Adds to a counter of our own thread; others may read it meanwhile.
    pub inline fn add(self: *Counters, comptime field: []const u8, amount: u64) void {
        self.set(field, @field(self, field) + amount);
    }

    pub inline fn set(self: *Counters, comptime field: []const u8, value: u64) void {
        @atomicStore(u64, &@field(self, field), value, .monotonic);
    }
};

/// All counters in one line, without an end.
pub fn line(buffer: *[512]u8, threads: []const *Counters) []const u8 {
    var writer: std.Io.Writer = .fixed(buffer);
    inline for (@typeInfo(Counters).@"struct".field_names, 0..) |name, i| {
        var total: u64 = 0;
        for (threads) |counters| total += @atomicLoad(u64, &@field(counters, name), .monotonic);
        writer.print("{s}" ++ name ++ "={d}", .{ if (i == 0) "" else " ", total }) catch unreachable;
    }
    return writer.buffered();
}

/// The statistics of bulk mode.
pub fn block(buffer: *[512]u8, items: u64, repeats: u64, elapsed_ns: u64, digest: u64) []const u8 {
    const seconds = @as(f64, @floatFromInt(elapsed_ns)) / std.time.ns_per_s;
    return std.fmt.bufPrint(buffer,
        \\--- Statistics ---
        \\Total processed: {d}
        \\Processing time: {d:.6}s
        \\Average latency: {d:.6}ms
        \\Throughput: {d:.2} items/sec
        \\Digest: {x:0>16}
        \\
    , .{
        items,
        seconds,
        seconds * 1000 / @as(f64, @floatFromInt(repeats)),
        @as(f64, @floatFromInt(items)) / @max(seconds, 1e-9),
        digest,
    }) catch unreachable;
}

test "counters are one line" {
    var counters: Counters = .{};
    counters.add("queries", 3);
    counters.add("queries", 4);
    counters.set("cache_bytes", 5);
    var buffer: [512]u8 = undefined;
    try std.testing.expectEqualStrings(
        "queries=14 hits=0 misses=0 upstream=0 timeouts=0 servfail=0 spoofed=0 tcp=0 cache_entries=0 cache_bytes=10",
        line(&buffer, &.{ &counters, &counters }),
    );
}
