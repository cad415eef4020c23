package main

import (
	"bytes"
	"testing"

	"github.com/gobwas/ws"
)

// unwatched has nobody wait for the socket of a client: a test says when it takes more.
func unwatched(*client) {}

// masked is a frame as a client sends it.
func masked(opcode ws.OpCode, isFinal bool, payload string) []byte {
	f := ws.MaskFrameWith(ws.NewFrame(opcode, isFinal, []byte(payload)), [4]byte{1, 2, 3, 4})
	return ws.MustCompileFrame(f)
}

func TestFramesComeInAnyParts(t *testing.T) {
	input := bytes.Join([][]byte{
		masked(ws.OpText, false, `{"type":"join",`), masked(ws.OpPing, true, "ping"), masked(ws.OpContinuation, false, ""),
		masked(ws.OpContinuation, true, `"room":"r","nick":"é"}`), masked(ws.OpPong, true, ""), masked(ws.OpText, true, `{"type":"leave"}`),
		masked(ws.OpClose, true, "\x03\xe8"),
	}, nil)
	for size := 1; size <= len(input); size++ {
		s := lab(t, "")
		p := connect(t, s)
		for rest := bytes.Clone(input); len(rest) > 0; {
			part := rest[:min(size, len(rest))]
			rest = rest[len(part):]
			p.client.receive(part)
		}
		p.expect("ping", `{"type":"joined","room":"r","nick":"é","members":1}`, `{"type":"presence","room":"r","members":1}`,
			`{"type":"left","room":"r"}`, "\x03\xe8left")
		if p.client.flush() {
			t.Fatalf("in parts of %d: the client goes on", size)
		}
	}
}

func TestWhatBreaksTheProtocolCloses(t *testing.T) {
	unmasked := ws.MustCompileFrame(ws.NewTextFrame([]byte("{}")))
	reserved := masked(ws.OpText, true, "{}")
	reserved[0] |= 0x40
	const protocolError, badText, tooLarge = "\x03\xeaprotocol error", "\x03\xefinvalid UTF-8", "\x03\xf1message too large"
	for i, test := range []struct {
		input []byte
		want  string
	}{
		{unmasked, protocolError}, {reserved, protocolError}, {masked(3, true, ""), protocolError}, {masked(11, true, ""), protocolError},
		{masked(ws.OpPing, false, ""), protocolError}, {masked(ws.OpPing, true, string(make([]byte, 126))), protocolError},
		{masked(ws.OpContinuation, true, "x"), protocolError}, {append(masked(ws.OpText, false, "x"), masked(ws.OpText, true, "x")...), protocolError},
		{masked(ws.OpText, true, "\xff"), badText}, {masked(ws.OpText, true, "\xc3"), badText}, {masked(ws.OpText, false, "\xed\xa0"), badText},
		{append(masked(ws.OpText, false, "\xc3"), masked(ws.OpContinuation, true, "x")...), badText},
		{masked(ws.OpBinary, true, "x"), "\x03\xebtext only"}, {masked(ws.OpText, true, string(make([]byte, 101))), tooLarge},
		{append(masked(ws.OpText, false, "0123456789"), masked(ws.OpContinuation, true, string(make([]byte, 91)))...), tooLarge},
		{[]byte("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff1234"), tooLarge}, {[]byte("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff1234"), tooLarge},
	} {
		s := lab(t, "--max-message-bytes 100")
		p := connect(t, s)
		p.client.receive(test.input)
		p.client.receive(masked(ws.OpPing, true, "ignored"))
		p.expect(test.want)
		if got := s.metrics.protocolErrors.Load(); got != 1 {
			t.Errorf("%d: %d errors counted", i, got)
		}
	}
}
