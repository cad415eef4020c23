//! Numbers as Redis reads and prints them: strict integers, doubles with 17 digits, and the
//! 80-bit long doubles of INCRBYFLOAT, which 64-bit floats would round differently.

use std::cmp::Ordering;

/// A decimal integer in its one canonical form: no plus, no leading zero, no space.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude = 0_u64; // 19 digits fit
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit - b'0');
    }
    match (negative, magnitude) {
        (false, 0..=0x7fff_ffff_ffff_ffff) => Some(magnitude as i64),
        (true, 0..=0x8000_0000_0000_0000) => Some(magnitude.wrapping_neg() as i64),
        _ => None,
    }
}

/// A float as `strtod` takes it when it must take all of the text.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let plain = std::str::from_utf8(text).ok()?;
    let Ok(value) = plain.parse::<f64>() else {
        let exact = parse_hexadecimal(text)?;
        let value = exact.to_f64();
        let kept = value.is_finite() && (value != 0.0 || exact.mantissa == 0);
        return kept.then_some(value);
    };
    let says_infinite = text.iter().any(|byte| matches!(byte, b'n' | b'N'));
    let mantissa = text.split(|byte| matches!(byte, b'e' | b'E')).next()?;
    let says_zero = !mantissa.iter().any(|byte| matches!(byte, b'1'..=b'9'));
    let out_of_range = (value.is_infinite() && !says_infinite) || (value == 0.0 && !says_zero);
    (!value.is_nan() && !out_of_range).then_some(value)
}

/// The 17 significant digits of C's `%.17g`.
pub fn format_f64(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{:.16e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(|&digit| digit != '.').collect();
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let with_point = |whole: &str, fraction: &str| {
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}")
    };
    match exponent {
        -4..0 => {
            let zeros = "0".repeat((-exponent - 1) as usize);
            with_point("0", &format!("{zeros}{digits}"))
        }
        0..17 => {
            let (whole, fraction) = digits.split_at(exponent as usize + 1);
            with_point(whole, fraction)
        }
        _ => {
            let sign_of_exponent = if exponent < 0 { '-' } else { '+' };
            let text = with_point(&digits[..1], &digits[1..]);
            format!("{text}e{sign_of_exponent}{:02}", exponent.abs())
        }
    }
}

/// The 80-bit extended float of x86, as C's `long double`: `mantissa * 2^exponent`, where the
/// top bit of the mantissa is set unless the value is zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LongDouble {
    negative: bool,
    mantissa: u64,
    exponent: i32,
    infinite: bool,
}

/// Longer texts are no floats to Redis.
const MAX_FLOAT_TEXT_BYTES: usize = 5 * 1024 - 1;
/// The exponent of the leading bit of the largest long double.
const MAX_LEADING_EXPONENT: i32 = 16383;
/// The exponent of the smallest long double, a denormal. (Denormals keep all their digits here:
/// they print as 0.)
const MIN_LEADING_EXPONENT: i32 = -16445;
/// No finite long double but 0 has a decimal exponent beyond this.
const MAX_DECIMAL_EXPONENT: i32 = 5000;
/// INCRBYFLOAT prints this many digits behind the point, less the trailing zeros.
const FRACTION_DIGITS: usize = 17;

impl LongDouble {
    pub const ZERO: Self = Self {
        negative: false,
        mantissa: 0,
        exponent: 0,
        infinite: false,
    };

