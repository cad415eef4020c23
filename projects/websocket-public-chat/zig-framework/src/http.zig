//! The HTTP side: reading the heads of requests and knowing the answer to each.

const std = @import("std");

pub const head_bytes_max = 16 << 10;
/// The longest answer besides the metrics.
pub const answer_bytes_max = 512;

pub const Request = struct {
    method: []const u8,
    /// Without the query.
    path: []const u8,
    is_1_1: bool,
    is_close: bool = false,
    has_body: bool = false,
    /// `Upgrade: websocket` and `Connection: upgrade`.
    has_upgrade: bool = false,
    has_connection_upgrade: bool = false,
    /// Of these there must be one; two of a kind are as good as an empty one.
    version: ?[]const u8 = null,
    key: ?[]const u8 = null,
    origin: ?[]const u8 = null,
};

/// Where the first head ends, behind its empty line; null if it does not yet.
pub fn headEnd(bytes: []const u8) ?usize {
    return (std.mem.find(u8, bytes, "\r\n\r\n") orelse return null) + 4;
}

/// Reads a whole head.
pub fn parse(head: []const u8) error{Malformed}!Request {
    var lines = std.mem.splitSequence(u8, head[0 .. head.len - 4], "\r\n");
    var request = try parseRequestLine(lines.first());
    while (lines.next()) |line| {
        const name, const raw_value = std.mem.cutScalar(u8, line, ':') orelse return error.Malformed;
        if (!isToken(name)) return error.Malformed;
        const value = std.mem.trim(u8, raw_value, " \t");
        for (value) |byte| if (byte < ' ' and byte != '\t' or byte == 0x7f) return error.Malformed;
        readField(&request, name, value);
    }
    return request;
}

fn parseRequestLine(line: []const u8) error{Malformed}!Request {
    const method, const rest = std.mem.cutScalar(u8, line, ' ') orelse return error.Malformed;
    const target, const version = std.mem.cutScalar(u8, rest, ' ') orelse return error.Malformed;
    if (!isToken(method) or target.len == 0) return error.Malformed;
    for (target) |byte| if (byte <= ' ' or byte == 0x7f) return error.Malformed;
    const is_1_1 = std.mem.eql(u8, version, "HTTP/1.1");
    if (!is_1_1 and !std.mem.eql(u8, version, "HTTP/1.0")) return error.Malformed;
    return .{ .method = method, .path = try pathOf(target), .is_1_1 = is_1_1 };
}

/// The path of a target without its query, whether the target is of this server (`/path`), as to a proxy
/// (`http://host/path`), or `*`.
fn pathOf(target: []const u8) error{Malformed}![]const u8 {
    var local = target;
    if (target[0] != '/' and !std.mem.eql(u8, target, "*")) {
        _, const rest = std.mem.cut(u8, target, "://") orelse return error.Malformed;
        const path_start = std.mem.findAny(u8, rest, "/?") orelse return "/";
        local = rest[path_start..];
    }
    return local[0 .. std.mem.findScalar(u8, local, '?') orelse local.len];
}

fn isToken(text: []const u8) bool {
    for (text) |byte| if (!std.ascii.isAlphanumeric(byte) and std.mem.findScalar(u8, "!#$%&'*+-.^_`|~", byte) == null) return false;
    return text.len != 0;
}

const Field = enum {
    connection,
    upgrade,
    origin,
    @"content-length",
    @"transfer-encoding",
    @"sec-websocket-key",
    @"sec-websocket-version",
};

fn readField(request: *Request, name: []const u8, value: []const u8) void {
    const field = for (std.enums.values(Field)) |field| {
        if (std.ascii.eqlIgnoreCase(name, @tagName(field))) break field;
    } else return;
    switch (field) {
        .connection => {
            if (hasToken(value, "upgrade")) request.has_connection_upgrade = true;
            if (hasToken(value, "close")) request.is_close = true;
        },
        .upgrade => if (hasToken(value, "websocket")) {
            request.has_upgrade = true;
        },
        .origin => request.origin = if (request.origin == null) value else "",
        .@"content-length" => if (!std.mem.eql(u8, value, "0")) {
            request.has_body = true;
        },
        .@"transfer-encoding" => request.has_body = true,
        .@"sec-websocket-key" => request.key = if (request.key == null) value else "",
        .@"sec-websocket-version" => request.version = if (request.version == null) value else "",
    }
}

/// Whether a list has a word, in letters of any case.
fn hasToken(list: []const u8, wanted: []const u8) bool {
    var tokens = std.mem.splitScalar(u8, list, ',');
    while (tokens.next()) |token| if (std.ascii.eqlIgnoreCase(std.mem.trim(u8, token, " \t"), wanted)) return true;
    return false;
}

