//! What a run found, as one line of JSON.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::ledger::{Answers, Owed};

const LATENCY_MAX_NS: u64 = 600_000_000_000;
const CURVE: [f64; 22] = [
    0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999,
    0.9999, 1.0,
];

/// A histogram of nanoseconds.
pub fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, digits).expect("constant bounds are valid")
}

/// Quantiles of a histogram.
#[derive(Debug, Serialize)]
pub struct Quantiles {
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
    count: u64,
}

impl From<&Histogram<u64>> for Quantiles {
    fn from(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1.0), count: histogram.len() }
    }
}

/// One second of a run.
#[derive(Debug, Serialize)]
pub struct Second {
    /// Its end.
    pub t_s: u64,
    /// Members of the room at its end.
    pub users: usize,
    pub offered: u64,
    pub delivered: u64,
    pub errors: u64,
    /// Null when nothing was delivered.
    pub p99_ns: Option<u64>,
}

/// What is counted while a run goes on.
#[derive(Debug)]
pub struct Counts {
    pub delivered: u64,
    pub duplicated: u64,
    pub misordered: u64,
    pub corrupted: u64,
    pub connects: u64,
    pub connect_failures: u64,
    /// Users whom the server sent away, or who never got away.
    pub cut: u64,
    /// Messages that were due from a place where nobody was in the room.
    pub skipped: u64,
    pub first_error: Option<String>,
    pub latency: Histogram<u64>,
    pub lag: Histogram<u64>,
    pub connect: Histogram<u64>,
    pub series: Vec<Second>,
}

impl Counts {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self {
            delivered: 0,
            duplicated: 0,
            misordered: 0,
            corrupted: 0,
            connects: 0,
            connect_failures: 0,
            cut: 0,
            skipped: 0,
            first_error: None,
            latency: histogram(3),
            lag: histogram(3),
            connect: histogram(3),
            series: Vec::new(),
        }
    }

    /// Keep the words of the first thing that went wrong.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if self.first_error.is_none() {
            self.first_error = Some(text());
        }
    }

    /// Everything that went wrong so far.
    pub fn errors(&self) -> u64 {
        self.duplicated + self.misordered + self.corrupted + self.connect_failures + self.cut
    }
}

/// The times of a run.
#[derive(Debug, Serialize)]
pub struct Span {
    /// From the start of this program to t0.
    pub setup_ns: u64,
    /// From t0 to the last delivery, at least the length of the plan.
    pub wall_ns: u64,
    /// Time since t0 that it did not wait; it never sleeps.
    pub generator_cpu_ns: u64,
}

#[derive(Serialize)]
struct Expected {
    low: u64,
    high: u64,
    unanswered: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    offered: u64,
    accepted: u64,
    refused: u64,
    unanswered: u64,
    skipped: u64,
    expected: Expected,
    delivered: u64,
    missing: u64,
    duplicated: u64,
    misordered: u64,
    corrupted: u64,
    connects: u64,
    connect_failures: u64,
    cut: u64,
    users_max: usize,
    #[serde(flatten)]
    span: &'a Span,
    latency_ns: Quantiles,
    lag_ns: Quantiles,
    connect_ns: Quantiles,
    curve: Vec<(f64, u64)>,
    series: &'a [Second],
    first_error: Option<&'a str>,
}

/// The line that the harness reads.
pub fn line(counts: &Counts, answers: &Answers, owed: &Owed, span: &Span, offered: u64, users_max: usize) -> String {
    let line = Line {
        offered,
        accepted: answers.accepted,
        refused: answers.refused,
        unanswered: answers.unanswered,
        skipped: counts.skipped,
        expected: Expected { low: owed.low, high: owed.high, unanswered: answers.unanswered_deliveries },
        delivered: counts.delivered,
        missing: owed.missing,
        duplicated: counts.duplicated,
        misordered: counts.misordered + answers.misordered,
        corrupted: counts.corrupted + owed.stray,
        connects: counts.connects,
        connect_failures: counts.connect_failures,
        cut: counts.cut,
        users_max,
        span,
        latency_ns: Quantiles::from(&counts.latency),
        lag_ns: Quantiles::from(&counts.lag),
        connect_ns: Quantiles::from(&counts.connect),
        curve: CURVE.iter().map(|&quantile| (quantile, counts.latency.value_at_quantile(quantile))).collect(),
        series: &counts.series,
        first_error: counts.first_error.as_deref(),
    };
    serde_json::to_string(&line).expect("numbers and texts are JSON")
}
