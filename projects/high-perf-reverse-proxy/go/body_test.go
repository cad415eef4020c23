package main

import (
	"strings"
	"testing"
)

// scanAll feeds a chunked body in pieces of a size, and returns its payload.
func scanAll(text string, piece int) (payload string, used int, done bool, wrong *problem) {
	var b body
	b.begin(bodyChunked, -1, 1000)
	for used < len(text) && !b.done {
		part := []byte(text[used:min(used+piece, len(text))])
		n, kept, wrong := b.take(part, true)
		payload += string(part[:kept])
		used += n
		if wrong != nil {
			return payload, used, false, wrong
		}
	}
	return payload, used, b.done, nil
}

func TestChunksInAnyPieces(t *testing.T) {
	for _, test := range []struct{ text, payload string }{
		{"0\r\n\r\n", ""},
		{"5\r\nhello\r\n0\r\n\r\n", "hello"},
		{"0005;a=\"b c\"\r\nhello\r\nA \t; x = y\r\n0123456789\r\n000\r\nX: y\r\nZ:\r\n\r\n", "hello0123456789"},
		{"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n"},
	} {
		for piece := 1; piece <= len(test.text)+4; piece++ {
			payload, used, done, wrong := scanAll(test.text+"NEXT", piece)
			if payload != test.payload || used != len(test.text) || !done || wrong != nil {
				t.Errorf("%q by %d: %q, %d bytes, done %v, %v", test.text, piece, payload, used, done, wrong)
			}
		}
	}
}

func TestBadChunksAreRefused(t *testing.T) {
	for _, test := range []struct {
		text string
		want *problem
	}{
		{"+5\r\n", badChunkSize}, {"-5\r\n", badChunkSize}, {"0x5\r\n", badChunkSize}, {" 5\r\n", badChunkSize},
		{"5 \r\n", badChunkSize}, {"5 5\r\n", badChunkSize}, {"\r\n", badChunkSize}, {";a\r\n", badChunkSize},
		{"g\r\n", badChunkSize}, {"5\n", badChunkSize}, {"5\r\r\n", badChunkSize}, {"10000000000000000\r\n", badChunkSize},
		{"ffffffffffffffff\r\n", badChunkSize}, {"5;a\n", badChunkExtension}, {"5;\x00", badChunkExtension},
		{"5;" + strings.Repeat("a", 5000), badChunkExtension},
		{"5\r\nhelloX", badChunkEnd}, {"5\r\nhello\n", badChunkEnd}, {"5\r\nhello\rX", badChunkEnd}, {"0\r\n\rX", badChunkEnd},
		{"0\r\n\n", badTrailer}, {"0\r\nX y\r\n", badTrailer}, {"0\r\nX : y", badTrailer}, {"0\r\n y", badTrailer},
		{"0\r\n: y", badTrailer}, {"0\r\nX: y\n", badTrailer}, {"0\r\nX: y\rz", badTrailer}, {"0\r\nX: \x00", badTrailer},
		{"0\r\nX: " + strings.Repeat("a", 2000), badTrailer},
	} {
		for _, piece := range []int{1, len(test.text)} {
			if _, _, _, wrong := scanAll(test.text, piece); wrong != test.want {
				t.Errorf("%.40q by %d: got %v, want %v", test.text, piece, wrong, test.want)
			}
		}
	}
}

func TestFramingOfResponses(t *testing.T) {
	for _, test := range []struct {
		head   string
		toHead bool
		want   framing
	}{
		{lines("HTTP/1.1 200 OK", "Content-Length: 5"), false, bodyLength},
		{lines("HTTP/1.1 200 OK", "Content-Length: 5"), true, bodyNone},
		{lines("HTTP/1.1 200 OK", "Content-Length: 0"), false, bodyNone},
		{lines("HTTP/1.1 304 No", "Content-Length: 5"), false, bodyNone},
		{lines("HTTP/1.1 204 No"), false, bodyNone},
		{lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), false, bodyChunked},
		{lines("HTTP/1.1 200 OK"), false, bodyUntilClose},
		{lines("HTTP/1.1 200 OK"), true, bodyNone},
	} {
		r := &responseHead{}
		r.reset()
		if complete, ok := r.parse([]byte(test.head)); !complete || !ok {
			t.Fatalf("%q is not accepted", test.head)
		}
		if got := responseFraming(r, test.toHead); got != test.want {
			t.Errorf("%q, to HEAD %v: got %v, want %v", test.head, test.toHead, got, test.want)
		}
	}
}

func TestBodyIsPutIntoChunksAroundItsBuffer(t *testing.T) {
	pool := bufferPool{size: streamBufferBytes, headroom: streamHeadroom, tailroom: streamTailroom}
	var r relay
	r.begin(bodyUntilClose, -1, 0)
	r.chunk = true
	for _, size := range []int{1, 15, 16, 255, streamBytes} {
		b := pool.get()
		b.end += copy(pool.room(b), strings.Repeat("x", size))
		start, end, wrong := r.prepare(b)
		if wrong != nil || b.start != b.end {
			t.Fatalf("%d bytes: %v", size, wrong)
		}
		payload, _, done, wrong := scanAll(string(b.data[start:end])+lastChunk, 1<<20)
		if len(payload) != size || !done || wrong != nil {
			t.Errorf("%d bytes became %d, done %v, %v", size, len(payload), done, wrong)
		}
	}
}

func TestReadsDoNotTakeMoreOfTheNextRequestThanFits(t *testing.T) {
	const spare = 100
	chunked := "c8\r\n" + strings.Repeat("x", 200) + "\r\n0\r\n\r\n"
	var scanned body
	scanned.begin(bodyChunked, -1, 1000)
	text := chunked + strings.Repeat("N", 500)
	for used := 0; !scanned.done; {
		part := []byte(text[used:min(used+scanned.readLimit(spare), len(text))])
		n, _, wrong := scanned.take(part, false)
		if wrong != nil {
			t.Fatal(wrong)
		}
		if left := len(part) - n; scanned.done && left > spare {
			t.Errorf("%d bytes of the next request, room for %d", left, spare)
		}
		used += n
	}
}
