package main

import (
	"iter"
	"math/rand/v2"
)

// table finds entries by key: the keyspace, the keys that expire, hashes, sets
// and sorted sets. Its zero value is empty; it has no pointers and lives inside
// entries too.
//
// It is an extendible hash table. The directory, indexed by the first bits of
// the hash, leads to segments of up to 64 buckets; a bucket is one cache line of
// 8 slots, and a slot has a tag of the hash and the ref of the entry. A full
// segment is split on its own, so the longest pause of an insert is one segment
// of 4 KiB (and, rarely, a copy of the directory: 256 KiB at ten million keys),
// never a rehash of all. Segments with few entries are merged.
//
// Segments and buckets are in the order of the hash, whatever their sizes. The
// cursor of a scan is a place in that order: all that is before it was seen,
// also when the table grew or shrank in between.
type table struct {
	root    uint64 // without a directory the only segment, else the ref of the directory
	count   int64
	depth   uint32 // the directory has 1<<depth segments, 0: there is none
	deepest uint32 // how many segments have the depth of the directory
}

const (
	bucketSlots = 8
	bucketBytes = bucketSlots * unitBytes
	maxLog2     = 6  // buckets of a segment
	maxDepth    = 34 // refBits - maxLog2
	chainSlot   = bucketSlots - 1
)

// A segment is 64 bits, in root or in the directory: its buckets (40 bits), its
// depth (6), log2 of the number of buckets (3), how many entries it has (15). A
// segment that is less deep than the directory is there several times; only the
// first of them counts its entries.
const (
	depthShift = refBits
	log2Shift  = depthShift + 6
	countShift = log2Shift + 3
	oneEntry   = 1 << countShift
)

func segmentOf(buckets ref, depth, log2 uint32) uint64 {
	return uint64(buckets) | uint64(depth)<<depthShift | uint64(log2)<<log2Shift
}

func segmentDepth(segment uint64) uint32 { return uint32(segment>>depthShift) & 63 }
func segmentLog2(segment uint64) uint32  { return uint32(segment>>log2Shift) & 7 }
func segmentCount(segment uint64) uint64 { return segment >> countShift }

// placeOf orders the entries: the 40 bits of the hash that are not in the tag, at the top of the word.
func placeOf(hash uint64) uint64 { return hash << (64 - refBits) }

// tagOf is never 0. A slot with tag 0 is empty or, as the last of a bucket, leads to another bucket.
func tagOf(hash uint64) uint64 { return hash>>refBits | 1 }

func slotOf(hash uint64, r ref) uint64 { return tagOf(hash)<<refBits | uint64(r) }

func refOf(slot uint64) ref { return ref(slot & refMask) }

// setRef points a slot to the block that the entry moved to.
func setRef(slot *uint64, r ref) { *slot = *slot&^refMask | uint64(r) }

type bucket = [bucketSlots]uint64

func (m *arena) bucketAt(r ref) *bucket { return (*bucket)(m.at(r)) }

func (m *arena) bucketOf(segment, place uint64) *bucket {
	index := place << segmentDepth(segment) >> 1 >> (63 - segmentLog2(segment))
	return m.bucketAt(ref(segment&refMask) + ref(index*bucketSlots))
}

// segment is the word of the directory for this place.
func (t *table) segment(m *arena, place uint64) *uint64 {
	if t.depth == 0 {
		return &t.root
	}
	return m.word(ref(t.root), int(place>>(64-t.depth)))
}

// counted is the word that counts the entries of the segment.
func (t *table) counted(m *arena, place uint64) *uint64 {
	if t.depth == 0 {
		return &t.root
	}
	shift := t.depth - segmentDepth(*t.segment(m, place))
	return m.word(ref(t.root), int(place>>(64-t.depth)>>shift<<shift))
}

// find is the slot of the key, or nil.
func (t *table) find(m *arena, key []byte, hash uint64) *uint64 {
	if t.root == 0 {
		return nil
	}
	place, tag := placeOf(hash), tagOf(hash)
	slots := m.bucketOf(*t.segment(m, place), place)
	for {
		for i := range slots {
			slot := slots[i]
			if slot>>refBits == tag && string(m.key(refOf(slot))) == string(key) {
				return &slots[i]
			}
		}
		last := slots[chainSlot]
		if last == 0 || last>>refBits != 0 {
			return nil
		}
		slots = m.bucketAt(ref(last))
	}
}

// get is the entry of the key, or 0.
func (t *table) get(m *arena, key []byte) ref {
	if slot := t.find(m, key, m.hash(key)); slot != nil {
		return refOf(*slot)
	}
	return 0
}

