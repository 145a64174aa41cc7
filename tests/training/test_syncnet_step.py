"""The sync judge learns which sound belongs to which lips, from clips rendered once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from vasa.config import load
from vasa.pretrained.config import SyncNetConfig
from vasa.pretrained.syncnet import SyncNet
from vasa.records import SAMPLES_PER_FRAME
from vasa.training import syncnet_step
from vasa.training.config import LoopConfig, OptimizerConfig
from vasa.training.judge_config import JudgeConfig, SyncClipsConfig, TrainJudgesRun
from vasa.training.sync_clips import SyncClips, folder_of, render_clip, sync_clips
from vasa.training.syncnet_step import SyncStep, contrast, filmed, sync_judge_scores
from vasa.training.train_judges import train_judge

VIEW = SyncNetConfig(width=0.1, feature_dim=24, embedding_dim=24, image_size=56, view_side=0.36)
CLIPS = SyncClipsConfig(num_clips=2, frames=9, size=64, espeak_share=0.0, recordings=1)
JUDGE = JudgeConfig(kind="syncnet", syncnet=VIEW, sync_clips=CLIPS, sync_windows=24, seed=5, steps=2)


def test_clips_are_functions_of_their_config_and_rendered_once(tmp_path: Path) -> None:
    config = dataclasses.replace(CLIPS, cache=tmp_path)
    clips = sync_clips(config, VIEW)
    assert clips.frames.shape == (2, 9, 3, 73, 73) and clips.frames.dtype == torch.uint8
    assert clips.sound.shape == (2, 2, 9 * SAMPLES_PER_FRAME) and clips.sound.dtype == torch.int16
    written = {path: path.stat().st_mtime_ns for path in folder_of(config, VIEW).iterdir()}
    assert len(written) == 2
    again = sync_clips(config, VIEW)
    assert torch.equal(again.frames, clips.frames)
    assert {path: path.stat().st_mtime_ns for path in folder_of(config, VIEW).iterdir()} == written
    frames, sound = render_clip(config, VIEW, 1)
    assert np.array_equal(frames, clips.frames[1]) and np.array_equal(sound, clips.sound[1])
    other = dataclasses.replace(VIEW, view_side=0.3)
    assert folder_of(config, other) != folder_of(config, VIEW)
    with pytest.raises(ValueError, match="outside the face crop"):
        sync_clips(dataclasses.replace(config, room=3.0), VIEW)


def talking(count: int, frames: int, seed: int) -> SyncClips:
    """Clips without a renderer: hiss of changing loudness, and a dark mouth that is open as it is loud."""
    rng = np.random.default_rng(seed)
    loud = rng.random((count, frames + 2))
    loud = (loud[:, :-2] + loud[:, 1:-1] + loud[:, 2:]) / 3
    level = np.repeat(100 * 10 ** (3 * loud), SAMPLES_PER_FRAME, 1)
    sound = (level * rng.standard_normal(level.shape)).clip(-32768, 32767)
    v, u = np.mgrid[-1:1:73j, -1:1:73j]
    ellipse = (u / 0.4) ** 2 + (v / (0.02 + 0.6 * loud[..., None, None])) ** 2 < 1
    picture = np.where(ellipse, 30, 150).astype(np.uint8)[:, :, None].repeat(3, 2)
    return SyncClips(torch.from_numpy(picture), torch.from_numpy(sound.astype(np.int16))[:, None])


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> SyncStep:
    monkeypatch.setattr(syncnet_step, "sync_clips", lambda config, view: talking(16, 40, seed=1))
    return SyncStep(JUDGE, batch_size=4)


def test_a_batch_is_a_pure_function_of_the_step(step: SyncStep) -> None:
    one, two, other = step.batch_at(3), step.batch_at(3), step.batch_at(4)
    assert one.frames.shape == (4, 3, 28, 56, 56) and one.sound.shape == (4, 24, 1, 13, 20)
    assert torch.equal(one.frames, two.frames) and torch.equal(one.sound, two.sound)
    assert not torch.equal(one.frames, other.frames)
    assert float(one.frames.min()) >= 0 and float(one.frames.max()) <= 255


def test_sound_and_lips_of_a_batch_belong_together(step: SyncStep) -> None:
    """Loudness and opening of the same frames: only then do they agree."""
    batch = step.batch_at(0)
    dark = (batch.frames.mean(1) < batch.frames.mean((1, 3, 4))[:, :, None, None] - 20).float().mean((2, 3))
    opening = dark.unfold(1, 5, 1).mean(2)  # (B, W)
    energy = batch.sound[:, :, 0, 0].mean(2)
    for lag in (-4, 4):
        assert _agreement(opening, energy) > _agreement(opening, energy.roll(lag, 1)) + 0.2
    assert _agreement(opening, energy) > 0.7


def _agreement(one: torch.Tensor, two: torch.Tensor) -> float:
    rows = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(one, two, strict=True)]
    return float(torch.stack(rows).mean())


def test_cameras_are_the_same_all_over_a_clip() -> None:
    seen = torch.full((2, 6, 3, 73, 73), 128, dtype=torch.uint8)
    seen[..., 30:43, 25:48] = 220
    frames = filmed(seen, 56, 1 / 1.3, torch.Generator().manual_seed(1))
    first = frames[:, :, :1].expand_as(frames)
    assert float((frames - first).abs().mean()) < 25  # noise alone
    assert float((frames[0] - frames[1]).abs().mean()) > 3


def test_the_loss_wants_each_window_nearest_to_its_own_and_refuses_the_padding() -> None:
    lips = 20 * torch.nn.functional.normalize(torch.randn(2, 8, 32), dim=-1)
    own = contrast(lips, lips)
    assert float(own["total"]) < 1e-3 and float(own["nearest"]) == 1
    assert float(contrast(lips, lips.roll(1, 1))["total"]) > 5
    strangers = contrast(lips, lips.flip(0))
    assert float(strangers["total"]) > 5
    # Other clips' windows are no candidates: where both clips are alike, that costs nothing.
    alike = lips[:1].expand(2, -1, -1)
    assert float(contrast(alike, alike)["total"]) < 1e-3
    # Embeddings near zero are as near to the padding as to their own sound.
    small = contrast(lips / 1000, lips / 1000)
    assert float(small["lips_to_sound"]) == pytest.approx(np.log(9), abs=0.05)
    assert float(small["sound_to_lips"]) == pytest.approx(np.log(8), abs=0.05)


def test_a_judge_learns_offsets_that_it_was_not_shown(step: SyncStep) -> None:
    torch.manual_seed(2)
    step.network = SyncNet(VIEW)
    step.settle(step.network)
    before = sync_judge_scores(step.network.eval(), _held_out(), seed=1)
    adam = torch.optim.Adam(step.network.parameters(), 6e-3)
    step.network.train()
    for index in range(35):
        total = step.loss(step.batch_at(index), index)["total"]
        adam.zero_grad()
        total.backward()
        adam.step()
    step.settle(step.network)
    found = sync_judge_scores(step.network, _held_out(), seed=1)
    assert before["offsets found to a frame"] < 0.4
    assert found["offsets found to a frame"] > 0.9, found
    assert found["S_C"] > found["S_C with another clip's sound"]
    assert found["S_C"] > found["S_C with noise of 64 levels"]


def _held_out() -> SyncClips:
    clips = talking(3, 95, seed=9)
    middle = clips.frames[..., 8:64, 8:64].contiguous()  # as the network views it: no room around
    return SyncClips(middle, clips.sound)


def test_clips_too_short_for_a_batch_or_a_score_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncnet_step, "sync_clips", lambda config, view: talking(2, 20, seed=1))
    with pytest.raises(ValueError, match="needs as many clips of at least 29 frames; sync_clips has 2 of 20"):
        SyncStep(JUDGE, batch_size=2)
    with pytest.raises(ValueError, match="sync_validation.frames is 20; wanted at least 95"):
        sync_judge_scores(SyncNet(VIEW).eval(), talking(2, 20, seed=1), seed=0)
    with pytest.raises(ValueError, match="outside"):
        SyncClipsConfig(seed=0)


def test_the_judge_is_trained_and_exported_like_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def clips(config: SyncClipsConfig, view: SyncNetConfig) -> SyncClips:
        return _held_out() if config.split == "validation" else talking(4, 40, seed=1)

    monkeypatch.setattr(syncnet_step, "sync_clips", clips)
    loop = LoopConfig(
        save_every=2, validate_every=2, preview_every=0, log_every=2, logger="none", device="cpu"
    )
    run = TrainJudgesRun(
        run_dir=tmp_path / "runs",
        output=tmp_path,
        judges={"judge_sync": dataclasses.replace(JUDGE, batch_size=2)},
        loop=loop,
        optimizer=OptimizerConfig(warmup_steps=1),
    )
    path = train_judge("judge_sync", run, {})
    network = SyncNet.from_pretrained(path)
    assert network.config == VIEW
    from vasa.checkpoint import load_weights

    scores = load_weights(path).meta["scores"]
    assert {"held_out/offsets found exactly", "held_out/S_C"} <= set(scores)


def test_the_shipped_sizes_hear_other_people_than_they_are_scored_on() -> None:
    judge = load("train_judges").judges["judge_sync"]
    seen, held = (set(range(c.seed, c.seed + c.num_clips)) for c in (judge.sync_clips, judge.sync_validation))
    assert not seen & held and judge.sync_clips.split != judge.sync_validation.split
    for pool in load("train_judges").pools.values():
        assert not seen & set(range(pool.first_seed, pool.first_seed + pool.num_identities))
    assert judge.sync_validation.frames >= 95 and judge.sync_validation.room == 1
