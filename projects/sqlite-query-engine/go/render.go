package main

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// flushBytes is how much of the answer is collected before it goes to the digest.
const flushBytes = 64 << 10

type format uint8

const (
	formatJSON format = iota
	formatCSV
)

// renderer writes the answer in its canonical form into one buffer that it reuses.
type renderer struct {
	format format
	buffer []byte
	first  bool // the next value is the first of its row
	write  func([]byte) error
	err    error
}

// begin starts an answer; only CSV names the columns.
func (r *renderer) begin(names []string) {
	r.first = true
	if r.format != formatCSV {
		return
	}
	for _, name := range names {
		r.separate()
		r.buffer = appendCSVText(r.buffer, name)
	}
	r.endRow()
}

func (r *renderer) separate() {
	if r.first {
		r.first = false
		if r.format == formatJSON {
			r.buffer = append(r.buffer, '[')
		}
		return
	}
	r.buffer = append(r.buffer, ',')
}

func (r *renderer) value(v value) {
	r.separate()
	if r.format == formatCSV {
		r.buffer = appendCSVValue(r.buffer, v)
		return
	}
	switch v.kind {
	case kindNull:
		r.buffer = append(r.buffer, "null"...)
	case kindInt:
		r.buffer = strconv.AppendInt(r.buffer, v.int(), 10)
	case kindReal:
		r.buffer = appendReal(r.buffer, v.real())
	case kindText:
		r.buffer = appendJSONText(r.buffer, v.text)
	default:
		r.buffer = append(r.buffer, `{"blob":"`...)
		r.buffer = appendHex(r.buffer, v.text)
		r.buffer = append(r.buffer, `"}`...)
	}
}

func (r *renderer) endRow() {
	if r.format == formatJSON {
		r.buffer = append(r.buffer, ']')
	}
	r.buffer = append(r.buffer, '\n')
	r.first = true
	if len(r.buffer) >= flushBytes {
		r.flush()
	}
}

// flush hands the collected bytes on; the first error stays.
func (r *renderer) flush() {
	if r.err == nil && len(r.buffer) > 0 {
		r.err = r.write(r.buffer)
	}
	r.buffer = r.buffer[:0]
}

// appendReal writes the shortest digits that read back as the same double, in Python's form.
func appendReal(dst []byte, f float64) []byte {
	switch a := math.Abs(f); {
	case math.IsInf(f, 1):
		return append(dst, "9e999"...)
	case math.IsInf(f, -1):
		return append(dst, "-9e999"...)
	case a != 0 && (a < 1e-4 || a >= 1e16):
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	case a < 1<<53 && f == math.Trunc(f) && (f != 0 || !math.Signbit(f)):
		dst = strconv.AppendInt(dst, int64(f), 10)
		return append(dst, ".0"...)
	}
	begin := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	for _, c := range dst[begin:] {
		if c == '.' {
			return dst
		}
	}
	return append(dst, ".0"...)
}

const hexDigits = "0123456789abcdef"

func appendHex(dst []byte, blob string) []byte {
	for i := range len(blob) {
		c := blob[i]
		dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
	}
	return dst
}

// plainJSON marks the bytes that stand for themselves in a JSON text.
var plainJSON = func() (plain [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		plain[c] = c != '"' && c != '\\'
	}
	return plain
}()

func appendJSONText(dst []byte, text string) []byte {
	dst = append(dst, '"')
	begin := 0
	for at := 0; at < len(text); {
		c := text[at]
		if plainJSON[c] {
			at++
			continue
		}
		if c >= utf8.RuneSelf {
			size, valid := utf8Sequence(text[at:])
			if valid {
				at += size
				continue
			}
			dst = append(dst, text[begin:at]...)
			dst = append(dst, "\uFFFD"...)
			at += size
			begin = at
			continue
		}
		dst = append(dst, text[begin:at]...)
		dst = appendJSONEscape(dst, c)
		at++
		begin = at
	}
	dst = append(dst, text[begin:]...)
	return append(dst, '"')
}

func appendJSONEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// utf8Sequence gives the size of the valid character at the beginning of b, or that of the
// maximal invalid part, which WHATWG and Python replace by one U+FFFD.
func utf8Sequence(b string) (size int, valid bool) {
	low, high := byte(0x80), byte(0xbf) // of the second byte
	length := 0
	switch c := b[0]; {
	case c >= 0xc2 && c <= 0xdf:
		length = 2
	case c >= 0xe0 && c <= 0xef:
		length = 3
		if c == 0xe0 {
			low = 0xa0
		} else if c == 0xed {
			high = 0x9f
		}
	case c >= 0xf0 && c <= 0xf4:
		length = 4
		if c == 0xf0 {
			low = 0x90
		} else if c == 0xf4 {
			high = 0x8f
		}
	default:
		return 1, false
	}
	for size = 1; size < length; size++ {
		if size == len(b) || b[size] < low || b[size] > high {
			return size, false
		}
		low, high = 0x80, 0xbf
	}
	return size, true
}

func appendCSVValue(dst []byte, v value) []byte {
	switch v.kind {
	case kindNull:
		return dst
	case kindInt:
		return strconv.AppendInt(dst, v.int(), 10)
	case kindReal:
		return appendReal(dst, v.real())
	case kindText:
		return appendCSVText(dst, v.text)
	}
	dst = append(dst, "x'"...)
	dst = appendHex(dst, v.text)
	return append(dst, '\'')
}

// appendCSVText quotes where RFC 4180 asks for it, and the empty text, which is not NULL.
func appendCSVText(dst []byte, text string) []byte {
	if text != "" && !strings.ContainsAny(text, ",\"\n\r") {
		return append(dst, text...)
	}
	dst = append(dst, '"')
	for i := range len(text) {
		if text[i] == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, text[i])
	}
	return append(dst, '"')
}
