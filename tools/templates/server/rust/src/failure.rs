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

/// What the machine could not give.
pub fn machine_failure(what: &str, error: &io::Error) -> Failure {
    Failure {
        exit_code: EXIT_MACHINE,
        text: format!("{what}: {}", reason(error)),
    }
}

/// The text of an error without the "(os error 2)" behind it.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" (os error ").unwrap_or(text.len());
    text[..end].to_lowercase()
}

/// How many characters of an offending value a message repeats.
const SHOWN_CHARACTERS: usize = 80;

/// A value in quotes, escaped and cut, so that a message stays one short line.
pub fn quote_value(value: &str) -> String {
    let shown: String = value
        .chars()
        .take(SHOWN_CHARACTERS)
        .flat_map(char::escape_default)
        .collect();
    let is_cut = value.chars().nth(SHOWN_CHARACTERS).is_some();
    format!("\"{shown}\"{}", if is_cut { "..." } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_one_short_line() {
        assert_eq!(quote_value("a\nb\"\u{1b}"), "\"a\\nb\\\"\\u{1b}\"");
        let long = quote_value(&"x".repeat(81));
        assert_eq!(long, format!("\"{}\"...", "x".repeat(80)));
    }

    #[test]
    fn reasons_have_no_number() {
        assert_eq!(
            reason(&io::Error::from_raw_os_error(98)),
            "address already in use"
        );
    }
}
