//! The page of the REST interface: every operation and every schema.

use serde_json::Value;

use super::html::{self, escape, inline, json_block, kind, paragraphs, table};

/// HTML of an OpenAPI document.
pub(super) fn page(api: &Value) -> String {
    let mut out = format!("<h1>{}</h1>\n", escape(html::text(&api["info"]["title"]).as_str()));
    out += "<p>REST <code>/v1</code> for partners' servers, WHIP and WHEP for standard clients. \
            Every failure is a problem (RFC 9457): <a href=\"/docs/errors\">all of them</a>. \
            What may change and how it is told: <a href=\"/docs/policy\">policy</a>. The client \
            protocol: <a href=\"/docs/websocket\">WebSocket</a>.</p>\n";
    let operations = operations(api);
    for tag in api["tags"].as_array().into_iter().flatten() {
        let name = tag["name"].as_str().unwrap_or_default();
        out += &format!("<h2 id=\"tag-{0}\">{0}</h2>\n", escape(name));
        out += &paragraphs(tag["description"].as_str().unwrap_or_default());
        let of_tag: Vec<_> = operations.iter().filter(|one| one.tag() == name).collect();
        out += &table(
            &["operation", "", "scope"],
            &of_tag.iter().map(|one| one.line()).collect::<Vec<_>>(),
        );
        for operation in of_tag {
            out += &operation.section(api);
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

struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    value: &'a Value,
}

fn operations(api: &Value) -> Vec<Operation<'_>> {
    let mut found = Vec::new();
    for (path, item) in api["paths"].as_object().into_iter().flatten() {
        for (method, value) in item.as_object().into_iter().flatten() {
            if value["operationId"].is_string() {
                found.push(Operation { method, path, value });
            }
        }
    }
    found
}

impl Operation<'_> {
    fn id(&self) -> &str {
        self.value["operationId"].as_str().unwrap_or_default()
    }

    fn tag(&self) -> &str {
        self.value["tags"][0].as_str().unwrap_or_default()
    }

    fn scope(&self) -> String {
        let scope = self.value["x-scope"].as_str();
        scope.map(|scope| format!("<code>{}</code>", escape(scope))).unwrap_or_default()
    }

    fn name(&self) -> String {
        let method = self.method.to_uppercase();
        format!("<span class=\"method\">{method}</span> <code>{}</code>", escape(self.path))
    }

    fn line(&self) -> Vec<String> {
        let link = format!("<a href=\"#op-{}\">{}</a>", self.id(), self.name());
        let summary = self.value["summary"].as_str().unwrap_or_default();
        vec![link, inline(summary), self.scope()]
    }

    fn section(&self, api: &Value) -> String {
        let mut out = format!("<section id=\"op-{}\">\n<h3>{}</h3>\n", self.id(), self.name());
        out += &paragraphs(self.value["summary"].as_str().unwrap_or_default());
        out += &paragraphs(self.value["description"].as_str().unwrap_or_default());
        let scope = self.scope();
        if !scope.is_empty() {
            out += &format!("<p>Scope {scope}</p>\n");
        }
        let parameters = self.value["parameters"].as_array().into_iter().flatten();
        let rows: Vec<_> = parameters.map(parameter).collect();
        out += &table(&["parameter", "in", "value", "needed", ""], &rows);
        if let Some(content) = self.value["requestBody"]["content"].as_object() {
            out += "<h4>Request</h4>\n";
            out += &contents(api, content);
        }
        for (status, response) in self.value["responses"].as_object().into_iter().flatten() {
            out += &answer(api, status, response);
        }
        out + "</section>\n"
    }
}

fn parameter(value: &Value) -> Vec<String> {
    let needed = if value["required"] == true { "yes" } else { "" };
    vec![
        format!("<code>{}</code>", escape(value["name"].as_str().unwrap_or_default())),
        escape(value["in"].as_str().unwrap_or_default()),
        kind(&value["schema"]),
        needed.to_owned(),
        inline(value["description"].as_str().unwrap_or_default()),
    ]
}

fn answer(api: &Value, status: &str, response: &Value) -> String {
    let about = inline(response["description"].as_str().unwrap_or_default());
    if status == "default" {
        return format!("<h4>Otherwise</h4>\n<p>{about}</p>\n");
    }
    let mut out = format!("<h4>{}</h4>\n<p>{about}</p>\n", escape(status));
    let headers = response["headers"].as_object().into_iter().flatten();
    let rows: Vec<_> = headers
        .map(|(name, header)| {
            let about = header["description"].as_str().unwrap_or_default();
            vec![format!("<code>{}</code>", escape(name)), inline(about)]
        })
        .collect();
    out += &table(&["header", ""], &rows);
    out + &response["content"].as_object().map(|one| contents(api, one)).unwrap_or_default()
}

fn contents(api: &Value, contents: &serde_json::Map<String, Value>) -> String {
    let one = |(media, content): (&String, &Value)| {
        let head = format!("<p><code>{}</code>: {}</p>\n", escape(media), kind(&content["schema"]));
        head + &example(api, content).map(json_block).unwrap_or_default()
    };
    contents.iter().map(one).collect()
}

/// The example of a body, or of the schema that it refers to.
pub(super) fn example<'a>(api: &'a Value, content: &'a Value) -> Option<&'a Value> {
    let named = content["schema"]["$ref"].as_str().and_then(|target| api.pointer(&target[1..]));
    let of = |value: &'a Value| value.get("example").or_else(|| value["examples"].get(0));
    of(content).or_else(|| named.and_then(of))
}
