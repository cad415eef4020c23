package main

import (
	"runtime"
)

// loop writes to its clients. It is one goroutine for all of them, beside those of the
// framework that read: what these have queued by the time it runs goes out with one
// write for each client.
type loop struct {
	server *server
	outbox outbox
	signal chan struct{} // there is output
}

func newLoop(s *server) (*loop, error) {
	return &loop{server: s, signal: make(chan struct{}, 1)}, nil
}

// run serves for ever.
func (l *loop) run() {
	for range l.signal {
		runtime.Gosched() // first all readers that can run: the more they queue, the fewer writes
		for clients := l.outbox.take(); len(clients) > 0; clients = l.outbox.take() {
			for _, c := range clients {
				if !c.flush() {
					l.end(c)
				}
			}
		}
	}
}

// hasOutput lists a client for the next turn.
func (l *loop) hasOutput(c *client) {
	l.outbox.add(c)
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// awaitWritable writes on when the socket takes more. Only a client whose socket is full
// has a goroutine for that. The client is locked.
func (l *loop) awaitWritable(c *client) {
	if !c.awaited {
		c.awaited = true
		go c.writeOn()
	}
}

// end closes what is broken. The goroutine that reads notices, and lets the framework
// forget the connection.
func (l *loop) end(c *client) {
	if _, first := c.release(); first {
		c.from.TCPConn.Close()
		l.server.leave(c)
	}
}
