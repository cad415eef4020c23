// websocket-public-chat is a public chat server over WebSocket, on Fiber v2.
//
// Fiber serves the plain requests, and its websocket package the handshake and the frames
// that come in, with a goroutine for each connection. What goes out is ours: a chat
// message is encoded once and queued by reference for all receivers, and one goroutine
// for each thread writes to each client all that has come together for it, with one
// call. The package itself would need one write for each message.
//
// See the manual below for the options and for what is printed.
package main

import (
	"errors"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

const slug = "websocket-public-chat"

const manual = `websocket-public-chat: a public chat server over WebSocket

usage: websocket-public-chat --listen HOST:PORT [options]

  --listen HOST:PORT       where clients connect; port 0 is any free port
  --threads N              threads that do the work (default 1)
  --drain-timeout S        seconds for clients to answer the close frame at the end (default 5)
  --queue N                messages that may wait for one client, at most 1 MiB (default 1024)
  --rate N                 chat messages a second of a connection, 0 is no limit (default 10)
  --burst N                chat messages at once of a connection (default 20)
  --ping-interval S        seconds of silence before a ping (default 20)
  --ping-timeout S         seconds of silence after a ping before the connection is cut (default 10)
  --join-timeout S         seconds to join a room (default 10)
  --max-message-bytes N    a larger message closes its connection with 1009 (default 4096)
  --max-connections N      WebSocket connections; more are answered 503 (default 10000)
  --history N              messages of a room that who joins is sent (default 0)
  --origins LIST           origins that may connect, separated by commas (default: all)
  --echo                   turns /echo on, for test suites of the protocol
  --help, --version        print this, or the version, and stop

Seconds may have fractions. GET /chat upgrades, GET /health says ok, GET /metrics counts.

Prints "listening on HOST:PORT" when it is ready. SIGTERM or SIGINT: accepts no more, every
connection gets what is queued for it and a close frame; a second signal ends at once.
Exit code: 0 done, 2 bad usage or bad input, 1 the machine failed.
`

func main() {
	signal.Ignore(syscall.SIGPIPE) // a reader that goes away is an error like others
	err := run(os.Args[1:])
	if err == nil {
		os.Exit(exitDone)
	}
	exitCode := exitMachine
	var known *failure
	if errors.As(err, &known) {
		exitCode = known.exitCode
	}
	logLine("error: %v", err)
	os.Exit(exitCode)
}

func run(arguments []string) error {
	settings, err := parseOptions(arguments)
	if err != nil {
		return err
	}
	switch {
	case settings.help:
		return printText(manual)
	case settings.version:
		return printText(slug + " go\n")
	}
	runtime.GOMAXPROCS(settings.threads)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	chat, err := newServer(settings)
	if err != nil {
		return err
	}
	from, err := listen(chat)
	if err != nil {
		return err
	}
	if err := printText("listening on " + from.Addr().String() + "\n"); err != nil {
		return err
	}
	for _, l := range chat.loops {
		go l.run()
	}
	go serveHTTP(chat, from)
	<-signals
	go func() { // the second signal
		<-signals
		os.Exit(exitDone)
	}()
	from.Close()
	chat.drain()
	return nil
}

func printText(text string) error {
	if _, err := os.Stdout.WriteString(text); err != nil {
		return machineFailure("standard output: %v", err)
	}
	return nil
}
