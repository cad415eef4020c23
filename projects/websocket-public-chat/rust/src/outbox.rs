//! What a connection has taken from its queue and not yet written: whole frames, in order.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use crate::client::{Kind, Outgoing, Tally};

/// How many frames one system call takes.
const MAX_SLICES: usize = 64;
/// Bytes of pongs that may wait for a client that sends pings and does not read.
const MAX_PROTOCOL_BYTES: usize = 4096;

#[derive(Default)]
pub struct Outbox {
    pub frames: VecDeque<Outgoing>,
    written_of_first: usize,
    protocol_bytes: usize,
    /// The protocol wanted to write more than may wait.
    has_refused: bool,
}

impl Outbox {
    pub fn push(&mut self, frame: Bytes, kind: Kind) {
        self.frames.push_back(Outgoing { frame, kind });
    }

    /// One system call for what waits; the bytes it took.
    pub fn poll_write(
        &self,
        stream: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        for (slice, outgoing) in slices.iter_mut().zip(&self.frames) {
            *slice = IoSlice::new(&outgoing.frame);
            count += 1;
        }
        slices[0].advance(self.written_of_first);
        if count == 1 {
            return stream.poll_write(context, &slices[0]);
        }
        stream.poll_write_vectored(context, &slices[..count])
    }

    /// So many bytes are out: which frames are whole by that?
    pub fn advance(&mut self, bytes: usize) -> Tally {
        let mut done = Tally::default();
        let mut written = self.written_of_first + bytes;
        while let Some(first) = self.frames.front()
            && first.frame.len() <= written
        {
            written -= first.frame.len();
            if first.kind == Kind::Protocol {
                self.protocol_bytes -= first.frame.len();
            }
            done.add(first);
            self.frames.pop_front();
        }
        self.written_of_first = written;
        done
    }

    /// Gives up all but a frame that has begun, which the peer could not tell from the next one.
    pub fn give_up(&mut self) -> Tally {
        let begun = usize::from(self.written_of_first > 0);
        let given_up = self.frames.split_off(begun.min(self.frames.len()));
        for outgoing in given_up.iter().filter(|next| next.kind == Kind::Protocol) {
            self.protocol_bytes -= outgoing.frame.len();
        }
        Tally::of(&given_up)
    }

    /// Whether the protocol has something left that it could not write here.
    pub fn take_refused(&mut self) -> bool {
        self.protocol_bytes < MAX_PROTOCOL_BYTES && std::mem::take(&mut self.has_refused)
    }
}

/// The protocol's own frames (pongs, pings, close frames) go behind what waits already.
impl Write for Outbox {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.protocol_bytes >= MAX_PROTOCOL_BYTES {
            self.has_refused = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.protocol_bytes += bytes.len();
        self.push(Bytes::copy_from_slice(bytes), Kind::Protocol);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(frames: &[(&'static [u8], Kind)]) -> Outbox {
        let mut outbox = Outbox::default();
        for &(bytes, kind) in frames {
            outbox.push(Bytes::from_static(bytes), kind);
        }
        outbox
    }

    #[test]
    fn a_frame_counts_when_its_last_byte_is_out() {
        let mut outbox = outbox(&[
            (b"abc", Kind::Chat),
            (b"de", Kind::Notice),
            (b"f", Kind::Free),
        ]);
        assert_eq!(outbox.advance(2), Tally::default());
        let first = outbox.advance(2);
        assert_eq!((first.chats, first.frames, first.bytes), (1, 1, 3));
        let rest = outbox.advance(2);
        assert_eq!((rest.chats, rest.frames, rest.bytes), (0, 1, 2));
        assert!(outbox.frames.is_empty() && outbox.written_of_first == 0);
    }

    #[test]
    fn what_has_begun_is_not_given_up() {
        let mut outbox = outbox(&[(b"abc", Kind::Chat), (b"de", Kind::Chat)]);
        outbox.advance(1);
        assert_eq!(outbox.give_up().chats, 1);
        assert_eq!(outbox.advance(2).chats, 1);
        assert_eq!(outbox.give_up(), Tally::default());
    }

    #[test]
    fn pongs_do_not_pile_up() {
        let mut outbox = Outbox::default();
        let pong = [0; 127];
        let taken = (0..1000).filter(|_| outbox.write(&pong).is_ok()).count();
        assert_eq!(taken, MAX_PROTOCOL_BYTES.div_ceil(pong.len()));
        assert!(!outbox.take_refused(), "still full");
        outbox.advance(pong.len());
        outbox.advance(pong.len());
        assert!(outbox.take_refused() && !outbox.take_refused());
    }

    #[tokio::test]
    async fn many_frames_leave_with_one_call() {
        let (mut near, mut far) = tokio::io::duplex(1024);
        let mut outbox = outbox(&[
            (b"abc", Kind::Chat),
            (b"de", Kind::Chat),
            (b"f", Kind::Chat),
        ]);
        outbox.advance(1);
        let written =
            std::future::poll_fn(|context| outbox.poll_write(Pin::new(&mut near), context));
        let bytes = written.await.expect("room in the pipe");
        assert!(bytes >= 2);
        let mut seen = vec![0; bytes];
        tokio::io::AsyncReadExt::read_exact(&mut far, &mut seen)
            .await
            .expect("written");
        assert_eq!(seen, b"bcdef"[..bytes]);
    }
}
