package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// startServer serves on a free port and a unix socket until the test ends.
func startServer(t *testing.T, threads int) (srv *server, stop func()) {
	t.Helper()
	o, err := parseOptions([]string{"--listen=127.0.0.1:0", "--listen=unix:" + filepath.Join(t.TempDir(), "kv.sock"), "--drain-timeout=1"})
	if err != nil {
		t.Fatal(err)
	}
	o.threads = threads
	srv, err = newServer(newTestStore(t), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.listen(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		srv.serve()
		close(done)
	}()
	stop = sync.OnceFunc(func() {
		srv.shutdown()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Error("the server does not end")
		}
	})
	t.Cleanup(stop)
	return srv, stop
}

func dial(t *testing.T, from *listener) net.Conn {
	t.Helper()
	network, address := "tcp", from.shown
	if !from.isTCP() {
		network, address = "unix", from.where.unixPath
	}
	connection, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	connection.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { connection.Close() })
	return connection
}

func expectBytes(t *testing.T, from io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(from, got)
	if err != nil || string(got) != want {
		t.Fatalf("got %.100q, want %.100q (%v)", got[:n], want, err)
	}
}

func TestClientsOfOneAndOfManyLoops(t *testing.T) {
	for _, threads := range []int{1, 3} {
		t.Run(fmt.Sprint(threads), func(t *testing.T) {
			srv, _ := startServer(t, threads)
			listeners := srv.loops[0].listeners
			var clients sync.WaitGroup
			for i := range 8 {
				connection := dial(t, listeners[i%2])
				clients.Add(1)
				go func() {
					defer clients.Done()
					fmt.Fprint(connection, strings.Repeat("INCR n\r\n", 1000), "ECHO ", i, "\r\n")
					replies := bufio.NewReader(connection)
					for range 1000 {
						if line, err := replies.ReadString('\n'); err != nil || line[0] != ':' {
							t.Errorf("%q, %v", line, err)
							return
						}
					}
					if line, _ := replies.ReadString('\n'); line != "$1\r\n" {
						t.Errorf("%q", line)
					}
				}()
			}
			clients.Wait()
			last := dial(t, listeners[0])
			fmt.Fprint(last, "GET n\r\n")
			expectBytes(t, last, "$4\r\n8000\r\n")
		})
	}
}

func TestAClientThatDoesNotReadIsPushedBack(t *testing.T) {
	srv, _ := startServer(t, 1)
	slow, other := dial(t, srv.loops[0].listeners[0]), dial(t, srv.loops[0].listeners[0])
	value := strings.Repeat("x", 1<<20)
	fmt.Fprintf(other, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s\r\n", len(value), value)
	expectBytes(t, other, "+OK\r\n")
	const asked = 50
	fmt.Fprint(slow, strings.Repeat(frame("GET", "k"), asked))
	time.Sleep(50 * time.Millisecond)
	fmt.Fprint(other, "PING\r\n")
	expectBytes(t, other, "+PONG\r\n")
	if held := srv.store.clientBytes.Load(); held > 8<<20 {
		t.Errorf("the server holds %d bytes for clients", held)
	}
	reply := fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
	for range asked {
		expectBytes(t, slow, reply)
	}
}

func TestTheEndAnswersWhatCame(t *testing.T) {
	srv, stop := startServer(t, 1)
	connection := dial(t, srv.loops[0].listeners[1])
	fmt.Fprint(connection, "PING\r\n")
	expectBytes(t, connection, "+PONG\r\n")
	fmt.Fprint(connection, strings.Repeat("ECHO hello\r\n", 10_000))
	stop()
	got, err := io.ReadAll(connection)
	if want := bytes.Repeat([]byte("$5\r\nhello\r\n"), 10_000); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
	}
}

func frame(words ...string) string {
	var args [][]byte
	for _, word := range words {
		args = append(args, []byte(word))
	}
	return string(appendCommand(nil, args...))
}

func TestABatchEndsWithItsClient(t *testing.T) {
	srv, _ := startServer(t, 1)
	connection := dial(t, srv.loops[0].listeners[0])
	ping := strings.Repeat(frame("PING"), 5)
	fmt.Fprint(connection, ping, frame("QUIT"), ping, "*1\r\n$x\r\n")
	got, err := io.ReadAll(connection)
	if want := strings.Repeat("+PONG\r\n", 5) + "+OK\r\n"; err != nil || string(got) != want {
		t.Errorf("got %q, want %q (%v)", got, want, err)
	}
}

func TestBatchesOverManyKeys(t *testing.T) {
	const keys = warmKeys * 2
	srv, _ := startServer(t, 1)
	connection := dial(t, srv.loops[0].listeners[1])
	var sets, gets, values strings.Builder
	for i := range keys {
		sets.WriteString(frame("SET", fmt.Sprint("key", i), fmt.Sprint(i)))
		gets.WriteString(frame("GET", fmt.Sprint("key", (i*7919)%(keys+5))) + frame("PING"))
		if n := (i * 7919) % (keys + 5); n < keys {
			values.WriteString(string(appendBulk(nil, []byte(fmt.Sprint(n)))))
		} else {
			values.WriteString("$-1\r\n")
		}
		values.WriteString("+PONG\r\n")
	}
	go fmt.Fprint(connection, sets.String(), gets.String())
	expectBytes(t, connection, strings.Repeat("+OK\r\n", keys)+values.String())
}
