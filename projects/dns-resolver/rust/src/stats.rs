//! What is counted, and how it is shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that one thread changes and others may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// With one writer, a load and a store are enough, and cheaper than one locked step.
    pub fn add(&self, more: u64) {
        let sum = self.get().wrapping_add(more);
        self.set(sum);
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a thread has done.
#[derive(Debug, Default)]
pub struct Counters {
    pub queries: Counter,
    pub hits: Counter,
    pub misses: Counter,
    pub upstream: Counter,
    pub timeouts: Counter,
    pub servfail: Counter,
    pub spoofed: Counter,
    pub tcp: Counter,
    pub cache_entries: Counter,
    pub cache_bytes: Counter,
}

/// A name and what it stands for in the line of counters.
type Field = (&'static str, fn(&Counters) -> &Counter);

const FIELDS: [Field; 10] = [
    ("queries", |counters| &counters.queries),
    ("hits", |counters| &counters.hits),
    ("misses", |counters| &counters.misses),
    ("upstream", |counters| &counters.upstream),
    ("timeouts", |counters| &counters.timeouts),
    ("servfail", |counters| &counters.servfail),
    ("spoofed", |counters| &counters.spoofed),
    ("tcp", |counters| &counters.tcp),
    ("cache_entries", |counters| &counters.cache_entries),
    ("cache_bytes", |counters| &counters.cache_bytes),
];

/// The sums over all threads, on one line.
pub fn counters_line(threads: &[Arc<Counters>]) -> String {
    let parts = FIELDS.map(|(name, of)| {
        let sum: u64 = threads.iter().map(|counters| of(counters).get()).sum();
        format!("{name}={sum}")
    });
    parts.join(" ")
}

/// The block of statistics of a bulk run.
pub fn statistics_block(items: u64, repeats: u64, elapsed: Duration, digest: u64) -> String {
    let seconds = elapsed.as_secs_f64();
    format!(
        "--- Statistics ---\n\
         Total processed: {items}\n\
         Processing time: {seconds:.6}s\n\
         Average latency: {:.6}ms\n\
         Throughput: {:.2} items/sec\n\
         Digest: {digest:016x}\n",
        seconds * 1e3 / repeats.max(1) as f64,
        items as f64 / seconds.max(1e-9),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_threads() {
        let threads = [Arc::new(Counters::default()), Arc::default()];
        threads[0].queries.add(2);
        threads[1].queries.add(3);
        threads[1].cache_bytes.set(64);
        assert_eq!(
            counters_line(&threads),
            "queries=5 hits=0 misses=0 upstream=0 timeouts=0 servfail=0 spoofed=0 tcp=0 \
             cache_entries=0 cache_bytes=64"
        );
    }

    #[test]
    fn the_block_has_the_lines_of_the_contract() {
        let block = statistics_block(10, 2, Duration::from_millis(500), 0xabc);
        assert_eq!(
            block,
            "--- Statistics ---\nTotal processed: 10\nProcessing time: 0.500000s\n\
             Average latency: 250.000000ms\nThroughput: 20.00 items/sec\n\
             Digest: 0000000000000abc\n"
        );
    }
}
