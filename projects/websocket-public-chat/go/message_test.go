package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestRequestsAreUnderstood(t *testing.T) {
	for _, test := range []struct {
		input string
		want  request
	}{
		{`{"type":"join","room":"a-z_0","nick":"Ann"}`, request{kind: kindJoin, room: []byte("a-z_0"), nick: []byte("Ann")}},
		{` { "nick" : "\u00e9\ud83d\ude00" , "room":"r", "type":"\u006aoin" } `, request{kind: kindJoin, room: []byte("r"), nick: []byte("é😀")}},
		{`{"type":"chat","id":0,"text":"\"\\\/\b\f\n\r\t\u0000"}`, request{kind: kindChat, text: []byte("\"\\/\b\f\n\r\t\x00")}},
		{`{"id":9007199254740991,"text":"x","type":"chat","more":[{},[],{"a":[1,-0.5e+3,true,false,null,"\\"]}]}`, request{kind: kindChat, id: 1<<53 - 1, text: []byte("x")}},
		{`{"type":1,"type":"leave"}`, request{kind: kindLeave}},
	} {
		got, reason := parseRequest([]byte(test.input))
		if reason != "" || got.kind != test.want.kind || got.id != test.want.id || !bytes.Equal(got.room, test.want.room) ||
			!bytes.Equal(got.nick, test.want.nick) || !bytes.Equal(got.text, test.want.text) {
			t.Errorf("%s: got %+v, %q", test.input, got, reason)
		}
	}
}

func TestWrongRequestsHaveTheirReason(t *testing.T) {
	deep := strings.Repeat("[", 100_000)
	for _, test := range []struct{ input, want string }{
		{"", notJSON}, {" ", notJSON}, {"{", notJSON}, {"nul", notJSON}, {"{}x", notJSON}, {`{"a":1,}`, notJSON}, {`{"a" 1}`, notJSON},
		{`{a:1}`, notJSON}, {`{"a":01}`, notJSON}, {`{"a":1.}`, notJSON}, {`{"a":-}`, notJSON}, {`{"a":1e}`, notJSON}, {`{"a":"\x"}`, notJSON},
		{`{"a":"\ud800"}`, notJSON}, {`{"a":"\ud800\u0041"}`, notJSON}, {`{"a":"\udc00"}`, notJSON}, {`{"a":"\u12g4"}`, notJSON}, {`{"a":"\u12`, notJSON},
		{"{\"a\":\"\n\"}", notJSON}, {`[1,]`, notJSON}, {`[1 2]`, notJSON}, {`{"a":[1}`, notJSON}, {deep, notJSON}, {"\xef\xbb\xbf{}", notJSON},
		{"[]", notAnObject}, {"3.25", notAnObject}, {`"x"`, notAnObject}, {" true ", notAnObject}, {`[{"a":[]},{}]`, notAnObject},
		{deep + strings.Repeat("]", len(deep)), notAnObject},
		{"{}", unknownType}, {`{"type":"Join"}`, unknownType}, {`{"type":["join"]}`, unknownType},
		{`{"type":"join"}`, badRoom}, {`{"type":"join","room":"A","nick":"n"}`, badRoom}, {`{"type":"join","room":"","nick":"n"}`, badRoom},
		{`{"type":"join","room":"` + strings.Repeat("a", 65) + `","nick":"n"}`, badRoom},
		{`{"type":"join","room":"a"}`, badNick}, {`{"type":"join","room":"a","nick":""}`, badNick}, {`{"type":"join","room":"a","nick":"\u007f"}`, badNick},
		{`{"type":"join","room":"a","nick":"` + strings.Repeat("é", 33) + `"}`, badNick},
		{`{"type":"chat","id":1}`, badText}, {`{"type":"chat","id":1,"text":""}`, badText}, {`{"type":"chat","text":7}`, badText},
		{`{"type":"chat","id":1,"text":"` + strings.Repeat("x", 2001) + `"}`, badText},
		{`{"type":"chat","text":"x"}`, badID}, {`{"type":"chat","id":"1","text":"x"}`, badID}, {`{"type":"chat","id":-1,"text":"x"}`, badID},
		{`{"type":"chat","id":1.0,"text":"x"}`, badID}, {`{"type":"chat","id":9007199254740992,"text":"x"}`, badID}, {`{"type":"chat","id":1e2,"text":"x"}`, badID},
	} {
		if _, reason := parseRequest([]byte(test.input)); reason != test.want {
			t.Errorf("%.60s: got %q, want %q", test.input, reason, test.want)
		}
	}
}

