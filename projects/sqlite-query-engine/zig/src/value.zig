//! SQL values: order, affinity, arithmetic and the text forms of numbers, with SQLite 3.40's rules.

const std = @import("std");
const Allocator = std.mem.Allocator;
const Order = std.math.Order;

pub const Affinity = enum { none, text, numeric, integer, real };

pub const Collation = enum {
    binary,
    nocase,
    rtrim,

    pub fn parse(name: []const u8) ?Collation {
        return std.meta.stringToEnum(Collation, lower(name) orelse return null);
    }

    fn lower(name: []const u8) ?[]const u8 {
        inline for (.{ "binary", "nocase", "rtrim" }) |known| {
            if (std.ascii.eqlIgnoreCase(name, known)) return known;
        }
        return null;
    }
};

/// Text and blobs are borrowed: from the mapped file, the SQL text or an arena.
pub const Value = union(enum) {
    null,
    int: i64,
    real: f64,
    text: []const u8,
    blob: []const u8,

    pub fn isNull(self: Value) bool {
        return self == .null;
    }

    /// The storage class order: NULL, numbers, text, blobs.
    fn class(self: Value) u8 {
        return switch (self) {
            .null => 0,
            .int, .real => 1,
            .text => 2,
            .blob => 3,
        };
    }

    /// A real that is not a number does not exist in SQL: it is NULL.
    pub fn fromReal(x: f64) Value {
        return if (std.math.isNan(x)) .null else .{ .real = x };
    }
};

pub const int_min: i64 = std.math.minInt(i64);
pub const int_max: i64 = std.math.maxInt(i64);
const two_63: f64 = 9223372036854775808.0;

// --- Comparison ---------------------------------------------------------------------------

/// The total order of SQL: NULLs are equal here, as ORDER BY and GROUP BY need it.
pub fn compare(a: Value, b: Value, collation: Collation) Order {
    switch (a) {
        .int => |x| switch (b) {
            .int => |y| return std.math.order(x, y),
            .real => |y| return compareIntReal(x, y),
            else => {},
        },
        .real => |x| switch (b) {
            .int => |y| return compareIntReal(y, x).invert(),
            .real => |y| return std.math.order(x, y),
            else => {},
        },
        .text => |x| if (b == .text) return compareText(x, b.text, collation),
        .blob => |x| if (b == .blob) return compareBytes(x, b.blob),
        .null => {},
    }
    return std.math.order(a.class(), b.class());
}

pub fn compareIntReal(int: i64, real: f64) Order {
    if (real < -two_63) return .gt;
    if (real >= two_63) return .lt;
    const whole: i64 = @trunc(real);
    if (int != whole) return std.math.order(int, whole);
    return std.math.order(@as(f64, @floatFromInt(int)), real);
}

/// Eight bytes at a time; only the difference is looked at as bytes.
pub fn compareBytes(a: []const u8, b: []const u8) Order {
    const shared = @min(a.len, b.len);
    var at: usize = 0;
    while (at + 8 <= shared) : (at += 8) {
        const x = std.mem.readInt(u64, a[at..][0..8], .big);
        const y = std.mem.readInt(u64, b[at..][0..8], .big);
        if (x != y) return std.math.order(x, y);
    }
    while (at < shared) : (at += 1) {
        if (a[at] != b[at]) return std.math.order(a[at], b[at]);
    }
    return std.math.order(a.len, b.len);
}

pub fn compareText(a: []const u8, b: []const u8, collation: Collation) Order {
    return switch (collation) {
        .binary => compareBytes(a, b),
        .nocase => std.ascii.orderIgnoreCase(a, b),
        .rtrim => compareBytes(trimSpaces(a), trimSpaces(b)),
    };
}

pub fn trimSpaces(text: []const u8) []const u8 {
    return std.mem.trimEnd(u8, text, " ");
}

// --- Text to number -----------------------------------------------------------------------

pub fn isSpace(byte: u8) bool {
    return byte == ' ' or (byte >= 9 and byte <= 13);
}

