//! The socket below Axum: what its library hides is seen here.
//!
//! Whether anything came is known to nobody else, because a fragment is no message yet. Which
//! frames were written whole is known only where the kernel says how many bytes it took. And
//! hyper's own answers to bad requests have no body, where ours have one.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;

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
    is_upgraded: AtomicBool,
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

    /// Frames follow the next response.
    pub fn upgrade(&self) {
        self.is_upgraded.store(true, Ordering::Relaxed);
    }

    /// When the socket is dropped, it is closed at once.
    pub fn skip_farewell(&self) {
        self.needs_no_farewell.store(true, Ordering::Relaxed);
    }
}

/// What is being written.
enum Phase {
    Responses,
    /// The response of the upgrade: so many bytes of the end of its head have been seen.
    Upgrade(usize),
    Frames(Walk),
}

pub struct Socket {
    stream: Option<TcpStream>,
    trace: Arc<Trace>,
    phase: Phase,
    /// Our words instead of hyper's, as far as they are not written.
    instead: Vec<u8>,
    has_ended: bool,
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
            if !self.trace.is_upgraded.load(Ordering::Relaxed) {
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
            self.phase = Phase::Frames(Walk::default());
        }
        if let Phase::Frames(walk) = &mut self.phase {
            let texts = walk.count_texts(bytes);
            self.trace.texts.fetch_add(texts, Ordering::Relaxed);
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
        let before = buffer.filled().len();
        ready!(self.stream()?.poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.trace.reads.fetch_add(1, Ordering::Relaxed);
        } else {
            self.has_ended = true;
        }
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
                return Poll::Ready(Ok(bytes.len()));
            }
        }
        let written = ready!(self.stream()?.poll_write(context, bytes))?;
        self.follow(&bytes[..written]);
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
            trace.upgrade();
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
}
