//! A non-blocking connection that remembers what it is ready for.
//!
//! Connections are watched once, for everything, edge triggered: no `epoll_ctl` in the life of a
//! request. What an event said stays true until a read or a write finds otherwise. A read that
//! does not fill its buffer has emptied the socket, which spares the read that would say so.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::{self, Errno};
use rustix::net::{self, RecvFlags, SendFlags, Shutdown, sockopt};

#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    readable: bool,
    pub writable: bool,
    /// The peer sends no more. Its end may have come between an event and a short read, so that from
    /// now on only the kernel says when there is nothing left.
    ended: bool,
    /// The connection is broken in both directions.
    pub failed: bool,
}

/// What a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    Bytes(usize),
    Nothing,
    End,
    Broken,
}

const WATCHED: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

impl Socket {
    /// Takes over a non-blocking socket; its events will carry the token.
    pub fn watch(fd: OwnedFd, poll: &OwnedFd, token: u64) -> io::Result<Self> {
        epoll::add(poll, &fd, EventData::new_u64(token), WATCHED)?;
        Ok(Self {
            fd,
            readable: false,
            writable: false,
            ended: false,
            failed: false,
        })
    }

    /// Takes note of an event.
    pub fn note(&mut self, flags: EventFlags) {
        let gone = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        self.ended |= gone || flags.contains(EventFlags::RDHUP);
        self.readable |= self.ended || flags.contains(EventFlags::IN);
        self.writable |= gone || flags.contains(EventFlags::OUT);
        self.failed |= flags.contains(EventFlags::ERR);
    }

    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// Looks again whatever the events said.
    pub fn expect_bytes(&mut self) {
        self.readable = true;
    }

    pub fn receive(&mut self, buffer: &mut [u8]) -> Received {
        if !self.readable {
            return Received::Nothing;
        }
        match net::recv(&self.fd, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => Received::End,
            Ok((length, _)) => {
                self.readable = length == buffer.len() || self.ended;
                Received::Bytes(length)
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                Received::Nothing
            }
            Err(_) => Received::Broken,
        }
    }

    /// Whether the peer has said nothing, not even that it is gone.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0];
        net::recv(&self.fd, &mut byte, RecvFlags::PEEK) == Err(Errno::AGAIN)
    }

    /// Sends what the kernel takes. When that is not all, an event tells when to go on.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.writable {
            return Ok(0);
        }
        self.sent(net::send(&self.fd, bytes, SendFlags::NOSIGNAL), bytes.len())
    }

    /// The same for several slices at once.
    pub fn send_parts(&mut self, parts: [&[u8]; 3]) -> io::Result<usize> {
        if !self.writable {
            return Ok(0);
        }
        let total = parts.iter().map(|part| part.len()).sum();
        // SIGPIPE is ignored in every Rust program: a broken connection is an error here, too.
        self.sent(io::writev(&self.fd, &parts.map(IoSlice::new)), total)
    }

    fn sent(&mut self, result: io::Result<usize>, wanted: usize) -> io::Result<usize> {
        let length = match result {
            Err(Errno::AGAIN) => 0,
            other => other?,
        };
        self.writable = length == wanted;
        Ok(length)
    }

    /// Sends our end; what the peer still says can be read.
    pub fn end_sending(&self) {
        // A connection that is broken already needs no end.
        let _ = net::shutdown(&self.fd, Shutdown::Write);
    }

    /// Makes the coming close a reset, so that the peer cannot take it for a clean end.
    pub fn close_hard(&self) {
        // Where this fails, the connection is closed without it.
        let _ = sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
    }

    /// How a connect ended.
    pub fn connect_result(&self) -> io::Result<()> {
        sockopt::socket_error(&self.fd)?
    }
}

/// Bytes that wait until their connection takes them.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

/// Idle connections keep a buffer of at most this size for their next request.
const KEPT_BYTES: usize = 4096;

impl Outbox {
    pub fn is_flushed(&self) -> bool {
        self.sent == self.bytes.len()
    }

