//! A connection to the server, read through one buffer.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use memchr::memchr;

const BUFFER_BYTES: usize = 64 << 10;
/// How long the server may take for anything.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Connection {
    pub fn open(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
        })
    }

    pub fn send(&mut self, content: &[u8]) -> io::Result<()> {
        self.stream.write_all(content)
    }

    /// The next line without its end.
    pub fn line(&mut self) -> io::Result<&[u8]> {
        let length = loop {
            if let Some(length) = memchr(b'\n', &self.buffer[self.start..self.end]) {
                break length;
            }
            if self.end - self.start == BUFFER_BYTES {
                return Err(io::Error::other("sent a line without an end"));
            }
            self.fill()?;
        };
        let line = &self.buffer[self.start..self.start + length];
        self.start += length + 1;
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// At least one byte and at most so many.
    pub fn some(&mut self, most: u64) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.fill()?;
        }
        let there = self.end - self.start;
        let length = usize::try_from(most).map_or(there, |most| most.min(there));
        self.start += length;
        Ok(&self.buffer[self.start - length..self.start])
    }

    /// Reads once, behind what is there.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        loop {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Err(io::Error::other("closed the connection")),
                Ok(count) => {
                    self.end += count;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
