"""What a clip's files hold, in memory: frames and masks as mp4, sound as flac, signals as safetensors.

The same input gives the same bytes: one encoder thread, no dates, no names, and none of x264's "macroblock
tree", which now and then (one clip of sixty) decides by what lay in the memory that it was given. Every frame
that is not a key frame looks back and none ahead, so a frame at random costs its group's frames up to it and
nothing else. Knows nothing of shards.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from vasa.data.config import EncodeConfig
from vasa.records import AUDIO_HZ, EMOTIONS, SAMPLES_PER_FRAME, VIDEO_FPS

PRESET = "veryfast"
"""x264's. Slower ones save 3 % of the bytes at twice the time; ultrafast takes twice the bytes."""
SIGNALS: dict[str, tuple[tuple[int, ...], type]] = {
    "pose": ((6,), np.float32),
    "landmarks": ((68, 2), np.float16),
    "gaze": ((2,), np.float16),
    "distance": ((1,), np.float16),
    "emotion": ((len(EMOTIONS),), np.float16),
    "blink": ((2,), np.float16),
}
"""Signals of each frame, (T, ...), as records.py has them, and how they are stored."""
IDENTITY = "identity"
"""One vector (E,) of the clip, float16."""
_INT16 = 32768


def encode_frames(frames: np.ndarray, config: EncodeConfig) -> bytes:
    """Frames uint8 (T, S, S, 3) RGB, S even -> H.264 in mp4, 4:2:0, BT.709 in the range of television."""
    if frames.ndim != 4 or frames.shape[3] != 3:
        raise ValueError(f"frames have shape {frames.shape}; wanted (T, S, S, 3).")
    return _encode(frames, config.crf, config.gop)


def encode_masks(masks: np.ndarray, config: EncodeConfig) -> bytes:
    """Masks uint8 (T, S, S), S even -> H.264 in mp4, grey alone, in the full range."""
    if masks.ndim != 3:
        raise ValueError(f"masks have shape {masks.shape}; wanted (T, S, S).")
    return _encode(masks, config.mask_crf, config.gop)


def _encode(images: np.ndarray, crf: int, gop: int) -> bytes:
    import av

    if images.dtype != np.uint8 or not len(images) or images.shape[1] % 2 or images.shape[2] % 2:
        raise ValueError(
            f"pictures are {images.dtype} {images.shape}; wanted uint8, at least one, of an even size."
        )
    is_grey = images.ndim == 3
    buffer = io.BytesIO()
    # The table of frames stands in front, in a place that is kept free for it: the usual way, to move
    # everything once it is known, would need a file on disk.
    options = {"moov_size": str(4096 + 32 * len(images)), "fflags": "+bitexact"}
    with av.open(buffer, "w", format="mp4", options=options) as container:
        stream: Any = container.add_stream("libx264", rate=VIDEO_FPS)
        stream.height, stream.width = images.shape[1:3]
        stream.pix_fmt = "gray" if is_grey else "yuv420p"
        codec = stream.codec_context
        codec.thread_count, codec.flags = 1, codec.flags | av.codec.context.Flags.bitexact
        codec.color_range = 2 if is_grey else 1
        if not is_grey:
            codec.colorspace = codec.color_primaries = codec.color_trc = 1
        codec.options = {
            "crf": str(crf),
            "preset": PRESET,
            "g": str(gop),
            "keyint_min": str(gop),
            "sc_threshold": "0",
            "bf": "0",
            "x264-params": "mbtree=0",
        }
        for number, image in enumerate(images):
            frame = _grey(image) if is_grey else _yuv(image)
            frame.pts, frame.time_base = number, Fraction(1, VIDEO_FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


_NO_PROBING = {"probesize": "32", "analyzeduration": "0"}
_NO_GUESSING: Any = [{"skip_frame": "all", "threads": "1"}]
"""Else opening decodes a frame to learn what the file's own header says, which takes as long as two."""


def _grey(image: np.ndarray) -> Any:
    import av

    return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="gray")


def _yuv(image: np.ndarray) -> Any:
    import av
    from av.video.reformatter import Interpolation

    # Without these flags every colour comes back one level darker on average.
    exact = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(
        format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG", interpolation=exact, threads=1
    )


def _rgb(frame: Any) -> np.ndarray:
    from av.video.reformatter import Interpolation

    exact = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    return frame.to_ndarray(
        format="rgb24", src_colorspace="ITU709", src_color_range="MPEG", interpolation=exact, threads=1
    )


def _luma(frame: Any) -> np.ndarray:
    plane = frame.planes[0]  # the decoder adds empty colours
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width].copy()


def decode_frames(file: IO[bytes] | io.RawIOBase, indices: Sequence[int]) -> np.ndarray:
    """The frames at ``indices``, in their order: uint8 (len(indices), S, S, 3) RGB.

    file: an mp4 of ``encode_frames``, of which only what is needed is read and decoded: from the key frame
    before each frame. Raises: ValueError where it is damaged or has no such frame.
    """
    return _decode(file, indices, _rgb)


