//! One record: its fields, its quotes, and what RFC 4180 says about both.

use std::borrow::Cow;

use crate::decimal::{self, Decimal, NotNumber};

/// One row of the input. The last field end is the end of its text, in front of CR LF.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    pub buffer: &'a [u8],
    pub start: usize,
    pub field_ends: &'a [u32],
}

impl<'a> Record<'a> {
    pub fn end(&self) -> usize {
        self.field_ends[self.field_ends.len() - 1] as usize
    }

    pub fn text(&self) -> &'a [u8] {
        &self.buffer[self.start..self.end()]
    }

    /// An empty line is no record.
    pub fn is_blank(&self) -> bool {
        self.field_ends.len() == 1 && self.end() == self.start
    }

    /// A field as it stands in the file, quotes and all.
    #[inline]
    fn raw_field(&self, column: usize) -> (usize, usize) {
        let start = match column {
            0 => self.start,
            _ => self.field_ends[column - 1] as usize + 1,
        };
        (start, self.field_ends[column] as usize)
    }

    /// The value of a field: without its quotes, and with doubled quotes made single.
    #[inline]
    pub fn field(&self, column: usize) -> Cow<'a, [u8]> {
        let (start, end) = self.raw_field(column);
        match &self.buffer[start..end] {
            [b'"', inner @ .., b'"'] => unquoted(inner),
            plain => Cow::Borrowed(plain),
        }
    }

    /// Appends the value of a field.
    #[inline]
    pub fn push_field(&self, column: usize, out: &mut Vec<u8>) {
        let (start, end) = self.raw_field(column);
        let length = end - start;
        match self.buffer[start..].first_chunk::<16>() {
            // A copy of fixed length, cut afterwards, is a pair of instructions.
            Some(sixteen) if length <= 16 && sixteen[0] != b'"' => {
                out.extend_from_slice(sixteen);
                out.truncate(out.len() - 16 + length);
            }
            _ => out.extend_from_slice(&self.field(column)),
        }
    }

    /// A field as a number; quotes around a number do not change it.
    #[inline]
    pub fn number(&self, column: usize) -> Result<Decimal, NotNumber> {
        let (mut start, mut end) = self.raw_field(column);
        if start < end && self.buffer[start] == b'"' {
            start += 1;
            end -= 1;
        }
        decimal::parse_at(self.buffer, start, end)
    }
}

fn unquoted(inner: &[u8]) -> Cow<'_, [u8]> {
    if !inner.contains(&b'"') {
        return Cow::Borrowed(inner);
    }
    let mut value = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        value.push(byte);
        if byte == b'"' {
            bytes.next(); // the second of a pair
        }
    }
    Cow::Owned(value)
}

/// How the exact parser left a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    WellFormed,
    TextAfterQuote,
    UnterminatedQuote,
    NeedsMoreText,
}

/// Reads the one record at the front of a text by the letter of RFC 4180. This
/// is the definition; the scan is the fast way to the same answer. `field_ends`
/// are filled in, and the result says where the next record starts. With
/// `at_end` the text is all there is.
pub fn exact_record(
    text: &[u8],
    at_end: bool,
    delimiter: u8,
    field_ends: &mut Vec<u32>,
) -> (usize, Outcome) {
    use Outcome::{NeedsMoreText, UnterminatedQuote, WellFormed};
    field_ends.clear();
    let mut at = 0;
    loop {
        if text.get(at) == Some(&b'"') {
            match closing_quote(text, at + 1) {
                Some(behind) => at = behind,
                None if at_end => return (0, UnterminatedQuote),
                None => return (0, NeedsMoreText),
            }
            let rest = &text[at..];
            if !at_end && matches!(rest, [] | [b'\r']) {
                return (0, NeedsMoreText);
            }
            if rest.starts_with(b"\r\n") {
                field_ends.push(at as u32);
                return (at + 2, WellFormed);
            }
            if !rest.is_empty() && rest[0] != delimiter && rest[0] != b'\n' {
                return after_broken_quote(text, at, at_end, field_ends);
            }
        } else {
            let rest = text[at..].iter();
            at += rest
                .take_while(|&&byte| byte != delimiter && byte != b'\n')
                .count();
        }
        match text.get(at) {
            None if !at_end => return (0, NeedsMoreText),
            None => {
                field_ends.push(at as u32);
                return (at, WellFormed);
            }
            Some(b'\n') => {
                field_ends.push(line_text_end(text, at) as u32);
                return (at + 1, WellFormed);
            }
            Some(_) => field_ends.push(at as u32),
        }
        at += 1;
    }
}

