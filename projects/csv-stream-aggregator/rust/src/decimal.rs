//! Exact decimal numbers.

use std::cmp::Ordering;

/// `mantissa` x 10^-`scale`, with at most 18 digits and a scale of at most 18.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decimal {
    pub mantissa: i64,
    pub scale: u8,
}

const MAX_DIGITS: usize = 18;
const MAX_SCALE: usize = 18;

/// Why a field is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotNumber {
    Empty,
    Malformed,
    OutOfRange,
}

/// 10^0 .. 10^18; the last still fits an i64.
pub const POW10: [i64; MAX_SCALE + 1] = {
    let mut table = [1; MAX_SCALE + 1];
    let mut i = 1;
    while i < table.len() {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
const ZEROS: u64 = LOW_BITS * b'0' as u64;
const DOTS: u64 = LOW_BITS * b'.' as u64;

/// Parses `text[start..end]`. Up to eight characters go through one word; what
/// that cannot decide goes to [`parse`].
#[inline]
pub fn parse_at(text: &[u8], start: usize, end: usize) -> Result<Decimal, NotNumber> {
    let negative = start < end && text[start] == b'-';
    let length = end - start - usize::from(negative);
    if !(1..=8).contains(&length) || end < 8 {
        return parse(&text[start..end]);
    }
    let Some(&last_eight) = text[..end].last_chunk::<8>() else {
        return parse(&text[start..end]);
    };
    match parse_word(u64::from_le_bytes(last_eight), length) {
        Some(mut number) => {
            if negative {
                number.mantissa = -number.mantissa;
            }
            Ok(number)
        }
        None => parse(&text[start..end]),
    }
}

/// Parses the last `length` (1..=8) characters of a word: digits with at most one dot.
#[inline]
fn parse_word(mut word: u64, length: usize) -> Option<Decimal> {
    // The last character is the top byte; what stands before the field becomes '0'.
    let before_field = (1 << ((8 - length) * 8)) - 1;
    word = (word & !before_field) | (ZEROS & before_field);

    let mut scale = 0;
    let from_dots = word ^ DOTS;
    let dots = from_dots.wrapping_sub(LOW_BITS) & !from_dots & HIGH_BITS;
    if dots != 0 {
        if length == 1 {
            return None;
        }
        // Close the gap: what stands before the dot moves up by one character.
        // The lowest bit of `dots` is exact, and so are the bits below it.
        let up_to_dot = dots ^ (dots - 1);
        let before_dot = up_to_dot >> 8;
        scale = (dots.trailing_zeros() / 8) as u8 ^ 7;
        word = (word & !up_to_dot) | (word & before_dot) << 8 | u64::from(b'0');
    }
    word ^= ZEROS;
    if (word.wrapping_add(0x76 * LOW_BITS) | word) & HIGH_BITS != 0 {
        return None;
    }
    word = (word.wrapping_mul(10)).wrapping_add(word >> 8) & 0x00ff_00ff_00ff_00ff;
    word = (word.wrapping_mul(100)).wrapping_add(word >> 16) & 0x0000_ffff_0000_ffff;
    word = (word.wrapping_mul(10_000)).wrapping_add(word >> 32) & 0xffff_ffff;
    Some(Decimal {
        mantissa: word as i64,
        scale,
    })
}

/// The whole grammar: `[+-]? (digits [. digits*] | . digits) ([eE][+-]?digits)?`
#[cold]
pub fn parse(text: &[u8]) -> Result<Decimal, NotNumber> {
    let (negative, unsigned) = match text {
        [] => return Err(NotNumber::Empty),
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    // A mantissa of more than 18 digits stops growing: it can only end as out of range.
    let mut mantissa = 0_i64;
    let (mut digits, mut fraction) = (0_i64, 0_i64);
    let (mut seen_dot, mut too_long) = (false, false);
    let mut length = 0;
    for &byte in unsigned {
        match byte {
            b'.' if !seen_dot => seen_dot = true,
            b'0'..=b'9' => {
                digits += 1;
                fraction += i64::from(seen_dot);
                too_long |= mantissa >= POW10[MAX_DIGITS - 1];
                if !too_long {
                    mantissa = mantissa * 10 + i64::from(byte - b'0');
                }
            }
            _ => break,
        }
        length += 1;
    }
    if digits == 0 {
        return Err(NotNumber::Malformed);
    }
    let exponent = parse_exponent(&unsigned[length..]).ok_or(NotNumber::Malformed)?;
    if too_long {
        return Err(NotNumber::OutOfRange);
    }
    let (mantissa, scale) = settle(mantissa, fraction - exponent).ok_or(NotNumber::OutOfRange)?;
    let mantissa = if negative { -mantissa } else { mantissa };
    Ok(Decimal { mantissa, scale })
}

/// Brings a scale into 0..=18, multiplying the mantissa out where it is negative.
fn settle(mantissa: i64, scale: i64) -> Option<(i64, u8)> {
    if scale >= 0 {
        let scale = u8::try_from(scale).ok()?;
        return (usize::from(scale) <= MAX_SCALE).then_some((mantissa, scale));
    }
    if mantissa == 0 {
        return Some((0, 0));
    }
    let factor = *POW10.get(usize::try_from(-scale).ok()?)?;
    let product = mantissa.checked_mul(factor)?;
    (product < POW10[MAX_DIGITS]).then_some((product, 0))
}

/// What follows the mantissa: nothing, or e, a sign and digits to the end.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let [b'e' | b'E', signed @ ..] = text else {
        return text.is_empty().then_some(0);
    };
    let (negative, digits) = match signed {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, signed),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Saturates far above any record's number of fraction digits.
    let size = digits.iter().fold(0_i64, |value, digit| {
        (value * 10 + i64::from(digit - b'0')).min(1 << 40)
    });
    Some(if negative { -size } else { size })
}

impl Ord for Decimal {
    /// Exact, whatever the scales: 18 digits scaled by 10^18 fit 128 bits.
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        if self.scale == other.scale {
            return self.mantissa.cmp(&other.mantissa);
        }
        let scale = self.scale.max(other.scale);
        self.at_scale(scale).cmp(&other.at_scale(scale))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Decimal {
    /// The mantissa at a scale that is not smaller than its own.
    pub fn at_scale(self, scale: u8) -> i128 {
        i128::from(self.mantissa) * i128::from(POW10[usize::from(scale - self.scale)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "keeps the table short")]
    fn number(mantissa: i64, scale: u8) -> Result<Decimal, NotNumber> {
        Ok(Decimal { mantissa, scale })
    }

    #[test]
    fn every_shape_of_number() {
        use NotNumber::{Empty, Malformed, OutOfRange};
        for (text, expected) in [
            ("", Err(Empty)),
            ("0", number(0, 0)),
            ("-0.0", number(0, 1)),
            ("1.", number(1, 0)),
            (".5", number(5, 1)),
            ("-.5", number(-5, 1)),
            ("+.5", number(5, 1)),
            ("007", number(7, 0)),
            ("1.50", number(150, 2)),
            ("-12345.67", number(-1_234_567, 2)),
            ("12345678", number(12_345_678, 0)),
            ("123456789", number(123_456_789, 0)),
            ("1e3", number(1000, 0)),
            ("1.5e1", number(15, 0)),
            ("1.5e-3", number(15, 4)),
            ("1e17", number(100_000_000_000_000_000, 0)),
            ("0e999999999999999999999999", number(0, 0)),
            ("1e-18", number(1, 18)),
            ("999999999999999999", number(999_999_999_999_999_999, 0)),
            ("00000000000000000000000000.5", number(5, 1)),
            ("1e18", Err(OutOfRange)),
            ("1000000000000000000", Err(OutOfRange)),
            ("1e-19", Err(OutOfRange)),
            ("0.0000000000000000000", Err(OutOfRange)),
            ("1e99999999999999999999", Err(OutOfRange)),
            ("1e-99999999999999999999", Err(OutOfRange)),
            (".", Err(Malformed)),
            ("-", Err(Malformed)),
            ("-.", Err(Malformed)),
            ("+-1", Err(Malformed)),
            ("--1", Err(Malformed)),
            ("1.2.3", Err(Malformed)),
            ("1e", Err(Malformed)),
            ("1e+", Err(Malformed)),
            ("e5", Err(Malformed)),
            (" 1", Err(Malformed)),
            ("1 ", Err(Malformed)),
            ("1/", Err(Malformed)),
            ("1:", Err(Malformed)),
            ("NaN", Err(Malformed)),
            ("0x10", Err(Malformed)),
            ("1_000", Err(Malformed)),
            ("\u{ff11}", Err(Malformed)),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
            for before in ["", "12345678", "........", "9,9,9,9,9,"] {
                let line = format!("{before}{text}");
                let found = parse_at(line.as_bytes(), before.len(), line.len());
                assert_eq!(found, expected, "{text:?} behind {before:?}");
            }
        }
    }

    #[test]
    fn one_word_agrees_with_the_grammar_on_all_short_texts() {
        let alphabet = b"019.-+e/:";
        for seed in 0..9_usize.pow(6) {
            let text: Vec<u8> = (0..6)
                .map(|i| alphabet[seed / 9_usize.pow(i) % 9])
                .collect();
            let line = [b"77777777", &text[..]].concat();
            assert_eq!(parse_at(&line, 8, line.len()), parse(&text));
        }
    }

    #[test]
    fn order_is_exact_across_scales() {
        let decimal = |mantissa, scale| Decimal { mantissa, scale };
        assert!(decimal(150, 2) < decimal(2, 0));
        assert!(decimal(-150, 2) > decimal(-2, 0));
        assert_eq!(decimal(150, 2).cmp(&decimal(15, 1)), Ordering::Equal);
        let most = 999_999_999_999_999_999;
        assert!(decimal(most, 18) < decimal(most, 0));
        assert!(decimal(-most, 18) > decimal(-most, 0));
    }
}
