//! After a 101 two connections are one tunnel of bytes, whose directions end apart.

use std::mem::take;

use rustix::io::Errno;

use crate::body::Delivery;
use crate::client::Phase;
use crate::exchange::Trouble;
use crate::head::{Passage, ResponseHead};
use crate::server::{Step, Worker};
use crate::socket::{Outbox, Received, Socket};

impl Worker {
    pub fn start_tunnel(
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
