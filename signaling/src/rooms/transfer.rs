//! Tokens for those who are moved or invited to another room.

use std::sync::Arc;

use sdk_spec::{
    limits::TOKEN_SECONDS_DEFAULT,
    token::{AUDIENCE, Claims},
};
use sfu_proto::id::{ParticipantId, RoomId};

use super::{Input, Rooms};
use crate::{clock, domain::Admission, limits, secret, store::SigningKey, token};

/// Mints a token for `to` for each participant of `from` and hands it to `from`. Those for whom it
/// does not work stay where they are.
pub(super) async fn transfer(
    rooms: Arc<Rooms>,
    (project, from): (Arc<str>, RoomId),
    participants: Vec<(ParticipantId, Admission)>,
    to: RoomId,
    invited: bool,
) {
    let Some(key) = key(&rooms, &project).await else { return };
    for (participant, who) in participants {
        match token::mint(&key, &claims(&project, to, who)) {
            Ok(token) => {
                rooms.send(from, Input::Ticket { participant, room: to, token, invited }).await;
            }
            Err(error) => tracing::error!(room = %from, %error, "nobody can be moved"),
        }
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
