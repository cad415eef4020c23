package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestTheBestAreFoundWhateverTheirNumber(t *testing.T) {
	words := newTable()
	for number := range 1000 {
		for range 1 + number%10 {
			if err := addText(&words, fmt.Sprintf("w%03d", number)); err != nil {
				t.Fatal(err)
			}
		}
	}
	var lines []string
	for count := 10; count > 0; count-- {
		for number := count - 1; number < 1000; number += 10 {
			lines = append(lines, fmt.Sprintf("w%03d %d\n", number, count))
		}
	}
	for _, top := range []int{1, 2, 99, 100, 101, 500, 999, 1000, 1001, maxTop} {
		want := strings.Join(lines[:min(top, len(lines))], "")
		if got := string(render(nil, &words, top)); got != want {
			t.Errorf("top %d: got %.60q, want %.60q", top, got, want)
		}
	}
}
