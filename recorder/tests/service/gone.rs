//! What arrived is looked at once more before the recording is delivered: by a storage that says little,
//! and between two files of one push.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use recorder::{
    evidence::verify,
    service::ledger::{Block, News, State},
    storage::Target,
};
use serde_json::Value;
use sfu_proto::id::RecordingId;

use crate::{
    live::at,
    servers,
    world::{Sound, World, records, until},
};

/// What stands before a server does with requests.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    /// Nothing.
    Plain,
    /// Says that what is missing is forbidden, as S3 does to those that may not list, and takes nothing
    /// outside of the folders of recordings.
    Listless,
    /// Answers 503 to requests for names with this in them.
    Busy(&'static str),
    /// Answers one request more, then it is [`Mood::Forbidding`]: credentials end.
    Ending,
    /// Answers 403 to all.
    Forbidding,
}

impl Mood {
    fn at_a_request(mood: &Mutex<Self>) -> Self {
        let mut mood = mood.lock().unwrap();
        let now = *mood;
        if now == Self::Ending {
            *mood = Self::Forbidding;
        }
        now
    }
}

/// Stands before a server on the loopback until the process ends.
struct Doorkeeper {
    port: u16,
    mood: Arc<Mutex<Mood>>,
}

impl Doorkeeper {
    fn before(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mood = Arc::new(Mutex::new(Mood::Plain));
        let asked = Arc::clone(&mood);
        thread::spawn(move || {
            for client in listener.incoming() {
                let asked = Arc::clone(&asked);
                // Whoever asked sees a connection that broke.
                thread::spawn(move || client.and_then(|client| serve(client, server, &asked)));
            }
        });
        Self { port, mood }
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

fn serve(mut client: TcpStream, server: u16, mood: &Mutex<Mood>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_lowercase();
    let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    client.read_exact(&mut body)?;
    let mood = Mood::at_a_request(mood);
    let line = text.lines().next().unwrap_or_default();
    let refused = match mood {
        Mood::Busy(word) if line.contains(word) => Some("503 Slow Down"),
        Mood::Forbidding => Some("403 Forbidden"),
        Mood::Listless if !line.contains("/bucket/rm_") => Some("403 Forbidden"),
        _ => None,
    };
    if let Some(status) = refused {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return client.write_all(answer.as_bytes());
    }
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    server.write_all(&[head, body].concat())?;
    let mut status = *b"HTTP/1.1 200";
    server.read_exact(&mut status)?;
    if mood == Mood::Listless && status.ends_with(b"404") {
        status = *b"HTTP/1.1 403";
    }
    client.write_all(&status)?;
    let (mut listens, talks) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        // One request for each connection: when it ends so does the other.
        let _ = io::copy(&mut listens, &mut io::sink());
        talks.shutdown(Shutdown::Both)
    });
    io::copy(&mut server, &mut client).map(drop)
}

fn s3(port: u16) -> Target {
    let text = format!(
        r#"{{"kind":"s3","endpoint":"http://127.0.0.1:{port}","region":"us-east-1","bucket":"bucket",
            "access_key":"key","secret_key":"secret","checksums":false}}"#
    );
    Target::parse(&text).unwrap()
}

/// A request of the partner's own; the server believes every signature.
fn asked(port: u16, method: &str, path: &str) -> String {
    let signed = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, \
                  SignedHeaders=host, Signature=0";
    servers::http(port, method, path, &[("authorization", signed)], b"")
}

