//! Exact decimals: a whole number (mantissa) and the number of its fraction digits (scale).

const std = @import("std");
const testing = std.testing;

pub const max_digits = 18;
const mean_extra_digits = 6;

pub const Decimal = struct {
    mantissa: i64,
    scale: u8,

    /// The scale that stands for no number at all.
    pub const no_scale = 0xff;

    /// Compares values: 1.5 equals 1.50.
    pub fn order(a: Decimal, b: Decimal) std.math.Order {
        if (a.scale == b.scale) return std.math.order(a.mantissa, b.mantissa);
        const scale = @max(a.scale, b.scale);
        return std.math.order(a.units(scale), b.units(scale));
    }

    /// The value in units of 10^-scale; `scale` is not below the decimal's own. 10^18 * 10^18 fits 128 bits.
    pub fn units(self: Decimal, scale: u8) i128 {
        return @as(i128, self.mantissa) * powers_of_ten[scale - self.scale];
    }
};

pub const powers_of_ten = blk: {
    var powers: [max_digits + 1]i64 = undefined;
    powers[0] = 1;
    for (1..powers.len) |i| powers[i] = powers[i - 1] * 10;
    break :blk powers;
};

pub const ParseError = error{ NotANumber, OutOfRange };

/// How many bytes `parsePadded` may read behind the text.
pub const padding_bytes = 8;

/// Parses a number; `padding_bytes` after the text must be readable. Up to eight digits and a point are handled as
/// one 64-bit word. The result is stored by parts and read by parts: a struct that is returned beside an error would be
/// copied as a whole, and the processor stalls on a wide load of what narrow stores have just written.
pub inline fn parsePadded(text: []const u8, into: *Decimal) ParseError!void {
    const negative = text.len != 0 and text[0] == '-';
    const digits = if (negative) text[1..] else text;
    if (digits.len == 0 or digits.len > 8) return parseInto(text, into);
    const length: u6 = @intCast(digits.len);

    // The last digit goes to the highest byte, zeros fill up below the first.
    var word = std.mem.readInt(u64, digits.ptr[0..8], .little) << @intCast((8 - @as(u7, length)) * 8);
    word |= leading_zeros[length];
    var scale: u8 = 0;
    const no_point = word ^ splat('.');
    const point = (no_point -% splat(0x01)) & ~no_point & splat(0x80);
    if (point != 0) {
        if (length == 1) return error.NotANumber;
        // Close the gap: the digits before the point move over it.
        const bit: u6 = @intCast(@ctz(point) - 7);
        const before = word & ((@as(u64, 1) << bit) - 1);
        const behind = word & (~@as(u64, 0xff) << bit) & ~((@as(u64, 1) << bit) - 1);
        word = behind | (before << 8) | '0';
        scale = 7 - @as(u8, bit >> 3);
    }
    const values = word ^ splat('0');
    if (((values +% splat(0x76)) | values) & splat(0x80) != 0) return parseInto(text, into);
    const mantissa: i64 = @intCast(eightDigits(values));
    into.mantissa = if (negative) -mantissa else mantissa;
    into.scale = scale;
}

noinline fn parseInto(text: []const u8, into: *Decimal) ParseError!void {
    into.* = try parse(text);
}

const leading_zeros = blk: {
    var words: [9]u64 = undefined;
    for (0..8) |length| words[length] = splat('0') >> (length * 8);
    words[8] = 0;
    break :blk words;
};

inline fn splat(byte: u8) u64 {
    return @as(u64, 0x0101010101010101) * byte;
}

/// Joins eight digits, the first in the lowest byte, by pairs, fours and eights.
inline fn eightDigits(values: u64) u64 {
    const pairs = (values *% 10 +% (values >> 8)) & 0x00ff00ff00ff00ff;
    const fours = (pairs *% 100 +% (pairs >> 16)) & 0x0000ffff0000ffff;
    return (fours *% 10_000 +% (fours >> 32)) & 0xffffffff;
}

