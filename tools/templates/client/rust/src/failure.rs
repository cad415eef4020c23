//! What can end the program, the exit code it stands for, and how values are shown.

use std::fmt::{self, Write};
use std::io;
use std::path::Path;

/// The exit codes of the lane contract, beside 0 for done.
pub const EXIT_MACHINE: u8 = 1;
pub const EXIT_BAD_REQUEST: u8 = 2;

/// An error that knows its exit code. Without text there is nothing to say.
#[derive(Debug)]
pub struct Failure {
    pub exit_code: u8,
    pub text: String,
}

/// Failures are rare: boxed, they keep every `Result` of the hot path one word.
pub type Result<T> = std::result::Result<T, Box<Failure>>;

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// Bad usage or bad input.
pub fn bad_request(text: impl Into<String>) -> Box<Failure> {
    Box::new(Failure {
        exit_code: EXIT_BAD_REQUEST,
        text: text.into(),
    })
}

/// A disk, memory or pipe that failed us.
pub fn machine_failure(text: impl Into<String>) -> Box<Failure> {
    Box::new(Failure {
        exit_code: EXIT_MACHINE,
        text: text.into(),
    })
}

/// Tells a path the user got wrong from a machine that failed.
pub fn path_failure(path: &Path, error: &io::Error) -> Box<Failure> {
    use io::ErrorKind as Kind;
    let text = format!("{}: {}", escape_path(path), reason(error));
    match error.kind() {
        Kind::BrokenPipe => machine_failure(""), // the reader went away: nothing to say
        Kind::NotFound
        | Kind::PermissionDenied
        | Kind::IsADirectory
        | Kind::NotADirectory
        | Kind::InvalidFilename
        | Kind::InvalidInput => bad_request(text),
        _ if matches!(error.raw_os_error(), Some(ENXIO | ELOOP)) => bad_request(text),
        _ => machine_failure(text),
    }
}

const ENXIO: i32 = 6;
const ELOOP: i32 = 40;

/// The text of an error without the "(os error 2)" behind it.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" (os error ").unwrap_or(text.len());
    text[..end].to_lowercase()
}

/// How many characters of an offending value a message repeats.
const SHOWN_CHARACTERS: usize = 40;

/// A value in quotes, escaped and cut, so that a message stays one short line.
pub fn quote_value(value: &[u8]) -> String {
    // No more than four bytes make a character, and escape() works on characters.
    let head = &value[..value.len().min(4 * SHOWN_CHARACTERS)];
    let mut shown = String::from("\"");
    let mut characters = Characters(head);
    for character in characters.by_ref().take(SHOWN_CHARACTERS) {
        match character {
            Ok('"') => shown.push_str("\\\""),
            other => push_escaped(&mut shown, other),
        }
    }
    if !characters.0.is_empty() || head.len() < value.len() {
        shown.push_str("...");
    }
    shown.push('"');
    shown
}

/// Makes control bytes, line separators and broken UTF-8 visible; quotes stay as they are.
pub fn escape(text: &[u8]) -> String {
    let mut shown = String::new();
    for character in Characters(text) {
        push_escaped(&mut shown, character);
    }
    shown
}

pub fn escape_path(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}

/// The characters of a text; a byte that belongs to none comes as itself.
struct Characters<'a>(&'a [u8]);

impl Iterator for Characters<'_> {
    type Item = std::result::Result<char, u8>;

    fn next(&mut self) -> Option<Self::Item> {
        let &first = self.0.first()?;
        let found = (1..=self.0.len().min(4))
            .find_map(|length| std::str::from_utf8(&self.0[..length]).ok())
            .and_then(|text| text.chars().next());
        self.0 = &self.0[found.map_or(1, char::len_utf8)..];
        Some(found.ok_or(first))
    }
}

fn push_escaped(out: &mut String, character: std::result::Result<char, u8>) {
    let written = match character {
        Err(byte) => write!(out, "\\x{byte:02x}"),
        Ok('\\') => out.write_str("\\\\"),
        Ok('\n') => out.write_str("\\n"),
        Ok('\r') => out.write_str("\\r"),
        Ok('\t') => out.write_str("\\t"),
        Ok(c @ ('\0'..='\x1f' | '\x7f')) => write!(out, "\\x{:02x}", u32::from(c)),
        Ok(c @ ('\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}')) => {
            write!(out, "\\u{:04x}", u32::from(c))
        }
        Ok(c) => out.write_char(c),
    };
    debug_assert!(written.is_ok(), "a String takes all text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_one_short_line() {
        for (value, shown) in [
            (&b"abc"[..], r#""abc""#),
            (b"a\"b\\", r#""a\"b\\""#),
            (b"\n\r\t\x00\x1b\x7f", r#""\n\r\t\x00\x1b\x7f""#),
            (b"\xff\xc3", r#""\xff\xc3""#),
            ("\u{85}\u{2028}é日😀".as_bytes(), "\"\\u0085\\u2028é日😀\""),
        ] {
            assert_eq!(quote_value(value), shown);
        }
        assert_eq!(quote_value(&[b'x'; 40]), format!("\"{}\"", "x".repeat(40)));
        assert_eq!(
            quote_value(&[b'x'; 41]),
            format!("\"{}...\"", "x".repeat(40))
        );
        assert_eq!(
            quote_value("é".repeat(1000).as_bytes()),
            format!("\"{}...\"", "é".repeat(40))
        );
    }

    #[test]
    fn a_wrong_path_is_the_users_and_a_full_disk_the_machines() {
        let path = Path::new("x\ny");
        let missing = path_failure(path, &io::Error::from_raw_os_error(2));
        assert_eq!(missing.exit_code, EXIT_BAD_REQUEST);
        assert_eq!(missing.text, "x\\ny: no such file or directory");
        let full = path_failure(path, &io::Error::from_raw_os_error(28));
        assert_eq!(full.exit_code, EXIT_MACHINE);
    }
}
