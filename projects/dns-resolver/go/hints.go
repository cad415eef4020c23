package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// delegation is a zone and who serves it, as its parent said, or the hints. It never changes.
type delegation struct {
	zone    name
	labels  int // of the zone
	servers []nameServer
}

// nameServer is one of them, with the addresses that were given beside its name.
type nameServer struct {
	name      name
	addresses []netip.Addr
}

// bytes is about what a delegation takes of memory.
func (d *delegation) bytes() int {
	total := 64
	for i := range d.servers {
		total += 48 + len(d.servers[i].name) + 24*len(d.servers[i].addresses)
	}
	return total
}

// hintsReader reads a master file, of which it wants the servers of the root.
type hintsReader struct {
	path        string
	settings    *options
	lineNumber  int
	firstServer int // the line of the first NS record
	origin      name
	owner       name // of the last record
	delegation  *delegation
	addresses   map[name][]netip.Addr
}

// mostHintsBytes is much more than any list of servers needs.
const mostHintsBytes = 1 << 20

// readHints returns where the tree begins.
func readHints(path string, settings *options) (*delegation, error) {
	r := &hintsReader{path: path, settings: settings, origin: root, delegation: &delegation{zone: root}, addresses: map[name][]netip.Addr{}}
	file, err := os.Open(path)
	if err != nil {
		return nil, pathFailure(path, err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, mostHintsBytes+1))
	if err != nil {
		return nil, pathFailure(path, err)
	}
	if len(text) > mostHintsBytes {
		return nil, badRequest("%s: file too large", escape(path))
	}
	for line := range strings.Lines(string(text)) {
		r.lineNumber++
		if err := r.readLine(strings.TrimRight(line, "\r\n")); err != nil {
			return nil, err
		}
	}
	return r.finish()
}

// finish keeps the servers that have an address.
func (r *hintsReader) finish() (*delegation, error) {
	for i := range r.delegation.servers {
		server := &r.delegation.servers[i]
		server.addresses = r.addresses[server.name]
	}
	first := r.delegation.servers
	usable := slices.DeleteFunc(slices.Clone(first), func(s nameServer) bool { return len(s.addresses) == 0 })
	if len(usable) > 0 {
		r.delegation.servers = usable
		return r.delegation, nil
	}
	if len(first) > 0 {
		r.lineNumber = r.firstServer
		return nil, r.failure("no usable server: no address for %s", first[0].name)
	}
	r.lineNumber = max(r.lineNumber, 1)
	return nil, r.failure("no usable server: no NS record of the root")
}

func (r *hintsReader) failure(format string, arguments ...any) error {
	return badRequest("%s: line %d: %s", escape(r.path), r.lineNumber, fmt.Sprintf(format, arguments...))
}

// readLine reads a record or a directive. Records of several lines are none that hints need.
func (r *hintsReader) readLine(line string) error {
	line, _, _ = strings.Cut(line, ";")
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil
	}
	if line[0] == '$' {
		return r.readDirective(words)
	}
	if line[0] != ' ' && line[0] != '\t' {
		owner, err := r.readName(words[0])
		if err != nil {
			return err
		}
		r.owner, words = owner, words[1:]
	}
	if r.owner == "" {
		return r.failure("a record without a name")
	}
	return r.readRecord(skipTTLAndClass(words))
}

func (r *hintsReader) readDirective(words []string) error {
	if len(words) < 2 {
		return r.failure("%s without a value", quoteValue(words[0]))
	}
	switch strings.ToUpper(words[0]) {
	case "$TTL":
		return nil // how long hints last is not for them to say
	case "$ORIGIN":
		origin, err := r.readName(words[1])
		r.origin = origin
		return err
	}
	return r.failure("unknown directive %s", quoteValue(words[0]))
}

// skipTTLAndClass leaves type and data.
func skipTTLAndClass(words []string) []string {
	for len(words) > 0 && (strings.EqualFold(words[0], "IN") || words[0][0]-'0' < 10) {
		words = words[1:]
	}
	return words
}

func (r *hintsReader) readRecord(words []string) error {
	if len(words) == 0 {
		return r.failure("a record without a type")
	}
	kind := strings.ToUpper(words[0])
	if kind != "NS" && kind != "A" && kind != "AAAA" {
		return r.failure("%s is not a type that hints have: NS, A, AAAA", quoteValue(words[0]))
	}
	if len(words) != 2 {
		return r.failure("a record of type %s wants one word of data", kind)
	}
	if kind == "NS" {
		return r.readServer(words[1])
	}
	address, err := netip.ParseAddr(words[1])
	if err != nil || address.Is4() != (kind == "A") || address.Zone() != "" {
		return r.failure("%s is not an address of type %s", quoteValue(words[1]), kind)
	}
	if r.settings.reaches(address) && !slices.Contains(r.addresses[r.owner], address) {
		r.addresses[r.owner] = append(r.addresses[r.owner], address)
	}
	return nil
}

// readServer takes the servers of the root; those of other zones are not for hints.
func (r *hintsReader) readServer(text string) error {
	target, err := r.readName(text)
	if err != nil || r.owner != root {
		return err
	}
	if r.firstServer == 0 {
		r.firstServer = r.lineNumber
	}
	r.delegation.servers = append(r.delegation.servers, nameServer{name: target})
	return nil
}

// readName reads a name, in lower case; without a dot at its end it is one below the origin.
func (r *hintsReader) readName(text string) (name, error) {
	if text == "@" {
		return r.origin, nil
	}
	parsed, err := parseName(text)
	if err != nil {
		return "", r.failure("%v: %s", err, quoteValue(text))
	}
	if !strings.HasSuffix(text, ".") {
		parsed = parsed[:len(parsed)-1] + r.origin
		if len(parsed) > maxNameBytes {
			return "", r.failure("%v: %s", errLongName, quoteValue(text))
		}
	}
	return parsed.lower(), nil
}
