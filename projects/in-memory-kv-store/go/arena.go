package main

import (
	"hash/maphash"
	"math/bits"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ref names a block of the arena: its distance from the start in units of 8
// bytes. It has 40 bits, so that a table slot has 24 left for a hash tag. 0 is
// nothing.
type ref uint64

const (
	refBits = 40
	refMask = 1<<refBits - 1

	unitShift = 3
	unitBytes = 1 << unitShift
	pageShift = 12
	pageBytes = 1 << pageShift
	pageUnits = pageBytes / unitBytes

	spanPages     = 16  // small blocks of one size are cut from 64 KiB
	growPages     = 512 // 2 MiB
	maxSmallBytes = 8 << 10
	classCount    = 41 // class 0 is not used

	largestReserve  = 1 << 40
	smallestReserve = 1 << 28
)

// arena holds all keys, values and tables outside Go's heap.
//
// The collector has nothing to scan and no doubled heap to wait for, a freed
// block is used again at once, and what is in use is known to the byte. One
// range of addresses is reserved at the start and made usable from its
// beginning: blocks never move, and a ref needs one addition to become an
// address.
//
// Small blocks come from spans of one size class; a span without a block in use
// gives its pages back. Larger blocks are runs of pages, merged with free
// neighbours when freed.
type arena struct {
	base  unsafe.Pointer
	bytes []byte // the whole reservation
	pages []page // of the usable part

	bins     [binCount]uint32 // free runs by length, first pages
	binsUsed uint64

	spans      []span
	freeSpan   uint32             // unused elements of spans, linked by next
	roomy      [classCount]uint32 // spans with a free block
	classBytes [classCount]uint32

	usedBytes  int64 // of blocks handed out
	dirtyPages int64 // free but still backed by memory
	seed       maphash.Seed
}

// page is what is known of 4 KiB.
type page struct {
	owner uint32 // of the first and last page of a run; of all pages of a span
	run   uint32 // pages: on the first page of a large block, first and last of a free run
	next  uint32 // free runs of the same bin
	prev  uint32
}

const (
	ownerFree  = iota // memory was given back, or never touched
	ownerDirty        // free, still backed by memory
	ownerLarge
	ownerSpans // this and above: a span
)

// span is a run of pages cut into blocks of one class.
type span struct {
	start      ref
	next, prev uint32
	freed      uint16 // the last freed block, in units from start plus one; it holds the one before
	fresh      uint16 // blocks handed out for the first time
	used       uint16
	capacity   uint16
	class      uint8
}

func newArena() (*arena, error) {
	m := &arena{seed: maphash.MakeSeed()}
	for size := largestReserve; ; size /= 2 {
		reserved, err := unix.Mmap(-1, 0, size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
		if err == nil {
			m.bytes = reserved
			break
		}
		if size == smallestReserve {
			return nil, machineFailure("cannot reserve %d bytes of addresses: %v", size, err)
		}
	}
	// The start is aligned to what one huge page covers.
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(m.bytes))) & (growPages*pageBytes - 1))
	m.bytes = m.bytes[skip:]
	m.base = unsafe.Pointer(unsafe.SliceData(m.bytes))
	for class := 1; class < classCount; class++ {
		m.classBytes[class] = bytesOfClass(class)
	}
	m.start()
	return m, nil
}

// start has nothing in use. Page 0 is never handed out: ref 0 is nothing.
func (m *arena) start() {
	m.pages = append(m.pages[:0], page{owner: ownerLarge, run: 1})
	m.bins, m.binsUsed = [binCount]uint32{}, 0
	m.spans, m.freeSpan, m.roomy = make([]span, 1), 0, [classCount]uint32{}
	m.usedBytes, m.dirtyPages = 0, 0
}

// reset frees all blocks at once, much faster than one by one.
func (m *arena) reset() {
	count := len(m.pages)
	if err := unix.Madvise(m.bytes[:count<<pageShift], unix.MADV_DONTNEED); err != nil {
		fatal(machineFailure("cannot give back %d bytes: %v", count<<pageShift, err))
	}
	m.start()
	if count > 1 {
		m.pages = append(m.pages, make([]page, count-1)...)
		m.freePages(1, uint32(count-1), ownerFree)
	}
}

// hash is seeded anew in every process: nobody can choose keys that collide.
func (m *arena) hash(key []byte) uint64 { return maphash.Bytes(m.seed, key) }

// at is the address of a block. Blocks are outside Go's heap and never move, so
// the pointer is good until the block is freed.
func (m *arena) at(r ref) unsafe.Pointer { return unsafe.Add(m.base, r<<unitShift) }

// slice is a part of a block; the caller knows the block to be that long.
func (m *arena) slice(r ref, from, length int) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(m.base, int(r<<unitShift)+from)), length)
}

// word is 8 bytes of a block.
func (m *arena) word(r ref, index int) *uint64 {
	return (*uint64)(unsafe.Add(m.base, int(r<<unitShift)+index*unitBytes))
}

