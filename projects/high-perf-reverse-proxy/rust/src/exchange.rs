//! What happens between a client and a backend: a request goes up, its response comes down, both as
//! they come, and whatever fails on the way ends in an answer, another attempt or a visible cut.

use std::io::Write;
use std::mem::take;

use rustix::io::Errno;

use crate::body::{Body, BodyFault, Delivery, Framing};
use crate::client::{Phase, refusal_of};
use crate::failure::reason;
use crate::head::{HeadScan, Passage, Refusal, RequestHead, ResponseHead};
use crate::server::{Step, Worker};
use crate::socket::{Outbox, Received, Socket};

/// A larger response head is a failure of the backend.
const MAX_RESPONSE_HEAD_BYTES: usize = 65_536;

/// Parts of a response that are smaller are copied behind their head: one cheap send instead of a
/// dearer vectored one.
const COPIED_BYTES: usize = 4_096;

/// With a response head comes at most so much of the body: the rest of a long one is better spliced.
const FIRST_READ_BYTES: usize = 16_384;

/// Shorter rests of bodies are not worth a pipe.
const MIN_SPLICE_BYTES: u64 = 16_384;
const MAX_SPLICE_BYTES: u64 = 65_536;

/// How much of a body may pass without being looked at, if that pays.
fn splice_limit(body: &Body) -> Option<usize> {
    let left = body.length_left();
    (left >= MIN_SPLICE_BYTES).then_some(left.min(MAX_SPLICE_BYTES) as usize)
}

/// One request and its response.
#[derive(Debug, Default)]
pub struct Exchange {
    /// The connection to the backend.
    pub upstream: Option<usize>,
    backend: Option<usize>,
    tried: Vec<usize>,
    retries_left: u32,
    hash_key: u64,

    pub is_to_head: bool,
    pub is_http10: bool,
    is_idempotent: bool,
    wants_upgrade: bool,

    /// What is to be sent to the backend. It starts with the head of the request and keeps it as long
    /// as it `is_replayable`.
    pub outbox: Outbox,
    pub request: Body,
    has_body_in_outbox: bool,
    is_replayable: bool,
    /// The backend takes no more, but may have said why.
    is_upload_broken: bool,

    /// The begin of a response head.
    partial: Vec<u8>,
    scan: HeadScan,
    response: Body,
    delivery: Delivery,
    has_response_byte: bool,
    is_head_sent: bool,
    is_reusable: bool,

    is_client_done: bool,
    is_backend_done: bool,
    /// Bytes have moved since somebody last looked.
    pub has_moved: bool,
}

impl Exchange {
    /// Forgets the request before and keeps its buffers.
    pub fn begin(
        &mut self,
        request: &RequestHead,
        body: Body,
        has_body: bool,
        hash_key: u64,
        retries: u32,
    ) {
        let mut outbox = take(&mut self.outbox);
        outbox.clear();
        *self = Self {
            outbox,
            hash_key,
            retries_left: retries,
            is_to_head: request.is_head,
            is_http10: request.is_http10,
            is_idempotent: request.is_idempotent,
            wants_upgrade: request.wants_upgrade,
            request: body,
            has_body_in_outbox: has_body,
            is_replayable: true,
            ..Self::default()
        };
    }

    /// Whether another backend may be asked. After a failed connect every request may be sent again,
    /// as it was never sent.
    fn may_retry(&self, trouble: Trouble) -> bool {
        let is_safe = match trouble {
            Trouble::Connect(_) | Trouble::ConnectTimeout => true,
            Trouble::Closed => self.is_idempotent && !self.has_body_in_outbox && self.is_replayable,
            Trouble::BadResponse(_) | Trouble::ReadTimeout => false,
        };
        is_safe && self.retries_left > 0 && !self.has_response_byte
    }

    /// A connection from the pool that ended before it said anything: it was stale, and nobody's fault.
    fn may_replay(&self, trouble: Trouble) -> bool {
        let is_safe = self.is_idempotent || self.outbox.is_untouched();
        matches!(trouble, Trouble::Closed)
            && is_safe
            && self.is_replayable
            && !self.has_response_byte
    }

