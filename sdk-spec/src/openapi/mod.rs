//! OpenAPI 3.1 of REST, WHIP and WHEP, from the types of this package.
//!
//! The functions below are never called: they carry the description of each operation. That a
//! server answers exactly these is a test of the server.

#![allow(dead_code, unused_qualifications, reason = "described by utoipa's macros, never called")]

mod audit;
mod events;
mod keys;
mod operator;
mod recordings;
mod rooms;
mod scopes;
mod usage;
mod webhooks;

use utoipa::{
    Modify, OpenApi,
    openapi::{
        self, RefOr, Schema,
        schema::AdditionalProperties,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use crate::{
    event::What,
    limits,
    problem::{Code, Problem},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Conclave",
        version = "1",
        description = "Rooms, room tokens, and media over WHIP and WHEP.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        whip, whip_patch, whip_delete, whep, whep_patch, whep_delete,
    ),
    components(schemas(Problem)),
    tags(
        (name = "rooms", description = "For a partner's server, with an API key."),
        (name = "media", description = "For standard clients, with a room token."),
    ),
)]
struct Api;

/// The document.
pub fn document() -> openapi::OpenApi {
    let mut api = Api::openapi();
    for part in [
        rooms::Api::openapi(),
        keys::Api::openapi(),
        events::Api::openapi(),
        webhooks::Api::openapi(),
        recordings::Api::openapi(),
        usage::Api::openapi(),
        audit::Api::openapi(),
        operator::Api::openapi(),
    ] {
        api.merge(part);
    }
    Security.modify(&mut api);
    scopes::Scopes.modify(&mut api);
    Failures.modify(&mut api);
    api
}

struct Security;

impl Modify for Security {
    fn modify(&self, api: &mut openapi::OpenApi) {
        let http = |scheme, text| {
            let mut http = Http::new(scheme);
            http.description = Some(String::from(text));
            SecurityScheme::Http(http)
        };
        let components = api.components.get_or_insert_default();
        for (name, scheme) in [
            (
                "key",
                http(
                    HttpAuthScheme::Bearer,
                    "API key, `ck_<id>_<secret>`. Its scopes decide what it may do.",
                ),
            ),
            ("key_basic", http(HttpAuthScheme::Basic, "User `ck_<id>`, password the secret.")),
            (
                "operator",
                http(
                    HttpAuthScheme::Bearer,
                    "Operator's key, `co_<id>_<secret>`, on the operator's listener only.",
                ),
            ),
            ("room_token", http(HttpAuthScheme::Bearer, "Room token, single use.")),
        ] {
            components.add_security_scheme(name, scheme);
        }
    }
}

/// Adds the problems that every operation may answer, and the list of codes and limits.
struct Failures;

impl Modify for Failures {
    fn modify(&self, api: &mut openapi::OpenApi) {
        for item in api.paths.paths.values_mut() {
            let operations =
                [&mut item.get, &mut item.post, &mut item.put, &mut item.delete, &mut item.patch];
            for operation in operations.into_iter().flatten() {
                let responses = &mut operation.responses.responses;
                responses.iter_mut().for_each(describe);
                responses.insert(String::from("default"), RefOr::T(problem()));
            }
        }
        api.info.description = Some(description());
        no_source_twice(api);
        close_variants(api, "Action");
        close_variants(api, "Storage");
        name_event_types(api);
        let push = api.paths.paths.get_mut("/v1/recordings/{recording}/push");
        if let Some(RefOr::T(body)) = push.and_then(|i| i.post.as_mut()?.request_body.as_mut()) {
            // For the derive what may be left out may be null.
            body.required = Some(openapi::Required::False);
        }
    }
}

fn problem() -> openapi::Response {
    let mut response = openapi::Response::new("A problem (RFC 9457); see `code`");
    let schema = openapi::Ref::from_schema_name("Problem");
    response.content.insert(
        String::from(crate::problem::MEDIA_TYPE),
        RefOr::T(openapi::ContentBuilder::new().schema(Some(schema)).build()),
    );
    response
}

/// A response must have a description, which most have no need of.
fn describe((status, response): (&String, &mut RefOr<openapi::Response>)) {
    if let RefOr::T(response) = response
        && response.description.is_empty()
    {
        response.description = String::from(match status.as_str() {
            "200" => "As asked",
            "201" => "Created",
            "202" => "Begun",
            "204" => "Done",
            "304" => "Unchanged",
            _ => "See the status",
        });
    }
}

