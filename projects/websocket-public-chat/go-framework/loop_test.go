package main

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// unwatched has nobody wait for the socket of a client: a test says when it takes more.
func unwatched(c *client) { c.awaited = true }

func TestMessagesAreReadAndChecked(t *testing.T) {
	for _, test := range []struct {
		text   string
		isText bool
		want   error
	}{
		{"", true, nil}, {strings.Repeat("é😀", 5000), true, nil}, {"\xff", true, errNotText}, {"\xff", false, nil}, {"a\xc3", true, errNotText},
	} {
		for _, from := range []io.Reader{strings.NewReader(test.text), iotest.OneByteReader(strings.NewReader(test.text))} {
			got, err := readMessage(from, make([]byte, 0, 8), test.isText)
			if err != test.want || err == nil && string(got) != test.text {
				t.Errorf("%.20q: got %d bytes, %v", test.text, len(got), err)
			}
		}
	}
}

func TestBadTextIsFoundBeforeTheMessageEnds(t *testing.T) {
	from := io.MultiReader(strings.NewReader("abc\xed\xa0"), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := readMessage(from, nil, true); err != errNotText {
		t.Errorf("got %v", err)
	}
}
