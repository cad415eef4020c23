//! The answer in canonical form.

use std::io::Write;

use crate::aggregate::ColumnState;
use crate::failure::Result;
use crate::groups::{GroupTable, KeyFields};
use crate::output::{ANSWER_BLOCK_BYTES, AnswerWriter};
use crate::plan::{Function, Plan, PlannedAggregate};

/// How many fraction digits a mean has beyond its column.
const MEAN_EXTRA_DIGITS: usize = 6;
const MEAN_UNIT: u128 = 1_000_000;

/// Writes all groups in the order of the answer.
pub fn render_answer(
    out: &mut AnswerWriter,
    plan: &Plan,
    table: &GroupTable,
    as_json: bool,
) -> Result<()> {
    let mut renderer = Renderer {
        plan,
        as_json,
        text: Vec::with_capacity(ANSWER_BLOCK_BYTES),
    };
    if !as_json {
        renderer.header();
    }
    for number in table.sorted(plan.group_columns.len()) {
        if renderer.text.len() >= ANSWER_BLOCK_BYTES {
            out.write(&renderer.text)?;
            renderer.text.clear();
        }
        renderer.group(table, number as usize);
    }
    out.write(&renderer.text)
}

struct Renderer<'a> {
    plan: &'a Plan,
    as_json: bool,
    text: Vec<u8>,
}

impl Renderer<'_> {
    fn header(&mut self) {
        let names = &self.plan.output_names;
        for (position, name) in names.iter().enumerate() {
            self.separator(position);
            push_csv_field(&mut self.text, name, names.len() == 1);
        }
        self.text.push(b'\n');
    }

    fn separator(&mut self, position: usize) {
        if position > 0 {
            self.text.push(b',');
        }
    }

    /// One line: the fields of the key, then the aggregates.
    fn group(&mut self, table: &GroupTable, number: usize) {
        let only_column = self.plan.output_names.len() == 1;
        let key_columns = self.plan.group_columns.len();
        if self.as_json {
            self.text.push(b'{');
        }
        let fields = KeyFields::new(table.key(number), key_columns);
        for (position, field) in fields.enumerate() {
            self.name(position);
            if self.as_json {
                push_json_string(&mut self.text, field);
            } else {
                push_csv_field(&mut self.text, field, only_column);
            }
        }
        for (i, &aggregate) in self.plan.aggregates.iter().enumerate() {
            self.name(key_columns + i);
            self.aggregate(aggregate, table, number, only_column);
        }
        if self.as_json {
            self.text.push(b'}');
        }
        self.text.push(b'\n');
    }

    /// What stands in front of a value: a comma, and in JSON the name.
    fn name(&mut self, position: usize) {
        self.separator(position);
        if self.as_json {
            push_json_string(&mut self.text, &self.plan.output_names[position]);
            self.text.push(b':');
        }
    }

    fn aggregate(
        &mut self,
        aggregate: PlannedAggregate,
        table: &GroupTable,
        number: usize,
        only_column: bool,
    ) {
        let Some(slot) = aggregate.slot else {
            return self.whole_number(table.rows(number));
        };
        let state = &table.states(number)[slot];
        if aggregate.function == Function::Count {
            return self.whole_number(state.count);
        }
        if state.count == 0 {
            let nothing = match (self.as_json, only_column) {
                (true, _) => "null",
                (false, true) => "\"\"",
                (false, false) => "",
            };
            return self.text.extend_from_slice(nothing.as_bytes());
        }
        let value = match aggregate.function {
            Function::Mean => return push_mean(&mut self.text, state),
            Function::Min => state.min().at_scale(state.scale),
            Function::Max => state.max().at_scale(state.scale),
            Function::Sum | Function::Count => state.sum,
        };
        let digits = value.unsigned_abs().to_string();
        push_scaled(&mut self.text, &digits, state.scale.into(), value < 0);
    }

    fn whole_number(&mut self, value: u64) {
        let written = write!(self.text, "{value}");
        debug_assert!(written.is_ok(), "a Vec takes all bytes");
    }
}