/// The byte behind the quote that ends a quoted field. A quote that ends the text
/// counts as the closing one: the caller decides.
fn closing_quote(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += find(&text[at..], b'"')? + 1;
        if text.get(at) != Some(&b'"') {
            return Some(at);
        }
        at += 1;
    }
}

/// Resyncs at the next line end; quotes on the way mean nothing.
fn after_broken_quote(
    text: &[u8],
    at: usize,
    at_end: bool,
    field_ends: &mut Vec<u32>,
) -> (usize, Outcome) {
    match find(&text[at..], b'\n') {
        Some(length) => {
            field_ends.push(line_text_end(text, at + length) as u32);
            (at + length + 1, Outcome::TextAfterQuote)
        }
        None if at_end => {
            field_ends.push(text.len() as u32);
            (text.len(), Outcome::TextAfterQuote)
        }
        None => (0, Outcome::NeedsMoreText),
    }
}

fn find(text: &[u8], wanted: u8) -> Option<usize> {
    text.iter().position(|&byte| byte == wanted)
}

/// Steps back over the CR of a CR LF.
fn line_text_end(text: &[u8], line_feed: usize) -> usize {
    line_feed - usize::from(text[..line_feed].ends_with(b"\r"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of the first record, and what follows it.
    fn fields(text: &[u8]) -> (Vec<Vec<u8>>, &[u8], Outcome) {
        let mut field_ends = Vec::new();
        let (next, outcome) = exact_record(text, true, b',', &mut field_ends);
        let row = Record {
            buffer: text,
            start: 0,
            field_ends: &field_ends,
        };
        let columns = 0..field_ends.len();
        let values = columns
            .map(|column| row.field(column).into_owned())
            .collect();
        (values, &text[next..], outcome)
    }

    #[test]
    fn records_by_the_letter() {
        for (text, expected, rest) in [
            (&b"a,b\nc"[..], &[&b"a"[..], b"b"][..], &b"c"[..]),
            (b"a,b\r\nc", &[b"a", b"b"], b"c"),
            (b"a,b", &[b"a", b"b"], b""),
            (b"a,\r", &[b"a", b"\r"], b""),
            (b"x\ry,\n", &[b"x\ry", b""], b""),
            (b"x\r\r\n", &[b"x\r"], b""),
            (b"\"a,b\",\"\"\n", &[b"a,b", b""], b""),
            (b"\"a\r\nb\"\r\n", &[b"a\r\nb"], b""),
            (b"\"say \"\"hi\"\"\",1", &[b"say \"hi\"", b"1"], b""),
            (b"\"\"\"\"\n", &[b"\""], b""),
            (b"5\" disk,a\"\"b\n", &[b"5\" disk", b"a\"\"b"], b""),
            (b"\n\n", &[b""], b"\n"),
        ] {
            let shown = text.escape_ascii().to_string();
            let (values, behind, outcome) = fields(text);
            assert_eq!(values, expected, "{shown}");
            assert_eq!(behind, rest, "{shown}");
            assert_eq!(outcome, Outcome::WellFormed, "{shown}");
        }
    }

    #[test]
    fn broken_quotes_resync_at_the_next_line_end() {
        for (text, rest, expected) in [
            (
                &b"\"a\"b,\"c\nd\",e\nf"[..],
                &b"d\",e\nf"[..],
                Outcome::TextAfterQuote,
            ),
            (b"x,\"a\" \r\ny", b"y", Outcome::TextAfterQuote),
            (b"\"a\"\r", b"", Outcome::TextAfterQuote),
            (b"\"a\"\rb\n", b"", Outcome::TextAfterQuote),
            (b"x,\"abc\n", b"x,\"abc\n", Outcome::UnterminatedQuote),
            (b"\"\"\"", b"\"\"\"", Outcome::UnterminatedQuote),
        ] {
            let mut field_ends = Vec::new();
            let (next, outcome) = exact_record(text, true, b',', &mut field_ends);
            assert_eq!(outcome, expected, "{:?}", text.escape_ascii().to_string());
            assert_eq!(&text[next..], rest, "{:?}", text.escape_ascii().to_string());
        }
    }

    #[test]
    fn no_cut_text_is_taken_for_a_record() {
        let text = b"a\r,\"b\"\"c\r\n\",\"d\"\r\n";
        for length in 0..text.len() {
            let mut field_ends = Vec::new();
            let (_, outcome) = exact_record(&text[..length], false, b',', &mut field_ends);
            assert_eq!(outcome, Outcome::NeedsMoreText, "{length}");
        }
    }
}
