//! ICE-TCP, passive side (RFC 6544): accepts connections, cuts RFC 4571 frames, sends frames.
//!
//! ```text
//! accept ─▶ stranger (5 s) ── the core answers ──▶ known ─▶ closed
//!    │         │                                     │  peer, framing error, or silence of 30 s
//!    └ refused └ timeout, or evicted by a newcomer   └▶ taken by `pop_closed`
//! ```
//! A peer is a stranger until the core sends it something, which it only does to authenticated
//! peers: so neither trickled bytes nor junk frames hold a slot, and when all slots are taken the
//! oldest stranger makes room for the next one.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use mio::{
    Interest, Registry, Token,
    net::{TcpListener, TcpStream},
};
use sfu_core::path::{Carrier, Path};
use sfu_proto::demux::{FRAME_HEADER_LEN, FrameReader, frame_header};

use crate::{limits, stats::IoStats};

/// Bits of a connection's name that are its slot; the rest counts its users.
const SLOT_BITS: u32 = 12;
const _: () = assert!(limits::TCP_CONNECTIONS_MAX <= 1 << SLOT_BITS);

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub struct TcpLimits {
    /// In all.
    pub connections: usize,
    /// From one address; an IPv6 /64 counts as one.
    pub per_peer: usize,
}

/// A worker's TCP side.
pub struct Tcp {
    listener: TcpListener,
    /// Readiness is edge-triggered: kept until accepting would block.
    acceptable: bool,
    /// No accepting before this, after the process ran out of descriptors.
    paused_until: Option<Instant>,
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    per_peer: HashMap<IpAddr, usize>,
    limits: TcpLimits,
    first_token: usize,
    users: u32,
    next_sweep: Option<Instant>,
    readable: VecDeque<usize>,
    closed: VecDeque<Path>,
    buffer: Box<[u8]>,
    stats: Arc<IoStats>,
}

struct Connection {
    stream: TcpStream,
    path: Path,
    frames: FrameReader,
    queue: VecDeque<u8>,
    /// Whether it waits in `Tcp::readable`.
    listed: bool,
    stage: Stage,
}

enum Stage {
    /// Never answered; accepted when.
    Stranger(Instant),
    /// When we last sent something.
    Known(Instant),
}

/// Frames read from one connection, in order. Kept and refilled: it does not allocate once grown.
#[derive(Default)]
pub struct Frames {
    path: Option<Path>,
    bytes: Vec<u8>,
    /// Where each frame ends in `bytes`.
    ends: Vec<usize>,
}

impl Frames {
    /// The frames and where they came from.
    pub fn datagrams(&self) -> impl Iterator<Item = (Path, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let frames = starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end]);
        self.path.into_iter().flat_map(move |path| frames.clone().map(move |frame| (path, frame)))
    }

    fn begin(&mut self, path: Path) {
        self.path = Some(path);
        self.bytes.clear();
        self.ends.clear();
    }

    fn push(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.ends.push(self.bytes.len());
    }
}

/// What becomes of a connection after an I/O step.
enum Verdict {
    Keep,
    /// Keep, and read again: there may be more.
    More,
    Close,
}

impl Tcp {
    /// Tokens from `first_token` on, up to the number of connections, are used in `registry`;
    /// the listener itself must be registered by the caller.
    pub fn new(
        listener: TcpListener,
        limits: TcpLimits,
        first_token: usize,
        stats: Arc<IoStats>,
    ) -> Self {
        Self {
            listener,
            acceptable: true,
            paused_until: None,
            slots: Vec::new(),
            free: Vec::new(),
            per_peer: HashMap::new(),
            limits,
            first_token,
            users: 0,
            next_sweep: None,
            readable: VecDeque::new(),
            closed: VecDeque::new(),
            buffer: vec![0; limits::TCP_READ_BYTES].into_boxed_slice(),
            stats,
        }
    }

    /// The listener became ready.
    pub fn on_acceptable(&mut self) {
        self.acceptable = true;
    }

