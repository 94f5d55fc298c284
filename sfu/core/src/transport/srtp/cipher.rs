//! The transforms: AES-GCM (RFC 7714) and AES-CM with HMAC-SHA1 (RFC 3711 section 4), for RTP or
//! RTCP in one direction. Stateless: indexes come from outside.
//!
//! Both transforms and both protocols form their nonce from salt, SSRC and a 48-bit index: rollover
//! count and sequence number for RTP, the 31-bit SRTCP index for RTCP.

use aws_lc_rs::{
    aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey},
    hmac,
    iv::FixedLength,
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{KeyError, Profile};

/// Fixed part of an RTCP packet that stays readable (RFC 3711 section 3.4).
pub(super) const RTCP_HEADER_LEN: usize = 8;

/// What a cipher protects: decides what is authenticated beside header and payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rtp,
    Rtcp,
}

/// Nonce inputs and authenticated surroundings of one packet.
pub(super) struct Envelope<'a> {
    pub(super) ssrc: u32,
    /// 48 bits, see the module's header.
    pub(super) index: u64,
    /// Authenticated, not encrypted.
    pub(super) header: &'a [u8],
    /// RTP: the rollover count, not sent. RTCP: E bit and index, sent.
    pub(super) suffix: [u8; 4],
}

/// Session keys of one direction and protocol. No `Debug`; keys are wiped on drop.
pub(super) struct Cipher {
    kind: Kind,
    transform: Transform,
}

enum Transform {
    Gcm { key: LessSafeKey, salt: Zeroizing<[u8; 12]> },
    CmHmac(Box<CmHmac>),
}

/// Large key schedules, so boxed: this profile is the fall-back.
struct CmHmac {
    key: EncryptingKey,
    salt: Zeroizing<[u8; 14]>,
    auth: hmac::Key,
}

impl Cipher {
    /// From session keys; `auth` is empty for AEAD.
    pub(super) fn new(
        profile: Profile,
        kind: Kind,
        key: &[u8],
        salt: &[u8],
        auth: &[u8],
    ) -> Result<Self, KeyError> {
        let gcm = |algorithm| {
            Ok(Transform::Gcm {
                key: LessSafeKey::new(UnboundKey::new(algorithm, key).map_err(|_| KeyError)?),
                salt: Zeroizing::new(salt.try_into().map_err(|_| KeyError)?),
            })
        };
        let transform = match profile {
            Profile::AeadAes128Gcm => gcm(&AES_128_GCM)?,
            Profile::AeadAes256Gcm => gcm(&AES_256_GCM)?,
            Profile::AesCm128HmacSha1_80 => Transform::CmHmac(Box::new(CmHmac {
                key: UnboundCipherKey::new(&AES_128, key)
                    .and_then(EncryptingKey::ctr)
                    .map_err(|_| KeyError)?,
                salt: Zeroizing::new(salt.try_into().map_err(|_| KeyError)?),
                auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth),
            })),
        };
        Ok(Self { kind, transform })
    }

    /// Bytes of the tag.
    pub(super) const fn tag_len(&self) -> usize {
        match self.transform {
            Transform::Gcm { .. } => Profile::AeadAes128Gcm.tag_len(),
            Transform::CmHmac(_) => Profile::AesCm128HmacSha1_80.tag_len(),
        }
    }

    /// Whether encryption and authentication are one; orders the trailer of SRTCP.
    pub(super) const fn is_aead(&self) -> bool {
        matches!(self.transform, Transform::Gcm { .. })
    }

    /// Encrypts `plain` into `out` (same length) and writes the tag. `None`: wrong lengths.
    pub(super) fn seal(
        &self,
        envelope: &Envelope<'_>,
        plain: &[u8],
        out: &mut [u8],
        tag: &mut [u8],
    ) -> Option<()> {
        match &self.transform {
            Transform::Gcm { key, salt } => {
                let nonce = gcm_nonce(salt, envelope);
                let mut joined = [0; RTCP_HEADER_LEN + 4];
                let aad = Aad::from(self.gcm_aad(envelope, &mut joined)?);
                key.seal_out_of_place_scatter(nonce, aad, plain, out, &[], tag).ok()
            }
            Transform::CmHmac(keys) => {
                let CmHmac { key, salt, auth } = &**keys;
                out.copy_from_slice(plain.get(..out.len())?);
                cm_apply(key, salt, envelope, out)?;
                tag.copy_from_slice(mac(auth, envelope, out).as_ref().get(..tag.len())?);
                Some(())
            }
        }
    }

    /// Verifies the tag, then decrypts `sealed` into `out` (same length). `None`: not authentic;
    /// what `out` then holds is meaningless.
    pub(super) fn open(
        &self,
        envelope: &Envelope<'_>,
        sealed: &[u8],
        tag: &[u8],
        out: &mut [u8],
    ) -> Option<()> {
        match &self.transform {
            Transform::Gcm { key, salt } => {
                let nonce = gcm_nonce(salt, envelope);
                let mut joined = [0; RTCP_HEADER_LEN + 4];
                let aad = Aad::from(self.gcm_aad(envelope, &mut joined)?);
                key.open_separate_gather(nonce, aad, sealed, tag, out).ok()
            }
            Transform::CmHmac(keys) => {
                let CmHmac { key, salt, auth } = &**keys;
                let expected = mac(auth, envelope, sealed);
                let expected = expected.as_ref().get(..self.tag_len())?;
                if !bool::from(expected.ct_eq(tag)) {
                    return None;
                }
                out.copy_from_slice(sealed);
                cm_apply(key, salt, envelope, out)
            }
        }
    }

    /// RFC 7714 section 8.2 (RTP: the header), section 9.2 (RTCP: header, E bit and index).
    fn gcm_aad<'a>(
        &self,
        envelope: &Envelope<'a>,
        joined: &'a mut [u8; RTCP_HEADER_LEN + 4],
    ) -> Option<&'a [u8]> {
        match self.kind {
            Kind::Rtp => Some(envelope.header),
            Kind::Rtcp => {
                let (header, word) = joined.split_at_mut(RTCP_HEADER_LEN);
                header.copy_from_slice(envelope.header.get(..RTCP_HEADER_LEN)?);
                word.copy_from_slice(&envelope.suffix);
                Some(joined)
            }
        }
    }
}

