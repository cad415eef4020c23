package main

import (
	"strings"
	"testing"
)

// parseRequest parses a head in one piece.
func parseRequest(text string) (*requestHead, bool, *problem) {
	r := &requestHead{}
	r.reset()
	complete, wrong := r.parse([]byte(text), 16384)
	return r, complete, wrong
}

// lines writes a head with one line each, ended as they must be.
func lines(all ...string) string { return strings.Join(all, "\r\n") + "\r\n\r\n" }

func TestRequestIsForwardedWithTheLinesOfItsHop(t *testing.T) {
	const added = "X-Forwarded-For: 10.1.1.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\nVia: 1.1 deadheat\r\n\r\n"
	for _, test := range []struct{ name, request, want string }{
		{"order, case and duplicates stay",
			lines("GET /a?b HTTP/1.1", "host: h", "X-b:  1 ", "x-B:2", "Accept:"),
			"GET /a?b HTTP/1.1\r\nhost: h\r\nX-b:  1 \r\nx-B:2\r\nAccept:\r\n" + added},
		{"hop-by-hop fields are left out",
			lines("GET / HTTP/1.1", "Connection: keep-alive, X-A", "X-a: 1", "Host: h", "Keep-Alive: 1", "X-B: 2", "Proxy-Connection: x", "Upgrade: a", "TE: gzip"),
			"GET / HTTP/1.1\r\nHost: h\r\nX-B: 2\r\n" + added},
		{"framing and Host stay whatever Connection says",
			lines("POST / HTTP/1.1", "Connection: content-length, host", "Host: h", "Content-Length: 3"),
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n" + added},
		{"trailers are the only TE, chunked the only coding",
			lines("POST / HTTP/1.1", "TE: gzip, trailers", "Host: h", "transfer-encoding: Chunked"),
			"POST / HTTP/1.1\r\nTE: trailers\r\nHost: h\r\nTransfer-Encoding: chunked\r\n" + added},
		{"the same length twice is one",
			lines("POST / HTTP/1.1", "Host: h", "Content-Length: 3", "content-length: 03"),
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n" + added},
		{"lists are appended to in their last line",
			lines("GET / HTTP/1.1", "X-Forwarded-For: a", "Via: 1.0 x", "Host: h", "x-forwarded-for: b", "X-Forwarded-Host: y", "X-Forwarded-Proto: https"),
			"GET / HTTP/1.1\r\nX-Forwarded-For: a\r\nVia: 1.0 x, 1.1 deadheat\r\nHost: h\r\nx-forwarded-for: b, 10.1.1.1\r\nX-Forwarded-Host: y\r\nX-Forwarded-Proto: http\r\n\r\n"},
		{"an absolute target wins over Host",
			lines("GET http://H:8?q HTTP/1.1", "HOST: other"),
			"GET /?q HTTP/1.1\r\nHOST: H:8\r\n" + strings.Replace(added, "Host: h", "Host: H:8", 1)},
		{"an absolute OPTIONS asks the whole server",
			lines("OPTIONS http://h HTTP/1.1", "Host: h"), "OPTIONS * HTTP/1.1\r\nHost: h\r\n" + added},
		{"an old client gets a version and a Host",
			lines("GET / HTTP/1.0"), "GET / HTTP/1.1\r\nHost: b:80\r\n" + strings.Replace(added, "Host: h", "Host: b:80", 1)},
		{"an upgrade passes",
			lines("GET / HTTP/1.1", "Host: h", "Connection: Upgrade, x", "X: 1", "Upgrade: websocket"),
			"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n" + strings.Replace(added, "\r\n\r\n", "\r\nConnection: upgrade\r\n\r\n", 1)},
		{"an upgrade to HTTP/2 does not",
			lines("GET / HTTP/1.1", "Host: h", "Connection: Upgrade", "Upgrade: H2C"), "GET / HTTP/1.1\r\nHost: h\r\n" + added},
	} {
		r, complete, wrong := parseRequest(test.request)
		if wrong != nil || !complete {
			t.Errorf("%s: not accepted: %v", test.name, wrong)
			continue
		}
		if got := string(r.appendForward(nil, []byte(test.request), "10.1.1.1", "b:80")); got != test.want {
			t.Errorf("%s: got\n%q, want\n%q", test.name, got, test.want)
		}
	}
}

func TestBadRequestsAreRefused(t *testing.T) {
	for _, test := range []struct {
		request string
		want    *problem
	}{
		{"GET / HTTP/1.1\nHost: h\r\n\r\n", bareLF},
		{"GET / HTTP/1.1\r\nHost: h\n\r\n", bareLF},
		{"GET / HTTP/1.1\r\nHost: h\r\n\n", bareLF},
		{"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", bareCR},
		{lines("GET / HTTP/1.1", "Host: h", "X: a\x00b"), controlByte},
		{lines("GET / HTTP/1.1", "Host: h", "X: aaaaaaaaaaaaaaaaaaaa\x7f"), controlByte},
		{lines("GET / HTTP/1.1", "Host: h", " folded"), badFolding},
		{lines("GET / HTTP/1.1", "Host : h"), spaceBeforeColon},
		{lines("GET / HTTP/1.1", "Ho st: h"), badFieldName},
		{lines("GET / HTTP/1.1", ": h"), badFieldName},
		{lines("GET  / HTTP/1.1", "Host: h"), badRequestLine},
		{lines("GET / http/1.1", "Host: h"), badRequestLine},
		{lines("GET /", "Host: h"), badRequestLine},
		{lines("GET / HTTP/2.0", "Host: h"), unsupportedVersion},
		{lines("GET a HTTP/1.1", "Host: h"), badTarget},
		{lines("GET * HTTP/1.1", "Host: h"), badTarget},
		{lines("GET http:/// HTTP/1.1", "Host: h"), badHost},
		{lines("GET http://u@h/ HTTP/1.1", "Host: h"), badHost},
		{lines("CONNECT h:1 HTTP/1.1", "Host: h"), connectRefused},
		{lines("GET / HTTP/1.1"), missingHost},
		{lines("GET / HTTP/1.1", "Host: a", "Host: a"), duplicateHost},
		{lines("GET / HTTP/1.1", "Host: a b"), badHost},
		{lines("GET / HTTP/1.1", "Host: a:b"), badHost},
		{lines("POST / HTTP/1.1", "Host: h", "Content-Length: +1"), badLength},
		{lines("POST / HTTP/1.1", "Host: h", "Content-Length: 1, 1"), badLength},
		{lines("POST / HTTP/1.1", "Host: h", "Content-Length:"), badLength},
		{lines("POST / HTTP/1.1", "Host: h", "Content-Length: 9223372036854775808"), badLength},
		{lines("POST / HTTP/1.1", "Host: h", "Content-Length: 1", "Content-Length: 2"), conflictingLength},
		{lines("POST / HTTP/1.1", "Host: h", "Content-Length: 1", "Transfer-Encoding: chunked"), lengthAndCoding},
		{lines("POST / HTTP/1.1", "Host: h", "Transfer-Encoding: gzip, chunked"), unknownCoding},
		{lines("POST / HTTP/1.1", "Host: h", "Transfer-Encoding: chunked, chunked"), badCoding},
		{lines("POST / HTTP/1.1", "Host: h", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), badCoding},
		{lines("POST / HTTP/1.0", "Transfer-Encoding: chunked"), codingInOldVersion},
		{lines("GET / HTTP/1.1", "Host: h", "Connection: a b"), badConnection},
		{lines("GET / HTTP/1.1", "Host: h", "Connection: "+strings.Repeat("a,", 33)), tooManyOptions},
		{"GET /" + strings.Repeat("a", 20000), lineTooLong},
		{"GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 20000), headTooLong},
	} {
		if _, _, wrong := parseRequest(test.request); wrong != test.want {
			t.Errorf("%.80q: got %v, want %v", test.request, wrong, test.want)
		}
	}
}

func TestHeadInPiecesReadsTheSame(t *testing.T) {
	whole := lines("POST /x HTTP/1.1", "Host: h", "Content-Length: 5", "Connection: close")
	r := &requestHead{}
	r.reset()
	for end := 1; end < len(whole); end++ {
		if complete, wrong := r.parse([]byte(whole[:end]), 16384); complete || wrong != nil {
			t.Fatalf("at %d: complete %v, %v", end, complete, wrong)
		}
	}
	if complete, wrong := r.parse([]byte(whole), 16384); !complete || wrong != nil {
		t.Fatalf("complete %v, %v", complete, wrong)
	}
	if r.contentLength != 5 || !r.close || r.length != len(whole) || len(r.fields) != 3 {
		t.Errorf("got %+v", r)
	}
}

func TestResponseIsForwarded(t *testing.T) {
	const via = "Via: 1.1 deadheat\r\n"
	for _, test := range []struct {
		name, response, want string
		hop                  hopToClient
	}{
		{"lines stay", lines("HTTP/1.1 200 OK", "x-A: 1", "Content-Length: 2", "X-a:"),
			"HTTP/1.1 200 OK\r\nx-A: 1\r\nContent-Length: 2\r\nX-a:\r\n" + via + "\r\n", hopToClient{}},
		{"hop-by-hop fields go", lines("HTTP/1.1 200 OK", "Connection: x-b, close", "X-B: 1", "Keep-Alive: a", "Upgrade: b", "Z: 1"),
			"HTTP/1.1 200 OK\r\nZ: 1\r\n" + via + "Connection: close\r\n\r\n", hopToClient{connection: "Connection: close\r\n"}},
		{"versions and reasons", lines("HTTP/1.0 404"), "HTTP/1.1 404 \r\n" + via + "\r\n", hopToClient{}},
		{"chunks are named once", lines("HTTP/1.1 200 OK", "Transfer-Encoding:chunked", "Via: a"),
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nVia: a, 1.1 deadheat\r\n\r\n", hopToClient{chunked: true}},
		{"chunks are taken out", lines("HTTP/1.1 200 OK", "Transfer-Encoding:chunked"), "HTTP/1.1 200 OK\r\n" + via + "\r\n", hopToClient{}},
		{"chunks are added", lines("HTTP/1.0 200 OK"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + via + "\r\n", hopToClient{chunked: true}},
	} {
		r := &responseHead{}
		r.reset()
		if complete, ok := r.parse([]byte(test.response)); !complete || !ok {
			t.Errorf("%s: not accepted", test.name)
			continue
		}
		if got := string(r.appendForward(nil, []byte(test.response), test.hop)); got != test.want {
			t.Errorf("%s: got\n%q, want\n%q", test.name, got, test.want)
		}
	}
}

func TestBadResponsesAreRefused(t *testing.T) {
	for _, response := range []string{
		"garbage\r\n", "HTTP/2.0 200 OK\r\n", "HTTP/1.1 20 OK\r\n", "HTTP/1.1 2000 OK\r\n", "HTTP/1.1 000 No\r\n", "HTTP/1.1\r\n",
		"HTTP/1.1 200 OK\n", lines("HTTP/1.1 200 OK", "Content-Length: 1", "Transfer-Encoding: chunked"),
		lines("HTTP/1.1 200 OK", "Content-Length: 1", "Content-Length: 2"), lines("HTTP/1.1 200 OK", "Transfer-Encoding: gzip"),
		lines("HTTP/1.0 200 OK", "Transfer-Encoding: chunked"), lines("HTTP/1.1 200 OK", "X : y"),
	} {
		r := &responseHead{}
		r.reset()
		if _, ok := r.parse([]byte(response)); ok {
			t.Errorf("%q is accepted", response)
		}
	}
}

func TestControlBytesAreFoundWhereverTheyStand(t *testing.T) {
	plain := strings.Repeat("a\tb \x80\xff~!", 5)
	if got := textLength([]byte(plain)); got != len(plain) {
		t.Fatalf("found a control byte at %d of %q", got, plain)
	}
	for at := range len(plain) {
		for _, c := range []byte{0, 1, '\n', '\r', 0x1f, 0x7f} {
			text := []byte(plain)
			text[at] = c
			if got := textLength(text); got != at {
				t.Errorf("%#x at %d is found at %d", c, at, got)
			}
		}
	}
}

func TestAuthorities(t *testing.T) {
	for _, good := range []string{"", "h", "h:", "h:80", "a.b-c_d~%20", "[::1]", "[::1]:65535", "1.2.3.4:1"} {
		if !isAuthority([]byte(good)) {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{"a/b", "a@b", "a?b", "a b", "h:x", "h:123456", "[::1", "[]", "[::1]x", "[g]", "a:b:c", "a\x80"} {
		if isAuthority([]byte(bad)) {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func FuzzRequestHead(f *testing.F) {
	f.Add(lines("GET / HTTP/1.1", "Host: h", "X-Forwarded-For: a"), 7)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		whole, complete, wrong := parseRequest(text)
		if wrong != nil || !complete {
			return
		}
		pieces := &requestHead{}
		pieces.reset()
		if cut >= 0 && cut < len(text) {
			pieces.parse([]byte(text[:cut]), 16384)
		}
		if again, wrong := pieces.parse([]byte(text), 16384); !again || wrong != nil || pieces.length != whole.length {
			t.Fatalf("in pieces: %v, %v", again, wrong)
		}
		forwarded := string(whole.appendForward(nil, []byte(text), "1.2.3.4", "b:1"))
		if _, complete, wrong := parseRequest(forwarded); wrong != nil || !complete {
			t.Fatalf("%q became %q, which is refused: %v", text, forwarded, wrong)
		}
	})
}
