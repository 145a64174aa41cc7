"""Stage 1's pairs of real clips: functions of the position, near and far, from shards."""

import dataclasses

import numpy as np
import pytest
import torch
from clip_folders import FRAMES, SIZE, clip, points, shown, write_folder

from vasa.config import load
from vasa.data.clip_pairs import NEAR_FRAMES, ClipPairs
from vasa.data.config import ClipPairsConfig
from vasa.data.manifest import ManifestRow
from vasa.face.volumetric.mean_face import MEAN_LANDMARKS
from vasa.records import mirrored_points
from vasa.training.train_face import near_pairs, training_pairs, validation_pairs

SPEAKERS = ("id00001", "id00001", "id00002", "id00003")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    rejected = [
        ManifestRow(id="x-0", kind="clip", speaker="x", split="train", status="no_face", frames=50),
        ManifestRow(id="x", kind="input", speaker="x", split="train", frames=50),
    ]
    write_folder(folder, [clip(number, name) for number, name in enumerate(SPEAKERS)], rejected)
    return folder


def seen(images):
    """(B, S, S, 3) -> the clip and frame that each shows."""
    return [torch.from_numpy(found) for found in shown(images.numpy())]


def test_a_batch_is_a_function_of_the_step_and_halves_make_a_whole(folder):
    config = ClipPairsConfig(root=folder, size=64)
    pairs = ClipPairs(config)
    whole, again, half = pairs.batch_at(1, 6), ClipPairs(config).batch_at(1, 6), pairs.batch_at(3, 3)
    rows = pairs.batch_at(1, 6, slice(3, 6))
    assert whole.ids == again.ids and whole.ids[3:] == half.ids == rows.ids
    for field in dataclasses.fields(whole):
        value = getattr(whole, field.name)
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, getattr(again, field.name)), field.name
            assert torch.equal(value[3:], getattr(half, field.name)), field.name
            assert torch.equal(value[3:], getattr(rows, field.name)), field.name
    assert ClipPairs(dataclasses.replace(config, seed=1)).batch_at(1, 6).ids != whole.ids


def test_source_and_target_are_two_frames_of_a_clip_and_other_is_another_speaker(folder):
    batch = ClipPairs(ClipPairsConfig(root=folder, size=SIZE)).batch_at(0, 100)
    (number, source), (same, target), (stranger, _) = map(seen, (batch.source, batch.target, batch.other))
    assert torch.equal(number, same) and (source != target).all()
    speakers = torch.tensor([1, 1, 2, 3])
    assert (speakers[number] != speakers[stranger]).all()
    assert set(number.tolist()) == set(stranger.tolist()) == {0, 1, 2, 3}
    assert torch.equal(batch.driver, batch.target) and not batch.is_cross.any()
    name = f"{SPEAKERS[number[0]]}-v-{int(number[0]):03d}"
    assert batch.ids[0] == f"{name}:{int(source[0])}->{int(target[0])}"
    assert batch.target_pose is None and batch.flow is None


def test_near_pairs_are_within_half_a_second(folder):
    def gaps(near_share):
        batch = ClipPairs(ClipPairsConfig(root=folder, size=SIZE, near_share=near_share)).batch_at(0, 120)
        (_, source), (_, target) = seen(batch.source), seen(batch.target)
        assert source.min() == target.min() == 0 and source.max() == target.max() == FRAMES - 1
        return (source - target).abs()

    assert gaps(1.0).max() == NEAR_FRAMES < gaps(0.0).max()


def test_larger_frames_are_averaged_down_and_the_mask_is_the_targets(folder):
    batch = ClipPairs(ClipPairsConfig(root=folder, size=64, flip=False)).batch_at(0, 8)
    ramp = ((torch.arange(64) + 0.5) * SIZE / 64 - 0.5) * 255 / (SIZE - 1)
    inner = batch.target[:, 48].float()[..., 2:-2, :]
    assert (inner - ramp[2:-2, None]).abs().max() <= 4  # the encoder's error
    for target, mask in zip(shown(batch.target.numpy()), shown(batch.mask.numpy()), strict=True):
        assert (target == mask).all()


def test_without_masks_there_is_none(tmp_path):
    write_folder(tmp_path, [clip(0, "a", masks=False), clip(1, "b", masks=False)])
    assert ClipPairs(ClipPairsConfig(root=tmp_path, size=64)).batch_at(0, 2).mask is None


def test_a_folder_of_both_kinds_is_refused(tmp_path):
    write_folder(tmp_path, [clip(0, "a"), clip(1, "b", masks=False)])
    with pytest.raises(ValueError, match="1 of 2 clips have masks; wanted all or none"):
        ClipPairs(ClipPairsConfig(root=tmp_path, size=64)).prepare()