    /// A connection became ready.
    pub fn on_ready(&mut self, token: Token, readable: bool, writable: bool) {
        let Some(slot) = token.0.checked_sub(self.first_token) else { return };
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return };
        if readable && !connection.listed {
            connection.listed = true;
            self.readable.push_back(slot);
        }
        if writable && !connection.queue.is_empty() && connection.flush().is_err() {
            self.close(slot);
        }
    }

    /// Whether there is work that needs no further readiness.
    pub fn is_busy(&self) -> bool {
        !self.readable.is_empty() || (self.acceptable && self.paused_until.is_none())
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.next_sweep, self.paused_until].into_iter().flatten().min()
    }

    /// A path whose connection has closed since the last call.
    pub fn pop_closed(&mut self) -> Option<Path> {
        self.closed.pop_front()
    }

    /// Accepts what waits, a bounded number at a time.
    pub fn accept(&mut self, registry: &Registry, now: Instant) {
        for _ in 0..limits::TCP_ACCEPTS_PER_TURN_MAX {
            if !self.acceptable || self.paused_until.is_some() {
                return;
            }
            match self.listener.accept() {
                Ok((stream, peer)) => self.admit(stream, peer, registry, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.acceptable = false,
                // The peer was gone before we took it.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Out of descriptors or memory: the connection stays in the backlog.
                Err(_) => self.paused_until = Some(now + limits::TCP_ACCEPT_PAUSE),
            }
        }
    }

    /// Connections to be read in this turn, each by one [`Self::receive`].
    pub fn readable(&self) -> usize {
        self.readable.len()
    }

    /// Reads the next ready connection once.
    pub fn receive(&mut self, frames: &mut Frames) {
        frames.path = None;
        let Some(slot) = self.readable.pop_front() else { return };
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return };
        connection.listed = false;
        frames.begin(connection.path);
        match connection.read(&mut self.buffer, &self.stats, frames) {
            Verdict::Keep => {}
            Verdict::More => {
                connection.listed = true;
                self.readable.push_back(slot);
            }
            Verdict::Close => self.close(slot),
        }
    }

    /// Sends the datagrams of a run, `segment` bytes each, as frames. What does not fit the
    /// peer's queue is dropped frame by frame; an unknown path drops all.
    pub fn send(&mut self, path: Path, bytes: &[u8], segment: u16, now: Instant) {
        let Carrier::Tcp(name) = path.carrier else { return };
        let slot = (name & ((1 << SLOT_BITS) - 1)) as usize;
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return };
        if connection.path != path {
            return;
        }
        let mut result = Ok(());
        for datagram in bytes.chunks(usize::from(segment.max(1))) {
            if !connection.enqueue(datagram) {
                // Room may have come since the last readiness.
                result = connection.flush();
                if result.is_err() || !connection.enqueue(datagram) {
                    self.stats.tcp_frames_dropped.add(1);
                }
            }
        }
        connection.stage = Stage::Known(now);
        if result.and_then(|()| connection.flush()).is_err() {
            self.close(slot);
        }
    }

    /// Closes connections that overstayed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
        if self.next_sweep.is_none_or(|sweep| now < sweep) {
            return;
        }
        for slot in 0..self.slots.len() {
            if self.slots[slot].as_ref().is_some_and(|connection| connection.is_overdue(now)) {
                self.stats.tcp_timeouts.add(1);
                self.close(slot);
            }
        }
        let any = self.free.len() < self.slots.len();
        self.next_sweep = any.then_some(now + limits::TCP_SWEEP);
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr, registry: &Registry, now: Instant) {
        let from = peer_key(peer.ip());
        let from_peer = self.per_peer.get(&from).copied().unwrap_or(0);
        let admitted = from_peer < self.limits.per_peer && self.make_room();
        // Dropping the stream closes it.
        if !admitted || self.open(stream, peer, registry, now).is_err() {
            self.stats.tcp_refused.add(1);
            return;
        }
        *self.per_peer.entry(from).or_default() += 1;
        self.stats.tcp_accepted.add(1);
        self.stats.tcp_connections.add(1);
        self.next_sweep.get_or_insert(now + limits::TCP_SWEEP);
    }

    /// Whether there is a slot, if need be that of the oldest stranger.
    fn make_room(&mut self) -> bool {
        if self.slots.len() - self.free.len() < self.limits.connections {
            return true;
        }
        let strangers = self.slots.iter().enumerate().filter_map(|(slot, connection)| {
            match connection.as_ref()?.stage {
                Stage::Stranger(since) => Some((since, slot)),
                Stage::Known(_) => None,
            }
        });
        let Some((_, oldest)) = strangers.min() else { return false };
        self.stats.tcp_evicted.add(1);
        self.close(oldest);
        true
    }

    fn open(
        &mut self,
        mut stream: TcpStream,
        peer: SocketAddr,
        registry: &Registry,
        now: Instant,
    ) -> io::Result<()> {
        let slot = self.free.last().copied().unwrap_or(self.slots.len());
        stream.set_nodelay(true)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut stream, Token(self.first_token + slot), interest)?;
        self.users = self.users.wrapping_add(1);
        let path = Path::tcp(self.users << SLOT_BITS | slot as u32, peer);
        let connection = Connection {
            stream,
            path,
            frames: FrameReader::new(),
            queue: VecDeque::new(),
            listed: false,
            stage: Stage::Stranger(now),
        };
        if self.free.pop().is_some() {
            self.slots[slot] = Some(connection);
        } else {
            self.slots.push(Some(connection));
        }
        Ok(())
    }

    fn close(&mut self, slot: usize) {
        // Closing the descriptor takes it out of the poll.
        let Some(connection) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        self.free.push(slot);
        let from = peer_key(connection.path.peer.ip());
        if let Some(count) = self.per_peer.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                self.per_peer.remove(&from);
            }
        }
        self.stats.tcp_connections.sub(1);
        // A stranger's too: the core may have accepted it with what came last.
        self.closed.push_back(connection.path);
    }
}

