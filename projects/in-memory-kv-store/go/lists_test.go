package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func listContent(m *arena, l *list) (found []string) {
	for value := range l.from(m, 0) {
		found = append(found, string(value))
	}
	return found
}

func TestElementsReadFromBothEnds(t *testing.T) {
	for _, length := range []int{0, 1, 126, 127, 128, 129, 16_000, 16_383, 16_384, 3 << 20} {
		value := []byte(strings.Repeat("x", length))
		block := make([]byte, elementBytes(length))
		putElement(block, value)
		forward, next := elementAt(block, 0)
		backward, start := elementBefore(block, len(block))
		if string(forward) != string(value) || string(backward) != string(value) || next != len(block) || start != 0 {
			t.Errorf("length %d: %d and %d bytes, next %d of %d, start %d", length, len(forward), len(backward), next, len(block), start)
		}
	}
}

func TestListAgainstSlice(t *testing.T) {
	m := newTestArena(t)
	rng := rand.New(rand.NewPCG(5, 6))
	var l list
	var model []string
	value := func() string {
		text := fmt.Sprint(rng.IntN(50))
		if rng.IntN(20) == 0 {
			return strings.Repeat(text, rng.IntN(3000))
		}
		return text
	}
	for turn := range 60_000 {
		text := value()
		switch action := rng.IntN(14); {
		case action < 3:
			l.push(m, []byte(text), true)
			model = slices.Insert(model, 0, text)
		case action < 6:
			l.push(m, []byte(text), false)
			model = append(model, text)
		case len(model) == 0:
		case action == 6:
			l.removeEnd(m, true)
			model = model[1:]
		case action == 7:
			l.removeEnd(m, false)
			model = model[:len(model)-1]
		case action == 8:
			i := rng.IntN(len(model))
			l.insertAt(m, l.locate(m, int64(i)), []byte(text))
			model = slices.Insert(model, i, text)
		case action == 9:
			i := rng.IntN(len(model))
			l.replace(m, l.locate(m, int64(i)), []byte(text))
			model[i] = text
		case action == 10:
			i := rng.IntN(len(model))
			l.removeAt(m, l.locate(m, int64(i)))
			model = slices.Delete(model, i, i+1)
		case action == 11 && rng.IntN(20) == 0:
			limit := 1 + rng.IntN(3)
			l.removeEqual(m, []byte(text), uint64(limit))
			model = slices.DeleteFunc(model, func(other string) bool {
				limit--
				if other != text {
					limit++
				}
				return other == text && limit >= 0
			})
		case action == 12 && rng.IntN(100) == 0:
			left, right := rng.IntN(len(model)/2+1), rng.IntN(len(model)/2+1)
			l.removeMany(m, int64(left), true)
			l.removeMany(m, int64(right), false)
			model = model[left : len(model)-right]
		case action == 13 && rng.IntN(20) == 0:
			slices.Reverse(model)
			limit := 2
			model = slices.DeleteFunc(model, func(other string) bool {
				if other == text {
					limit--
				}
				return other == text && limit >= 0
			})
			slices.Reverse(model)
			l.removeEqualFromTail(m, []byte(text), 2)
		}
		if l.count != int64(len(model)) {
			t.Fatalf("turn %d: %d elements, expected %d", turn, l.count, len(model))
		}
		if turn%500 == 0 && !slices.Equal(listContent(m, &l), model) {
			t.Fatalf("turn %d: the contents differ", turn)
		}
		if len(model) > 0 && (string(l.peek(m, true)) != model[0] || string(l.peek(m, false)) != model[len(model)-1]) {
			t.Fatalf("turn %d: the ends differ", turn)
		}
	}
	l.drop(m)
	if m.usedBytes != 0 {
		t.Errorf("%d bytes are left", m.usedBytes)
	}
}

func TestQueueStaysSmall(t *testing.T) {
	m := newTestArena(t)
	var l list
	for turn := range 100_000 {
		l.push(m, []byte("element"), turn%2 == 0)
		if turn > 100 {
			l.removeEnd(m, turn%2 == 1)
		}
	}
	if m.usedBytes > 3*nodeBytes {
		t.Errorf("101 elements take %d bytes", m.usedBytes)
	}
}

func TestRanges(t *testing.T) {
	for _, test := range [][5]int64{
		{0, -1, 5, 0, 5}, {1, 3, 5, 1, 3}, {-3, -1, 5, 2, 3}, {-100, 100, 5, 0, 5}, {3, 1, 5, 0, 0}, {5, 10, 5, 0, 0}, {0, -6, 5, 0, 0},
	} {
		if first, length := clampRange(test[0], test[1], test[2]); first != test[3] || length != test[4] {
			t.Errorf("%v: %d, %d", test, first, length)
		}
	}
}