    /// The end of the response is the end of the client's connection.
    fn ends_with_close(&self) -> bool {
        self.is_http10
            && (self.delivery == Delivery::Unchunked || self.response.ends_with_connection())
    }
}

/// What can go wrong with a backend.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    Connect(Errno),
    ConnectTimeout,
    /// Before the response was complete.
    Closed,
    BadResponse(&'static str),
    ReadTimeout,
}

impl Trouble {
    fn status(self) -> u16 {
        match self {
            Self::ConnectTimeout | Self::ReadTimeout => 504,
            Self::Connect(_) | Self::Closed | Self::BadResponse(_) => 502,
        }
    }

    fn cause(self) -> &'static str {
        match self {
            Self::Connect(_) => "cannot connect to the backend",
            Self::ConnectTimeout => "connecting to the backend took too long",
            Self::Closed => "the backend closed the connection",
            Self::BadResponse(_) => "bad response from the backend",
            Self::ReadTimeout => "the backend took too long",
        }
    }

    /// For the operator.
    fn detail(self) -> String {
        match self {
            Self::Connect(error) => reason(&error.into()),
            Self::BadResponse(cause) => format!("bad response: {cause}"),
            other => other.cause().to_owned(),
        }
    }

    /// A slow answer may be the request's fault.
    fn is_failure_of_backend(self) -> bool {
        !matches!(self, Self::ReadTimeout)
    }
}

/// For whom an exchange waits.
enum Waiting {
    Connect,
    ClientToRead,
    ClientToSend,
    Backend,
}

/// Sending off.
impl Worker {
    pub fn assign_backend(&mut self, id: usize) {
        let exchange = &self.clients[id].exchange;
        match self
            .shared
            .backends
            .choose(&exchange.tried, exchange.hash_key, self.now_ms)
        {
            Some(backend) => {
                self.counters.backend_requests[backend].add(1);
                self.open_upstream(id, backend, true);
            }
            None => self.answer_error(id, 503, "no backend is up"),
        }
    }

    fn open_upstream(&mut self, id: usize, backend: usize, from_pool: bool) {
        let exchange = &mut self.clients[id].exchange;
        exchange.backend = Some(backend);
        exchange.has_moved = true; // the time-out starts now
        let must_be_quiet = !exchange.is_idempotent;
        self.shared.backends.get(backend).enter();
        let pooled = if from_pool {
            self.take_idle(backend, must_be_quiet)
        } else {
            None
        };
        let opened = pooled.map_or_else(|| self.connect(backend), Ok);
        match opened {
            Ok(key) => {
                self.upstreams[key].owner = Some(id);
                self.clients[id].exchange.upstream = Some(key);
            }
            Err(error) => self.fail_upstream(id, Trouble::Connect(error)),
        }
    }

    /// Closes the connection to the backend; tells whether it had served before.
    pub fn drop_upstream(&mut self, id: usize) -> bool {
        let exchange = &mut self.clients[id].exchange;
        if let Some(backend) = exchange.backend.take() {
            self.shared.backends.get(backend).leave();
        }
        exchange
            .upstream
            .take()
            .is_some_and(|key| self.upstreams.remove(key).is_reused)
    }

    /// The connection to the backend is of no more use: try again, or tell the client.
    pub fn fail_upstream(&mut self, id: usize, trouble: Trouble) {
        let Some(backend) = self.clients[id].exchange.backend else {
            return;
        };
        let was_reused = self.drop_upstream(id);
        let exchange = &mut self.clients[id].exchange;
        exchange.is_upload_broken = false;
        if was_reused && exchange.may_replay(trouble) {
            exchange.outbox.rewind();
            return self.open_upstream(id, backend, false);
        }
        if trouble.is_failure_of_backend() {
            self.shared
                .backends
                .note_failure(backend, self.now_ms, &trouble.detail());
        }
        if exchange.may_retry(trouble) {
            exchange.tried.push(backend);
            let next = self
                .shared
                .backends
                .choose(&exchange.tried, exchange.hash_key, self.now_ms);
            if let Some(next) = next {
                exchange.retries_left -= 1;
                exchange.outbox.rewind();
                self.counters.retries.add(1);
                self.counters.backend_requests[next].add(1);
                return self.open_upstream(id, next, true);
            }
        }
        if exchange.is_head_sent {
            self.counters.responses_cut.add(1);
            self.cut(id);
        } else {
            self.answer_error(id, trouble.status(), trouble.cause());
        }
    }

