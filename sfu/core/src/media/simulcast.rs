//! Which layer of a track that is sent in several sizes (RFC 8853) is forwarded: the highest that is
//! alive. Down at once, up on a key frame.
//!
//! ```text
//!             the forwarded layer is silent while another goes on
//!  forwarded ─────────────────────────────────────────────────────▶ ask the best other layer
//!      ▲      a higher layer arrives, a while after the last change    for a key frame
//!      └──────────────── its key frame begins: it is forwarded ───────────────┘
//! ```
//! A layer is named by its rank: its place in the negotiated list, by convention from the lowest to
//! the highest. Payloads are opaque, so a key frame is known by its dependency descriptor. Where a
//! packet has none, the first frame counts that can be an answer to a request: at worst receivers
//! see its predecessor a moment longer, and the key frame follows.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use sfu_proto::limits::SIMULCAST_LAYERS_MAX;

use crate::{
    limits::{LAYER_ANSWER_MAX, LAYER_ATTEMPT_INTERVAL, LAYER_SILENCE_MAX, LAYER_UP_MIN},
    media::{layer::Layer, stream::Stream},
};

/// What a packet's header says about the frame that it may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// It is within a frame.
    Nothing,
    /// A frame that is no key frame.
    Delta,
    /// A frame of which nothing says what it is.
    Unknown,
    /// A key frame.
    Key,
}

impl Begins {
    /// Reads the three mandatory bytes of a dependency descriptor and the flag behind them (AV1 RTP
    /// payload format 1.0, section A.8.2): the first packet of a key frame has a template structure.
    /// Without a descriptor, `is_first` says whether the packet's timestamp is a new one.
    pub fn read(descriptor: Option<&[u8]>, is_first: bool) -> Self {
        match descriptor {
            None if is_first => Self::Unknown,
            None => Self::Nothing,
            Some(descriptor) => {
                let has_flag = |at: usize| descriptor.get(at).is_some_and(|byte| byte & 0x80 != 0);
                match (has_flag(0), has_flag(3)) {
                    (true, true) => Self::Key,
                    (true, false) => Self::Delta,
                    (false, _) => Self::Nothing,
                }
            }
        }
    }
}

/// What is to be done about a packet of a layer that is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Nothing.
    Stay,
    /// Ask the layer for a key frame.
    Ask,
    /// Forward the layer from this packet on.
    Switch,
}

/// An attempt to come to the key frame of a layer.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    rank: u8,
    since: Instant,
}

/// The layers of one track.
pub struct Simulcast {
    /// Rank of the forwarded layer.
    chosen: u8,
    /// By rank. The place of the forwarded layer holds a blank one: its stream is the track's.
    streams: ArrayVec<Stream, SIMULCAST_LAYERS_MAX>,
    attempt: Option<Attempt>,
    /// When the forwarded layer counts as silent; set while only others arrive.
    silent_at: Option<Instant>,
    /// When the next change upward may be.
    up_at: Option<Instant>,
}

impl Simulcast {
    /// So many layers. The lowest is forwarded first, as it arrives first over any path; if another
    /// is sooner, that one takes over.
    pub fn new(layers: usize) -> Self {
        let streams = (0..layers).map(|_| Stream::default()).take(SIMULCAST_LAYERS_MAX).collect();
        Self { chosen: 0, streams, attempt: None, silent_at: None, up_at: None }
    }

    /// How many layers there are.
    pub fn layers(&self) -> usize {
        self.streams.len()
    }

    /// Rank of the forwarded layer.
    pub fn chosen(&self) -> u8 {
        self.chosen
    }

    /// A stream that is not forwarded.
    pub fn stream_mut(&mut self, rank: u8) -> Option<&mut Stream> {
        self.streams.get_mut(usize::from(rank))
    }

