package main

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"
	"strings"
)

// A key is the encoding of values whose bytes compare as SQLite compares the values, and are
// equal when the values are. GROUP BY, DISTINCT and ORDER BY all work on keys.

const (
	tagNullFirst = 0x01
	tagNumber    = 0x02
	tagText      = 0x03
	tagBlob      = 0x04
	tagNullLast  = 0x05
)

// appendKey encodes one value in ascending order, NULL first.
func appendKey(key []byte, v value, c collation) []byte {
	switch v.kind {
	case kindNull:
		return append(key, tagNullFirst)
	case kindInt:
		i := v.int()
		f := float64(i)
		// What rounding to a real lost orders integers beyond 2^53. The difference is exact in
		// wrapping arithmetic, also for 2^63.
		var whole uint64
		if f >= 9223372036854775808.0 {
			whole = 1 << 63
		} else {
			whole = uint64(int64(f))
		}
		return appendNumber(key, f, int16(uint64(i)-whole))
	case kindReal:
		return appendNumber(key, v.real(), 0)
	case kindText:
		return appendText(append(key, tagText), v.text, c)
	}
	return appendText(append(key, tagBlob), v.text, collateBinary)
}

func appendNumber(key []byte, f float64, rest int16) []byte {
	bits := math.Float64bits(f + 0) // + 0 makes -0.0 and 0.0 one key
	if bits>>63 == 1 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	key = append(key, tagNumber)
	key = binary.BigEndian.AppendUint64(key, bits)
	return binary.BigEndian.AppendUint16(key, uint16(rest)^0x8000)
}

// appendText ends a text with 0 0 and writes a NUL inside it as 0 1, so that a prefix sorts
// before the longer text whatever follows.
func appendText(key []byte, text string, c collation) []byte {
	if c == collateRtrim {
		text = trimSpaces(text)
	}
	begin := len(key)
	if strings.IndexByte(text, 0) < 0 {
		key = append(key, text...)
	} else {
		for i := range len(text) {
			if key = append(key, text[i]); text[i] == 0 {
				key = append(key, 1)
			}
		}
	}
	if c == collateNocase {
		for i, b := range key[begin:] {
			key[begin+i] = fold[b]
		}
	}
	return append(key, 0, 0)
}

// sortKey says how one ORDER BY term is encoded.
type sortKey struct {
	eval       evalFunc
	collation  collation
	descending bool
	nullsLast  bool
}

func (s *sortKey) append(key []byte, f *frame) []byte {
	v := s.eval(f)
	if v.kind == kindNull {
		if s.nullsLast {
			return append(key, tagNullLast)
		}
		return append(key, 0)
	}
	begin := len(key)
	key = appendKey(key, v, s.collation)
	if s.descending {
		// The tag stays between those of NULL; complemented bytes sort the other way.
		key[begin] = tagNumber + tagBlob - key[begin]
		for i := begin + 1; i < len(key); i++ {
			key[i] = ^key[i]
		}
	}
	return key
}

// keyTable numbers distinct keys in the order in which they come: an open-addressing hash table
// over one arena of key bytes.
type keyTable struct {
	slots []keySlot // a power of two, at most half full
	ends  []int     // end of each key in arena
	arena []byte
}

type keySlot struct {
	hash  uint32
	entry uint32 // number of the key + 1; 0 = free
}

var hashSeed = maphash.MakeSeed()

// find gives the number of a key and whether it is new.
func (t *keyTable) find(key []byte) (number int, isNew bool) {
	if 2*len(t.ends) >= len(t.slots) {
		t.grow()
	}
	full := maphash.Bytes(hashSeed, key)
	hash := uint32(full >> 32)
	mask := len(t.slots) - 1
	for at := int(full) & mask; ; at = (at + 1) & mask {
		slot := &t.slots[at]
		if slot.entry == 0 {
			t.arena = append(t.arena, key...)
			t.ends = append(t.ends, len(t.arena))
			*slot = keySlot{hash, uint32(len(t.ends))}
			return len(t.ends) - 1, true
		}
		if number = int(slot.entry - 1); slot.hash == hash && bytes.Equal(t.key(number), key) {
			return number, false
		}
	}
}

