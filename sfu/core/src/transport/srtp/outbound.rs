//! Sealing what we send. A nonce is used once: the used indexes of an SSRC are remembered in a
//! window (a packet that we got late goes out late), older ones are refused. The SRTCP index is
//! one counter for all SSRCs.

use sfu_proto::unit::SeqNo;

use super::{
    KeyError, MasterKey,
    cipher::{Cipher, Envelope, Kind, RTCP_HEADER_LEN},
    kdf::derive,
    replay::ReplayWindow,
};
use crate::transport::limits::OUTBOUND_SSRC_MAX;

/// First index that RFC 3711 section 9.2 forbids for RTP.
const RTP_INDEX_END: u64 = 1 << 48;
/// First index that RFC 3711 section 9.2 forbids for RTCP; also the E bit.
const RTCP_INDEX_END: u32 = 1 << 31;

/// Our direction.
pub struct Outbound {
    rtp: Cipher,
    rtcp: Cipher,
    /// Sorted SSRCs and, beside each, the indexes that are used up.
    ssrcs: Vec<u32>,
    used: Vec<ReplayWindow>,
    next_rtcp: u32,
}

impl Outbound {
    /// From the master key that we write with.
    ///
    /// # Errors
    /// The crypto library refused the keys.
    pub fn new(master: &MasterKey) -> Result<Self, KeyError> {
        Ok(Self {
            rtp: derive(master, Kind::Rtp)?,
            rtcp: derive(master, Kind::Rtcp)?,
            ssrcs: Vec::new(),
            used: Vec::new(),
            next_rtcp: 0,
        })
    }

    /// Bytes added to an RTP packet.
    pub const fn rtp_overhead(&self) -> usize {
        self.rtp.tag_len()
    }

    /// Seals one RTP packet, see [`Session::seal_rtp`]. `None`: the index was used before
    /// or lies too far back, `out` is too short, or too many SSRCs.
    ///
    /// [`Session::seal_rtp`]: crate::transport::session::Session::seal_rtp
    pub fn seal_rtp(
        &mut self,
        ssrc: u32,
        index: SeqNo,
        header_len: usize,
        payload: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        let tag_len = self.rtp.tag_len();
        let (header, rest) = out.split_at_mut_checked(header_len)?;
        let (body, rest) = rest.split_at_mut_checked(payload.len())?;
        let tag = rest.get_mut(..tag_len)?;
        self.claim(ssrc, index.0)?;
        let suffix = index.roc().to_be_bytes();
        let envelope = Envelope { ssrc, index: index.0, header, suffix };
        self.rtp.seal(&envelope, payload, body, tag)?;
        Some(header_len + payload.len() + tag_len)
    }

    /// Takes an index for good, whether or not sealing succeeds after it.
    fn claim(&mut self, ssrc: u32, index: u64) -> Option<()> {
        if index >= RTP_INDEX_END {
            return None;
        }
        match self.ssrcs.binary_search(&ssrc) {
            Ok(at) if !self.used[at].is_fresh(index) => None,
            Ok(at) => {
                self.used[at].accept(index);
                Some(())
            }
            Err(_) if self.ssrcs.len() >= OUTBOUND_SSRC_MAX => None,
            Err(at) => {
                self.ssrcs.insert(at, ssrc);
                self.used.insert(at, ReplayWindow::starting_at(index));
                Some(())
            }
        }
    }

    /// Seals an RTCP compound (at least one header long) into a datagram of its own. `None`:
    /// too short, or 2^31 packets were sent.
    pub fn seal_rtcp(&mut self, compound: &[u8]) -> Option<Vec<u8>> {
        let (header, plain) = compound.split_at_checked(RTCP_HEADER_LEN)?;
        let ssrc = u32::from_be_bytes(header.get(4..8)?.try_into().ok()?);
        let index = self.next_rtcp;
        if index >= RTCP_INDEX_END {
            return None;
        }
        self.next_rtcp += 1;

        let word = (index | RTCP_INDEX_END).to_be_bytes();
        let tag_len = self.rtcp.tag_len();
        let mut datagram = vec![0; compound.len() + tag_len + 4];
        let (out_header, rest) = datagram.split_at_mut(RTCP_HEADER_LEN);
        out_header.copy_from_slice(header);
        let (body, rest) = rest.split_at_mut(plain.len());
        // AEAD puts the index word last (RFC 7714 section 9.2), HMAC the tag (RFC 3711, 3.4).
        let (tag, out_word) = if self.rtcp.is_aead() {
            rest.split_at_mut(tag_len)
        } else {
            let (word, tag) = rest.split_at_mut(4);
            (tag, word)
        };
        out_word.copy_from_slice(&word);
        let envelope = Envelope { ssrc, index: u64::from(index), header, suffix: word };
        self.rtcp.seal(&envelope, plain, body, tag)?;
        Some(datagram)
    }
}
