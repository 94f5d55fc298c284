//! `bench forward`: one publisher to many subscribers through the real shard, in memory and through
//! real sockets, beside the floor of the same run.
//!
//! Every case runs once per round, one after the other in one thread, so that all see the same
//! machine. Cost is CPU time of that thread per forwarded packet; for the tap, which takes each
//! packet once however many subscribers there are, per received packet.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sfu::io::udp::{Received, Run, Sender};
use sfu_core::{path::Path, shard::Shard, transport::outbound::TxBatch};

use super::{
    clock::{Cost, Rounds, thread_cpu},
    floor::{Sealer, TAG_LEN, send_frame},
    room::{Frame, Room},
    sockets::Sockets,
};

/// Bytes of a forwarded header that the floor stands for.
const HEADER_LEN: usize = 28;

/// Settings.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Subscribers.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub subscribers: u32,
    /// Packets of one frame, which arrive together.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub packets_per_frame: u32,
    /// Bytes of each packet's payload.
    #[arg(long, default_value_t = 1200, value_parser = clap::value_parser!(u32).range(32..=1400))]
    pub payload: u32,
    /// Frames per case and round.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub frames: u32,
    /// Rounds.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
}

/// The cases, in the order of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Seal,
    SendPlain,
    SendSegmented,
    Core,
    WholePlain,
    WholeSegmented,
    Receive,
    ReceiveTapped,
}

const CASES: [Case; 8] = [
    Case::Seal,
    Case::SendPlain,
    Case::SendSegmented,
    Case::Core,
    Case::WholePlain,
    Case::WholeSegmented,
    Case::Receive,
    Case::ReceiveTapped,
];

/// Runs the benchmark; returns the report.
///
/// # Errors
/// The machine refused sockets or clocks, or a subscriber did not get what was sent: then there is
/// nothing to measure.
pub fn run(options: &Options) -> Result<String> {
    let mut bench = Bench::new(options)?;
    let mut rounds = vec![Rounds::default(); CASES.len()];
    bench.round(None)?; // Warm caches, and the kernel's route and socket state.
    for _ in 0..options.rounds {
        bench.round(Some(&mut rounds))?;
    }
    bench.report(&rounds)
}

struct Bench {
    room: Room,
    sockets: Sockets,
    sealer: Sealer,
    subscribers: usize,
    packets: usize,
    payload_len: usize,
    frames: usize,
    sent: usize,
    arrived: usize,
    /// Packets forwarded and messages sent by the shard in the socket cases.
    shard_packets: u64,
    shard_sends: u64,
    /// Bytes of records that the tap gave.
    tapped: usize,
}

impl Case {
    fn is_receive(self) -> bool {
        matches!(self, Self::Receive | Self::ReceiveTapped)
    }
}

impl Bench {
    fn new(options: &Options) -> Result<Self> {
        let subscribers = options.subscribers as usize;
        let (packets, payload_len) = (options.packets_per_frame as usize, options.payload as usize);
        let sockets = Sockets::open(subscribers)?;
        let mut room = Room::new(sockets.publisher.local_addr()?, &sockets.addresses)?;
        room.verify(packets, payload_len)?;
        Ok(Self {
            room,
            sockets,
            sealer: Sealer::new(subscribers, payload_len)?,
            subscribers,
            packets,
            payload_len,
            frames: options.frames as usize,
            sent: 0,
            arrived: 0,
            shard_packets: 0,
            shard_sends: 0,
            tapped: 0,
        })
    }

    fn round(&mut self, mut rounds: Option<&mut Vec<Rounds>>) -> Result<()> {
        for (place, case) in CASES.into_iter().enumerate() {
            let each = if case.is_receive() { 1 } else { self.subscribers };
            let packets = self.frames * self.packets * each;
            self.room.set_tap(case == Case::ReceiveTapped);
            let mut cpu = Duration::ZERO;
            for _ in 0..self.frames {
                cpu += self.frame(case)?;
            }
            self.room.maintain()?;
            // Receivers that saw nothing for 32,768 packets would lose count (RFC 3711 section 3.3.1).
            self.room.verify(self.packets, self.payload_len)?;
            if let Some(rounds) = rounds.as_deref_mut().and_then(|rounds| rounds.get_mut(place)) {
                rounds.add(cpu, packets);
            }
        }
        Ok(())
    }

    /// Runs one frame of a case; returns the CPU time of what is measured.
    fn frame(&mut self, case: Case) -> Result<Duration> {
        match case {
            Case::Seal => self.seal(),
            Case::SendPlain | Case::SendSegmented => self.send(case == Case::SendSegmented),
            Case::Core => self.core(),
            Case::WholePlain | Case::WholeSegmented => self.whole(case == Case::WholeSegmented),
            Case::Receive | Case::ReceiveTapped => self.receive(case == Case::ReceiveTapped),
        }
    }

