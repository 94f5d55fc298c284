//! What can go wrong on the way to a partner's storage, and who must act. No text holds an address,
//! a URL or a credential: storages are told apart by the id that the caller knows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who has to do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// Its configuration, credentials or quota.
    Partner,
    /// The storage or the network; it may pass by itself.
    Environment,
    /// The operator's allow-list, or our own disk.
    Operator,
    /// A defect of ours.
    Us,
}

/// A storage's own word for what it refused, `NoSuchBucket`: letters and digits only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code(String);

impl Code {
    /// `None` for what is no such word.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let plain =
            (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        plain.then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A storage's answer to what it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status, or the code of SFTP.
    pub status: u16,
    /// Its own word.
    pub code: Option<Code>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{} {code}", self.status),
            None => write!(f, "{}", self.status),
        }
    }
}

/// Why something was not stored, found or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Wrong, expired, or without the permission that was needed.
    #[error("the storage does not accept the credentials, or they lack a permission ({0})")]
    Credentials(Answer),
    /// No such bucket, container or folder.
    #[error("the bucket, container or folder does not exist ({0})")]
    NoPlace(Answer),
    /// The object is not there.
    #[error("the object is not in the storage")]
    Missing,
    /// Understood and refused.
    #[error("the storage refuses ({0})")]
    Refused(Answer),
    /// Overloaded or broken.
    #[error("the storage cannot do it now ({0})")]
    Busy(Answer),
    /// No name, no connection, or a connection that broke.
    #[error("the storage cannot be reached")]
    Unreachable,
    /// Connected, and then nothing happened for too long.
    #[error("the storage fell silent")]
    Silent,
    /// No TLS, or a certificate that is not to be trusted.
    #[error("TLS with the storage failed: is its certificate valid, and for its name?")]
    Tls,
    /// Too many names are looked up for this project at the moment.
    #[error("too many storages are asked for at once")]
    Crowded,
    /// The URL or the address behind it belongs to a network that is not allowed.
    #[error("the storage's address is not allowed: {0}")]
    ForbiddenAddress(&'static str),
    /// Another SSH host key than the one that was configured.
    #[error("the server showed another host key than the configured one")]
    HostKey,
    /// What is stored is not what was sent.
    #[error("what the storage holds is not what was sent")]
    Checksum,
    /// No space or quota left.
    #[error("the storage is full")]
    Full,
    /// The storage does not know this upload any more; it must begin anew.
    #[error("the storage has forgotten the upload")]
    Forgotten,
    /// Something the protocol does not provide for.
    #[error("the storage does not speak its protocol")]
    Protocol,
    /// Nothing can be read back, so nothing would be proven.
    #[error("the storage gives nothing back to compare; configure `read_url`")]
    Unverifiable,
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(&'static str),
    /// A part of the wrong size, after the last one, or of another upload. Our caller's mistake.
    #[error("parts do not fit together: {0}")]
    Parts(&'static str),
    /// The local folder failed us.
    #[error("the local folder failed: {0:?}")]
    Disk(std::io::ErrorKind),
}

impl StoreError {
    /// Whether trying again changes nothing until somebody acts; then the push is blocked.
    pub fn is_blocking(&self) -> bool {
        match self {
            Self::Credentials(_)
            | Self::NoPlace(_)
            | Self::Refused(_)
            | Self::ForbiddenAddress(_)
            | Self::HostKey
            | Self::Full
            | Self::Unverifiable
            | Self::Config(_)
            | Self::Parts(_) => true,
            Self::Missing
            | Self::Busy(_)
            | Self::Unreachable
            | Self::Silent
            | Self::Tls
            | Self::Crowded
            | Self::Checksum
            | Self::Forgotten
            | Self::Protocol
            | Self::Disk(_) => false,
        }
    }

    /// Whether the upload must begin anew, with a new [`super::Upload`].
    pub fn is_restart(&self) -> bool {
        matches!(self, Self::Forgotten | Self::Missing | Self::Checksum)
    }

    /// Who must act.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Credentials(_)
            | Self::NoPlace(_)
            | Self::Refused(_)
            | Self::HostKey
            | Self::Full
            | Self::Tls
            | Self::Unverifiable
            | Self::Config(_) => Blame::Partner,
            Self::Missing
            | Self::Busy(_)
            | Self::Unreachable
            | Self::Silent
            | Self::Crowded
            | Self::Checksum
            | Self::Forgotten
            | Self::Protocol => Blame::Environment,
            Self::ForbiddenAddress(_) | Self::Disk(_) => Blame::Operator,
            Self::Parts(_) => Blame::Us,
        }
    }

    /// One word for events and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Credentials(_) => "credentials",
            Self::NoPlace(_) => "no_place",
            Self::Missing => "missing",
            Self::Refused(_) => "refused",
            Self::Busy(_) => "busy",
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Tls => "tls",
            Self::Crowded => "crowded",
            Self::ForbiddenAddress(_) => "forbidden_address",
            Self::HostKey => "host_key",
            Self::Checksum => "checksum",
            Self::Full => "full",
            Self::Forgotten => "forgotten",
            Self::Protocol => "protocol",
            Self::Unverifiable => "unverifiable",
            Self::Config(_) => "config",
            Self::Parts(_) => "parts",
            Self::Disk(_) => "disk",
        }
    }

    /// What an HTTP answer other than success means.
    pub(super) fn from_answer(answer: Answer) -> Self {
        let code = answer.code.as_ref().map_or("", Code::as_str);
        match (answer.status, code) {
            (_, "QuotaExceeded" | "XMinioStorageFull" | "AccountQuotaExceeded") => Self::Full,
            (_, "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "Md5Mismatch") => {
                Self::Checksum
            }
            (_, "NoSuchUpload" | "InvalidPart" | "InvalidBlockList" | "InvalidBlobOrBlock") => {
                Self::Forgotten
            }
            (404, "NoSuchBucket" | "ContainerNotFound") => Self::NoPlace(answer),
            (401 | 403, _) => Self::Credentials(answer),
            (404 | 410, _) => Self::Missing,
            (413 | 507, _) => Self::Full,
            (408 | 423 | 425 | 429 | 500..=599, _) => Self::Busy(answer),
            (400..=499, _) | (300..=399, _) => Self::Refused(answer),
            _ => Self::Protocol,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn judged(status: u16, code: &str) -> StoreError {
        StoreError::from_answer(Answer { status, code: Code::parse(code) })
    }

    #[test]
    fn answers_tell_whether_to_wait_or_to_act() {
        for (status, code, word, blocking, blame) in [
            (401, "", "credentials", true, Blame::Partner),
            (403, "AccessDenied", "credentials", true, Blame::Partner),
            (403, "QuotaExceeded", "full", true, Blame::Partner),
            (404, "NoSuchBucket", "no_place", true, Blame::Partner),
            (404, "ContainerNotFound", "no_place", true, Blame::Partner),
            (404, "NoSuchUpload", "forgotten", false, Blame::Environment),
            (404, "NoSuchKey", "missing", false, Blame::Environment),
            (400, "BadDigest", "checksum", false, Blame::Environment),
            (400, "InvalidRequest", "refused", true, Blame::Partner),
            (307, "TemporaryRedirect", "refused", true, Blame::Partner),
            (429, "", "busy", false, Blame::Environment),
            (503, "SlowDown", "busy", false, Blame::Environment),
            (507, "", "full", true, Blame::Partner),
            (999, "", "protocol", false, Blame::Environment),
        ] {
            let error = judged(status, code);
            assert_eq!(
                (error.word(), error.is_blocking(), error.blame()),
                (word, blocking, blame),
                "{status} {code}"
            );
        }
        assert!(judged(404, "NoSuchUpload").is_restart() && !judged(503, "").is_restart());
    }

    #[test]
    fn a_code_is_a_word_and_nothing_else() {
        for bad in ["", "a b", "https://x", "<Code>", "é", &"a".repeat(65)] {
            assert!(Code::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(judged(400, "Strange").to_string(), "the storage refuses (400 Strange)");
        assert_eq!(judged(400, "http://secret").to_string(), "the storage refuses (400)");
    }
}
