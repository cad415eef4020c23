package main

import (
	"fmt"
	"strings"
	"sync/atomic"
)

// counters are what /metrics shows; all threads count in them.
type counters struct {
	accepted, refused, open atomic.Int64
	replies                 [statusCount]atomic.Int64
}

// text renders the counters as Prometheus reads them.
func (c *counters) text() string {
	var out strings.Builder
	series := func(name, kind string, value int64) {
		fmt.Fprintf(&out, "# TYPE %s %s\n%s %d\n", name, kind, name, value)
	}
	series("connections_accepted_total", "counter", c.accepted.Load())
	series("connections_refused_total", "counter", c.refused.Load())
	series("connections_open", "gauge", c.open.Load())
	out.WriteString("# TYPE requests_total counter\n")
	for code := range c.replies {
		fmt.Fprintf(&out, "requests_total{status=%q} %d\n", statusLines[code][:3], c.replies[code].Load())
	}
	return out.String()
}
