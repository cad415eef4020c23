//! What is answered to a request.

use std::sync::atomic::Ordering::Relaxed;

use memchr::memchr;
use xxhash_rust::xxh64::xxh64;

use crate::metrics::Counters;
use crate::request::{Request, cut};

/// What a reply says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    UriTooLong,
    HeadTooLarge,
}

/// In the order of `Status`.
pub const STATUS_LINES: [&str; 6] = [
    "200 OK",
    "400 Bad Request",
    "404 Not Found",
    "405 Method Not Allowed\r\nAllow: GET",
    "414 URI Too Long",
    "431 Request Header Fields Too Large",
];

const HASH_PATH: &[u8] = b"/hash/";
const METRICS_PATH: &[u8] = b"/metrics";
const PLAIN_TEXT: &str = "text/plain";
const METRICS_TEXT: &str = "text/plain; version=0.0.4";

/// Answers a whole request.
pub fn push_reply(out: &mut Vec<u8>, request: &Request<'_>, closes: bool, counters: &Counters) {
    if !request.is_get {
        return push_error(out, Status::MethodNotAllowed, closes, counters);
    }
    if request.framing.has_body {
        return push_error(out, Status::BadRequest, closes, counters);
    }
    let path = cut(request.target, b'?').map_or(request.target, |(path, _)| path);
    if path == METRICS_PATH {
        count(counters, Status::Ok);
        let body = counters.text();
        push_head(out, Status::Ok, Some(METRICS_TEXT), body.len(), closes);
        return out.extend_from_slice(body.as_bytes());
    }
    match path.strip_prefix(HASH_PATH) {
        Some(text) if memchr(b'/', text).is_none() => {
            count(counters, Status::Ok);
            push_head(out, Status::Ok, Some(PLAIN_TEXT), 16, closes);
            push_hex(out, xxh64(text, 0));
        }
        _ => push_error(out, Status::NotFound, closes, counters),
    }
}

/// Answers without a body, so that what follows is clear whatever the method was.
pub fn push_error(out: &mut Vec<u8>, status: Status, closes: bool, counters: &Counters) {
    count(counters, status);
    push_head(out, status, None, 0, closes);
}

fn count(counters: &Counters, status: Status) {
    counters.replies[status as usize].fetch_add(1, Relaxed);
}

fn push_head(
    out: &mut Vec<u8>,
    status: Status,
    content_type: Option<&str>,
    length: usize,
    closes: bool,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(STATUS_LINES[status as usize].as_bytes());
    if let Some(content_type) = content_type {
        out.extend_from_slice(b"\r\nContent-Type: ");
        out.extend_from_slice(content_type.as_bytes());
    }
    out.extend_from_slice(b"\r\nContent-Length: ");
    push_decimal(out, length);
    if closes {
        out.extend_from_slice(b"\r\nConnection: close");
    }
    out.extend_from_slice(b"\r\n\r\n");
}

fn push_decimal(out: &mut Vec<u8>, value: usize) {
    if value >= 10 {
        push_decimal(out, value / 10);
    }
    out.push(b"0123456789"[value % 10]);
}

fn push_hex(out: &mut Vec<u8>, value: u64) {
    let digit = |shift: u32| b"0123456789abcdef"[(value >> shift & 15) as usize];
    out.extend((0..64).step_by(4).rev().map(digit));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Parsed, parse_request};

    fn reply(head: &str, closes: bool) -> String {
        let Parsed::Whole(request) = parse_request(head.as_bytes()) else {
            panic!("{head:?} is not whole")
        };
        let mut out = Vec::new();
        push_reply(&mut out, &request, closes, &Counters::default());
        String::from_utf8(out).expect("ASCII")
    }

    fn hash(digits: &str) -> String {
        format!("200 OK\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\r\n{digits}")
    }

    fn empty(line: &str) -> String {
        format!("{line}\r\nContent-Length: 0\r\n\r\n")
    }

    #[test]
    fn replies() {
        for (line, expected) in [
            ("GET /hash/a", hash("d24ec4f1a98c6e5b")),
            ("GET /hash/a?b/c", hash("d24ec4f1a98c6e5b")),
            ("GET /hash/", hash("ef46db3751d8e999")),
            ("GET /hash/a/b", empty("404 Not Found")),
            ("GET /hash", empty("404 Not Found")),
            ("GET /metrics/", empty("404 Not Found")),
            (
                "HEAD /hash/a",
                empty("405 Method Not Allowed\r\nAllow: GET"),
            ),
        ] {
            let got = reply(&format!("{line} HTTP/1.0\r\n\r\n"), false);
            assert_eq!(got, format!("HTTP/1.1 {expected}"), "{line}");
        }
        assert!(reply("GET / HTTP/1.0\r\n\r\n", true).ends_with("\r\nConnection: close\r\n\r\n"));
        let with_body = reply("GET / HTTP/1.0\r\nContent-Length: 1\r\n\r\n", true);
        assert!(with_body.starts_with("HTTP/1.1 400 Bad"), "{with_body}");
    }

    #[test]
    fn metrics_count_themselves() {
        let got = reply("GET /metrics?x HTTP/1.0\r\n\r\n", false);
        for line in [
            "connections_open 0\n",
            "requests_total{status=\"200\"} 1\n",
            "requests_total{status=\"431\"} 0\n",
        ] {
            assert!(got.contains(line), "{line:?} is not in {got:?}");
        }
    }
}
