package main

import (
	"fmt"
	"strings"
	"sync/atomic"
)

// metrics are the counters of the server.
type metrics struct {
	connects          atomic.Int64
	offered           atomic.Int64 // chat messages received, malformed ones included
	accepted          atomic.Int64
	refused           atomic.Int64 // by rate
	deliveries        atomic.Int64 // chat messages written whole to a socket
	deliveriesDropped atomic.Int64 // chat messages meant for a client and never written whole
	slowConsumers     atomic.Int64
	protocolErrors    atomic.Int64
	pingTimeouts      atomic.Int64
}

// metricsText shows all in the text format of Prometheus.
func (s *server) metricsText() string {
	s.hub.lock.Lock()
	rooms, members := len(s.hub.rooms), s.hub.members
	s.hub.lock.Unlock()
	m := &s.metrics
	var out strings.Builder
	for _, row := range []struct {
		name, kind, help string
		value            int64
	}{
		{"chat_connections", "gauge", "Open WebSocket connections.", int64(s.connections())},
		{"chat_rooms", "gauge", "Rooms that have members.", int64(rooms)},
		{"chat_members", "gauge", "Members of all rooms.", int64(members)},
		{"chat_connects_total", "counter", "Connections upgraded to WebSocket.", m.connects.Load()},
		{"chat_messages_offered_total", "counter", "Chat messages received, malformed ones included.", m.offered.Load()},
		{"chat_messages_accepted_total", "counter", "Chat messages accepted for delivery.", m.accepted.Load()},
		{"chat_messages_refused_total", "counter", "Chat messages refused by the rate limit.", m.refused.Load()},
		{"chat_deliveries_total", "counter", "Frames of chat messages written whole to a socket.", m.deliveries.Load()},
		{"chat_deliveries_dropped_total", "counter", "Chat messages meant for a client and never written whole.", m.deliveriesDropped.Load()},
		{"chat_slow_consumers_total", "counter", "Clients cut because their queue was full.", m.slowConsumers.Load()},
		{"chat_protocol_errors_total", "counter", "Connections closed for breaking the protocol.", m.protocolErrors.Load()},
		{"chat_ping_timeouts_total", "counter", "Connections cut because no pong came.", m.pingTimeouts.Load()},
	} {
		fmt.Fprintf(&out, "# HELP %s %s\n# TYPE %s %s\n%s %d\n", row.name, row.help, row.name, row.kind, row.name, row.value)
	}
	return out.String()
}
