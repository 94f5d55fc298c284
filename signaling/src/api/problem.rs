//! Every failure as a problem (RFC 9457), and extractors whose rejections are problems too.

use std::borrow::Cow;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, OptionalFromRequest, Path, Query, Request},
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use sdk_spec::{
    action::ActionRefusal,
    object,
    problem::{Code, FieldError, MEDIA_TYPE, Problem},
    rest::is_opaque_name,
    token::personal_claim,
};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::{
    domain::Refusal,
    store::{Creation, StoreError},
    token::{MintError, TokenError},
};

const AT_ONCE_QUOTA: &str = "The quota `rooms`, or that of recordings at a time, is used up.";
const PARTICIPANTS_QUOTA: &str = "The quota `participants` is used up.";

/// A problem and the headers that go with it.
#[derive(Debug)]
pub(crate) struct Failure {
    problem: Box<Problem>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Failure {
    pub(crate) fn new(code: Code) -> Self {
        let failure = Self { problem: Box::new(Problem::new(code)), headers: Vec::new() };
        match code {
            // RFC 9110 section 11.6.1.
            Code::Unauthorized | Code::TokenRefused => {
                failure.header(header::WWW_AUTHENTICATE, "Bearer")
            }
            Code::NoMediaNode | Code::Unavailable => failure.header(header::RETRY_AFTER, "2"),
            // What a recording takes is given back in minutes, not seconds.
            Code::RecorderFull => failure.header(header::RETRY_AFTER, "30"),
            _ => failure,
        }
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.problem.detail = Some(detail.into());
        self
    }

    /// The oldest event that is kept.
    pub(crate) fn oldest_seq(mut self, seq: u64) -> Self {
        self.problem.oldest_seq = Some(seq);
        self
    }

    pub(crate) fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.problem.errors = errors;
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status);
        let body = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut response =
            (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.extend(self.headers);
        response
    }
}

impl From<Vec<FieldError>> for Failure {
    fn from(errors: Vec<FieldError>) -> Self {
        Self::new(Code::InvalidField).errors(errors)
    }
}

impl From<Creation> for Failure {
    /// What is made or was made before is no failure; the caller has looked.
    fn from(creation: Creation) -> Self {
        match creation {
            Creation::Other => Self::new(Code::IdempotencyKeyReused),
            Creation::Full => Self::new(Code::QuotaExceeded),
            Creation::Missing => Self::new(Code::NotFound),
            Creation::Made | Creation::Before(_) => Self::new(Code::Internal),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "store");
        Self::new(Code::Unavailable)
    }
}

impl From<MintError> for Failure {
    fn from(error: MintError) -> Self {
        tracing::error!(%error, "mint");
        Self::new(Code::Internal)
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Refused(_) => Self::new(Code::TokenRefused),
            TokenError::Banned => Self::new(Code::Banned),
            TokenError::Store(error) => error.into(),
        }
    }
}

impl From<ActionRefusal> for Failure {
    fn from(refusal: ActionRefusal) -> Self {
        let refused = |detail: &str| Self::new(Code::ActionRefused).detail(detail);
        match refusal {
            ActionRefusal::NotPermitted => Self::new(Code::NotPermitted),
            ActionRefusal::UnknownParticipant => refused("No such participant is in the room."),
            ActionRefusal::UnknownTrack => refused("No such track is in the room."),
            ActionRefusal::UnknownRoom => refused("The room has no such breakout room."),
            ActionRefusal::OutOfRange => {
                Self::new(Code::InvalidField).detail("A value is out of its range.")
            }
            ActionRefusal::WrongState => refused("It does not fit the state of the room."),
            ActionRefusal::FloorTaken => refused("The floor is held by as many as may."),
            ActionRefusal::NotConfigured => {
                refused("The project's recording policy has no recipients or no storage target.")
            }
            ActionRefusal::VersionMismatch => Self::new(Code::VersionMismatch),
            ActionRefusal::Unavailable => Self::new(Code::Unavailable),
            ActionRefusal::QuotaExceeded => Self::new(Code::QuotaExceeded).detail(AT_ONCE_QUOTA),
            ActionRefusal::RecorderFull => Self::new(Code::RecorderFull),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::RoomFull => Self::new(Code::RoomFull),
            Refusal::QuotaExceeded => Self::new(Code::QuotaExceeded).detail(PARTICIPANTS_QUOTA),
            Refusal::RoomLocked => Self::new(Code::RoomLocked),
            Refusal::RoomNotOpen => Self::new(Code::RoomNotOpen),
            Refusal::Banned => Self::new(Code::Banned),
            Refusal::DuplicateHandle => Self::new(Code::DuplicateHandle),
            Refusal::Action(refusal) => refusal.into(),
            Refusal::NotPermitted => Self::new(Code::NotPermitted),
            Refusal::NotFound => Self::new(Code::NotFound),
            Refusal::PreconditionRequired => Self::new(Code::PreconditionRequired),
            Refusal::PreconditionFailed => Self::new(Code::PreconditionFailed),
            Refusal::Busy => Self::new(Code::OfferRefused).detail("an offer is being answered"),
            Refusal::Offer(reason) => Self::new(Code::OfferRefused).detail(reason.to_string()),
            Refusal::MediaTimeout => Self::new(Code::MediaTimeout),
            Refusal::NoMediaNode => Self::new(Code::NoMediaNode),
            Refusal::Gone => Self::new(Code::Unavailable),
        }
    }
}