/// Parses a number of any shape: [+-]? (digits [. digits*] | . digits) ([eE] [+-]? digits)?
pub noinline fn parse(text: []const u8) ParseError!Decimal {
    var rest = text;
    const negative = rest.len != 0 and rest[0] == '-';
    if (rest.len != 0 and (rest[0] == '-' or rest[0] == '+')) rest = rest[1..];

    var mantissa: Mantissa = .{};
    const whole_digits = mantissa.take(&rest);
    var fraction_digits: usize = 0;
    if (rest.len != 0 and rest[0] == '.') {
        rest = rest[1..];
        fraction_digits = mantissa.take(&rest);
    }
    if (whole_digits + fraction_digits == 0) return error.NotANumber;
    const exponent = try takeExponent(&rest);
    if (rest.len != 0) return error.NotANumber;
    if (mantissa.digits > max_digits) return error.OutOfRange;

    var scale = @as(i64, @intCast(fraction_digits)) - exponent;
    if (scale < 0) {
        if (mantissa.value != 0) {
            if (mantissa.digits - scale > max_digits) return error.OutOfRange;
            mantissa.value *= @intCast(powers_of_ten[@intCast(-scale)]);
        }
        scale = 0;
    }
    if (scale > max_digits) return error.OutOfRange;
    const value: i64 = @intCast(mantissa.value);
    return .{ .mantissa = if (negative) -value else value, .scale = @intCast(scale) };
}

const Mantissa = struct {
    value: u64 = 0,
    /// Significant digits: those behind leading zeros.
    digits: i64 = 0,

    /// Takes the digits at the start of `rest` and says how many there are.
    fn take(self: *Mantissa, rest: *[]const u8) usize {
        var count: usize = 0;
        for (rest.*) |byte| {
            if (byte < '0' or byte > '9') break;
            count += 1;
            if (self.digits == 0 and byte == '0') continue;
            self.digits += 1;
            if (self.digits <= max_digits) self.value = self.value * 10 + (byte - '0');
        }
        rest.* = rest.*[count..];
        return count;
    }
};

/// Takes an exponent, if there is one. Beyond a million the number is out of range anyhow (or zero).
fn takeExponent(rest: *[]const u8) ParseError!i64 {
    var text = rest.*;
    if (text.len == 0 or (text[0] != 'e' and text[0] != 'E')) return 0;
    text = text[1..];
    const negative = text.len != 0 and text[0] == '-';
    if (text.len != 0 and (text[0] == '-' or text[0] == '+')) text = text[1..];
    var value: i64 = 0;
    var count: usize = 0;
    for (text) |byte| {
        if (byte < '0' or byte > '9') break;
        count += 1;
        value = @min(value * 10 + (byte - '0'), exponent_limit);
    }
    if (count == 0) return error.NotANumber;
    rest.* = text[count..];
    return if (negative) -value else value;
}

/// Above the number of fraction digits that any record can have.
const exponent_limit: i64 = 1 << 40;

pub const text_bytes_max = 64;

/// Writes units * 10^-scale in full.
pub fn format(buffer: *[text_bytes_max]u8, units: i128, scale: u8) []const u8 {
    const start = formatMagnitude(buffer, @abs(units), scale, buffer.len);
    return withSign(buffer, start, units < 0);
}

/// Writes sum / count with six more digits than the sum, rounded half to even.
pub fn formatMean(buffer: *[text_bytes_max]u8, sum: i128, count: u64, scale: u8) []const u8 {
    const million = 1_000_000;
    const magnitude = @abs(sum);
    var quotient = magnitude / count;
    // The remainder is below 2^64, so the product fits.
    const rest = (magnitude % count) * million;
    var fraction: u64 = @intCast(rest / count);
    const half = (rest % count) * 2;
    if (half > count or (half == count and fraction % 2 == 1)) fraction += 1;
    if (fraction == million) {
        quotient += 1;
        fraction = 0;
    }
    var end: usize = buffer.len;
    const all_zero = quotient == 0 and fraction == 0;
    for (0..mean_extra_digits) |_| {
        end -= 1;
        buffer[end] = '0' + @as(u8, @intCast(fraction % 10));
        fraction /= 10;
    }
    if (scale == 0) {
        end -= 1;
        buffer[end] = '.';
    }
    const start = formatMagnitude(buffer, quotient, scale, end);
    return withSign(buffer, start, sum < 0 and !all_zero);
}

/// Writes digits with a point backwards from `end` and returns where they start.
fn formatMagnitude(buffer: *[text_bytes_max]u8, magnitude: u128, scale: u8, end: usize) usize {
    var position = end;
    var wide = magnitude;
    var written: usize = 0;
    while (wide > std.math.maxInt(u64)) : (written += 1) {
        position = putDigit(buffer, position, @intCast(wide % 10), written, scale);
        wide /= 10;
    }
    var narrow: u64 = @intCast(wide);
    while (narrow != 0 or written <= scale) : (written += 1) {
        position = putDigit(buffer, position, @intCast(narrow % 10), written, scale);
        narrow /= 10;
    }
    return position;
}

