// Generated from sdk-spec/asyncapi.json by scripts/protocol.mjs (npm run generate).

/** Limits for a client. */
export interface ClientLimits {
  /** Most receiving audio m-sections. */
  audio_slots_max: number;
  /** Largest message in bytes. */
  message_bytes_max: number;
  /** Most receiving video m-sections. */
  video_slots_max: number;
}

/** Codes of `ServerMessage::Error`. */
export type ErrorCode =
  | 'token_refused'
  | 'resume_refused'
  | 'room_full'
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
  /** Sources that may be published. */
  publish?: Source[];
  /** Whether the tracks of others are received. */
  subscribe?: boolean;
}

/** Opaque handle of the partner. Not a name, e-mail address, phone number or IP address. Refused are: e-mail and IP addresses; 7 to 15 digits without letters, unless they are a date like 2026-11-21; letters joined by dots (anna.schmidt); 2 or 3 capitalised words of 3 letters or more, joined by separators (Anna_Schmidt, Anna-Schmidt). Random ids with letters, UUIDs, and numbers of fewer or more digits pass. */
export type Handle = string;

/** Why somebody left. */
export type LeaveReason =
  'left' | 'timeout' | 'room_closed' | 'removed' | 'protocol_error' | 'server_error';

/** State of the media path. */
export type MediaState = 'connected' | 'interrupted';

/** A track in an offer. */
export interface OfferedTrack {
  /** `a=mid` of its m-section. */
  mid: string;
  /** Whether it starts muted. */
  muted?: boolean;
  /** What it shows. */
  source: Source;
}

/** A participant as the others see it. */
export interface Participant {
  /** The partner's opaque handle from the token. */
  handle: Handle;
  /** `pa_…`, for this stay. */
  id: string;
  /** Role from the token. */
  role: Role;
}

/** An own track in an answer. */
export interface PublishedTrack {
  /** `tr_…`. */
  id: string;
  /** `a=mid` from the offer. */
  mid: string;
}

/** Role of a participant. */
export type Role = 'moderator' | 'participant' | 'viewer';

/** The room as a client sees it. */
export interface RoomInfo {
  /** `rm_…`. */
  id: string;
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

/** Tracks that have no slot. */
export interface Waiting {
  /** Audio tracks. Audio slots are for the loudest; growing them is seldom needed. */
  audio: number;
  /** Video tracks. */
  video: number;
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

/** The media path: `connected`, or `interrupted` (the client restarts ICE). */
export interface MediaMessage {
  type: 'media';
  /** State. */
  state: MediaState;
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

/** Keeps the session alive. */
export interface PingMessage {
  type: 'ping';
}

/** Answer to a ping. */
export interface PongMessage {
  type: 'pong';
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

/** Tracks to see first, most wanted first. The rest follows in the server's order. */
export interface WantMessage {
  type: 'want';
  /** Track ids. */
  tracks: string[];
}

/** What a client says. */
export type AnyClientMessage =
  | JoinMessage
  | LeaveMessage
  | MuteMessage
  | OfferMessage
  | PingMessage
  | ResumeMessage
  | WantMessage;

/** What the server says. */
export type ServerMessage =
  | AnswerMessage
  | ErrorMessage
  | JoinedMessage
  | LeftMessage
  | MediaMessage
  | ParticipantJoinedMessage
  | ParticipantLeftMessage
  | PongMessage
  | ResumedMessage
  | SlotsMessage
  | SpeakersMessage
  | TrackMutedMessage
  | TrackPublishedMessage
  | TrackUnpublishedMessage;

/** Every message type of the server. */
export const SERVER_MESSAGE_TYPES: readonly ServerMessage['type'][] = [
  'answer',
  'error',
  'joined',
  'left',
  'media',
  'participant_joined',
  'participant_left',
  'pong',
  'resumed',
  'slots',
  'speakers',
  'track_muted',
  'track_published',
  'track_unpublished',
];
