//! The measured work: asks for all keys and says what came.

const std = @import("std");
const failure = @import("failure.zig");
const connection_file = @import("connection.zig");
const Connection = connection_file.Connection;
const Options = @import("options.zig").Options;
const Response = @import("response.zig").Response;

const status_ok = 200;

/// Asks for all keys and appends the answer.
pub fn fetchAll(gpa: std.mem.Allocator, answer: *std.ArrayList(u8), options: *const Options, keys: []const []const u8, why: *failure.Failure) failure.Error!void {
    var job: Job = .{ .gpa = gpa, .answer = answer, .options = options, .keys = keys, .why = why };
    defer job.asked.deinit(gpa);
    while (job.done < keys.len) {
        job.fetchSome() catch |err| return switch (err) {
            error.OutOfMemory => error.OutOfMemory,
            error.Failed => error.Failed,
            else => |e| why.machine("{s}: {s}", .{ options.server_text, connection_file.reason(e) }),
        };
    }
}

const Job = struct {
    gpa: std.mem.Allocator,
    answer: *std.ArrayList(u8),
    options: *const Options,
    keys: []const []const u8,
    why: *failure.Failure,
    /// Requests of one piece.
    asked: std.ArrayList(u8) = .empty,
    /// Keys whose bodies are here.
    done: usize = 0,

    /// Asks over one connection, until all is there or the server closes it behind a reply.
    fn fetchSome(self: *Job) !void {
        var link: Connection = undefined;
        try link.open(self.options.server);
        defer link.close();
        var sent = self.done;
        while (self.done < self.keys.len) {
            // Half of them come back before more are sent, in one piece.
            if (sent - self.done <= self.options.pipeline / 2) {
                self.asked.clearRetainingCapacity();
                while (sent < @min(self.keys.len, self.done + self.options.pipeline)) : (sent += 1) try self.appendRequest(self.keys[sent]);
                try link.send(self.asked.items);
            }
            const key = self.keys[self.done];
            const found = try Response.read(&link);
            if (found.status != status_ok) return self.refused(key, found.status);
            const length = found.length orelse return error.NoLength;
            try self.answer.print(self.gpa, "{s} {d} {x:0>16}\n", .{ key, length, try hashBody(&link, length) });
            self.done += 1;
            if (found.closes) return;
        }
    }

    fn appendRequest(self: *Job, key: []const u8) error{OutOfMemory}!void {
        for ([_][]const u8{ "GET /", key, " HTTP/1.1\r\nHost: ", self.options.server_text, "\r\n\r\n" }) |part| {
            try self.asked.appendSlice(self.gpa, part);
        }
    }

    /// Tells a key that is not there from a server that failed.
    fn refused(self: *Job, key: []const u8, status: u16) error{Failed} {
        const format = "key {f}: the server answers {d}";
        const is_missing = status >= 400 and status < 500;
        if (is_missing) return self.why.bad(format, .{ failure.quoted(key), status });
        return self.why.machine(format, .{ failure.quoted(key), status });
    }
};

fn hashBody(link: *Connection, length: u64) connection_file.Trouble!u64 {
    var hash: std.hash.XxHash64 = .init(0);
    var left = length;
    while (left != 0) {
        const piece = try link.some(left);
        hash.update(piece);
        left -= piece.len;
    }
    return hash.final();
}
