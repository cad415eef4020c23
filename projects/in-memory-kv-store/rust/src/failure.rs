//! What can end the program, the exit code it stands for, and how values are shown.

use std::fmt;
use std::io;

/// The exit codes of the lane contract, beside 0 for done.
pub const EXIT_MACHINE: u8 = 1;
pub const EXIT_BAD_REQUEST: u8 = 2;

/// An error that knows its exit code. Without text there is nothing to say.
#[derive(Debug)]
pub struct Failure {
    pub exit_code: u8,
    pub text: String,
}

/// Failures are rare: boxed, they keep every `Result` one word.
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

/// A disk, memory or socket that failed us.
pub fn machine_failure(text: impl Into<String>) -> Box<Failure> {
    Box::new(Failure {
        exit_code: EXIT_MACHINE,
        text: text.into(),
    })
}

/// Tells what the user got wrong (a path, an address) from a machine that failed.
pub fn system_failure(what: &str, error: &io::Error) -> Box<Failure> {
    use io::ErrorKind as Kind;
    let text = format!("{what}: {}", reason(error).to_lowercase());
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded | Kind::OutOfMemory => machine_failure(text),
        _ if error.raw_os_error() == Some(libc::EIO) => machine_failure(text),
        _ => bad_request(text),
    }
}

/// The text of an error without the "(os error 2)" behind it.
pub fn reason(error: &io::Error) -> String {
    let mut text = error.to_string();
    text.truncate(text.rfind(" (os error ").unwrap_or(text.len()));
    text
}

/// How many bytes of an offending value a message repeats.
const SHOWN_BYTES: usize = 60;

/// A value in quotes, escaped and cut, so that a message stays one short line.
pub fn quote_value(value: &[u8]) -> String {
    let cut = &value[..value.len().min(SHOWN_BYTES)];
    let dots = if cut.len() < value.len() { "..." } else { "" };
    format!("\"{}{dots}\"", escape(cut))
}

/// Makes control bytes and broken UTF-8 visible.
pub fn escape(text: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => shown.push_str("\\\""),
                other if other.is_control() => shown.extend(other.escape_default()),
                other => shown.push(other),
            }
        }
        let bytes = chunk.invalid().iter();
        shown.extend(bytes.map(|byte| format!("\\x{byte:02x}")));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_one_short_line() {
        for (value, shown) in [
            (&b"abc"[..], r#""abc""#),
            (b"a\"b", r#""a\"b""#),
            (b"\n\x1b", r#""\n\u{1b}""#),
            (b"\xff", r#""\xff""#),
        ] {
            assert_eq!(quote_value(value), shown);
        }
        let long = quote_value(&[b'x'; 61]);
        assert_eq!(long, format!("\"{}...\"", "x".repeat(60)));
    }

    #[test]
    fn a_wrong_path_is_the_users_and_a_full_disk_the_machines() {
        let missing = system_failure("p", &io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(missing.exit_code, EXIT_BAD_REQUEST);
        assert_eq!(missing.text, "p: no such file or directory");
        let full = system_failure("p", &io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(full.exit_code, EXIT_MACHINE);
    }
}
