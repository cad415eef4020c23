package main

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// addKey adds an entry without a value.
func addKey(m *arena, t *table, key string) {
	t.add(m, m.hash([]byte(key)), m.newEntry(kindString, false, []byte(key), 0))
}

func TestTableAgainstMap(t *testing.T) {
	m := newTestArena(t)
	var keys table
	known := map[string]bool{}
	rng := rand.New(rand.NewPCG(3, 4))
	for turn := range 300_000 {
		// Waves: it grows to some ten thousand keys and shrinks to few again.
		key := fmt.Sprint(rng.IntN(40_000))
		if known[key] != (keys.get(m, []byte(key)) != 0) {
			t.Fatalf("turn %d: key %s", turn, key)
		}
		switch growing := turn/50_000%2 == 0; {
		case growing && !known[key]:
			addKey(m, &keys, key)
			known[key] = true
		case !growing && known[key]:
			m.removeField(&keys, []byte(key))
			delete(known, key)
		}
		if keys.count != int64(len(known)) {
			t.Fatalf("turn %d: %d keys, counted %d", turn, len(known), keys.count)
		}
	}
	seen := 0
	for r := range keys.all(m) {
		if !known[string(m.key(r))] {
			t.Fatalf("%q is not a key", m.key(r))
		}
		seen++
	}
	if seen != len(known) {
		t.Errorf("%d of %d keys seen", seen, len(known))
	}
	for key := range known {
		m.removeField(&keys, []byte(key))
	}
	if keys.root != 0 || keys.depth != 0 || m.usedBytes != 0 {
		t.Errorf("an empty table has root %d, depth %d, %d bytes", keys.root, keys.depth, m.usedBytes)
	}
}

func TestScanFindsWhatStays(t *testing.T) {
	for _, change := range []struct {
		name string
		do   func(m *arena, keys *table, call int)
	}{
		{"still", func(*arena, *table, int) {}},
		{"growing", func(m *arena, keys *table, call int) {
			for i := range 200 {
				addKey(m, keys, fmt.Sprintf("new %d %d", call, i))
			}
		}},
		{"shrinking", func(m *arena, keys *table, call int) {
			for i := range 200 {
				m.removeField(keys, fmt.Appendf(nil, "passing %d", call*200+i))
			}
		}},
	} {
		t.Run(change.name, func(t *testing.T) {
			m := newTestArena(t)
			var keys table
			for i := range 500 {
				addKey(m, &keys, fmt.Sprintf("stays %d", i))
			}
			for i := range 20_000 {
				addKey(m, &keys, fmt.Sprintf("passing %d", i))
			}
			seen := map[string]bool{}
			var found []ref
			for place, call := uint64(0), 0; ; call++ {
				found, place = keys.scanBucket(m, placeAt(cursorOf(place)), found[:0])
				for _, r := range found {
					seen[string(m.key(r))] = true
				}
				if place == 0 {
					break
				}
				if call < 100 {
					change.do(m, &keys, call)
				}
			}
			for i := range 500 {
				if key := fmt.Sprintf("stays %d", i); !seen[key] {
					t.Errorf("%s was missed", key)
				}
			}
		})
	}
}

func TestRandomReachesAll(t *testing.T) {
	m := newTestArena(t)
	var keys table
	for i := range 300 {
		addKey(m, &keys, fmt.Sprint(i))
	}
	drawn := map[ref]int{}
	for range 300 * 100 {
		drawn[keys.random(m)]++
	}
	for r := range keys.all(m) {
		if drawn[r] < 20 || drawn[r] > 400 {
			t.Errorf("%q was drawn %d times, expected about 100", m.key(r), drawn[r])
		}
	}
}

// TestEqualHashes has a chain of buckets that no split can shorten.
func TestEqualHashes(t *testing.T) {
	m := newTestArena(t)
	var keys table
	const hash = 0x123456789abcdef
	for i := range 100 {
		keys.put(m, placeOf(hash), slotOf(hash, m.ensureRoot(&keys, fmt.Append(nil, i))))
		keys.count++
	}
	for i := range 100 {
		if keys.find(m, fmt.Append(nil, i), hash) == nil {
			t.Fatalf("key %d is not found", i)
		}
	}
	for i := range 100 {
		slot := keys.find(m, fmt.Append(nil, i), hash)
		r := refOf(*slot)
		m.fillGap(m.bucketOf(*keys.counted(m, placeOf(hash)), placeOf(hash)), slot)
		m.free(r)
		for j := i + 1; j < 100; j++ {
			if keys.find(m, fmt.Append(nil, j), hash) == nil {
				t.Fatalf("key %d is lost with key %d", j, i)
			}
		}
	}
}

// ensureRoot makes an entry, and the first segment of the table.
func (m *arena) ensureRoot(t *table, key []byte) ref {
	if t.root == 0 {
		t.root = segmentOf(m.allocZeroed(bucketBytes), 0, 0)
	}
	return m.newEntry(kindString, false, key, 0)
}
