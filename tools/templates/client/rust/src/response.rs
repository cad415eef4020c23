//! What a response says: its head.

use std::io;

use memchr::memchr;

use crate::connection::Connection;

/// What a head says.
#[derive(Debug, PartialEq)]
pub struct Response {
    pub status: u16,
    /// Of the body, where it is said.
    pub length: Option<u64>,
    /// The connection ends behind the body.
    pub closes: bool,
}

/// Bounds a head, whose lines are bounded too.
const MAX_HEAD_LINES: usize = 200;

fn no_response() -> io::Error {
    io::Error::other("sent something that is no HTTP/1.1 response")
}

/// Where lines come from.
pub trait Lines {
    fn next_line(&mut self) -> io::Result<&[u8]>;
}

impl Lines for Connection {
    fn next_line(&mut self) -> io::Result<&[u8]> {
        self.line()
    }
}

impl Response {
    /// Reads the head of a response.
    pub fn read(lines: &mut impl Lines) -> io::Result<Self> {
        let mut found = Self::parse_status_line(lines.next_line()?).ok_or_else(no_response)?;
        for _ in 0..MAX_HEAD_LINES {
            let line = lines.next_line()?;
            if line.is_empty() {
                return Ok(found);
            }
            found.read_field(line)?;
        }
        Err(no_response())
    }

    fn parse_status_line(line: &[u8]) -> Option<Self> {
        let (rest, closes) = match line.strip_prefix(b"HTTP/1.1 ") {
            Some(rest) => (rest, false),
            None => (line.strip_prefix(b"HTTP/1.0 ")?, true),
        };
        let (digits, rest) = rest.split_at_checked(3)?;
        if !matches!(rest.first(), None | Some(b' ')) {
            return None;
        }
        Some(Self {
            status: u16::try_from(decimal(digits)?).ok()?,
            length: None,
            closes,
        })
    }

    /// Reads a header line. Only what frames the response matters here.
    fn read_field(&mut self, line: &[u8]) -> io::Result<()> {
        let (name, value) = cut(line).ok_or_else(no_response)?;
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"Content-Length") {
            self.length = Some(decimal(value).ok_or_else(no_response)?);
        } else if name.eq_ignore_ascii_case(b"Transfer-Encoding") {
            return Err(io::Error::other("sent a body without a Content-Length"));
        } else if name.eq_ignore_ascii_case(b"Connection") {
            self.closes |= value.eq_ignore_ascii_case(b"close");
        }
        Ok(())
    }
}

fn cut(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr(b':', line)?;
    Some((&line[..colon], &line[colon + 1..]))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let has_only_digits = digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok()?;
    text.parse().ok().filter(|_| has_only_digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given(Vec<&'static str>);

    impl Lines for Given {
        fn next_line(&mut self) -> io::Result<&[u8]> {
            if self.0.is_empty() {
                return Err(io::Error::other("the end"));
            }
            Ok(self.0.remove(0).as_bytes())
        }
    }

    fn read(head: &'static str) -> io::Result<Response> {
        Response::read(&mut Given(head.split('\n').collect()))
    }

    #[test]
    fn heads() {
        for (head, status, length, closes) in [
            (
                "HTTP/1.1 200 OK\nContent-Length: 12\n",
                200,
                Some(12),
                false,
            ),
            (
                "HTTP/1.1 200\ncontent-length:0\nconnection: Close\n",
                200,
                Some(0),
                true,
            ),
            ("HTTP/1.0 404 Not Found\nServer: x\n", 404, None, true),
            (
                "HTTP/1.1 500 \nA: b\nConnection: keep-alive\n",
                500,
                None,
                false,
            ),
        ] {
            let expected = Response {
                status,
                length,
                closes,
            };
            assert_eq!(read(head).expect("a head"), expected, "{head:?}");
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for head in [
            "",
            "HTTP/2 200\n",
            "HTTP/1.1 20\n",
            "HTTP/1.1 2000\n",
            "HTTP/1.1 2x0 \n",
            "HTTP/1.1 200 OK\nno colon\n",
            "HTTP/1.1 200 OK\nContent-Length: -1\n",
            "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n",
            "HTTP/1.1 200 OK",
        ] {
            assert!(read(head).is_err(), "{head:?}");
        }
    }
}
