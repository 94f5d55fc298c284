/**
 * Errors that an application sees: what happened, and what to do about it.
 *
 * @module
 */

import type { ActionRefusal, ErrorInfo, LeaveReason, ServerErrorCode, Source } from './protocol.js';

/** Codes that arise in the client. */
export type ClientErrorCode =
  | 'unreachable'
  | 'connection_lost'
  | 'media_unreachable'
  | 'insecure_page'
  | 'permission_denied'
  | 'device_missing'
  | 'device_busy'
  | 'capture_failed'
  | 'already_published'
  | 'unpublished'
  | 'not_supported'
  | 'token_missing'
  | 'left';

/** Any error code. */
export type ConclaveErrorCode = ServerErrorCode | ActionRefusal | ClientErrorCode;

/** Base of all errors of this SDK. */
export class ConclaveError extends Error {
  // Written out: bundlers shorten the names of classes.
  override name = 'ConclaveError';
  /** Machine-readable code. */
  readonly code: ConclaveErrorCode;
  /** What to do about it, in a sentence. */
  readonly remedy: string;

  /** @internal */
  constructor(code: ConclaveErrorCode, message: string, remedy: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.remedy = remedy;
  }
}

/** The server could not be reached, or the connection was lost for good. */
export class ConnectionError extends ConclaveError {
  override name = 'ConnectionError';

  /** @internal */
  static unreachable(): ConnectionError {
    return new ConnectionError(
      'unreachable',
      'the server cannot be reached',
      'Check the network and the server URL, then join again.',
    );
  }

  /** @internal */
  static noMedia(): ConnectionError {
    return new ConnectionError(
      'media_unreachable',
      'no way for sound and picture to the server was found',
      'Allow UDP, or at least TCP, to the media ports of the server in the firewall.',
    );
  }

  /** @internal */
  static unanswered(): ConnectionError {
    return new ConnectionError(
      'timeout',
      'the server did not answer',
      'Look at the state of the room: it may be done or not. Then try again.',
    );
  }

  /** @internal */
  static lost(cause?: unknown): ConnectionError {
    return new ConnectionError(
      'connection_lost',
      'the connection was lost and could not be resumed',
      'Join again with a fresh token, or pass `refreshToken` so that the SDK does.',
      cause,
    );
  }
}

/** The server refused to let the client in, or a new token of it; or there is no token to show. */
export class JoinRefusedError extends ConclaveError {
  override name = 'JoinRefusedError';

  /** @internal */
  static noToken(): JoinRefusedError {
    return new JoinRefusedError(
      'token_missing',
      'there is no token to renew with',
      'Pass a token, or `refreshToken` in the join options.',
    );
  }
}

/** A message or an offer was refused by the server, or the server broke the protocol. */
export class ProtocolError extends ConclaveError {
  override name = 'ProtocolError';

  /** @internal */
  static gap(): ProtocolError {
    return new ProtocolError(
      'unexpected_message',
      'the server skipped a message',
      'Report this with the versions of server and SDK; joining again helps.',
    );
  }
}

/** A moderator's action was refused; nothing was changed. */
export class ActionError extends ConclaveError {
  override name = 'ActionError';

  /** @internal */
  static refused(refusal: ActionRefusal): ActionError {
    const [message, remedy] = REFUSALS[refusal] ?? REFUSAL_UNKNOWN;
    return new ActionError(refusal, message, remedy);
  }
}

/** Something may not be sent to the others. */
export class SendError extends ConclaveError {
  override name = 'SendError';

  /** @internal */
  static notPermitted(what: string, grant: 'data' | 'update_own'): SendError {
    return new SendError(
      'not_permitted',
      `the token does not permit ${what}`,
      `Mint the token with grants.${grant}.`,
    );
  }

  /** @internal */
  static tooLarge(what: string, bytesMax: number): SendError {
    return new SendError(
      'message_too_large',
      `${what} is above ${bytesMax} bytes`,
      'Send less, or a reference to data that your own server keeps.',
    );
  }
}

/** A track could not be published. */
export class PublishError extends ConclaveError {
  override name = 'PublishError';

  /** @internal */
  static notPermitted(source: Source): PublishError {
    return new PublishError(
      'not_permitted',
      `publishing ${source} is not permitted now`,
      `Mint the token with "${source}" in grants.publish; in a lecture, ask for the floor first.`,
    );
  }

  /** @internal */
  static duplicate(source: Source): PublishError {
    return new PublishError(
      'already_published',
      `${source} is published already`,
      'Unpublish the present track first, or replace its media with replaceMedia().',
    );
  }

  /** @internal */
  static mutedByServer(source: Source): PublishError {
    return new PublishError(
      'not_permitted',
      `a moderator muted ${source}`,
      'Ask a moderator to lift that; then unmute it again.',
    );
  }

