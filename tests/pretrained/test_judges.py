"""Frozen stand-in networks: crops agree with the camera, files load strictly, ours are worth their word."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from vasa.checkpoint import CheckpointError, load_weights
from vasa.data.config import PoolConfig
from vasa.data.judge_pools import LabelledFrames, render_labelled
from vasa.geometry import project
from vasa.metrics.correlation import pearson
from vasa.metrics.identity import verification_accuracy
from vasa.metrics.pose import axis_errors
from vasa.pretrained.config import EmotionNetConfig, IdentityNetConfig, LandmarkNetConfig, RegionNetConfig
from vasa.pretrained.crops import (
    EYES,
    MOUTH,
    STABLE,
    STABLE_XY,
    apply,
    face_plane,
    head_crop,
    invert,
    pose_in_crop,
    pose_similarity,
    region_crop,
    similarity,
    warp_crop,
)
from vasa.pretrained.emotion import EmotionNet
from vasa.pretrained.expression import ExpressionNet
from vasa.pretrained.files import save_network
from vasa.pretrained.identity import IdentityNet
from vasa.pretrained.judges import Judges
from vasa.pretrained.landmarks import LandmarkNet, _mean_position
from vasa.pretrained.registry import JUDGE_DIR, NETWORKS, path_of
from vasa.records import CONTROL_INDEX

SMALL = [8, 8, 12, 16, 16]
READ_HERE = ("landmarks", "judge_pose", "judge_expression", "judge_emotion", "judge_identity")
SHIPPED = [JUDGE_DIR / NETWORKS[name].file for name in READ_HERE]
needs_judges = pytest.mark.skipif(
    not all(path.exists() for path in SHIPPED),
    reason="the trained judges are not here: run scripts/train_judges.py",
)


def _similarities(count: int = 5) -> torch.Tensor:
    return similarity(torch.randn(count, 2) * 0.2, torch.rand(count) + 0.5, torch.randn(count) * 0.4)


def test_a_similarity_and_its_inverse_compose_to_nothing() -> None:
    matrix, points = _similarities(), torch.randn(5, 7, 2)
    assert torch.allclose(apply(invert(matrix), apply(matrix, points)), points, atol=1e-5)


def test_a_head_looks_in_its_crop_as_the_pose_in_the_crop_says() -> None:
    """Exact for flat heads on the axis of a distant camera; here: to 2 % for a head's points."""
    pose = torch.zeros(5, 6)
    pose[:, 2] = torch.linspace(-0.4, 0.4, 5)
    pose[:, 5] = torch.linspace(-0.2, 0.2, 5)
    head = torch.tensor([[[-0.4, 0.3, 0.0], [0.4, 0.3, 0.0], [0.0, -0.5, 0.0]]]).expand(5, -1, -1)
    matrix = similarity(torch.zeros(5, 2), torch.linspace(0.8, 1.25, 5), torch.linspace(0.3, -0.3, 5))
    seen = apply(invert(matrix), project(head, pose))
    assert float((seen - project(head, pose_in_crop(pose, matrix))).abs().max()) < 0.02
    assert (
        float(pose_in_crop(pose, pose_similarity(pose))[:, 2:].abs().max()) < 1e-5
    )  # upright, centred, of size 1


