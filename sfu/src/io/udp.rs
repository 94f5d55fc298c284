//! UDP in batches: `recvmmsg` with coalesced datagrams (`UDP_GRO`) in, `sendmmsg` with segmented
//! runs (`UDP_SEGMENT`, GSO) out.
//!
//! Receiving is `quinn-udp`'s, which prepares every header anew for each call (see
//! `docs/decisions/0003-socket-batches.md` for why `nix`'s `recvmmsg` cannot be used). Sending is
//! `rustix`'s `sendmmsg`; the segment size is an option of the socket, set only when it changes:
//!
//! ```text
//! runs    A 10×1216 │ B 10×1216 │ C 1×90 │ D 4×700 │ E 1×1200
//! groups  └ UDP_SEGMENT 1216 ────────────┘└ 700 ───┘└ 0 ─────   one sendmmsg each
//! ```
//!
//! Where the machine has several addresses of a family, a reply leaves from the address that the
//! peer sent to ([`Locals`]). `rustix` cannot say so; such runs go one by one through `quinn-udp`.

use std::{
    array,
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use arrayvec::ArrayVec;
use mio::net::UdpSocket;
use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::{
    io::Errno,
    net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg, sendto},
};

use sfu_core::path::Path;

use crate::{limits, stats::IoStats};

/// Whether a socket may hold more datagrams than the batch just received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// The batch was full: receive again.
    More,
    /// The socket was drained: wait for readiness, which then is a new edge.
    All,
}

/// Our addresses among which replies must choose, numbered from 1; 0 leaves it to the route.
#[derive(Clone, Default)]
pub struct Locals(Arc<[IpAddr]>);

impl Locals {
    /// Of all addresses that peers may use, those whose family has more than one: for a single one
    /// the route's choice is right.
    pub fn new(addresses: &[IpAddr]) -> Self {
        let rivals = |ip: &&IpAddr| {
            addresses.iter().any(|other| other != *ip && other.is_ipv4() == ip.is_ipv4())
        };
        Self(addresses.iter().filter(rivals).take(usize::from(u8::MAX)).copied().collect())
    }

    fn number(&self, ip: Option<IpAddr>) -> u8 {
        let Some(ip) = ip.map(|ip| ip.to_canonical()).filter(|_| !self.0.is_empty()) else {
            return 0;
        };
        self.0.iter().position(|local| *local == ip).map_or(0, |place| place as u8 + 1)
    }

    fn address(&self, number: u8) -> Option<IpAddr> {
        self.0.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// The receiving half of a worker's socket.
pub struct Receiver {
    socket: Arc<UdpSocket>,
    state: UdpSocketState,
    slots: Box<[u8]>,
    metas: [RecvMeta; BATCH_SIZE],
    filled: usize,
    locals: Locals,
    stats: Arc<IoStats>,
}

impl Receiver {
    /// Switches coalescing on where the kernel has it, and path MTU handling to "never fragment".
    ///
    /// # Errors
    /// The system refused an option that every supported kernel has.
    pub fn new(socket: Arc<UdpSocket>, stats: Arc<IoStats>) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&*socket))?;
        let slots = vec![0; BATCH_SIZE * limits::RECEIVE_SLOT_BYTES].into_boxed_slice();
        let metas = [RecvMeta::default(); BATCH_SIZE];
        let locals = Locals::default();
        Ok(Self { socket, state, slots, metas, filled: 0, locals, stats })
    }

    /// Tells addresses apart from now on, see [`Self::packets`].
    pub fn with_locals(self, locals: Locals) -> Self {
        Self { locals, ..self }
    }

    /// Whether the kernel coalesces datagrams.
    pub fn coalesces(&self) -> bool {
        self.state.gro_segments() > 1
    }

    /// Whether the kernel knows `UDP_SEGMENT`.
    pub fn segments(&self) -> bool {
        self.state.max_gso_segments() > 1
    }

    /// Receives one batch, to be read by [`Self::datagrams`].
    pub fn receive(&mut self) -> Received {
        let mut slots: ArrayVec<IoSliceMut<'_>, BATCH_SIZE> =
            self.slots.chunks_exact_mut(limits::RECEIVE_SLOT_BYTES).map(IoSliceMut::new).collect();
        let socket = UdpSockRef::from(&*self.socket);
        let result = self.state.recv(socket, &mut slots, &mut self.metas);
        self.filled = *result.as_ref().unwrap_or(&0);
        match result {
            Ok(filled) => {
                self.stats.udp_receives.add(1);
                if filled == BATCH_SIZE { Received::More } else { Received::All }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Received::All,
            Err(_) => {
                // A pending socket error, reported once and cleared by the call.
                self.stats.udp_receive_errors.add(1);
                Received::More
            }
        }
    }

    /// The datagrams of the last batch and their senders, in order of arrival.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.packets().map(|(path, datagram)| (path.peer, datagram))
    }

    /// The datagrams of the last batch and their paths, in order of arrival.
    pub fn packets(&self) -> impl Iterator<Item = (Path, &[u8])> {
        let slots = self.slots.chunks_exact(limits::RECEIVE_SLOT_BYTES);
        self.metas.iter().zip(slots).take(self.filled).flat_map(|(meta, slot)| {
            let all = slot.get(..meta.len).unwrap_or(slot);
            // `chunks` of nothing is nothing, but an empty datagram is one.
            let empty = all.is_empty().then_some(all);
            let whole = all.chunks(meta.stride.max(1));
            let path = Path::udp_from(self.locals.number(meta.dst_ip), meta.addr);
            whole.chain(empty).map(move |datagram| (path, datagram))
        })
    }
}

