package main

import "time"

// tick is the grain of all deadlines.
const tick = 20 * time.Millisecond

// A wheel of so many ticks holds every visit, since no visit is further away than longestHorizon.
const (
	wheelSlots     = 64
	longestHorizon = time.Second
)

// wait is a place where one task waits for something, but not for ever.
type wait struct {
	task  *task // nil: nobody waits
	until int64
}

// alarm holds the deadlines of one connection: of who reads it, and of who writes it.
//
// Setting a deadline is a store. The wheel visits an alarm at least once within the
// shortest time-out there is, so it sees each deadline before it passes, however often
// it was moved: no heap, and no system call.
type alarm struct {
	read, write    wait
	next, previous *alarm // in the ring of a slot
}

// wheel is a clock and the alarms of all connections of a loop.
type wheel struct {
	started time.Time
	now     int64 // nanoseconds since started, as of the last round of the loop
	horizon int64
	visited int64       // the last tick whose slot was visited
	ring    func(*task) // called for who has waited long enough
	slots   [wheelSlots]alarm
}

// newWheel makes a wheel for deadlines that are never shorter than shortest.
func newWheel(shortest time.Duration, ring func(*task)) *wheel {
	w := &wheel{started: time.Now(), horizon: int64(max(tick, min(shortest, longestHorizon))), ring: ring}
	for i := range w.slots {
		slot := &w.slots[i]
		slot.next, slot.previous = slot, slot
	}
	return w
}

// after is the deadline of something that may take so long.
func (w *wheel) after(timeout time.Duration) int64 { return w.now + int64(timeout) }

// untilVisit is the time until an alarm may ring, at most the longest horizon.
func (w *wheel) untilVisit() time.Duration {
	turn := w.visited + 1
	for last := w.visited + wheelSlots; turn < last && w.slots[turn%wheelSlots].next == &w.slots[turn%wheelSlots]; {
		turn++
	}
	return min(time.Duration(turn*int64(tick)-w.now), longestHorizon)
}

// untilTick is the time that is left of the current tick.
func (w *wheel) untilTick() time.Duration {
	return time.Duration((w.visited+1)*int64(tick) - w.now)
}

func (w *wheel) add(a *alarm) { w.insert(a, w.now+w.horizon) }

func (w *wheel) remove(a *alarm) {
	a.next.previous, a.previous.next = a.previous, a.next
	a.next, a.previous = nil, nil
}

// insert puts an alarm into the first slot that is visited at or after a time.
func (w *wheel) insert(a *alarm, at int64) {
	turn := max((at+int64(tick)-1)/int64(tick), w.visited+1)
	slot := &w.slots[turn%wheelSlots]
	a.previous, a.next = slot.previous, slot
	slot.previous.next, slot.previous = a, a
}

// advance moves the clock and visits the alarms that are due.
func (w *wheel) advance(now int64) {
	w.now = now
	last := now / int64(tick)
	// After a long sleep each slot is visited once, not once for every turn missed.
	w.visited = max(w.visited, last-wheelSlots)
	for w.visited < last {
		w.visited++
		w.visitSlot(&w.slots[w.visited%wheelSlots])
	}
}

// visitSlot visits the alarms of a slot, and puts each where its next visit is due.
func (w *wheel) visitSlot(slot *alarm) {
	if slot.next == slot {
		return
	}
	first, last := slot.next, slot.previous
	slot.next, slot.previous = slot, slot
	last.next = nil
	for a := first; a != nil; {
		next := a.next
		w.insert(a, min(w.visit(&a.read), w.visit(&a.write)))
		a = next
	}
}

// visit rings for who is overdue, and says when to come again.
func (w *wheel) visit(at *wait) int64 {
	switch {
	case at.task == nil:
	case at.until <= w.now:
		w.ring(at.task)
	default:
		return min(at.until, w.now+w.horizon)
	}
	return w.now + w.horizon
}
