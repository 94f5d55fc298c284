//! Session keys from a master key (RFC 3711 section 4.3, RFC 6188 for 256 bit, RFC 7714 section 11).

use aws_lc_rs::{
    cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey},
    iv::FixedLength,
};
use zeroize::Zeroizing;

use super::{
    KeyError, MasterKey, Profile,
    cipher::{Cipher, Kind},
};

/// HMAC-SHA1 key length (RFC 3711 section 5.2).
const AUTH_KEY_LEN: usize = 20;

/// The cipher for RTP or RTCP of one direction. The key derivation rate is 0 (once per session).
pub(super) fn derive(master: &MasterKey, kind: Kind) -> Result<Cipher, KeyError> {
    let [key_label, auth_label, salt_label] = match kind {
        Kind::Rtp => [0, 1, 2],
        Kind::Rtcp => [3, 4, 5],
    };
    let key = prf(master, key_label, master.profile.key_len())?;
    let salt = prf(master, salt_label, master.profile.salt_len())?;
    let auth = match master.profile {
        Profile::AesCm128HmacSha1_80 => prf(master, auth_label, AUTH_KEY_LEN)?,
        Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => Zeroizing::new(Vec::new()),
    };
    Cipher::new(master.profile, kind, &key, &salt, &auth)
}

/// AES-CM keystream for a label (RFC 3711 section 4.3.3). A 12-byte salt is padded with zeros on
/// the right to 14 bytes (RFC 7714 section 11).
fn prf(master: &MasterKey, label: u8, len: usize) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let algorithm = if master.key.len() == 32 { &AES_256 } else { &AES_128 };
    let mut iv = [0; 16];
    iv[..master.salt.len()].copy_from_slice(&master.salt);
    iv[7] ^= label;
    let key = UnboundCipherKey::new(algorithm, &master.key)
        .and_then(EncryptingKey::ctr)
        .map_err(|_| KeyError)?;
    let mut out = Zeroizing::new(vec![0; len]);
    key.less_safe_encrypt(&mut out, EncryptionContext::Iv128(FixedLength::from(iv)))
        .map_err(|_| KeyError)?;
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::transport::srtp::cipher::tests::hex;

    /// RFC 3711 appendix B.3.
    #[test]
    fn key_derivation_vectors_of_rfc_3711() {
        let master = MasterKey::new(
            Profile::AesCm128HmacSha1_80,
            &hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
            &hex("0EC675AD498AFEEBB6960B3AABE6"),
        )
        .unwrap();
        let cases = [
            (0, "C61E7A93744F39EE10734AFE3FF7A087"),
            (2, "30CBBC08863D8C85D49DB34A9AE1"),
            (
                1,
                "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE\
                 E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25\
                 6D6E919A48B610EF17C2041E47403576",
            ),
        ];
        for (label, expected) in cases {
            let expected = hex(expected);
            assert_eq!(*prf(&master, label, expected.len()).unwrap(), expected, "label {label}");
        }
    }

    /// RFC 6188 section 7.4 uses a 14-byte salt; lengths here are those of RFC 7714, so only the
    /// refusal of others is checked (values: `tests/transport_srtp.rs` against another library).
    #[test]
    fn wrong_lengths_are_refused() {
        assert!(MasterKey::new(Profile::AeadAes256Gcm, &[0; 32], &[0; 14]).is_none());
        assert!(MasterKey::new(Profile::AeadAes128Gcm, &[0; 15], &[0; 12]).is_none());
    }
}
