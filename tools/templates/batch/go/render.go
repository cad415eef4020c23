package main

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
)

// ranked is a word of the answer.
type ranked struct {
	count uint64
	word  []byte
}

// compare orders by count, the largest first, then by the bytes of the word.
func compare(a, b ranked) int {
	return cmp.Or(cmp.Compare(b.count, a.count), bytes.Compare(a.word, b.word))
}

// mostFrequent lists the best words in order. It sorts twice as many as are asked
// for whenever so many have come together, and forgets the worse half: the table
// may hold millions of words, and nearly all of them are turned away by one look.
func mostFrequent(words *table, top int) []ranked {
	var best []ranked
	least := uint64(1) // what a word must have to be looked at
	for index := range words.slots {
		found := &words.slots[index]
		if found.count < least {
			continue
		}
		best = append(best, ranked{found.count, words.word(found)})
		if len(best) == 2*top {
			slices.SortFunc(best, compare)
			best = best[:top]
			least = best[top-1].count
		}
	}
	slices.SortFunc(best, compare)
	return best[:min(top, len(best))]
}

// render appends the answer: a line for each of the most frequent words.
func render(answer []byte, words *table, top int) []byte {
	for _, one := range mostFrequent(words, top) {
		answer = append(answer, one.word...)
		answer = append(answer, ' ')
		answer = strconv.AppendUint(answer, one.count, 10)
		answer = append(answer, '\n')
	}
	return answer
}
