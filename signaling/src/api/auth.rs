//! Who asks: a partner's server with an API key.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sdk_spec::{problem::Code, rest::is_opaque_name, scope::Scope};

use super::{Failure, Peer, Shared, limit};
use crate::domain::Actor;

/// A partner's server, authenticated.
#[derive(Clone)]
pub(crate) struct Partner {
    /// Project id.
    pub(crate) project: Arc<str>,
    /// Id of its key.
    pub(crate) key: Arc<str>,
    scopes: Arc<[Scope]>,
}

impl Partner {
    /// As the audit log names it.
    pub(crate) fn actor(&self) -> Actor {
        Actor::Key(self.key.to_string())
    }

    /// Whether its key may do this; every handler asks first.
    ///
    /// # Errors
    /// [`Code::ScopeMissing`], naming the scope.
    pub(crate) fn may(&self, scope: Scope) -> Result<(), Failure> {
        if self.scopes.contains(&scope) {
            return Ok(());
        }
        Err(Failure::new(Code::ScopeMissing).detail(format!("This needs the scope `{scope}`.")))
    }
}

impl Partner {
    /// Whether its key is still good, for requests that last.
    ///
    /// # Errors
    /// [`Code::Unauthorized`] when it was revoked since.
    pub(crate) async fn is_still_valid(&self, app: &Shared) -> Result<(), Failure> {
        let key = app.store.api_key(&self.key).await?;
        key.map(|_| ()).ok_or_else(|| Failure::new(Code::Unauthorized))
    }
}

/// Key id and secret as sent.
struct Credentials {
    id: String,
    secret: String,
}

/// Lets a request with a good API key and within its rate through, as a [`Partner`].
pub(super) async fn partner(
    State(app): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = Peer::of(request.extensions(), request.headers());
    let (partner, key) = match authenticate(&app, peer, request.headers()).await {
        Ok(found) => found,
        Err(failure) => return failure.into_response(),
    };
    let allowance = app.rates.take(&key);
    let mut response = if allowance.granted {
        request.extensions_mut().insert(partner);
        next.run(request).await
    } else {
        app.metrics.rate_limited.inc();
        limit::refusal(allowance.wait).into_response()
    };
    limit::write_headers(&allowance, response.headers_mut());
    response
}

/// The same answer for a missing, unknown, wrong and revoked key. Too many guesses change only the
/// answer to further ones.
async fn authenticate(
    app: &Shared,
    peer: Peer,
    headers: &HeaderMap,
) -> Result<(Partner, String), Failure> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return Err(Failure::new(Code::Unauthorized)); // No guess.
    }
    let refused = || app.count_guess(peer).err().unwrap_or(Failure::new(Code::Unauthorized));
    let credentials = credentials(headers).ok_or_else(refused)?;
    let key = app.store.api_key(&credentials.id).await?.ok_or_else(refused)?;
    if !key.hash.matches(credentials.secret.as_bytes()) {
        return Err(refused());
    }
    let partner = Partner {
        project: key.project.into(),
        key: credentials.id.as_str().into(),
        scopes: key.scopes.into(),
    };
    Ok((partner, credentials.id))
}

fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let (scheme, value) = authorization(headers)?;
    let text = if scheme.eq_ignore_ascii_case("bearer") {
        value.to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") {
        // RFC 7617: user-id ":" password. The user is `ck_<id>`.
        String::from_utf8(STANDARD.decode(value).ok()?).ok()?.replacen(':', "_", 1)
    } else {
        return None;
    };
    let (id, secret) = text.strip_prefix("ck_")?.split_once('_')?;
    is_opaque_name(id).then(|| Credentials { id: id.to_owned(), secret: secret.to_owned() })
}

/// A bearer token (RFC 6750 section 2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, value) = authorization(headers)?;
    scheme.eq_ignore_ascii_case("bearer").then_some(value)
}

fn authorization(headers: &HeaderMap) -> Option<(&str, &str)> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    // Two headers would let two readers see two bearers.
    if values.next().is_some() {
        return None;
    }
    let (scheme, value) = value.split_once(' ')?;
    Some((scheme, value.trim()))
}
