"""aiortc over WHIP (RFC 9725) and WHEP: client.py whip|whep URL TOKEN SECONDS

Publishes or reads the same coded pictures and tone as e2e/page/probe.js; prints one JSON object.
"""

import asyncio
import fractions
import json
import math
import struct
import sys
import time
import urllib.parse

import aiohttp
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

COLUMNS, ROWS = 16, 5
WIDTH, HEIGHT, FPS = 320, 180, 15
FRAME_OFFSET = 50_000
TONE_HZ, RATE, SAMPLES = 540, 48_000, 960


def to_bits(value, count):
    return [(value >> (count - 1 - i)) & 1 for i in range(count)]


def to_number(bits):
    return int("".join(map(str, bits)), 2)


def encode(clock, frame):
    payload = to_bits(clock, 48) + to_bits(frame % 65536, 16)
    total = 0x1D0F
    for i in range(0, 64, 8):
        total = (total * 31 + to_number(payload[i : i + 8])) & 0xFFFF
    return payload + to_bits(total, 16)


def decode(bits):
    clock, frame = to_number(bits[:48]), to_number(bits[48:64])
    return frame if encode(clock, frame) == bits else None


class Picture(MediaStreamTrack):
    kind = "video"

    def __init__(self):
        super().__init__()
        self.count, self.start = 0, None

    async def recv(self):
        self.start = self.start or time.monotonic()
        await asyncio.sleep(max(0, self.start + self.count / FPS - time.monotonic()))
        frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
        luma, *chroma = frame.planes
        luma.update(self.luma(luma.line_size))
        for plane in chroma:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts, frame.time_base = self.count * 90_000 // FPS, fractions.Fraction(1, 90_000)
        self.count += 1
        return frame

    def luma(self, stride):
        bits = encode(int(time.time() * 1000), FRAME_OFFSET + self.count)
        block_w, block_h = WIDTH // COLUMNS, HEIGHT // 2 // ROWS
        pad = bytes(stride - WIDTH)
        lines = []
        for row in range(ROWS):
            line = b"".join(bytes([235 if b else 16]) * block_w for b in bits[row * COLUMNS : (row + 1) * COLUMNS])
            lines += [line + pad] * block_h
        x = self.count * 7 % (WIDTH - 32)
        moving = bytes([60]) * x + bytes([160]) * 32 + bytes([60]) * (WIDTH - 32 - x) + pad
        return b"".join(lines + [moving] * (HEIGHT - len(lines)))


class Tone(MediaStreamTrack):
    kind = "audio"

    def __init__(self):
        super().__init__()
        self.count, self.start = 0, None

    async def recv(self):
        self.start = self.start or time.monotonic()
        await asyncio.sleep(max(0, self.start + self.count * SAMPLES / RATE - time.monotonic()))
        first = self.count * SAMPLES
        wave = (int(3000 * math.sin(2 * math.pi * TONE_HZ * (first + i) / RATE)) for i in range(SAMPLES))
        frame = AudioFrame("s16", "mono", SAMPLES)
        frame.planes[0].update(struct.pack(f"<{SAMPLES}h", *wave))
        frame.sample_rate, frame.pts, frame.time_base = RATE, first, fractions.Fraction(1, RATE)
        self.count += 1
        return frame


async def read_pictures(track, report):
    numbers = set()
    while True:
        try:
            frame = (await track.recv()).reformat(format="yuv420p")
        except MediaStreamError:
            return
        plane, (w, h) = frame.planes[0], (frame.width / COLUMNS, frame.height * 0.5 / ROWS)
        data, stride = bytes(plane), plane.line_size
        spots = (((i % COLUMNS) + 0.5, (i // COLUMNS) + 0.5) for i in range(COLUMNS * ROWS))
        number = decode([int(data[int(y * h) * stride + int(x * w)] > 128) for x, y in spots])
        report["frames"] += 1
        if number is None:
            report["bad"] += 1
            continue
        numbers.add(number)
        report.update(distinct=len(numbers), first=min(numbers), last=max(numbers))


async def read_tone(track, report):
    """Frequency by counting rising zero crossings over a second at a time."""
    crossings, samples, before = 0, 0, 0
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        channels = len(frame.layout.channels)
        values = struct.unpack(f"<{frame.samples * channels}h", bytes(frame.planes[0])[: frame.samples * channels * 2])
        for value in values[::channels]:
            crossings += before < 0 <= value
            before = value
        samples += frame.samples
        if samples >= frame.sample_rate:
            report["tone_hz"] = crossings * frame.sample_rate / samples
            crossings = samples = 0


async def main(mode, url, token, seconds):
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    report = {"frames": 0, "bad": 0, "distinct": 0, "first": None, "last": None, "tone_hz": None, "states": []}
    pc.on("connectionstatechange", lambda: report["states"].append(pc.connectionState))
    tasks = []
    readers = {"video": read_pictures, "audio": read_tone}
    pc.on("track", lambda track: tasks.append(asyncio.ensure_future(readers[track.kind](track, report))))
    if mode == "whip":
        pc.addTransceiver(Tone(), "sendonly")
        pc.addTransceiver(Picture(), "sendonly")
    else:
        pc.addTransceiver("audio", "recvonly")
        pc.addTransceiver("video", "recvonly")
    await pc.setLocalDescription(await pc.createOffer())
    async with aiohttp.ClientSession() as http:
        headers = {"content-type": "application/sdp", "authorization": f"Bearer {token}"}
        async with http.post(url, data=pc.localDescription.sdp, headers=headers) as response:
            answer = await response.text()
            if response.status != 201:
                sys.exit(f"{response.status}: {answer}")
            session = urllib.parse.urljoin(url, response.headers["location"])
        await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await asyncio.sleep(seconds)
        async with http.delete(session) as response:
            report["deleted"] = response.status
    await pc.close()
    for task in tasks:
        task.cancel()
    print(json.dumps(report))


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
