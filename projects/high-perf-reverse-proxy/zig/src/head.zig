//! Heads of requests and responses: where they end, what they say, whether they may be believed, and how they read for
//! the other side.
//!
//! A head is looked at twice. The first pass finds its end, 32 bytes at a time, and refuses every control byte on the
//! way, so a head with a bare line feed is refused although it never ends. The second pass reads the lines. Lines that
//! stay as they are stay bytes: a head is rewritten by copying the runs between the few lines that change.

const std = @import("std");
const reply = @import("reply.zig");
const Fault = reply.Fault;

pub const via = "1.1 deadheat";

/// Options of a Connection header that name further headers; each is compared with every line.
const nominations_max = 32;

pub const Span = struct {
    start: u32 = 0,
    end: u32 = 0,

    pub fn of(self: Span, bytes: []const u8) []const u8 {
        return bytes[self.start..self.end];
    }
};

/// The headers that mean something to a proxy.
pub const Field = enum(u8) {
    other,
    connection,
    content_length,
    host,
    keep_alive,
    proxy_connection,
    te,
    transfer_encoding,
    upgrade,
    via,
    x_forwarded_for,
    x_forwarded_host,
    x_forwarded_proto,
    /// Named by a Connection header, or the same length once more.
    dropped,
};

pub const Line = struct {
    start: u32,
    name_end: u32,
    value: Span,
    /// Behind its CRLF.
    end: u32,
    field: Field,
};

/// How many lines a head of so many bytes may have.
pub fn linesMax(head_bytes: usize) usize {
    return head_bytes / "a:\r\n".len + 1;
}

pub const End = union(enum) {
    /// Where to look on when more bytes have come.
    incomplete: usize,
    /// How long the head is, with its empty line.
    complete: usize,
};

/// Finds the empty line, and refuses what no head may hold.
pub fn findEnd(bytes: []const u8, from: usize) Fault!End {
    var at = from;
    while (true) {
        at = nextControl(bytes, at);
        if (at == bytes.len) return .{ .incomplete = at };
        switch (bytes[at]) {
            '\t' => at += 1,
            '\r' => {
                const rest = bytes[at..];
                if (rest.len >= 2 and rest[1] != '\n') return error.BareCarriageReturn;
                if (rest.len >= 4 and rest[2] == '\r' and rest[3] == '\n') return .{ .complete = at + 4 };
                if (rest.len < 3 or (rest.len == 3 and rest[2] == '\r')) return .{ .incomplete = at };
                at += 2;
            },
            '\n' => return error.BareLineFeed,
            else => return error.ControlByte,
        }
    }
}

const block_bytes = 32;
const Block = @Vector(block_bytes, u8);

/// The place of the next control byte, or the end.
fn nextControl(bytes: []const u8, from: usize) usize {
    var at = from;
    while (bytes.len - at >= block_bytes) : (at += block_bytes) {
        const block: Block = bytes[at..][0..block_bytes].*;
        const low: u32 = @bitCast(block < @as(Block, @splat(' ')));
        const delete: u32 = @bitCast(block == @as(Block, @splat(0x7f)));
        if (low | delete != 0) return at + @ctz(low | delete);
    }
    while (at < bytes.len and !std.ascii.isControl(bytes[at])) at += 1;
    return at;
}

/// The place of a byte that is known to come.
fn findByte(bytes: []const u8, from: usize, comptime wanted: u8) usize {
    var at = from;
    while (bytes.len - at >= block_bytes) : (at += block_bytes) {
        const block: Block = bytes[at..][0..block_bytes].*;
        const equal: u32 = @bitCast(block == @as(Block, @splat(wanted)));
        if (equal != 0) return at + @ctz(equal);
    }
    while (bytes[at] != wanted) at += 1;
    return at;
}

const is_token: [256]bool = classTable("!#$%&'*+-.^_`|~", true);
/// No comma: a list of hosts is no host.
const is_host_name: [256]bool = classTable("-._~!$&'()*+;=%", true);
/// Visible ASCII without the sign of a fragment, which no client sends to a server.
const is_target: [256]bool = blk: {
    var table: [256]bool = @splat(false);
    for ('!'..'~' + 1) |byte| table[byte] = byte != '#';
    break :blk table;
};

