package main

import (
	"encoding/binary"
	"math/bits"
)

// chunkBytes is how much text one set of masks describes: one bit a byte.
const chunkBytes = 64

// firstChunks is how many chunks a scan looks at in its first step.
const firstChunks = 2

// masks of one chunk: where a byte is the delimiter, a line feed, a quote, or not ASCII.
// The assembly knows this layout.
type masks struct {
	delimiter, lineFeed, quote, high uint64
}

// recordIndex is what a scan finds in a stretch of text: the terminators of all fields of
// the complete records at its front. No field is looked at here.
type recordIndex struct {
	// fieldEnds are offsets of delimiters and line feeds outside quotes.
	fieldEnds []uint32
	// recordEnds are positions in fieldEnds, one past each record's line feed.
	recordEnds []uint32
	hasQuote   bool
	hasHigh    bool
	// irregular is set when the scan met quoting that only the exact parser
	// understands; it stopped in front of that chunk.
	irregular bool
	masks     [64]masks
}

// quoteState is what one chunk hands to the next.
type quoteState struct {
	// inside is all ones when the chunk starts inside a quoted field.
	inside uint64
	// afterTerminator and afterClosing are 1 when the byte before the chunk was one.
	afterTerminator, afterClosing uint64
}

// scan indexes buffer[from:to], which must start at a record. It reads whole
// chunks, so the buffer must have chunkBytes of padding behind to.
func (index *recordIndex) scan(buffer []byte, from, to int, delimiter byte) {
	index.irregular, index.hasQuote, index.hasHigh = false, false, false
	// Every byte could be a terminator; a full chunk is stored before it is counted.
	if needed := to - from + chunkBytes; len(index.fieldEnds) < needed {
		index.fieldEnds = make([]uint32, needed)
	}
	index.recordEnds = index.recordEnds[:0]
	stored := 0
	quotes := quoteState{afterTerminator: 1}
	// Masks are found for many chunks at once: that costs one call. It starts with
	// few, because text full of irregular quotes is scanned a record at a time.
	ahead := uint(firstChunks)
	for base := from; base < to && !index.irregular; base += int(ahead) * chunkBytes {
		if base > from {
			ahead = uint(len(index.masks))
		}
		chunks := min(ahead, uint(to-base+chunkBytes-1)/chunkBytes)
		found := index.masks[:chunks]
		findMasks(found, buffer[base:][:chunks*chunkBytes], delimiter)
		if rest := uint(to - base); rest < chunks*chunkBytes {
			found[chunks-1].keep(rest % chunkBytes)
		}
		stored = index.storeAll(found, buffer[:to], base, stored, &quotes)
	}
}

// storeAll appends the terminators outside quotes, up to irregular quoting.
func (index *recordIndex) storeAll(found []masks, text []byte, base, stored int, quotes *quoteState) int {
	high := uint64(0)
	for i := range found {
		chunk := &found[i]
		if chunk.quote|quotes.inside|quotes.afterClosing != 0 {
			index.hasQuote = true
			outside, ok := quotes.advance(chunk, text[base:])
			if !ok {
				index.irregular = true
				break
			}
			chunk.delimiter &= outside
			chunk.lineFeed &= outside
		} else {
			quotes.afterTerminator = (chunk.delimiter | chunk.lineFeed) >> 63
		}
		high |= chunk.high
		stored = index.store(chunk, base, stored)
		base += chunkBytes
	}
	index.hasHigh = index.hasHigh || high != 0
	return stored
}

