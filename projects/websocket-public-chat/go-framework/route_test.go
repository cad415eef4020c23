package main

import "testing"

func TestRequestsAreRouted(t *testing.T) {
	s := lab(t, "--max-connections 1 --origins https://a.example")
	good := map[string]string{
		"Upgrade": "h2c, WebSocket", "Connection": "keep-alive, upgrade", "Sec-Websocket-Version": "13",
		"Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": "https://a.example",
	}
	for _, test := range []struct {
		method, path, name, value string // a header that is changed
		want                      int
	}{
		{"GET", "/health", "", "", 200}, {"GET", "/metrics", "", "", 200}, {"POST", "/health", "", "", 405}, {"HEAD", "/chat", "", "", 405},
		{"GET", "/", "", "", 404}, {"POST", "/Chat", "", "", 404}, {"GET", "/echo", "", "", 404},
		{"GET", "/chat", "Upgrade", "h2c", 426}, {"GET", "/chat", "Connection", "", 426}, {"GET", "/chat", "Sec-Websocket-Version", "8", 426},
		{"GET", "/chat", "Sec-Websocket-Key", "", 400}, {"GET", "/chat", "Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ", 400},
		{"GET", "/chat", "Sec-Websocket-Key", "c2hvcnQ=", 400}, {"GET", "/chat", "Origin", "", 403}, {"GET", "/chat", "Origin", "https://b.example", 403},
		{"GET", "/chat", "", "", 0}, {"GET", "/chat", "", "", 503},
	} {
		got := s.route(test.method, test.path, "HTTP/1.1", func(name string) string {
			if name == test.name {
				return test.value
			}
			return good[name]
		})
		if got.status != test.want {
			t.Errorf("%s %s with %s %q: got %d, want %d", test.method, test.path, test.name, test.value, got.status, test.want)
		}
	}
	s.unreserve()
	if got := s.route("GET", "/chat", "HTTP/1.1", func(name string) string { return good[name] }); got != upgrade {
		t.Errorf("the place was not given back: %d", got.status)
	}
}
