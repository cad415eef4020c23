//! The load itself: everybody joins, speaks by the clock, listens, and leaves.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use mio::{Events, Poll};

use crate::Problem;
use crate::clock::{now_ns, watch};
use crate::frame::{self, FRAME_BYTES_MAX, Found, Head};
use crate::ledger::{Ledger, Owed};
use crate::message::{self, Text, Told};
use crate::plan::{Due, Plan, Sends, Step};
use crate::report::{self, Counts, Second, Span};
use crate::session::{Session, State, Taken};
use crate::stream::{Arrival, Stream};

const EVENTS: usize = 1024;
const JOIN_SECONDS: u64 = 20; // for the users of the first phase, all together
const JOINING_MAX: usize = 64; // of them at a time
const LEAVE_SECONDS: u64 = 3;
const QUIET_NS: u64 = 5_000_000; // how often it is looked whether all have come, or gone
const ERRORS_MAX: u64 = 1_000; // a server that only fails is not asked for ever
const BUFFER_BYTES: usize = 4 * FRAME_BYTES_MAX;
const SEEN: usize = 4096; // frames that are known to be right, kept to compare the copies of other receivers with
const SECOND_NS: u64 = 1_000_000_000;

/// Run a plan against a server; the line to print.
pub fn run(target: SocketAddr, plan: &Plan, grace: Duration) -> Result<String, Problem> {
    let begun_ns = now_ns();
    let mut load = Load::new(target, plan).map_err(|error| Problem::failed(format!("{target}: {error}")))?;
    let failed = |error: io::Error| Problem::failed(error.to_string());
    if !load.gather().map_err(failed)? {
        let why = load.counts.first_error.take().unwrap_or_else(|| "nobody answered".into());
        return Err(Problem::failed(format!("{target}: {why}")));
    }
    load.play().map_err(failed)?;
    load.listen(grace.as_nanos() as u64).map_err(failed)?;
    let wall_ns = now_ns() - load.start_ns;
    let span = Span {
        setup_ns: load.start_ns - begun_ns,
        wall_ns: load.last_ns.max(load.end_ns) - load.start_ns,
        generator_cpu_ns: wall_ns - load.waited_ns.min(wall_ns),
    };
    load.part().map_err(failed)?;
    Ok(load.settle(&span))
}

/// A frame that was found right.
#[derive(Clone, Debug, Default)]
struct Seen {
    seq: u64,
    sender: u32,
    due_ns: u64,
    payload: Vec<u8>,
}

struct Load<'a> {
    plan: &'a Plan,
    target: SocketAddr,
    room: Vec<u8>,
    upgrade: Vec<u8>,
    poll: Poll,
    waited_ns: u64, // in vain, since t0
    sessions: Vec<Session>,
    slots: Vec<Option<usize>>,
    members: usize,
    timeline: Vec<Due>,
    next_step: usize,
    sends: Sends,
    ledger: Ledger,
    counts: Counts,
    seen: Vec<Seen>,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    second: Histogram<u64>,
    offered_before: u64,
    delivered_before: u64,
    errors_before: u64,
    next_ns: u64, // when the next step or message is due
    start_ns: u64,
    end_ns: u64,
    last_ns: u64,
}

impl<'a> Load<'a> {
    fn new(target: SocketAddr, plan: &'a Plan) -> io::Result<Self> {
        let poll = Poll::new()?;
        let room = format!("{}-{:x}", plan.room, now_ns()); // nobody of an earlier run is in it
        Ok(Self {
            plan,
            target,
            upgrade: plan.protocol.upgrade(&plan.path, &room, &target.to_string()),
            room: room.into_bytes(),
            poll,
            waited_ns: 0,
            sessions: Vec::new(),
            slots: vec![None; plan.users_max()],
            members: 0,
            timeline: plan.timeline(),
            next_step: 0,
            sends: plan.sends(),
            ledger: Ledger::default(),
            counts: Counts::new(),
            seen: vec![Seen::default(); SEEN],
            buffer: vec![0; BUFFER_BYTES],
            scratch: Vec::new(),
            second: report::histogram(2),
            offered_before: 0,
            delivered_before: 0,
            errors_before: 0,
            next_ns: u64::MAX,
            start_ns: 0,
            end_ns: 0,
            last_ns: 0,
        })
    }

