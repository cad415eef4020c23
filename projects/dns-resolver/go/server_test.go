package main

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// tree is a root and the servers of one zone, on addresses of the loopback.
type tree struct {
	lock    sync.Mutex
	sockets []net.PacketConn
	asked   []question // of the servers of the zone
	answer  func(q question) []byte
}

const (
	rootAddress = "127.7.0.1"
	zoneAddress = "127.7.0.2"
)

// plant listens, on the same port at all addresses.
func plant(t *testing.T) (tr *tree, port int) {
	t.Helper()
	tr = &tree{}
	for _, address := range []string{rootAddress, zoneAddress} {
		socket, err := net.ListenPacket("udp4", net.JoinHostPort(address, itoa(port)))
		if err != nil {
			t.Skip(err) // another program has the port there
		}
		port = socket.LocalAddr().(*net.UDPAddr).Port
		tr.sockets = append(tr.sockets, socket)
		t.Cleanup(func() { socket.Close() })
		go tr.serve(socket, address == rootAddress)
	}
	return tr, port
}

func itoa(number int) string { return strconv.Itoa(number) }

func (tr *tree) serve(socket net.PacketConn, isRoot bool) {
	packet := make([]byte, 2048)
	for {
		n, from, err := socket.ReadFrom(packet)
		if err != nil {
			return
		}
		m, _, err := parseStart(packet[:n])
		if err != nil {
			continue
		}
		var answer []byte
		if isRoot {
			answer = referral(m.question)
		} else {
			tr.lock.Lock()
			tr.asked = append(tr.asked, m.question)
			answer = tr.answer(m.question)
			tr.lock.Unlock()
		}
		if answer != nil {
			binary.BigEndian.PutUint16(answer, m.id)
			socket.WriteTo(answer, from)
		}
	}
}

func (tr *tree) count() int {
	tr.lock.Lock()
	defer tr.lock.Unlock()
	return len(tr.asked)
}

// response is a message with records for each section.
func response(q question, flags uint16, sections ...[]rrset) []byte {
	w := newWriter(q)
	binary.BigEndian.PutUint16(w.message[2:], flagQR|flags)
	w.message[5] = 1
	for i, section := range sections {
		for _, set := range section {
			for _, data := range set.data {
				w.record(set.owner, set.qtype, set.ttl, data)
				w.message[7+2*i]++
			}
		}
	}
	return w.message
}

// referral is what the root says: all is in the zone.
func referral(q question) []byte {
	zone, server := name("\x04test\x00"), name("\x02ns\x04test\x00")
	glue := netip.MustParseAddr(zoneAddress).As4()
	return response(q, 0, nil, []rrset{{zone, typeNS, 300, [][]byte{[]byte(server)}}}, []rrset{{server, typeA, 300, [][]byte{glue[:]}}})
}

// address is an answer of the zone.
func address(q question) []byte {
	return response(q, flagAA, []rrset{{q.name, typeA, 300, [][]byte{{10, 0, 0, 1}}}})
}

// startServer resolves on the tree until the test ends.
func startServer(t *testing.T, port int, more ...string) *server {
	t.Helper()
	hints := hintsFile(t, ". NS a.\na. A "+rootAddress+"\n")
	o, err := parseOptions(append([]string{"--listen=127.0.0.1:0", "--timeout=0.05", "--attempts=3", "--hints", hints, "--port-of-servers", itoa(port)}, more...))
	if err != nil {
		t.Fatal(err)
	}
	d, err := readHints(hints, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(o, d)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.run() }()
	t.Cleanup(func() {
		s.shutdown()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the server does not end")
		}
	})
	return s
}

func dial(t *testing.T, network string, s *server) net.Conn {
	t.Helper()
	connection, err := net.Dial(network, s.address.String())
	if err != nil {
		t.Fatal(err)
	}
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { connection.Close() })
	return connection
}

