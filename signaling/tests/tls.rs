//! TLS by a certificate file: served, checked at start, read again.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use signaling::Tls;

fn certificate(folder: &std::path::Path) -> Tls {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = Tls { certificate: folder.join("cert.pem"), private_key: folder.join("key.pem") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.private_key, made.signing_key.serialize_pem()).unwrap();
    files
}

fn get(address: SocketAddr, files: &Tls, request: &str) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let tcp = TcpStream::connect(address).unwrap();
    let mut stream = StreamOwned::new(connection, tcp);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer); // Some servers close without close_notify.
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn https_is_served_with_the_certificate_and_plain_http_is_not() {
    let files = certificate(&common::folder());
    let config = signaling::Config { tls: Some(files.clone()), ..common::config() };
    let world = common::World::build(config, true).await;
    let address = world.server.local_addr();
    let request = "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = tokio::task::spawn_blocking(move || get(address, &files, request)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert!(world.http.get(world.url("/livez")).send().await.is_err());
}

#[tokio::test]
async fn an_unusable_certificate_is_told_at_start() {
    let folder = common::folder();
    let good = certificate(&folder);
    std::fs::write(folder.join("junk.pem"), "junk").unwrap();
    let bad = [
        Tls { certificate: folder.join("absent.pem"), ..good.clone() },
        Tls { certificate: folder.join("junk.pem"), ..good.clone() },
        Tls { private_key: folder.join("junk.pem"), ..good.clone() },
        Tls { private_key: certificate(&common::folder()).private_key, ..good },
    ];
    for tls in bad {
        let config = signaling::Config { tls: Some(tls), ..common::config() };
        let store = common::open(&folder).await;
        let bus = Arc::new(bus::InProcessBus::new());
        let registry = prometheus::Registry::new();
        let error = signaling::serve(config, store, bus, registry, None).await.err().unwrap();
        assert!(matches!(error, signaling::StartError::Tls(_)), "{error}");
    }
}

/// An address of this machine other than loopback, if it has one. Sends nothing.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.200:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}

#[tokio::test]
async fn metrics_are_for_this_machine_by_its_own_addresses_too() {
    let Some(own) = own_address() else { return };
    let files = certificate(&common::folder());
    let listen = SocketAddr::new(own, 0);
    let config = signaling::Config { tls: Some(files.clone()), listen, ..common::config() };
    let world = common::World::build(config, true).await;
    let address = world.server.local_addr();
    for (header, status) in [("", "200"), ("x-forwarded-for: 198.51.100.1\r\n", "404")] {
        let request = format!(
            "GET /metrics HTTP/1.1\r\nhost: localhost\r\n{header}connection: close\r\n\r\n"
        );
        let files = files.clone();
        let answer = tokio::task::spawn_blocking(move || get(address, &files, &request));
        let answer = answer.await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}
