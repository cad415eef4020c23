package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// wireName is a name for tests.
func wireName(t testing.TB, text string) name {
	t.Helper()
	parsed, err := parseName(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return parsed
}

func TestNamesOfTexts(t *testing.T) {
	for text, want := range map[string]name{
		".":             root,
		"a":             "\x01a\x00",
		"www.Example.":  "\x03www\x07Example\x00",
		`a\.b.c.`:       "\x03a.b\x01c\x00",
		`\000\255.x.`:   "\x02\x00\xff\x01x\x00",
		`sp\032ace.`:    "\x06sp ace\x00",
		`back\\slash\@`: "\x0bback\\slash@\x00",
	} {
		if got, err := parseName(text); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestBadNamesAreRefused(t *testing.T) {
	for text, want := range map[string]error{
		"":                                   errNoLabel,
		"a..b.":                              errNoLabel,
		".a":                                 errNoLabel,
		"..":                                 errNoLabel,
		strings.Repeat("x", 64) + ".":        errLongLabel,
		"a." + strings.Repeat("x", 64):       errLongLabel,
		strings.Repeat("x.", 128):            errLongName,
		`a\300.`:                             errEscape,
		`a\12`:                               errEscape,
		`a\`:                                 errEscape,
		strings.Repeat("abcdefg.", 32) + "a": errLongName,
	} {
		if got, err := parseName(text); !errors.Is(err, want) {
			t.Errorf("%s: got %q, %v, want %v", text, got, err, want)
		}
	}
	if _, err := parseName(strings.Repeat("x.", 127)); err != nil {
		t.Errorf("a name of 255 bytes: %v", err)
	}
}

func TestNamesAsText(t *testing.T) {
	for _, text := range []string{".", "www.example.", `a\.b.\"\(\)\;\@\$\\.`, `\000\032\127\255.`} {
		if got := wireName(t, text).String(); got != text {
			t.Errorf("got %s, want %s", got, text)
		}
	}
}

func TestPartsOfNames(t *testing.T) {
	n := wireName(t, "a.b.example.")
	if n.labels() != 3 || n.last(2) != wireName(t, "b.example.") || n.last(0) != root || n.parent().parent() != wireName(t, "example.") {
		t.Errorf("labels %d, last %q", n.labels(), n.last(2))
	}
	for zone, want := range map[string]bool{".": true, "example.": true, "a.b.example.": true, "c.b.example.": false, "ample.": false, "x.a.b.example.": false} {
		if n.isUnder(wireName(t, zone)) != want {
			t.Errorf("under %s: not %v", zone, want)
		}
	}
	if wireName(t, "WWW.ExamplE.").lower() != wireName(t, "www.example.") {
		t.Error("not in lower case")
	}
}

func TestLoweringEightBytesAtOnce(t *testing.T) {
	for c := range 256 {
		want := byte(c)
		if c >= 'A' && c <= 'Z' {
			want += 'a' - 'A'
		}
		for shift := 0; shift < 64; shift += 8 {
			if got := lowerWord(uint64(c) << shift); got != uint64(want)<<shift {
				t.Fatalf("%#x at %d: got %#x", c, shift, got)
			}
		}
	}
}

func TestPointersLeadBackOnly(t *testing.T) {
	header := make([]byte, headerBytes)
	for _, test := range []struct {
		what, body string
		at         int
		want       string
		err        error
	}{
		{"plain", "\x01a\x00", 12, "\x01a\x00", nil},
		{"pointer", "\x01a\x00\x01b\xc0\x0c", 15, "\x01b\x01a\x00", nil},
		{"pointer to pointer", "\x01a\x00\x01b\xc0\x0c\xc0\x0f", 19, "\x01b\x01a\x00", nil},
		{"to itself", "\xc0\x0c", 12, "", errPointer},
		{"forward", "\xc0\x0e\x01a\x00", 12, "", errPointer},
		{"into its own label", "\x01a\xc0\x0c", 12, "", errPointer},
		{"circle", "\xc0\x0e\xc0\x0c", 14, "", errPointer},
		{"into the header", "\xc0\x02", 12, "", errPointer},
		{"cut", "\xc0", 12, "", errShort},
		{"label cut", "\x05abc", 12, "", errShort},
		{"no end", "\x01a", 12, "", errShort},
		{"label type", "\x41a", 12, "", errLabelType},
		{"too long", strings.Repeat("\x3f"+strings.Repeat("x", 63), 4) + "\x00", 12, "", errLongName},
	} {
		message := append(bytes.Clone(header), test.body...)
		got, _, err := readName(message, test.at, nil)
		if !errors.Is(err, test.err) || err == nil && string(got) != test.want {
			t.Errorf("%s: got %q, %v, want %q, %v", test.what, got, err, test.want, test.err)
		}
	}
}

// written is a message with records of most types.
func written(t testing.TB) ([]byte, question) {
	q := question{wireName(t, "www.example.test."), typeA}
	w := newWriter(q)
	other := []byte(wireName(t, "Mail.Example.test."))
	w.record(q.name, typeA, 60, []byte{10, 0, 0, 1})
	w.record(q.name, typeCNAME, 60, other)
	w.record(q.name, typeMX, 60, append([]byte{0, 10}, other...))
	w.record(q.name, typeSRV, 60, append([]byte{0, 1, 0, 2, 0, 3}, other...))
	w.record(q.name, typeTXT, 60, []byte("\x03one\x00"))
	w.record(wireName(t, "example.test."), typeSOA, 60, append(append(bytes.Clone(other), other...), make([]byte, 20)...))
	w.record(q.name, 65280, 60, []byte{1, 2, 3})
	w.message[5], w.message[7] = 1, 7
	return w.message, q
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	packet, q := written(t)
	m, err := parseMessage(packet)
	if err != nil {
		t.Fatal(err)
	}
	if m.question != q || len(m.answer) != 7 {
		t.Fatalf("got %+v", m)
	}
	if got := name(m.answer[1].data); got != wireName(t, "Mail.example.test.") { // the zone as the question spells it
		t.Errorf("CNAME: got %q", got)
	}
	if got := m.answer[5].owner; got != wireName(t, "example.test.") {
		t.Errorf("owner of SOA: got %q", got)
	}
	if count := bytes.Count(packet, []byte("\x07Example\x04test\x00")); count != 1 { // in SRV, which is not compressed
		t.Errorf("the zone is written out %d times: %q", count, packet)
	}
}

func TestDamagedMessagesAreNoHarm(t *testing.T) {
	packet, _ := written(t)
	random := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		damaged := bytes.Clone(packet)
		for range 1 + random.IntN(3) {
			damaged[random.IntN(len(damaged))] = byte(random.IntN(256))
		}
		damaged = damaged[:len(damaged)-random.IntN(2)*random.IntN(len(damaged))]
		m, err := parseMessage(damaged)
		if err == nil && len(m.answer) > len(damaged)/11 {
			t.Fatalf("%d records in %d bytes", len(m.answer), len(damaged))
		}
	}
}

func TestDataThatDoesNotFitIsRefused(t *testing.T) {
	for _, test := range []struct {
		qtype uint16
		data  string
	}{
		{typeA, "\x01\x02\x03"}, {typeA, "\x01\x02\x03\x04\x05"}, {typeAAAA, "\x01"}, {typeTXT, ""}, {typeTXT, "\x05abc"},
		{typeCNAME, ""}, {typeCNAME, "\x01a\x00x"}, {typeMX, "\x00"}, {typeMX, "\x00\x01"}, {typeSRV, "\x00\x01\x00\x01\x00"},
		{typeSOA, "\x00\x00" + strings.Repeat("x", 19)}, {typeNS, "\x05abc"},
	} {
		message := append(make([]byte, headerBytes), test.data...)
		if _, err := appendData(nil, test.qtype, message, headerBytes); err == nil {
			t.Errorf("type %d: %q is taken", test.qtype, test.data)
		}
	}
}
