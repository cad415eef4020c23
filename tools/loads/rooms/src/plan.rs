//! The plan: who joins, leaves and speaks when. Pure: offsets from t0 in ns.

use serde::Deserialize;

use crate::protocol::Protocol;

const USERS_MAX: usize = 15_000;
const RATE_MAX: f64 = 1_000.0;
const SECONDS_MAX: f64 = 1e6;
const SESSION_MIN_SECONDS: f64 = 0.1;
const ROOM_BYTES_MAX: usize = 40; // a room of a run has a suffix of its own, and 64 bytes in all
const ONCE_USERS: usize = 16;
const ONCE_SECONDS: f64 = 0.5;
const ONCE_RATE: f64 = 8.0;

/// Everything that the users do.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    #[serde(default)]
    pub protocol: Protocol,
    pub path: String,
    pub room: String,
    /// Bytes of each text.
    pub payload_bytes: usize,
    pub phases: Vec<Phase>,
}

/// A stretch of time with a steady or a changing number of users.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    pub name: String,
    pub seconds: f64,
    /// At the beginning and at the end.
    pub users: [usize; 2],
    /// Messages a second of each.
    pub rate: f64,
    /// How long a user stays before another takes its place.
    pub session_seconds: Option<f64>,
}

/// What happens to a slot: a place that at most one user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Join(usize),
    Leave(usize),
    Replace(usize),
}

/// A step with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub at_ns: u64,
    pub step: Step,
}

impl Plan {
    /// Read and check a plan.
    pub fn parse(text: &str) -> Result<Self, String> {
        let plan: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        plan.check()?;
        Ok(plan)
    }

    fn check(&self) -> Result<(), String> {
        if !self.path.starts_with('/') || !self.path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("path {:?}: not a path", self.path));
        }
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        if self.room.is_empty() || self.room.len() > ROOM_BYTES_MAX || !self.room.bytes().all(plain) {
            return Err(format!("room {:?}: 1 to {ROOM_BYTES_MAX} of a-z, 0-9, - and _", self.room));
        }
        if !(crate::message::HEADER_BYTES..=crate::message::TEXT_BYTES_MAX).contains(&self.payload_bytes) {
            let (least, most) = (crate::message::HEADER_BYTES, crate::message::TEXT_BYTES_MAX);
            return Err(format!("payload_bytes {}: {least} to {most}", self.payload_bytes));
        }
        if self.phases.is_empty() {
            return Err("no phases".into());
        }
        for (index, phase) in self.phases.iter().enumerate() {
            let problem = phase.problem(index == 0, index + 1 == self.phases.len());
            problem.map_or(Ok(()), |text| Err(format!("phase {:?}: {text}", phase.name)))?;
        }
        Ok(())
    }

    /// The same with other durations, so that all phases together take so many seconds.
    pub fn stretched(mut self, seconds: f64) -> Self {
        let factor = seconds / self.seconds();
        for phase in &mut self.phases {
            phase.seconds *= factor;
        }
        self
    }

    /// A moment of a few users.
    pub fn once(mut self) -> Self {
        let users = self.users_max().min(ONCE_USERS);
        self.phases = vec![Phase {
            name: "once".into(),
            seconds: ONCE_SECONDS,
            users: [users; 2],
            rate: ONCE_RATE,
            session_seconds: None,
        }];
        self
    }

    /// How long it takes.
    pub fn seconds(&self) -> f64 {
        self.phases.iter().map(|phase| phase.seconds).sum()
    }

    /// How many slots there are.
    pub fn users_max(&self) -> usize {
        self.phases.iter().map(Phase::users_max).max().unwrap_or(0)
    }

    /// How many users are there before the first message is due.
    pub fn users_first(&self) -> usize {
        self.phases[0].users[0]
    }

    /// Everybody who comes and goes after t0, in order.
    pub fn timeline(&self) -> Vec<Due> {
        let mut found = Vec::new();
        let (mut start, mut users) = (0.0, self.users_first());
        for phase in &self.phases {
            phase.changes(start, users, &mut found);
            (start, users) = (start + phase.seconds, phase.users[1]);
        }
        found.sort_by_key(|due| due.at_ns); // stable: what is due at one time keeps its order
        found
    }

    /// The times of all messages.
    pub fn sends(&self) -> Sends {
        let mut start = 0.0;
        let mut spans = Vec::new();
        for phase in &self.phases {
            if phase.rate > 0.0 {
                let users = phase.users_max();
                spans.push(Span { start, end: start + phase.seconds, users, each: 1.0 / (phase.rate * users as f64) });
            }
            start += phase.seconds;
        }
        Sends { spans, span: 0, number: 0 }
    }
}

