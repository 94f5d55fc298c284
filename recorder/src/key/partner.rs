//! The partner's wrap of a data key: an `age` file in armor that holds the 32 bytes.
//!
//! The stock tool opens it: `age -d -i identity.txt key.age > recording.key`. The only place where keys
//! meet `age`; artifacts are sealed elsewhere (`seal`).

use std::io::{self, Read as _, Write as _};

use age::{
    Decryptor, Encryptor,
    armor::{ArmoredReader, ArmoredWriter, Format},
    x25519::{Identity, Recipient},
};
use zeroize::Zeroizing;

use super::{DataKey, KEY_BYTES};
use crate::limits::{PARTNER_WRAP_BYTES_MAX, RECIPIENTS_MAX};

/// Why a data key cannot be wrapped to a partner, or unwrapped.
#[derive(Debug, thiserror::Error)]
pub enum PartnerError {
    /// Caller: nobody could open it.
    #[error("no recipient is given")]
    Nobody,
    /// Caller: too many recipients.
    #[error("more than {RECIPIENTS_MAX} recipients")]
    TooMany,
    /// Caller: a recipient of which everybody knows the secret.
    #[error("a recipient is no key that a key generator makes")]
    Weak,
    /// Us: age refused what it may not refuse.
    #[error("age: {0}")]
    Wrap(io::Error),
    /// The wrap is too long, changed, of other recipients or holds no data key.
    #[error("the partner's wrap does not open")]
    Unwrap,
}

/// Wraps a data key so that any one of the recipients opens it.
///
/// # Errors
/// [`PartnerError`].
pub fn wrap(key: &DataKey, recipients: &[Recipient]) -> Result<String, PartnerError> {
    if recipients.len() > RECIPIENTS_MAX {
        return Err(PartnerError::TooMany);
    }
    if recipients.iter().any(crate::seal::is_weak) {
        return Err(PartnerError::Weak);
    }
    let all = recipients.iter().map(|one| one as &dyn age::Recipient);
    let encryptor = Encryptor::with_recipients(all).map_err(|_| PartnerError::Nobody)?;
    let write = || -> io::Result<Vec<u8>> {
        let armored = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
        let mut sealed = encryptor.wrap_output(armored)?;
        sealed.write_all(key.bytes())?;
        sealed.finish()?.finish()
    };
    let armored = write().map_err(PartnerError::Wrap)?;
    String::from_utf8(armored).map_err(|error| PartnerError::Wrap(io::Error::other(error)))
}

/// Opens a wrap: what a partner's own program does.
///
/// # Errors
/// [`PartnerError::Unwrap`].
pub fn unwrap(armored: &str, identity: &Identity) -> Result<DataKey, PartnerError> {
    if armored.len() > PARTNER_WRAP_BYTES_MAX {
        return Err(PartnerError::Unwrap);
    }
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(armored.as_bytes()))
        .map_err(|_| PartnerError::Unwrap)?;
    let opened = decryptor.decrypt(std::iter::once(identity as &dyn age::Identity));
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES + 1));
    opened
        .map_err(|_| PartnerError::Unwrap)?
        .take(KEY_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|_| PartnerError::Unwrap)?;
    DataKey::from_bytes(&bytes).map_err(|_| PartnerError::Unwrap)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{
        fs,
        process::{Command, Stdio},
    };

    use age::secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn any_one_recipient_opens_it_and_nobody_else() {
        let (a, b, other) = (Identity::generate(), Identity::generate(), Identity::generate());
        let key = DataKey::generate();
        let wrap = wrap(&key, &[a.to_public(), b.to_public()]).unwrap();
        for identity in [&a, &b] {
            assert!(unwrap(&wrap, identity).unwrap().bytes() == key.bytes());
        }
        assert!(matches!(unwrap(&wrap, &other), Err(PartnerError::Unwrap)));
    }

    #[test]
    fn a_changed_wrap_does_not_open() {
        let identity = Identity::generate();
        let key = DataKey::generate();
        let wrap = wrap(&key, &[identity.to_public()]).unwrap();
        let lines: Vec<&str> = wrap.lines().collect();
        assert!(wrap.len() < 1024);
        for line in 1..lines.len() - 1 {
            let mut bad = lines.clone();
            let other = if lines[line].starts_with('A') { "B" } else { "A" };
            let changed = format!("{other}{}", &lines[line][1..]);
            bad[line] = &changed;
            assert!(unwrap(&bad.join("\n"), &identity).is_err());
        }
        for bad in ["", "no age file", &wrap[..wrap.len() / 2], &"A".repeat(1 << 20)] {
            assert!(unwrap(bad, &identity).is_err());
        }
    }

    #[test]
    fn no_recipient_and_too_many_are_refused() {
        let key = DataKey::generate();
        assert!(matches!(wrap(&key, &[]), Err(PartnerError::Nobody)));
        let many = vec![Identity::generate().to_public(); RECIPIENTS_MAX + 1];
        assert!(matches!(wrap(&key, &many), Err(PartnerError::TooMany)));
        let most = wrap(&key, &many[1..]).unwrap();
        assert!(most.len() <= PARTNER_WRAP_BYTES_MAX);
    }

    #[test]
    fn a_recipient_that_everybody_can_open_is_refused() {
        // The point 0 of Curve25519 (RFC 7748 section 6.1).
        let zeros = "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z";
        let weak: Recipient = zeros.parse().unwrap();
        let good = Identity::generate().to_public();
        assert!(matches!(wrap(&DataKey::generate(), &[good, weak]), Err(PartnerError::Weak)));
    }

    /// What a partner does, with Debian's `age` (`.ci/setup` installs it).
    #[test]
    fn stock_age_gives_the_key_file() {
        let identity = Identity::generate();
        let key = DataKey::generate();
        let path = std::env::temp_dir().join(format!("conclave-wrap-{}", std::process::id()));
        fs::write(&path, identity.to_string().expose_secret()).unwrap();
        let mut age = Command::new("age")
            .args(["-d", "-i"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("age is installed: run .ci/setup");
        let wrap = wrap(&key, &[identity.to_public()]).unwrap();
        age.stdin.take().unwrap().write_all(wrap.as_bytes()).unwrap();
        let output = age.wait_with_output().unwrap();
        fs::remove_file(&path).unwrap();
        assert!(output.status.success());
        assert!(output.stdout == key.bytes());
    }
}
