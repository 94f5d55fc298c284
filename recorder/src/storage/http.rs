//! HTTP/1.1 to partners' storages: a connection for each request, made by `egress` to an address that
//! it has just checked. No pool, proxy or redirect.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use egress::{DialError, Dialer, Place, UrlRefusal};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Body, Frame, Incoming},
    client::conn::http1,
    header::{self, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::{
    cap::{Cap, Paced, Progress},
    error::{Answer, Code, StoreError},
};
use crate::{
    digest::Hasher,
    limits::{ANSWER_BYTES_MAX, ANSWER_HEAD_BYTES, ANSWER_HEADERS_MAX, STALL},
};

/// The way out for one project.
#[derive(Clone)]
pub(super) struct Http {
    dialer: Dialer,
    project: Arc<str>,
    pub(super) cap: Cap,
}

/// An answer whose body is still to be read. Dropped, the connection ends.
pub(super) struct Received {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Arriving,
}

/// A body as it comes. An error when it breaks off or stands still.
pub(super) struct Arriving {
    incoming: Incoming,
    progress: Arc<Progress>,
    stalled: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    _driver: Driver,
}

struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Http {
    pub(super) fn new(dialer: Dialer, project: &str, cap: Cap) -> Self {
        Self { dialer, project: project.into(), cap }
    }

    /// Whether a URL may be used at all.
    pub(super) fn place(&self, url: &str) -> Result<Place, StoreError> {
        self.dialer.guard().parse(url).map_err(refused)
    }

    /// Whether a host may be used at all, for SSH.
    pub(super) fn host(&self, host: &str, port: u16) -> Result<Place, StoreError> {
        self.dialer.guard().parse_host(host, port, &[22]).map_err(refused)
    }

    /// A bare connection, for SSH.
    pub(super) async fn tcp(&self, place: &Place) -> Result<tokio::net::TcpStream, StoreError> {
        let admission = self.dialer.guard().admit(place, &self.project).await;
        let admission = admission.ok_or(StoreError::Crowded)?;
        self.dialer.dial_tcp(place, admission).await.map_err(unconnected)
    }

    /// Sends a request whose URL is absolute and waits for the head of the answer.
    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<Received, StoreError> {
        let (mut head, body) = request.into_parts();
        let place = self.place(&head.uri.to_string())?;
        let admission = self.dialer.guard().admit(&place, &self.project).await;
        let admission = admission.ok_or(StoreError::Crowded)?;
        let stream = self.dialer.dial(&place, admission).await.map_err(unconnected)?;
        // As it was signed, not as another reader of URLs would write it.
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let path = path.parse().map_err(|_| StoreError::Config("the URL has no path"))?;
        head.uri = path;
        if !head.headers.contains_key(header::HOST) {
            let host = place.authority().parse().map_err(|_| StoreError::Protocol)?;
            head.headers.insert(header::HOST, host);
        }
        // hyper leaves it out of a PUT without bytes, which S3 does not like.
        if body.is_empty() && (head.method == Method::PUT || head.method == Method::POST) {
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let progress = Progress::new();
        let body = Paced::new(body, self.cap.clone(), Arc::clone(&progress));
        exchange(TokioIo::new(stream), Request::from_parts(head, body), progress).await
    }

    /// Sends a request and reads all of a short answer; an error when it tells of no success.
    pub(super) async fn call(&self, request: Request<Bytes>) -> Result<HeaderMap, StoreError> {
        let received = self.send(request).await?;
        if received.status.is_success() {
            return Ok(received.headers);
        }
        Err(received.into_error().await)
    }

    /// Length of an object, by a GET that asks for its first byte and reads nothing (RFC 9110 section 14).
    ///
    /// # Errors
    /// [`StoreError::Protocol`] when the answer does not tell.
    pub(super) async fn length(&self, mut request: Request<Bytes>) -> Result<u64, StoreError> {
        request.headers_mut().insert(header::RANGE, HeaderValue::from_static("bytes=0-0"));
        let received = self.send(request).await?;
        let told = match received.status {
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                whole_length(&received.headers)
            }
            status if status.is_success() => length(&received.headers), // Ranges are optional.
            _ => return Err(received.into_error().await),
        };
        told.ok_or(StoreError::Protocol)
    }

    /// Reads an object as it comes; its length and digest.
    pub(super) async fn digest(
        &self,
        request: Request<Bytes>,
        into: &mut Hasher,
    ) -> Result<u64, StoreError> {
        let mut received = self.send(request).await?;
        if !received.status.is_success() {
            return Err(received.into_error().await);
        }
        let mut length = 0;
        while let Some(data) = received.body.next().await? {
            self.cap.wait(data.len()).await;
            received.body.progress.touch();
            into.update(&data);
            length += data.len() as u64;
        }
        Ok(length)
    }
}

async fn exchange<S>(
    stream: S,
    request: Request<Paced>,
    progress: Arc<Progress>,
) -> Result<Received, StoreError>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(ANSWER_HEAD_BYTES).max_headers(ANSWER_HEADERS_MAX);
    let (mut sender, connection) =
        builder.handshake(stream).await.map_err(|error| blame(&error))?;
    let driver = Driver(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let answer = tokio::select! {
        answer = sender.send_request(request) => answer.map_err(|error| blame(&error))?,
        () = progress.stalled(STALL) => return Err(StoreError::Silent),
    };
    progress.touch();
    let (head, incoming) = answer.into_parts();
    let watched = Arc::clone(&progress);
    let stalled = Box::pin(async move { watched.stalled(STALL).await });
    let body = Arriving { incoming, progress, stalled, _driver: driver };
    Ok(Received { status: head.status, headers: head.headers, body })
}

fn blame(error: &hyper::Error) -> StoreError {
    if error.is_parse() { StoreError::Protocol } else { StoreError::Unreachable }
}

fn refused(refusal: UrlRefusal) -> StoreError {
    StoreError::ForbiddenAddress(match refusal {
        UrlRefusal::Syntax => "it cannot be read",
        UrlRefusal::Scheme => "it must begin with https://",
        UrlRefusal::UserInfo => "it must have no user or password",
        UrlRefusal::Fragment => "it must have no fragment",
        UrlRefusal::Port => "another port than usual needs the operator's leave",
        UrlRefusal::Literal => "it must name a host, not an address",
        UrlRefusal::InnerName => "it must name a host of the internet",
    })
}

fn unconnected(error: DialError) -> StoreError {
    match error {
        DialError::Forbidden => {
            StoreError::ForbiddenAddress("its name leads to a network that is not allowed")
        }
        DialError::Unreachable => StoreError::Unreachable,
        DialError::Tls => StoreError::Tls,
        DialError::Timeout => StoreError::Silent,
    }
}

impl Received {
    /// What an answer other than success means.
    pub(super) async fn into_error(self) -> StoreError {
        StoreError::from_answer(self.into_answer().await.0)
    }

    /// Status and code, and the body that the code was found in.
    pub(super) async fn into_answer(mut self) -> (Answer, Bytes) {
        let mut body = BytesMut::new();
        while let Ok(Some(data)) = self.body.next().await {
            if body.len() + data.len() > ANSWER_BYTES_MAX {
                break;
            }
            body.extend_from_slice(&data);
        }
        let code = self.headers.get("x-ms-error-code").and_then(|code| code.to_str().ok());
        let code = code.and_then(Code::parse).or_else(|| code_in(&body));
        (Answer { status: self.status.as_u16(), code }, body.freeze())
    }
}

/// `<Code>NoSuchBucket</Code>`, as S3, GCS and Azure write it.
fn code_in(body: &[u8]) -> Option<Code> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("<Code>")?;
    Code::parse(rest.split_once('<')?.0)
}

