package main

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
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
	keyBlock  uint32
	keyOffset uint32
	keyLength uint32
}

type groupBlock struct {
	groups [blockGroups]group
	states []columnState
}

// groupTable finds groups by key: open addressing over slots that hold 32 bits
// of the hash and a group number plus one.
type groupTable struct {
	seed      maphash.Seed
	slots     []uint64
	blocks    []*groupBlock
	keys      [][]byte // append-only blocks of key bytes
	keyBytes  int
	count     int
	maxGroups int
	columns   int
}

func newGroupTable(maxGroups int) *groupTable {
	return &groupTable{seed: maphash.MakeSeed(), slots: make([]uint64, 1024), maxGroups: maxGroups}
}

// reset forgets all groups and keeps the memory.
func (t *groupTable) reset(columns int) {
	if columns != t.columns {
		t.blocks, t.columns = nil, columns
	}
	clear(t.slots)
	for i := range t.keys {
		t.keys[i] = nil
	}
	t.keys, t.count, t.keyBytes = t.keys[:0], 0, 0
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
	return t.keys[g.keyBlock][g.keyOffset : g.keyOffset+g.keyLength]
}

// find gives the number of the group with this key and makes it if it is new.
func (t *groupTable) find(key []byte) (int, error) {
	hash := maphash.Bytes(t.seed, key)
	tag := hash &^ 0xffffffff
	mask := uint64(len(t.slots) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		slot := t.slots[at]
		if slot == 0 {
			return t.insert(key, at, tag)
		}
		if slot&^0xffffffff == tag {
			number := int(uint32(slot)) - 1
			if string(t.key(t.group(number))) == string(key) {
				return number, nil
			}
		}
	}
}

func (t *groupTable) insert(key []byte, at, tag uint64) (int, error) {
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
	*g = group{keyLength: uint32(len(key))}
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
	last := len(t.keys) - 1
	if last < 0 || len(t.keys[last])+len(key) > cap(t.keys[last]) {
		t.keys = append(t.keys, make([]byte, 0, max(keyBlock, len(key))))
		last++
	}
	offset = uint32(len(t.keys[last]))
	t.keys[last] = append(t.keys[last], key...)
	return uint32(last), offset
}

// grow doubles the slots. Only 32 bits of each hash are kept, so keys are hashed again.
func (t *groupTable) grow() {
	t.slots = make([]uint64, 2*len(t.slots))
	mask := uint64(len(t.slots) - 1)
	for number := range t.count {
		hash := maphash.Bytes(t.seed, t.key(t.group(number)))
		at := hash & mask
		for t.slots[at] != 0 {
			at = (at + 1) & mask
		}
		t.slots[at] = hash&^0xffffffff | uint64(number+1)
	}
}

// A key of several columns is each field but the last behind its length in four
// bytes, then the last field: two different rows never make the same key.
const lengthBytes = 4

func appendKeyField(key, field []byte, last bool) []byte {
	if !last {
		key = binary.LittleEndian.AppendUint32(key, uint32(len(field)))
	}
	return append(key, field...)
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
