//! `object_store` speaks S3, Azure and GCS; the connections are ours.

use std::cell::RefCell;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::body::Body as _;
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
        HttpResponse, HttpResponseBody, HttpService,
    },
};

use super::{
    error::StoreError,
    http::{Http, rebuilt},
};

tokio::task_local! {
    /// What our connection saw go wrong during the operation under way. The library wraps it, with
    /// URLs, into errors of many shapes.
    static SEEN: RefCell<Option<StoreError>>;
}

/// Carries an operation of the library out; its failure in our words.
pub(super) async fn carried<T>(
    operation: impl Future<Output = object_store::Result<T>>,
) -> Result<T, StoreError> {
    let watched = async {
        let result = operation.await;
        result.map_err(|error| SEEN.with(RefCell::take).unwrap_or_else(|| unseen(&error)))
    };
    SEEN.scope(RefCell::new(None), Box::pin(watched)).await
}

/// What the library found out by itself.
fn unseen(error: &object_store::Error) -> StoreError {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => StoreError::Missing,
        E::InvalidPath { .. } => StoreError::Config("the name cannot be used"),
        E::UnknownConfigurationKey { .. } => StoreError::Config("a setting cannot be used"),
        _ => StoreError::Protocol,
    }
}

fn saw(error: StoreError) {
    let _ = SEEN.try_with(|seen| seen.replace(Some(error)));
}

/// Hands our way out to the library.
#[derive(Clone)]
pub(super) struct Connector(pub(super) Http);

// The library wants one; nothing of ours is shown.
impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        let request = hyper::Request::from_parts(head, gathered(body).await?);
        let received = self.0.send(request).await.map_err(failed)?;
        let (status, headers) = (received.status, received.headers.clone());
        if status.is_success() || status == hyper::StatusCode::NOT_MODIFIED {
            let body = HttpResponseBody::new(Failing(received.body));
            return Ok(rebuilt(status, headers, body));
        }
        let (answer, body) = received.into_answer().await;
        saw(StoreError::from_answer(answer));
        Ok(rebuilt(status, headers, HttpResponseBody::from(body)))
    }
}

/// The library's bodies are in memory already; one that is in one piece stays it.
async fn gathered(mut body: HttpRequestBody) -> Result<Bytes, HttpError> {
    if let Some(bytes) = body.as_bytes() {
        return Ok(bytes.clone());
    }
    let mut all: Vec<Bytes> = Vec::new();
    while let Some(frame) =
        std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await
    {
        all.extend(frame?.into_data().ok());
    }
    match all.len() {
        1 => Ok(all.remove(0)),
        _ => Ok(all.concat().into()),
    }
}

fn failed(error: StoreError) -> HttpError {
    let kind = match error {
        StoreError::Silent => HttpErrorKind::Timeout,
        StoreError::Protocol => HttpErrorKind::Decode,
        _ => HttpErrorKind::Connect,
    };
    saw(error.clone());
    HttpError::new(kind, error)
}

/// A body whose failures are the library's.
struct Failing(super::http::Arriving);

impl hyper::body::Body for Failing {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, HttpError>>> {
        let frame = std::pin::Pin::new(&mut self.0).poll_frame(context);
        frame.map(|frame| frame.map(|frame| frame.map_err(failed)))
    }
}
