//! A connection to an address that was checked, made for one use: there is no pool, proxy or
//! redirect by which it could end elsewhere.

use std::{fmt, net::SocketAddr, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::Host;

use crate::{
    guard::{Admission, Guard, Place},
    limits,
};

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// Every address of the name belongs to a network that is not allowed. Blame: the partner.
    #[error("the address belongs to a network that is not allowed")]
    Forbidden,
    /// No such name, or nobody accepted. Blame: the partner, or the network between.
    #[error("nobody answers there")]
    Unreachable,
    /// No TLS, or a certificate that is not trusted or names another host. Blame: the partner.
    #[error("TLS failed: is the certificate valid, and for this name?")]
    Tls,
    /// Accepted, and then silent. Blame: the partner.
    #[error("the TLS handshake took too long")]
    Timeout,
}

/// Certificates of authorities that cannot be used. Blame: the operator.
#[derive(Debug, thiserror::Error)]
#[error("ca_file: {0}")]
pub struct TrustError(String);

/// What bytes go over, with TLS or without.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Makes connections by the rules of a [`Guard`].
#[derive(Clone)]
pub struct Dialer {
    guard: Arc<Guard>,
    tls: TlsConnector,
}

impl Dialer {
    /// Trusts the public authorities, and those of the PEM file `authorities`.
    ///
    /// # Errors
    /// A file that cannot be read or used.
    pub fn new(guard: Arc<Guard>, authorities: Option<&Path>) -> Result<Self, TrustError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(file) = authorities {
            for one in CertificateDer::pem_file_iter(file).map_err(wrong)? {
                roots.add(one.map_err(wrong)?).map_err(wrong)?;
            }
        }
        let mut tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { guard, tls: TlsConnector::from(Arc::new(tls)) })
    }

    /// The rules.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Connects to an address that is looked up and checked now, by TLS if the URL says so.
    ///
    /// # Errors
    /// [`DialError`]
    pub async fn dial(
        &self,
        place: &Place,
        admission: Admission,
    ) -> Result<Box<dyn Stream>, DialError> {
        let tcp = self.dial_tcp(place, admission).await?;
        if !place.is_tls {
            return Ok(Box::new(tcp));
        }
        let name = match &place.host {
            Host::Domain(name) => ServerName::try_from(name.clone()),
            Host::Ipv4(ip) => Ok(ServerName::from(std::net::IpAddr::from(*ip))),
            Host::Ipv6(ip) => Ok(ServerName::from(std::net::IpAddr::from(*ip))),
        };
        let name = name.map_err(|_| DialError::Tls)?;
        let handshake = timeout(limits::HANDSHAKE, self.tls.connect(name, tcp));
        let stream = handshake.await.map_err(|_| DialError::Timeout)?;
        Ok(Box::new(stream.map_err(|_| DialError::Tls)?))
    }

    /// Connects without TLS, for what protects itself, as SSH does.
    ///
    /// # Errors
    /// [`DialError::Forbidden`] or [`DialError::Unreachable`].
    pub async fn dial_tcp(
        &self,
        place: &Place,
        admission: Admission,
    ) -> Result<TcpStream, DialError> {
        connect(&self.guard.addresses(place, admission).await?).await
    }
}

fn wrong(error: impl fmt::Display) -> TrustError {
    TrustError(error.to_string())
}

/// The first of the checked addresses that answers.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
    for address in addresses.iter().take(limits::ADDRESSES_MAX) {
        let tried = timeout(limits::CONNECT, TcpStream::connect(address)).await;
        if let Ok(Ok(stream)) = tried {
            let _ = stream.set_nodelay(true);
            return Ok(stream);
        }
    }
    Err(DialError::Unreachable)
}
