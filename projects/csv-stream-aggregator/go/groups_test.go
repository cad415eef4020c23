package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func (t *groupTable) find(key []byte) (int, error) {
	var p probe
	t.start(&p, key)
	return t.finish(&p, key, t.isPromising(&p))
}

func TestKeysOfAnyLengthAreToldApart(t *testing.T) {
	table := newGroupTable(1000)
	table.reset(0)
	for length := range 40 {
		for changed := range length + 1 {
			key := bytes.Repeat([]byte{'k'}, length)
			if changed < length {
				key[changed]++
			}
			want := table.count
			for range 2 {
				if got, err := table.find(key); got != want || err != nil {
					t.Fatalf("%q: got %d, %v, want %d", key, got, err, want)
				}
			}
		}
	}
}

func TestKeysOfSeveralColumnsNeverCollideAndSortByField(t *testing.T) {
	rows := [][]string{{"b", "1"}, {"a", "2"}, {"ab", ""}, {"a", "b"}, {"", "ab"}, {"a\x00", "0"}}
	table := newGroupTable(100)
	table.reset(0)
	for number, row := range rows {
		text := row[0] + "," + row[1]
		var scratch []byte
		ends := []uint32{uint32(len(row[0])), uint32(len(text))}
		key := appendKey(nil, &record{[]byte(text), 0, ends}, []int{0, 1}, &scratch)
		for range 2 {
			if got, err := table.find(key); got != number || err != nil {
				t.Fatalf("%q: got %d, %v, want %d", row, got, err, number)
			}
		}
	}
	var sorted [][]string
	for _, number := range table.sorted(2, nil) {
		first, rest := nextKeyField(table.key(table.group(int(number))), false)
		second, _ := nextKeyField(rest, true)
		sorted = append(sorted, []string{string(first), string(second)})
	}
	slices.SortFunc(rows, func(a, b []string) int { return slices.Compare(a, b) })
	if fmt.Sprint(sorted) != fmt.Sprint(rows) {
		t.Errorf("got %q, want %q", sorted, rows)
	}
}

func TestGroupsSurviveGrowthAndEndAtTheLimit(t *testing.T) {
	const count = 10_000
	table := newGroupTable(count)
	key := func(number int) []byte { return fmt.Appendf(nil, "%d%s", number, strings.Repeat("x", number%300)) }
	for range 2 {
		table.reset(1)
		for number := range count {
			if got, err := table.find(key(number)); got != number || err != nil {
				t.Fatalf("%d: got %d, %v", number, got, err)
			}
			table.addRow(number)[0].count += uint64(number)
		}
		for number := range count {
			g, state := table.group(number), table.states(number)[0]
			if string(table.key(g)) != string(key(number)) || g.rows != 1 || state.count != uint64(number) {
				t.Fatalf("%d: got %q, %+v, %+v", number, table.key(g), g, state)
			}
		}
		if _, err := table.find([]byte("one more")); err == nil {
			t.Error("one more group than allowed")
		}
	}
}
