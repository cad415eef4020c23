//! One WebSocket: a task that reads what came, writes what waits and keeps the time.
//!
//! Axum's WebSocket copies frames into its buffer until it is told to write it, so that all that
//! waits for a client leaves with one system call. What the kernel has taken of it is known from
//! the socket below.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::time::Sleep;

use crate::client::{
    Ending, INVALID_UTF8, JOIN_TIMEOUT, Liveness, Outgoing, PROTOCOL_ERROR, Pulse, TEXT_ONLY,
    TOO_BIG, TOO_SLOW, Tally,
};
use crate::options::Options;
use crate::room::{ClientId, Hub};
use crate::session::{Next, Session};
use crate::socket::Trace;

/// What one connection reads before the others have their turn.
const MESSAGES_A_TURN: usize = 64;
/// What the library gets before it must write; a client that does not read holds no more there.
const BATCH_BYTES: usize = 16 << 10;
/// The library's limits: it never writes by itself before a batch is whole, and never holds more
/// pongs than this for a client that sends pings and does not read.
const WRITE_BUFFER_BYTES: usize = 64 << 10;
const MAX_WRITE_BUFFER_BYTES: usize = 128 << 10;
/// Where the library keeps an unfinished frame; it grows with the frame.
const FRAME_BUFFER_BYTES: usize = 512;
const MAX_ECHO_BYTES: usize = 16 << 20;
/// How long the peer's close frame is waited for.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// What a connection is for.
pub enum Purpose {
    Chat(Session),
    Echo,
}

/// How long a message may be.
pub fn max_bytes(is_chat: bool, options: &Options) -> usize {
    if is_chat {
        options.max_message_bytes
    } else {
        MAX_ECHO_BYTES
    }
}

/// Sets the limits of a WebSocket that is about to be. An echo is written before the next message
/// is read, so that what waits to be written is no longer than a message.
pub fn limit(upgrade: WebSocketUpgrade, max_bytes: usize) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(FRAME_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(max_bytes.saturating_add(MAX_WRITE_BUFFER_BYTES))
        .max_message_size(max_bytes)
        .max_frame_size(max_bytes)
}

/// The connection has ended; the socket can be closed.
struct Over;

struct Closing {
    cut_at: Instant,
    /// Our close frame, as long as it stands behind what waits.
    frame: Option<CloseFrame>,
    is_written: bool,
}

pub struct Connection {
    socket: WebSocket,
    trace: Arc<Trace>,
    reads: u64,
    texts: u64,
    /// Taken from the queue, and not yet given to the library.
    waiting: VecDeque<Outgoing>,
    /// Given to the library, and not known to be written.
    in_flight: VecDeque<Tally>,
    unflushed_bytes: usize,
    /// The socket took no more: nothing is given to the library before it takes the rest.
    is_blocked: bool,
    /// What was read in the last turn is not answered yet.
    owes_answers: bool,
    echo: Option<Message>,
    has_paused: bool,
    hub: Arc<Hub>,
    id: ClientId,
    purpose: Purpose,
    liveness: Liveness,
    join_by: Option<Instant>,
    drain_timeout: Duration,
    closing: Option<Closing>,
    /// The peer sent its close frame, and the library answers it.
    has_left: bool,
    /// The peer broke the protocol: what it sends is not looked at.
    is_deaf: bool,
    timer: Pin<Box<Sleep>>,
}

impl Connection {
    pub fn new(
        socket: WebSocket,
        trace: Arc<Trace>,
        hub: Arc<Hub>,
        id: ClientId,
        purpose: Purpose,
        options: &Options,
    ) -> Self {
        let now = Instant::now();
        let join_by = match purpose {
            Purpose::Chat(_) => Some(now + options.join_timeout),
            Purpose::Echo => None,
        };
        let first_look = options.ping_interval.min(options.join_timeout);
        Self {
            socket,
            trace,
            reads: 0,
            texts: 0,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            unflushed_bytes: 0,
            is_blocked: false,
            owes_answers: false,
            echo: None,
            has_paused: false,
            hub,
            id,
            purpose,
            liveness: Liveness::new(options.ping_interval, options.ping_timeout, now),
            join_by,
            drain_timeout: options.drain_timeout,
            closing: None,
            has_left: false,
            is_deaf: false,
            timer: Box::pin(tokio::time::sleep_until((now + first_look).into())),
        }
    }

