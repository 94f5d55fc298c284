//! A controlling full agent reduced to what a test needs: checks from each local address, regular
//! nomination of a preferred one, consent checks.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use aws_lc_rs::hmac;
use sfu_proto::{
    sdp::IceCredentials,
    stun::{Class, IceRole, Message, MessageWriter, TransactionId},
};

/// Between checks until nomination succeeded.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Between consent checks (RFC 7675 section 5.1: 5 s, randomised).
const CONSENT_INTERVAL: Duration = Duration::from_secs(4);
/// Checks remembered until answered.
const OPEN_MAX: usize = 64;

/// A local address with what checks found.
struct Pair {
    local: SocketAddr,
    succeeded: bool,
    nominated: bool,
}

struct OpenCheck {
    transaction: TransactionId,
    local: SocketAddr,
    nominates: bool,
}

/// The agent.
pub(super) struct IceAgent {
    pub(super) local: IceCredentials,
    pub(super) remote: IceCredentials,
    pairs: Vec<Pair>,
    /// Place of the address to nominate.
    preferred: usize,
    open: Vec<OpenCheck>,
    next_check: Option<Instant>,
    counter: u64,
}

impl IceAgent {
    pub(super) fn new(
        local: IceCredentials,
        remote: IceCredentials,
        addresses: &[SocketAddr],
        now: Instant,
    ) -> Self {
        let pairs = addresses
            .iter()
            .map(|&local| Pair { local, succeeded: false, nominated: false })
            .collect();
        Self {
            local,
            remote,
            pairs,
            preferred: 0,
            open: Vec::new(),
            next_check: Some(now),
            counter: 0,
        }
    }

    /// New credentials on both sides: everything is checked again.
    pub(super) fn restart(&mut self, local: IceCredentials, remote: IceCredentials, now: Instant) {
        (self.local, self.remote) = (local, remote);
        for pair in &mut self.pairs {
            (pair.succeeded, pair.nominated) = (false, false);
        }
        self.open.clear();
        self.next_check = Some(now);
    }

    /// Leaves all addresses for a new one, credentials stay.
    pub(super) fn move_to(&mut self, address: SocketAddr, now: Instant) {
        self.pairs = vec![Pair { local: address, succeeded: false, nominated: false }];
        self.preferred = 0;
        self.next_check = Some(now);
    }

    /// Nominates the address at this place from now on.
    pub(super) fn prefer(&mut self, place: usize, now: Instant) {
        self.preferred = place;
        self.pairs[place].nominated = false;
        self.next_check = Some(now);
    }

    /// Stops or resumes checks.
    pub(super) fn set_checking(&mut self, on: bool, now: Instant) {
        self.next_check = on.then_some(now);
    }

    /// Where data is sent from: the nominated pair, else any that succeeded.
    pub(super) fn send_address(&self) -> Option<SocketAddr> {
        let preferred = &self.pairs[self.preferred];
        if preferred.nominated {
            return Some(preferred.local);
        }
        self.pairs.iter().find(|pair| pair.succeeded).map(|pair| pair.local)
    }

    pub(super) fn is_nominated(&self) -> bool {
        self.pairs[self.preferred].nominated
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next_check
    }

    /// Due checks, as (local address, datagram).
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        if self.next_check.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let interval = if self.is_nominated() { CONSENT_INTERVAL } else { CHECK_INTERVAL };
        self.next_check = Some(now + interval);
        let places = 0..self.pairs.len();
        places.map(|at| (self.pairs[at].local, self.check(at))).collect()
    }

    fn check(&mut self, at: usize) -> Vec<u8> {
        let nominates = at == self.preferred && self.pairs[at].succeeded;
        self.counter += 1;
        let mut transaction = TransactionId([0x5a; 12]);
        transaction.0[..8].copy_from_slice(&self.counter.to_be_bytes());
        if self.open.len() >= OPEN_MAX {
            self.open.remove(0);
        }
        self.open.push(OpenCheck { transaction, local: self.pairs[at].local, nominates });
        let priority = 0x6e00_1eff - at as u32;
        binding_request(&self.local, &self.remote, transaction, priority, nominates)
    }

    /// A response; whether it was authentic and ours.
    pub(super) fn handle(&mut self, datagram: &[u8], to: SocketAddr) -> bool {
        let Ok(message) = Message::parse(datagram) else { return false };
        let Some(integrity) = &message.integrity else { return false };
        let expected =
            sign(&self.remote.pwd, &[&integrity.covered.header, integrity.covered.attributes]);
        if message.class != Class::Success || expected != integrity.value {
            return false;
        }
        let Some(at) = self.open.iter().position(|open| open.transaction == message.transaction)
        else {
            return false;
        };
        let open = self.open.remove(at);
        if open.local != to || message.mapped_address != Some(to) {
            return false;
        }
        if let Some(pair) = self.pairs.iter_mut().find(|pair| pair.local == to) {
            pair.succeeded = true;
            pair.nominated |= open.nominates;
        }
        true
    }
}

/// A binding request of a controlling agent (RFC 8445 section 7.2.2).
pub fn binding_request(
    local: &IceCredentials,
    remote: &IceCredentials,
    transaction: TransactionId,
    priority: u32,
    nominates: bool,
) -> Vec<u8> {
    let mut out = [0; 700];
    let mut writer =
        MessageWriter::new(&mut out, Class::Request, transaction).expect("room for a header");
    let username = format!("{}:{}", remote.ufrag, local.ufrag);
    writer
        .username(&username)
        .and_then(|writer| writer.priority(priority))
        .and_then(|writer| writer.role(IceRole::Controlling(7)))
        .expect("room for attributes");
    if nominates {
        writer.use_candidate().expect("room for a flag");
    }
    let len = writer.finish(|covered| sign(&remote.pwd, &[covered])).expect("room for the end");
    out[..len].to_vec()
}

fn sign(password: &str, parts: &[&[u8]]) -> [u8; 20] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(part);
    }
    let mut value = [0; 20];
    value.copy_from_slice(context.sign().as_ref());
    value
}
