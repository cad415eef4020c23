package main

import "bytes"

// record is one row of the input. The last field end is the end of its text, in
// front of CR LF.
type record struct {
	buffer    []byte
	start     int
	fieldEnds []uint32
}

func (r *record) end() int { return int(r.fieldEnds[len(r.fieldEnds)-1]) }

func (r *record) text() []byte { return r.buffer[r.start:r.end()] }

// isBlank finds the empty line, which is no record.
func (r *record) isBlank() bool { return len(r.fieldEnds) == 1 && r.end() == r.start }

// rawField is a field as it stands in the file, quotes and all.
func (r *record) rawField(column int) (start, end int) {
	if column == 0 {
		return r.start, int(r.fieldEnds[0])
	}
	return int(r.fieldEnds[column-1]) + 1, int(r.fieldEnds[column])
}

// field is the value: quotes stripped, doubled quotes made single in scratch
// (which is only valid until the next call with it).
func (r *record) field(column int, scratch *[]byte) []byte {
	start, end := r.rawField(column)
	raw := r.buffer[start:end]
	if len(raw) == 0 || raw[0] != '"' {
		return raw
	}
	raw = raw[1 : len(raw)-1]
	if bytes.IndexByte(raw, '"') < 0 {
		return raw
	}
	out := (*scratch)[:0]
	for i := 0; i < len(raw); i++ {
		out = append(out, raw[i])
		if raw[i] == '"' {
			i++ // the second of a pair
		}
	}
	*scratch = out
	return out
}

// appendField appends the value of a field. The buffer must be padded.
func (r *record) appendField(out []byte, column int, scratch *[]byte) []byte {
	start, end := r.rawField(column)
	length := end - start
	if length > 16 || len(r.buffer)-start < 16 || r.buffer[start] == '"' {
		return append(out, r.field(column, scratch)...)
	}
	// A copy of fixed length, cut afterwards, is a pair of instructions.
	sixteen := (*[16]byte)(r.buffer[start:])
	return append(out, sixteen[:]...)[:len(out)+length]
}

// number parses a field; quotes around a number do not change it.
func (r *record) number(column int) (decimal, numberStatus) {
	start, end := r.rawField(column)
	if start < end && r.buffer[start] == '"' {
		start, end = start+1, end-1
	}
	return parseDecimalAt(r.buffer, start, end)
}

// outcome is how the exact parser left a record.
type outcome uint8

const (
	wellFormed outcome = iota
	textAfterQuote
	unterminatedQuote
	needsMoreText
)

// exactRecord reads the one record at the front of text by the letter of RFC 4180.
// It is the definition; the scan is the fast way to the same answer. It appends
// the field ends, and says where the next record starts. With atEnd the text is
// all there is.
func exactRecord(text []byte, atEnd bool, delimiter byte, fieldEnds []uint32) (ends []uint32, next int, how outcome) {
	at := 0
	for {
		if at < len(text) && text[at] == '"' {
			at = closingQuote(text, at+1)
			if at < 0 {
				return fieldEnds, 0, moreOr(atEnd, unterminatedQuote)
			}
			if !atEnd && (at == len(text) || at+1 == len(text) && text[at] == '\r') {
				return fieldEnds, 0, needsMoreText
			}
			if at < len(text) && !endsField(text[at:], delimiter) {
				return afterBrokenQuote(text, at, atEnd, fieldEnds)
			}
			if at < len(text) && text[at] == '\r' {
				return append(fieldEnds, uint32(at)), at + 2, wellFormed
			}
		} else {
			for at < len(text) && text[at] != delimiter && text[at] != '\n' {
				at++
			}
		}
		switch {
		case at == len(text) && !atEnd:
			return fieldEnds, 0, needsMoreText
		case at == len(text):
			return append(fieldEnds, uint32(at)), at, wellFormed
		case text[at] == '\n':
			return append(fieldEnds, uint32(lineTextEnd(text, at))), at + 1, wellFormed
		}
		fieldEnds = append(fieldEnds, uint32(at))
		at++
	}
}

// closingQuote finds the byte behind the quote that ends a quoted field, or -1.
// A quote that ends the text counts as the closing one: the caller decides.
func closingQuote(text []byte, at int) int {
	for {
		length := bytes.IndexByte(text[at:], '"')
		if length < 0 {
			return -1
		}
		at += length + 1
		if at == len(text) || text[at] != '"' {
			return at
		}
		at++
	}
}

// endsField says whether a closing quote may stand in front of this text.
func endsField(text []byte, delimiter byte) bool {
	return text[0] == delimiter || text[0] == '\n' ||
		text[0] == '\r' && len(text) > 1 && text[1] == '\n'
}

// afterBrokenQuote resyncs at the next line end; quotes on the way mean nothing.
func afterBrokenQuote(text []byte, at int, atEnd bool, fieldEnds []uint32) ([]uint32, int, outcome) {
	length := bytes.IndexByte(text[at:], '\n')
	if length >= 0 {
		end := at + length
		return append(fieldEnds, uint32(lineTextEnd(text, end))), end + 1, textAfterQuote
	}
	if !atEnd {
		return fieldEnds, 0, needsMoreText
	}
	return append(fieldEnds, uint32(len(text))), len(text), textAfterQuote
}

// lineTextEnd steps back over the CR of a CR LF.
func lineTextEnd(text []byte, lineFeed int) int {
	if lineFeed > 0 && text[lineFeed-1] == '\r' {
		return lineFeed - 1
	}
	return lineFeed
}

func moreOr(atEnd bool, how outcome) outcome {
	if atEnd {
		return how
	}
	return needsMoreText
}