pub const Status = enum {
    ok,
    bad_request,
    forbidden,
    not_found,
    method_not_allowed,
    upgrade_required,
    wrong_version,
    head_too_large,
    full,

    fn line(self: Status) []const u8 {
        return switch (self) {
            .ok => "200 OK",
            .bad_request => "400 Bad Request",
            .forbidden => "403 Forbidden",
            .not_found => "404 Not Found",
            .method_not_allowed => "405 Method Not Allowed",
            .upgrade_required, .wrong_version => "426 Upgrade Required",
            .head_too_large => "431 Request Header Fields Too Large",
            .full => "503 Service Unavailable",
        };
    }

    fn fields(self: Status) []const u8 {
        return switch (self) {
            .method_not_allowed => "Allow: GET\r\n",
            .upgrade_required => "Upgrade: websocket\r\n",
            .wrong_version => "Sec-WebSocket-Version: 13\r\n",
            else => "",
        };
    }

    /// One line of text.
    pub fn body(self: Status) []const u8 {
        return switch (self) {
            .ok => "ok\n",
            .bad_request => "bad request\n",
            .forbidden => "forbidden\n",
            .not_found => "not found\n",
            .method_not_allowed => "method not allowed\n",
            .upgrade_required, .wrong_version => "upgrade required\n",
            .head_too_large => "request header fields too large\n",
            .full => "service unavailable\n",
        };
    }
};

pub const Answer = union(enum) {
    status: Status,
    metrics,
    /// To chat, or to echo, with a key that is good.
    chat: []const u8,
    echo: []const u8,
};

/// What we offer, and to whom.
pub const Rules = struct {
    has_echo: bool,
    /// Null is everywhere.
    origins: ?[]const []const u8,
};

pub fn answer(request: *const Request, rules: *const Rules) Answer {
    const Path = enum { @"/health", @"/metrics", @"/chat", @"/echo" };
    const path = std.meta.stringToEnum(Path, request.path) orelse return .{ .status = .not_found };
    if (path == .@"/echo" and !rules.has_echo) return .{ .status = .not_found };
    if (!std.mem.eql(u8, request.method, "GET")) return .{ .status = .method_not_allowed };
    switch (path) {
        .@"/health" => return .{ .status = .ok },
        .@"/metrics" => return .metrics,
        .@"/chat", .@"/echo" => {},
    }
    if (refusal(request, rules)) |status| return .{ .status = status };
    return if (path == .@"/chat") .{ .chat = request.key.? } else .{ .echo = request.key.? };
}

/// Why a request to a WebSocket is not granted.
fn refusal(request: *const Request, rules: *const Rules) ?Status {
    if (!request.is_1_1 or !request.has_upgrade or !request.has_connection_upgrade) return .upgrade_required;
    if (!std.mem.eql(u8, request.version orelse "", "13")) return .wrong_version;
    if (!isKey(request.key orelse return .bad_request)) return .bad_request;
    const origins = rules.origins orelse return null;
    const origin = request.origin orelse return .forbidden;
    for (origins) |allowed| if (std.mem.eql(u8, origin, allowed)) return null;
    return .forbidden;
}

/// Sixteen bytes in Base64.
fn isKey(key: []const u8) bool {
    const decoder = &std.base64.standard.Decoder;
    var bytes: [16]u8 = undefined;
    if (key.len != 24 or (decoder.calcSizeForSlice(key) catch return false) != bytes.len) return false;
    decoder.decode(&bytes, key) catch return false;
    return true;
}

/// Writes the answer that makes a connection a WebSocket.
pub fn switchProtocols(buffer: *[answer_bytes_max]u8, key: []const u8) []const u8 {
    var sha1: std.crypto.hash.Sha1 = .init(.{});
    sha1.update(key);
    sha1.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    var accept: [28]u8 = undefined;
    _ = std.base64.standard.Encoder.encode(&accept, &sha1.finalResult());
    const format = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {s}\r\n\r\n";
    return std.fmt.bufPrint(buffer, format, .{&accept}) catch unreachable;
}

/// Writes an answer with a body; to HEAD only its head.
pub fn write(writer: *std.Io.Writer, status: Status, content_type: []const u8, body: []const u8, is_last: bool, is_head: bool) std.Io.Writer.Error!void {
    try writer.print("HTTP/1.1 {s}\r\n{s}{s}Content-Type: {s}\r\nContent-Length: {d}\r\n\r\n{s}", .{
        status.line(),
        status.fields(),
        if (is_last) "Connection: close\r\n" else "",
        content_type,
        body.len,
        if (is_head) "" else body,
    });
}

