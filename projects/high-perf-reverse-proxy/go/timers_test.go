package main

import (
	"testing"
	"time"
)

func TestAlarmRingsInTime(t *testing.T) {
	for _, timeout := range []time.Duration{tick, 50 * time.Millisecond, time.Second, time.Minute} {
		var rung *task
		w := newWheel(timeout, func(t *task) { rung = t })
		var a alarm
		w.add(&a)
		until := w.after(timeout)
		a.read = wait{task: &task{}, until: until}
		for now := int64(0); rung == nil; now += int64(tick) / 3 {
			w.advance(now)
			if rung != nil && now < until {
				t.Errorf("%v: rang at %v, before %v", timeout, time.Duration(now), time.Duration(until))
			}
			if now > until+int64(tick) {
				t.Fatalf("%v: did not ring until %v", timeout, time.Duration(now))
			}
		}
		if rung != a.read.task {
			t.Errorf("%v: rang for somebody else", timeout)
		}
	}
}

func TestAlarmThatMovesDoesNotRing(t *testing.T) {
	rings := 0
	w := newWheel(time.Second, func(*task) { rings++ })
	var a alarm
	w.add(&a)
	for now := int64(0); now < int64(time.Minute); now += int64(tick) {
		a.read = wait{task: &task{}, until: w.after(time.Second)}
		w.advance(now)
	}
	a.read.task = nil
	a.write = wait{task: &task{}, until: w.after(time.Second)}
	w.advance(w.now + int64(900*time.Millisecond))
	if rings != 0 {
		t.Fatalf("rang %d times", rings)
	}
	w.advance(w.now + int64(time.Second))
	if rings == 0 {
		t.Error("the write deadline passed unseen, after a leap of the clock")
	}
	w.remove(&a)
	before := rings
	w.advance(w.now + int64(time.Hour))
	if rings != before {
		t.Error("a removed alarm rang")
	}
}
