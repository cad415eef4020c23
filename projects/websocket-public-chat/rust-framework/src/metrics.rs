//! What the server counts, and how it shows it: Prometheus text.
//!
//! The counters live beside the rooms, behind the same lock: what `/metrics` shows is one moment.

use std::fmt::Write;

/// What only grows.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counters {
    pub connects: u64,
    pub offered: u64,
    pub accepted: u64,
    pub refused: u64,
    pub deliveries: u64,
    pub dropped: u64,
    pub slow_consumers: u64,
    pub protocol_errors: u64,
    pub ping_timeouts: u64,
}

/// What there is now.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Gauges {
    pub connections: usize,
    pub rooms: usize,
    pub members: usize,
}

/// The text of `GET /metrics`.
pub fn render(counters: &Counters, gauges: Gauges) -> String {
    let mut text = String::with_capacity(2048);
    for (name, help, number) in [
        (
            "connections",
            "Open WebSocket connections.",
            gauges.connections,
        ),
        ("rooms", "Rooms that have members.", gauges.rooms),
        ("members", "Members of all rooms.", gauges.members),
    ] {
        push(&mut text, name, "gauge", help, number as u64);
    }
    for (name, help, number) in [
        (
            "connects_total",
            "Connections upgraded to WebSocket.",
            counters.connects,
        ),
        (
            "messages_offered_total",
            "Chat messages received, malformed ones included.",
            counters.offered,
        ),
        (
            "messages_accepted_total",
            "Chat messages accepted for delivery.",
            counters.accepted,
        ),
        (
            "messages_refused_total",
            "Chat messages refused by the rate limit.",
            counters.refused,
        ),
        (
            "deliveries_total",
            "Frames of chat messages written whole to a socket.",
            counters.deliveries,
        ),
        (
            "deliveries_dropped_total",
            "Chat messages meant for a client and never written whole.",
            counters.dropped,
        ),
        (
            "slow_consumers_total",
            "Clients cut because their queue was full.",
            counters.slow_consumers,
        ),
        (
            "protocol_errors_total",
            "Connections closed for breaking the protocol.",
            counters.protocol_errors,
        ),
        (
            "ping_timeouts_total",
            "Connections cut because no pong came.",
            counters.ping_timeouts,
        ),
    ] {
        push(&mut text, name, "counter", help, number);
    }
    text
}

fn push(text: &mut String, name: &str, kind: &str, help: &str, number: u64) {
    let written = write!(
        text,
        "# HELP chat_{name} {help}\n# TYPE chat_{name} {kind}\nchat_{name} {number}\n"
    );
    debug_assert!(written.is_ok(), "a String takes all text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_once_with_its_type() {
        let counters = Counters {
            deliveries: 41,
            ..Counters::default()
        };
        let text = render(
            &counters,
            Gauges {
                connections: 2,
                rooms: 1,
                members: 2,
            },
        );
        assert!(text.contains("# TYPE chat_deliveries_total counter\nchat_deliveries_total 41\n"));
        assert!(text.contains("# TYPE chat_connections gauge\nchat_connections 2\n"));
        let values = text.lines().filter(|line| line.starts_with("chat_"));
        assert_eq!(values.count(), 12);
        assert!(text.ends_with('\n'));
    }
}
