// Generated from sdk-spec/asyncapi.json by scripts/protocol.mjs (npm run generate).

/** One act of moderation. Participants are named by participant id (`pa_…`), tracks by track id. */
export type Action =
  | {
      type: 'update';
      /** The new settings. */
      settings: RoomSettings;
    }
  | {
      type: 'admit';
      /** Who. Empty: everybody who waits. */
      participants?: string[];
    }
  | {
      type: 'deny';
      /** Who. Empty: everybody who waits. */
      participants?: string[];
    }
  | {
      type: 'eject';
      /** Seconds for which its handle may not come back into this room; 0 is no ban, none is for
       * as long as the room lives. */
      ban_seconds?: number | null;
      /** Who. */
      participant: string;
    }
  | {
      type: 'set_role';
      /** The new grants; without them those of the token hold, within the new role. */
      grants?: Grants | null;
      /** Who. */
      participant: string;
      /** The new role. */
      role: Role;
    }
  | {
      type: 'mute';
      /** Whether it is muted or lifted. */
      muted: boolean;
      /** Who. None: everybody but moderators, those who come later too. */
      participant?: string | null;
      /** What. Empty: everything. */
      sources?: Source[];
    }
  | {
      type: 'grant_floor';
      /** Who. */
      participant: string;
    }
  | {
      type: 'deny_floor';
      /** Who. */
      participant: string;
    }
  | {
      type: 'release_floor';
      /** Who. None: from everybody, and every request is forgotten. */
      participant?: string | null;
    }
  | {
      type: 'spotlight';
      /** Who, most important first; at most 10. */
      participants: string[];
    }
  | {
      type: 'pin';
      /** Which, most important first; at most 10. */
      tracks: string[];
    }
  | {
      type: 'set_audience';
      /** The rule. */
      audience: Audience;
      /** Who. */
      participant: string;
    }
  | {
      type: 'extend';
      /** By how many seconds. */
      seconds: number;
    }
  | {
      type: 'close';
    }
  | {
      type: 'create_breakouts';
      /** Seconds after which everybody is moved back and they close. */
      duration_seconds?: number | null;
      /** At most 50. */
      rooms: BreakoutSpec[];
    }
  | {
      type: 'move';
      /** Who; at most 100. */
      participants: string[];
      /** Where (`rm_…`). */
      room: string;
    }
  | {
      type: 'invite';
      /** Who; at most 100. */
      participants: string[];
      /** Where (`rm_…`). */
      room: string;
    }
  | {
      type: 'close_breakouts';
    }
  | {
      type: 'start_recording';
      /** What is not named is as the room's settings say, then the project's policy. Clients name
       * nothing. */
      rule?: RecordingRule | null;
    }
  | {
      type: 'pause_recording';
    }
  | {
      type: 'resume_recording';
    }
  | {
      type: 'stop_recording';
    };

/** Why an action was refused. */
export type ActionRefusal =
  | 'not_permitted'
  | 'unknown_participant'
  | 'unknown_track'
  | 'unknown_room'
  | 'out_of_range'
  | 'wrong_state'
  | 'floor_taken'
  | 'not_configured'
  | 'version_mismatch'
  | 'unavailable'
  | 'quota_exceeded'
  | 'recorder_full';

/** What an action gave. */
export interface ActionResult {
  /** Rooms that were created. */
  breakouts?: Breakout[];
  /** Participants that it had an effect on. */
  participants: number;
  /** The recording that it was about (`rc_…`). */
  recording?: string | null;
  /** Version of the room after it; the `ETag` of REST. */
  version: number;
}

/** A participant's rule about whom it sees and hears. */
export type Audience =
  | {
      rule: 'all';
    }
  | {
      rule: 'moderators';
    }
  | {
      rule: 'only';
      /** At most 100. */
      participants: string[];
    }
  | {
      rule: 'except';
      /** At most 100. */
      participants: string[];
    };

