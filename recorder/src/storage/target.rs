//! Where a partner's recordings go: its configuration, with credentials that can be set and used but
//! never read again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::template::Key;
use crate::limits::{SECRET_BYTES_MAX, TARGET_TEXT_BYTES_MAX};

/// A credential. No `Debug`, and never serialized but by [`Target::reveal`].
#[derive(Clone, Default, Deserialize)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// For the request that needs it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

/// Why a target cannot be used. Blame: the partner. Begins with the name of the setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// What is no target at all; what it said is not repeated, it may be a credential.
    #[error("must be a storage: s3, azure, gcs, sftp, webdav, put or local, with its settings")]
    Syntax,
    /// Empty, too long, or with characters that do not belong there.
    #[error("{0}: empty, too long, or not of plain visible characters")]
    Text(&'static str),
    /// Two ways to log in, or none.
    #[error("{0}: give exactly one of them")]
    OneOf(&'static str),
    /// Not a folder that can be used as it stands.
    #[error("{0}: must be plain folders without `..`, at most 512 characters")]
    Folder(&'static str),
    /// Nowhere to put the name of an object.
    #[error("url: must have {{key}} once, in its path or query")]
    NoKey,
    /// Not an OpenSSH key.
    #[error("{0}: must be an OpenSSH key, Ed25519 or ECDSA")]
    SshKey(&'static str),
    /// Not a service account.
    #[error("service_account: must be the JSON key of a service account")]
    ServiceAccount,
}

/// Amazon S3, or what speaks like it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// `https://minio.example.com`; Amazon's own without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// `eu-central-1`.
    pub region: String,
    /// Name of the bucket.
    pub bucket: String,
    /// Folder below which everything goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Key>,
    /// Id of the access key.
    #[serde(skip_serializing)]
    pub access_key: Secret,
    /// The access key itself.
    #[serde(skip_serializing)]
    pub secret: Secret,
    /// Of temporary credentials.
    #[serde(default, skip_serializing)]
    pub session_token: Option<Secret>,
    /// Whether the bucket is a part of the host's name, as Amazon wants it, and not of the path.
    #[serde(default)]
    pub virtual_host: bool,
    /// Whether SHA-256 is sent with each part; off for servers that know nothing of it.
    #[serde(default = "yes")]
    pub checksums: bool,
}

/// Azure Blob Storage.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Azure {
    /// Name of the storage account.
    pub account: String,
    /// Name of the container.
    pub container: String,
    /// Folder below which everything goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Key>,
    /// `https://account.blob.core.windows.net` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Key of the account. Either this or `sas`.
    #[serde(default, skip_serializing)]
    pub access_key: Option<Secret>,
    /// Shared access signature for the container: `sv=…&sig=…`.
    #[serde(default, skip_serializing)]
    pub sas: Option<Secret>,
}

/// Google Cloud Storage.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gcs {
    /// Name of the bucket.
    pub bucket: String,
    /// Folder below which everything goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Key>,
    /// JSON key of a service account.
    #[serde(skip_serializing)]
    pub service_account: Secret,
}

/// A server with SSH.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sftp {
    /// Its name.
    pub host: String,
    /// Its port.
    #[serde(default = "ssh_port")]
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// Private key in OpenSSH's format, without a passphrase. Either this or `password`.
    #[serde(default, skip_serializing)]
    pub key: Option<Secret>,
    /// Password.
    #[serde(default, skip_serializing)]
    pub password: Option<Secret>,
    /// The server's public key, as it stands in `known_hosts`: `ssh-ed25519 AAAA…`.
    pub host_key: String,
    /// Folder below which everything goes; of the user's own without `/` at the beginning.
    #[serde(default)]
    pub folder: String,
}

/// A server with WebDAV.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webdav {
    /// Folder below which everything goes, `https://dav.example.com/recordings`.
    pub url: String,
    /// Who logs in.
    pub user: String,
    /// Password.
    #[serde(skip_serializing)]
    pub password: Secret,
}

/// A URL that takes a PUT, as presigned ones do. It carries its own authorization, or gets a header.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Put {
    /// `https://in.example.com/upload/{key}?token=…`
    #[serde(skip_serializing)]
    pub url: Secret,
    /// Where the same object is read back, with `{key}`; `url` without it.
    #[serde(default, skip_serializing)]
    pub read_url: Option<Secret>,
    /// Value of the header `Authorization`, sent to both.
    #[serde(default, skip_serializing)]
    pub authorization: Option<Secret>,
}

/// A folder of this machine, if the operator allows it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// The folder.
    pub folder: PathBuf,
}

/// A partner's storage. Serializing it leaves the credentials out: that is what the API shows.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Target {
    /// Amazon S3 and compatibles.
    S3(S3),
    /// Azure Blob Storage.
    Azure(Azure),
    /// Google Cloud Storage.
    Gcs(Gcs),
    /// SSH.
    Sftp(Sftp),
    /// WebDAV.
    Webdav(Webdav),
    /// Presigned HTTPS.
    Put(Put),
    /// A folder of this machine.
    Local(Local),
}

