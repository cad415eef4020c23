//! Where a body ends: by length, by chunks, or with its connection.
//!
//! Bodies pass as they come. A chunked one is followed byte by byte through its framing, so that its
//! end is known and nothing but sound framing is passed on, and in whole slices through its data.

use crate::head::{is_control, is_token_byte};

/// What a head says about the body behind it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    #[default]
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// How a body of a response goes on to the client.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    #[default]
    AsIs,
    /// A body that ends with its connection, for a client that can be told its end.
    Chunked,
    /// A chunked body for a client of HTTP/1.0; it ends with the connection.
    Unchunked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    Bad(&'static str),
    TooLarge,
}

/// Longer sizes and extensions are not taken.
const MAX_SIZE_DIGITS: usize = 16;
const MAX_EXTENSION_BYTES: usize = 4096;

/// The rest of a body that is under way.
#[derive(Debug, Default)]
pub struct Body {
    rest: Rest,
}

#[derive(Debug, Default)]
enum Rest {
    #[default]
    Nothing,
    Length(u64),
    Chunks(Chunks),
    UntilClose,
}

impl Body {
    /// A body of at most `limit` bytes of content, and trailers of at most `trailer_limit` bytes.
    pub fn new(framing: Framing, limit: u64, trailer_limit: usize) -> Result<Self, BodyFault> {
        let rest = match framing {
            Framing::Length(length) if length > limit => return Err(BodyFault::TooLarge),
            Framing::None | Framing::Length(0) => Rest::Nothing,
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked => Rest::Chunks(Chunks::new(limit, trailer_limit)),
            Framing::UntilClose => Rest::UntilClose,
        };
        Ok(Self { rest })
    }

    pub fn is_done(&self) -> bool {
        matches!(self.rest, Rest::Nothing)
    }

    pub fn ends_with_connection(&self) -> bool {
        matches!(self.rest, Rest::UntilClose)
    }

    /// How many bytes are left of a body of known length, which need not be looked at.
    pub fn length_left(&self) -> u64 {
        match self.rest {
            Rest::Length(left) => left,
            Rest::Nothing | Rest::Chunks(_) | Rest::UntilClose => 0,
        }
    }

    /// So many of them have passed.
    pub fn skip(&mut self, length: usize) {
        let left = self.length_left() - length as u64;
        self.rest = if left == 0 {
            Rest::Nothing
        } else {
            Rest::Length(left)
        };
    }

    /// How many of these bytes belong to the body, framing included.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, BodyFault> {
        self.decode(bytes, |_| {})
    }

    /// The same; the content goes where the caller wants it.
    pub fn decode(
        &mut self,
        bytes: &[u8],
        mut content: impl FnMut(&[u8]),
    ) -> Result<usize, BodyFault> {
        let used = match &mut self.rest {
            Rest::Nothing => return Ok(0),
            Rest::UntilClose => bytes.len(),
            Rest::Length(left) => {
                let used = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= used as u64;
                if *left == 0 {
                    self.rest = Rest::Nothing;
                }
                used
            }
            Rest::Chunks(chunks) => {
                let used = chunks.decode(bytes, content)?;
                if chunks.at == At::End {
                    self.rest = Rest::Nothing;
                }
                return Ok(used);
            }
        };
        content(&bytes[..used]);
        Ok(used)
    }
}

/// What the next byte of a chunked body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    FirstDigit,
    Size,
    SpaceBehindSize,
    Extension,
    FeedBehindSize,
    Data,
    ReturnBehindData,
    FeedBehindData,
    TrailerStart,
    TrailerName,
    TrailerValue,
    FeedBehindTrailer,
    LastFeed,
    End,
}

#[derive(Debug)]
struct Chunks {
    at: At,
    /// Of the chunk that is under way.
    left: u64,
    /// How much more content is allowed.
    allowed: u64,
    /// Digits of the size, or bytes of the extension, or of all trailers.
    line_bytes: usize,
    trailer_limit: usize,
}

impl Chunks {
    fn new(limit: u64, trailer_limit: usize) -> Self {
        Self {
            at: At::FirstDigit,
            left: 0,
            allowed: limit,
            line_bytes: 0,
            trailer_limit,
        }
    }