/** A breakout room as its parent shows it. */
export interface Breakout {
  /** When everybody is moved back, if it was said. */
  ends_at?: Timestamp | null;
  /** The partner's own name for it. */
  reference?: Handle | null;
  /** `rm_…`. */
  room: string;
}

/** A breakout room to be created. */
export interface BreakoutSpec {
  /** Participants that are moved into it at once (participant ids). */
  participants?: string[];
  /** The partner's own opaque name for it. */
  reference?: Handle | null;
}

/** Limits for a client. */
export interface ClientLimits {
  /** Most receiving audio m-sections. */
  audio_slots_max: number;
  /** Largest message in bytes. */
  message_bytes_max: number;
  /** Most receiving video m-sections. */
  video_slots_max: number;
}

/** What happens when a handle joins that is in the room already. */
export type DuplicateHandles = 'reject' | 'replace';

/** Codes of `ServerMessage::Error`. */
export type ErrorCode =
  | 'token_refused'
  | 'resume_refused'
  | 'room_full'
  | 'room_locked'
  | 'room_not_open'
  | 'banned'
  | 'duplicate_handle'
  | 'malformed_message'
  | 'unexpected_message'
  | 'message_too_large'
  | 'rate_limited'
  | 'timeout'
  | 'malformed_sdp'
  | 'offer_refused'
  | 'not_permitted'
  | 'unknown_track'
  | 'no_media_node'
  | 'no_capacity'
  | 'internal';

/** What went wrong and what to do about it. */
export interface ErrorInfo {
  /** Machine-readable. */
  code: ErrorCode;
  /** For a developer; may change. */
  message: string;
  /** What to do. */
  remedy: string;
}

/** What a token lets its bearer do. Nothing is granted by default. */
export interface Grants {
  /** Whether texts may be sent to others. */
  data?: boolean;
  /** Whether the bearer is not shown to the others; it can publish nothing. */
  hidden?: boolean;
  /** Whether it may moderate, whatever its role. */
  moderate?: boolean;
  /** Sources that may be published. */
  publish?: Source[];
  /** Whether it may start and stop recordings. */
  record?: boolean;
  /** Whether the tracks of others are received. */
  subscribe?: boolean;
  /** Whether it may set its own state. */
  update_own?: boolean;
}

/** Opaque handle of the partner. Not a name, e-mail address, phone number or IP address. Refused are: e-mail and IP addresses; 7 to 15 digits without letters, unless they are a date like 2026-11-21; letters joined by dots (anna.schmidt); 2 or 3 capitalised words of 3 letters or more, joined by separators (Anna_Schmidt, Anna-Schmidt). Random ids with letters, UUIDs, and numbers of fewer or more digits pass. */
export type Handle = string;

/** How a composite is laid out. */
export type Layout = 'grid' | 'speaker';

/** Why somebody left. */
export type LeaveReason =
  | 'left'
  | 'timeout'
  | 'room_closed'
  | 'removed'
  | 'denied'
  | 'replaced'
  | 'moved'
  | 'protocol_error'
  | 'server_error';

/** Part of a picture that a composite does not show; in thousandths of the picture's width and height. */
export interface Mask {
  /** Only of participants with this handle; none is of everybody. A handle that nobody has masks nobody. */
  handle?: Handle | null;
  /** Height. */
  height: number;
  /** Solid black, instead of a blur that nothing can be read through. */
  solid?: boolean;
  /** Pictures of which source. */
  source: Source;
  /** Width. */
  width: number;
  /** Left edge. */
  x: number;
  /** Upper edge. */
  y: number;
}

/** State of the media path. */
export type MediaState = 'connected' | 'interrupted';

/** Who may publish. */
export type Mode = 'group' | 'lecture';

/** A track in an offer. */
export interface OfferedTrack {
  /** `a=mid` of its m-section. */
  mid: string;
  /** Whether it starts muted. */
  muted?: boolean;
  /** What it shows. */
  source: Source;
}

/** What a recording is made into. */
export type Output = 'tracks' | 'composite' | 'audio_mix' | 'hls' | 'journal';

