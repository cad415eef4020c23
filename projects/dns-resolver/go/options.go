package main

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are the arguments, parsed and checked once.
type options struct {
	listen    netip.AddrPort // not valid: no server
	place     string         // what listen was given as
	hintsPath string
	bulkPath  string // empty: no bulk run

	serverPort   int
	bind         netip.Addr
	firstTimeout time.Duration
	attempts     int
	maxQueries   int
	maxDepth     int
	ednsBytes    int
	ipv4Only     bool

	cacheBytes     int
	maxTTL, minTTL uint32 // seconds
	maxNegativeTTL uint32 // seconds

	inFlight   int
	repeats    int
	outputPath string // empty: only statistics

	threads       int
	drainTimeout  time.Duration
	given         []string // options that are only for bulk
	help, version bool
}

const (
	mostThreads    = 1024
	mostAttempts   = 100
	mostQueries    = 10_000
	mostDepth      = 100
	mostInFlight   = 10_000
	mostRepeats    = 1_000_000
	mostTTL        = math.MaxInt32
	mostSeconds    = 86_400
	leastEDNS      = 512
	mostEDNS       = 4096
	leastCache     = 64 << 10
	mostCache      = 16 << 30
	longestTimeout = 3 * time.Second
)

func defaultOptions() *options {
	return &options{
		serverPort: 53, bind: netip.AddrFrom4([4]byte{127, 0, 0, 1}),
		firstTimeout: 400 * time.Millisecond, attempts: 4, maxQueries: 100, maxDepth: 16, ednsBytes: 1232,
		cacheBytes: 64 << 20, maxTTL: 86_400, maxNegativeTTL: 3600,
		inFlight: 1000, repeats: 1,
		threads: 1, drainTimeout: 5 * time.Second,
	}
}

// parseOptions reads --name value and --name=value; where an option stands twice, the last one counts.
func parseOptions(arguments []string) (*options, error) {
	o := defaultOptions()
	for len(arguments) > 0 {
		name, value, hasValue := strings.Cut(arguments[0], "=")
		arguments = arguments[1:]
		if set, known := flagSetters[name]; known {
			if hasValue {
				return nil, badRequest("%s takes no value", name)
			}
			if set(o); o.help || o.version {
				return o, nil
			}
			continue
		}
		set, known := optionSetters[name]
		if !known {
			return nil, badRequest("unknown option: %s (see --help)", quoteValue(name))
		}
		if !hasValue {
			if len(arguments) == 0 {
				return nil, badRequest("%s needs a value", name)
			}
			value, arguments = arguments[0], arguments[1:]
		}
		if err := set(o, name, value); err != nil {
			return nil, err
		}
		if slices.Contains(bulkOnly, name) {
			o.given = append(o.given, name)
		}
	}
	return o, o.check()
}

// bulkOnly are options without a meaning for a server.
var bulkOnly = []string{"--output", "--in-flight", "--repeats"}

var flagSetters = map[string]func(*options){
	"--help":      func(o *options) { o.help = true },
	"--version":   func(o *options) { o.version = true },
	"--ipv4-only": func(o *options) { o.ipv4Only = true },
}

// setter puts one value where it belongs.
type setter func(o *options, name, value string) error

var optionSetters = map[string]setter{
	"--listen":           (*options).setListen,
	"--bind":             (*options).setBind,
	"--cache-bytes":      (*options).setCacheBytes,
	"--hints":            pathOption(func(o *options) *string { return &o.hintsPath }),
	"--bulk":             pathOption(func(o *options) *string { return &o.bulkPath }),
	"--output":           pathOption(func(o *options) *string { return &o.outputPath }),
	"--port-of-servers":  numberOption(1, math.MaxUint16, func(o *options) *int { return &o.serverPort }),
	"--attempts":         numberOption(1, mostAttempts, func(o *options) *int { return &o.attempts }),
	"--max-queries":      numberOption(1, mostQueries, func(o *options) *int { return &o.maxQueries }),
	"--max-depth":        numberOption(1, mostDepth, func(o *options) *int { return &o.maxDepth }),
	"--edns-size":        numberOption(leastEDNS, mostEDNS, func(o *options) *int { return &o.ednsBytes }),
	"--in-flight":        numberOption(1, mostInFlight, func(o *options) *int { return &o.inFlight }),
	"--repeats":          numberOption(1, mostRepeats, func(o *options) *int { return &o.repeats }),
	"--threads":          numberOption(1, mostThreads, func(o *options) *int { return &o.threads }),
	"--max-ttl":          ttlOption(func(o *options) *uint32 { return &o.maxTTL }),
	"--min-ttl":          ttlOption(func(o *options) *uint32 { return &o.minTTL }),
	"--negative-ttl-max": ttlOption(func(o *options) *uint32 { return &o.maxNegativeTTL }),
	"--timeout":          secondsOption(time.Millisecond, longestTimeout, func(o *options) *time.Duration { return &o.firstTimeout }),
	"--drain-timeout":    secondsOption(0, mostSeconds*time.Second, func(o *options) *time.Duration { return &o.drainTimeout }),
}