pub const ParsedReal = struct {
    value: f64,
    /// The whole text (but for surrounding spaces) is a number.
    complete: bool,
    /// There is a decimal point or an exponent in the (prefix that is a) number.
    fractional: bool,
};

/// Text to real exactly as SQLite 3.40 does it: up to 19 digits scaled in 80-bit arithmetic. A
/// correctly rounding conversion would differ from the original in the last bit now and then.
pub fn parseReal(text: []const u8) ParsedReal {
    const limit = @divTrunc(int_max - 9, 10);
    var i: usize = 0;
    while (i < text.len and isSpace(text[i])) i += 1;
    var negative = false;
    if (i < text.len and (text[i] == '-' or text[i] == '+')) {
        negative = text[i] == '-';
        i += 1;
    }
    var significand: i64 = 0;
    var digits: usize = 0;
    var shift: i64 = 0;
    while (i < text.len and std.ascii.isDigit(text[i])) : (i += 1) {
        digits += 1;
        if (significand >= limit) shift += 1 else significand = significand * 10 + (text[i] - '0');
    }
    var kind: u8 = 1;
    if (i < text.len and text[i] == '.') {
        kind += 1;
        i += 1;
        while (i < text.len and std.ascii.isDigit(text[i])) : (i += 1) {
            if (significand < limit) {
                significand = significand * 10 + (text[i] - '0');
                shift -= 1;
                digits += 1;
            }
        }
    }
    var exponent: i64 = 0;
    var exponent_ok = true;
    if (i < text.len and (text[i] == 'e' or text[i] == 'E')) {
        i += 1;
        kind += 1;
        exponent_ok = false;
        var exponent_negative = false;
        if (i < text.len and (text[i] == '-' or text[i] == '+')) {
            exponent_negative = text[i] == '-';
            i += 1;
        }
        while (i < text.len and std.ascii.isDigit(text[i])) : (i += 1) {
            exponent = if (exponent < 10000) exponent * 10 + (text[i] - '0') else 10000;
            exponent_ok = true;
        }
        if (exponent_negative) exponent = -exponent;
    }
    while (i < text.len and isSpace(text[i])) i += 1;
    return .{
        .value = scale(significand, negative, exponent + shift),
        .complete = i == text.len and digits > 0 and exponent_ok,
        .fractional = kind >= 2 and (kind == 3 or exponent_ok) and digits > 0,
    };
}

fn scale(significand: i64, negative: bool, decimal_exponent: i64) f64 {
    if (significand == 0) return if (negative) -0.0 else 0.0;
    var s = significand;
    var e = @abs(decimal_exponent);
    const divide = decimal_exponent < 0;
    while (e > 0) : (e -= 1) {
        if (divide) {
            if (@rem(s, 10) != 0) break;
            s = @divTrunc(s, 10);
        } else {
            if (s >= @divTrunc(int_max, 10)) break;
            s *= 10;
        }
    }
    if (negative) s = -s;
    if (e == 0) return @floatFromInt(s);
    const wide: f80 = @floatFromInt(s);
    if (e <= 307) {
        const power = pow10(e);
        return @floatCast(if (divide) wide / power else wide * power);
    }
    if (e < 342) {
        const power = pow10(e - 308);
        const part: f64 = @floatCast(if (divide) wide / power else wide * power);
        return if (divide) part / 1.0e308 else part * 1.0e308;
    }
    if (divide) return if (negative) -0.0 else 0.0;
    return if (negative) -std.math.inf(f64) else std.math.inf(f64);
}

fn pow10(exponent: u64) f80 {
    var e = exponent;
    var x: f80 = 10.0;
    var r: f80 = 1.0;
    while (true) {
        if (e & 1 != 0) r *= x;
        e >>= 1;
        if (e == 0) return r;
        x *= x;
    }
}

pub const ParsedInt = struct {
    /// Saturated when the digits do not fit.
    value: i64,
    fits: bool,
    /// Nothing but spaces around the digits.
    complete: bool,
};

