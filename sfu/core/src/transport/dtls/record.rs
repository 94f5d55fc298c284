//! A look at unencrypted DTLS records (RFC 6347 section 4.1, RFC 9147 section 4), to keep forgeries
//! from the engine. Trusts nothing, keeps nothing.

use std::borrow::Cow;

use crate::transport::limits::DTLS_PLAIN_MESSAGE_MAX;

/// Type, version, epoch, sequence number, length.
const RECORD_HEADER_LEN: usize = 13;
/// Message type, length, message sequence, fragment offset, fragment length.
const HANDSHAKE_HEADER_LEN: usize = 12;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// Bytes of a ClientHello's random, behind two of version.
pub(super) const RANDOM_LEN: usize = 32;

/// A fragment of a ClientHello that leads a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HelloFragment {
    /// Bytes of the whole message: equal in all its fragments.
    pub(super) hello_len: [u8; 3],
    /// In the first fragment only. All ClientHellos of one handshake have the same random, also
    /// after a cookie or retry request.
    pub(super) random: Option<[u8; RANDOM_LEN]>,
    /// Rises when the client answers a cookie or retry request, not when it repeats itself.
    pub(super) number: u16,
}

/// The ClientHello fragment that the datagram begins with. `None`: something else, or a first
/// fragment too short for its random, which no client sends.
pub(super) fn hello_fragment(datagram: &[u8]) -> Option<HelloFragment> {
    let (record, _) = split_plain(datagram)?;
    let (header, body) = record[RECORD_HEADER_LEN..].split_at_checked(HANDSHAKE_HEADER_LEN)?;
    if record[0] != HANDSHAKE || epoch(record) != 0 || header[0] != CLIENT_HELLO {
        return None;
    }
    let hello_len = [header[1], header[2], header[3]];
    let random = match header[6..9] {
        [0, 0, 0] => Some(body.get(2..2 + RANDOM_LEN)?.try_into().ok()?),
        _ => None,
    };
    Some(HelloFragment { hello_len, random, number: message_number(header) })
}

/// The datagram without unencrypted records that only forgers send.
///
/// Alerts: the engine would give up on a fatal one (SECURITY.md 2.3 A2); a client that really gave
/// up is found by the time-out. Handshake messages far in the future: they would fill the engine's
/// queue for messages that wait for those before them.
pub(super) fn without_forgeries(datagram: &[u8]) -> Cow<'_, [u8]> {
    let mut kept = Vec::new();
    let mut found = false;
    let mut rest = datagram;
    while let Some((record, next)) = split_plain(rest) {
        if epoch(record) == 0 && (record[0] == ALERT || is_far_ahead(record)) {
            found = true;
        } else {
            kept.extend_from_slice(record);
        }
        rest = next;
    }
    if !found {
        return Cow::Borrowed(datagram);
    }
    kept.extend_from_slice(rest);
    Cow::Owned(kept)
}

/// Whether a plain record holds any handshake message that no client gets to in plain.
fn is_far_ahead(record: &[u8]) -> bool {
    let mut messages = &record[RECORD_HEADER_LEN..];
    while let Some((header, rest)) = messages.split_at_checked(HANDSHAKE_HEADER_LEN) {
        if record[0] == HANDSHAKE && message_number(header) > DTLS_PLAIN_MESSAGE_MAX {
            return true;
        }
        let len = u32::from_be_bytes([0, header[9], header[10], header[11]]);
        messages = rest.get(len as usize..).unwrap_or(&[]);
    }
    false
}

/// First record and what follows, if it has the long header (all of DTLS 1.2, the unencrypted ones
/// of 1.3). Records in DTLS 1.3's unified header begin with 32 to 63.
fn split_plain(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let header = datagram.get(..RECORD_HEADER_LEN)?;
    if !(20..=31).contains(&header[0]) {
        return None;
    }
    let len = usize::from(u16::from_be_bytes([header[11], header[12]]));
    datagram.split_at_checked(RECORD_HEADER_LEN + len)
}

/// Of a handshake message's header.
fn message_number(header: &[u8]) -> u16 {
    u16::from_be_bytes([header[4], header[5]])
}

/// Epoch 0 is unencrypted.
fn epoch(record: &[u8]) -> u16 {
    u16::from_be_bytes([record[3], record[4]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let mut record = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 0];
        record.extend_from_slice(&(body.len() as u16).to_be_bytes());
        record.extend_from_slice(body);
        record
    }

    #[test]
    fn plain_messages_of_the_far_future_are_cut_out() {
        let message =
            |number: u8| [&[11, 0, 0, 4, 0, number, 0, 0, 0, 0, 0, 4][..], &[0; 4]].concat();
        let near = record(HANDSHAKE, 0, &[message(3), message(4)].concat());
        let far = record(HANDSHAKE, 0, &[message(4), message(5)].concat());
        let sealed = record(HANDSHAKE, 1, &message(9));
        let datagram = [&near[..], &far, &sealed].concat();
        assert_eq!(*without_forgeries(&datagram), [near, sealed].concat());
    }

    #[test]
    fn only_plain_alerts_are_cut_out() {
        let hello = record(HANDSHAKE, 0, &[0; 20]);
        let (plain, sealed) = (record(ALERT, 0, &[2, 40]), record(ALERT, 1, &[9; 30]));
        let datagram = [&hello[..], &plain, &sealed].concat();
        assert_eq!(*without_forgeries(&datagram), [hello, sealed].concat());
        assert!(without_forgeries(&plain).is_empty());
    }

    #[test]
    fn junk_passes_unchanged() {
        for len in 0..64 {
            for first in 0..=255 {
                let junk = vec![first; len];
                assert_eq!(*without_forgeries(&junk), junk);
                let _ = hello_fragment(&junk);
            }
        }
    }
}
