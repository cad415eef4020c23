//! The WHERE of a scan, with a fast lane for the usual conditions.
//!
//! Conditions such as `column > 80`, `column IS NOT NULL`, `column = 'text'` and `column LIKE 'x%'`
//! become field tests, which look at the raw record: one walk over its header, no values made. A test
//! that meets something unusual (a short record, text among numbers, a 64-bit integer) gives up, and
//! the row takes the general way, which evaluates the expressions.

use std::ops::Range;

use crate::btree::{Cell, Page};
use crate::error::Result;
use crate::eval::{ColumnSource, Comparison, Context, Expr, Layout, Row};
use crate::like::Pattern;
use crate::record::field_bytes;
use crate::value::{Affinity, Collation, Value};

/// What a field must be. None of them is true for NULL, but `Null`.
#[derive(Debug)]
enum Condition<'p> {
    /// A number from `low` to `high`, both included; or outside, if negated.
    Range {
        low: f64,
        high: f64,
        negated: bool,
    },
    Null,
    NotNull,
    /// Exactly this text.
    Text {
        text: &'p [u8],
        negated: bool,
    },
    Like {
        pattern: &'p Pattern,
        negated: bool,
    },
}

#[derive(Debug)]
struct FieldTest<'p> {
    field: usize,
    condition: Condition<'p>,
}

pub struct Filter<'p> {
    /// All conditions of the WHERE.
    conditions: &'p [Expr],
    /// Those that are field tests, by ascending field.
    tests: Vec<FieldTest<'p>>,
    /// The others.
    general: Vec<&'p Expr>,
}

/// The outcome of the field tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quick {
    Rejected,
    Passed,
    /// The row must be looked at the general way.
    Unsure,
}

impl<'p> Filter<'p> {
    pub fn new(conditions: &'p [Expr], layout: &Layout) -> Self {
        let mut tests: Vec<FieldTest<'p>> = Vec::new();
        let mut general = Vec::new();
        for expr in conditions {
            match field_test(expr, layout) {
                Some(test) => add_test(&mut tests, test),
                None => general.push(expr),
            }
        }
        tests.sort_by_key(|test| test.field);
        Self { conditions, tests, general }
    }

    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Whether the field tests alone decide.
    pub fn is_quick(&self) -> bool {
        self.general.is_empty()
    }

    /// Whether the conditions that are no field tests keep the row.
    pub fn accepts_rest(&self, row: &Row<'_>) -> Result<bool> {
        accepts(self.general.iter().copied(), row)
    }

    pub fn accepts(&self, row: &Row<'_>) -> Result<bool> {
        accepts(self.conditions.iter(), row)
    }

    /// Lists the cells that the field tests do not reject. Those marked `UNSURE` must be looked at the
    /// general way.
    pub fn select(&self, page: &Page<'_>, cells: Range<usize>, selected: &mut Vec<u16>) {
        selected.clear();
        selected.resize(cells.len(), 0);
        let found = match self.tests.as_slice() {
            [] => {
                selected.iter_mut().zip(cells).for_each(|(place, cell)| *place = cell as u16);
                return;
            }
            [FieldTest { field, condition: Condition::Range { low, high, negated: false } }] => {
                select_cells(page, cells, selected, |bytes, record| {
                    range_quick(bytes, record, *field, *low, *high)
                })
            }
            tests => select_cells(page, cells, selected, |bytes, record| tests_quick(tests, &bytes[record])),
        };
        selected.truncate(found);
    }

    /// Tests a cell that is at hand.
    #[inline]
    pub fn quick(&self, cell: &Cell<'_>) -> Quick {
        match self.tests.as_slice() {
            [] => Quick::Passed,
            _ if !cell.is_whole() => Quick::Unsure,
            tests => tests_quick(tests, cell.local),
        }
    }
}

/// Added to the number of a cell (a page has less than 11,000).
pub const UNSURE: u16 = 0x8000;

/// Writes the list without a branch on the outcome, which nothing can predict: a wrong guess would
/// also throw away the loads of the next rows that are under way.
#[inline]
fn select_cells(
    page: &Page<'_>,
    cells: Range<usize>,
    selected: &mut [u16],
    test: impl Fn(&[u8], Range<usize>) -> Quick,
) -> usize {
    let mut found = 0;
    for index in cells {
        let verdict = match page.small_record(index) {
            Some((bytes, record)) => test(bytes, record),
            None => Quick::Unsure,
        };
        selected[found] = index as u16 | if verdict == Quick::Unsure { UNSURE } else { 0 };
        found += usize::from(verdict != Quick::Rejected);
    }
    found
}

