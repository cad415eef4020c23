//! What a request says: its head, parsed in place.

use memchr::memchr;

use crate::reply::Status;

/// Limits of a request; both include the line ends.
pub const LINE_BYTES_MAX: usize = 4096 + 2;
pub const HEAD_BYTES_MAX: usize = 8192;

/// What a head says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    pub target: &'a [u8],
    pub is_get: bool,
    pub framing: Framing,
    /// Of the whole head.
    pub bytes: usize,
}

/// What a head says of what follows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Framing {
    is_old: bool, // HTTP/1.0
    hosts: usize,
    pub closes: bool,
    /// It announces a body, or may.
    pub has_body: bool,
}

/// What stands at the start of an input.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// Of a request: more has to come.
    Part,
    Whole(Request<'a>),
    Refused(Status),
}

/// Why there is no whole line yet, or never will be.
enum NoLine {
    Part,
    Refused(Status),
}

/// Parses the head at the start of an input, line by line, so that the first fault decides in
/// whatever pieces it comes. A part of a head is read again when more has come: it is short.
pub fn parse_request(input: &[u8]) -> Parsed<'_> {
    match parse_head(input) {
        Ok(request) => Parsed::Whole(request),
        Err(NoLine::Part) => Parsed::Part,
        Err(NoLine::Refused(status)) => Parsed::Refused(status),
    }
}

fn parse_head(input: &[u8]) -> Result<Request<'_>, NoLine> {
    let bad = || NoLine::Refused(Status::BadRequest);
    let line = take_line(input, LINE_BYTES_MAX, Status::UriTooLong)?;
    let mut request = parse_line(line).ok_or_else(bad)?;
    let mut at = line.len() + 2;
    loop {
        let line = take_line(&input[at..], HEAD_BYTES_MAX - at, Status::HeadTooLarge)?;
        at += line.len() + 2;
        if line.is_empty() {
            break;
        }
        parse_field(line, &mut request.framing).ok_or_else(bad)?;
    }
    request.bytes = at;
    let Framing { hosts, is_old, .. } = request.framing;
    if hosts == 1 || hosts == 0 && is_old {
        Ok(request)
    } else {
        Err(bad())
    }
}

/// The line at the start of an input without its end, which must be CR LF within so many bytes.
fn take_line(input: &[u8], most: usize, too_long: Status) -> Result<&[u8], NoLine> {
    let Some(length) = memchr(b'\n', &input[..input.len().min(most)]) else {
        return Err(if input.len() < most {
            NoLine::Part
        } else {
            NoLine::Refused(too_long)
        });
    };
    input[..length]
        .strip_suffix(b"\r")
        .ok_or(NoLine::Refused(Status::BadRequest))
}

fn parse_line(line: &[u8]) -> Option<Request<'_>> {
    let (method, rest) = cut(line, b' ')?;
    let (target, version) = cut(rest, b' ')?;
    let is_old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return None,
    };
    let is_sound = consists_of(method, is_token_byte)
        && consists_of(target, |byte| byte.is_ascii_graphic())
        && target.starts_with(b"/");
    is_sound.then(|| Request {
        target,
        is_get: method == b"GET",
        framing: Framing {
            is_old,
            closes: is_old,
            ..Framing::default()
        },
        bytes: 0,
    })
}

/// Reads a header line. Only what frames the request matters here.
fn parse_field(line: &[u8], framing: &mut Framing) -> Option<()> {
    let (name, value) = cut(line, b':')?;
    let value = trim(value);
    if !consists_of(name, is_token_byte) || !value.iter().copied().all(is_value_byte) {
        return None;
    }
    if name.eq_ignore_ascii_case(b"Host") {
        framing.hosts += 1;
    } else if name.eq_ignore_ascii_case(b"Connection") {
        framing.closes |= value
            .split(|&byte| byte == b',')
            .any(|option| trim(option).eq_ignore_ascii_case(b"close"));
    } else if name.eq_ignore_ascii_case(b"Content-Length") {
        if !consists_of(value, |byte| byte.is_ascii_digit()) {
            return None;
        }
        framing.has_body |= value.iter().any(|&digit| digit != b'0');
    } else if name.eq_ignore_ascii_case(b"Transfer-Encoding") {
        framing.has_body = true;
    }
    Some(())
}