fn pushed(world: &World, id: RecordingId) -> Value {
    let text = fs::read(world.folder(id).join("push.json")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// When the files of these endings were seen last.
fn seen_at(world: &World, id: RecordingId, end: &str) -> Option<u64> {
    let push = pushed(world, id);
    let files = push["files"].as_object()?;
    files.iter().find(|(name, _)| name.ends_with(end))?.1["verified_at_ms"].as_u64()
}

/// As if all that had been hours ago.
fn age(world: &World, id: RecordingId) {
    let mut push = pushed(world, id);
    for sending in push["files"].as_object_mut().unwrap().values_mut() {
        sending["verified_at_ms"] = LONG_AGO.into();
    }
    fs::write(world.folder(id).join("push.json"), push.to_string()).unwrap();
}

const LONG_AGO: u64 = 1_760_000_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_told_from_credentials_that_are_wrong() {
    let moto = servers::moto(false);
    let door = Doorkeeper::before(moto.port);
    let world = World::new("gone-s3");
    let id = RecordingId::from_bits(611);
    let mut row = world.row(id);
    row.0.target = Some("st_s3".to_owned());
    world.ledger.set_target("st_s3", s3(door.port));
    // Artifacts arrive, and then the storage is too busy for the evidence.
    door.is(Mood::Busy("capture.json"));
    let (first, tap) = world.start();
    world.record(&tap, row, records(id, 2)).await;
    world.ledger.stop_now(id);
    let arrived = || [".ogg.age", "events.json.age"].map(|end| seen_at(&world, id, end));
    until("artifacts arrive", || arrived().iter().all(Option::is_some)).await;
    first.shut_down().await;
    age(&world, id);
    // One cannot be looked at now. The other is seen, and that is kept.
    door.is(Mood::Busy("events.json"));
    let (second, _tap) = world.start();
    until("one is seen", || arrived()[0] > Some(LONG_AGO)).await;
    assert_eq!(arrived()[1], Some(LONG_AGO));
    second.shut_down().await;
    // Wrong credentials: nothing is taken to be gone.
    age(&world, id);
    door.is(Mood::Forbidding);
    let (third, _tap) = world.start();
    world.ledger.change(id, |row| row.push_wanted = true);
    let is_told = |news: &News| matches!(news, News::Blocked { block: Block::Credentials, .. });
    let blocked = || world.ledger.told(id).iter().filter(|news| is_told(news)).count();
    until("it is blocked", || blocked() > 0).await;
    assert_eq!(arrived(), [Some(LONG_AGO); 2]);
    third.shut_down().await;
    // They end in the middle of a look: what was refused after it is not taken to be gone.
    let blocked_before = blocked();
    door.is(Mood::Ending);
    let (fourth, _tap) = world.start();
    world.ledger.change(id, |row| row.push_wanted = true);
    until("it is blocked again", || blocked() > blocked_before).await;
    fourth.shut_down().await;
    assert!(arrived().iter().all(Option::is_some), "nothing is forgotten: {:?}", arrived());
    assert!(arrived().iter().any(|at| *at > Some(LONG_AGO)), "one was seen before");
    // All of it is gone, and the storage says 403 of that.
    age(&world, id);
    let (fifth, _tap) = world.start();
    let folder = format!("/bucket/{}/{id}", world.row(id).0.room);
    let names: Vec<String> =
        pushed(&world, id)["files"].as_object().unwrap().keys().cloned().collect();
    for name in &names {
        let deleted = asked(moto.port, "DELETE", &format!("{folder}/{name}"));
        assert!(deleted.starts_with("HTTP/1.1 204"), "{deleted}");
    }
    door.is(Mood::Listless);
    world.ledger.change(id, |row| row.push_wanted = true);
    world.until_state(id, State::Purged).await;
    for name in &names {
        let there = asked(moto.port, "HEAD", &format!("{folder}/{name}"));
        assert!(there.starts_with("HTTP/1.1 200"), "{name}: {there}");
    }
    fifth.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_while_others_are_pushed_is_seen_before_the_evidence_is() {
    let mut world = World::new("gone-between");
    world.rate = std::num::NonZeroU64::new(512 * 1024);
    let id = RecordingId::from_bits(612);
    let (first, tap) = world.start();
    let sounds = (0..4).map(|index| Sound { index, seconds: 10, padding: 1000 });
    world.record(&tap, world.row(id), sounds.flat_map(|sound| sound.records(id)).collect()).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    world.ledger.stop_now(id);
    let arrived = || -> Vec<String> {
        let push = pushed(&world, id);
        let files = push["files"].as_object().into_iter().flatten();
        let tracks =
            files.filter(|(name, one)| name.ends_with(".ogg.age") && !one["verified"].is_null());
        tracks.map(|(name, _)| name.clone()).collect()
    };
    until("one has arrived", || !arrived().is_empty()).await;
    first.shut_down().await;
    let early = arrived();
    assert!(early.len() < 3, "others are under way");
    age(&world, id);
    let (second, _tap) = world.start();
    until("another one arrives", || arrived().len() > early.len()).await;
    let there = at(&world.partner(), id);
    fs::remove_file(there.join(&early[0])).unwrap();
    assert!(arrived().len() < 4, "it was removed while others are pushed");
    world.until_delivered(&second, id, &early[0]).await;
    let report = verify(&there, &second.keys(), None);
    assert!(report.is_good(), "{report:?}");
    second.shut_down().await;
}
