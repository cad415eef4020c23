package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gobwas/ws"
)

// maxHeaderSlop is what net/http reads beyond MaxHeaderBytes.
const maxHeaderSlop = 4096

// longestRefusal is more than net/http writes when it cannot read a head.
const longestRefusal = 512

// serveHTTP serves plain requests and handshakes until the listener is closed.
func serveHTTP(s *server, from net.Listener) {
	web := &http.Server{
		Handler:                      http.HandlerFunc(s.answer),
		ReadHeaderTimeout:            headTimeoutSeconds * time.Second,
		IdleTimeout:                  headTimeoutSeconds * time.Second,
		MaxHeaderBytes:               maxHeadBytes - maxHeaderSlop,
		ErrorLog:                     log.New(io.Discard, "", 0), // what clients do wrong
		DisableGeneralOptionsHandler: true,
	}
	web.Serve(from)
}

// answer answers a request, or lets its connection go to a loop.
func (s *server) answer(w http.ResponseWriter, r *http.Request) {
	given := s.route(r.Method, r.URL.EscapedPath(), r.Proto, func(name string) string {
		return strings.Join(r.Header[name], ",")
	})
	if given == upgrade {
		s.upgrade(w, r)
		return
	}
	header := w.Header()
	for _, own := range given.headers {
		if own.name != "" {
			header[own.name] = []string{own.value}
		}
	}
	header.Set("Content-Type", given.contentType)
	header.Set("Content-Length", strconv.Itoa(len(given.body)))
	w.WriteHeader(given.status)
	io.WriteString(w, given.body)
}

// upgrade answers the handshake, which was checked, and makes a client of the connection.
func (s *server) upgrade(w http.ResponseWriter, r *http.Request) {
	r.Header["Upgrade"], r.Header["Connection"] = []string{"websocket"}, []string{"Upgrade"}
	conn, buffers, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		s.unreserve()
		if conn != nil {
			conn.Close()
		}
		return
	}
	early, _ := buffers.Reader.Peek(buffers.Reader.Buffered())
	fd, err := duplicate(conn)
	conn.Close() // of two descriptors one; the connection stays
	if err != nil {
		s.unreserve()
		return
	}
	l := s.nextLoop()
	c := newClient(s, l, fd, r.URL.Path == "/echo")
	s.enter(c)
	l.adopt(c, bytes.Clone(early))
}

// duplicate makes a descriptor of a connection that the runtime does not watch.
func duplicate(conn net.Conn) (fd int, err error) {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1, err
	}
	controlErr := raw.Control(func(number uintptr) {
		copied, _, code := syscall.RawSyscall(syscall.SYS_FCNTL, number, syscall.F_DUPFD_CLOEXEC, 0)
		if fd = int(copied); code != 0 {
			err = code
		}
	})
	if controlErr != nil {
		return -1, controlErr
	}
	return fd, err
}

// socket is a connection of the HTTP server.
type socket struct {
	*net.TCPConn
	server *server
	late   bool
}

// Read notes when a head is late. (Reads are also ended so before an upgrade: see Write.)
func (c *socket) Read(data []byte) (int, error) {
	n, err := c.TCPConn.Read(data)
	c.late = os.IsTimeout(err)
	return n, err
}

// Write gives the refusals of net/http what it leaves out: it answers heads that it cannot
// read with a call of its own, without Content-Length and without an end of line. A head that is late is cut, without an answer.
func (c *socket) Write(data []byte) (int, error) {
	const mark = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
	line, _, found := strings.Cut(string(data[:min(len(data), longestRefusal)]), mark)
	version, text, _ := strings.Cut(line, " ")
	if !found || version != "HTTP/1.1" || strings.Contains(line, "\n") || len(text) < 3 {
		return c.TCPConn.Write(data)
	}
	if c.late {
		return 0, os.ErrDeadlineExceeded
	}
	status, _ := strconv.Atoi(text[:3])
	body := statusBody(status)
	out := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), plainText, len(body), body)
	if _, err := c.TCPConn.Write([]byte(out)); err != nil {
		return 0, err
	}
	return len(data), nil
}
