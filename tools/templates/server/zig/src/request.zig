//! What a request says: its head, parsed in place.

const std = @import("std");
const Status = @import("reply.zig").Status;

/// Limits of a request; both include the line ends.
pub const line_bytes_max = 4096 + 2;
pub const head_bytes_max = 8192;

/// What a head says.
pub const Request = struct {
    target: []const u8,
    is_get: bool,
    closes: bool,
    /// It announces a body, or may.
    has_body: bool = false,
    is_old: bool, // HTTP/1.0
    hosts: usize = 0,
    /// Of the whole head.
    bytes: usize = 0,

    /// Reads the request line.
    fn init(line: []const u8) ?Request {
        const method, const rest = std.mem.cutScalar(u8, line, ' ') orelse return null;
        const target, const version = std.mem.cutScalar(u8, rest, ' ') orelse return null;
        const is_old = std.mem.eql(u8, version, "HTTP/1.0");
        if (!is_old and !std.mem.eql(u8, version, "HTTP/1.1")) return null;
        if (!consistsOf(method, isTokenByte) or !consistsOf(target, isTargetByte) or target[0] != '/') return null;
        return .{ .target = target, .is_get = std.mem.eql(u8, method, "GET"), .closes = is_old, .is_old = is_old };
    }

    /// Reads a header line; false if it is none. Only what frames the request matters here.
    fn readField(self: *Request, line: []const u8) bool {
        const name, const padded = std.mem.cutScalar(u8, line, ':') orelse return false;
        const value = std.mem.trim(u8, padded, " \t");
        if (!consistsOf(name, isTokenByte) or (value.len != 0 and !consistsOf(value, isValueByte))) return false;
        if (std.ascii.eqlIgnoreCase(name, "Host")) {
            self.hosts += 1;
        } else if (std.ascii.eqlIgnoreCase(name, "Connection")) {
            var listed = std.mem.splitScalar(u8, value, ',');
            while (listed.next()) |option| {
                if (std.ascii.eqlIgnoreCase(std.mem.trim(u8, option, " \t"), "close")) self.closes = true;
            }
        } else if (std.ascii.eqlIgnoreCase(name, "Content-Length")) {
            if (!consistsOf(value, std.ascii.isDigit)) return false;
            if (std.mem.findNone(u8, value, "0") != null) self.has_body = true;
        } else if (std.ascii.eqlIgnoreCase(name, "Transfer-Encoding")) {
            self.has_body = true;
        }
        return true;
    }
};

/// What stands at the start of an input.
pub const Parsed = union(enum) {
    /// Of a request: more has to come.
    part,
    whole: Request,
    refused: Status,
};

/// Parses the head at the start of an input, line by line, so that the first fault decides in whatever pieces it comes.
/// A part of a head is read again when more has come: it is short.
pub fn parse(input: []const u8) Parsed {
    const first = takeLine(input, line_bytes_max) catch |err| return noLine(err, .uri_too_long);
    var request = Request.init(first) orelse return .{ .refused = .bad_request };
    var at = first.len + 2;
    while (true) {
        const line = takeLine(input[at..], head_bytes_max - at) catch |err| return noLine(err, .head_too_large);
        at += line.len + 2;
        if (line.len == 0) break;
        if (!request.readField(line)) return .{ .refused = .bad_request };
    }
    request.bytes = at;
    const names_host = request.hosts == 1 or (request.hosts == 0 and request.is_old);
    return if (names_host) .{ .whole = request } else .{ .refused = .bad_request };
}

const LineError = error{ Part, TooLong, BadEnd };

/// Returns the line at the start of an input without its end, which must be CR LF within so many bytes.
fn takeLine(input: []const u8, most: usize) LineError![]const u8 {
    const length = std.mem.findScalar(u8, input[0..@min(input.len, most)], '\n') orelse
        return if (input.len < most) error.Part else error.TooLong;
    if (length == 0 or input[length - 1] != '\r') return error.BadEnd;
    return input[0 .. length - 1];
}

