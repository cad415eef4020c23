// csv-stream-aggregator groups and aggregates a CSV file of any size in bounded memory.
//
// The text is read in blocks of 256 KiB. A scan finds the terminators of all
// fields and records, 64 bytes at a time; only the fields that are asked for are
// then looked at. Sums are exact: a number is an integer and a decimal scale,
// and a sum has 128 bits. All work is done by one goroutine.
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

const slug = "csv-stream-aggregator"

const manual = `csv-stream-aggregator: group and aggregate a CSV file of any size in bounded memory

usage: csv-stream-aggregator --input FILE --agg LIST [options]

  --input FILE          the CSV text, plain or packed; - is standard input
  --agg LIST            what to compute, separated by commas:
                        count, count:COL, sum:COL, min:COL, max:COL, mean:COL
  --group-by LIST       columns that make a group, separated by commas (default: one group)
  --where 'COL OP LIT'  keep only rows where this holds; may be given again, all must hold
                        OP is = or != (text), < <= > >= (numbers)
  --delimiter C         one ASCII byte, or \t (default ,)
  --no-header           the first record is data; columns are named 1, 2, ...
  --on-error WHAT       fail (default) or skip: leave bad rows out and count them
  --compression KIND    auto (default, by magic bytes), none, gzip, zstd
  --max-groups N        refuse more groups than this (default 1000000)
  --max-record-bytes N  refuse longer records (default 1048576)
  --format FORMAT       csv (default) or json (one object a line)
  --output PATH         write the answer to PATH; - is standard output
  --repeats N           do the whole job N times (default 1)
  --help, --version     print this, or the version, and stop

Numbers are exact decimals of up to 18 digits, 18 of them behind the point. Sums
are exact; a mean has six fraction digits more than its column, rounded half to
even. An empty field is no value. Groups are sorted by their bytes.

Memory: 64 MiB hold 100,000 groups of keys up to 100 bytes and four aggregated
columns, whatever the size of the input; a group takes about 70 bytes, its key and
48 bytes an aggregated column. A zstd window of more than 32 MiB is refused.

Without --output -, statistics and the XXH64 digest of the answer are printed.
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
	if result.skipped > 0 {
		fmt.Fprintf(os.Stderr, "note: %d bad rows skipped\n", result.skipped)
	}
	if request.outputPath == standardStream {
		return nil
	}
	return printText(result.statistics(request.repeats))
}

// runResult is what the repeats together did.
type runResult struct {
	items, skipped uint64 // of one repeat
	elapsed        time.Duration
	digest         uint64
}

// runRepeats does the job again and again from the raw input, on one clock. The
// last answer is the one stored: it is equal to all others, and a failure
// before it leaves no trace.
func runRepeats(request *options) (result runResult, err error) {
	work := newJob(request)
	answer := &answerWriter{digest: xxhash.New()}
	started := time.Now()
	for range request.repeats - 1 {
		if err := work.run(answer); err != nil {
			return result, err
		}
	}
	if err := runStored(work, answer, request.outputPath); err != nil {
		return result, err
	}
	result.elapsed = time.Since(started)
	result.items, result.skipped, result.digest = work.items, work.skipped, answer.digest.Sum64()
	return result, nil
}

// runStored is the last repeat, with its answer stored if that is asked for.
func runStored(work *job, answer *answerWriter, path string) error {
	if path == "" {
		return work.run(answer)
	}
	answer.open = func() (*outputFile, error) { return openOutput(path) }
	err := work.run(answer)
	if answer.store == nil {
		return err
	}
	if err != nil {
		answer.store.discard()
		return err
	}
	return answer.store.commit()
}

func (r *runResult) statistics(repeats int) string {
	total := r.items * uint64(repeats)
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
