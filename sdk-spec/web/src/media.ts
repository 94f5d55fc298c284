/**
 * The peer connection of one session: publications in sending m-sections, slots in receiving ones.
 *
 * @module
 */

import { backoff } from './backoff.js';
import { ConclaveError, type ConclaveErrorCode, PublishError } from './errors.js';
import {
  AUDIO_SLOTS_START,
  CAMERA_BITRATE_MAX,
  HALF_SIZE_SHARE,
  OFFER_RETRIES_MAX,
  SCREEN_BITRATE_MAX,
  SIMULCAST_LAYERS,
  UNANSWERED_RETRIES_MAX,
  VIDEO_SLOTS_START,
} from './limits.js';
import { Negotiation } from './negotiation.js';
import type {
  AnswerMessage,
  ClientLimits,
  OfferedTrack,
  PublishedTrack,
  SlotsMessage,
  Source,
} from './protocol.js';
import { sendingMids } from './sdp.js';
import { growth, type SlotChange, SlotMap } from './slots.js';
import type { LocalTrack } from './tracks.js';

/** Video codecs that can be preferred. */
export type VideoCodec = 'VP8' | 'VP9' | 'H264' | 'AV1';

/** What a {@link MediaSession} needs and tells. */
export interface MediaHost {
  /** Sends an offer. */
  sendOffer(offer: { id: number; sdp: string; tracks: OfferedTrack[] }): void;
  /** Tells the server of a mute that came between an offer and its answer. */
  sendMute(track: string, muted: boolean): void;
  /** A receiving section exists; its media starts with the first slot assignment. */
  slotOpened(kind: 'audio' | 'video', media: MediaStreamTrack): void;
  /** A negotiation failed that nobody waits for. */
  failed(error: ConclaveError): void;
  /** `connectionState` of the peer connection or its ICE state changed. */
  transportChanged(): void;
}

/** What to set up. */
export interface MediaOptions {
  /** Codec to prefer when sending video. */
  videoCodec?: VideoCodec | undefined;
  /** Most video slots. */
  videoSlotsMax?: number | undefined;
  /** Audio slots. */
  audioSlots?: number | undefined;
}

interface Publication {
  local: LocalTrack;
  transceiver: RTCRtpTransceiver;
  /** Set until the server has answered. */
  waiting: { resolve(): void; reject(error: unknown): void } | null;
}

/** Codes that say nothing about the offer: the same one may work later. */
const TEMPORARY: readonly ConclaveErrorCode[] = [
  'internal',
  'no_capacity',
  'connection_lost',
  'timeout',
  'rate_limited',
];
/** Codes that say that the offer itself is not wanted. */
const UNWANTED: readonly ConclaveErrorCode[] = ['offer_refused', 'malformed_sdp'];