/** A participant as the others see it. */
export interface Participant {
  /** The partner's opaque handle from the token. */
  handle: Handle;
  /** `pa_…`, for this stay. */
  id: string;
  /** What is muted at the server for this participant. A track's own `muted` is what its
   * publisher says; it is heard when neither is muted. */
  muted?: Source[];
  /** Its role. */
  role: Role;
  /** The app's own opaque text. */
  state?: string | null;
}

/** An own track in an answer. */
export interface PublishedTrack {
  /** `tr_…`. */
  id: string;
  /** `a=mid` from the offer. */
  mid: string;
}

/** What the participants of a room are told about its recording. */
export interface RecordingInfo {
  /** Whether only those are recorded who consented. */
  consent: boolean;
  /** Whether texts that participants send each other are recorded too. One to named participants is
   * only if all of them may be recorded as well: those who consented, where `consent` says so. */
  data: boolean;
  /** `rc_…`. */
  id: string;
  /** Whether it is paused. */
  paused: boolean;
  /** Which sources are recorded. */
  sources: Source[];
}

/** What is recorded and what it is made into. What is not named is as the project's policy says, or
 * the default. */
export interface RecordingRule {
  /** Whether it starts by itself, with the first participant of each session of the room. */
  auto?: boolean | null;
  /** Whether only tracks of participants who consented are recorded. */
  consent?: boolean | null;
  /** Whether the texts (`data`) are recorded that participants send each other: those of whom tracks
   * would be recorded; one to named participants only where that holds for each of them too. They
   * are delivered as `data.json`. */
  data?: boolean | null;
  /** Lines of a composite's picture: 720 or 1080. */
  height?: number | null;
  /** Layout of a composite. */
  layout?: Layout | null;
  /** What a composite does not show. The tracks that a mask is of are then not delivered. */
  masks?: Mask[];
  /** What it is made into; none named is `tracks`. */
  outputs?: Output[];
  /** Tracks of participants in which roles; none named is all. */
  roles?: Role[];
  /** Which sources; none named is all. */
  sources?: Source[];
  /** Storage target (`st_…`), instead of the project's. */
  target?: string | null;
  /** Public keys of age (`age1…`) that masked tracks are sealed to, so that a mask can be
   * lifted by who has such a key; none: what is masked is gone for good. */
  unmasked_recipients?: string[];
  /** Whether tracks are recorded too of publishers who cannot be told that they are: those who speak
   * WHIP. They cannot consent either: where `consent` is asked for they are left out all the same. */
  untold?: boolean | null;
}

/** Role of a participant. */
export type Role = 'moderator' | 'participant' | 'viewer';

/** The room as a client sees it. */
export interface RoomInfo {
  /** Its breakout rooms. */
  breakouts?: Breakout[];
  /** The partner's own opaque text. */
  data?: string | null;
  /** When it ends, if that is known. */
  ends_at?: Timestamp | null;
  /** `rm_…`. */
  id: string;
  /** Whether newcomers have to be let in. */
  knock?: boolean;
  /** Whether nobody new gets in. */
  locked?: boolean;
  /** Who may publish. */
  mode?: Mode;
  /** What is muted at the server for everybody whose role is not moderator, besides what is
   * muted for each (`Participant::muted`). */
  muted?: Source[];
  /** The room that it is a breakout of. */
  parent?: string | null;
  /** Tracks shown to everybody first. */
  pinned?: string[];
  /** The recording that runs. */
  recording?: RecordingInfo | null;
  /** Participants shown to everybody first. */
  spotlight?: string[];
  /** Counts changes. */
  version?: number;
}

/** What can be set when a room is created and changed while it lives. In a change, what is not
 * named stays. */
