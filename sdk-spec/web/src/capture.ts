/**
 * Opening cameras, microphones and screens.
 *
 * @module
 */

import { CaptureError } from './errors.js';

const CAMERA: MediaTrackConstraints = {
  width: { ideal: 1280 },
  height: { ideal: 720 },
  frameRate: { ideal: 30 },
};

const MICROPHONE: MediaTrackConstraints = {
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
};

/** Opens a camera. */
export function openCamera(constraints: MediaTrackConstraints = {}): Promise<MediaStreamTrack> {
  return open({ video: { ...CAMERA, ...constraints } });
}

/** Opens a microphone. */
export function openMicrophone(constraints: MediaTrackConstraints = {}): Promise<MediaStreamTrack> {
  return open({ audio: { ...MICROPHONE, ...constraints } });
}

/** Asks for a screen, window or tab; the second track is its sound, when the user gives it. */
export async function openScreen(options: DisplayMediaStreamOptions = {}): Promise<{
  video: MediaStreamTrack;
  audio: MediaStreamTrack | null;
}> {
  const devices = mediaDevices();
  const wanted = { video: { frameRate: { ideal: 15, max: 30 } }, audio: true, ...options };
  const stream = await devices.getDisplayMedia(wanted).catch((cause: unknown) => {
    throw CaptureError.from(cause);
  });
  const [video] = stream.getVideoTracks();
  if (!video) throw CaptureError.from(null);
  // Text wants sharpness more than motion.
  video.contentHint = 'detail';
  return { video, audio: stream.getAudioTracks()[0] ?? null };
}

async function open(constraints: MediaStreamConstraints): Promise<MediaStreamTrack> {
  const stream = await mediaDevices()
    .getUserMedia(constraints)
    .catch((cause: unknown) => {
      throw CaptureError.from(cause);
    });
  const [track] = stream.getTracks();
  if (!track) throw CaptureError.from(null);
  return track;
}

/** Browsers hide the devices from pages that were not loaded securely. */
function mediaDevices(): MediaDevices {
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  if (!devices) throw CaptureError.insecurePage();
  return devices;
}
