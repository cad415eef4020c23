//! The rooms and their members: who gets what, in which order, and what became of it.
//!
//! All of it stands behind one lock that is taken once for a message and once for a write,
//! never for a delivery. With one thread nobody ever waits for it.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::Notify;

use crate::client::{Ending, GOING_AWAY, Kind, Outgoing, Queue, TOO_SLOW, Tally};
use crate::frame::Frame;
use crate::message::{self, Reason};
use crate::metrics::{self, Counters, Gauges};

/// How often a room may tell its members how many they are.
const PRESENCE_INTERVAL: Duration = Duration::from_secs(1);

pub type ClientId = usize;
type RoomId = usize;

/// A connection as the rooms see it.
struct Client {
    queue: Queue,
    /// Set while the connection waits for something to do.
    waker: Option<Waker>,
    membership: Option<Membership>,
    /// Its socket takes no more.
    is_blocked: bool,
    /// Its queue is half full for want of a turn of its connection, which is no fault of its own.
    is_crowded: bool,
    /// Why the connection must end, when the rooms decide that.
    ending: Option<Ending>,
}

impl Client {
    /// Whether there was room for it.
    fn push(&mut self, frame: Frame, kind: Kind) -> bool {
        let has_room = self.queue.push(Outgoing { frame, kind });
        self.wake();
        has_room
    }