fn accepts<'e>(conditions: impl Iterator<Item = &'e Expr>, row: &Row<'_>) -> Result<bool> {
    let context = Context::Row(*row);
    for condition in conditions {
        if !condition.accepts(&context)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Sizes of the fields with one-byte serial types.
const SMALL_FIELD_BYTES: [u8; 128] = {
    let mut sizes = [0; 128];
    let mut serial_type = 0;
    while serial_type < 128 {
        sizes[serial_type] = match serial_type {
            0..=4 => serial_type as u8,
            5 => 6,
            6 | 7 => 8,
            8..=11 => 0,
            other => ((other - 12) / 2) as u8,
        };
        serial_type += 1;
    }
    sizes
};

/// How the number of a serial type is made from the eight bytes at the field: shifted to the right, of
/// that the bits in `keep`, and `add` on top. Types 8 and 9 are the integers 0 and 1.
#[derive(Clone, Copy)]
struct NumberShape {
    shift: u32,
    keep: i64,
    add: i64,
    is_number: bool,
}

const NUMBER_SHAPES: [NumberShape; 16] = {
    let mut shapes = [NumberShape { shift: 0, keep: 0, add: 0, is_number: false }; 16];
    let shifts = [56, 48, 40, 32, 16];
    let mut i = 0;
    while i < shifts.len() {
        shapes[i + 1] = NumberShape { shift: shifts[i], keep: -1, add: 0, is_number: true };
        i += 1;
    }
    shapes[7].is_number = true;
    shapes[8].is_number = true;
    shapes[9] = NumberShape { shift: 0, keep: 0, add: 1, is_number: true };
    shapes
};

/// The one test of most scans, with as few branches as can be: types and values are unpredictable.
#[inline(always)] // in the hottest loop
fn range_quick(page: &[u8], record: Range<usize>, field: usize, low: f64, high: f64) -> Quick {
    let Range { start, end } = record;
    let header_bytes = page[start] as usize;
    let Some(types) = page.get(start + 1..start + 9).and_then(|b| b.first_chunk::<8>()) else {
        return Quick::Unsure; // at the very end of the page
    };
    if header_bytes >= 0x80 || header_bytes < field + 2 || field >= 8 {
        return Quick::Unsure;
    }
    let mut types = u64::from_le_bytes(*types);
    let long_types = types & 0x8080_8080_8080_8080 & (u64::MAX >> (56 - 8 * field));
    let mut content = start + header_bytes;
    for _ in 0..field {
        content += SMALL_FIELD_BYTES[(types & 0x7f) as usize] as usize;
        types >>= 8;
    }
    let serial_type = (types & 0x7f) as usize;
    let Some(raw) = page.get(content..content + 8).and_then(|b| b.first_chunk::<8>()) else {
        return Quick::Unsure;
    };
    let content_end = content + SMALL_FIELD_BYTES[serial_type] as usize;
    if long_types != 0 || serial_type > 9 || serial_type == 6 || content_end > end {
        return Quick::Unsure;
    }
    let shape = NUMBER_SHAPES[serial_type];
    let raw = u64::from_be_bytes(*raw);
    // An integer of up to 48 bits is exact as a double.
    let int = ((raw as i64) >> shape.shift & shape.keep) + shape.add;
    let is_real = u64::from(serial_type == 7).wrapping_neg(); // all bits or none
    let number = f64::from_bits(raw & is_real | (int as f64).to_bits() & !is_real);
    // A stored NaN is a NULL, and is in no range.
    let passes = (low <= number) & (number <= high) & shape.is_number;
    if passes { Quick::Passed } else { Quick::Rejected }
}

fn tests_quick(tests: &[FieldTest<'_>], record: &[u8]) -> Quick {
    let Some(&header_bytes) = record.first() else { return Quick::Unsure };
    let Some(header) = record.get(1..header_bytes as usize).filter(|_| header_bytes < 0x80) else {
        return Quick::Unsure;
    };
    let mut field = 0;
    let mut header_at = 0;
    let mut content = header_bytes as usize;
    let mut current = None; // the type and start of the field before `field`
    for test in tests {
        while field <= test.field {
            let serial_type = match header[header_at.min(header.len())..] {
                [a, ..] if a < 0x80 => {
                    header_at += 1;
                    u32::from(a)
                }
                [a, b, ..] if b < 0x80 => {
                    header_at += 2;
                    u32::from(a & 0x7f) << 7 | u32::from(b)
                }
                _ => return Quick::Unsure,
            };
            current = Some((serial_type, content));
            content += field_bytes(serial_type);
            field += 1;
        }
        let Some((serial_type, start)) = current else { return Quick::Unsure };
        let Some(bytes) = record.get(start..content) else { return Quick::Unsure };
        match test.condition.holds(serial_type, bytes) {
            Some(true) => {}
            Some(false) => return Quick::Rejected,
            None => return Quick::Unsure,
        }
    }
    Quick::Passed
}

impl Condition<'_> {
    /// None when the field is of another kind than the test is for.
    #[inline]
    fn holds(&self, serial_type: u32, bytes: &[u8]) -> Option<bool> {
        if serial_type == 0 {
            return Some(matches!(self, Self::Null));
        }
        let is_text = serial_type >= 13 && serial_type % 2 == 1;
        match self {
            // A real might be a NaN, which is a NULL.
            Self::Null | Self::NotNull if serial_type == 7 || serial_type == 10 || serial_type == 11 => None,
            Self::Null => Some(false),
            Self::NotNull => Some(true),
            Self::Range { low, high, negated } => {
                let number = match serial_type {
                    7 => f64::from_be_bytes(*bytes.first_chunk()?),
                    1..=5 | 8 | 9 => crate::record::decode_int(serial_type, bytes)? as f64,
                    _ => return None,
                };
                Some(((*low..=*high).contains(&number) != *negated) && !number.is_nan())
            }
            Self::Text { text, negated } => is_text.then(|| (*text == bytes) != *negated),
            Self::Like { pattern, negated } => is_text.then(|| pattern.matches(bytes) != *negated),
        }
    }
}

fn field_of(expr: &Expr, layout: &Layout) -> Option<usize> {
    let source = match expr {
        Expr::Column(column) => &layout.columns[*column],
        Expr::Rowid => &layout.rowid,
        _ => return None,
    };
    match source {
        ColumnSource::Field { index, .. } => Some(*index),
        _ => None,
    }
}

fn field_test<'p>(expr: &'p Expr, layout: &Layout) -> Option<FieldTest<'p>> {
    let (column, condition) = match expr {
        Expr::IsNull { value, negated } => {
            (&**value, if *negated { Condition::NotNull } else { Condition::Null })
        }
        Expr::Compare(op, terms, sides) => {
            let (column, op, constant) = match &**sides {
                [column, Expr::Constant(constant)] => (column, *op, constant),
                [Expr::Constant(constant), column] => (column, op.mirrored(), constant),
                _ => return None,
            };
            // Under TEXT affinity a number in the column would become a text; leave that aside.
            let condition = match constant {
                Value::Int(_) | Value::Real(_) if terms.affinity != Affinity::Text => range(op, constant)?,
                Value::Text(text) if terms.collation == Collation::Binary => match op {
                    Comparison::Equal => Condition::Text { text, negated: false },
                    Comparison::NotEqual => Condition::Text { text, negated: true },
                    _ => return None,
                },
                _ => return None,
            };
            // A text in a column may be a number to a numeric comparison: only numbers are compared
            // with numbers here, and texts with texts where no conversion can happen.
            if matches!(condition, Condition::Text { .. }) && terms.affinity.is_numeric() {
                return None;
            }
            (column, condition)
        }
        Expr::Like(like) => {
            let condition = Condition::Like { pattern: like.compiled.as_ref()?, negated: like.negated };
            (&like.value, condition)
        }
        _ => return None,
    };
    Some(FieldTest { field: field_of(column, layout)?, condition })
}

