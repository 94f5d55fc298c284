//! The DTLS side of one session: several engines until one has completed with the right
//! certificate, then that one.
//!
//! A validated 5-tuple can be spoofed, and before the handshake is complete nothing tells a forged
//! datagram from the client's. So: an engine that fails is replaced, and ClientHellos with
//! different randoms get engines of their own. A forger can waste engines, of which there is a
//! bounded number that grows back, and take places, which newcomers take from whoever said nothing
//! more for a while; but it cannot end the session.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use arrayvec::ArrayVec;
use sfu_proto::sdp::Fingerprint;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    Identity,
    dimpl_engine::DimplEngine,
    engine::{Engine, EngineError, Output},
    record::{self, HelloFragment, RANDOM_LEN},
};
use crate::transport::{
    limits::{
        DTLS_ATTEMPT_REFILL, DTLS_ATTEMPTS_MAX, DTLS_RIVAL_QUIET_MAX, DTLS_RIVALS_MAX,
        DTLS_STRAYS_MAX,
    },
    session::Drop,
    srtp::Profile,
};

/// What the session must act on. No `Debug`: keys.
pub(in crate::transport) enum ServerEvent {
    /// To be sent on the session's path.
    Datagram(Vec<u8>),
    /// The handshake is complete, the certificate is the expected one: keys may be used.
    Established(Profile, Zeroizing<Vec<u8>>),
    /// The handshake is complete, but with the wrong certificate or without SRTP.
    Refused,
    /// The peer closed, authenticated.
    Closed,
}

/// See the module's header.
pub(in crate::transport) struct Server {
    identity: Arc<Identity>,
    phase: Phase,
    events: VecDeque<ServerEvent>,
}

enum Phase {
    Handshaking(Box<Handshaking>),
    /// The engine is only good for close_notify now; if it fails, media goes on without it.
    Established(Option<Box<dyn Engine>>),
    Over,
}

/// Datagrams with a later fragment of a ClientHello, each with the ClientHello's length.
type Strays = ArrayVec<([u8; 3], Vec<u8>), DTLS_STRAYS_MAX>;

/// Not yet established.
#[derive(Default)]
struct Handshaking {
    rivals: ArrayVec<Rival, DTLS_RIVALS_MAX>,
    /// Engines used up, less those that time gave back.
    attempts: u32,
    /// Until when time has given back.
    refilled: Option<Instant>,
    /// They overtook their first fragment.
    strays: Strays,
}

/// One handshake that may or may not be the client's.
struct Rival {
    /// Of its ClientHello.
    random: [u8; RANDOM_LEN],
    /// Of its latest ClientHello; fragments of other lengths are not its own.
    hello_len: [u8; 3],
    /// Number of the latest ClientHello that was not a repetition.
    hello_number: u16,
    /// When that came.
    hello_at: Instant,
    engine: Box<dyn Engine>,
    certificate: Option<Fingerprint>,
    keys: Option<(Profile, Zeroizing<Vec<u8>>)>,
    is_connected: bool,
}

impl Server {
    pub(in crate::transport) fn new(identity: Arc<Identity>) -> Self {
        let phase = Phase::Handshaking(Box::default());
        Self { identity, phase, events: VecDeque::new() }
    }

    /// A datagram from a validated path. `expected` is the certificate in the client's offer.
    pub(in crate::transport) fn handle_datagram(
        &mut self,
        datagram: &[u8],
        expected: &Fingerprint,
        now: Instant,
    ) -> Result<(), Drop> {
        let datagram = record::without_forgeries(datagram);
        if datagram.is_empty() {
            return Err(Drop::Dtls);
        }
        match &mut self.phase {
            Phase::Handshaking(_) => self.handle_handshake(&datagram, expected, now),
            Phase::Established(engine) => {
                let Some(running) = engine else { return Err(Drop::Dtls) };
                let result = running.handle_datagram(&datagram, now);
                self.after_established(result)
            }
            Phase::Over => Err(Drop::Dtls),
        }
    }

    pub(in crate::transport) fn handle_timeout(&mut self, expected: &Fingerprint, now: Instant) {
        match &mut self.phase {
            Phase::Handshaking(handshaking) => {
                for at in (0..handshaking.rivals.len()).rev() {
                    self.drive(at, expected, |engine| engine.handle_timeout(now));
                }
            }
            Phase::Established(Some(engine)) => {
                let result = engine.handle_timeout(now);
                // The time-out of a key update or such: not the peer's word, so not an end.
                let _ = self.after_established(result);
            }
            Phase::Established(None) | Phase::Over => {}
        }
    }