    /// Whether its queue has just become half full.
    fn has_become_crowded(&mut self) -> bool {
        let is_crowded = !self.is_blocked && self.queue.is_crowded();
        !mem::replace(&mut self.is_crowded, is_crowded) && is_crowded
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

struct Membership {
    room: RoomId,
    /// Where the room's list has this member.
    place: usize,
    chat_prefix: Box<str>,
}

struct Room {
    name: Box<str>,
    members: Vec<ClientId>,
    /// Members who are crowded: the others wait until these had their turn.
    crowded: usize,
    seq: u64,
    history: VecDeque<Frame>,
    presence: Presence,
}

/// When the members were told of their number.
#[derive(Default)]
struct Presence {
    told_at: Option<Instant>,
    is_due: bool,
}

/// A moment to look at a room again.
struct Reminder {
    room: Box<str>,
    at: Instant,
}

/// The state behind the lock.
pub struct Rooms {
    clients: Slab<Client>,
    open: Slab<Room>,
    names: HashMap<Box<str>, RoomId>,
    pub counters: Counters,
    reminders: Vec<Reminder>,
    /// Members whose queue was found full during a message, and whether it was a chat message.
    overflowed: Vec<(ClientId, bool)>,
    is_draining: bool,
    max_connections: usize,
    max_queue: usize,
    max_history: usize,
}

impl Rooms {
    pub fn new(max_connections: usize, max_queue: usize, max_history: usize) -> Self {
        Self {
            clients: Slab::new(),
            open: Slab::new(),
            names: HashMap::new(),
            counters: Counters::default(),
            reminders: Vec::new(),
            overflowed: Vec::new(),
            is_draining: false,
            max_connections,
            max_queue,
            max_history,
        }
    }

    /// A place for a new connection, where there is one.
    pub fn connect(&mut self) -> Option<ClientId> {
        if self.is_draining || self.clients.len() >= self.max_connections {
            return None;
        }
        self.counters.connects += 1;
        Some(self.clients.insert(Client {
            queue: Queue::new(self.max_queue),
            waker: None,
            is_blocked: false,
            is_crowded: false,
            membership: None,
            ending: None,
        }))
    }

    /// Forgets a connection; `unwritten` is what it had taken and not written.
    pub fn disconnect(&mut self, id: ClientId, unwritten: &Tally, now: Instant) {
        self.leave_room(id, now);
        let mut client = self.clients.remove(id);
        self.counters.dropped += client.queue.clear().chats + unwritten.chats;
    }

    pub fn is_member(&self, id: ClientId) -> bool {
        self.clients[id].membership.is_some()
    }

    pub fn join(&mut self, id: ClientId, name: &str, nick: &str, now: Instant) {
        let room_id = self.room_named(name);
        let room = &mut self.open[room_id];
        let place = room.members.len();
        room.members.push(id);
        let joined = message::joined(name, nick, place + 1);
        let history: Vec<Frame> = room.history.iter().cloned().collect();
        self.clients[id].membership = Some(Membership {
            room: room_id,
            place,
            chat_prefix: message::chat_prefix(name, nick),
        });
        self.push(id, joined, Kind::Notice);
        for frame in history {
            self.push(id, frame, Kind::Free);
        }
        self.tell_presence(room_id, now);
        self.end_overflowed(now);
    }

    fn room_named(&mut self, name: &str) -> RoomId {
        if let Some(&room_id) = self.names.get(name) {
            return room_id;
        }
        let room_id = self.open.insert(Room {
            name: name.into(),
            members: Vec::new(),
            crowded: 0,
            seq: 0,
            history: VecDeque::new(),
            presence: Presence::default(),
        });
        self.names.insert(name.into(), room_id);
        room_id
    }

    /// Accepts a message of a member and gives it to all others: encoded once, shared by all.
    pub fn chat(&mut self, id: ClientId, chat_id: u64, text: &str, now: Instant) {
        let Some(membership) = &self.clients[id].membership else {
            return;
        };
        let room = &mut self.open[membership.room];
        room.seq += 1;
        self.counters.accepted += 1;
        let frame = message::chat(&membership.chat_prefix, room.seq, text);
        for &member in room.members.iter().filter(|&&member| member != id) {
            let client = &mut self.clients[member];
            if !client.push(frame.clone(), Kind::Chat) {
                self.overflowed.push((member, true));
            }
            room.crowded += usize::from(client.has_become_crowded());
        }
        let accepted = message::accepted(chat_id, room.seq);
        if self.max_history > 0 {
            if room.history.len() == self.max_history {
                room.history.pop_front();
            }
            room.history.push_back(frame);
        }
        self.push(id, accepted, Kind::Notice);
        self.end_overflowed(now);
    }

    pub fn refuse(&mut self, id: ClientId, chat_id: u64, now: Instant) {
        self.counters.refused += 1;
        self.push(id, message::refused(chat_id), Kind::Notice);
        self.end_overflowed(now);
    }

    pub fn report(&mut self, id: ClientId, reason: Reason, now: Instant) {
        self.push(id, message::error(reason), Kind::Notice);
        self.end_overflowed(now);
    }

    /// The member asked to leave.
    pub fn leave(&mut self, id: ClientId, now: Instant) {
        let Some(membership) = &self.clients[id].membership else {
            return;
        };
        let left = message::left(&self.open[membership.room].name);
        self.push(id, left, Kind::Notice);
        self.leave_room(id, now);
        self.end_overflowed(now);
    }

    /// Takes a client out of its room, if it is in one.
    pub fn leave_room(&mut self, id: ClientId, now: Instant) {
        self.remove_member(id, now);
        self.end_overflowed(now);
    }

    /// An empty room ends; the members of another one are told.
    fn remove_member(&mut self, id: ClientId, now: Instant) {
        let client = &mut self.clients[id];
        let Some(membership) = client.membership.take() else {
            return;
        };
        let room = &mut self.open[membership.room];
        room.crowded -= usize::from(mem::take(&mut client.is_crowded));
        room.members.swap_remove(membership.place);
        if let Some(&moved) = room.members.get(membership.place)
            && let Some(moved) = &mut self.clients[moved].membership
        {
            moved.place = membership.place;
        }
        if room.members.is_empty() {
            let room = self.open.remove(membership.room);
            self.names.remove(&room.name);
        } else {
            self.tell_presence(membership.room, now);
        }
    }

    fn push(&mut self, id: ClientId, frame: Frame, kind: Kind) {
        let client = &mut self.clients[id];
        let has_room = client.push(frame, kind);
        if let Some(room) = client.membership.as_ref().map(|membership| membership.room)
            && client.has_become_crowded()
        {
            self.open[room].crowded += 1;
        }
        if !has_room {
            self.overflowed.push((id, kind == Kind::Chat));
        }
    }

    /// Whether a member says more only when others had their turn. So nobody who reads is taken for
    /// slow because others write fast, and nobody waits for who does not read.
    pub fn must_wait(&self, id: ClientId) -> bool {
        let membership = self.clients[id].membership.as_ref();
        membership.is_some_and(|membership| self.open[membership.room].crowded > 0)
    }

    /// Whose queue is full is no member any more, and loses what waits for it.
    fn end_overflowed(&mut self, now: Instant) {
        while let Some((id, was_chat)) = self.overflowed.pop() {
            self.counters.dropped += u64::from(was_chat);
            let client = &mut self.clients[id];
            if client.ending.is_some() {
                continue;
            }
            client.ending = Some(TOO_SLOW);
            client.wake();
            self.counters.slow_consumers += 1;
            self.counters.dropped += client.queue.clear().chats;
            self.remove_member(id, now);
        }
    }

    /// The number of members has changed, and they are told: now, or when a second has passed since
    /// the last time.
    fn tell_presence(&mut self, room_id: RoomId, now: Instant) {
        let room = &mut self.open[room_id];
        let presence = &mut room.presence;
        if presence.is_due || self.is_draining {
            return;
        }
        if let Some(told_at) = presence.told_at
            && now < told_at + PRESENCE_INTERVAL
        {
            presence.is_due = true;
            self.reminders.push(Reminder {
                room: room.name.clone(),
                at: told_at + PRESENCE_INTERVAL,
            });
            return;
        }
        presence.told_at = Some(now);
        let frame = message::presence(&room.name, room.members.len());
        for &member in &room.members {
            let client = &mut self.clients[member];
            if !client.push(frame.clone(), Kind::Notice) {
                self.overflowed.push((member, false));
            }
            if client.has_become_crowded() {
                room.crowded += 1;
            }
        }
    }

    /// The second is over. The room may have ended since, and another one begun.
    fn presence_due(&mut self, name: &str, now: Instant) {
        let Some(&room_id) = self.names.get(name) else {
            return;
        };
        if !mem::take(&mut self.open[room_id].presence.is_due) {
            return;
        }
        self.tell_presence(room_id, now);
        self.end_overflowed(now);
    }

    /// One exchange with a connection: what it has done with what it had, for what it must do.
    pub fn exchange(
        &mut self,
        id: ClientId,
        written: &Tally,
        into: &mut VecDeque<Outgoing>,
        is_blocked: bool,
        waker: &Waker,
    ) -> Option<Ending> {
        self.counters.deliveries += written.chats;
        let client = &mut self.clients[id];
        client.queue.settle(written);
        client.queue.take(into);
        if !client
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(waker))
        {
            client.waker = Some(waker.clone());
        }
        let ending = client.ending;
        self.note_blocked(id, is_blocked);
        ending
    }

    /// Whether the socket of a connection takes more. Nobody waits for one that does not.
    pub fn note_blocked(&mut self, id: ClientId, is_blocked: bool) {
        let client = &mut self.clients[id];
        client.is_blocked = is_blocked;
        let is_crowded = !is_blocked && client.queue.is_crowded();
        if let Some(membership) = &client.membership {
            let crowded = &mut self.open[membership.room].crowded;
            *crowded -= usize::from(mem::replace(&mut client.is_crowded, is_crowded));
            *crowded += usize::from(is_crowded);
        }
    }

    /// All that still waits for a connection that is ending.
    pub fn take_rest(&mut self, id: ClientId, into: &mut VecDeque<Outgoing>) {
        self.clients[id].queue.take(into);
    }

    /// A connection gives up what it had taken and not begun to write.
    pub fn give_up(&mut self, id: ClientId, unwritten: &Tally) {
        self.counters.dropped += unwritten.chats;
        self.clients[id].queue.settle(unwritten);
    }

    /// Tells every connection to end.
    fn drain(&mut self) {
        self.is_draining = true;
        for (_, client) in &mut self.clients {
            client.ending.get_or_insert(GOING_AWAY);
            client.wake();
        }
    }

    pub fn gauges(&self) -> Gauges {
        Gauges {
            connections: self.clients.len(),
            rooms: self.open.len(),
            members: self.open.iter().map(|(_, room)| room.members.len()).sum(),
        }
    }
}

/// The rooms as all connections share them.
pub struct Hub {
    rooms: Mutex<Rooms>,
    /// Told when the last connection has ended.
    emptied: Notify,
}

impl Hub {
    pub fn new(rooms: Rooms) -> Arc<Self> {
        Arc::new(Self {
            rooms: Mutex::new(rooms),
            emptied: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Rooms> {
        // A panic ends the program, so that no lock is ever poisoned.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the rooms, and sees to what they want to be reminded of.
    pub fn with<T>(self: &Arc<Self>, act: impl FnOnce(&mut Rooms) -> T) -> T {
        let mut rooms = self.lock();
        let outcome = act(&mut rooms);
        let reminders = mem::take(&mut rooms.reminders);
        drop(rooms);
        for reminder in reminders {
            self.remind(reminder);
        }
        outcome
    }

    fn remind(self: &Arc<Self>, reminder: Reminder) {
        let hub = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep_until(reminder.at.into()).await;
            hub.with(|rooms| rooms.presence_due(&reminder.room, Instant::now()));
        });
    }

    pub fn disconnect(self: &Arc<Self>, id: ClientId, unwritten: &Tally) {
        let is_empty = self.with(|rooms| {
            rooms.disconnect(id, unwritten, Instant::now());
            rooms.clients.is_empty()
        });
        if is_empty {
            self.emptied.notify_waiters();
        }
    }

    /// Ends every connection, and waits until the last one is gone.
    pub async fn drain(&self) {
        let emptied = self.emptied.notified();
        tokio::pin!(emptied);
        emptied.as_mut().enable();
        let is_empty = {
            let mut rooms = self.lock();
            rooms.drain();
            rooms.clients.is_empty()
        };
        if !is_empty {
            emptied.await;
        }
    }

    pub fn metrics(&self) -> String {
        let (counters, gauges) = {
            let rooms = self.lock();
            (rooms.counters.clone(), rooms.gauges())
        };
        metrics::render(&counters, gauges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::text_of;

    struct Lab {
        rooms: Rooms,
        now: Instant,
    }

    impl Lab {
        fn new(max_queue: usize, max_history: usize) -> Self {
            Self {
                rooms: Rooms::new(100, max_queue, max_history),
                now: Instant::now(),
            }
        }

        fn join(&mut self, room: &str, nick: &str) -> ClientId {
            let id = self.rooms.connect().expect("room for one more");
            self.rooms.join(id, room, nick, self.now);
            id
        }

        fn chat(&mut self, id: ClientId, text: &str) {
            self.rooms.chat(id, 1, text, self.now);
        }

        /// What waits for a client; it is written at once.
        fn read(&mut self, id: ClientId) -> Vec<String> {
            let mut taken = VecDeque::new();
            let waker = Waker::noop();
            self.rooms
                .exchange(id, &Tally::default(), &mut taken, false, waker);
            let written = Tally::of(&taken);
            self.rooms
                .exchange(id, &written, &mut VecDeque::new(), false, waker);
            taken
                .iter()
                .map(|next| text_of(&next.frame).to_owned())
                .collect()
        }

        fn pass(&mut self, milliseconds: u64) {
            self.now += Duration::from_millis(milliseconds);
            let due: Vec<_> = mem::take(&mut self.rooms.reminders);
            for reminder in due {
                if reminder.at <= self.now {
                    self.rooms.presence_due(&reminder.room, self.now);
                } else {
                    self.rooms.reminders.push(reminder);
                }
            }
        }
    }

    #[test]
    fn everyone_else_gets_a_message_once_and_in_order() {
        let mut lab = Lab::new(100, 0);
        let (ann, bob, eve) = (
            lab.join("r", "ann"),
            lab.join("r", "bob"),
            lab.join("other", "eve"),
        );
        lab.pass(2000);
        for id in [ann, bob, eve] {
            lab.read(id);
        }
        lab.chat(ann, "one");
        lab.chat(bob, "two");
        let chat = |nick: &str, seq, text: &str| {
            format!(
                "{{\"type\":\"chat\",\"room\":\"r\",\"nick\":\"{nick}\",\"seq\":{seq},\"text\":\"{text}\"}}"
            )
        };
        let accepted = |seq| format!("{{\"type\":\"accepted\",\"id\":1,\"seq\":{seq}}}");
        assert_eq!(lab.read(ann), [accepted(1), chat("bob", 2, "two")]);
        assert_eq!(lab.read(bob), [chat("ann", 1, "one"), accepted(2)]);
        assert!(lab.read(eve).is_empty());
        let counters = &lab.rooms.counters;
        assert_eq!(
            (counters.accepted, counters.deliveries, counters.dropped),
            (2, 2, 0)
        );
    }

    #[test]
    fn an_empty_room_ends_and_counts_anew() {
        let mut lab = Lab::new(100, 5);
        let ann = lab.join("r", "ann");
        lab.chat(ann, "one");
        lab.rooms.leave(ann, lab.now);
        assert_eq!(
            lab.read(ann).last().expect("left"),
            "{\"type\":\"left\",\"room\":\"r\"}"
        );
        assert_eq!(lab.rooms.gauges().rooms, 0);
        let bob = lab.join("r", "bob");
        lab.chat(bob, "one");
        assert!(
            lab.read(bob)
                .contains(&"{\"type\":\"accepted\",\"id\":1,\"seq\":1}".to_owned())
        );
    }

    #[test]
    fn members_that_stay_keep_their_places() {
        let mut lab = Lab::new(100, 0);
        let ids: Vec<_> = (0..5).map(|_| lab.join("r", "n")).collect();
        for leaver in [ids[0], ids[4], ids[2]] {
            lab.rooms.leave_room(leaver, lab.now);
        }
        lab.read(ids[1]);
        lab.read(ids[3]);
        lab.chat(ids[1], "x");
        assert_eq!(lab.read(ids[3]).len(), 1);
        assert_eq!(lab.rooms.gauges().members, 2);
    }

    #[test]
    fn presence_at_most_once_a_second() {
        let mut lab = Lab::new(100, 0);
        let presence =
            |members| format!("{{\"type\":\"presence\",\"room\":\"r\",\"members\":{members}}}");
        let ann = lab.join("r", "ann");
        assert_eq!(lab.read(ann)[1..], [presence(1)], "at once");
        lab.pass(300);
        lab.join("r", "bob");
        let eve = lab.join("r", "eve");
        assert!(lab.read(ann).is_empty());
        lab.pass(699);
        assert!(lab.read(ann).is_empty());
        lab.pass(1);
        assert_eq!(lab.read(ann), [presence(3)], "when the second is over");
        lab.pass(1001);
        lab.rooms.leave_room(eve, lab.now);
        assert_eq!(lab.read(ann), [presence(2)], "at once again");
        let eve = lab.join("r", "eve");
        lab.rooms.leave_room(eve, lab.now);
        lab.pass(1000);
        assert_eq!(lab.read(ann), [presence(2)], "it was three in between");
        lab.pass(1000);
        assert!(lab.read(ann).is_empty(), "nothing has changed");
    }

    #[test]
    fn a_slow_member_is_counted_and_disturbs_nobody() {
        let mut lab = Lab::new(4, 0);
        let (ann, bob, eve) = (
            lab.join("r", "ann"),
            lab.join("r", "bob"),
            lab.join("r", "eve"),
        );
        for id in [ann, bob, eve] {
            lab.read(id);
        }
        for _ in 0..5 {
            lab.chat(ann, "x");
            lab.read(ann);
            lab.read(bob);
        }
        let ending = lab.rooms.exchange(
            eve,
            &Tally::default(),
            &mut VecDeque::new(),
            false,
            Waker::noop(),
        );
        assert_eq!(ending, Some(TOO_SLOW));
        let counters = lab.rooms.counters.clone();
        assert_eq!(
            (
                counters.deliveries,
                counters.dropped,
                counters.slow_consumers
            ),
            (5, 5, 1)
        );
        lab.chat(ann, "x");
        assert_eq!(lab.rooms.counters.dropped, 5, "no member any more");
        assert_eq!(lab.rooms.gauges().members, 2);
    }

    #[test]
    fn members_wait_for_who_had_no_turn_and_not_for_who_does_not_read() {
        let mut lab = Lab::new(4, 0);
        let (ann, bob) = (lab.join("r", "ann"), lab.join("r", "bob"));
        let other = lab.join("other", "eve");
        lab.read(ann);
        lab.read(bob);
        for _ in 0..3 {
            assert!(!lab.rooms.must_wait(ann));
            lab.chat(ann, "x");
            lab.read(ann);
        }
        assert!(lab.rooms.must_wait(ann) && !lab.rooms.must_wait(other));
        lab.rooms.note_blocked(bob, true);
        assert!(!lab.rooms.must_wait(ann), "its socket is full");
        lab.rooms.note_blocked(bob, false);
        assert!(lab.rooms.must_wait(ann));
        lab.read(bob);
        assert!(!lab.rooms.must_wait(ann), "it has written");
        for _ in 0..3 {
            lab.chat(ann, "x");
            lab.read(ann);
        }
        lab.rooms.leave_room(bob, lab.now);
        assert!(!lab.rooms.must_wait(ann), "it is no member any more");
    }

    #[test]
    fn what_was_taken_and_not_written_is_dropped() {
        let mut lab = Lab::new(100, 0);
        let (ann, bob) = (lab.join("r", "ann"), lab.join("r", "bob"));
        lab.read(bob);
        lab.chat(ann, "one");
        let mut taken = VecDeque::new();
        lab.rooms
            .exchange(bob, &Tally::default(), &mut taken, false, Waker::noop());
        lab.chat(ann, "two");
        lab.rooms.disconnect(bob, &Tally::of(&taken), lab.now);
        assert_eq!(
            (lab.rooms.counters.deliveries, lab.rooms.counters.dropped),
            (0, 2)
        );
    }

    #[test]
    fn history_for_who_joins_is_no_delivery() {
        let mut lab = Lab::new(3, 2);
        let ann = lab.join("r", "ann");
        for text in ["one", "two", "three"] {
            lab.chat(ann, text);
            lab.read(ann);
        }
        let bob = lab.join("r", "bob");
        let seen = lab.read(bob);
        assert!(seen[0].starts_with("{\"type\":\"joined\""));
        assert!(seen[1].contains("two") && seen[2].contains("three"));
        assert_eq!(lab.rooms.counters.deliveries, 0);
    }

    #[test]
    fn no_more_connections_than_allowed() {
        let mut rooms = Rooms::new(1, 1, 0);
        let first = rooms.connect().expect("the first one");
        assert!(rooms.connect().is_none());
        rooms.disconnect(first, &Tally::default(), Instant::now());
        assert!(rooms.connect().is_some());
        rooms.drain();
        assert!(rooms.connect().is_none());
    }
}
