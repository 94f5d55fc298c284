//! Input that no honest client sends: each gets its stated answer, and the server goes on.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use common::{Socket, World, problem};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

#[tokio::test]
async fn bad_first_messages_are_refused() {
    let world = World::start().await;
    let room = world.room().await;
    let token = world.token(&room, "a").await;
    let texts = [
        ("", "malformed_message"),
        ("{", "malformed_message"),
        ("null", "malformed_message"),
        ("{\"type\":\"join\"}", "malformed_message"),
        ("{\"type\":\"join\",\"token\":5}", "malformed_message"),
        ("{\"type\":\"dance\"}", "malformed_message"),
        ("{\"type\":\"ping\"}", "unexpected_message"),
        ("{\"type\":\"leave\"}", "unexpected_message"),
        ("{\"type\":\"join\",\"token\":\"\"}", "token_refused"),
        ("{\"type\":\"join\",\"token\":\"a.b.c\"}", "token_refused"),
        ("{\"type\":\"resume\",\"ticket\":\"x\",\"received\":0}", "resume_refused"),
    ];
    for (text, code) in texts {
        let mut socket = world.connect().await;
        socket.text(text).await;
        assert_eq!(socket.refused().await, (1008, code.to_owned()), "{text}");
    }
    let long = json!({ "type": "join", "token": token, "sdk": "x".repeat(65) }).to_string();
    let mut socket = world.connect().await;
    socket.text(long).await;
    assert_eq!(socket.refused().await.1, "malformed_message");
    let mut socket = world.connect().await;
    socket.raw(Message::binary(vec![1, 2, 3])).await;
    assert_eq!(socket.refused().await, (1003, "malformed_message".to_owned()));
    assert_eq!(world.participants(&room).await, 0);
    let metrics = world.metrics().await;
    assert!(metrics.contains("conclave_tokens_refused_total{reason=\"malformed\"} 2"), "{metrics}");
}

#[tokio::test]
async fn a_silent_client_is_cut_after_five_seconds() {
    let world = World::start().await;
    let began = Instant::now();
    let mut socket = world.connect().await;
    assert_eq!(socket.refused().await, (1008, "timeout".to_owned()));
    assert!((4..7).contains(&began.elapsed().as_secs()));
}

#[tokio::test]
async fn messages_out_of_sequence_or_shape_have_their_stated_answers() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    // Not fatal: an envelope with something unknown in it.
    for message in [json!({ "type": "dance" }), json!({ "type": "mute" }), json!({})] {
        ann.send(message).await;
        let error = ann.wait("error").await;
        assert_eq!(error["error"]["code"], "malformed_message");
        assert_eq!(error["fatal"], false);
    }
    ann.send(json!({ "type": "mute", "track": "tr_x", "muted": true })).await;
    assert_eq!(ann.wait("error").await["error"]["code"], "unknown_track");
    ann.send(json!({ "type": "want", "tracks": vec!["x"; 101] })).await;
    assert_eq!(ann.wait("error").await["error"]["code"], "malformed_message");
    // A repeated message is ignored.
    ann.sent -= 1;
    ann.send(json!({ "type": "leave" })).await;
    ann.send(json!({ "type": "ping" })).await;
    assert_eq!(ann.next().await["type"], "pong");

    let fatal: [(Value, &str); 6] = [
        (json!({ "type": "ping", "seq": 5, "ack": 0 }), "unexpected_message"),
        (json!({ "type": "leave", "seq": 0, "ack": 0 }), "unexpected_message"),
        (json!({ "type": "ping", "seq": 1, "ack": 99 }), "unexpected_message"),
        (json!({ "type": "join", "token": "x", "seq": 1, "ack": 0 }), "unexpected_message"),
        (json!({ "type": "ping" }), "malformed_message"),
        (json!([1, 2]), "malformed_message"),
    ];
    for (message, code) in fatal {
        let (mut bob, _) = world.join(&room, "bob-1").await;
        bob.text(message.to_string()).await;
        assert_eq!(bob.refused().await, (1008, code.to_owned()), "{message}");
        assert_eq!(ann.wait("participant_left").await["reason"], "protocol_error");
    }
    let (mut bob, _) = world.join(&room, "bob-1").await;
    bob.raw(Message::binary(vec![0; 100])).await;
    assert_eq!(bob.refused().await, (1003, "malformed_message".to_owned()));
}

