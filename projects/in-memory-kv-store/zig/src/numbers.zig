//! Integers and floats, read and printed as redis does.
//!
//! Redis prints floats through the C library: scores as `%.17g`, the sums of INCRBYFLOAT (80-bit floats on x86-64) as
//! `%.17Lf` without trailing zeros. Both are exact decimal expansions rounded half to even, which shortest-digits
//! printing is not, so they are computed here: in 128-bit integers where that is enough, else with long arithmetic.

const std = @import("std");

pub const int_chars_max = 20;
pub const double_chars_max = 32;
/// The largest 80-bit float has 4933 digits before the point.
pub const extended_chars_max = 5 << 10;

// --- Integers -------------------------------------------------------------------------------

/// Reads an integer as redis does: no sign but a minus, no leading zero, no space.
pub fn parseInt(text: []const u8) ?i64 {
    if (text.len == 1 and text[0] -% '0' < 10) return text[0] - '0';
    if (text.len == 0) return null;
    const negative = text[0] == '-';
    const digits = if (negative) text[1..] else text;
    if (digits.len == 0 or digits.len > 19 or digits[0] -% '1' > 8) return null;
    var value: u64 = 0;
    for (digits) |byte| {
        const digit = byte -% '0';
        if (digit > 9) return null;
        value = value * 10 + digit;
    }
    const most: u64 = 1 << 63;
    if (negative) return if (value <= most) @bitCast(0 -% value) else null;
    return if (value < most) @bitCast(value) else null;
}

const digit_pairs: [200]u8 = blk: {
    var pairs: [200]u8 = undefined;
    for (0..100) |i| {
        pairs[2 * i] = '0' + i / 10;
        pairs[2 * i + 1] = '0' + i % 10;
    }
    break :blk pairs;
};

pub fn printUnsigned(buffer: *[int_chars_max]u8, value: u64) []u8 {
    var at: usize = buffer.len;
    var rest = value;
    while (rest >= 100) : (rest /= 100) {
        at -= 2;
        buffer[at..][0..2].* = digit_pairs[2 * (rest % 100) ..][0..2].*;
    }
    if (rest >= 10) {
        at -= 2;
        buffer[at..][0..2].* = digit_pairs[2 * rest ..][0..2].*;
    } else {
        at -= 1;
        buffer[at] = '0' + @as(u8, @intCast(rest));
    }
    return buffer[at..];
}

pub fn printInt(buffer: *[int_chars_max]u8, value: i64) []u8 {
    const text = printUnsigned(buffer, @abs(value));
    if (value >= 0) return text;
    const at = buffer.len - text.len - 1;
    buffer[at] = '-';
    return buffer[at..];
}

// --- Reading floats -------------------------------------------------------------------------

/// Reads a finite or infinite number that takes the whole text, as the C library reads it.
pub fn parseDouble(text: []const u8) ?f64 {
    if (text.len <= 15) if (parseInt(text)) |int| return @floatFromInt(int);
    const value = parseAny(f64, text) orelse return null;
    return if (isOutOfRange(f64, value, text)) null else value;
}

/// Reads the bound of a range of scores: a NUL ends it, an empty text is 0, blanks may lead, and what is too large is
/// infinite.
pub fn parseBound(text: []const u8) ?f64 {
    const end = std.mem.findScalar(u8, text, 0) orelse text.len;
    if (end == 0) return 0;
    return parseAny(f64, std.mem.trimStart(u8, text[0..end], " \t\n\x0b\x0c\r"));
}

pub fn parseExtended(text: []const u8) ?f80 {
    if (text.len >= extended_chars_max) return null;
    const value = parseShort(text) orelse parseLong(text) orelse parseAny(f80, text) orelse return null;
    return if (isOutOfRange(f80, value, text)) null else value;
}

fn parseAny(comptime Float: type, text: []const u8) ?Float {
    if (std.mem.findScalar(u8, text, '_') != null) return null;
    const value = std.fmt.parseFloat(Float, text) catch return null;
    return if (std.math.isNan(value)) null else value;
}

/// The C library reports a range error for what overflows, and for what underflows to zero.
fn isOutOfRange(comptime Float: type, value: Float, text: []const u8) bool {
    if (std.math.isInf(value)) return std.mem.findAny(u8, text, "iI") == null;
    if (value != 0) return false;
    const digits = if (std.mem.findAny(u8, text, "eEpP")) |end| text[0..end] else text;
    return std.mem.findAny(u8, digits, "123456789") != null;
}