def _blobs(centres: torch.Tensor, size: int = 96) -> torch.Tensor:
    """Smooth pictures (1, 3, S, S) with a soft blob at each image point (N, 2)."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    return sum((-((grid - c) ** 2).sum(-1) / 0.01).exp() for c in centres).expand(1, 3, -1, -1)


def test_region_crops_do_not_change_when_the_face_moves_turns_in_the_plane_or_grows() -> None:
    plane = torch.zeros(1, 68, 2)
    plane[0, list(STABLE)] = torch.tensor(STABLE_XY) * torch.tensor([0.6, -0.6])
    matrix = similarity(torch.tensor([[0.1, 0.05]]), torch.tensor([1.2]), torch.tensor([0.3]))
    moved = apply(matrix, plane)
    assert torch.allclose(face_plane(plane)[0, :2], torch.diag(torch.tensor([0.6, -0.6])), atol=1e-5)
    for region, point in ((EYES, 36), (MOUTH, 33)):
        still = region_crop(_blobs(plane[0, [point]]), plane, region)
        turned = region_crop(_blobs(moved[0, [point]]), moved, region)
        peaks = [crop[0, 0].flatten().argmax().item() for crop in (still, turned)]
        rows, columns = zip(*(divmod(peak, region.width) for peak in peaks), strict=True)
        assert abs(rows[0] - rows[1]) <= 1 and abs(columns[0] - columns[1]) <= 1
    assert head_crop(_blobs(plane[0, [33]]), plane, 32).shape == (1, 3, 32, 32)


def test_crops_stay_exact_under_autocast() -> None:
    images, landmarks = torch.rand(1, 3, 64, 64), torch.rand(1, 68, 2) - 0.5
    plain = region_crop(images, landmarks, EYES)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(region_crop(images, landmarks, EYES), plain)
        assert warp_crop(images, _similarities(1), 32).dtype is torch.float32


def test_the_mean_of_a_peaked_heatmap_is_its_peak() -> None:
    logits = torch.full((1, 1, 16, 16), -30.0)
    logits[0, 0, 3, 12] = 30.0
    wanted = torch.tensor([(12.5 / 8) - 1, (3.5 / 8) - 1])
    assert torch.allclose(_mean_position(logits)[0, 0], wanted, atol=1e-5)


@pytest.mark.parametrize("trunk", ["residual", "plain"])
def test_teachers_give_gradients_to_pixels_and_none_to_landmarks(trunk: str) -> None:
    images = torch.rand(2, 3, 64, 64, requires_grad=True)
    landmarks = (torch.rand(2, 68, 2) - 0.5).requires_grad_()
    expression = ExpressionNet(RegionNetConfig(widths=SMALL[:4], trunk=trunk, squeeze=4, hidden=8))
    identity = IdentityNet(IdentityNetConfig(widths=SMALL[:4], trunk=trunk, embedding_dim=8))
    embedding = identity(images, landmarks)
    assert torch.allclose(embedding.norm(dim=-1), torch.ones(2), atol=1e-5)
    (expression(images, landmarks).sum() + embedding[:, 0].sum()).backward()
    assert float(images.grad.abs().sum()) > 0
    assert landmarks.grad is None


def test_emotions_are_weights_that_sum_to_one() -> None:
    network = EmotionNet(EmotionNetConfig(hidden=8))
    weights = network(torch.randn(3, 11))
    assert weights.shape == (3, 8) and torch.allclose(weights.sum(-1), torch.ones(3), atol=1e-5)


def test_wrong_sizes_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="wanted 11"):
        ExpressionNet(RegionNetConfig(outputs=8))
    with pytest.raises(ValueError, match="residual, plain"):
        IdentityNetConfig(trunk="wide")
    with pytest.raises(ValueError, match="multiple of 32"):
        LandmarkNetConfig(size=100)


def test_files_load_frozen_and_strictly(tmp_path: Path) -> None:
    network = LandmarkNet(LandmarkNetConfig(size=64, widths=SMALL, decoder_width=8))
    path = tmp_path / "landmarks.safetensors"
    save_network(network, path, {"steps": 0})
    loaded = LandmarkNet.from_pretrained(path)
    images = torch.rand(2, 3, 64, 64)
    assert torch.allclose(loaded(images).landmarks, network(images).landmarks, atol=2e-3)  # stored as fp16
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    with pytest.raises(CheckpointError, match="wanted a IdentityNet"):
        IdentityNet.from_pretrained(path)


def test_a_missing_network_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"judge_pose.*train_judges.py only=\[judge_pose\]"):
        path_of("judge_pose", tmp_path)
    with pytest.raises(FileNotFoundError, match="insightface"):
        path_of("scrfd_2.5g", tmp_path)
    with pytest.raises(ValueError, match="unknown"):
        path_of("arcface", tmp_path)


# The trained files


@pytest.fixture(scope="module")
def frames() -> LabelledFrames:
    """Unseen people in full quality, of no pool and no split."""
    config = PoolConfig(quality="full", first_seed=8_500_000, num_identities=12, frames_each=4)
    pixels, labels = render_labelled(config, range(48))
    return LabelledFrames(torch.from_numpy(pixels), **{k: torch.from_numpy(v) for k, v in labels.items()})


@needs_judges
def test_trained_files_fit_into_eight_megabytes_and_teachers_beside_them_into_two() -> None:
    """The teacher of identity is trained where it is needed, and does not ship."""
    sizes = {path.stem: path.stat().st_size for path in JUDGE_DIR.glob("*.safetensors")}
    teachers = {name: size for name, size in sizes.items() if name.startswith("teacher_")}
    assert sum(sizes.values()) - sum(teachers.values()) <= 8e6
    assert sum(size for name, size in teachers.items() if name != "teacher_identity") <= 2e6


def _card(name: str) -> dict[str, float]:
    """The scores on unseen people in full quality that a file states of itself."""
    scores = load_weights(path_of(name)).meta["scores"]
    prefix = "validation_portrait/"
    return {k.removeprefix(prefix): v for k, v in scores.items() if k.startswith(prefix)}


@needs_judges
def test_judges_see_poses_and_controls_of_other_people_as_well_as_their_files_say(frames) -> None:
    """Forty-eight frames of fresh people, with crops cut by the pose judge's own points."""
    seen = Judges.from_pretrained(JUDGE_DIR).measure(frames.images)
    stated = _card("judge_pose")
    errors = axis_errors(seen.pose, frames.pose)
    for error, name in zip(errors.tolist(), ("yaw_deg", "pitch_deg", "roll_deg"), strict=True):
        assert error < 1.6 * stated[name], f"{name}: {error:.1f}, the file says {stated[name]:.1f}"
    stated = _card("judge_expression")
    open_eyed = frames.controls[:, 2:4].mean(1) < 0.5
    for name in ("jaw", "blink_left", "smile", "gaze_yaw"):
        rows = open_eyed if name.startswith("gaze") else torch.ones_like(open_eyed)
        column = CONTROL_INDEX[name]
        r = float(pearson(seen.controls[rows, column], frames.controls[rows, column]))
        assert r > stated[name] - 0.2, f"{name}: r {r:.2f}, the file says {stated[name]:.2f}"
        assert r > 0.5, name


