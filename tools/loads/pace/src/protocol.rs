//! Where a reply ends, and whether it is the right one.

use std::str::FromStr;

/// A protocol that pace speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Resp,
    Memcached,
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "http" => Ok(Self::Http),
            "resp" => Ok(Self::Resp),
            "memcached" => Ok(Self::Memcached),
            _ => Err("http, resp or memcached".into()),
        }
    }
}

/// A reply at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// Bytes of the whole reply.
    pub bytes: usize,
    /// Where the part that is compared begins and ends.
    pub body: (usize, usize),
    /// False for an HTTP status other than 200.
    pub good: bool,
    /// The server closes the connection behind it.
    pub closes: bool,
}

/// What stands at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Whole(Reply),
    /// Not all of it yet; at least so many bytes in all.
    Part(usize),
    Nonsense,
}

impl Protocol {
    /// Look for one reply at the start of the buffer. `expected` is the reply that should come.
    pub fn reply(self, buffer: &[u8], expected: &[u8]) -> Found {
        match self {
            Self::Http => http(buffer),
            Self::Resp => exact_or(buffer, expected, resp_len),
            Self::Memcached => exact_or(buffer, expected, memcached_len),
        }
    }
}

/// The usual case first: the buffer begins with the reply that should come.
fn exact_or(buffer: &[u8], expected: &[u8], length: fn(&[u8]) -> Result<usize, bool>) -> Found {
    let bytes = if buffer.starts_with(expected) && !expected.is_empty() {
        expected.len()
    } else {
        match length(buffer) {
            Ok(bytes) => bytes,
            Err(true) => return Found::Part(buffer.len() + 1),
            Err(false) => return Found::Nonsense,
        }
    };
    Found::Whole(Reply { bytes, body: (0, bytes), good: true, closes: false })
}

/// Length of the RESP2 value at the start; `Err(true)` when it is not all there, `Err(false)` when it is none.
fn resp_len(buffer: &[u8]) -> Result<usize, bool> {
    let mut left = 1_usize; // values still to come
    let mut at = 0;
    while left > 0 {
        let line = line_end(&buffer[at..]).ok_or(buffer.len() - at < 1 << 16)?;
        let head = &buffer[at..at + line];
        at += line + 2;
        left -= 1;
        match head.first() {
            Some(b'+' | b'-' | b':') => {}
            Some(b'$') => {
                let size = number(&head[1..])?;
                at += usize::try_from(size).map_or(0, |bytes| bytes + 2);
                if at > buffer.len() {
                    return Err(true);
                }
            }
            Some(b'*') => left += usize::try_from(number(&head[1..])?).unwrap_or(0),
            _ => return Err(false),
        }
    }
    Ok(at)
}

/// Length of a memcached text reply: one line, or VALUE blocks up to END.
fn memcached_len(buffer: &[u8]) -> Result<usize, bool> {
    let mut at = 0;
    loop {
        let line = line_end(&buffer[at..]).ok_or(buffer.len() - at < 1 << 16)?;
        let head = &buffer[at..at + line];
        at += line + 2;
        if !head.starts_with(b"VALUE ") {
            return Ok(at);
        }
        let size = head.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
        at += usize::try_from(number(size)?).map_err(|_| false)? + 2;
        if at > buffer.len() {
            return Err(true);
        }
    }
}

fn line_end(buffer: &[u8]) -> Option<usize> {
    buffer.windows(2).position(|pair| pair == b"\r\n")
}

fn number(digits: &[u8]) -> Result<i64, bool> {
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(false)
}

const HEADERS_MAX: usize = 64;

fn http(buffer: &[u8]) -> Found {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(buffer) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Found::Part(buffer.len() + 1),
        Err(_) => return Found::Nonsense,
    };
    let header = |name: &str| {
        response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    let Some(Ok(length)) = header("content-length").map(number) else {
        return Found::Nonsense; // scripts ask for bodies of known length only
    };
    let Ok(length) = usize::try_from(length) else { return Found::Nonsense };
    let bytes = head + length;
    if bytes > buffer.len() {
        return Found::Part(bytes);
    }
    let closes = header("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    Found::Whole(Reply { bytes, body: (head, bytes), good: response.code == Some(200), closes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resp_values_end_where_redis_ends_them() {
        for (bytes, length) in [
            (&b"+OK\r\n+"[..], 5),
            (b"$-1\r\n", 5),
            (b"$3\r\nabc\r\n", 9),
            (b"*2\r\n:1\r\n$1\r\nx\r\n", 15),
            (b"*-1\r\n", 5),
            (b"*0\r\n", 4),
        ] {
            assert_eq!(resp_len(bytes), Ok(length), "{bytes:?}");
        }
        assert_eq!(resp_len(b"$3\r\nab"), Err(true));
        assert_eq!(resp_len(b"hello\r\n"), Err(false));
    }

    #[test]
    fn memcached_values_end_with_end() {
        assert_eq!(memcached_len(b"VALUE k 0 3\r\nabc\r\nEND\r\nx"), Ok(23));
        assert_eq!(memcached_len(b"STORED\r\n"), Ok(8));
        assert_eq!(memcached_len(b"VALUE k 0 3\r\nab"), Err(true));
    }

    #[test]
    fn an_http_reply_has_a_length_and_a_status() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOKmore";
        assert_eq!(http(bytes), Found::Whole(Reply { bytes: 59, body: (57, 59), good: true, closes: true }));
        assert_eq!(http(&bytes[..58]), Found::Part(59));
        assert_eq!(http(b"HTTP/1.1 200 OK\r\n\r\n"), Found::Nonsense);
    }
}