    /// A decimal or hexadecimal float, or an infinity; anything else is none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_FLOAT_TEXT_BYTES {
            return None;
        }
        let (negative, body) = split_sign(text);
        let value = if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") {
            Self {
                infinite: true,
                ..Self::ZERO
            }
        } else if let [b'0', b'x' | b'X', ..] = body {
            return parse_hexadecimal(text);
        } else {
            parse_decimal(body)?
        };
        Some(Self { negative, ..value })
    }

    pub fn is_finite(self) -> bool {
        !self.infinite
    }

    /// The sum, unless it or a part of it is infinite.
    pub fn checked_plus(self, other: Self) -> Option<Self> {
        if self.infinite || other.infinite {
            return None;
        }
        Some(self.plus(other)).filter(|sum| !sum.infinite)
    }

    /// The sum, rounded to nearest, ties to even, as the FPU does. Both must be finite.
    fn plus(self, other: Self) -> Self {
        let (large, small) = if self.magnitude_order(other) == Ordering::Less {
            (other, self)
        } else {
            (self, other)
        };
        if small.mantissa == 0 {
            return large;
        }
        let distance = (large.exponent - small.exponent) as u32;
        let wide_large = u128::from(large.mantissa) << 63;
        let wide_small = u128::from(small.mantissa) << 63;
        let shifted = wide_small.checked_shr(distance).unwrap_or(0);
        // The exact sum is `wide`, and a little more when bits were lost.
        let lost = shifted.checked_shl(distance) != Some(wide_small);
        let wide = if large.negative == small.negative {
            wide_large + shifted
        } else {
            wide_large - shifted - u128::from(lost)
        };
        if wide == 0 {
            return Self::ZERO;
        }
        let top = 128 - wide.leading_zeros() as i32;
        let (kept, rest) = if top > 64 {
            let dropped = top - 64;
            (wide >> dropped, wide << (128 - dropped))
        } else {
            (wide << (64 - top), 0)
        };
        let half = match rest.cmp(&(1 << 127)) {
            Ordering::Equal if lost => Ordering::Greater,
            half => half,
        };
        Self {
            negative: large.negative,
            ..Self::rounded(kept as u64, half, large.exponent - 63 + (top - 64))
        }
    }

    /// Rounds to even; `half` compares what lies behind the mantissa with one half of a unit.
    fn rounded(mantissa: u64, half: Ordering, exponent: i32) -> Self {
        let up = half == Ordering::Greater || (half == Ordering::Equal && mantissa & 1 == 1);
        let (mantissa, carried) = mantissa.overflowing_add(u64::from(up));
        let (mantissa, exponent) = if carried {
            (1 << 63, exponent + 1)
        } else {
            (mantissa, exponent)
        };
        Self {
            negative: false,
            mantissa,
            exponent,
            infinite: exponent + 63 > MAX_LEADING_EXPONENT,
        }
    }

    fn magnitude_order(self, other: Self) -> Ordering {
        match (self.mantissa, other.mantissa) {
            (0, _) | (_, 0) => self.mantissa.cmp(&other.mantissa),
            _ => (self.exponent, self.mantissa).cmp(&(other.exponent, other.mantissa)),
        }
    }

    fn to_f64(self) -> f64 {
        let magnitude = if self.infinite {
            f64::INFINITY
        } else {
            // In two steps: the scale alone may be no double where the product is one.
            let first = self.exponent / 2;
            self.mantissa as f64 * 2.0_f64.powi(first) * 2.0_f64.powi(self.exponent - first)
        };
        if self.negative { -magnitude } else { magnitude }
    }

    /// Refuses what C reports as out of range.
    fn in_range(self) -> Option<Self> {
        let too_small = self.mantissa != 0 && self.exponent + 63 < MIN_LEADING_EXPONENT;
        (!self.infinite && !too_small).then_some(self)
    }

    /// C's `%.17Lf` without trailing zeros.
    pub fn format(self) -> String {
        if self.exponent >= 0 {
            let mut whole = Natural::from(self.mantissa);
            whole.shift_left(self.exponent as usize);
            return self.signed(whole.to_decimal());
        }
        let digits = self.scaled();
        let padded = format!("{digits:0>width$}", width = FRACTION_DIGITS + 1);
        let (whole, fraction) = padded.split_at(padded.len() - FRACTION_DIGITS);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        self.signed(format!("{whole}{point}{fraction}"))
    }

    /// The value times `10^17`, rounded to an integer, for a negative exponent.
    fn scaled(self) -> u128 {
        let product = u128::from(self.mantissa) * 10_u128.pow(FRACTION_DIGITS as u32);
        let shift = self.exponent.unsigned_abs();
        if shift >= 128 {
            return 0; // the product has 121 bits: less than one half is left
        }
        let (kept, rest) = (product >> shift, product << (128 - shift));
        let up = match rest.cmp(&(1 << 127)) {
            Ordering::Greater => true,
            Ordering::Equal => kept & 1 == 1,
            Ordering::Less => false,
        };
        kept + u128::from(up)
    }

    fn signed(self, text: String) -> String {
        if self.negative && text != "0" {
            format!("-{text}")
        } else {
            text
        }
    }
}

fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', body @ ..] => (true, body),
        [b'+', body @ ..] | body => (false, body),
    }
}

