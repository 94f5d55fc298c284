//! `conclave audit`: export a project's audit log, and verify one offline.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Subcommand;
use signaling::audit;

use crate::{config::file::Storage, data};

/// Verbs of `conclave audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Write the whole log of a project to standard output, with a checkpoint signed now.
    Export {
        /// Project id, or `operator` for changes that belong to no project.
        #[arg(long, value_name = "ID")]
        project: String,
    },
    /// Print the key that the log is verified with. Keep it apart from the log.
    Key {
        /// Project id, or `operator`.
        #[arg(long, value_name = "ID")]
        project: String,
    },
    /// Verify a log offline; needs no server and no database. Exit code 1 when something is wrong.
    ///
    /// FILE holds JSON, one object a line: the output of `audit export`, or answers of
    /// `GET /v1/audit/entries` from the first on, and checkpoints of any age.
    Verify {
        /// The log.
        file: PathBuf,
        /// Project id, or `operator`.
        #[arg(long, value_name = "ID")]
        project: String,
        /// Verifier key, as printed by `audit key` or in the first checkpoint that was kept.
        #[arg(long, value_name = "KEY")]
        key: String,
    },
}

/// Runs a `conclave audit` command that needs the database.
///
/// # Errors
/// When the database or the output refuses.
pub(crate) async fn run(storage: &Storage, command: AuditCommand) -> anyhow::Result<()> {
    let store = data::open(storage).await?;
    match command {
        AuditCommand::Export { project } => {
            let mut out = BufWriter::new(io::stdout().lock());
            audit::export(&store, &project, &mut out).await?;
            out.flush()?;
        }
        AuditCommand::Key { project } => {
            writeln!(io::stdout(), "{}", audit::key(&store, &project).await?)?;
        }
        AuditCommand::Verify { .. } => {}
    }
    store.close().await;
    Ok(())
}

/// Verifies a log and says what was found.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn verify(file: &Path, project: &str, key: &str) -> anyhow::Result<ExitCode> {
    let shown = file.display();
    let open = File::open(file).with_context(|| format!("audit log {shown}"))?;
    let report = audit::verify(project, key, BufReader::new(open))
        .with_context(|| format!("audit log {shown}"))?;
    let mut out = io::stdout().lock();
    for finding in &report.findings {
        writeln!(out, "WRONG: {finding}")?;
    }
    writeln!(
        out,
        "{} entries ({} redacted), {} covered by {} valid checkpoints",
        report.entries, report.redacted, report.covered, report.checkpoints
    )?;
    if report.findings.is_empty() {
        writeln!(out, "the log is whole")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
