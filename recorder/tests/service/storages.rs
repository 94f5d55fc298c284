//! Storages that change what they get, and paths that nobody can use.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use recorder::{
    evidence::PurgeReason,
    service::ledger::{Block, News, State},
    storage::Target,
};
use sfu_proto::id::RecordingId;

use crate::{
    servers::{self, Folder, free_port},
    world::{World, records},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_a_path_that_cannot_be_used_is_delivered_by_default() {
    let world = World::new("path");
    let ids = ["{recording}/{artifact}.bin", "a..b/{recording}/{artifact}"].map(|path| {
        let mut row = world.row(RecordingId::from_bits(701 + path.len() as u128));
        row.0.path = path.to_owned();
        row
    });
    let (recorder, tap) = world.start();
    for row in ids {
        let id = row.0.id;
        let place = world.partner().join(row.0.room.to_string()).join(id.to_string());
        world.record(&tap, row, records(id, 2)).await;
        world.ledger.stop_now(id);
        world.until_delivered(&recorder, id, ".ogg.age").await;
        assert!(place.join("manifest.json.sig").exists(), "{place:?}");
    }
    recorder.shut_down().await;
}

/// Stands before a storage, and changes a byte of each file that is put there while it `alters`.
struct Altering {
    port: u16,
    alters: Arc<AtomicBool>,
}

impl Altering {
    fn before(storage: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let alters = Arc::new(AtomicBool::new(true));
        let is_altering = Arc::clone(&alters);
        // For the rest of the process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let alters = is_altering.load(Relaxed);
                thread::spawn(move || pass(client, storage, alters));
            }
        });
        Self { port, alters }
    }
}

/// One request and its answer: the recorder makes a connection for each.
fn pass(client: TcpStream, storage: u16, alters: bool) -> io::Result<()> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, storage))?;
    let (mut answer, mut back) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut answer, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    let (mut client, mut head) = (BufReader::new(client), String::new());
    while !head.ends_with("\r\n\r\n") && client.read_line(&mut head)? > 0 {}
    server.write_all(head.as_bytes())?;
    if alters && head.starts_with("PUT ") {
        let mut first = [0];
        client.read_exact(&mut first)?;
        server.write_all(&[first[0] ^ 1])?;
    }
    io::copy(&mut client, &mut server)?;
    server.shutdown(Shutdown::Write)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_changed_is_sent_anew_then_blocks_and_is_never_purged() {
    let (world, folder) = (World::new("altered"), Folder::new("altered"));
    let dav = servers::wsgidav(free_port(), &folder.0);
    let storage = Altering::before(dav.port);
    let target = serde_json::json!({ "kind": "webdav", "user": "partner",
        "password": "CANARY-password", "url": format!("http://127.0.0.1:{}/", storage.port) });
    world.ledger.set_target("st_altering", Target::parse(&target.to_string()).unwrap());
    let id = RecordingId::from_bits(711);
    let mut row = world.row(id);
    row.0.target = Some("st_altering".to_owned());
    let (recorder, tap) = world.start();
    world.record(&tap, row, records(id, 2)).await;
    world.ledger.stop_now(id);
    world.until_state(id, State::PushBlocked).await;
    let is_told = |news: &News| matches!(news, News::Blocked { block: Block::Checksum, .. });
    assert!(world.ledger.told(id).iter().any(is_told), "{:?}", world.ledger.told(id));
    let is_kept = |name: &str| fs::metadata(world.folder(id).join(name)).is_ok();
    assert!(is_kept("keys.json") && is_kept("00000001.journal"), "purged");

    storage.alters.store(false, Relaxed);
    world.ledger.change(id, |row| row.push_wanted = true);
    world.until_state(id, State::Purged).await;
    assert_eq!(world.receipt(&recorder, id).reason, PurgeReason::Delivered);
    let files = World::files(&folder.0.join("files"));
    let track = files.iter().find(|file| file.to_string_lossy().ends_with(".ogg.age")).unwrap();
    assert!(world.open(track).starts_with(b"OggS"));
    recorder.shut_down().await;
}
