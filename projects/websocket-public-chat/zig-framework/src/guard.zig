//! What stands between the socket and libwebsockets, which takes some things from a client that RFC 6455 forbids
//! (frames without a mask, and a long control frame is cut without a word) and forgets a ping that follows another.
//!
//! The guard follows the headers of the frames in the bytes that the library is about to read. It says where the first
//! violation is, and ends each portion behind a control frame, so that the library answers one before it sees the next.

const std = @import("std");
const websocket = @import("websocket.zig");

pub const Guard = struct {
    limit: u32,
    accepts_binary: bool,
    /// Of a header that is not whole.
    header: [websocket.header_bytes_max]u8 = undefined,
    header_bytes: u8 = 0,
    payload_bytes: u64 = 0,
    payload_left: u64 = 0,
    is_control: bool = false,
    is_in_message: bool = false,
    message_bytes: u64 = 0,
    /// Of a close frame: its mask, and the code as it came.
    mask: [4]u8 = undefined,
    close_code: [2]u8 = undefined,
    /// Frames that have passed whole, ever.
    frames: u32 = 0,

    pub const Portion = struct { bytes: usize, violation: ?websocket.Error = null };

    /// How many of these bytes the library may read now.
    pub fn pass(self: *Guard, bytes: []const u8) Portion {
        var at: usize = 0;
        while (at < bytes.len) {
            if (self.payload_left == 0) {
                self.header[self.header_bytes] = bytes[at];
                self.header_bytes += 1;
                const parsed = websocket.Header.parse(self.header[0..self.header_bytes]) catch |err| return .{ .bytes = at, .violation = err };
                at += 1;
                const header = parsed orelse continue;
                self.begin(&header) catch |err| return .{ .bytes = at - 1, .violation = err };
            } else {
                const piece = @min(self.payload_left, bytes.len - at);
                if (self.is_control) self.noteCode(bytes[at..][0..@intCast(piece)]);
                self.payload_left -= piece;
                at += @intCast(piece);
            }
            if (self.payload_left != 0 or self.header_bytes != 0) continue;
            self.frames +%= 1;
            if (self.is_control) break;
        }
        return .{ .bytes = at };
    }

    fn noteCode(self: *Guard, piece: []const u8) void {
        const start: usize = @intCast(self.payload_bytes - self.payload_left);
        for (piece, start..) |byte, i| {
            if (i < self.close_code.len) self.close_code[i] = byte ^ self.mask[i];
        }
    }

    /// Puts the code back that came in a close frame: the library replaces those that it does not like.
    pub fn mendClose(self: *const Guard, payload: []u8) []u8 {
        if (payload.len >= self.close_code.len) payload[0..self.close_code.len].* = self.close_code;
        return payload;
    }

    fn begin(self: *Guard, header: *const websocket.Header) websocket.Error!void {
        self.header_bytes = 0;
        self.is_control = header.opcode.isControl();
        self.payload_left = header.length;
        self.payload_bytes = header.length;
        self.mask = header.mask;
        if (self.is_control) return;
        const is_first = header.opcode != .continuation;
        if (is_first == self.is_in_message) return error.Protocol;
        if (header.opcode == .binary and !self.accepts_binary) return error.NotText;
        if (is_first) self.message_bytes = 0;
        if (header.length > self.limit - self.message_bytes) return error.TooLarge;
        self.message_bytes += header.length;
        self.is_in_message = !header.is_final;
    }
};

test "portions end behind control frames and before violations" {
    const text = "\x81\x82abcdxy";
    const ping = "\x89\x81abcdz";
    for ([_]struct { []const u8, []const usize, ?websocket.Error }{
        .{ text ++ text, &.{16}, null },
        .{ ping ++ ping ++ text, &.{ 7, 7, 8 }, null },
        .{ "\x89\x80abcd" ++ text, &.{ 6, 8 }, null },
        .{ text ++ "\x81\x01a", &.{9}, error.Protocol },
        .{ "\x80\x80abcd", &.{5}, error.Protocol },
        .{ "\x01\x80abcd\x89\x80abcd\x80\x80abcd", &.{ 12, 6 }, null },
        .{ "\x82\x80abcd", &.{5}, error.NotText },
        .{ "\x01\x8aabcd0123456789\x80\x81abcd", &.{21}, error.TooLarge },
    }) |row| {
        const bytes, const portions, const violation = row;
        // Once as it is, and once byte by byte.
        var guard: Guard = .{ .limit = 10, .accepts_binary = false };
        var at: usize = 0;
        for (portions, 1..) |portion, i| {
            const passed = guard.pass(bytes[at..]);
            try std.testing.expectEqual(portion, passed.bytes);
            try std.testing.expectEqual(if (i == portions.len) violation else null, passed.violation);
            at += portion;
        }
        var slow: Guard = .{ .limit = 10, .accepts_binary = false };
        const found: ?websocket.Error = for (bytes) |byte| {
            if (slow.pass(&.{byte}).violation) |err| break err;
        } else null;
        try std.testing.expectEqual(violation, found);
    }
}
