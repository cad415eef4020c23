package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// metrics are the counters of the proxy.
type metrics struct {
	responses         [6]atomic.Uint64 // by the first digit of the code
	activeConnections atomic.Int64
	retries           atomic.Uint64
	responsesCut      atomic.Uint64
	bytesIn, bytesOut atomic.Uint64
}

func (m *metrics) countResponse(status int) {
	if class := status / 100; class < len(m.responses) {
		m.responses[class].Add(1)
	}
}

// write shows all counters in the text format of Prometheus.
func (m *metrics) write(out io.Writer, backends []*backend) {
	describe(out, "requests_total", "counter", "Responses sent to clients, by class of their code.")
	for class := 1; class < len(m.responses); class++ {
		fmt.Fprintf(out, "requests_total{code=\"%dxx\"} %d\n", class, m.responses[class].Load())
	}
	describe(out, "backend_requests_total", "counter", "Requests sent to a backend.")
	for _, b := range backends {
		fmt.Fprintf(out, "backend_requests_total{backend=%q} %d\n", b.address, b.requests.Load())
	}
	describe(out, "backend_up", "gauge", "Whether a backend gets requests.")
	for _, b := range backends {
		up := 0
		if b.isUp() {
			up = 1
		}
		fmt.Fprintf(out, "backend_up{backend=%q} %d\n", b.address, up)
	}
	describe(out, "active_connections", "gauge", "Open connections of clients.")
	fmt.Fprintf(out, "active_connections %d\n", m.activeConnections.Load())
	for _, row := range []struct {
		name, help string
		counter    *atomic.Uint64
	}{
		{"retries_total", "Attempts on another backend.", &m.retries},
		{"responses_cut_total", "Responses whose backend failed inside the body.", &m.responsesCut},
		{"bytes_in_total", "Bytes received from clients.", &m.bytesIn},
		{"bytes_out_total", "Bytes sent to clients.", &m.bytesOut},
	} {
		describe(out, row.name, "counter", row.help)
		fmt.Fprintf(out, "%s %d\n", row.name, row.counter.Load())
	}
}

func describe(out io.Writer, name, kind, help string) {
	fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// serveAdmin answers GET /metrics and GET /health. Few people ask, so the standard server does.
func serveAdmin(listener net.Listener, m *metrics, backends []*backend) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		m.write(w, backends)
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "ok\n")
	})
	admin := http.Server{
		Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	admin.Serve(listener)
}
