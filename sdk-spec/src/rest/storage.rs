//! What a storage target must look like, and what is shown of it. Whether its address may be reached
//! is for the server to say.

use super::recordings::{CreateStorageTarget, Storage};
use crate::problem::FieldError;

/// Bytes of names: regions, buckets, accounts, users.
const NAME_BYTES_MAX: usize = 64;
/// Bytes of host names (RFC 1035 section 2.3.4).
const HOST_BYTES_MAX: usize = 253;
/// Bytes of folders.
const FOLDER_BYTES_MAX: usize = 256;
/// Bytes of endpoints.
const ENDPOINT_BYTES_MAX: usize = 512;
/// Bytes of public keys of servers and of URLs with a signature in them.
const LONG_BYTES_MAX: usize = 2048;
/// Bytes of access keys.
const ACCESS_BYTES_MAX: usize = 256;
/// Bytes of passwords and secret keys.
const SECRET_BYTES_MAX: usize = 1024;
/// Bytes of session tokens: Amazon names no limit, those of its services have about 1000.
const TOKEN_BYTES_MAX: usize = 4096;
/// Bytes of private keys and of keys of service accounts: an RSA key of 4096 bits has 3400.
const KEY_BYTES_MAX: usize = 8192;

impl CreateStorageTarget {
    /// Checks that everything is there and may be what it stands for.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut wrong = Wrong(Vec::new());
        self.storage.check(&mut wrong);
        if wrong.0.is_empty() { Ok(()) } else { Err(wrong.0) }
    }
}

impl Storage {
    /// As it is shown: without secrets, and of URLs only what names the place.
    #[must_use]
    pub fn without_secrets(mut self) -> Self {
        match &mut self {
            Self::S3 { secret_key, session_token, .. } => {
                (*secret_key, *session_token) = (None, None);
            }
            Self::Azure { access_key, sas, .. } => (*access_key, *sas) = (None, None),
            Self::Gcs { service_account: secret, .. } | Self::Webdav { password: secret, .. } => {
                *secret = None
            }
            Self::Sftp { password, private_key, .. } => (*password, *private_key) = (None, None),
            Self::HttpPut { url, read_url, authorization } => {
                *authorization = None;
                // What follows may be a signature.
                for url in [Some(url), read_url.as_mut()].into_iter().flatten() {
                    url.truncate(url.find('?').unwrap_or(url.len()));
                }
            }
            Self::Local {} => {}
        }
        self
    }

    /// Whether this is where `other` is, with other credentials: then what is there already stays
    /// where it is looked for.
    #[must_use]
    pub fn is_place_of(&self, other: &Self) -> bool {
        self.place() == other.place()
    }

    /// What names the place. A host's key is none of it: hosts get new ones.
    fn place(&self) -> [String; 4] {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (kind, place) = match self.clone().without_secrets() {
            Self::S3 { endpoint, region, bucket, .. } => ("s3", [text(&endpoint), region, bucket]),
            Self::Azure { endpoint, account, container, .. } => {
                ("azure", [text(&endpoint), account, container])
            }
            Self::Gcs { bucket, .. } => ("gcs", [bucket, String::new(), String::new()]),
            Self::Sftp { host, port, folder, .. } => ("sftp", [host, port.to_string(), folder]),
            Self::Webdav { url, .. } => ("webdav", [url, String::new(), String::new()]),
            Self::HttpPut { url, read_url, .. } => ("put", [url, text(&read_url), String::new()]),
            Self::Local {} => ("local", Default::default()),
        };
        let [a, b, c] = place;
        [kind.to_owned(), a, b, c]
    }