// add has an entry that is not in the table yet. Slots may move.
func (t *table) add(m *arena, hash uint64, r ref) {
	if t.root == 0 {
		t.root = segmentOf(m.allocZeroed(bucketBytes), 0, 0)
	}
	place := placeOf(hash)
	t.count++
	segment := t.put(m, place, slotOf(hash, r))
	if log2 := segmentLog2(segment); segmentCount(segment) > 6<<log2 { // three quarters full
		t.grow(m, place, segment)
	}
}

// put stores a slot where its place is, in a further bucket if that one is full.
func (t *table) put(m *arena, place, slot uint64) (segment uint64) {
	word := t.counted(m, place)
	*word += oneEntry
	slots := m.bucketOf(*word, place)
	for {
		for i := range slots {
			if slots[i] == 0 {
				slots[i] = slot
				return *word
			}
		}
		last := slots[chainSlot]
		if last>>refBits != 0 {
			further := m.allocZeroed(bucketBytes)
			m.bucketAt(further)[0] = last
			m.bucketAt(further)[1] = slot
			slots[chainSlot] = uint64(further)
			return *word
		}
		slots = m.bucketAt(ref(last))
	}
}

// grow doubles a segment, or splits it in two if it has its full size.
func (t *table) grow(m *arena, place, old uint64) {
	depth, log2 := segmentDepth(old), segmentLog2(old)
	switch {
	case log2 < maxLog2:
		t.setSegment(m, place, t.newSegment(m, depth, log2+1))
	case depth < maxDepth:
		if depth == t.depth {
			t.doubleDirectory(m)
		}
		half := uint64(1) << (63 - depth)
		t.setSegment(m, place&^half, t.newSegment(m, depth+1, log2))
		t.setSegment(m, place|half, t.newSegment(m, depth+1, log2))
		if depth+1 == t.depth {
			t.deepest += 2
		}
	default:
		return // chains grow; it takes more entries than memory has, or equal hashes
	}
	t.pour(m, old)
}

func (t *table) newSegment(m *arena, depth, log2 uint32) uint64 {
	return segmentOf(m.allocZeroed(bucketBytes<<log2), depth, log2)
}

// setSegment writes all words of the directory that belong to the segment.
func (t *table) setSegment(m *arena, place, segment uint64) {
	if t.depth == 0 {
		t.root = segment
		return
	}
	copies := 1 << (t.depth - segmentDepth(segment))
	first := int(place>>(64-t.depth)) &^ (copies - 1)
	for i := range copies {
		*m.word(ref(t.root), first+i) = segment
	}
}

// pour puts all entries of a segment that was replaced into their new places and frees it.
func (t *table) pour(m *arena, old uint64) {
	buckets := ref(old & refMask)
	for i := range ref(1) << segmentLog2(old) {
		for slots, chained := m.bucketAt(buckets+i*bucketSlots), ref(0); ; {
			next := ref(0)
			for _, slot := range slots {
				if slot>>refBits != 0 {
					t.put(m, placeOf(m.hash(m.key(refOf(slot)))), slot)
				} else if slot != 0 {
					next = ref(slot)
				}
			}
			if chained != 0 {
				m.free(chained)
			}
			if next == 0 {
				break
			}
			slots, chained = m.bucketAt(next), next
		}
	}
	m.free(buckets)
}

func (t *table) doubleDirectory(m *arena) {
	doubled := m.alloc(unitBytes << (t.depth + 1))
	if t.depth == 0 {
		*m.word(doubled, 0), *m.word(doubled, 1) = t.root, t.root
	} else {
		for i := range 1 << t.depth {
			segment := *m.word(ref(t.root), i)
			*m.word(doubled, 2*i), *m.word(doubled, 2*i+1) = segment, segment
		}
		m.free(ref(t.root))
	}
	t.root, t.depth, t.deepest = uint64(doubled), t.depth+1, 0
}

// halveDirectory drops the copies when no segment needs all bits of the directory.
func (t *table) halveDirectory(m *arena) {
	old := ref(t.root)
	t.depth--
	if t.depth == 0 {
		t.root, t.deepest = *m.word(old, 0), 0
		m.free(old)
		return
	}
	halved := m.alloc(unitBytes << t.depth)
	t.root, t.deepest = uint64(halved), 0
	for i := range 1 << t.depth {
		segment := *m.word(old, 2*i)
		*m.word(halved, i) = segment
		if segmentDepth(segment) == t.depth {
			t.deepest++
		}
	}
	m.free(old)
}

// remove takes out a slot that find returned. The entry itself is not freed.
func (t *table) remove(m *arena, hash uint64, slot *uint64) {
	place := placeOf(hash)
	word := t.counted(m, place)
	*word -= oneEntry
	t.count--
	if t.count == 0 {
		*slot = 0
		t.drop(m)
		return
	}
	m.fillGap(m.bucketOf(*word, place), slot)
	t.shrink(m, place, *word)
}