/// What is before and behind the first of this byte.
pub fn cut(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr(byte, text)?;
    Some((&text[..at], &text[at + 1..]))
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Whether a text has at least one byte, and each is of this kind.
fn consists_of(text: &[u8], is_right: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_right(byte))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"GET /hash/a?b HTTP/1.1\r\nHost: x\r\n\r\n";

    fn whole(head: &[u8]) -> Request<'_> {
        match parse_request(head) {
            Parsed::Whole(request) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_head_is_whole_at_its_end() {
        for length in 0..GOOD.len() {
            assert_eq!(parse_request(&GOOD[..length]), Parsed::Part, "{length}");
        }
        let twice = [GOOD, GOOD].concat();
        let request = whole(&twice);
        assert_eq!(request.bytes, GOOD.len());
        assert_eq!((request.target, request.is_get), (&b"/hash/a?b"[..], true));
        assert!(!request.framing.closes && !request.framing.has_body);
    }

    #[test]
    fn what_follows_a_head() {
        for (fields, closes, has_body) in [
            ("0\r\n\r\n", true, false),
            (
                "1\r\nhost:\r\nconnection: upgrade, Close\r\n\r\n",
                true,
                false,
            ),
            ("1\r\nHOST: x\r\nContent-Length: 00\r\n\r\n", false, false),
            ("1\r\nHost: x\r\ncontent-length: 10\r\n\r\n", false, true),
            (
                "1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                false,
                true,
            ),
        ] {
            let head = format!("GET / HTTP/1.{fields}");
            let framing = whole(head.as_bytes()).framing;
            assert_eq!(
                (framing.closes, framing.has_body),
                (closes, has_body),
                "{head:?}"
            );
        }
    }

    #[test]
    fn bad_heads_are_refused() {
        for head in [
            &b"\r\n"[..],
            b"GET / HTTP/1.1\n",
            b"GET  / HTTP/1.1\r\n",
            b"GET / HTTP/1.1 \r\n",
            b"GET a HTTP/1.1\r\n",
            b"GET /\x7f HTTP/1.1\r\n",
            b"G(T / HTTP/1.1\r\n",
            b"GET / HTTP/2.0\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost\r\n",
            b"GET / HTTP/1.1\r\nHost : x\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n",
        ] {
            let shown = String::from_utf8_lossy(head);
            assert_eq!(
                parse_request(head),
                Parsed::Refused(Status::BadRequest),
                "{shown:?}"
            );
        }
    }

    #[test]
    fn the_longest_line_and_head_are_taken() {
        let filler = "a".repeat(HEAD_BYTES_MAX);
        let target = &filler[..LINE_BYTES_MAX - "GET / HTTP/1.1\r\n".len()];
        let line = format!("GET /{target} HTTP/1.1\r\nHost: x\r\n");
        let value = &filler[..HEAD_BYTES_MAX - line.len() - "A: \r\n\r\n".len()];
        let head = format!("{line}A: {value}\r\n\r\n");
        assert_eq!(whole(head.as_bytes()).bytes, HEAD_BYTES_MAX);
        let line = format!("GET /{filler}");
        let line = &line.as_bytes()[..LINE_BYTES_MAX];
        assert_eq!(parse_request(line), Parsed::Refused(Status::UriTooLong));
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {filler}");
        let head = &head.as_bytes()[..HEAD_BYTES_MAX];
        assert_eq!(parse_request(head), Parsed::Refused(Status::HeadTooLarge));
    }
}
