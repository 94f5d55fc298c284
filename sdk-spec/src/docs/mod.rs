//! The documentation as pages of plain HTML: no script, no file from elsewhere, generated from the
//! same types as the contract. A server shows them at `/docs`.
//!
//! ```text
//! openapi document ──▶ reference.rs ─┐
//! asyncapi document ─▶ websocket.rs ─┼─▶ Page {path, html}
//! problem, ws ─▶ errors.rs ─▶ errors.md ─▶ markdown.rs ─┘
//! ```

mod errors;
mod html;
mod markdown;
mod reference;
mod websocket;

use serde_json::Value;

pub use errors::errors_md;

/// Where the style sheet is looked for by every page.
pub const STYLE_PATH: &str = "/docs/style.css";
/// The style sheet.
pub const STYLE: &str = include_str!("style.css");
/// Allows the style sheet and nothing else.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

/// Versions, deprecation, what may change.
const POLICY: &str = include_str!("../../../docs/api-policy.md");

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Path on a server.
    pub path: &'static str,
    /// Name in the navigation.
    pub name: &'static str,
    /// The whole document.
    pub html: String,
}

/// Path and name of every page, in order of the navigation.
const NAMES: [(&str, &str); 4] = [
    ("/docs", "REST"),
    ("/docs/websocket", "WebSocket"),
    ("/docs/errors", "Errors"),
    ("/docs/policy", "Policy"),
];

/// Every page, from the two documents as they are served.
pub fn pages(openapi: &Value, asyncapi: &Value) -> Vec<Page> {
    let bodies = [
        reference::page(openapi),
        websocket::page(asyncapi),
        markdown::render(&errors_md()),
        markdown::render(POLICY),
    ];
    let page = |((path, name), body): ((&'static str, &'static str), String)| Page {
        path,
        name,
        html: html::document(name, path, &NAMES, &body),
    };
    NAMES.into_iter().zip(bodies).map(page).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use super::*;

    fn all() -> Vec<Page> {
        let openapi = serde_json::to_value(crate::openapi::document()).unwrap();
        pages(&openapi, &crate::asyncapi::document())
    }

    /// Values of an attribute.
    fn values<'a>(html: &'a str, attribute: &str) -> BTreeSet<&'a str> {
        let begin = format!(" {attribute}=\"");
        html.split(&begin).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
    }

    #[test]
    fn every_link_leads_to_something() {
        let pages = all();
        let paths: BTreeSet<_> = pages.iter().map(|page| page.path).collect();
        let documents = ["/openapi.json", "/asyncapi.json", STYLE_PATH];
        for page in &pages {
            let ids = values(&page.html, "id");
            for link in values(&page.html, "href") {
                let known = match link.strip_prefix('#') {
                    Some(id) => ids.contains(id),
                    None => {
                        let path = link.split('#').next().unwrap();
                        paths.contains(path) || documents.contains(&path)
                    }
                };
                assert!(known, "{}: {link}", page.path);
            }
        }
    }

    #[test]
    fn pages_need_neither_scripts_nor_styles_of_their_own_nor_other_hosts() {
        for page in all() {
            for word in ["<script", "<style", " style=", "http://", "src=", " onclick"] {
                assert!(!page.html.contains(word), "{}: {word}", page.path);
            }
            assert_eq!(page.html.matches("<main").count(), page.html.matches("</main>").count());
        }
    }

    #[test]
    fn every_operation_message_and_code_is_shown() {
        let pages = all();
        let openapi = serde_json::to_value(crate::openapi::document()).unwrap();
        for (path, item) in openapi["paths"].as_object().unwrap() {
            for operation in item.as_object().unwrap().values() {
                let Some(id) = operation["operationId"].as_str() else { continue };
                assert!(pages[0].html.contains(&format!("id=\"op-{id}\"")), "{path}");
            }
        }
        for name in
            crate::asyncapi::document()["components"]["messages"].as_object().unwrap().keys()
        {
            assert!(pages[1].html.contains(&format!("id=\"{name}\"")), "{name}");
        }
        for code in crate::problem::Code::ALL {
            assert!(pages[2].html.contains(&format!("<code>{}</code>", code.as_str())));
        }
        assert!(pages[3].html.contains("Sunset"));
    }
}
