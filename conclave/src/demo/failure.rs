//! Failures as the page sees them: problems (RFC 9457), as everywhere else.

use axum::{
    extract::rejection::JsonRejection,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use sdk_spec::problem::{Code, MEDIA_TYPE, Problem};

/// Seconds after which a page may try again when the server is busy.
const RETRY_SECONDS: &str = "1";

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    problem: Vec<u8>,
}

impl Failure {
    /// The REST API's answer to the partner, handed on. That it does not accept the partner's key
    /// is nothing that the page could mend.
    pub(super) fn handed_on(status: StatusCode, problem: Vec<u8>) -> Self {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::from(Code::Internal),
            _ => Self { status, problem },
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self {
            status: StatusCode::from_u16(problem.status)
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            // Strings and numbers can always be written.
            problem: serde_json::to_vec(&problem).unwrap_or_default(),
        }
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self::from(Problem::new(code))
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        // Its text may repeat what was sent.
        Self::from(match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Code::PayloadTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
            StatusCode::UNPROCESSABLE_ENTITY => Code::InvalidField,
            _ => Code::MalformedRequest,
        })
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response =
            (self.status, [(header::CONTENT_TYPE, MEDIA_TYPE)], self.problem).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let after = HeaderValue::from_static(RETRY_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, after);
        }
        response
    }
}
