//! The static files of the demo page, under a policy that lets the page talk to this server only.

use std::path::Path;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header},
    middleware::{self, Next},
    response::{Redirect, Response},
    routing::get,
};
use tower_http::services::ServeDir;

use super::reach::Reach;

/// Headers besides the content security policy.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(self), microphone=(self), display-capture=(self), autoplay=(self), \
         geolocation=(), payment=(), usb=()",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// `/demo/` from the files in `dir`.
pub(super) fn router(dir: &Path, reach: Reach) -> Router {
    Router::new()
        .route("/demo", get(|| async { Redirect::permanent("/demo/") }))
        .nest_service("/demo/", ServeDir::new(dir))
        .layer(middleware::from_fn_with_state(reach, guard))
}

async fn guard(State(reach): State<Reach>, request: Request, next: Next) -> Response {
    let policy = policy(&reach, request.headers(), request.uri());
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// Nothing but files and the WebSocket of this server; no inline script or style. Firefox does
/// not count `ws:` of the same host as `'self'`, so the host is named.
fn policy(reach: &Reach, headers: &HeaderMap, uri: &Uri) -> HeaderValue {
    let sources = reach.policy_sources(headers, uri);
    let socket = sources.map(|sources| format!(" {sources}")).unwrap_or_default();
    let text = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         font-src 'self'; media-src 'self' blob: mediastream:; connect-src 'self'{socket}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_host_header_cannot_widen_the_policy() {
        let of = |host| {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            let uri = Uri::from_static("/demo/");
            policy(&Reach::default(), &headers, &uri).to_str().unwrap().to_owned()
        };
        assert!(of("localhost:7880").contains("connect-src 'self' ws://localhost:7880 wss://"));
        assert!(of("a; script-src *").contains("connect-src 'self'; base-uri"));
        assert!(!of("x").contains("unsafe-inline"));
    }
}
