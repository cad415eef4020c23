//! SQL values: order, affinity, conversions and arithmetic, as SQLite 3.40 defines them.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::number::{self, NumberText};

#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Int(i64),
    Real(f64),
    Text(Cow<'a, [u8]>),
    Blob(Cow<'a, [u8]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collation {
    Binary,
    NoCase,
    RTrim,
}

impl Collation {
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "binary" => Some(Self::Binary),
            "nocase" => Some(Self::NoCase),
            "rtrim" => Some(Self::RTrim),
            _ => None,
        }
    }

    pub fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        match self {
            Self::Binary => a.cmp(b),
            Self::NoCase => {
                let fold = |s: &u8| s.to_ascii_lowercase();
                a.iter().map(fold).cmp(b.iter().map(fold))
            }
            Self::RTrim => trim_end_spaces(a).cmp(trim_end_spaces(b)),
        }
    }
}

pub fn trim_end_spaces(text: &[u8]) -> &[u8] {
    let kept = text.iter().rposition(|&b| b != b' ').map_or(0, |last| last + 1);
    &text[..kept]
}

/// The preferred storage of a column; `Blob` is "no preference".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity {
    Blob,
    Text,
    Numeric,
    Integer,
    Real,
}

impl Affinity {
    /// The affinity of a declared type, by the five substring rules of the documentation.
    pub fn of_type(declared: &str) -> Self {
        let upper = declared.to_ascii_uppercase();
        let has = |part: &str| upper.contains(part);
        if has("INT") {
            Self::Integer
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Self::Text
        } else if has("BLOB") {
            Self::Blob
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            Self::Real
        } else {
            Self::Numeric
        }
    }

    pub fn is_numeric(self) -> bool {
        matches!(self, Self::Numeric | Self::Integer | Self::Real)
    }

    /// The affinity that a comparison of two expressions applies to both sides; `None` is an
    /// expression without affinity (a literal, an operator).
    pub fn of_comparison(left: Option<Self>, right: Option<Self>) -> Self {
        match (left, right) {
            (Some(a), Some(b)) if a.is_numeric() || b.is_numeric() => Self::Numeric,
            (Some(_), Some(_)) | (None, None) => Self::Blob,
            (Some(one), None) | (None, Some(one)) => one,
        }
    }
}

impl<'a> Value<'a> {
    pub fn text(bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self::Text(bytes.into())
    }

    pub fn blob(bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self::Blob(bytes.into())
    }

    /// NaN does not exist in SQL: it is NULL.
    pub fn real(value: f64) -> Self {
        if value.is_nan() { Self::Null } else { Self::Real(value) }
    }

