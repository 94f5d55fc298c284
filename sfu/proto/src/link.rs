//! The link: how the tap of a media process reaches a recorder in another process, as frames in a stream
//! that others encrypt and authenticate.
//!
//! ```text
//! frame:  u32 length of the rest │ u8 kind │ body                          all little endian
//! Hello  1 │ 8 bytes "CNCLVLNK" │ u16 version │ u128 session │ u64 next     both sides first, media first
//! Batch  2 │ u64 number │ u128 recording │ tap records, to the end          media → recorder
//! Ack    3 │ u64 first │ u64 last                                          recorder → media
//! Mark   4 │ u64 time, ms since 1970                                       media → recorder
//! Status 5 │ bytes, to the end                                             recorder → media
//! Ask    6 │ u64 number │ bytes, to the end                                media → recorder
//! Answer 7 │ u64 number │ bytes, to the end                                recorder → media
//! ```
//! A **session** is one life of a media process. It numbers its batches from 0 and keeps each until an `Ack`
//! names it: those of one recording are safe in their order, of several not. After a cut it sends those that it
//! keeps again, so numbers rise and may skip some. A session of 0 only asks whether somebody is there: the
//! recorder says hello and ends. `next` of its hello is the oldest that it keeps; `next` of the recorder's is the
//! number that it takes next of this session, or the same when it does not know the session: it was started
//! anew. A `Mark` says that all that the tap had before this moment was sent. `Mark` and `Status` come at
//! least each second and are the sign of life. What `Status`, `Ask` and `Answer` hold is between their ends.
//! Frames of kinds that a reader does not know are skipped by their length.

use crate::{id::RecordingId, limits::LINK_FRAME_BYTES_MAX};

/// What is spoken here. Another one is refused: both processes are of one release.
pub const VERSION: u16 = 2;

/// The session of a hello that only asks whether a recorder is there.
pub const LOOK: u128 = 0;

const MAGIC: [u8; 8] = *b"CNCLVLNK";

const HELLO: u8 = 1;
const BATCH: u8 = 2;
const ACK: u8 = 3;
const MARK: u8 = 4;
const STATUS: u8 = 5;
const ASK: u8 = 6;
const ANSWER: u8 = 7;

/// One message of the link.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The first of each side.
    Hello {
        /// Of the media process; the recorder repeats it.
        session: u128,
        /// See above.
        next: u64,
    },
    /// Records of a recording.
    Batch {
        /// Place in the session.
        number: u64,
        /// Whose.
        recording: RecordingId,
        /// Whole records of the tap.
        records: &'a [u8],
    },
    /// These are safe on disk, or given up for good.
    Ack {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// All that the tap had before this moment was sent.
    Mark {
        /// Milliseconds since 1970 on the clock of the media process.
        time_ms: u64,
    },
    /// How the recorder is.
    Status(&'a [u8]),
    /// A question.
    Ask {
        /// Names it in the answer.
        number: u64,
        /// What.
        body: &'a [u8],
    },
    /// An answer.
    Answer {
        /// To which question.
        number: u64,
        /// What.
        body: &'a [u8],
    },
}

/// Why bytes are not a frame. The peer is to blame: the link ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Longer than any may be.
    #[error("a frame of {0} bytes is longer than any may be")]
    TooLong(usize),
    /// Not as its kind demands.
    #[error("malformed frame of kind {0}")]
    Malformed(u8),
    /// The other side is no link.
    #[error("the other side speaks no link")]
    Stranger,
    /// The other side is of another release.
    #[error("the other side speaks version {0} of the link, this one {VERSION}")]
    Version(u16),
}

/// Bytes of a frame that follow its first four.
///
/// # Errors
/// [`LinkError::TooLong`].
pub const fn frame_len(head: [u8; 4]) -> Result<usize, LinkError> {
    let len = u32::from_le_bytes(head) as usize;
    if len > LINK_FRAME_BYTES_MAX { Err(LinkError::TooLong(len)) } else { Ok(len) }
}

