// dns-resolver asks the name servers of a tree, from its root on, and remembers what they say.
//
// It answers clients over UDP and TCP, or resolves a file of questions as fast as it can.
// One goroutine waits for all sockets (epoll). A question whose answer is known costs no
// allocation and no goroutine: the stored answer is copied behind the question in the
// packet it came in, and datagrams are read and written in batches. For all others there
// is a task, a coroutine written as one sequence: find the closest zone known, ask its
// servers, follow what they say.
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

const slug = "dns-resolver"

const manual = `dns-resolver: an iterative resolver with a cache, as a server or for a file of questions

usage: dns-resolver --listen HOST:PORT --hints FILE [options]
       dns-resolver --bulk QUERIES --hints FILE [options]

  --hints FILE             the servers of the root as a master file: NS records of . and
                           A and AAAA records of their names

Server mode:
  --listen HOST:PORT       answer UDP and TCP here; the host is an address or localhost,
                           port 0 is any free port
  --threads N              threads that do the work (default 1)
  --drain-timeout S        seconds for questions under way after SIGTERM or SIGINT (default 5)

Bulk mode, on one thread:
  --bulk QUERIES           a file with a name and a type on each line; - is standard input
  --in-flight N            questions under way at the same time (default 1000)
  --output PATH            write one line for each question, in their order; - is standard
                           output, then without statistics
  --repeats N              do the whole job N times, each from an empty cache (default 1)

How servers are asked:
  --port-of-servers N      the port they listen on (default 53)
  --bind ADDRESS           the address questions come from (default 127.0.0.1); from one of
                           IPv4 only such servers are asked, from :: all
  --ipv4-only              ask no server over IPv6, also with --bind ::
  --timeout S              seconds to wait at first (default 0.4); doubles with each retry,
                           up to 3
  --attempts N             tries without an answer for each set of servers (default 4)
  --max-queries N          questions to servers for one question of a client (default 100)
  --max-depth N            nested searches for addresses of servers (default 16)
  --edns-size N            bytes of the longest datagram from servers, 512 to 4096
                           (default 1232)
At most 12 aliases and 32 delegations are followed; what goes on is answered SERVFAIL.

Cache:
  --cache-bytes SIZE       its size, from 64kb to 16gb (default 64mb); k, m, g are 1000s,
                           kb, mb, gb 1024s
  --max-ttl S              seconds that records are kept at most (default 86400)
  --min-ttl S              seconds that records are kept at least (default 0)
  --negative-ttl-max S     seconds that is kept that there is nothing (default 3600)

  --help, --version        print this, or the version, and stop

When ready the server prints "listening on HOST:PORT". SIGTERM or SIGINT: it takes no more
questions, answers those under way, and ends; a second signal ends it at once. SIGUSR1 and
the end print a line of counters on standard error: queries of clients, hits and misses of
the cache, upstream queries to servers, timeouts of those, servfail answers, spoofed packets
that were ignored, queries over tcp, cache_entries and cache_bytes.

A line of --output is "name. TYPE RCODE records": the answer without times, names in lower
case, records separated by " ; " and sorted inside a set, - for none. Without --output -,
statistics and the XXH64 digest of the lines are printed.

Exit code: 0 done or ended as asked, 2 bad usage or bad input, 1 the machine failed.
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
	if err != errBrokenPipe {
		logLine("error: %v", err)
	}
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
	hints, err := readHints(settings.hintsPath, settings)
	if err != nil {
		return err
	}
	if err := checkSource(settings); err != nil {
		return err
	}
	if settings.bulkPath != "" {
		return runBulk(settings, hints)
	}
	return serve(settings, hints)
}

// serve answers clients until a signal.
func serve(settings *options, hints *delegation) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	s, err := newServer(settings, hints)
	if err != nil {
		return err
	}
	go reportOnSignal(s.counters)
	if err := printText("listening on " + s.address.String() + "\n"); err != nil {
		return err
	}
	go func() {
		<-signals
		s.shutdown()
		<-signals // the second one
		os.Exit(exitDone)
	}()
	if err := s.run(); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, s.counters)
	return nil
}

// reportOnSignal prints the counters at each SIGUSR1.
func reportOnSignal(c *counters) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	for range signals {
		fmt.Fprintln(os.Stderr, c)
	}
}
