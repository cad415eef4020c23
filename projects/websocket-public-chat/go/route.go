package main

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
)

const (
	headTimeoutSeconds = 10       // for a whole request head
	maxHeadBytes       = 16 << 10 // beyond: 431
	keyBytes           = 16       // of Sec-WebSocket-Key, decoded
	plainText          = "text/plain; charset=utf-8"
	metricsType        = "text/plain; version=0.0.4; charset=utf-8"
)

// reply answers a request. Without a status the request is to be upgraded.
type reply struct {
	status      int
	body        string
	contentType string
	headers     [2]header // of its own
}

type header struct{ name, value string }

// refusal says what its status says.
func refusal(status int) reply {
	return reply{status: status, body: statusBody(status), contentType: plainText}
}

func statusBody(status int) string { return strings.ToLower(http.StatusText(status)) + "\n" }

// upgrade stands for no reply: go on with the upgrade.
var upgrade = reply{}

// route decides what a request gets. value joins the values of a header with commas.
func (s *server) route(method, path, protocol string, value func(name string) string) reply {
	isChat := path == "/chat" || path == "/echo" && s.settings.echo
	switch {
	case !isChat && path != "/health" && path != "/metrics":
		return refusal(http.StatusNotFound)
	case method != http.MethodGet:
		denied := refusal(http.StatusMethodNotAllowed)
		denied.headers[0] = header{"Allow", "GET"}
		return denied
	case path == "/health":
		return reply{status: http.StatusOK, body: "ok\n", contentType: plainText}
	case path == "/metrics":
		return reply{status: http.StatusOK, body: s.metricsText(), contentType: metricsType}
	}
	return s.routeUpgrade(protocol, value)
}

// routeUpgrade checks the handshake.
func (s *server) routeUpgrade(protocol string, value func(name string) string) reply {
	if !hasToken(value("Upgrade"), "websocket") || !hasToken(value("Connection"), "upgrade") || protocol != "HTTP/1.1" {
		wanted := refusal(http.StatusUpgradeRequired)
		wanted.headers = [2]header{{"Upgrade", "websocket"}, {"Connection", "Upgrade"}}
		return wanted
	}
	if value("Sec-Websocket-Version") != "13" {
		wanted := refusal(http.StatusUpgradeRequired)
		wanted.headers[0] = header{"Sec-WebSocket-Version", "13"}
		return wanted
	}
	if key, err := base64.StdEncoding.Strict().DecodeString(value("Sec-Websocket-Key")); err != nil || len(key) != keyBytes {
		return refusal(http.StatusBadRequest)
	}
	if len(s.settings.origins) > 0 && !slices.Contains(s.settings.origins, value("Origin")) {
		return refusal(http.StatusForbidden)
	}
	if !s.reserve() {
		return refusal(http.StatusServiceUnavailable)
	}
	return upgrade
}

// hasToken looks for a word in a list, whatever its case.
func hasToken(list, token string) bool {
	for word := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(word), token) {
			return true
		}
	}
	return false
}
