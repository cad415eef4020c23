package main

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strings"
)

// The kernels are the innermost loops of a filter: a column against a constant, straight from
// the bytes. There are two forms of each. The page form looks at all cells of a leaf at once and
// throws out those that fail; whatever it does not know, damage included, it keeps and marks as
// unsure. Those go through the row form, which hands what it does not know to the general test.

// kernel is a WHERE term with a page form.
type kernel struct {
	field  int
	reject func(data []byte, spots []spot) []spot // keeps, in place, what may pass
}

// spot is where a field of a cell lies on its page.
type spot struct {
	cell   uint16
	at     uint16
	serial uint16
	unsure bool // a kernel could not tell: the row form must
}

const (
	unknownSerial = math.MaxUint16
	// cellHead is the most that payload size (two bytes here), rowid and header size take, so
	// that one check of a cell's start covers them; eight more let the rowid be one load.
	cellHead = 2 + 9 + 1 + 8
)

// shortSerialBytes is serialBytes for all values of a byte. Those that begin a longer varint get
// a size that no page has, which saves a branch a field.
var shortSerialBytes = func() (sizes [256]uint32) {
	for t := range sizes {
		sizes[t] = 1 << 20
		if t < len(serialBytes) {
			sizes[t] = uint32(serialBytes[t])
		}
	}
	return sizes
}()

// locate finds a field in the given cells. The shape that it knows is the usual one: payload
// below 16 kB and all on the page, header below 128 bytes, one-byte serial types before the field.
func locate(n *node, isIndex bool, limit, field int, spots []spot) {
	data := n.data
	for i := range spots {
		s := &spots[i]
		s.serial = unknownSerial
		unsure := s.unsure
		s.unsure = true
		at := int(binary.BigEndian.Uint16(n.pointer[2*int(s.cell):]))
		if at+cellHead > len(data) {
			continue
		}
		size := int(data[at])
		at++
		if size >= 0x80 {
			low := int(data[at])
			if low >= 0x80 {
				continue
			}
			size = size&0x7f<<7 | low
			at++
		}
		if !isIndex {
			at += varintBytes(binary.LittleEndian.Uint64(data[at:]))
		}
		end := at + size
		if size > limit || end > len(data) {
			continue
		}
		header := int(data[at])
		if header >= 0x80 || header > size || header < field+2 {
			continue
		}
		body := at + header
		types := data[at+1 : at+header]
		for _, t := range types[:field] {
			body += int(shortSerialBytes[t])
		}
		serial := int(types[field])
		if serial >= 0x80 {
			if field+1 == len(types) || types[field+1] >= 0x80 {
				continue
			}
			serial = serial&0x7f<<7 | int(types[field+1])
		}
		if body+contentBytes(serial) <= end {
			s.at, s.serial, s.unsure = uint16(body), uint16(serial), unsure
		}
	}
}

// varintBytes is the length of the varint that begins a little-endian word, 1 to 9.
func varintBytes(word uint64) int {
	return bits.TrailingZeros64(^word&0x8080808080808080)/8 + 1
}

func contentBytes(serial int) int {
	if serial < serialBlob {
		return int(serialBytes[serial])
	}
	return (serial - serialBlob) / 2
}

// text is the content of a located text or blob.
func (s spot) text(data []byte) string {
	begin := int(s.at)
	return borrow(data[begin : begin+(int(s.serial)-serialBlob)/2])
}

// isPlainNumber are the serial types whose values a real holds exactly, and intShift is what
// brings their integers down from the top of a big-endian word.
var (
	isPlainNumber = [16]bool{1: true, 2: true, 3: true, 4: true, 5: true, serialReal: true}
	intShift      = [16]uint8{1: 56, 2: 48, 3: 40, 4: 32, 5: 16}
)

