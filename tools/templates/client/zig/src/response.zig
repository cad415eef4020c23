//! What a response says: its head.

const std = @import("std");

pub const HeadError = error{ NoResponse, NoLength };

/// Bounds a head, whose lines are bounded too.
const head_lines_max = 200;

/// What a head says.
pub const Response = struct {
    status: u16,
    /// Of the body, where it is said.
    length: ?u64 = null,
    /// The connection ends behind the body.
    closes: bool,

    /// Reads the head of a response, line by line from `lines.line()`.
    pub fn read(lines: anytype) !Response {
        var found = parseStatusLine(try lines.line()) orelse return error.NoResponse;
        for (0..head_lines_max) |_| {
            const line = try lines.line();
            if (line.len == 0) return found;
            try found.readField(line);
        }
        return error.NoResponse;
    }

    fn parseStatusLine(line: []const u8) ?Response {
        const newer = std.mem.cutPrefix(u8, line, "HTTP/1.1 ");
        const rest = newer orelse std.mem.cutPrefix(u8, line, "HTTP/1.0 ") orelse return null;
        if (rest.len < 3 or (rest.len > 3 and rest[3] != ' ')) return null;
        const status = decimal(rest[0..3]) orelse return null;
        return .{ .status = @intCast(status), .closes = newer == null };
    }

    /// Reads a header line. Only what frames the response matters here.
    fn readField(self: *Response, line: []const u8) HeadError!void {
        const name, const padded = std.mem.cutScalar(u8, line, ':') orelse return error.NoResponse;
        const value = std.mem.trim(u8, padded, " \t");
        if (std.ascii.eqlIgnoreCase(name, "Content-Length")) {
            self.length = decimal(value) orelse return error.NoResponse;
        } else if (std.ascii.eqlIgnoreCase(name, "Transfer-Encoding")) {
            return error.NoLength;
        } else if (std.ascii.eqlIgnoreCase(name, "Connection")) {
            if (std.ascii.eqlIgnoreCase(value, "close")) self.closes = true;
        }
    }
};

fn decimal(digits: []const u8) ?u64 {
    for (digits) |digit| if (!std.ascii.isDigit(digit)) return null;
    return std.fmt.parseInt(u64, digits, 10) catch null;
}

const Given = struct {
    parts: std.mem.SplitIterator(u8, .scalar),

    fn line(self: *Given) ![]const u8 {
        return self.parts.next() orelse error.Closed;
    }
};

fn testRead(head: []const u8) !Response {
    var given: Given = .{ .parts = std.mem.splitScalar(u8, head, '\n') };
    return Response.read(&given);
}

test "heads" {
    const Row = struct { []const u8, Response };
    for ([_]Row{
        .{ "HTTP/1.1 200 OK\nContent-Length: 12\n", .{ .status = 200, .length = 12, .closes = false } },
        .{ "HTTP/1.1 200\ncontent-length:0\nconnection: Close\n", .{ .status = 200, .length = 0, .closes = true } },
        .{ "HTTP/1.0 404 Not Found\nServer: x\n", .{ .status = 404, .closes = true } },
        .{ "HTTP/1.1 500 \nA: b\nConnection: keep-alive\n", .{ .status = 500, .closes = false } },
    }) |row| try std.testing.expectEqual(row[1], try testRead(row[0]));
}

test "what is no head is refused" {
    for ([_][]const u8{
        "",
        "HTTP/2 200\n",
        "HTTP/1.1 20\n",
        "HTTP/1.1 2000\n",
        "HTTP/1.1 2x0 \n",
        "HTTP/1.1 200 OK\nno colon\n",
        "HTTP/1.1 200 OK\nContent-Length: -1\n",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n",
        "HTTP/1.1 200 OK",
    }) |head| try std.testing.expect(std.meta.isError(testRead(head)));
}
