package main

import (
	"strings"
	"testing"
)

// section reads records for tests: "owner ttl type data", with names, addresses or whole numbers as data.
func section(t testing.TB, lines string) (records []record) {
	t.Helper()
	for line := range strings.SplitSeq(lines, "|") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		r := record{owner: wireName(t, words[0]).lower(), class: classIN, ttl: 300}
		switch words[1] {
		case "A":
			r.qtype, r.data = typeA, []byte{10, 0, 0, words[2][0] - '0'}
		case "NS":
			r.qtype, r.data = typeNS, []byte(wireName(t, words[2]))
		case "CNAME":
			r.qtype, r.data = typeCNAME, []byte(wireName(t, words[2]))
		case "DNAME":
			r.qtype, r.data = typeDNAME, []byte(wireName(t, words[2]))
		case "SOA": // with a minimum of 60
			r.qtype, r.data = typeSOA, append(append([]byte{0, 0}, make([]byte, 19)...), 60)
		}
		records = append(records, r)
	}
	return records
}

// reading is what a response says to the question for an address.
func reading(t testing.TB, zone, asked string, m *message) (finding, bool) {
	t.Helper()
	o := defaultOptions()
	m.flags |= flagQR
	r := reader{message: m, zone: wireName(t, zone), question: question{wireName(t, asked), typeA}, settings: o}
	return r.read()
}

func TestDelegations(t *testing.T) {
	f, ok := reading(t, "test.", "www.example.test.", &message{
		authority:  section(t, "example.test. NS ns1.example.test. | example.test. NS ns.other. | example.test. NS Ns1.example.test."),
		additional: section(t, "ns1.example.test. A 1 | ns.other. A 2 | www.example.test. A 3"),
	})
	if !ok || f.cut == nil || f.cut.zone != wireName(t, "example.test.") || f.cut.labels != 2 || len(f.cut.servers) != 2 {
		t.Fatalf("got %+v, %v", f.cut, ok)
	}
	if len(f.cut.servers[0].addresses) != 1 || f.cut.servers[0].addresses[0].As4()[3] != 1 {
		t.Errorf("glue: got %v", f.cut.servers[0].addresses)
	}
	if len(f.cut.servers[1].addresses) != 0 {
		t.Error("glue of another zone is believed")
	}
}

func TestLameServers(t *testing.T) {
	for what, m := range map[string]*message{
		"upward":           {authority: section(t, "test. NS ns.test.")},
		"to itself":        {authority: section(t, "example.test. NS ns.example.test.")},
		"sideways":         {authority: section(t, "other.test. NS ns.other.test.")},
		"nothing":          {},
		"refused":          {rcode: rcodeRefused},
		"failed":           {rcode: rcodeServFail},
		"recursive":        {flags: flagRA, answer: section(t, "www.example.test. A 1")},
		"SOA of another":   {flags: flagAA, rcode: rcodeNXDomain, authority: section(t, "other. SOA")},
		"SOA of parent":    {flags: flagAA, rcode: rcodeNXDomain, authority: section(t, "test. SOA")},
		"two aliases":      {flags: flagAA, answer: section(t, "www.example.test. CNAME a. | www.example.test. CNAME b.")},
		"a refusal to say": {rcode: rcodeYXDomain},
	} {
		if f, ok := reading(t, "example.test.", "www.example.test.", m); ok {
			t.Errorf("%s: believed: %+v", what, f)
		}
	}
}

func TestAnswersOfAZone(t *testing.T) {
	f, ok := reading(t, "example.test.", "www.example.test.", &message{flags: flagAA, answer: section(t,
		"web.example.test. A 1 | www.example.test. CNAME Web.example.test. | web.example.test. A 2 | web.example.test. A 1 | bank. A 6")})
	if !ok || !f.complete || len(f.records) != 2 || f.rcode != rcodeNoError {
		t.Fatalf("got %+v, %v", f, ok)
	}
	if f.records[0].qtype != typeCNAME || len(f.records[1].data) != 2 || f.end != wireName(t, "web.example.test.") {
		t.Errorf("got %+v", f.records)
	}
}

func TestAliasesOutOfTheZoneAreNotFollowed(t *testing.T) {
	f, ok := reading(t, "example.test.", "www.example.test.", &message{flags: flagAA, answer: section(t,
		"www.example.test. CNAME www.victim. | www.victim. A 6")})
	if !ok || f.complete || len(f.records) != 1 || f.end != wireName(t, "www.victim.") {
		t.Errorf("got %+v, %v", f, ok)
	}
}

