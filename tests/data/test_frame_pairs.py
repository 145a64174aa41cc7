"""Stage 1's pairs: pure functions, true cross-reenactment, resumable rendering."""

import dataclasses

import pytest
import torch

from vasa.data.config import SPLIT_SEEDS, FramePairsConfig
from vasa.data.frame_pairs import PARTNERS, FramePairs, couple_animation
from vasa.data.synthetic.clips import talking_clip
from vasa.nn.warp import sample_image, upsample_flow


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    config = FramePairsConfig(
        cache=tmp_path_factory.mktemp("frames"), num_identities=16, frames=4, size=64, randomised_share=0.5
    )
    found = FramePairs(config)
    found.prepare()
    return found


def test_a_batch_is_a_function_of_the_step(pairs):
    again = FramePairs(pairs.config)
    for step in (0, 3):
        first, second = pairs.batch_at(step, 4), again.batch_at(step, 4)
        assert first.ids == second.ids
        for field in dataclasses.fields(first):
            value = getattr(first, field.name)
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, getattr(second, field.name)), field.name


def test_two_half_batches_are_one_batch(pairs):
    whole, second = pairs.batch_at(1, 4), pairs.batch_at(3, 2)
    assert whole.ids[2:] == second.ids
    assert torch.equal(whole.source[2:], second.source)


def test_a_cross_driver_shares_the_animation_but_not_the_face(pairs):
    batch = pairs.batch_at(0, 24)
    cross = batch.is_cross
    assert 0 < cross.sum() < len(cross)
    difference = (batch.driver.float() - batch.target.float()).abs().mean((1, 2, 3))
    assert (difference[~cross] == 0).all()
    assert (difference[cross] > 2).all()


def test_flow_carries_the_source_onto_the_target(pairs):
    batch = pairs.batch_at(0, 16)
    source, target = (x.permute(0, 3, 1, 2).float() / 255 for x in (batch.source, batch.target))
    warped = sample_image(source, upsample_flow(batch.flow, 64, 64))
    seen = (upsample_flow(batch.visible[..., None], 64, 64).permute(0, 3, 1, 2) > 0.99).float()

    def error(image):
        return ((image - target).square() * seen).sum() / seen.sum()

    assert error(warped) < 0.4 * error(source)  # noise, and a flow stored at half size, remain


def test_talking_frames_show_moments_of_speech_under_wild_poses():
    wild, talking = (FramePairsConfig(frames=60, talking_share=share) for share in (0.0, 1.0))
    assert FramePairs(wild).folder != FramePairs(talking).folder
    start = SPLIT_SEEDS["train"].start
    one, other = couple_animation(wild, start), couple_animation(talking, start)
    spoken = talking_clip("train", 0, 0).truth.animation.controls
    assert all(bool((spoken == frame).all(1).any()) for frame in other.controls[1:])
    assert not any(bool((spoken == frame).all(1).any()) for frame in one.controls[1:])
    assert torch.equal(one.pose, other.pose)


def test_first_partner_has_the_same_pose(pairs):
    shard = pairs._shard(0)
    twins = shard["partners"][0, :, 0].long()
    assert shard["partners"].shape[-1] == PARTNERS
    assert torch.equal(shard["pose"][0], shard["pose"][0][twins])
    assert not torch.equal(shard["controls"][0], shard["controls"][0][twins])


def test_a_missing_shard_is_rendered_again_to_the_same_bytes(pairs):
    path = pairs.shard_path(0)
    before = path.read_bytes()
    path.unlink()
    again = FramePairs(pairs.config)
    with pytest.raises(FileNotFoundError, match="prepare"):
        again.sample(0)
    again.prepare()
    assert path.read_bytes() == before


@pytest.mark.parametrize("change", [{"num_identities": 3}, {"frames": 3}, {"size": 63}, {"cross_share": 2.0}])
def test_impossible_options_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        FramePairsConfig(**change)
