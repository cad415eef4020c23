module deadheat/@@slug@@

go 1.27

require github.com/cespare/xxhash/v2 v2.3.0
