//! WHIP and WHEP requests (RFC 9725): POST an offer, DELETE the session.

use anyhow::{Context, Result, bail};
use reqwest::{Client, StatusCode, Url, header};

/// Longest answer taken, bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// A session resource on the server.
pub(crate) struct Resource {
    client: Client,
    token: String,
    url: Url,
}

/// Posts an offer; returns the answer and the resource to delete.
pub(super) async fn post(url: &str, token: &str, offer: String) -> Result<(String, Resource)> {
    let url = Url::parse(url).context("the endpoint's URL")?;
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let response = client
        .post(url.clone())
        .bearer_auth(token)
        .header(header::CONTENT_TYPE, "application/sdp")
        .body(offer)
        .send()
        .await
        .context("the request")?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.text().await.context("the answer")?;
    if status != StatusCode::CREATED {
        bail!("the server answered {status}: {}", body.chars().take(500).collect::<String>());
    }
    if body.len() > ANSWER_BYTES_MAX {
        bail!("the answer is too long: {} bytes", body.len());
    }
    let location = headers.get(header::LOCATION).context("no Location in the answer")?;
    let url = url.join(location.to_str().context("Location")?).context("Location")?;
    Ok((body, Resource { client, token: token.to_owned(), url }))
}

impl Resource {
    /// Ends the session; returns the status.
    pub(crate) async fn delete(self) -> Result<u16> {
        let request = self.client.delete(self.url).bearer_auth(self.token);
        Ok(request.send().await.context("the DELETE")?.status().as_u16())
    }
}
