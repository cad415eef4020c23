package main

import (
	"bytes"
	"testing"
)

func TestHeadsEndAtTheirEmptyLine(t *testing.T) {
	const head = "\r\n\nGET / HTTP/1.1\r\nA: b\r\n\r\n"
	for _, test := range []struct{ input, want string }{
		{head + "x", head}, {head + head, head}, {"GET / HTTP/1.1\nA: b\n\nx", "GET / HTTP/1.1\nA: b\n\n"}, {"\r\n\r\n", "\r\n\r\n"}, {"GET /", "GET /"},
	} {
		for size := 1; size <= len(test.input); size++ {
			var h headEnd
			got := 0
			for rest := test.input; len(rest) > 0; {
				part := rest[:min(size, len(rest))]
				n := h.find([]byte(part))
				got += n
				if rest = rest[n:]; n < len(part) || h == (headEnd{}) && got == len(test.want) {
					break
				}
			}
			if got != len(test.want) {
				t.Errorf("%q in parts of %d: got %d, want %d", test.input, size, got, len(test.want))
			}
		}
	}
}

// zeros is a masked frame of zeros; the mask is zero.
func zeros(first byte, size int) []byte {
	frame := newFrame(first&opcodeBits, make([]byte, size)).data
	head := len(frame) - size
	frame[1] |= maskBit
	return append(append(bytes.Clone(frame[:head]), 0, 0, 0, 0), frame[head:]...)
}

func TestACloseFrameOfOneByteIsFound(t *testing.T) {
	before := bytes.Join([][]byte{zeros(opText, 5), zeros(opPing, 0), zeros(opBinary, 300), zeros(opText, 70_000)}, nil)
	for _, test := range []struct {
		close []byte
		want  bool
	}{
		{zeros(opClose, 1), true}, {zeros(opClose, 0), false}, {zeros(opClose, 2), false}, {append(zeros(opClose, 0), zeros(opClose, 1)...), false},
	} {
		input := append(bytes.Clone(before), test.close...)
		for _, size := range []int{1, 2, 3, 7, 1000, len(input)} {
			var f follower
			for rest := input; len(rest) > 0; {
				part := rest[:min(size, len(rest))]
				rest = rest[len(part):]
				f.follow(part)
			}
			if f.hasHalfCode != test.want || !f.hasClosed {
				t.Errorf("%x in parts of %d: %t", test.close, size, f.hasHalfCode)
			}
		}
	}
}
