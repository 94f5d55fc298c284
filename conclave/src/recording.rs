//! `conclave recording`: look into recordings on this machine's disk.

mod inspect;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;

/// Verbs of `conclave recording`.
#[derive(Debug, Subcommand)]
pub(crate) enum RecordingCommand {
    /// Read a journal and say what is in it and how it ends; changes nothing. Without a key only its
    /// outer shape is told. Exit code 1 when something was changed, cannot be read or is missing.
    ///
    /// With --data-dir the operator's key of the hour opens it, as after a restart of the server.
    Inspect {
        /// A file of a journal, or the folder of a recording.
        path: PathBuf,
        /// File with the 32 bytes of the data key, as `age -d` gives them.
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
}

/// Runs a `conclave recording` command.
///
/// # Errors
/// When a file or key cannot be used.
pub(crate) fn run(command: &RecordingCommand, data: Option<&Path>) -> anyhow::Result<ExitCode> {
    match command {
        RecordingCommand::Inspect { path, key_file } => {
            inspect::run(path, key_file.as_deref(), data)
        }
    }
}
