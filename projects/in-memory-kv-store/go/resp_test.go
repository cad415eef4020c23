package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// parseAll gives the stream to a parser in pieces and returns what it finds.
func parseAll(stream string, piece int) (found []string) {
	var p parser
	var data []byte
	for len(stream) > 0 {
		n := min(piece, len(stream))
		data = append(data, stream[:n]...)
		stream = stream[n:]
		for len(data) > 0 {
			complete, err := p.next(data)
			if err != nil {
				return append(found, err.Error())
			}
			if !complete {
				break
			}
			found = append(found, fmt.Sprintf("%q", p.arguments(data, nil)))
			data = append([]byte(nil), data[p.position:]...) // the bytes move, as they do in a server
			p.reset()
		}
	}
	return found
}

func TestCommandsInPiecesOfAnySize(t *testing.T) {
	stream := "*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n*0\r\n\r\nSET k \"a b\\x41\\n\" 'c\\'d'\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\n\r\n*3\r\n"
	want := []string{`["GET" "k"]`, `["PING"]`, `[]`, `[]`, `["SET" "k" "a bA\n" "c'd"]`, `["SET" "" "\r\n*3"]`}
	for piece := 1; piece <= len(stream); piece++ {
		if got := parseAll(stream, piece); strings.Join(got, ";") != strings.Join(want, ";") {
			t.Fatalf("pieces of %d: %v", piece, got)
		}
	}
}

func TestWhatIsNotTheProtocol(t *testing.T) {
	for stream, want := range map[string]string{
		"*abc\r\n":                              "invalid multibulk length",
		"*2147483648\r\n":                       "invalid multibulk length",
		"*1\r\n:4\r\n":                          "expected '$', got ':'",
		"*1\r\n$-1\r\n":                         "invalid bulk length",
		"*1\r\n$536870913\r\n":                  "invalid bulk length",
		"*1\r\n$04\r\n":                         "invalid bulk length",
		"SET k \"a\r\n":                         "unbalanced quotes in request",
		"SET k 'a'b\r\n":                        "unbalanced quotes in request",
		strings.Repeat("x", 70_000):             "too big inline request",
		"*" + strings.Repeat("1", 70_000):       "too big mbulk count string",
		"*1\r\n$" + strings.Repeat("1", 70_000): "too big bulk count string",
	} {
		got := parseAll(stream, len(stream))
		if len(got) != 1 || got[0] != "Protocol error: "+want {
			t.Errorf("%.20q: %v, want %s", stream, got, want)
		}
	}
}

func TestCommandsAreLimited(t *testing.T) {
	var p parser
	data := []byte("*4\r\n$1\r\na\r\n$536870912\r\n")
	if complete, err := p.next(data); complete || err != nil {
		t.Fatalf("%t, %v", complete, err)
	}
	p.position, p.missing, p.bulkBytes = 1<<30-100, 1, noBulk
	big := append(bytes.Repeat([]byte{'x'}, 1<<30-100), "$1000\r\n"...)
	if _, err := p.next(big); err != errTooLarge {
		t.Errorf("a command of more than 1 GiB: %v", err)
	}
}

func TestReplies(t *testing.T) {
	var o reply
	o.ok()
	o.simple("PONG")
	o.fail("ERR a\r\nb")
	o.integer(-5)
	o.bulkString("x")
	o.bulk(nil)
	o.null()
	o.nullArray()
	o.array(2)
	o.double(1.5)
	o.boolean(true)
	want := "+OK\r\n+PONG\r\n-ERR a  b\r\n:-5\r\n$1\r\nx\r\n$0\r\n\r\n$-1\r\n*-1\r\n*2\r\n$3\r\n1.5\r\n:1\r\n"
	if string(o.b) != want {
		t.Errorf("got %q", o.b)
	}
}
