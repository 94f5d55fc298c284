// Proof of media. `source()` makes a picture that carries a code (code.js) in every frame and a pure
// tone; `watch()` reads both back on the other side. Frame numbers start at `offset`, so that a source
// is known by them. With `beat` there is a white flash and a 1 kHz beep at the same moment of every second,
// `phase` ms after it began, so that the beats of several sources can be told apart.

(() => {
  const { encode, block, read: readPicture } = globalThis.pictureCode;
  const BEAT_MS = 120;

  /** A coded camera and a tone of `tone` Hz; `offset` is the first frame's number. */
  window.source = ({ width = 320, height = 180, fps = 15, tone = 440, offset = 0, beat = false, phase = 0 } = {}) => {
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const pen = canvas.getContext('2d', { alpha: false });
    const camera = beat ? stamped(canvas) : captured(canvas, fps);
    const { output, beep, close } = sound(tone, beat);
    let frame = offset;
    const secondOf = (now) => Math.floor((now - phase) / 1000);
    let [second, flashUntil] = [secondOf(Date.now()), 0];
    const draw = () => {
      const now = Date.now();
      if (beat && secondOf(now) !== second) {
        [second, flashUntil] = [secondOf(now), now + BEAT_MS];
        beep();
      }
      pen.fillStyle = '#404040';
      pen.fillRect(0, 0, width, height);
      pen.fillStyle = '#c08020'; // Something that moves, so that encoders have work.
      pen.fillRect(width * 0.3 + ((frame * 7) % (width * 0.6)), height * 0.6, width * 0.1, height * 0.3);
      if (beat) {
        pen.fillStyle = now < flashUntil ? '#fff' : '#000';
        pen.fillRect(0, height * 0.5, width * 0.25, height * 0.5);
      }
      encode(now, frame).forEach((bit, i) => {
        const { x, y, w, h } = block(i, width, height);
        pen.fillStyle = bit ? '#fff' : '#000';
        pen.fillRect(Math.floor(x), Math.floor(y), Math.ceil(w), Math.ceil(h));
      });
      camera.show?.(now);
      frame += 1;
    };
    draw();
    const timer = setInterval(draw, 1000 / fps);
    return {
      video: camera.track,
      audio: output.stream.getAudioTracks()[0],
      stop: () => { clearInterval(timer); camera.track.stop(); return close(); },
    };
  };

  const captured = (canvas, fps) => ({ track: canvas.captureStream(fps).getVideoTracks()[0] });

  /**
   * Pictures with the time at which they were painted (Chromium only). A captured canvas has the time
   * of the browser's own frame, which on a busy machine is up to 50 ms earlier than the beep of the same moment.
   */
  function stamped(canvas) {
    const track = new MediaStreamTrackGenerator({ kind: 'video' });
    const writer = track.writable.getWriter();
    const show = (now) => {
      const picture = new VideoFrame(canvas, { timestamp: now * 1000 });
      writer.write(picture).catch(() => picture.close());
    };
    return { track, show };
  }

  /** A tone, and with `beat` a function that beeps now. */
  function sound(tone, beat) {
    const context = new AudioContext({ sampleRate: 48_000 });
    const output = new MediaStreamAudioDestinationNode(context);
    const voice = (frequency, gain) => {
      const oscillator = new OscillatorNode(context, { frequency });
      const volume = new GainNode(context, { gain });
      oscillator.connect(volume).connect(output);
      oscillator.start();
      return volume.gain;
    };
    voice(tone, beat ? 0.03 : 0.1);
    const loud = voice(1000, 0);
    const beep = () => {
      loud.setValueAtTime(0.5, context.currentTime);
      loud.setValueAtTime(0, context.currentTime + BEAT_MS / 1000);
    };
    return { output, beep, close: () => context.close() };
  }

  /** Reads codes and the tone from a video and an audio track, either may be missing. */
  window.watch = (videoTrack, audioTrack) => {
    const seen = { frames: 0, bad: 0, distinct: 0, first: null, last: null, firstAt: null, latencyMs: null, size: null, at: null, pauseMs: 0 };
    const numbers = new Set();
    const stop = [];
    if (videoTrack) stop.push(watchVideo(videoTrack, seen, numbers));
    const ear = audioTrack && listen(audioTrack);
    return {
      report: () => ({ ...seen, distinct: numbers.size, toneHz: ear?.tone() ?? null }),
      reset: () => { numbers.clear(); Object.assign(seen, { frames: 0, bad: 0, first: null, last: null, firstAt: null, at: null, pauseMs: 0 }); },
      close: () => { stop.forEach((f) => f()); return ear?.close(); },
    };
  };

  function watchVideo(track, seen, numbers) {
    const video = Object.assign(document.createElement('video'), { muted: true, autoplay: true, playsInline: true });
    video.srcObject = new MediaStream([track]);
    document.body.append(video);
    video.play().catch(() => {});
    const canvas = document.createElement('canvas');
    const pen = canvas.getContext('2d', { willReadFrequently: true, alpha: false });
    let running = true;
    const read = () => {
      if (!running) return;
      video.requestVideoFrameCallback(read);
      const [width, height] = [video.videoWidth, video.videoHeight];
      if (!width) return;
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      pen.drawImage(video, 0, 0);
      note(readCode(pen, width, height), seen, numbers, `${width}x${height}`);
    };
    video.requestVideoFrameCallback(read);
    return () => { running = false; video.remove(); };
  }

  function readCode(pen, width, height) {
    const { data } = pen.getImageData(0, 0, width, Math.floor(height * 0.5));
    return readPicture((x, y) => data[(y * width + x) * 4], width, height);
  }

  function note(code, seen, numbers, size) {
    seen.frames += 1;
    seen.size = size;
    if (!code) { seen.bad += 1; return; }
    const now = performance.now();
    seen.firstAt ??= now;
    seen.pauseMs = Math.max(seen.pauseMs, now - (seen.at ?? now));
    seen.at = now;
    seen.first ??= code.frame;
    seen.last = code.frame;
    seen.latencyMs = Date.now() - code.clock;
    numbers.add(code.frame);
  }

  function listen(track) {
    // Chromium pulls a remote track only while a media element plays it.
    const element = Object.assign(new Audio(), { muted: true, autoplay: true });
    element.srcObject = new MediaStream([track]);
    element.play().catch(() => {});
    const context = new AudioContext({ sampleRate: 48_000 });
    const analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
    new MediaStreamAudioSourceNode(context, { mediaStream: new MediaStream([track]) }).connect(analyser);
    const bins = new Float32Array(analyser.frequencyBinCount);
    return {
      /** Frequency of the loudest bin above -70 dB, or null in silence. */
      tone: () => {
        analyser.getFloatFrequencyData(bins);
        const loudest = bins.reduce((best, db, i) => (db > bins[best] ? i : best), 1);
        return bins[loudest] > -70 ? (loudest * context.sampleRate) / analyser.fftSize : null;
      },
      close: () => { element.srcObject = null; return context.close(); },
    };
  }
})();
