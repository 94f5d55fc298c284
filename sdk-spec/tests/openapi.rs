//! The OpenAPI document is complete: what a partner's developer looks for stands there.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use sdk_spec::scope::Scope;
use serde_json::Value;

struct Operation {
    name: String,
    value: Value,
}

fn document() -> Value {
    serde_json::to_value(sdk_spec::openapi::document()).unwrap()
}

fn operations(api: &Value) -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, value) in item.as_object().unwrap() {
            if ["get", "put", "post", "delete", "patch"].contains(&method.as_str()) {
                found.push(Operation { name: format!("{method} {path}"), value: value.clone() });
            }
        }
    }
    found
}

#[test]
fn every_operation_has_a_name_of_its_own_a_summary_and_a_described_tag() {
    let api = document();
    let tags: BTreeSet<_> =
        api["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let mut ids = BTreeSet::new();
    for operation in operations(&api) {
        let text = |key: &str| operation.value[key].as_str().unwrap_or_default().to_owned();
        assert!(!text("operationId").is_empty(), "{}", operation.name);
        assert!(ids.insert(text("operationId")), "{} twice", text("operationId"));
        assert!(text("summary").len() > 5, "{} has no summary", operation.name);
        let tag = operation.value["tags"][0].as_str().unwrap_or_default();
        assert!(tags.contains(tag), "{}: tag {tag:?} is not described", operation.name);
    }
}

/// The path parameters of an operation are those of its path.
#[test]
fn every_path_parameter_is_described() {
    for operation in operations(&document()) {
        let in_path: BTreeSet<_> = operation
            .name
            .split('{')
            .skip(1)
            .map(|rest| rest.split('}').next().unwrap().to_owned())
            .collect();
        let parameters = operation.value["parameters"].as_array().cloned().unwrap_or_default();
        let described: BTreeSet<_> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(in_path, described, "{}", operation.name);
    }
}

#[test]
fn every_operation_tells_its_success_and_its_failure() {
    for operation in operations(&document()) {
        let responses = operation.value["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{}", operation.name);
        let problem = &responses["default"]["content"]["application/problem+json"]["schema"];
        assert_eq!(problem["$ref"], "#/components/schemas/Problem", "{}", operation.name);
        for (status, response) in responses {
            let description = response["description"].as_str().unwrap_or_default();
            assert!(!description.is_empty(), "{} {status}", operation.name);
        }
    }
}

#[test]
fn every_operation_of_a_key_names_its_scope_and_no_other_does() {
    for operation in operations(&document()) {
        let security = operation.value["security"].as_array().cloned().unwrap_or_default();
        let by_key = security.iter().any(|way| way.get("key").is_some());
        let scope = operation.value["x-scope"].as_str();
        let known = scope.is_some_and(|text| text.parse::<Scope>().is_ok());
        let open = scope == Some("none");
        let operator = scope.is_some_and(|text| text.starts_with("operator:"));
        assert_eq!(operator, operation.name.contains(" /operator/"), "{}", operation.name);
        assert_eq!(by_key, known || open, "{}: x-scope {scope:?}", operation.name);
    }
}

/// The schema of a body, with references followed.
fn resolve<'a>(api: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(target) => resolve(api, api.pointer(&target[1..]).unwrap()),
        None => schema,
    }
}

/// Whether a body, or what it is made of, has an example.
fn has_example(api: &Value, schema: &Value) -> bool {
    let schema = resolve(api, schema);
    if schema.get("example").is_some() || schema["examples"].get(0).is_some() {
        return true;
    }
    // A page of a list shows its items.
    let members = schema["properties"].as_object().into_iter().flatten();
    members
        .map(|(_, member)| member)
        .any(|member| member["type"] == "array" && has_example(api, &member["items"]))
}

#[test]
fn every_json_body_has_an_example() {
    let api = document();
    for operation in operations(&api) {
        let responses = operation.value["responses"].as_object().unwrap();
        let answers = responses.iter().map(|(status, response)| (status.as_str(), response));
        for (what, body) in answers.chain([("request", &operation.value["requestBody"])]) {
            let content = &body["content"]["application/json"];
            if content.is_null() {
                continue;
            }
            let own = content.get("example").is_some() || content.get("examples").is_some();
            let shown = own || has_example(&api, &content["schema"]);
            assert!(shown, "{} {what} has no example", operation.name);
        }
    }
}
