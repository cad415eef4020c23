package main

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

// asking is a packet of a client, in a buffer with room for an answer.
func asking(t testing.TB, text string, qtype uint16, more ...byte) []byte {
	packet := appendQuery(make([]byte, 0, largestDatagram), 0x1234, question{wireName(t, text), qtype}, 0)
	packet[2] = flagRD >> 8
	return append(packet, more...)
}

func TestQueriesAreParsed(t *testing.T) {
	var q query
	packet := asking(t, "WWW.Example.Test.", typeMX)
	if got := q.parse(packet, 1232); got != answerable {
		t.Fatalf("got %d", got)
	}
	if q.asked() != (question{wireName(t, "www.example.test."), typeMX}) || q.limit != plainBytes || q.edns {
		t.Errorf("got %+v", q.asked())
	}
	packet[11] = 1
	packet = appendOPT(packet, 4096, 0)
	if got := q.parse(packet, 1232); got != answerable || !q.edns || q.limit != 1232 {
		t.Errorf("got %d, EDNS %v, limit %d", got, q.edns, q.limit)
	}
}

func TestQueriesThatAreNotAnswered(t *testing.T) {
	edit := func(at int, value byte) []byte {
		packet := asking(t, "www.example.", typeA)
		packet[at] = value
		return packet
	}
	withOPT := func(more ...byte) []byte {
		packet := appendOPT(asking(t, "www.example.", typeA), 1232, 0)
		packet[11] = 1
		return append(packet, more...)
	}
	badVersion := withOPT()
	badVersion[len(badVersion)-5] = 1
	twice := appendOPT(withOPT(), 1232, 0)
	twice[11] = 2
	lying := withOPT()
	lying[len(lying)-1] = 9
	for what, test := range map[string]struct {
		packet []byte
		want   int
	}{
		"short":            {edit(0, 0)[:11], unreadable},
		"a response":       {edit(2, 0x80), unreadable},
		"opcode":           {edit(2, 0x10), rcodeNotImp},
		"no question":      {edit(5, 0), rcodeFormErr},
		"two questions":    {edit(5, 2), rcodeFormErr},
		"answers":          {edit(7, 1), rcodeFormErr},
		"additional":       {edit(11, 1), rcodeFormErr},
		"pointer":          {edit(12, 0xc0), rcodeFormErr},
		"long label":       {edit(12, 64), rcodeFormErr},
		"cut":              {edit(0, 0)[:20], rcodeFormErr},
		"without class":    {edit(0, 0)[:27], rcodeFormErr},
		"class":            {edit(28, 3), rcodeRefused},
		"ANY":              {edit(26, 255), rcodeNotImp},
		"AXFR":             {edit(26, 252), rcodeNotImp},
		"more bytes":       {asking(t, "a.", typeA, 1, 2, 3), rcodeFormErr},
		"EDNS version":     {badVersion, rcodeBadVers},
		"two OPT":          {twice, rcodeFormErr},
		"OPT that lies":    {lying, rcodeFormErr},
		"behind OPT":       {withOPT(0), rcodeFormErr},
		"sound, with EDNS": {withOPT(), answerable},
	} {
		var q query
		if got := q.parse(test.packet, 1232); got != test.want {
			t.Errorf("%s: got %d, want %d", what, got, test.want)
		}
	}
}

func TestDamagedQueriesAreNoHarm(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	sound := appendOPT(asking(t, "some.name.example.", typeTXT), 1232, 0)
	sound[11] = 1
	var q query
	for range 200_000 {
		damaged := append(make([]byte, 0, largestDatagram), sound...)
		for range 1 + random.IntN(3) {
			damaged[random.IntN(len(damaged))] = byte(random.IntN(256))
		}
		damaged = damaged[:len(damaged)-random.IntN(2)*random.IntN(len(damaged))]
		verdict := q.parse(damaged, 1232)
		if verdict >= 0 {
			length := q.writeError(damaged[:largestDatagram], verdict, 1232)
			if _, err := parseMessage(damaged[:length]); err != nil {
				t.Fatalf("an answer that cannot be read: %v, %x", err, damaged[:length])
			}
		}
	}
}

// answered is a packet turned into the answer of a cache.
func answered(t *testing.T, packet []byte, a *answer, age uint32) ([]byte, *message) {
	t.Helper()
	var q query
	if verdict := q.parse(packet, 1232); verdict != answerable {
		t.Fatalf("verdict %d", verdict)
	}
	b, _ := encode(q.asked(), a)
	b.age = age
	whole := packet[:q.write(packet[:cap(packet)], &b, 1232)]
	m, err := parseMessage(whole)
	if err != nil {
		t.Fatalf("%v: %x", err, whole)
	}
	return whole, m
}

func TestAnswersCountDownAndKeepTheCase(t *testing.T) {
	n := wireName(t, "www.example.")
	a := &answer{records: []rrset{{n, typeA, 300, [][]byte{{10, 0, 0, 1}, {10, 0, 0, 2}}}}}
	packet, m := answered(t, asking(t, "WwW.example.", typeA), a, 120)
	if len(m.answer) != 2 || m.answer[0].ttl != 180 || m.answer[1].ttl != 180 {
		t.Errorf("got %+v", m.answer)
	}
	if !bytes.Contains(packet, []byte("WwW")) || bytes.Contains(packet, []byte("www")) {
		t.Errorf("another case: %q", packet)
	}
	if m.flags != flagQR|flagRD|flagRA || m.id != 0x1234 {
		t.Errorf("flags %04x, id %04x", m.flags, m.id)
	}
}

func TestAnswersThatDoNotFitAreTruncated(t *testing.T) {
	n := wireName(t, "www.example.")
	set := rrset{owner: n, qtype: typeA, ttl: 300}
	for i := range 40 {
		set.data = append(set.data, []byte{10, 0, 0, byte(i)})
	}
	a := &answer{records: []rrset{set}}
	packet, m := answered(t, asking(t, "www.example.", typeA), a, 0)
	if m.flags&flagTC == 0 || len(m.answer) != 0 || len(packet) > plainBytes {
		t.Errorf("flags %04x, %d records, %d bytes", m.flags, len(m.answer), len(packet))
	}
	large := appendOPT(asking(t, "www.example.", typeA), 4096, 0)
	large[11] = 1
	_, m = answered(t, large, a, 0)
	if m.flags&flagTC != 0 || len(m.answer) != 40 || len(m.additional) != 1 {
		t.Errorf("flags %04x, %d records", m.flags, len(m.answer))
	}
}

func TestAHitAllocatesNothing(t *testing.T) {
	c := newCache(1<<20, false, &counters{})
	asked := question{wireName(t, "www.example.test."), typeA}
	b, _ := encode(asked, &answer{records: []rrset{{asked.name, typeA, 300, [][]byte{{10, 0, 0, 1}}}}})
	c.putAnswer(kindAnswer, asked, b, 0, time.Minute)
	packet := asking(t, "www.Example.test.", typeA)
	sound := bytes.Clone(packet)
	var q query
	allocations := testing.AllocsPerRun(100, func() {
		packet = append(packet[:0], sound...)
		if q.parse(packet, 1232) != answerable {
			t.Fatal("not answerable")
		}
		found, ok := c.answer(q.key, time.Second)
		if !ok {
			t.Fatal("not in the cache")
		}
		q.write(packet[:cap(packet)], &found, 1232)
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
	if binary.BigEndian.Uint16(packet[6:]) != 1 {
		t.Errorf("got %x", packet)
	}
}
