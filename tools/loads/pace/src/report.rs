//! What a load run found, as one line of JSON.

use hdrhistogram::Histogram;

use crate::options::{Mode, Options};

const DIGITS: u8 = 3;
const LATENCY_MAX_NS: u64 = 600_000_000_000;
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)];
const CURVE: [f64; 22] = [
    0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999,
    0.9999, 1.0,
];

/// Counts and latencies of one load run.
pub struct Report {
    pub offered: u64,
    pub completed: u64,
    pub mismatched: u64,
    pub errors: u64,
    pub dropped: u64,
    pub reconnects: u64,
    pub wall_ns: u64,
    /// Time that it did not wait; it never sleeps.
    pub busy_ns: u64,
    pub latency: Histogram<u64>,
    pub lag: Histogram<u64>,
    pub first_error: Option<String>,
}

impl Report {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_MAX_NS, DIGITS).expect("constant bounds are valid");
        Self {
            offered: 0,
            completed: 0,
            mismatched: 0,
            errors: 0,
            dropped: 0,
            reconnects: 0,
            wall_ns: 0,
            busy_ns: 0,
            latency: histogram(),
            lag: histogram(),
            first_error: None,
        }
    }

    /// Count a failure; the first is kept.
    pub fn error(&mut self, text: impl FnOnce() -> String) {
        self.errors += 1;
        if self.first_error.is_none() {
            self.first_error = Some(text());
        }
    }

    /// The line that the harness reads.
    #[must_use]
    pub fn to_json(&self, asked: &Options) -> String {
        let (mode, rate) = match asked.mode {
            Mode::Once | Mode::Wait { .. } => ("once", None),
            Mode::Closed { .. } => ("closed", None),
            Mode::Open { rate, .. } => ("open", Some(rate)),
        };
        let rate = rate.map_or_else(|| "null".to_owned(), |rate| rate.to_string());
        let error = self.first_error.as_deref().map_or_else(|| "null".to_owned(), quoted);
        let curve: Vec<String> =
            CURVE.iter().map(|&q| format!("[{q},{}]", self.latency.value_at_quantile(q))).collect();
        format!(
            "{{\"mode\":\"{mode}\",\"rate_per_second\":{rate},\"connections\":{},\"pipeline\":{},\"offered\":{},\
             \"completed\":{},\"mismatched\":{},\"errors\":{},\"dropped\":{},\"reconnects\":{},\"wall_ns\":{},\
             \"generator_cpu_ns\":{},\"latency_ns\":{},\"lag_ns\":{},\"curve\":[{}],\"first_error\":{error}}}",
            asked.connections,
            asked.pipeline,
            self.offered,
            self.completed,
            self.mismatched,
            self.errors,
            self.dropped,
            self.reconnects,
            self.wall_ns,
            self.busy_ns,
            quantiles(&self.latency),
            quantiles(&self.lag),
            curve.join(",")
        )
    }
}

fn quantiles(histogram: &Histogram<u64>) -> String {
    let parts: Vec<String> =
        QUANTILES.iter().map(|(name, q)| format!("\"{name}\":{}", histogram.value_at_quantile(*q))).collect();
    format!("{{{},\"mean\":{:.0}}}", parts.join(","), histogram.mean())
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => {
                out.push('\\');
                out.push(char);
            }
            ' '..='~' => out.push(char),
            _ => out.push('?'),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn foreign_text_cannot_break_the_json() {
        assert_eq!(super::quoted("a\"b\\c\n"), r#""a\"b\\c?""#);
    }
}
