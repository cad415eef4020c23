package main

import "unsafe"

// kind is the type of a value.
type kind uint8

const (
	kindString kind = iota
	kindList
	kindHash
	kindSet
	kindZset
	kindAny // what a lookup asks for when the kind does not matter
)

var (
	kindNames    = [...]string{"string", "list", "hash", "set", "zset"}
	kindCapitals = [...]string{"STRING", "LIST", "HASH", "SET", "ZSET"}
)

// An entry is one block of the arena, a key and its value:
//
//	header 8 | lengths 8, if long | expiry 8, if it may expire | fixed part | key | value
//
// The header has the kind in 4 bits, flags in 4, the access clock in 24 and, in
// a short entry, the length of the key in 8 and of the value in 24. So a key
// costs 8 bytes more than its text, and the slot of the table. The fixed part is
// the head of a list, hash, set or sorted set. Fields of hashes and members of
// sets are entries of kindString.
const (
	kindBits    = 0xf
	flagExpires = 1 << 4
	flagLong    = 1 << 5
	flagRaw     = 1 << 6 // a string that was changed in place: OBJECT ENCODING tells
	clockShift  = 8
	clockMask   = 1<<24 - 1
	keyShift    = 32
	keyLimit    = 1 << 8
	valueShift  = 40
	valueLimit  = 1 << 24
	longShift   = 32 // of the value's length in the word of lengths
)

// fixedBytes has a place for every number that four bits can be: no check of bounds is needed.
var fixedBytes = [kindBits + 1]int{
	kindList: int(unsafe.Sizeof(list{})),
	kindHash: int(unsafe.Sizeof(table{})),
	kindSet:  int(unsafe.Sizeof(table{})),
	kindZset: int(unsafe.Sizeof(zset{})),
}

// isLong tells if the lengths need a word of their own.
func isLong(keyBytes, valueBytes int) bool { return keyBytes >= keyLimit || valueBytes >= valueLimit }

// entryBytes is the length of an entry.
func entryBytes(k kind, mayExpire bool, keyBytes, valueBytes int) int {
	total := unitBytes + fixedBytes[k&kindBits] + keyBytes + valueBytes
	if isLong(keyBytes, valueBytes) {
		total += unitBytes
	}
	if mayExpire {
		total += unitBytes
	}
	return total
}

// newEntry has its key, a fixed part of zeros and a value still to be written.
func (m *arena) newEntry(k kind, mayExpire bool, key []byte, valueBytes int) ref {
	r := m.alloc(entryBytes(k, mayExpire, len(key), valueBytes))
	header, next := uint64(k), 1
	if isLong(len(key), valueBytes) {
		header |= flagLong
		*m.word(r, next) = uint64(len(key)) | uint64(valueBytes)<<longShift
		next++
	} else {
		header |= uint64(len(key))<<keyShift | uint64(valueBytes)<<valueShift
	}
	if mayExpire {
		header |= flagExpires
		*m.word(r, next) = 0
		next++
	}
	*m.word(r, 0) = header
	fixed := fixedBytes[k&kindBits]
	clear(m.slice(r, next*unitBytes, fixed))
	copy(m.slice(r, next*unitBytes+fixed, len(key)), key)
	return r
}

// layout is where the key starts, and the lengths.
func (m *arena) layout(r ref) (keyAt, keyBytes, valueBytes int) {
	header := *m.word(r, 0)
	keyAt = unitBytes*int(1+header>>4&1+header>>5&1) + fixedBytes[header&kindBits]
	if header&flagLong == 0 {
		return keyAt, int(header >> keyShift & (keyLimit - 1)), int(header >> valueShift)
	}
	lengths := *m.word(r, 1)
	return keyAt, int(lengths & (1<<longShift - 1)), int(lengths >> longShift)
}

func (m *arena) key(r ref) []byte {
	at, length, _ := m.layout(r)
	return m.slice(r, at, length)
}

func (m *arena) value(r ref) []byte {
	at, keyBytes, length := m.layout(r)
	return m.slice(r, at+keyBytes, length)
}

