package main

import (
	"strings"
	"testing"
	"time"
)

// lab is a server with clients on socket pairs; nothing runs but what a test calls.
func lab(t *testing.T, arguments string) *server {
	t.Helper()
	settings, err := parseOptions(strings.Fields("--listen 127.0.0.1:0 " + arguments))
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(settings)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAMessageGoesToAllOthersInOrder(t *testing.T) {
	s := lab(t, "--rate 0")
	a, b, c := connect(t, s), connect(t, s), connect(t, s)
	for _, p := range []*pair{a, b, c} {
		s.hub.handle(p.client, []byte(`{"type":"join","room":"r","nick":"n"}`))
	}
	a.expect(`{"type":"joined","room":"r","nick":"n","members":1}`, `{"type":"presence","room":"r","members":1}`)
	b.expect(`{"type":"joined","room":"r","nick":"n","members":2}`)
	c.expect(`{"type":"joined","room":"r","nick":"n","members":3}`)
	s.hub.handle(a.client, []byte(`{"type":"chat","id":7,"text":"one"}`))
	s.hub.handle(b.client, []byte(`{"type":"chat","id":8,"text":"two"}`))
	one, two := `{"type":"chat","room":"r","nick":"n","seq":1,"text":"one"}`, `{"type":"chat","room":"r","nick":"n","seq":2,"text":"two"}`
	a.expect(`{"type":"accepted","id":7,"seq":1}`, two)
	b.expect(one, `{"type":"accepted","id":8,"seq":2}`)
	c.expect(one, two)
	if got := s.metrics.deliveries.Load(); got != 4 {
		t.Errorf("%d deliveries", got)
	}
}

func TestARoomEndsWithItsMembers(t *testing.T) {
	s := lab(t, "")
	a := connect(t, s)
	s.hub.handle(a.client, []byte(`{"type":"leave"}`))
	a.expect(`{"type":"error","reason":"not joined"}`)
	s.hub.handle(a.client, []byte(`{"type":"join","room":"r","nick":"n"}`))
	s.hub.handle(a.client, []byte(`{"type":"join","room":"s","nick":"n"}`))
	s.hub.handle(a.client, []byte(`{"type":"leave"}`))
	a.expect(`{"type":"joined","room":"r","nick":"n","members":1}`, `{"type":"presence","room":"r","members":1}`,
		`{"type":"error","reason":"joined already"}`, `{"type":"left","room":"r"}`, "\x03\xe8left")
	if len(s.hub.rooms) != 0 || s.hub.members != 0 {
		t.Errorf("%d rooms, %d members", len(s.hub.rooms), s.hub.members)
	}
	s.hub.handle(a.client, []byte(`{"type":"join","room":"r","nick":"n"}`))
	a.expect()
}

func TestTheTenthErrorCloses(t *testing.T) {
	s := lab(t, "")
	a := connect(t, s)
	for range errorsAllowed {
		s.hub.handle(a.client, []byte(`?`))
	}
	want := make([]string, errorsAllowed, errorsAllowed+1)
	for i := range want {
		want[i] = `{"type":"error","reason":"not json"}`
	}
	a.expect(append(want, "\x03\xf0too many errors")...)
}

func TestPresenceIsToldOnceAnInterval(t *testing.T) {
	s := lab(t, "")
	a, b := connect(t, s), connect(t, s)
	join := []byte(`{"type":"join","room":"r","nick":"n"}`)
	s.hub.handle(a.client, append([]byte(nil), join...))
	a.expect(`{"type":"joined","room":"r","nick":"n","members":1}`, `{"type":"presence","room":"r","members":1}`)
	s.hub.handle(b.client, append([]byte(nil), join...))
	s.hub.remove(b.client)
	a.expect()
	s.hub.rooms["r"].quietTill = now()
	s.hub.tellDue()
	a.expect(`{"type":"presence","room":"r","members":1}`)
	s.hub.rooms["r"].quietTill = now()
	s.hub.tellDue()
	a.expect()
	if len(s.hub.cooling) != 0 {
		t.Errorf("%d rooms wait", len(s.hub.cooling))
	}
}

func TestHistoryIsTheLastMessages(t *testing.T) {
	s := lab(t, "--rate 0 --history 2")
	a, b := connect(t, s), connect(t, s)
	s.hub.handle(a.client, []byte(`{"type":"join","room":"r","nick":"n"}`))
	for _, text := range []string{"1", "2", "3"} {
		s.hub.handle(a.client, []byte(`{"type":"chat","id":1,"text":"`+text+`"}`))
	}
	s.hub.handle(b.client, []byte(`{"type":"join","room":"r","nick":"m"}`))
	b.expect(`{"type":"joined","room":"r","nick":"m","members":2}`, `{"type":"chat","room":"r","nick":"n","seq":2,"text":"2"}`,
		`{"type":"chat","room":"r","nick":"n","seq":3,"text":"3"}`)
	if got := s.metrics.deliveries.Load(); got != 0 {
		t.Errorf("%d deliveries", got)
	}
}

func TestBucketsFillWithTime(t *testing.T) {
	const second = int64(time.Second)
	b := newBucket(2, 3, 0)
	for i, test := range []struct {
		at   int64
		want bool
	}{
		{0, true}, {0, true}, {0, true}, {0, false}, {second/2 - 1, false}, {second / 2, true}, {second / 2, false}, {second, true},
		{10 * second, true}, {10 * second, true}, {10 * second, true}, {10 * second, false},
	} {
		if got := b.take(test.at); got != test.want {
			t.Errorf("take %d at %d: got %v", i, test.at, got)
		}
	}
	unlimited := newBucket(0, 1, 0)
	for range 1000 {
		if !unlimited.take(0) {
			t.Fatal("a rate of 0 is no limit")
		}
	}
}
