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
    prefix: Option<Key>,
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
            .with_secret_access_key(target.secret.expose())
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
            secret_key: target.secret.expose().to_owned(),
            token: target.session_token.as_ref().map(|token| token.expose().to_owned()),
        };
        let asked = Asked { bucket: url, region: region.clone(), credential };
        let asked = target.checksums.then_some(asked);
        Ok(Self { parts: store.clone(), store, prefix: target.prefix.clone(), http, asked })
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
        Ok(Self { parts: store.clone(), store, prefix: target.prefix.clone(), http, asked: None })
    }

    pub(super) fn gcs(target: &Gcs, http: Http) -> Result<Self, StoreError> {
        let builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(&target.bucket)
            .with_service_account_key(target.service_account.expose())
            .with_retry(no_retries())
            .with_http_connector(Connector(http.clone()));
        let store = Arc::new(builder.build().map_err(|_| UNUSABLE)?);
        Ok(Self { parts: store.clone(), store, prefix: target.prefix.clone(), http, asked: None })
    }

    fn path(&self, key: &Key) -> Result<Path, StoreError> {
        Path::parse(key.below(self.prefix.as_ref()))
            .map_err(|_| StoreError::Config("the name cannot be used"))
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

    async fn checksum(&self, upload: &Upload) -> Result<Option<bool>, StoreError> {
        let Some(asked) = &self.asked else { return Ok(None) };
        let name = upload.key().below(self.prefix.as_ref());
        let headers = asked.head(&name, &self.http).await?;
        let told = headers.get("x-amz-checksum-sha256").and_then(|told| told.to_str().ok());
        Ok(told.and_then(|told| matches(told, upload)))
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

/// Compares what S3 says: the digest of a whole object, or that of its parts' digests and their
/// number. `None` when it says something else.
fn matches(told: &str, upload: &Upload) -> Option<bool> {
    let read =
        |text: &str| -> Option<Digest> { STANDARD.decode(text).ok()?.try_into().ok().map(Digest) };
    match (told.split_once('-'), &upload.parts[..]) {
        (None, [part]) => Some(read(told)? == part.sha256),
        (None, _) => Some(read(told)? == upload.digest()?),
        (Some((told, count)), parts) => {
            let all: Vec<u8> = parts.iter().flat_map(|part| part.sha256.0).collect();
            let same = read(told)? == Digest::of(&all);
            Some(same && count.parse() == Ok(parts.len()))
        }
    }
}