/// A JSON body, and its bytes.
pub(crate) struct Json<T> {
    pub(crate) value: T,
    pub(crate) bytes: Bytes,
}

/// A body may be left out; what is there must be as it should.
impl<S: Send + Sync, T: DeserializeOwned> OptionalFromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Failure> {
        if request.headers().contains_key(header::CONTENT_TYPE) {
            return <Self as FromRequest<S>>::from_request(request, state).await.map(Some);
        }
        match body(request, state).await?.is_empty() {
            true => Ok(None),
            false => Err(Failure::new(Code::UnsupportedMediaType)),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        if media_type(request.headers().get(header::CONTENT_TYPE)) != "application/json" {
            return Err(Failure::new(Code::UnsupportedMediaType));
        }
        let bytes = body(request, state).await?;
        let value = object::from_slice(&object::integral(&bytes))
            .map_err(|error| refuse_json(&bytes, &error))?;
        Ok(Self { value, bytes })
    }
}

/// A body within its limit.
pub(crate) async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Failure> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Failure::new(Code::PayloadTooLarge),
        _ => Failure::new(Code::MalformedRequest).detail("the body ended early"),
    })
}

/// `type/subtype` in lower case, without parameters.
pub(crate) fn media_type(value: Option<&HeaderValue>) -> String {
    let text = value.and_then(|v| v.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn refuse_json(bytes: &[u8], error: &serde_json::Error) -> Failure {
    let place = place(error);
    if error.classify() != Category::Data {
        return Failure::new(Code::MalformedRequest).detail(format!("not JSON{place}"));
    }
    let text = error.to_string();
    if let Some(claim) = personal_key(bytes) {
        return Failure::new(Code::PersonalDataRefused)
            .detail(format!("`{claim}` is personal data; the platform does not take it"));
    }
    let code = if text.starts_with("handle refused") && text.contains("only you can resolve") {
        Code::PersonalDataRefused
    } else {
        Code::InvalidField
    };
    Failure::new(code).detail(format!("{}{place}", reason(&text)))
}

fn place(error: &serde_json::Error) -> String {
    match (error.line(), error.column()) {
        (0, _) => String::new(),
        (line, column) => format!(" at line {line} column {column}"),
    }
}

/// What serde found wrong, without what was sent: of its texts, names of missing and repeated
/// members are ours, all other quotations may be the client's.
fn reason(text: &str) -> Cow<'static, str> {
    let name = || text.split('`').nth(1).unwrap_or_default();
    let fixed = match text {
        t if t.starts_with("missing field") => return format!("`{}` is missing", name()).into(),
        t if t.starts_with("duplicate field") => {
            return format!("`{}` stands twice", name()).into();
        }
        t if t.starts_with("handle refused: ") => {
            let end = t.rfind(" at line ").unwrap_or(t.len());
            return t[..end].to_owned().into();
        }
        t if t.starts_with("unknown field") => "a member is not known here",
        t if t.starts_with("unknown variant") => "a value is none of those that are allowed",
        t if t.starts_with("invalid type") => "a value has the wrong type",
        t if t.starts_with("recursion limit") => "values are nested too deeply",
        _ => "a value is not as it must be",
    };
    fixed.into()
}

/// A member of the body's object, or of an object in it, that is a claim about a person.
fn personal_key(bytes: &[u8]) -> Option<&'static str> {
    fn search(value: &serde_json::Value) -> Option<&'static str> {
        let map = value.as_object()?;
        map.iter().find_map(|(key, value)| personal_claim(key).or_else(|| search(value)))
    }
    search(&serde_json::from_slice(bytes).ok()?)
}

/// Parameters of the query.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            // The library's text repeats what was sent.
            Err(_) => Err(Failure::new(Code::MalformedRequest)
                .detail("a query parameter is unknown, repeated or of the wrong type")),
        }
    }
}

/// An opaque id of a path: what the store can be asked for.
pub(crate) struct OpaqueName(pub(crate) String);

impl std::str::FromStr for OpaqueName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if is_opaque_name(text) { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

/// The last part of the path as an id. Anything else names nothing.
pub(crate) struct PathId<T>(pub(crate) T);

impl<S: Send + Sync, T: std::str::FromStr> FromRequestParts<S> for PathId<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let id = text.ok().and_then(|Path(text)| text.parse().ok());
        id.map(Self).ok_or_else(|| Failure::new(Code::NotFound))
    }
}
