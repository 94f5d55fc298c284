//! The frame of a page, and pieces that all pages use.

use serde_json::Value;

/// Text, safe in HTML and in attribute values.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(c),
        }
    }
    out
}

/// A line of Markdown: `code` in backticks, all other text as it is.
pub(super) fn inline(text: &str) -> String {
    let mut out = String::new();
    for (i, part) in text.split('`').enumerate() {
        let part = escape(part);
        out += &if i % 2 == 1 { format!("<code>{part}</code>") } else { part };
    }
    out
}

/// A whole document around `body`.
pub(super) fn document(name: &str, path: &str, pages: &[(&str, &str)], body: &str) -> String {
    let link = |(to, name): &(&str, &str)| {
        let current = if *to == path { " aria-current=\"page\"" } else { "" };
        format!("<a href=\"{to}\"{current}>{name}</a>")
    };
    let links: Vec<_> = pages.iter().map(link).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Conclave: {name}</title>\n<link rel=\"stylesheet\" href=\"{style}\">\n</head>\n\
         <body>\n<header><strong>Conclave</strong><nav>{links}\n\
         <a href=\"/openapi.json\">openapi.json</a><a href=\"/asyncapi.json\">asyncapi.json</a>\
         </nav></header>\n<main>\n{body}</main>\n</body>\n</html>\n",
        style = super::STYLE_PATH,
        links = links.concat(),
    )
}

/// An example.
pub(super) fn json_block(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    format!("<pre>{}</pre>\n", escape(&text))
}

/// A table; cells are HTML.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let row = |cells: &[String], tag: &str| {
        let cells = cells.iter().map(|cell| format!("<{tag}>{cell}</{tag}>"));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let head: Vec<String> = head.iter().map(|text| (*text).to_owned()).collect();
    let body: String = rows.iter().map(|cells| row(cells, "td")).collect();
    format!("<table>\n<thead>{}</thead>\n<tbody>\n{body}</tbody>\n</table>\n", row(&head, "th"))
}

/// What a schema allows, in a few words, with links to named schemas on the same page.
pub(super) fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|target| target.rsplit('/').next()) {
        return format!("<a href=\"#schema-{0}\">{0}</a>", escape(name));
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        if let Some(list) = schema[choice].as_array() {
            let kinds: Vec<_> = list.iter().map(kind).collect();
            return kinds.join(" or ");
        }
    }
    if let Some(value) = schema.get("const") {
        return format!("<code>{}</code>", escape(&value.to_string()));
    }
    if let Some(values) = schema["enum"].as_array() {
        let texts: Vec<_> = values.iter().map(|v| inline(&format!("`{v}`"))).collect();
        return texts.join(" ");
    }
    format!("{}{}", types(schema), bounds(schema))
}

fn types(schema: &Value) -> String {
    let one = |name: &str| match name {
        "array" => format!("list of {}", kind(&schema["items"])),
        other => escape(other),
    };
    match &schema["type"] {
        Value::String(name) => one(name),
        Value::Array(names) => {
            let names: Vec<_> = names.iter().filter_map(Value::as_str).map(one).collect();
            names.join(" or ")
        }
        _ => String::from("any"),
    }
}

fn bounds(schema: &Value) -> String {
    const WORDS: [(&str, &str); 9] = [
        ("minimum", "from"),
        ("maximum", "to"),
        ("minLength", "characters at least"),
        ("maxLength", "characters at most"),
        ("minItems", "items at least"),
        ("maxItems", "items at most"),
        ("pattern", "pattern"),
        ("format", "format"),
        ("default", "default"),
    ];
    let said = |(key, word): &(&str, &str)| {
        let value = schema.get(*key)?;
        // How wide the server's integer is says nothing to a partner.
        let width = value.as_str().is_some_and(|v| v.starts_with("int") || v.starts_with("uint"));
        (!width).then(|| format!("{word} <code>{}</code>", escape(&text(value))))
    };
    let said: Vec<_> = WORDS.iter().filter_map(said).collect();
    if said.is_empty() { String::new() } else { format!(", {}", said.join(", ")) }
}

/// A string without its quotes, all else as JSON.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The description of a named schema: its members, its values or its variants.
pub(super) fn schema(value: &Value) -> String {
    let mut out = paragraphs(value["description"].as_str().unwrap_or_default());
    out += &members(value);
    let variants = ["oneOf", "anyOf", "allOf"].iter().find_map(|choice| value[*choice].as_array());
    for variant in variants.into_iter().flatten() {
        out += &format!("<div class=\"variant\">{}</div>\n", self::variant(variant));
    }
    if value["properties"].is_null() && variants.is_none() {
        out += &format!("<p>{}</p>\n", kind(value));
    }
    if let Some(example) = value.get("example").or_else(|| value["examples"].get(0)) {
        out += &json_block(example);
    }
    out
}

fn variant(value: &Value) -> String {
    let about = paragraphs(value["description"].as_str().unwrap_or_default());
    let members = members(value);
    if members.is_empty() { format!("<p>{}</p>{about}", kind(value)) } else { about + &members }
}

/// The members of an object.
pub(super) fn members(value: &Value) -> String {
    let required: Vec<_> =
        value["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let row = |(name, member): (&String, &Value)| {
        let needed = if required.contains(&name.as_str()) { "yes" } else { "" };
        let name = format!("<code>{}</code>", escape(name));
        let about = inline(description(member));
        vec![name, kind(member), needed.to_owned(), about]
    };
    let rows: Vec<_> = value["properties"].as_object().into_iter().flatten().map(row).collect();
    table(&["member", "value", "needed", ""], &rows)
}

/// The description of a member, which may stand at the first of its choices.
fn description(member: &Value) -> &str {
    let own = member["description"].as_str();
    let first = || member["oneOf"].as_array()?.iter().find_map(|one| one["description"].as_str());
    own.or_else(first).unwrap_or_default()
}

/// Paragraphs of a description.
pub(super) fn paragraphs(text: &str) -> String {
    let parts = text.split("\n\n").filter(|part| !part.trim().is_empty());
    parts.map(|part| format!("<p>{}</p>\n", inline(part))).collect()
}
