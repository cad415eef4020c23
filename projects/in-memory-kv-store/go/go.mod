module deadheat/in-memory-kv-store

go 1.27

require golang.org/x/sys v0.38.0
