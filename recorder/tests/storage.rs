//! Pushes to real servers: moto and s3s-fs (S3), Azurite, OpenSSH, wsgidav, and a local folder. `.ci/setup`
//! installs them.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common {
    pub(crate) mod s3s;
    pub(crate) mod servers;
    pub(crate) mod storages;
}

use std::{
    fs,
    net::IpAddr,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use common::{
    servers::{self, Folder, PASSWORD, Server, free_port},
    storages::{WORLD, all, azure, azure_by_sas, gcs, is_s3s, kind, local, put, s3, sftp, webdav},
};
use egress::{Dialer, Guard, Rules};
use recorder::{
    Digest,
    storage::{
        Cap, Expected, Key, Probe, Step, Storages, Store, StoreError, Target, Upload, Verified,
    },
};
use serde_json::Value;

const MIB: usize = 1024 * 1024;

fn target(json: &Value) -> Target {
    Target::parse(&json.to_string()).unwrap_or_else(|error| panic!("{error}"))
}

fn storages(rules: &Rules) -> Storages {
    let dialer = Dialer::new(Arc::new(Guard::new(rules).unwrap()), None).unwrap();
    Storages::new(dialer, Cap::new(None), vec![std::env::temp_dir()])
}

/// The operator allows the loopback, for these tests.
fn loopback() -> Rules {
    Rules { allow_hosts: vec![String::from("127.0.0.1")], ..Rules::default() }
}

/// As a new process would open it.
fn open(json: &Value) -> Store {
    storages(&loopback()).open(&target(json), "pj_1").unwrap_or_else(|error| panic!("{error}"))
}

/// Bytes that do not repeat where parts begin.
fn bytes(length: usize) -> Bytes {
    let mut next: u64 = 0x9e37_79b9_7f4a_7c15 ^ length as u64;
    let mut data = Vec::with_capacity(length + 8);
    while data.len() < length {
        next ^= next << 13;
        next ^= next >> 7;
        next ^= next << 17;
        data.extend_from_slice(&next.to_le_bytes());
    }
    data.truncate(length);
    data.into()
}

fn expected(data: &[u8]) -> Expected {
    Expected { bytes: data.len() as u64, sha256: Digest::of(data) }
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

/// Sends the parts that are still due, at most `count`.
async fn send(store: &Store, upload: &mut Upload, data: &Bytes, count: usize) {
    for _ in 0..count {
        let from = usize::try_from(upload.offset()).unwrap();
        let to = data.len().min(from + usize::try_from(upload.part_bytes()).unwrap());
        if from == to {
            return;
        }
        store.put_part(upload, data.slice(from..to)).await.unwrap();
    }
}

async fn sent(store: &Store, name: &str, data: &Bytes) -> Upload {
    let mut upload = store.begin(&key(name), Some(data.len() as u64)).await.unwrap();
    send(store, &mut upload, data, usize::MAX).await;
    store.finish(&mut upload).await.unwrap();
    upload
}

fn restored(upload: &Upload) -> Upload {
    serde_json::from_str(&serde_json::to_string(upload).unwrap()).unwrap()
}

/// An upload as if it had gone to another name.
fn named(upload: &Upload, name: &str) -> Upload {
    let mut kept = serde_json::to_value(upload).unwrap();
    kept["key"] = name.into();
    serde_json::from_value(kept).unwrap()
}

/// A file that servers keep, its pieces put together.
fn on_disk(folder: &Path, upload: &Upload) -> Vec<u8> {
    let names = upload.names();
    names.iter().flat_map(|name| fs::read(folder.join(name.as_str())).unwrap()).collect()
}

#[tokio::test]
async fn whether_a_file_is_there_still_costs_no_reading_of_it() {
    let data = bytes(17 * MIB);
    for json in all() {
        let kind = kind(&json);
        let upload = sent(&open(&json), "l/large.age", &data).await;
        // So slow that it would take minutes to read.
        let dialer = Dialer::new(Arc::new(Guard::new(&loopback()).unwrap()), None).unwrap();
        let cap = Cap::new(NonZeroU64::new(64 * 1024));
        let slow = Storages::new(dialer, cap, vec![std::env::temp_dir()]);
        let store = slow.open(&target(&json), "pj_1").unwrap_or_else(|error| panic!("{error}"));
        let looked = async {
            let never = named(&upload, "l/never.age");
            let is = expected(&data);
            let other = Expected { bytes: 5, ..is };
            let files = [(&upload, other), (&never, is), (&upload, is)];
            let seen = store.are_there(&files).await;
            assert_eq!(seen, [Ok(false), Ok(false), Ok(true)], "{kind}");
            assert_eq!(store.may_look(&key("l/conclave-test")).await, Ok(true), "{kind}");
        };
        tokio::time::timeout(Duration::from_secs(60), looked).await.expect(kind);
    }
}

#[tokio::test]
async fn what_was_pushed_is_there() {
    let (large, small) = (bytes(17 * MIB), bytes(1000));
    for json in all() {
        let (store, kind) = (open(&json), kind(&json));
        for (name, data) in [("a/day=1/large.age", &large), ("a/day=1/small.age", &small)] {
            let upload = sent(&store, name, data).await;
            let verified = store.verify(&upload, expected(data)).await;
            // moto tells the checksum of a multipart upload, s3s-fs that of a single PUT.
            let is_told = kind == "s3" && is_s3s(&json) == (name == "a/day=1/small.age");
            let level = if is_told { Verified::ProviderChecksum } else { Verified::ReadBack };
            assert_eq!(verified, Ok(level), "{kind} {name}");
            // A process that did not see the bytes go by reads them back.
            let verified = store.verify(&restored(&upload), expected(data)).await;
            // In one piece the checksum that is told is the file's own.
            let level = if name == "a/day=1/small.age" { level } else { Verified::ReadBack };
            assert_eq!(verified, Ok(level), "{kind} {name}");
            let folder = match kind {
                "sftp" => WORLD.ssh_folder.0.join("in"),
                "webdav" => WORLD.webdav_folder.0.join("files"),
                "local" => WORLD.local_folder.0.clone(),
                _ => continue,
            };
            assert!(on_disk(&folder, &upload) == data[..], "{kind} {name} differs");
        }
        let empty = store.put(&key("a/empty"), Bytes::new()).await;
        match empty {
            Ok(empty) => assert!(store.verify(&empty, expected(b"")).await.is_ok(), "{kind}"),
            Err(error) => panic!("{kind}: {error}"),
        }
        assert_eq!(store.head(&key("a/none")).await, Ok(None), "{kind}");
    }
}

#[tokio::test]
async fn a_new_process_goes_on_after_any_part() {
    let data = bytes(33 * MIB);
    for json in all() {
        let kind = kind(&json);
        for parts in [1, 2] {
            let name = key(&format!("resumed/{parts}.age"));
            let mut upload = open(&json).begin(&name, None).await.unwrap();
            send(&open(&json), &mut upload, &data, parts).await;
            let mut upload = restored(&upload);
            assert_eq!(upload.offset(), (parts * 16 * MIB) as u64);
            // A part that arrived, and of which nobody kept the news, is sent again.
            send(&open(&json), &mut upload.clone(), &data, 1).await;
            let store = open(&json);
            send(&store, &mut upload, &data, usize::MAX).await;
            store.finish(&mut upload).await.unwrap();
            let verified = store.verify(&upload, expected(&data)).await;
            assert_eq!(verified, Ok(Verified::ReadBack), "{kind} after {parts}");
        }
    }
}

#[tokio::test]
async fn a_crash_between_completion_and_its_news_loses_nothing() {
    let data = bytes(17 * MIB);
    for json in all() {
        let (store, kind) = (open(&json), kind(&json));
        let mut upload = store.begin(&key("crash.age"), Some(data.len() as u64)).await.unwrap();
        send(&store, &mut upload, &data, usize::MAX).await;
        let mut before = restored(&upload);
        store.finish(&mut upload).await.unwrap();
        let store = open(&json);
        let finished = store.finish(&mut before).await;
        assert_eq!(finished, Ok(()), "{kind}");
        let verified = store.verify(&before, expected(&data)).await;
        assert_eq!(verified, Ok(Verified::ReadBack), "{kind}");
    }
}

#[tokio::test]
async fn half_an_upload_is_taken_back() {
    let data = bytes(33 * MIB);
    for json in all() {
        let (store, kind) = (open(&json), kind(&json));
        let mut upload = store.begin(&key("half.age"), None).await.unwrap();
        send(&store, &mut upload, &data, 1).await;
        store.abort(&upload).await.unwrap();
        match store.abort(&upload).await {
            Err(StoreError::Credentials(_)) if is_s3s(&json) => continue, // It forbids what is gone.
            again => again.unwrap_or_else(|error| panic!("{kind}, again: {error}")),
        }
        assert_eq!(store.head(&key("half.age")).await, Ok(None), "{kind}");
        // What goes on with it is told so, where anything was taken back.
        let error = match kind {
            // moto answers 500 where Amazon says NoSuchUpload.
            "s3" => {
                let error = store.finish(&mut upload).await.unwrap_err();
                assert!(!upload.is_done() && !error.is_blocking(), "{error}");
                continue;
            }
            "sftp" | "local" => {
                let due = data.slice(16 * MIB..32 * MIB);
                store.put_part(&mut upload, due).await.unwrap_err()
            }
            _ => continue,
        };
        assert!(error.is_restart() && !error.is_blocking(), "{kind}: {error}");
    }
    let uploads = servers::http(WORLD.moto.port, "GET", "/bucket?uploads", &[], b"");
    assert!(uploads.contains("ListMultipartUploadsResult"), "{uploads}");
    assert!(!uploads.contains("half.age"), "{uploads}");
    let left = |folder: &Path| folder.join("half.age.part").exists();
    assert!(!left(&WORLD.ssh_folder.0.join("in")) && !left(&WORLD.local_folder.0));
    let dav = WORLD.webdav_folder.0.join("files");
    assert!(!dav.join("half.age.00000").exists());
}

#[tokio::test]
async fn what_changed_in_the_storage_is_noticed() {
    let (data, mut other) = (bytes(17 * MIB), bytes(17 * MIB).to_vec());
    other[16 * MIB + 5] ^= 1;
    let other = Bytes::from(other);
    for json in all() {
        let (store, kind) = (open(&json), kind(&json));
        let upload = sent(&store, "changed.age", &data).await;
        match kind {
            "sftp" => fs::write(WORLD.ssh_folder.0.join("in/changed.age"), &other).unwrap(),
            "local" => fs::write(WORLD.local_folder.0.join("changed.age"), &other).unwrap(),
            "webdav" => {
                let piece = WORLD.webdav_folder.0.join("files/changed.age.00001");
                fs::write(piece, &other[16 * MIB..]).unwrap();
            }
            _ => drop(sent(&open(&json), "changed.age", &other).await),
        }
        let (seen, unseen) = (upload.clone(), restored(&upload));
        for upload in [&seen, &unseen] {
            let verified = store.verify(upload, expected(&data)).await;
            assert_eq!(verified, Err(StoreError::Checksum), "{kind}");
        }
    }
}

#[tokio::test]
async fn what_was_not_announced_is_not_called_verified() {
    let data = bytes(1000);
    let store = open(&local(&WORLD.local_folder.0));
    let upload = store.put(&key("other.age"), data.clone()).await.unwrap();
    let other = expected(&bytes(999));
    assert!(store.verify(&upload, other).await.is_err());
    let other = Expected { sha256: other.sha256, ..expected(&data) };
    assert_eq!(store.verify(&upload, other).await.unwrap_err().word(), "parts");
}

/// All that an error says, to be searched.
fn said(errors: &[StoreError]) -> String {
    errors.iter().map(|error| format!("{error} {error:?}\n")).collect()
}

#[tokio::test]
async fn wrong_credentials_block_and_are_not_told() {
    let strict = servers::moto(true);
    let world = &*WORLD;
    let mut key_of_another = sftp(&world.ssh, &world.ssh_folder.0);
    key_of_another["private_key"] = world.ssh.other_key.clone().into();
    let mut password = sftp(&world.ssh, &world.ssh_folder.0);
    password["private_key"] = Value::Null;
    password["password"] = "CANARY".into();
    let mut azure = azure(world.azurite.port);
    azure["access_key"] = "Q0FOQVJZQ0FOQVJZQ0FOQVJZ".into();
    let mut dav = webdav(world.webdav.port);
    dav["password"] = "CANARY-wrong".into();
    let mut errors = Vec::new();
    let mut signed_wrong = s3(world.s3s);
    signed_wrong["secret_key"] = "CANARYother".into();
    for json in [s3(strict.port), signed_wrong, azure, key_of_another, password, dav] {
        let store = open(&json);
        let kind = kind(&json);
        let begun = store.begin(&key("x.age"), None).await;
        let error = match begun {
            Err(error) => error,
            Ok(mut upload) => store.put_part(&mut upload, bytes(10)).await.unwrap_err(),
        };
        assert_eq!((error.word(), error.is_blocking()), ("credentials", true), "{kind}: {error}");
        errors.push(error);
        let small = store.put(&key("y.age"), bytes(10)).await.unwrap_err();
        assert_eq!(small.word(), "credentials", "{kind}");
        errors.push(small);
    }
    let said = said(&errors);
    for secret in ["CANARY", "Q0FOQVJZ", "127.0.0.1", "http", "BEGIN"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[tokio::test]
async fn a_server_with_another_host_key_gets_no_login() {
    let world = &*WORLD;
    let mut json = sftp(&world.ssh, &world.ssh_folder.0);
    let other = fs::read_to_string(world.ssh_folder.0.join("keys/other.pub")).unwrap();
    json["host_key"] = other.trim().into();
    let error = open(&json).put(&key("x"), bytes(1)).await.unwrap_err();
    assert_eq!((error, true), (StoreError::HostKey, StoreError::HostKey.is_blocking()));
}

#[tokio::test]
async fn a_storage_that_was_down_gets_the_rest() {
    let folders = [Folder::new("down-ssh"), Folder::new("down-dav")];
    let ports = [free_port(), free_port()];
    let data = bytes(33 * MIB);
    let ssh = servers::sshd(ports[0], &folders[0].0);
    let dav = servers::wsgidav(ports[1], &folders[1].0);
    let jsons = [sftp(&ssh, &folders[0].0), webdav(ports[1])];
    let mut uploads = Vec::new();
    for json in &jsons {
        let store = open(json);
        let mut upload = store.begin(&key("down.age"), None).await.unwrap();
        send(&store, &mut upload, &data, 1).await;
        uploads.push(upload);
    }
    drop((ssh, dav));
    for (json, upload) in jsons.iter().zip(&mut uploads) {
        for _ in 0..2 {
            let due = data.slice(16 * MIB..32 * MIB);
            let error = open(json).put_part(upload, due).await.unwrap_err();
            assert_eq!((error.word(), error.is_blocking()), ("unreachable", false));
        }
    }
    let _ssh = servers::sshd(ports[0], &folders[0].0);
    let _dav = servers::wsgidav(ports[1], &folders[1].0);
    for (json, upload) in jsons.iter().zip(&mut uploads) {
        let store = open(json);
        send(&store, upload, &data, usize::MAX).await;
        store.finish(upload).await.unwrap();
        assert_eq!(store.verify(upload, expected(&data)).await, Ok(Verified::ReadBack));
    }
}

#[tokio::test]
async fn inner_addresses_are_refused_unless_the_operator_allows_them() {
    let mut errors = Vec::new();
    let strict = storages(&Rules::default());
    for json in all().into_iter().chain([gcs(WORLD.moto.port)]) {
        if json["kind"] == "local" {
            let dialer = Dialer::new(Arc::new(Guard::new(&loopback()).unwrap()), None).unwrap();
            let none = Storages::new(dialer, Cap::new(None), Vec::<PathBuf>::new());
            errors.extend(none.open(&target(&json), "pj_1").err());
        } else {
            match strict.open(&target(&json), "pj_1") {
                Err(error) => errors.push(error),
                // Where it leads stands in the key of the service account.
                Ok(store) => errors.extend(store.put(&key("x"), bytes(1)).await.err()),
            }
        }
    }
    // Names that lead inside are found out when they are looked up.
    let inner = |_: &str| Ok(vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 1])]);
    let ports = vec![WORLD.moto.port, WORLD.ssh.server.port, WORLD.webdav.port];
    let guard = Guard::with_names(&Rules { ports, ..Rules::default() }, inner).unwrap();
    let dialer = Dialer::new(Arc::new(guard), None).unwrap();
    let named = Storages::new(dialer, Cap::new(None), Vec::new());
    for mut json in all() {
        match json["kind"].as_str().unwrap() {
            "s3" => json["endpoint"] = format!("https://a.example.com:{}", WORLD.moto.port).into(),
            "sftp" => json["host"] = "a.example.com".into(),
            "webdav" => json["url"] = format!("https://a.example.com:{}", WORLD.webdav.port).into(),
            "http_put" => json["url"] = "https://a.example.com/{path}?CANARY".into(),
            _ => continue,
        }
        let store = named.open(&target(&json), "pj_1").unwrap_or_else(|e| panic!("{json}: {e}"));
        errors.extend(store.put(&key("x"), bytes(1)).await.err());
        errors.extend(store.begin(&key("x"), None).await.err());
    }
    assert!(errors.len() >= 7 + 4, "{}", errors.len());
    for error in &errors {
        assert_eq!((error.word(), error.is_blocking()), ("forbidden_address", true), "{error}");
    }
    let said = said(&errors);
    assert!(!said.contains("CANARY") && !said.contains("127.0") && !said.contains("example"));
}

fn failed(step: &Step) -> &str {
    match step {
        Step::Failed { error, .. } => error,
        _ => panic!("{step:?}"),
    }
}

#[tokio::test]
async fn a_test_push_says_what_is_missing() {
    for json in all() {
        let probe = open(&json).test_push().await;
        let good = Probe { write: Step::Ok, read: Step::Ok, delete: Step::Ok };
        assert_eq!(probe, good, "{}", json["kind"]);
    }
    let mut no_bucket = s3(WORLD.moto.port);
    no_bucket["bucket"] = "nowhere".into();
    let mut no_container = azure(WORLD.azurite.port);
    no_container["container"] = "nowhere".into();
    for json in [no_bucket, no_container] {
        let probe = open(&json).test_push().await;
        assert_eq!((failed(&probe.write), &probe.read), ("no_place", &Step::Skipped), "{probe:?}");
        assert!(!probe.is_good());
    }
    // A URL that takes and does not give.
    let mut blind = put(WORLD.moto.port);
    let url = format!("http://127.0.0.1:{}/files/{{path}}?CANARY", WORLD.webdav.port);
    blind["read_url"] = url.into();
    let probe = open(&blind).test_push().await;
    assert_eq!((&probe.write, failed(&probe.read)), (&Step::Ok, "unverifiable"), "{probe:?}");
    assert!(!format!("{probe:?}").contains("CANARY"));
    // A URL that asks for a header, of a server that has no presigned ones.
    let mut asked = put(WORLD.webdav.port);
    asked["url"] = format!("http://127.0.0.1:{}/put-{{path}}", WORLD.webdav.port).into();
    assert_eq!(failed(&open(&asked).test_push().await.write), "credentials");
    let basic = STANDARD.encode("partner:CANARY-password");
    asked["authorization"] = format!("Basic {basic}").into();
    let probe = open(&asked).test_push().await;
    assert!(probe.is_good(), "{probe:?}");
}

#[tokio::test]
async fn each_way_to_log_in_works() {
    let world = &*WORLD;
    let by_key = sftp(&world.ssh, &world.ssh_folder.0);
    let mut by_ecdsa = by_key.clone();
    by_ecdsa["private_key"] = world.ssh.ecdsa_key.clone().into();
    let mut by_password = by_key.clone();
    (by_password["private_key"], by_password["password"]) = (Value::Null, PASSWORD.into());
    for json in [by_key, by_ecdsa, by_password, azure_by_sas(world.azurite.port)] {
        let probe = open(&json).test_push().await;
        assert!(probe.is_good() && probe.delete == Step::Ok, "{} {probe:?}", kind(&json));
    }
    // What another has signed is refused.
    let mut wrong = azure_by_sas(world.azurite.port);
    wrong["sas"] = servers::azure_sas().replace("sp=rcwd", "sp=rcw").into();
    assert_eq!(failed(&open(&wrong).test_push().await.write), "credentials");
}

/// An authority, and what it signed for a server: files in PEM.
struct Tls {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

fn tls(folder: &Path, name: &str, host: &str) -> Tls {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, format!("authority {name}"));
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let server_key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec![host.to_owned()]).unwrap();
    let certificate = server.signed_by(&server_key, &Issuer::new(params, key)).unwrap();
    let file = |end: &str, text: String| {
        let path = folder.join(format!("{name}.{end}"));
        fs::write(&path, text).unwrap();
        path
    };
    Tls {
        authority: file("authority.pem", authority.pem()),
        certificate: file("pem", certificate.pem()),
        key: file("key", server_key.serialize_pem()),
    }
}