def decode_masks(file: IO[bytes] | io.RawIOBase, indices: Sequence[int]) -> np.ndarray:
    """As ``decode_frames``, of ``encode_masks``: uint8 (len(indices), S, S)."""
    return _decode(file, indices, _luma)


def _decode(file: IO[bytes] | io.RawIOBase, indices: Sequence[int], picture: Any) -> np.ndarray:
    import av

    found = {}
    try:
        with av.open(file, format="mp4", options=_NO_PROBING, stream_options=_NO_GUESSING) as container:
            for index, frame in _frames_at(container, sorted(set(map(int, indices)))):
                found[index] = picture(frame)
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"it cannot be decoded: {error}") from error
    missing = [int(index) for index in indices if int(index) not in found]
    if missing:
        raise ValueError(f"it has no frame {missing[0]}")
    return np.stack([found[int(index)] for index in indices])


def _frames_at(container: Any, wanted: list[int]) -> Iterator[tuple[int, Any]]:
    """Frames at ascending places. It goes on decoding where the next is in the group at hand, else seeks."""
    import av

    stream = container.streams.video[0]
    codec = stream.codec_context
    codec.thread_count, codec.options = 1, {"err_detect": "explode"}
    ticks, place = 1 / (VIDEO_FPS * stream.time_base), -1
    packets = container.demux(stream)
    for index in wanted:
        time = int(index * ticks)
        key = stream.index_entries.search_timestamp(time)  # the key frame at or before it
        if not key <= place < index:
            container.seek(time, stream=stream)
        frames = (frame for packet in packets for frame in packet.decode())
        frame = next((frame for frame in frames if round(frame.pts / ticks) >= index), None)
        if frame is None:
            return
        place = round(frame.pts / ticks)
        if place == index and not frame.is_corrupt:
            yield index, frame
    # PyAV 18 loses a packet where ``demux`` is left before the end, 160 bytes each time.
    with suppress(av.FFmpegError):
        container.seek(int((stream.frames - 1) * ticks), stream=stream, any_frame=True)
        for _ in packets:
            pass


def encode_sound(sound: np.ndarray) -> bytes:
    """Sound float32 (N,) in [-1, 1] at AUDIO_HZ -> flac of 16 bits."""
    import soundfile

    if sound.ndim != 1 or not len(sound) or not np.isfinite(sound).all():
        raise ValueError(f"sound is {sound.dtype} {sound.shape}; wanted finite mono samples (N,).")
    samples = np.clip(np.round(np.float64(sound) * _INT16), -_INT16, _INT16 - 1).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, AUDIO_HZ, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_sound(file: IO[bytes] | io.RawIOBase) -> np.ndarray:
    """The inverse of ``encode_sound``: float32 (N,). Raises: ValueError where it is damaged."""
    import soundfile

    try:
        samples, rate = soundfile.read(file, dtype="int16")
    except (soundfile.LibsndfileError, TypeError) as error:
        raise ValueError(f"it cannot be decoded: {error}") from error
    if rate != AUDIO_HZ or samples.ndim != 1:
        raise ValueError(f"it is {samples.shape} at {rate} Hz; wanted mono at {AUDIO_HZ}")
    return samples.astype(np.float32) / _INT16


def encode_signals(signals: Mapping[str, np.ndarray], num_frames: int) -> bytes:
    """Some or all of SIGNALS, each (T, ...) -> safetensors. Raises: ValueError naming what does not fit."""
    stored: dict[str, np.ndarray] = {}
    for name in sorted(signals):
        value = np.asarray(signals[name])
        if name not in SIGNALS and name != IDENTITY:
            raise ValueError(f"signal {name!r} is unknown; wanted {', '.join(SIGNALS)} or {IDENTITY}.")
        one, kind = SIGNALS.get(name, ((), np.float16))
        shape = value.shape[:1] if name == IDENTITY else (num_frames, *one)
        if value.shape != shape:
            raise ValueError(f"signal {name} has shape {value.shape}; wanted {shape}.")
        with np.errstate(over="ignore"):
            stored[name] = np.ascontiguousarray(value.astype(kind))
        if np.isinf(stored[name]).any():
            raise ValueError(f"signal {name} has values beyond the range of {np.dtype(kind)}.")
    return save(stored)


def decode_signals(data: bytes) -> dict[str, np.ndarray]:
    """The inverse of ``encode_signals``, all float32. Raises: ValueError where it is damaged."""
    try:
        return {name: value.astype(np.float32) for name, value in load(data).items()}
    except SafetensorError as error:
        raise ValueError(f"it cannot be decoded: {error}") from error


def check_lengths(num_frames: int, num_samples: int, num_masks: int | None) -> None:
    """Raises: ValueError unless sound and masks last as long as the frames."""
    if num_samples != num_frames * SAMPLES_PER_FRAME or num_masks not in (None, num_frames):
        raise ValueError(
            f"a clip has {num_frames} frames, {num_samples} samples and {num_masks} masks; wanted "
            f"{SAMPLES_PER_FRAME} samples and one mask, or none at all, for each frame."
        )