/// sum / count, rounded half to even. The quotient is made in two parts, whole
/// units of the scale and six digits below, because sum x 10^6 may not fit.
fn push_mean(out: &mut Vec<u8>, state: &ColumnState) {
    let (magnitude, count) = (state.sum.unsigned_abs(), u128::from(state.count));
    let mut whole = magnitude / count;
    let part = magnitude % count * MEAN_UNIT;
    let (mut below, twice_left) = (part / count, part % count * 2);
    if twice_left > count || twice_left == count && below % 2 == 1 {
        below += 1;
    }
    if below == MEAN_UNIT {
        below = 0;
        whole += 1;
    }
    let digits = format!("{whole}{below:06}");
    let scale = usize::from(state.scale) + MEAN_EXTRA_DIGITS;
    push_scaled(out, &digits, scale, state.sum < 0);
}

/// Puts the point in front of the last `scale` digits. Zero has no sign.
fn push_scaled(out: &mut Vec<u8>, digits: &str, scale: usize, negative: bool) {
    let digits = digits.trim_start_matches('0');
    if negative && !digits.is_empty() {
        out.push(b'-');
    }
    let whole = digits.len().saturating_sub(scale);
    let (whole_digits, fraction_digits) = digits.split_at(whole);
    let whole_digits = if whole == 0 { "0" } else { whole_digits };
    out.extend_from_slice(whole_digits.as_bytes());
    if scale > 0 {
        out.push(b'.');
        out.resize(out.len() + scale - fraction_digits.len(), b'0');
        out.extend_from_slice(fraction_digits.as_bytes());
    }
}

/// Quotes only what must be quoted.
fn push_csv_field(out: &mut Vec<u8>, field: &[u8], only_column: bool) {
    let needs_quotes = field.iter().any(|byte| b",\"\r\n".contains(byte));
    if !(needs_quotes || field.is_empty() && only_column) {
        return out.extend_from_slice(field);
    }
    out.push(b'"');
    for &byte in field {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Valid UTF-8 as a JSON string.
fn push_json_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        let escaped: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x08 => b"\\b",
            0x0c => b"\\f",
            0..0x20 => {
                let digits = b"0123456789abcdef";
                let (high, low) = (
                    digits[usize::from(byte >> 4)],
                    digits[usize::from(byte & 15)],
                );
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
                continue;
            }
            _ => &[byte],
        };
        out.extend_from_slice(escaped);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_point_is_put_in_and_zero_has_no_sign() {
        for (digits, scale, negative, expected) in [
            ("0", 0, true, "0"),
            ("0", 2, true, "0.00"),
            ("5", 2, true, "-0.05"),
            ("150", 2, false, "1.50"),
            ("0150", 2, false, "1.50"),
            ("15", 2, false, "0.15"),
            ("150", 0, true, "-150"),
            ("1", 18, false, "0.000000000000000001"),
        ] {
            assert_eq!(
                shown(|out| push_scaled(out, digits, scale, negative)),
                expected
            );
        }
    }

    #[test]
    fn means_round_half_to_even() {
        for (sum, count, scale, expected) in [
            (1, 3, 0, "0.333333"),
            (2, 3, 0, "0.666667"),
            (-2, 3, 0, "-0.666667"),
            (1, 128, 0, "0.007812"),
            (3, 128, 0, "0.023438"),
            (-1, 10_000_000, 0, "0.000000"),
            (400, 2, 2, "2.00000000"),
            (19_999_999, 10_000_000, 0, "2.000000"),
            (
                i128::MAX,
                1,
                18,
                "170141183460469231731.687303715884105727000000",
            ),
            (
                i128::MIN,
                1,
                0,
                "-170141183460469231731687303715884105728.000000",
            ),
        ] {
            let mut state = ColumnState::default();
            (state.sum, state.count, state.scale) = (sum, count, scale);
            assert_eq!(shown(|out| push_mean(out, &state)), expected);
        }
    }

    #[test]
    fn fields_are_quoted_only_where_needed() {
        for (field, only_column, expected) in [
            ("a b;c", false, "a b;c"),
            ("a,b", false, "\"a,b\""),
            ("a\"b", false, "\"a\"\"b\""),
            ("a\rb", true, "\"a\rb\""),
            ("", false, ""),
            ("", true, "\"\""),
        ] {
            assert_eq!(
                shown(|out| push_csv_field(out, field.as_bytes(), only_column)),
                expected
            );
        }
    }

    #[test]
    fn json_strings_escape_control_characters() {
        let text = "a\"\\/\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}é";
        let expected = "\"a\\\"\\\\/\\n\\r\\t\\b\\f\\u0001\\u001f\u{7f}é\"";
        assert_eq!(
            shown(|out| push_json_string(out, text.as_bytes())),
            expected
        );
    }
}
