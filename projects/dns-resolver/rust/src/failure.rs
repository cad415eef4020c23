//! What can end the program, the exit code it stands for, and how values are shown.

use std::fmt::{self, Write};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The exit codes of the lane contract, beside 0 for done.
const EXIT_MACHINE: u8 = 1;
const EXIT_BAD_REQUEST: u8 = 2;

/// An error that knows its exit code.
#[derive(Debug)]
pub struct Failure {
    pub exit_code: u8,
    text: String,
}

pub type Result<T> = std::result::Result<T, Failure>;

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// Bad usage or bad input.
pub fn bad_request(text: impl Into<String>) -> Failure {
    Failure {
        exit_code: EXIT_BAD_REQUEST,
        text: text.into(),
    }
}

/// Bad input, and the line it stands on.
pub fn bad_line(path: &Path, line: usize, why: &str) -> Failure {
    bad_request(format!("{}: line {line}: {why}", show_path(path)))
}

/// A kernel or a pipe that failed us.
pub fn machine_failure(what: &str, error: impl Into<io::Error>) -> Failure {
    let text = format!("{what}: {}", reason(&error.into()));
    Failure {
        exit_code: EXIT_MACHINE,
        text,
    }
}

/// Tells what the user got wrong, a path or an address, from a machine that failed.
pub fn system_failure(what: &str, error: impl Into<io::Error>) -> Failure {
    let error = error.into();
    let is_machine = matches!(
        error.raw_os_error(),
        Some(
            libc::EMFILE
                | libc::ENFILE
                | libc::ENOMEM
                | libc::ENOBUFS
                | libc::EIO
                | libc::ENOSPC
                | libc::EDQUOT
                | libc::EPIPE
        )
    );
    Failure {
        exit_code: if is_machine {
            EXIT_MACHINE
        } else {
            EXIT_BAD_REQUEST
        },
        text: format!("{what}: {}", reason(&error)),
    }
}

/// The text of an error without the "(os error 2)" behind it.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" (os error ").unwrap_or(text.len());
    text[..end].to_lowercase()
}

/// How much of an offending value a message repeats.
const SHOWN_BYTES: usize = 60;

/// A value in quotes, escaped and cut, so that a message stays one short line.
pub fn quote_value(value: &str) -> String {
    quote_bytes(value.as_bytes())
}

/// The same for what need not be UTF-8.
pub fn quote_bytes(value: &[u8]) -> String {
    let shown = escape(&value[..value.len().min(SHOWN_BYTES)]).replace('"', "\\\"");
    let dots = if value.len() > SHOWN_BYTES { "..." } else { "" };
    format!("\"{shown}\"{dots}")
}

/// A path on one line.
pub fn show_path(path: &Path) -> String {
    escape(path.as_os_str().as_bytes())
}

/// Makes what is not printable visible. Bytes above ASCII are escaped too: a cut may fall inside a
/// character, and some characters are line ends.
fn escape(text: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'\n' => escaped.push_str("\\n"),
            b'\r' => escaped.push_str("\\r"),
            b'\t' => escaped.push_str("\\t"),
            b'\\' => escaped.push_str("\\\\"),
            b' '..=b'~' => escaped.push(char::from(byte)),
            _ => {
                let _ = write!(escaped, "\\x{byte:02x}"); // to a String, which cannot fail
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_one_short_line() {
        assert_eq!(quote_value("a\nb\"\u{1b}"), "\"a\\nb\\\"\\x1b\"");
        assert_eq!(
            quote_value(&"x".repeat(61)),
            format!("\"{}\"...", "x".repeat(60))
        );
        assert_eq!(show_path(Path::new("a\nb")), "a\\nb");
    }

    #[test]
    fn a_taken_port_is_the_users_and_a_full_table_the_machines() {
        let error = |code| io::Error::from_raw_os_error(code);
        let taken = system_failure("--listen \"h:1\"", error(libc::EADDRINUSE));
        assert_eq!(
            (taken.exit_code, taken.to_string().as_str()),
            (2, "--listen \"h:1\": address already in use")
        );
        assert_eq!(system_failure("x", error(libc::ENFILE)).exit_code, 1);
    }
}
