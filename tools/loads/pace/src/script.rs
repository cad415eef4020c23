//! The script: requests, and the reply that each must get.
//!
//! Format: the bytes `PACE1\n`, then for every request its length and the length of the expected reply (both 32 bits,
//! little endian), then the two. The expected reply of HTTP is the body (the status must be 200); else all of its bytes.

use std::fs;
use std::path::Path;

use crate::Problem;

const MAGIC: &[u8] = b"PACE1\n";

/// One request.
#[derive(Debug, PartialEq)]
pub struct Entry<'a> {
    pub request: &'a [u8],
    pub reply: &'a [u8],
}

/// All requests, in one piece of memory.
#[derive(Debug)]
pub struct Script {
    bytes: Vec<u8>,
    entries: Vec<(usize, usize, usize)>, // start of the request, of the reply, and its end
}

impl Script {
    /// Read a script.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let bytes = fs::read(path).map_err(|error| Problem::usage(format!("{}: {error}", path.display())))?;
        Self::parse(bytes).map_err(|text| Problem::usage(format!("{}: {text}", path.display())))
    }

    fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        if !bytes.starts_with(MAGIC) {
            return Err("not a script of pace".into());
        }
        let mut entries = Vec::new();
        let mut at = MAGIC.len();
        while at < bytes.len() {
            let lengths = bytes.get(at..at + 8).ok_or_else(|| format!("byte {at}: cut short"))?;
            let length =
                |from: usize| u32::from_le_bytes(lengths[from..from + 4].try_into().expect("four bytes")) as usize;
            let request = at + 8;
            let reply = request + length(0);
            let end = reply + length(4);
            if end > bytes.len() || request == reply {
                return Err(format!("byte {at}: cut short or without a request"));
            }
            entries.push((request, reply, end));
            at = end;
        }
        if entries.is_empty() { Err("no requests".into()) } else { Ok(Self { bytes, entries }) }
    }

    /// Number of requests.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The request of this number; the script starts over behind its end.
    pub fn entry(&self, number: usize) -> Entry<'_> {
        let (request, reply, end) = self.entries[number % self.entries.len()];
        Entry { request: &self.bytes[request..reply], reply: &self.bytes[reply..end] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_replies_come_back() {
        let script = Script::parse(b"PACE1\n\x04\0\0\0\x02\0\0\0PINGOK\x01\0\0\0\0\0\0\0x".to_vec()).expect("good");
        assert_eq!(script.len(), 2);
        assert_eq!(script.entry(0), Entry { request: b"PING", reply: b"OK" });
        assert_eq!(script.entry(3), Entry { request: b"x", reply: b"" });
    }

    #[test]
    fn broken_scripts_are_refused() {
        for bytes in
            [&b"x"[..], b"PACE1\n", b"PACE1\n\x04\0\0\0", b"PACE1\n\x04\0\0\0\0\0\0\0PI", b"PACE1\n\0\0\0\0\0\0\0\0"]
        {
            assert!(Script::parse(bytes.to_vec()).is_err(), "{bytes:?}");
        }
    }
}
