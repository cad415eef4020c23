//! The answer: a line for each of the most frequent words.

const std = @import("std");
const failure = @import("failure.zig");
const table = @import("table.zig");
const Counted = table.Counted;

/// Appends the answer.
pub fn render(gpa: std.mem.Allocator, answer: *std.ArrayList(u8), words: *const table.Table, top: usize) error{OutOfMemory}!void {
    var best: std.ArrayList(Counted) = .empty;
    defer best.deinit(gpa);
    try mostFrequent(gpa, &best, words, top);
    for (best.items) |one| try answer.print(gpa, "{s} {d}\n", .{ one.word, one.count });
}

/// Lists the best words in order. It sorts twice as many as are asked for whenever so many have come together, and
/// forgets the worse half: the table may hold millions of words, and nearly all of them are turned away by one look.
fn mostFrequent(gpa: std.mem.Allocator, best: *std.ArrayList(Counted), words: *const table.Table, top: usize) error{OutOfMemory}!void {
    // What a word must have to be looked at.
    var least: u64 = 1;
    var all = words.iterate();
    while (all.next()) |one| {
        if (one.count < least) continue;
        try best.append(gpa, one);
        if (best.items.len == 2 * top) {
            std.mem.sortUnstable(Counted, best.items, {}, before);
            best.shrinkRetainingCapacity(top);
            least = best.items[top - 1].count;
        }
    }
    std.mem.sortUnstable(Counted, best.items, {}, before);
    best.shrinkRetainingCapacity(@min(top, best.items.len));
}

/// Orders by count, the largest first, then by the bytes of the word.
fn before(_: void, a: Counted, b: Counted) bool {
    return if (a.count == b.count) std.mem.lessThan(u8, a.word, b.word) else a.count > b.count;
}

test "the best are found, whatever their number" {
    const gpa = std.testing.allocator;
    var why: failure.Failure = .{};
    var words: table.Table = try .init(gpa, .{ 5, 6 });
    defer words.deinit();
    for (0..1000) |number| {
        var buffer: [8]u8 = undefined;
        const word = try std.fmt.bufPrint(&buffer, "w{d:0>3}", .{number});
        for (0..1 + number % 10) |_| try table.addText(&words, word, &why);
    }
    var lines: std.ArrayList(u8) = .empty;
    defer lines.deinit(gpa);
    var ends: [1001]usize = @splat(0);
    for (1..1001) |place| {
        const count = 10 - (place - 1) / 100;
        const number = count - 1 + (place - 1) % 100 * 10;
        try lines.print(gpa, "w{d:0>3} {d}\n", .{ number, count });
        ends[place] = lines.items.len;
    }
    for ([_]usize{ 1, 2, 99, 100, 101, 500, 999, 1000, 1001, 1_000_000 }) |top| {
        var answer: std.ArrayList(u8) = .empty;
        defer answer.deinit(gpa);
        try render(gpa, &answer, &words, top);
        try std.testing.expectEqualStrings(lines.items[0..ends[@min(top, 1000)]], answer.items);
    }
}