pub fn parseInt(text: []const u8) ParsedInt {
    var i: usize = 0;
    while (i < text.len and isSpace(text[i])) i += 1;
    var negative = false;
    if (i < text.len and (text[i] == '-' or text[i] == '+')) {
        negative = text[i] == '-';
        i += 1;
    }
    const start = i;
    var magnitude: u64 = 0;
    var too_big = false;
    while (i < text.len and std.ascii.isDigit(text[i])) : (i += 1) {
        const digit = text[i] - '0';
        if (magnitude > (std.math.maxInt(u64) - 9) / 10) too_big = true else magnitude = magnitude * 10 + digit;
    }
    const any = i > start;
    while (i < text.len and isSpace(text[i])) i += 1;
    const edge: u64 = @as(u64, 1) << 63;
    const fits = !too_big and (magnitude < edge or (negative and magnitude == edge));
    const value: i64 = if (!fits)
        (if (negative) int_min else int_max)
    else if (negative)
        @bitCast(0 -% magnitude)
    else
        @bitCast(magnitude);
    return .{ .value = value, .fits = fits, .complete = any and i == text.len };
}

/// Text (or a blob's bytes) as an operand of arithmetic: the longest numeric prefix.
pub fn numericPrefix(text: []const u8) Value {
    const real = parseReal(text);
    if (real.fractional) return .{ .real = real.value };
    const int = parseInt(text);
    return if (int.fits) .{ .int = int.value } else .{ .real = real.value };
}

pub fn toNumber(value: Value) Value {
    return switch (value) {
        .null, .int, .real => value,
        .text, .blob => |bytes| numericPrefix(bytes),
    };
}

pub fn toReal(value: Value) f64 {
    return switch (value) {
        .null => 0,
        .int => |x| @floatFromInt(x),
        .real => |x| x,
        .text, .blob => |bytes| parseReal(bytes).value,
    };
}

pub fn realToInt(x: f64) i64 {
    if (!(x > -two_63)) return if (std.math.isNan(x)) 0 else int_min;
    if (x >= two_63) return int_max;
    return @trunc(x);
}

pub fn toInt(value: Value) i64 {
    return switch (value) {
        .null => 0,
        .int => |x| x,
        .real => |x| realToInt(x),
        .text, .blob => |bytes| parseInt(bytes).value,
    };
}

/// NULL has no truth: the caller sees null.
pub fn truth(value: Value) ?bool {
    return switch (value) {
        .null => null,
        .int => |x| x != 0,
        .real => |x| x != 0,
        .text, .blob => |bytes| parseReal(bytes).value != 0,
    };
}

// --- Affinity -----------------------------------------------------------------------------

/// The affinity a declared type gives to its column.
pub fn affinityOfType(type_name: []const u8) Affinity {
    const has = struct {
        fn has(name: []const u8, part: []const u8) bool {
            return std.ascii.findIgnoreCase(name, part) != null;
        }
    }.has;
    if (has(type_name, "INT")) return .integer;
    if (has(type_name, "CHAR") or has(type_name, "CLOB") or has(type_name, "TEXT")) return .text;
    if (type_name.len == 0 or has(type_name, "BLOB")) return .none;
    if (has(type_name, "REAL") or has(type_name, "FLOA") or has(type_name, "DOUB")) return .real;
    return .numeric;
}

/// Text that is a number in full becomes that number; other values stay.
pub fn applyNumeric(value: Value) Value {
    if (value != .text) return value;
    const real = parseReal(value.text);
    if (!real.complete) return value;
    if (!real.fractional) {
        const int = parseInt(value.text);
        if (int.fits) return .{ .int = int.value };
    }
    return .{ .real = real.value };
}

/// What storing the value into a column of this affinity would make of it.
pub fn applyAffinity(arena: Allocator, value: Value, affinity: Affinity) Allocator.Error!Value {
    switch (affinity) {
        .none => return value,
        .text => return switch (value) {
            .int, .real => .{ .text = try toText(arena, value) },
            else => value,
        },
        .numeric, .integer => {
            const number = applyNumeric(value);
            if (number == .real and value == .text) return realAsInt(number.real);
            return number;
        },
        .real => {
            const number = applyNumeric(value);
            return if (number == .int) .{ .real = @floatFromInt(number.int) } else number;
        },
    }
}

