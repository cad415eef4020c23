//! The load itself: the whole script once, a closed loop, or an open loop by the clock.
//!
//! Rules: a connection that the server closes between requests is opened again (servers may do that); one that ends with
//! requests unanswered counts each of them as an error. A wrong reply is counted and never as completed.

use std::collections::VecDeque;
use std::io;

use mio::{Events, Poll, Token};

use crate::Problem;
use crate::clock::{now_ns, watch};
use crate::connection::{Connection, Verdict, Waiting};
use crate::options::{Mode, Options};
use crate::report::Report;
use crate::script::Script;

const EVENTS: usize = 1024;
const LOOK_NS: u64 = 100_000_000; // how often a loop without events looks at the clock
const ERRORS_MAX: u64 = 1_000; // a server that only fails is not asked for ever
const IDLE_SPREAD: usize = 7919; // a prime: connections start at different places of the script

/// Run the load that was asked for.
pub fn run(asked: &Options, script: &Script) -> Result<Report, Problem> {
    let mut load = Load::new(asked, script).map_err(|error| Problem::failed(format!("{:?}: {error}", asked.target)))?;
    let start_ns = now_ns();
    load.start_ns = start_ns;
    load.last_ns = start_ns;
    let done = match asked.mode {
        Mode::Once | Mode::Wait { .. } => load.once(),
        Mode::Closed { seconds } => load.closed(start_ns + ns(seconds)),
        Mode::Open { seconds, rate } => load.open(seconds, rate),
    };
    done.map_err(|error| Problem::failed(error.to_string()))?;
    load.report.wall_ns = load.last_ns.max(start_ns + 1) - start_ns;
    load.report.busy_ns = (now_ns() - start_ns).saturating_sub(load.waited_ns);
    Ok(load.report)
}

fn ns(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

struct Load<'a> {
    asked: &'a Options,
    script: &'a Script,
    poll: Poll,
    waited_ns: u64, // in vain
    connections: Vec<Connection>,
    next: Vec<usize>, // next entry of each connection (closed loop)
    idle: VecDeque<usize>,
    freed_ns: Vec<u64>, // since when each connection is free
    report: Report,
    start_ns: u64,
    last_ns: u64, // when the last reply came
}

