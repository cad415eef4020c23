package main

import (
	"io"
	"os"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
)

// startsATurn is how many questions are begun before sockets are looked after again.
const startsATurn = 256

// bulk is a run over a file of questions.
type bulk struct {
	settings  *options
	resolver  *resolver
	questions []question
	next      int // question to begin with
	inFlight  int
	answered  int
	text      []byte // lines, in the order in which they were found
	lines     []line // by question
}

// line is where the answer to a question is in the text.
type line struct{ start, end int }

// runBulk does the whole job again and again, on one clock. The last answers are the ones stored:
// they are equal to all others, and a failure before them leaves no trace.
func runBulk(settings *options, hints *delegation) error {
	l, err := newLoop(time.Now())
	if err != nil {
		return err
	}
	c := &counters{}
	go reportOnSignal(c)
	b := &bulk{settings: settings, resolver: newResolver(l, settings, hints, c)}
	digest := xxhash.New()
	var input []byte
	var answers [][]byte
	started := time.Now()
	for range settings.repeats {
		if input, err = readInput(settings.bulkPath, input); err != nil {
			return err
		}
		if b.questions, err = parseQuestions(settings.bulkPath, string(input)); err != nil {
			return err
		}
		b.resolveAll()
		answers = b.inOrder()
		for _, block := range answers {
			_, _ = digest.Write(block) // a hash never fails
		}
	}
	elapsed := time.Since(started)
	if err := storeOutput(settings.outputPath, answers); err != nil || settings.outputPath == standardStream {
		return err
	}
	return printText(bulkStatistics(len(b.questions), settings.repeats, elapsed, digest.Sum64()))
}

// readInput reads the questions; standard input can be read only once.
func readInput(path string, before []byte) (text []byte, err error) {
	switch {
	case path != standardStream:
		text, err = os.ReadFile(path)
	case before != nil:
		return before, nil
	default:
		text, err = io.ReadAll(os.Stdin)
	}
	if err != nil {
		return nil, pathFailure(path, err)
	}
	return text, nil
}

// parseQuestions reads a name and a type on each line. Empty lines and comments are skipped.
func parseQuestions(path, text string) (questions []question, err error) {
	questions = make([]question, 0, strings.Count(text, "\n")+1)
	number := 0
	for line := range strings.Lines(text) {
		number++
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == ';' {
			continue
		}
		if len(words) != 2 {
			return nil, badRequest("%s: line %d: not a name and a type: %s", escape(path), number, quoteValue(strings.TrimSpace(line)))
		}
		parsed, err := parseName(words[0])
		if err != nil {
			return nil, badRequest("%s: line %d: %v: %s", escape(path), number, err, quoteValue(words[0]))
		}
		qtype, known := parseType(words[1])
		if !known {
			return nil, badRequest("%s: line %d: unknown type: %s", escape(path), number, quoteValue(words[1]))
		}
		questions = append(questions, question{parsed.lower(), qtype})
	}
	return questions, nil
}

// resolveAll answers all questions from an empty cache.
func (b *bulk) resolveAll() {
	b.resolver.forget()
	b.next, b.answered, b.text = 0, 0, b.text[:0]
	b.lines = make([]line, len(b.questions))
	for l := b.resolver.loop; b.answered < len(b.questions); {
		b.start()
		l.eager = b.next < len(b.questions) && b.inFlight < b.settings.inFlight
		if b.answered < len(b.questions) {
			l.turn()
		}
	}
}

// start begins with the next questions, as many as may be under way.
func (b *bulk) start() {
	r := b.resolver
	for range startsATurn {
		if b.next == len(b.questions) || b.inFlight >= b.settings.inFlight {
			return
		}
		at := b.next
		b.next++
		b.inFlight++
		r.counters.queries.Add(1)
		q := b.questions[at]
		if isMetaType(q.qtype) {
			b.take(at, body{rcode: rcodeNotImp})
		} else if known, found := r.cache.find(q, r.loop.now); found {
			r.counters.hits.Add(1)
			b.take(at, known)
		} else if !r.ask(q, func(found body) { b.take(at, found) }) {
			b.take(at, body{rcode: rcodeServFail})
		}
	}
}

// take takes in an answer.
func (b *bulk) take(at int, found body) {
	start := len(b.text)
	b.text = appendCanonical(b.text, b.questions[at], found)
	b.lines[at] = line{start, len(b.text)}
	b.inFlight--
	b.answered++
	if found.rcode == rcodeServFail {
		b.resolver.counters.servfail.Add(1)
	}
}

// inOrder is the text in the order of the questions.
func (b *bulk) inOrder() [][]byte {
	const blockBytes = 1 << 20
	var blocks [][]byte
	block := make([]byte, 0, min(len(b.text), blockBytes+maxMessage))
	for _, l := range b.lines {
		block = append(block, b.text[l.start:l.end]...)
		if len(block) >= blockBytes {
			blocks = append(blocks, block)
			block = make([]byte, 0, blockBytes+maxMessage)
		}
	}
	return append(blocks, block)
}