/** Media of one session. */
export class MediaSession {
  /** The browser's peer connection. */
  readonly pc: RTCPeerConnection;
  /** Which track is in which slot. */
  readonly slots = new SlotMap();
  readonly #negotiation: Negotiation;
  readonly #publications = new Map<Source, Publication>();
  readonly #idle: RTCRtpTransceiver[] = [];
  /** Publications of the offer in flight. One that came later may have the same source. */
  #offered: Publication[] = [];
  readonly #videoSlots: RTCRtpTransceiver[] = [];
  #videoCeiling = Infinity;
  #receiving = false;
  #retries = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly host: MediaHost,
    private readonly limits: ClientLimits,
    private readonly options: MediaOptions,
  ) {
    this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle', iceServers: [] });
    this.pc.onconnectionstatechange = () => host.transportChanged();
    this.pc.oniceconnectionstatechange = () => host.transportChanged();
    this.#negotiation = new Negotiation(this.pc, {
      offeredTracks: () => this.#offeredTracks(),
      sendOffer: (offer) => host.sendOffer(offer),
      answered: (tracks, offered) => this.#answered(tracks, offered),
      refused: (error, offered) => this.#refused(error, offered),
    });
  }

  /** Offers the first slots, once. */
  openSlots(): void {
    if (this.#receiving) return;
    this.#receiving = true;
    const audio = Math.min(
      this.options.audioSlots ?? AUDIO_SLOTS_START,
      this.limits.audio_slots_max,
    );
    for (let i = 0; i < audio; i += 1) this.#openSlot('audio');
    this.#growVideo(Math.min(VIDEO_SLOTS_START, this.#videoSlotsMax()));
    this.#negotiation.request();
  }

  /** Publishes a track. Resolves when the server has accepted it. */
  publish(local: LocalTrack): Promise<void> {
    return new Promise((resolve, reject) => {
      const transceiver = this.#sendingTransceiver(local);
      const waiting = { resolve, reject };
      this.#publications.set(local.source, { local, transceiver, waiting });
      this.#negotiation.request();
    });
  }

  /** Ends a publication. Its m-section is kept for the next one of its kind. */
  unpublish(local: LocalTrack): void {
    const publication = this.#publications.get(local.source);
    if (publication?.local !== local) return;
    this.#release(publication);
    publication.waiting?.reject(PublishError.unpublished(local.source));
    this.#negotiation.request();
  }

  /** Sends other media in a publication, or none, without negotiating. */
  async replace(local: LocalTrack, media: MediaStreamTrack | null): Promise<void> {
    await this.#publications.get(local.source)?.transceiver.sender.replaceTrack(media);
  }

  /** An answer arrived. */
  handleAnswer({ id, sdp, tracks }: AnswerMessage): void {
    this.#negotiation.handleAnswer(id, sdp, tracks);
  }

  /** An offer was refused. */
  handleRefusal(id: number, error: ConclaveError): void {
    this.#negotiation.handleRefusal(id, error);
  }

  /** Takes a slot state over, and offers more slots when tracks wait. */
  handleSlots(message: SlotsMessage): SlotChange[] {
    const changes = this.slots.apply(message);
    if (!changes) return [];
    const known = new Set(message.slots.map(({ mid }) => mid));
    const more = growth(message.waiting, {
      offered: this.#videoSlots.length,
      known: this.#videoSlots.filter(({ mid }) => mid !== null && known.has(mid)).length,
      max: this.#videoSlotsMax(),
    });
    if (more > 0) {
      this.#growVideo(more);
      this.#negotiation.request();
    }
    return changes;
  }

  /** The browser's track of a slot. */
  mediaOf(mid: string): MediaStreamTrack | null {
    const slot = this.pc.getTransceivers().find((each) => each.mid === mid);
    return slot?.receiver.track ?? null;
  }

  /** Finds new network paths. */
  restartIce(): void {
    this.#negotiation.request({ iceRestart: true });
  }

  /** Whether anything was negotiated, so that a transport is to be expected. */
  get active(): boolean {
    return this.pc.getTransceivers().length > 0;
  }

  /** Ends everything. */
  close(): void {
    clearTimeout(this.#retry);
    this.#negotiation.close();
    this.pc.onconnectionstatechange = this.pc.oniceconnectionstatechange = null;
    this.pc.close();
    for (const { local, waiting } of this.#publications.values()) {
      waiting?.reject(PublishError.unpublished(local.source));
    }
    this.#publications.clear();
  }

  #videoSlotsMax(): number {
    const { videoSlotsMax = Infinity } = this.options;
    return Math.min(videoSlotsMax, this.limits.video_slots_max, this.#videoCeiling);
  }

  #growVideo(count: number): void {
    for (let i = 0; i < count; i += 1) this.#videoSlots.push(this.#openSlot('video'));
  }

  #openSlot(kind: 'audio' | 'video'): RTCRtpTransceiver {
    const slot = this.pc.addTransceiver(kind, { direction: 'recvonly' });
    this.host.slotOpened(kind, slot.receiver.track);
    return slot;
  }

  #sendingTransceiver(local: LocalTrack): RTCRtpTransceiver {
    const media = local.mediaStreamTrack;
    const wanted = encodings(local);
    // The number of encodings is for ever (WebRTC 1.0 section 5.1).
    const fits = ({ receiver, sender }: RTCRtpTransceiver): boolean =>
      receiver.track.kind === local.kind &&
      Math.max(sender.getParameters().encodings.length, 1) === wanted.length;
    const at = this.#idle.findIndex(fits);
    const [idle] = at < 0 ? [] : this.#idle.splice(at, 1);
    const transceiver =
      idle ??
      this.pc.addTransceiver(media ?? local.kind, {
        direction: 'sendonly',
        sendEncodings: wanted,
      });
    if (idle) {
      idle.direction = 'sendonly';
      void idle.sender.replaceTrack(media).catch(() => undefined);
      void adjust(idle.sender, wanted);
    }
    if (local.kind === 'video') preferCodec(transceiver, this.options.videoCodec);
    return transceiver;
  }

  #offeredTracks(): OfferedTrack[] {
    // A publication that came while the browser made the offer is for the next one.
    const sending = sendingMids(this.pc.localDescription?.sdp ?? '');
    this.#offered = [...this.#publications.values()].filter(({ transceiver }) =>
      sending.has(transceiver.mid ?? ''),
    );
    return this.#offered.map(({ local, transceiver }) => ({
      mid: transceiver.mid ?? '',
      source: local.source,
      muted: local.muted,
    }));
  }

  #answered(tracks: PublishedTrack[], offered: OfferedTrack[]): void {
    clearTimeout(this.#retry);
    this.#retries = 0;
    const ids = new Map(tracks.map(({ mid, id }) => [mid, id]));
    for (const publication of this.#stillOffered()) {
      const id = ids.get(publication.transceiver.mid ?? '');
      if (id === undefined) {
        this.#giveUp(publication, PublishError.refused(publication.local.source));
        continue;
      }
      this.#accepted(publication, id, offered);
    }
  }

  #accepted(publication: Publication, id: string, offered: OfferedTrack[]): void {
    const { local, waiting } = publication;
    local.setId(id);
    const told = offered.find(({ source }) => source === local.source)?.muted;
    if (waiting && told !== local.muted) this.host.sendMute(id, local.muted);
    waiting?.resolve();
    publication.waiting = null;
  }

  /**
   * Nothing in an offer is to blame for a temporary failure: it is made again, a few times. Of an
   * offer that is not wanted, too many slots make it unreadable; else new publications are to
   * blame, then new slots. Without any, the session has to know.
   */
  #refused(error: unknown, offered: OfferedTrack[] | null): void {
    // An answer that did not come has cost the user its whole time already.
    const unanswered = hasCode(error, ['connection_lost']);
    const retries = unanswered ? UNANSWERED_RETRIES_MAX : OFFER_RETRIES_MAX;
    if (hasCode(error, TEMPORARY) && this.#retries < retries) return this.#offerLater();
    this.#retries = 0;
    if (hasCode(error, ['malformed_sdp']) && this.#halveNewSlots()) return;
    const suspects = offered ? this.#stillOffered() : [...this.#publications.values()];
    const blamed = suspects.filter(({ waiting }) => waiting !== null);
    for (const publication of blamed) this.#giveUp(publication, error);
    if (blamed.length > 0) return this.#negotiation.request();
    if (hasCode(error, UNWANTED) && this.#halveNewSlots()) return;
    this.host.failed(asConclaveError(error));
  }

  #offerLater(): void {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#negotiation.request(), backoff(this.#retries));
    this.#retries += 1;
  }

  /**
   * Takes back half of the slots that the server has not answered yet, the last one too, and
   * offers the rest. Without that they would spoil every later offer.
   *
   * @returns whether there were any
   */
  #halveNewSlots(): boolean {
    const unanswered = this.#videoSlots.filter(({ currentDirection }) => currentDirection === null);
    if (unanswered.length === 0) return false;
    for (const slot of unanswered.slice(Math.floor(unanswered.length / 2))) {
      slot.stop();
      this.#videoSlots.splice(this.#videoSlots.indexOf(slot), 1);
    }
    this.#videoCeiling = this.#videoSlots.length;
    this.#negotiation.request();
    return true;
  }

  /** Publications of the offer in flight that are still wanted. */
  #stillOffered(): Publication[] {
    return this.#offered.filter((each) => this.#publications.get(each.local.source) === each);
  }

  #giveUp(publication: Publication, error: unknown): void {
    this.#release(publication);
    if (publication.waiting) publication.waiting.reject(error);
    else this.host.failed(asConclaveError(error));
  }

  #release({ local, transceiver }: Publication): void {
    this.#publications.delete(local.source);
    local.setId(null);
    transceiver.direction = 'inactive';
    void transceiver.sender.replaceTrack(null).catch(() => undefined);
    this.#idle.push(transceiver);
  }
}

