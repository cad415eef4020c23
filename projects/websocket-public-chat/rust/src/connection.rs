//! One WebSocket: a task that reads what came, writes what waits and keeps the time.
//!
//! tungstenite is the protocol and never sees the socket. It reads from the bytes of one system
//! call, and its own frames go into the outbox, so that everything for a client leaves in order,
//! with as few system calls as there are turns.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Bytes, Error, Message, Utf8Bytes};

use crate::client::{
    Ending, INVALID_UTF8, JOIN_TIMEOUT, Kind, Liveness, PROTOCOL_ERROR, Pulse, TEXT_ONLY, TOO_BIG,
    TOO_SLOW, Tally,
};
use crate::frame::encode;
use crate::options::Options;
use crate::outbox::Outbox;
use crate::room::{ClientId, Hub};
use crate::session::{Next, Session};
use crate::walk::Walk;

/// What one system call reads at most; it lies on the stack, so that who is idle holds no buffer.
const READ_BYTES: usize = 16 << 10;
/// What one connection reads before the others have their turn.
const READS_A_TURN: usize = 4;
/// Where tungstenite keeps an unfinished frame; it grows with the frame.
const FRAME_BUFFER_BYTES: usize = 256;
const MAX_ECHO_BYTES: usize = 16 << 20;
/// How long the peer's close frame is waited for.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// What a connection is for.
pub enum Purpose {
    Chat(Session),
    Echo,
}

/// The connection has ended; the socket can be closed.
struct Over;

/// What a turn has read.
enum Input {
    None,
    /// Others must have their turn first.
    Later,
    Some,
    End,
}

struct Closing {
    cut_at: Instant,
    is_written: bool,
    /// Both close frames have been seen.
    is_agreed: bool,
}

pub struct Connection {
    stream: TcpStream,
    protocol: WebSocketContext,
    walk: Walk,
    /// What is forbidden and stands behind the backlog.
    violation: Option<Ending>,
    /// What was read and not yet looked at, because others have their turn first.
    backlog: Vec<u8>,
    has_paused: bool,
    /// What was read in the last turn is not answered yet.
    owes_answers: bool,
    /// Nothing is read until the echoes are written.
    reads_later: bool,
    outbox: Outbox,
    /// The socket took less than there was.
    is_blocked: bool,
    hub: Arc<Hub>,
    id: ClientId,
    purpose: Purpose,
    max_bytes: usize,
    liveness: Liveness,
    join_by: Option<Instant>,
    drain_timeout: Duration,
    closing: Option<Closing>,
    /// The peer broke the protocol: what it sends is thrown away.
    is_deaf: bool,
    timer: Pin<Box<Sleep>>,
}

