//! Counters of the shell, one set per worker, beside the core's [`sfu_core::stats::Stats`].

use sfu_core::stats::{Counter, Metric, MetricKind};

macro_rules! io_stats {
    ($($(#[doc = $help:literal])* $kind:ident $name:ident;)*) => {
        /// What happens at the sockets and queues of one worker.
        #[derive(Debug, Default)]
        pub struct IoStats {
            $($(#[doc = $help])* pub $name: Counter,)*
        }

        impl IoStats {
            /// Every metric with its present value.
            pub fn metrics(&self) -> impl Iterator<Item = Metric> + '_ {
                [$(Metric {
                    name: stringify!($name),
                    label: None,
                    help: concat!($($help),*).trim_ascii(),
                    kind: MetricKind::$kind,
                    value: self.$name.value() as f64,
                }),*].into_iter()
            }
        }
    };
}

io_stats! {
    /// Receive calls that returned something.
    Counter udp_receives;
    /// Send calls.
    Counter udp_sends;
    /// Receive calls that failed.
    Counter udp_receive_errors;
    /// Datagrams that the kernel refused for their destination or size.
    Counter udp_send_errors;
    /// Datagrams dropped because the socket's buffer was full.
    Counter udp_send_dropped;
    /// Segmented runs that had to be sent datagram by datagram.
    Counter gso_fallbacks;
    /// TCP connections now.
    Gauge tcp_connections;
    /// TCP connections accepted.
    Counter tcp_accepted;
    /// TCP connections refused by a limit.
    Counter tcp_refused;
    /// TCP connections closed because nothing authentic came in time.
    Counter tcp_timeouts;
    /// TCP connections of strangers closed because newcomers needed their slots.
    Counter tcp_evicted;
    /// TCP connections closed because their framing was broken.
    Counter tcp_framing_errors;
    /// Frames to TCP peers dropped because their queue was full.
    Counter tcp_frames_dropped;
    /// Commands refused because the worker's mailbox was full.
    Counter mailbox_full;
    /// Events that the bus could not take and that did not fit the waiting queue.
    Counter bus_events_dropped;
    /// 1 once the worker's thread has ended while the node went on.
    Gauge worker_ended;
    /// Datagrams dropped because they exceed what an Ethernet frame carries.
    Counter udp_too_large;
    /// Times that a worker lost all its sessions to a second panic in a row.
    Counter shard_resets;
}
