//! The TLS certificate: readable, matching its key, in date.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use x509_cert::{Certificate, der::Decode as _};

use super::Finding;
use crate::config::file::Http;

/// Renewal should have happened: automatic ones run a month before the end.
const RENEW_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);
/// Seconds of a day, for text.
const DAY_SECONDS: u64 = 24 * 3600;

/// Checks the files named in the configuration.
pub(super) fn check(http: &Http) -> Finding {
    match (&http.certificate, &http.private_key) {
        (Some(certificate), Some(key)) => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            check_files(certificate, key, now)
        }
        _ => Finding::warn(
            "none: plain HTTP, on loopback only",
            "set http.certificate and http.private_key, or put a TLS proxy on this machine in front",
        ),
    }
}

fn check_files(certificate: &Path, key: &Path, now: Duration) -> Finding {
    let chain = match read_chain(certificate) {
        Ok(chain) => chain,
        Err(problem) => return Finding::fail(problem, "give a PEM file with the whole chain"),
    };
    let key = match fs::read(key).map(|text| PrivateKeyDer::from_pem_slice(&text)) {
        Ok(Ok(key)) => key,
        Ok(Err(_)) => {
            return Finding::fail("the key file holds no PEM key", "see http.private_key");
        }
        Err(error) => {
            return Finding::fail(format!("{}: {error}", key.display()), "see http.private_key");
        }
    };
    if let Err(error) = CertifiedKey::from_der(chain.clone(), key, &aws_lc_rs::default_provider()) {
        let remedy = "give the key that belongs to the first certificate of the file";
        return Finding::fail(format!("certificate and key: {error}"), remedy);
    }
    match chain.first().map(|der| Certificate::from_der(der)) {
        Some(Ok(certificate)) => check_dates(&certificate, now),
        _ => Finding::fail("the certificate cannot be parsed", "give an X.509 certificate"),
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(format!("{} holds no certificate", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn check_dates(certificate: &Certificate, now: Duration) -> Finding {
    let validity = certificate.tbs_certificate().validity();
    let (start, end) =
        (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration());
    let days = end.saturating_sub(now).as_secs() / DAY_SECONDS;
    if now < start {
        Finding::fail("not valid yet", "check the clock, or wait")
    } else if now >= end {
        Finding::fail("expired", "renew it; the server reads it at its start")
    } else if end - now < RENEW_BEFORE {
        Finding::warn(format!("expires in {days} days"), "renew it and restart the server")
    } else {
        Finding::ok(format!("matches its key, valid for {days} more days"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::path::PathBuf;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// 2026-06-01T00:00:00Z.
    const JUNE: Duration = Duration::from_secs(1_780_272_000);

    struct Files {
        dir: PathBuf,
    }

    impl Files {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("conclave-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            let mut params = CertificateParams::new(vec!["conclave.example".to_owned()]).unwrap();
            params.not_before = date_time_ymd(2026, 5, 1);
            params.not_after = date_time_ymd(2026, 8, 1);
            let key = KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            fs::write(dir.join("chain.pem"), certificate.pem()).unwrap();
            fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
            fs::write(dir.join("other.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
            Self { dir }
        }

        fn check(&self, key: &str, now: Duration) -> Finding {
            check_files(&self.dir.join("chain.pem"), &self.dir.join(key), now)
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.dir).unwrap();
        }
    }

    #[test]
    fn dates_are_judged() {
        let files = Files::new("dates");
        let day = Duration::from_secs(DAY_SECONDS);
        assert_eq!(
            files.check("key.pem", JUNE),
            Finding::ok("matches its key, valid for 61 more days")
        );
        assert!(matches!(files.check("key.pem", JUNE + 50 * day), Finding::Warn(..)));
        assert!(matches!(files.check("key.pem", JUNE + 61 * day), Finding::Fail(..)));
        assert!(matches!(files.check("key.pem", JUNE - 40 * day), Finding::Fail(..)));
    }

    #[test]
    fn a_foreign_key_and_missing_files_fail() {
        let files = Files::new("foreign");
        assert!(matches!(files.check("other.pem", JUNE), Finding::Fail(..)));
        assert!(matches!(files.check("chain.pem", JUNE), Finding::Fail(..)));
        assert!(matches!(files.check("absent.pem", JUNE), Finding::Fail(..)));
    }
}