fn classTable(comptime extra: []const u8, comptime alphanumeric: bool) [256]bool {
    var table: [256]bool = @splat(false);
    for (0..256) |byte| table[byte] = alphanumeric and std.ascii.isAlphanumeric(byte);
    for (extra) |byte| table[byte] = true;
    return table;
}

pub fn isToken(byte: u8) bool {
    return is_token[byte];
}

/// Reads the lines between the start line and the empty line of a complete head.
fn readLines(bytes: []const u8, from: usize, storage: []Line) Fault![]Line {
    var at = from;
    var count: usize = 0;
    while (bytes[at] != '\r') : (count += 1) {
        var name_end = at;
        while (is_token[bytes[name_end]]) name_end += 1;
        if (name_end == at or bytes[name_end] != ':') return nameFault(bytes, at, name_end);
        const line_end = findByte(bytes, name_end, '\r');
        storage[count] = .{
            .start = @intCast(at),
            .name_end = @intCast(name_end),
            .value = trimmed(bytes, name_end + 1, line_end),
            .end = @intCast(line_end + 2),
            .field = fieldOf(bytes[at..name_end]),
        };
        at = line_end + 2;
    }
    return storage[0..count];
}

fn nameFault(bytes: []const u8, start: usize, name_end: usize) Fault {
    const stop = bytes[name_end];
    if (stop != ' ' and stop != '\t') return error.BadFieldName;
    return if (name_end == start) error.FoldedLine else error.SpaceBeforeColon;
}

fn trimmed(bytes: []const u8, from: usize, to: usize) Span {
    var start = from;
    var end = to;
    while (start < end and isBlank(bytes[start])) start += 1;
    while (end > start and isBlank(bytes[end - 1])) end -= 1;
    return .{ .start = @intCast(start), .end = @intCast(end) };
}

pub inline fn isBlank(byte: u8) bool {
    return byte == ' ' or byte == '\t';
}

fn fieldOf(name: []const u8) Field {
    return switch (name.len) {
        2 => match(name, "te", .te),
        3 => match(name, "via", .via),
        4 => match(name, "host", .host),
        7 => match(name, "upgrade", .upgrade),
        10 => if (match(name, "connection", .connection) == .connection) .connection else match(name, "keep-alive", .keep_alive),
        14 => match(name, "content-length", .content_length),
        15 => match(name, "x-forwarded-for", .x_forwarded_for),
        16 => if (name[0] | 0x20 == 'x') match(name, "x-forwarded-host", .x_forwarded_host) else match(name, "proxy-connection", .proxy_connection),
        17 => if (name[0] | 0x20 == 'x') match(name, "x-forwarded-proto", .x_forwarded_proto) else match(name, "transfer-encoding", .transfer_encoding),
        else => .other,
    };
}

inline fn match(name: []const u8, comptime wanted: []const u8, field: Field) Field {
    if (name[0] | 0x20 != wanted[0]) return .other;
    return if (std.ascii.eqlIgnoreCase(name, wanted)) field else .other;
}

