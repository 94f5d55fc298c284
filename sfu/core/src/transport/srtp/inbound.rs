//! Opening what the peer sealed. State of an SSRC begins with its first authentic packet.

use std::collections::BTreeMap;

use sfu_proto::unit::SeqNo;

use super::{
    KeyError, MasterKey,
    cipher::{Cipher, Envelope, Kind, RTCP_HEADER_LEN},
    kdf::derive,
    replay::ReplayWindow,
};
use crate::transport::{
    limits::{INBOUND_SSRC_MAX, INBOUND_SSRC_RETIRED_MAX},
    session::Drop,
};

/// E bit of the SRTCP index word (RFC 3711 section 3.4): the packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;

/// The peer's direction.
pub struct Inbound {
    rtp: Cipher,
    rtcp: Cipher,
    rtp_windows: Windows,
    rtcp_windows: Windows,
}

impl Inbound {
    /// From the master key that the peer writes with.
    ///
    /// # Errors
    /// The crypto library refused the keys.
    pub fn new(master: &MasterKey) -> Result<Self, KeyError> {
        Ok(Self {
            rtp: derive(master, Kind::Rtp)?,
            rtcp: derive(master, Kind::Rtcp)?,
            rtp_windows: Windows::default(),
            rtcp_windows: Windows::default(),
        })
    }

    /// Authenticates and decrypts one RTP packet, see [`Session::open_rtp`].
    ///
    /// # Errors
    /// Why the packet must be dropped; nothing has changed then.
    ///
    /// [`Session::open_rtp`]: crate::transport::session::Session::open_rtp
    pub fn open_rtp(
        &mut self,
        datagram: &[u8],
        header_len: usize,
        ssrc: u32,
        seq: u16,
        out: &mut [u8],
    ) -> Result<(SeqNo, usize), Drop> {
        let (header, body) = datagram.split_at_checked(header_len).ok_or(Drop::Malformed)?;
        let len = body.len().checked_sub(self.rtp.tag_len()).ok_or(Drop::Malformed)?;
        let (sealed, tag) = body.split_at(len);
        let out = out.get_mut(..len).ok_or(Drop::Limit)?;

        let place = self.rtp_windows.find(ssrc);
        let index = match self.rtp_windows.highest(place) {
            Some(highest) => estimate_index(highest, seq).ok_or(Drop::Replay)?,
            None => u64::from(seq),
        };
        if !self.rtp_windows.is_fresh(place, index) {
            return Err(Drop::Replay);
        }
        let suffix = SeqNo(index).roc().to_be_bytes();
        let envelope = Envelope { ssrc, index, header, suffix };
        self.rtp.open(&envelope, sealed, tag, out).ok_or(Drop::Authentication)?;
        self.rtp_windows.accept(place, ssrc, index)?;
        Ok((SeqNo(index), len))
    }

    /// Authenticates and decrypts one RTCP compound into `out`; returns its length.
    ///
    /// # Errors
    /// Why the packet must be dropped; nothing has changed then. Packets that are authenticated
    /// but not encrypted (E bit 0) are refused: no client sends them and media data must be secret.
    pub fn open_rtcp(&mut self, datagram: &[u8], out: &mut [u8]) -> Result<usize, Drop> {
        let parts = SrtcpParts::split(&self.rtcp, datagram).ok_or(Drop::Malformed)?;
        let word = u32::from_be_bytes(parts.word);
        if word & ENCRYPTED == 0 {
            return Err(Drop::Malformed);
        }
        let index = u64::from(word & !ENCRYPTED);
        let len = RTCP_HEADER_LEN + parts.sealed.len();
        let (out_header, out_body) =
            out.get_mut(..len).ok_or(Drop::Limit)?.split_at_mut(RTCP_HEADER_LEN);

        let place = self.rtcp_windows.find(parts.ssrc);
        if !self.rtcp_windows.is_fresh(place, index) {
            return Err(Drop::Replay);
        }
        let envelope =
            Envelope { ssrc: parts.ssrc, index, header: parts.header, suffix: parts.word };
        self.rtcp.open(&envelope, parts.sealed, parts.tag, out_body).ok_or(Drop::Authentication)?;
        self.rtcp_windows.accept(place, parts.ssrc, index)?;
        out_header.copy_from_slice(parts.header);
        Ok(len)
    }
}

/// An SRTCP datagram. AEAD: header, sealed, tag, word (RFC 7714 section 9.2); HMAC: header, sealed,
/// word, tag (RFC 3711 section 3.4).
struct SrtcpParts<'a> {
    ssrc: u32,
    header: &'a [u8],
    sealed: &'a [u8],
    word: [u8; 4],
    tag: &'a [u8],
}

