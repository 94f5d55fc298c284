//! `conclave partner`, `project`, `key` and `operator key`: what a script needs goes to standard
//! output, advice to standard error. They may run while the server runs.

use std::io::Write as _;

use anyhow::Context as _;
use sdk_spec::{rest::Timestamp, scope::Scope};
use signaling::admin::{self, KeyWish};

use crate::{
    cli::{KeyCommand, OperatorCommand, OperatorKeyCommand, PartnerCommand, ProjectCommand},
    config::file::Storage,
    data,
};

const SHOWN_ONCE: &str = "this is shown once: keep it where your server reads its secrets";

/// Runs a `conclave partner` command.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn partner(storage: &Storage, command: PartnerCommand) -> anyhow::Result<()> {
    let store = data::open(storage).await?;
    match command {
        PartnerCommand::Create { label } => {
            say(&admin::create_partner(&store, &label).await?.id)?;
            advise("give it a project: conclave project create --partner ID LABEL");
        }
        PartnerCommand::List => {
            for partner in admin::list_partners(&store).await? {
                say(&format!("{}  {}", partner.id, partner.label))?;
            }
        }
    }
    store.close().await;
    Ok(())
}

/// Runs a `conclave project` command.
///
/// # Errors
/// When the database refuses, or there is no such partner.
pub(crate) async fn project(storage: &Storage, command: ProjectCommand) -> anyhow::Result<()> {
    let store = data::open(storage).await?;
    match command {
        ProjectCommand::Create { partner, label } => {
            let project = match partner {
                Some(partner) => admin::create_project_of(&store, &partner, &label).await?,
                None => admin::create_project(&store, &label).await?,
            };
            say(&project.id)?;
            advise(
                "give it a key: conclave key create --project ID --scope rooms:write,tokens:mint",
            );
        }
        ProjectCommand::List => {
            for project in admin::list_projects(&store).await? {
                let state = if project.suspended { "  suspended" } else { "" };
                say(&format!("{}  {}{state}", project.id, project.label))?;
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
        KeyCommand::Create { project, scope, name, expires } => {
            let scopes: Result<Vec<Scope>, _> = scope.iter().map(|s| s.parse()).collect();
            let wish = KeyWish { name, scopes: scopes?, expires_at_ms: time(expires)? };
            let key = admin::create_key_as(&store, &project, wish).await?;
            say(&key.secret)?;
            advise(SHOWN_ONCE);
        }
        KeyCommand::Rotate { project, id, overlap } => {
            let key = admin::rotate_key(&store, (&project, &id), overlap).await?;
            say(&key.secret)?;
            advise(SHOWN_ONCE);
        }
        KeyCommand::List { project } => {
            for key in admin::list_keys(&store, &project).await? {
                let name = key.name.as_deref().unwrap_or("-");
                let state = if key.revoked { "revoked" } else { state(key.expires_at_ms) };
                say(&format!("{}  {state}  {name}  {}", key.id, list(&key.scopes)))?;
            }
        }
        KeyCommand::Revoke { id } => admin::revoke_key(&store, &id).await?,
    }
    store.close().await;
    Ok(())
}

/// Runs a `conclave operator` command.
///
/// # Errors
/// When the database refuses, or there is no such key or scope.
pub(crate) async fn operator(storage: &Storage, command: OperatorCommand) -> anyhow::Result<()> {
    let store = data::open(storage).await?;
    let OperatorCommand::Key(command) = command;
    match command {
        OperatorKeyCommand::Create { name, scope, expires } => {
            let scopes: Result<Vec<_>, _> = scope.iter().map(|s| s.parse()).collect();
            let (name, expires_at_ms) = (Some(name), time(expires)?);
            let wish = KeyWish { name, scopes: scopes?, expires_at_ms };
            say(&admin::create_operator_key(&store, wish).await?.secret)?;
            advise("this is shown once; the API listens where operator.listen says");
        }
        OperatorKeyCommand::List => {
            for key in admin::list_operator_keys(&store).await? {
                let state = if key.revoked { "revoked" } else { state(key.expires_at_ms) };
                say(&format!("{}  {state}  {}  {}", key.id, key.name, list(&key.scopes)))?;
            }
        }
        OperatorKeyCommand::Revoke { id } => admin::revoke_operator_key(&store, &id).await?,
    }
    store.close().await;
    Ok(())
}

fn time(text: Option<String>) -> anyhow::Result<Option<u64>> {
    let parse = |text| serde_json::from_value::<Timestamp>(serde_json::Value::String(text));
    let parsed = text.map(parse).transpose();
    let time = parsed.context("a time is written like 2027-01-31T00:00:00.000Z")?;
    Ok(time.map(|time| time.0))
}

fn state(expires_at_ms: Option<u64>) -> &'static str {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    if expires_at_ms.is_some_and(|end| end <= now_ms) { "expired" } else { "valid" }
}

fn list<S: ToString>(scopes: &[S]) -> String {
    scopes.iter().map(S::to_string).collect::<Vec<_>>().join(",")
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output")
}

/// Advice is for people; that it cannot be shown is no failure.
fn advise(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
