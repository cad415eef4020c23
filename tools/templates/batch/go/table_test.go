package main

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

// contents lists what a table holds.
func contents(t *table) map[string]uint64 {
	found := map[string]uint64{}
	for index := range t.slots {
		if t.slots[index].count > 0 {
			found[string(t.word(&t.slots[index]))] = t.slots[index].count
		}
	}
	return found
}

func addText(t *table, word string) error {
	return t.add([]byte(word+strings.Repeat("\xff", prefixBytes)), len(word))
}

func TestWordsOfAllLengthsAreToldApart(t *testing.T) {
	words := newTable()
	want := map[string]uint64{}
	for length := 1; length <= 40; length++ {
		for last := range 300 { // enough to grow
			word := strings.Repeat("a", length-1) + fmt.Sprintf("%d", last)
			for range 1 + last%2 {
				if err := addText(&words, word); err != nil {
					t.Fatal(err)
				}
				want[word]++
			}
		}
	}
	if got := contents(&words); !maps.Equal(got, want) {
		t.Errorf("%d words, want %d", len(got), len(want))
	}
	if len(words.slots) <= firstSlots {
		t.Errorf("the table has not grown: %d slots", len(words.slots))
	}
	words.reset()
	if got := contents(&words); len(got) != 0 {
		t.Errorf("%d words are left", len(got))
	}
}

func TestTooManyWordsAreRefused(t *testing.T) {
	words := newTable()
	words.used = maxDifferent
	if err := addText(&words, "new"); err == nil || !strings.Contains(err.Error(), "different words") {
		t.Errorf("got %v", err)
	}
}