@needs_judges
def test_judges_tell_other_people_apart_as_well_as_the_file_says(frames) -> None:
    seen = Judges.from_pretrained(JUDGE_DIR).measure(frames.images)
    assert (
        verification_accuracy(seen.identity, frames.person) > _card("judge_identity")["verification"] - 0.08
    )


@needs_judges
def test_the_aligner_pulls_a_bad_crop_onto_the_face_and_knows_an_empty_one(
    frames: LabelledFrames,
) -> None:
    network = LandmarkNet.from_pretrained(path_of("landmarks"))
    images = frames.images[:16]
    count = len(images)
    wrong = similarity(
        torch.tensor([[0.25, -0.2]]).expand(count, -1), torch.full((count,), 1.3), torch.full((count,), 0.2)
    )
    found = apply(wrong, network.predict(warp_crop(images, wrong, 128)).landmarks)
    assert float((found - frames.landmarks[:16]).norm(dim=-1).mean()) < 0.08
    texture = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    empty = torch.nn.functional.interpolate(texture * 2 - 1, size=(128, 128), mode="bilinear")
    assert (
        float(network.predict(images).confidence.mean())
        > 0.8
        > float(network.predict(empty).confidence.mean())
    )


@needs_judges
@pytest.mark.media
def test_the_aligner_finds_the_face_of_a_real_portrait(media: Path) -> None:
    """The middle of the eyes and of the mouth of one real portrait, measured by hand, in a loose crop."""
    from PIL import Image

    picture = Image.open(media / "image" / "people_0.png").convert("RGB")
    pixels = torch.from_numpy(np.asarray(picture)).permute(2, 0, 1)[None] / 127.5 - 1
    found = LandmarkNet.from_pretrained(path_of("landmarks")).predict(pixels)
    eyes, mouth = found.landmarks[0, 36:48].mean(0), found.landmarks[0, 48:68].mean(0)
    side = picture.width / 2
    measured = torch.tensor([[231.0, 140.0], [233.0, 218.0]]) / side - 1
    distance = (torch.stack([eyes, mouth]) - measured).norm(dim=-1)
    assert float(distance.max()) < 0.12 and float(found.confidence) > 0.5
    assert abs(math.degrees(float(found.pose[0, 2]))) < 15
