//! The stretch of text that is in memory, and where in the file it lies.

use std::path::PathBuf;

use crate::failure::{Failure, Result, bad_request, escape_path};
use crate::input::Source;
use crate::options::Options;
use crate::record::{Outcome, exact_record};
use crate::scan::CHUNK_BYTES;

/// The size of one read.
const BLOCK_BYTES: usize = 256 << 10;
/// Lets the number parser read a word that ends at any field.
const FRONT_PADDING: usize = CHUNK_BYTES;

/// `buffer[position..filled]` is text not yet consumed; there is padding on both sides.
pub struct Window {
    pub buffer: Vec<u8>,
    pub position: usize,
    pub filled: usize,
    pub at_end: bool,
    source: Option<Source>,
    path: PathBuf,
    max_record_bytes: usize,
    /// Line feeds in front of `buffer[lines_from]`.
    lines_before: u64,
    lines_from: usize,
}

impl Window {
    pub fn new(request: &Options) -> Self {
        Self {
            buffer: vec![0; FRONT_PADDING + BLOCK_BYTES + CHUNK_BYTES],
            position: FRONT_PADDING,
            filled: FRONT_PADDING,
            at_end: false,
            source: None,
            path: request.input_path.clone(),
            max_record_bytes: request.max_record_bytes,
            lines_before: 0,
            lines_from: FRONT_PADDING,
        }
    }

    /// Starts at the first byte of the file, behind a byte order mark.
    pub fn open(&mut self, request: &Options) -> Result<()> {
        self.source = Some(Source::open(&self.path, request.compression)?);
        self.position = FRONT_PADDING;
        self.filled = FRONT_PADDING;
        self.lines_from = FRONT_PADDING;
        self.lines_before = 0;
        self.refill()?;
        if self.text().starts_with(b"\xef\xbb\xbf") {
            self.position += 3;
        }
        Ok(())
    }

    pub fn text(&self) -> &[u8] {
        &self.buffer[self.position..self.filled]
    }

    pub fn max_record_bytes(&self) -> usize {
        self.max_record_bytes
    }

    pub fn is_consumed(&self) -> bool {
        self.at_end && self.position == self.filled
    }

    /// Moves the rest of the text to the front and fills up behind it. A record
    /// that fills the whole buffer makes it grow, up to the longest one allowed.
    pub fn refill(&mut self) -> Result<()> {
        self.lines_before += count_lines(&self.buffer[self.lines_from..self.position]);
        self.lines_from = self.position;
        let rest = self.filled - self.position;
        // + 1: a CR that may belong to the line end
        if rest > self.max_record_bytes + 1 {
            return Err(self.too_long(self.position));
        }
        if rest > (self.buffer.len() - FRONT_PADDING - CHUNK_BYTES) / 2 {
            let mut grown = vec![0; FRONT_PADDING + 2 * (rest + BLOCK_BYTES) + CHUNK_BYTES];
            grown[FRONT_PADDING..FRONT_PADDING + rest].copy_from_slice(self.text());
            self.buffer = grown;
        } else {
            self.buffer
                .copy_within(self.position..self.filled, FRONT_PADDING);
        }
        self.position = FRONT_PADDING;
        self.lines_from = FRONT_PADDING;
        self.filled = FRONT_PADDING + rest;
        // At least as much again as there is: what is scanned twice stays in proportion.
        let wanted = BLOCK_BYTES.saturating_sub(rest).max(rest);
        let block = &mut self.buffer[self.filled..self.filled + wanted];
        let count = match &mut self.source {
            Some(source) => source.read(block)?,
            None => 0,
        };
        self.filled += count;
        self.at_end = count < wanted;
        Ok(())
    }

    /// Delimits the record at `position` by the letter, reading on as needed.
    /// Says where the next one starts.
    pub fn next_exact(&mut self, delimiter: u8, ends: &mut Vec<u32>) -> Result<(usize, Outcome)> {
        loop {
            let (length, outcome) = exact_record(self.text(), self.at_end, delimiter, ends);
            if outcome == Outcome::NeedsMoreText {
                self.refill()?;
                continue;
            }
            if outcome == Outcome::UnterminatedQuote {
                return Err(if self.filled - self.position > self.max_record_bytes {
                    self.too_long(self.position)
                } else {
                    self.line_failure(self.position, "unterminated quote")
                });
            }
            for end in ends {
                *end += self.position as u32;
            }
            return Ok((self.position + length, outcome));
        }
    }

    /// Steps over text. If the number of its lines is known, they are not counted again.
    pub fn consume(&mut self, to: usize, lines: Option<usize>) {
        if let Some(lines) = lines {
            let uncounted = count_lines(&self.buffer[self.lines_from..self.position]);
            self.lines_before += uncounted + lines as u64;
            self.lines_from = to;
        }
        self.position = to;
    }

    pub fn too_long(&self, record_start: usize) -> Box<Failure> {
        let most = self.max_record_bytes;
        let what = format!("record longer than {most} bytes (--max-record-bytes)");
        self.line_failure(record_start, &what)
    }

    /// Names the file and the line on which the record at this offset starts.
    pub fn line_failure(&self, record_start: usize, what: &str) -> Box<Failure> {
        let lines = count_lines(&self.buffer[self.lines_from..record_start]);
        let line = self.lines_before + lines + 1;
        bad_request(format!("{}: line {line}: {what}", escape_path(&self.path)))
    }

    pub fn failure(&self, what: &str) -> Box<Failure> {
        bad_request(format!("{}: {what}", escape_path(&self.path)))
    }
}

/// Counts in runs of 255, so that the inner loop adds bytes side by side.
fn count_lines(text: &[u8]) -> u64 {
    let count_run = |run: &[u8]| -> u64 {
        let count = run.iter().map(|&byte| u8::from(byte == b'\n'));
        u64::from(count.sum::<u8>())
    };
    text.chunks(255).map(count_run).sum()
}
