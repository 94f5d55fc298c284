/** A picture and a tone for machines without camera and microphone. */

import { hash, hue, shortHandle } from './identity.js';

const WIDTH = 1280;
const HEIGHT = 720;
const FRAMES_PER_SECOND = 30;
const RINGS = 7;

/** A moving picture of its own for each handle. Its track ends the drawing when it is stopped. */
export function generatedPicture(handle: string): MediaStreamTrack {
  const canvas = document.createElement('canvas');
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = canvas.getContext('2d', { alpha: false });
  const [track] = canvas.captureStream(FRAMES_PER_SECOND).getVideoTracks();
  if (!context || !track) throw new Error('this browser cannot record a canvas');
  // Not requestAnimationFrame: it stops in hidden tabs.
  const timer = setInterval(() => {
    if (track.readyState === 'ended') clearInterval(timer);
    else draw(context, handle, performance.now() / 1000);
  }, 1000 / FRAMES_PER_SECOND);
  draw(context, handle, 0);
  return track;
}

function draw(context: CanvasRenderingContext2D, handle: string, seconds: number): void {
  const tone = hue(handle);
  const sky = context.createLinearGradient(0, 0, WIDTH, HEIGHT);
  sky.addColorStop(0, `hsl(${tone} 45% 26%)`);
  sky.addColorStop(1, `hsl(${(tone + 50) % 360} 50% 14%)`);
  context.fillStyle = sky;
  context.fillRect(0, 0, WIDTH, HEIGHT);
  drawRings(context, tone, seconds);
  context.fillStyle = 'rgb(255 255 255 / 0.92)';
  context.font = '600 54px ui-monospace, Menlo, monospace';
  context.textAlign = 'center';
  context.fillText(shortHandle(handle), WIDTH / 2, HEIGHT / 2 + 8);
  context.font = '400 34px ui-monospace, Menlo, monospace';
  context.fillStyle = 'rgb(255 255 255 / 0.7)';
  context.fillText(new Date().toISOString().slice(11, 21), WIDTH / 2, HEIGHT / 2 + 64);
}

function drawRings(context: CanvasRenderingContext2D, tone: number, seconds: number): void {
  for (let ring = 0; ring < RINGS; ring += 1) {
    const angle = seconds * (0.25 + ring * 0.07) + ring;
    const x = WIDTH / 2 + Math.cos(angle) * (150 + ring * 62);
    const y = HEIGHT / 2 + Math.sin(angle * 1.3) * (90 + ring * 34);
    context.beginPath();
    context.arc(x, y, 26 + ring * 11, 0, Math.PI * 2);
    context.fillStyle = `hsl(${(tone + ring * 16) % 360} 72% 62% / ${0.5 - ring * 0.045})`;
    context.fill();
  }
}

/** One for the page: browsers allow a few only. */
let audio: AudioContext | null = null;

/** A soft tone whose pitch belongs to the handle. Browsers may hold it until the first click. */
export function generatedTone(handle: string): MediaStreamTrack {
  audio ??= new AudioContext();
  const destination = audio.createMediaStreamDestination();
  const [track] = destination.stream.getAudioTracks();
  if (!track) throw new Error('this browser cannot record sound');
  const oscillator = audio.createOscillator();
  const gain = audio.createGain();
  oscillator.frequency.value = 220 + (hash(handle) % 12) * 40;
  gain.gain.value = 0.08;
  oscillator.connect(gain).connect(destination);
  oscillator.start();
  void audio.resume().catch(() => undefined);
  return track;
}
