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
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

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

    /// Whether all that came was read. After a splice or a full buffer only the kernel knows.
    pub fn is_drained(&mut self) -> bool {
        self.readable = self.readable && !self.is_quiet();
        !self.readable
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

/// A pipe through which bytes move from one connection to another without being copied. It is empty
/// before and after, so that one does for all connections of a thread.
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

const SPLICE: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

impl Pipe {
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { reader, writer })
    }

    /// Moves at most `limit` bytes; what the kernel does not take now is kept. An error is one of the
    /// receiving side.
    pub fn pass(
        &self,
        from: &mut Socket,
        to: &mut Socket,
        outbox: &mut Outbox,
        limit: usize,
    ) -> io::Result<Received> {
        if !from.readable {
            return Ok(Received::Nothing);
        }
        match splice(&from.fd, None, &self.writer, None, limit, SPLICE) {
            Ok(0) => Ok(Received::End),
            Ok(length) => {
                self.empty_into(to, outbox, length)?;
                Ok(Received::Bytes(length))
            }
            Err(Errno::AGAIN) => {
                from.readable = false;
                Ok(Received::Nothing)
            }
            Err(_) => Ok(Received::Broken),
        }
    }

    fn empty_into(&self, to: &mut Socket, outbox: &mut Outbox, length: usize) -> io::Result<()> {
        let mut left = length;
        let mut verdict = Ok(());
        while left > 0 && to.writable && verdict.is_ok() {
            match splice(&self.reader, None, &to.fd, None, left, SPLICE) {
                Ok(sent) => left -= sent,
                Err(Errno::AGAIN) => to.writable = false,
                Err(error) => verdict = Err(error),
            }
        }
        outbox.clear();
        outbox.bytes.resize(left, 0);
        let mut filled = 0;
        while filled < left {
            filled += io::read(&self.reader, &mut outbox.bytes[filled..])?;
        }
        verdict
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
    fn what_passes_a_pipe_is_whole_however_slow_the_other_side_is() {
        let pipe = Pipe::new().expect("a pipe");
        let ((mut from, mut source, _poll), (mut to, mut sink, _other)) = (pair(), pair());
        let body: Vec<u8> = (0..1_u32 << 19).map(|number| (number / 7) as u8).collect();
        let expected = body.clone();
        let feeder =
            std::thread::spawn(move || source.write_all(&body).expect("an open connection"));
        let (mut outbox, mut got, mut buffer) = (Outbox::default(), Vec::new(), vec![0; 1 << 15]);
        let mut was_kept = false;
        sink.set_nonblocking(true)
            .expect("a socket that does not block");
        while got.len() < expected.len() {
            from.expect_bytes();
            while outbox.is_flushed() && from.is_readable() {
                let passed = pipe.pass(&mut from, &mut to, &mut outbox, 65_536);
                if passed == Ok(Received::End) {
                    break;
                }
                assert!(passed.is_ok() && passed != Ok(Received::Broken));
            }
            was_kept |= !outbox.is_flushed();
            let length = sink.read(&mut buffer).unwrap_or(0);
            got.extend_from_slice(&buffer[..length]);
            to.note(EventFlags::OUT);
            outbox.flush(&mut to).expect("an open connection");
        }
        feeder.join().expect("all is written");
        assert!(got == expected && was_kept, "{} bytes", got.len());
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
