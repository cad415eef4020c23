//! What goes on between a client and a backend: a request goes up and its response comes down, both as
//! they come, a piece at a time.

use std::io::Write;
use std::mem::take;

use crate::body::{Body, BodyFault, Delivery, Framing};
use crate::client::{Phase, refusal_of};
use crate::exchange::Trouble;
use crate::head::{HeadScan, Passage, Refusal, ResponseHead};
use crate::server::{Step, Worker};
use crate::socket::Received;

/// A larger response head is a failure of the backend.
const MAX_RESPONSE_HEAD_BYTES: usize = 65_536;

/// Parts of a response that are smaller are copied behind their head: one cheap send instead of a
/// dearer vectored one.
const COPIED_BYTES: usize = 4_096;

/// With a response head comes at most so much of the body: the rest of a long one is better spliced.
const FIRST_READ_BYTES: usize = 8_192;

/// Shorter rests of bodies are not worth a pipe.
const MIN_SPLICE_BYTES: u64 = 16_384;
const MAX_SPLICE_BYTES: u64 = 65_536;

/// How much of a body may pass without being looked at, if that pays.
fn splice_limit(body: &Body) -> Option<usize> {
    let left = body.length_left();
    (left >= MIN_SPLICE_BYTES).then_some(left.min(MAX_SPLICE_BYTES) as usize)
}

/// For whom an exchange waits.
enum Waiting {
    Connect,
    ClientToRead,
    ClientToSend,
    Backend,
}

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
        exchange.response =
            Body::new(framing, u64::MAX, MAX_RESPONSE_HEAD_BYTES).map_err(body_trouble)?;
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
        let is_sent = is_request_done && exchange.outbox.is_flushed() && !exchange.is_upload_broken;
        let is_in_step = exchange.is_reusable && is_sent;
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