    /// The streams that are not forwarded, and a blank one.
    pub fn streams_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.streams.iter_mut()
    }

    /// A packet of the forwarded layer arrived: nothing below it is wanted.
    pub fn on_forwarded(&mut self) {
        self.silent_at = None;
        if self.attempt.is_some_and(|attempt| attempt.rank < self.chosen) {
            self.give_up();
        }
    }

    /// A media packet of another layer arrived. `forwarded` is the stream of the forwarded one.
    pub fn on_other(
        &mut self,
        rank: u8,
        begins: Begins,
        forwarded: &Stream,
        rtt: Duration,
        now: Instant,
    ) -> Move {
        let silent_at = *self.silent_at.get_or_insert(now + LAYER_SILENCE_MAX);
        let up_at = *self.up_at.get_or_insert(now + LAYER_UP_MIN);
        let is_silent = !forwarded.has_begun() || now >= silent_at;
        let is_up = rank > self.chosen && now >= up_at;
        if !is_silent && !is_up || self.has_better(rank, now) {
            return Move::Stay;
        }
        if self.is_start(rank, begins, is_silent, rtt, now) {
            return Move::Switch;
        }
        match self.attempt {
            Some(attempt)
                if attempt.rank == rank && now < attempt.since + LAYER_ATTEMPT_INTERVAL =>
            {
                Move::Stay
            }
            _ => {
                self.give_up();
                self.attempt = Some(Attempt { rank, since: now });
                Move::Ask
            }
        }
    }

    /// Forwards another layer.
    pub fn switch(&mut self, rank: u8, layer: &mut Layer, now: Instant) {
        self.give_up();
        layer.stream.key_frames.withdraw();
        for place in [self.chosen, rank] {
            if let Some(stream) = self.streams.get_mut(usize::from(place)) {
                std::mem::swap(stream, &mut layer.stream);
            }
        }
        layer.restart();
        self.chosen = rank;
        self.silent_at = None;
        self.up_at = Some(now + LAYER_UP_MIN);
    }

    /// Whether another layer above this one is alive and could be forwarded instead.
    fn has_better(&self, rank: u8, now: Instant) -> bool {
        // The forwarded one is not among them: the stream in its place is blank.
        let mut above = self.streams.iter().skip(usize::from(rank) + 1);
        above.any(|stream| stream.is_active(LAYER_SILENCE_MAX, now))
    }

    /// Whether the layer may be forwarded from this packet on. `is_silent`: the forwarded one must be
    /// replaced, in the end without a key frame.
    fn is_start(
        &self,
        rank: u8,
        begins: Begins,
        is_silent: bool,
        rtt: Duration,
        now: Instant,
    ) -> bool {
        let asked = self.attempt.filter(|attempt| attempt.rank == rank);
        let waited = asked.map(|attempt| now.saturating_duration_since(attempt.since));
        let is_overdue = is_silent && waited.is_some_and(|time| time >= LAYER_ANSWER_MAX);
        let is_first =
            self.streams.get(usize::from(rank)).is_some_and(|stream| !stream.has_begun());
        match begins {
            Begins::Nothing => false,
            Begins::Key => true,
            // A stream begins with a key frame.
            Begins::Unknown => is_first || is_overdue || waited.is_some_and(|time| time >= rtt),
            Begins::Delta => is_overdue,
        }
    }

    fn give_up(&mut self) {
        let Some(attempt) = self.attempt.take() else { return };
        if let Some(stream) = self.stream_mut(attempt.rank) {
            stream.key_frames.withdraw();
        }
    }
}

#[cfg(test)]
mod tests {
    use sfu_proto::unit::{RtpTimestamp, SeqNo};

    use super::*;

    const RTT: Duration = Duration::from_millis(100);
    const FRAME: Duration = Duration::from_millis(33);

    /// Three layers of 30 frames a second, some of them silent, as the shard would see them.
    struct Call {
        simulcast: Simulcast,
        layer: Layer,
        now: Instant,
        frames: u64,
        /// Layers that will begin their next frame with a key frame.
        keys: [bool; 3],
        /// Layers that were asked for one, and when.
        asked: Vec<(u8, Instant)>,
        switched: Vec<(u8, Instant)>,
        has_descriptors: bool,
    }

    impl Call {
        fn new() -> Self {
            Self {
                simulcast: Simulcast::new(3),
                layer: Layer::new(crate::slab::Slab::new(1).reserve(1).into_iter().flatten()),
                now: Instant::now(),
                frames: 0,
                keys: [true; 3],
                asked: Vec::new(),
                switched: Vec::new(),
                has_descriptors: true,
            }
        }

        fn frame(&mut self, live: [bool; 3]) {
            self.now += FRAME;
            self.frames += 1;
            for rank in (0..3).filter(|rank| live[usize::from(*rank)]) {
                self.packet(rank);
            }
        }

        fn packet(&mut self, rank: u8) {
            let (at, simulcast) = (usize::from(rank), &mut self.simulcast);
            let begins = match (self.has_descriptors, std::mem::take(&mut self.keys[at])) {
                (false, _) => Begins::Unknown,
                (true, true) => Begins::Key,
                (true, false) => Begins::Delta,
            };
            if rank == simulcast.chosen() {
                simulcast.on_forwarded();
            } else {
                match simulcast.on_other(rank, begins, &self.layer.stream, RTT, self.now) {
                    Move::Stay => {}
                    Move::Ask => self.asked.push((rank, self.now)),
                    Move::Switch => {
                        simulcast.switch(rank, &mut self.layer, self.now);
                        self.switched.push((rank, self.now));
                    }
                }
            }
            let stream = if rank == self.simulcast.chosen() {
                &mut self.layer.stream
            } else {
                &mut self.simulcast.streams[at]
            };
            let (seq, timestamp) = (SeqNo(self.frames), RtpTimestamp(self.frames as u32 * 3_000));
            stream.reception.on_packet(seq, timestamp, 90_000, self.now);
        }

        /// Frames for a time; requests are answered with the next frame.
        fn run(&mut self, time: Duration, live: [bool; 3]) {
            let end = self.now + time;
            while self.now < end {
                let asked = self.asked.len();
                self.frame(live);
                for (rank, _) in &self.asked[asked..] {
                    self.keys[usize::from(*rank)] = true;
                }
            }
        }
    }

