//go:build !race

// The race detector makes sync.Pool forget on purpose.

package main

import (
	"bufio"
	"net"
	"runtime"
	"testing"
)

// A request must not cost garbage: at 50,000 requests a second the collector would never rest.
func TestARequestAllocatesNothing(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nOK"
	answerBytes := []byte(answer)
	backend := startBackend(t, func(conn net.Conn, _ *bufio.Reader) {
		for data := make([]byte, 4096); ; {
			if _, err := conn.Read(data); err != nil {
				return
			}
			conn.Write(answerBytes)
		}
	})
	_, address := startProxy(t, "--backends="+backend)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request, data := []byte(lines("GET / HTTP/1.1", "Host: h")), make([]byte, 4096)
	const requests = 2000
	var before, after runtime.MemStats
	for turn := range requests + 1 {
		conn.Write(request)
		conn.Read(data)
		if turn == 0 { // what connections cost is paid
			runtime.ReadMemStats(&before)
		}
	}
	runtime.ReadMemStats(&after)
	if allocations := after.Mallocs - before.Mallocs; allocations >= requests/2 {
		t.Errorf("%d allocations for %d requests", allocations, requests)
	}
}