    pub(in crate::transport) fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Handshaking(handshaking) => {
                handshaking.rivals.iter().filter_map(|rival| rival.engine.poll_timeout()).min()
            }
            Phase::Established(Some(engine)) => engine.poll_timeout(),
            Phase::Established(None) | Phase::Over => None,
        }
    }

    pub(in crate::transport) fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    /// Queues close_notify if established; nothing is accepted any more.
    pub(in crate::transport) fn close(&mut self) {
        if let Phase::Established(Some(engine)) = &mut self.phase {
            engine.close();
            while let Some(output) = engine.poll() {
                if let Output::Datagram(bytes) = output {
                    self.events.push_back(ServerEvent::Datagram(bytes));
                }
            }
        }
        self.phase = Phase::Over;
    }

    /// A ClientHello goes to the handshake that it belongs to, anything else to all of them: wrong
    /// ones fail or ignore it.
    fn handle_handshake(
        &mut self,
        datagram: &[u8],
        expected: &Fingerprint,
        now: Instant,
    ) -> Result<(), Drop> {
        let fragment = record::hello_fragment(datagram);
        let mut overtaken = ArrayVec::new();
        if let Some(fragment) = &fragment {
            overtaken = self.admit(fragment, datagram, expected, now)?;
        }
        let mut is_accepted = false;
        for at in (0..self.rivals()).rev() {
            let Phase::Handshaking(handshaking) = &self.phase else { break };
            if fragment.is_some_and(|fragment| !handshaking.rivals[at].owns(&fragment)) {
                continue;
            }
            is_accepted |= self.drive(at, expected, |engine| {
                engine.handle_datagram(datagram, now)?;
                overtaken.drain(..).try_for_each(|(_, stray)| engine.handle_datagram(&stray, now))
            });
        }
        if is_accepted { Ok(()) } else { Err(Drop::Dtls) }
    }

    fn rivals(&self) -> usize {
        match &self.phase {
            Phase::Handshaking(handshaking) => handshaking.rivals.len(),
            Phase::Established(_) | Phase::Over => 0,
        }
    }

    /// Makes sure that there is a handshake for this ClientHello, and returns its fragments that
    /// came earlier. A later fragment without a first one is kept for then.
    fn admit(
        &mut self,
        fragment: &HelloFragment,
        datagram: &[u8],
        expected: &Fingerprint,
        now: Instant,
    ) -> Result<Strays, Drop> {
        let mut overtaken = ArrayVec::new();
        let Phase::Handshaking(handshaking) = &mut self.phase else { return Ok(overtaken) };
        let Some(random) = fragment.random else {
            if !handshaking.rivals.iter().any(|rival| rival.owns(fragment)) {
                handshaking.keep(fragment.hello_len, datagram);
            }
            return Ok(overtaken);
        };
        let hello_len = fragment.hello_len;
        if let Some(known) = handshaking.rivals.iter_mut().find(|rival| rival.random == random) {
            known.hello_len = hello_len;
            // Repeating a ClientHello is no progress, so it does not hold the place.
            if fragment.number > known.hello_number {
                (known.hello_number, known.hello_at) = (fragment.number, now);
            }
            return Ok(overtaken);
        }
        handshaking.refill(now);
        if handshaking.attempts >= DTLS_ATTEMPTS_MAX || !handshaking.make_room(expected, now) {
            return Err(Drop::Limit);
        }
        let engine = Box::new(DimplEngine::new(&self.identity, now).map_err(|_| Drop::Dtls)?);
        handshaking.attempts += 1;
        handshaking.rivals.push(Rival::new(random, (fragment, now), engine));
        overtaken =
            handshaking.strays.iter().filter(|stray| stray.0 == hello_len).cloned().collect();
        handshaking.strays.retain(|stray| stray.0 != hello_len);
        Ok(overtaken)
    }

    /// Lets one handshake act, drops it if it failed, and concludes if it is complete. Whether it
    /// took the input.
    fn drive(
        &mut self,
        at: usize,
        expected: &Fingerprint,
        act: impl FnOnce(&mut dyn Engine) -> Result<(), EngineError>,
    ) -> bool {
        let Phase::Handshaking(handshaking) = &mut self.phase else { return false };
        let rivals = &mut handshaking.rivals;
        let rival = &mut rivals[at];
        match act(&mut *rival.engine) {
            Ok(()) => {}
            Err(EngineError::QueueFull) => return false,
            Err(EngineError::Alert | EngineError::Failed) => {
                rivals.remove(at);
                return false;
            }
        }
        rival.drain(&mut self.events);
        if rival.is_connected {
            let winner = rivals.remove(at);
            self.conclude(winner, expected);
        }
        true
    }

    /// The peer has proven that it owns its certificate; only now is a mismatch its own doing.
    fn conclude(&mut self, winner: Rival, expected: &Fingerprint) {
        let is_expected = winner
            .certificate
            .is_some_and(|certificate| bool::from(certificate.0.ct_eq(&expected.0)));
        match winner.keys {
            Some((profile, keys)) if is_expected => {
                self.phase = Phase::Established(Some(winner.engine));
                self.events.push_back(ServerEvent::Established(profile, keys));
            }
            Some(_) | None => {
                self.phase = Phase::Over;
                self.events.push_back(ServerEvent::Refused);
            }
        }
    }

    /// Outputs and errors of the established engine. A fatal alert is authenticated here, as plain
    /// ones are cut out; any other failure costs the engine only.
    fn after_established(&mut self, result: Result<(), EngineError>) -> Result<(), Drop> {
        let Phase::Established(slot) = &mut self.phase else { return Err(Drop::Dtls) };
        let mut is_closed = result == Err(EngineError::Alert);
        if let (Ok(()), Some(engine)) = (result, &mut *slot) {
            while let Some(output) = engine.poll() {
                match output {
                    Output::Datagram(bytes) => {
                        self.events.push_back(ServerEvent::Datagram(bytes));
                    }
                    Output::Closed => is_closed = true,
                    Output::PeerCertificate(_) | Output::Keys(..) | Output::Connected => {}
                }
            }
        }
        if result.is_err_and(|error| error != EngineError::QueueFull) {
            *slot = None;
        }
        if is_closed {
            self.phase = Phase::Over;
            self.events.push_back(ServerEvent::Closed);
        }
        result.map_err(|_| Drop::Dtls)
    }
}

