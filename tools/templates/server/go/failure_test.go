package main

import (
	"strings"
	"testing"
)

func TestValuesStayOneShortLine(t *testing.T) {
	for value, want := range map[string]string{
		"a\n\"\x1b":             `"a\n\"\x1b"`,
		strings.Repeat("x", 81): `"` + strings.Repeat("x", 80) + `"...`,
	} {
		if got := quoteValue(value); got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
}
