//! ICE lite (RFC 8445 section 2.5): we answer checks, never send any, and are always controlled.
//!
//! A path exists because a binding request with the right user name and MESSAGE-INTEGRITY came
//! from it (peer-reflexive, section 7.3.1.3); the client's candidates are never looked at. Media
//! moves only by USE-CANDIDATE in such a request. Everything that is not authentic is met with
//! silence (SECURITY.md T5). Consent timers live in `consent.rs`.

use std::time::Instant;

use arrayvec::ArrayVec;
use aws_lc_rs::hmac;
use sfu_proto::{
    sdp::IceCredentials,
    stun::{Class, IceRole, Message, MessageWriter, NoRoom},
};
use subtle::ConstantTimeEq;

use super::{
    limits::{GENERATIONS_MAX, NOMINATION_SETTLE, PATH_IDLE_MAX, PATHS_PER_SESSION_MAX},
    session::Drop,
};
use crate::path::Path;

/// "Role Conflict" (RFC 8445 section 7.3.1.1).
const ROLE_CONFLICT: u16 = 487;
/// "Unknown Attribute" (RFC 8489 section 6.3.1).
const UNKNOWN_ATTRIBUTE: u16 = 420;
/// Header, XOR-MAPPED-ADDRESS or error with unknown attributes, integrity, fingerprint: below it.
const RESPONSE_LEN_MAX: usize = 128;

/// The ufrag of ours that a binding request names, to find its session. Authenticates nothing.
pub fn local_ufrag(datagram: &[u8]) -> Option<&str> {
    let message = Message::parse(datagram).ok()?;
    let (local, _) = message.ufrags()?;
    (message.class == Class::Request).then_some(local)
}

/// What an authentic request led to.
pub(super) struct Answer {
    /// To be sent back on the path of the request.
    pub(super) response: Vec<u8>,
    /// Whether the request refreshes consent: it was a good check on the selected path.
    pub(super) consent: bool,
}

/// Credentials of one ICE generation.
struct Generation {
    local: IceCredentials,
    /// Absent until the client's offer is known: then no request can be valid.
    remote: Option<IceCredentials>,
    key: hmac::Key,
}

impl Generation {
    fn new(local: IceCredentials, remote: Option<IceCredentials>) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, local.pwd.as_bytes());
        Self { local, remote, key }
    }

    fn sign(&self, parts: [&[u8]; 2]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(part);
        }
        context.sign()
    }
}

/// The nominated path.
struct Selected {
    path: Path,
    priority: u32,
    nominated: Instant,
}

/// The agent of one session.
pub(super) struct Ice {
    /// Oldest first; the last is current, one before it lives until the last nominates.
    generations: ArrayVec<Generation, GENERATIONS_MAX>,
    /// Validated paths, and beside each its last binding.
    paths: ArrayVec<Path, PATHS_PER_SESSION_MAX>,
    bound: ArrayVec<Instant, PATHS_PER_SESSION_MAX>,
    selected: Option<Selected>,
    changed: bool,
}

impl Ice {
    pub(super) fn new(local: IceCredentials) -> Self {
        let mut generations = ArrayVec::new();
        generations.push(Generation::new(local, None));
        Self {
            generations,
            paths: ArrayVec::new(),
            bound: ArrayVec::new(),
            selected: None,
            changed: false,
        }
    }

    /// Completes the first generation, or begins a new one when either side's credentials changed
    /// (ICE restart, RFC 8445 section 9). The same credentials again change nothing.
    pub(super) fn set_remote(&mut self, local: IceCredentials, remote: IceCredentials) {
        if let Some(current) = self.generations.last()
            && current.local == local
            && current.remote.as_ref() == Some(&remote)
        {
            return;
        }
        // A generation that never heard of the client cannot have validated anything.
        self.generations.retain(|generation| generation.remote.is_some());
        // The first one carries media; a restart that never came to nominate is abandoned.
        if self.generations.is_full() {
            self.generations.pop();
        }
        self.generations.push(Generation::new(local, Some(remote)));
        self.changed = true;
    }

