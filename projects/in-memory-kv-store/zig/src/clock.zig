//! Time and the process's own size, from the kernel.

const std = @import("std");
const linux = std.os.linux;

pub fn wallMicroseconds() i64 {
    const now = read(.REALTIME);
    return now.sec * std.time.us_per_s + @divTrunc(now.nsec, std.time.ns_per_us);
}

pub fn wallMilliseconds() i64 {
    const now = read(.REALTIME);
    return now.sec * std.time.ms_per_s + @divTrunc(now.nsec, std.time.ns_per_ms);
}

/// A clock that nobody sets, for intervals.
pub fn steadyMilliseconds() i64 {
    const now = read(.MONOTONIC);
    return now.sec * std.time.ms_per_s + @divTrunc(now.nsec, std.time.ns_per_ms);
}

fn read(id: linux.clockid_t) linux.timespec {
    var now: linux.timespec = undefined;
    const result = linux.clock_gettime(id, &now);
    std.debug.assert(linux.errno(result) == .SUCCESS); // these two clocks are always there
    return now;
}

/// Pages of this process that are in memory, in bytes; 0 if the kernel does not say.
pub fn residentBytes() u64 {
    const opened = linux.open("/proc/self/statm", .{ .CLOEXEC = true }, 0);
    if (linux.errno(opened) != .SUCCESS) return 0;
    const fd: i32 = @intCast(opened);
    defer _ = linux.close(fd);
    var buffer: [128]u8 = undefined;
    const length = linux.read(fd, &buffer, buffer.len);
    if (linux.errno(length) != .SUCCESS) return 0;
    var words = std.mem.splitScalar(u8, buffer[0..length], ' ');
    _ = words.next();
    const pages = std.fmt.parseInt(u64, words.next() orelse return 0, 10) catch return 0;
    return pages * std.heap.pageSize();
}