    /// Serves until the end.
    pub async fn run(mut self) {
        poll_fn(|context| self.poll(context)).await;
        let written = self.count_written();
        let mut unwritten = Tally::of(&self.waiting);
        for frame in &self.in_flight {
            unwritten.merge(frame);
        }
        self.hub.with(|rooms| {
            rooms.counters.deliveries += written.chats;
        });
        self.hub.disconnect(self.id, &unwritten);
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
        match self.read_input(context, now) {
            Ok(true) => {
                self.owes_answers = true;
                context.waker().wake_by_ref();
                return self.keep_time(context).map(|_| ());
            }
            Ok(false) if owes_answers => {}
            Ok(false) => self.write_output(context, now)?,
            Err(Over) => {
                self.write_output(context, now)?;
                return Err(Over);
            }
        }
        while self.keep_time(context)? {
            self.write_output(context, now)?;
        }
        Ok(())
    }

    /// Reads and handles what came, if anything did. Before each message the library gets the
    /// answers to the one before, because it takes no more when it has read a close frame.
    fn read_input(&mut self, context: &mut Context<'_>, now: Instant) -> Result<bool, Over> {
        if let Purpose::Chat(session) = &self.purpose
            && session.must_wait()
        {
            context.waker().wake_by_ref(); // others have their turn first
            return Ok(false);
        }
        for count in 0..MESSAGES_A_TURN {
            let has_read = count > 0;
            if self.is_deaf {
                return Ok(has_read);
            }
            self.fill(context, now)?;
            if matches!(self.purpose, Purpose::Echo)
                && self.unflushed_bytes > 0
                && !self.flush(context)?
            {
                return Ok(has_read); // it must read its echoes before it is heard again
            }
            let Poll::Ready(next) = self.socket.poll_next_unpin(context) else {
                self.note_reads(now);
                let violation = self.trace.violation().filter(|_| !self.has_left);
                if let Some(ending) = violation {
                    self.close(ending, now);
                }
                return Ok(has_read || violation.is_some());
            };
            self.note_reads(now);
            match next {
                Some(Ok(message)) => self.handle(message, now),
                Some(Err(error)) => {
                    let ending = violation_of(error).ok_or(Over)?;
                    self.close(ending, now);
                    return Ok(true);
                }
                None => {
                    self.trace.skip_farewell(); // both close frames have been seen and written
                    return Err(Over);
                }
            }
            if mem::take(&mut self.has_paused) {
                break;
            }
        }
        Ok(true) // and more may be there
    }

    /// Whatever came is a sign of life, be it a part of a frame.
    fn note_reads(&mut self, now: Instant) {
        let reads = self.trace.reads();
        if mem::replace(&mut self.reads, reads) != reads {
            self.liveness.hear(now);
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
            (message @ (Message::Text(_) | Message::Binary(_)), Purpose::Echo) => {
                self.echo = Some(message);
            }
            _ => {} // pongs need nothing, and pings are answered by the library
        }
    }

    /// The peer's close frame has come; the library answers it with the next read.
    fn take_leave(&mut self, now: Instant) {
        self.has_left = true;
        if self.closing.is_some() {
            return;
        }
        self.hub.with(|rooms| {
            rooms.leave_room(self.id, now);
        });
        self.closing = Some(Closing {
            cut_at: now + CLOSE_WAIT,
            frame: None,
            is_written: false,
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
            rooms.take_rest(self.id, &mut self.waiting);
        });
        self.closing = Some(Closing {
            cut_at: now + CLOSE_WAIT,
            frame: Some(CloseFrame {
                code: ending.code,
                reason: Utf8Bytes::from_static(ending.reason),
            }),
            is_written: false,
        });
        self.arm(now + CLOSE_WAIT);
    }

    /// What was written whole since the last time.
    fn count_written(&mut self) -> Tally {
        let texts = self.trace.texts();
        let count = texts - mem::replace(&mut self.texts, texts);
        let count = self.in_flight.len().min(count as usize);
        let mut written = Tally::default();
        for frame in self.in_flight.drain(..count) {
            written.merge(&frame);
        }
        written
    }

