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

  --listen HOST:PORT       answer clients here, over UDP and TCP; port 0 is any free port
  --hints FILE             where the tree begins: NS records of the root and addresses of its servers,
                           as a master file
  --bulk QUERIES           resolve this file instead, a name and a type on each line; - is standard input

How servers are asked:
  --port-of-servers N      the port they listen on (default 53)
  --bind ADDRESS           the address queries come from (default 127.0.0.1)
  --timeout S              seconds to wait at first, twice as long at each further try, up to 3 s (default 0.4)
  --attempts N             queries to the servers of a zone that may stay without answer (default 4)
  --max-queries N          queries to servers for one question of a client (default 100)
  --max-depth N            questions that need one another, for the names of servers (default 16)
  --edns-size N            largest message over UDP, in bytes (default 1232)
  --ipv4-only              ask no server over IPv6

The cache:
  --cache-bytes SIZE       most memory for it; k, m, g are thousands, kb, mb, gb are 1024s (default 64mb)
  --max-ttl S              keep nothing longer, in seconds (default 86400)
  --min-ttl S              keep records so long at least, in seconds (default 0)
  --negative-ttl-max S     keep no longer that there is nothing, in seconds (default 3600)

Bulk:
  --in-flight N            questions under way at once (default 1000)
  --repeats N              do the whole job N times, each from an empty cache (default 1)
  --output PATH            write the answers to PATH; - is standard output

  --threads N              threads that do the work (default 1)
  --drain-timeout S        seconds for questions under way after SIGTERM or SIGINT (default 5)
  --help, --version        print this, or the version, and stop

The server prints "listening on HOST:PORT" when it is ready. SIGTERM or SIGINT: takes no more
questions, answers those under way, prints its counters on standard error; a second signal ends
at once. SIGUSR1 prints the counters:
  queries of clients, hits and misses of the cache, upstream queries to servers, timeouts of those,
  servfail answers, spoofed or stray packets ignored, tcp questions over TCP, cache_entries, cache_bytes

An answer of --bulk is a line "name. TYPE RCODE records", in the order of the questions; the records are
those of the answer section, separated by " ; ", without TTLs, sorted inside an RRset, - for none.
Without --output -, statistics and the XXH64 digest of the answers are printed.

At most 12 CNAMEs and 32 delegations are followed; what goes on is answered SERVFAIL. Types ANY, AXFR
and IXFR are not implemented.

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
