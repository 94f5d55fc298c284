//! S3, Azure Blob Storage and Google Cloud Storage.

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::StreamExt as _;
use hyper::Method;
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutPayload, RetryConfig,
    aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential, Checksum},
    azure::MicrosoftAzureBuilder,
    client::HttpRequestBody,
    gcp::GoogleCloudStorageBuilder,
    multipart::{MultipartStore, PartId},
    path::Path,
};

use super::{
    Backend,
    connector::{Connector, carried},
    error::StoreError,
    http::{Http, request},
    target::{Azure, Gcs, S3},
    template::Key,
    upload::{Upload, Way},
};

use crate::{Digest, digest::Hasher};

/// A client of one of them.
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    parts: Arc<dyn MultipartStore>,
    http: Http,
    /// S3 tells checksums, asked for by a request of our own.
    asked: Option<Asked>,
}

/// What a signed HEAD needs.
struct Asked {
    /// URL of the bucket.
    bucket: String,
    region: String,
    credential: AwsCredential,
}

/// Tries are counted by our caller, over hours; not here, over seconds.
fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

impl Objects {
    pub(super) fn s3(target: &S3, http: Http) -> Result<Self, StoreError> {
        let S3 { region, bucket, virtual_host, .. } = target;
        let url = bucket_url(target)?;
        http.place(&url)?;
        let mut builder = AmazonS3Builder::new()
            .with_region(region)
            .with_bucket_name(bucket)
            .with_access_key_id(target.access_key.expose())
            .with_secret_access_key(target.secret_key.expose())
            .with_virtual_hosted_style_request(*virtual_host)
            .with_retry(no_retries())
            .with_http_connector(Connector(http.clone()));
        if let Some(token) = &target.session_token {
            builder = builder.with_token(token.expose());
        }
        if target.endpoint.is_some() {
            let end = if *virtual_host { "" } else { bucket };
            builder = builder.with_endpoint(url.strip_suffix(end).unwrap_or(&url));
        }
        if target.checksums {
            builder = builder.with_checksum_algorithm(Checksum::SHA256);
        }
        let store = Arc::new(builder.build().map_err(|_| UNUSABLE)?);
        let credential = AwsCredential {
            key_id: target.access_key.expose().to_owned(),
            secret_key: target.secret_key.expose().to_owned(),
            token: target.session_token.as_ref().map(|token| token.expose().to_owned()),
        };
        let asked = Asked { bucket: url, region: region.clone(), credential };
        let asked = target.checksums.then_some(asked);
        Ok(Self { parts: store.clone(), store, http, asked })
    }

    pub(super) fn azure(target: &Azure, http: Http) -> Result<Self, StoreError> {
        let usual = || format!("https://{}.blob.core.windows.net", target.account);
        let url = target.endpoint.clone().unwrap_or_else(usual);
        http.place(&url)?;
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(&target.account)
            .with_container_name(&target.container)
            .with_endpoint(url)
            .with_retry(no_retries())
            .with_http_connector(Connector(http.clone()));
        if let Some(key) = &target.access_key {
            builder = builder.with_access_key(key.expose());
        }
        if let Some(sas) = &target.sas {
            let sas = sas.expose().trim_start_matches('?');
            builder = builder.with_config(object_store::azure::AzureConfigKey::SasKey, sas);
        }
        let store = Arc::new(builder.build().map_err(|_| UNUSABLE)?);
        Ok(Self { parts: store.clone(), store, http, asked: None })
    }

    pub(super) fn gcs(target: &Gcs, http: Http) -> Result<Self, StoreError> {
        let builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(&target.bucket)
            .with_service_account_key(target.service_account.expose())
            .with_retry(no_retries())
            .with_http_connector(Connector(http.clone()));
        let store = Arc::new(builder.build().map_err(|_| UNUSABLE)?);
        Ok(Self { parts: store.clone(), store, http, asked: None })
    }

    fn path(&self, key: &Key) -> Result<Path, StoreError> {
        Path::parse(key.as_str()).map_err(|_| StoreError::Config("the name cannot be used"))
    }
}

const UNUSABLE: StoreError = StoreError::Config("the settings of the storage cannot be used");

/// Where the bucket is, as the library sees it too.
fn bucket_url(target: &S3) -> Result<String, StoreError> {
    let S3 { region, bucket, .. } = target;
    let Some(endpoint) = &target.endpoint else {
        return Ok(match target.virtual_host {
            true => format!("https://{bucket}.s3.{region}.amazonaws.com"),
            false => format!("https://s3.{region}.amazonaws.com/{bucket}"),
        });
    };
    let endpoint = endpoint.trim_end_matches('/');
    if !target.virtual_host {
        return Ok(format!("{endpoint}/{bucket}"));
    }
    let (scheme, host) = endpoint.split_once("://").ok_or(UNUSABLE)?;
    Ok(format!("{scheme}://{bucket}.{host}"))
}