    /// Ends a response in its middle so that nobody takes it for a whole one.
    fn cut(&mut self, id: usize) {
        let client = &self.clients[id];
        if client.exchange.ends_with_close() {
            client.socket.close_hard();
        }
        self.abandon(id);
    }

    /// Ends both connections at once.
    pub fn abandon(&mut self, id: usize) {
        self.drop_upstream(id);
        self.clients[id].phase = Phase::Dead;
    }
}

/// Relaying.
impl Worker {
    /// Moves what can be moved: one read in each direction.
    pub fn relay(&mut self, id: usize) -> Step {
        if self.clients[id].socket.failed {
            self.abandon(id);
            return Step::Wait;
        }
        self.push_request(id);
        if self.clients[id].phase == Phase::Exchange {
            self.pull_response(id);
        }
        let client = &mut self.clients[id];
        if client.phase != Phase::Exchange {
            return Step::Again;
        }
        if !take(&mut client.exchange.has_moved) {
            return Step::Wait;
        }
        let wait_ms = self.wait_ms(id);
        self.timers.set(id, self.now_ms + wait_ms);
        Step::Again
    }

    fn waiting(&self, id: usize) -> Waiting {
        let client = &self.clients[id];
        let exchange = &client.exchange;
        match exchange.upstream {
            Some(key) if self.upstreams[key].is_connecting => Waiting::Connect,
            _ if !client.output.is_flushed() => Waiting::ClientToRead,
            _ if !exchange.request.is_done()
                && exchange.outbox.is_flushed()
                && !exchange.is_upload_broken =>
            {
                Waiting::ClientToSend
            }
            _ => Waiting::Backend,
        }
    }

    fn wait_ms(&self, id: usize) -> u64 {
        let options = &self.shared.options;
        match self.waiting(id) {
            Waiting::Connect => options.connect_timeout_ms,
            Waiting::ClientToRead => options.idle_timeout_ms,
            // The backend may be what it waits for, as with `Expect: 100-continue`.
            Waiting::ClientToSend => options.idle_timeout_ms.min(options.read_timeout_ms),
            Waiting::Backend => options.read_timeout_ms,
        }
    }

    pub fn expire_exchange(&mut self, id: usize) {
        match self.waiting(id) {
            Waiting::Connect => self.fail_upstream(id, Trouble::ConnectTimeout),
            Waiting::Backend => self.fail_upstream(id, Trouble::ReadTimeout),
            Waiting::ClientToSend if !self.clients[id].exchange.is_head_sent => {
                self.refuse(
                    id,
                    Refusal {
                        status: 408,
                        cause: "the request body took too long",
                    },
                );
            }
            Waiting::ClientToSend | Waiting::ClientToRead => self.cut(id),
        }
    }

    fn push_request(&mut self, id: usize) {
        let client = &mut self.clients[id];
        let exchange = &mut client.exchange;
        let Some(upstream) = exchange
            .upstream
            .and_then(|key| self.upstreams.get_mut(key))
        else {
            return;
        };
        if upstream.is_connecting {
            if !upstream.socket.writable {
                return;
            }
            if let Err(error) = upstream.socket.connect_result() {
                return self.fail_upstream(id, Trouble::Connect(error));
            }
            upstream.is_connecting = false;
            exchange.has_moved = true;
        }
        if exchange.is_upload_broken {
            return;
        }
        let waiting_bytes = exchange.outbox.waiting_bytes();
        match exchange.outbox.flush(&mut upstream.socket) {
            Err(_) => self.break_upload(id),
            Ok(is_flushed) => {
                exchange.has_moved |= exchange.outbox.waiting_bytes() < waiting_bytes;
                if !is_flushed || exchange.request.is_done() || !client.socket.is_readable() {
                    return;
                }
                if let Some(limit) = splice_limit(&exchange.request) {
                    self.splice_body(id, limit);
                } else {
                    let mut scratch = take(&mut self.scratch);
                    self.push_body(id, &mut scratch);
                    self.scratch = scratch;
                }
            }
        }
    }

