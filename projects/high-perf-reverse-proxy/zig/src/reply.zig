//! What the proxy itself says to clients: the faults it finds, and the responses of its own.

const std = @import("std");

/// What can be wrong with bytes. The side they came from decides what it means: a client is told, and a backend that
/// sends such bytes has failed.
pub const Fault = error{
    BareLineFeed,
    BareCarriageReturn,
    ControlByte,
    BadRequestLine,
    BadTarget,
    UnsupportedVersion,
    BadStatusLine,
    FoldedLine,
    SpaceBeforeColon,
    BadFieldName,
    TooManyOptions,
    MissingHost,
    DuplicateHost,
    BadHost,
    BadContentLength,
    ConflictingContentLength,
    LengthAndCoding,
    CodingInOldVersion,
    BadCoding,
    UnknownCoding,
    BadChunkSize,
    BadChunkExtension,
    BadChunkEnd,
    BadTrailer,
    BodyTooLarge,
};

pub const Status = enum(u16) {
    ok = 200,
    bad_request = 400,
    not_found = 404,
    method_not_allowed = 405,
    request_timeout = 408,
    content_too_large = 413,
    uri_too_long = 414,
    fields_too_large = 431,
    not_implemented = 501,
    bad_gateway = 502,
    service_unavailable = 503,
    gateway_timeout = 504,
    version_not_supported = 505,

    pub fn reason(self: Status) []const u8 {
        return switch (self) {
            .ok => "OK",
            .bad_request => "Bad Request",
            .not_found => "Not Found",
            .method_not_allowed => "Method Not Allowed",
            .request_timeout => "Request Timeout",
            .content_too_large => "Content Too Large",
            .uri_too_long => "URI Too Long",
            .fields_too_large => "Request Header Fields Too Large",
            .not_implemented => "Not Implemented",
            .bad_gateway => "Bad Gateway",
            .service_unavailable => "Service Unavailable",
            .gateway_timeout => "Gateway Timeout",
            .version_not_supported => "HTTP Version Not Supported",
        };
    }
};

pub const Refusal = struct { status: Status, cause: []const u8 };

/// What a client is told about a fault of its own.
pub fn refusal(fault: Fault) Refusal {
    const status: Status = switch (fault) {
        error.UnsupportedVersion => .version_not_supported,
        error.UnknownCoding => .not_implemented,
        error.BodyTooLarge => .content_too_large,
        else => .bad_request,
    };
    return .{ .status = status, .cause = cause(fault) };
}

pub fn cause(fault: Fault) []const u8 {
    return switch (fault) {
        error.BareLineFeed => "bare LF",
        error.BareCarriageReturn => "bare CR",
        error.ControlByte => "control byte",
        error.BadRequestLine => "bad request line",
        error.BadTarget => "bad request target",
        error.UnsupportedVersion => "only HTTP/1.0 and HTTP/1.1",
        error.BadStatusLine => "bad status line",
        error.FoldedLine => "folded header line",
        error.SpaceBeforeColon => "space before colon",
        error.BadFieldName => "bad header name",
        error.TooManyOptions => "too many connection options",
        error.MissingHost => "missing Host",
        error.DuplicateHost => "duplicate Host",
        error.BadHost => "bad Host",
        error.BadContentLength => "bad Content-Length",
        error.ConflictingContentLength => "conflicting Content-Length",
        error.LengthAndCoding => "both Content-Length and Transfer-Encoding",
        error.CodingInOldVersion => "Transfer-Encoding in HTTP/1.0",
        error.BadCoding => "bad Transfer-Encoding",
        error.UnknownCoding => "unknown transfer coding",
        error.BadChunkSize => "bad chunk size",
        error.BadChunkExtension => "bad chunk extension",
        error.BadChunkEnd => "bad chunk end",
        error.BadTrailer => "bad trailer",
        error.BodyTooLarge => "body too large",
    };
}

/// What becomes of the client's connection after a response.
pub const Persistence = enum {
    /// It goes on, as HTTP/1.1 has it without a word.
    silent,
    /// It goes on, which a client of HTTP/1.0 must be told.
    keep_alive,
    close,

    pub fn line(self: Persistence) []const u8 {
        return switch (self) {
            .silent => "",
            .keep_alive => "Connection: keep-alive\r\n",
            .close => "Connection: close\r\n",
        };
    }
};

/// Writes an error: a head and a body of one line, which a HEAD request is spared.
pub fn writeError(buffer: []u8, what: Refusal, persistence: Persistence, head_only: bool) []const u8 {
    const status = @backingInt(what.status);
    const reason = what.status.reason();
    // "<code> <reason>: <cause>\n"
    const body_bytes = 3 + 1 + reason.len + 2 + what.cause.len + 1;
    var writer: std.Io.Writer = .fixed(buffer);
    writer.print("HTTP/1.1 {d} {s}\r\nContent-Type: text/plain\r\nContent-Length: {d}\r\n{s}{s}{s}\r\n", .{
        status,
        reason,
        body_bytes,
        if (what.status == .method_not_allowed) "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH\r\n" else "",
        if (what.status == .service_unavailable) "Retry-After: 1\r\n" else "",
        persistence.line(),
    }) catch unreachable;
    if (!head_only) writer.print("{d} {s}: {s}\n", .{ status, reason, what.cause }) catch unreachable;
    return writer.buffered();
}

/// Room for any error.
pub const error_bytes = 512;

/// Writes a response of the admin listener in front of its body.
pub fn writeOk(buffer: []u8, content_type: []const u8, body: []const u8, persistence: Persistence, head_only: bool) []const u8 {
    var writer: std.Io.Writer = .fixed(buffer);
    writer.print("HTTP/1.1 200 OK\r\nContent-Type: {s}\r\nContent-Length: {d}\r\n{s}\r\n{s}", .{
        content_type,
        body.len,
        persistence.line(),
        if (head_only) "" else body,
    }) catch unreachable;
    return writer.buffered();
}

test "errors are whole responses" {
    var buffer: [error_bytes]u8 = undefined;
    try std.testing.expectEqualStrings(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 42\r\nRetry-After: 1\r\n" ++
            "Connection: close\r\n\r\n503 Service Unavailable: no backend is up\n",
        writeError(&buffer, .{ .status = .service_unavailable, .cause = "no backend is up" }, .close, false),
    );
    for (std.meta.tags(Fault)) |fault| {
        const what = refusal(fault);
        const text = writeError(&buffer, what, .keep_alive, false);
        const head, const body = std.mem.cut(u8, text, "\r\n\r\n").?;
        var expected: [40]u8 = undefined;
        const length = try std.fmt.bufPrint(&expected, "Content-Length: {d}\r\n", .{body.len});
        try std.testing.expect(std.mem.find(u8, head, length) != null);
        try std.testing.expectEqualStrings(head, writeError(&buffer, what, .keep_alive, true)[0..head.len]);
    }
}