/// `grants.publish` is a set; the derive knows lists only.
fn no_source_twice(api: &mut openapi::OpenApi) {
    let grants = api.components.as_mut().and_then(|c| c.schemas.get_mut("Grants"));
    if let Some(RefOr::T(Schema::Object(grants))) = grants
        && let Some(RefOr::T(Schema::Array(publish))) = grants.properties.get_mut("publish")
    {
        publish.unique_items = true;
    }
}

/// The filter of the event log takes types that there are.
fn name_event_types(api: &mut openapi::OpenApi) {
    let get = api.paths.paths.get_mut("/v1/events").and_then(|item| item.get.as_mut());
    let parameters = get.and_then(|get| get.parameters.as_mut()).into_iter().flatten();
    for parameter in parameters {
        if let RefOr::T(parameter) = parameter
            && parameter.name == "type"
            && let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema
        {
            let types = What::TYPES.join("|").replace('.', "\\.");
            schema.pattern = Some(format!("^({types})(,({types}))*$"));
        }
    }
}

/// Variants take no other members; the derive says so for structs only.
fn close_variants(api: &mut openapi::OpenApi, name: &str) {
    let schema = api.components.as_mut().and_then(|c| c.schemas.get_mut(name));
    let Some(RefOr::T(Schema::OneOf(one_of))) = schema else { return };
    for item in &mut one_of.items {
        if let RefOr::T(Schema::Object(variant)) = item {
            variant.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}

fn description() -> String {
    let mut text = String::from(
        "Rooms, room tokens, and media over WHIP and WHEP.\n\nEvery failure is a problem \
         (RFC 9457). An unknown and a foreign resource have the same answer. `RateLimit` and \
         `RateLimit-Policy` headers tell what is left; 429 and 503 carry `Retry-After`.\n\n\
         | code | status | meaning | remedy |\n|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let row = [code.as_str(), &code.status().to_string(), code.title(), code.remedy()];
        text += &format!("| {} |\n", row.join(" | "));
    }
    text += "\n| limit | value | unit | reason |\n|---|---|---|---|\n";
    for limit in limits::ALL {
        let row = [limit.name, &limit.value.to_string(), limit.unit, limit.reason];
        text += &format!("| {} |\n", row.join(" | "));
    }
    text
}

/// Publish by WHIP (RFC 9725). The first audio section is the microphone, the first video section
/// the camera.
#[utoipa::path(post, path = "/v1/whip", tag = "media", operation_id = "whip",
    request_body(content = String, content_type = "application/sdp"),
    responses((status = 201, body = String, content_type = "application/sdp",
        headers(("Location" = String), ("ETag" = String)))),
    security(("room_token" = [])))]
fn whip() {}

/// Restart ICE or trickle candidates. Candidates are accepted and not needed: the server learns
/// the client's addresses from its checks.
#[utoipa::path(patch, path = "/v1/whip/sessions/{session}", tag = "media",
    operation_id = "whipPatch",
    params(("session" = String, Path), ("If-Match" = String, Header,
        description = "The `ETag` for candidates, `*` for an ICE restart.")),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag"),
    responses((status = 200, body = String, content_type = "application/trickle-ice-sdpfrag",
        description = "ICE restarts", headers(("ETag" = String))), (status = 204)))]
fn whip_patch() {}

/// End the session.
#[utoipa::path(delete, path = "/v1/whip/sessions/{session}", tag = "media",
    operation_id = "whipDelete", params(("session" = String, Path)),
    responses((status = 200, description = "Ended")))]
fn whip_delete() {}

/// Watch and listen by WHEP.
#[utoipa::path(post, path = "/v1/whep", tag = "media", operation_id = "whep",
    request_body(content = String, content_type = "application/sdp"),
    responses((status = 201, body = String, content_type = "application/sdp",
        headers(("Location" = String), ("ETag" = String)))),
    security(("room_token" = [])))]
fn whep() {}

/// Restart ICE or trickle candidates.
#[utoipa::path(patch, path = "/v1/whep/sessions/{session}", tag = "media",
    operation_id = "whepPatch",
    params(("session" = String, Path), ("If-Match" = String, Header,
        description = "The `ETag` for candidates, `*` for an ICE restart.")),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag"),
    responses((status = 200, body = String, content_type = "application/trickle-ice-sdpfrag",
        description = "ICE restarts", headers(("ETag" = String))), (status = 204)))]
fn whep_patch() {}

/// End the session.
#[utoipa::path(delete, path = "/v1/whep/sessions/{session}", tag = "media",
    operation_id = "whepDelete", params(("session" = String, Path)),
    responses((status = 200, description = "Ended")))]
fn whep_delete() {}
