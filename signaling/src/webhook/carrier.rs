//! One delivery over HTTP/1.1: looked up, checked, connected, signed, posted, forgotten.
//!
//! Each attempt has a connection of its own, made to an address that the guard has just checked:
//! there is no pool, proxy or redirect by which it could end elsewhere.

use std::{net::SocketAddr, sync::Arc, time::UNIX_EPOCH};

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Request, Response, StatusCode, header},
};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use sdk_spec::rest::webhooks::DeliveryResult;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::Host;

use super::{
    Attempt, Attempted, Carrier, Guard,
    guard::{Admission, Place},
    sign,
};
use crate::{
    config::{Webhooks as Config, WebhooksError},
    limits,
};

/// Why nothing can be sent. Blame: the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CarrierError {
    /// The rules.
    #[error(transparent)]
    Guard(#[from] WebhooksError),
    /// The certificates of [`Config::ca_file`].
    #[error("ca_file: {0}")]
    Certificates(String),
    /// A metric's name is taken.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// The way out.
pub(crate) struct Http {
    guard: Arc<Guard>,
    tls: TlsConnector,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Http {
    pub(super) fn new(guard: Arc<Guard>, config: &Config) -> Result<Self, CarrierError> {
        let wrong = |error: &dyn std::fmt::Display| CarrierError::Certificates(error.to_string());
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(file) = &config.ca_file {
            for one in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
                let one = one.map_err(|error| wrong(&error))?;
                roots.add(one).map_err(|error| wrong(&error))?;
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { guard, tls: TlsConnector::from(Arc::new(tls)) })
    }

    async fn post(
        &self,
        attempt: Attempt,
        place: &Place,
        admission: Admission,
    ) -> Result<Attempted, DeliveryResult> {
        let addresses = self.guard.addresses(place, admission).await?;
        let stream = self.open(place, &addresses).await?;
        let now_ms = attempt.now_ms;
        exchange(stream, request(place, attempt)?, now_ms).await
    }

    async fn open(
        &self,
        place: &Place,
        addresses: &[SocketAddr],
    ) -> Result<Box<dyn Stream>, DeliveryResult> {
        let tcp = connect(addresses).await?;
        if !place.is_tls {
            return Ok(Box::new(tcp));
        }
        let name = match &place.host {
            Host::Domain(name) => ServerName::try_from(name.clone()),
            Host::Ipv4(ip) => Ok(ServerName::from(std::net::IpAddr::from(*ip))),
            Host::Ipv6(ip) => Ok(ServerName::from(std::net::IpAddr::from(*ip))),
        };
        let name = name.map_err(|_| DeliveryResult::Tls)?;
        let stream = self.tls.connect(name, tcp).await.map_err(|_| DeliveryResult::Tls)?;
        Ok(Box::new(stream))
    }
}

impl Carrier for Http {
    async fn carry(&self, attempt: Attempt) -> Option<Attempted> {
        let Ok(place) = self.guard.parse(&attempt.target.url) else {
            return Some(Attempted::of(DeliveryResult::Forbidden));
        };
        // Not within the receiver's time: others may be what is waited for.
        let admission = self.guard.admit(&place, &attempt.project).await?;
        let posted = timeout(limits::WEBHOOK_ATTEMPT, self.post(attempt, &place, admission));
        Some(match posted.await {
            Ok(Ok(attempted)) => attempted,
            Ok(Err(result)) => Attempted::of(result),
            Err(_) => Attempted::of(DeliveryResult::Timeout),
        })
    }
}

/// The first of the checked addresses that answers.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, DeliveryResult> {
    for address in addresses.iter().take(limits::WEBHOOK_ADDRESSES_MAX) {
        let tried = timeout(limits::WEBHOOK_CONNECT, TcpStream::connect(address)).await;
        if let Ok(Ok(stream)) = tried {
            let _ = stream.set_nodelay(true);
            return Ok(stream);
        }
    }
    Err(DeliveryResult::Unreachable)
}

fn request(place: &Place, attempt: Attempt) -> Result<Request<Body>, DeliveryResult> {
    let Attempt { project: _, target, event, body, now_ms } = attempt;
    let signatures = sign::signatures(&target, &event, now_ms, &body);
    Request::post(&place.path)
        .header(header::HOST, &place.authority)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, "conclave")
        .header("webhook-id", event)
        .header("webhook-timestamp", now_ms / 1000)
        .header("webhook-signature", signatures)
        .body(Body::from(body))
        // What is in a stored URL was checked when it was read.
        .map_err(|_| DeliveryResult::Protocol)
}

async fn exchange(
    stream: Box<dyn Stream>,
    request: Request<Body>,
    now_ms: u64,
) -> Result<Attempted, DeliveryResult> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(limits::WEBHOOK_ANSWER_HEAD).max_headers(limits::HEADERS_MAX);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| blame(&error))?;
    // Ends with this set, whatever the receiver does.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| blame(&error))?;
    let attempted = judge(answer.status(), answer.headers(), now_ms);
    discard(answer).await;
    Ok(attempted)
}

fn blame(error: &hyper::Error) -> DeliveryResult {
    if error.is_parse() { DeliveryResult::Protocol } else { DeliveryResult::Unreachable }
}

/// Lets a well-behaved receiver finish its answer; nothing of it is kept.
async fn discard(answer: Response<Incoming>) {
    let body = to_bytes(Body::new(answer.into_body()), limits::WEBHOOK_ANSWER_BYTES);
    let _ = timeout(limits::WEBHOOK_ANSWER, body).await;
}

fn judge(status: StatusCode, headers: &HeaderMap, now_ms: u64) -> Attempted {
    let result = match status.as_u16() {
        200..300 => DeliveryResult::Delivered,
        300..400 => DeliveryResult::Redirected,
        410 => DeliveryResult::Gone,
        429 => DeliveryResult::Throttled,
        400..500 => DeliveryResult::Rejected,
        500..600 => DeliveryResult::ServerError,
        _ => DeliveryResult::Protocol,
    };
    let asks = matches!(status.as_u16(), 429 | 502..=504);
    let retry_after_ms = asks.then(|| retry_after_ms(headers, now_ms)).flatten();
    Attempted { result, retry_after_ms }
}

/// RFC 9110 section 10.2.3: seconds, or a date.
fn retry_after_ms(headers: &HeaderMap, now_ms: u64) -> Option<u64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1000));
    }
    let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(at.as_millis()).ok()?.checked_sub(now_ms)
}

#[cfg(test)]
mod tests;
