//! A session with everything that it owns.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use rand::{Rng, RngExt, rngs::StdRng};
use sfu_proto::{
    control::Permissions,
    id::{ParticipantId, SessionId, TrackId},
    sdp::{Fingerprint, IceCredentials, Mid, Rid},
};

use crate::{
    congestion::{feedback::Arrivals, loss::FeedbackGate},
    event::Event,
    limits::{RTT_DEFAULT, SSRCS_PER_SESSION_MAX},
    media::resend::Budget,
    path::Path,
    router::{
        audience::Audience,
        room::Room,
        subscription::{ExtensionIds, Slot},
        track::{Formats, Track},
    },
    table::Key,
    transport::session::Session,
};

/// What an m-section is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Port 0: may be recycled under another MID.
    Refused,
    /// Neither direction.
    Inactive,
    /// Receives a track.
    Track(Key<Track>),
    /// Sends from the slot with this number.
    Slot(u16),
}

/// One m-section as it was last negotiated.
pub(crate) struct Section {
    pub(crate) mid: Mid,
    pub(crate) role: Role,
    /// The slot that belongs to this place in the list; kept while the section is used otherwise,
    /// since its SSRC has used up packet numbers.
    pub(crate) slot: Option<u16>,
    pub(crate) formats: Formats,
    /// SSRCs that the client declared, with their retransmission SSRCs.
    pub(crate) declared: ArrayVec<(u32, Option<u32>), 4>,
    /// RIDs of the layers of a track, by rank; empty without simulcast.
    pub(crate) rids: Vec<Rid>,
}

impl Section {
    /// The rank of the layer that a RID names. Without simulcast a track has one layer, whatever a
    /// packet calls it.
    pub(crate) fn rank(&self, rid: Option<&[u8]>) -> Option<u8> {
        if self.rids.is_empty() {
            return Some(0);
        }
        let at = self.rids.iter().position(|known| Some(known.as_bytes()) == rid)?;
        u8::try_from(at).ok()
    }
}

/// What an SSRC of the peer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    /// A track's media.
    Media,
    /// Its retransmissions.
    Rtx,
    /// Once its media; another SSRC took over.
    Retired,
}

/// An SSRC and its track and layer. Made only from authenticated packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) ssrc: u32,
    pub(crate) carries: Carries,
    pub(crate) track: Key<Track>,
    /// Rank of the layer; 0 without simulcast.
    pub(crate) rank: u8,
}

/// When a session needs attention, by reason.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Deadlines {
    /// ICE consent, DTLS.
    pub(crate) transport: Option<Instant>,
    /// Transport-wide feedback to the peer.
    pub(crate) feedback: Option<Instant>,
    /// Sender and receiver reports.
    pub(crate) report: Option<Instant>,
    /// Requests for missing packets.
    pub(crate) nack: Option<Instant>,
    /// Key frame requests to the peer.
    pub(crate) key_frame: Option<Instant>,
    /// Telling signaling how many tracks wait.
    pub(crate) slots: Option<Instant>,
    /// Telling signaling how many bytes were moved.
    pub(crate) traffic: Option<Instant>,
}

impl Deadlines {
    pub(crate) fn next(&self) -> Option<Instant> {
        let media = [self.feedback, self.report, self.nack, self.key_frame];
        let others = [self.transport, self.slots, self.traffic];
        media.into_iter().chain(others).flatten().min()
    }
}

/// Bytes of media since signaling was told.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Traffic {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

impl Traffic {
    /// What to tell, if there is anything; counting begins anew.
    pub(crate) fn take(&mut self, session: SessionId) -> Option<Event> {
        let Self { received, sent } = std::mem::take(self);
        (received + sent > 0).then_some(Event::Traffic { session, received, sent })
    }
}

/// One session.
pub struct Peer {
    pub(crate) id: SessionId,
    pub(crate) room: Key<Room>,
    pub(crate) participant: ParticipantId,
    pub(crate) permissions: Permissions,
    pub(crate) transport: Session,
    pub(crate) connected: bool,
    pub(crate) local: IceCredentials,
    pub(crate) remote: Option<(IceCredentials, Fingerprint)>,
    pub(crate) ufrags: Vec<String>,
    pub(crate) paths: Vec<Path>,
    pub(crate) sections: Vec<Section>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) tracks: Vec<Key<Track>>,
    pub(crate) bindings: ArrayVec<Binding, SSRCS_PER_SESSION_MAX>,
    /// Extension ids of received packets: one set per session, as bundling demands (RFC 8843
    /// section 9.2: an id means the same in every bundled section).
    pub(crate) ids: ExtensionIds,
    pub(crate) arrivals: Arrivals,
    /// Which of its feedback is read.
    pub(crate) feedback_gate: FeedbackGate,
    /// Our wall clock less the peer's, in NTP format, wrapping; from its sender reports.
    pub(crate) clock_offset: Option<u64>,
    pub(crate) transport_seq: u16,
    /// Sender SSRC of feedback.
    pub(crate) feedback_ssrc: u32,
    /// Random canonical name (RFC 7022).
    pub(crate) cname: String,
    pub(crate) budget: Budget,
    pub(crate) rtt: Duration,
    pub(crate) deadlines: Deadlines,
    pub(crate) want: Vec<TrackId>,
    /// Whose tracks it may be given.
    pub(crate) audience: Audience,
    pub(crate) traffic: Traffic,
    pub(crate) slots_version: u64,
    /// Tracks without a slot: audio, video.
    pub(crate) waiting: (u32, u32),
    /// What signaling knows of `waiting`; `None` when it may know nothing.
    pub(crate) waiting_told: Option<(u32, u32)>,
    /// When it was last told of its slots.
    pub(crate) slots_told_at: Option<Instant>,
    /// Whether the slots must be announced, also if no track moves.
    pub(crate) announce_slots: bool,
    /// Whether the session is in the list of those with something to send.
    pub(crate) talkative: bool,
}

