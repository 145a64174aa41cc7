"""What a clip's files hold: the same bytes every time, frames at random, and no silent damage."""

import io

import av
import numpy as np
import pytest
from clip_folders import FRAMES, pictures, shown

from vasa.data.config import EncodeConfig
from vasa.data.members import (
    SIGNALS,
    decode_frames,
    decode_masks,
    decode_signals,
    decode_sound,
    encode_frames,
    encode_masks,
    encode_signals,
    encode_sound,
)
from vasa.data.synthetic.clips import SyntheticClips


@pytest.fixture(scope="module")
def head():
    """A synthetic person who talks for a second."""
    return SyntheticClips("train", num_clips=1, seconds=1.0, size=128).__getitem__(0)


@pytest.fixture(scope="module")
def encoded(head):
    return encode_frames(head.frames, EncodeConfig())


def psnr(found, true):
    return 10 * np.log10(255**2 / np.mean((found.astype(float) - true) ** 2))


def test_frames_come_back_as_they_were_to_the_eye(head, encoded):
    found = decode_frames(io.BytesIO(encoded), range(len(head.frames)))
    assert found.shape == head.frames.shape and found.dtype == np.uint8
    assert psnr(found.mean(-1), head.frames.mean(-1)) > 40
    assert psnr(found, head.frames) > 35  # colours are stored at half the size, and these heads are small
    assert np.abs((found.astype(float) - head.frames).mean((0, 1, 2))).max() < 0.5, "no colour is shifted"
    worse = encode_frames(head.frames, EncodeConfig(crf=30))
    assert len(worse) < len(encoded) / 2
    assert psnr(decode_frames(io.BytesIO(worse), range(25)), head.frames) < psnr(found, head.frames) - 3


def test_the_same_frames_give_the_same_bytes_in_a_plain_mp4(head, encoded):
    assert encode_frames(head.frames, EncodeConfig()) == encoded
    assert encoded.index(b"moov") < encoded.index(b"mdat"), "the table comes first"
    with av.open(io.BytesIO(encoded)) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 25)
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert [packet.is_keyframe for packet in packets] == [n % 10 == 0 for n in range(25)]
        assert all(packet.pts == packet.dts for packet in packets), "no frame looks ahead"


@pytest.mark.parametrize("gop", [1, 7, 10])
def test_frames_at_random_are_those_of_the_whole(gop):
    data = encode_frames(pictures(2), EncodeConfig(gop=gop))
    whole = decode_frames(io.BytesIO(data), range(FRAMES))
    assert (shown(whole)[1] == np.arange(FRAMES)).all()
    for wanted in ([23], [5, 4], [0, 23, 11, 11], [9, 10], list(range(20, 3, -3))):
        assert (decode_frames(io.BytesIO(data), wanted) == whole[wanted]).all()


def test_a_frame_at_random_reads_little_of_the_file(head):
    class Counting(io.BytesIO):
        taken = 0

        def read(self, size=-1):
            data = super().read(size)
            self.taken += len(data)
            return data

    noise = np.random.default_rng(0).integers(0, 256, (200, 128, 128, 3)).astype(np.uint8)
    file = Counting(encode_frames(noise, EncodeConfig(crf=30)))
    decode_frames(file, [55])
    assert file.taken < len(file.getvalue()) / 8


def test_masks_come_back_in_their_full_range():
    masks = np.zeros((12, 64, 80), np.uint8)
    for number in range(12):
        masks[number, 8:40, number : number + 40] = 255
    found = decode_masks(io.BytesIO(encode_masks(masks, EncodeConfig())), range(12))
    assert found.shape == masks.shape
    assert ((found > 127) == (masks > 127)).mean() > 0.999
    assert found[:, 16:32, 20:32].min() > 247 and found[:, 48:].max() < 8


