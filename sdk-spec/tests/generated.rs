//! The committed documents are what the code generates.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, fs};

use serde_json::Value;

fn committed(name: &str) -> Value {
    let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

const HINT: &str = "run `cargo run -p sdk-spec --bin generate`";

#[test]
fn openapi_json_is_current() {
    let generated = serde_json::to_value(sdk_spec::openapi::document()).unwrap();
    assert!(committed("openapi.json") == generated, "{HINT}");
    assert_eq!(generated["openapi"], "3.1.0");
}

#[test]
fn asyncapi_json_is_current() {
    assert!(committed("asyncapi.json") == sdk_spec::asyncapi::document(), "{HINT}");
}

#[test]
fn errors_md_is_current() {
    let path = format!("{}/../docs/errors.md", env!("CARGO_MANIFEST_DIR"));
    assert!(fs::read_to_string(path).unwrap() == sdk_spec::docs::errors_md(), "{HINT}");
}

/// Words in backticks, without what marks them as optional.
fn words(cell: &str) -> BTreeSet<String> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.map(|word| word.trim_end_matches('?').to_owned()).collect()
}

/// Cells of the tables in a section of docs/RECORDING.md, row by row.
fn rows(section: &str) -> Vec<Vec<String>> {
    let path = format!("{}/../docs/RECORDING.md", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once(&format!("\n## {section}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.split('|').map(str::to_owned).collect()).collect()
}

#[test]
fn recording_md_names_each_setting_of_a_storage_and_each_reason() {
    let schemas = &committed("openapi.json")["components"]["schemas"];
    let mut told: Vec<Vec<String>> = rows("Storages");
    let reasons = told.split_off(schemas["Storage"]["oneOf"].as_array().unwrap().len());
    for kind in schemas["Storage"]["oneOf"].as_array().unwrap() {
        let name = kind["properties"]["kind"]["enum"][0].as_str().unwrap();
        let row = told.iter().find(|row| words(&row[1]).contains(name));
        let row = row.unwrap_or_else(|| panic!("{name} is in no row"));
        let mut settings = words(&row[2]);
        settings.retain(|word| word != "{path}" && !word.starts_with("[recorder]"));
        let mut fields: BTreeSet<String> =
            kind["properties"].as_object().unwrap().keys().cloned().collect();
        fields.remove("kind");
        assert_eq!(settings, fields, "{name}");
    }
    let told: BTreeSet<String> = reasons.iter().flat_map(|row| words(&row[1])).collect();
    let known = schemas["BlockReason"]["enum"].as_array().unwrap();
    let known = known.iter().map(|word| word.as_str().unwrap().to_owned());
    assert_eq!(told, known.collect());
}

/// Every `$ref` of a document points at something.
fn check_references(root: &Value, at: &Value) {
    match at {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                let pointer = target.strip_prefix('#').unwrap();
                assert!(root.pointer(pointer).is_some(), "dangling {target}");
            }
            map.values().for_each(|v| check_references(root, v));
        }
        Value::Array(list) => list.iter().for_each(|v| check_references(root, v)),
        _ => {}
    }
}

#[test]
fn references_resolve() {
    for name in ["openapi.json", "asyncapi.json"] {
        let document = committed(name);
        check_references(&document, &document);
    }
}

#[test]
fn asyncapi_names_every_message_both_ways() {
    let document = sdk_spec::asyncapi::document();
    let names = |operation: &str| -> BTreeSet<String> {
        let list = document["operations"][operation]["messages"].as_array().unwrap();
        let last = |v: &Value| v["$ref"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        list.iter().map(last).collect()
    };
    let client = names("fromClient");
    for name in ["join", "resume", "offer", "mute", "want", "ping", "leave"] {
        assert!(client.contains(name), "{name}");
    }
    let server = names("fromServer");
    assert_eq!((client.len(), server.len()), (13, 25));
    let both: Vec<_> = client.intersection(&server).collect();
    assert!(both.is_empty(), "one shape for two messages: {both:?}");
    let messages = &document["components"]["messages"];
    assert!(messages["client_data"]["payload"]["properties"]["to"].is_object());
    assert!(messages["data"]["payload"]["properties"]["from"].is_object());
    let join = &document["components"]["messages"]["join"]["payload"];
    assert!(join["properties"]["token"].is_object() && join["properties"]["seq"].is_object());
}

#[test]
fn problems_and_grants_are_documented_as_they_are() {
    let document = committed("openapi.json");
    let schemas = &document["components"]["schemas"];
    let codes: Vec<_> = sdk_spec::problem::Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(schemas["Code"]["enum"], serde_json::json!(codes));
    assert_eq!(schemas["Grants"]["properties"]["publish"]["uniqueItems"], true);
    let header = &document["paths"]["/v1/rooms"]["post"]["parameters"][0];
    assert_eq!(header["schema"]["pattern"], "^[!-~]{1,128}$");
}