fn yes() -> bool {
    true
}

fn ssh_port() -> u16 {
    22
}

impl Target {
    /// Reads and checks a configuration in JSON. Whether its address is allowed is asked when it is
    /// opened, see [`super::Storages::open`].
    ///
    /// # Errors
    /// [`TargetError`]
    pub fn parse(json: &str) -> Result<Self, TargetError> {
        let target: Self = serde_json::from_str(json).map_err(|_| TargetError::Syntax)?;
        target.check()?;
        Ok(target)
    }

    /// Everything, credentials included, to be sealed and stored; [`Target::parse`] reads it.
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut all = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = all.as_object_mut() {
            for (name, secret) in self.secrets() {
                fields.insert(name.to_owned(), secret.expose().into());
            }
        }
        Zeroizing::new(all.to_string())
    }

    /// One word, as in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::S3(_) => "s3",
            Self::Azure(_) => "azure",
            Self::Gcs(_) => "gcs",
            Self::Sftp(_) => "sftp",
            Self::Webdav(_) => "webdav",
            Self::Put(_) => "put",
            Self::Local(_) => "local",
        }
    }

    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        match self {
            Self::S3(s3) => given(vec![
                ("access_key", Some(&s3.access_key)),
                ("secret", Some(&s3.secret)),
                ("session_token", s3.session_token.as_ref()),
            ]),
            Self::Azure(azure) => {
                given(vec![("access_key", azure.access_key.as_ref()), ("sas", azure.sas.as_ref())])
            }
            Self::Gcs(gcs) => vec![("service_account", &gcs.service_account)],
            Self::Sftp(sftp) => {
                given(vec![("key", sftp.key.as_ref()), ("password", sftp.password.as_ref())])
            }
            Self::Webdav(dav) => vec![("password", &dav.password)],
            Self::Put(put) => given(vec![
                ("url", Some(&put.url)),
                ("read_url", put.read_url.as_ref()),
                ("authorization", put.authorization.as_ref()),
            ]),
            Self::Local(_) => Vec::new(),
        }
    }

    fn check(&self) -> Result<(), TargetError> {
        // What stands in headers must be visible: the libraries take it as it is.
        for (name, secret) in self.secrets() {
            let text = secret.expose();
            let lines = matches!(name, "service_account" | "key" | "password");
            let words = name == "authorization"; // "Bearer …": a space, no line.
            let fits = |b: u8| {
                b.is_ascii_graphic()
                    || (words && b == b' ')
                    || (lines && (b >= b' ' || b"\r\n\t".contains(&b)))
            };
            if text.is_empty() || text.len() > SECRET_BYTES_MAX || !text.bytes().all(fits) {
                return Err(TargetError::Text(name));
            }
        }
        match self {
            Self::S3(s3) => s3.check(),
            Self::Azure(azure) => azure.check(),
            Self::Gcs(gcs) => gcs.check(),
            Self::Sftp(sftp) => sftp.check(),
            Self::Webdav(dav) => dav.check(),
            Self::Put(put) => put.check(),
            Self::Local(local) => local.check(),
        }
    }
}

fn given<'s>(all: Vec<(&'static str, Option<&'s Secret>)>) -> Vec<(&'static str, &'s Secret)> {
    all.into_iter().filter_map(|(name, secret)| Some((name, secret?))).collect()
}

fn text(name: &'static str, text: &str, fits: impl Fn(u8) -> bool) -> Result<(), TargetError> {
    let length = 1..=TARGET_TEXT_BYTES_MAX;
    let good = length.contains(&text.len()) && text.bytes().all(fits);
    good.then_some(()).ok_or(TargetError::Text(name))
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_".contains(&byte)
}

/// A URL without anything behind its path.
fn is_url(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"?#\\{}\"<>".contains(&byte)
}

impl S3 {
    fn check(&self) -> Result<(), TargetError> {
        text("region", &self.region, is_name)?;
        text("bucket", &self.bucket, is_name)?;
        self.endpoint.as_ref().map_or(Ok(()), |endpoint| text("endpoint", endpoint, is_url))
    }
}

impl Azure {
    fn check(&self) -> Result<(), TargetError> {
        text("account", &self.account, is_name)?;
        text("container", &self.container, is_name)?;
        if self.access_key.is_some() == self.sas.is_some() {
            return Err(TargetError::OneOf("access_key and sas"));
        }
        self.endpoint.as_ref().map_or(Ok(()), |endpoint| text("endpoint", endpoint, is_url))
    }
}

impl Gcs {
    fn check(&self) -> Result<(), TargetError> {
        let account: Result<serde_json::Map<String, serde_json::Value>, _> =
            serde_json::from_str(self.service_account.expose());
        let account = account.map_err(|_| TargetError::ServiceAccount)?;
        let has = |name| account.get(name).is_some_and(serde_json::Value::is_string);
        if !["client_email", "private_key", "private_key_id"].into_iter().all(has) {
            return Err(TargetError::ServiceAccount);
        }
        text("bucket", &self.bucket, is_name)
    }
}