fn noLine(err: LineError, too_long: Status) Parsed {
    return switch (err) {
        error.Part => .part,
        error.TooLong => .{ .refused = too_long },
        error.BadEnd => .{ .refused = .bad_request },
    };
}

/// Whether a text has at least one byte, and each is of this kind. The kind becomes a table at compile time.
fn consistsOf(text: []const u8, comptime isRight: fn (u8) bool) bool {
    const table = comptime blk: {
        @setEvalBranchQuota(20_000);
        var table: [256]bool = undefined;
        for (&table, 0..) |*entry, byte| entry.* = isRight(byte);
        break :blk table;
    };
    for (text) |byte| if (!table[byte]) return false;
    return text.len != 0;
}

fn isTokenByte(byte: u8) bool {
    return std.ascii.isAlphanumeric(byte) or std.mem.findScalar(u8, "!#$%&'*+-.^_`|~", byte) != null;
}

fn isTargetByte(byte: u8) bool {
    return byte > ' ' and byte < 0x7f;
}

fn isValueByte(byte: u8) bool {
    return byte == '\t' or (byte >= ' ' and byte != 0x7f);
}

const good = "GET /hash/a?b HTTP/1.1\r\nHost: x\r\n\r\n";

test "a head is whole at its end" {
    for (0..good.len) |length| try std.testing.expectEqual(Parsed.part, parse(good[0..length]));
    const request = parse(good ++ good).whole;
    try std.testing.expectEqual(good.len, request.bytes);
    try std.testing.expectEqualStrings("/hash/a?b", request.target);
    try std.testing.expect(request.is_get and !request.closes and !request.has_body);
}

test "what follows a head" {
    const Row = struct { []const u8, bool, bool };
    for ([_]Row{
        .{ "GET / HTTP/1.0\r\n\r\n", true, false },
        .{ "GET / HTTP/1.1\r\nhost:\r\nconnection: upgrade, Close\r\n\r\n", true, false },
        .{ "GET / HTTP/1.1\r\nHOST: x\r\nContent-Length: 00\r\n\r\n", false, false },
        .{ "GET / HTTP/1.1\r\nHost: x\r\ncontent-length: 10\r\n\r\n", false, true },
        .{ "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", false, true },
    }) |row| {
        const request = parse(row[0]).whole;
        try std.testing.expectEqual(row[1], request.closes);
        try std.testing.expectEqual(row[2], request.has_body);
    }
}

test "bad heads are refused" {
    for ([_][]const u8{
        "\r\n",
        "GET / HTTP/1.1\n",
        "GET  / HTTP/1.1\r\n",
        "GET / HTTP/1.1 \r\n",
        "GET a HTTP/1.1\r\n",
        "GET /\x7f HTTP/1.1\r\n",
        "G(T / HTTP/1.1\r\n",
        "GET / HTTP/2.0\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost\r\n",
        "GET / HTTP/1.1\r\nHost : x\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n y\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n",
    }) |head| try std.testing.expectEqual(Parsed{ .refused = .bad_request }, parse(head));
}

test "the longest line and head are taken" {
    const end = " HTTP/1.1\r\n";
    const filler: [head_bytes_max]u8 = @splat('a');
    const line = "GET /" ++ filler[0 .. line_bytes_max - "GET /".len - end.len] ++ end ++ "Host: x\r\n";
    const head = line ++ "A: " ++ filler[0 .. head_bytes_max - line.len - "A: \r\n\r\n".len] ++ "\r\n\r\n";
    try std.testing.expectEqual(head_bytes_max, parse(head).whole.bytes);
    const long_line = "GET /" ++ filler;
    try std.testing.expectEqual(Parsed{ .refused = .uri_too_long }, parse(long_line[0..line_bytes_max]));
    const long_head = "GET / HTTP/1.1\r\nHost: x\r\nA: " ++ filler;
    try std.testing.expectEqual(Parsed{ .refused = .head_too_large }, parse(long_head[0..head_bytes_max]));
}