    const SECONDS: Duration = Duration::from_secs(3);

    #[test]
    fn the_first_that_arrives_is_forwarded_then_the_highest() {
        let mut call = Call::new();
        call.frame([false, true, false]);
        assert_eq!(call.simulcast.chosen(), 1);
        call.run(SECONDS, [true; 3]);
        assert_eq!(call.simulcast.chosen(), 2);
        assert_eq!(call.switched.len(), 2);
        assert!(call.switched[1].1 - call.switched[0].1 >= LAYER_UP_MIN);
    }

    #[test]
    fn down_to_the_next_live_layer_soon_and_up_again() {
        let mut call = Call::new();
        call.run(SECONDS, [true; 3]);
        assert_eq!((call.simulcast.chosen(), call.asked.len()), (2, 1));
        let stopped = call.now;
        call.run(SECONDS, [true, true, false]);
        let (rank, at) = call.switched[call.switched.len() - 1];
        assert_eq!(rank, 1, "not to the lowest");
        assert!(at - stopped <= LAYER_SILENCE_MAX + 4 * FRAME);
        call.run(SECONDS, [true, false, false]);
        assert_eq!(call.simulcast.chosen(), 0);
        call.run(SECONDS, [true; 3]);
        assert_eq!(call.simulcast.chosen(), 2);
    }

    #[test]
    fn a_short_silence_and_one_of_all_layers_change_nothing() {
        let mut call = Call::new();
        call.run(SECONDS, [true; 3]);
        let before = (call.switched.len(), call.asked.len());
        call.run(LAYER_SILENCE_MAX - FRAME, [true, true, false]);
        call.frame([true; 3]);
        // A still screen sends a frame now and then.
        for _ in 0..10 {
            call.now += Duration::from_secs(1);
            call.frame([true; 3]);
        }
        assert_eq!((call.switched.len(), call.asked.len()), before);
    }

    #[test]
    fn a_layer_that_comes_back_in_time_is_kept() {
        let mut call = Call::new();
        call.run(SECONDS, [true; 3]);
        let switched = call.switched.len();
        while call.asked.len() < 2 {
            call.frame([true, true, false]);
        }
        call.frame([true; 3]);
        call.keys[1] = true;
        call.run(SECONDS, [true; 3]);
        assert_eq!((call.simulcast.chosen(), call.switched.len()), (2, switched));
    }

    #[test]
    fn a_layer_that_flaps_costs_a_change_a_second_at_most() {
        let mut call = Call::new();
        let start = call.now;
        for n in 0..600 {
            call.run(FRAME, [true, true, n / 12 % 2 == 0]);
            call.keys = [true; 3];
        }
        let seconds = (call.now - start).as_secs() as usize;
        assert!(call.switched.len() <= 2 * seconds + 2, "{} in {seconds} s", call.switched.len());
        assert!(call.asked.len() <= 2 * seconds + 2, "{} in {seconds} s", call.asked.len());
    }

    #[test]
    fn without_descriptors_the_first_frame_after_a_round_trip_counts() {
        let mut call = Call { has_descriptors: false, ..Call::new() };
        call.run(SECONDS, [true; 3]);
        assert_eq!(call.simulcast.chosen(), 2);
        call.run(SECONDS, [true, true, false]);
        let asked = call.asked[call.asked.len() - 1];
        let switched = call.switched[call.switched.len() - 1];
        assert_eq!((asked.0, switched.0), (1, 1));
        assert!((RTT..=RTT + FRAME).contains(&(switched.1 - asked.1)));
    }

    #[test]
    fn a_layer_that_never_sends_a_key_frame_replaces_a_dead_one_only() {
        let mut call = Call::new();
        call.run(SECONDS, [true, true, false]);
        assert_eq!(call.simulcast.chosen(), 1);
        call.keys = [false; 3];
        // Nobody answers.
        for _ in 0..300 {
            call.frame([true; 3]);
        }
        assert_eq!(call.simulcast.chosen(), 1);
        assert!((2..=3).contains(&call.asked.iter().filter(|(rank, _)| *rank == 2).count()));
        let stopped = call.now;
        for _ in 0..150 {
            call.frame([true, false, false]);
        }
        let (rank, at) = call.switched[call.switched.len() - 1];
        assert_eq!(rank, 0);
        assert!(at - stopped >= LAYER_ANSWER_MAX);
    }

    #[test]
    fn a_descriptor_tells_what_a_packet_begins() {
        let read = |bytes: &[u8]| Begins::read(Some(bytes), true);
        assert_eq!(read(&[0x80, 0, 1, 0x80]), Begins::Key);
        assert_eq!(read(&[0x80, 0, 1]), Begins::Delta);
        assert_eq!(read(&[0x40, 0, 1, 0x80]), Begins::Nothing);
        assert_eq!(read(&[]), Begins::Nothing);
        assert_eq!(Begins::read(None, true), Begins::Unknown);
        assert_eq!(Begins::read(None, false), Begins::Nothing);
    }
}