/// What the lines say about the connection and the body; both kinds of head say it in the same way.
const Meaning = struct {
    close: bool = false,
    keep_alive: bool = false,
    upgrade_option: bool = false,
    upgrade: bool = false,
    length: ?u64 = null,
    length_text: []const u8 = "",
    has_coding: bool = false,
    is_chunked: bool = false,
    hosts: u32 = 0,
    host: ?Span = null,

    fn read(bytes: []const u8, lines: []Line) Fault!Meaning {
        var meaning: Meaning = .{};
        var has_options = false;
        var coding_fault: ?Fault = null;
        for (lines) |*line| switch (line.field) {
            .connection => has_options = true,
            .content_length => try meaning.readLength(line, bytes),
            .transfer_encoding => meaning.readCoding(line.value.of(bytes)) catch |fault| {
                coding_fault = fault;
            },
            .upgrade => meaning.upgrade = isPassableUpgrade(line.value.of(bytes)),
            .host => {
                meaning.hosts += 1;
                meaning.host = line.value;
            },
            else => {},
        };
        if (meaning.has_coding and meaning.length != null) return error.LengthAndCoding;
        if (coding_fault) |fault| return fault;
        if (has_options) try meaning.readOptions(bytes, lines);
        return meaning;
    }

    /// Digits only, and the same text if it stands there twice; the second one goes.
    fn readLength(self: *Meaning, line: *Line, bytes: []const u8) Fault!void {
        const text = line.value.of(bytes);
        for (text) |byte| if (!std.ascii.isDigit(byte)) return error.BadContentLength;
        if (self.length != null) {
            if (!std.mem.eql(u8, self.length_text, text)) return error.ConflictingContentLength;
            line.field = .dropped;
        }
        self.length = std.fmt.parseInt(u63, text, 10) catch return error.BadContentLength;
        self.length_text = text;
    }

    /// The only coding that we know is `chunked`, once.
    fn readCoding(self: *Meaning, value: []const u8) Fault!void {
        self.has_coding = true;
        var codings = std.mem.splitScalar(u8, value, ',');
        while (codings.next()) |raw| {
            const coding = std.mem.trim(u8, raw, " \t");
            if (coding.len == 0) return error.BadCoding;
            if (!std.ascii.eqlIgnoreCase(coding, "chunked")) return error.UnknownCoding;
            if (self.is_chunked) return error.BadCoding;
            self.is_chunked = true;
        }
    }

    /// Reads the Connection headers and marks the lines that they name. What frames a message, says where it goes or
    /// through whom it came cannot be taken away like that.
    fn readOptions(self: *Meaning, bytes: []const u8, lines: []Line) Fault!void {
        var nominations: usize = 0;
        for (lines) |line| {
            if (line.field != .connection) continue;
            var options = std.mem.splitScalar(u8, line.value.of(bytes), ',');
            while (options.next()) |raw| {
                const option = std.mem.trim(u8, raw, " \t");
                if (option.len == 0) continue;
                if (std.ascii.eqlIgnoreCase(option, "close")) {
                    self.close = true;
                } else if (std.ascii.eqlIgnoreCase(option, "keep-alive")) {
                    self.keep_alive = true;
                } else if (std.ascii.eqlIgnoreCase(option, "upgrade")) {
                    self.upgrade_option = true;
                } else {
                    nominations += 1;
                    if (nominations > nominations_max) return error.TooManyOptions;
                    drop(bytes, lines, option);
                }
            }
        }
    }

    fn drop(bytes: []const u8, lines: []Line, name: []const u8) void {
        for (lines) |*line| {
            if (line.field == .other and std.ascii.eqlIgnoreCase(bytes[line.start..line.name_end], name)) line.field = .dropped;
        }
    }

    fn persists(self: *const Meaning, is_old: bool) bool {
        return if (is_old) self.keep_alive and !self.close else !self.close;
    }
};

/// A change to HTTP/2 would hide requests from us, so it is not passed on.
fn isPassableUpgrade(value: []const u8) bool {
    return value.len != 0 and std.ascii.findIgnoreCase(value, "h2c") == null;
}

pub const Framing = union(enum) {
    none,
    length: u64,
    chunked,
    until_close,
};

pub const Method = enum {
    get,
    head,
    post,
    put,
    delete,
    options,
    trace,
    connect,
    other,

    const known: std.StaticStringMap(Method) = .initComptime(.{
        .{ "GET", .get },         .{ "HEAD", .head },   .{ "POST", .post },       .{ "PUT", .put }, .{ "DELETE", .delete },
        .{ "OPTIONS", .options }, .{ "TRACE", .trace }, .{ "CONNECT", .connect },
    });

    fn of(name: []const u8) Method {
        return if (std.mem.eql(u8, name, "GET")) .get else known.get(name) orelse .other;
    }

    /// May be asked twice with the effect of once.
    pub fn isIdempotent(self: Method) bool {
        return switch (self) {
            .get, .head, .options, .trace, .put, .delete => true,
            .post, .connect, .other => false,
        };
    }
};

