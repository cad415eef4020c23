//! A request and its response: which backend has it, and what becomes of it when that one fails: an
//! answer, another attempt, or a cut that the client sees.

use std::mem::take;

use rustix::io::Errno;

use crate::body::{Body, Delivery};
use crate::client::Phase;
use crate::failure::reason;
use crate::head::{HeadScan, RequestHead};
use crate::server::Worker;
use crate::socket::Outbox;

/// One request and its response.
#[derive(Debug, Default)]
pub struct Exchange {
    /// The connection to the backend.
    pub upstream: Option<usize>,
    pub backend: Option<usize>,
    tried: Vec<usize>,
    retries_left: u32,
    hash_key: u64,

    pub is_to_head: bool,
    pub is_http10: bool,
    pub is_idempotent: bool,
    pub wants_upgrade: bool,

    /// What is to be sent to the backend. It starts with the head of the request and keeps it as long
    /// as it `is_replayable`.
    pub outbox: Outbox,
    pub request: Body,
    has_body_in_outbox: bool,
    pub is_replayable: bool,
    /// The backend takes no more, but may have said why.
    pub is_upload_broken: bool,

    /// The begin of a response head.
    pub partial: Vec<u8>,
    pub scan: HeadScan,
    pub response: Body,
    pub delivery: Delivery,
    pub has_response_byte: bool,
    pub is_head_sent: bool,
    pub is_reusable: bool,

    pub is_client_done: bool,
    pub is_backend_done: bool,
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
            Trouble::NoResources | Trouble::BadResponse(_) | Trouble::ReadTimeout => false,
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
    pub fn ends_with_close(&self) -> bool {
        self.is_http10
            && (self.delivery == Delivery::Unchunked || self.response.ends_with_connection())
    }
}

/// What can go wrong with a backend.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    /// Ours, not the backend's: no descriptors, ports or memory are left.
    NoResources,
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
            Self::NoResources => 503,
            Self::ConnectTimeout | Self::ReadTimeout => 504,
            Self::Connect(_) | Self::Closed | Self::BadResponse(_) => 502,
        }
    }

    fn cause(self) -> &'static str {
        match self {
            Self::NoResources => "out of resources",
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
        !matches!(self, Self::ReadTimeout | Self::NoResources)
    }

    fn of_connect(error: Errno) -> Self {
        match error {
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL => {
                Self::NoResources
            }
            other => Self::Connect(other),
        }
    }
}

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
            Err(error) => self.fail_upstream(id, Trouble::of_connect(error)),
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
    pub fn cut(&mut self, id: usize) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An exchange whose head was sent to a backend.
    fn sent(is_idempotent: bool, has_body_in_outbox: bool) -> Exchange {
        Exchange {
            is_idempotent,
            has_body_in_outbox,
            is_replayable: true,
            retries_left: 1,
            ..Exchange::default()
        }
    }

    #[test]
    fn only_what_is_safe_is_tried_again() {
        let refused = Trouble::Connect(Errno::CONNREFUSED);
        for (exchange, trouble, expected) in [
            (sent(true, false), Trouble::Closed, true),
            (sent(true, true), Trouble::Closed, false),
            (sent(false, false), Trouble::Closed, false),
            (sent(false, true), refused, true),
            (sent(false, true), Trouble::ConnectTimeout, true),
            (sent(true, false), Trouble::ReadTimeout, false),
            (sent(true, false), Trouble::BadResponse("test"), false),
            (sent(true, false), Trouble::NoResources, false),
        ] {
            assert_eq!(
                exchange.may_retry(trouble),
                expected,
                "{trouble:?} {exchange:?}"
            );
            let answered = Exchange {
                has_response_byte: true,
                ..exchange
            };
            assert!(!answered.may_retry(trouble) && !answered.may_replay(trouble));
            let tired = Exchange {
                has_response_byte: false,
                retries_left: 0,
                ..answered
            };
            assert!(!tired.may_retry(trouble));
        }
    }

    #[test]
    fn a_stale_connection_is_replaced_where_that_is_safe() {
        assert!(
            sent(true, true).may_replay(Trouble::Closed),
            "a PUT is there as a whole"
        );
        assert!(
            sent(false, true).may_replay(Trouble::Closed),
            "nothing of it was sent"
        );
        assert!(!sent(true, false).may_replay(Trouble::ReadTimeout));
        let streamed = Exchange {
            is_replayable: false,
            ..sent(true, true)
        };
        assert!(!streamed.may_replay(Trouble::Closed));
    }

    #[test]
    fn the_blame_goes_where_it_belongs() {
        assert!(Trouble::of_connect(Errno::CONNREFUSED).is_failure_of_backend());
        assert!(!Trouble::of_connect(Errno::MFILE).is_failure_of_backend());
        assert_eq!(Trouble::of_connect(Errno::ADDRNOTAVAIL).status(), 503);
        assert_eq!(
            (Trouble::Closed.status(), Trouble::ReadTimeout.status()),
            (502, 504)
        );
    }
}
