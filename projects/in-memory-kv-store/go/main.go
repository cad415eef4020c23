// in-memory-kv-store keeps keys and values in memory and speaks the protocol of Redis.
//
// One goroutine waits for all connections (epoll), reads, executes and answers in
// turns. Keys, values and tables live in an arena outside Go's heap: the collector
// has nothing to do, and a key of 16 bytes with a value of 16 takes less than 60.
//
// See manual below for the options, and --help.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

const slug = "in-memory-kv-store"

const manual = `in-memory-kv-store: a store of keys and values in memory that speaks the protocol of Redis

usage: in-memory-kv-store --listen ADDRESS [options]
       in-memory-kv-store --check-aof PATH

  --listen ADDRESS           HOST:PORT, port 0 for any free one, or unix:PATH; may be given again
  --threads N                threads that do the work (default 1)
  --maxmemory BYTES          most memory for keys, values, tables and buffers of clients; k, m, g are
                             thousands, kb, mb, gb are 1024s (default 0: no limit)
  --maxmemory-policy POLICY  what to do at the limit (default noeviction):
                             noeviction      refuse commands that need memory
                             allkeys-lru     remove keys that were not used for long
                             volatile-lru    the same among keys that expire
                             allkeys-random  remove any key
                             volatile-ttl    remove keys that expire soonest
  --appendonly PATH          log every change to this file and replay it at the start (default: no log)
  --appendfsync WHEN         always (before the reply), everysec (default: once a second) or no
  --maxclients N             connections at once (default 10000)
  --drain-timeout SECONDS    at the end wait so long for clients to read their replies (default 5)
  --check-aof PATH           check a log and stop: ok, N commands
  --help, --version          print this, or the version, and stop

When it is ready it prints one line for each address: listening on ADDRESS. RESP2 and
inline commands, one database. INFO has the counters. SIGTERM and SIGINT end it: what
clients have sent is answered, a second signal ends it at once.

A log with an unfinished command at its end is cut there, with a line on standard error; one
that is damaged elsewhere is refused. BGREWRITEAOF writes a new log beside the work and
renames it over the old one.

Exit code: 0 done, 2 bad usage or bad input, 1 the machine failed.
`

func main() {
	signal.Ignore(syscall.SIGPIPE, syscall.SIGXFSZ) // a reader that goes away, a file that may not grow: errors like others
	if err := run(os.Args[1:]); err != nil {
		fatal(err)
	}
}

// fatal ends the program with the one line that an error is.
func fatal(err error) {
	exitCode := exitMachine
	var known *failure
	if errors.As(err, &known) {
		exitCode = known.exitCode
	}
	fmt.Fprintln(os.Stderr, "error:", err)
	os.Exit(exitCode)
}

func run(arguments []string) error {
	request, err := parseOptions(arguments)
	if err != nil {
		return err
	}
	switch {
	case request.help:
		return printText(manual)
	case request.version:
		return printText(slug + " go\n")
	case request.checkLog != "":
		found, err := checkLog(request.checkLog)
		if err != nil {
			return err
		}
		return printText(found)
	}
	return serve(request)
}

// serve opens the store and the addresses and serves until a signal or SHUTDOWN.
func serve(o *options) error {
	setThreads(o)
	s, err := newStore()
	if err != nil {
		return err
	}
	s.maxMemory, s.policy = o.maxMemory, o.policy
	srv, err := newServer(s, o)
	if err != nil {
		return err
	}
	if err := srv.listen(); err != nil {
		return err
	}
	if o.appendOnly != "" {
		if s.log, err = openLog(s, o.appendOnly, o.fsync); err != nil {
			return err
		}
		s.log.wake = srv.loops[0].wake
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go obey(signals, srv)
	if err := announce(srv); err != nil {
		return err
	}
	srv.serve()
	if s.log != nil {
		return s.log.close(s.now)
	}
	return nil
}

// announce tells where the server listens.
func announce(srv *server) error {
	var lines strings.Builder
	for _, from := range srv.loops[0].listeners {
		fmt.Fprintf(&lines, "listening on %s\n", from.shown)
	}
	return printText(lines.String())
}

// obey drains at the first signal and ends at the second.
func obey(signals <-chan os.Signal, srv *server) {
	<-signals
	srv.shutdown()
	<-signals
	os.Exit(exitMachine)
}

func printText(text string) error {
	if _, err := os.Stdout.WriteString(text); err != nil {
		return machineFailure("standard output: %v", err)
	}
	return nil
}