/// Datagrams of `segment` bytes back to back for one peer, the last may be shorter.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// Where to.
    pub peer: SocketAddr,
    /// From which of [`Locals`].
    pub local: u8,
    /// One or more datagrams.
    pub bytes: &'a [u8],
    /// Bytes of each but perhaps the last.
    pub segment: u16,
}

impl<'a> Run<'a> {
    fn is_single(&self) -> bool {
        self.bytes.len() <= usize::from(self.segment)
    }

    fn datagrams(&self) -> impl Iterator<Item = Run<'a>> + use<'a> {
        let Self { peer, local, segment, .. } = *self;
        self.bytes.chunks(usize::from(segment.max(1))).map(move |bytes| Run {
            peer,
            local,
            bytes,
            segment,
        })
    }

    /// Bytes of its longest datagram.
    fn longest(&self) -> usize {
        self.bytes.len().min(usize::from(self.segment.max(1)))
    }

    fn count(&self) -> u64 {
        self.bytes.len().div_ceil(usize::from(self.segment.max(1))) as u64
    }
}

/// The socket's or the device's buffer is full.
fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error())
}

/// The sending half of a worker's socket.
///
/// Never waits and keeps nothing: when the socket's buffer is full, the rest of the call is
/// dropped and counted. Late media is worse than lost media, and what matters is sent again.
pub struct Sender {
    socket: Arc<UdpSocket>,
    ipv6: bool,
    segmentation: Segmentation,
    /// For runs that must leave from a certain address.
    pinned: Option<Pinned>,
    stats: Arc<IoStats>,
}

struct Pinned {
    locals: Locals,
    state: UdpSocketState,
}

enum Segmentation {
    /// The kernel does not have it, or the caller does not want it.
    Never,
    /// Refused too often: tried again later.
    Paused { until: Instant },
    On {
        /// `UDP_SEGMENT` as the socket has it now; 0 is none.
        set: u16,
        /// Runs of [`limits::GSO_SEGMENT_SAFE_BYTES`] at most that were refused since the last
        /// success: longer ones may just not fit their path.
        refused: u32,
    },
}

impl Sender {
    /// `segmentation`: whether to use `UDP_SEGMENT`, if the kernel has it ([`Receiver::segments`]).
    pub fn new(
        socket: Arc<UdpSocket>,
        ipv6: bool,
        segmentation: bool,
        stats: Arc<IoStats>,
    ) -> Self {
        let segmentation = match segmentation {
            true => Segmentation::On { set: 0, refused: 0 },
            false => Segmentation::Never,
        };
        Self { socket, ipv6, segmentation, pinned: None, stats }
    }