/// A whole real that survives the round trip becomes an integer (NUMERIC affinity).
pub fn realAsInt(x: f64) Value {
    if (x >= -two_63 and x < two_63) {
        const int: i64 = @trunc(x);
        if (@as(f64, @floatFromInt(int)) == x and int > int_min and int < int_max) return .{ .int = int };
    }
    return .{ .real = x };
}

pub fn cast(arena: Allocator, value: Value, affinity: Affinity) Allocator.Error!Value {
    if (value == .null) return .null;
    switch (affinity) {
        .text => return .{ .text = try toText(arena, value) },
        .none => return .{ .blob = try toText(arena, value) },
        .integer => return .{ .int = toInt(value) },
        .real => return .{ .real = toReal(value) },
        .numeric => switch (value) {
            .text, .blob => |bytes| {
                const number = numericPrefix(bytes);
                return if (number == .real) realAsInt(number.real) else number;
            },
            else => return value,
        },
    }
}

// --- Arithmetic ---------------------------------------------------------------------------

pub const ArithmeticOp = enum { add, sub, mul, div, rem };

pub fn arithmetic(op: ArithmeticOp, left: Value, right: Value) Value {
    if (left == .int and right == .int and op != .rem) {
        if (intArithmetic(op, left.int, right.int)) |value| return value;
    }
    if (left == .null or right == .null) return .null;
    const a = toNumber(left);
    const b = toNumber(right);
    if (op == .rem) return remainder(left, right, a == .int and b == .int);
    if (a == .int and b == .int) {
        if (intArithmetic(op, a.int, b.int)) |value| return value;
    }
    // From the operands themselves: as a real the text '-' is a negative zero.
    const x = toReal(left);
    const y = toReal(right);
    return .fromReal(switch (op) {
        .add => x + y,
        .sub => x - y,
        .mul => x * y,
        .div => if (y == 0) return .null else x / y,
        .rem => unreachable,
    });
}

/// null when the result does not fit: the caller goes on with reals.
fn intArithmetic(op: ArithmeticOp, a: i64, b: i64) ?Value {
    const result, const overflow = switch (op) {
        .add => @addWithOverflow(a, b),
        .sub => @subWithOverflow(a, b),
        .mul => @mulWithOverflow(a, b),
        .div => {
            if (b == 0) return .null;
            if (b == -1 and a == int_min) return null;
            return .{ .int = @divTrunc(a, b) };
        },
        .rem => unreachable,
    };
    return if (overflow != 0) null else .{ .int = result };
}

/// The remainder works on integers ('1e2' counts as 1); the result is real when an operand was.
fn remainder(left: Value, right: Value, is_int: bool) Value {
    const x = toInt(left);
    const y = toInt(right);
    if (y == 0) return .null;
    // A 64-bit division takes several times as long as a 32-bit one.
    const small = @as(u64, @bitCast(x | y)) >> 32 == 0;
    const result: i64 = if (small)
        @as(u32, @intCast(x)) % @as(u32, @intCast(y))
    else if (y == -1) 0 else @rem(x, y);
    if (is_int) return .{ .int = result };
    return .{ .real = @floatFromInt(result) };
}

pub fn negate(value: Value) Value {
    return switch (toNumber(value)) {
        .null => .null,
        .int => |x| if (x == int_min) .{ .real = two_63 } else .{ .int = -x },
        // SQLite computes 0 - x, so there is no negative zero here.
        .real => |x| .{ .real = 0 - x },
        else => unreachable,
    };
}

/// Shifts by a negative count go the other way; counts past 63 drain all bits.
pub fn shiftLeft(x: i64, count: i64) i64 {
    if (count < 0) return shiftRight(x, if (count == int_min) int_max else -count);
    return if (count >= 64) 0 else x << @intCast(count);
}

pub fn shiftRight(x: i64, count: i64) i64 {
    if (count < 0) return shiftLeft(x, if (count == int_min) int_max else -count);
    return if (count >= 64) (if (x < 0) -1 else 0) else x >> @intCast(count);
}

// --- Number to text -----------------------------------------------------------------------

