package main

import (
	"strings"
	"testing"
)

func canonical(t *testing.T, q question, a *answer) string {
	t.Helper()
	b, _ := encode(q, a)
	return strings.TrimSuffix(string(appendCanonical(nil, q, b)), "\n")
}

func TestCanonicalLines(t *testing.T) {
	n := wireName(t, "www.example.")
	target := []byte(wireName(t, "Web.Example."))
	set := func(qtype uint16, data ...string) *answer {
		s := rrset{owner: n, qtype: qtype, ttl: 60}
		for _, one := range data {
			s.data = append(s.data, []byte(one))
		}
		return &answer{records: []rrset{s}}
	}
	for _, test := range []struct {
		qtype uint16
		a     *answer
		want  string
	}{
		{typeA, set(typeA, "\x0a\x00\x00\x0a", "\x0a\x00\x00\x09"), "A NOERROR www.example. A 10.0.0.9 ; www.example. A 10.0.0.10"},
		{typeAAAA, set(typeAAAA, "\x20\x01\x0d\xb8"+strings.Repeat("\x00", 11)+"\x01"), "AAAA NOERROR www.example. AAAA 2001:db8::1"},
		{typeMX, set(typeMX, "\x00\x0a"+string(target)), "MX NOERROR www.example. MX 10 web.example."},
		{typeSRV, set(typeSRV, "\x00\x01\x00\x02\x13\xc4"+string(target)), "SRV NOERROR www.example. SRV 1 2 5060 web.example."},
		{typeTXT, set(typeTXT, "\x05a\"\\\x00\xff\x00"), `TXT NOERROR www.example. TXT "a\"\\\000\255" ""`},
		{typeSOA, set(typeSOA, string(target)+"\x00"+strings.Repeat("\x00\x00\x00\x07", 5)), "SOA NOERROR www.example. SOA web.example. . 7 7 7 7 7"},
		{65280, set(65280, "\x0a\xff"), `TYPE65280 NOERROR www.example. TYPE65280 \# 2 0aff`},
		{65281, set(65281, ""), `TYPE65281 NOERROR www.example. TYPE65281 \# 0`},
		{typeCNAME, set(typeCNAME, string(target)), "CNAME NOERROR www.example. CNAME web.example."},
		{typeA, &answer{rcode: rcodeNXDomain}, "A NXDOMAIN -"},
		{typeA, &answer{rcode: rcodeServFail}, "A SERVFAIL -"},
	} {
		if got := canonical(t, question{n, test.qtype}, test.a); got != "www.example. "+test.want {
			t.Errorf("got  %s\nwant www.example. %s", got, test.want)
		}
	}
}

func TestChainsAreShownWithoutDNAME(t *testing.T) {
	n, target := wireName(t, "www.old."), wireName(t, "www.new.")
	a := &answer{records: []rrset{
		{wireName(t, "old."), typeDNAME, 60, [][]byte{[]byte(wireName(t, "new."))}},
		{n, typeCNAME, 60, [][]byte{[]byte(target)}},
		{target, typeA, 60, [][]byte{{10, 0, 0, 1}}},
	}}
	want := "www.old. A NOERROR www.old. CNAME www.new. ; www.new. A 10.0.0.1"
	if got := canonical(t, question{n, typeA}, a); got != want {
		t.Errorf("got %s", got)
	}
}

func TestTypes(t *testing.T) {
	for text, want := range map[string]uint16{"a": typeA, "AAAA": typeAAAA, "TYPE65280": 65280, "type1": typeA, "Srv": typeSRV} {
		if got, ok := parseType(text); !ok || got != want {
			t.Errorf("%s: got %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "BOGUS", "TYPE", "TYPE65536", "TYPE-1", "12"} {
		if got, ok := parseType(text); ok {
			t.Errorf("%s: got %d", text, got)
		}
	}
}

func TestQuestionsOfAFile(t *testing.T) {
	questions, err := parseQuestions("q.txt", "WWW.example A\r\n\n; comment\n_sip._tcp.x. type33\n")
	if err != nil || len(questions) != 2 || questions[0] != (question{wireName(t, "www.example."), typeA}) || questions[1].qtype != typeSRV {
		t.Errorf("got %v, %v", questions, err)
	}
	long := strings.Repeat("x", 64)
	for text, want := range map[string]string{
		"a. A\n" + long + ". A\n": "q.txt: line 2: label longer than 63 bytes",
		"a.\n":                    "q.txt: line 1: not a name and a type",
		"a. A now\n":              "q.txt: line 1: not a name and a type",
		"a. BOGUS\n":              `q.txt: line 1: unknown type: "BOGUS"`,
		"a..b. A\n":               "q.txt: line 1: empty label",
	} {
		if _, err := parseQuestions("q.txt", text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}
