package main

import (
	"math"
	"net"
	"strconv"
	"strings"
	"time"
)

// balance is how a backend is chosen.
type balance int

const (
	roundRobin balance = iota
	leastConnections
	byHash
)

// options are the arguments, parsed and checked once.
type options struct {
	listen, admin  string
	backends       []string
	balance        balance
	hashHeader     string
	poolSize       int
	maxConnections int
	threads        int

	connectTimeout, readTimeout, idleTimeout, headerTimeout, drainTimeout time.Duration

	maxHeaderBytes int
	maxBodyBytes   int64 // 0: no limit

	healthPath                    string
	healthInterval, healthTimeout time.Duration
	rise, fall                    int
	maxFails                      int
	failTimeout                   time.Duration
	retries                       int

	help, version bool
}

const (
	maxBackends      = 256
	maxThreads       = 1024
	maxPoolSize      = 65_536
	maxConnections   = 1_000_000
	maxHeaderLimit   = 1 << 20
	maxInARow        = 1_000_000
	maxRetries       = 100
	maxSeconds       = 1_000_000
	shortestTimeout  = time.Millisecond
	maxContentLength = math.MaxInt64
)

func defaultOptions() *options {
	return &options{
		poolSize: 64, maxConnections: 10_000, threads: 1,
		connectTimeout: time.Second, readTimeout: 30 * time.Second, idleTimeout: 60 * time.Second,
		headerTimeout: 10 * time.Second, drainTimeout: 5 * time.Second,
		maxHeaderBytes: 16_384,
		healthInterval: 2 * time.Second, healthTimeout: time.Second, rise: 2, fall: 3,
		maxFails: 3, failTimeout: 10 * time.Second, retries: 1,
	}
}

