package main

import (
	"bytes"
	"net"
	"os"
	"time"

	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

const (
	maxBodyBytes    = 16 << 10 // no request here needs one
	readBufferBytes = 512      // of the package for WebSocket, for each connection
	socketKey       = "socket"
)

// serveHTTP serves plain requests and handshakes until the listener is closed.
func serveHTTP(s *server, from net.Listener) {
	app := fiber.New(fiber.Config{
		DisableStartupMessage: true,
		StrictRouting:         true,
		CaseSensitive:         true,
		ReadBufferSize:        maxHeadBytes,
		BodyLimit:             maxBodyBytes,
		ReadTimeout:           headTimeoutSeconds * time.Second,
		IdleTimeout:           headTimeoutSeconds * time.Second,
		ReduceMemoryUsage:     true, // or every client would keep the buffer for its head
		ErrorHandler:          refuse,
	})
	settings := websocket.Config{
		ReadBufferSize:  readBufferBytes,
		WriteBufferPool: noBuffers{},
		RecoverHandler:  recovered,
	}
	app.Use(s.answer)
	for path, echo := range map[string]bool{"/chat": false, "/echo": true} {
		app.Get(path, websocket.New(func(conn *websocket.Conn) {
			s.talk(conn, conn.Locals(socketKey).(*socket), echo)
		}, settings))
	}
	routed := app.Handler()
	app.Server().Handler = func(ctx *fasthttp.RequestCtx) {
		if isKnownMethod(ctx.Method()) {
			routed(ctx)
			return
		}
		ctx.Request.Header.SetMethod(fiber.MethodTrace) // Fiber answers 400 to what it does not know; here it is one of the other methods
		routed(ctx)
	}
	app.Listener(from)
}

func isKnownMethod(method []byte) bool {
	for _, known := range fiber.DefaultMethods {
		if string(method) == known {
			return true
		}
	}
	return false
}

// answer answers a request, or lets it go on to the upgrade.
func (s *server) answer(c *fiber.Ctx) error {
	head := &c.Context().Request.Header
	version := string(head.Protocol())
	given := refusal(fiber.StatusBadRequest) // without a host; the framework does not mind
	if len(head.Host()) > 0 || version != "HTTP/1.1" {
		given = s.route(c.Method(), string(c.Context().URI().PathOriginal()), version, func(name string) string {
			return string(bytes.Join(head.PeekAll(name), []byte(",")))
		})
	}
	if given == upgrade {
		from := c.Context().Conn().(*socket)
		from.reserved = true
		c.Locals(socketKey, from)
		head.Set(fiber.HeaderConnection, "Upgrade")
		head.Set(fiber.HeaderUpgrade, "websocket")
		return c.Next()
	}
	for _, own := range given.headers {
		if own.name != "" {
			c.Set(own.name, own.value)
		}
	}
	c.Set(fiber.HeaderContentType, given.contentType)
	return c.Status(given.status).SendString(given.body)
}

// refuse answers what the framework finds wrong itself.
func refuse(c *fiber.Ctx, err error) error {
	status := fiber.StatusInternalServerError
	if known, ok := err.(*fiber.Error); ok {
		status = known.Code
	}
	c.Set(fiber.HeaderContentType, plainText)
	return c.Status(status).SendString(statusBody(status))
}

// recovered keeps a fault of ours from ending the other connections.
func recovered(*websocket.Conn) {
	if fault := recover(); fault != nil {
		logLine("fault: %v", fault)
	}
}

// noBuffers stands for the buffers that the framework's package would write with: it does not.
type noBuffers struct{}

func (noBuffers) Get() any { return nil }
func (noBuffers) Put(any)  {}

// socket is a connection of the framework's server. When it is upgraded the framework
// still reads from it, but only the client's queue writes to it.
type socket struct {
	*net.TCPConn
	server   *server
	client   *client // when it is upgraded
	reserved bool    // it has a place, which the client takes
	late     bool    // a head that was not whole in time
	ended    bool    // reading it failed
	head     headEnd
	behind   []byte // what came with a head and is not of it
	frames   follower
}

// Read gives heads and what comes behind them apart, so that frames are seen from the
// first one on, and notes when something came.
func (s *socket) Read(data []byte) (n int, err error) {
	if len(s.behind) > 0 {
		n = copy(data, s.behind)
		s.behind = s.behind[n:]
	} else if n, err = s.TCPConn.Read(data); err != nil {
		s.ended = true
		s.late = os.IsTimeout(err)
	}
	switch {
	case n == 0:
		return n, err
	case s.client != nil:
		s.client.heard.Store(now())
		s.frames.follow(data[:n])
		return n, err
	}
	if size := s.head.find(data[:n]); size < n {
		s.behind = append(bytes.Clone(data[size:n]), s.behind...)
		n = size
	}
	return n, err
}

// Write writes what answers a request. What the framework's package writes to an upgraded
// connection (close frames when it finds a fault) is left out: ours go in order through
// the queue, with all that waits there. A head that is late is cut, without an answer.
func (s *socket) Write(data []byte) (int, error) {
	switch {
	case s.client != nil:
		return len(data), nil
	case s.late:
		return 0, os.ErrDeadlineExceeded
	}
	return s.TCPConn.Write(data)
}

// SetWriteDeadline is for answers only, too.
func (s *socket) SetWriteDeadline(at time.Time) error {
	if s.client != nil {
		return nil
	}
	return s.TCPConn.SetWriteDeadline(at)
}

// Close gives back the place of a connection whose upgrade failed.
func (s *socket) Close() error {
	if s.reserved {
		s.reserved = false
		s.server.unreserve()
	}
	return s.TCPConn.Close()
}
