//! The client's side: heads are read, requests are taken or refused, answers of our own are given,
//! and connections end so that the last answer arrives.

use std::mem::take;

use crate::body::{Body, BodyFault, Framing};
use crate::exchange::Exchange;
use crate::head::{HeadScan, Hop, Refusal, Reply, RequestHead, error_text};
use crate::metrics;
use crate::options::Balance;
use crate::server::{Step, Worker};
use crate::socket::{Inbox, Outbox, Received, Socket};

/// Which kind of guest a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guest {
    Public,
    /// Asks for metrics.
    Admin,
    /// One too many: it is told so.
    Surplus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Idle, or a request head is coming.
    Head,
    /// A request is under way.
    Exchange,
    /// Bytes go both ways and mean nothing to us.
    Tunnel,
    /// The last answer is on its way.
    Closing,
    /// Our end is sent; what the client still sends is thrown away.
    Linger,
    Dead,
}

#[derive(Debug)]
pub struct Client {
    pub socket: Socket,
    pub generation: u32,
    pub address: String,
    pub guest: Guest,
    pub phase: Phase,
    /// What came and was not asked for yet: a part of a head, or pipelined requests.
    pub inbox: Inbox,
    pub output: Outbox,
    scan: HeadScan,
    is_head_begun: bool,
    pub keep_alive: bool,
    /// The client may still be sending: a close now would destroy the answer on its way.
    pub must_linger: bool,
    lingered_bytes: usize,
    pub exchange: Exchange,
}

/// How long, and how much, a client may go on sending behind its last answer.
const LINGER_MS: u64 = 1_000;
const LINGER_BYTES: usize = 1 << 20;

const EMPTY_LINE_BYTES: usize = "\r\n".len();

impl Client {
    pub fn new(socket: Socket, generation: u32, address: String, guest: Guest) -> Self {
        Self {
            socket,
            generation,
            address,
            guest,
            phase: Phase::Head,
            inbox: Inbox::default(),
            output: Outbox::default(),
            scan: HeadScan::default(),
            is_head_begun: false,
            keep_alive: true,
            must_linger: false,
            lingered_bytes: 0,
            exchange: Exchange::default(),
        }
    }
}

impl Worker {
    pub fn read_head(&mut self, id: usize) -> Step {
        let client = &mut self.clients[id];
        if !client.scan.has_seen(client.inbox.bytes().len()) {
            let mut inbox = take(&mut client.inbox);
            let used = self.take_request(id, inbox.bytes());
            inbox.consume(used);
            self.clients[id].inbox = inbox;
            return Step::Again;
        }
        let mut scratch = take(&mut self.scratch);
        let step = self.read_more_of_head(id, &mut scratch);
        self.scratch = scratch;
        step
    }

    fn read_more_of_head(&mut self, id: usize, scratch: &mut [u8]) -> Step {
        let client = &mut self.clients[id];
        match client.socket.receive(scratch) {
            Received::Nothing => {
                if self.is_draining && client.inbox.is_empty() {
                    client.phase = Phase::Dead;
                }
                return Step::Wait;
            }
            Received::End | Received::Broken => {
                client.phase = Phase::Dead;
                return Step::Wait;
            }
            Received::Bytes(length) => {
                let bytes = &scratch[..length];
                self.counters.bytes_in.add(length as u64);
                if client.inbox.is_empty() {
                    let used = self.take_request(id, bytes);
                    self.clients[id].inbox.push(&bytes[used..]);
                } else {
                    client.inbox.push(bytes);
                }
            }
        }
        Step::Again
    }

