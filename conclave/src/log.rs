//! Logs to standard error, as text or JSON. What may be logged is each author's duty (types with
//! personal data have no `Debug`); this file only shapes lines.

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::file::{Log, LogFormat};

/// Starts logging for the process.
///
/// # Errors
/// When the level cannot be parsed or logging was started already.
pub(crate) fn start(config: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(&config.level)?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Text => {
            lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging: {error}"))
}
