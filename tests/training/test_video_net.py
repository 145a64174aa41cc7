"""The small video network: faults are what they say, batches are functions of the step, and it learns."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from vasa.checkpoint import load_weights
from vasa.config import load
from vasa.data.config import VideoPoolConfig
from vasa.data.video_pools import VideoPool, animation_of
from vasa.metrics.fvd import WINDOW
from vasa.pretrained.config import VideoNetConfig
from vasa.pretrained.video_net import VideoNet, log_energies
from vasa.training.config import LoopConfig, OptimizerConfig
from vasa.training.judge_config import JudgeConfig, TrainJudgesRun
from vasa.training.judge_step import build_step
from vasa.training.train_judges import train_judge
from vasa.training.video_faults import FAULTS, blurred, moved, shown, spoil
from vasa.training.video_net_step import VideoNetStep, draw_doses, motion_of, thumbnails

TINY = VideoPoolConfig(first_seed=7_900_000, num_people=3, clips_each=2, frames=27, size=32)
HELD_OUT = dataclasses.replace(TINY, first_seed=7_950_000, num_people=2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def config() -> JudgeConfig:
    return JudgeConfig(
        kind="video",
        seed=5,
        steps=4,
        batch_size=3,
        learning_rate=3e-3,
        video=VideoNetConfig(size=32, widths=[8, 8, 12, 16], squeeze=8, features_dim=16),
        video_clips=TINY,
        video_validation=HELD_OUT,
    )


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pools")


@pytest.fixture(scope="module")
def step(config: JudgeConfig, pools: Path) -> VideoNetStep:
    built = build_step(config, [], 3, pools)
    assert isinstance(built, VideoNetStep)
    return built


def test_without_doses_frames_are_shown_in_order_and_unchanged() -> None:
    order = shown({}, 25, 8, generator())
    assert torch.equal(order.diff(), torch.ones(24, dtype=torch.long)) and 0 <= int(order[0]) <= 8
    frames = torch.rand(4, 3, 16, 16)
    assert torch.equal(spoil(frames, {}, frames, generator()), frames)


def test_temporal_faults_do_what_they_are_called() -> None:
    for seed in range(10):
        skipped = shown({"skipping": 1.0}, 25, 8, generator(seed))
        assert int(skipped[0]) == 0 and int(skipped[-1]) == 32 and bool((skipped.diff() >= 1).all())
        frozen = shown({"frozen": 1.0}, 25, 8, generator(seed))
        assert len(frozen.unique()) == 1
        halting = shown({"frozen": 0.5}, 25, 8, generator(seed))
        assert bool((halting.diff() >= 0).all()) and 5 < len(halting.unique()) < 22
        shuffled = shown({"shuffled": 1.0}, 25, 8, generator(seed))
        assert len(shuffled.unique()) == 25 and int((shuffled.diff() < 0).sum()) > 5
        few = shown({"shuffled": 0.2}, 25, 8, generator(seed))
        assert int((few != few.sort().values).sum()) <= 5


@pytest.mark.parametrize("name", ["blur", "noise", "jitter", "flicker", "drift"])
def test_faults_of_pixels_grow_with_their_dose(name: str) -> None:
    frames = torch.nn.functional.avg_pool2d(torch.rand(4, 3, 132, 132, generator=generator(1)), 5, 1)
    other = frames.flip(-1)
    change = [
        float((spoil(frames, {name: dose}, other, generator(2)) - frames).abs().mean())
        for dose in (0.15, 0.4, 1.0)
    ]
    assert 0 < change[0] < change[1] < change[2]


def test_a_blur_keeps_the_mean_and_a_move_moves() -> None:
    dot = torch.zeros(1, 3, 32, 32)
    dot[..., 16, 16] = 1
    soft = blurred(dot, 1.5)
    assert float(soft.sum()) == pytest.approx(3, rel=1e-4)
    spread = (soft[0, 0].sum(0) * (torch.arange(32) - 16.0) ** 2).sum()
    assert float(spread) == pytest.approx(1.5**2, rel=0.05)  # the kernel ends at 2.5 sigma
    right = moved(dot, torch.tensor([[4 / 32 * 2, -2 / 32 * 2]]))
    assert divmod(int(right[0, 0].argmax()), 32) == (14, 20)


def test_doses_are_none_one_or_two() -> None:
    drawn = [draw_doses(generator(seed)) for seed in range(300)]
    counts = [sum(len(d) == n for d in drawn) for n in (0, 1, 2)]
    assert sum(counts) == 300 and counts[0] > 60 and counts[1] > 90 and counts[2] > 25
    assert all(0.05 <= dose <= 1 for d in drawn for dose in d.values())
    assert {name for d in drawn for name in d} == set(FAULTS)


def test_a_pool_is_a_function_of_its_config_and_is_rendered_once(step: VideoNetStep, pools: Path) -> None:
    pool = step.pool
    before = {path: path.stat().st_mtime_ns for path in (pools / "video_train").iterdir()}
    again = VideoPool(TINY, pools / "video_train")
    assert {path: path.stat().st_mtime_ns for path in (pools / "video_train").iterdir()} == before
    assert torch.equal(again.frames(4, [0, 26]), pool.frames(4, [0, 26]))
    assert pool.frames(4, [26]).shape == (1, 3, 32, 32) and len(pool) == 6
    assert torch.equal(pool.pose[4], animation_of(TINY, 4).pose) and pool.pose.shape == (6, 27, 6)
    assert pool.person.tolist() == [0, 0, 1, 1, 2, 2]
    assert not torch.equal(pool.pose[4], pool.pose[5])  # of one person, other speech
    with pytest.raises(ValueError, match="another config"):
        VideoPool(dataclasses.replace(TINY, frames=28), pools / "video_train")


def test_labels_are_those_of_the_frames_as_shown(step: VideoNetStep) -> None:
    still = motion_of(step.pool, 2, torch.full((WINDOW,), 7))
    assert torch.allclose(still[:6], step.pool.pose[2, 7], atol=1e-6)
    assert float(still[17:].abs().max()) == 0  # frozen: no speed
    fast = motion_of(step.pool, 2, torch.arange(0, 27, 2))
    slow = motion_of(step.pool, 2, torch.arange(27))
    assert float(fast[17:].mean()) > 1.3 * float(slow[17:].mean())


def test_a_batch_is_a_pure_function_of_the_step_and_a_pass_has_every_clip(step: VideoNetStep) -> None:
    one, two, other = step.batch_at(3), step.batch_at(3), step.batch_at(4)
    assert torch.equal(one.windows, two.windows) and torch.equal(one.doses, two.doses)
    assert not torch.equal(one.windows, other.windows)
    assert one.windows.shape == (3, 3, WINDOW, 32, 32) and float(one.windows.abs().max()) <= 1
    people = torch.cat([step.batch_at(k).person for k in (0, 1)])
    assert people.sort().values.tolist() == [0, 0, 1, 1, 2, 2]
    assert thumbnails(one.windows).shape == (3, 192)


def test_one_batch_is_learned(step: VideoNetStep) -> None:
    torch.manual_seed(0)
    batch = step.batch_at(1)
    adam = torch.optim.Adam(step.module.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        parts = step.loss(batch, 0)
        adam.zero_grad()
        parts["total"].backward()
        adam.step()
        losses.append({name: float(value.detach()) for name, value in parts.items()})
    for name in ("motion", "look", "person"):
        assert losses[-1][name] < 0.5 * losses[0][name], name


def test_training_writes_a_network_that_loads_and_states_its_scores(
    config: JudgeConfig, pools: Path, tmp_path: Path
) -> None:
    run = TrainJudgesRun(
        run_dir=tmp_path / "runs",
        output=tmp_path / "out",
        pool_dir=pools,
        judges={"judge_video": config},
        loop=LoopConfig(
            save_every=4, validate_every=4, preview_every=0, log_every=2, logger="none", device="cpu"
        ),
        optimizer=OptimizerConfig(warmup_steps=2),
    )
    path = train_judge("judge_video", run, {})
    network = VideoNet.from_pretrained(path)
    assert network(torch.zeros(2, 3, 1, 32, 32)).shape == (2, 16)  # single frames stand still
    scores = load_weights(path).meta["scores"]
    assert {f"held_out/{name} r" for name in FAULTS} <= set(scores)
    assert scores["held_out/blur 1, distance over floor"] > 0


def test_the_shipped_training_shares_no_person_and_fits_beside_the_others() -> None:
    judge = load("train_judges").judges["judge_video"]
    people = [
        range(p.first_seed, p.first_seed + p.num_people) for p in (judge.video_clips, judge.video_validation)
    ]
    assert not set(people[0]) & set(people[1])
    assert sum(p.numel() for p in VideoNet(judge.video).parameters()) * 2 < 1e6  # bytes in fp16


def test_energies_of_detail_and_change_are_those_of_their_definition() -> None:
    """A checkerboard of single pixels is all detail; blinking is all change, the second twice the first."""
    squares = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2.0 - 1
    still = squares.expand(1, 3, 6, -1, -1)
    blinking = torch.tensor([0.0, 0.5, 0, 0.5, 0, 0.5]).view(1, 1, 6, 1, 1).expand(1, 3, 6, 32, 32)
    found = []
    for window in (still, blinking):
        patches = torch.nn.functional.pixel_unshuffle(window.transpose(1, 2), 4).transpose(1, 2)
        energies = log_energies(patches).view(5, 3, 16)  # signals; mean, minimum and maximum; cells
        assert float(energies.std(2).max()) < 1e-4  # everywhere alike, always alike
        assert torch.allclose(energies[:, 0], energies[:, 1], atol=1e-4)
        found.append(((energies[:, 2, 0] - 1.5) * 2).tolist())
    assert found[0] == pytest.approx([0, -6, -6, -6, -6], abs=1e-3)
    assert found[1] == pytest.approx([-6, math.log10(0.25), 0, -6, -6], abs=1e-3)


def test_other_windows_are_refused() -> None:
    network = VideoNet(VideoNetConfig(size=32, widths=[8, 8, 12, 16]))
    with pytest.raises(ValueError, match="wanted .B, 3, T, 32, 32"):
        network(torch.zeros(1, 3, 25, 64, 64))
    with pytest.raises(ValueError, match="4 widths"):
        VideoNetConfig(widths=[8, 8])