func (t *keyTable) key(number int) []byte {
	begin := 0
	if number > 0 {
		begin = t.ends[number-1]
	}
	return t.arena[begin:t.ends[number]]
}

func (t *keyTable) grow() {
	t.slots = make([]keySlot, max(64, 2*len(t.slots)))
	mask := len(t.slots) - 1
	for number := range t.ends {
		full := maphash.Bytes(hashSeed, t.key(number))
		at := int(full) & mask
		for t.slots[at].entry != 0 {
			at = (at + 1) & mask
		}
		t.slots[at] = keySlot{uint32(full >> 32), uint32(number + 1)}
	}
}

// inOrder gives the key numbers sorted by key.
func (t *keyTable) inOrder() []int {
	order := make([]int, len(t.ends))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(t.key(a), t.key(b)) })
	return order
}

// sorter orders references to rows by key; equal keys keep the order in which they came. With a
// limit it keeps only the best ones, in a heap.
type sorter struct {
	limit   int // rows to keep; negative: all
	entries []sortEntry
	arena   []byte // keys, when all rows are kept
	count   uint64
}

type sortEntry struct {
	prefix uint64 // the first bytes of the key, which decide nearly all comparisons
	key    []byte
	order  uint64 // position in the scan
	ref    uint64
}

func keyPrefix(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var padded [8]byte
	copy(padded[:], key)
	return binary.BigEndian.Uint64(padded[:])
}

func (e *sortEntry) compare(o *sortEntry) int {
	if e.prefix != o.prefix {
		if e.prefix < o.prefix {
			return -1
		}
		return 1
	}
	if d := bytes.Compare(e.key, o.key); d != 0 {
		return d
	}
	if e.order < o.order {
		return -1
	}
	return 1
}

// add takes a row; the key's memory stays the caller's.
func (s *sorter) add(key []byte, ref uint64) {
	s.count++
	e := sortEntry{keyPrefix(key), nil, s.count, ref}
	switch {
	case s.limit < 0:
		begin := len(s.arena)
		s.arena = append(s.arena, key...)
		e.key = s.arena[begin:len(s.arena):len(s.arena)]
		s.entries = append(s.entries, e)
	case len(s.entries) < s.limit:
		e.key = bytes.Clone(key)
		s.entries = append(s.entries, e)
		s.up(len(s.entries) - 1)
	case s.limit > 0:
		worst := &s.entries[0]
		if e.prefix > worst.prefix || (e.prefix == worst.prefix && bytes.Compare(key, worst.key) >= 0) {
			return
		}
		e.key = append(worst.key[:0], key...)
		*worst = e
		s.down(0)
	}
}

// up and down keep the heap: the worst row on top.
func (s *sorter) up(at int) {
	for at > 0 {
		parent := (at - 1) / 2
		if s.entries[at].compare(&s.entries[parent]) < 0 {
			return
		}
		s.entries[at], s.entries[parent] = s.entries[parent], s.entries[at]
		at = parent
	}
}

func (s *sorter) down(at int) {
	for {
		child := 2*at + 1
		if child >= len(s.entries) {
			return
		}
		if child+1 < len(s.entries) && s.entries[child].compare(&s.entries[child+1]) < 0 {
			child++
		}
		if s.entries[child].compare(&s.entries[at]) < 0 {
			return
		}
		s.entries[at], s.entries[child] = s.entries[child], s.entries[at]
		at = child
	}
}

// finish sorts what was kept.
func (s *sorter) finish() []sortEntry {
	slices.SortFunc(s.entries, func(a, b sortEntry) int { return a.compare(&b) })
	return s.entries
}