impl<'a> SrtcpParts<'a> {
    fn split(cipher: &Cipher, datagram: &'a [u8]) -> Option<Self> {
        let (header, rest) = datagram.split_at_checked(RTCP_HEADER_LEN)?;
        let ssrc = u32::from_be_bytes(header.get(4..8)?.try_into().ok()?);
        let (sealed, word, tag) = if cipher.is_aead() {
            let (rest, word) = rest.split_last_chunk::<4>()?;
            let (sealed, tag) = rest.split_at_checked(rest.len().checked_sub(cipher.tag_len())?)?;
            (sealed, word, tag)
        } else {
            let (rest, tag) = rest.split_at_checked(rest.len().checked_sub(cipher.tag_len())?)?;
            let (sealed, word) = rest.split_last_chunk::<4>()?;
            (sealed, word, tag)
        };
        Some(Self { ssrc, header, sealed, word: *word, tag })
    }
}

/// RFC 3711 section 3.3.1 and appendix A: the index closest to the highest one with these low
/// bits. `None`: it would lie before the first rollover, or beyond the 48 bits of an index.
fn estimate_index(highest: u64, seq: u16) -> Option<u64> {
    const HALF: u16 = 1 << 15;
    let (roc, last) = (highest >> 16, highest as u16);
    let guess = if last < HALF {
        if seq > last && seq - last > HALF { roc.checked_sub(1)? } else { roc }
    } else if last - HALF > seq {
        roc + 1
    } else {
        roc
    };
    (guess < 1 << 32).then_some(guess << 16 | u64::from(seq))
}

/// What is known about an SSRC.
#[derive(Clone, Copy)]
enum Place {
    /// A window, with its place.
    Live(usize),
    /// Only its highest index.
    Retired(u64),
    /// Nothing; where its window belongs would be found anew.
    New,
}

/// Replay windows by SSRC, sorted; few and looked up per packet, so no hashing.
///
/// Who was quiet longest makes room for a newcomer and leaves its highest index behind. Packets
/// above that are certainly fresh and bring the SSRC back; whether those below are, is forgotten.
#[derive(Default)]
struct Windows {
    ssrcs: Vec<u32>,
    windows: Vec<ReplayWindow>,
    /// Of each window, [`Self::clock`] at its last packet.
    used: Vec<u64>,
    /// Counts packets.
    clock: u64,
    retired: BTreeMap<u32, u64>,
}

impl Windows {
    fn find(&self, ssrc: u32) -> Place {
        match self.ssrcs.binary_search(&ssrc) {
            Ok(at) => Place::Live(at),
            Err(_) => match self.retired.get(&ssrc) {
                Some(highest) => Place::Retired(*highest),
                None => Place::New,
            },
        }
    }

    fn highest(&self, place: Place) -> Option<u64> {
        match place {
            Place::Live(at) => Some(self.windows[at].highest()),
            Place::Retired(highest) => Some(highest),
            Place::New => None,
        }
    }

    fn is_fresh(&self, place: Place, index: u64) -> bool {
        match place {
            Place::Live(at) => self.windows[at].is_fresh(index),
            Place::Retired(highest) => index > highest,
            Place::New => true,
        }
    }

    /// Records an authentic, fresh index at the place that `find` named.
    fn accept(&mut self, place: Place, ssrc: u32, index: u64) -> Result<(), Drop> {
        self.clock += 1;
        match place {
            Place::Live(at) => {
                self.windows[at].accept(index);
                self.used[at] = self.clock;
                return Ok(());
            }
            Place::Retired(_) => {
                self.retired.remove(&ssrc);
            }
            Place::New => {}
        }
        if self.ssrcs.len() >= INBOUND_SSRC_MAX {
            self.retire_quietest()?;
        }
        let at = self.ssrcs.partition_point(|known| *known < ssrc);
        self.ssrcs.insert(at, ssrc);
        self.windows.insert(at, ReplayWindow::starting_at(index));
        self.used.insert(at, self.clock);
        Ok(())
    }

    fn retire_quietest(&mut self) -> Result<(), Drop> {
        if self.retired.len() >= INBOUND_SSRC_RETIRED_MAX {
            return Err(Drop::TooManySources);
        }
        let quietest = (0..self.used.len()).min_by_key(|at| self.used[*at]);
        let at = quietest.ok_or(Drop::TooManySources)?;
        let (ssrc, window) = (self.ssrcs.remove(at), self.windows.remove(at));
        self.used.remove(at);
        self.retired.insert(ssrc, window.highest());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3711 appendix A, around both ends of a rollover.
    #[test]
    fn index_estimate_follows_rfc_3711() {
        let cases = [
            (0, 1, Some(1)),
            (0xffff, 0, Some(0x1_0000)),
            (0x1_0000, 0xffff, Some(0xffff)),
            (0x1_0000, 0, Some(0x1_0000)),
            (0x1_7fff, 0x8000, Some(0x1_8000)),
            (0x1_8000, 0x0000, Some(0x1_0000)),
            (0x1_8002, 0x0001, Some(0x2_0001)),
            (0x1_0000, 0x8000, Some(0x1_8000)),
            (0x1_0000, 0x8001, Some(0x0_8001)),
            (5, 0xfff0, None),
            ((1 << 48) - 1, 0, None),
        ];
        for (highest, seq, expected) in cases {
            assert_eq!(estimate_index(highest, seq), expected, "{highest:#x} {seq:#x}");
        }
    }
}