/// The bytes a value has as text; text and blobs are passed through.
pub fn toText(arena: Allocator, value: Value) Allocator.Error![]const u8 {
    var buffer: [64]u8 = undefined;
    return switch (value) {
        .null => "",
        .text, .blob => |bytes| bytes,
        .int, .real => arena.dupe(u8, numberText(&buffer, value)),
    };
}

/// The text of a number in the caller's buffer.
pub fn numberText(buffer: *[64]u8, value: Value) []const u8 {
    return switch (value) {
        .int => |x| buffer[0..std.fmt.printInt(buffer, x, 10, .lower, .{})],
        .real => |x| formatGeneral(buffer, x),
        else => unreachable,
    };
}

/// One decimal digit off the front of a number in 0..10.
fn nextDigit(x: *f80, left: *u32) u8 {
    if (left.* == 0) return '0';
    left.* -= 1;
    const digit: u8 = @trunc(x.*);
    x.* = (x.* - @as(f80, @floatFromInt(digit))) * 10.0;
    return '0' + digit;
}

/// Brings x into 1..10 and returns its decimal exponent; null when it is infinite.
fn normalize(x: *f80) ?i32 {
    var exponent: i32 = 0;
    if (x.* <= 0) return 0;
    var factor: f80 = 1.0;
    while (x.* >= 1e100 * factor and exponent <= 350) : (exponent += 100) factor *= 1e100;
    while (x.* >= 1e10 * factor and exponent <= 350) : (exponent += 10) factor *= 1e10;
    while (x.* >= 10.0 * factor and exponent <= 350) : (exponent += 1) factor *= 10.0;
    x.* /= factor;
    while (x.* < 1e-8) : (exponent -= 8) x.* *= 1e8;
    while (x.* < 1.0) : (exponent -= 1) x.* *= 10.0;
    return if (exponent > 350) null else exponent;
}

fn trimZeros(buffer: []const u8, end: usize) usize {
    var n = end;
    while (n > 0 and buffer[n - 1] == '0') n -= 1;
    // The point keeps one digit after it.
    return if (n > 0 and buffer[n - 1] == '.') n + 1 else n;
}

/// SQLite's printf("%!.15g"): how reals become text.
pub fn formatGeneral(buffer: []u8, real: f64) []const u8 {
    var n: usize = 0;
    if (real < 0) {
        buffer[0] = '-';
        n = 1;
    }
    var x: f80 = @abs(real);
    var exponent = if (std.math.isInf(real)) null else normalize(&x);
    if (exponent == null) {
        @memcpy(buffer[n..][0..3], "Inf");
        return buffer[0 .. n + 3];
    }
    var precision: i32 = 14;
    // 5e-15 the way SQLite builds it: arRound[4] times 1e-10 in doubles.
    const rounder: f64 = @as(f64, 5.0e-05) * @as(f64, 1.0e-10);
    x += rounder;
    if (x >= 10.0) {
        x *= 0.1;
        exponent.? += 1;
    }
    const scientific = exponent.? < -4 or exponent.? > precision;
    var place: i32 = if (scientific) 0 else exponent.?;
    if (!scientific) precision -= exponent.?;
    var left: u32 = 26;
    if (place < 0) {
        buffer[n] = '0';
        n += 1;
    } else while (place >= 0) : (place -= 1) {
        buffer[n] = nextDigit(&x, &left);
        n += 1;
    }
    buffer[n] = '.';
    n += 1;
    place += 1;
    while (place < 0) : (place += 1) {
        buffer[n] = '0';
        n += 1;
        precision -= 1;
    }
    while (precision > 0) : (precision -= 1) {
        buffer[n] = nextDigit(&x, &left);
        n += 1;
    }
    if (buffer[n - 1] == '.') {
        buffer[n] = '0';
        n += 1;
    }
    n = @max(trimZeros(buffer, n), 1);
    if (scientific) n += writeExponent(buffer[n..], exponent.?);
    return buffer[0..n];
}