/// RFC 7714 sections 8.1 and 9.1: salt XOR (16 zero bits, SSRC, 48-bit index).
fn gcm_nonce(salt: &[u8; 12], envelope: &Envelope<'_>) -> Nonce {
    let mut nonce = [0; 12];
    nonce[2..6].copy_from_slice(&envelope.ssrc.to_be_bytes());
    nonce[6..].copy_from_slice(&envelope.index.to_be_bytes()[2..]);
    for (byte, salt) in nonce.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 3711 section 4.1.1: IV = salt * 2^16 XOR SSRC * 2^64 XOR index * 2^16.
fn cm_apply(
    key: &EncryptingKey,
    salt: &[u8; 14],
    envelope: &Envelope<'_>,
    in_out: &mut [u8],
) -> Option<()> {
    let mut iv = [0; 16];
    iv[4..8].copy_from_slice(&envelope.ssrc.to_be_bytes());
    iv[8..14].copy_from_slice(&envelope.index.to_be_bytes()[2..]);
    for (byte, salt) in iv.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    key.less_safe_encrypt(in_out, EncryptionContext::Iv128(FixedLength::from(iv))).ok().map(drop)
}

/// RFC 3711 section 4.2: header, ciphertext, then rollover count (RTP) or E bit and index (RTCP).
fn mac(auth: &hmac::Key, envelope: &Envelope<'_>, sealed: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(auth);
    context.update(envelope.header);
    context.update(sealed);
    context.update(&envelope.suffix);
    context.sign()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
        digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// RFC 3711 appendix B.2.
    #[test]
    fn aes_counter_mode_vector_of_rfc_3711() {
        let key = hex("2B7E151628AED2A6ABF7158809CF4F3C");
        let salt = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD");
        let key = UnboundCipherKey::new(&AES_128, &key).and_then(EncryptingKey::ctr).unwrap();
        let envelope = Envelope { ssrc: 0, index: 0, header: &[], suffix: [0; 4] };
        let mut stream = vec![0; 16 * 0xFF02];
        cm_apply(&key, salt.as_slice().try_into().unwrap(), &envelope, &mut stream).unwrap();
        let first = "E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB\
                     41E95B3BB0A2E8DD477901E4FCA894C0";
        let last = "EC8CDF7398607CB0F2D21675EA9EA1E4362B7C3C6773516318A077D7FC5073AE\
                    6A2CC3787889374FBEB4C81B17BA6C44";
        assert_eq!(stream[..48], hex(first));
        assert_eq!(stream[0xFEFF * 16..][..48], hex(last));
    }

    const GALLIA: &[u8] = b"Gallia est omnis divisa in partes tres";

    fn gcm_rtp(profile: Profile, key: &[u8], sealed: &str) {
        let cipher = Cipher::new(profile, Kind::Rtp, key, b"Quid pro quo", &[]).unwrap();
        let header = hex("8040f17b8041f8d35501a0b2");
        let envelope =
            Envelope { ssrc: 0x5501_a0b2, index: 0xf17b, header: &header, suffix: [0; 4] };
        let expected = hex(sealed);
        let (body, tag) = expected.split_at(GALLIA.len());
        let (mut out, mut out_tag) = (vec![0; GALLIA.len()], [0; 16]);
        cipher.seal(&envelope, GALLIA, &mut out, &mut out_tag).unwrap();
        assert_eq!((out.as_slice(), out_tag.as_slice()), (body, tag));
        let mut plain = vec![0; GALLIA.len()];
        cipher.open(&envelope, body, tag, &mut plain).unwrap();
        assert_eq!(plain, GALLIA);
    }

    /// RFC 7714 sections 16.1 and 16.2.
    #[test]
    fn srtp_gcm_vectors_of_rfc_7714() {
        let key: Vec<u8> = (0..32).collect();
        gcm_rtp(
            Profile::AeadAes128Gcm,
            &key[..16],
            "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
             899d7f27beb16a9152cf765ee4390cce",
        );
        gcm_rtp(
            Profile::AeadAes256Gcm,
            &key,
            "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba6\
             3799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
        );
    }

    /// RFC 7714 section 17.1.
    #[test]
    fn srtcp_gcm_vector_of_rfc_7714() {
        let key: Vec<u8> = (0..16).collect();
        let cipher =
            Cipher::new(Profile::AeadAes128Gcm, Kind::Rtcp, &key, b"Quid pro quo", &[]).unwrap();
        let header = hex("81c8000d4d617273");
        let plain = hex("4e5450314e545032525450200000042a0000e9304c756e61\
             deadbeefdeadbeefdeadbeefdeadbeefdeadbeef");
        let envelope = Envelope {
            ssrc: 0x4d61_7273,
            index: 0x5d4,
            header: &header,
            suffix: 0x8000_05d4_u32.to_be_bytes(),
        };
        let (mut out, mut tag) = (vec![0; plain.len()], [0; 16]);
        cipher.seal(&envelope, &plain, &mut out, &mut tag).unwrap();
        let expected = "63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda\
                        4ce09b4686303ded0bb9275b";
        assert_eq!(out, hex(expected));
        assert_eq!(tag.as_slice(), hex("c84aa45896cf4d2fc5abf87245d9eade"));
    }

    #[test]
    fn every_profile_refuses_a_flipped_bit_anywhere() {
        for (profile, auth) in [
            (Profile::AeadAes128Gcm, &[][..]),
            (Profile::AeadAes256Gcm, &[][..]),
            (Profile::AesCm128HmacSha1_80, &[7; 20][..]),
        ] {
            let key = vec![1; profile.key_len()];
            let salt = vec![2; profile.salt_len()];
            let cipher = Cipher::new(profile, Kind::Rtp, &key, &salt, auth).unwrap();
            let mut packet = [9; 40];
            fn envelope(header: &[u8]) -> Envelope<'_> {
                Envelope { ssrc: 1, index: 2, header, suffix: [0; 4] }
            }
            let (header, rest) = packet.split_at_mut(12);
            let (body, rest) = rest.split_at_mut(8);
            let tag = &mut rest[..profile.tag_len()];
            cipher.seal(&envelope(header), b"payload!", body, tag).unwrap();
            let end = 20 + profile.tag_len();
            for byte in 0..end {
                packet[byte] ^= 0x10;
                let opened = cipher.open(
                    &envelope(&packet[..12]),
                    &packet[12..20],
                    &packet[20..end],
                    &mut [0; 8],
                );
                assert!(opened.is_none(), "byte {byte}");
                packet[byte] ^= 0x10;
            }
        }
    }
}
