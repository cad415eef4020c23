//! The counters of the server.

use std::fmt::Write;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use crate::reply::STATUS_LINES;

/// What `/metrics` shows; all threads count in them.
#[derive(Debug, Default)]
pub struct Counters {
    pub accepted: AtomicUsize,
    pub refused: AtomicUsize,
    pub open: AtomicUsize,
    pub replies: [AtomicUsize; STATUS_LINES.len()],
}

impl Counters {
    /// The counters as Prometheus reads them.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (name, kind, value) in [
            ("connections_accepted_total", "counter", &self.accepted),
            ("connections_refused_total", "counter", &self.refused),
            ("connections_open", "gauge", &self.open),
        ] {
            let value = value.load(Relaxed);
            // A String takes all text.
            let _ = write!(out, "# TYPE {name} {kind}\n{name} {value}\n");
        }
        out.push_str("# TYPE requests_total counter\n");
        for (line, replies) in STATUS_LINES.iter().zip(&self.replies) {
            let (code, replies) = (&line[..3], replies.load(Relaxed));
            let _ = writeln!(out, "requests_total{{status=\"{code}\"}} {replies}");
        }
        out
    }
}