    fn check(&self, wrong: &mut Wrong) {
        match self {
            Self::S3 {
                endpoint, region, bucket, access_key, secret_key, session_token, ..
            } => {
                wrong.endpoint(endpoint.as_deref());
                wrong.name("region", region);
                wrong.name("bucket", bucket);
                wrong.text("access_key", access_key, ACCESS_BYTES_MAX);
                wrong.secret("secret_key", secret_key.as_deref(), SECRET_BYTES_MAX);
                if let Some(token) = session_token {
                    wrong.text("session_token", token, TOKEN_BYTES_MAX);
                }
            }
            Self::Azure { endpoint, account, container, access_key, sas } => {
                wrong.endpoint(endpoint.as_deref());
                wrong.name("account", account);
                wrong.name("container", container);
                match (access_key.as_deref(), sas.as_deref()) {
                    (key, None) => wrong.secret("access_key", key, SECRET_BYTES_MAX),
                    (None, sas) => wrong.secret("sas", sas, SECRET_BYTES_MAX),
                    _ => wrong.when(true, "access_key", "give either this or sas"),
                }
            }
            Self::Gcs { bucket, service_account } => {
                wrong.name("bucket", bucket);
                wrong.key("service_account", service_account.as_deref());
            }
            Self::Sftp { .. } => self.check_sftp(wrong),
            Self::Webdav { url, user, password } => {
                wrong.url("url", url, ENDPOINT_BYTES_MAX);
                wrong.text("user", user, NAME_BYTES_MAX);
                wrong.secret("password", password.as_deref(), SECRET_BYTES_MAX);
            }
            Self::HttpPut { url, read_url, authorization } => {
                let both = [("url", Some(url)), ("read_url", read_url.as_ref())];
                for (field, url) in both.into_iter().filter_map(|(f, url)| Some((f, url?))) {
                    wrong.url(field, url, LONG_BYTES_MAX);
                    let is_once = url.matches("{path}").count() == 1;
                    wrong.when(!is_once, field, "must have {path} once, where the path goes");
                }
                if let Some(value) = authorization {
                    wrong.text("authorization", value, LONG_BYTES_MAX);
                }
            }
            Self::Local {} => {}
        }
    }

    fn check_sftp(&self, wrong: &mut Wrong) {
        let Self::Sftp { host, port, user, host_key, folder, password, private_key } = self else {
            return;
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-.:_[]".contains(c);
        wrong.text("host", host, HOST_BYTES_MAX);
        wrong.when(!host.chars().all(is_host), "host", "must be a host name or an address");
        wrong.when(*port == 0 || *port > 65535, "port", "must be 1 to 65535");
        wrong.text("user", user, NAME_BYTES_MAX);
        wrong.text("host_key", host_key, LONG_BYTES_MAX);
        let is_public = host_key.starts_with("ssh-") || host_key.starts_with("ecdsa-");
        wrong.when(!is_public, "host_key", "must be a public key as in known_hosts");
        let climbs = folder.split('/').any(|part| part == "..");
        let is_long = folder.len() > FOLDER_BYTES_MAX || folder.chars().any(char::is_control);
        wrong.when(climbs || is_long, "folder", "is too long, or leaves its place");
        match (password.as_deref(), private_key.as_deref()) {
            (Some(password), None) => wrong.secret("password", Some(password), SECRET_BYTES_MAX),
            (None, key @ Some(_)) => wrong.key("private_key", key),
            _ => wrong.when(true, "password", "give either this or private_key"),
        }
    }
}

/// What is wrong so far.
struct Wrong(Vec<FieldError>);

impl Wrong {
    fn when(&mut self, is: bool, field: &str, reason: &str) {
        if is {
            self.0.push(FieldError::new(&format!("storage.{field}"), reason.to_owned()));
        }
    }

    /// Visible text on one line.
    fn text(&mut self, field: &str, value: &str, bytes_max: usize) {
        let fits = (1..=bytes_max).contains(&value.len());
        let reason = format!("must be 1 to {bytes_max} bytes without control characters");
        self.when(!fits || value.chars().any(char::is_control), field, &reason);
    }

    fn name(&mut self, field: &str, value: &str) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let fits = (1..=NAME_BYTES_MAX).contains(&value.len()) && value.chars().all(is_plain);
        self.when(!fits, field, "must be 1 to 64 letters, digits, - _ and .");
    }

    fn secret(&mut self, field: &str, value: Option<&str>, bytes_max: usize) {
        match value {
            None => self.when(true, field, "is missing"),
            Some(value) => self.text(field, value, bytes_max),
        }
    }

    /// A key of several lines.
    fn key(&mut self, field: &str, value: Option<&str>) {
        let fits = value.is_some_and(|value| (1..=KEY_BYTES_MAX).contains(&value.len()));
        self.when(!fits, field, "must be 1 to 8192 bytes");
    }

    fn endpoint(&mut self, value: Option<&str>) {
        if let Some(value) = value {
            self.url("endpoint", value, ENDPOINT_BYTES_MAX);
        }
    }