    pub fn waiting_bytes(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether nothing was sent yet.
    pub fn is_untouched(&self) -> bool {
        self.sent == 0
    }

    /// Where to write what shall be sent next.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub fn clear(&mut self) {
        self.sent = 0;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }

    /// Sends all of it once more.
    pub fn rewind(&mut self) {
        self.sent = 0;
    }

    /// Tells whether all is sent. What is sent stays, for `rewind`, until the next `clear`.
    pub fn flush(&mut self, socket: &mut Socket) -> io::Result<bool> {
        if !self.is_flushed() {
            self.sent += socket.send(&self.bytes[self.sent..])?;
        }
        Ok(self.is_flushed())
    }

    /// Sends, and keeps what the kernel does not take now.
    pub fn send(&mut self, socket: &mut Socket, parts: [&[u8]; 3]) -> io::Result<()> {
        let mut skipped = 0;
        if self.is_flushed() {
            skipped = match parts {
                [only, [], []] => socket.send(only)?,
                _ => socket.send_parts(parts)?,
            };
            self.sent = 0;
            self.bytes.clear();
        }
        for part in parts {
            let rest = &part[skipped.min(part.len())..];
            skipped -= part.len() - rest.len();
            self.bytes.extend_from_slice(rest);
        }
        Ok(())
    }
}

/// Bytes that came and wait until somebody wants them.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    used: usize,
}

impl Inbox {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    pub fn is_empty(&self) -> bool {
        self.used == self.bytes.len()
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.used > 0 {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub fn consume(&mut self, length: usize) {
        self.used += length;
        if self.is_empty() {
            self.used = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn pair() -> (Socket, UnixStream, OwnedFd) {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll");
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        ours.set_nonblocking(true)
            .expect("a socket that does not block");
        let mut socket = Socket::watch(ours.into(), &poll, 0).expect("a watched socket");
        socket.note(EventFlags::OUT);
        (socket, theirs, poll)
    }

    #[test]
    fn a_short_read_empties_the_socket_until_its_peer_ends() {
        let (mut socket, mut peer, _poll) = pair();
        let mut buffer = [0; 4];
        assert_eq!(
            socket.receive(&mut buffer),
            Received::Nothing,
            "no event yet"
        );
        peer.write_all(b"abcdef").expect("room");
        socket.note(EventFlags::IN);
        assert_eq!(socket.receive(&mut buffer), Received::Bytes(4));
        assert_eq!(socket.receive(&mut buffer), Received::Bytes(2));
        assert!(!socket.is_readable() && socket.is_quiet());
        peer.write_all(b"g").expect("room");
        drop(peer);
        socket.note(EventFlags::IN | EventFlags::RDHUP);
        assert_eq!(socket.receive(&mut buffer), Received::Bytes(1));
        assert_eq!(socket.receive(&mut buffer), Received::End);
    }

    #[test]
    fn what_the_kernel_does_not_take_is_sent_later() {
        let (mut socket, mut peer, _poll) = pair();
        let (head, body) = (b"head ".to_vec(), vec![b'x'; 1 << 20]);
        let mut outbox = Outbox::default();
        outbox
            .send(&mut socket, [&head, &body, b" tail"])
            .expect("an open connection");
        assert!(!outbox.is_flushed() && !socket.writable);
        let mut got = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        while !outbox.is_flushed() {
            let length = peer.read(&mut buffer).expect("bytes");
            got.extend_from_slice(&buffer[..length]);
            socket.note(EventFlags::OUT);
            outbox.flush(&mut socket).expect("an open connection");
        }
        drop(socket);
        peer.read_to_end(&mut got).expect("an end");
        assert!(
            got == [&head[..], &body, b" tail"].concat(),
            "{} bytes",
            got.len()
        );
    }

    #[test]
    fn an_inbox_gives_out_what_came_in_order() {
        let mut inbox = Inbox::default();
        inbox.push(b"abc");
        inbox.consume(1);
        inbox.push(b"de");
        assert_eq!(inbox.bytes(), b"bcde");
        inbox.consume(4);
        assert!(inbox.is_empty());
    }
}
