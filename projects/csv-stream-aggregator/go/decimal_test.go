package main

import "testing"

func TestEveryShapeOfNumber(t *testing.T) {
	for _, test := range []struct {
		text   string
		want   decimal
		status numberStatus
	}{
		{"", decimal{}, numberEmpty},
		{"0", decimal{0, 0}, numberOK},
		{"-0.0", decimal{0, 1}, numberOK},
		{"1.", decimal{1, 0}, numberOK},
		{".5", decimal{5, 1}, numberOK},
		{"-.5", decimal{-5, 1}, numberOK},
		{"+.5", decimal{5, 1}, numberOK},
		{"007", decimal{7, 0}, numberOK},
		{"1.50", decimal{150, 2}, numberOK},
		{"-12345.67", decimal{-1234567, 2}, numberOK},
		{"12345678", decimal{12345678, 0}, numberOK},
		{"123456789", decimal{123456789, 0}, numberOK},
		{"1e3", decimal{1000, 0}, numberOK},
		{"1.5e1", decimal{15, 0}, numberOK},
		{"1.5e-3", decimal{15, 4}, numberOK},
		{"1e17", decimal{100000000000000000, 0}, numberOK},
		{"0e999999999999999999999999", decimal{0, 0}, numberOK},
		{"1e-18", decimal{1, 18}, numberOK},
		{"999999999999999999", decimal{999999999999999999, 0}, numberOK},
		{"00000000000000000000000000.5", decimal{5, 1}, numberOK},
		{"1e18", decimal{}, numberOutOfRange},
		{"1000000000000000000", decimal{}, numberOutOfRange},
		{"1e-19", decimal{}, numberOutOfRange},
		{"0.0000000000000000000", decimal{}, numberOutOfRange},
		{"1e99999999999999999999", decimal{}, numberOutOfRange},
		{"1e-99999999999999999999", decimal{}, numberOutOfRange},
		{".", decimal{}, numberMalformed},
		{"-", decimal{}, numberMalformed},
		{"-.", decimal{}, numberMalformed},
		{"+-1", decimal{}, numberMalformed},
		{"--1", decimal{}, numberMalformed},
		{"1.2.3", decimal{}, numberMalformed},
		{"1e", decimal{}, numberMalformed},
		{"1e+", decimal{}, numberMalformed},
		{"e5", decimal{}, numberMalformed},
		{" 1", decimal{}, numberMalformed},
		{"1 ", decimal{}, numberMalformed},
		{"1/", decimal{}, numberMalformed},
		{"1:", decimal{}, numberMalformed},
		{"NaN", decimal{}, numberMalformed},
		{"0x10", decimal{}, numberMalformed},
		{"1_000", decimal{}, numberMalformed},
		{"\uff11", decimal{}, numberMalformed},
	} {
		if got, status := parseDecimal([]byte(test.text)); got != test.want || status != test.status {
			t.Errorf("%q: got %v %v, want %v %v", test.text, got, status, test.want, test.status)
		}
		for _, before := range []string{"", "12345678", "........", "9,9,9,9,9,"} {
			line := []byte(before + test.text)
			got, status := parseDecimalAt(line, len(before), len(line))
			if got != test.want || status != test.status {
				t.Errorf("%q behind %q: got %v %v, want %v %v", test.text, before, got, status, test.want, test.status)
			}
		}
	}
}

func TestOneWordAgreesWithTheGrammarOnAllShortTexts(t *testing.T) {
	const alphabet = "019.-+e/:"
	line := []byte("77777777......")
	var walk func(at int)
	walk = func(at int) {
		if at == len(line) {
			got, status := parseDecimalAt(line, 8, len(line))
			want, wantStatus := parseDecimal(line[8:])
			if got != want || status != wantStatus {
				t.Fatalf("%q: got %v %v, want %v %v", line[8:], got, status, want, wantStatus)
			}
			return
		}
		for _, char := range []byte(alphabet) {
			line[at] = char
			walk(at + 1)
		}
	}
	walk(8)
}

func TestOrderIsExactAcrossScales(t *testing.T) {
	const most = 999999999999999999
	for _, test := range []struct {
		left, right decimal
		want        int
	}{
		{decimal{150, 2}, decimal{2, 0}, -1},
		{decimal{-150, 2}, decimal{-2, 0}, 1},
		{decimal{150, 2}, decimal{15, 1}, 0},
		{decimal{-5, 1}, decimal{5, 1}, -1},
		{decimal{most, 18}, decimal{most, 0}, -1},
		{decimal{-most, 18}, decimal{-most, 0}, 1},
	} {
		if got := test.left.compare(test.right); got != test.want {
			t.Errorf("%v against %v: got %d, want %d", test.left, test.right, got, test.want)
		}
	}
}

func TestInt128EndsWhereItEnds(t *testing.T) {
	largest, smallest := int128{1<<63 - 1, 1<<64 - 1}, int128{-1 << 63, 0}
	one, minusOne := int128From(1), int128From(-1)
	for _, test := range []struct {
		name string
		ok   bool
		want bool
	}{
		{"largest + 1", second(largest.add(one)), false},
		{"smallest - 1", second(smallest.add(minusOne)), false},
		{"largest - 1", second(largest.add(minusOne)), true},
		{"smallest + largest", second(smallest.add(largest)), true},
		{"largest x 1", second(largest.scaleUp(0)), true},
		{"smallest x 1", second(smallest.scaleUp(0)), true},
		{"largest x 10", second(largest.scaleUp(1)), false},
		{"smallest x 10", second(smallest.scaleUp(1)), false},
		{"2^124 x 10", second(int128{1 << 60, 0}.scaleUp(1)), false},
	} {
		if test.ok != test.want {
			t.Errorf("%s: got %v", test.name, test.ok)
		}
	}
	if got, _ := int128From(-7).scaleUp(18); got.compare(int128{-1, uint64(1<<64 - 7_000_000_000_000_000_000)}) != 0 {
		t.Errorf("-7 x 10^18: got %v", got)
	}
}

func second(_ int128, ok bool) bool { return ok }
