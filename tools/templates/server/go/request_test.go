package main

import (
	"strings"
	"testing"
)

const good = "GET /hash/a?b HTTP/1.1\r\nHost: x\r\n\r\n"

func TestAHeadIsWholeAtItsEnd(t *testing.T) {
	for length := range good {
		if _, what, _ := parseRequest([]byte(good[:length])); what != isPart {
			t.Fatalf("%d bytes: got %d", length, what)
		}
	}
	found, what, _ := parseRequest([]byte(good + good))
	if what != isWhole || found.bytes != len(good) || string(found.target) != "/hash/a?b" || !found.isGet || !found.keepsAlive || found.hasBody {
		t.Errorf("got %d, %+v", what, found)
	}
}

func TestWhatFollowsAHead(t *testing.T) {
	for _, test := range []struct {
		head                string
		keepsAlive, hasBody bool
	}{
		{"GET / HTTP/1.0\r\n\r\n", false, false},
		{"GET / HTTP/1.1\r\nhost:\r\nconnection: upgrade, Close\r\n\r\n", false, false},
		{"GET / HTTP/1.1\r\nHOST: x\r\nContent-Length: 00\r\n\r\n", true, false},
		{"GET / HTTP/1.1\r\nHost: x\r\ncontent-length: 10\r\n\r\n", true, true},
		{"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", true, true},
	} {
		found, what, _ := parseRequest([]byte(test.head))
		if what != isWhole || found.keepsAlive != test.keepsAlive || found.hasBody != test.hasBody {
			t.Errorf("%q: got %d, %+v", test.head, what, found)
		}
	}
}

func TestBadHeadsAreRefused(t *testing.T) {
	line := "GET /" + strings.Repeat("a", lineBytesMax)
	fields := "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("b", headBytesMax)
	for head, want := range map[string]status{
		"\r\n":                                                statusBadRequest,
		"GET / HTTP/1.1\n":                                    statusBadRequest,
		"GET  / HTTP/1.1\r\n":                                 statusBadRequest,
		"GET / HTTP/1.1 \r\n":                                 statusBadRequest,
		"GET a HTTP/1.1\r\n":                                  statusBadRequest,
		"GET /\x7f HTTP/1.1\r\n":                              statusBadRequest,
		"G(T / HTTP/1.1\r\n":                                  statusBadRequest,
		"GET / HTTP/2.0\r\n":                                  statusBadRequest,
		"GET / HTTP/1.1\r\n\r\n":                              statusBadRequest,
		"GET / HTTP/1.1\r\nHost\r\n":                          statusBadRequest,
		"GET / HTTP/1.1\r\nHost : x\r\n":                      statusBadRequest,
		"GET / HTTP/1.1\r\nHost: x\r\n y\r\n":                 statusBadRequest,
		"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n":        statusBadRequest,
		"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n": statusBadRequest,
		"GET / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n":    statusBadRequest,
		"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n":            statusBadRequest,
		line[:lineBytesMax]:                                   statusURITooLong,
		fields[:headBytesMax]:                                 statusHeadTooLarge,
	} {
		if _, what, why := parseRequest([]byte(head)); what != isRefused || why != want {
			t.Errorf("%.60q: got %d, %d, want %d", head, what, why, want)
		}
	}
}

func TestTheLongestLineAndHeadAreTaken(t *testing.T) {
	end := " HTTP/1.1\r\nHost: x\r\n"
	line := "GET /" + strings.Repeat("a", lineBytesMax-len("GET / HTTP/1.1\r\n")) + end
	head := line + "A: " + strings.Repeat("b", headBytesMax-len(line)-len("A: \r\n\r\n")) + "\r\n\r\n"
	if found, what, _ := parseRequest([]byte(head)); what != isWhole || found.bytes != headBytesMax {
		t.Errorf("got %d, %d bytes", what, found.bytes)
	}
}
