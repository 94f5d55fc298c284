//! Tokens for those who are moved or invited to another room.

use std::sync::Arc;

use sdk_spec::{
    limits::TOKEN_SECONDS_DEFAULT,
    token::{AUDIENCE, Claims},
};
use sfu_proto::id::{ParticipantId, RoomId};

use super::{Input, Rooms};
use crate::{
    clock,
    domain::{Admission, Ask, Reply},
    limits, secret,
    store::SigningKey,
    token,
};

/// Where somebody is sent.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) room: RoomId,
    /// It decides then what a participant comes as: this room must give no right to that one.
    pub(super) is_parent: bool,
}

/// Mints a token for `to` for each participant of `from` and hands it to `from`. Those for whom it
/// does not work stay where they are.
pub(super) async fn transfer(
    rooms: Arc<Rooms>,
    (project, from): (Arc<str>, RoomId),
    participants: Vec<(ParticipantId, Admission)>,
    to: Target,
    invited: bool,
) {
    let Some(key) = key(&rooms, &project).await else { return };
    for (participant, who) in participants {
        let Some(who) = received(&rooms, to, who).await else { continue };
        let room = to.room;
        match token::mint(&key, &claims(&project, room, who)) {
            Ok(token) => {
                rooms.send(from, Input::Ticket { participant, room, token, invited }).await;
            }
            Err(error) => tracing::error!(room = %from, %error, "nobody can be moved"),
        }
    }
}

/// What somebody comes to a room as; `None` when it may not.
async fn received(rooms: &Rooms, to: Target, who: Admission) -> Option<Admission> {
    if !to.is_parent {
        return Some(who);
    }
    match rooms.ask(to.room, Ask::Return { who }).await {
        Ok(Reply::Returns(who)) => Some(who),
        Ok(_) | Err(_) => None,
    }
}

/// The project's key, from a store that may fail for a while.
async fn key(rooms: &Rooms, project: &str) -> Option<SigningKey> {
    let mut pause = limits::JOURNAL_AGAIN;
    for _ in 0..limits::TRANSFER_TRIES_MAX {
        match rooms.store.signing_key_of(project).await {
            Ok(key) => return key,
            Err(error) => tracing::warn!(%error, "nobody can be moved yet"),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    None
}

fn claims(project: &str, room: RoomId, who: Admission) -> Claims {
    let iat = clock::now_ms() / 1000;
    Claims {
        iss: project.to_owned(),
        aud: AUDIENCE.to_owned(),
        room: room.to_string(),
        handle: who.handle,
        role: who.role,
        grants: who.grants,
        jti: secret::opaque_id(""),
        iat,
        nbf: iat,
        exp: iat + u64::from(TOKEN_SECONDS_DEFAULT),
    }
}