#[tokio::test]
async fn large_messages_are_refused_by_their_header() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    // Fits exactly: a malformed SDP, but not too large.
    let envelope = json!({ "type": "offer", "id": 1, "sdp": "", "tracks": [], "seq": 1, "ack": 1 });
    let sdp = "x".repeat(256 * 1024 - envelope.to_string().len());
    ann.send(json!({ "type": "offer", "id": 1, "sdp": sdp, "tracks": [] })).await;
    assert_eq!(ann.wait("error").await["error"]["code"], "malformed_sdp");
    // A header that announces 2^62 bytes, and nothing after it.
    let mut header = vec![0x81, 0xff];
    header.extend((1_u64 << 62).to_be_bytes());
    header.extend([0; 4]);
    let tcp = ann.stream.get_mut();
    tcp.write_all(&header).await.unwrap();
    assert_eq!(ann.refused().await, (1009, "message_too_large".to_owned()));

    // Fragments that add up.
    let (mut bob, _) = world.join(&room, "bob-1").await;
    let part = vec![b'x'; 100 * 1024];
    let first = Frame::message(part.clone(), OpCode::Data(Data::Text), false);
    bob.raw(Message::Frame(first)).await;
    for _ in 0..3 {
        let next = Frame::message(part.clone(), OpCode::Data(Data::Continue), false);
        if bob.stream.get_mut().writable().await.is_ok() {
            use futures_util::SinkExt as _;
            let _ = bob.stream.send(Message::Frame(next)).await; // May be closed already.
        }
    }
    assert_eq!(bob.refused().await, (1009, "message_too_large".to_owned()));

    // Before a session as well.
    let mut eve = world.connect().await;
    eve.stream.get_mut().write_all(&header).await.unwrap();
    assert_eq!(eve.refused().await, (1009, "message_too_large".to_owned()));
}

#[tokio::test]
async fn fragmented_messages_are_read_and_a_flood_is_cut() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    let text = json!({ "type": "ping", "seq": 1, "ack": 1 }).to_string();
    let (head, tail) = text.split_at(7);
    ann.raw(Message::Frame(Frame::message(head.to_owned(), OpCode::Data(Data::Text), false))).await;
    ann.raw(Message::Ping(b"x".to_vec().into())).await;
    let last = Frame::message(tail.to_owned(), OpCode::Data(Data::Continue), true);
    ann.raw(Message::Frame(last)).await;
    ann.sent = 1;
    let Message::Pong(_) = futures_util::StreamExt::next(&mut ann.stream).await.unwrap().unwrap()
    else {
        panic!("the WebSocket's own ping is answered");
    };
    assert_eq!(ann.next().await["type"], "pong");

    // Large messages count for several.
    let (mut bob, _) = world.join(&room, "bob-1").await;
    let sdp = "x".repeat(250 * 1024);
    for _ in 0..8 {
        bob.sent += 1;
        let offer = json!({ "type": "offer", "id": 1, "sdp": sdp, "tracks": [], "seq": bob.sent, "ack": 1 });
        use futures_util::SinkExt as _;
        if bob.stream.send(Message::text(offer.to_string())).await.is_err() {
            break;
        }
    }
    assert_eq!(last_error(&mut bob).await, (1008, "rate_limited".to_owned()));

    let mut flood = String::new();
    for _ in 0..400 {
        ann.sent += 1;
        flood = json!({ "type": "ping", "seq": ann.sent, "ack": 1 }).to_string();
        use futures_util::SinkExt as _;
        if ann.stream.feed(Message::text(flood.clone())).await.is_err() {
            break;
        }
    }
    use futures_util::SinkExt as _;
    let _ = ann.stream.flush().await; // May be closed already.
    assert!(!flood.is_empty());
    assert_eq!(ann.refused().await, (1008, "rate_limited".to_owned()));
}

