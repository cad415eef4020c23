package main

import (
	"strconv"
	"strings"
)

// options are the arguments, parsed and checked once.
type options struct {
	inputPath      string
	groupBy        []string
	aggregates     []aggregate
	conditions     []condition
	delimiter      byte
	noHeader       bool
	skipBadRows    bool
	packed         compression
	maxGroups      int
	maxRecordBytes int
	asJSON         bool
	outputPath     string // empty: the answer is only digested
	repeats        int
	help, version  bool
}

const (
	maxRepeats          = 1_000_000_000
	maxGroupsLimit      = 100_000_000
	maxRecordBytesLimit = 256 << 20
)

// parseOptions reads --name value and --name=value.
func parseOptions(arguments []string) (*options, error) {
	request := &options{
		delimiter: ',', packed: compressionAuto, maxGroups: 1_000_000, maxRecordBytes: 1 << 20, repeats: 1,
	}
	for len(arguments) > 0 {
		name, value, hasValue := strings.Cut(arguments[0], "=")
		arguments = arguments[1:]
		if isFlag, err := request.setFlag(name, hasValue); err != nil {
			return nil, err
		} else if isFlag {
			if request.help || request.version {
				return request, nil
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
		if err := set(request, value); err != nil {
			return nil, err
		}
	}
	return request, request.check()
}

// setFlag handles the options without a value.
func (o *options) setFlag(name string, hasValue bool) (isFlag bool, err error) {
	switch name {
	case "--help":
		o.help = true
	case "--version":
		o.version = true
	case "--no-header":
		o.noHeader = true
	default:
		return false, nil
	}
	if hasValue {
		return true, badRequest("%s takes no value", name)
	}
	return true, nil
}

var optionSetters = map[string]func(*options, string) error{
	"--input":    func(o *options, value string) error { o.inputPath = value; return notEmpty("--input", value) },
	"--output":   func(o *options, value string) error { o.outputPath = value; return notEmpty("--output", value) },
	"--group-by": func(o *options, value string) error { o.groupBy = strings.Split(value, ","); return nil },
	"--agg": func(o *options, value string) (err error) {
		o.aggregates, err = parseAggregates(value)
		return err
	},
	"--where": func(o *options, value string) error {
		parsed, err := parseCondition(value)
		o.conditions = append(o.conditions, parsed)
		return err
	},
	"--delimiter": (*options).setDelimiter,
	"--on-error": func(o *options, value string) error {
		o.skipBadRows = value == "skip"
		return oneOf("--on-error", value, "fail", "skip")
	},
	"--compression": func(o *options, value string) error {
		o.packed = compression(value)
		return oneOf("--compression", value, "auto", "none", "gzip", "zstd")
	},
	"--format": func(o *options, value string) error {
		o.asJSON = value == "json"
		return oneOf("--format", value, "csv", "json")
	},
	"--max-groups": func(o *options, value string) (err error) {
		o.maxGroups, err = number("--max-groups", value, maxGroupsLimit)
		return err
	},
	"--max-record-bytes": func(o *options, value string) (err error) {
		o.maxRecordBytes, err = number("--max-record-bytes", value, maxRecordBytesLimit)
		return err
	},
	"--repeats": func(o *options, value string) (err error) {
		o.repeats, err = number("--repeats", value, maxRepeats)
		return err
	},
}

// setDelimiter takes one ASCII byte that can neither quote nor end a record.
func (o *options) setDelimiter(value string) error {
	if value == `\t` {
		value = "\t"
	}
	if len(value) != 1 || value[0] >= 0x80 || strings.ContainsAny(value, "\"\r\n") {
		return badRequest("--delimiter %s: not one ASCII byte other than quote, CR and LF", quoteValue(value))
	}
	o.delimiter = value[0]
	return nil
}

func notEmpty(name, value string) error {
	if value == "" {
		return badRequest("%s needs a value", name)
	}
	return nil
}

func oneOf(name, value string, allowed ...string) error {
	for _, candidate := range allowed {
		if value == candidate {
			return nil
		}
	}
	return badRequest("%s %s: not one of %s", name, quoteValue(value), strings.Join(allowed, ", "))
}

// number reads a plain decimal from 1 to most.
func number(name, value string, most int) (int, error) {
	parsed, err := strconv.ParseUint(value, 10, 63)
	if err != nil || parsed < 1 || parsed > uint64(most) {
		return 0, badRequest("%s %s: not a whole number from 1 to %d", name, quoteValue(value), most)
	}
	return int(parsed), nil
}

// check looks at what the options must be together.
func (o *options) check() error {
	switch {
	case o.inputPath == "":
		return badRequest("--input is missing (see --help)")
	case o.aggregates == nil:
		return badRequest("--agg is missing (see --help)")
	case o.inputPath == standardStream && o.repeats > 1:
		return badRequest("--input -: standard input cannot be read %d times (--repeats)", o.repeats)
	}
	return nil
}
