//! Keys, token keys and quotas in both databases.
#![allow(clippy::unwrap_used, reason = "tests")]

use sdk_spec::{
    handle::Handle,
    limits::TOKEN_KEYS_MAX,
    rest::operator::{SetQuotas, UpdateProject},
    room::{Kind, RoomSettings},
    ws::LeaveReason,
};
use sfu_proto::id::RoomId;

use super::*;
use crate::{
    admin,
    domain::{Ban, Charter},
    secret,
    store::{
        NewRoom, NewTokenKey, Verifier,
        testing::{Place, on_both},
    },
    token::key,
};

on_both!(
    keys_from_before_the_data_key_stay_good_and_are_sealed,
    the_number_of_keys_is_bounded_even_in_a_race,
    a_partner_goes_only_without_projects,
    what_is_over_is_purged,
    token_keys_are_bounded_and_their_secrets_sealed,
);

/// A store with a project.
struct World {
    store: Store,
    project: String,
    _place: Place,
}

async fn world(place: Place) -> World {
    let store = place.open().await;
    let project = admin::create_project(&store, "test").await.unwrap().id;
    World { store, project, _place: place }
}

fn author() -> Author {
    Author::new(Actor::System, 1000)
}

async fn keys_from_before_the_data_key_stay_good_and_are_sealed(place: Place) {
    let world = world(place).await;
    let (store, secret) = (&world.store, b"secret-text");
    let old = key::generate(&world.project).unwrap();
    let mut tx = store.write().await.unwrap();
    sqlx::query(
        "INSERT INTO api_keys (id, project, secret_hash, scopes, created_at) \
         VALUES ('old', $1, $2, 'rooms:read', 1)",
    )
    .bind(&world.project)
    .bind(sha256(secret).to_vec())
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO signing_keys (id, project, algorithm, private_key, public_key, created_at) \
         VALUES ('sk_old', $1, 'EdDSA', $2, $3, $4)",
    )
    .bind(&world.project)
    .bind(&old.private_key)
    .bind(&old.public_key)
    .bind(i64::MAX)
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    for _ in 0..2 {
        store.key_old_hashes().await.unwrap();
        store.seal_old_keys().await.unwrap();
        let key = store.api_key("old").await.unwrap().unwrap();
        assert!(key.matches(&store.vault().hash_secret(secret), 5));
        assert!(!key.matches(&store.vault().hash_secret(b"other"), 5));
        let now = store.signing_key_of(&world.project).await.unwrap().unwrap();
        assert!(now.id == "sk_old" && now.private_key == old.private_key);
    }
    let row = sqlx::query("SELECT private_key FROM signing_keys WHERE id = 'sk_old'");
    let row = row.fetch_one(&store.readers).await.unwrap();
    let kept: Vec<u8> = row.try_get("private_key").unwrap();
    let seed = &old.private_key[16..];
    assert!(!kept.windows(seed.len()).any(|w| w == seed), "sealed");
}

async fn the_number_of_keys_is_bounded_even_in_a_race(place: Place) {
    let world = world(place).await;
    let quotas = SetQuotas { keys: Some(3), ..SetQuotas::default() };
    let wish = UpdateProject { quotas, ..UpdateProject::default() };
    let project = world.store.update_project(&world.project, &wish, &author()).await.unwrap();
    let project = project.unwrap();
    assert_eq!((project.quotas.keys, project.quotas.rooms), (3, Quotas::default().rooms));
    let makes = (0..12).map(|_| {
        let (store, project) = (world.store.clone(), world.project.clone());
        tokio::spawn(async move { admin::create_key(&store, &project, &[]).await.is_ok() })
    });
    let mut made = 0;
    for make in makes.collect::<Vec<_>>() {
        made += u32::from(make.await.unwrap());
    }
    assert_eq!(made, 3);
    assert_eq!(world.store.used(&world.project, 1).await.unwrap().keys, 3);
}

