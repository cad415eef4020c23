package main

import (
	"fmt"
	"testing"
	"time"
)

func put(t testing.TB, c *cache, text string, now, ttl time.Duration) {
	q := question{wireName(t, text), typeA}
	b, _ := encode(q, &answer{records: []rrset{{q.name, typeA, uint32(ttl / time.Second), [][]byte{{10, 0, 0, 1}}}}})
	c.putAnswer(kindAnswer, q, b, now, ttl)
}

func TestCacheKeepsUntilItExpires(t *testing.T) {
	c := newCache(1<<20, false, &counters{})
	q := question{wireName(t, "a.test."), typeA}
	put(t, c, "a.test.", time.Second, 10*time.Second)
	if b, found := c.find(q, 4500*time.Millisecond); !found || b.age != 3 || b.answers != 1 {
		t.Errorf("got %+v, %v", b, found)
	}
	if _, found := c.find(question{q.name, typeMX}, 2*time.Second); found {
		t.Error("another type is found")
	}
	if _, found := c.find(q, 11*time.Second); found || c.live != 0 || c.bytes != 0 {
		t.Errorf("it did not expire: %d entries, %d bytes", c.live, c.bytes)
	}
	put(t, c, "b.test.", 0, 0)
	if c.live != 0 {
		t.Error("a TTL of 0 is kept")
	}
}

func TestCacheReplacesWhatItKnew(t *testing.T) {
	c := newCache(1<<20, false, &counters{})
	for range 3 {
		put(t, c, "a.test.", 0, time.Minute)
	}
	if c.live != 1 || c.counters.entries.Load() != 1 {
		t.Errorf("%d entries", c.live)
	}
}

func TestANameThatDoesNotExistHasNoType(t *testing.T) {
	c := newCache(1<<20, false, &counters{})
	soa := &rrset{wireName(t, "test."), typeSOA, 60, [][]byte{append([]byte("\x00\x00"), make([]byte, 20)...)}}
	q := question{wireName(t, "none.test."), typeA}
	b, ttl := encode(q, &answer{rcode: rcodeNXDomain, soa: soa})
	c.putAnswer(kindNXDomain, q, b, 0, time.Duration(ttl)*time.Second)
	if b, found := c.find(question{q.name, typeMX}, time.Second); !found || b.rcode != rcodeNXDomain || b.authority != 1 {
		t.Errorf("got %+v, %v", b, found)
	}
}

func TestCacheIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	const limit = 256 << 10
	c := newCache(limit, false, &counters{})
	favourite := question{wireName(t, "favourite.test."), typeA}
	put(t, c, "favourite.test.", 0, time.Hour)
	for i := range 50_000 {
		put(t, c, fmt.Sprintf("n%d.test.", i), 0, time.Hour)
		if i%100 == 0 {
			if _, found := c.find(favourite, time.Second); !found {
				t.Fatalf("what is used was forgotten after %d others", i)
			}
		}
		if c.bytes > limit {
			t.Fatalf("%d bytes", c.bytes)
		}
	}
	if _, found := c.find(question{wireName(t, "n49999.test."), typeA}, time.Second); !found {
		t.Error("the newest was forgotten")
	}
	if c.live < limit/400 || c.live > limit/64 {
		t.Errorf("%d entries", c.live)
	}
	c.clear()
	if c.bytes != 0 || c.live != 0 {
		t.Errorf("%d bytes in an empty cache", c.bytes)
	}
	put(t, c, "again.test.", 0, time.Hour)
	if c.live != 1 {
		t.Errorf("%d entries", c.live)
	}
}
