//! Opaque ids. All are 128 random bits: unguessable, without meaning, safe in logs and on the wire.
//!
//! Text form: a two-letter prefix, `_`, and 26 characters of Crockford base32 in lower case
//! (`rm_01hzx…`), so an id says what it names and survives a double click.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters of the text form after the prefix: 128 bits at 5 bits each.
pub const TEXT_LEN: usize = 26;

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this kind: expected the prefix {expected}_ and 26 base32 characters")]
pub struct IdError {
    expected: &'static str,
}

fn encode(value: u128) -> [u8; TEXT_LEN] {
    std::array::from_fn(|i| ALPHABET[(value >> (5 * (TEXT_LEN - 1 - i)) & 31) as usize])
}

fn decode(text: &[u8]) -> Option<u128> {
    if text.len() != TEXT_LEN || text[0] > b'7' {
        return None; // 26 characters hold 130 bits; the top two must be zero.
    }
    text.iter().try_fold(0u128, |value, c| {
        let digit = ALPHABET.iter().position(|a| a == c)?;
        Some(value << 5 | digit as u128)
    })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u128);

        impl $name {
            /// Prefix of the text form, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// An id from 128 bits that the caller drew at random.
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// The 128 bits.
            pub const fn bits(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($prefix, "_"))?;
                f.write_str(str::from_utf8(&encode(self.0)).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(|rest| decode(rest.as_bytes()))
                    .map(Self)
                    .ok_or(IdError { expected: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<'de, str>::deserialize(d)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A room: the unit of placement; all its media lives on one shard of one node.
    RoomId = "rm";
    /// A participant of a room, for one stay.
    ParticipantId = "pa";
    /// One peer connection of a participant with the forwarding unit.
    SessionId = "se";
    /// A published media track (RFC 7656 source stream), for as long as it is published.
    TrackId = "tr";
    /// A media node.
    NodeId = "nd";
    /// A recording of a room.
    RecordingId = "rc";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        for bits in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let id = RoomId::from_bits(bits);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn wrong_prefix_length_alphabet_and_overflow_are_refused() {
        let good = RoomId::from_bits(7).to_string();
        assert!(good.parse::<TrackId>().is_err());
        assert!(good[..good.len() - 1].parse::<RoomId>().is_err());
        assert!(good.to_uppercase().parse::<RoomId>().is_err());
        assert!("rm_80000000000000000000000000".parse::<RoomId>().is_err());
        assert!("rm_0000000000000000000000000u".parse::<RoomId>().is_err());
    }
}
