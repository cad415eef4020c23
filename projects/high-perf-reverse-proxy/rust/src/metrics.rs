//! What the proxy counts, and how it shows it: Prometheus text.
//!
//! Each thread counts for itself; whoever wants to see adds up all threads.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::backend::Backends;

/// A number that one thread makes grow and others may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// There is one writer: a plain addition does, without a locked instruction.
    pub fn add(&self, amount: u64) {
        self.0
            .store(self.get().wrapping_add(amount), Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one thread.
#[derive(Debug, Default)]
pub struct Counters {
    /// Final responses by the first digit of their code, from 1 on.
    responses: [Counter; 5],
    pub backend_requests: Vec<Counter>,
    pub connections_opened: Counter,
    pub connections_closed: Counter,
    pub retries: Counter,
    pub responses_cut: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
}

impl Counters {
    pub fn new(backends: usize) -> Self {
        let backend_requests = std::iter::repeat_with(Counter::default)
            .take(backends)
            .collect();
        Self {
            backend_requests,
            ..Self::default()
        }
    }

    pub fn count_response(&self, status: u16) {
        if let Some(counter) = self
            .responses
            .get(usize::from(status / 100).wrapping_sub(1))
        {
            counter.add(1);
        }
    }
}

fn sum(threads: &[Arc<Counters>], pick: impl Fn(&Counters) -> &Counter) -> u64 {
    threads.iter().map(|counters| pick(counters).get()).sum()
}

/// How many client connections are open.
pub fn open_connections(threads: &[Arc<Counters>]) -> u64 {
    let closed = sum(threads, |counters| &counters.connections_closed);
    sum(threads, |counters| &counters.connections_opened).saturating_sub(closed)
}

/// The text of `GET /metrics`.
pub fn render(threads: &[Arc<Counters>], backends: &Backends, now_ms: u64) -> String {
    let mut text = String::with_capacity(2048);
    let written = write_all(&mut text, threads, backends, now_ms);
    debug_assert!(written.is_ok(), "a String takes all text");
    text
}

fn write_all(
    out: &mut String,
    threads: &[Arc<Counters>],
    backends: &Backends,
    now_ms: u64,
) -> fmt::Result {
    write_kind(
        out,
        "requests_total",
        "counter",
        "Responses sent to clients, by class of their code.",
    )?;
    for class in 0..5 {
        let total = sum(threads, |counters| &counters.responses[class]);
        writeln!(out, "requests_total{{code=\"{}xx\"}} {total}", class + 1)?;
    }
    write_kind(
        out,
        "backend_requests_total",
        "counter",
        "Requests sent to a backend.",
    )?;
    for (index, backend) in backends.iter().enumerate() {
        let total = sum(threads, |counters| &counters.backend_requests[index]);
        writeln!(
            out,
            "backend_requests_total{{backend=\"{}\"}} {total}",
            backend.name
        )?;
    }
    write_kind(
        out,
        "backend_up",
        "gauge",
        "Whether a backend gets requests.",
    )?;
    for backend in backends.iter() {
        writeln!(
            out,
            "backend_up{{backend=\"{}\"}} {}",
            backend.name,
            u8::from(backend.is_up(now_ms))
        )?;
    }
    write_kind(
        out,
        "active_connections",
        "gauge",
        "Open connections of clients.",
    )?;
    writeln!(out, "active_connections {}", open_connections(threads))?;
    let totals: [(&str, u64, &str); 4] = [
        (
            "retries_total",
            sum(threads, |counters| &counters.retries),
            "Attempts on another backend.",
        ),
        (
            "responses_cut_total",
            sum(threads, |counters| &counters.responses_cut),
            "Responses whose backend failed inside the body.",
        ),
        (
            "bytes_in_total",
            sum(threads, |counters| &counters.bytes_in),
            "Bytes received from clients.",
        ),
        (
            "bytes_out_total",
            sum(threads, |counters| &counters.bytes_out),
            "Bytes sent to clients.",
        ),
    ];
    for (name, total, help) in totals {
        write_kind(out, name, "counter", help)?;
        writeln!(out, "{name} {total}")?;
    }
    Ok(())
}

fn write_kind(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::tests::backends;

    #[test]
    fn metrics_are_text_over_all_threads() {
        let threads = [Arc::new(Counters::new(2)), Arc::new(Counters::new(2))];
        for counters in &threads {
            counters.count_response(200);
            counters.count_response(503);
            counters.backend_requests[1].add(4);
            counters.connections_opened.add(3);
        }
        threads[0].connections_closed.add(1);
        let text = render(&threads, &backends(2), 0);
        for line in [
            "requests_total{code=\"2xx\"} 2\n",
            "requests_total{code=\"4xx\"} 0\n",
            "backend_requests_total{backend=\"127.0.0.1:9002\"} 8\n",
            "backend_up{backend=\"127.0.0.1:9001\"} 1\n",
            "active_connections 5\n",
            "# TYPE bytes_out_total counter\nbytes_out_total 0\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
    }
}