@pytest.mark.full
def test_bytes_do_not_depend_on_what_was_in_memory_before():
    """One encoding in sixty did, with x264's macroblock tree."""
    rng, kept = np.random.default_rng(0), []
    frames = rng.integers(0, 255, (30, 12, 12, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    wanted = encode_frames(frames, EncodeConfig())
    for turn in range(400):
        kept.append([np.full(rng.integers(1, 50_000), rng.random()) for _ in range(rng.integers(1, 60))])
        kept = kept[-3:]
        encode_masks(rng.integers(0, 255, (10, 96, 96), dtype=np.uint8), EncodeConfig())
        assert encode_frames(frames.copy(), EncodeConfig()) == wanted, turn


def test_sound_comes_back_to_16_bits():
    sound = np.random.default_rng(0).uniform(-1, 1, 6400).astype(np.float32)
    sound[:2] = 1.5, -1.5
    data = encode_sound(sound)
    assert data[:4] == b"fLaC" and data == encode_sound(sound)
    found = decode_sound(io.BytesIO(data))
    assert found.dtype == np.float32 and np.abs(found - np.clip(sound, -1, 1)).max() <= 1 / 32768
    assert (decode_sound(io.BytesIO(encode_sound(found))) == found).all()


def test_signals_come_back_by_name_and_shape():
    rng = np.random.default_rng(0)
    signals = {name: rng.normal(size=(5, *shape)) for name, (shape, _) in SIGNALS.items()}
    signals["identity"] = rng.normal(size=512)
    data = encode_signals(signals, 5)
    assert data == encode_signals(dict(reversed(signals.items())), 5)
    found = decode_signals(data)
    assert found.keys() == signals.keys() and all(value.dtype == np.float32 for value in found.values())
    for name, value in signals.items():
        assert np.abs(found[name] - value).max() < (1e-6 if name == "pose" else 2e-3), name
    assert len(decode_signals(encode_signals({}, 5))) == 0


def test_what_does_not_fit_is_refused():
    config = EncodeConfig()
    for frames in (
        np.zeros((2, 8, 8, 3)),
        np.zeros((0, 8, 8, 3), np.uint8),
        np.zeros((2, 8, 9, 3), np.uint8),
    ):
        with pytest.raises(ValueError, match="wanted uint8, at least one, of an even size"):
            encode_frames(frames, config)
    with pytest.raises(ValueError, match=r"wanted \(T, S, S, 3\)"):
        encode_frames(np.zeros((2, 8, 8), np.uint8), config)
    with pytest.raises(ValueError, match="wanted finite mono samples"):
        encode_sound(np.full(640, np.nan, np.float32))
    with pytest.raises(ValueError, match=r"signal pose has shape \(4, 6\); wanted \(5, 6\)"):
        encode_signals({"pose": np.zeros((4, 6))}, 5)
    with pytest.raises(ValueError, match="signal 'mood' is unknown; wanted pose, "):
        encode_signals({"mood": np.zeros((5, 6))}, 5)
    with pytest.raises(ValueError, match="beyond the range of float16"):
        encode_signals({"gaze": np.full((5, 2), 1e6)}, 5)
    with pytest.raises(ValueError, match="wanted 0 to 51 both, and at least 1"):
        EncodeConfig(gop=0)


def test_damage_is_never_passed_over(encoded):
    half = encoded[: len(encoded) // 2]
    decode_frames(io.BytesIO(half), [0])
    with pytest.raises(ValueError, match="it cannot be decoded|it has no frame 24"):
        decode_frames(io.BytesIO(half), [24])
    with pytest.raises(ValueError, match="it has no frame 25"):
        decode_frames(io.BytesIO(encoded), [25])
    with pytest.raises(ValueError, match="it cannot be decoded"):
        decode_frames(io.BytesIO(bytes(3000)), [0])
    with pytest.raises(ValueError, match="it cannot be decoded"):
        decode_sound(io.BytesIO(b"fLaC"))
    with pytest.raises(ValueError, match="it cannot be decoded"):
        decode_signals(b"{}")
