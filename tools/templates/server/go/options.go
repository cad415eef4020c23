package main

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// options are the arguments, parsed and checked once.
type options struct {
	listen         netip.AddrPort
	listenText     string // as it was given
	threads        int
	maxConnections int
	idleTimeout    time.Duration
	drainTimeout   time.Duration
	help, version  bool
}

const (
	maxThreads     = 64
	maxConnections = 100_000
	maxSeconds     = 86_400
)

// parseOptions reads --name value and --name=value.
func parseOptions(arguments []string) (*options, error) {
	settings := &options{threads: 1, maxConnections: 10_000, idleTimeout: time.Minute, drainTimeout: 5 * time.Second}
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
		if err := set(settings, value); err != nil {
			return nil, err
		}
	}
	if settings.listenText == "" {
		return nil, badRequest("--listen is missing (see --help)")
	}
	return settings, nil
}

var optionSetters = map[string]func(*options, string) error{
	"--listen": func(o *options, value string) (err error) {
		o.listenText = value
		o.listen, err = address("--listen", value)
		return err
	},
	"--threads": func(o *options, value string) (err error) {
		o.threads, err = number("--threads", value, 1, maxThreads)
		return err
	},
	"--max-connections": func(o *options, value string) (err error) {
		o.maxConnections, err = number("--max-connections", value, 1, maxConnections)
		return err
	},
	"--idle-timeout": func(o *options, value string) (err error) {
		o.idleTimeout, err = seconds("--idle-timeout", value, 1)
		return err
	},
	"--drain-timeout": func(o *options, value string) (err error) {
		o.drainTimeout, err = seconds("--drain-timeout", value, 0)
		return err
	},
}

// address reads a numeric host, in brackets if it is of IPv6, or localhost; and a port.
func address(name, value string) (netip.AddrPort, error) {
	text := value
	if port, isLocal := strings.CutPrefix(value, "localhost:"); isLocal {
		text = "127.0.0.1:" + port
	}
	parsed, err := netip.ParseAddrPort(text)
	if err != nil {
		return parsed, badRequest("%s %s: not HOST:PORT with a numeric host", name, quoteValue(value))
	}
	return parsed, nil
}

func seconds(name, value string, least int) (time.Duration, error) {
	count, err := number(name, value, least, maxSeconds)
	return time.Duration(count) * time.Second, err
}

// number reads a plain decimal from least to most.
func number(name, value string, least, most int) (int, error) {
	parsed, err := strconv.ParseUint(value, 10, 63)
	if err != nil || parsed < uint64(least) || parsed > uint64(most) {
		return 0, badRequest("%s %s: not a whole number from %d to %d", name, quoteValue(value), least, most)
	}
	return int(parsed), nil
}
