//! Every storage that the API describes, as a partner writes it, is one that the recorder pushes to: real
//! servers, on loopback.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use egress::{Dialer, Guard, Rules};
use recorder::{
    Digest,
    storage::{Cap, Expected, Key, Storages},
};
use sdk_spec::rest::recordings::{CreateStorageTarget, Storage};
use serde_json::{Value, json};

use self::servers::{AZURE_KEY, Folder, PASSWORD, Server, Ssh, free_port};
use crate::recorder::target;

#[path = "../../../../recorder/tests/common/servers.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod servers;

/// All that stand while the tests run; they end with the process.
struct World {
    moto: Server,
    azurite: Server,
    ssh: Ssh,
    webdav: Server,
    folder: Folder,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let folder = Folder::new("targets");
    World {
        moto: servers::moto(false),
        azurite: servers::azurite(),
        ssh: servers::sshd(free_port(), &folder.0),
        webdav: servers::wsgidav(free_port(), &folder.0),
        folder,
    }
});

/// Each kind, with each way to log in and each setting.
fn all() -> Vec<Value> {
    let world = &*WORLD;
    let s3 = format!("http://127.0.0.1:{}", world.moto.port);
    let azure = format!("http://127.0.0.1:{}/devstoreaccount1", world.azurite.port);
    let (ssh, dav) = (&world.ssh, format!("http://127.0.0.1:{}/", world.webdav.port));
    let folder = world.folder.0.join("in");
    let sas = servers::azure_sas();
    vec![
        json!({ "kind": "s3", "endpoint": s3, "region": "us-east-1", "bucket": "bucket",
            "access_key": "a", "secret_key": "s" }),
        json!({ "kind": "s3", "endpoint": s3, "region": "us-east-1", "bucket": "bucket",
            "access_key": "a", "secret_key": "s", "session_token": "t", "checksums": false }),
        json!({ "kind": "azure", "account": "devstoreaccount1", "container": "container",
            "endpoint": azure, "access_key": AZURE_KEY }),
        json!({ "kind": "azure", "account": "devstoreaccount1", "container": "container",
            "endpoint": azure, "sas": sas }),
        json!({ "kind": "sftp", "host": "127.0.0.1", "port": ssh.server.port, "user": ssh.user,
            "host_key": ssh.host_key, "folder": folder, "private_key": ssh.key }),
        json!({ "kind": "sftp", "host": "127.0.0.1", "port": ssh.server.port, "user": ssh.user,
            "host_key": ssh.host_key, "folder": folder, "password": PASSWORD }),
        json!({ "kind": "webdav", "url": dav, "user": "partner", "password": PASSWORD }),
        json!({ "kind": "http_put", "url": format!("{s3}/bucket/put/{{path}}"),
            "read_url": format!("{s3}/bucket/put/{{path}}"), "authorization": "Bearer b" }),
        json!({ "kind": "http_put", "url": format!("{azure}/container/put/{{path}}?{sas}") }),
        json!({ "kind": "local" }),
    ]
}

/// As REST takes it.
fn taken(storage: &Value) -> Storage {
    let body = json!({ "name": "archive", "storage": storage });
    let target: CreateStorageTarget = serde_json::from_value(body).unwrap();
    if let Err(errors) = target.check() {
        panic!("{storage}: {:?}", errors.iter().map(|error| &error.field).collect::<Vec<_>>());
    }
    target.storage
}

fn storages(local: &Path) -> Storages {
    let rules = Rules { allow_hosts: vec!["127.0.0.1".to_owned()], ..Rules::default() };
    let dialer = Dialer::new(Arc::new(Guard::new(&rules).unwrap()), None).unwrap();
    Storages::new(dialer, Cap::new(None), vec![local.to_owned()])
}

#[tokio::test]
async fn what_the_api_takes_is_pushed_to() {
    let local = WORLD.folder.0.join("local");
    let storages = storages(&local);
    let data = vec![7; 300_000];
    let is = Expected { bytes: data.len() as u64, sha256: Digest::of(&data) };
    for (number, json) in all().iter().enumerate() {
        let storage = taken(json);
        assert!(target::check(&storage).is_ok(), "{json}");
        let target = target::of(&storage, "pj_1", Some(&local)).unwrap();
        let store = storages.open(&target, "pj_1").unwrap_or_else(|error| panic!("{error}"));
        let probe = store.test_push().await;
        assert!(probe.is_good(), "{number} {}: {probe:?}", json["kind"]);
        let key = Key::parse(&format!("rm_1/day=1/{number}.age")).unwrap();
        let upload = store.put(&key, data.clone().into()).await;
        let upload = upload.unwrap_or_else(|error| panic!("{number}: {error}"));
        assert!(store.verify(&upload, is).await.is_ok(), "{number} {}", json["kind"]);
    }
}

#[test]
fn buckets_in_the_name_of_the_host_and_googles_are_taken() {
    let account = json!({ "client_email": "a@b.example", "private_key_id": "1",
        "private_key": servers::rsa_key() });
    for json in [
        json!({ "kind": "s3", "region": "eu-central-1", "bucket": "b", "access_key": "a",
            "secret_key": "s", "virtual_host": true }),
        json!({ "kind": "gcs", "bucket": "b", "service_account": account.to_string() }),
    ] {
        let storage = taken(&json);
        assert!(target::check(&storage).is_ok(), "{}", json["kind"]);
        let target = target::of(&storage, "pj_1", None).unwrap();
        assert!(storages(Path::new("/")).open(&target, "pj_1").is_ok(), "{}", json["kind"]);
    }
}

#[test]
fn what_the_recorder_cannot_use_is_named_before_it_is_stored() {
    let of = |kind: &str| all().into_iter().find(|json| json["kind"] == kind).unwrap();
    let gcs = json!({ "kind": "gcs", "bucket": "b", "service_account": "{\"CANARY\":1}" });
    let with = |kind: &str, field: &str, value: &str| {
        let mut json = of(kind);
        json[field] = value.into();
        (json, format!("storage.{field}"))
    };
    let rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQCANARY";
    for (json, field) in [
        (gcs, "storage.service_account".to_owned()),
        with("sftp", "host_key", rsa),
        with("sftp", "private_key", "CANARY"),
        with("sftp", "folder", "in of CANARY"),
        with("azure", "access_key", "CANARY!"),
        with("webdav", "url", "https://dav.example/?CANARY"),
        with("s3", "endpoint", "https://s3.example/?CANARY"),
    ] {
        let error = target::check(&taken(&json)).unwrap_err();
        assert_eq!(error.field, field);
        assert!(!error.reason.contains("CANARY"), "{}", error.reason);
    }
}
