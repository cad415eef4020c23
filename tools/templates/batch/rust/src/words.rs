//! The measured work: reads a file in blocks and counts its words.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::failure::{Result, bad_request, escape_path, path_failure};
use crate::table::{PREFIX_BYTES, Table};

const BLOCK_BYTES: usize = 256 << 10;
const MAX_WORD_BYTES: usize = 64 << 10;

/// Every byte of a word in lower case, and zero for a separator.
const LOWERED: [u8; 256] = {
    let mut table = [0; 256];
    let mut value = 0;
    while value < table.len() {
        let byte = value as u8;
        if byte.is_ascii_alphanumeric() || !byte.is_ascii() {
            table[value] = byte.to_ascii_lowercase();
        }
        value += 1;
    }
    table
};

/// The words, and the memory that one repeat leaves to the next.
pub struct Counter {
    pub words: Table,
    // An unfinished word of the block before, a block, and room for the prefix of its last word.
    buffer: Vec<u8>,
}

impl Counter {
    pub fn new() -> Self {
        Self {
            words: Table::new(),
            buffer: vec![0; MAX_WORD_BYTES + BLOCK_BYTES + PREFIX_BYTES],
        }
    }

    /// Reads the file in blocks and counts its words; gives the number of them.
    pub fn count(&mut self, path: &Path) -> Result<u64> {
        let failed = |error| path_failure(path, &error);
        let mut file = File::open(path).map_err(failed)?;
        self.words.reset();
        // The offset is the place of the buffer's first byte in the file.
        let (mut total, mut kept, mut offset, mut last) = (0, 0, 0, false);
        while !last {
            let block = &mut self.buffer[kept..kept + BLOCK_BYTES];
            let size = read_block(&mut file, block).map_err(failed)?;
            last = size < BLOCK_BYTES;
            let end = kept + size;
            let (words, start) = self.scan(end, last).map_err(|mut failure| {
                failure.text = format!("{}: {}", escape_path(path), failure.text);
                failure
            })?;
            total += words;
            offset += start;
            kept = end - start;
            if kept > MAX_WORD_BYTES {
                return Err(bad_request(format!(
                    "{}: byte {offset}: word longer than {MAX_WORD_BYTES} bytes",
                    escape_path(path)
                )));
            }
            self.buffer.copy_within(start..end, 0);
        }
        Ok(total)
    }

    /// Counts the words that end within the first `end` bytes of the buffer, and
    /// tells where the word starts that does not. At the end of the file, all do.
    fn scan(&mut self, end: usize, last: bool) -> Result<(u64, usize)> {
        let buffer = &mut self.buffer[..end + PREFIX_BYTES];
        let mut total = 0;
        let mut at = 0;
        loop {
            while at < end && LOWERED[buffer[at] as usize] == 0 {
                at += 1;
            }
            let start = at;
            while at < end && LOWERED[buffer[at] as usize] != 0 {
                buffer[at] = LOWERED[buffer[at] as usize];
                at += 1;
            }
            let length = at - start;
            if length == 0 || at == end && !last || length > MAX_WORD_BYTES {
                return Ok((total, start));
            }
            self.words.add(&buffer[start..], length)?;
            total += 1;
        }
    }
}

/// Fills a block; less than all of it is the end of the file.
fn read_block(file: &mut File, block: &mut [u8]) -> std::io::Result<usize> {
    let mut size = 0;
    while size < block.len() {
        match file.read(&mut block[size..]) {
            Ok(0) => break,
            Ok(count) => size += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::failure::EXIT_BAD_REQUEST;
    use crate::render::render;

    /// Counts the words of a text through the same door as the program.
    fn answer_to(text: &[u8], top: usize) -> Result<(Vec<u8>, u64)> {
        static FILES: AtomicU32 = AtomicU32::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("words-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let mut counter = Counter::new();
        let total = counter.count(&path);
        std::fs::remove_file(&path).unwrap();
        let mut answer = Vec::new();
        render(&mut answer, &counter.words, top);
        Ok((answer, total?))
    }

    #[test]
    fn words_and_their_order() {
        for (text, top, answer, total) in [
            (&b""[..], 20, &b""[..], 0),
            (b" \n\t.,-\x00\x7f", 20, b"", 0),
            (b"one", 20, b"one 1\n", 1),
            (b"B a b A b", 20, b"b 3\na 2\n", 5),
            (b"b a c", 2, b"a 1\nb 1\n", 3),
            (b"R2D2 r2d2!don't", 20, b"r2d2 2\ndon 1\nt 1\n", 4),
            (
                "Ét\u{e9} ÉT\u{e9}".as_bytes(),
                20,
                "Ét\u{e9} 2\n".as_bytes(),
                2,
            ),
            (
                b"abcdefgh abcdefghi abcdefghj abcdefghi",
                20,
                b"abcdefghi 2\nabcdefgh 1\nabcdefghj 1\n",
                4,
            ),
        ] {
            let found = answer_to(text, top).unwrap();
            assert_eq!(found, (answer.to_vec(), total), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_word_may_cross_the_edge_of_a_block() {
        for shift in 0..12 {
            let head = " ".repeat(BLOCK_BYTES - shift);
            let text = format!("{head}crossing x {}", "x ".repeat(BLOCK_BYTES));
            let (answer, total) = answer_to(text.as_bytes(), 20).unwrap();
            assert_eq!(answer, b"x 262145\ncrossing 1\n", "shift {shift}");
            assert_eq!(total, BLOCK_BYTES as u64 + 2);
        }
    }

    #[test]
    fn a_long_word_is_refused_with_its_place() {
        let longest = "w".repeat(MAX_WORD_BYTES);
        let (answer, _) = answer_to(format!("a {longest}").as_bytes(), 1).unwrap();
        assert_eq!(answer, b"a 1\n");
        for text in [
            format!("a {longest}w"),
            format!("a {longest}w b"),
            format!("a {}", longest.repeat(9)),
        ] {
            let failure = answer_to(text.as_bytes(), 1).unwrap_err();
            let expected = "byte 2: word longer than";
            assert!(failure.text.contains(expected), "{failure}");
        }
    }

    #[test]
    fn a_path_that_cannot_be_read() {
        for path in [
            std::env::temp_dir(),
            std::env::temp_dir().join("no such file"),
        ] {
            let failure = Counter::new().count(&path).unwrap_err();
            assert_eq!(failure.exit_code, EXIT_BAD_REQUEST, "{failure}");
        }
    }
}