fn testAnswer(head: []const u8, rules: Rules) !Answer {
    const request = try parse(head);
    return answer(&request, &rules);
}

const test_fields = "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n";
const test_key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

test answer {
    for ([_]struct { Status, []const u8 }{
        .{ .ok, "GET /health?x HTTP/1.0\r\n\r\n" },
        .{ .not_found, "POST /nothing HTTP/1.1\r\n\r\n" },
        .{ .ok, "GET http://h:1/health?x=1 HTTP/1.1\r\n\r\n" },
        .{ .not_found, "GET http://health?x HTTP/1.1\r\n\r\n" },
        .{ .not_found, "OPTIONS * HTTP/1.1\r\n\r\n" },
        .{ .method_not_allowed, "M-SEARCH /chat HTTP/1.1\r\n\r\n" },
        .{ .not_found, "GET /echo HTTP/1.1\r\n\r\n" },
        .{ .method_not_allowed, "HEAD /metrics HTTP/1.1\r\n\r\n" },
        .{ .upgrade_required, "GET /chat HTTP/1.1\r\n\r\n" },
        .{ .upgrade_required, "GET /chat HTTP/1.0\r\n" ++ test_fields ++ test_key ++ "\r\n" },
        .{ .wrong_version, "GET /chat HTTP/1.1\r\nupgrade: x, websocket\r\nconnection: upgrade\r\nSec-WebSocket-Version: 8\r\n\r\n" },
        .{ .bad_request, "GET /chat HTTP/1.1\r\n" ++ test_fields ++ "\r\n" },
        .{ .bad_request, "GET /chat HTTP/1.1\r\n" ++ test_fields ++ test_key ++ test_key ++ "\r\n" },
        .{ .wrong_version, "GET /chat HTTP/1.1\r\n" ++ test_fields ++ test_fields ++ test_key ++ "\r\n" },
        .{ .bad_request, "GET /chat HTTP/1.1\r\n" ++ test_fields ++ "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=x\r\n\r\n" },
        .{ .bad_request, "GET /chat HTTP/1.1\r\n" ++ test_fields ++ "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n\r\n" },
    }) |row| try std.testing.expectEqual(row[0], (try testAnswer(row[1], .{ .has_echo = false, .origins = null })).status);
    const good = "GET /chat HTTP/1.1\r\n" ++ test_fields ++ test_key;
    try std.testing.expectEqualStrings("dGhlIHNhbXBsZSBub25jZQ==", (try testAnswer(good ++ "\r\n", .{ .has_echo = false, .origins = null })).chat);
    const rules: Rules = .{ .has_echo = true, .origins = &.{ "https://a.example", "http://b" } };
    try std.testing.expectEqual(Status.forbidden, (try testAnswer(good ++ "\r\n", rules)).status);
    try std.testing.expectEqual(Status.forbidden, (try testAnswer(good ++ "Origin: http://bb\r\n\r\n", rules)).status);
    try std.testing.expect((try testAnswer(good ++ "Origin: http://b\r\n\r\n", rules)) == .chat);
}

test "heads that are none" {
    for ([_][]const u8{
        "GET\r\n\r\n",                      "GET /\r\n\r\n",                     "GET / HTTP/2.0\r\n\r\n",   "GET x HTTP/1.1\r\n\r\n",
        "G@T / HTTP/1.1\r\n\r\n",           "GET / HTTP/1.1\r\nname\r\n\r\n",    " GET / HTTP/1.1\r\n\r\n",  "GET / HTTP/1.1\r\n: x\r\n\r\n",
        "GET / HTTP/1.1\r\na b: c\r\n\r\n", "GET / HTTP/1.1\r\na: \x00\r\n\r\n", "GET / HTTP/1.1 x\r\n\r\n", "\r\n\r\n",
    }) |head| try std.testing.expectError(error.Malformed, parse(head));
}

test "answers as they are written" {
    var buffer: [answer_bytes_max]u8 = undefined;
    const switched = switchProtocols(&buffer, "dGhlIHNhbXBsZSBub25jZQ==");
    try std.testing.expect(std.mem.endsWith(u8, switched, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
    var writer: std.Io.Writer = .fixed(&buffer);
    try write(&writer, .method_not_allowed, "text/plain", Status.method_not_allowed.body(), true, false);
    try std.testing.expectEqualStrings(
        "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 19\r\n\r\nmethod not allowed\n",
        writer.buffered(),
    );
}
