#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use egress::Rules;
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use sdk_spec::rest::webhooks::Scheme;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::webhook::{Secrets, Target};

#[test]
fn answers_are_judged_by_their_status() {
    let judged =
        |status: u16| judge(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), 0).result;
    for (status, result) in [
        (200, DeliveryResult::Delivered),
        (204, DeliveryResult::Delivered),
        (299, DeliveryResult::Delivered),
        (301, DeliveryResult::Redirected),
        (304, DeliveryResult::Redirected),
        (400, DeliveryResult::Rejected),
        (404, DeliveryResult::Rejected),
        (410, DeliveryResult::Gone),
        (429, DeliveryResult::Throttled),
        (500, DeliveryResult::ServerError),
        (599, DeliveryResult::ServerError),
        (999, DeliveryResult::Protocol),
    ] {
        assert_eq!(judged(status), result, "{status}");
    }
}

#[test]
fn retry_after_is_read_as_seconds_or_date_from_those_who_may_ask() {
    let asked = |status: u16, text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, text.parse().unwrap());
        let now_ms = 1_700_000_000_000; // Tue, 14 Nov 2023 22:13:20 GMT
        judge(StatusCode::from_u16(status).unwrap(), &headers, now_ms).retry_after_ms
    };
    assert_eq!(asked(429, "7"), Some(7000));
    assert_eq!(asked(503, "Tue, 14 Nov 2023 22:14:20 GMT"), Some(60_000));
    assert_eq!(asked(503, "Tue, 14 Nov 2023 22:12:20 GMT"), None);
    assert_eq!(asked(502, "99999999999999999999"), None);
    assert_eq!(asked(504, "soon"), None);
    assert_eq!(asked(500, "7"), None);
}

fn http(ca_file: Option<std::path::PathBuf>) -> Http {
    let hosts = vec![String::from("127.0.0.1"), String::from("localhost")];
    let guard = Guard::new(&Rules { allow_hosts: hosts, ..Rules::default() }).unwrap();
    Http::new(Dialer::new(Arc::new(guard), ca_file.as_deref()).unwrap())
}

async fn post(http: &Http, url: String) -> (DeliveryResult, Duration) {
    let secrets = Secrets::random();
    let target = Target { url, schemes: vec![Scheme::V1], secrets, previous: None };
    let (target, event) = (Arc::new(target), String::from("ev_1"));
    let began = Instant::now();
    let project = String::from("pj_1");
    let attempt = Attempt { project, target, event, body: Vec::from("{}"), now_ms: 0 };
    (http.carry(attempt).await.unwrap().result, began.elapsed())
}

/// A receiver that reads the request and then writes `head`, and `more` every `pause` until the
/// other side is gone; the number of bytes that it could write.
async fn receiver(
    head: Vec<u8>,
    more: Vec<u8>,
    pause: Duration,
) -> (u16, tokio::task::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        let mut written = 0;
        let mut next = head;
        while stream.write_all(&next).await.is_ok() && !more.is_empty() {
            written += next.len();
            next.clone_from(&more);
            sleep(pause).await;
        }
        written
    });
    (port, serving)
}

/// The rules themselves are tested where they are: in `egress`.
#[tokio::test]
async fn what_was_stored_before_the_rules_is_not_sent() {
    let (port, serving) = receiver(Vec::new(), Vec::new(), Duration::ZERO).await;
    for url in [
        format!("https://127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}/"),
        format!("https://localhost:{port}/"),
        String::from("https://169.254.169.254/latest/meta-data/"),
        String::from("https://127.0.0.1:PORT/"),
    ] {
        let guard = Guard::new(&Rules { ports: vec![port], ..Rules::default() }).unwrap();
        let http = Http::new(Dialer::new(Arc::new(guard), None).unwrap());
        assert_eq!(post(&http, url.clone()).await.0, DeliveryResult::Forbidden, "{url}");
    }
    assert!(!serving.is_finished(), "nobody was connected to");
    serving.abort();
}

#[tokio::test]
async fn hostile_answers_cost_little_and_end() {
    let second = Duration::from_secs(1);
    let ok = || Vec::from("HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n");
    let chunked = || Vec::from("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    let huge = [&b"HTTP/1.1 200 OK\r\nx: "[..], &vec![b'x'; 1 << 20]].concat();
    let header = "x: y\r\n".repeat(1000);
    let many = format!("HTTP/1.1 200 OK\r\n{header}\r\n").into_bytes();
    for (name, head, more, pause, result) in [
        ("10 MB", ok(), vec![0; 64 * 1024], Duration::ZERO, DeliveryResult::Delivered),
        ("a byte each second", ok(), vec![0; 1], second, DeliveryResult::Delivered),
        (
            "endless chunks",
            chunked(),
            Vec::from("1\r\nx\r\n"),
            Duration::ZERO,
            DeliveryResult::Delivered,
        ),
        ("1 MB of head", huge, vec![], second, DeliveryResult::Protocol),
        ("1000 headers", many, vec![], second, DeliveryResult::Protocol),
        ("no HTTP", Vec::from("SSH-2.0-x\r\n\r\n"), vec![], second, DeliveryResult::Protocol),
        ("nothing", vec![], vec![], second, DeliveryResult::Unreachable),
    ] {
        let (port, serving) = receiver(head, more, pause).await;
        let (got, took) = post(&http(None), format!("http://127.0.0.1:{port}/")).await;
        assert_eq!(got, result, "{name}");
        assert!(took < Duration::from_secs(8), "{name}: {took:?}");
        // The connection is closed: whoever still writes is stopped.
        let written = timeout(Duration::from_secs(8), serving).await.expect(name).unwrap();
        assert!(written < 8_000_000, "{name}: {written} bytes were taken");
    }
}

#[tokio::test]
async fn who_never_answers_is_given_fifteen_seconds() {
    let (port, _serving) = receiver(Vec::new(), Vec::from(" "), Duration::from_secs(60)).await;
    let (got, took) = post(&http(None), format!("http://127.0.0.1:{port}/")).await;
    assert_eq!(got, DeliveryResult::Timeout);
    assert!(took >= Duration::from_secs(15) && took < Duration::from_secs(25), "{took:?}");
}

#[tokio::test]
async fn certificates_must_be_trusted_and_name_the_host() {
    let folder = std::env::temp_dir().join(crate::secret::opaque_id("conclave-tls-"));
    std::fs::create_dir_all(&folder).unwrap();
    let made = rcgen::generate_simple_self_signed(vec![String::from("localhost")]).unwrap();
    let file = folder.join("ca.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    });
    let (named, bare) =
        (format!("https://localhost:{port}/"), format!("https://127.0.0.1:{port}/"));
    assert_eq!(post(&http(None), named.clone()).await.0, DeliveryResult::Tls);
    let trusting = http(Some(file.clone()));
    assert_eq!(post(&trusting, named).await.0, DeliveryResult::Delivered);
    assert_eq!(post(&trusting, bare).await.0, DeliveryResult::Tls, "a foreign name");
    let plain = post(&trusting, format!("http://localhost:{port}/")).await.0;
    assert_ne!(plain, DeliveryResult::Delivered);
    std::fs::remove_dir_all(&folder).unwrap();
}
