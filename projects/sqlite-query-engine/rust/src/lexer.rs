//! SQL text to tokens. Every token knows its place in the text, for messages and column names.

use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bare word: a keyword or a name.
    Word,
    /// A name in `"double quotes"`: a string, if no column has this name.
    DoubleQuoted,
    /// A name in `[brackets]` or `` `backticks` ``.
    Quoted,
    String,
    Blob,
    Integer,
    Hex,
    Real,
    /// An operator or a punctuation mark.
    Symbol,
    End,
}

#[derive(Clone, Copy, Debug)]
pub struct Token<'s> {
    pub kind: Kind,
    pub text: &'s str,
    pub start: usize,
    /// A bare word directly followed by another token keeps its end for the text of expressions.
    pub end: usize,
}

impl Token<'_> {
    pub fn is_keyword(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    pub fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }

    /// The content of a quoted token, with doubled quotes undone; other tokens as they are.
    pub fn unquoted(&self) -> String {
        let inner = || &self.text[1..self.text.len() - 1];
        match self.text.as_bytes().first() {
            Some(b'[') => inner().to_owned(),
            Some(b'"') => inner().replace("\"\"", "\""),
            Some(b'`') => inner().replace("``", "`"),
            Some(b'\'') => inner().replace("''", "'"),
            _ => self.text.to_owned(),
        }
    }
}

/// Cuts the whole text into tokens; the last one is `End`.
pub fn tokens(sql: &str) -> Result<Vec<Token<'_>>> {
    let mut found = Vec::with_capacity(32);
    let mut at = 0;
    while let Some(length) = blank_bytes(&sql[at..]) {
        at += length;
        if at == sql.len() {
            break;
        }
        let (kind, length) = token(&sql.as_bytes()[at..]);
        let text = whole_chars(sql, at, length);
        let Some(kind) = kind else {
            return Err(Error::input(format!("unrecognized token: \"{text}\"")));
        };
        found.push(Token { kind, text, start: at, end: at + text.len() });
        at += text.len();
    }
    found.push(Token { kind: Kind::End, text: "", start: sql.len(), end: sql.len() });
    Ok(found)
}

/// A token ends between characters: bytes of 128 and more only occur in words and in quotes.
fn whole_chars(sql: &str, at: usize, length: usize) -> &str {
    let mut end = (at + length).min(sql.len());
    while !sql.is_char_boundary(end) {
        end += 1;
    }
    &sql[at..end]
}

/// Length of the spaces and comments at the start (0 if there are none).
#[allow(clippy::unnecessary_wraps)] // the caller's loop reads better with it
fn blank_bytes(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        match &bytes[at..] {
            [b' ' | b'\t' | b'\n' | b'\r' | 0x0c, ..] => at += 1,
            [b'-', b'-', rest @ ..] => at += 2 + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()),
            // An unclosed comment runs to the end, as in SQLite.
            [b'/', b'*', rest @ ..] => {
                at += 2 + memchr::memmem::find(rest, b"*/").map_or(rest.len(), |n| n + 2);
            }
            _ => return Some(at),
        }
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn word_bytes(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|&&b| is_word_byte(b)).count()
}