pub const Request = struct {
    lines: []const Line,
    lines_start: u32,
    method: Method,
    method_end: u32,
    /// In origin form, or `*`; a target that is only a host has none.
    target: Span,
    /// Stands in front of the target that an absolute form leaves.
    target_prefix: []const u8 = "",
    /// Of an absolute target; it wins over Host.
    authority: ?Span = null,
    host: ?Span,
    /// HTTP/1.0.
    is_old: bool,
    persists: bool,
    upgrades: bool,
    framing: Framing,

    /// Reads a complete head; the lines it finds live in the storage.
    pub fn parse(bytes: []const u8, storage: []Line) Fault!Request {
        const line_end = findByte(bytes, 0, '\r');
        var method_end: usize = 0;
        while (is_token[bytes[method_end]]) method_end += 1;
        if (method_end == 0 or bytes[method_end] != ' ') return error.BadRequestLine;
        const target_start = method_end + 1;
        var target_end = target_start;
        while (bytes[target_end] > ' ' or bytes[target_end] == '\t') target_end += 1;
        if (target_end == target_start or bytes[target_end] != ' ') return error.BadRequestLine;
        const is_old = try readVersion(bytes[target_end + 1 .. line_end]);
        const method: Method = .of(bytes[0..method_end]);

        const lines = try readLines(bytes, line_end + 2, storage);
        const meaning: Meaning = try .read(bytes, lines);
        if (is_old and meaning.has_coding) return error.CodingInOldVersion;
        if (meaning.hosts > 1) return error.DuplicateHost;
        if (meaning.host) |host| {
            if (!isHost(host.of(bytes))) return error.BadHost;
        } else if (!is_old) return error.MissingHost;

        var request: Request = .{
            .lines = lines,
            .lines_start = @intCast(line_end + 2),
            .method = method,
            .method_end = @intCast(method_end),
            .target = .{ .start = @intCast(target_start), .end = @intCast(target_end) },
            .host = meaning.host,
            .is_old = is_old,
            .persists = meaning.persists(is_old),
            .upgrades = meaning.upgrade and meaning.upgrade_option and !is_old,
            .framing = if (meaning.is_chunked) .chunked else if (meaning.length) |length| .{ .length = length } else .none,
        };
        if (method != .connect) try request.readTarget(bytes);
        return request;
    }

    /// Brings an absolute target into origin form.
    fn readTarget(self: *Request, bytes: []const u8) Fault!void {
        const target = self.target.of(bytes);
        for (target) |byte| if (!is_target[byte]) return error.BadTarget;
        if (target[0] == '/') return;
        if (std.mem.eql(u8, target, "*") and self.method == .options) return;
        const scheme_bytes: u32 = if (std.ascii.startsWithIgnoreCase(target, "http://"))
            "http://".len
        else if (std.ascii.startsWithIgnoreCase(target, "https://"))
            "https://".len
        else
            return error.BadTarget;
        const start = self.target.start + scheme_bytes;
        var end = start;
        while (end < self.target.end and bytes[end] != '/' and bytes[end] != '?') end += 1;
        if (end == start or bytes[start] == ':' or !isHost(bytes[start..end])) return error.BadHost;
        self.authority = .{ .start = start, .end = end };
        self.target.start = end;
        if (end == self.target.end) {
            self.target_prefix = if (self.method == .options) "*" else "/";
        } else if (bytes[end] != '/') {
            self.target_prefix = "/";
        }
    }

    /// The value of the first line with a name, to choose a backend by.
    pub fn find(self: *const Request, bytes: []const u8, name: []const u8) ?[]const u8 {
        for (self.lines) |line| {
            if (std.ascii.eqlIgnoreCase(bytes[line.start..line.name_end], name)) return line.value.of(bytes);
        }
        return null;
    }

    /// Writes the head that the backend gets: in origin form, without what concerns our client's connection only, and
    /// with what says from whom and through whom it came. `local_host` is where a client that named no host turned to.
    pub fn write(self: *const Request, bytes: []const u8, client_host: []const u8, local_host: []const u8, buffer: []u8) []u8 {
        var out: Output = .{ .buffer = buffer };
        out.put(bytes[0 .. self.method_end + 1]);
        out.put(self.target_prefix);
        out.put(self.target.of(bytes));
        out.put(" HTTP/1.1\r\n");
        const host = if (self.authority orelse self.host) |span| span.of(bytes) else local_host;
        if (self.host == null) out.putLine("Host", host);

        const last_via = lastOf(self.lines, .via);
        const last_for = lastOf(self.lines, .x_forwarded_for);
        var has_forwarded_host = false;
        var copied_to = self.lines_start;
        for (self.lines, 0..) |line, i| {
            switch (line.field) {
                .other, .content_length => continue,
                .upgrade => if (self.upgrades) continue,
                .host => if (self.authority == null) continue,
                .via => if (i != last_via) continue,
                .x_forwarded_for => if (i != last_for) continue,
                .x_forwarded_host => {
                    has_forwarded_host = true;
                    continue;
                },
                .connection, .keep_alive, .proxy_connection, .te, .transfer_encoding, .x_forwarded_proto, .dropped => {},
            }
            out.put(bytes[copied_to..line.start]);
            copied_to = line.end;
            switch (line.field) {
                .host => out.putLine(bytes[line.start..line.name_end], host),
                .via => out.putAppended(line, bytes, via),
                .x_forwarded_for => out.putAppended(line, bytes, client_host),
                .te => if (hasMember(line.value.of(bytes), "trailers")) out.putLine("TE", "trailers"),
                .transfer_encoding => out.putLine("Transfer-Encoding", "chunked"),
                else => {},
            }
        }
        out.put(bytes[copied_to .. bytes.len - 2]);
        if (last_for == null) out.putLine("X-Forwarded-For", client_host);
        out.putLine("X-Forwarded-Proto", "http");
        if (!has_forwarded_host) out.putLine("X-Forwarded-Host", host);
        if (last_via == null) out.putLine("Via", via);
        if (self.upgrades) out.putLine("Connection", "upgrade");
        out.put("\r\n");
        return out.written();
    }
};

