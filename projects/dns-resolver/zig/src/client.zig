//! Clients over TCP: messages with their length in front, many at a time, answered in any order (RFC 7766).

const std = @import("std");
const net = @import("net.zig");
const timers = @import("timers.zig");
const wire = @import("wire.zig");
const Answer = @import("cache.zig").Answer;
const Request = @import("request.zig").Request;
const Worker = @import("server.zig").Worker;

const received_bytes_start = 1024;
/// Questions of one client that wait at the same time; more are not read meanwhile.
const waiting_max = 64;
/// With so much not taken yet, no more is read.
const unsent_bytes_pause = 64 << 10;
/// A client that asks and does not listen is closed.
const unsent_bytes_max = 1 << 20;

pub const Client = struct {
    source: net.Source = .{ .kind = .client },
    /// Among the clients, or those that are closed.
    node: std.DoublyLinkedList.Node = .{},
    timer: timers.Timer = .{},
    worker: *Worker,
    fd: net.Fd,
    received: std.ArrayList(u8) = .empty,
    unsent: std.ArrayList(u8) = .empty,
    sent: usize = 0,
    /// Questions that wait; the client's memory stays as long as there are some.
    waiting: u32 = 0,
    /// The client sends no more, or we read no more.
    is_ended: bool = false,
    is_closed: bool = false,

    pub fn start(self: *Client) void {
        self.rest();
    }

    /// The client's time runs from here.
    fn rest(self: *Client) void {
        self.worker.resolver.timers.arm(&self.timer, timers.idle, self.worker.resolver.now_ms);
    }

    /// Reads, serves and sends as far as it goes.
    pub fn advance(self: *Client) void {
        while (!self.is_closed) {
            const has_taken = self.takeMessages();
            self.flush();
            if (self.is_closed or self.isPaused()) break;
            // What was left because too much had not been sent may be taken now.
            if (has_taken) continue;
            if (self.is_ended) break;
            const room = self.makeRoom() catch return self.close();
            const count = net.receive(self.fd, room) catch |err| switch (err) {
                error.WouldBlock => break,
                error.Broken => return self.close(),
            };
            self.received.items.len += count;
            self.is_ended = count == 0;
        }
        self.closeIfDone();
    }

    fn isPaused(self: *const Client) bool {
        return self.waiting >= waiting_max or self.unsent.items.len - self.sent > unsent_bytes_pause;
    }

    /// Room for the message that has begun, or for the start of one.
    fn makeRoom(self: *Client) error{OutOfMemory}![]u8 {
        const have = self.received.items;
        const message_bytes = if (have.len < 2) 0 else 2 + @as(usize, wire.read16(have, 0));
        try self.received.ensureTotalCapacityPrecise(self.worker.gpa, @max(message_bytes, received_bytes_start));
        return self.received.unusedCapacitySlice();
    }

    /// Serves the messages that are whole; false if there was none.
    fn takeMessages(self: *Client) bool {
        var at: usize = 0;
        const all = self.received.items;
        while (all.len - at >= 2 and !self.isPaused() and !self.is_closed) {
            const end = at + 2 + wire.read16(all, at);
            if (end > all.len) break;
            self.worker.counters.add("tcp", 1);
            self.rest();
            self.worker.takePacket(all[at + 2 .. end], .{ .client = self });
            at = end;
        }
        if (at == 0) return false;
        @memmove(all[0 .. all.len - at], all[at..]);
        self.received.items.len = all.len - at;
        return true;
    }

    /// Queues a reply; it is sent with the next flush.
    pub fn reply(self: *Client, request: *const Request, answer: *const Answer) void {
        if (self.is_closed) return;
        const length = request.replyBytes(answer);
        if (self.unsent.items.len - self.sent + length > unsent_bytes_max) return self.close();
        const target = self.unsent.addManyAsSlice(self.worker.gpa, 2 + length) catch return self.close();
        wire.write16(target, 0, @intCast(length));
        _ = request.writeReply(answer, target[2..], wire.message_bytes_max);
    }

    /// A question that has waited is answered.
    pub fn endWaiting(self: *Client) void {
        self.waiting -= 1;
        if (self.is_closed) return self.worker.retireIfUnused(self);
        self.rest();
        // What was not read while too much waited is read now.
        self.advance();
    }

    fn flush(self: *Client) void {
        while (!self.is_closed and self.sent < self.unsent.items.len) {
            const count = net.send(self.fd, self.unsent.items[self.sent..]) catch |err| switch (err) {
                error.WouldBlock => return,
                error.Broken => return self.close(),
            };
            self.sent += count;
            self.rest();
        }
        if (self.unsent.capacity > unsent_bytes_pause) self.unsent.clearAndFree(self.worker.gpa) else self.unsent.clearRetainingCapacity();
        self.sent = 0;
    }

    fn closeIfDone(self: *Client) void {
        if (!self.is_closed and self.is_ended and self.waiting == 0 and self.unsent.items.len == 0) self.close();
    }

    pub fn onTimeout(self: *Client) void {
        // Who waits for us is not idle.
        if (self.waiting != 0) self.rest() else self.close();
    }

    /// Serves what has arrived, and reads no more.
    pub fn onDrain(self: *Client) void {
        self.advance();
        self.is_ended = true;
        self.closeIfDone();
    }

    pub fn close(self: *Client) void {
        if (self.is_closed) return;
        self.is_closed = true;
        self.worker.resolver.timers.disarm(&self.timer);
        net.close(self.fd);
        self.worker.retire(self);
    }

    pub fn deinit(self: *Client) void {
        self.received.deinit(self.worker.gpa);
        self.unsent.deinit(self.worker.gpa);
    }
};
