//! Patterns of KEYS, SCAN and CONFIG GET, matched as redis matches them: `*`, `?`, `[a-z]`, `[^a]` and `\` before any.

const std = @import("std");

pub const Case = enum { sensitive, insensitive };

pub fn matches(pattern: []const u8, text: []const u8, case: Case) bool {
    var gave_up = false;
    return matchHere(pattern, text, case, &gave_up);
}

/// True for patterns that match everything, so that nothing need be compared.
pub fn matchesAll(pattern: []const u8) bool {
    return std.mem.eql(u8, pattern, "*");
}

/// `gave_up` is set when a star has tried all places: then no star before it can do better, and the whole is over.
fn matchHere(whole_pattern: []const u8, whole_text: []const u8, case: Case, gave_up: *bool) bool {
    var pattern = whole_pattern;
    var text = whole_text;
    while (pattern.len != 0 and text.len != 0) {
        switch (pattern[0]) {
            '*' => return matchStar(pattern, text, case, gave_up),
            '?' => {},
            '[' => {
                const set = matchSet(pattern, text[0], case);
                if (!set.hit) return false;
                pattern = pattern[set.last..];
            },
            else => {
                if (pattern[0] == '\\' and pattern.len >= 2) pattern = pattern[1..];
                if (fold(pattern[0], case) != fold(text[0], case)) return false;
            },
        }
        pattern = pattern[1..];
        text = text[1..];
        if (text.len == 0) pattern = std.mem.trimStart(u8, pattern, "*");
    }
    return pattern.len == 0 and text.len == 0;
}

fn matchStar(pattern: []const u8, whole_text: []const u8, case: Case, gave_up: *bool) bool {
    const rest = std.mem.trimStart(u8, pattern, "*");
    if (rest.len == 0) return true;
    var text = whole_text;
    while (text.len != 0) : (text = text[1..]) {
        if (matchHere(rest, text, case, gave_up)) return true;
        if (gave_up.*) return false;
    }
    gave_up.* = true;
    return false;
}

/// A set in brackets; `last` is where it ends: at its bracket, or at the last byte of a pattern that lacks it.
fn matchSet(pattern: []const u8, byte: u8, case: Case) struct { hit: bool, last: usize } {
    var at: usize = 1;
    const negated = at < pattern.len and pattern[at] == '^';
    if (negated) at += 1;
    var hit = false;
    while (true) : (at += 1) {
        if (at >= pattern.len) {
            at = pattern.len - 1;
            break;
        }
        const left = pattern.len - at;
        if (pattern[at] == '\\' and left >= 2) {
            at += 1;
            if (pattern[at] == byte) hit = true;
        } else if (pattern[at] == ']') {
            break;
        } else if (left >= 3 and pattern[at + 1] == '-') {
            const one = fold(pattern[at], case);
            const other = fold(pattern[at + 2], case);
            const folded = fold(byte, case);
            if (folded >= @min(one, other) and folded <= @max(one, other)) hit = true;
            at += 2;
        } else if (fold(pattern[at], case) == fold(byte, case)) {
            hit = true;
        }
    }
    return .{ .hit = hit != negated, .last = at };
}

fn fold(byte: u8, case: Case) u8 {
    return if (case == .insensitive) std.ascii.toLower(byte) else byte;
}

test matches {
    for ([_]struct { []const u8, []const u8, bool }{
        .{ "*", "abc", true },          .{ "a*c", "abbbc", true },           .{ "a*c", "abbb", false },       .{ "h?llo", "hello", true },
        .{ "h[ae]llo", "hallo", true }, .{ "h[^e]llo", "hello", false },     .{ "h[a-b]llo", "hbllo", true }, .{ "h[b-a]llo", "hallo", true },
        .{ "a\\*c", "a*c", true },      .{ "a\\*c", "abc", false },          .{ "[a", "a", true },            .{ "a**", "a", true },
        .{ "", "", true },              .{ "", "a", false },                 .{ "a", "", false },             .{ "[]]", "]", false },
        .{ "[\\]]", "]", true },        .{ "*a*b*c*", "xxaxxbxxcxx", true }, .{ "\\", "\\", true },           .{ "a[", "a[", false },
    }) |case| try std.testing.expectEqual(case[2], matches(case[0], case[1], .sensitive));
    try std.testing.expect(matches("MAX*", "maxmemory", .insensitive));
}

test "many stars take no exponential time" {
    const text: [200]u8 = @splat('a');
    try std.testing.expect(!matches("a*a*a*a*a*a*a*a*a*a*a*a*a*b", &text, .sensitive));
}