func TestMessagesAreEncodedToTheByte(t *testing.T) {
	for _, test := range []struct {
		got  *frame
		want string
	}{
		{joinedMessage("r", `a"b`, 3), `{"type":"joined","room":"r","nick":"a\"b","members":3}`},
		{acceptedMessage(9, 1), `{"type":"accepted","id":9,"seq":1}`},
		{chatMessage("r", "é", 12, []byte("\\\b\f\n\r\t\x00\x1f\x7f</é😀")), `{"type":"chat","room":"r","nick":"é","seq":12,"text":"\\\b\f\n\r\t\u0000\u001f` + "\x7f" + `</é😀"}`},
		{refusedMessage(0), `{"type":"refused","id":0,"reason":"rate"}`},
		{presenceMessage("r", 2), `{"type":"presence","room":"r","members":2}`},
		{leftMessage("r"), `{"type":"left","room":"r"}`},
		{errorMessage(notJSON), `{"type":"error","reason":"not json"}`},
	} {
		head := string([]byte{0x81, byte(len(test.want))})
		if string(test.got.data) != head+test.want {
			t.Errorf("got %q, want %q", test.got.data, head+test.want)
		}
	}
	if !chatMessage("r", "n", 1, []byte("x")).isChat || acceptedMessage(1, 1).isChat {
		t.Error("only chat messages are counted")
	}
}

func TestHeadsOfFramesAreOfTheShortestKind(t *testing.T) {
	for _, test := range []struct {
		size int
		want []byte
	}{
		{0, []byte{0x82, 0}}, {125, []byte{0x82, 125}}, {126, []byte{0x82, 126, 0, 126}}, {65535, []byte{0x82, 126, 255, 255}},
		{65536, []byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
	} {
		got := newFrame(opBinary, make([]byte, test.size)).data
		if !bytes.HasPrefix(got, test.want) || len(got) != len(test.want)+test.size {
			t.Errorf("%d: got %v", test.size, got[:min(len(got), 10)])
		}
	}
	long := chatMessage("r", "n", 1, bytes.Repeat([]byte{1}, longestTextBytes)).data
	if size := len(long) - 4; long[0] != 0x81 || long[1] != 126 || int(long[2])<<8|int(long[3]) != size {
		t.Errorf("got % x for %d", long[:4], size)
	}
	if got := newClose(closeTryAgain, "too slow").data; string(got) != "\x88\x0a\x03\xf5too slow" {
		t.Errorf("got %q", got)
	}
	if got := newClose(0, "").data; string(got) != "\x88\x00" {
		t.Errorf("got %q", got)
	}
}

func TestTextIsCheckedInParts(t *testing.T) {
	for _, test := range []struct {
		text  string
		whole int
		ok    bool
	}{
		{"", 0, true}, {"abc", 3, true}, {"é", 2, true}, {"aé"[:2], 1, true}, {"😀"[:3], 0, true}, {"x😀"[:4], 1, true},
		{"\xff", 1, false}, {"\xed\xa0", 2, false}, {"\xf4\x90", 2, false}, {"\xc0", 1, false}, {"é\x80", 3, false}, {"\xe2\x82a", 3, false},
	} {
		if whole, ok := checkedText([]byte(test.text)); ok != test.ok || ok && whole != test.whole {
			t.Errorf("%q: got %d, %v", test.text, whole, ok)
		}
	}
}

func BenchmarkParseChat(b *testing.B) {
	input := []byte(`{"type":"chat","id":12345,"text":"` + strings.Repeat("hello ", 16) + `"}`)
	b.ReportAllocs()
	for b.Loop() {
		parseRequest(input)
	}
}

func BenchmarkEncodeChat(b *testing.B) {
	text := bytes.Repeat([]byte("hello "), 16)
	b.ReportAllocs()
	for b.Loop() {
		chatMessage("room", "nick", 12345, text)
	}
}
