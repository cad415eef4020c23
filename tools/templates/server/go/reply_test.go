package main

import (
	"strings"
	"testing"
)

func reply(t *testing.T, head string, closes bool) string {
	t.Helper()
	found, what, _ := parseRequest([]byte(head))
	if what != isWhole {
		t.Fatalf("%q is not whole", head)
	}
	return string(appendReply(nil, &found, closes, &counters{}))
}

func TestReplies(t *testing.T) {
	const end = " HTTP/1.0\r\n\r\n"
	const empty = "\r\nContent-Length: 0\r\n\r\n"
	hash := func(digits string) string {
		return "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\r\n" + digits
	}
	for line, want := range map[string]string{
		"GET /hash/a":     hash("d24ec4f1a98c6e5b"),
		"GET /hash/a?b/c": hash("d24ec4f1a98c6e5b"),
		"GET /hash/":      hash("ef46db3751d8e999"),
		"GET /hash/a/b":   "HTTP/1.1 404 Not Found" + empty,
		"GET /hash":       "HTTP/1.1 404 Not Found" + empty,
		"GET /metrics/":   "HTTP/1.1 404 Not Found" + empty,
		"HEAD /hash/a":    "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET" + empty,
	} {
		if got := reply(t, line+end, false); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
	if got := reply(t, "GET /"+end, true); !strings.Contains(got, "\r\nConnection: close\r\n\r\n") {
		t.Errorf("got %q", got)
	}
	if got := reply(t, "GET / HTTP/1.0\r\nContent-Length: 1\r\n\r\n", true); !strings.HasPrefix(got, "HTTP/1.1 400 Bad") {
		t.Errorf("got %q", got)
	}
}

func TestMetricsCountThemselves(t *testing.T) {
	got := reply(t, "GET /metrics?x HTTP/1.0\r\n\r\n", false)
	for _, want := range []string{"connections_open 0\n", "requests_total{status=\"200\"} 1\n", "requests_total{status=\"431\"} 0\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}