impl Connection {
    pub fn new(
        stream: TcpStream,
        hub: Arc<Hub>,
        id: ClientId,
        purpose: Purpose,
        options: &Options,
    ) -> Self {
        let now = Instant::now();
        let (max_bytes, join_by) = match purpose {
            Purpose::Chat(_) => (options.max_message_bytes, Some(now + options.join_timeout)),
            Purpose::Echo => (MAX_ECHO_BYTES, None),
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(FRAME_BUFFER_BYTES)
            .write_buffer_size(0) // the outbox is the buffer
            .max_write_buffer_size(1024)
            .max_message_size(Some(max_bytes))
            .max_frame_size(Some(max_bytes));
        let first_look = options.ping_interval.min(options.join_timeout);
        Self {
            stream,
            protocol: WebSocketContext::new(Role::Server, Some(config)),
            walk: Walk::default(),
            violation: None,
            backlog: Vec::new(),
            has_paused: false,
            owes_answers: false,
            reads_later: false,
            outbox: Outbox::default(),
            is_blocked: false,
            hub,
            id,
            purpose,
            max_bytes,
            liveness: Liveness::new(options.ping_interval, options.ping_timeout, now),
            join_by,
            drain_timeout: options.drain_timeout,
            closing: None,
            is_deaf: false,
            timer: Box::pin(tokio::time::sleep_until((now + first_look).into())),
        }
    }

    /// Serves until the end. `answer` is written first; `early` has come behind the request.
    pub async fn run(mut self, answer: Vec<u8>, mut early: Vec<u8>) {
        self.outbox.push(Bytes::from(answer), Kind::Free);
        early.truncate(self.hear(&early));
        self.has_paused = true;
        self.backlog = early;
        poll_fn(|context| self.poll(context)).await;
        self.hub
            .disconnect(self.id, &Tally::of(&self.outbox.frames));
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self.turn(context) {
            Ok(()) => Poll::Pending,
            Err(Over) => Poll::Ready(()),
        }
    }

    /// All that can be done now; a waker is left wherever more may come from.
    ///
    /// What was read is answered at the end of the loop's turn: by then the messages that others
    /// sent in this turn wait too, and all leaves with one call.
    fn turn(&mut self, context: &mut Context<'_>) -> Result<(), Over> {
        let now = Instant::now();
        let owes_answers = mem::take(&mut self.owes_answers);
        if owes_answers {
            self.write_output(context, now)?;
        }
        match self.read_input(context, now)? {
            Input::Some => {
                self.owes_answers = true;
                context.waker().wake_by_ref();
                return self.keep_time(context).map(|_| ());
            }
            Input::Later => {
                if !owes_answers {
                    self.write_output(context, now)?;
                }
                context.waker().wake_by_ref();
            }
            Input::None if owes_answers => {}
            Input::None => self.write_output(context, now)?,
            Input::End => {
                self.write_output(context, now)?;
                return Err(Over);
            }
        }
        while self.keep_time(context)? {
            self.write_output(context, now)?;
        }
        Ok(())
    }

    /// Reads and handles what came.
    fn read_input(&mut self, context: &mut Context<'_>, now: Instant) -> Result<Input, Over> {
        let mut input = Input::None;
        if let Purpose::Chat(session) = &self.purpose
            && session.must_wait()
        {
            return Ok(Input::Later);
        }
        if self.has_paused {
            input = Input::Some;
            self.has_paused = false;
            let backlog = mem::take(&mut self.backlog);
            self.read_messages(&backlog, now);
        }
        for _ in 0..READS_A_TURN {
            if self.has_paused {
                break;
            }
            if matches!(self.purpose, Purpose::Echo) && !self.outbox.frames.is_empty() {
                self.reads_later = true;
                return Ok(input);
            }
            let mut space = [MaybeUninit::uninit(); READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Pending => return Ok(input),
                Poll::Ready(Err(_)) => return Err(Over),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Ok(Input::End),
                Poll::Ready(Ok(())) => {
                    input = Input::Some;
                    self.liveness.hear(now);
                    let sound = self.hear(buffer.filled());
                    self.read_messages(&buffer.filled()[..sound], now);
                }
            }
        }
        Ok(Input::Some) // and more may be there
    }

    /// Judges the frames in what came, before anything is kept; how many bytes may be read.
    fn hear(&mut self, bytes: &[u8]) -> usize {
        if self.is_deaf {
            return 0;
        }
        let (sound, violation) = self.walk.inspect(bytes, self.max_bytes);
        self.violation = violation;
        sound
    }

    /// Handles every message that is whole by these bytes.
    fn read_messages(&mut self, bytes: &[u8], now: Instant) {
        let mut input = bytes;
        while !self.is_deaf {
            let mut wire = Wire {
                input: &mut input,
                outbox: &mut self.outbox,
            };
            match self.protocol.read(&mut wire) {
                Ok(message) => self.handle(message, now),
                Err(Error::Io(_)) => break, // all is read
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    self.agree(now);
                    return;
                }
                Err(error) => self.close(violation_of(&error), now),
            }
            if self.has_paused {
                self.backlog = input.to_vec();
                return;
            }
        }
        if let Some(ending) = self.violation.take() {
            self.close(ending, now);
        }
    }

