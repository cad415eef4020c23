// Command sqlite-query-engine runs a SQL query on an SQLite 3 database file, without SQLite.
//
// Usage:
//
//	sqlite-query-engine --db FILE --query SQL [--format json|csv] [--output PATH] [--repeats N]
//
// It maps the file, reads the schema, plans the query (rowid look-ups, index searches, covering
// indexes, scans), runs it on one goroutine and renders the answer: one JSON array a row, or CSV.
// It prints the statistics block of the lane contract with the XXH64 digest of the answer.
// Exit codes: 0 done, 2 bad usage or bad input, 1 the machine failed; on 2 and 1 there is one
// line on stderr.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cespare/xxhash/v2"
)

const (
	slug           = "sqlite-query-engine"
	maximumRepeats = 1_000_000_000
)

const manual = `Usage: sqlite-query-engine --db FILE --query SQL [options]

Runs one SELECT (or EXPLAIN QUERY PLAN SELECT) on one table of an SQLite 3 database file.

Options:
  --db FILE          the database file; it is only read
  --query SQL        the statement
  --format json|csv  form of the answer (default json: one array a row)
  --output PATH      write the answer to PATH; - writes it to stdout, without statistics
  --repeats N        do the whole job N times (default 1)
  --help             print this manual
  --version          print name and language

Prints the items (rows or index entries that the scan gave to WHERE), the time of all repeats,
latency, throughput, and the XXH64 digest of the answers.
Exit codes: 0 done, 2 bad usage or bad input, 1 the machine failed.
`

type options struct {
	db, query, output string
	format            format
	repeats           int
	help, version     bool
}

func main() {
	// A mapped file that shrinks under us faults; with this the fault is an error, not a crash.
	debug.SetPanicOnFault(true)
	signal.Ignore(syscall.SIGPIPE) // a closed stdout is an exit code, not a death by signal
	text, err := run(os.Args[1:])
	if err == nil {
		_, err = os.Stdout.WriteString(text)
		if err == nil {
			return
		}
		if errors.Is(err, syscall.EPIPE) {
			os.Exit(exitMachine) // a closed stdout is nobody's news
		}
	}
	code := exitMachine
	var f *failure
	if errors.As(err, &f) {
		code = f.code
	}
	fmt.Fprintf(os.Stderr, "error: %s\n", oneLine(err.Error()))
	os.Exit(code)
}

// run does what the arguments ask for and gives what belongs on stdout.
func run(arguments []string) (string, error) {
	o, err := parseArguments(arguments)
	switch {
	case err != nil:
		return "", err
	case o.help:
		return manual, nil
	case o.version:
		return slug + " go\n", nil
	}
	store, err := openStore(o.output)
	if err != nil {
		return "", err
	}
	defer store.discard()
	items, elapsed, digest, err := measure(o, store)
	if err != nil {
		return "", err
	}
	if err := store.commit(); err != nil {
		return "", err
	}
	if o.output == "-" {
		return store.memory.String(), nil
	}
	return statistics(items, o.repeats, elapsed, digest), nil
}

// measure is the timed loop: every repeat does the whole job from the file on.
func measure(o options, store *store) (items int64, elapsed time.Duration, digest uint64, err error) {
	defer recoverFault(o.db, &err)
	hash := xxhash.New()
	out := &renderer{format: o.format, buffer: make([]byte, 0, 2*flushBytes)}
	begin := time.Now()
	for repeat := range o.repeats {
		out.write = func(b []byte) error {
			hash.Write(b)
			if repeat > 0 {
				return nil
			}
			return store.write(b)
		}
		count, err := runQuery(o.db, o.query, out)
		if err != nil {
			return 0, 0, 0, err
		}
		out.flush()
		if out.err != nil {
			return 0, 0, 0, out.err
		}
		items += count
	}
	return items, time.Since(begin), hash.Sum64(), nil
}

// recoverFault turns a fault on the mapping (the file was truncated or its disk failed while it
// was read) into an error. Anything else that panics is a bug and stays a panic.
func recoverFault(path string, err *error) {
	switch cause := recover().(type) {
	case nil:
	case interface{ Addr() uintptr }:
		*err = machineFailed("%s: changed or became unreadable while it was read", path)
	default:
		panic(cause)
	}
}

func statistics(items int64, repeats int, elapsed time.Duration, digest uint64) string {
	seconds := elapsed.Seconds()
	throughput := 0.0
	if seconds > 0 {
		throughput = float64(items) / seconds
	}
	return fmt.Sprintf(`--- Statistics ---
Total processed: %d
Processing time: %.6fs
Average latency: %.6fms
Throughput: %.2f items/sec
Digest: %016x
`, items, seconds, seconds*1000/float64(repeats), throughput, digest)
}

func parseArguments(arguments []string) (options, error) {
	o := options{repeats: 1}
	seen := map[string]bool{}
	for at := 0; at < len(arguments); at++ {
		name, value, attached := strings.Cut(arguments[at], "=")
		switch name {
		case "--help", "--version":
			if attached {
				return o, badInput("option %s takes no value", name)
			}
			o.help = o.help || name == "--help"
			o.version = o.version || name == "--version"
			continue
		case "--db", "--query", "--format", "--output", "--repeats":
		default:
			return o, badInput("unknown option %s", arguments[at])
		}
		if !attached {
			if at++; at == len(arguments) {
				return o, badInput("option %s needs a value", name)
			}
			value = arguments[at]
		}
		if seen[name] {
			return o, badInput("option %s is given twice", name)
		}
		seen[name] = true
		if err := o.set(name, value); err != nil {
			return o, err
		}
	}
	if o.help || o.version {
		return o, nil
	}
	for _, name := range []string{"--db", "--query"} {
		if !seen[name] {
			return o, badInput("option %s is required", name)
		}
	}
	return o, nil
}

func (o *options) set(name, value string) error {
	if value == "" && name != "--query" {
		return badInput("option %s has an empty value", name)
	}
	if strings.IndexByte(value, 0) >= 0 && name != "--query" {
		return badInput("option %s has a NUL in its value", name)
	}
	switch name {
	case "--db":
		o.db = value
	case "--query":
		o.query = value
	case "--output":
		o.output = value
	case "--format":
		switch value {
		case "json":
			o.format = formatJSON
		case "csv":
			o.format = formatCSV
		default:
			return badInput("--format %s: must be json or csv", value)
		}
	case "--repeats":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maximumRepeats || value[0] == '+' {
			return badInput("--repeats %s: must be a number from 1 to %d", value, maximumRepeats)
		}
		o.repeats = n
	}
	return nil
}

// oneLine escapes control bytes, so that a message is one line whatever it quotes.
func oneLine(text string) string {
	var b bytes.Buffer
	for _, r := range text {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == 0x2028 || r == 0x2029 {
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