/// What a new session is told.
pub(crate) struct Admission {
    pub(crate) id: SessionId,
    pub(crate) room: Key<Room>,
    pub(crate) participant: ParticipantId,
    pub(crate) permissions: Permissions,
}

impl Peer {
    pub(crate) fn new(
        admission: Admission,
        transport: Session,
        local: IceCredentials,
        rng: &mut StdRng,
        now: Instant,
    ) -> Self {
        Self {
            id: admission.id,
            room: admission.room,
            participant: admission.participant,
            permissions: admission.permissions,
            transport,
            connected: false,
            local,
            remote: None,
            ufrags: Vec::new(),
            paths: Vec::new(),
            sections: Vec::new(),
            slots: Vec::new(),
            tracks: Vec::new(),
            bindings: ArrayVec::new(),
            ids: ExtensionIds::default(),
            arrivals: Arrivals::new(now),
            feedback_gate: FeedbackGate::default(),
            clock_offset: None,
            transport_seq: rng.next_u32() as u16 & 0x7fff,
            feedback_ssrc: rng.next_u32(),
            cname: random_text(rng, 16),
            budget: Budget::new(now),
            rtt: RTT_DEFAULT,
            deadlines: Deadlines::default(),
            want: Vec::new(),
            audience: Audience::default(),
            traffic: Traffic::default(),
            slots_version: 0,
            waiting: (0, 0),
            waiting_told: Some((0, 0)),
            slots_told_at: None,
            announce_slots: false,
            talkative: false,
        }
    }

    /// Whether it may be given tracks of a participant: never its own. Asked when slots are
    /// allocated, not for each packet.
    pub(crate) fn may_get(&self, participant: ParticipantId) -> bool {
        participant != self.participant && self.audience.includes(participant)
    }

    /// The slot that sends with this SSRC.
    pub(crate) fn slot_by_ssrc(&mut self, ssrc: u32) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.open && slot.ssrc == ssrc)
    }

    /// Makes way for another SSRC of the same layer. Retransmissions repeat one stream only, so
    /// they retire with it.
    pub(crate) fn retire(&mut self, successor: &Binding) {
        self.bindings.retain(|old| old.ssrc != successor.ssrc);
        for old in &mut self.bindings {
            if (old.track, old.rank) == (successor.track, successor.rank)
                && (successor.carries == Carries::Media || old.carries == successor.carries)
            {
                old.carries = Carries::Retired;
            }
        }
    }

    /// A track is gone: its section stays, without use.
    pub(crate) fn on_track_ended(&mut self, track: Key<Track>) {
        for section in &mut self.sections {
            if section.role == Role::Track(track) {
                section.role = Role::Inactive;
            }
        }
    }

    /// Takes a measured round trip into the estimate (RFC 6298's weights).
    pub(crate) fn on_rtt(&mut self, sample: Duration) {
        let sample = sample.min(crate::limits::RTT_MAX);
        self.rtt = (self.rtt * 7 + sample) / 8;
    }

    /// An SSRC that the session does not send with yet.
    pub(crate) fn fresh_ssrc(&self, rng: &mut StdRng) -> u32 {
        loop {
            let ssrc = rng.next_u32();
            let taken = |slot: &Slot| slot.ssrc == ssrc || slot.rtx_ssrc == ssrc;
            if ssrc != 0 && ssrc != self.feedback_ssrc && !self.slots.iter().any(taken) {
                return ssrc;
            }
        }
    }
}

/// Random letters and digits: valid in ICE credentials, CNAMEs and msids; 5.95 bits each.
pub(crate) fn random_text(rng: &mut StdRng, len: usize) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..len).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

/// Fresh ICE credentials: 95 and 190 bits (RFC 8445 section 5.3 asks for 24 and 128).
pub(crate) fn random_credentials(rng: &mut StdRng) -> IceCredentials {
    IceCredentials { ufrag: random_text(rng, 16), pwd: random_text(rng, 32) }
}