    /// Where there are places without TLS, the operator has allowed them by name; all others are
    /// refused when they are to be reached.
    fn url(&mut self, field: &str, value: &str, bytes_max: usize) {
        let rest = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
        let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        let is_graphic = value.bytes().all(|b| b.is_ascii_graphic());
        let named = host.is_some_and(|host| !host.is_empty() && !host.contains('@'));
        let fits = value.len() <= bytes_max && is_graphic && named && !value.contains('#');
        let reason = "must be a URL (https://…) without user, password and fragment";
        self.when(!fits, field, reason);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::{Value, json};

    use super::*;

    fn errors(storage: Value) -> Vec<String> {
        let body = json!({ "name": "archive", "storage": storage });
        let target: CreateStorageTarget = serde_json::from_value(body).unwrap();
        let errors = target.check().err().unwrap_or_default();
        errors.into_iter().map(|error| error.field).collect()
    }

    fn all() -> Vec<Value> {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\ncanary\n";
        vec![
            json!({ "kind": "s3", "region": "eu-central-1", "bucket": "b", "access_key": "A",
                "secret_key": "canary", "endpoint": "https://s3.example",
                "session_token": "canary", "virtual_host": true, "checksums": false }),
            json!({ "kind": "azure", "account": "a", "container": "c", "access_key": "canary" }),
            json!({ "kind": "azure", "account": "a", "container": "d", "sas": "sv=1&sig=canary" }),
            json!({ "kind": "gcs", "bucket": "b", "service_account": "{\"canary\":1}" }),
            json!({ "kind": "sftp", "host": "sftp.example", "port": 22, "user": "u",
                "host_key": "ssh-ed25519 AAAA", "private_key": key }),
            json!({ "kind": "webdav", "url": "https://dav.example/x", "user": "u",
                "password": "canary" }),
            json!({ "kind": "http_put", "url": "https://put.example/{path}?sig=canary",
                "read_url": "https://get.example/{path}?sig=canary",
                "authorization": "Bearer canary" }),
            json!({ "kind": "local" }),
        ]
    }

    #[test]
    fn good_ones_pass_and_are_shown_without_secrets() {
        for storage in all() {
            assert_eq!(errors(storage.clone()), Vec::<String>::new(), "{storage}");
            let storage: Storage = serde_json::from_value(storage).unwrap();
            let shown = serde_json::to_string(&storage.without_secrets()).unwrap();
            assert!(!shown.contains("canary"), "{shown}");
        }
    }

    #[test]
    fn credentials_are_no_place_and_everything_else_is() {
        let all: Vec<Storage> =
            all().into_iter().map(|one| serde_json::from_value(one).unwrap()).collect();
        for (i, one) in all.iter().enumerate() {
            assert!(one.is_place_of(&one.clone().without_secrets()));
            let same = all.iter().filter(|other| other.is_place_of(one)).count();
            assert_eq!(same, 1, "number {i} is where another is");
        }
        let s3 = |bucket: &str, access_key: &str| -> Storage {
            let json = json!({ "kind": "s3", "region": "eu", "bucket": bucket,
                "access_key": access_key, "secret_key": "x" });
            serde_json::from_value(json).unwrap()
        };
        assert!(
            s3("b", "A").is_place_of(&s3("b", "B")) && !s3("b", "A").is_place_of(&s3("c", "A"))
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let s3 = json!({ "kind": "s3", "region": "eu/1", "bucket": "", "access_key": "A",
            "endpoint": "https://user@s3.example" });
        let fields = ["storage.endpoint", "storage.region", "storage.bucket", "storage.secret_key"];
        assert_eq!(errors(s3), fields);
        let sftp = json!({ "kind": "sftp", "host": "a b", "port": 0, "user": "u",
            "host_key": "AAAA", "folder": "../x" });
        let fields = ["host", "port", "host_key", "folder", "password"];
        assert_eq!(errors(sftp), fields.map(|field| format!("storage.{field}")));
        let azure = json!({ "kind": "azure", "account": "a", "container": "c" });
        assert_eq!(errors(azure.clone()), ["storage.access_key"]);
        let mut both = azure;
        (both["access_key"], both["sas"]) = ("a".into(), "b".into());
        assert_eq!(errors(both), ["storage.access_key"]);
        let put = json!({ "kind": "http_put", "url": "ftp://put.example/" });
        assert_eq!(errors(put), ["storage.url", "storage.url"]);
    }
}