    /// The first half of the way of a packet: opened and cached, and recorded if that is wanted.
    fn receive(&mut self, tapped: bool) -> Result<Duration> {
        let frame = self.room.next_frame(self.packets, self.payload_len)?;
        let (path, now) = (Path::udp(self.room.publisher), self.room.now);
        let shard = &mut self.room.shard;
        let mut bytes = 0;
        let before = thread_cpu()?;
        frame.iter().for_each(|packet| shard.handle_datagram(path, packet, now));
        shard.cut_taps(now);
        while let Some(batch) = shard.poll_tap() {
            bytes += batch.bytes.len();
        }
        let cpu = thread_cpu()? - before;
        drain(shard, now, |_| {});
        let wanted = if tapped { self.packets * self.payload_len } else { 0 };
        ensure!(bytes >= wanted && (bytes > 0) == tapped, "the tap gave {bytes} bytes of {wanted}");
        self.tapped += bytes;
        Ok(cpu)
    }

    fn seal(&mut self) -> Result<Duration> {
        let (header, payload) = ([0x90; HEADER_LEN], vec![0x5a; self.payload_len]);
        let before = thread_cpu()?;
        for _ in 0..self.packets {
            self.sealer.seal(&header, &payload)?;
        }
        Ok(thread_cpu()? - before)
    }

    fn send(&mut self, segmented: bool) -> Result<Duration> {
        let len = HEADER_LEN + self.payload_len + TAG_LEN;
        let frame = vec![0xab; len * self.packets];
        let addresses = &self.sockets.addresses;
        let sender = sender(segmented, &mut self.sockets.plain, &mut self.sockets.segmented);
        let before = thread_cpu()?;
        send_frame(sender, addresses, &frame, len);
        let cpu = thread_cpu()? - before;
        self.count()?;
        Ok(cpu)
    }

    fn core(&mut self) -> Result<Duration> {
        let frame = self.room.next_frame(self.packets, self.payload_len)?;
        let (path, now) = (Path::udp(self.room.publisher), self.room.now);
        let shard = &mut self.room.shard;
        let mut datagrams = 0;
        let before = thread_cpu()?;
        frame.iter().for_each(|packet| shard.handle_datagram(path, packet, now));
        drain(shard, now, |batch| datagrams += batch.runs().iter().map(segments).sum::<usize>());
        let cpu = thread_cpu()? - before;
        let wanted = self.packets * self.subscribers;
        ensure!(datagrams >= wanted, "the shard made {datagrams} datagrams of {wanted}");
        Ok(cpu)
    }

    fn whole(&mut self, segmented: bool) -> Result<Duration> {
        let frame = self.room.next_frame(self.packets, self.payload_len)?;
        self.publish(&frame)?;
        let stats = &self.room.stats;
        let (packets, sends) = (stats.packets_out.value(), stats.sends.value());
        let Sockets { receiver, plain, segmented: with_gso, .. } = &mut self.sockets;
        let (shard, now) = (&mut self.room.shard, self.room.now);
        let sender = sender(segmented, plain, with_gso);
        let before = thread_cpu()?;
        let mut more = true;
        while more {
            more = receiver.receive() == Received::More;
            for (peer, datagram) in receiver.datagrams() {
                shard.handle_datagram(Path::udp(peer), datagram, now);
            }
            drain(shard, now, |batch| {
                let runs = batch.runs().iter().map(|run| Run {
                    peer: run.path.peer,
                    local: 0,
                    bytes: batch.bytes(run),
                    segment: run.segment,
                });
                sender.send(runs, now);
            });
        }
        let cpu = thread_cpu()? - before;
        self.shard_packets += self.room.stats.packets_out.value() - packets;
        self.shard_sends += self.room.stats.sends.value() - sends;
        self.count()?;
        Ok(cpu)
    }

    fn publish(&self, frame: &Frame) -> Result<()> {
        for packet in frame {
            self.sockets.publisher.send_to(packet, self.sockets.unit).context("publishing")?;
        }
        Ok(())
    }

    fn count(&mut self) -> Result<()> {
        self.sent += self.packets * self.subscribers;
        self.arrived += self.sockets.drain()?;
        Ok(())
    }

