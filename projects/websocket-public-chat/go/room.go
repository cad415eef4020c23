package main

import (
	"sync"
	"time"
)

// presenceInterval is the least time between two presence messages of a room.
const presenceInterval = int64(time.Second)

// errorsAllowed is how many errors close a connection.
const errorsAllowed = 10

// hub has the rooms and does what clients ask for.
type hub struct {
	metrics *metrics
	history int // messages a room remembers
	rate    float64
	burst   int

	lock    sync.Mutex
	rooms   map[string]*room
	members int
	cooling []*room // rooms that told their presence less than an interval ago, the oldest first
	timer   *time.Timer
	quiet   bool // the server stops: no presence any more
}

// room is where a message of a member goes to all others. It exists while it has members.
type room struct {
	name    string
	members []*client
	seq     uint64
	past    []*frame // the last messages, a ring once it is full
	oldest  int      // place in that

	changed   bool  // since presence was told
	quietTill int64 // no presence before; 0: now
}

func newHub(m *metrics, o *options) *hub {
	h := &hub{metrics: m, history: o.history, rate: o.rate, burst: o.burst, rooms: map[string]*room{}}
	h.timer = time.AfterFunc(time.Hour, h.tellDue)
	h.timer.Stop()
	return h
}

// handle does what a text message asks for.
func (h *hub) handle(c *client, message []byte) {
	if !c.isOpen() {
		return
	}
	asked, reason := parseRequest(message)
	if asked.kind == kindChat {
		h.metrics.offered.Add(1)
	}
	if reason == "" {
		switch asked.kind {
		case kindJoin:
			reason = h.join(c, string(asked.room), string(asked.nick))
		case kindChat:
			reason = h.chat(c, asked.id, asked.text)
		case kindLeave:
			reason = h.leave(c)
		}
	}
	if reason == "" {
		return
	}
	c.push(errorMessage(reason))
	if c.errors++; c.errors == errorsAllowed {
		h.remove(c)
		c.close(closePolicy, "too many errors")
	}
}

// join makes a client a member.
func (h *hub) join(c *client, name, nick string) (reason string) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if c.room != nil {
		return joinedAlready
	}
	r := h.rooms[name]
	if r == nil {
		r = &room{name: name}
		h.rooms[name] = r
	}
	c.room, c.nick, c.place = r, nick, len(r.members)
	r.members = append(r.members, c)
	h.members++
	c.joined()
	c.push(joinedMessage(name, nick, len(r.members)))
	for i := range r.past {
		c.push(r.past[(r.oldest+i)%len(r.past)])
	}
	h.membersChanged(r)
	return ""
}

// chat sends a text to all other members, if the sender's bucket allows it.
func (h *hub) chat(c *client, id uint64, text []byte) (reason string) {
	h.lock.Lock()
	defer h.lock.Unlock()
	r := c.room
	if r == nil {
		return notJoined
	}
	if !c.bucket.take(now()) {
		h.metrics.refused.Add(1)
		c.push(refusedMessage(id))
		return ""
	}
	h.metrics.accepted.Add(1)
	r.seq++
	message := chatMessage(r.name, c.nick, r.seq, text)
	for _, receiver := range r.members {
		if receiver != c {
			receiver.push(message)
		}
	}
	c.push(acceptedMessage(id, r.seq))
	r.remember(message, h.history)
	return ""
}

// leave is what a client asks for that goes on purpose.
func (h *hub) leave(c *client) (reason string) {
	r := h.remove(c)
	if r == nil {
		return notJoined
	}
	c.push(leftMessage(r.name))
	c.close(closeNormal, "left")
	return ""
}

// remove takes a client out of its room, which it returns, if it is in one.
func (h *hub) remove(c *client) *room {
	h.lock.Lock()
	defer h.lock.Unlock()
	r := c.room
	if r == nil {
		return nil
	}
	last := len(r.members) - 1
	moved := r.members[last]
	r.members[c.place], moved.place = moved, c.place
	r.members[last] = nil
	r.members = r.members[:last]
	c.room = nil
	h.members--
	if last == 0 {
		delete(h.rooms, r.name)
		return r
	}
	h.membersChanged(r)
	return r
}

// remember keeps a message for those who join later. What they get is not counted as
// a delivery, since they were no members when it was accepted.
func (r *room) remember(message *frame, most int) {
	if most == 0 {
		return
	}
	kept := &frame{data: message.data}
	if len(r.past) < most {
		r.past = append(r.past, kept)
		return
	}
	r.past[r.oldest] = kept
	r.oldest = (r.oldest + 1) % most
}

// hush ends presence: the server stops.
func (h *hub) hush() {
	h.lock.Lock()
	h.quiet = true
	h.lock.Unlock()
}

// --- presence ---

// membersChanged tells the members how many they are, now or when the interval is over.
func (h *hub) membersChanged(r *room) {
	r.changed = true
	if r.quietTill == 0 && !h.quiet {
		h.tell(r)
	}
}

// tell sends presence. The room then waits at the end of the line, which so is in order.
func (h *hub) tell(r *room) {
	message := presenceMessage(r.name, len(r.members))
	for _, receiver := range r.members {
		receiver.push(message)
	}
	r.changed = false
	r.quietTill = now() + presenceInterval
	if h.cooling = append(h.cooling, r); len(h.cooling) == 1 {
		h.timer.Reset(time.Duration(presenceInterval))
	}
}

// tellDue goes through the rooms whose interval is over.
func (h *hub) tellDue() {
	h.lock.Lock()
	defer h.lock.Unlock()
	at := now()
	due := 0
	for due < len(h.cooling) && h.cooling[due].quietTill <= at {
		h.cooling[due].quietTill = 0
		due++
	}
	over := append([]*room(nil), h.cooling[:due]...)
	left := copy(h.cooling, h.cooling[due:])
	clear(h.cooling[left:])
	h.cooling = h.cooling[:left]
	for _, r := range over {
		if r.changed && len(r.members) > 0 && !h.quiet {
			h.tell(r)
		}
	}
	if len(h.cooling) > 0 {
		h.timer.Reset(time.Duration(h.cooling[0].quietTill - at))
	}
}

// --- rate ---

// bucket holds tokens, one for a chat message. It is kept as the time at which it was,
// or would have been, empty: a token is an interval since then.
type bucket struct {
	interval int64 // nanoseconds for a token, 0: no limit
	capacity int64 // in the same unit
	emptyAt  int64
}

// newBucket is a full one.
func newBucket(rate float64, burst int, at int64) bucket {
	if rate == 0 {
		return bucket{}
	}
	interval := int64(float64(time.Second) / rate)
	capacity := interval * int64(burst)
	return bucket{interval, capacity, at - capacity}
}

func (b *bucket) take(at int64) bool {
	if b.interval == 0 {
		return true
	}
	b.emptyAt = max(b.emptyAt, at-b.capacity)
	if at-b.emptyAt < b.interval {
		return false
	}
	b.emptyAt += b.interval
	return true
}
