//! Every error with its meaning and its remedy.

use schemars::{JsonSchema, SchemaGenerator};

use crate::{
    action::ActionRefusal,
    problem::Code,
    ws::{CLOSE_CODES, ErrorCode, LeaveReason},
};

/// `docs/errors.md`.
pub fn errors_md() -> String {
    let mut out = String::from(
        "# Errors\n\nWritten by `cargo run -p sdk-spec --bin generate`. A code keeps its meaning for as long as \
         `/v1` stands; new ones may come.\n\n## Problems of REST, WHIP and WHEP\n\nEvery failure is an \
         `application/problem+json` (RFC 9457) with `code`, `remedy`, and `detail` or `errors` where \
         there is more to say. `type` is `urn:conclave:problem:` and the code.\n\n\
         | code | status | meaning | remedy |\n|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let status = code.status();
        out += &row(&[
            &format!("`{}`", code.as_str()),
            &status.to_string(),
            code.title(),
            code.remedy(),
        ]);
    }
    out += "\n## Errors of the WebSocket\n\n`error.code` of the message `error`. With `fatal` the \
            socket closes.\n\n| code | meaning | remedy |\n|---|---|---|\n";
    out += &listed::<ErrorCode>(|code| error_remedy(*code));
    out += "\n## Refused actions\n\n`refused` of the message `acted`; by REST the problem that is \
            named.\n\n| code | meaning | remedy |\n|---|---|---|\n";
    out += &listed::<ActionRefusal>(|refusal| refusal_remedy(*refusal));
    out += "\n## Ends of a session\n\n`reason` of the messages `left` and `participant_left` and of \
            the event `participant.left`.\n\n| reason | meaning | the client |\n|---|---|---|\n";
    out += &listed::<LeaveReason>(|reason| after_leaving(*reason));
    out += "\n## Close codes of the WebSocket\n\n| code | after | the client |\n|---|---|---|\n";
    for (code, after, client) in CLOSE_CODES {
        out += &row(&[&code.to_string(), after, client]);
    }
    out
}

fn row(cells: &[&str]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// A row for each value of an enum: its name on the wire, its documentation, what to do.
fn listed<T: JsonSchema + serde::de::DeserializeOwned>(
    remedy: impl Fn(&T) -> &'static str,
) -> String {
    let schema = T::json_schema(&mut SchemaGenerator::default()).to_value();
    let mut out = String::new();
    for variant in schema["oneOf"].as_array().into_iter().flatten() {
        let meaning = variant["description"].as_str().unwrap_or_default().replace('\n', " ");
        let Ok(value) = serde_json::from_value::<T>(variant["const"].clone()) else { continue };
        let name = variant["const"].as_str().unwrap_or_default();
        out += &row(&[&format!("`{name}`"), meaning.trim_end_matches('.'), remedy(&value)]);
    }
    out
}

fn error_remedy(code: ErrorCode) -> &'static str {
    use ErrorCode as E;
    const DEFECT: &str = "Use a current SDK; if it is, report this.";
    match code {
        E::TokenRefused | E::ResumeRefused => "Mint a new token and join with it.",
        E::RoomFull => {
            "Wait until somebody leaves, or raise `participants_max`; come with a new token."
        }
        E::RoomLocked => "Ask a moderator to unlock the room; come with a new token.",
        E::RoomNotOpen => "Come 15 minutes before `starts_at`, with a new token.",
        E::Banned => "Lift the ban, then mint a new token.",
        E::DuplicateHandle => {
            "Leave with the other client, or set `duplicate_handles` to `replace`."
        }
        E::MalformedMessage | E::UnexpectedMessage | E::MessageTooLarge => DEFECT,
        E::RateLimited => "Send fewer messages; join again.",
        E::Timeout => "Send `join` or `resume` at once after the connection opens.",
        E::MalformedSdp => "Send the browser's own offer, unchanged.",
        E::OfferRefused => "See `message`; make the offer anew.",
        E::NotPermitted => "Mint a token with the grants that the client needs.",
        E::UnknownTrack => "Use ids from the last answer and from `track_published`.",
        E::NoMediaNode => "Try again in some seconds with a new token.",
        E::NoCapacity => "Offer again later, or with fewer sections.",
        E::Internal => "Try again with a new token; if it stays, report the time.",
    }
}

fn refusal_remedy(refusal: ActionRefusal) -> &'static str {
    use ActionRefusal as R;
    match refusal {
        R::NotPermitted => "Mint a token with the role or grant. Problem `not_permitted`.",
        R::UnknownParticipant | R::UnknownTrack | R::UnknownRoom => {
            "Read who and what is there now. Problem `action_refused`."
        }
        R::OutOfRange => "See the limits in openapi.json. Problem `invalid_field`.",
        R::WrongState => "Read the room, then decide again. Problem `action_refused`.",
        R::FloorTaken => "Release the floor first, or raise `floor_max`. Problem `action_refused`.",
        R::VersionMismatch => "Read the room and send its `ETag`. Problem `version_mismatch`.",
        R::NotConfigured => {
            "Set recipients and a storage target in the recording policy. Problem `action_refused`."
        }
        R::Unavailable => "Try again in some seconds. Problem `unavailable`.",
        R::QuotaExceeded => "Create fewer, or end others first. Problem `quota_exceeded`.",
        R::RecorderFull => "Try again in some seconds. Problem `recorder_full`.",
    }
}

fn after_leaving(reason: LeaveReason) -> &'static str {
    use LeaveReason as L;
    match reason {
        L::Left | L::RoomClosed => "is done",
        L::Timeout | L::ServerError => "joins again with a new token",
        L::Removed => "tells the user; joins again only if no ban holds",
        L::Denied => "tells the user; may knock again with a new token",
        L::Replaced => "does nothing: the same handle goes on elsewhere",
        L::Moved => "is in the other room",
        L::ProtocolError => "has a defect",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_of_every_list_stands_in_the_page() {
        let page = errors_md();
        for code in Code::ALL {
            assert!(page.contains(&format!("| `{}` | {} |", code.as_str(), code.status())));
        }
        for name in ["no_capacity", "duplicate_handle", "floor_taken", "protocol_error", "moved"] {
            assert!(page.contains(&format!("| `{name}` | ")), "{name}");
        }
        assert_eq!(page.matches("| `not_permitted` | ").count(), 3);
        assert!(page.lines().filter(|l| l.starts_with('|')).all(|l| !l.contains("|  |")));
    }
}