    /// Reads a piece of the request's body and sends it on.
    fn push_body(&mut self, id: usize, scratch: &mut [u8]) {
        let client = &mut self.clients[id];
        let exchange = &mut client.exchange;
        let bytes = match client.socket.receive(scratch) {
            Received::Nothing => return,
            Received::End | Received::Broken => return self.abandon(id),
            Received::Bytes(length) => &scratch[..length],
        };
        self.counters.bytes_in.add(bytes.len() as u64);
        exchange.has_moved = true;
        match exchange.request.advance(bytes) {
            Err(_) if exchange.is_head_sent => self.cut(id),
            Err(fault) => self.refuse(id, refusal_of(fault)),
            Ok(used) => {
                let (body, rest) = bytes.split_at(used);
                client.inbox.push(rest);
                exchange.is_replayable = false;
                let sent = match exchange
                    .upstream
                    .and_then(|key| self.upstreams.get_mut(key))
                {
                    Some(upstream) => exchange.outbox.send(&mut upstream.socket, [body, b"", b""]),
                    None => Ok(()),
                };
                if sent.is_err() {
                    self.break_upload(id);
                }
            }
        }
    }

    /// Passes a piece of a long request body on, without looking at it.
    fn splice_body(&mut self, id: usize, limit: usize) {
        let client = &mut self.clients[id];
        let exchange = &mut client.exchange;
        let Some(upstream) = exchange
            .upstream
            .and_then(|key| self.upstreams.get_mut(key))
        else {
            return;
        };
        let (from, to) = (&mut client.socket, &mut upstream.socket);
        exchange.is_replayable = false;
        match self.pipe.pass(from, to, &mut exchange.outbox, limit) {
            Ok(Received::Nothing) => {}
            Ok(Received::End | Received::Broken) => self.abandon(id),
            Ok(Received::Bytes(length)) => {
                exchange.has_moved = true;
                exchange.request.skip(length);
                self.counters.bytes_in.add(length as u64);
            }
            Err(_) => self.break_upload(id),
        }
    }

    /// The backend takes no more. What it said before that counts, so it is read to its end.
    fn break_upload(&mut self, id: usize) {
        let exchange = &mut self.clients[id].exchange;
        exchange.is_upload_broken = true;
        if let Some(key) = exchange.upstream {
            self.upstreams[key].socket.expect_bytes();
        }
    }

    fn pull_response(&mut self, id: usize) {
        let client = &mut self.clients[id];
        let upstream = client
            .exchange
            .upstream
            .and_then(|key| self.upstreams.get_mut(key));
        let Some(upstream) = upstream.filter(|upstream| !upstream.is_connecting) else {
            return;
        };
        if !client.output.is_flushed() {
            return;
        }
        let is_head_sent = client.exchange.is_head_sent;
        if let Some(limit) = splice_limit(&client.exchange.response).filter(|_| is_head_sent) {
            return self.splice_response(id, limit);
        }
        let mut scratch = take(&mut self.scratch);
        let limit = if is_head_sent {
            scratch.len()
        } else {
            FIRST_READ_BYTES
        };
        match upstream.socket.receive(&mut scratch[..limit]) {
            Received::Nothing => {}
            Received::Bytes(length) => {
                client.exchange.has_moved = true;
                self.take_response(id, &scratch[..length]);
            }
            Received::End => self.end_response(id),
            Received::Broken => self.fail_upstream(id, Trouble::Closed),
        }
        self.scratch = scratch;
    }

