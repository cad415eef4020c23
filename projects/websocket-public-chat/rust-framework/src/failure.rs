//! What can end the program, the exit code it stands for, and how values are shown.

use std::fmt;
use std::io;

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

/// A kernel or a pipe that failed us.
pub fn machine_failure(what: &str, error: &io::Error) -> Failure {
    Failure {
        exit_code: EXIT_MACHINE,
        text: format!("{what}: {}", reason(error)),
    }
}

/// Tells an address the user got wrong from a machine that failed.
pub fn address_failure(option: &str, address: &str, error: &io::Error) -> Failure {
    let is_the_users = matches!(
        error.kind(),
        io::ErrorKind::AddrInUse
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Unsupported
    );
    Failure {
        exit_code: if is_the_users {
            EXIT_BAD_REQUEST
        } else {
            EXIT_MACHINE
        },
        text: format!("{option} {}: {}", quote_value(address), reason(error)),
    }
}

/// The text of an error without the "(os error 2)" behind it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" (os error ").unwrap_or(text.len());
    text[..end].to_lowercase()
}

/// How many characters of an offending value a message repeats.
const SHOWN_CHARACTERS: usize = 80;

/// A value in quotes, escaped and cut, so that a message stays one short line.
pub fn quote_value(value: &str) -> String {
    let mut shown: String = value
        .chars()
        .take(SHOWN_CHARACTERS)
        .flat_map(char::escape_debug)
        .collect();
    if value.chars().nth(SHOWN_CHARACTERS).is_some() {
        shown.push_str("...");
    }
    format!("\"{shown}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_one_short_line() {
        assert_eq!(quote_value("a\nb\"\u{1b}"), "\"a\\nb\\\"\\u{1b}\"");
        assert_eq!(
            quote_value(&"x".repeat(81)),
            format!("\"{}...\"", "x".repeat(80))
        );
    }

    #[test]
    fn a_taken_port_is_the_users_and_a_full_table_the_machines() {
        let taken = io::Error::from(io::ErrorKind::AddrInUse);
        let failure = address_failure("--listen", "h:1", &taken);
        assert_eq!(failure.exit_code, EXIT_BAD_REQUEST);
        assert!(failure.to_string().starts_with("--listen \"h:1\": "));
        let full = io::Error::from(io::ErrorKind::OutOfMemory);
        assert_eq!(
            address_failure("--listen", "h:1", &full).exit_code,
            EXIT_MACHINE
        );
    }
}