// ask sends a question over UDP and returns the answer.
func ask(t *testing.T, connection net.Conn, text string) *message {
	t.Helper()
	if _, err := connection.Write(asking(t, text, typeA)); err != nil {
		t.Fatal(err)
	}
	packet := make([]byte, 2048)
	n, err := connection.Read(packet)
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseMessage(packet[:n])
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestResolvingFromTheRoot(t *testing.T) {
	for _, threads := range []string{"1", "3"} {
		tr, port := plant(t)
		tr.answer = address
		s := startServer(t, port, "--threads", threads)
		client := dial(t, "udp", s)
		for range 3 {
			if m := ask(t, client, "www.test."); m.rcode != rcodeNoError || len(m.answer) != 1 || m.answer[0].data[0] != 10 {
				t.Fatalf("got %+v", m)
			}
		}
		if tr.count() != 1 {
			t.Errorf("the zone was asked %d times", tr.count())
		}
		if c := s.counters; c.queries.Load() != 3 || c.hits.Load() != 2 || c.misses.Load() != 1 {
			t.Errorf("got %v", c)
		}
	}
}

func TestLiesAreIgnoredAndCounted(t *testing.T) {
	tr, port := plant(t)
	first := true
	tr.answer = func(q question) []byte {
		if first {
			first = false
			q.name = "\x05other\x04test\x00"
		}
		return address(q)
	}
	s := startServer(t, port)
	if m := ask(t, dial(t, "udp", s), "www.test."); m.rcode != rcodeNoError || len(m.answer) != 1 {
		t.Errorf("got %+v", m)
	}
	if s.counters.spoofed.Load() != 1 || s.counters.timeouts.Load() != 1 {
		t.Errorf("got %v", s.counters)
	}
}

func TestServersThatFail(t *testing.T) {
	for what, answer := range map[string]func(question) []byte{
		"silent":  func(question) []byte { return nil },
		"refused": func(q question) []byte { return response(q, rcodeRefused) },
		"lame":    referral,
		"damaged": func(q question) []byte { return append(address(q)[:40], 0xc0) },
	} {
		tr, port := plant(t)
		tr.answer = answer
		s := startServer(t, port)
		if m := ask(t, dial(t, "udp", s), "www.test."); m.rcode != rcodeServFail {
			t.Errorf("%s: got %+v", what, m)
		}
		if tr.count() > 3 {
			t.Errorf("%s: asked %d times", what, tr.count())
		}
	}
}

func TestQuestionsInFlightAreJoined(t *testing.T) {
	tr, port := plant(t)
	tr.answer = func(q question) []byte {
		time.Sleep(20 * time.Millisecond)
		return address(q)
	}
	s := startServer(t, port)
	client := dial(t, "udp", s)
	for range 20 {
		client.Write(asking(t, "www.test.", typeA))
	}
	for range 20 {
		if _, err := client.Read(make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
	}
	if tr.count() != 1 {
		t.Errorf("the zone was asked %d times", tr.count())
	}
}

func TestStreams(t *testing.T) {
	tr, port := plant(t)
	tr.answer = address
	s := startServer(t, port)
	connection := dial(t, "tcp", s)
	const count = 300
	var asked []byte
	for i := range count {
		packet := asking(t, "n"+itoa(i%50+1)+".test.", typeA)
		binary.BigEndian.PutUint16(packet, uint16(i))
		asked = append(binary.BigEndian.AppendUint16(asked, uint16(len(packet))), packet...)
	}
	go func() { // in pieces that end anywhere; then no more
		for piece := range slices.Chunk(asked, 37) {
			connection.Write(piece)
		}
		connection.(*net.TCPConn).CloseWrite()
	}()
	answers, err := io.ReadAll(connection)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[uint16]bool{}
	for len(answers) > 2 {
		length := int(binary.BigEndian.Uint16(answers))
		m, err := parseMessage(answers[2 : 2+length])
		if err != nil || len(m.answer) != 1 {
			t.Fatalf("got %+v, %v", m, err)
		}
		ids[m.id] = true
		answers = answers[2+length:]
	}
	if len(ids) != count {
		t.Errorf("%d answers to %d questions", len(ids), count)
	}
}

func TestWhatIsUnderWayIsAnsweredAtTheEnd(t *testing.T) {
	tr, port := plant(t)
	tr.answer = func(q question) []byte {
		time.Sleep(30 * time.Millisecond)
		return address(q)
	}
	s := startServer(t, port)
	client := dial(t, "udp", s)
	client.Write(asking(t, "www.test.", typeA))
	time.Sleep(10 * time.Millisecond)
	s.shutdown()
	packet := make([]byte, 512)
	if n, err := client.Read(packet); err != nil || binary.BigEndian.Uint16(packet[6:]) != 1 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestBulk(t *testing.T) {
	tr, port := plant(t)
	tr.answer = address
	o := defaultOptions()
	o.serverPort, o.inFlight = port, 3
	l, err := newLoop(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	d := &delegation{zone: root, servers: []nameServer{{"\x01a\x00", []netip.Addr{netip.MustParseAddr(rootAddress)}}}}
	b := &bulk{settings: o, resolver: newResolver(l, o, d, &counters{})}
	if b.questions, err = parseQuestions("-", "b.test A\na.test A\nb.test A\n"); err != nil {
		t.Fatal(err)
	}
	b.resolveAll()
	want := "b.test. A NOERROR b.test. A 10.0.0.1\na.test. A NOERROR a.test. A 10.0.0.1\nb.test. A NOERROR b.test. A 10.0.0.1\n"
	if got := string(slices.Concat(b.inOrder()...)); got != want {
		t.Errorf("got %s", got)
	}
}