/// `column OP constant` as a closed range of doubles, if the constant is one exactly.
fn range<'p>(op: Comparison, constant: &Value<'_>) -> Option<Condition<'p>> {
    let bound = match constant {
        Value::Int(i) if i.unsigned_abs() <= 1 << 53 => *i as f64,
        Value::Real(r) => *r,
        _ => return None,
    };
    let (low, high) = match op {
        Comparison::Equal | Comparison::NotEqual => (bound, bound),
        Comparison::Less => (f64::NEG_INFINITY, bound.next_down()),
        Comparison::LessEqual => (f64::NEG_INFINITY, bound),
        Comparison::Greater => (bound.next_up(), f64::INFINITY),
        Comparison::GreaterEqual => (bound, f64::INFINITY),
        Comparison::Is | Comparison::IsNot => return None,
    };
    // No double is less than the least one: an empty range must stay empty.
    if (op == Comparison::Less && bound == f64::NEG_INFINITY)
        || (op == Comparison::Greater && bound == f64::INFINITY)
    {
        return None;
    }
    Some(Condition::Range { low, high, negated: op == Comparison::NotEqual })
}

/// Two ranges of one field become their intersection.
fn add_test<'p>(tests: &mut Vec<FieldTest<'p>>, new: FieldTest<'p>) {
    if let Condition::Range { low, high, negated: false } = new.condition {
        for test in tests.iter_mut().filter(|test| test.field == new.field) {
            if let Condition::Range { low: known_low, high: known_high, negated: false } = &mut test.condition
            {
                *known_low = known_low.max(low);
                *known_high = known_high.min(high);
                return;
            }
        }
    }
    tests.push(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of (serial type, content) fields.
    fn record(fields: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![fields.len() as u8 + 1];
        bytes.extend(fields.iter().map(|(serial_type, _)| serial_type));
        for (_, content) in fields {
            bytes.extend_from_slice(content);
        }
        bytes
    }

    fn both_ways(low: f64, high: f64, negated: bool, field: usize, record: &[u8]) -> Quick {
        let test = FieldTest { field, condition: Condition::Range { low, high, negated } };
        let walked = tests_quick(&[test], record);
        let mut page = record.to_vec();
        page.extend_from_slice(&[0; 16]);
        if !negated {
            assert_eq!(walked, range_quick(&page, 0..record.len(), field, low, high), "{record:?}");
        }
        walked
    }

    #[test]
    fn ranges() {
        let real = 81.5f64.to_be_bytes();
        let nan = f64::NAN.to_be_bytes();
        let above_80 =
            |field: usize, record: &[u8]| both_ways(80.0f64.next_up(), f64::INFINITY, false, field, record);
        assert_eq!(above_80(0, &record(&[(7, &real)])), Quick::Passed);
        assert_eq!(above_80(1, &record(&[(15, b"a"), (7, &real), (1, &[3])])), Quick::Passed);
        assert_eq!(above_80(0, &record(&[(1, &[80])])), Quick::Rejected);
        assert_eq!(above_80(0, &record(&[(1, &[0x80])])), Quick::Rejected);
        assert_eq!(above_80(0, &record(&[(2, &[0, 81])])), Quick::Passed);
        assert_eq!(above_80(0, &record(&[(3, &[1, 0, 0])])), Quick::Passed);
        assert_eq!(above_80(0, &record(&[(5, &[0xff; 6])])), Quick::Rejected);
        assert_eq!(above_80(0, &record(&[(9, &[])])), Quick::Rejected);
        assert_eq!(above_80(0, &record(&[(0, &[])])), Quick::Rejected);
        assert_eq!(above_80(0, &record(&[(7, &nan)])), Quick::Rejected);
        assert_eq!(above_80(0, &record(&[(15, b"z")])), Quick::Unsure);
        assert_eq!(above_80(0, &record(&[(6, &[0; 8])])), Quick::Unsure);
        assert_eq!(above_80(3, &record(&[(1, &[1])])), Quick::Unsure);
        assert_eq!(both_ways(5.0, 5.0, true, 0, &record(&[(1, &[5])])), Quick::Rejected);
        assert_eq!(both_ways(5.0, 5.0, true, 0, &record(&[(1, &[6])])), Quick::Passed);
        assert_eq!(both_ways(5.0, 5.0, true, 0, &record(&[(0, &[])])), Quick::Rejected);
        assert_eq!(both_ways(5.0, 5.0, true, 0, &record(&[(7, &nan)])), Quick::Rejected);
    }

    #[test]
    fn several_tests_in_one_walk() {
        let pattern = Pattern::like(b"%x%", None).unwrap();
        let tests = [
            FieldTest { field: 1, condition: Condition::NotNull },
            FieldTest { field: 1, condition: Condition::Text { text: b"ab", negated: false } },
            FieldTest { field: 3, condition: Condition::Like { pattern: &pattern, negated: false } },
        ];
        let run = |second: (u8, &'static [u8]), fourth: (u8, &'static [u8])| {
            tests_quick(&tests, &record(&[(1, &[1]), second, (8, &[]), fourth]))
        };
        assert_eq!(run((17, b"ab"), (17, b"xy")), Quick::Passed);
        assert_eq!(run((17, b"ab"), (17, b"yy")), Quick::Rejected);
        assert_eq!(run((17, b"ac"), (17, b"xy")), Quick::Rejected);
        assert_eq!(run((0, b""), (17, b"xy")), Quick::Rejected);
        assert_eq!(run((17, b"ab"), (1, b"x")), Quick::Unsure);
        assert_eq!(run((17, b"ab"), (19, b"x")), Quick::Unsure);
    }
}