    pub fn bool(value: bool) -> Self {
        Self::Int(i64::from(value))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Int(i) => Value::Int(i),
            Self::Real(r) => Value::Real(r),
            Self::Text(t) => Value::Text(Cow::Owned(t.into_owned())),
            Self::Blob(b) => Value::Blob(Cow::Owned(b.into_owned())),
        }
    }

    /// The same value, borrowing the bytes.
    pub fn borrowed(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Int(i) => Value::Int(*i),
            Self::Real(r) => Value::Real(*r),
            Self::Text(t) => Value::Text(Cow::Borrowed(t)),
            Self::Blob(b) => Value::Blob(Cow::Borrowed(b)),
        }
    }

    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Int(_) => "integer",
            Self::Real(_) => "real",
            Self::Text(_) => "text",
            Self::Blob(_) => "blob",
        }
    }

    /// Position of the storage class in the sort order: NULL < numbers < text < blob.
    fn class(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Int(_) | Self::Real(_) => 1,
            Self::Text(_) => 2,
            Self::Blob(_) => 3,
        }
    }

    /// The total order of SQL values.
    #[inline]
    pub fn compare(&self, other: &Value<'_>, collation: Collation) -> Ordering {
        match (self, other) {
            (Self::Int(a), Value::Int(b)) => a.cmp(b),
            (Self::Real(a), Value::Real(b)) => compare_reals(*a, *b),
            (Self::Int(a), Value::Real(b)) => compare_int_real(*a, *b),
            (Self::Real(a), Value::Int(b)) => compare_int_real(*b, *a).reverse(),
            (Self::Text(a), Value::Text(b)) => collation.compare(a, b),
            (Self::Blob(a), Value::Blob(b)) => a.cmp(b),
            _ => self.class().cmp(&other.class()),
        }
    }

    /// The bytes of a text or blob, or the text form of a number; None for NULL.
    pub fn to_bytes(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Null => None,
            Self::Int(i) => Some(Cow::Owned(i.to_string().into_bytes())),
            Self::Real(r) => Some(Cow::Owned(number::real_to_text(*r).into_bytes())),
            Self::Text(b) | Self::Blob(b) => Some(Cow::Borrowed(b)),
        }
    }

    /// Like `to_bytes`, but keeps the borrow of the row where there is one.
    pub fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Text(b) | Self::Blob(b) => Some(b),
            other => other.to_bytes().map(|b| Cow::Owned(b.into_owned())),
        }
    }

    /// NULL is neither true nor false.
    pub fn truth(&self) -> Option<bool> {
        match self {
            Self::Null => None,
            Self::Int(i) => Some(*i != 0),
            Self::Real(r) => Some(*r != 0.0),
            Self::Text(b) | Self::Blob(b) => Some(number::parse_real(b).value != 0.0),
        }
    }

    /// The integer that bit operators, `%` and CAST see.
    pub fn to_int(&self) -> i64 {
        match self {
            Self::Null => 0,
            Self::Int(i) => *i,
            Self::Real(r) => real_to_int(*r),
            Self::Text(b) | Self::Blob(b) => number::parse_int(b).value,
        }
    }

    pub fn to_real(&self) -> f64 {
        match self {
            Self::Null => 0.0,
            Self::Int(i) => *i as f64,
            Self::Real(r) => *r,
            Self::Text(b) | Self::Blob(b) => number::parse_real(b).value,
        }
    }

    /// The number that arithmetic sees: text counts by its numeric prefix.
    pub fn to_number(&self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Int(i) => Value::Int(*i),
            Self::Real(r) => Value::Real(*r),
            Self::Text(b) | Self::Blob(b) => {
                let real = number::parse_real(b);
                let int = number::parse_int(b);
                let is_int = match real.text {
                    NumberText::Junk => int.fits(),
                    NumberText::Integer => int.is_exact(),
                    _ => false,
                };
                if is_int { Value::Int(int.value) } else { Value::Real(real.value) }
            }
        }
    }

    /// Converts text that is wholly a number, as comparisons with a numeric side do.
    #[must_use]
    pub fn with_numeric_affinity(self) -> Self {
        let Self::Text(text) = &self else { return self };
        let real = number::parse_real(text);
        match real.text {
            NumberText::Integer => {
                if let Some(i) = exact_int(real.value) {
                    return Self::Int(i);
                }
                let int = number::parse_int(text);
                if int.is_exact() { Self::Int(int.value) } else { Self::Real(real.value) }
            }
            NumberText::Real => Self::Real(real.value),
            NumberText::Junk | NumberText::RealPrefix => self,
        }
    }

    #[must_use]
    pub fn with_text_affinity(self) -> Self {
        match self {
            Self::Int(_) | Self::Real(_) => Self::Text(self.into_bytes().unwrap_or_default()),
            other => other,
        }
    }

    /// What a comparison does to each side before comparing.
    #[must_use]
    #[inline]
    pub fn for_comparison(self, affinity: Affinity) -> Self {
        match affinity {
            Affinity::Blob => self,
            Affinity::Text => self.with_text_affinity(),
            _ => self.with_numeric_affinity(),
        }
    }

    /// What storing the value into a column of `affinity` makes of it.
    #[must_use]
    pub fn stored_as(self, affinity: Affinity) -> Self {
        match affinity {
            Affinity::Blob => self,
            Affinity::Text => self.with_text_affinity(),
            Affinity::Integer | Affinity::Numeric => match self.with_numeric_affinity() {
                Self::Real(r) if r as i64 as f64 == r && r.abs() < 9.2e18 => Self::Int(r as i64),
                other => other,
            },
            Affinity::Real => match self.with_numeric_affinity() {
                Self::Int(i) => Self::Real(i as f64),
                other => other,
            },
        }
    }

    #[must_use]
    pub fn cast(self, affinity: Affinity) -> Self {
        if self.is_null() {
            return self;
        }
        match affinity {
            Affinity::Blob => Self::Blob(self.into_bytes().unwrap_or_default()),
            Affinity::Text => Self::Text(self.into_bytes().unwrap_or_default()),
            Affinity::Integer => Self::Int(self.to_int()),
            Affinity::Real => Self::real(self.to_real()),
            Affinity::Numeric => match &self {
                Self::Text(b) | Self::Blob(b) => cast_text_to_number(b),
                _ => self,
            },
        }
    }
}

