package main

import (
	"strings"
	"testing"
	"time"
)

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "anything", true}, {"", "", true}, {"", "a", false},
		{"h?llo", "hello", true}, {"h?llo", "hllo", false}, {"h*llo", "heeeello", true},
		{"h[ae]llo", "hallo", true}, {"h[ae]llo", "hillo", false}, {"h[^e]llo", "hello", false}, {"h[^e]llo", "hbllo", true},
		{"h[a-c]llo", "hbllo", true}, {"h[c-a]llo", "hbllo", true}, {"h[a-c]llo", "hdllo", false},
		{`h\*llo`, "h*llo", true}, {`h\*llo`, "hello", false}, {`h[\]]`, "h]", true},
		{"[", "[", false}, {"[a", "a", true}, {"*a*b", "xxaxxb", true}, {"a**", "a", true}, {`a\`, `a\`, true},
		{"HELLO", "hello", false},
	} {
		if got := globMatch([]byte(test.pattern), []byte(test.text), false); got != test.want {
			t.Errorf("%q, %q: %t", test.pattern, test.text, got)
		}
	}
	if !globMatch([]byte("MaxM[E]m*"), []byte("maxmemory"), true) {
		t.Error("case is not ignored")
	}
}

func TestGlobIsNotExponential(t *testing.T) {
	started := time.Now()
	globMatch([]byte(strings.Repeat("a*", 30)+"b"), []byte(strings.Repeat("a", 5000)), false)
	if took := time.Since(started); took > time.Second {
		t.Errorf("it took %v", took)
	}
}
