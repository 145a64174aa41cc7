"""The seam: what is written is read, statistics are right, another face is refused, a killed encoding carries
on.
"""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vasa.data.config import ClipsConfig, SpokenConfig
from vasa.data.latent_cache import (
    CacheError,
    CacheHeader,
    EncodedClip,
    LatentCache,
    LatentCacheWriter,
)
from vasa.data.motion_windows import MotionWindows, cache_shares, pooled_statistics
from vasa.training.encode_motion import encode_motion
from vasa.training.motion_config import EncodeMotionRun

A, E, V = 5, 9, 2
HEADER = CacheHeader(
    face_hash="a" * 64,
    dynamics_dim=3,
    audio_dim=A,
    num_variants=V,
    audio={"kind": "logmel"},
    source={"seed": 0},
)


def clip(index: int, num_frames: int, controls: bool = True, audio: bool = False) -> EncodedClip:
    g = torch.Generator().manual_seed(index)
    given = {
        "gaze": torch.randn(2, generator=g),
        "distance": torch.rand((), generator=g) + 0.5,
        "emotion": torch.rand(8, generator=g),
    }
    return EncodedClip(
        clip_id=f"clip{index}",
        motion=torch.randn(num_frames, E, generator=g) * 3 + 1,
        features=torch.randn(V, num_frames, A, generator=g) + 2,
        audio=torch.rand(V, num_frames * 640, generator=g) * 2 - 1 if audio else None,
        **(given if controls else {}),
    )


def write(folder: Path, shards: list[list[EncodedClip]], header: CacheHeader = HEADER) -> LatentCache:
    writer = LatentCacheWriter(folder, header)
    for number, clips in enumerate(shards):
        writer.write(number, clips)
    writer.finish(len(shards))
    return LatentCache(folder)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    clips = [clip(0, 7, audio=True), clip(1, 4, controls=False, audio=True), clip(2, 11, audio=True)]
    cache = write(tmp_path, [clips[:2], clips[2:]])
    assert len(cache) == 3 and cache.num_frames == 22 and cache.header == HEADER
    for index, wanted in enumerate(clips):
        assert cache.clips[index].clip_id == wanted.clip_id
        assert torch.equal(cache.motion(index), wanted.motion)
        assert torch.equal(cache.motion(index, 1, 3), wanted.motion[1:3])
        for variant in range(V):
            assert torch.equal(cache.features(index, variant), wanted.features[variant].half())
            # stored as 16 bit
            torch.testing.assert_close(cache.audio(index, variant), wanted.audio[variant], atol=2e-5, rtol=0)
        for name in ("gaze", "distance", "emotion"):
            value = getattr(wanted, name)
            got = cache.control(index, name)
            assert (got is None) if value is None else torch.equal(got, value.reshape(-1))


def test_statistics_are_those_of_all_frames(tmp_path: Path) -> None:
    clips = [clip(0, 7), clip(1, 4, controls=False), clip(2, 11)]
    cache = write(tmp_path, [clips[:2], clips[2:]])
    motion = torch.cat([c.motion for c in clips])
    torch.testing.assert_close(cache.statistics["motion_mean"], motion.mean(0))
    torch.testing.assert_close(cache.statistics["motion_std"], motion.std(0, correction=0))
    features = torch.cat([c.features.half().float().flatten(0, 1) for c in clips])
    torch.testing.assert_close(cache.statistics["features_std"], features.std(0, correction=0))
    distance = torch.stack([clips[0].distance, clips[2].distance])
    torch.testing.assert_close(cache.statistics["distance_mean"], distance.mean().reshape(1))


def test_another_face_checkpoint_is_refused_by_reader_and_writer(tmp_path: Path) -> None:
    write(tmp_path, [[clip(0, 7)]])
    with pytest.raises(CacheError, match=r"by face checkpoint a{12}, not by b{12}.*encode again"):
        LatentCache(tmp_path, face_hash="b" * 64)
    assert len(LatentCache(tmp_path, face_hash="a" * 64)) == 1
    with pytest.raises(CacheError, match="encoded by face checkpoint"):
        LatentCacheWriter(tmp_path, replace(HEADER, face_hash="b" * 64))


def test_a_shard_swapped_for_another_faces_is_refused_when_read(tmp_path: Path) -> None:
    cache = write(tmp_path / "mine", [[clip(0, 7)]])
    write(tmp_path / "theirs", [[clip(0, 7)]], replace(HEADER, face_hash="b" * 64))
    (tmp_path / "theirs" / "shard_00000.safetensors").replace(tmp_path / "mine" / "shard_00000.safetensors")
    with pytest.raises(CacheError, match="encoded by face checkpoint"):
        cache.motion(0)


def test_other_settings_in_one_folder_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, [[clip(0, 7)]])
    with pytest.raises(CacheError, match="source"):
        LatentCacheWriter(tmp_path, replace(HEADER, source={"seed": 1}))


