// @@slug@@ hashes what it is asked for: GET /hash/TEXT answers the XXH64 of TEXT.
//
// A goroutine serves each connection; the runtime waits for all of them with one
// epoll. Requests are parsed in place, and the replies to all requests of one read
// leave in one write. Nothing is allocated for a request.
//
// The protocol is the job, so it is not left to net/http, which has limits, replies
// and headers of its own.
//
// See manual below for the options and for what is answered.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

const slug = "@@slug@@"

const manual = `@@title@@

usage: @@slug@@ --listen HOST:PORT [options]

  --listen HOST:PORT   where clients connect: a numeric host or localhost; port 0 is any free port
  --threads N          threads that do the work (default 1, at most 64)
  --max-connections N  connections at a time; more are closed at once (default 10000, at most 100000)
  --idle-timeout S     seconds for a client to send its next request and to take its replies (default 60)
  --drain-timeout S    seconds for requests under way after SIGTERM or SIGINT (default 5)
  --help, --version    print this, or the version, and stop

GET /hash/TEXT answers the XXH64 of TEXT as 16 hexadecimal digits. TEXT is one segment of a path, taken as it
stands in the request line, percent signs included; a query behind it is not part of it.
GET /metrics answers counters in the text format of Prometheus.

HTTP/1.1 with keep-alive and pipelining; HTTP/1.0 is answered and closed. A request line has at most 4096 bytes
(else 414), a head at most 8192 (else 431), and a request no body.

Prints "listening on HOST:PORT" when it is ready. SIGTERM or SIGINT: accepts no more, finishes what is under way;
a second signal ends at once.
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
	server, err := newServer(settings)
	if err != nil {
		return err
	}
	if err := printText(fmt.Sprintf("listening on %v\n", server.listener.Addr())); err != nil {
		return err
	}
	go server.accept()
	<-signals
	go func() { // who asks twice does not want to wait
		<-signals
		os.Exit(exitDone)
	}()
	server.drain()
	return nil
}

func printText(text string) error {
	if _, err := os.Stdout.WriteString(text); err != nil {
		return machineFailure("standard output: %v", errors.Unwrap(err))
	}
	return nil
}
