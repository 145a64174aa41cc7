"""Recordings for tests: videos with sound whose clocks, rates and contents are known."""

import functools
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

from vasa.data.config import SpokenConfig
from vasa.data.synthetic.clips import SyntheticClips

TICK = 90_000
HEAD = 96


@functools.cache
def heads():
    """Two people, uint8 (2, 30, 96, 96, 3), who talk for as long as one asks if it goes to and fro."""
    spoken = SpokenConfig(espeak_share=0.0, singing_share=0.0, silent_share=0.0)
    clips = SyntheticClips("test", num_clips=2, seconds=1.2, size=HEAD, spoken=spoken)
    return np.stack([clips[0].frames[:30], clips[1].frames[:30]])


def talk(person, count):
    """``count`` frames (T, 96, 96, 3) of one of the two."""
    return heads()[person][np.abs((np.arange(count) + 29) % 58 - 29)]


def record(
    path: Path,
    frames,
    times=None,
    fps=25.0,
    sound=None,
    sound_hz=16_000,
    sound_start=0.0,
    codec="libx264",
    sound_codec=None,
    pixels="yuv420p",
    gop=12,
    crf="10",
):
    """Writes frames (T, H, W, 3), shown at ``times`` (T,) seconds or at ``fps``, and sound (N,) in one file.

    In .mkv the sound is stored exactly, in .mp4 as AAC.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(len(frames)) / fps if times is None else times
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = pixels
        video.codec_context.time_base = Fraction(1, TICK)
        video.options = {"crf": crf, "g": str(gop), "bf": "0"}
        if sound is not None:
            name = sound_codec or ("aac" if path.suffix in (".mp4", ".m4a") else "pcm_s16le")
            track = container.add_stream(name, rate=sound_hz, layout="mono")
        packets = []
        for picture, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = round(time * TICK), Fraction(1, TICK)
            packets += video.encode(frame)
        packets += video.encode(None)
        if sound is not None:
            packets += _encoded(track, sound, sound_hz, sound_start)
        packets.sort(key=lambda packet: float(packet.dts * packet.time_base))
        for packet in packets:
            container.mux(packet)
    return path


def record_sound(path: Path, sound, sound_hz=16_000):
    """A sound file of its own; .m4a holds AAC."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        track = container.add_stream(
            "aac" if path.suffix == ".m4a" else "pcm_s16le", rate=sound_hz, layout="mono"
        )
        for packet in _encoded(track, sound, sound_hz, 0.0):
            container.mux(packet)
    return path


def _encoded(track, sound, rate, start):
    packets, block = [], 1024
    for first in range(0, len(sound), block):
        part = (np.clip(sound[None, first : first + block], -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(part, "s16", "mono")
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = first + round(start * rate)
        packets += track.encode(frame)
    return packets + track.encode(None)


def ffmpeg(*arguments):
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)], check=True)


def numbered(count, height=48, width=64):
    """Frames (T, H, W, 3) that say their numbers: 8 grey bars, bright where a bit is set."""
    bits = (np.arange(count)[:, None] >> np.arange(8)) & 1
    bars = np.repeat(bits.astype(np.uint8) * 180 + 30, width // 8, 1)
    return np.broadcast_to(bars[:, None, :, None], (count, height, width, 3)).copy()


def number_of(luma):
    """The number that a picture of ``numbered`` says, by its luma (H, W)."""
    bars = luma.astype(float).mean(0).reshape(8, -1).mean(1)
    return int(sum(1 << bit for bit, level in enumerate(bars) if level > 110))


def clicks(times, seconds, rate=16_000):
    """Sound (N,) with 5 ms of a loud tone from each of ``times`` on."""
    sound = np.zeros(round(seconds * rate), np.float32)
    for time in times:
        first = round(time * rate)
        length = min(rate // 200, len(sound) - first)
        sound[first : first + length] = 0.8 * np.sin(np.arange(length) * 2 * np.pi * 2000 / rate)
    return sound


def hum(seconds, rate=16_000):
    """Sound (N,) that is never silent."""
    return (0.3 * np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 220 / rate)).astype(np.float32)
