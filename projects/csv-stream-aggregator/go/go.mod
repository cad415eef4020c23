module deadheat/csv-stream-aggregator

go 1.27

require (
	github.com/cespare/xxhash/v2 v2.3.0
	github.com/klauspost/compress v1.18.4
)
