package main

import (
	"net/netip"
	"strconv"
	"strings"
)

// standardStream is the path that stands for standard output.
const standardStream = "-"

// options are the arguments, parsed and checked once.
type options struct {
	server        netip.AddrPort
	keysPath      string
	pipeline      int
	outputPath    string // empty: the answer is only digested
	repeats       int
	help, version bool
}

const (
	maxRepeats  = 1_000_000_000
	maxPipeline = 64 // so many requests always fit into the buffers of a socket
)

// parseOptions reads --name value and --name=value.
func parseOptions(arguments []string) (*options, error) {
	request := &options{pipeline: 1, repeats: 1}
	for len(arguments) > 0 {
		name, value, hasValue := strings.Cut(arguments[0], "=")
		arguments = arguments[1:]
		if name == "--help" || name == "--version" {
			if hasValue {
				return nil, badRequest("%s takes no value", name)
			}
			request.help, request.version = name == "--help", name == "--version"
			return request, nil
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
		if err := set(request, value); err != nil {
			return nil, err
		}
	}
	switch {
	case !request.server.IsValid():
		return nil, badRequest("--server is missing (see --help)")
	case request.keysPath == "":
		return nil, badRequest("--keys is missing (see --help)")
	}
	return request, nil
}

var optionSetters = map[string]func(*options, string) error{
	"--server": func(o *options, value string) (err error) {
		if o.server, err = netip.ParseAddrPort(value); err != nil || o.server.Port() == 0 {
			return badRequest("--server %s: not HOST:PORT with a numeric host", quoteValue(value))
		}
		return nil
	},
	"--keys":   func(o *options, value string) error { o.keysPath = value; return notEmpty("--keys", value) },
	"--output": func(o *options, value string) error { o.outputPath = value; return notEmpty("--output", value) },
	"--pipeline": func(o *options, value string) (err error) {
		o.pipeline, err = number("--pipeline", value, maxPipeline)
		return err
	},
	"--repeats": func(o *options, value string) (err error) {
		o.repeats, err = number("--repeats", value, maxRepeats)
		return err
	},
}

func notEmpty(name, value string) error {
	if value == "" {
		return badRequest("%s needs a value", name)
	}
	return nil
}

// number reads a plain decimal from 1 to most.
func number(name, value string, most int) (int, error) {
	parsed, err := strconv.ParseUint(value, 10, 63)
	if err != nil || parsed < 1 || parsed > uint64(most) {
		return 0, badRequest("%s %s: not a whole number from 1 to %d", name, quoteValue(value), most)
	}
	return int(parsed), nil
}
