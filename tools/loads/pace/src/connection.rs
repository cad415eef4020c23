//! One connection: what was sent and waits for its reply, and the bytes on their way.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use crate::protocol::{Found, Protocol};
use crate::script::Script;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(10);
const INPUT_BYTES: usize = 64 << 10;

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| format!("{text}: not HOST:PORT with a numeric host")),
        }
    }
}

/// Wait until something accepts connections there.
pub fn wait(target: &Target, seconds: f64) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    loop {
        match Stream::connect(target) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= end => return Err(error),
            Err(_) => std::thread::sleep(RETRY),
        }
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Connect and wait for it: on loopback that is a matter of microseconds.
    fn connect(target: &Target) -> io::Result<Self> {
        match target {
            Target::Tcp(address) => {
                let stream = std::net::TcpStream::connect_timeout(address, CONNECT_TIMEOUT)?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                Ok(Self::Tcp(TcpStream::from_std(stream)))
            }
            Target::Unix(path) => {
                let stream = StdUnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                Ok(Self::Unix(UnixStream::from_std(stream)))
            }
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }

    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(from),
            Self::Unix(stream) => stream.write(from),
        }
    }
}

/// A request that waits for its reply.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub entry: usize,
    /// When it was sent (closed loop) or due (open loop).
    pub since_ns: u64,
}

/// What one reply was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Right,
    Wrong,
}

/// One connection to the server.
pub struct Connection {
    stream: Stream,
    token: Token,
    input: Vec<u8>,
    start: usize,
    end: usize,
    output: Vec<u8>,
    written: usize,
    watches_write: bool,
    pub waiting: VecDeque<Waiting>,
    closing: bool,
}

impl Connection {
    /// Connect and watch for replies.
    pub fn open(target: &Target, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut stream = Stream::connect(target)?;
        registry.register(stream.source(), token, Interest::READABLE)?;
        Ok(Self {
            stream,
            token,
            input: vec![0; INPUT_BYTES],
            start: 0,
            end: 0,
            output: Vec::with_capacity(INPUT_BYTES),
            written: 0,
            watches_write: false,
            waiting: VecDeque::with_capacity(64),
            closing: false,
        })
    }

    /// Put a request behind the others; `flush` sends it.
    pub fn push(&mut self, request: &[u8], waiting: Waiting) {
        self.output.extend_from_slice(request);
        self.waiting.push_back(waiting);
    }

    /// Send what can be sent now.
    pub fn flush(&mut self, registry: &Registry) -> io::Result<()> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.watch(registry, true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.written = 0;
        self.watch(registry, false)
    }

    fn watch(&mut self, registry: &Registry, write: bool) -> io::Result<()> {
        if self.watches_write != write {
            self.watches_write = write;
            let interest = if write { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            registry.reregister(self.stream.source(), self.token, interest)?;
        }
        Ok(())
    }

    /// Read all that has come and hand every whole reply to `done`. True when the server has closed the connection.
    pub fn receive(
        &mut self,
        protocol: Protocol,
        script: &Script,
        mut done: impl FnMut(Waiting, Verdict),
    ) -> io::Result<bool> {
        loop {
            if self.end == self.input.len() {
                self.make_room();
            }
            let room = self.input.len() - self.end;
            match self.stream.read(&mut self.input[self.end..]) {
                Ok(0) => return Ok(true),
                Ok(count) => {
                    self.end += count;
                    self.replies(protocol, script, &mut done)?;
                    if self.closing {
                        return Ok(true);
                    }
                    if count < room {
                        return Ok(false); // all that had come; mio is edge-triggered, the next byte wakes us again
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn replies(
        &mut self,
        protocol: Protocol,
        script: &Script,
        done: &mut impl FnMut(Waiting, Verdict),
    ) -> io::Result<()> {
        while self.start < self.end {
            let Some(&first) = self.waiting.front() else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply that nobody asked for"));
            };
            let expected = script.entry(first.entry).reply;
            match protocol.reply(&self.input[self.start..self.end], expected) {
                Found::Whole(reply) => {
                    let body = &self.input[self.start + reply.body.0..self.start + reply.body.1];
                    let verdict = if reply.good && body == expected { Verdict::Right } else { Verdict::Wrong };
                    self.start += reply.bytes;
                    self.waiting.pop_front();
                    self.closing |= reply.closes;
                    done(first, verdict);
                }
                Found::Part(bytes) => {
                    if self.start + bytes > self.input.len() {
                        self.make_room();
                        if bytes > self.input.len() {
                            self.input.resize(bytes.next_power_of_two(), 0);
                        }
                    }
                    return Ok(());
                }
                Found::Nonsense => return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes that are no reply")),
            }
        }
        self.start = 0;
        self.end = 0;
        Ok(())
    }

    /// Move what is left to the front; a full buffer with one unfinished reply grows.
    fn make_room(&mut self) {
        if self.start == 0 && self.end == self.input.len() {
            self.input.resize(self.input.len() * 2, 0);
        }
        self.input.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }
}
