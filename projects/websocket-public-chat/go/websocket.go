package main

import (
	"errors"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

const (
	longestHeader  = 14
	largestEcho    = 16 << 20
	startedMessage = 512 // bytes to begin with, for a message that comes in parts
)

// incoming is the incoming half of a connection: what of a frame and of a message has come
// so far. Usually whole frames come, and then it holds nothing: payloads are used where
// they stand in the buffer of the loop.
type incoming struct {
	head     [longestHeader]byte // the start of a header
	headSize int

	header  ws.Header
	inFrame bool
	got     int64 // of its payload

	control []byte // payload of a control frame that came in parts

	kind       ws.OpCode // of the message that came in part
	fragmented bool      // its last frame has not begun
	message    []byte
	checked    int // bytes of it that are whole characters
}

// receive takes bytes from the connection. They are changed.
func (c *client) receive(data []byte) {
	for !c.deaf {
		if !c.inFrame {
			used, ok := c.readHeader(data)
			if data = data[used:]; !ok {
				return
			}
			if code, reason := c.checkHeader(); code != 0 {
				c.fail(code, reason)
				return
			}
			c.inFrame, c.got = true, 0
		}
		part := data[:min(int64(len(data)), c.header.Length-c.got)]
		data = data[len(part):]
		ws.Cipher(part, c.header.Mask, int(c.got))
		c.got += int64(len(part))
		c.inFrame = c.got < c.header.Length
		if c.header.OpCode.IsControl() {
			c.receiveControl(part)
		} else {
			c.receiveData(part)
		}
		if c.inFrame {
			return
		}
	}
}

// readHeader reads the header of the next frame, when it is whole.
func (c *client) readHeader(data []byte) (used int, ok bool) {
	whole, kept := data, c.headSize
	if kept > 0 {
		more := copy(c.head[kept:], data)
		whole = c.head[:kept+more]
	}
	from := &c.loop.header
	from.Reset(whole)
	header, err := ws.ReadHeader(from)
	if errors.Is(err, ws.ErrHeaderLengthMSB) {
		c.fail(closeTooBig, "message too large")
		return len(data), false
	}
	if err != nil { // more is to come
		c.headSize = copy(c.head[:], whole)
		return len(data), false
	}
	c.header, c.headSize = header, 0
	return len(whole) - from.Len() - kept, true
}

// checkHeader tells what is wrong with a frame before any of its payload is taken.
func (c *client) checkHeader() (code int, reason string) {
	state := ws.StateServerSide
	if c.fragmented {
		state = state.Set(ws.StateFragmented)
	}
	if err := ws.CheckHeader(c.header, state); err != nil {
		return closeProtocol, "protocol error"
	}
	if c.header.OpCode.IsControl() {
		return 0, ""
	}
	limit := int64(c.server.settings.maxMessageBytes)
	if c.echo {
		limit = largestEcho
	} else if c.header.OpCode == ws.OpBinary {
		return closeUnsupported, "text only"
	}
	if c.header.Length > limit-int64(len(c.message)) {
		return closeTooBig, "message too large"
	}
	if c.header.OpCode != ws.OpContinuation {
		c.kind = c.header.OpCode
	}
	return 0, ""
}

// receiveControl takes a part of the payload of a control frame.
func (c *client) receiveControl(part []byte) {
	if c.inFrame || len(c.control) > 0 {
		c.control = append(c.control, part...)
		part = c.control
	}
	if c.inFrame {
		return
	}
	c.control = nil
	switch c.header.OpCode {
	case ws.OpPing:
		c.push(newFrame(opPong, part))
	case ws.OpClose:
		c.receivedClose(part)
	}
}

// receiveData takes a part of the payload of a message. A message whose only frame came
// whole is used where it stands.
func (c *client) receiveData(part []byte) {
	isWhole := c.header.Fin && !c.inFrame
	if isWhole && !c.fragmented && int64(len(part)) == c.header.Length {
		if c.kind == ws.OpText && !utf8.Valid(part) {
			c.fail(closeBadText, "invalid UTF-8")
			return
		}
		c.receiveMessage(part)
		return
	}
	if c.message == nil {
		c.message = make([]byte, 0, max(startedMessage, len(part)))
	}
	c.message = append(c.message, part...)
	if c.kind == ws.OpText {
		whole, ok := checkedText(c.message[c.checked:])
		c.checked += whole
		if !ok || isWhole && c.checked < len(c.message) {
			c.fail(closeBadText, "invalid UTF-8")
			return
		}
	}
	if !c.inFrame {
		c.fragmented = !c.header.Fin
	}
	if isWhole {
		message := c.message
		c.message, c.checked = nil, 0
		c.receiveMessage(message)
	}
}

// receiveMessage does what a whole message asks for.
func (c *client) receiveMessage(message []byte) {
	switch {
	case !c.echo:
		c.server.hub.handle(c, message)
	case c.kind == ws.OpText:
		c.push(newFrame(opText, message))
	default:
		c.push(newFrame(opBinary, message))
	}
}
