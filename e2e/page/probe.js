// Proof of media. `source()` makes a picture that carries a code in every frame and a pure tone;
// `watch()` reads both back on the other side. A picture counts only when its checksum matches.
//
//   frame: 16 x 5 black or white blocks = 48 bits sender's clock in ms, 16 bits frame number,
//          16 bits checksum. Frame numbers start at `offset`, so that a source is known by them.

(() => {
  const COLUMNS = 16;
  const ROWS = 5;
  const CODE_BITS = COLUMNS * ROWS;
  const CLOCK_BITS = 48;
  const NUMBER_BITS = 16;
  const WHITE = 128;

  const bits = (value, count) => Array.from({ length: count }, (_, i) => Math.floor(value / 2 ** (count - 1 - i)) % 2);
  const number = (from) => from.reduce((value, bit) => value * 2 + bit, 0);

  function encode(clock, frame) {
    const payload = [...bits(clock, CLOCK_BITS), ...bits(frame % 65536, NUMBER_BITS)];
    let sum = 0x1d0f;
    for (let i = 0; i < payload.length; i += 8) sum = (sum * 31 + number(payload.slice(i, i + 8))) & 0xffff;
    return [...payload, ...bits(sum, 16)];
  }

  function decode(code) {
    const clock = number(code.slice(0, CLOCK_BITS));
    const frame = number(code.slice(CLOCK_BITS, CLOCK_BITS + NUMBER_BITS));
    return encode(clock, frame).every((bit, i) => bit === code[i]) ? { clock, frame } : null;
  }

  /** A coded camera and a tone of `tone` Hz; `offset` is the first frame's number. */
  window.source = ({ width = 320, height = 180, fps = 15, tone = 440, offset = 0 } = {}) => {
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const pen = canvas.getContext('2d', { alpha: false });
    const stream = canvas.captureStream(fps);
    let frame = offset;
    const draw = () => {
      pen.fillStyle = '#404040';
      pen.fillRect(0, 0, width, height);
      pen.fillStyle = '#c08020'; // Something that moves, so that encoders have work.
      pen.fillRect((frame * 7) % width, height * 0.6, width * 0.1, height * 0.3);
      const [w, h] = [width / COLUMNS, (height * 0.5) / ROWS];
      encode(Date.now(), frame).forEach((bit, i) => {
        pen.fillStyle = bit ? '#fff' : '#000';
        const [x, y] = [(i % COLUMNS) * w, Math.floor(i / COLUMNS) * h];
        pen.fillRect(Math.floor(x), Math.floor(y), Math.ceil(w), Math.ceil(h));
      });
      frame += 1;
    };
    draw();
    const timer = setInterval(draw, 1000 / fps);
    const context = new AudioContext({ sampleRate: 48_000 });
    const oscillator = new OscillatorNode(context, { frequency: tone });
    const output = new MediaStreamAudioDestinationNode(context);
    oscillator.connect(new GainNode(context, { gain: 0.1 })).connect(output);
    oscillator.start();
    return {
      video: stream.getVideoTracks()[0],
      audio: output.stream.getAudioTracks()[0],
      stop: () => { clearInterval(timer); stream.getTracks().forEach((t) => t.stop()); return context.close(); },
    };
  };

  /** Reads codes and the tone from a video and an audio track, either may be missing. */
  window.watch = (videoTrack, audioTrack) => {
    const seen = { frames: 0, bad: 0, distinct: 0, first: null, last: null, firstAt: null, latencyMs: null, size: null };
    const numbers = new Set();
    const stop = [];
    if (videoTrack) stop.push(watchVideo(videoTrack, seen, numbers));
    const ear = audioTrack && listen(audioTrack);
    return {
      report: () => ({ ...seen, distinct: numbers.size, toneHz: ear?.tone() ?? null }),
      reset: () => { numbers.clear(); Object.assign(seen, { frames: 0, bad: 0, first: null, last: null, firstAt: null }); },
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
    const top = Math.floor(height * 0.5);
    const { data } = pen.getImageData(0, 0, width, top);
    const [w, h] = [width / COLUMNS, (height * 0.5) / ROWS];
    return decode(Array.from({ length: CODE_BITS }, (_, i) => {
      const [x, y] = [Math.floor(((i % COLUMNS) + 0.5) * w), Math.floor((Math.floor(i / COLUMNS) + 0.5) * h)];
      return data[(y * width + x) * 4] > WHITE ? 1 : 0;
    }));
  }

  function note(code, seen, numbers, size) {
    seen.frames += 1;
    seen.size = size;
    if (!code) { seen.bad += 1; return; }
    seen.firstAt ??= performance.now();
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
