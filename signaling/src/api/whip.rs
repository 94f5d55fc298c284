//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): SDP over HTTP for standard clients.

use axum::{
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, delete},
};
use sdk_spec::problem::Code;
use sfu_proto::sdp::Offer;
use tokio::time::timeout;

use super::{
    Failure, Peer, Shared,
    auth::bearer,
    problem::{body, media_type},
    sdpfrag,
};
use crate::{
    clock,
    domain::{Ask, Proof, Refusal, Reply, Standard, Tag},
    limits,
    secret::Capability,
    token::{self, Redeemed, TokenError, TokenId},
};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// `POST /v1/whip`.
pub(super) async fn open_whip(state: State<Shared>, request: Request) -> Result<Response, Failure> {
    open(Standard::Whip, state, request).await
}

/// `POST /v1/whep`.
pub(super) async fn open_whep(state: State<Shared>, request: Request) -> Result<Response, Failure> {
    open(Standard::Whep, state, request).await
}

/// `PATCH` and `DELETE` of a WHIP session.
pub(super) fn session_whip() -> MethodRouter<Shared> {
    delete(|state: State<Shared>, path: Path<String>| end(Standard::Whip, state, path)).patch(
        |state: State<Shared>, path: Path<String>, request: Request| {
            patch(Standard::Whip, state, path, request)
        },
    )
}

/// `PATCH` and `DELETE` of a WHEP session.
pub(super) fn session_whep() -> MethodRouter<Shared> {
    delete(|state: State<Shared>, path: Path<String>| end(Standard::Whep, state, path)).patch(
        |state: State<Shared>, path: Path<String>, request: Request| {
            patch(Standard::Whep, state, path, request)
        },
    )
}

/// Says what may be sent, on every answer (RFC 9725 sections 4.2 and 4.3.1).
pub(super) async fn accept_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("accept-post"), HeaderValue::from_static(SDP));
    headers.insert(HeaderName::from_static("accept-patch"), HeaderValue::from_static(FRAGMENT));
    response
}

async fn open(
    kind: Standard,
    State(app): State<Shared>,
    request: Request,
) -> Result<Response, Failure> {
    let headers = request.headers();
    // Who asks without any token is told that first, and nothing else.
    let text = bearer(headers).ok_or_else(|| Failure::new(Code::TokenRefused))?.to_owned();
    if media_type(headers.get(header::CONTENT_TYPE)) != SDP {
        return Err(Failure::new(Code::UnsupportedMediaType));
    }
    if !accepts(headers, SDP) {
        return Err(Failure::new(Code::NotAcceptable));
    }
    let peer = Peer::of(request.extensions(), headers);
    let count = |error: TokenError| {
        if !matches!(error, TokenError::Store(_)) {
            app.metrics.tokens_refused.with_label_values(&[error.reason()]).inc();
        }
        match error.is_guess().then(|| app.count_guess(peer)) {
            Some(Err(too_many)) => too_many,
            _ => Failure::from(error),
        }
    };
    // The token is looked at before the body, and used up after: a bad offer may be mended.
    let verified = token::verify(&app.store, &text, clock::now_ms()).await.map_err(count)?;
    let offer = read_offer(&app, verified.id(), request).await?;
    app.metrics.offers.with_label_values(&["http"]).inc();
    // A token must not be used up by a room that would take nobody.
    app.rooms.check_vacancy(&verified.project, verified.room, &verified.admission).await?;
    let project = verified.project.clone();
    let Redeemed { room, admission, participants_max } =
        verified.redeem(&app.store).await.map_err(count)?;
    app.rooms.seat(&project, participants_max);
    let ask = Ask::Open { kind, admission, offer };
    match app.rooms.ask(room, ask).await {
        Ok(Reply::Opened { answer, resource, generation }) => {
            let headers = [
                (header::CONTENT_TYPE, SDP.to_owned()),
                (header::LOCATION, format!("/v1/{}/sessions/{resource}", name(kind))),
                (header::ETAG, format!("\"{generation}\"")),
            ];
            Ok((StatusCode::CREATED, headers, answer.write()).into_response())
        }
        Ok(_) => Err(Failure::new(Code::Internal)),
        // The room ended between the store's answer and its task's.
        Err(Refusal::NotFound) => Err(Failure::new(Code::TokenRefused)),
        Err(refusal) => Err(refusal.into()),
    }
}

async fn read_offer(app: &Shared, id: TokenId, request: Request) -> Result<Box<Offer>, Failure> {
    // Held until the text is parsed and gone.
    let _place = app.reading.take(id)?;
    let late = |_| Failure::new(Code::RequestTimeout);
    let bytes = timeout(limits::SDP_BODY, body(request, app)).await.map_err(late)??;
    let malformed = || Failure::new(Code::MalformedSdp);
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
    let offer = Offer::parse(text).map_err(|error| malformed().detail(error.to_string()))?;
    Ok(Box::new(offer))
}

async fn patch(
    kind: Standard,
    State(app): State<Shared>,
    Path(session): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let capability = capability(&session)?;
    if media_type(request.headers().get(header::CONTENT_TYPE)) != FRAGMENT {
        return Err(Failure::new(Code::UnsupportedMediaType));
    }
    let tag = request.headers().get(header::IF_MATCH).map(tag);
    let bytes = body(request, &app).await?;
    let text = std::str::from_utf8(&bytes).ok();
    let ice = text.and_then(|text| sdpfrag::parse(text).ok());
    let ice = ice.ok_or_else(|| Failure::new(Code::MalformedSdp))?;
    let ask = Ask::Patch { kind, proof: proof(&capability), tag, ice };
    match app.rooms.ask(capability.room, ask).await? {
        Reply::Restarts { answer, generation } => {
            let headers = [
                (header::CONTENT_TYPE, FRAGMENT.to_owned()),
                (header::ETAG, format!("\"{generation}\"")),
            ];
            Ok((StatusCode::OK, headers, sdpfrag::write(&answer)).into_response())
        }
        _ => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

async fn end(
    kind: Standard,
    State(app): State<Shared>,
    Path(session): Path<String>,
) -> Result<StatusCode, Failure> {
    let capability = capability(&session)?;
    app.rooms.ask(capability.room, Ask::End { kind, proof: proof(&capability) }).await?;
    Ok(StatusCode::OK)
}

/// The session's text is the proof: only who opened it has it.
fn capability(session: &str) -> Result<Capability, Failure> {
    Capability::parse(session).ok_or_else(|| Failure::new(Code::NotFound))
}

fn proof(capability: &Capability) -> Proof {
    Proof { participant: capability.participant, secret: capability.secret }
}

fn name(kind: Standard) -> &'static str {
    match kind {
        Standard::Whip => "whip",
        Standard::Whep => "whep",
    }
}

fn tag(value: &HeaderValue) -> Tag {
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Tag::Any;
    }
    let number = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    number.and_then(|n| n.parse().ok()).map_or(Tag::Foreign, Tag::Generation)
}

/// RFC 9110 section 12.5.1, without weights: nothing else is spoken anyway.
fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let mut ranges = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .peekable();
    ranges.peek().is_none()
        || ranges.any(|range| range == wanted || range == "*/*" || range == "application/*")
}
