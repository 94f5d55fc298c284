//! A URL that takes a PUT and carries its own authorization, as the shared access signature of an Azure
//! container does, or is given one in a header. Whoever made it decides what else it allows: reading back is
//! tried at the test push.

use async_trait::async_trait;
use bytes::Bytes;
use hyper::{
    Method, Request,
    header::{AUTHORIZATION, HeaderValue},
};

use super::{
    Backend,
    error::StoreError,
    http::{Http, request},
    target::{HttpPut as Target, Secret},
    template::Key,
    upload::{Upload, Way},
};

use crate::digest::Hasher;

/// Such a URL.
pub(super) struct Put {
    url: Secret,
    read_url: Secret,
    authorization: Option<HeaderValue>,
    http: Http,
}

fn filled(url: &Secret, key: &Key) -> String {
    url.expose().replace("{path}", key.as_str())
}

impl Put {
    pub(super) fn new(target: &Target, http: Http) -> Result<Self, StoreError> {
        let read_url = target.read_url.clone().unwrap_or_else(|| target.url.clone());
        for url in [&target.url, &read_url] {
            http.place(&url.expose().replace("{path}", "p"))?;
        }
        let authorization = target.authorization.as_ref().map(header).transpose()?;
        Ok(Self { url: target.url.clone(), read_url, authorization, http })
    }

    fn request(&self, method: Method, url: &str) -> Result<Request<Bytes>, StoreError> {
        let mut request = request(method, url)?;
        // Azure refuses a PUT without it; others take no notice.
        if request.method() == Method::PUT {
            let kind = HeaderValue::from_static("BlockBlob");
            request.headers_mut().insert("x-ms-blob-type", kind);
        }
        if let Some(value) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        Ok(request)
    }
}

fn header(secret: &Secret) -> Result<HeaderValue, StoreError> {
    let wrong = |_| StoreError::Config("the authorization cannot be used");
    let mut value = HeaderValue::from_str(secret.expose()).map_err(wrong)?;
    value.set_sensitive(true);
    Ok(value)
}

/// What refuses to be read is not a wrong credential: it may be meant so.
fn unread(error: StoreError) -> StoreError {
    match error {
        StoreError::Credentials(_) | StoreError::Refused(_) => StoreError::Unverifiable,
        other => other,
    }
}

#[async_trait]
impl Backend for Put {
    fn larger(&self) -> Way {
        Way::Pieces
    }

    async fn begin(&self, _key: &Key) -> Result<String, StoreError> {
        Ok(String::new())
    }

    async fn put_part(&self, upload: &Upload, data: Bytes) -> Result<String, StoreError> {
        let url = filled(&self.url, &upload.next_name()?);
        self.http.call(self.request(Method::PUT, &url)?.map(|_| data)).await?;
        Ok(String::new())
    }

    async fn complete(&self, _upload: &Upload) -> Result<(), StoreError> {
        Ok(())
    }

    /// There is no way to take anything back.
    async fn abort(&self, _upload: &Upload) -> Result<(), StoreError> {
        Ok(())
    }

    /// A presigned GET allows no HEAD.
    async fn size(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        let request = self.request(Method::GET, &filled(&self.read_url, key))?;
        match self.http.length(request).await.map_err(unread) {
            Ok(length) => Ok(Some(length)),
            Err(StoreError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read(&self, key: &Key, into: &mut Hasher) -> Result<u64, StoreError> {
        let request = self.request(Method::GET, &filled(&self.read_url, key))?;
        self.http.digest(request, into).await.map_err(unread)
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let request = self.request(Method::DELETE, &filled(&self.url, key))?;
        self.http.call(request).await.map(drop)
    }
}
