//! WebDAV (RFC 4918): each piece is written under another name and moved to its own. A piece cannot
//! be resumed, so that larger files stay in pieces.

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hyper::{
    Method, Request,
    header::{AUTHORIZATION, HeaderValue},
};

use super::{
    Backend,
    error::StoreError,
    http::{Http, length, request},
    target::Webdav as Target,
    template::Key,
    upload::{Upload, Way},
};

use crate::digest::Hasher;

/// A server with WebDAV.
pub(super) struct Webdav {
    /// Without a slash at the end.
    url: String,
    /// Sensitive, so that it is never printed.
    authorization: HeaderValue,
    http: Http,
}

impl Webdav {
    pub(super) fn new(target: &Target, http: Http) -> Result<Self, StoreError> {
        let url = target.url.trim_end_matches('/').to_owned();
        http.place(&url)?;
        let pair = format!("{}:{}", target.user, target.password.expose());
        let basic = format!("Basic {}", STANDARD.encode(pair));
        let mut authorization: HeaderValue =
            basic.parse().map_err(|_| StoreError::Config("the password cannot be used"))?;
        authorization.set_sensitive(true);
        Ok(Self { url, authorization, http })
    }

    fn request(&self, method: Method, name: &str) -> Result<Request<Bytes>, StoreError> {
        let mut request = request(method, &format!("{}/{name}", self.url))?;
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        Ok(request)
    }

    async fn put(&self, name: &str, data: Bytes) -> Result<(), StoreError> {
        let request = self.request(Method::PUT, name)?.map(|_| data);
        self.http.call(request).await.map(drop)
    }

    /// Makes the folders that `name` lies in, where they are missing.
    async fn make_folders(&self, name: &str) -> Result<(), StoreError> {
        for (at, _) in name.match_indices('/') {
            let made = self.http.call(self.request(named("MKCOL"), &name[..at])?).await;
            match made {
                // 405: it is there already (RFC 4918 section 9.3.1).
                Err(StoreError::Refused(answer)) if matches!(answer.status, 301 | 405) => {}
                Err(StoreError::Missing) => return Err(StoreError::NoPlace(gone())),
                Err(StoreError::Refused(answer)) if answer.status == 409 => {
                    return Err(StoreError::NoPlace(answer));
                }
                other => other.map(drop)?,
            }
        }
        Ok(())
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let mut request = self.request(named("MOVE"), from)?;
        let to = format!("{}/{to}", self.url);
        let to = to.parse().map_err(|_| StoreError::Config("the URL cannot be used"))?;
        request.headers_mut().insert("destination", to);
        request.headers_mut().insert("overwrite", HeaderValue::from_static("T"));
        self.http.call(request).await.map(drop)
    }
}

fn gone() -> super::error::Answer {
    super::error::Answer { status: 404, code: None }
}

/// A method of RFC 4918; the word is one, so that there is always one.
fn named(word: &str) -> Method {
    Method::from_bytes(word.as_bytes()).unwrap_or_default()
}

#[async_trait]
impl Backend for Webdav {
    fn larger(&self) -> Way {
        Way::Pieces
    }

    async fn begin(&self, _key: &Key) -> Result<String, StoreError> {
        Ok(String::new())
    }

    async fn put_part(&self, upload: &Upload, data: Bytes) -> Result<String, StoreError> {
        let key = upload.next_name()?;
        let part = format!("{key}.part");
        match self.put(&part, data.clone()).await {
            // No such folder: 409 by RFC 4918 section 9.7.1, 404 by some.
            Err(StoreError::Missing) => {}
            Err(StoreError::Refused(answer)) if answer.status == 409 => {}
            other => {
                other?;
                self.rename(&part, key.as_str()).await?;
                return Ok(String::new());
            }
        }
        self.make_folders(key.as_str()).await?;
        self.put(&part, data).await?;
        self.rename(&part, key.as_str()).await?;
        Ok(String::new())
    }

    async fn complete(&self, _upload: &Upload) -> Result<(), StoreError> {
        Ok(())
    }

    async fn abort(&self, upload: &Upload) -> Result<(), StoreError> {
        let next = upload.next_name().map(|key| format!("{key}.part")).ok();
        let names = upload.names().into_iter().map(String::from);
        for name in names.chain(next) {
            match self.http.call(self.request(Method::DELETE, &name)?).await {
                Ok(_) | Err(StoreError::Missing) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        match self.http.call(self.request(Method::HEAD, key.as_str())?).await {
            Ok(headers) => length(&headers).map(Some).ok_or(StoreError::Protocol),
            Err(StoreError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read(&self, key: &Key, into: &mut Hasher) -> Result<u64, StoreError> {
        self.http.digest(self.request(Method::GET, key.as_str())?, into).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.http.call(self.request(Method::DELETE, key.as_str())?).await.map(drop)
    }
}
