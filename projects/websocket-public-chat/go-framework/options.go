package main

import (
	"net"
	"strconv"
	"strings"
	"time"
)

// options are the arguments, parsed and checked once.
type options struct {
	listen          string
	threads         int
	drainTimeout    time.Duration
	queue           int     // messages that may wait for a client
	rate            float64 // chat messages a second of a connection, 0: no limit
	burst           int
	pingInterval    time.Duration
	pingTimeout     time.Duration
	joinTimeout     time.Duration
	maxMessageBytes int
	maxConnections  int
	history         int
	origins         []string // empty: all
	echo            bool
	help, version   bool
}

const (
	maxThreads      = 1024
	maxQueue        = 1_000_000
	maxRate         = 1_000_000
	maxBurst        = 1_000_000
	maxMessageLimit = 16 << 20
	maxConnections  = 1_000_000
	maxHistory      = 100_000
	maxSeconds      = 1_000_000
	shortestTimeout = time.Millisecond
)

func defaultOptions() *options {
	return &options{
		threads: 1, drainTimeout: 5 * time.Second, queue: 1024, rate: 10, burst: 20,
		pingInterval: 20 * time.Second, pingTimeout: 10 * time.Second, joinTimeout: 10 * time.Second,
		maxMessageBytes: 4096, maxConnections: 10_000,
	}
}

// parseOptions reads --name value and --name=value; where an option stands twice, the last one counts.
func parseOptions(arguments []string) (*options, error) {
	settings := defaultOptions()
	for len(arguments) > 0 {
		name, value, hasValue := strings.Cut(arguments[0], "=")
		arguments = arguments[1:]
		if set, isFlag := flagSetters[name]; isFlag {
			if hasValue {
				return nil, badRequest("%s takes no value", name)
			}
			set(settings)
			if settings.help || settings.version {
				return settings, nil
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
		if err := set(settings, name, value); err != nil {
			return nil, err
		}
	}
	if settings.listen == "" {
		return nil, badRequest("--listen is missing (see --help)")
	}
	return settings, nil
}

// flagSetters are the options without a value.
var flagSetters = map[string]func(*options){
	"--help":    func(o *options) { o.help = true },
	"--version": func(o *options) { o.version = true },
	"--echo":    func(o *options) { o.echo = true },
}

// setter puts one value where it belongs.
type setter func(o *options, name, value string) error

var optionSetters = map[string]setter{
	"--listen":            (*options).setListen,
	"--origins":           (*options).setOrigins,
	"--rate":              (*options).setRate,
	"--threads":           numberOption(1, maxThreads, func(o *options) *int { return &o.threads }),
	"--queue":             numberOption(1, maxQueue, func(o *options) *int { return &o.queue }),
	"--burst":             numberOption(1, maxBurst, func(o *options) *int { return &o.burst }),
	"--max-message-bytes": numberOption(1, maxMessageLimit, func(o *options) *int { return &o.maxMessageBytes }),
	"--max-connections":   numberOption(1, maxConnections, func(o *options) *int { return &o.maxConnections }),
	"--history":           numberOption(0, maxHistory, func(o *options) *int { return &o.history }),
	"--drain-timeout":     secondsOption(0, func(o *options) *time.Duration { return &o.drainTimeout }),
	"--ping-interval":     secondsOption(shortestTimeout, func(o *options) *time.Duration { return &o.pingInterval }),
	"--ping-timeout":      secondsOption(shortestTimeout, func(o *options) *time.Duration { return &o.pingTimeout }),
	"--join-timeout":      secondsOption(shortestTimeout, func(o *options) *time.Duration { return &o.joinTimeout }),
}

func numberOption(least, most int, field func(*options) *int) setter {
	return func(o *options, name, value string) error {
		parsed, err := strconv.ParseUint(value, 10, 31)
		if err != nil || int(parsed) < least || int(parsed) > most {
			return badRequest("%s %s: not a whole number from %d to %d", name, quoteValue(value), least, most)
		}
		*field(o) = int(parsed)
		return nil
	}
}

func secondsOption(least time.Duration, field func(*options) *time.Duration) setter {
	return func(o *options, name, value string) error {
		parsed, ok := plainDecimal(value)
		duration := time.Duration(parsed * float64(time.Second))
		if !ok || parsed > maxSeconds || duration < least {
			return badRequest("%s %s: not a number of seconds from %g to %d", name, quoteValue(value), least.Seconds(), maxSeconds)
		}
		*field(o) = duration
		return nil
	}
}

func (o *options) setRate(name, value string) error {
	parsed, ok := plainDecimal(value)
	if !ok || parsed > maxRate || parsed != 0 && parsed < 0.001 {
		return badRequest("%s %s: not 0 or a number from 0.001 to %d", name, quoteValue(value), maxRate)
	}
	o.rate = parsed
	return nil
}

func (o *options) setListen(name, value string) error {
	host, port, err := net.SplitHostPort(value)
	if err != nil || host == "" || strings.ContainsAny(host, " \t/@,") {
		return badRequest("%s %s: not HOST:PORT", name, quoteValue(value))
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return badRequest("%s %s: the port is not a number from 0 to 65535", name, quoteValue(value))
	}
	o.listen = value
	return nil
}

func (o *options) setOrigins(name, value string) error {
	o.origins = strings.Split(value, ",")
	for _, origin := range o.origins {
		scheme, host, ok := strings.Cut(origin, "://")
		if !ok || scheme != "http" && scheme != "https" || host == "" || strings.ContainsAny(host, " \t/") {
			return badRequest("%s %s: not a list of origins like https://a.example", name, quoteValue(value))
		}
	}
	return nil
}

// plainDecimal reads a number such as 2 or 0.25.
func plainDecimal(text string) (float64, bool) {
	if strings.Trim(text, "0123456789.") != "" {
		return 0, false
	}
	parsed, err := strconv.ParseFloat(text, 64)
	return parsed, err == nil
}
