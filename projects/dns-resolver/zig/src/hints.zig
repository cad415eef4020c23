//! The root hints: who to ask first, from a file in the format of master files.

const std = @import("std");
const canonical = @import("canonical.zig");
const failure = @import("failure.zig");
const net = @import("net.zig");
const wire = @import("wire.zig");
const Cut = @import("cut.zig").Cut;
const Type = wire.Type;

const file_bytes_max = 1 << 20;

pub fn load(io: std.Io, arena: std.mem.Allocator, path: []const u8, reach: net.Reach, why: *failure.Failure) failure.Error!Cut {
    const text = std.Io.Dir.cwd().readFileAlloc(io, path, arena, .limited(file_bytes_max)) catch |err| return why.path(path, err);
    return parse(arena, text, path, reach, why);
}

const Named = struct { name: wire.Name, ip: net.Ip };

/// What is known after some lines.
const Parser = struct {
    arena: std.mem.Allocator,
    path: []const u8,
    why: *failure.Failure,
    line: usize = 0,
    first_server_line: usize = 0,
    origin: wire.Name = .root,
    owner: ?wire.Name = null,
    servers: std.ArrayList(wire.Name) = .empty,
    addresses: std.ArrayList(Named) = .empty,

    fn fail(self: *Parser, comptime format: []const u8, args: anytype) error{Failed} {
        return self.why.bad("{f}: line {d}: " ++ format, .{ failure.escaped(self.path), self.line } ++ args);
    }

    fn parseLine(self: *Parser, whole: []const u8) failure.Error!void {
        const text = whole[0 .. std.mem.findScalar(u8, whole, ';') orelse whole.len];
        var words = std.mem.tokenizeAny(u8, text, " \t\r");
        if (words.peek() == null) return;
        if (text[0] == '$') return self.parseDirective(&words);
        if (text[0] != ' ' and text[0] != '\t') self.owner = try self.parseName(words.next().?);
        const owner = self.owner orelse return self.fail("a record without a name", .{});
        const word = while (words.next()) |next| {
            if (isTtl(next) or std.ascii.eqlIgnoreCase(next, "IN")) continue;
            break next;
        } else return self.fail("a record without a type", .{});
        const kind = knownKind(word) orelse return self.fail("{f} is not a type that hints have: NS, A, AAAA", .{failure.quoted(word)});
        const data = words.next();
        if (data == null or words.next() != null) return self.fail("a record of type {s} wants one word of data", .{kind});
        try self.addRecord(&owner, kind, data.?);
    }

    fn parseDirective(self: *Parser, words: *std.mem.TokenIterator(u8, .any)) failure.Error!void {
        const name = words.next().?;
        const value = words.next() orelse return self.fail("{f} without a value", .{failure.quoted(name)});
        if (std.ascii.eqlIgnoreCase(name, "$ORIGIN")) {
            self.origin = try self.parseName(value);
        } else if (!std.ascii.eqlIgnoreCase(name, "$TTL")) {
            return self.fail("unknown directive {f}", .{failure.quoted(name)});
        }
    }

    fn isTtl(word: []const u8) bool {
        return std.ascii.isDigit(word[0]);
    }

    fn knownKind(word: []const u8) ?[]const u8 {
        for ([_][]const u8{ "NS", "A", "AAAA" }) |known| if (std.ascii.eqlIgnoreCase(known, word)) return known;
        return null;
    }

    fn addRecord(self: *Parser, owner: *const wire.Name, kind: []const u8, data: []const u8) failure.Error!void {
        switch (canonical.parseType(kind).?) {
            Type.ns => {
                const name = try self.parseName(data);
                if (owner.length != 1) return;
                if (self.servers.items.len == 0) self.first_server_line = self.line;
                try self.servers.append(self.arena, name);
            },
            Type.a, Type.aaaa => |number| {
                const ip = net.Ip.parse(data);
                if (ip == null or ip.?.is4() != (number == Type.a)) return self.fail("{f} is not an address of type {s}", .{ failure.quoted(data), kind });
                try self.addresses.append(self.arena, .{ .name = owner.*, .ip = ip.? });
            },
            else => unreachable, // refused before
        }
    }

    fn parseName(self: *Parser, text: []const u8) failure.Error!wire.Name {
        if (std.mem.eql(u8, text, "@")) return self.origin;
        const name = canonical.parseName(text) catch |err| return self.fail("{s}: {f}", .{ canonical.nameReason(err), failure.quoted(text) });
        if (std.mem.endsWith(u8, text, ".")) return name;
        const relative = name.slice()[0 .. name.length - 1];
        var absolute: wire.Name = .root;
        if (relative.len + self.origin.length > wire.name_bytes_max) return self.fail("name longer than 255 bytes: {f}", .{failure.quoted(text)});
        @memcpy(absolute.buffer[0..relative.len], relative);
        @memcpy(absolute.buffer[relative.len..][0..self.origin.length], self.origin.slice());
        absolute.length = @intCast(relative.len + self.origin.length);
        return absolute;
    }
};

