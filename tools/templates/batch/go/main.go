// @@slug@@ counts the words of a text and prints the most frequent ones.
//
// The text is read in blocks of 256 KiB. A word is a run of ASCII letters,
// digits and bytes from 0x80 on; ASCII letters are lower-cased. Words are counted
// in a hash table with open addressing that allocates nothing for a word that it
// knows. All work is done by one goroutine.
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

usage: @@slug@@ --input FILE [options]

  --input FILE       the text
  --top N            how many words to print (default 20, at most 1000000)
  --repeats N        do the whole job N times (default 1)
  --output PATH      write the answer to PATH; - is standard output
  --help, --version  print this, or the version, and stop

The answer is a line "word count" for each of the N most frequent words: larger
counts first, equal counts in the order of the words' bytes. A word is a run of
ASCII letters, digits and bytes from 0x80 on; ASCII letters are lower-cased.

Memory: less than 1 GiB, whatever the size of the text; 50,000 different words take
20 MiB. Words of more than 65536 bytes, more than 2097152 different words and more
than 67108864 bytes of different words are refused.

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
	if request.outputPath == standardStream {
		return nil
	}
	return printText(result.statistics(request.repeats))
}

// runResult is what the repeats together did.
type runResult struct {
	words   uint64 // of one repeat
	elapsed time.Duration
	digest  uint64
}

// runRepeats does the job again and again from the raw input, on one clock. The
// last answer is the one stored: it is equal to all others.
func runRepeats(request *options) (result runResult, err error) {
	work := newCounter()
	digest := xxhash.New()
	var answer []byte
	started := time.Now()
	for range request.repeats {
		if result.words, err = work.count(request.inputPath); err != nil {
			return result, err
		}
		answer = render(answer[:0], &work.words, request.top)
		_, _ = digest.Write(answer) // a hash never fails
	}
	result.elapsed = time.Since(started)
	result.digest = digest.Sum64()
	return result, store(request.outputPath, answer)
}

func (r *runResult) statistics(repeats int) string {
	total := r.words * uint64(repeats)
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
