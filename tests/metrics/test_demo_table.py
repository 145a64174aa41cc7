"""The table of a checkpoint: a perfect generator reaches its targets, one that only copies does not."""

from __future__ import annotations

import math

import pytest
import torch

from vasa.data.config import TrialsConfig
from vasa.data.synthetic.clips import SyntheticClips
from vasa.data.trials import (
    AskedClip,
    Outcomes,
    Photograph,
    RealClip,
    Reenactment,
    SpokenClip,
    reenactment_trial,
)
from vasa.metrics.demo_table import table
from vasa.metrics.report import Row
from vasa.pretrained.config import EmotionNetConfig, IdentityNetConfig, LandmarkNetConfig, RegionNetConfig
from vasa.pretrained.emotion import EmotionNet
from vasa.pretrained.expression import ExpressionNet
from vasa.pretrained.identity import IdentityNet
from vasa.pretrained.judges import Judges
from vasa.pretrained.landmarks import LandmarkNet
from vasa.records import EMOTIONS


@pytest.fixture(scope="module")
def judges() -> Judges:
    """Untrained: good enough where made frames equal true ones."""
    torch.manual_seed(3)
    small = [8, 8, 8, 8, 8]
    return Judges(
        LandmarkNet(LandmarkNetConfig(size=64, widths=small, decoder_width=8)).eval(),
        ExpressionNet(RegionNetConfig(widths=small[:4], squeeze=4, hidden=8)).eval(),
        EmotionNet(EmotionNetConfig(hidden=8)).eval(),
        IdentityNet(IdentityNetConfig(widths=small[:4], embedding_dim=8)).eval(),
    )


@pytest.fixture(scope="module")
def trial():
    return reenactment_trial(TrialsConfig(size=64, quality="draft", pairs=4))


def _by_name(outcomes: Outcomes, judges: Judges) -> dict[str, Row]:
    return {row.name: row for row in table(outcomes, judges, None, 7.0, {"seed": 0}).rows}


def test_a_perfect_generator_reaches_every_row_of_reenactment(trial, judges) -> None:
    made = Reenactment(trial, trial.true_self, trial.true_cross, trial.true_swap)
    rows = _by_name(Outcomes(reenactment=made), judges)
    assert rows["self-reenactment: PSNR gain over copying the source"].met
    assert rows["cross-reenactment against true cross renders, below self"].value == pytest.approx(0.0)
    pose = rows["head pose against the driver, worst axis, beyond the judge's own error"]
    assert pose.value == pytest.approx(0.0, abs=1e-5)
    shares = [row.value for name, row in rows.items() if name.startswith("dynamics")]
    # A judge's r may be near or below 0 here, where its share is clamped: only those it sees at all count.
    assert any(share == pytest.approx(1.0, abs=1e-6) for share in shares)


def test_copying_the_source_gains_nothing_and_moves_nothing(trial, judges) -> None:
    made = Reenactment(trial, trial.source, trial.source, trial.source)
    rows = _by_name(Outcomes(reenactment=made), judges)
    gain = rows["self-reenactment: PSNR gain over copying the source"]
    assert gain.value == pytest.approx(0.0, abs=1e-5)
    assert gain.met is False
    assert rows["z_dyn swapped at fixed pose: change of pose, worst axis"].value == pytest.approx(
        0.0, abs=1e-5
    )


def test_true_cross_renders_show_the_next_persons_animation(trial) -> None:
    """The swap keeps the pose and takes the next one's expression; the cross takes both."""
    assert not torch.equal(trial.true_cross, trial.true_self)
    assert not torch.equal(trial.true_cross, trial.true_swap)
    assert trial.source.dtype == torch.uint8 and trial.source.shape == (4, 3, 64, 64)


def test_rows_of_speech_and_conditions_need_no_media(judges) -> None:
    clips = SyntheticClips("test", seconds=1.6, num_clips=3)
    spoken = [
        SpokenClip(
            c,
            torch.randint(256, (40, 3, 64, 64), dtype=torch.uint8),
            c.truth.animation.pose[:, :3],
            None,
            1.0,
        )
        for c in (clips.animation_only(i) for i in range(3))
    ]
    asked = [AskedClip(torch.randn(2), torch.rand(()), torch.rand(len(EMOTIONS)), s.made[:2]) for s in spoken]
    rows = _by_name(
        Outcomes(spoken=spoken, asked=asked, asked_true=asked, skipped={"real": "none here"}), judges
    )
    assert rows["jitter of the generated head against true motion"].value == pytest.approx(1.0)
    assert rows["frames per second on one CPU core, rendering included"].value == pytest.approx(40.0)
    assert rows["real recordings: mouth opening against speech energy"].note == "none here"
    assert abs(rows["gaze asked for against what frames show"].value) <= 1


def test_real_clips_are_measured_against_copying_and_against_the_warp(judges) -> None:
    true = torch.randint(256, (4, 3, 64, 64), dtype=torch.uint8)
    half = ((true.float() + 128) / 2).to(torch.uint8)
    boxes = torch.tensor([[-0.5, -0.5, 0.5, 0.5]]).expand(4, -1)
    clip = RealClip("a", true[0], true, true, boxes, half)
    rows = _by_name(Outcomes(real_clips=[clip]), judges)
    assert rows["real clips: PSNR in the face box, gain over copying the first frame"].met
    assert rows["real clips: PSNR in the face box, gain over the untrained warp"].value > 10
    assert rows["real clips: sharpness in the face box, of the untrained warp's"].value == pytest.approx(
        4, rel=0.05
    )


def test_photographs_without_a_detector_say_so(judges) -> None:
    picture = torch.randint(256, (3, 64, 64), dtype=torch.uint8)
    jaw = torch.rand(25)
    yaw = torch.linspace(-math.radians(15), math.radians(15), 3)
    made, turned = picture[None].repeat(25, 1, 1, 1), picture[None].repeat(3, 1, 1, 1)
    photo = Photograph("a", picture, torch.tensor([-0.5, -0.5, 0.5, 0.5]), jaw, made, yaw, turned)
    rows = _by_name(Outcomes(photographs=[photo]), judges)
    assert rows["photographs: sharpness of the face, of the source's"].value == pytest.approx(1.0)
    assert rows["photographs: face found again, of all frames"].value is None
    assert rows["photographs: commanded against measured yaw within 15 degrees"].value == pytest.approx(
        0.0, abs=1e-6
    )
