package main

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// scannedRecords gives the field ends of each record, by the scan.
func scannedRecords(text []byte) (records [][]uint32, irregular bool) {
	const before = "\",\n" // anything
	buffer := slices.Concat([]byte(before), text, bytes.Repeat([]byte{'"'}, chunkBytes))
	var index recordIndex
	index.scan(buffer, len(before), len(before)+len(text), ',')
	first := uint32(0)
	for _, last := range index.recordEnds {
		var ends []uint32
		for _, end := range index.fieldEnds[first:last] {
			ends = append(ends, end-uint32(len(before)))
		}
		records = append(records, ends)
		first = last
	}
	return records, index.irregular
}

// exactRecords gives the same by the exact parser, one record after the other.
func exactRecords(text []byte) (records [][]uint32) {
	for at := 0; at < len(text); {
		ends, length, how := exactRecord(text[at:], false, ',', nil)
		if how != wellFormed {
			break
		}
		for i := range ends {
			ends[i] += uint32(at)
		}
		at += length
		// The scan leaves the CR in front of the line feed to its caller.
		ends[len(ends)-1] = uint32(at - 1)
		records = append(records, ends)
	}
	return records
}

func TestTheScanNeverDisagreesWithTheExactParser(t *testing.T) {
	pieces := []string{
		",", "\n", "\r\n", "\r", `"`, `""`, `"a,b"`, "\"x\ny\"", "abc", "1.5", "é",
		"a long field that fills most of one chunk of sixty-four",
	}
	random := rand.New(rand.NewPCG(1, 2))
	regular, seen := 0, 0
	for round := range 20_000 {
		var text []byte
		// Rounds without lone quotes get long; the others break early.
		choices := pieces
		if round%2 == 1 {
			choices = pieces[6:]
		}
		for range random.IntN(40) {
			text = append(text, choices[random.IntN(len(choices))]...)
			if round%2 == 1 {
				text = append(text, ",,,\n"[random.IntN(4)])
			}
		}
		found, irregular := scannedRecords(text)
		expected := exactRecords(text)
		if len(found) > len(expected) || !irregular && len(found) != len(expected) {
			t.Fatalf("%q: %d records, want %d", text, len(found), len(expected))
		}
		for i := range found {
			if !slices.Equal(found[i], expected[i]) {
				t.Fatalf("%q: record %d: got %v, want %v", text, i, found[i], expected[i])
			}
		}
		if !irregular {
			regular++
		}
		seen += len(found)
	}
	if regular < 10_000 || seen < 50_000 {
		t.Errorf("%d regular texts, %d records: the test must test something", regular, seen)
	}
}

func TestMasksSayWhatEachByteIs(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	const alphabet = ",\n\"a\xff\x80,;"
	text := make([]byte, 37*chunkBytes)
	found := make([]masks, 37)
	for range 200 {
		for i := range text {
			text[i] = alphabet[random.IntN(len(alphabet))]
		}
		findMasks(found, text, ',')
		for i, char := range text {
			chunk, bit := found[i/chunkBytes], uint(i%chunkBytes)
			got := [4]bool{chunk.delimiter>>bit&1 == 1, chunk.lineFeed>>bit&1 == 1, chunk.quote>>bit&1 == 1, chunk.high>>bit&1 == 1}
			want := [4]bool{char == ',', char == '\n', char == '"', char >= 0x80}
			if got != want {
				t.Fatalf("byte %d, %q: got %v, want %v", i, char, got, want)
			}
		}
	}
}