async fn a_partner_goes_only_without_projects(place: Place) {
    let world = world(place).await;
    let busy = world.store.project(&world.project).await.unwrap().unwrap().partner;
    let idle = admin::create_partner(&world.store, "idle").await.unwrap().id;
    assert!(world.store.rename_partner(&idle, "new", &author()).await.unwrap());
    assert_eq!(world.store.partner(&idle).await.unwrap().unwrap().label, "new");
    assert_eq!(world.store.delete_partner(&busy, &author()).await.unwrap(), Some(false));
    assert_eq!(world.store.delete_partner(&idle, &author()).await.unwrap(), Some(true));
    assert_eq!(world.store.delete_partner(&idle, &author()).await.unwrap(), None);
    assert_eq!(admin::list_partners(&world.store).await.unwrap().len(), 1);
    let orphan = admin::create_project_of(&world.store, &idle, "x").await;
    assert!(matches!(orphan, Err(admin::AdminError::NoPartner)));
}

async fn what_is_over_is_purged(place: Place) {
    let world = world(place).await;
    let (store, project) = (&world.store, &world.project);
    let room = NewRoom {
        id: RoomId::from_bits(secret::random_bits()),
        project: project.clone(),
        created_at_ms: 1,
        commits: 0,
        charter: Charter::new(Kind::AdHoc, &RoomSettings::default()),
    };
    store.create_room(&room, &Actor::System, 10, None).await.unwrap().unwrap();
    let ban = |handle: &str, until_ms| Ban { handle: Handle::parse(handle).unwrap(), until_ms };
    let bans = [
        (None, ban("user-1", Some(1500))),
        (None, ban("user-2", None)),
        (Some(room.id), ban("user-3", None)),
    ];
    for (room, ban) in &bans {
        store.ban(project, *room, ban, &author()).await.unwrap().ok().unwrap();
    }
    assert_eq!(store.ban_page(project, 1500, None, 10).await.unwrap().len(), 2);
    assert_eq!(store.ban_page(project, 1400, None, 10).await.unwrap().len(), 3);
    store.purge(2000).await.unwrap();
    assert_eq!(store.ban_page(project, 0, None, 10).await.unwrap().len(), 2);
    let ended = store.end_room((project, room.id), LeaveReason::RoomClosed, None, 2500).await;
    assert!(ended.unwrap());
    store.purge(3000).await.unwrap();
    assert_eq!(store.ban_page(project, 0, None, 10).await.unwrap().len(), 1);
    let key = admin::create_key(store, project, &[]).await.unwrap();
    admin::revoke_key(store, &key.id).await.unwrap();
    assert_eq!(store.api_keys(project).await.unwrap().len(), 1);
    store.purge(u64::MAX / 2).await.unwrap();
    assert!(store.api_keys(project).await.unwrap().is_empty());
}

async fn token_keys_are_bounded_and_their_secrets_sealed(place: Place) {
    let world = world(place).await;
    let store = &world.store;
    let mut made = 1; // Ours.
    loop {
        let key = NewTokenKey {
            id: secret::opaque_id("tk_"),
            project: world.project.clone(),
            name: None,
            not_after_ms: None,
            verifier: Verifier::HmacSha256(vec![made as u8; 32]),
        };
        match store.insert_token_key(&key, &author(), None).await.unwrap() {
            Creation::Made => made += 1,
            Creation::Full => break,
            _ => panic!("neither made nor full"),
        }
        let known = store.verifying_key(&key.id).await.unwrap().unwrap();
        assert!(matches!(known.verifier, Verifier::HmacSha256(secret) if secret.len() == 32));
        assert!(store.token_key("pj_other", &key.id).await.unwrap().is_none());
    }
    assert_eq!(made, TOKEN_KEYS_MAX);
    let page = store.token_keys(&world.project, None, 100).await.unwrap();
    assert_eq!(page.len() as u32, TOKEN_KEYS_MAX);
}