def test_missing_unfinished_damaged_and_soundless_caches_say_so(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="does not exist"):
        LatentCache(tmp_path / "nothing")
    writer = LatentCacheWriter(tmp_path / "cache", HEADER)
    writer.write(0, [clip(0, 7)])
    with pytest.raises(CacheError, match="unfinished"):
        LatentCache(tmp_path / "cache")
    with pytest.raises(CacheError, match="lacks shards"):
        writer.finish(2)
    writer.finish(1)
    with pytest.raises(CacheError, match="keep_audio"):
        LatentCache(tmp_path / "cache").audio(0)
    shard = tmp_path / "cache" / "shard_00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:40])
    with pytest.raises(CacheError, match="damaged"):
        LatentCacheWriter(tmp_path / "cache", HEADER)


def test_another_version_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [[clip(0, 7)]])
    index = json.loads((tmp_path / "index.json").read_text())
    index["cache"]["version"] = 99
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(CacheError, match="version 99"):
        LatentCache(tmp_path)


@pytest.mark.parametrize("field", ["motion", "features"])
def test_a_clip_that_is_not_finite_or_of_another_shape_is_named(tmp_path: Path, field: str) -> None:
    writer = LatentCacheWriter(tmp_path, HEADER)
    bad = clip(0, 7)
    getattr(bad, field).view(-1)[3] = torch.nan
    with pytest.raises(ValueError, match=f"{field} of clip clip0 holds NaN"):
        writer.write(0, [bad])
    short = clip(1, 7)
    setattr(short, field, getattr(short, field)[..., :-1])
    with pytest.raises(ValueError, match=f"{field} of clip clip1 is"):
        writer.write(0, [short])
    assert not writer.has(0, 1)


CLIPS = ClipsConfig(num_clips=5, seconds=0.6, spoken=SpokenConfig(espeak_share=0.0))
SMALL = {"clips": CLIPS, "clips_per_shard": 1, "variants": 2, "device": "cpu"}
SLOWLY = """
import sys, time
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
from test_latent_cache import SMALL, EncodeMotionRun, Path
import vasa.training.encode_motion as encoding
make = encoding.encode_clip
def slow(*args):
    time.sleep(0.5)
    return make(*args)
encoding.encode_clip = slow
encoding.encode_motion(EncodeMotionRun(output=Path(sys.argv[1]), **SMALL))
"""


