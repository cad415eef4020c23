//! Numbers from text and to text, with the results of SQLite 3.40 to the last bit.

use crate::extended::Extended;

/// What the text was, seen as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberText {
    /// No number, or an integer followed by something else.
    Junk,
    /// Wholly an integer (surrounding spaces allowed).
    Integer,
    /// Wholly a number with a fraction or an exponent.
    Real,
    /// Starts with such a number, but goes on.
    RealPrefix,
}

#[derive(Clone, Copy, Debug)]
pub struct ParsedReal {
    pub value: f64,
    pub text: NumberText,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IntText {
    NoDigits,
    Exact,
    TrailingJunk,
    OutOfRange,
}

#[derive(Clone, Copy, Debug)]
pub struct ParsedInt {
    /// The numeric prefix, saturated to 64 bits.
    pub value: i64,
    text: IntText,
}

impl ParsedInt {
    pub fn is_exact(self) -> bool {
        self.text == IntText::Exact
    }

    /// The prefix is an integer of 64 bits, or there is none (which counts as 0).
    pub fn fits(self) -> bool {
        self.text != IntText::OutOfRange
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&b| !is_space(b)).unwrap_or(text.len());
    &text[start..]
}

fn take_sign(text: &[u8]) -> (bool, &[u8]) {
    match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

pub fn parse_int(text: &[u8]) -> ParsedInt {
    let (negative, digits) = take_sign(skip_spaces(text));
    let count = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at(count);
    let magnitude = digits.iter().try_fold(0u64, |n, &d| n.checked_mul(10)?.checked_add(u64::from(d - b'0')));
    let limit = i64::MAX as u64 + u64::from(negative);
    let (value, in_range) = match magnitude {
        Some(m) if m <= limit => (if negative { (m as i64).wrapping_neg() } else { m as i64 }, true),
        _ => (if negative { i64::MIN } else { i64::MAX }, false),
    };
    let text = if !in_range {
        IntText::OutOfRange
    } else if count == 0 {
        IntText::NoDigits
    } else if rest.iter().all(|&b| is_space(b)) {
        IntText::Exact
    } else {
        IntText::TrailingJunk
    };
    ParsedInt { value, text }
}

/// The longest prefix that is a number, 0 if there is none.
pub fn parse_real(text: &[u8]) -> ParsedReal {
    const SIGNIFICAND_LIMIT: u64 = (i64::MAX as u64 - 9) / 10;
    let (negative, text) = take_sign(skip_spaces(text));
    let mut at = 0;
    let mut significand = 0u64;
    let mut exponent = 0i32; // of ten, of the significand's last digit
    let mut digits = 0usize;
    while let Some(d) = digit(text, at) {
        if significand < SIGNIFICAND_LIMIT {
            significand = significand * 10 + d;
        } else {
            exponent = exponent.saturating_add(1);
        }
        digits += 1;
        at += 1;
    }
    let mut is_integer = true;
    if text.get(at) == Some(&b'.') {
        is_integer = false;
        at += 1;
        while let Some(d) = digit(text, at) {
            if significand < SIGNIFICAND_LIMIT {
                significand = significand * 10 + d;
                exponent -= 1;
                digits += 1;
            }
            at += 1;
        }
    }
    let had_point = !is_integer;
    let mut exponent_valid = true;
    if matches!(text.get(at), Some(b'e' | b'E')) {
        is_integer = false;
        exponent_valid = false;
        let (exponent_negative, rest) = take_sign(&text[at + 1..]);
        at = text.len() - rest.len();
        let mut written = 0i32;
        while let Some(d) = digit(text, at) {
            written = if written < 10_000 { written * 10 + d as i32 } else { 10_000 };
            exponent_valid = true;
            at += 1;
        }
        exponent = exponent.saturating_add(if exponent_negative { -written } else { written });
    }
    let whole = skip_spaces(&text[at..]).is_empty();
    let kind = if whole && digits > 0 && exponent_valid {
        if is_integer { NumberText::Integer } else { NumberText::Real }
    } else if !is_integer && digits > 0 && (exponent_valid || had_point) {
        NumberText::RealPrefix
    } else {
        NumberText::Junk
    };
    let magnitude = scale(significand, exponent);
    ParsedReal { value: if negative { -magnitude } else { magnitude }, text: kind }
}

fn digit(text: &[u8], at: usize) -> Option<u64> {
    text.get(at).filter(|b| b.is_ascii_digit()).map(|b| u64::from(b - b'0'))
}

/// `significand * 10^exponent` in SQLite's steps: shrink the exponent exactly, then one operation
/// in extended precision.
fn scale(mut significand: u64, exponent: i32) -> f64 {
    if significand == 0 {
        return 0.0;
    }
    let mut distance = exponent.unsigned_abs();
    while distance > 0 {
        if exponent > 0 {
            if significand >= i64::MAX as u64 / 10 {
                break;
            }
            significand *= 10;
        } else {
            if !significand.is_multiple_of(10) {
                break;
            }
            significand /= 10;
        }
        distance -= 1;
    }
    let exact = Extended::from_u64(significand);
    let grow = exponent > 0;
    let by = |power: u32| {
        let power = Extended::power_of_ten(power);
        if grow { exact.multiply(power).to_f64() } else { exact.divide(power).to_f64() }
    };
    match distance {
        0 => significand as f64,
        1..=307 => by(distance),
        308..=341 if grow => by(distance - 308) * 1e308,
        308..=341 => by(distance - 308) / 1e308,
        _ if grow => f64::INFINITY,
        _ => 0.0,
    }
}

/// SQLite's text form of a real: 15 significant digits, always with a point (`%!.15g`).
pub fn real_to_text(value: f64) -> String {
    const DIGITS: usize = 15;
    if value.is_infinite() {
        return if value < 0.0 { "-Inf" } else { "Inf" }.to_owned();
    }
    let mut decimal = Decimal::normalise(Extended::from_f64(value.abs()));
    decimal.add_rounder(rounder(DIGITS - 1));
    let mut text = sign(value);
    let exponent = decimal.exponent;
    let scientific = !(-4..DIGITS as i32).contains(&exponent);
    let fraction_digits = if scientific { DIGITS as i32 - 1 } else { DIGITS as i32 - 1 - exponent };
    decimal.write(&mut text, if scientific { 0 } else { exponent }, fraction_digits);
    trim_zeros(&mut text);
    if scientific {
        let sign = if exponent < 0 { '-' } else { '+' };
        text.push('e');
        text.push(sign);
        if exponent.unsigned_abs() < 10 {
            text.push('0');
        }
        text.push_str(&exponent.unsigned_abs().to_string());
    }
    text
}

/// `round(value, digits)` of SQLite 3.40: through text with so many decimals (`%!.*f`).
pub fn round_to(value: f64, digits: u32) -> f64 {
    if value.abs() > 4_503_599_627_370_496.0 {
        return value; // there is no fraction to round
    }
    if digits == 0 {
        // Through an integer, so that -0.1 becomes 0.0 and not -0.0.
        return (value + if value < 0.0 { -0.5 } else { 0.5 }) as i64 as f64;
    }
    let digits = digits.min(30);
    let mut added = rounder(digits as usize);
    let binary_exponent = (value.to_bits() >> 52 & 0x7ff) as i32 - 1023;
    let exact = Extended::from_f64(value.abs());
    if digits as i32 + binary_exponent / 3 < 15 {
        // A nudge, so that 2.675 (stored a little below) rounds to 2.68.
        added = exact.multiply(Extended::from_f64(3e-16)).add(Extended::from_f64(added)).to_f64();
    }
    let mut decimal = Decimal::normalise(exact.add(Extended::from_f64(added)));
    let mut text = sign(value);
    let exponent = decimal.exponent;
    decimal.write(&mut text, exponent, digits as i32);
    parse_real(text.as_bytes()).value
}

fn sign(value: f64) -> String {
    if value < 0.0 { "-".to_owned() } else { String::new() }
}

/// Half of the last decimal's place, with the rounding errors of SQLite's table walk.
fn rounder(mut decimals: usize) -> f64 {
    const HALVES: [f64; 10] = [5e-1, 5e-2, 5e-3, 5e-4, 5e-5, 5e-6, 5e-7, 5e-8, 5e-9, 5e-10];
    let mut half = HALVES[decimals % 10];
    while decimals >= 10 {
        half *= 1e-10;
        decimals -= 10;
    }
    half
}

fn trim_zeros(text: &mut String) {
    while text.ends_with('0') {
        text.pop();
    }
    if text.ends_with('.') {
        text.push('0');
    }
}

/// A value as `d.ddd * 10^exponent`, giving out its digits one by one.
struct Decimal {
    rest: Extended,
    exponent: i32,
    digits_left: u32,
}

impl Decimal {
    fn normalise(mut value: Extended) -> Self {
        let mut exponent = 0;
        let constant = Extended::from_f64;
        if value.truncate() > 0 || value.compare(constant(0.0)).is_gt() {
            let mut unit = constant(1.0);
            for (factor, step) in [(1e100, 100), (1e10, 10), (10.0, 1)] {
                while value.compare(constant(factor).multiply(unit)).is_ge() && exponent <= 350 {
                    unit = unit.multiply(constant(factor));
                    exponent += step;
                }
            }
            value = value.divide(unit);
            while !value.at_least(1e-8) {
                value = value.multiply(constant(1e8));
                exponent -= 8;
            }
            while !value.at_least(1.0) {
                value = value.multiply(constant(10.0));
                exponent -= 1;
            }
        }
        Self { rest: value, exponent, digits_left: 26 }
    }

    fn add_rounder(&mut self, rounder: f64) {
        self.rest = self.rest.add(Extended::from_f64(rounder));
        if self.rest.at_least(10.0) {
            self.rest = self.rest.multiply(Extended::from_f64(0.1));
            self.exponent += 1;
        }
    }

    fn digit(&mut self) -> char {
        if self.digits_left == 0 {
            return '0';
        }
        self.digits_left -= 1;
        let digit = self.rest.truncate();
        self.rest = self.rest.subtract(Extended::from_u64(digit)).multiply(Extended::from_u64(10));
        char::from(b'0' + digit.min(9) as u8)
    }

    /// The number with its point after the digit of weight 10^0 and `decimals` digits behind it.
    fn write(&mut self, text: &mut String, exponent: i32, mut decimals: i32) {
        let mut weight = exponent;
        if weight < 0 {
            text.push('0');
        }
        while weight >= 0 {
            text.push(self.digit());
            weight -= 1;
        }
        text.push('.');
        weight += 1;
        while weight < 0 && decimals > 0 {
            text.push('0');
            weight += 1;
            decimals -= 1;
        }
        for _ in 0..decimals.max(0) {
            text.push(self.digit());
        }
    }
}

/// The shortest digits that read back as the same real, in the form of Python's `repr`.
pub fn write_shortest_real(value: f64, out: &mut Vec<u8>) {
    if value.is_infinite() {
        out.extend_from_slice(if value < 0.0 { b"-9e999" } else { b"9e999" });
        return;
    }
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        write_scientific(text, out);
    } else {
        out.extend_from_slice(text);
    }
}

/// Rewrites `1.5e-7`, `1e16` or `0.000012` as `1.5e-07`, `1e+16`, `1.2e-05`.
fn write_scientific(text: &[u8], out: &mut Vec<u8>) {
    let exponent = if let Some(at) = text.iter().position(|&b| b == b'e') {
        out.extend_from_slice(&text[..at]);
        parse_int(&text[at + 1..]).value
    } else {
        // Only 1e-5 <= x < 1e-4 comes here: "0.0000ddd".
        let digits_at = text.iter().position(|b| (b'1'..=b'9').contains(b)).unwrap_or(0);
        if text[0] == b'-' {
            out.push(b'-');
        }
        out.push(text[digits_at]);
        if digits_at + 1 < text.len() {
            out.push(b'.');
            out.extend_from_slice(&text[digits_at + 1..]);
        }
        -5
    };
    out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    if exponent.unsigned_abs() < 10 {
        out.push(b'0');
    }
    out.extend_from_slice(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortest(value: f64) -> String {
        let mut out = Vec::new();
        write_shortest_real(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn shortest_reals_look_like_python() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (0.0001, "0.0001"),
            (0.000_012_34, "1.234e-05"),
            (-0.00001, "-1e-05"),
            (0.000_001_5, "1.5e-06"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (1.234_567_890_123_456_8e17, "1.2345678901234568e+17"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "9e999"),
            (f64::NEG_INFINITY, "-9e999"),
        ];
        for (value, expected) in cases {
            assert_eq!(shortest(value), expected);
        }
    }

    #[test]
    fn text_form_has_fifteen_digits() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "0.0"),
            (0.1, "0.1"),
            (1e15, "1.0e+15"),
            (123_456_789_012_345.0, "123456789012345.0"),
            (1.0 / 3.0, "0.333333333333333"),
            (2.0 / 3.0, "0.666666666666667"),
            (0.0001, "0.0001"),
            (0.00001, "1.0e-05"),
            (-1.5e300, "-1.5e+300"),
            (9.999_999_999_999_999, "10.0"),
            (f64::INFINITY, "Inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(real_to_text(value), expected);
        }
    }

    #[test]
    fn rounding() {
        assert_eq!(round_to(2.675, 2), 2.68);
        assert_eq!(round_to(-2.5, 0), -3.0);
        assert_eq!(round_to(1.005, 2), 1.01);
        assert_eq!(round_to(0.0, 3), 0.0);
        assert!(round_to(-0.125, 0).is_sign_positive());
        assert_eq!(round_to(1e300, 2), 1e300);
        assert_eq!(round_to(123.456, 1), 123.5);
    }

    #[test]
    fn reals_from_text() {
        use NumberText::{Integer, Junk, Real, RealPrefix};
        let cases = [
            ("", 0.0, Junk),
            ("abc", 0.0, Junk),
            (" 12 ", 12.0, Integer),
            ("-12", -12.0, Integer),
            ("12x", 12.0, Junk),
            ("1.5", 1.5, Real),
            ("1.", 1.0, Real),
            (".5", 0.5, Real),
            (".", 0.0, Junk),
            ("1e3", 1000.0, Real),
            ("1e", 1.0, Junk),
            ("1.5e", 1.5, RealPrefix),
            ("1.5 x", 1.5, RealPrefix),
            ("1e400", f64::INFINITY, Real),
            ("1e-400", 0.0, Real),
            ("123456789012345678901234567890", 123_456_789_012_345_678_901_234_567_890.0, Integer),
            ("1.7976931348623157e308", f64::MAX, Real),
            ("5e-324", 5e-324, Real),
        ];
        for (text, value, kind) in cases {
            let parsed = parse_real(text.as_bytes());
            assert_eq!((parsed.value, parsed.text), (value, kind), "{text}");
        }
    }

    #[test]
    fn integers_from_text() {
        let cases = [
            ("", 0, IntText::NoDigits),
            ("x", 0, IntText::NoDigits),
            ("12", 12, IntText::Exact),
            (" -12 ", -12, IntText::Exact),
            ("12x", 12, IntText::TrailingJunk),
            ("9223372036854775807", i64::MAX, IntText::Exact),
            ("-9223372036854775808", i64::MIN, IntText::Exact),
            ("9223372036854775808", i64::MAX, IntText::OutOfRange),
            ("-99999999999999999999", i64::MIN, IntText::OutOfRange),
        ];
        for (text, value, kind) in cases {
            let parsed = parse_int(text.as_bytes());
            assert_eq!((parsed.value, parsed.text), (value, kind), "{text}");
        }
    }
}
