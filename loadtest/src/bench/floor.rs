//! What forwarding must cost at least: one AEAD seal and one send per subscriber.

use std::{net::SocketAddr, time::Instant};

use anyhow::{Result, anyhow};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rand::random;
use sfu::io::udp::{Run, Sender};

/// Bytes of the tag.
pub(super) const TAG_LEN: usize = 16;

/// Seals one payload for many receivers, each with its own key.
pub(super) struct Sealer {
    keys: Vec<LessSafeKey>,
    counter: u64,
    out: Vec<u8>,
}

impl Sealer {
    /// One random key per receiver.
    pub(super) fn new(receivers: usize, payload_len: usize) -> Result<Self> {
        let key = |_| {
            let key = UnboundKey::new(&AES_128_GCM, &random::<[u8; 16]>());
            key.map(LessSafeKey::new).map_err(|_| anyhow!("AES-128-GCM"))
        };
        let keys = (0..receivers).map(key).collect::<Result<_>>()?;
        Ok(Self { keys, counter: 0, out: vec![0; payload_len + TAG_LEN] })
    }

    /// Seals `payload` once for each receiver, out of place.
    pub(super) fn seal(&mut self, header: &[u8], payload: &[u8]) -> Result<()> {
        for key in &self.keys {
            self.counter += 1;
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&self.counter.to_be_bytes());
            let (sealed, tag) = self.out.split_at_mut(payload.len());
            key.seal_out_of_place_scatter(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(header),
                payload,
                sealed,
                &[],
                tag,
            )
            .map_err(|_| anyhow!("seal"))?;
        }
        Ok(())
    }
}

/// Sends one frame of equal datagrams to every receiver: as one run each, or packet by packet.
pub(super) fn send_frame(
    sender: &mut Sender,
    receivers: &[SocketAddr],
    frame: &[u8],
    datagram_len: usize,
) {
    let run = |peer: &SocketAddr, bytes| Run {
        peer: *peer,
        local: 0,
        bytes,
        segment: datagram_len as u16,
    };
    if sender.segments() {
        sender.send(receivers.iter().map(|peer| run(peer, frame)), Instant::now());
    } else {
        for datagram in frame.chunks(datagram_len) {
            sender.send(receivers.iter().map(|peer| run(peer, datagram)), Instant::now());
        }
    }
}
