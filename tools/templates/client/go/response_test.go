package main

import (
	"strings"
	"testing"
)

func read(head string) (response, error) {
	lines := strings.Split(head, "\n")
	return readResponse(func() ([]byte, error) {
		if len(lines) == 0 {
			return nil, errClosed
		}
		line := lines[0]
		lines = lines[1:]
		return []byte(line), nil
	})
}

func TestHeads(t *testing.T) {
	for head, want := range map[string]response{
		"HTTP/1.1 200 OK\nContent-Length: 12\n":               {status: 200, length: 12},
		"HTTP/1.1 200\ncontent-length:0\nconnection: Close\n": {status: 200, closes: true},
		"HTTP/1.0 404 Not Found\nServer: x\n":                 {status: 404, length: -1, closes: true},
		"HTTP/1.1 500 \nA: b\nConnection: keep-alive\n":       {status: 500, length: -1},
	} {
		if got, err := read(head); err != nil || got != want {
			t.Errorf("%q: got %+v, %v", head, got, err)
		}
	}
}

func TestWhatIsNoHeadIsRefused(t *testing.T) {
	for _, head := range []string{
		"", "HTTP/2 200\n", "HTTP/1.1 20\n", "HTTP/1.1 2000\n", "HTTP/1.1 2x0 \n", "HTTP/1.1 200 OK\nno colon\n",
		"HTTP/1.1 200 OK\nContent-Length: -1\n", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n", "HTTP/1.1 200 OK",
		"HTTP/1.1 200 OK\n" + strings.Repeat("A: b\n", 300),
	} {
		if got, err := read(head); err == nil {
			t.Errorf("%q: got %+v", head, got)
		}
	}
}
