//! The socket below Axum: what its library hides is seen here.
//!
//! Whether anything came is known to nobody else, because a fragment is no message yet. Which
//! frames were written whole is known only where the kernel says how many bytes it took. What the
//! protocol forbids is held back here, because the library has other words for it. And
//! hyper's own answers to bad requests have no body, where ours have one.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::client::Ending;
use crate::texts::Texts;
use crate::upgrade::{BAD_REQUEST, HEAD_TOO_LARGE, Refusal};
use crate::walk::Walk;

/// How long a client may go on sending after our last word.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
const END_OF_HEAD: &[u8; 4] = b"\r\n\r\n";

/// What a connection sees of its socket. One task does both, so that the order of memory is no
/// concern; the types only have to be shareable.
#[derive(Debug, Default)]
pub struct Trace {
    reads: AtomicU64,
    texts: AtomicU64,
    /// Frames follow the next response; the longest that a client may send.
    upgraded: OnceLock<usize>,
    violation: OnceLock<Ending>,
    needs_no_farewell: AtomicBool,
}

impl Trace {
    /// How often something came.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// How many text frames were written whole.
    pub fn texts(&self) -> u64 {
        self.texts.load(Ordering::Relaxed)
    }

    /// Frames follow the next response; none of the client may be longer than this.
    pub fn upgrade(&self, max_frame_bytes: usize) {
        self.upgraded.get_or_init(|| max_frame_bytes);
    }

    /// What the client did that the protocol forbids, behind all that was read.
    pub fn violation(&self) -> Option<Ending> {
        self.violation.get().copied()
    }

    /// When the socket is dropped, it is closed at once.
    pub fn skip_farewell(&self) {
        self.needs_no_farewell.store(true, Ordering::Relaxed);
    }
}

/// Looks for the empty line behind the head of a request, which may come in any pieces.
#[derive(Debug, Default, PartialEq, Eq)]
struct HeadEnd {
    /// Line breaks in front of a request do not count.
    has_begun: bool,
    is_at_line_start: bool,
}

impl HeadEnd {
    /// How many of these bytes there are up to the end of the head, where it is among them.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, &byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if self.has_begun && self.is_at_line_start => {
                    *self = Self::default();
                    return Some(at + 1);
                }
                b'\n' => self.is_at_line_start = true,
                b'\r' => {}
                _ => {
                    self.has_begun = true;
                    self.is_at_line_start = false;
                }
            }
        }
        None
    }
}

/// What is being written.
enum Phase {
    Responses,
    /// The response of the upgrade: so many bytes of the end of its head have been seen.
    Upgrade(usize),
    Frames(Texts),
}

pub struct Socket {
    stream: Option<TcpStream>,
    trace: Arc<Trace>,
    phase: Phase,
    /// Our words instead of hyper's, as far as they are not written.
    instead: Vec<u8>,
    has_ended: bool,
    head: HeadEnd,
    /// What came with a head and is not of it.
    behind: Vec<u8>,
    /// Nothing is read until the answer is out: only then it is known whether frames follow.
    is_answering: bool,
    reader: Option<Waker>,
    walk: Walk,
}

