//! Recordings: rules, states and what became of them, shared by REST, the WebSocket and the events.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    handle::Handle,
    limits,
    problem::FieldError,
    rest::{collect, range},
    ws::{Role, Source},
};

/// What a recording is made into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// A file for each track, as it was sent.
    Tracks,
    /// One picture with the sound of all: MP4, H.264 and AAC.
    Composite,
    /// The sound of all, without a picture.
    AudioMix,
    /// The composite as HLS. Needs `composite`.
    Hls,
    /// What was written down, as it is, in pieces that are pushed while the recording goes on; `conclave
    /// recording extract` makes tracks of them. With masks only `unmasked_recipients` get it.
    Journal,
}

/// How a composite is laid out.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Everybody, in tiles of one size.
    #[default]
    Grid,
    /// Who speaks large, the others small beside.
    Speaker,
}

/// Part of a picture that a composite does not show; in thousandths of the picture's width and height.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// Pictures of which source.
    pub source: Source,
    /// Only of participants with this handle; none is of everybody. A handle that nobody has masks nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<Handle>,
    /// Left edge.
    #[schema(minimum = 0, maximum = 999)]
    pub x: u32,
    /// Upper edge.
    #[schema(minimum = 0, maximum = 999)]
    pub y: u32,
    /// Width.
    #[schema(minimum = 1, maximum = 1000)]
    pub width: u32,
    /// Height.
    #[schema(minimum = 1, maximum = 1000)]
    pub height: u32,
    /// Solid black, instead of a blur that nothing can be read through.
    #[serde(default)]
    pub solid: bool,
}

/// Without the handle, which stays out of logs.
impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, handle: _, x, y, width, height, solid } = self;
        f.debug_struct("Mask")
            .field("source", source)
            .field("region", &(x, y, width, height, solid))
            .finish_non_exhaustive()
    }
}

/// What is recorded and what it is made into. What is not named is as the project's policy says, or
/// the default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordingRule {
    /// Whether it starts by itself, with the first participant of each session of the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(default = false)]
    pub auto: Option<bool>,
    /// Whether only tracks of participants who consented are recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(default = false)]
    pub consent: Option<bool>,
    /// Whether tracks are recorded too of publishers who cannot be told that they are: those who speak
    /// WHIP. They cannot consent either: where `consent` is asked for they are left out all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(default = false)]
    pub untold: Option<bool>,
    /// Whether the texts (`data`) are recorded that participants send each other: those of whom tracks
    /// would be recorded; one to named participants only where that holds for each of them too. They
    /// are delivered as `data.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(default = false)]
    pub data: Option<bool>,
    /// Which sources; none named is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 4)]
    pub sources: Vec<Source>,
    /// Tracks of participants in which roles; none named is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 3)]
    pub roles: Vec<Role>,
    /// What it is made into; none named is `tracks`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 5)]
    pub outputs: Vec<Output>,
    /// Layout of a composite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// Lines of a composite's picture: 720 or 1080.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 720, maximum = 1080, default = 720)]
    pub height: Option<u32>,
    /// What a composite does not show. The tracks that a mask is of are then not delivered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 8)]
    pub masks: Vec<Mask>,
    /// Public keys of age (`age1…`) that masked tracks are sealed to, so that a mask can be
    /// lifted by who has such a key; none: what is masked is gone for good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 10)]
    pub unmasked_recipients: Vec<String>,
    /// Storage target (`st_…`), instead of the project's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^st_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    pub target: Option<String>,
}

impl RecordingRule {
    /// With what `over` names.
    #[must_use]
    pub fn with(&self, over: &Self) -> Self {
        fn list<T: Clone>(a: &[T], b: &[T]) -> Vec<T> {
            if b.is_empty() { a.to_vec() } else { b.to_vec() }
        }
        Self {
            auto: over.auto.or(self.auto),
            consent: over.consent.or(self.consent),
            untold: over.untold.or(self.untold),
            data: over.data.or(self.data),
            sources: list(&self.sources, &over.sources),
            roles: list(&self.roles, &over.roles),
            outputs: list(&self.outputs, &over.outputs),
            layout: over.layout.or(self.layout),
            height: over.height.or(self.height),
            masks: list(&self.masks, &over.masks),
            unmasked_recipients: list(&self.unmasked_recipients, &over.unmasked_recipients),
            target: over.target.clone().or_else(|| self.target.clone()),
        }
    }

