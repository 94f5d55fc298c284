//! Checks across values, after flags have been applied.

use bus::link::Fingerprint;
use tracing_subscriber::EnvFilter;

use super::{Config, Mistakes, file};

impl Config {
    pub(super) fn check(&self, mistakes: &mut Mistakes) {
        check_storage(&self.storage, mistakes);
        check_http(&self.http, mistakes);
        let kept = signaling::Config { retention: self.retention.server(), ..Default::default() };
        pass_on("retention", kept.validate(), mistakes);
        let webhooks = self.webhooks.server().validate();
        pass_on("webhooks", webhooks.map_err(|error| vec![error]), mistakes);
        if self.operator.listen.is_some_and(|address| !address.ip().is_loopback()) {
            mistakes.add("operator.listen", "must be a loopback address such as 127.0.0.1:7881");
        }
        check_link(&self.link, &self.storage, mistakes);
        pass_on("media", self.media.node(false).validate(), mistakes);
        if let Err(error) = EnvFilter::builder().parse(&self.log.level) {
            mistakes.add("log.level", format!("{:?}: {error}", self.log.level));
        }
    }
}

/// Does not repeat the URL: it may hold a password.
fn check_storage(storage: &file::Storage, mistakes: &mut Mistakes) {
    if let Some(file::DatabaseUrl(url)) = &storage.database_url
        && !url.starts_with("postgres://")
        && !url.starts_with("postgresql://")
    {
        mistakes.add("storage.database_url", "must begin with postgres://; left out means SQLite");
    }
}

fn check_link(link: &file::Link, storage: &file::Storage, mistakes: &mut Mistakes) {
    let is_address = |to: &String| {
        let port = to.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        port.is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    };
    if link.connect.as_ref().is_some_and(|to| !is_address(to)) {
        mistakes.add("link.connect", "must be a host and a port such as recorder.example:7890");
    }
    for (name, keys) in [("link.recorders", &link.recorders), ("link.servers", &link.servers)] {
        if let Some(Err(error)) =
            keys.iter().map(|key| key.parse::<Fingerprint>()).find(Result::is_err)
        {
            mistakes.add(name, error.to_string());
        }
        // Others have a data directory, so a database file, of their own.
        if !keys.is_empty() && storage.database_url.is_none() {
            let problem = "others with another data directory need the same PostgreSQL \
                           (storage.database_url); with the same one leave this out";
            mistakes.add(name, problem);
        }
    }
    if !(5..=3600).contains(&link.away_seconds) {
        mistakes.add("link.away_seconds", "must be 5 to 3600: a cut of a few seconds is nothing");
    }
    if link.metrics.is_some_and(|address| !address.ip().is_loopback()) {
        mistakes.add("link.metrics", "must be a loopback address such as 127.0.0.1:7891");
    }
}

fn check_http(http: &file::Http, mistakes: &mut Mistakes) {
    match (&http.certificate, &http.private_key) {
        (Some(_), None) => {
            mistakes.add("http.private_key", "is needed together with http.certificate");
        }
        (None, Some(_)) => {
            mistakes.add("http.certificate", "is needed together with http.private_key");
        }
        _ => {}
    }
    pass_on("http", http.server().validate(), mistakes);
    for origin in http.allowed_origins.iter().filter(|o| !is_origin(o)) {
        let problem = format!("{origin:?} is no origin; write \"https://app.example\" or \"*\"");
        mistakes.add("http.allowed_origins", problem);
    }
}

/// `*`, or scheme and host with an optional port and nothing after it (RFC 6454 section 6.2).
fn is_origin(text: &str) -> bool {
    let Some(host) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        return text == "*";
    };
    !host.is_empty() && !host.contains(|c: char| c == '/' || c == '*' || c.is_whitespace())
}

/// Takes over the mistakes that a part of the server finds in its own settings. Their text begins
/// with the name of the setting.
fn pass_on<E: ToString>(section: &str, found: Result<(), Vec<E>>, mistakes: &mut Mistakes) {
    for error in found.err().into_iter().flatten() {
        let text = error.to_string();
        match text.split_once(": ") {
            Some((key, problem)) => mistakes.add(format!("{section}.{key}"), problem),
            None => mistakes.add(section, text),
        }
    }
}
