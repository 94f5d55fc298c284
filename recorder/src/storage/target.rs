//! Where a partner's recordings go, with the names and meaning of the API's storages. Credentials can be
//! used, and never be read again.

use std::path::PathBuf;

use aws_lc_rs::rsa::KeyPair;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::template::Key;
use crate::limits::{SECRET_BYTES_MAX, TARGET_TEXT_BYTES_MAX};

/// A credential. No `Debug`, and never serialized.
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

/// Why a target cannot be used. Blame: the partner. Nothing of what it said is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// What is no target at all.
    #[error("must be a storage of one kind, with its settings")]
    Syntax,
    /// Empty, too long, or with characters that do not belong there.
    #[error("is empty, too long, or not of plain visible characters")]
    Text(&'static str),
    /// Two ways to log in, or none.
    #[error("give either this or `{1}`")]
    OneOf(&'static str, &'static str),
    /// Not a folder that can be used as it stands.
    #[error("must be plain folders without `..`")]
    Folder(&'static str),
    /// Nowhere to put the name of an object.
    #[error("must have {{path}} once, in its path or query")]
    NoPath(&'static str),
    /// Not an OpenSSH key.
    #[error("must be an OpenSSH key, Ed25519 or ECDSA, without a passphrase")]
    SshKey(&'static str),
    /// Not what Azure calls a key.
    #[error("must be an access key in base64")]
    AzureKey,
    /// Not a service account.
    #[error("must be the JSON key of a service account")]
    ServiceAccount,
}

impl TargetError {
    /// The setting that is wrong; none: all of it.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Syntax => None,
            Self::Text(field)
            | Self::OneOf(field, _)
            | Self::Folder(field)
            | Self::NoPath(field)
            | Self::SshKey(field) => Some(field),
            Self::AzureKey => Some("access_key"),
            Self::ServiceAccount => Some("service_account"),
        }
    }
}

/// Amazon S3, or what speaks like it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// `https://minio.example.com`; Amazon's own without it.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// `eu-central-1`.
    pub region: String,
    /// Name of the bucket.
    pub bucket: String,
    /// Id of the access key.
    pub access_key: Secret,
    /// The access key itself.
    pub secret_key: Secret,
    /// Of temporary credentials.
    #[serde(default)]
    pub session_token: Option<Secret>,
    /// Whether the bucket is a part of the host's name, as Amazon wants it, and not of the path.
    #[serde(default)]
    pub virtual_host: bool,
    /// Whether SHA-256 is sent with each part; off for servers that know nothing of it.
    #[serde(default = "yes")]
    pub checksums: bool,
}

/// Azure Blob Storage.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Azure {
    /// Name of the storage account.
    pub account: String,
    /// Name of the container.
    pub container: String,
    /// `https://account.blob.core.windows.net` without it.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Key of the account. Either this or `sas`.
    #[serde(default)]
    pub access_key: Option<Secret>,
    /// Shared access signature for the container: `sv=…&sig=…`.
    #[serde(default)]
    pub sas: Option<Secret>,
}

/// Google Cloud Storage.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gcs {
    /// Name of the bucket.
    pub bucket: String,
    /// JSON key of a service account.
    pub service_account: Secret,
}

/// A server with SSH.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sftp {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// Private key in OpenSSH's format, without a passphrase. Either this or `password`.
    #[serde(default)]
    pub private_key: Option<Secret>,
    /// Password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// The server's public key, as it stands in `known_hosts`: `ssh-ed25519 AAAA…`.
    pub host_key: String,
    /// Folder below which everything goes; of the user's own without `/` at the beginning.
    #[serde(default)]
    pub folder: String,
}

/// A server with WebDAV.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webdav {
    /// Folder below which everything goes, `https://dav.example.com/recordings`.
    pub url: String,
    /// Who logs in.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// A URL that takes a PUT. It carries its own authorization, or gets a header.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpPut {
    /// `https://in.example.com/upload/{path}?token=…`
    pub url: Secret,
    /// Where the same object is read back, with `{path}`; `url` without it.
    #[serde(default)]
    pub read_url: Option<Secret>,
    /// Value of the header `Authorization`, sent to both.
    #[serde(default)]
    pub authorization: Option<Secret>,
}

