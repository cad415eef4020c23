package main

import (
	"fmt"
	"testing"
)

// testBalancer makes a balancer of so many backends that nobody connects to.
func testBalancer(how balance, count int) *balancer {
	settings := defaultOptions()
	l := &balancer{how: how}
	for i := range count {
		address := fmt.Sprintf("10.0.0.%d:80", i)
		l.backends = append(l.backends, &backend{
			address: address, hash: hashBytes(address), settings: settings, changed: l.refresh,
		})
	}
	l.refresh()
	return l
}

func TestRoundRobinTakesTurns(t *testing.T) {
	l := testBalancer(roundRobin, 3)
	for turn := range 9 {
		if n := l.pick(nil, nil); n != turn%3 {
			t.Fatalf("turn %d: got %d", turn, n)
		}
	}
	if n := l.pick([]int{0, 1}, nil); n != 2 {
		t.Errorf("two were tried: got %d", n)
	}
	if n := l.pick([]int{0, 1, 2}, nil); n != none {
		t.Errorf("all were tried: got %d", n)
	}
}

func TestLeastConnectionsTakesTheLeastBusy(t *testing.T) {
	l := testBalancer(leastConnections, 3)
	for range 9 {
		l.backends[l.pick(nil, nil)].active.Add(1)
	}
	for _, b := range l.backends {
		if b.active.Load() != 3 {
			t.Errorf("%s has %d of 9", b.address, b.active.Load())
		}
	}
	l.backends[1].active.Store(1)
	if n := l.pick(nil, nil); n != 1 {
		t.Errorf("got %d", n)
	}
}

func TestHashMovesOnlyTheKeysOfWhoLeaves(t *testing.T) {
	l := testBalancer(byHash, 4)
	places := func() map[string]int {
		found := map[string]int{}
		for i := range 400 {
			key := fmt.Sprintf("10.1.%d.%d", i/250, i%250)
			found[key] = l.pick(nil, func() uint64 { return hashBytes(key) })
		}
		return found
	}
	before := places()
	for range l.backends[2].settings.maxFails {
		l.backends[2].failed(0)
	}
	share := map[int]int{}
	for key, now := range places() {
		share[now]++
		if before[key] != 2 && before[key] != now {
			t.Errorf("%s moved from %d to %d", key, before[key], now)
		}
	}
	if share[2] != 0 || len(share) != 3 {
		t.Errorf("the keys are on %d backends", len(share))
	}
	for _, b := range []int{0, 1, 3} {
		if n := share[b]; n < 80 {
			t.Errorf("backend %d has %d of 400 keys", b, n)
		}
	}
}

func TestFailuresInARowEject(t *testing.T) {
	l := testBalancer(roundRobin, 1)
	b := l.backends[0]
	b.failed(0)
	b.failed(0)
	b.succeeded()
	b.failed(0)
	b.failed(0)
	if l.pick(nil, nil) == none {
		t.Fatal("ejected although a good response stood between the failures")
	}
	b.failed(0)
	if l.pick(nil, nil) != none || b.isUp() {
		t.Fatal("not ejected after three failures in a row")
	}
	b.readmit(b.ejectedUntil - 1)
	if b.isUp() {
		t.Fatal("back too early")
	}
	b.readmit(b.ejectedUntil)
	if l.pick(nil, nil) != 0 {
		t.Fatal("not back after its time")
	}
	b.failed(0)
	if b.isUp() {
		t.Error("still up after it failed again")
	}
}

func TestChecksTakeOutAndBringBack(t *testing.T) {
	l := testBalancer(roundRobin, 1)
	b := l.backends[0]
	b.judge(false, false, nil)
	if !b.isUp() {
		t.Fatal("down at first")
	}
	b.judge(false, true, errStale)
	if b.isUp() || l.pick(nil, nil) != none {
		t.Fatal("still up after it fell")
	}
	b.judge(true, false, nil)
	if !b.isUp() || l.pick(nil, nil) != 0 {
		t.Fatal("not up after it rose")
	}
}
