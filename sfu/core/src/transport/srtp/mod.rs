//! SRTP and SRTCP (RFC 3711, RFC 7714): keys of one DTLS session in, packets sealed and opened.
//!
//! An unauthenticated packet changes nothing here: rollover, replay and per-SSRC state are written
//! after the tag was verified. Nothing allocates per packet. RTP headers are parsed elsewhere.

mod cipher;
mod inbound;
mod kdf;
mod outbound;
mod replay;

pub use inbound::Inbound;
pub use outbound::Outbound;
use zeroize::Zeroizing;

/// Protection profile negotiated by DTLS (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// AEAD_AES_128_GCM, 16-byte tag. Preferred: 7 times cheaper than the last one.
    AeadAes128Gcm,
    /// AEAD_AES_256_GCM, 16-byte tag.
    AeadAes256Gcm,
    /// AES_CM_128_HMAC_SHA1_80, 10-byte tag. What every client must have (RFC 8827 section 6.5).
    AesCm128HmacSha1_80,
}

impl Profile {
    /// Bytes of a master (and session) key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AesCm128HmacSha1_80 => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of a master (and session) salt.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            Self::AesCm128HmacSha1_80 => 14,
        }
    }

    /// Bytes of the authentication tag: what sealing adds to an RTP packet.
    pub const fn tag_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
            Self::AesCm128HmacSha1_80 => 10,
        }
    }

    /// Bytes that DTLS must export for both directions (RFC 5764 section 4.2).
    pub const fn keying_material_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }
}

/// Master key and salt of one direction. No `Debug`; wiped on drop.
pub struct MasterKey {
    profile: Profile,
    key: Zeroizing<Vec<u8>>,
    salt: Zeroizing<Vec<u8>>,
}

impl MasterKey {
    /// `None` if a length does not fit the profile.
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Option<Self> {
        (key.len() == profile.key_len() && salt.len() == profile.salt_len()).then(|| Self {
            profile,
            key: Zeroizing::new(key.to_vec()),
            salt: Zeroizing::new(salt.to_vec()),
        })
    }
}

/// Splits DTLS's exported bytes into (client writes, server writes), RFC 5764 section 4.2.
pub fn split_keying_material(profile: Profile, bytes: &[u8]) -> Option<(MasterKey, MasterKey)> {
    if bytes.len() != profile.keying_material_len() {
        return None;
    }
    let (keys, salts) = bytes.split_at(2 * profile.key_len());
    let (client_key, server_key) = keys.split_at(profile.key_len());
    let (client_salt, server_salt) = salts.split_at(profile.salt_len());
    Some((
        MasterKey::new(profile, client_key, client_salt)?,
        MasterKey::new(profile, server_key, server_salt)?,
    ))
}

/// A cryptographic operation of the library failed that cannot fail with valid lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("SRTP keys could not be set up")]
pub struct KeyError;