    pub(super) fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        self.generations.iter().map(|generation| generation.local.ufrag.as_str())
    }

    pub(super) fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// Whether paths or ufrags changed since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn selected(&self) -> Option<Path> {
        self.selected.as_ref().map(|selected| selected.path)
    }

    /// Where DTLS goes: the nominated path, before nomination the oldest validated one.
    pub(super) fn handshake_path(&self) -> Option<Path> {
        self.selected().or_else(|| self.paths.first().copied())
    }

    /// A STUN datagram. Changes nothing unless it is an authentic request (RFC 8445 section 7.3).
    pub(super) fn handle(
        &mut self,
        datagram: &[u8],
        path: Path,
        now: Instant,
    ) -> Result<Answer, Drop> {
        let message = Message::parse(datagram).map_err(|_| Drop::MalformedStun)?;
        if message.class != Class::Request {
            return Err(Drop::MalformedStun);
        }
        let at = self.authenticate(&message)?;
        let refusal = refusal(&message);
        let response =
            respond(&self.generations[at], &message, path, refusal).map_err(|_| Drop::Limit)?;
        if refusal.is_some() {
            return Ok(Answer { response, consent: false });
        }
        self.bind(path, now);
        if message.use_candidate {
            self.nominate(at, path, message.priority.unwrap_or(0), now);
        }
        Ok(Answer { response, consent: self.selected() == Some(path) })
    }

    /// USERNAME (RFC 8445 section 7.2.2), MESSAGE-INTEGRITY and FINGERPRINT (RFC 8489 sections
    /// 9.1.3, 7.3). Returns the generation's place.
    fn authenticate(&self, message: &Message<'_>) -> Result<usize, Drop> {
        let (local, remote) = message.ufrags().ok_or(Drop::UnknownUfrag)?;
        let at = self
            .generations
            .iter()
            .position(|generation| {
                generation.local.ufrag == local
                    && generation.remote.as_ref().is_some_and(|known| known.ufrag == remote)
            })
            .ok_or(Drop::UnknownUfrag)?;
        let integrity = message.integrity.as_ref().ok_or(Drop::StunIntegrity)?;
        let covered = &integrity.covered;
        let expected = self.generations[at].sign([&covered.header, covered.attributes]);
        let same = expected.as_ref().ct_eq(&integrity.value);
        if !bool::from(same) || !message.fingerprint {
            return Err(Drop::StunIntegrity);
        }
        Ok(at)
    }

    /// Adds or refreshes a path; beyond the limit the one that was quiet longest makes room.
    fn bind(&mut self, path: Path, now: Instant) {
        if let Some(at) = self.paths.iter().position(|known| *known == path) {
            self.bound[at] = now;
            return;
        }
        if self.paths.is_full() {
            let selected = self.selected();
            let quietest = (0..self.paths.len())
                .filter(|&at| Some(self.paths[at]) != selected)
                .min_by_key(|&at| self.bound[at]);
            let Some(at) = quietest else { return };
            self.forget(at);
        }
        self.paths.push(path);
        self.bound.push(now);
        self.changed = true;
    }

    /// USE-CANDIDATE (RFC 8445 sections 7.3.1.5 and 8.1.1). The latest nomination wins, as
    /// browsers nominate a lite peer's pair only once they have chosen it. A peer that nominates
    /// every pair at once (aggressive, RFC 5245 section 8.1.1.2) means the highest priority, so a
    /// lower one must wait until the last nomination has settled.
    fn nominate(&mut self, generation: usize, path: Path, priority: u32, now: Instant) {
        let is_restart = generation > 0 && generation + 1 == self.generations.len();
        if let Some(selected) = &self.selected
            && selected.path != path
            && !is_restart
            && priority < selected.priority
            && now.saturating_duration_since(selected.nominated) < NOMINATION_SETTLE
        {
            return;
        }
        if is_restart {
            self.generations.drain(..generation);
            self.changed = true;
        }
        self.selected = Some(Selected { path, priority, nominated: now });
    }

    /// The path is gone for good. Whether it was the selected one.
    pub(super) fn close_path(&mut self, path: Path) -> bool {
        if let Some(at) = self.paths.iter().position(|known| *known == path) {
            self.forget(at);
        }
        let was_selected = self.selected() == Some(path);
        if was_selected {
            self.selected = None;
        }
        was_selected
    }

    /// Drops paths without a binding for long; never the selected one, consent rules that.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let selected = self.selected();
        for at in (0..self.paths.len()).rev() {
            if self.bound[at] + PATH_IDLE_MAX <= now && Some(self.paths[at]) != selected {
                self.forget(at);
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let selected = self.selected();
        let idle = (0..self.paths.len()).filter(|&at| Some(self.paths[at]) != selected);
        idle.map(|at| self.bound[at] + PATH_IDLE_MAX).min()
    }

    fn forget(&mut self, at: usize) {
        self.paths.remove(at);
        self.bound.remove(at);
        self.changed = true;
    }
}

/// The error to answer an authentic request with, if any.
fn refusal(message: &Message<'_>) -> Option<u16> {
    if !message.unknown.is_empty() {
        return Some(UNKNOWN_ATTRIBUTE);
    }
    // We are lite, so the peer must control (RFC 8445 section 6.1.1).
    matches!(message.role, Some(IceRole::Controlled(_))).then_some(ROLE_CONFLICT)
}

/// A success or error response, authenticated with the same password as the request.
fn respond(
    generation: &Generation,
    request: &Message<'_>,
    path: Path,
    refusal: Option<u16>,
) -> Result<Vec<u8>, NoRoom> {
    let mut out = [0; RESPONSE_LEN_MAX];
    let class = if refusal.is_some() { Class::Error } else { Class::Success };
    let mut writer = MessageWriter::new(&mut out, class, request.transaction)?;
    match refusal {
        None => writer.mapped_address(path.peer)?,
        Some(UNKNOWN_ATTRIBUTE) => {
            writer.error_code(UNKNOWN_ATTRIBUTE)?.unknown_attributes(&request.unknown)?
        }
        Some(code) => writer.error_code(code)?,
    };
    let len = writer.finish(|covered| {
        let mut value = [0; 20];
        value.copy_from_slice(generation.sign([covered, &[]]).as_ref());
        value
    })?;
    Ok(out[..len].to_vec())
}
