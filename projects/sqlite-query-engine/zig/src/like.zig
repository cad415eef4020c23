//! LIKE and GLOB. The common shapes of a LIKE pattern (no wildcard, `x%`, `%x`, `%x%`) are found
//! once; all others go through a matcher that never backtracks further than the last `%`.

const std = @import("std");

/// SQLite refuses longer patterns.
pub const max_pattern_bytes = 50000;

pub const Pattern = struct {
    shape: Shape,
    /// The literal bytes of a simple shape in lower case; for `general` the pattern as written.
    text: []const u8,
    escape: ?u8 = null,
    /// Both cases of the first literal byte, for the search.
    const Shape = enum { exact, prefix, suffix, contains, general, glob };

    pub fn like(arena: std.mem.Allocator, pattern: []const u8, escape: ?[]const u8) std.mem.Allocator.Error!Pattern {
        const text = untilZero(pattern);
        // A multi-byte escape character is rare: it is left to `general` with its bytes compared one by one.
        if (escape != null) return .{ .shape = .general, .text = text, .escape = if (escape.?.len == 1) escape.?[0] else null };
        const inner = std.mem.trim(u8, text, "%");
        if (std.mem.findAny(u8, inner, "%_") != null) return .{ .shape = .general, .text = text };
        const open_start = text.len > 0 and text[0] == '%';
        const open_end = text.len > 0 and text[text.len - 1] == '%';
        const shape: Shape = if (open_start and open_end) .contains else if (open_start) .suffix else if (open_end) .prefix else .exact;
        return .{ .shape = shape, .text = try std.ascii.allocLowerString(arena, inner) };
    }

    pub fn glob(pattern: []const u8) Pattern {
        return .{ .shape = .glob, .text = untilZero(pattern) };
    }

    pub fn matches(self: *const Pattern, text: []const u8) bool {
        const needle = self.text;
        switch (self.shape) {
            .prefix => return text.len >= needle.len and equalsLower(text[0..needle.len], needle),
            .contains => {
                const at = findLower(text, needle) orelse return false;
                return std.mem.findScalar(u8, text[0..at], 0) == null;
            },
            .exact => {
                const whole = untilZero(text);
                return whole.len == needle.len and equalsLower(whole, needle);
            },
            .suffix => {
                const whole = untilZero(text);
                return whole.len >= needle.len and equalsLower(whole[whole.len - needle.len ..], needle);
            },
            .general => return matchLike(needle, untilZero(text), self.escape),
            .glob => return matchGlob(needle, untilZero(text)),
        }
    }
};

/// SQLite's matcher works on C strings: a zero byte ends both sides.
fn untilZero(text: []const u8) []const u8 {
    return if (std.mem.findScalar(u8, text, 0)) |i| text[0..i] else text;
}

inline fn lower(byte: u8) u8 {
    return if (byte -% 'A' < 26) byte | 0x20 else byte;
}

fn equalsLower(text: []const u8, needle: []const u8) bool {
    for (text, needle) |byte, wanted| if (lower(byte) != wanted) return false;
    return true;
}

/// Where the lower-case needle starts, ASCII case ignored: the first and the last byte of the needle
/// are compared at 32 places at once.
fn findLower(text: []const u8, needle: []const u8) ?usize {
    if (needle.len == 0) return 0;
    if (text.len < needle.len) return null;
    const width = 32;
    const Block = @Vector(width, u8);
    const last_start = text.len - needle.len;
    const first_low: Block = @splat(needle[0]);
    const first_up: Block = @splat(std.ascii.toUpper(needle[0]));
    const tail = needle[needle.len - 1];
    const tail_low: Block = @splat(tail);
    const tail_up: Block = @splat(std.ascii.toUpper(tail));
    var at: usize = 0;
    while (at + width <= last_start + 1) : (at += width) {
        const heads: Block = text[at..][0..width].*;
        const tails: Block = text[at + needle.len - 1 ..][0..width].*;
        const head_hits: u32 = @bitCast(heads == first_low);
        const head_hits_up: u32 = @bitCast(heads == first_up);
        const tail_hits: u32 = @bitCast(tails == tail_low);
        const tail_hits_up: u32 = @bitCast(tails == tail_up);
        var hits = (head_hits | head_hits_up) & (tail_hits | tail_hits_up);
        while (hits != 0) : (hits &= hits - 1) {
            const start = at + @ctz(hits);
            if (equalsLower(text[start..][0..needle.len], needle)) return start;
        }
    }
    while (at <= last_start) : (at += 1) {
        if (lower(text[at]) == needle[0] and equalsLower(text[at..][0..needle.len], needle)) return at;
    }
    return null;
}

/// The start of the next character.
fn step(text: []const u8, at: usize) usize {
    var next = at + 1;
    if (text[at] >= 0xc0) {
        while (next < text.len and text[next] & 0xc0 == 0x80) next += 1;
    }
    return next;
}

