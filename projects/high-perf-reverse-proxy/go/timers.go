package main

import (
	"sync"
	"sync/atomic"
	"time"
)

// tick is the grain of all deadlines.
const tick = 20 * time.Millisecond

// A wheel of so many ticks holds every visit, since no visit is further away than longestHorizon.
const (
	wheelSlots     = 8
	longestHorizon = 100 * time.Millisecond
)

// longAgo is a deadline that has passed: setting it wakes whoever waits on a connection.
var longAgo = time.Unix(1, 0)

// wakeable is what an alarm can wake: a net.Conn.
type wakeable interface {
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// alarm holds the deadlines of one connection, in nanoseconds of the wheel's clock; 0 is none.
//
// Setting a deadline is one store. The runtime's own deadlines would move a timer in a
// heap for every read; the wheel visits an alarm at least once within the shortest
// time-out there is, so it sees each deadline before it passes, however it was moved.
type alarm struct {
	readUntil, writeUntil atomic.Int64
	target                wakeable
	look                  func() // called at each visit, where there is one
	next, previous        *alarm // in the ring of a slot
}

// visit wakes what is overdue and says when to come again.
func (a *alarm) visit(now, horizon int64) int64 {
	if a.look != nil {
		a.look()
	}
	again := now + horizon
	if until := a.readUntil.Load(); until != 0 {
		if until <= now {
			a.target.SetReadDeadline(longAgo)
		} else {
			again = min(again, until)
		}
	}
	if until := a.writeUntil.Load(); until != 0 {
		if until <= now {
			a.target.SetWriteDeadline(longAgo)
		} else {
			again = min(again, until)
		}
	}
	return again
}

// wheel is a coarse clock and the alarms of all connections.
type wheel struct {
	started time.Time
	current atomic.Int64 // nanoseconds since started, as of the last tick
	horizon int64

	mutex   sync.Mutex
	visited int64 // the last tick whose slot was visited
	slots   [wheelSlots]alarm
}

// newWheel makes a wheel for deadlines that are never shorter than shortest.
func newWheel(shortest time.Duration) *wheel {
	w := &wheel{started: time.Now(), horizon: int64(max(tick, min(shortest, longestHorizon)))}
	w.current.Store(1) // 0 stands for no deadline
	for i := range w.slots {
		ring := &w.slots[i]
		ring.next, ring.previous = ring, ring
	}
	return w
}

// now is the time of the last tick.
func (w *wheel) now() int64 { return w.current.Load() }

// after is the deadline of something that may take so long. The clock may lag by a
// tick, which is added so that no deadline is early.
func (w *wheel) after(timeout time.Duration) int64 { return w.now() + int64(timeout+tick) }

func (w *wheel) add(a *alarm) {
	w.mutex.Lock()
	w.insert(a, w.now()+w.horizon)
	w.mutex.Unlock()
}

func (w *wheel) remove(a *alarm) {
	w.mutex.Lock()
	a.next.previous, a.previous.next = a.previous, a.next
	a.next, a.previous = nil, nil
	w.mutex.Unlock()
}

// insert puts an alarm into the first slot that is visited at or after a time.
func (w *wheel) insert(a *alarm, at int64) {
	turn := max((at+int64(tick)-1)/int64(tick), w.visited+1)
	ring := &w.slots[turn%wheelSlots]
	a.previous, a.next = ring.previous, ring
	ring.previous.next, ring.previous = a, a
}

// advance moves the clock and visits the alarms that are due.
func (w *wheel) advance(now int64) {
	w.current.Store(now)
	w.mutex.Lock()
	defer w.mutex.Unlock()
	last := now / int64(tick)
	// After a long sleep each slot is visited once, not once for every turn missed.
	w.visited = max(w.visited, last-wheelSlots)
	for w.visited < last {
		w.visited++
		w.visitSlot(&w.slots[w.visited%wheelSlots], now)
	}
}

// visitSlot visits the alarms of a slot. Those that come into it meanwhile are behind
// the last one that was there, and wait for the next turn.
func (w *wheel) visitSlot(ring *alarm, now int64) {
	if ring.next == ring {
		return
	}
	first, last := ring.next, ring.previous
	ring.next, ring.previous = ring, ring
	last.next = nil
	for a := first; a != nil; {
		next := a.next
		w.insert(a, a.visit(now, w.horizon))
		a = next
	}
}