export interface RoomSettings {
  /** The partner's own opaque text, shown to everybody in the room. At most 4096 bytes; what looks
   * like an e-mail address, a phone number or an IP address is refused. */
  data?: string | null;
  /** What happens when a handle joins twice. */
  duplicate_handles?: DuplicateHandles | null;
  /** Seconds for which an ad hoc room stays open while nobody is in it. */
  empty_timeout_seconds?: number | null;
  /** Most participants that hold the floor at once, in lecture mode. */
  floor_max?: number | null;
  /** Participants and viewers wait until a moderator admits them. */
  knock?: boolean | null;
  /** Nobody new gets in, moderators excepted. */
  locked?: boolean | null;
  /** Who may publish. */
  mode?: Mode | null;
  /** Seconds without a moderator after which everybody is removed; 0 is never. */
  moderator_timeout_seconds?: number | null;
  /** Most participants at once; viewers count. */
  participants_max?: number | null;
  /** Most participants at once that publish. */
  publishers_max?: number | null;
  /** How the room is recorded; what it does not name is as the project's policy says. A change holds
   * for recordings that start later. */
  recording?: RecordingRule | null;
  /** Most viewers at once. */
  viewers_max?: number | null;
  /** Participants and viewers wait until a moderator is there. */
  wait_for_moderator?: boolean | null;
}

/** A receiving m-section and the track shown in it. */
export interface Slot {
  /** `a=mid`. */
  mid: string;
  /** Track id, or null while empty. */
  track?: string | null;
}

/** What a track shows or carries. */
export type Source = 'camera' | 'microphone' | 'screen' | 'screen_audio';

export type Timestamp = string;

/** A published track. */
export interface Track {
  /** `tr_…`. */
  id: string;
  /** Whether it is muted. */
  muted: boolean;
  /** Participant id of the publisher. */
  participant: string;
  /** What it shows. */
  source: Source;
}

/** What a client waits for. */
export type WaitReason = 'knock' | 'moderator';

/** Tracks that have no slot. */
export interface Waiting {
  /** Audio tracks. Audio slots are for the loudest; growing them is seldom needed. */
  audio: number;
  /** Video tracks. */
  video: number;
}

/** Moderates. */
export interface ActMessage {
  type: 'act';
  /** What to do. */
  action: Action;
  /** Chosen by the client, returned in `ServerMessage::Acted`; grows. */
  id: number;
}

/** An action was carried out, or refused. */
export interface ActedMessage {
  type: 'acted';
  /** As in `ClientMessage::Act`. */
  id: number;
  /** Why it was refused; then nothing was changed. */
  refused?: ActionRefusal | null;
  /** What it gave. */
  result?: ActionResult | null;
}

/** Answer to the offer with the same `id`. */
export interface AnswerMessage {
  type: 'answer';
  /** As in the offer. */
  id: number;
  /** RFC 8866 text. */
  sdp: string;
  /** The client's own tracks as accepted, with their ids. */
  tracks: PublishedTrack[];
}

/** Sends a text to others; needs `grants.data`. In no event, and stored nowhere but in a recording of
 * which everybody is told that it takes texts (`RecordingInfo::data`). */
export interface ClientDataMessage {
  type: 'data';
  /** The app's own opaque text, at most 4096 bytes. */
  body: string;
  /** Participant ids; empty is everybody. */
  to?: string[];
}

/** Asks for the floor, in lecture mode; or takes the request or the floor back. */
export interface ClientFloorMessage {
  type: 'floor';
  /** Whether it is wanted. */
  wanted: boolean;
}

/** Consents to being recorded, or takes that back. Nothing of a participant who did not consent is
 * recorded where `RecordingInfo::consent` says so. */
export interface ConsentMessage {
  type: 'consent';
  /** Whether it consents, from now on. */
  granted: boolean;
}

/** A text of another participant. */
export interface DataMessage {
  type: 'data';
  /** As sent. */
  body: string;
  /** Who (participant id). */
  from: string;
}

/** The last message failed. The session goes on unless `fatal`. */
export interface ErrorMessage {
  type: 'error';
  /** What and what to do. */
  error: ErrorInfo;
  /** Whether the socket closes now. */
  fatal: boolean;
  /** `id` of the offer that failed, if it was one. */
  offer?: number | null;
}