def test_encoding_killed_between_shards_carries_on_and_ends_the_same(tmp_path: Path) -> None:
    folder, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, str(folder), str(Path(__file__).parent)])
    deadline = time.monotonic() + 600
    while len(list(folder.glob("shard_*.safetensors"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, "encoding ended before it could be killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in folder.glob("shard_*.safetensors")}
    assert 2 <= len(done) < 5
    with pytest.raises(CacheError, match="unfinished"):
        LatentCache(folder)
    for target in (folder, whole):
        encode_motion(EncodeMotionRun(output=target, **SMALL))
    assert all(path.stat().st_mtime_ns == at for path, at in done.items())  # whole shards were left alone
    resumed, straight = LatentCache(folder), LatentCache(whole)
    assert resumed.statistics.keys() == straight.statistics.keys()
    for name in straight.statistics:
        assert torch.equal(resumed.statistics[name], straight.statistics[name])
    for index in range(5):
        assert torch.equal(resumed.motion(index), straight.motion(index))
        assert torch.equal(resumed.features(index, 1), straight.features(index, 1))


def test_a_cache_grows(tmp_path: Path) -> None:
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    few = {**SMALL, "clips_per_shard": 2, "clips": replace(CLIPS, num_clips=3)}
    encode_motion(EncodeMotionRun(output=grown, **few))
    first, second = (grown / f"shard_0000{n}.safetensors" for n in range(2))
    kept, partial = first.stat().st_mtime_ns, second.stat().st_mtime_ns
    for target in (grown, whole):
        encode_motion(EncodeMotionRun(output=target, **{**SMALL, "clips_per_shard": 2}))
    assert first.stat().st_mtime_ns == kept and second.stat().st_mtime_ns != partial
    assert len(LatentCache(grown)) == len(LatentCache(whole)) == 5
    assert torch.equal(LatentCache(grown).motion(3), LatentCache(whole).motion(3))


def windows(cache: LatentCache | list[LatentCache], batch: int = 4, **options) -> MotionWindows:
    return MotionWindows(cache, window_frames=6, history_frames=2, batch_size=batch, seed=3, **options)


def test_a_batch_is_a_pure_function_of_its_positions(tmp_path: Path) -> None:
    cache = write(tmp_path, [[clip(i, 20) for i in range(3)]])
    one, other = windows(cache).batch_at(5), windows(LatentCache(tmp_path)).batch_at(5)
    assert (
        torch.equal(one.motion, other.motion)
        and torch.equal(one.features, other.features)
        and one.ids == other.ids
    )
    assert one.positions.tolist() == [20, 21, 22, 23]
    assert not torch.equal(one.motion, windows(cache).batch_at(6).motion)
    halves = [windows(cache, batch=2).batch_at(step) for step in (10, 11)]
    assert torch.equal(one.motion, torch.cat([half.motion for half in halves]))


def test_windows_hold_what_the_clip_holds_with_its_history(tmp_path: Path) -> None:
    clips = [clip(i, 20) for i in range(3)]
    cache = write(tmp_path, [clips])
    batch = windows(cache, batch=64).batch_at(0)
    starts = set()
    for row in range(64):
        source = clips[int(batch.ids[row][4:])]
        start = next(s for s in range(15) if torch.equal(source.motion[s : s + 6], batch.motion[row]))
        starts.add(start)
        assert bool(batch.has_history[row]) == (start > 0) and (start == 0 or start >= 2)
        if start:
            assert torch.equal(source.motion[start - 2 : start], batch.history[row])
        same = [
            torch.equal(source.features[v, start : start + 6].half().float(), batch.features[row])
            for v in range(V)
        ]
        assert any(same)
        assert torch.equal(batch.gaze[row], source.gaze)
    assert {0, 2, 14} <= starts
    assert bool(batch.valid.all())


def test_a_clip_shorter_than_a_window_is_padded_and_marked(tmp_path: Path) -> None:
    cache = write(tmp_path, [[clip(0, 4, controls=False)]])
    batch = windows(cache).batch_at(0)
    assert batch.valid.tolist() == [[True] * (2 + 4) + [False] * 2] * 4
    assert not batch.motion[:, 4:].any() and not batch.has_history.any()
    assert not batch.has_gaze.any() and not batch.has_distance.any() and not batch.has_emotion.any()


def test_random_lengths_are_padded_where_they_are_short(tmp_path: Path) -> None:
    clips = [clip(i, 20) for i in range(3)]
    options = {"min_window": 3, "min_history": 1, "whole_share": 0.5, "start_share": 0.0}
    batch = windows(write(tmp_path, [clips]), batch=400, **options).batch_at(0)
    history, window = batch.valid[:, :2].sum(1), batch.valid[:, 2:].sum(1)
    assert set(history.tolist()) == {1, 2} and set(window.tolist()) == {3, 4, 5, 6}
    whole = float(((history == 2) & (window == 6)).float().mean())
    assert abs(whole - (0.5 + 0.5 / 8)) < 4 * (0.25 / 400) ** 0.5  # four standard errors
    assert not batch.motion[~batch.valid[:, 2:]].any() and not batch.history[~batch.valid[:, :2]].any()
    for row in range(20):
        source = clips[int(batch.ids[row][4:])].motion
        w, k = int(window[row]), int(history[row])
        joined = torch.cat([batch.history[row, 2 - k :], batch.motion[row, :w]])
        assert any(torch.equal(source[s : s + k + w], joined) for s in range(20 - k - w + 1))


def test_caches_are_mixed_by_their_weights(tmp_path: Path) -> None:
    """Clips of the second cache have numbers from 10 on."""
    few = write(tmp_path / "few", [[clip(i, 20) for i in range(2)]])
    many = write(tmp_path / "many", [[clip(10 + i, 20) for i in range(6)]])

    def share_of_few(**options) -> float:
        batch = windows([few, many], batch=600, **options).batch_at(0)
        return sum(int(name[4:]) < 10 for name in batch.ids) / 600

    for options, wanted in (({}, 0.25), ({"weights": [3, 1]}, 0.75), ({"weights": [0, 2]}, 0.0)):
        assert abs(share_of_few(**options) - wanted) <= 4 * (wanted * (1 - wanted) / 600) ** 0.5
    for wrong in ([1], [0, 0], [1, -1], [1, math.nan]):
        with pytest.raises(ValueError, match="cache weights"):
            windows([few, many], weights=wrong)


def test_statistics_of_a_mixture_are_those_of_what_is_drawn(tmp_path: Path) -> None:
    parts = [clip(i, 20) for i in range(2)]
    for index, part in enumerate(parts):
        part.motion = part.motion * (1 + index) + index
    apart = [write(tmp_path / str(i), [[part]]) for i, part in enumerate(parts)]
    together = write(tmp_path / "both", [parts])
    pooled = pooled_statistics(apart, cache_shares(apart))
    for name, values in together.statistics.items():
        torch.testing.assert_close(pooled[name], values, rtol=1e-4, atol=1e-5)


def test_start_share_is_the_share_of_windows_without_history(tmp_path: Path) -> None:
    cache = write(tmp_path, [[clip(i, 20) for i in range(3)]])
    share = 1 - float(windows(cache, batch=600, start_share=0.3).batch_at(0).has_history.float().mean())
    assert abs(share - 0.3) < 4 * (0.25 / 600) ** 0.5  # four standard errors


def test_an_empty_cache_is_refused(tmp_path: Path) -> None:
    cache = write(tmp_path, [[clip(0, 7)]])
    cache.clips = []
    with pytest.raises(ValueError, match="no clips"):
        windows(cache)