fn cast_text_to_number(text: &[u8]) -> Value<'static> {
    let real = number::parse_real(text);
    let int = number::parse_int(text);
    if matches!(real.text, NumberText::Junk | NumberText::Integer) && int.fits() {
        return Value::Int(int.value);
    }
    exact_int(real.value).map_or_else(|| Value::real(real.value), Value::Int)
}

/// The integer equal to `real`, if it is one and small enough that SQLite stores it as one.
pub fn exact_int(real: f64) -> Option<i64> {
    const LIMIT: i64 = 2_251_799_813_685_248; // 2^51, SQLite's own margin
    let int = real as i64;
    (int as f64 == real && (-LIMIT..LIMIT).contains(&int)).then_some(int)
}

/// Truncates towards zero and saturates; `as` does exactly that.
pub fn real_to_int(real: f64) -> i64 {
    real as i64
}

#[inline]
fn compare_reals(a: f64, b: f64) -> Ordering {
    // Not total_cmp: -0.0 equals 0.0, and NaN never becomes a value.
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

/// Exact: neither side is rounded to the other's type.
#[inline]
pub fn compare_int_real(int: i64, real: f64) -> Ordering {
    if real < -9_223_372_036_854_775_808.0 {
        return Ordering::Greater;
    }
    if real >= 9_223_372_036_854_775_808.0 {
        return Ordering::Less;
    }
    let truncated = real as i64;
    int.cmp(&truncated).then_with(|| compare_reals(0.0, real - truncated as f64))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Integers stay integers unless they overflow; a division by zero is NULL.
pub fn arithmetic(op: Arithmetic, left: &Value<'_>, right: &Value<'_>) -> Value<'static> {
    match (left.to_number(), right.to_number()) {
        (Value::Null, _) | (_, Value::Null) => Value::Null,
        (Value::Int(a), Value::Int(b)) => int_arithmetic(op, a, b),
        // The remainder sees the integer at the start of a text: 1 of '1e5'.
        _ if op == Arithmetic::Remainder => remainder(left.to_int(), right.to_int()),
        (a, b) => real_arithmetic(op, &a, &b),
    }
}

fn int_arithmetic(op: Arithmetic, a: i64, b: i64) -> Value<'static> {
    let exact = match op {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide | Arithmetic::Remainder if b == 0 => return Value::Null,
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Remainder => Some(a.wrapping_rem(b)),
    };
    exact.map_or_else(|| real_arithmetic(op, &Value::Int(a), &Value::Int(b)), Value::Int)
}

fn real_arithmetic(op: Arithmetic, left: &Value<'_>, right: &Value<'_>) -> Value<'static> {
    let (a, b) = (left.to_real(), right.to_real());
    match op {
        Arithmetic::Add => Value::real(a + b),
        Arithmetic::Subtract => Value::real(a - b),
        Arithmetic::Multiply => Value::real(a * b),
        Arithmetic::Divide if b == 0.0 => Value::Null,
        Arithmetic::Divide => Value::real(a / b),
        Arithmetic::Remainder => remainder(left.to_int(), right.to_int()),
    }
}

/// The remainder of values that are not both integers: computed in integers, given as a real.
fn remainder(a: i64, b: i64) -> Value<'static> {
    if b == 0 { Value::Null } else { Value::Real(a.wrapping_rem(b) as f64) }
}