fn putDigit(buffer: *[text_bytes_max]u8, position: usize, digit: u8, written: usize, scale: u8) usize {
    var place = position;
    if (written == scale and scale != 0) {
        place -= 1;
        buffer[place] = '.';
    }
    place -= 1;
    buffer[place] = '0' + digit;
    return place;
}

fn withSign(buffer: *[text_bytes_max]u8, start: usize, negative: bool) []const u8 {
    if (!negative) return buffer[start..];
    buffer[start - 1] = '-';
    return buffer[start - 1 ..];
}

fn parseBoth(text: []const u8) !Decimal {
    var padded: [200]u8 = @splat('7');
    @memcpy(padded[0..text.len], text);
    const slow = parse(text);
    var number: Decimal = undefined;
    const fast: ParseError!Decimal = if (parsePadded(padded[0..text.len], &number)) number else |err| err;
    try testing.expectEqualDeep(slow, fast); // errors too
    return slow;
}

test "numbers keep value and scale" {
    const cases = [_]struct { []const u8, i64, u8 }{
        .{ "0", 0, 0 },                                   .{ "-0", 0, 0 },                .{ "1.50", 150, 2 },         .{ ".5", 5, 1 },
        .{ "-.5", -5, 1 },                                .{ "1.", 1, 0 },                .{ "+7", 7, 0 },             .{ "007.10", 710, 2 },
        .{ "12345678", 12345678, 0 },                     .{ "1234567.", 1234567, 0 },    .{ "1.234567", 1234567, 6 }, .{ "-9999.99", -999999, 2 },
        .{ "1e3", 1000, 0 },                              .{ "1.5e1", 15, 0 },            .{ "1.50e1", 150, 1 },       .{ "1e-18", 1, 18 },
        .{ "999999999999999999", 999999999999999999, 0 }, .{ "0e99", 0, 0 },              .{ "0e999999999999", 0, 0 }, .{ "00000000000000000000001", 1, 0 },
        .{ "123456789.5", 1234567895, 1 },                .{ "-12345678", -12345678, 0 }, .{ ".1234567", 1234567, 7 },
    };
    for (cases) |case| {
        try testing.expectEqualDeep(Decimal{ .mantissa = case[1], .scale = case[2] }, try parseBoth(case[0]));
    }
}

test "what is not a number" {
    for ([_][]const u8{ "", "-", "+", ".", "-.", "1e", "e1", ".e1", "1.2.3", "1 ", " 1", "abc", "1:", "1/", "0x1", "--1", "1e+", "\xff" }) |text| {
        try testing.expectError(error.NotANumber, parseBoth(text));
    }
    for ([_][]const u8{ "1e18", "1000000000000000000", "0.0000000000000000000", "1e-19", "1e99999999999999999999", "1e-9999999999999999999" }) |text| {
        try testing.expectError(error.OutOfRange, parseBoth(text));
    }
}

test "decimals are written in full" {
    var buffer: [text_bytes_max]u8 = undefined;
    try testing.expectEqualStrings("0", format(&buffer, 0, 0));
    try testing.expectEqualStrings("0.00", format(&buffer, 0, 2));
    try testing.expectEqualStrings("-0.05", format(&buffer, -5, 2));
    try testing.expectEqualStrings("-170141183460469231731.687303715884105728", format(&buffer, std.math.minInt(i128), 18));
    try testing.expectEqualStrings("170141183460469231731687303715884105727", format(&buffer, std.math.maxInt(i128), 0));
}

test "means are rounded half to even" {
    var buffer: [text_bytes_max]u8 = undefined;
    try testing.expectEqualStrings("0.007812", formatMean(&buffer, 1, 128, 0));
    try testing.expectEqualStrings("-0.023438", formatMean(&buffer, -3, 128, 0));
    try testing.expectEqualStrings("0.33333333", formatMean(&buffer, 100, 3, 2));
    try testing.expectEqualStrings("0.000000", formatMean(&buffer, -1, 3_000_000, 0));
    try testing.expectEqualStrings("1.000000", formatMean(&buffer, 2_999_999, 3_000_000, 0));
    try testing.expectEqualStrings("-170141183460469231731.687303715884105728000000", formatMean(&buffer, std.math.minInt(i128), 1, 18));
}
