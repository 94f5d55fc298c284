//! The contract and its pages, the same for everybody: `/openapi.json`, `/asyncapi.json`, `/docs`.

use std::sync::LazyLock;

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    routing::get,
};
use sdk_spec::docs;
use tower_http::set_header::SetResponseHeaderLayer;

use super::Shared;

struct Documents {
    openapi: String,
    asyncapi: String,
    pages: Vec<docs::Page>,
}

/// Made at the first use, some milliseconds; then 300 kB that are shared by all who ask.
static DOCUMENTS: LazyLock<Documents> = LazyLock::new(|| {
    let openapi = serde_json::to_value(sdk_spec::openapi::document()).unwrap_or_default();
    let asyncapi = sdk_spec::asyncapi::document();
    Documents {
        pages: docs::pages(&openapi, &asyncapi),
        openapi: openapi.to_string(),
        asyncapi: asyncapi.to_string(),
    }
});

/// Open to everybody: nothing in them is about this server or a partner.
pub(super) fn routes() -> Router<Shared> {
    let mut router = Router::new();
    for page in &DOCUMENTS.pages {
        router = router.route(page.path, file("text/html; charset=utf-8", &page.html));
    }
    let fixed =
        |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    router
        .route(docs::STYLE_PATH, file("text/css; charset=utf-8", docs::STYLE))
        .route("/openapi.json", file("application/json", &DOCUMENTS.openapi))
        .route("/asyncapi.json", file("application/json", &DOCUMENTS.asyncapi))
        .layer(fixed(header::CONTENT_SECURITY_POLICY, docs::CONTENT_SECURITY_POLICY))
        .layer(fixed(header::CACHE_CONTROL, "no-cache"))
        // Pages of other origins may read the contract: a partner's own tools.
        .layer(fixed(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .layer(fixed(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
}

fn file(media: &'static str, body: &'static str) -> axum::routing::MethodRouter<Shared> {
    get(move || async move { ([(header::CONTENT_TYPE, media)], body) })
}