impl Connection {
    fn read(&mut self, buffer: &mut [u8], stats: &IoStats, frames: &mut Frames) -> Verdict {
        let len = match self.stream.read(buffer) {
            Ok(0) => return Verdict::Close,
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Verdict::Keep,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Verdict::More,
            Err(_) => return Verdict::Close,
        };
        match self.frames.read(&buffer[..len], |frame| frames.push(frame)) {
            Ok(()) => Verdict::More,
            Err(_) => {
                stats.tcp_framing_errors.add(1);
                Verdict::Close
            }
        }
    }

    /// Appends one whole frame, or nothing when it does not fit.
    fn enqueue(&mut self, datagram: &[u8]) -> bool {
        let wanted = FRAME_HEADER_LEN + datagram.len();
        if self.queue.len() + wanted > limits::TCP_QUEUE_BYTES_MAX {
            return false;
        }
        let Ok(header) = frame_header(datagram.len()) else { return false };
        self.queue.extend(header);
        self.queue.extend(datagram);
        true
    }

    /// Writes what the kernel takes now.
    fn flush(&mut self) -> io::Result<()> {
        while !self.queue.is_empty() {
            match self.stream.write(self.queue.as_slices().0) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => drop(self.queue.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn is_overdue(&self, now: Instant) -> bool {
        match self.stage {
            Stage::Stranger(since) => {
                now.saturating_duration_since(since) >= limits::TCP_STRANGER_MAX
            }
            Stage::Known(answered) => {
                now.saturating_duration_since(answered) >= limits::TCP_UNANSWERED_MAX
            }
        }
    }
}

/// Whom connections are counted for: a host of IPv6 has a whole /64 to connect from.
fn peer_key(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        ip => ip,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::{net::TcpStream as Peer, time::Duration};

    use mio::{Events, Poll};

    use super::*;

    const LISTENER: Token = Token(0);
    const FIRST: usize = 1;

    struct Server {
        tcp: Tcp,
        poll: Poll,
        now: Instant,
        got: Vec<(Path, Vec<u8>)>,
    }

    impl Server {
        fn new(limits: TcpLimits) -> Self {
            let poll = Poll::new().unwrap();
            let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            poll.registry().register(&mut listener, LISTENER, Interest::READABLE).unwrap();
            let stats = Arc::new(IoStats::default());
            let tcp = Tcp::new(listener, limits, FIRST, stats);
            Self { tcp, poll, now: Instant::now(), got: Vec::new() }
        }

        fn roomy() -> Self {
            Self::new(TcpLimits { connections: 8, per_peer: 8 })
        }

        fn peer(&self) -> Peer {
            Peer::connect(self.tcp.listener.local_addr().unwrap()).unwrap()
        }

        /// Runs turns until `done` or a real second has passed.
        fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> bool {
            let start = Instant::now();
            while !done(self) {
                if start.elapsed() > Duration::from_secs(2) {
                    return false;
                }
                self.turn();
            }
            true
        }

        fn turn(&mut self) {
            let mut events = Events::with_capacity(64);
            self.poll.poll(&mut events, Some(Duration::from_millis(2))).unwrap();
            for event in &events {
                match event.token() {
                    LISTENER => self.tcp.on_acceptable(),
                    token => self.tcp.on_ready(token, event.is_readable(), event.is_writable()),
                }
            }
            self.tcp.accept(self.poll.registry(), self.now);
            let mut frames = Frames::default();
            for _ in 0..self.tcp.readable() {
                self.tcp.receive(&mut frames);
                self.got.extend(frames.datagrams().map(|(path, frame)| (path, frame.to_vec())));
            }
            self.tcp.handle_timeout(self.now);
        }

        fn open(&self) -> u64 {
            self.tcp.stats.tcp_connections.value()
        }
    }

    fn frame(bytes: &[u8]) -> Vec<u8> {
        [&frame_header(bytes.len()).unwrap(), bytes].concat()
    }

    #[test]
    fn frames_go_both_ways_and_an_end_is_told() {
        let mut server = Server::roomy();
        let mut peer = server.peer();
        peer.write_all(&[frame(b"one"), frame(b"two")].concat()).unwrap();
        assert!(server.until(|s| s.got.len() == 2));
        assert_eq!(server.got[1].1, b"two");
        let path = server.got[0].0;
        server.tcp.send(path, b"abcde", 2, server.now);
        let mut answer = [0; 11];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"\0\x02ab\0\x02cd\0\x01e");
        drop(peer);
        let mut closed = None;
        assert!(server.until(|s| {
            closed = s.tcp.pop_closed();
            closed.is_some()
        }));
        assert!(closed == Some(path));
        assert_eq!(server.open(), 0);
    }

    #[test]
    fn the_end_of_a_connection_that_was_never_answered_is_told_too() {
        let mut server = Server::roomy();
        let mut peer = server.peer();
        // A check that the core will accept, and broken framing behind it in the same read.
        peer.write_all(&[frame(b"check"), vec![0xff; 3_000]].concat()).unwrap();
        assert!(server.until(|s| s.open() == 0 && !s.got.is_empty()));
        assert!(server.tcp.pop_closed() == Some(server.got[0].0));
        assert!(server.tcp.pop_closed().is_none());
    }

    #[test]
    fn a_name_is_not_reused_by_the_next_connection_of_its_slot() {
        let mut server = Server::roomy();
        let mut first = server.peer();
        first.write_all(&frame(b"1")).unwrap();
        assert!(server.until(|s| s.got.len() == 1));
        drop(first);
        assert!(server.until(|s| s.open() == 0));
        let mut second = server.peer();
        second.write_all(&frame(b"2")).unwrap();
        assert!(server.until(|s| s.got.len() == 2));
        let (old, new) = (server.got[0].0, server.got[1].0);
        assert!(old.carrier != new.carrier);
        server.tcp.send(old, b"stale", 5, server.now);
        server.tcp.send(new, b"fresh", 5, server.now);
        let mut answer = [0; 7];
        second.read_exact(&mut answer).unwrap();
        assert_eq!(&answer[2..], b"fresh");
    }

    #[test]
    fn strangers_that_trickle_bytes_are_cut_off() {
        let mut server = Server::roomy();
        let mut peers: Vec<_> = (0..4).map(|_| server.peer()).collect();
        assert!(server.until(|s| s.open() == 4));
        for _ in 0..4 {
            server.now += Duration::from_secs(1);
            peers.iter_mut().for_each(|peer| peer.write_all(&[0]).unwrap());
            server.turn();
            assert_eq!(server.open(), 4);
        }
        server.now += Duration::from_secs(2);
        assert!(server.until(|s| s.open() == 0));
        assert_eq!(server.tcp.stats.tcp_timeouts.value(), 4);
        assert!(server.tcp.poll_timeout().is_none(), "no timer without connections");
    }

    #[test]
    fn a_peer_that_is_never_answered_is_cut_off_and_one_that_is_stays() {
        let mut server = Server::roomy();
        let (mut junk, mut good) = (server.peer(), server.peer());
        good.write_all(&frame(b"good")).unwrap();
        assert!(server.until(|s| s.got.len() == 1));
        let path = server.got[0].0;
        for second in 0..40 {
            server.now += Duration::from_secs(1);
            let _ = junk.write_all(&frame(b"junk"));
            let _ = good.write_all(&frame(b"good"));
            if second % 5 == 0 {
                server.tcp.send(path, b"answer", 6, server.now);
            }
            server.turn();
        }
        assert!(server.until(|s| s.open() == 1));
        assert_eq!(server.tcp.stats.tcp_timeouts.value(), 1);
        server.tcp.send(path, b"still", 5, server.now);
        let mut bytes = vec![0; 8 * 8 + 7];
        good.read_exact(&mut bytes).unwrap();
        assert!(bytes.ends_with(b"still"));
    }

    #[test]
    fn connections_are_bounded_per_peer_and_closed_ones_make_room() {
        let mut server = Server::new(TcpLimits { connections: 8, per_peer: 3 });
        let peers: Vec<_> = (0..5).map(|_| server.peer()).collect();
        assert!(server.until(|s| s.tcp.stats.tcp_refused.value() == 2));
        assert_eq!(server.open(), 3);
        drop(peers);
        assert!(server.until(|s| s.open() == 0));
        let _again = server.peer();
        assert!(server.until(|s| s.open() == 1));
    }

    #[test]
    fn newcomers_take_the_slots_of_strangers_but_never_of_known_peers() {
        let mut server = Server::new(TcpLimits { connections: 3, per_peer: 100 });
        let mut known = server.peer();
        known.write_all(&frame(b"known")).unwrap();
        assert!(server.until(|s| s.got.len() == 1));
        let path = server.got[0].0;
        server.tcp.send(path, b"answer", 6, server.now);
        let _strangers: Vec<_> = (0..20).map(|_| server.peer()).collect();
        assert!(server.until(|s| s.tcp.stats.tcp_evicted.value() == 18));
        assert_eq!(server.open(), 3);
        let mut late = server.peer();
        late.write_all(&frame(b"late")).unwrap();
        assert!(server.until(|s| s.got.len() == 2), "an honest newcomer is heard");
        let late_path = server.got[1].0;
        server.tcp.send(late_path, b"answer", 6, server.now);
        known.write_all(&frame(b"again")).unwrap();
        assert!(server.until(|s| s.got.len() == 3), "a known peer stays");
    }

    #[test]
    fn a_broken_frame_closes_the_connection() {
        let mut server = Server::roomy();
        let mut peer = server.peer();
        peer.write_all(&[frame(b"good"), vec![0xff, 0xff, 0]].concat()).unwrap();
        assert!(server.until(|s| s.tcp.stats.tcp_framing_errors.value() == 1));
        assert_eq!((server.got.len(), server.open()), (1, 0));
    }

    #[test]
    fn a_peer_that_does_not_read_loses_whole_frames_and_memory_stays_bounded() {
        let mut server = Server::roomy();
        let mut peer = server.peer();
        peer.write_all(&frame(b"hi")).unwrap();
        assert!(server.until(|s| s.got.len() == 1));
        let path = server.got[0].0;
        let run = [9u8; 10 * 1200];
        while server.tcp.stats.tcp_frames_dropped.value() < 1000 {
            server.tcp.send(path, &run, 1200, server.now);
        }
        let queued = server.tcp.slots[0].as_ref().unwrap().queue.capacity();
        assert!(queued <= 2 * limits::TCP_QUEUE_BYTES_MAX);
        // What does arrive is whole frames.
        peer.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let (mut reader, mut frames, mut buffer) = (FrameReader::new(), 0, vec![0; 65536]);
        while let Ok(len @ 1..) = peer.read(&mut buffer) {
            reader
                .read(&buffer[..len], |f| {
                    assert!(f.len() == 1200 && f.iter().all(|b| *b == 9));
                    frames += 1;
                })
                .unwrap();
            server.turn();
        }
        assert!(frames > 100 && !reader.is_inside_frame());
    }
}
