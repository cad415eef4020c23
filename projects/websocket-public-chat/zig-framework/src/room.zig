//! Rooms: who is in them, the order of their messages, what was said lately, and who is told how many there are.

const std = @import("std");
const frame_file = @import("frame.zig");
const message = @import("message.zig");
const metrics = @import("metrics.zig");
const timers_file = @import("timers.zig");
const Client = @import("client.zig").Client;
const Frame = frame_file.Frame;
const Options = @import("options.zig").Options;

pub const Room = struct {
    name: []const u8,
    /// Accepted messages.
    seq: u64 = 0,
    members: std.ArrayList(*Client) = .empty,
    /// The last messages; once it is full the oldest is at `history_start`.
    history: std.ArrayList(*Frame) = .empty,
    history_start: usize = 0,
    /// Runs for a second after the members were told their number.
    timer: timers_file.Timer = .{},
    /// The number is another one than they were told.
    has_changed: bool = false,
};

/// All rooms of a thread, and what their members share.
pub const Hub = struct {
    gpa: std.mem.Allocator,
    options: *const Options,
    counters: *metrics.Counters,
    timers: *timers_file.Timers,
    now_ns: u64,
    nodes: frame_file.Queue.Nodes,
    /// The server stops: nobody is told how many are left.
    is_quiet: bool = false,
    rooms: std.StringHashMapUnmanaged(*Room) = .empty,
    /// For a message that is being written.
    scratch: [message.encoded_bytes_max]u8 = undefined,

    /// Makes a client a member of a room, which begins to exist with its first one.
    pub fn join(self: *Hub, client: *Client, name: []const u8, nick: []const u8) error{OutOfMemory}!void {
        const room = self.rooms.get(name) orelse try self.open(name);
        errdefer if (room.members.items.len == 0) self.discard(room);
        try room.members.ensureUnusedCapacity(self.gpa, 1);
        client.nick = try self.gpa.dupe(u8, nick);
        client.room = room;
        client.place = @intCast(room.members.items.len);
        room.members.appendAssumeCapacity(client);
        metrics.add(&self.counters.members_joined, 1);
        try client.say(message.joined(&self.scratch, name, nick, room.members.items.len));
        for (room.history.items[room.history_start..]) |frame| client.offer(frame, .message);
        for (room.history.items[0..room.history_start]) |frame| client.offer(frame, .message);
        try self.onChange(room);
    }

    /// Ends a membership, if there is one.
    pub fn leave(self: *Hub, client: *Client) void {
        const room = client.room orelse return;
        client.room = null;
        self.gpa.free(client.nick);
        client.nick = "";
        _ = room.members.swapRemove(client.place);
        if (client.place < room.members.items.len) room.members.items[client.place].place = client.place;
        metrics.add(&self.counters.members_left, 1);
        if (room.members.items.len == 0) return self.discard(room);
        // Without memory the others learn the number with the next change.
        self.onChange(room) catch {};
    }

    /// Accepts a message: the sender gets its number, every other member the message.
    pub fn accept(self: *Hub, sender: *Client, id: u64, text: []const u8) error{OutOfMemory}!void {
        const room = sender.room.?;
        const encoded = message.chat(&self.scratch, room.name, sender.nick, room.seq + 1, text);
        const frame: *Frame = try .create(self.gpa, .text, encoded);
        defer frame.release(self.gpa);
        room.seq += 1;
        metrics.add(&self.counters.accepted, 1);
        // Nobody leaves meanwhile: who cannot take it does so at the end of the turn.
        for (room.members.items) |member| if (member != sender) member.offer(frame, .delivery);
        try sender.say(message.accepted(&self.scratch, id, room.seq));
        try self.remember(room, frame);
    }

    fn remember(self: *Hub, room: *Room, frame: *Frame) error{OutOfMemory}!void {
        const limit = self.options.history;
        if (limit == 0) return;
        if (room.history.items.len < limit) {
            try room.history.append(self.gpa, frame.retain());
            return;
        }
        const oldest = &room.history.items[room.history_start];
        oldest.*.release(self.gpa);
        oldest.* = frame.retain();
        room.history_start = (room.history_start + 1) % limit;
    }

    /// A second has passed since the members of a room were told their number.
    pub fn onPresenceTimer(self: *Hub, timer: *timers_file.Timer) void {
        const room: *Room = @fieldParentPtr("timer", timer);
        if (room.has_changed and !self.is_quiet) self.announce(room) catch {};
    }

    fn onChange(self: *Hub, room: *Room) error{OutOfMemory}!void {
        room.has_changed = true;
        if (room.timer.class == null and !self.is_quiet) try self.announce(room);
    }

    fn announce(self: *Hub, room: *Room) error{OutOfMemory}!void {
        self.timers.arm(&room.timer, .presence, self.now_ns);
        const frame: *Frame = try .create(self.gpa, .text, message.presence(&self.scratch, room.name, room.members.items.len));
        defer frame.release(self.gpa);
        room.has_changed = false;
        for (room.members.items) |member| member.offer(frame, .message);
    }

    fn open(self: *Hub, name: []const u8) error{OutOfMemory}!*Room {
        const room = try self.gpa.create(Room);
        errdefer self.gpa.destroy(room);
        room.* = .{ .name = try self.gpa.dupe(u8, name) };
        errdefer self.gpa.free(room.name);
        try self.rooms.put(self.gpa, room.name, room);
        metrics.add(&self.counters.rooms_opened, 1);
        return room;
    }

    fn discard(self: *Hub, room: *Room) void {
        self.timers.disarm(&room.timer);
        for (room.history.items) |frame| frame.release(self.gpa);
        room.history.deinit(self.gpa);
        room.members.deinit(self.gpa);
        _ = self.rooms.remove(room.name);
        self.gpa.free(room.name);
        self.gpa.destroy(room);
        metrics.add(&self.counters.rooms_closed, 1);
    }
};