    /// Passes a piece of a long response body on, without looking at it.
    fn splice_response(&mut self, id: usize, limit: usize) {
        let client = &mut self.clients[id];
        let exchange = &mut client.exchange;
        let Some(upstream) = exchange
            .upstream
            .and_then(|key| self.upstreams.get_mut(key))
        else {
            return;
        };
        let (from, to) = (&mut upstream.socket, &mut client.socket);
        match self.pipe.pass(from, to, &mut client.output, limit) {
            Ok(Received::Nothing) => {}
            Ok(Received::End | Received::Broken) => self.fail_upstream(id, Trouble::Closed),
            Ok(Received::Bytes(length)) => {
                exchange.has_moved = true;
                exchange.response.skip(length);
                self.counters.bytes_out.add(length as u64);
                if exchange.response.is_done() {
                    self.finish(id);
                }
            }
            Err(_) => self.abandon(id),
        }
    }

    fn take_response(&mut self, id: usize, bytes: &[u8]) {
        let exchange = &mut self.clients[id].exchange;
        let outcome = if exchange.is_head_sent {
            let mut text = take(&mut self.compose);
            let outcome = self.pass_body(id, &mut text, bytes);
            text.clear(); // after a fault it may hold a head that must not be sent
            self.compose = text;
            outcome
        } else {
            exchange.has_response_byte = true;
            let mut partial = take(&mut exchange.partial);
            if partial.is_empty() {
                self.take_heads(id, bytes)
            } else {
                partial.extend_from_slice(bytes);
                self.take_heads(id, &partial)
            }
        };
        if let Err(trouble) = outcome {
            self.fail_upstream(id, trouble);
        }
    }

    /// Passes interim responses on, up to the final one.
    fn take_heads(&mut self, id: usize, bytes: &[u8]) -> Result<(), Trouble> {
        let mut rest = bytes;
        loop {
            let exchange = &mut self.clients[id].exchange;
            let Some(length) = exchange
                .scan
                .find_end(rest, MAX_RESPONSE_HEAD_BYTES)
                .map_err(head_trouble)?
            else {
                exchange.partial.extend_from_slice(rest);
                return Ok(());
            };
            exchange.scan = HeadScan::default();
            let (head, behind) = rest.split_at(length);
            let mut response = take(&mut self.response_head);
            let mut text = take(&mut self.compose);
            let outcome = response.parse(head).map_err(Trouble::BadResponse);
            let outcome =
                outcome.and_then(|()| self.pass_head(id, &response, head, behind, &mut text));
            self.response_head = response;
            text.clear();
            self.compose = text;
            if outcome? {
                return Ok(());
            }
            rest = behind;
        }
    }

    /// Tells whether the head was the final one.
    fn pass_head(
        &mut self,
        id: usize,
        response: &ResponseHead,
        head: &[u8],
        behind: &[u8],
        text: &mut Vec<u8>,
    ) -> Result<bool, Trouble> {
        let client = &mut self.clients[id];
        let exchange = &mut client.exchange;
        if response.status == 101 {
            return self
                .start_tunnel(id, response, head, behind, text)
                .map(|()| true);
        }
        if response.is_interim() {
            // HTTP/1.0 knows no interim responses.
            if !exchange.is_http10 {
                let passage = Passage {
                    delivery: Delivery::AsIs,
                    keep_coding: false,
                    connection: None,
                };
                response.write(head, &passage, text);
                self.deliver(id, text, [b"", b""]);
            }
            return Ok(false);
        }
        let framing = response.body_framing(exchange.is_to_head);
        exchange.response = Body::new(framing, u64::MAX).map_err(body_trouble)?;
        exchange.delivery = match framing {
            Framing::UntilClose if !exchange.is_http10 => Delivery::Chunked,
            Framing::Chunked if exchange.is_http10 => Delivery::Unchunked,
            _ => Delivery::AsIs,
        };
        exchange.is_reusable = response.keep_alive && framing != Framing::UntilClose;
        client.keep_alive &=
            exchange.request.is_done() && !exchange.ends_with_close() && !self.is_draining;
        let passage = Passage {
            delivery: exchange.delivery,
            keep_coding: exchange.delivery == Delivery::AsIs && !exchange.is_http10,
            connection: match client.keep_alive {
                false => Some("close"),
                true if exchange.is_http10 => Some("keep-alive"),
                true => None,
            },
        };
        response.write(head, &passage, text);
        self.pass_body(id, text, behind)?;
        self.counters.count_response(response.status);
        Ok(true)
    }