impl<'a> Load<'a> {
    fn new(asked: &'a Options, script: &'a Script) -> io::Result<Self> {
        let poll = Poll::new()?;
        let open = |index| Connection::open(&asked.target, poll.registry(), Token(index));
        let connections = (0..asked.connections).map(open).collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            next: (0..asked.connections).map(|index| index * IDLE_SPREAD).collect(),
            idle: (0..asked.connections).collect(),
            freed_ns: vec![0; asked.connections],
            asked,
            script,
            poll,
            waited_ns: 0,
            connections,
            report: Report::new(),
            start_ns: 0,
            last_ns: 0,
        })
    }

    /// Every request once, pipelined over all connections.
    fn once(&mut self) -> io::Result<()> {
        let mut number = 0;
        let mut events = Events::with_capacity(EVENTS);
        while number < self.script.len() || self.busy() {
            while number < self.script.len() {
                let Some(index) = self.idle.pop_front() else { break };
                for _ in 0..self.asked.pipeline.min(self.script.len() - number) {
                    self.push(index, number, now_ns());
                    number += 1;
                }
                self.flush(index);
            }
            if !self.turn(&mut events, now_ns() + LOOK_NS)? {
                break;
            }
        }
        self.drop_waiting();
        Ok(())
    }

    /// Each connection sends its next requests as soon as its last are answered, until the time is up.
    fn closed(&mut self, end_ns: u64) -> io::Result<()> {
        let give_up_ns = end_ns + self.asked.grace.as_nanos() as u64;
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = now_ns();
            if now < end_ns {
                while let Some(index) = self.idle.pop_front() {
                    let sent_ns = now_ns();
                    for _ in 0..self.asked.pipeline {
                        self.push(index, self.next[index], sent_ns);
                        self.next[index] += 1;
                    }
                    self.flush(index);
                }
            }
            let over = now >= end_ns && !self.busy();
            if over || now >= give_up_ns || !self.turn(&mut events, give_up_ns)? {
                break;
            }
        }
        self.drop_waiting();
        Ok(())
    }

    /// Request j is due at start + j / rate; it goes to the connection that has been free the longest.
    fn open(&mut self, seconds: f64, rate: f64) -> io::Result<()> {
        let total = (seconds * rate).round().max(1.0) as usize;
        let due = |number: usize| (number as f64 / rate * 1e9) as u64;
        let give_up_ns = self.start_ns + due(total) + self.asked.grace.as_nanos() as u64;
        let mut events = Events::with_capacity(EVENTS);
        let mut number = 0;
        loop {
            let now = now_ns();
            while number < total && self.start_ns + due(number) <= now {
                let Some(index) = self.idle.pop_front() else { break };
                let due_ns = self.start_ns + due(number);
                let possible_ns = due_ns.max(self.freed_ns[index]);
                self.push(index, number, due_ns);
                self.flush(index);
                self.report.lag.saturating_record(now_ns().saturating_sub(possible_ns).max(1));
                number += 1;
            }
            if (number == total && !self.busy()) || now >= give_up_ns {
                break;
            }
            let can_send = number < total && !self.idle.is_empty();
            let until_ns = if can_send { self.start_ns + due(number) } else { give_up_ns };
            if !self.turn(&mut events, until_ns)? {
                break;
            }
        }
        self.report.dropped += (total - number) as u64;
        self.report.offered += (total - number) as u64;
        self.drop_waiting();
        Ok(())
    }

    fn busy(&self) -> bool {
        self.idle.len() < self.connections.len()
    }

    fn push(&mut self, index: usize, number: usize, since_ns: u64) {
        let request = self.script.entry(number).request;
        self.connections[index].push(request, Waiting { entry: number, since_ns });
        self.report.offered += 1;
    }

    fn flush(&mut self, index: usize) {
        if let Err(error) = self.connections[index].flush(self.poll.registry()) {
            self.reopen(index, Some(&error));
        }
    }

    /// Wait for something, but not longer than until then, and deal with it; false when there have been too many errors
    /// to go on.
    fn turn(&mut self, events: &mut Events, until_ns: u64) -> io::Result<bool> {
        self.waited_ns += watch(&mut self.poll, events, until_ns)?;
        for event in events.iter() {
            let index = event.token().0;
            if event.is_writable() {
                self.flush(index);
            }
            if event.is_readable() || event.is_error() {
                self.receive(index);
            }
        }
        Ok(self.report.errors < ERRORS_MAX)
    }

    fn receive(&mut self, index: usize) {
        let Self { connections, report, script, asked, .. } = self;
        let before = connections[index].waiting.len();
        let mut last_ns = 0;
        let mut wrong = None;
        let ended = connections[index].receive(asked.protocol, script, |waiting, verdict| {
            last_ns = now_ns();
            if verdict == Verdict::Right {
                report.completed += 1;
                report.latency.saturating_record(last_ns.saturating_sub(waiting.since_ns).max(1));
            } else {
                report.mismatched += 1;
                wrong.get_or_insert(waiting.entry);
            }
        });
        if last_ns > 0 {
            self.last_ns = last_ns;
            self.freed_ns[index] = last_ns;
        }
        if let (Some(entry), None) = (wrong, &self.report.first_error) {
            self.report.first_error = Some(format!("request {entry}: another reply than expected"));
        }
        match ended {
            Ok(true) => self.reopen(index, None),
            Err(error) => self.reopen(index, Some(&error)),
            Ok(false) if before > 0 && self.connections[index].waiting.is_empty() => self.idle.push_back(index),
            Ok(false) => {}
        }
    }

    /// Replace a connection that ended; what it had not answered has failed.
    fn reopen(&mut self, index: usize, cause: Option<&io::Error>) {
        let lost = self.connections[index].waiting.len();
        for _ in 0..lost {
            self.report.error(|| cause.map_or_else(|| "closed without a reply".into(), ToString::to_string));
        }
        let was_idle = self.idle.contains(&index);
        match Connection::open(&self.asked.target, self.poll.registry(), Token(index)) {
            Ok(fresh) => {
                self.connections[index] = fresh;
                self.report.reconnects += 1;
                if !was_idle {
                    self.idle.push_back(index);
                }
            }
            Err(error) => {
                self.report.errors += ERRORS_MAX; // nobody listens any more
                self.report.error(|| format!("connecting again: {error}"));
            }
        }
    }

    /// Requests that never got a reply in time.
    fn drop_waiting(&mut self) {
        self.report.dropped += self.connections.iter().map(|one| one.waiting.len() as u64).sum::<u64>();
    }
}