impl Phase {
    fn users_max(&self) -> usize {
        self.users[0].max(self.users[1])
    }

    fn problem(&self, first: bool, last: bool) -> Option<String> {
        let [from, to] = self.users;
        let empty = (from == 0 && !first) || (to == 0 && !last);
        if !(self.seconds > 0.0 && self.seconds <= SECONDS_MAX) {
            Some(format!("seconds {}: not a positive number", self.seconds))
        } else if !(0.0..=RATE_MAX).contains(&self.rate) {
            Some(format!("rate {}: 0 to {RATE_MAX}", self.rate))
        } else if self.users_max() == 0 || self.users_max() > USERS_MAX || empty {
            Some(format!("users [{from}, {to}]: 1 to {USERS_MAX}; 0 only before the first or behind the last"))
        } else if self.session_seconds.is_some_and(|seconds| seconds < SESSION_MIN_SECONDS || from != to) {
            Some(format!("session_seconds: at least {SESSION_MIN_SECONDS}, and the same users at both ends"))
        } else {
            None
        }
    }

    /// Who comes and goes in this phase, which begins at `start` with so many users of the phase before.
    fn changes(&self, start: f64, before: usize, into: &mut Vec<Due>) {
        let [from, to] = self.users;
        let mut push = |seconds: f64, step: Step| into.push(Due { at_ns: ns(seconds), step });
        (before..from).for_each(|slot| push(start, Step::Join(slot)));
        (from..before).for_each(|slot| push(start, Step::Leave(slot)));
        let share = |number: usize| self.seconds * number as f64 / from.abs_diff(to) as f64;
        (from..to).for_each(|slot| push(start + share(slot - from), Step::Join(slot)));
        (to..from).for_each(|slot| push(start + share(from - slot), Step::Leave(slot)));
        if let Some(session) = self.session_seconds {
            for slot in 0..from {
                let mut at = session * (slot + 1) as f64 / from as f64;
                while at < self.seconds {
                    push(start + at, Step::Replace(slot));
                    at += session;
                }
            }
        }
    }
}

#[derive(Debug)]
struct Span {
    start: f64,
    end: f64,
    users: usize,
    each: f64,
}

/// The messages in the order of their times: number n of a phase is due at n / (rate x users), from slot n mod users.
#[derive(Debug)]
pub struct Sends {
    spans: Vec<Span>,
    span: usize,
    number: u64,
}

impl Sends {
    /// When the next message is due, and from which slot.
    pub fn next_due(&mut self) -> Option<(u64, usize)> {
        while let Some(span) = self.spans.get(self.span) {
            let at = span.start + self.number as f64 * span.each;
            if at < span.end {
                return Some((ns(at), self.number as usize % span.users));
            }
            (self.span, self.number) = (self.span + 1, 0);
        }
        None
    }

    /// Go on to the one behind it.
    pub fn advance(&mut self) {
        self.number += 1;
    }
}

