package main

import "testing"

func TestThePointIsPutInAndZeroHasNoSign(t *testing.T) {
	for _, test := range []struct {
		digits   string
		scale    int
		negative bool
		want     string
	}{
		{"0", 0, true, "0"},
		{"0", 2, true, "0.00"},
		{"5", 2, true, "-0.05"},
		{"150", 2, false, "1.50"},
		{"0150", 2, false, "1.50"},
		{"15", 2, false, "0.15"},
		{"150", 0, true, "-150"},
		{"1", 18, false, "0.000000000000000001"},
	} {
		if got := string(appendScaled(nil, []byte(test.digits), test.scale, test.negative)); got != test.want {
			t.Errorf("%s at %d: got %s, want %s", test.digits, test.scale, got, test.want)
		}
	}
}

func TestMeansRoundHalfToEven(t *testing.T) {
	for _, test := range []struct {
		sum   int128
		count uint64
		scale uint8
		want  string
	}{
		{int128From(1), 3, 0, "0.333333"},
		{int128From(2), 3, 0, "0.666667"},
		{int128From(-2), 3, 0, "-0.666667"},
		{int128From(1), 128, 0, "0.007812"},
		{int128From(3), 128, 0, "0.023438"},
		{int128From(-1), 10_000_000, 0, "0.000000"},
		{int128From(400), 2, 2, "2.00000000"},
		{int128From(19_999_999), 10_000_000, 0, "2.000000"},
		{int128{1<<63 - 1, 1<<64 - 1}, 1, 18, "170141183460469231731.687303715884105727000000"},
		{int128{-1 << 63, 0}, 1, 0, "-170141183460469231731687303715884105728.000000"},
	} {
		var r renderer
		r.mean(&columnState{sum: test.sum, count: test.count, scale: test.scale})
		if string(r.line) != test.want {
			t.Errorf("%v / %d: got %s, want %s", test.sum, test.count, r.line, test.want)
		}
	}
}

func TestFieldsAreQuotedOnlyWhereNeeded(t *testing.T) {
	for _, test := range []struct {
		field      string
		onlyColumn bool
		want       string
	}{
		{"a b;c", false, "a b;c"},
		{"a,b", false, `"a,b"`},
		{`a"b`, false, `"a""b"`},
		{"a\rb", true, "\"a\rb\""},
		{"", false, ""},
		{"", true, `""`},
	} {
		if got := string(appendCSVField(nil, []byte(test.field), test.onlyColumn)); got != test.want {
			t.Errorf("%q: got %s, want %s", test.field, got, test.want)
		}
	}
}

func TestJSONStringsEscapeControlCharacters(t *testing.T) {
	const text, want = "a\"\\/\n\r\t\b\f\x01\x1f\x7fé", `"a\"\\/\n\r\t\b\f\u0001\u001f` + "\x7fé\""
	if got := string(appendJSONString(nil, []byte(text))); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
