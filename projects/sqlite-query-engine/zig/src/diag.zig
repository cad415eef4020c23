//! Where a failing step leaves the one line that explains it.

const std = @import("std");

pub const Error = error{
    /// Bad usage, bad SQL or a bad file: exit code 2.
    BadInput,
    /// The machine failed: exit code 1.
    Machine,
    OutOfMemory,
};

pub const Diag = struct {
    buffer: [1024]u8 = undefined,
    len: usize = 0,

    /// Records the message and returns the error to raise: `return diag.bad("no such table: {s}", .{name})`.
    pub fn bad(self: *Diag, comptime format: []const u8, args: anytype) Error {
        self.set(format, args);
        return error.BadInput;
    }

    pub fn machine(self: *Diag, comptime format: []const u8, args: anytype) Error {
        self.set(format, args);
        return error.Machine;
    }

    fn set(self: *Diag, comptime format: []const u8, args: anytype) void {
        @branchHint(.cold);
        var writer: std.Io.Writer = .fixed(&self.buffer);
        // A message longer than the buffer is cut, not lost.
        writer.print(format, args) catch {};
        self.len = writer.end;
    }

    pub fn message(self: *const Diag) []const u8 {
        return self.buffer[0..self.len];
    }
};