impl<'a> Frame<'a> {
    /// Appends the wire form.
    pub fn write(&self, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        match self {
            Self::Hello { session, next } => {
                out.push(HELLO);
                out.extend_from_slice(&MAGIC);
                out.extend_from_slice(&VERSION.to_le_bytes());
                out.extend_from_slice(&session.to_le_bytes());
                out.extend_from_slice(&next.to_le_bytes());
            }
            Self::Batch { number, recording, records } => {
                numbered(out, BATCH, *number);
                out.extend_from_slice(&recording.bits().to_le_bytes());
                out.extend_from_slice(records);
            }
            Self::Ack { first, last } => {
                numbered(out, ACK, *first);
                out.extend_from_slice(&last.to_le_bytes());
            }
            Self::Mark { time_ms } => numbered(out, MARK, *time_ms),
            Self::Status(body) => {
                out.push(STATUS);
                out.extend_from_slice(body);
            }
            Self::Ask { number, body } => {
                numbered(out, ASK, *number);
                out.extend_from_slice(body);
            }
            Self::Answer { number, body } => {
                numbered(out, ANSWER, *number);
                out.extend_from_slice(body);
            }
        }
        let len = (out.len() - at - 4) as u32; // The other side refuses what is longer than its limit.
        out[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// Reads what follows the length. None: of a kind that we do not know.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, LinkError> {
        let (kind, body) = bytes.split_first().ok_or(LinkError::Malformed(0))?;
        let malformed = LinkError::Malformed(*kind);
        if *kind == HELLO {
            return hello(body).map(Some);
        }
        let numbered = || -> Result<(u64, &'a [u8]), LinkError> {
            let (number, rest) = body.split_first_chunk().ok_or(malformed)?;
            Ok((u64::from_le_bytes(*number), rest))
        };
        Ok(Some(match *kind {
            BATCH => {
                let (number, rest) = numbered()?;
                let (recording, records) = rest.split_first_chunk().ok_or(malformed)?;
                let recording = RecordingId::from_bits(u128::from_le_bytes(*recording));
                Self::Batch { number, recording, records }
            }
            ACK => {
                let (first, rest) = numbered()?;
                let last = u64::from_le_bytes(rest.try_into().map_err(|_| malformed)?);
                if last < first {
                    return Err(malformed);
                }
                Self::Ack { first, last }
            }
            MARK => match numbered()? {
                (time_ms, []) => Self::Mark { time_ms },
                _ => return Err(malformed),
            },
            STATUS => Self::Status(body),
            ASK => numbered().map(|(number, body)| Self::Ask { number, body })?,
            ANSWER => numbered().map(|(number, body)| Self::Answer { number, body })?,
            _ => return Ok(None),
        }))
    }
}

fn numbered(out: &mut Vec<u8>, kind: u8, number: u64) {
    out.push(kind);
    out.extend_from_slice(&number.to_le_bytes());
}

fn hello(body: &[u8]) -> Result<Frame<'_>, LinkError> {
    let (magic, rest) = body.split_first_chunk::<8>().ok_or(LinkError::Stranger)?;
    if *magic != MAGIC {
        return Err(LinkError::Stranger);
    }
    let malformed = LinkError::Malformed(HELLO);
    let (version, rest) = rest.split_first_chunk().ok_or(malformed)?;
    let version = u16::from_le_bytes(*version);
    if version != VERSION {
        return Err(LinkError::Version(version));
    }
    let (session, rest) = rest.split_first_chunk().ok_or(malformed)?;
    let next: &[u8; 8] = rest.try_into().map_err(|_| malformed)?;
    Ok(Frame::Hello { session: u128::from_le_bytes(*session), next: u64::from_le_bytes(*next) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn all() -> Vec<Frame<'static>> {
        vec![
            Frame::Hello { session: u128::MAX - 1, next: 7 },
            Frame::Batch { number: 1 << 40, recording: RecordingId::from_bits(9), records: b"abc" },
            Frame::Batch { number: 0, recording: RecordingId::from_bits(0), records: b"" },
            Frame::Ack { first: 1, last: u64::MAX },
            Frame::Mark { time_ms: 1_790_000_000_000 },
            Frame::Status(b"{}"),
            Frame::Ask { number: 3, body: b"?" },
            Frame::Answer { number: 3, body: b"" },
        ]
    }

    fn written(frame: Frame<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame.write(&mut bytes);
        let (head, rest) = bytes.split_first_chunk::<4>().unwrap();
        assert_eq!(frame_len(*head).unwrap(), rest.len());
        rest.to_vec()
    }

    #[test]
    fn frames_are_read_as_they_were_written() {
        for frame in all() {
            assert!(Frame::parse(&written(frame)).unwrap() == Some(frame));
        }
    }

    #[test]
    fn truncated_frames_are_refused_unless_their_end_is_free() {
        for frame in all() {
            let bytes = written(frame);
            let free = match frame {
                Frame::Batch { records: body, .. }
                | Frame::Status(body)
                | Frame::Ask { body, .. }
                | Frame::Answer { body, .. } => body.len(),
                _ => 0,
            };
            for len in 0..bytes.len() {
                assert_eq!(Frame::parse(&bytes[..len]).is_ok(), len + free >= bytes.len(), "{len}");
            }
        }
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_read() {
        assert!(frame_len((LINK_FRAME_BYTES_MAX as u32).to_le_bytes()).is_ok());
        let long = LINK_FRAME_BYTES_MAX + 1;
        assert_eq!(frame_len((long as u32).to_le_bytes()), Err(LinkError::TooLong(long)));
        assert!(frame_len([0xff; 4]).is_err());
        for fixed in [Frame::Ack { first: 1, last: 1 }, Frame::Mark { time_ms: 1 }, all()[0]] {
            let bytes = [&written(fixed)[..], b"x"].concat();
            assert!(Frame::parse(&bytes).is_err(), "nothing may follow");
        }
        let backwards = written(Frame::Ack { first: 2, last: 1 });
        assert!(Frame::parse(&backwards) == Err(LinkError::Malformed(ACK)));
    }

    #[test]
    fn strangers_and_other_versions_are_told_apart() {
        let mut bytes = written(all()[0]);
        bytes[9] = 1;
        assert!(matches!(Frame::parse(&bytes), Err(LinkError::Version(1))));
        bytes[1] = b'x';
        assert!(matches!(Frame::parse(&bytes), Err(LinkError::Stranger)));
        assert!(matches!(Frame::parse(b"\x01GET / HTTP/1.1"), Err(LinkError::Stranger)));
        assert!(Frame::parse(b"\x63later").unwrap().is_none(), "skipped");
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_alike(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(Some(frame)) = Frame::parse(&bytes) {
                prop_assert!(written(frame) == bytes);
            }
        }

        #[test]
        fn batches_of_any_content_come_through(
            number: u64,
            recording: u128,
            records in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let recording = RecordingId::from_bits(recording);
            let frame = Frame::Batch { number, recording, records: &records };
            prop_assert!(Frame::parse(&written(frame)).unwrap() == Some(frame));
        }
    }
}
