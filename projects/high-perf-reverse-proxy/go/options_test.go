package main

import (
	"strings"
	"testing"
	"time"
)

func TestBothWaysToGiveAValue(t *testing.T) {
	o, err := parseOptions(strings.Fields("--listen=[::1]:0 --backends a:1,[::1]:2 --balance hash --hash-header=X-Id --read-timeout 0.25 --pool-size=0 --drain-timeout 0"))
	if err != nil {
		t.Fatal(err)
	}
	if o.listen != "[::1]:0" || len(o.backends) != 2 || o.balance != byHash || o.readTimeout != 250*time.Millisecond || o.poolSize != 0 || o.drainTimeout != 0 {
		t.Errorf("got %+v", o)
	}
}

func TestBadUsageIsRefused(t *testing.T) {
	const enough = "--listen h:1 --backends h:1 "
	for _, test := range []struct{ arguments, want string }{
		{"", "--listen is missing"},
		{"--listen h:1", "--backends is missing"},
		{"--listen h", `--listen "h": not HOST:PORT`},
		{"--listen :80", `--listen ":80": not HOST:PORT`},
		{"--listen h:65536", "not a number from 0 to 65535"},
		{"--listen h:+1", "not a number from 0 to 65535"},
		{"--backends h:0", "not a number from 1 to 65535"},
		{"--backends h:1,,h:2", `--backends "": not HOST:PORT`},
		{"--backends http://h:1", "not HOST:PORT"},
		{"--backends h:1,h:1", "given twice"},
		{"--balance random", "not one of"},
		{"--retries", "--retries needs a value"},
		{"--retries -1", "not a whole number"},
		{"--threads 0", "not a whole number from 1"},
		{"--read-timeout 0", "not a number of seconds"},
		{"--read-timeout 1e3", "not a number of seconds"},
		{"--read-timeout inf", "not a number of seconds"},
		{"--read-timeout -1", "not a number of seconds"},
		{"--read-timeout .", "not a number of seconds"},
		{"--health-path up", "not a path"},
		{enough + "--hash-header X", "only with --balance hash"},
		{"--hash-header a:b", "not the name of a header"},
		{"--nonsense 1", `unknown option: "--nonsense"`},
		{"x", `unknown option: "x"`},
		{"--help=1", "takes no value"},
	} {
		if _, err := parseOptions(strings.Fields(test.arguments)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.arguments, err, test.want)
		}
	}
}
