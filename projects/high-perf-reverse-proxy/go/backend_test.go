package main

import (
	"fmt"
	"testing"
	"time"
)

// testBalancer makes a balancer of so many backends that nobody connects to.
func testBalancer(how balance, count int) *balancer {
	settings := defaultOptions()
	l := &balancer{how: how}
	w := newWheel(time.Second)
	for i := range count {
		address := fmt.Sprintf("10.0.0.%d:80", i)
		l.backends = append(l.backends, &backend{
			address: address, hash: hashBytes(address), settings: settings, wheel: w, changed: l.refresh,
		})
	}
	l.refresh()
	return l
}

func TestRoundRobinTakesTurns(t *testing.T) {
	l := testBalancer(roundRobin, 3)
	for turn := range 9 {
		if b := l.pick(nil, nil); b != l.backends[turn%3] {
			t.Fatalf("turn %d: got %s", turn, b.address)
		}
	}
	if b := l.pick(nil, l.backends[:2]); b != l.backends[2] {
		t.Errorf("two were tried: got %v", b)
	}
	if b := l.pick(nil, l.backends); b != nil {
		t.Errorf("all were tried: got %v", b)
	}
}

func TestLeastConnectionsTakesTheLeastBusy(t *testing.T) {
	l := testBalancer(leastConnections, 3)
	for range 9 {
		l.pick(nil, nil).active.Add(1)
	}
	for _, b := range l.backends {
		if b.active.Load() != 3 {
			t.Errorf("%s has %d of 9", b.address, b.active.Load())
		}
	}
	l.backends[1].active.Store(1)
	if b := l.pick(nil, nil); b != l.backends[1] {
		t.Errorf("got %s", b.address)
	}
}

func TestHashMovesOnlyTheKeysOfWhoLeaves(t *testing.T) {
	l := testBalancer(byHash, 4)
	places := func() map[string]*backend {
		found := map[string]*backend{}
		for i := range 400 {
			key := fmt.Sprintf("10.1.%d.%d", i/250, i%250)
			found[key] = l.pick(&client{address: key}, nil)
		}
		return found
	}
	before := places()
	for range l.backends[2].settings.maxFails {
		l.backends[2].failed()
	}
	share := map[*backend]int{}
	for key, now := range places() {
		share[now]++
		if before[key] != l.backends[2] && before[key] != now {
			t.Errorf("%s moved from %s to %s", key, before[key].address, now.address)
		}
	}
	if share[l.backends[2]] != 0 || len(share) != 3 {
		t.Errorf("the keys are on %d backends", len(share))
	}
	for _, b := range []int{0, 1, 3} {
		if n := share[l.backends[b]]; n < 80 {
			t.Errorf("backend %d has %d of 400 keys", b, n)
		}
	}
}

func TestFailuresInARowEject(t *testing.T) {
	l := testBalancer(roundRobin, 1)
	b := l.backends[0]
	b.failed()
	b.failed()
	b.succeeded()
	b.failed()
	b.failed()
	if l.pick(nil, nil) == nil {
		t.Fatal("ejected although a good response stood between the failures")
	}
	b.failed()
	if l.pick(nil, nil) != nil || b.isUp() {
		t.Fatal("not ejected after three failures in a row")
	}
	b.readmit(int64(time.Second))
	if b.isUp() {
		t.Fatal("back too early")
	}
	b.readmit(b.ejectedUntil)
	if l.pick(nil, nil) != b {
		t.Fatal("not back after its time")
	}
	b.failed()
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
	if b.isUp() || l.pick(nil, nil) != nil {
		t.Fatal("still up after it fell")
	}
	b.judge(true, false, nil)
	if !b.isUp() || l.pick(nil, nil) != b {
		t.Fatal("not up after it rose")
	}
}
