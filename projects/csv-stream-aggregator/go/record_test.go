package main

import (
	"slices"
	"testing"
)

func TestRecordsByTheLetter(t *testing.T) {
	for _, test := range []struct {
		text   string
		fields []string
		rest   string
	}{
		{"a,b\nc", []string{"a", "b"}, "c"},
		{"a,b\r\nc", []string{"a", "b"}, "c"},
		{"a,b", []string{"a", "b"}, ""},
		{"a,\r", []string{"a", "\r"}, ""},
		{"x\ry,\n", []string{"x\ry", ""}, ""},
		{"x\r\r\n", []string{"x\r"}, ""},
		{"\"a,b\",\"\"\n", []string{"a,b", ""}, ""},
		{"\"a\r\nb\"\r\n", []string{"a\r\nb"}, ""},
		{"\"say \"\"hi\"\"\",1", []string{`say "hi"`, "1"}, ""},
		{"\"\"\"\"\n", []string{`"`}, ""},
		{"5\" disk,a\"\"b\n", []string{`5" disk`, `a""b`}, ""},
		{"\n\n", []string{""}, "\n"},
	} {
		ends, next, how := exactRecord([]byte(test.text), true, ',', nil)
		row := record{[]byte(test.text), 0, ends}
		var fields []string
		var scratch []byte
		for column := range ends {
			fields = append(fields, string(row.field(column, &scratch)))
		}
		if how != wellFormed || !slices.Equal(fields, test.fields) || test.text[next:] != test.rest {
			t.Errorf("%q: got %q, rest %q, %v", test.text, fields, test.text[next:], how)
		}
	}
}

func TestBrokenQuotesResyncAtTheNextLineEnd(t *testing.T) {
	for _, test := range []struct {
		text, rest string
		want       outcome
	}{
		{"\"a\"b,\"c\nd\",e\nf", "d\",e\nf", textAfterQuote},
		{"x,\"a\" \r\ny", "y", textAfterQuote},
		{"\"a\"\r", "", textAfterQuote},
		{"\"a\"\rb\n", "", textAfterQuote},
		{"x,\"abc\n", "x,\"abc\n", unterminatedQuote},
		{"\"\"\"", "\"\"\"", unterminatedQuote},
	} {
		_, next, how := exactRecord([]byte(test.text), true, ',', nil)
		if how != test.want || test.text[next:] != test.rest {
			t.Errorf("%q: got %v, rest %q", test.text, how, test.text[next:])
		}
	}
}

func TestNoCutTextIsTakenForARecord(t *testing.T) {
	const text = "a\r,\"b\"\"c\r\n\",\"d\"\r\n"
	for length := range len(text) {
		if _, _, how := exactRecord([]byte(text[:length]), false, ',', nil); how != needsMoreText {
			t.Errorf("%q: got %v", text[:length], how)
		}
	}
}