impl Arriving {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            let frame = std::future::poll_fn(|context| Pin::new(&mut *self).poll_frame(context));
            match frame.await.transpose()? {
                Some(frame) => match frame.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    Err(_trailers) => {}
                },
                None => return Ok(None),
            }
        }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) {
            self.progress.touch();
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| blame(&error))));
        }
        ready!(self.stalled.as_mut().poll(context));
        Poll::Ready(Some(Err(StoreError::Silent)))
    }
}

/// A request without a body.
pub(super) fn request(method: Method, url: &str) -> Result<Request<Bytes>, StoreError> {
    let request = Request::builder().method(method).uri(url).body(Bytes::new());
    request.map_err(|_| StoreError::Config("the URL cannot be used"))
}

/// What a HEAD says about the length.
pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What a part of an object says about the length of all of it: `bytes 0-0/1234`, `bytes */0`.
fn whole_length(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('/')?.1.parse().ok()
}

/// An answer that was read, as the library of object stores wants it.
pub(super) fn rebuilt<T>(status: StatusCode, headers: HeaderMap, body: T) -> Response<T> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_tells_the_length_of_all() {
        let told = |range: &'static str| {
            whole_length(&HeaderMap::from_iter([(
                header::CONTENT_RANGE,
                HeaderValue::from_static(range),
            )]))
        };
        assert_eq!((told("bytes 0-0/1234"), told("bytes */0")), (Some(1234), Some(0)));
        for none in ["bytes 0-0/*", "bytes 0-0", "bytes 0-0/-1", "items 0-0/5", ""] {
            assert_eq!(told(none), None, "{none}");
        }
        assert_eq!(whole_length(&HeaderMap::new()), None);
    }

    #[test]
    fn codes_are_found_in_answers() {
        let found = |body: &str| code_in(body.as_bytes()).map(|code| code.to_string());
        let s3 = "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>x</Message>";
        assert_eq!(found(s3).as_deref(), Some("NoSuchBucket"));
        for none in ["", "<Code>", "<Code></Code>", "<Code>a b</Code>", "NoSuchBucket"] {
            assert_eq!(found(none), None, "{none}");
        }
    }
}