/// Close code and the last error before it.
async fn last_error(socket: &mut Socket) -> (u16, String) {
    let (code, before) = socket.closed().await;
    let error = before.iter().rfind(|m| m["type"] == "error").unwrap();
    (code, error["error"]["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_reader_that_stops_is_cut_and_others_are_not_held_up() {
    let world = World::start().await;
    let room = world.room().await;
    let (ann, _) = world.join(&room, "ann-1").await; // Never reads again.
    let (mut bob, joined) = world.join(&room, "bob-1").await;
    let _ = joined;
    let id = room.parse().unwrap();
    let began = Instant::now();
    // Each is small; the socket's buffers fill, then the queue does.
    let sdp = common::offer("bobU", &[("audio", "0", "sendonly")]);
    let answer = bob.offer(1, &sdp, json!([{ "mid": "0", "source": "microphone" }])).await;
    let track = answer["tracks"][0]["id"].as_str().unwrap().parse().unwrap();
    let mut cut = false;
    while !cut && began.elapsed() < Duration::from_secs(30) {
        for _ in 0..2000 {
            let event =
                sfu_proto::control::Event::SpeakersChanged { room: id, tracks: vec![track] };
            world.node().publish(event);
        }
        bob.send(json!({ "type": "ping" })).await;
        bob.wait("pong").await;
        cut = !world.metrics().await.contains("conclave_websocket_slow_total 0");
    }
    assert!(cut, "the slow reader was cut");
    bob.send(json!({ "type": "ping" })).await;
    assert_eq!(bob.wait("pong").await["type"], "pong");
    drop(ann);
}

#[tokio::test]
async fn handshakes_without_the_protocol_or_from_a_foreign_origin_are_problems() {
    let config = signaling::Config {
        allowed_origins: vec!["https://app.example".to_owned()],
        ..common::config()
    };
    let world = World::build(config, true).await;
    let ask = |origin: &str, protocol: &str| {
        world
            .http
            .get(world.url("/v1/ws"))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", protocol.to_owned())
            .header("origin", origin.to_owned())
            .send()
    };
    let foreign = ask("https://evil.example", "conclave.v1").await.unwrap();
    problem(foreign, 403, "not_permitted").await;
    let other = ask("https://app.example", "chat").await.unwrap();
    problem(other, 400, "malformed_request").await;
    assert_eq!(ask("https://app.example", "conclave.v1").await.unwrap().status(), 101);
}

#[tokio::test]
async fn slow_and_large_request_heads_are_cut() {
    let world = World::start().await;
    let address = world.server.local_addr();
    let began = Instant::now();
    let mut slow = TcpStream::connect(address).await.unwrap();
    let dripping = async {
        loop {
            if slow.write_all(b"G").await.is_err() {
                return;
            }
            let mut byte = [0; 1];
            if let Ok(Ok(0) | Err(_)) =
                timeout(Duration::from_millis(500), slow.read(&mut byte)).await
            {
                return;
            }
        }
    };
    timeout(Duration::from_secs(15), dripping).await.expect("the server gives it up");
    assert!(began.elapsed() > Duration::from_secs(3));

    let mut large = TcpStream::connect(address).await.unwrap();
    let head = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(60_000));
    let _ = large.write_all(head.as_bytes()).await; // May be refused while writing.
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(5), large.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(world.http.get(world.url("/livez")).send().await.unwrap().status(), 204);
}

#[tokio::test]
async fn connections_that_do_not_say_what_they_speak_are_cut() {
    let world = World::start().await;
    let address = world.server.local_addr();
    let silent = |first: &'static [u8]| async move {
        let began = Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(first).await.unwrap();
        let mut rest = Vec::new();
        let read = timeout(Duration::from_secs(12), stream.read_to_end(&mut rest)).await;
        let _ = read.unwrap_or_else(|_| panic!("held for ever after {first:?}"));
        assert!(began.elapsed() > Duration::from_secs(3), "{first:?}");
    };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r";
    tokio::join!(silent(b""), silent(b"P"), silent(b"PRI"), silent(preface), silent(b"GET"));
}

