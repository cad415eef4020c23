//! Timers without a heap or a wheel: every timer of a class runs for the same time, so a timer that is armed later ends
//! later, and a plain queue for each class stays sorted by itself. The back-off of upstream queries has few steps, so
//! each step is a class of its own.

const std = @import("std");

pub const Class = u8;

/// Upstream tries, by how often the time was doubled.
pub const tries_max = 16;
/// An upstream query over TCP.
pub const stream: Class = tries_max;
/// A client's connection on which nothing happens.
pub const idle: Class = tries_max + 1;
/// Accepting, after the machine ran out of descriptors.
pub const accept_pause: Class = tries_max + 2;
/// The end of a drain.
pub const drain: Class = tries_max + 3;
pub const class_count = tries_max + 4;

pub const Timer = struct {
    node: std.DoublyLinkedList.Node = .{},
    deadline_ms: u64 = 0,
    class: ?Class = null,
};

pub const Timers = struct {
    queues: [class_count]std.DoublyLinkedList = @splat(.{}),
    durations_ms: [class_count]u64,

    /// Starts a timer, or starts it again.
    pub fn arm(self: *Timers, timer: *Timer, class: Class, now_ms: u64) void {
        self.disarm(timer);
        timer.class = class;
        timer.deadline_ms = now_ms +| self.durations_ms[class];
        self.queues[class].append(&timer.node);
    }

    pub fn disarm(self: *Timers, timer: *Timer) void {
        const class = timer.class orelse return;
        self.queues[class].remove(&timer.node);
        timer.class = null;
    }

    /// Takes out a timer whose time has come, with the class that it had.
    pub fn takeExpired(self: *Timers, now_ms: u64) ?struct { *Timer, Class } {
        for (&self.queues, 0..) |*queue, class| {
            const node = queue.first orelse continue;
            const timer: *Timer = @fieldParentPtr("node", node);
            if (timer.deadline_ms > now_ms) continue;
            self.disarm(timer);
            return .{ timer, @intCast(class) };
        }
        return null;
    }

    /// How long a wait may last, in milliseconds; -1 is for ever.
    pub fn waitMs(self: *Timers, now_ms: u64) i32 {
        var next_ms: u64 = std.math.maxInt(u64);
        for (&self.queues) |*queue| {
            const node = queue.first orelse continue;
            const timer: *Timer = @fieldParentPtr("node", node);
            next_ms = @min(next_ms, timer.deadline_ms);
        }
        if (next_ms == std.math.maxInt(u64)) return -1;
        return @intCast(@min(next_ms -| now_ms, std.math.maxInt(i32)));
    }
};

test "timers end in order, whatever their class" {
    var durations: [class_count]u64 = @splat(1000);
    durations[0] = 5;
    durations[1] = 10;
    var timers: Timers = .{ .durations_ms = durations };
    var first: Timer = .{};
    var second: Timer = .{};
    var third: Timer = .{};
    try std.testing.expectEqual(-1, timers.waitMs(0));
    timers.arm(&first, 1, 0);
    timers.arm(&second, 0, 1);
    timers.arm(&third, 0, 2);
    try std.testing.expectEqual(6, timers.waitMs(0));
    try std.testing.expectEqual(null, timers.takeExpired(5));
    try std.testing.expectEqual(&second, timers.takeExpired(6).?[0]);
    timers.disarm(&third);
    try std.testing.expectEqual(null, timers.takeExpired(9));
    try std.testing.expectEqual(1, timers.takeExpired(12).?[1]);
    try std.testing.expectEqual(-1, timers.waitMs(12));
}