/// Splits `digits[.digits]` from what follows: the whole digits, the fraction, the rest.
fn split_mantissa(body: &[u8], is_digit: fn(&u8) -> bool) -> Option<(&[u8], &[u8], &[u8])> {
    let digits_of = |text: &[u8]| text.iter().take_while(|digit| is_digit(digit)).count();
    let (whole, rest) = body.split_at(digits_of(body));
    let (fraction, rest) = match rest {
        [b'.', behind @ ..] => behind.split_at(digits_of(behind)),
        rest => (&b""[..], rest),
    };
    (!whole.is_empty() || !fraction.is_empty()).then_some((whole, fraction, rest))
}

/// `digits[.digits][e[+-]digits]`, exactly rounded.
fn parse_decimal(body: &[u8]) -> Option<LongDouble> {
    let (whole, fraction, rest) = split_mantissa(body, u8::is_ascii_digit)?;
    let mut digits = Natural::default();
    for group in [whole, fraction]
        .iter()
        .flat_map(|part| part.chunks(POWER_DIGITS))
    {
        let value = group
            .iter()
            .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        digits.multiply_add(10_u32.pow(group.len() as u32), value);
    }
    // The value is digits * 10^scale.
    let scale = parse_exponent(rest, b'e')?.saturating_sub(fraction.len() as i32);
    if digits.is_zero() {
        return Some(LongDouble::ZERO);
    }
    let size = scale.saturating_add((digits.bits() / 3) as i32);
    if !(-2 * MAX_DECIMAL_EXPONENT..2 * MAX_DECIMAL_EXPONENT).contains(&size) {
        return None; // above or below all long doubles
    }
    if scale >= 0 {
        for power in powers_of_ten(scale as usize) {
            digits.multiply_add(power, 0);
        }
        return digits.to_long_double(0, false).in_range();
    }
    // Enough bits in front, so that 66 or more stay after the division.
    let shift = (scale.unsigned_abs() as usize * 10).div_ceil(3) + 70;
    digits.shift_left(shift);
    let mut lost = false;
    for power in powers_of_ten(scale.unsigned_abs() as usize) {
        lost |= digits.divide(power) != 0;
    }
    digits.to_long_double(-(shift as i32), lost).in_range()
}

/// The most decimal digits whose power of ten fits a limb.
const POWER_DIGITS: usize = 9;

/// Factors of one limb each whose product is `10^exponent`.
fn powers_of_ten(exponent: usize) -> impl Iterator<Item = u32> {
    let whole = std::iter::repeat_n(10_u32.pow(POWER_DIGITS as u32), exponent / POWER_DIGITS);
    whole.chain([10_u32.pow((exponent % POWER_DIGITS) as u32)])
}

/// `[+-]0xdigits[.digits][p[+-]digits]`.
fn parse_hexadecimal(text: &[u8]) -> Option<LongDouble> {
    let (negative, body) = split_sign(text);
    let [b'0', b'x' | b'X', body @ ..] = body else {
        return None;
    };
    let (whole, fraction, rest) = split_mantissa(body, u8::is_ascii_hexdigit)?;
    let mut digits = Natural::default();
    for &digit in whole.iter().chain(fraction) {
        digits.multiply_add(16, char::from(digit).to_digit(16)?);
    }
    let scale = parse_exponent(rest, b'p')?.saturating_sub(4 * fraction.len() as i32);
    let value = if digits.is_zero() {
        LongDouble::ZERO
    } else {
        digits.to_long_double(scale.clamp(-40_000, 40_000), false)
    };
    LongDouble { negative, ..value }.in_range()
}

/// Nothing, or a marker, a sign and digits up to the end of the text.
fn parse_exponent(text: &[u8], marker: u8) -> Option<i32> {
    let [first, rest @ ..] = text else {
        return Some(0);
    };
    let (negative, digits) = split_sign(rest);
    if first.to_ascii_lowercase() != marker || digits.is_empty() {
        return None;
    }
    let mut exponent = 0_i32;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        exponent = exponent.saturating_mul(10);
        exponent = exponent.saturating_add(i32::from(digit - b'0'));
    }
    Some(if negative { -exponent } else { exponent })
}

/// A natural number of any size, least significant limb first; only what the long doubles need.
#[derive(Clone, Default)]
struct Natural(Vec<u32>);

impl From<u64> for Natural {
    fn from(value: u64) -> Self {
        let mut natural = Self(vec![value as u32, (value >> 32) as u32]);
        natural.trim();
        natural
    }
}

