package main

import (
	"math/rand/v2"
	"testing"
)

func newTestArena(t *testing.T) *arena {
	t.Helper()
	m, err := newArena()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestClassesGrowInSmallSteps(t *testing.T) {
	for size := 1; size <= maxSmallBytes; size++ {
		got := int(bytesOfClass(classOf(size)))
		if got < size || got > size+max(7, size/4) {
			t.Fatalf("a block for %d bytes has %d", size, got)
		}
	}
	if class := classOf(maxSmallBytes); class != classCount-1 {
		t.Errorf("the last class is %d", class)
	}
}

// block is what a test believes of an allocation.
type testBlock struct {
	r    ref
	size int
	fill byte
}

func TestBlocksKeepTheirContentAndMemoryComesBack(t *testing.T) {
	m := newTestArena(t)
	rng := rand.New(rand.NewPCG(1, 2))
	var blocks []testBlock
	used := 0
	for turn := range 60_000 {
		if len(blocks) > 0 && rng.IntN(100) < 45+turn%20 {
			i := rng.IntN(len(blocks))
			b := blocks[i]
			checkFill(t, m, b)
			used -= m.size(b.r)
			m.free(b.r)
			blocks[i] = blocks[len(blocks)-1]
			blocks = blocks[:len(blocks)-1]
			continue
		}
		b := testBlock{size: 1 << rng.IntN(18), fill: byte(turn)}
		b.size += rng.IntN(b.size)
		b.r = m.alloc(b.size)
		if m.size(b.r) < b.size {
			t.Fatalf("a block of %d bytes has %d", b.size, m.size(b.r))
		}
		used += m.size(b.r)
		for i := range m.slice(b.r, 0, b.size) {
			m.slice(b.r, 0, b.size)[i] = b.fill
		}
		blocks = append(blocks, b)
		if turn%1000 == 0 {
			m.release()
		}
	}
	if m.usedBytes != int64(used) {
		t.Errorf("%d bytes are in use, the account says %d", used, m.usedBytes)
	}
	for _, b := range blocks {
		checkFill(t, m, b)
		m.free(b.r)
	}
	if m.usedBytes != 0 {
		t.Errorf("%d bytes in use after all was freed", m.usedBytes)
	}
	for m.dirtyPages > 10*spanPages {
		before := m.dirtyPages
		if m.release(); m.dirtyPages == before {
			t.Fatalf("%d pages are never given back", before)
		}
	}
}

func checkFill(t *testing.T, m *arena, b testBlock) {
	t.Helper()
	for i, got := range m.slice(b.r, 0, b.size) {
		if got != b.fill {
			t.Fatalf("byte %d of a block of %d is %d, was %d", i, b.size, got, b.fill)
		}
	}
}

func TestSegmentsAreCacheLines(t *testing.T) {
	m := newTestArena(t)
	m.alloc(8)
	for log2 := range maxLog2 + 1 {
		if r := m.alloc(bucketBytes << log2); uintptr(m.at(r))%bucketBytes != 0 {
			t.Errorf("a segment of %d buckets is not aligned", 1<<log2)
		}
	}
}

func TestResetFreesEverything(t *testing.T) {
	m := newTestArena(t)
	for range 1000 {
		m.alloc(5000)
	}
	m.alloc(1 << 20)
	m.reset()
	if m.usedBytes != 0 {
		t.Errorf("%d bytes in use", m.usedBytes)
	}
	if r := m.alloc(1 << 20); m.slice(r, 0, 1<<20)[12345] != 0 {
		t.Error("memory was not given back")
	}
}
