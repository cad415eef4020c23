package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

type scored struct {
	member string
	score  float64
}

func compareScored(a, b scored) int {
	switch {
	case a.score < b.score:
		return -1
	case a.score > b.score:
		return 1
	}
	return strings.Compare(a.member, b.member)
}

func TestSortedSetAgainstSlice(t *testing.T) {
	m := newTestArena(t)
	rng := rand.New(rand.NewPCG(7, 8))
	var z zset
	model := map[string]float64{}
	for turn := range 30_000 {
		member := fmt.Sprint(rng.IntN(2000))
		score := float64(rng.IntN(50))
		switch rng.IntN(4) {
		case 0:
			_, known := model[member]
			if z.remove(m, []byte(member)) != known {
				t.Fatalf("turn %d: removing %s", turn, member)
			}
			delete(model, member)
		default:
			z.put(m, []byte(member), score, zaddOptions{})
			model[member] = score
		}
		if turn%1000 == 999 {
			checkSortedSet(t, m, &z, model)
		}
	}
	z.drop(m)
	if m.usedBytes != 0 {
		t.Errorf("%d bytes are left", m.usedBytes)
	}
}

func checkSortedSet(t *testing.T, m *arena, z *zset, model map[string]float64) {
	t.Helper()
	var want []scored
	for member, score := range model {
		want = append(want, scored{member, score})
	}
	slices.SortFunc(want, compareScored)
	var got []scored
	for node := range z.from(m, 0) {
		got = append(got, scored{string(m.memberOf(node)), m.score(node)})
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%d members, expected %d, or another order", len(got), len(want))
	}
	for rank, s := range want {
		if node := z.at(m, int64(rank)); string(m.memberOf(node)) != s.member {
			t.Fatalf("rank %d: %s, expected %s", rank, m.memberOf(node), s.member)
		}
		if got := z.rank(m, z.members.get(m, []byte(s.member))); got != int64(rank) {
			t.Fatalf("rank of %s: %d, expected %d", s.member, got, rank)
		}
	}
	at := len(want)
	for node := z.tail; node != 0; node = ref(*m.word(node, wordBefore)) {
		if at--; string(m.memberOf(node)) != want[at].member {
			t.Fatalf("backwards at %d: %s, expected %s", at, m.memberOf(node), want[at].member)
		}
	}
	lowest, highest := scoreBound{10, true}, scoreBound{20, false}
	inside := slices.DeleteFunc(want, func(s scored) bool { return s.score <= 10 || s.score > 20 })
	if found := z.between(m, lowest, highest, 0, -1, nil); len(found) != len(inside) {
		t.Fatalf("%d between (10 and 20, expected %d", len(found), len(inside))
	}
}

func TestBounds(t *testing.T) {
	for text, want := range map[string]scoreBound{
		"1.5": {1.5, false}, "(1.5": {1.5, true}, "": {0, false}, "(": {0, true}, " 3": {3, false},
	} {
		if got, ok := parseBound([]byte(text)); !ok || got != want {
			t.Errorf("%q: %v, %t", text, got, ok)
		}
	}
	for _, text := range []string{"abc", "(abc", "nan", "1 ", "((1"} {
		if got, ok := parseBound([]byte(text)); ok {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}