// store appends the terminators of one chunk; so many are stored already.
func (index *recordIndex) store(chunk *masks, base, stored int) int {
	terminators := chunk.delimiter | chunk.lineFeed
	for ends := chunk.lineFeed; ends != 0; ends &= ends - 1 {
		upTo := ends ^ (ends - 1) // all bits up to and with the lowest line feed
		count := stored + bits.OnesCount64(terminators&upTo)
		index.recordEnds = append(index.recordEnds, uint32(count))
	}
	count := bits.OnesCount64(terminators)
	// Always in fours, written out: the surplus is overwritten by the next chunk. This
	// saves a hard-to-predict branch for each terminator.
	for at := stored; terminators != 0; at += 4 {
		four := (*[4]uint32)(index.fieldEnds[at:])
		four[0] = uint32(base + bits.TrailingZeros64(terminators))
		terminators &= terminators - 1
		four[1] = uint32(base + bits.TrailingZeros64(terminators))
		terminators &= terminators - 1
		four[2] = uint32(base + bits.TrailingZeros64(terminators))
		terminators &= terminators - 1
		four[3] = uint32(base + bits.TrailingZeros64(terminators))
		terminators &= terminators - 1
	}
	return stored + count
}

// keep clears everything from the given bit on.
func (m *masks) keep(count uint) {
	valid := uint64(1)<<count - 1
	m.delimiter &= valid
	m.lineFeed &= valid
	m.quote &= valid
	m.high &= valid
}

// advance computes which bytes of the chunk are outside quotes. It trusts that
// quotes come in pairs, and checks what makes that true: each opening quote
// stands at the start of a field (or closes and reopens: a doubled quote), and
// each closing one is followed by a terminator, a quote, or CR LF.
func (state *quoteState) advance(chunk *masks, text []byte) (outside uint64, ok bool) {
	inside := prefixXor(chunk.quote) ^ state.inside
	opening, closing := chunk.quote&inside, chunk.quote&^inside
	terminators := (chunk.delimiter | chunk.lineFeed) &^ inside

	mayOpen := terminators<<1 | state.afterTerminator | closing<<1 | state.afterClosing
	if opening&^mayOpen != 0 {
		return 0, false
	}
	follower := (closing<<1 | state.afterClosing) &^ (terminators | chunk.quote)
	for ; follower != 0; follower &= follower - 1 {
		at := bits.TrailingZeros64(follower)
		if at >= len(text) {
			break // the text ends here: no record ends behind it
		}
		if at+1 >= len(text) || text[at] != '\r' || text[at+1] != '\n' {
			return 0, false
		}
	}
	state.inside = uint64(int64(inside) >> 63)
	state.afterTerminator, state.afterClosing = terminators>>63, closing>>63
	return ^inside, true
}

// prefixXor sets each bit to the parity of the bits up to and with it.
func prefixXor(bits uint64) uint64 {
	for shift := 1; shift < 64; shift *= 2 {
		bits ^= bits << shift
	}
	return bits
}

// findMasksByWord compares eight bytes at a time inside ordinary words. It is
// what findMasks is where there is no faster way, and what that is tested against.
func findMasksByWord(found []masks, text []byte, delimiter byte) {
	for at := range found {
		chunk := (*[chunkBytes]byte)(text[at*chunkBytes:])
		m := masks{}
		for i := 0; i < chunkBytes; i += 8 {
			word := binary.LittleEndian.Uint64(chunk[i : i+8])
			m.delimiter |= gatherBits(equalBytes(word, uint64(delimiter)*lowBits)) << i
			m.lineFeed |= gatherBits(equalBytes(word, '\n'*lowBits)) << i
			m.quote |= gatherBits(equalBytes(word, '"'*lowBits)) << i
			m.high |= gatherBits(word&highBits) << i
		}
		found[at] = m
	}
}

// equalBytes sets the high bit of each byte that is equal in both words. The
// shorter test with a borrow would mark neighbours too; here each must be exact.
func equalBytes(word, wanted uint64) uint64 {
	different := word ^ wanted
	return ^((different&^highBits + ^uint64(highBits)) | different | ^uint64(highBits))
}

// gatherBits moves the eight high bits of a word into its low byte.
func gatherBits(word uint64) uint64 { return word >> 7 * 0x0102040810204080 >> 56 }