impl Natural {
    /// No zero limbs on top: zero is no limb at all.
    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> usize {
        let top = self
            .0
            .last()
            .map_or(0, |limb| limb.leading_zeros() as usize);
        self.0.len() * 32 - top
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for limb in &mut self.0 {
            let product = u64::from(*limb) * u64::from(factor) + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }

    /// Divides and answers the remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut remainder = 0_u64;
        for limb in self.0.iter_mut().rev() {
            let dividend = (remainder << 32) | u64::from(*limb);
            *limb = (dividend / u64::from(divisor)) as u32;
            remainder = dividend % u64::from(divisor);
        }
        self.trim();
        remainder as u32
    }

    fn shift_left(&mut self, bits: usize) {
        self.0.splice(0..0, std::iter::repeat_n(0, bits / 32));
        self.multiply_add(1 << (bits % 32), 0);
        self.trim();
    }

    fn bit(&self, index: usize) -> bool {
        let limb = self.0.get(index / 32).copied().unwrap_or(0);
        (limb >> (index % 32)) & 1 == 1
    }

    /// The value times `2^exponent`; `lost` says that a little more was cut off before.
    fn to_long_double(&self, exponent: i32, lost: bool) -> LongDouble {
        let bits = self.bits();
        let dropped = bits.saturating_sub(64);
        let mut mantissa = 0_u64;
        for index in (dropped..bits).rev() {
            mantissa = (mantissa << 1) | u64::from(self.bit(index));
        }
        let widened = 64 - (bits - dropped);
        mantissa <<= widened;
        let half_bit = dropped > 0 && self.bit(dropped - 1);
        let below = lost || (0..dropped.saturating_sub(1)).any(|index| self.bit(index));
        let half = match (half_bit, below) {
            (true, true) => Ordering::Greater,
            (true, false) => Ordering::Equal,
            (false, _) => Ordering::Less,
        };
        LongDouble::rounded(mantissa, half, exponent + dropped as i32 - widened as i32)
    }

    fn to_decimal(&self) -> String {
        let mut rest = self.clone();
        let mut groups = Vec::new();
        while !rest.is_zero() {
            groups.push(rest.divide(10_u32.pow(POWER_DIGITS as u32)));
        }
        let Some(first) = groups.pop() else {
            return "0".into();
        };
        let lower = groups.iter().rev().map(|group| format!("{group:09}"));
        std::iter::once(first.to_string()).chain(lower).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_integers() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), value, "{text}");
        }
    }

    #[test]
    fn doubles_as_c_reads_and_prints_them() {
        for (text, printed) in [
            ("3.2", "3.2000000000000002"),
            ("0", "0"),
            ("-0.0", "-0"),
            ("1e17", "1e+17"),
            ("12345678901234567", "12345678901234568"),
            ("0.0001", "0.0001"),
            ("0.00001", "1.0000000000000001e-05"),
            ("1e300", "1.0000000000000001e+300"),
            ("inf", "inf"),
            ("-INFINITY", "-inf"),
            ("0x1p4", "16"),
            ("0x0", "0"),
            ("1.5", "1.5"),
        ] {
            let value = parse_f64(text.as_bytes()).expect(text);
            assert_eq!(format_f64(value), printed, "{text}");
        }
        for text in ["", " 1", "1 ", "nan", "1e400", "1e-400", "1e", "abc", "0x"] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_f64(b"0e-400"), Some(0.0));
    }

    fn sum(left: &str, right: &str) -> String {
        let left = LongDouble::parse(left.as_bytes()).expect(left);
        let right = LongDouble::parse(right.as_bytes()).expect(right);
        left.plus(right).format()
    }

    #[test]
    fn sums_of_long_doubles() {
        for (left, right, expected) in [
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0", "0", "0"),
            ("3", "-3", "0"),
            ("-1.5", "1", "-0.5"),
            ("0.1", "0.2", "0.3"),
            ("1", "1e-17", "1.00000000000000001"),
            ("1e19", "1", "10000000000000000001"),
            ("0x10", "1", "17"),
            ("-5", "2", "-3"),
            ("1e-30", "0", "0"),
            ("1.", ".5", "1.5"),
        ] {
            assert_eq!(sum(left, right), expected, "{left} + {right}");
        }
    }

    #[test]
    fn the_range_of_long_doubles() {
        assert_eq!(sum("1e4900", "0").len(), 4901);
        let huge = LongDouble::parse(b"1e4932").expect("the largest power of ten");
        assert!(huge.checked_plus(huge).is_none());
        let infinite = LongDouble::parse(b"-inf").expect("a float");
        assert!(infinite.checked_plus(LongDouble::ZERO).is_none());
        for text in ["", "1e5000", "1e-6000", "a", ".", "1..2", "1e", "nan", "0x"] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
    }
}
