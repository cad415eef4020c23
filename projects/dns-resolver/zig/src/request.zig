//! What a client asks, and the reply to it.

const std = @import("std");
const wire = @import("wire.zig");
const Answer = @import("cache.zig").Answer;
const Rcode = wire.Rcode;
const Type = wire.Type;

pub const question_bytes_max = wire.name_bytes_max + 4;
/// What every client can take.
const datagram_bytes_min = 512;
/// What fits into a packet.
const datagram_bytes_max = 65_507;

pub const Verdict = union(enum) {
    /// Not a query at all.
    drop,
    /// A query that gets this code at once.
    refuse: u8,
    ask,
};

const Edns = struct { bytes: u16, wants_dnssec: bool };

pub const Request = struct {
    id: [2]u8,
    flags: [2]u8,
    /// As it is to be echoed; empty if it could not be read.
    question: []const u8,
    type: u16,
    edns: ?Edns,

    /// Reads a packet. What it finds points into the packet.
    pub fn read(self: *Request, packet: []const u8) Verdict {
        if (packet.len < wire.header_bytes or packet[2] & 0x80 != 0) return .drop;
        self.* = .{ .id = packet[0..2].*, .flags = packet[2..4].*, .question = &.{}, .type = 0, .edns = null };
        const is_one = wire.read16(packet, 4) == 1;
        const end = if (is_one) self.readQuestion(packet) else null;
        if (packet[2] & 0x78 != 0) return .{ .refuse = Rcode.notimp };
        const records_at = end orelse return .{ .refuse = Rcode.formerr };
        // Most queries have nothing behind the question.
        if (std.mem.readInt(u48, packet[6..12], .big) != 0) {
            const is_version_known = self.readRecords(packet, records_at) catch return .{ .refuse = Rcode.formerr };
            if (!is_version_known) return .{ .refuse = Rcode.badvers };
        }
        return self.judge();
    }

    /// Reads the question; null if there is none that can be read.
    fn readQuestion(self: *Request, packet: []const u8) ?usize {
        var at: usize = wire.header_bytes;
        while (at < packet.len) {
            const length: usize = packet[at];
            // There is nothing yet that a pointer could lead to.
            if (length > wire.label_bytes_max) return null;
            at += 1 + length;
            if (length == 0) break;
        } else return null;
        if (at - wire.header_bytes > wire.name_bytes_max or at + 4 > packet.len) return null;
        self.type = wire.read16(packet, at);
        self.question = packet[wire.header_bytes .. at + 4];
        return at + 4;
    }

    /// Reads what is behind the question; false if it is of a version of EDNS that we do not know.
    fn readRecords(self: *Request, packet: []const u8, start: usize) wire.Error!bool {
        var at = start;
        var is_version_known = true;
        for (0..3) |section| for (0..wire.read16(packet, 6 + 2 * section)) |_| {
            var owner: wire.Name = undefined;
            _ = try wire.readName(packet, at, &owner);
            const record = try wire.Record.read(packet, at);
            at = record.end;
            if (record.type != Type.opt or section != 2) continue;
            if (self.edns != null or owner.length != 1 or !areOptionsWhole(record.data(packet))) return error.Malformed;
            self.edns = .{ .bytes = record.class, .wants_dnssec = packet[record.data_at - 4] & 0x80 != 0 };
            is_version_known = packet[record.data_at - 5] == 0;
        };
        return is_version_known;
    }

    fn judge(self: *const Request) Verdict {
        if (wire.read16(self.question, self.question.len - 2) != wire.class_in) return .{ .refuse = Rcode.refused };
        return switch (self.type) {
            Type.none, Type.opt => .{ .refuse = Rcode.formerr },
            else => |kind| if (wire.isMeta(kind)) .{ .refuse = Rcode.notimp } else .ask,
        };
    }

    pub fn name(self: *const Request) []const u8 {
        return self.question[0 .. self.question.len - 4];
    }

    pub fn wantsRecursion(self: *const Request) bool {
        return self.flags[0] & 0x01 != 0;
    }

    /// How long a datagram to the client may be.
    pub fn datagramBytesMax(self: *const Request) usize {
        return if (self.edns) |edns| std.math.clamp(edns.bytes, datagram_bytes_min, datagram_bytes_max) else datagram_bytes_min;
    }

    pub fn replyBytes(self: *const Request, answer: *const Answer) usize {
        return wire.header_bytes + self.question.len + answer.body.len + if (self.edns == null) 0 else @as(usize, wire.opt_bytes);
    }

    /// Writes the reply; one that would be longer than the limit is without records, and says so.
    pub fn writeReply(self: *const Request, answer: *const Answer, buffer: []u8, limit: usize) usize {
        const is_cut = self.replyBytes(answer) > limit;
        buffer[0..2].* = self.id;
        // A reply to a query of the same kind, with its wish for recursion, and whether it was cut.
        buffer[2] = 0x80 | (self.flags[0] & 0x79) | (@as(u8, @intFromBool(is_cut)) << 1);
        // Recursion is to be had here; checking was disabled or not.
        buffer[3] = 0x80 | (self.flags[1] & 0x10) | (answer.rcode & 0x0f);
        wire.write16(buffer, 4, @intFromBool(self.question.len != 0));
        wire.write16(buffer, 6, if (is_cut) 0 else answer.answers);
        wire.write16(buffer, 8, if (is_cut) 0 else answer.authorities);
        wire.write16(buffer, 10, @intFromBool(self.edns != null));
        @memcpy(buffer[wire.header_bytes..][0..self.question.len], self.question);
        var end = wire.header_bytes + self.question.len;
        if (!is_cut) {
            answer.writeBody(buffer[end..]);
            end += answer.body.len;
        }
        const edns = self.edns orelse return end;
        writeOpt(buffer[end..][0..wire.opt_bytes], answer.rcode, edns);
        return end + wire.opt_bytes;
    }
};