// numberKernel rejects fields that do not compare as wanted with a number.
func numberKernel(field int, wanted outcomes, constant value) *kernel {
	limit, intLimit := constant.toReal(), constant.int()
	limitIsInt := constant.kind == kindInt
	exact := isExact(constant)
	less, equal, greater := int(wanted&1), int(wanted>>1&1), int(wanted>>2)
	reject := func(data []byte, spots []spot) []spot {
		kept := 0
		for _, s := range spots {
			// The slot is written in any case and counted if wanted: a branch on the data would be
			// mispredicted as often as the filter is undecided.
			spots[kept] = s
			switch {
			case exact && isPlainNumber[s.serial&15] && s.serial < 16 && int(s.at)+8 <= len(data):
				// Whole reals are stored as integers, so both kinds come mixed: no branch here either.
				word := binary.BigEndian.Uint64(data[s.at:])
				v := float64(int64(word) >> intShift[s.serial&15])
				if s.serial == serialReal {
					v = math.Float64frombits(word)
				}
				keep := 0
				if v < limit {
					keep = less
				}
				if v == limit {
					keep = equal
				}
				if v > limit {
					keep = greater
				}
				kept += keep
			case s.serial == serialNull:
			case s.serial == serialReal:
				spots[kept].unsure = true
				kept++
			case s.serial <= serialOne:
				v := decodeInt(uint64(s.serial), data[s.at:])
				order := 0
				if limitIsInt {
					order = compareInts(v, intLimit)
				} else {
					order = compareIntReal(v, limit)
				}
				kept += int(wanted.holds(order))
			default:
				spots[kept].unsure = true
				kept++
			}
		}
		return spots[:kept]
	}
	return &kernel{field, reject}
}

// isExact says whether comparing reals with this number as a real is exact.
func isExact(constant value) bool {
	return constant.kind == kindReal || (constant.int() > -1<<53 && constant.int() < 1<<53)
}

// textKernel rejects fields that do not compare as wanted with a text, in the BINARY collation.
func textKernel(field int, wanted outcomes, constant string) *kernel {
	reject := func(data []byte, spots []spot) []spot {
		kept := 0
		for _, s := range spots {
			spots[kept] = s
			switch {
			case s.serial == serialNull:
			case s.serial == unknownSerial || s.serial < serialBlob || s.serial&1 == 0:
				spots[kept].unsure = true
				kept++
			default:
				kept += int(textHolds(wanted, s.text(data), constant))
			}
		}
		return spots[:kept]
	}
	return &kernel{field, reject}
}

func textHolds(wanted outcomes, text, constant string) truth {
	switch wanted {
	case 0b010:
		return truthOf(text == constant)
	case 0b101:
		return truthOf(text != constant)
	}
	return wanted.holds(strings.Compare(text, constant))
}

// likeKernel rejects texts that do not match.
func likeKernel(field int, m *likeMatcher) *kernel {
	reject := func(data []byte, spots []spot) []spot {
		kept := 0
		for _, s := range spots {
			spots[kept] = s
			switch {
			case s.serial == serialNull:
			case s.serial == unknownSerial || s.serial < serialBlob || s.serial&1 == 0:
				spots[kept].unsure = true
				kept++
			case m.match(s.text(data)):
				kept++
			}
		}
		return spots[:kept]
	}
	return &kernel{field, reject}
}

// numberTest is the row form of numberKernel.
func numberTest(field int, wanted outcomes, constant value, general testFunc) testFunc {
	limit, intLimit := constant.toReal(), constant.int()
	less, equal, greater := wanted.holds(-1), wanted.holds(0), wanted.holds(1)
	limitIsInt := constant.kind == kindInt
	exact := isExact(constant)
	return func(f *frame) truth {
		serial, content, ok := f.field(field)
		if !ok {
			return general(f)
		}
		switch {
		case serial == serialReal:
			v := math.Float64frombits(binary.BigEndian.Uint64(content))
			switch {
			case !exact || v != v:
				return general(f)
			case v < limit:
				return less
			case v > limit:
				return greater
			}
			return equal
		case serial == serialNull:
			return isNull
		case serial <= serialOne && limitIsInt:
			return wanted.holds(compareInts(decodeInt(serial, content), intLimit))
		case serial <= serialOne:
			return wanted.holds(compareIntReal(decodeInt(serial, content), limit))
		}
		return general(f)
	}
}

// textTest is the row form of textKernel.
func textTest(field int, wanted outcomes, constant string, general testFunc) testFunc {
	return func(f *frame) truth {
		serial, content, ok := f.field(field)
		switch {
		case !ok:
			return general(f)
		case serial == serialNull:
			return isNull
		case serial < serialBlob || serial&1 == 0:
			return general(f)
		}
		return textHolds(wanted, borrow(content), constant)
	}
}