fn matchLike(pattern: []const u8, text: []const u8, escape: ?u8) bool {
    var p: usize = 0;
    var t: usize = 0;
    // Where to go on when a match fails: after the last % and one character later in the text.
    var retry_p: ?usize = null;
    var retry_t: usize = 0;
    while (true) {
        if (p < pattern.len and escape == pattern[p]) {
            // An escape at the very end matches nothing.
            if (p + 1 == pattern.len) return false;
            if (t < text.len and lower(pattern[p + 1]) == lower(text[t])) {
                p += 2;
                t += 1;
                continue;
            }
        } else if (p < pattern.len and pattern[p] == '%') {
            p += 1;
            retry_p = p;
            retry_t = t;
            continue;
        } else if (t < text.len and p < pattern.len) {
            if (pattern[p] == '_') {
                p += 1;
                t = step(text, t);
                continue;
            }
            if (lower(pattern[p]) == lower(text[t])) {
                p += 1;
                t += 1;
                continue;
            }
        } else if (t == text.len and p == pattern.len) return true;
        if (retry_p == null or retry_t >= text.len) return false;
        retry_t = step(text, retry_t);
        p = retry_p.?;
        t = retry_t;
    }
}

fn matchGlob(pattern: []const u8, text: []const u8) bool {
    var p: usize = 0;
    var t: usize = 0;
    var retry_p: ?usize = null;
    var retry_t: usize = 0;
    while (true) {
        if (p < pattern.len and pattern[p] == '*') {
            p += 1;
            retry_p = p;
            retry_t = t;
            continue;
        }
        if (t < text.len and p < pattern.len) {
            if (pattern[p] == '?') {
                p += 1;
                t = step(text, t);
                continue;
            }
            if (pattern[p] == '[') {
                const end = step(text, t);
                if (matchSet(pattern, p, codePoint(text[t..end]))) |next| {
                    p = next;
                    t = end;
                    continue;
                }
            } else if (pattern[p] == text[t]) {
                p += 1;
                t += 1;
                continue;
            }
        } else if (t == text.len and p == pattern.len) return true;
        if (retry_p == null or retry_t >= text.len) return false;
        retry_t = step(text, retry_t);
        p = retry_p.?;
        t = retry_t;
    }
}

fn codePoint(bytes: []const u8) u32 {
    if (bytes[0] < 0x80 or bytes.len == 1) return bytes[0];
    var result: u32 = bytes[0] & (@as(u8, 0x7f) >> @intCast(@min(bytes.len, 6)));
    for (bytes[1..]) |byte| result = result << 6 | (byte & 0x3f);
    return result;
}

/// [abc], [a-z], [^...]: the pattern position after the set, or null when the character is not in it.
fn matchSet(pattern: []const u8, open: usize, wanted: u32) ?usize {
    var p = open + 1;
    const inverted = p < pattern.len and pattern[p] == '^';
    if (inverted) p += 1;
    var seen = false;
    var first = true;
    var previous: ?u32 = null;
    while (p < pattern.len) {
        if (pattern[p] == ']' and !first) return if (seen != inverted) p + 1 else null;
        first = false;
        if (pattern[p] == '-' and previous != null and p + 1 < pattern.len and pattern[p + 1] != ']') {
            const end = step(pattern, p + 1);
            const high = codePoint(pattern[p + 1 .. end]);
            if (wanted >= previous.? and wanted <= high) seen = true;
            previous = null;
            p = end;
            continue;
        }
        const end = step(pattern, p);
        previous = codePoint(pattern[p..end]);
        if (previous.? == wanted) seen = true;
        p = end;
    }
    return null;
}

test "LIKE" {
    const cases = [_]struct { []const u8, []const u8, ?[]const u8, bool }{
        .{ "abc", "ABC", null, true },                                                             .{ "a%", "Apple", null, true },
        .{ "%le", "apple", null, true },                                                           .{ "%PP%", "apple", null, true },
        .{ "%pq%", "apple", null, false },                                                         .{ "a_c", "abc", null, true },
        .{ "a_c", "aéc", null, true },
        .{ "a_c", "ac", null, false },                                                             .{ "%a%b%", "xxaxxbxx", null, true },
        .{ "%a%b", "xxaxxbxx", null, false },                                                      .{ "", "", null, true },
        .{ "%", "", null, true },                                                                  .{ "", "a", null, false },
        .{ "10\\%", "10%", "\\", true },                                                           .{ "10\\%", "10x", "\\", false },
        .{ "a\\", "a\\", "\\", false },                                                            .{ "_%_", "a", null, false },
        .{ "_%_", "ab", null, true },
        .{ "é%", "Écoute", null, false },
        .{ "%b%", "a\x00b", null, false },                                                         .{ "a%", "a\x00b", null, true },
        .{ "%%x%%", "aXb", null, true },                                                           .{ "%needle in the middle%", "some long text with a Needle In The Middle of it, and more", null, true },
        .{ "%end", "some long text that is longer than thirty-two bytes at the END", null, true },
    };
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    for (cases) |case| {
        const pattern: Pattern = try .like(arena.allocator(), case[0], case[2]);
        try std.testing.expectEqual(case[3], pattern.matches(case[1]));
    }
    // Many wildcards stay quick: the time grows with the product of the lengths, not exponentially.
    const text: [2000]u8 = @splat('a');
    const hard: Pattern = try .like(arena.allocator(), "%a%a%a%a%a%a%a%a%a%b", null);
    try std.testing.expect(!hard.matches(&text));
}

test "GLOB" {
    const cases = [_]struct { []const u8, []const u8, bool }{
        .{ "a*", "abc", true },     .{ "A*", "abc", false },     .{ "a?c", "abc", true },
        .{ "[a-c]x", "bx", true },  .{ "[^a-c]x", "bx", false }, .{ "[]]", "]", true },
        .{ "*[0-9]", "ab7", true }, .{ "[a", "a", false },       .{ "[a-]", "-", true },
    };
    for (cases) |case| try std.testing.expectEqual(case[2], Pattern.glob(case[0]).matches(case[1]));
}
