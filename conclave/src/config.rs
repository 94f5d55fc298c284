//! Configuration: built-in defaults, then the file, then flags and environment. Parsed completely
//! before anything starts, so that an operator sees every mistake at once.
//!
//! ```text
//! file text ─▶ toml ─▶ sections (file.rs) ─▶ overrides (flags, environment) ─▶ checks ─▶ Config
//!                └──────────┴────────────── mistakes ───────────────────────────┘
//! ```

mod check;
pub(crate) mod file;
mod mistake;
mod section;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, net::SocketAddr, path::PathBuf};

use clap::Args;
use serde::Deserialize as _;
use toml::{
    Table,
    de::{DeTable, Deserializer},
};

pub(crate) use mistake::Mistakes;
use section::Section as _;

/// The whole configuration, checked.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Config {
    /// What is kept on disk.
    pub(crate) storage: file::Storage,
    /// REST, WebSocket, WHIP, WHEP.
    pub(crate) http: file::Http,
    /// Where webhooks may go.
    pub(crate) webhooks: file::Webhooks,
    /// The operator's API.
    pub(crate) operator: file::Operator,
    /// Media ports and addresses.
    pub(crate) media: file::Media,
    /// Recordings.
    pub(crate) recorder: file::Recorder,
    /// The recorder in a process of its own.
    pub(crate) link: file::Link,
    /// How long things are kept.
    pub(crate) retention: file::Retention,
    /// Logs.
    pub(crate) log: file::Log,
}

/// Flags that override the configuration file.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Overrides {
    /// Configuration file (TOML). Without it the built-in defaults hold; `conclave config sample`
    /// prints them with explanations.
    #[arg(long, env = "CONCLAVE_CONFIG", value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Directory of the database [storage.data_dir].
    #[arg(long, env = "CONCLAVE_DATA_DIR", value_name = "DIR", global = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address and port of REST and WebSocket [http.listen].
    #[arg(long, env = "CONCLAVE_LISTEN", value_name = "ADDRESS:PORT", global = true)]
    pub(crate) listen: Option<SocketAddr>,
    /// Address and port of the operator's API, a loopback one [operator.listen].
    #[arg(long, env = "CONCLAVE_OPERATOR_LISTEN", value_name = "ADDRESS:PORT", global = true)]
    pub(crate) operator_listen: Option<SocketAddr>,
    /// First UDP and TCP port of media [media.port].
    #[arg(long, env = "CONCLAVE_MEDIA_PORT", value_name = "PORT", global = true)]
    pub(crate) media_port: Option<u16>,
    /// Worker threads for media, 0 for one per processor [media.workers].
    #[arg(long, env = "CONCLAVE_WORKERS", value_name = "COUNT", global = true)]
    pub(crate) workers: Option<usize>,
    /// Addresses told to clients, separated by commas [media.announce].
    #[arg(
        long,
        env = "CONCLAVE_ANNOUNCE",
        value_name = "ADDRESS",
        value_delimiter = ',',
        global = true
    )]
    pub(crate) announce: Vec<IpAddr>,
    /// Shape of log lines [log.format].
    #[arg(long, env = "CONCLAVE_LOG_FORMAT", value_name = "FORMAT", value_enum, global = true)]
    pub(crate) log_format: Option<file::LogFormat>,
    /// Detail of logs [log.level].
    #[arg(long, env = "CONCLAVE_LOG_LEVEL", value_name = "LEVEL", global = true)]
    pub(crate) log_level: Option<String>,
}

impl Config {
    /// The configuration of this process.
    ///
    /// # Errors
    /// Every mistake in the file and the flags.
    pub(crate) fn load(overrides: Overrides) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let text = match &overrides.config {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).unwrap_or_else(|error| {
                mistakes.add(path.display().to_string(), format!("cannot be read: {error}"));
                String::new()
            }),
        };
        let mut config = Self::read(&text, &mut mistakes);
        config.apply(overrides);
        if let Some(url) = secret_of_environment("CONCLAVE_DATABASE_URL", &mut mistakes) {
            config.storage.database_url = Some(file::DatabaseUrl(url));
        }
        config.check(&mut mistakes);
        mistakes.into_result(config)
    }

    /// A file with every value, its default and its explanation.
    pub(crate) fn sample() -> String {
        let mut out = String::from(
            "# Conclave configuration with the built-in defaults.\n\
             # Written by `conclave config sample`; a value left out keeps its default.\n",
        );
        file::Storage::sample(&mut out);
        file::Http::sample(&mut out);
        file::Webhooks::sample(&mut out);
        file::Operator::sample(&mut out);
        file::Media::sample(&mut out);
        file::Recorder::sample(&mut out);
        file::Link::sample(&mut out);
        file::Retention::sample(&mut out);
        file::Log::sample(&mut out);
        out
    }

    fn read(text: &str, mistakes: &mut Mistakes) -> Self {
        let mut table = parse(text, mistakes);
        let config = Self {
            storage: section::read(&mut table, mistakes),
            http: section::read(&mut table, mistakes),
            webhooks: section::read(&mut table, mistakes),
            operator: section::read(&mut table, mistakes),
            media: section::read(&mut table, mistakes),
            recorder: section::read(&mut table, mistakes),
            link: section::read(&mut table, mistakes),
            retention: section::read(&mut table, mistakes),
            log: section::read(&mut table, mistakes),
        };
        let known = [
            file::Storage::NAME,
            file::Http::NAME,
            file::Media::NAME,
            file::Retention::NAME,
            file::Recorder::NAME,
            file::Link::NAME,
            file::Webhooks::NAME,
            file::Operator::NAME,
            file::Log::NAME,
        ];
        for name in table.keys() {
            mistakes.add(name, section::unknown(name, &known));
        }
        config
    }

    /// Signaling's own settings.
    pub(crate) fn signaling(&self) -> signaling::Config {
        signaling::Config {
            retention: self.retention.server(),
            webhooks: self.webhooks.server(),
            operator_listen: self.operator.listen,
            ..self.http.server()
        }
    }

    fn apply(&mut self, overrides: Overrides) {
        fn set<T>(value: &mut T, with: Option<T>) {
            if let Some(with) = with {
                *value = with;
            }
        }
        set(&mut self.storage.data_dir, overrides.data_dir);
        set(&mut self.http.listen, overrides.listen);
        if overrides.operator_listen.is_some() {
            self.operator.listen = overrides.operator_listen;
        }
        set(&mut self.media.port, overrides.media_port);
        set(&mut self.media.workers, overrides.workers);
        set(&mut self.log.format, overrides.log_format);
        set(&mut self.log.level, overrides.log_level);
        if !overrides.announce.is_empty() {
            self.media.announce = overrides.announce;
        }
    }
}

/// A value that has no flag: everybody on the machine can read the arguments of a process.
fn secret_of_environment(name: &str, mistakes: &mut Mistakes) -> Option<String> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Some(value),
        Ok(_) | Err(std::env::VarError::NotPresent) => None,
        Err(std::env::VarError::NotUnicode(_)) => {
            mistakes.add(name, "is no text");
            None
        }
    }
}

/// Syntax mistakes are noted with their line; what could be understood goes on.
fn parse(text: &str, mistakes: &mut Mistakes) -> Table {
    let (document, errors) = DeTable::parse_recoverable(text);
    let sound = errors.is_empty();
    for error in errors {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        mistakes.add(format!("line {line}"), error.message());
    }
    Table::deserialize(Deserializer::from(document)).unwrap_or_else(|error| {
        if sound {
            mistakes.add("file", error.message());
        }
        Table::new()
    })
}
