package main

import (
	"testing"
	"time"
)

// sleeper counts how often it was woken.
type sleeper struct{ reads, writes int }

func (s *sleeper) SetReadDeadline(time.Time) error  { s.reads++; return nil }
func (s *sleeper) SetWriteDeadline(time.Time) error { s.writes++; return nil }

func TestAlarmRingsInTime(t *testing.T) {
	for _, timeout := range []time.Duration{tick, 50 * time.Millisecond, time.Second, time.Minute} {
		w := newWheel(timeout)
		var s sleeper
		a := alarm{target: &s}
		w.add(&a)
		until := w.after(timeout)
		a.readUntil.Store(until)
		for now := int64(1); s.reads == 0; now += int64(tick) {
			w.advance(now)
			if s.reads > 0 && now < until {
				t.Errorf("%v: rang at %v, before %v", timeout, time.Duration(now), time.Duration(until))
			}
			if now > until+2*int64(tick) {
				t.Fatalf("%v: did not ring until %v", timeout, time.Duration(now))
			}
		}
		if s.writes != 0 {
			t.Errorf("%v: woke a writer", timeout)
		}
	}
}

func TestAlarmThatMovesDoesNotRing(t *testing.T) {
	w := newWheel(time.Second)
	var s sleeper
	a := alarm{target: &s}
	w.add(&a)
	for now := int64(1); now < int64(time.Minute); now += int64(tick) {
		a.readUntil.Store(w.after(time.Second))
		w.advance(now)
	}
	a.writeUntil.Store(w.after(time.Second))
	a.readUntil.Store(0)
	w.advance(w.now() + int64(900*time.Millisecond))
	if s.reads+s.writes != 0 {
		t.Fatalf("woken %d times", s.reads+s.writes)
	}
	w.advance(w.now() + int64(time.Second))
	if s.writes == 0 {
		t.Error("the write deadline passed unseen, after a leap of the clock")
	}
	w.remove(&a)
	before := s.writes
	w.advance(w.now() + int64(time.Hour))
	if s.writes != before {
		t.Error("a removed alarm rang")
	}
}