#[tokio::test]
async fn a_storage_must_show_a_certificate_of_an_authority_that_the_operator_trusts() {
    let folder = Folder::new("tls");
    let good = tls(&folder.0, "good", "127.0.0.1");
    let misnamed = tls(&folder.0, "misnamed", "storage.example");
    let push = async |server: &Server, authorities: Option<&Path>| {
        let guard = Arc::new(Guard::new(&loopback()).unwrap());
        let dialer = Dialer::new(guard, authorities).unwrap();
        let mut json = webdav(server.port);
        json["url"] = format!("https://127.0.0.1:{}/", server.port).into();
        let storages = Storages::new(dialer, Cap::new(None), Vec::new());
        let store = storages.open(&target(&json), "pj_1").unwrap_or_else(|e| panic!("{e}"));
        let data = bytes(100_000);
        let upload = store.put(&key("tls.age"), data.clone()).await?;
        store.verify(&upload, expected(&data)).await
    };
    let server = servers::wsgidav_tls(free_port(), &folder.0, &good.certificate, &good.key);
    assert_eq!(push(&server, Some(&good.authority)).await, Ok(Verified::ReadBack));
    for authorities in [None, Some(misnamed.authority.as_path())] {
        assert_eq!(push(&server, authorities).await, Err(StoreError::Tls));
    }
    drop(server);
    let server = servers::wsgidav_tls(free_port(), &folder.0, &misnamed.certificate, &misnamed.key);
    assert_eq!(push(&server, Some(&misnamed.authority)).await, Err(StoreError::Tls));
}

#[tokio::test]
async fn all_pushes_together_keep_to_the_cap() {
    let dialer = Dialer::new(Arc::new(Guard::new(&loopback()).unwrap()), None).unwrap();
    let cap = Cap::new(NonZeroU64::new(MIB as u64));
    let storages = Storages::new(dialer, cap, vec![std::env::temp_dir()]);
    let began = Instant::now();
    let pushes = [webdav(WORLD.webdav.port), s3(WORLD.moto.port)].map(|json| {
        let store = storages.open(&target(&json), "pj_1").unwrap_or_else(|e| panic!("{e}"));
        async move { store.put(&key("capped.age"), bytes(2 * MIB)).await.map(drop) }
    });
    let [one, two] = pushes;
    let (one, two) = tokio::join!(one, two);
    one.unwrap();
    two.unwrap();
    let took = began.elapsed();
    assert!(took > Duration::from_millis(3500), "4 MiB at 1 MiB/s in {took:?}");
}
