//! Answers as text: JSON lines (the canonical form) and CSV.

use std::borrow::Cow;

use crate::number::write_shortest_real;
use crate::value::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Csv,
}

impl Format {
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// The line before the rows, if this format has one.
    pub fn header(self, names: &[String], out: &mut Vec<u8>) {
        if self == Self::Csv {
            for (i, name) in names.iter().enumerate() {
                self.separate(i, out);
                csv_field(name.as_bytes(), out);
            }
            out.push(b'\n');
        }
    }

    /// What stands before value number `index` of a row.
    #[inline]
    pub fn separate(self, index: usize, out: &mut Vec<u8>) {
        match (self, index) {
            (Self::Json, 0) => out.push(b'['),
            (Self::Csv, 0) => {}
            _ => out.push(b','),
        }
    }

    #[inline]
    pub fn value(self, value: &Value<'_>, out: &mut Vec<u8>) {
        match (self, value) {
            (Self::Json, Value::Null) => out.extend_from_slice(b"null"),
            (Self::Csv, Value::Null) => {}
            (_, Value::Int(i)) => out.extend_from_slice(itoa::Buffer::new().format(*i).as_bytes()),
            (_, Value::Real(r)) => write_shortest_real(*r, out),
            (Self::Json, Value::Text(text)) => json_string(text, out),
            (Self::Csv, Value::Text(text)) => csv_text(text, out),
            (Self::Json, Value::Blob(blob)) => {
                out.extend_from_slice(b"{\"blob\":\"");
                hex(blob, out);
                out.extend_from_slice(b"\"}");
            }
            (Self::Csv, Value::Blob(blob)) => {
                out.extend_from_slice(b"x'");
                hex(blob, out);
                out.push(b'\'');
            }
        }
    }

    #[inline]
    pub fn end_row(self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self == Self::Json { b"]\n" } else { b"\n" });
    }
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]));
}

/// Broken UTF-8 becomes U+FFFD, one for each maximal broken part, as browsers and Python do it.
fn json_string(text: &[u8], out: &mut Vec<u8>) {
    let text = match std::str::from_utf8(text) {
        Ok(_) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(String::from_utf8_lossy(text).into_owned().into_bytes()),
    };
    out.push(b'"');
    let mut plain_from = 0;
    for (at, &byte) in text.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text[plain_from..at]);
        plain_from = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                out.extend_from_slice(b"\\u00");
                hex(&[control], out);
            }
        }
    }
    out.extend_from_slice(&text[plain_from..]);
    out.push(b'"');
}

/// A text value: empty text is `""`, to tell it from NULL.
fn csv_text(text: &[u8], out: &mut Vec<u8>) {
    if text.is_empty() { out.extend_from_slice(b"\"\"") } else { csv_field(text, out) }
}

fn csv_field(text: &[u8], out: &mut Vec<u8>) {
    if !text.iter().any(|b| matches!(b, b',' | b'"' | b'\n' | b'\r')) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for part in text.split_inclusive(|&b| b == b'"') {
        out.extend_from_slice(part);
        if part.ends_with(b"\"") {
            out.push(b'"');
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(format: Format, value: &Value<'_>) -> String {
        let mut out = Vec::new();
        format.value(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_values() {
        let cases = [
            (Value::Null, "null"),
            (Value::Int(i64::MIN), "-9223372036854775808"),
            (Value::Real(2.0), "2.0"),
            (
                Value::text(&b"a\"b\\c\x08\x0c\n\r\t\x01\x1f/\x7f"[..]),
                "\"a\\\"b\\\\c\\b\\f\\n\\r\\t\\u0001\\u001f/\x7f\"",
            ),
            (Value::text("é€😀".as_bytes()), "\"é€😀\""),
            (
                Value::text(&b"a\xffb\xe2\x82c\xed\xa0\x80"[..]),
                "\"a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}\u{fffd}\"",
            ),
            (Value::blob(&b"\x00\xab"[..]), "{\"blob\":\"00ab\"}"),
        ];
        for (value, expected) in cases {
            assert_eq!(rendered(Format::Json, &value), expected);
        }
    }

    #[test]
    fn csv_values() {
        let cases = [
            (Value::Null, ""),
            (Value::text(&b""[..]), "\"\""),
            (Value::text(&b"a b"[..]), "a b"),
            (Value::text(&b"a,b"[..]), "\"a,b\""),
            (Value::text(&b"say \"x\""[..]), "\"say \"\"x\"\"\""),
            (Value::text(&b"two\nlines"[..]), "\"two\nlines\""),
            (Value::blob(&b"\x0f"[..]), "x'0f'"),
        ];
        for (value, expected) in cases {
            assert_eq!(rendered(Format::Csv, &value), expected);
        }
    }
}