    /// Checks ranges and what fits together; `field` is where the rule stands.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self, field: &str) -> Result<(), Vec<FieldError>> {
        let wrong = |is: bool, name: &str, why: &str| {
            is.then(|| FieldError::new(&format!("{field}.{name}"), why.to_owned()))
        };
        let has = |output| self.outputs.contains(&output);
        let beyond = |mask: &Mask| mask.x + mask.width > 1000 || mask.y + mask.height > 1000;
        let height = self.height.unwrap_or(720);
        let target = self.target.as_deref().unwrap_or("st_0");
        let masks = u32::try_from(self.masks.len()).unwrap_or(u32::MAX);
        let unmasked = u32::try_from(self.unmasked_recipients.len()).unwrap_or(u32::MAX);
        let no_keys = !self.unmasked_recipients.iter().all(|key| is_recipient(key));
        let unmasked_field = format!("{field}.unmasked_recipients");
        collect([
            range(&format!("{field}.masks"), masks, 0, limits::MASKS_MAX),
            range(&unmasked_field, unmasked, 0, limits::RECIPIENTS_MAX),
            wrong(no_keys, "unmasked_recipients", "must be public keys of age (age1…)"),
            wrong(height != 720 && height != 1080, "height", "must be 720 or 1080"),
            wrong(repeats(&self.sources), "sources", "names one twice"),
            wrong(repeats(&self.roles), "roles", "names one twice"),
            wrong(repeats(&self.outputs), "outputs", "names one twice"),
            wrong(has(Output::Hls) && !has(Output::Composite), "outputs", "hls needs composite"),
            wrong(self.masks.iter().any(empty), "masks", "has an empty one"),
            wrong(self.masks.iter().any(beyond), "masks", "reaches beyond the picture"),
            wrong(!target.starts_with("st_"), "target", "is not the id of a storage target"),
        ])
    }
}

fn empty(mask: &Mask) -> bool {
    mask.width == 0 || mask.height == 0 || mask.x >= 1000 || mask.y >= 1000
}

/// Whether a text is a public key of age as it is written: Bech32 (BIP 173) of 32 bytes. A mistyped
/// letter is noticed here, not when the files are sealed.
pub(crate) fn is_recipient(key: &str) -> bool {
    const LETTERS: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let Some(data) = key.strip_prefix("age1").filter(|_| key.len() == 62) else { return false };
    let Some(data) = data.chars().map(|c| LETTERS.find(c)).collect::<Option<Vec<usize>>>() else {
        return false;
    };
    // The high bits of "age", a zero, the low bits.
    let prefix = "age".bytes().map(|b| b >> 5).chain([0]).chain("age".bytes().map(|b| b & 31));
    let values = prefix.map(u32::from).chain(data.into_iter().map(|value| value as u32));
    let checksum = values.fold(1u32, |sum, value| {
        let shifted = (sum & 0x01ff_ffff) << 5 ^ value;
        let bits = GENERATOR.iter().enumerate().filter(|(i, _)| sum >> 25 >> i & 1 == 1);
        bits.fold(shifted, |sum, (_, generator)| sum ^ generator)
    });
    checksum == 1
}

fn repeats<T: PartialEq>(list: &[T]) -> bool {
    (1..list.len()).any(|i| list[..i].contains(&list[i]))
}

/// State of a recording.
///
/// ```text
/// recording ⇄ paused ─▶ recorded ─▶ finalizing ─▶ pushing ─▶ delivered ─▶ purging ─▶ purged
///                    any before purging may be held; push_blocked ⇄ pushing; too old, deleted ─▶ purging
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingState {
    /// Media is written down.
    Recording,
    /// Waits; nothing is written down.
    Paused,
    /// Over; files are not made yet.
    Recorded,
    /// Files are being made and sealed.
    Finalizing,
    /// Files are on their way to the partner's storage.
    Pushing,
    /// The storage refuses; somebody must act (see `blocked`).
    PushBlocked,
    /// Every file was verified in the partner's storage; what is here is about to be purged.
    Delivered,
    /// Its key and its files are being destroyed; it cannot be held any more.
    Purging,
    /// Nothing of it is here any more: its key is destroyed, its files are deleted. `receipt` proves it.
    Purged,
}

impl RecordingState {
    /// As on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Paused => "paused",
            Self::Recorded => "recorded",
            Self::Finalizing => "finalizing",
            Self::Pushing => "pushing",
            Self::PushBlocked => "push_blocked",
            Self::Delivered => "delivered",
            Self::Purging => "purging",
            Self::Purged => "purged",
        }
    }

    /// Whether media is, or may again be, written down.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Recording | Self::Paused)
    }
}