/** The floor changed, in lecture mode. */
export interface FloorMessage {
  type: 'floor';
  /** Who holds it (participant ids). */
  holders: string[];
  /** Who asks for it, in order: told to moderators; others see themselves only. */
  requests: string[];
}

/** What the client may do changed. */
export interface GrantsChangedMessage {
  type: 'grants_changed';
  /** What it may do in the room as it is now. */
  grants: Grants;
  /** Its role. */
  role: Role;
}

/** First message of a new session. */
export interface JoinMessage {
  type: 'join';
  /** SDK name and version, `conclave-web/0.1.0`, for support; not a user agent. */
  sdk?: string | null;
  /** Room token (a JWT), single use. */
  token: string;
}

/** The session is open. */
export interface JoinedMessage {
  type: 'joined';
  /** What the client may do. */
  grants: Grants;
  /** Limits that the client must respect. */
  limits: ClientLimits;
  /** The participant that the client is. */
  participant: Participant;
  /** Everybody else. */
  participants: Participant[];
  /** The room. */
  room: RoomInfo;
  /** For `ClientMessage::Resume`. */
  ticket: string;
  /** Everybody else's tracks. */
  tracks: Track[];
}

/** Leaves the room for good. */
export interface LeaveMessage {
  type: 'leave';
}

/** The session is over for good; the socket closes. */
export interface LeftMessage {
  type: 'left';
  /** Why. */
  reason: LeaveReason;
}

/** Who waits to be let in: told to moderators, whole, at each change. */
export interface LobbyMessage {
  type: 'lobby';
  /** In order of arrival. */
  waiting: Participant[];
}

/** The media path: `connected`, or `interrupted` (the client restarts ICE). */
export interface MediaMessage {
  type: 'media';
  /** State. */
  state: MediaState;
}

/** The client is to go to another room: it joins there with the token, then leaves here. Without
 * `invited` it is removed here soon. */
export interface MoveMessage {
  type: 'move';
  /** Whether it may decline. */
  invited: boolean;
  /** Where (`rm_…`). */
  room: string;
  /** Room token for it. */
  token: string;
}

/** Mute or unmute an own track. */
export interface MuteMessage {
  type: 'mute';
  /** New state. */
  muted: boolean;
  /** The track. */
  track: string;
}

/** An SDP offer: all m-sections, with the tracks that sending ones carry. */
export interface OfferMessage {
  type: 'offer';
  /** Chosen by the client, returned in the answer; grows. */
  id: number;
  /** RFC 8866 text. */
  sdp: string;
  /** What is published. A track that is no longer named ends. */
  tracks: OfferedTrack[];
}

/** Somebody came. */
export interface ParticipantJoinedMessage {
  type: 'participant_joined';
  /** Who. */
  participant: Participant;
}

/** Somebody left. */
export interface ParticipantLeftMessage {
  type: 'participant_left';
  /** Who (participant id). */
  participant: string;
  /** Why. */
  reason: LeaveReason;
}

/** A participant's role, state, or muting at the server changed. The participant itself is told
 * of its muting too. */
export interface ParticipantUpdatedMessage {
  type: 'participant_updated';
  /** The whole, as it is now. */
  participant: Participant;
}

/** Keeps the session alive. */
export interface PingMessage {
  type: 'ping';
}

/** Answer to a ping. */
export interface PongMessage {
  type: 'pong';
}

/** The recording of the room began, changed or ended. Told before the first packet is recorded and
 * after the last one was; who joins later finds it in `RoomInfo::recording`. */
export interface RecordingMessage {
  type: 'recording';
  /** As it is now; none: nothing is recorded. */
  recording?: RecordingInfo | null;
}

/** Replaces role and grants by those of a new token of the same room and handle. */
export interface RenewMessage {
  type: 'renew';
  /** Room token (a JWT), single use. */
  token: string;
}

/** The new token is accepted; `grants_changed` may follow. */
export interface RenewedMessage {
  type: 'renewed';
}

