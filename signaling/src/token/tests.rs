//! Tokens that must be refused, each for one reason, beside one that is accepted.
#![allow(clippy::unwrap_used, reason = "tests")]

use aws_lc_rs::{
    hmac,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use proptest::prelude::*;
use sdk_spec::{
    handle::Handle,
    rest::{keys::ProjectState, operator::UpdateProject},
    room::{Kind, RoomSettings},
};
use serde_json::{Value, json};
use sfu_proto::id::RoomId;

use super::*;
use crate::{
    admin,
    domain::{Actor, Ban, Charter},
    secret,
    store::{Author, Creation, NewRoom, NewTokenKey},
    vault::Vault,
};

const NOW: u64 = 1_800_000_000;

struct World {
    store: Store,
    key: SigningKey,
    room: RoomId,
    _folder: Folder,
}

struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn world() -> World {
    let folder = std::env::temp_dir().join(secret::opaque_id("conclave-token-"));
    std::fs::create_dir_all(&folder).unwrap();
    let url = format!("sqlite://{}/t.db", folder.display());
    let store = Store::open(&url, Vault::new(&[7; 32])).await.unwrap();
    let project = admin::create_project(&store, "test").await.unwrap().id;
    let key = store.signing_key_of(&project).await.unwrap().unwrap();
    let room = new_room(&store, &project).await;
    World { store, key, room, _folder: Folder(folder) }
}

async fn new_room(store: &Store, project: &str) -> RoomId {
    let id = RoomId::from_bits(secret::random_bits());
    let room = NewRoom {
        id,
        project: project.to_owned(),
        created_at_ms: 1,
        charter: Charter::new(Kind::AdHoc, &RoomSettings::default()),
        commits: 0,
    };
    store.create_room(&room, &Actor::System, 100, None).await.unwrap().unwrap();
    id
}

impl World {
    fn header(&self) -> Value {
        json!({ "typ": "room+jwt", "alg": "EdDSA", "kid": self.key.id })
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.key.project, "aud": "conclave", "room": self.room.to_string(),
            "handle": "user-1", "role": "participant", "grants": { "subscribe": true },
            "jti": "j-1", "iat": NOW, "nbf": NOW, "exp": NOW + 300,
        })
    }

    fn sign(&self, signed: &str) -> Vec<u8> {
        let pair = Ed25519KeyPair::from_pkcs8(&self.key.private_key).unwrap();
        pair.sign(signed.as_bytes()).as_ref().to_vec()
    }

    fn token(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
        format!("{signed}.{}", BASE64.encode(self.sign(&signed)))
    }

    fn good(&self) -> String {
        self.token(&self.header().to_string(), &self.claims().to_string())
    }

    /// The whole way: verified and redeemed.
    async fn refusal(&self, token: &str) -> Option<&'static str> {
        let result = match verify(&self.store, token, NOW * 1000).await {
            Ok(verified) => verified.redeem(&self.store).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(_) => None,
            Err(TokenError::Store(error)) => panic!("{error}"),
            Err(refused) => Some(refused.reason()),
        }
    }
}

#[tokio::test]
async fn a_minted_token_is_accepted_once() {
    let world = world().await;
    let claims: Claims = serde_json::from_value(world.claims()).unwrap();
    let token = mint(&world.key, &claims).unwrap();
    assert_eq!(world.refusal(&token).await, None);
    assert_eq!(world.refusal(&token).await, Some("replayed"));
    assert_eq!(token, mint(&world.key, &claims).unwrap(), "Ed25519 is deterministic");
}