/// Kind (None for what is no token) and length of the token at the start.
fn token(bytes: &[u8]) -> (Option<Kind>, usize) {
    match bytes {
        [b'x' | b'X', b'\'', rest @ ..] => {
            let digits = rest.iter().take_while(|b| b.is_ascii_hexdigit()).count();
            let closed = rest.get(digits) == Some(&b'\'');
            let length = if closed {
                digits + 3
            } else {
                rest.iter().position(|&b| b == b'\'').map_or(bytes.len(), |n| n + 3)
            };
            ((closed && digits % 2 == 0).then_some(Kind::Blob), length)
        }
        [quote @ (b'\'' | b'"' | b'`'), rest @ ..] => quoted(*quote, rest),
        [b'[', rest @ ..] => match rest.iter().position(|&b| b == b']') {
            Some(end) => (Some(Kind::Quoted), end + 2),
            None => (None, bytes.len()),
        },
        [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => number(bytes),
        [first, ..] if is_word_byte(*first) && *first != b'$' => (Some(Kind::Word), word_bytes(bytes)),
        _ => symbol(bytes),
    }
}

fn quoted(quote: u8, rest: &[u8]) -> (Option<Kind>, usize) {
    let kind = match quote {
        b'\'' => Kind::String,
        b'"' => Kind::DoubleQuoted,
        _ => Kind::Quoted,
    };
    let mut at = 0;
    while let Some(found) = memchr::memchr(quote, &rest[at..]) {
        at += found + 1;
        if rest.get(at) != Some(&quote) {
            return (Some(kind), at + 1);
        }
        at += 1;
    }
    (None, rest.len() + 1)
}

fn number(bytes: &[u8]) -> (Option<Kind>, usize) {
    if let [b'0', b'x' | b'X', digit, ..] = bytes
        && digit.is_ascii_hexdigit()
    {
        let length = 2 + bytes[2..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
        return end_of_number(bytes, Kind::Hex, length);
    }
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut kind = Kind::Integer;
    let mut length = digits(0);
    if bytes.get(length) == Some(&b'.') {
        kind = Kind::Real;
        length += 1;
        length += digits(length);
    }
    if let [b'e' | b'E', rest @ ..] = &bytes[length..] {
        let sign = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
        if rest.get(sign).is_some_and(u8::is_ascii_digit) {
            kind = Kind::Real;
            length += 1 + sign;
            length += digits(length);
        }
    }
    end_of_number(bytes, kind, length)
}

/// A number that runs into a word, as in `1a`, is no token.
fn end_of_number(bytes: &[u8], kind: Kind, length: usize) -> (Option<Kind>, usize) {
    match word_bytes(&bytes[length..]) {
        0 => (Some(kind), length),
        more => (None, length + more),
    }
}

fn symbol(bytes: &[u8]) -> (Option<Kind>, usize) {
    let length = match bytes {
        [b'-', b'>', b'>', ..] => 3,
        [b'<', b'=' | b'>' | b'<', ..]
        | [b'>', b'=' | b'>', ..]
        | [b'=' | b'!', b'=', ..]
        | [b'|', b'|', ..]
        | [b'-', b'>', ..] => 2,
        [
            b'(' | b')' | b',' | b'.' | b';' | b'*' | b'+' | b'-' | b'/' | b'%' | b'<' | b'>' | b'=' | b'&'
            | b'|' | b'~' | b'?',
            ..,
        ] => 1,
        _ => return (None, 1),
    };
    (Some(Kind::Symbol), length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(sql: &str) -> Vec<(Kind, String)> {
        tokens(sql).unwrap().iter().map(|t| (t.kind, t.unquoted())).collect()
    }

    #[test]
    fn all_kinds() {
        let expected = [
            (Kind::Word, "a"),
            (Kind::DoubleQuoted, "b\"c"),
            (Kind::Quoted, "d e"),
            (Kind::Quoted, "f"),
            (Kind::String, "g'h"),
            (Kind::Blob, "x'0aF0'"),
            (Kind::Integer, "12"),
            (Kind::Hex, "0xFf"),
            (Kind::Real, "1.5e-3"),
            (Kind::Real, ".5"),
            (Kind::Real, "2."),
            (Kind::Symbol, "<>"),
            (Kind::Symbol, "||"),
            (Kind::Word, "été"),
            (Kind::End, ""),
        ];
        let found =
            kinds("a \"b\"\"c\" [d e] `f` 'g''h' x'0aF0' 12 0xFf 1.5e-3 .5 2. <>|| -- x\n /* y */ été");
        assert_eq!(found, expected.map(|(k, s)| (k, s.to_owned())));
    }

    #[test]
    fn broken_tokens() {
        for (sql, token) in [
            ("1a", "1a"),
            ("1e", "1e"),
            ("'abc", "'abc"),
            ("x'1'", "x'1'"),
            ("x'1g'", "x'1g'"),
            ("[a", "[a"),
            ("@", "@"),
            ("!", "!"),
            ("0xg", "0xg"),
        ] {
            let message = tokens(sql).unwrap_err().to_string();
            assert_eq!(message, format!("unrecognized token: \"{token}\""));
        }
    }

    #[test]
    fn comments_may_stay_open() {
        assert_eq!(kinds("a /* b").len(), 2);
        assert_eq!(kinds("a -- b").len(), 2);
    }
}
