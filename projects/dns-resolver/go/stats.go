package main

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// counters count what the resolver did. Threads add to them once a batch.
type counters struct {
	queries, hits, misses       atomic.Int64 // of clients
	upstream, timeouts, spoofed atomic.Int64 // queries to servers
	servfail, tcp               atomic.Int64 // answers to clients, questions over TCP
	entries, bytes              atomic.Int64 // of the cache
}

func (c *counters) String() string {
	return fmt.Sprintf("queries=%d hits=%d misses=%d upstream=%d timeouts=%d servfail=%d spoofed=%d tcp=%d cache_entries=%d cache_bytes=%d",
		c.queries.Load(), c.hits.Load(), c.misses.Load(), c.upstream.Load(), c.timeouts.Load(),
		c.servfail.Load(), c.spoofed.Load(), c.tcp.Load(), c.entries.Load(), c.bytes.Load())
}

// bulkStatistics is the block that ends a bulk run.
func bulkStatistics(questions, repeats int, elapsed time.Duration, digest uint64) string {
	total, seconds := questions*repeats, elapsed.Seconds()
	var out strings.Builder
	fmt.Fprintln(&out, "--- Statistics ---")
	fmt.Fprintf(&out, "Total processed: %d\n", total)
	fmt.Fprintf(&out, "Processing time: %.6fs\n", seconds)
	fmt.Fprintf(&out, "Average latency: %.6fms\n", seconds*1000/float64(repeats))
	fmt.Fprintf(&out, "Throughput: %.2f items/sec\n", float64(total)/max(seconds, 1e-9))
	fmt.Fprintf(&out, "Digest: %016x\n", digest)
	return out.String()
}