func pathOption(field func(*options) *string) setter {
	return func(o *options, name, value string) error {
		if value == "" {
			return badRequest("%s %s: not a path", name, quoteValue(value))
		}
		*field(o) = value
		return nil
	}
}

func numberOption(least, most int, field func(*options) *int) setter {
	return func(o *options, name, value string) error {
		parsed, err := wholeNumber(name, value, least, most)
		*field(o) = parsed
		return err
	}
}

func ttlOption(field func(*options) *uint32) setter {
	return func(o *options, name, value string) error {
		parsed, err := wholeNumber(name, value, 0, mostTTL)
		*field(o) = uint32(parsed)
		return err
	}
}

func secondsOption(least, most time.Duration, field func(*options) *time.Duration) setter {
	return func(o *options, name, value string) error {
		parsed, err := strconv.ParseFloat(value, 64)
		duration := time.Duration(min(parsed, 2*mostSeconds) * float64(time.Second))
		if err != nil || strings.Trim(value, "0123456789.") != "" || duration < least || duration > most {
			return badRequest("%s %s: not a number of seconds from %g to %g", name, quoteValue(value), least.Seconds(), most.Seconds())
		}
		*field(o) = duration
		return nil
	}
}

func wholeNumber(name, value string, least, most int) (int, error) {
	parsed, err := strconv.ParseUint(value, 10, 63)
	if err != nil || int(parsed) < least || int(parsed) > most {
		return 0, badRequest("%s %s: not a whole number from %d to %d", name, quoteValue(value), least, most)
	}
	return int(parsed), nil
}

// setListen wants an address: a resolver that has to resolve a name first would have to ask itself.
func (o *options) setListen(option, value string) error {
	host, port, found := cutLast(value, ":")
	if !found || host == "" {
		return badRequest("%s %s: not HOST:PORT", option, quoteValue(value))
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return badRequest("%s %s: the port is not a number from 0 to 65535", option, quoteValue(value))
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	address, err := netip.ParseAddr(host)
	if err != nil || address.Zone() != "" || strings.Count(value, ":") > 1 && value[0] != '[' {
		return badRequest("%s %s: the host is not an IP address", option, quoteValue(value))
	}
	o.listen, o.place = netip.AddrPortFrom(address.Unmap(), uint16(number)), value
	return nil
}

// cutLast cuts around the last separator.
func cutLast(text, separator string) (before, after string, found bool) {
	at := strings.LastIndex(text, separator)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+len(separator):], true
}

func (o *options) setBind(option, value string) error {
	address, err := netip.ParseAddr(value)
	if err != nil || address.Zone() != "" {
		return badRequest("%s %s: not an IP address", option, quoteValue(value))
	}
	o.bind = address.Unmap()
	return nil
}

var sizeUnits = []struct {
	suffix string
	bytes  uint64
}{
	{"kb", 1 << 10}, {"mb", 1 << 20}, {"gb", 1 << 30},
	{"k", 1000}, {"m", 1_000_000}, {"g", 1_000_000_000}, {"b", 1}, {"", 1},
}

func (o *options) setCacheBytes(option, value string) error {
	text := strings.ToLower(value)
	for _, unit := range sizeUnits {
		digits, matches := strings.CutSuffix(text, unit.suffix)
		if !matches {
			continue
		}
		number, err := strconv.ParseUint(digits, 10, 63)
		if size := number * unit.bytes; err == nil && number <= mostCache/unit.bytes && size >= leastCache {
			o.cacheBytes = int(size)
			return nil
		}
		break
	}
	return badRequest("%s %s: not a size from 64kb to 16gb, such as 64mb", option, quoteValue(value))
}

// check looks at what the options must be together.
func (o *options) check() error {
	switch {
	case !o.listen.IsValid() && o.bulkPath == "":
		return badRequest("--listen or --bulk is missing (see --help)")
	case o.listen.IsValid() && o.bulkPath != "":
		return badRequest("--bulk %s: not together with --listen", quoteValue(o.bulkPath))
	case o.bulkPath == "" && len(o.given) > 0:
		return badRequest("%s: only with --bulk", o.given[0])
	case o.hintsPath == "":
		return badRequest("--hints is missing (see --help)")
	case o.ipv4Only && !o.bind.Is4() && !o.bind.IsUnspecified():
		return badRequest("--bind %s: not an IPv4 address, and --ipv4-only is given", quoteValue(o.bind.String()))
	case o.minTTL > o.maxTTL:
		return badRequest("--min-ttl \"%d\": more than --max-ttl \"%d\"", o.minTTL, o.maxTTL)
	}
	return nil
}

// reaches tells whether servers at an address can be asked from the address we are bound to.
func (o *options) reaches(address netip.Addr) bool {
	return slices.Contains(o.addressTypes(), addressType(address))
}

func addressType(address netip.Addr) uint16 {
	if address.Is4() {
		return typeA
	}
	return typeAAAA
}

// addressTypes are the types of the addresses that can be asked; from :: those of both families.
func (o *options) addressTypes() []uint16 {
	switch {
	case o.bind.Is4() || o.ipv4Only:
		return []uint16{typeA}
	case o.bind.IsUnspecified():
		return []uint16{typeA, typeAAAA}
	}
	return []uint16{typeAAAA}
}