    /// Heeds [`Run::local`] from now on.
    ///
    /// # Errors
    /// The system refused an option that every supported kernel has.
    pub fn with_locals(mut self, locals: Locals) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&*self.socket))?;
        self.pinned = Some(Pinned { locals, state });
        Ok(self)
    }

    /// Whether segmentation is in use: it pauses when it is refused.
    pub fn segments(&self) -> bool {
        matches!(self.segmentation, Segmentation::On { .. })
    }

    /// Sends runs in order. Datagrams above [`limits::UDP_PAYLOAD_BYTES_MAX`] are dropped.
    pub fn send<'a>(&mut self, runs: impl IntoIterator<Item = Run<'a>>, now: Instant) {
        if matches!(self.segmentation, Segmentation::Paused { until } if until <= now) {
            self.segmentation = Segmentation::On { set: 0, refused: 0 };
        }
        let mut group = Group::default();
        for run in runs {
            if let Some(from) = self.pinned.as_ref().and_then(|p| p.locals.address(run.local)) {
                // Overtakes only what goes to other paths.
                self.send_from(from, run, now);
            } else if run.longest() > limits::UDP_PAYLOAD_BYTES_MAX {
                run.datagrams().for_each(|single| self.push_if_small(&mut group, single, now));
            } else if self.segments() || run.is_single() {
                self.push(&mut group, run, now);
            } else {
                run.datagrams().for_each(|single| self.push(&mut group, single, now));
            }
        }
        self.flush(&group, now);
    }

    /// Sends a run from one of our addresses.
    fn send_from(&mut self, from: IpAddr, run: Run<'_>, now: Instant) {
        if self.unset_segment().is_err() {
            self.stats.udp_send_errors.add(run.count());
            return;
        }
        let fits = run.longest() <= limits::UDP_PAYLOAD_BYTES_MAX;
        if fits && self.segments() && !run.is_single() {
            match self.send_one(from, &run) {
                Ok(()) => return,
                Err(error) if is_full(&error) => {
                    return self.stats.udp_send_dropped.add(run.count());
                }
                Err(error) => {
                    self.stats.gso_fallbacks.add(1);
                    if error.raw_os_error() == Some(Errno::IO.raw_os_error()) {
                        self.pause(Errno::IO, now);
                    }
                }
            }
        }
        for single in run.datagrams() {
            if single.bytes.len() > limits::UDP_PAYLOAD_BYTES_MAX {
                self.stats.udp_too_large.add(1);
                continue;
            }
            match self.send_one(from, &single) {
                Ok(()) => {}
                Err(error) if is_full(&error) => self.stats.udp_send_dropped.add(1),
                Err(_) => self.stats.udp_send_errors.add(1),
            }
        }
    }

    fn send_one(&self, from: IpAddr, run: &Run<'_>) -> io::Result<()> {
        let Some(pinned) = &self.pinned else { return Ok(()) };
        let transmit = Transmit {
            destination: self.target(run.peer),
            ecn: None,
            contents: run.bytes,
            segment_size: (!run.is_single()).then_some(usize::from(run.segment)),
            src_ip: Some(from),
        };
        self.stats.udp_sends.add(1);
        pinned.state.try_send(UdpSockRef::from(&*self.socket), &transmit)
    }

    /// What says its own segment size must not be cut by the socket's.
    fn unset_segment(&mut self) -> Result<(), Errno> {
        let Segmentation::On { set, .. } = &mut self.segmentation else { return Ok(()) };
        if *set != 0 {
            setsockopt(&self.socket, sockopt::UdpGsoSegment, &0).map_err(|_| Errno::IO)?;
            *set = 0;
        }
        Ok(())
    }

    /// A run may end with a datagram that is short enough.
    fn push_if_small<'a>(&mut self, group: &mut Group<'a>, single: Run<'a>, now: Instant) {
        if single.bytes.len() > limits::UDP_PAYLOAD_BYTES_MAX {
            self.stats.udp_too_large.add(1);
        } else {
            self.push(group, single, now);
        }
    }

    fn push<'a>(&mut self, group: &mut Group<'a>, run: Run<'a>, now: Instant) {
        if !group.accepts(&run) {
            self.flush(group, now);
            *group = Group::default();
        }
        group.add(run);
    }

    fn flush(&mut self, group: &Group<'_>, now: Instant) {
        let mut rest = group.runs.as_slice();
        while !rest.is_empty() {
            let result = self.select(group).and_then(|()| self.send_some(rest));
            let done = match result {
                Ok(sent) => self.accepted(group.segment, sent),
                Err(Errno::INTR) => 0,
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    self.stats.udp_send_dropped.add(rest.iter().map(Run::count).sum());
                    return;
                }
                Err(error) => self.refused(group.segment, rest, error, now),
            };
            rest = rest.get(done..).unwrap_or(&[]);
        }
    }

    /// Sets the socket's segment size to what `group` needs.
    fn select(&mut self, group: &Group<'_>) -> Result<(), Errno> {
        let Segmentation::On { set, .. } = &mut self.segmentation else { return Ok(()) };
        let wanted = match group.segment {
            Some(segment) => segment,
            None if group.single_len_max <= usize::from(*set) => *set,
            None => 0,
        };
        if *set != wanted {
            setsockopt(&self.socket, sockopt::UdpGsoSegment, &i32::from(wanted))
                .map_err(|_| Errno::IO)?;
            *set = wanted;
        }
        Ok(())
    }

    fn send_some(&self, runs: &[Run<'_>]) -> Result<usize, Errno> {
        const MAX: usize = limits::MESSAGES_PER_SEND_MAX;
        let mut controls: [SendAncillaryBuffer<'_, '_, '_>; MAX] =
            array::from_fn(|_| SendAncillaryBuffer::default());
        let messages: ArrayVec<(SocketAddrAny, [IoSlice<'_>; 1]), MAX> = runs
            .iter()
            .map(|run| (self.target(run.peer).into(), [IoSlice::new(run.bytes)]))
            .collect();
        let mut headers: ArrayVec<MMsgHdr<'_>, MAX> = messages
            .iter()
            .zip(&mut controls)
            .map(|((peer, bytes), control)| MMsgHdr::new_with_addr(peer, bytes, control))
            .collect();
        self.stats.udp_sends.add(1);
        sendmmsg(&*self.socket, &mut headers, SendFlags::DONTWAIT)
    }

    /// Returns how many runs are done.
    fn accepted(&mut self, segment: Option<u16>, runs: usize) -> usize {
        if let Segmentation::On { refused, .. } = &mut self.segmentation
            && segment.is_some()
        {
            *refused = 0;
        }
        runs
    }

    /// The kernel refused the first of these runs. Returns how many runs are done.
    fn refused(
        &mut self,
        segment: Option<u16>,
        rest: &[Run<'_>],
        error: Errno,
        now: Instant,
    ) -> usize {
        // EIO: the device or a tunnel on the way cannot segment. EINVAL, EMSGSIZE: the segment
        // does not fit this path, or the kernel dislikes the option for another reason.
        let doubtful = matches!(error, Errno::IO | Errno::INVAL | Errno::MSGSIZE);
        let (Segmentation::On { set, refused }, true) = (&mut self.segmentation, doubtful) else {
            self.stats.udp_send_errors.add(1);
            return 1;
        };
        let _ = setsockopt(&self.socket, sockopt::UdpGsoSegment, &0);
        *set = 0;
        let safe = |segment: u16| segment <= limits::GSO_SEGMENT_SAFE_BYTES;
        *refused += u32::from(segment.is_some_and(safe));
        self.stats.gso_fallbacks.add(u64::from(segment.is_some()));
        if error == Errno::IO || *refused >= limits::GSO_REFUSALS_MAX {
            self.pause(error, now);
        }
        // Without segmentation the rest of the group cannot go out as it is.
        let singly = if self.segments() { &rest[..1] } else { rest };
        singly.iter().for_each(|run| self.singly(run));
        singly.len()
    }

    /// Stops segmentation for a while.
    fn pause(&mut self, error: Errno, now: Instant) {
        tracing::warn!(%error, "UDP segmentation offload does not work here, paused");
        self.segmentation = Segmentation::Paused { until: now + limits::GSO_PAUSE };
    }

    /// Sends a run datagram by datagram.
    fn singly(&self, run: &Run<'_>) {
        for single in run.datagrams() {
            let peer = self.target(run.peer);
            match sendto(&*self.socket, single.bytes, SendFlags::DONTWAIT, &peer) {
                Ok(_) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => self.stats.udp_send_dropped.add(1),
                Err(_) => self.stats.udp_send_errors.add(1),
            }
        }
    }

    /// A dual-stack socket reaches IPv4 peers by their mapped addresses (RFC 4291 section 2.5.5.2).
    fn target(&self, peer: SocketAddr) -> SocketAddr {
        match peer.ip() {
            IpAddr::V4(ip) if self.ipv6 => SocketAddr::new(ip.to_ipv6_mapped().into(), peer.port()),
            _ => peer,
        }
    }
}

/// Runs that one call can carry: all segmented ones have one size, single datagrams fit into it.
#[derive(Default)]
struct Group<'a> {
    runs: ArrayVec<Run<'a>, { limits::MESSAGES_PER_SEND_MAX }>,
    segment: Option<u16>,
    single_len_max: usize,
}

impl<'a> Group<'a> {
    fn accepts(&self, run: &Run<'_>) -> bool {
        let fits = match (self.segment, run.is_single()) {
            (Some(segment), true) => run.bytes.len() <= usize::from(segment),
            (Some(segment), false) => run.segment == segment,
            (None, true) => true,
            (None, false) => self.single_len_max <= usize::from(run.segment),
        };
        fits && !self.runs.is_full()
    }

    fn add(&mut self, run: Run<'a>) {
        if run.is_single() {
            self.single_len_max = self.single_len_max.max(run.bytes.len());
        } else {
            self.segment = Some(run.segment);
        }
        self.runs.push(run);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::{Duration, Instant};

    use sfu_core::path::Carrier;

    use super::*;

    struct Pair {
        receiver: Receiver,
        sender: Sender,
        to: SocketAddr,
    }

    fn socket() -> Arc<UdpSocket> {
        let sockets = super::super::bind::open(Some([127, 0, 0, 1].into()), 0, false, 4 << 20);
        Arc::new(sockets.unwrap().udp)
    }

    fn pair(segmentation: bool) -> Pair {
        let stats = Arc::new(IoStats::default());
        let to = socket();
        let receiver = Receiver::new(Arc::clone(&to), Arc::clone(&stats)).unwrap();
        let segmentation = segmentation && receiver.segments();
        let sender = Sender::new(socket(), false, segmentation, stats);
        Pair { receiver, sender, to: to.local_addr().unwrap() }
    }

    impl Pair {
        fn collect(&mut self, count: usize) -> Vec<Vec<u8>> {
            let (mut got, start) = (Vec::new(), Instant::now());
            while got.len() < count && start.elapsed() < Duration::from_secs(5) {
                let received = self.receiver.receive();
                got.extend(self.receiver.datagrams().map(|(_, bytes)| bytes.to_vec()));
                if received == Received::All {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            assert_eq!(self.receiver.receive(), Received::All);
            assert_eq!(self.receiver.datagrams().count(), 0);
            got
        }
    }

    /// Datagrams that tell their number, in runs of mixed shapes.
    fn runs(to: SocketAddr, storage: &mut Vec<(Vec<u8>, u16)>) -> (Vec<Run<'_>>, Vec<Vec<u8>>) {
        let shapes: [(u16, usize, usize); 9] = [
            (1216, 10, 500),
            (1216, 3, 1216),
            (90, 1, 90),
            (700, 4, 1),
            (1200, 1, 1200),
            (1216, 51, 7),
            (20, 1, 20),
            (333, 2, 333),
            (1400, 1, 1400),
        ];
        let (mut expected, mut n) = (Vec::new(), 0u32);
        for (segment, count, last) in shapes {
            let mut run = Vec::new();
            for i in 0..count {
                let len = if i + 1 == count { last } else { usize::from(segment) };
                let mut datagram = vec![n as u8; len];
                let number = n.to_be_bytes();
                let shown = number.len().min(len);
                datagram[..shown].copy_from_slice(&number[..shown]);
                run.extend_from_slice(&datagram);
                expected.push(datagram);
                n += 1;
            }
            storage.push((run, segment));
        }
        let run = |(bytes, segment): &'_ (Vec<u8>, u16)| (bytes.len(), *segment);
        assert!(storage.iter().map(run).all(|(len, segment)| len > 0 && segment > 0));
        let runs = storage
            .iter()
            .map(|(bytes, segment)| Run { local: 0, peer: to, bytes, segment: *segment })
            .collect();
        (runs, expected)
    }

    #[test]
    fn segmented_and_plain_sending_deliver_the_same_datagrams() {
        for segmentation in [true, false] {
            let mut pair = pair(segmentation);
            let mut storage = Vec::new();
            let (runs, expected) = runs(pair.to, &mut storage);
            // Several rounds: headers and options must be restored between calls.
            for _ in 0..5 {
                pair.sender.send(runs.iter().copied(), Instant::now());
                assert_eq!(pair.collect(expected.len()), expected);
            }
            assert_eq!(pair.sender.segments(), segmentation && pair.receiver.segments());
            assert_eq!(pair.sender.stats.gso_fallbacks.value(), 0);
            assert_eq!(pair.sender.stats.udp_send_errors.value(), 0);
        }
    }

    #[test]
    fn runs_of_one_size_share_a_call() {
        let mut pair = pair(true);
        assert!(pair.sender.segments(), "this kernel has UDP_SEGMENT");
        let bytes = vec![7; 3 * 1000];
        let run = Run { local: 0, peer: pair.to, bytes: &bytes, segment: 1000 };
        let single = Run { local: 0, peer: pair.to, bytes: &bytes[..80], segment: 80 };
        pair.sender.send([run, single, run, single], Instant::now());
        assert_eq!(pair.sender.stats.udp_sends.value(), 1);
        let lens: Vec<_> = pair.collect(8).iter().map(Vec::len).collect();
        assert_eq!(lens, [1000, 1000, 1000, 80, 1000, 1000, 1000, 80]);
    }

    #[test]
    fn more_runs_than_a_call_takes_are_all_sent() {
        let mut pair = pair(false);
        let bytes = [1; 10];
        let run = Run { local: 0, peer: pair.to, bytes: &bytes, segment: 10 };
        pair.sender.send(std::iter::repeat_n(run, 200), Instant::now());
        assert_eq!(pair.collect(200).len(), 200);
        assert_eq!(pair.sender.stats.udp_sends.value(), 4);
    }

    #[test]
    fn a_run_that_cannot_be_segmented_falls_back_and_others_go_on() {
        let mut pair = pair(true);
        // 70 segments are more than UDP_MAX_SEGMENTS of older kernels (64); 130 more than of all.
        let many = vec![3; 130 * 100];
        let few = vec![4; 3 * 100];
        let bad = Run { local: 0, peer: pair.to, bytes: &many, segment: 100 };
        let good = Run { local: 0, peer: pair.to, bytes: &few, segment: 100 };
        pair.sender.send([good, bad, good], Instant::now());
        assert_eq!(pair.collect(136).len(), 136);
        assert_eq!(pair.sender.stats.gso_fallbacks.value(), 1);
        assert!(pair.sender.segments());
        for _ in 0..limits::GSO_REFUSALS_MAX {
            pair.sender.send([bad], Instant::now());
            assert_eq!(pair.collect(130).len(), 130);
        }
        assert!(!pair.sender.segments(), "paused after refusals in a row");
        pair.sender.send([good], Instant::now());
        assert_eq!(pair.collect(3).len(), 3);
        assert!(!pair.sender.segments());
        pair.sender.send([good], Instant::now() + limits::GSO_PAUSE);
        assert_eq!(pair.collect(3).len(), 3);
        assert!(pair.sender.segments(), "tried again later");
    }

    #[test]
    fn a_destination_that_is_refused_costs_only_its_own_datagrams() {
        let mut pair = pair(true);
        let bytes = [5; 30];
        // Port 0 is refused with EINVAL.
        let nowhere = SocketAddr::new(pair.to.ip(), 0);
        let bad = Run { local: 0, peer: nowhere, bytes: &bytes, segment: 30 };
        let good = Run { local: 0, peer: pair.to, bytes: &bytes, segment: 30 };
        pair.sender.send([good, bad, good], Instant::now());
        assert_eq!(pair.collect(2).len(), 2);
        assert_eq!(pair.sender.stats.udp_send_errors.value(), 1);
    }

    #[test]
    fn empty_datagrams_are_seen() {
        let mut pair = pair(true);
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(&[], pair.to).unwrap();
        peer.send_to(b"x", pair.to).unwrap();
        assert_eq!(pair.collect(2), [Vec::new(), b"x".to_vec()]);
    }

    #[test]
    fn refused_segments_that_may_not_fit_their_path_do_not_count() {
        let mut pair = pair(true);
        let segment = limits::GSO_SEGMENT_SAFE_BYTES + 1;
        // 130 segments, or 65,535 bytes, are more than any kernel takes.
        let many = vec![3; 130 * usize::from(segment)];
        let bad = Run { local: 0, peer: pair.to, bytes: &many, segment };
        for _ in 0..=limits::GSO_REFUSALS_MAX {
            pair.sender.send([bad], Instant::now());
            assert_eq!(pair.collect(130).len(), 130);
        }
        assert!(pair.sender.segments());
        assert!(pair.sender.stats.gso_fallbacks.value() > u64::from(limits::GSO_REFUSALS_MAX));
    }

    #[test]
    fn datagrams_that_no_ethernet_frame_carries_are_dropped_and_counted() {
        let mut pair = pair(true);
        let limit = limits::UDP_PAYLOAD_BYTES_MAX as u16;
        let bytes = vec![6; 3 * usize::from(limit) + 100];
        let run = |segment| Run { local: 0, peer: pair.to, bytes: &bytes, segment };
        let (good, bad) = (run(limit), run(limit + 1));
        pair.sender.send([good, bad, good], Instant::now());
        // Of the long run only its last datagram, which is shorter, goes out.
        let lens: Vec<_> = pair.collect(9).iter().map(Vec::len).collect();
        assert_eq!(lens, [1472, 1472, 1472, 100, 97, 1472, 1472, 1472, 100]);
        assert_eq!(pair.sender.stats.udp_too_large.value(), 3);
    }

    #[test]
    fn replies_leave_from_the_address_that_was_asked() {
        let sockets = super::super::bind::open(None, 0, false, 1 << 20).unwrap();
        let (unit, stats) = (Arc::new(sockets.udp), Arc::<IoStats>::default());
        let asked = [[127, 0, 0, 77], [127, 0, 0, 78]].map(IpAddr::from);
        let locals = Locals::new(&asked);
        let receiver = Receiver::new(Arc::clone(&unit), Arc::clone(&stats)).unwrap();
        let segments = receiver.segments();
        let mut receiver = receiver.with_locals(locals.clone());
        let sender = Sender::new(unit, sockets.ipv6, segments, Arc::clone(&stats));
        let mut sender = sender.with_locals(locals).unwrap();
        for asked in asked {
            // A connected socket takes nothing from elsewhere.
            let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            peer.connect((asked, sockets.port)).unwrap();
            peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            peer.send(b"question").unwrap();
            let path = loop {
                receiver.receive();
                if let Some((path, _)) = receiver.packets().next() {
                    break path;
                }
                std::thread::sleep(Duration::from_millis(1));
            };
            let Carrier::Udp(local) = path.carrier else { panic!("over UDP") };
            let run = |bytes, segment| Run { local, peer: path.peer, bytes, segment };
            let plain = Run { local: 0, ..run(&[0; 40], 10) };
            sender.send([plain, run(&[1; 25], 10), run(&[2; 30], 30)], Instant::now());
            let mut buffer = [0; 100];
            let lens = [(); 4].map(|()| peer.recv(&mut buffer).unwrap());
            assert_eq!(lens, [10, 10, 5, 30]);
        }
        assert_eq!(stats.udp_send_errors.value() + stats.gso_fallbacks.value(), 0);
    }

    #[test]
    fn only_families_with_several_addresses_are_told_apart() {
        let [a, b] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        let six = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        assert_eq!(Locals::new(&[a, six]).number(Some(a)), 0);
        let locals = Locals::new(&[a, b, six]);
        assert_eq!([Some(a), Some(b), Some(six), None].map(|ip| locals.number(ip)), [1, 2, 0, 0]);
        assert_eq!([0, 1, 2, 3].map(|n| locals.address(n)), [None, Some(a), Some(b), None]);
    }
}
