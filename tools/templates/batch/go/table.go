package main

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

const (
	firstSlots     = 1 << 12
	maxDifferent   = 1 << 21
	maxStoredBytes = 64 << 20
	// prefixBytes must be readable behind the start of a word that is looked up.
	prefixBytes = 8
)

// slot is a word and how often it was seen; a count of zero is an empty slot.
// The first eight bytes of the word stand here: most words are no longer, so they
// are compared without a look at where they are stored.
type slot struct {
	prefix uint64
	count  uint64
	hash   uint32 // enough for the largest table, so growing hashes nothing again
	offset uint32 // in stored
	length uint32
}

// table counts words: open addressing, linear probing, at most half full.
type table struct {
	slots  []slot
	stored []byte // all words, one behind the other
	used   int
	// Per process, so that nobody can prepare a text whose words all collide.
	seeds [2]uint64
}

func newTable() table {
	return table{slots: make([]slot, firstSlots), seeds: [2]uint64{rand.Uint64(), rand.Uint64()}}
}

// reset forgets all words and keeps the memory.
func (t *table) reset() {
	clear(t.slots)
	t.stored = t.stored[:0]
	t.used = 0
}

// add counts the word of so many bytes at the start of padded, in which eight
// bytes can be read even if the word is shorter.
func (t *table) add(padded []byte, length int) error {
	prefix := binary.LittleEndian.Uint64(padded)
	if length < prefixBytes {
		prefix &= 1<<(8*length) - 1
	}
	hash := t.hash(padded, length, prefix)
	mask := len(t.slots) - 1
	for index := int(hash) & mask; ; index = (index + 1) & mask {
		found := &t.slots[index]
		switch {
		case found.count == 0:
			return t.insert(index, slot{prefix, 1, hash, uint32(len(t.stored)), uint32(length)}, padded[:length])
		case found.prefix == prefix && int(found.length) == length &&
			(length <= prefixBytes || bytes.Equal(t.word(found), padded[:length])):
			found.count++
			return nil
		}
	}
}

// hash folds a word eight bytes at a time; the last eight may overlap those before.
func (t *table) hash(padded []byte, length int, prefix uint64) uint32 {
	state := fold(prefix^t.seeds[0], t.seeds[1]^uint64(length))
	if length > prefixBytes {
		for at := prefixBytes; at < length-prefixBytes; at += prefixBytes {
			state = fold(binary.LittleEndian.Uint64(padded[at:])^t.seeds[0], state^t.seeds[1])
		}
		state = fold(binary.LittleEndian.Uint64(padded[length-prefixBytes:])^t.seeds[0], state^t.seeds[1])
	}
	return uint32(state)
}

func fold(left, right uint64) uint64 {
	high, low := bits.Mul64(left, right)
	return high ^ low
}

// insert fills an empty slot, and doubles the table when it is half full.
func (t *table) insert(index int, filled slot, word []byte) error {
	if t.used == maxDifferent {
		return badRequest("more than %d different words", maxDifferent)
	}
	if len(t.stored)+len(word) > maxStoredBytes {
		return badRequest("more than %d bytes of different words", maxStoredBytes)
	}
	t.slots[index] = filled
	t.stored = append(t.stored, word...)
	t.used++
	if t.used*2 > len(t.slots) {
		t.grow()
	}
	return nil
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]slot, 2*len(old))
	mask := len(t.slots) - 1
	for _, moved := range old {
		if moved.count == 0 {
			continue
		}
		index := int(moved.hash) & mask
		for t.slots[index].count != 0 {
			index = (index + 1) & mask
		}
		t.slots[index] = moved
	}
}

// word gives the bytes of a slot that is not empty.
func (t *table) word(of *slot) []byte {
	return t.stored[of.offset : of.offset+of.length]
}
