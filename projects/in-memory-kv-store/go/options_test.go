package main

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestBothWaysToGiveAValue(t *testing.T) {
	o, err := parseOptions(strings.Fields("--listen=127.0.0.1:0 --listen unix:/tmp/a=b --maxmemory 100mb --maxmemory-policy=volatile-ttl " +
		"--appendfsync always --drain-timeout=0 --threads 2 --maxclients=5"))
	if err != nil {
		t.Fatal(err)
	}
	if len(o.listen) != 2 || o.listen[1].unixPath != "/tmp/a=b" || o.maxMemory != 100<<20 || o.policy != volatileTTL ||
		o.fsync != fsyncAlways || o.drainTimeout != 0 || o.threads != 2 || o.maxClients != 5 {
		t.Errorf("got %+v", o)
	}
	if four, ok := o.listen[0].socket.(*unix.SockaddrInet4); !ok || four.Addr != [4]byte{127, 0, 0, 1} {
		t.Errorf("got %+v", o.listen[0].socket)
	}
}

func TestDefaults(t *testing.T) {
	o, err := parseOptions([]string{"--listen", "[::1]:6379"})
	if err != nil {
		t.Fatal(err)
	}
	if o.threads != 1 || o.maxClients != 10_000 || o.drainTimeout != 5*time.Second || o.fsync != fsyncEverySec || o.policy != noEviction {
		t.Errorf("got %+v", o)
	}
	if six, ok := o.listen[0].socket.(*unix.SockaddrInet6); !ok || six.Port != 6379 {
		t.Errorf("got %+v", o.listen[0].socket)
	}
}

func TestBadUsageIsRefused(t *testing.T) {
	for _, test := range []struct{ arguments, want string }{
		{"", "--listen is missing"},
		{"--listen", "--listen needs a value"},
		{"--listen=", "--listen needs a value"},
		{"--listen nowhere", "not HOST:PORT"},
		{"--listen 127.0.0.1:65536", "not a port"},
		{"--listen 127.0.0.1:-1", "not a port"},
		{"--listen 999.1.1.1:0", "not an address"},
		{"--listen unix:", "not a path"},
		{"--listen unix:" + strings.Repeat("x", 200), "not a path"},
		{"--nosuch", `unknown option: "--nosuch"`},
		{"-x", `unknown option: "-x"`},
		{"stray", `unknown option: "stray"`},
		{"--threads 0", "not a whole number"},
		{"--threads many", "not a whole number"},
		{"--maxmemory lots", "not a number of bytes"},
		{"--maxmemory kb", "not a number of bytes"},
		{"--maxmemory-policy fifo", "not one of noeviction"},
		{"--appendfsync sometimes", "not one of always"},
		{"--maxclients 0", "not a whole number"},
		{"--drain-timeout -1", "not a whole number"},
		{"--help=1", "takes no value"},
	} {
		if _, err := parseOptions(strings.Fields(test.arguments)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.arguments, err, test.want)
		}
	}
}
