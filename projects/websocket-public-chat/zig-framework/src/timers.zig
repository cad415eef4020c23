//! Timers without a heap or a wheel: every timer of a class runs for the same time, so a timer that is armed later ends
//! later, and a plain queue for each class stays sorted by itself. Arming and disarming are a few pointer writes; the
//! kernel is told only how long the next wait may last.

const std = @import("std");

pub const Class = enum {
    /// The head of a request.
    head,
    /// A chat client that has not joined.
    join,
    /// The time after which a silent client gets a ping.
    idle,
    /// What comes after a ping.
    pong,
    /// The end of a connection, after our close frame.
    close,
    /// The pause between two announcements of a room's members.
    presence,
    /// Accepting, after the machine ran out of descriptors.
    accept_pause,
    /// The end of a drain.
    drain,
};

pub const Timer = struct {
    node: std.DoublyLinkedList.Node = .{},
    deadline_ns: u64 = 0,
    class: ?Class = null,
};

pub const Timers = struct {
    queues: std.EnumArray(Class, std.DoublyLinkedList) = .initFill(.{}),
    durations_ns: std.EnumArray(Class, u64),

    pub fn init(durations_ns: std.EnumArray(Class, u64)) Timers {
        return .{ .durations_ns = durations_ns };
    }

    /// Starts a timer, or starts it again.
    pub fn arm(self: *Timers, timer: *Timer, class: Class, now_ns: u64) void {
        self.disarm(timer);
        timer.class = class;
        timer.deadline_ns = now_ns +| self.durations_ns.get(class);
        self.queues.getPtr(class).append(&timer.node);
    }

    pub fn disarm(self: *Timers, timer: *Timer) void {
        const class = timer.class orelse return;
        self.queues.getPtr(class).remove(&timer.node);
        timer.class = null;
    }

    /// Takes out a timer whose time has come, with the class that it had.
    pub fn takeExpired(self: *Timers, now_ns: u64) ?struct { *Timer, Class } {
        for (std.enums.values(Class)) |class| {
            const node = self.queues.getPtr(class).first orelse continue;
            const timer: *Timer = @fieldParentPtr("node", node);
            if (timer.deadline_ns > now_ns) continue;
            self.disarm(timer);
            return .{ timer, class };
        }
        return null;
    }

    /// How long a wait may last, in milliseconds rounded up; -1 is for ever.
    pub fn waitMs(self: *Timers, now_ns: u64) i32 {
        var next_ns: u64 = std.math.maxInt(u64);
        for (&self.queues.values) |*queue| {
            const node = queue.first orelse continue;
            const timer: *Timer = @fieldParentPtr("node", node);
            next_ns = @min(next_ns, timer.deadline_ns);
        }
        if (next_ns == std.math.maxInt(u64)) return -1;
        const ms = std.math.divCeil(u64, next_ns -| now_ns, std.time.ns_per_ms) catch unreachable;
        return @intCast(@min(ms, std.math.maxInt(i32)));
    }
};

test "timers end in order, whatever their class" {
    var durations: std.EnumArray(Class, u64) = .initFill(1_000_000_000);
    durations.set(.pong, 5_000_000);
    durations.set(.head, 10_000_000);
    var timers: Timers = .init(durations);
    var first: Timer = .{};
    var second: Timer = .{};
    var third: Timer = .{};
    try std.testing.expectEqual(-1, timers.waitMs(0));
    timers.arm(&first, .head, 0);
    timers.arm(&second, .pong, 1);
    timers.arm(&third, .pong, 2);
    try std.testing.expectEqual(6, timers.waitMs(0));
    try std.testing.expectEqual(null, timers.takeExpired(5_000_000));
    try std.testing.expectEqual(&second, timers.takeExpired(5_000_002).?[0]);
    timers.disarm(&third);
    try std.testing.expectEqual(null, timers.takeExpired(9_000_000));
    try std.testing.expectEqual(1, timers.waitMs(9_500_000));
    timers.arm(&first, .head, 9_000_000);
    try std.testing.expectEqual(null, timers.takeExpired(10_000_000));
    try std.testing.expectEqual(Class.head, timers.takeExpired(19_000_000).?[1]);
    try std.testing.expectEqual(-1, timers.waitMs(0));
}