    /// Sends what is written, and behind it a piece of the body in its new framing.
    fn pass_body(&mut self, id: usize, text: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Trouble> {
        let exchange = &mut self.clients[id].exchange;
        let mut parts: [&[u8]; 2] = [b"", b""];
        let used = match exchange.delivery {
            Delivery::AsIs => {
                let used = exchange.response.advance(bytes).map_err(body_trouble)?;
                parts[0] = &bytes[..used];
                used
            }
            Delivery::Unchunked => {
                let content = |content: &[u8]| text.extend_from_slice(content);
                exchange
                    .response
                    .decode(bytes, content)
                    .map_err(body_trouble)?
            }
            Delivery::Chunked => {
                if !bytes.is_empty() {
                    let written = write!(text, "{:x}\r\n", bytes.len());
                    debug_assert!(written.is_ok(), "a Vec takes all bytes");
                    parts = [bytes, b"\r\n"];
                }
                bytes.len()
            }
        };
        exchange.is_reusable &= used == bytes.len();
        exchange.is_head_sent = true;
        let is_done = exchange.response.is_done();
        self.deliver(id, text, parts);
        if is_done && self.clients[id].phase == Phase::Exchange {
            self.finish(id);
        }
        Ok(())
    }

    /// Sends what is written, which is then forgotten, and parts behind it. What the client does not
    /// take now is kept, and the backend is not read until it is gone.
    pub fn deliver(&mut self, id: usize, text: &mut Vec<u8>, parts: [&[u8]; 2]) {
        let client = &mut self.clients[id];
        let part_bytes = parts[0].len() + parts[1].len();
        if text.is_empty() && part_bytes == 0 {
            return;
        }
        self.counters
            .bytes_out
            .add((text.len() + part_bytes) as u64);
        let sent = if text.is_empty() && parts[1].is_empty() {
            client.output.send(&mut client.socket, [parts[0], b"", b""])
        } else if part_bytes <= COPIED_BYTES {
            text.extend_from_slice(parts[0]);
            text.extend_from_slice(parts[1]);
            client
                .output
                .send(&mut client.socket, [text.as_slice(), b"", b""])
        } else {
            client
                .output
                .send(&mut client.socket, [text.as_slice(), parts[0], parts[1]])
        };
        text.clear();
        if sent.is_err() {
            self.abandon(id);
        }
    }

    /// The backend has ended its connection, which may be the end of the body.
    fn end_response(&mut self, id: usize) {
        let exchange = &mut self.clients[id].exchange;
        if !exchange.is_head_sent || !exchange.response.ends_with_connection() {
            return self.fail_upstream(id, Trouble::Closed);
        }
        if exchange.delivery == Delivery::Chunked {
            let mut text = take(&mut self.compose);
            text.extend_from_slice(b"0\r\n\r\n");
            self.deliver(id, &mut text, [b"", b""]);
            self.compose = text;
        }
        if self.clients[id].phase == Phase::Exchange {
            self.finish(id);
        }
    }

    /// The response is complete.
    fn finish(&mut self, id: usize) {
        let client = &mut self.clients[id];
        let exchange = &mut client.exchange;
        let is_request_done = exchange.request.is_done();
        let is_in_step = exchange.is_reusable && is_request_done && exchange.outbox.is_flushed();
        if let Some(backend) = exchange.backend {
            self.shared.backends.note_success(backend);
        }
        let key = exchange.upstream;
        match key.filter(|&key| is_in_step && self.upstreams[key].socket.is_drained()) {
            Some(key) => {
                exchange.upstream = None;
                self.drop_upstream(id);
                self.park(key);
            }
            None => {
                self.drop_upstream(id);
            }
        }
        let client = &mut self.clients[id];
        client.exchange.outbox.clear();
        if client.keep_alive {
            self.next_request(id);
        } else {
            self.close_after_output(id, !is_request_done);
        }
    }
}

fn head_trouble(refusal: Refusal) -> Trouble {
    Trouble::BadResponse(if refusal.status == 400 {
        refusal.cause
    } else {
        "head too large"
    })
}

fn body_trouble(fault: BodyFault) -> Trouble {
    match fault {
        BodyFault::Bad(cause) => Trouble::BadResponse(cause),
        BodyFault::TooLarge => Trouble::BadResponse("body too large"),
    }
}

/// Tunnels.
impl Worker {
    fn start_tunnel(
        &mut self,
        id: usize,
        response: &ResponseHead,
        head: &[u8],
        behind: &[u8],
        text: &mut Vec<u8>,
    ) -> Result<(), Trouble> {
        let client = &mut self.clients[id];
        let exchange = &mut client.exchange;
        let upstream = exchange
            .upstream
            .and_then(|key| self.upstreams.get_mut(key));
        let is_asked = exchange.wants_upgrade && exchange.request.is_done();
        let Some(upstream) = upstream.filter(|_| is_asked) else {
            return Err(Trouble::BadResponse("101 without being asked"));
        };
        let early = take(&mut client.inbox);
        // If this fails, so will the next write, which is the tunnel's.
        let _ = exchange
            .outbox
            .send(&mut upstream.socket, [early.bytes(), b"", b""]);
        exchange.is_head_sent = true;
        client.phase = Phase::Tunnel;
        let passage = Passage {
            delivery: Delivery::AsIs,
            keep_coding: false,
            connection: Some("upgrade"),
        };
        response.write(head, &passage, text);
        self.counters.count_response(response.status);
        self.timers
            .set(id, self.now_ms + self.shared.options.idle_timeout_ms);
        self.deliver(id, text, [behind, b""]);
        Ok(())
    }

