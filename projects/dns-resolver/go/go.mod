module deadheat/dns-resolver

go 1.27

require (
	github.com/cespare/xxhash/v2 v2.3.0
	golang.org/x/sys v0.38.0
)