def test_half_of_the_pairs_are_mirrored_whole_and_half_of_the_others_by_themselves(folder):
    config = ClipPairsConfig(root=folder, size=64)
    plain = ClipPairs(dataclasses.replace(config, flip=False)).batch_at(0, 100)
    batch = ClipPairs(config).batch_at(0, 100)
    turned = {}
    for name in ("source", "target", "driver", "other", "mask"):
        found, straight = getattr(batch, name), getattr(plain, name)
        turned[name] = (found != straight).flatten(1).any(1)
        expected = torch.where(turned[name].view(-1, *[1] * (straight.ndim - 1)), straight.flip(2), straight)
        assert torch.equal(found, expected), name
        assert 30 < turned[name].sum() < 70, "four standard deviations"
    assert all(torch.equal(turned["source"], turned[name]) for name in ("target", "driver", "mask"))
    assert 30 < (turned["source"] ^ turned["other"]).sum() < 70
    for name in ("jitter", "warp", "nudge"):
        assert torch.equal(getattr(batch, name), getattr(plain, name)), name
    assert batch.ids == plain.ids


def test_landmarks_are_those_of_the_three_frames_and_mirrored_with_them(folder):
    batch = ClipPairs(ClipPairsConfig(root=folder, size=64)).batch_at(0, 60)
    for index, images in enumerate((batch.source, batch.target, batch.other)):
        number, frame = seen(images)
        found = batch.measured_points[:, index]
        mirrored = images[:, 48, 40:].float().mean(-1).diff(dim=1).sum(1) < 0  # the ramp goes down
        assert 10 < mirrored.sum() < 50
        wanted = torch.from_numpy(
            np.stack([points(int(n))[int(f)] for n, f in zip(number, frame, strict=True)])
        )
        assert torch.equal(found[~mirrored], wanted[~mirrored])
        assert torch.equal(found[mirrored][:, 45] * found.new_tensor([-1, 1]), wanted[mirrored][:, 36])
        assert torch.equal(found[mirrored][:, 36] * found.new_tensor([-1, 1]), wanted[mirrored][:, 45])


def test_the_mean_face_is_its_own_mirror_image():
    face = np.asarray(MEAN_LANDMARKS)[:, :2]
    assert np.allclose(mirrored_points(face), face)


def test_landmarks_can_be_left_out_and_must_be_where_there_are_none(folder, tmp_path):
    without = ClipPairsConfig(root=folder, size=64, landmarks=False)
    assert ClipPairs(without).batch_at(0, 2).measured_points is None
    write_folder(tmp_path, [clip(0, "a", landmarks=False), clip(1, "b", landmarks=False)])
    with pytest.raises(ValueError, match=r"a-v-000 has no landmarks; set clips\.landmarks=false"):
        ClipPairs(dataclasses.replace(without, root=tmp_path, landmarks=True)).prepare()


def test_validation_is_never_mirrored():
    run = load("train_face", ["experiment=paper"])
    assert training_pairs(run).config.flip and near_pairs(run).config.flip
    assert not validation_pairs(run).config.flip


def test_crops_of_too_few_pixels_can_be_left_out_and_are_counted(folder, caplog):
    with caplog.at_level("INFO"):
        some = ClipPairs(ClipPairsConfig(root=folder, size=64, min_side_px=200))
        some.prepare()
    assert len(some) == len(SPEAKERS) - 1
    assert set(seen(some.batch_at(0, 50).source)[0].tolist()) == {1, 2, 3}
    assert "3 clips, 0 of them enlarged from fewer pixels; 1 below min_side_px=200 left out" in caplog.text
    with pytest.raises(ValueError, match="lower min_side_px"):
        ClipPairs(ClipPairsConfig(root=folder, size=64, min_side_px=10_000)).prepare()


def test_noise_is_as_asked(folder):
    batch = ClipPairs(ClipPairsConfig(root=folder, size=64, colour_jitter=0.1)).batch_at(0, 300)
    assert batch.jitter.shape == (300, 2, 7) and batch.jitter.std().item() == pytest.approx(0.1, rel=0.05)
    assert batch.warp.shape == (300, 2, 7, 7, 2) and batch.warp.std().item() == pytest.approx(1, rel=0.05)
    assert batch.nudge.shape == (300, 2, 6) and batch.nudge.std().item() == pytest.approx(1, rel=0.05)


def test_what_cannot_be_used_is_said(folder, tmp_path):
    with pytest.raises(ValueError, match="frames of 96 px; preprocess with size=128"):
        ClipPairs(ClipPairsConfig(root=folder, size=128)).prepare()
    with pytest.raises(ValueError, match="0 speakers in the validation split; wanted at least 2"):
        ClipPairs(ClipPairsConfig(root=folder, split="validation")).prepare()
    with pytest.raises(FileNotFoundError, match=r"scripts/preprocess\.py"):
        ClipPairs(ClipPairsConfig(root=tmp_path)).prepare()
    with pytest.raises(ValueError, match="no training looks at the test split"):
        ClipPairsConfig(split="test")