    /// Moves bytes both ways: one read in each direction.
    pub fn tunnel(&mut self, id: usize) -> Step {
        let client = &mut self.clients[id];
        let exchange = &mut client.exchange;
        let Some(upstream) = exchange
            .upstream
            .and_then(|key| self.upstreams.get_mut(key))
        else {
            return Step::Wait;
        };
        let (near, far) = (&mut client.socket, &mut upstream.socket);
        let up = pump(
            near,
            &mut exchange.outbox,
            far,
            &mut exchange.is_client_done,
            &mut self.scratch,
        );
        let down = pump(
            far,
            &mut client.output,
            near,
            &mut exchange.is_backend_done,
            &mut self.scratch,
        );
        let is_over =
            near.failed || far.failed || (exchange.is_client_done && exchange.is_backend_done);
        let (Ok(up), Ok(down), false) = (up, down, is_over) else {
            self.abandon(id);
            return Step::Wait;
        };
        self.counters.bytes_in.add(up.received_bytes);
        self.counters.bytes_out.add(down.received_bytes);
        if !up.any && !down.any && !take(&mut exchange.has_moved) {
            return Step::Wait;
        }
        self.timers
            .set(id, self.now_ms + self.shared.options.idle_timeout_ms);
        Step::Again
    }
}

/// What a pump has done.
#[derive(Debug, Default, Clone, Copy)]
struct Moved {
    any: bool,
    received_bytes: u64,
}

/// Moves bytes from one side of a tunnel to the other, and its end behind them.
fn pump(
    from: &mut Socket,
    pending: &mut Outbox,
    to: &mut Socket,
    is_done: &mut bool,
    scratch: &mut [u8],
) -> Result<Moved, Errno> {
    let waiting_bytes = pending.waiting_bytes();
    let is_flushed = pending.flush(to)?;
    let mut moved = Moved {
        any: pending.waiting_bytes() < waiting_bytes,
        received_bytes: 0,
    };
    if !is_flushed || *is_done {
        return Ok(moved);
    }
    match from.receive(scratch) {
        Received::Nothing => return Ok(moved),
        Received::Bytes(length) => {
            moved.received_bytes = length as u64;
            pending.send(to, [&scratch[..length], b"", b""])?;
        }
        Received::End => {
            *is_done = true;
            to.end_sending();
        }
        Received::Broken => return Err(Errno::CONNRESET),
    }
    moved.any = true;
    Ok(moved)
}