fn parse(arena: std.mem.Allocator, text: []const u8, path: []const u8, reach: net.Reach, why: *failure.Failure) failure.Error!Cut {
    var parser: Parser = .{ .arena = arena, .path = path, .why = why };
    var lines = std.mem.splitScalar(u8, text, '\n');
    while (lines.next()) |line| {
        parser.line += 1;
        try parser.parseLine(line);
    }
    // The piece behind the last line end is no line.
    if (std.mem.endsWith(u8, text, "\n")) parser.line -= 1;
    var cut: Cut = .init(&.{0});
    for (parser.servers.items) |*name| _ = cut.addName(name.slice());
    for (parser.addresses.items) |*address| {
        const index = cut.findName(address.name.slice()) orelse continue;
        if (reach.includes(address.ip)) cut.addAddress(index, address.ip);
    }
    if (parser.servers.items.len == 0) return parser.fail("no usable server: no NS record of the root", .{});
    if (cut.server_count == 0) {
        parser.line = parser.first_server_line;
        return parser.fail("no usable server: no address for {f}", .{canonical.shown(parser.servers.items[0].slice())});
    }
    return cut;
}

test "hints" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var why: failure.Failure = .{};
    const reach: net.Reach = .from(.of4(.{ 127, 0, 0, 1 }), false);
    const text =
        \\; comment
        \\$TTL 5
        \\.  3600 IN NS a.root.  ; trailing
        \\   3600    NS B.root.
        \\$ORIGIN root.
        \\a IN A 10.0.0.1
        \\a AAAA ::1
        \\b.root. A 10.0.0.2
        \\c A 10.0.0.3
        \\
    ;
    const cut = try parse(arena.allocator(), text, "h", reach, &why);
    try std.testing.expectEqual(2, cut.name_count);
    try std.testing.expectEqual(2, cut.server_count);
    try std.testing.expect(cut.servers[1].eql(.of4(.{ 10, 0, 0, 2 })));
    for ([_][2][]const u8{
        .{ "", "h: line 1: no usable server: no NS record of the root" },
        .{ ". NS a.\n", "h: line 1: no usable server: no address for a." },
        .{ ". NS a.\na. A 10.0.0\n", "h: line 2: \"10.0.0\" is not an address of type A" },
        .{ ". NS a.\na. AAAA 10.0.0.1\n", "h: line 2: \"10.0.0.1\" is not an address of type AAAA" },
        .{ "\n NS a.\n", "h: line 2: a record without a name" },
        .{ ". IN 5\n", "h: line 1: a record without a type" },
        .{ ". NS\n", "h: line 1: a record of type NS wants one word of data" },
        .{ ". NS a. b\n", "h: line 1: a record of type NS wants one word of data" },
        .{ ". BOGUS a.\n", "h: line 1: \"BOGUS\" is not a type that hints have: NS, A, AAAA" },
        .{ ". MX a.\n", "h: line 1: \"MX\" is not a type that hints have: NS, A, AAAA" },
        .{ "$X y\n", "h: line 1: unknown directive \"$X\"" },
        .{ ". NS a..b.\n", "h: line 1: empty label: \"a..b.\"" },
    }) |row| {
        try std.testing.expectError(error.Failed, parse(arena.allocator(), row[0], "h", reach, &why));
        try std.testing.expectEqualStrings(row[1], why.text());
    }
}
