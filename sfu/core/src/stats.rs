//! Counters of one shard: relaxed atomics that the shard adds to and the shell reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::transport::session::Drop;

/// What a metric's value means over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One metric, ready for an exposition format. The name has no prefix; counters lack `_total`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Snake case, with its unit last when it has one.
    pub name: &'static str,
    /// One label and its value, when several metrics share the name.
    pub label: Option<(&'static str, &'static str)>,
    /// One sentence.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: MetricKind,
    /// Now.
    pub value: f64,
}

/// A counter with one writer (its shard) and any number of readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. One writer: a load and a store are enough and cheaper than a locked add.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes `n` away, for gauges.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).saturating_sub(n), Relaxed);
    }

    /// Now.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! stats {
    ($($(#[doc = $help:literal])* $kind:ident $name:ident;)*) => {
        /// All counters of a shard. Every one is monotonic unless it says "now".
        #[derive(Debug, Default)]
        pub struct Stats {
            $($(#[doc = $help])* pub $name: Counter,)*
            drops: [Counter; DROPS.len()],
        }

        impl Stats {
            /// Every metric with its present value.
            pub fn metrics(&self) -> impl Iterator<Item = Metric> + '_ {
                let plain = [$(Metric {
                    name: stringify!($name),
                    label: None,
                    help: concat!($($help),*).trim_ascii(),
                    kind: MetricKind::$kind,
                    value: self.$name.value() as f64,
                }),*];
                plain.into_iter().chain(self.drop_metrics()).chain([self.packets_per_send()])
            }
        }
    };
}

stats! {
    /// Sessions now.
    Gauge sessions;
    /// Rooms now.
    Gauge rooms;
    /// Published tracks now.
    Gauge tracks;
    /// Datagrams received.
    Counter packets_in;
    /// Bytes of datagrams received.
    Counter bytes_in;
    /// Datagrams handed to the socket.
    Counter packets_out;
    /// Bytes of datagrams handed to the socket.
    Counter bytes_out;
    /// Messages handed to the socket; one message is one GSO run.
    Counter sends;
    /// RTP packets received, authenticated and new.
    Counter rtp_in;
    /// RTP packets forwarded to subscribers, retransmissions not included.
    Counter rtp_forwarded;
    /// RTP packets received after a gap had been noticed, late or retransmitted.
    Counter rtp_recovered;
    /// RTP packets seen before, dropped.
    Counter rtp_duplicate;
    /// RTP packets whose payload type was not negotiated, dropped.
    Counter rtp_unknown_format;
    /// RTP packets of muted, unbound or ended tracks, dropped.
    Counter rtp_unrouted;
    /// RTP packets of simulcast layers that are not forwarded now, counted only.
    Counter rtp_idle_layer;
    /// RTP packets of simulcast tracks without a negotiated RID, dropped.
    Counter rtp_unknown_rid;
    /// Changes of the simulcast layer that is forwarded.
    Counter layer_switches;
    /// Packets without payload (bandwidth probes), counted for feedback and not forwarded.
    Counter rtp_padding_only;
    /// Forwarded packets that subscribers reported lost, by transport-wide feedback.
    Counter feedback_lost;
    /// Forwarded packets that subscribers reported received, by transport-wide feedback.
    Counter feedback_received;
    /// Packets that subscribers asked for again.
    Counter nack_in;
    /// Packets that publishers were asked for again.
    Counter nack_out;
    /// Retransmissions received from publishers.
    Counter rtx_in;
    /// Retransmissions sent to subscribers.
    Counter rtx_out;
    /// Retransmissions refused: not cached any more, over budget, or asked too often.
    Counter rtx_refused;
    /// Key frame requests from subscribers.
    Counter pli_in;
    /// Key frame requests to publishers.
    Counter pli_out;
    /// RTP packets handed to the recorder.
    Counter tap_packets;
    /// Bytes handed to the recorder.
    Counter tap_bytes;
    /// Records that the recorder did not get because it was too slow.
    Counter tap_lost_records;
    /// Offers answered.
    Counter offers_answered;
    /// Offers refused.
    Counter offers_refused;
    /// Commands that named an unknown room, session or track.
    Counter commands_unknown;
    /// Commands refused by a limit.
    Counter commands_limited;
    /// Events dropped because nobody drained them.
    Counter events_dropped;
    /// Panics survived at the price of one session each.
    Counter panics;
}

/// Every reason to drop, with its label value.
const DROPS: [(Drop, &str); 11] = [
    (Drop::MalformedStun, "malformed_stun"),
    (Drop::StunIntegrity, "stun_integrity"),
    (Drop::UnknownUfrag, "unknown_ufrag"),
    (Drop::UnvalidatedPath, "unvalidated_path"),
    (Drop::Dtls, "dtls"),
    (Drop::NoKeys, "no_keys"),
    (Drop::Malformed, "malformed"),
    (Drop::Authentication, "authentication"),
    (Drop::Replay, "replay"),
    (Drop::TooManySources, "too_many_sources"),
    (Drop::Limit, "limit"),
];

/// Where a reason's counter lies; the match makes a new reason a compile error here.
const fn drop_index(reason: Drop) -> usize {
    match reason {
        Drop::MalformedStun => 0,
        Drop::StunIntegrity => 1,
        Drop::UnknownUfrag => 2,
        Drop::UnvalidatedPath => 3,
        Drop::Dtls => 4,
        Drop::NoKeys => 5,
        Drop::Malformed => 6,
        Drop::Authentication => 7,
        Drop::Replay => 8,
        Drop::TooManySources => 9,
        Drop::Limit => 10,
    }
}

impl Stats {
    /// Counts a dropped datagram.
    pub fn on_drop(&self, reason: Drop) {
        self.drops[drop_index(reason)].add(1);
    }

    /// How many datagrams were dropped for `reason`.
    pub fn dropped(&self, reason: Drop) -> u64 {
        self.drops[drop_index(reason)].value()
    }

    fn drop_metrics(&self) -> impl Iterator<Item = Metric> + '_ {
        DROPS.iter().map(|&(reason, label)| Metric {
            name: "drops",
            label: Some(("reason", label)),
            help: "Datagrams dropped before they changed any state.",
            kind: MetricKind::Counter,
            value: self.dropped(reason) as f64,
        })
    }

    fn packets_per_send(&self) -> Metric {
        Metric {
            name: "packets_per_send",
            label: None,
            help: "Datagrams per message handed to the socket since start.",
            kind: MetricKind::Gauge,
            value: self.packets_out.value() as f64 / self.sends.value().max(1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drop_reason_has_its_own_counter() {
        let stats = Stats::default();
        for (n, (reason, _)) in DROPS.iter().enumerate() {
            assert_eq!(drop_index(*reason), n);
            stats.on_drop(*reason);
        }
        assert!(stats.metrics().filter(|m| m.name == "drops").all(|m| m.value == 1.0));
    }
}
