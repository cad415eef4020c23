// @@slug@@ fetches files from a web server and says what they are.
//
// All requests go over one connection that is kept; with --pipeline, several of
// them are on their way at once. Bodies are hashed as they come and never held.
//
// The protocol is the job, so it is not left to net/http, whose client has no
// pipelining.
//
// See manual below for the options and for what is printed.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/cespare/xxhash/v2"
)

const slug = "@@slug@@"

const manual = `@@title@@

usage: @@slug@@ --server HOST:PORT --keys FILE [options]

  --server HOST:PORT  the web server, by a numeric host
  --keys FILE         a key a line: 1 to 255 letters, digits, dots, hyphens, underscores
  --pipeline N        requests on their way at once (default 1, at most 64)
  --repeats N         do the whole job N times (default 1)
  --output PATH       write the answer to PATH; - is standard output
  --help, --version   print this, or the version, and stop

GET /KEY is asked for each key. The answer is a line "key bytes hash" for each, in the
order of the file: the length of the body, and its XXH64 as 16 hexadecimal digits.

A server that closes the connection behind a reply gets the rest on a new one. It must
answer within 10 seconds, with a Content-Length. A file of keys has at most 64 MiB.

Without --output -, statistics and the XXH64 digest of the answer are printed.
Exit code: 0 done, 2 bad usage or bad input (also a key that the server does not have),
1 the machine, the network or the server failed.
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
		fmt.Fprintln(os.Stderr, "error:", err)
	}
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
	}
	result, err := runRepeats(request)
	if err != nil {
		return err
	}
	if request.outputPath == standardStream {
		return nil
	}
	return printText(result.statistics(request.repeats))
}

// runResult is what the repeats together did.
type runResult struct {
	keys    int // of one repeat
	elapsed time.Duration
	digest  uint64
}

// runRepeats does the job again and again from the raw input, on one clock. The
// last answer is the one stored: it is equal to all others.
func runRepeats(request *options) (result runResult, err error) {
	digest := xxhash.New()
	var answer []byte
	started := time.Now()
	for range request.repeats {
		keys, err := readKeys(request.keysPath)
		if err != nil {
			return result, err
		}
		if answer, err = fetchAll(answer[:0], request, keys); err != nil {
			return result, err
		}
		result.keys = len(keys)
		_, _ = digest.Write(answer) // a hash never fails
	}
	result.elapsed = time.Since(started)
	result.digest = digest.Sum64()
	return result, store(request.outputPath, answer)
}

func (r *runResult) statistics(repeats int) string {
	total := r.keys * repeats
	seconds := r.elapsed.Seconds()
	var out strings.Builder
	fmt.Fprintln(&out, "--- Statistics ---")
	fmt.Fprintf(&out, "Total processed: %d\n", total)
	fmt.Fprintf(&out, "Processing time: %.6fs\n", seconds)
	fmt.Fprintf(&out, "Average latency: %.6fms\n", seconds*1000/float64(repeats))
	fmt.Fprintf(&out, "Throughput: %.2f items/sec\n", float64(total)/max(seconds, 1e-9))
	fmt.Fprintf(&out, "Digest: %016x\n", r.digest)
	return out.String()
}
