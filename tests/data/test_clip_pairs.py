"""Stage 1's pairs of real clips: functions of the position, near and far, from files in the stored form."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file

from vasa.config import load
from vasa.data.clip_pairs import NEAR_TICKS, ClipPairs
from vasa.data.config import ClipPairsConfig
from vasa.data.manifest import MANIFEST, ClipRow, read_manifest, speaker_of, split_of, write_manifest
from vasa.training.train_face import near_pairs, training_pairs, validation_pairs

SPEAKERS = ("id00001", "id00001", "id00002", "id00003")
FRAMES, STORED, STRIDE = 12, 96, 5  # frames of each clip, their size, ticks between them


def write_clips(folder, masks=True):
    """Frame k of clip n is a smooth picture with red 20 n + k, so that a frame says what it is."""
    rows = []
    for number, speaker in enumerate(SPEAKERS):
        frames = torch.zeros(FRAMES, STORED, STORED, 3, dtype=torch.uint8)
        frames[..., 0] = (20 * number + torch.arange(FRAMES))[:, None, None]
        frames[..., 1] = torch.arange(STORED)
        tensors = {"frames": frames, "ticks": torch.arange(FRAMES, dtype=torch.int32) * STRIDE}
        if masks:
            tensors["mask"] = frames[..., 0].contiguous()
        (folder / "clips").mkdir(exist_ok=True)
        clip = f"clips/{number}.safetensors"
        save_file(tensors, folder / clip)
        rows.append(
            ClipRow(
                file=f"{number}.mp4",
                speaker=speaker,
                split="train",
                clip=clip,
                frames=FRAMES,
                size=STORED,
                side_px=100.0 * (number + 1),
                masks=FRAMES if masks else 0,
            )
        )
    rows += [ClipRow(file="x.mp4", speaker="x", split="train", status="no_face", reason='no, "none"\nat all')]
    write_manifest(folder / MANIFEST, rows)
    return rows


@pytest.fixture
def folder(tmp_path):
    write_clips(tmp_path)
    return tmp_path


def red(images):
    """(B, S, S, 3) -> the clip and frame that each shows."""
    assert (images[..., 0] == images[:, :1, :1, 0]).all()
    return images[:, 0, 0, 0].long() // 20, images[:, 0, 0, 0].long() % 20


def test_a_batch_is_a_function_of_the_step_and_halves_make_a_whole(folder):
    config = ClipPairsConfig(root=folder, size=64)
    pairs = ClipPairs(config)
    whole, again, half = pairs.batch_at(1, 6), ClipPairs(config).batch_at(1, 6), pairs.batch_at(3, 3)
    assert whole.ids == again.ids and whole.ids[3:] == half.ids
    for field in dataclasses.fields(whole):
        value = getattr(whole, field.name)
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, getattr(again, field.name)), field.name
            assert torch.equal(value[3:], getattr(half, field.name)), field.name
    assert ClipPairs(dataclasses.replace(config, seed=1)).batch_at(1, 6).ids != whole.ids


def test_source_and_target_are_two_frames_of_a_clip_and_other_is_another_speaker(folder):
    batch = ClipPairs(ClipPairsConfig(root=folder, size=STORED)).batch_at(0, 200)
    (clip, source), (same, target), (stranger, _) = red(batch.source), red(batch.target), red(batch.other)
    assert torch.equal(clip, same) and (source != target).all()
    speakers = torch.tensor([1, 1, 2, 3])
    assert (speakers[clip] != speakers[stranger]).all()
    assert set(clip.tolist()) == set(stranger.tolist()) == {0, 1, 2, 3}
    assert torch.equal(batch.driver, batch.target) and not batch.is_cross.any()
    assert batch.ids[0] == f"clips/{clip[0]}.safetensors:{source[0] * STRIDE}->{target[0] * STRIDE}"
    assert batch.target_pose is None and batch.flow is None


def test_near_pairs_are_within_half_a_second_or_neighbours(folder):
    def gaps(near_share, folder=folder):
        batch = ClipPairs(ClipPairsConfig(root=folder, size=STORED, near_share=near_share)).batch_at(0, 120)
        return (red(batch.source)[1] - red(batch.target)[1]).abs() * STRIDE

    assert gaps(1.0).max() <= NEAR_TICKS < gaps(0.0).max()
    for path in (folder / "clips").iterdir():  # as of a long video: every stored frame is a second away
        frames = torch.zeros(FRAMES, STORED, STORED, 3, dtype=torch.uint8)
        frames[..., 0] = torch.arange(FRAMES)[:, None, None]
        ticks = torch.arange(FRAMES, dtype=torch.int32) * 25
        save_file({"frames": frames, "ticks": ticks, "mask": frames[..., 0].contiguous()}, path)
    assert (gaps(1.0) == STRIDE).all()


def test_larger_frames_are_averaged_down_and_the_mask_is_the_targets(folder):
    batch = ClipPairs(ClipPairsConfig(root=folder, size=64, flip=False)).batch_at(0, 5)
    ramp = (torch.arange(64) + 0.5) * STORED / 64 - 0.5
    inner = batch.target[..., 1].float()[..., 2:-2]
    assert (inner - ramp[2:-2]).abs().max() <= 1  # rounding
    assert torch.equal(batch.mask, batch.target[..., 0])


def test_without_masks_there_is_none(tmp_path):
    write_clips(tmp_path, masks=False)
    assert ClipPairs(ClipPairsConfig(root=tmp_path, size=64)).batch_at(0, 2).mask is None


def test_a_folder_of_both_kinds_is_refused(tmp_path):
    rows = write_clips(tmp_path)
    rows[2].masks = 0
    write_manifest(tmp_path / MANIFEST, rows)
    with pytest.raises(ValueError, match="3 of 4 clips have masks; wanted all or none"):
        ClipPairs(ClipPairsConfig(root=tmp_path, size=64)).prepare()


def test_half_of_the_pairs_are_mirrored_whole_and_half_of_the_others_by_themselves(folder):
    for path in (folder / "clips").iterdir():  # a mask that says left from right, as frames do
        tensors = load_file(path)
        save_file({**tensors, "mask": tensors["frames"][..., 1].contiguous()}, path)
    config = ClipPairsConfig(root=folder, size=64)
    plain = ClipPairs(dataclasses.replace(config, flip=False)).batch_at(0, 100)
    batch = ClipPairs(config).batch_at(0, 100)
    turned = {}
    for name in ("source", "target", "driver", "other", "mask"):
        seen, straight = getattr(batch, name), getattr(plain, name)
        turned[name] = (seen != straight).flatten(1).any(1)
        expected = torch.where(turned[name].view(-1, *[1] * (straight.ndim - 1)), straight.flip(2), straight)
        assert torch.equal(seen, expected), name
        assert 30 < turned[name].sum() < 70, "four standard deviations"
    assert all(torch.equal(turned["source"], turned[name]) for name in ("target", "driver", "mask"))
    assert 30 < (turned["source"] ^ turned["other"]).sum() < 70
    for name in ("jitter", "warp", "nudge"):
        assert torch.equal(getattr(batch, name), getattr(plain, name)), name
    assert batch.ids == plain.ids


def test_validation_is_never_mirrored():
    run = load("train_face", ["experiment=paper"])
    assert training_pairs(run).config.flip and near_pairs(run).config.flip
    assert not validation_pairs(run).config.flip


def test_crops_of_too_few_pixels_can_be_left_out_and_are_counted(folder, caplog):
    with caplog.at_level("INFO"):
        some = ClipPairs(ClipPairsConfig(root=folder, size=64, min_side_px=200))
        some.prepare()
    assert len(some) == len(SPEAKERS) - 1
    assert "1 below min_side_px=200 left out" in caplog.text
    with pytest.raises(ValueError, match="lower min_side_px"):
        ClipPairs(ClipPairsConfig(root=folder, size=64, min_side_px=10_000)).prepare()


def test_noise_is_as_asked(folder):
    batch = ClipPairs(ClipPairsConfig(root=folder, size=64, colour_jitter=0.1)).batch_at(0, 300)
    assert batch.jitter.shape == (300, 2, 7) and batch.jitter.std().item() == pytest.approx(0.1, rel=0.05)
    assert batch.warp.shape == (300, 2, 7, 7, 2) and batch.warp.std().item() == pytest.approx(1, rel=0.05)
    assert batch.nudge.shape == (300, 2, 6) and batch.nudge.std().item() == pytest.approx(1, rel=0.05)


def test_what_cannot_be_used_is_said(folder):
    with pytest.raises(ValueError, match="frames of 96 px; preprocess with size=128"):
        ClipPairs(ClipPairsConfig(root=folder, size=128)).prepare()
    with pytest.raises(ValueError, match="0 speakers in the validation split; wanted at least 2"):
        ClipPairs(ClipPairsConfig(root=folder, split="validation")).prepare()
    with pytest.raises(FileNotFoundError, match=r"scripts/preprocess\.py"):
        ClipPairs(ClipPairsConfig(root=folder / "none")).prepare()
    pairs = ClipPairs(ClipPairsConfig(root=folder, size=64))
    pairs.prepare()
    for path in (folder / "clips").iterdir():
        path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"safetensors cannot be read .* delete it and run"):
        pairs.sample(0)


def test_the_manifest_gives_back_what_was_written(tmp_path):
    rows = write_clips(tmp_path)
    assert read_manifest(tmp_path / MANIFEST) == rows
    with (tmp_path / MANIFEST).open("a") as file:
        file.write("torn,line\n")
    with pytest.raises(ValueError, match="is no row of a manifest"):
        read_manifest(tmp_path / MANIFEST)


def test_speakers_are_voxceleb_folders_and_fall_into_one_split():
    assert speaker_of("dev/mp4/id00012/21Uxsk56VDQ/00001.mp4") == "id00012"
    assert speaker_of("films/a.mp4") == "films/a.mp4"
    names = [f"id{number:05d}" for number in range(4000)]
    small, large = ({n for n in names if split_of(n, share) == "validation"} for share in (0.05, 0.2))
    assert small < large
    assert len(small) / 4000 == pytest.approx(0.05, abs=0.015)  # four standard deviations
    assert split_of("id00012", 0) == "train" and split_of("id00012", 1) == "validation"