/// Tells HTTP/1.0 from HTTP/1.1, and both from what is no version or none of ours.
fn readVersion(text: []const u8) Fault!bool {
    if (std.mem.eql(u8, text, "HTTP/1.1")) return false;
    if (std.mem.eql(u8, text, "HTTP/1.0")) return true;
    if (text.len != 8 or !std.mem.startsWith(u8, text, "HTTP/") or text[6] != '.') return error.BadRequestLine;
    const is_version = std.ascii.isDigit(text[5]) and std.ascii.isDigit(text[7]);
    return if (is_version) error.UnsupportedVersion else error.BadRequestLine;
}

/// What may stand in Host: nothing, or a name, or an address in brackets, with or without a port.
fn isHost(text: []const u8) bool {
    var name = text;
    var port: []const u8 = "";
    if (std.mem.startsWith(u8, text, "[")) {
        const closing = std.mem.findScalar(u8, text, ']') orelse return false;
        for (text[1..closing]) |byte| if (!std.ascii.isHex(byte) and byte != ':' and byte != '.') return false;
        if (closing == 1) return false;
        name = "";
        port = text[closing + 1 ..];
    } else if (std.mem.findScalar(u8, text, ':')) |colon| {
        name = text[0..colon];
        port = text[colon..];
    }
    for (name) |byte| if (!is_host_name[byte]) return false;
    if (port.len == 0) return true;
    for (port[1..]) |byte| if (!std.ascii.isDigit(byte)) return false;
    return port[0] == ':' and port.len <= ":65535".len;
}

fn lastOf(lines: []const Line, field: Field) ?usize {
    var last: ?usize = null;
    for (lines, 0..) |line, i| {
        if (line.field == field) last = i;
    }
    return last;
}

fn hasMember(list: []const u8, wanted: []const u8) bool {
    var members = std.mem.splitScalar(u8, list, ',');
    while (members.next()) |member| {
        if (std.ascii.eqlIgnoreCase(std.mem.trim(u8, member, " \t"), wanted)) return true;
    }
    return false;
}