fn areOptionsWhole(options: []const u8) bool {
    var at: usize = 0;
    while (at + 4 <= options.len) at += 4 + @as(usize, wire.read16(options, at + 2));
    return at == options.len;
}

/// What we can take ourselves: the size that is safe from fragments.
const own_datagram_bytes = 1232;

fn writeOpt(target: *[wire.opt_bytes]u8, rcode: u8, edns: Edns) void {
    @memset(target, 0);
    wire.write16(target, 1, Type.opt);
    wire.write16(target, 3, own_datagram_bytes);
    target[5] = rcode >> 4;
    target[7] = @as(u8, @intFromBool(edns.wants_dnssec)) << 7;
}

fn expectVerdict(packet: []const u8, expected: Verdict) !void {
    var request: Request = undefined;
    try std.testing.expectEqual(expected, request.read(packet));
}

test "queries, and what is wrong with them" {
    const good = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03wWw\x04test\x00\x00\x01\x00\x01".*;
    const opt = "\x00\x00\x29\x10\x00\x00\x00\x80\x00\x00\x00".*;
    try expectVerdict(&good, .ask);
    try expectVerdict(&(good ++ "junk".*), .ask);
    for (0..good.len) |length| try expectVerdict(good[0..length], if (length < 12) .drop else .{ .refuse = Rcode.formerr });
    for ([_]struct { usize, u8, Verdict }{
        .{ 2, 0x80, .drop },                         .{ 2, 0x10, .{ .refuse = Rcode.notimp } }, .{ 5, 0, .{ .refuse = Rcode.formerr } },
        .{ 5, 2, .{ .refuse = Rcode.formerr } },     .{ 7, 1, .{ .refuse = Rcode.formerr } },   .{ 11, 1, .{ .refuse = Rcode.formerr } },
        .{ 12, 0xc0, .{ .refuse = Rcode.formerr } }, .{ 12, 64, .{ .refuse = Rcode.formerr } }, .{ 25, 3, .{ .refuse = Rcode.refused } },
        .{ 23, 255, .{ .refuse = Rcode.notimp } },   .{ 23, 252, .{ .refuse = Rcode.notimp } }, .{ 23, 41, .{ .refuse = Rcode.formerr } },
    }) |row| {
        var packet = good;
        packet[row[0]] = row[1];
        try expectVerdict(&packet, row[2]);
    }
    var with_opt = good ++ opt ++ opt;
    with_opt[11] = 1;
    try expectVerdict(&with_opt, .ask);
    with_opt[11] = 2;
    try expectVerdict(&with_opt, .{ .refuse = Rcode.formerr });
    with_opt[11] = 1;
    with_opt[good.len + 6] = 1;
    try expectVerdict(&with_opt, .{ .refuse = Rcode.badvers });
}

test "replies echo the question, and fit" {
    var packet = ("\x12\x34\x01\x10\x00\x01\x00\x00\x00\x00\x00\x01\x03wWw\x04test\x00\x00\x01\x00\x01" ++ "\x00\x00\x29\x02\x58\x00\x00\x80\x00\x00\x00").*;
    var request: Request = undefined;
    try std.testing.expect(request.read(&packet) == .ask);
    try std.testing.expectEqualStrings("\x03wWw\x04test\x00", request.name());
    try std.testing.expectEqual(600, request.datagramBytesMax());
    const answer: Answer = .{ .rcode = 0, .answers = 1, .body = "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01", .ttl_places = &.{6}, .elapsed_s = 10 };
    var buffer: [600]u8 = undefined;
    const whole = buffer[0..request.writeReply(&answer, &buffer, 600)];
    try std.testing.expectEqualStrings("\x12\x34\x81\x90\x00\x01\x00\x01\x00\x00\x00\x01\x03wWw\x04test\x00\x00\x01\x00\x01" ++
        "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x32\x00\x04\x0a\x00\x00\x01" ++ "\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00", whole);
    const cut = buffer[0..request.writeReply(&answer, &buffer, whole.len - 1)];
    try std.testing.expectEqualStrings("\x12\x34\x83\x90\x00\x01\x00\x00\x00\x00\x00\x01", cut[0..12]);
    try std.testing.expectEqual(whole.len - answer.body.len, cut.len);
}