const short_digits_max = 19;

/// Up to 19 digits, with or without a point: one division of two exact numbers, so it is rounded once.
fn parseShort(text: []const u8) ?f80 {
    const negative = text.len != 0 and text[0] == '-';
    const digits = if (negative) text[1..] else text;
    if (digits.len == 0 or digits.len > short_digits_max) return null;
    var mantissa: u64 = 0;
    var point: ?usize = null;
    for (digits, 0..) |byte, i| switch (byte) {
        '0'...'9' => mantissa = mantissa * 10 + (byte - '0'),
        '.' => if (point == null) {
            point = i;
        } else return null,
        else => return null,
    };
    const decimals = if (point) |at| digits.len - at - 1 else 0;
    if (point != null and digits.len == 1) return null;
    const divisor: f80 = @floatFromInt(powers_of_ten[decimals]);
    const value = @as(f80, @floatFromInt(mantissa)) / divisor;
    return if (negative) -value else value;
}

const long_digits_max = 38;

/// Up to 38 digits, which the standard library rounds twice for 80-bit floats: a division in whole numbers, far more
/// digits than are kept, so that what is cut off says how to round.
fn parseLong(text: []const u8) ?f80 {
    const negative = text.len != 0 and text[0] == '-';
    const digits = if (negative) text[1..] else text;
    if (digits.len > long_digits_max + 1) return null;
    var mantissa: u128 = 0;
    var decimals: ?usize = null;
    for (digits) |byte| switch (byte) {
        '0'...'9' => {
            mantissa = mantissa *| 10 +| (byte - '0');
            if (decimals) |*count| count.* += 1;
        },
        '.' => decimals = if (decimals == null) 0 else return null,
        else => return null,
    };
    if (mantissa == 0 or mantissa >= std.math.pow(u128, 10, long_digits_max)) return null;
    const Wide = u320;
    const scale = 192; // the quotient has 65 bits at least
    const dividend = @as(Wide, mantissa) << scale;
    const divisor: Wide = std.math.pow(u128, 10, decimals orelse 0);
    const quotient = dividend / divisor;
    const is_exact = quotient * divisor == dividend;
    const cut_bits: u9 = @intCast(@bitSizeOf(Wide) - @clz(quotient) - 64);
    const kept: u64 = @truncate(quotient >> cut_bits);
    const rest = quotient & ((@as(Wide, 1) << cut_bits) - 1);
    const half = @as(Wide, 1) << (cut_bits - 1);
    const up = rest > half or (rest == half and (!is_exact or kept & 1 == 1));
    const rounded: f80 = @floatFromInt(@as(u65, kept) + @intFromBool(up));
    const value = std.math.ldexp(rounded, @as(i32, cut_bits) - scale);
    return if (negative) -value else value;
}

const powers_of_ten: [23]u128 = blk: {
    var powers: [23]u128 = undefined;
    for (&powers, 0..) |*power, i| power.* = std.math.pow(u128, 10, i);
    break :blk powers;
};

// --- Printing floats ------------------------------------------------------------------------

/// Prints as `%.17g` does; infinities as redis does.
pub fn printDouble(buffer: *[double_chars_max]u8, value: f64) []const u8 {
    if (std.math.isInf(value)) return if (value > 0) "inf" else "-inf";
    if (@abs(value) < 1e17 and value == @trunc(value) and (value != 0 or !std.math.signbit(value))) {
        const int: i64 = @intFromFloat(value);
        return printInt(buffer[0..int_chars_max], int);
    }
    if (value == 0) return "-0";
    const bits: u64 = @bitCast(@abs(value));
    const fraction = bits & ((1 << 52) - 1);
    const stored_exponent: i32 = @intCast(bits >> 52);
    const mantissa = if (stored_exponent == 0) fraction else fraction | 1 << 52;
    const exponent = @as(i32, @max(stored_exponent, 1)) - 1075;
    var digits: [17]u8 = undefined;
    const power = shortExpansion(mantissa, exponent, @abs(value), &digits) orelse longExpansion(mantissa, exponent, &digits);
    return layOut(buffer, std.math.signbit(value), &digits, power);
}

