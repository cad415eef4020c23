//! One user from its connecting to its end: the state, the bytes on their way, and what it received.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::frame;
use crate::ledger::Membership;
use crate::stream::Stream;

const NEVER: u64 = u64::MAX;

/// How far a user is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub enum State {
    Connecting,
    Upgrading,
    Joining,
    Member,
    /// It said that it leaves.
    Leaving,
    /// The server closed the conversation; what is left is the end of the connection.
    Closing,
    Gone,
}

/// What reading a connection gave.
#[derive(Debug)]
pub enum Taken {
    /// So many bytes of the buffer hold what was left and what came; true when more may be there.
    Some(usize, bool),
    Nothing,
    End,
}

/// One user.
#[derive(Debug)]
pub struct Session {
    pub number: u32,
    pub slot: usize,
    pub state: State,
    /// When it should have begun to connect.
    pub due_ns: u64,
    pub times: Membership,
    pub stream: Stream,
    /// Messages sent.
    pub sent: u32,
    socket: Option<TcpStream>,
    rest: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    mask: u32,
}

impl Session {
    /// Begin to connect.
    pub fn open(number: u32, slot: usize, due_ns: u64, target: SocketAddr, registry: &Registry) -> io::Result<Self> {
        let mut socket = TcpStream::connect(target)?;
        registry.register(&mut socket, Token(number as usize), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            number,
            slot,
            state: State::Connecting,
            due_ns,
            times: Membership { join_sent_ns: NEVER, joined_ns: 0, leave_sent_ns: NEVER, gone_ns: NEVER },
            stream: Stream::default(),
            sent: 0,
            socket: Some(socket),
            rest: Vec::new(),
            output: Vec::new(),
            written: 0,
            mask: number.wrapping_mul(0x9e37_79b9) | 1,
        })
    }

    /// Whether the connection stands; an error when it never will.
    pub fn connected(&mut self) -> io::Result<bool> {
        let Some(socket) = &self.socket else { return Ok(false) };
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => socket.set_nodelay(true).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Put bytes behind the others; `flush` sends them.
    pub fn push(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Put a frame behind the others.
    pub fn push_frame(&mut self, opcode: u8, payload: &[u8]) {
        self.mask = self.mask.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        frame::push(opcode, payload, Some(self.mask.to_le_bytes()), &mut self.output);
    }

    /// Send what can be sent now; the rest follows when the socket is writable again.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        while self.written < self.output.len() {
            match socket.write(&self.output[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    /// Read into the buffer that all users share, behind what this one had left over.
    pub fn take(&mut self, buffer: &mut [u8]) -> io::Result<Taken> {
        let Some(socket) = &mut self.socket else { return Ok(Taken::Nothing) };
        let kept = self.rest.len();
        buffer[..kept].copy_from_slice(&self.rest);
        loop {
            return match socket.read(&mut buffer[kept..]) {
                Ok(0) => Ok(Taken::End),
                Ok(count) => Ok(Taken::Some(kept + count, kept + count == buffer.len())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Taken::Nothing),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Keep what is not a whole frame yet.
    pub fn keep(&mut self, rest: &[u8]) {
        self.rest.clear();
        self.rest.extend_from_slice(rest);
    }

    /// End the connection and free what it needed.
    pub fn close(&mut self, now_ns: u64) {
        self.state = State::Gone;
        self.times.leave_sent_ns = self.times.leave_sent_ns.min(now_ns);
        self.times.gone_ns = self.times.gone_ns.min(now_ns);
        self.socket = None;
        self.rest = Vec::new();
        self.output = Vec::new();
        self.written = 0;
    }
}
