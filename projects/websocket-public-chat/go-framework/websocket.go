package main

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"

	protocol "github.com/fasthttp/websocket"
	"github.com/gofiber/contrib/websocket"
)

const (
	largestEcho  = 16 << 20
	bufferBytes  = 4 << 10
	largestKept  = 64 << 10 // buffers above are left to the collector
	discardBytes = 512
)

var errNotText = errors.New("invalid UTF-8")

// incoming is what the lane needs to read from a client, and to wait for its socket. The
// framework's package reads and checks the frames; it never writes, see socket.Write.
type incoming struct {
	from    *socket
	raw     syscall.RawConn
	awaited bool // a goroutine waits until the socket takes more; under the lock of the client
}

// buffers are lent to messages while they come.
var buffers = sync.Pool{New: func() any {
	buffer := make([]byte, 0, bufferBytes)
	return &buffer
}}

// talk serves an upgraded connection until it ends.
func (s *server) talk(conn *websocket.Conn, from *socket, echo bool) {
	raw, err := from.SyscallConn()
	if err != nil {
		return
	}
	descriptor := -1
	if err := raw.Control(func(fd uintptr) { descriptor = int(fd) }); err != nil {
		return
	}
	c := newClient(s, s.nextLoop(), descriptor, echo)
	c.from, c.raw = from, raw
	from.client, from.reserved = c, false
	s.enter(c)
	c.receive(conn)
	c.lost() // from here on nobody uses the descriptor, which the framework is about to close
}

// receive reads messages until there are no more, then what is left until the connection ends.
func (c *client) receive(conn *websocket.Conn) {
	conn.SetPingHandler(func(payload string) error {
		c.push(newFrame(opPong, []byte(payload)))
		return nil
	})
	conn.SetPongHandler(func(string) error { return nil })
	conn.SetCloseHandler(func(int, string) error { return nil })
	conn.SetReadLimit(int64(c.server.settings.maxMessageBytes))
	if c.echo {
		conn.SetReadLimit(largestEcho)
	}
	var err error
	for err == nil {
		err = c.receiveMessage(conn)
	}
	c.stop(err)
	var discarded [discardBytes]byte
	for err = nil; err == nil; {
		_, err = c.from.Read(discarded[:])
	}
}

var errBinary = errors.New("text only")

// receiveMessage reads a message and does what it asks for.
func (c *client) receiveMessage(conn *websocket.Conn) error {
	kind, from, err := conn.NextReader()
	if err != nil {
		return err
	}
	if kind == websocket.BinaryMessage && !c.echo {
		return errBinary
	}
	lent := buffers.Get().(*[]byte)
	message, err := readMessage(from, (*lent)[:0], kind == websocket.TextMessage)
	if err == nil && c.echo {
		c.push(newFrame(byte(kind), message))
		c.raw.Write(func(uintptr) bool { return c.resume() }) // nothing is read before the echo is written
	} else if err == nil {
		c.server.hub.handle(c, message)
	}
	if cap(message) <= largestKept {
		*lent = message
		buffers.Put(lent)
	}
	return err
}

// readMessage appends a message to a buffer. Text is checked as it comes.
func readMessage(from io.Reader, message []byte, isText bool) ([]byte, error) {
	checked := 0
	for {
		if len(message) == cap(message) {
			message = append(message, 0)[:len(message)]
		}
		n, err := from.Read(message[len(message):cap(message)])
		message = message[:len(message)+n]
		if isText {
			whole, ok := checkedText(message[checked:])
			checked += whole
			if !ok || err == io.EOF && checked < len(message) {
				return message, errNotText
			}
		}
		if err == io.EOF {
			return message, nil
		}
		if err != nil {
			return message, err
		}
	}
}

// stop does what the end of reading asks for.
func (c *client) stop(err error) {
	var closed *protocol.CloseError
	switch {
	case c.from.ended:
		c.lost()
	case errors.As(err, &closed) && c.from.frames.hasHalfCode:
		c.receivedClose([]byte{0}) // the package takes it for one without a code
	case errors.As(err, &closed):
		c.receivedClose(closePayload(closed))
	case errors.Is(err, protocol.ErrReadLimit):
		c.fail(closeTooBig, "message too large")
	case err == errNotText, strings.Contains(err.Error(), "invalid utf8"):
		c.fail(closeBadText, errNotText.Error())
	case err == errBinary:
		c.fail(closeUnsupported, errBinary.Error())
	default:
		c.fail(closeProtocol, "protocol error")
	}
}

// closePayload is what the peer's close frame had in it.
func closePayload(closed *protocol.CloseError) []byte {
	if closed.Code == websocket.CloseNoStatusReceived {
		return nil
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(closed.Code)), closed.Text...)
}

// writeOn waits until the socket has taken all that was queued.
func (c *client) writeOn() {
	c.raw.Write(func(uintptr) bool { return c.resume() })
	c.lock.Lock()
	defer c.lock.Unlock()
	c.awaited = false
	if c.clogged && c.state < stateBroken { // again, in the meantime
		c.loop.awaitWritable(c)
	}
}