/// Seventeen digits of numbers that fit 128 bits; returns the decimal exponent of the first digit.
fn shortExpansion(mantissa: u64, exponent: i32, value: f64, digits: *[17]u8) ?i32 {
    if (exponent >= 0 or exponent < -120) return null;
    var power: i32 = @intFromFloat(@floor(@log10(value)));
    // The logarithm may be off by one next to a power of ten.
    for (0..3) |_| {
        const scale = 16 - power;
        if (scale < 0 or scale >= powers_of_ten.len) return null;
        const scaled = @as(u128, mantissa) * powers_of_ten[@intCast(scale)];
        const shift: u7 = @intCast(-exponent);
        const rounded = shiftRounded(scaled, shift);
        if (rounded >= powers_of_ten[17]) {
            power += 1;
        } else if (scaled >> shift < powers_of_ten[16]) {
            power -= 1;
        } else {
            var text: [int_chars_max]u8 = undefined;
            digits.* = printUnsigned(&text, @intCast(rounded))[0..17].*;
            return power;
        }
    }
    return null;
}

/// Divides by a power of two, rounding half to even.
fn shiftRounded(value: u128, shift: u7) u128 {
    const whole = value >> shift;
    const rest = value - (whole << shift);
    const half = @as(u128, 1) << (shift - 1);
    return if (rest > half or (rest == half and whole & 1 == 1)) whole + 1 else whole;
}

fn longExpansion(mantissa: u64, exponent: i32, digits: *[17]u8) i32 {
    var expansion: Expansion = undefined;
    expansion.init(mantissa, exponent);
    expansion.round(17);
    const known = expansion.digits[0..@min(17, expansion.length)];
    digits.* = @splat('0');
    @memcpy(digits[0..known.len], known);
    return expansion.point - 1;
}

/// Writes 17 digits as `%g` does: plain from 1e-4 to below 1e17, else with an exponent; without trailing zeros.
fn layOut(buffer: *[double_chars_max]u8, negative: bool, digits: *const [17]u8, power: i32) []const u8 {
    const significant = std.mem.trimEnd(u8, digits, "0");
    var writer: std.Io.Writer = .fixed(buffer);
    layOutTo(&writer, negative, significant, power) catch unreachable; // 17 digits, four zeros, sign, point, exponent
    return writer.buffered();
}

fn layOutTo(writer: *std.Io.Writer, negative: bool, significant: []const u8, power: i32) std.Io.Writer.Error!void {
    if (negative) try writer.writeByte('-');
    if (power < -4 or power >= 17) {
        try writer.writeByte(significant[0]);
        if (significant.len > 1) try writer.print(".{s}", .{significant[1..]});
        return writer.print("e{c}{d:0>2}", .{ @as(u8, if (power < 0) '-' else '+'), @abs(power) });
    }
    if (power < 0) {
        try writer.writeAll("0.");
        try writer.splatByteAll('0', @intCast(-power - 1));
        return writer.writeAll(significant);
    }
    const whole: usize = @intCast(power + 1);
    if (significant.len <= whole) {
        try writer.writeAll(significant);
        return writer.splatByteAll('0', whole - significant.len);
    }
    return writer.print("{s}.{s}", .{ significant[0..whole], significant[whole..] });
}

/// Prints as `%.17Lf` does, without trailing zeros. The value is finite.
pub fn printExtended(buffer: *[extended_chars_max]u8, value: f80) []const u8 {
    const bits: u80 = @bitCast(value);
    const mantissa: u64 = @truncate(bits);
    const exponent = @as(i32, @intCast(@as(u15, @truncate(bits >> 64)))) - 16383 - 63;
    const negative = bits >> 79 != 0;
    var writer: std.Io.Writer = .fixed(buffer);
    if (mantissa == 0) return "0";
    if (exponent >= 0) {
        var expansion: Expansion = undefined;
        expansion.init(mantissa, exponent);
        if (negative) writer.writeByte('-') catch unreachable;
        writer.writeAll(expansion.digits[0..expansion.length]) catch unreachable;
        return writer.buffered();
    }
    // The mantissa times 10^17 has at most 121 bits; shifted by more than that it is below a half.
    const scaled = if (exponent < -122) 0 else shiftRounded(@as(u128, mantissa) * powers_of_ten[17], @intCast(-exponent));
    if (scaled == 0) return "0";
    if (negative) writer.writeByte('-') catch unreachable;
    writer.print("{d}", .{scaled / powers_of_ten[17]}) catch unreachable;
    const decimals: u64 = @intCast(scaled % powers_of_ten[17]);
    if (decimals != 0) writer.print(".{d:0>17}", .{decimals}) catch unreachable;
    return if (decimals != 0) std.mem.trimEnd(u8, writer.buffered(), "0") else writer.buffered();
}