func TestNegativeAnswers(t *testing.T) {
	for rcode, lines := range map[uint16]string{rcodeNXDomain: "", rcodeNoError: ""} {
		f, ok := reading(t, "example.test.", "www.example.test.", &message{flags: flagAA, rcode: rcode,
			answer: section(t, lines), authority: section(t, "example.test. SOA")})
		if !ok || !f.complete || f.rcode != rcode || f.soa == nil || f.soa.ttl != 60 {
			t.Errorf("%d: got %+v, %v", rcode, f, ok)
		}
	}
	f, ok := reading(t, "example.test.", "www.example.test.", &message{flags: flagAA, rcode: rcodeNXDomain,
		answer: section(t, "www.example.test. CNAME none.example.test."), authority: section(t, "example.test. SOA")})
	if !ok || !f.complete || f.rcode != rcodeNXDomain || len(f.records) != 1 || f.end != wireName(t, "none.example.test.") {
		t.Errorf("behind an alias: got %+v, %v", f, ok)
	}
	f, ok = reading(t, "example.test.", "www.example.test.", &message{flags: flagAA})
	if _, ttl := encode(question{f.end, typeA}, &f.answer); !ok || !f.complete || ttl != 0 {
		t.Errorf("without SOA: got %+v, %v, kept for %d s", f, ok, ttl)
	}
}

func TestMovedSubtrees(t *testing.T) {
	f, ok := reading(t, "test.", "www.old.test.", &message{flags: flagAA, answer: section(t,
		"old.test. DNAME new.test. | www.old.test. CNAME lie.test. | www.new.test. A 1")})
	if !ok || !f.complete || len(f.records) != 3 {
		t.Fatalf("got %+v, %v", f, ok)
	}
	if target := name(f.records[1].data[0]); target != wireName(t, "www.new.test.") {
		t.Errorf("leads to %s", target)
	}
	long := strings.Repeat(strings.Repeat("y", 62)+".", 4)
	f, ok = reading(t, "test.", "www.old.test.", &message{flags: flagAA, rcode: rcodeYXDomain, answer: section(t, "old.test. DNAME "+long)})
	if !ok || !f.complete || f.rcode != rcodeYXDomain {
		t.Errorf("a name that got too long: %+v, %v", f, ok)
	}
}

func TestTTLsAreBounded(t *testing.T) {
	o := defaultOptions()
	o.maxTTL, o.minTTL = 100, 20
	r := reader{settings: o}
	for given, want := range map[uint32]uint32{0: 20, 50: 50, 1000: 100, 1 << 31: 20} {
		if got := r.ttl(given); got != want {
			t.Errorf("%d: got %d, want %d", given, got, want)
		}
	}
}

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	q := question{wireName(t, "www.example.test."), typeA}
	target := wireName(t, "Web.example.test.")
	a := &answer{records: []rrset{
		{q.name, typeCNAME, 300, [][]byte{[]byte(target)}},
		{target.lower(), typeA, 60, [][]byte{{10, 0, 0, 1}, {10, 0, 0, 2}}},
	}}
	b, ttl := encode(q, a)
	if ttl != 60 || b.answers != 3 {
		t.Fatalf("ttl %d, %d records", ttl, b.answers)
	}
	b.age = 10
	got := decode(q, b)
	if len(got.records) != 2 || got.records[0].ttl != 290 || got.records[1].ttl != 50 || len(got.records[1].data) != 2 {
		t.Errorf("got %+v", got)
	}
	if next, ok := (&answer{records: got.records[:1]}).alias(); !ok || next != target.lower() {
		t.Errorf("alias %q, %v", next, ok)
	}
}

func TestAnswersLargerThanAMessageFail(t *testing.T) {
	q := question{wireName(t, "www.example.test."), typeTXT}
	set := rrset{owner: q.name, qtype: typeTXT, ttl: 60}
	for range 300 {
		set.data = append(set.data, append([]byte{255}, make([]byte, 255)...))
	}
	if b, ttl := encode(q, &answer{records: []rrset{set}}); b.rcode != rcodeServFail || ttl != 0 {
		t.Errorf("rcode %d, ttl %d", b.rcode, ttl)
	}
}

func TestChainsWithoutEnd(t *testing.T) {
	lines := "www.example.test. CNAME a0.example.test."
	for i := range 20 {
		lines += "| a" + itoa(i) + ".example.test. CNAME a" + itoa(i+1) + ".example.test."
	}
	f, ok := reading(t, "example.test.", "www.example.test.", &message{flags: flagAA, answer: section(t, lines), authority: section(t, "example.test. SOA")})
	if !ok || f.complete || f.soa != nil || f.links() <= maxLinks {
		t.Errorf("got %+v, %v", f, ok)
	}
}