    /// Looks for a request at the start of these bytes; tells how many of them were used.
    fn take_request(&mut self, id: usize, bytes: &[u8]) -> usize {
        let mut start = 0;
        loop {
            let client = &mut self.clients[id];
            let found = client
                .scan
                .find_end(&bytes[start..], self.shared.options.max_header_bytes);
            if !matches!(found, Ok(None)) {
                client.scan = HeadScan::default();
            }
            match found {
                Ok(Some(EMPTY_LINE_BYTES)) => start += EMPTY_LINE_BYTES, // allowed in front of a request
                Ok(Some(length)) => {
                    let (head, rest) = bytes[start..].split_at(length);
                    return start + length + self.start_request(id, head, rest);
                }
                Ok(None) => {
                    if start < bytes.len() && !client.is_head_begun {
                        client.is_head_begun = true;
                        self.timers
                            .set(id, self.now_ms + self.shared.options.header_timeout_ms);
                    }
                    return start;
                }
                Err(refusal) => {
                    self.refuse(id, refusal);
                    return bytes.len();
                }
            }
        }
    }

    /// Tells how many bytes behind the head belong to the request.
    fn start_request(&mut self, id: usize, head: &[u8], rest: &[u8]) -> usize {
        let mut request = take(&mut self.request_head);
        let outcome = request
            .parse(head)
            .and_then(|()| match self.clients[id].guest {
                Guest::Admin => Ok(self.answer_admin(id, &request, head)),
                Guest::Public | Guest::Surplus => self.forward(id, &request, head, rest),
            });
        self.request_head = request;
        outcome.unwrap_or_else(|refusal| {
            self.refuse(id, refusal);
            rest.len()
        })
    }

    /// Writes the request for its backend, with as much of the body as is there, and sends it off.
    fn forward(
        &mut self,
        id: usize,
        request: &RequestHead,
        head: &[u8],
        rest: &[u8],
    ) -> Result<usize, Refusal> {
        let options = &self.shared.options;
        let mut body = Body::new(
            request.framing,
            options.max_body_bytes,
            options.max_header_bytes,
        )
        .map_err(refusal_of)?;
        let used = body.advance(rest).map_err(refusal_of)?;
        let client = &mut self.clients[id];
        let key = match (options.balance, &options.hash_header) {
            (Balance::Hash, None) => client.address.as_bytes(),
            (Balance::Hash, Some(name)) => request
                .value_of(head, name)
                .unwrap_or(client.address.as_bytes()),
            _ => b"",
        };
        client.exchange.begin(
            request,
            body,
            used > 0,
            crate::backend::hash(key),
            options.retries,
        );
        let hop = Hop {
            client: &client.address,
            default_host: &self.shared.listen_name,
        };
        let outbox = client.exchange.outbox.buffer();
        request.write(head, &hop, outbox);
        outbox.extend_from_slice(&rest[..used]);
        client.keep_alive = request.keep_alive;
        client.is_head_begun = false;
        client.phase = Phase::Exchange;
        self.assign_backend(id);
        Ok(used)
    }

    /// The next request of this client may come.
    pub fn next_request(&mut self, id: usize) {
        let client = &mut self.clients[id];
        client.phase = Phase::Head;
        client.is_head_begun = false;
        self.timers
            .set(id, self.now_ms + self.shared.options.idle_timeout_ms);
    }

    /// Answers a request that must not go further, and ends the connection.
    pub fn refuse(&mut self, id: usize, refusal: Refusal) {
        let client = &mut self.clients[id];
        client.keep_alive = false;
        client.exchange.is_to_head = false;
        self.answer_error(id, refusal.status, refusal.cause);
    }

    /// Answers for the backend. The connection goes on if the whole request is behind us.
    pub fn answer_error(&mut self, id: usize, status: u16, cause: &str) {
        let client = &mut self.clients[id];
        let exchange = &client.exchange;
        client.keep_alive &= exchange.request.is_done() && !exchange.is_http10 && !self.is_draining;
        let text = error_text(status, cause);
        self.answer(id, status, "text/plain", &text);
    }

