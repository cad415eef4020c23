package main

import (
	"strings"
	"testing"
	"time"
)

func TestBothWaysToGiveAValue(t *testing.T) {
	settings, err := parseOptions([]string{"--listen=localhost:80", "--threads", "3", "--drain-timeout=0"})
	if err != nil || settings.listen.String() != "127.0.0.1:80" || settings.threads != 3 || settings.drainTimeout != 0 {
		t.Errorf("got %+v, %v", settings, err)
	}
	if settings.idleTimeout != time.Minute || settings.maxConnections != 10_000 {
		t.Errorf("defaults: %+v", settings)
	}
}

func TestBadUsageIsRefused(t *testing.T) {
	for _, test := range []struct{ arguments, want string }{
		{"", "--listen is missing"},
		{"--listen", "--listen needs a value"},
		{"--listen=", `--listen "": not HOST:PORT`},
		{"--listen nowhere", `--listen "nowhere"`},
		{"--listen :80", `--listen ":80"`},
		{"--listen 127.0.0.1:65536", "65536"},
		{"--nonsense", `unknown option: "--nonsense"`},
		{"--version=1", "takes no value"},
		{"--threads 0", "from 1 to 64"},
		{"--threads x", `--threads "x"`},
		{"--max-connections 100001", "from 1 to 100000"},
		{"--idle-timeout 0", "from 1 to 86400"},
		{"--drain-timeout -1", `--drain-timeout "-1"`},
		{"--drain-timeout 99999999999999999999", "from 0 to 86400"},
	} {
		if _, err := parseOptions(strings.Fields(test.arguments)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.arguments, err, test.want)
		}
	}
}
