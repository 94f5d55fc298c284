//! The certificate: read at start, and again when its files change.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum_server::tls_rustls::RustlsConfig;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::StartError;
use crate::config::Tls;

/// How often the files are looked at. A renewed certificate has weeks to be noticed.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Reads certificate and key.
pub(super) fn load(files: &Tls) -> Result<RustlsConfig, StartError> {
    Ok(RustlsConfig::from_config(Arc::new(read(files)?)))
}

fn read(files: &Tls) -> Result<ServerConfig, StartError> {
    let wrong = |path: &Path, error: &dyn std::fmt::Display| {
        StartError::Tls(format!("{}: {error}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(&files.certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(&files.private_key)
        .map_err(|error| wrong(&files.private_key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&files.certificate, &error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong(&files.certificate, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn changed_at(files: &Tls) -> Option<(SystemTime, SystemTime)> {
    let time = |path: &Path| std::fs::metadata(path).ok()?.modified().ok();
    Some((time(&files.certificate)?, time(&files.private_key)?))
}

/// Reads the files again whenever they change. Open connections keep the old certificate; files
/// that cannot be used are told in the log and left alone.
pub(super) async fn watch(config: RustlsConfig, files: Tls) {
    let mut seen = changed_at(&files);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = changed_at(&files);
        if now.is_none() || now == seen {
            continue;
        }
        match read(&files) {
            Ok(fresh) => {
                config.reload_from_config(Arc::new(fresh));
                tracing::info!("certificate read again");
                seen = now;
            }
            Err(error) => tracing::error!(%error, "the new certificate cannot be used"),
        }
    }
}
