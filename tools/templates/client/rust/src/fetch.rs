//! The measured work: asks for all keys and says what came.

use std::io::{self, ErrorKind, Write};

use xxhash_rust::xxh64::Xxh64;

use crate::connection::Connection;
use crate::failure::{Failure, Result, bad_request, machine_failure, quote_value, reason};
use crate::keys::Keys;
use crate::options::Options;
use crate::response::Response;

const STATUS_OK: u16 = 200;

/// Asks for all keys and appends the answer.
pub fn fetch_all(answer: &mut Vec<u8>, options: &Options, keys: &Keys) -> Result<()> {
    let mut done = 0;
    while done < keys.len() {
        done = fetch_some(answer, options, keys, done)?;
    }
    Ok(())
}

/// Asks over one connection, until all is there or the server closes it behind a reply.
fn fetch_some(answer: &mut Vec<u8>, options: &Options, keys: &Keys, first: usize) -> Result<usize> {
    let server = options.server.to_string();
    let failed = |error: io::Error| server_failure(&server, &error);
    let mut link = Connection::open(options.server).map_err(failed)?;
    let mut hash = Xxh64::new(0);
    let mut asked = Vec::new();
    let mut sent = first;
    for done in first..keys.len() {
        // Half of them come back before more are sent, in one piece.
        if sent - done <= options.pipeline / 2 {
            asked.clear();
            while sent < keys.len().min(done + options.pipeline) {
                push_request(&mut asked, keys.get(sent), &server);
                sent += 1;
            }
            link.send(&asked).map_err(failed)?;
        }
        let key = keys.get(done);
        let found = Response::read(&mut link).map_err(failed)?;
        if found.status != STATUS_OK {
            return Err(status_failure(key, found.status));
        }
        let no_length = || io::Error::other("sent a body without a Content-Length");
        let length = found.length.ok_or_else(no_length).map_err(failed)?;
        hash_body(&mut link, &mut hash, length).map_err(failed)?;
        push_line(answer, key, length, hash.digest());
        if found.closes {
            return Ok(done + 1);
        }
    }
    Ok(keys.len())
}

fn push_request(out: &mut Vec<u8>, key: &[u8], server: &str) {
    out.extend_from_slice(b"GET /");
    out.extend_from_slice(key);
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    out.extend_from_slice(server.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

fn hash_body(link: &mut Connection, hash: &mut Xxh64, length: u64) -> io::Result<()> {
    hash.reset(0);
    let mut left = length;
    while left > 0 {
        let piece = link.some(left)?;
        hash.update(piece);
        left -= piece.len() as u64;
    }
    Ok(())
}

/// Writes one line of the answer.
fn push_line(out: &mut Vec<u8>, key: &[u8], length: u64, hash: u64) {
    out.extend_from_slice(key);
    let written = writeln!(out, " {length} {hash:016x}");
    debug_assert!(written.is_ok(), "a Vec takes all bytes");
}

/// Tells a key that is not there from a server that failed.
fn status_failure(key: &[u8], status: u16) -> Box<Failure> {
    let text = format!("key {}: the server answers {status}", quote_value(key));
    if (400..500).contains(&status) {
        bad_request(text)
    } else {
        machine_failure(text)
    }
}

fn server_failure(server: &str, error: &io::Error) -> Box<Failure> {
    let why = match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "did not answer in time".to_owned(),
        _ if error.raw_os_error().is_some() => reason(error),
        _ => error.to_string(),
    };
    machine_failure(format!("{server}: {why}"))
}
