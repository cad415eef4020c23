package main

import "encoding/binary"

const (
	maskBit       = 0x80
	maskBytes     = 4
	longestHeader = 14
	opcodeBits    = 0x0f
)

// headEnd looks for the empty line behind the head of a request, which may come in any parts.
type headEnd struct {
	hasBegun    bool // line breaks before a request do not count
	atLineStart bool
}

// find tells how many of these bytes there are up to the end of the head.
func (h *headEnd) find(data []byte) int {
	for i, octet := range data {
		switch {
		case octet == '\n' && h.atLineStart && h.hasBegun:
			*h = headEnd{}
			return i + 1
		case octet == '\n':
			h.atLineStart = true
		case octet != '\r':
			h.hasBegun, h.atLineStart = true, false
		}
	}
	return len(data)
}

// follower goes through the frames of a client, without a look at what is in them. It
// finds what the package does not tell: a close frame of one byte.
type follower struct {
	header      [longestHeader]byte
	size        int    // of the header, as far as it came
	left        uint64 // of the payload
	hasClosed   bool   // what comes behind a close frame is nothing
	hasHalfCode bool
}

// follow takes the next bytes, in any parts.
func (f *follower) follow(data []byte) {
	for len(data) > 0 && !f.hasClosed {
		if f.left > 0 {
			passed := min(f.left, uint64(len(data)))
			f.left -= passed
			data = data[passed:]
			continue
		}
		f.header[f.size] = data[0]
		f.size++
		data = data[1:]
		if f.isWhole() {
			f.begin()
		}
	}
}

// isWhole tells whether the header ends here.
func (f *follower) isWhole() bool {
	if f.size < 2 {
		return false
	}
	whole := 2
	switch f.header[1] &^ maskBit {
	case 126:
		whole += 2
	case 127:
		whole += 8
	}
	if f.header[1]&maskBit != 0 {
		whole += maskBytes
	}
	return f.size == whole
}

// begin begins the frame whose header came.
func (f *follower) begin() {
	f.size = 0
	switch short := f.header[1] &^ maskBit; short {
	case 126:
		f.left = uint64(binary.BigEndian.Uint16(f.header[2:]))
	case 127:
		f.left = binary.BigEndian.Uint64(f.header[2:])
	default:
		f.left = uint64(short)
	}
	if f.header[0]&opcodeBits == opClose {
		f.hasClosed = true
		f.hasHalfCode = f.left == 1
	}
}
