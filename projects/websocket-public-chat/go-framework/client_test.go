package main

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// pair is a client and the peer's end of its connection.
type pair struct {
	t      *testing.T
	client *client
	peer   int
}

func connect(t *testing.T, s *server) *pair {
	t.Helper()
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if err != nil || !s.reserve() {
		t.Fatal(err)
	}
	c := newClient(s, s.loops[0], ends[0], false)
	unwatched(c)
	s.enter(c)
	t.Cleanup(func() {
		c.timer.Stop()
		syscall.Close(ends[0])
		syscall.Close(ends[1])
	})
	return &pair{t, c, ends[1]}
}

// received takes what the peer got.
func (p *pair) received() string {
	var all strings.Builder
	for buffer := make([]byte, 1<<16); ; {
		n, err := syscall.Read(p.peer, buffer)
		if n <= 0 || err != nil {
			return all.String()
		}
		all.Write(buffer[:n])
	}
}

// expect wants the payloads of these frames, and no more. All are short.
func (p *pair) expect(payloads ...string) {
	p.t.Helper()
	p.client.flush()
	got := p.received()
	for _, want := range payloads {
		if len(got) < 2 || len(got) < 2+int(got[1]) || got[2:2+int(got[1])] != want {
			p.t.Fatalf("got %q, want %q", got, want)
		}
		got = got[2+int(got[1]):]
	}
	if got != "" {
		p.t.Errorf("got %q beyond", got)
	}
}

func chatFrame(size int) *frame {
	f := newFrame(opText, make([]byte, size))
	f.isChat = true
	return f
}

func TestAFullQueueIsWrittenBeforeAnybodyIsSlow(t *testing.T) {
	s := lab(t, "--queue 2")
	p := connect(t, s)
	for range 100 {
		p.client.push(chatFrame(10))
	}
	p.client.flush()
	if got := len(p.received()); got != 1200 || s.metrics.deliveries.Load() != 100 || s.metrics.slowConsumers.Load() != 0 {
		t.Errorf("%d bytes, %d deliveries", got, s.metrics.deliveries.Load())
	}
}

func TestWhoDoesNotReadIsCutAndAllIsCounted(t *testing.T) {
	s := lab(t, "--queue 8")
	p := connect(t, s)
	pushed := int64(0)
	for s.metrics.slowConsumers.Load() == 0 && pushed < 1_000_000 {
		p.client.push(chatFrame(1000))
		pushed++
	}
	p.client.push(chatFrame(1000)) // still a member, until the loop has its turn
	pushed++
	if p.client.flush() {
		t.Error("the client goes on")
	}
	delivered, dropped := s.metrics.deliveries.Load(), s.metrics.deliveriesDropped.Load()
	if delivered+dropped != pushed || dropped < 9 {
		t.Errorf("%d pushed, %d delivered, %d dropped", pushed, delivered, dropped)
	}
	if got := int64(len(p.received())) / 1004; got != delivered {
		t.Errorf("%d frames came, %d were counted", got, delivered)
	}
	if _, first := p.client.release(); !first {
		t.Error("not released")
	}
	if _, first := p.client.release(); first {
		t.Error("released twice")
	}
}

func TestTheQueueIsLimitedInBytesToo(t *testing.T) {
	s := lab(t, "--queue 1000000")
	p := connect(t, s)
	for i := 0; s.metrics.slowConsumers.Load() == 0; i++ {
		if p.client.push(chatFrame(60_000)); i > 100 {
			t.Fatal("no limit")
		}
	}
}

func TestPartsOfFramesAreWrittenOn(t *testing.T) {
	s := lab(t, "--queue 100000")
	p := connect(t, s)
	sent, got := 0, 0
	for !p.client.clogged {
		p.client.push(chatFrame(997))
		p.client.flush()
		sent += 1001
	}
	for range 200 {
		p.client.push(chatFrame(997))
		sent += 1001
	}
	for range 1000 {
		got += len(p.received())
		if p.client.resume() && got == sent {
			break
		}
	}
	if got != sent || p.client.waiting != 0 || int64(sent/1001) != s.metrics.deliveries.Load() {
		t.Errorf("%d bytes of %d, %d wait, %d deliveries", got, sent, p.client.waiting, s.metrics.deliveries.Load())
	}
}

func TestCloseIsTheLastFrame(t *testing.T) {
	s := lab(t, "")
	p := connect(t, s)
	p.client.push(newFrame(opText, []byte("a")))
	p.client.close(closeNormal, "left")
	p.client.push(newFrame(opText, []byte("b")))
	p.client.close(closePolicy, "again")
	p.expect("a", "\x03\xe8left")
	if p.client.state != stateClosing {
		t.Errorf("state %d", p.client.state)
	}
	p.client.receivedClose([]byte("\x03\xe8"))
	if p.client.flush() {
		t.Error("the client goes on")
	}
}

func TestThePeersCloseIsAnswered(t *testing.T) {
	for _, test := range []struct{ payload, want string }{
		{"", ""}, {"\x03\xe8bye", "\x03\xe8bye"}, {"\x0f\xa0", "\x0f\xa0"}, {"x", "\x03\xeaprotocol error"}, {"\x03\xec", "\x03\xeaprotocol error"},
		{"\x03\xe8\xff", "\x03\xefinvalid UTF-8"},
	} {
		p := connect(t, lab(t, ""))
		p.client.receivedClose([]byte(test.payload))
		p.expect(test.want)
	}
}

func TestSilentClientsArePingedAndCut(t *testing.T) {
	s := lab(t, "--ping-interval 2 --ping-timeout 1")
	p := connect(t, s)
	c := p.client
	const second = int64(time.Second)
	at := c.heard.Load()
	c.joined()
	c.lock.Lock()
	defer c.lock.Unlock()
	if due := c.checkOpen(at + second); due != at+2*second || c.pingedAt != 0 {
		t.Errorf("too early: due in %d", due-at)
	}
	if due := c.checkOpen(at + 2*second); due != at+3*second || len(c.queue) != 1 {
		t.Errorf("no ping: due in %d", due-at)
	}
	c.heard.Store(at + 2*second + 1) // any frame will do
	if due := c.checkOpen(at + 3*second); due != at+4*second+1 {
		t.Errorf("not renewed: due in %d", due-at)
	}
	c.checkOpen(at + 4*second + 1)
	if due := c.checkOpen(at + 5*second + 1); due != 0 || c.state != stateBroken || s.metrics.pingTimeouts.Load() != 1 {
		t.Errorf("not cut: due in %d", due-at)
	}
}

func TestWhoDoesNotJoinIsClosed(t *testing.T) {
	s := lab(t, "--join-timeout 1")
	p := connect(t, s)
	at := p.client.heard.Load()
	p.client.lock.Lock()
	due := p.client.checkOpen(at)
	p.client.checkOpen(at + int64(2*time.Second))
	p.client.lock.Unlock()
	if due > at+int64(time.Second)+int64(time.Millisecond) {
		t.Errorf("due in %d", due-at)
	}
	p.expect("\x03\xf0join timeout")
}