/// All decimal digits of mantissa * 2^exponent.
const Expansion = struct {
    /// The value is 0.DIGITS * 10^point.
    digits: [limbs_max * limb_digits]u8,
    length: usize,
    point: i32,

    const limb_digits = 9;
    const limb_base = 1_000_000_000;
    /// Enough for the largest 80-bit float and for the smallest 64-bit one.
    const limbs_max = 560;

    fn init(self: *Expansion, mantissa: u64, exponent: i32) void {
        var limbs: [limbs_max]u32 = undefined;
        var count: usize = 0;
        var rest = mantissa;
        while (rest != 0) : (rest /= limb_base) {
            limbs[count] = @intCast(rest % limb_base);
            count += 1;
        }
        // A division by 2^n is a multiplication by 5^n and a point moved by n.
        const factor: u32, const factor_max: u32 = if (exponent >= 0) .{ 2, 29 } else .{ 5, 13 };
        var left: u32 = @abs(exponent);
        while (left != 0) {
            const step = @min(left, factor_max);
            count = multiply(&limbs, count, std.math.pow(u64, factor, step));
            left -= step;
        }
        self.print(limbs[0..count]);
        self.point = @as(i32, @intCast(self.length)) + @min(exponent, 0);
    }

    fn multiply(limbs: *[limbs_max]u32, count: usize, factor: u64) usize {
        var carry: u64 = 0;
        for (limbs[0..count]) |*limb| {
            carry += limb.* * factor;
            limb.* = @intCast(carry % limb_base);
            carry /= limb_base;
        }
        var used = count;
        while (carry != 0) : (carry /= limb_base) {
            limbs[used] = @intCast(carry % limb_base);
            used += 1;
        }
        return used;
    }

    fn print(self: *Expansion, limbs: []const u32) void {
        var text: [int_chars_max]u8 = undefined;
        self.length = 0;
        for (0..limbs.len) |i| {
            const part = printUnsigned(&text, limbs[limbs.len - 1 - i]);
            const zeros = if (i == 0) 0 else limb_digits - part.len;
            @memset(self.digits[self.length..][0..zeros], '0');
            @memcpy(self.digits[self.length + zeros ..][0..part.len], part);
            self.length += zeros + part.len;
        }
    }

    /// Keeps so many digits, rounding half to even.
    fn round(self: *Expansion, keep: usize) void {
        if (self.length <= keep) return;
        const rest = std.mem.trimEnd(u8, self.digits[keep..self.length], "0");
        self.length = keep;
        const is_half = rest.len == 1 and rest[0] == '5';
        const up = rest.len != 0 and (if (is_half) self.digits[keep - 1] % 2 == 1 else rest[0] >= '5');
        if (!up) return;
        var at = keep;
        while (at > 0) {
            at -= 1;
            if (self.digits[at] != '9') {
                self.digits[at] += 1;
                return;
            }
            self.digits[at] = '0';
        }
        self.digits[0] = '1';
        self.point += 1;
    }
};

test parseInt {
    for ([_]struct { []const u8, ?i64 }{
        .{ "0", 0 },                                      .{ "-1", -1 },
        .{ "9223372036854775807", std.math.maxInt(i64) }, .{ "-9223372036854775808", std.math.minInt(i64) },
        .{ "9223372036854775808", null },                 .{ "-9223372036854775809", null },
        .{ "", null },                                    .{ "-", null },
        .{ "-0", null },                                  .{ "01", null },
        .{ "+1", null },                                  .{ " 1", null },
        .{ "1 ", null },                                  .{ "12345678901234567890", null },
    }) |case| try std.testing.expectEqual(case[1], parseInt(case[0]));
}

test printInt {
    var buffer: [int_chars_max]u8 = undefined;
    for ([_]i64{ 0, 7, 10, 99, 100, 12345, -1, -10, std.math.maxInt(i64), std.math.minInt(i64) }) |value| {
        const text = printInt(&buffer, value);
        try std.testing.expectEqual(value, try std.fmt.parseInt(i64, text, 10));
    }
}

