package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
)

const (
	bufferBytes = 64 << 10
	// patience is how long the server may take for anything.
	patience = 10 * time.Second
)

var errClosed = errors.New("closed the connection")

// connection reads what the server sends through one buffer.
type connection struct {
	socket     net.Conn
	buffer     [bufferBytes]byte
	start, end int
	until      time.Time
}

func connect(server netip.AddrPort) (*connection, error) {
	socket, err := net.DialTimeout("tcp", server.String(), patience)
	if err != nil {
		return nil, err
	}
	return &connection{socket: socket}, nil
}

func (c *connection) close() { c.socket.Close() }

// send writes all; a deadline that is half over is moved first, not one for each call: that has a price.
func (c *connection) send(content []byte) error {
	c.renew()
	_, err := c.socket.Write(content)
	return err
}

func (c *connection) renew() {
	if now := time.Now(); c.until.Sub(now) < patience/2 {
		c.until = now.Add(patience)
		_ = c.socket.SetDeadline(c.until) // a socket that is gone says so when it is used
	}
}

// line returns the next line without its end; it is good until the next call.
func (c *connection) line() ([]byte, error) {
	for {
		if length := bytes.IndexByte(c.buffer[c.start:c.end], '\n'); length >= 0 {
			line := c.buffer[c.start : c.start+length]
			c.start += length + 1
			return bytes.TrimSuffix(line, []byte{'\r'}), nil
		}
		if c.end-c.start == bufferBytes {
			return nil, errors.New("sent a line without an end")
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// some returns at least one byte and at most so many; they are good until the next call.
func (c *connection) some(most int64) ([]byte, error) {
	if c.start == c.end {
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
	length := int(min(most, int64(c.end-c.start)))
	c.start += length
	return c.buffer[c.start-length : c.start], nil
}

// fill reads once, behind what is there.
func (c *connection) fill() error {
	if c.start > 0 {
		c.end = copy(c.buffer[:], c.buffer[c.start:c.end])
		c.start = 0
	}
	c.renew()
	count, err := c.socket.Read(c.buffer[c.end:])
	c.end += count
	switch {
	case count > 0:
		return nil
	case errors.Is(err, io.EOF):
		return errClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("did not answer in time")
	}
	return err
}