    fn answer(&mut self, id: usize, status: u16, content_type: &str, body: &str) {
        self.drop_upstream(id);
        let client = &mut self.clients[id];
        let (close, to_head) = (!client.keep_alive, client.exchange.is_to_head);
        if client.guest == Guest::Public {
            self.counters.count_response(status);
        }
        let mut text = take(&mut self.compose);
        Reply {
            status,
            content_type,
            body,
            close,
            to_head,
        }
        .write(&mut text);
        self.deliver(id, &mut text, [b"", b""]);
        self.compose = text;
        match self.clients[id].phase {
            Phase::Dead => {}
            _ if close => self.close_after_output(id, true),
            _ => self.next_request(id),
        }
    }

    /// Metrics, and whether anybody could be served.
    fn answer_admin(&mut self, id: usize, request: &RequestHead, head: &[u8]) -> usize {
        let client = &mut self.clients[id];
        client.keep_alive =
            request.keep_alive && request.framing == Framing::None && !request.is_http10;
        client.exchange.is_to_head = request.is_head;
        let path = request.target(head).split(|&byte| byte == b'?').next();
        match (request.method(head), path) {
            (b"GET" | b"HEAD", Some(b"/metrics")) => {
                let text =
                    metrics::render(&self.shared.counters, &self.shared.backends, self.now_ms);
                self.answer(id, 200, "text/plain; version=0.0.4", &text);
            }
            (b"GET" | b"HEAD", Some(b"/health")) => {
                let is_any_up = self
                    .shared
                    .backends
                    .iter()
                    .any(|backend| backend.is_up(self.now_ms));
                if is_any_up {
                    self.answer(id, 200, "text/plain", "ok\n");
                } else {
                    self.answer(id, 503, "text/plain", &error_text(503, "no backend is up"));
                }
            }
            (_, Some(b"/metrics" | b"/health")) => {
                self.answer(id, 405, "text/plain", &error_text(405, "only GET and HEAD"));
            }
            _ => self.answer(
                id,
                404,
                "text/plain",
                &error_text(404, "only /metrics and /health"),
            ),
        }
        0
    }

    pub fn close_after_output(&mut self, id: usize, must_linger: bool) {
        let client = &mut self.clients[id];
        client.must_linger = must_linger;
        client.phase = Phase::Closing;
        self.timers
            .set(id, self.now_ms + self.shared.options.idle_timeout_ms);
    }

    /// Everything is sent. A close with unread bytes would be a reset, which could overtake the answer.
    pub fn close(&mut self, id: usize) -> Step {
        let client = &mut self.clients[id];
        if !client.must_linger && client.inbox.is_empty() && !client.socket.is_readable() {
            client.phase = Phase::Dead;
            return Step::Wait;
        }
        client.socket.end_sending();
        client.phase = Phase::Linger;
        self.timers.set(id, self.now_ms + LINGER_MS);
        Step::Again
    }

    pub fn linger(&mut self, id: usize) -> Step {
        let client = &mut self.clients[id];
        match client.socket.receive(&mut self.scratch) {
            Received::Nothing => return Step::Wait,
            Received::Bytes(length) if client.lingered_bytes + length <= LINGER_BYTES => {
                client.lingered_bytes += length;
                return Step::Again;
            }
            _ => client.phase = Phase::Dead,
        }
        Step::Wait
    }

    /// The time of this client is over.
    pub fn expire(&mut self, id: usize) {
        let client = &mut self.clients[id];
        match client.phase {
            Phase::Head if client.is_head_begun && client.output.is_flushed() => {
                self.refuse(
                    id,
                    Refusal {
                        status: 408,
                        cause: "the request head took too long",
                    },
                );
            }
            Phase::Exchange => self.expire_exchange(id),
            Phase::Tunnel => self.abandon(id),
            Phase::Head | Phase::Closing | Phase::Linger | Phase::Dead => {
                client.phase = Phase::Dead;
            }
        }
        self.drive(id);
    }
}

/// What a client is told about its body.
pub fn refusal_of(fault: BodyFault) -> Refusal {
    match fault {
        BodyFault::Bad(cause) => Refusal { status: 400, cause },
        BodyFault::TooLarge => Refusal {
            status: 413,
            cause: "body too large",
        },
    }
}