    fn decode(&mut self, bytes: &[u8], mut content: impl FnMut(&[u8])) -> Result<usize, BodyFault> {
        let mut used = 0;
        while used < bytes.len() && self.at != At::End {
            if self.at == At::Data {
                let rest = &bytes[used..];
                let length =
                    usize::try_from(self.left).map_or(rest.len(), |left| left.min(rest.len()));
                content(&rest[..length]);
                used += length;
                self.left -= length as u64;
                if self.left == 0 {
                    self.at = At::ReturnBehindData;
                }
            } else {
                self.at = self.step(bytes[used])?;
                used += 1;
            }
        }
        Ok(used)
    }

    /// Takes one byte of framing; tells what must come next.
    fn step(&mut self, byte: u8) -> Result<At, BodyFault> {
        self.line_bytes += 1;
        let (next, most_bytes, fault) = match self.at {
            At::FirstDigit | At::Size => return self.step_in_size(byte),
            At::SpaceBehindSize => (
                after_size_space(byte),
                MAX_EXTENSION_BYTES,
                "bad chunk size",
            ),
            At::Extension => (
                in_extension(byte),
                MAX_EXTENSION_BYTES,
                "bad chunk extension",
            ),
            At::FeedBehindSize if byte == b'\n' => return self.start_data(),
            At::FeedBehindSize => (None, 0, "bad chunk size"),
            At::ReturnBehindData => (
                (byte == b'\r').then_some(At::FeedBehindData),
                usize::MAX,
                "bad chunk end",
            ),
            At::FeedBehindData => {
                self.line_bytes = 0;
                (
                    (byte == b'\n').then_some(At::FirstDigit),
                    0,
                    "bad chunk end",
                )
            }
            At::TrailerStart => (at_trailer_start(byte), self.trailer_limit, "bad trailer"),
            At::TrailerName => (in_trailer_name(byte), self.trailer_limit, "bad trailer"),
            At::TrailerValue => (in_trailer_value(byte), self.trailer_limit, "bad trailer"),
            At::FeedBehindTrailer => (
                (byte == b'\n').then_some(At::TrailerStart),
                self.trailer_limit,
                "bad trailer",
            ),
            At::LastFeed => (
                (byte == b'\n').then_some(At::End),
                usize::MAX,
                "bad chunk end",
            ),
            At::Data | At::End => {
                unreachable!("the caller takes data as a slice and stops at the end")
            }
        };
        next.filter(|_| self.line_bytes <= most_bytes)
            .ok_or(BodyFault::Bad(fault))
    }

    fn step_in_size(&mut self, byte: u8) -> Result<At, BodyFault> {
        const BAD: BodyFault = BodyFault::Bad("bad chunk size");
        if let Some(digit) = char::from(byte).to_digit(16) {
            // One bit stays free, so that lengths can be added without a thought.
            if self.line_bytes > MAX_SIZE_DIGITS || self.left >> 59 != 0 {
                return Err(BAD);
            }
            self.left = self.left << 4 | u64::from(digit);
            return Ok(At::Size);
        }
        self.line_bytes = 0;
        match byte {
            _ if self.at == At::FirstDigit => Err(BAD),
            b'\r' => Ok(At::FeedBehindSize),
            b';' => Ok(At::Extension),
            b' ' | b'\t' => Ok(At::SpaceBehindSize),
            _ => Err(BAD),
        }
    }

    fn start_data(&mut self) -> Result<At, BodyFault> {
        self.line_bytes = 0;
        self.allowed = self
            .allowed
            .checked_sub(self.left)
            .ok_or(BodyFault::TooLarge)?;
        Ok(if self.left == 0 {
            At::TrailerStart
        } else {
            At::Data
        })
    }
}

/// Behind the size, spaces stand only in front of an extension.
fn after_size_space(byte: u8) -> Option<At> {
    match byte {
        b' ' | b'\t' => Some(At::SpaceBehindSize),
        b';' => Some(At::Extension),
        _ => None,
    }
}

fn in_extension(byte: u8) -> Option<At> {
    match byte {
        b'\r' => Some(At::FeedBehindSize),
        _ => (!is_control(byte)).then_some(At::Extension),
    }
}

fn at_trailer_start(byte: u8) -> Option<At> {
    match byte {
        b'\r' => Some(At::LastFeed),
        _ => is_token_byte(byte).then_some(At::TrailerName),
    }
}

fn in_trailer_name(byte: u8) -> Option<At> {
    match byte {
        b':' => Some(At::TrailerValue),
        _ => is_token_byte(byte).then_some(At::TrailerName),
    }
}

