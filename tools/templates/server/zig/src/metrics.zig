//! The counters of the server.

const std = @import("std");
const Status = @import("reply.zig").Status;
const Counter = std.atomic.Value(u64);

/// What /metrics shows; all threads count in them.
pub const Counters = struct {
    accepted: Counter = .init(0),
    refused: Counter = .init(0),
    open: Counter = .init(0),
    replies: std.EnumArray(Status, Counter) = .initFill(.init(0)),

    pub fn count(self: *Counters, status: Status) void {
        _ = self.replies.getPtr(status).fetchAdd(1, .monotonic);
    }

    /// The counters as Prometheus reads them; the buffer has room for the longest reply.
    pub fn text(self: *Counters, buffer: []u8) []const u8 {
        var out: std.Io.Writer = .fixed(buffer);
        self.write(&out) catch unreachable;
        return out.buffered();
    }

    fn write(self: *Counters, out: *std.Io.Writer) std.Io.Writer.Error!void {
        inline for (.{
            .{ "connections_accepted_total", "counter", &self.accepted },
            .{ "connections_refused_total", "counter", &self.refused },
            .{ "connections_open", "gauge", &self.open },
        }) |row| {
            try out.print("# TYPE {s} {s}\n{s} {d}\n", .{ row[0], row[1], row[0], row[2].load(.monotonic) });
        }
        try out.writeAll("# TYPE requests_total counter\n");
        for (std.enums.values(Status)) |status| {
            const replies = self.replies.getPtr(status).load(.monotonic);
            try out.print("requests_total{{status=\"{s}\"}} {d}\n", .{ status.line()[0..3], replies });
        }
    }
};