pub const Response = struct {
    lines: []const Line,
    lines_start: u32,
    status: u16,
    /// Whether the backend's connection can be used again.
    persists: bool,
    upgrades: bool,
    framing: Framing,

    /// Reads a complete head; the lines it finds live in the storage.
    pub fn parse(bytes: []const u8, to_head_request: bool, storage: []Line) Fault!Response {
        const line_end = findByte(bytes, 0, '\r');
        const status = try readStatus(bytes[0..line_end]);
        const is_old = bytes[7] == '0';
        const lines = try readLines(bytes, line_end + 2, storage);
        const meaning: Meaning = try .read(bytes, lines);
        if (is_old and meaning.has_coding) return error.CodingInOldVersion;
        const has_no_body = to_head_request or status < 200 or status == 204 or status == 304;
        const framing: Framing = if (has_no_body)
            .none
        else if (meaning.is_chunked)
            .chunked
        else if (meaning.length) |length|
            .{ .length = length }
        else
            .until_close;
        return .{
            .lines = lines,
            .lines_start = @intCast(line_end + 2),
            .status = status,
            .persists = meaning.persists(is_old) and framing != .until_close,
            .upgrades = status == 101 and meaning.upgrade,
            .framing = framing,
        };
    }

    pub const Coding = enum {
        /// As the backend has it.
        keep,
        /// Chunks that are ours.
        add,
        /// A client that knows no chunks.
        drop,
    };

    /// Writes the head that the client gets.
    pub fn write(self: *const Response, bytes: []const u8, coding: Coding, persistence: reply.Persistence, buffer: []u8) []u8 {
        var out: Output = .{ .buffer = buffer };
        out.put("HTTP/1.1");
        out.put(bytes[8 .. self.lines_start - 2]);
        // The space behind the code may be missing when the reason is.
        if (self.lines_start - 2 == "HTTP/1.1 200".len) out.put(" ");
        out.put("\r\n");
        const last_via = lastOf(self.lines, .via);
        var copied_to = self.lines_start;
        for (self.lines, 0..) |line, i| {
            switch (line.field) {
                .other, .host, .te, .x_forwarded_for, .x_forwarded_host, .x_forwarded_proto => continue,
                .content_length => if (self.status >= 200) continue,
                .upgrade => if (self.upgrades) continue,
                .via => if (i != last_via) continue,
                .connection, .keep_alive, .proxy_connection, .transfer_encoding, .dropped => {},
            }
            out.put(bytes[copied_to..line.start]);
            copied_to = line.end;
            switch (line.field) {
                .via => out.putAppended(line, bytes, via),
                .transfer_encoding => if (coding == .keep) out.putLine("Transfer-Encoding", "chunked"),
                else => {},
            }
        }
        out.put(bytes[copied_to .. bytes.len - 2]);
        if (coding == .add) out.putLine("Transfer-Encoding", "chunked");
        if (last_via == null) out.putLine("Via", via);
        out.put(if (self.upgrades) "Connection: upgrade\r\n" else persistence.line());
        out.put("\r\n");
        return out.written();
    }
};

/// Reads `HTTP/1.x NNN reason`.
pub fn readStatus(line: []const u8) Fault!u16 {
    if (line.len < 12 or !std.mem.startsWith(u8, line, "HTTP/1.") or line[8] != ' ') return error.BadStatusLine;
    if (line[7] != '0' and line[7] != '1') return error.BadStatusLine;
    if (line.len > 12 and line[12] != ' ') return error.BadStatusLine;
    for (line[9..12]) |byte| if (!std.ascii.isDigit(byte)) return error.BadStatusLine;
    const status = std.fmt.parseInt(u16, line[9..12], 10) catch unreachable;
    return if (status < 100) error.BadStatusLine else status;
}

/// A buffer that is known to be large enough: what a head may grow is bounded.
const Output = struct {
    buffer: []u8,
    length: usize = 0,

    inline fn put(self: *Output, bytes: []const u8) void {
        @memcpy(self.buffer[self.length..][0..bytes.len], bytes);
        self.length += bytes.len;
    }

    fn putLine(self: *Output, name: []const u8, value: []const u8) void {
        self.put(name);
        self.put(": ");
        self.put(value);
        self.put("\r\n");
    }

    /// Writes a line with one more member in its list.
    fn putAppended(self: *Output, line: Line, bytes: []const u8, member: []const u8) void {
        self.put(bytes[line.start..line.name_end]);
        self.put(": ");
        self.put(line.value.of(bytes));
        if (line.value.start != line.value.end) self.put(", ");
        self.put(member);
        self.put("\r\n");
    }

    fn written(self: *const Output) []u8 {
        return self.buffer[0..self.length];
    }
};