impl Sftp {
    fn check(&self) -> Result<(), TargetError> {
        text("host", &self.host, |b| b.is_ascii_graphic())?;
        text("user", &self.user, |b| b.is_ascii_graphic())?;
        if self.key.is_some() == self.password.is_some() {
            return Err(TargetError::OneOf("key and password"));
        }
        let folder = self.folder.strip_prefix('/').unwrap_or(&self.folder);
        if !folder.is_empty() && Key::parse(folder).is_err() {
            return Err(TargetError::Folder("folder"));
        }
        super::sftp::check_keys(self)
    }
}

impl Webdav {
    fn check(&self) -> Result<(), TargetError> {
        text("url", &self.url, is_url)?;
        text("user", &self.user, |b| b.is_ascii_graphic() && b != b':')
    }
}

impl Put {
    fn check(&self) -> Result<(), TargetError> {
        for url in [Some(&self.url), self.read_url.as_ref()].into_iter().flatten() {
            if url.expose().matches("{key}").count() != 1 {
                return Err(TargetError::NoKey);
            }
        }
        Ok(())
    }
}

impl Local {
    fn check(&self) -> Result<(), TargetError> {
        let climbs = self.folder.components().any(|part| part.as_os_str() == "..");
        if climbs || !self.folder.is_absolute() || self.folder.as_os_str().len() > 512 {
            return Err(TargetError::Folder("folder"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const HOST_KEY: &str = "ssh-ed25519 \
        AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn all() -> Vec<String> {
        [
            r#"{"type":"s3","region":"eu-1","bucket":"b","prefix":"in/x","access_key":"CANARY1","secret":"CANARY2","session_token":"CANARY3"}"#,
            r#"{"type":"azure","account":"a","container":"c","access_key":"CANARY=="}"#,
            r#"{"type":"azure","account":"a","container":"c","sas":"sv=1&sig=CANARY"}"#,
            r#"{"type":"gcs","bucket":"b","service_account":"{\"client_email\":\"CANARY\",\"private_key\":\"CANARY\",\"private_key_id\":\"CANARY\"}"}"#,
            r#"{"type":"sftp","host":"h.example.com","user":"u","password":"CANARY","host_key":"HOSTKEY","folder":"/in"}"#,
            r#"{"type":"webdav","url":"https://d.example.com/x","user":"u","password":"CANARY"}"#,
            r#"{"type":"put","url":"https://d.example.com/{key}?sig=CANARY","read_url":"https://e.example.com/{key}?sig=CANARY"}"#,
            r#"{"type":"local","folder":"/var/lib/recordings"}"#,
        ]
        .map(|text| text.replace("HOSTKEY", HOST_KEY))
        .to_vec()
    }

    #[test]
    fn credentials_can_be_stored_but_not_shown() {
        for text in all() {
            let target = Target::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            let shown = serde_json::to_string(&target).unwrap();
            assert!(!shown.contains("CANARY"), "{shown}");
            assert!(shown.contains(&format!("\"type\":\"{}\"", target.kind())), "{shown}");
            let kept = target.reveal();
            assert_eq!(kept.matches("CANARY").count(), text.matches("CANARY").count(), "{}", *kept);
            assert_eq!(*Target::parse(&kept).unwrap().reveal(), *kept);
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_repeating_it() {
        let mut seen = 0;
        for (from, to) in [
            ("\"eu-1\"", "\"eu 1\""),
            ("\"eu-1\"", "\"\""),
            ("\"bucket\":\"b\"", "\"bucket\":\"b/../x\""),
            ("in/x", "../x"),
            ("\"CANARY2\"", "\"CANARY\\n2\""),
            ("\"CANARY2\"", "\"\""),
            ("\"CANARY2\"", "7"),
            ("\"secret\"", "\"secrets\""),
            ("\"access_key\":\"CANARY==\"", "\"container\":\"c\""),
            ("\"CANARY==\"", "\"CANARY\",\"sas\":\"CANARY\""),
            ("client_email", "mail"),
            (HOST_KEY, "ssh-ed25519 CANARY"),
            ("\"/in\"", "\"/in/../..\""),
            ("\"password\":\"CANARY\",\"host_key\"", "\"key\":\"CANARY\",\"host_key\""),
            ("https://d.example.com/x", "https://d.example.com/x?CANARY"),
            ("\"https://d.example.com/{key}", "\"https://d.example.com/"),
            ("/var/lib/recordings", "/var/../etc"),
            ("/var/lib/recordings", "recordings"),
            ("\"type\":\"local\"", "\"type\":\"floppy\""),
        ] {
            for text in all().iter().filter(|text| text.contains(from)) {
                let error = Target::parse(&text.replace(from, to)).err().map(|e| e.to_string());
                let error = error.unwrap_or_else(|| panic!("{to} was taken"));
                assert!(!error.contains("CANARY"), "{error}");
                seen += 1;
            }
        }
        assert!(seen >= 19, "{seen}");
    }
}