    // --- the four parts of a run

    /// Everybody of the first phase joins, a few at a time; false when one could not.
    fn gather(&mut self) -> io::Result<bool> {
        let users = self.plan.users_first();
        let give_up_ns = now_ns() + JOIN_SECONDS * SECOND_NS;
        let mut events = Events::with_capacity(EVENTS);
        let mut begun = 0;
        while self.members < users {
            while begun < users && begun - self.members < JOINING_MAX {
                self.open(begun, now_ns());
                begun += 1;
            }
            self.turn(&mut events, now_ns() + QUIET_NS)?;
            if self.counts.errors() > 0 || now_ns() > give_up_ns {
                self.counts.note(|| "not all users could join in time".into());
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The plan, by the clock.
    fn play(&mut self) -> io::Result<()> {
        self.start_ns = now_ns();
        self.waited_ns = 0;
        self.last_ns = self.start_ns;
        self.end_ns = self.start_ns + (self.plan.seconds() * 1e9) as u64;
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = now_ns();
            self.act(now);
            if now >= self.end_ns || self.counts.errors() >= ERRORS_MAX {
                break;
            }
            self.turn(&mut events, self.next_ns.min(self.end_ns))?;
        }
        self.next_ns = u64::MAX;
        Ok(())
    }

    /// Wait for what is still on its way.
    fn listen(&mut self, grace_ns: u64) -> io::Result<()> {
        let give_up_ns = now_ns() + grace_ns;
        let mut events = Events::with_capacity(EVENTS);
        while !self.quiet() && now_ns() < give_up_ns && self.counts.errors() < ERRORS_MAX {
            self.turn(&mut events, now_ns() + QUIET_NS)?;
        }
        Ok(())
    }

    /// Everybody leaves as one should; a server that is far behind is left at once.
    fn part(&mut self) -> io::Result<()> {
        let polite = self.quiet();
        let now = now_ns();
        for index in 0..self.sessions.len() {
            match self.sessions[index].state {
                State::Member if polite => self.leave(index, now),
                State::Gone | State::Leaving | State::Closing if polite => {}
                State::Connecting | State::Upgrading | State::Joining => self.fail(index, "not in the room in time"),
                _ => self.sessions[index].close(now),
            }
        }
        let give_up_ns = now + LEAVE_SECONDS * SECOND_NS;
        let mut events = Events::with_capacity(EVENTS);
        while self.sessions.iter().any(|one| one.state != State::Gone) && now_ns() < give_up_ns {
            self.turn(&mut events, now_ns() + QUIET_NS)?;
        }
        for index in 0..self.sessions.len() {
            if self.sessions[index].state < State::Closing {
                self.fail(index, "no answer to leave");
            }
        }
        Ok(())
    }

    /// Hold everything that came against everything that had to come.
    fn settle(&mut self, span: &Span) -> String {
        let mut owed = Owed::default();
        for session in &mut self.sessions {
            session.stream.finish();
            if session.times.join_sent_ns != u64::MAX {
                self.ledger.reconcile(session.number, &session.times, &session.stream, &mut owed);
            }
        }
        let answers = self.ledger.answers();
        let lost = owed.missing + owed.stray + answers.unanswered + answers.misordered;
        if lost > 0 {
            self.counts.note(|| {
                format!(
                    "{} deliveries missing, {} to users not in the room, {} messages unanswered, {} out of order",
                    owed.missing, owed.stray, answers.unanswered, answers.misordered
                )
            });
        }
        report::line(&self.counts, &answers, &owed, span, self.ledger.offered(), self.plan.users_max())
    }

    // --- by the clock

    /// Do what is due; messages first, since a connection takes its time and their lag counts.
    fn act(&mut self, now: u64) {
        while let Some((at_ns, slot)) = self.sends.next_due() {
            let due_ns = self.start_ns + at_ns;
            if due_ns > now {
                break;
            }
            self.sends.advance();
            self.say(slot, due_ns);
        }
        while let Some(&due) = self.timeline.get(self.next_step) {
            let due_ns = self.start_ns + due.at_ns;
            if due_ns > now {
                break;
            }
            self.next_step += 1;
            match due.step {
                Step::Join(slot) => self.open(slot, due_ns),
                Step::Leave(slot) => self.vacate(slot),
                Step::Replace(slot) => {
                    self.vacate(slot);
                    self.open(slot, due_ns);
                }
            }
        }
        self.roll(now);
        let step = self.timeline.get(self.next_step).map(|due| due.at_ns);
        let send = self.sends.next_due().map(|(at_ns, _)| at_ns);
        self.next_ns = self.start_ns + step.into_iter().chain(send).min().unwrap_or(u64::MAX / 2);
    }

    fn open(&mut self, slot: usize, due_ns: u64) {
        let index = self.sessions.len();
        match Session::open(index as u32, slot, due_ns, self.target, self.poll.registry()) {
            Ok(session) => {
                self.sessions.push(session);
                self.slots[slot] = Some(index);
            }
            Err(error) => {
                self.counts.connect_failures += 1;
                self.counts.note(|| format!("connecting: {error}"));
            }
        }
    }

    /// Whoever has this slot leaves.
    fn vacate(&mut self, slot: usize) {
        if let Some(index) = self.slots[slot].take() {
            match self.sessions[index].state {
                State::Member => self.leave(index, now_ns()),
                State::Connecting | State::Upgrading | State::Joining => {
                    self.fail(index, "not in the room before it had to leave");
                }
                _ => {}
            }
        }
    }

    fn leave(&mut self, index: usize, now: u64) {
        let session = &mut self.sessions[index];
        session.state = State::Leaving;
        session.times.leave_sent_ns = now;
        let (opcode, payload) = self.plan.protocol.leave();
        session.push_frame(opcode, payload);
        self.members -= 1;
        self.flush(index);
    }

    fn say(&mut self, slot: usize, due_ns: u64) {
        let member = self.slots[slot].filter(|&index| self.sessions[index].state == State::Member);
        let Some(index) = member else {
            self.counts.skipped += 1;
            return;
        };
        let sent_ns = now_ns();
        let session = &mut self.sessions[index];
        let text = Text { sender: session.number, number: session.sent, index: self.ledger.next_index(), due_ns };
        session.sent += 1;
        self.scratch.clear();
        self.plan.protocol.say(&text, self.plan.payload_bytes, &self.room, &mut self.scratch);
        session.push_frame(self.plan.protocol.opcode(), &self.scratch);
        self.ledger.offer(text, sent_ns, self.members - 1);
        self.counts.lag.saturating_record((sent_ns - due_ns).max(1));
        self.flush(index);
    }

    /// Close the books of every second that is over.
    fn roll(&mut self, now: u64) {
        let mut t_s = self.counts.series.len() as u64 + 1;
        while self.start_ns + t_s * SECOND_NS <= now.min(self.end_ns) {
            let (offered, delivered, errors) = (self.ledger.offered(), self.counts.delivered, self.counts.errors());
            let p99_ns = (!self.second.is_empty()).then(|| self.second.value_at_quantile(0.99));
            self.counts.series.push(Second {
                t_s,
                users: self.members,
                offered: offered - self.offered_before,
                delivered: delivered - self.delivered_before,
                errors: errors - self.errors_before,
                p99_ns,
            });
            (self.offered_before, self.delivered_before, self.errors_before) = (offered, delivered, errors);
            self.second.reset();
            t_s += 1;
        }
    }

    /// Whether all that was said has come to everybody, and everybody who should be there is.
    fn quiet(&self) -> bool {
        let (highest, after_ns) = (self.ledger.highest(), self.ledger.surely_after());
        let up_to_date = |one: &Session| match one.state {
            State::Connecting | State::Upgrading | State::Joining => false,
            State::Member => one.stream.highest() >= highest || one.times.joined_ns >= after_ns,
            State::Leaving | State::Closing | State::Gone => true,
        };
        self.ledger.all_answered() && self.sessions.iter().all(up_to_date)
    }

    // --- what comes

    /// Wait for something, but not longer than until then, and deal with it.
    fn turn(&mut self, events: &mut Events, until_ns: u64) -> io::Result<()> {
        self.waited_ns += watch(&mut self.poll, events, until_ns)?;
        for event in events.iter() {
            let index = event.token().0;
            if event.is_writable() {
                self.writable(index);
            }
            if event.is_readable() || event.is_error() || event.is_read_closed() {
                self.receive(index, event.is_read_closed());
            }
        }
        Ok(())
    }

    fn writable(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        if session.state != State::Connecting {
            return self.flush(index);
        }
        match session.connected() {
            Ok(false) => {}
            Ok(true) => {
                session.state = State::Upgrading;
                session.push(&self.upgrade);
                self.flush(index);
            }
            Err(error) => self.fail(index, &format!("connecting: {error}")),
        }
    }

    fn flush(&mut self, index: usize) {
        if let Err(error) = self.sessions[index].flush() {
            self.fail(index, &format!("writing: {error}"));
        }
    }

    /// Read what is there; of a connection that has ended, to its end: nobody will call again.
    fn receive(&mut self, index: usize, ended: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            match self.sessions[index].take(&mut buffer) {
                Ok(Taken::Some(bytes, more)) => {
                    let now = now_ns();
                    self.roll_if_due(now);
                    let used = self.consume(index, &buffer[..bytes], now);
                    self.sessions[index].keep(&buffer[used..bytes]);
                    if now >= self.next_ns {
                        self.act(now); // a flood of deliveries must not hold up the clock
                    }
                    if more || ended {
                        continue;
                    }
                }
                Ok(Taken::Nothing) => {}
                Ok(Taken::End) => self.ended(index),
                Err(error) => self.fail(index, &format!("reading: {error}")),
            }
            break;
        }
        self.buffer = buffer;
    }

    fn roll_if_due(&mut self, now: u64) {
        if self.start_ns > 0 && now >= self.start_ns + (self.counts.series.len() as u64 + 1) * SECOND_NS {
            self.roll(now);
        }
    }

    /// Deal with every whole frame; how many bytes these were.
    fn consume(&mut self, index: usize, input: &[u8], now: u64) -> usize {
        let mut at = 0;
        if self.sessions[index].state == State::Upgrading {
            match frame::answered(input) {
                None => return 0,
                Some(Ok(end)) => {
                    at = end;
                    self.join(index, now);
                }
                Some(Err(text)) => {
                    self.fail(index, &text);
                    return input.len();
                }
            }
        }
        while self.sessions[index].state != State::Gone {
            match frame::read(&input[at..]) {
                Found::Whole(head) => {
                    self.frame(index, head, &input[at + head.start..at + head.end], now);
                    at += head.end;
                }
                Found::Part => return at,
                Found::Bad(text) => self.fail(index, text),
            }
        }
        input.len()
    }

    fn join(&mut self, index: usize, now: u64) {
        let session = &mut self.sessions[index];
        session.state = State::Joining;
        if !self.plan.protocol.numbers() {
            session.stream = Stream::unordered();
        }
        let Some(request) = self.plan.protocol.join(&self.room, session.number) else {
            session.times.join_sent_ns = session.due_ns; // whoever is connected is in the room
            return self.joined(index, now);
        };
        session.times.join_sent_ns = now;
        session.push_frame(self.plan.protocol.opcode(), &request);
        self.flush(index);
    }

    fn frame(&mut self, index: usize, head: Head, payload: &[u8], now: u64) {
        match head.opcode {
            _ if head.mask.is_some() => self.fail(index, "a masked frame of a server"),
            opcode if opcode == self.plan.protocol.opcode() => self.text(index, payload, now),
            frame::PING => {
                self.sessions[index].push_frame(frame::PONG, payload);
                self.flush(index);
            }
            frame::PONG => {}
            frame::CLOSE => self.closed(index, payload),
            other => self.fail(index, &format!("a frame with opcode {other}")),
        }
    }

    /// A copy of a frame that was right for somebody else is right here too: one comparison, no parsing.
    fn text(&mut self, index: usize, payload: &[u8], now: u64) {
        let session = &mut self.sessions[index];
        let seen = &self.seen[session.stream.expected() as usize % SEEN];
        if seen.payload == payload && seen.sender != session.number {
            let (seq, due_ns) = (seen.seq, seen.due_ns);
            return self.delivered(index, seq, due_ns, now);
        }
        match self.plan.protocol.read(payload, &self.room) {
            Some(Told::Chat { nick, seq, text }) => self.heard(index, payload, nick, seq, text, now),
            Some(Told::Accepted { id, seq }) => self.answered(index, id, Some(seq), now),
            Some(Told::Refused { id }) => self.answered(index, id, None, now),
            Some(Told::Text(text)) => self.shared(index, payload, text, now),
            Some(Told::Joined) => self.joined(index, now),
            Some(Told::Presence | Told::Welcome) => {}
            Some(Told::Left) if session.state == State::Leaving => session.times.gone_ns = now,
            Some(Told::Error(reason)) => {
                let reason = String::from_utf8_lossy(reason).into_owned();
                self.corrupted(|| format!("the server says: {reason}"));
            }
            _ => {
                let shown = String::from_utf8_lossy(&payload[..payload.len().min(80)]).into_owned();
                self.corrupted(|| format!("not a message of this protocol at this time: {shown}"));
            }
        }
    }

    fn joined(&mut self, index: usize, now: u64) {
        let session = &mut self.sessions[index];
        if session.state != State::Joining {
            return self.corrupted(|| "joined without a join".into());
        }
        session.state = State::Member;
        session.times.joined_ns = now;
        self.members += 1;
        self.counts.connects += 1;
        self.counts.connect.saturating_record((now - session.due_ns).max(1));
    }

    fn answered(&mut self, index: usize, id: u64, seq: Option<u64>, now: u64) {
        let session = &mut self.sessions[index];
        if !self.ledger.answer(id, session.number, seq, now) {
            return self.corrupted(|| format!("an answer that cannot be: id {id}, number {seq:?}"));
        }
        if let Some(seq) = seq {
            session.stream.accept(seq);
        }
    }

    /// A message of somebody else, read byte by byte.
    fn heard(&mut self, index: usize, payload: &[u8], nick: &[u8], seq: u64, text: &[u8], now: u64) {
        let receiver = self.sessions[index].number;
        let known = Text::read(text).filter(|read| {
            text.len() == self.plan.payload_bytes
                && read.sender != receiver
                && nick == message::nick(read.sender).as_bytes()
        });
        let Some(text) = known.filter(|read| self.ledger.arrived(*read, seq).is_some()) else {
            return self.corrupted(|| format!("a message that nobody sent, or to its own sender, number {seq}"));
        };
        self.remember(seq, &text, payload);
        self.delivered(index, seq, text.due_ns, now);
    }

    /// A text as it is: of somebody else it is a delivery, the own one is the answer.
    fn shared(&mut self, index: usize, payload: &[u8], text: &[u8], now: u64) {
        let known = Text::read(text).filter(|_| text.len() == self.plan.payload_bytes);
        let Some((text, seq)) = known.and_then(|text| Some((text, self.ledger.place(text)?))) else {
            return self.corrupted(|| "a text that nobody sent".into());
        };
        if text.sender == self.sessions[index].number {
            return self.answered(index, text.index.into(), Some(seq), now);
        }
        self.remember(seq, &text, payload);
        self.delivered(index, seq, text.due_ns, now);
    }

    fn remember(&mut self, seq: u64, text: &Text, payload: &[u8]) {
        let place = &mut self.seen[seq as usize % SEEN];
        (place.seq, place.sender, place.due_ns) = (seq, text.sender, text.due_ns);
        place.payload.clear();
        place.payload.extend_from_slice(payload);
    }

    fn delivered(&mut self, index: usize, seq: u64, due_ns: u64, now: u64) {
        let Self { counts, sessions, second, ledger, .. } = self;
        let stream = &mut sessions[index].stream;
        let mut arrival = stream.arrive(seq);
        if arrival == Arrival::Late && !self.plan.protocol.numbers() && !ledger.overtaken(seq, stream) {
            arrival = Arrival::Right; // another sender: who was first is the server's to say
        }
        match arrival {
            Arrival::Right => {
                counts.delivered += 1;
                let latency_ns = now.saturating_sub(due_ns).max(1);
                counts.latency.saturating_record(latency_ns);
                second.saturating_record(latency_ns);
                self.last_ns = now;
            }
            Arrival::Twice => {
                counts.duplicated += 1;
                counts.note(|| format!("message {seq} came twice"));
            }
            Arrival::Late => {
                counts.misordered += 1;
                counts.note(|| format!("message {seq} came after a later one"));
            }
        }
    }

    fn corrupted(&mut self, text: impl FnOnce() -> String) {
        self.counts.corrupted += 1;
        self.counts.note(text);
    }

    // --- ends

    /// The server's close frame: right only for somebody who left.
    fn closed(&mut self, index: usize, payload: &[u8]) {
        let protocol = self.plan.protocol;
        let session = &mut self.sessions[index];
        let right = payload.starts_with(&frame::NORMAL) && session.times.gone_ns != u64::MAX;
        if session.state == State::Leaving && (right || !protocol.says_goodbye()) {
            session.state = State::Closing;
            session.times.gone_ns = session.times.gone_ns.min(now_ns());
            if protocol.leave().0 != frame::CLOSE {
                session.push_frame(frame::CLOSE, payload);
            }
            return self.flush(index);
        }
        let code = payload.first_chunk::<2>().map_or(1005, |bytes| u16::from_be_bytes(*bytes));
        let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
        self.fail(index, &format!("closed by the server: {code} {reason}"));
    }

    fn ended(&mut self, index: usize) {
        let state = self.sessions[index].state;
        if state == State::Closing || (state == State::Leaving && !self.plan.protocol.says_goodbye()) {
            self.sessions[index].close(now_ns());
        } else {
            self.fail(index, "the server ended the connection");
        }
    }

    /// Somebody's connection is over before its time.
    fn fail(&mut self, index: usize, text: &str) {
        let session = &mut self.sessions[index];
        match session.state {
            State::Gone => return,
            State::Closing => {} // the conversation was over; how the connection ends is not our business
            State::Connecting | State::Upgrading | State::Joining => self.counts.connect_failures += 1,
            State::Member | State::Leaving => self.counts.cut += 1,
        }
        if session.state != State::Closing {
            let number = session.number;
            self.counts.note(|| format!("user {number}: {text}"));
        }
        self.members -= usize::from(session.state == State::Member);
        session.close(now_ns());
        if self.slots[session.slot] == Some(index) {
            self.slots[session.slot] = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use serde_json::Value;

    use super::*;
    use crate::fanout::{Fault, Server};
    use crate::plan::tests::plan;
    use crate::protocol::Protocol;

    /// What a plan finds of a server with this fault.
    fn found(plan: &Plan, fault: Fault) -> Value {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut server = Server::new(listener, fault).expect("a server");
        std::thread::spawn(move || server.serve());
        let line = run(address, plan, Duration::from_millis(300)).expect("a report");
        serde_json::from_str(&line).expect("JSON")
    }

    fn number(found: &Value, name: &str) -> u64 {
        found[name].as_u64().unwrap_or_else(|| panic!("{name} of {found}"))
    }

    #[test]
    fn everything_is_right_with_a_server_that_is() {
        let found = found(&plan(1.0, [5, 5], 20.0, None), Fault::None);
        assert_eq!((number(&found, "offered"), number(&found, "accepted")), (100, 100));
        assert_eq!((number(&found, "delivered"), number(&found, "missing")), (400, 0));
        assert_eq!((&found["expected"]["low"], &found["expected"]["high"]), (&400.into(), &400.into()));
        assert_eq!((number(&found, "connects"), number(&found, "cut")), (5, 0));
        assert_eq!(found["first_error"], Value::Null);
        assert_eq!(found["series"][0]["users"], 5);
    }

    #[test]
    fn users_who_come_and_go_are_owed_what_they_could_get() {
        for plan in [plan(1.0, [0, 20], 5.0, None), plan(1.0, [20, 2], 5.0, None), plan(1.0, [9, 9], 5.0, Some(0.3))] {
            let found = found(&plan, Fault::None);
            let (low, high) = (found["expected"]["low"].as_u64(), found["expected"]["high"].as_u64());
            let delivered = Some(number(&found, "delivered"));
            assert!(low <= delivered && delivered <= high, "{found}");
            let wrong = ["missing", "duplicated", "misordered", "corrupted", "connect_failures", "cut"];
            assert_eq!(wrong.map(|name| number(&found, name)), [0; 6], "{found}");
        }
    }

    #[test]
    fn faults_are_found_and_named() {
        let faults = [
            (Fault::Loses, "missing", "missing"),
            (Fault::Doubles, "duplicated", "came twice"),
            (Fault::Swaps, "misordered", "came after a later one"),
            (Fault::Garbles, "corrupted", "nobody sent"),
        ];
        for (fault, name, words) in faults {
            let found = found(&plan(0.5, [4, 4], 20.0, None), fault);
            assert!(number(&found, name) > 0, "{fault:?}: {found}");
            assert!(found["first_error"].as_str().expect("words").contains(words), "{fault:?}: {found}");
        }
    }

    #[test]
    fn a_server_that_only_broadcasts_is_held_to_the_same() {
        let broadcast = |plan: Plan| Plan { protocol: Protocol::Broadcast, ..plan };
        let right = found(&broadcast(plan(1.0, [5, 5], 20.0, None)), Fault::None);
        assert_eq!((number(&right, "accepted"), number(&right, "delivered")), (100, 400));
        for plan in [plan(1.0, [0, 20], 5.0, None), plan(1.0, [20, 2], 5.0, None), plan(1.0, [9, 9], 5.0, Some(0.3))] {
            let found = found(&broadcast(plan), Fault::None);
            let wrong = ["missing", "unanswered", "duplicated", "misordered", "corrupted", "connect_failures", "cut"];
            assert_eq!(wrong.map(|name| number(&found, name)), [0; 7], "{found}");
        }
        for (fault, name) in
            [(Fault::Loses, "unanswered"), (Fault::Doubles, "duplicated"), (Fault::Garbles, "corrupted")]
        {
            let found = found(&broadcast(plan(0.5, [4, 4], 20.0, None)), fault);
            assert!(number(&found, name) > 0, "{fault:?}: {found}");
        }
    }

    #[test]
    fn nobody_to_join_is_a_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let problem = run(address, &plan(0.5, [2, 2], 1.0, None), Duration::from_millis(10)).expect_err("no report");
        assert!(problem.message.contains("refused"), "{problem:?}");
    }
}