test parseDouble {
    for ([_]struct { []const u8, ?f64 }{
        .{ "3", 3 },                     .{ "-1.5e3", -1500 },               .{ "+.5", 0.5 },  .{ "0x10", 16 },
        .{ "-inf", -std.math.inf(f64) }, .{ "Infinity", std.math.inf(f64) }, .{ "nan", null }, .{ "1e400", null },
        .{ "1e-400", null },             .{ "0e-400", 0 },                   .{ "1_0", null }, .{ " 1", null },
        .{ "1 ", null },                 .{ "", null },                      .{ ".", null },
    }) |case| try std.testing.expectEqual(case[1], parseDouble(case[0]));
    try std.testing.expectEqual(0, parseBound(""));
    try std.testing.expectEqual(2, parseBound(" 2"));
    try std.testing.expectEqual(std.math.inf(f64), parseBound("1e400"));
    try std.testing.expectEqual(null, parseBound("x"));
}

test printDouble {
    var buffer: [double_chars_max]u8 = undefined;
    for ([_]struct { f64, []const u8 }{
        .{ 0, "0" },                                 .{ -0.0, "-0" },
        .{ 3, "3" },                                 .{ -17, "-17" },
        .{ 0.1, "0.10000000000000001" },             .{ 1.5, "1.5" },
        .{ 1e16, "10000000000000000" },              .{ 1e17, "1e+17" },
        .{ 1e20, "1e+20" },                          .{ 1.1e20, "1.1e+20" },
        .{ 0.0001, "0.0001" },                       .{ 0.00001, "1.0000000000000001e-05" },
        .{ 1e-6, "9.9999999999999995e-07" },         .{ 1e-5, "1.0000000000000001e-05" },
        .{ 5e-324, "4.9406564584124654e-324" },      .{ 1.7976931348623157e308, "1.7976931348623157e+308" },
        .{ 3.14159265358979, "3.1415926535897900" }, .{ 123456.789, "123456.789" },
        .{ 1.0 / 3.0, "0.33333333333333331" },       .{ 99999999999999.98, "99999999999999.984" },
    }) |case| {
        const expected = if (std.mem.findScalar(u8, case[1], 'e') == null and std.mem.findScalar(u8, case[1], '.') != null)
            std.mem.trimEnd(u8, case[1], "0")
        else
            case[1];
        try std.testing.expectEqualStrings(expected, printDouble(&buffer, case[0]));
    }
}

test "both expansions agree" {
    var random: std.Random.DefaultPrng = .init(5);
    for (0..5000) |_| {
        const value = @as(f64, @floatFromInt(random.random().int(u32))) / @as(f64, @floatFromInt(random.random().intRangeAtMost(u32, 1, 1 << 20)));
        const bits: u64 = @bitCast(value);
        if (value == 0) continue;
        const mantissa = bits & ((1 << 52) - 1) | 1 << 52;
        const exponent = @as(i32, @intCast(bits >> 52)) - 1075;
        var short: [17]u8 = undefined;
        var long: [17]u8 = undefined;
        const power = shortExpansion(mantissa, exponent, value, &short) orelse continue;
        try std.testing.expectEqual(power, longExpansion(mantissa, exponent, &long));
        try std.testing.expectEqualStrings(&long, &short);
    }
}

test "80-bit floats" {
    var buffer: [extended_chars_max]u8 = undefined;
    for ([_]struct { []const u8, []const u8 }{
        .{ "3.0", "3" },                                .{ "10.50", "10.5" },                              .{ "-0.1", "-0.1" }, .{ "5.0e3", "5000" },
        .{ "1e-20", "0" },                              .{ "0", "0" },                                     .{ "-1e-30", "0" },  .{ "18446744073709551616", "18446744073709551616" },
        .{ "1e30", "1000000000000000000024696061952" }, .{ "0.00000000000000001", "0.00000000000000001" },
    }) |case| try std.testing.expectEqualStrings(case[1], printExtended(&buffer, parseExtended(case[0]).?));
    try std.testing.expectEqualStrings("0.3", printExtended(&buffer, parseExtended("0.1").? + parseExtended("0.2").?));
    try std.testing.expectEqualStrings("243.65000000000000001", printExtended(&buffer, parseExtended("241.65000000000000001").? + 2));
    // A half of the last place rounds to even.
    try std.testing.expectEqual(18446744073709551616, parseExtended("18446744073709551617").?);
    try std.testing.expectEqual(18446744073709551620, parseExtended("18446744073709551619").?);
    try std.testing.expectEqual(18446744073709551618, parseExtended("18446744073709551617.0000000000000001").?);
    for ([_][]const u8{ "", ".", "-", "1.2.3", "abc", "1 ", "nan", "1e5000" }) |text| {
        try std.testing.expectEqual(null, parseExtended(text));
    }
    try std.testing.expect(std.math.isInf(parseExtended("-inf").?));
}
