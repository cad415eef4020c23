//! A zone cut: a zone, the names of its servers, and the addresses that are known of them.

const std = @import("std");
const net = @import("net.zig");
const wire = @import("wire.zig");

pub const names_max = 16;
pub const servers_max = 32;
const names_bytes_max = 1024;

pub const Cut = struct {
    zone: wire.Name,
    name_count: u8,
    server_count: u8,
    /// Names, as bits, whose addresses are known or have been asked for.
    settled: u16,
    names_bytes: u16,
    starts: [names_max]u16,
    names: [names_bytes_max]u8,
    servers: [servers_max]net.Ip,

    /// What a packed cut needs at most.
    pub const packed_bytes_max = head_bytes + names_bytes_max + servers_max * @sizeOf(net.Ip);
    const head_bytes = 6;

    pub fn init(zone: []const u8) Cut {
        return .{
            .zone = .of(zone),
            .name_count = 0,
            .server_count = 0,
            .settled = 0,
            .names_bytes = 0,
            .starts = undefined,
            .names = undefined,
            .servers = undefined,
        };
    }

    pub fn nameAt(self: *const Cut, index: usize) []const u8 {
        const start = self.starts[index];
        const end = if (index + 1 == self.name_count) self.names_bytes else self.starts[index + 1];
        return self.names[start..end];
    }

    pub fn findName(self: *const Cut, name: []const u8) ?usize {
        for (0..self.name_count) |index| if (wire.eql(self.nameAt(index), name)) return index;
        return null;
    }

    /// Adds a server; false if there is no room. A few dozen servers of a zone are enough to try.
    pub fn addName(self: *Cut, name: []const u8) bool {
        if (self.findName(name) != null) return true;
        if (self.name_count == names_max or self.names_bytes + name.len > names_bytes_max) return false;
        self.starts[self.name_count] = self.names_bytes;
        @memcpy(self.names[self.names_bytes..][0..name.len], name);
        self.names_bytes += @intCast(name.len);
        self.name_count += 1;
        return true;
    }

    /// Adds an address of a server. Servers may share one: it is asked once.
    pub fn addAddress(self: *Cut, index: usize, ip: net.Ip) void {
        self.settle(index);
        for (self.servers[0..self.server_count]) |other| if (other.eql(ip)) return;
        if (self.server_count == servers_max) return;
        self.servers[self.server_count] = ip;
        self.server_count += 1;
    }

    pub fn settle(self: *Cut, index: usize) void {
        self.settled |= @as(u16, 1) << @intCast(index);
    }

    /// The next name of which nothing is known.
    pub fn unsettled(self: *const Cut) ?usize {
        const index = @ctz(~self.settled);
        return if (index < self.name_count) index else null;
    }

    /// Writes all but the zone.
    pub fn pack(self: *const Cut, buffer: *[packed_bytes_max]u8) []const u8 {
        buffer[0] = self.name_count;
        buffer[1] = self.server_count;
        wire.write16(buffer, 2, self.settled);
        wire.write16(buffer, 4, self.names_bytes);
        @memcpy(buffer[head_bytes..][0..self.names_bytes], self.names[0..self.names_bytes]);
        const servers = std.mem.sliceAsBytes(self.servers[0..self.server_count]);
        @memcpy(buffer[head_bytes + self.names_bytes ..][0..servers.len], servers);
        return buffer[0 .. head_bytes + self.names_bytes + servers.len];
    }

    /// Reads what `pack` wrote.
    pub fn unpack(self: *Cut, zone: []const u8, bytes: []const u8) void {
        self.* = .init(zone);
        self.name_count = bytes[0];
        self.server_count = bytes[1];
        self.settled = wire.read16(bytes, 2);
        self.names_bytes = wire.read16(bytes, 4);
        @memcpy(self.names[0..self.names_bytes], bytes[head_bytes..][0..self.names_bytes]);
        var at: usize = 0;
        for (self.starts[0..self.name_count]) |*start| {
            start.* = @intCast(at);
            at = wire.skipName(&self.names, at) catch unreachable; // packed by us
        }
        const servers = std.mem.sliceAsBytes(self.servers[0..self.server_count]);
        @memcpy(servers, bytes[head_bytes + self.names_bytes ..][0..servers.len]);
    }
};

test "cuts are packed and unpacked" {
    var cut: Cut = .init("\x04test\x00");
    try std.testing.expect(cut.addName("\x01a\x00") and cut.addName("\x01A\x00") and cut.addName("\x02bb\x00"));
    try std.testing.expectEqual(2, cut.name_count);
    cut.addAddress(0, .of4(.{ 10, 0, 0, 1 }));
    cut.addAddress(0, .of4(.{ 10, 0, 0, 1 }));
    try std.testing.expectEqual(1, cut.unsettled().?);
    var buffer: [Cut.packed_bytes_max]u8 = undefined;
    var again: Cut = undefined;
    again.unpack(cut.zone.slice(), cut.pack(&buffer));
    try std.testing.expectEqualStrings("\x02bb\x00", again.nameAt(1));
    try std.testing.expectEqual(1, again.findName("\x02BB\x00").?);
    try std.testing.expectEqual(1, again.server_count);
    try std.testing.expect(again.servers[0].eql(.of4(.{ 10, 0, 0, 1 })));
    again.settle(1);
    try std.testing.expectEqual(null, again.unsettled());
}

test "a cut has no room for all servers of the world" {
    var cut: Cut = .init("\x00");
    for (0..names_max) |i| try std.testing.expect(cut.addName(&.{ 1, @intCast('a' + i), 0 }));
    try std.testing.expect(!cut.addName("\x01z\x00"));
    for (0..servers_max + 1) |i| cut.addAddress(0, .of4(.{ 10, 0, 0, @intCast(i) }));
    try std.testing.expectEqual(servers_max, cut.server_count);
}