#[tokio::test]
async fn bad_headers_and_signatures_are_refused() {
    let world = world().await;
    let (header, claims) = (world.header().to_string(), world.claims().to_string());
    let with = |patch: Value| {
        let mut header = world.header();
        header.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        world.token(&header.to_string(), &claims)
    };
    let without = |name: &str| {
        let mut header = world.header();
        header.as_object_mut().unwrap().remove(name);
        world.token(&header.to_string(), &claims)
    };
    let signed = |header: &str| format!("{}.{}", BASE64.encode(header), BASE64.encode(&claims));
    // HMAC with the public key, as in algorithm confusion.
    let confused = {
        let text = signed(&world.header().to_string().replace("EdDSA", "HS256"));
        let mac = hmac::Key::new(hmac::HMAC_SHA256, &world.key.public_key);
        format!("{text}.{}", BASE64.encode(hmac::sign(&mac, text.as_bytes()).as_ref()))
    };
    let confused_same_alg = {
        let text = signed(&header);
        let mac = hmac::Key::new(hmac::HMAC_SHA256, &world.key.public_key);
        format!("{text}.{}", BASE64.encode(hmac::sign(&mac, text.as_bytes()).as_ref()))
    };
    let foreign = {
        let text = signed(&header);
        let pair = Ed25519KeyPair::generate().unwrap();
        format!("{text}.{}", BASE64.encode(pair.sign(text.as_bytes()).as_ref()))
    };
    let ecdsa = {
        let text = signed(&header);
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        assert!(!pair.public_key().as_ref().is_empty());
        let rng = aws_lc_rs::rand::SystemRandom::new();
        let signature = pair.sign(&rng, text.as_bytes()).unwrap();
        format!("{text}.{}", BASE64.encode(signature.as_ref()))
    };
    let good = world.good();
    let (text, signature) = good.rsplit_once('.').unwrap();
    let unsigned = |alg: &str| {
        let header = world.header().to_string().replace("EdDSA", alg);
        format!("{}.", signed(&header))
    };
    #[rustfmt::skip]
    let cases: Vec<(&str, String, &str)> = vec![
        ("empty", String::new(), "malformed"),
        ("dots", "..".to_owned(), "malformed"),
        ("two parts", text.to_owned(), "malformed"),
        ("four parts", format!("{good}.x"), "malformed"),
        ("five parts (JWE)", "a.b.c.d.e".to_owned(), "malformed"),
        ("too long", format!("{good}{}", "A".repeat(5000)), "malformed"),
        ("padded", format!("{good}="), "signature"),
        ("standard base64", good.replace(['-', '_'], "+"), if good.contains(['-', '_']) { "" } else { "skip" }),
        ("white space", format!(" {good}"), "malformed"),
        ("line feed", format!("{good}\n"), "signature"),
        ("header not JSON", world.token("x", &claims), "malformed"),
        ("header an array", world.token("[]", &claims), "malformed"),
        ("alg none", unsigned("none"), "algorithm"),
        ("alg None", unsigned("None"), "algorithm"),
        ("alg empty", unsigned(""), "algorithm"),
        ("alg none, signed", with(json!({ "alg": "none" })), "algorithm"),
        ("alg HS256 with the public key", confused, "algorithm"),
        ("HMAC under alg EdDSA", confused_same_alg, "signature"),
        ("alg ES256", with(json!({ "alg": "ES256" })), "algorithm"),
        ("alg RS256", with(json!({ "alg": "RS256" })), "algorithm"),
        ("alg eddsa", with(json!({ "alg": "eddsa" })), "algorithm"),
        ("alg Ed25519", with(json!({ "alg": "Ed25519" })), "algorithm"),
        ("alg a number", with(json!({ "alg": 1 })), "malformed"),
        ("no alg", without("alg"), "malformed"),
        ("no kid", without("kid"), "malformed"),
        ("no typ", without("typ"), "malformed"),
        ("typ JWT", with(json!({ "typ": "JWT" })), "header"),
        ("typ of another token", with(json!({ "typ": "at+jwt" })), "header"),
        ("typ in capitals", with(json!({ "typ": "ROOM+JWT" })), "header"),
        ("kid unknown", with(json!({ "kid": "sk_unknown" })), "unknown_key"),
        ("kid a path", with(json!({ "kid": "../../dev/null" })), "header"),
        ("kid SQL", with(json!({ "kid": "' OR '1'='1" })), "header"),
        ("kid empty", with(json!({ "kid": "" })), "header"),
        ("kid long", with(json!({ "kid": "a".repeat(65) })), "header"),
        ("jku", with(json!({ "jku": "https://evil.example/keys" })), "malformed"),
        ("jwk", with(json!({ "jwk": { "kty": "OKP", "crv": "Ed25519", "x": "AA" } })), "malformed"),
        ("x5u", with(json!({ "x5u": "https://evil.example" })), "malformed"),
        ("x5c", with(json!({ "x5c": ["AA"] })), "malformed"),
        ("crit", with(json!({ "crit": ["b64"], "b64": false })), "malformed"),
        ("b64", with(json!({ "b64": false })), "malformed"),
        ("zip", with(json!({ "zip": "DEF" })), "malformed"),
        ("cty JWT (nested)", with(json!({ "cty": "JWT" })), "malformed"),
        ("two algs", world.token(&header.replacen('{', r#"{"alg":"none","#, 1), &claims), "malformed"),
        ("signed by another key", foreign, "signature"),
        ("signed by ECDSA", ecdsa, "signature"),
        ("no signature", format!("{text}."), "signature"),
        ("half a signature", format!("{text}.{}", &signature[..43]), "signature"),
        ("claims swapped", {
            let other = world.claims().to_string().replace("user-1", "user-2");
            format!("{}.{}.{signature}", BASE64.encode(&header), BASE64.encode(other))
        }, "signature"),
    ];
    for (name, token, reason) in cases {
        match reason {
            "skip" => {}
            "" => assert!(world.refusal(&token).await.is_some(), "{name}"),
            reason => assert_eq!(world.refusal(&token).await, Some(reason), "{name}"),
        }
    }
    assert_eq!(world.refusal(&good).await, None, "the token they were made from is good");
}

#[tokio::test]
async fn bad_claims_are_refused() {
    let world = world().await;
    let other_project = admin::create_project(&world.store, "other").await.unwrap().id;
    let other_room = new_room(&world.store, &other_project).await.to_string();
    let closed = new_room(&world.store, &world.key.project).await;
    let place = (world.key.project.as_str(), closed);
    let reason = sdk_spec::ws::LeaveReason::RoomClosed;
    assert!(world.store.end_room(place, reason, None, 5).await.unwrap());
    let header = world.header().to_string();
    #[rustfmt::skip]
    let cases: Vec<(&str, Value, &str)> = vec![
        ("foreign issuer", json!({ "iss": other_project }), "claims"),
        ("foreign audience", json!({ "aud": "other" }), "claims"),
        ("audience list", json!({ "aud": ["conclave"] }), "claims"),
        ("room of another project", json!({ "room": other_room }), "room"),
        ("closed room", json!({ "room": closed.to_string() }), "room"),
        ("unknown room", json!({ "room": RoomId::from_bits(5).to_string() }), "room"),
        ("room no id", json!({ "room": "lobby" }), "claims"),
        ("room null", json!({ "room": null }), "claims"),
        ("expired", json!({ "iat": NOW - 400, "nbf": NOW - 400, "exp": NOW - 100 }), "expired"),
        ("expired long ago", json!({ "iat": 1, "nbf": 1, "exp": 2 }), "expired"),
        ("not yet", json!({ "nbf": NOW + 60 }), "not_yet"),
        ("issued in the future", json!({ "iat": NOW + 60, "exp": NOW + 120 }), "not_yet"),
        ("lives too long", json!({ "exp": NOW + 901 }), "lifetime"),
        ("lives for ever", json!({ "exp": u64::MAX }), "lifetime"),
        ("ends before it begins", json!({ "exp": NOW - 1 }), "lifetime"),
        ("all at the end of time", json!({ "iat": u64::MAX - 9, "nbf": u64::MAX - 9, "exp": u64::MAX }), "not_yet"),
        ("exp text", json!({ "exp": "1800000300" }), "claims"),
        ("exp fraction", json!({ "exp": 1_800_000_300.5 }), "claims"),
        ("exp negative", json!({ "exp": -1 }), "claims"),
        ("exp null", json!({ "exp": null }), "claims"),
        ("nbf text", json!({ "nbf": "0" }), "claims"),
        ("iat list", json!({ "iat": [1] }), "claims"),
        ("jti empty", json!({ "jti": "" }), "claims"),
        ("jti long", json!({ "jti": "a".repeat(65) }), "claims"),
        ("jti spaces", json!({ "jti": "a b" }), "claims"),
        ("jti number", json!({ "jti": 7 }), "claims"),
        ("handle e-mail", json!({ "handle": "anna@example.com" }), "claims"),
        ("handle phone", json!({ "handle": "+491701234567" }), "claims"),
        ("handle name", json!({ "handle": "Anna Schmidt" }), "claims"),
        ("role unknown", json!({ "role": "owner" }), "claims"),
        ("grant unknown", json!({ "grants": { "admin": true } }), "claims"),
        ("grants text", json!({ "grants": "all" }), "claims"),
        ("OIDC sub", json!({ "sub": "x" }), "claims"),
        ("OIDC name", json!({ "name": "x" }), "claims"),
        ("OIDC email", json!({ "email": "x" }), "claims"),
        ("OIDC phone_number", json!({ "phone_number": "x" }), "claims"),
        ("OIDC picture", json!({ "picture": "x" }), "claims"),
        ("OIDC address", json!({ "address": {} }), "claims"),
    ];
    for (name, patch, reason) in cases {
        let mut claims = world.claims();
        claims.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        let token = world.token(&header, &claims.to_string());
        assert_eq!(world.refusal(&token).await, Some(reason), "{name}");
    }
    for name in ["iss", "aud", "room", "handle", "role", "grants", "jti", "iat", "nbf", "exp"] {
        let mut claims = world.claims();
        claims.as_object_mut().unwrap().remove(name);
        let token = world.token(&header, &claims.to_string());
        assert_eq!(world.refusal(&token).await, Some("claims"), "without {name}");
    }
    // An array of the right values in the right order is no set of claims.
    let order = ["iss", "aud", "room", "handle", "role", "grants", "jti", "iat", "nbf", "exp"];
    let list = order.iter().map(|name| world.claims()[*name].clone()).collect::<Value>();
    assert_eq!(world.refusal(&world.token(&header, &list.to_string())).await, Some("claims"));
    let twice = world.claims().to_string().replacen('{', r#"{"exp":9999999999,"#, 1);
    assert_eq!(world.refusal(&world.token(&header, &twice)).await, Some("claims"));
    assert_eq!(world.refusal(&world.good()).await, None, "jti is not used up by refusals");
}

#[tokio::test]
async fn a_token_is_refused_until_it_has_expired_even_after_a_purge() {
    let world = world().await;
    let token = world.good();
    assert_eq!(world.refusal(&token).await, None);
    for later in [0, 300, 310] {
        world.store.purge((NOW + later) * 1000).await.unwrap();
        let again = verify(&world.store, &token, (NOW + later) * 1000).await;
        if let Ok(verified) = again {
            let redeemed = verified.redeem(&world.store).await;
            assert!(matches!(redeemed, Err(TokenError::Refused("replayed"))), "{later}");
        }
    }
}

#[test]
fn any_changed_byte_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(world());
    let good = world.good();
    proptest!(|(at in 0..good.len(), to in 0x21_u8..0x7f)| {
        let mut bytes = good.clone().into_bytes();
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let bad = String::from_utf8(bytes).unwrap();
        let verified = runtime.block_on(verify(&world.store, &bad, NOW * 1000));
        prop_assert!(verified.is_err(), "{at} {to}");
    });
    proptest!(|(junk in "[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){0,3}")| {
        prop_assert!(runtime.block_on(verify(&world.store, &junk, NOW * 1000)).is_err());
    });
}

/// Registers a token key as a partner does.
async fn register(world: &World, verifier: Verifier, not_after_ms: Option<u64>) -> String {
    let key = NewTokenKey {
        id: secret::opaque_id("tk_"),
        project: world.key.project.clone(),
        name: None,
        not_after_ms,
        verifier,
    };
    let made = world.store.insert_token_key(&key, &author(), None).await.unwrap();
    assert_eq!(made, Creation::Made);
    key.id
}

fn author() -> Author {
    Author::new(Actor::System, NOW * 1000)
}

/// A token with this header, signed by `sign`.
fn offline(
    world: &World,
    kid: &str,
    alg: &str,
    jti: &str,
    sign: impl Fn(&[u8]) -> Vec<u8>,
) -> String {
    let header = json!({ "typ": "room+jwt", "alg": alg, "kid": kid }).to_string();
    let mut claims = world.claims();
    claims["jti"] = json!(jti);
    let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims.to_string()));
    let signature = BASE64.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

#[tokio::test]
async fn tokens_of_registered_keys_are_accepted_by_the_algorithm_of_the_key_only() {
    let world = world().await;
    let pair = Ed25519KeyPair::generate().unwrap();
    let public = pair.public_key().as_ref().to_vec();
    let ed = register(&world, Verifier::Ed25519(public.clone()), None).await;
    let secret = vec![7; 32];
    let hs = register(&world, Verifier::HmacSha256(secret.clone()), None).await;
    let by_pair = |text: &[u8]| pair.sign(text).as_ref().to_vec();
    let by_mac = |key: &[u8], text: &[u8]| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
    };
    let good = [
        offline(&world, &ed, "EdDSA", "a", by_pair),
        offline(&world, &hs, "HS256", "b", |text| by_mac(&secret, text)),
    ];
    for token in &good {
        assert_eq!(world.refusal(token).await, None);
        assert_eq!(world.refusal(token).await, Some("replayed"));
    }
    let bad = [
        (offline(&world, &ed, "HS256", "c", |text| by_mac(&public, text)), "algorithm"),
        (offline(&world, &ed, "EdDSA", "c", |text| by_mac(&public, text)), "signature"),
        (offline(&world, &hs, "EdDSA", "c", by_pair), "algorithm"),
        (offline(&world, &hs, "HS256", "c", by_pair), "signature"),
        (offline(&world, &hs, "HS256", "c", |text| by_mac(b"", text)), "signature"),
        (offline(&world, &hs, "HS512", "c", |text| by_mac(&secret, text)), "algorithm"),
        (offline(&world, &hs, "none", "c", |_| Vec::new()), "algorithm"),
        (offline(&world, &world.key.id, "HS256", "c", |text| by_mac(&secret, text)), "algorithm"),
    ];
    for (token, reason) in bad {
        assert_eq!(world.refusal(&token).await, Some(reason));
    }
}

#[tokio::test]
async fn what_was_taken_back_is_refused_from_the_next_token_on() {
    let world = world().await;
    let (store, project) = (&world.store, world.key.project.clone());
    let secret = vec![9; 32];
    let mac = |text: &[u8]| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), text).as_ref().to_vec()
    };
    let pair = Ed25519KeyPair::generate().unwrap();
    let public = pair.public_key().as_ref().to_vec();
    let sign = |text: &[u8]| pair.sign(text).as_ref().to_vec();
    // The end of a key.
    let ended = register(&world, Verifier::HmacSha256(secret.clone()), Some(NOW * 1000)).await;
    let token = offline(&world, &ended, "HS256", "a", mac);
    assert_eq!(world.refusal(&token).await, Some("expired_key"));
    // The revocation of a key, told only to who has a right signature.
    let key = register(&world, Verifier::Ed25519(public), None).await;
    let token = |jti: &str| offline(&world, &key, "EdDSA", jti, sign);
    let next = key::generate(&project).unwrap();
    assert!(store.revoke_token(&project, (Some(&key), "r"), u64::MAX, &author()).await.unwrap());
    assert_eq!(world.refusal(&token("r")).await, Some("revoked"));
    assert!(store.revoke_token(&project, (None, "s"), u64::MAX, &author()).await.unwrap());
    assert_eq!(world.refusal(&token("s")).await, Some("revoked"));
    let foreign = store.revoke_token("pj_other", (Some(&key), "t"), 1, &author()).await;
    assert!(!foreign.unwrap());
    // A ban, of the room and of the project.
    let ban = Ban { handle: Handle::parse("user-1").unwrap(), until_ms: None };
    for room in [None, Some(world.room)] {
        let row = store.ban(&project, room, &ban, &author()).await.unwrap();
        let id = row.ok().unwrap().id;
        assert_eq!(world.refusal(&token("u")).await, Some("banned"));
        assert!(store.unban("pj_other", &id, &author()).await.unwrap().is_none());
        assert!(store.unban(&project, &id, &author()).await.unwrap().is_some());
    }
    let other = new_room(store, &project).await;
    store.ban(&project, Some(other), &ban, &author()).await.unwrap().ok().unwrap();
    assert_eq!(world.refusal(&token("u")).await, None, "a ban used no token up");
    // Suspension.
    let state = |state| UpdateProject { state: Some(state), ..UpdateProject::default() };
    store.update_project(&project, &state(ProjectState::Suspended), &author()).await.unwrap();
    assert_eq!(world.refusal(&token("v")).await, Some("suspended"));
    store.update_project(&project, &state(ProjectState::Active), &author()).await.unwrap();
    assert_eq!(world.refusal(&token("v")).await, None);
    assert!(store.revoke_token_key((&project, &key), &next, &author()).await.unwrap());
    assert_eq!(world.refusal(&token("w")).await, Some("revoked_key"));

    // One of ours is replaced, so that tokens can be minted.
    assert!(store.revoke_token_key((&project, &world.key.id), &next, &author()).await.unwrap());
    assert_eq!(world.refusal(&world.good()).await, Some("revoked_key"));
    let now = store.signing_key_of(&project).await.unwrap().unwrap();
    assert_eq!(now.id, next.id);
}
