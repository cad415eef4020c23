package main

import (
	"math/rand/v2"
	"testing"
	"time"
)

func newTestLoop(t *testing.T) *loop {
	t.Helper()
	l, err := newLoop(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.forget(l.wakeFD)
		l.forget(l.epoll)
	})
	return l
}

func TestAlarmsRingInOrder(t *testing.T) {
	l := newTestLoop(t)
	random := rand.New(rand.NewPCG(5, 6))
	alarms := make([]alarm, 500)
	rang, last := 0, time.Duration(0)
	for i := range alarms {
		a := &alarms[i]
		a.ring = func() {
			if a.at < last || a.at > l.now {
				t.Errorf("rang for %v after %v, at %v", a.at, last, l.now)
			}
			last = a.at
			rang++
		}
		l.setAlarm(a, time.Duration(random.IntN(1000)))
	}
	for i := range 200 { // some again, some not at all
		l.setAlarm(&alarms[i], time.Duration(random.IntN(1000)))
		if i%2 == 0 {
			l.stopAlarm(&alarms[i])
		}
	}
	for l.now = 0; l.now < 1000; l.now += 50 {
		l.ring()
	}
	l.ring()
	if rang != 400 || len(l.alarms) != 0 {
		t.Errorf("%d rang, %d are left", rang, len(l.alarms))
	}
}

func TestTasksWaitAndAreUsedAgain(t *testing.T) {
	l := newTestLoop(t)
	done := 0
	for range 3 {
		for range 10 {
			l.spawn(func() {
				for until := l.now + time.Millisecond; l.now < until; {
					l.pauseUntil(until)
				}
				done++
			})
		}
		for start := time.Now(); len(l.idle) < 10; {
			l.turn()
			if time.Since(start) > 5*time.Second {
				t.Fatal("tasks do not end")
			}
			if len(l.alarms) == 0 && len(l.scheduled) == 0 {
				break
			}
		}
	}
	if done != 30 || len(l.idle) != 10 {
		t.Errorf("%d done, %d tasks", done, len(l.idle))
	}
}
