//! Why the program cannot go on: one line of text and an exit code. The error that travels is `error.Failed`; what to
//! say about it waits here, because Zig errors carry no text.

const std = @import("std");

pub const Error = error{ Failed, OutOfMemory };

pub const ExitCode = enum(u8) { machine = 1, bad_request = 2 };

/// How much of an offending value a message repeats.
const shown_bytes = 40;

pub const Failure = struct {
    exit_code: ExitCode = .machine,
    /// Long enough for a path (4 KiB) with every byte escaped, and the sentence around it.
    buffer: [20 << 10]u8 = undefined,
    length: usize = 0,

    /// Bad usage or bad input.
    pub fn bad(self: *Failure, comptime format: []const u8, args: anytype) error{Failed} {
        return self.set(.bad_request, format, args);
    }

    /// A disk, memory or pipe that failed us.
    pub fn machine(self: *Failure, comptime format: []const u8, args: anytype) error{Failed} {
        return self.set(.machine, format, args);
    }

    /// A reader of our output that went away: exit code 1, and nothing to say about it.
    pub fn silent(self: *Failure) error{Failed} {
        self.exit_code = .machine;
        self.length = 0;
        return error.Failed;
    }

    /// Tells a path that the user got wrong from a machine that failed.
    pub fn path(self: *Failure, name: []const u8, err: anyerror) error{Failed} {
        const exit_code: ExitCode = switch (err) {
            error.FileNotFound, error.AccessDenied, error.PermissionDenied, error.IsDir, error.NotDir => .bad_request,
            error.SymLinkLoop, error.NameTooLong, error.BadPathName, error.NoDevice => .bad_request,
            else => .machine,
        };
        return self.set(exit_code, "{f}: {s}", .{ escaped(name), reason(err) });
    }

    /// Puts the file in front of what was said already.
    pub fn within(self: *Failure, name: []const u8) error{Failed} {
        var said: [256]u8 = undefined;
        const length = @min(said.len, self.length);
        @memcpy(said[0..length], self.buffer[0..length]);
        return self.set(self.exit_code, "{f}: {s}", .{ escaped(name), said[0..length] });
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

fn reason(err: anyerror) []const u8 {
    return switch (err) {
        error.FileNotFound => "no such file or directory",
        error.AccessDenied, error.PermissionDenied => "permission denied",
        error.IsDir => "is a directory",
        error.NotDir => "not a directory",
        error.NoSpaceLeft, error.DiskQuota => "no space left on device",
        error.InputOutput => "input/output error",
        else => @errorName(err),
    };
}

/// Prints a value in quotes, escaped and cut.
pub fn quoted(value: []const u8) Quoted {
    return .{ .value = value };
}

/// Prints a value with everything visible that could break a line or a terminal.
pub fn escaped(value: []const u8) Escaped {
    return .{ .value = value };
}

const Quoted = struct {
    value: []const u8,

    pub fn format(self: Quoted, writer: *std.Io.Writer) std.Io.Writer.Error!void {
        const shown = self.value[0..@min(self.value.len, shown_bytes)];
        try writer.writeByte('"');
        for (shown) |byte| {
            if (byte == '"') try writer.writeAll("\\\"") else try escapeByte(writer, byte);
        }
        try writer.writeAll(if (shown.len < self.value.len) "...\"" else "\"");
    }
};

const Escaped = struct {
    value: []const u8,

    pub fn format(self: Escaped, writer: *std.Io.Writer) std.Io.Writer.Error!void {
        for (self.value) |byte| try escapeByte(writer, byte);
    }
};

/// Bytes above ASCII are escaped too: a cut may fall inside a character, and some characters are line ends.
fn escapeByte(writer: *std.Io.Writer, byte: u8) std.Io.Writer.Error!void {
    switch (byte) {
        '\n' => try writer.writeAll("\\n"),
        '\r' => try writer.writeAll("\\r"),
        '\t' => try writer.writeAll("\\t"),
        '\\' => try writer.writeAll("\\\\"),
        ' '...'[', ']'...'~' => try writer.writeByte(byte),
        else => try writer.print("\\x{x:0>2}", .{byte}),
    }
}

test "values are escaped and cut" {
    var buffer: [300]u8 = undefined;
    try std.testing.expectEqualStrings("\"a\\nb\\x1b\\\"\"", try std.fmt.bufPrint(&buffer, "{f}", .{quoted("a\nb\x1b\"")}));
    const long: [shown_bytes + 1]u8 = @splat('z');
    try std.testing.expectEqualStrings("\"" ++ long[0..shown_bytes] ++ "...\"", try std.fmt.bufPrint(&buffer, "{f}", .{quoted(&long)}));
}
