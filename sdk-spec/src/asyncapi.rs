//! AsyncAPI 3.0 of the WebSocket protocol, assembled from the JSON Schemas of [`crate::ws`].

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::ws::{
    CLOSE_CODES, ClientMessage, DEAD_SECONDS, Envelope, FIRST_MESSAGE_SECONDS, MESSAGE_BYTES_MAX,
    PING_SECONDS, PROTOCOL, RESUME_SECONDS, SUBPROTOCOL, ServerMessage,
};

/// Messages that may stand outside the sequence, without `seq` and `ack`.
const UNSEQUENCED: [&str; 4] = ["join", "resume", "resumed", "error"];
/// Before the key of a client's message whose type the server uses too: `client_data`.
const CLIENT: &str = "client_";

/// The document.
pub fn document() -> Value {
    let (client, mut schemas) = messages::<ClientMessage>();
    let (server, more) = messages::<ServerMessage>();
    // A type that both sides use has another shape each way, and the document one list of messages.
    let apart = |name: String| {
        if server.contains_key(&name) { format!("{CLIENT}{name}") } else { name }
    };
    let client: Map<_, _> = client.into_iter().map(|(name, one)| (apart(name), one)).collect();
    schemas.extend(more);
    let names =
        |messages: &Map<String, Value>| -> Vec<String> { messages.keys().cloned().collect() };
    let (from_client, from_server) = (names(&client), names(&server));
    let mut all = client;
    all.extend(server);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Conclave client protocol",
            "version": "1",
            "description": description(),
            "license": { "name": "Apache-2.0" }
        },
        "defaultContentType": "application/json",
        "channels": {
            "ws": {
                "address": "/v1/ws",
                "description": "A WebSocket. The room token stands in the first message.",
                "messages": references(&all.keys().cloned().collect::<Vec<_>>(), "components"),
                "bindings": { "ws": { "method": "GET", "bindingVersion": "0.1.0" } }
            }
        },
        "operations": {
            "fromClient": {
                "action": "receive",
                "channel": { "$ref": "#/channels/ws" },
                "messages": list(&from_client)
            },
            "fromServer": {
                "action": "send",
                "channel": { "$ref": "#/channels/ws" },
                "messages": list(&from_server)
            }
        },
        "components": { "messages": all, "schemas": schemas }
    })
}

/// In Markdown.
fn description() -> String {
    let mut text = format!(
        "JSON text messages, subprotocol `{SUBPROTOCOL}`. First message within \
         {FIRST_MESSAGE_SECONDS} s; ping every {PING_SECONDS} s; dead after {DEAD_SECONDS} s of \
         silence; resume within {RESUME_SECONDS} s; messages of at most {MESSAGE_BYTES_MAX} \
         bytes.\n\n{PROTOCOL}\n## Close codes\n\n| code | after | the client |\n|---|---|---|\n"
    );
    for (code, after, client) in CLOSE_CODES {
        text += &format!("| {code} | {after} | {client} |\n");
    }
    text
}

fn references(names: &[String], under: &str) -> Value {
    let entry =
        |name: &String| (name.clone(), json!({ "$ref": format!("#/{under}/messages/{name}") }));
    Value::Object(names.iter().map(entry).collect())
}

fn list(names: &[String]) -> Value {
    names.iter().map(|name| json!({ "$ref": format!("#/channels/ws/messages/{name}") })).collect()
}

/// One AsyncAPI message per variant of `T`, and the schemas they refer to.
fn messages<T: JsonSchema>() -> (Map<String, Value>, Map<String, Value>) {
    let mut schema = SchemaSettings::draft07()
        .with(|s| s.definitions_path = "/components/schemas".into())
        .into_generator()
        .into_root_schema_for::<Envelope<T>>()
        .to_value();
    let take = |schema: &mut Value, key: &str| schema.as_object_mut().and_then(|o| o.remove(key));
    // schemars keeps definitions where the path says, from the root.
    let schemas = take(&mut schema, "components").and_then(|mut c| take(&mut c, "schemas"));
    let variants = take(&mut schema, "oneOf").and_then(|v| match v {
        Value::Array(variants) => Some(variants),
        _ => None,
    });
    let envelope = schema["properties"].clone();
    let messages = variants.into_iter().flatten().filter_map(|v| message(v, &envelope)).collect();
    (messages, schemas.and_then(|s| s.as_object().cloned()).unwrap_or_default())
}

fn message(mut variant: Value, envelope: &Value) -> Option<(String, Value)> {
    let name = variant["properties"]["type"]["const"].as_str()?.to_owned();
    let summary = variant.as_object_mut()?.remove("description").unwrap_or_default();
    for (key, value) in envelope.as_object()? {
        variant["properties"][key] = value.clone();
    }
    if !UNSEQUENCED.contains(&name.as_str())
        && let Some(required) = variant["required"].as_array_mut()
    {
        required.extend(["seq", "ack"].map(Value::from));
    }
    Some((name.clone(), json!({ "name": name, "summary": summary, "payload": variant })))
}