/// `<<`, and `>>` with a negated distance: a negative distance shifts the other way.
pub fn shift_left(value: i64, distance: i64) -> i64 {
    match distance {
        64.. => 0,
        0..=63 => value << distance,
        -63..=-1 => value >> -distance,
        _ => value >> 63,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Value<'_> {
        Value::text(s.as_bytes())
    }

    #[test]
    fn order_of_classes_and_numbers() {
        let ascending = [
            Value::Null,
            Value::Real(f64::NEG_INFINITY),
            Value::Int(i64::MIN),
            Value::Real(-0.5),
            Value::Int(0),
            Value::Real(0.5),
            Value::Int(9_007_199_254_740_993),
            Value::Real(9_007_199_254_740_994.0),
            Value::Int(i64::MAX),
            Value::Real(9_223_372_036_854_775_808.0),
            text(""),
            text("a"),
            Value::blob(&b""[..]),
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(a.compare(b, Collation::Binary), i.cmp(&j), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn collations() {
        assert_eq!(Collation::NoCase.compare(b"AbC", b"aBc"), Ordering::Equal);
        assert_eq!(Collation::RTrim.compare(b"a  ", b"a"), Ordering::Equal);
        assert_eq!(Collation::Binary.compare(b"B", b"a"), Ordering::Less);
        assert_eq!(Collation::NoCase.compare(b"B", b"a"), Ordering::Greater);
    }

    #[test]
    fn declared_types() {
        let cases = [
            ("INTEGER", Affinity::Integer),
            ("VARCHAR(10)", Affinity::Text),
            ("blob", Affinity::Blob),
            ("double precision", Affinity::Real),
            ("FLOATING POINT", Affinity::Integer),
            ("DECIMAL(10,5)", Affinity::Numeric),
            ("", Affinity::Numeric),
        ];
        for (declared, expected) in cases {
            assert_eq!(Affinity::of_type(declared), expected, "{declared}");
        }
    }

    #[test]
    fn arithmetic_edges() {
        use Arithmetic::{Add, Divide, Multiply, Remainder, Subtract};
        let int = Value::Int;
        let cases = [
            (Add, int(i64::MAX), int(1), Value::Real(9_223_372_036_854_775_808.0)),
            (Subtract, int(0), int(i64::MIN), Value::Real(9_223_372_036_854_775_808.0)),
            (Multiply, int(3), text("2abc"), int(6)),
            (Multiply, int(3), text("2.5x"), Value::Real(7.5)),
            (Divide, int(7), int(2), int(3)),
            (Divide, int(-7), int(2), int(-3)),
            (Divide, int(1), int(0), Value::Null),
            (Divide, int(i64::MIN), int(-1), Value::Real(9_223_372_036_854_775_808.0)),
            (Remainder, int(i64::MIN), int(-1), int(0)),
            (Remainder, Value::Real(5.9), int(3), Value::Real(2.0)),
            (Remainder, int(5), Value::Real(0.5), Value::Null),
            (Add, Value::Null, int(1), Value::Null),
            (Subtract, Value::Real(f64::INFINITY), Value::Real(f64::INFINITY), Value::Null),
            (Add, text("abc"), int(1), int(1)),
        ];
        for (op, a, b, expected) in cases {
            assert_eq!(arithmetic(op, &a, &b), expected, "{op:?} {a:?} {b:?}");
        }
    }

    #[test]
    fn shifts() {
        assert_eq!(shift_left(1, 63), i64::MIN);
        assert_eq!(shift_left(1, 64), 0);
        assert_eq!(shift_left(-8, -1), -4);
        assert_eq!(shift_left(-8, -100), -1);
        assert_eq!(shift_left(8, i64::MIN), 0);
    }

    #[test]
    fn affinity_conversions() {
        assert_eq!(text(" 12 ").with_numeric_affinity(), Value::Int(12));
        assert_eq!(text("1e2").with_numeric_affinity(), Value::Real(100.0));
        assert_eq!(text("12a").with_numeric_affinity(), text("12a"));
        assert_eq!(text("1e2").stored_as(Affinity::Integer), Value::Int(100));
        assert_eq!(Value::Int(5).stored_as(Affinity::Real), Value::Real(5.0));
        assert_eq!(Value::Real(5.5).stored_as(Affinity::Text), text("5.5"));
        assert_eq!(text("12.5abc").cast(Affinity::Integer), Value::Int(12));
        assert_eq!(text("1.0").cast(Affinity::Numeric), Value::Int(1));
        assert_eq!(text("abc").cast(Affinity::Numeric), Value::Int(0));
        assert_eq!(text("99999999999999999999").cast(Affinity::Integer), Value::Int(i64::MAX));
        assert_eq!(Value::Real(1e30).cast(Affinity::Integer), Value::Int(i64::MAX));
    }
}
