//! Why the program cannot start: one line of text and an exit code. The error that travels is `error.Failed`; what to
//! say about it waits here, because Zig errors carry no text.

const std = @import("std");

pub const Error = error{ Failed, OutOfMemory };

pub const ExitCode = enum(u8) { machine = 1, bad_request = 2 };

/// How much of an offending value a message repeats.
const shown_bytes = 80;

pub const Failure = struct {
    exit_code: ExitCode = .machine,
    buffer: [1024]u8 = undefined,
    length: usize = 0,

    /// Bad usage or bad input.
    pub fn bad(self: *Failure, comptime format: []const u8, args: anytype) error{Failed} {
        return self.set(.bad_request, format, args);
    }

    /// A kernel or memory that failed us.
    pub fn machine(self: *Failure, comptime format: []const u8, args: anytype) error{Failed} {
        return self.set(.machine, format, args);
    }

    pub fn text(self: *const Failure) []const u8 {
        return self.buffer[0..self.length];
    }

    fn set(self: *Failure, exit_code: ExitCode, comptime format: []const u8, args: anytype) error{Failed} {
        var writer: std.Io.Writer = .fixed(&self.buffer);
        // A message that does not fit is cut.
        writer.print(format, args) catch {};
        self.exit_code = exit_code;
        self.length = writer.end;
        return error.Failed;
    }
};

/// Prints a value in quotes, escaped and cut.
pub fn quoted(value: []const u8) Quoted {
    return .{ .value = value };
}

const Quoted = struct {
    value: []const u8,

    pub fn format(self: Quoted, writer: *std.Io.Writer) std.Io.Writer.Error!void {
        const shown = self.value[0..@min(self.value.len, shown_bytes)];
        try writer.writeByte('"');
        for (shown) |byte| switch (byte) {
            '"' => try writer.writeAll("\\\""),
            '\\' => try writer.writeAll("\\\\"),
            ' ', '!', '#'...'[', ']'...'~' => try writer.writeByte(byte),
            else => try writer.print("\\x{x:0>2}", .{byte}),
        };
        try writer.writeAll(if (shown.len < self.value.len) "...\"" else "\"");
    }
};

test "values are escaped and cut" {
    var buffer: [400]u8 = undefined;
    try std.testing.expectEqualStrings("\"a\\x0ab\\x1b\\\"\"", try std.fmt.bufPrint(&buffer, "{f}", .{quoted("a\nb\x1b\"")}));
    const long: [shown_bytes + 1]u8 = @splat('z');
    try std.testing.expectEqualStrings("\"" ++ long[0..shown_bytes] ++ "...\"", try std.fmt.bufPrint(&buffer, "{f}", .{quoted(&long)}));
}
