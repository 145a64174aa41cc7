"""The matting network learns from masks that follow the pixels, and is exported with what it is worth."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vasa.checkpoint import load_weights
from vasa.data.config import PoolConfig
from vasa.data.judge_pools import LabelledFrames, Pool
from vasa.pretrained.config import MatteNetConfig
from vasa.pretrained.matte import MatteNet
from vasa.training.config import LoopConfig, OptimizerConfig
from vasa.training.judge_config import AugmentConfig, JudgeConfig, TrainJudgesRun
from vasa.training.judge_scores import score
from vasa.training.judge_step import build_step
from vasa.training.matte_step import MatteStep, cut_outs, dress
from vasa.training.train_judges import train_judge

STILL = {"background": 0.0, "colour": 0.0, "blur": 0.0, "noise": 0.0}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    config = PoolConfig(num_identities=6, frames_each=4, size=64, talking_share=0.5)
    return Pool(config, tmp_path_factory.mktemp("pool"))


def _judge(**augmentation: object) -> JudgeConfig:
    return JudgeConfig(
        kind="matte",
        pools=["people"],
        validation_pools=["people"],
        seed=5,
        steps=3,
        matte=MatteNetConfig(size=64, widths=[8, 12, 16]),
        augment=AugmentConfig(**augmentation),
    )


def test_a_batch_is_a_pure_function_of_the_step(pool: Pool) -> None:
    step = build_step(_judge(crops=True), [pool], 4)
    assert isinstance(step, MatteStep)
    (images, alpha), again, other = step.batch_at(3), step.batch_at(3), step.batch_at(4)
    assert images.shape == (4, 3, 64, 64) and alpha.shape == (4, 1, 64, 64)
    assert torch.equal(images, again[0]) and torch.equal(alpha, again[1])
    assert not torch.equal(images, other[0])
    assert float(images.abs().max()) <= 1 and 0 <= float(alpha.min()) < float(alpha.max()) <= 1


def _marked(count: int = 12) -> LabelledFrames:
    """Grey frames whose head is a white disc left of the middle."""
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disc = (rows - 28) ** 2 + (columns - 26) ** 2 < 14**2
    frames = torch.full((count, 4, 64, 64), 90, dtype=torch.uint8)
    frames[:, :3, disc], frames[:, 3] = 255, disc.to(torch.uint8) * 255
    landmarks = torch.rand(count, 68, 2) * 0.5 - 0.35
    zeros = torch.zeros(count)
    return LabelledFrames(
        frames, torch.zeros(count, 6), torch.zeros(count, 11), landmarks, torch.zeros(count, 8), zeros,
        zeros.long(),
    )  # fmt: skip


def test_the_mask_follows_the_pixels_through_crops_mirrors_and_backgrounds() -> None:
    config = AugmentConfig(
        **{**STILL, "background": 1.0}, crops=True, shift=0.1, scale_low=0.8, scale_high=1.2
    )
    images, alpha = cut_outs(_marked(), config, torch.Generator().manual_seed(0))
    white = (images > 0.999).all(1, keepdim=True)
    assert float(alpha[white].min()) > 0.95  # the head is person wherever it went
    places = (alpha * torch.arange(64)).sum((1, 2, 3)) / alpha.sum((1, 2, 3))
    assert float(places.std()) > 1  # and it went somewhere


def test_clothes_and_hair_are_drawn_behind_the_head_and_belong_to_the_person() -> None:
    frames = _marked()
    images, alpha = dress(frames, torch.Generator().manual_seed(0))
    head = frames.frames[:, 3:] == 255
    assert torch.equal(images[head.expand_as(images)], frames.images[head.expand_as(images)])
    changed = (images != frames.images).any(1, keepdim=True)
    assert float(alpha[changed].min()) == 1.0 and float(alpha[head].min()) == 1.0
    assert 3 <= int(changed.flatten(1).any(1).sum()) < 12  # some are dressed, some are left


def test_it_learns_a_handful_of_frames_and_the_score_sees_it(pool: Pool) -> None:
    torch.manual_seed(1)
    step = build_step(_judge(**STILL), [pool], 8)
    assert isinstance(step, MatteStep)
    frames = pool[list(range(16))]
    before = score("matte", step.network, frames, Path())
    adam = torch.optim.Adam(step.module.parameters(), 1e-2)
    for index in range(40):
        total = step.loss(step.batch_at(index % 3), index)["total"]
        adam.zero_grad()
        total.backward()
        adam.step()
    after = score("matte", step.network, frames, Path())
    assert after["iou"] > max(0.75, before["iou"] + 0.1) and after["mean_error"] < 0.7 * before["mean_error"]


def test_a_perfect_and_a_useless_matte_score_so(pool: Pool) -> None:
    frames = pool[list(range(4))]

    class Known(torch.nn.Module):
        def __init__(self, sign: float) -> None:
            super().__init__()
            self.sign = torch.nn.Parameter(torch.tensor(sign))

        def forward(self, images):
            return (frames.alpha * 40 - 20) * self.sign

    assert score("matte", Known(1.0), frames, Path()) == pytest.approx({"iou": 1, "mean_error": 0}, abs=1e-6)
    assert score("matte", Known(-1.0), frames, Path()) == pytest.approx({"iou": 0, "mean_error": 1}, abs=1e-6)


def test_training_exports_a_network_with_its_scores_and_only_its_own_options(pool: Pool, tmp_path) -> None:
    run = TrainJudgesRun(
        run_dir=tmp_path / "runs",
        output=tmp_path / "out",
        pools={"people": pool.config},
        judges={"matte": _judge()},
        validation_frames=8,
        loop=LoopConfig(
            batch_size=4, validate_every=3, save_every=3, preview_every=0, device="cpu", log_every=1
        ),
        optimizer=OptimizerConfig(warmup_steps=1),
    )
    path = train_judge("matte", run, {"people": pool})
    meta = load_weights(path).meta
    assert meta["steps"] == 3 and 0 <= meta["scores"]["people/iou"] <= 1
    assert meta["judge"]["pools"] == ["people"] and meta["judge"]["augment"]["crops"] is False
    assert "capp_clips" not in meta["judge"]
    assert MatteNet.from_pretrained(path).config.widths == [8, 12, 16]