    fn report(&self, rounds: &[Rounds]) -> Result<String> {
        let cost = |case: Case| {
            let place = CASES.iter().position(|c| *c == case);
            place.and_then(|place| rounds.get(place)?.cost()).context("no rounds")
        };
        let (seal, plain, segmented) =
            (cost(Case::Seal)?, cost(Case::SendPlain)?, cost(Case::SendSegmented)?);
        let rows = [
            ("floor: AES-128-GCM seal", seal, None),
            ("floor: send, sendmmsg", plain, None),
            ("floor: send, sendmmsg + GSO", segmented, None),
            ("core: shard in memory", cost(Case::Core)?, Some(seal)),
            ("whole: sockets, sendmmsg", cost(Case::WholePlain)?, Some(sum(seal, plain))),
            ("whole: sockets, GSO", cost(Case::WholeSegmented)?, Some(sum(seal, segmented))),
        ];
        let mut text = String::new();
        writeln!(
            text,
            "forward 1 -> {} | {} packets of {} B per frame | {} frames x {} rounds, interleaved",
            self.subscribers,
            self.packets,
            self.payload_len,
            self.frames,
            rounds.first().map_or(0, Rounds::len),
        )?;
        writeln!(text, "ns of thread CPU per forwarded packet      median    (min)   x floor")?;
        for (name, cost, floor) in rows {
            let ratio = floor.map_or(String::new(), |f| format!("{:.2}", cost.median / f.median));
            let Cost { median, least } = cost;
            writeln!(text, "{name:<40} {median:>8.0} {:>8} {ratio:>9}", format!("({least:.0})"))?;
        }
        let (receive, tapped) = (cost(Case::Receive)?, cost(Case::ReceiveTapped)?);
        let whole = cost(Case::WholeSegmented)?.median * self.subscribers as f64;
        self.tap_rows(&mut text, receive, tapped, whole)?;
        self.notes(&mut text)?;
        Ok(text)
    }

    /// `whole`: what a received packet costs in all, to every subscriber, without a tap.
    fn tap_rows(&self, text: &mut String, receive: Cost, tapped: Cost, whole: f64) -> Result<()> {
        writeln!(text, "\nns of thread CPU per received packet       median    (min)")?;
        for (name, Cost { median, least }) in
            [("receive: open, cache", receive), ("receive and tap", tapped)]
        {
            writeln!(text, "{name:<40} {median:>8.0} {:>8}", format!("({least:.0})"))?;
        }
        let (median, least) = (tapped.median - receive.median, tapped.least - receive.least);
        writeln!(
            text,
            "{:<40} {median:>8.0} {:>8}   {:.2} % of forwarding it to {}",
            "tap: the difference",
            format!("({least:.0})"),
            100.0 * median / whole,
            self.subscribers,
        )?;
        Ok(())
    }

    fn notes(&self, text: &mut String) -> Result<()> {
        let stats = &self.sockets.stats;
        writeln!(text)?;
        writeln!(
            text,
            "datagrams sent / arrived on loopback: {} / {}; refused {}, dropped {}; per message {:.1}",
            self.sent,
            self.arrived,
            stats.udp_send_errors.value(),
            stats.udp_send_dropped.value(),
            self.shard_packets as f64 / self.shard_sends.max(1) as f64,
        )?;
        if !self.sockets.segmented.segments() {
            writeln!(text, "NO SEGMENTATION on this machine: the GSO rows are plain sendmmsg")?;
        }
        text.push_str(concat!(
            "x floor: core against seal, whole against seal + send of the same kind.\n",
            "In the figures: receive and open of the packet, its cache, header rewrite with three\n",
            "  extensions, seal with each subscriber's key, send with delivery to local sockets.\n",
            "Left out: RTCP both ways (feedback, reports, NACK) and retransmission, timers, ICE\n",
            "  consent, waiting in epoll and its wake-ups, other cores' cache traffic, a real\n",
            "  network card. There is no pacer, bandwidth estimator or layer selection yet.\n",
            "The floor's send uses the same safe sendmmsg wrapper as the unit.\n",
        ));
        Ok(())
    }
}

fn sender<'a>(segmented: bool, plain: &'a mut Sender, with_gso: &'a mut Sender) -> &'a mut Sender {
    if segmented { with_gso } else { plain }
}

fn drain(shard: &mut Shard, now: Instant, mut each: impl FnMut(&TxBatch)) {
    while let Some(batch) = shard.poll_transmit(now) {
        each(batch);
    }
}

fn segments(run: &sfu_core::transport::outbound::TxRun) -> usize {
    (run.len as usize).div_ceil(usize::from(run.segment.max(1)))
}

fn sum(a: Cost, b: Cost) -> Cost {
    Cost { median: a.median + b.median, least: a.least + b.least }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_small_run_forwards_everything_and_reports_every_case() {
        let options =
            Options { subscribers: 3, packets_per_frame: 4, payload: 300, frames: 2, rounds: 2 };
        let mut bench = Bench::new(&options).unwrap();
        bench.round(None).unwrap();
        // Two sending floors and two whole paths, two frames each.
        assert_eq!(bench.sent, 4 * 2 * 4 * 3);
        assert_eq!(bench.arrived, bench.sent);
        assert!(bench.tapped > 2 * 4 * 300);
        let report = run(&options).unwrap();
        for name in
            ["seal", "sendmmsg", "GSO", "shard in memory", "tap: the difference", "Left out"]
        {
            assert!(report.contains(name), "{report}");
        }
    }
}
