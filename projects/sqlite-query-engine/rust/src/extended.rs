//! The 80-bit extended float of the x87, in integers.
//!
//! SQLite 3.40 converts between text and reals in `long double`. Its results are not always the
//! correctly rounded ones, so agreeing with it to the last bit means doing the same steps in the
//! same precision: a 64-bit significand, round to nearest, ties to even. Only what those
//! conversions need is here: non-negative values, no infinities.

use std::cmp::Ordering;

/// `significand * 2^exponent`; the top bit of the significand is set, except for zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extended {
    significand: u64,
    exponent: i32,
}

impl Extended {
    const ZERO: Self = Self { significand: 0, exponent: 0 };

    pub fn from_u64(value: u64) -> Self {
        Self::round(u128::from(value), 0)
    }

    /// `value` must be finite and not negative.
    pub fn from_f64(value: f64) -> Self {
        let bits = value.to_bits();
        let fraction = bits & ((1 << 52) - 1);
        match (bits >> 52) as i32 & 0x7ff {
            0 => Self::round(u128::from(fraction), -1074),
            biased => Self::round(u128::from(fraction | 1 << 52), biased - 1075),
        }
    }

    /// `10^exponent` by repeated squaring, in the order SQLite multiplies.
    pub fn power_of_ten(mut exponent: u32) -> Self {
        let mut base = Self::from_u64(10);
        let mut power = Self::from_u64(1);
        loop {
            if exponent & 1 == 1 {
                power = power.multiply(base);
            }
            exponent >>= 1;
            if exponent == 0 {
                return power;
            }
            base = base.multiply(base);
        }
    }

    pub fn multiply(self, other: Self) -> Self {
        let product = u128::from(self.significand) * u128::from(other.significand);
        Self::round(product, self.exponent + other.exponent)
    }

    /// `divisor` must not be zero.
    pub fn divide(self, divisor: Self) -> Self {
        let by = u128::from(divisor.significand);
        let numerator = u128::from(self.significand) << 64;
        let high = numerator / by;
        let rest = (numerator % by) << 62;
        let quotient = (high << 62) | (rest / by) | u128::from(rest % by != 0);
        Self::round(quotient, self.exponent - divisor.exponent - 126)
    }

    pub fn add(self, other: Self) -> Self {
        let (large, small) =
            if self.compare(other) == Ordering::Less { (other, self) } else { (self, other) };
        if small.significand == 0 {
            return large;
        }
        let wide = u128::from(large.significand) << 63;
        Self::round(wide + aligned(small, large.exponent - 63), large.exponent - 63)
    }

    /// `self - other`; `other` must not be larger.
    pub fn subtract(self, other: Self) -> Self {
        if other.significand == 0 {
            return self;
        }
        let wide = u128::from(self.significand) << 63;
        Self::round(wide - aligned(other, self.exponent - 63), self.exponent - 63)
    }

    pub fn compare(self, other: Self) -> Ordering {
        match (self.significand, other.significand) {
            (0, 0) => Ordering::Equal,
            (0, _) => Ordering::Less,
            (_, 0) => Ordering::Greater,
            _ => (self.exponent, self.significand).cmp(&(other.exponent, other.significand)),
        }
    }

    pub fn at_least(self, bound: f64) -> bool {
        self.compare(Self::from_f64(bound)) != Ordering::Less
    }

    /// The integer part of a value below 2^63.
    pub fn truncate(self) -> u64 {
        match self.exponent {
            0.. => self.significand,
            -63..=-1 => self.significand >> -self.exponent,
            _ => 0,
        }
    }

    pub fn to_f64(self) -> f64 {
        if self.significand == 0 {
            return 0.0;
        }
        let top = self.exponent + 63; // the value is 1.xxx * 2^top
        if top > 1023 {
            return f64::INFINITY;
        }
        // A subnormal keeps fewer bits: its last bit is worth 2^-1074.
        let dropped_bits = 11 + (-1022 - top).max(0);
        if dropped_bits > 64 {
            return 0.0;
        }
        let rounded = round_off(u128::from(self.significand), dropped_bits as u32) as u64;
        let biased = if top < -1022 { 0 } else { (top + 1022) as u64 };
        // A carry out of the fraction moves into the exponent, which is what rounding up means.
        f64::from_bits((biased << 52) + rounded)
    }

    fn round(wide: u128, exponent: i32) -> Self {
        if wide == 0 {
            return Self::ZERO;
        }
        let extra = 64 - wide.leading_zeros() as i32;
        if extra <= 0 {
            return Self { significand: (wide << -extra) as u64, exponent: exponent + extra };
        }
        let rounded = round_off(wide, extra as u32);
        if rounded >> 64 == 1 {
            return Self { significand: 1 << 63, exponent: exponent + extra + 1 };
        }
        Self { significand: rounded as u64, exponent: exponent + extra }
    }
}

/// `value` as a multiple of `2^exponent`; bits below are kept as one sticky bit.
fn aligned(value: Extended, exponent: i32) -> u128 {
    let wide = u128::from(value.significand);
    let shift = value.exponent - exponent;
    match shift {
        0..=63 => wide << shift,
        -63..=-1 => {
            let kept = wide >> -shift;
            kept | u128::from(kept << -shift != wide)
        }
        _ => 1,
    }
}

/// `wide / 2^bits`, to nearest, ties to even.
fn round_off(wide: u128, bits: u32) -> u128 {
    let kept = wide >> bits;
    let half = 1u128 << (bits - 1);
    let rest = wide & ((1u128 << bits) - 1);
    let up = rest > half || (rest == half && kept & 1 == 1);
    kept + u128::from(up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_pass_through() {
        for value in [0.0, 1.0, 0.1, 1e308, f64::MAX, f64::MIN_POSITIVE, 5e-324, 123_456.789] {
            assert_eq!(Extended::from_f64(value).to_f64(), value);
        }
    }

    #[test]
    fn arithmetic_agrees_with_doubles_where_those_are_exact() {
        let e = Extended::from_f64;
        assert_eq!(e(1.5).multiply(e(4.0)).to_f64(), 6.0);
        assert_eq!(e(1.0).divide(e(3.0)).to_f64(), 1.0 / 3.0);
        assert_eq!(e(1e10).add(e(0.25)).to_f64(), 1e10 + 0.25);
        assert_eq!(e(9.75).subtract(e(9.0)).to_f64(), 0.75);
        assert_eq!(e(1.0).add(e(1e-300)).to_f64(), 1.0);
        assert_eq!(Extended::power_of_ten(22).to_f64(), 1e22);
        assert_eq!(e(9.99).truncate(), 9);
    }
}
