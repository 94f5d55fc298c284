//! Logs to standard error, as text or JSON. What our own code may log is each author's duty (types
//! with personal data have no `Debug`). Libraries print what they carry in their details, messages
//! with tokens and addresses of peers: those details are never shown, whatever the level asks for.

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::filter_fn,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    registry,
    util::SubscriberInitExt as _,
};

use crate::config::file::{Log, LogFormat};

/// Crates whose details may be shown.
const OURS: [&str; 9] = [
    "bus",
    "conclave",
    "egress",
    "recorder",
    "sdk_spec",
    "sfu",
    "sfu_core",
    "sfu_proto",
    "signaling",
];
/// What libraries may say: that they started, or failed.
const LIBRARIES_LEVEL: Level = Level::INFO;

/// Starts logging for the process.
///
/// # Errors
/// When the level cannot be parsed or logging was started already.
pub(crate) fn start(config: &Log) -> anyhow::Result<()> {
    let started = subscriber(config, std::io::stderr)?.try_init();
    started.map_err(|error| anyhow::anyhow!("logging: {error}"))
}

fn subscriber<W>(config: &Log, writer: W) -> anyhow::Result<impl Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let colors = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = fmt::layer().with_writer(writer);
    let lines = match config.format {
        LogFormat::Text => lines.with_ansi(colors).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    let level = EnvFilter::builder().parse(&config.level)?;
    // A layer of its own: a directive in `level`, however specific, cannot undo it.
    Ok(registry().with(filter_fn(may_be_shown)).with(level).with(lines))
}

/// Whether a line can be free of what clients sent and where they are.
fn may_be_shown(line: &Metadata<'_>) -> bool {
    let of = line.target().split("::").next().unwrap_or_default();
    *line.level() <= LIBRARIES_LEVEL || OURS.contains(&of)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing::{debug, info, subscriber::with_default, trace, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(level: &str, format: LogFormat) -> String {
        let lines = Lines::default();
        let config = Log { level: level.to_owned(), format };
        let writer = lines.clone();
        with_default(subscriber(&config, move || writer.clone()).unwrap(), || {
            trace!(target: "tungstenite::protocol", "token-1");
            debug!(target: "tungstenite::protocol", "token-2");
            trace!(target: "h2", "token-3");
            debug!(target: "sqlx::query", "token-4");
            trace!(target: "sfu_other", "token-5");
            info!(target: "axum_server", "said");
            warn!(target: "dimpl", "warned");
            trace!(target: "signaling::api", "ours");
        });
        let written = lines.0.lock().unwrap().clone();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn details_of_libraries_are_shown_at_no_level() {
        for level in ["trace", "info,tungstenite=trace,tungstenite::protocol=trace,h2=trace"] {
            for format in [LogFormat::Text, LogFormat::Json] {
                let text = written(level, format);
                assert!(!text.contains("token-"), "{level}: {text}");
                assert!(text.contains("said") && text.contains("warned"), "{level}: {text}");
            }
        }
        assert!(written("trace", LogFormat::Text).contains("ours"));
        assert!(written("warn,signaling=trace", LogFormat::Json).contains("ours"));
    }

    #[test]
    fn the_level_still_decides() {
        let text = written("warn", LogFormat::Text);
        assert!(text.contains("warned") && !text.contains("said") && !text.contains("ours"));
        assert_eq!(written("off", LogFormat::Text), "");
    }
}
