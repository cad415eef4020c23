// high-perf-reverse-proxy is an HTTP/1.1 reverse proxy that keeps every byte it need not change.
//
// A client connection is served by a task that is written as one sequence: it reads a
// request head, checks it by the strict rules of RFC 9112, copies the unchanged spans
// of it with the few changed lines between them, sends it over a pooled connection to
// a backend, and passes the response back in the same way. Tasks are coroutines, which
// an event loop over epoll resumes; each thread has a loop, and a loop no locks.
//
// Bodies stream through one borrowed buffer. A request allocates nothing and costs four
// system calls; a connection that waits holds no buffer; deadlines are stores.
//
// See the manual below for the options and for what is printed.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

const slug = "high-perf-reverse-proxy"

const manual = `high-perf-reverse-proxy: an HTTP/1.1 reverse proxy with pooled connections to its backends

usage: high-perf-reverse-proxy --listen HOST:PORT --backends HOST:PORT[,HOST:PORT...] [options]

  --listen HOST:PORT       where clients connect; port 0 is any free port
  --backends LIST          the servers behind it, at most 256, separated by commas; names are resolved once, at start
  --balance HOW            round-robin (default), least-connections (fewest requests under way), or
                           hash (rendezvous hashing of the client's address)
  --hash-header NAME       with --balance hash: hash this request header instead, where it is present
  --pool-size N            idle connections kept per backend (default 64)
  --max-connections N      client connections; more are answered 503 (default 10000)
  --threads N              threads that do the work (default 1)
  --admin HOST:PORT        a second listener with GET /metrics (Prometheus text) and GET /health

Time-outs, in seconds, fractions allowed:
  --connect-timeout S      to connect to a backend (default 1)
  --read-timeout S         between two reads from a backend (default 30)
  --idle-timeout S         for a client that sends or takes nothing (default 60)
  --header-timeout S       until a whole request head has come (default 10)
  --drain-timeout S        for requests under way after SIGTERM or SIGINT (default 5)

Limits:
  --max-header-bytes N     request line and headers (default 16384); beyond: 431, or 414
  --max-body-bytes N       body of a request, 0 is no limit (default 0); beyond: 413

Health:
  --health-path PATH       GET this path of every backend; without it there are no active checks
  --health-interval S      between two checks of a backend (default 2)
  --health-timeout S       for one check (default 1); 2xx and 3xx are good answers
  --rise N                 good checks in a row that bring a backend back (default 2)
  --fall N                 bad checks in a row that take a backend out (default 3)
  --max-fails N            failed requests in a row that eject a backend; 0 is never (default 3)
  --fail-timeout S         how long it stays ejected (default 10)
  --retries N              tries on other backends for a request that is safe to repeat (default 1)

  --help, --version        print this, or the version, and stop

Prints "admin on HOST:PORT" where --admin is given, then "listening on HOST:PORT".
SIGTERM or SIGINT: accepts no more, ends idle connections, finishes what is under way; a second signal ends at once.
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
	proxy, err := newServer(settings)
	if err != nil {
		return err
	}
	if err := printText(proxy.addresses()); err != nil {
		return err
	}
	proxy.start()
	<-signals
	go func() { // the second signal
		<-signals
		os.Exit(exitDone)
	}()
	proxy.drain()
	return nil
}

func printText(text string) error {
	if _, err := fmt.Print(text); err != nil {
		return machineFailure("standard output: %v", errors.Unwrap(err))
	}
	return nil
}
