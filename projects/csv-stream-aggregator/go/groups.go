package main

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// Groups live in blocks that never move: growing copies nothing, and there is
// nothing in them for the garbage collector to look at.
const (
	blockShift  = 10
	blockGroups = 1 << blockShift
	keyBlock    = 64 << 10
	// maxKeyBytes bounds what all group keys together may take.
	maxKeyBytes = 1 << 30
)

// group is one row of the answer.
type group struct {
	rows      uint64
	ends      keyEnds
	keyBlock  uint32
	keyOffset uint32
}

// keyEnds are the length of a key and its first and last bytes, which overlap in
// a short one. Up to sixteen bytes that is all of it: most keys are compared
// without a look at where they are stored.
type keyEnds struct {
	first, last uint64
	length      uint32
}

const wholeKeyBytes = 16

func keyEndsOf(key []byte) keyEnds {
	length := len(key)
	ends := keyEnds{length: uint32(length)}
	switch {
	case length >= 8:
		ends.first = binary.LittleEndian.Uint64(key)
		ends.last = binary.LittleEndian.Uint64(key[length-8:])
	case length >= 4:
		ends.first = uint64(binary.LittleEndian.Uint32(key))
		ends.last = uint64(binary.LittleEndian.Uint32(key[length-4:]))
	case length > 0:
		ends.first = uint64(key[0]) | uint64(key[length/2])<<8 | uint64(key[length-1])<<16
	}
	return ends
}

// keyHasher hashes keys by multiplying and folding, seeded anew in each process:
// nobody can prepare a file whose keys all collide.
type keyHasher struct{ seeds [2]uint64 }

func newKeyHasher() keyHasher { return keyHasher{[2]uint64{rand.Uint64(), rand.Uint64()}} }

func (h *keyHasher) hash(key []byte, ends *keyEnds) uint64 {
	start := h.seeds[0] ^ uint64(ends.length)
	if len(key) <= wholeKeyBytes {
		return fold(ends.first^h.seeds[1], ends.last^start)
	}
	return h.hashLong(key, start)
}

// hashLong takes sixteen bytes at a time; the last sixteen may overlap those before.
func (h *keyHasher) hashLong(key []byte, state uint64) uint64 {
	last := key[len(key)-16:]
	for ; len(key) >= 16; key = key[16:] {
		state = fold(binary.LittleEndian.Uint64(key)^h.seeds[1], binary.LittleEndian.Uint64(key[8:])^state)
	}
	return fold(binary.LittleEndian.Uint64(last)^h.seeds[1], binary.LittleEndian.Uint64(last[8:])^state)
}

func fold(left, right uint64) uint64 {
	high, low := bits.Mul64(left, right)
	return high ^ low
}

type groupBlock struct {
	groups [blockGroups]group
	states []columnState
}

// groupTable finds groups by key: open addressing over slots that hold 32 bits
// of the hash and a group number plus one.
type groupTable struct {
	hasher    keyHasher
	slots     []uint64
	blocks    []*groupBlock
	keys      [][]byte // append-only blocks of key bytes
	keysUsed  int      // how many of them
	keyBytes  int
	count     int
	maxGroups int
	columns   int
}

func newGroupTable(maxGroups int) *groupTable {
	return &groupTable{hasher: newKeyHasher(), slots: make([]uint64, 1024), maxGroups: maxGroups}
}

// reset forgets all groups and keeps the memory.
func (t *groupTable) reset(columns int) {
	if columns != t.columns {
		t.blocks, t.columns = nil, columns
	}
	clear(t.slots)
	t.keysUsed, t.count, t.keyBytes = 0, 0, 0
}

func (t *groupTable) group(number int) *group {
	return &t.blocks[number>>blockShift].groups[number&(blockGroups-1)]
}

// states are the columns of one group.
func (t *groupTable) states(number int) []columnState {
	from := (number & (blockGroups - 1)) * t.columns
	return t.blocks[number>>blockShift].states[from : from+t.columns]
}

// addRow counts one more row of the group and gives its columns.
func (t *groupTable) addRow(number int) []columnState {
	block, within := t.blocks[number>>blockShift], number&(blockGroups-1)
	block.groups[within].rows++
	return block.states[within*t.columns:][:t.columns]
}

func (t *groupTable) key(g *group) []byte {
	return t.keys[g.keyBlock][g.keyOffset : g.keyOffset+g.ends.length]
}

// probe is one search, between its steps. The memory that a step needs is loaded
// by the step before, and searches are made side by side: a table that is larger
// than the cache would otherwise make each row wait for several misses in turn.
type probe struct {
	ends keyEnds
	hash uint64
	slot uint64
}

const tagBits = 0xffffffff00000000

// number is the group that the slot names; nonsense for an empty slot.
func (p *probe) number() int { return int(uint32(p.slot)) - 1 }

// start begins the search for a key: the load of its slot is under way when this returns.
func (t *groupTable) start(p *probe, key []byte) {
	p.ends = keyEndsOf(key)
	p.hash = t.hasher.hash(key, &p.ends)
	p.slot = t.slots[p.hash&uint64(len(t.slots)-1)]
}