test "a head ends at its empty line, whatever the place of the cut" {
    const long: [70]u8 = @splat('v');
    const head = "GET / HTTP/1.1\r\nHost: a\r\nX-Long: " ++ &long ++ "\tw\r\n\r\n";
    const bytes = head ++ "rest\n";
    for (0..head.len) |cut| {
        const first = try findEnd(bytes[0..cut], 0);
        try std.testing.expectEqual(head.len, (try findEnd(bytes, first.incomplete)).complete);
    }
    for ([_]struct { []const u8, Fault }{
        .{ "GET / HTTP/1.1\nHost", error.BareLineFeed },          .{ "GET / HTTP/1.1\r\nHost: a\n", error.BareLineFeed },
        .{ "GET / HTTP/1.1\rHost: a", error.BareCarriageReturn }, .{ "GET / HTTP/1.1\r\r\n", error.BareCarriageReturn },
        .{ "GET /\x00 HTTP", error.ControlByte },                 .{ "GET / HTTP/1.1\r\nA: \x7f", error.ControlByte },
        .{ &long ++ "\x01", error.ControlByte },
    }) |row| try std.testing.expectError(row[1], findEnd(row[0], 0));
}

fn testParse(comptime text: []const u8) Fault!Request {
    var storage: [64]Line = undefined;
    const end = try findEnd(text, 0);
    return Request.parse(text[0..end.complete], &storage);
}