#[tokio::test]
async fn bodies_are_bounded_before_anybody_is_known() {
    let world = World::start().await;
    let session = "A".repeat(86);
    for kind in ["whip", "whep"] {
        let patch = world.http.patch(world.url(&format!("/v1/{kind}/sessions/{session}")));
        let patch = patch.header("content-type", "application/trickle-ice-sdpfrag");
        let large = patch.header("if-match", "*").body("a=x\r\n".repeat(2000));
        problem(large.send().await.unwrap(), 413, "payload_too_large").await;
    }
}

#[tokio::test]
async fn slow_offers_have_a_bounded_number_of_places_for_a_bounded_time() {
    let world = World::start().await;
    let address = world.server.local_addr();
    let room = world.room().await;
    let mut tokens = Vec::new();
    for _ in 0..=signaling::limits::SDP_READING_MAX {
        tokens.push(world.token(&room, "encoder-1").await);
    }
    let mut slow = Vec::new();
    for token in &tokens[1..] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /v1/whip HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             content-type: application/sdp\r\ncontent-length: 1000\r\n\r\nv=0\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let post = |token: &str| {
        let request = world.http.post(world.url("/v1/whip")).bearer_auth(token);
        let sdp = common::offer("encU", &[("audio", "0", "sendonly")]);
        request.header("content-type", "application/sdp").body(sdp).send()
    };
    problem(post(&tokens[0]).await.unwrap(), 503, "unavailable").await;
    problem(post(&tokens[1]).await.unwrap(), 429, "rate_limited").await;
    let mut answer = [0; 12];
    timeout(Duration::from_secs(8), slow[0].read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    let last = slow.len() - 1;
    timeout(Duration::from_secs(8), slow[last].read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(post(&tokens[1]).await.unwrap().status(), 201, "the token is still good");
}

#[tokio::test]
async fn one_token_has_one_body_in_reading() {
    let world = World::start().await;
    let room = world.room().await;
    let tokens = [world.token(&room, "encoder-1").await, world.token(&room, "encoder-2").await];
    let mut slow = TcpStream::connect(world.server.local_addr()).await.unwrap();
    let head = format!(
        "POST /v1/whip HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/sdp\r\ncontent-length: 1000\r\n\r\nv=0\r\n",
        tokens[0]
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let post = |token: &str| {
        let request = world.http.post(world.url("/v1/whip")).bearer_auth(token);
        let sdp = common::offer("encU", &[("audio", "0", "sendonly")]);
        request.header("content-type", "application/sdp").body(sdp).send()
    };
    problem(post(&tokens[0]).await.unwrap(), 429, "rate_limited").await;
    assert_eq!(post(&tokens[1]).await.unwrap().status(), 201);
    drop(slow);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(post(&tokens[0]).await.unwrap().status(), 201, "its place came back");
}

#[tokio::test]
async fn connections_above_the_cap_are_refused_and_the_place_is_given_back() {
    let config = signaling::Config { connections_max: 4, ..common::config() };
    let world = World::build(config, true).await;
    let address = world.server.local_addr();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(Socket::connect(address).await);
    }
    let refused = world.http.get(world.url("/livez")).send().await;
    assert!(refused.is_err());
    drop(held);
    for _ in 0..100 {
        if let Ok(answer) = world.http.get(world.url("/livez")).send().await {
            assert_eq!(answer.status(), 204);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the places were not given back");
}

#[tokio::test]
async fn plain_http_is_served_on_loopback_only() {
    let store = common::open(&common::folder()).await;
    let config = signaling::Config { listen: "0.0.0.0:0".parse().unwrap(), ..common::config() };
    let bus = std::sync::Arc::new(bus::InProcessBus::new());
    let registry = prometheus::Registry::new();
    let error = signaling::serve(config, store, bus, registry, None).await.err().unwrap();
    assert!(error.to_string().contains("loopback"), "{error}");
}