// fillGap moves the last entry of a chain of buckets to the freed slot.
func (m *arena) fillGap(slots *bucket, gap *uint64) {
	var before *bucket
	for last := slots[chainSlot]; last != 0 && last>>refBits == 0; last = slots[chainSlot] {
		before, slots = slots, m.bucketAt(ref(last))
	}
	if before == nil {
		*gap = 0
		return
	}
	end := chainSlot
	for slots[end] == 0 {
		end--
	}
	*gap, slots[end] = slots[end], 0
	if end == 1 { // one is left, and has room where the chain started
		further := ref(before[chainSlot])
		before[chainSlot] = slots[0]
		m.free(further)
	}
}

// shrink halves a lone segment, or merges one with its neighbour, when few entries are left.
func (t *table) shrink(m *arena, place, old uint64) {
	depth, log2 := segmentDepth(old), segmentLog2(old)
	if segmentCount(old) > 1<<log2 || depth == 0 && log2 == 0 {
		return
	}
	if depth == 0 {
		t.setSegment(m, place, t.newSegment(m, 0, log2-1))
		t.pour(m, old)
		return
	}
	other := *t.counted(m, place^1<<(64-depth))
	if segmentDepth(other) != depth || segmentCount(old)+segmentCount(other) > 2<<log2 {
		return
	}
	if depth == t.depth {
		t.deepest -= 2
	}
	t.setSegment(m, place, t.newSegment(m, depth-1, log2))
	t.pour(m, old)
	t.pour(m, other)
	for t.depth > 0 && t.deepest == 0 {
		t.halveDirectory(m)
	}
}

// drop frees the segments, not the entries.
func (t *table) drop(m *arena) {
	for place := uint64(0); t.root != 0; {
		segment := *t.segment(m, place)
		buckets := ref(segment & refMask)
		for i := range ref(1) << segmentLog2(segment) {
			m.dropChain(m.bucketAt(buckets + i*bucketSlots)[chainSlot])
		}
		m.free(buckets)
		if place += segmentWidth(segment); place == 0 || segmentDepth(segment) == 0 {
			break
		}
	}
	if t.depth > 0 {
		m.free(ref(t.root))
	}
	*t = table{}
}

func (m *arena) dropChain(slot uint64) {
	for slot != 0 && slot>>refBits == 0 {
		further := ref(slot)
		slot = m.bucketAt(further)[chainSlot]
		m.free(further)
	}
}

// segmentWidth is how many places the segment covers; 0 if it covers all.
func segmentWidth(segment uint64) uint64 { return 1 << 1 << (63 - segmentDepth(segment)) }

// scanBucket appends the entries of the bucket at a place, and returns the place
// after it, 0 at the end. All entries before that place were in this bucket or
// in earlier ones.
func (t *table) scanBucket(m *arena, place uint64, found []ref) ([]ref, uint64) {
	if t.root == 0 {
		return found, 0
	}
	segment := *t.segment(m, place)
	slots := m.bucketOf(segment, place)
	for slots != nil {
		var further *bucket
		for _, slot := range slots {
			if slot>>refBits != 0 {
				found = append(found, refOf(slot))
			} else if slot != 0 {
				further = m.bucketAt(ref(slot))
			}
		}
		slots = further
	}
	width := uint64(1) << 1 << (63 - segmentDepth(segment) - segmentLog2(segment))
	if width == 0 {
		return found, 0 // one bucket is all
	}
	return found, place&^(width-1) + width
}

// A cursor is a place as clients see it: without the zeros at its end.
func cursorOf(place uint64) uint64 { return place >> (64 - refBits) }
func placeAt(cursor uint64) uint64 { return cursor << (64 - refBits) }

// all goes through the entries; the table must not change meanwhile.
func (t *table) all(m *arena) iter.Seq[ref] {
	return func(yield func(ref) bool) {
		var found []ref
		for place, more := uint64(0), true; more; more = place != 0 {
			found, place = t.scanBucket(m, place, found[:0])
			for _, r := range found {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// random is an entry of a table that is not empty. Buckets are drawn evenly,
// then accepted by how full they are: every entry has about the same chance.
func (t *table) random(m *arena) ref {
	var room [2 * bucketSlots]ref
	for {
		found, _ := t.scanBucket(m, rand.Uint64(), room[:0])
		if index := rand.IntN(max(len(found), 2*bucketSlots)); index < len(found) {
			return found[index]
		}
	}
}

// tableBytes is what the segments and the directory take.
func (t *table) tableBytes(m *arena) int {
	total := 0
	for place, more := uint64(0), t.root != 0; more; {
		segment := *t.segment(m, place)
		total += blockBytes(bucketBytes << segmentLog2(segment))
		place += segmentWidth(segment)
		more = place != 0 && segmentDepth(segment) != 0
	}
	if t.depth > 0 {
		total += blockBytes(unitBytes << t.depth)
	}
	return total
}