pub fn writeExponent(buffer: []u8, exponent: i32) usize {
    buffer[0] = 'e';
    buffer[1] = if (exponent < 0) '-' else '+';
    var e: u32 = @abs(exponent);
    var n: usize = 2;
    if (e >= 100) {
        buffer[n] = @intCast('0' + e / 100);
        e %= 100;
        n += 1;
    }
    buffer[n] = @intCast('0' + e / 10);
    buffer[n + 1] = @intCast('0' + e % 10);
    return n + 2;
}

/// round(x, places) goes through SQLite's printf("%!.*f") and back.
pub fn roundReal(real: f64, places: i64) f64 {
    const exact_from = 4503599627370496.0;
    if (real < -exact_from or real > exact_from) return real;
    if (places <= 0) return @floatFromInt(realToInt(real + (if (real < 0) @as(f64, -0.5) else 0.5)));
    var buffer: [128]u8 = undefined;
    return parseReal(formatFixed(&buffer, real, @intCast(@min(places, 30)))).value;
}

fn formatFixed(buffer: []u8, real: f64, places: u32) []const u8 {
    const half = [_]f64{ 5.0e-01, 5.0e-02, 5.0e-03, 5.0e-04, 5.0e-05, 5.0e-06, 5.0e-07, 5.0e-08, 5.0e-09, 5.0e-10 };
    var n: usize = 0;
    if (real < 0) {
        buffer[0] = '-';
        n = 1;
    }
    var rounder = half[places % 10];
    for (0..places / 10) |_| rounder *= 1.0e-10;
    const bits: u64 = @bitCast(@abs(real));
    const binary_exponent = @as(i32, @intCast(bits >> 52)) - 1023;
    var x: f80 = @abs(real);
    if (@as(i32, @intCast(places)) + @divTrunc(binary_exponent, 3) < 15) {
        rounder = @floatCast(@as(f80, rounder) + x * 3e-16);
    }
    x += rounder;
    const exponent = normalize(&x) orelse 0;
    var place = exponent;
    var left: u32 = 26;
    if (place < 0) {
        buffer[n] = '0';
        n += 1;
    } else while (place >= 0) : (place -= 1) {
        buffer[n] = nextDigit(&x, &left);
        n += 1;
    }
    buffer[n] = '.';
    n += 1;
    var precision = places;
    place += 1;
    while (place < 0 and precision > 0) : (place += 1) {
        buffer[n] = '0';
        n += 1;
        precision -= 1;
    }
    while (precision > 0) : (precision -= 1) {
        buffer[n] = nextDigit(&x, &left);
        n += 1;
    }
    return buffer[0..n];
}

// --- Tests --------------------------------------------------------------------------------

test compare {
    const cases = [_]struct { Value, Value, Order }{
        .{ .null, .{ .int = 0 }, .lt },
        .{ .null, .null, .eq },
        .{ .{ .int = 3 }, .{ .real = 3.5 }, .lt },
        .{ .{ .real = 3.0 }, .{ .int = 3 }, .eq },
        .{ .{ .int = int_max }, .{ .real = two_63 }, .lt },
        .{ .{ .int = 9007199254740993 }, .{ .real = 9007199254740992.0 }, .gt },
        .{ .{ .int = 5 }, .{ .text = "" }, .lt },
        .{ .{ .text = "z" }, .{ .blob = "" }, .lt },
        .{ .{ .text = "ab" }, .{ .text = "abc" }, .lt },
        .{ .{ .text = "12345678a" }, .{ .text = "12345678b" }, .lt },
        .{ .{ .text = "1234\x7f678" }, .{ .text = "1234\x80678" }, .lt },
        .{ .{ .text = "12345678" }, .{ .text = "12345678" }, .eq },
    };
    for (cases) |case| {
        try std.testing.expectEqual(case[2], compare(case[0], case[1], .binary));
        try std.testing.expectEqual(case[2].invert(), compare(case[1], case[0], .binary));
    }
    try std.testing.expectEqual(Order.eq, compareText("aBc", "AbC", .nocase));
    try std.testing.expectEqual(Order.eq, compareText("a  ", "a", .rtrim));
}

