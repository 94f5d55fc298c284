//! `conclave project` and `conclave key`: what a script needs goes to standard output, advice to
//! standard error. They may run while the server runs.

use std::io::Write as _;

use anyhow::Context as _;
use sdk_spec::scope::Scope;
use signaling::admin;

use crate::{
    cli::{KeyCommand, ProjectCommand},
    config::file::Storage,
    data,
};

/// Runs a `conclave project` command.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn project(storage: &Storage, command: ProjectCommand) -> anyhow::Result<()> {
    let store = data::open(storage).await?;
    match command {
        ProjectCommand::Create { label } => {
            let project = admin::create_project(&store, &label).await?;
            say(&project.id)?;
            advise(
                "give it a key: conclave key create --project ID --scope rooms:write,tokens:mint",
            );
        }
        ProjectCommand::List => {
            for project in admin::list_projects(&store).await? {
                say(&format!("{}  {}", project.id, project.label))?;
            }
        }
    }
    store.close().await;
    Ok(())
}

/// Runs a `conclave key` command.
///
/// # Errors
/// When the database refuses, or there is no such project, key or scope.
pub(crate) async fn key(storage: &Storage, command: KeyCommand) -> anyhow::Result<()> {
    let store = data::open(storage).await?;
    match command {
        KeyCommand::Create { project, scope } => {
            let scopes: Result<Vec<Scope>, _> = scope.iter().map(|s| s.parse()).collect();
            let key = admin::create_key(&store, &project, &scopes?).await?;
            say(&key.secret)?;
            advise("this is shown once: keep it where your server reads its secrets");
        }
        KeyCommand::List { project } => {
            for key in admin::list_keys(&store, &project).await? {
                let scopes: Vec<_> = key.scopes.iter().map(ToString::to_string).collect();
                let state = if key.revoked { "revoked" } else { "valid" };
                say(&format!("{}  {state}  {}", key.id, scopes.join(",")))?;
            }
        }
        KeyCommand::Revoke { id } => admin::revoke_key(&store, &id).await?,
    }
    store.close().await;
    Ok(())
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output")
}

/// Advice is for people; that it cannot be shown is no failure.
fn advise(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