function hasCode(error: unknown, codes: readonly ConclaveErrorCode[]): boolean {
  return error instanceof ConclaveError && codes.includes(error.code);
}

function asConclaveError(error: unknown): ConclaveError {
  if (error instanceof ConclaveError) return error;
  const remedy = 'Report this with the browser version; leaving and joining again may help.';
  return new ConclaveError('internal', 'the browser could not negotiate media', remedy, error);
}

/** How a track is sent; several times with simulcast, the smallest picture first. */
function encodings({ kind, source, simulcast }: LocalTrack): RTCRtpEncodingParameters[] {
  if (kind === 'audio') return [{}];
  const maxBitrate = source === 'screen' ? SCREEN_BITRATE_MAX : CAMERA_BITRATE_MAX;
  if (!simulcast) return [{ maxBitrate }];
  return SIMULCAST_LAYERS.map((layer) => {
    const share = HALF_SIZE_SHARE ** Math.log2(layer.scaleResolutionDownBy);
    return { ...layer, maxBitrate: Math.round(maxBitrate * share) };
  });
}

async function adjust(sender: RTCRtpSender, wanted: RTCRtpEncodingParameters[]): Promise<void> {
  const parameters = sender.getParameters();
  if (!parameters.encodings.length) return;
  parameters.encodings.forEach((each, i) => Object.assign(each, wanted[i]));
  await sender.setParameters(parameters).catch(() => undefined);
}

/** Puts a codec first. Without it, or when the browser has not got it, its own order stays. */
function preferCodec(transceiver: RTCRtpTransceiver, codec: VideoCodec | undefined): void {
  const codecs = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
  const preferred = (each: { mimeType: string }): boolean =>
    each.mimeType.toUpperCase() === `VIDEO/${codec}`;
  if (!codec || !codecs.some(preferred)) return;
  try {
    transceiver.setCodecPreferences([
      ...codecs.filter(preferred),
      ...codecs.filter((each) => !preferred(each)),
    ]);
  } catch {
    // A preference is a wish: some browsers refuse codecs that they only send.
  }
}
