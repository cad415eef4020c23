package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// answerTo counts the words of a text through the same door as the program.
func answerTo(t *testing.T, text string, top int) (string, uint64, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	work := newCounter()
	total, err := work.count(path)
	return string(render(nil, &work.words, top)), total, err
}

func TestWordsAndTheirOrder(t *testing.T) {
	for _, test := range []struct {
		text  string
		top   int
		want  string
		total uint64
	}{
		{"", 20, "", 0},
		{" \n\t.,-\x00\x7f", 20, "", 0},
		{"one", 20, "one 1\n", 1},
		{"B a b A b", 20, "b 3\na 2\n", 5},
		{"b a c", 2, "a 1\nb 1\n", 3},
		{"R2D2 r2d2!don't", 20, "r2d2 2\ndon 1\nt 1\n", 4},
		{"\xc3\x89t\xc3\xa9 \xc3\x89T\xc3\xa9", 20, "\xc3\x89t\xc3\xa9 2\n", 2},
		{"abcdefgh abcdefghi abcdefghj abcdefghi", 20, "abcdefghi 2\nabcdefgh 1\nabcdefghj 1\n", 4},
	} {
		got, total, err := answerTo(t, test.text, test.top)
		if err != nil || got != test.want || total != test.total {
			t.Errorf("%q: got %q, %d, %v", test.text, got, total, err)
		}
	}
}

func TestAWordMayCrossTheEdgeOfABlock(t *testing.T) {
	for shift := range 12 {
		text := strings.Repeat(" ", blockBytes-shift) + "crossing x " + strings.Repeat("x ", blockBytes)
		got, total, err := answerTo(t, text, 20)
		if want := "x 262145\ncrossing 1\n"; err != nil || got != want || total != blockBytes+2 {
			t.Errorf("shift %d: got %q, %d, %v", shift, got, total, err)
		}
	}
}

func TestALongWordIsRefusedWithItsPlace(t *testing.T) {
	longest := strings.Repeat("w", maxWordBytes)
	if got, _, err := answerTo(t, "a "+longest, 1); err != nil || got != "a 1\n" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, text := range []string{"a " + longest + "w", "a " + longest + "w b", "a " + strings.Repeat(longest, 9)} {
		if _, _, err := answerTo(t, text, 1); err == nil || !strings.Contains(err.Error(), "byte 2: word longer than") {
			t.Errorf("got %v", err)
		}
	}
}

func TestAPathThatCannotBeRead(t *testing.T) {
	for _, path := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		if _, err := newCounter().count(path); err == nil || err.(*failure).exitCode != exitBadRequest {
			t.Errorf("%s: got %v", path, err)
		}
	}
}
