module deadheat/high-perf-reverse-proxy

go 1.27