    /// Gives the library what waits, as long as the socket takes it.
    fn fill(&mut self, context: &mut Context<'_>, now: Instant) -> Result<(), Over> {
        let written = self.count_written();
        let ending = self.hub.with(|rooms| {
            let waker = context.waker();
            rooms.exchange(self.id, &written, &mut self.waiting, self.is_blocked, waker)
        });
        if let Some(ending) = ending.filter(|_| self.closing.is_none()) {
            self.obey(ending, now);
        }
        while !self.is_blocked && !self.has_left && self.unflushed_bytes < BATCH_BYTES {
            let message = if let Some(next) = self.waiting.pop_front() {
                self.in_flight.push_back(Tally::of([&next]));
                Message::Text(next.frame)
            } else if let Some(echo) = self.echo.take() {
                echo
            } else if let Some(frame) = self
                .closing
                .as_mut()
                .and_then(|closing| closing.frame.take())
            {
                Message::Close(Some(frame))
            } else {
                break;
            };
            self.send(context, message)?;
        }
        Ok(())
    }

    /// Puts a message into the library's buffer, which has room whenever nothing is blocked.
    fn send(&mut self, context: &mut Context<'_>, message: Message) -> Result<(), Over> {
        self.unflushed_bytes += match &message {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
            _ => 0,
        } + 1;
        match self.socket.poll_ready_unpin(context) {
            Poll::Ready(Ok(())) => self.socket.start_send_unpin(message).map_err(|_| Over),
            _ => Err(Over),
        }
    }

    /// Writes until nothing waits or the socket takes no more.
    fn write_output(&mut self, context: &mut Context<'_>, now: Instant) -> Result<(), Over> {
        loop {
            self.fill(context, now)?;
            if self.unflushed_bytes == 0 {
                return self.rest(now);
            }
            if !self.flush(context)? {
                self.hub.with(|rooms| rooms.note_blocked(self.id, true));
                return Ok(());
            }
        }
    }

    /// Whether the socket has taken all that the library had.
    fn flush(&mut self, context: &mut Context<'_>) -> Result<bool, Over> {
        let flushed = self.socket.poll_flush_unpin(context);
        self.is_blocked = flushed.is_pending();
        match flushed {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(_)) => Err(Over),
            Poll::Ready(Ok(())) => {
                self.unflushed_bytes = 0;
                Ok(true)
            }
        }
    }

    /// The hub wants an end: the client is too slow, or the server stops.
    fn obey(&mut self, ending: Ending, now: Instant) {
        if ending == TOO_SLOW {
            let given_up = Tally::of(&mem::take(&mut self.waiting));
            self.hub.with(|rooms| rooms.give_up(self.id, &given_up));
            return self.close(ending, now);
        }
        self.close(ending, now);
        if let Some(closing) = &mut self.closing {
            closing.cut_at = now + self.drain_timeout.max(CLOSE_WAIT);
        }
    }

    /// Everything is written.
    fn rest(&mut self, now: Instant) -> Result<(), Over> {
        let Some(closing) = &mut self.closing else {
            return Ok(());
        };
        if self.is_deaf {
            return Err(Over); // there is no way back; the socket says farewell
        }
        if closing.frame.is_none() && !mem::replace(&mut closing.is_written, true) {
            closing.cut_at = now + CLOSE_WAIT;
            self.arm(now + CLOSE_WAIT);
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
                Some(closing) if now >= closing.cut_at => return self.cut(),
                Some(closing) => closing.cut_at,
                None => match self.check_time(context, now)? {
                    Some(next) => next,
                    None => return Ok(true),
                },
            };
            self.timer.as_mut().reset(next.into());
        }
        Ok(false)
    }

    /// Ends at once, without a farewell.
    fn cut<T>(&self) -> Result<T, Over> {
        self.trace.skip_farewell();
        Err(Over)
    }

    /// When to look again, or nothing where a frame was sent.
    fn check_time(
        &mut self,
        context: &mut Context<'_>,
        now: Instant,
    ) -> Result<Option<Instant>, Over> {
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
            Pulse::Ping if self.is_blocked => Ok(Some(now)), // it has enough to read
            Pulse::Ping => {
                self.send(context, Message::Ping(Bytes::new()))?;
                Ok(None)
            }
            Pulse::Lost => {
                self.hub.with(|rooms| rooms.counters.ping_timeouts += 1);
                self.cut()
            }
        }
    }
}

/// What a violation that the library found is called; nothing where the connection broke.
fn violation_of(error: axum::Error) -> Option<Ending> {
    let error = error.into_inner();
    match error.downcast_ref::<tungstenite::Error>()? {
        tungstenite::Error::Capacity(_) => Some(TOO_BIG),
        tungstenite::Error::Utf8 { .. } => Some(INVALID_UTF8),
        tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => None,
        tungstenite::Error::Protocol(_) => Some(PROTOCOL_ERROR),
        _ => None,
    }
}