/// Why a recording stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Asked for by the partner or a moderator.
    Requested,
    /// The room ended.
    RoomEnded,
    /// Nobody was in the room for too long.
    Empty,
    /// It lasted as long as one may.
    Duration,
    /// The recorder's disk is full; what was written before is safe.
    DiskFull,
    /// The recorder has no room for one more.
    NoCapacity,
    /// The recorder's disk refuses, the recorder has a defect, or it was away for too long; what was
    /// written before is safe.
    RecorderFailed,
    /// The media node or the recorder was lost; what was written before is safe.
    NodeLost,
}

/// Why a recording was purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PurgeReason {
    /// Delivered and verified.
    Delivered,
    /// Older than one may get; not delivered.
    Expired,
    /// Deleted by the partner; not delivered.
    Deleted,
    /// Nothing was recorded.
    Empty,
    /// What was written down could not be read.
    Unreadable,
    /// Older than one may get while the recorder's disk, on which it was, was missing; not delivered.
    Lost,
}

/// Who must act when a push is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// Whoever runs the storage or its credentials.
    Partner,
    /// Whoever runs this server.
    Operator,
}

/// Why a push is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlockReason {
    /// The project has no storage target, or it was deleted.
    NoTarget,
    /// The storage does not accept the credentials, or they do not allow it; or it shows another SSH host key.
    Credentials,
    /// The bucket or folder does not exist.
    NotFound,
    /// The operator's rules forbid the address, or it has no TLS.
    AddressForbidden,
    /// The storage has no room.
    Full,
    /// What arrived is not what was sent, again and again.
    Checksum,
    /// The storage refuses for another reason.
    Refused,
    /// The operator's storage area for exports is missing.
    LocalFolder,
    /// The recorder's disk, on which it was written down, is missing.
    SpoolMissing,
    /// The recorder's disk has no room for its files.
    SpoolFull,
}

impl BlockReason {
    /// Who must act.
    #[must_use]
    pub const fn blame(self) -> Blame {
        match self {
            Self::AddressForbidden | Self::LocalFolder | Self::SpoolMissing | Self::SpoolFull => {
                Blame::Operator
            }
            _ => Blame::Partner,
        }
    }
}

/// What the participants of a room are told about its recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordingInfo {
    /// `rc_…`.
    pub id: String,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether only those are recorded who consented.
    pub consent: bool,
    /// Which sources are recorded.
    pub sources: Vec<Source>,
    /// Whether texts that participants send each other are recorded too. One to named participants is
    /// only if all of them may be recorded as well: those who consented, where `consent` says so.
    pub data: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_mistyped_public_key_is_noticed() {
        let keys = [
            "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
            "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",
        ];
        for key in keys {
            assert!(is_recipient(key));
            for at in 4..key.len() {
                let other = if &key[at..=at] == "q" { "p" } else { "q" };
                let wrong = format!("{}{other}{}", &key[..at], &key[at + 1..]);
                assert!(!is_recipient(&wrong), "{wrong}");
            }
        }
        assert!(!is_recipient("age1") && !is_recipient(&keys[0].to_uppercase()));
        assert!(!is_recipient(&format!("{}é", &keys[0][..60])));
    }

    #[test]
    fn whose_picture_is_masked_is_not_told_to_logs() {
        let json = r#"{"source":"camera","handle":"user-7","x":0,"y":0,"width":9,"height":9,"solid":false}"#;
        let mask: Mask = serde_json::from_str(json).unwrap();
        assert!(!format!("{mask:?}").contains("user-7"));
        assert_eq!(serde_json::to_string(&mask).unwrap(), json);
        let refused = json.replace("user-7", "Anna.Schmidt@example.org");
        assert!(serde_json::from_str::<Mask>(&refused).is_err());
    }

    #[test]
    fn rules_are_checked_and_laid_over_each_other() {
        let rule = RecordingRule {
            outputs: vec![Output::Hls, Output::Hls],
            height: Some(480),
            masks: vec![Mask {
                source: Source::Camera,
                handle: None,
                x: 900,
                y: 0,
                width: 200,
                height: 10,
                solid: true,
            }],
            unmasked_recipients: vec!["AGE-SECRET-KEY-1".to_owned()],
            target: Some("bucket".to_owned()),
            ..RecordingRule::default()
        };
        assert_eq!(rule.check("rule").map_err(|errors| errors.len()), Err(6));
        let policy =
            RecordingRule { consent: Some(true), height: Some(1080), ..Default::default() };
        let over = RecordingRule { height: Some(720), data: Some(true), ..Default::default() };
        let both = policy.with(&over);
        assert_eq!((both.consent, both.height, both.data), (Some(true), Some(720), Some(true)));
        let less = RecordingRule { data: Some(false), ..Default::default() };
        assert_eq!((both.with(&less).data, less.with(&both).data), (Some(false), Some(true)));
        assert!(both.check("rule").is_ok());
    }
}
