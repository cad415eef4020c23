package main

import (
	"encoding/binary"
	"math"
)

// Serial types of the record format.
const (
	serialNull     = 0
	serialReal     = 7
	serialZero     = 8
	serialOne      = 9
	serialReserved = 10 // 10 and 11
	serialBlob     = 12 // even: blob, odd: text
)

// serialBytes is the content size of the serial types that need one header byte.
var serialBytes = func() (sizes [128]uint8) {
	copy(sizes[:], []uint8{0, 1, 2, 3, 4, 6, 8, 8})
	for t := serialBlob; t < len(sizes); t++ {
		sizes[t] = uint8((t - serialBlob) / 2)
	}
	return sizes
}()

// varint reads a variable-length integer; length 0 means that the bytes end before it does.
func varint(b []byte) (v uint64, length int) {
	for i := 0; i < len(b) && i < 8; i++ {
		v = v<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	if len(b) < 9 {
		return 0, 0
	}
	return v<<8 | uint64(b[8]), 9
}

// record is a row or an index entry, decoded lazily: the header is walked up to the highest
// field that somebody asked for. The first error sticks in err.
type record struct {
	pager     *pager
	local     []byte // the payload bytes on the b-tree page
	size      int    // bytes of the whole payload
	spill     uint32 // first overflow page, when size > len(local)
	rowid     int64
	page      uint32 // where the record is, for messages and to find it again:
	start     int    // the page, and the byte at which its payload size begins
	headerEnd int
	next      int // header position of the first field not yet walked
	body      int // content position of that field
	fields    int // fields walked so far
	serial    []uint64
	offset    []int
	assembled []byte // a prefix of the payload, once local was not enough
	spillNext uint32 // overflow page that continues assembled
	scratch   []byte // memory of assembled, kept between records
	spillLeft int    // overflow pages that may still be read: chains that share pages end there
	err       error
}

// allowSpill sets how many overflow pages a scan may read: each belongs to one row, so that a
// walk over a table reads at most all pages of the file, and a search in an index reads those of
// a few hundred entries on its way.
func (r *record) allowSpill(searches int) {
	const entriesPerSearch = 400 // 20 levels, log2 of the cells of a page at each
	r.spillLeft = int(r.pager.pageCount) * (1 + searches*entriesPerSearch)
}

// reset binds the record to a cell's payload. The cell's owner has checked that local lies in
// the page.
func (r *record) reset(local []byte, size int, spill uint32) {
	r.local, r.size, r.spill = local, size, spill
	r.fields = 0
	r.assembled = nil
	if len(local) > 0 && local[0] < 0x80 { // one-byte header size: nearly always
		r.headerEnd, r.next = int(local[0]), 1
	} else {
		header, length := varint(local)
		if length == 0 || header > uint64(size) {
			r.headerEnd, r.next = size+1, 0
		} else {
			r.headerEnd, r.next = int(header), length
		}
	}
	r.body = r.headerEnd
	if r.headerEnd > size || r.headerEnd < r.next {
		r.fail("record header of %d bytes in a payload of %d", r.headerEnd, size)
		r.headerEnd, r.next = 0, 0
	}
}

// place is page and start in one number, for loadAgain.
func (r *record) place() uint64 { return uint64(r.page)<<16 | uint64(r.start) }

// fail records the first error; it returns false for the convenience of its callers.
func (r *record) fail(format string, arguments ...any) bool {
	if r.err == nil {
		arguments = append([]any{r.cell()}, arguments...)
		r.err = r.pager.corrupt(r.page, "cell %d: "+format, arguments...)
	}
	return false
}

// cell finds the number of the record's cell, which only messages need.
func (r *record) cell() int {
	data := r.pager.page(r.page)
	if data == nil {
		return -1
	}
	header := 0
	if r.page == 1 {
		header = headerBytes
	}
	count := int(binary.BigEndian.Uint16(data[header+3:]))
	pointers := data[header+8:]
	child := 0
	if kind := data[header]; kind == pageTableInterior || kind == pageIndexInterior {
		pointers = pointers[childBytes:]
		child = childBytes
	}
	for i := range min(count, len(pointers)/2) {
		if int(binary.BigEndian.Uint16(pointers[2*i:]))+child == r.start {
			return i
		}
	}
	return -1
}

// walk extends the walked part of the header up to the field; it says whether the field exists.
func (r *record) walk(field int) bool {
	header := r.local
	if r.headerEnd > len(header) {
		if header = r.prefix(r.headerEnd); header == nil {
			return false
		}
	}
	header = header[:r.headerEnd]
	for len(r.serial) <= field {
		r.serial = append(r.serial, 0)
		r.offset = append(r.offset, 0)
	}
	serial := r.serial
	offset := r.offset[:len(serial)]
	at, next, body := r.fields, r.next, r.body
	for at <= field && next < len(header) {
		t := uint64(header[next])
		size := 0
		if t < 0x80 {
			next++
			size = int(serialBytes[t])
		} else {
			var length int
			t, length = varint(header[next:])
			if length == 0 {
				r.fail("record header ends inside a serial type")
				return false
			}
			next += length
			if t >= serialBlob {
				if (t-serialBlob)/2 > uint64(r.size) {
					r.fail("field %d says %d bytes, the payload has %d", at, (t-serialBlob)/2, r.size)
					return false
				}
				size = int((t - serialBlob) / 2)
			} else {
				size = int(serialBytes[t])
			}
		}
		serial[at], offset[at] = t, body
		body += size
		at++
	}
	r.fields, r.next, r.body = at, next, body
	if body > r.size {
		r.fail("fields reach to byte %d of a payload of %d", body, r.size)
		return false
	}
	return at > field
}

// field gives the serial type and the content of a field. Absent fields (the record is shorter
// than the schema) and damaged ones give ok = false.
func (r *record) field(field int) (serial uint64, content []byte, ok bool) {
	if field >= r.fields && !r.walk(field) {
		return 0, nil, false
	}
	serial = r.serial[field]
	begin := r.offset[field]
	size := 0
	if serial < uint64(len(serialBytes)) {
		size = int(serialBytes[serial])
	} else {
		size = int((serial - serialBlob) / 2)
	}
	end := begin + size
	if end <= len(r.local) {
		return serial, r.local[begin:end], true
	}
	payload := r.prefix(end)
	if payload == nil {
		return 0, nil, false
	}
	return serial, payload[begin:end], true
}

// serialOf gives the serial type alone, so that typeof, IS NULL and the length of a blob need
// no overflow page.
func (r *record) serialOf(field int) (serial uint64, ok bool) {
	if field >= r.fields && !r.walk(field) {
		return 0, false
	}
	return r.serial[field], true
}

// prefix assembles at least the first count bytes of a payload that spills over, following the
// chain only as far as needed. nil means that the chain is broken.
func (r *record) prefix(count int) []byte {
	if r.assembled == nil {
		r.scratch = append(r.scratch[:0], r.local...)
		r.assembled = r.scratch
		r.spillNext = r.spill
	}
	for len(r.assembled) < count {
		page := r.pager.page(r.spillNext)
		if page == nil {
			r.fail("overflow chain leads to page %d of %d", r.spillNext, r.pager.pageCount)
			return nil
		}
		if r.spillLeft--; r.spillLeft < 0 {
			r.fail("overflow chains have more pages than the file")
			return nil
		}
		room := len(page) - 4
		rest := r.size - len(r.assembled)
		next := binary.BigEndian.Uint32(page)
		if rest <= room && next != 0 {
			r.fail("overflow chain goes on after the last byte (to page %d)", next)
			return nil
		}
		r.assembled = append(r.assembled, page[4:4+min(room, rest)]...)
		r.spillNext = next
	}
	if cap(r.assembled) > cap(r.scratch) {
		r.scratch = r.assembled
	}
	return r.assembled
}

// value decodes a field; ok = false as for field.
func (r *record) value(field int) (v value, ok bool) {
	serial, content, ok := r.field(field)
	if !ok {
		return null, false
	}
	switch serial {
	case serialNull:
		return null, true
	case serialReal:
		return realValue(math.Float64frombits(binary.BigEndian.Uint64(content))), true
	case serialReserved, serialReserved + 1:
		r.fail("field %d has the reserved serial type %d", field, serial)
		return null, false
	}
	if serial < serialBlob {
		return intValue(decodeInt(serial, content)), true
	}
	if serial&1 == 1 {
		return textValue(borrow(content)), true
	}
	return blobValue(borrow(content)), true
}

// decodeInt decodes serial types 1 to 6, 8 and 9.
func decodeInt(serial uint64, b []byte) int64 {
	switch serial {
	case 1:
		return int64(int8(b[0]))
	case 2:
		return int64(int16(binary.BigEndian.Uint16(b)))
	case 3:
		return int64(int8(b[0]))<<16 | int64(b[1])<<8 | int64(b[2])
	case 4:
		return int64(int32(binary.BigEndian.Uint32(b)))
	case 5:
		return int64(int16(binary.BigEndian.Uint16(b)))<<32 | int64(binary.BigEndian.Uint32(b[2:]))
	case 6:
		return int64(binary.BigEndian.Uint64(b))
	case serialOne:
		return 1
	}
	return 0
}
