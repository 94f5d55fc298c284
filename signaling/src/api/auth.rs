//! Who asks: a partner's server with an API key, or the operator with one of its own.

use std::{pin::pin, sync::Arc};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sdk_spec::{
    limits::{PROJECT_BURST_SECONDS, REQUESTS_BURST, REQUESTS_PER_SECOND},
    problem::Code,
    rest::{is_opaque_name, operator::Quotas},
    scope::{OperatorScope, Scope},
};

use super::{
    Failure, Peer, Shared,
    limit::{self, Rate},
};
use crate::{
    admin::bare,
    clock,
    domain::Actor,
    limits,
    store::{ApiKey, Author, StoreError},
};

/// Routes that only end what is recorded, or stop it for a time: they must work while the store does not.
const TAKES_LESS: [&str; 2] =
    ["/v1/recordings/{recording}/stop", "/v1/recordings/{recording}/pause"];

/// How often one key may ask.
const KEY_RATE: Rate = Rate { per_second: REQUESTS_PER_SECOND, burst: REQUESTS_BURST };

/// A partner's server, authenticated.
#[derive(Clone)]
pub(crate) struct Partner {
    /// Project id.
    pub(crate) project: Arc<str>,
    /// Id of its key, `ck_…`.
    pub(crate) key: Arc<str>,
    /// How much the project may have.
    pub(crate) quotas: Quotas,
    scopes: Arc<[Scope]>,
    /// When its key ends.
    pub(crate) expires_at_ms: Option<u64>,
}

impl Partner {
    /// As the audit log names it.
    pub(crate) fn actor(&self) -> Actor {
        Actor::Key(self.key.to_string())
    }

    /// It, now.
    pub(crate) fn by(&self) -> Author {
        Author::new(self.actor(), clock::now_ms())
    }

    /// Whether its key may do this; every handler asks first.
    ///
    /// # Errors
    /// [`Code::ScopeMissing`], naming the scope.
    pub(crate) fn may(&self, scope: Scope) -> Result<(), Failure> {
        if self.scopes.contains(&scope) { Ok(()) } else { Err(missing(scope.as_str())) }
    }
}

impl Partner {
    /// The end of what its key makes or renews: never after its own. `wish`: `None` is no end.
    pub(crate) fn end_of(&self, wish: Option<u64>) -> Option<u64> {
        wish.into_iter().chain(self.expires_at_ms).min()
    }

    /// Whether its key is still good, for requests that last.
    ///
    /// # Errors
    /// [`Code::Unauthorized`] when it was revoked since.
    pub(crate) async fn is_still_valid(&self, app: &Shared) -> Result<(), Failure> {
        let key = app.store.api_key(bare(&self.key, "ck_")).await?;
        let now_ms = clock::now_ms();
        let key = key.filter(|key| !key.suspended && key.expires_at_ms.is_none_or(|e| e > now_ms));
        key.map(|_| ()).ok_or_else(|| Failure::new(Code::Unauthorized))
    }
}

/// The operator, authenticated.
#[derive(Clone)]
pub(crate) struct Operator {
    /// Id of its key, `co_…`.
    key: Arc<str>,
    scopes: Arc<[OperatorScope]>,
}

impl Operator {
    /// It, now.
    pub(crate) fn by(&self) -> Author {
        Author::new(Actor::Operator(self.key.to_string()), clock::now_ms())
    }

    /// Whether its key may do this; every handler asks first.
    ///
    /// # Errors
    /// [`Code::ScopeMissing`], naming the scope.
    pub(crate) fn may(&self, scope: OperatorScope) -> Result<(), Failure> {
        if self.scopes.contains(&scope) { Ok(()) } else { Err(missing(scope.as_str())) }
    }
}

fn missing(scope: &str) -> Failure {
    Failure::new(Code::ScopeMissing).detail(format!("This needs the scope `{scope}`."))
}

/// Key id and secret as sent.
struct Credentials {
    id: String,
    secret: String,
}

/// Lets a request with a good API key and within the rates of key and project through, as a
/// [`Partner`].
pub(super) async fn partner(
    State(app): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = Peer::of(request.extensions(), request.headers());
    let path = request.extensions().get::<MatchedPath>();
    let takes_less = path.is_some_and(|path| TAKES_LESS.contains(&path.as_str()));
    let partner = match authenticate(&app, peer, request.headers(), takes_less).await {
        Ok(found) => found,
        Err(failure) => return failure.into_response(),
    };
    let per_second = partner.quotas.requests_per_second;
    let burst = per_second.saturating_mul(PROJECT_BURST_SECONDS);
    let of_key = app.rates.take(&partner.key.to_string(), KEY_RATE);
    let mut counted = vec![("key", of_key)];
    if of_key.granted {
        let rate = Rate { per_second, burst };
        counted.push(("project", app.project_rates.take(&partner.project.to_string(), rate)));
    }
    let refused = counted.iter().find(|(_, allowance)| !allowance.granted);
    let mut response = match refused {
        None => {
            request.extensions_mut().insert(partner);
            next.run(request).await
        }
        Some((_, allowance)) => {
            app.metrics.rate_limited.inc();
            limit::refusal(allowance.wait).into_response()
        }
    };
    limit::write_headers(&counted, response.headers_mut());
    response
}

