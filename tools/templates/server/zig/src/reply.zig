//! What is answered to a request.

const std = @import("std");
const request_file = @import("request.zig");
const Counters = @import("metrics.zig").Counters;
const Request = request_file.Request;
const Writer = std.Io.Writer;

/// What a reply says first.
pub const Status = enum {
    ok,
    bad_request,
    not_found,
    method_not_allowed,
    uri_too_long,
    head_too_large,

    pub fn line(self: Status) []const u8 {
        return switch (self) {
            .ok => "200 OK",
            .bad_request => "400 Bad Request",
            .not_found => "404 Not Found",
            .method_not_allowed => "405 Method Not Allowed\r\nAllow: GET",
            .uri_too_long => "414 URI Too Long",
            .head_too_large => "431 Request Header Fields Too Large",
        };
    }
};

const hash_path = "/hash/";
const metrics_path = "/metrics";
const plain_text = "text/plain";
const metrics_text = "text/plain; version=0.0.4";
/// The longest reply, which is that of /metrics.
pub const reply_bytes_max = 2048;

/// Answers a whole request; the writer has room for it.
pub fn write(out: *Writer, request: *const Request, closes: bool, counters: *Counters) void {
    if (!request.is_get) return writeError(out, .method_not_allowed, closes, counters);
    if (request.has_body) return writeError(out, .bad_request, closes, counters);
    const path, _ = std.mem.cutScalar(u8, request.target, '?') orelse .{ request.target, "" };
    if (std.mem.eql(u8, path, metrics_path)) {
        counters.count(.ok);
        var buffer: [reply_bytes_max]u8 = undefined;
        const body = counters.text(&buffer);
        writeHead(out, .ok, metrics_text, body.len, closes);
        return put(out, body);
    }
    const text = std.mem.cutPrefix(u8, path, hash_path) orelse return writeError(out, .not_found, closes, counters);
    if (std.mem.findScalar(u8, text, '/') != null) return writeError(out, .not_found, closes, counters);
    counters.count(.ok);
    writeHead(out, .ok, plain_text, 16, closes);
    put(out, &hexadecimal(std.hash.XxHash64.hash(0, text)));
}

/// Answers without a body, so that what follows is clear whatever the method was.
pub fn writeError(out: *Writer, status: Status, closes: bool, counters: *Counters) void {
    counters.count(status);
    writeHead(out, status, "", 0, closes);
}

fn writeHead(out: *Writer, status: Status, content_type: []const u8, length: usize, closes: bool) void {
    put(out, "HTTP/1.1 ");
    put(out, status.line());
    if (content_type.len != 0) {
        put(out, "\r\nContent-Type: ");
        put(out, content_type);
    }
    put(out, "\r\nContent-Length: ");
    out.print("{d}", .{length}) catch unreachable; // there is room, as in `put`
    if (closes) put(out, "\r\nConnection: close");
    put(out, "\r\n\r\n");
}

/// The caller leaves room for the longest reply.
fn put(out: *Writer, bytes: []const u8) void {
    out.writeAll(bytes) catch unreachable;
}

fn hexadecimal(value: u64) [16]u8 {
    var digits: [16]u8 = undefined;
    for (&digits, 0..) |*digit, i| digit.* = "0123456789abcdef"[@intCast(value >> @intCast(60 - 4 * i) & 15)];
    return digits;
}

fn testReply(buffer: []u8, head: []const u8, closes: bool) []const u8 {
    var counters: Counters = .{};
    var out: Writer = .fixed(buffer);
    const request = request_file.parse(head).whole;
    write(&out, &request, closes, &counters);
    return out.buffered();
}

test "replies" {
    const ok = "200 OK\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\r\n";
    const empty = "\r\nContent-Length: 0\r\n\r\n";
    inline for (.{
        .{ "GET /hash/a", ok ++ "d24ec4f1a98c6e5b" },
        .{ "GET /hash/a?b/c", ok ++ "d24ec4f1a98c6e5b" },
        .{ "GET /hash/", ok ++ "ef46db3751d8e999" },
        .{ "GET /hash/a/b", "404 Not Found" ++ empty },
        .{ "GET /hash", "404 Not Found" ++ empty },
        .{ "GET /metrics/", "404 Not Found" ++ empty },
        .{ "HEAD /hash/a", "405 Method Not Allowed\r\nAllow: GET" ++ empty },
    }) |row| {
        var buffer: [reply_bytes_max]u8 = undefined;
        try std.testing.expectEqualStrings("HTTP/1.1 " ++ row[1], testReply(&buffer, row[0] ++ " HTTP/1.0\r\n\r\n", false));
    }
    var buffer: [reply_bytes_max]u8 = undefined;
    const closing = testReply(&buffer, "GET / HTTP/1.0\r\n\r\n", true);
    try std.testing.expect(std.mem.endsWith(u8, closing, "\r\nConnection: close\r\n\r\n"));
    const with_body = testReply(&buffer, "GET / HTTP/1.0\r\nContent-Length: 1\r\n\r\n", true);
    try std.testing.expect(std.mem.startsWith(u8, with_body, "HTTP/1.1 400 Bad"));
}

test "metrics count themselves" {
    var buffer: [reply_bytes_max]u8 = undefined;
    const got = testReply(&buffer, "GET /metrics?x HTTP/1.0\r\n\r\n", false);
    for ([_][]const u8{ "connections_open 0\n", "requests_total{status=\"200\"} 1\n", "requests_total{status=\"431\"} 0\n" }) |line| {
        try std.testing.expect(std.mem.find(u8, got, line) != null);
    }
}