    fn handle(&mut self, message: Message, now: Instant) {
        match (message, &mut self.purpose) {
            (Message::Close(_), _) => self.take_leave(now),
            _ if self.closing.is_some() => {}
            (Message::Text(text), Purpose::Chat(session)) => match session.receive(&text, now) {
                Next::GoOn => {}
                Next::Pause => self.has_paused = true,
                Next::End(ending) => self.close(ending, now),
            },
            (Message::Binary(_), Purpose::Chat(_)) => self.close(TEXT_ONLY, now),
            (Message::Text(text), Purpose::Echo) => self.echo(Data::Text, text.as_bytes()),
            (Message::Binary(bytes), Purpose::Echo) => self.echo(Data::Binary, &bytes),
            _ => {} // pongs need nothing, and pings are answered by tungstenite
        }
    }

    fn echo(&mut self, opcode: Data, payload: &[u8]) {
        let frame = encode(OpCode::Data(opcode).into(), payload);
        self.outbox.push(frame, Kind::Free);
    }

    /// The peer's close frame has come. tungstenite answers it with the next read, behind all
    /// that was queued before.
    fn take_leave(&mut self, now: Instant) {
        if self.closing.is_some() {
            return;
        }
        self.hub.with(|rooms| {
            rooms.leave_room(self.id, now);
            rooms.take_rest(self.id, &mut self.outbox.frames);
        });
    }

    /// Both close frames have been seen: what remains is to write ours.
    fn agree(&mut self, now: Instant) {
        self.closing = Some(Closing {
            cut_at: now + CLOSE_WAIT,
            is_written: false,
            is_agreed: true,
        });
        self.arm(now + CLOSE_WAIT);
    }

    /// Says why it ends, behind all that is queued. Only the first reason counts.
    fn close(&mut self, ending: Ending, now: Instant) {
        self.is_deaf |= ending.is_violation();
        if self.closing.is_some() {
            return;
        }
        self.hub.with(|rooms| {
            rooms.counters.protocol_errors += u64::from(ending.is_violation());
            rooms.leave_room(self.id, now);
            rooms.take_rest(self.id, &mut self.outbox.frames);
        });
        let frame = CloseFrame {
            code: ending.code.into(),
            reason: Utf8Bytes::from_static(ending.reason),
        };
        self.write_protocol(|protocol, wire| protocol.close(wire, Some(frame)));
        self.closing = Some(Closing {
            cut_at: now + CLOSE_WAIT,
            is_written: false,
            is_agreed: false,
        });
        self.arm(now + CLOSE_WAIT);
    }

    /// Lets tungstenite write into the outbox. Where it is full, tungstenite keeps the frame, and
    /// `take_refused` brings it back; there is no other error while the connection is open.
    fn write_protocol(
        &mut self,
        write: impl FnOnce(&mut WebSocketContext, &mut Wire) -> tungstenite::Result<()>,
    ) {
        let mut wire = Wire {
            input: &mut &[][..],
            outbox: &mut self.outbox,
        };
        if let Err(Error::ConnectionClosed) = write(&mut self.protocol, &mut wire) {
            self.agree(Instant::now());
        }
    }

    /// Writes until nothing waits or the socket takes no more.
    fn write_output(&mut self, context: &mut Context<'_>, now: Instant) -> Result<(), Over> {
        let mut written = Tally::default();
        loop {
            let ending = self.hub.with(|rooms| {
                let (frames, waker) = (&mut self.outbox.frames, context.waker());
                rooms.exchange(self.id, &written, frames, self.is_blocked, waker)
            });
            if let Some(ending) = ending.filter(|_| self.closing.is_none()) {
                self.obey(ending, now);
            }
            if self.outbox.take_refused() {
                self.write_protocol(|protocol, wire| protocol.flush(wire));
            }
            if self.outbox.frames.is_empty() {
                return self.rest(context, now);
            }
            let stream = Pin::new(&mut self.stream);
            let outcome = self.outbox.poll_write(stream, context);
            self.is_blocked = outcome.is_pending();
            written = match outcome {
                Poll::Pending => {
                    self.hub.with(|rooms| rooms.note_blocked(self.id, true));
                    return Ok(());
                }
                Poll::Ready(Ok(bytes)) if bytes > 0 => self.outbox.advance(bytes),
                Poll::Ready(_) => return Err(Over),
            };
        }
    }