/// The same answer for a missing, unknown, wrong, expired and revoked key. Too many guesses change
/// only the answer to further ones.
async fn authenticate(
    app: &Shared,
    peer: Peer,
    headers: &HeaderMap,
    takes_less: bool,
) -> Result<Partner, Failure> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return Err(Failure::new(Code::Unauthorized)); // No guess.
    }
    let refused = || app.count_guess(peer).err().unwrap_or(Failure::new(Code::Unauthorized));
    let credentials = credentials(headers, "ck_").ok_or_else(refused)?;
    let now_ms = clock::now_ms();
    let hash = app.store.vault().hash_secret(credentials.secret.as_bytes());
    let key = find_key(app, &credentials.id, takes_less).await?.ok_or_else(refused)?;
    if !key.matches(&hash, now_ms) {
        return Err(refused());
    }
    if key.expires_at_ms.is_some_and(|end| end <= now_ms) {
        return Err(Failure::new(Code::Unauthorized)); // It was good once: no guess.
    }
    if key.suspended {
        return Err(Failure::new(Code::ProjectSuspended));
    }
    Ok(Partner {
        project: key.project.as_str().into(),
        key: format!("ck_{}", credentials.id).into(),
        quotas: key.quotas,
        scopes: key.scopes.as_slice().into(),
        expires_at_ms: key.expires_at_ms,
    })
}

/// An API key as the store tells it; for what `takes_less` also as it was known, when the store does not
/// answer in time.
async fn find_key(
    app: &Shared,
    id: &str,
    takes_less: bool,
) -> Result<Option<Arc<ApiKey>>, StoreError> {
    let known = || app.known_keys.find(id).filter(|_| takes_less);
    let mut answer = pin!(app.store.api_key(id));
    let told = match tokio::time::timeout(limits::KEY_ANSWER, &mut answer).await {
        Ok(Err(_)) | Err(_) if let Some(key) = known() => return Ok(Some(key)),
        Ok(told) => told,
        Err(_) => answer.await,
    };
    let key = told?.map(Arc::new);
    app.known_keys.note(id, key.as_ref());
    Ok(key)
}

/// Lets a request with a good operator's key and within its rate through, as an [`Operator`].
pub(super) async fn operator(
    State(app): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    let operator = match authenticate_operator(&app, request.headers()).await {
        Ok(found) => found,
        Err(failure) => return failure.into_response(),
    };
    let allowance = app.rates.take(&operator.key.to_string(), KEY_RATE);
    let mut response = if allowance.granted {
        request.extensions_mut().insert(operator);
        next.run(request).await
    } else {
        app.metrics.rate_limited.inc();
        limit::refusal(allowance.wait).into_response()
    };
    limit::write_headers(&[("key", allowance)], response.headers_mut());
    response
}

async fn authenticate_operator(app: &Shared, headers: &HeaderMap) -> Result<Operator, Failure> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return Err(Failure::new(Code::Unauthorized));
    }
    // Its listener is on this machine: whoever guesses is behind one address.
    let refused = || {
        let counted = app.operator_failures.count_all();
        counted.inspect_err(|_| app.metrics.rate_limited.inc()).err()
    };
    let refused = || refused().unwrap_or(Failure::new(Code::Unauthorized));
    let credentials = credentials(headers, "co_").ok_or_else(refused)?;
    let hash = app.store.vault().hash_secret(credentials.secret.as_bytes());
    let key = app.store.operator_key(&credentials.id).await.map_err(|e: StoreError| e.into());
    let key = key.and_then(|key| key.filter(|key| key.matches(&hash)).ok_or_else(refused))?;
    if key.expires_at_ms.is_some_and(|end| end <= clock::now_ms()) {
        return Err(Failure::new(Code::Unauthorized));
    }
    Ok(Operator { key: format!("co_{}", credentials.id).into(), scopes: key.scopes.into() })
}

fn credentials(headers: &HeaderMap, prefix: &str) -> Option<Credentials> {
    let (scheme, value) = authorization(headers)?;
    let text = if scheme.eq_ignore_ascii_case("bearer") {
        value.to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") {
        // RFC 7617: user-id ":" password. The user is `ck_<id>`.
        String::from_utf8(STANDARD.decode(value).ok()?).ok()?.replacen(':', "_", 1)
    } else {
        return None;
    };
    let (id, secret) = text.strip_prefix(prefix)?.split_once('_')?;
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