  /** @internal */
  static unpublished(source: Source): PublishError {
    return new PublishError(
      'unpublished',
      `${source} was unpublished before the server had accepted it`,
      'Publish it again if it is still wanted.',
    );
  }

  /** @internal */
  static refused(source: Source): PublishError {
    return new PublishError(
      'offer_refused',
      `the server did not accept ${source}`,
      'Check the grants of the token and the codec preference.',
    );
  }
}

/** A camera, microphone or screen cannot be used. */
export class CaptureError extends ConclaveError {
  override name = 'CaptureError';

  /** @internal Turns what `getUserMedia` and `getDisplayMedia` throw into a typed error. */
  static from(cause: unknown): CaptureError {
    const name = cause instanceof Error ? cause.name : '';
    const [code, message, remedy] = CAPTURE_ERRORS[name] ?? CAPTURE_UNKNOWN;
    return new CaptureError(code, message, remedy, cause);
  }

  /** @internal */
  static insecurePage(): CaptureError {
    return new CaptureError(
      'insecure_page',
      'this page may not use cameras and microphones',
      'Serve the page over HTTPS, or from localhost.',
    );
  }
}

/** The room was left; the call came too late. */
export class LeftError extends ConclaveError {
  override name = 'LeftError';

  /** Why the room was left. */
  readonly reason: LeaveReason;

  /** @internal */
  constructor(reason: LeaveReason) {
    super('left', `the room was left (${reason})`, 'Join again with a fresh token.');
    this.reason = reason;
  }
}

const REFUSAL_UNKNOWN: [string, string] = ['the action was refused', 'Update the SDK.'];

const REFUSALS: Record<ActionRefusal, [string, string]> = {
  not_permitted: [
    'this participant may not do that',
    'Only moderators may: mint the token with the role moderator or with grants.moderate.',
  ],
  unknown_participant: ['no such participant is here', 'It may have left; look at participants.'],
  unknown_track: ['no such track is here', 'It may have ended; look at tracks.'],
  unknown_room: ['no such breakout room is here', 'Look at the breakouts of the room.'],
  out_of_range: [
    'a value is out of its range, or too many are named',
    'Look the range up in the documentation of the action.',
  ],
  wrong_state: [
    'the room is not in a state for that',
    'The floor is for lectures, an extension for rooms with an end, a breakout for main rooms.',
  ],
  floor_taken: [
    'as many as may hold the floor already',
    'Take it back from one of them first, or raise floor_max.',
  ],
  not_configured: [
    'nothing can be recorded here',
    'Set recipients and a storage target in the recording policy; the server must have a recorder.',
  ],
  version_mismatch: ['the room was changed meanwhile', 'Look at it again and repeat the action.'],
  unavailable: ['it cannot be stored now', 'Nothing was changed; try again in a moment.'],
  quota_exceeded: [
    'the project has as many open rooms as it may',
    'Create fewer breakout rooms, or end other rooms first.',
  ],
  recorder_full: [
    'the recorder has no room for one more recording now',
    'Try again in some seconds; if it stays, whoever runs the server must act.',
  ],
};

type CaptureEntry = [ClientErrorCode, string, string];

const CAPTURE_UNKNOWN: CaptureEntry = [
  'capture_failed',
  'the device could not be opened',
  'Try another device.',
];

const CAPTURE_ERRORS: Record<string, CaptureEntry> = {
  NotAllowedError: [
    'permission_denied',
    'permission was not given',
    'Allow access in the address bar of the browser and in the system settings.',
  ],
  NotFoundError: ['device_missing', 'no such device was found', 'Connect a device and try again.'],
  OverconstrainedError: [
    'device_missing',
    'no device fits the constraints',
    'Ask for less, for example with `ideal` instead of `exact`.',
  ],
  NotReadableError: [
    'device_busy',
    'the device is in use or failed',
    'Close other programs that use the device and try again.',
  ],
};

const JOIN_CODES: readonly ConclaveErrorCode[] = [
  'token_refused',
  'resume_refused',
  'room_full',
  'room_locked',
  'room_not_open',
  'banned',
  'duplicate_handle',
  'no_media_node',
];

/**
 * @internal Turns an error report of the server into a typed error.
 *
 * @param joins - whether it answers a join; `no_capacity` is about an offer otherwise
 */
export function fromServer(info: ErrorInfo, joins = false): ConclaveError {
  const refuses = JOIN_CODES.includes(info.code) || (joins && info.code === 'no_capacity');
  const Type = refuses ? JoinRefusedError : ProtocolError;
  return new Type(info.code, info.message, info.remedy);
}
