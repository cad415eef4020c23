//! Values as byte strings whose byte order is the SQL order.
//!
//! One encoding serves three uses: sorting is `memcmp`, and two rows are in one group (or are
//! duplicates) exactly when their keys are equal, because 1 and 1.0, or `a` and `A` under NOCASE,
//! get the same bytes.

use crate::value::{Collation, Value, trim_end_spaces};

#[derive(Clone, Copy, Debug)]
pub struct SortOrder {
    pub collation: Collation,
    pub descending: bool,
    pub nulls_first: bool,
}

impl SortOrder {
    pub fn ascending(collation: Collation) -> Self {
        Self { collation, descending: false, nulls_first: true }
    }
}

const NULL_FIRST: u8 = 0x00;
const NUMBER: u8 = 0x10;
const TEXT: u8 = 0x20;
const BLOB: u8 = 0x30;
const NULL_LAST: u8 = 0xff;

/// Appends the key of `value`. The keys of several values, one behind the other, sort like tuples.
pub fn append(value: &Value<'_>, order: SortOrder, key: &mut Vec<u8>) {
    let start = key.len();
    match value {
        Value::Null => {
            // Not inverted below: the place of NULL is given, whatever the direction.
            key.push(if order.nulls_first { NULL_FIRST } else { NULL_LAST });
            return;
        }
        Value::Int(i) => append_number(*i as f64, residue(*i), key),
        Value::Real(r) => append_number(*r, 0, key),
        Value::Text(text) => {
            key.push(TEXT);
            match order.collation {
                Collation::Binary => append_bytes(text, key),
                Collation::NoCase => {
                    let from = key.len();
                    append_bytes(text, key);
                    key[from..].make_ascii_lowercase();
                }
                Collation::RTrim => append_bytes(trim_end_spaces(text), key),
            }
        }
        Value::Blob(blob) => {
            key.push(BLOB);
            append_bytes(blob, key);
        }
    }
    if order.descending {
        key[start..].iter_mut().for_each(|b| *b = !*b);
    }
}

/// What an integer loses by becoming a double: less than 2^10 either way.
fn residue(int: i64) -> i16 {
    if int.unsigned_abs() <= 1 << 53 { 0 } else { (i128::from(int) - int as f64 as i128) as i16 }
}

fn append_number(real: f64, residue: i16, key: &mut Vec<u8>) {
    let bits = if real == 0.0 { 0 } else { real.to_bits() }; // -0.0 equals 0.0
    let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    let mut number = [0; 11];
    number[0] = NUMBER;
    number[1..9].copy_from_slice(&ordered.to_be_bytes());
    number[9..].copy_from_slice(&((i32::from(residue) + 0x8000) as u16).to_be_bytes());
    key.extend_from_slice(&number);
}

/// The bytes, with NUL as 00 FF, and 00 01 as the end: a prefix sorts before what it begins.
fn append_bytes(bytes: &[u8], key: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(nul) = memchr::memchr(0, rest) {
        key.extend_from_slice(&rest[..nul]);
        key.extend_from_slice(&[0x00, 0xff]);
        rest = &rest[nul + 1..];
    }
    key.extend_from_slice(rest);
    key.extend_from_slice(&[0x00, 0x01]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: &Value<'_>, order: SortOrder) -> Vec<u8> {
        let mut key = Vec::new();
        append(value, order, &mut key);
        key
    }

    #[test]
    fn byte_order_is_sql_order() {
        let texts: Vec<Value> = ["", "\0", "\0a", "A", "a", "a\0", "a\0b", "ab", "b", "b ", "b  ", "é"]
            .iter()
            .map(|s| Value::text(s.as_bytes()))
            .collect();
        let numbers = [
            Value::Null,
            Value::Int(i64::MIN),
            Value::Int(i64::MIN + 1),
            Value::Int(-1),
            Value::Real(-0.5),
            Value::Real(-0.0),
            Value::Int(0),
            Value::Real(1e-300),
            Value::Int(1),
            Value::Real(1.0),
            Value::Int((1 << 53) + 1),
            Value::Real(9_007_199_254_740_994.0),
            Value::Int(i64::MAX - 1),
            Value::Int(i64::MAX),
            Value::Real(9_223_372_036_854_775_808.0),
            Value::Real(f64::INFINITY),
            Value::blob(&[0u8, 1][..]),
        ];
        let all: Vec<Value> = texts.into_iter().chain(numbers).collect();
        for collation in [Collation::Binary, Collation::NoCase, Collation::RTrim] {
            let up = SortOrder::ascending(collation);
            let down = SortOrder { descending: true, nulls_first: false, ..up };
            for a in &all {
                for b in &all {
                    let expected = a.compare(b, collation);
                    assert_eq!(key(a, up).cmp(&key(b, up)), expected, "{a:?} {b:?} {collation:?}");
                    assert_eq!(
                        key(a, down).cmp(&key(b, down)),
                        expected.reverse(),
                        "{a:?} {b:?} {collation:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn nulls_go_where_they_are_told() {
        let order = SortOrder { collation: Collation::Binary, descending: false, nulls_first: false };
        assert!(key(&Value::Null, order) > key(&Value::blob(&[255u8][..]), order));
        let order = SortOrder { collation: Collation::Binary, descending: true, nulls_first: true };
        assert!(key(&Value::Null, order) < key(&Value::Int(i64::MAX), order));
    }
}