    /// The hub wants an end: the client is too slow, or the server stops.
    fn obey(&mut self, ending: Ending, now: Instant) {
        if ending == TOO_SLOW {
            let given_up = self.outbox.give_up();
            self.hub.with(|rooms| rooms.give_up(self.id, &given_up));
            return self.close(ending, now);
        }
        self.close(ending, now);
        if let Some(closing) = &mut self.closing {
            closing.cut_at = now + self.drain_timeout.max(CLOSE_WAIT);
        }
    }

    /// Everything is written.
    fn rest(&mut self, context: &mut Context<'_>, now: Instant) -> Result<(), Over> {
        if mem::take(&mut self.reads_later) {
            context.waker().wake_by_ref();
        }
        let Some(closing) = &mut self.closing else {
            return Ok(());
        };
        if closing.is_agreed {
            return Err(Over);
        }
        if !mem::replace(&mut closing.is_written, true) {
            closing.cut_at = now + CLOSE_WAIT;
            self.arm(now + CLOSE_WAIT);
        }
        if self.is_deaf {
            // There is no way back, so the peer may see the end at once. What it still sends is
            // read until it ends too: closing before would take our close frame from it.
            let _ = Pin::new(&mut self.stream).poll_shutdown(context);
        }
        Ok(())
    }

    fn arm(&mut self, at: Instant) {
        if self.timer.deadline() > at.into() {
            self.timer.as_mut().reset(at.into());
        }
    }

    /// Does what is due; whether that left something to write. The timer is not touched by what
    /// comes and goes: when it fires, it is set to when something can be due.
    fn keep_time(&mut self, context: &mut Context<'_>) -> Result<bool, Over> {
        while self.timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let next = match &self.closing {
                Some(closing) if now >= closing.cut_at => return Err(Over),
                Some(closing) => closing.cut_at,
                None => match self.check_time(now)? {
                    Some(next) => next,
                    None => return Ok(true),
                },
            };
            self.timer.as_mut().reset(next.into());
        }
        Ok(false)
    }

    /// When to look again, or nothing where a frame was sent.
    fn check_time(&mut self, now: Instant) -> Result<Option<Instant>, Over> {
        let has_joined = match &self.purpose {
            Purpose::Chat(session) => session.has_joined(),
            Purpose::Echo => true,
        };
        let join_by = self.join_by.filter(|_| !has_joined);
        if join_by.is_some_and(|join_by| now >= join_by) {
            self.close(JOIN_TIMEOUT, now);
            return Ok(None);
        }
        match self.liveness.check(now) {
            Pulse::Until(due) => Ok(Some(join_by.map_or(due, |join_by| due.min(join_by)))),
            Pulse::Ping => {
                let ping = Message::Ping(Bytes::new());
                self.write_protocol(|protocol, wire| protocol.write(wire, ping));
                Ok(None)
            }
            Pulse::Lost => {
                self.hub.with(|rooms| rooms.counters.ping_timeouts += 1);
                Err(Over)
            }
        }
    }
}

/// What a violation that tungstenite found is called.
fn violation_of(error: &Error) -> Ending {
    match error {
        Error::Capacity(_) => TOO_BIG,
        Error::Utf8 { .. } => INVALID_UTF8,
        _ => PROTOCOL_ERROR,
    }
}

/// What tungstenite takes for the socket.
struct Wire<'a, 'b> {
    input: &'a mut &'b [u8],
    outbox: &'a mut Outbox,
}

impl Read for Wire<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(into)
    }
}

impl Write for Wire<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outbox.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
