"""CAPP learns to hear when a head should move, from batches that are pure functions of the step."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from vasa.config import load
from vasa.data.config import PoseClipsConfig
from vasa.data.pose_clips import pose_clips
from vasa.pretrained.capp import WINDOW
from vasa.pretrained.config import CappNetConfig
from vasa.training.capp_step import PAPER, CappClips, CappStep, as_estimated, capp_scores, gather, scaled
from vasa.training.config import LoopConfig, OptimizerConfig
from vasa.training.judge_card import write_card
from vasa.training.judge_config import JudgeConfig, TrainJudgesRun
from vasa.training.judge_step import build_step
from vasa.training.train_judges import train_judge

SMALL = CappNetConfig(width=16, num_heads=2, feedforward=16, pose_layers=1, sound_layers=1, code_dim=4)
FEW = PoseClipsConfig(num_clips=4, seconds=4.0, espeak_share=0.0)


def _nodding(num_clips: int, seed: int) -> CappClips:
    """Clips whose first sound channel pulses at random moments, at each of which the head nods."""
    generator = torch.Generator().manual_seed(seed)
    pulses = (torch.rand((num_clips, 1, 120), generator=generator) < 0.06).float()
    time = torch.arange(-8, 9)
    wide = F.conv1d(pulses, (-0.5 * (time / 2.5) ** 2).exp()[None, None], padding=8)[:, 0]
    heard = torch.zeros(num_clips, 120, 80)
    heard[:, :, :8] = wide[..., None]
    angles = torch.zeros(num_clips, 120, 3)
    angles[:, :, 1] = -0.12 * wide
    return CappClips(heard.half(), angles, torch.zeros(num_clips, 120))


def _step(clips: CappClips, batch_size: int) -> CappStep:
    step = CappStep(JudgeConfig(kind="capp", capp=SMALL, seed=5), batch_size)
    step.__dict__["clips"] = clips
    return step


def test_animations_become_clips_that_can_be_learned_from() -> None:
    step = build_step(JudgeConfig(kind="capp", capp=SMALL, capp_clips=FEW), [], 2)
    assert isinstance(step, CappStep)
    clips = step.clips
    assert clips.heard.shape == (4, 100, 80) and clips.angles.shape == (4, 100, 3)
    again = next(pose_clips(FEW))
    assert torch.equal(clips.angles[0], again.pose[:, :3]) and torch.equal(clips.jaw[0], again.jaw)
    assert math.isfinite(float(step.loss(step.batch_at(0), 0)["total"].detach()))
    with pytest.raises(ValueError, match="num_clips is 4"):
        CappStep(JudgeConfig(kind="capp", capp=SMALL, capp_clips=FEW), 5)


def test_a_batch_is_a_pure_function_of_the_step_and_holds_what_it_says() -> None:
    step = _step(_nodding(12, 0), 6)
    one, two, other = step.batch_at(3), step.batch_at(3), step.batch_at(4)
    assert torch.equal(one.poses, two.poses) and torch.equal(one.heard, two.heard)
    assert not torch.equal(one.heard, other.heard)
    assert one.heard.shape == (6, WINDOW, 80) and one.poses.shape == (6, 5, WINDOW, 3)
    pitch = one.poses[..., 1] - one.poses[..., 1].mean(-1, keepdim=True)
    envelope = one.heard[:, :, 0] - one.heard[:, :, 0].mean(-1, keepdim=True)
    follows = -(F.normalize(pitch, dim=-1) * F.normalize(envelope, dim=-1)[:, None]).sum(-1).mean(0)
    assert float(follows[0]) > 0.9  # the true track nods with its sound,
    assert float(follows[3]) > 0.7  # so does the scaled one,
    assert float(follows[0]) > float(follows[1]) > float(follows[2])  # the moved ones do less,
    assert abs(float(follows[4])) < 0.4  # and another clip's head does not


def test_an_estimator_shrinks_shakes_and_takes_an_opening_mouth_for_a_nod() -> None:
    generator = torch.Generator().manual_seed(0)
    jaw = torch.linspace(0, 1, WINDOW).expand(400, -1)
    still = torch.rad2deg(as_estimated(torch.zeros(400, 2, WINDOW, 3), jaw, generator))
    rise = (still[..., -10:, :] - still[..., :10, :]).mean((0, 1, 2))
    assert 1.0 < float(rise[1]) < 2.0 and abs(float(rise[0])) < 0.5
    shaking = (still[:, :, 1:] - still[:, :, :-1]).std()
    assert 0.4 < float(shaking) < 1.0
    pulls = [still[:, v, 40:, 1].mean(1) - still[:, v, :35, 1].mean(1) for v in (0, 1)]  # one face: one pull
    assert float(torch.corrcoef(torch.stack(pulls))[0, 1]) > 0.6
    assert torch.allclose(scaled(jaw[..., None], 3.0).std(1), 3 * jaw[..., None].std(1))


def test_a_few_steps_teach_it_to_hear_nods_and_shifted_sound_scores_less() -> None:
    torch.manual_seed(0)
    step = _step(_nodding(64, 0), 32)
    adam = torch.optim.Adam(step.module.parameters(), 4e-3)
    for index in range(70):
        total = step.loss(step.batch_at(index), index)["total"]
        adam.zero_grad()
        total.backward()
        adam.step()
    found = capp_scores(step.network.eval(), _nodding(48, 1), seed=0)
    assert found["shift 0 frames"] > found["shift 2 frames"] > found["shift 4 frames"]
    assert found["share above another head"] > 0.8
    assert found["shift 0 frames"] == found["motion x1.0"] > found["motion x0.2"]


def test_the_run_trains_it_and_the_card_shows_the_papers_curve_beside_ours(tmp_path: Path) -> None:
    judge = JudgeConfig(
        kind="capp", capp=SMALL, capp_clips=FEW, steps=2, batch_size=3,
        capp_validation=PoseClipsConfig(split="validation", num_clips=3, seconds=4.0, espeak_share=0.0),
    )  # fmt: skip
    run = TrainJudgesRun(
        only=["judge_capp"], run_dir=tmp_path / "runs", output=tmp_path / "out", judges={"judge_capp": judge},
        loop=LoopConfig(batch_size=32, preview_every=0, logger="none", device="cpu", precision="bf16"),
        optimizer=OptimizerConfig(warmup_steps=1),
    )  # fmt: skip
    path = train_judge("judge_capp", run, {})
    text = write_card(path.parent).read_text(encoding="utf-8")
    assert "## judge_capp" in text and "clips of its own" in text and "6 samples in 2 steps" in text
    row = next(line for line in text.splitlines() if line.startswith("| shift 2 frames"))
    assert row.endswith(f"| {PAPER['shift 2 frames']} |") and row.count("|") == 4


def test_held_out_clips_have_other_voices_and_one_network_can_be_named_either_way() -> None:
    run: TrainJudgesRun = load("train_judges", ["target=capp"])
    assert run.only == load("train_judges", ["only=[capp]"]).only == ["judge_capp"]
    judge = run.judges["judge_capp"]
    assert judge.capp_clips.split == "train" and judge.capp_validation.split == "validation"
    assert judge.capp.pose_layers == 6 and judge.batch_size and judge.batch_size > run.loop.batch_size
    held_out = gather(PoseClipsConfig(split="validation", num_clips=2, seconds=4.0, espeak_share=0.0),
                      CappStep(JudgeConfig(kind="capp", capp=SMALL), 2).network)  # fmt: skip
    assert not torch.equal(held_out.angles[0], next(pose_clips(FEW)).pose[:100, :3])
