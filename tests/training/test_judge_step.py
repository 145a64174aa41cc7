"""Judges learn from frames whose labels follow the pixels, by pure functions of the step, and resume."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from vasa.config import load
from vasa.data.config import EmotionClipsConfig, PoolConfig
from vasa.data.judge_pools import FrameSampler, LabelledFrames, Pool
from vasa.metrics.correlation import pearson
from vasa.pretrained.config import IdentityNetConfig, LandmarkNetConfig, RegionNetConfig
from vasa.pretrained.files import load_network, save_network
from vasa.pretrained.landmarks import LandmarkNet
from vasa.training.config import LoopConfig, OptimizerConfig
from vasa.training.judge_augment import augment, crop_loosely, recolour, remove_face, replace_background
from vasa.training.judge_card import write_card
from vasa.training.judge_config import AugmentConfig, JudgeConfig, TrainJudgesRun
from vasa.training.judge_scores import score
from vasa.training.judge_step import EmotionStep, JudgeStep, build_step, point_error, visible_controls
from vasa.training.train_judges import train_judge

SMALL = [8, 8, 12, 16, 16]
KINDS = ("landmarks", "expression", "identity")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    config = PoolConfig(num_identities=6, frames_each=4, size=64, talking_share=0.5)
    return Pool(config, tmp_path_factory.mktemp("pool"))


def _judge(kind: str, **augmentation: object) -> JudgeConfig:
    return JudgeConfig(
        kind=kind,
        pools=["people"],
        validation_pools=["people"],
        seed=5,
        steps=6,
        learning_rate=3e-3,
        landmarks=LandmarkNetConfig(size=64, widths=SMALL, decoder_width=16),
        regions=RegionNetConfig(widths=SMALL[:4], squeeze=4, hidden=16),
        identity=IdentityNetConfig(widths=SMALL[:4], embedding_dim=8),
        augment=AugmentConfig(**augmentation),
    )


def test_a_pool_is_a_function_of_its_config_and_is_rendered_once(pool: Pool, tmp_path: Path) -> None:
    frames = pool[[0, 5, 23]]
    assert frames.frames.shape == (3, 4, 64, 64) and frames.frames.dtype == torch.uint8
    assert frames.person.tolist() == [0, 1, 5]
    before = {path: path.stat().st_mtime_ns for path in pool.folder.iterdir()}
    again = Pool(pool.config, pool.folder)
    assert {path: path.stat().st_mtime_ns for path in pool.folder.iterdir()} == before
    assert torch.equal(again[[5]].frames, frames.frames[1:2])
    with pytest.raises(ValueError, match="another config"):
        Pool(dataclasses.replace(pool.config, frames_each=5), pool.folder)


def test_every_frame_comes_once_in_each_pass(pool: Pool) -> None:
    sampler = FrameSampler([pool, pool], 4, seed=1)
    first = [index for step in range(12) for index in (sampler._index(step * 4 + k) for k in range(4))]
    assert sorted(first) == list(range(48))
    second = [sampler._index(48 + k) for k in range(48)]
    assert sorted(second) == list(range(48)) and second != first
    assert sampler.num_people == 12
    assert sampler.frames([47, 0]).person.tolist() == [
        11,
        0,
    ]  # people of the second pool come after the first's


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_a_pure_function_of_the_step(pool: Pool, kind: str) -> None:
    step = JudgeStep(_judge(kind, crops=kind == "landmarks", faceless=0.2), FrameSampler([pool], 4, 5))
    one, two, other = step.batch_at(3), step.batch_at(3), step.batch_at(4)
    assert torch.equal(one.images, two.images) and torch.equal(one.landmarks, two.landmarks)
    assert not torch.equal(one.images, other.images)


def _dotted(count: int = 6) -> LabelledFrames:
    """Grey frames with one bright dot at landmark 30."""
    frames = torch.full((count, 4, 64, 64), 90, dtype=torch.uint8)
    frames[:, 3] = 255
    column, row = torch.randint(26, 38, (2, count))
    for i in range(count):
        frames[i, :3, row[i] - 1 : row[i] + 2, column[i] - 1 : column[i] + 2] = 255
    dot = torch.stack([(column + 0.5) / 32 - 1, (row + 0.5) / 32 - 1], -1)
    zeros = torch.zeros(count)
    return LabelledFrames(
        frames, torch.zeros(count, 6), torch.zeros(count, 11), dot[:, None].expand(-1, 68, -1).clone(),
        torch.zeros(count, 8), zeros, zeros.long(),
    )  # fmt: skip


def test_labels_follow_the_pixels_through_a_loose_crop() -> None:
    still = {"background": 0, "occlude": 0, "colour": 0, "blur": 0, "noise": 0}
    config = AugmentConfig(crops=True, scale_low=1.3, shift=0.05, **still)  # no crop reaches outside
    batch = augment(_dotted(), config, torch.Generator().manual_seed(0))
    bright = batch.images[:, 0].flatten(1).argmax(1)
    found = torch.stack([(bright % 64 + 0.5) / 32 - 1, (bright // 64 + 0.5) / 32 - 1], -1)
    error = float((found - batch.landmarks[:, 30]).abs().max())
    assert error < 0.1  # half a dot of three pixels, enlarged
    moved = batch.pose[:, 3:5].abs().sum(1) + batch.pose[:, 2].abs() + batch.pose[:, 5].abs()
    assert float(moved.min()) > 0.02


def test_faceless_pictures_lose_the_face_and_backgrounds_only_the_background(pool: Pool) -> None:
    frames, generator = pool[list(range(8))], torch.Generator().manual_seed(0)
    head = (frames.frames[:, 3:] == 255).expand(-1, 3, -1, -1)
    without = remove_face(frames, generator)
    assert float((without - frames.images)[head].abs().mean()) > 0.1
    behind = replace_background(frames.images, frames.alpha, 1.0, generator)
    assert torch.allclose(behind[head], frames.images[head])
    outside = frames.frames[:, 3:].expand(-1, 3, -1, -1) == 0
    assert float((behind - frames.images)[outside].abs().mean()) > 0.1


def test_recolouring_stays_in_range_and_nothing_happens_at_strength_zero(pool: Pool) -> None:
    images, generator = pool[[0, 1]].images, torch.Generator().manual_seed(0)
    assert float(recolour(images, 1.0, generator).abs().max()) <= 1
    assert torch.allclose(recolour(images, 0.0, generator), images, atol=1e-3)


def test_crops_without_movement_return_the_picture(pool: Pool) -> None:
    images = pool[[0, 1]].images
    identity = torch.eye(2, 3)[None].repeat(2, 1, 1)
    assert torch.allclose(crop_loosely(images, identity, torch.Generator()), images, atol=1e-4)


def test_points_outside_the_picture_and_gaze_behind_lids_do_not_count() -> None:
    wanted = torch.zeros(1, 68, 2)
    wanted[0, 0] = 1.5
    predicted, pose = wanted.clone(), torch.zeros(1, 6)
    predicted[0, 0] = -1
    assert float(point_error(predicted, wanted, pose)) == 0.0
    controls = torch.zeros(2, 11)
    controls[1, 2:4] = 1.0
    weights = visible_controls(controls)
    assert weights[0].tolist() == [1.0] * 11
    assert weights[1].tolist() == [0.0, 0.0] + [1.0] * 9


@pytest.mark.parametrize("kind", KINDS)
def test_every_judge_learns_a_handful_of_frames(pool: Pool, kind: str) -> None:
    torch.manual_seed(1)
    plain = {
        "background": 0.0,
        "occlude": 0.0,
        "colour": 0.0,
        "blur": 0.0,
        "noise": 0.0,
        "landmark_noise": 0.0,
    }
    step = JudgeStep(_judge(kind, **plain), FrameSampler([pool], 8, 5))
    adam = torch.optim.Adam(step.module.parameters(), 4e-3)
    losses = []
    for index in range(45):
        total = step.loss(step.batch_at(index % 3), index)["total"]
        adam.zero_grad()
        total.backward()
        adam.step()
        losses.append(float(total.detach()))
    first, last = sum(losses[:3]) / 3, sum(losses[-3:]) / 3
    assert last < 0.75 * first, f"{kind}: {first:.3f} -> {last:.3f}"


def _run(pool: Pool, folder: Path, kind: str, steps: int) -> Path:
    judge = dataclasses.replace(_judge(kind, crops=True), steps=steps)
    run = TrainJudgesRun(
        run_dir=folder / "runs",
        output=folder / "out",
        pools={"people": pool.config},
        judges={"judge": judge},
        validation_frames=8,
        loop=LoopConfig(
            batch_size=4,
            save_every=2,
            validate_every=6,
            preview_every=0,
            log_every=2,
            logger="none",
            device="cpu",
        ),
        optimizer=OptimizerConfig(warmup_steps=2, final_fraction=1.0),
    )
    return train_judge("judge", run, {"people": pool})


def test_resuming_equals_uninterrupted_training_bitwise(pool: Pool, tmp_path: Path) -> None:
    whole = _run(pool, tmp_path / "a", "landmarks", 4)
    _run(pool, tmp_path / "b", "landmarks", 2)  # constant learning rate: the number of steps does not matter
    parts = _run(pool, tmp_path / "b", "landmarks", 4)
    one, two = (load_network(LandmarkNet, LandmarkNetConfig, path) for path in (whole, parts))
    for (name, a), (_, b) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_numbers_for_every_kind(pool: Pool, kind: str) -> None:
    step = JudgeStep(_judge(kind), FrameSampler([pool], 4, 5))
    values = score(kind, step.network.eval(), pool[list(range(24))], Path("nowhere"))
    assert values and all(-1 <= v < 1e3 for v in values.values())


def test_the_emotion_judge_learns_from_animations_alone_and_reads_through_noise() -> None:
    """Trained on 60 clips, it knows the emotions of those clips; a batch is a pure function of the step."""
    config = JudgeConfig(kind="emotion", emotion_clips=EmotionClipsConfig(num_clips=60), steps=200, seed=3)
    step = build_step(config, [], 32)
    assert isinstance(step, EmotionStep)
    assert torch.equal(step.batch_at(4).controls, step.batch_at(4).controls)
    adam = torch.optim.Adam(step.module.parameters(), 5e-3)
    for index in range(200):
        total = step.loss(step.batch_at(index), index)["total"]
        adam.zero_grad()
        total.backward()
        adam.step()
    weights = step.network(step.clips.controls.mean(1)).detach()
    assert float(pearson(weights[:, 1:].flatten(), step.clips.emotion[:, 1:].flatten())) > 0.7


def test_judges_teachers_and_clips_share_no_person_and_no_design() -> None:
    run: TrainJudgesRun = load("train_judges")
    people = {
        name: set(range(p.first_seed, p.first_seed + p.num_identities)) for name, p in run.pools.items()
    }
    for kind in ("expression", "identity"):
        judge, teacher = run.judges[f"judge_{kind}"], run.judges[f"teacher_{kind}"]
        seen = [set().union(*(people[p] for p in j.pools)) for j in (judge, teacher)]
        assert not seen[0] & seen[1], kind
        assert judge.seed != teacher.seed
        section = "identity" if kind == "identity" else "regions"
        assert getattr(judge, section).trunk != getattr(teacher, section).trunk
    held_out = people["validation_portrait"] | people["validation_randomised"]
    for judge in (judge for judge in run.judges.values() if judge.pools):
        assert not held_out & set().union(*(people[p] for p in judge.pools))


def test_the_card_shows_every_network_that_is_there(tmp_path: Path) -> None:
    network = LandmarkNet(LandmarkNetConfig(size=64, widths=SMALL, decoder_width=8))
    scores = {"validation_portrait/yaw_deg": 2.5, "validation_randomised/yaw_deg": 3.5}
    meta = {"steps": 7, "samples": 28, "judge": {"pools": ["people"]}, "scores": scores}
    save_network(network, tmp_path / "judge_pose.safetensors", meta)
    text = write_card(tmp_path).read_text()
    assert "## judge_pose" in text and "| yaw_deg | 2.5 | 3.5 |" in text and "28 samples" in text
    assert "## judge_emotion" not in text
