package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBothWaysToGiveAValue(t *testing.T) {
	o, err := parseOptions(strings.Fields("--listen=127.0.0.1:0 --hints h --cache-bytes 1mb --timeout=0.25 --attempts 2 --ipv4-only --max-ttl=100 --bind 127.0.0.2"))
	if err != nil {
		t.Fatal(err)
	}
	if o.cacheBytes != 1<<20 || o.firstTimeout != 250*time.Millisecond || o.attempts != 2 || !o.ipv4Only || o.maxTTL != 100 || o.bind.String() != "127.0.0.2" {
		t.Errorf("got %+v", o)
	}
	o, err = parseOptions([]string{"--listen", "[::1]:53", "--hints", "h"})
	if err != nil || o.listen.String() != "[::1]:53" || o.threads != 1 || o.ednsBytes != 1232 {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestBadUsageIsRefused(t *testing.T) {
	for _, test := range []struct{ arguments, want string }{
		{"", "--listen or --bulk is missing"},
		{"--listen 127.0.0.1:0", "--hints is missing"},
		{"--listen", "--listen needs a value"},
		{"--listen=", `--listen "": not HOST:PORT`},
		{"--hints=", `--hints "": not a path`},
		{"--listen nowhere", "not HOST:PORT"},
		{"--listen 127.0.0.1:70000", `"127.0.0.1:70000"`},
		{"--listen 300.0.0.1:1", "not an IP address"},
		{"--listen ::1:53", "not an IP address"},
		{"--nosuch", `unknown option: "--nosuch"`},
		{"stray", `unknown option: "stray"`},
		{"--threads 0", "--threads \"0\": not a whole number"},
		{"--timeout soon", `"soon"`},
		{"--timeout 0", "not a number of seconds"},
		{"--timeout 1e1", "not a number of seconds"},
		{"--cache-bytes lots", "not a size"},
		{"--cache-bytes 1", "not a size"},
		{"--cache-bytes 99999999999gb", "not a size"},
		{"--edns-size 100", "not a whole number"},
		{"--bind here", "not an IP address"},
		{"--listen 127.0.0.1:0 --bulk q --hints h", "not together"},
		{"--listen 127.0.0.1:0 --hints h --min-ttl 100 --max-ttl 10", "more than"},
		{"--listen 127.0.0.1:0 --hints h --bind ::1 --ipv4-only", "not an IPv4 address"},
		{"--ipv4-only=yes", "takes no value"},
	} {
		if _, err := parseOptions(strings.Fields(test.arguments)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.arguments, err, test.want)
		}
	}
}

func hintsFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hints.zone")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHints(t *testing.T) {
	path := hintsFile(t, "; root\n$TTL 3600\n.\t3600000 IN NS A.root.\n\tNS b.root. ; more\n$ORIGIN root.\na 60 A 127.0.0.1\nA.ROOT. A 127.0.0.2\nb AAAA ::1\nother. NS x.\n")
	d, err := readHints(path, defaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	if len(d.servers) != 1 || d.servers[0].name != wireName(t, "a.root.") || len(d.servers[0].addresses) != 2 {
		t.Errorf("got %+v", d.servers)
	}
}

func TestBadHintsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "line 1: no usable server",
		"; nothing\n\n":                       "line 2: no usable server",
		"www. A 127.0.0.1\n":                  "line 1: no usable server",
		". NS a.\n":                           "line 1: no usable server: no address for a.",
		". NS a.\nb. A 127.0.0.1\n":           "line 1: no usable server",
		". NS a.\na. A 127.0.0.256\n":         `line 2: "127.0.0.256" is not an address`,
		". NS a.\na. ADDRESS 127.0.0.1\n":     `line 2: "ADDRESS" is not a type`,
		". NS\n":                              "line 1: a record of type NS",
		". NS a.\na. AAAA 2001:db8::1\n":      "line 1: no usable server",
		strings.Repeat("x", 64) + ". NS a.\n": "line 1: label longer than 63 bytes",
		"\tNS a.\n":                           "line 1: a record without a name",
		"$X y\n":                              `line 1: unknown directive "$X"`,
		"$ORIGIN\n":                           `line 1: "$ORIGIN" without a value`,
	} {
		if _, err := readHints(hintsFile(t, text), defaultOptions()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	if _, err := readHints("/nowhere/at%all", defaultOptions()); err == nil || err.Error() != "/nowhere/at%all: no such file or directory" {
		t.Errorf("got %v", err)
	}
}
