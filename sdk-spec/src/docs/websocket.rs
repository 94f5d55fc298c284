//! The page of the client protocol: how a session goes, every message, every schema.

use serde_json::Value;

use super::{
    html::{self, escape, inline},
    markdown,
};

/// HTML of an AsyncAPI document.
pub(super) fn page(api: &Value) -> String {
    let mut out = String::from("<h1>WebSocket <code>conclave.v1</code></h1>\n");
    out += &markdown::render(api["info"]["description"].as_str().unwrap_or_default());
    for (operation, title) in [("fromClient", "From the client"), ("fromServer", "From the server")]
    {
        out += &format!("<h2 id=\"{operation}\">{title}</h2>\n");
        for name in names(api, operation) {
            let message = &api["components"]["messages"][name];
            out += &format!("<section id=\"{0}\">\n<h3><code>{0}</code></h3>\n", escape(name));
            out += &format!("<p>{}</p>\n", inline(message["summary"].as_str().unwrap_or_default()));
            out += &html::members(&message["payload"]);
            out += "</section>\n";
        }
    }
    out += "<h2 id=\"schemas\">Schemas</h2>\n";
    for (name, schema) in api["components"]["schemas"].as_object().into_iter().flatten() {
        out += &format!("<section id=\"schema-{0}\">\n<h3>{0}</h3>\n", escape(name));
        out += &html::schema(schema);
        out += "</section>\n";
    }
    out
}

fn names<'a>(api: &'a Value, operation: &str) -> Vec<&'a str> {
    let list = api["operations"][operation]["messages"].as_array().into_iter().flatten();
    list.filter_map(|message| message["$ref"].as_str()?.rsplit('/').next()).collect()
}
