//! One error type. It carries the line for the user and says which exit code the program ends with.

use std::fmt;
use std::io;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bad usage, bad SQL or a bad value: exit code 2.
    Input,
    /// The database file breaks the format; the message gets the file's name in front: exit code 2.
    Corrupt,
    /// The machine failed (disk, memory): exit code 1.
    Machine,
    /// The reader of our output went away: exit code 1 without a message.
    ClosedPipe,
}

/// Boxed, so that a `Result` with it stays as small as its value.
#[derive(Debug)]
pub struct Error(Box<(Kind, String)>);

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    fn new(kind: Kind, message: String) -> Self {
        Self(Box::new((kind, message)))
    }

    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Kind::Input, message.into())
    }

    pub fn machine(message: impl Into<String>) -> Self {
        Self::new(Kind::Machine, message.into())
    }

    #[cold]
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(Kind::Corrupt, message.into())
    }

    /// An error in one page of the database.
    #[cold]
    pub fn page(page: u32, message: impl fmt::Display) -> Self {
        Self::corrupt(format!("page {page}: {message}"))
    }

    /// An error in one cell of one page.
    #[cold]
    pub fn cell(page: u32, cell: usize, message: impl fmt::Display) -> Self {
        Self::corrupt(format!("page {page}: cell {cell}: {message}"))
    }

    /// The error of a failed write to `target`.
    pub fn write(target: &str, cause: &io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, IsADirectory, NotADirectory, NotFound};
        let kind = match cause.kind() {
            BrokenPipe => Kind::ClosedPipe,
            NotFound | IsADirectory | NotADirectory => Kind::Input,
            _ => Kind::Machine,
        };
        Self::new(kind, format!("{target}: {cause}"))
    }

    /// The error of a failed look at the input file `target`: a missing or forbidden file is the
    /// caller's mistake, a failing disk is not.
    pub fn read(target: &str, cause: &io::Error) -> Self {
        let kind = match cause.raw_os_error() {
            Some(libc::EIO | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => Kind::Machine,
            _ => Kind::Input,
        };
        Self::new(kind, format!("{target}: {cause}"))
    }

    pub fn kind(&self) -> Kind {
        self.0.0
    }

    /// The same error with the database's name in front, where the place is a place in that file.
    #[must_use]
    pub fn in_file(mut self, path: &str) -> Self {
        if self.0.0 == Kind::Corrupt {
            self.0.1 = format!("{path}: {}", self.0.1);
            self.0.0 = Kind::Input;
        }
        self
    }
}

/// One line, whatever the message echoes: control characters and broken text are escaped.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.1.chars() {
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_on_one_line() {
        let error = Error::input("near \"a\nb\u{1b}\": syntax error");
        assert_eq!(error.to_string(), "near \"a\\nb\\u{1b}\": syntax error");
    }

    #[test]
    fn only_damage_gets_the_file_name() {
        assert_eq!(Error::page(3, "x").in_file("f.db").to_string(), "f.db: page 3: x");
        assert_eq!(Error::input("x").in_file("f.db").to_string(), "x");
    }
}
