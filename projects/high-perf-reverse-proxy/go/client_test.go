package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// startBackend serves connections one after another by a function, until the test ends.
func startBackend(t *testing.T, serve func(conn net.Conn, in *bufio.Reader)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn, bufio.NewReader(conn))
			}()
		}
	}()
	return listener.Addr().String()
}

// startProxy runs a proxy with these options.
func startProxy(t *testing.T, arguments ...string) (*server, string) {
	t.Helper()
	settings, err := parseOptions(append([]string{"--listen=127.0.0.1:0", "--drain-timeout=0.1"}, arguments...))
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(settings)
	if err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(s.drain)
	return s, localAddress(s.listener)
}

// echoRequests answers each request with its head and body.
func echoRequests(conn net.Conn, in *bufio.Reader) {
	for {
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		text := fmt.Sprintf("%s %s %s %s", request.Method, request.URL, request.Header.Get("X-Forwarded-For"), body)
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	}
}

// ask sends raw bytes and returns all that comes back until the connection ends.
func ask(t *testing.T, address, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	_, address := startProxy(t, "--backends="+startBackend(t, echoRequests))
	got := ask(t, address, lines("GET /1 HTTP/1.1", "Host: h")+
		"POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"+
		"POST /3 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"+
		lines("GET /4 HTTP/1.1", "Host: h", "Connection: close"))
	at := 0
	for _, want := range []string{"GET /1 127.0.0.1 ", "POST /2 127.0.0.1 hello", "POST /3 127.0.0.1 ab", "Connection: close", "GET /4 127.0.0.1 "} {
		found := strings.Index(got[at:], want)
		if found < 0 {
			t.Fatalf("no %q behind byte %d of %q", want, at, got)
		}
		at += found
	}
}

func TestBigBodiesPassBothWays(t *testing.T) {
	s, address := startProxy(t, "--backends="+startBackend(t, echoRequests))
	body := strings.Repeat("0123456789", 200_000)
	answer, err := http.Post("http://"+address+"/", "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil || string(got) != "POST / 127.0.0.1 "+body {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	if in := s.sum(func(l *loop) *counter { return &l.metrics.bytesIn }); in < uint64(len(body)) {
		t.Errorf("%d bytes were counted of %d", in, len(body))
	}
}

func TestTheEndOfABodyIsNeverInvented(t *testing.T) {
	cut := startBackend(t, func(conn net.Conn, in *bufio.Reader) {
		http.ReadRequest(in)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	})
	s, address := startProxy(t, "--backends="+cut)
	got := ask(t, address, lines("GET / HTTP/1.1", "Host: h"))
	if !strings.HasSuffix(got, "3\r\nabc\r\n") {
		t.Errorf("got %q", got)
	}
	if s.sum(func(l *loop) *counter { return &l.metrics.responsesCut }) != 1 {
		t.Error("the cut was not counted")
	}
}

func TestProblemsAreOneLine(t *testing.T) {
	s, address := startProxy(t, "--backends=127.0.0.1:1", "--max-fails=1")
	want := "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: 48\r\nConnection: close\r\n\r\n502 Bad Gateway: cannot connect to the backend\n"
	want = strings.Replace(want, "48", fmt.Sprint(len("502 Bad Gateway: cannot connect to the backend\n")), 1)
	if got := ask(t, address, lines("GET / HTTP/1.1", "Host: h", "Connection: close")); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := ask(t, address, lines("HEAD / HTTP/1.1", "Host: h", "Connection: close")); !strings.Contains(got, "503 ") || !strings.Contains(got, "Retry-After: 1\r\n") || !strings.HasSuffix(got, "\r\n\r\n") {
		t.Errorf("got %q", got)
	}
	if got := ask(t, address, "GET / HTTP/1.1\nHost: h\n\n"); !strings.HasSuffix(got, "\r\n\r\n400 Bad Request: bare LF\n") {
		t.Errorf("got %q", got)
	}
	var text strings.Builder
	s.writeMetrics(&text)
	for _, line := range []string{`requests_total{code="4xx"} 1`, `requests_total{code="5xx"} 2`, `backend_up{backend="127.0.0.1:1"} 0`} {
		if !strings.Contains(text.String(), line+"\n") {
			t.Errorf("no line %q in\n%s", line, &text)
		}
	}
}

func TestATunnelClosesOneDirectionAtATime(t *testing.T) {
	upper := startBackend(t, func(conn net.Conn, in *bufio.Reader) {
		http.ReadRequest(in)
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhi")
		said, _ := io.ReadAll(in)
		io.WriteString(conn, strings.ToUpper(string(said)))
	})
	_, address := startProxy(t, "--backends="+upper)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	io.WriteString(conn, lines("GET / HTTP/1.1", "Host: h", "Connection: Upgrade", "Upgrade: x")+"a")
	io.WriteString(conn, "bc")
	conn.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasSuffix(string(got), "\r\n\r\nhiABC") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestDrainWaitsForWhatIsUnderWay(t *testing.T) {
	arrived := make(chan struct{})
	slow := startBackend(t, func(conn net.Conn, in *bufio.Reader) {
		http.ReadRequest(in)
		close(arrived)
		time.Sleep(300 * time.Millisecond)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
	})
	s, address := startProxy(t, "--backends="+slow, "--drain-timeout=5")
	idle, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	answer := make(chan string)
	go func() { answer <- ask(t, address, lines("GET / HTTP/1.1", "Host: h")) }()
	<-arrived
	began := time.Now()
	s.drain()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("drained in %v", took)
	}
	if got := <-answer; !strings.Contains(got, "Connection: close\r\n") || !strings.HasSuffix(got, "done") {
		t.Errorf("got %q", got)
	}
	idle.SetDeadline(time.Now().Add(time.Second))
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the idle connection ended by %v", err)
	}
}
