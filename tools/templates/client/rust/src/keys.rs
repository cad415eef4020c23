//! The file of keys.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use memchr::{memchr, memchr_iter};

use crate::failure::{Result, bad_request, escape_path, path_failure, quote_value};

const MAX_KEY_BYTES: usize = 255;
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Keys, one a line, in one piece of memory.
#[derive(Debug)]
pub struct Keys {
    content: Vec<u8>,
    ends: Vec<usize>,
}

/// The number of the first line that is no key, and what it is instead.
#[derive(Debug, PartialEq)]
struct NoKey(usize, Vec<u8>);

impl Keys {
    /// Reads a file and checks each line.
    pub fn read(path: &Path) -> Result<Self> {
        let mut content = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content))
            .map_err(|error| path_failure(path, &error))?;
        let shown = || escape_path(path);
        if content.len() as u64 > MAX_FILE_BYTES {
            let text = format!("{}: more than {MAX_FILE_BYTES} bytes", shown());
            return Err(bad_request(text));
        }
        Self::split(content).map_err(|NoKey(line, text)| {
            let text = quote_value(&text);
            bad_request(format!("{}: line {line}: not a key: {text}", shown()))
        })
    }

    fn split(content: Vec<u8>) -> std::result::Result<Self, NoKey> {
        let mut ends = Vec::with_capacity(memchr_iter(b'\n', &content).count() + 1);
        let mut start = 0;
        while start < content.len() {
            let rest = &content[start..];
            let line = &rest[..memchr(b'\n', rest).unwrap_or(rest.len())];
            if !is_key(line) {
                return Err(NoKey(ends.len() + 1, line.to_vec()));
            }
            ends.push(start + line.len());
            start += line.len() + 1;
        }
        Ok(Self { content, ends })
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The key of this number.
    pub fn get(&self, number: usize) -> &[u8] {
        let start = number
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] + 1);
        &self.content[start..self.ends[number]]
    }
}

fn is_key(line: &[u8]) -> bool {
    let is_sound = |&byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=MAX_KEY_BYTES).contains(&line.len()) && line.iter().all(is_sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_lines() {
        for (content, expected) in [
            ("", &[][..]),
            ("a", &["a"]),
            ("a\n", &["a"]),
            ("a\nB-c_1.txt\na\n", &["a", "B-c_1.txt", "a"]),
        ] {
            let keys = Keys::split(content.into()).expect("sound keys");
            let got: Vec<&[u8]> = (0..keys.len()).map(|number| keys.get(number)).collect();
            let expected: Vec<&[u8]> = expected.iter().map(|key| key.as_bytes()).collect();
            assert_eq!(got, expected, "{content:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_named() {
        let long = format!("a\n{}", "k".repeat(256));
        for (content, line) in [
            ("\n", 1),
            ("a\n\nb\n", 2),
            ("a b", 1),
            ("a\r\n", 1),
            ("a\n../b", 2),
            (&long, 2),
        ] {
            let bad = Keys::split(content.into()).expect_err("no key");
            assert_eq!(bad.0, line, "{content:?}");
        }
    }
}