// parseOptions reads --name value and --name=value; where an option stands twice, the last one counts.
func parseOptions(arguments []string) (*options, error) {
	settings := defaultOptions()
	for len(arguments) > 0 {
		name, value, hasValue := strings.Cut(arguments[0], "=")
		arguments = arguments[1:]
		if name == "--help" || name == "--version" {
			if hasValue {
				return nil, badRequest("%s takes no value", name)
			}
			settings.help, settings.version = name == "--help", name == "--version"
			return settings, nil
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
		if err := set(settings, name, value); err != nil {
			return nil, err
		}
	}
	return settings, settings.check()
}

// setter puts one value where it belongs.
type setter func(o *options, name, value string) error

var optionSetters = map[string]setter{
	"--listen":           addressOption(func(o *options) *string { return &o.listen }),
	"--admin":            addressOption(func(o *options) *string { return &o.admin }),
	"--backends":         (*options).setBackends,
	"--balance":          (*options).setBalance,
	"--hash-header":      (*options).setHashHeader,
	"--health-path":      (*options).setHealthPath,
	"--max-body-bytes":   (*options).setMaxBodyBytes,
	"--pool-size":        numberOption(0, maxPoolSize, func(o *options) *int { return &o.poolSize }),
	"--max-connections":  numberOption(1, maxConnections, func(o *options) *int { return &o.maxConnections }),
	"--threads":          numberOption(1, maxThreads, func(o *options) *int { return &o.threads }),
	"--max-header-bytes": numberOption(1, maxHeaderLimit, func(o *options) *int { return &o.maxHeaderBytes }),
	"--rise":             numberOption(1, maxInARow, func(o *options) *int { return &o.rise }),
	"--fall":             numberOption(1, maxInARow, func(o *options) *int { return &o.fall }),
	"--max-fails":        numberOption(0, maxInARow, func(o *options) *int { return &o.maxFails }),
	"--retries":          numberOption(0, maxRetries, func(o *options) *int { return &o.retries }),
	"--connect-timeout":  secondsOption(shortestTimeout, func(o *options) *time.Duration { return &o.connectTimeout }),
	"--read-timeout":     secondsOption(shortestTimeout, func(o *options) *time.Duration { return &o.readTimeout }),
	"--idle-timeout":     secondsOption(shortestTimeout, func(o *options) *time.Duration { return &o.idleTimeout }),
	"--header-timeout":   secondsOption(shortestTimeout, func(o *options) *time.Duration { return &o.headerTimeout }),
	"--drain-timeout":    secondsOption(0, func(o *options) *time.Duration { return &o.drainTimeout }),
	"--health-interval":  secondsOption(shortestTimeout, func(o *options) *time.Duration { return &o.healthInterval }),
	"--health-timeout":   secondsOption(shortestTimeout, func(o *options) *time.Duration { return &o.healthTimeout }),
	"--fail-timeout":     secondsOption(shortestTimeout, func(o *options) *time.Duration { return &o.failTimeout }),
}

func addressOption(field func(*options) *string) setter {
	return func(o *options, name, value string) error {
		*field(o) = value
		return checkAddress(name, value, 0)
	}
}

func numberOption(least, most int, field func(*options) *int) setter {
	return func(o *options, name, value string) error {
		parsed, err := wholeNumber(name, value, int64(least), int64(most))
		*field(o) = int(parsed)
		return err
	}
}

func secondsOption(least time.Duration, field func(*options) *time.Duration) setter {
	return func(o *options, name, value string) (err error) {
		*field(o), err = seconds(name, value, least)
		return err
	}
}

func (o *options) setBackends(name, value string) error {
	o.backends = strings.Split(value, ",")
	seen := map[string]bool{}
	if len(o.backends) > maxBackends {
		return badRequest("%s: more than %d backends", name, maxBackends)
	}
	for _, address := range o.backends {
		if err := checkAddress(name, address, 1); err != nil {
			return err
		}
		if seen[address] {
			return badRequest("%s %s: given twice", name, quoteValue(address))
		}
		seen[address] = true
	}
	return nil
}

func (o *options) setBalance(name, value string) error {
	switch value {
	case "round-robin":
		o.balance = roundRobin
	case "least-connections":
		o.balance = leastConnections
	case "hash":
		o.balance = byHash
	default:
		return badRequest("%s %s: not one of round-robin, least-connections, hash", name, quoteValue(value))
	}
	return nil
}

func (o *options) setHashHeader(name, value string) error {
	o.hashHeader = value
	if tokenLength([]byte(value)) != len(value) || value == "" {
		return badRequest("%s %s: not the name of a header", name, quoteValue(value))
	}
	return nil
}

func (o *options) setHealthPath(name, value string) error {
	o.healthPath = value
	if !strings.HasPrefix(value, "/") || !isTarget([]byte(value)) {
		return badRequest("%s %s: not a path that starts with /", name, quoteValue(value))
	}
	return nil
}

func (o *options) setMaxBodyBytes(name, value string) (err error) {
	o.maxBodyBytes, err = wholeNumber(name, value, 0, maxContentLength)
	return err
}

// checkAddress wants HOST:PORT, with a port from leastPort on.
func checkAddress(name, value string, leastPort int) error {
	host, port, err := net.SplitHostPort(value)
	if err != nil || host == "" || strings.ContainsAny(host, " \t/@,") {
		return badRequest("%s %s: not HOST:PORT", name, quoteValue(value))
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || int(number) < leastPort {
		return badRequest("%s %s: the port is not a number from %d to 65535", name, quoteValue(value), leastPort)
	}
	return nil
}

func wholeNumber(name, value string, least, most int64) (int64, error) {
	parsed, err := strconv.ParseUint(value, 10, 63)
	if err != nil || int64(parsed) < least || int64(parsed) > most {
		return 0, badRequest("%s %s: not a whole number from %d to %d", name, quoteValue(value), least, most)
	}
	return int64(parsed), nil
}

// seconds reads a plain decimal such as 2 or 0.25.
func seconds(name, value string, least time.Duration) (time.Duration, error) {
	parsed, err := strconv.ParseFloat(value, 64)
	duration := time.Duration(parsed * float64(time.Second))
	if err != nil || strings.Trim(value, "0123456789.") != "" || parsed > maxSeconds || duration < least {
		return 0, badRequest("%s %s: not a number of seconds from %g to %d", name, quoteValue(value), least.Seconds(), maxSeconds)
	}
	return duration, nil
}

// check looks at what the options must be together.
func (o *options) check() error {
	switch {
	case o.listen == "":
		return badRequest("--listen is missing (see --help)")
	case len(o.backends) == 0:
		return badRequest("--backends is missing (see --help)")
	case o.hashHeader != "" && o.balance != byHash:
		return badRequest("--hash-header %s: only with --balance hash", quoteValue(o.hashHeader))
	}
	return nil
}