/** First message after a cut. */
export interface ResumeMessage {
  type: 'resume';
  /** Highest `seq` received. */
  received: number;
  /** Newest from `ServerMessage::Joined` or `ServerMessage::Resumed`. A ticket is used up
   * when the server hears a message on the resumed connection; until then the one before the
   * newest stays good, since the `resumed` with the newest may be lost. */
  ticket: string;
}

/** The session goes on after a cut; missed messages follow. */
export interface ResumedMessage {
  type: 'resumed';
  /** Highest `seq` received from the client; the client sends later ones again. */
  received: number;
  /** The next ticket. */
  ticket: string;
}

/** The room changed. */
export interface RoomUpdatedMessage {
  type: 'room_updated';
  /** The whole, as it is now. */
  room: RoomInfo;
}

/** Sets the own state shown to the others; needs `grants.update_own`. */
export interface SetStateMessage {
  type: 'set_state';
  /** The app's own opaque text, at most 1024 bytes; null for none. Not stored, in no event. */
  state?: string | null;
}

/** The whole state of the client's slots; a lower `version` than seen is to be ignored. */
export interface SlotsMessage {
  type: 'slots';
  /** Every slot. */
  slots: Slot[];
  /** Counts changes. */
  version: number;
  /** Tracks without a slot; the client offers more receiving m-sections to see them. */
  waiting: Waiting;
}

/** Who speaks, loudest first (participant ids). */
export interface SpeakersMessage {
  type: 'speakers';
  /** Participant ids. */
  participants: string[];
}

/** A track was muted or unmuted. */
export interface TrackMutedMessage {
  type: 'track_muted';
  /** New state. */
  muted: boolean;
  /** Track id. */
  track: string;
}

/** Somebody published a track. */
export interface TrackPublishedMessage {
  type: 'track_published';
  /** The track. */
  track: Track;
}

/** A track ended. */
export interface TrackUnpublishedMessage {
  type: 'track_unpublished';
  /** Track id. */
  track: string;
}

/** The session is open, but the client has to wait. `joined` or `left` follows. */
export interface WaitingMessage {
  type: 'waiting';
  /** Own participant id. */
  participant: string;
  /** What is waited for. */
  reason: WaitReason;
  /** For `ClientMessage::Resume`. */
  ticket: string;
}

/** Tracks to see first, most wanted first. The rest follows in the server's order. */
export interface WantMessage {
  type: 'want';
  /** Track ids. */
  tracks: string[];
}

/** What a client says. */
export type AnyClientMessage =
  | ActMessage
  | ClientDataMessage
  | ClientFloorMessage
  | ConsentMessage
  | JoinMessage
  | LeaveMessage
  | MuteMessage
  | OfferMessage
  | PingMessage
  | RenewMessage
  | ResumeMessage
  | SetStateMessage
  | WantMessage;

/** What the server says. */
export type ServerMessage =
  | ActedMessage
  | AnswerMessage
  | DataMessage
  | ErrorMessage
  | FloorMessage
  | GrantsChangedMessage
  | JoinedMessage
  | LeftMessage
  | LobbyMessage
  | MediaMessage
  | MoveMessage
  | ParticipantJoinedMessage
  | ParticipantLeftMessage
  | ParticipantUpdatedMessage
  | PongMessage
  | RecordingMessage
  | RenewedMessage
  | ResumedMessage
  | RoomUpdatedMessage
  | SlotsMessage
  | SpeakersMessage
  | TrackMutedMessage
  | TrackPublishedMessage
  | TrackUnpublishedMessage
  | WaitingMessage;

/** Every message type of the server. */
export const SERVER_MESSAGE_TYPES: readonly ServerMessage['type'][] = [
  'acted',
  'answer',
  'data',
  'error',
  'floor',
  'grants_changed',
  'joined',
  'left',
  'lobby',
  'media',
  'move',
  'participant_joined',
  'participant_left',
  'participant_updated',
  'pong',
  'recording',
  'renewed',
  'resumed',
  'room_updated',
  'slots',
  'speakers',
  'track_muted',
  'track_published',
  'track_unpublished',
  'waiting',
];