test "requests that nobody should believe" {
    const options: [33][2]u8 = @splat("a,".*);
    const many_options: [66]u8 = @bitCast(options);
    inline for (.{
        .{ "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", error.BadRequestLine },
        .{ "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", error.BadRequestLine },
        .{ "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", error.BadRequestLine },
        .{ "GET /\r\nHost: a\r\n\r\n", error.BadRequestLine },
        .{ "GET / http/1.1\r\nHost: a\r\n\r\n", error.BadRequestLine },
        .{ "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", error.BadRequestLine },
        .{ "GET / HTTP/2.0\r\nHost: a\r\n\r\n", error.UnsupportedVersion },
        .{ "GET a HTTP/1.1\r\nHost: a\r\n\r\n", error.BadTarget },
        .{ "GET * HTTP/1.1\r\nHost: a\r\n\r\n", error.BadTarget },
        .{ "GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", error.BadHost },
        .{ "GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n", error.BadHost },
        .{ "GET / HTTP/1.1\r\n\r\n", error.MissingHost },
        .{ "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", error.DuplicateHost },
        .{ "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", error.BadHost },
        .{ "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", error.FoldedLine },
        .{ "GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", error.FoldedLine },
        .{ "GET / HTTP/1.1\r\nHost : a\r\n\r\n", error.SpaceBeforeColon },
        .{ "GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n", error.SpaceBeforeColon },
        .{ "GET / HTTP/1.1\r\nHost: a\r\n: z\r\n\r\n", error.BadFieldName },
        .{ "GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n", error.BadFieldName },
        .{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", error.ConflictingContentLength },
        .{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 01\r\n\r\n", error.ConflictingContentLength },
        .{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", error.BadContentLength },
        .{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", error.BadContentLength },
        .{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", error.BadContentLength },
        .{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\n", error.BadContentLength },
        .{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", error.BadContentLength },
        .{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", error.BadContentLength },
        .{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", error.LengthAndCoding },
        .{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", error.UnknownCoding },
        .{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", error.UnknownCoding },
        .{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", error.BadCoding },
        .{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", error.BadCoding },
        .{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", error.BadCoding },
        .{ "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", error.CodingInOldVersion },
        .{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: " ++ &many_options ++ "\r\n\r\n", error.TooManyOptions },
    }) |row| try std.testing.expectError(row[1], testParse(row[0]));
}

fn testRewrite(head: []const u8, expected: []const u8) !void {
    var storage: [64]Line = undefined;
    var buffer: [2048]u8 = undefined;
    const request: Request = try .parse(head, &storage);
    try std.testing.expectEqualStrings(expected, request.write(head, "10.0.0.9", "here:80", &buffer));
}

test "requests are rewritten" {
    const added = "X-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nVia: 1.1 deadheat\r\n";
    try testRewrite(
        "GET /x?y HTTP/1.1\r\nA:  b \r\nHost: a\r\nA: c\r\n\r\n",
        "GET /x?y HTTP/1.1\r\nA:  b \r\nHost: a\r\nA: c\r\n" ++ added ++ "\r\n",
    );
    try testRewrite(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, x-hop, Host\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nTE: gzip, trailers\r\n" ++
            "Upgrade: h2c\r\nB: c\r\nProxy-Connection: z\r\nX-Forwarded-Proto: https\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nB: c\r\n" ++ added ++ "\r\n",
    );
    try testRewrite(
        "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 1\r\nVia: 1.0 x\r\nX-FORWARDED-FOR: 2\r\nX-Forwarded-Host: h\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 1\r\nVia: 1.0 x, 1.1 deadheat\r\nX-FORWARDED-FOR: 2, 10.0.0.9\r\n" ++
            "X-Forwarded-Host: h\r\nX-Forwarded-Proto: http\r\n\r\n",
    );
    try testRewrite(
        "GET HTTP://a?q HTTP/1.1\r\nHost: other\r\n\r\n",
        "GET /?q HTTP/1.1\r\nHost: a\r\n" ++ added ++ "\r\n",
    );
    try testRewrite(
        "OPTIONS http://a HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n" ++ added ++ "\r\n",
    );
    try testRewrite(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n" ++ added ++ "Connection: upgrade\r\n\r\n",
    );
    try testRewrite(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" ++ added ++ "\r\n",
    );
}

test "what a request means" {
    const old = try testParse("GET / HTTP/1.0\r\n\r\n");
    try std.testing.expect(old.is_old and !old.persists and old.framing == .none);
    try std.testing.expect((try testParse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")).persists);
    try std.testing.expect(!(try testParse("GET / HTTP/1.1\r\nHost: a\r\nConnection: a, Close\r\n\r\n")).persists);
    try std.testing.expectEqual(7, (try testParse("GET / HTTP/1.1\r\nHost:\r\nContent-Length: 007\r\n\r\n")).framing.length);
    try std.testing.expectEqual(Method.connect, (try testParse("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n")).method);
    try std.testing.expectEqual(Method.other, (try testParse("get / HTTP/1.1\r\nHost: a\r\n\r\n")).method);
}

test "responses are read and rewritten" {
    var storage: [64]Line = undefined;
    var buffer: [1024]u8 = undefined;
    const head = "HTTP/1.0 200 Fine\r\nServer: x\r\nConnection: keep-alive, x\r\nX: 1\r\nContent-Length: 3\r\nVia: 1.1 y\r\n\r\n";
    const response: Response = try .parse(head, false, &storage);
    try std.testing.expect(response.persists and response.framing.length == 3);
    try std.testing.expectEqualStrings(
        "HTTP/1.1 200 Fine\r\nServer: x\r\nContent-Length: 3\r\nVia: 1.1 y, 1.1 deadheat\r\nConnection: close\r\n\r\n",
        response.write(head, .keep, .close, &buffer),
    );
    const bare = "HTTP/1.1 404\r\nTransfer-Encoding: Chunked\r\n\r\n";
    const chunked: Response = try .parse(bare, false, &storage);
    try std.testing.expect(chunked.framing == .chunked);
    try std.testing.expectEqualStrings(
        "HTTP/1.1 404 \r\nTransfer-Encoding: chunked\r\nVia: 1.1 deadheat\r\n\r\n",
        chunked.write(bare, .keep, .silent, &buffer),
    );
    try std.testing.expect((try Response.parse(bare, true, &storage)).framing == .none);
    const open = "HTTP/1.1 200 OK\r\n\r\n";
    const unframed: Response = try .parse(open, false, &storage);
    try std.testing.expect(unframed.framing == .until_close and !unframed.persists);
    for ([_][]const u8{ "HTTP/1.1", "HTTP/1.1 20", "HTTP/1.1 2x0 OK", "HTTP/1.1  200", "HTTP/2.0 200 OK", "HTTP/1.1 2000", "ICY 200 OK....", "HTTP/1.1 099 x" }) |line| {
        try std.testing.expectError(error.BadStatusLine, readStatus(line));
    }
}
