package main

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"
)

// counter is counted by one loop and read by another.
type counter struct{ value atomic.Uint64 }

// add needs no locked instruction: there is one who counts.
func (c *counter) add(amount int) { c.value.Store(c.value.Load() + uint64(amount)) }

// metrics are the counters of a loop.
type metrics struct {
	responses         [6]counter // by the first digit of the code
	retries           counter
	responsesCut      counter
	bytesIn, bytesOut counter
}

func (m *metrics) countResponse(status int) {
	if class := status / 100; class < len(m.responses) {
		m.responses[class].add(1)
	}
}

// sum adds up a counter of all loops.
func (s *server) sum(which func(*loop) *counter) (total uint64) {
	for _, l := range s.loops {
		total += which(l).value.Load()
	}
	return total
}

// writeMetrics shows all counters in the text format of Prometheus.
func (s *server) writeMetrics(out io.Writer) {
	describe(out, "requests_total", "counter", "Responses sent to clients, by class of their code.")
	for class := 1; class <= 5; class++ {
		total := s.sum(func(l *loop) *counter { return &l.metrics.responses[class] })
		fmt.Fprintf(out, "requests_total{code=\"%dxx\"} %d\n", class, total)
	}
	describe(out, "backend_requests_total", "counter", "Requests sent to a backend.")
	for i, b := range s.balancer.backends {
		total := s.sum(func(l *loop) *counter { return &l.pools[i].requests })
		fmt.Fprintf(out, "backend_requests_total{backend=%q} %d\n", b.address, total)
	}
	describe(out, "backend_up", "gauge", "Whether a backend gets requests.")
	for _, b := range s.balancer.backends {
		up := 0
		if b.isUp() {
			up = 1
		}
		fmt.Fprintf(out, "backend_up{backend=%q} %d\n", b.address, up)
	}
	describe(out, "active_connections", "gauge", "Open connections of clients.")
	fmt.Fprintf(out, "active_connections %d\n", s.connections.Load())
	for _, row := range []struct {
		name, help string
		which      func(*loop) *counter
	}{
		{"retries_total", "Attempts on another backend.", func(l *loop) *counter { return &l.metrics.retries }},
		{"responses_cut_total", "Responses whose backend failed inside the body.", func(l *loop) *counter { return &l.metrics.responsesCut }},
		{"bytes_in_total", "Bytes received from clients.", func(l *loop) *counter { return &l.metrics.bytesIn }},
		{"bytes_out_total", "Bytes sent to clients.", func(l *loop) *counter { return &l.metrics.bytesOut }},
	} {
		describe(out, row.name, "counter", row.help)
		fmt.Fprintf(out, "%s %d\n", row.name, s.sum(row.which))
	}
}

func describe(out io.Writer, name, kind, help string) {
	fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// --- the admin listener ---

const adminTimeout = 10 * time.Second

var (
	notFound      = &problem{404, "only /metrics and /health"}
	onlyGet       = &problem{405, "only GET and HEAD"}
	noBodyAllowed = &problem{413, "no body is expected"}
)

// admin is a connection to the admin listener.
type admin struct {
	socket
	request requestHead
}

func (a *admin) noticed() {}

// admitAdmin begins to serve a connection to the admin listener.
func (l *loop) admitAdmin(fd int, _ syscall.Sockaddr) {
	a := &admin{}
	if l.admins >= maxAdmins || a.open(l, fd, &l.requestBuffers, a) != nil {
		syscall.Close(fd)
		return
	}
	l.admins++
	l.spawn(func() {
		for a.answer() {
		}
		a.close()
		l.admins--
	})
}

// answer serves one request, and tells whether another may follow.
func (a *admin) answer() (keep bool) {
	a.request.reset()
	until := a.loop.wheel.after(adminTimeout)
	for complete := false; !complete; {
		if a.in != nil {
			var wrong *problem
			if complete, wrong = a.request.parse(a.in.bytes(), a.loop.server.settings.maxHeaderBytes); wrong != nil {
				a.send(appendProblem(nil, wrong, "Connection: close\r\n", false), adminTimeout)
				return false
			}
		}
		if !complete && a.fill(until) != nil {
			return false
		}
	}
	data := a.in.bytes()
	keep = a.request.persistent() && a.request.minor == 1 && !a.request.hasBody()
	connection := ""
	if !keep {
		connection = "Connection: close\r\n"
	}
	text := a.appendAnswer(nil, string(data[a.request.target.start:a.request.target.end]), string(data[:a.request.method.end]), connection)
	if a.in.start += a.request.length; a.in.start == a.in.end {
		a.release()
	} else {
		a.in.end = copy(a.in.data, a.in.bytes())
		a.in.start = 0
	}
	return a.send(text, adminTimeout) == nil && keep
}

// appendAnswer appends the response to a request.
func (a *admin) appendAnswer(out []byte, path, method, connection string) []byte {
	var body bytes.Buffer
	kind := "text/plain"
	switch {
	case a.request.hasBody():
		return appendProblem(out, noBodyAllowed, connection, a.request.isHead)
	case path != "/metrics" && path != "/health":
		return appendProblem(out, notFound, connection, a.request.isHead)
	case method != "GET" && method != "HEAD":
		return appendProblem(out, onlyGet, connection, false)
	case path == "/metrics":
		kind = "text/plain; version=0.0.4"
		a.loop.server.writeMetrics(&body)
	default:
		body.WriteString("ok\n")
	}
	out = fmt.Appendf(out, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n", kind, body.Len(), connection)
	if a.request.isHead {
		return out
	}
	return append(out, body.Bytes()...)
}