func (m *arena) kind(r ref) kind { return kind(*m.word(r, 0) & kindBits) }

// fixed is the head of a collection.
func (m *arena) fixed(r ref) unsafe.Pointer {
	header := *m.word(r, 0)
	return unsafe.Pointer(m.word(r, int(1+header>>4&1+header>>5&1)))
}

func (m *arena) list(r ref) *list   { return (*list)(m.fixed(r)) }
func (m *arena) table(r ref) *table { return (*table)(m.fixed(r)) }
func (m *arena) zset(r ref) *zset   { return (*zset)(m.fixed(r)) }

// clock is when the entry was last used, in ticks of the store.
func (m *arena) clock(r ref) uint32 { return uint32(*m.word(r, 0)>>clockShift) & clockMask }

// touch sets the clock; most of the time it is right already, and the cache line stays clean.
func (m *arena) touch(r ref, clock uint32) {
	header := m.word(r, 0)
	if changed := *header&^(clockMask<<clockShift) | uint64(clock)<<clockShift; changed != *header {
		*header = changed
	}
}

// expireWord is the time of expiry in Unix milliseconds, 0 for never, or nil without a place for one.
func (m *arena) expireWord(r ref) *uint64 {
	header := *m.word(r, 0)
	if header&flagExpires == 0 {
		return nil
	}
	return m.word(r, int(1+header>>5&1))
}

// expireAt is 0 if the entry stays.
func (m *arena) expireAt(r ref) int64 {
	if word := m.expireWord(r); word != nil {
		return int64(*word)
	}
	return 0
}

// setValueBytes changes the length of a value inside its block; the entry stays short or long.
func (m *arena) setValueBytes(r ref, length int) {
	if header := m.word(r, 0); *header&flagLong == 0 {
		*header = *header&(1<<valueShift-1) | uint64(length)<<valueShift
		return
	}
	lengths := m.word(r, 1)
	*lengths = *lengths&(1<<longShift-1) | uint64(length)<<longShift
}

// fits tells if the value can get this length where it is, without wasting a block that is much too large.
func (m *arena) fits(r ref, valueBytes int) bool {
	at, keyBytes, _ := m.layout(r)
	if *m.word(r, 0)&flagLong != 0 != isLong(keyBytes, valueBytes) {
		return false
	}
	return m.size(r) == blockBytes(at+keyBytes+valueBytes)
}

// slackOf is the room left in a value that grows again and again.
func slackOf(valueBytes int) int { return min(valueBytes/4, 1<<20) }

// resize gives the value another length; the part that both have is kept. The
// entry may move; the caller then frees the old block.
func (m *arena) resize(r ref, valueBytes int) ref {
	at, keyBytes, old := m.layout(r)
	room := m.size(r) - at - keyBytes
	if valueBytes <= room && *m.word(r, 0)&flagLong != 0 == isLong(keyBytes, valueBytes) {
		m.setValueBytes(r, valueBytes)
		return r
	}
	reserve := valueBytes
	if valueBytes > old && !isLong(keyBytes, valueBytes) {
		reserve = min(valueBytes+slackOf(valueBytes), valueLimit-1)
	}
	moved := m.newEntry(m.kind(r), m.expireWord(r) != nil, m.key(r), reserve)
	m.copyHead(moved, r)
	copy(m.value(moved), m.value(r)[:min(old, valueBytes)])
	m.setValueBytes(moved, valueBytes)
	return moved
}

// copyHead copies what newEntry does not know: clock, flags of the value, expiry, fixed part.
func (m *arena) copyHead(to, from ref) {
	const kept = clockMask<<clockShift | flagRaw
	*m.word(to, 0) = *m.word(to, 0)&^kept | *m.word(from, 0)&kept
	if word := m.expireWord(to); word != nil {
		*word = uint64(m.expireAt(from))
	}
	size := fixedBytes[m.kind(from)&kindBits]
	copy(unsafe.Slice((*byte)(m.fixed(to)), size), unsafe.Slice((*byte)(m.fixed(from)), size))
}
