//! `conclave usage`: whether a bill can be counted again.

use std::{io::Write as _, process::ExitCode};

use crate::{cli::UsageCommand, config::file::Storage, data};

/// Runs a `conclave usage` command.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn run(storage: &Storage, command: UsageCommand) -> anyhow::Result<ExitCode> {
    let UsageCommand::Verify { project } = command;
    let store = data::open(storage).await?;
    let known = signaling::admin::list_projects(&store).await?;
    anyhow::ensure!(known.iter().any(|known| known.id == project), "no project {project}");
    let check = signaling::verify_usage(&store, &project).await?;
    store.close().await;
    let mut out = std::io::stdout();
    for difference in &check.differences {
        writeln!(out, "differs: {difference}")?;
    }
    writeln!(
        out,
        "{} events, {} rooms compared, {} with a part of their log no longer kept, {} differences",
        check.events,
        check.rooms,
        check.rooms_not_whole,
        check.differences.len()
    )?;
    Ok(if check.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