// classOf has steps of 8 bytes up to 128, then four to a doubling.
func classOf(size int) int {
	if size <= 128 {
		return max(1, (size+7)>>3)
	}
	top := bits.Len(uint(size - 1))
	return 16 + (top-8)*4 + (size-1)>>(top-3)&3 + 1
}

func bytesOfClass(class int) uint32 {
	if class <= 16 {
		return uint32(class * 8)
	}
	base := uint32(128) << ((class - 17) / 4)
	return base + base/4*uint32((class-17)%4+1)
}

// blockBytes is what a block of this many bytes really takes.
func blockBytes(size int) int {
	if size > maxSmallBytes {
		return (size + pageBytes - 1) &^ (pageBytes - 1)
	}
	return int(bytesOfClass(classOf(size)))
}

// alloc hands out a block with arbitrary content.
func (m *arena) alloc(size int) ref {
	if size > maxSmallBytes {
		return m.allocLarge(size)
	}
	class := classOf(size)
	index := m.roomy[class]
	if index == 0 {
		index = m.newSpan(class)
	}
	s := &m.spans[index]
	var r ref
	if s.freed != 0 {
		r = s.start + ref(s.freed-1)
		s.freed = *(*uint16)(m.at(r))
	} else {
		r = s.start + ref(uint32(s.fresh)*m.classBytes[class]>>unitShift)
		s.fresh++
	}
	s.used++
	if s.used == s.capacity {
		m.unlinkSpan(index)
	}
	m.usedBytes += int64(m.classBytes[class])
	return r
}

// allocZeroed hands out a block of zeros.
func (m *arena) allocZeroed(size int) ref {
	r := m.alloc(size)
	clear(m.slice(r, 0, size))
	return r
}

// size is how many bytes the block has.
func (m *arena) size(r ref) int {
	p := &m.pages[r>>(pageShift-unitShift)]
	if p.owner == ownerLarge {
		return int(p.run) << pageShift
	}
	return int(m.classBytes[m.spans[p.owner-ownerSpans].class])
}

func (m *arena) free(r ref) {
	first := uint32(r >> (pageShift - unitShift))
	p := &m.pages[first]
	if p.owner == ownerLarge {
		m.usedBytes -= int64(p.run) << pageShift
		m.freePages(first, p.run, ownerDirty)
		return
	}
	index := p.owner - ownerSpans
	s := &m.spans[index]
	m.usedBytes -= int64(m.classBytes[s.class])
	*(*uint16)(m.at(r)) = s.freed
	s.freed = uint16(r-s.start) + 1
	s.used--
	if s.used == s.capacity-1 {
		m.linkSpan(index)
	}
	// The last roomy span of a class stays, or one block coming and going would cost a span each time.
	if s.used == 0 && (s.next != 0 || s.prev != 0) {
		m.dropSpan(index)
	}
}

func (m *arena) newSpan(class int) uint32 {
	index := m.freeSpan
	if index != 0 {
		m.freeSpan = m.spans[index].next
	} else {
		index = uint32(len(m.spans))
		m.spans = append(m.spans, span{})
	}
	first := m.allocPages(spanPages)
	for i := range m.pages[first : first+spanPages] {
		m.pages[first+uint32(i)].owner = ownerSpans + index
	}
	m.spans[index] = span{
		start:    ref(first) * pageUnits,
		capacity: uint16(spanPages * pageBytes / int(m.classBytes[class])),
		class:    uint8(class),
	}
	m.linkSpan(index)
	return index
}

func (m *arena) dropSpan(index uint32) {
	m.unlinkSpan(index)
	s := &m.spans[index]
	m.freePages(uint32(s.start/pageUnits), spanPages, ownerDirty)
	s.next, m.freeSpan = m.freeSpan, index
}

func (m *arena) linkSpan(index uint32) {
	s := &m.spans[index]
	head := &m.roomy[s.class]
	s.next, s.prev = *head, 0
	if *head != 0 {
		m.spans[*head].prev = index
	}
	*head = index
}

func (m *arena) unlinkSpan(index uint32) {
	s := &m.spans[index]
	if s.prev != 0 {
		m.spans[s.prev].next = s.next
	} else {
		m.roomy[s.class] = s.next
	}
	if s.next != 0 {
		m.spans[s.next].prev = s.prev
	}
	s.next, s.prev = 0, 0
}

func (m *arena) allocLarge(size int) ref {
	count := uint32((size + pageBytes - 1) >> pageShift)
	first := m.allocPages(count)
	m.pages[first].owner, m.pages[first].run = ownerLarge, count
	m.pages[first+count-1].owner = ownerLarge
	m.usedBytes += int64(count) << pageShift
	return ref(first) * pageUnits
}

const (
	exactBins  = 32 // runs of 1 to 31 pages have a bin each
	binCount   = 64 // then one a doubling
	binTries   = 16 // runs looked at in a bin where some are too short
	noFreeRun  = 0
	lowestBits = 6 // bits.Len of exactBins
)