// isPromising goes on to the group that the slot names; false if that is another one.
func (t *groupTable) isPromising(p *probe) bool {
	return (p.slot^p.hash)&tagBits == 0 && p.slot != 0 && t.group(p.number()).ends == p.ends
}

// isFound compares what is not in the ends of the key.
func (t *groupTable) isFound(p *probe, key []byte) bool {
	return len(key) <= wholeKeyBytes || string(t.key(t.group(p.number()))) == string(key)
}

// finish gives the number of the group with this key, which is made if it is new.
func (t *groupTable) finish(p *probe, key []byte, isPromising bool) (int, error) {
	if isPromising && t.isFound(p, key) {
		return p.number(), nil
	}
	return t.search(*p, key)
}

// search is the whole search: other groups may be in the way, or the group is new.
func (t *groupTable) search(p probe, key []byte) (int, error) {
	mask := uint64(len(t.slots) - 1)
	for at := p.hash & mask; ; at = (at + 1) & mask {
		p.slot = t.slots[at]
		if p.slot == 0 {
			return t.insert(key, p.ends, at, p.hash&tagBits)
		}
		if t.isPromising(&p) && t.isFound(&p, key) {
			return p.number(), nil
		}
	}
}

func (t *groupTable) insert(key []byte, ends keyEnds, at, tag uint64) (int, error) {
	number := t.count
	if number == t.maxGroups {
		return 0, badRequest("more than %d groups (--max-groups)", t.maxGroups)
	}
	if t.keyBytes += len(key); t.keyBytes > maxKeyBytes {
		return 0, badRequest("group keys of more than %d bytes", maxKeyBytes)
	}
	if number>>blockShift == len(t.blocks) {
		t.blocks = append(t.blocks, &groupBlock{states: make([]columnState, blockGroups*t.columns)})
	}
	g := t.group(number)
	*g = group{ends: ends}
	g.keyBlock, g.keyOffset = t.storeKey(key)
	clear(t.states(number))
	t.count++
	t.slots[at] = tag | uint64(t.count)
	if t.count*2 > len(t.slots) {
		t.grow()
	}
	return number, nil
}

func (t *groupTable) storeKey(key []byte) (block, offset uint32) {
	last := t.keysUsed - 1
	if last < 0 || len(t.keys[last])+len(key) > cap(t.keys[last]) {
		last = t.keysUsed
		t.useKeyBlock(len(key))
	}
	offset = uint32(len(t.keys[last]))
	t.keys[last] = append(t.keys[last], key...)
	return uint32(last), offset
}

// useKeyBlock takes the next block, of an earlier run if it is large enough.
func (t *groupTable) useKeyBlock(bytes int) {
	if t.keysUsed == len(t.keys) {
		t.keys = append(t.keys, nil)
	}
	block := &t.keys[t.keysUsed]
	*block = (*block)[:0]
	if cap(*block) < max(bytes, 1) {
		*block = make([]byte, 0, max(keyBlock, bytes))
	}
	t.keysUsed++
}

// grow doubles the slots. Only 32 bits of each hash are kept, so keys are hashed again.
func (t *groupTable) grow() {
	t.slots = make([]uint64, 2*len(t.slots))
	mask := uint64(len(t.slots) - 1)
	for number := range t.count {
		g := t.group(number)
		hash := t.hasher.hash(t.key(g), &g.ends)
		at := hash & mask
		for t.slots[at] != 0 {
			at = (at + 1) & mask
		}
		t.slots[at] = hash&tagBits | uint64(number+1)
	}
}

// A key of several columns is each field but the last behind its length in four
// bytes, then the last field: two different rows never make the same key.
const lengthBytes = 4

// appendKey appends the key of a row.
func appendKey(key []byte, row *record, columns []int, scratch *[]byte) []byte {
	for i, column := range columns {
		if i == len(columns)-1 {
			return row.appendField(key, column, scratch)
		}
		lengthAt := len(key)
		key = append(key, 0, 0, 0, 0)
		key = row.appendField(key, column, scratch)
		binary.LittleEndian.PutUint32(key[lengthAt:], uint32(len(key)-lengthAt-lengthBytes))
	}
	return key
}

// nextKeyField splits the first field off a key.
func nextKeyField(key []byte, last bool) (field, rest []byte) {
	if last {
		return key, nil
	}
	length := binary.LittleEndian.Uint32(key)
	key = key[lengthBytes:]
	return key[:length], key[length:]
}

// sorted lists the groups in the order of the answer: field by field, raw bytes.
func (t *groupTable) sorted(keyColumns int, order []uint32) []uint32 {
	order = order[:0]
	for number := range t.count {
		order = append(order, uint32(number))
	}
	slices.SortFunc(order, func(a, b uint32) int {
		left, right := t.key(t.group(int(a))), t.key(t.group(int(b)))
		for column := range keyColumns {
			last := column == keyColumns-1
			var leftField, rightField []byte
			leftField, left = nextKeyField(left, last)
			rightField, right = nextKeyField(right, last)
			if result := bytes.Compare(leftField, rightField); result != 0 {
				return result
			}
		}
		return 0
	})
	return order
}
