package main

import (
	"strings"
	"testing"
)

func TestKeysAreLines(t *testing.T) {
	for content, want := range map[string]string{"": "", "a": "a", "a\n": "a", "a\nB-c_1.txt\na\n": "a B-c_1.txt a"} {
		keys, bad := splitKeys([]byte(content))
		got := make([]string, len(keys))
		for i, key := range keys {
			got[i] = string(key)
		}
		if bad != 0 || strings.Join(got, " ") != want {
			t.Errorf("%q: got %v, %d", content, got, bad)
		}
	}
}

func TestWhatIsNoKeyIsNamed(t *testing.T) {
	for content, want := range map[string]int{
		"\n": 1, "a\n\nb\n": 2, "a b": 1, "a\r\n": 1, "a\n../b": 2, "a\n" + strings.Repeat("k", 256): 2,
	} {
		if _, bad := splitKeys([]byte(content)); bad != want {
			t.Errorf("%q: got line %d, want %d", content, bad, want)
		}
	}
}
