//! One storage of each kind, and the servers behind them.

use std::{path::Path, sync::LazyLock};

use serde_json::{Value, json};

use super::{
    s3s,
    servers::{self, AZURE_KEY, Folder, PASSWORD, Server, Ssh, free_port},
};

/// All that stand while the tests run; they end with the process.
pub(crate) struct World {
    pub(crate) moto: Server,
    /// Port of s3s-fs.
    pub(crate) s3s: u16,
    pub(crate) azurite: Server,
    pub(crate) ssh: Ssh,
    pub(crate) webdav: Server,
    pub(crate) ssh_folder: Folder,
    pub(crate) webdav_folder: Folder,
    pub(crate) local_folder: Folder,
    _s3s_folder: Folder,
}

pub(crate) static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (ssh_folder, webdav_folder) = (Folder::new("ssh"), Folder::new("webdav"));
    let s3s_folder = Folder::new("s3s");
    World {
        moto: servers::moto(false),
        s3s: s3s::start(&s3s_folder.0),
        azurite: servers::azurite(),
        ssh: servers::sshd(free_port(), &ssh_folder.0),
        webdav: servers::wsgidav(free_port(), &webdav_folder.0),
        ssh_folder,
        webdav_folder,
        local_folder: Folder::new("local"),
        _s3s_folder: s3s_folder,
    }
});

pub(crate) fn s3(port: u16) -> Value {
    json!({ "kind": "s3", "endpoint": format!("http://127.0.0.1:{port}"), "region": "us-east-1",
        "bucket": "bucket", "access_key": s3s::ACCESS_KEY,
        "secret_key": s3s::SECRET_KEY })
}

pub(crate) fn azure(port: u16) -> Value {
    json!({ "kind": "azure", "account": "devstoreaccount1", "container": "container",
        "endpoint": format!("http://127.0.0.1:{port}/devstoreaccount1"),
        "access_key": AZURE_KEY })
}

/// No server of Google's kind runs here: only where it may connect to is tested.
pub(crate) fn gcs(port: u16) -> Value {
    let account = json!({ "gcs_base_url": format!("http://127.0.0.1:{port}"),
        "disable_oauth": true, "client_email": "CANARY", "private_key": servers::rsa_key(),
        "private_key_id": "CANARY" });
    json!({ "kind": "gcs", "bucket": "bucket",
        "service_account": account.to_string() })
}

pub(crate) fn sftp(ssh: &Ssh, folder: &Path) -> Value {
    json!({ "kind": "sftp", "host": "127.0.0.1", "port": ssh.server.port, "user": ssh.user,
        "private_key": ssh.key, "host_key": ssh.host_key, "folder": folder.join("in") })
}

pub(crate) fn webdav(port: u16) -> Value {
    json!({ "kind": "webdav", "url": format!("http://127.0.0.1:{port}/"), "user": "partner",
        "password": PASSWORD })
}

pub(crate) fn put(port: u16) -> Value {
    let url = format!("http://127.0.0.1:{port}/bucket/put/{{path}}?token=CANARY");
    json!({ "kind": "http_put", "url": url, "authorization": "Bearer CANARY" })
}

/// Azure by nothing but a URL that its owner signed, for a whole container.
pub(crate) fn signed_container(port: u16) -> Value {
    let place = format!("http://127.0.0.1:{port}/devstoreaccount1/container/signed");
    json!({ "kind": "http_put", "url": format!("{place}/{{path}}?{}", servers::azure_sas()) })
}

/// The same signature for a client that knows Azure.
pub(crate) fn azure_by_sas(port: u16) -> Value {
    let mut azure = azure(port);
    azure.as_object_mut().unwrap().remove("access_key");
    azure["sas"] = servers::azure_sas().into();
    azure
}

pub(crate) fn local(folder: &Path) -> Value {
    json!({ "kind": "local", "folder": folder })
}

/// One of each kind.
pub(crate) fn all() -> Vec<Value> {
    let world = &*WORLD;
    vec![
        s3(world.moto.port),
        s3(world.s3s),
        azure(world.azurite.port),
        sftp(&world.ssh, &world.ssh_folder.0),
        webdav(world.webdav.port),
        put(world.moto.port),
        signed_container(world.azurite.port),
        local(&world.local_folder.0),
    ]
}

pub(crate) fn kind(json: &Value) -> &str {
    json["kind"].as_str().unwrap()
}

pub(crate) fn is_s3s(json: &Value) -> bool {
    *json == s3(WORLD.s3s)
}