fn ns(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A plan of one phase.
    pub fn plan(seconds: f64, users: [usize; 2], rate: f64, session_seconds: Option<f64>) -> Plan {
        let phases = vec![Phase { name: "one".into(), seconds, users, rate, session_seconds }];
        let protocol = Protocol::Chat;
        Plan { protocol, path: "/chat".into(), room: "bench".into(), payload_bytes: 128, phases }
    }

    #[test]
    fn a_plan_is_read_as_it_is_written() {
        let text = r#"{"path":"/chat","room":"bench","payload_bytes":128,"phases":
            [{"name":"one","seconds":5,"users":[100,100],"rate":1.0,"session_seconds":null}]}"#;
        assert_eq!(Plan::parse(text), Ok(plan(5.0, [100, 100], 1.0, None)));
        let other = text.replacen('{', "{\"protocol\":\"broadcast\",", 1);
        assert_eq!(Plan::parse(&other).map(|plan| plan.protocol), Ok(Protocol::Broadcast));
    }

    #[test]
    fn plans_that_cannot_be_are_refused() {
        let bad = |change: fn(&mut Plan)| {
            let mut one = plan(1.0, [2, 2], 1.0, None);
            change(&mut one);
            one.check().expect_err("refused")
        };
        assert!(bad(|one| one.path = "chat".into()).starts_with("path"));
        assert!(bad(|one| one.room = "Bench".into()).starts_with("room"));
        assert!(bad(|one| one.payload_bytes = 10).starts_with("payload_bytes 10"));
        assert!(bad(|one| one.phases.clear()).starts_with("no phases"));
        assert!(bad(|one| one.phases[0].users = [0, 0]).contains("users [0, 0]"));
        assert!(bad(|one| one.phases[0].seconds = f64::NAN).contains("seconds"));
        assert!(bad(|one| one.phases[0].rate = -1.0).contains("rate -1"));
        assert!(bad(|one| one.phases[0].session_seconds = Some(0.0)).contains("session_seconds"));
        assert!(bad(|one| one.phases.push(Phase { users: [0, 1], ..one.phases[0].clone() })).contains("users [0, 1]"));
        assert!(Plan::parse("{}").is_err());
    }

    #[test]
    fn missing_users_come_evenly_and_surplus_ones_go() {
        let second = 1_000_000_000;
        let up = plan(2.0, [1, 3], 1.0, None);
        assert_eq!(up.timeline(), [Due { at_ns: 0, step: Step::Join(1) }, Due { at_ns: second, step: Step::Join(2) }]);
        let down = plan(2.0, [3, 1], 1.0, None);
        let gone = [Due { at_ns: second, step: Step::Leave(2) }, Due { at_ns: 2 * second, step: Step::Leave(1) }];
        assert_eq!(down.timeline(), gone);
    }

    #[test]
    fn a_phase_begins_with_its_own_number_of_users() {
        let mut two = plan(1.0, [2, 2], 1.0, None);
        two.phases.push(Phase { users: [3, 3], ..two.phases[0].clone() });
        two.phases.push(Phase { users: [1, 1], ..two.phases[0].clone() });
        let steps: Vec<Step> = two.timeline().iter().map(|due| due.step).collect();
        assert_eq!(steps, [Step::Join(2), Step::Leave(1), Step::Leave(2)]);
    }

    #[test]
    fn every_session_is_as_long_as_asked_and_the_changes_are_spread() {
        let churn = plan(4.0, [4, 4], 1.0, Some(2.0));
        let due = churn.timeline();
        assert_eq!(due.len(), 7); // at 0.5, 1.0 ... 3.5
        assert_eq!(due[0], Due { at_ns: 500_000_000, step: Step::Replace(0) });
        assert_eq!(due[4], Due { at_ns: 2_500_000_000, step: Step::Replace(0) });
    }

    #[test]
    fn messages_are_due_by_the_clock() {
        let mut sends = plan(1.0, [2, 2], 2.0, None).sends();
        let mut found = Vec::new();
        while let Some(due) = sends.next_due() {
            found.push(due);
            sends.advance();
        }
        assert_eq!(found, [(0, 0), (250_000_000, 1), (500_000_000, 0), (750_000_000, 1)]);
    }

    #[test]
    fn a_plan_can_be_stretched_and_made_small() {
        assert!((plan(5.0, [9, 9], 1.0, None).stretched(300.0).seconds() - 300.0).abs() < 1e-9);
        let once = plan(5.0, [0, 1000], 1.0, None).once();
        assert_eq!((once.users_first(), once.users_max()), (16, 16));
    }
}
