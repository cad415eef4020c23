package main

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// options are the arguments, parsed and checked once.
type options struct {
	listen        []listenAddress
	threads       int
	maxMemory     int64 // bytes, 0: no limit
	policy        policy
	appendOnly    string // empty: no log
	fsync         fsyncPolicy
	maxClients    int
	drainTimeout  time.Duration
	checkLog      string // empty: serve
	help, version bool
}

// listenAddress is where to listen.
type listenAddress struct {
	text     string // as it was given
	socket   unix.Sockaddr
	unixPath string // empty for TCP
}

const (
	mostThreads      = 256
	mostClients      = 1_000_000
	mostDrainSeconds = 86_400
	longestUnixPath  = 107
)

// parseOptions reads --name value and --name=value.
func parseOptions(arguments []string) (*options, error) {
	o := &options{threads: 1, fsync: fsyncEverySec, maxClients: 10_000, drainTimeout: 5 * time.Second}
	for len(arguments) > 0 {
		name, value, hasValue := strings.Cut(arguments[0], "=")
		arguments = arguments[1:]
		if name == "--help" || name == "--version" {
			if hasValue {
				return nil, badRequest("%s takes no value", name)
			}
			o.help, o.version = name == "--help", name == "--version"
			return o, nil
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
		if value == "" {
			return nil, badRequest("%s needs a value", name)
		}
		if err := set(o, value); err != nil {
			return nil, err
		}
	}
	if len(o.listen) == 0 && o.checkLog == "" {
		return nil, badRequest("--listen is missing (see --help)")
	}
	return o, nil
}

var optionSetters = map[string]func(*options, string) error{
	"--listen": func(o *options, value string) error {
		address, err := parseListen(value)
		o.listen = append(o.listen, address)
		return err
	},
	"--threads": func(o *options, value string) (err error) {
		o.threads, err = number("--threads", value, 1, mostThreads)
		return err
	},
	"--maxmemory": func(o *options, value string) error {
		bytes, ok := parseMemory(value)
		if !ok || value[0] > '9' {
			return badRequest("--maxmemory %s: not a number of bytes (100mb, 1gb, 0)", quoteValue(value))
		}
		o.maxMemory = bytes
		return nil
	},
	"--maxmemory-policy": func(o *options, value string) error {
		chosen, err := oneOf("--maxmemory-policy", value, policyNames)
		o.policy = policy(chosen)
		return err
	},
	"--appendonly": func(o *options, value string) error { o.appendOnly = value; return nil },
	"--appendfsync": func(o *options, value string) error {
		chosen, err := oneOf("--appendfsync", value, fsyncNames)
		o.fsync = fsyncPolicy(chosen)
		return err
	},
	"--maxclients": func(o *options, value string) (err error) {
		o.maxClients, err = number("--maxclients", value, 1, mostClients)
		return err
	},
	"--drain-timeout": func(o *options, value string) error {
		seconds, err := number("--drain-timeout", value, 0, mostDrainSeconds)
		o.drainTimeout = time.Duration(seconds) * time.Second
		return err
	},
	"--check-aof": func(o *options, value string) error { o.checkLog = value; return nil },
}

// number reads a plain decimal from least to most.
func number(name, value string, least, most int) (int, error) {
	parsed, err := strconv.ParseUint(value, 10, 63)
	if err != nil || parsed < uint64(least) || parsed > uint64(most) {
		return 0, badRequest("%s %s: not a whole number from %d to %d", name, quoteValue(value), least, most)
	}
	return int(parsed), nil
}

// oneOf is the position of a word in a list.
func oneOf(name, value string, allowed []string) (int, error) {
	for i, word := range allowed {
		if value == word {
			return i, nil
		}
	}
	return 0, badRequest("%s %s: not one of %s", name, quoteValue(value), strings.Join(allowed, ", "))
}

// parseListen reads HOST:PORT or unix:PATH.
func parseListen(text string) (listenAddress, error) {
	if path, isUnix := strings.CutPrefix(text, "unix:"); isUnix {
		if path == "" || len(path) > longestUnixPath || strings.ContainsRune(path, 0) {
			return listenAddress{}, badRequest("--listen %s: not a path of 1 to %d bytes", quoteValue(text), longestUnixPath)
		}
		return listenAddress{text, &unix.SockaddrUnix{Name: path}, path}, nil
	}
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		return listenAddress{}, badRequest("--listen %s: not HOST:PORT or unix:PATH", quoteValue(text))
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return listenAddress{}, badRequest("--listen %s: not a port from 0 to 65535: %s", quoteValue(text), quoteValue(portText))
	}
	address, err := resolve(host)
	if err != nil {
		return listenAddress{}, badRequest("--listen %s: %v", quoteValue(text), err)
	}
	if four := address.To4(); four != nil {
		return listenAddress{text: text, socket: &unix.SockaddrInet4{Port: int(port), Addr: [4]byte(four)}}, nil
	}
	return listenAddress{text: text, socket: &unix.SockaddrInet6{Port: int(port), Addr: [16]byte(address)}}, nil
}

// resolve takes an address; a name is asked for only if it could be one.
func resolve(host string) (net.IP, error) {
	if address := net.ParseIP(host); address != nil {
		return address, nil
	}
	if strings.Trim(host, "0123456789.") == "" {
		return nil, errors.New("not an address: " + quoteValue(host))
	}
	found, err := net.LookupIP(host)
	if err != nil || len(found) == 0 {
		return nil, errors.New("unknown host: " + quoteValue(host))
	}
	for _, address := range found {
		if address.To4() != nil {
			return address, nil
		}
	}
	return found[0], nil
}