fn in_trailer_value(byte: u8) -> Option<At> {
    match byte {
        b'\r' => Some(At::FeedBehindTrailer),
        _ => (!is_control(byte)).then_some(At::TrailerValue),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: u64 = u64::MAX;
    const TRAILER_BYTES: usize = 1000;

    /// The content and how many bytes were used, fed in pieces of a size.
    fn decoded(
        bytes: &[u8],
        framing: Framing,
        limit: u64,
        piece: usize,
    ) -> Result<(Vec<u8>, usize), BodyFault> {
        let mut body = Body::new(framing, limit, TRAILER_BYTES)?;
        let (mut content, mut used) = (Vec::new(), 0);
        for part in bytes.chunks(piece) {
            used += body.decode(part, |data| content.extend_from_slice(data))?;
        }
        assert_eq!(body.is_done(), framing != Framing::UntilClose, "{bytes:?}");
        Ok((content, used))
    }

    #[test]
    fn bodies_end_where_they_should_however_they_are_cut() {
        for (bytes, framing, content, used) in [
            (&b"hello world"[..], Framing::Length(5), &b"hello"[..], 5),
            (b"next", Framing::None, b"", 0),
            (b"next", Framing::Length(0), b"", 0),
            (b"all of it", Framing::UntilClose, b"all of it", 9),
            (
                b"5\r\nhello\r\n0\r\n\r\nGET",
                Framing::Chunked,
                b"hello",
                15,
            ),
            (
                b"0005;a=\"b\"\r\nhello\r\nA \t; x = y\r\n0123456789\r\n0\r\nX: y\r\nZ:\r\n\r\n!",
                Framing::Chunked,
                b"hello0123456789",
                58,
            ),
            (b"0\r\n\r\n", Framing::Chunked, b"", 5),
        ] {
            for piece in 1..=bytes.len() {
                assert_eq!(
                    decoded(bytes, framing, ANY, piece),
                    Ok((content.to_vec(), used)),
                    "{bytes:?}"
                );
            }
        }
    }

    #[test]
    fn bad_chunks_are_faults() {
        for bytes in [
            "+5\r\n",
            "-5\r\n",
            "0x5\r\n",
            " 5\r\n",
            "5 \r\n",
            "5 5\r\n",
            "5,\r\n",
            "\r\n",
            ";a\r\n",
            "g\r\n",
            "5\n",
            "5\r\r\n",
            "5\rh",
            "10000000000000000\r\n",
            "ffffffffffffffff\r\n",
            "00000000000000005\r\n",
            "5;a\n",
            "5;a\rb",
            "5;\0",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "5\r\nhello\rX",
            "0\r\n\n",
            "0\r\nX: y\n",
            "0\r\nX : y",
            "0\r\n y",
            "0\r\n: y",
            "0\r\nX y\r\n",
            "0\r\nX: \0",
            "0\r\nX: y\rz",
            "0\r\n\r\r",
        ] {
            let mut body = Body::new(Framing::Chunked, ANY, TRAILER_BYTES)
                .expect("chunks are not too large before they come");
            assert!(
                matches!(body.advance(bytes.as_bytes()), Err(BodyFault::Bad(_))),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn bytes_that_nobody_looked_at_count_too() {
        let mut body = Body::new(Framing::Length(10), ANY, TRAILER_BYTES).expect("no limit");
        body.skip(4);
        assert_eq!(
            (body.length_left(), body.advance(b"0123456789")),
            (6, Ok(6))
        );
        assert!(body.is_done() && body.length_left() == 0);
    }

    #[test]
    fn endless_lines_are_faults() {
        for (start, fault) in [("5;", "bad chunk extension"), ("0\r\nX: ", "bad trailer")] {
            let mut body = Body::new(Framing::Chunked, ANY, TRAILER_BYTES)
                .expect("chunks are not too large before they come");
            let line = format!("{start}{}", "a".repeat(MAX_EXTENSION_BYTES + 1));
            assert_eq!(body.advance(line.as_bytes()), Err(BodyFault::Bad(fault)));
        }
    }

    #[test]
    fn large_bodies_are_refused_as_soon_as_they_are_known() {
        assert!(matches!(
            Body::new(Framing::Length(11), 10, TRAILER_BYTES),
            Err(BodyFault::TooLarge)
        ));
        assert!(decoded(b"0123456789", Framing::Length(10), 10, 3).is_ok());
        assert_eq!(
            decoded(b"5\r\nhello\r\n6\r\n", Framing::Chunked, 10, 2),
            Err(BodyFault::TooLarge)
        );
        assert!(
            decoded(
                b"5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n",
                Framing::Chunked,
                10,
                2
            )
            .is_ok()
        );
    }
}