#[async_trait]
impl Backend for Objects {
    fn larger(&self) -> Way {
        Way::Multipart
    }

    async fn begin(&self, key: &Key) -> Result<String, StoreError> {
        let path = self.path(key)?;
        carried(self.parts.create_multipart(&path)).await
    }

    async fn put_part(&self, upload: &Upload, data: Bytes) -> Result<String, StoreError> {
        let path = self.path(upload.key())?;
        let payload = PutPayload::from_bytes(data);
        if upload.way == Way::Whole {
            carried(self.store.put(&path, payload)).await?;
            return Ok(String::new());
        }
        let at = upload.parts.len();
        let part = carried(self.parts.put_part(&path, &upload.id, at, payload)).await?;
        Ok(part.content_id)
    }

    async fn complete(&self, upload: &Upload) -> Result<(), StoreError> {
        if upload.way == Way::Whole {
            return Ok(());
        }
        let path = self.path(upload.key())?;
        let parts = upload.parts.iter().map(|part| PartId { content_id: part.id.clone() });
        carried(self.parts.complete_multipart(&path, &upload.id, parts.collect())).await?;
        Ok(())
    }

    async fn abort(&self, upload: &Upload) -> Result<(), StoreError> {
        if upload.way == Way::Whole {
            return Ok(());
        }
        let path = self.path(upload.key())?;
        carried(self.parts.abort_multipart(&path, &upload.id)).await
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        let path = self.path(key)?;
        match carried(self.store.head(&path)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(StoreError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn is_proven(&self, upload: &Upload) -> Result<bool, StoreError> {
        let Some(asked) = &self.asked else { return Ok(false) };
        let headers = asked.head(upload.key().as_str(), &self.http).await?;
        let told = headers.get("x-amz-checksum-sha256").and_then(|told| told.to_str().ok());
        Ok(told.is_some_and(|told| proves(told, upload)))
    }

    async fn read(&self, key: &Key, into: &mut Hasher) -> Result<u64, StoreError> {
        let path = self.path(key)?;
        let mut length = 0;
        let read = async {
            let mut stream = self.store.get(&path).await?.into_stream();
            while let Some(data) = stream.next().await {
                let data = data?;
                self.http.cap.wait(data.len()).await;
                into.update(&data);
                length += data.len() as u64;
            }
            Ok(())
        };
        carried(read).await?;
        Ok(length)
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let path = self.path(key)?;
        carried(self.store.delete(&path)).await
    }
}

impl Asked {
    /// A HEAD that asks for checksums, which the library's own does not.
    async fn head(&self, name: &str, http: &Http) -> Result<hyper::HeaderMap, StoreError> {
        let url = format!("{}/{}", self.bucket, name.replace('=', "%3D"));
        let (head, _) = request(Method::HEAD, &url)?.into_parts();
        let mut request = hyper::Request::from_parts(head, HttpRequestBody::empty());
        let mode = hyper::header::HeaderValue::from_static("ENABLED");
        request.headers_mut().insert("x-amz-checksum-mode", mode);
        AwsAuthorizer::new(&self.credential, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|_| UNUSABLE)?;
        http.call(request.map(|_| Bytes::new())).await
    }
}

/// Whether what S3 says is the digest of the whole object, or that of its parts' digests, with their
/// number behind it or, as some do, without.
fn proves(told: &str, upload: &Upload) -> bool {
    let (told, count) = told.split_once('-').map_or((told, None), |(a, b)| (a, Some(b)));
    let told: Option<[u8; 32]> = STANDARD.decode(told).ok().and_then(|told| told.try_into().ok());
    let Some(told) = told.map(Digest) else { return false };
    let all: Vec<u8> = upload.parts.iter().flat_map(|part| part.sha256.0).collect();
    match count {
        Some(count) => count.parse() == Ok(upload.parts.len()) && told == Digest::of(&all),
        None => Some(told) == upload.digest() || told == Digest::of(&all),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn only_a_checksum_of_what_was_sent_proves_anything() {
        let key = Key::parse("a").unwrap();
        let mut upload = Upload::new(&key, None, Way::Multipart).unwrap();
        let part = vec![7; 16 * 1024 * 1024];
        upload.on_part(String::new(), &part);
        upload.on_part(String::new(), b"end");
        let whole = Digest::of(&[&part[..], b"end"].concat());
        let parts = Digest::of(&[Digest::of(&part).0, Digest::of(b"end").0].concat());
        let told = |digest: Digest, end: &str| STANDARD.encode(digest.0) + end;
        for good in [told(whole, ""), told(parts, "-2"), told(parts, "")] {
            assert!(proves(&good, &upload), "{good}");
        }
        let other = Digest::of(b"other");
        for bad in [
            told(other, ""),
            told(other, "-2"),
            told(parts, "-3"),
            told(parts, "-"),
            told(whole, "-2"),
            String::new(),
            String::from("AAAA"),
            String::from("-"),
        ] {
            assert!(!proves(&bad, &upload), "{bad}");
        }
    }
}