test numericPrefix {
    const cases = [_]struct { []const u8, Value }{
        .{ "12abc", .{ .int = 12 } },
        .{ " -7 ", .{ .int = -7 } },
        .{ "1.5x", .{ .real = 1.5 } },
        .{ "abc", .{ .int = 0 } },
        .{ "", .{ .int = 0 } },
        .{ "1e3", .{ .real = 1000 } },
        .{ "9223372036854775808", .{ .real = two_63 } },
        .{ "-9223372036854775808", .{ .int = int_min } },
        .{ ".5", .{ .real = 0.5 } },
    };
    for (cases) |case| try std.testing.expectEqual(case[1], numericPrefix(case[0]));
}

test applyNumeric {
    try std.testing.expectEqual(Value{ .int = 5 }, applyNumeric(.{ .text = " 5 " }));
    try std.testing.expectEqual(Value{ .real = 5.5 }, applyNumeric(.{ .text = "5.5" }));
    try std.testing.expectEqualStrings("5x", applyNumeric(.{ .text = "5x" }).text);
    try std.testing.expectEqualStrings("1e", applyNumeric(.{ .text = "1e" }).text);
}

test affinityOfType {
    try std.testing.expectEqual(Affinity.integer, affinityOfType("BIGINT"));
    try std.testing.expectEqual(Affinity.text, affinityOfType("VARCHAR(10)"));
    try std.testing.expectEqual(Affinity.none, affinityOfType(""));
    try std.testing.expectEqual(Affinity.real, affinityOfType("double precision"));
    try std.testing.expectEqual(Affinity.numeric, affinityOfType("DECIMAL(10,5)"));
    try std.testing.expectEqual(Affinity.integer, affinityOfType("CHARINT"));
}

test arithmetic {
    const a: Value = .{ .int = int_max };
    try std.testing.expectEqual(Value{ .real = two_63 }, arithmetic(.add, a, .{ .int = 1 }));
    try std.testing.expectEqual(Value{ .int = 3 }, arithmetic(.div, .{ .int = 7 }, .{ .int = 2 }));
    try std.testing.expectEqual(Value.null, arithmetic(.div, .{ .int = 7 }, .{ .int = 0 }));
    try std.testing.expectEqual(Value{ .real = two_63 }, arithmetic(.div, .{ .int = int_min }, .{ .int = -1 }));
    try std.testing.expectEqual(Value{ .int = 0 }, arithmetic(.rem, .{ .int = int_min }, .{ .int = -1 }));
    try std.testing.expectEqual(Value{ .real = 1 }, arithmetic(.rem, .{ .real = 7.9 }, .{ .int = 2 }));
    try std.testing.expectEqual(Value{ .int = 8 }, arithmetic(.add, .{ .text = "5 apples" }, .{ .int = 3 }));
    try std.testing.expectEqual(@as(i64, -1), shiftRight(-5, 80));
    try std.testing.expectEqual(@as(i64, 2), shiftLeft(8, -2));
}

test formatGeneral {
    const cases = [_]struct { f64, []const u8 }{
        .{ 0.0, "0.0" },        .{ 1.0, "1.0" },                      .{ -2.5, "-2.5" },
        .{ 0.1, "0.1" },        .{ 1e15, "1.0e+15" },                 .{ 123456789012345.0, "123456789012345.0" },
        .{ 1e-5, "1.0e-05" },   .{ 0.0001, "0.0001" },                .{ 1.0 / 3.0, "0.333333333333333" },
        .{ 1e100, "1.0e+100" }, .{ 5e-324, "4.94065645841247e-324" }, .{ std.math.inf(f64), "Inf" },
    };
    for (cases) |case| {
        var buffer: [64]u8 = undefined;
        try std.testing.expectEqualStrings(case[1], formatGeneral(&buffer, case[0]));
    }
}

test roundReal {
    try std.testing.expectEqual(@as(f64, 2.35), roundReal(2.345, 2));
    try std.testing.expectEqual(@as(f64, -3.0), roundReal(-2.5, 0));
    try std.testing.expectEqual(@as(f64, 1e17), roundReal(1e17, 3));
    try std.testing.expectEqual(@as(f64, 0.0), roundReal(0.0001, 2));
}