func binOf(run uint32) int {
	if run < exactBins {
		return int(run)
	}
	return exactBins + bits.Len32(run) - lowestBits
}

// allocPages takes a run of pages; the caller marks them as its own.
func (m *arena) allocPages(count uint32) uint32 {
	first := m.findRun(count)
	if first == noFreeRun {
		m.grow(count)
		first = m.findRun(count)
	}
	state, run := m.pages[first].owner, m.pages[first].run
	m.unlinkRun(first)
	if run > count {
		m.linkRun(first+count, run-count, state)
	}
	return first
}

// findRun is a best fit among the bins, a first fit inside one.
func (m *arena) findRun(count uint32) uint32 {
	bin := binOf(count)
	tries := 0
	for first := m.bins[bin]; first != noFreeRun && tries < binTries; first = m.pages[first].next {
		if m.pages[first].run >= count {
			return first
		}
		tries++
	}
	larger := m.binsUsed &^ (1<<(bin+1) - 1)
	if larger == 0 {
		return noFreeRun
	}
	return m.bins[bits.TrailingZeros64(larger)]
}

// freePages merges the run with free neighbours.
func (m *arena) freePages(first, count, state uint32) {
	if before := m.pages[first-1]; before.owner <= ownerDirty {
		m.unlinkRun(first - before.run)
		first, count, state = first-before.run, count+before.run, max(state, before.owner)
	}
	if next := first + count; int(next) < len(m.pages) && m.pages[next].owner <= ownerDirty {
		after := m.pages[next]
		m.unlinkRun(next)
		count, state = count+after.run, max(state, after.owner)
	}
	m.linkRun(first, count, state)
}

func (m *arena) linkRun(first, count, state uint32) {
	bin := binOf(count)
	head := m.bins[bin]
	last := &m.pages[first+count-1]
	last.owner, last.run = state, count
	m.pages[first] = page{owner: state, run: count, next: head}
	if head != noFreeRun {
		m.pages[head].prev = first
	}
	m.bins[bin] = first
	m.binsUsed |= 1 << bin
	if state == ownerDirty {
		m.dirtyPages += int64(count)
	}
}

func (m *arena) unlinkRun(first uint32) {
	p := &m.pages[first]
	bin := binOf(p.run)
	if p.prev != noFreeRun {
		m.pages[p.prev].next = p.next
	} else {
		m.bins[bin] = p.next
		if p.next == noFreeRun {
			m.binsUsed &^= 1 << bin
		}
	}
	if p.next != noFreeRun {
		m.pages[p.next].prev = p.prev
	}
	if p.owner == ownerDirty {
		m.dirtyPages -= int64(p.run)
	}
}

// grow makes more of the reserved addresses usable.
func (m *arena) grow(count uint32) {
	from := len(m.pages)
	end := (from + int(count) + growPages - 1) &^ (growPages - 1)
	if end<<pageShift > len(m.bytes) {
		fatal(machineFailure("out of memory: all %d bytes of addresses are used", len(m.bytes)))
	}
	if err := unix.Mprotect(m.bytes[from<<pageShift:end<<pageShift], unix.PROT_READ|unix.PROT_WRITE); err != nil {
		fatal(machineFailure("out of memory: %d bytes more: %v", (end-from)<<pageShift, err))
	}
	// Keys are met in no order: with pages of 4 KiB nearly every access would miss
	// the cache of page addresses. Where the kernel has no larger ones, it says so.
	_ = unix.Madvise(m.bytes[from<<pageShift:end<<pageShift], unix.MADV_HUGEPAGE)
	m.pages = append(m.pages, make([]page, end-from)...)
	m.freePages(uint32(from), uint32(end-from), ownerFree)
}

// releaseLimitPages bounds what one call of release gives back.
const releaseLimitPages = 16 << 10

// release gives the memory of long free runs back to the kernel, a bounded part
// at a time; short ones are kept for the next blocks.
func (m *arena) release() {
	given := uint32(0)
	for bin := binOf(spanPages); bin < binCount && given < releaseLimitPages && m.dirtyPages > 0; bin++ {
		for first := m.bins[bin]; first != noFreeRun && given < releaseLimitPages; first = m.pages[first].next {
			p := &m.pages[first]
			if p.owner != ownerDirty {
				continue
			}
			start := int(first) << pageShift
			if unix.Madvise(m.bytes[start:start+int(p.run)<<pageShift], unix.MADV_DONTNEED) != nil {
				return
			}
			p.owner, m.pages[first+p.run-1].owner = ownerFree, ownerFree
			m.dirtyPages -= int64(p.run)
			given += p.run
		}
	}
}

// ownBytes is what the arena needs to know its blocks.
func (m *arena) ownBytes() int64 {
	return int64(cap(m.pages))*int64(unsafe.Sizeof(page{})) + int64(cap(m.spans))*int64(unsafe.Sizeof(span{}))
}