impl Socket {
    pub fn new(stream: TcpStream) -> (Self, Arc<Trace>) {
        let trace = Arc::new(Trace::default());
        let socket = Self {
            stream: Some(stream),
            trace: Arc::clone(&trace),
            phase: Phase::Responses,
            instead: Vec::new(),
            has_ended: false,
            head: HeadEnd::default(),
            behind: Vec::new(),
            is_answering: false,
            reader: None,
            walk: Walk::default(),
        };
        (socket, trace)
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        let stream = self.stream.as_mut().map(Pin::new);
        stream.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// These bytes are out.
    fn follow(&mut self, mut bytes: &[u8]) {
        if let Phase::Responses = self.phase {
            if self.trace.upgraded.get().is_none() {
                return;
            }
            let Some(start) = memmem::find(bytes, b"HTTP/1.1 101 ") else {
                return;
            };
            bytes = &bytes[start..];
            self.phase = Phase::Upgrade(0);
        }
        if let Phase::Upgrade(seen) = &mut self.phase {
            let head_bytes = bytes.iter().position(|&byte| {
                *seen = match byte {
                    _ if byte == END_OF_HEAD[*seen] => *seen + 1,
                    b'\r' => 1,
                    _ => 0,
                };
                *seen == END_OF_HEAD.len()
            });
            let Some(last) = head_bytes else {
                return;
            };
            bytes = &bytes[last + 1..];
            self.phase = Phase::Frames(Texts::default());
        }
        if let Phase::Frames(texts) = &mut self.phase {
            let texts = texts.count(bytes);
            self.trace.texts.fetch_add(texts, Ordering::Relaxed);
        }
    }

    /// How much of what came may be read: up to the end of a head, or of what the protocol allows.
    fn judge(&mut self, came: &[u8]) -> usize {
        if let Phase::Frames(_) = self.phase {
            let max_bytes = self.trace.upgraded.get().copied().unwrap_or_default();
            let (sound, violation) = self.walk.inspect(came, max_bytes);
            if let Some(ending) = violation {
                self.trace.violation.get_or_init(|| ending);
            }
            return sound;
        }
        let Some(size) = self.head.find(came) else {
            return came.len();
        };
        self.behind.splice(..0, came[size..].iter().copied());
        self.is_answering = true;
        size
    }

    /// Something of an answer is out: what came behind the request may be read.
    fn note_answer(&mut self) {
        let is_upgrading =
            self.trace.upgraded.get().is_some() && !matches!(self.phase, Phase::Frames(_));
        if self.is_answering && !is_upgrading {
            self.is_answering = false;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
    }

    /// Writes our answer instead of hyper's.
    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let instead = mem::take(&mut self.instead);
            let written = self.stream()?.poll_write(context, &instead);
            self.instead = instead;
            let written = ready!(written)?;
            self.instead.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

/// Our answer, where this is one that hyper gives by itself: all of ours have a body.
fn answer_instead(response: &[u8]) -> Option<Vec<u8>> {
    let refusal = match response.get(..13)? {
        b"HTTP/1.1 400 " | b"HTTP/1.0 400 " => BAD_REQUEST,
        b"HTTP/1.1 431 " | b"HTTP/1.0 431 " => HEAD_TOO_LARGE,
        _ => return None,
    };
    memmem::find(response, b"content-length: 0\r\n")?;
    let Refusal { status, body, .. } = refusal;
    let phrase = if status == 400 {
        "Bad Request"
    } else {
        "Request Header Fields Too Large"
    };
    let text = format!(
        "HTTP/1.1 {status} {phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    Some(text.into_bytes())
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_answering || self.trace.violation().is_some() {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if self.behind.is_empty() {
            ready!(self.stream()?.poll_read(context, buffer))?;
        } else {
            let size = self.behind.len().min(buffer.remaining());
            buffer.put_slice(&self.behind[..size]);
            self.behind.drain(..size);
        }
        let came = &buffer.filled()[before..];
        if came.is_empty() {
            self.has_ended = true;
            return Poll::Ready(Ok(()));
        }
        self.trace.reads.fetch_add(1, Ordering::Relaxed);
        let size = self.judge(came);
        if size == 0 {
            buffer.set_filled(before);
            return Poll::Pending; // whoever reads looks for the violation
        }
        buffer.set_filled(before + size);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Phase::Responses = self.phase {
            if self.instead.is_empty()
                && let Some(instead) = answer_instead(bytes)
            {
                self.instead = instead;
            }
            if !self.instead.is_empty() {
                ready!(self.poll_instead(context))?;
                self.note_answer();
                return Poll::Ready(Ok(bytes.len()));
            }
        }
        let written = ready!(self.stream()?.poll_write(context, bytes))?;
        self.follow(&bytes[..written]);
        self.note_answer();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // nothing is kept here
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }
}

/// A socket that is closed while the client still sends takes our last words from the client. So
/// it reads on for a while, unless there is no need.
impl Drop for Socket {
    fn drop(&mut self) {
        let needs_none = self.has_ended || self.trace.needs_no_farewell.load(Ordering::Relaxed);
        if let Some(stream) = self.stream.take().filter(|_| !needs_none)
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(linger(stream));
        }
    }
}

async fn linger(mut stream: TcpStream) {
    let reading = async {
        std::future::poll_fn(|context| Pin::new(&mut stream).poll_shutdown(context)).await?;
        loop {
            stream.readable().await?;
            match stream.try_read(&mut [0; 4096]) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return io::Result::Err(error),
            }
        }
    };
    let _ = timeout(LINGER_TIMEOUT, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;
    use tokio::runtime::Builder;

    fn with_socket(act: impl FnOnce(Socket, Arc<Trace>)) {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("bound");
            let stream = TcpStream::connect(address).await.expect("a connection");
            let (socket, trace) = Socket::new(stream);
            act(socket, trace);
        });
    }

    #[test]
    fn frames_are_counted_behind_the_upgrade() {
        with_socket(|mut socket, trace| {
            socket.follow(b"HTTP/1.1 101 not yet\r\n\r\n\x81\x00");
            assert_eq!(trace.texts(), 0);
            trace.upgrade(100);
            for piece in [
                &b"HTTP/1.1 101 Switching\r\na: b\r\n"[..],
                b"\r",
                b"\n\x81",
                b"\x01x",
            ] {
                socket.follow(piece);
            }
            assert_eq!(trace.texts(), 1);
            socket.follow(b"\x81\x00\x81\x00\x89\x00");
            assert_eq!(trace.texts(), 3);
        });
    }

    #[test]
    fn only_answers_without_a_body_are_replaced() {
        let hypers = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let ours =
            String::from_utf8(answer_instead(hypers).expect("one of hyper's")).expect("text");
        assert!(ours.ends_with(
            "content-length: 32\r\nconnection: close\r\n\r\nrequest header fields too large\n"
        ));
        assert!(
            answer_instead(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 22\r\n\r\n").is_none()
        );
        assert!(answer_instead(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").is_none());
        assert!(answer_instead(b"x").is_none());
    }

    #[test]
    fn heads_end_at_their_empty_line() {
        let head = b"\r\n\nGET / HTTP/1.1\r\nA: b\r\n\r\n";
        for piece in 1..=head.len() {
            let mut end = HeadEnd::default();
            let found = head.chunks(piece).map(|bytes| end.find(bytes));
            let last = found.last().expect("one piece at least");
            assert_eq!(last, Some((head.len() - 1) % piece + 1), "{piece}");
            assert_eq!(end, HeadEnd::default());
        }
        let mut end = HeadEnd::default();
        assert_eq!(end.find(b"GET / HTTP/1.0\n\nbody\r\n\r\n"), Some(16));
        assert_eq!(end.find(b"\r\n\r\n"), None);
    }

    #[test]
    fn what_is_forbidden_is_held_back() {
        with_socket(|mut socket, trace| {
            assert_eq!(socket.judge(b"GET / HTTP/1.1\r\n\r\n\x81\x80"), 18);
            assert_eq!(
                (&socket.behind[..], socket.is_answering),
                (&b"\x81\x80"[..], true)
            );
            trace.upgrade(100);
            socket.follow(b"HTTP/1.1 101 Switching\r\n");
            socket.note_answer();
            assert!(socket.is_answering, "the head is not whole");
            socket.follow(b"\r\n");
            socket.note_answer();
            assert!(!socket.is_answering);
            assert_eq!(socket.judge(b"\x81\x80abcd\x8a\xfe"), 8);
            assert_eq!(trace.violation(), None);
            assert_eq!(socket.judge(b"\x01\x00abcd"), 5);
            assert_eq!(trace.violation(), Some(crate::client::PROTOCOL_ERROR));
        });
    }
}