/// A folder of this machine, if the operator allows it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// The folder.
    pub folder: PathBuf,
}

/// A partner's storage.
#[derive(Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
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
    /// A URL for each file.
    HttpPut(HttpPut),
    /// A folder of this machine.
    Local(Local),
}

fn yes() -> bool {
    true
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

    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        match self {
            Self::S3(s3) => given(vec![
                ("access_key", Some(&s3.access_key)),
                ("secret_key", Some(&s3.secret_key)),
                ("session_token", s3.session_token.as_ref()),
            ]),
            Self::Azure(azure) => {
                given(vec![("access_key", azure.access_key.as_ref()), ("sas", azure.sas.as_ref())])
            }
            Self::Gcs(gcs) => vec![("service_account", &gcs.service_account)],
            Self::Sftp(sftp) => given(vec![
                ("private_key", sftp.private_key.as_ref()),
                ("password", sftp.password.as_ref()),
            ]),
            Self::Webdav(dav) => vec![("password", &dav.password)],
            Self::HttpPut(put) => given(vec![
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
            let lines = matches!(name, "service_account" | "private_key" | "password");
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
            Self::HttpPut(put) => put.check(),
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
            return Err(TargetError::OneOf("access_key", "sas"));
        }
        let decodes = |key: &Secret| STANDARD.decode(key.expose()).is_ok();
        if !self.access_key.as_ref().is_none_or(decodes) {
            return Err(TargetError::AzureKey);
        }
        self.endpoint.as_ref().map_or(Ok(()), |endpoint| text("endpoint", endpoint, is_url))
    }
}

impl Gcs {
    fn check(&self) -> Result<(), TargetError> {
        let account: Result<serde_json::Map<String, serde_json::Value>, _> =
            serde_json::from_str(self.service_account.expose());
        let account = account.map_err(|_| TargetError::ServiceAccount)?;
        let said = |name| account.get(name).and_then(serde_json::Value::as_str);
        let is_named = said("client_email").is_some() && said("private_key_id").is_some();
        if !is_named || !said("private_key").is_some_and(is_rsa_key) {
            return Err(TargetError::ServiceAccount);
        }
        text("bucket", &self.bucket, is_name)
    }
}

/// PKCS #8 in PEM (RFC 7468 section 10), as Google gives keys out.
fn is_rsa_key(pem: &str) -> bool {
    let body = pem.trim().strip_prefix("-----BEGIN PRIVATE KEY-----");
    let body = body.and_then(|body| body.strip_suffix("-----END PRIVATE KEY-----"));
    let lines = body.map(|body| body.split_whitespace().collect::<String>());
    let der = lines.and_then(|lines| STANDARD.decode(lines).ok()).map(Zeroizing::new);
    der.is_some_and(|der| KeyPair::from_pkcs8(&der).is_ok())
}

impl Sftp {
    fn check(&self) -> Result<(), TargetError> {
        text("host", &self.host, |b| b.is_ascii_graphic())?;
        text("user", &self.user, |b| b.is_ascii_graphic())?;
        if self.private_key.is_some() == self.password.is_some() {
            return Err(TargetError::OneOf("password", "private_key"));
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

impl HttpPut {
    fn check(&self) -> Result<(), TargetError> {
        let both = [("url", Some(&self.url)), ("read_url", self.read_url.as_ref())];
        for (field, url) in given(both.to_vec()) {
            if url.expose().matches("{path}").count() != 1 {
                return Err(TargetError::NoPath(field));
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

    use std::sync::LazyLock;

    use aws_lc_rs::{
        encoding::{AsDer as _, Pkcs8V1Der},
        rsa::KeySize,
    };

    use super::*;

    const HOST_KEY: &str = "ssh-ed25519 \
        AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    /// An RSA key, as it stands in JSON within JSON.
    static RSA_KEY: LazyLock<String> = LazyLock::new(|| {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
        let text = STANDARD.encode(der.as_ref());
        format!(r"-----BEGIN PRIVATE KEY-----\\n{text}\\n-----END PRIVATE KEY-----\\n")
    });

    fn all() -> Vec<String> {
        [
            r#"{"kind":"s3","region":"eu-1","bucket":"b","access_key":"CANARY1","secret_key":"CANARY2","session_token":"CANARY3"}"#,
            r#"{"kind":"azure","account":"a","container":"c","access_key":"CANARYA="}"#,
            r#"{"kind":"azure","account":"a","container":"c","sas":"sv=1&sig=CANARY"}"#,
            r#"{"kind":"gcs","bucket":"b","service_account":"{\"client_email\":\"CANARY\",\"private_key\":\"RSAKEY\",\"private_key_id\":\"CANARY\"}"}"#,
            r#"{"kind":"sftp","host":"h.example.com","port":22,"user":"u","password":"CANARY","host_key":"HOSTKEY","folder":"/in"}"#,
            r#"{"kind":"webdav","url":"https://d.example.com/x","user":"u","password":"CANARY"}"#,
            r#"{"kind":"http_put","url":"https://d.example.com/{path}?sig=CANARY","read_url":"https://e.example.com/{path}?sig=CANARY"}"#,
            r#"{"kind":"local","folder":"/var/lib/recordings"}"#,
        ]
        .map(|text| text.replace("HOSTKEY", HOST_KEY).replace("RSAKEY", &RSA_KEY))
        .to_vec()
    }

    #[test]
    fn what_can_be_used_is_taken() {
        for text in all() {
            Target::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name_without_repeating_it() {
        let mut seen = 0;
        for (from, to, field) in [
            ("\"eu-1\"", "\"eu 1\"", Some("region")),
            ("\"eu-1\"", "\"\"", Some("region")),
            ("\"bucket\":\"b\"", "\"bucket\":\"b/../x\"", Some("bucket")),
            ("\"CANARY2\"", "\"CANARY\\n2\"", Some("secret_key")),
            ("\"CANARY2\"", "\"\"", Some("secret_key")),
            ("\"CANARY2\"", "7", None),
            ("\"secret_key\"", "\"secrets\"", None),
            ("\"access_key\":\"CANARYA=\"", "\"endpoint\":null", Some("access_key")),
            ("\"CANARYA=\"", "\"CANARYA=\",\"sas\":\"CANARY\"", Some("access_key")),
            ("\"CANARYA=\"", "\"CANARY!\"", Some("access_key")),
            ("client_email", "mail", Some("service_account")),
            ("-----BEGIN", "CANARY", Some("service_account")),
            (HOST_KEY, "ssh-ed25519 CANARY", Some("host_key")),
            ("\"/in\"", "\"/in/../..\"", Some("folder")),
            ("\"/in\"", "\"in of it\"", Some("folder")),
            ("\"password\":\"CANARY\",\"host_key\"", "\"host_key\"", Some("password")),
            (
                "\"password\":\"CANARY\",\"host_key\"",
                "\"private_key\":\"CANARY\",\"host_key\"",
                Some("private_key"),
            ),
            ("https://d.example.com/x", "https://d.example.com/x?CANARY", Some("url")),
            ("\"https://d.example.com/{path}", "\"https://d.example.com/", Some("url")),
            ("https://e.example.com/{path}", "https://e.example.com/", Some("read_url")),
            ("/var/lib/recordings", "/var/../etc", Some("folder")),
            ("/var/lib/recordings", "recordings", Some("folder")),
            ("\"kind\":\"local\"", "\"kind\":\"floppy\"", None),
        ] {
            for text in all().iter().filter(|text| text.contains(from)) {
                let error = Target::parse(&text.replace(from, to)).err();
                let error = error.unwrap_or_else(|| panic!("{to} was taken"));
                assert_eq!(error.field(), field, "{to}");
                assert!(!error.to_string().contains("CANARY"), "{error}");
                seen += 1;
            }
        }
        assert!(seen >= 23, "{seen}");
    }
}