impl Handshaking {
    /// Gives back attempts for the time that has passed.
    fn refill(&mut self, now: Instant) {
        let since = *self.refilled.get_or_insert(now);
        let passed = now.saturating_duration_since(since).as_nanos();
        let given = (passed / DTLS_ATTEMPT_REFILL.as_nanos()).min(u128::from(DTLS_ATTEMPTS_MAX));
        if given > 0 {
            self.attempts = self.attempts.saturating_sub(given as u32);
            self.refilled = Some(now);
        }
    }

    /// Whether there is a place for another handshake. If need be, the oldest one goes that has
    /// shown nothing but its ClientHello for a while.
    fn make_room(&mut self, expected: &Fingerprint, now: Instant) -> bool {
        if !self.rivals.is_full() {
            return true;
        }
        let is_idle = |rival: &Rival| {
            rival.certificate != Some(*expected)
                && now.saturating_duration_since(rival.hello_at) >= DTLS_RIVAL_QUIET_MAX
        };
        // In order of arrival.
        let idle = self.rivals.iter().position(is_idle);
        idle.map(|at| self.rivals.remove(at)).is_some()
    }

    /// Keeps an early fragment; the oldest makes room.
    fn keep(&mut self, hello_len: [u8; 3], datagram: &[u8]) {
        if self.strays.is_full() {
            self.strays.remove(0);
        }
        self.strays.push((hello_len, datagram.to_vec()));
    }
}

impl Rival {
    fn new(
        random: [u8; RANDOM_LEN],
        (hello, hello_at): (&HelloFragment, Instant),
        engine: Box<dyn Engine>,
    ) -> Self {
        Self {
            random,
            hello_len: hello.hello_len,
            hello_number: hello.number,
            hello_at,
            engine,
            certificate: None,
            keys: None,
            is_connected: false,
        }
    }

    /// Whether the fragment may be of this handshake's ClientHello.
    fn owns(&self, fragment: &HelloFragment) -> bool {
        match fragment.random {
            Some(random) => self.random == random,
            None => self.hello_len == fragment.hello_len,
        }
    }

    fn drain(&mut self, events: &mut VecDeque<ServerEvent>) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Datagram(bytes) => events.push_back(ServerEvent::Datagram(bytes)),
                Output::PeerCertificate(fingerprint) => self.certificate = Some(fingerprint),
                Output::Keys(profile, keys) => self.keys = Some((profile, keys)),
                Output::Connected => self.is_connected = true,
                Output::Closed => {}
            }
        }
    }
}
