package main

import (
	"strings"
	"testing"
	"time"
)

func TestBothWaysToGiveAValue(t *testing.T) {
	o, err := parseOptions(strings.Fields("--listen=127.0.0.1:0 --threads 2 --queue=8 --rate 2.5 --burst=3 --ping-interval 0.5 " +
		"--ping-timeout=.25 --join-timeout 1 --max-message-bytes 128 --max-connections=7 --history 5 --echo --drain-timeout=0 " +
		"--origins https://a.example,http://b.example:8080"))
	if err != nil {
		t.Fatal(err)
	}
	if o.listen != "127.0.0.1:0" || o.threads != 2 || o.queue != 8 || o.rate != 2.5 || o.burst != 3 ||
		o.pingInterval != 500*time.Millisecond || o.pingTimeout != 250*time.Millisecond || o.joinTimeout != time.Second ||
		o.maxMessageBytes != 128 || o.maxConnections != 7 || o.history != 5 || !o.echo || o.drainTimeout != 0 ||
		len(o.origins) != 2 || o.origins[1] != "http://b.example:8080" {
		t.Errorf("got %+v", o)
	}
}

func TestDefaults(t *testing.T) {
	o, err := parseOptions([]string{"--listen", "[::1]:8080"})
	if err != nil {
		t.Fatal(err)
	}
	if o.threads != 1 || o.queue != 1024 || o.rate != 10 || o.burst != 20 || o.pingInterval != 20*time.Second ||
		o.pingTimeout != 10*time.Second || o.joinTimeout != 10*time.Second || o.maxMessageBytes != 4096 ||
		o.maxConnections != 10_000 || o.history != 0 || o.echo || o.drainTimeout != 5*time.Second || o.origins != nil {
		t.Errorf("got %+v", o)
	}
}

func TestBadUsageIsRefused(t *testing.T) {
	for _, test := range []struct{ arguments, want string }{
		{"", "--listen is missing"},
		{"--listen", "--listen needs a value"},
		{"--listen=", "not HOST:PORT"},
		{"--listen nowhere", "not HOST:PORT"},
		{"--listen :80", "not HOST:PORT"},
		{"--listen 127.0.0.1:65536", "the port is not a number"},
		{"--listen 127.0.0.1:-1", "the port is not a number"},
		{"--nosuch", `unknown option: "--nosuch"`},
		{"stray", `unknown option: "stray"`},
		{"--threads 0", "not a whole number"},
		{"--queue 0", "not a whole number"},
		{"--queue many", "not a whole number"},
		{"--rate -1", "not 0 or a number"},
		{"--rate 1e3", "not 0 or a number"},
		{"--burst 0", "not a whole number"},
		{"--ping-interval 0", "not a number of seconds"},
		{"--ping-timeout NaN", "not a number of seconds"},
		{"--join-timeout 1.2.3", "not a number of seconds"},
		{"--max-message-bytes 99999999", "not a whole number"},
		{"--origins a.example", "not a list of origins"},
		{"--origins https://a.example,", "not a list of origins"},
		{"--echo=1", "takes no value"},
		{"--help=1", "takes no value"},
	} {
		if _, err := parseOptions(strings.Fields(test.arguments)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.arguments, err, test.want)
		}
	}
}
